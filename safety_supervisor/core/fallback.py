"""Minimal-risk manoeuvres (MRM) as trajectories: the last validated path with a new speed profile.

Steering follows that path; it is neither frozen nor zeroed. The profile ramps the deceleration with the jerk of the
manoeuvre and is never weaker than the braking that is already on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from safety_supervisor.core.config import GRAVITY, Config, Odd
from safety_supervisor.core.envelopes import upper_speed
from safety_supervisor.core.geometry import Path, slopes
from safety_supervisor.core.motion import grip_left, stop_acceleration
from safety_supervisor.core.world import Floats, Mode, Odometry, Plan, owned, seconds

STEP = 0.1
"""Time step of a commanded trajectory [s]."""
SPARE = 1.0
"""A capped plan may brake this much harder than the plan to come back to its profile [m/s^2]."""
STARTING = 0.1
"""A plan that starts from rest is read this far ahead [m]: at its first point its speed is still 0."""
HORIZON = 4.0
"""Least time span of a commanded trajectory [s]; a stop is followed to its end."""


BRAKES = np.arange(1, 17) / 16
"""Shares of the assumed brake that are tried where a bend lies ahead; the same ones in every tick, so that what one
tick counts on is left in the next."""
MIN_DECELERATION = 0.5
"""A curve that leaves no grip at all is refused as a plan; what is left to brake with is at least this [m/s^2]."""


@dataclass(frozen=True, slots=True)
class Manoeuvre:
    """Deceleration [m/s^2] and jerk [m/s^3] of one MRM, both positive."""

    deceleration: float
    jerk: float


def manoeuvre(mode: Mode, config: Config) -> Manoeuvre:
    """Return the MRM of a mode; UNABLE brakes like EMERGENCY_STOP, whatever is not a stop uses the comfort values."""
    f = config.fallback
    if mode in (Mode.EMERGENCY_STOP, Mode.UNABLE):
        return Manoeuvre(f.emergency_deceleration, f.emergency_jerk)
    if mode == Mode.FIRM_STOP:
        return Manoeuvre(f.firm_deceleration, f.firm_jerk)
    return Manoeuvre(f.comfort_deceleration, f.comfort_jerk)


def grip(speed: float, curvature: float, odd: Odd) -> float:
    """Return the deceleration [m/s^2] that the friction circle leaves on `curvature` [1/m], downhill; at least 0."""
    return float(grip_left(speed, curvature, *_road(odd)))


@cache
def _road(odd: Odd) -> tuple[float, float]:
    """Return the radius of the friction circle and the pull of the slope [m/s^2]."""
    return float(GRAVITY * odd.friction_min * np.cos(odd.grade_max)), float(GRAVITY * np.sin(odd.grade_max))


def lateral_left(odd: Odd) -> float:
    """Return the lateral acceleration [m/s^2] of a plan that still leaves MIN_DECELERATION to brake with, downhill."""
    circle, downhill = _road(odd)
    brake = MIN_DECELERATION + downhill
    return float(np.sqrt(np.maximum(circle * circle - brake * brake, 0.0)))


def stop(
    path: Path, ego: Odometry, now: float, mrm: Manoeuvre, floor: float, config: Config, at_once: float | None = None
) -> tuple[Plan, float]:
    """Return the stopping trajectory along `path` and the acceleration demand [m/s^2] for this tick.

    `now` is the acceleration [m/s^2] of the last command, where the ramp goes on from; `floor` >= 0 [m/s^2] is braking
    that must not be undercut; `at_once` is `left_at_once` of the same path and ego where it is known.
    """
    speed = abs(ego.speed)
    start = min(now, 0.0)
    target = max(mrm.deceleration, floor)
    left = brake_left(path, ego, config, min(now, 0.0), at_once)
    brake = min(target, left)
    start = max(start, -target)
    time = np.arange(0.0, max(HORIZON, speed / brake + 2 * abs(brake + start) / mrm.jerk + STEP) + STEP / 2, STEP)
    s, v = course(speed, start, brake, mrm.jerk, time)
    demand = stop_acceleration(now, mrm.deceleration, floor, left, mrm.jerk * config.timing.period)
    return along(path, ego, time, s, v), float(demand)


def coast(path: Path, ego: Odometry, now: float, config: Config) -> tuple[Plan, float]:
    """Return the trajectory along `path` that lets go of the brake, and the acceleration demand [m/s^2] now."""
    f, speed = config.fallback, abs(ego.speed)
    time = np.arange(0.0, HORIZON + STEP / 2, STEP)
    ramp = np.minimum(time, -min(now, 0.0) / f.emergency_jerk)
    v = np.maximum(speed + min(now, 0.0) * ramp + f.emergency_jerk * ramp * ramp / 2, 0.0)
    s = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * STEP)])
    return along(path, ego, time, s, v), float(min(now + f.emergency_jerk * config.timing.period, 0.0))


def brake_left(
    path: Path, ego: Odometry, config: Config, now: float | None = None, at_once: float | None = None
) -> float:
    """Return the deceleration [m/s^2] that the bends of the path leave to a stop all along.

    What a bend needs sideways is not there for braking. What the sharpest bend within twice the stopping distance
    leaves at ego's speed holds for the whole stop, for ego gets slower; twice, because less brake means a longer way.
    Where a stop has made ego slower before the bend, more is left: of BRAKES the hardest that keeps inside the friction
    circle everywhere. `now` <= 0 is the acceleration [m/s^2] that was commanded last: what is on already takes no time
    to build up. Without it a commit interval has to pass before anything is commanded. `at_once` is `left_at_once`
    where it is known.
    """
    left = left_at_once(path, ego, config) if at_once is None else at_once
    e = config.envelope
    if left >= e.assumed_brake:
        return left
    brake, timing = e.assumed_brake * BRAKES[:, None], config.timing
    more = brake + (0.0 if now is None else now)
    wait = timing.actuation_delay + (timing.commit if now is None else 0.0)
    speed = float(upper_speed(abs(ego.speed), e))
    until = speed * np.where(more > 0.0, wait + more / e.assumed_jerk, 0.0)
    until += path.s[1] if now is None else 0.0  # where a bend begins moves between samples from tick to tick
    bend, road = slopes(path.heading, path.s), _road(config.odd)
    tight = (grip_left(speed, bend, *road) < e.assumed_brake).nonzero()[0]
    square = np.maximum(speed * speed - 2 * brake * np.maximum(path.s[tight] - until, 0.0), 0.0)
    keeps = (grip_left(np.sqrt(square), bend[tight], *road) >= brake) | (square <= 0.0)
    return max(left, float(np.where(keeps.all(axis=1), brake[:, 0], 0.0).max()))


def left_at_once(path: Path, ego: Odometry, config: Config) -> float:
    """Return what the sharpest bend within twice the stopping distance leaves at ego's present speed [m/s^2]."""
    e = config.envelope
    speed = float(upper_speed(abs(ego.speed), e))
    stopping = speed * (e.assumed_brake / e.assumed_jerk + config.timing.commit + config.timing.actuation_delay)
    stopping += speed * speed / (2 * e.assumed_brake)
    near = int(path.s.searchsorted(2 * stopping + path.s[1], "right"))
    bend = np.abs(slopes(path.heading, path.s)[:near])
    return max(grip(speed, float(bend.max()), config.odd), MIN_DECELERATION)


def capped(path: Path, ego: Odometry, cap: float, comfort: Manoeuvre) -> tuple[Plan, float]:
    """Return the planned trajectory with its speed limited to `cap` [m/s], approached by the comfort manoeuvre.

    Where the plan itself brakes harder, so does this: it never comes further than the plan's own stop.
    """
    planned_rate = np.diff(path.speed * path.speed) / (2 * np.diff(path.s))
    hard = max(comfort.deceleration, float(-planned_rate.min()) + SPARE)
    # Samples that lie far apart do not show how hard a near stop is: it is as hard as the way that is left.
    shed = ego.speed * ego.speed - path.speed[-1] ** 2
    hard = max(hard, float(shed) / (2 * max(path.length, abs(ego.speed) * STEP, STARTING)) + SPARE)
    rise = min(comfort.deceleration, max(float(planned_rate.max()), 0.0))  # the envelope counts on no more
    time = np.arange(0.0, HORIZON + STEP / 2, STEP)
    v = np.empty_like(time)
    s = np.zeros_like(time)
    v[0] = abs(ego.speed)
    for i in range(1, len(time)):
        ahead = s[i - 1] + max(v[i - 1] * STEP, STARTING)
        stopping = np.sqrt(path.speed[-1] ** 2 + 2 * hard * max(path.length - ahead, 0.0))
        planned = min(float(np.interp(ahead, path.s, path.speed)), stopping)
        wanted = min(planned, max(cap, v[i - 1] - comfort.deceleration * STEP))
        v[i] = max(np.clip(wanted, v[i - 1] - hard * STEP, v[i - 1] + rise * STEP), 0.0)
        s[i] = s[i - 1] + (v[i] + v[i - 1]) / 2 * STEP
    return along(path, ego, time, s, v), float((v[1] - v[0]) / STEP)


def along(path: Path, ego: Odometry, time: Floats, s: Floats, v: Floats) -> Plan:
    """Return the trajectory that is at `s` [m] on `path` with speed `v` >= 0 [m/s] at `time` [s from ego.t].

    On the spot only the yaw goes on, with the farthest corner.
    """
    over = np.maximum(s - path.s[-1], 0.0) if not path.radius else np.zeros_like(s)
    heading = np.interp(s, path.s, path.heading)
    x = np.interp(s, path.s, path.x) + over * np.cos(heading)
    y = np.interp(s, path.s, path.y) + over * np.sin(heading)
    yaw = heading - np.pi if path.reverse else heading
    yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
    speed = np.zeros_like(v) if path.radius else -v if path.reverse else v
    return Plan(ego.t, owned(time), owned(x), owned(y), owned(yaw), owned(speed))


def followed(plan: Plan, ego: Odometry) -> Odometry:
    """Return ego at its own time as it is when it has done what `plan` says, instead of what odometry last said."""
    since = seconds(ego.t - plan.t)
    x, y, speed = (float(np.interp(since, plan.time, values)) for values in (plan.x, plan.y, plan.speed))
    yaw = float(np.interp(since, plan.time, np.unwrap(plan.yaw)))
    rate = ego.yaw_rate * (speed / ego.speed if abs(ego.speed) > abs(speed) else 1.0)  # the same bend
    if not plan.speed.any():  # it stands, or turns on the spot
        rate = (float(np.interp(since + STEP, plan.time, np.unwrap(plan.yaw))) - yaw) / STEP
    return Odometry(ego.t, x, y, (yaw + np.pi) % (2 * np.pi) - np.pi, speed, rate)


def course(
    speed: float, start: float, target: float, jerk: float, time: Floats, delay: float = 0.0
) -> tuple[Floats, Floats]:
    """Return travel and speed at `time` (T,) of a stop: for `delay` the acceleration is `start`, from then on it goes
    to -`target` at `jerk`, kept until rest.
    """
    ramp = abs(target + start) / jerk
    slope = jerk if start > -target else -jerk
    t0 = np.minimum(time, delay)
    t1 = np.minimum(time - t0, ramp)
    t2 = time - t0 - t1
    v0 = speed + start * t0
    v1 = v0 + start * t1 - slope * t1 * t1 / 2
    v = v1 - target * t2
    s = speed * t0 + start * t0 * t0 / 2
    s = s + v0 * t1 + start * t1 * t1 / 2 - slope * t1 * t1 * t1 / 6 + v1 * t2 - target * t2 * t2 / 2
    rest = np.minimum.accumulate(v) <= 0.0
    last = max(int(rest.argmax()) - 1, 0)
    s = np.where(rest, s[last] + max(v[last], 0.0) ** 2 / (2 * target), s)
    return np.maximum.accumulate(s), np.where(rest, 0.0, v)
