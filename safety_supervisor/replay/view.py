"""The verb `view`: a replay shown live, tick by tick, to Foxglove on this machine. Loopback only."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safety_supervisor.core.world import Decision, seconds
from safety_supervisor.replay.bag import BagError, open_bags
from safety_supervisor.replay.foxglove_scene import Channels, require_foxglove
from safety_supervisor.replay.inputs import Options, add_input_arguments, add_window_arguments, prepare
from safety_supervisor.replay.tables import TableError

HOST = "127.0.0.1"
"""Nothing but this machine can connect, and there is no option for more."""
PAUSE_MAX = 10.0
"""Longer silences of a recording are cut short to this [s]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor view`."""
    parser.add_argument("bags", metavar="BAG", type=Path, nargs="+", help="a recording; several are shown as one")
    add_input_arguments(parser)
    add_window_arguments(parser)
    parser.add_argument("--port", metavar="N", type=int, default=8765, help="of the loopback interface; 0: any")
    parser.add_argument("--rate", metavar="X", type=float, default=1.0, help="times real time; 0: as fast as possible")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for a viewer before the first tick")


def run(args: argparse.Namespace) -> int:
    """Show one recording; 0 when its end is reached."""
    require_foxglove("view")
    if not 0 <= args.port <= 65535:
        raise TableError(f"--port is {args.port}, expected 0 to 65535")
    if not 0 <= args.rate < float("inf"):
        raise TableError(f"--rate is {args.rate}, expected 0 or more")
    options = Options(args.config, args.set, mapping=args.mapping, start=args.start, end=args.end)
    with open_bags(args.bags) as bag:
        ready = prepare(bag, options)
        show(ready.run.decisions(), ready.run.config, bag.name, args)
    return 0


def show(decisions: Iterable[Decision], config: Any, name: str, args: argparse.Namespace) -> None:
    """Serve decisions at the pace at which they were recorded. Raises `BagError` when the port is taken."""
    import foxglove

    context = foxglove.Context()
    viewer = _Viewer()
    try:
        server = foxglove.start_server(
            name=f"safety-supervisor view {name}", host=HOST, port=args.port, context=context,
            server_listener=viewer, capabilities=[foxglove.Capability.Time],
        )  # fmt: skip
    except Exception as error:  # the library has no error of its own for a port that is taken
        raise BagError(f"--port {args.port}: cannot serve there ({' '.join(str(error).split())})") from None
    try:
        channels = Channels(context, config)
        print(f"serving  ws://{HOST}:{server.port}: open it in Foxglove; Ctrl-C ends", flush=True)
        if not args.no_wait:
            viewer.wait()
        ticks = 0
        for decision in paced(decisions, args.rate):
            channels.log(decision)
            server.broadcast_time(max(decision.t, 0))
            ticks += 1
        print(f"done     {ticks} ticks shown")
    finally:
        server.stop()


class _Viewer:
    """Notices the first viewer; has the methods of the library's listener that are of use here."""

    def __init__(self) -> None:
        self._there = threading.Event()

    def on_subscribe(self, client: Any, channel: Any) -> None:
        """Take note of a client that wants to see something."""
        self._there.set()

    def wait(self) -> None:
        """Return when somebody watches; in short steps, so that Ctrl-C is heard."""
        while not self._there.wait(0.2):
            pass


def paced(decisions: Iterable[Decision], rate: float) -> Iterator[Decision]:
    """Yield decisions in step with the clock, `rate` times as fast as they were; 0 does not wait."""
    began: float | None = None
    last: int | None = None
    played = 0.0
    for decision in decisions:
        if rate > 0:
            now = time.monotonic()
            began = now if began is None else began
            step = seconds(decision.t - last) if last is not None else 0.0
            played += min(max(step, 0.0), PAUSE_MAX) / rate
            time.sleep(max(began + played - now, 0.0))
        last = decision.t
        yield decision
