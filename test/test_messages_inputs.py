"""Inputs beside the usual ones: speeds without pose, inertial yaw rates, control modes, named point fields, limits."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace as Ns

import numpy as np
import pytest
from test_messages import XYV, T, cloud, header, odometry

from safety_supervisor import messages
from safety_supervisor.cdr import TrajectoryView
from safety_supervisor.core.config import Config, Sensor
from safety_supervisor.core.world import DriverMode, Invalid, Odometry, Plan, RadarScan

S = 10**9
IMU, TWIST = "sensor_msgs/msg/Imu", "geometry_msgs/msg/TwistStamped"
ODOMETRY = "nav_msgs/msg/Odometry"


def config(**inputs):
    return dataclasses.replace(Config(), inputs=dataclasses.replace(Config().inputs, **inputs))


def twist(t, speed, rate=0.0):
    return Ns(header=header(t, "base_link"), twist=Ns(linear=Ns(x=speed), angular=Ns(z=rate)))


def imu(t, rate, known=0.0):
    return Ns(header=header(t, "imu"), angular_velocity=Ns(z=rate), angular_velocity_covariance=[known] * 9)


# --- speed without pose -----------------------------------------------------------------------------------------


def driven(*moves, carried=None):
    """Odometry after each message of a speed sensor, given as (time [s], speed, yaw rate)."""
    gatherer = messages.Gatherer(config(odometry="", twist="wheels"), carried)
    for at, speed, rate in moves:
        t = T + round(at * S)
        gatherer.add("/wheels", TWIST, twist(t, speed, rate), t)
    return gatherer, gatherer.take()


def test_a_speed_is_integrated_to_a_pose():
    _, found = driven((0.0, 10.0, 0.0), (0.5, 10.0, 0.0), (1.0, 20.0, 0.0))
    assert [(o.x, o.y, o.speed) for o in found.odometry] == [(0.0, 0.0, 10.0), (5.0, 0.0, 10.0), (12.5, 0.0, 20.0)]
    assert found.consumed == (("wheels", 3),)


def test_with_a_yaw_rate_it_goes_round_a_circle():
    steps = 400
    moves = [(2 * math.pi * i / steps, 5.0, 1.0) for i in range(steps + 1)]
    _, found = driven(*moves)
    assert math.hypot(found.odometry[-1].x, found.odometry[-1].y) < 0.01
    assert found.odometry[steps // 2].y == pytest.approx(10.0, abs=0.01)


def test_it_goes_on_where_the_tick_before_ended():
    gatherer, _ = driven((0.0, 10.0, 0.0), (1.0, 10.0, 0.0))
    _, found = driven((2.0, 10.0, 0.0), carried=gatherer.carried)
    assert found.odometry[0].x == pytest.approx(20.0)


def test_a_stamp_that_does_not_advance_is_named_and_a_clock_set_back_is_gone_along_with():
    _, found = driven((1.0, 10.0, 0.0), (1.0, 10.0, 0.0))
    assert len(found.odometry) == 1
    assert found.invalid[0].source == "odometry"
    gatherer, _ = driven((8.0, 10.0, 0.0), (9.0, 10.0, 0.0))
    _, found = driven((1.0, 10.0, 0.0), (2.0, 10.0, 0.0), carried=gatherer.carried)
    assert [o.x for o in found.odometry] == [10.0, 20.0]


def test_a_speed_that_is_not_finite_is_an_invalid_odometry():
    _, found = driven((0.0, math.nan, 0.0))
    assert (found.invalid[0].source, "twist.linear.x" in found.invalid[0].why) == ("odometry", True)


# --- inertial sensor --------------------------------------------------------------------------------------------


def turned(message, kind, age=0.0, rate=0.3):
    gatherer = messages.Gatherer(config(imu="imu"))
    t = T - round(age * S)
    gatherer.add("vehicle/odometry", kind, message, T)
    gatherer.add("imu", IMU, imu(t, rate), t)
    return gatherer.take()


def test_the_inertial_yaw_rate_replaces_that_of_the_odometry_while_it_is_recent():
    assert turned(odometry(rate=0.0), ODOMETRY).odometry[0].yaw_rate == 0.3
    assert turned(odometry(rate=0.1), ODOMETRY, age=0.6).odometry[0].yaw_rate == 0.1


@pytest.mark.parametrize(("message", "said"), [(imu(T, math.nan), "angular_velocity.z"), (imu(T, 0.1, -1.0), "-1")])
def test_an_inertial_sensor_that_measures_no_rotation_is_named(message, said):
    gatherer = messages.Gatherer(config(imu="imu"))
    gatherer.add("imu", IMU, message, T)
    (bad,) = gatherer.take().invalid
    assert (bad.source, said in bad.why) == ("imu", True)


# --- control mode -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", range(7))
def test_only_a_mode_in_which_the_stack_brakes_is_no_takeover(mode):
    human = mode not in (1, 3)
    binding = messages.bindings(Config())["vehicle/driver_takeover"]
    found = messages.convert(Ns(mode=mode), "autoware_vehicle_msgs/msg/ControlModeReport", binding, T, Config())
    assert found == DriverMode(T, human)


# --- point fields -----------------------------------------------------------------------------------------------


def scan(rows, layout, **sensor):
    by = Config(sensors=(("front", Sensor(kind="radar", topic="radar", **sensor)),))
    message = cloud(rows, layout)
    return messages.convert(message, "sensor_msgs/msg/PointCloud2", messages.bindings(by)["radar"], T, by)


NAMED = [("rho", "f4", 0), ("phi", "f4", 4), ("rate_mps", "f4", 8)]


def test_fields_of_any_name_are_read_when_the_vehicle_file_names_them():
    found = scan([(20.0, 30.0, -3.0)], NAMED, fields="range=rho, azimuth=Phi, doppler=rate_mps", angle_unit="deg")
    assert isinstance(found, RadarScan)
    assert (found.range[0], found.range_rate[0]) == (20.0, -3.0)
    assert found.azimuth[0] == pytest.approx(math.pi / 6)


def test_control_without_their_names_they_are_not_understood():
    assert "no Doppler field" in scan([(20.0, 30.0, -3.0)], NAMED).why


def test_a_named_field_stands_before_the_known_ones():
    fields = [*XYV, ("v_comp", "f4", 16)]
    rows = [(10.0, 0.0, 0.0, -5.0, -1.0)]
    assert scan(rows, fields).range_rate[0] == -5.0
    assert scan(rows, fields, fields="doppler=v_comp").range_rate[0] == -1.0


def test_a_named_field_that_is_not_there_is_said():
    found = scan([(10.0, 0.0, 0.0, -5.0)], XYV, fields="doppler=vrel")
    assert isinstance(found, Invalid)
    assert "no field vrel (doppler) among the fields x, y, z, range_rate" in found.why


# --- limits -----------------------------------------------------------------------------------------------------


def test_a_cloud_that_claims_too_many_points_is_refused_unread():
    message = cloud([(1.0, 0.0, 0.0, 0.0)], XYV)
    message.width, message.row_step = 10**9, 0
    by = Config(sensors=(("front", Sensor(kind="radar", topic="radar")),))
    found = messages.convert(message, "sensor_msgs/msg/PointCloud2", messages.bindings(by)["radar"], T, by)
    assert "1000000000 points, at most" in found.why


@pytest.mark.parametrize(
    ("kind", "topic", "field"),
    [("radar_msgs/RadarScan", "radar", "returns"), ("nav_msgs/Path", "policy/trajectory", "poses"),
     ("autoware_planning_msgs/Trajectory", "policy/trajectory", "points")],
)  # fmt: skip
def test_long_lists_are_refused(kind, topic, field):
    by = Config(sensors=(("front", Sensor(kind="radar", topic="radar")),))
    message = Ns(header=header(), **{field: np.empty(100_001)})
    assert "at most" in messages.convert(message, kind, messages.bindings(by)[topic], T, by).why


def test_a_trajectory_with_too_many_points_is_refused_as_message_and_as_view():
    binding, kind = messages.bindings(Config())["policy/trajectory"], "trajectory_msgs/msg/MultiDOFJointTrajectory"
    long = messages.PLAN_POINTS_MAX + 1
    listed = Ns(header=header(), joint_names=[], points=[None] * long)
    viewed = TrajectoryView(header(), (), np.zeros((long, 1, 7)), np.zeros((long, 1, 6)), np.zeros(long, np.int64))
    for message in (listed, viewed):
        assert "2001 points, at most 2000" in messages.convert(message, kind, binding, T, Config()).why


def test_no_pose_at_all_is_refused():
    with pytest.raises(ValueError, match="are both empty"):
        config(odometry="")


# --- frames -----------------------------------------------------------------------------------------------------


def test_odometry_that_changes_its_frame_is_refused_since_everything_tracked_lives_in_the_first():
    gatherer = messages.Gatherer(Config())
    for i, frame in enumerate(("odom", "/odom", "", "map", "odom")):
        gatherer.add("vehicle/odometry", ODOMETRY, odometry(T + i, frame=frame), T + i)
    found = gatherer.take()
    assert [o.t - T for o in found.odometry] == [0, 1, 2, 4]
    (refused,) = found.invalid
    assert refused.source == "odometry"
    assert "header.frame_id changed from" in refused.why
    assert "'map'" in refused.why


def odometry_of(child, **inputs):
    by = config(**inputs)
    message = odometry()
    message.child_frame_id = child
    return messages.convert(message, ODOMETRY, messages.bindings(by)["vehicle/odometry"], T, by)


@pytest.mark.parametrize("child", ["", "base_link", "/base_link", "base_footprint"])
def test_the_vehicle_body_has_several_names(child):
    assert isinstance(odometry_of(child), Odometry)


@pytest.mark.parametrize(
    ("child", "body"), [("imu_link", "base_link"), ("base_link", "rear_axle"), ("base_footprint", "rear_axle")]
)
def test_odometry_of_something_else_is_refused_unless_the_vehicle_file_names_it(child, body):
    why = odometry_of(child, body_frame=body).why
    assert why == f"child_frame_id is {child!r}, expected {body} (inputs.body_frame)"
    assert isinstance(odometry_of(child, body_frame=child), Odometry)


@pytest.mark.parametrize("role", ["twist", "control"])
@pytest.mark.parametrize(("frame", "accepted"), [("base_link", True), ("", True), ("map", False)])
def test_a_speed_along_other_axes_than_those_of_the_body_is_refused(role, frame, accepted):
    by = config(odometry="" if role == "twist" else "odom", twist="wheels", control="command")
    message = twist(T, 10.0)
    message.header.frame_id = frame
    topic = {"twist": "wheels", "control": "command"}[role]
    got = messages.convert(message, TWIST, messages.bindings(by)[topic], T, by)
    assert isinstance(got, Invalid) != accepted
    assert accepted or "header.frame_id is 'map', expected base_link" in got.why


def test_odometry_may_be_bound_to_a_frame_from_the_first_message_on():
    gatherer = messages.Gatherer(config(odometry_frame="map"))
    for i, frame in enumerate(("odom", "/map", "")):
        gatherer.add("vehicle/odometry", ODOMETRY, odometry(T + i, frame=frame), T + i)
    found = gatherer.take()
    assert [o.t - T for o in found.odometry] == [1, 2]
    assert found.invalid[0].why == "header.frame_id is 'odom', expected map (inputs.odometry_frame)"


def test_two_sensors_on_one_topic_are_told_by_their_frames():
    named = dataclasses.replace(Config(), sensors=(("left", Sensor(kind="ultrasonic", topic="us")),))
    gatherer = messages.Gatherer(named)
    for i, frame in enumerate(("us_left", "us_right", "", "us_left")):
        message = Ns(header=header(T + i, frame), min_range=0.2, max_range=5.0, range=1.0)
        gatherer.add("us", "sensor_msgs/msg/Range", message, T + i)
        found = gatherer.take()
        assert len(found.ranges) == (frame != "us_right")
        assert [(bad.source, bad.why) for bad in found.invalid] == (
            [("left", "header.frame_id changed from 'us_left' to 'us_right'")] if frame == "us_right" else []
        )


def test_a_plan_in_a_frame_called_odom_is_not_one_in_the_frame_of_the_odometry():
    binding, kind = messages.bindings(Config())["policy/trajectory"], "trajectory_msgs/msg/MultiDOFJointTrajectory"
    view = TrajectoryView(header(), (), np.zeros((2, 1, 7)), np.zeros((2, 1, 6)), np.zeros(2, np.int64))
    assert isinstance(messages.convert(view, kind, binding, T, Config()), Plan)
    assert "'odom', expected map or base_link" in messages.convert(view, kind, binding, T, Config(), "map").why


@pytest.mark.parametrize(("frame", "accepted"), [("front", True), ("/front", True), ("", True), ("lidar_top", False)])
def test_a_sensor_that_names_its_frame_is_heard_in_that_frame_only(frame, accepted):
    sensor = Sensor(kind="radar", topic="radar", frame="front")
    named = dataclasses.replace(Config(), sensors=(("r", sensor),))
    message = cloud([(10.0, 0.0, 0.0, -5.0)], XYV)
    message.header.frame_id = frame
    got = messages.convert(message, "sensor_msgs/msg/PointCloud2", messages.bindings(named)["radar"], T, named)
    assert isinstance(got, RadarScan) == accepted
    if not accepted:
        assert "header.frame_id is 'lidar_top', expected front" in got.why
