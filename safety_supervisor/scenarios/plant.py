"""The simulated ego: a kinematic bicycle about the rear axle with the actuators of the vehicle file.

What the supervisor assumes is what is built here: a demand acts after `timing.actuation_delay`, acceleration
then moves at `fallback.emergency_jerk` at most, and braking ends at `fallback.emergency_deceleration`.
Frame `world`; `x`, `y` are those of `base_link`, the rear axle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Floats

STEERING_TIME = 0.1
"""First-order response of the steering [s]."""
STEERING_RATE = 0.3
"""Largest change of curvature [1/m/s]; half a turn of a steering wheel in about one second."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the vehicle is asked for: acceleration [m/s^2] and curvature of its path [1/m]."""

    acceleration: float = 0.0
    curvature: float = 0.0


@dataclass(frozen=True, slots=True)
class Ego:
    """True pose and motion; `queue` holds (time it was given [s], demand), oldest first."""

    t: float
    x: float
    y: float
    yaw: float
    speed: float
    acceleration: float = 0.0
    curvature: float = 0.0
    queue: tuple[tuple[float, Demand], ...] = ((-math.inf, Demand()),)

    @property
    def yaw_rate(self) -> float:
        """[rad/s]."""
        return self.speed * self.curvature


def command(ego: Ego, demand: Demand) -> Ego:
    """Hand a new demand to the actuators; it acts after the delay."""
    return replace(ego, queue=(*ego.queue, (ego.t, demand)))


def advance(ego: Ego, config: Config, dt: float) -> Ego:
    """Move `dt` [s] on."""
    due = max(i for i, (given, _) in enumerate(ego.queue) if given + config.timing.actuation_delay <= ego.t + 1e-9)
    demand = ego.queue[due][1]
    low, high = -config.fallback.emergency_deceleration, config.envelope.acceleration_max
    jerk = config.fallback.emergency_jerk * dt
    target = min(max(demand.acceleration, low), high)
    acceleration = ego.acceleration + min(max(target - ego.acceleration, -jerk), jerk)
    if ego.speed <= 0.0 and acceleration <= 0.0:
        acceleration = 0.0  # brakes hold, they do not push back
    travelled = ego.speed * dt + acceleration * dt * dt / 2
    speed = ego.speed + acceleration * dt
    if speed < 0.0:
        travelled, speed = ego.speed * ego.speed / (-2 * acceleration), 0.0
    curvature = ego.curvature + _steer(demand.curvature - ego.curvature, dt)
    curvature = min(max(curvature, -config.vehicle.curvature_max), config.vehicle.curvature_max)
    middle = ego.yaw + travelled * curvature / 2
    return Ego(ego.t + dt, ego.x + travelled * math.cos(middle), ego.y + travelled * math.sin(middle),
               ego.yaw + travelled * curvature, speed, acceleration, curvature, ego.queue[due:])  # fmt: skip


def scripted(ego: Ego, script: Sequence[tuple[float, float]], dt: float) -> Ego:
    """Move `dt` [s] straight on with the acceleration of the script, (t [s], [m/s^2]) linear in between, until rest."""
    times, values = zip(*script, strict=True)
    wanted = float(np.interp(ego.t + dt / 2, times, values))
    speed = max(ego.speed + wanted * dt, 0.0)
    travelled = (ego.speed + speed) / 2 * dt
    x, y = ego.x + travelled * math.cos(ego.yaw), ego.y + travelled * math.sin(ego.yaw)
    return replace(ego, t=ego.t + dt, x=x, y=y, speed=speed, acceleration=(speed - ego.speed) / dt)


def _steer(error: float, dt: float) -> float:
    change = error * min(dt / STEERING_TIME, 1.0)
    return min(max(change, -STEERING_RATE * dt), STEERING_RATE * dt)


def footprint(ego: Ego, config: Config) -> Floats:
    """Return ego's corners (4, 2) in `world` [m], counter-clockwise from front right."""
    v = config.vehicle
    half = v.width / 2
    local = np.array([(v.front, -half), (v.front, half), (-v.rear, half), (-v.rear, -half)])
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    return np.asarray(np.array([ego.x, ego.y]) + local @ np.array([[cos, sin], [-sin, cos]]))
