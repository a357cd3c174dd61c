"""Messages of every supported shape become the core's types; what cannot be understood says why."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace as Ns

import numpy as np
import pytest

from safety_supervisor import messages
from safety_supervisor.core.config import Config, ConfigError, Sensor
from safety_supervisor.core.world import DriverMode, Invalid, Odometry, Plan, RadarScan, RangeReading

CONFIG = Config(
    sensors=(
        ("front", Sensor(kind="radar", topic="radar/front")),
        ("flipped", Sensor(kind="radar", topic="radar/flipped", doppler_sign=-1.0)),
        ("ecu", Sensor(kind="radar_tracks", topic="/radar/ecu")),
        ("park", Sensor(kind="ultrasonic", topic="park", range_max=5.0, range_min=0.2)),
    )
)
BINDING = messages.bindings(CONFIG)
T = 5_000_000_000


def stamp(t=T):
    return Ns(sec=t // 10**9, nanosec=t % 10**9)


def header(t=T, frame="odom"):
    return Ns(stamp=stamp(t), frame_id=frame)


def quaternion(yaw=0.0):
    return Ns(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))


def point(x=0.0, y=0.0):
    return Ns(x=x, y=y, z=0.0)


def odometry(t=T, x=0.0, y=0.0, yaw=0.0, speed=10.0, rate=0.0, frame="odom"):
    return Ns(
        header=header(t, frame),
        pose=Ns(pose=Ns(position=point(x, y), orientation=quaternion(yaw))),
        twist=Ns(twist=Ns(linear=point(speed), angular=Ns(x=0.0, y=0.0, z=rate))),
    )


FORMATS = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def cloud(rows, fields, *, step=None, big=False, row_pad=0, height=1):
    """A PointCloud2 of `rows`; `fields` are (name, format, offset)."""
    step = step or max(offset + int(kind[1]) for _, kind, offset in fields)
    order = ">" if big else "<"
    names, formats, offsets = [f[0] for f in fields], [order + f[1] for f in fields], [f[2] for f in fields]
    dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": step})
    array = np.zeros(len(rows), dtype)
    for i, row in enumerate(rows):
        array[i] = tuple(row)
    width = len(rows) // height if height else 0
    data = b"".join(array[k * width : (k + 1) * width].tobytes() + bytes(row_pad) for k in range(height))
    return Ns(
        header=header(frame="radar"), height=height, width=width, point_step=step,
        row_step=width * step + row_pad, is_bigendian=big, data=data, is_dense=True,
        fields=[Ns(name=n, datatype=FORMATS[k], offset=o, count=1) for n, k, o in fields],
    )  # fmt: skip


def convert(msg, msgtype, topic, **keywords):
    return messages.convert(msg, msgtype, BINDING[topic], T + 7, CONFIG, **keywords)


XYV = [("x", "f4", 0), ("y", "f4", 4), ("z", "f4", 8), ("range_rate", "f4", 12)]


# --- odometry, ranges, switches -----------------------------------------------------------------------------


def test_odometry_keeps_pose_speed_and_yaw_rate():
    got = convert(odometry(x=1, y=2, yaw=0.3, speed=4, rate=0.1), "nav_msgs/msg/Odometry", "vehicle/odometry")
    assert got == Odometry(T, 1.0, 2.0, pytest.approx(0.3), 4.0, 0.1)


def test_an_odometry_source_without_yaw_rate_says_nan():
    got = convert(odometry(rate=math.nan), "nav_msgs/Odometry", "vehicle/odometry")
    assert isinstance(got, Odometry)
    assert math.isnan(got.yaw_rate)


@pytest.mark.parametrize(
    ("keywords", "field"),
    [({"x": math.nan}, "pose.position.x"), ({"speed": math.inf}, "twist.linear.x"),
     ({"yaw": math.nan}, "orientation"), ({"rate": math.inf}, "twist.angular.z")],
)  # fmt: skip
def test_odometry_that_is_not_finite_is_invalid_and_names_the_field(keywords, field):
    got = convert(odometry(**keywords), "nav_msgs/Odometry", "vehicle/odometry")
    assert isinstance(got, Invalid)
    assert (got.source, got.t) == ("odometry", T)
    assert field in got.why


def test_an_unset_quaternion_is_invalid():
    msg = odometry()
    msg.pose.pose.orientation = Ns(x=0.0, y=0.0, z=0.0, w=0.0)
    assert "orientation" in convert(msg, "nav_msgs/Odometry", "vehicle/odometry").why


def test_a_stamp_of_zero_is_replaced_by_the_arrival():
    assert convert(odometry(t=0), "nav_msgs/Odometry", "vehicle/odometry").t == T + 7


def range_message(value, low=0.2, high=5.0):
    return Ns(header=header(frame="park"), field_of_view=0.5, min_range=low, max_range=high, range=value)


@pytest.mark.parametrize("value", [1.5, math.inf, -math.inf, 0.0, 9.0])
def test_a_range_passes_through_as_rep_117_says(value):
    got = convert(range_message(value), "sensor_msgs/msg/Range", "park")
    assert got == RangeReading("park", T, value, 0.2, 5.0)


def test_a_range_of_nan_passes_through():
    assert math.isnan(convert(range_message(math.nan), "sensor_msgs/msg/Range", "park").range)


@pytest.mark.parametrize(("low", "high"), [(5, 0.2), (math.nan, 5), (0.2, math.inf), (-1, 5), (0, 0)])
def test_absurd_limits_of_a_range_are_invalid(low, high):
    got = convert(range_message(1.0, low, high), "sensor_msgs/msg/Range", "park")
    assert isinstance(got, Invalid)
    assert "min_range" in got.why


def test_the_driver_takes_over_and_the_release_is_asked_for():
    assert convert(Ns(data=True), "std_msgs/msg/Bool", "vehicle/driver_takeover") == DriverMode(T + 7, True)
    assert convert(Ns(data=True), "std_msgs/msg/Bool", messages.RELEASE_TOPIC) is True
    assert convert(Ns(data=False), "std_msgs/msg/Bool", messages.RELEASE_TOPIC) is False
    assert convert(Ns(), "std_msgs/msg/Empty", messages.RELEASE_TOPIC) is True


# --- radar --------------------------------------------------------------------------------------------------


def test_a_point_cloud_becomes_range_azimuth_and_range_rate():
    got = convert(cloud([(3, 4, 9, -2), (10, 0, 0, 1)], XYV), "sensor_msgs/msg/PointCloud2", "radar/front")
    assert isinstance(got, RadarScan)
    assert not got.from_objects
    np.testing.assert_allclose(got.range, [5, 10])
    np.testing.assert_allclose(got.azimuth, [math.atan2(4, 3), 0])
    np.testing.assert_allclose(got.range_rate, [-2, 1])


@pytest.mark.parametrize("name", ["radial_speed", "range_rate", "v", "velocity", "Doppler", "speed", "vrad"])
def test_every_known_name_of_the_doppler_field_is_found(name):
    fields = [*XYV[:3], (name, "f4", 12)]
    got = convert(cloud([(3, 4, 0, -2)], fields), "sensor_msgs/msg/PointCloud2", "radar/front")
    np.testing.assert_allclose(got.range_rate, [-2])


def test_the_doppler_sign_of_the_sensor_applies():
    got = convert(cloud([(3, 4, 0, 2)], XYV), "sensor_msgs/msg/PointCloud2", "radar/flipped")
    np.testing.assert_allclose(got.range_rate, [-2])


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("height", "row_pad"), [(1, 0), (2, 0), (2, 12)])
def test_padding_rows_and_byte_order_are_respected(big, height, row_pad):
    fields = [("rcs", "i1", 0), ("y", "f8", 3), ("x", "f4", 16), ("doppler", "i2", 21)]
    rows = [(1, 2, 30, -4), (1, -2, 40, 5)]
    msg = cloud(rows, fields, step=32, big=big, height=height, row_pad=row_pad)
    got = convert(msg, "sensor_msgs/msg/PointCloud2", "radar/front")
    np.testing.assert_allclose(got.range, np.hypot([2, 2], [30, 40]))
    np.testing.assert_allclose(got.range_rate, [-4, 5])


def test_polar_fields_serve_where_there_are_no_cartesian_ones():
    fields = [("range", "f4", 0), ("azimuth", "f4", 4), ("range_rate", "f4", 8)]
    got = convert(cloud([(20, 0.5, -3)], fields), "sensor_msgs/msg/PointCloud2", "radar/front")
    np.testing.assert_allclose([got.range[0], got.azimuth[0], got.range_rate[0]], [20, 0.5, -3])


def test_bytes_arrays_and_memory_views_are_read_alike():
    msg = cloud([(3, 4, 0, -2)], XYV)
    for data in (bytearray(msg.data), np.frombuffer(msg.data, np.uint8), memoryview(msg.data)):
        msg.data = data
        np.testing.assert_allclose(convert(msg, "sensor_msgs/PointCloud2", "radar/front").range, [5])


def test_rows_that_are_not_finite_are_dropped():
    msg = cloud([(3, 4, 0, -2), (math.nan, 1, 0, 0), (6, 8, 0, math.inf)], XYV)
    got = convert(msg, "sensor_msgs/PointCloud2", "radar/front")
    np.testing.assert_allclose(got.range, [5])


def test_an_empty_cloud_is_a_scan_without_detections():
    got = convert(cloud([], XYV), "sensor_msgs/PointCloud2", "radar/front")
    assert isinstance(got, RadarScan)
    assert len(got.range) == 0


UNKNOWN_FIELD = Ns(name="i", datatype=99, offset=0, count=1)


def changed_cloud(**changes):
    return Ns(**{**vars(cloud([(3, 4, 0, 1)], XYV)), **changes})


@pytest.mark.parametrize(
    ("msg", "text"),
    [
        (cloud([(3, 4, 0)], XYV[:3]), "no Doppler field"),
        (cloud([(3, 0)], [("z", "f4", 0), ("v", "f4", 4)]), "neither x and y"),
        (cloud([(math.nan, 4, 0, 1)], XYV), "none of 1 rows"),
        (changed_cloud(data=b"1234"), "4 bytes"),
        (changed_cloud(point_step=8), "point_step"),
        (changed_cloud(fields=[*cloud([], XYV).fields, UNKNOWN_FIELD]), "datatype 99"),
        (Ns(header=header()), "fields"),
        (Ns(header=header(), fields=3), "TypeError"),
    ],
)
def test_a_cloud_that_cannot_be_read_is_invalid_and_says_why(msg, text):
    got = convert(msg, "sensor_msgs/msg/PointCloud2", "radar/front")
    assert isinstance(got, Invalid)
    assert got.source == "front"
    assert text in got.why


def test_a_cloud_without_doppler_names_the_fields_it_has():
    assert "x, y, z" in convert(cloud([(3, 4, 0)], XYV[:3]), "sensor_msgs/PointCloud2", "radar/front").why


def radar_track(x, y, vx, vy, wide=0.0, place=(0.0,) * 6, motion=(0.0,) * 6):
    return Ns(position=point(x, y), velocity=point(vx, vy), size=point(0.0, wide), position_covariance=place,
              velocity_covariance=motion)  # fmt: skip


def test_an_object_list_becomes_polar_with_the_velocity_along_the_line_of_sight():
    tracks = [radar_track(30, 40, -3, 1), radar_track(math.nan, 0, 0, 0)]
    msg = Ns(header=header(frame="radar"), tracks=tracks)
    got = convert(msg, "radar_msgs/msg/RadarTracks", "radar/ecu")
    assert got.from_objects
    np.testing.assert_allclose(got.range, [50])
    np.testing.assert_allclose(got.range_rate, [-3 * 0.6 + 1 * 0.8])


@pytest.mark.filterwarnings("error")
def test_velocities_that_are_not_finite_are_left_out_without_a_word():
    broken = [(math.inf, 0.0), (0.0, math.inf), (math.inf, -math.inf), (1e308, 1e308), (math.nan, 0.0)]
    far = radar_track(1e308, 1e308, 1.0, 1.0, 1.0, (1e308,) * 6, (math.inf,) * 6)
    whole = radar_track(9.0, 0, -3, 0)
    tracks = [far, *(radar_track(30.0, y, vx, vy) for vx, vy in broken for y in (0.0, 30.0)), whole]
    got = convert(Ns(header=header(), tracks=tracks), "radar_msgs/msg/RadarTracks", "radar/ecu")
    assert set(got.range[got.range < 20]) == {9.0}
    assert np.isfinite(got.range_rate).all()
    fields = [(n, "f8", 8 * i) for i, n in enumerate(("x", "y", "vx", "vy"))]
    rows = [(30.0, y, vx, vy) for vx, vy in broken for y in (0.0, 30.0)]
    got = convert(cloud([*rows, (9.0, 0.0, -3.0, 0.0)], fields), "sensor_msgs/PointCloud2", "radar/ecu")
    assert got.range[-1] == 9.0
    assert np.isfinite(got.range_rate).all()


def test_the_covariance_of_an_object_list_becomes_polar_and_zero_stays_unknown():
    known = radar_track(0.0, 20.0, 0.0, 1.0, 3.0, (4.0, 0.0, 0.0, 9.0, 0.0, 0.0), (0.04, 0.0, 0.0, 0.25, 0.0, 0.0))
    broken = radar_track(20.0, 0.0, 1.0, 0.0, 0.0, (-1.0, 0.0, 0.0, math.nan, 0.0, 0.0))
    msg = Ns(header=header(), tracks=[known, radar_track(math.nan, 0, 0, 0), broken])
    got = convert(msg, "radar_msgs/msg/RadarTracks", "radar/ecu")
    np.testing.assert_allclose(got.sigma, [[3.0, 2.0 / 20.0, 0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(got.half_width, [1.5, 0.0])
    unknown = convert(Ns(header=header(), tracks=[radar_track(9, 0, 0, 0)]), "radar_msgs/msg/RadarTracks", "radar/ecu")
    assert unknown.sigma is None


def test_validity_and_existence_in_a_list_are_its_trust():
    fields = [(n, "f4", 4 * i) for i, n in enumerate(("x", "y", "vx", "vy", "existence", "valid"))]
    rows = [(30, 40, -3, 1, 80, 1), (9, 0, 0, 0, 100, 0)]
    got = convert(cloud(rows, fields), "sensor_msgs/PointCloud2", "radar/ecu")
    np.testing.assert_allclose(got.trust, [0.8, 0.0])


def test_an_object_list_in_a_point_cloud_is_read_as_objects():
    fields = [("x", "f4", 0), ("y", "f4", 4), ("vx", "f4", 8), ("vy", "f4", 12)]
    got = convert(cloud([(30, 40, -3, 1)], fields), "sensor_msgs/PointCloud2", "radar/ecu")
    assert got.from_objects
    np.testing.assert_allclose(got.range_rate, [-1.0], rtol=1e-6)


def test_a_radar_scan_is_projected_to_the_ground_and_counts_azimuth_counter_clockwise():
    returns = [Ns(range=20.0, azimuth=0.1, elevation=math.pi / 3, doppler_velocity=2.0, amplitude=1.0)]
    got = convert(Ns(header=header(), returns=returns), "radar_msgs/msg/RadarScan", "radar/flipped")
    np.testing.assert_allclose([got.range[0], got.azimuth[0], got.range_rate[0]], [10, 0.1, -2])


def test_lists_without_objects_are_scans_without_detections():
    assert len(convert(Ns(header=header(), tracks=[]), "radar_msgs/msg/RadarTracks", "radar/ecu").range) == 0
    assert len(convert(Ns(header=header(), returns=[]), "radar_msgs/msg/RadarScan", "radar/front").range) == 0


def test_a_type_that_does_not_fit_the_sensor_is_invalid():
    got = convert(range_message(1.0), "sensor_msgs/msg/Range", "radar/front")
    assert isinstance(got, Invalid)
    assert "sensor_msgs/PointCloud2" in got.why


# --- plans --------------------------------------------------------------------------------------------------


def multi_dof(points, frame="odom", t=T, names=("base_link",)):
    """Points are (time, x, y, yaw, speed or None)."""
    return Ns(
        header=header(t, frame),
        joint_names=list(names),
        points=[
            Ns(
                transforms=[Ns(translation=point(x, y), rotation=quaternion(yaw))],
                velocities=[] if v is None else [Ns(linear=point(v), angular=point())],
                time_from_start=stamp(round(time * 1e9)),
            )
            for time, x, y, yaw, v in points
        ],
    )


PLAN = "policy/trajectory"
MULTI = "trajectory_msgs/msg/MultiDOFJointTrajectory"
PATH = "nav_msgs/msg/Path"
AUTOWARE = "autoware_planning_msgs/msg/Trajectory"


def test_a_multi_dof_trajectory_is_a_plan():
    plan = convert(multi_dof([(0, 1, 2, 0.1, 3), (0.5, 2, 3, 0.2, 4)]), MULTI, PLAN)
    assert isinstance(plan, Plan)
    assert plan.t == T
    wanted = {"time": [0, 0.5], "x": [1, 2], "y": [2, 3], "yaw": [0.1, 0.2], "speed": [3, 4]}
    for name, values in wanted.items():
        np.testing.assert_allclose(getattr(plan, name), values)


def test_speeds_follow_from_times_when_a_trajectory_has_none():
    plan = convert(multi_dof([(0, 0, 0, 0, None), (1, 2, 0, 0, None), (2, 6, 0, 0, None)]), MULTI, PLAN)
    np.testing.assert_allclose(plan.speed, [2, 3, 4])


def test_a_reversing_trajectory_has_negative_speeds():
    plan = convert(multi_dof([(0, 0, 0, 0, None), (1, -2, 0, 0, None)]), MULTI, PLAN)
    np.testing.assert_allclose(plan.speed, [-2, -2])


def test_content_problems_of_a_plan_are_left_to_the_plan_check():
    plan = convert(multi_dof([(1, math.nan, 0, 0, 1), (0, 1, 0, 0, 1)]), MULTI, PLAN)
    assert isinstance(plan, Plan)
    assert math.isnan(plan.x[0])
    assert isinstance(convert(multi_dof([]), MULTI, PLAN), Plan)


def test_a_plan_in_the_body_frame_is_placed_by_the_newest_odometry():
    ego = Odometry(T, 10.0, 20.0, math.pi / 2, 5.0, 0.0)
    plan = convert(multi_dof([(0, 0, 0, 0, 5), (1, 5, 1, 0, 5)], "base_link"), MULTI, PLAN, odometry=ego)
    np.testing.assert_allclose(plan.x, [10, 9], atol=1e-12)
    np.testing.assert_allclose(plan.y, [20, 25])
    np.testing.assert_allclose(plan.yaw, [math.pi / 2] * 2)


def test_a_pose_older_than_the_plan_is_moved_on_to_its_stamp():
    ego = Odometry(T - 100_000_000, 0.0, 0.0, 0.0, 20.0, 0.0)
    plan = convert(multi_dof([(0, 0, 0, 0, 20)], "base_link"), MULTI, PLAN, odometry=ego)
    np.testing.assert_allclose(plan.x, [2.0])


@pytest.mark.parametrize(("frame", "text"), [("map", "'map'"), ("", "''"), ("base_link", "no odometry yet")])
def test_a_plan_in_another_frame_is_invalid(frame, text):
    got = convert(multi_dof([(0, 0, 0, 0, 1)], frame), MULTI, PLAN)
    assert isinstance(got, Invalid)
    assert got.source == "plan"
    assert text in got.why


def test_a_plan_in_the_frame_of_the_odometry_is_used_as_it_is():
    got = convert(multi_dof([(0, 3, 0, 0, 1)], "/local"), MULTI, PLAN, frame="local")
    np.testing.assert_allclose(got.x, [3])


def test_points_without_transform_or_with_gaps_in_the_speeds_are_invalid():
    broken = multi_dof([(0, 0, 0, 0, 1), (1, 1, 0, 0, 1)])
    broken.points[1].transforms = []
    assert "points[1].transforms" in convert(broken, MULTI, PLAN).why
    gaps = multi_dof([(0, 0, 0, 0, 1), (1, 1, 0, 0, None)])
    assert "points[1].velocities" in convert(gaps, MULTI, PLAN).why


def path(points, stamps, yaws=None, frame="odom"):
    yaws = yaws or [0.0] * len(points)
    return Ns(
        header=header(frame=frame),
        poses=[
            Ns(header=header(s), pose=Ns(position=point(*p), orientation=quaternion(y)))
            for p, s, y in zip(points, stamps, yaws, strict=True)
        ],
    )


def test_a_path_with_times_gets_its_speeds_and_headings_from_them():
    second = 10**9
    plan = convert(path([(0, 0), (0, 3), (0, 6)], [T, T + second, T + 2 * second]), PATH, PLAN)
    np.testing.assert_allclose(plan.time, [0, 1, 2])
    np.testing.assert_allclose(plan.speed, [3, 3, 3])
    np.testing.assert_allclose(plan.yaw, [math.pi / 2] * 3)


def test_a_path_without_times_is_driven_at_the_present_speed():
    ego = Odometry(T, 0.0, 0.0, 0.0, 5.0, 0.0)
    plan = convert(path([(0, 0), (10, 0)], [0, 0]), PATH, PLAN, odometry=ego)
    np.testing.assert_allclose(plan.time, [0, 2])
    np.testing.assert_allclose(plan.speed, [5, 5])
    standing = Odometry(T, 0.0, 0.0, 0.0, 0.0, 0.0)
    plan = convert(path([(0, 0), (1, 0)], [0, 0]), PATH, PLAN, odometry=standing)
    np.testing.assert_allclose(plan.time, [0, 2])
    assert isinstance(convert(path([(0, 0), (1, 0)], [0, 0]), PATH, PLAN), Invalid)


def test_a_path_of_equal_poses_and_an_empty_one_do_not_break():
    ego = Odometry(T, 0.0, 0.0, 0.0, 5.0, 0.0)
    for points in ([], [(1, 1)], [(1, 1), (1, 1)]):
        plan = convert(path(points, [0] * len(points)), PATH, PLAN, odometry=ego)
        assert isinstance(plan, Plan)
        assert len(plan.time) == len(points)


def test_an_autoware_trajectory_without_times_gets_them_from_its_speeds():
    def at(x, v):
        pose = Ns(position=point(x), orientation=quaternion())
        return Ns(pose=pose, longitudinal_velocity_mps=v, time_from_start=stamp(0))

    points = [at(0, 10), at(10, 10), at(15, 0)]
    plan = convert(Ns(header=header(), points=points), AUTOWARE, PLAN)
    np.testing.assert_allclose(plan.time, [0, 1, 2])
    np.testing.assert_allclose(plan.speed, [10, 10, 0])


# --- topics and gathering -----------------------------------------------------------------------------------


def test_names_with_and_without_leading_slash_are_one_topic():
    assert BINDING["radar/ecu"] == messages.Binding("sensor", "ecu")
    assert BINDING[messages.normalised("/vehicle/odometry")].role == "odometry"


def test_two_inputs_on_one_topic_are_refused():
    sensor = Sensor(topic="/policy/trajectory")
    with pytest.raises(ConfigError, match="both plan and front"):
        messages.bindings(Config(sensors=(("front", sensor),)))


def test_what_is_taken_does_not_depend_on_the_order_across_topics():
    arrivals = [
        ("/vehicle/odometry", "nav_msgs/msg/Odometry", odometry(T - 10, x=1.0, frame="local"), T + 1),
        ("/vehicle/odometry", "nav_msgs/msg/Odometry", odometry(T, x=2.0, frame="local"), T + 3),
        ("radar/front", "sensor_msgs/msg/PointCloud2", cloud([(3, 4, 0, -2)], XYV), T + 2),
        ("policy/trajectory", MULTI, multi_dof([(0, 0, 0, 0, 5)], "base_link"), T + 2),
        ("radar/front", "sensor_msgs/msg/PointCloud2", Ns(), T + 4),
    ]
    taken = []
    for order in ([0, 1, 2, 3, 4], [3, 2, 4, 0, 1], [4, 3, 2, 1, 0]):
        gatherer = messages.Gatherer(CONFIG)
        for i in order:
            assert gatherer.add(*arrivals[i])
        taken.append(gatherer.take())
    for inputs in taken:
        assert [o.x for o in inputs.odometry] == [1.0, 2.0]
        assert inputs.plans[0].x[0] == 2.0
        assert len(inputs.radar) == 1
        assert [i.source for i in inputs.invalid] == ["front"]
        assert inputs.consumed == (("policy/trajectory", 1), ("radar/front", 2), ("vehicle/odometry", 2))
        assert not inputs.release


def test_the_gatherer_forgets_what_was_taken_and_ignores_other_topics():
    gatherer = messages.Gatherer(CONFIG)
    assert not gatherer.add("/camera", "sensor_msgs/msg/Image", Ns(), T)
    assert gatherer.add(messages.RELEASE_TOPIC, "std_msgs/msg/Empty", Ns(), T)
    assert gatherer.take().release
    assert gatherer.take() == type(gatherer.take())()


def test_a_message_that_could_not_be_decoded_is_invalid_and_says_why():
    got = convert(messages.Unreadable("3 bytes missing"), "nav_msgs/msg/Odometry", "vehicle/odometry")
    assert isinstance(got, Invalid)
    assert "3 bytes missing" in got.why


@pytest.mark.parametrize("topic", sorted(BINDING))
@pytest.mark.parametrize("msg", [None, Ns(), Ns(header=None), Ns(header=Ns(stamp=Ns(sec="x", nanosec=0))), 3])
def test_nonsense_on_any_topic_never_raises(topic, msg):
    gatherer = messages.Gatherer(CONFIG)
    for kinds in messages.TYPES.values():
        for kind in kinds:
            gatherer.add(topic, kind, msg, T)
    inputs = gatherer.take()
    if topic != messages.RELEASE_TOPIC:  # an Empty message has no content that could be wrong
        assert len(inputs.invalid) == sum(map(len, messages.TYPES.values()))


def test_json_is_valid_and_canonical():
    line = messages.json_line({"a": messages._number(math.nan), "b": messages._number(-0.0), "c": "é"})
    assert line == '{"a":null,"b":0.0,"c":"é"}'
    assert json.loads(line)
    with pytest.raises(ValueError, match="JSON"):
        messages.json_line({"a": math.nan})
