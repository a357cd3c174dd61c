"""Beside an object: a margin that is not negative now keeps both apart to the side, at any time.

The same barrier as in proofs/longitudinal.py. Speeds are on one axis from ego to the object: ego comes nearer with a
positive one, the object with a negative one. Two phases: for the longer one of both response times each may accelerate
towards the other; then each brakes what goes towards the other. The second phase is the margin at response 0.

Assumptions on the motion to the side, by name:
  L1 until the responses are over, ego accelerates towards the object by at most `lateral_acceleration_max`;
  L2 so does the object towards ego;
  L3 then ego brakes a speed towards the object by at least `lateral_brake`, so it does not turn back to it either;
  L4 so does the object.
"""

from types import SimpleNamespace

import numpy as np
from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import WITHOUT, Dual, claim

L1, L2 = "L1 ego accelerates to the side by at most the limit", "L2 the object accelerates to the side by at most it"
L3, L4 = "L3 ego brakes what goes towards the object", "L4 the object brakes what goes towards ego"


def margin_without_response(gap, ego, ahead, response, p):
    """Control: only ego's own response counts."""
    return envelopes.lateral_margin(gap, ego, ahead, response, SimpleNamespace(**{**vars(p), "object_response": 0}))


def margin_without_brakes(gap, ego, ahead, response, p):
    """Control: who goes towards the other stops at once after the response."""
    brake = {"lateral_brake": 10**6 * p.lateral_brake}
    return envelopes.lateral_margin(gap, ego, ahead, response, SimpleNamespace(**{**vars(p), **brake}))


def margin_with_flipped_sign(gap, ego, ahead, response, p):
    """Control: a margin that grows with the need."""
    return gap + (gap - envelopes.lateral_margin(gap, ego, ahead, response, p))


def margin_of_ego_alone(gap, ego, _ahead, response, p):
    """Control: the object keeps where it is."""
    time = np.maximum(response, p.object_response)
    way = motion.lateral_distance(ego, time, p.lateral_acceleration_max, p.lateral_brake)
    return gap - np.maximum(p.lateral_fluctuation + way, 0)


def limits(world):
    """What the lateral margin assumes, as plain attributes that a claim may change."""
    p = world.group("envelope")
    names = ("lateral_acceleration_max", "lateral_brake", "lateral_fluctuation", "object_response")
    return SimpleNamespace(**{name: getattr(p, name) for name in names})


def situation(world, phase):
    """Ego and an object beside it, moving at will; in the response phase both responses run down."""
    s = SimpleNamespace(p=limits(world))
    s.gap, s.ego, s.ahead = world.real("gap"), world.real("ego_lateral_speed"), world.real("object_lateral_speed")
    s.ego_acceleration, s.object_acceleration = world.real("ego_acceleration"), world.real("object_acceleration")
    s.moving = (Dual(s.gap, s.ahead - s.ego), Dual(s.ego, s.ego_acceleration), Dual(s.ahead, s.object_acceleration))
    s.response = Dual(world.real("response", 0), -1) if phase == "response" else 0
    s.p.object_response = Dual(world.real("response of the object", 0), -1) if phase == "response" else 0
    return s


@claim(
    "LAT-1",
    "Response phase: the lateral margin never falls, and each one's way to come falls as it drives.",
    basis="RSS 2017, safe lateral distance; L1, L2",
    inductive=True,
    controls={
        "the object's response forgotten": {"margin": margin_without_response},
        "the object forgotten": {"margin": margin_of_ego_alone},
        "sign of the margin flipped": {"margin": margin_with_flipped_sign},
        "ego accelerates more": {WITHOUT: L1},
        "the object accelerates more": {WITHOUT: L2},
    },
)
def response_phase(world, margin=envelopes.lateral_margin):
    s = situation(world, "response")
    limit = s.p.lateral_acceleration_max
    world.assume(L1, s.ego_acceleration <= limit)
    world.assume(L2, s.object_acceleration >= -limit)
    h = margin(*s.moving, s.response, s.p)
    way = motion.lateral_distance(s.moving[1], s.response, limit, s.p.lateral_brake)
    world.show("margin", h.value)
    world.show("rate of the margin", h.rate)
    return {"margin": h.rate >= 0, "ego's way": way.rate <= -s.ego}


@claim(
    "LAT-2",
    "Brake phase: the lateral margin never falls.",
    basis="L3, L4; who brakes before the responses are over is within L1 and L2",
    inductive=True,
    controls={
        "no way to brake in": {"margin": margin_without_brakes},
        "ego does not brake": {WITHOUT: L3},
        "the object does not brake": {WITHOUT: L4},
    },
)
def brake_phase(world, margin=envelopes.lateral_margin):
    s = situation(world, "brake")
    world.assume(L3, (s.ego <= 0) | (s.ego_acceleration <= -s.p.lateral_brake))
    world.assume(L4, (s.ahead >= 0) | (s.object_acceleration >= s.p.lateral_brake))
    h = margin(*s.moving, s.response, s.p)
    world.show("rate of the margin", h.rate)
    return h.rate >= 0


@claim(
    "LAT-3",
    "The lateral margin is never more than the gap; at rest it is the gap less the fluctuation.",
    controls={"a margin that is no bound of the gap": {"margin": margin_with_flipped_sign}},
)
def margin_is_at_most_the_gap(world, margin=envelopes.lateral_margin):
    p = limits(world)
    gap, ego, ahead = world.real("gap"), world.real("ego_lateral_speed"), world.real("object_lateral_speed")
    response = world.real("response", 0)
    still = SimpleNamespace(**{**vars(p), "lateral_acceleration_max": 0})
    return {
        "margin <= gap": margin(gap, ego, ahead, response, p) <= gap,
        "at rest": margin(gap, 0, 0, response, still) == gap - p.lateral_fluctuation,
    }


BETTER = {"gap": 1, "ego_lateral_speed": -1, "object_lateral_speed": 1, "response": -1}
CLOSING = "for the response: ego drives to the side no slower than the object goes away"


@claim(
    "LAT-4",
    "The lateral margin is monotone in each uncertain argument; in the response where both do not drift apart.",
    basis="sign of each partial derivative; so the worst end of each interval is the worst case",
    controls={
        **{f"{name} the wrong way round": {"better": {**BETTER, name: -BETTER[name]}} for name in BETTER},
        "an object that goes away faster": {WITHOUT: CLOSING},
    },
)
def monotone(world, better=BETTER):
    p = world.group("envelope")
    value = {name: world.real(name, 0 if name == "response" else None) for name in better}
    name = world.pick("argument", tuple(better))
    # What goes away is credited with that during the response, by L2: a longer one may then make the margin larger.
    drifts = value["ego_lateral_speed"] >= value["object_lateral_speed"]
    world.assume(CLOSING, drifts if name == "response" else True)
    moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
    return better[name] * envelopes.lateral_margin(*moved, p).rate >= 0


@claim(
    "LAT-5",
    "Tight: below -fluctuation there is an admissible motion that ends in contact; nothing else is given away.",
    basis="both accelerate towards each other for the longer response, then brake exactly as assumed",
    controls={"half the fluctuation": {"share": 0}, "the object's response counted twice": {"extra": 1}},
)
def tight(world, share=1, extra=0):
    p = world.group("envelope")
    gap, ego, ahead = world.real("gap"), world.real("ego_lateral_speed"), world.real("object_lateral_speed")
    response = world.real("response", 0)
    time = np.maximum(response, p.object_response)
    margin = envelopes.lateral_margin(gap, ego, ahead, response + extra * time, p)
    world.assume("margin < -fluctuation", margin < -share * p.lateral_fluctuation)
    world.assume("not in contact yet", gap >= 0)
    a, b = p.lateral_acceleration_max, p.lateral_brake
    ego_then, object_then = ego + a * time, ahead - a * time
    ego_end = ego * time + a * time * time / 2 + np.where(ego_then > 0, ego_then * ego_then / (2 * b), 0)
    object_end = ahead * time - a * time * time / 2 - np.where(object_then < 0, object_then * object_then / (2 * b), 0)
    left = gap + object_end - ego_end
    world.show("gap left", left)
    world.show("margin", margin)
    return {"ends in contact": left < 0, "nothing else given away": margin == left - p.lateral_fluctuation}
