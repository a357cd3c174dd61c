"""The faults: how one input goes wrong, as a change of its stream of readings. Deterministic by seed.

Where a fault has a direction it is the dangerous one: objects seem farther and slower, ego seems slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.campaign.readings import Channel, Reading
from safety_supervisor.core.world import Floats, nanoseconds, seconds

BIAS = 2.0
"""[m] or [m/s]."""
SCALE = 1.05
NOISE = 5.0
"""Standard deviation as a multiple of the declared one."""
GHOSTS = 20
GHOST_PERIOD = 1.0
"""One burst of ghosts every this often [s]."""
FLOOD = 100
FLOOD_TIME = 1.0
"""A flood lasts this long [s]."""
SECTOR = np.radians(30.0)
OFF_AXIS = 0.3
"""Ghosts appear within this angle of the boresight [rad]."""
SIGMAS = {"odometry": (0.01, 0.01, 0.001, 0.02, 0.003), "plan": (0.0, 0.01, 0.01, 0.001, 0.02)}
"""Noise of odometry as it is simulated, and of a plan as a network's last layer leaves it; columns as in readings."""



@dataclass
class Stream:
    """One faulty input under way."""

    channel: Channel
    begin: int
    """When the fault begins [ns]."""
    rng: np.random.Generator
    first: Reading | None = None
    """First reading under the fault."""
    held: Reading | None = None
    burst: int | None = None
    """When ghosts last came [ns]."""

    @property
    def family(self) -> str:
        return self.channel.family

    @property
    def sigma(self) -> Floats:
        """Declared standard deviation of each column."""
        s = self.channel.sensor
        if s is None:
            return np.array(SIGMAS[self.family])
        return np.array([s.sigma_range, s.sigma_azimuth, s.sigma_range_rate] if self.family == "radar" else
                        [s.sigma_range])


Edit = Callable[[Stream, Reading], Sequence[Reading]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong: `edit` makes of one reading what is really sent; None for the content as a whole."""

    name: str
    what: str
    edit: Edit | None
    families: frozenset[str]
    """Inputs that can go wrong like this; the others have the reason in `INAPPLICABLE`."""
    span: float = np.inf
    """How long it lasts [s]."""


def _changed(reading: Reading, rows: Floats) -> list[Reading]:
    return [replace(reading, rows=rows)]


def _drop(_: Stream, __: Reading) -> list[Reading]:
    return []


def _freeze(stream: Stream, reading: Reading) -> list[Reading]:
    stream.first = stream.first or reading
    return _changed(reading, stream.first.rows)


def _bias_place(stream: Stream, reading: Reading) -> list[Reading]:
    rows = reading.rows.copy()
    column = {"radar": 0, "ultrasonic": 0, "odometry": 0, "plan": 2}[stream.family]
    rows[:, column] += BIAS
    return _changed(reading, rows)


def _bias_speed(stream: Stream, reading: Reading) -> list[Reading]:
    rows = reading.rows.copy()
    column, sign = {"radar": (2, 1.0), "odometry": (3, -1.0), "plan": (4, 1.0)}[stream.family]
    rows[:, column] += sign * BIAS
    return _changed(reading, rows)


def _scale(stream: Stream, reading: Reading) -> list[Reading]:
    rows = reading.rows.copy()
    stream.first = stream.first or reading
    if stream.family == "radar":
        rows[:, (0, 2)] *= SCALE
    elif stream.family == "ultrasonic":
        rows *= SCALE
    elif stream.family == "odometry":  # a wheel larger than presumed: speed and travel read low
        start = stream.first.rows[0, :2]
        rows[0, :2] = start + (rows[0, :2] - start) / SCALE
        rows[0, 3] /= SCALE
    else:
        rows[:, 1:3] = rows[0, 1:3] + (rows[:, 1:3] - rows[0, 1:3]) * SCALE
        rows[:, 4] *= SCALE
    return _changed(reading, rows)


def _noise(stream: Stream, reading: Reading) -> list[Reading]:
    extra = np.sqrt(NOISE * NOISE - 1.0) * stream.sigma
    return _changed(reading, reading.rows + stream.rng.normal(size=reading.rows.shape) * extra)


def _all(value: float) -> Edit:
    return lambda _, reading: _changed(reading, np.full_like(reading.rows, value))


def _duplicate(_: Stream, reading: Reading) -> list[Reading]:
    return [reading, reading]


def _swap(stream: Stream, reading: Reading) -> list[Reading]:
    """Hold every other reading back until the next has been sent."""
    if stream.held is None:
        stream.held = reading
        return []
    held, stream.held = stream.held, None
    return [reading, replace(held, arrival=reading.arrival + 1)]


def _late(duration: float) -> Edit:
    return lambda _, reading: [replace(reading, arrival=reading.arrival + nanoseconds(duration))]


def _future(_: Stream, reading: Reading) -> list[Reading]:
    return [replace(reading, stamp=reading.stamp + nanoseconds(1.0))]


def _other_order(stream: Stream, reading: Reading) -> list[Reading]:
    return _changed(reading, stream.rng.permutation(reading.rows))


def _ghosts(stream: Stream, reading: Reading) -> list[Reading]:
    if stream.burst is not None and seconds(reading.arrival - stream.burst) < GHOST_PERIOD:
        return [reading]
    stream.burst = reading.arrival
    rng = stream.rng
    if stream.family == "radar":
        made = np.stack([rng.uniform(2.0, 80.0, GHOSTS), rng.uniform(-OFF_AXIS, OFF_AXIS, GHOSTS),
                         rng.uniform(-30.0, 10.0, GHOSTS)], axis=1)  # fmt: skip
        return _changed(reading, np.concatenate([reading.rows, made]))
    return [replace(reading, rows=_ghost(stream.family, reading.rows, rng)) for _ in range(GHOSTS)] + [reading]


def _ghost(family: str, rows: Floats, rng: np.random.Generator) -> Floats:
    """One message that somebody else made up."""
    if family == "ultrasonic":
        return rng.uniform(0.2, 5.0, (1, 1))
    if family == "driver":
        return np.ones((1, 1))
    spread = {"odometry": (3.0, 3.0, 0.3, 5.0, 0.2), "plan": (0.0, 2.0, 2.0, 0.2, 3.0)}[family]
    return np.asarray(rows + rng.normal(size=5) * spread)


def _sector(stream: Stream, reading: Reading) -> list[Reading]:
    if stream.family == "ultrasonic":  # dirt on the membrane: no echo from anywhere
        return _changed(reading, np.full_like(reading.rows, np.inf))
    return _changed(reading, reading.rows[np.abs(reading.rows[:, 1]) > SECTOR / 2])


def _flood(_: Stream, reading: Reading) -> list[Reading]:
    return [replace(reading, stamp=reading.stamp + i, arrival=reading.arrival + i) for i in range(FLOOD)]


SENSORS = frozenset({"radar", "ultrasonic"})
MEASURED = SENSORS | {"odometry", "plan"}
EVERY = MEASURED | {"driver"}

FAULTS = (
    Fault("drop", "no message any more", _drop, EVERY),
    Fault("freeze", "the content stays, the stamps go on", _freeze, EVERY),
    Fault("bias-2m", "distances 2 m too large; odometry 2 m ahead, plan 2 m to the left", _bias_place, MEASURED),
    Fault("bias-2m/s", "range rates and planned speeds 2 m/s too large, ego's speed 2 m/s too small", _bias_speed,
          MEASURED - {"ultrasonic"}),
    Fault("scale-1.05", "5 % off towards danger", _scale, MEASURED),
    Fault("noise-x5", "five times the declared noise", _noise, MEASURED),
    Fault("nan", "every number NaN", _all(np.nan), MEASURED),
    Fault("inf", "every number infinite", _all(np.inf), MEASURED),
    Fault("empty", "messages without content: no rows, no points, no fields", None, EVERY),
    Fault("duplicate", "every message twice", _duplicate, EVERY),
    Fault("out-of-order", "every two messages in the wrong order", _swap, EVERY),
    Fault("late-50ms", "50 ms later", _late(0.05), EVERY),
    Fault("late-200ms", "200 ms later", _late(0.2), EVERY),
    Fault("late-1000ms", "1 s later", _late(1.0), EVERY),
    Fault("future-1s", "stamped 1 s ahead", _future, MEASURED),
    Fault("id-switch", "identities exchanged: rows in another order, transducers under each other's names",
          _other_order, SENSORS),
    Fault("ghosts-20", "a burst of 20 made-up readings every second", _ghosts, EVERY),
    Fault("sector-30deg", "30 degrees of the view ahead blocked; a transducer without any echo", _sector, SENSORS),
    Fault("flood-x100", "every message a hundred times, for 1 s", _flood, EVERY, FLOOD_TIME),
)  # fmt: skip
NAMES = tuple(fault.name for fault in FAULTS)

INAPPLICABLE = {
    ("driver", "bias-2m"): "a switch has no distance",
    ("driver", "bias-2m/s"): "a switch has no speed",
    ("driver", "scale-1.05"): "a switch has no scale",
    ("driver", "noise-x5"): "a switch has no noise",
    ("driver", "nan"): "a boolean message cannot hold it",
    ("driver", "inf"): "a boolean message cannot hold it",
    ("driver", "future-1s"): "the message has no stamp",
    ("driver", "id-switch"): "there is one driver",
    ("driver", "sector-30deg"): "a switch has no view",
    ("odometry", "id-switch"): "there is one ego",
    ("odometry", "sector-30deg"): "odometry has no view",
    ("plan", "id-switch"): "a plan is known by its stamp, and stamps are exchanged in out-of-order",
    ("plan", "sector-30deg"): "a plan has no view",
    ("ultrasonic", "bias-2m/s"): "a ping has no speed",
    ("clock", "nan"): "time is a whole number",
    ("clock", "inf"): "time is a whole number",
    ("clock", "empty"): "a tick has no content",
    ("clock", "bias-2m/s"): "that is scale-1.05",
    ("clock", "id-switch"): "there is one clock",
    ("clock", "ghosts-20"): "that is flood-x100",
    ("clock", "sector-30deg"): "a clock has no view",
}
