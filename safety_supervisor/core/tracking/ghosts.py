"""Which tracks look like reflections of others: existence cannot tell, since a ghost is as steady as its object.

Two geometries, from where the sensor is. *Double bounce*: the echo went to the object and back twice, so the ghost
stands behind it in the same direction at twice its range and range rate. *Mirror*: a wall or guard rail shows a moving
object behind itself; the line half way between both then carries standing returns, and the velocities are mirror images
too. A suspect keeps its track, its existence and its place in every report. It only may do less
(`assessment.authority`): its object stands nearer in the same direction, or on this side of the rail, and has its own
full say.
"""

from __future__ import annotations

import numpy as np

from safety_supervisor.core.world import Bools, Floats, Ints

from .ego import SensorPose

CONFIRMED = 0.9
"""Existence from which a track casts a reflection, and from which it matters whether it is one."""

RANGE_SHARE, RANGE_OFF = 0.02, 1.5
"""A double bounce adds the way between sensor and reflecting body [m], and errors count twice."""
RATE_SHARE, RATE_OFF = 0.05, 0.4
"""Tolerance of twice the range rate [m/s]."""
DIRECTION = 0.02
"""Tolerance of direction [rad], widened by a metre across the line of sight at the object."""

PLACE, SPEED = 1.0, 1.0
"""Static returns lie this near to the mirror line [m]; mirrored velocities agree this well [m/s]."""
STRETCH = 15.0
"""Static returns count this near to the point of reflection, along the line [m]."""
POSTS = 3
"""So many of them make a line, on both sides of the point of reflection."""
STANDING = 1.0
"""What is slower [m/s] and never moved stands."""
APART = 2.0
"""A mirror image is at least this far [m] behind the line."""


def suspects(
    pose: SensorPose, z: Floats, state: Floats, existence: Floats, moved: Bools, asked: Ints
) -> Bools:
    """Return which of the tracks `asked` look like reflections; `z` (N, 3) is where the sensor sees all of them."""
    likely = existence >= CONFIRMED
    suspect = np.zeros(len(z), np.bool_)
    rows = likely.nonzero()[0]
    ghosts = asked[likely[asked]]
    if len(rows) > 1 and len(ghosts):
        suspect[ghosts] = _double_bounces(z[ghosts], z[rows])
    moving = likely & moved
    movers, ghosts = moving.nonzero()[0], asked[moving[asked]]
    if len(movers) > 1 and len(ghosts):
        slow = state[:, 2] * state[:, 2] + state[:, 3] * state[:, 3] < STANDING * STANDING
        posts = (slow & ~moved & (existence >= 0.5)).nonzero()[0]
        if len(posts) >= POSTS:
            suspect[ghosts] |= _mirrored(pose, state[ghosts], state[movers], state[posts, :2])
    return suspect[asked]


def _double_bounces(z: Floats, all_z: Floats) -> Bools:
    """Return which rows of `z` stand behind one of `all_z` in its direction, at twice its range and range rate."""
    sources = all_z[all_z[:, 0].argsort()]
    half = z[:, 0] / 2
    off = RANGE_OFF / 2 + RANGE_SHARE * half
    first = sources[:, 0].searchsorted(half - off)
    count = sources[:, 0].searchsorted(half + off) - first
    ghost = np.arange(len(z)).repeat(count)
    if not len(ghost):
        return np.zeros(len(z), np.bool_)
    source = np.arange(len(ghost)) + (first - (count.cumsum() - count)).repeat(count)
    seen, other = z[ghost], sources[source]
    rate = 2 * other[:, 2]
    fits = (np.abs(seen[:, 2] - rate) < RATE_OFF + RATE_SHARE * np.abs(rate)).nonzero()[0]
    if not len(fits):
        return np.zeros(len(z), np.bool_)
    seen, other, ghost = seen[fits], other[fits], ghost[fits]
    azimuth = np.abs((seen[:, 1] - other[:, 1] + np.pi) % (2 * np.pi) - np.pi)
    fits = (azimuth < DIRECTION + 1.0 / seen[:, 0]) & (other[:, 0] < seen[:, 0])
    return np.bincount(ghost[fits], minlength=len(z)) > 0


def _mirrored(pose: SensorPose, state: Floats, objects: Floats, posts: Floats) -> Bools:
    """Return which moving tracks lie behind a line of `posts` (P, 2) where another one of `objects` is mirrored."""
    x, y, vx, vy = objects.T
    dx, dy = state[:, :1] - x, state[:, 1:2] - y  # from object (second) to ghost (first)
    wx, wy = state[:, 2:3] - vx, state[:, 3:] - vy
    square = dx * dx + dy * dy
    into = dx * vx + dy * vy
    # An image has the speed v - 2 (v n) n: what is missing from that, squared, with n = d / |d|.
    miss = wx * wx + wy * wy + 4 * into * (into + dx * wx + dy * wy) / np.maximum(square, 1.0)
    ghost, source = np.nonzero((miss < SPEED * SPEED) & (square > 4 * APART * APART))
    if not len(ghost):
        return np.zeros(len(state), np.bool_)
    here = np.array([pose.x, pose.y])
    n = (state[ghost, :2] - objects[source, :2]) / np.sqrt(square[ghost, source])[:, None]
    m = (state[ghost, :2] + objects[source, :2]) / 2
    ahead = np.sum((m - here) * n, axis=1)  # the sensor looks at the mirror from the object's side
    sight = state[ghost, :2] - here
    point = here + sight * (ahead / np.maximum(np.sum(sight * n, axis=1), 1e-9))[:, None]
    from_line = np.abs((posts[None] - m[:, None]) @ n[:, :, None])[..., 0]
    along = (posts[None, :, 1] - point[:, 1:]) * n[:, :1] - (posts[None, :, 0] - point[:, :1]) * n[:, 1:]
    on = (from_line < PLACE) & (np.abs(along) < STRETCH) & (ahead > 0)[:, None]
    line = (on.sum(axis=1) >= POSTS) & (on & (along > 0)).any(axis=1) & (on & (along < 0)).any(axis=1)
    return np.bincount(ghost[line], minlength=len(state)) > 0
