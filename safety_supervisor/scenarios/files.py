"""Scenario files: one situation as JSON, as `prove --counterexample` writes them; docs/formats.md has the keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safety_supervisor.core.config import Config
from safety_supervisor.scenarios.bag import write_bag
from safety_supervisor.scenarios.policy import Policy
from safety_supervisor.scenarios.run import Run
from safety_supervisor.scenarios.run import run as simulate
from safety_supervisor.scenarios.suite import Scenario, ScenarioError, Silence
from safety_supervisor.scenarios.world import CAR, PEDESTRIAN, TRUCK, VAN, Actor, World

KINDS = {kind.name: kind for kind in (CAR, VAN, TRUCK, PEDESTRIAN)}
KEYS = {"name", "title", "speed", "duration", "motion", "actors", "silences", "values", "begins", "gap"}
ACTOR_KEYS = {"name", "kind", "station", "offset", "speed", "direction", "accelerations", "swerves"}


def load(path: Path) -> Scenario:
    """Return the scenario in a file; raises `ScenarioError` naming file and key, `OSError` when it cannot be read."""
    try:
        return from_data(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (ValueError, RecursionError) as error:
        raise ScenarioError(error if isinstance(error, ScenarioError) else f"{path}: not JSON: {error}") from None


def from_data(data: Any, source: str = "scenario") -> Scenario:
    """Return the scenario that the data describe; raises `ScenarioError` naming the key."""
    _known(data, KEYS, source)
    actors = tuple(_actor(entry, f"{source}: actors[{i}]") for i, entry in enumerate(_list(data, "actors", source)))
    speed = _number(data, "speed", source, 0.0, 100.0)
    return Scenario(
        str(data.get("name", "scenario")), str(data.get("title", "")), World(actors=actors),
        Policy(max(speed, 0.1), blind=frozenset(actor.name for actor in actors)),
        _number(data, "duration", source, 0.1, 3600.0), speed,
        motion=_rows(data, "motion", source, 2), values=dict(data.get("values", {})),
        silences=tuple(_silence(entry, f"{source}: silences[{i}]")
                       for i, entry in enumerate(_list(data, "silences", source))),
    )  # fmt: skip


def _silence(entry: Any, source: str) -> Silence:
    whole = isinstance(entry, (list, tuple)) and len(entry) in (2, 3) and isinstance(entry[0], str)
    if not whole or not all(_finite(x) and x >= 0 for x in entry[1:]):
        raise ScenarioError(f"{source} must be [source, begin, end or nothing], got {entry!r}")
    return Silence(str(entry[0]), *map(float, entry[1:]))


def record(data: Mapping[str, Any], config: Config, folder: Path) -> Run:
    """Drive the scenario, write it as a recording and return the run."""
    made = drive(data, config)
    write_bag(made, folder)
    return made


def drive(data: Mapping[str, Any], config: Config) -> Run:
    """Drive the scenario: as its script says, or, where it has none, by the policy and the supervisor around it."""
    return simulate(from_data(data), config, 0, supervised=not data.get("motion"))


def _actor(entry: Any, source: str) -> Actor:
    _known(entry, ACTOR_KEYS, source)
    kind = KINDS.get(entry.get("kind", "car"))
    if kind is None:
        raise ScenarioError(f"{source}.kind = {entry['kind']!r} must be one of {', '.join(KINDS)}")
    return Actor(
        str(entry.get("name", "object")), kind, _number(entry, "station", source, -500.0, 2000.0),
        _number(entry, "offset", source, -100.0, 100.0, 0.0), _number(entry, "speed", source, 0.0, 100.0, 0.0),
        -1 if _number(entry, "direction", source, -1.0, 1.0, 1.0) < 0 else 1,
        _rows(entry, "accelerations", source, 2), _rows(entry, "swerves", source, 3),
    )  # fmt: skip


def _known(data: Any, keys: set[str], source: str) -> None:
    if not isinstance(data, Mapping):
        raise ScenarioError(f"{source}: expected an object, got {type(data).__name__}")
    unknown = sorted(set(data) - keys)
    if unknown:
        raise ScenarioError(f"{source}: unknown key {unknown[0]}; known: {', '.join(sorted(keys))}")


def _list(data: Mapping[str, Any], key: str, source: str) -> Sequence[Any]:
    value = data.get(key, [])
    if not isinstance(value, (list, tuple)):
        raise ScenarioError(f"{source}: {key} must be a list")
    return value


def _rows(data: Mapping[str, Any], key: str, source: str, width: int) -> tuple[Any, ...]:
    rows = _list(data, key, source)
    for row in rows:
        whole = isinstance(row, (list, tuple)) and len(row) == width and all(_finite(x) for x in row)
        if not whole:
            raise ScenarioError(f"{source}: each entry of {key} must be {width} numbers, got {row!r}")
    return tuple(tuple(map(float, row)) for row in rows)


def _number(
    data: Mapping[str, Any], key: str, source: str, low: float, high: float, default: float | None = None
) -> float:
    value = data.get(key, default)
    if not _finite(value) or not low <= value <= high:
        raise ScenarioError(f"{source}: {key} = {value!r} must be a number from {low:g} to {high:g}")
    return float(value)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
