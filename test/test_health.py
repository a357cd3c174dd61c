"""Each input missing, stale, early, invalid, frozen; each clock that jumps; and inputs that are well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import RADAR, ULTRASONIC, T, config, ego, plan
from hypothesis import given
from strategies import any_inputs

from safety_supervisor.core import health
from safety_supervisor.core.config import Sensor
from safety_supervisor.core.world import (
    Code,
    ControlCommand,
    DriverMode,
    Finding,
    FreeRoom,
    Heartbeat,
    Inputs,
    Invalid,
    Plan,
    RadarScan,
    RangeReading,
    SeenObjects,
    Severity,
    nanoseconds,
    seconds,
)

CONFIG = config(front=RADAR, us=ULTRASONIC)
PERIOD = nanoseconds(CONFIG.timing.period)
NAN = float("nan")
FAMILIES = {"odometry": "ODOMETRY", "plan": "PLAN", "front": "RADAR", "us": "ULTRASONIC"}
TIMEOUTS = {
    "odometry": CONFIG.health.odometry_timeout, "plan": CONFIG.health.plan_timeout,
    "front": CONFIG.health.radar_timeout, "us": CONFIG.health.ultrasonic_timeout,
}  # fmt: skip
LISTS = {"odometry": "odometry", "plan": "plans", "front": "radar", "us": "ranges"}


def scan(t=T, distance=30.0, name="front"):
    return RadarScan(name, t, [distance], [0.0], [-5.0])


def ping(t=T, distance=1.0, name="us"):
    return RangeReading(name, t, distance, 0.2, 5.0)


def all_of(t=T, **changes):
    """One good message of each input, stamped `t`."""
    x = 20.0 * seconds(t - T)
    made = {"odometry": (ego(20.0, x=x, t=t),), "plans": (plan(20.0, x=x, t=t),),
            "radar": (scan(t, 30.0 + t // 10**6 % 97 / 100),), "ranges": (ping(t),)}
    return Inputs(**{**made, **changes})


def run(*ticks, by=CONFIG, moving=True):
    """Admit (t, inputs) one after the other; return the health after the last."""
    memory = health.Memory()
    for t, inputs in ticks:
        memory, _ = health.admit(memory, inputs, t, by)
    return health.check(memory, (), moving, ticks[-1][0], by)


def codes(*ticks, **keywords):
    return {f.code.name for f in run(*ticks, **keywords).findings}


def test_when_everything_is_there_nothing_is_found():
    assert run((T, all_of())) == health.Health(Severity.OK, ())
    assert run((T, all_of()), (T + PERIOD, Inputs())) == health.Health(Severity.OK, ())


@pytest.mark.parametrize("name", FAMILIES)
def test_what_never_came_is_missing_and_waited_for(name):
    found = run((T, all_of(**{LISTS[name]: ()})))
    assert [f.code.name for f in found.findings] == [f"{FAMILIES[name]}_MISSING"]
    assert found.findings[0].source == name
    assert found.severity == Severity.WAITING


@pytest.mark.parametrize("name", FAMILIES)
def test_what_came_too_long_ago_is_stale(name):
    timeout = nanoseconds(TIMEOUTS[name])
    at_limit = {LISTS[name]: getattr(all_of(T - timeout), LISTS[name])}
    beyond = {LISTS[name]: getattr(all_of(T - timeout - 1), LISTS[name])}
    assert codes((T, all_of(**at_limit))) == set()
    found = run((T, all_of(**beyond)))
    assert [f.code.name for f in found.findings] == [f"{FAMILIES[name]}_STALE"]
    assert found.severity == (Severity.BLIND if name == "odometry" else Severity.DEGRADED)


@pytest.mark.parametrize("name", FAMILIES)
def test_silence_makes_stale_and_the_next_message_heals(name):
    end = T + nanoseconds(TIMEOUTS[name]) + PERIOD
    ticks = [(t, all_of(t, **({LISTS[name]: ()} if t > T else {}))) for t in range(T, end + PERIOD, PERIOD)]
    assert codes(*ticks) == {f"{FAMILIES[name]}_STALE"}
    again = ticks[-1][0] + PERIOD
    assert codes(*ticks, (again, all_of(again))) == set()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_stamp_from_the_future_is_refused_and_does_not_refresh(name):
    tolerance = nanoseconds(CONFIG.health.future_tolerance)
    early = {LISTS[name]: getattr(all_of(T + tolerance + 1), LISTS[name])}
    jitter = {LISTS[name]: getattr(all_of(T + tolerance), LISTS[name])}
    assert codes((T, all_of(**jitter))) == set()
    assert codes((T, all_of(**early))) == {f"{FAMILIES[name]}_FUTURE", f"{FAMILIES[name]}_MISSING"}
    _, kept = health.admit(health.Memory(), all_of(**early), T, CONFIG)
    assert getattr(kept, LISTS[name]) == ()
    found = run((T, all_of()), (T + PERIOD, Inputs(**{LISTS[name]: getattr(all_of(T + 10**9), LISTS[name])})))
    assert {f.code.name for f in found.findings} == {f"{FAMILIES[name]}_FUTURE"}
    assert found.severity == Severity.SUSPECT


@pytest.mark.parametrize("name", FAMILIES)
def test_a_message_that_was_not_understood_is_invalid_until_a_good_one_comes(name):
    bad = Inputs(invalid=(Invalid(name, T, "no field x"),))
    found = run((T, all_of()), (T + PERIOD, bad))
    assert [f.code.name for f in found.findings] == [f"{FAMILIES[name]}_INVALID"]
    assert "no field x" in found.findings[0].text
    assert found.severity >= Severity.SUSPECT
    later = T + 2 * PERIOD
    assert codes((T, all_of()), (T + PERIOD, bad), (later, Inputs())) == {f"{FAMILIES[name]}_INVALID"}
    assert codes((T, all_of()), (T + PERIOD, bad), (later, all_of(later))) == set()


@pytest.mark.parametrize(("source", "code"), [("driver", "DRIVER_INVALID"), ("nobody", "INPUT_INVALID")])
def test_a_refused_message_of_another_source_is_told_in_its_tick(source, code):
    bad = all_of(T + PERIOD, invalid=(Invalid(source, T, "broken"),))
    found = run((T, all_of()), (T + PERIOD, bad))
    assert [f.code.name for f in found.findings] == [code]
    assert found.severity == Severity.SUSPECT
    assert codes((T, all_of()), (T + PERIOD, bad), (T + 2 * PERIOD, all_of(T + 2 * PERIOD))) == set()


def test_a_good_driver_message_in_the_same_tick_clears_a_bad_one():
    both = all_of(invalid=(Invalid("driver", T, "broken"),), driver=(DriverMode(T, False),))
    assert codes((T, both)) == set()


@pytest.mark.parametrize(
    "bad",
    [{"x": NAN}, {"y": float("inf")}, {"yaw": NAN}, {"speed": NAN}, {"speed": 1e6}, {"speed": -1e300}, {"x": 1e300},
     {"yaw_rate": float("inf")}, {"yaw_rate": 1e3}],
)  # fmt: skip
def test_absurd_odometry_is_refused_and_does_not_refresh(bad):
    absurd = replace(ego(20.0, t=T + PERIOD), **bad)
    assert codes((T, all_of()), (T + PERIOD, all_of(T + PERIOD, odometry=(absurd,)))) == {"ODOMETRY_INVALID"}
    _, kept = health.admit(health.Memory(), all_of(odometry=(absurd,)), T + PERIOD, CONFIG)
    assert kept.odometry == ()
    ticks = [(t, all_of(t, odometry=(replace(absurd, t=t),) if t > T else (ego(t=T),)))
             for t in range(T, T + 6 * PERIOD, PERIOD)]
    assert codes(*ticks) == {"ODOMETRY_INVALID", "ODOMETRY_STALE"}


def test_odometry_without_a_yaw_rate_is_good():
    assert codes((T, all_of(odometry=(ego(20.0, yaw_rate=NAN),)))) == set()


@pytest.mark.parametrize("columns", [([NAN], [0.0], [0.0]), ([1.0], [NAN], [0.0]), ([1.0], [0.0], [NAN]),
                                     ([1.0, 2.0], [0.0], [0.0, 0.0]), ([1.0], [], [])])
def test_a_scan_without_a_usable_row_is_refused_and_does_not_refresh(columns):
    bad = RadarScan("front", T, *columns)
    assert codes((T, all_of(radar=(bad,)))) == {"RADAR_INVALID", "RADAR_MISSING"}


def test_a_scan_with_one_usable_row_or_with_none_at_all_is_good():
    assert codes((T, all_of(radar=(RadarScan("front", T, [NAN, 5.0], [0.0, 0.1], [0.0, 0.0]),)))) == set()
    assert codes((T, all_of(radar=(RadarScan("front", T, [], [], []),)))) == set()


def test_a_ping_of_nan_is_no_reading():
    assert codes((T, all_of(ranges=(ping(distance=NAN),)))) == {"ULTRASONIC_INVALID", "ULTRASONIC_MISSING"}
    for reading in (float("inf"), float("-inf"), 0.0, 9.9):
        assert codes((T, all_of(ranges=(ping(distance=reading),)))) == set()
    _, kept = health.admit(health.Memory(), all_of(ranges=(ping(distance=NAN),)), T, CONFIG)
    assert len(kept.ranges) == 1  # the filter counts it


def test_old_stamps_do_not_refresh_and_do_not_age_what_is_fresh():
    assert codes((T, all_of()), (T + PERIOD, all_of(T - 10**9))) == set()
    later = [(T + i * PERIOD, all_of(T - 10**9)) for i in range(1, 6)]
    assert codes((T, all_of()), *later) == {"ODOMETRY_STALE"}


# --- expected inputs ------------------------------------------------------------------------------------------------


def test_only_an_expected_sensor_can_be_missing_stale_or_invalid():
    relaxed = config(front=RADAR, us=replace(ULTRASONIC, expected=False))
    assert codes((T, all_of(ranges=())), by=relaxed) == set()
    assert codes((T, all_of(ranges=(ping(T - 10**10),))), by=relaxed) == set()
    assert codes((T, all_of(ranges=())), by=CONFIG) == {"ULTRASONIC_MISSING"}
    assert health.stale(health.Memory(), "us", T, relaxed)


def test_a_plan_that_is_not_expected_cannot_be_missing():
    alone = config({"inputs.plan_expected": False}, front=RADAR)
    assert codes((T, all_of(plans=())), by=alone) == set()
    assert codes((T, all_of(plans=())), by=config(front=RADAR)) == {"PLAN_MISSING"}


def test_what_comes_from_an_unknown_sensor_is_dropped():
    ghosts = Inputs(radar=(scan(name="ghost"),), ranges=(ping(name="ghost"),))
    _, kept = health.admit(health.Memory(), ghosts, T, CONFIG)
    assert kept.radar == kept.ranges == ()


def test_a_sensor_is_stale_until_it_speaks_and_after_it_fell_silent():
    memory, _ = health.admit(health.Memory(), all_of(), T, CONFIG)
    assert not health.stale(memory, "front", T, CONFIG)
    assert health.stale(memory, "front", T + nanoseconds(CONFIG.health.radar_timeout) + 1, CONFIG)
    assert health.stale(health.Memory(), "front", T, CONFIG)


# --- frozen ---------------------------------------------------------------------------------------------------------


def repeated(until, moving=True, distances=None, rest=()):
    """The same scan again and again; in ticks of `rest` ego stands."""
    memory, t = health.Memory(), T
    for i, t in enumerate(range(T, T + nanoseconds(until) + 1, PERIOD)):
        detections = (scan(t, 30.0 if distances is None else distances(i)),)
        memory, _ = health.admit(memory, all_of(t, radar=detections), t, CONFIG)
        memory = health.rested(memory, t) if i in rest else memory
    return {f.code.name for f in health.check(memory, (), moving, t, CONFIG).findings}


def test_frozen_detections_are_not_tracked():
    memory, kept = health.Memory(), []
    for t in range(T, T + nanoseconds(CONFIG.health.frozen_time) + 2 * PERIOD, PERIOD):
        memory, inputs = health.admit(memory, all_of(t, radar=(scan(t),)), t, CONFIG)
        kept.append(len(inputs.radar))
    assert kept[0] == kept[1] == 1
    assert kept[-1] == 0


def test_identical_detections_while_ego_moves_are_frozen():
    limit = CONFIG.health.frozen_time
    assert repeated(limit) == set()
    assert repeated(limit + 0.1) == {"RADAR_FROZEN"}
    assert health.severity_of(Code.RADAR_FROZEN) == Severity.DEGRADED


def test_detections_that_change_or_repeat_at_rest_are_not_frozen():
    assert repeated(3.0, distances=lambda i: 30.0 + i % 2) == set()
    assert repeated(3.0, moving=False) == set()
    assert repeated(2.0 + CONFIG.health.frozen_time, rest=range(41)) == set()


def memory_of(*ticks):
    """What is remembered, admitted and found after (scans or plans, whether ego moves) at each period."""
    memory = health.Memory()
    for i, (sent, moving) in enumerate(ticks):
        t = T + i * PERIOD
        sent = tuple(replace(message, t=t) for message in sent)
        changes = {"plans": sent} if isinstance(sent[0], Plan) else {"radar": sent}
        memory, inputs = health.admit(memory, all_of(t, **changes), t, CONFIG)
        memory = health.moved(memory, CONFIG) if moving else health.rested(memory, t)
    return memory, inputs, {f.code.name for f in health.check(memory, (), moving, t, CONFIG).findings}


FREEZE = round(CONFIG.health.frozen_time / CONFIG.timing.period) + 2
"""Ticks after which what repeats itself is frozen."""


def radar(*distances):
    return [((scan(distance=d),), moving) for d, moving in distances]


def test_who_was_frozen_stays_so_at_rest_until_it_has_changed_for_a_time():
    stuck = [(30.0, True)] * FREEZE + [(30.0, False)] * 40
    memory, inputs, found = memory_of(*radar(*stuck))
    assert found == {"RADAR_FROZEN"}
    assert health.frozen(memory, "front")
    assert inputs.radar == ()
    (finding,) = health.check(memory, (), False, T + len(stuck) * PERIOD, CONFIG).findings
    assert "nothing proves it alive" in finding.text
    limit = round(CONFIG.health.frozen_time / CONFIG.timing.period)
    alive = [(31.0 + i % 7, False) for i in range(limit + 1)]
    _, inputs, found = memory_of(*radar(*stuck, *alive[:-1]))
    assert found == {"RADAR_FROZEN"}
    assert len(inputs.radar) == 1  # what may stop ego is heard at once
    memory, inputs, found = memory_of(*radar(*stuck, *alive))
    assert found == set()
    assert len(inputs.radar) == 1
    assert not health.frozen(memory, "front")


def test_control_one_change_now_and_then_does_not_prove_a_radar_alive():
    stutter = [(31.0 + i // (2 * FREEZE), False) for i in range(8 * FREEZE)]
    assert memory_of(*radar(*[(30.0, True)] * FREEZE, *stutter))[2] == {"RADAR_FROZEN"}


def test_empty_scans_prove_no_frozen_radar_alive():
    empty = ((RadarScan("front", T, [], [], []),), False)
    assert memory_of(*radar(*[(30.0, True)] * FREEZE), *[empty] * 3 * FREEZE)[2] == {"RADAR_FROZEN"}


def plans(count, moving=True, made=lambda i: plan(5.0)):
    return [((made(i),), moving) for i in range(count)]


def test_a_plan_that_repeats_itself_under_new_stamps_while_ego_moves_is_frozen():
    assert memory_of(*plans(FREEZE - 1))[2] == set()
    memory, _, found = memory_of(*plans(FREEZE))
    assert found == {"PLAN_FROZEN"}
    assert health.severity_of(Code.PLAN_FROZEN) == Severity.DEGRADED
    assert memory_of(*plans(FREEZE), *plans(40, moving=False))[2] == {"PLAN_FROZEN"}
    assert health.frozen(memory, "plan")


def test_the_first_new_plan_ends_that():
    after = memory_of(*plans(FREEZE), *plans(2, moving=False, made=lambda i: plan(4.0)))
    assert after[2] == set()


def test_control_plans_that_move_on_or_stand_or_repeat_at_rest_are_not_frozen():
    assert memory_of(*plans(40, made=lambda i: plan(5.0, x=5.0 * seconds(i * PERIOD))))[2] == set()
    assert memory_of(*plans(40, made=lambda i: plan(0.0)))[2] == set()
    assert memory_of(*plans(40, moving=False), *plans(FREEZE - 2))[2] == set()


def test_a_plan_that_nobody_expects_is_not_frozen_either():
    alone = config({"inputs.plan_expected": False}, front=RADAR)
    memory, _, _ = memory_of(*plans(FREEZE))
    t = T + FREEZE * PERIOD
    assert "PLAN_FROZEN" not in {f.code.name for f in health.check(memory, (), True, t, alone).findings}


def test_control_silence_is_stale_and_not_frozen():
    memory, _ = health.admit(health.Memory(), all_of(), T, CONFIG)
    later = T + nanoseconds(CONFIG.health.frozen_time + 0.2)
    memory, _ = health.admit(memory, Inputs(), later, CONFIG)
    found = {f.code for f in health.check(memory, (), True, later, CONFIG).findings}
    assert {Code.RADAR_STALE, Code.ODOMETRY_STALE} <= found
    assert not {Code.RADAR_FROZEN, Code.ODOMETRY_FROZEN} & found


def driven(until, step, moving=True):
    """Odometry alone: the pose advances by `step` [m] a period at 20 m/s, whatever the speed says."""
    memory, t = health.Memory(), T
    for i, t in enumerate(range(T, T + nanoseconds(until) + 1, PERIOD)):
        memory, _ = health.admit(memory, all_of(t, odometry=(ego(20.0, x=step * i, t=t),)), t, CONFIG)
    return health.check(memory, (), moving, t, CONFIG)


def test_a_pose_that_stands_while_the_speed_does_not_is_frozen():
    limit = CONFIG.health.frozen_time
    assert Code.ODOMETRY_FROZEN in {f.code for f in driven(limit + 0.1, 0.0).findings}
    assert driven(limit + 0.1, 0.0).severity == Severity.DEGRADED
    assert driven(limit, 0.0).findings == ()
    assert driven(3.0, 20.0 * seconds(PERIOD)).findings == ()
    assert driven(3.0, 0.0, moving=False).findings == ()


@pytest.mark.parametrize("jump", [-30.0, 3.0, 1e6])
def test_a_pose_that_its_speed_cannot_explain_has_jumped_in_that_tick_only(jump):
    later = T + PERIOD
    moved = all_of(later, odometry=(ego(20.0, x=jump, t=later),))
    found = run((T, all_of()), (later, moved))
    assert [f.code for f in found.findings] == [Code.ODOMETRY_JUMP]
    assert found.severity == Severity.DEGRADED
    assert "jumped by" in found.findings[0].text
    assert codes((T, all_of()), (later, moved), (later + PERIOD, Inputs())) == set()


@pytest.mark.parametrize("step", [1.0, 1.9])
def test_a_pose_within_reach_of_its_speed_has_not_jumped(step):
    later = T + PERIOD
    assert codes((T, all_of()), (later, all_of(later, odometry=(ego(20.0, x=step, t=later),)))) == set()


def test_empty_scans_may_repeat():
    memory = health.Memory()
    for t in range(T, T + 3 * 10**9, PERIOD):
        memory, _ = health.admit(memory, all_of(t, radar=(RadarScan("front", t, [], [], []),)), t, CONFIG)
    assert health.check(memory, (), True, t, CONFIG).findings == ()


# --- the clock ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [0, -1, -(10**9), nanoseconds(CONFIG.health.clock_jump) + 1, 10**12])
def test_a_clock_that_jumps_is_found_in_that_tick(later):
    found = run((T, all_of()), (T + later, all_of(T + later)))
    assert [f.code for f in found.findings] == [Code.CLOCK_JUMP]
    assert found.severity == Severity.DEGRADED
    assert codes((T, all_of()), (T + later, all_of(T + later)), (T + later + PERIOD, Inputs())) == set()


def test_a_late_tick_is_no_jump():
    later = T + nanoseconds(CONFIG.health.clock_jump)
    assert codes((T, all_of()), (later, all_of(later))) == {"LOOP_STALLED"}


# --- the loop itself ------------------------------------------------------------------------------------------------

LATE = nanoseconds(CONFIG.timing.period + CONFIG.timing.overrun)


def after(*steps):
    """Codes after ticks that far apart [ns], every input fresh."""
    ticks = [T]
    for step in steps:
        ticks.append(ticks[-1] + step)
    return codes(*((t, all_of(t)) for t in ticks))


def test_a_tick_later_than_the_envelope_allows_is_a_finding():
    assert after(LATE) == set()
    assert after(LATE + 1) == {"LOOP_OVERRUN"}
    assert health.severity_of(Code.LOOP_OVERRUN) == Severity.SUSPECT


def test_a_late_tick_counts_for_a_second():
    assert after(LATE + 1, *[PERIOD] * 20) == {"LOOP_OVERRUN"}
    assert after(LATE + 1, *[PERIOD] * 21) == set()


def test_beyond_the_commit_interval_or_too_often_it_escalates():
    assert after(nanoseconds(CONFIG.timing.commit) + 1) == {"LOOP_STALLED"}
    often = [LATE + 1, PERIOD] * CONFIG.health.overruns_max
    assert after(*often) == {"LOOP_STALLED"}
    assert after(*often[:-2]) == {"LOOP_OVERRUN"}
    assert health.severity_of(Code.LOOP_STALLED) == Severity.DEGRADED


def test_stamps_from_before_the_clock_was_set_back_do_not_keep_an_input_fresh():
    back = T - 100 * 10**9
    silent = {"RADAR_MISSING", "CLOCK_JUMP"}
    assert codes((T, all_of()), (back, all_of(back, radar=()))) == silent
    assert codes((T, all_of()), (back, all_of(back, radar=())), (back + PERIOD, all_of(back + PERIOD, radar=()))) == {
        "RADAR_MISSING"}


# --- severity -------------------------------------------------------------------------------------------------------

FAMILY_NAMES = ("PLAN_", "ODOMETRY_", "RADAR_", "ULTRASONIC_", "DRIVER_", "INPUT_", "CLOCK_")
FINDINGS = [c for c in Code if c.name.startswith(FAMILY_NAMES)]


@pytest.mark.parametrize("code", FINDINGS, ids=[c.name for c in FINDINGS])
def test_every_code_of_a_finding_has_a_severity(code):
    # Inside what the envelope covers; another candidate is passed instead.
    note = code in (Code.ODOMETRY_SCALE, Code.PLAN_REJECTED)
    assert (health.severity_of(code) == Severity.OK) is note


def test_the_worst_finding_counts():
    memory, _ = health.admit(health.Memory(), all_of(), T, CONFIG)
    bad = Finding(Code.PLAN_JUMP, "plan", "jumps")
    assert health.check(memory, (bad,), True, T, CONFIG).severity == Severity.DEGRADED
    assert health.check(memory, (), True, T, CONFIG).severity == Severity.OK
    later = T + 10**9
    both = health.check(memory, (bad,), True, later, CONFIG)
    assert both.severity == Severity.BLIND
    assert bad in both.findings


def test_the_kinds_of_loss_rank_as_declared():
    ranks = {name: health.severity_of(Code[name]) for name in (
        "ODOMETRY_FUTURE", "RADAR_INVALID", "PLAN_STALE", "PLAN_NOT_FINITE", "RADAR_MISSING", "ODOMETRY_STALE")}
    assert list(ranks.values()) == [Severity.SUSPECT, Severity.SUSPECT, Severity.DEGRADED, Severity.DEGRADED,
                                    Severity.WAITING, Severity.BLIND]


@given(any_inputs(T), any_inputs(T + PERIOD))
def test_whatever_arrives_findings_have_severities_and_nothing_raises(first, second):
    with np.errstate(all="ignore"):
        found = run((T, first), (T + PERIOD, second))
    assert found.severity == max((health.severity_of(f.code) for f in found.findings), default=Severity.OK)


@given(any_inputs(T))
def test_what_is_admitted_is_usable_and_only_what_came(inputs):
    with np.errstate(all="ignore"):
        _, kept = health.admit(health.Memory(), inputs, T, CONFIG)
    assert all(np.isfinite((o.x, o.y, o.yaw, o.speed)).all() for o in kept.odometry)
    assert all(o in inputs.odometry for o in kept.odometry)
    assert all(s.sensor in dict(CONFIG.sensors) for s in kept.radar)
    assert len(kept.plans) <= len(inputs.plans)
    assert (kept.driver, kept.release) == (inputs.driver, inputs.release)


def test_a_radar_and_a_list_of_tracks_are_one_family():
    tracks = config(ecu=Sensor(kind="radar_tracks", topic="ecu"))
    assert codes((T, Inputs(odometry=(ego(),), plans=(plan(),))), by=tracks) == {"RADAR_MISSING"}


def test_a_message_of_another_kind_does_not_keep_a_sensor_alive():
    both = config(front=RADAR, us=ULTRASONIC)
    wrong = Inputs(radar=(RadarScan("us", T, [1.0], [0.0], [0.0]),), ranges=(RangeReading("front", T, 1.0, 0.2, 5.0),))
    memory, kept = health.admit(health.Memory(), wrong, T, both)
    assert kept.radar == kept.ranges == ()
    assert {f.code for f in health.check(memory, (), True, T, both).findings} >= {
        Code.RADAR_INVALID, Code.ULTRASONIC_INVALID, Code.RADAR_MISSING, Code.ULTRASONIC_MISSING}


def test_a_clock_that_stands_for_three_ticks_leaves_nothing_to_judge_by():
    memory, seen = health.Memory(), []
    for t in (T, T + PERIOD, T + PERIOD, T + PERIOD, T + 2 * PERIOD):
        memory, _ = health.admit(memory, Inputs(), t, CONFIG)
        seen.append(memory.jumped.code if memory.jumped else None)
    assert seen == [None, None, Code.CLOCK_JUMP, Code.CLOCK_STOPPED, None]
    assert health.severity_of(Code.CLOCK_STOPPED) == Severity.BLIND


# --- what a finding says, word by word -------------------------------------------------------------------------------


def told(*ticks, **keywords):
    return [(f.code.name, f.source, f.text) for f in run(*ticks, **keywords).findings]


def only(*ticks, code, **keywords):
    """Source and text of the one finding with this code."""
    ((source, text),) = [(source, text) for name, source, text in told(*ticks, **keywords) if name == code]
    return source, text


STAMP = nanoseconds(0.2)
COMMIT = CONFIG.timing.commit


@pytest.mark.parametrize(
    ("code", "source", "text", "ticks"),
    [
        ("RADAR_MISSING", "front", "front has not been received yet", [(T, all_of(radar=()))]),
        ("PLAN_STALE", "plan", "plan is 0.400 s old, allowed 0.3 s",
         [(T + 2 * STAMP, all_of(T + 2 * STAMP, plans=(plan(20.0, t=T),)))]),
        ("RADAR_FUTURE", "front", "front: stamp 0.200 s ahead of the tick", [(T, all_of(radar=(scan(T + STAMP),)))]),
        ("ODOMETRY_INVALID", "odometry", "odometry: x is nan", [(T, all_of(odometry=(ego(20.0, x=NAN),)))]),
        ("ODOMETRY_INVALID", "odometry", "odometry: y is 2e+09", [(T, all_of(odometry=(ego(20.0, y=2e9),)))]),
        ("ODOMETRY_INVALID", "odometry", "odometry: yaw is -inf", [(T, all_of(odometry=(ego(20.0, yaw=-np.inf),)))]),
        ("ODOMETRY_INVALID", "odometry", "odometry: speed is 101", [(T, all_of(odometry=(ego(101.0),)))]),
        ("ODOMETRY_INVALID", "odometry", "odometry: yaw_rate is -21",
         [(T, all_of(odometry=(ego(20.0, yaw_rate=-21.0),)))]),
        ("RADAR_INVALID", "front", "front: a ping, expected a scan",
         [(T, all_of(ranges=(ping(), ping(name="front"))))]),
        ("ULTRASONIC_INVALID", "us", "us: a scan, expected a ping",
         [(T, all_of(radar=(scan(), scan(name="us")), ranges=()))]),
        ("ULTRASONIC_INVALID", "us", "us: range is NaN", [(T, all_of(ranges=(ping(distance=NAN),)))]),
        ("RADAR_INVALID", "front", "front: columns differ in length",
         [(T, all_of(radar=(RadarScan("front", T, [1.0, 2.0], [0.0], [0.0]),)))]),
        ("RADAR_INVALID", "front", "front: no row has a finite range, azimuth and range rate",
         [(T, all_of(radar=(RadarScan("front", T, [NAN], [0.0], [0.0]),)))]),
        ("INPUT_INVALID", "lidar", "lidar: garbled", [(T, all_of(invalid=(Invalid("lidar", T, "garbled"),)))]),
        ("CLOCK_JUMP", "clock", "tick time did not advance", [(T, all_of()), (T, Inputs())]),
        ("CLOCK_STOPPED", "clock", "tick time stands: the age of nothing can be told",
         [(T, all_of()), (T, Inputs()), (T, Inputs())]),
        ("CLOCK_JUMP", "clock", "tick time went back by 0.200 s", [(T, all_of()), (T - STAMP, Inputs())]),
        ("CLOCK_JUMP", "clock", "tick time jumped by 0.800 s, allowed 0.5 s",
         [(T, all_of()), (T + 4 * STAMP, Inputs())]),
        ("ODOMETRY_JUMP", "odometry", "odometry jumped by 5.00 m, its speed explains 2.50 m",
         [(T, all_of()), (T + PERIOD, all_of(T + PERIOD, odometry=(ego(20.0, x=3.0, y=4.0, t=T + PERIOD),)))]),
        ("LOOP_OVERRUN", "clock", "0.070 s between two ticks, allowed 0.06 s",
         [(T, all_of()), (T + nanoseconds(0.07), Inputs())]),
        ("LOOP_STALLED", "clock", f"0.400 s between two ticks, the envelope counts on {COMMIT:g} s",
         [(T, all_of()), (T + 2 * STAMP, Inputs())]),
        ("LOOP_STALLED", "clock", "3 late ticks in a second, 0.075 s at worst, allowed 0.06 s",
         [(T + nanoseconds(0.07 * k + 0.005 * (k > 2)), Inputs()) for k in range(4)]),
    ],
)  # fmt: skip
def test_a_finding_names_its_source_and_says_why_in_numbers(code, source, text, ticks):
    assert only(*ticks, code=code) == (source, text)


def test_a_frozen_input_says_for_how_long():
    ticks = [(T + k * PERIOD, all_of(T + k * PERIOD, radar=(scan(T + k * PERIOD, 30.0),))) for k in range(9)]
    assert only(*ticks, code="RADAR_FROZEN") == ("front", "front repeats the same content for 0.40 s while ego moves")


def test_limits_belong_to_what_is_allowed():
    at = nanoseconds(CONFIG.health.future_tolerance)
    assert told((T, all_of(odometry=(ego(100.0, yaw_rate=20.0, yaw=1e9),)))) == []
    assert told((T, all_of(odometry=(ego(20.0, yaw_rate=NAN),)))) == []
    _, kept = health.admit(health.Memory(), all_of(ranges=(ping(T + at, NAN),)), T, CONFIG)
    assert len(kept.ranges) == 1
    _, kept = health.admit(health.Memory(), all_of(ranges=(ping(T + at + 1, NAN),)), T, CONFIG)
    assert kept.ranges == ()
    reach = health.PLACE_SLACK + 1.5 * 20.0 * 0.05
    exactly = all_of(T + PERIOD, odometry=(ego(20.0, x=reach, t=T + PERIOD),))
    assert told((T, all_of()), (T + PERIOD, exactly)) == []
    for step in (-2.0, 2.0):  # whichever side of the origin ego is on
        first = all_of(odometry=(ego(0.5, y=-5.0),))
        moved = all_of(T + PERIOD, odometry=(ego(0.5, y=-5.0 + step, t=T + PERIOD),))
        assert "ODOMETRY_JUMP" in codes((T, first), (T + PERIOD, moved))
        near = all_of(T + PERIOD, odometry=(ego(0.5, y=-5.0 + step / 4, t=T + PERIOD),))
        assert "ODOMETRY_JUMP" not in codes((T, first), (T + PERIOD, near))


def test_a_scan_is_frozen_only_beyond_its_time_and_then_not_tracked():
    limit = nanoseconds(CONFIG.health.frozen_time)
    memory, _ = health.admit(health.Memory(), all_of(), T, CONFIG)
    kept = []
    for later in (limit, limit + PERIOD):
        memory, admitted = health.admit(memory, all_of(T + later, radar=(scan(T + later, all_of().radar[0].range[0]),)),
                                        T + later, CONFIG)
        kept.append(len(admitted.radar))
    assert kept == [1, 0]


def test_each_of_several_poses_in_one_tick_is_compared_with_the_one_before_it():
    def after(*places):
        step = PERIOD // 5
        poses = tuple(ego(20.0, x=x, t=T + (k + 1) * step) for k, x in enumerate(places))
        return "ODOMETRY_JUMP" in codes((T, all_of()), (T + PERIOD, all_of(T + PERIOD, odometry=poses)))

    assert not after(0.3, 0.6, 0.9)
    assert after(0.3, 3.5, 0.9)
    assert after(1.2, 2.4, 3.6, 5.2)  # each one alone within reach of its neighbour but the last
    assert not after(1.2, 2.4, 3.6)  # a reach from the first pose would not explain the last


def test_two_poses_with_one_stamp_are_not_compared_and_the_first_counts():
    both = (ego(20.0, x=1.0, t=T + PERIOD), ego(20.0, x=9.0, t=T + PERIOD))
    assert "ODOMETRY_JUMP" not in codes((T, all_of()), (T + PERIOD, all_of(T + PERIOD, odometry=both)))
    third = (*both, ego(20.0, x=9.5, t=T + PERIOD + 1))
    assert "ODOMETRY_JUMP" in codes((T, all_of()), (T + PERIOD + 1, all_of(T + PERIOD + 1, odometry=third)))


def test_after_the_clock_was_set_back_places_are_not_compared():
    memory, _ = health.admit(health.Memory(), all_of(T + 10**9), T + 10**9, CONFIG)
    memory, _ = health.admit(memory, all_of(odometry=(ego(20.0, x=500.0),)), T, CONFIG)
    assert memory.jumped.code == Code.CLOCK_JUMP
    same, _ = health.admit(health.Memory(), all_of(), T, CONFIG)
    again, _ = health.admit(same, Inputs(), T, CONFIG)
    assert dict(again.sources).keys() == dict(same.sources).keys()  # a clock that stands forgets nothing


def test_everything_that_is_admitted_is_handed_on():
    listening = config({"inputs.control": "c", "inputs.heartbeat": "h", "inputs.objects": "o"}, front=RADAR)
    extra = {"control": (ControlCommand(T, 0.0, 20.0, 0.0),), "heartbeats": (Heartbeat(T),),
             "objects": (SeenObjects(T, np.zeros(1), np.zeros(1)),), "room": (FreeRoom(T, 1.0, 0.5),)}  # fmt: skip
    _, kept = health.admit(health.Memory(), all_of(ranges=(), **extra), T, listening)
    assert {name: getattr(kept, name) for name in extra} == extra
    late = {name: tuple(replace(m, t=T + STAMP) for m in messages) for name, messages in extra.items()}
    memory, kept = health.admit(health.Memory(), all_of(ranges=(), **late), T, listening)
    assert (kept.control, kept.heartbeats, kept.objects, kept.room) == ((), (), (), ())
    found = [(f.code.name, f.source) for f in health.check(memory, (), True, T, listening).findings]
    assert sorted(found) == [("CONTROL_FUTURE", "control"), ("CONTROL_MISSING", "control"),
                             ("HEARTBEAT_FUTURE", "heartbeat"), ("HEARTBEAT_MISSING", "heartbeat"),
                             ("OBJECTS_FUTURE", "objects"), ("ROOM_FUTURE", "room")]


def test_each_candidate_plan_ages_by_itself_and_a_driver_leaves_the_stamp():
    other = replace(plan(20.0, t=T), candidate=2)
    memory, kept = health.admit(health.Memory(), all_of(plans=(other,), driver=(DriverMode(T - 5, True),)), T, CONFIG)
    assert kept.plans == (other,)
    sources = dict(memory.sources)
    assert "plan" not in sources
    assert sources["plan_2"].t == T
    assert sources["driver"].t == T - 5
    assert "PLAN_MISSING" in {f.code.name for f in health.check(memory, (), True, T, CONFIG).findings}


def test_exactly_the_commit_interval_is_no_stall():
    at = nanoseconds(COMMIT)
    assert only((T, Inputs()), (T + at, Inputs()), code="LOOP_OVERRUN")[0] == "clock"
    assert only((T, Inputs()), (T + at + 1000, Inputs()), code="LOOP_STALLED")[0] == "clock"


def test_the_last_word_of_a_code_decides_its_severity():
    assert health.severity_of(Code.ODOMETRY_SCALE) == Severity.OK
    # Of more than two words the last alone says nothing ("EGO"): each such finding has its own row.
    assert {code.name for code in FINDINGS if code.name.count("_") > 1} <= {code.name for code in health.SPECIAL}


def test_each_kind_of_sensor_is_stale_by_its_own_timeout():
    memory, _ = health.admit(health.Memory(), all_of(), T, CONFIG)
    between = T + nanoseconds((CONFIG.health.radar_timeout + CONFIG.health.ultrasonic_timeout) / 2)
    assert health.stale(memory, "front", between, CONFIG)
    assert not health.stale(memory, "us", between, CONFIG)
    assert health.stale(memory, "us", T + nanoseconds(CONFIG.health.ultrasonic_timeout) + 1, CONFIG)


def test_an_empty_scan_has_no_content_that_could_freeze():
    empty = RadarScan("front", T, [], [], [])
    assert health._content(empty) == b""
    assert health._content(scan()) == np.array([30.0, 0.0, -5.0]).tobytes()
