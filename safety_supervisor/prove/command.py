"""The verb `prove`: one line a claim; exit code 0 only when all is PROVED and every control REFUTED."""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config
from safety_supervisor.prove import claims, engine, second_opinion, solvers
from safety_supervisor.prove.claims import Claim, ClaimError
from safety_supervisor.prove.engine import PROVED, REFUTED, Outcome, Result
from safety_supervisor.prove.second_opinion import SecondOpinion

DONE, FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor prove`."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="vehicle file; without it the defaults")
    parser.add_argument("--claims", metavar="PATTERN", default="*", help="ids to prove, for example 'LON-*'")
    parser.add_argument("--proofs", metavar="DIR", type=Path, help="folder of claim files (default: the shipped one)")
    parser.add_argument("--smt2", metavar="DIR", type=Path, help="write every query as SMT-LIB 2")
    parser.add_argument("--cross-check", action="store_true", help="have every proved query checked again by cvc5")
    parser.add_argument("--ablation", action="store_true", help="say which assumptions carry weight (slow)")
    parser.add_argument(
        "--certificate", metavar="FILE", type=Path, help="write the certificate of this vehicle file if all is proved"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON")


def run(args: argparse.Namespace) -> int:
    """Prove the claims asked for; raises `ConfigError` or `OSError` for what cannot be read or written."""
    start = time.monotonic()
    _check(args)
    config = vehicle_file.load(args.config) if args.config else Config()
    chosen = _chosen(args)
    if args.smt2:
        args.smt2.mkdir(parents=True, exist_ok=True)
    source = args.config or "default parameters"
    print(f"{source}: parameters {config.digest[:12]}, core {vehicle_file.core_digest()[:12]}, Z3 {solvers.version()}")
    results, checks = [], Counter[str]()
    with SecondOpinion() as second:
        for claim, scope in [(each, scope) for each in chosen for scope in each.scopes]:
            result = engine.decide(claim, scope, config)
            results.append(result)
            print("\n".join(describe(result)), flush=True)
            if result.outcome.result == PROVED:
                checks.update(_check_again(result, args.smt2, second if args.cross_check else None))
            if args.ablation:
                print("\n".join(_weights(result, config)), flush=True)
    good = all(result.good for result in results) and not checks["contradicted"]
    print(_total(results, checks, time.monotonic() - start))
    versions = {"z3": solvers.version()}
    if args.cross_check:
        versions["cvc5"] = second_opinion.version()
    if args.json:
        _write_json(args.json, config, results, versions)
    if args.certificate and good:
        digest = vehicle_file.write_certificate(args.certificate, config, [_entry(r) for r in results], versions)
        print(f"certificate {digest} written to {args.certificate}")
    return DONE if good else FAILED


def _check(args: argparse.Namespace) -> None:
    if args.certificate and not args.config:
        raise ClaimError("--certificate needs --config: a certificate is about one vehicle file")
    if args.certificate and (args.claims != "*" or args.proofs):
        raise ClaimError("--certificate covers all shipped claims: leave --claims and --proofs out")
    if args.cross_check and importlib.util.find_spec("cvc5") is None:
        raise ClaimError("--cross-check needs the Python package 'cvc5', which is not installed")


def _chosen(args: argparse.Namespace) -> list[Claim]:
    folder = args.proofs or vehicle_file.share_dir("proofs")
    every = claims.load(folder)
    chosen = [claim for claim in every if fnmatchcase(claim.id, args.claims)]
    if not chosen:
        raise ClaimError(f"no claim matches {args.claims!r}; there are {', '.join(c.id for c in every)}")
    return chosen


def describe(result: Result) -> list[str]:
    """Return the line of a result, and below it what went wrong."""
    outcome, count = result.outcome, len(result.controls)
    lines = [
        f"{result.claim.id:<8}{outcome.result:<9}{result.seconds:7.2f} s  "
        f"{outcome.paths:>5} {'cases' if result.claim.exhaustive else 'paths'}, {outcome.pruned:>3} pruned  "
        f"controls {result.refuted_controls}/{count}  [{result.scope}] {result.claim.title}"
    ]
    if outcome.detail:
        lines.append(f"        {outcome.detail}")
    lines += [f"        {name} = {value}" for name, value in outcome.shown.items()]
    for text, control in result.controls.items():
        if control.result != REFUTED:
            lines.append(f"        control is {control.result}, not REFUTED: {text}; {control.detail}".rstrip("; "))
    return lines


def _total(results: Sequence[Result], checks: Counter[str], seconds: float) -> str:
    proved = sum(result.outcome.result == PROVED for result in results)
    controls = sum(len(result.controls) for result in results)
    refuted = sum(result.refuted_controls for result in results)
    second = ""
    if checks:
        total = sum(checks.values())
        second = f", cvc5 confirmed {checks['confirmed']} of {total} queries, contradicted {checks['contradicted']}"
    text = f"{proved} of {len(results)} proved, {refuted} of {controls} controls refuted{second}, {seconds:.1f} s"
    return f"{text}: {'PROVED' if all(r.good for r in results) and not checks['contradicted'] else 'NOT PROVED'}"


def _check_again(result: Result, folder: Path | None, second: SecondOpinion | None) -> Iterator[str]:
    """Write the queries of a proved claim, have them checked; yield what cvc5 says of each."""
    for number, query in enumerate(result.outcome.queries, 1):
        text = solvers.smt2(query)
        if folder:
            name = f"{result.claim.id}.{result.scope.replace(' ', '_')}.{number:03d}.smt2"
            (folder / name).write_text(text, encoding="utf-8")
        if second:
            said = second.ask(text)
            if said == "contradicted":
                print(f"        cvc5 contradicts query {number}: {query.text}")
            yield said


def _weights(result: Result, config: Config) -> Iterator[str]:
    found = engine.weight_of_assumptions(result.claim, result.scope, config, result.outcome.assumptions)
    for name, without in found.items():
        says = {PROVED: "carries no weight", REFUTED: "carries weight"}.get(without, f"{without} without it")
        yield f"        {says}: {name}"


def _entry(result: Result) -> dict[str, Any]:
    """Return what the certificate says about a result: nothing that differs from run to run."""
    return {
        "claim": result.claim.id,
        "title": result.claim.title,
        "scope": result.scope,
        "result": result.outcome.result,
        "assumptions": list(result.outcome.assumptions),
        "controls": {text: control.result for text, control in result.controls.items()},
    }


def _write_json(path: Path, config: Config, results: Sequence[Result], versions: Mapping[str, str]) -> None:
    data = {
        "vehicle": config.vehicle.name,
        "parameters": config.digest,
        "core": vehicle_file.core_digest(),
        "solvers": dict(versions),
        "results": [
            {
                **_entry(result),
                **_numbers(result.outcome),
                "basis": result.claim.basis,
                "seconds": round(result.seconds, 3),
                "control_details": {text: _numbers(control) for text, control in result.controls.items()},
            }
            for result in results
        ],
    }
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _numbers(outcome: Outcome) -> dict[str, Any]:
    return {
        "paths": outcome.paths,
        "pruned": outcome.pruned,
        "queries": len(outcome.queries),
        "detail": outcome.detail,
        "counterexample": {name: str(value) for name, value in outcome.values.items()},
        "shown": dict(outcome.shown),
    }
