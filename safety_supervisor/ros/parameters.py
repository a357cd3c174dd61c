"""ROS parameters of the node: overrides -> `Settings` and `Config`, and the declarations that tools see.

A vehicle file is a ROS parameter file. It reaches the node either as one (`--params-file`) or by its path in
the parameter `vehicle_file`; single parameters given besides then stand over the file. Everything is
read-only once the node is configured: another value means another parameter set and another proof.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from safety_supervisor import vehicle_file
from safety_supervisor.core import config as core_config
from safety_supervisor.core.config import GROUPS, Config, ConfigError, choice

SOURCE = "ROS parameters"
PLAN_TYPES = {
    "trajectory": "trajectory_msgs/msg/MultiDOFJointTrajectory",
    "path": "nav_msgs/msg/Path",
    "autoware": "autoware_planning_msgs/msg/Trajectory",
}
RADAR_TYPES = {"pointcloud2": "sensor_msgs/msg/PointCloud2", "radar_scan": "radar_msgs/msg/RadarScan"}
DRIVER_TYPES = {"bool": "std_msgs/msg/Bool", "autoware": "autoware_vehicle_msgs/msg/ControlModeReport"}
CONTROL_TYPES = {
    "twist": "geometry_msgs/msg/TwistStamped",
    "autoware": "autoware_control_msgs/msg/Control",
    "ackermann": "ackermann_msgs/msg/AckermannDriveStamped",
}
HEARTBEAT_TYPES = {"empty": "std_msgs/msg/Empty", "header": "std_msgs/msg/Header"}
OBJECT_TYPES = {
    "poses": "geometry_msgs/msg/PoseArray",
    "detections": "vision_msgs/msg/Detection3DArray",
    "autoware": "autoware_perception_msgs/msg/PredictedObjects",
}
READ_ONLY = "read-only after configure"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the node needs besides the vehicle: where to find it, whether to act, which types come in."""

    vehicle_file: str = choice("", (), "path of a vehicle file; parameters given besides stand over it")
    certificate: str = choice("", (), "path of the proof certificate; empty: the one beside vehicle_file")
    shadow: bool = choice(False, (), "judge and publish, but command nothing")
    allow_unproved: bool = choice(False, (), "arm without a certificate: simulation and tests only")
    autostart: bool = choice(False, (), "configure and activate at start, without a lifecycle manager")
    plan_type: str = choice("trajectory", tuple(PLAN_TYPES), "message type on inputs.plan")
    radar_type: str = choice("pointcloud2", tuple(RADAR_TYPES), "message type of sensors of kind radar")
    driver_type: str = choice("bool", tuple(DRIVER_TYPES), "message type on inputs.driver")
    control_type: str = choice("twist", tuple(CONTROL_TYPES), "message type on inputs.control")
    heartbeat_type: str = choice("empty", tuple(HEARTBEAT_TYPES), "message type on inputs.heartbeat")
    objects_type: str = choice("poses", tuple(OBJECT_TYPES), "message type on inputs.objects")
    mounts: str = choice("config", ("config", "check", "tf"), "sensor mounts: of the file, checked by TF, or TF's own")
    recorder: bool = choice(True, (), "keep a flight recorder and a log of the drive")
    recorder_folder: str = choice("", (), "where recordings go; empty: safety_supervisor below the ROS log folder")
    recorder_limit_mb: int = core_config.param(2000, "MB", 40, 1_000_000, "all recordings; the oldest go first")


def load(overrides: Mapping[str, Any]) -> tuple[Settings, Config]:
    """Validate all overrides of the node, given by dotted name.

    Raises `ConfigError` naming source, key, value and what is allowed, for unknown names too.
    """
    every_node = vehicle_file.NODE_KEYS
    ours = {name: value for name, value in overrides.items() if name.split(".")[0] not in every_node}
    own = {f.name for f in fields(Settings)}
    _refuse_unknown(ours, own)
    settings = _settings({name: value for name, value in ours.items() if name in own})
    nested = _nested({name: value for name, value in ours.items() if name not in own})
    config = core_config.from_mapping(_merged(_from_file(settings), nested), SOURCE)
    return settings, certified(settings, config)


def certified(settings: Settings, config: Config) -> Config:
    """Return the parameter set bound to the certificate that proves it, if there is one."""
    return core_config.with_certificate(config, _certificate(settings, config))


def declare(node: Node, settings: Settings, config: Config) -> None:
    """Declare every parameter with its value in force, its range, unit and reason.

    Raises `ConfigError` when the node was configured before with another value: a read-only parameter lives
    as long as its node.
    """
    new = []
    for name, value, spec in declarations(settings, config):
        if not node.has_parameter(name):
            new.append((name, value, descriptor(spec)))
        elif node.get_parameter(name).value != value:
            before = node.get_parameter(name).value
            raise ConfigError(f"{SOURCE}: {name} = {value!r} was {before!r}: restart the node to change it")
    node.declare_parameters("", new, ignore_override=True)


def declarations(settings: Settings, config: Config) -> Iterator[tuple[str, Any, Field[Any]]]:
    """Yield (dotted name, value, declaration) of every parameter in force."""
    for spec in fields(Settings):
        yield spec.name, getattr(settings, spec.name), spec
    groups = [(name, getattr(config, name)) for name in GROUPS]
    groups += [(f"sensors.{name}", sensor) for name, sensor in config.sensors]
    for prefix, group in groups:
        for spec in core_config.parameters(type(group)):
            yield f"{prefix}.{spec.name}", getattr(group, spec.name), spec


def descriptor(spec: Field[Any]) -> ParameterDescriptor:
    """Describe one declared parameter for ROS tools."""
    meta = spec.metadata
    unit = f" [{meta['unit']}]" if meta["unit"] else ""
    made = ParameterDescriptor(description=meta["why"] + unit, read_only=True)
    made.additional_constraints = f"{core_config.describe_range(spec)}; {READ_ONLY}"
    if isinstance(spec.default, bool) or "low" not in meta:
        return made
    if isinstance(spec.default, int):
        made.integer_range = [IntegerRange(from_value=int(meta["low"]), to_value=int(meta["high"]))]
    else:
        made.floating_point_range = [FloatingPointRange(from_value=meta["low"], to_value=meta["high"])]
    return made


def _refuse_unknown(overrides: Mapping[str, Any], own: set[str]) -> None:
    known = sorted({*own, *GROUPS, "sensors"})
    for name in overrides:
        top = name.split(".")[0]
        if top not in known or (top in own and name != top):
            close = difflib.get_close_matches(top, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"{SOURCE}: unknown key {name} = {overrides[name]!r}, {hint}")


def _settings(values: Mapping[str, Any]) -> Settings:
    hints = get_type_hints(Settings)
    for spec in fields(Settings):
        value = values.get(spec.name, spec.default)
        if type(value) is not hints[spec.name]:
            raise ConfigError(f"{SOURCE}: {spec.name} = {value!r} must be {hints[spec.name].__name__}")
        low, high = spec.metadata.get("low", value), spec.metadata.get("high", value)
        if not low <= value <= high or value not in (spec.metadata.get("allowed") or (value,)):
            raise ConfigError(f"{SOURCE}: {spec.name} = {value!r} must be {core_config.describe_range(spec)}")
    return Settings(**values)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted names into nested groups; the name of a sensor may hold dots itself."""
    out: dict[str, Any] = {}
    for name, value in flat.items():
        path = name.split(".")
        if path[0] == "sensors" and len(path) > 3:
            path = ["sensors", ".".join(path[1:-1]), path[-1]]
        node = out
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{SOURCE}: {name} = {value!r}: {part} is both a value and a group")
        node[path[-1]] = value
    return out


def _from_file(settings: Settings) -> dict[str, Any]:
    if not settings.vehicle_file:
        return {}
    try:
        return core_config.to_mapping(vehicle_file.load(Path(settings.vehicle_file).expanduser()))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        text = f"{SOURCE}: vehicle_file = {settings.vehicle_file!r}: {reason}, expected a YAML file"
        raise ConfigError(text) from None


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        out[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return out


def _certificate(settings: Settings, config: Config) -> str | None:
    """Hash of the certificate that proves exactly these parameters, None when there is none."""
    path = _certificate_path(settings)
    return vehicle_file.matching_certificate(path, config) if path else None


def _certificate_path(settings: Settings) -> Path | None:
    if settings.certificate:
        return Path(settings.certificate).expanduser()
    if settings.vehicle_file:
        return vehicle_file.certificate_path(Path(settings.vehicle_file).expanduser())
    return None


def certificate_text(settings: Settings) -> str:
    """Return the certificate file as it stands, empty when there is none; for the flight recorder."""
    path = _certificate_path(settings)
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError):
        return ""
