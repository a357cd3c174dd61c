"""Who is beside the corridor and not in it yet, against the proved envelopes for it.

Crossing: inside `envelopes.crossing_margin`, ego can stop before the place where the object comes, or the object does
not reach ego's strip while ego moves, though it doubles its speed. Most of those who come to a road stop beside it, so
a margin that is gone asks for no stop but for a speed: the one from which ego can stop before that place.
Abreast: `envelopes.lateral_margin` says whether both keep apart to the side. Nothing that brakes helps there, and to
steer is not for this layer, so that margin is told and asks for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.assessment.objects import Objects, half_width
from safety_supervisor.core.assessment.situation import Situation, cap_for, ego_speed
from safety_supervisor.core.config import Config
from safety_supervisor.core.envelopes import EPS, crossing_margin, lateral_margin
from safety_supervisor.core.foresight import STAYS
from safety_supervisor.core.geometry import Contacts, Path
from safety_supervisor.core.motion import fallback_duration
from safety_supervisor.core.world import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Crossing:
    """Rows by what comes from the side."""

    margin: Floats
    """(N,) proved crossing margin [m], inf of who does not come from the side."""
    asks: Bools
    """(N,) ego is too fast for it."""
    cap: Floats
    """(N,) speed reading [m/s] from which ego stops before its place, inf where nothing is asked."""


def crossing(
    o: Objects, met: Contacts, path: Path, situation: Situation, config: Config, reach: float
) -> Crossing | None:
    """Judge every row that comes from the side to the path, no farther than `reach` [m], at its worst end; None when
    there is nobody.
    """
    if situation.resting:
        return None
    rows = _comes(o, met, path, config, reach).nonzero()[0]
    if not len(rows):
        return None
    margin, cap = np.full(len(o.row), np.inf), np.full(len(o.row), np.inf)
    e, timing = situation.envelope, config.timing
    v, a = ego_speed(situation, config), situation.acceleration
    age, half = o.age[rows], half_width(o, config)[rows]
    response = age + timing.commit + timing.actuation_delay
    toward, unsure = _toward(o, met, path, rows)
    side_speed = toward + e.sigma_k * unsure
    aside = _aside(met, half, rows, config)
    moving = np.minimum(fallback_duration(v, response, a, e.assumed_brake, e.assumed_jerk), e.crossing_horizon)
    nearer = np.maximum(-met.along[rows], 0.0) * moving  # it comes along the path as well
    gap = met.station[rows] - path.front - half - nearer - e.geometry_bound
    gap = gap - e.sigma_k * np.maximum(met.gap_sigma[rows], e.gap_sigma_floor)
    # Both as they were when it was heard last; from then on it may have done its worst.
    since = abs(situation.ego.speed) * age, toward * age
    margin[rows] = crossing_margin(gap + since[0], aside + since[1], v, side_speed, response, a, e)
    asks = ~(margin >= EPS)
    cap[rows] = np.where(asks[rows], cap_for(gap, situation, config), np.inf)
    return Crossing(margin, asks, cap)


def abreast(o: Objects, met: Contacts, path: Path, situation: Situation, config: Config) -> float:
    """Return the smallest lateral margin [m] of who is abreast of ego's body, inf without anybody.

    Ego keeps to its path; objects are taken at the worst end of what is known.
    """
    c, timing = config.corridor, config.timing
    place = (met.station > -path.rear) & (met.station < path.front) & (np.abs(met.offset) > config.vehicle.width / 2)
    if not np.count_nonzero(place):
        return float("inf")
    grown = ~o.near & o.sound & (o.existence >= config.authority.stop) & (o.hits >= c.lateral_hits)
    rows = (place & grown).nonzero()[0]
    if not len(rows):
        return float("inf")
    toward, unsure = _toward(o, met, path, rows)
    away = -(toward + config.envelope.sigma_k * unsure)
    gap = _aside(met, half_width(o, config)[rows], rows, config)
    response = o.age[rows] + timing.commit + timing.actuation_delay
    return float(lateral_margin(gap, 0.0, away, response, config.envelope).min())


def _aside(met: Contacts, half: Floats, rows: Ints, config: Config) -> Floats:
    """Return the least free distance [m] between ego's strip and rows of half width `half` beside it."""
    body = config.vehicle.width / 2 + half
    return np.asarray(np.abs(met.offset[rows]) - body - config.envelope.sigma_k * met.lateral_sigma[rows])


def _comes(o: Objects, met: Contacts, path: Path, config: Config, reach: float) -> Bools:
    """Tell which rows surely come to the path from the side, before ego's front and not in the corridor yet."""
    c, a = config.corridor, config.authority
    across = (met.drift * met.offset < 0) & (np.abs(met.drift) > STAYS * np.abs(met.along)) & ~met.hit
    if not np.count_nonzero(across):
        return across
    # Reflections of a rail seem to cross as well: what never moved is expected to stay.
    grown = ~o.near & ~o.static & o.sound & ~o.suspect & (o.existence >= a.stop) & (o.hits >= c.lateral_hits)
    ahead = (met.station > path.front) & (met.station - path.front <= reach)
    return np.asarray(grown & across & ahead)


def _toward(o: Objects, met: Contacts, path: Path, rows: Ints) -> tuple[Floats, Floats]:
    """Return the speed of rows towards the path as it is measured [m/s, negative = away], and its standard deviation.

    `Contacts.sideways` leaves out what a bend explains, for the expected motion; a proved margin takes it in full, for
    who crosses does not follow the bend.
    """
    heading = np.interp(met.station[rows], path.s, path.heading)
    x, y = -np.sin(heading), np.cos(heading)
    cov = o.cov[rows, 2:, 2:]
    toward = -np.sign(met.offset[rows]) * (o.velocity[rows, 0] * x + o.velocity[rows, 1] * y)
    variance = cov[:, 0, 0] * x * x + 2 * cov[:, 0, 1] * x * y + cov[:, 1, 1] * y * y
    return toward, np.sqrt(np.maximum(variance, 0.0))
