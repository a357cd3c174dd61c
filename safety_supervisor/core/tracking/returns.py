"""What moving bodies returned in the last seconds, return by return: all of it tells how a body moves as a whole.

A track follows one reflection; which part of a body that is, and how it wanders, is most of what it knows too little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.config import Tracking
from safety_supervisor.core.world import NANOSECONDS, Floats, owned

from .observation import Observation

SPAN = 2 * NANOSECONDS
"""Returns are remembered this long [ns]: a lane change begins and is under way within it."""
SCANS_MAX = 400
"""Bounded memory and time; the oldest go first. Ten radars at 20 Hz send as many."""


@dataclass(frozen=True, slots=True)
class Returns:
    """R returns of one scan that moved over ground."""

    t: int
    """When they were measured [ns]."""
    rows: Floats
    """(R, 6): x, y in odom [m]; direction of the line of sight in odom [rad]; speed over ground along it [m/s];
    standard deviations of the place along and across it [m]."""


def gathered(
    before: tuple[Returns, ...], seen: Iterable[Observation], t: int, p: Tracking
) -> tuple[Returns, ...]:
    """Return what is remembered at `t` [ns] once `seen` has arrived; lists of objects hold no returns."""
    new = [r for r in (_over_ground(scan, p) for scan in seen if not scan.from_objects) if len(r.rows)]
    since = t - SPAN
    return tuple([r for r in (*before, *new) if since < r.t <= t][-SCANS_MAX:])


def _over_ground(scan: Observation, p: Tracking) -> Returns:
    """Return the rows of one scan."""
    z, pose, sigma = scan.returns.z, scan.pose, np.sqrt(scan.returns.variance[:, 0])
    sight = z[:, 1] + pose.yaw
    cos, sin = np.cos(sight), np.sin(sight)
    speed = z[:, 2] + cos * pose.vx + sin * pose.vy
    x, y, across = pose.x + z[:, 0] * cos, pose.y + z[:, 0] * sin, z[:, 0] * scan.sensor.sigma_azimuth
    rows = np.stack([x, y, sight, speed, sigma, across], axis=1)[np.abs(speed) > p.moving_speed]
    return Returns(scan.t, owned(rows))
