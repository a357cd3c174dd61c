"""Where ego and its sensors are, and how they move, at the moment of a measurement.

Odometry arrives at its own rate; a detection is compensated with the pose and the velocity of *its sensor* at *its*
time. Poses are in `odom`, the motion of `base_link` is along ego's axes (REP-103); a sensor that sits off `base_link`
also moves with the yaw rate: v + w x l.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass

from safety_supervisor.core.config import Sensor
from safety_supervisor.core.world import NANOSECONDS, Odometry, seconds

SPAN = NANOSECONDS
"""Odometry is remembered this long [ns]: the largest sensor latency and the late scans need it."""

SAMPLES_MAX = 512
"""Bound of the memory at any odometry rate; the newest stay."""


@dataclass(frozen=True, slots=True)
class SensorPose:
    """Pose and velocity of one sensor in `odom`."""

    x: float
    y: float
    yaw: float
    vx: float
    vy: float


@dataclass(frozen=True, slots=True)
class EgoHistory:
    """The odometry of the last second, ordered by time."""

    samples: tuple[Odometry, ...] = ()

    def updated(self, new: Iterable[Odometry]) -> EgoHistory:
        """Return the history with `new` samples, in order of arrival; repeated stamps and unusable poses are left out.

        A sample more than a second older than the newest starts the history anew: either the clock was set back, or
        the newest carried a stamp from the future. Both heal with the next sample.
        """
        samples = list(self.samples)
        for sample in new:
            if not _usable(sample):
                continue
            if samples and sample.t < samples[-1].t - SPAN:
                samples = []
            place = bisect.bisect_left(samples, sample.t, key=_time)
            if place == len(samples) or samples[place].t != sample.t:
                samples.insert(place, sample)
        if samples:
            oldest = samples[-1].t - SPAN
            samples = samples[bisect.bisect_left(samples, oldest, key=_time) :][-SAMPLES_MAX:]
        return EgoHistory(tuple(samples))

    def has(self, t: int) -> bool:
        """Whether there is a sample of exactly this time."""
        place = bisect.bisect_left(self.samples, t, key=_time)
        return place < len(self.samples) and self.samples[place].t == t

    def since(self, t: int) -> Odometry:
        """Return the first sample of this time or later; there must be one."""
        return self.samples[bisect.bisect_left(self.samples, t, key=_time)]

    def at(self, t: int) -> Odometry | None:
        """Return ego at `t`: interpolated, or moved from the nearest end with constant speed and yaw rate."""
        if not self.samples:
            return None
        place = bisect.bisect_left(self.samples, t, key=_time)
        if place == len(self.samples):
            return _moved(self.samples[-1], t)
        if place == 0 or self.samples[place].t == t:
            return _moved(self.samples[place], t)
        return _between(self.samples[place - 1], self.samples[place], t)


def sensor_pose(ego: Odometry, sensor: Sensor) -> SensorPose:
    """Return pose and velocity of a sensor mounted on ego; an unknown yaw rate gives no lever-arm speed."""
    c, s = math.cos(ego.yaw), math.sin(ego.yaw)
    rate = ego.yaw_rate if math.isfinite(ego.yaw_rate) else 0.0
    forward, left = ego.speed - rate * sensor.y, rate * sensor.x
    return SensorPose(
        x=ego.x + c * sensor.x - s * sensor.y,
        y=ego.y + s * sensor.x + c * sensor.y,
        yaw=wrap(ego.yaw + sensor.yaw),
        vx=c * forward - s * left,
        vy=s * forward + c * left,
    )


def beam_speed(ego: Odometry, sensor: Sensor) -> float:
    """Return the speed [m/s] of a sensor along its own boresight: what it closes on a standing object ahead of it."""
    rate = ego.yaw_rate if math.isfinite(ego.yaw_rate) else 0.0
    return (ego.speed - rate * sensor.y) * math.cos(sensor.yaw) + rate * sensor.x * math.sin(sensor.yaw)


def wrap(angle: float) -> float:
    """Return the same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _time(sample: Odometry) -> int:
    return sample.t


def _usable(sample: Odometry) -> bool:
    return all(map(math.isfinite, (sample.x, sample.y, sample.yaw, sample.speed)))


def _moved(ego: Odometry, t: int) -> Odometry:
    """Move along the circle that speed and yaw rate describe; a straight line without a yaw rate."""
    dt = seconds(t - ego.t)
    if dt == 0:
        return ego
    turn = ego.yaw_rate * dt if math.isfinite(ego.yaw_rate) else 0.0
    chord = ego.speed * dt * _sinc(turn / 2)
    return Odometry(
        t=t,
        x=ego.x + chord * math.cos(ego.yaw + turn / 2),
        y=ego.y + chord * math.sin(ego.yaw + turn / 2),
        yaw=wrap(ego.yaw + turn),
        speed=ego.speed,
        yaw_rate=ego.yaw_rate,
    )


def _sinc(angle: float) -> float:
    return math.sin(angle) / angle if abs(angle) > 1e-6 else 1.0


def _between(a: Odometry, b: Odometry, t: int) -> Odometry:
    share = (t - a.t) / (b.t - a.t)
    return Odometry(
        t=t,
        x=a.x + share * (b.x - a.x),
        y=a.y + share * (b.y - a.y),
        yaw=wrap(a.yaw + share * wrap(b.yaw - a.yaw)),
        speed=a.speed + share * (b.speed - a.speed),
        yaw_rate=a.yaw_rate + share * (b.yaw_rate - a.yaw_rate),
    )
