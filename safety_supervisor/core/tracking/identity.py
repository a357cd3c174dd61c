"""Who is it: an object that was lost and comes back keeps its number, and only its number.

Beside ego and behind the edge of view objects go unseen for seconds, and meanwhile they brake and speed up as nobody
predicts. Whoever is confirmed where an unseen one may be by now, at a speed that accounts for the way made meanwhile,
swaps numbers with it; so does a young track beside one that coasts. Evidence is not touched: neither existence nor
place nor the count of detections goes with it, so a wrong guess costs a name and nothing else. Arrays only; nothing is
computed in scans without a young track.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from safety_supervisor.core.config import Tracking
from safety_supervisor.core.world import Bools, Floats, Ints, Tracks, frozen, nanoseconds

from . import kalman

CONFIRMED = 0.9
"""Existence from which a track has a number worth keeping."""

MATURE = 5
"""Detections of a track whose number is remembered."""

UNSEEN = 0.1
"""A track that was not detected for this long [s] may have lost its object to a new track."""

DRIVER = kalman.Motion(along=6.0, across=1.0, standing=1.0)
"""What a driver does unseen: harder than what the filter expects between two scans."""

DOUBT = 0.25
"""Variance of place [m^2] and speed [m^2/s^2] at the last detection."""

UNLIKELY = 22.0
"""A squared distance plus log determinant [m, s] from which it is rather somebody else: below it were 41 of 43 who
came back in 24 simulated drives.
"""

REMEMBERED = 64
"""The newest numbers stay."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Tracks that were dropped while nobody could see them, L rows."""

    id: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    state: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    """(L, 4) at their last detection."""
    updated: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """(L,) time of it [ns]."""

    def __post_init__(self) -> None:
        for name, kind in (("id", np.int64), ("state", float), ("updated", np.int64)):
            object.__setattr__(self, name, frozen(getattr(self, name), kind))

    def __len__(self) -> int:
        return len(self.id)


class _Table(Protocol):
    """The columns of tracks that are looked at."""

    id: Ints
    state: Floats
    cov: Floats
    existence: Floats
    updated: Ints
    hits: Ints


def remembered(lost: Lost, before: Tracks, t: int, p: Tracking) -> Lost:
    """Return what is remembered at `t`, with the tracks that go unseen for too long by then."""
    gone = (t - before.updated > nanoseconds(p.unseen_time)) & (before.existence >= CONFIRMED)
    gone &= before.hits >= MATURE
    kept = t - lost.updated <= nanoseconds(p.identity_time)
    if np.count_nonzero(kept) == len(lost) and not np.count_nonzero(gone):
        return lost
    state = before.state[gone].copy()
    state[:, :2] -= state[:, 2:] * ((before.t - before.updated[gone]) / 1e9)[:, None]
    return Lost(
        np.concatenate([lost.id[kept], before.id[gone]])[-REMEMBERED:],
        np.concatenate([lost.state[kept], state])[-REMEMBERED:],
        np.concatenate([lost.updated[kept], before.updated[gone]])[-REMEMBERED:],
    )


def recognised(tracks: _Table, known: Ints, lost: Lost, t: int) -> tuple[Ints, Lost]:
    """Return the numbers of the tracks at `t`, and what is still lost; `known` were confirmed before.

    Who was known takes over only from one that coasts, and only an older number, so that nobody swaps back.
    """
    new = ((tracks.existence >= CONFIRMED) & (tracks.hits <= MATURE) & (tracks.updated == t)).nonzero()[0]
    if not len(new):
        return tracks.id, lost
    coasting = ((tracks.existence >= CONFIRMED) & (t - tracks.updated > nanoseconds(UNSEEN))).nonzero()[0]
    if not len(coasting) + len(lost):
        return tracks.id, lost
    age = (t - np.concatenate([tracks.updated[coasting], lost.updated])) / 1e9
    old = np.concatenate([tracks.state[coasting], lost.state])
    old[len(coasting):, :2] += lost.state[:, 2:] * age[len(coasting):, None]
    cost = _cost(tracks.state[new], tracks.cov[new], old, age)
    cost[np.isin(tracks.id[new], known), len(coasting):] = np.inf
    cost[:, :len(coasting)][tracks.id[coasting] > tracks.id[new][:, None]] = np.inf
    i, j = linear_sum_assignment(np.minimum(cost, 1e6))
    fits = np.isfinite(cost[i, j])
    i, j = new[i[fits]], j[fits]
    if not len(i):
        return tracks.id, lost
    number = tracks.id.copy()
    here = j < len(coasting)
    swapped = coasting[j[here]]
    number[i[here]], number[swapped] = tracks.id[swapped], tracks.id[i[here]]
    back = j[~here] - len(coasting)
    number[i[~here]] = lost.id[back]
    stay: Bools = np.ones(len(lost), bool)
    stay[back] = False
    return number, lost if stay.all() else Lost(lost.id[stay], lost.state[stay], lost.updated[stay])


def _cost(new: Floats, cov: Floats, old: Floats, age: Floats) -> Floats:
    """Return (N, M) how unlikely each new track is to be each old one, unseen for `age` [s]; inf beyond `UNLIKELY`."""
    T = age[:, None, None]
    spread = kalman.process_noise(old[:, 2:], 1.0, DRIVER)
    spread[:, :2, :2] = spread[:, :2, :2] * T**3 + DOUBT * (1 + T * T) * np.eye(2)
    spread[:, :2, 2:] = spread[:, 2:, :2] = spread[:, :2, 2:] * T**2 + DOUBT * T * np.eye(2)
    spread[:, 2:, 2:] = spread[:, 2:, 2:] * T + DOUBT * np.eye(2)
    both = cov[:, None] + spread
    off = new[:, None] - old
    far = np.sum(off * np.linalg.solve(both, off[..., None])[..., 0], axis=2) + np.linalg.slogdet(both)[1]
    return np.asarray(np.where(far <= UNLIKELY, far, np.inf))
