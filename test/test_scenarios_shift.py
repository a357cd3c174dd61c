"""A shift in closed loop: a load slides onto half of the way too late for braking, with room beside it or without."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace as Shape

import numpy as np
import pytest

from safety_supervisor import snapshot, vehicle_file
from safety_supervisor.core.config import Config
from safety_supervisor.core.supervisor import Shift
from safety_supervisor.core.world import Mode, Mrm, Plan, nanoseconds
from safety_supervisor.messages import decision_record, json_line
from safety_supervisor.replay.bag import open_bag
from safety_supervisor.replay.replay import Run as Replayed
from safety_supervisor.scenarios.bag import write_bag
from safety_supervisor.scenarios.policy import Policy
from safety_supervisor.scenarios.publish import Message
from safety_supervisor.scenarios.run import Run, Untouched, run
from safety_supervisor.scenarios.suite import Scenario
from safety_supervisor.scenarios.world import CAR, Actor, Kind, World

CAR_CONFIG = vehicle_file.load(vehicle_file.vehicles()["passenger_car"])
LOAD = Actor("load", Kind("load", 2.0, 1.8, 140.0), 115.0, -6.0, swerves=((2.2, 0.5, -1.3),))
NEIGHBOUR = Actor("neighbour", CAR, 0.0, 3.2, 25.0)
PERIOD = nanoseconds(0.1)
KEY = "policy/free_room"


def corner_radar(name: str, side: float) -> dict[str, object]:
    values = {"kind": "radar", "topic": f"radar/{name}", "x": 1.4, "y": side * 0.9, "yaw": side * 1.57,
              "half_angle": 1.5, "range_min": 0.1, "range_max": 60.0}  # fmt: skip
    return {f"sensors.{name}.{key}": value for key, value in values.items()}


VALUES = {"fallback.shift_max": 3.0, "inputs.room": KEY, **corner_radar("left", 1.0), **corner_radar("right", -1.0)}


class Gives(Untouched):
    """Somebody says every 0.1 s how much room is free beside the plan."""

    def __init__(self, left: float, right: float) -> None:
        self._body = Shape(layout=Shape(dim=[], data_offset=0), data=np.array([left, right]))

    def network(self, t: int, fresh: list[Message]) -> list[Message]:
        told = [Message(f"/{KEY}", "std_msgs/msg/Float64MultiArray", t, self._body)] if t % PERIOD == 0 else []
        return [*fresh, *told]


def driven(left: float, *others: Actor) -> Run:
    scenario = Scenario("late-load", "A load slides onto the right half of the corridor", World(actors=(LOAD, *others)),
                        Policy(25.0, blind=frozenset({"load"})), 12.0, 25.0, values=VALUES)  # fmt: skip
    return run(scenario, CAR_CONFIG, 1, True, Gives(left, 0.0))


@pytest.fixture(scope="module")
def shifted() -> Run:
    return driven(3.0)


def test_what_braking_cannot_avoid_is_avoided_by_braking_and_a_shift_inside_the_room(shifted):
    assert not shifted.outcome.collision
    assert shifted.outcome.minimal_distance > 0.5
    assert shifted.outcome.modes[-1][1] == Mode.STANDSTILL.name
    y, yaw = shifted.states[:, 2], shifted.states[:, 3]
    assert 1.0 < y.max() < 3.0
    assert y.min() > -0.05
    assert abs(yaw[-1]) < 0.02
    began = [d for d in shifted.decisions if d.assessment.least == Mrm.SHIFT]
    assert len(began) == 1
    after = [d.plan_source for d in shifted.decisions if d.t >= began[0].t and d.mode != Mode.STANDSTILL]
    assert set(after) == {"shift"}  # no flip back
    assert any("SHIFT of" in reason.text for reason in began[0].reasons)
    assert any("is under way" in reason.text for reason in shifted.decisions[-60].reasons)


def test_control_without_room_it_is_hit_more_slowly_than_without_braking():
    braked = driven(0.0)
    assert braked.outcome.collision
    assert 5.0 < braked.outcome.impact_speed < 20.0
    assert np.abs(braked.states[:, 2]).max() < 0.1


def test_control_a_car_in_the_room_forbids_the_shift():
    beside = driven(3.0, NEIGHBOUR)
    assert "shift" not in {d.plan_source for d in beside.decisions}
    assert np.abs(beside.states[:, 2]).max() < 0.1


def test_the_statement_is_recorded_and_replayed_to_the_byte(shifted, tmp_path):
    write_bag(shifted, tmp_path / "bag")
    config: Config = replace(shifted.scenario.configure(CAR_CONFIG), certificate=None)
    with open_bag(tmp_path / "bag") as bag:
        replayed = [json_line(decision_record(d)) for d in Replayed(bag, config).decisions()]
    assert replayed == [json_line(decision_record(d)) for d in shifted.decisions]


def test_a_shift_under_way_is_part_of_a_snapshot():
    """A flight recording that begins in the middle of one goes on with it."""
    line = np.linspace(0.0, 50.0, 6)
    made = Shift(Plan(7, line / 25, line, 0.1 * line, 0 * line, 25 + 0 * line), 1.5)
    again = snapshot.decode(json.loads(json.dumps(snapshot.encode(made))))
    assert repr(again) == repr(made)
