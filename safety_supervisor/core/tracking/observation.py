"""One scan of one radar as the tracker takes it: usable detections with their noise, seen from where the sensor was.

Left out, and counted: what is not finite, absurd or out of range; what an ECU itself calls invalid; and what is
ego's own: returns from inside ego's outline, and from the sector of the mount that the vehicle file excludes (a
bumper beam, a trailer hitch). What an object list says of its own errors is believed where it is larger than the
declared noise; zero, negative or not finite means unknown, never exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safety_supervisor.core.config import Sensor, Tracking, Vehicle
from safety_supervisor.core.world import Bools, Floats, Ints, RadarScan

from .association import Detections, merged, ordered, usable
from .ego import EgoHistory, SensorPose, sensor_pose

VEHICLE = Vehicle()


@dataclass(frozen=True, slots=True)
class Observation:
    """What one sensor saw at `t`, and from where: detections in canonical order, returns of one body merged."""

    t: int
    found: Detections
    pose: SensorPose
    sensor: Sensor
    rejected: int = 0
    """Detections that were not usable."""
    own: int = 0
    """Detections of ego's own body."""
    name: str = ""
    """Of the sensor."""
    from_objects: bool = False
    """A list of objects, not of detections."""
    returns: Detections = field(default_factory=lambda: Detections(np.zeros((0, 3)), np.zeros((0, 3))))
    """The detections before returns of one body were merged."""


def observe(
    scan: RadarScan, measured: int, ego: EgoHistory, sensor: Sensor, p: Tracking, vehicle: Vehicle = VEHICLE
) -> Observation:
    """Return what a scan shows.

    Which part of a body returns changes from scan to scan, and a body returns more than once; the ECU that made an
    object list has settled both.
    """
    at = ego.at(measured)
    assert at is not None  # track_radar does nothing without odometry
    n = min(len(scan.range), len(scan.azimuth), len(scan.range_rate))
    z = np.empty((n, 3))
    z[:, 0], z[:, 1], z[:, 2] = scan.range[:n], scan.azimuth[:n], scan.range_rate[:n]
    good = usable(z, sensor)
    if scan.trust is not None:
        good &= scan.trust[:n] > 0  # NaN is no trust
    rows = good.nonzero()[0]
    rejected = max(len(scan.range), len(scan.azimuth), len(scan.range_rate)) - len(rows)
    z = z[rows]
    own = own_body(z, sensor, vehicle)
    mine = int(np.count_nonzero(own))
    if mine:
        rows, z = rows[~own], z[~own]
    extent = None if scan.half_width is None else _sides(scan.half_width[rows])
    trust = None if scan.trust is None else scan.trust[rows]
    returns = ordered(z, _sigma(scan, z[:, 0], rows, sensor, p), p, trust, extent)
    found = returns if scan.from_objects else merged(returns, p)
    return Observation(measured, found, sensor_pose(at, sensor), sensor, rejected, mine, scan.sensor,
                       scan.from_objects, returns)


def own_body(z: Floats, sensor: Sensor, vehicle: Vehicle) -> Bools:
    """Return which rows of `z` (N, 3) lie inside ego's outline, or in the sector that the vehicle file excludes.

    One standard deviation of range is left out of the outline: what touches ego is not ego.
    """
    bearing = z[:, 1] + sensor.yaw
    x = sensor.x + z[:, 0] * np.cos(bearing)
    y = sensor.y + z[:, 0] * np.sin(bearing)
    s = sensor.sigma_range
    inside = (x < vehicle.front - s) & (x > s - vehicle.rear) & (np.abs(y) < vehicle.width / 2 - s)
    if sensor.exclude_range > 0:
        between = (z[:, 1] >= sensor.exclude_from) & (z[:, 1] <= sensor.exclude_to)
        inside |= between & (z[:, 0] <= sensor.exclude_range)
    return np.asarray(inside)


def _sigma(scan: RadarScan, distance: Floats, rows: Ints, sensor: Sensor, p: Tracking) -> Floats:
    """Return (N, 3) standard deviations of some rows of a scan: declared ones, or larger ones that the list gives."""
    wander = 0.0 if scan.from_objects else p.extent_sigma
    sigma = np.empty((len(rows), 3))
    sigma[:, 0], sigma[:, 2] = sensor.sigma_range, sensor.sigma_range_rate
    sigma[:, 1] = np.hypot(sensor.sigma_azimuth, wander / np.maximum(distance, 1.0))
    if scan.sigma is not None:
        given = scan.sigma[rows]
        sigma = np.maximum(sigma, np.where(np.isfinite(given) & (given > 0), given, 0.0))
    return sigma


def _sides(half_width: Floats) -> Floats:
    """Return extents (N, 2) from the half widths of an object list; 0 or not finite = unknown."""
    known = np.where(np.isfinite(half_width) & (half_width > 0), half_width, 0.0)
    return np.stack([known, np.zeros(len(known))], axis=1)
