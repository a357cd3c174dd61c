"""Arguments of the launch files, checked before any process starts: one line that names the argument."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from safety_supervisor.ros.parameters import DRIVER_TYPES, PLAN_TYPES, RADAR_TYPES

FLAGS = ("shadow", "allow_unproved", "use_sim_time", "autostart", "respawn", "gate", "stamped")
"""Arguments that are true or false, in any case."""
CHOICES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(FLAGS, ("true", "false")),
    "plan_type": tuple(PLAN_TYPES),
    "driver_type": tuple(DRIVER_TYPES),
    "radar_type": tuple(RADAR_TYPES),
    "log_level": ("debug", "info", "warn", "error", "fatal"),
    "messages": ("autoware", "standard"),
}
ALIKE = 0.83
"""From this likeness on an argument that nobody declared counts as a slip of the keyboard; launch itself ignores it.

An including launch file hands down all of its own arguments, so a name that is merely unknown must pass.
"""


def checked(known: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the arguments `known`, flags and choices in lower case.

    Raises `ValueError` with one line that names the argument when a value is not understood, or when something given is
    spelt nearly like an argument.
    """
    values = {name: str(given[name]) for name in known}
    every = sorted({*values, *CHOICES})
    for name in given:
        close = [] if name in every else difflib.get_close_matches(name, [n for n in every if n in values], 1, ALIKE)
        if close:
            raise ValueError(f"{name}:={given[name]} is no argument, did you mean {close[0]}?")
    for name in values.keys() & CHOICES.keys():
        lower, allowed = values[name].lower(), CHOICES[name]
        if lower not in allowed:
            close = difflib.get_close_matches(lower, allowed, 1)
            hint = f", did you mean {close[0]}?" if close else ""
            raise ValueError(f"{name}:={values[name]} is not understood, expected {' or '.join(allowed)}{hint}")
        values[name] = lower
    return values


def different(values: Mapping[str, str], one: str, other: str) -> None:
    """Raise `ValueError` when two topics that must differ are the same: what went out would come in again."""
    if values[one].lstrip("/") == values[other].lstrip("/"):
        raise ValueError(f"{one}:={values[one]} and {other}:={values[other]} are one topic, expected two")
