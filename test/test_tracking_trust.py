"""What sensors say about themselves: consistency, blockage, ego's own returns, doubts of an object list, odometry."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from safety_supervisor.core.config import Vehicle, from_mapping
from safety_supervisor.core.health import severity_of
from safety_supervisor.core.tracking import EgoHistory, Monitors, TrackerState, UltrasonicState, findings, track_radar
from safety_supervisor.core.tracking import watched as watch
from safety_supervisor.core.tracking.contradiction import contradicted, disagreements
from safety_supervisor.core.tracking.doppler import PoseCheck, compared
from safety_supervisor.core.tracking.observation import observe, own_body
from safety_supervisor.core.world import (
    Arc,
    Code,
    Echo,
    Odometry,
    RadarScan,
    Severity,
    Tracks,
    nanoseconds,
)

TICK = nanoseconds(0.05)
CONFIG = from_mapping({"sensors": {"front": {"topic": "front", "x": 0.0}}})
SENSOR = CONFIG.sensors[0][1]
STILL = EgoHistory((Odometry(0, 0.0, 0.0, 0.0, 0.0, 0.0),))
NOISE = (SENSOR.sigma_range, SENSOR.sigma_azimuth, SENSOR.sigma_range_rate)
PLACES = [(30.0 + 12.0 * (i % 4), -0.6 + 0.15 * i, 0.0) for i in range(9)]


def play(scans_of, ticks, noise=1.0, seed=0):
    """Feed scans to tracker and monitors; return the codes found after each tick."""
    rng, state, monitors, codes = np.random.default_rng(seed), TrackerState.empty(), Monitors(), []
    quiet = UltrasonicState.empty()
    for k in range(ticks):
        t = (k + 1) * TICK
        z = np.array(scans_of(k), float).reshape(-1, 3)
        z = z + rng.normal(size=z.shape) * NOISE * np.array(noise)
        state = track_radar(state, (RadarScan("front", t, z[:, 0], z[:, 1], z[:, 2]),), STILL, t, CONFIG)
        monitors = watch(monitors, state, quiet, STILL, t, CONFIG)
        codes.append({f.code for f in findings(monitors, quiet, t, CONFIG)})
    return codes, monitors


def test_a_radar_as_declared_is_believed():
    codes, monitors = play(lambda _: PLACES, 100)
    assert set().union(*codes) == set()
    assert 1.5 < dict(monitors.radars)["front"].consistency < 4.0


def test_a_radar_noisier_than_declared_is_inconsistent():
    codes, monitors = play(lambda _: PLACES, 200, noise=(2.4, 1.0, 2.4))
    assert dict(monitors.radars)["front"].consistency > 5.5
    assert Code.RADAR_INCONSISTENT in codes[-1]
    assert severity_of(Code.RADAR_INCONSISTENT) == Severity.SUSPECT


def test_a_radar_that_sees_nothing_any_more_is_blocked_and_not_the_road_empty():
    codes, _ = play(lambda k: PLACES if k < 40 else [], 80)
    assert Code.RADAR_BLOCKED not in set().union(*codes[:40])
    assert Code.RADAR_BLOCKED in codes[46]
    assert Code.RADAR_BLOCKED in codes[-1]  # although nothing is known any more that could be missed


def test_a_sector_that_goes_dark_is_told_and_forgotten_when_it_sees_again():
    right = [p for p in PLACES if p[1] > -0.35]
    left = [(40.0 + 10 * i, -0.9 + 0.12 * i, 0.0) for i in range(4)]
    codes, _ = play(lambda k: right + left * (k < 40 or k > 90), 120)
    assert Code.RADAR_OBSTRUCTED in codes[60]
    assert Code.RADAR_BLOCKED not in set().union(*codes)
    assert Code.RADAR_OBSTRUCTED not in codes[-1]


def test_control_objects_that_leave_one_after_the_other_are_no_blockage():
    codes, _ = play(lambda k: PLACES[: max(9 - k // 15, 0)], 180)
    assert set().union(*codes) == set()


# --- ego's own returns ----------------------------------------------------------------------------------------------


def test_what_lies_inside_egos_outline_is_left_out_and_counted():
    body = Vehicle()
    rear = replace(SENSOR, x=0.0, y=0.0)
    inside = [[1.5, 0.0, 0.0], [3.0, 0.1, 0.0], [0.6, 2.5, 0.0]]
    outside = [[body.front, 0.0, 0.0], [1.2, 1.5, 0.0], [9.0, 0.0, 0.0]]
    assert own_body(np.array(inside + outside), rear, body).tolist() == [True] * 3 + [False] * 3


def test_the_excluded_sector_ends_where_the_vehicle_file_says():
    hitch = replace(SENSOR, x=3.7, exclude_from=0.2, exclude_to=0.5, exclude_range=2.0)
    z = np.array([[1.0, 0.3, 0.0], [1.0, 0.1, 0.0], [2.5, 0.3, 0.0]])
    assert own_body(z, hitch, Vehicle()).tolist() == [True, False, False]
    conf = from_mapping({"sensors": {"front": {
        "topic": "f", "exclude_from": 0.2, "exclude_to": 0.5, "exclude_range": 2.0, "range_min": 0.2}}})  # fmt: skip
    scan = RadarScan("front", 0, z[:, 0], z[:, 1], z[:, 2])
    state = track_radar(TrackerState.empty(), (scan,), STILL, 0, conf)
    assert (state.own, state.rejected, len(state.tracks)) == (1, 0, 2)


# --- object lists of an ECU -----------------------------------------------------------------------------------------


def listed(**columns):
    return RadarScan("front", 0, [30.0, 60.0], [0.0, 0.1], [0.0, 0.0], True, **columns)


def test_unknown_covariance_is_unknown_and_not_exact():
    plain = observe(listed(), 0, STILL, SENSOR, CONFIG.tracking).found.variance
    for unknown in (0.0, -1.0, math.nan, math.inf):
        sigma = np.full((2, 3), unknown)
        assert np.array_equal(observe(listed(sigma=sigma), 0, STILL, SENSOR, CONFIG.tracking).found.variance, plain)
    wide = observe(listed(sigma=np.full((2, 3), 2.0)), 0, STILL, SENSOR, CONFIG.tracking).found.variance
    assert np.allclose(wide, 4.0)
    narrow = observe(listed(sigma=np.full((2, 3), 1e-6)), 0, STILL, SENSOR, CONFIG.tracking).found.variance
    assert np.array_equal(narrow, plain)  # an ECU is not believed to be better than its declared noise


@pytest.mark.parametrize("doubt", [0.0, math.nan, -1.0])
def test_what_its_ecu_calls_invalid_is_left_out_and_counted(doubt):
    seen = observe(listed(trust=[doubt, 1.0]), 0, STILL, SENSOR, CONFIG.tracking)
    assert (len(seen.found), seen.rejected) == (1, 1)


def test_half_believed_counts_half():
    def existence(trust):
        state = TrackerState.empty()
        for k in range(3):
            scan = RadarScan("front", k * TICK, [60.0], [0.0], [-5.0], True, trust=[trust])
            state = track_radar(state, (scan,), STILL, k * TICK, CONFIG)
        return float(state.tracks.existence[0])

    sure, half, hardly = (existence(trust) for trust in (1.0, 0.5, 0.05))
    assert sure > half > hardly
    assert hardly < 0.9 < sure


def test_the_width_that_an_ecu_gives_is_the_extent():
    state = track_radar(TrackerState.empty(), (listed(half_width=[1.2, math.nan]),), STILL, 0, CONFIG)
    assert state.tracks.extent.tolist() == [[1.2, 0.0], [0.0, 0.0]]


def test_scans_that_come_too_late_are_counted():
    state = TrackerState.empty()
    for t in (0, 20 * TICK, 2 * TICK):
        state = track_radar(state, (RadarScan("front", t, [30.0], [0.0], [0.0]),), STILL, 20 * TICK, CONFIG)
    assert state.late == 1


# --- odometry -------------------------------------------------------------------------------------------------------


def drive(scale, seconds=60.0, speed=15.0, turn=0.0, scatter=0.02):
    """Drive with a speed that reads 1 / (1 + scale) of the true one, at 20 Hz; the pose scatters."""
    rng, history, state = np.random.default_rng(0), EgoHistory(), PoseCheck()
    x = y = yaw = 0.0
    for k in range(int(seconds / 0.05)):
        x, y, yaw = x + speed * math.cos(yaw) * 0.05, y + speed * math.sin(yaw) * 0.05, yaw + turn * 0.05
        dx, dy = rng.normal(0, scatter, 2)
        history = history.updated([Odometry((k + 1) * TICK, x + dx, y + dy, yaw, speed / (1 + scale), turn)])
        state = compared(state, history)
    return state


@pytest.mark.parametrize("scale", [0.009, -0.02, 0.0])
def test_the_pose_tells_the_scale_of_the_speed(scale):
    state = drive(scale)
    assert state.trusted
    assert state.scale == pytest.approx(scale, abs=0.002)


def test_nothing_is_said_of_the_scale_at_walking_pace_or_at_once():
    assert not drive(0.02, speed=1.0).trusted
    assert not drive(0.02, seconds=5.0).trusted


@pytest.mark.parametrize(
    ("scale", "code"), [(0.009, Code.ODOMETRY_SCALE), (0.03, Code.ODOMETRY_IMPLAUSIBLE), (0.001, None)]
)
def test_a_scale_is_noted_inside_the_envelope_and_doubted_beyond(scale, code):
    found = findings(Monitors(pose=drive(scale)), UltrasonicState.empty(), 0, CONFIG)
    assert [f.code for f in found] == ([code] if code else [])
    if code:
        assert "low against its own pose" in found[0].text
        assert f"{scale:.1%}"[:3] in found[0].text
    assert severity_of(Code.ODOMETRY_SCALE) == Severity.OK


# --- radar against ultrasonics --------------------------------------------------------------------------------------


def arc(echo):
    return Arc("us", 0, echo, 4.0, 0.0, 4.0, True, 3.7, 0.0, 0.0, 0.5)


def certain(x):
    return Tracks(0, [1], [[x, 0.0, 0.0, 0.0]], [np.eye(4) * 0.01], [0.99999], [0], [50], [True])


@pytest.mark.parametrize(("echo", "x", "speed", "lasts"), [
    (Echo.CLEAR, 5.0, 1.0, True), (Echo.OBJECT, 5.0, 1.0, False), (Echo.CLEAR, 9.0, 1.0, False),
    (Echo.CLEAR, 5.0, 10.0, False), (Echo.BLIND, 5.0, 1.0, False),
])  # fmt: skip
def test_a_certain_radar_object_must_be_heard(echo, x, speed, lasts):
    state, ego = (), Odometry(0, 0.0, 0.0, 0.0, speed, 0.0)
    for k in range(60):
        state = contradicted(state, certain(x), (arc(echo),), ego, k * TICK, CONFIG)
        assert not disagreements(state, k * TICK) or k * 0.05 >= 1.5
    assert [f.code for f in disagreements(state, 59 * TICK)] == [Code.ULTRASONIC_CONTRADICTED] * lasts
