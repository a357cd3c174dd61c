"""The verb `fleet`: recordings times parameter sets, resumable, with a gate against an earlier run."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from safety_supervisor import __version__
from safety_supervisor.fleet import baseline, labels
from safety_supervisor.fleet.cluster import cores, finished
from safety_supervisor.fleet.errors import FleetError, require
from safety_supervisor.fleet.jobs import Job, ParameterSet, code_digest, drives, jobs, parameter_sets
from safety_supervisor.fleet.store import Store, check_folder, check_run
from safety_supervisor.fleet.work import Result

DONE, FAILED, USAGE = 0, 1, 2
SHOWN_MAX = 20
"""Failures and changes that are printed; all are in the files."""
EVERY = 10.0
"""Time between two lines of progress where there is no terminal [s]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor fleet`."""
    parser.add_argument("bags", metavar="BAG", type=Path, nargs="+", help="recordings, or folders of recordings")
    grid = "YAML: parameters with lists of values (every combination), or a list of named parameter sets"
    parser.add_argument("--grid", metavar="FILE", type=Path, help=grid)
    parser.add_argument("--config", metavar="FILE", type=Path, help="vehicle file; without it one is derived")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change a parameter everywhere")
    parser.add_argument("--mapping", metavar="FILE", type=Path, help="YAML: which topic and which frame is what")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("fleet"), help="results; resumed if there")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler (default: this machine)")
    parser.add_argument("--workers", metavar="N", type=int, help="processes here (default: cores); 0: none")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="CSV: which interventions were needed")
    parser.add_argument("--baseline", metavar="RUN", type=Path, help="exit 1 if interventions differ from RUN")
    parser.add_argument("--tolerance", metavar="S", type=float, default=0.0, help="allowed difference of times")
    parser.add_argument("--quiet", action="store_true", help="print failures and changes only")


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet; 0 when all is, 1 for failed recordings or changed interventions, 2 when all failed."""
    require("fleet", "pyarrow")
    _refuse(args)
    known = labels.load(args.labels) if args.labels else []
    sets = parameter_sets(args.grid, args.set, args.config)
    todo = jobs(drives(args.bags), sets, args.config, args.mapping)
    check_folder(args.out)
    workers = cores() if args.workers is None else args.workers
    with Store(args.out) as store:
        earlier = {key: result for key, result in store.results().items() if result["run"]["status"] == "ok"}
        left = [job for job in todo if job.key not in earlier]
        if not args.quiet:
            _introduce(todo, left, sets, args, workers)
        try:
            for job, result in _watched(finished(left, args.scheduler, workers), len(left), args.quiet):
                store.add(job, result)
        except BaseException:
            if not args.quiet:
                print(f"safety-supervisor: the same command goes on with what {args.out}/ has", file=sys.stderr)
            raise
        finally:
            results = _results(store, todo)
            unknown = labels.apply(known, results)
            store.write(_manifest(args, sets), sets, results)
    return _conclude(args, results, unknown)


def _refuse(args: argparse.Namespace) -> None:
    if args.workers is not None and args.workers < 0:
        raise FleetError(f"--workers is {args.workers}, expected 0 or more")
    if args.workers is not None and args.scheduler:
        raise FleetError("--workers is about this machine: leave it out with --scheduler, whose workers are its own")
    if not args.tolerance >= 0:
        raise FleetError(f"--tolerance is {args.tolerance}, expected seconds, 0 or more")
    if args.baseline is not None:
        check_run(args.baseline)
        if args.out.exists() and args.baseline.resolve() == args.out.resolve():
            raise FleetError(f"--baseline {args.baseline}: is the folder of this run itself, expected an earlier one")


def _results(store: Store, todo: Sequence[Job]) -> list[Result]:
    """Return the results of this run's jobs; what an earlier run did beside them stays in the journal only."""
    found = store.results()
    return [found[job.key] for job in todo if job.key in found]


def _manifest(args: argparse.Namespace, sets: Sequence[ParameterSet]) -> dict[str, Any]:
    return {
        "version": __version__,
        "code": code_digest(),
        "config": args.config.name if args.config else None,
        "parameter_sets": {one.name: list(one.values) for one in sets},
    }


# --- what the terminal sees -----------------------------------------------------------------------------------


def _introduce(
    todo: Sequence[Job], left: Sequence[Job], sets: Sequence[ParameterSet], args: argparse.Namespace, workers: int
) -> None:
    where = f"scheduler {args.scheduler}" if args.scheduler else f"{workers} workers" if workers else "this process"
    print(f"fleet    {len(todo) // len(sets)} recordings x {len(sets)} parameter sets = {len(todo)} jobs on {where}")
    if len(left) < len(todo):
        print(f"resumed  {len(todo) - len(left)} are done, {len(left)} left")


def _watched(results: Iterable[tuple[Job, Result]], count: int, quiet: bool) -> Iterator[tuple[Job, Result]]:
    """Pass results on, with a bar on a terminal or a line now and then elsewhere; name each failure at once."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty() and not quiet
    began = shown = time.monotonic()
    failures = 0
    with tqdm(total=count, unit="job", desc="fleet", leave=False, file=sys.stderr, disable=not terminal) as bar:
        for done, (job, result) in enumerate(results, 1):
            if result["run"]["status"] != "ok":
                failures += 1
                if failures <= SHOWN_MAX:
                    name = f"{job.drive.name} ({job.parameters.name})"
                    tqdm.write(f"failed   {name}: {result['run']['error']}", file=sys.stderr)
            yield job, result
            bar.update()
            if not terminal and not quiet and time.monotonic() - shown > EVERY:
                shown = time.monotonic()
                print(f"progress {done} of {count} jobs, {shown - began:.0f} s", file=sys.stderr)


def _conclude(args: argparse.Namespace, results: Sequence[Result], unknown: int) -> int:
    runs = [result["run"] for result in results]
    good = [row for row in runs if row["status"] == "ok"]
    if unknown:
        print(f"labels   {unknown} lines name no recording of this run", file=sys.stderr)
    if not args.quiet:
        hours = sum(row["duration_s"] for row in good) / 3600
        stops = sum(row["stops"] for row in good)
        print(f"done     {len(good)} of {len(runs)} jobs, {hours:.2f} h: {sum(row['interventions'] for row in good)} "
              f"interventions, {stops} of them stops")  # fmt: skip
        print(f"results  {args.out}/: ask them with `safety-supervisor ask --run {args.out} --list`")
    code = DONE if len(good) == len(runs) else FAILED if good else USAGE
    if code:
        print(f"safety-supervisor: {len(runs) - len(good)} of {len(runs)} jobs failed", file=sys.stderr)
    if args.baseline is None:
        return code
    found = baseline.changes(args.baseline, args.out, args.tolerance)
    _write_changes(args.out / "changes.json", found)
    for row in found[:SHOWN_MAX]:
        print(f"{row['change']:8} {row['bag']} ({row['parameters']}): {row['text']}")
    if len(found) > SHOWN_MAX:
        print(f"         and {len(found) - SHOWN_MAX} more in {args.out / 'changes.json'}")
    verdict = f"{len(found)} changes" if found else "no intervention changed"
    print(f"baseline {args.baseline}: {verdict}")
    return max(code, FAILED) if found else code


def _write_changes(path: Path, found: Sequence[dict[str, Any]]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(list(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)
