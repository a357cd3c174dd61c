"""Suites of single tests beside a bound: full braking as soon as the target can physically be detected.

The bound brakes with the same actuators, `CONFIRMATION` [s] after the first moment at which a sensor of the vehicle has
a point of the target in range, in view and in sight, but not before the hazard begins (`hazard_s`: the dummy starts to
walk, the lead to brake, the car to change lane).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safety_supervisor.core.config import Config, to_mapping, with_values
from safety_supervisor.scenarios.suites import alks, loop, ncap
from safety_supervisor.scenarios.suites.case import Case
from safety_supervisor.scenarios.suites.grids import PERFECT, case_seed
from safety_supervisor.scenarios.suites.suite import Options, Picture, Row, Spec, SuiteError, row

CONFIRMATION = 0.2
"""From the first possible detection to full demand of the bound [s]: four scans at 20 Hz."""
MISSED_SHARE = 0.02
"""Share of what the bound avoids that may be hit."""
SPEED_SHARE, SPEED_FLOOR = 0.1, 1 / 3.6
"""An impact may be faster than the bound's by this share of it, at least by this [m/s]."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A case that a table lists; cases of equal `key` have the same geometry and are run once."""

    id: int
    stratum: str
    key: tuple[object, ...]
    parameters: Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class TimedSuite:
    """A suite whose cases come from a table in the data folder."""

    name: str
    title: str
    needs: str
    picture: Picture
    read: Callable[[Path], Sequence[Listed]]
    build: Callable[[Path, int, Config], Case]
    usual: int | None = None
    """Size of the sample when none is asked for; None for every case."""

    def specs(self, options: Options) -> Sequence[Spec]:
        """Return every case of the table."""
        return [Spec(item.id, item.stratum) for item in self._listed(options)]

    def configure(self, config: Config, options: Options) -> Config:
        """Return the vehicle with its radars alone; with perfect sensors without the allowances for their errors."""
        radars = {n: s for n, s in to_mapping(config)["sensors"].items() if s["kind"] != "ultrasonic"}
        return with_values(config, {**({} if options.sensed else PERFECT), "sensors": radars}, self.name)

    def run(self, ids: Sequence[int], config: Config, options: Options) -> list[Row]:
        """Run cases, each geometry once."""
        listed = {item.id: item for item in self._listed(options)}
        done: dict[tuple[object, ...], Row] = {}
        rows = []
        for i in ids:
            item = listed[i]
            if options.sensed or item.key not in done:
                done[item.key] = self._one(item, config, options)
            rows.append({**done[item.key], "case": i, **item.parameters})
        return rows

    def extra(self, rows: Sequence[Row], weights: Sequence[float]) -> Mapping[str, Any]:
        """Return the comparison with the bound, in all and by test."""
        del weights
        by_test: dict[str, list[Row]] = defaultdict(list)
        for r in rows:
            by_test[str(r["test"])].append(r)
        return {"bound": against_bound(rows), "tests": {name: against_bound(some) for name, some in by_test.items()}}

    def _listed(self, options: Options) -> Sequence[Listed]:
        return _read(self.read, self._folder(options))

    def _folder(self, options: Options) -> Path:
        if options.data is None:
            raise SuiteError(f"suite {self.name} needs {self.needs}; name its folder with --data DIR")
        return options.data / self.needs

    def _one(self, item: Listed, config: Config, options: Options) -> Row:
        case = self.build(self._folder(options), item.id, config)
        hazard = float(case.parameters["hazard_s"])
        names = [b.name for b in case.bodies]
        seen = loop.first_sight(case, config, "target") if "target" in names else float("inf")
        begin = max(seen, hazard) + CONFIRMATION
        without, bound = loop.braked(case, config, float("inf")), loop.braked(case, config, begin)
        seed = case_seed(options.seed, item.id) if options.sensed else None
        o = loop.run(case, config, seed)
        told = replace(case, parameters={**item.parameters, "hazard_s": hazard, "bound_brakes_s": min(begin, 1e6)})
        return row(item.id, told.parameters, without, bound, o)


@functools.lru_cache(maxsize=8)
def _read(read: Callable[[Path], Sequence[Listed]], folder: Path) -> Sequence[Listed]:
    return read(folder)


def against_bound(rows: Sequence[Row]) -> dict[str, Any]:
    """Compare with the bound: what it avoids must be avoided, and impacts be about as slow."""
    avoidable = [r for r in rows if r["collision_without"] and not r["collision_bound"]]
    missed = [r for r in avoidable if r["collision"]]
    hits = [r for r in rows if r["collision_without"] and r["collision_bound"]]
    faster = [r for r in hits if r["impact_mps"] > allowed(r["impact_bound_mps"])]
    return {
        "cases": len(rows), "avoided_by_bound": len(avoidable), "missed": len(missed),
        "missed_share": round(len(missed) / len(avoidable), 4) if avoidable else 0.0,
        "not_avoided_by_bound": len(hits), "faster_than_allowed": len(faster),
    }  # fmt: skip


def allowed(impact: float) -> float:
    """Return the fastest impact [m/s] that still counts as that of the bound."""
    return impact + max(SPEED_SHARE * impact, SPEED_FLOOR)


# --- Euro NCAP ------------------------------------------------------------------------------------------------

TABLE = "expanded_runs.csv"


@functools.lru_cache(maxsize=8)
def _tests(folder: Path, part: str) -> dict[int, ncap.Test]:
    return {t.row: t for t in ncap.read(folder / TABLE, part)}


def _listed_tests(part: str, folder: Path) -> Sequence[Listed]:
    tests = _tests(folder, part).values()
    return [Listed(t.row, t.name, ncap.key(t), ncap.parameters(t)) for t in tests]


def _test_case(part: str, folder: Path, id_: int, config: Config) -> Case:
    return ncap.case(_tests(folder, part)[id_], config.vehicle)


def _ncap(name: str, title: str, part: str) -> TimedSuite:
    picture = Picture("ego_kph", "impact_percent", ("test",), "ego [km/h]", "impact location [%]")
    return TimedSuite(name, title, "ncap_openscenario", picture, functools.partial(_listed_tests, part),
                      functools.partial(_test_case, part))  # fmt: skip


NCAP = (
    _ncap("ncap-2026", "Euro NCAP Crash Avoidance Frontal 2026, standard and extended range", "CA-FC_2026"),
    _ncap("ncap-2023-c2c", "Euro NCAP AEB car to car 2023", "AEB_C2C_2023"),
    _ncap("ncap-2023-vru", "Euro NCAP AEB vulnerable road users 2023", "AEB_VRU_2023"),
)


# --- UN R157 Annex 5 ------------------------------------------------------------------------------------------

ALKS_SAMPLE = 600
"""Cases of the alks suite when no other number is asked for."""


def _listed_alks(folder: Path) -> Sequence[Listed]:
    listed = []
    for i, (test, values) in enumerate(alks.read(folder)):
        told = alks.parameters(test, values)
        listed.append(Listed(i, f"{test} {told['ego_kph']:.4g}", (i,), told))
    return listed


ALKS = TimedSuite(
    "alks", "UN R157 Annex 5 tests of the OSC-ALKS-scenarios", "alks_openscenario",
    Picture("ego_kph", "test", (), "ego [km/h]", "test"), _listed_alks, alks.case, ALKS_SAMPLE,
)  # fmt: skip
