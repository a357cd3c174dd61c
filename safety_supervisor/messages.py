"""ROS-shaped messages to the core's types, and decisions to plain data, without rclpy and bag readers.

Messages are read by attribute only, so what rclpy delivers and what a bag reader gives make the same inputs.
A message that cannot be understood becomes an `Invalid` that names the field; nothing here raises on content.
Numbers inside a plan pass as they are (NaN, unordered, too short): the plan check names those.
Radar readings stay in their sensor's frame, plans end in the frame of the odometry.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from safety_supervisor import cdr
from safety_supervisor.core.config import Config, ConfigError, Sensor, aliases
from safety_supervisor.core.world import (
    NANOSECONDS,
    Arc,
    Bools,
    ControlCommand,
    Decision,
    DriverMode,
    Floats,
    FreeRoom,
    Heartbeat,
    Inputs,
    Invalid,
    Mode,
    Odometry,
    Plan,
    RadarScan,
    RangeReading,
    SeenObjects,
    Threat,
    Tracks,
    seconds,
    sorted_counts,
)

RELEASE_TOPIC = "safety/release"
"""An explicit release after an emergency stop: std_msgs/Empty, or std_msgs/Bool that is true."""
MRM_TOPIC = "safety/mrm"
"""A stop asked for from outside, std_msgs/UInt8: the place in `REQUESTS`."""
REQUESTS = (Mode.NOMINAL, Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP)
BODY_FRAME, FOOT_FRAME = "base_link", "base_footprint"
"""Names of the vehicle body; seen from above, and in speed, the second one is the first (REP-120)."""
VEHICLE_ROLES = ("odometry", "imu", "plan", "control", "heartbeat", "objects", "room", "driver")
"""Inputs of the whole vehicle that are named in `inputs`."""
ODOMETRY_FRAME = "odom"
"""Frame of an odometry that names none, or that is integrated from speeds."""
STEADY = ("odometry", "imu", "sensor")
"""Roles that keep the frame of their first message: what is known of them, and what was tracked, holds in that one."""

RADAR_TYPES = ("sensor_msgs/PointCloud2", "radar_msgs/RadarScan", "radar_msgs/RadarTracks")
RANGE_TYPES = ("sensor_msgs/Range",)
PLAN_TYPES = (
    "trajectory_msgs/MultiDOFJointTrajectory",
    "nav_msgs/Path",
    "autoware_planning_msgs/Trajectory",
)
CONTROL_TYPES = ("geometry_msgs/TwistStamped", "autoware_control_msgs/Control", "ackermann_msgs/AckermannDriveStamped")
OBJECT_TYPES = (
    "geometry_msgs/PoseArray",
    "vision_msgs/Detection3DArray",
    "autoware_perception_msgs/PredictedObjects",
    "autoware_perception_msgs/TrackedObjects",
    "autoware_perception_msgs/DetectedObjects",
)
TYPES = {
    "odometry": ("nav_msgs/Odometry",),
    "twist": ("geometry_msgs/TwistStamped",),
    "imu": ("sensor_msgs/Imu",),
    "plan": PLAN_TYPES,
    "control": CONTROL_TYPES,
    "heartbeat": ("std_msgs/Empty", "std_msgs/Header"),
    "objects": OBJECT_TYPES,
    "room": ("std_msgs/Float64MultiArray",),
    "driver": ("std_msgs/Bool", "autoware_vehicle_msgs/ControlModeReport"),
    "release": ("std_msgs/Empty", "std_msgs/Bool"),
    "mrm": ("std_msgs/UInt8",),
    "radar": RADAR_TYPES,
    "radar_tracks": RADAR_TYPES,
    "ultrasonic": RANGE_TYPES,
}
"""Message types that each role or kind of sensor understands."""

DECISION_SCHEMA = 1
"""Of decision records; a key that is added leaves it, one that goes or changes its meaning raises it."""

DOPPLER_FIELDS = (
    "radial_speed", "range_rate", "radial_velocity", "doppler_velocity", "doppler", "velocity", "vrad",
    "vr", "v", "speed",
)  # fmt: skip
RANGE_FIELDS = ("range", "distance", "r")
AZIMUTH_FIELDS = ("azimuth", "azimuth_angle", "angle")
AUTONOMOUS_MODES = (1, 3)
"""Control modes of autoware_vehicle_msgs in which the stack drives and brakes; in every other one a human does."""
RETURNS_MAX, PLAN_POINTS_MAX = 100_000, 2_000
OBJECTS_MAX = 10_000
"""More returns or points than any sensor or planner sends: a message that claims them is refused unread."""
IMU_AGE_MAX = NANOSECONDS // 2
"""A yaw rate older than this [ns] does not replace the odometry's own."""
POINT_FORMATS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
CREEP = 0.5
"""Least speed [m/s] at which a path without times is taken to be driven."""



@dataclass(frozen=True, slots=True)
class YawRate:
    """What an inertial sensor says of the vehicle's rotation at time `t`."""

    t: int
    rate: float


@dataclass(frozen=True, slots=True)
class Motion:
    """Speed and yaw rate without a pose, at time `t`."""

    t: int
    speed: float
    yaw_rate: float


World = (
    Odometry | Motion | YawRate | RadarScan | RangeReading | Plan | DriverMode | Mode | bool | Invalid
    | ControlCommand | Heartbeat | SeenObjects | FreeRoom
)  # fmt: skip
"""What one message becomes; a bool is a release, a mode a stop that is asked for."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a topic is for: `role` is odometry, twist, imu, plan, driver, release, mrm, sensor; `name` says which."""

    role: str
    name: str


@dataclass(frozen=True, slots=True)
class _Context:
    """What the meaning of a message depends on besides itself."""

    name: str
    t: int
    sensor: Sensor | None
    frame: str
    """Frame of the odometry."""
    body: str
    """Frame of the vehicle body."""
    odometry: Odometry | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a message whose bytes could not be decoded, so that it is still counted and named."""

    why: str


class _MalformedError(ValueError):
    """A message is structurally unusable; the text names the field."""


# --- topics -------------------------------------------------------------------------------------------------


def normalised(topic: str) -> str:
    """Return a topic name without the leading slash: relative and absolute names of one topic are equal."""
    return topic.lstrip("/")


def plain_type(msgtype: str) -> str:
    """Return `package/Type` for `package/msg/Type` and `package/Type`."""
    return msgtype.replace("/msg/", "/")


def bindings(config: Config) -> dict[str, Binding]:
    """Return what each topic of a configuration is for, by normalised name.

    Raises `ConfigError` when two inputs name the same topic: one of them would silently see nothing.
    """
    found: dict[str, Binding] = {}
    inputs = config.inputs
    wanted = [(getattr(inputs, role), Binding(role, role)) for role in VEHICLE_ROLES]
    wanted += [(topic, Binding("plan", f"plan_{i}")) for i, topic in enumerate(candidates(inputs.candidates), 1)]
    if not inputs.odometry:  # it stands in for it, in findings too
        wanted.append((inputs.twist, Binding("twist", "odometry")))
    wanted += [(RELEASE_TOPIC, Binding("release", "release")), (MRM_TOPIC, Binding("mrm", "mrm"))]
    wanted += [(sensor.topic, Binding("sensor", name)) for name, sensor in config.sensors]
    for topic, binding in wanted:
        key = normalised(topic)
        if key in found:
            raise ConfigError(f"topic {topic!r} is named for both {found[key].name} and {binding.name}")
        if key:
            found[key] = binding
    return found


def candidates(text: str) -> list[str]:
    """Return the topics of `inputs.candidates`, in order."""
    return [topic.strip() for topic in text.split(",") if topic.strip()]


# --- one message --------------------------------------------------------------------------------------------


def convert(
    msg: Any,
    msgtype: str,
    binding: Binding,
    arrival: int,
    config: Config,
    frame: str | None = None,
    odometry: Odometry | None = None,
) -> World:
    """Turn one message into what the core understands, or into an `Invalid` that says why not.

    `frame` is the frame of the odometry messages, `odometry` the newest one: it places a plan in `base_link`.
    """
    source = "driver" if binding.role == "release" else binding.name
    t = arrival
    if isinstance(msg, Unreadable):
        return Invalid(source, t, f"{msgtype} could not be decoded: {msg.why}")
    try:
        t = stamp(msg, arrival)
        sensor = dict(config.sensors)[binding.name] if binding.role == "sensor" else None
        role = sensor.kind if sensor else binding.role
        if plain_type(msgtype) not in TYPES[role]:
            raise _MalformedError(f"{msgtype} is not understood here, expected {' or '.join(TYPES[role])}")
        context = _Context(binding.name, t, sensor, _frame(frame) or fixed_frame(config), body_frame(config), odometry)
        if sensor and sensor.frame and _frame(msg.header.frame_id) not in ("", _frame(sensor.frame)):
            raise _MalformedError(f"header.frame_id is {msg.header.frame_id!r}, expected {sensor.frame}")
        with np.errstate(invalid="ignore", over="ignore"):  # broken bytes: what is not finite is left out or refused
            world: World = _READERS[plain_type(msgtype)](msg, context)
        if isinstance(world, Plan) and binding.name != "plan":
            return replace(world, candidate=int(binding.name.removeprefix("plan_")))
        return world
    except AttributeError as error:
        return Invalid(source, t, f"{msgtype} has no field {error.name}")
    except _MalformedError as error:
        return Invalid(source, t, str(error))
    except Exception as error:  # content from outside: what it breaks is a finding, never a crash
        return Invalid(source, t, f"{msgtype}: {type(error).__name__}: {error}")


def stamp(msg: Any, arrival: int) -> int:
    """Header stamp [ns]; arrival for messages without header and for a stamp of zero, which means not set."""
    header = getattr(msg, "header", None)
    return (_time(header.stamp) if header is not None else 0) or arrival


def _time(stamp: Any) -> int:
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def _frame(name: str | None) -> str:
    return (name or "").lstrip("/")


def fixed_frame(config: Config) -> str:
    """Return the frame of ego's poses while no odometry has named one."""
    return _frame(config.inputs.odometry_frame) or ODOMETRY_FRAME


def body_frame(config: Config) -> str:
    """Return the frame of the vehicle body."""
    return _frame(config.inputs.body_frame) or BODY_FRAME


def _is_body(name: str, context: _Context) -> bool:
    return _frame(name) == context.body or (context.body == BODY_FRAME and _frame(name) == FOOT_FRAME)


def _require_body(name: str, field: str, context: _Context) -> None:
    """Refuse a motion that is not that of the vehicle body; an empty name says nothing."""
    if _frame(name) and not _is_body(name, context):
        raise _MalformedError(f"{field} is {name!r}, expected {context.body} (inputs.body_frame)")


def _yaw_of(x: float, y: float, z: float, w: float) -> float:
    """`_yaw` of one quaternion."""
    norm = x * x + y * y + z * z + w * w
    rotation = 0.81 < norm < 1.21
    return float(np.arctan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)) if rotation else math.nan


def _yaw(x: Any, y: Any, z: Any, w: Any) -> Any:
    """Yaw of unit quaternions (REP-103: about z), NaN where they are no rotation at all."""
    norm = x * x + y * y + z * z + w * w
    yaw = np.arctan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)
    return np.where((norm > 0.81) & (norm < 1.21), yaw, np.nan)


def _require_finite(**values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise _MalformedError(f"{name.replace('__', '.')} is {value}, expected a finite number")


def _odometry(msg: Any, context: _Context) -> Odometry:
    _require_body(str(getattr(msg, "child_frame_id", "")), "child_frame_id", context)
    if isinstance(msg, cdr.OdometryView):
        x, y, q, speed, rate = msg.numbers[0], msg.numbers[1], msg.numbers[3:7], msg.numbers[7], msg.numbers[12]
    else:
        pose, twist, turn = msg.pose.pose, msg.twist.twist, msg.pose.pose.orientation
        x, y, speed = float(pose.position.x), float(pose.position.y), float(twist.linear.x)
        q, rate = (float(turn.x), float(turn.y), float(turn.z), float(turn.w)), float(twist.angular.z)
    yaw = _yaw_of(*q)
    if math.isnan(yaw):
        raise _MalformedError(f"pose.orientation is no unit quaternion: {', '.join(map(str, q))}")
    _require_finite(pose__position__x=x, pose__position__y=y, twist__linear__x=speed)
    return Odometry(context.t, x, y, yaw, speed, _rate(rate, "twist.angular.z"))


def _rate(value: Any, field: str) -> float:
    rate = float(value)
    if math.isinf(rate):
        raise _MalformedError(f"{field} is {rate}, expected a finite number or NaN for none")
    return rate


def _twist(msg: Any, context: _Context) -> Motion:
    _require_body(msg.header.frame_id, "header.frame_id", context)
    speed = float(msg.twist.linear.x)
    _require_finite(twist__linear__x=speed)
    return Motion(context.t, speed, _rate(msg.twist.angular.z, "twist.angular.z"))


def _command_or_twist(msg: Any, context: _Context) -> Motion | ControlCommand:
    if context.name != "control":
        return _twist(msg, context)
    _require_body(msg.header.frame_id, "header.frame_id", context)
    speed, rate = float(msg.twist.linear.x), float(msg.twist.angular.z)
    _require_finite(twist__linear__x=speed, twist__angular__z=rate)
    # Below walking pace the quotient is noise, and a robot may turn on the spot.
    return ControlCommand(context.t, math.nan, speed, rate / speed if abs(speed) > 1.0 else math.nan)


def _control(msg: Any, context: _Context) -> ControlCommand:
    """The steering angle says nothing of the curvature without a wheelbase, which is not declared."""
    along = msg.longitudinal
    speed, acceleration = float(along.velocity), float(along.acceleration)
    _require_finite(longitudinal__velocity=speed, longitudinal__acceleration=acceleration)
    return ControlCommand(context.t, acceleration, speed, math.nan)


def _ackermann(msg: Any, context: _Context) -> ControlCommand:
    speed, acceleration = float(msg.drive.speed), float(msg.drive.acceleration)
    _require_finite(drive__speed=speed, drive__acceleration=acceleration)
    # An acceleration of 0 means "as fast as possible" there.
    return ControlCommand(context.t, acceleration or math.nan, speed, math.nan)


def _heartbeat(_msg: Any, context: _Context) -> Heartbeat:
    return Heartbeat(context.t)


def _pose_array(msg: Any, context: _Context) -> SeenObjects:
    return _seen([(p.position.x, p.position.y) for p in msg.poses], msg.header.frame_id, context)


def _detections(msg: Any, context: _Context) -> SeenObjects:
    centres = [d.bbox.center.position for d in msg.detections]
    return _seen([(c.x, c.y) for c in centres], msg.header.frame_id, context)


def _object_list(msg: Any, context: _Context) -> SeenObjects:
    found = []
    for item in msg.objects:
        known = item.kinematics
        first = getattr(known, "initial_pose_with_covariance", None) or known.pose_with_covariance
        found.append((first.pose.position.x, first.pose.position.y))
    return _seen(found, msg.header.frame_id, context)


def _seen(places: Sequence[tuple[float, float]], frame_id: str, context: _Context) -> SeenObjects:
    """Return reported places in the frame of the odometry, without those that are no numbers."""
    _bounded(len(places), OBJECTS_MAX, "objects")
    xy = np.array(places, np.float64).reshape(-1, 2)
    xy = xy[np.isfinite(xy).all(axis=1)]
    if context.odometry is None:
        raise _MalformedError("objects came before any odometry, so they cannot be placed")
    x0, y0, yaw0 = _pose_at(context.odometry, context.t)
    if _is_body(frame_id, context):
        c, s = math.cos(yaw0), math.sin(yaw0)
        xy = np.stack([x0 + c * xy[:, 0] - s * xy[:, 1], y0 + s * xy[:, 0] + c * xy[:, 1]], axis=1)
    elif _frame(frame_id) != context.frame:
        raise _MalformedError(f"header.frame_id is {frame_id!r}, expected {context.frame} or {context.body}")
    return SeenObjects(context.t, xy[:, 0], xy[:, 1], x0, y0)


def _room(msg: Any, context: _Context) -> FreeRoom:
    if len(msg.data) != 2:
        raise _MalformedError(f"data has {len(msg.data)} numbers, expected the free room to the left and to the right")
    left, right = (float(value) for value in msg.data)
    if not (0.0 <= left < math.inf and 0.0 <= right < math.inf):
        raise _MalformedError(f"data is {left:g}, {right:g}, expected two lengths [m], at least 0")
    return FreeRoom(context.t, left, right)


def _imu(msg: Any, context: _Context) -> YawRate:
    """The sensor's z axis points up; an unknown rotation is marked by -1 in its covariance."""
    rate = float(msg.angular_velocity.z)
    _require_finite(angular_velocity__z=rate)
    if float(msg.angular_velocity_covariance[0]) == -1.0:
        raise _MalformedError("angular_velocity_covariance[0] is -1: this sensor measures no rotation")
    return YawRate(context.t, rate)


def _control_mode(msg: Any, context: _Context) -> DriverMode:
    return DriverMode(context.t, int(msg.mode) not in AUTONOMOUS_MODES)


def _bool_message(msg: Any, context: _Context) -> DriverMode | bool:
    value = bool(msg.data)
    return value if context.name == "release" else DriverMode(context.t, value)


def _request(msg: Any, _context: _Context) -> Mode:
    level = int(msg.data)
    if level >= len(REQUESTS):
        raise _MalformedError(f"data is {level}, expected 0 to {len(REQUESTS) - 1}")
    return REQUESTS[level]


def _empty_message(_msg: Any, context: _Context) -> bool | Heartbeat:
    return Heartbeat(context.t) if context.name == "heartbeat" else True


def _range_message(msg: Any, context: _Context) -> RangeReading:
    low, high = float(msg.min_range), float(msg.max_range)
    if not 0.0 <= low < high < math.inf:
        raise _MalformedError(f"min_range {low:g} and max_range {high:g} are no interval of distances")
    return RangeReading(context.name, context.t, float(msg.range), low, high)


# --- radar --------------------------------------------------------------------------------------------------


def _usable(distance: Floats, azimuth: Floats, rate: Floats) -> Bools:
    return np.asarray(np.isfinite(distance) & np.isfinite(azimuth) & np.isfinite(rate) & (distance >= 0.0))


def _scan(context: _Context, objects: bool, distance: Floats, azimuth: Floats, rate: Floats) -> RadarScan:
    """Build a scan from the finite rows; a scan that has rows and none of them usable is refused."""
    usable = _usable(distance, azimuth, rate)
    if len(usable) and not usable.any():
        raise _MalformedError(f"none of {len(usable)} rows has a finite range, azimuth and range rate")
    assert context.sensor is not None
    objects = objects or context.sensor.kind == "radar_tracks"
    return RadarScan(context.name, context.t, distance[usable], azimuth[usable], rate[usable], objects)


def _point_cloud(msg: Any, context: _Context) -> RadarScan:
    assert context.sensor is not None
    sensor = context.sensor
    found, listed = _point_fields(msg, sensor)
    vector = sensor.kind == "radar_tracks" and {"x", "y", "vx", "vy"} <= found.keys()
    if "doppler" not in found and not vector:
        raise _MalformedError(f"no Doppler field ({', '.join(DOPPLER_FIELDS)}) among the fields {listed}")
    cartesian = "x" in found and "y" in found
    if not cartesian and not {"range", "azimuth"} <= found.keys():
        raise _MalformedError(f"neither x and y nor range and azimuth among the fields {listed}")
    rows = _rows(msg)
    if cartesian:
        x, y = _column(rows, found["x"]), _column(rows, found["y"])
        distance, azimuth = np.hypot(x, y), np.arctan2(y, x)
    else:
        distance, azimuth = _column(rows, found["range"]), _column(rows, found["azimuth"])
        azimuth = np.radians(azimuth) if sensor.angle_unit == "deg" else azimuth
    if vector:
        rate = _column(rows, found["vx"]) * np.cos(azimuth) + _column(rows, found["vy"]) * np.sin(azimuth)
    else:
        rate = _column(rows, found["doppler"]) * sensor.doppler_sign
    scan = _scan(context, vector, distance, azimuth, rate)
    if not scan.from_objects or not {"existence", "valid"} & found.keys():
        return scan
    trust = np.ones(len(distance))
    if "existence" in found:
        trust = _column(rows, found["existence"])
        trust = trust / 100 if np.nanmax(trust, initial=0.0) > 1.0 else trust  # in per cent
    if "valid" in found:
        trust = np.where(_column(rows, found["valid"]) > 0, trust, 0.0)
    usable = _usable(distance, azimuth, rate)
    return replace(scan, trust=trust[usable])


KNOWN_FIELDS = {
    "x": ("x",), "y": ("y",), "vx": ("vx",), "vy": ("vy",),
    "range": RANGE_FIELDS, "azimuth": AZIMUTH_FIELDS, "doppler": DOPPLER_FIELDS,
    "existence": ("existence", "existence_probability", "probability_of_existence"), "valid": ("valid", "is_valid"),
}  # fmt: skip


def _point_fields(msg: Any, sensor: Sensor) -> tuple[dict[str, str], str]:
    """Return the point cloud's field of each role, those that the vehicle file names first, and all names in words."""
    names = {str(f.name).lower(): str(f.name) for f in msg.fields}
    listed = ", ".join(names.values()) or "none"
    found = {role: names[n] for role, known in KNOWN_FIELDS.items() for n in reversed(known) if n in names}
    named = aliases(sensor.fields)
    for role, name in named.items():
        if name.lower() not in names:
            raise _MalformedError(f"no field {name} ({role}) among the fields {listed}")
        found[role] = names[name.lower()]
    if "range" in named and "x" not in named:  # then x and y are something else
        found.pop("x", None)
    return found, listed


def _rows(msg: Any) -> Any:
    """Points of a PointCloud2 as one structured array, with padding, row padding and byte order respected."""
    height, width, step = int(msg.height), int(msg.width), int(msg.point_step)
    row_step = int(msg.row_step) or width * step
    data = msg.data if isinstance(msg.data, np.ndarray) else np.frombuffer(msg.data, np.uint8)
    fields = tuple((str(f.name), int(f.offset), int(f.datatype), int(f.count)) for f in msg.fields)
    dtype = _point_dtype(fields, step, bool(msg.is_bigendian))
    _bounded(height * width, RETURNS_MAX, "points")
    if height * width == 0:
        return np.zeros(0, dtype)
    needed = (height - 1) * row_step + width * step
    if row_step < width * step or data.nbytes < needed:
        raise _MalformedError(
            f"data has {data.nbytes} bytes; {height} x {width} points of {step} bytes "
            f"in rows of {row_step} need {needed}"
        )
    data = np.ascontiguousarray(data)
    return np.ndarray((height, width), dtype, data, strides=(row_step, step)).reshape(-1)


@lru_cache(maxsize=64)
def _point_dtype(fields: tuple[tuple[str, int, int, int], ...], step: int, big: bool) -> np.dtype[Any]:
    """Structured type of one point; a field of several values counts by its first."""
    for name, offset, kind, _count in fields:
        if kind not in POINT_FORMATS:
            raise _MalformedError(f"field {name} has the unknown datatype {kind}")
        if offset + int(POINT_FORMATS[kind][1]) > step:
            raise _MalformedError(f"field {name} at offset {offset} lies outside point_step {step}")
    order = ">" if big else "<"
    formats = [order + POINT_FORMATS[kind] for _, _, kind, _ in fields]
    layout = {"names": [f[0] for f in fields], "formats": formats, "offsets": [f[1] for f in fields]}
    return np.dtype({**layout, "itemsize": step})  # type: ignore[call-overload, no-any-return]


def _bounded(count: int, most: int, what: str) -> None:
    if count > most:
        raise _MalformedError(f"{count} {what}, at most {most} are read")


def _column(rows: Any, name: str) -> Floats:
    return np.asarray(rows[name], np.float64)


def _radar_scan(msg: Any, context: _Context) -> RadarScan:
    """Detections of radar_msgs: azimuth is counter-clockwise as in REP-103 since its first release, 0.1.0."""
    assert context.sensor is not None
    _bounded(len(msg.returns), RETURNS_MAX, "returns")
    values = [(r.range, r.azimuth, r.elevation, r.doppler_velocity) for r in msg.returns]
    distance, azimuth, elevation, rate = np.array(values, np.float64).reshape(-1, 4).T
    ground = distance * np.where(np.isfinite(elevation), np.cos(elevation), 1.0)
    return _scan(context, False, ground, azimuth, rate * context.sensor.doppler_sign)


def _radar_tracks(msg: Any, context: _Context) -> RadarScan:
    """Object list of an ECU: relative velocities are vectors already, so no Doppler sign applies."""
    if isinstance(msg, cdr.TracksView):
        _bounded(len(msg.vectors), RETURNS_MAX, "tracks")
        values = np.concatenate([msg.vectors[:, [0, 1, 3, 4, 10]], msg.covariances], axis=1)
    else:
        _bounded(len(msg.tracks), RETURNS_MAX, "tracks")
        rows = [(o.position.x, o.position.y, o.velocity.x, o.velocity.y, o.size.y, *o.position_covariance,
                 *o.velocity_covariance) for o in msg.tracks]  # fmt: skip
        values = np.array(rows, np.float64).reshape(-1, 17)
    x, y, vx, vy, wide = values[:, :5].T
    azimuth, distance = np.arctan2(y, x), np.hypot(x, y)
    rate = vx * np.cos(azimuth) + vy * np.sin(azimuth)
    scan = _scan(context, True, distance, azimuth, rate)
    sigma, half_width = _polar_sigma(values[:, 5:], azimuth, distance), wide / 2
    if not sigma.any() and not half_width.any():  # zero means unknown
        return scan
    usable = _usable(distance, azimuth, rate)
    return replace(scan, sigma=sigma[usable], half_width=half_width[usable])


def _polar_sigma(covariance: Floats, azimuth: Floats, distance: Floats) -> Floats:
    """Return (N, 3) standard deviations of range, azimuth and range rate from xx, xy, xz, yy, yz, zz of position and
    velocity; 0 where a covariance is zero, negative or not finite, which means unknown.
    """
    if not covariance.any():  # many ECUs give none
        return np.zeros((len(covariance), 3))
    c, s = np.cos(azimuth), np.sin(azimuth)
    px, pxy, _, py, _, _, vx, vxy, _, vy, _, _ = covariance.T
    along = c * c * px + 2 * c * s * pxy + s * s * py
    across = s * s * px - 2 * c * s * pxy + c * c * py
    speed = c * c * vx + 2 * c * s * vxy + s * s * vy
    variance = np.stack([along, across / np.maximum(distance, 0.1) ** 2, speed], axis=1)
    known = np.isfinite(variance) & (variance > 0)
    return np.sqrt(np.where(known, variance, 0.0))


# --- plans --------------------------------------------------------------------------------------------------


def _multi_dof(msg: Any, context: _Context) -> Plan:
    """Read a trajectory, either a message or the view of its bytes (see `cdr`); both give the same numbers."""
    joint = list(msg.joint_names).index(context.body) if context.body in msg.joint_names else 0
    if isinstance(msg, cdr.TrajectoryView):
        return _multi_dof_view(msg, joint, context)
    _bounded(len(msg.points), PLAN_POINTS_MAX, "points")
    for i, point in enumerate(msg.points):
        if len(point.transforms) <= joint:
            raise _MalformedError(f"points[{i}].transforms has no entry for joint {joint}")
    places = [p.transforms[joint] for p in msg.points]
    xy = _array([(p.translation.x, p.translation.y) for p in places], 2)
    yaw = _yaws([p.rotation for p in places])
    time = _array([(_time(p.time_from_start) / NANOSECONDS,) for p in msg.points], 1)[:, 0]
    with_speed = [len(p.velocities) > joint for p in msg.points]
    if any(with_speed) and not all(with_speed):
        raise _MalformedError(f"points[{with_speed.index(False)}].velocities is empty, other points have theirs")
    if all(with_speed):
        speed = _array([(p.velocities[joint].linear.x,) for p in msg.points], 1)[:, 0]
    else:
        speed = _speeds(time, xy, yaw)
    return _placed(Plan(context.t, time, xy[:, 0], xy[:, 1], yaw, speed), msg.header.frame_id, context)


def _multi_dof_view(msg: cdr.TrajectoryView, joint: int, context: _Context) -> Plan:
    n, joints = msg.transforms.shape[:2]
    _bounded(n, PLAN_POINTS_MAX, "points")
    if n and joints <= joint:
        raise _MalformedError(f"points[0].transforms has no entry for joint {joint}")
    place = msg.transforms[:, joint] if n else np.zeros((0, 7))
    xy, q = np.ascontiguousarray(place[:, :2]), np.ascontiguousarray(place[:, 3:])
    yaw = np.asarray(_yaw(q[:, 0], q[:, 1], q[:, 2], q[:, 3]), np.float64)
    time = msg.time / NANOSECONDS
    with_speed = not n or msg.velocities.shape[1] > joint
    speed = msg.velocities[:, joint, 0] if n and with_speed else np.zeros(0) if with_speed else _speeds(time, xy, yaw)
    return _placed(Plan(context.t, time, xy[:, 0], xy[:, 1], yaw, speed), msg.header.frame_id, context)


def _path(msg: Any, context: _Context) -> Plan:
    """A path has no speeds: they follow from the stamps of its poses, or from ego's if they are equal."""
    _bounded(len(msg.poses), PLAN_POINTS_MAX, "poses")
    xy = _array([(p.pose.position.x, p.pose.position.y) for p in msg.poses], 2)
    yaw = _yaws([p.pose.orientation for p in msg.poses])
    if len(yaw) > 1 and (np.isnan(yaw).all() or not yaw.any()):
        yaw = _tangents(xy)
    stamps = np.array([_time(p.header.stamp) for p in msg.poses], np.int64)
    if len(stamps) and (stamps != stamps[0]).any():
        time = (stamps - context.t) / NANOSECONDS
        timed = Plan(context.t, time, xy[:, 0], xy[:, 1], yaw, _speeds(time, xy, yaw))
        return _placed(timed, msg.header.frame_id, context)
    if context.odometry is None:
        raise _MalformedError("poses have equal stamps and there is no odometry yet to take a speed from")
    speed = math.copysign(max(abs(context.odometry.speed), CREEP), context.odometry.speed)
    length = np.concatenate([[0.0], np.cumsum(_steps(xy))])[: len(xy)]
    plan = Plan(context.t, length / abs(speed), xy[:, 0], xy[:, 1], yaw, np.full(len(xy), speed))
    return _placed(plan, msg.header.frame_id, context)


def _autoware(msg: Any, context: _Context) -> Plan:
    _bounded(len(msg.points), PLAN_POINTS_MAX, "points")
    xy = _array([(p.pose.position.x, p.pose.position.y) for p in msg.points], 2)
    yaw = _yaws([p.pose.orientation for p in msg.points])
    speed = _array([(p.longitudinal_velocity_mps,) for p in msg.points], 1)[:, 0]
    time = _array([(_time(p.time_from_start) / NANOSECONDS,) for p in msg.points], 1)[:, 0]
    if len(time) > 1 and not time.any():  # planners of that family often leave the times empty
        mean = np.maximum(np.abs(speed[1:] + speed[:-1]) / 2, CREEP)
        time = np.concatenate([[0.0], np.cumsum(_steps(xy) / mean)])
    return _placed(Plan(context.t, time, xy[:, 0], xy[:, 1], yaw, speed), msg.header.frame_id, context)


def _array(values: Sequence[tuple[float, ...]], width: int) -> Floats:
    return np.array(values, np.float64).reshape(-1, width)


def _yaws(quaternions: Sequence[Any]) -> Floats:
    q = _array([(q.x, q.y, q.z, q.w) for q in quaternions], 4)
    return np.asarray(_yaw(q[:, 0], q[:, 1], q[:, 2], q[:, 3]), np.float64)


def _steps(xy: Floats) -> Floats:
    return np.asarray(np.hypot(*np.diff(xy, axis=0).T), np.float64)


def _tangents(xy: Floats) -> Floats:
    step = np.diff(xy, axis=0)
    yaw = np.arctan2(step[:, 1], step[:, 0])
    return np.concatenate([yaw, yaw[-1:]])


def _speeds(time: Floats, xy: Floats, yaw: Floats) -> Floats:
    """Signed speed at each point from neighbouring points; 0 where the times do not increase."""
    if len(time) < 2:
        return np.zeros(len(time))
    step, dt = np.diff(xy, axis=0), np.diff(time)
    along = step[:, 0] * np.cos(yaw[:-1]) + step[:, 1] * np.sin(yaw[:-1])
    speed = np.where(along < 0, -1.0, 1.0) * np.hypot(step[:, 0], step[:, 1])
    speed = np.divide(speed, dt, out=np.zeros(len(dt)), where=dt > 0)
    middle = (speed[1:] + speed[:-1]) / 2
    return np.concatenate([speed[:1], middle, speed[-1:]])


def _placed(plan: Plan, frame_id: str, context: _Context) -> Plan:
    """Return the plan in the frame of the odometry."""
    if _frame(frame_id) == context.frame:
        return plan
    if not _is_body(frame_id, context):
        raise _MalformedError(f"header.frame_id is {frame_id!r}, expected {context.frame} or {context.body}")
    if context.odometry is None:
        raise _MalformedError(f"header.frame_id is {frame_id!r} and there is no odometry yet to place it")
    x0, y0, yaw0 = _pose_at(context.odometry, plan.t)
    c, s = math.cos(yaw0), math.sin(yaw0)
    return replace(
        plan, x=x0 + c * plan.x - s * plan.y, y=y0 + s * plan.x + c * plan.y, yaw=_wrapped(plan.yaw + yaw0)
    )


def _pose_at(odometry: Odometry, t: int) -> tuple[float, float, float]:
    """Pose at the plan's stamp: the newest one moved on by its own speed, half a second at most."""
    dt = min(max(seconds(t - odometry.t), -0.5), 0.5)
    rate = 0.0 if math.isnan(odometry.yaw_rate) else odometry.yaw_rate
    middle = odometry.yaw + rate * dt / 2
    distance = odometry.speed * dt
    x, y = odometry.x + distance * math.cos(middle), odometry.y + distance * math.sin(middle)
    return x, y, odometry.yaw + rate * dt


def _wrapped(angle: Floats) -> Floats:
    return np.asarray((angle + math.pi) % (2 * math.pi) - math.pi, np.float64)


_READERS: dict[str, Any] = {
    "nav_msgs/Odometry": _odometry,
    "geometry_msgs/TwistStamped": _command_or_twist,
    "autoware_control_msgs/Control": _control,
    "ackermann_msgs/AckermannDriveStamped": _ackermann,
    "std_msgs/Header": _heartbeat,
    "geometry_msgs/PoseArray": _pose_array,
    "vision_msgs/Detection3DArray": _detections,
    "autoware_perception_msgs/PredictedObjects": _object_list,
    "autoware_perception_msgs/TrackedObjects": _object_list,
    "autoware_perception_msgs/DetectedObjects": _object_list,
    "sensor_msgs/Imu": _imu,
    "autoware_vehicle_msgs/ControlModeReport": _control_mode,
    "std_msgs/Bool": _bool_message,
    "std_msgs/UInt8": _request,
    "std_msgs/Float64MultiArray": _room,
    "std_msgs/Empty": _empty_message,
    "sensor_msgs/Range": _range_message,
    "sensor_msgs/PointCloud2": _point_cloud,
    "radar_msgs/RadarScan": _radar_scan,
    "radar_msgs/RadarTracks": _radar_tracks,
    "trajectory_msgs/MultiDOFJointTrajectory": _multi_dof,
    "nav_msgs/Path": _path,
    "autoware_planning_msgs/Trajectory": _autoware,
}


# --- many messages ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Carried:
    """What a gatherer remembers from one tick to the next."""

    frames: tuple[tuple[str, str], ...] = ()
    """Input and the frame that its first message named, of inputs that must stay in one."""
    odometry: Odometry | None = None
    """Newest odometry, which places plans of the vehicle's own frame."""
    turning: YawRate | None = None

    @property
    def frame(self) -> str:
        """Frame of the odometry messages, empty while none has named one."""
        return dict(self.frames).get("odometry", "")


FIRST = ("imu", "odometry", "twist")
"""Roles that are read before the others of a tick: plans are placed by the newest odometry."""


class Gatherer:
    """Collects messages between ticks; what `take` returns does not depend on the order across topics."""

    def __init__(self, config: Config, carried: Carried | None = None) -> None:
        self.carried = carried or Carried()
        self._config = config
        self._bindings = bindings(config)
        self._waiting: list[tuple[str, int, int, str, Any]] = []
        self._added = 0

    def add(self, topic: str, msgtype: str, msg: Any, arrival: int) -> bool:
        """Keep one message for the next `take`; return whether its topic is an input at all. Never raises."""
        name = normalised(topic)
        if name not in self._bindings:
            return False
        self._added += 1
        self._waiting.append((name, arrival, self._added, msgtype, msg))
        return True

    def take(self) -> Inputs:
        """Return all inputs since the last call, in canonical order: by topic, then by arrival."""
        waiting = sorted(self._waiting, key=lambda item: item[:3])
        self._waiting = []
        worlds: dict[int, World] = {}
        for _, topic, arrival, order, msgtype, msg in sorted((self._rank(item[0]), *item) for item in waiting):
            worlds[order] = self._convert(topic, arrival, msgtype, msg)
        counts: dict[str, int] = {}
        for topic, *_ in waiting:
            counts[topic] = counts.get(topic, 0) + 1
        return _inputs([worlds[order] for _, _, order, _, _ in waiting], sorted_counts(counts.items()))

    def _rank(self, topic: str) -> int:
        role = self._bindings[topic].role
        return FIRST.index(role) if role in FIRST else len(FIRST)

    def _convert(self, topic: str, arrival: int, msgtype: str, msg: Any) -> World:
        binding, known = self._bindings[topic], self.carried
        world = convert(msg, msgtype, binding, arrival, self._config, known.frame, known.odometry)
        if not isinstance(world, Invalid) and binding.role in STEADY and (problem := self._moved(binding.name, msg)):
            return Invalid(binding.name, stamp(msg, arrival), problem)
        if isinstance(world, YawRate):
            self.carried = replace(self.carried, turning=world)
            return world
        if isinstance(world, Motion):
            world = _integrated(world, known.odometry)
        if isinstance(world, Odometry):
            world = _turned(world, known.turning)
            newest = known.odometry is None or world.t >= known.odometry.t or world.t < known.odometry.t - NANOSECONDS
            self.carried = replace(self.carried, odometry=world if newest else known.odometry)
        return world

    def _moved(self, name: str, msg: Any) -> str:
        """Say that a message is in another frame than those before it; the first one is remembered."""
        frame, frames = _frame(msg.header.frame_id), self.carried.frames
        first = dict(frames).get(name, "")
        wanted = _frame(self._config.inputs.odometry_frame) if name == "odometry" else ""
        if wanted and frame not in ("", wanted):
            return f"header.frame_id is {frame!r}, expected {wanted} (inputs.odometry_frame)"
        if frame and first and frame != first:
            return f"header.frame_id changed from {first!r} to {frame!r}"
        if frame and not first:
            self.carried = replace(self.carried, frames=(*frames, (name, frame)))
        return ""


def _turned(odometry: Odometry, turning: YawRate | None) -> Odometry:
    """Return the odometry with the yaw rate of the inertial sensor, if that is recent."""
    if turning is None or abs(odometry.t - turning.t) > IMU_AGE_MAX:
        return odometry
    return replace(odometry, yaw_rate=turning.rate)


def _integrated(motion: Motion, last: Odometry | None) -> Odometry | Invalid:
    """Return the odometry that a speed without pose goes on to: from the origin, along the circles in between."""
    if last is None or motion.t < last.t - NANOSECONDS:  # nothing yet, or the clock was set back
        x, y, yaw = (last.x, last.y, last.yaw) if last else (0.0, 0.0, 0.0)
        return Odometry(motion.t, x, y, yaw, motion.speed, motion.yaw_rate)
    dt = seconds(motion.t - last.t)
    if dt <= 0.0:
        return Invalid("odometry", motion.t, f"stamp is {-dt:.3f} s before that of the message before it")
    rates = [rate for rate in (last.yaw_rate, motion.yaw_rate) if math.isfinite(rate)]
    turn = sum(rates) / len(rates) * dt if rates else 0.0
    distance, middle = (last.speed + motion.speed) / 2 * dt, last.yaw + turn / 2
    x, y = last.x + distance * math.cos(middle), last.y + distance * math.sin(middle)
    return Odometry(motion.t, x, y, float(_wrapped(np.array(last.yaw + turn))), motion.speed, motion.yaw_rate)


def _inputs(worlds: Sequence[World], consumed: tuple[tuple[str, int], ...]) -> Inputs:
    return Inputs(
        odometry=tuple(w for w in worlds if isinstance(w, Odometry)),
        radar=tuple(w for w in worlds if isinstance(w, RadarScan)),
        ranges=tuple(w for w in worlds if isinstance(w, RangeReading)),
        plans=tuple(w for w in worlds if isinstance(w, Plan)),
        driver=tuple(w for w in worlds if isinstance(w, DriverMode)),
        control=tuple(w for w in worlds if isinstance(w, ControlCommand)),
        heartbeats=tuple(w for w in worlds if isinstance(w, Heartbeat)),
        objects=tuple(w for w in worlds if isinstance(w, SeenObjects)),
        room=tuple(w for w in worlds if isinstance(w, FreeRoom)),
        invalid=tuple(w for w in worlds if isinstance(w, Invalid)),
        release=any(w is True for w in worlds),
        requested=next((w for w in reversed(worlds) if isinstance(w, Mode)), None),
        consumed=consumed,
    )


# --- decisions as plain data --------------------------------------------------------------------------------


def decision_record(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON-ready data, NaN and infinity as null; docs/formats.md describes every key."""
    a = decision.assessment
    return {
        "schema": DECISION_SCHEMA,
        "t": int(decision.t),
        "mode": decision.mode.name,
        "verdict": decision.verdict.name,
        "margin_m": _number(a.margin),
        "clear": bool(a.margin == math.inf),
        "margins": {rule: _number(margin) for rule, margin in a.margins},
        "track": _id(a.track),
        "lead": _id(a.lead),
        "reasons": [{"code": r.code.value, "text": r.text, "track": _id(r.track)} for r in decision.reasons],
        "health": {
            "severity": decision.health.severity.name,
            "findings": [
                {"code": f.code.value, "source": f.source, "text": f.text} for f in decision.health.findings
            ],
        },
        "warn": bool(decision.warn),
        "plan_source": decision.plan_source,
        "candidate": int(decision.candidate),
        "speed_cap": _number(a.speed_cap, 6),
        "acceleration": _number(decision.acceleration, 6),
        "curvature": _number(decision.curvature, 9),
        "hazard_lights": bool(decision.hazard_lights),
        "takeover_request": bool(decision.takeover_request),
        "hold": bool(decision.hold),
        "driver": bool(decision.driver),
        "blind_spots": int(decision.blind_spots),
        "ego": _ego(decision.ego),
        "half_width": _number(decision.half_width, 4),
        "threats": [_threat(threat) for threat in _telling(decision)],
        "tracks": _tracks(decision.tracks),
        "arcs": [_arc(arc) for arc in decision.arcs],
        "consumed": dict(decision.consumed),
        "config": decision.config,
        "certificate": decision.certificate,
    }


_COMPACT = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def json_line(record: dict[str, Any]) -> str:
    """Return one record as canonical compact JSON, without a line end."""
    return _COMPACT.encode(record)


def _number(value: float, digits: int = 9) -> float | None:
    """Rounded, without negative zero; null when not finite."""
    value = float(value)
    return round(value, digits) + 0.0 if math.isfinite(value) else None


def _id(value: int | None) -> int | None:
    return None if value is None else int(value)


def _ego(ego: Odometry | None) -> dict[str, float | None] | None:
    if ego is None:
        return None
    return {name: _number(getattr(ego, name), 6) for name in ("x", "y", "yaw", "speed", "yaw_rate")}


def _telling(decision: Decision) -> Iterator[Threat]:
    """Objects that explain the decision: the one that decided, the lead, and each that demands something."""
    a = decision.assessment
    for threat in a.threats:
        named = threat.track is not None and threat.track in (a.track, a.lead)
        if named or threat.demand > Mode.NOMINAL:
            yield threat


def _threat(threat: Threat) -> dict[str, Any]:
    return {
        "track": _id(threat.track),
        "source": threat.source,
        "gap": _number(threat.gap, 4),
        "lateral": _number(threat.lateral, 4),
        "closing_speed": _number(threat.closing_speed, 4),
        "margin": _number(threat.margin),
        "required": _number(threat.required, 4),
        "ttc": _number(threat.ttc, 3), "drac": _number(threat.drac, 3), "pet": _number(threat.pet, 3),
        "demand": threat.demand.name,
        "code": threat.code.value,
    }


def _tracks(tracks: Tracks) -> list[list[Any]]:
    states, existence = tracks.state.round(3) + 0.0, tracks.existence.round(6)
    columns = (tracks.id.tolist(), states.tolist(), existence.tolist(), tracks.moved.tolist())
    if np.isfinite(states).all() and np.isfinite(existence).all():
        return [[i, *state, p, moved] for i, state, p, moved in zip(*columns, strict=True)]
    return [[i, *map(_number, state), _number(p), moved] for i, state, p, moved in zip(*columns, strict=True)]


def _arc(arc: Arc) -> dict[str, Any]:
    return {
        "sensor": arc.sensor,
        "echo": arc.echo.value,
        "range": _number(arc.range, 3),
        "range_rate": _number(arc.range_rate, 3),
        "confirmed": bool(arc.confirmed),
        "x": _number(arc.x, 3),
        "y": _number(arc.y, 3),
        "yaw": _number(arc.yaw, 4),
        "half_angle": _number(arc.half_angle, 4),
    }
