"""What braking changes for the rating: who comes into the way, and who is only passed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from safety_supervisor.core import foresight
from safety_supervisor.core.assessment.bodies import LENGTH, Bodies, bodies_of
from safety_supervisor.core.assessment.objects import Objects, half_width
from safety_supervisor.core.assessment.onset import moving_over
from safety_supervisor.core.assessment.rating import CODES, Rated
from safety_supervisor.core.assessment.situation import EMERGENCY_STOP, FIRM_STOP, NOMINAL, Situation
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import Contacts, Path
from safety_supervisor.core.world import Bools, Code, Floats, Ints

PASSING = 1.0
"""Who is behind and this much slower than ego [m/s] has been passed and does not follow it."""
WAIT = 0.5
"""Braking for who cuts in begins when it would be worse to begin it this much later [s]."""
IMMINENT = 0.6
"""Ego's front is at the rear of the body within this time [s]: later its lateral speed may be another, and until then
most of what is seen of it is its flank, on which reflections slide."""
SURELY_PAST = 0.3
"""Ego gets farther past the rear than this [m], more than the rear is known."""
NODES, WEIGHTS = (-math.sqrt(3.0), 0.0, math.sqrt(3.0)), (1 / 6, 2 / 3, 1 / 6)
"""Gauss-Hermite: standard deviations, and their weights, that stand for a normal distribution."""


def foreseen(
    o: Objects, rated: Rated, situation: Situation, config: Config, owner: Ints, owners: int
) -> tuple[Rated, Bools]:
    """Return the rating with what braking changes: who comes into the way asks for it in time, and where braking would
    make a miss a hit, or comes too late, who is still beside the way asks for no stop. The second value (owners,):
    braking under way does harm now. Rows of one `owner` (N,) are judged together: one for a vehicle, one for each of
    many simulated worlds.
    """
    a, path = config.authority, situation.path
    if path.radius:  # nobody is ahead of, beside or behind a body that turns on the spot
        return rated, np.zeros(owners, np.bool_)
    met, half = rated.met, config.vehicle.width / 2
    width = half_width(o, config)
    beside = np.abs(met.offset) > half + width
    counts = ~o.near & o.sound & ~o.suspect & (o.existence >= a.stop) & (o.hits >= a.hits)
    counts &= met.along > -config.tracking.moving_speed
    counts &= (met.station - path.front <= np.where(o.static, a.static_range, rated.reach))
    begins = moving_over(o, met, counts & beside, situation, config, owner)
    if np.count_nonzero(begins):
        met = replace(met, drift=np.where(begins != 0, begins, met.drift))
        rated = replace(rated, met=met)
    drifts = beside & (met.drift * met.offset < 0)
    if not situation.braking and not np.count_nonzero(drifts | (rated.demand > NOMINAL) | rated.nears):
        return rated, np.zeros(owners, np.bool_)  # nobody comes, and nothing is asked
    coming = counts & drifts
    body = bodies_of(o, met, config, owner) if np.count_nonzero(coming) else None
    if body is not None:  # a reflection that slides along a body that does not come is nobody's coming
        body = replace(body, sideways=np.where(begins != 0, begins, body.sideways))
        sure = np.where((begins == 0) & (body.rear <= _soon(met, situation)), body.sigma, 0.0)
        coming &= -np.sign(met.offset) * body.sideways > sure
    # Who is behind asks for nothing; but who comes into the way behind ego, or has just been passed there, runs into
    # it if it brakes on. A follower will brake too.
    behind = met.station < -path.rear
    passed = counts & behind & ~beside & (met.along < abs(situation.ego.speed) - PASSING) & situation.braking
    coming |= passed
    counts &= ~behind | coming
    late = ~behind & _stirred(rated, coming, situation, owner, owners)
    if np.count_nonzero(late):
        late = _too_late(o, rated, late, body, situation, config, owner)
    if not np.count_nonzero(coming | late):
        return rated, np.zeros(owners, np.bool_)
    movers = movers_of(o, rated, situation, config).take(counts)
    due, harmful = _together(_costs(movers, situation, config), owner[counts], coming[counts], behind[counts], owners)
    level = np.where(o.existence >= a.emergency, EMERGENCY_STOP, FIRM_STOP)
    asks = coming & ~behind & due[owner] & ~late
    demand = np.where(asks, np.maximum(rated.demand, level), rated.demand)
    spared = (counts & beside & harmful[owner]) | late
    demand = np.where(spared, NOMINAL, demand)  # a cap brakes too
    code = np.where(asks & (level > rated.demand), CODES.index(Code.CUT_IN), rated.code)
    harmful |= np.bincount(owner[late], minlength=owners) > 0
    return replace(rated, demand=demand, code=code, spared=spared), harmful


def _soon(met: Contacts, situation: Situation) -> Floats:
    """Return how far along the path [m] ego's front gets by IMMINENT, seen from each row (N,)."""
    return np.asarray(situation.path.front + IMMINENT * (abs(situation.ego.speed) - met.along))


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
    return foresight.Movers(met.station, met.offset, met.along, met.drift, gain, half_width(o, config))


def _stirred(rated: Rated, coming: Bools, situation: Situation, owner: Ints, owners: int) -> Bools:
    """Tell the rows (N,) of vehicles for which anything is asked, or may be on ego's present course, or that brake."""
    if situation.braking:
        return np.ones(len(coming), np.bool_)
    asks = coming | (rated.demand > NOMINAL) | rated.nears
    return np.asarray((np.bincount(owner[asks], minlength=owners) > 0)[owner])


def _too_late(
    o: Objects, rated: Rated, ahead: Bools, body: Bodies | None, situation: Situation, config: Config, owner: Ints
) -> Bools:
    """Tell in front of which traffic beside the way it is too late to brake (N,): ego gets past its rear anyway.

    It is past before the body is in the way, or it is not; braking does not make it fall behind, only pass later. Nor
    may braking soften the contact, on average over what the lateral speed of the body may be.
    """
    met, path = rated.met, situation.path
    soon = _soon(met, situation)
    late = ahead & ~o.near & o.sound & ~o.static & (met.along > config.tracking.moving_speed)
    late &= met.station - LENGTH <= soon
    if not np.count_nonzero(late):
        return late
    body = bodies_of(o, met, config, owner) if body is None else body
    late &= (body.rear <= soon) & (np.abs(body.offset) > config.vehicle.width / 2 + body.half_width)
    rows = late.nonzero()[0]
    brake = _course(situation, config, _full(situation, config), _full(situation, config), 0.0)
    room = body.rear[rows, None] + met.along[rows, None] * foresight.TIMES - brake.travel - path.front
    past = rows[(room <= -SURELY_PAST).any(axis=1)]
    late = np.zeros(len(late), np.bool_)
    late[past] = _no_softer(met, body, past, brake, situation, config)
    return late


def _no_softer(
    met: Contacts, body: Bodies, rows: Ints, brake: foresight.Course, situation: Situation, config: Config
) -> Bools:
    """Tell which of some rows the course `brake` meets no softer than the plan, on average over their lateral speed."""
    path, n = situation.path, len(rows)
    if not n:
        return np.zeros(0, np.bool_)
    outline, courses = (path.front, path.rear, config.vehicle.width / 2), (plan_course(path), brake)
    # In one call: each drift at the rear of the body and at the row; the body is all that is between.
    drift = body.sideways[rows] + np.array(NODES)[:, None, None] * body.sigma[rows]  # (3, 1, n)
    ends = np.stack([body.rear[rows], met.station[rows]])
    shape = (len(NODES), *ends.shape)
    alike = [np.broadcast_to(x, shape).ravel() for x in (ends, body.offset[rows], met.along[rows], drift, np.zeros(n),
                                                         body.half_width[rows])]  # fmt: skip
    costs = foresight.contact_costs(foresight.Movers(*alike), courses, outline)
    worst = (cost[0].reshape(shape).max(axis=1) for cost in costs)
    planned, braked = (sum(w * cost for w, cost in zip(WEIGHTS, each, strict=True)) for each in worst)
    return np.asarray(braked >= planned)


def plan_course(path: Path) -> foresight.Course:
    """Return the plan's own timing as a course."""
    planned = np.isfinite(path.time)
    times, s = path.time[planned], path.s[planned]
    over = np.maximum(foresight.TIMES - times[-1], 0.0)
    travel = np.interp(foresight.TIMES, times, s)
    speed = np.interp(travel, path.s, path.speed)
    return foresight.Course((travel + over * path.speed[-1])[None], speed[None])


def _costs(movers: foresight.Movers, situation: Situation, config: Config) -> foresight.Costs:
    path, full = situation.path, _full(situation, config)
    phases = ((full, full, 0.0), (0.0, full, WAIT), (full, 0.0, max(config.timing.period, foresight.STEP)))
    courses = [_course(situation, config, *each) for each in phases]
    body = (path.front, path.rear, config.vehicle.width / 2)
    return foresight.costs(movers, plan_course(path), (courses[0], courses[1], courses[2]), body)


def _full(situation: Situation, config: Config) -> float:
    """Return the acceleration of full braking [m/s^2]."""
    return -min(config.fallback.emergency_deceleration, situation.envelope.assumed_brake)


def _course(situation: Situation, config: Config, first: float, second: float, at: float) -> foresight.Course:
    f, v = config.fallback, abs(situation.ego.speed)
    return foresight.two_phases(v, situation.braked, first, second, at, f.emergency_jerk, config.timing.actuation_delay)
