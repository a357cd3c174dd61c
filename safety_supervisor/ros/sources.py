"""Which topics the node listens to, with which message classes and quality of service, and how their bytes are read."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from safety_supervisor import cdr, messages
from safety_supervisor.core.config import Config, ConfigError, Sensor
from safety_supervisor.ros.parameters import (
    CONTROL_TYPES,
    DRIVER_TYPES,
    HEARTBEAT_TYPES,
    OBJECT_TYPES,
    PLAN_TYPES,
    RADAR_TYPES,
    Settings,
)

DEPTH = 20
"""Messages kept per input between two ticks; at the longest period of 0.2 s that is 100 Hz."""
BYTES_MAX = 1_000_000
"""No message of an input is longer, except those of radars [bytes]; a longer one is dropped unread."""
RADAR_BYTES_MAX = 16_000_000
SHARED = ("driver", "release", "mrm")
"""Inputs that several nodes may publish; of every other one a second publisher is a fault."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input: the name under which findings speak of it, its topic and its message type."""

    name: str
    topic: str
    type_name: str
    message: Any
    expected: bool
    reliable: bool = False
    depth: int = DEPTH
    deadline: float = 0.0
    """Asked of publishers [s]; 0 when not asked."""
    bytes_max: int = BYTES_MAX
    timeout: float = 0.0
    """Age [s] from which an expected input is stale; 0 for the others."""

    @property
    def qos(self) -> Any:
        """Asks for the least unless the vehicle file asks for more, so that it matches every publisher."""
        profile = QoSProfile(
            reliability=ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.VOLATILE,
            history=HistoryPolicy.KEEP_LAST,
            depth=self.depth,
        )
        if self.deadline > 0.0:
            profile.deadline = Duration(nanoseconds=round(self.deadline * 1e9))
        return profile

    def read(self, raw: bytes) -> Any:
        """Return the message in `raw`: its view where it has one (`cdr`), else deserialised. Never raises."""
        seen = cdr.view(self.type_name, raw)
        if seen is not None:
            return seen
        try:
            return deserialize_message(raw, self.message)
        except Exception as error:  # bytes from outside; which class it is differs between middlewares
            return messages.Unreadable(type(error).__name__)


def sources(config: Config, settings: Settings) -> tuple[Source, ...]:
    """List every input of a parameter set.

    Raises `ConfigError` when a message package is not installed or two inputs share a topic.
    """
    messages.bindings(config)  # refuses a topic that is named twice
    found = [*_vehicle(config, settings), *_commands()]
    found += [_sensor(name, sensor, settings, config) for name, sensor in config.sensors]
    return tuple(source for source in found if source.topic)  # an empty topic is an input that is not there


def _vehicle(config: Config, settings: Settings) -> list[Source]:
    inputs = config.inputs
    plan, driver = PLAN_TYPES[settings.plan_type], DRIVER_TYPES[settings.driver_type]
    twist = "" if inputs.odometry else inputs.twist
    listened = "" if settings.shadow else inputs.driver  # a shadow judges whoever drives
    wanted = [
        ("odometry", inputs.odometry, "nav_msgs/msg/Odometry", True, "inputs.odometry"),
        ("odometry", twist, "geometry_msgs/msg/TwistStamped", True, "inputs.twist"),
        ("imu", inputs.imu, "sensor_msgs/msg/Imu", False, "inputs.imu"),
        ("plan", inputs.plan, plan, inputs.plan_expected, "plan_type"),
        *((f"plan_{i}", topic, plan, False, "plan_type")
          for i, topic in enumerate(messages.candidates(inputs.candidates), 1)),
        ("control", inputs.control, CONTROL_TYPES[settings.control_type], bool(inputs.control), "control_type"),
        ("heartbeat", inputs.heartbeat, HEARTBEAT_TYPES[settings.heartbeat_type], bool(inputs.heartbeat),
         "heartbeat_type"),
        ("objects", inputs.objects, OBJECT_TYPES[settings.objects_type], False, "objects_type"),
        ("room", inputs.room, "std_msgs/msg/Float64MultiArray", False, "inputs.room"),
        ("driver", listened, driver, False, "driver_type"),
    ]
    timeouts = {"odometry": config.health.odometry_timeout, "plan": config.health.plan_timeout,
                "control": config.health.control_timeout, "heartbeat": config.health.heartbeat_timeout}  # fmt: skip
    return [
        Source(name, topic, kind, _message(kind, key), expected, timeout=timeouts[name] if expected else 0.0)
        for name, topic, kind, expected, key in wanted if topic
    ]  # fmt: skip


def _commands() -> list[Source]:
    """What people and other nodes ask for; unlike sensor data it must not get lost."""
    topics = {
        "release": (messages.RELEASE_TOPIC, "std_msgs/msg/Empty"),
        "mrm": (messages.MRM_TOPIC, "std_msgs/msg/UInt8"),
    }
    return [
        Source(name, topic, kind, _message(kind, name), False, reliable=True, depth=5)
        for name, (topic, kind) in topics.items()
    ]


def _sensor(name: str, sensor: Sensor, settings: Settings, config: Config) -> Source:
    kinds = {
        "radar": RADAR_TYPES[settings.radar_type],
        "radar_tracks": "radar_msgs/msg/RadarTracks",
        "ultrasonic": "sensor_msgs/msg/Range",
    }
    kind = kinds[sensor.kind]
    pings = sensor.kind == "ultrasonic"
    timeout = config.health.ultrasonic_timeout if pings else config.health.radar_timeout
    return Source(
        name, sensor.topic, kind, _message(kind, f"sensors.{name}.kind"), sensor.expected, sensor.reliable,
        sensor.depth, sensor.deadline, BYTES_MAX if pings else RADAR_BYTES_MAX, timeout if sensor.expected else 0.0,
    )  # fmt: skip


def _message(type_name: str, key: str) -> Any:
    package, _, name = type_name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        raise ConfigError(f"{key} needs {type_name}, but the package {package} is not installed") from None
