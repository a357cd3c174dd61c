"""Tracking term by term: each function by itself, its numbers written out, its conditions on both of their sides."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from safety_supervisor.core.config import Sensor, Tracking, Ultrasonics, Vehicle, from_mapping
from safety_supervisor.core.tracking import (
    EgoHistory,
    contradiction,
    ghosts,
    identity,
    kalman,
)
from safety_supervisor.core.tracking import doppler as dp
from safety_supervisor.core.tracking import existence as ex
from safety_supervisor.core.tracking import silence as si
from safety_supervisor.core.tracking import trust as tr
from safety_supervisor.core.tracking.association import (
    EXTENT_NOISE,
    LOG_TAU,
    RANGE_MARGIN,
    RANGE_RATE_MAX,
    Detections,
    Pairs,
    assign,
    canonical,
    gate,
    merged,
    usable,
)
from safety_supervisor.core.tracking.ego import SensorPose
from safety_supervisor.core.tracking.observation import Observation, observe, own_body
from safety_supervisor.core.world import Arc, Code, Echo, Mode, Odometry, RadarScan, Tracks, nanoseconds

P, U = Tracking(), Ultrasonics()
S = 1_000_000_000
T = 100 * S
NAN, INF = math.nan, math.inf
ORIGIN = SensorPose(0.0, 0.0, 0.0, 0.0, 0.0)
SENSOR = Sensor(kind="radar", topic="front")
STILL = EgoHistory((Odometry(0, 0.0, 0.0, 0.0, 0.0, 0.0),))


def ints(*values):
    return np.array(values, np.int64)


def tracks(*states, t=T, number=None, existence=0.99999, updated=None, hits=50, moved=True, variance=0.01):
    n = len(states)
    return Tracks(t, np.arange(1, n + 1) if number is None else number, np.array(states, float).reshape(n, 4),
                  np.tile(np.eye(4) * variance, (n, 1, 1)), np.full(n, existence),
                  np.full(n, t) if updated is None else updated, np.full(n, hits), np.full(n, moved))  # fmt: skip


# --- who is it ------------------------------------------------------------------------------------------------------

UNSEEN, KEEP = nanoseconds(P.unseen_time), nanoseconds(P.identity_time)


def lost(*numbers, ago=3.0, place=(20.0, 3.0, 10.0, 0.0)):
    return identity.Lost(ints(*numbers), np.tile(place, (len(numbers), 1)), np.full(len(numbers), T - round(ago * S)))


@pytest.mark.parametrize(("age", "existence", "hits", "kept"), [
    (UNSEEN + 1, 0.9, 5, True), (UNSEEN, 0.9, 5, False), (UNSEEN + 1, 0.89, 5, False), (UNSEEN + 1, 0.9, 4, False),
])  # fmt: skip
def test_who_goes_unseen_for_too_long_is_remembered_where_it_was_seen_last(age, existence, hits, kept):
    before = tracks((30.0, 1.0, 10.0, -2.0), t=T - S, updated=[T - age], existence=existence, hits=hits)
    found = identity.remembered(identity.Lost(), before, T, P)
    assert len(found) == kept
    if kept:
        back = (age - S) / S
        assert found.state[0] == pytest.approx([30.0 - 10.0 * back, 1.0 + 2.0 * back, 10.0, -2.0])
        assert (found.id.tolist(), found.updated.tolist()) == ([1], [T - age])


def test_numbers_are_remembered_for_a_time_and_the_newest_of_them_only():
    for ago, kept in ((P.identity_time, 1), (P.identity_time + 1e-6, 0)):
        assert len(identity.remembered(lost(7, ago=ago), Tracks(t=T - S), T, P)) == kept
    same = lost(7)
    assert identity.remembered(same, tracks((1.0, 2.0, 3.0, 4.0)), T, P) is same
    many = lost(*range(10, 10 + identity.REMEMBERED))
    gone = tracks((30.0, 1.0, 10.0, 0.0), number=[3], updated=[T - UNSEEN - S])
    found = identity.remembered(many, gone, T, P)
    assert found.id.tolist() == [*range(11, 10 + identity.REMEMBERED), 3]
    assert (len(found.state), len(found.updated)) == (identity.REMEMBERED, identity.REMEMBERED)


def table(*rows):
    """(number, state, existence, seconds since its detection, hits)"""
    return SimpleNamespace(
        id=ints(*(r[0] for r in rows)), state=np.array([r[1] for r in rows], float),
        cov=np.tile(np.eye(4) * 0.05, (len(rows), 1, 1)), existence=np.array([r[2] for r in rows]),
        updated=ints(*(T - round(r[3] * S) for r in rows)), hits=ints(*(r[4] for r in rows)))  # fmt: skip


def young(number=9, state=(50.0, 3.0, 10.0, 0.0), existence=0.9, age=0.0, hits=5):
    return number, state, existence, age, hits


def test_a_young_track_where_a_lost_one_may_be_by_now_gets_its_number():
    number, left = identity.recognised(table(young()), ints(), lost(4), T)  # 20 m + 3 s at 10 m/s
    assert (number.tolist(), len(left)) == ([4], 0)
    places = np.array([[20.0, 3.0, 10.0, 0.0], [20.0, -9.0, 10.0, 0.0]])
    both = identity.Lost(ints(4, 5), places, ints(T - 3 * S, T - 3 * S))
    number, left = identity.recognised(table(young()), ints(), both, T)
    assert (number.tolist(), left.id.tolist(), left.state[0, 1], left.updated.tolist()) == ([4], [5], -9.0, [T - 3 * S])


@pytest.mark.parametrize("other", [
    young(existence=0.89), young(age=1e-9), young(hits=6), young(state=(90.0, 3.0, 10.0, 0.0)),
    young(state=(50.0, 16.0, 10.0, 0.0)), young(state=(50.0, 3.0, 40.0, 0.0)),
])  # fmt: skip
def test_who_is_no_newcomer_or_somewhere_else_keeps_its_own_number(other):
    was = lost(4)
    number, left = identity.recognised(table(other), ints(), was, T)
    assert number.tolist() == [9]
    assert left is was


def test_who_was_known_takes_no_lost_number():
    was = lost(4)
    assert identity.recognised(table(young()), ints(9), was, T)[0].tolist() == [9]
    assert identity.recognised(table(young()), ints(8), was, T)[0].tolist() == [4]


@pytest.mark.parametrize(("unseen", "existence", "number", "swaps"), [
    (0.11, 0.9, 4, True), (0.1, 0.9, 4, False), (0.11, 0.89, 4, False), (0.11, 0.9, 12, False),
])  # fmt: skip
def test_a_young_track_beside_one_that_coasts_swaps_numbers_with_an_older_one(unseen, existence, number, swaps):
    rows = table((number, (50.5, 3.0, 10.0, 0.0), existence, unseen, 80), young())
    found, left = identity.recognised(rows, ints(9), lost(), T)
    assert found.tolist() == ([9, number] if swaps else [number, 9])
    assert len(left) == 0


def test_of_two_newcomers_the_likelier_one_is_it():
    rows = table(young(8, (53.0, 3.0, 10.0, 0.0)), young(9, (50.2, 3.0, 10.0, 0.0)))
    assert identity.recognised(rows, ints(), lost(4), T)[0].tolist() == [8, 4]


def test_what_a_driver_may_have_done_unseen_is_by_how_much_a_place_may_be_off():
    """White acceleration of 6 along and 1 across for 3 s, and what was not known at the last detection."""
    age, d = 3.0, identity.DOUBT
    along = 1.0 + 5.0 * 100.0 / 104.0 + 0.0 * 4.0
    q = np.diag([along, 1.0])
    spread = np.block([[q * age**3 / 3 + d * (1 + age**2) * np.eye(2), q * age**2 / 2 + d * age * np.eye(2)],
                       [q * age**2 / 2 + d * age * np.eye(2), q * age + d * np.eye(2)]]) + np.eye(4) * 0.05
    off = np.array([4.0, 1.0, 2.0, -0.5])
    wanted = off @ np.linalg.inv(spread) @ off + np.log(np.linalg.det(spread))
    old = np.array([[50.0, 3.0, 10.0, 0.0]])
    found = identity._cost(old + off, np.eye(4)[None] * 0.05, old, np.array([age]))
    assert found[0, 0] == pytest.approx(wanted)
    assert wanted < identity.UNLIKELY
    assert identity._cost(old + 5 * off, np.eye(4)[None] * 0.05, old, np.array([age]))[0, 0] == INF


# --- silence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 10.0, 80.0])
def test_a_direction_is_as_wide_as_the_window_and_half_a_body(distance):
    half = si.WINDOW + si.BODY / max(distance, si.BODY)
    for off, quiet in ((half - 1e-6, False), (half + 1e-6, True)):
        for sign in (1.0, -1.0):
            heard = np.array([0.2 + sign * off])
            assert si.silent(np.array([0.2]), np.array([distance]), heard).tolist() == [quiet]
    for view, told in ((0.2 + half - 1e-6, False), (0.2 + half + 1e-6, True)):
        for azimuth in (0.2, -0.2):
            assert si.silent(np.array([azimuth]), np.array([distance]), np.zeros(0), view).tolist() == [told]


def quiet(*numbers, azimuth=0.1, distance=40.0, heard=(), hit=()):
    n = len(numbers)
    return si.Silent(ints(*numbers), np.full(n, azimuth), np.array(heard, float), np.full(n, distance), ints(*hit))


def test_a_silent_direction_counts_its_scans_and_keeps_what_it_may_ask_for():
    ahead = ((4, Mode.FIRM_STOP, si.SCANS),)
    one = si.followed((), quiet(4), ahead)
    assert one == (si.Direction(4, 0.1, 1, Mode.FIRM_STOP, si.SCANS, 40.0),)
    two = si.followed(one, quiet(4, azimuth=0.15, distance=38.0), ())
    assert two == (si.Direction(4, 0.15, 2, Mode.FIRM_STOP, si.SCANS, 38.0),)
    weaker = si.followed(two, quiet(4), ((4, Mode.COMFORT_STOP, si.PATIENCE),))
    assert weaker == (si.Direction(4, 0.1, 3, Mode.FIRM_STOP, si.SCANS, 40.0),)
    gone = si.followed(weaker, quiet(), ())
    assert gone == (replace(weaker[0], scans=4),)
    assert si.followed(gone, quiet(heard=[0.1]), ()) == ()
    assert si.followed(gone, quiet(hit=[4]), ()) == ()
    assert si.followed(gone, quiet(hit=[5]), ()) != ()
    plain = si.followed((), quiet(6), ahead)
    assert plain == (si.Direction(6, 0.1, 1, Mode.NOMINAL, si.PATIENCE, 40.0),)
    assert [d.id for d in si.followed(gone, quiet(2), ())] == [2, 4]


@pytest.mark.parametrize(("scans", "patience", "demand", "blocked"), [
    (6, 6, Mode.COMFORT_STOP, True), (5, 6, Mode.FIRM_STOP, False), (60, 6, Mode.NOMINAL, False),
    (7, 6, Mode.SPEED_CAP, True),
])  # fmt: skip
def test_a_direction_is_blocked_when_it_matters_and_was_silent_for_long(scans, patience, demand, blocked):
    assert si.Direction(1, 0.0, scans, demand, patience).blocked == blocked


def test_who_moves_in_the_way_is_missed_after_a_moment_without_any_scan():
    ahead = ((1, Mode.FIRM_STOP, si.SCANS), (2, Mode.COMFORT_STOP, si.SCANS), (3, Mode.FIRM_STOP, si.PATIENCE))
    for age, asked in ((0.4, Mode.NOMINAL), (0.41, Mode.FIRM_STOP)):
        heard = [T - round(age * S), T - S, T - S]
        rows = tracks(*[(9.0, 0.0, 1.0, 0.0)] * 3, updated=heard)
        assert si.unheard(ahead, rows, T) == asked
        assert si.unheard(ahead[1:], rows, T) == Mode.NOMINAL


BESIDE = from_mapping({})
BLIND = 10.0 * BESIDE.tracking.unseen_time


@pytest.mark.parametrize(("changes", "counts"), [
    ({}, True), ({"y": 5.499}, True), ({"y": -5.501}, False), ({"gap": 0.0}, False), ({"gap": 0.01}, True),
    ({"gap": BLIND - 0.01}, True), ({"gap": BLIND + 0.01}, False), ({"vx": -1.49}, True), ({"vx": -1.5}, False),
    ({"moved": False}, False), ({"moved": False, "vy": -0.6}, True), ({"moved": False, "vy": 0.6}, False),
    ({"moved": False, "vy": -0.45}, False), ({"moved": False, "vy": -0.6, "variance": 0.25}, False),
])  # fmt: skip
@pytest.mark.parametrize("yaw", [0.0, 1.1])
def test_who_moves_beside_the_course_within_the_way_that_ego_makes_unseen(changes, counts, yaw):
    row = {"gap": 15.0, "y": 3.0, "vx": 8.0, "vy": 0.0, "moved": True, "variance": 0.01} | changes
    c, s = math.cos(yaw), math.sin(yaw)
    ahead = BESIDE.vehicle.front + row["gap"]
    place = [5.0 + c * ahead - s * row["y"], -3.0 + s * ahead + c * row["y"]]
    speed = [c * row["vx"] - s * row["vy"], s * row["vx"] + c * row["vy"]]
    rows = tracks((*place, *speed), moved=row["moved"], variance=row["variance"])
    ego = Odometry(T, 5.0, -3.0, yaw, 10.0, 0.0)
    assert si.ahead_of(ego, rows, (), BESIDE) == (((1, Mode.FIRM_STOP, si.SCANS),) if counts else ())


def test_who_is_slower_counts_as_far_as_ego_gets_in_that_time_and_in_a_firm_stop():
    ego = Odometry(T, 0.0, 0.0, 0.0, 20.0, 0.0)
    reach = 20.0 * 2.0 + 400.0 / (2 * BESIDE.fallback.firm_deceleration)
    front = BESIDE.vehicle.front
    for gap, counts in ((min(reach, 64.9), True), (reach + 0.1, False)):
        rows = tracks((front + gap, 3.0, 0.0, -1.0))
        assert len(si.ahead_of(ego, rows, (), BESIDE)) == counts
    back = Odometry(T, 0.0, 0.0, 0.0, -2.0, 0.0)
    rear = BESIDE.vehicle.rear
    assert len(si.ahead_of(back, tracks((-rear - 2.0, 2.0, 0.0, -0.5)), (), BESIDE)) == 1
    assert len(si.ahead_of(back, tracks((front + 2.0, 2.0, 0.0, -0.5)), (), BESIDE)) == 0


# --- reflections ----------------------------------------------------------------------------------------------------


def double(distance=60.0, azimuth=0.1, rate=-16.0, source=(30.0, 0.1, -8.0), existence=(0.9, 0.9), asked=(1,)):
    z = np.array([source, (distance, azimuth, rate)])
    still = np.zeros((2, 4))
    return ghosts.suspects(ORIGIN, z, still, np.array(existence), np.zeros(2, bool), ints(*asked)).tolist()


OFF = ghosts.RANGE_OFF + ghosts.RANGE_SHARE * 60.0
RATE = ghosts.RATE_OFF + ghosts.RATE_SHARE * 16.0
ANGLE = ghosts.DIRECTION + 1.0 / 60.0


def test_a_double_bounce_is_twice_as_far_and_twice_as_fast_in_one_direction():
    assert double() == [True]
    assert double(asked=(0, 1)) == [False, True]
    assert double(asked=()) == []
    for sign in (1.0, -1.0):
        assert double(rate=-16.0 + sign * (RATE - 0.01)) == [True]
        assert double(rate=-16.0 + sign * (RATE + 0.01)) == [False]
        assert double(azimuth=0.1 + sign * (ANGLE - 1e-4)) == [True]
        assert double(azimuth=0.1 + sign * (ANGLE + 1e-4)) == [False]
        inside, outside = 30.0 + sign * (OFF / 2 - 0.02), 30.0 + sign * (OFF / 2 + 0.02)
        assert double(source=(inside, 0.1, -8.0)) == [True]
        assert double(source=(outside, 0.1, -8.0)) == [False]
    assert double(azimuth=0.1 + 2 * math.pi) == [True]
    assert double(existence=(0.89, 0.9)) == [False]
    assert double(existence=(0.9, 0.89)) == [False]
    assert double(0.7, rate=0.0, source=(0.8, 0.1, 0.0)) == [False]  # no farther than its object


def mirror(rail=4.0, place=(30.0, 8.0), speed=(10.0, -1.0), posts=(8.0, 12.0, 22.0), pose=ORIGIN, object_speed=None,
           existence=0.9, moved=True, standing=0.0, post_existence=0.5):  # fmt: skip
    """A car at y = 0, its image behind a rail along y = `rail`, and the rail's posts; None without posts."""
    rows = [(30.0, 0.0, *(object_speed or (10.0, 1.0))), (*place, *speed)] + [(x, rail, standing, 0.0) for x in posts]
    state, n = np.array(rows), len(posts)
    z = np.stack([np.hypot(state[:, 0], state[:, 1]), np.arctan2(state[:, 1], state[:, 0]), np.full(n + 2, 3.0)], 1)
    return ghosts.suspects(pose, z, state, np.array([0.9, existence] + n * [post_existence]),
                           np.array([True, moved] + n * [False]), ints(0, 1)).tolist()


def test_a_mirror_image_stands_behind_a_line_of_posts_with_the_mirrored_speed():
    assert mirror() == [False, True]
    assert mirror(speed=(10.0, -1.9)) == [False, True]
    assert mirror(speed=(10.0, -2.1)) == [False, False]
    assert mirror(speed=(11.1, -1.0)) == [False, False]
    assert mirror(rail=4.9) == [False, True]
    assert mirror(rail=5.0) == [False, False]
    assert mirror(rail=5.1) == [False, False]
    # The sensor sees the image through the rail 15 m ahead: posts on both sides of there, three of them, not far off.
    assert mirror(posts=(8.0, 22.0)) == [False, False]
    assert mirror(posts=(16.0, 18.0, 22.0)) == [False, False]
    assert mirror(posts=(8.0, 10.0, 14.0)) == [False, False]
    assert mirror(posts=(8.0, 12.0, 29.9)) == [False, True]
    assert mirror(posts=(8.0, 12.0, 30.0)) == [False, False]
    assert mirror(posts=(8.0, 10.0, 15.0)) == [False, False]
    assert mirror(posts=(0.1, 12.0, 22.0)) == [False, True]
    assert mirror(posts=(-0.1, 12.0, 22.0)) == [False, False]
    assert mirror(pose=SensorPose(0.0, 5.0, 0.0, 0.0, 0.0)) == [False, False]  # it would look from behind the rail
    assert mirror(existence=0.89) == [False, False]
    assert mirror(moved=False) == [False, False]
    assert mirror(standing=1.1) == [False, False]
    assert mirror(post_existence=0.49) == [False, False]
    assert mirror(place=(30.0, 3.9), rail=1.95) == [False, False]  # too near to the line to be told apart
    assert mirror(place=(30.0, 4.1), rail=2.05) == [False, True]


def test_of_two_images_each_needs_posts_of_its_own():
    """Two rails: that of the first image has posts on both sides of where it is seen, that of the second does not."""
    cars = [(30.0, 0.0, 10.0, 1.0), (30.0, 8.0, 10.0, -1.0), (30.0, -12.0, 10.0, -1.0)]
    posts = [(x, 4.0, 0.0, 0.0) for x in (8.0, 12.0, 22.0)] + [(x, -6.0, 0.0, 0.0) for x in (17.0, 20.0, 22.0)]
    state = np.array(cars + posts)
    z = np.stack([np.hypot(state[:, 0], state[:, 1]), np.arctan2(state[:, 1], state[:, 0]), np.full(9, 3.0)], 1)
    moved = np.arange(9) < 3

    def images(state):
        return ghosts.suspects(ORIGIN, z, state, np.full(9, 0.95), moved, ints(1, 2)).tolist()

    assert images(state) == [True, False]
    state[6, 0] = 10.0
    assert images(state) == [True, True]
    state[3:5, 0] = 16.0, 18.0
    assert images(state) == [False, True]


# --- odometry against the standing world ----------------------------------------------------------------------------


def observed(rates, pose, azimuths=None, t=T):
    n = len(rates)
    z = np.stack([np.linspace(10.0, 50.0, n), np.zeros(n) if azimuths is None else azimuths, rates], axis=1)
    return Observation(t, Detections(z, np.full((n, 3), 0.01)), pose, SENSOR)


def fitted(state, expected, rates, fade):
    """The weighted fit, written out."""
    residual = rates - expected
    near = (np.abs(expected) > dp.SPEED_MIN) & (np.abs(residual) < dp.NEAR_SPEED + dp.NEAR_SHARE * np.abs(expected))
    e, r, scale = expected[near], residual[near], state.scale
    for _ in range(dp.ITERATIONS):
        fit = 1 / (1 + (r - scale * e) ** 2 / (4 * 0.02))
        info = fade * state.information + np.sum(fit / 0.02 * e * e)
        moment = fade * state.moment + np.sum(fit / 0.02 * e * r)
        scale = moment / (info + 1 / dp.PRIOR**2)
    return info, moment, fade * state.evidence + fit.sum()


def test_the_scale_of_speed_is_the_weighted_fit_of_what_may_stand():
    pose = SensorPose(0.0, 0.0, 0.3, 20.0, 2.0)
    azimuths = np.array([0.0, 0.4, -0.6, 0.9, 1.4, -1.0])
    expected = -(20.0 * np.cos(azimuths + 0.3) + 2.0 * np.sin(azimuths + 0.3))
    rates = expected * 1.01 + np.array([0.02, -0.05, 0.3, -0.7, 0.0, 1.5])
    state = dp.SpeedCheck(T - S, 500.0, 4.0, 30.0)
    found = dp.checked(state, observed(rates, pose, azimuths))
    wanted = fitted(state, expected, rates, math.exp(-1.0 / dp.MEMORY))
    assert (found.information, found.moment, found.evidence) == pytest.approx(wanted)
    assert found.t == T
    first = dp.checked(dp.SpeedCheck(), observed(rates, pose, azimuths))
    assert (first.information, first.moment, first.evidence) == pytest.approx(
        fitted(dp.SpeedCheck(), expected, rates, 0.0))  # fmt: skip
    assert dp.checked(found, observed(rates, pose, azimuths)) is found


@pytest.mark.parametrize(("speed", "off", "counts"), [
    (3.1, 0.0, True), (2.9, 0.0, False), (10.0, 0.59, True), (10.0, 0.61, False), (10.0, -0.59, True),
    (10.0, -0.61, False), (-10.0, 0.59, True), (-10.0, 0.61, False),
])  # fmt: skip
def test_what_may_stand_is_near_the_rate_of_what_stands(speed, off, counts):
    found = dp.checked(dp.SpeedCheck(), observed(np.array([off - speed]), SensorPose(0.0, 0.0, 0.0, speed, 0.0)))
    assert (found.evidence > 0) == counts


def test_a_scale_is_asked_trusted_and_told():
    check = dp.SpeedCheck(T, 1e6, 9e3, dp.EVIDENCE_MIN)
    assert check.scale == pytest.approx(9e3 / (1e6 + 1 / dp.PRIOR**2))
    assert check.trusted
    assert not replace(check, evidence=dp.EVIDENCE_MIN - 0.01).trusted
    assert [check.exceeds(r) for r in (0.008, 0.0095)] == [True, False]
    assert replace(check, moment=-9e3).exceeds(0.008)
    assert not replace(check, evidence=1.0).exceeds(0.0)
    assert [check.at(T + d) for d in (0, nanoseconds(0.149), nanoseconds(0.15), -1)] == [False, False, True, True]
    assert dp.SpeedCheck().at(0)
    assert check.text() == "odometry reads 0.9% low against the Doppler of the standing world"
    assert replace(check, moment=-9e3).text().startswith("odometry reads 0.9% high")
    pose = dp.PoseCheck(None, 202.0, dp.DISTANCE_MIN)
    assert pose.trusted
    assert not replace(pose, read=199.9).trusted
    assert pose.scale == pytest.approx(0.01)
    assert dp.PoseCheck().scale == 0.0
    assert pose.text() == "odometry reads 1.0% low against its own pose"


def history(duration, speed=10.0, scale=1.01, turn=0.0, end=T, step=0.1):
    n = round(duration / step)
    return EgoHistory(tuple(
        Odometry(end - round((n - i) * step * S), scale * speed * i * step, 0.0, turn * i / n, speed, 0.0)
        for i in range(n + 1)))  # fmt: skip


def test_a_stretch_of_pose_and_of_speed_is_added_every_half_second():
    start = dp.PoseCheck(None, 100.0, 90.0)
    whole = history(0.6)
    begun = dp.compared(start, EgoHistory(whole.samples[:1]))
    assert (begun.last, begun.driven, begun.read) == (whole.samples[0], 100.0, 90.0)
    assert dp.compared(begun, EgoHistory(whole.samples[:5])) is begun  # 0.4 s
    fade = math.exp(-0.6 / dp.POSE_MEMORY)
    found = dp.compared(begun, whole)
    assert (found.driven, found.read) == pytest.approx((fade * 100.0 + 6.06, fade * 90.0 + 6.0))
    assert found.last == whole.samples[-1]
    for odd in (history(0.6, speed=2.9), history(0.6, turn=0.21), history(0.6, turn=-0.21)):
        faded = dp.compared(dp.PoseCheck(odd.samples[0], 100.0, 90.0), odd)
        assert (faded.driven, faded.read, faded.last) == pytest.approx((fade * 100.0, fade * 90.0, odd.samples[-1]))
    for odd in (history(0.6, speed=3.1), history(0.6, turn=0.19), history(0.6, speed=-10.0)):
        assert dp.compared(dp.PoseCheck(odd.samples[0]), odd).read > 1.0
    jump = replace(whole.samples[0], t=whole.samples[0].t - 1)
    assert dp.compared(dp.PoseCheck(jump, 5.0, 5.0), whole) == dp.PoseCheck(whole.samples[-1], 5.0, 5.0)
    assert dp.compared(start, EgoHistory()) is start


# --- existence ------------------------------------------------------------------------------------------------------


def area(sensor=SENSOR):
    return (sensor.range_max - sensor.range_min) * 2 * sensor.half_angle


def test_clutter_is_spread_over_all_rates_and_around_that_of_the_standing_world():
    pose = SensorPose(0.0, 0.0, 0.2, 10.0, 3.0)
    z = np.array([[20.0, 0.3, -9.0], [20.0, 0.3, 5.0]])
    static = -(10.0 * math.cos(0.5) + 3.0 * math.sin(0.5))
    sigma = math.hypot(ex.STATIC_DOPPLER_SIGMA, SENSOR.sigma_range_rate)
    bell = np.exp(-((z[:, 2] - static) ** 2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
    wanted = P.clutter_rate / area() * (0.5 * bell + 0.5 / ex.CLUTTER_SPEED_SPAN + 1e-6)
    assert ex.clutter_density(z, pose, SENSOR, P) == pytest.approx(wanted, rel=1e-12)
    share = replace(P, static_clutter_share=0.2)
    wanted = P.clutter_rate / area() * (0.2 * bell + 0.8 / ex.CLUTTER_SPEED_SPAN + 1e-6)
    assert ex.clutter_density(z, pose, SENSOR, share) == pytest.approx(wanted, rel=1e-12)


def test_birth_hit_miss_and_fading_by_their_formulas():
    reference = P.clutter_rate / area() / ex.CLUTTER_SPEED_SPAN
    odds = P.birth_existence / (1 - P.birth_existence)
    born = ex.newborn(np.array([reference / 2, reference, 4 * reference]), SENSOR, P)
    assert born == pytest.approx([P.birth_existence, P.birth_existence, odds / 4 / (1 + odds / 4)])
    gain = ex.hit_gain(np.array([-2.0]), np.array([0.01]), P)
    assert gain == pytest.approx(math.log(P.detection_probability) - 2.0 - math.log(0.01))
    assert ex.miss_gain(P) == pytest.approx(math.log(1 - P.detection_probability * P.gate_probability))
    assert ex.faded(np.array([0.8]), 5.0, 5.0) == pytest.approx(2.0 / 3.0)  # odds 4 to 2
    assert ex.faded(np.array([0.8]), -5.0, 5.0) == pytest.approx(0.8)


def test_a_miss_says_nothing_at_the_edge_of_view():
    sensor = replace(SENSOR, range_min=0.5, range_max=100.0, half_angle=0.8)
    margin = ex.VIEW_MARGIN_RANGE * 100.0
    far, near, side = 100.0 - margin, 0.5 + 0.5, 0.8 - ex.VIEW_MARGIN_ANGLE
    places = [(50.0, 0.0), (far - 1e-6, 0.0), (far + 1e-6, 0.0), (near + 1e-6, 0.0), (near - 1e-6, 0.0),
              (50.0, side - 1e-6), (50.0, side + 1e-6), (50.0, -side + 1e-6), (50.0, -side - 1e-6)]  # fmt: skip
    assert ex.in_view(np.array(places), sensor).tolist() == [True, True, False, True, False, True, False, True, False]
    wide = replace(sensor, range_min=5.0)
    assert ex.in_view(np.array([(7.0 + 1e-6, 0.0), (7.0 - 1e-6, 0.0)]), wide).tolist() == [True, False]


# --- one scan -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "good"), [
    ((10.0, 0.0, 0.0), True), ((0.0, 0.0, 0.0), False), ((1e-9, 0.0, 0.0), True),
    ((SENSOR.range_max * RANGE_MARGIN, 0.0, 0.0), True), ((SENSOR.range_max * RANGE_MARGIN + 1e-6, 0.0, 0.0), False),
    ((10.0, math.pi, 0.0), True), ((10.0, -math.pi, 0.0), True), ((10.0, 3.2, 0.0), False),
    ((10.0, 0.0, RANGE_RATE_MAX), True), ((10.0, 0.0, -RANGE_RATE_MAX), True), ((10.0, 0.0, 150.1), False),
    ((NAN, 0.0, 0.0), False), ((10.0, NAN, 0.0), False), ((10.0, 0.0, NAN), False), ((INF, 0.0, 0.0), False),
])  # fmt: skip
def test_a_detection_is_usable_within_what_is_possible(row, good):
    assert usable(np.array([row]), SENSOR).tolist() == [good]


def test_detections_are_put_in_one_order_whatever_else_they_carry():
    z = np.array([[9.0, 0.2, 1.0], [5.0, 0.1, 2.0], [9.0, 0.1, 1.0], [9.0, 0.1, 0.5], [-1.0, 0.0, 0.0]])
    sigma, trust = np.arange(15.0).reshape(5, 3) + 1.0, np.array([0.5, 3.0, 0.7, 0.2, 1.0])
    extent = np.array([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0], [0.4, 0.0], [0.5, 0.0]])
    found = canonical(z, sigma, SENSOR, P, trust, extent)
    order = [1, 3, 2, 0]
    assert found.z.tolist() == z[order].tolist()
    assert found.variance.tolist() == (sigma[order] ** 2).tolist()
    assert found.trust.tolist() == [1.0, 0.2, 0.7, 0.5]
    assert found.extent.tolist() == extent[order].tolist()
    plain = canonical(z, sigma, SENSOR, replace(P, detections_max=2))
    assert plain.z.tolist() == z[order[:2]].tolist()
    assert (plain.trust.tolist(), plain.extent.tolist()) == ([1.0, 1.0], [[0.0, 0.0]] * 2)
    assert canonical(z, sigma, SENSOR, P, None, extent).trust.tolist() == [1.0] * 4
    assert canonical(z, sigma, SENSOR, P, trust).extent.tolist() == [[0.0, 0.0]] * 4
    some = found[np.array([0, 2])]
    assert (some.z.tolist(), some.trust.tolist(), some.extent.tolist()) == (
        z[[1, 2]].tolist(), [1.0, 0.7], extent[[1, 2]].tolist())  # fmt: skip


def test_returns_of_one_body_give_its_nearest_range_the_means_of_the_rest_and_its_size():
    z = np.array([[20.0, 0.00, -3.0], [20.4, 0.05, -3.3], [21.0, 0.01, -2.7], [40.0, 0.0, -3.0]])
    sigma = np.array([0.1, 0.004, 0.1])
    found = merged(Detections(z, np.tile(sigma**2, (4, 1))), P)
    assert found.z[0] == pytest.approx([20.0, 0.02, -3.0])
    assert found.z[1].tolist() == z[3].tolist()
    side = (0.05 - 0.02 - EXTENT_NOISE * 0.004) * 20.4
    assert found.extent[0] == pytest.approx([side, 1.0 - EXTENT_NOISE * 0.1])
    assert found.extent[1].tolist() == [0.0, 0.0]
    for off, count in (((1.49, 0.0), 1), ((1.51, 0.0), 2), ((0.0, 0.74), 1), ((0.0, 0.76), 2)):
        pair = np.array([[20.0, 0.0, 1.0], [20.0 + off[0], 0.0, 1.0 + off[1]]])
        assert len(merged(Detections(pair, np.full((2, 3), 0.01)), P)) == count
    across = np.array([[20.0, math.pi - 0.02, 0.0], [20.0, -math.pi + 0.02, 0.0]])
    assert abs(merged(Detections(across, np.full((2, 3), 1e-6)), P).z[0, 1]) == pytest.approx(math.pi)
    apart = Detections(z, np.full((4, 3), 0.01))
    assert merged(apart, replace(P, cluster_distance=0.0)) is apart
    half = Detections(z[:2], np.full((2, 3), 0.01), trust=np.array([0.3, 0.9]))
    assert merged(half, P).trust.tolist() == [0.3]


def test_the_gate_gives_distance_and_likelihood_of_what_is_inside():
    state = np.array([[30.0, 2.0, -5.0, 1.0]])
    expected = kalman.expect(state, np.diag([0.3, 0.4, 0.5, 0.6])[None], ORIGIN)
    variance = np.array([[0.06, 5e-5, 0.02]])
    S_ = expected.spread[0] + np.diag(variance[0])
    for share, inside in ((0.99, True), (1.01, False)):
        axis = np.linalg.cholesky(S_) @ np.array([0.6, -0.48, 0.64])
        off = axis * math.sqrt(16.266) * share  # chi-square of three, 0.999
        found = gate(expected, Detections(expected.z + off, variance), 0.999)
        assert len(found.track) == inside
        if inside:
            d = off @ np.linalg.inv(S_) @ off
            assert found.distance == pytest.approx([d])
            assert found.log_likelihood == pytest.approx([-(d + np.log(np.linalg.det(S_)) + LOG_TAU) / 2])
    assert len(gate(expected, Detections(np.zeros((0, 3)), np.zeros((0, 3))), 0.999).track) == 0


def test_a_pair_that_scores_nothing_is_no_match_and_the_first_choose_first():
    pairs = Pairs(ints(0, 0, 1), ints(0, 1, 0), np.zeros(3), np.zeros(3))
    score = np.array([2.0, 1.0, 5.0])
    nobody, first = np.zeros(2, bool), np.array([True, False])
    assert assign(pairs, score, nobody, 2).tolist() == [1, 2]
    assert assign(pairs, score, first, 2).tolist() == [0]
    assert assign(pairs, np.array([2.0, 0.0, 0.0]), nobody, 2).tolist() == [0]
    assert assign(pairs, np.array([-1.0, 0.5, 0.1]), first, 2).tolist() == [1, 2]


def test_what_lies_in_egos_outline_or_the_excluded_sector_is_its_own():
    vehicle, sensor = Vehicle(), Sensor(kind="radar", topic="r", x=3.0, y=0.5, yaw=0.0, sigma_range=0.1)

    def own(x, y, sensor=sensor):
        dx, dy = x - sensor.x, y - sensor.y
        z = np.array([[math.hypot(dx, dy), math.atan2(dy, dx) - sensor.yaw, 0.0]])
        return own_body(z, sensor, vehicle).tolist()[0]

    front, rear, half = vehicle.front - 0.1, 0.1 - vehicle.rear, vehicle.width / 2 - 0.1
    for turned in (sensor, replace(sensor, yaw=0.7)):
        assert [own(front + d, 0.2, turned) for d in (-1e-6, 1e-6)] == [True, False]
        assert [own(rear + d, 0.2, turned) for d in (-1e-6, 1e-6)] == [False, True]
        assert [own(1.0, half + d, turned) for d in (-1e-6, 1e-6)] == [True, False]
        assert [own(1.0, -half + d, turned) for d in (-1e-6, 1e-6)] == [False, True]
    hitch = replace(sensor, x=10.0, exclude_range=2.0, exclude_from=-0.2, exclude_to=0.3)
    z = np.array([[2.0, 0.3, 0.0], [2.0, -0.2, 0.0], [2.01, 0.0, 0.0], [1.0, 0.31, 0.0], [1.0, -0.21, 0.0]])
    assert own_body(z, hitch, vehicle).tolist() == [True, True, False, False, False]


def test_what_a_list_says_of_its_errors_and_sides_counts_where_it_is_known():
    sensor = Sensor(kind="radar_tracks", topic="r", x=3.7)
    sigma = np.array([[1.0, 0.001, 0.01], [NAN, -1.0, 0.0]])
    columns = {"range": np.array([20.0, 30.0, -1.0]), "azimuth": np.zeros(3), "range_rate": np.zeros(3)}
    scan = RadarScan("r", 0, **columns, sigma=np.vstack([sigma, sigma[:1]]), half_width=np.array([0.8, NAN, 1.0]),
                     trust=np.array([0.5, NAN, 1.0]), from_objects=True)  # fmt: skip
    seen = observe(scan, 0, STILL, sensor, P)
    assert (len(seen.found), seen.rejected, seen.own, seen.name, seen.from_objects) == (1, 2, 0, "r", True)
    assert np.sqrt(seen.found.variance[0]) == pytest.approx([1.0, sensor.sigma_azimuth, sensor.sigma_range_rate])
    assert seen.found.extent.tolist() == [[0.8, 0.0]]
    assert seen.found.trust.tolist() == [0.5]
    whole = observe(replace(scan, trust=None), 0, STILL, sensor, P)
    assert (len(whole.found), whole.rejected) == (2, 1)
    assert np.sqrt(whole.found.variance[1]) == pytest.approx(
        [sensor.sigma_range, sensor.sigma_azimuth, sensor.sigma_range_rate])  # fmt: skip
    assert whole.found.extent[1].tolist() == [0.0, 0.0]
    plain = observe(RadarScan("r", 0, **columns), 0, STILL, replace(sensor, kind="radar"), P)
    wander = np.hypot(sensor.sigma_azimuth, P.extent_sigma / np.array([20.0, 30.0]))
    assert np.sqrt(plain.found.variance[:, 1]) == pytest.approx(wander)


# --- trust ----------------------------------------------------------------------------------------------------------


def test_innovations_fade_and_are_judged_when_there_are_enough():
    first = tr.judged(tr.RadarTrust(), tr.Fit(600.0, 150), T)
    assert (first.t, first.nis, first.weight) == (T, 600.0, 150.0)
    assert math.isnan(first.consistency)
    fade = math.exp(-0.5 / tr.MEMORY)
    second = tr.judged(first, tr.Fit(500.0, 100), T + S // 2)
    assert (second.nis, second.weight) == pytest.approx((fade * 600.0 + 500.0, fade * 150.0 + 100.0))
    assert second.consistency == pytest.approx(second.nis / second.weight)
    assert replace(second, weight=tr.INNOVATIONS_MIN).consistency == pytest.approx(second.nis / 200.0)


def finding(code, why):
    return tr.Finding(code, "front", f"front: {why}")


def test_a_sector_goes_dark_by_what_was_expected_while_nothing_returned():
    trust = tr.RadarTrust()
    for k, (expected, returns) in enumerate([((2, 3, 0), (0, 0, 1)), ((3, 1, 0), (0, 2, 0)), ((1, 2, 4), (0, 0, 0))]):
        trust = tr.judged(trust, tr.Fit(0.0, 0, ints(*expected), ints(*returns)), T + k)
    assert (trust.dark, trust.objects, trust.empty) == ((6, 2, 4), (3, 2, 4), True)
    dark = replace(trust, dark=(12, 11, 12), objects=(3, 9, 2))
    assert dark.obstructed == (0,)
    text, = tr.radar_findings("front", replace(dark, empty=False))
    assert text == finding(Code.RADAR_OBSTRUCTED, "3 known objects vanished at once from its right sector")
    both = replace(dark, dark=(12, 12, 12), objects=(3, 4, 5))
    text, = tr.radar_findings("front", both)
    assert text == finding(Code.RADAR_BLOCKED, "12 known objects vanished at once and nothing is detected any more")
    text, = tr.radar_findings("front", replace(both, empty=False))
    assert text.text.endswith("from its right and centre and left sector")


def test_a_radar_that_is_off_or_silent_in_egos_way_is_told_with_numbers():
    off = tr.RadarTrust(T, 6.0 * 250, 250.0)
    text, = tr.radar_findings("front", off)
    why = "mean squared innovation 6.0, expected 3: noise, mount or latency are off"
    assert text == finding(Code.RADAR_INCONSISTENT, why)
    assert tr.radar_findings("front", replace(off, nis=5.5 * 250)) == ()
    right, left = math.radians(-20.0), math.radians(10.0)
    gone = tr.RadarTrust(T, silent=(si.Direction(4, left, 6, Mode.FIRM_STOP, 6), si.Direction(5, 0.0, 6),
                                    si.Direction(7, right, 9, Mode.COMFORT_STOP, 6)))  # fmt: skip
    text, = tr.radar_findings("front", gone)
    who = "track 4 at 10 deg and track 7 at -20 deg"
    why = f"{who} vanished from ego's way, and nothing has come back from there since"
    assert text == finding(Code.RADAR_BLOCKED, why)
    whole = replace(gone, dark=(12, 12, 12), objects=(3, 3, 3), empty=True)
    assert len(tr.radar_findings("front", whole)) == 1  # said once
    assert len(tr.radar_findings("front", replace(whole, empty=False))) == 2


def test_sectors_are_equal_parts_from_right_to_left():
    sensor = replace(SENSOR, half_angle=0.9)
    azimuths = np.array([-2.0, -0.9, -0.301, -0.299, 0.0, 0.299, 0.301, 0.9, 2.0])
    assert tr.sectors(azimuths, sensor).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(("existence", "hits", "known"), [(0.99, 10, True), (0.989, 10, False), (0.99, 9, False)])
def test_a_radar_is_judged_by_well_known_tracks(existence, hits, known):
    assert tr.mature(tracks((1.0, 1.0, 1.0, 1.0), existence=existence, hits=hits)).tolist() == [known]


@pytest.mark.parametrize(("changes", "found"), [
    ({}, True), ({"existence": 0.99989}, False), ({"hits": 19}, False), ({"echo": Echo.OBJECT}, False),
    ({"confirmed": False}, False), ({"x": 2.41}, False), ({"x": 2.39}, True), ({"speed": 4.01}, False),
    ({"speed": -4.0}, True), ({"bearing": 0.29}, True), ({"bearing": 0.31}, False), ({"bearing": -0.31}, False),
])  # fmt: skip
@pytest.mark.parametrize("yaw", [0.0, 2.0])
def test_a_transducer_is_contradicted_by_who_is_surely_well_inside_its_cone(changes, found, yaw):
    row = {"existence": 0.9999, "hits": 20, "echo": Echo.CLEAR, "confirmed": True, "x": 2.0, "speed": 1.0,
           "bearing": 0.0} | changes  # fmt: skip
    c, s = math.cos(yaw), math.sin(yaw)
    x, y = 3.7 + row["x"] * math.cos(row["bearing"] + 0.2), 0.5 + row["x"] * math.sin(row["bearing"] + 0.2)
    place = (7.0 + c * x - s * y, -2.0 + s * x + c * y, 0.0, 0.0)
    arc = Arc("us", T, row["echo"], 4.0, 0.0, 4.0, row["confirmed"], 3.7, 0.5, 0.2, 0.5)
    rows = tracks(place, existence=row["existence"], hits=row["hits"])
    ego = Odometry(T, 7.0, -2.0, yaw, row["speed"], 0.0)
    conf = from_mapping({})
    assert contradiction.contradicted((), rows, (arc,), ego, T, conf) == ((("us", T),) if found else ())
    if found:
        since = contradiction.contradicted((("us", T - S),), rows, (arc,), ego, T, conf)
        assert since == (("us", T - S),)
        assert contradiction.contradicted((("us", T + S),), rows, (arc,), ego, T, conf) == (("us", T),)
        assert contradiction.contradicted((), rows, (arc,), None, T, conf) == ()
        ghost = replace(rows, suspect=[True])
        assert contradiction.contradicted((), ghost, (arc,), ego, T, conf) == ()


def test_a_contradiction_that_lasts_is_told_with_its_time():
    lasting = nanoseconds(contradiction.LASTING)
    assert contradiction.disagreements((("us", T),), T + lasting - 1) == ()
    text, = contradiction.disagreements((("us", T),), T + lasting)
    assert text.code == Code.ULTRASONIC_CONTRADICTED
    assert text.text == "us hears nothing where radar is certain of an object, for 1.5 s"
