"""Where sensors are mounted, from the static transforms of a recording (`/tf_static`)."""

from __future__ import annotations

from safety_supervisor.messages import BODY_FRAME, Unreadable, plain_type
from safety_supervisor.mounts import Pose, poses
from safety_supervisor.replay.bag import Bag
from safety_supervisor.replay.mapping import Mapping

__all__ = ["Pose", "static_mounts"]

_TYPES = ("tf2_msgs/TFMessage", "tf/tfMessage")


def static_mounts(bag: Bag, mapping: Mapping) -> dict[str, Pose]:
    """Return the pose in `base_link` of every frame that static transforms tie to it, seen from above."""
    topics = [t.name for t in bag.topics if t.name.endswith("tf_static") and plain_type(t.msgtype) in _TYPES]
    messages = [msg for _, _, _, msg in bag.messages(topics)] if topics else []
    transforms = [item for msg in messages if not isinstance(msg, Unreadable) for item in msg.transforms]
    return poses(transforms, BODY_FRAME, mapping.frame)
