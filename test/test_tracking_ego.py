"""Ego between two odometry messages, and the motion of a sensor that sits off base_link."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety_supervisor.core.config import Sensor
from safety_supervisor.core.tracking import EgoHistory, sensor_pose
from safety_supervisor.core.tracking.ego import SAMPLES_MAX, SPAN, beam_speed
from safety_supervisor.core.world import Odometry, nanoseconds, seconds


def on_circle(t: float, speed: float = 10.0, yaw_rate: float = 0.5) -> Odometry:
    radius, turned = speed / yaw_rate, yaw_rate * t
    return Odometry(
        nanoseconds(t), radius * math.sin(turned), radius * (1 - math.cos(turned)), turned, speed, yaw_rate
    )


def straight(t: int, **changes: float) -> Odometry:
    values = {"x": seconds(t), "y": 0.0, "yaw": 0.0, "speed": 1.0, "yaw_rate": 0.0} | changes
    return Odometry(t, **values)


def test_without_odometry_there_is_no_ego():
    assert EgoHistory().at(0) is None


@pytest.mark.parametrize("t", [-0.1, 0.0, 0.013, 0.02, 0.5, 0.6])
def test_ego_is_where_the_circle_is_before_between_and_beyond_the_samples(t):
    history = EgoHistory().updated(on_circle(k * 0.02) for k in range(26))
    ego, truth = history.at(nanoseconds(t)), on_circle(t)
    assert math.hypot(ego.x - truth.x, ego.y - truth.y) < 1e-3
    assert ego.yaw == pytest.approx(truth.yaw, abs=1e-9)
    assert (ego.t, ego.speed) == (truth.t, 10.0)


def test_yaw_is_interpolated_the_short_way():
    history = EgoHistory().updated([straight(0, yaw=math.pi - 0.1), straight(100, yaw=-math.pi + 0.1)])
    assert abs(history.at(50).yaw) == pytest.approx(math.pi)


def test_without_a_yaw_rate_ego_goes_straight_on():
    ego = EgoHistory().updated([straight(0, yaw_rate=math.nan, speed=2.0)]).at(nanoseconds(0.5))
    assert (ego.x, ego.y, ego.yaw) == (pytest.approx(1.0), 0.0, 0.0)
    assert math.isnan(ego.yaw_rate)


@pytest.mark.parametrize("field", ["x", "y", "yaw", "speed"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_unusable_sample_is_left_out(field, value):
    assert EgoHistory().updated([straight(0, **{field: value})]).samples == ()


def test_samples_are_ordered_once_each_and_the_newest_second_stays():
    ms = 1_000_000
    history = EgoHistory().updated([straight(t * ms) for t in (700, 100, 700, 1500, 600)])
    assert [s.t // ms for s in history.samples] == [600, 700, 1500]


def test_of_two_samples_of_one_stamp_the_first_counts():
    history = EgoHistory().updated([straight(5, x=1.0)]).updated([straight(5, x=2.0)])
    assert [s.x for s in history.samples] == [1.0]


def test_memory_is_bounded_at_any_rate():
    history = EgoHistory().updated(straight(k * 1000) for k in range(5000))
    assert len(history.samples) == SAMPLES_MAX
    assert history.samples[-1].t == 4999 * 1000


def test_a_stamp_from_the_future_does_not_blind_for_long():
    history = EgoHistory().updated([straight(0), straight(100 * SPAN), straight(1000), straight(2000)])
    assert [s.t for s in history.samples] == [1000, 2000]


@given(st.lists(st.builds(
    Odometry, st.integers(-(10**12), 10**12), *[st.floats(-1e6, 1e6)] * 4, st.floats(allow_nan=True),
)), st.integers(-(10**12), 10**12))  # fmt: skip
def test_whatever_arrives_the_history_is_ordered_bounded_and_within_a_second(samples, t):
    history = EgoHistory().updated(samples)
    stamps = [s.t for s in history.samples]
    assert all(a < b for a, b in pairwise(stamps))
    assert not stamps or stamps[-1] - stamps[0] <= SPAN
    assert (history.at(t) is None) == (not samples)


@pytest.mark.parametrize("yaw_rate", [0.0, 0.4, -0.7])
def test_pose_and_velocity_of_a_sensor_are_those_of_a_rigid_body(yaw_rate):
    sensor = Sensor(x=3.5, y=0.8, yaw=0.6)

    def at(t: float) -> Odometry:
        return EgoHistory().updated([Odometry(0, 1.0, 2.0, 0.3, 8.0, yaw_rate)]).at(nanoseconds(t))

    pose, before, after = (sensor_pose(at(t), sensor) for t in (0.0, -1e-4, 1e-4))
    numeric = np.array([after.x - before.x, after.y - before.y]) / 2e-4
    assert np.allclose((pose.vx, pose.vy), numeric, atol=1e-6)
    assert pose.yaw == pytest.approx(0.9)
    along = pose.vx * math.cos(pose.yaw) + pose.vy * math.sin(pose.yaw)
    assert beam_speed(at(0.0), sensor) == pytest.approx(along)


def test_an_unknown_yaw_rate_gives_no_lever_arm_speed():
    pose = sensor_pose(Odometry(0, 0.0, 0.0, 0.0, 8.0, math.nan), Sensor(x=3.5))
    assert (pose.vx, pose.vy) == (8.0, 0.0)
