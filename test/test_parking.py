"""Parking next to a wall: where a plan stops there, forward or backward, nothing is stopped; what stands nearer is.

A closed loop of the tick, a car that follows its plan, and an ultrasonic transducer at each bumper with noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from builders import FRONT, T, config

from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config, Sensor, with_values
from safety_supervisor.core.world import Decision, Inputs, Mode, Odometry, Plan, RangeReading, nanoseconds

EYE = {"half_angle": 0.5, "range_min": 0.05, "range_max": 5.0, "sigma_range": 0.01}
PARKING = config(
    front=Sensor(kind="ultrasonic", topic="us/front", x=FRONT, **EYE),
    rear=Sensor(kind="ultrasonic", topic="us/rear", x=-1.0, yaw=np.pi, **EYE),
)
WALL = 3.0
"""Between the leading bumper and the wall at the start [m]."""


@dataclass
class Parking:
    """A policy that rolls to rest `room` [m] before a wall, ever slower, and an obstacle it knows nothing about."""

    room: float
    direction: float = 1.0
    obstacle: float = WALL
    config: Config = PARKING
    gentle: float = 0.15
    """Deceleration of its approach [m/s^2]."""
    travelled: float = 0.0
    speed: float = 0.8
    t: int = T
    state: Any = field(default_factory=lambda: supervisor.start(PARKING))
    decisions: list[Decision] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def plan(self) -> Plan:
        """The way that is left, ever slower."""
        dt, s, v = 0.1, self.travelled, self.speed
        rows = []
        for k in range(81):
            rows.append((k * dt, s, v))
            left = max(WALL - self.room - s, 0.0)
            wanted = min(0.8, np.sqrt(2 * self.gentle * left))
            wanted = 0.0 if left < 0.005 else max(wanted, 0.03)
            new = max(min(wanted, v + 0.3 * dt), v - 1.0 * dt)
            s, v = s + (v + new) / 2 * dt, new
        time, s, v = np.array(rows).T
        x = self.direction * s
        return Plan(self.t, time, x, np.zeros(81), np.zeros(81), self.direction * v)

    def tick(self) -> None:
        """Tick and drive for one period as is decided."""
        period, now = PARKING.timing.period, self.travelled
        plan = self.plan()
        gap = min(WALL, self.obstacle) - now
        pings = tuple(
            RangeReading(name, self.t, (gap if (name == "front") == (self.direction > 0) else np.inf)
                         + self.random.normal(0.0, 0.01), s.range_min, s.range_max)
            for name, s in PARKING.sensors_of("ultrasonic").items()
        )  # fmt: skip
        here = Odometry(self.t, self.direction * now, 0.0, 0.0, self.direction * self.speed, 0.0)
        inputs = Inputs(odometry=(here,), ranges=pings, plans=(plan,))
        self.state, decision = supervisor.step(self.state, inputs, self.t, self.config)
        self.decisions.append(decision)
        follows = np.interp(0.05, plan.time, np.abs(plan.speed))
        new = follows if not decision.mode.brakes else max(self.speed + decision.acceleration * period, 0.0)
        self.travelled += (self.speed + new) / 2 * period
        self.speed, self.t = float(new), self.t + nanoseconds(period)

    def run(self, seconds: float = 25.0) -> set[Mode]:
        """Drive until the time is over."""
        for _ in range(round(seconds / PARKING.timing.period)):
            self.tick()
        return {d.mode for d in self.decisions}


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("room", [0.3, 0.4, 0.5])
def test_a_plan_that_stops_in_front_of_a_wall_gets_there(direction, room):
    car = Parking(room, direction)
    assert car.run() <= {Mode.INIT, Mode.NOMINAL}
    assert WALL - car.travelled == pytest.approx(room, abs=0.02)


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_what_stands_nearer_than_the_planned_stop_stops_the_car(direction):
    car = Parking(0.3, direction, obstacle=WALL - 0.5)
    assert any(mode.brakes for mode in car.run())
    assert car.travelled < WALL - 0.5 - 0.05
    assert car.decisions[-1].mode == Mode.STANDSTILL


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_the_guard_is_not_switched_off_by_the_planned_stop(direction):
    late = Parking(0.3, direction, gentle=2.0)  # it stops as near, and brakes so late that a slip would hit
    assert any(mode.brakes for mode in late.run())
    assert late.travelled < WALL - 0.05
    car = Parking(0.1, direction)  # nearer than the tolerance leaves
    assert any(mode.brakes for mode in car.run())
    assert car.travelled < WALL - 0.1


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_control_without_the_tolerance_of_a_planned_stop_it_is_stopped(direction):
    strict = with_values(PARKING, {"near_field.approach_tolerance": 0.0})
    assert any(mode.brakes for mode in Parking(0.3, direction, config=strict).run())
