"""Reflections of others: recognised by geometry, demoted, never deleted."""

from __future__ import annotations

import numpy as np
import pytest

from safety_supervisor.core.config import from_mapping
from safety_supervisor.core.tracking import EgoHistory, TrackerState, track_radar
from safety_supervisor.core.world import Odometry, RadarScan, nanoseconds

TICK = nanoseconds(0.05)
CONFIG = from_mapping({"sensors": {"front": {"topic": "front", "x": 0.0}}})
STILL = EgoHistory((Odometry(0, 0.0, 0.0, 0.0, 0.0, 0.0),))
RNG_SIGMA = (0.15, 0.004, 0.08)


def drive(courses, ticks=50, seed=0):
    """Track things that keep their velocity: each course is x, y, vx, vy at the start. Return the last tracks."""
    rng, state = np.random.default_rng(seed), TrackerState.empty()
    start = np.array(courses, float)
    for k in range(ticks):
        at = start[:, :2] + start[:, 2:] * (k * 0.05)
        distance = np.hypot(at[:, 0], at[:, 1])
        z = np.column_stack([distance, np.arctan2(at[:, 1], at[:, 0]), np.sum(at * start[:, 2:], axis=1) / distance])
        z += rng.normal(size=z.shape) * RNG_SIGMA
        scan = RadarScan("front", k * TICK, z[:, 0], z[:, 1], z[:, 2])
        state = track_radar(state, (scan,), STILL, k * TICK, CONFIG)
    return state.tracks, start[:, :2] + start[:, 2:] * ((ticks - 1) * 0.05)


def flag(tracks, place):
    """Return whether the track at a place is a suspect, and its existence."""
    row = int(np.argmin(np.hypot(*(tracks.state[:, :2] - place).T)))
    assert np.hypot(*(tracks.state[row, :2] - place)) < 1.5
    return bool(tracks.suspect[row]), float(tracks.existence[row])


OBJECT, BOUNCE = (40.0, 1.0, -6.0, 0.0), (80.0, 2.0, -12.0, 0.0)


def test_twice_the_range_and_twice_the_range_rate_in_one_direction_is_suspect():
    tracks, places = drive([OBJECT, BOUNCE])
    assert flag(tracks, places[0]) == (False, pytest.approx(1.0, abs=1e-4))
    assert flag(tracks, places[1]) == (True, pytest.approx(1.0, abs=1e-4))  # demoted, as certain as ever


@pytest.mark.parametrize("other", [(80.0, 2.0, -6.0, 0.0), (70.0, 2.0, -12.0, 0.0), (80.0, 12.0, -12.0, 0.0)])
def test_control_another_speed_range_or_direction_is_not(other):
    tracks, places = drive([OBJECT, other])
    assert not tracks.suspect.any()
    assert flag(tracks, places[1])[1] > 0.99


RAIL = [(float(x), 6.0, 0.0, 0.0) for x in range(4, 70, 4)]
CAR, IMAGE = (20.0, 2.5, 8.0, 0.4), (20.0, 9.5, 8.0, -0.4)


def test_a_mirror_image_behind_a_rail_is_suspect():
    tracks, places = drive([*RAIL, CAR, IMAGE])
    assert flag(tracks, places[-2])[0] is False
    assert flag(tracks, places[-1]) == (True, pytest.approx(1.0, abs=1e-4))
    assert not tracks.suspect[~tracks.moved].any()


def test_control_without_a_rail_it_is_a_car():
    tracks, _ = drive([CAR, IMAGE])
    assert not tracks.suspect.any()


def test_control_a_car_behind_the_rail_that_moves_otherwise_is_no_image():
    tracks, _ = drive([*RAIL, CAR, (20.0, 9.5, 11.0, 0.4)])
    assert not tracks.suspect.any()


def test_control_a_rail_elsewhere_makes_no_image():
    elsewhere = [(x, y + 8.0, vx, vy) for x, y, vx, vy in RAIL]
    tracks, _ = drive([*elsewhere, CAR, IMAGE])
    assert not tracks.suspect.any()


def test_a_suspect_that_parts_from_its_object_is_cleared():
    """Two cars at r and 2 r and equal speed to ego's look like a bounce until one of them brakes."""
    together, _ = drive([(30.0, 0.0, 0.0, 0.0), (60.0, 0.0, 0.0, 0.0)])
    apart, places = drive([(30.0, 0.0, -2.0, 0.0), (60.0, 0.0, 3.0, 0.0)])
    assert together.suspect.sum() == 1
    assert flag(apart, places[1])[0] is False
