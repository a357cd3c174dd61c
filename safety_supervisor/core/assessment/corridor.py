"""Where the corridor of ego meets the rows, and how far their lateral motion and their speeds are believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safety_supervisor.core.assessment.bodies import AGREES, slides
from safety_supervisor.core.assessment.objects import Objects, near_front
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import FOLLOWS, LAG, Contacts, Lateral, Path, contacts, turn_contacts
from safety_supervisor.core.world import Bools, Floats, Odometry

FLANK_SPEED = 5.0
"""Faster than this [m/s] is traffic, not somebody who crosses on foot."""
SURELY = 0.25
"""What is within this share of ego's half width is in the way of whoever comes, however badly its place is known."""
BEND = 0.5
"""Lateral acceleration of who follows the road [m/s^2] above which it is a bend."""
SURE = 0.35
"""Speeds are known about as well as this [m/s] once a track is seen in most scans."""
VAGUE = 0.5
"""A speed known worse than this [m/s] is that of a track seen seldom."""
ABREAST = 1.0
"""Reflections of one rear are no farther apart along the path [m]."""
WIDTH = 2.0
"""... and across it [m], a passenger car's width."""


def corridor_contacts(o: Objects, path: Path, ego: Odometry, config: Config) -> Contacts:
    """Return where the corridor meets each row; of a row that is not sound it is not known where (NaN).

    Whoever comes towards ego must surely be in the way: two speeds add up, so that an error would cost an emergency.
    In a bend its lateral motion does not count: a track of constant velocity lags behind who follows the road; nor
    beyond the end of the plan, where nobody knows how the road bends.
    """
    c = config.corridor
    if path.radius:
        half = config.vehicle.width / 2
        met = turn_contacts(path, o.position, o.cov, half, o.slack, o.keep, c.lateral_sigma_k, o.age)
        return replace(met, gap=np.where(o.sound, met.gap, np.nan))
    flank = _flank(o.position, o.velocity, ego, config)
    reach_in = np.where(flank, min(c.flank_prediction, c.lateral_prediction), c.lateral_prediction)
    reach_in = np.where(o.near | (o.hits < c.lateral_hits), 0.0, reach_in)
    lateral = Lateral(c.lateral_sigma_k, c.lateral_speed_sigma_k, c.lateral_speed_sigma_max)
    met = _with_bodies(o, meets(o, o.slack, reach_in, lateral, path, ego, config), lateral, path, ego, config)
    coming = met.hit & (met.along < -config.tracking.moving_speed) & ~o.near & o.sound
    if coming.any():
        k = c.oncoming_sigma_k
        core = (SURELY - 1) * config.vehicle.width / 2
        # Nor is it sure how far it has come across since it was heard.
        narrow = (np.maximum(o.slack - k * met.lateral_sigma, core) - np.abs(met.sideways) * o.age)[coming]
        lateral = Lateral(-k, max(k, c.lateral_speed_sigma_k), c.lateral_speed_sigma_max)
        swerves = np.where(_bends(o, met, path), 0.0, reach_in)[coming]
        surely = meets(o.take(coming), narrow, swerves, lateral, path, ego, config)
        gap = met.gap.copy()
        gap[np.flatnonzero(coming)[~surely.hit]] = np.inf
        met = replace(met, gap=gap)
    met = _one_body(o, met, config)
    return met if np.count_nonzero(o.sound) == len(o.sound) else replace(met, gap=np.where(o.sound, met.gap, np.nan))


def meets(
    o: Objects, slack: Floats, reach_in: Floats, lateral: Lateral, path: Path, ego: Odometry, config: Config
) -> Contacts:
    """Return where the corridor meets each row: `slack` (N,) [m] beside the body, more where it is known badly, and
    `reach_in` (N,) [s] of its motion, as far as `lateral` believes them.
    """
    half, moves = config.vehicle.width / 2, config.tracking.moving_speed
    stays = o.velocity[:, 0] * o.velocity[:, 0] + o.velocity[:, 1] * o.velocity[:, 1] <= moves * moves
    flank = np.where(stays, config.near_field.lateral_margin, -np.inf)
    return contacts(path, o.position, o.velocity, o.cov, half, slack, reach_in, lateral, abs(ego.speed), o.since, o.age,
                    flank)


def _with_bodies(
    o: Objects, met: Contacts, lateral: Lateral, path: Path, ego: Odometry, config: Config
) -> Contacts:
    """Leave out traffic beside the corridor that would come into it only by a reflection that slides along its body."""
    beside = np.abs(met.offset) > config.vehicle.width / 2 + o.slack
    comes = met.hit & beside & (met.drift * met.offset < 0) & (met.along > config.tracking.moving_speed)
    slid = slides(o, met, comes, config) if np.count_nonzero(comes) else comes
    if not np.count_nonzero(slid):
        return met
    there = meets(o.take(slid), o.slack[slid], np.zeros(np.count_nonzero(slid)), lateral, path, ego, config)
    gap = met.gap.copy()
    gap[np.flatnonzero(slid)[~there.hit]] = np.inf
    return replace(met, gap=gap)


def _bends(o: Objects, met: Contacts, path: Path) -> Bools:
    """Tell which rows have a bend of the path before or behind them that their speed can follow, or an unknown way.

    Behind an oncoming one is what it has just come through, beyond the end of the plan nobody knows the road.
    """
    behind = met.station + LAG * np.abs(met.along)
    to, here, end = np.interp([met.station, np.zeros_like(behind), behind], path.s, path.heading)
    turn = np.abs(to - here) / np.maximum(met.station, 1.0)
    turn = np.maximum(turn, np.abs(end - to) / np.maximum(behind - met.station, 1.0))
    sideways = (o.velocity * o.velocity).sum(axis=1) * turn
    return np.asarray(((sideways > BEND) & (sideways <= FOLLOWS)) | (behind > path.length))


def _one_body(o: Objects, met: Contacts, config: Config) -> Contacts:
    """Give a row whose speed is hardly known what the sure row beside it knows: two reflections of one body.

    They are as far ahead, less than a car's width apart, and their speeds agree. What is known is the speed and since
    when: a body that is seen at one corner has not been out of sight since the other one was.
    """
    track = ~o.near & o.sound
    vague = (track & met.hit & (met.speed_sigma > SURE)).nonzero()[0]
    if not len(vague):
        return met
    a = config.authority
    sure = (track & (met.speed_sigma <= VAGUE) & (o.hits >= a.hits) & (o.existence >= a.emergency)).nonzero()[0]
    if not len(sure):
        return met
    speeds = np.abs(met.along[vague, None] - met.along[sure])
    same = speeds <= AGREES * np.hypot(met.speed_sigma[vague, None], met.speed_sigma[sure])
    same &= np.abs(met.station[vague, None] - met.station[sure]) <= ABREAST
    same &= np.abs(met.offset[vague, None] - met.offset[sure]) <= WIDTH
    same &= met.speed_sigma[sure] < met.speed_sigma[vague, None]
    of = sure[np.argmin(np.where(same, met.speed_sigma[sure], np.inf), axis=1)]
    to, source = vague[same.any(axis=1)], of[same.any(axis=1)]
    known = [x.copy() for x in (met.along, met.speed_sigma, met.heard_sigma, met.age)]
    for x in known:
        x[to] = x[source]
    return replace(met, along=known[0], speed_sigma=known[1], heard_sigma=known[2], age=known[3])


def _flank(position: Floats, v: Floats, ego: Odometry, config: Config) -> Bools:
    """Return the rows of traffic near by: what is seen of it is its flank, on which the reflection wanders."""
    fast = v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1] > FLANK_SPEED * FLANK_SPEED
    return np.asarray(near_front(position, ego, config) & fast)
