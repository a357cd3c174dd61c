"""Replay: the messages of a bag, grouped into ticks, through `supervisor.step`.

A bag with recorded decisions is regrouped by what each decision consumed, so that replay sees what the vehicle saw.
Without them, ticks follow the configured period on log time. Both are pure functions of the recording: the same bag
and parameter set give the same decisions, byte for byte.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Decision, Odometry, nanoseconds
from safety_supervisor.messages import Binding, Gatherer, bindings, convert, normalised, plain_type
from safety_supervisor.replay.bag import Bag, BagError

SILENCE_MAX = nanoseconds(10.0)
"""Ticks go on this long [ns] into a silence of all inputs; then they pause until the next message."""
OUTCOME = "/scenario/outcome"
GHOST = "/scenario/unsupervised/odometry"

Stamped = tuple[str, str, int, Any]
"""(topic, type, log time, message)."""
Batch = tuple[int, list[Stamped]]
"""Tick time [ns] and the messages that belong to it."""


class ReplayError(Exception):
    """A replay that cannot go on; one line."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision as it was recorded in the vehicle."""

    t: int
    consumed: dict[str, int]
    logged: int
    mode: str
    config: str


@dataclass(slots=True)
class Wiring:
    """Which topic of the bag feeds which input."""

    names: dict[str, str]
    """Topic of the bag -> topic of the parameter set."""
    used_as: dict[str, str]
    """Topic of the bag -> what it is used as."""
    missing: list[dict[str, str]]
    notes: list[str] = field(default_factory=list)


def wire(bag: Bag, config: Config) -> Wiring:
    """Match the topics of a parameter set with those of a bag.

    A name matches with and without leading slash, or, when there is no such topic, as the end of exactly one topic:
    the same vehicle file then serves recordings made in a namespace.
    """
    wanted = bindings(config)
    present = {normalised(t.name): t.name for t in bag.topics if t.readable}
    wiring = Wiring({}, {}, [])
    for topic, binding in wanted.items():
        ends = [name for name in present if name == topic] or [n for n in present if n.endswith("/" + topic)]
        if len(ends) == 1:
            name = present[ends[0]]
            wiring.names[name] = topic
            wiring.used_as[name] = f"sensor {binding.name}" if binding.role == "sensor" else binding.role
            if ends[0] != topic:
                wiring.notes.append(f"{name} serves as {topic}")
        elif _expected(binding.role, binding.name, config):
            why = f"several topics end so: {', '.join(sorted(ends))}" if ends else "not in the bag"
            wiring.missing.append({"input": binding.name, "topic": topic, "why": why})
    return wiring


def _expected(role: str, name: str, config: Config) -> bool:
    if role == "sensor":
        return dict(config.sensors)[name].expected
    return role in ("odometry", "twist") or (role == "plan" and config.inputs.plan_expected)


# --- ticks ----------------------------------------------------------------------------------------------------


def batches(messages: Iterable[Stamped], period: int) -> Iterator[Batch]:
    """Group messages in order of log time into ticks of `period` [ns].

    Ticks are multiples of the period; the first one is at or after the first message. A tick has all messages
    up to and including its time. In a silence of more than `SILENCE_MAX` the ticks pause.
    """
    batch: list[Stamped] = []
    tick: int | None = None
    for message in messages:
        at = -(-message[2] // period) * period
        if tick is None:
            tick = at
        silent_until = tick + SILENCE_MAX
        while at > tick:
            yield tick, batch
            batch = []
            tick = tick + period if tick < silent_until else at
        batch.append(message)
    if tick is not None:
        yield tick, batch


def regrouped(messages: Iterable[Stamped], recorded: Sequence[Recorded]) -> Iterator[Batch]:
    """Group messages as the recorded decisions consumed them.

    The first decision may have consumed messages from before the recording: it takes none that came after it.
    """
    waiting: dict[str, deque[Stamped]] = {}
    for message in messages:
        waiting.setdefault(normalised(message[0]), deque()).append(message)
    for i, decision in enumerate(recorded):
        batch: list[Stamped] = []
        for topic, count in sorted(decision.consumed.items()):
            queue = waiting.get(normalised(topic), deque())
            for _ in range(min(count, len(queue))):
                if i or queue[0][2] <= decision.logged:
                    batch.append(queue.popleft())
        yield decision.t, batch


def recorded_decisions(bag: Bag) -> list[Recorded]:
    """Return the decisions that a node published into the bag, in order of time."""
    topics = [
        t for t in bag.topics if t.name.endswith("decision") and plain_type(t.msgtype) == "std_msgs/String" and t.count
    ]
    for topic in topics:
        found = [r for _, _, logged, msg in bag.messages([topic.name]) if (r := _recorded(msg, logged))]
        if found:
            return sorted(found, key=lambda r: r.t)
    return []


def _recorded(msg: Any, logged: int) -> Recorded | None:
    try:
        data = json.loads(msg.data)
        consumed = {str(topic): int(n) for topic, n in data["consumed"].items()}
        return Recorded(int(data["t"]), consumed, logged, str(data.get("mode", "")), str(data.get("config", "")))
    except (AttributeError, ValueError, KeyError, TypeError, OverflowError):
        return None  # some other topic of that name


# --- the run --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """One replay: iterate over it for the decisions."""

    bag: Bag
    config: Config
    wiring: Wiring = field(init=False)
    recorded: list[Recorded] = field(init=False)
    tick_seconds: list[float] = field(default_factory=list)
    """Processing time of each tick; for the summary only."""

    def __post_init__(self) -> None:
        self.wiring = wire(self.bag, self.config)
        self.recorded = recorded_decisions(self.bag)
        if not self.wiring.names:
            there = ", ".join(t.name for t in self.bag.topics)
            wanted = ", ".join(bindings(self.config))
            raise BagError(f"{self.bag.path}: no usable topic among {there}; expected one of {wanted}")

    @property
    def grouping(self) -> str:
        """How messages are grouped into ticks, in words."""
        if self.recorded:
            return "as the recorded decisions consumed them"
        return f"every {self.config.timing.period:g} s of log time"

    def ticks(self) -> Iterator[Batch]:
        """Yield the ticks with their messages, topics named as in the parameter set."""
        names = self.wiring.names
        messages = (
            (names[topic], kind, t, msg) for topic, kind, t, msg in self.bag.messages(names, views=True)
        )
        if self.recorded:
            return regrouped(messages, self.recorded)
        return batches(messages, nanoseconds(self.config.timing.period))

    def decisions(self) -> Iterator[Decision]:
        """Yield one decision a tick."""
        gatherer = Gatherer(self.config)
        state = supervisor.start(self.config)
        for t, batch in self.ticks():
            for topic, kind, arrival, msg in batch:
                gatherer.add(topic, kind, msg, arrival)
            began = time.perf_counter()
            inputs = gatherer.take()
            try:
                state, decision = supervisor.step(state, inputs, t, self.config)
            except Exception as error:  # a fault of the core: name the tick, so that it can be found
                raise ReplayError(
                    f"{self.bag.path}: internal error in the tick at {t} ns: {type(error).__name__}: {error}"
                ) from error
            self.tick_seconds.append(time.perf_counter() - began)
            yield decision


def scenario_outcome(bag: Bag) -> Mapping[str, Any] | None:
    """Return what the scenario runner wrote about a simulated run, if the bag is one."""
    topic = bag.topic(OUTCOME)
    msg = bag.first(topic.name) if topic else None
    try:
        outcome = json.loads(msg.data) if msg is not None else None
    except (AttributeError, ValueError):
        return None
    return outcome if isinstance(outcome, Mapping) else None


def ghost_path(bag: Bag) -> list[tuple[int, float, float, float]]:
    """Return (t, x, y, yaw) of ego without supervisor, if the bag is a simulated run that has it."""
    topic = bag.topic(GHOST)
    if topic is None:
        return []
    binding, config = Binding("odometry", "odometry"), Config()
    read = (convert(m, kind, binding, t, config) for _, kind, t, m in bag.messages([topic.name]))
    return [(o.t, o.x, o.y, o.yaw) for o in read if isinstance(o, Odometry)]
