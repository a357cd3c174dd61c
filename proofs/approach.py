"""Objects that come towards ego: no contact while ego moves (passive safety).

proofs/fallback.py bounds ego's travel by fallback_distance and its duration by fallback_duration. Here: the object
comes no farther in that time than the margin takes off the gap.

Assumptions on the object:
  B1 an oncoming object gains speed at no more than `object_acceleration_max` and no more than the speed it has; one
     that stands or drives away does not turn round (that is A4);
  B2 in the near field it approaches at no more than `object_closing_speed`.
"""

from types import SimpleNamespace

from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import WITHOUT, Dual, claim, implies

B1_GAIN = "B1 the object gains speed at no more than object_acceleration_max"
B1_DOUBLE = "B1 the object at most doubles its speed"
B2 = "B2 the object approaches at no more than object_closing_speed"


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
    },
)
def opposite_direction(world, margin=envelopes.path_margin):
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
    "path_margin is longitudinal_margin for an object that drives ahead and opposite_margin for an oncoming one.",
    controls={"the other way round": {"swapped": True}},
)
def either_sign(world, swapped=False):
    p = world.group("envelope")
    gap, ego_speed, object_speed = world.real("gap"), world.real("ego_speed", 0), world.real("object_speed")
    rest = (world.real("response", 0), world.real("acceleration", 0), p)
    path = envelopes.path_margin(gap, ego_speed, object_speed, *rest)
    ahead = envelopes.longitudinal_margin(gap, ego_speed, object_speed, *rest)
    oncoming = envelopes.opposite_margin(gap, ego_speed, object_speed, *rest)
    drives_ahead = (object_speed <= 0) if swapped else (object_speed >= 0)
    drives_back = (object_speed >= 0) if swapped else (object_speed <= 0)
    return {
        "ahead": implies(drives_ahead, path == ahead),
        "oncoming": implies(drives_back, path == oncoming),
    }


BETTER = {"gap": 1, "ego_speed": -1, "object_speed": 1, "response": -1, "acceleration": -1}


@claim(
    "APP-4",
    "Oncoming object: monotone in each uncertain argument; LON-7 and APP-3 extend that to path_margin.",
    basis="sign of each partial derivative; so the worst end of each interval is the worst case",
    controls={f"{name} the wrong way round": {"better": {**BETTER, name: -BETTER[name]}} for name in BETTER},
)
def monotone(world, better=BETTER):
    p = world.group("envelope")
    value = {name: world.real(name, 0 if name == "response" else None) for name in better}
    name = world.pick("argument", tuple(better))
    moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
    return better[name] * envelopes.opposite_margin(*moved, p).rate >= 0


@claim(
    "APP-5",
    "Near field: while ego moves, at least stop_distance plus the margin is left.",
    basis="B2, FALL-1 to FALL-3",
    controls={
        "stop distance dropped": {"kept": 0},
        "object faster than assumed": {WITHOUT: B2},
        "ego moves on for longer": {WITHOUT: "FALL ego's duration"},
    },
)
def near_field(world, kept=1):
    s = situation(world)
    closing, stop_distance = world.real("object_closing_speed", 0), world.real("stop_distance", 0)
    object_way = world.real("object_way", 0)
    world.assume(B2, object_way <= closing * s.elapsed)
    left = s.gap - s.ego_way - object_way
    now = envelopes.near_field_margin(s.gap, s.speed, closing, s.response, s.acceleration, kept * stop_distance, s.p)
    world.show("margin", now)
    world.show("gap left", left)
    worst = s.longest_way + closing * s.longest_time + stop_distance
    return {"sound": left >= now + stop_distance, "tight: no more is taken off": now == s.gap - worst}


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
