"""Which topics the node listens to, with which message classes and quality of service."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from safety_supervisor import messages
from safety_supervisor.core.config import Config, ConfigError
from safety_supervisor.ros.parameters import PLAN_TYPES, RADAR_TYPES, Settings

DEPTH = 20
"""Messages kept per input between two ticks; at the longest period of 0.2 s that is 100 Hz."""

SENSOR_QOS = QoSProfile(
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
    history=HistoryPolicy.KEEP_LAST,
    depth=DEPTH,
)
"""Asks for the least, so that it matches every publisher; no deadline is requested, because a publisher that
offers none would then not match at all. Staleness is judged by the tick itself."""
RELEASE_QOS = QoSProfile(reliability=ReliabilityPolicy.RELIABLE, depth=1)


@dataclass(frozen=True, slots=True)
class Source:
    """One input: the name under which findings speak of it, its topic and its message type."""

    name: str
    topic: str
    type_name: str
    message: Any
    expected: bool

    @property
    def qos(self) -> Any:
        """Sensor data may be lost, a release must not."""
        return RELEASE_QOS if self.name == "release" else SENSOR_QOS


def sources(config: Config, settings: Settings) -> tuple[Source, ...]:
    """List every input of a parameter set.

    Raises `ConfigError` when a message package is not installed or two inputs share a topic.
    """
    messages.bindings(config)  # refuses a topic that is named twice
    inputs = config.inputs
    wanted = [
        ("odometry", inputs.odometry, "nav_msgs/msg/Odometry", True, "inputs.odometry"),
        ("plan", inputs.plan, PLAN_TYPES[settings.plan_type], inputs.plan_expected, "plan_type"),
        ("driver", inputs.driver, "std_msgs/msg/Bool", False, "inputs.driver"),
        ("release", messages.RELEASE_TOPIC, "std_msgs/msg/Empty", False, "release"),
    ]
    kinds = {
        "radar": RADAR_TYPES[settings.radar_type],
        "radar_tracks": "radar_msgs/msg/RadarTracks",
        "ultrasonic": "sensor_msgs/msg/Range",
    }
    for name, sensor in config.sensors:
        wanted.append((name, sensor.topic, kinds[sensor.kind], sensor.expected, f"sensors.{name}.kind"))
    # An empty topic is an input that the vehicle does not have.
    return tuple(
        Source(name, topic, type_name, _message(type_name, key), expected)
        for name, topic, type_name, expected, key in wanted
        if topic
    )


def _message(type_name: str, key: str) -> Any:
    package, _, name = type_name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        raise ConfigError(f"{key} needs {type_name}, but the package {package} is not installed") from None
