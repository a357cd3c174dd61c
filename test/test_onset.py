"""The onset of a lane change: told by all returns of a body, and not by bodies that keep their lane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import CONFIG, FRONT, T, config, lead, path_of, plan, situation, together
from builders import ego as odometry

from safety_supervisor.core.assessment import assess, objects_of, onset, rate
from safety_supervisor.core.assessment.onset import moving_over
from safety_supervisor.core.config import Sensor, Tracking
from safety_supervisor.core.tracking import EgoHistory, Returns, TrackerState, track_radar
from safety_supervisor.core.tracking.association import Detections
from safety_supervisor.core.tracking.ego import SensorPose
from safety_supervisor.core.tracking.observation import Observation
from safety_supervisor.core.tracking.returns import SCANS_MAX, SPAN, gathered
from safety_supervisor.core.world import Code, Mode, Odometry, RadarScan, nanoseconds

EGO, CAR = 28.0, 14.0
EDGE, WIDTH, LENGTH = 2.5, 1.8, 4.3
"""The car beside: its inner edge from ego's middle, and its size [m]."""
SIGMA_RANGE, SIGMA_AZIMUTH, SIGMA_RATE = 0.25, 0.007, 0.12


def seen(seed, gap=30.0, begun=None, side=1.0, gains=0.0, bend=0.0, drift=0.0) -> tuple[Returns, ...]:
    """Four returns in each of 40 scans of a car that is `gap` ahead now, and began to move over `begun` [s] ago.

    It `gains` speed along the road [m/s^2], which has the curvature `bend`; it drifts out of its lane by `drift` [m/s].
    """
    rng, scans = np.random.default_rng(seed), []
    for t in np.arange(-1.95, 0.01, 0.05):
        speed, since = CAR + gains * t, max(t + begun, 0.0) if begun else 0.0
        ramp = min(since, 1.2 / 1.5)
        inner = EDGE - 1.5 * ramp * (since - ramp / 2) - drift * t
        flank = rng.random(4) < 0.3
        x = FRONT + gap + CAR * t + gains * t * t / 2 + np.where(flank, rng.choice((0.4, 2.1, 3.9), 4), 0.0)
        y = side * (inner + np.where(flank, 0.0, rng.choice((0.2, 0.9, 1.6), 4))) + bend * x * x / 2
        x, y = x + rng.normal(0, 0.1, 4), y + rng.normal(0, 0.1, 4)
        dx = x - EGO * t - FRONT
        reach, sight = np.hypot(dx, y) + rng.normal(0, SIGMA_RANGE, 4), np.arctan2(y, dx)
        sight = sight + rng.normal(0, SIGMA_AZIMUTH, 4)
        heading, swerve = np.arctan(bend * x), -side * 1.5 * ramp
        rate = speed * np.cos(sight - heading) + swerve * np.sin(sight) + rng.normal(0, SIGMA_RATE, 4)
        place = EGO * t + FRONT + reach * np.cos(sight), reach * np.sin(sight)
        rows = np.stack([*place, sight, rate, np.full(4, SIGMA_RANGE), reach * SIGMA_AZIMUTH], axis=1)
        scans.append(Returns(T + nanoseconds(float(t)), rows))
    return tuple(scans)


def tracks(gap=30.0, side=1.0, speed=CAR, bend=0.0, **keywords):
    """Its two tracks, that know nothing of a lateral speed yet."""
    def one(y):
        x = FRONT + gap
        return lead(gap, speed, y=side * y + bend * x * x / 2, vy=bend * x * speed, speed_sigma=0.4, **keywords)

    return together(one(EDGE), one(EDGE + 1.6))


def told(returns, conf=CONFIG, ego=EGO, by=None, **keywords):
    """The lateral speed that is told of each of the two tracks."""
    at = replace(situation(ego, by=by, config=conf), returns=returns)
    objects = objects_of(tracks(**keywords), (), at, conf)
    met, n = rate(objects, at.path, at, conf).met, len(objects.row)
    return moving_over(objects, met, np.ones(n, np.bool_), at, conf, np.zeros(n, np.int64))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_who_begins_to_move_over_is_told_of_all_its_tracks(side):
    late = [told(seen(seed, begun=1.4, side=side), side=side) for seed in range(30)]
    assert np.mean([(-side * v > 0.5).all() for v in late]) >= 0.85
    assert 0.7 <= np.median([-side * v[0] for v in late if v[0]]) <= 1.1  # 1.2 less 1.5 standard deviations
    early = [told(seen(seed, begun=0.4, side=side), side=side) for seed in range(30)]
    assert not np.any(early)


@pytest.mark.parametrize("how", [{}, {"gap": 12.0}, {"gap": 60.0}, {"gains": 2.0}, {"gains": -2.0}, {"drift": 0.1}],
                         ids=str)  # fmt: skip
def test_who_keeps_its_lane_is_not_told(how):
    gap = how.get("gap", 30.0)
    assert not any(told(seen(seed, **how), gap=gap).any() for seed in range(60))


def test_of_who_keeps_its_lane_the_test_is_normally_distributed(monkeypatch):
    real, sure = onset._test, []
    monkeypatch.setattr(onset, "BEGINS", np.array([-0.9]))  # one time of onset, not the best of many
    monkeypatch.setattr(onset, "_test", lambda *a: sure.append(real(*a)[0][0]) or real(*a))
    for seed in range(200):
        told(seen(seed))
    assert np.mean(sure) == pytest.approx(0.0, abs=0.4)
    assert np.std(sure) == pytest.approx(1.0, abs=0.25)


def test_a_lower_threshold_has_false_alarms_and_a_higher_one_tells_later():
    low, high = config({"corridor.onset_sigma_k": 2.0}), config({"corridor.onset_sigma_k": 9.0})
    assert any(told(seen(seed), low).any() for seed in range(120))
    assert not any(told(seen(seed, begun=1.0), high).any() for seed in range(20))


def test_without_rear_and_flank_told_apart_a_body_whose_flank_comes_into_view_would_seem_to_move(monkeypatch):
    """Control: the flank is nearer to ego's lane than the middle of the rear, and shows more while ego comes nearer."""
    def nearer(seed):
        rng, scans = np.random.default_rng(seed), []
        for scan in seen(seed):
            rows, now = scan.rows.copy(), (scan.t - T) / 1e9
            shows = (now > -1.0) & (rows[:, 0] < FRONT + 31.0 + CAR * now) & (rows[:, 1] > EDGE + 0.4)
            rows[shows, 0] += 2.1
            rows[shows, 1] = EDGE + rng.normal(0, 0.1, np.count_nonzero(shows))
            scans.append(Returns(scan.t, rows))
        return tuple(scans)

    sharp = config({"corridor.onset_sigma_k": 3.0})
    assert not any(told(nearer(seed), sharp).any() for seed in range(30))
    monkeypatch.setattr(onset, "REAR_MIDDLE", 0.0)
    monkeypatch.setattr(onset, "FLANK_SIGMA", onset.REAR_SIGMA)
    assert sum(told(nearer(seed), sharp).any() for seed in range(30)) > 3


def test_the_flank_of_a_truck_is_not_taken_for_a_rear(monkeypatch):
    """Control: where its rear was seen a moment ago, and is not any more, all that is left is its inner side."""
    def passed(seed):
        rng, scans = np.random.default_rng(seed), []
        for scan in seen(seed):
            rows, now = scan.rows.copy(), (scan.t - T) / 1e9
            flank = rng.random(4) < 0.8
            end = FRONT + 30.0 + CAR * now
            rows[:, 0] = end + np.where(flank, rng.uniform(*((1.5, 5.0) if now < -1.0 else (-0.5, 0.9)), 4), -8.0)
            rows[flank, 1] = EDGE + rng.normal(0, 0.1, np.count_nonzero(flank))
            scans.append(Returns(scan.t, rows))
        return tuple(scans)

    assert not any(told(passed(seed)).any() for seed in range(20))
    monkeypatch.setattr(onset, "TRAILS", 1e9)
    assert sum(told(passed(seed)).any() for seed in range(20)) > 10


@pytest.mark.parametrize("bend", [1 / 400, -1 / 400])
def test_who_follows_the_bend_of_the_road_keeps_its_lane(bend):
    road = plan(EGO, 5.0, curvature=bend)
    assert not any(told(seen(seed, bend=bend), by=road, bend=bend).any() for seed in range(60))
    moves = [told(seen(seed, bend=bend, begun=1.3), by=road, bend=bend).any() for seed in range(20)]
    assert np.mean(moves) >= 0.8
    straight = [told(seen(seed, bend=bend), bend=bend).any() for seed in range(20)]
    assert bend > 0 or any(straight)  # control: against a straight road it would come over


def test_against_a_plan_that_changes_lanes_itself_nothing_is_told():
    line = plan(EGO, 5.0)
    share = np.clip(line.x / 60.0, 0.0, 1.0)
    change = replace(line, y=3.5 * share * share * (3 - 2 * share))
    returns = seen(1, begun=1.3)
    assert told(returns).all()
    assert not told(returns, by=change).any()


def test_only_who_drives_along_beside_and_is_caught_up_with_soon_is_asked_about():
    returns = seen(1, begun=1.3)
    assert told(returns).all()
    for how in ({"moved": False}, {"hits": 5}, {"speed": EGO + 2.0}, {"gap": 95.0}, {"gap": 2.0}):
        assert not told(returns, **how).any(), how
    assert not told(returns, side=-1.0).any()
    assert not told(()).any()


def test_a_body_whose_outer_corner_has_left_the_view_is_not_asked_about():
    returns = seen(1, 8.0, begun=1.3)
    narrow = config(None, front=Sensor(kind="radar", topic="radar", half_angle=0.5))
    assert told(returns, gap=8.0).all()
    assert not told(returns, narrow, gap=8.0).any()
    assert not told(returns, config(None, us=Sensor(kind="ultrasonic", topic="us")), gap=8.0).any()


def test_a_path_without_length_is_no_lane():
    path = path_of(plan(EGO, 5.0), odometry(EGO))
    assert onset._lane(path) is not None
    still = replace(path, x=np.zeros_like(path.x), y=np.zeros_like(path.y))
    assert onset._lane(still) is None


def test_ego_brakes_for_the_onset_before_its_tracks_know_of_it():
    at, gap = situation(EGO), 22.0
    begun, kept = seen(1, gap, begun=1.2), seen(1, gap)
    for returns, mode in ((begun, Mode.EMERGENCY_STOP), (kept, Mode.NOMINAL), ((), Mode.NOMINAL)):
        result = assess(tracks(gap), (), replace(at, returns=returns), CONFIG)
        assert result.demand == mode
        assert (Code.CUT_IN in {reason.code for reason in result.reasons}) == (mode > Mode.NOMINAL)


def test_an_onset_that_ego_is_past_before_asks_for_nothing():
    at = replace(situation(40.0), returns=seen(1, 10.0, begun=1.0))
    assert told(at.returns, ego=40.0, gap=10.0).any()
    assert assess(tracks(10.0), (), at, CONFIG).demand == Mode.NOMINAL


# --- what is remembered ----------------------------------------------------------------------------------------------

SENSOR = Sensor(kind="radar", topic="radar", sigma_azimuth=0.01)
POSE = SensorPose(2.0, 1.0, np.pi / 2, 0.0, 10.0)


def observation(t, *rows, **changes):
    z = np.array(rows, float).reshape(-1, 3)
    found = Detections(z, np.full((len(z), 3), 0.04))
    return Observation(t, found, POSE, SENSOR, returns=found, **changes)


def test_returns_are_remembered_over_ground_and_only_of_what_moves():
    stands, drives = (30.0, 0.0, -10.0), (20.0, 0.0, -4.0)
    (kept,) = gathered((), [observation(T, stands, drives)], T, Tracking())
    assert kept.t == T
    assert kept.rows.tolist() == [pytest.approx([2.0, 21.0, np.pi / 2, 6.0, 0.2, 0.2])]
    assert not kept.rows.flags.writeable
    for nothing in (observation(T, drives, from_objects=True), observation(T, stands), observation(T)):
        assert gathered((), [nothing], T, Tracking()) == ()


def test_returns_are_forgotten_in_time_and_bounded_in_number():
    drives = (20.0, 0.0, -4.0)
    kept = gathered((), [observation(T, drives)], T, Tracking())
    assert gathered(kept, [], T + SPAN - 1, Tracking()) == kept
    assert gathered(kept, [], T + SPAN, Tracking()) == ()
    assert gathered(kept, [], T - 1, Tracking()) == ()  # the clock was set back
    many = [observation(T + k, drives) for k in range(SCANS_MAX + 1)]
    assert [r.t - T for r in gathered((), many, T + SCANS_MAX, Tracking())] == list(range(1, SCANS_MAX + 1))


def test_the_tracker_remembers_returns_before_they_are_merged():
    history = EgoHistory((Odometry(T, 0.0, 0.0, 0.0, 10.0, 0.0),))
    rates = np.array([-4.0, -4.0, -9.55])
    scan = RadarScan("front", T, np.array([20.0, 20.1, 40.0]), np.array([0.0, 0.02, 0.3]), rates)
    state = track_radar(TrackerState.empty(), (scan,), history, T, CONFIG)
    assert [len(r.rows) for r in state.returns] == [2]
    assert len(state.tracks) == 2
    assert track_radar(state, (), EgoHistory(), T, CONFIG).returns == ()
