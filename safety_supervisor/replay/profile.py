"""A parameter set from the topics of a bag, for recordings that come without a vehicle file.

Body, brakes and thresholds are the defaults of the declarations; sensors come from the topics. What had to be guessed
is said in the notes. The mount of a sensor is that of its frame in the static transforms, where the recording has them;
otherwise it follows from words in its topic and frame: front, rear, left, right. A mapping says what a topic is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from safety_supervisor import messages
from safety_supervisor.core.config import Config, InputTopics, Sensor, Vehicle, parameters
from safety_supervisor.core.world import RadarScan
from safety_supervisor.messages import normalised, plain_type
from safety_supervisor.replay.bag import Bag, Topic
from safety_supervisor.replay.mapping import IGNORE, ROLES
from safety_supervisor.replay.mapping import Mapping as Names
from safety_supervisor.replay.mounts import Pose, static_mounts

OWN = ("scenario", "safety_supervisor")
"""First parts of topics that are results, never inputs."""
TAILS = {"tracks", "scan", "scans", "points", "point_cloud", "pointcloud", "detections", "objects", "range", "raw"}
"""Last parts of topics that say nothing about which sensor it is."""
SIGN_MESSAGES = 2000
"""Messages of radar and odometry from which the Doppler sign is read."""
DEFAULT_RADAR = "radar_front"
WORLD_FRAMES = ("odom", "map", "earth", "world")
"""Frames in which a speed is no vehicle's own (REP-105)."""


@dataclass(slots=True)
class Profile:
    """What was made of the topics: parameter set, what each topic is used as, and what was guessed."""

    config: Config
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def derive_config(bag: Bag) -> tuple[Config, list[str]]:
    """Return a parameter set made from the topics of a bag, and notes on what was guessed. Deterministic."""
    profile = derive(bag)
    return profile.config, profile.notes


def derive(bag: Bag, mapping: Names | None = None) -> Profile:
    """Like `derive_config`, with the kinds of input that no topic serves, and with a mapping."""
    mapping = mapping or Names()
    usable = [
        t for t in bag.topics
        if t.readable and t.count and not mapping.ignored(t.name)
        and (normalised(t.name) in mapping.topics or not _is_result(t.name, bag.topics))
    ]  # fmt: skip
    profile = Profile(Config())
    vehicle = Vehicle(name="derived")
    place = _Places(vehicle, mapping, static_mounts(bag, mapping))
    inputs = _inputs(usable, mapping, profile)
    inputs = replace(inputs, body_frame=_body(bag, inputs, mapping, profile))
    roles = {normalised(topic) for topic, to in mapping.topics.items() if to in ROLES}
    sensors = _sensors(bag, [t for t in usable if normalised(t.name) not in roles], place, profile)
    for name, sensor in sensors.items():
        if sensor.kind == "radar" and _counts_approach_positive(bag, sensor, inputs):
            sensors[name] = replace(sensor, doppler_sign=-1.0)
            profile.notes.append(f"{sensor.topic} counts approach as positive: static returns say so")
    if not sensors:
        sensors = {DEFAULT_RADAR: Sensor(topic="radar/front", x=vehicle.front)}
        profile.notes.append("no radar and no ultrasonic topic: a front radar is expected and missing")
    if not any(s.kind != "ultrasonic" for s in sensors.values()) or DEFAULT_RADAR in profile.missing:
        profile.missing.append(f"radar ({' or '.join(messages.RADAR_TYPES)} with a Doppler field)")
    profile.notes.insert(0, "no vehicle file: body, brakes and thresholds are the defaults, not those of the vehicle")
    profile.config = replace(profile.config, vehicle=vehicle, inputs=inputs, sensors=tuple(sensors.items()))
    return profile


def _is_result(name: str, topics: Sequence[Topic]) -> bool:
    """Whether a topic is what a supervisor published: beside its decision topic, or under a name of ours."""
    parent = normalised(name).rpartition("/")[0]
    beside = {normalised(t.name).rpartition("/")[0] for t in topics if t.name.endswith("decision")}
    return normalised(name).partition("/")[0] in OWN or (bool(parent) and parent in beside)


# --- vehicle-wide inputs --------------------------------------------------------------------------------------


def _inputs(topics: Sequence[Topic], mapping: Names, profile: Profile) -> InputTopics:
    default = InputTopics()
    told = {mapping.topics[normalised(t.name)]: t.name for t in topics if normalised(t.name) in mapping.topics}
    free = [t for t in topics if normalised(t.name) not in mapping.topics]
    odometry = told.get("odometry") or _best(
        free, messages.TYPES["odometry"], default.odometry, ("vehicle", "odom"), profile
    )
    plan = told.get("plan") or _best(
        free, messages.PLAN_TYPES, default.plan, ("policy", "plan", "trajectory"), profile
    )
    twist = told.get("twist")
    if odometry is None and twist is None:
        twist = _best(free, messages.TYPES["twist"], "", ("vehicle", "twist", "velocity"), profile)
        if twist:
            profile.notes.append(f"no nav_msgs/Odometry: ego's motion is integrated from {twist}")
    guess = next((t.name for t in free if t.name.endswith("driver_takeover")), default.driver)
    driver = told.get("driver", guess)
    if odometry is None and twist is None:
        profile.missing.append("odometry (nav_msgs/Odometry)")
    if plan is None:
        profile.missing.append(f"plan ({' or '.join(messages.PLAN_TYPES)})")
        profile.notes.append("no plan topic: the physical extrapolation of the present motion is judged")
    return InputTopics(
        odometry=odometry or ("" if twist else default.odometry), twist=twist or default.twist,
        imu=told.get("imu", default.imu), control=told.get("control", default.control),
        heartbeat=told.get("heartbeat", default.heartbeat), objects=told.get("objects", default.objects),
        room=told.get("room", default.room),
        plan=plan or default.plan, plan_expected=plan is not None, driver=driver,
    )  # fmt: skip


def _body(bag: Bag, inputs: InputTopics, mapping: Names, profile: Profile) -> str:
    """Return the frame whose motion the recording tells: it is taken for the vehicle body."""
    topic = bag.topic(inputs.odometry or inputs.twist)
    first = bag.first(topic.name) if topic else None
    named = getattr(first, "child_frame_id", "") if inputs.odometry else first.header.frame_id if first else ""
    body = mapping.frame(str(named)).lstrip("/")
    if body in ("", messages.BODY_FRAME, messages.FOOT_FRAME, *WORLD_FRAMES):
        return messages.BODY_FRAME
    profile.notes.append(f"{body} is taken for the vehicle body: ego's motion is told of it")
    return body


def _best(
    topics: Sequence[Topic], types: Sequence[str], name: str, words: Sequence[str], profile: Profile
) -> str | None:
    """Topic of one of the types: the one of the usual name, else by words in it, else the one with most messages."""
    found = [t for t in topics if plain_type(t.msgtype) in types]
    if not found:
        return None

    def rank(topic: Topic) -> tuple[bool, int, int, str]:
        hits = sum(word in topic.name for word in words)
        return normalised(topic.name) != name, -hits, -topic.count, topic.name

    best = min(found, key=rank)
    if len(found) > 1:
        others = ", ".join(t.name for t in found if t is not best)
        profile.notes.append(f"{best.name} is taken, {others} {'is' if len(found) == 2 else 'are'} not")
    return best.name


# --- sensors --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Places:
    """What mounts are read from."""

    vehicle: Vehicle
    mapping: Names
    static: Mapping[str, Pose]
    """Frame -> pose in base_link."""

    def of(self, topic: str, msg: Any) -> tuple[Pose, str]:
        """Return a mount and how it is known."""
        frame = self.mapping.frame(str(getattr(getattr(msg, "header", None), "frame_id", "")).lstrip("/"))
        pose = self.static.get(frame)
        if pose is not None and all(_allowed(name, v) for name, v in zip(("x", "y", "yaw"), pose, strict=True)):
            return pose, f"mount from the static transform of {frame}"
        return _mount(_words(f"{self.mapping.topics.get(normalised(topic), '')}/{topic}", frame), self.vehicle), (
            "mount guessed"
        )


def _sensors(bag: Bag, topics: Sequence[Topic], places: _Places, profile: Profile) -> dict[str, Sensor]:
    sensors: dict[str, Sensor] = {}
    for topic in topics:
        kind = plain_type(topic.msgtype)
        if kind not in messages.RADAR_TYPES and kind not in messages.RANGE_TYPES:
            continue
        msg = bag.first(topic.name)
        mount, known = places.of(topic.name, msg)
        sensor = _radar(topic, msg, mount) if kind in messages.RADAR_TYPES else _ultrasonic(topic, msg, mount)
        if sensor is None:
            profile.notes.append(f"{topic.name} has no Doppler field: it is no radar and is not used")
            continue
        told = places.mapping.topics.get(normalised(topic.name), IGNORE)
        name = told if told != IGNORE and re.fullmatch(r"\w+", told) else _name(topic.name, sensors)
        sensors[name] = sensor
        place = f"x {sensor.x:g} m, y {sensor.y:g} m, yaw {math.degrees(sensor.yaw):.0f} deg"
        profile.notes.append(f"{topic.name} is {sensor.kind} {name!r}, {known}: {place}")
    return sensors


def _radar(topic: Topic, msg: Any, mount: Pose) -> Sensor | None:
    objects = plain_type(topic.msgtype) == "radar_msgs/RadarTracks"
    if plain_type(topic.msgtype) == "sensor_msgs/PointCloud2":
        names = {str(f.name).lower() for f in getattr(msg, "fields", ())}
        objects = {"x", "y", "vx", "vy"} <= names and not names.intersection(messages.DOPPLER_FIELDS)
        if not objects and not names.intersection(messages.DOPPLER_FIELDS):
            return None
    x, y, yaw = mount
    return Sensor(kind="radar_tracks" if objects else "radar", topic=topic.name, x=x, y=y, yaw=yaw)


def _ultrasonic(topic: Topic, msg: Any, mount: Pose) -> Sensor:
    x, y, yaw = mount
    given = {
        "half_angle": float(getattr(msg, "field_of_view", math.nan)) / 2,
        "range_min": float(getattr(msg, "min_range", math.nan)),
        "range_max": float(getattr(msg, "max_range", math.nan)),
    }
    usual = {"half_angle": 0.5, "range_min": 0.2, "range_max": 5.0, "sigma_range": 0.03}
    view: dict[str, Any] = {**usual, **{name: value for name, value in given.items() if _allowed(name, value)}}
    if view["range_min"] >= view["range_max"]:
        view.update(range_min=0.0)
    return Sensor(kind="ultrasonic", topic=topic.name, x=x, y=y, yaw=yaw, **view)


def _allowed(name: str, value: float) -> bool:
    """Whether the declared range of a sensor parameter holds the value; NaN is in no range."""
    meta: Mapping[str, Any] = next(f.metadata for f in parameters(Sensor) if f.name == name)
    return bool(meta["low"] <= value <= meta["high"])


def _counts_approach_positive(bag: Bag, sensor: Sensor, inputs: InputTopics) -> bool:
    """Whether the static world fits ego's speed only with the Doppler sign turned around."""
    config = Config(inputs=inputs, sensors=(("radar", sensor),))
    bound = messages.bindings(config)
    speed, fitting, opposite = 0.0, 0, 0
    wanted = [sensor.topic, inputs.odometry or inputs.twist]
    for topic, kind, t, msg in islice(bag.messages(wanted), SIGN_MESSAGES):
        world = messages.convert(msg, kind, bound[normalised(topic)], t, config)
        if isinstance(world, RadarScan):
            static = -speed * np.cos(world.azimuth + sensor.yaw)
            seen = np.abs(static) > 2.0
            fitting += int(np.sum(seen & (np.abs(world.range_rate - static) < 1.0)))
            opposite += int(np.sum(seen & (np.abs(world.range_rate + static) < 1.0)))
        else:  # what cannot be read leaves the speed as it is
            speed = float(getattr(world, "speed", speed))
    return opposite >= 20 and opposite > 2 * fitting


def _words(topic: str, frame: str) -> set[str]:
    text = re.sub(r"([a-z])([A-Z])", r"\1_\2", f"{topic}_{frame}").lower()
    return set(re.split(r"[^a-z]+", text))


def _mount(words: set[str], vehicle: Vehicle) -> tuple[float, float, float]:
    """Mount (x, y, yaw) from words: the middle of a side looks outwards, a corner looks diagonally."""
    rear = bool(words & {"rear", "back", "rl", "rr", "rc", "bl", "br"})
    front = bool(words & {"front", "fl", "fr", "fc"}) and not rear
    left = bool(words & {"left", "fl", "rl", "bl"})
    right = bool(words & {"right", "fr", "rr", "br"}) and not left
    side = 1.0 if left else -1.0 if right else 0.0
    y = side * vehicle.width / 2
    if not side:
        return (-vehicle.rear, 0.0, math.pi) if rear else (vehicle.front, 0.0, 0.0)
    if rear:
        return -vehicle.rear, y, side * 3 * math.pi / 4
    if front:
        return vehicle.front, y, side * math.pi / 4
    return (vehicle.front - vehicle.rear) / 2, y, side * math.pi / 2


def _name(topic: str, taken: Mapping[str, Any]) -> str:
    """Short unique name from a topic: `/radar/front/tracks` -> `radar_front`."""
    parts = [part for part in normalised(topic).split("/") if part]
    while len(parts) > 1 and parts[-1].lower() in TAILS:
        parts.pop()
    base = re.sub(r"[^A-Za-z0-9_]", "_", "_".join(parts[-2:])) or "sensor"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name
