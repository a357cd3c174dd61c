"""Tracks and the points of near-field arcs as one table of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from safety_supervisor.core.assessment.situation import Situation, ego_speed
from safety_supervisor.core.config import Config
from safety_supervisor.core.envelopes import near_field_margin
from safety_supervisor.core.geometry import arc_points
from safety_supervisor.core.tracking import since_heard
from safety_supervisor.core.tracking.kalman import unpredicted
from safety_supervisor.core.world import NANOSECONDS, Arc, Bools, Echo, Floats, Ints, Odometry, Tracks, seconds

UNHEARD = 0.15
"""What was heard within this time [s] has hardly moved since."""
SWERVES = 2.5
"""Standard deviations from which a lateral speed was one, and not the wander of a reflection along a flank."""
TREND_SPAN = 0.3
"""Longest time between two ticks from which an acceleration is read [s]."""
CONFIRMED_HITS = 1_000_000
"""Stands for an arc, whose confirmation is the business of its own filter."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Tracks and arc points in one table of N rows."""

    row: Ints
    """(N,) index of the track, or -1 - index of the arc."""
    position: Floats
    velocity: Floats
    cov: Floats
    existence: Floats
    suspect: Bools
    """(N,) looks like a radar reflection of another object."""
    static: Bools
    """(N,) never seen moving, so not told apart from a bridge or a sign; arcs are real obstacles."""
    hits: Ints
    """(N,) detections behind the row; an arc has been confirmed by its own rule."""
    age: Floats
    """(N,) age of the newest detection behind the row [s]."""
    approach: Floats
    """(N,) own approach speed of a near-field object, direction unknown [m/s]."""
    keep: Floats
    """(N,) gap to keep even in the worst case [m]."""
    clearance: Floats
    """(N,) gap to keep at the end of an expected approach [m]."""
    slack: Floats
    """(N,) least lateral distance to ego's body that counts as clear [m]."""
    trend: Floats
    """(N, 2) acceleration in odom, without what is only noise [m/s^2]."""
    since: Floats
    """(N, 2, 2) covariance of the velocity that was added since the newest detection [m^2/s^2]."""

    near: Bools = field(init=False)
    """(N,) rows of ultrasonic arcs."""
    sound: Bools = field(init=False)
    """(N,) rows in which every number is finite; of the others nothing can be said, so they stop ego."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "near", self.row < 0)
        scalars = (self.existence[:, None], self.age[:, None], self.approach[:, None])
        columns = (self.position, self.velocity, self.cov.reshape(len(self.row), 16), *scalars)
        object.__setattr__(self, "sound", np.isfinite(np.concatenate(columns, axis=1)).all(axis=1))

    def take(self, rows: Bools) -> Objects:
        """Return some of the rows."""
        return Objects(
            self.row[rows], self.position[rows], self.velocity[rows], self.cov[rows], self.existence[rows],
            self.suspect[rows], self.static[rows], self.hits[rows], self.age[rows], self.approach[rows],
            self.keep[rows], self.clearance[rows], self.slack[rows], self.trend[rows],
            self.since[rows],
        )  # fmt: skip


def half_width(o: Objects, config: Config) -> Floats:
    """Return the presumed half extent (N,) [m] of each row across the path."""
    return o.slack - config.corridor.margin


def heard(tracks: Tracks, config: Config) -> Tracks:
    """Return the tracks that may demand anything at all; one with a broken number is always heard."""
    a = config.authority
    quiet = (tracks.existence < min(a.speed_cap, a.near_field, a.lead)).nonzero()[0]
    if not len(quiet):
        return tracks
    whole = np.isfinite(tracks.state[quiet]).all(axis=1) & np.isfinite(tracks.cov[quiet].reshape(-1, 16)).all(axis=1)
    rows = np.ones(len(tracks), np.bool_)
    rows[quiet[whole & np.isfinite(tracks.existence[quiet])]] = False
    return tracks.take(rows.nonzero()[0])


def objects_of(tracks: Tracks, arcs: tuple[Arc, ...], situation: Situation, config: Config) -> Objects:
    """Return tracks and the points of near-field arcs as one table."""
    near, ego = config.near_field, situation.ego
    # Where the plan itself comes to rest, it may come a little closer than where it drives past.
    rests = bool(situation.path.speed[-1] < config.arbitration.standstill_speed)
    keep = near.stop_distance - (near.approach_tolerance if rests else 0.0)
    place, cov = _settled(tracks, ego, config)
    # The near end of an echo's interval may be inside the body, and a turn on the spot keeps room to all sides.
    sigma_k = 0.0 if situation.path.radius else config.envelope.sigma_k
    rows, points, approach = [np.arange(len(tracks))], [place], [np.zeros(len(tracks))]
    for i, arc in enumerate(arcs):
        if counts(arc) and abs(ego.speed) <= near.speed_max:
            points.append(echo_points(arc, ego, sigma_k))
            rows.append(np.full(len(points[-1]), -1 - i))
            approach.append(np.full(len(points[-1]), _approach(arc, situation, near.approach_noise)))
    n = sum(map(len, points)) - len(tracks)
    # What is known of ego may be older than what is known of an object: the older one counts. The age of a ping is in
    # the spread of its arc, which grows while the filter predicts.
    age = np.maximum((ego.t - tracks.updated) / NANOSECONDS, situation.ego_age)
    c, m = config.corridor, len(tracks)
    width = c.margin + np.maximum(c.object_half_width, tracks.extent[:, 0])
    trend = trends(tracks, situation.before, c.lateral_speed_sigma_k)
    of_tracks = (rows[0], points[0], tracks.state[:, 2:], cov, tracks.existence, tracks.suspect, ~tracks.moved,
                 tracks.hits, age, approach[0], np.zeros(m), np.full(m, config.expected.clearance), width, trend,
                 since_heard(tracks, config.tracking))
    if not n:
        return _around(Objects(*of_tracks), situation, config)
    none, kept = np.zeros(n, np.bool_), np.full(n, keep)
    of_arcs = (np.concatenate(rows[1:]), np.concatenate(points[1:]), np.zeros((n, 2)), np.zeros((n, 4, 4)), np.ones(n),
               none, none, np.full(n, CONFIRMED_HITS), np.full(n, situation.ego_age), np.concatenate(approach[1:]),
               kept, kept, np.full(n, near.lateral_margin), np.zeros((n, 2)), np.zeros((n, 2, 2)))
    both = Objects(*(np.concatenate(parts) for parts in zip(of_tracks, of_arcs, strict=True)))
    return _around(both, situation, config)


def _around(o: Objects, situation: Situation, config: Config) -> Objects:
    """Return the rows for a turn on the spot: room to all sides, wider by how far a track comes nearer by itself until
    ego stands; other rows as they are. The range of an echo changes with the turn itself, along a wall without bound.
    """
    if not situation.path.radius:
        return o
    ego, k = situation.ego, config.corridor.lateral_speed_sigma_k
    off = o.position - (ego.x, ego.y)
    away = np.maximum(np.hypot(off[:, 0], off[:, 1]), 1e-6)
    spread = np.sqrt(np.maximum(o.cov[:, 2, 2] + o.cov[:, 3, 3], 0.0))
    toward = np.maximum(-(off * o.velocity).sum(axis=1) / away - k * spread, 0.0)
    response = o.age + config.timing.commit + config.timing.actuation_delay
    v, a, e = ego_speed(situation, config), situation.acceleration, situation.envelope
    stays, comes = (near_field_margin(0.0, v, speed, response, a, 0.0, e) for speed in (0.0, toward))
    return replace(o, approach=0.0 * o.approach, keep=stays - comes)


def trends(tracks: Tracks, before: Tracks, sigma_k: float) -> Floats:
    """Return the acceleration (M, 2) [m/s^2] of tracks since the tick before, as far as it is more than noise."""
    span = seconds(tracks.t - before.t)
    if not len(before) or not len(tracks) or not 0.0 < span <= TREND_SPAN:
        return np.zeros((len(tracks), 2))
    at = np.minimum(before.id.searchsorted(tracks.id), len(before) - 1)
    known = before.id[at] == tracks.id
    change = tracks.state[:, 2:] - before.state[at, 2:]
    variance, earlier = (x.cov[:, 2:, 2:].diagonal(0, 1, 2) for x in (tracks, before))
    noise = np.sqrt(np.maximum(variance + earlier[at], 0.0))
    more = np.sign(change) * np.maximum(np.abs(change) - sigma_k * noise, 0.0) / span
    return np.asarray(np.where(known[:, None], more, 0.0))


def _approach(arc: Arc, situation: Situation, noise: float) -> float:
    """Return how fast [m/s] an echo comes nearer by itself, beyond what ego's motion and noise explain.

    A filtered range rate lags: while ego brakes it still holds ego's speed of a moment ago.
    """
    own = -arc.range_rate - max(abs(situation.ego.speed), situation.recent_speed)
    return 0.0 if own <= noise else own  # written so that NaN is kept


def counts(arc: Arc) -> bool:
    """Whether an arc stands for an object."""
    return arc.confirmed and arc.echo in (Echo.OBJECT, Echo.TOO_CLOSE)


def echo_points(arc: Arc, ego: Odometry, sigma_k: float) -> Floats:
    """Return points (K, 2) in odom where an echo may be from, at the near end of its interval."""
    low = arc.range - sigma_k * arc.range_sigma if arc.echo is Echo.OBJECT else 0.0
    return arc_points(arc, ego, max(low, 0.0))


def _settled(tracks: Tracks, ego: Odometry, config: Config) -> tuple[Floats, Floats]:
    """Return position (M, 2) and covariance (M, 4, 4) in odom; of unheard traffic beside, across as last heard.

    What drives beside ego leaves the view of its sensors with the lateral speed of a reflection that wandered. Unless
    that was more than noise, it stays in its lane, and does not become as wide as both lanes while nobody looks.
    """
    position, cov = tracks.state[:, :2], tracks.cov
    unheard = (tracks.t - tracks.updated) / NANOSECONDS
    rows = ((unheard > UNHEARD) & near_front(position, ego, config)).nonzero()[0]
    if not len(rows):
        return position, cov
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    left, p, v, t = np.array([-sin, cos]), cov[rows], tracks.state[rows, 2:], unheard[rows]
    drift, moves = v @ left, left @ p[:, 2:, 2:] @ left
    q = left @ since_heard(tracks.take(rows), config.tracking) @ left
    then, grown = unpredicted(left @ p[:, :2, 2:] @ left, moves, q, t, config.tracking.odometry_drift)
    calm = (np.abs(drift) <= SWERVES * np.sqrt(then)) | (tracks.hits[rows] < config.corridor.lateral_hits)
    calm &= np.abs(v @ (cos, sin)) > config.tracking.moving_speed
    position, cov = position.copy(), cov.copy()
    position[rows] -= np.where(calm, drift * t, 0.0)[:, None] * left
    cov[rows, :2, :2] -= np.where(calm, np.maximum(grown, 0.0), 0.0)[:, None, None] * np.outer(left, left)
    return position, cov


def near_front(position: Floats, ego: Odometry, config: Config) -> Bools:
    """Return who is near ego's front."""
    ahead = config.vehicle.front
    off = position - (ego.x + ahead * math.cos(ego.yaw), ego.y + ahead * math.sin(ego.yaw))
    near = config.authority.near_range * config.authority.near_range
    return np.asarray(off[:, 0] * off[:, 0] + off[:, 1] * off[:, 1] <= near)
