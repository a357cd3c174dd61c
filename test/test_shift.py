"""A shift into room that is given as free: its trajectory, when it is taken, what speaks against it, how it is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import CONFIG, FRONT, Drive, T, arc, config, ego, lead, path_of, plan, situation, takeover, together
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_inputs

from safety_supervisor.core import fallback, supervisor
from safety_supervisor.core.assessment import assess, told_shift
from safety_supervisor.core.assessment import room as judged_room
from safety_supervisor.core.config import GRAVITY, Sensor
from safety_supervisor.core.geometry import footprint, slopes
from safety_supervisor.core.paths import planned_path
from safety_supervisor.core.shift import Step, shifted, step_of, swept
from safety_supervisor.core.supervisor import Shift, judgement
from safety_supervisor.core.world import Code, Echo, FreeRoom, Health, Mode, Mrm, Severity, Tracks, nanoseconds

FRONT_RADAR = Sensor(kind="radar", topic="radar/front")
LEFT, RIGHT = (Sensor(kind="radar", topic=f"radar/{side}", x=1.4, y=0.9 * sign, yaw=1.57 * sign, half_angle=1.5,
                      range_min=0.1, range_max=60.0) for side, sign in (("left", 1), ("right", -1)))  # fmt: skip
SHIFTS = config({"fallback.shift_max": 3.5, "inputs.room": "policy/room"}, front=FRONT_RADAR, left=LEFT, right=RIGHT)
ROUND = config({"fallback.shift_max": 3.5, "inputs.room": "policy/room"},
               front=replace(FRONT_RADAR, half_angle=3.14, range_min=0.05))
SENSORS = (FRONT_RADAR, LEFT, RIGHT)
SPEED = 25.0


def roomy(speed=SPEED, room=(3.0, 0.0), well=("front", "left", "right"), **keywords):
    return replace(situation(speed, config=SHIFTS, **keywords), room=room, well=well)


def obstacle(gap=45.0, y=-0.4, **keywords):
    """Something that stands on one half of the corridor, too near to stop before it."""
    return lead(gap, 0.0, y=y, **{"sigma": 0.05, "moved": False, **keywords})


def judged(tracks: Tracks, arcs=(), where=None):
    return assess(tracks, arcs, where or roomy(), SHIFTS)


# --- its trajectory -------------------------------------------------------------------------------------------------


@given(st.floats(8.0, 40.0), st.floats(0.2, 3.5), st.sampled_from([1, -1]))
def test_a_shift_keeps_to_its_limits_within_the_friction_circle_and_ends_parallel(speed, offset, side):
    f = SHIFTS.fallback
    step = step_of(side * offset, speed, SHIFTS)
    made = judged_room._way(step, roomy(speed, (offset + 1.0, offset + 1.0)), SHIFTS)
    if made is None:  # braking gets no farther
        assert step.end > speed * speed / (2 * f.emergency_deceleration)
        return
    time = np.arange(0.0, 12.0, 0.005)
    s, v = fallback.course(speed, 0.0, made.brake, f.emergency_jerk, time, SHIFTS.timing.actuation_delay)
    y, _ = step.at(s)
    still = v > 0.5
    assert y[0] == 0.0
    assert y[-1] == pytest.approx(side * offset)
    assert np.ptp(y[s > step.end]) < 1e-9
    acceleration = np.gradient(np.gradient(step.at(np.arange(0.0, step.end + 5.0, 0.02))[0], 0.02), 0.02)
    lateral = np.interp(s, np.arange(0.0, step.end + 5.0, 0.02), acceleration) * v * v
    assert np.abs(lateral[still]).max() <= f.shift_acceleration * 1.01
    assert np.abs(np.gradient(lateral, time)[still][2:-2]).max() <= f.shift_jerk * 1.03
    circle = GRAVITY * SHIFTS.odd.friction_min * np.cos(SHIFTS.odd.grade_max)
    downhill = GRAVITY * np.sin(SHIFTS.odd.grade_max)
    braked = np.maximum(-np.gradient(v, time), 0.0)
    assert np.hypot(braked + downhill, lateral)[still][2:-2].max() <= circle * 1.02


@given(st.floats(10.0, 40.0), st.floats(0.3, 3.0), st.floats(-0.002, 0.002))
def test_the_body_stays_inside_what_is_swept_also_in_a_bend(speed, offset, curvature):
    step = step_of(offset, speed, CONFIG)
    right, left = swept(step, CONFIG.vehicle)
    assert -0.15 - CONFIG.vehicle.width / 2 <= right
    assert offset + CONFIG.vehicle.width / 2 - 1e-9 <= left <= offset + CONFIG.vehicle.width / 2 + 0.25
    base = path_of(plan(speed, 150.0 / speed, curvature=curvature), ego(speed), 150.0)
    made = planned_path(shifted(base, step, ego(speed), 120.0), ego(speed), CONFIG.vehicle, 0.0, 7.0)
    for k in range(0, int(made.s.searchsorted(110.0)), 3):
        corners = footprint(made.x[k], made.y[k], made.heading[k], CONFIG.vehicle)
        at = np.argmin(np.hypot(base.x - made.x[k], base.y - made.y[k]))
        c, s = np.cos(base.heading[at]), np.sin(base.heading[at])
        across = c * (corners[:, 1] - base.y[at]) - s * (corners[:, 0] - base.x[at])
        reach = 4.0 * 4.0 * abs(curvature) + 0.05  # the corners are ahead of the place that is looked at
        assert right - reach <= across.min()
        assert across.max() <= left + reach
    far = (made.s > step.end + 5.0) & (made.s < 110.0)
    assert np.abs(slopes(made.heading, made.s)[far] - curvature / (1 - curvature * offset)).max() < 2e-3


def test_a_shifted_path_begins_where_ego_is_and_goes_on_beside_the_old_one():
    base = path_of(plan(20.0, 10.0), ego(20.0), 150.0)
    made = shifted(base, Step(-1.5, 3.0, 30.0), ego(20.0), 60.0)
    assert (made.x[0], made.y[0], made.yaw[0]) == (0.0, 0.0, 0.0)
    assert np.abs(made.y[made.x > 33.5] + 1.5).max() < 1e-9
    assert made.x[-1] >= 80.0
    assert (np.diff(made.time) > 0).all()


# --- when it is taken -----------------------------------------------------------------------------------------------


def test_what_braking_alone_does_not_avoid_is_shifted_around():
    result = judged(obstacle())
    assert (result.demand, result.least) == (Mode.EMERGENCY_STOP, Mrm.SHIFT)
    assert 1.0 < result.shift < 2.0
    assert any(f"SHIFT {told_shift(result.shift)} does not" in reason.text for reason in result.reasons)


def test_the_other_side_is_taken_when_the_obstacle_or_the_room_is_there():
    assert judged(obstacle(y=0.4), where=roomy(room=(3.0, 3.0))).shift < -1.0
    assert judged(obstacle(y=-0.4), where=roomy(room=(0.0, 3.5))).shift == 0.0
    assert judged(obstacle(y=0.4), where=roomy(room=(3.0, 0.0))).shift == 0.0


@pytest.mark.parametrize("where", [roomy(room=(0.0, 0.0)), roomy(room=(1.0, 0.0)), roomy(well=("front", "right")),
                                   roomy(well=("left", "right")), roomy(20.0)])  # fmt: skip
def test_control_without_enough_room_or_sight_or_speed_it_is_braked(where):
    gap = 45.0 if where.ego.speed == SPEED else 28.0
    result = judged(obstacle(gap), where=where)
    assert (result.demand, result.least, result.shift) == (Mode.EMERGENCY_STOP, None, 0.0)


def test_control_where_braking_is_enough_nothing_is_shifted():
    breached = judged(obstacle(57.0))
    assert (breached.demand, breached.least) == (Mode.EMERGENCY_STOP, None)
    assert judged(obstacle(120.0)).least is None


def test_control_a_step_that_leaves_the_room_or_the_grip_is_no_way():
    def way(length, room=3.0, **keywords):
        return judged_room._way(Step(2.0, 3.0, length), roomy(room=(room, 0.0), **keywords), SHIFTS)

    assert way(38.0) is not None
    assert way(38.0, 1.9) is None
    assert way(15.0) is None
    assert way(38.0, by=plan(SPEED, 6.0, curvature=0.009)) is None


def test_control_what_cannot_be_foretold_is_not_shifted_around():
    broken = together(obstacle(), lead(30.0, float("nan"), y=20.0))
    assert judged(broken).least is None
    echo = arc(2.0, rate=-3.0)
    slow = replace(roomy(3.0), recent_speed=3.0)
    assert judged(Tracks(), (echo,), slow).least is None


def beside(x=0.0, speed=SPEED, y=2.6, **keywords):
    return lead(x - FRONT, speed, y=y, **keywords)


@pytest.mark.parametrize("other", [
    beside(), beside(-8.0, SPEED + 8.0), beside(2.0, 0.0, moved=False), beside(60.0, -SPEED, y=2.4),
    beside(40.0, 0.0, y=2.4), beside(1.0, SPEED, y=3.9, vy=-1.0),
], ids=["a car beside", "comes from behind", "a post", "comes towards", "stands in it", "comes over"])
def test_control_whoever_is_in_the_room_or_comes_there_forbids_it(other):
    result = judged(together(obstacle(), other))
    assert (result.demand, result.least) == (Mode.EMERGENCY_STOP, None)


@pytest.mark.parametrize("other", [
    beside(-12.0, SPEED, y=0.2), beside(0.0, SPEED, y=-2.6), beside(-40.0, SPEED), beside(60.0, SPEED),
    beside(0.0, SPEED, y=6.0), beside(existence=0.5),
], ids=["who follows", "on the other side", "far behind", "far ahead", "a lane farther", "not believed"])
def test_who_is_not_in_the_room_forbids_nothing(other):
    assert judged(together(obstacle(), other)).least == Mrm.SHIFT


ECHO = {"x": 1.0, "y": 0.9, "yaw": 1.57}


@pytest.mark.parametrize(("echo", "free"), [
    (arc(0.8, **ECHO), False), (arc(0.0, echo=Echo.TOO_CLOSE, **ECHO), False), (arc(float("nan"), **ECHO), False),
    (arc(0.8, confirmed=False, **ECHO), True), (arc(4.0, echo=Echo.CLEAR, **ECHO), True), (arc(4.0, **ECHO), True),
    (arc(0.8, x=1.0, y=-0.9, yaw=-1.57), True),
])  # fmt: skip
def test_an_echo_where_the_body_would_go_forbids_it_at_any_speed(echo, free):
    assert (judged(obstacle(), (echo,)).least == Mrm.SHIFT) == free


# --- in the tick ----------------------------------------------------------------------------------------------------


def surprised(values=ROUND, room=(3.0, 0.0), **extra):
    """Drive until the obstacle is there, out of nothing, and on until the supervisor has decided; ego never steers."""
    drive = Drive(values, speed=SPEED)
    drive.run(0.5)
    drive.objects = ((drive.x + FRONT + 54.0, -1.0, 0.0),)
    while not drive.decisions[-1].mode.brakes:
        tick(drive, room, **extra)
    return drive


def tick(drive, room=(3.0, 0.0), **extra):
    given = (FreeRoom(drive.t, *room),) if room else ()
    return drive.tick(**{"room": given, **extra})


def begun(drive):
    for _ in range(12):
        if drive.state.shift is not None:
            return drive
        tick(drive)
    raise AssertionError("no shift")


def test_a_shift_is_commanded_told_and_kept_until_standstill():
    drive = begun(surprised())
    first = drive.decisions[-1]
    assert (first.mode, first.plan_source) == (Mode.EMERGENCY_STOP, "shift")
    assert first.command.y[-1] == pytest.approx(first.assessment.shift, abs=0.05)
    assert first.fallback.y[-1] == pytest.approx(first.assessment.shift, abs=0.05)
    assert first.acceleration < 0.0
    offset = drive.state.shift.offset
    second = tick(drive, None)
    assert second.plan_source == "shift"
    assert (Code.ENVELOPE, True) in [(r.code, f"SHIFT {told_shift(offset)}" in r.text) for r in second.reasons]
    drive.objects = ()
    drive.run(12.0)
    assert drive.decisions[-1].mode == Mode.STANDSTILL
    assert drive.state.shift is None


def test_what_leaves_the_shifted_path_goes_back_to_the_plan():
    drive = begun(surprised())
    drive.objects = ()
    drive.run(1.5)  # ego has not steered at all
    assert drive.decisions[-1].plan_source == "policy"
    assert drive.state.shift is not None


@pytest.mark.parametrize("room", [None, (0.0, 0.0), (0.8, 0.0)])
def test_control_without_the_statement_nothing_is_shifted(room):
    drive = surprised(room=room)
    for _ in range(12):
        tick(drive, room)
    assert drive.state.shift is None
    assert {d.plan_source for d in drive.decisions} <= {"policy", "extrapolation"}


def test_control_a_vehicle_that_may_not_shift_decides_as_if_no_room_were_given():
    plain = replace(ROUND, fallback=replace(ROUND.fallback, shift_max=0.0))
    given, without = surprised(plain), surprised(plain, None)
    for _ in range(40):
        assert repr(tick(given)) == repr(tick(without, None))


def free_room(state, path=None, trust=None, t=T):
    return judgement._free_room(state, path or roomy().path, trust or Health(), t, ROUND)


def test_room_is_used_only_fresh_forward_trusted_and_once():
    state = begun(surprised()).state
    fresh = replace(state, shift=None, room=FreeRoom(T, 9.0, 1.0))
    assert free_room(fresh, t=T) == (3.5, 1.0)
    refused = [
        free_room(state), free_room(replace(fresh, room=None)), free_room(fresh, replace(roomy().path, reverse=True)),
        free_room(fresh, trust=Health(Severity.SUSPECT)),
        free_room(fresh, t=T + nanoseconds(CONFIG.health.plan_timeout) + 1),
        free_room(replace(fresh, room=FreeRoom(T, 1.0, float("nan")))),
        free_room(replace(fresh, room=FreeRoom(T, -1.0, 2.0))),
    ]  # fmt: skip
    assert refused == [(0.0, 0.0)] * 7


def blocked(drive, *places):
    """The tracks that `judge` sees, at places (gap, y) of standing things, with one judgement more."""
    now = drive.decisions[-1].ego
    tracks = together(*(obstacle(gap + now.x, y, t=now.t) for gap, y in places))
    state = replace(drive.state, tracker=replace(drive.state.tracker, tracks=tracks), room=FreeRoom(now.t, 3.0, 3.0))
    return judgement.judge(state, now, Health(), now.t, ROUND)


def test_a_shift_that_has_hardly_begun_becomes_another_one_that_is_free():
    drive = begun(surprised())
    state, source, _, assessment = blocked(drive, (48.0, 0.3))
    assert state.shift is None
    assert (source, assessment.least) == ("policy", Mrm.SHIFT)
    assert assessment.shift < 0.0 < drive.state.shift.offset


def test_a_shift_that_has_hardly_begun_is_given_up_for_good_when_its_way_has_become_worse():
    drive = begun(surprised())
    state, source, _, assessment = blocked(drive, (45.0, -0.4), (20.0, 2.4))
    assert (state.shift.given_up, source, assessment.least) == (True, "policy", None)
    again = replace(drive.state, shift=state.shift)
    assert supervisor.judged_path(again, drive.decisions[-1].ego, Health(), ROUND)[1] == "policy"
    assert free_room(state) == (0.0, 0.0)


def test_a_shift_is_kept_when_the_way_that_it_leaves_is_no_better():
    drive = begun(surprised())
    state, source, _, _ = blocked(drive, (30.0, -0.4), (40.0, 1.9))
    assert (state.shift, source) == (drive.state.shift, "shift")


def test_a_shift_that_is_half_done_is_kept():
    drive = begun(surprised())
    now = replace(drive.decisions[-1].ego, y=0.6)
    tracks = together(obstacle(45.0 + now.x, -0.4, t=now.t), obstacle(20.0 + now.x, 2.4, t=now.t))
    state = replace(drive.state, tracker=replace(drive.state.tracker, tracks=tracks))
    judged = judgement.judge(state, now, Health(), now.t, ROUND)
    assert (judged[0].shift, judged[1]) == (drive.state.shift, "shift")


def test_a_driver_ends_it_and_a_clock_that_jumps_too():
    drive = begun(surprised())
    assert isinstance(drive.state.shift, Shift)
    drive.tick(driver=takeover(True, drive.t))
    assert drive.state.shift is None
    other = begun(surprised())
    other.t += 5 * 10**9
    other.tick()
    assert (other.state.shift, other.state.room) == (None, None)


@settings(max_examples=30)
@given(st.data())
def test_nothing_that_arrives_during_a_shift_raises(data):
    state, t, handed_over = WHILE.state, WHILE.t, False
    for _ in range(3):
        state, decision = supervisor.step(state, data.draw(any_inputs(t)), t, ROUND)
        handed_over |= decision.driver or decision.mode == Mode.INIT  # who takes over ends it, and may hand back
        assert decision.mode.brakes or handed_over
        t += nanoseconds(ROUND.timing.period)


WHILE = begun(surprised())
