"""A drive as the node's flight recorder sees it: frames of ticks, without ROS."""

from __future__ import annotations

import json

from recordings import drive

from safety_supervisor import cdr
from safety_supervisor.core.config import Config, Sensor, with_certificate
from safety_supervisor.messages import Unreadable, decision_record, json_line
from safety_supervisor.replay.bag import known_types
from safety_supervisor.replay.replay import batches
from safety_supervisor.ros import frames
from safety_supervisor.ros.loop import Loop
from safety_supervisor.snapshot import to_text

ECU = Sensor(kind="radar_tracks", topic="radar/front/tracks")
CONFIG = with_certificate(Config(sensors=(("front", ECU),)), "c" * 64)
TOPICS = [
    ["/vehicle/odometry", "nav_msgs/msg/Odometry"],
    ["/radar/front/tracks", "radar_msgs/msg/RadarTracks"],
    ["/policy/trajectory", "trajectory_msgs/msg/MultiDOFJointTrajectory"],
]
STRING = "std_msgs/msg/String"


def session(folder, limit=40_000_000, **changes):
    kinds = {kind for _, kind in TOPICS} | {STRING}
    return {
        "folder": str(folder), "limit": limit, "vehicle": "car", "armed": False, "topics": TOPICS,
        "definitions": {kind: known_types().generate_msgdef(kind)[0] for kind in kinds},
        "parameters": CONFIG.digest, "certificate": '{"schema": 1}', "certificate_hash": CONFIG.certificate,
        "core": "core", "version": "0", **changes,
    }  # fmt: skip


def begun(folder, **changes):
    return frames.SESSION, 0, json.dumps(session(folder, **changes)).encode()


class Flight:
    """Runs the loop over a drive and keeps the lines that it decided."""

    def __init__(self, seconds=3.0, plan_until=None, back_at=None):
        self.lines: list[str] = []
        self._messages = drive(seconds)
        self._plan_until = plan_until
        self._back_at = back_at

    def ticks(self, snapshot_every=20):
        """Yield the frames of each tick as a list; the first one begins with a snapshot."""
        loop, number = Loop(CONFIG), {topic: i for i, (topic, _) in enumerate(TOPICS)}
        start = self._messages[0][2]
        shift = 0
        for n, (t, batch) in enumerate(batches(self._messages, 50_000_000)):
            if self._back_at is not None and n == self._back_at:
                shift = -5_000_000_000
            tick = []
            if n % snapshot_every == 0:
                tick.append((frames.SNAPSHOT, t + shift, to_text(loop.snapshot(t if n else None)).encode()))
            for topic, kind, at, message in batch:
                late = topic == "/policy/trajectory" and self._plan_until and at > start + self._plan_until * 1e9
                if late:
                    continue
                raw = bytes(known_types().serialize_cdr(message, kind))
                loop.add(topic, kind, cdr.view(kind, raw) or Unreadable("no view"), at + shift)
                tick.append((frames.MESSAGE, at + shift, frames.TOPIC.pack(number[topic]) + raw))
            line = json_line(decision_record(loop.tick(t + shift)))
            self.lines.append(line)
            yield [*tick, (frames.DECISION, t + shift, line.encode())]
