"""Serialised messages seen in place: the few types that make up nearly all of a recording, without deserialising them.

A full deserialiser builds an object for every point and covariance; here one message becomes one small object whose
columns are NumPy views of its bytes. The objects have the attributes of the ROS messages as far as `messages` reads
them, and arrays where those have lists of objects. `view` returns None for everything else: other types, big-endian
bytes, lists of unequal parts, and whatever does not end where its layout says; the caller then deserialises in full,
and reports what is wrong with the bytes.

Layout: OMG CDR, plain encoding version 1, as all ROS 2 middlewares write it: a header of four bytes, then the fields in
order, each aligned to its own size counted from behind that header.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LITTLE_ENDIAN = b"\x00\x01"
HEADER = 4
"""Bytes of the encapsulation header."""
SLACK = 3
"""A message may be padded by this many bytes at its end."""
EXACT = 2**53
"""Integers below it are exact in floating point."""
TEXT_MAX = 4096
"""No name in a message is longer; a larger length is a broken one [bytes]."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(slots=True)
class Stamp:
    """builtin_interfaces/Time."""

    sec: int
    nanosec: int


@dataclass(slots=True)
class Header:
    """std_msgs/Header."""

    stamp: Stamp
    frame_id: str


@dataclass(slots=True)
class OdometryView:
    """nav_msgs/Odometry without covariances."""

    header: Header
    numbers: tuple[float, ...]
    """Position x, y, z, orientation x, y, z, w, linear velocity x, y, z, angular velocity x, y, z."""
    child_frame_id: str = ""


@dataclass(slots=True)
class RangeView:
    """sensor_msgs/Range."""

    header: Header
    radiation_type: int
    field_of_view: float
    min_range: float
    max_range: float
    range: float


@dataclass(slots=True)
class Field:
    """sensor_msgs/PointField."""

    name: str
    offset: int
    datatype: int
    count: int


@dataclass(slots=True)
class CloudView:
    """sensor_msgs/PointCloud2."""

    header: Header
    height: int
    width: int
    fields: tuple[Field, ...]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: Any
    """(B,) uint8, in place."""


@dataclass(slots=True)
class TracksView:
    """radar_msgs/RadarTracks: N objects."""

    header: Header
    vectors: Floats
    """(N, 12): position, velocity, acceleration and size, x, y, z each."""
    covariances: Floats
    """(N, 12): xx, xy, xz, yy, yz, zz of position and of velocity."""


@dataclass(slots=True)
class TrajectoryView:
    """trajectory_msgs/MultiDOFJointTrajectory: N points of equally many transforms T and velocities V."""

    header: Header
    joint_names: tuple[str, ...]
    transforms: Floats
    """(N, T, 7): translation x, y, z, rotation x, y, z, w."""
    velocities: Floats
    """(N, V, 6): linear x, y, z, angular x, y, z."""
    time: Ints
    """(N,) time from start [ns]."""


View = OdometryView | RangeView | CloudView | TracksView | TrajectoryView


class _NoViewError(Exception):
    """These bytes are none of the simple cases."""


def view(msgtype: str, data: bytes) -> View | None:
    """Return the message in `data` if its type (`package/msg/Type`) has a view and its bytes fit; never raises."""
    reader = _READERS.get(msgtype)
    if reader is None or data[:2] != LITTLE_ENDIAN:
        return None
    try:
        cursor = _Cursor(data)
        found = reader(cursor)
    except (_NoViewError, struct.error, ValueError, IndexError):
        return None
    left = len(data) - cursor.at
    return found if 0 <= left <= SLACK else None


class _Cursor:
    """Reads from the front; positions are those in the bytes, alignment counts from behind the header."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = HEADER

    def align(self, size: int) -> int:
        self.at += -(self.at - HEADER) % size
        return self.at

    def take(self, form: struct.Struct, align: int) -> tuple[Any, ...]:
        values = form.unpack_from(self.data, self.align(align))
        self.at += form.size
        return values

    def count(self, item: int) -> int:
        """Length of a sequence of items of at least `item` bytes each."""
        (n,) = self.take(_U4, 4)
        if n * item > len(self.data) - self.at:
            raise _NoViewError
        return int(n)

    def text(self) -> str:
        n = self.count(1)
        if not 1 <= n <= TEXT_MAX:
            raise _NoViewError
        start, self.at = self.at, self.at + n
        return self.data[start : self.at - 1].decode()

    def header(self) -> Header:
        sec, nanosec = self.take(_STAMP, 4)
        return Header(Stamp(sec, nanosec), self.text())


_U4 = struct.Struct("<I")
_STAMP = struct.Struct("<iI")
_POSE = struct.Struct("<7d")
_TWIST = struct.Struct("<6d")
_COVARIANCE = 36 * 8
_RANGE = struct.Struct("<4f")
_BYTE = struct.Struct("<B")
_STEPS = struct.Struct("<II")
_UUID = 16
_TRACK = 12 * 8
_TRACK_REST = 2 + 4 * 6 * 4
"""Classification and four covariances, without what aligns them."""


def _odometry(c: _Cursor) -> OdometryView:
    header = c.header()
    child = c.text()
    pose = c.take(_POSE, 8)
    c.at += _COVARIANCE
    twist = c.take(_TWIST, 8)
    c.at += _COVARIANCE
    return OdometryView(header, pose + twist, child)


def _range(c: _Cursor) -> RangeView:
    header = c.header()
    (kind,) = c.take(_BYTE, 1)
    angle, low, high, distance = c.take(_RANGE, 4)
    if len(c.data) - c.at >= 4:  # `variance`, in distributions after humble
        c.at += 4
    return RangeView(header, kind, angle, low, high, distance)


def _cloud(c: _Cursor) -> CloudView:
    header = c.header()
    height, width = c.take(_STEPS, 4)
    fields = tuple(_field(c) for _ in range(c.count(13)))
    (big,) = c.take(_BYTE, 1)
    step, row = c.take(_STEPS, 4)
    size = c.count(1)
    data = np.frombuffer(c.data, np.uint8, size, c.at)
    c.at += size
    c.take(_BYTE, 1)  # is_dense
    return CloudView(header, height, width, fields, bool(big), step, row, data)


def _field(c: _Cursor) -> Field:
    name = c.text()
    (offset,), (datatype,), (count,) = c.take(_U4, 4), c.take(_BYTE, 1), c.take(_U4, 4)
    return Field(name, offset, datatype, count)


def _tracks(c: _Cursor) -> TracksView:
    header = c.header()
    n = c.count(_UUID + _TRACK + _TRACK_REST)
    parts, begin = [], c.at
    for _ in range(min(n, 2)):
        begin = c.at
        c.at += _UUID
        parts.append((c.align(8), 1))
        c.at += _TRACK + 2
        c.align(4)
        c.at += _TRACK_REST - 2
    if n > 2:  # a track ends 4 beyond a multiple of 8 wherever it begins, so from the second on all are as long
        stride = c.at - begin
        parts.append((parts[-1][0] + stride, n - 2))
        c.at += stride * (n - 2)
        return _track_rows(c.data, header, parts, stride)
    return _track_rows(c.data, header, parts, 0)


def _track_rows(data: bytes, header: Header, parts: list[tuple[int, int]], stride: int) -> TracksView:
    behind = [(start + _TRACK + 4, rows) for start, rows in parts]  # the classification fills two of these four bytes
    return TracksView(header, _rows(data, parts, 12, stride), _rows(data, behind, 12, stride, "<f4"))


def _trajectory(c: _Cursor) -> TrajectoryView:
    header = c.header()
    names = tuple(c.text() for _ in range(c.count(5)))
    n = c.count(20)
    walked: list[_Point] = []
    while len(walked) < n and not _repeats(walked):
        walked.append(_point(c))
    if len({(p.transforms, p.velocities) for p in walked}) > 1:
        raise _NoViewError
    if not walked:
        return TrajectoryView(header, names, np.zeros((0, 0, 7)), np.zeros((0, 0, 6)), np.zeros(0, np.int64))
    last, rest = walked[-1], n - len(walked)
    stride = last.end - last.start
    _same_counts(c.data, last, rest, stride)
    c.at += rest * stride
    t, v = last.transforms, last.velocities
    places = [(p.at_transforms, p.at_velocities, p.end - 8) for p in walked]
    at = [[(place[k], 1) for place in places] + [(places[-1][k] + stride, rest)] * (rest > 0) for k in range(3)]
    times = _rows(c.data, at[2], 1, stride, "<i4")[:, 0] * 10**9
    times += _rows(c.data, [(start + 4, rows) for start, rows in at[2]], 1, stride, "<u4")[:, 0]
    if (np.abs(times) >= EXACT).any():
        raise _NoViewError
    return TrajectoryView(
        header, names, _rows(c.data, at[0], 7 * t, stride).reshape(n, t, 7),
        _rows(c.data, at[1], v * 6, stride).reshape(n, v, 6), times,
    )  # fmt: skip


@dataclass(slots=True)
class _Point:
    """Where the parts of one point of a trajectory stand."""

    start: int
    counts: tuple[int, int, int]
    """Where the lengths of its three lists stand."""
    transforms: int
    velocities: int
    accelerations: int
    at_transforms: int
    at_velocities: int
    time: int
    end: int


def _point(c: _Cursor) -> _Point:
    start = c.at
    places: list[int] = []
    sizes: list[int] = []
    values: list[int] = []
    for width in (7, 6, 6):
        n = c.count(width * 8)
        places.append(c.at - 4)
        sizes.append(n)
        values.append(c.align(8) if n else c.at)
        c.at += n * width * 8
    sec, nanosec = c.take(_STAMP, 4)
    return _Point(start, (places[0], places[1], places[2]), sizes[0], sizes[1], sizes[2], values[0], values[1],
                  sec * 10**9 + nanosec, c.at)


def _repeats(walked: list[_Point]) -> bool:
    """Whether the points that follow are laid out like the last, if their lists are as long."""
    if len(walked) < 2:
        return False
    before, last = walked[-2:]
    alike = (before.transforms, before.velocities) == (last.transforms, last.velocities)
    return alike and (last.end - last.start) % 8 == 0


def _same_counts(data: bytes, p: _Point, rest: int, stride: int) -> None:
    """Check the lengths of the lists of the `rest` points that follow `p`."""
    if rest and p.end + rest * stride > len(data):
        raise _NoViewError
    for place, n in zip(p.counts, (p.transforms, p.velocities, p.accelerations), strict=True):
        if rest and (np.ndarray(rest, "<u4", data, place + stride, stride) != n).any():
            raise _NoViewError


def _rows(data: bytes, parts: list[tuple[int, int]], width: int, stride: int, form: str = "<f8") -> Any:
    """Return rows of `width` numbers: of each part (start, rows) those from there on, `stride` bytes apart.

    Integers come as int64.
    """
    kind = np.dtype(form)
    found = []
    for start, rows in parts:
        if start + (rows - 1) * stride + width * kind.itemsize > len(data):
            raise _NoViewError
        found.append(np.ndarray((rows, width), kind, data, start, (stride, kind.itemsize)))
    target = np.float64 if kind.kind == "f" else np.int64
    return np.concatenate(found, dtype=target) if found else np.zeros((0, width), target)


_READERS: dict[str, Callable[[_Cursor], View]] = {
    "nav_msgs/msg/Odometry": _odometry,
    "sensor_msgs/msg/Range": _range,
    "sensor_msgs/msg/PointCloud2": _cloud,
    "radar_msgs/msg/RadarTracks": _tracks,
    "trajectory_msgs/msg/MultiDOFJointTrajectory": _trajectory,
}
TYPES = tuple(_READERS)
"""Message types that have a view."""
