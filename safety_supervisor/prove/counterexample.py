"""A counterexample as files: its numbers, exact and in words, a scenario, and a recording of that scenario."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import GROUPS, Config, ConfigError, with_values
from safety_supervisor.prove.engine import REFUTED
from safety_supervisor.prove.jobs import Report
from safety_supervisor.prove.situations import NoSituationError, scenario

SITUATION = {
    "ego_speed": ("ego_speed", "speed", "reading"),
    "ego_acceleration": ("ego_acceleration", "acceleration"),
    "response": ("response",),
    "gap": ("gap", "true_gap", "clear_range", "distance"),
    "object_speed": ("object_speed",),
    "object_acceleration": ("object_acceleration",),
}
"""What a scenario of one object ahead needs, and the names under which claims have it."""

RADAR = {"kind": "radar", "topic": "radar/front/points", "x": 3.7, "range_max": 250.0}
"""For a vehicle file without sensors: without one a recording has nothing to judge."""


def write(folder: Path, config: Config, report: Report) -> Path | None:
    """Write the counterexample of a refuted claim and return the file; None for any other result."""
    if report.outcome.result != REFUTED:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{config.vehicle.name}.{report.claim}.{report.scope.replace(' ', '_')}"
    file = folder / f"{name}.json"
    try:
        shown = _record(folder, name, config, report)
    except NoSituationError as reason:
        shown = {"scenario": None, "recording": None, "reason": str(reason)}
    file.write_text(json.dumps({**_data(config, report), **shown}, indent=2) + "\n", encoding="utf-8")
    return file


def told(file: Path) -> str:
    """Return what happens in the recording beside a written counterexample, and how to see it."""
    data = json.loads(file.read_text(encoding="utf-8"))
    if data["recording"] is None:
        return f"; no recording: {data['reason']}"
    what = f"no contact, {data['least_distance']:.2f} m left"
    if data["contact"]:
        what = f"contact after {data['contact_time_s']:.2f} s with {data['impact_speed']:.1f} m/s"
    here = file.parent
    return f": {what}\n  safety-supervisor replay {here / data['recording']} --config {here / data['vehicle_file']}"


def _record(folder: Path, name: str, config: Config, report: Report) -> dict[str, Any]:
    """Write scenario, recording and vehicle file of a counterexample, and say what happens in it."""
    from safety_supervisor.scenarios import files  # simulating and recording are needed here only

    values = {key: float(value) for key, value in report.outcome.values.items()}
    changed = {key: value for key, value in values.items() if key.partition(".")[0] in GROUPS}
    try:
        of_it = with_values(config, changed, report.claim) if changed else config
        if not of_it.sensors_of("radar", "radar_tracks"):
            of_it = with_values(of_it, {"sensors.radar_front": RADAR}, report.claim)
    except ConfigError as error:
        raise NoSituationError(f"no vehicle file may have these parameters: {error}") from None
    data = scenario(report.claim, report.title, values, of_it, changed)
    made = files.record(data, of_it, folder / name)
    (folder / f"{name}.scenario.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    vehicle = folder / f"{name}.yaml"
    vehicle.write_text(vehicle_file.to_text(made.config), encoding="utf-8")
    return {
        "scenario": f"{name}.scenario.json",
        "recording": name,
        "vehicle_file": vehicle.name,
        "contact": made.outcome.collision,
        "contact_time_s": made.outcome.collision_time,
        "impact_speed": made.outcome.impact_speed,
        "least_distance": made.outcome.minimal_distance,
    }


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
