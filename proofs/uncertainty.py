"""Uncertain and old inputs: the margin of the estimate is never more than the margin of the truth.

The tracker gives gap and speed with a standard deviation, from a detection that is `age` old, extrapolated to now with
constant object speed. The worst end of both intervals, taken back to the time of the detection (envelopes.worst_end),
goes into the margin, with `age` added to the response time.

Only where ego is and how fast it drives counts for what comes; how it came here does not. So let a second, *virtual*
ego come here at constant speed: from `reading * age` behind. The steps for an object ahead:
  UNC-1 at the time of the detection the margin of the estimate is at most that of the virtual ego and the true object;
  LON-1 along the motion of the virtual ego, which is within A1, that margin does not fall while `age` runs down;
  UNC-2 now it is at most the true margin.
For an oncoming object (APP-2: the margin is the gap less both ways) UNC-1 holds too; UNC-3 and UNC-4 show that each way
counted from the detection covers the true one. So the margin of the estimate is at most the gap that will be left.

Assumptions, by name:
  U1 at the time of the detection the true gap is no smaller than the estimate less what it may be off;
  U2 nor the true object speed;
  U3 ego's speed is at most envelopes.upper_speed of the reading.
How far ego has come since the detection is known from odometry; its error is part of `bound`.
"""

from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import RANGES, WITHOUT, claim

U1, U2, U3 = "U1 the true gap is in its interval", "U2 the true speed is in its interval", "U3 ego's reading is bounded"


def no_age(gap, gap_off, bound, _ego_speed, object_speed, speed_off, _age):
    """Control: the extrapolated gap as if it were measured now."""
    return gap - gap_off - bound, object_speed - speed_off


def forward(gap, gap_off, bound, ego_speed, object_speed, speed_off, age):
    """Control: taken forward again instead of back."""
    return envelopes.worst_end(gap, gap_off, bound, ego_speed, object_speed, speed_off, -age)


def middle_of_the_speed(gap, gap_off, bound, ego_speed, object_speed, speed_off, age):
    """Control: the worst end of the gap and the middle of the speed."""
    return envelopes.worst_end(gap, gap_off, bound, ego_speed, object_speed, 0 * speed_off, age)


def middle_of_the_gap(gap, gap_off, bound, ego_speed, object_speed, speed_off, age):
    """Control: the worst end of the speed and the middle of the gap."""
    return envelopes.worst_end(gap, 0 * gap_off, bound, ego_speed, object_speed, speed_off, age)


def no_geometry(gap, gap_off, bound, ego_speed, object_speed, speed_off, age):
    """Control: the error of the geometry is forgotten."""
    return envelopes.worst_end(gap, gap_off, 0 * bound, ego_speed, object_speed, speed_off, age)


def reading(speed, _p):
    """Control: odometry counts as exact."""
    return speed


@claim(
    "UNC-1",
    "At the time of the detection the margin at the worst end is at most that of every true state in the intervals.",
    basis="U1, U2; both signs of the object's speed; k sigma, floor and geometry bound of core/assessment/rating.py",
    controls={
        "age ignored": {"ends": no_age},
        "extrapolated the wrong way": {"ends": forward},
        "middle of the speed": {"ends": middle_of_the_speed},
        "middle of the gap": {"ends": middle_of_the_gap},
        "geometry counts as exact": {"ends": no_geometry},
        "true gap outside": {WITHOUT: U1},
        "true speed outside": {WITHOUT: U2},
    },
)
def worst_end_of_the_intervals(world, ends=envelopes.worst_end):
    age, ego_reading, travel = world.real("age", 0), world.real("reading", 0), world.real("ego_travel", 0)
    gap_off, speed_off, bound = world.real("gap_off", 0), world.real("speed_off", 0), world.real("bound", 0)
    gap_at_first, speed = world.real("gap_at_first"), world.real("estimated_speed")
    true_gap, true_speed = world.real("true_gap_at_first"), world.real("true_speed_at_first")
    world.assume(U1, true_gap >= gap_at_first - gap_off - bound)
    world.assume(U2, true_speed >= speed - speed_off)
    now = gap_at_first - travel + speed * age  # what the tracker says: object speed kept, ego's way known
    gap, least = ends(now, gap_off, bound, ego_reading, speed, speed_off, age)
    virtual_gap = true_gap - travel + ego_reading * age
    world.show("gap at the worst end", gap)
    world.show("gap to the virtual ego", virtual_gap)
    # With LON-7 and APP-4, monotone in gap and speed, this is all that a margin needs.
    return {
        "gap": gap <= virtual_gap,
        "speed": least <= true_speed,
        "nothing given away: gap": gap == gap_at_first - gap_off - bound - travel + ego_reading * age,
        "nothing given away: speed": least == speed - speed_off,
    }


@claim(
    "UNC-2",
    "Now the margin of the virtual ego is at most the true margin.",
    basis="U3; the virtual ego is as far or farther, and as fast or faster",
    controls={"odometry counts as exact": {"upper": reading}, "ego faster than bounded": {WITHOUT: U3}},
)
def virtual_and_true_ego(world, upper=envelopes.upper_speed):
    p = world.group("envelope")
    age, measured, ego_speed = world.real("age", 0), world.real("reading", 0), world.real("ego_speed", 0)
    fastest = upper(measured, p)
    world.assume(U3, ego_speed <= envelopes.upper_speed(measured, p))
    true_gap, object_speed = world.real("true_gap"), world.real("object_speed", 0)
    rest = (object_speed, world.real("response", 0), world.real("acceleration", 0), p)
    virtual_gap = true_gap + measured * age - fastest * age
    virtual = envelopes.longitudinal_margin(virtual_gap, fastest, *rest)
    truth = envelopes.longitudinal_margin(true_gap, ego_speed, *rest)
    world.show("margin of the virtual ego", virtual)
    world.show("true margin", truth)
    return {"gap": virtual_gap <= true_gap, "margin": virtual <= truth}


@claim(
    "UNC-3",
    "Ego's way and time counted from the detection cover what was driven since then and what is still to come.",
    basis="U3; so adding the age to the response time is enough",
    scopes=(RANGES,),
    controls={
        "age not added to the response": {"share": 0},
        "odometry counts as exact": {"upper": reading},
        "ego faster than bounded": {WITHOUT: U3},
    },
)
def age_in_the_response(world, share=1, upper=envelopes.upper_speed):
    p = world.group("envelope")
    age, measured, ego_speed = world.real("age", 0), world.real("reading", 0), world.real("ego_speed", 0)
    response, acceleration = world.real("response", 0), world.real("acceleration", 0)
    world.assume(U3, ego_speed <= envelopes.upper_speed(measured, p))
    rest = (acceleration, p.assumed_brake, p.assumed_jerk)
    fastest, whole = upper(measured, p), response + share * age
    way = motion.fallback_distance(fastest, whole, *rest)
    time = motion.fallback_duration(fastest, whole, *rest)
    return {
        "way": way >= measured * age + motion.fallback_distance(ego_speed, response, *rest),
        "time": time >= age + motion.fallback_duration(ego_speed, response, *rest),
    }


@claim(
    "UNC-4",
    "An oncoming object that is faster, or has longer, comes no less far.",
    basis="oncoming_distance is monotone; with UNC-1 and UNC-3 it covers the object's true way since the detection",
    controls={"slower": {WITHOUT: "faster"}, "for a shorter time": {WITHOUT: "longer"}},
)
def oncoming_way(world):
    limit = world.group("envelope").object_acceleration_max
    speed, time = world.real("closing_speed"), world.real("time", 0)
    faster, longer = world.real("closing_speed at the worst end"), world.real("time counted", 0)
    world.assume("faster", faster >= speed)
    world.assume("longer", longer >= time)
    return motion.oncoming_distance(faster, longer, limit) >= motion.oncoming_distance(speed, time, limit)


@claim(
    "UNC-5",
    "upper_speed covers a reading that is low by speed_error and by speed_error_ratio of it, and gives no more away.",
    basis="the two declared errors of odometry, added; U3",
    controls={"only the share": {"offset": 0}, "only the offset": {"ratio": 0}},
)
def bounded_reading(world, offset=1, ratio=1):
    p = world.group("envelope")
    measured, error, share = world.real("reading", 0), world.real("error"), world.real("share")
    world.assume("error", error <= p.speed_error)
    world.assume("share", share <= p.speed_error_ratio)
    upper = envelopes.upper_speed(measured, p)
    least = measured + offset * p.speed_error + ratio * p.speed_error_ratio * measured
    return {"covers": measured + share * measured + error <= upper, "tight": upper == least}


@claim(
    "UNC-6",
    "Lateral gap: the lateral margin at the worst end is at most that of every true state in the intervals.",
    basis="U1, U2 on the axis from ego to the object beside it; worst_end as for the path, LAT-1 from there on",
    controls={
        "age ignored": {"ends": no_age},
        "middle of the speed": {"ends": middle_of_the_speed},
        "middle of the gap": {"ends": middle_of_the_gap},
        "true gap outside": {WITHOUT: U1},
        "true speed outside": {WITHOUT: U2},
    },
)
def lateral_gap(world, ends=envelopes.worst_end):
    p = world.group("envelope")
    age, ego, response = world.real("age", 0), world.real("ego_lateral_speed"), world.real("response", 0)
    gap_off, speed_off, bound = world.real("gap_off", 0), world.real("speed_off", 0), world.real("bound", 0)
    gap_at_first, speed = world.real("gap_at_first"), world.real("estimated_speed")
    true_gap, true_speed = world.real("true_gap_at_first"), world.real("true_speed_at_first")
    world.assume(U1, true_gap >= gap_at_first - gap_off - bound)
    world.assume(U2, true_speed >= speed - speed_off)
    now = gap_at_first - ego * age + speed * age
    gap, least = ends(now, gap_off, bound, ego, speed, speed_off, age)
    at_worst = envelopes.lateral_margin(gap, ego, least, response + age, p)
    truth = envelopes.lateral_margin(true_gap, ego, true_speed, response + age, p)
    world.show("margin at the worst end", at_worst)
    world.show("true margin", truth)
    return at_worst <= truth
