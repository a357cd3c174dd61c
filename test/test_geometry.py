"""Paths, swept corridors and contacts, against footprints swept by brute force."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import shapely
from builders import CONFIG, FRONT, T, arc, changed, ego, path_of, plan, stop_plan, straight_path
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon
from shapely.ops import unary_union

from safety_supervisor.core import geometry, paths
from safety_supervisor.core.geometry import (
    BESIDE,
    FOLLOWS,
    LAG,
    Lateral,
    angle_difference,
    arc_points,
    contacts,
    first_conflict,
    footprint,
    slopes,
    unwrapped,
)
from safety_supervisor.core.paths import SAMPLES, extrapolation, is_reverse, planned_path
from safety_supervisor.core.world import Odometry

VEHICLE = CONFIG.vehicle
REAR, HALF = VEHICLE.rear, VEHICLE.width / 2
SLACK = 0.5
NAN, INF = float("nan"), float("inf")


def meet(
    path, *points, velocity=(0.0, 0.0), cov=None, slack=SLACK, reach_in=0.0, k=0.0, shrink=0.0, known=INF, speed=20.0,
    since=None, flank=0.1,
):
    """Contacts of points that all have the same velocity and covariance."""
    n = len(points)
    position = np.array(points, float).reshape(n, 2)
    cov = np.zeros((4, 4)) if cov is None else cov
    return contacts(path, position, np.tile(velocity, (n, 1)).astype(float), np.tile(cov, (n, 1, 1)), HALF,
                    np.full(n, slack), np.full(n, reach_in), Lateral(k, shrink, known), speed,
                    np.tile(np.zeros((2, 2)) if since is None else since, (n, 1, 1)), np.full(n, 0.05),
                    np.full(n, flank))


def test_the_speed_was_known_better_when_it_was_heard():
    path, cov = straight_path(), np.diag([0.0, 0.0, 0.5, 0.2])
    met = meet(path, (30.0, 0.0), velocity=(10.0, 0.0), cov=cov, since=np.diag([0.41, 0.2]))
    assert met.speed_sigma[0] == pytest.approx(np.sqrt(0.5))
    assert met.heard_sigma[0] == pytest.approx(0.3)
    assert met.age[0] == 0.05
    more = meet(path, (30.0, 0.0), velocity=(10.0, 0.0), cov=cov, since=np.diag([0.6, 0.2]))
    assert more.heard_sigma[0] == 0.0  # rounding never makes it the root of a negative number


def test_who_follows_a_bend_does_not_come_into_the_way():
    """Its velocity is told late, so that it seems to drift out of the bend, over ego's lane."""
    radius, v, at = 200.0, 15.0, 40.0
    bend = path_of(plan(15.0, curvature=1 / radius), ego(15.0))
    angle = at / radius
    outside = radius + 3.2
    x, y = outside * np.sin(angle), radius - outside * np.cos(angle)

    def drift(late):
        heading = angle - late
        return meet(bend, (x, y), velocity=(v * np.cos(heading), v * np.sin(heading)), reach_in=2.0)

    lag = LAG * v / radius
    assert abs(drift(0.0).drift[0]) < 0.1  # along the road
    inside = radius - 3.2
    x, y = inside * np.sin(angle), radius - inside * np.cos(angle)
    told = drift(0.8 * lag)
    assert told.drift[0] == pytest.approx(0.0, abs=0.05)
    assert not told.hit[0]
    comes = drift(lag + 0.1)  # the control: more than the bend explains
    assert comes.drift[0] == pytest.approx(-v * 0.1, abs=0.15)
    assert comes.hit[0]
    leaves = drift(-0.1)
    assert leaves.drift[0] == pytest.approx(v * 0.1, abs=0.15)


@pytest.mark.parametrize("spare", [-0.02, 0.02])
def test_who_is_too_fast_for_the_bend_does_not_follow_it(spare):
    radius, at = 20.0, 15.0
    bend = path_of(plan(5.0, curvature=1 / radius, duration=8.0), ego(5.0), 40.0)
    v = np.sqrt(FOLLOWS * radius) * (1 + spare)
    angle, outside = at / radius, radius + 6.0
    place = outside * np.sin(angle), radius - outside * np.cos(angle)
    heading = angle - 0.9 * LAG * v / radius  # drifts outwards by less than the bend explains
    drift = meet(bend, place, velocity=(v * np.cos(heading), v * np.sin(heading)), reach_in=2.0).drift[0]
    expected = 0.0 if spare < 0 else -v * np.sin(0.9 * LAG * v / radius)
    assert drift == pytest.approx(expected, abs=0.35)


# --- footprint and angles -------------------------------------------------------------------------------------------


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(-7, 7), st.floats(-6, 6), st.floats(-3, 3))
def test_the_footprint_is_the_body_turned_and_moved(x, y, yaw, along, left):
    corners = footprint(x, y, yaw, VEHICLE)
    body = Polygon(corners)
    assert body.exterior.is_ccw
    assert body.area == pytest.approx(VEHICLE.width * (VEHICLE.front + REAR))
    c, s = np.cos(yaw), np.sin(yaw)
    point = Point(x + c * along - s * left, y + s * along + c * left)
    slack = min(FRONT - along, along + REAR, HALF - abs(left))
    if abs(slack) > 1e-6:
        assert body.contains(point) == (slack > 0)
    front_left = corners[0] - [x, y]
    assert front_left @ [c, s] == pytest.approx(FRONT)
    assert front_left @ [-s, c] == pytest.approx(HALF)


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_an_angle_difference_is_wrapped_and_right(a, b):
    difference = angle_difference(a, b)
    assert -np.pi <= difference < np.pi
    assert np.cos(difference) == pytest.approx(np.cos(a - b), abs=1e-9)
    assert np.sin(difference) == pytest.approx(np.sin(a - b), abs=1e-9)


# --- paths ----------------------------------------------------------------------------------------------------------


def test_a_path_begins_at_ego_and_reaches_as_far_as_asked():
    path = path_of(plan(20.0, duration=3.0), ego(20.0), 100.0)
    assert (path.s[0], path.x[0], path.time[0]) == (0.0, 0.0, 0.0)
    assert len(path.s) == SAMPLES
    assert path.s[-1] == 100.0
    assert path.length == pytest.approx(60.0)
    assert np.isinf(path.time[path.s > 60.0 + 1e-6]).all()
    assert path.x == pytest.approx(path.s)
    assert path.y == pytest.approx(np.zeros(SAMPLES))


@given(st.floats(0.0, 0.9), st.floats(-0.9, 0.9))
def test_ego_is_found_on_an_older_plan(late, beside):
    now = ego(20.0, x=20.0 * late, y=beside, t=T + round(late * 1e9))
    path = path_of(plan(20.0), now, 50.0)
    assert path.x[0] == pytest.approx(now.x, abs=1e-6)
    at = np.searchsorted(path.s, 30.0)
    assert path.time[at] == pytest.approx(path.s[at] / 20.0, abs=1e-3)


@pytest.mark.parametrize("radius", [6.0, 20.0, 100.0, -6.0, -50.0])
def test_a_curved_path_stays_on_its_circle(radius):
    speed = min(5.0, abs(radius))
    path = path_of(plan(speed, duration=6.0, curvature=1 / radius), ego(speed), 5.0)
    inside = path.s <= path.length
    distance = np.hypot(path.x, path.y - radius)[inside]
    assert distance == pytest.approx(np.full(inside.sum(), abs(radius)), abs=0.01)
    assert path.heading[inside] == pytest.approx(path.s[inside] / radius, abs=3e-3)


@pytest.mark.parametrize("curvature", [0.0, 0.05, -0.02])
def test_beyond_its_end_a_path_goes_on_as_it_bends(curvature):
    path = path_of(plan(5.0, duration=4.0, curvature=curvature), ego(5.0), 40.0)
    beyond = path.s > path.length
    assert beyond.sum() > 30
    turn = curvature * (path.s[beyond] - path.length)
    assert path.heading[beyond] == pytest.approx(curvature * path.length + turn, abs=0.02)
    steps = np.hypot(np.diff(path.x[beyond]), np.diff(path.y[beyond]))
    assert steps == pytest.approx(np.diff(path.s[beyond]), rel=1e-3)


def test_a_path_goes_on_as_far_as_a_stop_from_the_end_of_the_plan():
    moving, standing = plan(20.0, duration=3.0), stop_plan(20.0, 60.0)
    assert path_of(moving, ego(20.0), 100.0, brake=2.0).s[-1] == pytest.approx(60.0 + 100.0)
    assert path_of(standing, ego(20.0), 100.0, brake=2.0).s[-1] == 100.0


def test_ego_beyond_the_end_of_a_plan_goes_on_straight_from_where_it_is():
    path = path_of(plan(10.0, duration=2.0), ego(10.0, x=25.0), 30.0)
    assert path.x[0] == pytest.approx(25.0)
    assert path.length == 0.0
    assert np.isinf(path.time[1:]).all()
    assert path.x[-1] == pytest.approx(25.0 + path.s[-1])


def test_a_stop_may_be_written_as_identical_points():
    waiting = stop_plan(10.0, 30.0, duration=12.0)
    assert (np.diff(waiting.x) == 0).sum() > 20
    path = path_of(waiting, ego(10.0), 60.0)
    assert path.length == pytest.approx(30.0)
    assert path.speed[-1] == 0.0
    assert np.isfinite(path.x).all()
    arrives = path.time[path.s <= 29.0][-1]
    assert 4.5 < arrives < 6.0
    assert np.isinf(path.time[path.s > 30.01]).all()


def test_a_plan_that_stands_still_is_a_straight_path_that_nobody_drives():
    path = path_of(plan(0.0), ego(0.0, yaw=1.0), 5.0)
    assert path.length == 0.0
    assert path.speed.max() == 0.0
    assert np.isfinite(path.x).all()


def test_reverse_motion_is_seen_in_the_direction_of_travel():
    path = path_of(plan(-2.0), ego(-2.0), 10.0)
    assert path.reverse
    assert (path.front, path.rear) == (VEHICLE.rear, VEHICLE.front)
    assert path.x[-1] == pytest.approx(-path.s[-1])
    assert path.speed == pytest.approx(np.full(SAMPLES, 2.0))
    assert abs(angle_difference(float(path.heading[0]), np.pi)) < 1e-9
    assert not path_of(plan(2.0), ego(2.0), 10.0).reverse


@pytest.mark.parametrize(("speeds", "now", "reverse"), [
    ((2.0,), -1.0, False), ((-2.0,), 1.0, True), ((0.0,), -1.0, True), ((0.0,), 1.0, False), ((0.0,), 0.0, False),
])
def test_the_direction_is_that_of_the_plan_and_of_ego_when_it_stands(speeds, now, reverse):
    assert is_reverse(plan(speeds[0]), ego(now)) == reverse


def test_the_yaw_of_a_path_may_wrap_around():
    path = path_of(plan(5.0, yaw=3.1, curvature=0.05), ego(5.0, yaw=3.1), 10.0)
    assert np.abs(np.diff(path.heading)).max() < 0.1


# --- extrapolation --------------------------------------------------------------------------------------------------


def test_present_motion_goes_on_along_its_circle_then_straight():
    now = ego(10.0, yaw_rate=0.5)
    path = extrapolation(now, VEHICLE, 2.0, 1e-3, 50.0).path()
    bent = path.s <= 20.0
    assert np.hypot(path.x, path.y - 20.0)[bent] == pytest.approx(np.full(bent.sum(), 20.0), abs=0.01)
    assert np.ptp(path.heading[path.s >= 20.0]) < 1e-9
    assert path.heading[-1] == pytest.approx(1.0)
    assert np.isinf(path.time[path.s > 20.01]).all()


def test_the_extrapolation_widens_and_without_a_yaw_rate_it_widens_more():
    known = extrapolation(ego(10.0), VEHICLE, 2.0, 1e-3, 5.0).path()
    blind = extrapolation(ego(10.0, yaw_rate=NAN), VEHICLE, 2.0, 1e-3, 5.0).path()
    assert known.sigma[0] == blind.sigma[0] == 0.0
    assert (np.diff(known.sigma) > 0).all()
    assert (blind.sigma[1:] > 5 * known.sigma[1:]).all()
    assert np.isfinite(blind.x).all()
    assert np.ptp(blind.heading) == 0.0


def test_an_extrapolation_backwards_looks_backwards():
    path = extrapolation(ego(-2.0, yaw=0.3), VEHICLE, 2.0, 1e-3, 5.0).path()
    assert path.reverse
    assert path.front == VEHICLE.rear
    assert (path.x[-1] * np.cos(0.3) + path.y[-1] * np.sin(0.3)) == pytest.approx(-path.s[-1])


def test_a_standing_ego_extrapolates_to_nothing_but_still_looks_ahead():
    path = extrapolation(ego(0.0, yaw_rate=0.4), VEHICLE, 2.0, 1e-3, 5.0).path()
    assert path.length == 0.0
    assert path.s[-1] == 5.0
    assert np.ptp(path.heading) == 0.0


# --- contacts -------------------------------------------------------------------------------------------------------


@given(st.floats(0.0, 80.0), st.floats(-6.0, 6.0))
def test_on_a_straight_the_gap_is_the_distance_from_the_front_bumper(gap, y):
    met = meet(straight_path(), (FRONT + gap, y))
    if abs(y) <= HALF + SLACK:
        assert met.gap[0] == pytest.approx(gap, abs=1e-9)
        assert met.lateral[0] == pytest.approx(y)
    else:
        assert not met.hit[0]


def test_what_is_behind_or_out_of_reach_is_not_met():
    path = straight_path(reach=150.0)
    end = path.s[-1] + FRONT
    assert meet(path, (-REAR - 0.01, 0.0), (end + 5.0, 0.0)).hit.tolist() == [False, False]
    assert meet(path, (end, 0.0)).hit.tolist() == [True]


def test_what_is_beside_the_body_is_left_out_up_to_half_a_metre_from_the_front():
    path = straight_path()
    edge = FRONT - BESIDE
    assert not meet(path, (1.0, 0.5)).hit[0]
    assert not meet(path, (edge - 0.01, 0.5)).hit[0]
    met = meet(path, (edge + 0.01, 0.5))
    assert met.gap[0] == pytest.approx(0.01 - BESIDE, abs=1e-6)


def test_an_object_of_unknown_place_counts_as_met():
    met = meet(straight_path(), (FRONT + 10.0, 0.0))
    assert met.hit[0]
    assert np.array([m == np.inf for m in (NAN, np.inf)]).tolist() == [False, True]


def test_the_speed_of_an_object_is_taken_along_the_path():
    path = path_of(plan(5.0, duration=6.0, curvature=0.1), ego(5.0), 5.0)
    at = 40
    c, s = np.cos(path.heading[at]), np.sin(path.heading[at])
    point = (path.x[at] + FRONT * c, path.y[at] + FRONT * s)
    with_it, against, across = (meet(path, point, velocity=v).along[0] for v in (
        (3 * c, 3 * s), (-3 * c, -3 * s), (-3 * s, 3 * c)))
    # A corner of the body comes first, a little before the path has turned: never faster than the object is.
    assert 2.6 < with_it < 3.0
    assert against == pytest.approx(-with_it)
    assert abs(across) < 1.5


def test_lateral_uncertainty_widens_the_corridor_only_beyond_the_slack():
    path, beyond = straight_path(), HALF + SLACK + 0.3
    spread = np.diag([0.0, 0.64, 0.0, 0.0])
    assert not meet(path, (30.0, beyond)).hit[0]
    assert not meet(path, (30.0, beyond), cov=spread, k=0.9).hit[0]
    assert meet(path, (30.0, beyond), cov=spread, k=1.1).hit[0]


def test_motion_toward_the_path_counts_and_motion_away_does_not():
    path, beyond = straight_path(), HALF + SLACK + 1.5
    for side in (1.0, -1.0):
        assert meet(path, (30.0, side * beyond), velocity=(0.0, -side * 2.0), reach_in=1.0).hit[0]
        assert not meet(path, (30.0, side * beyond), velocity=(0.0, -side * 1.0), reach_in=1.0).hit[0]
        assert not meet(path, (30.0, side * beyond), velocity=(0.0, side * 2.0), reach_in=1.0).hit[0]
        assert not meet(path, (30.0, side * beyond), velocity=(0.0, -side * 2.0), reach_in=0.0).hit[0]
        noisy = np.diag([0.0, 0.0, 1.0, 1.0])
        assert not meet(path, (30.0, side * beyond), velocity=(0.0, -side * 2.0), cov=noisy, reach_in=1.0,
                        shrink=1.0).hit[0]


def test_motion_toward_the_path_counts_no_longer_than_ego_needs_to_get_or_stop_there():
    path, beyond = straight_path(), HALF + SLACK + 1.0
    near, far = (FRONT + 3.0, beyond), (FRONT + 30.0, beyond)
    assert meet(path, far, velocity=(0.0, -1.2), reach_in=1.0, speed=20.0).hit[0]
    assert not meet(path, near, velocity=(0.0, -1.2), reach_in=1.0, speed=20.0).hit[0]
    assert meet(path, near, velocity=(0.0, -1.2), reach_in=1.0, speed=2.0).hit[0]


def sure(velocity, **keywords):
    noisy = np.diag([0.0, 0.0, 4.0, 1.0])
    return meet(straight_path(), (30.0, 0.0), velocity=velocity, cov=noisy, shrink=1.0, **keywords).sure[0]


def test_the_sure_velocity_loses_its_lateral_noise_only():
    assert sure((5.0, -1.5), reach_in=1.0) == pytest.approx([5.0, -0.5])
    assert sure((5.0, 0.9), reach_in=1.0) == pytest.approx([5.0, 0.0])
    assert sure((5.0, -1.5), reach_in=1.0, known=1.1) == pytest.approx([5.0, -0.5])
    assert sure((5.0, -1.5), reach_in=1.0, known=0.9) == pytest.approx([5.0, 0.0])
    assert sure((5.0, -1.5), reach_in=0.0) == pytest.approx([5.0, 0.0])


@pytest.mark.parametrize("heading", [0.0, 0.7, np.pi / 2, 3.0])
def test_uncertainty_along_the_path_follows_its_direction(heading):
    path = path_of(plan(20.0, yaw=heading), ego(20.0, yaw=heading), 50.0)
    c, s = np.cos(heading), np.sin(heading)
    cov = np.diag([4.0, 1.0, 0.0, 0.0])
    cov[0, 1] = cov[1, 0] = 0.5
    expected = np.sqrt(np.array([c, s]) @ cov[:2, :2] @ np.array([c, s]))
    assert meet(path, (30 * c, 30 * s), cov=cov).gap_sigma[0] == pytest.approx(expected)


# Speed [m/s], curvature [1/m], duration [s]: streets, a roundabout, parking; forward and backward.
SWEPT = {
    "straight": (20.0, 0.0, 8.0), "highway bend": (20.0, 0.005, 8.0), "street corner": (10.0, 0.02, 6.0),
    "roundabout": (7.0, 0.05, 5.0), "parking": (2.0, 0.17, 4.0), "reverse parking": (-2.0, 0.17, 4.0),
    "reverse straight": (-2.0, 0.0, 4.0), "long right bend": (15.0, -0.01, 10.0),
}  # fmt: skip


def swept(points, speed, curvature, length, front, rear, half):
    """Travel at which the body, moved in small steps along a perfect circle, first contains each point."""
    s = np.linspace(0.0, length, 6000)
    bend = curvature * s * np.sign(speed)
    chord = np.sign(speed) * s * np.sinc(bend / 2 / np.pi)
    x, y, heading = chord * np.cos(bend / 2), chord * np.sin(bend / 2), bend + (np.pi if speed < 0 else 0.0)
    found = []
    for px, py in points:
        ahead = np.cos(heading) * (px - x) + np.sin(heading) * (py - y)
        left = np.cos(heading) * (py - y) - np.sin(heading) * (px - x)
        inside = (np.abs(left) <= half) & (ahead <= front) & (ahead >= -rear)
        found.append(s[np.argmax(inside)] if inside.any() else np.inf)
    return np.array(found)


def around(path, count, seed=0):
    """Points on and beside the way of ego's body, those inside or beside it now left out."""
    random = np.random.default_rng(seed)
    at = random.integers(0, np.sum(path.s <= path.length), count)
    ahead, left = random.uniform(0, path.front, count), random.uniform(-2.0, 2.0, count)
    c, s = np.cos(path.heading[at]), np.sin(path.heading[at])
    points = np.stack([path.x[at] + c * ahead - s * left, path.y[at] + s * ahead + c * left], axis=1)
    dx, dy = (points - [path.x[0], path.y[0]]).T
    c, s = np.cos(path.heading[0]), np.sin(path.heading[0])
    return points[(c * dx + s * dy > path.front) | (np.abs(c * dy - s * dx) > HALF + SLACK)]


@pytest.mark.parametrize("name", SWEPT)
def test_gaps_are_never_later_than_the_swept_body_by_more_than_the_declared_bound(name):
    speed, curvature, duration = SWEPT[name]
    path = path_of(plan(speed, duration, curvature=curvature), ego(speed), 5.0)
    points = around(path, 400)
    met = meet(path, *points)
    true = swept(points, speed, curvature, path.length, path.front, path.rear, HALF + SLACK)
    touched = np.isfinite(true)
    assert touched.sum() > 50
    inner = np.isfinite(swept(points, speed, curvature, path.length, path.front, path.rear,
                              HALF + SLACK - CONFIG.envelope.geometry_bound))
    assert met.hit[inner].all()
    late = met.gap[touched & met.hit] - true[touched & met.hit]
    assert late.max() <= CONFIG.envelope.geometry_bound
    # Early is safe, but not by more than the body's own length, and never where nothing is touched for long.
    assert late.min() >= -(path.front + path.rear)
    assert (met.hit & ~touched).sum() <= 0.02 * len(points)


def test_the_sweep_test_itself_sees_a_path_that_is_a_little_off():
    speed, curvature, duration = SWEPT["roundabout"]
    wrong = path_of(plan(speed, duration, curvature=curvature * 0.9), ego(speed), 5.0)
    points = around(wrong, 400)
    true = swept(points, speed, curvature, wrong.length, wrong.front, wrong.rear, HALF + SLACK)
    met = meet(wrong, *points)
    both = np.isfinite(true) & met.hit
    assert (met.gap[both] - true[both]).max() > CONFIG.envelope.geometry_bound or not met.hit[np.isfinite(true)].all()


# Body, speed [m/s], acceleration [m/s^2], curvature [1/m] of a quarter turn, and then straight on; vehicles forward and
# backward, a robot base that turns on the spot nearly.
VAN, ROBOT = replace(VEHICLE, front=5.5, rear=1.5, width=2.2), replace(VEHICLE, front=0.3, rear=0.3, width=0.5)
TURNS = {
    "tight": (VEHICLE, 2.0, 0.0, 0.2), "reverse": (VEHICLE, -2.0, 0.0, 0.2), "reverse right": (VAN, -2.0, 0.0, -0.15),
    "junction": (VEHICLE, 5.0, 0.0, 0.2), "van": (VAN, 5.0, 0.0, -0.2), "and off": (VEHICLE, 2.0, 2.5, 0.2),
    "van and off": (VAN, 3.0, 3.0, 0.2), "wide": (VEHICLE, 10.0, 2.0, 0.05), "road": (VEHICLE, 20.0, 0.0, 0.0333),
    "base": (ROBOT, 0.5, 0.0, 2.0), "tight base": (ROBOT, -0.5, 0.0, 5.0), "tightest base": (ROBOT, 1.0, 0.0, 10.0),
}  # fmt: skip


def turning_plan(speed, acceleration, curvature):
    """A plan of 8 s and the finely integrated poses (3, M) of a quarter turn."""
    time = np.linspace(0.0, 8.0, 161)
    s, sign = abs(speed) * time + acceleration * time * time / 2, np.sign(speed)
    fine = np.linspace(0.0, s[-1], 40001)
    yaw = np.clip(curvature * fine * sign, -np.pi / 2, np.pi / 2)
    middle, step = (yaw[1:] + yaw[:-1]) / 2, sign * np.diff(fine)
    poses = np.array([np.append(0.0, np.cumsum(step * f(middle))) for f in (np.cos, np.sin)] + [yaw])
    x, y, at = (np.interp(s, fine, p) for p in poses)
    kept = fine <= np.pi / 2 / abs(curvature) + 5.0
    return replace(plan(speed), time=time, x=x, y=y, yaw=at, speed=sign * (abs(speed) + acceleration * time)), (
        poses[:, kept][:, ::40])


def missed(vehicle, speed, acceleration, curvature, bound):
    """Points on the outline of all that the body sweeps, by shapely, less `bound`: how many the corridor misses."""
    made, poses = turning_plan(speed, acceleration, curvature)
    path = planned_path(made, ego(speed), vehicle, 7.0, 1.2)
    union = unary_union([Polygon(footprint(*pose, vehicle)) for pose in poses.T]).buffer(-bound, join_style="mitre")
    points = shapely.get_coordinates(union.boundary.segmentize(0.02))
    beside = footprint(0.0, 0.0, 0.0, vehicle)
    points = points[~shapely.contains_xy(Polygon(beside).buffer(0.03), points)]
    n, half = len(points), vehicle.width / 2
    met = contacts(path, points, np.zeros((n, 2)), np.zeros((n, 4, 4)), half, np.zeros(n), np.zeros(n),
                   Lateral(0.0, 0.0, INF), abs(speed), np.zeros((n, 2, 2)), np.zeros(n), np.full(n, 0.1))
    assert n > 100
    return int(n - np.count_nonzero(met.hit))


@pytest.mark.parametrize("name", TURNS)
def test_all_that_the_body_sweeps_is_in_the_corridor(name):
    assert missed(*TURNS[name], 0.02 if TURNS[name][0] is ROBOT else CONFIG.envelope.geometry_bound) == 0


def test_the_outline_test_sees_samples_too_far_apart_and_corners_left_out(monkeypatch):
    with monkeypatch.context() as coarse:
        coarse.setattr(paths, "TURN", INF)
        assert missed(*TURNS["and off"], CONFIG.envelope.geometry_bound) > 0
    monkeypatch.setattr(geometry, "TEETH", INF)
    assert missed(*TURNS["reverse"], CONFIG.envelope.geometry_bound) > 0


@given(st.floats(0.05, 0.2), st.booleans(), st.booleans(), st.floats(1.0, 5.0), st.floats(0.0, 2.0))
@settings(max_examples=8)
def test_all_that_any_turn_sweeps_is_in_the_corridor(curvature, left, back, speed, acceleration):
    speed = min(speed, np.sqrt(6.0 / curvature))
    turn = (-speed if back else speed, 0.0 if back else acceleration, curvature if left else -curvature)
    assert missed(VAN, *turn, CONFIG.envelope.geometry_bound) == 0


def test_a_bend_of_a_road_is_sampled_as_a_straight_one():
    road = path_of(plan(25.0, curvature=1 / 100), ego(25.0), 90.0)
    assert len(road.s) == SAMPLES
    tight = path_of(plan(5.0, duration=30.0, curvature=0.2), ego(5.0), 90.0)
    assert len(tight.s) == 4 * SAMPLES  # 0.32 rad between two of the coarse ones
    assert np.abs(np.diff(tight.heading)).max() <= paths.TURN
    assert len(path_of(plan(5.0, duration=120.0, curvature=0.2), ego(5.0), 90.0).s) == paths.FINEST * SAMPLES


# --- beside the body, and the path turns ---------------------------------------------------------------------------

# Curvature, speed, where: inner flank, tail that swings out, outer front corner in reverse; each mirrored too.
CLOSE = {
    "inner flank": (0.17, 2.0, (2.8, HALF + 0.3)), "tail": (0.2, 2.0, (-0.5, -HALF - 0.04)),
    "front swings out": (0.17, -2.0, (3.0, -HALF - 0.3)), "inner flank in reverse": (0.2, -2.0, (0.0, HALF + 0.04)),
}  # fmt: skip


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("name", CLOSE)
def test_what_is_beside_the_body_is_met_when_the_path_turns_into_it(name, side):
    bend, speed, (x, y) = CLOSE[name]
    turn = path_of(plan(speed, 4.0, curvature=side * bend), ego(speed), 7.0)
    met = meet(turn, (x, side * y))
    if name != "inner flank in reverse":  # that one the body leaves
        assert met.flank.tolist() == [True]
        true = swept(np.array([[x, side * y]]), speed, side * bend, turn.length, turn.front, turn.rear,
                     HALF + min(0.1, (abs(y) - HALF) / 2))
        assert met.gap[0] == pytest.approx(true[0], abs=2 * turn.s[1])
        assert met.gap[0] <= true[0] + 1e-3
    else:
        assert not met.hit[0]
    other_way = path_of(plan(speed, 4.0, curvature=-side * bend), ego(speed), 7.0)
    straight = path_of(plan(speed, 4.0), ego(speed), 7.0)
    assert not meet(other_way, (x, side * y)).hit[0] or name == "inner flank in reverse"
    assert not meet(straight, (x, side * y)).hit[0]
    assert not meet(turn, (x, side * y), flank=-INF).hit[0]  # who moves along is elsewhere by then
    assert not meet(turn, (x, side * (y - np.sign(y) * (abs(y) - HALF + 0.01)))).hit[0]  # inside the body


def test_beside_a_gentle_bend_the_body_turns_to_nothing():
    for radius in (30.0, 100.0, 1000.0):
        bend = path_of(plan(10.0, 6.0, curvature=1 / radius), ego(10.0), 40.0)
        sweeps = FRONT * FRONT / (2 * radius)
        rooms = np.array([0.5 * sweeps, 2.5 * sweeps])
        met = meet(bend, *((x, HALF + room) for room in rooms for x in (0.5, 2.0, FRONT - BESIDE - 0.01)), slack=0.8)
        assert not met.hit[3:].any()


def test_the_flank_meets_what_stands_beside_the_way_when_it_gets_there():
    """The leading edge has long passed an inner pillar when the flank of a body in a tight bend touches it."""
    turn = path_of(plan(2.0, 6.0, curvature=0.17), ego(2.0), 7.0)
    pillar = np.array([[3.0, HALF + 0.8]])
    true = swept(pillar, 2.0, 0.17, turn.length, FRONT, REAR, HALF + SLACK)
    met = meet(turn, *pillar)
    assert met.flank[0]
    assert true[0] - 2 * turn.s[1] <= met.gap[0] <= true[0]
    assert meet(turn, *pillar, flank=-INF).gap[0] < true[0] - 0.3  # by the leading edge alone: too early


def test_no_objects_give_no_contacts():
    met = meet(straight_path())
    assert met.gap.shape == (0,)
    assert not met.hit.any()


# --- expected motion ------------------------------------------------------------------------------------------------


def conflict(path, point, velocity=(0.0, 0.0), clearance=2.0, horizon=4.0):
    when, travel = first_conflict(path, np.array([point], float), np.array([velocity], float),
                                  np.array([HALF + SLACK]), np.array([clearance]), horizon, 0.1)
    return float(when[0]), float(travel[0])


def test_a_standing_object_is_met_when_the_plan_gets_there():
    when, travel = conflict(straight_path(20.0), (FRONT + 42.0, 0.0))
    assert when == pytest.approx(2.0, abs=0.11)
    assert travel == pytest.approx(42.0, abs=1e-6)


def test_an_object_that_drives_on_or_a_plan_that_stops_short_meets_nothing():
    assert conflict(straight_path(20.0), (FRONT + 42.0, 0.0), velocity=(20.0, 0.0)) == (np.inf, np.inf)
    stops = path_of(stop_plan(20.0, 39.0), ego(20.0), 150.0)
    assert conflict(stops, (FRONT + 42.0, 0.0)) == (np.inf, np.inf)
    short = path_of(stop_plan(20.0, 42.5, duration=6.0), ego(20.0), 150.0)
    assert np.isfinite(conflict(short, (FRONT + 42.0, 0.0), horizon=6.0)[0])


def test_a_pedestrian_who_will_have_crossed_is_not_met_and_one_who_arrives_in_time_is():
    path = straight_path(10.0)
    assert np.isfinite(conflict(path, (FRONT + 20.0, -4.0), velocity=(0.0, 2.0))[0])
    assert np.isinf(conflict(path, (FRONT + 30.0, -1.0), velocity=(0.0, 2.5))[0])
    assert np.isinf(conflict(path, (FRONT + 10.0, -8.0), velocity=(0.0, 1.0))[0])


def test_a_faster_object_gets_no_clearance():
    path = straight_path(10.0)
    assert np.isinf(conflict(path, (FRONT + 1.0, 0.0), velocity=(12.0, 0.0))[0])
    assert conflict(path, (FRONT + 1.0, 0.0), velocity=(8.0, 0.0))[0] == 0.0


# --- arcs -----------------------------------------------------------------------------------------------------------


def test_an_arc_lies_around_its_transducer_at_one_distance():
    now = Odometry(T, 10.0, -3.0, 0.6, 1.0, 0.0)
    points = arc_points(arc(y=0.5, yaw=0.4, half_angle=0.3), now, 1.5)
    c, s = np.cos(0.6), np.sin(0.6)
    sensor = np.array([10.0 + c * FRONT - s * 0.5, -3.0 + s * FRONT + c * 0.5])
    offset = points - sensor
    assert np.hypot(*offset.T) == pytest.approx(np.full(len(points), 1.5))
    bearing = np.arctan2(offset[:, 1], offset[:, 0])
    assert (bearing.min(), bearing.max()) == pytest.approx((0.6 + 0.4 - 0.3, 0.6 + 0.4 + 0.3))


def test_points_of_a_plan_closer_than_a_millimetre_are_one():
    noisy = plan(0.0)
    jitter = changed(noisy, x={i: 1e-4 * (i % 2) for i in range(81)})
    path = path_of(jitter, ego(0.0), 5.0)
    assert path.length == 0.0
    assert np.isfinite(path.x).all()


@pytest.mark.parametrize("even", [1.0, 3.0, None])
def test_slopes_are_those_of_numpy(even):
    random = np.random.default_rng(3)
    for _ in range(50):
        s = even * np.arange(96.0) if even else np.linspace(0.0, random.uniform(1.0, 200.0), 96)
        values = random.normal(size=96).cumsum()
        assert slopes(values, s).tobytes() == np.gradient(values, s).tobytes()


@pytest.mark.parametrize("angles", [[0.1, 0.2, 0.3], [3.1, -3.1, 3.1], [0.0, np.nan, 3.0], [0.0, np.pi, -np.pi], [1.0],
                                    [0.0, 3.0, -3.0]])
def test_angles_are_unwrapped_as_by_numpy(angles):
    assert unwrapped(np.array(angles)).tobytes() == np.unwrap(angles).tobytes()


# --- the same by formula, to the last term --------------------------------------------------------------------------


def test_an_extrapolation_by_formula():
    path = extrapolation(ego(10.0, yaw=0.2, yaw_rate=0.3), VEHICLE, 2.0, 0.01, 45.0).path()
    bent = np.minimum(path.s, 20.0)
    assert (path.s[-1], path.length, len(path.s)) == (45.0, 20.0, SAMPLES)
    assert path.s == pytest.approx(np.linspace(0.0, 45.0, SAMPLES))
    assert path.heading == pytest.approx(0.2 + 0.03 * bent)
    assert path.sigma == pytest.approx(0.01 * bent * path.s / 2)
    assert path.speed == pytest.approx(np.full(SAMPLES, 10.0))
    assert path.time[path.s <= 20.0] == pytest.approx(path.s[path.s <= 20.0] / 10.0)
    assert np.isinf(path.time[path.s > 20.0]).all()


@pytest.mark.parametrize(("speed", "widening"), [(10.0, 0.02), (1.5, 0.5), (2.1, 2.0 / 2.1**2)])
def test_without_a_yaw_rate_two_metres_per_second_squared_may_be_on(speed, widening):
    path = extrapolation(ego(speed, yaw_rate=NAN), VEHICLE, 2.0, 0.01, 45.0).path()
    assert path.sigma == pytest.approx(widening * np.minimum(path.s, 2 * speed) * path.s / 2)


def test_an_extrapolation_below_walking_pace():
    slow = extrapolation(ego(0.5, yaw_rate=0.4), VEHICLE, 2.0, 0.01, 0.2).path()
    assert (slow.s[-1], slow.length, slow.reverse) == (1.0, 1.0, False)
    assert slow.heading[-1] == pytest.approx(0.4)  # the curvature is read as at 1 m/s
    assert slow.time == pytest.approx(slow.s / 0.5)
    walk = extrapolation(ego(1.5, yaw_rate=0.4), VEHICLE, 1.0, 0.01, 0.2).path()
    assert walk.heading[-1] == pytest.approx(0.4 / 1.5 * 1.5)
    still = extrapolation(ego(0.0), VEHICLE, 2.0, 0.01, 0.2).path()
    assert (still.s[-1], still.length, still.reverse, still.time[0]) == (1.0, 0.0, False, 0.0)
    assert np.isinf(still.time[1:]).all()


def test_an_extrapolation_backwards_by_formula():
    path = extrapolation(ego(-2.0, yaw=0.3, yaw_rate=0.1), VEHICLE, 2.0, 0.01, 0.2).path()
    assert path.heading == pytest.approx(0.3 + np.pi + 0.05 * path.s)
    assert path.time == pytest.approx(path.s / 2.0)
    assert (path.front, path.rear) == (VEHICLE.rear, VEHICLE.front)


@pytest.mark.parametrize(("first", "now", "reverse"), [
    (0.5, -1.0, False), (-0.5, 1.0, True), (0.01, -1.0, True), (0.011, -1.0, False), (0.0, -0.01, False),
    (0.0, -0.011, True), (0.0, 0.0, False),
])  # fmt: skip
def test_the_first_speed_that_is_one_tells_the_direction(first, now, reverse):
    slow = changed(plan(0.0), speed={1: first})
    assert is_reverse(slow, ego(now)) is reverse


@pytest.mark.parametrize("uneven", [[0.0, 1.0, 3.0, 4.0, 5.0], [0.0, 2.0, 3.0, 4.0, 5.0], [0.0, 1.0, 2.0, 3.0, 5.0],
                                    [0.0, 0.5, 1.0, 1.5, 2.0]])  # fmt: skip
def test_slopes_over_uneven_places_are_those_of_numpy(uneven):
    values, at = np.array([3.0, -1.0, 4.0, 1.0, -5.0]), np.array(uneven)
    assert slopes(values, at) == pytest.approx(np.gradient(values, at))


def test_ego_beside_a_slanted_plan_is_found_where_it_is():
    slanted = plan(10.0, duration=3.0, x=3.0, y=20.0, yaw=0.7)
    cos, sin = np.cos(0.7), np.sin(0.7)
    for along in (0.0, 7.3, 22.4, 29.9):
        now = ego(10.0, x=3.0 + cos * along - sin * 0.4, y=20.0 + sin * along + cos * 0.4, yaw=0.7)
        assert path_of(slanted, now, 5.0).length == pytest.approx(30.0 - along)


@pytest.mark.parametrize("curvature", [0.2, -0.2])
def test_a_tight_bend_is_continued_by_a_quarter_turn_at_most(curvature):
    path = path_of(plan(5.0, duration=4.0, curvature=curvature), ego(5.0), 60.0)
    end = np.interp(20.0, path.s, path.heading)
    assert path.heading[-1] - end == pytest.approx(np.copysign(np.pi / 2, curvature), abs=0.01)
    over = path.s > 20.0 + abs(1.0 / curvature) * np.pi / 2
    assert path.heading[over] == pytest.approx(np.full(over.sum(), path.heading[-1]))


def test_a_plan_is_continued_in_the_mean_bend_of_its_last_twenty_metres():
    for length, stretch in ((30.0, 20.0), (15.0, 15.0), (1.5, 1.5)):
        s = np.linspace(0.0, length, 61)
        yaw = np.where(s < length / 2, 0.0, 0.04 * (s - length / 2))
        straight = plan(length / 6.0, duration=6.0, dt=0.1)
        step = np.diff(s, prepend=0.0)
        bending = replace(straight, x=np.cumsum(step * np.cos(yaw)), y=np.cumsum(step * np.sin(yaw)), yaw=yaw)
        passed = length / 3
        now = ego(length / 6.0, x=passed)
        path = path_of(bending, now, 60.0)
        left = length - passed
        mean = (yaw[-1] - np.interp(length - stretch, s, yaw)) / stretch
        beyond = path.s > left + 1.0
        assert path.heading[beyond] == pytest.approx(yaw[-1] + mean * (path.s[beyond] - left), abs=2e-3)


@pytest.mark.parametrize("length", [0.9, 1.0])
def test_a_plan_too_short_to_have_a_bend_is_continued_straight(length):
    s = length * np.linspace(0.0, 1.0, 65)
    stub = replace(plan(0.15, duration=6.4, dt=0.1), x=s, y=np.zeros(65), yaw=0.1 * s)
    path = path_of(stub, ego(0.15), 10.0)
    assert path.heading[path.s > length] == pytest.approx(np.full((path.s > length).sum(), 0.1 * length))


@pytest.mark.parametrize(("near", "tilt", "found"), [
    (20, 0.3, 2.1), (20, -0.3, 1.9), (1, -0.3, 0.0), (1, 0.3, 0.2), (79, 0.3, 8.0), (79, -0.3, 7.8), (20, 0.05, 2.045),
])  # fmt: skip
def test_ego_far_beside_a_point_of_the_plan_is_found_between_its_neighbours_however_it_is_turned(near, tilt, found):
    tilted = changed(plan(1.0), yaw={near: tilt})
    path = path_of(tilted, ego(1.0, x=near / 10.0, y=0.9), 20.0)
    assert path.x[0] == pytest.approx(found, abs=1e-3)


def test_points_a_millimetre_apart_are_two_and_no_path_is_shorter_than_a_metre():
    apart = changed(plan(0.0), x=dict.fromkeys(range(1, 81), 1e-3))
    assert path_of(apart, ego(0.0), 5.0).length == 1e-3
    assert path_of(plan(0.0), ego(0.0), 0.5).s[-1] == 1.0


def test_the_stop_beyond_the_end_is_that_from_the_last_speed():
    slower = changed(plan(20.0, duration=3.0), speed={-1: 10.0})
    assert path_of(slower, ego(20.0), 10.0, brake=2.0).s[-1] == pytest.approx(60.0 + 25.0)


def test_of_a_wait_the_first_point_counts():
    late = plan(5.0)
    waits = replace(late, x=np.maximum(5.0 * (late.time - 2.0), 0.0))
    path = path_of(waits, ego(5.0), 30.0)
    assert 0.0 < path.s[1] < 0.5
    assert path.time[1] == pytest.approx(path.s[1] / 0.5 * 2.1)  # on the line from rest to (0.5 m, 2.1 s)


def test_beyond_its_end_a_bend_to_the_left_goes_left():
    path = path_of(plan(10.0, duration=3.0, curvature=0.02), ego(10.0), 60.0)
    over = path.s > 30.0
    radius = np.hypot(path.x[over], path.y[over] - 50.0)
    assert radius == pytest.approx(np.full(over.sum(), 50.0), abs=0.05)


def test_an_arc_has_nine_points_within_its_narrowed_bearings():
    narrowed = replace(arc(yaw=0.2, half_angle=0.5), low=-0.1, high=0.3)
    points = arc_points(narrowed, Odometry(T, 0.0, 0.0, 0.0, 0.0, 0.0), 2.0) - [FRONT, 0.0]
    assert np.arctan2(points[:, 1], points[:, 0]) == pytest.approx(0.2 + np.linspace(-0.1, 0.3, 9))


def test_a_vehicle_that_stands_beside_a_bend_to_the_right_is_judged_on_its_own_side():
    """Sideways motion and closing speed are those of the path's own direction, not of its mirror image."""
    path = path_of(plan(10.0, duration=6.0, yaw=0.6), ego(10.0, yaw=0.6), 60.0)
    cos, sin = np.cos(0.6), np.sin(0.6)

    def met(left, sideways):
        place = (cos * 30.0 - sin * left, sin * 30.0 + cos * left)
        return meet(path, place, velocity=(-sin * sideways, cos * sideways), reach_in=2.0, speed=10.0).hit[0]

    wide = HALF + SLACK
    for side in (1.0, -1.0):
        assert met(side * (wide + 2.0), -side * 1.5)
        assert not met(side * (wide + 2.0), side * 1.5)
        assert not met(side * (wide + 4.0), -side * 1.5)


# --- edges belong to the body, and a turned world is the same world --------------------------------------------------

EVEN = replace(straight_path(10.0, reach=95.0), front=4.0, rear=1.0)
"""Samples 1 m apart, and a body whose ends lie on round numbers."""


def test_the_edges_of_corridor_and_body_belong_to_them():
    width = HALF + SLACK
    assert EVEN.s[1] == 1.0
    assert meet(EVEN, (30.0, width), (30.0, -width)).hit.all()
    assert not meet(EVEN, (30.0, width + 1e-9)).hit[0]
    end = EVEN.s[-1] + 4.0
    assert meet(EVEN, (end + 1.0, 0.0)).hit[0]  # as far as one spacing beyond the last sample
    assert not meet(EVEN, (end + 1.5, 0.0)).hit[0]
    assert meet(EVEN, (4.0 - BESIDE, 0.5)).gap[0] == -BESIDE


@pytest.mark.parametrize("x", [-1.0, -0.5, 0.0, 0.5])
def test_what_is_beside_the_body_is_left_out_from_its_rear_edge_on(x):
    assert not meet(EVEN, (x, 0.5)).hit[0]


def test_the_rear_edge_meets_what_a_sideways_step_sweeps():
    aside = replace(EVEN, y=np.where(EVEN.s == 5.0, 10.0, 0.0))
    assert [bool(meet(aside, (x, 10.0)).hit[0]) for x in (4.0, 3.999)] == [True, False]


def test_the_rear_corners_sweep_what_lies_between_two_samples_where_the_path_turns():
    spin = replace(EVEN, heading=np.where(EVEN.s == 5.0, np.pi / 2, 0.0))
    edges = [[bool(meet(spin, (5.0, y), slack=-HALF + 0.5).hit[0]) for y in (edge + 1e-9, edge - 1e-3)]
             for edge in (-1.0, -2.0)]  # the rear edge, and the sample before
    assert edges == [[True, True], [True, False]]
    slight = replace(EVEN, y=np.where(EVEN.s == 5.0, 10.0, 0.0), heading=np.where(EVEN.s == 5.0, 0.019, 0.0))
    assert not meet(slight, (3.99, 10.0)).hit[0]
    tight = replace(slight, heading=np.where(EVEN.s == 5.0, 0.021, 0.0))
    assert meet(tight, (3.99, 10.0)).hit[0]


def test_a_lateral_speed_counts_up_to_the_doubt_that_is_allowed_and_no_further():
    trust = Lateral(0.0, 1.0, 0.5)
    assert trust.speed(np.array([3.0, -3.0, 0.4, 3.0]), np.array([0.5, 0.5, 0.5, 0.51])).tolist() == [2.5, -2.5, 0, 0]


YAWS = [0.0, 0.6, -2.5]


def turned(yaw, ahead, left):
    return np.cos(yaw) * ahead - np.sin(yaw) * left, np.sin(yaw) * ahead + np.cos(yaw) * left


def straight_to(yaw, speed=10.0):
    return path_of(plan(speed, yaw=yaw), ego(speed, yaw=yaw), 60.0)


@pytest.mark.parametrize("yaw", YAWS)
def test_lateral_uncertainty_is_taken_across_the_path_wherever_it_leads(yaw):
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s], [s, c]])
    cov = np.zeros((4, 4))
    cov[:2, :2] = turn @ np.diag([0.01, 1.0]) @ turn.T
    for left, hit in ((HALF + 1.4, True), (HALF + 1.6, False)):
        assert meet(straight_to(yaw), turned(yaw, 30.0, left), cov=cov, k=1.5).hit[0] == hit


@pytest.mark.parametrize("yaw", YAWS)
@pytest.mark.parametrize(("travel", "along", "beyond", "hit"), [
    (3.0, 10.0, 0.6, True), (3.0, 10.0, 0.8, False),  # 0.6 s to stop there
    (3.0, 0.0, 0.3, True), (3.0, 0.0, 0.45, False),  # 0.3 s
    (0.3, 20.0, 1.0, True), (0.3, 20.0, 1.25, False),  # never, as at 0.5 m/s: 1.2 s, of which 1 s counts
    (0.2, 0.0, 0.0, True), (0.2, 0.0, 0.06, False),  # 0.02 s
])  # fmt: skip
def test_motion_toward_the_path_counts_for_twice_the_time_that_ego_needs_to_get_there(yaw, travel, along, beyond, hit):
    place = turned(yaw, FRONT + travel, HALF + SLACK + beyond - 1e-6)
    velocity = turned(yaw, along, -1.2)
    met = meet(straight_to(yaw), place, velocity=velocity, reach_in=1.0, speed=20.0)
    assert met.hit[0] == hit


@pytest.mark.parametrize("yaw", YAWS)
@pytest.mark.parametrize(("place", "velocity"), [
    ((FRONT + 20.3, 0.5), (0.0, 0.0)), ((FRONT + 20.0, -4.0), (0.0, 2.0)), ((FRONT + 30.0, -1.0), (0.0, 2.5)),
    ((FRONT + 1.0, 0.0), (12.0, 0.0)), ((FRONT + 1.0, 0.0), (8.0, 0.0)), ((FRONT + 25.0, 3.0), (-3.0, -1.0)),
])  # fmt: skip
def test_a_conflict_is_the_same_wherever_the_path_leads(yaw, place, velocity):
    expected = conflict(straight_path(10.0, reach=60.0), place, velocity)
    assert conflict(straight_to(yaw), turned(yaw, *place), turned(yaw, *velocity)) == pytest.approx(expected)


def test_a_conflict_counts_up_to_the_last_step_of_the_horizon():
    path = straight_path(20.0)
    assert conflict(path, (FRONT + 79.0, 0.0), clearance=0.0)[0] == pytest.approx(4.0)
    assert conflict(path, (FRONT + 79.0, 0.0), clearance=0.0, horizon=3.96)[0] == pytest.approx(4.0)  # to the nearest
    assert conflict(path, (FRONT + 80.5, 0.0), clearance=0.0)[0] == INF


def test_the_edges_of_body_and_clearance_belong_to_a_conflict():
    path = straight_path(20.0)
    assert conflict(path, (FRONT + 20.0, HALF + SLACK))[0] < INF
    assert conflict(path, (FRONT + 20.0, HALF + SLACK + 1e-9))[0] == INF
    assert conflict(path, (-REAR, 0.0))[0] == 0.0
    assert conflict(path, (-REAR - 1e-9, 0.0))[0] == INF
    assert conflict(path, (0.0, 0.0))[0] == 0.0
    assert conflict(path, (FRONT + 2.0, 0.0))[0] == 0.0
    assert conflict(path, (FRONT + 1.0, 0.0), velocity=(20.0, 0.0))[0] == INF  # as fast as ego: no clearance


# --- every column of a contact on a bend, by formula -----------------------------------------------------------------

TRUST = Lateral(0.5, 0.3, 10.0)
COV = np.array([[0.5, 0.2, 0.0, 0.0], [0.2, 0.9, 0.0, 0.0], [0.0, 0.0, 0.8, -0.3], [0.0, 0.0, -0.3, 0.6]])
SINCE = np.array([[0.3, -0.1], [-0.1, 0.2]])


def crowd(seed, path, k, spare=None, monkeypatch=None):
    """Contacts of 300 objects of every kind around a path, of those that a corridor drawn too wide holds; or of all."""
    rng, n = np.random.default_rng(seed), 300
    root = rng.normal(0.0, rng.choice([0.1, 0.5, 2.0], (n, 1, 1)), (n, 4, 4))
    position = np.stack([rng.uniform(-20.0, 80.0, n), rng.normal(0.0, 8.0, n)], axis=1)
    velocity = rng.normal(0.0, rng.choice([0.0, 2.0, 12.0], (n, 1)), (n, 2))
    position[:3], velocity[3:6], root[6:9] = NAN, INF, NAN
    if monkeypatch is not None:
        everybody = np.arange(n)
        monkeypatch.setattr(geometry, *(("SPARE", spare) if spare is not None else ("_near", lambda *_: everybody)))
    met = contacts(path, position, velocity, root @ root.transpose(0, 2, 1), HALF, rng.uniform(-0.5, 1.5, n),
                   rng.choice([0.0, 1.0], n), Lateral(k, 1.0, 2.0), 10.0, np.tile(SINCE, (n, 1, 1)), np.full(n, 0.1),
                   rng.choice([0.1, -INF], n))  # fmt: skip
    return [getattr(met, field.name) for field in fields(met)]


WAYS = [path_of(plan(10.0, duration=6.0, curvature=bend), ego(10.0), 60.0) for bend in (0.0, 0.02, -0.15)]
WAYS.append(extrapolation(ego(10.0, yaw_rate=NAN), VEHICLE, 2.0, 0.01, 45.0).path())


@pytest.mark.parametrize("k", [1.0, -0.5])
@pytest.mark.parametrize("path", WAYS)
def test_who_is_outside_of_a_corridor_drawn_too_wide_is_not_looked_at_and_nothing_changes(path, k, monkeypatch):
    with np.errstate(invalid="ignore"):
        for seed in range(5):
            some = crowd(seed, path, k)
            every = crowd(seed, path, k, monkeypatch=monkeypatch)
            monkeypatch.undo()
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(some, every, strict=True))


def test_control_a_corridor_drawn_too_narrow_loses_somebody(monkeypatch):
    with np.errstate(invalid="ignore"):
        whole = crowd(0, WAYS[0], 1.0)[0]
        narrow = crowd(0, WAYS[0], 1.0, -1.5, monkeypatch)[0]
    assert np.count_nonzero(np.isfinite(whole)) > np.count_nonzero(np.isfinite(narrow)) > 0


@pytest.mark.parametrize("bend", [0.04, -0.04])
@pytest.mark.parametrize("ahead", [15.0, 25.0, 40.0])
@pytest.mark.parametrize(("along", "across"), [(6.0, 0.0), (6.0, 1.5), (6.0, -1.5), (-4.0, 0.6), (0.0, -2.0)])
def test_what_is_told_of_a_contact_belongs_to_the_directions_there(bend, ahead, along, across):
    path = path_of(plan(10.0, duration=8.0, curvature=bend, yaw=0.4), ego(10.0, yaw=0.4), 90.0)
    at = np.searchsorted(path.s, ahead)
    u = np.array([np.cos(path.heading[at]), np.sin(path.heading[at])])
    n = np.array([-u[1], u[0]])
    place = np.array([path.x[at], path.y[at]]) + 0.5 * n + 0.3 * u
    velocity = along * u + across * n
    met = contacts(path, place[None], velocity[None], COV[None], HALF, np.array([SLACK]), np.array([1.0]), TRUST, 10.0,
                   SINCE[None], np.array([0.1]), np.zeros(1))  # fmt: skip

    def seen_from(k):
        forward = np.array([np.cos(path.heading[k]), np.sin(path.heading[k])])
        left = np.array([-forward[1], forward[0]])
        rel = place - [path.x[k], path.y[k]]
        sideways = left @ velocity
        lag = -LAG * bend * (velocity @ velocity)  # who follows the bend seems to drift by this
        sideways -= np.clip(sideways, min(lag, 0.0), max(lag, 0.0))
        doubt = np.sqrt(left @ COV[2:, 2:] @ left)
        sure = np.sign(sideways) * max(abs(sideways) - TRUST.speed_k * doubt, 0.0)
        return forward, left, rel @ forward, rel @ left, sure

    places = [seen_from(k) for k in range(SAMPLES)]
    gaps = [path.s[k] + p[2] - path.front for k, p in enumerate(places)]
    far = [abs(gap - met.gap[0]) + abs(p[3] - met.lateral[0]) for gap, p in zip(gaps, places, strict=True)]
    meets = int(np.argmin(far))
    near = int(np.argmin([abs(p[2]) for p in places]))
    assert meets != near
    forward, left, _, offset, sure = places[meets]
    assert (met.gap[0], met.lateral[0]) == pytest.approx((gaps[meets], offset))
    assert met.along[0] == pytest.approx(forward @ velocity)
    assert met.gap_sigma[0] == pytest.approx(np.sqrt(forward @ COV[:2, :2] @ forward))
    assert met.lateral_sigma[0] == pytest.approx(np.sqrt(left @ COV[:2, :2] @ left))
    assert met.speed_sigma[0] == pytest.approx(np.sqrt(forward @ COV[2:, 2:] @ forward))
    assert met.heard_sigma[0] == pytest.approx(np.sqrt(forward @ (COV[2:, 2:] - SINCE) @ forward))
    assert met.sure[0] == pytest.approx((forward @ velocity) * forward + sure * left, abs=1e-3)
    _, _, past, offset, sure = places[near]
    assert met.offset[0] == pytest.approx(offset)
    assert met.station[0] == pytest.approx(path.s[near] + past)
    assert met.drift[0] == pytest.approx(sure, abs=1e-3)
