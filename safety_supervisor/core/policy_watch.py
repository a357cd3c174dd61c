"""What else is known of the policy: what its controller commands, and what it says it sees.

Both are optional and never trusted: a control command that breaks limits or leaves the plan is a finding, since then
what was judged is not what is driven; objects that the policy reports take no hazard away. A track that radar has
confirmed in the corridor and that the policy does not report is a blind spot of the policy: it is named and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import (
    Code,
    ControlCommand,
    Finding,
    Floats,
    Odometry,
    Plan,
    SeenObjects,
    Threat,
    Tracks,
    nanoseconds,
    seconds,
)


def check_control(
    command: ControlCommand | None, before: ControlCommand | None, plan: Plan | None, ego: Odometry, config: Config
) -> tuple[Finding, ...]:
    """Return what is wrong with the newest control command, by itself, against the one before and against the plan.

    Columns that a command does not have are NaN, and are not looked at.
    """
    if command is None or ego.t - command.t > nanoseconds(config.health.control_timeout):
        return ()
    return (*_limits(command, before, ego, config), *_against_plan(command, plan, config))


def _limits(
    command: ControlCommand, before: ControlCommand | None, ego: Odometry, config: Config
) -> Iterator[Finding]:
    limits, v = config.plan_check, abs(ego.speed)
    dt = seconds(command.t - before.t) if before is not None else 0.0
    turned = abs(command.curvature - before.curvature) / dt if before is not None and dt > 0 else 0.0
    checks = (
        (command.acceleration, limits.acceleration_max, "accelerates by", "m/s^2"),
        (-command.acceleration, limits.deceleration_max, "brakes by", "m/s^2"),
        (abs(command.speed), config.odd.speed_max * 1.05, "asks a speed of", "m/s"),
        (abs(command.curvature), config.vehicle.curvature_max * 1.1, "bends by", "1/m"),
        (v * v * abs(command.curvature), limits.lateral_acceleration_max, "asks lateral", "m/s^2"),
        (turned, limits.curvature_rate_max, "turns the wheel by", "1/m/s"),
    )
    for value, limit, what, unit in checks:
        if value > limit:
            yield Finding(Code.CONTROL_INFEASIBLE, "control",
                          f"control command {what} {value:.3g} {unit}, allowed {limit:.3g} {unit}")


def _against_plan(command: ControlCommand, plan: Plan | None, config: Config) -> Iterator[Finding]:
    """What is commanded must be what the plan does at that moment, as far as the command says it."""
    if plan is None:
        return
    limits, now = config.plan_check, seconds(command.t - plan.t)
    if not plan.time[0] <= now <= plan.time[-1]:
        return
    checks = (
        (command.speed - float(np.interp(now, plan.time, plan.speed)), limits.control_speed_offset_max, "speed", "m/s"),
        (command.acceleration - planned_acceleration(plan, now), limits.control_acceleration_offset_max,
         "acceleration", "m/s^2"),
        (command.curvature - _planned_curvature(plan, now), limits.control_curvature_offset_max, "curvature", "1/m"),
    )  # fmt: skip
    for off, limit, what, unit in checks:
        if abs(off) > limit:
            yield Finding(Code.CONTROL_OFF_PLAN, "control",
                          f"control command leaves the plan's {what} by {abs(off):.3g} {unit}, "
                          f"allowed {limit:.3g} {unit}")


def planned_acceleration(plan: Plan, now: float) -> float:
    """Return the acceleration [m/s^2] along the travel that the plan has at `now` [s after its stamp]."""
    at = min(max(int(plan.time.searchsorted(now, "right")) - 1, 0), len(plan.time) - 2)
    return float((abs(plan.speed[at + 1]) - abs(plan.speed[at])) / (plan.time[at + 1] - plan.time[at]))


def _planned_curvature(plan: Plan, now: float) -> float:
    """Over half a second, forwards: single points of a plan are noise."""
    ends = np.clip([now, now + 0.5], plan.time[0], plan.time[-1])
    yaw = np.interp(ends, plan.time, np.unwrap(plan.yaw))
    x, y = np.interp(ends, plan.time, plan.x), np.interp(ends, plan.time, plan.y)
    distance = float(np.hypot(x[1] - x[0], y[1] - y[0]))
    sign = -1.0 if float(np.interp(now, plan.time, plan.speed)) < 0 else 1.0
    return float(yaw[1] - yaw[0]) / distance * sign if distance > 0.2 else np.nan


@dataclass(frozen=True, slots=True)
class Sight:
    """What the policy says it sees, and which tracks it has not been seeing since when."""

    objects: SeenObjects | None = None
    unseen: tuple[tuple[int, int], ...] = ()
    """(track id, tick since when it is in the way and not reported), by id."""
    told: tuple[int, ...] = ()
    """Tracks that have been counted."""
    count: int = 0
    """Blind spots so far."""


def compared(
    sight: Sight, new: tuple[SeenObjects, ...], threats: tuple[Threat, ...], tracks: Tracks, t: int, config: Config
) -> Sight:
    """Return the comparison of the tracks in the way with the policy's newest list of objects, at tick `t` [ns].

    Without a fresh list nothing can be said. `threats` are the tracks in the corridor.
    """
    objects = new[-1] if new else sight.objects
    s = config.sight
    if objects is None or t - objects.t > nanoseconds(s.timeout):
        return Sight(objects, (), (), sight.count)
    ids = [threat.track for threat in threats if threat.track is not None and threat.gap <= s.range]
    rows = np.flatnonzero(np.isin(tracks.id, ids) & tracks.moved & (tracks.existence >= config.authority.stop))
    missing = [int(tracks.id[i]) for i in rows if not _reported(tracks.state[i], objects, t, config)]
    since = dict(sight.unseen)
    unseen = tuple((track, since.get(track, t)) for track in sorted(missing))
    blind = {track for track, start in unseen if t - start >= nanoseconds(s.blind_time)}
    fresh = blind - set(sight.told)
    told = tuple(sorted((set(sight.told) & set(missing)) | fresh))
    return Sight(objects, unseen, told, sight.count + len(fresh))


def _reported(state: Floats, objects: SeenObjects, t: int, config: Config) -> bool:
    age = seconds(t - objects.t)
    x, y = state[0] - state[2] * age, state[1] - state[3] * age
    away = np.hypot(objects.x - x, objects.y - y)
    reach = np.hypot(x - objects.ego_x, y - objects.ego_y)
    return bool(np.any(away <= config.sight.gate + config.sight.gate_ratio * reach))


def blind_findings(sight: Sight) -> tuple[Finding, ...]:
    """Return a finding for each track that the policy does not see."""
    return tuple(Finding(Code.POLICY_BLIND, "objects", f"policy blind to track {track}") for track in sight.told)
