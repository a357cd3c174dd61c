"""Objects against the path of ego: what demands what, from which gap on, and what stays quiet."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from builders import CONFIG, FRONT, T, arc, config, ego, lead, path_of, plan, situation, stop_plan, together
from hypothesis import given
from hypothesis import strategies as st

from safety_supervisor.core.assessment import RULES, VERDICT, assess, objects_of, rate, rate_present
from safety_supervisor.core.assessment.bodies import SIDE, bodies_of, company
from safety_supervisor.core.assessment.corridor import BEND, _bends
from safety_supervisor.core.assessment.objects import trends
from safety_supervisor.core.assessment.rating import NEAR_BOUND, may_reach
from safety_supervisor.core.assessment.situation import COMFORT_STOP, FIRM_STOP, known_reach, stopping_reach
from safety_supervisor.core.assessment.threats import _pet, explain
from safety_supervisor.core.envelopes import upper_speed
from safety_supervisor.core.geometry import FOLLOWS
from safety_supervisor.core.motion import fallback_distance, speed_for_distance
from safety_supervisor.core.tracking import kalman
from safety_supervisor.core.world import Code, Echo, Mode, Reason, Threat, Tracks, Verdict

NAN, INF = float("nan"), float("inf")
E, TIMING, EXPECTED = CONFIG.envelope, CONFIG.timing, CONFIG.expected
RESPONSE = TIMING.commit + TIMING.actuation_delay
GRIP = (E.assumed_brake, E.assumed_jerk)


def judge(tracks=None, arcs=(), speed=20.0, by=CONFIG, **keywords):
    tracks = Tracks() if tracks is None else tracks
    return assess(tracks, tuple(arcs), situation(speed, config=by, **keywords), by)


def demand(*arguments, **keywords):
    return judge(*arguments, **keywords).demand


def codes(result):
    return {reason.code for reason in result.reasons}


def milder_leaves(result):
    """Whether a stop stronger than what the objects ask for was taken, because that one would leave the envelope."""
    return any("a milder stop would leave" in reason.text for reason in result.reasons)


def ego_distance(speed, acceleration=0.0, response=RESPONSE):
    """The stopping distance of the worst case, written out."""
    v = speed * (1 + E.speed_error_ratio) + E.speed_error
    delay = response + (acceleration + E.assumed_brake) / (2 * E.assumed_jerk)
    top = v + acceleration * delay
    return v * delay + acceleration * delay**2 / 2 + top**2 / (2 * E.assumed_brake)


def taken_off(sigma=0.0):
    return E.sigma_k * max(sigma, E.gap_sigma_floor) + E.geometry_bound


# --- nothing there --------------------------------------------------------------------------------------------------


def test_an_empty_road_is_safe():
    result = judge()
    assert (result.verdict, result.demand, result.sustain) == (Verdict.SAFE, Mode.NOMINAL, Mode.NOMINAL)
    assert result.margin == INF
    assert (result.track, result.lead, result.reasons, result.threats) == (None, None, (), ())
    assert set(dict(result.margins)) <= set(RULES)
    assert all(margin == INF for rule, margin in result.margins if rule != "clear_distance")
    assert set(dict(judge(beside=True).margins)) == set(RULES)


def test_the_verdict_follows_the_demand():
    assert list(VERDICT.values()) == sorted(VERDICT.values())
    assert judge(lead(5.0, 0.0)).verdict == Verdict.IMMINENT
    assert judge(lead(148.0, 20.0)).verdict == Verdict.SAFE


# --- worst case -----------------------------------------------------------------------------------------------------


@given(st.floats(1.0, 120.0), st.floats(1.0, 30.0), st.floats(0.0, 2.0))
def test_the_margin_to_a_standing_object_is_the_gap_less_the_stopping_distance(gap, speed, acceleration):
    result = judge(lead(gap, 0.0), speed=speed, acceleration=acceleration)
    expected = gap - taken_off() - ego_distance(speed, acceleration)
    assert dict(result.margins)["longitudinal"] == pytest.approx(expected, abs=1e-6)
    if not milder_leaves(result):
        assert (result.demand == Mode.EMERGENCY_STOP) == (expected < 1e-9)


@given(st.floats(2.0, 60.0), st.floats(0.0, 25.0))
def test_a_lead_that_drives_away_gives_its_own_braking_distance(gap, speed):
    result = judge(lead(gap, speed))
    own = speed**2 / (2 * max(E.object_brake_max, E.assumed_brake))
    expected = gap - taken_off() - max(ego_distance(20.0) - own, 0.0)
    assert result.margin == pytest.approx(expected, abs=1e-6)


def test_uncertainty_and_age_take_their_worst_end():
    sure = judge(lead(60.0, 15.0)).margin
    assert judge(lead(60.0, 15.0, sigma=1.0)).margin == pytest.approx(sure - E.sigma_k * (1.0 - E.gap_sigma_floor))
    slower = max(15.0 - E.sigma_k * 0.5, 0.0)
    own = (15.0**2 - slower**2) / (2 * max(E.object_brake_max, E.assumed_brake))
    assert judge(lead(60.0, 15.0, speed_sigma=0.5)).margin == pytest.approx(sure - own)
    aged = judge(lead(60.0, 15.0, age=0.1)).margin
    back = 0.1 * (20.0 - 15.0) - (ego_distance(20.0, response=RESPONSE + 0.1) - ego_distance(20.0))
    assert aged == pytest.approx(sure + back, abs=1e-6)
    assert aged < sure


def test_what_the_object_may_have_done_since_it_was_heard_counts_once():
    """Age gives it the time to brake; the doubt that prediction adds to its speed is the same braking once more."""
    p, age, sigma = CONFIG.tracking, 0.2, 0.3
    grown = p.acceleration_psd * age * 15.0**2 / (15.0**2 + 2.0**2)
    near = pytest.approx(judge(lead(60.0, 15.0, speed_sigma=sigma, age=age)).margin, abs=0.02)
    now = math.sqrt(sigma * sigma + grown + (p.standing_psd * age) * 4.0 / (15.0**2 + 4.0))
    assert judge(lead(60.0, 15.0, speed_sigma=now, age=age)).margin != near
    heard = judge(lead(60.0, 15.0, speed_sigma=now, age=age)).margin
    slower, own = 15.0 - E.sigma_k * sigma, max(E.object_brake_max, E.assumed_brake)
    aged = judge(lead(60.0, 15.0, age=age)).margin
    assert heard == pytest.approx(aged - (15.0**2 - slower**2) / (2 * own), abs=0.05)
    twice = 15.0 - E.sigma_k * now
    assert heard > aged - (15.0**2 - twice**2) / (2 * own) + 1.0  # the control: counted twice


def test_an_oncoming_object_is_worse_than_a_standing_one_and_one_that_leaves_is_better():
    margins = [judge(lead(80.0, speed), by=CONFIG).margin for speed in (-20.0, -5.0, 0.0, 10.0)]
    assert margins == sorted(margins)
    assert len(set(margins)) == 4
    assert judge(lead(80.0, -20.0)).demand == Mode.EMERGENCY_STOP


def test_planned_acceleration_costs_margin():
    assert judge(lead(60.0, 15.0), acceleration=2.0).margin < judge(lead(60.0, 15.0)).margin


@pytest.mark.parametrize("speed", [8.0, 20.0, 35.0])
def test_demand_never_falls_as_a_standing_object_comes_closer(speed):
    far = speed**2 / EXPECTED.cap_threshold + 20.0
    demands = [demand(lead(gap, 0.0), speed=speed, reach=far + 20.0) for gap in np.linspace(far, 1.0, 80)]
    assert demands == sorted(demands)
    assert demands[0] == Mode.NOMINAL
    assert demands[-1] == Mode.EMERGENCY_STOP
    assert {Mode.COMFORT_STOP, Mode.FIRM_STOP} & set(demands)


# --- who may demand what --------------------------------------------------------------------------------------------

A = CONFIG.authority


@pytest.mark.parametrize(
    ("existence", "strongest"),
    [(0.0, Mode.NOMINAL), (A.speed_cap - 0.01, Mode.NOMINAL), (A.speed_cap, Mode.SPEED_CAP),
     (A.stop - 0.001, Mode.SPEED_CAP), (A.stop, Mode.FIRM_STOP), (A.emergency - 1e-5, Mode.FIRM_STOP),
     (A.emergency, Mode.EMERGENCY_STOP), (1.0, Mode.EMERGENCY_STOP)],
)  # fmt: skip
def test_existence_limits_what_a_track_may_demand(existence, strongest):
    assert demand(lead(A.near_range + 2.0, 0.0, existence=existence)) == strongest


def test_in_the_near_field_less_existence_is_enough():
    assert demand(lead(A.near_range - 0.1, 0.0, existence=A.near_field)) == Mode.EMERGENCY_STOP
    assert demand(lead(A.near_range - 0.1, 0.0, existence=A.near_field - 0.01)) == Mode.NOMINAL


def test_little_existence_is_not_enough_together_with_few_detections():
    assert demand(lead(2.0, 0.0, existence=A.near_field, hits=A.near_hits - 1)) == Mode.SPEED_CAP
    assert demand(lead(2.0, 0.0, existence=A.near_field, hits=A.near_hits)) == Mode.EMERGENCY_STOP
    assert demand(lead(2.0, 0.0, existence=A.emergency, hits=A.near_hits - 1)) == Mode.EMERGENCY_STOP


def test_the_flank_of_traffic_near_by_is_believed_less_far():
    """Its reflection slides, so that it seems to swerve; who is on foot, or farther ahead, counts as ever."""
    assert judge(lead(2.7, 15.0, y=2.2, vy=-0.9)).margin == INF
    assert judge(lead(2.7, 15.0, y=2.2, vy=-1.2)).margin < 0
    assert judge(lead(7.0, 1.0, y=2.2, vy=-0.9)).margin < 0
    assert judge(lead(20.0, 15.0, y=2.2, vy=-0.9)).margin < 0


def test_a_track_of_few_detections_may_only_cap():
    assert demand(lead(A.near_range + 2.0, 0.0, hits=1)) == Mode.SPEED_CAP
    assert demand(lead(A.near_range + 2.0, 0.0, hits=100)) == Mode.EMERGENCY_STOP


def test_what_was_seen_a_few_times_must_surely_be_in_the_corridor():
    """Existence comes after two detections, a place only after some more: the next lane must not brake meanwhile."""
    ahead, edge = A.near_range + 2.0, CONFIG.vehicle.width / 2 + CONFIG.corridor.object_half_width
    few = A.course_hits - 1
    assert demand(lead(ahead, 0.0, hits=A.hits)) == Mode.EMERGENCY_STOP
    assert demand(lead(ahead, 0.0, y=edge, sigma=0.2, hits=few)) == Mode.SPEED_CAP
    assert demand(lead(ahead, 0.0, y=-edge, sigma=0.2, hits=few)) == Mode.SPEED_CAP
    assert demand(lead(ahead, 0.0, y=edge, sigma=0.1, hits=few)) == Mode.EMERGENCY_STOP
    assert demand(lead(ahead, 0.0, y=edge, sigma=0.2, hits=A.course_hits)) == Mode.EMERGENCY_STOP
    near = lead(A.near_range - 1.0, 0.0, y=edge, sigma=0.2, hits=A.near_hits)
    assert demand(near) == Mode.EMERGENCY_STOP


def test_a_ghost_suspect_may_only_cap_until_it_is_near():
    assert demand(lead(A.near_range + 2.0, 0.0, suspect=True)) == Mode.SPEED_CAP
    assert demand(lead(A.near_range + 2.0, 0.0, suspect=False)) == Mode.EMERGENCY_STOP
    assert demand(lead(A.near_range - 1.0, 0.0, suspect=True)) == Mode.EMERGENCY_STOP


def test_a_wide_body_is_in_the_way_farther_aside():
    aside = CONFIG.vehicle.width / 2 + CONFIG.corridor.margin + CONFIG.corridor.object_half_width + 0.3
    assert demand(lead(20.0, 0.0, y=aside)) == Mode.NOMINAL
    assert demand(lead(20.0, 0.0, y=aside, extent=1.0)) == Mode.EMERGENCY_STOP


def test_only_tracks_that_may_brake_count_in_the_margin():
    assert judge(lead(10.0, 0.0, existence=0.95)).margin == INF
    assert judge(lead(10.0, 0.0)).margin < 0


def test_what_never_moved_far_away_only_caps_the_speed():
    far = lead(A.static_range + 5.0, 0.0, moved=False)
    result = judge(far, speed=30.0, reach=200.0)
    assert result.demand == Mode.SPEED_CAP
    profile = (RESPONSE, 0.0, *GRIP)
    assert result.speed_cap <= float(speed_for_distance(A.static_range, *profile)) + 1e-9
    late = lead(A.static_range + 5.0, 0.0, moved=False, age=0.1)
    room = A.static_range - 30.0 * 0.1  # ego has come so much nearer when it is seen there
    assert judge(late, speed=30.0, reach=200.0).speed_cap <= float(speed_for_distance(room, *profile)) + 1e-9
    assert demand(replace(far, moved=[True]), speed=30.0, reach=200.0) == Mode.EMERGENCY_STOP
    assert demand(lead(A.static_range - 5.0, 0.0, moved=False), speed=30.0, reach=200.0) == Mode.EMERGENCY_STOP


def test_a_sign_that_leaves_the_view_from_below_does_not_come_nearer_unseen():
    gone = lead(A.static_range - 5.0, 0.0, moved=False, age=0.3)
    assert judge(gone, speed=30.0, reach=200.0).demand == Mode.SPEED_CAP
    seen = lead(A.static_range - 5.0, 0.0, moved=False, age=0.1)  # and the control: seen within the range
    assert judge(seen, speed=30.0, reach=200.0).demand == Mode.EMERGENCY_STOP


# --- who is in the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_adjacent_lane_stays_quiet(side):
    for gap in (2.0, 10.0, 40.0):
        for speed in (-20.0, 0.0, 10.0):
            assert demand(lead(gap, speed, y=side * 3.4), beside=True) == Mode.NOMINAL
    assert demand(lead(10.0, 0.0, y=side * 1.0)) == Mode.EMERGENCY_STOP


def test_a_pedestrian_who_walks_into_the_path_stops_ego_and_one_who_waits_does_not():
    walking, waiting = lead(18.0, 0.0, y=-3.0, vy=1.5), lead(18.0, 0.0, y=-3.0)
    assert demand(walking, speed=10.0) >= Mode.COMFORT_STOP
    assert demand(waiting, speed=10.0) == Mode.NOMINAL
    assert demand(lead(18.0, 0.0, y=-3.0, vy=-1.5), speed=10.0) == Mode.NOMINAL


def test_the_path_that_is_planned_counts_not_the_one_straight_ahead():
    bend = plan(15.0, curvature=0.02)
    radius, turn = 50.0, 40.0 / 50.0
    inside = lead(radius * np.sin(turn) - FRONT, 0.0, y=radius * (1 - np.cos(turn)))
    assert demand(inside, speed=15.0, by=CONFIG) == Mode.NOMINAL
    assert assess(inside, (), situation(15.0, by=bend), CONFIG).demand > Mode.NOMINAL
    ahead = lead(40.0, 0.0)
    assert assess(ahead, (), situation(15.0, by=bend), CONFIG).demand == Mode.NOMINAL


def test_the_lead_is_the_nearest_confirmed_moving_track_in_the_way():
    rows = together(lead(60.0, 18.0), lead(30.0, 18.0), lead(20.0, 18.0, moved=False), lead(15.0, 18.0, y=4.0),
                    lead(10.0, 18.0, existence=A.lead - 0.01))
    assert judge(rows).lead == 2
    assert judge(lead(60.0, 18.0, y=4.0)).lead is None


def test_the_track_that_decides_is_named():
    rows = together(lead(100.0, 15.0), lead(6.0, 0.0), lead(50.0, 15.0))
    result = judge(rows)
    assert result.track == 2
    assert result.reasons[0].track == 2
    assert result.reasons[0].code == Code.ENVELOPE
    assert "6.0 m ahead" in result.reasons[0].text


@given(st.permutations(range(6)), st.integers(0, 2**31))
def test_the_order_of_tracks_changes_nothing(order, seed):
    random = np.random.default_rng(seed)
    rows = together(*(lead(random.uniform(2, 100), random.uniform(-10, 25), y=random.uniform(-3, 3),
                           existence=random.choice([0.5, 0.95, 0.995, 1.0]), moved=bool(random.integers(2)))
                      for _ in range(6)))
    order = list(order)
    mixed = Tracks(rows.t, rows.id[order], rows.state[order], rows.cov[order], rows.existence[order],
                   rows.updated[order], rows.hits[order], rows.moved[order])
    one, other = judge(rows, beside=True), judge(mixed, beside=True)
    for name in ("demand", "sustain", "margin", "margins", "speed_cap", "lead"):
        assert getattr(one, name) == getattr(other, name)
    assert sorted(t.track for t in one.threats) == sorted(t.track for t in other.threats)


# --- expected motion ------------------------------------------------------------------------------------------------


def test_a_plan_that_stops_in_front_of_an_object_keeps_ego_quiet():
    gap = 60.0
    held = stop_plan(20.0, gap - EXPECTED.clearance - 2.0, duration=8.0)
    assert assess(lead(gap, 0.0), (), situation(20.0, by=held), CONFIG).demand == Mode.NOMINAL
    through = judge(lead(gap, 0.0))
    assert through.demand >= Mode.COMFORT_STOP
    assert through.sustain == Mode.COMFORT_STOP
    assert Code.EXPECTED_MOTION in codes(through)


def required(gap, delay, speed=20.0):
    room = gap - EXPECTED.clearance - speed * delay
    return speed**2 / (2 * room)


@pytest.mark.parametrize("gap", range(50, 141, 3))
def test_milder_modes_come_from_the_deceleration_that_their_own_stop_requires(gap):
    f, wait = CONFIG.fallback, TIMING.actuation_delay
    comfort = required(gap, wait + f.comfort_deceleration / (2 * f.comfort_jerk))
    firm = required(gap, wait + f.firm_deceleration / (2 * f.firm_jerk))
    result = judge(lead(float(gap), 0.0))
    in_sight = gap - EXPECTED.clearance <= 20.0 * EXPECTED.horizon or gap > 0
    expected = Mode.NOMINAL
    if in_sight and comfort > EXPECTED.cap_threshold:
        expected = Mode.SPEED_CAP
    if comfort > EXPECTED.comfort_threshold:
        expected = Mode.COMFORT_STOP
    if firm > EXPECTED.firm_threshold:
        expected = Mode.FIRM_STOP
    if result.margin < 1e-9:
        expected = Mode.EMERGENCY_STOP
    # Beyond the horizon of the expected motion an object may go unmentioned; more is only asked for where the milder
    # stop would itself leave the envelope.
    if gap <= 20.0 * EXPECTED.horizon:
        assert result.demand >= expected
    if not milder_leaves(result):
        assert result.demand in (expected, Mode.NOMINAL)
    else:
        assert expected >= Mode.COMFORT_STOP
        assert result.demand > expected


def test_a_lead_at_ego_s_speed_demands_nothing_and_sustains_nothing():
    result = judge(lead(45.0, 20.0))
    assert (result.demand, result.sustain) == (Mode.NOMINAL, Mode.NOMINAL)
    assert result.threats[0].required == 0.0
    assert result.threats[0].ttc == INF


def test_a_stop_under_way_is_judged_from_where_ego_is():
    held = stop_plan(20.0, 40.0, duration=8.0)
    planned = assess(lead(45.0, 0.0), (), situation(20.0, by=held), CONFIG)
    braking = assess(lead(45.0, 0.0), (), situation(20.0, by=held, braking=True), CONFIG)
    assert braking.threats[0].required > planned.threats[0].required


def test_time_to_collision_is_told_and_counts():
    result = judge(lead(12.0, 0.0, existence=A.stop))
    assert result.threats[0].ttc == pytest.approx(12.0 / 20.0)
    assert dict(result.margins)["ttc"] < 0
    assert result.demand == Mode.FIRM_STOP
    assert dict(judge(lead(100.0, 15.0)).margins)["ttc"] > 0


# --- extrapolation --------------------------------------------------------------------------------------------------


def swerving(gap):
    """The plan turns left, ego still goes straight, something stands to the right of the plan."""
    ahead = lead(gap, 0.0, y=-1.4)
    return assess(ahead, (), situation(15.0, by=plan(15.0, curvature=0.02), beside=True), CONFIG)


def test_present_motion_counts_only_until_a_correction_can_act():
    reach = 15.0 * (TIMING.commit + TIMING.steering_correction)
    near, far = swerving(reach - 0.5), swerving(reach + 0.5)
    assert near.demand == Mode.EMERGENCY_STOP
    assert codes(near) == {Code.EXTRAPOLATION}
    assert dict(near.margins)["extrapolation"] < 0
    assert far.demand == Mode.NOMINAL
    assert dict(far.margins)["extrapolation"] == INF


# --- near field -----------------------------------------------------------------------------------------------------

NEAR = CONFIG.near_field


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
def test_a_near_object_stops_ego_at_the_distance_it_needs(speed):
    need = ego_distance(speed) + NEAR.stop_distance + NEAR_BOUND
    close, wide = arc(need - 0.02, half_angle=0.01), arc(need + 0.02, half_angle=0.01)
    assert demand(arcs=[close], speed=speed) == Mode.EMERGENCY_STOP
    assert judge(arcs=[close], speed=speed).margin == pytest.approx(-0.02, abs=1e-3)
    assert codes(judge(arcs=[close], speed=speed)) >= {Code.NEAR_FIELD}
    assert judge(arcs=[wide], speed=speed).margin == pytest.approx(0.02, abs=1e-3)
    by_far = judge(arcs=[wide], speed=speed)
    assert max(t.demand for t in by_far.threats) < Mode.EMERGENCY_STOP
    assert by_far.demand < Mode.EMERGENCY_STOP or milder_leaves(by_far)


def test_where_the_plan_stops_ego_may_come_closer():
    need = ego_distance(0.5) + NEAR.stop_distance + NEAR_BOUND
    between = arc(need - NEAR.approach_tolerance / 2, half_angle=0.01)
    stops = situation(0.5, by=stop_plan(0.5, 0.2))
    assert assess(Tracks(), (between,), stops, CONFIG).demand < Mode.EMERGENCY_STOP
    assert demand(arcs=[between], speed=0.5) == Mode.EMERGENCY_STOP
    closer = arc(need - NEAR.approach_tolerance - 0.02, half_angle=0.01)
    assert assess(Tracks(), (closer,), stops, CONFIG).demand == Mode.EMERGENCY_STOP


@pytest.mark.parametrize("echo", [Echo.CLEAR, Echo.BLIND])
def test_what_is_no_object_demands_nothing(echo):
    assert demand(arcs=[arc(0.1, echo=echo)], speed=1.0) == Mode.NOMINAL


def test_only_confirmed_echoes_demand_and_too_close_is_one():
    assert demand(arcs=[arc(0.3, confirmed=False)], speed=1.0) == Mode.NOMINAL
    assert demand(arcs=[arc(0.3)], speed=1.0) == Mode.EMERGENCY_STOP
    assert demand(arcs=[arc(0.0, echo=Echo.TOO_CLOSE)], speed=1.0) == Mode.EMERGENCY_STOP


def test_too_fast_for_ultrasonics_they_do_not_count():
    assert demand(arcs=[arc(1.0)], speed=NEAR.speed_max + 0.1) == Mode.NOMINAL
    assert demand(arcs=[arc(1.0)], speed=NEAR.speed_max) == Mode.EMERGENCY_STOP


def test_an_arc_beside_the_way_is_quiet_and_its_nearest_point_in_the_way_counts():
    assert demand(arcs=[arc(0.5, y=1.8, yaw=1.2, half_angle=0.1)], speed=1.0) == Mode.NOMINAL
    assert demand(arcs=[arc(0.5, y=0.8, yaw=0.6, half_angle=0.6)], speed=1.0) == Mode.EMERGENCY_STOP


def test_an_uncertain_or_approaching_echo_is_nearer():
    sure = judge(arcs=[arc(3.0, half_angle=0.01)], speed=1.0).margin
    assert judge(arcs=[arc(3.0, half_angle=0.01, sigma=0.1)], speed=1.0).margin == pytest.approx(sure - 0.3, abs=1e-3)
    assert judge(arcs=[arc(3.0, half_angle=0.01, rate=-1.0)], speed=1.0).margin == pytest.approx(sure)
    assert judge(arcs=[arc(3.0, half_angle=0.01, rate=-3.0)], speed=1.0).margin < sure - 0.5


def test_one_echo_is_one_threat():
    result = judge(lead(40.0, 0.0), [arc(2.0), replace(arc(1.0), sensor="other")], speed=2.0)
    assert [t.source for t in result.threats if t.track is None] == ["other", "us"]
    assert result.track is None
    assert result.reasons[0].text.startswith("echo of other")


# --- what cannot be told --------------------------------------------------------------------------------------------

SPOTS = [("state", (0, i)) for i in range(4)] + [("cov", (0, i, j)) for i in range(4) for j in range(4)]


@pytest.mark.parametrize(("column", "at"), [*SPOTS, ("existence", (0,))])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_number_that_is_not_finite_in_a_track_stops_ego(column, at, value):
    rows = together(lead(200.0, 20.0, y=20.0), lead(100.0, 20.0))
    spoilt = getattr(rows, column).copy()
    spoilt[at] = value
    assert judge(rows, beside=True).demand == Mode.NOMINAL
    with np.errstate(all="ignore"):
        result = judge(replace(rows, **{column: spoilt}), beside=True)
    assert result.demand == Mode.EMERGENCY_STOP
    assert np.isnan(result.margin)
    assert result.track == 1
    assert result.lead == 2


@pytest.mark.parametrize("bad", [{"distance": NAN}, {"rate": NAN}, {"sigma": NAN}, {"distance": INF}])
def test_a_number_that_is_not_finite_in_an_echo_stops_ego(bad):
    with np.errstate(all="ignore"):
        result = judge(lead(10.0, 0.0, y=9.0), [arc(**bad)], speed=1.0)
    assert result.demand == Mode.EMERGENCY_STOP
    assert np.isnan(result.margin)


def test_a_nan_margin_is_not_hidden_by_a_safe_one():
    with np.errstate(all="ignore"):
        both = judge(lead(50.0, 2.0), [arc(NAN)], speed=2.0)
        swapped = judge(replace(lead(50.0, 2.0), existence=[NAN]), [arc(4.0)], speed=2.0)
    assert np.isnan(both.margin)
    assert np.isnan(swapped.margin)


# --- speed caps -----------------------------------------------------------------------------------------------------


def test_without_a_healthy_sensor_ahead_ego_stops():
    result = judge(clear_range=0.0)
    assert result.demand == Mode.COMFORT_STOP
    assert codes(result) == {Code.CLEAR_DISTANCE}
    assert judge(clear_range=NAN).demand >= Mode.COMFORT_STOP


def test_speed_is_capped_to_what_can_be_stopped_in_the_range_that_is_seen():
    profile = (RESPONSE, 0.0, *GRIP)
    stop = float(fallback_distance(upper_speed(20.0, CONFIG.envelope), *profile))
    assert demand(clear_range=stop + 0.1) == Mode.NOMINAL
    assert demand(clear_range=stop - 0.1) == Mode.SPEED_CAP
    result = judge(clear_range=stop - 3.0)
    assert result.demand == Mode.SPEED_CAP
    driven = upper_speed(result.speed_cap, CONFIG.envelope)  # what a reading at the cap may mean at most
    assert float(driven) == pytest.approx(float(speed_for_distance(stop - 3.0, *profile)))
    assert float(fallback_distance(driven, *profile)) <= stop - 3.0
    assert dict(result.margins)["clear_distance"] < 0


def test_faster_than_the_domain_is_capped():
    fast = CONFIG.odd.speed_max + 1.0
    result = judge(speed=fast, clear_range=1000.0)
    assert (result.demand, codes(result)) == (Mode.SPEED_CAP, {Code.OUT_OF_ODD})
    assert result.speed_cap == CONFIG.odd.speed_max
    assert demand(speed=CONFIG.odd.speed_max, clear_range=1000.0) == Mode.NOMINAL


def test_a_plan_that_is_about_to_be_too_fast_is_capped():
    slow = config({"odd.speed_max": 21.0})
    rising = plan(20.0, acceleration=3.0, duration=5.0)
    assert assess(Tracks(), (), situation(20.0, by=rising, config=slow), slow).demand == Mode.SPEED_CAP
    assert assess(Tracks(), (), situation(20.0, config=slow), slow).demand == Mode.NOMINAL


def test_reverse_motion_is_judged_by_what_is_behind():
    back = plan(-2.0)
    behind = lead(-CONFIG.vehicle.rear - 1.0 - FRONT, 0.0)
    assert assess(behind, (), situation(-2.0, by=back, reach=10.0), CONFIG).demand == Mode.EMERGENCY_STOP
    assert assess(lead(1.0, 0.0), (), situation(-2.0, by=back, reach=10.0), CONFIG).demand == Mode.NOMINAL
    assert demand(behind, speed=2.0) == Mode.NOMINAL


def test_ego_at_rest_is_not_stopped_by_what_stands_in_front():
    assert demand(lead(2.0, 0.0), speed=0.0) == Mode.NOMINAL
    assert demand(lead(2.0, 0.0), speed=2.0) > Mode.NOMINAL


def test_drac_and_pet_of_a_threat():
    """Closing at 5 m/s in 50 m takes 0.25 m/s^2; who crosses 2 s after ego has left has a PET of about 2 s."""
    ahead = assess(lead(50.0, 15.0), (), situation(20.0), CONFIG).threats[0]
    assert ahead.drac == pytest.approx(0.25)
    assert ahead.pet == float("inf")
    s = situation(10.0)
    crossing = lead(20.0, 0.0, y=9.0, vy=-1.0)
    rated = rate(objects_of(crossing, (), s, CONFIG), s.path, s, CONFIG)
    half = CONFIG.vehicle.width / 2
    leaves = (20.0 + 3.7 + 1.0) / 10.0
    assert _pet(rated.met, 0, half, s) == pytest.approx(9.0 - half - leaves, abs=0.05)
    same_time = lead(20.0, 0.0, y=2.5, vy=-1.0)
    rated = rate(objects_of(same_time, (), s, CONFIG), s.path, s, CONFIG)
    assert _pet(rated.met, 0, half, s) == 0.0


@pytest.mark.parametrize(("speed", "yaw_rate"), [(3.0, 0.6), (15.0, -0.2), (30.0, 0.0), (30.0, 0.1), (-2.0, 0.3)])
def test_what_the_present_course_leaves_out_could_not_have_demanded_anything(speed, yaw_rate):
    rng = np.random.default_rng(7)
    n, s = 800, situation(speed, yaw_rate=yaw_rate, beside=True, by=plan(speed))
    root = rng.normal(0.0, 0.5, (n, 4, 4))
    state = np.stack([rng.uniform(-15, 60, n), rng.normal(0, 6, n), rng.normal(speed, 8, n), rng.normal(0, 3, n)], 1)
    tracks = Tracks(s.ego.t, np.arange(n), state, root @ root.transpose(0, 2, 1), np.full(n, 0.99999),
                    np.full(n, s.ego.t), np.full(n, 100), np.ones(n, bool))
    o, nobody = objects_of(tracks, (), s, CONFIG), np.zeros(n, bool)
    near, rated = may_reach(o, s.present, s, CONFIG), rate_present(o, s.present.path(), nobody, s, CONFIG)
    assert (rated.demand[~near] == Mode.NOMINAL).all()
    assert (rated.margin[~near] == INF).all()
    asked = company(o, near)
    some = rate_present(o.take(asked), s.present.path(), nobody[asked], s, CONFIG)
    assert np.array_equal(some.demand, rated.demand[asked])
    assert np.array_equal(some.margin, rated.margin[asked])
    assert 0 < (rated.demand > Mode.NOMINAL).sum() <= near.sum() < 0.9 * n  # both sides are there


# --- turning across -------------------------------------------------------------------------------------------------


def met_on_the_circle(radius, other, speed, when=2.0):
    """Ego turns left at `speed`; an oncoming car, still in its own lane, whose front ego meets after `when` seconds."""
    s = speed * when
    x, y = radius * np.sin(s / radius), radius * (1 - np.cos(s / radius))
    tracks = lead(float(x) + other * when - FRONT, -other, y=float(y))
    return tracks, situation(speed, by=plan(speed, curvature=1 / radius), reach=40.0)


def test_the_plan_that_turns_across_an_oncoming_car_is_stopped_before_the_corridor_meets_it():
    tracks, now = met_on_the_circle(10.0, 12.0, 5.0)
    rated = rate(objects_of(tracks, (), now, CONFIG), now.path, now, CONFIG)
    assert not rated.met.hit.any()
    assert COMFORT_STOP <= rated.demand[0] <= FIRM_STOP
    assert Code.EXPECTED_MOTION in codes(assess(tracks, (), now, CONFIG))


def test_who_can_follow_the_bend_is_taken_to_follow_it():
    """The same meeting, slower: an oncoming car that can drive the bend stays on its own side of the road."""
    tracks, now = met_on_the_circle(40.0, 12.0, 10.0)
    rated = rate(objects_of(tracks, (), now, CONFIG), now.path, now, CONFIG)
    assert np.isfinite(rated.expected.travel[0])
    assert not rated.met.hit.any()
    assert rated.demand[0] == Mode.NOMINAL


def test_who_has_passed_before_ego_turns_asks_for_nothing():
    tracks, now = met_on_the_circle(10.0, 12.0, 5.0)
    early = replace(tracks, state=tracks.state - [36.0, 0.0, 0.0, 0.0])
    assert assess(early, (), now, CONFIG).demand == Mode.NOMINAL


# --- how sure a row must be ----------------------------------------------------------------------------------------


def test_who_comes_towards_ego_must_surely_be_in_the_way_and_then_stops_it():
    beside = {"speed": -15.0, "y": 1.6}
    assert demand(lead(60.0, **beside)) == Mode.EMERGENCY_STOP  # a sure one in the corridor
    assert demand(lead(60.0, **beside, sigma=0.4)) == Mode.NOMINAL  # it may as well keep its lane
    assert demand(lead(60.0, -15.0, sigma=0.4)) == Mode.EMERGENCY_STOP
    assert demand(lead(20.0, 5.0, y=1.6, sigma=0.4)) == Mode.EMERGENCY_STOP  # who does not come is not spared


def test_who_swerves_towards_ego_on_a_straight_road_counts_and_who_follows_a_bend_does_not():
    swerves = lead(50.0, -15.0, y=2.6, vy=-1.5)
    assert demand(swerves) == Mode.EMERGENCY_STOP
    radius, s = 150.0, 50.0
    angle = s / radius
    x, y = (radius - 3.0) * np.sin(angle), radius - (radius - 3.0) * np.cos(angle)
    late = angle - 0.09  # the velocity of a track lags behind the turn, to ego's side
    state = [[x, y, -15.0 * np.cos(late), -15.0 * np.sin(late)]]
    tracks = replace(lead(50.0, -15.0), state=np.array(state))
    bend = situation(18.0, by=plan(18.0, curvature=1 / radius))
    straight = rate(objects_of(tracks, (), bend, CONFIG), bend.path, bend, CONFIG)
    assert straight.demand[0] == Mode.NOMINAL
    tight = config({"corridor.oncoming_sigma_k": 0.0, "corridor.lateral_prediction": 2.0})
    inside = replace(tracks, state=np.array([[radius * np.sin(angle), radius * (1 - np.cos(angle)), -15.0, -5.0]]))
    assert rate(objects_of(inside, (), bend, tight), bend.path, bend, tight).demand[0] == Mode.EMERGENCY_STOP


def test_two_reflections_of_one_body_are_heard_together():
    coasting = lead(13.0, 15.0, age=0.35, speed_sigma=0.9)
    seen = lead(13.2, 15.0, y=1.0, age=0.05, speed_sigma=0.3)
    assert judge(coasting, speed=15.0).margin < 0
    assert judge(together(coasting, seen), speed=15.0).margin > 0
    older = lead(13.2, 15.0, y=1.0, age=0.35, speed_sigma=0.3)  # the control: nobody has heard of it since
    assert judge(together(coasting, older), speed=15.0).margin < judge(together(coasting, seen), speed=15.0).margin - 1


def unheard(age=1.5, y=-2.6, vy=0.4, speed=12.0, x=-1.0, noise=0.3):
    """Traffic that left the view beside ego `age` ago, `noise` [m/s] of it lateral speed: where it is believed now."""
    p = CONFIG.tracking
    state = np.array([[FRONT + x, y + vy * age, speed, vy]])
    then = np.diag([0.01, 0.01, noise * noise, noise * noise])[None]
    motion = kalman.Motion(p.acceleration_psd, p.lateral_psd, p.standing_psd, p.odometry_drift)
    _, cov = kalman.predict(state, then, age, motion)
    return replace(lead(x, speed, age=age), state=state, cov=cov)


def test_traffic_that_left_the_view_beside_stays_in_its_lane():
    """Its reflection wandered: no lateral speed that is sure, and no width that grows while nobody looks."""
    gone = unheard()
    o = objects_of(gone, (), situation(12.0), CONFIG)
    assert o.position[0] == pytest.approx([FRONT - 1.0, -2.6])
    assert o.cov[0, 1, 1] == pytest.approx(0.01, abs=1e-3)
    assert o.cov[0, 0, 0] == pytest.approx(gone.cov[0, 0, 0])
    young = replace(unheard(vy=0.9, noise=0.1), hits=[CONFIG.corridor.lateral_hits - 1])
    o = objects_of(young, (), situation(12.0), CONFIG)
    assert o.position[0] == pytest.approx([FRONT - 1.0, -2.6])  # at first reflections slide
    for other in (
        unheard(vy=0.9, noise=0.1),  # it surely came nearer
        unheard(age=0.1),  # it has just been seen
        unheard(x=30.0),  # far ahead, where it would be seen
        unheard(speed=0.5),  # it does not drive along
    ):
        o = objects_of(other, (), situation(12.0), CONFIG)
        assert np.array_equal(o.position[0], other.state[0, :2])
        assert np.array_equal(o.cov[0], other.cov[0])


def test_two_reflections_of_one_body_have_one_speed():
    vague = lead(11.0, 14.6, existence=0.9999, speed_sigma=0.8)
    sure = lead(11.1, 15.0, y=1.0, speed_sigma=0.3)
    assert demand(vague, speed=14.0) >= Mode.FIRM_STOP
    assert demand(together(vague, sure), speed=14.0) == Mode.NOMINAL
    for other in (
        lead(13.0, 15.0, y=1.0, speed_sigma=0.3),  # another body, further ahead
        lead(11.1, 15.0, y=3.5, speed_sigma=0.3),  # in the next lane
        lead(11.1, 19.0, y=1.0, speed_sigma=0.3),  # another speed
        lead(11.1, 15.0, y=1.0, speed_sigma=0.3, existence=0.95),  # hardly there itself
        lead(11.1, 15.0, y=1.0, speed_sigma=0.9),  # no surer
    ):
        assert demand(together(vague, other), speed=14.0) >= Mode.FIRM_STOP


# --- word by word, and to the last term ------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "why"), [
    (Code.ENVELOPE, "worst-case margin -1.23 m, later the emergency fallback might not avoid it"),
    (Code.EXTRAPOLATION, "on ego's present course the worst-case margin is -1.23 m"),
    (Code.NEAR_FIELD, "near-field margin -1.23 m"),
    (Code.EXPECTED_MOTION, "needs 3.5 m/s^2 of braking and the plan does not keep clear"),
    (Code.TTC, "time to collision 2.46 s"),
    (Code.CUT_IN, "comes from 1.5 m beside into the way, braking later would be too late"),
])  # fmt: skip
def test_a_threat_is_explained_by_who_where_and_why_in_numbers(code, why):
    told = Threat(7, "radar", 12.34, -1.46, 5.02, -1.234, 3.46, 2.456, Mode.FIRM_STOP, code)
    assert explain(told) == Reason(code, f"track 7 12.3 m ahead, closing at 5.0 m/s: {why}", 7)
    echo = replace(told, track=None, source="us_front", gap=-0.4)
    assert explain(echo) == Reason(code, f"echo of us_front 0.0 m ahead, closing at 5.0 m/s: {why}", None)


def pet(v=10.0, drift=-1.0, offset=4.0, along=0.0, station=30.0, half=1.0):
    met = SimpleNamespace(drift=[drift], offset=[offset], along=[along], station=[station])
    return _pet(met, 0, half, situation(v))


def test_the_time_between_two_on_one_place_by_hand():
    rear = CONFIG.vehicle.rear
    # In the way from 3 s to 5 s; ego gets there at (station - front) / 10 and is past at (station + rear) / 10.
    assert pet(station=60.0) == pytest.approx((60.0 - FRONT) / 10.0 - 5.0)
    assert pet(station=10.0) == pytest.approx(3.0 - (10.0 + rear) / 10.0)
    assert pet(station=40.0) == 0.0
    assert pet(station=10.0, drift=1.0, offset=-4.0) == pytest.approx(3.0 - (10.0 + rear) / 10.0)
    assert pet(station=-20.0) == pytest.approx(3.0)  # ego has been there
    assert pet(station=80.0, along=5.0) == pytest.approx((80.0 - FRONT) / 5.0 - 5.0)
    assert pet(along=9.95) == INF  # never there together
    assert pet(drift=1.0) == INF  # leaves, and is out of the way already
    assert pet(drift=-1.0, offset=-0.5, station=60.0) == pytest.approx((60.0 - FRONT) / 10.0 - 0.5)
    assert pet(drift=0.05) == INF
    assert pet(v=0.05) == INF


@pytest.mark.parametrize("bend", [0.03, -0.03])
@pytest.mark.parametrize("station", [10.0, 30.0])
def test_a_bend_that_its_speed_can_follow_excuses_who_comes(bend, station):
    path = path_of(plan(10.0, duration=8.0, curvature=bend), ego(10.0), 100.0)

    def excused(speed, at=station):
        return bool(_bends(SimpleNamespace(velocity=np.array([[-speed, 0.0]])),
                           SimpleNamespace(station=np.array([at]), along=np.array([-speed])), path)[0])  # fmt: skip

    slowest, fastest = math.sqrt(BEND / abs(bend)), math.sqrt(FOLLOWS / abs(bend))
    assert not excused(0.98 * slowest)
    assert excused(1.02 * slowest)
    assert excused(0.98 * fastest)
    assert not excused(1.02 * fastest)
    assert excused(0.1, at=path.length + 0.1)  # nobody knows the road there
    assert not excused(0.1, at=path.length - 0.2)


@pytest.mark.parametrize("speed", [5.0, 20.0])
def test_as_far_as_ego_needs_to_stop_the_path_is_no_guess(speed):
    now = situation(speed, acceleration=0.5, reach=300.0)
    stops = fallback_distance(upper_speed(speed, E), RESPONSE, 0.5, *GRIP)
    assert stopping_reach(now, CONFIG) == pytest.approx(float(stops))
    assert known_reach(now.path, now, CONFIG) == pytest.approx(300.0 + CONFIG.corridor.continuation)
    shorter = max(CONFIG.corridor.continuation, float(stops))
    assert known_reach(replace(now.path, length=0.0), now, CONFIG) == pytest.approx(shorter)


def test_a_stop_stronger_than_the_objects_ask_for_is_told_as_one_of_the_envelope():
    told = {r.code for gap in np.linspace(40.0, 160.0, 61) for r in judge(lead(gap, 0.0)).reasons
            if "a milder stop would leave" in r.text}  # fmt: skip
    assert told == {Code.ENVELOPE}


def moving(number, vx, vy, t, sigma=0.1):
    return lead(20.0, vx, vy=vy, number=number, speed_sigma=sigma, t=t)


def test_a_trend_is_the_change_of_a_velocity_beyond_its_noise_since_the_tick_before():
    k, span = 2.0, 0.1
    noise = k * math.hypot(0.1, 0.2)
    before = replace(together(moving(1, 10.0, 0.0, T - 10**8, 0.2), moving(1, 5.0, 1.0, T - 10**8, 0.2)),
                     id=np.array([3, 7]))  # fmt: skip
    now = replace(together(moving(1, 5.0, 2.0, T), moving(1, 9.0, 0.3, T), moving(1, 1.0, 1.0, T)),
                  id=np.array([7, 8, 9]))  # fmt: skip
    found = trends(now, before, k)
    assert found[0] == pytest.approx([0.0, (1.0 - noise) / span])
    assert (found[1:] == 0.0).all()  # never seen before
    same = replace(now, id=np.array([2, 3, 9]))
    assert trends(same, before, k)[1] == pytest.approx([-(1.0 - noise) / span, 0.0])  # 0.3 m/s is noise
    assert (trends(same, before, k)[[0, 2]] == 0.0).all()


@pytest.mark.parametrize(("ago", "counts"), [(0.3, True), (0.301, False), (0.0, False), (-0.1, False), (0.001, True)])
def test_a_trend_is_read_between_two_ticks_that_are_near_in_time(ago, counts):
    before, now = moving(1, 10.0, 0.0, T - round(ago * 1e9), 0.0), moving(1, 8.0, 0.0, T, 0.0)
    expected = [-2.0 / ago, 0.0] if counts else [0.0, 0.0]
    assert trends(now, before, 2.0)[0] == pytest.approx(expected)


def test_without_tracks_there_is_no_trend():
    assert trends(Tracks(), moving(1, 10.0, 0.0, T - 10**8), 2.0).shape == (0, 2)
    assert trends(moving(1, 10.0, 0.0, T), Tracks(), 2.0).tolist() == [[0.0, 0.0]]


# --- what is beside the body when a turn begins ---------------------------------------------------------------------


def beside(x, y, speed=0.0, vy=0.0):
    return lead(x - FRONT, speed, y, vy, moved=speed > 0)


def along(tracks, by, speed):
    return assess(tracks, (), situation(speed, by=by, reach=8.0), CONFIG)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_pillar_beside_the_body_stops_a_tight_turn_into_it(side):
    turn = plan(2.0, 4.0, curvature=side * 0.17)
    pillar = CONFIG.vehicle.width / 2 + 0.35
    result = along(beside(2.9, side * pillar), turn, 2.0)
    assert result.demand == Mode.EMERGENCY_STOP
    assert 0.0 < result.threats[0].gap < 1.5  # the flank's way to it, not that of the leading edge, which has passed it
    for calm in (
        along(beside(2.9, -side * pillar), turn, 2.0),  # on the outer side
        along(beside(2.9, side * pillar), plan(2.0, 4.0), 2.0),
        along(beside(2.9, side * pillar), plan(2.0, 4.0, curvature=side / 100), 2.0),
        along(beside(2.9, side * pillar, speed=2.0), turn, 2.0),  # drives along
    ):
        assert calm.demand == Mode.NOMINAL


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_backing_out_stops_before_the_front_swings_into_what_is_beside_it(side):
    out = plan(-1.5, 5.0, curvature=0.17)  # the front swings to the right of ego
    place = CONFIG.vehicle.width / 2 + 0.3
    result = along(beside(3.2, -side * place), out, -1.5)
    assert result.demand == (Mode.EMERGENCY_STOP if side > 0 else Mode.NOMINAL)


def test_a_plan_that_ends_its_turn_before_the_flank_is_near_is_left_alone():
    pillar = beside(2.9, CONFIG.vehicle.width / 2 + 0.7)
    into = along(pillar, plan(0.5, 8.0, curvature=0.17), 0.5)
    assert into.threats[0].gap > 1.5
    assert into.demand >= Mode.SPEED_CAP
    ends = along(pillar, stop_plan(0.5, 0.3, curvature=0.17), 0.5)
    assert ends.demand == Mode.NOMINAL


# --- traffic beside that ego gets past anyway ------------------------------------------------------------------------


def corner(gap=2.0, y=1.7, speed=8.0, vy=0.0, hits=50, speed_sigma=0.2, **keywords):
    """A reflection of a car that is `y` beside ego's middle, ego 12 m/s faster."""
    return lead(gap, speed, y=y, vy=vy, hits=hits, speed_sigma=speed_sigma, **keywords)


def test_in_front_of_who_is_beside_and_passed_anyway_it_is_too_late_to_brake():
    for side in (1, -1):
        assert demand(corner(y=side * 1.7), beside=True) == Mode.NOMINAL
    assert demand(corner(gap=30.0)) == Mode.EMERGENCY_STOP  # where its lateral speed may still become anything
    assert demand(corner(y=1.2)) == Mode.EMERGENCY_STOP  # what is presumed of its body is in the way
    assert demand(corner(y=0.0)) == Mode.EMERGENCY_STOP
    assert demand(corner(speed=18.5, gap=0.8)) == Mode.EMERGENCY_STOP  # ego can fall behind
    assert demand(corner(vy=-2.5)) == Mode.EMERGENCY_STOP  # it is in the way before, and braking softens that
    assert demand(corner(speed=1.0)) == Mode.EMERGENCY_STOP  # somebody on foot


def test_a_stop_under_way_lets_go_of_the_brake_where_ego_gets_past_anyway():
    assert judge(corner(), braking=True).ease
    assert not judge(corner(gap=30.0), braking=True).ease


def test_what_is_seen_of_a_body_farther_out_is_not_hidden_towards_the_way():
    near, outer, flank = corner(y=1.4), corner(y=2.9), corner(y=1.45, gap=4.0)
    assert demand(near) == Mode.EMERGENCY_STOP
    assert demand(together(near, outer)) == Mode.NOMINAL
    assert demand(together(near, flank)) == Mode.NOMINAL
    for other in (corner(y=4.2), corner(y=2.9, gap=9.0), corner(y=2.9, speed=14.0), corner(y=2.9, existence=0.95)):
        assert demand(together(near, other)) == Mode.EMERGENCY_STOP, other.state  # another body


def test_a_reflection_that_slides_has_the_lateral_speed_of_its_body():
    slides, others = corner(vy=-2.5), (corner(y=2.9), corner(gap=4.5), corner(y=1.7, gap=5.5))
    assert demand(slides) == Mode.EMERGENCY_STOP
    assert demand(together(slides, *others)) == Mode.NOMINAL
    swerve = tuple(corner(y=float(o.state[0, 1]), gap=float(o.state[0, 0]) - FRONT, vy=-2.5) for o in others)
    assert demand(together(slides, *swerve)) == Mode.EMERGENCY_STOP  # all of the body does


def test_a_reflection_that_slides_towards_the_way_does_not_cut_in_when_its_body_stays():
    slides = corner(y=2.8, vy=-1.2, gap=16.0)
    others = (corner(y=3.8, gap=15.5, vy=0.4), corner(y=2.9, gap=19.0, vy=0.4))
    assert codes(judge(slides)) == {Code.CUT_IN}
    assert demand(together(slides, *others)) == Mode.NOMINAL
    comes = (corner(y=3.8, gap=15.5, vy=-0.4), corner(y=2.9, gap=19.0, vy=-0.4))
    assert Code.CUT_IN in codes(judge(together(slides, *comes)))


def test_whose_rear_ego_is_about_to_pass_cuts_in_when_its_body_surely_comes():
    """Then its flank is seen: if its body comes nearer by less than is known of it, a reflection may only slide."""
    def body(vy, gap):
        return together(*(corner(gap + d, y, 17.0, v, speed_sigma=0.3) for d, y, v in
                          ((0.0, 2.2, -1.2), (0.5, 3.8, vy), (3.0, 2.3, vy))))  # fmt: skip

    assert demand(body(-0.05, 1.0)) == Mode.NOMINAL
    assert codes(judge(body(-0.4, 1.0))) == {Code.CUT_IN}
    assert codes(judge(body(-0.05, 2.5))) == {Code.CUT_IN}  # farther ahead, anything that comes is enough


def rear_corner(y=2.3, vy=-1.6, ahead=29.0, **keywords):
    """A reflection of a truck in the next lane, ego 8 m/s faster; its lateral speed is known to 0.5 m/s."""
    return corner(ahead, y, 12.0, vy, speed_sigma=0.5, **keywords)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_reflection_that_slides_is_not_in_the_corridor_when_its_body_does_not_come(side):
    comes, away = rear_corner(side * 2.3, -side * 1.6), rear_corner(side * 4.5, side * 1.0)
    assert Code.ENVELOPE in codes(judge(comes))
    assert demand(comes) == Mode.EMERGENCY_STOP
    assert demand(together(comes, away)) == Mode.NOMINAL
    assert demand(together(comes, rear_corner(side * 4.5, side * 0.01))) == Mode.NOMINAL  # it stays
    assert demand(together(comes, away, rear_corner(side * 2.4, side * 0.7, 32.0))) == Mode.NOMINAL


@pytest.mark.parametrize("other", [
    rear_corner(4.5, -0.01),  # it comes too
    corner(29.0, 4.5, 12.0, 0.01, speed_sigma=0.7),  # it does not, but that is not known well enough
    rear_corner(4.5, 1.0, hits=9),  # young
    rear_corner(4.5, 1.0, existence=0.95),  # hardly there
    rear_corner(4.5, 1.0, suspect=True),
    rear_corner(4.5, 1.0, moved=False),
    corner(29.0, 4.5, 12.0, 1.0, speed_sigma=0.85),  # known badly
    rear_corner(5.0, 1.0),  # another body: in the lane after the next
    rear_corner(4.5, 1.0, 35.0),  # or farther ahead
])  # fmt: skip
def test_a_reflection_that_comes_counts_unless_others_of_its_body_contradict_it(other):
    assert demand(together(rear_corner(), other)) == Mode.EMERGENCY_STOP
    assert demand(together(rear_corner(), rear_corner(4.5, 0.01))) == Mode.NOMINAL  # the control


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_on_the_present_course_the_others_of_a_body_are_heard_too(side):
    """They may be farther from it than what could be met there."""
    comes, away = rear_corner(side * 2.3, -side * 1.6, 12.0), rear_corner(side * 4.7, side * 1.0, 12.0)
    s = situation(20.0, beside=True)
    o = objects_of(together(comes, away), (), s, CONFIG)
    assert may_reach(o, s.present, s, CONFIG).tolist() == [True, False]
    assert Code.EXTRAPOLATION in codes(judge(comes, beside=True))
    assert demand(together(comes, away), beside=True) == Mode.NOMINAL


def test_the_company_of_a_row_is_as_near_as_one_body_is_long_and_wide():
    rows = [corner(gap, y) for gap, y in ((10.0, 2.0), (15.0, 4.4), (15.0, 4.6), (5.0, -0.4), (4.9, -0.5), (40.0, 2.0))]
    o = objects_of(together(*rows), (), situation(20.0), CONFIG)
    assert company(o, np.arange(6) == 0).tolist() == [True, True, False, True, False, False]
    assert not company(o, np.zeros(6, bool)).any()


def test_what_is_in_the_corridor_counts_whatever_its_body_does():
    away = rear_corner(4.0, 1.0)
    edge = CONFIG.vehicle.width / 2 + CONFIG.corridor.object_half_width + CONFIG.corridor.margin
    for comes in (rear_corner(edge - 0.01), rear_corner(edge + 0.2, sigma=1.1)):  # by its place, as it is known
        assert demand(together(comes, away)) == Mode.EMERGENCY_STOP
    crosses = corner(10.0, 2.3, 0.4, -1.6, speed_sigma=0.5), corner(10.0, 4.5, 0.4, 1.0, speed_sigma=0.5)
    assert demand(together(*crosses)) == demand(crosses[0]) == Mode.EMERGENCY_STOP  # on foot


def test_a_young_reflection_is_where_its_body_is_well_known():
    young, known = corner(y=1.1, hits=5, gap=4.0), (corner(y=1.6), corner(y=3.0))
    assert demand(young) == Mode.EMERGENCY_STOP
    assert demand(together(young, *known)) == Mode.NOMINAL
    other = corner(y=3.0, hits=5)
    assert demand(together(young, other)) == Mode.EMERGENCY_STOP  # nobody knows better


def test_bodies_of_one_world_know_nothing_of_another():
    rows = together(corner(y=1.3), corner(y=2.9))
    at = situation()
    objects = objects_of(rows, (), at, CONFIG)
    met = rate(objects, at.path, at, CONFIG).met
    one, two = (bodies_of(objects, met, CONFIG, np.array(owner)) for owner in ([0, 0], [0, 1]))
    assert one.half_width[0] == pytest.approx(CONFIG.corridor.object_half_width - SIDE)
    assert one.sigma == pytest.approx(0.2 / math.sqrt(2))
    assert two.half_width == pytest.approx(CONFIG.corridor.object_half_width)
    assert two.sigma == pytest.approx(0.2)
