"""Ultrasonics: a Kalman filter per transducer over range and range rate; spikes are held until repeated.

A ping is an arc, not a point: only its range is estimated here. What it says follows REP-117: +inf or the largest
range = no echo, -inf or less than the smallest range = too close, NaN = invalid. "No object" (CLEAR) and "cannot see"
(BLIND) are different answers. Whatever is uncertain leaves the near edge where it is or brings it nearer: a silent
ping, an invalid one and a prediction never move it outward.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

import numpy as np
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter

from safety_supervisor.core.config import Config, Sensor, Ultrasonics
from safety_supervisor.core.world import (
    Arc,
    Code,
    Echo,
    Finding,
    Floats,
    RangeReading,
    frozen,
    nanoseconds,
    seconds,
)

from .bearings import Witness, heard_by, narrowed, recalled
from .ego import EgoHistory, beam_speed

BIRTH_SPEED_SIGMA = 1.5
"""Unknown own speed [m/s] of an object that is heard for the first time; ego's own speed is known."""

PREDICTION = 0.5
"""Range is extrapolated this long [s] without an echo; beyond it only the uncertainty grows."""

UNHEARD_SPEED = 1.0
"""Growth of the uncertainty [m/s] of an object that was not heard for longer than that."""


REPEATS, STUCK_TRAVEL, BLOCKED_TRAVEL = 15, 2.0, 1.0
"""The same for so many pings while ego moves so far along the beam [m]: stuck; too close all the while: covered."""

BLIND_ZONE_HOLD = 30
"""Silent pings for which what has entered the blind zone is held."""


class Ping(enum.Enum):
    """What one reading means before any filter."""

    ECHO = "echo"
    SILENT = "silent"
    CLOSE = "close"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Transducer:
    """Belief of one transducer; the estimate stays at the last echo that fitted and is predicted from there."""

    t: int
    """Time of the last ping."""
    heard: int = 0
    """Time of the estimate."""
    x: Floats | None = None
    """(2,) range and range rate; None without an object."""
    P: Floats | None = None
    hits: int = 0
    missed: int = 0
    """Consecutive pings without the echo of the object."""
    close: int = 0
    """Consecutive pings that were too close; while an object is not confirmed again they count."""
    silent: int = 0
    """Consecutive silent pings."""
    invalid: int = 0
    """Consecutive invalid pings."""
    spike: float = math.nan
    """Range of a held spike, NaN without one."""
    spike_t: int = 0
    spikes: int = 0
    range_max: float = math.nan
    """As the last valid reading said."""
    value: float = math.nan
    """Newest echo as it came."""
    repeats: int = 0
    """Pings in a row that said exactly the same."""
    travelled: float = 0.0
    """How far ego has moved along the beam meanwhile [m]."""


@dataclass(frozen=True, slots=True)
class UltrasonicState:
    """Beliefs by transducer, and the arcs that follow from them at the last tick."""

    transducers: tuple[tuple[str, Transducer], ...] = ()
    arcs: tuple[Arc, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    """What was heard a moment ago, and from where."""

    @classmethod
    def empty(cls) -> UltrasonicState:
        """Return the state before the first ping."""
        return cls()


def track_ultrasonics(
    state: UltrasonicState, readings: tuple[RangeReading, ...], ego: EgoHistory, t: int, config: Config
) -> UltrasonicState:
    """Process the pings since the last tick; return one arc per configured transducer, predicted to `t`."""
    newest = t + nanoseconds(config.health.future_tolerance)
    known = {name: belief for name, belief in state.transducers if belief.t <= newest}
    beliefs: list[tuple[str, Transducer]] = []
    arcs: list[Arc] = []
    for name, sensor in config.sensors_of("ultrasonic").items():
        belief = known.get(name)
        own = [r for r in readings if r.sensor == name and r.t <= newest]
        for reading in sorted(own, key=_time):
            if belief is None or reading.t > belief.t:
                belief = heard(belief or Transducer(reading.t), reading, ego, sensor, config.ultrasonics)
        if belief is not None:
            beliefs.append((name, belief))
        arcs.append(_arc(name, belief, sensor, t, config.ultrasonics))
    at = ego.at(t)
    if at is None:
        return UltrasonicState(tuple(beliefs), tuple(arcs))
    steady = {name for name, b in beliefs if b.hits >= config.ultrasonics.lose and not b.missed}
    now = tuple(heard_by(a, at, t) for a in arcs if a.sensor in steady and a.echo is Echo.OBJECT and a.t <= t)
    earlier = tuple(w for w in state.witnesses if w.t <= t)
    arcs = [narrowed(a, (*now, *earlier), at, t) for a in arcs]
    return UltrasonicState(tuple(beliefs), tuple(arcs), recalled(earlier, now, t))


def doubts(state: UltrasonicState, config: Config) -> tuple[Finding, ...]:
    """Return the transducers that say the same while ego moves along their beam: nothing in the world does that."""
    found = []
    sensors = config.sensors_of("ultrasonic")
    for name, belief in state.transducers:
        if name not in sensors or belief.repeats < REPEATS:
            continue
        if belief.value > 0 and belief.travelled >= STUCK_TRAVEL:
            text = f"{name} repeats {belief.value:.3f} m for {belief.repeats} pings while ego moves on"
            found.append(Finding(Code.ULTRASONIC_STUCK, name, text))
        if belief.value <= 0 and belief.travelled >= BLOCKED_TRAVEL:
            text = f"{name} says too close for {belief.repeats} pings while ego moves on: it is covered"
            found.append(Finding(Code.ULTRASONIC_BLOCKED, name, text))
    return tuple(found)


def meaning(reading: RangeReading, sensor: Sensor) -> Ping:
    """Return what a reading says, also of drivers that publish the largest range for silence, 0 for too close."""
    low = reading.range_min if math.isfinite(reading.range_min) else sensor.range_min
    high = _range_max(reading, sensor)
    if math.isnan(reading.range):
        return Ping.INVALID
    if reading.range >= high * (1 - 1e-6):
        return Ping.SILENT
    return Ping.CLOSE if reading.range < low else Ping.ECHO


def heard(
    belief: Transducer, reading: RangeReading, ego: EgoHistory, sensor: Sensor, p: Ultrasonics
) -> Transducer:
    """Return the belief after one ping."""
    ping = meaning(reading, sensor)
    belief = _noted(belief, reading, ping, ego, sensor)
    if ping is Ping.INVALID:
        return belief
    if ping is Ping.CLOSE:
        return replace(belief, close=belief.close + 1, missed=0, silent=0, spikes=0, spike=math.nan)
    if ping is Ping.SILENT:
        return _silent(belief, sensor, p)
    return _echo(replace(belief, silent=0) if belief.silent else belief, reading, ego, sensor, p)


def _noted(belief: Transducer, reading: RangeReading, ping: Ping, ego: EgoHistory, sensor: Sensor) -> Transducer:
    """Count the invalid pings, those that say the same, and how far ego has moved along the beam meanwhile."""
    valid = ping is not Ping.INVALID
    invalid, range_max = (0, _range_max(reading, sensor)) if valid else (belief.invalid + 1, belief.range_max)
    value = {Ping.ECHO: reading.range, Ping.CLOSE: 0.0}.get(ping, math.nan)
    if value != belief.value:  # NaN never repeats
        return replace(belief, t=reading.t, invalid=invalid, range_max=range_max, value=value, repeats=1, travelled=0.0)
    moved = abs(_closing(ego, reading.t, sensor)) * max(seconds(reading.t - belief.t), 0.0)
    return replace(belief, t=reading.t, invalid=invalid, range_max=range_max, repeats=belief.repeats + 1,
                   travelled=belief.travelled + moved)


def _silent(belief: Transducer, sensor: Sensor, p: Ultrasonics) -> Transducer:
    """Count a silent ping; `lose` of them in a row end whatever was believed.

    What was last heard at the edge of the blind zone, and came nearer, has not gone but entered it: it is too close,
    until it is heard again or `BLIND_ZONE_HOLD` pings have passed.
    """
    belief = replace(belief, missed=belief.missed + 1, silent=belief.silent + 1)
    if belief.silent < p.lose:
        return belief
    if belief.x is not None and belief.silent < BLIND_ZONE_HOLD:
        nearest, sigma, _ = _near_edge(belief, belief.t, p)
        if nearest - 3 * sigma < sensor.range_min and belief.hits >= p.confirm:
            return replace(belief, close=max(belief.close, p.confirm))
    return Transducer(
        belief.t, silent=belief.silent, range_max=belief.range_max, value=belief.value, repeats=belief.repeats,
        travelled=belief.travelled,
    )  # fmt: skip


def _echo(
    belief: Transducer, reading: RangeReading, ego: EgoHistory, sensor: Sensor, p: Ultrasonics
) -> Transducer:
    """Take an echo: it fits the object, or it is held as a spike until others repeat it."""
    closing = _closing(ego, reading.t, sensor)
    if belief.x is None or belief.P is None:
        if belief.close < p.confirm:
            return _born(belief, reading, closing, p)
        return _spike(belief, reading, closing, p.lose, p)  # what is too close does not vanish with one echo
    x, P = _predicted(belief, reading.t, p)
    S = float(P[0, 0]) + p.sigma * p.sigma
    if abs(reading.range - x[0]) > p.spike_gate * math.sqrt(S):
        return _spike(belief, reading, closing, p.confirm if reading.range < x[0] else p.lose, p)
    filter_ = _filter(x, P, p)
    filter_.update(reading.range)
    return replace(
        belief, heard=reading.t, x=frozen(filter_.x), P=frozen(filter_.P), hits=belief.hits + 1, missed=0, close=0,
        spikes=0, spike=math.nan,
    )  # fmt: skip


def _spike(
    belief: Transducer, reading: RangeReading, closing: float, needed: int, p: Ultrasonics
) -> Transducer:
    """Hold an echo that does not fit until `needed` of them fit each other: then the object is new, or has jumped.

    An echo from nearer needs `confirm` of them. One from behind the object also says that the object is silent: it
    needs `lose` of them, as silence does.
    """
    dt = seconds(reading.t - belief.spike_t)
    expected = belief.spike - closing * dt
    reach = p.spike_gate * math.sqrt(2) * p.sigma + BIRTH_SPEED_SIGMA * dt
    fits = abs(reading.range - expected) <= reach  # False for NaN: no spike is held yet
    spikes, missed = belief.spikes + 1 if fits else 1, belief.missed + 1
    if spikes >= needed:
        return replace(_born(belief, reading, closing, p), hits=spikes)
    if missed >= p.lose:  # neither the object nor one spike often enough: something is there, unconfirmed
        return _born(belief, reading, closing, p)
    return replace(belief, missed=missed, spike=reading.range, spike_t=reading.t, spikes=spikes)


def _born(belief: Transducer, reading: RangeReading, closing: float, p: Ultrasonics) -> Transducer:
    """Start an object: it stands until it is seen moving, so it closes with ego's own speed."""
    return Transducer(
        t=reading.t, heard=reading.t, x=frozen([reading.range, -closing]),
        P=frozen(np.diag([p.sigma * p.sigma, BIRTH_SPEED_SIGMA * BIRTH_SPEED_SIGMA])), hits=1,
        range_max=belief.range_max, value=belief.value, repeats=belief.repeats, travelled=belief.travelled,
    )  # fmt: skip


def _predicted(belief: Transducer, t: int, p: Ultrasonics) -> tuple[Floats, Floats]:
    dt = seconds(t - belief.heard)
    filter_ = _filter(belief.x, belief.P, p)
    # A stamp may lie before the estimate: going back adds as much uncertainty as going on.
    noise = Q_continuous_white_noise(2, abs(dt), p.acceleration_psd)
    filter_.predict(F=np.array([[1.0, dt], [0.0, 1.0]]), Q=noise * np.array([[1.0, np.sign(dt)], [np.sign(dt), 1.0]]))
    return filter_.x, filter_.P


def _filter(x: Floats | None, P: Floats | None, p: Ultrasonics) -> KalmanFilter:
    """Return filterpy's filter of one transducer with this estimate: it measures the range."""
    filter_ = KalmanFilter(dim_x=2, dim_z=1)
    filter_.x, filter_.P = np.array(x), np.array(P)
    filter_.H, filter_.R = np.array([[1.0, 0.0]]), np.array([[p.sigma * p.sigma]])
    return filter_


def _arc(name: str, belief: Transducer | None, sensor: Sensor, t: int, p: Ultrasonics) -> Arc:
    """Return the finding of a transducer at `t`."""
    echo, distance, sigma, rate, confirmed = Echo.BLIND, math.nan, math.nan, math.nan, False
    if belief is None or _blind(belief, p):
        pass
    elif belief.close:
        echo, distance, sigma, rate, confirmed = Echo.TOO_CLOSE, 0.0, p.sigma, 0.0, belief.close >= p.confirm
    elif belief.x is not None:
        echo, confirmed = Echo.OBJECT, belief.hits >= p.confirm
        distance, sigma, rate = _near_edge(belief, t, p)
    else:
        echo, distance, sigma, rate = Echo.CLEAR, belief.range_max, 0.0, 0.0
        confirmed = belief.silent >= p.lose
    return Arc(
        sensor=name, t=belief.t if belief else 0, echo=echo, range=distance, range_sigma=sigma,
        range_rate=rate, confirmed=confirmed, x=sensor.x, y=sensor.y, yaw=sensor.yaw,
        half_angle=sensor.half_angle,
    )  # fmt: skip


def _blind(belief: Transducer, p: Ultrasonics) -> bool:
    """Return whether the last ping was invalid and nothing is held in memory; that is held for `lose` pings only."""
    held = belief.x is not None or belief.close > 0
    return belief.invalid > 0 and (not held or belief.invalid >= p.lose)


def _near_edge(belief: Transducer, t: int, p: Ultrasonics) -> tuple[float, float, float]:
    """Return range, its sigma and range rate at `t`; a prediction comes nearer or stays, it never recedes."""
    assert belief.x is not None
    assert belief.P is not None
    dt = max(seconds(t - belief.heard), 0.0)
    P = belief.P  # the variance of range after filterpy's prediction, in closed form: asked for in every tick
    variance = float(P[0, 0] + 2 * dt * P[0, 1] + dt * dt * P[1, 1]) + p.acceleration_psd * dt**3 / 3
    distance, rate = float(belief.x[0]), float(belief.x[1])
    nearer = distance + min(rate, 0.0) * min(dt, PREDICTION)
    sigma = math.sqrt(variance) + UNHEARD_SPEED * max(dt - PREDICTION, 0.0)
    return max(nearer, 0.0), sigma, rate


def _closing(ego: EgoHistory, t: int, sensor: Sensor) -> float:
    at = ego.at(t)
    return 0.0 if at is None else beam_speed(at, sensor)


def _range_max(reading: RangeReading, sensor: Sensor) -> float:
    return reading.range_max if 0 < reading.range_max < math.inf else sensor.range_max


def _time(reading: RangeReading) -> int:
    return reading.t
