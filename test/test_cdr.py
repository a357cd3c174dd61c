"""Views of serialised messages: what is read through them is what a full deserialiser gives, or there is no view."""

from __future__ import annotations

import numpy as np
import recordings
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_supervisor import cdr
from safety_supervisor.core.config import Config, Sensor
from safety_supervisor.messages import Binding, convert
from safety_supervisor.replay.bag import known_types, make, open_bag
from safety_supervisor.replay.command import Options, replay

ODOMETRY = "nav_msgs/msg/Odometry"
RANGE = "sensor_msgs/msg/Range"
CLOUD = "sensor_msgs/msg/PointCloud2"
TRACKS = "radar_msgs/msg/RadarTracks"
TRAJECTORY = "trajectory_msgs/msg/MultiDOFJointTrajectory"
CONFIG = Config(sensors=(
    ("cloud", Sensor(topic="c")), ("listed", Sensor(topic="t", kind="radar_tracks")),
    ("echo", Sensor(topic="e", kind="ultrasonic")),
))  # fmt: skip
BINDINGS = {
    ODOMETRY: Binding("odometry", "odometry"), TRAJECTORY: Binding("plan", "plan"), CLOUD: Binding("sensor", "cloud"),
    TRACKS: Binding("sensor", "listed"), RANGE: Binding("sensor", "echo"),
}  # fmt: skip
NUMBER = st.floats(allow_nan=True, allow_infinity=True, width=32)
FRAME = st.sampled_from(["", "o", "od", "odom", "base_link", "radar_front", "ü"])


def vector(numbers, *names):
    return dict(zip(names, numbers, strict=True))


@st.composite
def odometries(draw):
    n = [draw(NUMBER) for _ in range(6)]
    w = draw(st.sampled_from([1.0, 0.0, 0.7]))
    return ODOMETRY, {
        "header": {"stamp": {"sec": draw(st.integers(0, 9)), "nanosec": 5}, "frame_id": draw(FRAME)},
        "child_frame_id": draw(FRAME),
        "pose": {"pose": {"position": vector(n[:3], "x", "y", "z"), "orientation": {"w": w, "z": n[3]}}},
        "twist": {"twist": {"linear": {"x": n[4]}, "angular": {"z": n[5]}}},
    }


@st.composite
def ranges(draw):
    low, high, value = (draw(NUMBER) for _ in range(3))
    return RANGE, {"header": {"frame_id": draw(FRAME)}, "min_range": low, "max_range": high, "range": value}


@st.composite
def objects(draw):
    rows = draw(st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), max_size=6))
    listed = [{"position": {"x": a, "y": b}, "velocity": {"x": c, "y": d}} for a, b, c, d in rows]
    return TRACKS, {"header": {"frame_id": draw(FRAME)}, "tracks": listed}


@st.composite
def clouds(draw):
    names = draw(st.permutations(["x", "y", "doppler", "rcs"]))
    names = names[: draw(st.integers(2, 4))]
    n = draw(st.integers(0, 5))
    values = np.array([[draw(NUMBER) for _ in names] for _ in range(n)], np.float32)
    fields = [{"name": name, "offset": 4 * i, "datatype": 7, "count": 1} for i, name in enumerate(names)]
    step = 4 * len(names)
    return CLOUD, {"header": {"frame_id": draw(FRAME)}, "height": 1, "width": n, "fields": fields, "point_step": step,
                   "row_step": n * step, "data": values.tobytes(), "is_dense": True}  # fmt: skip


@st.composite
def trajectories(draw):
    """Any number of joints, with and without velocities and accelerations; seldom points of different shape."""
    joints = draw(st.lists(st.sampled_from(["a", "base_link", "world"]), min_size=1, max_size=3, unique=True))
    shape = [len(joints), draw(st.sampled_from([0, len(joints)])), draw(st.sampled_from([0, 1]))]
    points = []
    for i in range(draw(st.integers(0, 8))):
        t, v, a = shape if draw(st.integers(0, 30)) else (draw(st.integers(0, 2)) for _ in range(3))
        points.append({
            "transforms": [{"translation": {"x": draw(NUMBER), "y": 1.0 * j}, "rotation": {"w": 1.0, "z": 0.01 * i}}
                           for j in range(t)],
            "velocities": [{"linear": {"x": draw(NUMBER)}} for _ in range(v)],
            "accelerations": [{"linear": {"x": 1.0}} for _ in range(a)],
            "time_from_start": {"sec": i, "nanosec": draw(st.integers(0, 999_999_999))},
        })  # fmt: skip
    return TRAJECTORY, {"header": {"frame_id": draw(FRAME)}, "joint_names": joints, "points": points}


MESSAGES = st.one_of(odometries(), ranges(), objects(), clouds(), trajectories())


def serialised(kind, values):
    return bytes(known_types().serialize_cdr(make(kind, values), kind))


def read(message, kind):
    return convert(message, kind, BINDINGS[kind], 7, CONFIG)


def same(a, b):
    """Equal in every field, arrays bit by bit."""
    if type(a) is not type(b):
        return False
    return all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes() if isinstance(x, np.ndarray | float) else x == y
        for x, y in ((getattr(a, name), getattr(b, name)) for name in type(a).__slots__)
    )


@settings(deadline=None, max_examples=300)
@given(MESSAGES)
def test_a_view_reads_what_a_deserialiser_reads(message):
    kind, values = message
    data = serialised(kind, values)
    seen = cdr.view(kind, data)
    if seen is None:
        shapes = {(len(p["transforms"]), len(p["velocities"])) for p in values.get("points", ())}
        accelerations = {len(p["accelerations"]) for p in values.get("points", ())}
        assert len(shapes) > 1 or len(accelerations) > 1
        return
    assert same(read(seen, kind), read(known_types().deserialize_cdr(data, kind), kind))


@settings(deadline=None, max_examples=200)
@given(MESSAGES, st.data())
def test_broken_bytes_give_no_view_or_a_readable_one_and_never_an_error(message, data):
    kind, values = message
    raw = bytearray(serialised(kind, values))
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for broken in (cut, bytes(raw)):
        seen = cdr.view(kind, broken)
        if seen is not None:
            read(seen, kind)


def test_plans_of_one_shape_have_a_view():
    values = {"joint_names": ["base_link"], "points": [
        {"transforms": [{}], "velocities": [{"linear": {"x": 3.0}}], "time_from_start": {"sec": i}} for i in range(41)
    ]}  # fmt: skip
    seen = cdr.view(TRAJECTORY, serialised(TRAJECTORY, values))
    assert isinstance(seen, cdr.TrajectoryView)
    assert (seen.velocities[:, 0, 0] == 3.0).all()
    assert seen.time.tolist() == [i * 10**9 for i in range(41)]


def test_other_types_other_byte_order_and_trailing_bytes_have_no_view():
    data = serialised(RANGE, {"range": 1.0})
    assert cdr.view(RANGE, data) is not None
    assert cdr.view("std_msgs/msg/String", data) is None
    assert cdr.view(RANGE, b"\x00\x00" + data[2:]) is None
    assert cdr.view(RANGE, data + bytes(8)) is None
    assert cdr.view(RANGE, b"") is None


def test_a_range_without_variance_is_read_too():
    assert cdr.view(RANGE, serialised(RANGE, {"range": 1.5})[:-4]).range == 1.5  # the layout of humble


def test_a_replay_through_views_decides_the_same(tmp_path, monkeypatch):
    bag = recordings.write(tmp_path / "drive", recordings.drive(2.0))
    replay(bag, tmp_path / "views", Options(report=False))
    monkeypatch.setattr(cdr, "view", lambda *_: None)
    replay(bag, tmp_path / "full", Options(report=False))
    views, full = ((tmp_path / name / "decisions.jsonl").read_bytes() for name in ("views", "full"))
    assert views == full
    assert b"NOMINAL" in full


def test_a_type_of_the_same_name_and_another_layout_is_deserialised(tmp_path, monkeypatch):
    """Control: an embedded definition that differs from the known one must not be seen through the known layout."""
    bag = recordings.write(tmp_path / "drive", recordings.drive(0.5))
    with open_bag(bag) as opened:
        (kind,) = {type(m).__name__ for t, k, _, m in opened.messages(["/vehicle/odometry"], views=True)}
        assert kind == "OdometryView"
    with open_bag(bag) as opened:
        definition = opened._sources[0].definitions[ODOMETRY]
        changed = definition.text.replace("string child_frame_id", "string other_name", 1)
        assert changed != definition.text
        opened._sources[0].definitions[ODOMETRY] = type(definition)(changed, definition.language)
        opened._stores.clear()
        found = [m for _, _, _, m in opened.messages(["/vehicle/odometry"], views=True)]
        assert found
        assert not any(isinstance(m, cdr.OdometryView) for m in found)
