"""A counterexample as a file: its numbers, exact and in words, and the situation in the terms of a scenario."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from safety_supervisor.core.config import Config
from safety_supervisor.prove.engine import REFUTED
from safety_supervisor.prove.jobs import Report

SITUATION = {
    "ego_speed": ("ego_speed", "speed", "reading"),
    "ego_acceleration": ("ego_acceleration", "acceleration"),
    "response": ("response",),
    "gap": ("gap", "true_gap", "clear_range", "distance"),
    "object_speed": ("object_speed",),
    "object_acceleration": ("object_acceleration",),
}
"""What a scenario of one object ahead needs, and the names under which claims have it."""


def write(folder: Path, config: Config, report: Report) -> Path | None:
    """Write the counterexample of a refuted claim and return the file; None for any other result."""
    if report.outcome.result != REFUTED:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{config.vehicle.name}.{report.claim}.{report.scope.replace(' ', '_')}.json"
    file.write_text(json.dumps(_data(config, report), indent=2) + "\n", encoding="utf-8")
    return file


def _data(config: Config, report: Report) -> dict[str, Any]:
    values = report.outcome.values
    return {
        "claim": report.claim,
        "title": report.title,
        "scope": report.scope,
        "vehicle": config.vehicle.name,
        "parameters": config.digest,
        "words": report.outcome.detail,
        "reachable": not report.inductive,
        "situation": _situation(values),
        "values": {name: {"exact": str(value), "decimal": float(value)} for name, value in values.items()},
    }


def _situation(values: Mapping[str, Fraction]) -> dict[str, float]:
    found = {}
    for name, candidates in SITUATION.items():
        known = next((values[key] for key in candidates if key in values), None)
        if known is not None:
            found[name] = float(known)
    return found
