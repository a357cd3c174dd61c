"""Faults of the supervisor's clock: which tick times it is given for one true tick, by the name of the fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from safety_supervisor.campaign.faults import BIAS, FLOOD, FLOOD_TIME, SCALE
from safety_supervisor.core.world import nanoseconds, seconds

Clock = Callable[[int, int, int, np.random.Generator], Sequence[int]]
"""(true tick [ns], begin of the fault [ns], period [ns], random numbers) -> tick times shown [ns]."""
GAP = 0.6
"""A dropped clock gives no tick for this long [s]."""
JITTER = 0.01
"""Five times the jitter of a timer on a busy machine, as a standard deviation [s]."""


def _drop(t: int, begin: int, _: int, __: np.random.Generator) -> Sequence[int]:
    return () if seconds(t - begin) < GAP else (t,)


def _shifted(by: float) -> Clock:
    return lambda t, begin, period, rng: (t + nanoseconds(by),)


def _scaled(t: int, begin: int, _: int, __: np.random.Generator) -> Sequence[int]:
    return (begin + round((t - begin) * SCALE),)


def _swapped(t: int, begin: int, period: int, _: np.random.Generator) -> Sequence[int]:
    return (t, t - period) if (t - begin) // period % 2 else ()


def _flooded(t: int, begin: int, period: int, _: np.random.Generator) -> Sequence[int]:
    if seconds(t - begin) > FLOOD_TIME:
        return (t,)
    return [t - period + (i + 1) * period // FLOOD for i in range(FLOOD)]


CLOCKS: dict[str, Clock] = {
    "drop": _drop,
    "freeze": lambda t, begin, period, rng: (begin,),
    "bias-2m": _shifted(-BIAS),
    "scale-1.05": _scaled,
    "noise-x5": lambda t, begin, period, rng: (t + nanoseconds(float(rng.normal(0.0, JITTER))),),
    "duplicate": lambda t, begin, period, rng: (t, t),
    "out-of-order": _swapped,
    "late-50ms": _shifted(-0.05),
    "late-200ms": _shifted(-0.2),
    "late-1000ms": _shifted(-1.0),
    "future-1s": _shifted(1.0),
    "flood-x100": _flooded,
}
"""`bias-2m` reads as 2 s behind: a clock has seconds where others have metres."""
