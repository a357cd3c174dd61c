"""Size of the report of a long recording: a short one, repeated until it is long.

    python benchmarks/long_report.py BAG [--hours 1] [--json FILE] [--keep DIR]

Every repetition follows the one before without a gap; ego's pose goes on from where it was, so that the drive is one.
The report is that of `safety-supervisor replay`. Topics of odometry, plan and radar objects are repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from the source tree, installed or not

from safety_supervisor.replay.bag import Bag, BagWriter, open_bag
from safety_supervisor.replay.command import replay

NANOSECONDS = 1_000_000_000
POSED = {"nav_msgs/msg/Odometry", "trajectory_msgs/msg/MultiDOFJointTrajectory"}


def main(argv: Sequence[str] | None = None) -> int:
    """Repeat, replay and print the sizes; 2 when there is no such recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", metavar="BAG", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the results here")
    args = parser.parse_args(argv)
    if not args.bag.exists():
        parser.error(f"{args.bag}: no such recording")
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "long", args.keep or Path(folder) / "out"
        with open_bag(args.bag) as bag, BagWriter(path) as writer:
            for topic, kind, t, message in repeated(bag, args.hours * 3600):
                writer.write(topic, kind, t, message)
        began = time.perf_counter()
        summary = replay(path, out)
        sizes = {name: (out / name).stat().st_size for name in ("report.html", "decisions.jsonl", "summary.json")}
    figures = {"seconds": summary["duration_s"], "ticks": summary["ticks"], "replay_s": time.perf_counter() - began,
               "interventions": len(summary["interventions"]), "bytes": sizes}  # fmt: skip
    text = json.dumps(figures, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


def repeated(bag: Bag, duration: float) -> Iterator[tuple[str, str, int, Any]]:
    """Yield the messages of a recording again and again, in time and in place one after the other."""
    known = [t.name for t in bag.topics if t.readable and t.msgtype in POSED | {"radar_msgs/msg/RadarTracks"}]
    length = bag.end - bag.start + 20_000_000
    ends = [m.pose.pose.position for _, kind, _, m in bag.messages(known) if kind == "nav_msgs/msg/Odometry"]
    dx, dy = (ends[-1].x - ends[0].x, ends[-1].y - ends[0].y) if ends else (0.0, 0.0)
    for i in range(math.ceil(duration * NANOSECONDS / length)):
        for topic, kind, t, message in bag.messages(known):
            shift = i * length
            stamp = message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec + shift
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, NANOSECONDS)
            for place in _places(message):
                place.x, place.y = place.x + i * dx, place.y + i * dy
            yield topic, kind, t + shift, message


def _places(message: Any) -> list[Any]:
    if hasattr(message, "pose"):
        return [message.pose.pose.position]
    return [point.transforms[0].translation for point in getattr(message, "points", ())]


if __name__ == "__main__":
    raise SystemExit(main())
