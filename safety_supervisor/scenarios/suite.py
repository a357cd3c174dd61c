"""The named scenarios: one table, each with the sentence that says what must happen.

Speeds and distances are those of the source named in a comment, otherwise of ordinary traffic. A scenario fixes
the world and the policy, the vehicle file fixes the vehicle and its sensors.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safety_supervisor.core.config import Config, with_values
from safety_supervisor.scenarios.policy import Policy
from safety_supervisor.scenarios.world import CAR, PEDESTRIAN, TRUCK, VAN, Actor, Rail, World, road


class ScenarioError(ValueError):
    """A scenario that cannot be run; the text says which and what exists."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A fault: messages of a source (sensor name, odometry, plan) are lost from `begin` until `end` [s]."""

    source: str
    begin: float
    end: float = math.inf


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulated situation; times in seconds after the start, stations of ego are those of `base_link`."""

    name: str
    title: str
    world: World
    policy: Policy
    duration: float
    """Longest run [s]; a collision or standing for a while ends it."""
    speed: float
    """Ego's speed at the start [m/s]."""
    station: float = 0.0
    """Where ego starts on the road [m], in the policy's lane."""
    silences: tuple[Silence, ...] = ()
    collides: bool = True
    """Without the supervisor this ends in a collision."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Parameters in which the vehicle differs from its file (dotted keys)."""
    motion: tuple[tuple[float, float], ...] = ()
    """(t [s], ego's acceleration [m/s^2]), linear in between: without supervisor ego moves by this and by no plan."""

    def configure(self, config: Config) -> Config:
        """Return the vehicle of this scenario; other parameters are other than those that were proved."""
        return with_values(config, self.values, f"scenario {self.name}") if self.values else config


RAILS = (Rail(-7.5), Rail(7.5))
"""Guard rails beside a carriageway of three lanes of 3.6 m and its shoulders."""

STOPPED_VEHICLE = Scenario(
    "stopped-vehicle",
    "A car stands in the lane, the vision policy does not see it and keeps 20 m/s",
    World(actors=(Actor("stopped_car", CAR, 130.0), Actor("parked_van", VAN, 75.0, -3.8)), rails=RAILS),
    Policy(20.0, blind=frozenset({"stopped_car"})),
    duration=18.0,
    speed=20.0,
)  # fmt: skip

CUT_IN = Scenario(
    "cut-in",
    "A slower car cuts in from the left lane 18 m ahead, 8 m/s slower; the policy has not noticed it",
    World(
        actors=(Actor("cut_in_car", CAR, 60.0, 3.6, 17.0, swerves=((2.2, 2.4, 0.0),)),
                Actor("neighbour", CAR, -30.0, -3.6, 24.0)),
        rails=RAILS,
    ),
    Policy(25.0, blind=frozenset({"cut_in_car"})),
    duration=15.0,
    speed=25.0,
)  # fmt: skip

HARD_BRAKING_LEAD = Scenario(
    "hard-braking-lead",
    "The car ahead brakes with 6 m/s^2 from 25 m/s to standstill; the policy reacts late and too mildly",
    World(
        actors=(Actor("lead", CAR, 48.0, 0.0, 25.0, accelerations=((3.0, -6.0),)),
                Actor("oncoming", CAR, 300.0, 7.2, 25.0, direction=-1)),
        rails=(Rail(-5.5), Rail(11.0)),
    ),
    Policy(25.0, reaction=1.2, deceleration=2.5, headway=1.4),
    duration=15.0,
    speed=25.0,
)  # fmt: skip

CROSSING_PEDESTRIAN = Scenario(
    # Euro NCAP AEB VRU, CPNA-50: adult from the near side at 5 km/h, impact at the middle of the car's front.
    "crossing-pedestrian",
    "An adult walks from the near side into the path at 5 km/h, unseen by the policy that keeps 40 km/h",
    World(
        actors=(Actor("pedestrian", PEDESTRIAN, 52.0, -5.5, swerves=((0.4, 7.2, 4.5),)),
                Actor("parked_car", CAR, 75.0, -4.0)),
    ),
    Policy(11.11, blind=frozenset({"pedestrian"})),
    duration=12.0,
    speed=11.11,
)  # fmt: skip

_BAY_WALL = (((8.0, -4.0), (8.0, 4.0)), ((-2.0, -2.2), (6.0, -2.2)))
"""The end of a bay 8 m ahead and a wall along its right side [m]."""
_ULTRASONICS_ONLY: Mapping[str, Any] = {"sensors.radar_front.expected": False}
_NO_RADAR = (Silence("radar_front", 0.0),)

PARKING_BAY = Scenario(
    "parking-bay",
    "Parking with ultrasonics only: the policy misjudges the wall and would drive into it at walking pace",
    World(walls=_BAY_WALL),
    Policy(1.2, stop_at=9.5, acceleration=0.8, deceleration=1.5),
    duration=10.0,
    speed=0.8,
    silences=_NO_RADAR,
    values=_ULTRASONICS_ONLY,
)

PARKED_CAR = Scenario(
    "parking-car",
    "Parking with ultrasonics only: a parked car stands a little to the left, unseen by the policy",
    World(actors=(Actor("parked_car", CAR, 10.3, 0.6),)),
    Policy(1.5, blind=frozenset({"parked_car"}), acceleration=0.8, deceleration=1.5),
    duration=10.0,
    speed=1.0,
    silences=_NO_RADAR,
    values=_ULTRASONICS_ONLY,
)

PARKING_STOP = Scenario(
    "parking-stop",
    "Parking with ultrasonics only: the policy stops by itself 0.4 m before the wall and needs no help",
    World(walls=_BAY_WALL),
    Policy(1.2, stop_at=7.52, acceleration=0.8, deceleration=1.5),
    duration=12.0,
    speed=0.8,
    silences=_NO_RADAR,
    collides=False,
    values=_ULTRASONICS_ONLY,
)

FREE_DRIVE = Scenario(
    "free-drive",
    "Curves, guard rails, oncoming traffic, overtaken cars, a lead that is followed: nothing to brake for",
    World(
        road=road(((260.0, 0.0), (60.0, 1 / 600), (150.0, 1 / 600), (100.0, -1 / 500), (600.0, -1 / 500))),
        actors=(
            Actor("lead", CAR, 62.0, 0.0, 24.0, 1, ((5.0, -1.0), (7.0, 0.0), (10.0, 0.8), (12.5, 0.0))),
            Actor("overtaken_truck", TRUCK, 70.0, -3.6, 20.0),
            Actor("overtaken_car", CAR, 30.0, -3.6, 19.0),
            Actor("overtaking_car", CAR, -40.0, 3.6, 29.0),
            *(Actor(f"oncoming_{i}", CAR, 180.0 + 110.0 * i, 8.0, 25.0, direction=-1) for i in range(8)),
            Actor("broken_down", VAN, 330.0, -6.2),
        ),
        rails=(Rail(-8.5), Rail(5.8), Rail(12.0)),
    ),
    Policy(25.0),
    duration=20.0,
    speed=24.0,
    collides=False,
)

RADAR_DIES = Scenario(
    "radar-dies",
    "The front radar goes silent at speed, and a car stands farther on: stop while the rest still sees",
    World(actors=(Actor("stopped_car", CAR, 260.0),), rails=RAILS),
    Policy(20.0, blind=frozenset({"stopped_car"})),
    duration=18.0,
    speed=20.0,
    silences=(Silence("radar_front", 3.0),),
)

PLAN_STOPS = Scenario(
    "plan-stops",
    "The policy goes silent at speed: its last plan is driven to the end, then speed and wheel are held",
    World(
        road=road(((290.0, 0.0), (60.0, 1 / 300), (400.0, 1 / 300))),
        actors=(Actor("stopped_car", CAR, 215.0),),
        rails=RAILS,
    ),
    Policy(20.0),
    duration=18.0,
    speed=20.0,
    silences=(Silence("plan", 3.0),),
)

SUITE: dict[str, Scenario] = {
    s.name: s
    for s in (STOPPED_VEHICLE, CUT_IN, HARD_BRAKING_LEAD, CROSSING_PEDESTRIAN, PARKING_BAY, PARKED_CAR,
              PARKING_STOP, FREE_DRIVE, RADAR_DIES, PLAN_STOPS)
}  # fmt: skip


def find(name: str) -> Scenario:
    """Return the scenario of that name; raises `ScenarioError` with the nearest name."""
    if name in SUITE:
        return SUITE[name]
    close = difflib.get_close_matches(name, SUITE, 1, 0.4)
    hint = f"did you mean {close[0]}?" if close else "known: " + ", ".join(SUITE)
    raise ScenarioError(f"unknown scenario {name!r}; {hint}")
