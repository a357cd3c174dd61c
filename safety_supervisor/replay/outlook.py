"""What a trajectory would lead to: ego's body along it against one object that keeps its velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Floats, Plan, seconds

STEP = 0.05
"""Time step along a trajectory [s]."""
BEYOND = 4.0
"""A trajectory that does not end at rest is followed this long [s] beyond its end, straight on at its last speed."""
STANDS = 0.05
"""Slower than this [m/s] a vehicle stands."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object at time `t` [ns], in odom."""

    t: int
    x: float
    y: float
    vx: float
    vy: float
    half: float
    """Presumed half extent [m]."""


def along(plan: Plan, t: int) -> tuple[Floats, Floats]:
    """Return times [s] after `t` and poses (K, 4: x, y, yaw, speed) along a plan, and `BEYOND` its end."""
    begin = max(seconds(t - plan.t), float(plan.time[0]))
    end = float(plan.time[-1])
    times = np.arange(begin, end + STEP / 2, STEP) if end > begin else np.array([begin])
    columns = [plan.x, plan.y, np.unwrap(plan.yaw), plan.speed]
    poses = np.stack([np.interp(times, plan.time, column) for column in columns], axis=1)
    if abs(poses[-1, 3]) > STANDS:
        more = np.arange(STEP, BEYOND + STEP / 2, STEP)
        x, y, yaw, speed = poses[-1]
        way = speed * more
        straight = np.stack([x + way * np.cos(yaw), y + way * np.sin(yaw), np.full(len(more), yaw),
                             np.full(len(more), speed)], axis=1)  # fmt: skip
        times, poses = np.concatenate([times, times[-1] + more]), np.concatenate([poses, straight])
    return times - begin, poses


def clearance(poses: Floats, places: Floats, half: float, config: Config) -> Floats:
    """Return the distance [m] between ego's body at each pose and an object at each place; negative inside."""
    v = config.vehicle
    dx, dy = places[:, 0] - poses[:, 0], places[:, 1] - poses[:, 1]
    c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    ahead, left = c * dx + s * dy, c * dy - s * dx
    beside = np.abs(left) - v.width / 2
    along_ = np.maximum(ahead - v.front, -v.rear - ahead)
    outside = np.hypot(np.maximum(along_, 0.0), np.maximum(beside, 0.0))
    return np.asarray(np.where((along_ < 0) & (beside < 0), np.maximum(along_, beside), outside) - half)


def outcome(plan: Plan | None, t: int, thing: Object | None, config: Config) -> dict[str, Any] | None:
    """Return what a trajectory does from `t` on: where it stops, and how it meets the object."""
    if plan is None or len(plan.time) == 0:
        return None
    times, poses = along(plan, t)
    own = times <= max(float(plan.time[-1]) - seconds(t - plan.t), 0.0) + STEP / 2
    result: dict[str, Any] = {
        "horizon_s": _r(times[own][-1]),
        "length_m": _r(np.sum(np.hypot(*np.diff(poses[own, :2], axis=0).T))),
        "speed_start": _r(poses[0, 3]), "speed_end": _r(poses[-1, 3]), "stops_after_s": None,
        "closest_m": None, "closest_after_s": None, "contact_after_s": None, "impact_speed": None,
        "beyond_end": False,
    }  # fmt: skip
    stands = np.flatnonzero(np.abs(poses[:, 3]) < STANDS)
    if len(stands):
        result["stops_after_s"] = _r(times[stands[0]])
    if thing is None:
        return result
    lead = times + seconds(t - thing.t)
    places = np.stack([thing.x + thing.vx * lead, thing.y + thing.vy * lead], axis=1)
    apart = clearance(poses, places, thing.half, config)
    nearest = int(np.argmin(apart))
    result |= {"closest_m": _r(max(apart[nearest], 0.0)), "closest_after_s": _r(times[nearest])}
    hits = np.flatnonzero(apart <= 0)
    if len(hits):
        i = hits[0]
        ego = poses[i, 3] * np.array([np.cos(poses[i, 2]), np.sin(poses[i, 2])])
        result |= {"contact_after_s": _r(times[i]), "closest_after_s": _r(times[i]),
                   "impact_speed": _r(np.hypot(*(ego - (thing.vx, thing.vy))))}  # fmt: skip
        nearest = int(i)
    result["beyond_end"] = not bool(own[nearest])
    return result


def _r(value: Any) -> float | None:
    number = float(value)
    return round(number, 3) + 0.0 if np.isfinite(number) else None
