"""Euro NCAP runs (Crash Avoidance Frontal 2026, AEB C2C and VRU 2023) as cases.

Speeds and impact locations come from the expanded table of the vectorgrp/OSC-NCAP-scenarios files (MPL-2.0); the
geometry from the public protocols, as far as those say it. What had to be assumed stands in docs/scenarios.md. Ego
drives along x; at `MEET` [s] it would meet the target unbraked. Percentages are of ego's width, 50 is its middle.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safety_supervisor.core.config import Vehicle
from safety_supervisor.core.world import Floats
from safety_supervisor.scenarios.suites import layout
from safety_supervisor.scenarios.suites.case import Body, Case, Line, Way
from safety_supervisor.scenarios.suites.suite import SuiteError
from safety_supervisor.scenarios.world import Kind, Road, road

MEET, AFTER = 6.0, 5.0
"""Time from the start to the meeting, and longest run after it [s]."""
LANE = 3.5
"""Width of a lane [m]."""
STEADY = {"CPNA": 4.0, "CPFA": 6.0, "CPNCO": 4.0, "CBNA": 17.0, "CBFA": 22.0, "CBNAO": 4.8}
"""Distance [m] that a crossing dummy covers before the meeting."""
SPEED = {"CPNA": 5.0, "CPFA": 8.0, "CPNCO": 5.0, "CBNA": 15.0, "CBFA": 20.0, "CBNAO": 10.0, "CPLA": 5.0, "CBLA": 15.0}
"""Speed of a dummy [km/h] where the table has none."""
REVERSING = "CPRA"
"""Runs that drive backwards: there is no radar behind ego in this suite."""


@dataclass(frozen=True, slots=True)
class Test:
    """One row of the table."""

    row: int
    name: str
    """Name of the test, as CCRs."""
    source: str
    """Folder of its variation file."""
    values: Mapping[str, str]

    def number(self, *keys: str, default: float | None = None) -> float:
        """Return the first of `keys` that the row has; SuiteError when there is none and no default."""
        for key in keys:
            if key in self.values:
                return float(self.values[key])
        if default is None:
            raise SuiteError(f"run {self.row} ({self.name}) has no {' or '.join(keys)}")
        return default


def read(path: Path, part: str) -> list[Test]:
    """Return the rows of a table whose variation file lies in the folder `part`, without those that reverse."""
    tests = []
    with path.open(encoding="utf-8", newline="") as file:
        for i, r in enumerate(csv.DictReader(file)):
            source, _, base = r["variation_file"].partition("/")
            if source == part:
                tests.append(Test(i, test_name(base), base, json.loads(r["parameters"])))
    return [t for t in tests if not t.name.startswith(REVERSING)]


def test_name(file: str) -> str:
    """Return the name of the test in the name of its variation file, as CPNA-25."""
    base = re.sub(r"^NCAP_AEB_(C2C|VRU)_", "", file.rpartition("/")[2].removesuffix(".xosc"))
    found = re.match(r"C[A-Z]{2,4}[a-z]*(?:_FCW)?(?:-\d+)?", base)
    if found is None:
        raise SuiteError(f"no test name in {file!r}")
    return found.group(0)


def parameters(test: Test) -> dict[str, float | str]:
    """Return what distinguishes a run in the result table."""
    family = re.split(r"[-_]", test.name)[0]
    speeds = ("Target_init_speed_kph", "Target_finalSpeed_kph", "Target_final_speed_kph", "GVT_init_speed_kph")
    other = test.number(*speeds, "VRU_finalSpeed_kph", default=SPEED.get(family, 0.0))
    return {"test": test.name, "file": test.source, "ego_kph": test.number("Ego_speed_kph"), "other_kph": other,
            "impact_percent": impact(test), "light": test.values.get("LightingConditions", "")}


def impact(test: Test) -> float:
    """Return where on ego's front the target is met [% of its width], 50 in the middle."""
    if "Overlap" in test.values:  # share of ego's width that overlaps, its sign says on which side
        share = test.number("Overlap")
        return 50.0 if abs(share) == 100 else 50.0 + math.copysign(100 - abs(share), share)
    in_name = re.search(r"-(\d+)$", test.name)
    default = float(in_name.group(1)) if in_name else 50.0
    return test.number("ImpactLocation", default=default)


def key(test: Test) -> tuple[object, ...]:
    """Return what the geometry of a run depends on: radar does not care for light and lane markings."""
    ignored = ("LightingConditions", "RoadNetwork")
    return (test.name, impact(test), *sorted((k, v) for k, v in test.values.items() if k not in ignored))


def case(test: Test, vehicle: Vehicle) -> Case:
    """Return a run as a case."""
    family = re.split(r"[-_]", test.name)[0]
    builders = (
        (("CCR", "CMR"), _rear), (("CPLA", "CBLA"), _longitudinal), (("CPNCO", "CBNAO"), _obstructed),
        (("CPNA", "CPFA", "CBNA", "CBFA"), _crossing), (("CCCscp", "CMCscp"), _crossing_path),
        (("CCFhos", "CCFhol"), _head_on), (("CCFtap", "CMFtap"), _turn_across), (("CPTA",), _turn_pedestrian),
    )  # fmt: skip
    for starts, build in builders:
        if family.startswith(starts):
            return build(test, vehicle, family)
    raise SuiteError(f"run {test.row}: the test {test.name!r} is not known")


def _case(test: Test, bodies: Sequence[Body], hazard: float, way: Way | None = None, start: float = 0.0) -> Case:
    speed = test.number("Ego_speed_kph") / 3.6
    steps = round((MEET + AFTER) / layout.DT)
    values = {**parameters(test), "hazard_s": hazard}
    return Case(test.row, values, tuple(bodies), speed, layout.DT, steps, way or Line(), start)


def _time() -> Floats:
    return layout.times(MEET + AFTER)


def _offset(test: Test, vehicle: Vehicle) -> float:
    return vehicle.width * (impact(test) - 50.0) / 100.0


def _front(test: Test, vehicle: Vehicle) -> float:
    """Return where ego's front bumper is at the meeting, on the x axis [m]."""
    return test.number("Ego_speed_kph") / 3.6 * MEET + vehicle.front


def _rear(test: Test, vehicle: Vehicle, family: str) -> Case:
    kind = layout.MOTORCYCLE if family.startswith("CM") else layout.CAR_TARGET
    ego, y, t = test.number("Ego_speed_kph") / 3.6, _offset(test, vehicle), _time()
    other = test.number("Target_init_speed_kph", "GVT_init_speed_kph") / 3.6
    if not family.endswith("b"):
        centre = _front(test, vehicle) + kind.length / 2
        return _case(test, [layout.steady("target", kind, (centre, y), 0.0, other, MEET, t)], 0.0)
    gap = test.number("GVT_headway", default=test.number("Target_time_headway", default=1.0) * ego)
    final = test.number("Target_final_speed_kph", "GVT_final_speed_kph", default=2.0) / 3.6
    brake = test.number("Target_deceleration", "GVT_deceleration", default=4.0)
    begin = 2.0  # both have settled
    at = (vehicle.front + gap + kind.length / 2, y)
    return _case(test, [layout.braking("target", kind, at, other, begin, brake, final, t)], begin)


def _longitudinal(test: Test, vehicle: Vehicle, family: str) -> Case:
    kind = layout.BICYCLE if family.startswith("CB") else layout.ADULT
    speed = test.number("Target_final_speed_kph", "VRU_finalSpeed_kph", default=SPEED[family]) / 3.6
    at = (_front(test, vehicle) + kind.length / 2, _offset(test, vehicle))
    return _case(test, [layout.steady("target", kind, at, 0.0, speed, MEET, _time())], 0.0)


def _dummy(test: Test, vehicle: Vehicle, family: str, kind: Kind) -> tuple[Body, float]:
    """Return a dummy that crosses at a right angle, and when it starts to move."""
    speed = test.number("VRU_finalSpeed_kph", default=SPEED[family]) / 3.6
    far = family[2] == "F"
    # From the near side the impact location counts from the right edge, from the far side from the left one.
    side = -1.0 if far else 1.0
    y = side * _offset(test, vehicle)
    begin = max(MEET - STEADY[family] / speed, 0.0)
    direction = -math.pi / 2 if far else math.pi / 2
    at = (_front(test, vehicle) + kind.width / 2, y)
    return layout.steady("target", kind, at, direction, speed, MEET, _time(), begin), begin


def _crossing(test: Test, vehicle: Vehicle, family: str) -> Case:
    body, begin = _dummy(test, vehicle, family, layout.BICYCLE if family.startswith("CB") else layout.ADULT)
    return _case(test, [body], begin)


def _obstructed(test: Test, vehicle: Vehicle, family: str) -> Case:
    """A row of two parked cars on the near side; the dummy comes out 1 m before the first of them."""
    child = family == "CPNCO"
    body, begin = _dummy(test, vehicle, family, layout.CHILD if child else layout.BICYCLE)
    x = _front(test, vehicle) - 1.0
    small, large = layout.PARKED_SMALL, layout.PARKED_LARGE
    aside = (1.0 + vehicle.width / 2 if child else 3.55) + small.width / 2
    first = layout.standing("parked", small, x - small.length / 2, -aside)
    second = layout.standing("parked", large, x - small.length - 0.2 - large.length / 2, -aside)
    return _case(test, [body, first, second], begin)


def _crossing_path(test: Test, vehicle: Vehicle, family: str) -> Case:
    """A car meets ego's front a quarter of its length behind its own front; a motorcycle meets ego's flank."""
    speed = test.number("Target_final_speed_kph") / 3.6
    left = test.number("ImpactSide", default=1.0) > 0
    direction = -math.pi / 2 if left else math.pi / 2
    ahead = -1.0 if left else 1.0
    front = _front(test, vehicle)
    if family.startswith("CM"):
        kind = layout.MOTORCYCLE
        at = (front - 0.1 * (vehicle.front + vehicle.rear), -ahead * (vehicle.width / 2 + kind.length / 2))
    else:
        kind = layout.CAR_TARGET
        at = (front + kind.width / 2, -ahead * kind.length / 4)
    return _case(test, [layout.steady("target", kind, at, direction, speed, MEET, _time())], 0.0)


def _head_on(test: Test, vehicle: Vehicle, family: str) -> Case:
    """Straight towards ego, or changing into ego's lane so that it is there 1 s before the meeting."""
    kind, t = layout.CAR_TARGET, _time()
    speed = test.number("Target_init_speed_kph", "Target_final_speed_kph", default=test.number("Ego_speed_kph")) / 3.6
    at = (_front(test, vehicle) + kind.length / 2, _offset(test, vehicle))
    body = layout.steady("target", kind, at, math.pi, speed, MEET, t)
    if family == "CCFhos":
        return _case(test, [body], 0.0)
    duration = test.number("Trajectory_laneChangeDistance") / speed
    begin = MEET - 1.0 - duration
    y, vy = layout.smooth(t, begin, duration, LANE, at[1])
    motion = body.motion.copy()
    motion[:, 1], motion[:, 4] = y, vy
    motion[:, 2] = np.arctan2(vy, motion[:, 3])
    return _case(test, [Body("target", kind, motion)], begin)


def _turn(test: Test, side: int) -> Road:
    """Return a road that goes straight to station 0 and turns by 90 degrees with the clothoids of the table."""
    radius, gentle = test.number("Trajectory_R2"), test.number("Trajectory_R1")
    alpha, beta = (math.radians(test.number(k)) for k in ("Trajectory_alpha", "Trajectory_beta"))
    clothoid = alpha / ((1 / gentle + 1 / radius) / 2)
    pieces = ((100.0, 0.0), (clothoid, side / radius), (beta * radius, side / radius), (clothoid, side / gentle),
              (5.0, 0.0), (150.0, 0.0))  # fmt: skip
    return road(pieces)


def _turn_across(test: Test, vehicle: Vehicle, family: str) -> Case:
    """Ego turns left across an oncoming target in the next lane; both fronts meet in that lane's middle."""
    way = _turn(test, 1)
    kind = layout.MOTORCYCLE if family.startswith("CM") else layout.CAR_TARGET
    speed = test.number("Target_finalSpeed_kph", "Target_final_speed_kph") / 3.6
    ego = test.number("Ego_speed_kph") / 3.6
    station = layout.crossing(way, vehicle.front, lambda _, y: y - LANE, -10.0, 60.0)
    x, _, yaw = way.pose(station)
    at = (float(x) + vehicle.front * math.cos(float(yaw)) + kind.length / 2, LANE)
    body = layout.steady("target", kind, at, math.pi, speed, MEET, _time())
    return _case(test, [body], 0.0, way, station - ego * MEET)


def _turn_pedestrian(test: Test, vehicle: Vehicle, family: str) -> Case:
    """Ego turns; an adult crosses the road that it turns into, in ego's first direction or against it."""
    far, same = family[4] == "f", family.endswith("s")
    way, side = _turn(test, 1 if far else -1), 1 if far else -1
    ego, speed = test.number("Ego_speed_kph") / 3.6, 5.0 / 3.6
    line = test.number("VRU_centerlineOffset")
    station = layout.crossing(way, vehicle.front, lambda _, y: side * y - line, -10.0, 80.0)
    x, _, yaw = way.pose(station)
    at = (float(x) + vehicle.front * math.cos(float(yaw)), side * (line + layout.ADULT.width / 2))
    begin = max(MEET - test.number("VRU_collisionDist") / speed, 0.0)
    body = layout.steady("target", layout.ADULT, at, 0.0 if same else math.pi, speed, MEET, _time(), begin)
    return _case(test, [body], begin, way, station - ego * MEET)
