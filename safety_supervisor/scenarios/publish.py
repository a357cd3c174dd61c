"""What a vehicle would publish: standard messages, as plain attribute objects that a bag writer serialises.

Numbers are rounded as the message definitions say (float32 in point clouds and ranges), so that a supervisor in
the closed loop is fed exactly what a replay of the recording reads back. Stamps are int nanoseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace as Shape
from typing import Any

import numpy as np

from safety_supervisor.core.config import Sensor
from safety_supervisor.core.world import NANOSECONDS, Floats, nanoseconds
from safety_supervisor.messages import normalised

POINT_FIELDS = ("x", "y", "z", "range_rate")
FLOAT32 = 7
"""Datatype of sensor_msgs/PointField."""
ULTRASOUND = 0
"""Radiation type of sensor_msgs/Range."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message on the vehicle's network: `t` is when it arrives [ns]."""

    topic: str
    msgtype: str
    t: int
    body: Any


def stamp(t: int) -> Shape:
    """Return builtin_interfaces/Time or Duration of `t` [ns]."""
    return Shape(sec=t // NANOSECONDS, nanosec=t % NANOSECONDS)


def _header(t: int, frame: str) -> Shape:
    return Shape(stamp=stamp(t), frame_id=frame)


def _vector(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Shape:
    return Shape(x=float(x), y=float(y), z=float(z))


def _rotation(yaw: float) -> Shape:
    return Shape(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))


def _twist(speed: float, yaw_rate: float) -> Shape:
    return Shape(linear=_vector(speed), angular=_vector(z=yaw_rate))


def odometry(
    topic: str, t: int, arrival: int, pose: tuple[float, float, float], speed: float, yaw_rate: float
) -> Message:
    """nav_msgs/Odometry of `base_link` in `odom`; pose is x, y [m], yaw [rad]. Covariance zero: not given."""
    x, y, yaw = pose
    body = Shape(
        header=_header(t, "odom"),
        child_frame_id="base_link",
        pose=Shape(pose=Shape(position=_vector(x, y), orientation=_rotation(yaw)), covariance=np.zeros(36)),
        twist=Shape(twist=_twist(speed, yaw_rate), covariance=np.zeros(36)),
    )
    return Message("/" + normalised(topic), "nav_msgs/msg/Odometry", arrival, body)


def point_cloud(name: str, sensor: Sensor, t: int, arrival: int, scan: Floats) -> Message:
    """sensor_msgs/PointCloud2 of a scan (N, 3): range [m], azimuth [rad], range rate [m/s]; sensor's frame."""
    reach, azimuth, rate = scan.T
    x, y, z = reach * np.cos(azimuth), reach * np.sin(azimuth), np.zeros_like(reach)
    columns = (x, y, z, rate * sensor.doppler_sign)
    data = np.ascontiguousarray(np.stack(columns, axis=1).astype("<f4")).view(np.uint8).reshape(-1)
    step = 4 * len(POINT_FIELDS)
    fields = [Shape(name=name, offset=4 * i, datatype=FLOAT32, count=1) for i, name in enumerate(POINT_FIELDS)]
    body = Shape(
        header=_header(t, name), height=1, width=len(scan), fields=fields, is_bigendian=False, point_step=step,
        row_step=step * len(scan), data=data, is_dense=True,
    )  # fmt: skip
    return Message("/" + normalised(sensor.topic), "sensor_msgs/msg/PointCloud2", arrival, body)


def ping(name: str, sensor: Sensor, t: int, arrival: int, echo: float) -> Message:
    """sensor_msgs/Range of one transducer [m], REP-117."""
    low, high, value, view = (
        float(np.float32(v)) for v in (sensor.range_min, sensor.range_max, echo, 2 * sensor.half_angle)
    )
    body = Shape(
        header=_header(t, name), radiation_type=ULTRASOUND, field_of_view=view, min_range=low, max_range=high,
        range=value, variance=0.0,
    )  # fmt: skip
    return Message("/" + normalised(sensor.topic), "sensor_msgs/msg/Range", arrival, body)


def trajectory(topic: str, t: int, arrival: int, points: Sequence[Floats]) -> Message:
    """trajectory_msgs/MultiDOFJointTrajectory in `odom`: time [s], x, y [m], yaw [rad], speed [m/s]."""
    shapes = [
        Shape(
            transforms=[Shape(translation=_vector(x, y), rotation=_rotation(yaw))],
            velocities=[_twist(speed, 0.0)],
            accelerations=[],
            time_from_start=stamp(nanoseconds(time)),
        )
        for time, x, y, yaw, speed in zip(*(p.tolist() for p in points), strict=True)
    ]
    body = Shape(header=_header(t, "odom"), joint_names=["base_link"], points=shapes)
    return Message("/" + normalised(topic), "trajectory_msgs/msg/MultiDOFJointTrajectory", arrival, body)


def text(topic: str, t: int, data: str) -> Message:
    """std_msgs/String."""
    return Message(topic, "std_msgs/msg/String", t, Shape(data=data))
