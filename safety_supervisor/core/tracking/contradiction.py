"""A radar and a transducer that look at the same place and disagree for long: one of the two is wrong, or blocked.

Only at walking pace, only well inside the views of both, and only where the radar is certain. That an echo has no
radar track says nothing: walls and kerbs send ultrasound back and radar away. A certain radar object that a
transducer in good health does not hear does.
"""

from __future__ import annotations

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Arc, Code, Echo, Finding, Odometry, Tracks, seconds

Contradictions = tuple[tuple[str, int], ...]
"""(transducer, since when [ns])."""

LASTING = 1.5
"""A contradiction counts after this long [s]."""

CORE = 0.6
"""Share of the cone, and of the range, in which any body returns."""

CERTAIN, HITS = 0.9999, 20
"""Existence and detections of a radar object that must be heard."""


def contradicted(
    state: Contradictions, tracks: Tracks, arcs: tuple[Arc, ...], ego: Odometry | None, t: int, config: Config
) -> Contradictions:
    """Return the transducers that are silent about a certain radar object in front of them, and since when."""
    if ego is None or not arcs or abs(ego.speed) > config.near_field.speed_max:
        return ()
    rows = (tracks.existence >= CERTAIN) & (tracks.hits >= HITS) & ~tracks.suspect
    if not rows.any():
        return ()
    c, s = np.cos(ego.yaw), np.sin(ego.yaw)
    d = tracks.state[rows, :2] - (ego.x, ego.y)
    x, y = c * d[:, 0] + s * d[:, 1], c * d[:, 1] - s * d[:, 0]
    since = dict(state)
    now = []
    for arc in arcs:
        if arc.echo is not Echo.CLEAR or not arc.confirmed:
            continue
        dx, dy = x - arc.x, y - arc.y
        bearing = (np.arctan2(dy, dx) - arc.yaw + np.pi) % (2 * np.pi) - np.pi
        heard = (np.hypot(dx, dy) < CORE * arc.range) & (np.abs(bearing) < CORE * arc.half_angle)
        if heard.any():
            now.append((arc.sensor, min(since.get(arc.sensor, t), t)))
    return tuple(now)


def disagreements(state: Contradictions, t: int) -> tuple[Finding, ...]:
    """Return a finding for each contradiction that lasts."""
    return tuple(
        Finding(Code.ULTRASONIC_CONTRADICTED, name,
                f"{name} hears nothing where radar is certain of an object, for {seconds(t - since):.1f} s")
        for name, since in state
        if seconds(t - since) >= LASTING
    )  # fmt: skip
