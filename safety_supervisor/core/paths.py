"""Where ego goes, as a `Path` in samples: what a plan says, its present motion gone on with, or a turn on the spot.

Frame `odom`, SI units; everything in the direction of travel, see `geometry`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.config import Vehicle
from safety_supervisor.core.geometry import Path, unwrapped
from safety_supervisor.core.world import Floats, Odometry, Plan, owned

SAMPLES = 96
"""Path samples; at 200 m they lie 2 m apart, and between two the path bends by curvature * spacing^2 / 8."""
TURN, FINEST = 0.1, 8
"""Between two samples a path turns by no more than this [rad], or it has so many times more of them: the corners of a
body of 6 m then leave the outlines at the samples by 0.04 m at most."""
ORDINALS = owned(np.arange(float(FINEST * SAMPLES)))
END_STRETCH = 20.0
"""The curvature in which a plan is continued is its mean over this last stretch [m]."""
STAYS = 0.05
"""A plan that turns on the spot drives off when it is farther away than this [m]."""
MIN_STEP = 1e-3
"""Points closer than this [m] are one point; a stop may be written as two identical points."""


def planned_path(plan: Plan, ego: Odometry, vehicle: Vehicle, reach: float, brake: float) -> Path:
    """Return the path of a checked plan from ego's position on.

    It is continued in its last curvature to at least `reach` [m], and as far as a stop from the plan's last speed with
    `brake` [m/s^2] would go.
    """
    reverse = is_reverse(plan, ego)
    heading = unwrapped(plan.yaw + (np.pi if reverse else 0.0))
    step = np.hypot(plan.x[1:] - plan.x[:-1], plan.y[1:] - plan.y[:-1])
    step[step < MIN_STEP] = 0.0
    s = np.zeros(len(plan.x))
    step.cumsum(out=s[1:])
    s -= _along(plan, heading, s, ego)
    age = (ego.t - plan.t) / 1e9
    length = max(float(s[-1]), 0.0)
    beyond = float(plan.speed[-1]) ** 2 / (2 * brake)
    grid = _grid(max(length + beyond, reach, 1.0))
    points = (s, plan.x, plan.y, heading, plan.time - age)
    if np.count_nonzero(step) < len(step):  # identical points are one
        keep = np.concatenate([[True], step > 0])
        points = tuple(column[keep] for column in points)
    x, y, h = _poses(grid, *points[:4])
    finer = _finer(grid, float(np.abs(h[1:] - h[:-1]).max()))
    if finer is not grid:
        grid = finer
        x, y, h = _poses(grid, *points[:4])
    time = np.interp(grid, points[0], points[4], right=np.inf)
    speed = np.interp(grid, s, np.abs(plan.speed))
    time[0] = 0.0
    return Path(owned(grid), owned(x), owned(y), owned(h), owned(np.maximum(time, 0.0)), owned(speed),
                owned(np.zeros(len(grid))), length, *_ends(vehicle, reverse), reverse)


def _grid(length: float, samples: int = SAMPLES) -> Floats:
    """Return the places of the samples [m], as `np.linspace` does."""
    grid = ORDINALS[:samples] * (length / (samples - 1))
    grid[-1] = length
    return grid


def _finer(grid: Floats, turn: float) -> Floats:
    """Return a grid with more samples where its path turns by `turn` [rad] between two, itself where that is little."""
    more = turn / TURN
    return _grid(float(grid[-1]), math.ceil(min(more, FINEST)) * SAMPLES) if more > 1.0 else grid


def _ends(vehicle: Vehicle, reverse: bool) -> tuple[float, float]:
    """Return how far the body reaches ahead of and behind `base_link` in the direction of travel [m]."""
    return (vehicle.rear, vehicle.front) if reverse else (vehicle.front, vehicle.rear)


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """Ego's present motion gone on with: its curvature for `length` [m], then straight on to `reach` [m]."""

    ego: Odometry
    vehicle: Vehicle
    reverse: bool
    turn: float
    """Curvature in the direction of travel [1/m], 0 below 1 m/s or without a yaw rate."""
    widens: float
    """Standard deviation of that curvature [1/m]."""
    length: float
    reach: float

    @property
    def heading(self) -> float:
        """Direction of travel now [rad]."""
        return self.ego.yaw + (np.pi if self.reverse else 0.0)

    @property
    def spacing(self) -> float:
        """Distance of two samples of its path [m]."""
        return self.reach / (SAMPLES - 1)

    @property
    def sigma(self) -> float:
        """Lateral standard deviation at its end [m], where it is largest."""
        return self.widens * self.length * self.reach / 2

    @property
    def ends(self) -> tuple[float, float]:
        """How far the body reaches ahead of and behind `base_link` in the direction of travel [m]."""
        return _ends(self.vehicle, self.reverse)

    def path(self) -> Path:
        """Return it in samples."""
        ego, v, grid = self.ego, abs(self.ego.speed), _grid(self.reach)
        bent = np.minimum(grid, self.length)
        heading = self.heading + self.turn * bent
        step, middle = grid.copy(), heading.copy()
        step[1:] -= grid[:-1]
        middle[1:] = (heading[1:] + heading[:-1]) / 2
        x = ego.x + (step * np.cos(middle)).cumsum()
        y = ego.y + (step * np.sin(middle)).cumsum()
        sigma = self.widens * bent * grid / 2
        time = np.where(grid <= self.length, grid / max(v, 1e-6), np.inf)
        return Path(owned(grid), owned(x), owned(y), owned(heading), owned(time), owned(np.full(SAMPLES, v)),
                    owned(sigma), self.length, *self.ends, self.reverse)


def extrapolation(
    ego: Odometry, vehicle: Vehicle, duration: float, curvature_sigma: float, reach: float
) -> Extrapolation:
    """Return ego's present curvature for `duration` [s], then straight to `reach` [m].

    Without a yaw rate it is straight and widens as if a lateral acceleration of 2 m/s^2 might be on.
    """
    v = abs(ego.speed)
    known, length = math.isfinite(ego.yaw_rate), v * duration
    turn = ego.yaw_rate / max(v, 1.0) if known else 0.0  # below 1 m/s the quotient is noise
    widens = curvature_sigma if known else 2.0 / max(v * v, 4.0)
    return Extrapolation(ego, vehicle, ego.speed < 0, turn, widens, length, max(length, reach, 1.0))


def turned_path(plan: Plan | None, ego: Odometry, rate: float, vehicle: Vehicle, reach: float) -> Path:
    """Return the path of the farthest corner while ego turns on the spot by `rate` [rad/s], positive to the left.

    What `plan` turns from now on until it drives off is planned, nothing without one; the path goes on to `reach` [m].
    """
    radius, length, ends = corner_radius(vehicle), 0.0, False
    if plan is not None:
        turned = np.sign(rate) * _turned(plan, (ego.t - plan.t) / 1e9)
        length = radius * float(turned.max(initial=0.0))
        ends = len(turned) > 1 and bool(turned[-1] - turned[-2] < MIN_STEP)
    grid = _grid(max(length, reach))
    grid = _finer(grid, float(grid[1]) / radius)
    still, corner = np.zeros(len(grid)), abs(rate) * radius
    time = np.where(grid <= length, grid / max(corner, 1e-6), np.inf)
    speed = np.where(ends & (grid > length), 0.0, corner)
    return Path(owned(grid), owned(still + ego.x), owned(still + ego.y), owned(ego.yaw + np.sign(rate) * grid / radius),
                owned(time), owned(speed), owned(still), length, *_ends(vehicle, False), False, radius)


def _turned(plan: Plan, now: float) -> Floats:
    """Return the angles [rad] that a plan has turned at each of its points from `now` [s] until it drives off."""
    yaw, s = unwrapped(plan.yaw), np.zeros(len(plan.x))
    np.hypot(plan.x[1:] - plan.x[:-1], plan.y[1:] - plan.y[:-1]).cumsum(out=s[1:])
    here = (plan.time >= now) & (s <= np.interp(now, plan.time, s) + STAYS)
    return np.asarray((yaw - np.interp(now, plan.time, yaw))[here])


def turn_rate(plan: Plan, now: float, span: float) -> tuple[float, float]:
    """Return the mean yaw rate [rad/s] and speed [m/s] of a plan from `now` [s] on for `span` [s]."""
    ends = np.array([now, now + span])
    (x0, x1), (y0, y1), (yaw0, yaw1) = (
        np.interp(ends, plan.time, column) for column in (plan.x, plan.y, unwrapped(plan.yaw))
    )
    return float(yaw1 - yaw0) / span, math.hypot(x1 - x0, y1 - y0) / span


def corner_radius(vehicle: Vehicle) -> float:
    """Return how far [m] the farthest corner of the body is from base_link."""
    return math.hypot(max(vehicle.front, vehicle.rear), vehicle.width / 2)


def is_reverse(plan: Plan, ego: Odometry) -> bool:
    """Whether the plan drives backwards; a standing plan takes ego's present direction."""
    moves = np.abs(plan.speed) > 0.01
    first = int(moves.argmax())
    return bool(plan.speed[first] < 0) if moves[first] else ego.speed < -0.01


def _along(plan: Plan, heading: Floats, s: Floats, ego: Odometry) -> float:
    """Return the arc length of the plan's point that is nearest to ego, within its segment."""
    dx, dy = ego.x - plan.x, ego.y - plan.y
    near = int((dx * dx + dy * dy).argmin())
    ahead = float(np.cos(heading[near]) * dx[near] + np.sin(heading[near]) * dy[near])
    low = float(s[near - 1]) if near > 0 else -np.inf
    high = float(s[near + 1]) if near + 1 < len(s) else np.inf
    return min(max(float(s[near]) + ahead, low), high)


def _poses(grid: Floats, s: Floats, x: Floats, y: Floats, heading: Floats) -> tuple[Floats, Floats, Floats]:
    """Interpolate poses at `grid`; straight before the first point, on the arc of the last stretch beyond the last."""
    inside = np.minimum(np.maximum(grid, s[0]), s[-1])
    over = grid - inside
    h = np.interp(inside, s, heading)
    stretch = min(float(s[-1] - s[0]), END_STRETCH)
    bend = (heading[-1] - np.interp(s[-1] - stretch, s, heading)) / stretch if stretch > 1.0 else 0.0
    turn = np.minimum(np.maximum(np.where(over > 0, bend * over, 0.0), -np.pi / 2), np.pi / 2)
    chord = over * np.sinc(turn / (2 * np.pi))  # np.sinc(z) is sin(pi z) / (pi z)
    along = h + turn / 2
    return np.interp(inside, s, x) + chord * np.cos(along), np.interp(inside, s, y) + chord * np.sin(along), h + turn
