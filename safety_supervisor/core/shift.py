"""A shift inside the corridor: ego's path moved sideways by a smooth step, and parallel to where it was from then on.

The step is the polynomial of fifth degree whose first and second derivatives vanish at both ends (Werling et al.,
ICRA 2010), over travelled distance: it is driven whatever the speed becomes meanwhile. Its length keeps lateral
acceleration, lateral jerk, curvature and steering rate within their limits at the speed of now, and ego only gets
slower. The brake gets what the friction circle leaves beside it (`fallback.brake_left` of the path). Forward only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.config import Config, Vehicle
from safety_supervisor.core.envelopes import upper_speed
from safety_supervisor.core.fallback import lateral_left
from safety_supervisor.core.geometry import Path, slopes
from safety_supervisor.core.paths import END_STRETCH
from safety_supervisor.core.world import Floats, Odometry, Plan, owned

SECOND = 10 / np.sqrt(3)
"""Largest second derivative of the step of height and length 1."""
THIRD = 60.0
"""Largest third derivative of it, at its ends."""
PIECES = 60
"""The step is looked at in so many places."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far ego goes to the side, from where on, and over which length along the path; all in metres."""

    offset: float
    """Positive to the left."""
    start: float
    length: float

    @property
    def end(self) -> float:
        """Where along the path ego is parallel again [m]."""
        return self.start + self.length

    def at(self, s: Floats) -> tuple[Floats, Floats]:
        """Return offset [m] and its slope at `s` (K,) [m] along the path."""
        u = np.minimum(np.maximum((s - self.start) / self.length, 0.0), 1.0)
        rise = u * u * u * (10 - 15 * u + 6 * u * u)
        slope = 30 * u * u * (1 - u) * (1 - u) / self.length
        return self.offset * rise, self.offset * slope


def step_of(offset: float, speed: float, config: Config) -> Step:
    """Return the shortest step to `offset` [m] that can be driven at `speed` > 0 [m/s], after the actuation delay."""
    f, limits, vehicle = config.fallback, config.plan_check, config.vehicle
    d, v = abs(offset), float(upper_speed(speed, config.envelope))
    length = max(
        v * np.sqrt(SECOND * d / min(f.shift_acceleration, lateral_left(config.odd))),
        v * np.cbrt(THIRD * d / min(f.shift_jerk, limits.lateral_jerk_max)),
        np.sqrt(SECOND * d / vehicle.curvature_max),
        np.cbrt(THIRD * d * v / limits.curvature_rate_max),
    )
    return Step(offset, v * config.timing.actuation_delay, float(length))


def swept(step: Step, vehicle: Vehicle) -> tuple[float, float]:
    """Return how far the body reaches to the right and to the left of the path [m], signed, corners included."""
    offset, slope = step.at(np.linspace(step.start, step.end, PIECES))
    cos = 1 / np.sqrt(1 + slope * slope)
    half = vehicle.width / 2 * cos
    ends = np.array([offset + vehicle.front * slope * cos, offset - vehicle.rear * slope * cos])
    return float((ends - half).min()), float((ends + half).max())


def shifted(path: Path, step: Step, ego: Odometry, until: float) -> Plan:
    """Return `path` moved sideways by `step`, driven at ego's speed, to `until` [m] and so far beyond the step that the
    path goes on as it was.
    """
    s = path.s[: int(path.s.searchsorted(max(until, step.end) + END_STRETCH)) + 1]
    n = len(s)
    heading, (offset, slope) = path.heading[:n], step.at(s)
    x, y = path.x[:n] - offset * np.sin(heading), path.y[:n] + offset * np.cos(heading)
    yaw = heading + np.arctan2(slope, 1 - offset * slopes(heading, s))
    way = np.zeros(n)
    np.hypot(x[1:] - x[:-1], y[1:] - y[:-1]).cumsum(out=way[1:])
    speed = abs(ego.speed)
    yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
    return Plan(ego.t, owned(way / speed), owned(x), owned(y), owned(yaw), owned(np.full(n, speed)))
