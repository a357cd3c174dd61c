"""Whether an ego, as it was driven, kept the proved worst-case margin: with perfect knowledge, beside the supervisor.

Nothing of tracking, corridor or assessment is used, only the envelope itself, so that it can tell a false stop from one
that the envelope has to demand: at every step everybody whose outline lies in the strip that ego really drives through
(its width and `corridor.margin` to each side) is measured from ego's front, with true gap and speeds, of this moment,
and with the full brake. Of the allowances for sensors only those count that the vehicle file declares for whatever is
measured (`gap_sigma_floor`, `geometry_bound`, `speed_error`, `speed_error_ratio`): with perfect sensors none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.envelopes import EPS, path_margin, upper_speed
from safety_supervisor.core.plan_check import check_plan
from safety_supervisor.core.world import Floats, Odometry
from safety_supervisor.scenarios.suites.case import Body, Case
from safety_supervisor.scenarios.suites.loop import EPOCH, planned
from safety_supervisor.scenarios.suites.recorded import DT, Driven
from safety_supervisor.scenarios.world import UNIT_CORNERS

STATION_STEP, OUTLINE_STEP, SPACING = 0.25, 0.25, 2.0
"""Between two points of ego's way, of an outline, and of the way where it is only asked who is near [m]."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What an ego as driven kept."""

    margin: float
    """Smallest worst-case margin [m]; inf when nobody was ever ahead of it."""
    at: float
    """When it was smallest [s]."""
    body: str
    """To whom."""
    undrivable: str
    """Why the recorded motion is no plan for a vehicle; nothing when it is one."""

    @property
    def inside(self) -> bool:
        """Whether the worst-case margin was kept all along."""
        return self.margin >= EPS

    @property
    def reason(self) -> str:
        """Why a stop may be due, in words and numbers; nothing for an ego that kept everything."""
        if self.undrivable:
            return self.undrivable
        return "" if self.inside else f"worst-case margin {self.margin:.2f} m to {self.body} at {self.at:.2f} s"


def kept(case: Case, past: Driven, config: Config) -> Kept:
    """Measure an ego as it was driven, from the end of the self-test on; the vehicle `config` has its size."""
    return Kept(*smallest(case, past, config), undrivable(case, past, config))


def smallest(case: Case, past: Driven, config: Config) -> tuple[float, float, str]:
    """Return the smallest worst-case margin [m] of that drive, when [s] and to whom; inf when nobody was ahead."""
    strip = _strip(case, past, config.vehicle.front)
    worst = (float("inf"), 0.0, "")
    for step in _judged(case, config):
        t = step * case.dt
        station, speed = past.at(t)
        way = strip[strip[:, 0] >= station - config.vehicle.rear]
        for body in _near(case, step, way, config):
            margin = _margin(body, step, way, station, speed, _rise(past, t, config), config)
            worst = min(worst, (margin, t, body.name))
    return worst


def _judged(case: Case, config: Config) -> range:
    return range(round(config.health.self_test_time / case.dt), case.steps)


def _near(case: Case, step: int, way: Floats, config: Config) -> list[Body]:
    """Return the bodies that may touch the way."""
    solid = [b for b in case.bodies if b.solid]
    if not solid or not len(way):
        return []
    places = np.array([b.at(step)[:2] for b in solid])
    reach = np.array([b.kind.length + b.kind.width for b in solid]) / 2 + config.vehicle.width + SPACING
    coarse = way[:: round(SPACING / STATION_STEP)]
    away = np.hypot(*(places[:, None] - coarse[:, 1:3]).transpose(2, 0, 1)).min(axis=1)
    return [solid[i] for i in np.flatnonzero(away < reach)]


def _rise(past: Driven, t: float, config: Config) -> float:
    """Return the acceleration [m/s^2] that the envelope has to count on: the hardest until the fallback acts."""
    response = config.timing.commit + config.timing.actuation_delay
    first, last = np.searchsorted(past.time, (t, t + response), side="right")
    speed = past.speed[max(first - 1, 0) : last + 1]
    driven = float(np.diff(speed).max()) / DT if len(speed) > 1 else 0.0
    return max(driven, 0.0) + config.envelope.acceleration_margin


def undrivable(case: Case, past: Driven, config: Config) -> str:
    """Return what the plan check says first of the recorded motion; nothing when it may be judged throughout."""
    for step in _judged(case, config):
        t = step * case.dt
        station, speed = past.at(t)
        x, y, yaw = (float(v) for v in case.way.pose(station))
        ego = Odometry(EPOCH, x, y, yaw, speed, 0.0)
        found = check_plan(planned(case, EPOCH, *past.plan(t, station, speed, 0.0)), None, ego, config)
        if found:
            return f"{found[0].text} at {t:.2f} s"
    return ""


def _strip(case: Case, past: Driven, front: float) -> Floats:
    """Return the way that ego drives (K, 4): station [m], x, y [m], direction [rad], as far as its front gets."""
    s = np.arange(past.station[0], past.station[-1] + front, STATION_STEP)
    return np.stack([s, *case.way.pose(s)], axis=1)


def _margin(
    body: Body, step: int, way: Floats, station: float, speed: float, rise: float, config: Config
) -> float:
    """Return the worst-case margin [m] to a body at one step; inf when it is not in the strip ahead of ego's rear."""
    x, y, yaw, vx, vy = body.at(step)
    vehicle, e, response = config.vehicle, config.envelope, config.timing.commit + config.timing.actuation_delay
    points = _outline(body) @ np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]) + (x, y)
    off = points[:, None] - way[:, 1:3]
    near = np.argmin((off * off).sum(axis=2), axis=1)
    dx, dy = off[np.arange(len(points)), near].T
    cos, sin = np.cos(way[near, 3]), np.sin(way[near, 3])
    further, across = cos * dx + sin * dy, cos * dy - sin * dx
    inside = (np.abs(across) < vehicle.width / 2 + config.corridor.margin) & (np.abs(further) <= STATION_STEP)
    if not inside.any():
        return float("inf")
    along = np.where(inside, way[near, 0] + further, np.inf)
    first = int(np.argmin(along))
    gap, own = along[first] - station - vehicle.front, cos[first] * vx + sin[first] * vy
    gap -= e.sigma_k * e.gap_sigma_floor + e.geometry_bound
    return float(path_margin(gap, upper_speed(speed, e), own, response, rise, e))


def _outline(body: Body) -> Floats:
    """Return points (K, 2) of a body's outline in its own frame [m]."""
    corners = UNIT_CORNERS * (body.kind.length / 2, body.kind.width / 2)
    share = np.arange(0.0, 1.0, OUTLINE_STEP / max(body.kind.length, body.kind.width))[:, None]
    return np.concatenate([a + (b - a) * share for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
