"""Tracking rule by rule: what one ping, one scan or one late message changes, field by field."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise

from safety_supervisor.core.config import Sensor, Tracking, Ultrasonics, from_mapping
from safety_supervisor.core.tracking import (
    EgoHistory,
    Monitors,
    TrackerState,
    UltrasonicState,
    existence,
    findings,
    kalman,
    track_radar,
    track_ultrasonics,
    vanished,
    watched,
)
from safety_supervisor.core.tracking import ultrasonic as us
from safety_supervisor.core.tracking.bearings import (
    APART,
    CORE,
    KEPT,
    MEMORY,
    OWN_SPEED,
    SIGMAS,
    STEPS,
    TOLERANCE,
    Witness,
    heard_by,
    narrowed,
    recalled,
)
from safety_supervisor.core.tracking.doppler import DISTANCE_MIN, PoseCheck, SpeedCheck
from safety_supervisor.core.tracking.ego import SensorPose
from safety_supervisor.core.tracking.radar import AGE_MAX, HOPS, REORDER, _moving, motion, predicted, since_heard
from safety_supervisor.core.tracking.silence import Direction
from safety_supervisor.core.tracking.trust import RadarTrust
from safety_supervisor.core.world import Arc, Code, Echo, Mode, Odometry, RadarScan, RangeReading, Tracks, nanoseconds

P, U = Tracking(), Ultrasonics()
S = 1_000_000_000
T = 100 * S
NAN, INF = math.nan, math.inf
US = Sensor(kind="ultrasonic", topic="us", x=3.7, range_min=0.2, range_max=4.0)


def drives(speed=0.0, yaw_rate=0.0):
    return EgoHistory((Odometry(T, 0.0, 0.0, 0.0, speed, yaw_rate),))


def ping(value, t=T + S // 10, low=0.2, high=4.0):
    return RangeReading("us", t, value, low, high)


def held(distance=1.0, rate=-0.5, **changes):
    """An object that was heard at T."""
    values = {"t": T, "heard": T, "x": np.array([distance, rate]), "P": np.diag([9e-4, 0.04]), "hits": 5,
              "range_max": 4.0, "value": distance} | changes  # fmt: skip
    return us.Transducer(**values)


def after(belief, value, speed=0.0, p=U, **keywords):
    return us.heard(belief, ping(value, **keywords), drives(speed), US, p)


def fields(belief, *names):
    return tuple(getattr(belief, name) for name in names)


# --- one ping -------------------------------------------------------------------------------------------------------


def test_what_is_too_close_counts_and_forgets_silence_and_spikes():
    busy = held(close=1, missed=2, silent=2, spikes=1, spike=0.7, invalid=3)
    now = after(busy, 0.1)
    assert fields(now, "close", "missed", "silent", "spikes", "invalid", "hits") == (2, 0, 0, 0, 0, 5)
    assert fields(now, "t", "heard", "value", "repeats", "travelled") == (T + S // 10, T, 0.0, 1, 0.0)
    assert math.isnan(now.spike)
    assert now.x is busy.x


def test_an_invalid_ping_counts_and_changes_nothing_else():
    busy = held(close=1, missed=2, silent=2, spikes=1, spike=0.7, invalid=3)
    now = after(busy, NAN, high=9.0)
    same = ("close", "missed", "silent", "spikes", "spike", "hits", "heard", "range_max", "x")
    assert fields(now, *same) == fields(busy, *same)
    assert fields(now, "invalid", "t", "repeats", "travelled") == (4, T + S // 10, 1, 0.0)
    assert math.isnan(now.value)


@pytest.mark.parametrize(("high", "kept"), [(3.0, 3.0), (0.0, 4.0), (-1.0, 4.0), (INF, 4.0), (NAN, 4.0)])
def test_the_largest_range_is_that_of_the_message_or_of_the_vehicle_file(high, kept):
    assert after(held(), 1.0, high=high).range_max == kept


def test_pings_that_say_the_same_count_and_so_does_the_way_meanwhile():
    once = after(held(value=1.0, repeats=1, travelled=0.5), 1.0, speed=-3.0)
    assert fields(once, "repeats", "travelled", "value") == (2, pytest.approx(0.5 + 0.3), 1.0)
    assert fields(after(once, 1.001, speed=3.0, t=T + S), "repeats", "travelled", "value") == (1, 0.0, 1.001)
    late = after(replace(once, t=T + S), 1.0, speed=3.0)  # time does not go backwards
    assert late.travelled == once.travelled
    covered = after(after(us.Transducer(T), 0.0, speed=2.0), 0.05, speed=2.0, t=T + 2 * S)
    assert fields(covered, "repeats", "value", "travelled") == (2, 0.0, pytest.approx(2.0 * 1.9))
    assert after(after(us.Transducer(T), INF), INF, t=T + S).repeats == 1  # silence is no value


def test_silence_counts_until_what_was_believed_is_forgotten():
    one = after(held(2.0, rate=0.0, missed=1, repeats=4, travelled=0.7), INF)
    assert fields(one, "missed", "silent", "invalid", "hits") == (2, 1, 0, 5)
    assert one.x is not None
    gone = after(replace(one, silent=U.lose - 1), INF, t=T + S // 5)
    assert gone.x is None
    assert fields(gone, "t", "silent", "missed", "hits", "close", "heard", "spikes") == (
        T + S // 5, U.lose, 0, 0, 0, 0, 0)  # fmt: skip
    assert fields(gone, "range_max", "repeats", "travelled") == (4.0, 1, 0.0)
    assert math.isnan(gone.value)


@pytest.mark.parametrize(("distance", "silent", "hits", "close", "enters"), [
    (0.25, U.lose - 1, 5, 0, U.confirm), (0.25, U.lose - 1, 5, 7, 7), (0.25, U.lose - 1, U.confirm, 0, U.confirm),
    (0.25, U.lose - 1, U.confirm - 1, 0, None), (0.25, us.BLIND_ZONE_HOLD - 2, 5, 0, U.confirm),
    (0.25, us.BLIND_ZONE_HOLD - 1, 5, 0, None), (0.6, U.lose - 1, 5, 0, None),
])  # fmt: skip
def test_what_was_at_the_edge_of_the_blind_zone_has_entered_it(distance, silent, hits, close, enters):
    now = after(held(distance, rate=0.0, silent=silent, hits=hits, close=close), INF)
    assert (now.x is None) == (enters is None)
    assert now.close == (enters or 0)
    assert now.silent == silent + 1


@pytest.mark.parametrize(("off", "enters"), [(-0.002, True), (0.002, False)])
def test_the_edge_of_the_blind_zone_is_three_standard_deviations_wide(off, enters):
    belief = held(1.0, rate=0.0, silent=2)
    _, sigma, _ = us._near_edge(belief, T + S // 10, U)
    now = after(replace(belief, x=np.array([0.2 + 3 * sigma + off, 0.0])), INF)
    assert (now.x is not None) == enters


def test_an_echo_that_fits_is_filtered_and_settles_what_was_open():
    busy = held(2.0, rate=-1.0, missed=2, silent=1, close=1, spikes=1, spike=0.7, invalid=1)
    now = after(busy, 1.93)
    F = np.array([[1.0, 0.1], [0.0, 1.0]])
    cov = F @ busy.P @ F.T + Q_continuous_white_noise(2, 0.1, U.acceleration_psd)
    gain = cov[:, 0] / (cov[0, 0] + U.sigma**2)
    assert now.x == pytest.approx(F @ busy.x + gain * (1.93 - 1.9))
    assert pytest.approx(cov - np.outer(gain, cov[0])) == now.P
    assert fields(now, "hits", "missed", "silent", "close", "spikes", "invalid") == (6, 0, 0, 0, 0, 0)
    assert (now.heard, math.isnan(now.spike)) == (T + S // 10, True)


def test_a_stamp_before_the_estimate_adds_uncertainty_too():
    belief = held(2.0, rate=-1.0)
    x, cov = us._predicted(belief, T - S // 10, U)
    F = np.array([[1.0, -0.1], [0.0, 1.0]])
    noise = Q_continuous_white_noise(2, 0.1, U.acceleration_psd) * [[1, -1], [-1, 1]]
    assert x == pytest.approx([2.1, -1.0])
    assert cov == pytest.approx(F @ belief.P @ F.T + noise)


def test_the_gate_of_an_echo_is_as_wide_as_what_is_not_known():
    belief = held(2.0, rate=0.0)
    S_ = us._predicted(belief, T + S // 10, U)[1][0, 0] + U.sigma**2
    reach = U.spike_gate * math.sqrt(S_)
    for off, fits in ((reach - 1e-6, True), (reach + 1e-6, False), (-reach + 1e-6, True), (-reach - 1e-6, False)):
        now = after(belief, 2.0 + off)
        assert (now.hits == 6) == fits
        assert (now.spikes, now.missed) == ((0, 0) if fits else (1, 1))


def test_a_spike_is_held_until_others_repeat_it_from_behind_longer():
    near = after(held(2.0, rate=0.0), 1.0)
    assert fields(near, "spike", "spike_t", "spikes", "missed", "hits") == (1.0, T + S // 10, 1, 1, 5)
    again = after(near, 1.02, t=T + S // 5)
    assert fields(again, "hits", "missed", "spikes", "heard") == (U.confirm, 0, 0, T + S // 5)
    assert again.x == pytest.approx([1.02, 0.0])
    far = after(held(2.0, rate=0.0), 3.0)
    far = after(far, 3.01, t=T + S // 5)
    assert fields(far, "spike", "spikes", "missed", "hits") == (3.01, 2, 2, 5)
    far = after(far, 3.02, t=T + 3 * S // 10)
    assert fields(far, "hits", "spikes") == (U.lose, 0)
    assert far.x[0] == 3.02


def test_spikes_that_do_not_fit_each_other_end_as_something_unconfirmed():
    belief = held(2.0, rate=0.0)
    for k, value in enumerate((1.0, 3.0, 1.5)):
        belief = after(belief, value, t=T + (k + 1) * S // 10)
    assert fields(belief, "hits", "missed", "spikes") == (1, 0, 0)
    assert belief.x[0] == 1.5


@pytest.mark.parametrize("speed", [0.0, 2.0])
def test_two_spikes_fit_by_the_way_of_ego_and_what_neither_is_known(speed):
    first = after(held(2.0, rate=0.0), 1.0, speed=speed)
    reach = U.spike_gate * math.sqrt(2) * U.sigma + us.BIRTH_SPEED_SIGMA * 0.1
    for off, fits in ((-reach + 1e-6, True), (-reach - 1e-6, False), (reach - 1e-6, True), (reach + 1e-6, False)):
        now = after(first, 1.0 - 0.1 * speed + off, speed=speed, t=T + S // 5)
        assert (now.hits == U.confirm) == fits


def test_who_is_heard_first_is_one_that_stands():
    now = after(us.Transducer(T, close=1, repeats=3, travelled=0.4, value=7.0), 2.5, speed=1.5)
    assert now.x == pytest.approx([2.5, -1.5])
    assert pytest.approx(np.diag([U.sigma**2, us.BIRTH_SPEED_SIGMA**2])) == now.P
    assert fields(now, "hits", "close", "heard", "t", "repeats", "value") == (1, 0, T + S // 10, T + S // 10, 1, 2.5)
    assert fields(now, "range_max", "travelled") == (4.0, 0.0)
    kept = after(us.Transducer(T, close=U.confirm), 2.5)  # what is too close does not vanish with one echo
    assert fields(kept, "x", "close", "spikes", "spike") == (None, U.confirm, 1, 2.5)
    assert after(after(kept, 2.5, t=T + S // 5), 2.5, t=T + 3 * S // 10).hits == U.lose


# --- what is said of it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [0.0, 0.3, 0.5, 0.9, -0.2])
@pytest.mark.parametrize("rate", [-0.8, 0.6])
def test_the_near_edge_comes_nearer_for_a_while_and_grows_less_certain(dt, rate):
    belief = held(2.0, rate=rate, P=np.array([[9e-4, 2e-3], [2e-3, 0.04]]))
    later = max(dt, 0.0)
    variance = 9e-4 + 2 * later * 2e-3 + later**2 * 0.04 + U.acceleration_psd * later**3 / 3
    found = us._near_edge(belief, T + round(dt * S), U)
    assert found == pytest.approx((2.0 + min(rate, 0.0) * min(later, us.PREDICTION),
                                   math.sqrt(variance) + us.UNHEARD_SPEED * max(later - us.PREDICTION, 0.0), rate))
    assert us._near_edge(held(0.1, rate=-1.0), T + S, U)[0] == 0.0


@pytest.mark.parametrize(("belief", "said"), [
    (None, (0, Echo.BLIND, NAN, NAN, NAN, False)),
    (us.Transducer(T, invalid=1), (T, Echo.BLIND, NAN, NAN, NAN, False)),
    (held(invalid=U.lose), (T, Echo.BLIND, NAN, NAN, NAN, False)),
    (held(1.5, invalid=U.lose - 1, hits=U.confirm), (T, Echo.OBJECT, 1.5, 0.03, -0.5, True)),
    (held(1.5, hits=U.confirm - 1), (T, Echo.OBJECT, 1.5, 0.03, -0.5, False)),
    (held(1.5, close=U.confirm), (T, Echo.TOO_CLOSE, 0.0, U.sigma, 0.0, True)),
    (us.Transducer(T, close=U.confirm - 1, invalid=1), (T, Echo.TOO_CLOSE, 0.0, U.sigma, 0.0, False)),
    (us.Transducer(T, silent=U.lose, range_max=3.5), (T, Echo.CLEAR, 3.5, 0.0, 0.0, True)),
    (us.Transducer(T, silent=U.lose - 1, range_max=3.5), (T, Echo.CLEAR, 3.5, 0.0, 0.0, False)),
])  # fmt: skip
def test_what_an_arc_says(belief, said):
    sensor = replace(US, y=0.3, yaw=0.2, half_angle=0.4)
    arc = us._arc("us", belief, sensor, T, U)
    got = (arc.t, arc.echo, arc.range, arc.range_sigma, arc.range_rate, arc.confirmed)
    assert got[1] is said[1]
    assert (got[0], *got[2:]) == pytest.approx((said[0], *said[2:]), nan_ok=True)
    assert (arc.sensor, arc.x, arc.y, arc.yaw, arc.half_angle) == ("us", 3.7, 0.3, 0.2, 0.4)


@pytest.mark.parametrize(("value", "repeats", "travelled", "code"), [
    (1.234, us.REPEATS, us.STUCK_TRAVEL, Code.ULTRASONIC_STUCK), (1.234, us.REPEATS - 1, 9.0, None),
    (1.234, us.REPEATS, us.STUCK_TRAVEL - 0.01, None), (0.0, us.REPEATS, us.BLOCKED_TRAVEL, Code.ULTRASONIC_BLOCKED),
    (0.0, us.REPEATS, us.BLOCKED_TRAVEL - 0.01, None), (0.0, us.REPEATS - 1, 9.0, None), (NAN, 99, 9.0, None),
])  # fmt: skip
def test_who_says_the_same_while_ego_moves_is_told(value, repeats, travelled, code):
    conf = from_mapping({"sensors": {"us": {"kind": "ultrasonic", "topic": "us"}}})
    belief = us.Transducer(T, value=value, repeats=repeats, travelled=travelled)
    state = UltrasonicState((("gone", belief), ("us", belief)))
    found = us.doubts(state, conf)
    assert [f.code for f in found] == ([code] if code else [])
    text = {Code.ULTRASONIC_STUCK: "us repeats 1.234 m for 15 pings while ego moves on",
            Code.ULTRASONIC_BLOCKED: "us says too close for 15 pings while ego moves on: it is covered"}  # fmt: skip
    assert not code or found[0].text == text[code]


def test_pings_are_taken_in_their_order_and_none_from_the_future():
    conf = from_mapping({"sensors": {"us": {"kind": "ultrasonic", "topic": "us", "range_min": 0.2, "range_max": 4.0}}})
    ahead = nanoseconds(conf.health.future_tolerance)
    readings = (ping(1.1, T), ping(1.0, T - S // 10), ping(3.0, T + ahead + 1), replace(ping(3.0, T), sensor="other"))
    state = track_ultrasonics(UltrasonicState.empty(), readings, drives(), T, conf)
    (name, belief), = state.transducers
    assert (name, belief.hits, belief.value, belief.t) == ("us", 2, 1.1, T)
    assert track_ultrasonics(state, (ping(1.2, T),), drives(), T, conf).transducers[0][1] is belief  # heard already
    edge = track_ultrasonics(state, (ping(1.1, T + ahead),), drives(), T, conf)
    assert edge.transducers[0][1].hits == 3
    back = track_ultrasonics(edge, (ping(1.5, T - S),), drives(), T - 1, conf)  # the clock was set back
    assert fields(back.transducers[0][1], "hits", "value") == (1, 1.5)


# --- bearings -------------------------------------------------------------------------------------------------------


def arc(distance=2.0, sensor="a", y=0.0, yaw=0.0, half_angle=0.5, sigma=0.02, **changes):
    values = {"echo": Echo.OBJECT, "confirmed": True} | changes
    return Arc(sensor, T, values["echo"], distance, sigma, 0.0, values["confirmed"], 3.7, y, yaw, half_angle)


HERE = Odometry(T, 5.0, -3.0, 0.7, 1.0, 0.0)


def test_a_witness_stands_where_its_transducer_is():
    c, s = math.cos(0.7), math.sin(0.7)
    seen = heard_by(arc(1.5, y=0.4, yaw=0.2, half_angle=0.3, sigma=0.05), HERE, T + 5)
    place = (5.0 + c * 3.7 - s * 0.4, -3.0 + s * 3.7 + c * 0.4, 0.9)
    assert (seen.x, seen.y, seen.yaw) == pytest.approx(place)
    assert (seen.sensor, seen.t, seen.half_angle, seen.range, seen.sigma) == ("a", T + 5, 0.3, 1.5, 0.05)


def witness(age=0.0, sensor="b", x=0.0, y=0.0, yaw=0.0, half_angle=0.5, distance=2.0, sigma=0.02):
    return Witness(sensor, T - round(age * S), x, y, yaw, half_angle, distance, sigma)


def test_witnesses_are_kept_for_a_while_some_time_apart_and_a_few_of_each():
    old = tuple(witness(age) for age in (0.9, 0.6, 0.3))
    other = witness(0.4, "c")
    found = recalled((*old, other), (witness(),), T)
    assert [(w.sensor, w.t) for w in found] == [("c", other.t), ("b", old[1].t), ("b", old[2].t), ("b", T)]
    assert len([w for w in found if w.sensor == "b"]) == KEPT
    for age, count in ((APART, 2), (APART - 0.01, 1)):
        assert len(recalled((witness(age),), (witness(),), T)) == count
    for age, count in ((MEMORY, 1), (MEMORY + 1e-6, 0), (-0.01, 0)):
        assert len(recalled((witness(age),), (), T)) == count
    assert recalled((), (witness(),), T) == (witness(),)


def bearings_left(one, others):
    """Each bearing of the arc by itself: would another transducer have heard a body there, and nearer?"""
    at, far = heard_by(one, HERE, T), one.range + SIGMAS * one.range_sigma
    left = []
    for bearing in np.linspace(-one.half_angle, one.half_angle, STEPS):
        x, y = at.x + far * math.cos(at.yaw + bearing), at.y + far * math.sin(at.yaw + bearing)
        told = False
        for w in others:
            off = abs(math.remainder(math.atan2(y - w.y, x - w.x) - w.yaw, 2 * math.pi))
            slack = TOLERANCE + SIGMAS * w.sigma + OWN_SPEED * (T - w.t) / S
            told |= off < CORE * w.half_angle and math.hypot(x - w.x, y - w.y) < w.range - slack
        left.append(not told)
    return np.array(left)


@pytest.mark.parametrize("yaw", [0.0, -0.3])
@pytest.mark.parametrize("distance", [2.1, 2.4, 3.0])
@pytest.mark.parametrize("age", [0.0, 0.2])
def test_an_arc_keeps_the_bearings_that_no_witness_denies(yaw, distance, age):
    one = arc(2.0, y=0.3)
    others = (replace(heard_by(arc(distance, "b", y=-0.3, yaw=yaw), HERE, T), t=T - round(age * S)),)
    left, steps = bearings_left(one, others), np.linspace(-0.5, 0.5, STEPS)
    found = narrowed(one, others, HERE, T)
    if left.all() or not left.any():
        assert found is one
    else:
        first, last = np.flatnonzero(left)[[0, -1]]
        assert found.low == pytest.approx(steps[max(first - 1, 0)])
        assert found.high == pytest.approx(steps[min(last + 1, STEPS - 1)])


def test_only_a_confirmed_object_is_narrowed():
    witnesses = (heard_by(arc(3.0, "b", y=-0.3), HERE, T),)
    assert narrowed(arc(y=0.3), witnesses, HERE, T).high < 0.5 or narrowed(arc(y=0.3), witnesses, HERE, T).low > -0.5
    for one in (arc(y=0.3, confirmed=False), arc(y=0.3, echo=Echo.CLEAR)):
        assert narrowed(one, witnesses, HERE, T) is one
    assert narrowed(arc(y=0.3), (), HERE, T).low == -INF


# --- radar ----------------------------------------------------------------------------------------------------------


def config(tracking=None, **sensors):
    radars = sensors or {"front": {}}
    return from_mapping({"sensors": {n: {"topic": n, "range_max": 150.0} | v for n, v in radars.items()},
                         "tracking": tracking or {}})  # fmt: skip


def scan(t, *rows, sensor="front"):
    z = np.array(rows, float).reshape(-1, 3)
    return RadarScan(sensor, t, z[:, 0], z[:, 1], z[:, 2])


ROW = (40.0, 0.05, 0.0)


def fed(times, ego=None, conf=None, state=None, now=None):
    conf, state = conf or config(), state or TrackerState.empty()
    for t in times:
        state = track_radar(state, (scan(t, ROW),), ego or drives(), now or t, conf)
    return state


def test_what_is_born_stands_where_it_was_seen_and_is_hardly_there():
    state = fed([T])
    one = state.tracks
    sensor = dict(config().sensors)["front"]
    pose = SensorPose(sensor.x, sensor.y, sensor.yaw, 0.0, 0.0)
    sigma = np.array([[sensor.sigma_range, math.hypot(sensor.sigma_azimuth, P.extent_sigma / 40.0),
                       sensor.sigma_range_rate]])  # fmt: skip
    x, cov = kalman.born(np.array([ROW]), sigma**2, pose, P.cross_speed_sigma)
    assert one.state == pytest.approx(x)
    assert one.cov == pytest.approx(cov)
    assert (one.id.tolist(), one.hits.tolist(), one.moved.tolist(), one.updated.tolist()) == ([1], [1], [False], [T])
    assert 0.0 < one.existence[0] <= P.birth_existence
    assert (one.suspect.tolist(), one.extent.tolist()) == ([False], [[0.0, 0.0]])
    assert (state.next_id, state.rejected, state.own, state.late) == (2, 0, 0, 0)
    assert [(seen.name, seen.t) for seen, _ in state.news] == [("front", T)]


def test_a_new_detection_besides_a_known_one_starts_a_track_of_its_own():
    state = fed([T, T + S // 20])
    both = track_radar(state, (scan(T + S // 10, ROW, (60.0, -0.2, 1.0)),), drives(), T + S // 10, config())
    assert (both.tracks.id.tolist(), both.tracks.hits.tolist(), both.next_id) == ([1, 2], [3, 1], 3)
    alone = track_radar(state, (scan(T + S // 10, (60.0, -0.2, 1.0)),), drives(), T + S // 10, config())
    assert (alone.tracks.id.tolist(), alone.tracks.hits.tolist()) == ([1, 2], [2, 1])
    assert alone.tracks.existence[0] < state.tracks.existence[0]


def test_only_what_nothing_was_matched_with_is_new():
    state = fed([T])
    for k in range(1, 6):
        t = T + k * S // 20
        state = track_radar(state, (scan(t, ROW),), drives(), t, config())
    assert (len(state.tracks), state.tracks.hits.tolist(), state.next_id) == (1, [6], 2)


@pytest.mark.parametrize(("off", "late"), [(7, 0), (0, 0), (-1, 1)])
def test_a_late_scan_has_its_place_for_a_while(off, late):
    state = fed(T + 5 - k * S // 20 for k in range(16, -1, -1))
    again = track_radar(state, (scan(T + 5 - REORDER + off, ROW),), drives(), T + 5, config())
    known_already = off == 0
    assert (again.late, len(again.news)) == (late, 1 - late - known_already)
    assert again.tracks.hits.tolist() == [17 + len(again.news)]
    measured = [r.measured for r in again.records]
    assert measured == sorted(measured)
    assert (T + 5 - REORDER + off in measured) == (not late)


def test_a_scan_older_than_the_odometry_that_is_remembered_is_dropped():
    for age, late in ((AGE_MAX, 0), (AGE_MAX + 1, 1)):
        state = track_radar(TrackerState.empty(), (scan(T - age, ROW),), drives(), T, config())
        assert (state.late, len(state.tracks)) == (late, 1 - late)


def test_a_scan_that_is_not_ours_or_from_the_future_is_neither_taken_nor_late():
    ahead = nanoseconds(config().health.future_tolerance)
    for one, count in ((scan(T, ROW, sensor="other"), 0), (scan(T + ahead, ROW), 1), (scan(T + ahead + 1, ROW), 0)):
        state = track_radar(TrackerState.empty(), (one,), drives(), T, config())
        assert (len(state.tracks), state.late, len(state.news)) == (count, 0, count)


def test_latency_is_when_it_was_measured():
    conf = config(front={"latency": 0.08})
    state = track_radar(TrackerState.empty(), (scan(T, ROW),), drives(), T, conf)
    assert state.records[-1].measured == T - nanoseconds(0.08)
    assert state.tracks.updated.tolist() == [T - nanoseconds(0.08)]
    assert state.tracks.t == T


def known(*, t=T, updated=T, existence=0.5, velocity=(5.0, 0.0), cov=0.04, hits=50, moved=False):
    return Tracks(t, [1], [[30.0, 1.0, *velocity]], [np.eye(4) * cov], [existence], [updated], [hits], [moved])


def test_a_prediction_moves_fades_and_forgets():
    later = predicted(known(), T + S, P)
    assert later.state[0] == pytest.approx([35.0, 1.0, 5.0, 0.0])
    assert later.existence[0] == pytest.approx(1 / (1 + 2 ** (1.0 / P.persistence_half_life)))
    assert later.t == T + S
    unseen = nanoseconds(P.unseen_time)
    assert [len(predicted(known(updated=T - unseen + d), T, P)) for d in (0, -1)] == [1, 0]
    odds = P.delete_existence / (1 - P.delete_existence)
    for factor, count in ((1.01, 1), (0.99, 0)):
        weak = odds * factor * 2 ** (1.0 / P.persistence_half_life)
        assert len(predicted(known(existence=weak / (1 + weak)), T + S, P)) == count


def test_what_was_added_since_a_track_was_heard_grows_with_the_time_since():
    for age in (0.4, -0.4):
        added = since_heard(known(updated=T - round(age * S)), P)
        assert added == pytest.approx(0.4 * kalman.white_acceleration(np.array([[5.0, 0.0]]), motion(P)))


@pytest.mark.parametrize(("velocity", "spread", "hits", "moves"), [
    ((2.2, 0.0), (0.2, 0.2), 50, True), ((2.0, 0.0), (0.2, 0.2), 50, False), ((0.0, -2.2), (0.2, 0.2), 50, True),
    ((0.0, 9.0), (0.1, 1.0), HOPS - 1, False), ((0.0, 9.0), (0.1, 1.0), HOPS, True),
    ((1.9, 9.0), (0.1, 1.0), HOPS - 1, True), ((1.7, 9.0), (0.1, 1.0), HOPS - 1, False),
    ((0.0, 0.0), (0.1, 0.1), 50, False),
])  # fmt: skip
def test_what_moves_is_faster_than_its_doubt_and_at_first_along_the_sight(velocity, spread, hits, moves):
    cov = np.diag([0.1, 0.1, spread[0] ** 2, spread[1] ** 2])
    for turn in (0.0, 0.8, 2.5):
        c, s = math.cos(turn), math.sin(turn)
        R = np.array([[c, -s], [s, c]])
        full = cov.copy()
        full[2:, 2:] = R @ cov[2:, 2:] @ R.T
        assert _moving(np.array([R @ velocity]), full[None], np.array([hits]), P).tolist() == [moves]


# --- all monitors ---------------------------------------------------------------------------------------------------


def test_what_vanished_asks_for_the_strongest_of_what_is_blocked():
    def radar(*directions):
        return RadarTrust(T, silent=directions)

    blocked = Direction(1, 0.0, 9, Mode.COMFORT_STOP, 6)
    state = Monitors((("a", radar(blocked)), ("b", radar(Direction(2, 0.0, 5, Mode.FIRM_STOP, 6)))))
    assert vanished(state) == Mode.COMFORT_STOP
    state = Monitors((("a", radar(blocked)), ("b", radar(Direction(2, 0.0, 6, Mode.FIRM_STOP, 6)))))
    assert vanished(state) == Mode.FIRM_STOP
    assert vanished(Monitors()) == Mode.NOMINAL


@pytest.mark.parametrize(("off", "code"), [
    (0.004, None), (0.0051, Code.ODOMETRY_SCALE), (-0.0051, Code.ODOMETRY_SCALE), (0.0099, Code.ODOMETRY_SCALE),
    (0.0101, Code.ODOMETRY_IMPLAUSIBLE), (-0.0101, Code.ODOMETRY_IMPLAUSIBLE),
])  # fmt: skip
def test_a_scale_is_told_by_how_much_it_is_off(off, code):
    quiet, conf = UltrasonicState.empty(), config()
    pose = Monitors(pose=PoseCheck(None, (1 + off) * 2 * DISTANCE_MIN, 2 * DISTANCE_MIN))
    found = findings(pose, quiet, T, conf)
    assert [(f.code, f.source) for f in found] == (
        [(code, "odometry")] if code else [])  # fmt: skip
    doppler = Monitors(speed=(("front", SpeedCheck(T, 1e9, off * 1e9, 1e3)),))
    seen = [f.code for f in findings(doppler, quiet, T, conf)]
    assert seen == ([Code.ODOMETRY_SCALE] if code else [])  # the Doppler has a scale of its own
    much = Monitors(speed=(("front", SpeedCheck(T, 1e9, 0.0302 * 1e9, 1e3)),))
    assert [f.code for f in findings(much, quiet, T, conf)] == [Code.ODOMETRY_IMPLAUSIBLE]
    assert findings(Monitors(speed=(("front", SpeedCheck(T, 1e9, 9e7, 10.0)),)), quiet, T, conf) == ()


def test_each_new_scan_is_judged_once_and_the_standing_world_asked_now_and_then():
    conf, quiet, ego = config(), UltrasonicState.empty(), drives(15.0)
    state, monitors = TrackerState.empty(), Monitors()
    asked = []
    for k in range(12):
        t = T + k * S // 20
        state = track_radar(state, (scan(t, (40.0 - 0.75 * k, 0.0, -15.0)),), ego, t, conf)
        monitors = watched(monitors, state, quiet, ego, t, conf)
        assert dict(monitors.radars)["front"].t == t
        asked.append(dict(monitors.speed)["front"].t)
    assert len(set(asked)) == 4  # every 0.15 s
    again = watched(monitors, replace(state, news=()), quiet, ego, t, conf)
    assert (again.radars, again.speed) == (monitors.radars, monitors.speed)


def test_the_first_sample_since_a_time_is_that_time_or_later():
    samples = tuple(Odometry(T + k * S // 10, float(k), 0.0, 0.0, 1.0, 0.0) for k in range(5))
    history = EgoHistory(samples)
    for late, first in ((0, 0), (1, 1), (S // 10, 1), (S // 10 + 1, 2), (4 * S // 10, 4)):
        assert history.since(T + late) is samples[first]
    assert history.at(T + S // 10) == samples[1]
    assert history.at(T + 4 * S // 10 + S).x == pytest.approx(5.0)  # a second at 1 m/s beyond the newest
    assert [history.has(T + late) for late in (0, 1, S // 10, S, -1)] == [True, False, True, False, False]


def test_a_scan_in_its_place_is_too_old_all_the_same_when_no_odometry_is_that_old():
    state = fed([T - S // 4, T])
    for ago, late in ((9 * S // 10, 0), (9 * S // 10 - 1, 1)):
        now = T + AGE_MAX - S // 10 + (9 * S // 10 - ago)
        again = track_radar(state, (scan(T - S // 10, ROW),), drives(), now, config())
        assert (again.late, len(again.news)) == (late, 1 - late)


def test_only_who_hears_something_steadily_is_a_witness():
    conf = from_mapping({"sensors": {n: {"kind": "ultrasonic", "topic": n, "range_min": 0.2, "range_max": 4.0}
                                     for n in ("hears", "silent", "young")}})  # fmt: skip
    state = UltrasonicState.empty()
    for k in range(6):
        t = T + k * S // 10
        readings = [replace(ping(1.5, t), sensor="hears"), replace(ping(INF, t), sensor="silent")]
        readings += [replace(ping(2.0, t), sensor="young")] if k == 5 else []
        state = track_ultrasonics(state, tuple(readings), drives(), t, conf)
    assert {w.sensor for w in state.witnesses} == {"hears"}
    assert [w.t - T for w in state.witnesses] == [2 * S // 10, 5 * S // 10]
    gone = track_ultrasonics(state, (), drives(), t + 2 * S, conf)
    assert all(w.t == t + 2 * S for w in gone.witnesses)


def test_what_is_just_as_likely_as_must_be_is_kept():
    left = float(existence.faded(np.array([0.3]), 1.0, P.persistence_half_life)[0])
    for limit, count in ((left, 1), (np.nextafter(left, 1.0), 0)):
        assert len(predicted(known(existence=0.3), T + S, replace(P, delete_existence=float(limit)))) == count
