"""Who is it: an object that goes unseen and comes back keeps its number, and nothing but its number."""

from __future__ import annotations

import numpy as np
import pytest

from safety_supervisor.core.config import from_mapping
from safety_supervisor.core.tracking import EgoHistory, TrackerState, identity, track_radar
from safety_supervisor.core.world import Odometry, RadarScan, nanoseconds

TICK = nanoseconds(0.05)
CONFIG = from_mapping({"sensors": {"front": {"topic": "front", "half_angle": 1.0}}})
STILL = EgoHistory((Odometry(0, 0.0, 0.0, 0.0, 0.0, 0.0),))


def drive(courses, ticks):
    """Return the confirmed numbers after each scan; a course gives place and velocity at a time [s], or None."""
    state, numbers = TrackerState.empty(), []
    for k in range(ticks):
        rows = []
        for course in courses:
            at = course(k * 0.05)
            if at is not None:
                x, y, vx, vy = at
                distance = np.hypot(x - 3.7, y)
                rows.append((distance, np.arctan2(y, x - 3.7), ((x - 3.7) * vx + y * vy) / distance))
        z = np.array(rows).reshape(-1, 3)
        scan = RadarScan("front", k * TICK, z[:, 0], z[:, 1], z[:, 2])
        state = track_radar(state, (scan,), STILL, k * TICK, CONFIG)
        numbers.append((state.tracks.id[state.tracks.existence >= 0.9].tolist(), state.tracks))
    return numbers


def beside(jump=0.0, aside=0.0):
    """Fall back in the next lane until out of view beside ego, speed up unseen, and come back four seconds later."""

    def course(t):
        if t < 1.0:
            return 9.0 - 3.0 * t, 5.0, -3.0, 0.0
        return (12.0 + jump + 2.0 * (t - 5.0), 5.0 + aside, 2.0, 0.0) if t >= 5.0 else None

    return course


@pytest.mark.parametrize("jump", [0.0, 4.0, -4.0])
def test_who_comes_back_in_its_lane_keeps_its_number(jump):
    history = drive([beside(jump)], 130)
    assert history[18][0] == [1]
    assert not len(history[90][1])  # forgotten meanwhile
    assert history[-1][0] == [1]


@pytest.mark.parametrize(("jump", "aside"), [(0.0, -10.0), (25.0, 0.0), (60.0, 0.0)])
def test_control_two_lanes_off_or_farther_than_its_speeds_allow_is_somebody_else(jump, aside):
    numbers, _ = drive([beside(jump, aside)], 130)[-1]
    assert len(numbers) == 1
    assert numbers != [1]


def test_evidence_does_not_come_back_with_the_number():
    history = drive([beside()], 130)
    first = next(k for k in range(60, 130) if 1 in history[k][0])
    tracks = history[first][1]
    row = int(np.nonzero(tracks.id == 1)[0][0])
    assert tracks.hits[row] <= 3


def test_a_way_that_only_another_speed_explains_counts_with_that_speed():
    """Eight metres more in four seconds fit a car that was faster by the end, not one that came back as it went."""
    old = np.array([[20.0, 5.0, 10.0, 0.0]])
    age, cov = np.array([4.0]), np.diag([0.1, 0.1, 0.1, 0.1])[None]
    faster = identity._cost(np.array([[28.0, 5.0, 14.0, 0.0]]), cov, old, age)[0, 0]
    slower = identity._cost(np.array([[28.0, 5.0, 6.0, 0.0]]), cov, old, age)[0, 0]
    assert faster < slower - 5


def slips(jump, speed):
    """Drive ahead at 10 m/s, then go on elsewhere than any gate allows, from one scan to the next."""

    def course(t):
        return (60.0 + 10.0 * t, 0.0, 10.0, 0.0) if t < 1.0 else (60.0 + jump + speed * t, 0.0, speed, 0.0)

    return course


def test_a_young_track_beside_one_that_coasts_takes_over_its_number():
    history = drive([slips(1.8, 10.0)], 30)
    both = [tracks for numbers, tracks in history if len(numbers) == 2]
    assert both  # the old one coasts beside the new one
    live = [int(tracks.id[np.argmax(tracks.updated)]) for tracks in both]
    assert live[0] != 1  # confirmed while the other one had not been unseen for long enough
    assert live[-1] == 1
    assert live == sorted(live, reverse=True)  # and nobody swaps back
    assert history[-1][0] == [1]


def test_control_a_young_track_at_another_speed_keeps_its_own():
    history = drive([slips(-21.0, 30.0)], 30)
    assert 1 not in history[-1][0] or len(history[-1][0]) == 2
    live = [int(tracks.id[np.argmax(tracks.updated)]) for _, tracks in history[24:]]
    assert 1 not in live


def test_numbers_stay_different_when_they_are_swapped():
    def slides(t):
        return (40.0, 0.0, 0.0, 0.0) if t < 1.0 else (41.5, 0.5, 0.0, 0.0)

    history = drive([slides], 40)
    for _, tracks in history:
        assert len(set(tracks.id.tolist())) == len(tracks)
    assert history[-1][0] == [1]
