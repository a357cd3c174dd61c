"""Each way in which a plan can be wrong, alone; and good plans, which are none of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import CONFIG, RADAR, T, changed, config, ego, plan, stop_plan
from hypothesis import given
from hypothesis import strategies as st
from strategies import ABSURD, plans

from safety_supervisor.core.plan_check import SLIP_MAX, check_plan
from safety_supervisor.core.world import Code

NAN, INF = float("nan"), float("inf")
COLUMNS = ("time", "x", "y", "yaw", "speed")


def codes(value, now=None, previous=None, by=CONFIG):
    return [f.code for f in check_plan(value, previous, now or ego(20.0), by)]


def told(value, now=None, previous=None):
    return "; ".join(f.text for f in check_plan(value, previous, now or ego(20.0), CONFIG))


# --- good plans -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "now"),
    [
        (plan(20.0), ego(20.0)),
        (plan(20.0, curvature=0.01), ego(20.0)),
        (plan(20.0, acceleration=2.0), ego(20.0)),
        (plan(20.0, acceleration=-6.0), ego(20.0)),
        (stop_plan(10.0, 20.0), ego(10.0)),
        (plan(0.0), ego(0.0)),
        (plan(0.0, acceleration=1.0, duration=6.0), ego(0.0)),
        (plan(-2.0, acceleration=-0.5), ego(-2.0)),
        (stop_plan(-2.0, 4.0, curvature=0.15), ego(-2.0)),
        (plan(5.0, yaw=3.1, curvature=0.05), ego(5.0, yaw=3.1)),
        (plan(5.0, yaw=3.1), ego(5.0, yaw=3.1 - 2 * np.pi)),
        (plan(20.0, dt=0.5), ego(20.0)),
        (plan(20.0, t=T - 200_000_000, x=-4.0), ego(20.0)),
        (plan(20.0, t=T + 20_000_000, x=0.4), ego(20.0)),
        (plan(20.0), ego(20.0, yaw_rate=NAN)),
    ],
)  # fmt: skip
def test_a_good_plan_has_no_findings(good, now):
    assert codes(good, now) == []
    assert codes(good, now, previous=good) == []


def test_a_stop_may_be_written_as_identical_points():
    stop = stop_plan(10.0, 20.0, duration=12.0)
    assert (np.diff(stop.x) == 0).any()
    assert codes(stop, ego(10.0)) == []


# --- shape ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_number_that_is_not_finite_is_named_with_its_point_and_column(column, value, at):
    bad = changed(plan(20.0), **{column: {at: value}})
    assert codes(bad) == [Code.PLAN_NOT_FINITE]
    assert f"point {at % 81}: {column} is {value}" in told(bad)


@pytest.mark.parametrize("column", COLUMNS)
def test_columns_of_different_length_are_invalid(column):
    short = replace(plan(20.0), **{column: np.zeros(5)})
    assert codes(short) == [Code.PLAN_INVALID]
    assert f"'{column}': 5" in told(short)


@pytest.mark.parametrize("points", [0, 1])
def test_fewer_than_two_points_are_too_short(points):
    few = plan(20.0)
    few = replace(few, **{name: getattr(few, name)[:points] for name in COLUMNS})
    assert codes(few) == [Code.PLAN_TOO_SHORT]


@pytest.mark.parametrize("time", [1.9, 1.85, -5.0])
def test_times_that_do_not_increase_are_named(time):
    assert codes(changed(plan(20.0), time={20: time})) == [Code.PLAN_NOT_ORDERED]
    assert "point 20" in told(changed(plan(20.0), time={20: time}))


def test_a_hole_in_time_is_invalid_and_a_regular_coarse_plan_is_not():
    limit = CONFIG.plan_check.interval_max
    good = plan(20.0)
    gone = range(20, 20 + round(limit / 0.1))
    hole = replace(good, **{name: np.delete(getattr(good, name), gone) for name in COLUMNS})
    assert codes(hole) == [Code.PLAN_INVALID]
    assert codes(plan(20.0, dt=limit * 0.99)) == []


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", [v for v in ABSURD if np.isfinite(v) and abs(v) > 1e5])
def test_huge_numbers_are_never_accepted(column, value):
    with np.errstate(all="ignore"):
        assert codes(changed(plan(20.0), **{column: {40: value}}))
        assert codes(changed(plan(20.0), **{column: {-1: value}}))


@given(plans(T))
def test_no_plan_at_all_raises(any_plan):
    with np.errstate(all="ignore"):
        check_plan(any_plan, None, ego(20.0), CONFIG)
        check_plan(any_plan, any_plan, ego(0.0), CONFIG)
        check_plan(plan(20.0), any_plan, ego(20.0), CONFIG)


# --- where ego is ---------------------------------------------------------------------------------------------------

LIMITS = CONFIG.plan_check


@pytest.mark.parametrize(
    ("inside", "outside", "why"),
    [
        ({"y": LIMITS.lateral_offset_max - 0.01}, {"y": LIMITS.lateral_offset_max + 0.01}, "beside ego"),
        ({"y": -LIMITS.lateral_offset_max + 0.01}, {"y": -LIMITS.lateral_offset_max - 0.01}, "beside ego"),
        ({"x": 3.4}, {"x": 3.6}, "ahead of or behind ego"),
        ({"x": -3.4}, {"x": -3.6}, "ahead of or behind ego"),
        ({"yaw": LIMITS.heading_offset_max - 0.01}, {"yaw": LIMITS.heading_offset_max + 0.01}, "against ego's heading"),
        ({"yaw": -LIMITS.heading_offset_max + 0.01}, {"yaw": np.pi}, "against ego's heading"),
        ({"speed": 20.0 + LIMITS.speed_offset_max - 0.01}, {"speed": 20.0 + LIMITS.speed_offset_max + 0.01},
         "off ego's speed"),
        ({"speed": 20.0 - LIMITS.speed_offset_max + 0.01}, {"speed": -20.0}, "off ego's speed"),
    ],
)
def test_a_plan_must_start_where_ego_is(inside, outside, why):
    assert codes(plan(20.0), ego(**{"speed": 20.0, **inside})) == []
    assert codes(plan(20.0), ego(**{"speed": 20.0, **outside})) == [Code.PLAN_OFF_EGO]
    assert why in told(plan(20.0), ego(**{"speed": 20.0, **outside}))


def test_the_start_is_compared_at_the_plan_s_own_time():
    old = plan(20.0, t=T - 1_000_000_000)
    assert codes(old, ego(20.0, x=20.0)) == []
    assert Code.PLAN_OFF_EGO in codes(old, ego(20.0, x=0.0))


def test_an_ego_of_unknown_pose_fits_no_plan():
    for bad in ({"x": NAN}, {"y": NAN}, {"yaw": NAN}, {"speed": NAN}):
        assert Code.PLAN_OFF_EGO in codes(plan(20.0), ego(**{"speed": 20.0, **bad}))


# --- feasible -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "now", "why"),
    [
        (plan(20.0, acceleration=LIMITS.acceleration_max + 0.1, duration=4.0), ego(20.0), "accelerates by"),
        (plan(20.0, acceleration=-LIMITS.deceleration_max - 0.1), ego(20.0), "brakes by"),
        (plan(3.0, curvature=CONFIG.vehicle.curvature_max * 1.2), ego(3.0), "bends by"),
        (plan(20.0, curvature=(LIMITS.lateral_acceleration_max + 0.2) / 400.0), ego(20.0), "asks lateral"),
        (plan(CONFIG.odd.speed_max * 1.06), ego(CONFIG.odd.speed_max * 1.06), "drives"),
        (changed(stop_plan(2.0, 2.0), yaw=dict.fromkeys(range(60, 81), 0.3)), ego(2.0), "turns on the spot"),
        (replace(plan(10.0), speed=plan(5.0).speed), ego(5.0), "faster or slower than its own speeds"),
        (replace(plan(3.0), speed=plan(8.0).speed), ego(8.0), "faster or slower than its own speeds"),
        (replace(plan(5.0), x=-plan(5.0).x), ego(5.0), "off its own heading"),
        (replace(plan(5.0), x=plan(5.0).y, y=plan(5.0).x), ego(5.0), "off its own heading"),
    ],
)
def test_what_no_vehicle_can_drive_is_infeasible(bad, now, why):
    found = check_plan(bad, None, now, CONFIG)
    assert {f.code for f in found} == {Code.PLAN_INFEASIBLE}
    assert why in "; ".join(f.text for f in found)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("good", "now"),
    [
        (plan(20.0, acceleration=LIMITS.acceleration_max - 0.1, duration=3.0), ego(20.0)),
        (plan(20.0, acceleration=-LIMITS.deceleration_max + 0.1), ego(20.0)),
        (plan(3.0, curvature=CONFIG.vehicle.curvature_max * 1.05), ego(3.0)),
        (plan(20.0, curvature=(LIMITS.lateral_acceleration_max - 0.2) / 400.0), ego(20.0)),
        (plan(CONFIG.odd.speed_max * 1.04), ego(CONFIG.odd.speed_max * 1.04)),
        (changed(plan(5.0), y=dict.fromkeys(range(40, 81), 0.45 * np.tan(SLIP_MAX))), ego(5.0)),
    ],
)
def test_what_is_just_inside_the_limits_is_feasible(good, now):
    assert codes(good, now) == []


def test_less_friction_allows_less_lateral_acceleration():
    slippery = config({"odd.friction_min": 0.4, "fallback.emergency_deceleration": 3.0,
                       "fallback.firm_deceleration": 3.0}, front=RADAR)
    bend = plan(20.0, curvature=5.0 / 400.0)
    assert codes(bend) == []
    assert codes(bend, by=slippery) == [Code.PLAN_INFEASIBLE]


# --- long enough ----------------------------------------------------------------------------------------------------


def test_a_plan_must_be_long_enough_to_stop_in():
    assert codes(plan(20.0, duration=3.0)) == []
    assert codes(plan(20.0, duration=1.5)) == [Code.PLAN_TOO_SHORT]
    assert "30.0 m left, stopping takes" in told(plan(20.0, duration=1.5))


def test_a_plan_that_ends_in_a_stop_is_long_enough():
    assert codes(stop_plan(10.0, 8.0, duration=4.0), ego(10.0)) == []
    cut = stop_plan(10.0, 8.0, duration=4.0)
    cut = replace(cut, **{name: getattr(cut, name)[:8] for name in COLUMNS})
    assert codes(cut, ego(10.0)) == [Code.PLAN_TOO_SHORT]


def test_only_what_is_left_of_an_old_plan_counts():
    old = plan(20.0, duration=3.0, t=T - 2_000_000_000)
    assert codes(old, ego(20.0, x=40.0)) == [Code.PLAN_TOO_SHORT]


# --- jumps ----------------------------------------------------------------------------------------------------------


def swerve(offset):
    good = plan(20.0)
    return replace(good, y=offset * np.clip(good.time / 1.0, 0.0, 1.0) ** 2)


def test_a_plan_that_jumps_sideways_from_the_one_before_is_refused():
    before = plan(20.0, t=T - 100_000_000, x=-2.0)
    assert codes(swerve(LIMITS.jump_max - 0.1), previous=before) == []
    assert codes(swerve(LIMITS.jump_max + 0.1), previous=before) == [Code.PLAN_JUMP]
    assert codes(swerve(-LIMITS.jump_max - 0.1), previous=before) == [Code.PLAN_JUMP]
    assert codes(swerve(LIMITS.jump_max + 0.1)) == []


def test_a_plan_long_ago_is_not_compared_with():
    before = plan(20.0, t=T - 1_100_000_000, x=-22.0)
    assert codes(swerve(LIMITS.jump_max + 0.1), previous=before) == []


def test_slower_or_faster_on_the_same_line_is_no_jump():
    before = plan(20.0, t=T - 100_000_000, x=-2.0)
    assert codes(plan(20.0, acceleration=-6.0), previous=before) == []


@pytest.mark.parametrize("column", COLUMNS)
def test_a_broken_plan_before_does_not_spoil_the_next(column):
    for broken in (changed(plan(20.0), **{column: {0: NAN}}), replace(plan(20.0), **{column: np.zeros(3)})):
        assert codes(plan(20.0), previous=broken) == []


@given(st.floats(1.0, 30.0), st.floats(-0.02, 0.02), st.floats(-2.0, 2.0))
def test_smooth_plans_inside_the_limits_have_no_findings(speed, curvature, acceleration):
    smooth = plan(speed, curvature=curvature * min(1.0, (8.0 / speed) ** 2), acceleration=acceleration, duration=5.0)
    assert codes(smooth, ego(speed)) in ([], [Code.PLAN_TOO_SHORT])


def turned(value, angle, x=50.0, y=-20.0):
    """The same plan or pose in a frame that is turned and moved."""
    c, s = np.cos(angle), np.sin(angle)
    return replace(value, x=x + c * value.x - s * value.y, y=y + s * value.x + c * value.y, yaw=value.yaw + angle)


@pytest.mark.parametrize("angle", [0.7, np.pi / 2, 2.5, np.pi, -2.0])
@pytest.mark.parametrize("now", [{}, {"y": 0.97}, {"y": 1.03}, {"x": 3.4}, {"x": -3.6}, {"yaw": 0.4}])
@pytest.mark.parametrize("offset", [1.4, 1.6])
def test_where_odom_lies_makes_no_difference(angle, now, offset):
    made, pose, before = swerve(offset), ego(20.0, **now), plan(20.0, t=T - 100_000_000, x=-2.0)
    expected = codes(made, pose, before)
    assert codes(turned(made, angle), turned(pose, angle), turned(before, angle)) == expected
    assert (Code.PLAN_JUMP in expected) == (offset > LIMITS.jump_max)


def test_a_jump_is_measured_at_the_same_moment_of_both_plans():
    # Half a second old, still accelerating in a bend: only at equal times do the two agree.
    before = plan(15.0, curvature=0.01, acceleration=1.0, duration=6.0, t=T - 500_000_000)
    now = ego(15.5, x=float(np.interp(0.5, before.time, before.x)), y=float(np.interp(0.5, before.time, before.y)),
              yaw=float(np.interp(0.5, before.time, before.yaw)))
    again = plan(15.5, curvature=0.01, acceleration=1.0, duration=5.0, x=now.x, y=now.y, yaw=now.yaw)
    assert codes(again, now, previous=before) == []
