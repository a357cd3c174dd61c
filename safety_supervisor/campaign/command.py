"""The verb `campaign` of the command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from safety_supervisor import vehicle_file
from safety_supervisor.campaign import matrix, stored, table
from safety_supervisor.campaign.matrix import Cell, Observed, Situation
from safety_supervisor.core.config import Config, ConfigError

Job = tuple[Cell, Situation, Config]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `campaign faults`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    faults = actions.add_parser("faults", help="every input times every fault, on simulated worlds")
    faults.add_argument("--json", type=Path, metavar="FILE", help="write every cell and every run there")
    faults.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes (default: 1)")
    faults.add_argument("--sample", type=_count, metavar="N", help="only N runs, chosen by a fixed seed")
    faults.add_argument("--only", metavar="INPUT[:FAULT]", help="only the cells of an input, or one cell")
    faults.add_argument("--resume", type=Path, metavar="FILE", help="write each run there as it ends, and take those "
                        "that stand there already, of the same code and parameters, instead of running them again")
    faults.add_argument("--config", type=Path, metavar="FILE", help="vehicle file (default: passenger_car.yaml)")


def run(args: argparse.Namespace) -> int:
    """Execute `campaign`; 1 when a cell does not hold."""
    config = vehicle_file.load(args.config or vehicle_file.share_dir("config") / "passenger_car.yaml")
    chosen = [cell for cell in matrix.cells(config) if _wanted(cell, args.only)]
    if not chosen:
        known = ", ".join(dict.fromkeys(cell.source for cell in matrix.cells(config)))
        raise ConfigError(f"--only {args.only!r} names no cell; inputs are {known}")
    jobs = [(c, s, config) for c in chosen if matrix.inapplicable(c) is None for s in matrix.situations(c)]
    if args.sample is not None and args.sample < len(jobs):
        jobs = sorted(random.Random(0).sample(jobs, args.sample), key=jobs.index)
    done = stored.load(args.resume, config) if args.resume else {}
    with stored.Writer(args.resume, config) if args.resume else contextlib.nullcontext() as writer:
        for job, observed in _observed([job for job in jobs if stored.key(*job[:2]) not in done], args.jobs):
            done[stored.key(*job[:2])] = observed
            if writer:
                writer.add(*job[:2], observed)
    seen = [(cell, done[stored.key(cell, situation)]) for cell, situation, _ in jobs]
    rows = [table.record(cell, [o for c, o in seen if c == cell]) for cell in chosen]
    result: dict[str, Any] = table.summary(rows)
    print("\n".join(table.lines(rows)))
    print(f"\n{result['runs']} runs of {result['cells_tried']} cells: {result['collisions']} collisions that the run "
          f"without the fault avoids, {result['collisions_admitted']} of them admitted; "
          f"{result['nominal_too_long']} runs NOMINAL longer than stated")  # fmt: skip
    for name in result["failing"]:
        print(f"does not hold: {name}")
    if args.json:
        data = {"vehicle": config.vehicle.name, "config": config.digest, "seed": matrix.SEED,
                "situations": table.situations(), **result, "matrix": rows}  # fmt: skip
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return int(bool(result["failing"]))


def _wanted(cell: Cell, only: str | None) -> bool:
    return only is None or only in (cell.source, cell.name)


def _observed(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Observed]]:
    quiet = not sys.stderr.isatty()
    if processes == 1 or len(jobs) < 2:
        yield from tqdm(map(_work, jobs), total=len(jobs), unit="run", disable=quiet)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from tqdm(pool.imap(_work, jobs, chunksize=4), total=len(jobs), unit="run", disable=quiet)


def _work(job: Job) -> tuple[Job, Observed]:
    return job, matrix.observe(*job)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)
