"""What a suite is: a table of cases, a vehicle, and a run of some of them; and what is summed up over its rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Mode
from safety_supervisor.scenarios.suites.loop import Outcome

Row = dict[str, Any]
"""One case with its result: plain numbers, texts and truth values, None where there is nothing to say."""


class SuiteError(ValueError):
    """A suite that cannot be run as asked; one line."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a run."""

    sensed: bool = False
    """Sensor models and tracker in the loop instead of perfect sensors."""
    seed: int = 0
    data: Path | None = None
    """Folder of the scenario tables and recordings."""
    hours: float = 30.0
    """Simulated time of the nuisance suite [h]."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One case before it is run."""

    id: int
    stratum: str
    """Cases of one stratum are alike; a sample takes its share of each."""


@dataclass(frozen=True, slots=True)
class Picture:
    """How a suite is drawn: one panel for each combination of the columns `panel`, one cell for each (x, y)."""

    x: str
    y: str
    panel: tuple[str, ...]
    x_label: str
    y_label: str


class Suite(Protocol):
    """One suite of cases."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def needs(self) -> str | None:
        """Folder below the data folder without which it cannot run."""

    @property
    def picture(self) -> Picture: ...

    @property
    def usual(self) -> int | None:
        """Size of the sample when none is asked for; None for every case."""

    def specs(self, options: Options) -> Sequence[Spec]:
        """Return every case of the suite, in order of id."""

    def configure(self, config: Config, options: Options) -> Config:
        """Return the vehicle that drives the cases."""

    def run(self, ids: Sequence[int], config: Config, options: Options) -> list[Row]:
        """Run cases; a pure function of its arguments."""

    def extra(self, rows: Sequence[Row], weights: Sequence[float]) -> Mapping[str, Any]:
        """Return what the summary says beyond `summary`."""


def row(
    case: int, parameters: Mapping[str, float | str], without: tuple[bool, float], bound: tuple[bool, float] | None,
    o: Outcome,
) -> Row:  # fmt: skip
    """Return the result `o` of one case, beside (collision, impact speed) without reaction and by the bound."""
    return {
        "case": case, **parameters,
        "collision_without": without[0], "impact_without_mps": round(without[1], 4),
        "collision_bound": bound[0] if bound else None, "impact_bound_mps": round(bound[1], 4) if bound else None,
        "collision": o.collision, "impact_mps": round(o.impact_speed, 4), "hit": o.hit,
        "mode": o.worst.name, "stops": " ".join(m.name for m in o.stops),
        "first_stop_s": _rounded(o.first_stop), "stopped_after_s": _rounded(o.stopped),
        "resumed_after_s": _rounded(o.resumed), "simulated_s": round(o.end, 4),
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def sample(specs: Sequence[Spec], wanted: int | None, seed: int) -> list[tuple[Spec, float]]:
    """Return `wanted` specs, each with the number of cases that it stands for; all of them without a number.

    Every stratum gives its share, at least one case; which ones is drawn from `seed` and the stratum alone.
    """
    if wanted is None or wanted >= len(specs):
        return [(spec, 1.0) for spec in specs]
    strata: dict[str, list[Spec]] = defaultdict(list)
    for spec in specs:
        strata[spec.stratum].append(spec)
    chosen: list[tuple[Spec, float]] = []
    for number, members in enumerate(strata.values()):
        share = min(max(round(wanted * len(members) / len(specs)), 1), len(members))
        rows = np.random.default_rng([seed, number]).choice(len(members), share, replace=False)
        chosen += [(members[int(i)], len(members) / share) for i in rows]
    return sorted(chosen, key=lambda item: item[0].id)


def summary(suite: Suite, rows: Sequence[Row], weights: Sequence[float], population: int) -> dict[str, Any]:
    """Count what came of the cases that were run; `scaled` are the same counts for the whole suite."""
    def count(weighted: bool, **wanted: bool) -> float:
        total = 0.0
        for r, w in zip(rows, weights, strict=True):
            if all(bool(r[key]) == value for key, value in wanted.items()):
                total += w if weighted else 1
        return round(total, 1) if weighted else int(total)

    impacts = [r["impact_mps"] for r in rows if r["collision"]]
    hours = sum(r["simulated_s"] for r in rows) / 3600
    stops = Counter(name for r in rows for name in r["stops"].split())
    interventions = sum(stops.values())

    def counts(weighted: bool) -> dict[str, Any]:
        return {
            "collisions_without": count(weighted, collision_without=True),
            "collisions_left": count(weighted, collision_without=True, collision=True),
            "collisions_new": count(weighted, collision_without=False, collision=True),
            "unavoidable": count(weighted, collision_without=True, collision_bound=True),
            "avoidable_left": count(weighted, collision_without=True, collision_bound=False, collision=True),
        }

    told: dict[str, Any] = {
        "cases": len(rows), "population": population, **counts(False),
        "mean_impact_speed_mps": round(float(np.mean(impacts)), 3) if impacts else 0.0,
        "mean_impact_speed_without_mps": _mean([r["impact_without_mps"] for r in rows if r["collision_without"]]),
        "hours": round(hours, 4), "interventions": interventions,
        "interventions_per_hour": round(interventions / hours, 3) if hours else 0.0,
        "comfort_stops": stops[Mode.COMFORT_STOP.name], "firm_stops": stops[Mode.FIRM_STOP.name],
        "emergency_stops": stops[Mode.EMERGENCY_STOP.name] + stops[Mode.UNABLE.name],
    }  # fmt: skip
    if len(rows) < population:
        told["scaled"] = counts(True)
    return {**told, **suite.extra(rows, weights)}


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3) if values else 0.0
