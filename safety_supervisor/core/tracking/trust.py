"""Can a sensor be believed: what its detections say about itself, as findings with its name.

Radar. *Consistency*: the squared innovations of well-known tracks average to three when noise, mount and latency
are as declared. *Blockage*: a sector in which several objects were known well returns nothing at all any more, not
even clutter; what hides them all would return itself. *Odometry*: its speed against the Doppler of the standing
world and against its own pose. *Contradiction*: a radar and an ultrasonic transducer that look at the same place at
walking pace and disagree for long. None of these deletes anything; what they demand is in `health.SEVERITY`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from safety_supervisor.core.config import Sensor
from safety_supervisor.core.world import Bools, Code, Finding, Floats, Ints, Tracks, seconds

from .silence import Ahead, Direction, Silent, followed

SECTORS = 3
"""Equal parts of a radar's field of view, from right to left."""

MATURE_EXISTENCE, MATURE_HITS = 0.99, 10
"""From here on a track is known well enough to judge the sensor by it."""

MEMORY = 10.0
"""Time constant of the consistency [s]."""

INNOVATIONS_MIN = 200.0
"""Innovations before the consistency is judged."""

INNOVATION_MAX = 5.5
"""Mean squared innovation, ideally 3, at most 8 behind the gate: noise, mount or latency are not as declared."""

DARK = 12
"""Detections in a row that well-known objects of a silent sector did not give; with 0.9 each one in 10^12."""

OBJECTS_MIN = 3
"""So many objects at once must have gone dark: one may be hidden by another."""


def _none() -> Ints:
    return np.zeros(SECTORS, np.int64)


@dataclass(frozen=True, slots=True)
class Fit:
    """How one scan agreed with the tracks that were known well before it."""

    nis: float = 0.0
    """Sum of the squared innovations."""
    count: int = 0
    expected: Ints = field(default_factory=_none)
    """(SECTORS,) such tracks in view."""
    returns: Ints = field(default_factory=_none)
    """(SECTORS,) detections of any kind."""
    silent: Silent = field(default_factory=Silent)


@dataclass(frozen=True, slots=True)
class RadarTrust:
    """What has been seen of one radar."""

    t: int = 0
    nis: float = 0.0
    weight: float = 0.0
    """Faded sums of squared innovations and of their number."""
    dark: tuple[int, ...] = (0,) * SECTORS
    """Expected detections in a row while the sector returned nothing at all, not even clutter."""
    objects: tuple[int, ...] = (0,) * SECTORS
    """Most objects that were expected at once during that."""

    empty: bool = False
    """The newest scan was."""
    silent: tuple[Direction, ...] = ()
    """Directions from which nothing comes back any more."""

    @property
    def consistency(self) -> float:
        """Mean squared innovation; NaN before anything can be said."""
        return self.nis / self.weight if self.weight >= INNOVATIONS_MIN else math.nan

    @property
    def obstructed(self) -> tuple[int, ...]:
        """Sectors that have gone dark."""
        both = zip(self.dark, self.objects, strict=True)
        return tuple(i for i, (dark, objects) in enumerate(both) if dark >= DARK and objects >= OBJECTS_MIN)


def mature(tracks: Tracks) -> Bools:
    """Return which tracks are known well enough to judge a sensor by them."""
    return np.asarray((tracks.existence >= MATURE_EXISTENCE) & (tracks.hits >= MATURE_HITS))


def sectors(azimuth: Floats, sensor: Sensor) -> Ints:
    """Return (N,) the sector of each azimuth."""
    share = (azimuth + sensor.half_angle) / (2 * sensor.half_angle)
    return np.minimum(np.maximum((share * SECTORS).astype(np.int64), 0), SECTORS - 1)


def judged(trust: RadarTrust, fit: Fit, t: int, ahead: Ahead = ()) -> RadarTrust:
    """Return the trust after one scan; a scan that is not newer changes nothing. `ahead`: tracks in ego's way."""
    if trust.t and t <= trust.t:
        return trust
    fade = math.exp(-seconds(t - trust.t) / MEMORY) if trust.t else 0.0
    expected, returns = fit.expected.tolist(), fit.returns.tolist()
    dark = tuple((d + e) * (r == 0) for d, e, r in zip(trust.dark, expected, returns, strict=True))
    objects = tuple(max(o, e) * (r == 0) for o, e, r in zip(trust.objects, expected, returns, strict=True))
    nis, weight = fade * trust.nis + fit.nis, fade * trust.weight + fit.count
    silent = followed(trust.silent, fit.silent, ahead)
    return RadarTrust(t, nis, weight, dark, objects, not any(returns), silent)


def radar_findings(name: str, trust: RadarTrust) -> tuple[Finding, ...]:
    """Return what is wrong with one radar."""
    found = []
    if trust.consistency > INNOVATION_MAX:  # False for NaN
        text = f"{name}: mean squared innovation {trust.consistency:.1f}, expected 3: noise, mount or latency are off"
        found.append(Finding(Code.RADAR_INCONSISTENT, name, text))
    if trust.obstructed:
        where = " and ".join(("right", "centre", "left")[i] for i in trust.obstructed)
        lost = sum(trust.objects[i] for i in trust.obstructed)
        if trust.empty:
            text = f"{name}: {lost} known objects vanished at once and nothing is detected any more"
            found.append(Finding(Code.RADAR_BLOCKED, name, text))
        else:
            text = f"{name}: {lost} known objects vanished at once from its {where} sector"
            found.append(Finding(Code.RADAR_OBSTRUCTED, name, text))
    blocked = [d for d in trust.silent if d.blocked]
    if blocked and not (trust.obstructed and trust.empty):
        who = " and ".join(f"track {d.id} at {math.degrees(d.azimuth):.0f} deg" for d in blocked)
        text = f"{name}: {who} vanished from ego's way, and nothing has come back from there since"
        found.append(Finding(Code.RADAR_BLOCKED, name, text))
    return tuple(found)
