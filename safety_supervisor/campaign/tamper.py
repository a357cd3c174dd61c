"""One fault between the simulated world and the supervisor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from safety_supervisor.campaign.clock import CLOCKS
from safety_supervisor.campaign.faults import Fault, Stream
from safety_supervisor.campaign.readings import Channel, Reading, channels, hollow
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import nanoseconds, seconds
from safety_supervisor.messages import normalised
from safety_supervisor.scenarios.publish import Message
from safety_supervisor.scenarios.run import EPOCH

CLOCK = "clock"
DRIVER_PERIOD = 100_000_000
"""The switch says ten times a second that no driver has taken over [ns]."""


@dataclass
class Faulty:
    """A `scenarios.run.Tamper`: one fault of one input from `begin` [s] on; without one it only adds the driver.

    `ticked` holds the true time [ns] of every tick that was given, in order.
    """

    config: Config
    source: str
    fault: Fault | None
    begin: float
    seed: int = 0
    ticked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._since = EPOCH + nanoseconds(self.begin)
        self._rng = np.random.default_rng([self.seed, 8])
        known = {c.name: c for c in channels(self.config)}
        self._driver = known["driver"]
        self._channel = known.get(self.source)
        self._topic = "/" + normalised(self._channel.topic) if self._channel else ""
        self._stream = Stream(self._channel, self._since, self._rng) if self._channel else None
        self._swap = _neighbour(self._channel, list(known.values())) if self._channel else None

    def network(self, t: int, fresh: list[Message]) -> list[Message]:
        """Return what is really sent at `t` [ns]."""
        if (t - EPOCH) % DRIVER_PERIOD == 0:
            fresh = [*fresh, self._driver.write(Reading(0, t, np.zeros((1, 1))))]
        if not self._active(t) or self._channel is None:
            return fresh
        return [made for message in fresh for made in self._sent(message)]

    def ticks(self, t: int) -> Sequence[int]:
        """Return the tick times [ns] that the supervisor is given at `t` [ns]."""
        told: Sequence[int] = (t,)
        if self.source == CLOCK and self.fault and t >= self._since:
            told = CLOCKS[self.fault.name](t, self._since, nanoseconds(self.config.timing.period), self._rng)
        self.ticked += [t] * len(told)
        return told

    def _active(self, t: int) -> bool:
        return self.fault is not None and t >= self._since and seconds(t - self._since) < self.fault.span

    def _sent(self, message: Message) -> Sequence[Message]:
        assert self.fault
        assert self._channel
        assert self._stream
        if self._swap is not None and self.fault.name == "id-switch":
            return self._exchanged(message)
        if message.topic != self._topic:
            return (message,)
        if self.fault.edit is None:
            return (self._emptied(message),)
        return [self._channel.write(r) for r in self.fault.edit(self._stream, self._channel.read(message))]

    def _emptied(self, message: Message) -> Message:
        """Lists become empty, which is a message of its own; what has no list loses its fields."""
        assert self._channel
        if self._channel.family in ("radar", "plan"):
            reading = self._channel.read(message)
            return self._channel.write(replace(reading, rows=reading.rows[:0]))
        return hollow(message)

    def _exchanged(self, message: Message) -> Sequence[Message]:
        """Two transducers under each other's names."""
        assert self._channel
        assert self._swap
        pair = {"/" + normalised(c.topic): c for c in (self._channel, self._swap)}
        if message.topic not in pair:
            return (message,)
        mine = pair.pop(message.topic)
        (other,) = pair.values()
        return (other.write(mine.read(message)),)


def _neighbour(channel: Channel, every: list[Channel]) -> Channel | None:
    """The transducer that takes part in an exchange of identities."""
    if channel.family != "ultrasonic":
        return None
    others = [c for c in every if c.family == "ultrasonic" and c != channel]
    return others[0] if others else None
