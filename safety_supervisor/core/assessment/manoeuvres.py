"""Which minimal-risk manoeuvre is enough: each one's own jerk-limited course against the worst-case envelope.

Asked only once a stop is due or under way. A milder stop stays inside when at every time of its course, objects in
their expected motion, the emergency stop would still keep the worst-case margin; the response time counts again in
full, for to change over takes a commit interval and the actuation delay. The course of the emergency stop is what the
margin of now speaks about, so that one is inside as long as no margin is gone. What then is taken, `arbitration.select`
says. Rear traffic ranks only what is otherwise equal there: options with the same impact ahead, none of them the
emergency stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from safety_supervisor.core import foresight
from safety_supervisor.core.arbitration import select
from safety_supervisor.core.assessment.approach import may_stand
from safety_supervisor.core.assessment.cut_in import movers_of, plan_course
from safety_supervisor.core.assessment.objects import Objects
from safety_supervisor.core.assessment.rating import Rated, margin_of, worst_state
from safety_supervisor.core.assessment.situation import COMFORT_STOP, EMERGENCY_STOP, FIRM_STOP, NOMINAL, Situation
from safety_supervisor.core.config import Config
from safety_supervisor.core.envelopes import EPS, upper_speed
from safety_supervisor.core.fallback import course, manoeuvre
from safety_supervisor.core.world import Bools, Floats, Ints, Mode, Mrm

TIMES = np.arange(0.0, 12.01, 0.2)
"""When a course is looked at [s]; what comes later is judged later."""
MILDER = (Mode.COMFORT_STOP, Mode.FIRM_STOP)
NONE = -1
Beside = tuple[Ints, Floats]
"""Demand (N,) and margin (N,) [m] of each row on ego's present course."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What each of W worlds is to do about all its rows together."""

    stop: Ints
    """(W,) mode that is asked for: what the rows demand, or the mildest stop above it that is enough."""
    least: Ints
    """(W,) option of `world.Mrm` with the least predicted impact where none is inside and it is not the emergency stop,
    NONE otherwise."""


def chosen(
    o: Objects, rated: Rated, beside: Beside | None, situation: Situation, config: Config, owner: Ints, owners: int,
    shift: bool = False,
) -> Choice:  # fmt: skip
    """Return what is to be done; `beside` is what ego's present course leads into, rows are those of `owner` (N,), and
    `shift` says whether one is free.
    """
    demand, breached, none = np.full(owners, NOMINAL), np.zeros(owners, np.bool_), np.full(owners, NONE)
    parts = list(_parts(rated, beside))
    if situation.under_way < COMFORT_STOP and not any(np.count_nonzero(asked > NOMINAL) for asked, _ in parts):
        return Choice(demand, none)
    for asked, margin in parts:
        np.maximum.at(demand, owner, asked)
        np.logical_or.at(breached, owner, (asked >= EMERGENCY_STOP) & ~(margin >= EPS))
    floor = np.maximum(demand, min(situation.under_way, EMERGENCY_STOP))
    if not (breached | ((floor >= COMFORT_STOP) & (floor < EMERGENCY_STOP))).any():
        return Choice(demand, none)
    inside = np.zeros((len(Mrm), owners), np.bool_)
    inside[Mrm.EMERGENCY] = ~breached
    for mode in MILDER:
        inside[mode] = ~breached & _stays(mode, o, rated, situation, config, owner, owners)
    impact, behind = np.zeros(inside.shape), np.zeros(inside.shape)
    if breached.any():
        courses = _courses(situation, config)
        impact[Mrm.SHIFT] = 0.0 if shift else np.inf
        impact[Mrm.PLAN :] = _impacts(o, rated, beside, courses, situation, config, owner, owners)
        behind[Mrm.PLAN :] = _behind(o, rated, courses, situation, config, owner, owners)
    option = select(inside, impact, floor, behind)
    due = floor >= COMFORT_STOP
    stop = np.where(due & ~breached & (option > floor), option, demand)
    return Choice(np.maximum(stop, demand), np.where(breached & (option < Mrm.EMERGENCY), option, none))


def _parts(rated: Rated, beside: Beside | None) -> Iterator[Beside]:
    yield rated.demand, rated.margin
    if beside is not None:
        yield beside


def _course(mode: Mode, times: Floats, situation: Situation, config: Config) -> tuple[Floats, Floats]:
    """Return travel and speed at `times` of the stop of a mode, never weaker than the braking that is on."""
    mrm, left = manoeuvre(mode, config), situation.envelope.assumed_brake
    brake = max(min(mrm.deceleration, left), -situation.braked)
    return course(abs(situation.ego.speed), max(situation.braked, -brake), brake, mrm.jerk, times,
                  config.timing.actuation_delay)  # fmt: skip


def _stays(
    mode: Mode, o: Objects, rated: Rated, situation: Situation, config: Config, owner: Ints, owners: int
) -> Bools:
    """Tell for each world (W,) whether the stop of a mode keeps the worst-case margin of every row all along."""
    leaves = np.zeros(owners, np.bool_)
    rows = np.flatnonzero(rated.met.hit & (rated.level >= EMERGENCY_STOP) & ~rated.spared)
    if situation.resting or not len(rows):
        return ~leaves
    e, still = situation.envelope, config.tracking.moving_speed
    travel, v = _course(mode, TIMES, situation, config)
    gap, speed, response = worst_state(o, rated.met, situation, config)
    along = rated.met.along
    # Noise of what stands does not add up, and who crosses has been counted until it is out of the way.
    along = np.where((along < -still) & (speed < 0), along, np.maximum(along, 0.0))
    gaps = gap + along * TIMES[:, None] - travel[:, None]
    acceleration = min(situation.acceleration, e.acceleration_margin)
    stands = may_stand(rated.met, speed, config)
    margin = margin_of(o, gaps, upper_speed(v, e)[:, None], speed, stands, response, acceleration, e)
    fine = (margin >= EPS) | (v <= config.arbitration.standstill_speed)[:, None]
    np.logical_or.at(leaves, owner[rows], ~fine[:, rows].all(axis=0))
    return ~leaves


def _courses(situation: Situation, config: Config) -> tuple[foresight.Course, ...]:
    """Return ego's course of each option along its path, from PLAN on in the order of `world.Mrm`."""
    v, jerk, delay = abs(situation.ego.speed), config.fallback.emergency_jerk, config.timing.actuation_delay
    coast = foresight.two_phases(v, situation.braked, 0.0, 0.0, 0.0, jerk, delay)
    stops = [foresight.Course(*(x[None] for x in _course(mode, foresight.TIMES, situation, config)))
             for mode in (*MILDER, Mode.EMERGENCY_STOP)]  # fmt: skip
    return (plan_course(situation.path), coast, *stops)


def _impacts(
    o: Objects, rated: Rated, beside: Beside | None, courses: tuple[foresight.Course, ...], situation: Situation,
    config: Config, owner: Ints, owners: int,
) -> Floats:  # fmt: skip
    """Return the predicted impact (K, W) [m/s] of each option, summed over what a lateral acceleration may become.

    Where a row breaks its margin whose motion cannot be foretold, all options count as equal.
    """
    path, met = situation.path, rated.met
    counts = ~o.near & o.sound & (rated.level >= FIRM_STOP) & (met.station >= -path.rear)
    unknown = np.zeros(owners, np.bool_)
    for asked, margin in _parts(rated, beside):
        broken = (asked >= EMERGENCY_STOP) & ~(margin >= EPS)
        np.logical_or.at(unknown, owner, broken & ~(counts & rated.met.hit))
    if unknown.all() or not counts.any():
        return np.zeros((len(courses), owners))
    body = (path.front, path.rear, config.vehicle.width / 2)
    movers = movers_of(o, rated, situation, config).take(counts)
    costs = foresight.contact_costs(movers, courses, body)
    impact = np.stack([foresight.worst(cost, owner[counts], owners).sum(axis=0) for cost in costs])
    return np.where(unknown, 0.0, impact)


def _behind(
    o: Objects, rated: Rated, courses: tuple[foresight.Course, ...], situation: Situation, config: Config,
    owner: Ints, owners: int,
) -> Floats:  # fmt: skip
    """Return the predicted impact (K, W) [m/s] of who follows ego in its way, for each option.

    A follower keeps its speed until it has responded to ego's braking, and then brakes as the least of drivers does.
    """
    a, e, met, rear = config.authority, config.envelope, rated.met, situation.path.rear
    follows = ~o.near & o.sound & ~o.suspect & (o.existence >= a.stop) & (o.hits >= a.hits) & (met.station < -rear)
    follows &= (np.abs(met.offset) <= config.vehicle.width / 2 + o.slack) & (met.along > config.tracking.moving_speed)
    if not np.count_nonzero(follows):
        return np.zeros((len(courses), owners))
    brake, jerk = -e.oncoming_brake, config.fallback.emergency_jerk
    theirs = foresight.two_phases(met.along[follows, None], 0.0, brake, brake, 0.0, jerk, e.object_response)
    costs = foresight.rear_costs(met.station[follows], theirs, courses, rear)
    return np.stack([foresight.worst(cost[None], owner[follows], owners)[0] for cost in costs])
