"""The emergency fallback: how far and how long ego still moves, and that the commanded profile keeps to it.

Same barrier as in proofs/longitudinal.py: along every motion within A1 to A3 (named there) the distance still
needed falls at least as fast as ego drives, and the time still needed at least as fast as time passes. Both are
never negative while ego moves. So ego's travel is at most fallback_distance and ends within fallback_duration.
"""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import VEHICLE, WITHOUT, Dual, claim, implies

A1 = "A1 ego accelerates by at most acceleration"
A2 = "A2 ego accelerates by at most the ramp"


def ramp_needs(speed, ramp, acceleration, p):
    """Certificates, not shipped: distance and time that ego still needs when its acceleration is at most `ramp`.

    proofs/longitudinal.py says why the distance has these two cubic terms.
    """
    b, j = p.assumed_brake, p.assumed_jerk
    left = (ramp + b) / (2 * j)
    start = (acceleration + b) / (2 * j)
    distance = speed * left + ramp * left * left / 2 + motion.braking_distance(speed + ramp * left, b)
    distance = distance - j * left * left * left / 3 + j * start * start * start / 3
    return distance, left + (speed + ramp * left) / b


def shipped_needs(speed, response, acceleration, p):
    """What the shipped functions say."""
    brakes = (p.assumed_brake, p.assumed_jerk)
    distance = motion.fallback_distance(speed, response, acceleration, *brakes)
    return distance, motion.fallback_duration(speed, response, acceleration, *brakes)


def needs_with_short_ramp(speed, response, acceleration, p):
    """Control: a ramp that lasts brake / jerk, as if it began at acceleration 0."""
    return shipped_needs(speed, response - acceleration / (2 * p.assumed_jerk), acceleration, p)


def needs_without_ramp(speed, response, acceleration, p):
    """Control: brakes that bite at once."""
    start = (acceleration + p.assumed_brake) / (2 * p.assumed_jerk)
    return shipped_needs(speed, response - start, acceleration, p)


def situation(world):
    """Ego at any speed >= 0."""
    s = SimpleNamespace(p=world.group("envelope"))
    s.speed, s.acceleration = world.real("speed", 0), world.real("acceleration", 0)
    s.ego_acceleration = world.real("ego_acceleration")
    s.moving = Dual(s.speed, s.ego_acceleration)
    return s


def falling(world, speed, distance, duration):
    """The distance falls at least as ego drives, the time at least as it passes."""
    world.show("rate of the distance", distance.rate)
    world.show("rate of the duration", duration.rate)
    return {"distance falls": distance.rate <= -speed, "duration falls": duration.rate <= -1}


@claim(
    "FALL-1",
    "Response phase: needed distance and time fall as ego drives and time passes.",
    basis="A1, A3",
    inductive=True,
    controls={"ego accelerates more than assumed": {WITHOUT: A1}, "response time stands still": {"tick": 0}},
)
def response_phase(world, tick=-1):
    s = situation(world)
    world.assume(A1, s.ego_acceleration <= s.acceleration)
    response = Dual(world.real("response", 0), tick)
    return falling(world, s.speed, *shipped_needs(s.moving, response, s.acceleration, s.p))


@claim(
    "FALL-2",
    "Start of the ramp: the shipped needs cover those inside the ramp, also if it starts early.",
    basis="A1, A2",
    inductive=True,
    controls={
        "ramp that lasts brake / jerk": {"needs": needs_with_short_ramp},
        "no ramp": {"needs": needs_without_ramp},
    },
)
def start_of_the_ramp(world, needs=shipped_needs):
    s = situation(world)
    distance, duration = needs(s.speed, world.real("response", 0), s.acceleration, s.p)
    inside, inside_time = ramp_needs(s.speed, s.acceleration, s.acceleration, s.p)
    return {"distance covers": distance >= inside, "duration covers": duration >= inside_time}


@claim(
    "FALL-3",
    "Ramp and brake phase: needed distance and time fall, and are not negative, while ego moves.",
    basis="A2, A3; the brake phase is a ramp that has reached -assumed_brake and stays there",
    inductive=True,
    controls={"ego brakes less than the ramp": {WITHOUT: A2}, "half the brake": {"share": Fraction(1, 2)}},
)
def ramp_and_brake_phase(world, share=1):
    s = situation(world)
    ramp = world.real("ramp")
    world.assume("A2 the ramp has not passed full brake", ramp >= -s.p.assumed_brake)
    world.assume("A2 the ramp has started at acceleration", ramp <= s.acceleration)
    world.assume(A2, s.ego_acceleration <= share * ramp)
    in_ramp = ramp_needs(s.moving, Dual(ramp, -s.p.assumed_jerk), s.acceleration, s.p)
    braking = ramp_needs(s.moving, -s.p.assumed_brake, s.acceleration, s.p)
    full = s.ego_acceleration <= -share * s.p.assumed_brake
    return {
        **falling(world, s.speed, *in_ramp),
        "distance falls in the brake phase": implies(full, braking[0].rate <= -s.speed),
        "duration falls in the brake phase": implies(full, braking[1].rate <= -1),
        "distance left >= 0": in_ramp[0].value >= 0,
        "duration left >= 0": in_ramp[1].value >= 0,
    }


def exact_travel(world, s, response, brake, jerk):
    """Distance and time to standstill of the profile itself: response, ramp, brake; it stops after the ramp."""
    ramp = (s.acceleration + brake) / jerk
    after_response = s.speed + s.acceleration * response
    after_ramp = after_response + s.acceleration * ramp - brake * ramp / 2 - s.acceleration * ramp / 2
    world.assume("ego stops after the ramp, not inside it", after_ramp >= 0)
    in_ramp = after_response * ramp + s.acceleration * ramp * ramp / 2 - jerk * ramp * ramp * ramp / 6
    distance = (s.speed + after_response) * response / 2 + in_ramp + motion.braking_distance(after_ramp, brake)
    return distance, response + ramp + after_ramp / brake


@claim(
    "FALL-4",
    "Tight: the modelled profile takes exactly the duration, and the distance less jerk * R0^3 / 3.",
    basis="R0 is half the ramp; so the bound gives away 0.19 m with the default parameters",
    controls={"nothing given away": {"share": 0}, "twice as much given away": {"share": 2}},
)
def tight(world, share=1):
    s = situation(world)
    response = world.real("response", 0)
    half = (s.acceleration + s.p.assumed_brake) / (2 * s.p.assumed_jerk)
    distance, duration = shipped_needs(s.speed, response, s.acceleration, s.p)
    travel, time = exact_travel(world, s, response, s.p.assumed_brake, s.p.assumed_jerk)
    given_away = share * s.p.assumed_jerk * half * half * half / 3
    return {"distance": travel == distance - given_away, "duration": time == duration}


@claim(
    "FALL-5",
    "The commanded emergency profile keeps to the ramp that the envelopes assume (A2).",
    basis="fallback.emergency_* against envelope.assumed_*; then the travel of the commanded profile is covered too",
    scopes=(VEHICLE,),
    controls={
        "2.5 m/s^2 at 1.5 m/s^3 commanded, 3.0 m/s^2 assumed": {
            "commanded": (Fraction(5, 2), Fraction(3, 2)),
            "assumed": (3, 3),
        },
        "same brake, slower build-up": {"commanded": (7, 5), "assumed": (7, 15)},
        "ego accelerates more than assumed": {WITHOUT: A1},
    },
)
def commanded_profile(world, commanded=None, assumed=None):
    fallback, envelope = world.group("fallback"), world.group("envelope")
    brake, jerk = commanded or (fallback.emergency_deceleration, fallback.emergency_jerk)
    p = SimpleNamespace()
    p.assumed_brake, p.assumed_jerk = assumed or (envelope.assumed_brake, envelope.assumed_jerk)
    acceleration = world.real("acceleration", 0, envelope.acceleration_max)
    start = world.real("ego_acceleration")
    world.assume(A1, start <= acceleration)
    since = world.real("time since the fallback acts", 0)
    speed = world.real("ego_speed", 0, world.group("odd").speed_max)
    world.assume("A2 ego still moves", speed > 0)
    command = np.maximum(start - jerk * since, -brake)
    ramp = np.maximum(acceleration - p.assumed_jerk * since, -p.assumed_brake)
    world.show("commanded acceleration", command)
    world.show("assumed acceleration", ramp)
    world.tell(
        "ego {speed} m/s, {since} s after the fallback began to act: its acceleration is {command} m/s^2, the envelope"
        " counts on {ramp} m/s^2",
        speed=speed, since=since, command=command, ramp=ramp,
    )  # fmt: skip
    return command <= ramp


@claim(
    "FALL-6",
    "The commanded emergency profile stops within the assumed distance and time.",
    basis="as FALL-5, in metres; the profile is the one of docs/proofs.md, stopping after its ramp",
    scopes=(VEHICLE,),
    controls={
        "2.5 m/s^2 at 1.5 m/s^3 commanded, 3.0 m/s^2 assumed": {
            "commanded": (Fraction(5, 2), Fraction(3, 2)),
            "assumed": (3, 3),
        },
    },
)
def commanded_travel(world, commanded=None, assumed=None):
    fallback, envelope = world.group("fallback"), world.group("envelope")
    brake, jerk = commanded or (fallback.emergency_deceleration, fallback.emergency_jerk)
    s = SimpleNamespace(p=SimpleNamespace(), speed=world.real("speed", 0, world.group("odd").speed_max))
    s.p.assumed_brake, s.p.assumed_jerk = assumed or (envelope.assumed_brake, envelope.assumed_jerk)
    s.acceleration = world.real("acceleration", 0, envelope.acceleration_max)
    response = world.real("response", 0, 3)
    distance, duration = shipped_needs(s.speed, response, s.acceleration, s.p)
    travel, time = exact_travel(world, s, response, brake, jerk)
    world.show("assumed stopping distance", distance)
    world.show("commanded stopping distance", travel)
    world.tell(
        "ego {speed} m/s, response {response} s at {acceleration} m/s^2: the commanded stop takes {travel} m, {time} s,"
        " the envelope counts on {distance} m, {duration} s: what stands in between is hit",
        speed=s.speed, response=response, acceleration=s.acceleration,
        travel=travel, time=time, distance=distance, duration=duration,
    )  # fmt: skip
    return {"stops within the assumed distance": travel <= distance, "and time": time <= duration}


@claim(
    "FALL-7",
    "From the capped speed the fallback stops inside the distance, with 2 EPS to spare; no higher speed does.",
    basis="speed_for_distance is the inverse of fallback_distance",
    controls={
        "1 % faster": {"factor": Fraction(101, 100)},
        "1 % slower": {"factor": Fraction(99, 100)},
    },
)
def speed_cap(world, factor=1):
    p = world.group("envelope")
    distance, response = world.real("distance"), world.real("response", 0)
    acceleration = world.real("acceleration")
    rest = (response, acceleration, p.assumed_brake, p.assumed_jerk)
    cap = factor * motion.speed_for_distance(distance, *rest)
    need = motion.fallback_distance(cap, *rest)
    at_rest = motion.fallback_distance(0, *rest)
    spare = distance - 2 * motion.EPS
    return {
        "never negative": cap >= 0,
        "stops exactly at the distance": implies(at_rest <= spare, need == spare),
        "no speed when even standstill does not fit": implies(at_rest > spare, cap == 0),
    }


@claim(
    "FALL-8",
    "Assured clear distance at the cap: the margin is at least EPS; what a tolerance in speed costs is stated.",
    basis="FALL-7 and APP-6; the cap is demanded above cap + envelope.speed_error only: docs/proofs.md has the metres",
    controls={"10 % faster": {"factor": Fraction(11, 10)}, "tolerance for free": {"cost": 0}},
)
def clear_distance_at_the_cap(world, factor=1, cost=1):
    p = world.group("envelope")
    clear, response = world.real("clear_range"), world.real("response", 0)
    acceleration, tolerance = world.real("acceleration", 0), world.real("tolerance", 0)
    profile = (response, acceleration, p.assumed_brake, p.assumed_jerk)
    cap = factor * motion.speed_for_distance(clear, *profile)
    world.assume("even standstill fits", motion.fallback_distance(0, *profile) <= clear - 2 * motion.EPS)
    at_cap = envelopes.clear_distance_margin(clear, cap, response, acceleration, p)
    beyond = envelopes.clear_distance_margin(clear, cap + tolerance, response, acceleration, p)
    given = tolerance * motion.fallback_duration(cap, *profile) + motion.braking_distance(tolerance, p.assumed_brake)
    world.show("margin at the cap", at_cap)
    return {"inside at the cap": at_cap >= motion.EPS, "cost of a tolerance": beyond == at_cap - cost * given}
