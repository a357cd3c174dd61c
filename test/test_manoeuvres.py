"""Which stop is enough: the mildest whose own course stays inside, and what is done when none does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import CONFIG, FRONT, Drive, ego, lead, plan, situation, straight_path, together
from hypothesis import given
from hypothesis import strategies as st

from safety_supervisor.core import fallback
from safety_supervisor.core.arbitration import select
from safety_supervisor.core.assessment import assess
from safety_supervisor.core.envelopes import EPS, path_margin, upper_speed
from safety_supervisor.core.supervisor import command, judgement
from safety_supervisor.core.world import Mode, Mrm, Tracks

E, F, TIMING = CONFIG.envelope, CONFIG.fallback, CONFIG.timing
STOPS = (Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP)


def stays_inside(mode: Mode, gap: float, speed: float) -> bool:
    """Drive the stop of a mode towards a standing object in small steps and look at the margin of each."""
    mrm, dt = fallback.manoeuvre(mode, CONFIG), 0.002
    t = np.arange(0.0, 12.0, dt)
    a = -np.clip(mrm.jerk * (t - TIMING.actuation_delay), 0.0, mrm.deceleration)
    v = speed + np.concatenate([[0.0], np.cumsum(a[:-1] * dt)])
    s = np.concatenate([[0.0], np.cumsum(v[:-1] * dt + a[:-1] * dt * dt / 2)])
    rolls = v > CONFIG.arbitration.standstill_speed
    response = TIMING.commit + TIMING.actuation_delay
    free = gap - E.sigma_k * E.gap_sigma_floor - E.geometry_bound - s[rolls]
    return bool((path_margin(free, upper_speed(v[rolls], E), 0.0, response, 0.0, E) >= EPS).all())


@pytest.mark.parametrize("speed", [5.0, 12.0, 20.0])
def test_the_mildest_stop_whose_own_course_stays_inside_is_asked_for(speed):
    seen = set()
    for gap in np.linspace(2.0 + speed, 3.0 + speed * 1.5 + speed * speed / 4, 40):
        result = assess(lead(gap, 0.0, speed_sigma=0.0), (), situation(speed), CONFIG)
        asked = max((t.demand for t in result.threats), default=Mode.NOMINAL)
        if asked < Mode.COMFORT_STOP or asked == Mode.EMERGENCY_STOP:
            continue
        enough = [m for m in STOPS[:2] if stays_inside(m, gap, speed)]
        near = [m for m in STOPS[:2] if stays_inside(m, gap + 0.1, speed) != stays_inside(m, gap - 0.1, speed)]
        expected = next((m for m in enough if m >= asked), Mode.EMERGENCY_STOP)
        if not near:  # the shipped course is looked at every 0.2 s
            assert result.demand == expected, gap
            seen.add((asked, expected))
    assert len({expected for _, expected in seen}) >= 2
    assert any(expected > asked for asked, expected in seen)


def test_nothing_is_escalated_while_no_stop_is_due():
    """A lead that is closed in on so slowly that the plan keeps clear long enough asks for no stop."""
    result = assess(lead(148.0, 19.0), (), situation(20.0), CONFIG)
    assert result.demand < Mode.COMFORT_STOP


def test_a_stop_under_way_becomes_stronger_when_it_would_leave_the_envelope_and_not_when_it_stays_inside():
    under_way = replace(situation(20.0), braking=True, under_way=int(Mode.COMFORT_STOP), braked=-F.comfort_deceleration)
    assert assess(lead(130.0, 0.0), (), under_way, CONFIG).demand <= Mode.COMFORT_STOP
    assert assess(lead(75.0, 0.0), (), under_way, CONFIG).demand >= Mode.FIRM_STOP
    assert assess(Tracks(), (), under_way, CONFIG).demand == Mode.NOMINAL  # the control: nothing there


@given(st.floats(1.0, 40.0), st.floats(-7.0, 0.0), st.sampled_from(STOPS), st.floats(0.0, 0.5))
def test_a_course_is_the_integral_of_its_ramp(speed, now, mode, delay):
    mrm = fallback.manoeuvre(mode, CONFIG)
    brake, dt = max(mrm.deceleration, -now), 5e-3
    times = np.arange(0.0, 12.0, dt)
    travel, v = fallback.course(speed, now, brake, mrm.jerk, times, delay)
    a = np.where(times < delay, now, np.maximum(now - mrm.jerk * (times - delay), -brake))
    brute = np.maximum(speed + np.concatenate([[0.0], np.cumsum((a[1:] + a[:-1]) / 2 * dt)]), 0.0)
    np.testing.assert_allclose(v, brute, rtol=0, atol=0.02)
    way = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * dt)])
    np.testing.assert_allclose(travel, way, rtol=0, atol=0.02)


# --- none inside ----------------------------------------------------------------------------------------------------


def test_a_standing_car_inside_the_stopping_distance_is_braked_for_as_hard_as_can_be():
    result = assess(lead(15.0, 0.0), (), situation(20.0), CONFIG)
    assert (result.demand, result.least) == (Mode.EMERGENCY_STOP, None)


@pytest.mark.parametrize(("gap", "option"), [(8.0, Mrm.FIRM), (9.0, Mrm.COMFORT)])
def test_where_braking_hard_only_leads_to_contact_something_milder_is_done_and_said(gap, option):
    """Somebody drifts over from the other lane: ego would be past before, but not when it brakes as hard as it can."""
    coming = lead(gap, -8.0, y=2.2, vy=-0.8, extent=0.3)
    result = assess(coming, (), situation(6.0), CONFIG)
    assert (result.demand, result.least) == (Mode.EMERGENCY_STOP, option)
    assert any(f"{option.name} has the least predicted impact" in reason.text for reason in result.reasons)
    straight = assess(lead(gap, -8.0, y=0.0, extent=0.3), (), situation(6.0), CONFIG)
    assert (straight.demand, straight.least) == (Mode.EMERGENCY_STOP, None)


def test_an_unknown_motion_is_braked_for():
    broken = lead(15.0, float("nan"))
    result = assess(broken, (), situation(20.0), CONFIG)
    assert (result.demand, result.least) == (Mode.EMERGENCY_STOP, None)


@pytest.mark.parametrize(("option", "most"), [(Mrm.PLAN, 0.0), (Mrm.COAST, 0.0), (Mrm.COMFORT, -1.9), (Mrm.FIRM, -3.9)])
def test_what_has_the_least_impact_is_what_is_commanded(option, most):
    drive = Drive(CONFIG, objects=((FRONT + 18.0, 0.0, 0.0),))
    drive.run(0.5)
    state = replace(drive.state, acceleration=-7.0)
    path, follows = straight_path(20.0), True
    now = -7.0
    for _ in range(60):
        made, now = command._least(option, replace(state, acceleration=now), path, follows, 0.0, ego(20.0), CONFIG)
    assert now == pytest.approx(most, abs=0.2)
    assert made is not None


def test_the_supervisor_commands_what_has_the_least_impact(monkeypatch):
    """The emergency is the mode, and its standstill the way out; what is done until then is the milder thing."""
    def judged(*arguments):
        return replace(assess(*arguments), demand=Mode.EMERGENCY_STOP, least=option)

    for option in (Mrm.COAST, None):
        drive = Drive(CONFIG)
        drive.run(0.5)
        monkeypatch.setattr(judgement, "assess", judged)
        drive.run(1.0)
        monkeypatch.undo()
        assert drive.decisions[-1].mode == Mode.EMERGENCY_STOP
        assert (drive.decisions[-1].acceleration >= -0.01) == (option is not None)


def test_options_of_equal_impact_go_to_the_strongest_braking():
    nobody, comfort = np.zeros((len(Mrm), 1), np.bool_), np.array([Mrm.COMFORT])
    assert select(nobody, np.zeros(nobody.shape), comfort)[0] == Mrm.EMERGENCY
    assert select(nobody, np.full(nobody.shape, np.nan), comfort)[0] == Mrm.EMERGENCY
    assert select(nobody, np.array([[1.0], [3.0], [1.0], [1.0], [4.0], [5.0]]), comfort)[0] == Mrm.COMFORT
    assert select(nobody, np.array([[0.0], [3.0], [1.0], [1.0], [4.0], [5.0]]), comfort)[0] == Mrm.SHIFT
    inside = nobody.copy()
    inside[Mrm.FIRM] = True
    assert select(inside, np.zeros(inside.shape), comfort)[0] == Mrm.FIRM
    assert select(inside, np.zeros(inside.shape), np.array([Mrm.EMERGENCY]))[0] == Mrm.EMERGENCY


# --- who follows ----------------------------------------------------------------------------------------------------


COMING = lead(6.0, -8.0, y=2.2, vy=-1.0, extent=0.3)
"""Ego at 8 m/s is past before it comes over; firm stop and milder options are equal, the emergency stop is not."""


def follower(gap, speed, y=0.0, **keywords):
    """Somebody whose front is `gap` behind ego's rear bumper."""
    return lead(-FRONT - CONFIG.vehicle.rear - gap, speed, y=y, **keywords)


def test_a_follower_close_behind_ranks_the_milder_of_equals_first():
    alone = assess(COMING, (), situation(8.0), CONFIG)
    followed = assess(together(COMING, follower(3.0, 9.0)), (), situation(8.0), CONFIG)
    assert (alone.demand, alone.least) == (Mode.EMERGENCY_STOP, Mrm.FIRM)
    assert (followed.demand, followed.least) == (Mode.EMERGENCY_STOP, Mrm.COMFORT)


@pytest.mark.parametrize("other", [
    follower(60.0, 9.0), follower(3.0, 4.0), follower(3.0, 9.0, y=4.0), follower(3.0, 9.0, existence=0.5),
    follower(3.0, 9.0, suspect=True), follower(3.0, 9.0, hits=1),
])  # fmt: skip
def test_who_is_far_slow_beside_or_not_sure_ranks_nothing(other):
    assert assess(together(COMING, other), (), situation(8.0), CONFIG).least == Mrm.FIRM


def test_a_follower_never_weakens_the_emergency_stop():
    for gap in (4.0, 8.0, 15.0):
        result = assess(together(lead(gap, 0.0), follower(1.0, 20.0)), (), situation(20.0), CONFIG)
        assert (result.demand, result.least) == (Mode.EMERGENCY_STOP, None)


IMPACTS = st.sampled_from([0.0, 3.0, 8.0, float("nan")])


@given(st.lists(IMPACTS, min_size=len(Mrm), max_size=len(Mrm)), st.lists(st.booleans(), min_size=3, max_size=3),
       st.sampled_from(STOPS), st.lists(IMPACTS, min_size=len(Mrm), max_size=len(Mrm)))  # fmt: skip
def test_whoever_follows_the_impact_ahead_is_as_small_as_without_him(ahead, stops, floor, behind):
    impact, rear = np.array(ahead)[:, None], np.array(behind)[:, None]
    inside = np.zeros(impact.shape, np.bool_)
    inside[Mrm.COMFORT : Mrm.EMERGENCY + 1, 0] = stops
    least = np.array([floor])
    alone, followed = int(select(inside, impact, least)[0]), int(select(inside, impact, least, rear)[0])
    if inside[:, 0][least[0] :].any() or alone == Mrm.EMERGENCY:
        assert followed == alone
    assert np.nan_to_num(ahead[followed], nan=np.inf) == np.nan_to_num(ahead[alone], nan=np.inf)


def test_the_policy_s_braking_is_a_plan_as_good_as_any():
    """A plan that brakes for itself by more than comfort is what the course of option PLAN follows."""
    made = plan(20.0, acceleration=-5.0)
    result = assess(lead(30.0, 0.0), (), situation(20.0, by=made), CONFIG)
    assert result.demand == Mode.EMERGENCY_STOP
    assert result.least is None
