"""Where on its arc an echo can have come from: what other transducers, and ego a moment ago, would have heard nearer.

An echo is the nearest body in a cone. A point of an arc that lies well inside another cone, and nearer to that
transducer than what it hears itself, would have been heard there: it is not where the echo came from. So
overlapping cones narrow the bearing, and so does ego's motion, by what was heard before. This holds for small
bodies, for several of them, and for walls, whose echo comes from the foot of the perpendicular. Only a transducer
that hears something, and has for some pings, is a witness; silence never is. Ranges are not touched, and where
nothing is left nothing is narrowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.world import Arc, Echo, Floats, Odometry, seconds

STEPS = 33
"""Bearings that are tried on each arc; what is kept is wider by one step to each side."""

CORE = 0.8
"""Share of a cone in which any body that others hear is heard."""

SIGMAS = 3.0
TOLERANCE = 0.05
"""A point counts as nearer by more than so many standard deviations of both ranges and this [m] ..."""

OWN_SPEED = 1.5
"""... and by what a body may have moved since [m/s]."""

APART, MEMORY, KEPT = 0.25, 1.0, 3
"""Witnesses of one transducer are at least so far apart [s], at most so old [s], and at most so many."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What one transducer heard at one moment, and from where in `odom`."""

    sensor: str
    t: int
    x: float
    y: float
    yaw: float
    half_angle: float
    range: float
    sigma: float


def heard_by(arc: Arc, ego: Odometry, t: int) -> Witness:
    """Return the witness of an arc as predicted to `t`."""
    c, s = math.cos(ego.yaw), math.sin(ego.yaw)
    return Witness(
        arc.sensor, t, ego.x + c * arc.x - s * arc.y, ego.y + s * arc.x + c * arc.y, ego.yaw + arc.yaw, arc.half_angle,
        arc.range, arc.range_sigma,
    )  # fmt: skip


def recalled(witnesses: tuple[Witness, ...], now: tuple[Witness, ...], t: int) -> tuple[Witness, ...]:
    """Return what is remembered for the next ticks."""
    kept = [w for w in witnesses if 0 <= t - w.t <= MEMORY * 1e9]
    for new in now:
        own = [w for w in kept if w.sensor == new.sensor]
        if not own or seconds(t - own[-1].t) >= APART:
            kept = [w for w in kept if w.sensor != new.sensor] + [*own, new][-KEPT:]
    return tuple(kept)


def narrowed(arc: Arc, witnesses: tuple[Witness, ...], ego: Odometry, t: int) -> Arc:
    """Return the arc with the bearings from boresight that are left to it."""
    if arc.echo is not Echo.OBJECT or not arc.confirmed or not witnesses:
        return arc
    bearing = np.linspace(-arc.half_angle, arc.half_angle, STEPS)
    here = heard_by(arc, ego, t)
    possible = np.ones(STEPS, np.bool_)
    far = arc.range + SIGMAS * arc.range_sigma  # even there it would have been heard
    x, y = here.x + far * np.cos(here.yaw + bearing), here.y + far * np.sin(here.yaw + bearing)
    for w in witnesses:
        possible &= ~_would_be_heard(x, y, w, t)
    left = np.nonzero(possible)[0]
    if not len(left) or len(left) == STEPS:
        return arc
    low, high = bearing[max(left[0] - 1, 0)], bearing[min(left[-1] + 1, STEPS - 1)]
    return replace(arc, low=float(low), high=float(high))


def _would_be_heard(x: Floats, y: Floats, w: Witness, t: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    dx, dy = x - w.x, y - w.y
    off = np.abs((np.arctan2(dy, dx) - w.yaw + np.pi) % (2 * np.pi) - np.pi)
    slack = TOLERANCE + SIGMAS * w.sigma + OWN_SPEED * seconds(t - w.t)
    return np.asarray((off < CORE * w.half_angle) & (np.hypot(dx, dy) < w.range - slack))
