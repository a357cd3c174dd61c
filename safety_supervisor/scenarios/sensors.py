"""Models of radar, ultrasonics and odometry: what they miss, what they invent, and how wrong they are.

Mounts, fields of view and noise come from the vehicle file (`config.Sensor`); what no vehicle file says
(detection probability, clutter, spikes) is named here. Simplifications, said plainly: radar has no multipath
ghosts, no overhead structures and no micro-Doppler, and does not see walls; ultrasonics have no temperature
error and no sensor ringing. Each reading is in its sensor's frame: metres, radians, m/s; x along the boresight,
y to its left.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.config import Sensor
from safety_supervisor.core.world import Bools, Floats
from safety_supervisor.scenarios.plant import Ego
from safety_supervisor.scenarios.world import Bodies, World

BEST_DETECTION = 0.97
"""Detection probability of a near, unhidden body in one scan."""
REFLECTIONS_MAX = 4
"""Largest mean number of further reflections of one body in one scan."""
RESOLUTION = 0.03
"""Angle [rad] that separates two reflections of one body."""
CENTRES = (0.1, 0.5, 0.9)
"""Where on a face of a body its reflection centres are, as shares of its width."""
CENTRE_SIGMA = 0.1
"""How far a centre wanders from scan to scan [m]."""
POST_DETECTION = 0.2
"""Probability that a near guard-rail post returns an echo of its own in one scan."""
POST_RANGE = 70.0
"""Distance [m] at which that has fallen to half."""
CLUTTER = 5.0
"""False detections per scan; half look standing, half move at random."""
CLUTTER_SPEED = 30.0
"""Largest range rate of moving clutter [m/s]."""

LONGEST = 20.0
"""No body reaches farther from its centre [m]."""
RAYS = 21
"""Rays that stand for an ultrasonic cone."""
WALL_INCIDENCE = math.radians(12.0)
"""A flat wall mirrors the pulse away beyond this angle to its normal."""
BODY_INCIDENCE = math.radians(65.0)
"""Bodies are rounded and full of edges: they echo up to this angle."""
DROPOUT = 0.02
"""Probability of a ping without echo although something is there."""
SPIKE = 0.004
"""Probability of an echo from nowhere, anywhere in range."""
CROSS_TALK = 0.002
"""Probability of hearing another transducer: something nearer than anything that is there."""

SPEED_SIGMA = 0.02
"""White noise of odometry speed [m/s]."""
SPEED_SCALE = 0.003
"""Standard deviation of the wheel radius error, as a share."""
YAW_RATE_SIGMA = 0.003
"""White noise of the gyro [rad/s]."""
YAW_RATE_BIAS = 0.0005
"""Standard deviation of its bias [rad/s]."""


def stream(seed: int, source: str) -> np.random.Generator:
    """Return the random stream of one source; a silent source leaves those of the others as they are."""
    return np.random.default_rng([seed, zlib.crc32(source.encode())])


@dataclass(frozen=True, slots=True)
class Mounted:
    """A sensor's true pose and motion in `world`: x, y [m], yaw [rad], vx, vy [m/s]."""

    x: float
    y: float
    yaw: float
    vx: float
    vy: float


def mount(sensor: Sensor, ego: Ego) -> Mounted:
    """Return where a sensor is and how it moves, its lever arm included."""
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    dx, dy = cos * sensor.x - sin * sensor.y, sin * sensor.x + cos * sensor.y
    vx, vy = ego.speed * cos - ego.yaw_rate * dy, ego.speed * sin + ego.yaw_rate * dx
    return Mounted(ego.x + dx, ego.y + dy, ego.yaw + sensor.yaw, vx, vy)


# --- radar --------------------------------------------------------------------------------------------------


def radar(sensor: Sensor, world: World, bodies: Bodies, ego: Ego, rng: np.random.Generator) -> Floats:
    """Return one scan as (N, 3): range [m], azimuth [rad], range rate [m/s, negative = approaching]."""
    at = mount(sensor, ego)
    points, velocity, owner = _reflections(world, bodies, at, rng)
    keep = _in_view(points, sensor, at) & ~_hidden(points, owner, world, bodies, at)
    real = _measure(points[keep], velocity[keep], at)
    scan = np.concatenate([real, _clutter(sensor, at, rng)])
    scan += rng.normal(size=scan.shape) * (sensor.sigma_range, sensor.sigma_azimuth, sensor.sigma_range_rate)
    inside = (scan[:, 0] >= sensor.range_min) & (scan[:, 0] <= sensor.range_max)
    return np.asarray(scan[inside & (np.abs(scan[:, 1]) <= sensor.half_angle)])


def _reflections(
    world: World, bodies: Bodies, at: Mounted, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return reflecting points (N, 2), their velocities (N, 2) and the index of their body, -1 for posts."""
    points, velocity, owner = [np.zeros((0, 2))], [np.zeros((0, 2))], [np.zeros(0)]
    for i, (kind, corners) in enumerate(zip(bodies.kinds, bodies.corners, strict=True)):
        away = math.hypot(bodies.pose[i, 0] - at.x, bodies.pose[i, 1] - at.y)
        seen = rng.random() < BEST_DETECTION / (1 + (away / kind.radar_range) ** 6)
        if seen:
            resolved = min(max(kind.length, kind.width) / (RESOLUTION * max(away, 1.0)), REFLECTIONS_MAX)
            found = _on_visible_edges(corners, at, 1 + int(rng.poisson(resolved)), rng)
            points.append(found)
            velocity.append(np.broadcast_to(bodies.velocity[i], found.shape))
            owner.append(np.full(len(found), float(i)))
    far = np.hypot(world.posts[:, 0] - at.x, world.posts[:, 1] - at.y)
    posts = world.posts[rng.random(len(far)) < POST_DETECTION / (1 + (far / POST_RANGE) ** 6)]
    points.append(posts)
    velocity.append(np.zeros_like(posts))
    owner.append(np.full(len(posts), -1.0))
    return np.concatenate(points), np.concatenate(velocity), np.concatenate(owner)


def _on_visible_edges(corners: Floats, at: Mounted, count: int, rng: np.random.Generator) -> Floats:
    """Draw reflection centres on the edges that face the sensor, by the width that each one shows.

    Corners, wheel houses and the middle of a face reflect, not every point of it (Bühren and Yang, IV 2006).
    """
    ends = np.roll(corners, -1, axis=0)
    along, to = ends - corners, (corners + ends) / 2 - (at.x, at.y)
    shown = np.maximum(along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0], 0.0) / np.hypot(to[:, 0], to[:, 1])
    total = shown.sum()
    if total <= 0.0:  # only from within the body, that is after a collision
        return np.zeros((0, 2))
    edge = rng.choice(4, count, p=shown / total)
    share = rng.choice(CENTRES, (count, 1))
    return np.asarray(corners[edge] + share * along[edge] + rng.normal(0.0, CENTRE_SIGMA, (count, 2)))


def _in_view(points: Floats, sensor: Sensor, at: Mounted) -> Bools:
    bearing = np.arctan2(points[:, 1] - at.y, points[:, 0] - at.x) - at.yaw
    wrapped = np.arctan2(np.sin(bearing), np.cos(bearing))
    return np.asarray(np.abs(wrapped) <= sensor.half_angle)


def _hidden(points: Floats, owner: Floats, world: World, bodies: Bodies, at: Mounted) -> Bools:
    """Tell for each point whether an edge of another body, or a wall, lies between it and the sensor."""
    edges, _ = world.edges(bodies)
    belongs = np.concatenate([np.repeat(np.arange(len(bodies.kinds)), 4), np.full(len(world.walls), -2)])
    to = points - (at.x, at.y)
    share, along = _crossing(to[:, None], edges[None], at)
    blocks = (share > 0.0) & (share < 0.999) & (along >= 0.0) & (along <= 1.0)
    return np.asarray((blocks & (belongs[None] != owner[:, None])).any(axis=1))


def _crossing(to: Floats, edges: Floats, at: Mounted) -> tuple[Floats, Floats]:
    """Intersect sight lines sensor + share * `to` with edges; return (share, place on the edge 0..1)."""
    start = edges[..., 0, :] - (at.x, at.y)
    side = edges[..., 1, :] - edges[..., 0, :]
    cross = to[..., 0] * side[..., 1] - to[..., 1] * side[..., 0]
    cross = np.where(np.abs(cross) < 1e-12, np.nan, cross)
    share = (start[..., 0] * side[..., 1] - start[..., 1] * side[..., 0]) / cross
    along = (start[..., 0] * to[..., 1] - start[..., 1] * to[..., 0]) / cross
    return share, along


def _measure(points: Floats, velocity: Floats, at: Mounted) -> Floats:
    to, relative = points - (at.x, at.y), velocity - (at.vx, at.vy)
    reach = np.hypot(to[:, 0], to[:, 1])
    bearing = np.arctan2(to[:, 1], to[:, 0]) - at.yaw
    wrapped = np.arctan2(np.sin(bearing), np.cos(bearing))
    return np.stack([reach, wrapped, (to * relative).sum(axis=1) / reach], axis=1)


def _clutter(sensor: Sensor, at: Mounted, rng: np.random.Generator) -> Floats:
    count = int(rng.poisson(CLUTTER))
    reach = rng.uniform(sensor.range_min, sensor.range_max, count)
    azimuth = rng.uniform(-sensor.half_angle, sensor.half_angle, count)
    standing = -(at.vx * np.cos(azimuth + at.yaw) + at.vy * np.sin(azimuth + at.yaw))
    moving = rng.uniform(-CLUTTER_SPEED, CLUTTER_SPEED, count)
    return np.stack([reach, azimuth, np.where(rng.random(count) < 0.5, standing, moving)], axis=1)


# --- ultrasonics --------------------------------------------------------------------------------------------


def ultrasonic(sensor: Sensor, world: World, bodies: Bodies, ego: Ego, rng: np.random.Generator) -> float:
    """Return one ping [m] after REP-117: +inf without echo, -inf when something is within `range_min`."""
    chance, anywhere, noise = rng.random(), rng.random(), rng.normal(0.0, sensor.sigma_range)
    low, high = sensor.range_min, sensor.range_max
    echo = _first_echo(sensor, world, bodies, mount(sensor, ego)) + noise
    if chance < DROPOUT:
        echo = math.inf
    elif chance < DROPOUT + SPIKE:
        echo = low + anywhere * (high - low)
    elif chance < DROPOUT + SPIKE + CROSS_TALK:
        echo = low + anywhere * (min(max(echo, low), high) - low)
    if echo > high:
        return math.inf
    return echo if echo >= low else -math.inf


def _first_echo(sensor: Sensor, world: World, bodies: Bodies, at: Mounted) -> float:
    """Distance [m] of the first surface in the cone that throws the pulse back; inf without one."""
    away = np.hypot(bodies.pose[:, 0] - at.x, bodies.pose[:, 1] - at.y)
    if not world.walls and not (away < sensor.range_max + LONGEST).any():
        return math.inf  # the usual case on a free road, and worth a short cut
    edges, flat = world.edges(bodies)
    middle, length = edges.mean(axis=1), np.hypot(*(edges[:, 1] - edges[:, 0]).T)
    close = np.hypot(middle[:, 0] - at.x, middle[:, 1] - at.y) - length / 2 < sensor.range_max
    if not close.any():
        return math.inf
    edges, flat = edges[close], flat[close]
    angle = at.yaw + np.linspace(-sensor.half_angle, sensor.half_angle, RAYS)
    ray = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    reach, along = _crossing(ray[:, None], edges[None], at)
    side = edges[:, 1] - edges[:, 0]
    normal = np.stack([side[:, 1], -side[:, 0]], axis=1) / np.hypot(side[:, 0], side[:, 1])[:, None]
    upright = np.abs(ray @ normal.T) >= np.cos(np.where(flat, WALL_INCIDENCE, BODY_INCIDENCE))
    hit = (reach > 0.0) & (along >= 0.0) & (along <= 1.0)
    first = hit & (reach <= np.where(hit, reach, np.inf).min(axis=1, keepdims=True))
    return float(np.where(first & upright, reach, np.inf).min())


# --- odometry -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reckoning:
    """Dead-reckoned pose of `base_link` in `odom` and the measured motion; drifts from the truth."""

    t: float
    x: float
    y: float
    yaw: float
    speed: float
    yaw_rate: float
    scale: float
    bias: float


def reckoning(ego: Ego, rng: np.random.Generator) -> Reckoning:
    """Start odometry at the true pose, with this run's wheel-radius error and gyro bias."""
    scale, bias = rng.normal(0.0, (SPEED_SCALE, YAW_RATE_BIAS))
    return Reckoning(ego.t, ego.x, ego.y, ego.yaw, ego.speed, ego.yaw_rate, 1.0 + float(scale), float(bias))


def odometry(last: Reckoning, ego: Ego, rng: np.random.Generator) -> Reckoning:
    """Measure speed and yaw rate at ego's time and integrate the pose since `last`."""
    noise = rng.normal(0.0, (SPEED_SIGMA, YAW_RATE_SIGMA))
    stands = ego.speed == 0.0
    dt = ego.t - last.t
    travelled = dt * ego.speed * last.scale
    turned = 0.0 if stands else dt * (ego.yaw_rate + last.bias)
    middle = last.yaw + turned / 2
    return replace(
        last, t=ego.t, x=last.x + travelled * math.cos(middle), y=last.y + travelled * math.sin(middle),
        yaw=last.yaw + turned, speed=0.0 if stands else ego.speed * last.scale + float(noise[0]),
        yaw_rate=ego.yaw_rate + last.bias + float(noise[1]),
    )  # fmt: skip
