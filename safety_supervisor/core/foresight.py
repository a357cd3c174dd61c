"""What braking changes: the contact that the expected motion of ego and objects leads to, with it and without it.

Braking in front of somebody who cuts in avoids a collision when it comes early, and causes one when ego would have been
past. So four courses of ego are compared: the plan; braking at once; braking a little later; braking at once and then
letting go again. Objects keep their velocity; what drives along the path and comes into it stays there; a lateral
acceleration that is more than noise may go on, nobody knows how long, so several lengths are tried.

Everything is in the frame of the path (along, across) with time as the last axis, and works row by row: a course of ego
may be one for all rows, or one for each row. SI units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from safety_supervisor.core.world import Bools, Floats, Ints

STEP = 0.1
"""Time step of the prediction [s]."""
HORIZON = 6.0
"""The hardest braking from motorway speed takes hardly longer [s]."""
GROWTH = (0.0, 0.0, 0.25, 0.5, 0.75, 1.0)
"""Durations for which a lateral acceleration is thought to go on [s], one for each case; the first is the likeliest."""
LATERAL_SPEED_MAX = 1.8
"""No lane change is faster [m/s]; UN R157 takes cut-ins up to it."""
STAYS = 0.7
"""Who moves across by less than this share of its speed along the path may stay in it; else it crosses. A car at
10 km/h changes lanes with up to 0.65."""
NEAR_MISS = 0.1
"""Passing closer than this [m] counts as a contact in every case but the likeliest, which is taken as it is."""
CONTACT = 40.0
"""A contact costs its relative speed and this [m/s]: first of all there shall be none, then a soft one."""
TIMES = np.arange(0.0, HORIZON + STEP / 2, STEP)


@dataclass(frozen=True, slots=True)
class Course:
    """Where ego is along its path, and how fast, at TIMES: (1, T), or (N, T) when every row has its own ego."""

    travel: Floats
    speed: Floats


@dataclass(frozen=True, slots=True)
class Movers:
    """N objects in the frame of the path, seen from ego's base_link now."""

    along: Floats
    """(N,) [m]"""
    across: Floats
    """(N,) offset to the left [m]."""
    speed: Floats
    """(N,) along the path [m/s]."""
    drift: Floats
    """(N,) to the left [m/s], without what is only noise."""
    gain: Floats
    """(N,) growth of `drift` [m/s^2], without what is only noise."""
    half_width: Floats
    """(N,) lateral half extent around the point [m]."""

    def take(self, rows: Bools) -> Movers:
        """Return some rows."""
        return Movers(self.along[rows], self.across[rows], self.speed[rows], self.drift[rows], self.gain[rows],
                      self.half_width[rows])


@dataclass(frozen=True, slots=True)
class Costs:
    """Cost [m/s] of the first contact, 0 without, for each case of GROWTH (H, N) and each course."""

    plan: Floats
    brake: Floats
    later: Floats
    release: Floats

    @property
    def now(self) -> Floats:
        """(H, N) what can still be reached when ego brakes now."""
        return np.minimum(self.brake, self.release)

    @property
    def wait(self) -> Floats:
        """(H, N) what can still be reached when ego does not brake yet."""
        return np.minimum(self.later, self.plan)


def two_phases(
    speed: Any, now: Any, first: float, second: float, at: float, jerk: float, delay: float, times: Floats = TIMES
) -> Course:
    """Return the course from `speed` >= 0 [m/s] that demands acceleration `first`, then `second` [m/s^2] from `at` [s].

    `now` [m/s^2] is the present acceleration; demands act after `delay` [s] and are approached with `jerk` [m/s^3].
    `speed` and `now` are numbers, or (N, 1) columns.
    """
    acting = np.maximum(times - delay, 0.0)
    until = np.minimum(acting, at)
    reached = now + np.clip(first - now, -jerk * until, jerk * until)
    after = jerk * (acting - until)
    a = reached + np.clip(second - reached, -after, after)
    dt = times[1] - times[0]
    v = np.maximum(speed + np.cumsum(np.concatenate([0 * a[..., :1], a[..., 1:]], axis=-1), axis=-1) * dt, 0.0)
    s = np.cumsum(np.concatenate([0 * v[..., :1], v[..., 1:]], axis=-1), axis=-1) * dt
    return Course(np.atleast_2d(s), np.atleast_2d(v))


def costs(
    movers: Movers, plan: Course, brakes: tuple[Course, Course, Course], body: tuple[float, float, float]
) -> Costs:
    """Return what the plan and three ways of braking (at once; later; briefly) lead to.

    `body` is (front, rear, half width) of ego [m].
    """
    return Costs(*contact_costs(movers, (plan, *brakes), body))


def contact_costs(movers: Movers, courses: tuple[Course, ...], body: tuple[float, float, float]) -> Iterator[Floats]:
    """Yield the cost (H, N) [m/s] of the first contact on each course, for each case of growth and near miss."""
    growths = GROWTH if bool((movers.gain != 0).any()) else GROWTH[:2]
    spread = np.full((len(growths), 1, 1), NEAR_MISS)
    spread[0] = 0.0
    across = np.stack([_across(movers, growth) for growth in growths])
    wide = np.abs(across) <= (body[2] + movers.half_width)[:, None] + spread
    place = movers.along[:, None] + movers.speed[:, None] * TIMES
    for ego in courses:
        ahead = place - ego.travel
        touch = wide & (ahead <= body[0] + spread) & (ahead >= -body[1] - spread)
        first = touch.argmax(axis=-1)
        own = ego.speed[0][first] if len(ego.speed) == 1 else ego.speed[np.arange(len(place)), first]
        yield np.where(touch.any(axis=-1), CONTACT + np.abs(own - movers.speed), 0.0)


def _across(m: Movers, growth: float) -> Floats:
    """Return the offset (N, T) [m] when the lateral acceleration goes on for `growth` [s], but to no absurd speed."""
    toward = m.drift * m.across < 0
    spare = np.maximum(LATERAL_SPEED_MAX - np.abs(m.drift), 0.0)
    grows = toward & (m.gain * m.drift > 0)
    most = np.where(grows, spare / np.where(grows, np.abs(m.gain), 1.0), 0.0)
    during = np.minimum(TIMES, np.minimum(most, growth)[:, None])
    offset = m.across[:, None] + m.drift[:, None] * TIMES + m.gain[:, None] * during * (TIMES - during / 2)
    # Who changes lanes ends at ego's path; who crosses goes on.
    stays = np.abs(m.drift) <= STAYS * np.abs(m.speed)
    settled = np.where(m.across[:, None] > 0, np.maximum(offset, 0.0), np.minimum(offset, 0.0))
    return np.asarray(np.where((stays & toward)[:, None], settled, offset))


def rear_costs(station: Floats, follower: Course, courses: tuple[Course, ...], rear: float) -> Iterator[Floats]:
    """Yield the cost (N,) [m/s] of each course to N followers at `station` (N,) < -`rear` [m] who drive `follower`."""
    for ego in courses:
        touch = station[:, None] + follower.travel >= ego.travel - rear
        first = touch.argmax(axis=1)[:, None]
        closing = np.take_along_axis(np.abs(follower.speed - ego.speed), first, axis=1)[:, 0]
        yield np.where(touch.any(axis=1), CONTACT + closing, 0.0)


def due(c: Costs) -> Bools:
    """Tell which rows demand braking now: waiting costs more in the likeliest case; or it may cost something, while
    braking now leaves every case clear. A mere possibility that braking does not clear either asks for nothing: ego may
    as well be past.
    """
    now, wait = c.now, c.wait
    return np.asarray((now[0] < wait[0]) | ((now == 0).all(axis=0) & (wait > 0).any(axis=0)))


def harmful(c: Costs) -> Bools:
    """Tell for which rows to brake on makes things worse: a miss becomes a hit, or a soft one a hard one.

    Here braking counts as it would go on: to let go at the last moment leaves no room for what is not known.
    """
    return np.asarray((c.brake.sum(axis=0) > c.wait.sum(axis=0)) & (c.brake[0] >= c.wait[0]) & ~due(c))


def joint(c: Costs, owner: Ints, owners: int) -> Costs:
    """Return the costs of all rows of each of `owners` together, as (H, owners): the worst contact of each course.

    `owner` (N,) is whose row it is.
    """
    return Costs(*(worst(x, owner, owners) for x in (c.plan, c.brake, c.later, c.release)))


def worst(cost: Floats, owner: Ints, owners: int) -> Floats:
    """Return the worst (H, owners) of the rows (H, N) of each owner; 0 where there is none."""
    most = np.zeros((owners, len(cost)))
    np.maximum.at(most, owner, cost.T)
    return most.T
