"""What the judgement of one tick rests on besides the objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config, Envelope
from safety_supervisor.core.envelopes import upper_speed
from safety_supervisor.core.geometry import Path
from safety_supervisor.core.motion import fallback_distance, speed_for_distance
from safety_supervisor.core.paths import Extrapolation
from safety_supervisor.core.tracking import Returns
from safety_supervisor.core.world import Mode, Odometry, Tracks

NOMINAL, SPEED_CAP, COMFORT_STOP = int(Mode.NOMINAL), int(Mode.SPEED_CAP), int(Mode.COMFORT_STOP)
FIRM_STOP, EMERGENCY_STOP = int(Mode.FIRM_STOP), int(Mode.EMERGENCY_STOP)
"""Modes in arrays: an enumeration beside an array costs ten times as much."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the judgement of one tick rests on besides the objects."""

    ego: Odometry
    path: Path
    present: Extrapolation | None
    """Physical extrapolation beside a plan; None when it is the judged path itself."""
    acceleration: float
    """Most that ego may accelerate until the fallback acts [m/s^2], >= 0."""
    envelope: Envelope
    """The vehicle's envelope, with no more brake than the bends of the path leave."""
    clear_range: float
    """Range that healthy sensors cover in the direction of travel [m]."""
    braking: bool
    """An MRM is under way: its own profile, not the plan's timing, is what happens next."""
    recent_speed: float = 0.0
    """Fastest that ego was while the present echo filters gathered their range rates [m/s]."""
    resting: bool = False
    """Ego stands and the plan leaves it there: there is nothing to brake."""
    ego_age: float = 0.0
    """Age of the odometry that `ego` is predicted from [s], >= 0."""
    braked: float = 0.0
    """Acceleration that ego is driven with now [m/s^2], <= 0."""
    before: Tracks = field(default_factory=Tracks)
    """Tracks of the tick before: a lateral speed that grows shows early what comes."""
    begins: bool = False
    """Ego stands and its plan turns on the spot: it is enough not to begin, no emergency."""
    under_way: int = NOMINAL
    """Mode of the stop under way, NOMINAL without one."""
    room: tuple[float, float] = (0.0, 0.0)
    """How far ego may shift to the left and to the right [m]; 0 where no room is given."""
    at_once: float | None = None
    """Deceleration that the bends of the path leave at ego's present speed [m/s^2] (`fallback.left_at_once`)."""
    well: tuple[str, ...] = ()
    """Names of the sensors that see what is there."""
    returns: tuple[Returns, ...] = ()
    """What moving bodies returned lately, in order of arrival."""


def known_reach(path: Path, situation: Situation, config: Config) -> float:
    """Return how far [m] the judged path is more than a guess; what ego needs to stop in is taken as it is."""
    return max(path.length + config.corridor.continuation, stopping_reach(situation, config))


def stopping_reach(situation: Situation, config: Config) -> float:
    """Return how far [m] ego gets if it falls back at the last moment."""
    e, response = situation.envelope, config.timing.commit + config.timing.actuation_delay
    v = ego_speed(situation, config)
    return float(fallback_distance(v, response, situation.acceleration, e.assumed_brake, e.assumed_jerk))


def cap_for(distance: Any, situation: Situation, config: Config) -> Any:
    """Return the speed [m/s] that may be read where at most the true speed is stopped within `distance` [m]."""
    e, response = situation.envelope, config.timing.commit + config.timing.actuation_delay
    true = speed_for_distance(distance, response, situation.acceleration, e.assumed_brake, e.assumed_jerk)
    return np.maximum((true - e.speed_error) / (1 + e.speed_error_ratio), 0.0)


def ego_speed(situation: Situation, config: Config) -> float:
    """Return the fastest [m/s] that ego may be, given what odometry reads."""
    return float(upper_speed(abs(situation.ego.speed), config.envelope))
