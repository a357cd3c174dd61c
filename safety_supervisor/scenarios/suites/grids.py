"""The R157 grids as suites."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config, to_mapping, with_values
from safety_supervisor.scenarios.sensors import stream
from safety_supervisor.scenarios.suites import loop, r157
from safety_supervisor.scenarios.suites.batch import Batch
from safety_supervisor.scenarios.suites.case import Case, prolonged
from safety_supervisor.scenarios.suites.suite import Options, Picture, Row, Spec, row

PASSED = 10.0
"""Ego is this far ahead of the other car's front [m] when nothing more can come of a case."""

LEAD_IN = 2.0
"""With sensor models the cars have been driving for so long [s] before the case begins: nobody appears from nowhere."""

VEHICLE: Mapping[str, Any] = {
    "vehicle.name": "r157", "vehicle.front": r157.LENGTH / 2, "vehicle.rear": r157.LENGTH / 2,
    "vehicle.width": r157.WIDTH, "odd.grade_max": 0.0,
    "timing.period": 1 / r157.FREQUENCY, "timing.overrun": 0.0, "timing.gate_timeout": 1 / r157.FREQUENCY,
    "timing.actuation_delay": 0.0, "health.self_test_time": 0.0,
    "envelope.assumed_brake": r157.BRAKE, "envelope.assumed_jerk": r157.JERK,
    "fallback.emergency_deceleration": r157.BRAKE, "fallback.emergency_jerk": r157.JERK,
}  # fmt: skip
"""What the grids say about the vehicle; a level road, because 0.774 g needs all the grip of friction 0.8; the
supervisor has been on before."""

PERFECT: Mapping[str, Any] = {
    "envelope.gap_sigma_floor": 0.0, "envelope.speed_error": 0.0, "envelope.speed_error_ratio": 0.0,
    "corridor.object_half_width": 0.0,
}  # fmt: skip
"""Perfect sensors err by nothing and see the outline itself, not a reflection somewhere on the body."""

ALL_ROUND: Mapping[str, Any] = {"kind": "radar", "topic": "radar", "x": 0.0, "half_angle": np.pi, "range_max": 500.0}


@dataclass(frozen=True, slots=True)
class GridSuite:
    """One of the grids."""

    name: str
    title: str
    picture: Picture
    needs: str | None = None
    usual: int | None = None

    def specs(self, options: Options) -> Sequence[Spec]:
        """Return every case; a stratum has the same speeds."""
        del options
        columns = table(self.name).columns
        speeds = zip(columns["ego_kph"], columns.get("other_kph", columns["ego_kph"]), strict=True)
        return [Spec(i, f"{a:g} {b:g}") for i, (a, b) in enumerate(speeds)]

    def configure(self, config: Config, options: Options) -> Config:
        """Return the vehicle of the published models; with perfect sensors all round it."""
        if not options.sensed:
            return with_values(config, {**VEHICLE, **PERFECT, "sensors": {"radar": ALL_ROUND}}, self.name)
        shift = r157.LENGTH / 2 - config.vehicle.front
        radars = to_mapping(config)["sensors"]
        radars = {n: {**s, "x": s["x"] + shift} for n, s in radars.items() if s["kind"] == "radar"}
        return with_values(config, {**VEHICLE, "sensors": radars}, self.name)

    def run(self, ids: Sequence[int], config: Config, options: Options) -> list[Row]:
        """Run cases: at once with perfect sensors, one by one with sensor models."""
        cases = [r157.case(table(self.name), i) for i in ids]
        none, first = r157.reference(cases, np.inf), r157.reference(cases, 0.0)
        ended = [self._sensed(one, config, options) for one in cases] if options.sensed else self.at_once(cases, config)
        return [result(one, none, first, k, o) for k, (one, o) in enumerate(zip(cases, ended, strict=True))]

    def at_once(self, cases: Sequence[Case], config: Config) -> Sequence[loop.Outcome]:
        """Run cases with perfect sensors in one batch."""
        return Batch(cases, config, [over(self.name, one) for one in cases]).run()

    def _sensed(self, one: Case, config: Config, options: Options) -> loop.Outcome:
        driven = prolonged(one, LEAD_IN)
        return loop.run(driven, config, case_seed(options.seed, one.id), over=over(self.name, driven))

    def extra(self, rows: Sequence[Row], weights: Sequence[float]) -> Mapping[str, Any]:
        """Nothing beyond the counts."""
        del rows, weights
        return {}


def result(one: Case, none: r157.Reference, first: r157.Reference, k: int, o: loop.Outcome) -> Row:
    """Return the row of one case; `k` is its place in the references."""
    parameters = {key: round(float(value), 6) for key, value in one.parameters.items()}
    without, bound = ((bool(r.collision[k]), float(r.impact[k])) for r in (none, first))
    return row(one.id, parameters, without, bound, o)


@functools.cache
def table(name: str) -> r157.Grid:
    """Return a grid, made once."""
    return r157.grid(name)


def over(name: str, one: Case) -> loop.Over:
    """Return when nothing more can come of a case: both cars keep speed, and the other is slower behind, or faster."""
    if not name.startswith("r157-cut-in"):
        return loop.never
    motion, other = one.bodies[0].motion, float(one.bodies[0].motion[0, 3])

    def settled(step: int, station: float, speed: float) -> bool:
        ahead = motion[min(step, len(motion) - 1), 0] - station
        return bool((ahead >= r157.LENGTH and speed <= other) or ahead <= -r157.LENGTH - PASSED)

    return settled


def case_seed(seed: int, case: int) -> int:
    """Return the seed of one case's sensor models."""
    return int(stream(seed, f"case {case}").integers(2**31))


_CUT_IN = Picture(
    "gap_m", "lateral_mps", ("ego_kph", "other_kph"), "gap at full lateral speed [m]", "lateral speed [m/s]"
)
SUITES = (
    GridSuite("r157-cut-in-low", "UN R157 cut-in, ego up to 60 km/h", _CUT_IN),
    GridSuite("r157-cut-in-high", "UN R157 cut-in, ego 70 to 130 km/h", _CUT_IN),
    GridSuite("r157-cut-out", "UN R157 cut-out in front of a standing car, ego 2 s behind the lead",
              Picture("front_m", "lateral_mps", ("ego_kph",), "standing car ahead of lead [m]", "lateral speed [m/s]")),
    GridSuite("r157-decel", "UN R157 lead that brakes, ego 2 s behind it",
              Picture("ego_kph", "lead_brake_g", (), "ego [km/h]", "lead brakes [g]")),
)  # fmt: skip
