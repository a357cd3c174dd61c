"""What healthy sensors cover of the way ahead: where none looks nothing is free, it is unknown.

The way is that of the middle of ego's leading bumper along the judged path, in either direction of travel, so that in a
tight bend it leaves the view of a sensor that looks straight ahead. A place is covered when an object there, of the
extent that the corridor presumes, reaches into the sector of a healthy sensor. Frame `base_link`, closed forms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from safety_supervisor.core import health
from safety_supervisor.core.config import Config, Sensor, Vehicle
from safety_supervisor.core.geometry import Path, angle_difference
from safety_supervisor.core.world import Bools, Code, Finding, Floats, Health, Odometry

BLIND = 1.0
"""So near to the leading bumper [m] no cover is asked for: mounts leave gaps there, a turn on the spot stays there."""

UNHEALTHY = ("_MISSING", "_STALE", "_FROZEN", "_BLOCKED", "_STUCK")
"""Findings after which a sensor covers nothing."""


@dataclass(frozen=True, slots=True)
class View:
    """N places as S sensors see them."""

    ahead: Bools
    """(S, N) in the direction of the sector."""
    seen: Bools
    """(S, N) and within its range."""


def healthy(memory: health.Memory, trust: Health, t: int, config: Config) -> tuple[str, ...]:
    """Return the sensors that see what is there: fresh, and not frozen, blocked or stuck."""
    bad = {f.source for f in trust.findings if f.code.name.endswith(UNHEALTHY)}
    return tuple(
        name for name, sensor in config.sensors
        if name not in bad and (sensor.expected or not health.deaf(memory, name, t, config))
    )  # fmt: skip


def clear_range(path: Path, ego: Odometry, well: tuple[str, ...], config: Config) -> float:
    """Return how far [m] from ego's leading bumper the sensors `well` cover the way without a hole, 0 for not at all.

    Where the path ends inside their cover it counts as far as the farthest-seeing of them that looks along it.
    """
    mounts = _mounts(_Chosen(config.digest, well, path.reverse, config))
    if not len(mounts.farthest):
        return 0.0
    x, y = _way(path, ego, 0.0)
    extent, farthest = config.corridor.object_half_width, float(mounts.farthest[0])
    view = viewed(x, y, mounts.table[:1], extent)
    if len(mounts.table) > 1 and not view.ahead.all():  # it does not have all of the way in sight alone
        view = viewed(x, y, mounts.table, extent)
    edge = -path.front if path.reverse else path.front
    out = np.flatnonzero((x - edge) ** 2 + y * y > BLIND * BLIND)
    if not len(out):
        return farthest
    holes = out[~_some(view.seen, 0)[out]]
    if not len(holes):
        return max(farthest, float(path.s[-1]))
    hole = int(holes[0])
    if view.ahead[0, hole]:  # in sight of the farthest-seeing: its range ends between two samples
        return min(farthest, float(path.s[hole]))
    return float(path.s[hole - 1]) if view.seen[:, :hole].any() else 0.0


def findings(
    path: Path, ego: Odometry, well: tuple[str, ...], reach: float, clear: float, config: Config
) -> tuple[Finding, ...]:
    """Return which directions of the corridor, as far as ego needs to stop (`reach` [m]), have lost their cover.

    Both edges of the corridor count, the inside of a bend among them. What no sensor of the vehicle covers is no loss:
    it bounds the clear range, and is named only where nothing at all is covered.
    """
    missing = [(name, sensor) for name, sensor in config.sensors if name not in well]
    if not missing and clear > 0:
        return ()
    half = config.vehicle.width / 2 + config.corridor.margin
    near = path.s <= max(reach, BLIND)
    lines = [_way(path, ego, offset) for offset in (-half, 0.0, half)]
    x, y = (np.concatenate([line[axis][near] for line in lines]) for axis in (0, 1))
    extent = config.corridor.object_half_width
    kept = viewed(x, y, _table([s for n, s in config.sensors if n in well]), extent).seen
    gone = viewed(x, y, _table([s for _, s in missing]), extent).seen & ~_some(kept, 0)
    lost = _some(gone, 0)
    if lost.any():
        names = [name for (name, _), of in zip(missing, _some(gone, 1), strict=True) if of]
        return (_finding(x[lost], y[lost], path, f"without {' and '.join(names)}"),)
    return () if clear > 0 else (_finding(x, y, path, "no sensor is mounted that does"),)


def viewed(x: Floats, y: Floats, table: Floats, extent: float) -> View:
    """Return how places (N,) [m] are seen by S sensors of a `_table`; `extent` [m] beside a sector is still seen."""
    sx, sy, cos, sin, left_cos, left_sin, right_cos, right_sin, wide, reach2 = table.T[:, :, None]
    dx, dy = x - sx, y - sy
    left, right = (left_cos * dy - left_sin * dx) <= extent, (right_sin * dx - right_cos * dy) <= extent
    # A sector beyond a half plane is the union of two of them, else their intersection.
    inside = left & right & (cos * dx + sin * dy >= 0) | (wide > 0) & (left | right)
    return View(inside, inside & (dx * dx + dy * dy <= reach2))


def looked_at(x: Floats, y: Floats, well: tuple[str, ...], config: Config) -> Bools:
    """Tell at which places (N,) [m] of base_link the sensors `well` look, no nearer to them than they see."""
    sensors = [sensor for name, sensor in config.sensors if name in well]
    table, nearest = _table(sensors), np.array([sensor.range_min for sensor in sensors])
    sees = np.hypot(x - table[:, :1], y - table[:, 1:2]) >= nearest[:, None]
    return _some(viewed(x, y, table, 0.0).seen & sees, 0)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Some sensors of a vehicle, known by its digest."""

    digest: str
    names: tuple[str, ...]
    reverse: bool
    config: Config = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Mounts:
    table: Floats
    """(S, 10), the farthest-seeing along the way first."""
    farthest: Floats
    """(S,) how far each sees along the way [m]."""


@lru_cache(maxsize=64)
def _mounts(chosen: _Chosen) -> _Mounts:
    sensors = [sensor for name, sensor in chosen.config.sensors if name in chosen.names]
    far = [(_straight(sensor, chosen.config.vehicle, chosen.reverse), sensor) for sensor in sensors]
    far.sort(key=lambda pair: -pair[0])
    return _Mounts(_table([sensor for _, sensor in far]), np.array([distance for distance, _ in far]))


def _table(sensors: list[Sensor]) -> Floats:
    """Return (S, 10) place; boresight, left and right edge as directions; more than a half plane?; squared range."""
    rows = [
        (s.x, s.y, *(f(s.yaw + side * s.half_angle) for side in (0, 1, -1) for f in (math.cos, math.sin)),
         float(s.half_angle > math.pi / 2), s.range_max**2)
        for s in sensors
    ]  # fmt: skip
    return np.array(rows).reshape(-1, 10)


def _some(seen: Bools, axis: int) -> Bools:
    return np.asarray(seen.any(axis=axis))


def _way(path: Path, ego: Odometry, offset: float) -> tuple[Floats, Floats]:
    """Return (K,) places of the leading bumper along the path, `offset` [m] to the left of its middle, in base_link."""
    cos, sin = np.cos(path.heading), np.sin(path.heading)
    dx = path.x + path.front * cos - offset * sin - ego.x
    dy = path.y + path.front * sin + offset * cos - ego.y
    c, s = math.cos(ego.yaw), math.sin(ego.yaw)
    return c * dx + s * dy, c * dy - s * dx


def _straight(sensor: Sensor, vehicle: Vehicle, reverse: bool) -> float:
    """Return how far [m] ahead of the leading bumper a sensor sees that looks that way; 0 for one that does not."""
    looks = abs(angle_difference(sensor.yaw, np.pi if reverse else 0.0)) < min(sensor.half_angle, np.pi / 2)
    mount, edge = (-sensor.x, vehicle.rear) if reverse else (sensor.x, vehicle.front)
    return max(sensor.range_max + mount - edge, 0.0) if looks else 0.0


def _finding(x: Floats, y: Floats, path: Path, why: str) -> Finding:
    """Name the sector, seen from ego's leading bumper: bearings [deg] off the direction of travel."""
    bumper = -path.front if path.reverse else path.front
    distance = np.hypot(x - bumper, y)
    forward = np.pi if path.reverse else 0.0
    bearing = np.arctan2(y, x - bumper)[distance >= min(BLIND, float(distance.max()))]
    off = np.degrees((bearing - forward + np.pi) % (2 * np.pi) - np.pi)
    text = (f"the way ahead is not covered between {off.min():.0f} and {off.max():.0f} deg of the direction of travel, "
            f"from {distance.min():.1f} to {distance.max():.1f} m: {why}")  # fmt: skip
    return Finding(Code.WAY_UNCOVERED, "cover", text)
