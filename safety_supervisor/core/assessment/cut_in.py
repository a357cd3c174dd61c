"""What braking changes for the rating: who comes into the way, and who is only passed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safety_supervisor.core import foresight
from safety_supervisor.core.assessment.objects import Objects
from safety_supervisor.core.assessment.rating import CODES, Rated
from safety_supervisor.core.assessment.situation import EMERGENCY_STOP, FIRM_STOP, NOMINAL, Situation
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import Path
from safety_supervisor.core.world import Bools, Code, Ints

PASSING = 1.0
"""Who is behind and this much slower than ego [m/s] has been passed and does not follow it."""
WAIT = 0.5
"""Braking for who cuts in begins when it would be worse to begin it this much later [s]."""


def foreseen(
    o: Objects, rated: Rated, situation: Situation, config: Config, owner: Ints, owners: int
) -> tuple[Rated, Bools]:
    """Return the rating with what braking changes: who comes into the way asks for it in time, and where braking would
    make a miss a hit, who is still beside the way asks for no stop. The second value (owners,): braking under way does
    harm now. Rows of one `owner` (N,) are judged together: one for a vehicle, one for each of many simulated worlds.
    """
    c, a, path = config.corridor, config.authority, situation.path
    met, half = rated.met, config.vehicle.width / 2
    width = o.slack - c.margin
    beside = np.abs(met.offset) > half + width
    counts = ~o.near & o.sound & ~o.suspect & (o.existence >= a.stop) & (o.hits >= a.hits)
    counts &= met.along > -config.tracking.moving_speed
    counts &= (met.station - path.front <= np.where(o.static, a.static_range, rated.reach))
    coming = counts & beside & (met.drift * met.offset < 0)
    # Who is behind asks for nothing; but who comes into the way behind ego, or has just been passed there, runs into
    # it if it brakes on. A follower will brake too.
    behind = met.station < -path.rear
    passed = counts & behind & ~beside & (met.along < abs(situation.ego.speed) - PASSING) & situation.braking
    coming |= passed
    counts &= ~behind | coming
    if not np.count_nonzero(coming):
        return rated, np.zeros(owners, np.bool_)
    movers = movers_of(o, rated, situation, config).take(counts)
    due, harmful = _together(_costs(movers, situation, config), owner[counts], coming[counts], behind[counts], owners)
    level = np.where(o.existence >= a.emergency, EMERGENCY_STOP, FIRM_STOP)
    asks = coming & ~behind & due[owner]
    demand = np.where(asks, np.maximum(rated.demand, level), rated.demand)
    spared = counts & beside & harmful[owner]
    demand = np.where(spared, NOMINAL, demand)  # a cap brakes too
    code = np.where(asks & (level > rated.demand), CODES.index(Code.CUT_IN), rated.code)
    return replace(rated, demand=demand, code=code, spared=spared), harmful


def _together(
    costs: foresight.Costs, owner: Ints, coming: Bools, behind: Bools, owners: int
) -> tuple[Bools, Bools]:
    """Return for whom (owners,) braking is due, and for whom it does harm; who is behind counts for harm only."""
    before = np.bincount(owner[coming & ~behind], minlength=owners) > 0
    ahead = foresight.joint(costs, np.where(behind, owners, owner), owners + 1)
    due = before & foresight.due(ahead)[:-1]
    comes = np.bincount(owner[coming], minlength=owners) > 0
    return due, comes & ~due & foresight.harmful(foresight.joint(costs, owner, owners))


def movers_of(o: Objects, rated: Rated, situation: Situation, config: Config) -> foresight.Movers:
    """Return every row in the frame of the path."""
    met, path = rated.met, situation.path
    near = np.argmin(np.abs(path.s - met.station[:, None]), axis=1)
    gain = np.cos(path.heading[near]) * o.trend[:, 1] - np.sin(path.heading[near]) * o.trend[:, 0]
    width = o.slack - config.corridor.margin
    return foresight.Movers(met.station, met.offset, met.along, met.drift, gain, width)


def plan_course(path: Path) -> foresight.Course:
    """Return the plan's own timing as a course."""
    planned = np.isfinite(path.time)
    times, s = path.time[planned], path.s[planned]
    over = np.maximum(foresight.TIMES - times[-1], 0.0)
    travel = np.interp(foresight.TIMES, times, s)
    speed = np.interp(travel, path.s, path.speed)
    return foresight.Course((travel + over * path.speed[-1])[None], speed[None])


def _costs(movers: foresight.Movers, situation: Situation, config: Config) -> foresight.Costs:
    path, v, f = situation.path, abs(situation.ego.speed), config.fallback
    brake = min(f.emergency_deceleration, situation.envelope.assumed_brake)
    phases = ((-brake, -brake, 0.0), (0.0, -brake, WAIT), (-brake, 0.0, max(config.timing.period, foresight.STEP)))
    courses = [foresight.two_phases(v, situation.braked, first, second, at, f.emergency_jerk,
                                    config.timing.actuation_delay) for first, second, at in phases]
    body = (path.front, path.rear, config.vehicle.width / 2)
    return foresight.costs(movers, plan_course(path), (courses[0], courses[1], courses[2]), body)
