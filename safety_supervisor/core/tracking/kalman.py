"""The filter of the radar tracks: an extended Kalman filter over many tracks at once.

State x, y, vx, vy in `odom`, constant velocity with white acceleration. Measured are range, azimuth and range rate in
the sensor's own polar axes, so that the gate has the shape of the sensor's errors and nothing has to be converted.
Arrays hold one track per row; filterpy's per-object filters are the reference that the tests compare with.
"""

from __future__ import annotations

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
    """White acceleration across the motion, and of what stands [m^2/s^3]."""
    drift: float = 0.0
    """Walk of the position [m^2/s]: odometry moves ego otherwise than the speed that compensates Doppler."""


def process_noise(velocity: Floats, dt: float, motion: Motion) -> Floats:
    """Return the (N, 4, 4) covariances that are added in `dt` [s], of any sign, at these velocities (N, 2)."""
    square = np.sum(velocity * velocity, axis=1) + DIRECTED_SPEED * DIRECTED_SPEED
    directed = velocity[:, :, None] * velocity[:, None, :] / square[:, None, None]
    acceleration = motion.across * np.eye(2) + (motion.along - motion.across) * directed
    duration = abs(dt)
    noise = np.empty((len(velocity), 4, 4))
    noise[:, :2, :2] = acceleration * duration**3 / 3 + motion.drift * duration * np.eye(2)
    noise[:, :2, 2:] = noise[:, 2:, :2] = acceleration * dt * duration / 2
    noise[:, 2:, 2:] = acceleration * duration
    return noise


def predict(state: Floats, cov: Floats, dt: float, motion: Motion) -> tuple[Floats, Floats]:
    """Move N states by `dt` [s]; backwards (a stamp ahead of the tick) adds uncertainty just as forwards."""
    if dt == 0:
        return state, cov
    F = np.eye(4)
    F[0, 2] = F[1, 3] = dt
    return state @ F.T, symmetric(F @ cov @ F.T + process_noise(state[:, 2:], dt, motion))


def expect(state: Floats, cov: Floats, pose: SensorPose) -> Expected:
    """Project N states into the polar axes of a sensor: range, azimuth, range rate."""
    offset = state[:, :2] - (pose.x, pose.y)
    velocity = state[:, 2:] - (pose.vx, pose.vy)
    distance = np.maximum(np.hypot(offset[:, 0], offset[:, 1]), RANGE_FLOOR)
    sight = offset / distance[:, None]
    across = np.stack([-sight[:, 1], sight[:, 0]], axis=1)
    range_rate = np.sum(velocity * sight, axis=1)
    azimuth = wrap(np.arctan2(offset[:, 1], offset[:, 0]) - pose.yaw)
    jacobian = np.zeros((len(state), 3, 4))
    jacobian[:, 0, :2] = sight
    jacobian[:, 1, :2] = across / distance[:, None]
    jacobian[:, 2, :2] = (velocity - range_rate[:, None] * sight) / distance[:, None]
    jacobian[:, 2, 2:] = sight
    spread = jacobian @ cov @ jacobian.transpose(0, 2, 1)
    return Expected(np.stack([distance, azimuth, range_rate], axis=1), jacobian, spread)


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
    R = variance[:, :, None] * np.eye(3)
    gain = np.linalg.solve(expected.spread + R, H @ cov).transpose(0, 2, 1)
    corrected = state + (gain @ innovation(z, expected.z)[:, :, None])[:, :, 0]
    keep = np.eye(4) - gain @ H
    return corrected, symmetric(keep @ cov @ keep.transpose(0, 2, 1) + gain @ R @ gain.transpose(0, 2, 1))


def born(z: Floats, variance: Floats, pose: SensorPose, cross_sigma: float) -> tuple[Floats, Floats]:
    """Start N states from one measurement each: Doppler gives the speed along the line of sight, a prior the rest.

    The prior grows with what traffic along ego's own course would have across the line of sight: at a wide bearing an
    oncoming car moves mostly across it.
    """
    bearing = z[:, 1] + pose.yaw
    sight = np.stack([np.cos(bearing), np.sin(bearing)], axis=1)
    across = np.stack([-sight[:, 1], sight[:, 0]], axis=1)
    own = np.array([pose.vx, pose.vy])
    along = z[:, 2] + sight @ own
    state = np.concatenate([z[:, :1] * sight + (pose.x, pose.y), along[:, None] * sight], axis=1)
    J = np.zeros((len(z), 4, 4))  # d(x, y, vx, vy) / d(range, azimuth, range rate, speed across)
    J[:, :2, 0] = sight
    J[:, :2, 1] = z[:, :1] * across
    J[:, 2:, 1] = along[:, None] * across + (across @ own)[:, None] * sight
    J[:, 2:, 2] = sight
    J[:, 2:, 3] = across
    course = across @ own / np.maximum(np.abs(sight @ own), 1.0)  # tangent of the bearing from ego's course
    traffic = along * np.clip(course, -TANGENT_MAX, TANGENT_MAX)
    spread = np.concatenate([variance, (cross_sigma * cross_sigma + traffic * traffic)[:, None]], axis=1)
    return state, symmetric((J * spread[:, None, :]) @ J.transpose(0, 2, 1))


def symmetric(cov: Floats) -> Floats:
    """Return the symmetric part, which rounding would otherwise lose."""
    half: Floats = (cov + cov.transpose(0, 2, 1)) / 2
    return half


def wrap(angle: Floats) -> Floats:
    """Return the same angles in [-pi, pi)."""
    wrapped: Floats = (angle + np.pi) % (2 * np.pi) - np.pi
    return wrapped
