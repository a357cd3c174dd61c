"""What crosses and what is near: no contact while ego moves (passive safety), within class bounds.

proofs/fallback.py bounds ego's travel by fallback_distance and its duration by fallback_duration. Here: what an object
of a class can come in that time. A class is a bound on speed, on acceleration and a horizon, parameters with a source.

Assumptions on the object, by name:
  C1 it gains speed at no more than the acceleration of its class;
  C2 it drives no faster than the top speed of its class, or than now if that is more;
  C3 no claim is made beyond the horizon of its class;
  C4 it at most doubles its speed (crossing strip and near field; not for separation_margin): one that stands or goes
     away does not start to come. Noise on the speed of what stands must not count as the start of a charge.
Passive safety: the margins say nothing about the time after ego has stopped.
"""

from types import SimpleNamespace

import numpy as np
from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import WITHOUT, Dual, claim, implies, rate_of

C1, C2 = "C1 the object gains speed at no more than its class", "C2 the object is no faster than its class, or than now"
C3, WAY = "C3 within the horizon", "CLS-1 the object's way"


def keeps_speed(speed, duration, _acceleration_max, _speed_max):
    """Control: an object that keeps its speed."""
    return speed * duration


def at_top_speed(speed, duration, _acceleration_max, speed_max):
    """Control: at top speed from the first moment on, which is sound and not tight."""
    return np.maximum(speed, speed_max) * duration


@claim(
    "CLS-1",
    "An object of a class comes no farther than class_distance, at any time; some object comes just as far.",
    basis="C1, C2; the bound starts at 0 and grows exactly as fast as the fastest object of the class drives",
    controls={
        "the object keeps its speed": {"bound": keeps_speed},
        "top speed at once": {"bound": at_top_speed},
        "no bound on the acceleration": {WITHOUT: C1},
        "no bound on the speed": {WITHOUT: C2},
    },
)
def object_of_a_class(world, bound=motion.class_distance):
    p = world.group("envelope")
    limit, top = p.crossing_acceleration_max, p.crossing_speed_max
    at_first, now, elapsed = world.real("speed at first", 0), world.real("speed now", 0), world.real("elapsed", 0)
    world.assume(C1, now <= at_first + limit * elapsed)
    world.assume(C2, now <= np.maximum(at_first, top))
    way = bound(at_first, Dual(elapsed, 1), limit, top)
    world.show("rate of the bound", way.rate)
    fastest = np.minimum(at_first + limit * elapsed, np.maximum(at_first, top))
    return {
        "grows with the object": way.rate >= now,
        "tight": way.rate == fastest,
        "starts at 0": bound(at_first, 0, limit, top) == 0,
        "goes away": bound(-at_first - 1, elapsed, limit, -at_first) == 0,
    }


MORE = ("speed", "duration", "acceleration_max", "speed_max")


@claim(
    "CLS-2",
    "class_distance is monotone: who is faster, has longer, or is of a faster class comes no less far.",
    basis="sign of each partial derivative",
    controls={"the other way round": {"sign": -1}},
)
def monotone_class(world, sign=1):
    value = {name: world.real(name, 0) for name in MORE}
    world.assume("acceleration_max > 0", value["acceleration_max"] > 0)
    name = world.pick("argument", MORE)
    moved = (Dual(value[n], 1) if n == name else value[n] for n in MORE)
    way = motion.class_distance(*moved)
    return sign * rate_of(way) >= 0


def situation(world):
    """Ego has driven `ego_way` for `elapsed`, both within what proofs/fallback.py proves."""
    s = SimpleNamespace(p=world.group("envelope"))
    s.speed, s.response, s.acceleration = (world.real(n, 0) for n in ("ego_speed", "response", "acceleration"))
    s.rest = (s.response, s.acceleration, s.p.assumed_brake, s.p.assumed_jerk)
    s.ego_way, s.elapsed = world.real("ego_way", 0), world.real("elapsed", 0)
    s.longest_way = motion.fallback_distance(s.speed, *s.rest)
    s.longest_time = motion.fallback_duration(s.speed, *s.rest)
    world.assume("FALL ego's travel", s.ego_way <= s.longest_way)
    world.assume("FALL ego's duration", s.elapsed <= s.longest_time)
    return s


LONGER = {
    "ego moves on for longer": {WITHOUT: "FALL ego's duration"},
    "ego drives farther": {WITHOUT: "FALL ego's travel"},
    "after the horizon": {WITHOUT: C3},
    "the object comes farther": {WITHOUT: WAY},
}


@claim(
    "SEP-1",
    "Object anywhere, moving in any direction: while ego moves the distance left is at least the margin; no more is"
    " taken off than both ways.",
    basis="C1 to C3 by CLS-1, FALL-1 to FALL-3; SEP-2 for the directions",
    controls=LONGER,
)
def any_direction(world):
    s = situation(world)
    distance, speed, way = world.real("distance"), world.real("object_speed", 0), world.real("object_way", 0)
    limits = (s.p.crossing_acceleration_max, s.p.crossing_speed_max)
    world.assume(C3, s.elapsed <= s.p.crossing_horizon)
    world.assume(WAY, way <= motion.class_distance(speed, s.elapsed, *limits))
    left = distance - s.ego_way - way
    now = envelopes.separation_margin(distance, s.speed, speed, s.response, s.acceleration, s.p)
    world.show("margin", now)
    world.show("distance left", left)
    farthest = motion.class_distance(speed, np.minimum(s.longest_time, s.p.crossing_horizon), *limits)
    return {"sound": left >= now, "tight: no more is taken off": now == distance - s.longest_way - farthest}


@claim(
    "SEP-2",
    "Two dimensions: however both move, the distance falls by no more than both ways.",
    basis="triangle inequality, without roots; the straight line between both is the x axis",
    controls={"ego goes farther": {WITHOUT: "ego's way"}, "the object goes farther": {WITHOUT: "the object's way"}},
)
def triangle(world):
    distance, ego, way = world.real("distance", 0), world.real("ego_way", 0), world.real("object_way", 0)
    ego_x, ego_y, x, y = (world.real(name) for name in ("ego_x", "ego_y", "object_x", "object_y"))
    world.assume("ego's way", ego_x * ego_x + ego_y * ego_y <= ego * ego)
    world.assume("the object's way", x * x + y * y <= way * way)
    left = distance - ego - way
    # Along the line alone the distance that is left is no smaller, and across it only grows.
    return {"along": distance + x - ego_x >= left}


FACTORS = {"distance": 1, "ego_speed": -1, "object_speed": -1, "response": -1, "acceleration": -1}


@claim(
    "SEP-3",
    "The separation margin is monotone in each uncertain argument.",
    basis="sign of each partial derivative; so the worst end of each interval is the worst case",
    controls={f"{name} the wrong way round": {"better": {**FACTORS, name: -FACTORS[name]}} for name in FACTORS},
)
def monotone_separation(world, better=FACTORS):
    p = world.group("envelope")
    value = {name: world.real(name, 0 if name == "response" else None) for name in better}
    name = world.pick("argument", tuple(better))
    moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
    return better[name] * envelopes.separation_margin(*moved, p).rate >= 0


def doubled(speed, top):
    """Top speed of an object that gains no more than the speed it has (C4)."""
    return np.minimum(2 * speed, top)


@claim(
    "CRS-1",
    "Crossing object: inside, ego does not reach it while ego moves, or it does not reach ego's strip; no more is taken"
    " off than both ways.",
    basis="C1 to C4 by CLS-1, FALL-1 to FALL-3; a contact needs both in the strip",
    controls={**LONGER, "only one of both counts": {"strict": True}},
)
def crossing(world, strict=False):
    s = situation(world)
    gap, side_gap, speed = world.real("gap"), world.real("side_gap"), world.real("side_speed", 0)
    way, p = world.real("object_way", 0), s.p
    world.assume(C3, s.elapsed <= p.crossing_horizon)
    limits = (p.crossing_acceleration_max, doubled(speed, p.crossing_speed_max))
    world.assume(WAY, way <= motion.class_distance(speed, s.elapsed, *limits))
    now = envelopes.crossing_margin(gap, side_gap, s.speed, speed, s.response, s.acceleration, p)
    world.show("margin", now)
    before, beside = s.ego_way < gap, way < side_gap
    farthest = motion.class_distance(speed, np.minimum(s.longest_time, p.crossing_horizon), *limits)
    apart = (before & beside) if strict else (before | beside)
    inside = now >= envelopes.EPS
    return {
        "sound": implies(inside, apart),
        "tight: no more is taken off": now == np.maximum(gap - s.longest_way, side_gap - farthest),
    }


CROSSING = {"gap": 1, "side_gap": 1, "ego_speed": -1, "side_speed": -1, "response": -1, "acceleration": -1}


@claim(
    "CRS-2",
    "The crossing margin is monotone in each uncertain argument.",
    basis="sign of each partial derivative; so the worst end of each interval is the worst case",
    controls={f"{name} the wrong way round": {"better": {**CROSSING, name: -CROSSING[name]}} for name in CROSSING},
)
def monotone_crossing(world, better=CROSSING):
    p = world.group("envelope")
    value = {name: world.real(name, 0 if name == "response" else None) for name in better}
    name = world.pick("argument", tuple(better))
    moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
    return better[name] * rate_of(envelopes.crossing_margin(*moved, p)) >= 0


@claim(
    "NEAR-1",
    "Near field: while ego moves, at least stop_distance plus the margin is left; no more is taken off.",
    basis="C1 to C4 by CLS-1, FALL-1 to FALL-3",
    controls={**LONGER, "stop distance dropped": {"kept": 0}},
)
def near_field(world, kept=1):
    s = situation(world)
    gap, closing, stop_distance = world.real("gap"), world.real("closing_speed", 0), world.real("stop_distance", 0)
    way, p = world.real("object_way", 0), s.p
    world.assume(C3, s.elapsed <= p.near_horizon)
    limits = (p.near_acceleration_max, doubled(closing, p.near_speed_max))
    world.assume(WAY, way <= motion.class_distance(closing, s.elapsed, *limits))
    left = gap - s.ego_way - way
    now = envelopes.near_field_margin(gap, s.speed, closing, s.response, s.acceleration, kept * stop_distance, p)
    world.show("margin", now)
    world.show("gap left", left)
    farthest = motion.class_distance(closing, np.minimum(s.longest_time, p.near_horizon), *limits)
    worst = s.longest_way + farthest + stop_distance
    return {"sound": left >= now + stop_distance, "tight: no more is taken off": now == gap - worst}


NEAR = {"gap": 1, "ego_speed": -1, "closing_speed": -1, "response": -1, "acceleration": -1, "stop_distance": -1}


@claim(
    "NEAR-2",
    "The near-field margin is monotone in each uncertain argument.",
    basis="sign of each partial derivative; so the worst end of each interval is the worst case",
    controls={f"{name} the wrong way round": {"better": {**NEAR, name: -NEAR[name]}} for name in NEAR},
)
def monotone_near_field(world, better=NEAR):
    p = world.group("envelope")
    value = {name: world.real(name, 0 if name == "response" else None) for name in better}
    name = world.pick("argument", tuple(better))
    moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
    return better[name] * envelopes.near_field_margin(*moved, p).rate >= 0
