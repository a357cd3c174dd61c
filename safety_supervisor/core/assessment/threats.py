"""Threats: what stands in the corridor and what it asks for, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from safety_supervisor.core.assessment.expected import MAX_REQUIRED
from safety_supervisor.core.assessment.objects import Objects
from safety_supervisor.core.assessment.rating import CODES, Rated
from safety_supervisor.core.assessment.situation import NOMINAL, Situation
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import Contacts
from safety_supervisor.core.world import Arc, Code, Floats, Mode, Reason, Threat, Tracks


def threats_of(
    o: Objects, rated: Rated, tracks: Tracks, arcs: tuple[Arc, ...], situation: Situation, half: Floats
) -> Iterator[Threat]:
    """Yield one threat per track or arc in the corridor, arcs by their worst point."""
    speed, front = abs(situation.ego.speed), situation.path.front
    hit = (rated.met.hit | (rated.demand > NOMINAL)).nonzero()[0]
    order = hit[np.lexsort((rated.margin[hit], -rated.demand[hit]))]
    seen: set[int] = set()
    for i in map(int, order):
        row = int(o.row[i])
        if row in seen:
            continue
        seen.add(row)
        closing = speed - float(rated.met.along[i])
        gap = float(rated.met.gap[i])
        gap = gap if gap != np.inf else float(rated.met.station[i]) - front  # not met yet, it comes from the side
        yield Threat(
            int(tracks.id[row]) if row >= 0 else None, "radar" if row >= 0 else arcs[-1 - row].sensor, gap,
            float(rated.met.lateral[i]), closing, float(np.minimum(rated.margin[i], rated.crossing[i])),
            float(rated.expected.required[i]),
            max(gap, 0.0) / closing if closing > 1e-3 else float("inf"),
            Mode(int(rated.demand[i])), CODES[int(rated.code[i])],
            _drac(gap, closing), _pet(rated.met, i, float(half[i]), situation),
        )  # fmt: skip


def _drac(gap: float, closing: float) -> float:
    """Return the deceleration [m/s^2] that takes off the closing speed within the gap."""
    return 0.0 if not closing > 0.0 else min(closing * closing / (2 * max(gap, 1e-3)), MAX_REQUIRED)


def _pet(met: Contacts, i: int, half: float, situation: Situation) -> float:
    """Return the post-encroachment time [s] of a row that comes into ego's way or leaves it."""
    v, drift, offset = abs(situation.ego.speed), float(met.drift[i]), float(met.offset[i])
    if v < 0.1 or abs(drift) < 0.1:
        return float("inf")
    into, out = sorted(((-half - offset) / drift, (half - offset) / drift))
    if out <= 0.0:
        return float("inf")
    closing = v - float(met.along[i])
    station = float(met.station[i])
    arrives = (station - situation.path.front) / closing if closing > 0.1 else float("inf")
    leaves = (station + situation.path.rear) / closing if closing > 0.1 else float("inf")
    return max(into - max(leaves, 0.0), arrives - out, 0.0)


def decisive(threats: list[Threat]) -> Threat | None:
    """Return the threat that demands most, the smallest margin among equals."""
    return min(threats, key=lambda t: (-t.demand, t.margin if t.margin == t.margin else -np.inf), default=None)


def lead_of(o: Objects, rated: Rated, tracks: Tracks, config: Config) -> int | None:
    """Return the id of the nearest moving track on the path, None without one."""
    m = len(tracks)
    ahead = np.isfinite(rated.met.gap[:m]) & tracks.moved & (tracks.existence >= config.authority.lead)
    if not np.count_nonzero(ahead):
        return None
    return int(tracks.id[np.where(ahead, rated.met.gap[:m], np.inf).argmin()])


def explain(threat: Threat) -> Reason:
    """Return a threat in words and numbers."""
    who = f"track {threat.track}" if threat.track is not None else f"echo of {threat.source}"
    where = f"{who} {max(threat.gap, 0.0):.1f} m ahead, closing at {threat.closing_speed:.1f} m/s"
    why = {
        Code.ENVELOPE: f"worst-case margin {threat.margin:.2f} m, later the emergency fallback might not avoid it",
        Code.EXTRAPOLATION: f"on ego's present course the worst-case margin is {threat.margin:.2f} m",
        Code.NEAR_FIELD: f"near-field margin {threat.margin:.2f} m",
        Code.EXPECTED_MOTION: f"needs {threat.required:.1f} m/s^2 of braking and the plan does not keep clear",
        Code.TTC: f"time to collision {threat.ttc:.2f} s",
        Code.CROSSING: f"comes from {abs(threat.lateral):.1f} m beside, ego could not stop before its place",
        Code.CUT_IN: f"comes from {abs(threat.lateral):.1f} m beside into the way, braking later would be too late",
    }[threat.code]
    return Reason(threat.code, f"{where}: {why}", threat.track)


def told_shift(offset: float) -> str:
    """Return a shift [m, positive to the left] in words."""
    return f"of {abs(offset):.2f} m to the {'left' if offset > 0 else 'right'}"
