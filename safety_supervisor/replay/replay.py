"""Replay: the messages of a bag, grouped into ticks, through `supervisor.step`.

A bag with recorded decisions is regrouped by what each decision consumed, so that replay sees what the vehicle saw.
Without them, ticks follow the configured period on log time. Both are pure functions of the recording: the same bag
and parameter set give the same decisions, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Decision, Inputs, Odometry, nanoseconds
from safety_supervisor.messages import Binding, Gatherer, bindings, convert, normalised, plain_type
from safety_supervisor.replay import mapping as names
from safety_supervisor.replay.bag import SNAPSHOT_TOPIC, Bag, BagError
from safety_supervisor.replay.mapping import Mapping as Names
from safety_supervisor.snapshot import Snapshot, SnapshotError, from_text

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
    margin: float | None = None
    """Smallest worst-case margin [m] as it was recorded."""
    digest: bytes = b""
    """Short hash of the whole recorded text."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a recording that is replayed: log times [ns], inclusive; None is the recording's own end."""

    start: int | None = None
    end: int | None = None

    def holds(self, t: int) -> bool:
        """Whether a time is inside."""
        return (self.start is None or t >= self.start) and (self.end is None or t <= self.end)


NANOSECONDS_FROM = 10**9
"""A whole number from here on is a time in nanoseconds: nobody means thirty years after the start."""


def moment(text: str, start: int, what: str) -> int:
    """Return the time [ns] that a text means: seconds after `start`, or nanoseconds (whole number, or ending in ns)."""
    plain = text.strip().removesuffix("ns").strip()
    try:
        if plain != text.strip() or (plain.isdigit() and int(plain) >= NANOSECONDS_FROM):
            return int(plain)
        value = float(plain)
        if math.isfinite(value):
            return start + nanoseconds(value)
    except ValueError:
        pass
    raise BagError(f"{what} {text!r} is no time, expected seconds from the start or nanoseconds, for example 12.5")


def window(start: str | None, end: str | None, bag: Bag) -> Window:
    """Return the part of a bag that two texts mean; raises `BagError` when nothing of the recording lies in it."""
    limits = Window(
        None if start is None else moment(start, bag.start, "--start"),
        None if end is None else moment(end, bag.start, "--end"),
    )
    first, last = limits.start, limits.end
    if first is not None and last is not None and first > last:
        raise BagError(f"--start {start} is after --end {end}")
    if first is not None and first > bag.end:
        raise BagError(f"--start {start} is after the end of the recording, which is {bag.duration:.3f} s long")
    if last is not None and last < bag.start:
        raise BagError(f"--end {end} is before the recording begins")
    return limits


@dataclass(slots=True)
class Wiring:
    """Which topic of the bag feeds which input."""

    names: dict[str, str]
    """Topic of the bag -> topic of the parameter set."""
    used_as: dict[str, str]
    """Topic of the bag -> what it is used as."""
    missing: list[dict[str, str]]
    notes: list[str] = field(default_factory=list)


def wire(bag: Bag, config: Config, mapping: Names | None = None) -> Wiring:
    """Match the topics of a parameter set with those of a bag, by a mapping first.

    A name matches with and without leading slash, or, when there is no such topic, as the end of exactly one topic:
    the same vehicle file then serves recordings made in a namespace. Raises `ConfigError` when the mapping names
    an input that the parameter set does not have.
    """
    mapping = mapping or Names()
    names.check(mapping, config)
    wanted = bindings(config)
    present = {normalised(t.name): t.name for t in bag.topics if t.readable}
    mapped = {names.target_topic(to, config): name for name, to in mapping.topics.items() if name in present}
    wiring = Wiring({}, {}, [])
    for name in mapping.topics:
        if name not in present:
            wiring.notes.append(f"the mapping names /{name}, which the recording does not have")
    free = [name for name in present if name not in mapping.topics]
    for topic, binding in wanted.items():
        ends = [name for name in free if name == topic] or [n for n in free if n.endswith("/" + topic)]
        ends = [mapped[topic]] if topic in mapped else ends
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
    return role in ("odometry", "twist", "control", "heartbeat") or (role == "plan" and config.inputs.plan_expected)


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


def as_flown(messages: Iterable[Stamped], decision: str) -> Iterator[Batch]:
    """Group the messages of a flight recording: each tick has what was written since the decision before it."""
    batch: list[Stamped] = []
    for message in messages:
        if message[0] != decision:
            batch.append(message)
        elif found := _recorded(message[3], message[2]):
            yield found.t, batch
            batch = []


def flight(bag: Bag) -> Snapshot | None:
    """Return the state that a flight recording begins with; None when the bag is none, or of another version."""
    if not bag.as_stored:
        return None
    try:
        return from_text(str(bag.first(SNAPSHOT_TOPIC).data))
    except (AttributeError, SnapshotError) as error:
        note = f"flight recording without a state that this version can take up ({error})"
        bag.notes += [note] if note not in bag.notes else []
        return None


def recorded_decisions(bag: Bag) -> list[Recorded]:
    """Return the decisions that a node published into the bag, in order of time."""
    topics = [
        t for t in bag.topics if t.name.endswith("decision") and plain_type(t.msgtype) == "std_msgs/String" and t.count
    ]
    for topic in topics:
        found = [r for _, _, logged, msg in bag.messages([topic.name]) if (r := _recorded(msg, logged))]
        if found:
            return found if bag.as_stored else sorted(found, key=lambda r: r.t)
    return []


def _recorded(msg: Any, logged: int) -> Recorded | None:
    try:
        data = json.loads(msg.data)
        consumed = {str(topic): int(n) for topic, n in data["consumed"].items()}
        margin = data.get("margin_m")
        return Recorded(
            int(data["t"]), consumed, logged, str(data.get("mode", "")), str(data.get("config", "")),
            float(margin) if isinstance(margin, (int, float)) else None, text_digest(msg.data),
        )  # fmt: skip
    except (AttributeError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None  # some other topic of that name


def text_digest(text: str) -> bytes:
    """Return a short hash by which two decisions are compared without keeping both."""
    return hashlib.blake2b(text.strip().encode(errors="surrogatepass"), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Step:
    """One tick of a replay."""

    before: supervisor.State
    inputs: Inputs
    state: supervisor.State
    decision: Decision
    batch: list[Stamped]


# --- the run --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """One replay: iterate over it for the decisions."""

    bag: Bag
    config: Config
    mapping: Names = field(default_factory=Names)
    window: Window = field(default_factory=Window)
    wiring: Wiring = field(init=False)
    recorded: list[Recorded] = field(init=False)
    began: Snapshot | None = field(init=False)
    """State that the recording begins with, when it is a flight recording."""
    tick_seconds: list[float] = field(default_factory=list)
    """Processing time of each tick; for the summary only."""

    def __post_init__(self) -> None:
        self.wiring = wire(self.bag, self.config, self.mapping)
        self.recorded = recorded_decisions(self.bag)
        self.began = flight(self.bag)
        if self.began and dict(self.began.config.sensors).keys() != dict(self.config.sensors).keys():
            self.bag.notes.append("the parameter set has other sensors than the recording: the run starts afresh")
            self.began = None
        if not self.wiring.names:
            there = ", ".join(t.name for t in self.bag.topics)
            wanted = ", ".join(bindings(self.config))
            raise BagError(f"{self.bag.path}: no usable topic among {there}; expected one of {wanted}")

    @property
    def grouping(self) -> str:
        """How messages are grouped into ticks, in words."""
        if self.began:
            return "as the vehicle decided, from the state that it had"
        if self.recorded:
            return "as the recorded decisions consumed them"
        return f"every {self.config.timing.period:g} s of log time"

    def compared(self) -> Iterator[Recorded]:
        """Yield the recorded decisions that this run repeats, in its order."""
        return (r for r in self.recorded if self.window.holds(r.t))

    def ticks(self) -> Iterator[Batch]:
        """Yield the ticks with their messages, topics named as in the parameter set.

        With recorded decisions everything is regrouped, and the ticks of the window are taken from that; without,
        messages before the window are not read.
        """
        if self.began and self.recorded:
            return (tick for tick in self._flown() if self.window.holds(tick[0]))
        if self.recorded:
            return (tick for tick in regrouped(self._stamped(Window()), self.recorded) if self.window.holds(tick[0]))
        return batches(self._stamped(self.window), nanoseconds(self.config.timing.period))

    def _flown(self) -> Iterator[Batch]:
        decision = "/safety_supervisor/decision"
        names = {**self.wiring.names, decision: decision}
        read = self.bag.messages(names, views=True)
        return as_flown(((names[topic], kind, t, msg) for topic, kind, t, msg in read), decision)

    def _stamped(self, part: Window) -> Iterator[Stamped]:
        topics, frames = self.wiring.names, self.mapping.frames
        for topic, kind, t, msg in self.bag.messages(topics, part.start, part.end, views=True):
            if frames and hasattr(msg, "header"):
                msg.header.frame_id = self.mapping.frame(msg.header.frame_id)
                if hasattr(msg, "child_frame_id"):
                    msg.child_frame_id = self.mapping.frame(msg.child_frame_id)
            yield topics[topic], kind, t, msg

    def decisions(self) -> Iterator[Decision]:
        """Yield one decision a tick."""
        return (step.decision for step in self.steps())

    def steps(self) -> Iterator[Step]:
        """Yield one step a tick: the decision with all that it was made from."""
        gatherer = Gatherer(self.config, self.began.carried if self.began else None)
        state = self.began.state if self.began else supervisor.start(self.config)
        for t, batch in self.ticks():
            for topic, kind, arrival, msg in batch:
                gatherer.add(topic, kind, msg, arrival)
            began = time.perf_counter()
            inputs, before = gatherer.take(), state
            try:
                state, decision = supervisor.step(state, inputs, t, self.config)
            except Exception as error:  # a fault of the core: name the tick, so that it can be found
                raise ReplayError(
                    f"{self.bag.path}: internal error in the tick at {t} ns: {type(error).__name__}: {error}"
                ) from error
            self.tick_seconds.append(time.perf_counter() - began)
            yield Step(before, inputs, state, decision, batch)


def scenario_outcome(bag: Bag) -> Mapping[str, Any] | None:
    """Return what the scenario runner wrote about a simulated run, if the bag is one."""
    topic = bag.topic(OUTCOME)
    msg = bag.first(topic.name) if topic else None
    try:
        outcome = json.loads(msg.data) if msg is not None else None
    except (AttributeError, ValueError, RecursionError):
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
