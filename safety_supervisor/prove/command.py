"""The verb `prove`: one line a claim; exit code 0 only when all is PROVED and every control REFUTED."""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tqdm import tqdm

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config
from safety_supervisor.prove import certificate, claims, counterexample, jobs, ledger, report, second_opinion, solvers
from safety_supervisor.prove.claims import Claim, ClaimError
from safety_supervisor.prove.jobs import Report

DONE, FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor prove`."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="vehicle file; without it the defaults")
    parser.add_argument(
        "--only", metavar="CLAIM", action="append", help="ids to prove, for example 'LON-*'; may be repeated"
    )
    parser.add_argument("--jobs", metavar="N", type=_count, default=1, help="processes to prove with (default: 1)")
    parser.add_argument("--second-solver", action="store_true", help="have every proved query checked again by cvc5")
    parser.add_argument("--ablation", action="store_true", help="say which assumptions carry weight (slow)")
    parser.add_argument(
        "--certificate", metavar="FILE", type=Path, help="write the certificate of this vehicle file if all is proved"
    )
    parser.add_argument("--check", metavar="FILE", type=Path, help="prove nothing: check this certificate, in a second")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON")
    parser.add_argument("--smt2", metavar="DIR", type=Path, help="write every query as SMT-LIB 2")
    parser.add_argument(
        "--counterexample", metavar="DIR", type=Path, help="write each REFUTED claim as numbers, scenario and rosbag"
    )
    parser.add_argument(
        "--witnesses", metavar="DIR", type=Path,
        help="write why each query has no solution, for proofs/check_witnesses.py (slow: use --only)",
    )  # fmt: skip
    parser.add_argument("--ledger", metavar="FILE", type=Path, help="write the ledger of all claims as Markdown")
    parser.add_argument("--safety-case", metavar="FILE", type=Path, help="renew the generated part of this document")
    parser.add_argument(
        "--formulas", metavar="FILE", type=Path, help="prove nothing: renew the formulas in this document"
    )
    parser.add_argument("--proofs", metavar="DIR", type=Path, help="folder of claim files (default: the shipped one)")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, at least 1")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Prove the claims asked for; raises `ConfigError` or `OSError` for what cannot be read or written."""
    _refuse(args)
    if args.formulas:
        from safety_supervisor.prove import formulas  # not part of a proof

        formulas.write(args.formulas)
        print(f"formulas written to {args.formulas}")
        return DONE
    config = vehicle_file.load(args.config) if args.config else Config()
    return _check(args, config) if args.check else _prove(args, config)


def _refuse(args: argparse.Namespace) -> None:
    if (args.certificate or args.check) and not args.config:
        option = "--certificate" if args.certificate else "--check"
        raise ClaimError(f"{option} needs --config: a certificate is about one vehicle file")
    for option in ("certificate", "ledger", "safety_case"):
        if getattr(args, option) and (args.only or args.proofs):
            name = option.replace("_", "-")
            raise ClaimError(f"--{name} covers all shipped claims: leave --only and --proofs out")
    if args.second_solver and importlib.util.find_spec("cvc5") is None:
        raise ClaimError("--second-solver needs the Python package 'cvc5', which is not installed")


def _check(args: argparse.Namespace, config: Config) -> int:
    digest, problems = certificate.check(args.check, config)
    if not problems:
        print(f"{args.check}: certificate {digest} fits {args.config}, this code and every shipped claim")
        return DONE
    print(f"{args.check} does not fit {args.config}:")
    print("\n".join(f"  {problem}" for problem in problems))
    return FAILED


def _prove(args: argparse.Namespace, config: Config) -> int:
    start = time.monotonic()
    folder = args.proofs or vehicle_file.share_dir("proofs")
    chosen = _chosen(claims.load(folder), args.only or ["*"])
    source = args.config or "default parameters"
    print(f"{source}: parameters {config.digest[:12]}, core {vehicle_file.core_digest()[:12]}, Z3 {solvers.version()}")
    options = jobs.Options(smt2=bool(args.smt2), second=args.second_solver, ablation=args.ablation,
                           witnesses=bool(args.witnesses))  # fmt: skip
    reports = []
    for one in _watched(jobs.examine_all(chosen, folder, config, options, args.jobs), chosen):
        tqdm.write("\n".join(report.describe(one, args.ablation)))
        sys.stdout.flush()
        reports.append(one)
    print(report.total(reports, time.monotonic() - start))
    return _write(args, config, reports)


def _watched(reports: Iterator[Report], chosen: Sequence[Claim]) -> Iterator[Report]:
    count = sum(len(claim.scopes) for claim in chosen)
    hidden = not sys.stderr.isatty()
    yield from tqdm(reports, "prove", count, leave=False, file=sys.stderr, unit="claim", disable=hidden)


def _chosen(every: Sequence[Claim], patterns: Sequence[str]) -> list[Claim]:
    for pattern in patterns:
        if not any(fnmatchcase(claim.id, pattern) for claim in every):
            ids = [claim.id for claim in every]
            close = difflib.get_close_matches(pattern.upper(), ids, 1, 0.5)
            hint = f"did you mean {close[0]}?" if close else ""
            raise ClaimError(f"no claim matches {pattern!r}; {hint or 'there are ' + ', '.join(ids)}")
    return [claim for claim in every if any(fnmatchcase(claim.id, pattern) for pattern in patterns)]


def _write(args: argparse.Namespace, config: Config, reports: Sequence[Report]) -> int:
    """Write the files that were asked for and return the exit code."""
    good = all(one.good for one in reports)
    versions = {"z3": solvers.version()}
    if args.second_solver:
        versions["cvc5"] = second_opinion.version()
    for one in reports if args.counterexample else ():
        file = counterexample.write(args.counterexample, config, one)
        if file:
            print(f"counterexample of {one.claim} written to {file}{counterexample.told(file)}")
    if args.smt2:
        _write_queries(args.smt2, reports)
    if args.witnesses:
        _write_witnesses(args.witnesses, config, reports)
    if args.json:
        report.write_json(args.json, config, reports, versions)
    if args.ledger:
        args.ledger.write_text(ledger.text(config, reports), encoding="utf-8")
    if args.safety_case:
        ledger.write_summary(args.safety_case, reports)
    if args.certificate and good:
        entries = [report.entry(one) for one in reports]
        digest = vehicle_file.write_certificate(args.certificate, config, entries, versions)
        print(f"certificate {digest} written to {args.certificate}")
    return DONE if good else FAILED


def _write_queries(folder: Path, reports: Sequence[Report]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in reports:
        for number, text in enumerate(one.smt2, 1):
            name = f"{one.claim}.{one.scope.replace(' ', '_')}.{number:03d}.smt2"
            (folder / name).write_text(text, encoding="utf-8")


def _write_witnesses(folder: Path, config: Config, reports: Sequence[Report]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in reports:
        if one.witness is not None:
            head = {"claim": one.claim, "title": one.title, "vehicle": config.vehicle.name, "scope": one.scope}
            data = {**head, "missing": one.unwitnessed, "queries": one.witness}
            file = folder / f"{config.vehicle.name}.{one.claim}.json"
            file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
