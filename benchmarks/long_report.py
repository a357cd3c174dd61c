"""Size of the report of a long recording: the decisions of a short one, repeated until they are long.

    python benchmarks/long_report.py BAG [--hours 1] [--json FILE] [--keep FILE]

The recording is replayed once. Its decisions follow one another in time and in place, so that the page is that of one
long drive with an intervention wherever the short one has one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from the source tree, installed or not

import numpy as np

from safety_supervisor.core.world import NANOSECONDS, Decision
from safety_supervisor.replay.bag import open_bag
from safety_supervisor.replay.inputs import Options, prepare
from safety_supervisor.replay.report import Pictures, page
from safety_supervisor.replay.results import Collector, summary, timing


def main(argv: Sequence[str] | None = None) -> int:
    """Repeat, build the page and print its size; 2 when there is no such recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", metavar="BAG", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures")
    parser.add_argument("--keep", metavar="FILE", type=Path, help="leave the page here")
    args = parser.parse_args(argv)
    if not args.bag.exists():
        parser.error(f"{args.bag}: no such recording")
    with open_bag(args.bag) as bag:
        ready = prepare(bag, Options())
        decisions = list(ready.run.decisions())
        collector, pictures = Collector(), Pictures(ready.run.config)
        began = time.process_time()
        for decision in repeated(decisions, args.hours * 3600):
            collector.add(decision)
            pictures.add(decision)
        told = summary(ready.run, collector, ready.source, ready.notes, timing(ready.run.tick_seconds, 1.0, 1.0))
        text = page(told, pictures)
    if args.keep:
        args.keep.write_text(text, encoding="utf-8")
    figures = {
        "seconds": told["duration_s"], "ticks": told["ticks"], "interventions": len(told["interventions"]),
        "pictures_collected": len(pictures.kept), "bytes": len(text.encode()),
        "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def repeated(decisions: Sequence[Decision], duration: float) -> Iterator[Decision]:
    """Yield decisions again and again, each time later and farther on."""
    placed = [d.ego for d in decisions if d.ego is not None]
    dx, dy = (placed[-1].x - placed[0].x, placed[-1].y - placed[0].y) if placed else (0.0, 0.0)
    length = decisions[-1].t - decisions[0].t + 50_000_000
    for i in range(math.ceil(duration * NANOSECONDS / length)):
        for d in decisions:
            state = d.tracks.state.copy()
            state[:, 0] += i * dx
            state[:, 1] += i * dy
            ego = d.ego and replace(d.ego, t=d.ego.t + i * length, x=d.ego.x + i * dx, y=d.ego.y + i * dy)
            path = np.add(d.path, (i * dx, i * dy))
            yield replace(
                d, t=d.t + i * length, ego=ego, tracks=replace(d.tracks, state=state), path=path,
                fallback=d.fallback and replace(d.fallback, x=d.fallback.x + i * dx, y=d.fallback.y + i * dy),
            )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
