"""Long runs: does memory stay flat, do handles stay closed, do decisions stay the same?

    python campaigns/soak.py replay --hours 24     # simulated time, through the shipped replay [--vehicle FILE]
    python campaigns/soak.py step --hours 24       # simulated time, one state all the way through `step`
    python campaigns/soak.py node --hours 1        # real time, the node as a process over DDS

Memory is the resident set; its slope is a straight line through the samples after the first tenth. It is flat when
the line rises by less than `GROWTH` over the whole run. A run that is asked to end (SIGTERM, ^C) ends with the pass
under way and tells the hours that it had; with `--record` figures so far are also written every ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from evidence import ROOT, record

from safety_supervisor.core import supervisor
from safety_supervisor.core.world import DriverMode, Inputs, nanoseconds
from safety_supervisor.messages import Gatherer
from safety_supervisor.replay.bag import open_bag
from safety_supervisor.replay.replay import Run
from safety_supervisor.scenarios.bag import write_bag
from safety_supervisor.scenarios.command import load
from safety_supervisor.scenarios.run import EPOCH
from safety_supervisor.scenarios.run import run as simulate
from safety_supervisor.scenarios.suite import find

GROWTH = 16.0
"""Largest growth over a run [MiB]: what an interpreter's caches and a fragmenting allocator may take."""
RECORDED_EVERY = 600.0
"""Figures of a run under way are written this often [s]."""


@dataclass
class Gauge:
    """Memory and handles of a process, sampled now and then."""

    pid: int = field(default_factory=os.getpid)
    at: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)

    def sample(self, hours: float) -> None:
        """Note resident memory [MiB] and open files at a time [h]."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.at.append(hours)
        self.rss.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.handles.append(len(list(Path(f"/proc/{self.pid}/fd").iterdir())))

    def figures(self) -> dict[str, Any]:
        """Return slope, ends and the verdict."""
        later = np.array(self.at) >= 0.1 * self.at[-1]
        hours, rss = np.array(self.at)[later], np.array(self.rss)[later]
        slope = float(np.polyfit(hours, rss, 1)[0]) if len(hours) > 1 else 0.0
        growth = slope * self.at[-1]
        handles = np.array(self.handles)[later]
        return {
            "hours": round(self.at[-1], 3), "samples": len(self.at), "rss_first_mb": round(float(rss[0]), 1),
            "rss_last_mb": round(float(rss[-1]), 1), "rss_slope_mb_per_hour": round(slope, 4),
            "rss_growth_mb": round(growth, 2), "handles_first": int(handles[0]), "handles_last": int(handles[-1]),
            "flat": bool(growth < GROWTH), "handle_leak": bool(handles[-1] > handles[0]),
        }  # fmt: skip


def soak_replay(hours: float, vehicle: Path | None) -> Iterator[dict[str, Any]]:
    """Replay one recording again and again in one process; every pass must give the same modes and accelerations."""
    gauge, passes, simulated, differing = Gauge(), 0, 0.0, 0
    config, first = load(vehicle), None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bag")
        write_bag(simulate(find("free-drive"), config, 0, supervised=True), path)
        while simulated < hours:
            with open_bag(path) as bag:
                decided = [(d.mode, d.acceleration) for d in Run(bag, config).decisions()]
                simulated += bag.duration / 3600
            first = first or decided
            differing += decided != first
            passes += 1
            gc.collect()
            gauge.sample(simulated)
            yield {**gauge.figures(), "passes": passes, "passes_that_differ": differing}


def laps(vehicle: Path | None) -> tuple[list[tuple[int, Inputs]], int]:
    """Return the ticks of one quiet drive, with times counted from 0 [ns], and the length of a lap [ns]."""
    config = load(vehicle)
    made = simulate(find("free-drive"), config, 0, supervised=True)
    gatherer, period, waiting, ticks = Gatherer(config), nanoseconds(config.timing.period), list(made.messages), []
    end = max(m.t for m in waiting)
    for t in range(EPOCH, end, period):
        while waiting and waiting[0].t <= t:
            m = waiting.pop(0)
            gatherer.add(m.topic, m.msgtype, m.body, m.t)
        ticks.append((t - EPOCH, gatherer.take()))
    return ticks, len(ticks) * period


Pose = tuple[float, float, float]
"""x, y [m], yaw [rad]."""


def placed(at: Pose, x: Any, y: Any) -> tuple[Any, Any]:
    """Return points given in a frame at `at`."""
    cos, sin = math.cos(at[2]), math.sin(at[2])
    return at[0] + cos * x - sin * y, at[1] + sin * x + cos * y


def moved(inputs: Inputs, by: int, at: Pose) -> Inputs:
    """The same inputs `by` [ns] later, in a frame at `at`."""
    def pose(message: Any) -> Any:
        x, y = placed(at, message.x, message.y)
        return replace(message, t=message.t + by, x=x, y=y, yaw=message.yaw + at[2])

    return replace(
        inputs, odometry=tuple(map(pose, inputs.odometry)), plans=tuple(map(pose, inputs.plans)),
        radar=tuple(replace(s, t=s.t + by) for s in inputs.radar),
        ranges=tuple(replace(r, t=r.t + by) for r in inputs.ranges),
    )  # fmt: skip


def next_frame(at: Pose, ticks: list[tuple[int, Inputs]], length: int) -> Pose:
    """Return where the next lap begins, so that its first pose follows on the last one of this lap."""
    poses = [o for _, inputs in ticks for o in inputs.odometry]
    first, last = poses[0], poses[-1]
    run = last.speed * (length - (last.t - first.t)) / 1e9
    yaw = last.yaw - first.yaw
    x, y = last.x + run * math.cos(last.yaw), last.y + run * math.sin(last.yaw)
    cos, sin = math.cos(yaw), math.sin(yaw)
    offset = (x - cos * first.x + sin * first.y, y - sin * first.x - cos * first.y)
    return (*placed(at, *offset), at[2] + yaw)


def soak_step(hours: float, vehicle: Path | None) -> Iterator[dict[str, Any]]:
    """Carry one state through lap after lap of a drive; every lap but the first must give nearly the same modes."""
    ticks, length = laps(vehicle)
    config, gauge, at = load(vehicle), Gauge(), (0.0, 0.0, 0.0)
    state, by, lap, reference, differing = supervisor.start(config), 0, 0, Counter[str](), 0
    while by / 3.6e12 < hours:
        modes: Counter[str] = Counter()
        for t, inputs in ticks:
            fresh = moved(inputs, by, at)
            if t in (ticks[0][0], ticks[-1][0]):  # a driver takes over while the scene is changed, and hands back
                fresh = replace(fresh, driver=(DriverMode(EPOCH + t + by, t != ticks[0][0]),))
            state, decision = supervisor.step(state, fresh, EPOCH + t + by, config)
            modes[decision.mode.name] += 1
        at = next_frame(at, ticks, length)
        by, lap = by + length, lap + 1
        reference = modes if lap == 2 else reference
        # Rounding moves with the place; a tick here or there is no drift.
        differing += lap > 2 and sum(((modes - reference) + (reference - modes)).values()) > 0.02 * len(ticks)
        if lap % 10 == 1 or by / 3.6e12 >= hours:
            gc.collect()
            gauge.sample(by / 3.6e12)
            figures = {**gauge.figures(), "laps": lap, "laps_that_differ": differing}
            yield {**figures, "modes_of_a_lap": dict(reference)}


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[int]:
    import node_harness

    class Patch:
        def setenv(self, name: str, value: str) -> None:
            os.environ[name] = value

    yield node_harness.environment(Patch(), folder)


PATIENT = {"timing__period": 0.05, "timing__overrun": 0.2, "health__odometry_timeout": 2.0, "health__plan_timeout": 2.0,
           "health__ultrasonic_timeout": 2.0, "health__radar_timeout": 2.0}  # fmt: skip
"""The world is one Python process on a machine that may be busy: gaps in its stream are not what is soaked."""


def soak_node(hours: float, vehicle: Path | None) -> Iterator[dict[str, Any]]:
    """Let the node judge a simulated drive over DDS for real hours; sample its process from outside."""
    sys.path.insert(0, str(ROOT / "test"))
    import node_harness

    with tempfile.TemporaryDirectory() as name, _environment(Path(name)) as domain:
        process = node_harness.supervisor(
            Path(name), vehicle_file=vehicle or node_harness.VEHICLE, allow_unproved=True, **PATIENT)  # fmt: skip
        world = node_harness.World(domain, speed=10.0, gap=1000.0)
        world.configure()
        world.activate()
        world.driving, world.coasting = False, True  # ego keeps its speed, whatever is decided
        gauge, begin, due = Gauge(process.popen.pid), time.monotonic(), 0.0
        modes: Counter[str] = Counter()
        try:
            while (elapsed := time.monotonic() - begin) < hours * 3600:
                world.run_for(0.5)
                world.put_object(1000.0)
                modes.update(decision["mode"] for decision in world.decisions[1:])
                world.decisions[:-1] = []  # ours to bound, not the node's
                for kept in (world.statuses, world.commands, world.fallbacks, world.heartbeats):
                    del kept[:-1]
                if elapsed >= due:
                    gauge.sample(elapsed / 3600)
                    due += max(hours * 36, 5.0)
                    alive = process.popen.poll() is None
                    yield {**gauge.figures(), "alive_at_the_end": alive, "decisions": dict(modes)}
        finally:
            world.close()
            code = process.stop() if process.popen.poll() is None else process.popen.returncode
    yield {**gauge.figures(), "alive_at_the_end": alive, "exit_code": code, "decisions": dict(modes)}


SOAKS = {"replay": soak_replay, "step": soak_step, "node": soak_node}


def soaked(
    what: str, hours: float, keep: Callable[[dict[str, Any]], None], vehicle: Path | None = None
) -> dict[str, Any]:
    """Run one soak to its end or to SIGTERM and return its figures; `keep` gets them now and then, and at the end."""
    ends: list[int] = []
    both = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.signal(number, lambda n, _: ends.append(n)) for number in both}
    figures: dict[str, Any] = {}
    kept = time.monotonic()
    try:
        for figures in SOAKS[what](hours, vehicle):
            if ends:
                break
            if time.monotonic() - kept >= RECORDED_EVERY:
                keep(figures)
                kept = time.monotonic()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    keep(figures)
    return figures


def main() -> int:
    """Run one soak; 1 when memory grows, a handle leaks or decisions drift."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=sorted(SOAKS))
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--vehicle", metavar="FILE", type=Path, help="vehicle file (default: the passenger car)")
    parser.add_argument("--record", action="store_true", help="write the figures into docs/evidence/campaign.json")
    args = parser.parse_args()

    def keep(figures: dict[str, Any]) -> None:
        if args.record:
            name = f"{args.what}_{args.vehicle.stem}" if args.vehicle else args.what
            record("soak", {name: {"asked_hours": args.hours, **figures}}, merge=True)

    figures = soaked(args.what, args.hours, keep, args.vehicle)
    print(json.dumps(figures))
    drift = figures.get("passes_that_differ", 0) + figures.get("laps_that_differ", 0)
    return int(not figures["flat"] or figures["handle_leak"] or drift > 0)


if __name__ == "__main__":
    sys.exit(main())
