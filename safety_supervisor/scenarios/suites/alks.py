"""UN R157 Annex 5 tests as parameterised by the OpenSCENARIO files of asam-oss/OSC-ALKS-scenarios (MPL-2.0).

Straight road, lanes of 3.5 m, ego in its lane's middle at constant speed. Manoeuvres of others begin at `BEGIN` [s];
what the files leave open and is assumed here stands in docs/scenarios.md.
"""

from __future__ import annotations

import csv
import functools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from safety_supervisor.core.config import Config, Vehicle
from safety_supervisor.core.world import Floats
from safety_supervisor.scenarios.suites import layout
from safety_supervisor.scenarios.suites.case import Body, Case
from safety_supervisor.scenarios.suites.suite import SuiteError
from safety_supervisor.scenarios.world import CAR

BEGIN, DURATION, LANE = 2.0, 14.0, 3.5
TABLE = "expanded_runs_car_straight.csv"
Values = Mapping[str, str]


@functools.lru_cache(maxsize=4)
def read(folder: Path) -> tuple[tuple[str, Values], ...]:
    """Return (test, parameters) of each row of the table in `folder`."""
    with (folder / TABLE).open(encoding="utf-8", newline="") as file:
        return tuple((_name(r["variation_file"]), json.loads(r["parameters"])) for r in csv.DictReader(file))


def _name(file: str) -> str:
    found = re.search(r"_(\d_\d_\d)_(\w+?)_variation", file)
    if found is None:
        raise SuiteError(f"no test name in {file!r}")
    return found.group(1).replace("_", ".") + " " + found.group(2)


def parameters(test: str, values: Values) -> dict[str, float | str]:
    """Return what distinguishes a case in the result table."""
    return {"test": test, "ego_kph": ego_speed(values) * 3.6, "case_values": json.dumps(values, sort_keys=True)}


def ego_speed(values: Values) -> float:
    """Return ego's speed [m/s]; 60 km/h where the test has one speed only."""
    return float(values.get("Ego_InitSpeed_Ve0_kph", "60")) / 3.6


def case(folder: Path, id_: int, config: Config) -> Case:
    """Return one row of the table as a case."""
    test, values = read(folder)[id_]
    build = BUILDERS.get(test[:5])
    if build is None:
        raise SuiteError(f"row {id_}: the test {test!r} is not known")
    bodies, hazard = build(values, config.vehicle, layout.times(DURATION))
    told = {**parameters(test, values), "hazard_s": hazard}
    return Case(id_, told, tuple(bodies), ego_speed(values), layout.DT, round(DURATION / layout.DT))


Built = tuple[Sequence[Body], float]


def _free(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    return [], 0.0


def _ahead(values: Values, vehicle: Vehicle, headway: float) -> float:
    """Return where the centre of a lead is at the start [m]."""
    return vehicle.front + headway * ego_speed(values) + CAR.length / 2


def _swerving(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    v, turn = ego_speed(values), 2 * math.pi / 8.0
    y, vy = 0.5 * np.sin(turn * t), 0.5 * turn * np.cos(turn * t)
    return [_driven(t, _ahead(values, vehicle, 2.0) + v * t, np.full_like(t, v), y, vy)], 0.0


def _driven(t: Floats, x: Floats, vx: Floats, y: Floats, vy: Floats, name: str = "target") -> Body:
    yaw = np.where(np.abs(vx) > 1.0, np.arctan2(vy, np.maximum(vx, 1.0)), 0.0) + np.zeros_like(t)
    return Body(name, CAR, np.stack([x, y + np.zeros_like(t), yaw, vx, vy + np.zeros_like(t)], axis=1))


def _side(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    lane = float(values["SideVehicle_InitPosition_RelativeLaneId"])
    toward = float(values["SideVehicle_InitLateralOffset_m"])
    x = (vehicle.front - vehicle.rear) / 2 + float(values["SideVehicle_InitLongitudinalOffset_m"])
    v = ego_speed(values)
    return [_driven(t, x + v * t, np.full_like(t, v), np.full_like(t, lane * LANE - lane * toward), t * 0.0)], 0.0


def _blocking(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    y = float(values.get("TargetBlocking_InitPosition_LateralOffset_m", "0"))
    return [layout.standing("target", CAR, _meeting(values, vehicle), y)], 0.0


def _meeting(values: Values, vehicle: Vehicle) -> float:
    """Return the centre [m] of a standing car that unbraked ego reaches 6 s after the start."""
    return vehicle.front + 6.0 * ego_speed(values) + CAR.length / 2


def _row(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    x = _meeting(values, vehicle)
    names = (("target", 0.0), ("left", LANE), ("right", -LANE))
    return [layout.standing(name, CAR, x, y) for name, y in names], 0.0


def _pedestrian(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    side = 1.0 if float(values.get("Ego_InitPosition_LaneId", "-4")) > 0 else -1.0
    meet, speed = 6.0, 5.0 / 3.6
    at = (vehicle.front + meet * ego_speed(values) + layout.ADULT.width / 2, 0.0)
    begin = meet - 4.0 / speed
    direction = -side * math.pi / 2
    return [layout.steady("target", layout.ADULT, at, direction, speed, meet, t, begin)], begin


def _following(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    """A lead that slows from BEGIN on: with 2 m/s^2 to half its speed, or as hard as the row says to rest."""
    brake = float(values.get("LeadVehicle_Deceleration_Rate_mps2", "2"))
    hard = "LeadVehicle_Deceleration_Rate_mps2" in values
    v = ego_speed(values)
    at = (_ahead(values, vehicle, float(values.get("LeadVehicle_Init_HeadwayTime_s", "2"))),
          float(values.get("LeadVehicle_Init_LateralOffset_m", "0")))  # fmt: skip
    return [layout.braking("target", CAR, at, v, BEGIN, brake, 0.0 if hard else v / 2, t)], BEGIN


def _cut_in(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    """A car of the next lane changes into ego's, its rear `dx0` ahead of ego's front when it begins."""
    lane = float(values["CutInVehicle_InitPosition_RelativeLaneId"])
    v = max(ego_speed(values) + float(values["CutInVehicle_RelativeInitSpeed_Ve0_Vo0_kph"]) / 3.6, 0.0)
    gap, fastest = (float(values[f"CutInVehicle_{k}"]) for k in
                    ("HeadwayDistanceTrigger_dx0_m", "LaneChange_MaxLateralVelocity_Vy_mps"))  # fmt: skip
    duration = 1.5 * LANE / fastest
    y, vy = layout.smooth(t, BEGIN, duration, lane * LANE, 0.0)
    rate = float(values["CutInVehicle_Acceleration_Rate_mps2"])
    vx = np.maximum(v + rate * np.clip(t - BEGIN, 0.0, duration), 0.0)
    travelled = np.concatenate([[0.0], np.cumsum((vx[1:] + vx[:-1]) / 2 * layout.DT)])
    x = vehicle.front + ego_speed(values) * BEGIN + gap + CAR.length / 2 - v * BEGIN + travelled
    return [_driven(t, x, vx, y, vy)], BEGIN


def _cut_out(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    """The lead, 2 s ahead, leaves the lane before a standing car `dx0_f` ahead of it; if it cannot, it stops dead."""
    lane = float(values["CutOutVehicle_RelativeTargetLane"])
    distance = float(values["FrontOfLead_Distance_dx0_f_m"])
    duration = 1.5 * LANE / float(values["CutOutVehicle_LaneChange_MaxLateralVelocity_Vy_mps"])
    v = ego_speed(values)
    y, vy = layout.smooth(t, BEGIN, duration, 0.0, lane * LANE)
    x, vx = _ahead(values, vehicle, 2.0) + v * t, np.full_like(t, v)
    stands = _ahead(values, vehicle, 2.0) + v * BEGIN + distance + CAR.length
    touch = (np.abs(x - stands) < CAR.length) & (np.abs(y) < CAR.width)
    if touch.any():
        i = int(np.argmax(touch))
        x[i:], y[i:], vx[i:], vy[i:] = x[i], y[i], 0.0, 0.0
    return [layout.standing("target", CAR, stands, 0.0), _driven(t, x, vx, y, vy, "lead")], BEGIN


def _cut_out_row(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    bodies, hazard = _cut_out(values, vehicle, t)
    second = replace(bodies[0], name="second", motion=np.add(bodies[0].motion, (CAR.length + 2.0, 0.0, 0.0, 0.0, 0.0)))
    return [*bodies, second], hazard


def _approaching(values: Values, vehicle: Vehicle, t: Floats) -> Built:
    """A car beside ego comes nearer by the row's final offset."""
    begin, by = float(values["SideVehicle_InitLateralOffset_m"]), float(values["SideVehicle_FinalLateralOffset_m"])
    y, vy = layout.smooth(t, BEGIN, 3.0, begin, begin - by)
    v = ego_speed(values)
    return [_driven(t, (vehicle.front - vehicle.rear) / 2 + v * t, np.full_like(t, v), y, vy)], BEGIN


BUILDERS: Mapping[str, Callable[[Values, Vehicle, Floats], Built]] = {
    "4.1.1": _free, "4.1.2": _swerving, "4.1.3": _side, "4.2.1": _blocking, "4.2.2": _blocking, "4.2.3": _pedestrian,
    "4.2.4": _row, "4.3.1": _following, "4.3.2": _following, "4.4.1": _cut_in, "4.5.1": _cut_out,
    "4.5.2": _cut_out_row, "4.6.1": _blocking, "4.6.2": _approaching,
}  # fmt: skip
