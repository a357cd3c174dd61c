"""Score tracks of a scene against its truth: GOSPA, latency, identity switches, velocity, consistency, coverage.

Tracks are the rows of the tracks file (README.md). Border: truth outside the evaluation zone (field of view less 5
degrees and 15 m) may absorb a track and costs nothing, and tracks outside it cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Floats = npt.NDArray[np.float64]
Rows = dict[str, Any]

CUTOFF = 5.0
"""GOSPA c [m], with p = 2 and alpha = 2."""
SAME = 3.0
"""A track farther from an object [m] is not its track."""
SKIP = 40
"""Scans at the start that are not scored by GOSPA."""
ZONE = (3.0, 185.0, np.deg2rad(55.0))
K = 3.0
"""One-sided intervals in standard deviations, as envelope.sigma_k."""
SAME_SPEED = 6.0
"""Objects that pass through each other swap partners for a scan; a pair that differs more [m/s] is such a swap."""


@dataclass
class Tally:
    """What is counted over the scans of one scene."""

    gospa: list[float] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    false: list[int] = field(default_factory=list)
    pairs: list[Floats] = field(default_factory=list)
    """Per pair: scan, truth minus estimate (4), normalised square, sd of gap, speed and lateral, all in ego's axes."""
    switches: int = 0
    owner: dict[int, int] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    confirmed: dict[int, int] = field(default_factory=dict)
    presence: dict[int, list[bool]] = field(default_factory=dict)


def in_zone(sensor: Floats, xy: Floats) -> npt.NDArray[np.bool_]:
    """Return which positions are scored."""
    offset = xy - sensor[:2]
    distance = np.hypot(offset[:, 0], offset[:, 1])
    azimuth = (np.arctan2(offset[:, 1], offset[:, 0]) - sensor[2] + np.pi) % (2 * np.pi) - np.pi
    return np.asarray((distance > ZONE[0]) & (distance < ZONE[1]) & (np.abs(azimuth) < ZONE[2]))


def score(scene: dict[str, Floats], rows: Rows, threshold: float, hits: int = 0) -> dict[str, Any]:
    """Return the figures of the tracks with at least this existence and number of detections."""
    tally, chosen = Tally(), (rows["existence"] >= threshold) & (rows["hits"] >= hits)
    bounds = np.searchsorted(rows["scan"], np.arange(len(scene["t"]) + 1))
    for k in range(len(scene["t"])):
        own = np.arange(bounds[k], bounds[k + 1])
        own = own[chosen[own]]
        tracks = np.column_stack([rows[c][own] for c in ("x", "y", "vx", "vy")]).reshape(-1, 4)
        _scan(tally, scene, k, tracks, rows["cov"][own], rows["id"][own])
    return _figures(tally, scene)


def _scan(tally: Tally, scene: dict[str, Floats], k: int, tracks: Floats, cov: Floats, ids: Floats) -> None:
    visible = scene["infov"][k].astype(bool)
    truth, names = scene["truth"][k][visible][:, :4], scene["tid"][k][visible]
    zone, near = in_zone(scene["sensor"][k], truth[:, :2]), in_zone(scene["sensor"][k], tracks[:, :2])
    distance = np.hypot(truth[:, None, 0] - tracks[None, :, 0], truth[:, None, 1] - tracks[None, :, 1])
    i, j = linear_sum_assignment(np.minimum(distance, CUTOFF) ** 2)
    paired = distance[i, j] < CUTOFF
    i, j = i[paired], j[paired]
    scored = zone[i]
    missed = int(zone.sum() - scored.sum())
    false = int(near.sum() - near[j].sum())
    if k >= SKIP:
        local = float(np.sum(distance[i, j][scored] ** 2))
        tally.gospa.append(float(np.sqrt(local + CUTOFF**2 / 2 * (missed + false))))
        tally.missed.append(missed)
        tally.false.append(false)
    _errors(tally, scene, k, truth[i[scored]] - tracks[j[scored]], cov[j[scored]])
    taken = np.zeros(len(ids), bool)
    taken[j] = True
    for row, name in enumerate(ids):
        tally.presence.setdefault(int(name), []).append(bool(taken[row] or not near[row]))
    _identities(tally, k, names, zone, ids, distance)


def _errors(tally: Tally, scene: dict[str, Floats], k: int, error: Floats, cov: Floats) -> None:
    """Note the errors of the pairs in ego's axes with their spread."""
    if k < SKIP or not len(error):
        return
    yaw = float(scene["sensor"][k][2])
    turn = np.kron(np.eye(2), np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]))
    nees = np.sum(error * np.linalg.solve(cov, error[:, :, None])[:, :, 0], axis=1)
    sd = np.sqrt(np.diagonal(turn @ cov @ turn.T, axis1=1, axis2=2))
    tally.pairs.append(np.column_stack([np.full(len(error), k), error @ turn.T, nees, sd[:, [0, 2, 1]]]))


def _identities(tally: Tally, k: int, names: Floats, zone: Any, ids: Floats, distance: Floats) -> None:
    """Match as CLEAR does: a correspondence holds while it can, then the rest is assigned."""
    place = {int(t): j for j, t in enumerate(ids)}
    partner = np.full(len(names), -1)
    for i, name in enumerate(names):
        tally.seen.setdefault(int(name), k)
        j = place.get(tally.owner.get(int(name), -1), -1)
        if j >= 0 and distance[i, j] < SAME:
            partner[i] = j
    free_i = np.nonzero(partner < 0)[0]
    free_j = np.setdiff1d(np.arange(len(ids)), partner)
    cost = np.minimum(distance[np.ix_(free_i, free_j)], 1e3)
    cost[cost >= SAME] = 1e3
    for a, b in zip(*linear_sum_assignment(cost), strict=True):
        if cost[a, b] < SAME:
            partner[free_i[a]] = free_j[b]
    for i, name in enumerate(map(int, names)):
        if partner[i] >= 0:
            track = int(ids[partner[i]])
            tally.switches += tally.owner.get(name, track) != track
            tally.owner[name] = track
            tally.confirmed.setdefault(name, k)


def _figures(tally: Tally, scene: dict[str, Floats]) -> dict[str, Any]:
    pairs = np.concatenate(tally.pairs) if tally.pairs else np.zeros((0, 9))
    error, nees, sd = pairs[:, 1:5], pairs[:, 5], pairs[:, 6:]
    alike = np.hypot(error[:, 2], error[:, 3]) < SAME_SPEED
    latency = [k - tally.seen[i] + 1 for i, k in tally.confirmed.items() if tally.seen[i] > 0]
    false = [i for i, present in tally.presence.items() if sum(present) < len(present) / 2]
    hours = len(scene["t"]) * float(np.median(np.diff(scene["t"]))) / 3600
    return {
        "gospa": _mean(tally.gospa), "missed_per_scan": _mean(tally.missed), "false_per_scan": _mean(tally.false),
        "position_rmse": _rms(error[:, :2]), "velocity_rmse": _rms(error[:, 2:]),
        "latency_mean": _mean(latency), "latency_p95": float(np.percentile(latency, 95)) if latency else None,
        "identity_switches": tally.switches, "false_tracks": len(false), "false_tracks_per_hour": len(false) / hours,
        "nees": _mean(nees[alike]), "nees_all_pairs": _mean(nees), "pairs": len(pairs),
        "coverage_gap": _mean(error[alike, 0] >= -K * sd[alike, 0]),
        "coverage_gap_with_floor": _mean(error[alike, 0] >= -K * np.maximum(sd[alike, 0], 0.25)),
        "coverage_speed": _mean(error[alike, 2] >= -K * sd[alike, 1]),
        "coverage_lateral": _mean(np.abs(error[alike, 1]) <= K * sd[alike, 2]),
        "gospa_by_scan": tally.gospa,
        "nees_by_second": [_mean(nees[alike & (pairs[:, 0] // 20 == s)]) for s in range(len(scene["t"]) // 20)],
    }  # fmt: skip


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _rms(error: Floats) -> float | None:
    return float(np.sqrt(np.mean(np.sum(error**2, axis=1)))) if len(error) else None
