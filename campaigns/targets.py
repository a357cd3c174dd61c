"""What is fuzzed: one function a target that takes bytes and raises only when something is wrong with our code.

Each says what may be refused and how; everything else (another exception, a value of another kind) is a crash.
"""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace as Shape
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from rosbags.rosbag1 import Writer as Writer1

from safety_supervisor import cdr, messages, vehicle_file
from safety_supervisor.core.config import Config, ConfigError, InputTopics, Sensor
from safety_supervisor.replay.bag import make, open_bag
from safety_supervisor.replay.storages import BagError

CONFIG = Config(sensors=(
    ("radar", Sensor(topic="radar")), ("ecu", Sensor(kind="radar_tracks", topic="ecu")),
    ("us", Sensor(kind="ultrasonic", topic="us", range_max=5.0)),
), inputs=InputTopics(control="control", heartbeat="heartbeat", objects="seen"))  # fmt: skip
T = 5_000_000_000
INTERESTING = (0.0, -1.0, 1.0, 0.5, float("nan"), float("inf"), -float("inf"), 1e-308, 1e308, -1e12, 2**53, 200.0)


@dataclass(frozen=True)
class Target:
    """A function of bytes, and inputs from which mutation starts."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Iterator[bytes]]
    length: int
    """Longest input [bytes]."""
    includes: tuple[str, ...]
    """Modules whose branches guide the search."""


# --- one recording --------------------------------------------------------------------------------------------------


def memory_folder() -> str | None:
    """A folder in memory, where the machine has one: a fuzzer writes a file for each input."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-bag-", dir=memory_folder()))


def bag(data: bytes) -> object:
    """A file of any bytes is read to its end, or refused with `BagError`; the first byte chooses the storage."""
    name = (".mcap", ".db3", ".bag")[data[0] % 3] if data else ".mcap"
    path = _folder() / f"x{name}"
    path.write_bytes(data[1:])
    tempfile.tempdir = memory_folder()
    count = 0
    try:
        with open_bag(path) as opened:
            for _, msgtype, t, _message in opened.messages(views=True):
                if not isinstance(msgtype, str) or not isinstance(t, int):
                    raise TypeError(f"a message of type {msgtype!r} at {t!r}")
                count += 1
    except BagError as refused:
        if len(str(refused).splitlines()) != 1:
            raise AssertionError("a refusal is one line") from refused
    return count


TINY = "float32 range\n"
"""A definition in one line: rosbags and mcap need no more, and a small file is read ten times as fast."""


def _bag_seeds() -> Iterator[bytes]:
    for chunked in (False, True):
        yield b"\0" + _mcap(chunked)
    yield b"\1" + _sqlite()
    yield b"\2" + _ros1()
    yield b"\2#ROSBAG V2.0\n" + bytes(64)
    yield b"\0\x89MCAP0\r\n"


def _mcap(chunked: bool) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, compression=CompressionType.NONE, use_chunking=chunked)
    writer.start("ros2", "")
    schema = writer.register_schema("tiny_msgs/msg/Tiny", "ros2msg", TINY.encode())
    channel = writer.register_channel("/us", "cdr", schema)
    for i in range(3):
        writer.add_message(channel, T + i, cdr.LITTLE_ENDIAN + bytes(2) + struct.pack("<f", i), T + i)
    writer.finish()
    return file.getvalue()


def _sqlite() -> bytes:
    """The tables of rosbag2's storage, in the smallest pages there are."""
    path = _folder() / "seed.db3"
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(
            "PRAGMA page_size=512;"
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT,"
            " offered_qos_profiles TEXT);"
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);"
            "INSERT INTO topics VALUES(1, '/said', 'std_msgs/msg/String', 'cdr', '');"
        )
        data = cdr.LITTLE_ENDIAN + bytes(2) + struct.pack("<I3s", 3, b"{}\0")
        database.execute("INSERT INTO messages VALUES(1, 1, ?, ?)", (T, data))
        database.commit()
    return path.read_bytes()


def _ros1() -> bytes:
    """A ROS 1 bag of one topic."""
    path = _folder() / "seed.bag"
    path.unlink(missing_ok=True)
    with Writer1(path) as writer:
        connection = writer.add_connection("/said", "std_msgs/msg/String", msgdef="string data\n", md5sum="0" * 32)
        for i in range(2):
            writer.write(connection, T + i, struct.pack("<I2s", 2, b"{}"))
    return path.read_bytes()


# --- serialised messages --------------------------------------------------------------------------------------------

VIEWED = ("nav_msgs/msg/Odometry", "sensor_msgs/msg/Range", "sensor_msgs/msg/PointCloud2", "radar_msgs/msg/RadarTracks",
          "trajectory_msgs/msg/MultiDOFJointTrajectory")  # fmt: skip
ROLES = {
    "nav_msgs/msg/Odometry": messages.Binding("odometry", "odometry"),
    "sensor_msgs/msg/Range": messages.Binding("sensor", "us"),
    "sensor_msgs/msg/PointCloud2": messages.Binding("sensor", "radar"),
    "radar_msgs/msg/RadarTracks": messages.Binding("sensor", "ecu"),
    "trajectory_msgs/msg/MultiDOFJointTrajectory": messages.Binding("plan", "plan"),
}


def cdr_views(data: bytes) -> object:
    """Any bytes are a view or none; a view converts to something that the core knows."""
    msgtype = VIEWED[data[0] % len(VIEWED)] if data else VIEWED[0]
    seen = cdr.view(msgtype, data[1:])
    return None if seen is None else _converted(seen, msgtype, ROLES[msgtype])


def _converted(msg: Any, msgtype: str, binding: messages.Binding) -> object:
    with np.errstate(all="ignore"):
        made = messages.convert(msg, msgtype, binding, T, CONFIG, "odom", None)
    if not isinstance(made, messages.World):
        raise TypeError(f"{msgtype} became {type(made).__name__}")
    return made


def _messages() -> Iterator[tuple[str, Any]]:
    stamp = {"stamp": {"sec": 5, "nanosec": 0}, "frame_id": "odom"}
    yield "nav_msgs/msg/Odometry", {"header": stamp, "pose": {"pose": {"orientation": {"w": 1.0}}}}
    yield "sensor_msgs/msg/Range", {"header": stamp, "min_range": 0.2, "max_range": 5.0, "range": 1.0}
    fields = [{"name": n, "offset": 4 * i, "datatype": 7, "count": 1} for i, n in enumerate(("x", "y", "z", "v"))]
    data = np.array([[20.0, 1.0, 0.0, -3.0]] * 2, "<f4").view(np.uint8).reshape(-1)
    yield "sensor_msgs/msg/PointCloud2", {"header": stamp, "height": 1, "width": 2, "fields": fields,
                                                    "point_step": 16, "row_step": 32, "data": data}  # fmt: skip
    yield "radar_msgs/msg/RadarTracks", {"header": stamp, "tracks": [{"position": {"x": 9.0}}] * 2}
    point = {"transforms": [{"rotation": {"w": 1.0}}], "velocities": [{"linear": {"x": 5.0}}]}
    yield "trajectory_msgs/msg/MultiDOFJointTrajectory", {"header": stamp, "points": [point] * 3}


def _cdr_seeds() -> Iterator[bytes]:
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    for msgtype, values in _messages():
        if msgtype in store.fielddefs:
            yield bytes([VIEWED.index(msgtype)]) + bytes(store.serialize_cdr(make(msgtype, values), msgtype))
    for i in range(len(VIEWED)):
        yield bytes([i]) + cdr.LITTLE_ENDIAN + bytes(2) + struct.pack("<iII4s", 5, 0, 4, b"odo\0") + bytes(96)


# --- vehicle files --------------------------------------------------------------------------------------------------


def config(data: bytes) -> object:
    """Any text is a parameter set, which is written and read back as itself, or refused with `ConfigError`."""
    text = data.decode("utf-8", "replace")
    try:
        made = vehicle_file.parse(text, "fuzz")
    except ConfigError as refused:
        if not str(refused).startswith("fuzz"):
            raise AssertionError(f"a refusal names its source: {refused}") from refused
        return None
    again = vehicle_file.parse(vehicle_file.to_text(made), "fuzz")
    if replace(again, certificate=made.certificate) != made:
        raise AssertionError("a parameter set changes when it is written and read")
    return made


def _config_seeds() -> Iterator[bytes]:
    yield b"envelope: {assumed_brake: 7.0}\nsensors: {a: {kind: radar, topic: r}}\n"
    yield b"/**:\n  ros__parameters:\n    timing: {period: 0.05}\n    inputs: {plan_expected: false}\n"
    yield b"vehicle: {name: x, front: .inf}\nhealth: {plan_timeout: 1e-3}\n"
    yield b"a: &a [*a]\n"
    yield b"odd: !!python/object:os.system {x: 1}\n"


# --- messages as objects --------------------------------------------------------------------------------------------


class _Draw:
    """Values out of bytes, the way a fuzzer can steer them; at their end everything is 0."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def number(self) -> Any:
        kind = self.byte() % 4
        if kind == 0:
            return INTERESTING[self.byte() % len(INTERESTING)]
        if kind == 1:
            raw = bytes(self.byte() for _ in range(8))
            return struct.unpack("<d", raw)[0]
        if kind == 2:
            return (self.byte() - 128) / 4
        return (None, "x", True, 2**70, [])[self.byte() % 5]

    def shape(self, layout: Any) -> Any:
        """Fill a layout: a dict is an object with some fields lost, a list is repeated, a string is a number."""
        if isinstance(layout, dict):
            lost = self.byte()
            kept = [name for i, name in enumerate(layout) if lost != i + 240]
            return Shape(**{name: self.shape(layout[name]) for name in kept})
        if isinstance(layout, list):
            return [self.shape(layout[0]) for _ in range(self.byte() % 4)]
        if layout == "text":
            return ("odom", "base_link", "map", "", "/odom", "x", "y", "v", "range")[self.byte() % 9]
        if layout == "bytes":
            return bytes(self.byte() for _ in range(self.byte() % 40))
        return self.number()


HEADER = {"stamp": {"sec": "n", "nanosec": "n"}, "frame_id": "text"}
VECTOR, TURN = {"x": "n", "y": "n", "z": "n"}, {"x": "n", "y": "n", "z": "n", "w": "n"}
POSE, TWIST = {"position": VECTOR, "orientation": TURN}, {"linear": VECTOR, "angular": VECTOR}
LAYOUTS: dict[str, Any] = {
    "nav_msgs/Odometry": {"header": HEADER, "pose": {"pose": POSE}, "twist": {"twist": TWIST}},
    "geometry_msgs/TwistStamped": {"header": HEADER, "twist": TWIST},
    "sensor_msgs/Imu": {"header": HEADER, "angular_velocity": VECTOR, "angular_velocity_covariance": ["n"]},
    "autoware_vehicle_msgs/ControlModeReport": {"stamp": HEADER["stamp"], "mode": "n"},
    "autoware_control_msgs/Control": {"longitudinal": {"velocity": "n", "acceleration": "n"}},
    "ackermann_msgs/AckermannDriveStamped": {"header": HEADER, "drive": {"speed": "n", "acceleration": "n"}},
    "std_msgs/Header": HEADER,
    "geometry_msgs/PoseArray": {"header": HEADER, "poses": [POSE]},
    "vision_msgs/Detection3DArray": {"header": HEADER, "detections": [{"bbox": {"center": POSE}}]},
    "std_msgs/Bool": {"data": "n"},
    "std_msgs/UInt8": {"data": "n"},
    "std_msgs/Float64MultiArray": {"data": ["n"]},
    "std_msgs/Empty": {},
    "sensor_msgs/Range": {"header": HEADER, "min_range": "n", "max_range": "n", "range": "n"},
    "sensor_msgs/PointCloud2": {
        "header": HEADER, "height": "n", "width": "n", "point_step": "n", "row_step": "n", "is_bigendian": "n",
        "fields": [{"name": "text", "offset": "n", "datatype": "n", "count": "n"}], "data": "bytes"},
    "radar_msgs/RadarScan": {"header": HEADER, "returns": [
        {"range": "n", "azimuth": "n", "elevation": "n", "doppler_velocity": "n"}]},
    "radar_msgs/RadarTracks": {"header": HEADER, "tracks": [{"position": VECTOR, "velocity": VECTOR}]},
    "trajectory_msgs/MultiDOFJointTrajectory": {"header": HEADER, "points": [{
        "transforms": [{"translation": VECTOR, "rotation": TURN}], "velocities": [TWIST],
        "time_from_start": {"sec": "n", "nanosec": "n"}}]},
    "nav_msgs/Path": {"header": HEADER, "poses": [{"header": HEADER, "pose": POSE}]},
    "autoware_planning_msgs/Trajectory": {"header": HEADER, "points": [{
        "time_from_start": {"sec": "n", "nanosec": "n"}, "pose": POSE, "longitudinal_velocity_mps": "n"}]},
}  # fmt: skip
for _kind, _pose in (("Predicted", "initial_pose_with_covariance"), ("Tracked", "pose_with_covariance"),
                     ("Detected", "pose_with_covariance")):  # fmt: skip
    LAYOUTS[f"autoware_perception_msgs/{_kind}Objects"] = {
        "header": HEADER, "objects": [{"kinematics": {_pose: {"pose": POSE}}}]}  # fmt: skip
KINDS = tuple(LAYOUTS)
BINDINGS = tuple(messages.bindings(CONFIG).values())


def conversion(data: bytes) -> object:
    """A message of any shape, on any input, becomes something that the core knows; nothing raises."""
    draw = _Draw(data)
    kind = KINDS[draw.byte() % len(KINDS)]
    fitting = [b for b in BINDINGS if kind in messages.TYPES[_role(b)]] or list(BINDINGS)
    binding = fitting[draw.byte() % len(fitting)]
    return _converted(draw.shape(LAYOUTS[kind]), kind, binding)


def _role(binding: messages.Binding) -> str:
    return dict(CONFIG.sensors)[binding.name].kind if binding.role == "sensor" else binding.role


def _conversion_seeds() -> Iterator[bytes]:
    for i in range(len(KINDS)):
        yield bytes([i, 0, 0]) + bytes(range(64))
        yield bytes([i, 1, 0]) + bytes([2, 132] * 60)


TARGETS = {
    "bag": Target(bag, _bag_seeds, 6144, ("safety_supervisor.replay", "mcap")),
    "cdr": Target(cdr_views, _cdr_seeds, 1024, ("safety_supervisor.cdr", "safety_supervisor.messages")),
    "config": Target(config, _config_seeds, 512, ("safety_supervisor.vehicle_file", "safety_supervisor.core.config")),
    "messages": Target(conversion, _conversion_seeds, 512, ("safety_supervisor.messages",)),
}
