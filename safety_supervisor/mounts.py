"""Where sensors are mounted: from static transforms (tf2_msgs/TFMessage, read by attribute) into a parameter set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from safety_supervisor.core import config as parameters
from safety_supervisor.core.config import Config, ConfigError

Pose = tuple[float, float, float]
"""x, y [m], yaw [rad] in the base."""
PLACE, ANGLE = 0.02, 0.01
"""A mount in the vehicle file may differ from the transforms by this much [m], [rad]."""


def poses(transforms: Iterable[Any], base: str, name: Callable[[str], str] = lambda frame: frame) -> dict[str, Pose]:
    """Return the pose in `base` of every frame that transforms tie to it, seen from above; `name` renames frames."""
    edges: dict[str, list[tuple[str, Pose]]] = {}
    for item in transforms:
        parent, child = (name(f.lstrip("/")) for f in (item.header.frame_id, item.child_frame_id))
        pose = _pose(item.transform)
        if pose is not None:
            edges.setdefault(parent, []).append((child, pose))
            edges.setdefault(child, []).append((parent, _inverse(pose)))
    found: dict[str, Pose] = {base: (0.0, 0.0, 0.0)}
    queue = [base]
    while queue:
        here = queue.pop(0)
        for there, pose in edges.get(here, ()):
            if there not in found:
                found[there] = _joined(found[here], pose)
                queue.append(there)
    del found[base]
    return found


def frames(config: Config) -> dict[str, str]:
    """Return the frame of each sensor that names one."""
    return {name: sensor.frame for name, sensor in config.sensors if sensor.frame}


def placed(config: Config, found: Mapping[str, Pose]) -> Config:
    """Return the parameter set with the mounts of its sensors' frames; raises `ConfigError` naming what is missing."""
    values: dict[str, Any] = {}
    for name, frame in frames(config).items():
        if frame not in found:
            raise ConfigError(f"sensors.{name}.frame = {frame!r}: no transform ties it to the base")
        x, y, yaw = found[frame]
        values |= {f"sensors.{name}.x": x, f"sensors.{name}.y": y, f"sensors.{name}.yaw": yaw}
    return parameters.with_values(config, values, "transforms")


def check(config: Config, found: Mapping[str, Pose]) -> None:
    """Raise `ConfigError` naming the first sensor whose mount in the vehicle file is not the one of its frame."""
    there = dict(placed(config, found).sensors)
    for name, sensor in config.sensors:
        seen = there[name]
        off = math.hypot(sensor.x - seen.x, sensor.y - seen.y)
        turned = abs((sensor.yaw - seen.yaw + math.pi) % (2 * math.pi) - math.pi)
        if off > PLACE or turned > ANGLE:
            raise ConfigError(
                f"sensors.{name}: mount ({sensor.x:g}, {sensor.y:g}, {sensor.yaw:g}) is not that of the frame "
                f"{sensor.frame}, ({seen.x:.3f}, {seen.y:.3f}, {seen.yaw:.3f})"
            )


def _pose(transform: Any) -> Pose | None:
    q, p = transform.rotation, transform.translation
    values = [float(v) for v in (p.x, p.y, q.x, q.y, q.z, q.w)]
    if not all(map(math.isfinite, values)) or not any(values[2:]):
        return None
    x, y, qx, qy, qz, qw = values
    return x, y, math.atan2(2 * (qw * qz + qx * qy), qw * qw + qx * qx - qy * qy - qz * qz)


def _joined(a: Pose, b: Pose) -> Pose:
    c, s = math.cos(a[2]), math.sin(a[2])
    yaw = (a[2] + b[2] + math.pi) % (2 * math.pi) - math.pi
    return a[0] + c * b[0] - s * b[1], a[1] + s * b[0] + c * b[1], yaw


def _inverse(pose: Pose) -> Pose:
    c, s = math.cos(pose[2]), math.sin(pose[2])
    return -c * pose[0] - s * pose[1], s * pose[0] - c * pose[1], -pose[2]
