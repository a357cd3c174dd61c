"""One total table: from what is demanded, how far inputs can be trusted, and the present mode to the next mode.

`next_mode` is a pure function of few discrete facts, so that every case can be enumerated (proofs/arbitration.py).

Rules, each of them a claim:
- INIT passes no plan and alarms nobody; it ends when every expected input is there and trusted. A driver who takes
  over puts the supervisor back into INIT at once: handing back is a full self-test.
- Nothing de-escalates while its demand holds, nor before it has been gone for the dwell time.
- A lost or refused expected input never yields NOMINAL.
- After EMERGENCY_STOP or UNABLE the way back leads through STANDSTILL and an explicit release.
- There is no "do nothing": UNABLE brakes as hard as EMERGENCY_STOP.
- Among MRMs the mildest that stays inside is taken (`select`), and none inside, the one of least impact. Who follows
  decides only between equals, and never against the emergency stop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Bools, Floats, Ints, Mode, Severity, nanoseconds

DEMANDS = (Mode.NOMINAL, Mode.SPEED_CAP, Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP)
"""What an assessment may ask for."""

TRUST: dict[Severity, Mode] = {
    Severity.OK: Mode.NOMINAL,
    Severity.SUSPECT: Mode.SPEED_CAP,
    Severity.DEGRADED: Mode.COMFORT_STOP,
    Severity.WAITING: Mode.COMFORT_STOP,
    Severity.BLIND: Mode.UNABLE,
}
"""What the state of the inputs asks for, once the supervisor has begun to supervise."""

REQUIRED: dict[tuple[Mode, Severity], Mode] = {
    (demand, severity): max(demand, trust) for demand in DEMANDS for severity, trust in TRUST.items()
}
"""The total table."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the next mode depends on besides the present one."""

    demand: Mode
    """Strongest debounced demand of the assessment, one of DEMANDS."""
    severity: Severity
    driver: bool
    """A human controls the vehicle."""
    standstill: bool
    """Ego stands, for long enough to be sure."""
    release: bool
    """An explicit release is asked for."""
    dwelt: bool
    """What is demanded has been milder than the present mode for the dwell time."""


def next_mode(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Return the next (mode, latched); `latched` remembers an emergency that has not been released."""
    required = REQUIRED[facts.demand, facts.severity]
    if facts.driver:
        return Mode.INIT, False
    if mode == Mode.INIT and facts.severity != Severity.OK:
        return Mode.INIT, latched
    latched = latched or required >= Mode.EMERGENCY_STOP
    if mode == Mode.STANDSTILL:
        return _from_standstill(required, latched, facts)
    if mode.brakes and facts.standstill and required != Mode.UNABLE:
        return Mode.STANDSTILL, latched
    floor = Mode.COMFORT_STOP if latched else Mode.NOMINAL
    wanted = max(required, floor)
    if wanted >= mode or facts.dwelt:
        return wanted, latched
    return mode, latched


def _from_standstill(required: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    if required == Mode.UNABLE:
        return Mode.UNABLE, latched
    if not facts.standstill:  # rolling although it is held
        return max(required, Mode.FIRM_STOP), latched
    calm = required <= Mode.SPEED_CAP and facts.dwelt
    if calm and (facts.release or not latched):
        return required, False
    return Mode.STANDSTILL, latched


def select(inside: Bools, impact: Floats, floor: Ints, behind: Floats | float = 0.0) -> Ints:
    """Return which of K options, in the order of `world.Mrm`, each of W worlds takes (W,).

    The mildest of at least `floor` (W,) whose own course stays `inside` (K, W) the worst-case envelope. Without any:
    the least predicted `impact` (K, W) [m/s] of all; among equals the emergency stop, the least impact of who follows
    (`behind`, (K, W) [m/s]), the strongest braking, in this order. What is not known (NaN) counts as the worst.
    """
    rank = np.arange(len(inside))[:, None]
    fits = inside & (rank >= floor)
    equal = _least(impact, np.ones(inside.shape, np.bool_))
    equal = np.where(equal[-1], rank == len(inside) - 1, _least(behind, equal))
    least = len(inside) - 1 - np.argmax(equal[::-1], axis=0)
    return np.asarray(np.where(fits.any(axis=0), np.argmax(fits, axis=0), least))


def _least(cost: Floats | float, among: Bools) -> Bools:
    """Tell which options (K, W) have the least cost of those `among` (K, W)."""
    known = np.where(among & ~np.isnan(cost), cost, np.inf)
    return np.asarray(among & (known == known.min(axis=0)))


@dataclass(frozen=True, slots=True)
class Arbiter:
    """Memory of the arbitration."""

    mode: Mode = Mode.INIT
    latched: bool = False
    risen: tuple[tuple[Mode, int], ...] = ()
    """(level, tick since when a demand of at least this level has been there without a pause)."""
    held: Mode = Mode.NOMINAL
    """Debounced demand."""
    seen: tuple[tuple[Mode, int], ...] = ()
    """(level, tick when a demand of at least this level was last there)."""
    calm: int | None = None
    """Tick since when what is required has been milder than the mode."""
    standing: int | None = None
    """Tick since when ego stands."""


def arbitrate(
    arbiter: Arbiter,
    demand: Mode,
    sustain: Mode,
    severity: Severity,
    flags: tuple[bool, bool],
    speed: float,
    t: int,
    config: Config,
) -> Arbiter:
    """Advance the arbitration by one tick.

    `sustain` is what a stop under way must go on with although nothing would start it any more; `flags` are (driver,
    release); `speed` is NaN when unknown [m/s].
    """
    a = config.arbitration
    arbiter = _debounced(arbiter, demand, t, config)
    asked = max(arbiter.held, sustain) if arbiter.mode.brakes else arbiter.held
    standing = (arbiter.standing if arbiter.standing is not None else t) if abs(speed) <= a.standstill_speed else None
    standstill = standing is not None and t - standing >= nanoseconds(a.standstill_time)
    required = REQUIRED[asked, severity]
    milder = required < arbiter.mode if arbiter.mode != Mode.STANDSTILL else required <= Mode.SPEED_CAP
    calm = (arbiter.calm if arbiter.calm is not None else t) if milder else None
    dwelt = calm is not None and t - calm >= nanoseconds(a.release_dwell)
    # A release is not remembered: it is somebody's word about this moment.
    facts = Facts(asked, severity, flags[0], standstill, flags[1], dwelt)
    mode, latched = next_mode(arbiter.mode, arbiter.latched, facts)
    return replace(arbiter, mode=mode, latched=latched, calm=calm if mode == arbiter.mode else None, standing=standing)


def rebased(arbiter: Arbiter, t: int) -> Arbiter:
    """Return the arbiter with every timer started anew at `t`: the old times are those of another clock."""
    return replace(arbiter, risen=tuple((level, t) for level, _ in arbiter.risen),
                   seen=tuple((level, t) for level, _ in arbiter.seen), calm=None, standing=None)


def _debounced(arbiter: Arbiter, demand: Mode, t: int, config: Config) -> Arbiter:
    """Return the arbiter with `held` updated: on after on_time, off after off_time; emergencies at once.

    In INIT nothing is held on to: what was demanded while inputs were missing says nothing once they are there.
    """
    x = config.expected
    rose, last = dict(arbiter.risen), dict(arbiter.seen)
    risen = {level: rose.get(level, t) for level in DEMANDS[1:] if demand >= level}
    seen = {**last, **dict.fromkeys(risen, t)}
    on_time, off_time = nanoseconds(x.on_time), nanoseconds(x.off_time)
    on = [level for level, since in risen.items() if t - since >= on_time or level == Mode.EMERGENCY_STOP]
    recent = [level for level, at in seen.items() if level <= arbiter.held and t - at < off_time]
    still = recent if arbiter.mode != Mode.INIT else []
    held = max([*on, *still], default=Mode.NOMINAL)
    return replace(arbiter, held=held, risen=tuple(sorted(risen.items())), seen=tuple(sorted(seen.items())))
