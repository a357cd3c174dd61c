"""Recursive feasibility: a plan that was passed can be followed for one commit interval, and the fallback still saves.

A tick passes a plan only if margin >= EPS with the full response time: `Timing.commit`, the actuation delay and the age
of the input (proofs/uncertainty.py takes the age off). Then, for whatever time up to `commit`:
  the next tick binds again, with margin >= EPS (induction), or with EMERGENCY_STOP in the same tick (STOP-6);
  or nobody speaks, and after the gate timeout the command gate executes the fallback that the last decision carried.
In each case the fallback is commanded within `commit` and acts within the actuation delay. FEA-2 shows that the margin
which is then left is no less than the one of the tick that passed the plan; LON-1 to LON-5 start from there.

Assumptions, by name:
  F1 the next tick binds within period + overrun, or the gate executes the fallback after gate_timeout;
  F2 ego follows the plan: it accelerates by at most `acceleration`;
  A4 the object brakes by at most object_brake_max and does not reverse; F3 no object is born inside the envelope.
"""

from fractions import Fraction

from safety_supervisor.core import envelopes, motion
from safety_supervisor.core.config import Timing
from safety_supervisor.prove.claims import RANGES, VEHICLE, WITHOUT, Dual, claim

F1, WAY = "F1 within the commit interval", "F2 ego comes no farther than that takes it"
F2, A4 = "F2 ego accelerates by at most acceleration", "A4 the object brakes by at most object_brake_max"
ACTUATION = "F1 a command acts within actuation_delay"
TICK, GATE = "F1 the next tick binds within period + overrun", "F1 the gate waits for gate_timeout at most"


def of_the_period(timing):
    """Control: the tick period alone."""
    return timing.period


def without_the_gate(timing):
    """Control: a supervisor that never falls silent."""
    return timing.period + timing.overrun


@claim(
    "FEA-1",
    "The commit interval covers the worst admissible period and the silence before the gate acts.",
    basis="Timing.commit of the vehicle file; F1",
    scopes=(VEHICLE,),
    controls={
        "the period alone": {"commit": of_the_period},
        "the gate forgotten": {"commit": without_the_gate},
        "a tick later than admitted": {WITHOUT: TICK},
        "a slower gate": {WITHOUT: GATE},
        "slower brakes": {WITHOUT: ACTUATION},
    },
)
def commit_interval(world, commit=Timing.commit.fget):
    timing = world.group("timing")
    tick, silence = world.real("next tick binds after", 0), world.real("gate acts after", 0)
    world.assume(TICK, tick <= timing.period + timing.overrun)
    world.assume(GATE, silence <= timing.gate_timeout)
    held = commit(timing)
    late = timing.period + timing.overrun
    tight = (held == late) | (held == timing.gate_timeout)
    # From the detection until wheels brake: the input's age, then tick or gate, then the actuation.
    age, actuation = world.real("input age", 0), world.real("actuation takes", 0)
    world.assume(ACTUATION, actuation <= timing.actuation_delay)
    response = age + held + timing.actuation_delay
    return {
        "next tick": age + tick + actuation <= response,
        "gate": age + silence + actuation <= response,
        "tight": tight,
    }


def worst_case(world):
    """A tick that passed a plan, and the state `since` later; the commit interval is since + remaining."""
    p = world.group("envelope")
    acceleration, actuation = world.real("acceleration", 0), world.real("actuation_delay", 0)
    return p, acceleration, actuation, world.real("remaining"), world.real("since", 0)


@claim(
    "FEA-2",
    "Object that stands or has stopped: after any part of the commit interval the fallback still keeps the margin.",
    basis="the discrete tick: F1, F2, no rates; ego's way and speed as F2 bounds them",
    scopes=(RANGES,),
    controls={
        "response time without the commit interval": {"share": 0},
        "half the commit interval": {"share": Fraction(1, 2)},
        "ego is faster than planned": {WITHOUT: F2},
        "ego comes farther than planned": {WITHOUT: WAY},
        "later than the commit interval": {WITHOUT: F1},
    },
)
def standing_object(world, share=1):
    p, acceleration, actuation, remaining, since = worst_case(world)
    gap, speed = world.real("gap"), world.real("ego_speed", 0)
    then, way = world.real("ego_speed then", 0), world.real("ego_way", 0)
    world.assume(F1, remaining >= 0)
    world.assume(F2, then <= speed + acceleration * since)
    world.assume(WAY, way <= speed * since + acceleration * since * since / 2)
    passed = envelopes.clear_distance_margin(gap, speed, share * (since + remaining) + actuation, acceleration, p)
    until = envelopes.clear_distance_margin(gap - way, then, remaining + actuation, acceleration, p)
    left = envelopes.clear_distance_margin(gap - way, then, actuation, acceleration, p)
    world.show("margin at the tick", passed)
    world.show("margin of the fallback then", left)
    return {"to the end of the commit interval": until >= passed, "if it acts at once": left >= until}


@claim(
    "FEA-3",
    "Any object, moving at will: throughout the commit interval the margin of the fallback never falls.",
    basis="F2, A4; path_margin as shipped, response running from commit + actuation delay down to the actuation delay",
    scopes=(RANGES,),
    inductive=True,
    controls={
        "the response time stands still": {"tick": 0},
        "ego drives faster than planned": {WITHOUT: F2},
        "the object brakes harder than assumed": {WITHOUT: A4},
    },
)
def moving_object(world, tick=-1):
    p, acceleration, actuation, remaining, _since = worst_case(world)
    world.assume(F1, remaining >= 0)
    gap, speed = world.real("gap"), world.real("ego_speed", 0)
    object_speed, object_acceleration = world.real("object_speed", 0), world.real("object_acceleration")
    ego_acceleration = world.real("ego_acceleration")
    world.assume(F2, ego_acceleration <= acceleration)
    world.assume(A4, object_acceleration >= -p.object_brake_max)
    response = Dual(remaining + actuation, tick)
    ego, ahead = Dual(speed, ego_acceleration), Dual(object_speed, object_acceleration)
    margin = envelopes.longitudinal_margin(Dual(gap, object_speed - speed), ego, ahead, response, acceleration, p)
    world.show("margin", margin.value)
    world.show("rate of the margin", margin.rate)
    return {"never falls": margin.rate >= 0, "response left >= actuation delay": response.value >= actuation}


@claim(
    "FEA-4",
    "Object that brakes, discrete tick: whenever within the commit interval, the fallback needs no more than there is.",
    basis="way and speed of both then; ego keeps its speed, A4 as energy; `response left` holds the actuation delay",
    scopes=(RANGES,),
    controls={
        "response time without the commit interval": {"share": 0},
        "the object brakes harder than assumed": {WITHOUT: "A4 the object's energy falls no faster"},
    },
)
def braking_object(world, share=1):
    p = world.group("envelope")
    gap, speed, object_speed = world.real("gap"), world.real("ego_speed", 0), world.real("object_speed", 0)
    since, left = world.real("since", 0), world.real("response left", 0)
    then, way = world.real("object_speed then", 0), world.real("object_way", 0)
    acceleration = world.real("acceleration", 0)
    energy = then * then + 2 * p.object_brake_max * way >= object_speed * object_speed
    world.assume("A4 the object's energy falls no faster", energy)
    world.assume("not faster than at the tick", then <= object_speed)
    passed = envelopes.longitudinal_margin(gap, speed, object_speed, share * since + left, acceleration, p)
    # What ego needs beyond the object's own braking distance; where it needs nothing more, LON-5 speaks.
    need = envelopes.longitudinal_margin(0, speed, then, left, acceleration, p)
    world.assume("the fallback then needs some of the gap", need < 0)
    margin = gap - speed * since + way + need
    world.show("margin at the tick", passed)
    world.show("margin of the fallback then", margin)
    return margin >= passed


@claim(
    "FEA-5",
    "Oncoming, crossing, near: ego's way since the tick and the needs of the fallback then are within what it counted.",
    basis="the margins of APP-2, OPP-3, SEP-1, CRS-1 and NEAR-1 depend on ego by these two; beside ego LAT-1 speaks",
    scopes=(RANGES,),
    controls={
        "response time without the commit interval": {"share": 0},
        "ego is faster than planned": {WITHOUT: F2},
        "ego comes farther than planned": {WITHOUT: WAY},
        "later than the commit interval": {WITHOUT: F1},
    },
)
def way_and_time(world, share=1):
    p, acceleration, actuation, remaining, since = worst_case(world)
    speed, then, way = world.real("ego_speed", 0), world.real("ego_speed then", 0), world.real("ego_way", 0)
    world.assume(F1, remaining >= 0)
    world.assume(F2, then <= speed + acceleration * since)
    world.assume(WAY, way <= speed * since + acceleration * since * since / 2)
    profile = (acceleration, p.assumed_brake, p.assumed_jerk)
    counted, left = share * (since + remaining) + actuation, remaining + actuation
    distance = motion.fallback_distance(speed, counted, *profile)
    duration = motion.fallback_duration(speed, counted, *profile)
    return {
        "way": way + motion.fallback_distance(then, left, *profile) <= distance,
        "time": since + motion.fallback_duration(then, left, *profile) <= duration,
    }
