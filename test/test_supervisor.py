"""The tick: drives that a car could live through, and inputs that no sensor should ever send."""

from __future__ import annotations

import pickle
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from builders import (
    CONFIG,
    RADAR,
    ULTRASONIC,
    Drive,
    T,
    changed,
    config,
    ego,
    plan,
    stop_plan,
    takeover,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_inputs

from safety_supervisor.core import health, supervisor
from safety_supervisor.core.world import Code, Inputs, Invalid, Mode, RadarScan, Severity, Verdict, nanoseconds
from safety_supervisor.messages import decision_record, json_line

NAN, INF = float("nan"), float("inf")
FRONT = CONFIG.vehicle.front
BOTH = config(front=RADAR, us=ULTRASONIC)
PERIOD = nanoseconds(CONFIG.timing.period)
untraced = pytest.mark.no_cover
"""A long drive, which takes half as long again under the tracer, and whose branches shorter tests reach."""


def codes(decision):
    return {reason.code for reason in decision.reasons}


def found(decision):
    return {finding.code for finding in decision.health.findings}


def in_motion(**keywords):
    """A drive that has been NOMINAL for a second."""
    drive = Drive(**keywords)
    drive.run(1.0)
    return drive


# --- an uneventful life ---------------------------------------------------------------------------------------------


def test_on_a_free_road_the_plan_is_passed_unchanged():
    drive = in_motion()
    decision = drive.tick()
    assert drive.modes == [Mode.NOMINAL]
    assert decision.command is drive.state.validated
    assert (decision.plan_source, decision.verdict, decision.reasons, decision.warn) == (
        "policy", Verdict.SAFE, (), False)
    quiet = (decision.hazard_lights, decision.takeover_request, decision.hold, decision.driver)
    assert not any(quiet)
    assert decision.acceleration == 0.0
    assert decision.fallback.speed[-1] == 0.0
    assert decision.config == CONFIG.digest


def test_what_was_consumed_and_the_certificate_are_passed_on():
    drive = Drive(config=replace(CONFIG, certificate="abc"))
    decision = drive.tick(consumed=(("a", 2),))
    assert decision.consumed == (("a", 2),)
    assert decision.certificate == "abc"


def test_a_lead_that_is_followed_changes_nothing():
    drive = Drive(objects=((60.0, 0.0, 20.0),))
    decision = drive.run(5.0)
    assert drive.modes == [Mode.NOMINAL]
    assert decision.assessment.lead == decision.assessment.track is not None
    assert decision.assessment.margin > 0


def test_a_bend_is_told_as_curvature_and_reverse_has_the_same_sign():
    for speed in (5.0, -2.0):
        bend = {"plans": (plan(speed, curvature=0.05),), "odometry": (ego(speed),)}
        assert Drive().tick(**bend).curvature == pytest.approx(0.05, rel=0.02)


# --- starting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", ["odometry_on", "radar_on", "plan_on"])
def test_until_every_expected_input_is_there_no_plan_is_passed(switch):
    drive = Drive(**{switch: False})
    decision = drive.run(0.5)
    assert drive.modes == [Mode.INIT]
    assert decision.command is None
    assert not decision.hazard_lights
    assert decision.reasons
    setattr(drive, switch, True)
    assert drive.tick().mode == Mode.NOMINAL


def test_a_plan_that_came_before_the_odometry_is_not_driven_unchecked():
    drive = Drive(odometry_on=False)
    drive.tick(plans=(changed(plan(20.0), x={3: NAN}),))
    drive.odometry_on, drive.plan_on = True, False
    decision = drive.tick()
    assert decision.mode == Mode.INIT
    assert Code.PLAN_OFF_EGO in found(decision)


# --- hazards --------------------------------------------------------------------------------------------------------


@untraced
@pytest.mark.parametrize("speed", [8.0, 20.0, 30.0])
def test_ego_stops_before_a_stopped_car_that_the_policy_does_not_see(speed):
    drive = Drive(speed=speed, objects=((speed**2 / 2 + 30.0 + FRONT, 0.0, 0.0),))
    while drive.speed > 6.0:
        drive.run(1.0)
    drive.wish = 2.0  # the policy wants to drive on: its plan leads into the car at every speed
    while Mode.STANDSTILL not in drive.modes:
        decision = drive.run(1.0)
        assert drive.t < T + 60 * 10**9
    drive.run(5.0)
    assert drive.speed == 0.0
    assert drive.objects[0][0] - drive.x - FRONT > 0.3
    assert max(drive.modes) == Mode.STANDSTILL
    assert all(d.hold == (d.mode == Mode.STANDSTILL) for d in drive.decisions)
    assert decision.command is not None
    assert {Mode.COMFORT_STOP, Mode.FIRM_STOP} & set(drive.modes)


@untraced
def test_the_same_drive_without_obedience_ends_in_contact():
    drive = Drive(objects=((200.0, 0.0, 0.0),), obey=False)
    drive.run(12.0)
    assert drive.objects[0][0] - drive.x - FRONT < 0


@untraced
def test_braking_builds_up_within_the_jerk_of_the_manoeuvre():
    drive = Drive(objects=((150.0 + FRONT, 0.0, 0.0),))
    drive.run(15.0)
    demands = [d.acceleration for d in drive.decisions if d.mode in (Mode.COMFORT_STOP, Mode.FIRM_STOP)]
    assert len(demands) > 20
    assert np.diff(demands).min() >= -CONFIG.fallback.firm_jerk * CONFIG.timing.period - 1e-9


def cut_in(drive, gap=6.0, speed=5.0):
    """Something slow is suddenly close ahead; detections until its track has full authority."""
    drive.objects = ((drive.x + FRONT + gap, 0.0, speed),)
    for _ in range(60):
        if drive.tick().mode == Mode.EMERGENCY_STOP:
            return drive.decisions[-1]
        drive.objects = ((drive.x + FRONT + gap, 0.0, speed),)
    raise AssertionError(f"no emergency, only {drive.modes}")


@untraced
def test_after_an_emergency_ego_waits_at_rest_for_its_release():
    drive = in_motion()
    decision = cut_in(drive)
    assert (decision.verdict, decision.hazard_lights, decision.takeover_request) == (Verdict.IMMINENT, True, True)
    assert codes(decision) & {Code.ENVELOPE, Code.EXTRAPOLATION}
    drive.objects = ()
    drive.run(20.0)
    assert drive.decisions[-1].mode == Mode.STANDSTILL
    assert Code.RELEASE_PENDING in codes(drive.decisions[-1])
    assert drive.tick(release=True).mode == Mode.NOMINAL
    assert Mode.NOMINAL not in drive.modes[1:-1]


@untraced
def test_after_a_comfort_stop_ego_resumes_by_itself():
    drive = in_motion()
    drive.radar_on = False
    drive.run(16.0)
    assert drive.decisions[-1].mode == Mode.STANDSTILL
    assert drive.speed == 0.0
    drive.radar_on = True
    drive.run(CONFIG.arbitration.release_dwell + 1.0)
    assert drive.modes == [Mode.NOMINAL, Mode.COMFORT_STOP, Mode.STANDSTILL, Mode.NOMINAL]


def test_a_near_echo_stops_a_slow_ego():
    drive = Drive(config=BOTH, speed=1.0)
    drive.run(0.5)
    assert drive.decisions[-1].mode == Mode.NOMINAL
    drive.echo = 0.5
    drive.run(0.5)
    assert Mode.EMERGENCY_STOP in drive.modes
    emergency = next(d for d in drive.decisions if d.mode == Mode.EMERGENCY_STOP)
    assert Code.NEAR_FIELD in codes(emergency)


# --- lost inputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switch", "code", "mode", "timeout"),
    [
        ("radar_on", Code.RADAR_STALE, Mode.COMFORT_STOP, CONFIG.health.radar_timeout),
        ("plan_on", Code.PLAN_STALE, Mode.COMFORT_STOP, CONFIG.health.plan_timeout),
        ("odometry_on", Code.ODOMETRY_STALE, Mode.UNABLE, CONFIG.health.odometry_timeout),
    ],
)
def test_a_lost_input_is_named_in_time_and_stops_ego(switch, code, mode, timeout):
    drive = in_motion()
    setattr(drive, switch, False)
    lost = drive.t
    while drive.tick().mode == Mode.NOMINAL:
        assert drive.t < lost + 2 * 10**9
    decision = drive.decisions[-1]
    assert decision.mode == mode
    assert decision.t - lost <= nanoseconds(timeout) + PERIOD
    assert code in codes(decision)
    assert decision.command.speed[-1] == 0.0
    assert decision.acceleration < 0


def test_without_a_plan_ego_stops_along_the_last_validated_one():
    drive = in_motion()
    drive.plan_on = False
    decision = drive.run(1.0)
    assert decision.plan_source == "last validated"
    drive.x += 0.0
    away = drive.tick(odometry=(ego(drive.speed, x=drive.x, y=4.0, t=drive.t),))
    assert away.plan_source == "extrapolation"
    assert away.mode.brakes


def test_a_bad_plan_is_not_driven():
    drive = in_motion()
    good = drive.state.validated
    decision = drive.tick(plans=(changed(plan(20.0, x=drive.x, t=drive.t), y={5: NAN}),))
    assert decision.mode == Mode.COMFORT_STOP
    assert found(decision) == {Code.PLAN_NOT_FINITE}
    assert drive.state.validated is good
    assert decision.plan_source == "last validated"


def test_a_good_plan_after_a_bad_one_is_trusted_again():
    drive = in_motion()
    for name in ("x", "time"):
        short = replace(plan(20.0, x=drive.x, t=drive.t), **{name: np.zeros(3)})
        assert found(drive.tick(plans=(short,))) == {Code.PLAN_INVALID}
        assert found(drive.tick()) == set()


def test_an_older_plan_that_comes_late_is_not_used():
    drive = in_motion()
    late = plan(20.0, x=drive.x - 20.0, t=drive.t - 10**9)
    drive.tick()
    newest = drive.state.validated
    drive.plan_on = False
    decision = drive.tick(plans=(late,))
    assert drive.state.validated is newest
    assert decision.mode == Mode.NOMINAL


def test_a_plan_that_nobody_expects_is_never_driven():
    alone = config({"inputs.plan_expected": False}, front=RADAR)
    drive = Drive(config=alone)
    decision = drive.run(1.0)
    assert (decision.mode, decision.plan_source, decision.command) == (Mode.NOMINAL, "extrapolation", None)
    assert drive.state.validated is None


def test_odometry_of_nan_is_no_odometry():
    drive = in_motion()
    for _ in range(10):
        decision = drive.tick(odometry=(replace(ego(20.0, t=drive.t), speed=NAN),))
        assert decision.mode != Mode.NOMINAL
    assert decision.mode == Mode.UNABLE
    assert {Code.ODOMETRY_INVALID, Code.ODOMETRY_STALE} <= found(decision)


@pytest.mark.parametrize("source", ["odometry", "plan", "driver", "front"])
def test_a_message_that_is_refused_forbids_nominal(source):
    drive = in_motion()
    decision = drive.tick(invalid=(Invalid(source, drive.t, "garbage"),), odometry=(), plans=(), radar=())
    assert decision.mode >= Mode.SPEED_CAP
    assert any("garbage" in reason.text for reason in decision.reasons)
    assert drive.run(2.0).mode == Mode.NOMINAL


def test_inputs_that_are_not_trusted_do_not_let_ego_speed_up():
    drive = in_motion(wish=1.0)
    speed = drive.speed
    drive.tick(invalid=(Invalid("front", drive.t, "garbage"),), radar=())
    assert drive.decisions[-1].mode == Mode.SPEED_CAP
    assert drive.decisions[-1].command.speed.max() <= speed + 1e-9


def test_a_capped_ego_still_stops_where_its_plan_stops():
    drive = Drive(speed=10.0)
    drive.run(0.5)
    stop = stop_plan(10.0, 12.0, x=drive.x, t=drive.t)
    decision = drive.tick(plans=(stop,), invalid=(Invalid("front", drive.t, "garbage"),), radar=())
    assert decision.mode == Mode.SPEED_CAP
    assert decision.command.x[-1] - drive.x <= 12.05


def test_a_stop_begins_with_the_braking_that_is_on():
    drive = in_motion(wish=-3.0)
    drive.radar_on = False
    drive.run(0.5)
    stop = next(d for d in drive.decisions if d.mode == Mode.COMFORT_STOP)
    assert stop.acceleration <= -2.9


def test_the_same_detections_at_rest_are_not_frozen_when_ego_starts_to_move():
    drive = Drive(speed=0.0, objects=((40.0, 5.0, 0.0),))
    same = (RadarScan("front", 0, [36.0], [0.1], [0.0]),)
    for _ in range(40):
        drive.tick(radar=tuple(replace(s, t=drive.t) for s in same))
    drive.speed = 1.0
    assert Code.RADAR_FROZEN not in found(drive.tick(radar=tuple(replace(s, t=drive.t) for s in same)))
    seen = [found(drive.tick(radar=tuple(replace(s, t=drive.t) for s in same))) for _ in range(10)]
    assert any(Code.RADAR_FROZEN in codes for codes in seen)


# --- the driver and the clock ---------------------------------------------------------------------------------------


def test_a_driver_takes_over_at_once_and_hands_back_to_a_self_test():
    drive = in_motion()
    cut_in(drive)
    decision = drive.tick(driver=takeover(True, drive.t))
    assert (decision.mode, decision.driver, decision.command) == (Mode.INIT, True, None)
    assert codes(decision) >= {Code.DRIVER}
    assert drive.run(0.5).driver
    drive.objects, drive.radar_on = (), False
    drive.run(0.5)
    assert drive.tick(driver=takeover(False, drive.t)).mode == Mode.INIT
    drive.radar_on = True
    drive.speed = 20.0
    drive.run(1.0)
    assert drive.decisions[-1].mode == Mode.NOMINAL


@pytest.mark.parametrize("jump", [-100.0, -0.5, 0.6, 100.0])
def test_a_clock_jump_stops_ego_and_nothing_old_counts_as_fresh(jump):
    drive = in_motion(objects=((70.0, 0.0, 20.0),))
    drive.t += nanoseconds(jump) - PERIOD
    drive.radar_on = False
    decision = drive.tick()
    assert decision.mode.brakes
    assert Code.CLOCK_JUMP in found(decision)
    assert len(decision.tracks) == 0
    drive.run(0.5)
    assert found(drive.decisions[-1]) & {Code.RADAR_STALE, Code.RADAR_MISSING}
    drive.radar_on = True
    drive.objects = ()
    assert drive.run(3.0).mode == Mode.NOMINAL


def test_without_odometry_a_running_supervisor_brakes_blindly():
    drive = in_motion()
    drive.t += nanoseconds(0.6)
    decision = drive.tick(odometry=())
    assert decision.mode.brakes
    assert (decision.ego, decision.command) == (None, None)
    assert decision.acceleration < 0
    assert decision.takeover_request
    assert decision_record(decision)["margin_m"] is None


# --- whatever arrives -----------------------------------------------------------------------------------------------


def numbers_of(value):
    """Every array of a trajectory, or nothing."""
    return [] if value is None else [value.time, value.x, value.y, value.yaw, value.speed]


def check_invariants(decision, state):
    arrays = [*numbers_of(decision.command), *numbers_of(decision.fallback)]
    assert all(np.isfinite(a).all() for a in arrays)
    assert np.isfinite((decision.acceleration, decision.curvature)).all()
    assert (decision.mode == Mode.NOMINAL) <= (decision.health.severity == Severity.OK)
    assert (decision.mode == Mode.INIT) == (decision.command is None) or decision.mode == Mode.NOMINAL or (
        decision.ego is None)
    if decision.assessment.demand == Mode.EMERGENCY_STOP and not decision.driver:
        assert decision.mode in (Mode.EMERGENCY_STOP, Mode.UNABLE, Mode.STANDSTILL, Mode.INIT)
    if np.isnan(decision.assessment.margin) and decision.ego is not None:
        assert decision.assessment.demand == Mode.EMERGENCY_STOP
    assert json_line(decision_record(decision))
    assert state.arbiter.mode == decision.mode


def read_only(value):
    """Whether every array inside a value is read-only."""
    if isinstance(value, np.ndarray):
        return not value.flags.writeable
    if isinstance(value, tuple):
        return all(map(read_only, value))
    if is_dataclass(value):
        return all(read_only(getattr(value, f.name)) for f in fields(value))
    return True


@st.composite
def lives(draw):
    """Ticks with any inputs; the clock mostly runs on."""
    t, ticks = T, []
    for _ in range(draw(st.integers(1, 8))):
        ticks.append((t, draw(st.one_of(st.just(None), any_inputs(t)))))
        t += draw(st.sampled_from((PERIOD, PERIOD, PERIOD, PERIOD, 0, -PERIOD, 10**9, -(10**12))))
    return ticks


def healthy(t):
    return Drive(config=BOTH, t=t, echo=5.0).inputs()


@settings(max_examples=40)  # test_step_machine.py and campaigns/fuzz.py look much longer
@given(lives(), st.booleans())
def test_no_inputs_whatever_raise_or_break_a_promise(ticks, after_a_good_start):
    state = supervisor.start(BOTH)
    with np.errstate(all="ignore"):
        if after_a_good_start:
            for t in range(T - 3 * PERIOD, T, PERIOD):
                state, _ = supervisor.step(state, healthy(t), t, BOTH)
        for t, inputs in ticks:
            state, decision = supervisor.step(state, inputs or healthy(t), t, BOTH)
            check_invariants(decision, state)
    assert read_only(state.tracker.tracks)
    assert read_only(decision.path) or decision.path is not None


@settings(max_examples=20)
@given(lives())
def test_the_same_life_twice_gives_the_same_decisions_and_leaves_old_states_alone(ticks):
    records = []
    with np.errstate(all="ignore"):
        for _ in range(2):
            state, lines = supervisor.start(BOTH), []
            for t, inputs in ticks:
                given_inputs = inputs or healthy(t)
                before = pickle.dumps((state, given_inputs))
                new, decision = supervisor.step(state, given_inputs, t, BOTH)
                assert pickle.dumps((state, given_inputs)) == before
                lines.append(json_line(decision_record(decision)))
                state = new
            records.append(lines)
    assert records[0] == records[1]


@settings(max_examples=40)
@given(st.lists(st.sets(st.sampled_from(("odometry", "radar", "ranges", "plans"))), min_size=4, max_size=16))
def test_nominal_means_that_every_expected_input_is_there_and_fresh(gaps):
    state = supervisor.start(BOTH)
    for i, silent in enumerate(gaps):
        t = T + i * 2 * PERIOD
        inputs = replace(healthy(t), **dict.fromkeys(silent, ()))
        state, decision = supervisor.step(state, inputs, t, BOTH)
        late = health.check(state.memory, state.plan_findings, True, t, BOTH).findings
        assert decision.mode != Mode.NOMINAL or not late
        assert decision.mode == Mode.NOMINAL or late or decision.reasons or decision.mode == Mode.INIT


def test_an_empty_tick_is_a_tick():
    state, decision = supervisor.step(supervisor.start(CONFIG), Inputs(), T, CONFIG)
    assert decision.mode == Mode.INIT
    assert decision.t == T
    _, again = supervisor.step(state, Inputs(), T + PERIOD, CONFIG)
    assert again.mode == Mode.INIT


# --- a stop without odometry ------------------------------------------------------------------------------------------


def followed(drive, duration, odometry):
    """Let a vehicle that only takes speeds from the commanded trajectory follow it; return its speeds."""
    speeds, end = [], drive.t + nanoseconds(duration)
    while drive.t < end:
        command = drive.tick(odometry=odometry(drive.t)).command
        later = (drive.t - command.t) / 1e9 + 0.1
        drive.speed = float(np.interp(later, command.time, command.speed))
        speeds.append(drive.speed)
    return np.array(speeds)


@untraced
@pytest.mark.parametrize(("title", "mode"), [("stale", Mode.UNABLE), ("frozen", Mode.COMFORT_STOP)])
def test_a_vehicle_that_follows_speeds_comes_to_rest_without_odometry(title, mode):
    """The speed that was heard last is not commanded again in every tick."""
    drive = in_motion()
    last = ego(drive.speed, drive.x, t=drive.t)
    speeds = followed(drive, 14.0, lambda t: () if title == "stale" else (replace(last, t=t),))
    assert drive.decisions[-1].mode == mode
    assert (np.diff(speeds) <= 1e-6).all()
    assert speeds[-1] == 0.0


def test_the_stop_goes_on_along_the_path_and_begins_anew_when_odometry_comes_back():
    drive = in_motion()
    speeds = followed(drive, 1.0, lambda t: ())
    stop, before = drive.decisions[-1], drive.decisions[-2]
    shift = (stop.t - before.t) / 1e9
    went = np.interp(shift, before.command.time, before.command.x)
    assert stop.command.x[0] == pytest.approx(went)
    assert stop.fallback.speed[0] == pytest.approx(stop.command.speed[0])
    assert stop.command.speed[0] < 20.0 - 2.0
    assert speeds[-1] < stop.command.speed[0]
    drive.x, drive.speed = 500.0, 14.0
    back = drive.tick()
    assert (back.command.x[0], back.command.speed[0]) == (500.0, 14.0)
    assert drive.state.told is None


def test_control_while_odometry_is_heard_a_stop_begins_where_ego_is():
    drive = in_motion()
    drive.radar_on = False
    drive.run(1.0)
    decision = drive.tick()
    assert decision.mode.brakes
    assert (decision.command.x[0], decision.command.speed[0]) == (decision.ego.x, decision.ego.speed)
    assert drive.state.told is None
