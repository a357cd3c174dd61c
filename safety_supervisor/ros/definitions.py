"""Type definitions of ROS messages, in the text form that recordings embed (`ros2msg`)."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

LINE = "=" * 80
BUILT_IN = re.compile(r"^(bool|byte|char|float32|float64|u?int(8|16|32|64)|w?string)\b")


def definition(msgtype: str) -> str:
    """Return the definition of `package/msg/Type` with all that it uses; empty when it is not installed as text."""
    texts: dict[str, str] = {}
    waiting = [msgtype]
    while waiting:
        name = waiting.pop(0)
        if name in texts:
            continue
        text = _text(name)
        if text is None:
            return ""
        texts[name] = text
        waiting += _used(text, name.split("/")[0])
    first, *others = texts
    parts = [texts[first], *(f"{LINE}\nMSG: {name.replace('/msg/', '/')}\n{texts[name]}" for name in others)]
    return "\n".join(parts)


def _text(msgtype: str) -> str | None:
    package, _, name = msgtype.split("/")
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    for prefix in filter(None, prefixes):
        path = Path(prefix) / "share" / package / "msg" / f"{name}.msg"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None


def _used(text: str, package: str) -> list[str]:
    """Types of the fields that are messages themselves."""
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2 or BUILT_IN.match(words[0]):
            continue
        name = words[0].partition("[")[0]
        if name == "Header":
            name = "std_msgs/Header"
        owner, _, short = name.rpartition("/")
        found.append(f"{(owner or package).split('/')[0]}/msg/{short}")
    return found
