"""Rows that are reflections of one body: it has one speed across the path, and ends near its outermost reflections.

A reflection that slides along a body tells a lateral speed that nobody has; the median of several that do not slide
together tells it better than each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.assessment.objects import Objects, half_width
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import Contacts
from safety_supervisor.core.world import Bools, Floats, Ints

AGREES = 3.0
"""Standard deviations within which two speeds are the same."""
LENGTH = 5.0
"""Reflections of one body are no farther apart along the path [m], a passenger car's length."""
WIDTH = 2.5
"""... and across it [m], the width of a truck."""
SIDE = 0.25
"""A body reaches about so much [m] beyond the outermost of the reflections on both of its sides."""
FLANK = 1.5
"""Reflections farther apart along the path [m], and as far beside it, are on the flank."""
ABEAM = 0.7
"""As far beside it: within this distance [m]."""
KNOWN = 0.1
"""A lateral speed known as well as this [m/s] needs no help."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """What the body of each of N rows does, as far as its other reflections tell it."""

    offset: Floats
    """(N,) signed offset of a well-known reflection of it from the path [m]."""
    half_width: Floats
    """(N,) presumed extent towards the path beyond that [m]."""
    rear: Floats
    """(N,) where along the path its last reflection is, from ego's base_link [m]."""
    sideways: Floats
    """(N,) speed to the left [m/s]."""
    sigma: Floats
    """(N,) standard deviation of it [m/s]."""


def bodies_of(o: Objects, met: Contacts, config: Config, owner: Ints) -> Bodies:
    """Return the bodies of all rows; only rows of one `owner` (N,) are in one world."""
    a, sigma = config.authority, met.sideways_sigma
    alone = Bodies(met.offset, half_width(o, config), met.station, met.sideways, sigma)
    part = ~o.near & o.sound & ~o.suspect & ~o.static & (o.existence >= a.stop) & (sigma > KNOWN)
    rows = part.nonzero()[0]
    if len(rows) < 2:
        return alone
    same = same_body(o, met, config, owner, rows)
    known = (o.hits[rows] >= a.course_hits) & (sigma[rows] <= config.corridor.lateral_speed_sigma_max)
    offset, width, rear, mean, sigma = (x.copy() for x in (alone.offset, alone.half_width, alone.rear, alone.sideways,
                                                           alone.sigma))  # fmt: skip
    rear[rows] = np.where(same, met.station[rows], np.inf).min(axis=1)
    by = same & known
    nearest = np.where(by, np.abs(met.offset[rows]), np.inf).argmin(axis=1)
    young = ~known & by.any(axis=1)
    offset[rows] = np.where(young, met.offset[rows[nearest]], met.offset[rows])
    width[rows] = _presumed(width[rows], offset[rows], met, rows, same)
    some = by.any(axis=1)
    to, by = rows[some], by[some]
    mean[to] = np.nanmedian(np.where(by, met.sideways[rows], np.nan), axis=1)
    sigma[to] = 1 / np.sqrt((by / met.sideways_sigma[rows] ** 2).sum(axis=1))
    return Bodies(offset, width, rear, mean, sigma)


def same_body(o: Objects, met: Contacts, config: Config, owner: Ints, rows: Ints) -> Bools:
    """Tell which of some rows are reflections of one body, as (M, M)."""
    def apart(x: Floats) -> Floats:
        return np.asarray(np.abs(x[rows, None] - x[rows]))

    sigma = met.speed_sigma[rows]
    same = apart(met.along) <= config.tracking.cluster_speed + AGREES * np.hypot(sigma[:, None], sigma)
    same &= (apart(met.station) <= LENGTH) & (apart(met.offset) <= WIDTH)
    return np.asarray(same & (owner[rows, None] == owner[rows]))


def _presumed(width: Floats, offset: Floats, met: Contacts, rows: Ints, same: Bools) -> Floats:
    """Return how far (M,) [m] bodies are presumed to reach towards the path beyond their reflections.

    What is seen of a body farther out is not hidden towards the path; and several reflections in line are its flank.
    """
    out = np.abs(met.offset[rows]) - np.abs(offset)[:, None]
    farther = np.where(same, out, 0.0).max(axis=1)
    apart = np.abs(met.station[rows, None] - met.station[rows]) >= FLANK
    flank = (same & apart & (np.abs(out) <= ABEAM)).any(axis=1)
    least = np.minimum(width, SIDE)
    return np.asarray(np.where(flank, least, np.maximum(width - farther / 2, least)))
