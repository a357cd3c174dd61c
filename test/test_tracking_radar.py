"""The radar tracker: filter, association, existence, and what they give together."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import ExtendedKalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from safety_supervisor.core.config import Sensor, Tracking, from_mapping
from safety_supervisor.core.tracking import EgoHistory, TrackerState, since_heard, track_radar
from safety_supervisor.core.tracking import existence as ex
from safety_supervisor.core.tracking import kalman as kf
from safety_supervisor.core.tracking.association import (
    Detections,
    Pairs,
    _normalised,
    assign,
    canonical,
    gate,
    merged,
)
from safety_supervisor.core.tracking.ego import SensorPose, sensor_pose
from safety_supervisor.core.tracking.radar import HOPS, _moving
from safety_supervisor.core.world import Odometry, RadarScan, Tracks, nanoseconds

P = Tracking()
TICK = nanoseconds(0.05)
POSE = SensorPose(1.0, 2.0, 0.3, 5.0, -1.0)
SIGMA = np.array([0.25, 0.007, 0.12])


def config(tracking=None, **sensors):
    radars = sensors or {"front": {"range_max": 150.0}}
    return from_mapping({
        "sensors": {name: {"topic": name} | values for name, values in radars.items()},
        "tracking": tracking or {},
    })


def measured(position, velocity, pose):
    offset, relative = np.subtract(position, (pose.x, pose.y)), np.subtract(velocity, (pose.vx, pose.vy))
    distance = np.hypot(*offset)
    azimuth = kf.wrap(np.arctan2(offset[1], offset[0]) - pose.yaw)
    return np.array([distance, azimuth, relative @ offset / distance])


def scan(t, *rows, sensor="front", **changes):
    z = np.array(rows, float).reshape(-1, 3)
    return RadarScan(sensor, t, z[:, 0], z[:, 1], z[:, 2], **changes)


STILL = EgoHistory((Odometry(0, 0.0, 0.0, 0.0, 0.0, 0.0),))


def run(scans_of, ticks, ego=STILL, conf=None, state=None):
    """Track for some ticks; `scans_of(k, t)` gives the rows that the front radar sees."""
    conf, state = conf or config(), state or TrackerState.empty()
    for k in range(ticks):
        t = k * TICK
        state = track_radar(state, (scan(t, *scans_of(k, t)),), ego, t, conf)
    return state


def same(a: Tracks, b: Tracks) -> bool:
    names = ("id", "state", "cov", "existence", "updated", "hits", "moved", "extent", "suspect")
    return a.t == b.t and all(np.array_equal(getattr(a, n), getattr(b, n)) for n in names)


# --- filter -------------------------------------------------------------------------------------------------------


MOTION = kf.Motion(2.0, 2.0, 2.0)


@pytest.mark.parametrize("dt", [0.01, 0.05, 1.0])
def test_process_noise_is_white_acceleration(dt):
    velocity = np.array([[20.0, 0.0]])
    plain = kf.process_noise(velocity, dt, MOTION)[0]
    assert np.allclose(plain, Q_continuous_white_noise(2, dt, 2.0, 2, order_by_dim=False))
    walk = kf.process_noise(velocity, dt, kf.Motion(2.0, 2.0, 2.0, 0.3))[0] - plain
    assert np.allclose(walk, np.diag([0.3 * dt, 0.3 * dt, 0, 0]))


def test_what_prediction_adds_to_the_speed_is_known():
    state = run(lambda k, t: [lead(k)], 20)
    heard = state.tracks.cov[:, 2:, 2:] - since_heard(state.tracks, P)
    later = track_radar(state, (), STILL, 25 * TICK, config()).tracks
    assert np.allclose(later.cov[:, 2:, 2:] - since_heard(later, P), heard)
    assert (later.cov[:, 2, 2] > heard[:, 0, 0] + 0.1).all()


@pytest.mark.parametrize("dt", [0.05, -0.05])
def test_a_speed_that_is_told_late_has_moved_the_place_already(dt):
    """Place = change of speed times (half the step and the lag), and what the step itself leaves open."""
    noise = kf.process_noise(np.array([[20.0, 0.0]]), dt, kf.Motion(2.0, 2.0, 2.0, lag=0.025))[0]
    change, lead = 2.0 * abs(dt), math.copysign(0.05, dt)
    assert np.allclose(noise[2:, 2:], change * np.eye(2))
    assert np.allclose(noise[:2, 2:], change * lead * np.eye(2))
    assert np.allclose(noise[:2, :2], change * (lead**2 + dt**2 / 12) * np.eye(2))


def test_a_place_that_leads_its_speed_is_followed():
    """Braking at 8 m/s^2 in steps whose way is driven at the new speed: 0.2 m that no scan shows by itself."""
    variance = np.array([[0.3**2, 0.003**2, 0.1**2]])
    pose, off = SensorPose(0.0, 0.0, 0.0, 0.0, 0.0), {}
    for lag in (0.0, 0.025):
        state = np.array([[50.0, 0.0, 20.0, 0.0]])
        cov, x, v = np.diag([0.01, 0.01, 0.01, 0.01])[None], 50.0, 20.0
        for _ in range(20):
            v -= 8.0 * 0.05
            x += v * 0.05
            state, cov = kf.predict(state, cov, 0.05, kf.Motion(2.0, 2.0, 2.0, lag=lag))
            state, cov = kf.update(state, cov, kf.expect(state, cov, pose), np.array([[x, 0.0, v]]), variance)
        off[lag] = abs(state[0, 0] - x)
    assert off[0.0] > 0.1
    assert off[0.025] < off[0.0] / 3


def test_what_moves_accelerates_along_its_motion_and_what_stands_anyhow():
    velocity = np.array([[30.0, 0.0], [0.0, -30.0], [18.0, 24.0], [0.0, 0.0]])
    noise = kf.process_noise(velocity, 0.1, kf.Motion(2.0, 0.5, 0.1))[:, 2:, 2:] / 0.1
    assert np.allclose(noise[0], np.diag([2.0, 0.5]), atol=0.01)
    assert np.allclose(noise[1], np.diag([0.5, 2.0]), atol=0.01)
    assert np.allclose(np.linalg.eigvalsh(noise[2]), [0.5, 2.0], atol=0.01)
    assert np.allclose(noise[3], np.diag([0.1, 0.1]))


@pytest.mark.parametrize("steps", [1, 3])
def test_what_prediction_has_put_to_one_axis_is_taken_off_again(steps):
    root = np.random.default_rng(1).normal(0.0, 0.5, (4, 4))
    state, cov = np.array([[10.0, -2.0, 15.0, 1.0]]), (root @ root.T)[None]
    dt, plain = 0.6, kf.Motion(2.0, 0.5, 0.1, 0.3)
    later = state, cov
    for _ in range(steps):
        later = kf.predict(*later, dt / steps, plain)
    u = np.array([0.6, -0.8])
    now, added = later[1], dt * kf.white_acceleration(state[:, 2:], plain)
    then, grown = kf.unpredicted(u @ now[:, :2, 2:] @ u, u @ now[:, 2:, 2:] @ u, u @ added @ u, np.array([dt]), 0.3)
    assert then == pytest.approx(u @ cov[:, 2:, 2:] @ u)
    assert grown == pytest.approx(u @ (now - cov)[:, :2, :2] @ u)
    none, _ = kf.unpredicted(np.zeros(1), np.full(1, 0.1), np.full(1, 0.2), np.array([dt]), 0.0)
    assert none.tolist() == [0.0]  # less than was added: nothing was known so well


def test_process_noise_does_not_depend_on_the_number_of_steps():
    state, cov, motion = np.ones((1, 4)), np.eye(4)[None], kf.Motion(2.0, 0.5, 0.5, 0.01)
    once = kf.predict(state, cov, 0.3, motion)
    twice = kf.predict(*kf.predict(state, cov, 0.1, motion), 0.2, motion)
    assert np.allclose(once[0], twice[0])
    assert np.allclose(once[1], twice[1])


@pytest.mark.parametrize("dt", [-0.05, -0.3])
def test_a_prediction_backwards_adds_uncertainty(dt):
    _, cov = kf.predict(np.zeros((1, 4)), np.zeros((1, 4, 4)), dt, MOTION)
    assert np.linalg.eigvalsh(cov).min() > 0


def numeric_jacobian(f, x, step=1e-6):
    return np.stack([(f(x + d) - f(x - d)) / (2 * step) for d in step * np.eye(len(x))], axis=1)


def test_jacobian_of_the_measurement():
    state = np.array([30.0, 12.0, -4.0, 3.0])
    expected = kf.expect(state[None], np.eye(4)[None], POSE)
    numeric = numeric_jacobian(lambda x: measured(x[:2], x[2:], POSE), state)
    assert np.allclose(expected.jacobian[0], numeric, atol=1e-6)
    assert np.allclose(expected.z[0], measured(state[:2], state[2:], POSE))


def test_birth_inverts_the_measurement_and_carries_its_uncertainty():
    z, variance = np.array([25.0, -0.4, 3.0]), np.array([0.04, 1e-4, 0.01])
    state, cov = kf.born(z[None], variance[None], POSE, 5.0)

    def f(v):  # range, azimuth, range rate, speed across
        sight = np.array([math.cos(v[1] + POSE.yaw), math.sin(v[1] + POSE.yaw)])
        across = np.array([-sight[1], sight[0]])
        along = v[2] + sight @ (POSE.vx, POSE.vy)
        return np.concatenate([v[0] * sight + (POSE.x, POSE.y), along * sight + v[3] * across])

    # 5 m/s anyhow; traffic along ego's course has -speed * tan(bearing) across the line of sight, others nothing
    bearing = z[1] + POSE.yaw - math.atan2(POSE.vy, POSE.vx)
    along = z[2] + math.hypot(POSE.vx, POSE.vy) * math.cos(bearing)
    across = -along * math.tan(bearing) / 2
    J = numeric_jacobian(f, np.append(z, across))
    assert np.allclose(state[0], f(np.append(z, across)))
    assert np.allclose(measured(state[0, :2], state[0, 2:], POSE), z)
    prior = 25.0 + across**2
    assert np.allclose(cov[0], J @ np.diag([*variance, prior]) @ J.T, atol=1e-6)


def test_the_gate_normalises_as_a_solver_would():
    rng = np.random.default_rng(8)
    A = rng.normal(size=(50, 3, 3))
    spread, variance, residual = A @ A.transpose(0, 2, 1), rng.uniform(0.01, 2, (50, 3)), rng.normal(size=(50, 3))
    distance, log_volume = _normalised(spread, variance, residual)
    S = spread + variance[:, :, None] * np.eye(3)
    assert np.allclose(distance, np.sum(residual * np.linalg.solve(S, residual[:, :, None])[:, :, 0], axis=1))
    assert np.allclose(log_volume, np.linalg.slogdet(S)[1])


def jacobian_of(state):
    return kf.expect(state[None], np.eye(4)[None], POSE).jacobian[0]


def test_predict_and_update_agree_with_filterpy():
    rng = np.random.default_rng(1)
    state, cov = np.array([[40.0, -6.0, 10.0, 1.0]]), np.diag([1.0, 2.0, 3.0, 4.0])[None] + 0.1
    oracle = ExtendedKalmanFilter(4, 3)
    oracle.x, oracle.P, oracle.R = state[0].copy(), cov[0].copy(), np.diag(SIGMA**2)
    oracle.F = np.eye(4) + 0.05 * np.eye(4, k=2)
    oracle.Q = Q_continuous_white_noise(2, 0.05, 2.0, 2, order_by_dim=False)
    for _ in range(20):
        z = measured((40.0, -6.0), (10.0, 1.0), POSE) + rng.normal(size=3) * SIGMA
        state, cov = kf.predict(state, cov, 0.05, MOTION)
        expected = kf.expect(state, cov, POSE)
        state, cov = kf.update(state, cov, expected, z[None], SIGMA[None] ** 2)
        oracle.predict()
        oracle.update(z, jacobian_of, lambda x: measured(x[:2], x[2:], POSE))
        assert np.allclose(state[0], oracle.x, rtol=0, atol=1e-9)
        assert np.allclose(cov[0], oracle.P, rtol=0, atol=1e-9)


def test_each_row_is_filtered_as_if_it_were_alone():
    rng = np.random.default_rng(2)
    state = rng.normal(size=(7, 4)) * 5 + (40, 0, 0, 0)
    cov = np.eye(4) * rng.uniform(0.5, 2, (7, 1, 1))
    z = kf.expect(state, cov, POSE).z + rng.normal(size=(7, 3)) * SIGMA
    variance = np.broadcast_to(SIGMA**2, (7, 3))
    together = kf.update(state, cov, kf.expect(state, cov, POSE), z, variance)
    for i in range(7):
        row = slice(i, i + 1)
        alone = kf.update(state[row], cov[row], kf.expect(state[row], cov[row], POSE), z[row], variance[row])
        assert np.allclose(together[0][row], alone[0], rtol=1e-12)
        assert np.allclose(together[1][row], alone[1], rtol=1e-12)


def test_azimuth_is_wrapped_behind_the_sensor():
    pose = SensorPose(0.0, 0.0, 0.0, 0.0, 0.0)
    state, cov = np.array([[-20.0, 0.05, 0.0, 0.0]]), np.eye(4)[None]
    z = np.array([[20.0, -math.pi + 0.0025, 0.0]])  # the same place, seen on the other side of the cut
    after, _ = kf.update(state, cov, kf.expect(state, cov, pose), z, SIGMA[None] ** 2)
    assert np.hypot(*(after[0, :2] - (-20.0, -0.05))) < 0.1


def test_the_covariance_is_honest_and_stays_symmetric_and_positive():
    rng = np.random.default_rng(3)
    n, steps, dt = 400, 60, 0.05
    pose = SensorPose(0.0, 0.0, 0.0, 15.0, 0.0)
    truth = np.column_stack([rng.uniform(20, 120, n), rng.uniform(-20, 20, n), rng.normal(15, 5, n),
                             rng.normal(0, 1, n)])  # fmt: skip
    F, root = np.eye(4) + dt * np.eye(4, k=2), np.linalg.cholesky(kf.process_noise(np.zeros((1, 2)), dt, MOTION))[0]
    variance, nees = np.broadcast_to(SIGMA**2, (n, 3)), []

    def noisy():
        return kf.expect(truth, np.zeros((n, 4, 4)), pose).z + rng.normal(size=(n, 3)) * SIGMA

    state, cov = kf.born(noisy(), variance, pose, 5.0)
    for _ in range(steps):
        truth = truth @ F.T + rng.normal(size=(n, 4)) @ root.T
        state, cov = kf.predict(state, cov, dt, MOTION)
        state, cov = kf.update(state, cov, kf.expect(state, cov, pose), noisy(), variance)
        error = truth - state
        nees.append(np.sum(error * np.linalg.solve(cov, error[:, :, None])[:, :, 0], axis=1).mean())
        assert np.array_equal(cov, cov.transpose(0, 2, 1))
        assert np.linalg.eigvalsh(cov).min() > 0
    low, high = chi2.ppf((0.0005, 0.9995), 4 * n) / n
    assert low * 0.95 < np.mean(nees[20:]) < high * 1.05
    assert all(low * 0.9 < value < high * 1.1 for value in nees[20:])


# --- merging, gate, assignment -------------------------------------------------------------------------------------


def detections(*rows):
    z = np.array(rows, float).reshape(-1, 3)
    conf = config()
    return canonical(z, np.broadcast_to(SIGMA, z.shape), conf.sensors[0][1], conf.tracking)


def test_returns_of_one_body_become_one_at_its_nearest_edge():
    found = merged(detections((21.0, 0.02, -5.1), (20.0, -0.02, -5.0), (20.4, 0.03, -4.9)), P)
    assert np.allclose(found.z, [[20.0, 0.01, -5.0]])


def test_near_returns_that_move_differently_stay_apart():
    assert len(merged(detections((20.0, 0.0, -5.0), (20.1, 0.0, 1.0)), P)) == 2


def test_a_guard_rail_does_not_swallow_the_car_that_stands_at_its_end():
    posts = [(math.hypot(x, 3.0), math.atan2(3.0, x), -10.0) for x in np.arange(5.0, 40.0, 1.0)]
    car = (39.9, 0.07, -10.0)
    found = merged(detections(*posts, car), P)
    place = np.column_stack([found.z[:, 0] * np.cos(found.z[:, 1]), found.z[:, 0] * np.sin(found.z[:, 1])])
    assert np.hypot(*(place - (39.8, 2.79)).T).min() < P.cluster_distance
    assert len(found) >= len(posts) / 4


@given(st.lists(st.tuples(st.floats(1, 12), st.floats(-1, 1), st.floats(-2, 2)), max_size=25))
def test_every_return_has_a_body_near_it_that_is_not_farther(rows):
    found = detections(*rows)
    bodies = merged(found, P)
    for z in found.z:
        gap = np.abs(bodies.z[:, 0] - z[0]) + 0 * bodies.z[:, 1]
        assert ((gap < P.cluster_distance) & (bodies.z[:, 0] <= z[0])).any()


def some_pairs(rng, n=5, m=6):
    state = np.column_stack([rng.uniform(20, 30, n), rng.uniform(-5, 5, n), rng.normal(0, 1, (n, 2))])
    cov = np.eye(4) * rng.uniform(0.5, 4, (n, 1, 1))
    expected = kf.expect(state, cov, POSE)
    z = expected.z[rng.integers(0, n, m)] + rng.normal(size=(m, 3)) * (2, 0.1, 2)
    z = z[np.argsort(z[:, 0])]
    return expected, Detections(z, np.broadcast_to(SIGMA**2, z.shape))


@pytest.mark.parametrize("seed", range(20))
def test_the_gate_is_the_ellipsoid_of_the_innovation(seed):
    expected, found = some_pairs(np.random.default_rng(seed))
    pairs = gate(expected, found, 0.99)
    inside = {}
    for i in range(len(expected.z)):
        for j in range(len(found)):
            S = expected.spread[i] + np.diag(found.variance[j])
            y = found.z[j] - expected.z[i]
            y[1] = (y[1] + math.pi) % (2 * math.pi) - math.pi
            if (d2 := y @ np.linalg.inv(S) @ y) <= chi2.ppf(0.99, 3):
                inside[i, j] = -0.5 * (d2 + math.log(np.linalg.det(2 * math.pi * S)))
    assert dict(zip(zip(pairs.track, pairs.detection, strict=True), pairs.log_likelihood, strict=True)) == (
        pytest.approx(inside)
    )


def best_sum(gain):
    n, m = gain.shape
    wide = np.concatenate([gain, np.zeros((n, n))], axis=1)  # a zero column for each track: no detection
    return max(sum(wide[i, j] for i, j in enumerate(order)) for order in permutations(range(m + n), n))


@pytest.mark.parametrize("seed", range(20))
def test_the_assignment_has_the_largest_sum_of_all(seed):
    rng = np.random.default_rng(seed)
    n, m = 3, 4
    track, detection = np.nonzero(rng.random((n, m)) < 0.7)
    score = rng.normal(1, 2, len(track))
    zeros = np.zeros(len(track))
    chosen = assign(Pairs(track, detection, zeros, zeros), score, np.ones(n, bool), m)
    gain = np.zeros((n, m))
    gain[track, detection] = np.maximum(score, 0)
    assert score[chosen].sum() == pytest.approx(best_sum(gain))
    assert len(set(track[chosen])) == len(set(detection[chosen])) == len(chosen)
    assert (score[chosen] > 0).all()


def test_a_confirmed_track_chooses_before_a_tentative_one_that_fits_better():
    pairs = Pairs(np.array([0, 1]), np.array([0, 0]), np.zeros(2), np.zeros(2))
    chosen = assign(pairs, np.array([9.0, 1.0]), np.array([False, True]), 1)
    assert list(pairs.track[chosen]) == [1]


# --- existence -----------------------------------------------------------------------------------------------------


def test_existence_fades_by_time_and_not_by_steps():
    start = np.array([0.5, 0.99])
    steps = start
    for _ in range(10):
        steps = ex.faded(steps, 0.5, 5.0)
    assert np.allclose(steps, ex.faded(start, 5.0, 5.0))
    assert np.allclose(ex.log_odds(start) - ex.log_odds(steps), math.log(2))


def test_a_return_with_the_doppler_of_the_standing_world_needs_more_evidence():
    sensor, pose = Sensor(topic="front"), SensorPose(0.0, 0.0, 0.0, 20.0, 0.0)
    z = np.array([[50.0, 0.0, -20.0], [50.0, 0.0, -5.0]])
    density = ex.clutter_density(z, pose, sensor, P)
    static, moving = ex.newborn(density, sensor, P)
    assert density[0] > 10 * density[1]
    assert static < moving / 10
    assert moving == pytest.approx(P.birth_existence)
    assert static > P.delete_existence


def test_the_clutter_density_sums_up_to_the_clutter_rate():
    sensor, pose = Sensor(topic="front"), SensorPose(0.0, 0.0, 0.0, 20.0, 0.0)
    rates = np.linspace(-50, 10, 20001)
    z = np.column_stack([np.full_like(rates, 50.0), np.zeros_like(rates), rates])
    area = (sensor.range_max - sensor.range_min) * 2 * sensor.half_angle
    total = ex.clutter_density(z, pose, sensor, P).mean() * 60 * area
    assert total == pytest.approx(P.clutter_rate, rel=1e-3)


# --- the tracker ---------------------------------------------------------------------------------------------------


def lead(k):
    return (30.0 + 0.05 * k, 0.0, 1.0)


def test_an_object_is_confirmed_within_a_few_scans_and_gone_after_the_coasting_time():
    confirmed = [run(lambda k, t: [lead(k)], n).tracks.existence[0] for n in range(1, 6)]
    assert confirmed[0] == pytest.approx(P.birth_existence)
    assert confirmed[3] > 0.99
    assert confirmed == sorted(confirmed)
    coast = int(P.coast_time / 0.05)
    assert len(run(lambda k, t: [lead(k)] if k < 20 else [], 24).tracks) == 1
    past = (80.0, 0.0, 0.0)  # the radar looks past where the object was
    assert (run(lambda k, t: [lead(k)] if k < 20 else [past], 20 + coast + 2).tracks.id != 1).all()


def test_three_misses_take_nothing_from_the_authority_of_a_well_known_object():
    state = run(lambda k, t: [lead(k)] if k < 40 else [], 43)
    assert state.tracks.existence[0] > config().authority.emergency


def test_single_detections_are_never_confirmed():
    rng = np.random.default_rng(4)

    def clutter(k, t):
        return [(rng.uniform(1, 150), rng.uniform(-1, 1), rng.uniform(-30, 10)) for _ in range(10)]

    state, most = TrackerState.empty(), 0
    for k in range(200):
        state = track_radar(state, (scan(k * TICK, *clutter(k, 0)),), STILL, k * TICK, config())
        most += int((state.tracks.existence > 0.9).sum())
    assert most <= 5
    assert len(state.tracks) < 100


def turning(k):
    t, speed, rate = 0.05 * k, 8.0, 0.4
    return Odometry(nanoseconds(t), speed / rate * math.sin(rate * t), speed / rate * (1 - math.cos(rate * t)),
                    rate * t, speed, rate)  # fmt: skip


def speed_of_a_post(mounted, assumed, ticks=40):
    """Return the speed of a standing post beside a turning ego; the mount is what the config assumes."""
    conf, state, ego = config(front=assumed), TrackerState.empty(), EgoHistory()
    mount = Sensor(topic="front", **mounted)
    for k in range(ticks):
        t = k * TICK
        ego = ego.updated([turning(k)])
        rows = [measured((22.0, 14.0), (0.0, 0.0), sensor_pose(turning(k), mount))]
        state = track_radar(state, (scan(t, *rows),), ego, t, conf)
    assert len(state.tracks) == 1
    assert not state.tracks.moved[0]
    return np.hypot(*state.tracks.state[0, 2:])


def test_what_stands_has_no_speed_while_ego_turns():
    mount = {"x": 3.7, "y": 0.9, "yaw": 0.7, "half_angle": 1.5}
    assert speed_of_a_post(mount, mount) < 0.02


def test_control_without_the_lever_arm_it_would_have_one():
    mount = {"x": 3.7, "y": 0.9, "yaw": 0.7, "half_angle": 1.5}
    assert speed_of_a_post(mount, mount | {"x": 0.0, "y": 0.0}) > 0.2


def gap_errors(drift, ticks=200, reads=0.99):
    """Follow a lead at 20 m/s with a speed signal that reads low; return (error, sigma) of the gap in each tick."""
    rng = np.random.default_rng(8)
    conf, state, ego, out = config({"odometry_drift": drift}), TrackerState.empty(), EgoHistory(), []
    for k in range(ticks):
        t = k * TICK
        ego = ego.updated([Odometry(t, k * 1.0, 0.0, 0.0, 20.0 * reads, 0.0)])
        row = np.array((40.0, 0.0, 0.0)) + rng.normal(size=3) * SIGMA
        state = track_radar(state, (scan(t, row, from_objects=True),), ego, t, conf)
        out.append((state.tracks.state[0, 0] - k - 43.7, math.sqrt(state.tracks.cov[0, 0, 0])))
    return np.array(out[40:])


@pytest.mark.parametrize("reads", [0.99, 1.0, 1.01])
def test_the_gap_lies_inside_its_interval_although_the_speed_signal_is_wrong(reads):
    error, sigma = gap_errors(P.odometry_drift, reads=reads).T
    assert np.mean(np.abs(error) < 3 * sigma) > 0.9
    assert sigma.max() < 0.12


def test_control_without_the_drift_of_odometry_it_would_not():
    error, sigma = gap_errors(0.0).T
    assert np.mean(np.abs(error) < 3 * sigma) < 0.5


def test_a_car_that_returns_from_everywhere_is_never_lost_and_its_gap_not_overestimated():
    rng, conf, state, ego = np.random.default_rng(9), config(), TrackerState.empty(), EgoHistory()
    x, rear = 0.0, 40.0
    for k in range(300):
        t, gap = k * TICK, rear - x - 3.7
        speed = min(15.0, math.sqrt(4 * max(gap - 3, 0.0)))
        x += speed * 0.05
        ego = ego.updated([Odometry(t, x, 0.0, 0.0, speed, 0.0)])
        pose = sensor_pose(ego.samples[-1], conf.sensors[0][1])
        body = [(rear, rng.uniform(-0.9, 0.9)) for _ in range(3)] + [(rear + rng.uniform(0, 4.5), 0.9)]
        rows = [measured(p, (0.0, 0.0), pose) + rng.normal(size=3) * (0.1, 0.005, 0.1)
                for p in body if rng.random() < 0.7]  # fmt: skip
        state = track_radar(state, (scan(t, *rows),), ego, t, conf)
        tracks = state.tracks
        there = (tracks.existence > 0.9) & (np.abs(tracks.state[:, 1]) < 1.5)
        if k > 6:
            assert there.any()
            assert abs(tracks.state[there, 0].min() - rear) < 0.3
    assert gap < 6


def test_latency_is_compensated():
    conf = config(front={"latency": 0.1})
    samples = tuple(Odometry(k * TICK, 20.0 * 0.05 * k, 0.0, 0.0, 20.0, 0.0) for k in range(-4, 31))
    ego, state = EgoHistory(samples), TrackerState.empty()
    for k in range(30):
        seen = k * 0.05 - 0.1  # when it was measured
        row = (200.0 - 20.0 * seen - 3.7, 0.0, -20.0)
        state = track_radar(state, (scan(k * TICK, row),), ego, k * TICK, config(front={"latency": 0.1}))
    assert np.allclose(state.tracks.state[0], (200.0, 0.0, 0.0, 0.0), atol=1e-6)
    assert state.tracks.updated[0] == 29 * TICK - nanoseconds(0.1)
    assert state.tracks.t == 29 * TICK
    assert conf.sensors[0][1].latency == 0.1


def test_tracks_are_predicted_to_the_tick():
    state = run(lambda k, t: [(30.0 - 0.25 * k, 0.0, -5.0)], 20)
    t = 19 * TICK + nanoseconds(0.03)
    later = track_radar(state, (), STILL, t, config())
    assert later.tracks.t == t
    assert later.tracks.state[0, 0] == pytest.approx(state.tracks.state[0, 0] - 0.15, abs=1e-3)
    assert later.tracks.cov[0, 0, 0] > state.tracks.cov[0, 0, 0]


ROWS = [(30.0, 0.1, -2.0), (40.0, -0.2, -10.0), (41.0, -0.2, -10.1), (80.0, 0.0, 3.0), (12.0, 0.6, 0.0)]


def test_the_order_of_detections_means_nothing():
    rng = np.random.default_rng(5)
    plain = run(lambda k, t: ROWS, 6)
    shuffled = run(lambda k, t: [ROWS[i] for i in rng.permutation(len(ROWS))], 6)
    assert same(plain.tracks, shuffled.tracks)


BAD = [
    (math.nan, 0.0, 0.0), (20.0, math.nan, 0.0), (20.0, 0.0, math.nan), (math.inf, 0.0, 0.0), (0.0, 0.0, 0.0),
    (-5.0, 0.0, 0.0), (1000.0, 0.0, 0.0), (20.0, 9.0, 0.0), (20.0, 0.0, -math.inf),
    (20.0, 0.0, 4e9),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_an_unusable_detection_changes_nothing(bad):
    assert same(run(lambda k, t: ROWS, 5).tracks, run(lambda k, t: [*ROWS[:2], bad, *ROWS[2:]], 5).tracks)


def test_unusable_detections_are_counted_once():
    late = scan(TICK, *ROWS[:2], *BAD)
    state = track_radar(TrackerState.empty(), (scan(0, *ROWS[:2], *BAD[:4]),), STILL, 0, config())
    assert state.rejected == 4
    state = track_radar(state, (scan(2 * TICK, *ROWS),), STILL, 2 * TICK, config())
    assert state.rejected == 4
    state = track_radar(state, (late,), STILL, 2 * TICK, config())  # the scan after it is processed again
    assert state.rejected == 4 + len(BAD)
    assert track_radar(state, (late,), STILL, 2 * TICK, config()).rejected == 4 + len(BAD)


def test_a_scan_with_arrays_of_unequal_length_is_cut_to_the_shortest():
    broken = RadarScan("front", 0, np.array([20.0, 30.0]), np.array([0.0]), np.array([0.0, 0.0]))
    assert len(track_radar(TrackerState.empty(), (broken,), STILL, 0, config()).tracks) == 1


def replayed(order):
    """Process scans k = 0.. in the order of arrival given; return the state at the end."""
    rng = np.random.default_rng(6)
    scans = [scan(k * TICK, lead(k), *(rng.uniform((5, -1, -9), (90, 1, 9), (3, 3)))) for k in range(8)]
    state = TrackerState.empty()
    for arrived in order:
        t = max(arrived) * TICK if arrived else 0
        state = track_radar(state, tuple(scans[k] for k in arrived), STILL, max(t, state.tracks.t), config())
    return track_radar(state, (), STILL, 8 * TICK, config())


IN_ORDER = [(k,) for k in range(8)]


@pytest.mark.parametrize("order", [
    [(0,), (1,), (2,), (3,), (5,), (4,), (6,), (7,)],
    [(0,), (1,), (3,), (4,), (5,), (2,), (6,), (7,)],
    [(0,), (1,), (2,), (7, 6, 5, 4, 3)],
])  # fmt: skip
def test_a_late_scan_is_put_in_its_place(order):
    late, plain = replayed(order).tracks, replayed(IN_ORDER).tracks
    assert np.array_equal(np.sort(late.state[:, 0]), np.sort(plain.state[:, 0]))  # ids of newborns may differ
    assert np.array_equal(np.sort(late.existence), np.sort(plain.existence))
    confirmed = plain.existence > 0.9
    assert list(plain.id[confirmed]) == list(late.id[late.existence > 0.9]) == [1]
    assert np.array_equal(late.state[0], plain.state[0])


def test_a_scan_that_is_too_late_is_dropped():
    with_it = replayed([(1,), (2,), (3,), (4,), (5,), (6,), (7,), (0,)])
    without = replayed([(1,), (2,), (3,), (4,), (5,), (6,), (7,)])
    assert same(with_it.tracks, without.tracks)


def test_a_repeated_scan_counts_once():
    assert same(replayed([(k, k) for k in range(8)]).tracks, replayed(IN_ORDER).tracks)
    assert same(replayed([*IN_ORDER, (3,), (7,)]).tracks, replayed(IN_ORDER).tracks)


def test_two_radars_see_one_object():
    conf, state = config(left={"y": 0.8, "yaw": 0.3}, right={"y": -0.8, "yaw": -0.3}), TrackerState.empty()
    for k in range(10):
        t = k * TICK
        scans = [
            scan(t, measured((40.0, 1.0), (0.0, 0.0), sensor_pose(STILL.samples[0], sensor)), sensor=name)
            for name, sensor in conf.sensors
        ]
        state = track_radar(state, tuple(scans), STILL, t, conf)
    assert len(state.tracks) == 1
    assert state.tracks.hits[0] == 20


def test_without_odometry_nothing_is_tracked():
    state = track_radar(TrackerState.empty(), (scan(0, lead(0)),), EgoHistory(), 0, config())
    assert len(state.tracks) == 0


def test_scans_of_unknown_sensors_and_from_the_future_are_ignored():
    foreign = scan(0, lead(0), sensor="other")
    future = scan(nanoseconds(5.0), lead(0))
    assert len(track_radar(TrackerState.empty(), (foreign, future), STILL, 0, config()).tracks) == 0


def test_when_the_clock_is_set_back_the_tracker_starts_anew_and_ids_go_on():
    state = run(lambda k, t: [lead(k)], 10)
    before = state.tracks.id[0]
    t = -nanoseconds(100.0)
    state = track_radar(state, (scan(t, lead(0)),), STILL, t, config())
    assert len(state.tracks) == 1
    assert state.tracks.id[0] > before


def test_ids_are_never_given_twice():
    owner, state, conf = {}, TrackerState.empty(), config()
    rng = np.random.default_rng(7)
    for k in range(300):
        rows = [(rng.uniform(5, 140), rng.uniform(-1, 1), rng.uniform(-9, 9)) for _ in range(4)]
        state = track_radar(state, (scan(k * TICK, *rows),), STILL, k * TICK, conf)
        newborn = state.tracks.hits == 1
        for i, updated in zip(state.tracks.id[newborn], state.tracks.updated[newborn], strict=True):
            assert owner.setdefault(int(i), int(updated)) == updated
    assert state.next_id > max(owner)


def test_an_object_out_of_view_is_remembered_without_misses_and_then_forgotten():
    state = run(lambda k, t: [(30.0, 1.2, 0.0)] if k < 20 else [], 21, conf=config(front={"half_angle": 1.22}))
    conf = config(front={"half_angle": 1.0})
    known = state.tracks.existence[0]
    for k in range(21, 21 + 20):
        state = track_radar(state, (scan(k * TICK),), STILL, k * TICK, conf)
    expected = ex.faded(np.array([known]), 1.0, P.persistence_half_life)[0]
    assert 1 - state.tracks.existence[0] == pytest.approx(1 - expected, rel=1e-6)
    for k in range(41, 41 + 25):
        state = track_radar(state, (scan(k * TICK),), STILL, k * TICK, conf)
    assert len(state.tracks) == 0


def test_when_the_radar_falls_silent_tracks_are_kept_for_a_while_only():
    state = run(lambda k, t: [lead(k)], 20)
    assert len(track_radar(state, (), STILL, 19 * TICK + nanoseconds(P.unseen_time), config()).tracks) == 1
    assert len(track_radar(state, (), STILL, 19 * TICK + nanoseconds(P.unseen_time + 0.1), config()).tracks) == 0


def test_only_what_moves_is_told_to_be_detected_elsewhere():
    """A stray detection may hit the track of what stands: its direction is no less silent."""
    def moves(k, t):
        return [(30.0 + 0.2 * k, 0.0, 4.0)]

    moving = run(moves, 20)
    assert moving.news[-1][1].silent.hit.tolist() == moving.tracks.id.tolist()
    assert run(lambda k, t: [(30.0, 0.0, 0.0)], 20).news[-1][1].silent.hit.tolist() == []


def test_who_comes_back_into_view_is_counted_anew():
    """Where it was lost the gate is as wide as a lane, and takes false detections for it."""

    def beside(k, t):
        return [] if 20 <= k < 23 else [(12.0, 1.03, 0.0)]

    narrow = config(front={"half_angle": 1.04})
    assert run(beside, 24, conf=narrow).tracks.hits.tolist() == [1]
    assert run(beside, 28, conf=narrow).tracks.hits.tolist() == [5]
    assert run(beside, 24, conf=config(front={"half_angle": 1.3})).tracks.hits.tolist() == [21]  # missed in view


def test_a_reflection_that_hops_along_a_bridge_does_not_move():
    """Six metres wide, for a few scans the hops look like a speed across the sight."""
    velocity, cov = np.array([[0.2, -10.5]]), np.diag([0.1, 0.1, 0.2**2, 2.6**2])[None]
    turned = np.array([[-10.5, 0.2]]), np.diag([0.1, 0.1, 2.6**2, 0.2**2])[None]
    for v, spread in ((velocity, cov), turned):
        assert not _moving(v, spread, np.array([HOPS - 1]), P)[0]
        assert _moving(v, spread, np.array([HOPS]), P)[0]  # the control: it goes on
    assert _moving(np.array([[-4.0, 0.0]]), cov, np.array([1]), P)[0]  # Doppler tells at once
    assert not _moving(np.zeros((1, 2)), cov, np.array([20]), P)[0]
    assert not _moving(velocity, np.full((1, 4, 4), np.nan), np.array([6]), P)[0]  # and nothing is raised
    sight = np.array([0.6, 0.8])
    across = np.array([-0.8, 0.6])
    oblique = np.zeros((1, 4, 4))
    oblique[0, 2:, 2:] = 0.2**2 * np.outer(sight, sight) + 2.6**2 * np.outer(across, across)
    assert not _moving((10.0 * across)[None], oblique, np.array([6]), P)[0]
    assert _moving((4.0 * sight)[None], oblique, np.array([6]), P)[0]


def test_moved_is_remembered():
    def braking(k, t):
        speed = max(6.0 - 0.2 * k, 0.0)
        travelled = sum(max(6.0 - 0.2 * i, 0.0) * 0.05 for i in range(k))
        return [(30.0 + travelled, 0.0, speed)]

    state = run(braking, 60)
    assert abs(state.tracks.state[0, 2]) < 0.3
    assert state.tracks.moved[0]
    assert not run(lambda k, t: [(30.0, 0.0, 0.0)], 60).tracks.moved[0]


def test_object_lists_are_not_merged():
    rows = [(30.0, 0.0, 0.0), (30.5, 0.01, 0.0)]
    assert len(track_radar(TrackerState.empty(), (scan(0, *rows),), STILL, 0, config()).tracks) == 1
    listed = scan(0, *rows, from_objects=True)
    assert len(track_radar(TrackerState.empty(), (listed,), STILL, 0, config()).tracks) == 2


def test_memory_is_bounded_and_the_least_certain_go_first():
    conf = config({"tracks_max": 5, "detections_max": 20})
    many = [(10.0 + 3 * i, -0.9 + 0.05 * i, -20.0) for i in range(30)]
    state = run(lambda k, t: [lead(k)] + (many if k > 10 else []), 15, conf=conf)
    assert len(state.tracks) == 5
    assert state.tracks.id[0] == 1
    assert all(len(r.births) <= 20 for r in state.records)
    assert len(state.records) <= 8


rows = st.lists(st.tuples(*[st.floats(width=32)] * 3) | st.tuples(
    st.floats(0.1, 160), st.floats(-1.2, 1.2), st.floats(-40, 20)), max_size=12)  # fmt: skip
jitter = st.integers(-(10**9), 10**8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(rows, jitter, st.floats(-50, 50), st.floats(-2, 2) | st.just(math.nan)), max_size=8))
def test_whatever_arrives_tracks_stay_finite_and_the_result_is_the_same_twice(ticks):
    def play():
        state, ego, conf = TrackerState.empty(), EgoHistory(), config(front={"latency": 0.03})
        for k, (found, off, speed, rate) in enumerate(ticks):
            t = k * TICK
            ego = ego.updated([Odometry(t, 0.0, 0.0, 0.0, speed, rate)])
            state = track_radar(state, (scan(t, *found), scan(t + off, *found)), ego, t, conf)
            tracks = state.tracks
            assert tracks.t == t
            assert np.isfinite(tracks.state).all()
            assert np.isfinite(tracks.cov).all()
            assert ((tracks.existence > 0) & (tracks.existence <= P.existence_max)).all()
            assert (np.diff(tracks.id) > 0).all()
            if len(tracks):
                assert np.linalg.eigvalsh(tracks.cov).min() > -1e-9
        return state.tracks

    assert same(play(), play())
