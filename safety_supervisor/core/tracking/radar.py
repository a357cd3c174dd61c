"""Radar tracks: detections of all radars in, objects with position, velocity, uncertainty and existence out.

Each scan is processed at the moment of its measurement (stamp minus latency) with the pose and velocity of its sensor
at that moment; the tracks that are handed out are predicted to the tick. A scan that arrives after a younger one (up
to 0.3 s, and the difference of the latencies) is put in its place: the tracker goes back to the record before it and
processes the later scans again. What was born from a detection is born with the same id then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from safety_supervisor.core.config import Config, Sensor, Tracking
from safety_supervisor.core.world import (
    NANOSECONDS,
    Bools,
    Floats,
    Ints,
    RadarScan,
    Tracks,
    frozen,
    nanoseconds,
    owned,
    seconds,
)

from . import existence, ghosts, identity, kalman, silence, trust
from .association import Detections, assign, gate
from .ego import EgoHistory
from .observation import Observation, observe
from .returns import Returns, gathered
from .trust import Fit

REORDER = 3 * NANOSECONDS // 10
"""A scan measured this much before the youngest one [ns] is still put in its place, an older one is dropped."""

AGE_MAX = NANOSECONDS
"""A measurement older than the odometry that is remembered [ns] cannot be compensated and is dropped."""



HOPS = 20
"""Detections before a speed across the sight counts as motion: of what is wide, like a bridge, the reflection hops from
one end to the other."""

EXTENT_KEPT = 0.95
"""Not every scan returns the whole body: an extent shrinks by no more than this factor a scan."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed at one moment: the tracks, and who was lost out of view."""

    tracks: Tracks = field(default_factory=Tracks)
    lost: identity.Lost = field(default_factory=identity.Lost)
    fit: Fit = field(default_factory=Fit)
    """How well the newest scan agreed with what was known."""


@dataclass(frozen=True, slots=True)
class Record:
    """One processed scan: when it was measured, the ids born from its detections (-1: none), the belief after it."""

    measured: int
    scan: RadarScan
    births: Ints
    after: Belief


@dataclass(frozen=True, slots=True)
class TrackerState:
    """Tracks predicted to the last tick, and the records from which late scans are put in their place."""

    tracks: Tracks = field(default_factory=Tracks)
    next_id: int = 1
    records: tuple[Record, ...] = ()
    rejected: int = 0
    """Detections that were left out so far: not finite, absurd, out of range, or called invalid by their ECU."""
    own: int = 0
    """Detections of ego's own body that were left out so far."""
    late: int = 0
    """Scans that came too late to be put in their place, so far."""
    news: tuple[tuple[Observation, Fit], ...] = ()
    """The scans that arrived in this tick, in order of measurement."""
    returns: tuple[Returns, ...] = ()
    """What moving bodies returned lately, in order of arrival."""

    @classmethod
    def empty(cls) -> TrackerState:
        """Return the state before the first scan."""
        return cls()


def track_radar(
    state: TrackerState, scans: tuple[RadarScan, ...], ego: EgoHistory, t: int, config: Config
) -> TrackerState:
    """Process the scans that arrived since the last tick and predict all tracks, tentative ones included, to `t`."""
    if not ego.samples:
        return replace(state, tracks=Tracks(t=t), records=(), news=(), returns=())
    sensors = config.sensors_of("radar", "radar_tracks")
    latest = t + nanoseconds(config.health.future_tolerance)
    if state.records and state.records[-1].measured > latest:  # the clock was set back
        state = replace(state, tracks=Tracks(), records=())
    todo, kept, late = _schedule(state.records, scans, sensors, t, latest)
    known = {(r.scan.sensor, r.scan.t): r.births for r in state.records}
    records, next_id, news = list(kept), state.next_id, []
    for measured, scan in todo:
        seen = observe(scan, measured, ego, sensors[scan.sensor], config.tracking, config.vehicle)
        births = known.get((scan.sensor, scan.t))
        births = np.full(len(seen.found), -1) if births is None else births
        before = records[-1].after if records else Belief(Tracks(t=measured))
        after, births = step(before, seen, births, next_id, config.tracking)
        next_id = max(next_id, max(births.tolist(), default=0) + 1)
        records.append(Record(measured, scan, frozen(births, np.int64), after))
        if (scan.sensor, scan.t) not in known:
            news.append((seen, after.fit))
    last = records[-1].after.tracks if records else Tracks(t=t)
    return TrackerState(
        predicted(last, t, config.tracking), next_id, _recent(records, sensors),
        state.rejected + sum(seen.rejected for seen, _ in news), state.own + sum(seen.own for seen, _ in news),
        state.late + late, tuple(news), gathered(state.returns, [seen for seen, _ in news], t, config.tracking),
    )  # fmt: skip


def step(before: Belief, seen: Observation, births: Ints, next_id: int, p: Tracking) -> tuple[Belief, Ints]:
    """Return the belief after one scan, and the id born from each detection: that in `births`, or a new one.

    Predict, gate, assign, update, count misses where the sensor could see and heard anything, drop what is gone, start
    what is new.
    """
    lost = identity.remembered(before.lost, before.tracks, seen.t, p)
    tracks = predicted(before.tracks, seen.t, p)
    expected = kalman.expect(tracks.state, tracks.cov, seen.pose)
    density = existence.clutter_density(seen.found.z, seen.pose, seen.sensor, p)
    pairs = gate(expected, seen.found, p.gate_probability)
    gain = existence.hit_gain(pairs.log_likelihood, density[pairs.detection], p)
    gain = gain * np.where(gain > 0, seen.found.trust[pairs.detection], 1.0)  # half believed counts half
    chosen = assign(pairs, gain - existence.miss_gain(p), tracks.existence >= identity.CONFIRMED, len(seen.found))
    hit, used = pairs.track[chosen], pairs.detection[chosen]
    visible = existence.in_view(expected.z, seen.sensor)
    missed = visible.copy()
    missed[hit] = False
    odds = existence.log_odds(tracks.existence)
    odds[hit] += gain[chosen]
    quiet = _unanswered(tracks, expected, seen, missed)
    missed &= ~quiet
    odds[missed] += existence.miss_gain(p)
    fit = _fit(tracks, expected, seen, visible, hit, pairs.distance[chosen], quiet, p)
    known = _corrected(tracks, expected, seen.found, hit, used, visible)
    known.existence = np.minimum(existence.probability(odds), p.existence_max)
    known.suspect = tracks.suspect.copy()  # whoever sees it judges it
    known.suspect[hit] = ghosts.suspects(
        seen.pose, expected.z, tracks.state, tracks.existence, tracks.moved, hit)  # fmt: skip
    known = known[~(missed & (seen.t - known.updated > nanoseconds(p.coast_time)))]
    if len(used) < len(seen.found):
        free = np.ones(len(seen.found), bool)
        free[used] = False
        fresh = (free & (births < 0)).nonzero()[0]
        births = births.copy()
        births[fresh] = next_id + np.arange(len(fresh))
        known = known.joined(_newborn(seen, free.nonzero()[0], density, births, p))
    after = _bounded(known, p)
    number, lost = identity.recognised(after, tracks.id[tracks.existence >= identity.CONFIRMED], lost, seen.t)
    if number is not after.id:
        after.id = number
        after = after[np.argsort(number)]
    return Belief(after.frozen(seen.t), lost, fit), births


def predicted(tracks: Tracks, t: int, p: Tracking) -> Tracks:
    """Return the tracks moved to `t`; existence fades with time, what has not been seen for too long is dropped."""
    dt = seconds(t - tracks.t)
    fading = existence.faded(tracks.existence, dt, p.persistence_half_life)
    keep = (t - tracks.updated <= nanoseconds(p.unseen_time)) & (fading >= p.delete_existence)
    rows = _Rows(
        tracks.id, tracks.state, tracks.cov, fading, tracks.updated, tracks.hits, tracks.moved, tracks.extent,
        tracks.suspect,
    )[keep]  # fmt: skip
    rows.state, rows.cov = kalman.predict(rows.state, rows.cov, dt, motion(p))
    return rows.frozen(t)


def motion(p: Tracking) -> kalman.Motion:
    """Return how the tracks may move."""
    return kalman.Motion(p.acceleration_psd, p.lateral_psd, p.standing_psd, p.odometry_drift, p.speed_lag)


def since_heard(tracks: Tracks, p: Tracking) -> Floats:
    """Return the covariance (N, 2, 2) [m^2/s^2] of the velocity that prediction alone has added since the newest
    detection of each track: less it, the velocity is known as well as it was then.
    """
    unheard = np.abs(tracks.t - tracks.updated) / NANOSECONDS
    return kalman.white_acceleration(tracks.state[:, 2:], motion(p)) * unheard[:, None, None]


def _unanswered(tracks: Tracks, expected: kalman.Expected, seen: Observation, missed: Bools) -> Bools:
    """Return which well-known tracks were missed in a direction from which nothing came back at all."""
    quiet = missed & trust.mature(tracks) & ~tracks.suspect & (not seen.from_objects)
    if np.count_nonzero(quiet):
        quiet[quiet] = silence.silent(
            expected.z[quiet, 1], expected.z[quiet, 0], seen.found.z[:, 1], seen.sensor.half_angle)
    return np.asarray(quiet)


def _fit(
    tracks: Tracks, expected: kalman.Expected, seen: Observation, visible: Bools, hit: Ints, distance: Floats,
    quiet: Bools, p: Tracking,
) -> Fit:
    """Return how the scan agrees with the tracks that are well known."""
    mature, unseen = trust.mature(tracks), seen.t - tracks.updated
    judged, count = mature[hit], trust.SECTORS
    recent = mature & visible & (unseen <= nanoseconds(p.coast_time))
    both = np.concatenate([expected.z[:, 1][recent], seen.found.z[:, 1]])
    sector = trust.sectors(both, seen.sensor)
    known = len(both) - len(seen.found)
    quiet = quiet & (unseen > nanoseconds(silence.UNSEEN))
    return Fit(
        float(distance @ judged), int(np.count_nonzero(judged)),
        np.bincount(sector[:known], minlength=count), np.bincount(sector[known:], minlength=count),
        silence.Silent(
            tracks.id[quiet], expected.z[quiet, 1], seen.found.z[:, 1], expected.z[quiet, 0],
            tracks.id[hit[tracks.moved[hit]]]),
    )  # fmt: skip


def _schedule(
    records: tuple[Record, ...], scans: tuple[RadarScan, ...], sensors: dict[str, Sensor], t: int, latest: int
) -> tuple[list[tuple[int, RadarScan]], tuple[Record, ...], int]:
    """Return (measured, scan) to be processed in order of measurement, the records that stay as they are, and how many
    scans came too late.
    """
    late = 0
    earliest = t - AGE_MAX
    if records:
        earliest = max(earliest, records[-1].measured - _window(sensors), records[0].measured + 1)
    done = {(r.scan.sensor, r.scan.t) for r in records}
    todo: list[tuple[int, RadarScan]] = []
    for scan in scans:
        key = (scan.sensor, scan.t)
        if scan.sensor not in sensors or key in done or scan.t > latest:
            continue
        measured = scan.t - nanoseconds(sensors[scan.sensor].latency)
        if measured < earliest:
            late += 1
            continue
        done.add(key)
        todo.append((measured, scan))
    if not todo:
        return todo, records, late
    todo.sort(key=_order)
    stay = tuple(r for r in records if _order((r.measured, r.scan)) < _order(todo[0]))
    todo += [(r.measured, r.scan) for r in records[len(stay) :]]
    return sorted(todo, key=_order), stay, late


def _order(item: tuple[int, RadarScan]) -> tuple[int, str]:
    return item[0], item[1].sensor


def _window(sensors: dict[str, Sensor]) -> int:
    return REORDER + nanoseconds(max((s.latency for s in sensors.values()), default=0.0))


def _recent(records: list[Record], sensors: dict[str, Sensor]) -> tuple[Record, ...]:
    """Return the records of the window and one before it, from which the window can be processed again."""
    if not records:
        return ()
    start = records[-1].measured - _window(sensors)
    older = sum(r.measured < start for r in records)
    return tuple(records[max(older - 1, 0):])


@dataclass(slots=True)
class _Rows:
    """Tracks under construction: the columns of `Tracks`, still unchecked and not yet copied or sealed."""

    id: Ints
    state: Floats
    cov: Floats
    existence: Floats
    updated: Ints
    hits: Ints
    moved: Bools
    extent: Floats
    suspect: Bools

    def __getitem__(self, rows: Ints | Bools) -> _Rows:
        if rows.dtype == np.bool_:
            if np.count_nonzero(rows) == len(rows):
                return self
            rows = rows.nonzero()[0]
        return _Rows(
            self.id[rows], self.state[rows], self.cov[rows], self.existence[rows], self.updated[rows],
            self.hits[rows], self.moved[rows], self.extent[rows], self.suspect[rows],
        )  # fmt: skip

    def joined(self, other: _Rows) -> _Rows:
        """Return the rows of both."""
        return _Rows(
            np.concatenate([self.id, other.id]), np.concatenate([self.state, other.state]),
            np.concatenate([self.cov, other.cov]), np.concatenate([self.existence, other.existence]),
            np.concatenate([self.updated, other.updated]), np.concatenate([self.hits, other.hits]),
            np.concatenate([self.moved, other.moved]), np.concatenate([self.extent, other.extent]),
            np.concatenate([self.suspect, other.suspect]),
        )  # fmt: skip

    def frozen(self, t: int) -> Tracks:
        """Return the finished tracks; the columns may not be used any more."""
        return Tracks(
            t, owned(self.id), owned(self.state), owned(self.cov), owned(self.existence), owned(self.updated),
            owned(self.hits), owned(self.moved), owned(self.extent), owned(self.suspect),
        )  # fmt: skip


def _corrected(
    tracks: Tracks, expected: kalman.Expected, found: Detections, hit: Ints, used: Ints, visible: Bools
) -> _Rows:
    """Update the tracks in rows `hit`, each by one of the detections in rows `used`."""
    state, cov, updated, hits = tracks.state.copy(), tracks.cov.copy(), tracks.updated.copy(), tracks.hits.copy()
    # Out of view the place became a guess as wide as a lane: what is found there now may be anything, once more.
    returns = ~visible[hit] & (tracks.t - updated[hit] > nanoseconds(silence.UNSEEN))
    moved, extent = tracks.moved.copy(), tracks.extent.copy()
    rows = kalman.Expected(expected.z[hit], expected.jacobian[hit], expected.spread[hit])
    state[hit], cov[hit] = kalman.update(state[hit], cov[hit], rows, found.z[used], found.variance[used])
    updated[hit] = tracks.t
    hits[hit] = np.where(returns, 1, hits[hit] + 1)
    extent[hit] = np.maximum(found.extent[used], EXTENT_KEPT * extent[hit])
    return _Rows(tracks.id, state, cov, tracks.existence, updated, hits, moved, extent, tracks.suspect)


def _newborn(seen: Observation, rows: Ints, density: Floats, births: Ints, p: Tracking) -> _Rows:
    """Start a track from each detection in `rows`."""
    found = seen.found[rows]
    state, cov = kalman.born(found.z, found.variance, seen.pose, p.cross_speed_sigma)
    n = len(found)
    return _Rows(
        births[rows], state, cov, existence.newborn(density[rows], seen.sensor, p) * found.trust, np.full(n, seen.t),
        np.ones(n, np.int64), np.zeros(n, bool), found.extent, np.zeros(n, bool),
    )  # fmt: skip


def _moving(velocity: Floats, cov: Floats, hits: Ints, p: Tracking) -> Bools:
    """Return what is faster than `moving_speed` by three standard deviations.

    Of what was seen seldom only the speed counts that is known best, along the line of sight.
    """
    worst = np.arctan2(2 * cov[:, 2, 3], cov[:, 2, 2] - cov[:, 3, 3]) / 2  # direction of the largest variance
    axis = np.stack([-np.sin(worst), np.cos(worst)], axis=1)
    best = axis * np.sum(axis * velocity, axis=1)[:, None]
    velocity = np.where((hits < HOPS)[:, None], best, velocity)
    square = np.maximum(np.sum(velocity * velocity, axis=1), 1e-12)
    spread = np.sum(velocity * (cov[:, 2:, 2:] @ velocity[:, :, None])[:, :, 0], axis=1) / square
    return np.asarray(np.sqrt(square) - 3 * np.sqrt(np.maximum(spread, 0.0)) > p.moving_speed)


def _bounded(tracks: _Rows, p: Tracking) -> _Rows:
    """Drop what is too unlikely, and beyond `tracks_max` the least certain; order by id; mark what moves for good."""
    keep = tracks.existence >= p.delete_existence
    if np.count_nonzero(keep) > p.tracks_max:
        ranked = np.lexsort((tracks.id, -tracks.existence))
        keep[ranked[p.tracks_max:]] = False
    tracks = tracks[keep]
    if not (tracks.id[1:] > tracks.id[:-1]).all():
        tracks = tracks[np.argsort(tracks.id)]
    still = (~tracks.moved).nonzero()[0]
    v = tracks.state[still, 2:]
    rows = still[v[:, 0] ** 2 + v[:, 1] ** 2 > p.moving_speed * p.moving_speed]
    if len(rows):
        tracks.moved[rows] = _moving(tracks.state[rows, 2:], tracks.cov[rows], tracks.hits[rows], p)
    return tracks
