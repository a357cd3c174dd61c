"""Optional inputs of the policy: its control commands, its heartbeat, and what it says it sees."""

from __future__ import annotations

from types import SimpleNamespace as Message

import numpy as np
import pytest
from builders import FRONT, Drive, T, config, ego, lead, plan

from safety_supervisor import messages
from safety_supervisor.core.plan_check import check_following, check_plan
from safety_supervisor.core.policy_watch import Sight, blind_findings, check_control, compared
from safety_supervisor.core.world import (
    Code,
    ControlCommand,
    FreeRoom,
    Heartbeat,
    Invalid,
    Mode,
    Odometry,
    Plan,
    SeenObjects,
    Severity,
    Threat,
)

SECOND = 1_000_000_000
CONTROLLED = config({"inputs.control": "policy/control"})
BEATING = config({"inputs.heartbeat": "policy/heartbeat"})


def command(acceleration=0.0, speed=20.0, curvature=0.0, t=T) -> ControlCommand:
    return ControlCommand(t, acceleration, speed, curvature)


def codes(findings) -> set[Code]:
    return {f.code for f in findings}


# --- the control command --------------------------------------------------------------------------------------


def test_a_command_that_does_what_the_plan_does_is_fine():
    braking = plan(acceleration=-2.0)
    assert check_control(command(-2.0), None, braking, ego(), CONTROLLED) == ()
    assert check_control(command(np.nan, np.nan, np.nan), None, braking, ego(), CONTROLLED) == ()


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (command(acceleration=5.0), "accelerates by 5 m/s^2, allowed 4"),
        (command(acceleration=-10.0), "brakes by 10 m/s^2, allowed 9"),
        (command(speed=43.0), "asks a speed of 43 m/s, allowed 42"),
        (command(curvature=0.3), "bends by 0.3 1/m, allowed 0.22"),
        (command(curvature=0.02), "asks lateral 8 m/s^2, allowed 6"),
    ],
)
def test_a_command_beyond_a_limit_names_the_number(asked, what):
    found = check_control(asked, None, None, ego(), CONTROLLED)
    assert codes(found) == {Code.CONTROL_INFEASIBLE}
    assert any(what in f.text for f in found)


def test_the_wheel_turns_no_faster_than_it_can():
    before = command(curvature=-0.01, t=T - SECOND // 50)
    fast = check_control(command(curvature=0.01), before, None, ego(), CONTROLLED)
    assert "turns the wheel by 1 1/m/s" in fast[0].text
    slow = command(curvature=-0.01, t=T - SECOND // 10)
    assert check_control(command(curvature=0.01), slow, None, ego(), CONTROLLED) == ()


@pytest.mark.parametrize(
    ("asked", "column"),
    [(command(1.0), "acceleration"), (command(speed=16.0), "speed"), (command(curvature=0.06), "curvature")],
)
def test_a_command_that_leaves_the_plan_is_found(asked, column):
    by = plan(10.0 if column == "curvature" else 20.0, acceleration=-2.0)
    found = check_control(asked, None, by, ego(5.0), CONTROLLED)
    assert any(f.code is Code.CONTROL_OFF_PLAN and f"the plan's {column}" in f.text for f in found)


def test_an_old_command_says_nothing_more_it_is_stale_instead():
    assert check_control(command(acceleration=9.0, t=T - SECOND), None, plan(), ego(), CONTROLLED) == ()


def commands(drive: Drive, acceleration: float) -> tuple[ControlCommand, ...]:
    return (ControlCommand(drive.t, acceleration, drive.speed, 0.0),)


def test_a_controller_that_leaves_the_plan_stops_the_vehicle():
    drive = Drive(CONTROLLED)
    for _ in range(40):
        drive.tick(control=commands(drive, 0.0))
    assert drive.decisions[-1].mode is Mode.NOMINAL
    for _ in range(20):
        drive.tick(control=commands(drive, 3.0))
    assert Mode.COMFORT_STOP in drive.modes
    assert Code.CONTROL_OFF_PLAN in {r.code for d in drive.decisions for r in d.reasons}


def test_a_named_controller_that_falls_silent_stops_the_vehicle_and_an_unnamed_one_is_not_missed():
    drive = Drive(CONTROLLED)
    for _ in range(30):
        drive.tick(control=commands(drive, 0.0))
    assert drive.decisions[-1].mode is Mode.NOMINAL
    last = drive.run(0.5)
    assert last.mode is Mode.COMFORT_STOP
    assert Code.CONTROL_STALE in codes(last.health.findings)
    assert Drive().run(2.0).mode is Mode.NOMINAL


# --- the heartbeat --------------------------------------------------------------------------------------------


def test_a_policy_whose_heart_stops_is_stopped():
    drive = Drive(BEATING)
    for _ in range(30):
        drive.tick(heartbeats=(Heartbeat(drive.t),))
    assert drive.decisions[-1].mode is Mode.NOMINAL
    last = drive.run(0.8)
    assert last.mode is Mode.COMFORT_STOP
    assert Code.HEARTBEAT_STALE in codes(last.health.findings)


def test_without_a_first_beat_nothing_is_passed():
    last = Drive(BEATING).run(2.0)
    assert last.mode is Mode.INIT
    assert Code.HEARTBEAT_MISSING in codes(last.health.findings)


# --- what the policy sees -------------------------------------------------------------------------------------


def threat(track: int, gap: float) -> Threat:
    return Threat(track, "radar", gap, 0.0, 5.0, 20.0, 0.0, 9.0, Mode.NOMINAL, Code.ENVELOPE)


def watched(objects: SeenObjects | None, tracks=None, ticks=20, by=None) -> Sight:
    tracks, by = tracks if tracks is not None else lead(30.0), by or config()
    sight, gap = Sight(), float(tracks.state[0, 0]) - FRONT
    for i in range(ticks):
        t = T + i * SECOND // 20
        new = () if objects is None else (SeenObjects(t, objects.x, objects.y),)
        sight = compared(sight, new, (threat(1, gap),), tracks, t, by)
    return sight


def test_a_track_that_the_policy_does_not_report_is_a_blind_spot_counted_once():
    sight = watched(SeenObjects(T, [100.0], [3.0]))
    assert sight.count == 1
    assert [f.text for f in blind_findings(sight)] == ["policy blind to track 1"]


def test_an_object_that_is_reported_is_seen_even_if_its_distance_is_off():
    assert watched(SeenObjects(T, [38.0], [0.5])).count == 0
    assert watched(SeenObjects(T, [48.0], [0.5])).count == 1  # the control: too far off


def test_no_list_and_an_old_list_say_nothing():
    assert watched(None).count == 0
    sight = Sight(SeenObjects(T - SECOND, [], []))
    for i in range(40):
        sight = compared(sight, (), (threat(1, 30.0),), lead(30.0), T + i * SECOND // 20, config())
    assert sight.count == 0


def test_a_glimpse_is_not_enough_and_what_never_moved_or_is_far_is_not_asked_for():
    assert watched(SeenObjects(T, [], []), ticks=5).count == 0
    assert watched(SeenObjects(T, [], []), lead(30.0, moved=False)).count == 0
    assert watched(SeenObjects(T, [], []), lead(120.0)).count == 0
    assert watched(SeenObjects(T, [], []), lead(30.0, existence=0.9)).count == 0


def test_reported_objects_take_no_hazard_away_and_blindness_is_reported():
    def drive(objects: bool) -> Drive:
        made = Drive(objects=((70.0, 0.0, 10.0),))
        for _ in range(60):
            made.tick(**({"objects": (SeenObjects(made.t, [], []),)} if objects else {}))
        return made

    blind, plain = drive(True), drive(False)
    assert [d.mode for d in blind.decisions] == [d.mode for d in plain.decisions]
    assert blind.decisions[-1].blind_spots == 1
    assert plain.decisions[-1].blind_spots == 0
    assert any(f.code is Code.POLICY_BLIND for d in blind.decisions for f in d.health.findings)
    assert max(d.health.severity for d in blind.decisions[20:]) is Severity.OK


# --- how ego follows its plan ---------------------------------------------------------------------------------


def test_rolling_back_is_found():
    back = check_following(plan(5.0), ego(-0.5), config())
    assert codes(back) == {Code.EGO_ROLLS_BACK}
    assert check_following(plan(5.0), ego(0.5), config()) == ()
    assert check_following(plan(-5.0), ego(-0.5), config()) == ()
    assert codes(check_following(plan(-5.0), ego(0.5), config())) == {Code.EGO_ROLLS_BACK}


def test_driving_past_the_planned_stop_is_found():
    stops = Plan(T, [0.0, 1.0, 2.0], [0.0, 1.0, 1.0], [0.0] * 3, [0.0] * 3, [2.0, 0.0, 0.0])
    assert codes(check_following(stops, ego(1.0, x=1.8), config())) == {Code.EGO_OVERRUNS}
    assert check_following(stops, ego(1.0, x=1.2), config()) == ()
    assert check_following(stops, ego(0.0, x=1.8), config()) == ()


# --- rates of change of a plan --------------------------------------------------------------------------------


def bent(curvature: np.ndarray, speed: float) -> Plan:
    time = np.arange(len(curvature)) * 0.1
    step = speed * 0.1
    yaw = np.concatenate([[0.0], np.cumsum(curvature[1:] * step)])
    middle = np.concatenate([[0.0], (yaw[1:] + yaw[:-1]) / 2])
    x, y = np.cumsum(step * np.cos(middle)) - step, np.cumsum(step * np.sin(middle))
    return Plan(T, time, x, y, yaw, np.full(len(time), speed))


def texts(value: Plan, speed: float) -> str:
    return " | ".join(f.text for f in check_plan(value, None, ego(speed), config()))


def test_a_jump_of_the_planned_acceleration_is_a_jerk():
    time = np.arange(0.0, 3.5, 0.1)
    speed = 20.0 - np.where(time > 1.0, 7.0 * (time - 1.0), 0.0)
    x = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * 0.1)])
    stopping = Plan(T, time, x, 0 * x, 0 * x, speed)
    assert "has a jerk of 70 m/s^3, allowed 60" in texts(stopping, 20.0)
    assert "jerk" not in texts(plan(20.0, acceleration=-5.0), 20.0)


def test_a_jump_of_the_planned_curvature_is_a_lateral_jerk_and_a_turn_of_the_wheel():
    jump = np.where(np.arange(60) > 20, 0.02, 0.0)
    assert "lateral jerk of 45 m/s^3, allowed 30" in texts(bent(jump, 15.0), 15.0)
    gentle = np.clip((np.arange(60) - 20) / 20, 0.0, 1.0) * 0.02
    assert texts(bent(gentle, 15.0), 15.0) == ""
    assert "turns the wheel by 1.5 1/m/s" in texts(bent(np.where(np.arange(60) > 20, 0.15, 0.0), 4.0), 4.0)


# --- messages -------------------------------------------------------------------------------------------------


def header(frame="odom", t=T) -> Message:
    return Message(frame_id=frame, stamp=Message(sec=t // SECOND, nanosec=t % SECOND))


def read(msg, msgtype, role, odometry=None):
    return messages.convert(msg, msgtype, messages.Binding(role, role), T, config(), "odom", odometry)


def twist(speed: float, rate: float) -> Message:
    return Message(header=header("base_link"), twist=Message(linear=Message(x=speed), angular=Message(z=rate)))


def test_a_twist_is_a_command_of_speed_and_of_curvature_above_walking_pace():
    got = read(twist(10.0, 0.5), "geometry_msgs/msg/TwistStamped", "control")
    assert (got.speed, got.curvature) == (10.0, 0.05)
    assert np.isnan(read(twist(0.5, 0.5), "geometry_msgs/msg/TwistStamped", "control").curvature)
    broken = read(twist(np.nan, 0.0), "geometry_msgs/msg/TwistStamped", "control")
    assert isinstance(broken, Invalid)
    assert broken.source == "control"
    assert "twist.linear.x is nan" in broken.why


def test_commands_of_other_stacks_are_read():
    autoware = Message(stamp=None, longitudinal=Message(velocity=5.0, acceleration=-1.0))
    assert read(autoware, "autoware_control_msgs/msg/Control", "control").acceleration == -1.0
    drive = Message(header=header(), drive=Message(speed=3.0, acceleration=0.0, steering_angle=0.1))
    assert np.isnan(read(drive, "ackermann_msgs/msg/AckermannDriveStamped", "control").acceleration)


def test_a_beat_is_read_and_an_empty_release_stays_a_release():
    assert read(Message(), "std_msgs/msg/Empty", "heartbeat") == Heartbeat(T)
    assert read(Message(), "std_msgs/msg/Empty", "release") is True


def place(x: float, y: float) -> Message:
    return Message(position=Message(x=x, y=y))


def test_seen_objects_are_placed_in_the_frame_of_the_odometry():
    here = Odometry(T, 100.0, 50.0, np.pi / 2, 0.0, 0.0)
    poses = Message(header=header("base_link"), poses=[place(10.0, 1.0), place(np.nan, 0.0)])
    seen = read(poses, "geometry_msgs/msg/PoseArray", "objects", here)
    np.testing.assert_allclose([seen.x, seen.y], [[99.0], [60.0]])
    listed = Message(header=header(), detections=[Message(bbox=Message(center=place(7.0, 8.0)))])
    np.testing.assert_allclose(read(listed, "vision_msgs/msg/Detection3DArray", "objects", here).x, [7.0])
    kinematics = Message(initial_pose_with_covariance=Message(pose=place(3.0, 4.0)))
    predicted = Message(header=header(), objects=[Message(kinematics=kinematics)])
    np.testing.assert_allclose(read(predicted, "autoware_perception_msgs/msg/PredictedObjects", "objects", here).y, [4])


def test_objects_that_cannot_be_placed_name_the_reason():
    poses = Message(header=header("map"), poses=[place(1.0, 1.0)])
    assert "before any odometry" in read(poses, "geometry_msgs/msg/PoseArray", "objects").why
    here = Odometry(T, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert "header.frame_id is 'map'" in read(poses, "geometry_msgs/msg/PoseArray", "objects", here).why


def test_free_room_is_read_and_what_is_no_room_names_the_field():
    kind = "std_msgs/msg/Float64MultiArray"
    assert read(Message(data=[1.5, 0.0]), kind, "room") == FreeRoom(T, 1.5, 0.0)
    for data, why in (([1.5], "data has 1 numbers"), ([1.0, -0.1], "data is 1, -0.1"),
                      ([np.nan, 1.0], "data is nan, 1"), ([np.inf, 1.0], "data is inf, 1")):  # fmt: skip
        refused = read(Message(data=data), kind, "room")
        assert refused.source == "room"
        assert why in refused.why
