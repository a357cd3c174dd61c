"""Counterexamples as people say them: which numbers to prefer, and a sentence for a situation."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

LIKELY: Mapping[str, tuple[int, int]] = {
    "ego_speed": (5, 40), "speed": (5, 40), "reading": (5, 40), "object_speed": (-30, 30), "estimated_speed": (-30, 30),
    "gap": (1, 150), "true_gap": (1, 150), "distance": (1, 150), "side_gap": (0, 30), "side_speed": (0, 10),
    "response": (0, 2), "acceleration": (0, 3), "ego_acceleration": (-12, 5), "object_acceleration": (-12, 5),
    "closing_speed": (-30, 30), "closing_acceleration": (-10, 10), "horizon": (0, 5), "age": (0, 1),
    "ego_lateral_speed": (-2, 2), "object_lateral_speed": (-2, 2), "curvature": (0, 1),
}  # fmt: skip
"""Where traffic takes place: a counterexample in these ranges is looked for first."""


def sentence(values: Mapping[str, Fraction]) -> str:
    """Return the motion of ego and object in words, as far as the values tell; "" when they tell nothing."""
    parts = [*_ego(values), *_object(values)]
    return ", ".join(parts)


def _ego(values: Mapping[str, Fraction]) -> list[str]:
    speed = next((values[n] for n in ("ego_speed", "speed", "reading") if n in values), None)
    if speed is None:
        return []
    parts = [f"ego {_short(speed)} m/s"]
    if "ego_acceleration" in values:
        parts[0] += _changing(values["ego_acceleration"])
    if "response" in values:
        gain = f" at up to {_short(values['acceleration'])} m/s^2" if values.get("acceleration") else ""
        parts.append(f"its fallback acts after {_short(values['response'])} s{gain}")
    return parts


def _object(values: Mapping[str, Fraction]) -> list[str]:
    parts = []
    if "object_speed" in values:
        speed = values["object_speed"]
        text = f"oncoming {_short(-speed)} m/s" if speed < 0 else f"lead {_short(speed)} m/s"
        parts.append(text + (_changing(values["object_acceleration"]) if "object_acceleration" in values else ""))
    if "closing_speed" in values:
        parts.append(f"closing at {_short(values['closing_speed'])} m/s")
    gap = next((values[n] for n in ("gap", "true_gap", "distance", "clear_range") if n in values), None)
    return [*parts, f"gap {_short(gap)} m"] if gap is not None and parts else parts


def _changing(acceleration: Fraction) -> str:
    if acceleration < 0:
        return f" brakes {_short(-acceleration)} m/s^2"
    return f" accelerates {_short(acceleration)} m/s^2" if acceleration else ""


def _short(value: Fraction) -> str:
    return f"{float(value):.4g}"
