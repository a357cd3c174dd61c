"""The filter of the radar tracks: an extended Kalman filter over many tracks at once.

State x, y, vx, vy in `odom`, constant velocity with white acceleration. Measured are range, azimuth and range rate in
the sensor's own polar axes, so that the gate has the shape of the sensor's errors and nothing has to be converted.
Arrays hold one track per row; filterpy's per-object filters are the reference that the tests compare with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.world import Floats

from .ego import SensorPose

RANGE_FLOOR = 0.1
"""Nearer than this [m] the direction of the line of sight is not defined well enough to be linearised."""

TANGENT_MAX = 3.0
"""Beyond about 70 degrees from ego's course the Doppler says nothing about traffic along it."""

DIRECTED_SPEED = 2.0
"""Below this speed [m/s] an object has no direction yet along which it would rather accelerate."""


IDENTITY = np.eye(4)
HERE = IDENTITY[:2, :2]
MEASURED = IDENTITY[:3, :3]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a sensor would measure of N states: z (N, 3), its Jacobian H (N, 3, 4) and its spread H P H' (N, 3, 3)."""

    z: Floats
    jacobian: Floats
    spread: Floats


@dataclass(frozen=True, slots=True)
class Motion:
    """How objects may move otherwise than straight on at constant speed."""

    along: float
    """White acceleration along the motion [m^2/s^3]: braking is harder than swerving."""
    across: float
    """White acceleration across the motion [m^2/s^3]."""
    standing: float
    """White acceleration of what stands or walks, in any direction [m^2/s^3]."""
    drift: float = 0.0
    """Walk of the position [m^2/s]: odometry moves ego otherwise than the speed that compensates Doppler."""
    lag: float = 0.0
    """Speeds tell a change this much later than it moves the place [s]."""


def white_acceleration(velocity: Floats, motion: Motion) -> Floats:
    """Return the (N, 2, 2) densities [m^2/s^3] of the white acceleration at these velocities (N, 2)."""
    vx, vy = velocity[:, 0], velocity[:, 1]
    square = vx * vx + vy * vy
    share = 1 / (square + DIRECTED_SPEED * DIRECTED_SPEED)
    more = (motion.along - motion.across) * share
    base = motion.standing + (motion.across - motion.standing) * square * share
    acceleration = np.empty((len(velocity), 2, 2))
    part = more * vx
    acceleration[:, 0, 0] = base + part * vx
    acceleration[:, 1, 1] = base + more * vy * vy
    acceleration[:, 0, 1] = acceleration[:, 1, 0] = part * vy
    return acceleration


def process_noise(velocity: Floats, dt: float, motion: Motion) -> Floats:
    """Return the (N, 4, 4) covariances that are added in `dt` [s], of any sign, at these velocities (N, 2)."""
    acceleration = white_acceleration(velocity, motion)
    duration, lead = abs(dt), dt / 2 + math.copysign(motion.lag, dt)
    place = duration * (lead * lead + dt * dt / 12)  # dt^3 / 3 without a lag
    noise = np.empty((len(velocity), 4, 4))
    noise[:, :2, :2] = acceleration * place + motion.drift * duration * HERE
    noise[:, :2, 2:] = noise[:, 2:, :2] = acceleration * (lead * duration)
    noise[:, 2:, 2:] = acceleration * duration
    return noise


def unpredicted(cross: Floats, speed: Floats, added: Floats, dt: Floats, drift: float) -> tuple[Floats, Floats]:
    """Return along one axis the variance that the speed had `dt` (N,) [s] ago, and what has come to that of the place.

    `cross` and `speed` (N,) are the covariance of place and speed and the variance of the speed now, `added` (N,) what
    prediction has put to the latter [m^2/s^2]; the opposite of `process_noise` and `predict`, less the lag of speeds.
    """
    then = np.maximum(speed - added, 0.0)
    before = cross - dt * then - added * dt / 2
    return then, 2 * dt * before + dt * dt * then + added * dt * dt / 3 + drift * dt


def predict(state: Floats, cov: Floats, dt: float, motion: Motion) -> tuple[Floats, Floats]:
    """Move N states by `dt` [s]; backwards (a stamp ahead of the tick) adds uncertainty just as forwards."""
    if dt == 0:
        return state, cov
    moved, spread = state.copy(), process_noise(state[:, 2:], dt, motion)
    moved[:, :2] += dt * state[:, 2:]
    cross, speed = cov[:, :2, 2:], dt * cov[:, 2:, 2:]  # F P F' by blocks, F = [[1, dt], [0, 1]]
    both = dt * cross
    spread += cov
    spread[:, :2, :2] += both + both.transpose(0, 2, 1) + dt * speed
    spread[:, :2, 2:] += speed
    spread[:, 2:, :2] += speed
    return moved, spread


def expect(state: Floats, cov: Floats, pose: SensorPose) -> Expected:
    """Project N states into the polar axes of a sensor: range, azimuth, range rate."""
    offset = state[:, :2] - (pose.x, pose.y)
    velocity = state[:, 2:] - (pose.vx, pose.vy)
    distance = np.maximum(np.hypot(offset[:, 0], offset[:, 1]), RANGE_FLOOR)
    sight = offset / distance[:, None]
    c, s = sight[:, 0], sight[:, 1]
    z = np.empty((len(state), 3))
    z[:, 0] = distance
    z[:, 1] = wrap(np.arctan2(offset[:, 1], offset[:, 0]) - pose.yaw)
    z[:, 2] = velocity[:, 0] * c + velocity[:, 1] * s
    jacobian = np.zeros((len(state), 3, 4))
    jacobian[:, 0, :2] = jacobian[:, 2, 2:] = sight
    jacobian[:, 1, 0], jacobian[:, 1, 1] = -s / distance, c / distance
    jacobian[:, 2, :2] = (velocity - z[:, 2:] * sight) / distance[:, None]
    return Expected(z, jacobian, jacobian @ (cov @ jacobian.transpose(0, 2, 1)))


def innovation(z: Floats, expected: Floats) -> Floats:
    """Return measured minus expected, with the azimuth wrapped."""
    difference = z - expected
    difference[..., 1] = wrap(difference[..., 1])
    return difference


def update(
    state: Floats, cov: Floats, expected: Expected, z: Floats, variance: Floats
) -> tuple[Floats, Floats]:
    """Correct N states by one measurement each; Joseph form, which stays symmetric and positive."""
    H = expected.jacobian
    gain = np.linalg.solve(expected.spread + variance[:, :, None] * MEASURED, H @ cov).transpose(0, 2, 1)
    corrected = state + (gain @ innovation(z, expected.z)[:, :, None])[:, :, 0]
    keep = IDENTITY - gain @ H
    noise = (gain * variance[:, None, :]) @ gain.transpose(0, 2, 1)
    return corrected, symmetric(keep @ cov @ keep.transpose(0, 2, 1) + noise)


def born(z: Floats, variance: Floats, pose: SensorPose, cross_sigma: float) -> tuple[Floats, Floats]:
    """Start N states from one measurement each: Doppler gives the speed along the line of sight, a prior the rest.

    Across it an object moves as little as `cross_sigma`, or as traffic along ego's own course would: at a wide bearing
    an oncoming car moves mostly across it. The prior is the mean of both, and its spread reaches either.
    """
    bearing = z[:, 1] + pose.yaw
    c, s, distance = np.cos(bearing), np.sin(bearing), z[:, 0]
    own, aside = c * pose.vx + s * pose.vy, c * pose.vy - s * pose.vx  # the sensor's speed along and across the sight
    along = z[:, 2] + own
    course = aside / np.maximum(np.abs(own), 1.0)  # tangent of the bearing from ego's course
    across = along * np.minimum(np.maximum(course, -TANGENT_MAX), TANGENT_MAX) / 2
    vx, vy = along * c - across * s, along * s + across * c
    state = np.stack([distance * c + pose.x, distance * s + pose.y, vx, vy], axis=1)
    J = np.zeros((len(z), 4, 4))  # d(x, y, vx, vy) / d(range, azimuth, range rate, speed across)
    J[:, 0, 0] = J[:, 2, 2] = J[:, 3, 3] = c
    J[:, 1, 0] = J[:, 3, 2] = s
    J[:, 2, 3] = -s
    J[:, 0, 1], J[:, 1, 1] = -distance * s, distance * c
    J[:, 2, 1], J[:, 3, 1] = aside * c - vy, aside * s + vx
    spread = np.empty((len(z), 1, 4))
    spread[:, 0, :3] = variance
    spread[:, 0, 3] = cross_sigma * cross_sigma + across * across
    return state, symmetric((J * spread) @ J.transpose(0, 2, 1))


def symmetric(cov: Floats) -> Floats:
    """Return the symmetric part, which rounding would otherwise lose."""
    half: Floats = (cov + cov.transpose(0, 2, 1)) / 2
    return half


def wrap(angle: Floats) -> Floats:
    """Return the same angles in [-pi, pi)."""
    wrapped: Floats = (angle + np.pi) % (2 * np.pi) - np.pi
    return wrapped
