"""Objects that come towards ego: no contact while ego moves (passive safety); no contact at all where both brake.

proofs/fallback.py bounds ego's travel by fallback_distance and its duration by fallback_duration. Here: the object
comes no farther in that time than the margin takes off the gap.

Assumptions on the object:
  B1 an oncoming object gains speed at no more than `object_acceleration_max` and no more than the speed it has; one
     that stands or drives away does not turn round (that is A4);
  B3 where both brake: it does so for `object_response` at most, and then brakes by at least `oncoming_brake`.
What crosses and what is near stands in proofs/separation.py.
"""

from types import SimpleNamespace

import numpy as np
from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import WITHOUT, Dual, claim, implies

B1_GAIN = "B1 the object gains speed at no more than object_acceleration_max"
B1_DOUBLE = "B1 the object at most doubles its speed"


def keeps_speed(closing_speed, duration, _acceleration_max):
    """Control: an oncoming object that keeps its speed."""
    return closing_speed * duration


@claim(
    "APP-1",
    "An oncoming object comes no farther than oncoming_distance, at any time.",
    basis="B1; the bound starts at 0 and grows at least as fast as the object drives; tight: no more than needed",
    controls={
        "the object keeps its speed": {"bound": keeps_speed},
        "no bound on the acceleration": {WITHOUT: B1_GAIN},
        "no bound on the speed": {WITHOUT: B1_DOUBLE},
    },
)
def oncoming_object(world, bound=motion.oncoming_distance):
    limit = world.group("envelope").object_acceleration_max
    at_first, now, elapsed = world.real("speed at first", 0), world.real("speed now", 0), world.real("elapsed", 0)
    world.assume(B1_GAIN, now <= at_first + limit * elapsed)
    world.assume(B1_DOUBLE, now <= 2 * at_first)
    way = bound(at_first, Dual(elapsed, 1), limit)
    world.show("rate of the bound", way.rate)
    gained = limit * elapsed
    return {
        "grows with the object": way.rate >= now,
        "starts at 0": bound(at_first, 0, limit) == 0,
        "tight while the object gains": implies(gained <= at_first, way.value == (at_first + gained / 2) * elapsed),
        "tight in the end": implies(gained >= 2 * at_first, way.value == 2 * at_first * elapsed),
    }


def situation(world):
    """Ego has driven `ego_way` for `elapsed`, both within what proofs/fallback.py proves."""
    s = SimpleNamespace(p=world.group("envelope"))
    s.gap, s.speed = world.real("gap"), world.real("ego_speed", 0)
    s.response, s.acceleration = world.real("response", 0), world.real("acceleration", 0)
    s.rest = (s.response, s.acceleration, s.p.assumed_brake, s.p.assumed_jerk)
    s.ego_way, s.elapsed = world.real("ego_way", 0), world.real("elapsed", 0)
    s.longest_way = motion.fallback_distance(s.speed, *s.rest)
    s.longest_time = motion.fallback_duration(s.speed, *s.rest)
    world.assume("FALL ego's travel", s.ego_way <= s.longest_way)
    world.assume("FALL ego's duration", s.elapsed <= s.longest_time)
    return s


def margin_without_object(gap, ego_speed, object_speed, response, acceleration, p):
    """Control: the oncoming object counts as standing."""
    return envelopes.longitudinal_margin(gap, ego_speed, object_speed, response, acceleration, p)


@claim(
    "APP-2",
    "Oncoming object: while ego moves the gap left is at least the margin, and no more is taken off than that needs.",
    basis="APP-1, FALL-1 to FALL-3",
    controls={
        "the object counts as standing": {"margin": margin_without_object},
        "ego moves on for longer": {WITHOUT: "FALL ego's duration"},
        "ego drives farther": {WITHOUT: "FALL ego's travel"},
        "the object comes farther": {WITHOUT: "APP-1 the object's way"},
    },
)
def opposite_direction(world, margin=envelopes.oncoming_margin):
    s = situation(world)
    object_speed = world.real("object_speed", None, 0)
    object_way = world.real("object_way", 0)
    limit = s.p.object_acceleration_max
    world.assume("APP-1 the object's way", object_way <= motion.oncoming_distance(-object_speed, s.elapsed, limit))
    left = s.gap - s.ego_way - object_way
    now = margin(s.gap, s.speed, object_speed, s.response, s.acceleration, s.p)
    world.show("margin", now)
    world.show("gap left", left)
    worst = s.longest_way + motion.oncoming_distance(-object_speed, s.longest_time, limit)
    return {"sound": left >= now, "tight: no more is taken off than both ways": now == s.gap - worst}


@claim(
    "APP-3",
    "path_margin is longitudinal_margin for an object that drives ahead, and for an oncoming one the smaller one of"
    " oncoming_margin and opposite_margin.",
    controls={"the other way round": {"swapped": True}, "only while ego moves": {"both": False}},
)
def either_sign(world, swapped=False, both=True):
    p = world.group("envelope")
    gap, ego_speed, object_speed = world.real("gap"), world.real("ego_speed", 0), world.real("object_speed")
    rest = (world.real("response", 0), world.real("acceleration", 0), p)
    path = envelopes.path_margin(gap, ego_speed, object_speed, *rest)
    ahead = envelopes.longitudinal_margin(gap, ego_speed, object_speed, *rest)
    oncoming = envelopes.oncoming_margin(gap, ego_speed, object_speed, *rest)
    if both:
        oncoming = np.minimum(oncoming, envelopes.opposite_margin(gap, ego_speed, object_speed, *rest))
    drives_ahead = (object_speed <= 0) if swapped else (object_speed >= 0)
    drives_back = (object_speed >= 0) if swapped else (object_speed <= 0)
    return {
        "ahead": implies(drives_ahead, path == ahead),
        "oncoming": implies(drives_back, path == oncoming),
    }


BETTER = {"gap": 1, "ego_speed": -1, "object_speed": 1, "response": -1, "acceleration": -1}


@claim(
    "APP-4",
    "Oncoming object: monotone in each uncertain argument; LON-7, OPP-4 and APP-3 extend that to path_margin.",
    basis="sign of each partial derivative; so the worst end of each interval is the worst case",
    controls={f"{name} the wrong way round": {"better": {**BETTER, name: -BETTER[name]}} for name in BETTER},
)
def monotone(world, better=BETTER, margin=envelopes.oncoming_margin):
    p = world.group("envelope")
    value = {name: world.real(name, 0 if name == "response" else None) for name in better}
    name = world.pick("argument", tuple(better))
    moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
    return better[name] * margin(*moved, p).rate >= 0


B3_SPEED = "B3 after its response the object drives no faster than B1 allows"
B3_BRAKE = "B3 then its energy falls as by oncoming_brake"
B3_TIME = "B3 its response takes object_response at most"


def stop_without_gain(closing_speed, response, _acceleration_max, brake):
    """Control: the object does not gain speed before it brakes."""
    return closing_speed * response + motion.braking_distance(closing_speed, brake)


@claim(
    "OPP-1",
    "An oncoming object that brakes after its response comes no farther than oncoming_stop, at any time.",
    basis="B1, B3, APP-1 for its way until it brakes; OPP-2 for its energy from then on; tight where B1 is RSS's own",
    controls={
        "the object gains nothing": {"bound": stop_without_gain},
        "its response takes longer": {WITHOUT: B3_TIME},
        "it is faster after its response": {WITHOUT: B3_SPEED},
        "it brakes less": {WITHOUT: B3_BRAKE},
    },
)
def braking_object(world, bound=motion.oncoming_stop):
    p = world.group("envelope")
    limit, brake = p.object_acceleration_max, p.oncoming_brake
    at_first, elapsed = world.real("speed at first", 0), world.real("elapsed", 0)
    before, after = world.real("way before braking", 0), world.real("speed before braking", 0)
    braking, now = world.real("way while braking", 0), world.real("speed now", 0)
    world.assume(B3_TIME, elapsed <= p.object_response)
    world.assume("APP-1 the object's way", before <= motion.oncoming_distance(at_first, elapsed, limit))
    world.assume(B3_SPEED, after <= at_first + np.minimum(limit * elapsed, at_first))
    world.assume(B3_BRAKE, 2 * brake * braking + now * now <= after * after)
    whole = bound(at_first, p.object_response, limit, brake)
    world.show("way", before + braking)
    world.show("bound", whole)
    gained = limit * p.object_response
    fastest = at_first + gained
    rss = (at_first + fastest) * p.object_response / 2 + fastest * fastest / (2 * brake)
    slow = 2 * at_first * p.object_response + 2 * at_first * at_first / brake
    return {
        "no farther": before + braking <= whole,
        "tight: RSS while the object can gain all of it": implies(gained <= at_first, whole == rss),
        "tight: twice the speed where it cannot": implies(gained >= 2 * at_first, whole == slow),
    }


@claim(
    "OPP-2",
    "While an object brakes by at least `brake`, 2 * brake * way + speed^2 never grows.",
    basis="its rate along the motion; so the way to standstill is at most speed^2 / (2 brake)",
    inductive=True,
    controls={"it brakes less": {WITHOUT: "B3 the object brakes by at least oncoming_brake"}},
)
def energy(world):
    brake = world.group("envelope").oncoming_brake
    speed, acceleration = world.real("speed", 0), world.real("acceleration")
    world.assume("B3 the object brakes by at least oncoming_brake", acceleration <= -brake)
    way, moving = Dual(world.real("way", 0), speed), Dual(speed, acceleration)
    left = motion.braking_distance(moving, brake)
    total = 2 * brake * way + moving * moving
    return {"energy": total.rate <= 0, "way left": left.rate <= -speed, "never negative": left.value >= 0}


@claim(
    "OPP-3",
    "Both brake: at any time the gap left is at least the margin, also when ego stands; no more is taken off.",
    basis="OPP-1, FALL-1 to FALL-3",
    controls={
        "the object counts as standing": {"margin": margin_without_object},
        "ego drives farther": {WITHOUT: "FALL ego's travel"},
        "the object comes farther": {WITHOUT: "OPP-1 the object's way"},
    },
)
def both_brake(world, margin=envelopes.opposite_margin):
    s = situation(world)
    object_speed, object_way = world.real("object_speed", None, 0), world.real("object_way", 0)
    p = s.p
    stop = motion.oncoming_stop(-object_speed, p.object_response, p.object_acceleration_max, p.oncoming_brake)
    world.assume("OPP-1 the object's way", object_way <= stop)
    left = s.gap - s.ego_way - object_way
    now = margin(s.gap, s.speed, object_speed, s.response, s.acceleration, s.p)
    world.show("margin", now)
    world.show("gap left", left)
    return {"sound": left >= now, "tight: no more is taken off": now == s.gap - s.longest_way - stop}


@claim(
    "OPP-4",
    "Both brake: the margin is monotone in each uncertain argument.",
    basis="sign of each partial derivative; so the worst end of each interval is the worst case",
    controls={f"{name} the wrong way round": {"better": {**BETTER, name: -BETTER[name]}} for name in BETTER},
)
def monotone_both_brake(world, better=BETTER):
    return monotone.body(world, better, envelopes.opposite_margin)


@claim(
    "APP-6",
    "Assured clear distance: what stands beyond the covered range is not reached.",
    basis="FALL-1 to FALL-3",
    controls={"ego drives farther": {WITHOUT: "FALL ego's travel"}},
)
def clear_distance(world):
    s = situation(world)
    clear_range = world.real("clear_range")
    now = envelopes.clear_distance_margin(clear_range, s.speed, s.response, s.acceleration, s.p)
    return {"sound": clear_range - s.ego_way >= now, "tight": now == clear_range - s.longest_way}
