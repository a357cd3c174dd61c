"""Small recordings for tests: a straight drive behind a lead, with what each test wants to be different."""

from __future__ import annotations

import re
from pathlib import Path

from safety_supervisor.replay.bag import BagWriter, make

START = 1_000_000_000_000
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real recordings, if this machine has them."""

ODOMETRY = "nav_msgs/msg/Odometry"
TRACKS = "radar_msgs/msg/RadarTracks"
TRAJECTORY = "trajectory_msgs/msg/MultiDOFJointTrajectory"
STRING = "std_msgs/msg/String"


def documented(section):
    """Keys in the first column of the table of one section of docs/formats.md."""
    text = (Path(__file__).resolve().parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    part = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [row.split("|")[1] for row in part.splitlines() if row.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def header(t, frame="odom"):
    return {"stamp": {"sec": t // 10**9, "nanosec": t % 10**9}, "frame_id": frame}


def odometry(t, x, speed):
    pose = {"position": {"x": x}, "orientation": {"w": 1.0}}
    return make(ODOMETRY, {"header": header(t), "child_frame_id": "base_link", "pose": {"pose": pose},
                           "twist": {"twist": {"linear": {"x": speed}}}})  # fmt: skip


def tracks(t, *objects):
    """Objects are (x, y, relative speed along x)."""
    listed = [{"position": {"x": x, "y": y}, "velocity": {"x": v}} for x, y, v in objects]
    return make(TRACKS, {"header": header(t, "radar_front"), "tracks": listed})


def trajectory(t, x, speed, seconds=4.0):
    points = []
    for i in range(round(seconds * 5) + 1):
        time = i * 0.2
        points.append({
            "transforms": [{"translation": {"x": x + speed * time}, "rotation": {"w": 1.0}}],
            "velocities": [{"linear": {"x": speed}}],
            "time_from_start": {"sec": int(time), "nanosec": round((time % 1) * 1e9)},
        })  # fmt: skip
    return make(TRAJECTORY, {"header": header(t), "joint_names": ["base_link"], "points": points})


def drive(seconds=3.0, speed=15.0, gap=60.0):
    """Messages (topic, type, log time, message) of a drive at constant speed behind a lead of the same speed."""
    messages = []
    for i in range(round(seconds * 50)):
        t, x = START + i * 20_000_000, speed * i * 0.02
        messages.append(("/vehicle/odometry", ODOMETRY, t, odometry(t, x, speed)))
        if i % 5 == 0:
            messages.append(("/radar/front/tracks", TRACKS, t, tracks(t, (gap + 0.01 * (i % 3), 0.1, 0.0))))
            messages.append(("/policy/trajectory", TRAJECTORY, t, trajectory(t, x, speed)))
    return messages


def write(path, messages, storage="mcap"):
    with BagWriter(path, storage=storage) as bag:
        for topic, kind, t, message in messages:
            bag.write(topic, kind, t, message)
    return path
