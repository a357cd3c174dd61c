"""Measure how a fleet run scales with workers, and what a bag-hour costs.

    python benchmarks/fleet.py BAG [--copies 8] [--workers 1 2] --json FILE

Copies of one recording are replayed by a local Dask cluster, once for each number of workers. The clock runs from
the first job handed over to the last result, in a cluster whose workers have started and have imported everything;
`start_s` is what that start takes. `same` says that the results were the same for every number of workers.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from the source tree, installed or not

from safety_supervisor.fleet import cluster
from safety_supervisor.fleet.jobs import Job, drives, jobs, parameter_sets


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", metavar="BAG", type=Path)
    parser.add_argument("--copies", metavar="N", type=int, default=8)
    parser.add_argument("--workers", metavar="N", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(argv)
    if not args.bag.exists():
        parser.error(f"{args.bag}: no such recording")
    with tempfile.TemporaryDirectory() as folder:
        work = jobs(drives(copied(args.bag, Path(folder), args.copies)), parameter_sets(None, [], None), None, None)
        measured = {workers: timed(work, workers) for workers in args.workers}
    result = scored(measured)
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["same"] else 1


def copied(bag: Path, folder: Path, copies: int) -> list[Path]:
    """Return copies of a recording under names of their own."""
    places = [folder / f"copy_{i}" / bag.name for i in range(copies)]
    for place in places:
        place.parent.mkdir()
        shutil.copytree(bag, place) if bag.is_dir() else shutil.copy(bag, place)
    return places


def timed(work: Sequence[Job], workers: int) -> dict[str, Any]:
    """Return times and results of all jobs on `workers` processes."""
    began = time.perf_counter()
    with cluster._client(None, workers) as client:
        client.run(_warm)
        ready = time.perf_counter()
        results = [result for _, result in cluster._collected(client, work)]
        done = time.perf_counter()
    runs = sorted((result["run"] for result in results), key=lambda run: run["bag"])
    hours = sum(run["duration_s"] for run in runs) / 3600
    cpu = sum(result["processing"]["cpu_s"] for result in results)
    return {"start_s": ready - began, "wall_s": done - ready, "cpu_s_per_bag_hour": cpu / hours, "runs": runs}


def _warm() -> None:
    from safety_supervisor.fleet import work  # noqa: F401 - the import is the purpose


def scored(measured: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures, the speed-up against the first number of workers."""
    first = next(iter(measured.values()))
    return {
        "scaling": {str(n): round(first["wall_s"] / one["wall_s"], 2) for n, one in measured.items()},
        "same": all(one["runs"] == first["runs"] for one in measured.values()),
        "jobs": len(first["runs"]),
        **{
            name: {str(n): round(one[name], 2) for n, one in measured.items()}
            for name in ("wall_s", "start_s", "cpu_s_per_bag_hour")
        },
    }


if __name__ == "__main__":
    sys.exit(main())
