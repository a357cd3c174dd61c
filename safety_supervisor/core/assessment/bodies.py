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
CONTRADICTS = 2.0
"""Standard deviations by which the others must tell another speed than a reflection that comes: just before a car comes
over they tell nothing, or a little of either."""


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
    alone = Bodies(met.offset, half_width(o, config), met.station, met.sideways, met.sideways_sigma)
    rows, known = _reflections(o, met, config)
    if len(rows) < 2:
        return alone
    same = same_body(o, met, config, owner, rows)
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
    mean[to], sigma[to] = _sideways(by, met, rows)
    return Bodies(offset, width, rear, mean, sigma)


def slides(o: Objects, met: Contacts, comes: Bools, config: Config) -> Bools:
    """Tell which of the rows that come nearer to the path, `comes` (N,), slide along a body that does not come: its
    other well-known reflections together come no nearer, and contradict it. A row whose body has no other comes. Rows
    are of one world, or their lateral speeds are exact (KNOWN), as those of many worlds at once.
    """
    rows, known = _reflections(o, met, config)
    by = same_body(o, met, config, np.zeros_like(o.row), rows) & known & ~np.eye(len(rows), dtype=np.bool_)
    some = comes[rows] & by.any(axis=1)
    of = rows[some]
    mean, sigma = _sideways(by[some], met, rows)
    result = np.zeros(len(comes), np.bool_)
    apart = np.abs(met.sideways[of] - mean) >= CONTRADICTS * np.hypot(met.sideways_sigma[of], sigma)
    result[of] = apart & (met.offset[of] * mean >= 0.0)
    return result


def company(o: Objects, rows: Bools) -> Bools:
    """Return some rows (N,) with all that may be reflections of one body with one of them."""
    off = o.position[:, None] - o.position[rows]
    return np.asarray(((off * off).sum(axis=2) <= LENGTH * LENGTH + WIDTH * WIDTH).any(axis=1))


def _reflections(o: Objects, met: Contacts, config: Config) -> tuple[Ints, Bools]:
    """Return the rows (M,) that may be reflections of bodies, and of which (M,) the lateral speed is well known."""
    a, sigma = config.authority, met.sideways_sigma
    part = ~o.near & o.sound & ~o.suspect & ~o.static & (o.existence >= a.stop) & (sigma > KNOWN)
    rows = part.nonzero()[0]
    return rows, (o.hits[rows] >= a.course_hits) & (sigma[rows] <= config.corridor.lateral_speed_sigma_max)


def _sideways(by: Bools, met: Contacts, rows: Ints) -> tuple[Floats, Floats]:
    """Return the lateral speeds (K,) [m/s] of bodies, and their deviations, by the rows `by` (K, M) of each."""
    ordered, n = np.sort(np.where(by, met.sideways[rows], np.inf), axis=1), np.count_nonzero(by, axis=1)
    each = np.arange(len(by))
    median = (ordered[each, (n - 1) // 2] + ordered[each, n // 2]) / 2
    return median, 1 / np.sqrt((by / met.sideways_sigma[rows] ** 2).sum(axis=1))


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
