"""Who is it: an object that was lost and comes back keeps its number, and only its number.

Beside ego and behind the edge of view objects go unseen for seconds, and meanwhile they brake and speed up as nobody
predicts. When a new track is confirmed in the course of one that is unseen, within what its driver may have done since,
they swap numbers. Evidence is not touched: neither existence nor place nor the count of detections goes with it, so a
wrong guess costs a name and nothing else. Arrays only; nothing is computed in scans that confirm nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from safety_supervisor.core.config import Tracking
from safety_supervisor.core.world import Bools, Floats, Ints, Tracks, frozen, nanoseconds

CONFIRMED = 0.9
"""Existence from which a track has a number worth keeping."""

MATURE = 5
"""Detections of a track whose number is remembered."""

UNSEEN = 0.1
"""A track that was not detected for this long [s] may have lost its object to a new track."""

ACCELERATION = 3.0
"""What a driver does unseen [m/s^2]."""

REACH, ASIDE, SPEED = 2.0, 2.0, 1.5
"""Tolerance at once along the course [m], across it [m], of speed [m/s]."""

DIRECTED = 1.0
"""Slower objects [m/s] have no course; only the distance counts."""

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
    if kept.all() and not gone.any():
        return lost
    state = before.state[gone].copy()
    state[:, :2] -= state[:, 2:] * ((before.t - before.updated[gone]) / 1e9)[:, None]
    return Lost(
        np.concatenate([lost.id[kept], before.id[gone]])[-REMEMBERED:],
        np.concatenate([lost.state[kept], state])[-REMEMBERED:],
        np.concatenate([lost.updated[kept], before.updated[gone]])[-REMEMBERED:],
    )


def recognised(tracks: _Table, known: Ints, lost: Lost, t: int) -> tuple[Ints, Lost]:
    """Return the numbers of the tracks at `t`, and what is still lost; `known` were confirmed before."""
    young = (tracks.existence >= CONFIRMED) & (tracks.hits <= MATURE) & (tracks.updated == t)
    new = np.nonzero(young)[0]
    new = new[~np.isin(tracks.id[new], known)] if len(new) else new
    if not len(new):
        return tracks.id, lost
    coasting = np.nonzero((tracks.existence >= CONFIRMED) & (t - tracks.updated > nanoseconds(UNSEEN)))[0]
    age = (t - np.concatenate([tracks.updated[coasting], lost.updated])) / 1e9
    old = np.concatenate([tracks.state[coasting], lost.state])
    old[len(coasting):, :2] += lost.state[:, 2:] * age[len(coasting):, None]
    if not len(old):
        return tracks.id, lost
    cost = _cost(tracks.state[new], tracks.cov[new], old, age)
    i, j = linear_sum_assignment(np.minimum(cost, 1e6))
    fits = np.isfinite(cost[i, j])
    i, j = new[i[fits]], j[fits]
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
    """Return (N, M) how far each new track is from where each old one may be by now, inf beyond that."""
    off = new[:, None, :2] - old[None, :, :2]
    speed = np.hypot(old[:, 2], old[:, 3])
    course = np.where(speed[:, None] > DIRECTED, old[:, 2:] / np.maximum(speed, DIRECTED)[:, None], 0.0)
    along = np.abs(off[..., 0] * course[:, 0] + off[..., 1] * course[:, 1])
    across = np.abs(off[..., 1] * course[:, 0] - off[..., 0] * course[:, 1])
    aimless = speed <= DIRECTED
    along = np.where(aimless, np.hypot(off[..., 0], off[..., 1]), along)
    faster = new[:, 2:] @ course.T - np.where(aimless, 0.0, speed)
    doubt = np.sqrt(np.maximum(np.einsum("mi,nij,mj->nm", course, cov[:, 2:, 2:], course), 0.0))
    reach = REACH + np.where(aimless, speed * age, ACCELERATION * age * age / 2)
    fits = (along <= reach) & (across <= ASIDE) & (np.abs(faster) <= SPEED + ACCELERATION * age + 2 * doubt)
    far = (2 * along / reach) ** 2 + (2 * across / ASIDE) ** 2 + 2 * np.log(reach)
    return np.asarray(np.where(fits, far, np.inf))
