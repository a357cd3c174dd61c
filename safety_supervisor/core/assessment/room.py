"""Whether ego may shift: inside the room that is given as free, and nothing that sensors tell speaks against it.

The room is somebody's word and may be less. So every track counts that may ask for anything, a speed cap included, with
its worst-case lateral interval; every echo beside the body counts at any speed; and where no healthy sensor looks there
is no room. What hides behind what is shifted around is not known: that is what the word stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.assessment.corridor import corridor_contacts, meets
from safety_supervisor.core.assessment.objects import Objects, counts, echo_points, half_width
from safety_supervisor.core.assessment.rating import Rated, worst_case
from safety_supervisor.core.assessment.situation import EMERGENCY_STOP, Situation
from safety_supervisor.core.config import Config
from safety_supervisor.core.cover import looked_at
from safety_supervisor.core.envelopes import EPS
from safety_supervisor.core.fallback import brake_left, course, lateral_left
from safety_supervisor.core.geometry import Contacts, Lateral, Path, slopes
from safety_supervisor.core.paths import planned_path
from safety_supervisor.core.shift import Step, shifted, step_of, swept
from safety_supervisor.core.world import Arc, Bools, Floats, Odometry

TRIES, WIDER = 3, 0.25
"""Shifts that are tried to each side, and by how much the next one is wider [m]."""
LEAST = 0.2
"""Less than this [m] is no shift."""
TIMES = np.arange(0.0, 12.01, 0.1)
"""When ego's course is looked at [s]."""
OUTLINE = 7
"""Points along the side of the body that sensors must see."""
AT_ORIGIN = Odometry(0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Way:
    """A shift as it would be driven: the path, and ego on it with the brake that the friction circle leaves."""

    step: Step
    path: Path
    brake: float
    travel: Floats
    """At TIMES [m]."""


def free_shift(o: Objects, rated: Rated, arcs: tuple[Arc, ...], situation: Situation, config: Config) -> float:
    """Return the smallest shift [m, positive to the left] that is free and passes all that breaks its margin; 0.0
    without one. Mostly there is no room, or no need.
    """
    broken = (rated.demand >= EMERGENCY_STOP) & ~(rated.margin >= EPS)
    if not max(situation.room) > 0.0 or not broken.any() or o.near[broken].any() or not o.sound.all():
        return 0.0
    place, reach = rated.met.offset[broken], _reach(o, rated.met, config)[broken]
    tracks = o.take(~o.near)
    met = corridor_contacts(tracks, situation.path, situation.ego, config)
    for offset in _offsets(place, reach, situation, config):
        way = _way(step_of(offset, abs(situation.ego.speed), config), situation, config)
        if way is not None and _is_free(way, tracks, met, arcs, situation, config):
            return offset
    return 0.0


def _offsets(place: Floats, reach: Floats, situation: Situation, config: Config) -> Iterator[float]:
    """Yield shifts [m] that pass what is at `place` and reaches so far to either side, smallest first, as far as there
    is room.
    """
    half, room = config.vehicle.width / 2, situation.room
    sides = ((1.0, float((place + reach).max()) + half, room[0]), (-1.0, float((reach - place).max()) + half, room[1]))
    wanted = [(max(needed, LEAST) + i * WIDER, side, most) for side, needed, most in sides for i in range(TRIES)]
    yield from (side * offset for offset, side, most in sorted(wanted) if offset <= most)


def _reach(o: Objects, met: Contacts, config: Config) -> Floats:
    """Return how far (N,) [m] a row may reach to either side of its reflection, with the lateral gap to keep."""
    c = config.corridor
    return np.asarray(half_width(o, config) + np.maximum(c.margin, config.envelope.sigma_k * met.lateral_sigma))


def _way(step: Step, situation: Situation, config: Config) -> Way | None:
    """Return the shift as it would be driven, None where it cannot be, or leaves the room."""
    ego, f, vehicle = situation.ego, config.fallback, config.vehicle
    right, left = swept(step, vehicle)
    half, bound = vehicle.width / 2, config.envelope.geometry_bound
    # Which way the other end of the body swings out at first is a matter of centimetres; those are in the bound.
    if left > half + situation.room[0] + bound or right < -half - situation.room[1] - bound:
        return None
    v = abs(ego.speed)
    until = v * v / (2 * f.emergency_deceleration)
    if step.end > until:  # parallel only when ego stands already: braking gets no farther
        return None
    plan = shifted(situation.path, step, ego, float(situation.path.s[-1]))
    path = planned_path(plan, ego, vehicle, 0.0, f.emergency_deceleration)
    bend = float(np.abs(slopes(path.heading, path.s)).max())
    if bend > vehicle.curvature_max or v * v * bend > lateral_left(config.odd):
        return None
    brake = min(f.emergency_deceleration, brake_left(path, ego, config))
    start = max(situation.braked, -brake)
    travel, _ = course(v, start, brake, f.emergency_jerk, TIMES, config.timing.actuation_delay)
    return Way(step, path, brake, travel)


def _is_free(
    way: Way, o: Objects, met: Contacts, arcs: tuple[Arc, ...], situation: Situation, config: Config
) -> bool:
    return (
        not _echoes(way.step, arcs, config)
        and _covered(way, situation, config)
        and not _beside(way, o, met, situation, config).any()
        and bool((_margins(way, o, met, situation, config) >= EPS).all())
    )


def _margins(way: Way, o: Objects, met: Contacts, situation: Situation, config: Config) -> Floats:
    """Return the worst-case margin (N,) [m] of each row on the shifted path, at its worst-case lateral interval."""
    c, e = config.corridor, situation.envelope
    interval = Lateral(0.0, c.lateral_speed_sigma_k, c.lateral_speed_sigma_max)  # of places, it is in the reach
    reach_in = np.where(o.static, 0.0, c.lateral_prediction)
    there = meets(o, _reach(o, met, config), reach_in, interval, way.path, situation.ego, config)
    braked = replace(e, assumed_brake=min(e.assumed_brake, way.brake))
    return worst_case(o, there, replace(situation, path=way.path, envelope=braked), config)


def _beside(way: Way, o: Objects, met: Contacts, situation: Situation, config: Config) -> Bools:
    """Tell who (N,) is beside the body on the side of the shift, or comes there from behind before others can react.

    Who follows in ego's own way is behind it in any case.
    """
    v, e, path, half = config.vehicle, config.envelope, situation.path, config.vehicle.width / 2
    side = 1.0 if way.step.offset > 0 else -1.0
    reach = _reach(o, met, config)
    toward = np.where(o.static, 0.0, np.maximum(-side * met.drift, 0.0) * config.corridor.lateral_prediction)
    place = side * met.offset
    edge = max(side * x for x in swept(way.step, v))
    across = (place + reach > half) & (place - reach - toward < edge)
    across &= (met.station < path.front) & ~((met.station < -path.rear) & (np.abs(met.offset) <= half))
    until = TIMES[np.argmax(way.travel >= way.step.end)] + e.object_response
    times = TIMES[until >= TIMES]
    fastest = np.maximum(met.along + e.sigma_k * met.speed_sigma, 0.0)
    comes = met.station[:, None] + fastest[:, None] * times >= way.travel[: len(times)] - path.rear
    return np.asarray(across & comes.any(axis=1))


def _echoes(step: Step, arcs: tuple[Arc, ...], config: Config) -> bool:
    """Whether an ultrasonic echo may be from where the body would go."""
    side, half = (1.0 if step.offset > 0 else -1.0), config.vehicle.width / 2
    edge = half + abs(step.offset) + config.near_field.lateral_margin
    for arc in arcs:
        if not counts(arc):
            continue
        x, y = echo_points(arc, AT_ORIGIN, config.envelope.sigma_k).T
        # Written so that NaN counts as an echo.
        if not ((x < -config.vehicle.rear) | (side * y < 0.0) | (side * y > edge)).all():
            return True
    return False


def _covered(way: Way, situation: Situation, config: Config) -> bool:
    """Whether healthy sensors look at the side of the body and at where it would go until it stands."""
    ego, vehicle, path = situation.ego, config.vehicle, way.path
    side = 1.0 if way.step.offset > 0 else -1.0
    half = side * vehicle.width / 2
    gone = (path.s >= way.step.start + way.step.length / 2) & (path.s <= way.travel[-1])
    dx = path.x[gone] - half * np.sin(path.heading[gone]) - ego.x
    dy = path.y[gone] + half * np.cos(path.heading[gone]) - ego.y
    cos, sin = np.cos(ego.yaw), np.sin(ego.yaw)
    x = np.concatenate([np.linspace(-vehicle.rear, vehicle.front, OUTLINE), cos * dx + sin * dy])
    y = np.concatenate([np.full(OUTLINE, half + way.step.offset / 2), cos * dy - sin * dx])
    return bool(looked_at(x, y, situation.well, config).all())
