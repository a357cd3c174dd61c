"""The simulated world in the plane: a road, bodies that move along it by script, walls and roadside posts.

Frame `world`: metres, radians, seconds after the start of the run; the odometry of a run starts at the true
pose, so that `odom` and `world` agree up to its drift. Everything here is a pure function of time: the same
script gives the same world with and without the supervisor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely

from safety_supervisor.core.world import Bools, Floats, frozen

STATION_STEP = 0.5
"""Sampling of the centre line [m]; at a radius of 100 m the chord is off by 0.3 mm."""


@dataclass(frozen=True, slots=True)
class Road:
    """A centre line by arc length: `station` [m], `x`, `y` [m], `yaw` [rad, not wrapped], of equal length."""

    station: Floats
    x: Floats
    y: Floats
    yaw: Floats

    def pose(self, station: Floats | float, offset: Floats | float = 0.0) -> tuple[Floats, Floats, Floats]:
        """Return x, y [m] and road direction [rad] at `station` [m], `offset` [m] left of the centre line."""
        x, y, yaw = (np.interp(station, self.station, v) for v in (self.x, self.y, self.yaw))
        return np.asarray(x - offset * np.sin(yaw)), np.asarray(y + offset * np.cos(yaw)), np.asarray(yaw)

    def locate(self, x: float, y: float) -> tuple[float, float, float]:
        """Return station [m], offset to the left [m] and road direction [rad] of the point next to (x, y)."""
        i = int(np.argmin((self.x - x) ** 2 + (self.y - y) ** 2))
        cos, sin = math.cos(self.yaw[i]), math.sin(self.yaw[i])
        dx, dy = x - self.x[i], y - self.y[i]
        along = float(np.clip(dx * cos + dy * sin, -STATION_STEP, STATION_STEP))
        station = float(self.station[i]) + along
        return station, dy * cos - dx * sin, float(np.interp(station, self.station, self.yaw))


def road(pieces: Sequence[tuple[float, float]], start: float = -100.0) -> Road:
    """Build a road from (length [m], curvature at its end [1/m]); curvature changes linearly within a piece.

    The first piece is straight; station 0 lies at the origin of the world, heading along x.
    """
    ends = np.cumsum([start] + [length for length, _ in pieces])
    station = np.arange(start, ends[-1] + STATION_STEP / 2, STATION_STEP)
    middle = (station[1:] + station[:-1]) / 2
    curvature = np.interp(middle, ends, [0.0] + [value for _, value in pieces])
    yaw = np.concatenate([[0.0], np.cumsum(curvature * STATION_STEP)])
    chord = (yaw[1:] + yaw[:-1]) / 2
    x = start + np.concatenate([[0.0], np.cumsum(np.cos(chord) * STATION_STEP)])
    y = np.concatenate([[0.0], np.cumsum(np.sin(chord) * STATION_STEP)])
    return Road(frozen(station), frozen(x), frozen(y), frozen(yaw))


STRAIGHT = road([(1200.0, 0.0)])


@dataclass(frozen=True, slots=True)
class Kind:
    """What a body is: its rectangle [m] and how well radar sees it."""

    name: str
    length: float
    width: float
    radar_range: float
    """Distance [m] at which one scan sees it with probability one half."""


CAR = Kind("car", 4.6, 1.85, 140.0)
VAN = Kind("van", 6.0, 2.05, 150.0)
TRUCK = Kind("truck", 14.0, 2.5, 180.0)
PEDESTRIAN = Kind("pedestrian", 0.5, 0.5, 70.0)


@dataclass(frozen=True, slots=True)
class Actor:
    """A body that follows the road by script; `station` is that of its centre at t = 0."""

    name: str
    kind: Kind
    station: float
    offset: float = 0.0
    speed: float = 0.0
    """Along the road [m/s], never negative; `direction` says which way."""
    direction: int = 1
    accelerations: tuple[tuple[float, float], ...] = ()
    """(from t [s], acceleration [m/s^2]); braking ends at standstill."""
    swerves: tuple[tuple[float, float, float], ...] = ()
    """(from t [s], duration [s], offset at its end [m]); smooth, but at constant speed for pedestrians."""

    def motion(self, t: float) -> tuple[float, float, float, float]:
        """Return station [m], offset [m], signed speed along the road, speed to the left [m/s] at `t` [s]."""
        travelled, speed = _longitudinal(self.speed, self.accelerations, t)
        offset, across = self._lateral(t)
        return self.station + self.direction * travelled, offset, self.direction * speed, across

    def _lateral(self, t: float) -> tuple[float, float]:
        offset, across = self.offset, 0.0
        for begin, duration, target in self.swerves:
            u = min(max((t - begin) / duration, 0.0), 1.0)
            change = target - offset
            linear = self.kind is PEDESTRIAN
            rate = 1.0 if linear else 6 * u * (1 - u)
            across = change * rate / duration if 0.0 < u < 1.0 else across * (u <= 0.0)
            offset += change * (u if linear else u * u * (3 - 2 * u))
        return offset, across


def _longitudinal(
    speed: float, accelerations: tuple[tuple[float, float], ...], t: float
) -> tuple[float, float]:
    travelled, now, a = 0.0, 0.0, 0.0
    for begin, following in (*accelerations, (math.inf, 0.0)):
        span = min(begin, t) - now
        if span > 0.0:
            moving = min(span, speed / -a) if a < 0.0 else span
            travelled += speed * moving + a * moving * moving / 2
            speed = max(speed + a * moving, 0.0)
            now += span
        a = following
    return travelled, speed


@dataclass(frozen=True, slots=True)
class Bodies:
    """All bodies at one time, in `world`: M rows in the order of the script."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    pose: Floats
    """(M, 3): x, y [m] of the centre, yaw [rad]."""
    velocity: Floats
    """(M, 2): vx, vy [m/s]."""
    corners: Floats
    """(M, 4, 2) corners [m], counter-clockwise from front right."""

    def only(self, i: int) -> Bodies:
        """Return body `i` alone."""
        here = slice(i, i + 1)
        return Bodies(
            self.names[here], self.kinds[here], self.pose[here], self.velocity[here], self.corners[here]
        )


UNIT_CORNERS = np.array([(1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)])


def place(local: Floats, pose: Floats) -> Floats:
    """Return points (M, K, 2) given in frames at `pose` (M, 3) in the frame of the poses."""
    cos, sin = np.cos(pose[:, 2, None]), np.sin(pose[:, 2, None])
    x = pose[:, 0, None] + cos * local[..., 0] - sin * local[..., 1]
    y = pose[:, 1, None] + sin * local[..., 0] + cos * local[..., 1]
    return np.stack([x, y], axis=-1)


@dataclass(frozen=True, slots=True)
class Rail:
    """A row of posts along the road that radar sees as single standing reflections."""

    offset: float
    spacing: float = 4.0
    begin: float = -20.0
    end: float = 800.0


@dataclass(frozen=True, slots=True)
class World:
    """Road, scripted bodies, walls (segments, (W, 2, 2) [m]) and roadside rails."""

    road: Road = STRAIGHT
    actors: tuple[Actor, ...] = ()
    walls: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = ()
    rails: tuple[Rail, ...] = ()
    posts: Floats = field(init=False, compare=False)
    """(P, 2) positions of all posts [m]."""

    def __post_init__(self) -> None:
        rows = [np.zeros((0, 2))]
        for rail in self.rails:
            x, y, _ = self.road.pose(np.arange(rail.begin, rail.end, rail.spacing), rail.offset)
            rows.append(np.stack([x, y], axis=-1))
        object.__setattr__(self, "posts", frozen(np.concatenate(rows)))

    def bodies(self, t: float) -> Bodies:
        """Return every body at `t` [s] after the start."""
        motion = np.array([actor.motion(t) for actor in self.actors], float).reshape(-1, 4)
        x, y, direction = self.road.pose(motion[:, 0], motion[:, 1])
        cos, sin = np.cos(direction), np.sin(direction)
        along, across = motion[:, 2], motion[:, 3]
        vx, vy = along * cos - across * sin, along * sin + across * cos
        # A car points where it goes; a standing one and a pedestrian stay square to the road.
        back = np.array([math.pi if actor.direction < 0 else 0.0 for actor in self.actors])
        yaw = np.where(np.abs(along) > 1.0, np.arctan2(vy, vx), direction + back)
        names, kinds = tuple(a.name for a in self.actors), tuple(a.kind for a in self.actors)
        pose, velocity = np.stack([x, y, yaw], axis=1), np.stack([vx, vy], axis=1)
        half = np.array([(k.length / 2, k.width / 2) for k in kinds]).reshape(-1, 1, 2)
        return Bodies(names, kinds, pose, velocity, place(UNIT_CORNERS * half, pose))

    def edges(self, bodies: Bodies) -> tuple[Floats, Bools]:
        """Return all edges (S, 2, 2) [m] of bodies and walls and, for each, whether it is a flat wall."""
        corners = bodies.corners
        sides = np.stack([corners, np.roll(corners, -1, axis=1)], axis=2).reshape(-1, 2, 2)
        walls = np.array(self.walls, float).reshape(-1, 2, 2)
        return np.concatenate([sides, walls]), np.arange(len(sides) + len(walls)) >= len(sides)


def distance(footprint: Floats, world: World, bodies: Bodies) -> float:
    """Return the distance [m] from ego's `footprint` (4, 2) to the nearest body or wall, 0 on contact."""
    ego = shapely.Polygon(footprint)
    walls = shapely.linestrings(np.array(world.walls, float).reshape(-1, 2, 2))
    gaps = shapely.distance(ego, np.concatenate([shapely.polygons(bodies.corners), walls]))
    return float(gaps.min()) if gaps.size else math.inf
