"""Minimal-risk manoeuvres as trajectories: their limits, their ends, and that the envelope covers them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import CONFIG, RADAR, T, config, ego, path_of, plan, stop_plan, straight_path
from hypothesis import given
from hypothesis import strategies as st
from strategies import declared

from safety_supervisor.core import fallback
from safety_supervisor.core.config import GRAVITY
from safety_supervisor.core.envelopes import upper_speed
from safety_supervisor.core.fallback import Manoeuvre, capped, grip, manoeuvre, stop
from safety_supervisor.core.motion import fallback_distance
from safety_supervisor.core.paths import extrapolation
from safety_supervisor.core.world import Mode

STOPS = (Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP)
DT = fallback.STEP
speeds = st.floats(0.0, 40.0)


def rates(plan_made):
    """Acceleration between samples until rest [m/s^2]."""
    v = np.abs(plan_made.speed)
    moving = np.flatnonzero(v[1:] > 0)
    last = moving[-1] + 1 if len(moving) else 0
    return np.diff(v[: last + 1]) / DT


def halt(speed, mode=Mode.EMERGENCY_STOP, now=0.0, floor=0.0, path=None, by=CONFIG):
    path = path or straight_path(max(speed, 1.0), reach=300.0)
    return stop(path, ego(speed), now, manoeuvre(mode, by), floor, by)


def test_the_manoeuvres_are_those_of_the_vehicle_file():
    f = CONFIG.fallback
    assert manoeuvre(Mode.COMFORT_STOP, CONFIG) == Manoeuvre(f.comfort_deceleration, f.comfort_jerk)
    assert manoeuvre(Mode.FIRM_STOP, CONFIG) == Manoeuvre(f.firm_deceleration, f.firm_jerk)
    assert manoeuvre(Mode.EMERGENCY_STOP, CONFIG) == Manoeuvre(f.emergency_deceleration, f.emergency_jerk)
    assert manoeuvre(Mode.UNABLE, CONFIG) == manoeuvre(Mode.EMERGENCY_STOP, CONFIG)
    assert manoeuvre(Mode.SPEED_CAP, CONFIG) == manoeuvre(Mode.COMFORT_STOP, CONFIG)


# --- stops ----------------------------------------------------------------------------------------------------------


@given(speeds, st.sampled_from(STOPS), st.floats(-7.0, 3.0))
def test_a_stop_keeps_its_deceleration_and_jerk_and_ends_at_rest(speed, mode, now):
    mrm = manoeuvre(mode, CONFIG)
    made, demand = halt(speed, mode, now)
    a = np.concatenate([[max(min(now, 0.0), -mrm.deceleration)], rates(made)])
    assert made.speed[-1] == 0.0
    assert (made.speed >= 0).all()
    assert (np.diff(made.speed) <= 1e-9).all()
    assert a.min() >= -max(mrm.deceleration, -min(now, 0.0)) - 1e-6
    assert np.abs(np.diff(a)).max(initial=0.0) <= mrm.jerk * DT + 1e-6
    assert made.t == T
    step = mrm.jerk * CONFIG.timing.period
    assert abs(demand - min(now, 0.0)) <= step + 1e-9


@given(speeds, st.sampled_from(STOPS), st.floats(-7.0, 0.0))
def test_travel_and_speed_of_a_stop_belong_together(speed, mode, now):
    made, _ = halt(speed, mode, now)
    moved = np.hypot(np.diff(made.x), np.diff(made.y))
    middle = (np.abs(made.speed[1:]) + np.abs(made.speed[:-1])) / 2
    assert moved == pytest.approx(middle * DT, abs=0.08)
    assert (np.diff(made.x) >= -1e-9).all()


@given(declared("odd.speed_max").filter(lambda v: v <= 40.0), st.sampled_from(STOPS))
def test_no_stop_travels_further_than_the_envelope_says(speed, mode):
    mrm = manoeuvre(mode, CONFIG)
    made, _ = halt(speed, mode)
    assert made.x[-1] <= float(fallback_distance(speed, 0, 0, mrm.deceleration, mrm.jerk)) + 1e-6


@given(st.floats(0.0, 30.0), st.floats(1.0, 6.9), st.floats(2.0, 60.0))
def test_no_stop_of_any_vehicle_travels_further_than_the_envelope_says(speed, brake, jerk):
    path = straight_path(max(speed, 1.0), reach=600.0)
    made, _ = stop(path, ego(speed), 0.0, Manoeuvre(brake, jerk), 0.0, CONFIG)
    assert made.x[-1] <= float(fallback_distance(speed, 0, 0, brake, jerk)) + 1e-6
    assert made.speed[-1] == 0.0


def test_the_bound_is_not_idle():
    made, _ = halt(20.0)
    assert made.x[-1] > 0.97 * float(fallback_distance(20.0, 0, 0, 7.0, 15.0))


@given(st.floats(5.0, 40.0), st.floats(2.5, 7.0))
def test_a_stop_is_never_weaker_than_the_braking_that_is_on(speed, braking):
    made, demand = halt(speed, Mode.COMFORT_STOP, now=-braking, floor=braking)
    assert rates(made)[:-1].max() <= -braking + 1e-6
    assert demand == pytest.approx(-braking)
    _, without = halt(speed, Mode.COMFORT_STOP, now=-braking, floor=0.0)
    assert without > -braking


def test_a_milder_stop_lets_go_at_the_rate_of_its_own_jerk():
    f, now, demands = CONFIG.fallback, -7.0, []
    for _ in range(200):
        _, now = halt(20.0, Mode.COMFORT_STOP, now=now)
        demands.append(now)
    assert np.diff([-7.0, *demands]).max() <= f.comfort_jerk * CONFIG.timing.period + 1e-9
    assert demands[-1] == pytest.approx(-f.comfort_deceleration)


def test_the_demand_ramps_up_tick_by_tick_to_the_full_deceleration():
    f, now, ticks = CONFIG.fallback, 0.0, 0
    while now > -f.emergency_deceleration + 1e-9:
        _, now = halt(20.0, now=now)
        ticks += 1
    ramp = f.emergency_deceleration / f.emergency_jerk
    assert ticks == int(np.ceil(ramp / CONFIG.timing.period - 1e-9))


def test_present_acceleration_ends_at_once():
    assert halt(20.0, now=3.0)[0].x == pytest.approx(halt(20.0, now=0.0)[0].x)


def test_a_standing_ego_stays_where_it_is():
    for mode in STOPS:
        made, _ = halt(0.0, mode)
        assert (made.speed == 0).all()
        assert np.ptp(made.x) == 0.0
        assert made.time[-1] >= fallback.HORIZON


def test_a_stop_backwards_goes_backwards():
    path = path_of(plan(-2.0), ego(-2.0), 10.0)
    made, demand = stop(path, ego(-2.0), 0.0, manoeuvre(Mode.FIRM_STOP, CONFIG), 0.0, CONFIG)
    forward = straight_path(2.0, reach=10.0)
    mirrored, _ = stop(forward, ego(2.0), 0.0, manoeuvre(Mode.FIRM_STOP, CONFIG), 0.0, CONFIG)
    assert made.x == pytest.approx(-mirrored.x)
    assert made.speed == pytest.approx(-mirrored.speed)
    assert made.yaw == pytest.approx(np.zeros(len(made.yaw)), abs=1e-9)
    assert demand < 0


def test_a_stop_follows_the_bend_and_goes_straight_beyond_the_path():
    path = path_of(plan(10.0, curvature=0.02), ego(10.0), 5.0)
    made, _ = stop(path, ego(10.0), 0.0, manoeuvre(Mode.COMFORT_STOP, CONFIG), 0.0, CONFIG)
    assert np.hypot(made.x, made.y - 50.0) == pytest.approx(np.full(len(made.x), 50.0), abs=0.02)
    short = extrapolation(ego(20.0, yaw=0.5), CONFIG.vehicle, 0.5, 0.0, 5.0).path()
    made, _ = stop(short, ego(20.0), 0.0, manoeuvre(Mode.COMFORT_STOP, CONFIG), 0.0, CONFIG)
    assert made.y == pytest.approx(np.tan(0.5) * made.x)
    assert np.hypot(made.x, made.y)[-1] > 100.0


# --- friction -------------------------------------------------------------------------------------------------------


@given(st.floats(0.0, 40.0), st.floats(-0.2, 0.2))
def test_grip_is_what_the_circle_leaves(speed, curvature):
    left = grip(speed, curvature, CONFIG.odd)
    circle = GRAVITY * CONFIG.odd.friction_min * np.cos(CONFIG.odd.grade_max)
    assert 0.0 <= left <= circle
    if left > 0:
        total = (left + GRAVITY * np.sin(CONFIG.odd.grade_max)) ** 2 + (speed**2 * curvature) ** 2
        assert total == pytest.approx(circle**2)
    assert grip(speed, curvature, CONFIG.odd) == grip(speed, -curvature, CONFIG.odd)


def test_on_a_straight_the_emergency_deceleration_is_there_and_in_a_sharp_bend_it_is_not():
    assert grip(30.0, 0.0, CONFIG.odd) >= CONFIG.fallback.emergency_deceleration
    bend = path_of(plan(20.0, curvature=6.0 / 400.0), ego(20.0), 60.0)
    made, _ = halt(20.0, path=bend)
    allowed = grip(float(upper_speed(20.0, CONFIG.envelope)), 6.0 / 400.0, CONFIG.odd)
    assert allowed < 5.0
    assert rates(made).min() == pytest.approx(-allowed, rel=0.02)
    assert rates(halt(20.0)[0]).min() == pytest.approx(-CONFIG.fallback.emergency_deceleration)


def test_where_a_bend_leaves_nothing_some_braking_is_left():
    bend = path_of(plan(20.0, curvature=0.05), ego(20.0), 60.0)
    made, demand = halt(20.0, path=bend)
    assert made.speed[-1] == 0.0
    assert demand < 0


def bending_from(start):
    """A straight path that bends with 0.06 1/m from `start` [m] on."""
    path = straight_path(10.0, reach=60.0)
    return replace(path, heading=0.06 * np.maximum(path.s - start, 0.0))


def test_a_bend_counts_as_far_as_twice_the_stopping_distance():
    e = CONFIG.envelope
    v = float(upper_speed(10.0, e))
    ramp = e.assumed_brake / e.assumed_jerk + CONFIG.timing.commit + CONFIG.timing.actuation_delay
    twice = 2 * (v * ramp + v * v / (2 * e.assumed_brake))
    inside, beyond = (fallback.left_at_once(bending_from(twice + d), ego(10.0), CONFIG) for d in (-3.0, 3.0))
    assert (inside, beyond) == pytest.approx((grip(v, 0.06, CONFIG.odd), grip(v, 0.0, CONFIG.odd)))
    assert grip(v, 0.06, CONFIG.odd) < grip(v, 0.0, CONFIG.odd) - 1.0


def bend_at(start, curvature=0.1, speed=12.0):
    """A straight path that bends from `start` [m] on, with points every metre."""
    path = straight_path(speed, reach=150.0)
    return replace(path, heading=curvature * np.maximum(path.s - start, 0.0))


def used(path, speed, brake, now=None):
    """Largest share of the friction circle that a stop from `speed` [m/s] needs at any place, and where it ends [m]."""
    e, t, odd = CONFIG.envelope, CONFIG.timing, CONFIG.odd
    v = float(upper_speed(speed, e))
    wait = t.commit + t.actuation_delay if now is None else 0.0
    time = np.arange(0.0, 20.0, 0.005)
    s, speeds = fallback.course(v, now or 0.0, brake, e.assumed_jerk, time, wait)
    bend = np.interp(s, path.s, np.gradient(path.heading, path.s))
    circle = GRAVITY * odd.friction_min * np.cos(odd.grade_max)
    total = np.hypot(speeds * speeds * bend, np.where(speeds > 0, brake + GRAVITY * np.sin(odd.grade_max), 0.0))
    return float(total.max()) / circle, float(s[-1])


def test_a_bend_that_a_stop_does_not_reach_or_reaches_slowly_leaves_it_the_whole_brake():
    assert grip(12.0, 0.1, CONFIG.odd) == 0.0  # at its present speed ego could not even drive through
    for start in (18.0, 25.0, 40.0):
        left = fallback.brake_left(bend_at(start), ego(12.0), CONFIG)
        assert left == pytest.approx(CONFIG.envelope.assumed_brake), start
        assert used(bend_at(start), 12.0, left)[0] <= 1.0


def test_a_bend_that_ego_enters_at_once_leaves_what_it_leaves_at_its_speed():
    left = fallback.brake_left(bend_at(0.0, 0.04), ego(12.0), CONFIG)
    v = float(upper_speed(12.0, CONFIG.envelope))
    assert left == pytest.approx(grip(v, 0.04, CONFIG.odd))
    assert fallback.brake_left(bend_at(0.0, 0.1), ego(12.0), CONFIG) == fallback.MIN_DECELERATION


@pytest.mark.parametrize("curvature", [0.05, 0.08, 0.15])
@pytest.mark.parametrize("speed", [6.0, 10.0, 14.0])
@pytest.mark.parametrize("start", np.arange(2.0, 40.0, 3.0))
def test_a_stop_by_what_is_left_stays_inside_the_friction_circle_in_every_bend(start, speed, curvature):
    path = bend_at(start, curvature, speed)
    left = fallback.brake_left(path, ego(speed), CONFIG)
    if left > fallback.MIN_DECELERATION:
        assert used(path, speed, min(left, CONFIG.envelope.assumed_brake))[0] <= 1.0 + 1e-6


def test_a_brake_that_is_not_left_would_leave_the_friction_circle():
    path = bend_at(6.0)  # sharper than the circle allows at this speed, too near to be slow enough by then
    assert fallback.brake_left(path, ego(12.0), CONFIG) == fallback.MIN_DECELERATION
    assert min(used(path, 12.0, float(brake))[0] for brake in CONFIG.envelope.assumed_brake * fallback.BRAKES) > 1.0


@pytest.mark.parametrize("start", [17.0, 18.0, 20.0, 25.0])
def test_what_is_left_at_first_is_left_in_every_later_tick_of_the_stop(start):
    path, speed = bend_at(start), 12.0
    first = fallback.brake_left(path, ego(speed), CONFIG)
    assert first > 1.0
    t = CONFIG.timing
    time = np.arange(0.0, 6.0, t.period)
    s, v = fallback.course(speed, 0.0, first, CONFIG.envelope.assumed_jerk, time, t.commit + t.actuation_delay)
    braked = -np.clip((time - t.commit - t.actuation_delay) * CONFIG.envelope.assumed_jerk, 0.0, first)
    for travelled, now, on in zip(s, v, braked, strict=True):
        if now > 0.5:
            rest = replace(path, s=path.s, heading=np.interp(path.s + travelled, path.s, path.heading))
            assert fallback.brake_left(rest, ego(float(now)), CONFIG, float(on)) >= first - 1e-9


def test_a_brake_that_is_on_needs_no_time_to_begin():
    path = bend_at(8.0)
    begins, brakes = (fallback.brake_left(path, ego(10.0), CONFIG, now) for now in (None, -4.0))
    assert brakes > begins + 1.0


@pytest.mark.parametrize("friction", [0.2, 0.4, 0.8])
def test_the_lateral_limit_of_a_plan_leaves_something_to_brake_with(friction):
    odd = replace(CONFIG.odd, friction_min=friction)
    limit = fallback.lateral_left(odd)
    assert grip(10.0, limit / 100.0, odd) == pytest.approx(fallback.MIN_DECELERATION)
    assert grip(10.0, 1.05 * limit / 100.0, odd) < fallback.MIN_DECELERATION
    assert fallback.lateral_left(replace(CONFIG.odd, friction_min=0.05)) == 0.0


def test_less_friction_brakes_less():
    slippery = config({"odd.friction_min": 0.4, "fallback.emergency_deceleration": 3.0,
                       "fallback.firm_deceleration": 3.0}, front=RADAR)
    bend = path_of(plan(20.0, curvature=3.0 / 400.0), ego(20.0), 60.0)
    assert rates(halt(20.0, path=bend, by=slippery)[0]).min() > -3.0 + 0.3


# --- caps -----------------------------------------------------------------------------------------------------------

COMFORT = manoeuvre(Mode.SPEED_CAP, CONFIG)


def limited(by_plan, cap, speed=None, reach=60.0):
    now = ego(by_plan.speed[0] if speed is None else speed)
    return capped(path_of(by_plan, now, reach), now, cap, COMFORT)


@given(st.floats(0.0, 30.0), st.floats(0.0, 30.0))
def test_a_cap_is_reached_comfortably_and_then_respected(speed, cap):
    made, demand = limited(plan(speed), cap)
    a = np.diff(made.speed) / DT
    assert a.min() >= -COMFORT.deceleration - 1e-6
    arrived = np.maximum(speed - cap, 0.0) / COMFORT.deceleration + DT
    assert (made.speed[made.time >= arrived] <= cap + 1e-6).all()
    assert (made.speed <= speed + 1e-6).all()
    assert demand == pytest.approx(a[0])


def test_without_need_a_cap_changes_nothing():
    made, demand = limited(plan(10.0), 12.0)
    assert made.speed == pytest.approx(np.full(len(made.speed), 10.0))
    assert demand == pytest.approx(0.0)
    assert made.x == pytest.approx(10.0 * made.time)


@pytest.mark.parametrize(("speed", "distance"), [(20.0, 40.0), (20.0, 100.0), (10.0, 8.0), (3.0, 1.5), (-2.0, 1.0)])
@pytest.mark.parametrize("cap", [40.0, 6.0])
def test_a_capped_plan_still_makes_the_stop_of_the_plan(speed, distance, cap):
    made, _ = limited(stop_plan(speed, distance), cap)
    assert abs(made.x[-1]) <= distance + 0.05
    if cap == 40.0 and distance / abs(speed) * 2 < fallback.HORIZON:
        assert made.speed[-1] == pytest.approx(0.0, abs=0.05)
        assert abs(made.x[-1]) >= distance * 0.9


def test_a_capped_plan_starts_from_rest_and_not_harder_than_the_plan():
    made, demand = limited(plan(0.0, acceleration=1.0), 2.0)
    assert made.speed.max() == pytest.approx(2.0)
    assert 0.0 < demand <= 1.01
    assert (np.diff(made.speed) / DT).max() <= 1.01
    assert limited(plan(0.0), 2.0)[0].speed.max() == 0.0


def test_a_cap_of_zero_stops():
    made, demand = limited(plan(4.0), 0.0)
    assert made.speed[-1] == 0.0
    assert demand == pytest.approx(-COMFORT.deceleration)


def test_a_slower_bend_later_in_the_plan_is_kept_slow():
    slowing = plan(20.0, acceleration=-1.0, duration=10.0)
    slowing = replace(slowing, speed=np.maximum(slowing.speed, 12.0))
    path = path_of(slowing, ego(20.0), 60.0)
    made, _ = capped(path, ego(20.0), 15.0, COMFORT)
    allowed = np.interp(made.x, path.s, path.speed)
    assert (made.speed <= allowed + 0.2).all()


# --- the same by formula, to the last term --------------------------------------------------------------------------


def integrated(speed, start, target, jerk, time, delay=0.0, dt=1e-4):
    """Travel and speed of a stop by small steps."""
    steps = round(float(time[-1]) / dt) + 1
    s, v, a, moved, went = 0.0, speed, start, [0.0], [speed]
    for i in range(steps):
        if i * dt >= delay:
            a = max(a - jerk * dt, -target) if a > -target else min(a + jerk * dt, -target)
        after = max(v + a * dt, 0.0)
        s, v = s + (v + after) / 2 * dt, after
        if after == 0.0:
            moved += [s] * (steps - i)
            went += [0.0] * (steps - i)
            break
        moved.append(s)
        went.append(v)
    at = np.round(time / dt).astype(int)
    return np.array(moved)[at], np.array(went)[at]


@pytest.mark.parametrize(
    ("speed", "start", "target", "jerk", "delay"),
    [(15.0, 0.0, 4.0, 4.0, 0.0), (15.0, -2.0, 4.0, 4.0, 0.0), (15.0, -6.0, 4.0, 4.0, 0.0), (15.0, -4.0, 4.0, 4.0, 0.0),
     (15.0, -6.0, 3.0, 2.0, 0.4), (8.0, 0.0, 2.0, 1.0, 0.0), (30.0, 0.0, 7.0, 15.0, 0.15),
     (12.0, -1.0, 5.0, 10.0, 0.2)],
)  # fmt: skip
def test_the_course_of_a_stop_is_that_of_its_jerk(speed, start, target, jerk, delay):
    time = np.arange(0.0, 12.0, DT)
    s, v = fallback.course(speed, start, target, jerk, time, delay)
    moved, went = integrated(speed, start, target, jerk, time, delay)
    assert v == pytest.approx(went, abs=3e-3)
    assert s == pytest.approx(moved, abs=5e-3)
    assert (np.diff(s) >= 0).all()


def test_a_stop_is_followed_to_its_end_and_hardly_further():
    for speed in (30.0, 12.0):
        made, _ = halt(speed, Mode.COMFORT_STOP)
        mrm = manoeuvre(Mode.COMFORT_STOP, CONFIG)
        end = speed / mrm.deceleration + 2 * mrm.deceleration / mrm.jerk + DT
        assert made.time[-1] == pytest.approx(end, abs=DT)
        assert made.speed[-1] == 0.0
    assert halt(1.0)[0].time[-1] == pytest.approx(fallback.HORIZON)


def test_letting_go_of_the_brake_ends_at_no_acceleration():
    path = straight_path(20.0)
    made, demand = fallback.coast(path, ego(20.0), -3.0, CONFIG)
    jerk = CONFIG.fallback.emergency_jerk
    assert demand == pytest.approx(-3.0 + jerk * CONFIG.timing.period)
    assert made.speed[-1] == pytest.approx(20.0 - 9.0 / (2 * jerk))
    assert made.time == pytest.approx(np.linspace(0.0, fallback.HORIZON, round(fallback.HORIZON / DT) + 1))
    for now in (0.0, 0.5):
        steady, demand = fallback.coast(path, ego(20.0), now, CONFIG)
        assert steady.speed == pytest.approx(np.full(len(steady.speed), 20.0))
        assert demand == 0.0


def test_a_cap_spans_the_horizon_and_neither_speeds_up_nor_brakes_more_than_it_may():
    behind, _ = limited(plan(10.0), 20.0, speed=9.0)
    assert behind.time == pytest.approx(np.linspace(0.0, fallback.HORIZON, round(fallback.HORIZON / DT) + 1))
    assert behind.speed == pytest.approx(np.full(len(behind.speed), 9.0))  # the plan itself does not speed up
    faster, _ = limited(plan(10.0), 20.0, speed=15.0)
    assert faster.speed[1] == pytest.approx(15.0 - COMFORT.deceleration * DT)
    later = stop_plan(10.0, 30.0)
    capped_early, demand = limited(replace(later, speed=np.maximum(later.speed, 8.0)), 5.0)
    assert demand >= -COMFORT.deceleration - 1e-9
    assert np.diff(capped_early.speed)[0] / DT == pytest.approx(demand)


@pytest.mark.parametrize("yaw", [0.0, 3.0, 3.5, -3.5, 9.0, -9.0])
def test_the_yaw_of_a_trajectory_is_wrapped_and_that_of_the_way(yaw):
    made = halt(5.0, path=path_of(plan(5.0, yaw=yaw), ego(5.0, yaw=yaw), 30.0))[0]
    assert (np.abs(made.yaw) <= np.pi + 1e-12).all()
    assert np.cos(made.yaw - yaw) == pytest.approx(np.ones(len(made.yaw)))


def test_the_sharpest_bend_counts_up_to_the_first_sample_beyond_twice_the_stopping_distance():
    e, t = CONFIG.envelope, CONFIG.timing
    v = float(upper_speed(10.0, e))
    reach = 2 * (v * (e.assumed_brake / e.assumed_jerk + t.commit + t.actuation_delay) + v * v / (2 * e.assumed_brake))
    free = grip(v, 0.0, CONFIG.odd)
    for begin, counts in ((reach - 2.0, True), (reach + 6.0, False)):
        path = straight_path(10.0, reach=95.0)
        heading = np.where(path.s > begin, 0.08 * (path.s - begin), 0.0)
        left = fallback.left_at_once(replace(path, heading=heading), ego(10.0), CONFIG)
        assert (left < free - 0.1) is counts, begin


@pytest.mark.parametrize("yaw", [0.3, 3.1, -3.1])
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_who_did_what_a_trajectory_says_is_where_it_leads_and_turns_by_its_bend(yaw, way):
    told = plan(way * 10.0, acceleration=-2.0, curvature=way * 0.02, yaw=yaw)
    wrapped = replace(told, yaw=(told.yaw + np.pi) % (2 * np.pi) - np.pi)
    now = ego(way * 10.0, x=99.0, y=-99.0, yaw=1.0, yaw_rate=0.4, t=T + 750_000_000)
    there = fallback.followed(wrapped, now)
    between = {name: np.interp(0.75, told.time, getattr(told, name)) for name in ("x", "y", "yaw")}
    assert there.t == now.t
    assert (there.x, there.y) == pytest.approx((between["x"], between["y"]))
    assert there.speed == pytest.approx(way * 8.5)
    assert -np.pi <= there.yaw < np.pi
    assert np.exp(1j * there.yaw) == pytest.approx(np.exp(1j * between["yaw"]))
    assert there.yaw_rate == pytest.approx(0.4 * 0.85)


def test_who_is_slower_than_the_trajectory_says_or_stands_keeps_the_yaw_rate():
    slower, standing = ego(8.0, yaw_rate=0.4, t=T + 750_000_000), ego(0.0, yaw_rate=0.01, t=T + 750_000_000)
    assert fallback.followed(plan(10.0), slower).yaw_rate == 0.4
    assert fallback.followed(plan(10.0), slower).speed == 10.0
    assert fallback.followed(plan(0.0), standing).yaw_rate == 0.0  # that of what is told, which stands


@pytest.mark.parametrize("speed", [2.05, 2.1, 2.35])
def test_a_stop_ends_where_its_last_bit_of_speed_ends_between_two_samples(speed):
    s, v = fallback.course(speed, 0.0, 4.0, 4.0, np.arange(0.0, 5.0, DT))  # the brake is full after a second
    assert s[-1] == pytest.approx(speed - 4.0 / 6.0 + (speed - 2.0) ** 2 / 8.0, abs=1e-9)
    assert v[-1] == 0.0


def test_a_stop_that_ends_within_its_first_step_ends_there():
    s, v = fallback.course(0.05, -4.0, 4.0, 4.0, np.arange(0.0, 5.0, DT))
    assert s[1:] == pytest.approx(np.full(len(s) - 1, 0.05**2 / 8.0), abs=1e-12)
    assert (v[1:] == 0.0).all()


def test_a_stop_that_begins_at_its_full_brake_is_not_told_for_longer():
    mrm = manoeuvre(Mode.COMFORT_STOP, CONFIG)
    made, _ = halt(30.0, Mode.COMFORT_STOP, now=-mrm.deceleration)
    assert made.time[-1] == pytest.approx(30.0 / mrm.deceleration + DT, abs=DT)


@pytest.mark.parametrize(("after", "counts"), [(0, True), (1, False)])
def test_the_sample_just_at_the_limit_is_the_last_whose_bend_counts(after, counts):
    e, t, step = CONFIG.envelope, CONFIG.timing, 0.5
    v = float(upper_speed(10.0, e))
    stopping = v * (e.assumed_brake / e.assumed_jerk + t.commit + t.actuation_delay)
    stopping += v * v / (2 * e.assumed_brake)
    path, limit = straight_path(10.0), 2 * stopping + step
    before = np.arange(30) * step
    s = np.concatenate([before, limit + step * np.arange(len(path.s) - 30)])
    heading = np.where(np.arange(len(s)) > 30 + after, 0.06 * (s - s[30 + after]), 0.0)
    left = fallback.left_at_once(replace(path, s=s, heading=heading), ego(10.0), CONFIG)
    assert (left < grip(v, 0.0, CONFIG.odd) - 0.1) is counts


# --- a cap between two samples of the path ---------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.9, 1.2, 1.5, 1.7, 1.9])
def test_where_samples_lie_far_apart_a_capped_plan_still_ends_where_the_plan_does(distance):
    by_plan = stop_plan(3.0, distance)
    made, _ = limited(by_plan, 40.0, reach=190.0)  # two metres apart
    assert 0.9 * distance <= made.x[-1] <= distance
    assert made.speed[-1] == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("shift", np.linspace(0.0, 4.0, 9).tolist())
def test_where_samples_lie_far_apart_a_capped_plan_is_as_slow_as_the_plan_at_its_end(shift):
    slowing = plan(10.0, 8.0, -2.0)
    slowing = replace(slowing, speed=np.maximum(slowing.speed, 5.0))
    time = slowing.time
    travel = np.concatenate([[0.0], np.cumsum((slowing.speed[1:] + slowing.speed[:-1]) / 2 * np.diff(time))])
    slowing = replace(slowing, x=travel)
    ends = time <= 2.5
    short = replace(slowing, **{name: getattr(slowing, name)[ends] for name in ("time", "x", "y", "yaw", "speed")})
    now = ego(float(np.interp(shift, short.x, short.speed)), x=shift)
    path = path_of(short, now, 380.0)
    made, _ = capped(path, now, 40.0, COMFORT)
    hard = max(COMFORT.deceleration, 2.0) + fallback.SPARE
    at = made.x - shift
    bound = np.sqrt(25.0 + 2 * hard * np.maximum(path.length - at[:-1] - made.speed[:-1] * DT, 0.0))
    assert (made.speed[1:] <= bound + 0.01).all()
    assert made.speed.min() >= 5.0 - 0.05


def test_a_capped_plan_that_speeds_up_ends_at_its_own_last_speed():
    made, _ = limited(plan(5.0, 3.0, 1.0), 40.0, reach=1.0)
    assert made.speed[-1] == pytest.approx(8.0, abs=1e-9)


def test_a_capped_plan_looks_ahead_by_the_step_that_it_is_about_to_take():
    path = path_of(plan(10.0, 8.0, -2.0), ego(10.0), 30.0)
    made, _ = capped(path, ego(10.0), 40.0, COMFORT)
    for i in range(1, 8):
        ahead = made.x[i - 1] + made.speed[i - 1] * DT
        assert made.speed[i] == pytest.approx(np.interp(ahead, path.s, path.speed))
