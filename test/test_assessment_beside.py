"""Who comes from the side, against the proved crossing envelope: what it caps, and what it leaves alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from builders import CONFIG, FRONT, lead, plan, situation, stop_plan, together
from hypothesis import given
from hypothesis import strategies as st

from safety_supervisor.core.assessment import assess, objects_of, rate
from safety_supervisor.core.assessment.objects import UNHEARD
from safety_supervisor.core.envelopes import EPS, crossing_margin, lateral_margin, upper_speed
from safety_supervisor.core.motion import fallback_distance, fallback_duration
from safety_supervisor.core.world import Code, Mode, Tracks, Verdict

E, TIMING = CONFIG.envelope, CONFIG.timing
RESPONSE = TIMING.commit + TIMING.actuation_delay
HALF = CONFIG.corridor.object_half_width
STRIP = CONFIG.vehicle.width / 2 + HALF


def judge(tracks, speed=15.0, **keywords):
    return assess(tracks, (), situation(speed, **keywords), CONFIG)


def walker(gap, aside, speed=1.5, along=0.0, **keywords):
    """Somebody to the left, walking to the right, `aside` from the strip that ego drives through."""
    return lead(gap, along, STRIP + aside, -speed, **keywords)


def margin(gap, aside, side_speed, speed, age=0.0):
    """The shipped envelope at the worst end, written out."""
    off = HALF + E.geometry_bound + E.sigma_k * E.gap_sigma_floor
    v = upper_speed(speed, E)
    return crossing_margin(gap - off + speed * age, aside + side_speed * age, v, side_speed, RESPONSE + age, 0.0, E)


def asks(result):
    return Code.CROSSING in {reason.code for reason in result.reasons}


def stopping(speed):
    return fallback_distance(upper_speed(speed, E), RESPONSE, 0.0, E.assumed_brake, E.assumed_jerk)


@given(st.floats(6.0, 60.0), st.floats(3.5, 12.0), st.floats(0.8, 3.0), st.floats(5.0, 25.0))
def test_the_cap_is_asked_for_exactly_when_the_proved_margin_is_gone(gap, aside, walking, speed):
    result = judge(walker(gap, aside, walking), speed)
    expected = margin(gap, aside, walking, speed)
    assert dict(result.margins)["crossing"] == pytest.approx(expected, abs=1e-9)
    if result.demand <= Mode.SPEED_CAP and abs(expected) > 1e-6 and not result.ease:
        assert asks(result) == (expected < EPS)


def test_who_may_reach_the_way_before_ego_can_stop_caps_the_speed():
    speed, gap = 15.0, 22.0
    assert stopping(speed) > gap
    result = judge(walker(gap, 3.0), speed)
    assert (result.demand, result.verdict) == (Mode.SPEED_CAP, Verdict.MARGINAL)
    assert asks(result)
    (threat,) = [t for t in result.threats if t.code == Code.CROSSING]
    assert threat.margin == pytest.approx(margin(gap, 3.0, 1.5, speed))
    assert "ego could not stop before its place" in result.reasons[0].text


def test_below_the_cap_nothing_is_asked():
    gap = 22.0
    cap = judge(walker(gap, 3.0)).speed_cap
    assert 5.0 < cap < 15.0
    off = HALF + E.geometry_bound + E.sigma_k * E.gap_sigma_floor
    assert stopping(cap) <= gap - off
    assert not asks(judge(walker(gap, 3.0), cap - 1e-6))
    assert asks(judge(walker(gap, 3.0), cap + 0.1))


@pytest.mark.parametrize(
    ("tracks", "why"),
    [
        (walker(60.0, 3.0), "ego stops before it"),
        (walker(22.0, 14.0), "it comes too late, however it hurries"),
        (walker(22.0, 3.0, -1.5), "it walks away"),
        (walker(22.0, 3.0, 0.0), "it stands"),
        (walker(22.0, 3.0, 1.5, 5.0), "it drives along and may stay in its lane"),
        (walker(22.0, 3.0, hits=CONFIG.corridor.lateral_hits - 1), "at first reflections slide"),
        (walker(22.0, 3.0, existence=CONFIG.authority.stop - 0.01), "it may not be there"),
        (walker(22.0, 3.0, suspect=True), "it may be a reflection"),
        (walker(22.0, 3.0, speed_sigma=1.2), "how fast it comes is not known"),
        (walker(-2.0, 3.0), "it is beside ego, nothing that brakes helps"),
        (walker(22.0, 3.0, moved=False), "it never moved, its reflection slides along a rail"),
        (Tracks(), "nobody is there"),
    ],
)
def test_who_does_not_come_asks_for_nothing(tracks, why):
    result = judge(tracks)
    assert not asks(result), why
    assert math.isinf(dict(result.margins)["crossing"]) or dict(result.margins)["crossing"] >= EPS


def test_who_comes_towards_ego_as_well_is_met_sooner():
    straight, oblique = (dict(judge(walker(40.0, 3.0, 2.0, along)).margins)["crossing"] for along in (0.0, -2.0))
    v = upper_speed(15.0, E)
    moving = fallback_duration(v, RESPONSE, 0.0, E.assumed_brake, E.assumed_jerk)
    assert oblique == pytest.approx(straight - 2.0 * min(moving, E.crossing_horizon))


def test_doubt_and_age_take_their_worst_end():
    sure = dict(judge(walker(22.0, 6.0)).margins)["crossing"]
    vague = dict(judge(walker(22.0, 6.0, sigma=0.1)).margins)["crossing"]
    assert vague == pytest.approx(sure - E.sigma_k * 0.1)  # to the side; along the path the floor covers it
    quick = dict(judge(walker(22.0, 6.0, speed_sigma=0.1)).margins)["crossing"]
    assert quick < sure
    aged = dict(judge(walker(40.0, 3.0, age=0.2)).margins)["crossing"]
    assert aged == pytest.approx(margin(40.0, 3.0, 1.5, 15.0, age=0.2))


def test_the_nearest_of_many_sets_the_cap_and_is_told():
    far, near = walker(24.0, 3.0), walker(22.0, 3.0)
    result = judge(together(far, near))
    assert result.speed_cap == judge(near).speed_cap < judge(far).speed_cap
    assert {t.track for t in result.threats if t.code == Code.CROSSING} == {1, 2}


def test_whom_ego_passes_before_it_comes_is_not_braked_for():
    """Braking would make the miss a hit."""
    result = judge(walker(18.0, 3.0))
    assert dict(result.margins)["crossing"] < 0
    assert (result.demand, result.ease) == (Mode.NOMINAL, True)


def test_beyond_what_is_known_of_the_path_nobody_comes():
    known = stop_plan(8.0, 15.0)
    beyond = 15.0 + CONFIG.corridor.continuation + 5.0
    assert math.isinf(dict(judge(walker(beyond, 3.0), 8.0, by=known).margins)["crossing"])
    assert math.isfinite(dict(judge(walker(beyond - 10.0, 3.0), 8.0, by=known).margins)["crossing"])


def test_a_resting_ego_asks_for_nothing():
    resting = replace(situation(0.0), resting=True)
    assert not asks(assess(walker(1.0, 2.0), (), resting, CONFIG))


def test_a_broken_number_is_not_taken_for_somebody_who_crosses():
    broken = walker(22.0, 3.0)
    state = broken.state.copy()
    state[0, 2] = np.nan
    result = judge(replace(broken, state=state))
    assert not asks(result)
    assert result.demand == Mode.EMERGENCY_STOP


# --- abreast ----------------------------------------------------------------------------------------------------------


def beside(aside, speed=0.0, gap=-2.0, **keywords):
    """Somebody to the left of ego's body, as fast as ego, that comes to the right with `speed`."""
    return lead(gap, 15.0, STRIP + aside, -speed, **keywords)


def lateral(tracks, **keywords):
    return dict(judge(tracks, **keywords).margins)["lateral"]


@given(st.floats(0.4, 3.0), st.floats(-1.0, 1.0), st.floats(0.0, 0.3), st.floats(0.0, 0.3), st.floats(0.0, UNHEARD))
def test_the_lateral_margin_is_that_of_the_proved_envelope(aside, speed, sigma, speed_sigma, age):
    found = lateral(beside(aside, speed, sigma=sigma, speed_sigma=speed_sigma, age=age))
    worst = -(speed + E.sigma_k * speed_sigma)
    assert found == pytest.approx(lateral_margin(aside - E.sigma_k * sigma, 0.0, worst, RESPONSE + age, E), abs=1e-9)


def test_in_a_bend_the_lateral_margin_takes_the_measured_speed_in_full():
    """Who follows a bend to the left seems to drift to the right, as far as the tracker lags: a guess, no proof."""
    drifts, bend = beside(1.0, 1.0, gap=-FRONT), plan(15.0, curvature=0.01)
    assert lateral(drifts, by=bend) == pytest.approx(lateral(drifts), abs=1e-6)
    rated = rate(objects_of(drifts, (), situation(15.0), CONFIG), situation(15.0, by=bend).path,
                 situation(15.0, by=bend), CONFIG)  # fmt: skip
    assert abs(rated.met.sideways[0]) < 0.5


def test_who_is_abreast_asks_for_nothing():
    near = judge(beside(0.45))
    assert near.demand == Mode.NOMINAL
    assert dict(near.margins)["lateral"] < dict(judge(beside(2.0)).margins)["lateral"]


@pytest.mark.parametrize(
    "tracks",
    [beside(1.0, gap=0.5), beside(1.0, gap=-FRONT - CONFIG.vehicle.rear - 0.5), beside(-STRIP),
     beside(1.0, hits=CONFIG.corridor.lateral_hits - 1), beside(1.0, existence=CONFIG.authority.stop - 0.01), Tracks()],
    ids=["ahead", "behind", "under ego", "young", "doubtful", "nobody"],
)  # fmt: skip
def test_who_is_not_abreast_has_no_lateral_margin(tracks):
    assert math.isinf(lateral(tracks))
