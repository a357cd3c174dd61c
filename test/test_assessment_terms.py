"""The judgement term by term: its numbers against formulas written out, its conditions on both of their sides."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from builders import CONFIG, FRONT, T, arc, ego, lead, path_of, plan, situation, stop_plan, together

from safety_supervisor.core import foresight
from safety_supervisor.core.assessment import assess, chosen, foreseen, objects_of, rate, rate_present
from safety_supervisor.core.assessment.caps import smallest
from safety_supervisor.core.assessment.corridor import BEND, _bends, _flank, _one_body
from safety_supervisor.core.assessment.cut_in import _together, movers_of, plan_course
from safety_supervisor.core.assessment.expected import MAX_REQUIRED, turned_across
from safety_supervisor.core.assessment.manoeuvres import NONE, _behind
from safety_supervisor.core.assessment.objects import CONFIRMED_HITS
from safety_supervisor.core.assessment.rating import CODES, NEAR_BOUND, authority, may_reach
from safety_supervisor.core.assessment.situation import (
    COMFORT_STOP,
    EMERGENCY_STOP,
    FIRM_STOP,
    NOMINAL,
    SPEED_CAP,
    known_reach,
)
from safety_supervisor.core.assessment.threats import decisive
from safety_supervisor.core.envelopes import path_margin, upper_speed
from safety_supervisor.core.foresight import TIMES
from safety_supervisor.core.geometry import FOLLOWS
from safety_supervisor.core.motion import fallback_distance, speed_for_distance
from safety_supervisor.core.paths import extrapolation
from safety_supervisor.core.tracking import kalman
from safety_supervisor.core.world import Code, Mode, Mrm, Threat, Tracks

NAN, INF = float("nan"), float("inf")
A, C, E, F, X, TIMING = (CONFIG.authority, CONFIG.corridor, CONFIG.envelope, CONFIG.fallback, CONFIG.expected,
                         CONFIG.timing)  # fmt: skip
RESPONSE = TIMING.commit + TIMING.actuation_delay
HALF, REAR = CONFIG.vehicle.width / 2, CONFIG.vehicle.rear
SLACK = C.margin + C.object_half_width


def rated_of(tracks, now, by=CONFIG, arcs=()):
    o = objects_of(tracks, tuple(arcs), now, by)
    return o, rate(o, now.path, now, by)


# --- expected motion ------------------------------------------------------------------------------------------------


def expectation(gap, speed, v=20.0, age=0.0, braking=False, end=7.5):
    """What two points on a line lead to: (travel, required, mode, cap), written out."""
    clearance = X.clearance if speed < v else 0.0
    steps = np.arange(0.0, X.horizon + 0.05, 0.1)
    met = steps[gap + speed * steps - v * steps <= clearance + 1e-9]
    travel = gap + speed * met[0] if len(met) else INF
    closing, room = max(v - speed, 0.0), gap - X.clearance
    behind = closing**2 > 2 * X.comfort_threshold * max(gap + speed * end - v * end - X.clearance, 0.0)
    if not (len(met) or behind or braking):
        return travel, 0.0, NOMINAL, INF

    def needs(brake, jerk):
        left = max(room - closing * (TIMING.actuation_delay + age + brake / (2 * jerk)), 1e-3)
        return min(closing**2 / (2 * left), MAX_REQUIRED)

    comfort, firm = needs(F.comfort_deceleration, F.comfort_jerk), needs(F.firm_deceleration, F.firm_jerk)
    mode = FIRM_STOP if firm > X.firm_threshold else COMFORT_STOP if comfort > X.comfort_threshold else (
        SPEED_CAP if comfort > X.cap_threshold else NOMINAL)  # fmt: skip
    # From the cap a comfort stop takes just the room: c w + c^2 / (2 b) = room, with c the closing speed.
    w, b = TIMING.actuation_delay + age, X.comfort_threshold
    c = -b * w + math.sqrt(b * b * w * w + 2 * b * max(room, 0.0))
    return travel, firm, mode, speed + c


@pytest.mark.parametrize("gap", [1.5, 20.3, 45.0, 75.0, 105.0, 130.0])
@pytest.mark.parametrize("speed", [0.0, 6.0, 14.0, 24.0])
@pytest.mark.parametrize(("age", "braking"), [(0.0, False), (0.3, False), (0.0, True)])
def test_the_expected_motion_is_that_of_two_points_on_a_line(gap, speed, age, braking):
    _, rated = rated_of(lead(gap, speed, age=age), situation(20.0, braking=braking))
    x = rated.expected
    travel, required, mode, cap = expectation(gap, speed, age=age, braking=braking)
    assert x.travel[0] == pytest.approx(travel, abs=1e-6)
    assert x.required[0] == pytest.approx(required)
    assert x.demand[0] == mode
    assert x.cap[0] == pytest.approx(cap)
    assert bool(x.conflict[0]) == (expectation(gap, speed, age=age)[3] < INF)


def test_what_never_moved_is_expected_to_stay_where_it_is():
    for moved, travel in ((True, 30.0 + 5.0 * 1.9), (False, 30.0)):  # met after 1.9 s: 30 + 5 t - 20 t <= 2
        _, rated = rated_of(lead(30.0, 5.0, moved=moved), situation(20.0))
        assert rated.expected.travel[0] == pytest.approx(travel)
        _, aside = rated_of(lead(30.0, 0.0, y=3.5, vy=-1.5, moved=moved), situation(20.0))
        assert np.isfinite(aside.expected.travel[0]) == moved


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_plan_leads_into_what_stands_nearer_beside_it_than_body_and_slack(side):
    for off, meets in ((-0.02, True), (0.02, False)):
        _, rated = rated_of(lead(30.0, 0.0, y=side * (HALF + SLACK + off)), situation(20.0))
        assert np.isfinite(rated.expected.travel[0]) == meets


@pytest.mark.parametrize("speed", [0.0, 4.0, 8.0])
def test_a_plan_that_ends_too_fast_too_near_leaves_a_conflict_behind(speed):
    """Three seconds at 10 m/s and no word of what comes then: a comfort stop from there must still be enough."""
    now = situation(10.0, by=plan(10.0, duration=3.0))
    edge = (10.0 - speed) ** 2 / (2 * X.comfort_threshold) + 30.0 - 3.0 * speed + X.clearance
    for gap, conflict in ((edge - 0.05, True), (edge + 0.05, False)):
        _, rated = rated_of(lead(gap, speed), now)
        assert rated.expected.travel[0] == INF  # not met by the plan itself
        assert bool(rated.expected.conflict[0]) == conflict
    _, beside = rated_of(lead(edge - 0.05, speed, y=3.5), now)
    assert not beside.expected.conflict[0]


def test_who_drives_away_is_not_left_behind_however_near_it_is():
    _, rated = rated_of(lead(0.3, 10.5), situation(10.0, by=plan(10.0, duration=3.0)))
    assert not rated.expected.conflict[0]


def turning(other=12.0, radius=10.0, speed=5.0):
    """Ego turns left across an oncoming car that is still in its own lane; they meet after 2 s."""
    s = 2.0 * speed
    x, y = radius * np.sin(s / radius), radius * (1 - np.cos(s / radius))
    now = situation(speed, by=plan(speed, curvature=1 / radius), reach=40.0)
    return lead(float(x) + 2.0 * other - FRONT, -other, y=float(y)), now


def test_the_plan_turns_across_those_only_who_come_sound_and_from_beside():
    tracks, now = turning()
    o, rated = rated_of(tracks, now)
    travel = rated.expected.travel

    def across(o=o, met=rated.met, travel=travel):
        return turned_across(o, met, travel, now.path).tolist()

    assert across() == [True]
    assert across(travel=np.array([INF])) == [False]
    assert across(met=replace(rated.met, gap=np.array([5.0]))) == [False]
    assert across(replace(o, row=np.array([-1]))) == [False]
    assert across(replace(o, static=np.array([True]))) == [False]
    assert across(replace(o, existence=np.array([NAN]))) == [False]
    assert across(o.take(np.array([False])), rated_of(Tracks(), now)[1].met, np.zeros(0)) == []


@pytest.mark.parametrize(("speed", "across"), [(6.2, False), (6.5, True)])
def test_a_bend_that_the_other_could_drive_is_no_turn_across_its_way(speed, across):
    """On a radius of 10 m the 4 m/s^2 of `FOLLOWS` are reached at 6.32 m/s."""
    tracks, now = turning()
    o, rated = rated_of(tracks, now)
    met = replace(rated.met, sure=np.array([[-speed * 0.6, speed * 0.8]]))
    assert turned_across(o, met, rated.expected.travel, now.path).tolist() == [across]


# --- who comes into the way -----------------------------------------------------------------------------------------


def test_the_course_of_a_plan_goes_on_at_its_last_speed():
    steady = plan_course(path_of(plan(10.0, duration=2.0), ego(10.0)))
    assert steady.travel[0] == pytest.approx(10.0 * TIMES)
    assert steady.speed[0] == pytest.approx(10.0)
    faster = plan_course(path_of(plan(10.0, acceleration=1.0, duration=3.0), ego(10.0), 100.0))
    t = np.minimum(TIMES, 3.0)
    assert faster.speed[0] == pytest.approx(10.0 + t, abs=0.1)
    assert faster.travel[0] == pytest.approx(10.0 * t + t * t / 2 + 13.0 * (TIMES - t), abs=0.3)
    rest = plan_course(path_of(stop_plan(10.0, 20.0), ego(10.0)))
    assert rest.travel[0, -1] == pytest.approx(20.0, abs=0.7)  # to the last sample before the stop
    assert rest.travel.shape == rest.speed.shape == (1, len(TIMES))


def test_rows_are_seen_from_the_path_with_what_their_speed_across_it_gains():
    path = path_of(plan(10.0, curvature=0.03, yaw=0.6, duration=6.0), ego(10.0, yaw=0.6), 60.0)
    met = SimpleNamespace(station=np.array([0.0, 30.0]), offset=np.array([2.0, -1.0]), along=np.array([8.0, 3.0]),
                          drift=np.array([-1.0, 0.5]))  # fmt: skip
    o = SimpleNamespace(trend=np.array([[0.4, -0.2], [0.4, -0.2]]), slack=np.array([SLACK, 1.1]))
    movers = movers_of(o, SimpleNamespace(met=met), SimpleNamespace(path=path), CONFIG)
    assert movers.along is met.station
    assert movers.across is met.offset
    assert movers.speed is met.along
    assert movers.drift is met.drift
    heading = np.array([0.6, 0.6 + 0.03 * 30.0])
    assert movers.gain == pytest.approx(-0.2 * np.cos(heading) - 0.4 * np.sin(heading), abs=0.01)
    assert movers.half_width == pytest.approx([C.object_half_width, 1.1 - C.margin])


ALONE = np.zeros(1, np.int64)


def asked(tracks, now, was=NOMINAL, code=0, **columns):
    """What the rule of cut-ins alone makes of one row that asks for `was` so far."""
    o, rated = rated_of(tracks, now)
    o = replace(o, **columns) if columns else o
    rated, eases = foreseen(o, replace(rated, demand=np.array([was]), code=np.array([code])), now, CONFIG, ALONE, 1)
    return int(rated.demand[0]), CODES[int(rated.code[0])], bool(rated.spared[0]), bool(eases[0])


CUTS_IN = {"gap": 24.0, "speed": 8.0, "y": 2.6, "vy": -1.2}


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_who_cuts_in_asks_for_as_much_as_its_existence_allows(side):
    now, cuts = situation(25.0), {**CUTS_IN, "y": side * 2.6, "vy": -side * 1.2}
    assert asked(lead(**cuts), now) == (EMERGENCY_STOP, Code.CUT_IN, False, False)
    assert asked(lead(**cuts, existence=A.stop), now) == (FIRM_STOP, Code.CUT_IN, False, False)
    # What asked for as much before keeps its own reason.
    assert asked(lead(**cuts), now, EMERGENCY_STOP, 2)[:2] == (EMERGENCY_STOP, CODES[2])
    assert asked(lead(**cuts), now, FIRM_STOP, 2)[:2] == (EMERGENCY_STOP, Code.CUT_IN)
    assert asked(lead(**cuts, existence=A.stop), now, EMERGENCY_STOP, 2)[:2] == (EMERGENCY_STOP, CODES[2])


@pytest.mark.parametrize("other", [
    {"vy": 1.2}, {"vy": 0.0}, {"speed": 24.0}, {"existence": A.stop - 0.001}, {"hits": A.hits - 1}, {"suspect": True},
    {"speed": -2.0}, {"gap": 400.0}, {"gap": -30.0}, {"y": HALF + C.object_half_width - 0.1},
    {"y": HALF + C.object_half_width + 9.0},
])  # fmt: skip
def test_who_does_not_cut_in_or_is_not_known_well_asks_for_nothing(other):
    assert asked(lead(**{**CUTS_IN, **other}), situation(25.0)) == (NOMINAL, CODES[0], False, False)


def test_an_echo_and_a_broken_number_do_not_cut_in():
    now = situation(25.0)
    assert asked(lead(**CUTS_IN), now, row=np.array([-1]))[0] == NOMINAL
    assert asked(lead(**CUTS_IN), now, existence=np.array([NAN]))[0] == NOMINAL
    # From farther than what never moved may stand, it is nobody who comes.
    near = asked(lead(**{**CUTS_IN, "gap": 50.0, "speed": 0.0, "vy": -0.7}), now)
    assert near[0] == EMERGENCY_STOP
    assert asked(lead(**{**CUTS_IN, "gap": 50.0, "speed": 0.0, "vy": -0.7}), now, static=np.array([True]))[0] == near[0]


def contact(gap, ego_at, speed, y, drift, dt):
    """Whether ego, which is at `ego_at` (K,) at multiples of `dt`, touches who drifts into its lane and stays there."""
    t = np.arange(len(ego_at)) * dt
    off = np.maximum(y + drift * t, 0.0)
    ahead = FRONT + gap + speed * t - ego_at
    return bool(((off <= HALF + C.object_half_width) & (ahead <= FRONT) & (ahead >= -REAR)).any())


def braked(v, start, until=INF, dt=0.01):
    """Travel of ego that demands the whole brake from `start` to `until` [s] and lets go then."""
    a, s, travel = 0.0, 0.0, []
    for i in range(600):
        travel.append(s)
        t = i * dt - TIMING.actuation_delay
        wanted = -F.emergency_deceleration if start <= t < until else 0.0
        a += min(max(wanted - a, -F.emergency_jerk * dt), F.emergency_jerk * dt)
        v = max(v + a * dt, 0.0)
        s += v * dt
    return np.array(travel)


@pytest.mark.parametrize(("v", "speed", "y", "drift"), [(25.0, 8.0, 2.6, -1.2), (15.0, 6.0, 2.2, -0.8)])
def test_braking_is_due_where_half_a_second_later_it_would_be_too_late(v, speed, y, drift):
    now, later, steady = braked(v, 0.0), braked(v, 0.5), v * 0.01 * np.arange(600)
    brief = braked(v, 0.0, foresight.STEP)
    seen = set()

    def clear(gap, *courses):
        return any(not contact(gap, course, speed, y, drift, 0.01) for course in courses)

    for gap in np.arange(6.0, 60.0, 1.0):
        outcomes = {(clear(g, now, brief), clear(g, later, steady)) for g in np.linspace(gap - 1.8, gap + 1.8, 10)}
        if outcomes in ({(True, False)}, {(True, True)}):
            wanted = outcomes == {(True, False)}
            found = asked(lead(gap, speed, y=y, vy=drift), situation(v))[0]
            assert (found == EMERGENCY_STOP) == wanted, gap
            seen.add(wanted)
    assert seen == {True, False}


PASSED_BY = {"gap": 2.0, "speed": 2.8, "y": 2.1, "vy": -0.4}


def test_who_is_only_passed_is_spared_whatever_it_asked_for():
    now = situation(8.3)
    for was in (NOMINAL, SPEED_CAP, FIRM_STOP):
        assert asked(lead(**PASSED_BY), now, was) == (NOMINAL, CODES[0], True, True)
    o, rated = rated_of(lead(**{**PASSED_BY, "gap": 20.0, "vy": 0.0}), now)
    assert foreseen(o, rated, now, CONFIG, ALONE, 1)[0] is rated  # nobody comes


def test_each_world_of_a_batch_is_judged_by_its_own_rows():
    now = situation(25.0)
    beside = lead(15.0, 8.0, y=3.0, vy=-0.8)  # ego is past before
    tracks = together(lead(**CUTS_IN), beside, lead(40.0, 20.0, y=3.5))
    o, rated = rated_of(tracks, now)
    rated = replace(rated, demand=np.full(3, SPEED_CAP))
    apart, eases = foreseen(o, rated, now, CONFIG, np.array([0, 1, 2]), 3)
    assert apart.demand.tolist() == [EMERGENCY_STOP, NOMINAL, SPEED_CAP]
    assert (apart.spared.tolist(), eases.tolist()) == ([False, True, False], [False, True, False])
    one, eases = foreseen(o, rated, now, CONFIG, np.array([0, 0, 0]), 1)
    assert one.demand.tolist() == [EMERGENCY_STOP, EMERGENCY_STOP, SPEED_CAP]  # the stop is due for the world
    assert (one.spared.any(), eases.tolist()) == (False, [False])


def test_braking_does_harm_only_where_somebody_comes_and_who_is_behind_makes_no_stop_due():
    def costs(plan, brake):
        rows = [np.array([[float(x)], [float(x)]]) for x in (plan, brake, brake, brake)]
        return foresight.Costs(*rows)

    def found(c, coming=True, behind=False):
        due, harm = _together(c, ALONE, np.array([coming]), np.array([behind]), 1)
        return bool(due[0]), bool(harm[0])

    assert found(costs(0.0, 50.0)) == (False, True)
    assert found(costs(0.0, 50.0), coming=False) == (False, False)
    assert found(costs(0.0, 50.0), behind=True) == (False, True)
    late = foresight.Costs(*(np.full((2, 1), x) for x in (50.0, 0.0, 50.0, 0.0)))
    assert found(late) == (True, False)
    assert found(late, coming=False) == (False, False)
    assert found(late, behind=True) == (False, False)


# --- threats and caps -----------------------------------------------------------------------------------------------


def test_every_number_of_a_threat():
    found = assess(lead(50.0, 15.0, y=0.4, number=7), (), situation(20.0), CONFIG)
    threat, = found.threats
    free = 50.0 - E.sigma_k * E.gap_sigma_floor - E.geometry_bound
    margin = float(path_margin(free, upper_speed(20.0, E), 15.0, RESPONSE, 0.0, E))
    assert (threat.track, threat.source, threat.code, threat.demand) == (7, "radar", Code.ENVELOPE, Mode.NOMINAL)
    numbers = (threat.gap, threat.lateral, threat.closing_speed, threat.margin, threat.required, threat.ttc,
               threat.drac, threat.pet)  # fmt: skip
    assert numbers == pytest.approx((50.0, 0.4, 5.0, margin, 0.0, 10.0, 25.0 / 100.0, INF))
    assert found.lead == 7
    assert found.track == 7


def test_who_comes_from_beside_is_told_by_where_it_is():
    """It is not met yet, so that its place counts; it enters the way and leaves it at times that follow from its
    drift.
    """
    threat, = assess(lead(**{**CUTS_IN, "y": 3.2}, number=3), (), situation(25.0), CONFIG).threats
    assert (threat.track, threat.demand, threat.code) == (3, Mode.EMERGENCY_STOP, Code.CUT_IN)
    assert (threat.gap, threat.closing_speed, threat.ttc) == pytest.approx((24.0, 17.0, 24.0 / 17.0))
    into, out = (3.2 - HALF - SLACK) / 1.2, (3.2 + HALF + SLACK) / 1.2
    arrives, leaves = 24.0 / 17.0, (24.0 + FRONT + REAR) / 17.0
    assert threat.pet == pytest.approx(max(into - leaves, arrives - out, 0.0))


def test_the_present_course_tells_encroachment_by_the_same_width():
    s = situation(15.0, by=plan(15.0, curvature=0.02), beside=True)
    found = assess(lead(4.0, 0.0, y=-1.4, vy=-0.3), (), s, CONFIG)
    pets = {t.code: t.pet for t in found.threats}
    into = 0.0
    out = (HALF + SLACK - 1.4) / 0.3
    arrives = 4.0 / 15.0
    assert pets[Code.EXTRAPOLATION] == pytest.approx(max(into - 1.0, arrives - out, 0.0))
    gone = assess(lead(6.0, 0.0, y=-1.7, vy=-0.4), (), s, CONFIG)
    pet = next(t.pet for t in gone.threats if t.code == Code.EXTRAPOLATION)
    assert pet == pytest.approx(max(6.0 / 15.0 - (HALF + SLACK - 1.7) / 0.4, 0.0))
    assert pet > 0.0


def test_the_decisive_threat_demands_most_and_then_has_the_least_margin():
    def threat(track, demand, margin):
        return Threat(track, "radar", 1.0, 0.0, 1.0, margin, 0.0, 1.0, demand, Code.ENVELOPE)

    rows = [threat(1, Mode.SPEED_CAP, -9.0), threat(2, Mode.FIRM_STOP, 3.0), threat(3, Mode.FIRM_STOP, 2.0)]
    assert decisive(rows).track == 3
    assert decisive([*rows, threat(4, Mode.FIRM_STOP, NAN)]).track == 4
    assert decisive([]) is None
    assert smallest(np.array([2.0, -1.0])) == -1.0
    assert smallest(np.zeros(0)) == INF


def reading(distance, by=CONFIG):
    """The speed that may be read where the true one is stopped within `distance`."""
    true = float(speed_for_distance(distance, RESPONSE, 0.0, E.assumed_brake, E.assumed_jerk))
    return (true - E.speed_error) / (1 + E.speed_error_ratio)


@pytest.mark.parametrize("age", [0.0, 0.2])
def test_what_never_moved_far_away_caps_to_where_it_will_be_judged(age):
    now = situation(30.0, by=stop_plan(30.0, 55.0), reach=200.0, clear_range=500.0)
    far = together(lead(80.0, 0.0, moved=False, age=age), lead(72.0, 0.0, moved=False, age=age),
                   lead(66.0, 0.0, moved=False, existence=A.speed_cap - 0.01))  # fmt: skip
    found = assess(far, (), now, CONFIG)
    assert found.speed_cap == pytest.approx(reading(A.static_range - 30.0 * age))
    text = f"30.0 m/s is above {found.speed_cap:.1f} m/s: what never moved stands 72 m ahead, at 65 m there must be"
    assert any(r.code == Code.CLEAR_DISTANCE and r.text.startswith(text) for r in found.reasons)
    quiet = assess(lead(80.0, 30.0, age=age), (), situation(30.0, reach=200.0, clear_range=500.0), CONFIG)
    assert quiet.speed_cap == CONFIG.odd.speed_max
    near = assess(lead(64.0, 0.0, moved=False), (), situation(8.0, reach=200.0, clear_range=500.0), CONFIG)
    assert near.speed_cap == CONFIG.odd.speed_max


def test_the_cap_is_the_least_of_domain_view_and_what_the_plan_meets():
    assert assess(Tracks(), (), situation(clear_range=60.0), CONFIG).speed_cap == pytest.approx(reading(60.0))
    assert assess(Tracks(), (), situation(clear_range=0.0), CONFIG).speed_cap == 0.0
    for gap in np.arange(30.0, 80.0, 0.25):
        _, _, mode, cap = expectation(gap, 8.0)
        found = assess(lead(gap, 8.0), (), situation(20.0), CONFIG)
        if mode == SPEED_CAP and found.demand == Mode.SPEED_CAP:
            assert found.speed_cap == pytest.approx(cap)
            break
    else:
        pytest.fail("nowhere a cap")


# --- what a row may demand ------------------------------------------------------------------------------------------


def level_of(tracks, now=None, met=None):
    now = now or situation(20.0)
    o, rated = rated_of(tracks, now)
    return int(authority(o, met or rated.met, 100.0, 20.0, CONFIG)[0])


def test_beyond_what_is_known_of_the_path_a_row_may_only_cap():
    assert level_of(lead(100.0, 10.0)) == EMERGENCY_STOP
    assert level_of(lead(100.1, 10.0)) == SPEED_CAP


def test_a_sign_counts_by_where_it_was_seen_last():
    for age, allowed in ((0.0, EMERGENCY_STOP), (0.24, EMERGENCY_STOP), (0.26, SPEED_CAP)):  # 60 + 20 t against 65
        assert level_of(lead(60.0, 0.0, moved=False, age=age)) == allowed
    assert level_of(lead(60.0, 25.0, moved=False, age=1.0)) == EMERGENCY_STOP  # it does not come nearer
    assert level_of(lead(60.0, 0.0, age=1.0)) == EMERGENCY_STOP


def test_the_far_end_of_a_young_row_is_two_standard_deviations_aside():
    edge = HALF + SLACK - A.course_sigma_k * 0.2
    for y, allowed in ((edge - 0.01, EMERGENCY_STOP), (edge + 0.01, SPEED_CAP)):
        for side in (1.0, -1.0):
            assert level_of(lead(30.0, 0.0, y=side * y, sigma=0.2, hits=A.course_hits - 1)) == allowed


@pytest.mark.parametrize(("speed", "level", "told"), [
    (-1.51, NOMINAL, NOMINAL), (-1.5, SPEED_CAP, SPEED_CAP), (-1.4, SPEED_CAP, EMERGENCY_STOP),
    (10.0, SPEED_CAP, EMERGENCY_STOP),
])  # fmt: skip
def test_beyond_the_known_way_who_comes_asks_for_nothing_and_the_others_for_a_cap(speed, level, told):
    """What is no faster than `moving_speed` does not come; the margin of what stands or drives on is told all along."""
    now = situation(20.0, by=plan(20.0, duration=1.0), reach=150.0)
    reach = known_reach(now.path, now, CONFIG)
    rated = rated_of(lead(99.0, speed, sigma=0.01), now)[1]
    assert (rated.level[0], rated.told[0], rated.reach) == (level, told, reach)
    assert reach < 99.0
    assert rated_of(lead(reach - 0.1, speed, sigma=0.01), now)[1].level[0] == EMERGENCY_STOP


def test_the_strongest_rule_gives_the_reason():
    for tracks, code in ((lead(12.0, 0.0), Code.ENVELOPE), (lead(60.0, 0.0, existence=A.stop), Code.EXPECTED_MOTION)):
        _, rated = rated_of(tracks, situation(20.0))
        assert CODES[int(rated.code[0])] == code
        assert not rated.spared.any()
    soon = rated_of(lead(15.0, 0.0, existence=A.stop), situation(20.0, by=stop_plan(20.0, 12.0)))[1]
    assert soon.ttc_margin[0] < 0
    late = rated_of(lead(23.0, 0.0, existence=A.stop), situation(20.0, by=stop_plan(20.0, 12.0)))[1]
    v = float(upper_speed(20.0, E))
    assert late.ttc_margin[0] == pytest.approx(23.0 - v * X.ttc, abs=1e-6)


# --- present motion -------------------------------------------------------------------------------------------------


def grid(now, extent, cov=None):
    """Standing objects all around ego, and where each of them is."""
    x, y = (v.ravel() for v in np.meshgrid(np.arange(-6.0, 30.0, 0.75), np.arange(-6.0, 6.01, 0.1)))
    n, c, s = len(x), math.cos(now.ego.yaw), math.sin(now.ego.yaw)
    state = np.stack([now.ego.x + c * x - s * y, now.ego.y + s * x + c * y, 0 * x, 0 * x], axis=1)
    cov = np.zeros((n, 4, 4)) if cov is None else np.broadcast_to(cov, (n, 4, 4))
    return Tracks(now.ego.t, np.arange(n), state, cov, np.full(n, 0.99999), np.full(n, now.ego.t), np.full(n, 100),
                  np.ones(n, bool), np.tile([extent, 0.0], (n, 1)))  # fmt: skip


def turned(speed, yaw_rate, yaw, beside=True):
    here = ego(speed, x=3.0, y=-2.0, yaw=yaw, yaw_rate=yaw_rate)
    by = plan(speed, x=3.0, y=-2.0, yaw=yaw)
    present = extrapolation(here, CONFIG.vehicle, 2.0, C.curvature_sigma, 5.0) if beside else None
    return replace(situation(speed), ego=here, path=path_of(by, here, 60.0), present=present)


SPREAD = np.diag([0.3, 0.3, 0.0, 0.0])
LEANING = np.array([[0.2, 0.2, 0, 0], [0.2, 0.2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0.0]])


@pytest.mark.parametrize(("speed", "yaw_rate", "yaw", "extent", "cov"), [
    (4.0, 0.8, 0.0, 0.0, None), (4.0, -0.8, 2.0, 1.5, None), (12.0, 0.35, -1.2, 0.0, SPREAD),
    (2.0, -0.7, 3.0, 0.3, LEANING), (12.0, 0.0, 0.9, 0.0, None), (20.0, 0.0, 2.5, 1.5, None),
    (12.0, 0.0, -0.7, 0.0, LEANING), (-3.0, 0.0, 0.9, 0.0, None),
])  # fmt: skip
def test_nothing_near_the_edge_of_the_present_course_is_left_out(speed, yaw_rate, yaw, extent, cov):
    now = turned(speed, yaw_rate, yaw)
    o = objects_of(grid(now, extent, cov), (), now, CONFIG)
    rated = rate_present(o, now.present.path(), np.zeros(len(o.row), bool), now, CONFIG)
    counted = np.isfinite(rated.margin)
    kept = may_reach(o, now.present, now, CONFIG)
    assert counted.sum() > 50
    assert not (counted & ~kept).any()
    assert yaw_rate or kept.sum() < 0.8 * len(kept)


def test_the_present_course_counts_up_to_where_a_correction_acts():
    now = turned(12.0, 0.0, 0.9)
    reach = 12.0 * (TIMING.commit + TIMING.steering_correction)
    o = objects_of(grid(now, 0.0), (), now, CONFIG)
    spared = np.arange(len(o.row)) % 2 == 0
    rated = rate_present(o, now.present.path(), spared, now, CONFIG)
    assert rated.reach == pytest.approx(reach)
    assert rated.spared is spared
    finite = np.isfinite(rated.margin)
    assert rated.met.gap[finite].max() <= reach + 1e-9 < rated.met.gap[rated.met.hit].max()
    assert {CODES[c] for c in rated.code} == {Code.EXTRAPOLATION}
    assert not rated.expected.conflict.any()
    assert (rated.ttc_margin == INF).all()
    assert rated.expected.demand is rated.demand
    assert (rated.expected.cap == INF).all()
    assert (rated.demand[spared] == NOMINAL).all()
    unsafe = finite & ~spared
    assert unsafe.any()
    assert (rated.demand[unsafe] == EMERGENCY_STOP).all()  # nothing so near can be stopped for
    assert (rated.demand[~finite] == NOMINAL).all()


# --- the table of rows ----------------------------------------------------------------------------------------------


def test_every_column_of_a_track_and_of_an_arc():
    earlier = replace(lead(10.0, 6.0, vy=0.0, number=4), t=T - 10**8)
    now = replace(situation(2.0), before=earlier, recent_speed=2.5, ego_age=0.07)
    tracks = lead(10.0, 5.0, y=1.5, vy=0.5, number=4, sigma=0.1, speed_sigma=0.01, age=0.05, extent=0.9, hits=33,
                  moved=False, suspect=True, existence=0.97)  # fmt: skip
    o = objects_of(tracks, (arc(2.0, rate=-4.0, sigma=0.1),), now, CONFIG)
    n = len(o.row) - 1
    assert o.row.tolist() == [0] + n * [-1]
    assert o.near.tolist() == [False] + n * [True]
    assert o.sound.all()
    assert o.position[0] == pytest.approx([FRONT + 10.0, 1.5])
    assert np.hypot(o.position[1:, 0] - FRONT, o.position[1:, 1]) == pytest.approx(2.0 - E.sigma_k * 0.1)
    assert o.velocity.tolist() == [[5.0, 0.5]] + n * [[0.0, 0.0]]
    assert np.array_equal(o.cov[0], tracks.cov[0])
    assert not o.cov[1:].any()
    assert o.existence.tolist() == [0.97] + n * [1.0]
    assert o.suspect.tolist() == [True] + n * [False]
    assert o.static.tolist() == [True] + n * [False]
    assert o.hits.tolist() == [33] + n * [CONFIRMED_HITS]
    assert o.age == pytest.approx(0.07)
    assert o.approach == pytest.approx([0.0] + n * [4.0 - 2.5])
    keep = CONFIG.near_field.stop_distance
    assert o.keep == pytest.approx([0.0] + n * [keep])
    assert o.clearance == pytest.approx([X.clearance] + n * [keep])
    assert o.slack == pytest.approx([C.margin + 0.9] + n * [CONFIG.near_field.lateral_margin])
    noise = C.lateral_speed_sigma_k * 0.01
    assert o.trend[0] == pytest.approx([-(1.0 - noise) / 0.1, (0.5 - noise) / 0.1])
    assert not o.trend[1:].any()
    p = CONFIG.tracking
    motion = kalman.Motion(p.acceleration_psd, p.lateral_psd, p.standing_psd, p.odometry_drift, p.speed_lag)
    assert o.since[0] == pytest.approx(0.05 * kalman.white_acceleration(np.array([[5.0, 0.5]]), motion)[0])
    assert not o.since[1:].any()
    older = objects_of(replace(tracks, updated=[T - 10**8]), (), now, CONFIG)
    assert older.age == pytest.approx(0.1)
    some = o.take(np.arange(len(o.row)) == 0)
    for name in ("row", "position", "velocity", "cov", "existence", "suspect", "static", "hits", "age", "approach",
                 "keep", "clearance", "slack", "trend", "since", "near", "sound"):  # fmt: skip
        assert np.array_equal(getattr(some, name), getattr(o, name)[:1]), name


@pytest.mark.parametrize(("rate", "speed", "recent", "own"), [
    (-1.0, 1.0, 0.0, 0.0), (-1.5, 1.0, 0.0, 0.0), (-1.7, 1.0, 0.0, 0.7), (-1.7, -1.0, 0.0, 0.7), (-1.7, 1.0, 1.2, 0.0),
    (-1.7, 0.0, 1.0, 0.7), (1.7, 1.0, 0.0, 0.0), (-3.0, 1.0, 1.2, 1.8),
])  # fmt: skip
def test_an_echo_approaches_by_what_ego_and_noise_do_not_explain(rate, speed, recent, own):
    now = replace(situation(speed), recent_speed=recent)
    o = objects_of(Tracks(), (arc(2.0, rate=rate),), now, CONFIG)
    assert o.approach == pytest.approx(own)
    assert NEAR_BOUND < 0.05


# --- what is done ---------------------------------------------------------------------------------------------------


def choice(tracks, now, beside=None, was=None):
    o, rated = rated_of(tracks, now)
    rated = rated if was is None else replace(rated, demand=np.array(was))
    n = len(o.row)
    made = chosen(o, rated, beside, now, CONFIG, np.zeros(n, np.int64), 1)
    return int(made.stop[0]), int(made.least[0])


def under_way(mode, braked=0.0, speed=20.0, **keywords):
    return replace(situation(speed, braking=True, **keywords), under_way=int(mode), braked=braked)


def test_without_a_stop_due_nothing_is_chosen():
    for was in (NOMINAL, SPEED_CAP):
        assert choice(lead(60.0, 0.0), situation(20.0), was=[was]) == (was, NONE)
    assert choice(Tracks(), situation(20.0)) == (NOMINAL, NONE)


def test_a_stop_under_way_stays_as_it_is_while_it_is_enough_and_is_raised_when_it_is_not():
    """What rows ask for may have fallen below it: that it goes on is for arbitration to say."""
    far, near = lead(130.0, 0.0), lead(72.0, 0.0)
    assert choice(far, under_way(COMFORT_STOP), was=[NOMINAL]) == (NOMINAL, NONE)
    assert choice(far, under_way(COMFORT_STOP), was=[COMFORT_STOP]) == (COMFORT_STOP, NONE)
    assert choice(near, under_way(COMFORT_STOP), was=[NOMINAL]) == (FIRM_STOP, NONE)
    for mode in (NOMINAL, SPEED_CAP, EMERGENCY_STOP, Mode.EMERGENCY_STOP + 1):
        assert choice(near, under_way(mode), was=[NOMINAL]) == (NOMINAL, NONE)


def test_an_emergency_is_one_and_each_milder_stop_is_raised_as_far_as_it_must_be():
    assert choice(lead(30.0, 0.0), situation(20.0)) == (EMERGENCY_STOP, NONE)
    gaps = np.arange(30.0, 130.0, 1.0)
    comfort = [choice(lead(g, 0.0), situation(20.0), was=[COMFORT_STOP])[0] for g in gaps if g > 42.0]
    firm = [choice(lead(g, 0.0), situation(20.0), was=[FIRM_STOP])[0] for g in gaps if g > 42.0]
    assert comfort == sorted(comfort, reverse=True)
    assert set(comfort) == {COMFORT_STOP, FIRM_STOP, EMERGENCY_STOP}
    assert firm == [max(c, FIRM_STOP) for c in comfort]


def test_what_the_present_course_leads_into_counts_as_much():
    far = lead(120.0, 18.0)
    beside = (np.array([EMERGENCY_STOP]), np.array([-1.0]))
    assert choice(far, situation(20.0), beside) == (EMERGENCY_STOP, NONE)
    safe = (np.array([NOMINAL]), np.array([5.0]))
    assert choice(far, situation(20.0), safe) == (NOMINAL, NONE)


def test_a_world_without_a_stop_due_gets_none_from_its_neighbour():
    now = situation(20.0)
    o, rated = rated_of(together(lead(72.0, 0.0), lead(130.0, 0.0)), now)
    rated = replace(rated, demand=np.array([COMFORT_STOP, NOMINAL]))
    made = chosen(o, rated, None, now, CONFIG, np.array([0, 1]), 2)
    assert made.stop.tolist() == [FIRM_STOP, NOMINAL]
    assert made.least.tolist() == [NONE, NONE]
    third = chosen(o, rated, None, now, CONFIG, np.array([2, 0]), 3)  # one world has no rows at all
    assert third.stop.tolist() == [NOMINAL, NOMINAL, FIRM_STOP]


def test_where_one_row_cannot_be_foretold_no_option_is_better_than_the_emergency_stop():
    now = situation(6.0)
    coming = lead(8.0, -8.0, y=2.2, vy=-0.8, extent=0.3)
    assert assess(coming, (), now, CONFIG).least == Mrm.FIRM
    with np.errstate(all="ignore"):
        both = assess(together(coming, lead(15.0, NAN)), (), now, CONFIG)
    assert (both.demand, both.least) == (Mode.EMERGENCY_STOP, None)
    harmless = assess(together(coming, lead(60.0, 20.0)), (), now, CONFIG)
    assert harmless.least == Mrm.FIRM


def test_the_present_course_is_told_with_its_margin_and_code():
    s = situation(15.0, by=plan(15.0, curvature=0.02), beside=True)
    found = assess(lead(4.0, 0.0, y=-1.4), (), s, CONFIG)
    margin = dict(found.margins)["extrapolation"]
    told, = (t for t in found.threats if t.code == Code.EXTRAPOLATION)
    assert (told.margin, told.demand) == (margin, Mode.EMERGENCY_STOP)
    assert margin < 0
    weak = assess(lead(4.0, 0.0, y=-1.4, existence=A.stop, hits=A.hits), (), s, CONFIG)
    assert dict(weak.margins)["extrapolation"] == INF  # it may not demand as much


@pytest.mark.parametrize("existence", [A.stop, A.emergency])
def test_margins_are_those_of_rows_that_may_demand_what_the_rule_demands(existence):
    found = assess(lead(60.0, 10.0, existence=existence), (arc(2.0),), situation(3.0), CONFIG)
    margins = dict(found.margins)
    assert np.isfinite(margins["longitudinal"]) == (existence == A.emergency)
    assert np.isfinite(margins["ttc"])
    assert np.isfinite(margins["near_field"])
    assert found.margin == min(margins["longitudinal"], margins["near_field"])
    clear = assess(Tracks(), (), situation(20.0, clear_range=80.0), CONFIG)
    stops = fallback_distance(upper_speed(20.0, E), RESPONSE, 0.0, E.assumed_brake, E.assumed_jerk)
    assert dict(clear.margins)["clear_distance"] == pytest.approx(80.0 - float(stops))


@pytest.mark.parametrize("speed", [2.0, 3.5, 9.0])
def test_what_who_comes_has_just_driven_through_is_its_way_of_half_a_second(speed):
    """Where it is now, nothing lies between it and ego: only the bend behind it counts, over a metre at least."""
    path = path_of(plan(10.0, duration=8.0, curvature=0.15), ego(10.0), 70.0)
    way = 0.5 * speed
    sideways = speed**2 * 0.15 * way / max(way, 1.0)
    row = SimpleNamespace(velocity=np.array([[-speed, 0.0]]))
    met = SimpleNamespace(station=np.zeros(1), along=np.array([-speed]))
    assert _bends(row, met, path).tolist() == [BEND < sideways <= FOLLOWS]


BEHIND = {"gap": -FRONT - REAR - 4.0, "speed": 12.0}


def behind(now, *courses, **changes):
    o, rated = rated_of(lead(**{**BEHIND, **changes}), now)
    return _behind(o, rated, courses, now, CONFIG, np.zeros(1, np.int64), 1)[:, 0]


def test_a_follower_brakes_after_its_response_and_is_hit_or_not():
    """Ego stands at once; who follows 4 m behind its rear gets there within its response time, or brakes before."""
    still = foresight.Course(np.zeros((1, len(TIMES))), np.zeros((1, len(TIMES))))
    away = foresight.Course(30.0 * TIMES[None], np.full((1, len(TIMES)), 30.0))
    now = situation(10.0)
    assert behind(now, still, away, away) == pytest.approx([foresight.CONTACT + 12.0, 0.0, 0.0])
    assert behind(now, still, speed=2.0) == pytest.approx([0.0])  # 2 m in its response and 0.5 m of braking
    far = 12.0 * E.object_response + 12.0**2 / (2 * E.oncoming_brake) + 12.0 * E.oncoming_brake / (2 * F.emergency_jerk)
    for off, hit in ((-2.5, True), (2.5, False)):  # in steps of 0.1 s
        assert (behind(now, still, gap=-FRONT - REAR - far - off)[0] > 0) == hit


@pytest.mark.parametrize(("changes", "follows"), [
    ({}, True), ({"existence": A.stop}, True), ({"existence": A.stop - 0.001}, False), ({"hits": A.hits}, True),
    ({"hits": A.hits - 1}, False), ({"suspect": True}, False), ({"y": HALF + SLACK - 0.01}, True),
    ({"y": HALF + SLACK + 0.01}, False), ({"y": -HALF - SLACK - 0.01}, False), ({"gap": -FRONT - REAR}, False),
    ({"gap": -FRONT - REAR - 0.01}, True), ({"gap": -FRONT - REAR - 0.5, "speed": 1.5}, False),
    ({"gap": -FRONT - REAR - 0.5, "speed": 1.51}, True),
])  # fmt: skip
def test_who_follows_is_surely_there_behind_the_body_and_moves(changes, follows):
    still = foresight.Course(np.zeros((1, len(TIMES))), np.zeros((1, len(TIMES))))
    assert (behind(situation(10.0), still, **changes)[0] > 0) == follows


def test_a_plan_that_brakes_to_its_end_leaves_behind_by_the_speed_it_ends_with():
    """From 10 to 4 m/s in 3 s and 21 m; the object drives on at 3 m/s, so that 1 m/s is to be settled."""
    now = situation(10.0, by=plan(10.0, acceleration=-2.0, duration=3.0), reach=10.0)
    end = now.path.time[np.isfinite(now.path.time)].max()  # up to the last sample before the end
    assert (end, now.path.speed[-1], now.path.length) == pytest.approx((3.0, 4.0, 21.0), abs=0.1)
    edge = 1.0 / (2 * X.comfort_threshold) + 21.0 - 3.0 * end + X.clearance
    for gap, conflict in ((edge - 0.03, True), (edge + 0.03, False)):
        _, rated = rated_of(lead(gap, 3.0), now)
        assert rated.expected.travel[0] == INF
        assert bool(rated.expected.conflict[0]) == conflict


def test_a_track_counts_as_lead_from_its_existence_on():
    assert assess(lead(40.0, 15.0, existence=A.lead), (), situation(20.0), CONFIG).lead == 1


def test_the_lateral_speed_of_a_young_track_does_not_count():
    for hits, met in ((C.lateral_hits - 1, False), (C.lateral_hits, True)):
        _, rated = rated_of(lead(18.0, 0.0, y=-2.6, vy=1.5, hits=hits), situation(10.0))
        assert bool(rated.met.hit[0]) == met
        assert (rated.met.drift[0] > 0) == met


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_who_comes_is_in_the_way_within_a_quarter_of_the_half_width_however_badly_it_is_known(side):
    for y, met in ((0.25 * HALF - 0.01, True), (0.25 * HALF + 0.03, False)):
        _, rated = rated_of(lead(60.0, -15.0, y=side * y, sigma=0.7), situation(20.0))
        assert bool(rated.met.hit[0]) == met


@pytest.mark.parametrize(("columns", "gap", "level"), [
    ({"existence": A.near_field, "hits": A.near_hits}, A.near_range, EMERGENCY_STOP),
    ({"existence": A.near_field, "hits": A.near_hits}, A.near_range + 1e-9, SPEED_CAP),
    ({"moved": False}, A.static_range, EMERGENCY_STOP), ({"moved": False}, A.static_range + 1e-9, SPEED_CAP),
    ({"suspect": True}, A.near_range, EMERGENCY_STOP), ({"suspect": True}, A.near_range + 1e-9, SPEED_CAP),
    ({}, 100.0, EMERGENCY_STOP), ({}, 100.0 + 1e-9, SPEED_CAP),
    ({"existence": A.emergency, "hits": A.near_hits, "y": 1.6, "sigma": 0.2}, A.near_range, EMERGENCY_STOP),
    ({"existence": A.emergency, "hits": A.near_hits, "y": 1.6, "sigma": 0.2}, A.near_range + 1e-9, SPEED_CAP),
])  # fmt: skip
def test_limits_of_range_belong_to_what_is_allowed_there(columns, gap, level):
    now = situation(20.0)
    o, rated = rated_of(lead(20.0, 0.0, **columns), now)
    assert int(authority(o, replace(rated.met, gap=np.array([gap])), 100.0, 20.0, CONFIG)[0]) == level


@pytest.mark.parametrize(("vy", "comes"), [(-1.5, True), (0.2, False), (0.0, False), (1.5, False)])
def test_who_walks_away_or_stands_beside_the_way_does_not_cross_it(vy, comes):
    margins = dict(assess(lead(22.0, 0.0, y=4.0, vy=vy), (), situation(15.0), CONFIG).margins)
    assert np.isfinite(margins["crossing"]) == comes


def one_body(first=None, second=None, station=(14.0, 14.0), offset=(0.0, 0.0), hit=True):
    """Speed sigmas after two reflections were heard together; the second one is the surer."""
    rows = {"gap": 11.0, "speed": 15.0, "speed_sigma": 0.6} | (first or {})
    o, rated = rated_of(together(lead(**rows), lead(**{**rows, "speed_sigma": 0.3} | (second or {}))), situation(14.0))
    met = replace(rated.met, station=np.array(station), offset=np.array(offset), speed_sigma=np.array(
        [rows["speed_sigma"], (second or {}).get("speed_sigma", 0.3)]), heard_sigma=np.array([0.6, 0.2]),
        age=np.array([0.3, 0.1]), along=np.array([15.0, 15.2]), gap=np.array([11.0 if hit else INF, 11.0]))  # fmt: skip
    made = _one_body(o, met, CONFIG)
    return made.speed_sigma.tolist(), made.heard_sigma.tolist(), made.age.tolist(), made.along.tolist()


HEARD = ([0.3, 0.3], [0.2, 0.2], [0.1, 0.1], [15.2, 15.2])
APART = ([0.6, 0.3], [0.6, 0.2], [0.3, 0.1], [15.0, 15.2])


def test_reflections_of_one_body_share_what_the_surer_one_knows():
    assert one_body() == HEARD
    assert one_body(station=(14.0, 15.0)) == HEARD
    assert one_body(station=(15.01, 14.0)) == APART
    assert one_body(offset=(0.0, -2.0)) == HEARD
    assert one_body(offset=(2.01, 0.0)) == APART
    assert one_body(hit=False) == APART
    assert one_body(second={"hits": A.hits - 1}) == APART
    assert one_body(second={"existence": A.stop}) == APART
    assert one_body(second={"speed_sigma": 0.5})[0] == [0.5, 0.5]
    assert one_body(second={"speed_sigma": 0.51})[0] == [0.6, 0.51]
    assert one_body(first={"speed_sigma": 0.35})[0] == [0.35, 0.3]  # known well enough by itself


@pytest.mark.parametrize(("velocity", "fast"), [
    ((4.5, -3.0), True), ((0.0, -5.1), True), ((-5.1, 0.0), True), ((3.0, -3.0), False), ((4.9, 0.0), False),
])  # fmt: skip
def test_the_flank_is_that_of_what_is_fast_in_any_direction_near_egos_front(velocity, fast):
    now = ego(10.0, x=3.0, y=1.0, yaw=0.8)
    front = np.array([3.0 + FRONT * math.cos(0.8), 1.0 + FRONT * math.sin(0.8)])
    for away, near in ((A.near_range - 0.01, True), (A.near_range + 0.01, False)):
        for angle in (0.0, 2.0, 4.0):
            place = front + away * np.array([math.cos(angle), math.sin(angle)])
            assert _flank(place[None], np.array([velocity]), now, CONFIG).tolist() == [fast and near]
