"""Same direction: a margin that is not negative now keeps ego from ever touching the object ahead.

The proof is a barrier. h is the margin, taken along the motion. In each phase of the fallback (response, ramp,
brake) the rate of h is computed by running the function on dual numbers, and is never negative, whatever ego
and the object do within the assumptions, changing all the time. So h never falls; it starts at the shipped
margin and is never more than the gap; so the gap stays >= 0.

Assumptions on the motion, by name:
  A1 until the fallback acts, ego accelerates by at most `acceleration`, and that takes at most `response`;
  A2 then ego's acceleration stays below a ramp that falls from `acceleration` at `assumed_jerk` to
     -`assumed_brake` (proofs/fallback.py ties the commanded profile to it);
  A3 ego does not reverse; it stays where it has stopped;
  A4 the object brakes by at most `object_brake_max` and does not reverse. It may accelerate at will.
"""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import WITHOUT, Dual, claim

A4 = "A4 the object brakes by at most object_brake_max"


def textbook_margin(gap, ego_speed, object_speed, response, acceleration, p):
    """Control: the lead's own brake alone, as in the RSS paper; unsound when ego brakes harder."""
    stop = motion.fallback_distance(ego_speed, response, acceleration, p.assumed_brake, p.assumed_jerk)
    return gap - np.maximum(stop - motion.braking_distance(object_speed, p.object_brake_max), 0)


def margin_without_response(gap, ego_speed, object_speed, response, acceleration, p):
    """Control: the response time is forgotten."""
    return envelopes.longitudinal_margin(gap, ego_speed, object_speed, 0 * response, acceleration, p)


def margin_with_flipped_sign(gap, ego_speed, object_speed, response, acceleration, p):
    """Control: a margin that grows with the need."""
    return gap + (gap - envelopes.longitudinal_margin(gap, ego_speed, object_speed, response, acceleration, p))


def margin_with_short_ramp(gap, ego_speed, object_speed, response, acceleration, p):
    """Control: a ramp that lasts brake / jerk, as if it began at acceleration 0."""
    late = response - acceleration / (2 * p.assumed_jerk)
    return envelopes.longitudinal_margin(gap, ego_speed, object_speed, late, acceleration, p)


def ramp_distance(speed, ramp, acceleration, p):
    """Certificate, not shipped: what ego still needs when its acceleration is at most `ramp`.

    D(v, u) = v R + u R^2/2 + (v + u R)^2/(2b) - j R^3/3 with R = (u + b)/(2j) falls exactly as ego drives on
    (D' = -v along v' = u, u' = -j). The constant j R0^3/3, R0 being R at the start of the ramp, keeps it above
    v^2/(2b) also when ego stops inside the ramp.
    """
    b, j = p.assumed_brake, p.assumed_jerk
    left = (ramp + b) / (2 * j)
    start = (acceleration + b) / (2 * j)
    distance = speed * left + ramp * left * left / 2 + motion.braking_distance(speed + ramp * left, b)
    return distance - j * left * left * left / 3 + j * start * start * start / 3


def ramp_margin(gap, ego_speed, object_speed, ramp, acceleration, p):
    """Certificate: the margin inside the ramp and the brake phase."""
    object_brake = np.maximum(p.object_brake_max, p.assumed_brake)
    object_distance = motion.braking_distance(object_speed, object_brake)
    return gap - np.maximum(ramp_distance(ego_speed, ramp, acceleration, p) - object_distance, 0)


def situation(world):
    """Ego and an object ahead, anywhere, at any speeds >= 0; the object moves as A4 allows."""
    p = world.group("envelope")
    s = SimpleNamespace(p=p)
    s.gap = world.real("gap")
    s.ego_speed = world.real("ego_speed", 0)  # A3
    s.object_speed = world.real("object_speed", 0)  # A4: it does not reverse
    s.object_acceleration = world.real("object_acceleration")
    s.acceleration = world.real("acceleration", 0)
    world.assume(A4, s.object_acceleration >= -p.object_brake_max)
    s.moving_gap = Dual(s.gap, s.object_speed - s.ego_speed)
    s.moving_object = Dual(s.object_speed, s.object_acceleration)
    return s


@claim(
    "LON-1",
    "Response phase: the margin never falls.",
    basis="RSS 2017, Definition 1 and Lemma 2; A1, A3, A4",
    inductive=True,
    controls={
        "the lead's brake alone, as in the textbook": {"margin": textbook_margin},
        "response time dropped": {"margin": margin_without_response},
        "sign of the margin flipped": {"margin": margin_with_flipped_sign},
        "ego accelerates more than assumed": {WITHOUT: "A1 ego accelerates by at most acceleration"},
        "the object brakes harder than assumed": {WITHOUT: A4},
    },
)
def response_phase(world, margin=envelopes.longitudinal_margin):
    s = situation(world)
    response = world.real("response", 0)
    ego_acceleration = world.real("ego_acceleration")
    world.assume("A1 ego accelerates by at most acceleration", ego_acceleration <= s.acceleration)
    ego = Dual(s.ego_speed, ego_acceleration)
    h = margin(s.moving_gap, ego, s.moving_object, Dual(response, -1), s.acceleration, s.p)
    world.show("margin", h.value)
    world.show("rate of the margin", h.rate)
    return h.rate >= 0


@claim(
    "LON-2",
    "Start of the ramp: the shipped margin is no larger than the one inside the ramp, also if it starts early.",
    basis="A1, A2: from here on the ramp bounds ego's acceleration",
    inductive=True,
    controls={
        "ramp that lasts brake / jerk": {"margin": margin_with_short_ramp},
        "sign of the margin flipped": {"margin": margin_with_flipped_sign},
    },
)
def start_of_the_ramp(world, margin=envelopes.longitudinal_margin):
    s = situation(world)
    response = world.real("response", 0)
    shipped = margin(s.gap, s.ego_speed, s.object_speed, response, s.acceleration, s.p)
    inside = ramp_margin(s.gap, s.ego_speed, s.object_speed, s.acceleration, s.acceleration, s.p)
    world.show("margin", shipped)
    world.show("margin inside the ramp", inside)
    return shipped <= inside


@claim(
    "LON-3",
    "Ramp phase: the margin never falls while ego moves, also when ego stops inside the ramp.",
    basis="A2, A3, A4",
    inductive=True,
    controls={
        "ego brakes less than the ramp": {WITHOUT: "A2 ego accelerates by at most the ramp"},
        "the object brakes harder than assumed": {WITHOUT: A4},
    },
)
def ramp_phase(world):
    s = situation(world)
    ramp = world.real("ramp")
    ego_acceleration = world.real("ego_acceleration")
    world.assume("A2 ego accelerates by at most the ramp", ego_acceleration <= ramp)
    ego = Dual(s.ego_speed, ego_acceleration)
    h = ramp_margin(s.moving_gap, ego, s.moving_object, Dual(ramp, -s.p.assumed_jerk), s.acceleration, s.p)
    world.show("rate of the margin", h.rate)
    return h.rate >= 0


@claim(
    "LON-4",
    "Brake phase: the margin never falls while ego moves.",
    basis="A2, A3, A4; it starts where the ramp ends",
    inductive=True,
    controls={
        "ego brakes less than assumed": {WITHOUT: "A2 ego brakes by at least assumed_brake"},
        "the object brakes harder than assumed": {WITHOUT: A4},
    },
)
def brake_phase(world):
    s = situation(world)
    ego_acceleration = world.real("ego_acceleration")
    world.assume("A2 ego brakes by at least assumed_brake", ego_acceleration <= -s.p.assumed_brake)
    ego = Dual(s.ego_speed, ego_acceleration)
    h = ramp_margin(s.moving_gap, ego, s.moving_object, -s.p.assumed_brake, s.acceleration, s.p)
    world.show("rate of the margin", h.rate)
    return h.rate >= 0


@claim(
    "LON-5",
    "The margin is never more than the gap, in each phase; so from EPS on there is a gap left.",
    controls={"a margin that is no bound of the gap": {"margin": margin_with_flipped_sign}},
)
def margin_is_at_most_the_gap(world, margin=envelopes.longitudinal_margin):
    s = situation(world)
    response, ramp = world.real("response", 0), world.real("ramp")
    shipped = margin(s.gap, s.ego_speed, s.object_speed, response, s.acceleration, s.p)
    inside = ramp_margin(s.gap, s.ego_speed, s.object_speed, ramp, s.acceleration, s.p)
    world.show("margin", shipped)
    return {
        "margin <= gap": shipped <= s.gap,
        "margin inside the ramp <= gap": inside <= s.gap,
        "EPS > 0": envelopes.EPS > 0,
    }


@claim(
    "LON-6",
    "Standing object: the margin is the gap less ego's stopping distance; one that seems to reverse counts as such.",
    basis="the case object speed 0 of LON-1 to LON-5",
    controls={"an object that is credited with braking": {"object_speed": Fraction(1)}},
)
def standing_object(world, object_speed=Fraction(0)):
    p = world.group("envelope")
    gap, ego_speed = world.real("gap"), world.real("ego_speed", 0)
    response, acceleration = world.real("response", 0), world.real("acceleration", 0)
    margin = envelopes.longitudinal_margin(gap, ego_speed, object_speed, response, acceleration, p)
    reversing = envelopes.longitudinal_margin(gap, ego_speed, Fraction(-1), response, acceleration, p)
    need = motion.fallback_distance(ego_speed, response, acceleration, p.assumed_brake, p.assumed_jerk)
    return {"margin = gap - stopping distance": margin == gap - need, "reversing counts alike": margin == reversing}


BETTER = {"gap": 1, "ego_speed": -1, "object_speed": 1, "response": -1, "acceleration": -1}


@claim(
    "LON-7",
    "Monotone in each uncertain argument, so the worst end of each interval is the worst case.",
    basis="sign of each partial derivative of the shipped function, which is continuous and piecewise smooth",
    controls={
        "gap the wrong way round": {"better": {**BETTER, "gap": -1}},
        "ego speed the wrong way round": {"better": {**BETTER, "ego_speed": 1}},
        "object speed the wrong way round": {"better": {**BETTER, "object_speed": -1}},
        "response the wrong way round": {"better": {**BETTER, "response": 1}},
        "acceleration the wrong way round": {"better": {**BETTER, "acceleration": 1}},
    },
)
def monotone(world, better=BETTER, margin=envelopes.longitudinal_margin):
    p = world.group("envelope")
    value = {name: world.real(name, 0 if name == "response" else None) for name in better}
    name = world.pick("argument", tuple(better))
    moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
    return better[name] * margin(*moved, p).rate >= 0


@claim(
    "LON-8",
    "Tight: below -delta there is an admissible motion that ends in contact, delta = jerk * R0^3 / 3.",
    basis="ego drives the modelled profile exactly, the object brakes by object_brake_max; R0 is half the ramp",
    controls={
        "delta 0": {"share": 0},
        "a margin that counts the ramp twice": {"extra": 1},
        "the object's own brake is the softer one": {WITHOUT: "the object can brake as hard as ego"},
    },
)
def tight(world, share=1, extra=0, margin=envelopes.longitudinal_margin):
    p = world.group("envelope")
    b, j = p.assumed_brake, p.assumed_jerk
    gap, ego_speed, object_speed = (
        world.real("gap", 0),
        world.real("ego_speed", 0),
        world.real("object_speed", 0),
    )
    response, acceleration = world.real("response", 0), world.real("acceleration", 0)
    world.assume("the object can brake as hard as ego", p.object_brake_max >= b)
    half = (acceleration + b) / (2 * j)
    delta = share * j * half * half * half / 3
    late = response + extra * half
    world.assume("margin < -delta", margin(gap, ego_speed, object_speed, late, acceleration, p) < -delta)
    # Ego's exact travel: response, ramp of duration 2 * half, brake.
    after_response = ego_speed + acceleration * response
    after_ramp = after_response + 2 * half * acceleration - 2 * j * half * half
    world.assume("ego stops after the ramp, not inside it", after_ramp >= 0)
    ramp = 2 * half * after_response + 2 * acceleration * half * half - 4 * j * half * half * half / 3
    brake = motion.braking_distance(after_ramp, b)
    ego_end = (ego_speed + after_response) * response / 2 + ramp + brake
    object_end = gap + motion.braking_distance(object_speed, p.object_brake_max)
    world.show("ego comes to stand at", ego_end)
    world.show("the object comes to stand at", object_end)
    return ego_end > object_end
