"""Static transforms, read once at configure and never in a tick; tf2_msgs is needed only where they are asked for."""

from __future__ import annotations

import importlib
import time
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile

from safety_supervisor import mounts
from safety_supervisor.core.config import Config, ConfigError
from safety_supervisor.messages import body_frame
from safety_supervisor.ros.parameters import Settings

PATIENCE = 3.0
"""Longest wait [s] for the transforms of all sensors that name a frame."""


def message_class() -> Any:
    """Return tf2_msgs/TFMessage; raises `ConfigError` when it is not installed."""
    try:
        return importlib.import_module("tf2_msgs.msg").TFMessage
    except (ImportError, AttributeError):
        raise ConfigError("mounts needs tf2_msgs/msg/TFMessage, but the package tf2_msgs is not installed") from None


def apply(config: Config, settings: Settings, context: Any) -> Config:
    """Return the parameter set with the mounts that `settings.mounts` asks for.

    `config` leaves them; `check` refuses when transforms say otherwise; `tf` takes them over, which makes another
    parameter set that needs a certificate of its own. Raises `ConfigError`.
    """
    if settings.mounts == "config":
        return config
    found = collect(message_class(), set(mounts.frames(config).values()), body_frame(config), context)
    if settings.mounts == "tf":
        return mounts.placed(config, found)
    mounts.check(config, found)
    return config


def collect(kind: Any, wanted: set[str], base: str, context: Any) -> dict[str, mounts.Pose]:
    """Listen on /tf_static until every wanted frame is tied to the base, or patience ends."""
    node = rclpy.create_node("safety_supervisor_transforms", context=context, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    transforms: list[Any] = []
    latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(kind, "/tf_static", lambda message: transforms.extend(message.transforms), latched)
    end = time.monotonic() + PATIENCE
    found: dict[str, mounts.Pose] = {}
    try:
        while not wanted <= found.keys() and time.monotonic() < end:
            executor.spin_once(0.1)
            found = mounts.poses(transforms, base)
    finally:
        executor.shutdown()
        node.destroy_node()
    return found
