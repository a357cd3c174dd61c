"""Ultrasonics: what a ping means, what one filter per transducer makes of many, and what it never does."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_supervisor.core.config import Ultrasonics, from_mapping
from safety_supervisor.core.tracking import EgoHistory, UltrasonicState, track_ultrasonics
from safety_supervisor.core.tracking.ultrasonic import BIRTH_SPEED_SIGMA, Ping, meaning
from safety_supervisor.core.world import Echo, Odometry, RangeReading, nanoseconds

P = Ultrasonics()
PING = nanoseconds(0.1)
LOW, HIGH = 0.2, 4.0
INF, NAN = math.inf, math.nan


def config(**transducers):
    named = transducers or {"front": {}}
    base = {"kind": "ultrasonic", "range_min": LOW, "range_max": HIGH, "x": 3.7}
    return from_mapping({"sensors": {n: base | {"topic": n} | v for n, v in named.items()}})


CONFIG = config()


def reading(value, t=0, sensor="front", low=LOW, high=HIGH):
    return RangeReading(sensor, t, value, low, high)


def standing(speed=0.0):
    return EgoHistory((Odometry(0, 0.0, 0.0, 0.0, speed, 0.0),))


def pings(*values, speed=0.0, conf=CONFIG):
    """Return the arc of the front transducer after each ping, 0.1 s apart."""
    state, arcs = UltrasonicState.empty(), []
    for k, value in enumerate(values):
        state = track_ultrasonics(state, (reading(value, k * PING),), standing(speed), k * PING, conf)
        arcs.append(state.arcs[0])
    return arcs


def last(*values, **options):
    return pings(*values, **options)[-1]


@pytest.mark.parametrize(("value", "expected"), [
    (1.0, Ping.ECHO), (LOW, Ping.ECHO), (HIGH - 0.01, Ping.ECHO),
    (INF, Ping.SILENT), (HIGH, Ping.SILENT), (HIGH + 1, Ping.SILENT), (float(np.float32(HIGH)), Ping.SILENT),
    (-INF, Ping.CLOSE), (0.0, Ping.CLOSE), (LOW - 0.01, Ping.CLOSE), (-1.0, Ping.CLOSE),
    (NAN, Ping.INVALID),
])  # fmt: skip
def test_what_one_ping_means(value, expected):
    assert meaning(reading(value), CONFIG.sensors[0][1]) is expected


@pytest.mark.parametrize("limit", [NAN, INF, 0.0, -1.0])
def test_a_message_without_limits_is_read_with_those_of_the_vehicle_file(limit):
    sensor = CONFIG.sensors[0][1]
    assert meaning(reading(HIGH, high=limit), sensor) is Ping.SILENT
    assert meaning(reading(0.1, low=NAN), sensor) is Ping.CLOSE


TABLE = [
    # pings; what is said then, near edge, whether it is confirmed
    ((), Echo.BLIND, NAN, False),
    ((NAN,), Echo.BLIND, NAN, False),
    ((INF,), Echo.CLEAR, HIGH, False),
    ((INF, INF), Echo.CLEAR, HIGH, False),
    ((INF, HIGH, INF), Echo.CLEAR, HIGH, True),
    ((INF, INF, INF, NAN), Echo.BLIND, NAN, False),
    ((INF, INF, INF, NAN, INF), Echo.CLEAR, HIGH, True),
    ((-INF,), Echo.TOO_CLOSE, 0.0, False),
    ((0.0,), Echo.TOO_CLOSE, 0.0, False),
    ((0.1, -INF), Echo.TOO_CLOSE, 0.0, True),
    ((0.1, 0.1, NAN), Echo.TOO_CLOSE, 0.0, True),
    ((0.1, 0.1, INF), Echo.TOO_CLOSE, 0.0, True),
    ((0.1, 0.1, INF, INF), Echo.TOO_CLOSE, 0.0, True),
    ((0.1, 0.1, INF, INF, INF), Echo.CLEAR, HIGH, True),
    ((0.1, 0.1, 2.0), Echo.TOO_CLOSE, 0.0, True),
    ((0.1, 0.1, 2.0, 2.0), Echo.TOO_CLOSE, 0.0, True),
    ((0.1, 0.1, 2.0, 2.0, 2.0), Echo.OBJECT, 2.0, True),
    ((0.1, 0.1, 2.0, 3.0, 1.0), Echo.OBJECT, 1.0, False),
    ((0.1, 2.0), Echo.OBJECT, 2.0, False),
    ((1.0,), Echo.OBJECT, 1.0, False),
    ((1.0, 1.0), Echo.OBJECT, 1.0, True),
    ((1.0, 1.0, NAN), Echo.OBJECT, 1.0, True),
    ((1.0, 1.0, NAN, NAN, NAN), Echo.BLIND, NAN, False),
    ((1.0, 1.0, NAN, NAN, NAN, 1.0), Echo.OBJECT, 1.0, True),
    ((1.0, 1.0, INF), Echo.OBJECT, 1.0, True),
    ((1.0, 1.0, INF, INF), Echo.OBJECT, 1.0, True),
    ((1.0, 1.0, INF, INF, NAN, INF), Echo.CLEAR, HIGH, True),
    ((1.0, 1.0, INF, INF, INF), Echo.CLEAR, HIGH, True),
    ((1.0, 1.0, INF, INF, 1.0, INF, INF), Echo.OBJECT, 1.0, True),
    ((1.0, 1.0, 0.0), Echo.TOO_CLOSE, 0.0, False),
    ((1.0, 1.0, 0.0, 1.0), Echo.OBJECT, 1.0, True),
    ((1.0, 1.0, 0.0, 0.0), Echo.TOO_CLOSE, 0.0, True),
    ((2.0, 2.0, 3.5), Echo.OBJECT, 2.0, True),  # a spike outward
    ((2.0, 2.0, 0.5), Echo.OBJECT, 2.0, True),  # a spike inward, cross-talk for example
    ((2.0, 2.0, 0.5, 2.0), Echo.OBJECT, 2.0, True),
    ((2.0, 2.0, 0.5, 0.5), Echo.OBJECT, 0.5, True),  # repeated, so it is true
    ((2.0, 2.0, 3.5, 3.5), Echo.OBJECT, 2.0, True),  # outward it takes as long as silence
    ((2.0, 2.0, 3.5, 3.5, 3.5), Echo.OBJECT, 3.5, True),
    ((2.0, 2.0, INF, INF, 3.5), Echo.OBJECT, 3.5, False),
    ((2.0, 2.0, 0.5, 3.5), Echo.OBJECT, 2.0, True),
    ((2.0, 2.0, 0.5, 3.5, 1.2), Echo.OBJECT, 1.2, False),  # neither the object nor one spike twice
    ((INF, INF, INF, 1.0), Echo.OBJECT, 1.0, False),
]


@pytest.mark.parametrize(("values", "echo", "near_edge", "confirmed"), TABLE)
def test_what_is_said_after_these_pings(values, echo, near_edge, confirmed):
    state = track_ultrasonics(UltrasonicState.empty(), (), standing(), 0, CONFIG)
    arc = last(*values) if values else state.arcs[0]
    assert (arc.echo, arc.confirmed) == (echo, confirmed)
    assert arc.range == pytest.approx(near_edge, abs=0.02, nan_ok=True)


def test_one_arc_for_each_transducer_in_the_order_of_the_vehicle_file():
    conf = config(right={"y": -0.5, "yaw": -0.4, "half_angle": 0.6}, left={"y": 0.5})
    state = track_ultrasonics(UltrasonicState.empty(), (reading(1.0, 7, "left"),), standing(), 7, conf)
    right, left = state.arcs
    assert (right.sensor, right.echo, right.t, right.y, right.yaw, right.half_angle) == (
        "right", Echo.BLIND, 0, -0.5, -0.4, 0.6)  # fmt: skip
    assert (left.sensor, left.echo, left.t) == ("left", Echo.OBJECT, 7)


def test_the_estimate_is_that_of_filterpys_filter():
    rng, dt, sigma = np.random.default_rng(1), 0.1, P.sigma
    truth = 2.0 - 0.3 * dt * np.arange(20)
    values = truth + rng.normal(0, sigma, 20)
    oracle = KalmanFilter(2, 1)
    oracle.x, oracle.P = np.array([[values[0]], [-0.2]]), np.diag([sigma**2, BIRTH_SPEED_SIGMA**2])
    oracle.F, oracle.H, oracle.R = np.array([[1, dt], [0, 1]]), np.array([[1.0, 0.0]]), np.eye(1) * sigma**2
    oracle.Q = P.acceleration_psd * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
    for value in values[1:]:
        oracle.predict()
        oracle.update(value)
    arc = last(*values, speed=0.2)
    assert arc.range == pytest.approx(oracle.x[0, 0], abs=1e-9)
    assert arc.range_rate == pytest.approx(oracle.x[1, 0], abs=1e-9)
    assert arc.range_sigma == pytest.approx(math.sqrt(oracle.P[0, 0]), abs=1e-9)


def test_what_is_heard_first_closes_with_egos_own_speed():
    assert last(2.0, speed=1.5).range_rate == -1.5


def arc_at(state, t):
    return track_ultrasonics(state, (), standing(), t, CONFIG).arcs[0]


@pytest.mark.parametrize("rate", [-1.0, 1.0])
def test_a_prediction_comes_nearer_or_stays_and_grows_less_certain(rate):
    state = UltrasonicState.empty()
    for k in range(12):
        state = track_ultrasonics(state, (reading(2.0 + rate * 0.1 * k, k * PING),), standing(), k * PING, CONFIG)
    now, heard = state.arcs[0], 11 * PING
    assert now.range_rate == pytest.approx(rate, abs=0.1)
    arcs = [arc_at(state, heard + nanoseconds(s)) for s in (0.0, 0.1, 0.3, 0.5, 1.0, 3.0)]
    ranges, sigmas = [a.range for a in arcs], [a.range_sigma for a in arcs]
    assert ranges == sorted(ranges, reverse=True)
    assert all(a < b for a, b in pairwise(sigmas))
    assert ranges[3] == pytest.approx(now.range + min(rate, 0.0) * 0.5, abs=0.1)
    assert ranges[-1] == ranges[3]
    assert all(a.t == heard for a in arcs)


def test_a_range_is_never_negative():
    assert last(1.0, 0.8, 0.6, 0.4, 0.3, speed=2.0).range >= 0
    state = UltrasonicState.empty()
    state = track_ultrasonics(state, (reading(0.3),), standing(4.0), 0, CONFIG)
    assert arc_at(state, nanoseconds(0.4)).range == 0.0


def test_cross_talk_hides_no_wall_and_makes_none():
    rng, n = np.random.default_rng(2), 600
    walls = 2.4 - 1.4 * np.sin(np.arange(n) * 0.02)  # moves at up to 0.28 m/s
    values = np.where(rng.random(n) < 0.2, rng.uniform(LOW, HIGH, n), walls + rng.normal(0, 0.02, n))
    arcs = pings(*values)
    error = np.array([a.range - wall for a, wall in zip(arcs, walls, strict=True) if a.confirmed])
    assert len(error) > 0.95 * n
    assert np.mean(error < -0.2) < 0.05
    assert np.mean(error > 0.2) < 0.01
    assert np.mean(np.abs(values - walls) > 0.2) > 0.15


def test_pings_are_taken_in_order_and_once():
    t = 3 * PING
    ordered = tuple(reading(2.0 - 0.1 * k, k * PING) for k in range(3))
    forward = track_ultrasonics(UltrasonicState.empty(), ordered, standing(), t, CONFIG)
    shuffled = track_ultrasonics(UltrasonicState.empty(), (ordered[2], ordered[0], ordered[1], ordered[2]),
                                 standing(), t, CONFIG)  # fmt: skip
    assert forward.arcs == shuffled.arcs
    late = track_ultrasonics(forward, (reading(0.1, PING),), standing(), t, CONFIG)
    assert late.arcs == forward.arcs


def test_pings_of_other_sensors_and_from_the_future_are_ignored():
    strange = (reading(1.0, 0, "unknown"), reading(1.0, nanoseconds(9.0)))
    assert track_ultrasonics(UltrasonicState.empty(), strange, standing(), 0, CONFIG).arcs[0].echo is Echo.BLIND


def test_when_the_clock_is_set_back_the_transducer_starts_anew():
    state = track_ultrasonics(UltrasonicState.empty(), (reading(1.0, PING),), standing(), PING, CONFIG)
    t = -nanoseconds(50.0)
    assert arc_at(state, t).echo is Echo.BLIND
    assert track_ultrasonics(state, (reading(2.0, t),), standing(), t, CONFIG).arcs[0].range == 2.0


def test_without_odometry_it_works_too():
    state = track_ultrasonics(UltrasonicState.empty(), (reading(1.0),), EgoHistory(), 0, CONFIG)
    assert state.arcs[0].range == 1.0


values = st.floats() | st.floats(0, 5) | st.sampled_from([INF, -INF, NAN, 0.0, HIGH, LOW, 1.0, 2.0])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(values, st.integers(-(10**8), 10**9), values, values)), st.floats(-5, 5))
def test_whatever_arrives_an_arc_is_sound_and_the_same_twice(steps, speed):
    def play():
        state, t, arcs = UltrasonicState.empty(), 0, []
        for value, advance, low, high in steps:
            t += advance
            state = track_ultrasonics(state, (reading(value, t, low=low, high=high),), standing(speed), t, CONFIG)
            arcs.append(state.arcs[0])
        return arcs

    arcs = play()
    for arc in arcs:
        if arc.echo is Echo.BLIND:
            assert math.isnan(arc.range)
            assert not arc.confirmed
        else:
            assert 0 <= arc.range < INF
            assert 0 <= arc.range_sigma < INF
            assert math.isfinite(arc.range_rate)
    assert repr(arcs) == repr(play())


@given(st.lists(st.floats(0.3, 3.9), min_size=1, max_size=8), st.lists(st.sampled_from([INF, NAN, HIGH]), max_size=6))
def test_silence_never_moves_the_near_edge_outward_while_the_object_is_held(heard, silence):
    arcs = pings(*heard, *silence)[len(heard) - 1 :]
    held = [a.range for a in arcs if a.echo is Echo.OBJECT]
    assert all(b <= a + 1e-12 for a, b in pairwise(held))
