"""Which path is judged and followed: the shift under way, the plan, the plan before it, or ego's own motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import Path, angle_difference
from safety_supervisor.core.motion import fallback_distance
from safety_supervisor.core.paths import (
    Extrapolation,
    corner_radius,
    extrapolation,
    planned_path,
    turn_rate,
    turned_path,
)
from safety_supervisor.core.supervisor.state import State
from safety_supervisor.core.world import Health, Odometry, Plan, seconds

NEAR_REACH = 5.0
"""Paths are looked along at least this far [m], so that near objects are seen at standstill too."""
SPOT = 1e-3
"""A plan that turns less than this [rad] until the fallback acts does not turn."""


def judged_path(state: State, ego: Odometry, trust: Health, config: Config) -> tuple[Path, str]:
    """Return the path that counts in full and where it is from."""
    e, timing = config.envelope, config.timing
    v, response = abs(ego.speed), timing.commit + timing.actuation_delay
    needed = float(fallback_distance(v, response, e.acceleration_max, e.assumed_brake, e.assumed_jerk))
    brake = config.expected.comfort_threshold
    reach = max(needed, v * v / (2 * brake), NEAR_REACH) + config.expected.clearance
    shift = state.shift
    if shift is not None and not shift.given_up and _on_path(shift.plan, ego, config):
        return planned_path(shift.plan, ego, config.vehicle, reach, brake), "shift"
    plan = state.validated
    usable = not any(f.source == "plan" for f in trust.findings)
    known = plan if plan is not None and (usable or _on_path(plan, ego, config)) else None
    rate = _turns_on_spot(known, ego, config)
    if rate:
        source = "extrapolation" if known is None else "policy" if usable else "last validated"
        return _turn(known, ego, rate, config), source
    if plan is not None and known is plan:
        return planned_path(plan, ego, config.vehicle, reach, brake), "policy" if usable else "last validated"
    return present_motion(ego, config).path(), "extrapolation"


def _turns_on_spot(plan: Plan | None, ego: Odometry, config: Config) -> float:
    """Return the yaw rate [rad/s] of a turn on the spot that ego is in or about to begin, 0 otherwise.

    What turns tighter than the vehicle can drive, hardly moving, does so on the spot. Ego's own turn comes first; one
    that the plan drives out of is that plan's.
    """
    still, tight = config.arbitration.standstill_speed, config.vehicle.curvature_max
    if not config.vehicle.turns_on_spot or abs(ego.speed) > still:
        return 0.0
    own = ego.yaw_rate if np.isfinite(ego.yaw_rate) else 0.0
    own = own if abs(own) * corner_radius(config.vehicle) > still and abs(ego.speed) * tight <= abs(own) else 0.0
    if plan is None:
        return own
    span = config.timing.commit + config.timing.actuation_delay
    rate, speed = turn_rate(plan, seconds(ego.t - plan.t), span)
    if speed > still or (speed * tight > abs(rate)):
        return 0.0
    rate = rate if abs(rate) * span > SPOT else 0.0
    return float(np.copysign(max(abs(own), abs(rate)), own if own else rate)) if own or rate else 0.0


def _turn(plan: Plan | None, ego: Odometry, rate: float, config: Config) -> Path:
    """Return the path of the farthest corner, as far as a comfort stop of it goes."""
    e, timing, v = config.envelope, config.timing, abs(rate) * corner_radius(config.vehicle)
    response = timing.commit + timing.actuation_delay
    needed = float(fallback_distance(v, response, e.acceleration_max, e.assumed_brake, e.assumed_jerk))
    reach = max(needed, v + v * v / (2 * config.expected.comfort_threshold), corner_radius(config.vehicle))
    return turned_path(plan, ego, rate, config.vehicle, reach)


def corner(ego: Odometry, path: Path) -> Odometry:
    """Return ego at the speed of its farthest corner while it turns on the spot, as it is otherwise."""
    if not path.radius:
        return ego
    return replace(ego, speed=abs(ego.yaw_rate) * path.radius if np.isfinite(ego.yaw_rate) else 0.0)


def present_motion(ego: Odometry, config: Config) -> Extrapolation:
    """Return where ego's present motion leads."""
    c = config.corridor
    return extrapolation(ego, config.vehicle, c.extrapolation_time, c.curvature_sigma, NEAR_REACH)


def _on_path(plan: Plan, ego: Odometry, config: Config) -> bool:
    """Whether ego is still on the last validated path, so that an MRM can steer along it."""
    near = int(np.hypot(plan.x - ego.x, plan.y - ego.y).argmin())
    yaw = float(plan.yaw[near])
    lateral = np.cos(yaw) * (ego.y - plan.y[near]) - np.sin(yaw) * (ego.x - plan.x[near])
    limits = config.plan_check
    aligned = abs(angle_difference(yaw, ego.yaw)) <= limits.heading_offset_max
    return bool(abs(lateral) <= limits.lateral_offset_max and aligned)
