"""Worst-case motion: values by hand, NaN, order, and brute-force simulation of the fallback as it is modelled."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_supervisor.core import motion

speeds = st.floats(0, 60)
responses = st.floats(0, 2)
accelerations = st.floats(0, 6)
brakes = st.floats(0.5, 12)
jerks = st.floats(0.5, 100)
fallbacks = st.tuples(responses, accelerations, brakes, jerks)


def simulate(speed, response, acceleration, brake, jerk, dt=0.002):
    """Drive the modelled fallback in small steps; return distance and time to standstill."""
    x = t = 0.0
    v = speed
    while t < 400:
        # Acceleration at the middle of the step, so that the error is of second order.
        u = max(acceleration - jerk * max(t + dt / 2 - response, 0), -brake)
        if v + u * dt <= 0 and u < 0:
            return x - v * v / (2 * u), t - v / u
        x, v, t = x + v * dt + u * dt * dt / 2, v + u * dt, t + dt
    raise AssertionError("never stopped")


# --- values -------------------------------------------------------------------------------------------------


def test_fallback_distance_from_the_design():
    # v 20, a 2, b 6, j 10, response 0.3 s: the true stop takes 52.44 m, the bound gives 52.65 m.
    assert motion.fallback_distance(20, 0.3, 2, 6, 10) == pytest.approx(52.6533, abs=1e-4)
    assert simulate(20, 0.3, 2, 6, 10)[0] == pytest.approx(52.44, abs=0.01)


def test_fallback_distance_is_exact_on_fractions():
    args = (Fraction(20), Fraction(3, 10), Fraction(2), Fraction(6), Fraction(10))
    assert motion.fallback_distance(*args) == Fraction(3949, 75)
    assert motion.fallback_duration(*args) == Fraction(7, 10) + Fraction(107, 30)


@pytest.mark.parametrize(
    ("speed", "acceleration", "horizon", "expected"),
    [
        (10, 0, 2, 20),
        (10, -5, 1, 7.5),  # still closing at the end
        (10, -5, 2, 10),  # the top is the end
        (10, -5, 9, 10),  # the top is inside
        (-10, 20, 1, 0),  # first away, back at the start at the end
        (-10, 20, 2, 20),
        (-10, -5, 3, 0),
        (0, 0, 5, 0),
        (10, 5, 0, 0),
        (0, -1, 1, 0),
    ],
)
def test_largest_closing(speed, acceleration, horizon, expected):
    assert motion.largest_closing(speed, acceleration, horizon) == expected


def test_largest_closing_warns_of_nothing():
    values = np.array([-60.0, -1e-300, -0.0, 0.0, 5e-324, 1e-300, 1e-9, 1.0, 60.0])
    v, a, h = np.meshgrid(values, values, np.array([0.0, 5e-324, 1.0, 10.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(under="ignore"):
            result = motion.largest_closing(v, a, h)
    assert np.all(np.isfinite(result))
    assert np.all(result >= 0)


@pytest.mark.parametrize("at", range(3))
def test_largest_closing_keeps_nan(at):
    args = [1.0, -1.0, 2.0]
    args[at] = np.nan
    assert np.isnan(motion.largest_closing(*args))


@pytest.mark.parametrize("function", [motion.fallback_distance, motion.fallback_duration, motion.speed_for_distance])
@pytest.mark.parametrize("at", range(5))
def test_fallback_keeps_nan(function, at):
    args = [20.0, 0.3, 1.0, 7.0, 15.0]
    args[at] = np.nan
    assert np.isnan(function(*args))


@pytest.mark.parametrize("at", range(3))
def test_oncoming_distance_keeps_nan(at):
    args = [20.0, 3.0, 1.0]
    args[at] = np.nan
    assert np.isnan(motion.oncoming_distance(*args))


def test_oncoming_distance():
    assert motion.oncoming_distance(10, 2, 3) == 26  # 20 m and 6 m gained
    assert motion.oncoming_distance(1, 2, 3) == 4  # no more than twice the speed
    assert motion.oncoming_distance(0, 2, 3) == 0
    assert motion.oncoming_distance(-5, 2, 3) == 0


@pytest.mark.parametrize("function", [motion.oncoming_stop, motion.class_distance, motion.lateral_distance])
@pytest.mark.parametrize("at", range(4))
def test_ways_of_objects_keep_nan(function, at):
    args = [2.0, 3.0, 1.0, 4.0]
    args[at] = np.nan
    assert np.isnan(function(*args))


def test_oncoming_stop():
    assert motion.oncoming_stop(10, 2, 3, 4) == 26 + 16 * 16 / 8  # 20 m and 6 m gained, then from 16 m/s
    assert motion.oncoming_stop(1, 2, 3, 4) == 4 + 2 * 2 / 8  # no more than twice the speed
    assert motion.oncoming_stop(0, 2, 3, 4) == motion.oncoming_stop(-5, 2, 3, 4) == 0


def test_class_distance():
    assert motion.class_distance(0, 1, 2, 6) == 1  # still gaining speed
    assert motion.class_distance(0, 5, 2, 6) == 9 + 2 * 6  # 3 s to top speed, then 2 s at it
    assert motion.class_distance(8, 5, 2, 6) == 40  # faster than its class: keeps its speed
    assert motion.class_distance(-1, 5, 2, 0) == 0


def test_lateral_distance():
    assert motion.lateral_distance(1, 1, 0.5, 1) == 1.25 + 1.5 * 1.5 / 2
    assert motion.lateral_distance(-1, 1, 0.5, 1) == -0.75  # goes away: counts to the end of the response


def test_negative_speed_and_acceleration_count_as_zero():
    assert motion.fallback_distance(-3.0, 0.3, 1, 7, 15) == motion.fallback_distance(0.0, 0.3, 1, 7, 15)
    assert motion.fallback_distance(9.0, 0.3, -2, 7, 15) == motion.fallback_distance(9.0, 0.3, 0, 7, 15)


def test_arrays_broadcast():
    speed, response = np.linspace(0, 40, 5)[:, None], np.linspace(0, 1, 3)
    result = motion.fallback_distance(speed, response, 1.0, 7.0, 15.0)
    assert result.shape == (5, 3)
    assert result[2, 1] == motion.fallback_distance(20.0, 0.5, 1.0, 7.0, 15.0)
    assert motion.speed_for_distance(speed, response, 1.0, 7.0, 15.0).shape == (5, 3)


# --- against the motion itself ------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(speeds, fallbacks)
def test_simulated_fallback_stays_within_the_bounds(speed, fallback):
    distance, duration = simulate(speed, *fallback, dt=0.01)
    tolerance = 1e-3 + 1e-3 * distance
    assert distance <= motion.fallback_distance(speed, *fallback) + tolerance
    assert duration <= motion.fallback_duration(speed, *fallback) + 0.02


@settings(max_examples=60, deadline=None)
@given(st.floats(10, 60), fallbacks)
def test_the_bound_gives_away_little(speed, fallback):
    _, acceleration, brake, jerk = fallback
    half = (acceleration + brake) / (2 * jerk)
    if speed < 2 * brake * half:
        return  # stops inside the ramp
    given_away = jerk * half**3 / 3
    distance, _ = simulate(speed, *fallback, dt=0.01)
    assert motion.fallback_distance(speed, *fallback) - given_away == pytest.approx(distance, rel=2e-3, abs=0.02)


@given(st.floats(-60, 60), st.floats(-12, 12), st.floats(0, 10), st.floats(0, 1))
def test_no_moment_is_closer_than_the_largest_closing(speed, acceleration, horizon, share):
    t = share * horizon
    assert speed * t + acceleration * t * t / 2 <= motion.largest_closing(speed, acceleration, horizon) + 1e-9


@given(st.floats(-60, 60), st.floats(-12, 12), st.floats(0, 10))
def test_largest_closing_on_floats_is_the_exact_one(speed, acceleration, horizon):
    exact = motion.largest_closing(Fraction(speed), Fraction(acceleration), Fraction(horizon))
    assert abs(Fraction(float(motion.largest_closing(speed, acceleration, horizon))) - exact) < motion.EPS / 2


@given(speeds, speeds, fallbacks)
def test_fallback_is_monotone_in_speed(one, other, fallback):
    low, high = sorted((one, other))
    assert motion.fallback_distance(low, *fallback) <= motion.fallback_distance(high, *fallback)
    assert motion.fallback_duration(low, *fallback) <= motion.fallback_duration(high, *fallback)


# --- speed_for_distance -------------------------------------------------------------------------------------


@given(st.floats(0, 300), fallbacks)
def test_the_capped_speed_stops_inside(distance, fallback):
    cap = motion.speed_for_distance(distance, *fallback)
    assert cap >= 0
    if cap > 0:
        assert distance - motion.fallback_distance(cap, *fallback) >= motion.EPS
        assert motion.fallback_distance(cap + 1e-3, *fallback) > distance
    else:
        assert motion.fallback_distance(1e-3, *fallback) > distance


@pytest.mark.parametrize("distance", [-1.0, 0.0, 1e-9])
def test_no_speed_fits_into_nothing(distance):
    assert motion.speed_for_distance(distance, 0.3, 1.0, 7.0, 15.0) == 0
