"""What `prove` says about its reports: lines for people, JSON for programs, entries of a certificate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config
from safety_supervisor.prove.engine import PROVED, REFUTED, Outcome
from safety_supervisor.prove.jobs import Report


def describe(report: Report, ablation: bool = True) -> Iterator[str]:
    """Yield the line of a report, and below it what went wrong."""
    outcome = report.outcome
    yield (
        f"{report.claim:<8}{outcome.result:<9}{report.seconds:7.2f} s  "
        f"{outcome.paths:>5} {'cases' if report.exhaustive else 'paths'}, {outcome.pruned:>3} pruned  "
        f"controls {report.refuted_controls}/{len(report.controls)}  [{report.scope}] {report.title}"
    )
    if outcome.detail:
        yield f"        {outcome.detail}"
    yield from (f"        {name} = {value}" for name, value in outcome.shown.items())
    for text, control in report.controls.items():
        if control.result != REFUTED:
            yield f"        control is {control.result}, not REFUTED: {text}; {control.detail}".rstrip("; ")
    yield from (f"        cvc5 contradicts a query: {text}" for text in report.contradicted)
    if report.witness is not None:
        cases = sum(len(query["cases"]) for query in report.witness)
        yield f"        witnesses for {cases} of {cases + report.unwitnessed} cases"
    for name, without in report.weights.items() if ablation else ():
        says = {PROVED: "carries no weight", REFUTED: "carries weight"}.get(without, f"{without} without it")
        yield f"        {says}: {name}"


def total(reports: Sequence[Report], seconds: float) -> str:
    """Return the last line."""
    proved = sum(report.outcome.result == PROVED for report in reports)
    controls = sum(len(report.controls) for report in reports)
    refuted = sum(report.refuted_controls for report in reports)
    checks = sum((Counter(report.checks) for report in reports), Counter[str]())
    second = ""
    if checks:
        asked = sum(checks.values())
        second = f", cvc5 confirmed {checks['confirmed']} of {asked} queries, contradicted {checks['contradicted']}"
    text = f"{proved} of {len(reports)} proved, {refuted} of {controls} controls refuted{second}, {seconds:.1f} s"
    return f"{text}: {'PROVED' if all(report.good for report in reports) else 'NOT PROVED'}"


def entry(report: Report) -> dict[str, Any]:
    """Return what the certificate says about a report: nothing that differs from run to run."""
    return {
        "claim": report.claim,
        "title": report.title,
        "scope": report.scope,
        "result": report.outcome.result,
        "assumptions": list(report.outcome.assumptions),
        "controls": {text: control.result for text, control in report.controls.items()},
    }


def write_json(path: Path, config: Config, reports: Sequence[Report], versions: Mapping[str, str]) -> None:
    """Write every number there is."""
    data = {
        "vehicle": config.vehicle.name,
        "parameters": config.digest,
        "core": vehicle_file.core_digest(),
        "solvers": dict(versions),
        "results": [
            {
                **entry(report),
                **_numbers(report.outcome),
                "queries": report.queries,
                "code": list(report.code),
                "basis": report.basis,
                "seconds": round(report.seconds, 3),
                "second_solver": dict(report.checks),
                "weights": dict(report.weights),
                "control_details": {text: _numbers(control) for text, control in report.controls.items()},
            }
            for report in reports
        ],
    }
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _numbers(outcome: Outcome) -> dict[str, Any]:
    return {
        "paths": outcome.paths,
        "pruned": outcome.pruned,
        "detail": outcome.detail,
        "counterexample": {name: str(value) for name, value in outcome.values.items()},
        "shown": dict(outcome.shown),
    }
