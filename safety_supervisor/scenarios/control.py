"""The vehicle's own trajectory follower: from a trajectory to demands for brake, drive and steering.

It exists in the vehicle with and without the supervisor and is the same for both. Frame `odom`.
"""

from __future__ import annotations

import math

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Plan, seconds
from safety_supervisor.scenarios.plant import Demand, Ego
from safety_supervisor.scenarios.sensors import Reckoning

SPEED_GAIN = 0.5
"""Acceleration for each m/s of speed error [1/s]."""
LOOK_AHEAD_TIME = 0.6
LOOK_AHEAD_MIN = 2.5
"""Pure pursuit aims at a point this far ahead: time [s] times speed, at least this distance [m]."""
RESPONSE = 0.1
"""The demand is what the trajectory asks for after the actuation delay and this [s]."""


def follow(trajectory: Plan, t: int, ego: Ego, pose: Reckoning, config: Config) -> Demand:
    """Return the demand at `t` [ns] that keeps a vehicle at dead-reckoned `pose` on a trajectory in `odom`.

    Beyond the end of the trajectory speed and wheel are held.
    """
    now = seconds(t - trajectory.t)
    if len(trajectory.time) < 2 or now > trajectory.time[-1]:
        return Demand(0.0, ego.curvature)
    later = now + config.timing.actuation_delay + RESPONSE
    speed, soon, sooner = np.interp((now, later + 0.05, later - 0.05), trajectory.time, trajectory.speed)
    acceleration = (soon - sooner) / 0.1 + SPEED_GAIN * (speed - ego.speed)
    return Demand(float(acceleration), steer(trajectory, ego, pose, config))


def steer(trajectory: Plan, ego: Ego, pose: Reckoning, config: Config) -> float:
    """Return the curvature [1/m] towards the trajectory by pure pursuit, from where ego is after the delay."""
    reach = ego.speed * config.timing.actuation_delay
    yaw = pose.yaw + reach * ego.curvature
    x, y = pose.x + reach * math.cos(pose.yaw), pose.y + reach * math.sin(pose.yaw)
    away = np.hypot(trajectory.x - x, trajectory.y - y)
    wanted = max(LOOK_AHEAD_TIME * ego.speed, LOOK_AHEAD_MIN)
    nearest = int(np.argmin(away))
    beyond = np.flatnonzero(away[nearest:] >= wanted)
    i = nearest + int(beyond[0]) if beyond.size else len(away) - 1
    over = max(wanted - float(away[i]), 0.0)  # where the trajectory ends, its last direction goes on
    aim_x = float(trajectory.x[i]) + over * math.cos(trajectory.yaw[i]) - x
    aim_y = float(trajectory.y[i]) + over * math.sin(trajectory.yaw[i]) - y
    side = -math.sin(yaw) * aim_x + math.cos(yaw) * aim_y
    return 2 * side / (aim_x * aim_x + aim_y * aim_y)
