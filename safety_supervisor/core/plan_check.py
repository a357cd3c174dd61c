"""Can this plan be judged and driven at all? Every violation is a finding in words and numbers.

A plan is checked as it arrives, against ego at that tick and against the plan before it. Nothing here looks at
objects. A stop may be written as two or more identical points.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.fallback import lateral_left
from safety_supervisor.core.geometry import angle_difference, unwrapped
from safety_supervisor.core.motion import fallback_distance
from safety_supervisor.core.paths import MIN_STEP, corner_radius
from safety_supervisor.core.world import Code, Finding, Floats, Odometry, Plan, seconds

VALUE_MAX = 1e9
"""No time [s], place [m], angle [rad] or speed [m/s] is larger; beyond it sums and angles lose their meaning."""
RATE_SPAN = 0.1
"""Rates of change are taken over at least this time [s]: closer points are noise."""
RATE_SPEED = 0.5
"""Below it [m/s] a jump of the acceleration is the end of a stop."""
ROLL_BACK = 0.3
"""Ego rolls back when it moves against its plan faster than this [m/s]."""
OVERRUN = 0.5
"""Ego has overrun a planned stop when it moves on so far beyond [m]; a parking policy ends within."""
SLIP_MAX = 0.5
"""A step may point this far off the heading [rad]: noise of slow plans; wrong signs and frames are far beyond it."""


def check_plan(plan: Plan, previous: Plan | None, ego: Odometry, config: Config) -> tuple[Finding, ...]:
    """Return what is wrong with `plan` for an ego at `ego.t`; empty when it may be judged."""
    broken = tuple(_shape(plan, config))
    if broken:  # nothing can be measured on such numbers
        return broken
    return (*_start(plan, ego, config), *_feasible(plan, config), *_length(plan, ego, config),
            *_jump(plan, previous, ego, config))


def check_following(plan: Plan, ego: Odometry, config: Config) -> tuple[Finding, ...]:
    """Return what is wrong with how ego follows a checked plan: it rolls back, or past where the plan stops."""
    slow = config.arbitration.standstill_speed
    if not abs(ego.speed) > slow:
        return ()
    found = []
    fastest = float(plan.speed[int(np.abs(plan.speed).argmax())])
    if fastest * ego.speed < 0 and abs(ego.speed) > ROLL_BACK and abs(fastest) > ROLL_BACK:
        text = f"ego moves at {ego.speed:.2f} m/s, its plan at {fastest:.2f} m/s"
        found.append(Finding(Code.EGO_ROLLS_BACK, "odometry", text))
    if abs(float(plan.speed[-1])) < slow:
        forward = -1.0 if fastest < 0 else 1.0
        cos, sin = np.cos(plan.yaw[-1]), np.sin(plan.yaw[-1])
        beyond = forward * float(cos * (ego.x - plan.x[-1]) + sin * (ego.y - plan.y[-1]))
        if beyond > OVERRUN and forward * ego.speed > slow:
            text = f"ego is {beyond:.2f} m beyond where its plan stops and still moves at {ego.speed:.2f} m/s"
            found.append(Finding(Code.EGO_OVERRUNS, "odometry", text))
    return tuple(found)


def _finding(code: Code, text: str) -> Finding:
    return Finding(code, "plan", f"plan {text}")


def _shape(plan: Plan, config: Config) -> Iterator[Finding]:
    columns = {"time": plan.time, "x": plan.x, "y": plan.y, "yaw": plan.yaw, "speed": plan.speed}
    sizes = {name: len(values) for name, values in columns.items()}
    if len(set(sizes.values())) > 1:
        yield _finding(Code.PLAN_INVALID, f"columns differ in length: {sizes}")
        return
    if sizes["time"] < 2:
        yield _finding(Code.PLAN_TOO_SHORT, f"has {sizes['time']} points, at least 2 are needed")
        return
    table = np.array(list(columns.values()))
    for name, values in columns.items() if np.count_nonzero(np.abs(table) <= VALUE_MAX) < table.size else ():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            yield _finding(Code.PLAN_NOT_FINITE, f"point {bad[0]}: {name} is {values[bad[0]]}")
            return
        huge = np.flatnonzero(np.abs(values) > VALUE_MAX)
        if len(huge):
            yield _finding(Code.PLAN_INVALID, f"point {huge[0]}: {name} is {values[huge[0]]:g}, beyond all sense")
            return
    step = _steps(plan.time)
    worst = int(step.argmin())
    if step[worst] <= 0:
        yield _finding(Code.PLAN_NOT_ORDERED, f"point {worst + 1} is {-step[worst]:.3f} s earlier than the one before")
    elif step.max() > config.plan_check.interval_max:
        at = int(np.argmax(step))
        yield _finding(Code.PLAN_INVALID,
                       f"points {at} and {at + 1} are {step[at]:.2f} s apart, "
                       f"allowed {config.plan_check.interval_max:g} s")


def _start(plan: Plan, ego: Odometry, config: Config) -> Iterator[Finding]:
    """The plan's point for now must be where ego is."""
    limits = config.plan_check
    now = min(max(seconds(ego.t - plan.t), float(plan.time[0])), float(plan.time[-1]))
    yaw = float(np.interp(now, plan.time, unwrapped(plan.yaw)))
    dx, dy = ego.x - np.interp(now, plan.time, plan.x), ego.y - np.interp(now, plan.time, plan.y)
    lateral = abs(float(np.cos(yaw) * dy - np.sin(yaw) * dx))
    along = abs(float(np.cos(yaw) * dx + np.sin(yaw) * dy))
    turn = abs(angle_difference(yaw, ego.yaw))
    slip = abs(float(np.interp(now, plan.time, plan.speed)) - ego.speed)
    reach = limits.lateral_offset_max + limits.speed_offset_max  # a plan may lead or lag by a second of speed offset
    for value, limit, what, unit in (
        (lateral, limits.lateral_offset_max, "starts beside ego by", "m"),
        (along, reach, "starts ahead of or behind ego by", "m"),
        (turn, limits.heading_offset_max, "starts against ego's heading by", "rad"),
        (slip, limits.speed_offset_max, "starts off ego's speed by", "m/s"),
    ):
        if not value <= limit:
            yield _finding(Code.PLAN_OFF_EGO, f"{what} {value:.2f} {unit}, allowed {limit:g} {unit}")


def _feasible(plan: Plan, config: Config) -> Iterator[Finding]:
    limits = config.plan_check
    heading = unwrapped(plan.yaw)
    dt, dx, dy = _steps(plan.time), _steps(plan.x), _steps(plan.y)
    distance = np.hypot(dx, dy)
    middle = np.abs(plan.speed[1:] + plan.speed[:-1]) / 2
    acceleration = _steps(np.abs(plan.speed)) / dt
    rotation = _steps(heading)
    signed = np.where(distance > 0.05, rotation / np.maximum(distance, MIN_STEP), 0.0)
    curvature = np.abs(signed)
    apart = np.maximum((dt[1:] + dt[:-1]) / 2, RATE_SPAN)
    # Coming to rest ends a deceleration at once, on any vehicle.
    moves = (middle[1:] > RATE_SPEED) & (middle[:-1] > RATE_SPEED)
    jerk, sideways = _steps(acceleration) / apart, _steps(middle * middle * signed) / apart
    bending = np.where((distance[1:] > 0.2) & (distance[:-1] > 0.2), _steps(signed), 0.0) / apart
    speed_gap = np.abs(distance / dt - middle)
    slip = np.where(distance > 0.2, _slip(plan, heading, dx, dy), 0.0)
    lateral_max = min(limits.lateral_acceleration_max, lateral_left(config.odd))
    checks = (
        (_worst(acceleration), limits.acceleration_max, "accelerates by", "m/s^2"),
        (_worst(-acceleration), limits.deceleration_max, "brakes by", "m/s^2"),
        (_worst(curvature), config.vehicle.curvature_max * 1.1, "bends by", "1/m"),
        (_worst(middle * middle * curvature), lateral_max, "asks lateral", "m/s^2"),
        (_worst(np.where(moves, np.abs(jerk), 0.0)), limits.jerk_max, "has a jerk of", "m/s^3"),
        (_worst(np.abs(sideways)), limits.lateral_jerk_max, "has a lateral jerk of", "m/s^3"),
        (_worst(np.abs(bending)), limits.curvature_rate_max, "turns the wheel by", "1/m/s"),
        _on_the_spot(distance, rotation, dt, config),
        (_worst(slip), SLIP_MAX, "moves off its own heading by", "rad"),
        (_worst(speed_gap - 0.3 * middle), 1.5, "moves faster or slower than its own speeds by", "m/s"),
        (float(np.abs(plan.speed).max()), config.odd.speed_max * 1.05, "drives", "m/s"),
    )
    for value, limit, what, unit in checks:
        if not value <= limit:
            yield _finding(Code.PLAN_INFEASIBLE, f"{what} {value:.3g} {unit}, allowed {limit:.3g} {unit}")


def _on_the_spot(distance: Floats, rotation: Floats, dt: Floats, config: Config) -> tuple[float, float, str, str]:
    """Return how far a plan turns without driving, beyond its tightest turn, or how fast the corners go who may."""
    spot = np.where(distance < 0.05, rotation, 0.0)
    if config.vehicle.turns_on_spot:
        fastest = _worst(np.abs(spot) / dt) * corner_radius(config.vehicle)
        return fastest, config.odd.speed_max * 1.05, "turns its corners on the spot at", "m/s"
    bend = config.vehicle.curvature_max * 1.1 * float(distance[distance < 0.05].sum())
    return max(_worst(np.abs(spot)), abs(float(spot.sum())) - bend), 0.1, "turns on the spot by", "rad"


def _steps(values: Floats) -> Floats:
    return values[1:] - values[:-1]


def _slip(plan: Plan, heading: Floats, dx: Floats, dy: Floats) -> Floats:
    """Return the angle [rad] of each step against heading and sign of speed: the rear axle does not slide."""
    backward = np.where(plan.speed[1:] + plan.speed[:-1] < 0, np.pi, 0.0)
    off = np.arctan2(dy, dx) - (heading[1:] + heading[:-1]) / 2 - backward
    return np.asarray(np.abs((off + np.pi) % (2 * np.pi) - np.pi))


def _length(plan: Plan, ego: Odometry, config: Config) -> Iterator[Finding]:
    """What is left of the plan must be long enough to stop in, or end in a stop."""
    now = seconds(ego.t - plan.t)
    ahead = plan.time > now
    if abs(float(plan.speed[-1])) < config.arbitration.standstill_speed:
        return
    x, y = np.concatenate([[ego.x], plan.x[ahead]]), np.concatenate([[ego.y], plan.y[ahead]])
    left = float(np.hypot(_steps(x), _steps(y)).sum())
    e = config.envelope
    need = float(fallback_distance(abs(ego.speed), config.timing.actuation_delay, 0, e.assumed_brake, e.assumed_jerk))
    if not left >= need:
        yield _finding(Code.PLAN_TOO_SHORT, f"has {left:.1f} m left, stopping takes {need:.1f} m")


def _jump(plan: Plan, previous: Plan | None, ego: Odometry, config: Config) -> Iterator[Finding]:
    """Consecutive plans must agree about the next second, laterally; a broken plan says nothing to agree with."""
    if previous is None or any(_shape(previous, config)):
        return
    if not abs(seconds(plan.t - previous.t)) < config.plan_check.interval_max:
        return
    now = seconds(ego.t - plan.t)
    times = now + np.arange(6) / 5
    x, y = np.interp(times, plan.time, plan.x), np.interp(times, plan.time, plan.y)
    yaw, then = np.interp(times, plan.time, unwrapped(plan.yaw)), times + seconds(plan.t - previous.t)
    old_x, old_y = np.interp(then, previous.time, previous.x), np.interp(then, previous.time, previous.y)
    offset = np.abs(np.cos(yaw) * (old_y - y) - np.sin(yaw) * (old_x - x))
    limit = config.plan_check.jump_max
    if not offset.max() <= limit:
        yield _finding(Code.PLAN_JUMP, f"jumps {offset.max():.2f} m sideways from the plan before, allowed {limit:g} m")


def _worst(values: Floats) -> float:
    return float(values.max()) if len(values) else 0.0
