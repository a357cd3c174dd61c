"""A direction from which nothing comes back any more: is the object gone, or does the sensor not look there?

A radar that works hears something from everywhere: what hides an object returns itself, and behind an object that has
gone there is the rest of the world, or clutter. So a miss tells of a well-known object only where the scan holds any
detection of about its direction. Where it holds none, the direction is *silent*: a miss there does not take the track
its weight, as no scan at all would not, and a direction that stays silent in which something was in ego's way is
blocked. A list of objects that an ECU has made is silent wherever it has no object, and says nothing of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Bools, Floats, Ints, Mode, Odometry, Threat, Tracks, nanoseconds

WINDOW = 0.09
"""Detections this near to a bearing [rad] are of that direction; five degrees each way."""

BODY = 1.0
"""They may also be off by half a body [m] across the line of sight."""

UNSEEN = 0.1
"""A track that any sensor has detected in the last moment [s] is no witness of silence."""

SCANS = 6
"""So many silent scans in a row count where somebody moves: nobody who moves is gone from one moment to the next."""

PATIENCE = 24
"""So many for what never moved: a bridge or a sign leaves the view from below, and a direction in which three false
detections fall on 120 degrees is silent for six scans in one of six cases, for 24 in one of a thousand."""

UNHEARD = 0.4
"""Without any scan the same holds after this time [s]."""

ASIDE = 5.5
"""Who moves so near beside ego's course [m], a lane and a half, may come into the way unseen."""

WALK = 0.5
"""Slower [m/s] nobody walks into the way."""


@dataclass(frozen=True, slots=True)
class Silent:
    """Well-known tracks that a scan missed in a silent direction, and what the scan did hear."""

    id: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    azimuth: Floats = field(default_factory=lambda: np.zeros(0))
    """(S,) where each was expected [rad]."""
    heard: Floats = field(default_factory=lambda: np.zeros(0))
    """(M,) azimuths of all detections [rad]."""
    distance: Floats = field(default_factory=lambda: np.zeros(0))
    """(S,) how far away each was expected [m]."""
    hit: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """(H,) tracks of what moves that the scan did detect; clutter may hit the track of what stands."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One track that has vanished with all of its direction."""

    id: int
    azimuth: float
    scans: int
    demand: Mode = Mode.NOMINAL
    """What it may ask for while nobody sees it; NOMINAL where it was not in ego's way."""
    patience: int = PATIENCE
    """Silent scans before it asks."""
    distance: float = np.inf
    """How far away it was expected [m]."""

    @property
    def blocked(self) -> bool:
        """Nothing has come from there for so long that the sensor must be blocked, and it matters."""
        return self.demand > Mode.NOMINAL and self.scans >= self.patience


Ahead = tuple[tuple[int, Mode, int], ...]
"""Tracks in ego's way: what each may ask for when it vanishes, and after how many silent scans."""


def silent(azimuth: Floats, distance: Floats, heard: Floats, view: float = np.inf) -> Bools:
    """Return which expected bearings (N,) [rad] at a `distance` [m] nothing was heard from.

    A direction of which a part is outside of the sensor's `view` to each side [rad] cannot be told silent: a body there
    is seen, if at all, by the other part of it.
    """
    half = WINDOW + BODY / np.maximum(distance, BODY)
    heard_there = (np.abs(azimuth[:, None] - heard) <= half[:, None]).any(axis=1)
    return np.asarray(~heard_there & (np.abs(azimuth) + half <= view))


def followed(known: tuple[Direction, ...], now: Silent, ahead: Ahead) -> tuple[Direction, ...]:
    """Return the silent directions after one scan.

    One outlives its track, until something comes back from there, or the track itself is detected elsewhere.
    """
    where = zip(now.azimuth.tolist(), now.distance.tolist(), strict=True)
    place = dict(zip(now.id.tolist(), where, strict=True))
    asks = {i: (demand, patience) for i, demand, patience in ahead}
    old = {d.id: d for d in known}
    gone = [d for d in known if d.id not in place and d.id not in now.hit]
    quiet = silent(np.array([d.azimuth for d in gone]), np.array([d.distance for d in gone]), now.heard)
    lasting = [replace(d, scans=d.scans + 1) for d, still in zip(gone, quiet, strict=True) if still]
    for i, (azimuth, distance) in place.items():
        before = old.get(i, Direction(i, azimuth, 0))
        demand, patience = asks.get(i, (before.demand, before.patience))
        lasting.append(Direction(
            i, azimuth, before.scans + 1, max(before.demand, demand), min(before.patience, patience), distance))
    return tuple(sorted(lasting, key=lambda d: d.id))


def unheard(ahead: Ahead, tracks: Tracks, t: int) -> Mode:
    """Return what is asked for at `t` [ns] while a radar sends nothing new: a firm stop for who moves in ego's way."""
    moving = [i for i, demand, patience in ahead if demand == Mode.FIRM_STOP and patience == SCANS]
    old = tracks.id[t - tracks.updated > nanoseconds(UNHEARD)]
    return Mode.FIRM_STOP if np.isin(moving, old).any() else Mode.NOMINAL


def ahead_of(ego: Odometry, tracks: Tracks, threats: tuple[Threat, ...], config: Config) -> Ahead:
    """Return the tracks in ego's way, or near it and moving, with what each may ask for when it vanishes.

    A comfort stop for what demands anything; a firm one for what comes so near before it is forgotten that its worst
    case would be unsafe, and for who moves beside the way there.
    """
    blind = abs(ego.speed) * config.tracking.unseen_time
    beside, moved = _beside(ego, tracks, blind, config), dict(zip(tracks.id.tolist(), tracks.moved, strict=True))
    asks = {int(i): (Mode.FIRM_STOP, SCANS) for i in tracks.id[beside]}
    for threat in threats:
        if threat.track is None or threat.track in asks:
            continue
        patience = SCANS if moved[threat.track] else PATIENCE
        if threat.margin <= blind:
            asks[threat.track] = (Mode.FIRM_STOP, patience)
        elif threat.demand > Mode.NOMINAL:
            asks[threat.track] = (Mode.COMFORT_STOP, patience)
    return tuple((i, *asks[i]) for i in sorted(asks))


def _beside(ego: Odometry, tracks: Tracks, blind: float, config: Config) -> Bools:
    """Return who moves beside ego's course, at most `ASIDE`, is not oncoming, and near: within the next `blind` metres,
    or where ego comes to in this time and in a firm stop after it.
    """
    direction = -1.0 if ego.speed < 0 else 1.0
    cos, sin = direction * np.cos(ego.yaw), direction * np.sin(ego.yaw)
    x, y, vx, vy = tracks.state.T
    dx, dy = x - ego.x, y - ego.y
    edge = config.vehicle.rear if ego.speed < 0 else config.vehicle.front
    gap, offset = cos * dx + sin * dy - edge, cos * dy - sin * dx
    along, across = cos * vx + sin * vy, cos * vy - sin * vx
    spread = np.sqrt(np.maximum(tracks.cov[:, 2, 2] + tracks.cov[:, 3, 3], 0.0))
    closing = np.maximum(abs(ego.speed) - along, 0.0)
    reach = closing * config.tracking.unseen_time + closing * closing / (2 * config.fallback.firm_deceleration)
    comes = (across * offset < 0) & (np.abs(across) > np.maximum(WALK, spread)) & (gap <= config.authority.static_range)
    near = (gap > 0) & (gap <= np.maximum(blind, reach)) & (np.abs(offset) <= ASIDE)
    return np.asarray(near & (along > -config.tracking.moving_speed) & (tracks.moved | comes))
