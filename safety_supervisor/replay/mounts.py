"""Where sensors are mounted, from the static transforms of a recording (`/tf_static`)."""

from __future__ import annotations

import math
from typing import Any

from safety_supervisor.messages import BODY_FRAME, Unreadable, plain_type
from safety_supervisor.replay.bag import Bag
from safety_supervisor.replay.mapping import Mapping

Pose = tuple[float, float, float]
"""x, y [m], yaw [rad] in base_link."""


def static_mounts(bag: Bag, mapping: Mapping) -> dict[str, Pose]:
    """Return the pose in `base_link` of every frame that static transforms tie to it, seen from above."""
    edges: dict[str, list[tuple[str, Pose]]] = {}
    topics = [t.name for t in bag.topics if t.name.endswith("tf_static") and plain_type(t.msgtype) in _TYPES]
    for _, _, _, msg in bag.messages(topics) if topics else ():
        for item in () if isinstance(msg, Unreadable) else msg.transforms:
            parent, child = (mapping.frame(f.lstrip("/")) for f in (item.header.frame_id, item.child_frame_id))
            pose = _pose(item.transform)
            if pose is not None:
                edges.setdefault(parent, []).append((child, pose))
                edges.setdefault(child, []).append((parent, _inverse(pose)))
    found: dict[str, Pose] = {BODY_FRAME: (0.0, 0.0, 0.0)}
    queue = [BODY_FRAME]
    while queue:
        here = queue.pop(0)
        for there, pose in edges.get(here, ()):
            if there not in found:
                found[there] = _joined(found[here], pose)
                queue.append(there)
    del found[BODY_FRAME]
    return found


_TYPES = ("tf2_msgs/TFMessage", "tf/tfMessage")


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
