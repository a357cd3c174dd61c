"""A simulated run as a recording: what the vehicle published, every decision, and the truth beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from safety_supervisor.core.world import nanoseconds
from safety_supervisor.messages import decision_record, json_line
from safety_supervisor.replay.bag import BagWriter
from safety_supervisor.scenarios import publish
from safety_supervisor.scenarios.publish import Message
from safety_supervisor.scenarios.run import EPOCH, PHYSICS, Outcome, Run
from safety_supervisor.scenarios.world import World

DECISION_TOPIC = "/safety_supervisor/decision"
OUTCOME_TOPIC = "/scenario/outcome"
TRUTH_TOPIC = "/scenario/truth"
UNSUPERVISED_TOPIC = "/scenario/unsupervised/odometry"
TRUTH_PERIOD = 100_000_000
"""[ns]"""


def write_bag(run: Run, path: Path, unsupervised: Run | None = None, storage: str = "mcap") -> None:
    """Write a rosbag2 folder; an older recording at `path` is replaced. `storage`: mcap or sqlite3.

    `unsupervised` is the same scenario and seed without the supervisor: its odometry and outcome go along.
    """
    messages = [*run.messages, *_decisions(run), *_truth(run), outcome_message(run, unsupervised)]
    if unsupervised is not None:
        messages += _ghost(unsupervised, run.config.inputs.odometry)
    with BagWriter(path, overwrite=True, storage=storage) as bag:
        for message in sorted(messages, key=lambda m: m.t):
            bag.write(message.topic, message.msgtype, message.t, message.body)


def outcome_record(run: Run, unsupervised: Run | None) -> dict[str, Any]:
    """Return name, title, seed and both outcomes as JSON-ready data; null for the run that was not made."""
    record: dict[str, Any] = {"name": run.scenario.name, "title": run.scenario.title, "seed": run.seed}
    supervised = run if run.supervised else None
    other = unsupervised or (None if run.supervised else run)
    record["supervised"] = _plain(supervised.outcome) if supervised else None
    record["unsupervised"] = _plain(other.outcome) if other else None
    return record


def outcome_message(run: Run, unsupervised: Run | None) -> Message:
    """Return the outcome as the first message of the recording."""
    return publish.text(OUTCOME_TOPIC, EPOCH, json.dumps(outcome_record(run, unsupervised), allow_nan=False))


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {key: _rounded(value) for key, value in asdict(outcome).items()}


def _rounded(value: Any) -> Any:
    return round(value, 4) + 0.0 if isinstance(value, float) else value


def _decisions(run: Run) -> Iterator[Message]:
    for decision in run.decisions:
        yield publish.text(DECISION_TOPIC, decision.t, json_line(decision_record(decision)))


def _truth(run: Run) -> Iterator[Message]:
    """Yield true poses: x, y [m], yaw [rad] of ego's `base_link` and of every body's centre, with its size [m]."""
    for t, x, y, yaw, speed, _ in run.states[:: TRUTH_PERIOD // PHYSICS].tolist():
        ego = {"x": round(x, 3), "y": round(y, 3), "yaw": round(yaw, 4), "speed": round(speed, 3)}
        world = run.scenario.world
        record = {"t": t, "ego": ego, "objects": _objects(world, t), "walls": world.walls}
        yield publish.text(TRUTH_TOPIC, EPOCH + nanoseconds(t), json.dumps(record))


def _objects(world: World, t: float) -> list[dict[str, Any]]:
    bodies = world.bodies(t)
    motion = np.round(np.concatenate([bodies.pose, bodies.velocity], axis=1), 4).tolist()
    return [
        {"name": name, "kind": kind.name, "length": kind.length, "width": kind.width,
         **dict(zip(("x", "y", "yaw", "vx", "vy"), row, strict=True))}
        for name, kind, row in zip(bodies.names, bodies.kinds, motion, strict=True)
    ]  # fmt: skip


def _ghost(unsupervised: Run, topic: str) -> list[Message]:
    wanted = "/" + topic.lstrip("/")
    odometry = (m for m in unsupervised.messages if m.topic == wanted)
    return [Message(UNSUPERVISED_TOPIC, m.msgtype, m.t, m.body) for m in odometry]
