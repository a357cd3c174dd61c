"""Which detection belongs to which track: returns of one body merged, gate, assignment.

All arrays, no loop over objects. Detections are put into one canonical order first, so that their order in a message
means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import chdtri

from safety_supervisor.core.config import Sensor, Tracking
from safety_supervisor.core.world import Bools, Floats, Ints, frozen, owned

from .kalman import Expected, innovation, wrap

RANGE_MARGIN = 1.05
"""Detections up to this factor beyond the nominal range are taken."""

LOG_TAU = 3 * float(np.log(2 * np.pi))

EXTENT_NOISE = 1.5
"""The outermost of a few returns lies about this many standard deviations of noise beyond the body."""

RANGE_RATE_MAX = 150.0
"""No object closes or opens faster [m/s]; such a number is a broken message."""


@dataclass(frozen=True, slots=True)
class Detections:
    """M detections of one scan in the sensor's polar axes: range [m], azimuth [rad], range rate [m/s]."""

    z: Floats
    """(M, 3), ordered by range, then azimuth, then range rate."""
    variance: Floats
    """(M, 3) variances of `z`."""
    extent: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    """(M, 2) of the merged returns: to the side and behind the nearest one [m]; 0 where nothing was merged."""
    trust: Floats = field(default_factory=lambda: np.ones(0))
    """(M,) weight of each as evidence, 1 unless its ECU doubts it."""

    def __post_init__(self) -> None:
        if len(self.extent) != len(self.z):
            object.__setattr__(self, "extent", owned(np.zeros((len(self.z), 2))))
        if len(self.trust) != len(self.z):
            object.__setattr__(self, "trust", owned(np.ones(len(self.z))))
        for name in ("z", "variance", "extent", "trust"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Ints | Bools) -> Detections:
        return Detections(
            owned(self.z[rows]), owned(self.variance[rows]), owned(self.extent[rows]), owned(self.trust[rows])
        )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Track i and detection j inside the gate, with their squared distance and the log-likelihood of the detection."""

    track: Ints
    detection: Ints
    distance: Floats
    log_likelihood: Floats


def usable(z: Floats, sensor: Sensor) -> Bools:
    """Return which rows are finite, possible and in range; no comparison holds for NaN."""
    good = (z[:, 0] > 0) & (z[:, 0] <= sensor.range_max * RANGE_MARGIN)
    return np.asarray(good & (np.abs(z[:, 1]) <= np.pi) & (np.abs(z[:, 2]) <= RANGE_RATE_MAX))


def canonical(
    z: Floats, sigma: Floats, sensor: Sensor, p: Tracking, trust: Floats | None = None, extent: Floats | None = None
) -> Detections:
    """Return the detections that are usable, with standard deviations `sigma`, nearest first.

    Left out is what is not finite, absurd or beyond the range, and what exceeds `detections_max`.
    """
    rows = np.nonzero(usable(z, sensor))[0]
    return ordered(z[rows], sigma[rows], p, None if trust is None else trust[rows],
                   None if extent is None else extent[rows])


def ordered(
    z: Floats, sigma: Floats, p: Tracking, trust: Floats | None = None, extent: Floats | None = None
) -> Detections:
    """Return the nearest `detections_max` of detections that are all usable, nearest first."""
    order = z[:, 0].argsort()
    distance = z[order, 0]
    if np.count_nonzero(distance[1:] > distance[:-1]) < len(distance) - 1:  # equal ranges are rare
        ties = () if trust is None else (trust,)
        order = np.lexsort((*ties, *sigma.T, z[:, 2], z[:, 1], z[:, 0]))
    order = order[: p.detections_max]
    if trust is None and extent is None:
        return Detections(owned(z[order]), owned(sigma[order] ** 2))
    weight = np.ones(len(z)) if trust is None else np.minimum(trust, 1.0)
    sides = np.zeros((len(z), 2)) if extent is None else extent
    return Detections(owned(z[order]), owned(sigma[order] ** 2), owned(sides[order]), owned(weight[order]))


def merged(detections: Detections, p: Tracking) -> Detections:
    """Merge returns of one body: whatever lies near a nearer return and moves alike; its nearest edge stays the range.

    Returns join the nearest one of their body, not each other: along a guard rail single linkage would join
    everything to its nearest post, and the standing car at its end would be gone.
    """
    n = len(detections)
    if n < 2 or p.cluster_distance <= 0:
        return detections
    z = detections.z
    x, y = z[:, 0] * np.cos(z[:, 1]), z[:, 0] * np.sin(z[:, 1])
    i, j = _between(z[:, 0], z[:, 0] - p.cluster_distance, z[:, 0] + p.cluster_distance)
    alike = np.hypot(x[i] - x[j], y[i] - y[j]) < p.cluster_distance
    alike &= np.abs(z[i, 2] - z[j, 2]) < p.cluster_speed
    if np.count_nonzero(alike) == n:  # each one only itself
        return detections
    near = np.eye(n, dtype=bool)
    near[i[alike], j[alike]] = True
    head = _heads(near)
    count = np.bincount(head, minlength=n)
    azimuth = np.bincount(head, wrap(z[:, 1] - z[head, 1]), n) / np.maximum(count, 1)
    range_rate = np.bincount(head, z[:, 2] - z[head, 2], n) / np.maximum(count, 1)
    body = z.copy()
    body[:, 1] = wrap(z[:, 1] + azimuth)
    body[:, 2] += range_rate
    return Detections(body, detections.variance, _extent(detections, body, head), detections.trust)[count > 0]


def _extent(detections: Detections, body: Floats, head: Ints) -> Floats:
    """Return how far the returns that joined each body lie beside its azimuth and behind its range, less the noise."""
    z, sigma = detections.z, np.sqrt(detections.variance)
    off = np.maximum(np.abs(wrap(z[:, 1] - body[head, 1])) - EXTENT_NOISE * sigma[:, 1], 0.0) * z[:, 0]
    behind = np.maximum(z[:, 0] - z[head, 0] - EXTENT_NOISE * sigma[:, 0], 0.0)
    extent = np.zeros((len(z), 2))
    np.maximum.at(extent[:, 0], head, off)
    np.maximum.at(extent[:, 1], head, behind)
    return extent


def _heads(near: Bools) -> Ints:
    """Return for each detection (nearest first) the body it joins: the first detection near it that joins no other."""
    n = len(near)
    before = np.tril(near, -1)
    head = np.full(n, -1)
    while (head < 0).any():  # each round settles the nearest open one at least; two or three in practice
        open_ = head < 0
        first = open_ & ~(before & open_).any(axis=1)
        joins = near & first & open_[:, None]
        taken = joins.any(axis=1)
        head[taken] = joins.argmax(axis=1)[taken]
    return head


def gate(expected: Expected, detections: Detections, probability: float) -> Pairs:
    """Return the pairs whose innovation is plausible: first each axis by itself, then all three jointly."""
    limit = _limit(probability)
    spread = expected.spread.diagonal(0, 1, 2)
    reach = np.sqrt(limit * (spread[:, 0] + max(detections.variance[:, 0].tolist(), default=0.0)))
    track, detection = _between(detections.z[:, 0], expected.z[:, 0] - reach, expected.z[:, 0] + reach)
    residual = innovation(detections.z[detection], expected.z[track])
    near = residual * residual <= limit * (spread[track] + detections.variance[detection])
    kept = (near[:, 0] & near[:, 1] & near[:, 2]).nonzero()[0]
    track, detection, residual = track[kept], detection[kept], residual[kept]
    distance, log_volume = _normalised(expected.spread[track], detections.variance[detection], residual)
    log_likelihood = -(distance + log_volume + LOG_TAU) / 2
    inside = (distance <= limit).nonzero()[0]
    return Pairs(track[inside], detection[inside], distance[inside], log_likelihood[inside])


@cache
def _limit(probability: float) -> float:
    """Return the squared distance that three normal errors stay within, with this probability."""
    return float(chdtri(3, 1 - probability))


def _normalised(spread: Floats, variance: Floats, residual: Floats) -> tuple[Floats, Floats]:
    """Return the squared distance and the log determinant of S = spread + diag(variance), by its Cholesky factor."""
    a = np.sqrt(spread[:, 0, 0] + variance[:, 0])
    b, c = spread[:, 1, 0] / a, spread[:, 2, 0] / a
    d = np.sqrt(spread[:, 1, 1] + variance[:, 1] - b * b)
    e = (spread[:, 2, 1] - b * c) / d
    f = np.sqrt(spread[:, 2, 2] + variance[:, 2] - c * c - e * e)
    x = residual[:, 0] / a
    y = (residual[:, 1] - b * x) / d
    z = (residual[:, 2] - c * x - e * y) / f
    return x * x + y * y + z * z, 2 * np.log(a * d * f)


def _between(ordered: Floats, low: Floats, high: Floats) -> tuple[Ints, Ints]:
    """Return all (i, j) with low[i] <= ordered[j] <= high[i], without looking at the others."""
    first, end = ordered.searchsorted(low, "left"), ordered.searchsorted(high, "right")
    count = np.maximum(end - first, 0)
    i = np.arange(len(count)).repeat(count)
    return i, np.arange(len(i)) + (first - (count.cumsum() - count)).repeat(count)


def assign(pairs: Pairs, score: Floats, first: Bools, detections: int) -> Ints:
    """Return the matched pairs, those with the largest sum of `score` (log-likelihood ratio to a miss), by track.

    Tracks in `first` choose among all detections, the others among what is left. A pair that scores no better than a
    miss plus clutter is no match.
    """
    early, good = first[pairs.track], score > 0
    matched = _stage(pairs, score, early & good)
    taken = np.zeros(detections, bool)
    taken[pairs.detection[matched]] = True
    rest = ~(early | taken[pairs.detection]) & good
    if rest.any():
        matched = np.concatenate([matched, _stage(pairs, score, rest)])
    return matched[pairs.track[matched].argsort()]


def _stage(pairs: Pairs, score: Floats, rows: Bools) -> Ints:
    open_ = rows.nonzero()[0]
    return open_[_best(pairs.track[open_], pairs.detection[open_], score[open_])]


def _best(track: Ints, detection: Ints, score: Floats) -> Ints:
    """Return the pairs of the one-to-one assignment with the largest sum of positive scores.

    A pair whose track and detection are in no other pair is in it anyway; gates are small, so few are left.
    """
    if len(track) < 2:
        return np.arange(len(track))
    rivals = (np.bincount(track)[track] > 1) | (np.bincount(detection)[detection] > 1)
    open_ = rivals.nonzero()[0]
    if not len(open_):
        return np.arange(len(track))
    row, rows = _numbered(track[open_])
    column, columns = _numbered(detection[open_])
    gain = np.zeros((rows, columns))
    gain[row, column] = score[open_]
    pair = np.full(gain.shape, -1)
    pair[row, column] = open_
    chosen: Ints = pair[linear_sum_assignment(gain, maximize=True)]
    return np.concatenate([(~rivals).nonzero()[0], chosen[chosen >= 0]])


def _numbered(values: Ints) -> tuple[Ints, int]:
    """Return the rank of each value among the different ones, and how many of those there are."""
    present = np.zeros(max(values.tolist()) + 1, np.int64)
    present[values] = 1
    rank = present.cumsum()
    return rank[values] - 1, int(rank[-1])
