"""Time the replay of a recording on one core: how many times faster than real time, and against reading alone.

    python benchmarks/replay.py BAG --json FILE [--runs N] [--period 0.05] [--profile]

A run is everything that `safety-supervisor replay --no-report` does: open the recording, derive a profile, read,
deserialise, convert, tick, write decisions.jsonl and summary.json. Imports come before, the report is not made.
`ratio_to_read` compares it with reading the same recording by the rosbags library and deserialising every message of
the topics that the replay uses, which is the least that any tool in Python pays; the two take turns in one process.
Times are medians over the runs; those of the CPU stand beside those of the wall clock, since a machine that does other
things as well slows down the latter.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import os
import platform
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from the source tree, installed or not

from rosbags.highlevel import AnyReader

from safety_supervisor.replay.bag import known_types, open_bag
from safety_supervisor.replay.command import Options, replay


def main(argv: Sequence[str] | None = None) -> int:
    """Time, print and write; 2 when there is no such recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", metavar="BAG", type=Path)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures")
    parser.add_argument("--runs", metavar="N", type=int, default=5, help="runs that the medians are of (default 5)")
    parser.add_argument("--period", metavar="S", type=float, default=0.05, help="tick period [s] (default 0.05)")
    parser.add_argument("--profile", action="store_true", help="print where the time goes (cProfile) instead")
    args = parser.parse_args(argv)
    if not args.bag.exists():
        parser.error(f"{args.bag}: no such recording")
    _pin()
    options = Options(values=[f"timing.period={args.period}"], report=False)
    with tempfile.TemporaryDirectory() as folder:

        def work() -> dict[str, Any]:
            return replay(args.bag, Path(folder) / "out", options)

        summary = work()  # compiles and caches what every later run finds
        if args.profile:
            _profile(work)
            return 0
        topics = [entry["topic"] for entry in summary["inputs"]["found"]]
        figures = measured(work, lambda: read(args.bag, topics), max(args.runs, 1))
    figures |= {"bag": args.bag.resolve().name, "seconds": summary["duration_s"], "ticks": summary["ticks"]}
    result = scored(figures)
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _pin() -> None:
    """Stay on one core, where the system can do that."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def read(path: Path, topics: Sequence[str]) -> int:
    """Read a recording by rosbags alone and deserialise the messages of some topics; return their number."""
    n = 0
    with contextlib.ExitStack() as stack:
        reader: Any
        try:
            reader = stack.enter_context(AnyReader([path], default_typestore=known_types()))
        except Exception:  # a lone or damaged file: by our own reader, in full
            bag = stack.enter_context(open_bag(path))
            return sum(1 for _ in bag.messages(topics))
        wanted = [c for c in reader.connections if c.topic in topics]
        for connection, _, data in reader.messages(wanted):
            reader.deserialize(data, connection.msgtype)
            n += 1
    return n


def measured(work: Callable[[], Any], reading: Callable[[], Any], runs: int) -> dict[str, Any]:
    """Return wall and CPU seconds of each run of both, in turns."""
    reading()
    times: dict[str, list[float]] = {"wall": [], "cpu": [], "read_wall": [], "read_cpu": []}
    for _ in range(runs):
        for prefix, job in (("", work), ("read_", reading)):
            wall, cpu = time.perf_counter(), time.process_time()
            job()
            times[f"{prefix}wall"].append(time.perf_counter() - wall)
            times[f"{prefix}cpu"].append(time.process_time() - cpu)
    return {"runs": {name: [round(value, 4) for value in values] for name, values in times.items()}}


def scored(figures: dict[str, Any]) -> dict[str, Any]:
    """Add speed and ratios to the measured times."""
    runs, seconds = figures["runs"], figures["seconds"]
    median = {name: statistics.median(values) for name, values in runs.items()}
    return {
        "times_real_time": round(seconds / median["wall"], 1),
        "ratio_to_read": round(median["wall"] / median["read_wall"], 2),
        "times_real_time_cpu": round(seconds / median["cpu"], 1),
        "ratio_to_read_cpu": round(median["cpu"] / median["read_cpu"], 2),
        "replay_s": round(median["wall"], 3),
        "read_s": round(median["read_wall"], 3),
        "ms_per_tick": round(median["wall"] / max(figures["ticks"], 1) * 1e3, 3),
        **figures,
        "cores": 1,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _profile(work: Callable[[], Any]) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(work)
    stats = pstats.Stats(profiler)
    stats.sort_stats("cumulative").print_stats(40)
    stats.sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    sys.exit(main())
