"""One concrete case: a path for ego and scripted bodies, sampled at the physics step.

Ego drives along its path by itself (`Line` or `scenarios.world.Road`): what a suite measures is when and how hard it
brakes. Frame `world`: metres, radians; times in seconds after the start of the case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from safety_supervisor.core.world import Bools, Floats, Ints
from safety_supervisor.scenarios.world import UNIT_CORNERS, Bodies, Kind, place

POINT_SPACING = 2.2
"""Perfect sensors report a body as points of its outline, no farther apart than this [m]."""


class Way(Protocol):
    """Where ego drives: pose of `base_link` by distance travelled."""

    def pose(self, station: Floats | float, offset: Floats | float = 0.0) -> tuple[Floats, Floats, Floats]:
        """Return x, y [m] and direction [rad] at `station` [m], `offset` [m] to the left."""


@dataclass(frozen=True, slots=True)
class Line:
    """The x axis; exact, so that a published grid can be reproduced to its last case."""

    def pose(self, station: Floats | float, offset: Floats | float = 0.0) -> tuple[Floats, Floats, Floats]:
        """Return x, y [m] and direction [rad]."""
        x = np.asarray(station, float)
        return x, np.zeros_like(x) + offset, np.zeros_like(x)


@dataclass(frozen=True, slots=True)
class Body:
    """One body over time."""

    name: str
    kind: Kind
    motion: Floats
    """(T, 5): x, y [m] of the centre, yaw [rad], vx, vy [m/s] at each physics step; its last row goes on for ever."""
    solid: bool = True
    """False for what ego can drive under or over (bridge, sign, ghost): radar sees it, nobody collides with it."""
    nearest: float = 0.0
    """No sensor sees it from closer than this [m]: what is overhead leaves the beam from below."""

    def at(self, step: int) -> Floats:
        """Return the row (5,) of one physics step."""
        return np.asarray(self.motion[min(step, len(self.motion) - 1)])


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a suite."""

    id: int
    parameters: Mapping[str, float | str]
    """What distinguishes it, as columns of the result table."""
    bodies: tuple[Body, ...]
    speed: float
    """Ego's speed at the start [m/s]."""
    dt: float
    """Physics step [s]."""
    steps: int
    """Longest run in physics steps."""
    way: Way = field(default_factory=Line)
    start: float = 0.0
    """Ego's station at the start [m]."""
    posts: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    """(P, 2) roadside posts that radar sees [m]."""


def prolonged(case: Case, lead_in: float) -> Case:
    """Return the case with `lead_in` [s] before its start, in which ego and bodies drive straight on as they start."""
    n = round(lead_in / case.dt)
    back = np.arange(n, 0, -1)[:, None] * case.dt
    bodies = []
    for body in case.bodies:
        before = np.repeat(body.motion[:1], n, axis=0)
        before[:, 4] = 0.0
        before[:, :2] -= back * before[:, 3:]
        bodies.append(replace(body, motion=np.concatenate([before, body.motion])))
    start = case.start - n * case.dt * case.speed
    return replace(case, bodies=tuple(bodies), steps=case.steps + n, start=start)


HIDDEN = 1e8
"""Where a body is put [m] that no sensor sees."""


def bodies_at(bodies: tuple[Body, ...], step: int, eye: tuple[float, float] | None = None) -> Bodies:
    """Return bodies at one physics step; seen from `eye`, what is too near to be seen is far away."""
    rows = np.array([b.at(step) for b in bodies]).reshape(-1, 5)
    if eye is not None and len(rows):
        away = np.hypot(rows[:, 0] - eye[0], rows[:, 1] - eye[1])
        rows[away < np.array([b.nearest for b in bodies]), 0] = HIDDEN
    half = np.array([(b.kind.length / 2, b.kind.width / 2) for b in bodies]).reshape(-1, 1, 2)
    names, kinds = tuple(b.name for b in bodies), tuple(b.kind for b in bodies)
    return Bodies(names, kinds, rows[:, :3], rows[:, 3:], place(UNIT_CORNERS * half, rows[:, :3]))


def outline(kind: Kind) -> Floats:
    """Return points (K, 2) of a body's outline in its own frame [m], counter-clockwise from front right."""
    corners = UNIT_CORNERS * (kind.length / 2, kind.width / 2)
    points = []
    for begin, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        parts = max(int(np.ceil(np.hypot(*(end - begin)) / POINT_SPACING)), 1)
        points.append(begin + (end - begin) * (np.arange(parts) / parts)[:, None])
    return np.concatenate(points)


def visible(points: Floats, owner: Ints, eye: Floats, corners: Floats) -> Bools:
    """Tell which points (N, 2) can be seen from `eye` (2,): no edge of a body (M, 4, 2) but its own lies between.

    `owner` (N,) is the index of each point's body.
    """
    if len(corners) < 2:
        return np.ones(len(points), np.bool_)
    edges = np.stack([corners, np.roll(corners, -1, axis=1)], axis=2).reshape(-1, 2, 2)
    belongs = np.repeat(np.arange(len(corners)), 4)
    to = (points - eye)[:, None]
    start, side = (edges[:, 0] - eye)[None], (edges[:, 1] - edges[:, 0])[None]
    cross = to[..., 0] * side[..., 1] - to[..., 1] * side[..., 0]
    safe = np.where(np.abs(cross) < 1e-12, np.inf, cross)
    share = (start[..., 0] * side[..., 1] - start[..., 1] * side[..., 0]) / safe
    along = (start[..., 0] * to[..., 1] - start[..., 1] * to[..., 0]) / safe
    blocks = (share > 0.0) & (share < 1.0) & (along >= 0.0) & (along <= 1.0) & (belongs[None] != owner[:, None])
    return np.asarray(~blocks.any(axis=1))


def overlap(corners: Floats, other: Floats) -> Bools:
    """Tell which rectangles `other` (M, 4, 2) overlap the rectangle `corners` (4, 2), by separating axes."""
    apart = np.zeros(len(other), np.bool_)
    for a, b in ((corners[None], other), (other, corners[None])):
        for i in (0, 1):
            axis = a[:, i + 1] - a[:, i]
            p, q = np.einsum("mki,mi->mk", a, axis), np.einsum("mki,mi->mk", b, axis)
            apart |= (p.max(1) <= q.min(1)) | (q.max(1) <= p.min(1))
    return ~apart
