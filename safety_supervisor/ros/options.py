"""Parameters of the small nodes beside the supervisor: declared read-only, unknown ones and wrong types refused."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from safety_supervisor.core.config import ConfigError
from safety_supervisor.vehicle_file import NODE_KEYS


def declared(node: Node, defaults: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    """Declare parameters given as name -> (default, meaning) and return their values.

    Raises `ConfigError` with one line that names what is not understood.
    """
    given = {name: p.value for name, p in node._parameter_overrides.items() if name.split(".")[0] not in NODE_KEYS}
    values = {name: default for name, (default, _) in defaults.items()}
    for name, value in given.items():
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, 1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(defaults)}"
            raise ConfigError(f"unknown parameter {name} = {value!r}, {hint}")
        kind = type(values[name])
        value = float(value) if kind is float and type(value) is int else value
        if type(value) is not kind:
            raise ConfigError(f"{name} = {value!r} must be {kind.__name__}")
        values[name] = value
    made = [(name, values[name], ParameterDescriptor(description=why, read_only=True))
            for name, (_, why) in defaults.items()]
    node.declare_parameters("", made, ignore_override=True)
    return values
