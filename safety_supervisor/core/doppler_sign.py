"""Whether each radar counts range rates as the vehicle file says: the standing world must approach at ego's speed.

Drivers of one and the same radar differ in the sign. With the wrong one a guard rail drives away at twice ego's speed
and an object ahead seems to open the gap, so this is asked of every radar when ego moves for the first time, and
answered by what most returns say: the standing world, seen with this sign or with the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from safety_supervisor.core.config import Config, Sensor
from safety_supervisor.core.tracking import EgoHistory, sensor_pose
from safety_supervisor.core.world import Code, Finding, RadarScan, nanoseconds

Scores = tuple[tuple[str, int], ...]
"""(radar, scans that agree minus scans that contradict), at `SCANS` settled for good."""

SCANS = 10
"""Scans by which one answer must lead."""
RETURNS = 3
"""Returns in a scan that must agree with one answer."""
LEAD = 2
"""They must be more than this many times those of the other."""
SPEED_MIN = 2.0
"""Radial speed of a standing return [m/s] that tells the signs apart."""
TOLERANCE = 0.15
"""Share of that speed by which a return of the standing world may be off."""


def scored(scores: Scores, scans: tuple[RadarScan, ...], ego: EgoHistory, config: Config) -> Scores:
    """Return the scores after some scans; a radar that has proved its sign is not asked again."""
    known = dict(scores)
    for scan in scans:
        sensor = dict(config.sensors).get(scan.sensor)
        if sensor is None or scan.from_objects or known.get(scan.sensor, 0) >= SCANS:
            continue
        known[scan.sensor] = max(known.get(scan.sensor, 0) + _says(scan, ego, sensor), -SCANS)
    return tuple(sorted(known.items()))


def findings(scores: Scores) -> Iterator[Finding]:
    """Yield a finding for each radar whose sign has turned out to be wrong."""
    for name, score in scores:
        if score <= -SCANS:
            text = f"{name}: the standing world recedes at ego's speed; change doppler_sign of this sensor"
            yield Finding(Code.DOPPLER_SIGN, name, text)


def _says(scan: RadarScan, history: EgoHistory, sensor: Sensor) -> int:
    """Return 1 when a scan agrees with the sign, -1 when it contradicts, 0 when it does not tell."""
    ego = history.at(scan.t - nanoseconds(sensor.latency))
    if ego is None or not len(scan.range_rate):
        return 0
    pose = sensor_pose(ego, sensor)
    direction = pose.yaw + scan.azimuth
    approach = -(pose.vx * np.cos(direction) + pose.vy * np.sin(direction))
    telling = np.abs(approach) > SPEED_MIN
    room = TOLERANCE * np.abs(approach)
    agree = int((telling & (np.abs(scan.range_rate - approach) < room)).sum())
    contradict = int((telling & (np.abs(scan.range_rate + approach) < room)).sum())
    if max(agree, contradict) < RETURNS:
        return 0
    return int(agree > LEAD * contradict) - int(contradict > LEAD * agree)
