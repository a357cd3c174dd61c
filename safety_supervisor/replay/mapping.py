"""Which topic and which frame of a recording is what: a small YAML file, and suggestions for one.

    topics:                       # topic of the recording: what it is
      /localization/odometry: odometry
      /conti/front/points: radar_front
      /lidar/points: ignore
    frames:                       # frame of the recording: the frame it is taken as
      map: odom
      ego: base_link

What a topic is: odometry, twist, imu, plan, control, heartbeat, objects, room, driver, release, mrm, the name of a
sensor, or a topic of the vehicle file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from safety_supervisor.core.config import Config, ConfigError
from safety_supervisor.messages import (
    PLAN_TYPES,
    TYPES,
    VEHICLE_ROLES,
    Binding,
    bindings,
    body_frame,
    fixed_frame,
    normalised,
    plain_type,
)
from safety_supervisor.replay.bag import Bag, Topic

IGNORE = "ignore"
ROLES = (*VEHICLE_ROLES, "twist", "release", "mrm")
NEAR = 3.0
"""A plan that starts this close [m] to its frame's origin is taken to be in ego's own frame."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """Names of a recording and what they are."""

    topics: Table[str, str] = field(default_factory=dict)
    """Topic of the recording, without leading slash -> what it is."""
    frames: Table[str, str] = field(default_factory=dict)

    def frame(self, name: str) -> str:
        """Return the frame that a frame of the recording is taken as."""
        return self.frames.get(name.lstrip("/"), name)

    def ignored(self, topic: str) -> bool:
        """Whether a topic of the recording is not to be used."""
        return self.topics.get(normalised(topic)) == IGNORE


def load_mapping(path: Path) -> Mapping:
    """Read a mapping. Raises `ConfigError` that names file and key; `OSError` when it cannot be read."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(f"{path}: {where}not valid YAML") from None
    if not isinstance(data, dict) or not data:
        raise ConfigError(f"{path}: expected the keys topics and frames, the file has none")
    unknown = [str(key) for key in data if key not in ("topics", "frames")]
    if unknown:
        raise ConfigError(f"{path}: unknown key {unknown[0]}, expected topics and frames")
    topics, frames = (_names(data.get(key), f"{path}: {key}") for key in ("topics", "frames"))
    targets = [target for target in topics.values() if target != IGNORE]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice:
        raise ConfigError(f"{path}: topics: {twice!r} is named for several topics")
    return Mapping({normalised(k): v for k, v in topics.items()}, {k.lstrip("/"): v for k, v in frames.items()})


def _names(value: Any, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a mapping of names, got {value!r}")
    for key, target in value.items():
        if not isinstance(key, str) or not isinstance(target, str) or not target:
            raise ConfigError(f"{where}.{key} must be a name, got {target!r}")
    return value


def target_topic(target: str, config: Config) -> str | None:
    """Return the topic of a parameter set that a name of a mapping means, or None."""
    bound = bindings(config)
    by_name = {binding.name: topic for topic, binding in bound.items()}
    return by_name.get(target) or (normalised(target) if normalised(target) in bound else None)


def check(mapping: Mapping, config: Config) -> None:
    """Raise `ConfigError` when a mapping names an input that the parameter set does not have."""
    for topic, target in mapping.topics.items():
        if target != IGNORE and target_topic(target, config) is None:
            known = [binding.name for binding in bindings(config).values()]
            close = difflib.get_close_matches(target, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join([*known, IGNORE])}"
            raise ConfigError(f"mapping: topics./{topic} = {target!r} is no input of this vehicle, {hint}")


# --- suggestions ----------------------------------------------------------------------------------------------


def suggest(bag: Bag, config: Config, names: Table[str, str]) -> Mapping:
    """Suggest what unused topics could be for the inputs that have none; `names` are the topics in use."""
    served = set(names.values())
    free = [t for t in bag.topics if t.readable and t.count and t.name not in names]
    topics: dict[str, str] = {}
    for topic, binding in bindings(config).items():
        if topic not in served:
            best = _best(binding, topic, [t for t in free if t.name not in topics], config)
            if best:
                topics[best.name] = binding.name
    return Mapping(topics, suggest_frames(bag, config, {**names, **{t: config_topic(config, n) for t, n in
                                                                    topics.items()}}))  # fmt: skip


def config_topic(config: Config, name: str) -> str:
    """Return the topic of an input of a parameter set."""
    return next(topic for topic, binding in bindings(config).items() if binding.name == name)


def _best(binding: Binding, wanted: str, free: Sequence[Topic], config: Config) -> Topic | None:
    kind = dict(config.sensors)[binding.name].kind if binding.role == "sensor" else binding.role
    found = [t for t in free if plain_type(t.msgtype) in TYPES[kind]]
    if binding.role in ("driver", "release", "mrm", "heartbeat", "room"):  # a Bool may be anything: only by its name
        found = [t for t in found if _words(wanted) & _words(t.name)]
    return max(found, key=lambda t: (_likeness(t.name, wanted, binding.name), t.count, t.name), default=None)


def _likeness(name: str, wanted: str, role: str) -> float:
    ours, theirs = _words(f"{wanted}/{role}"), _words(name)
    return len(ours & theirs) + difflib.SequenceMatcher(None, normalised(name), wanted).ratio()


def _words(text: str) -> set[str]:
    return set(re.split(r"[^a-z]+", text.lower())) - {""}


def suggest_frames(bag: Bag, config: Config, names: Table[str, str]) -> dict[str, str]:
    """Suggest frames for plans that are in none that is understood."""
    by_role = {binding.role: topic for topic, binding in bindings(config).items()}
    bag_topics = {topic: name for name, topic in names.items()}
    odometry = _first(bag, bag_topics.get(by_role.get("odometry", "")))
    plan_topic = bag.topic(bag_topics.get(by_role["plan"], ""))
    plan = _first(bag, plan_topic.name if plan_topic else None)
    if plan_topic is None or plan is None or plain_type(plan_topic.msgtype) not in PLAN_TYPES:
        return {}
    frame = _frame(plan)
    body, fixed = body_frame(config), _frame(odometry) or fixed_frame(config)
    if not frame or frame in (body, fixed):
        return {}
    start = _start(plan)
    return {frame: body if start is not None and start < NEAR and _far(odometry) else fixed}


def _first(bag: Bag, topic: str | None) -> Any:
    return bag.first(topic) if topic else None


def _frame(msg: Any) -> str:
    return str(getattr(getattr(msg, "header", None), "frame_id", "")).lstrip("/")


def _start(plan: Any) -> float | None:
    """Distance of a plan's first point from the origin of its frame [m]."""
    points = getattr(plan, "points", None) or getattr(plan, "poses", None)
    if not points:
        return None
    first = points[0]
    place = first.transforms[0].translation if getattr(first, "transforms", None) else first.pose.position
    return float(np.hypot(place.x, place.y))


def _far(odometry: Any) -> bool:
    """Whether ego itself is not near the origin, so that nearness means something."""
    if odometry is None:
        return False
    place = odometry.pose.pose.position
    return bool(np.hypot(place.x, place.y) > 2 * NEAR)


def to_text(mapping: Mapping) -> str:
    """Return a mapping as the YAML file that `load_mapping` reads."""
    data = {"topics": dict(mapping.topics), "frames": dict(mapping.frames)}
    return yaml.safe_dump({k: v for k, v in data.items() if v}, sort_keys=False, allow_unicode=True)
