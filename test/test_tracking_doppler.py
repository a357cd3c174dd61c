"""Odometry's speed against the standing world."""

from __future__ import annotations

import numpy as np
import pytest

from safety_supervisor.core.config import Sensor
from safety_supervisor.core.tracking.association import Detections
from safety_supervisor.core.tracking.doppler import SpeedCheck, checked
from safety_supervisor.core.tracking.ego import SensorPose
from safety_supervisor.core.tracking.radar import Observation
from safety_supervisor.core.world import nanoseconds

SENSOR = Sensor(topic="front")


def watch(scale, static, platoon=0, scans=400, speed=20.0, read=None):
    """Drive past standing objects, with others that all go 2 m/s; odometry reads 1 / (1 + scale) of the speed."""
    rng, state = np.random.default_rng(4), SpeedCheck()
    pose = SensorPose(0.0, 0.0, 0.0, speed / (1 + scale) if read is None else read, 0.0)
    for k in range(1, scans + 1):
        azimuth = rng.uniform(-0.8, 0.8, static + platoon)
        own = np.concatenate([np.zeros(static), np.full(platoon, 2.0)])
        z = np.column_stack([rng.uniform(5, 100, len(azimuth)), azimuth, (own - speed) * np.cos(azimuth)])
        z[:, 2] += rng.normal(0, 0.12, len(z))
        found = Detections(z, np.full(z.shape, 0.12**2))
        state = checked(state, Observation(nanoseconds(0.05 * k), found, pose, SENSOR))
    return state


@pytest.mark.parametrize("scale", [-0.02, -0.009, 0.0, 0.009, 0.02])
def test_the_scale_of_odometry_is_found_among_few_standing_objects(scale):
    state = watch(scale, static=2)
    assert state.trusted
    assert state.scale == pytest.approx(scale, abs=0.001)
    assert state.exceeds(0.005) == (abs(scale) > 0.005)


def test_a_platoon_in_the_majority_is_not_taken_for_the_standing_world():
    state = watch(0.009, static=3, platoon=15)
    assert state.scale == pytest.approx(0.009, abs=0.002)


def test_nothing_is_said_without_standing_objects():
    state = watch(0.009, static=0, platoon=10)
    assert not state.trusted
    assert not state.exceeds(0.005)


def test_nothing_is_said_at_walking_pace():
    assert watch(0.009, static=5, speed=2.0).evidence == 0


def test_the_finding_says_which_way():
    assert watch(0.009, 3).text() == "odometry reads 0.9% low against the Doppler of the standing world"
    assert "high" in watch(-0.02, 3).text()


def test_a_scan_that_is_not_newer_changes_nothing():
    state = watch(0.009, 3, scans=10)
    again = Observation(state.t, Detections(np.array([[20.0, 0.0, -20.0]]), np.full((1, 3), 0.01)),
                        SensorPose(0.0, 0.0, 0.0, 20.0, 0.0), SENSOR)  # fmt: skip
    assert checked(state, again) == state


def test_what_was_seen_fades():
    state = watch(0.009, 3)
    later = Observation(state.t + nanoseconds(60), Detections(np.zeros((0, 3)), np.zeros((0, 3))),
                        SensorPose(0.0, 0.0, 0.0, 20.0, 0.0), SENSOR)  # fmt: skip
    assert not checked(state, later).trusted
