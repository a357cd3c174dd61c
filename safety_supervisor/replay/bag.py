"""Bags: every message in one canonical order, whatever the storage, and as much as can be saved of a damaged file.

Reads rosbag2 folders and lone files (MCAP, sqlite3, compressed by file or by message) and ROS 1 bags, with and without
embedded type definitions. Order: log time, then topic, then order of recording; so two storages of one recording
give the same sequence. Only topics that are asked for are deserialised.
"""

from __future__ import annotations

import heapq
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from safety_supervisor import cdr
from safety_supervisor.messages import Unreadable
from safety_supervisor.replay.definitions import EXTRA
from safety_supervisor.replay.salvage import Definition, Record, ScannedMcap, Source
from safety_supervisor.replay.storages import EXPECTED, BagError, open_sources, short

__all__ = ["Bag", "BagError", "BagWriter", "Topic", "known_types", "make", "open_bag", "open_bags"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a bag."""

    name: str
    msgtype: str
    count: int
    readable: bool
    """Whether its type definition is known."""
    first: int = 0
    """Log time of its first message [ns]."""
    last: int = 0


SNAPSHOT_TOPIC = "/safety_supervisor/recorder/snapshot"
"""Where a flight recording has the state that it begins with."""


# --- opening --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Extent:
    """What one source really holds."""

    source: Source
    ordered: bool = True
    """Whether its records come in order of time."""
    start: int = 0
    end: int = 0


@dataclass(slots=True)
class Bag:
    """An opened recording, or several that belong together. Use as a context manager."""

    paths: list[Path]
    topics: tuple[Topic, ...] = ()
    start: int = 0
    """Log time of the first message [ns]."""
    end: int = 0
    recovered: bool = False
    """Whether the recording is damaged and only a part could be read."""
    notes: list[str] = field(default_factory=list)
    as_stored: bool = False
    """Whether messages come in the order in which they were written: a flight recording, across clock settings too."""
    _sources: list[Source] = field(default_factory=list)
    _extents: list[_Extent] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _stores: dict[tuple[str, bool], Any] = field(default_factory=dict)
    _fitting: dict[tuple[str, bool], bool] = field(default_factory=dict)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def path(self) -> Path:
        """Where it is; of several recordings the first."""
        return self.paths[0]

    @property
    def name(self) -> str:
        """Name of the recording, of several ones joined by " + "."""
        return " + ".join(os.fsencode(path.resolve().name).decode(errors="replace") for path in self.paths)

    @property
    def duration(self) -> float:
        """Seconds between the first and the last message."""
        return (self.end - self.start) / 1e9

    def topic(self, name: str) -> Topic | None:
        """Return a topic by name, with or without leading slash."""
        return next((t for t in self.topics if t.name.lstrip("/") == name.lstrip("/")), None)

    def messages(
        self,
        topics: Iterable[str] | None = None,
        since: int | None = None,
        until: int | None = None,
        views: bool = False,
    ) -> Iterator[tuple[str, str, int, Any]]:
        """Yield (topic, type, log time, message) in canonical order; a broken message is an `Unreadable`.

        `topics` limits what is read; topics of unknown type are left out. `since` and `until` are log times [ns],
        both inclusive. With `views`, a message of a type that has one is its view (`cdr`): all that
        `messages.convert` reads of it, many times faster.
        """
        readable = [t.name for t in self.topics if t.readable]
        wanted = readable if topics is None else [name for name in readable if name in set(topics)]
        for record in self._ordered(wanted):
            if until is not None and record.t > until:
                return
            if since is not None and record.t < since:
                continue
            seen = cdr.view(record.msgtype, record.data) if views and self._fits(record) else None
            yield record.topic, record.msgtype, record.t, self._deserialised(record) if seen is None else seen

    def records(self, topics: Iterable[str] | None = None) -> Iterator[Record]:
        """Yield the messages as they are stored, in canonical order; topics of unknown type are included."""
        names = [t.name for t in self.topics]
        yield from self._ordered(names if topics is None else [name for name in names if name in set(topics)])

    def written(self) -> Iterator[int]:
        """Yield the log time of every message in the order in which they were written, as far as that is known."""
        for source in self._sources:
            try:
                yield from source.written()
            except Exception:  # a damaged file breaks its reader in any way; that is noted elsewhere
                continue

    def definition(self, msgtype: str, ros1: bool = False) -> Any:
        """Return the fields of a message type as the type store has them, or None when it is not known."""
        store = self._store(msgtype, ros1)
        return None if store is None else store.fielddefs[msgtype][1]

    def first(self, topic: str) -> Any:
        """Return the first message of a topic that can be decoded, or None."""
        messages = (msg for _, _, _, msg in self.messages([topic]))
        return next((msg for msg in messages if not isinstance(msg, Unreadable)), None)

    def _ordered(self, topics: Sequence[str]) -> Iterator[Record]:
        if self.as_stored:
            yield from chain.from_iterable(self._intact(source, topics) for source in self._sources)
            return
        tied: list[Record] = []
        for record in self._in_time(topics):
            if tied and record.t != tied[0].t:
                if len(tied) > 1:
                    tied.sort(key=_topic)
                yield from tied
                tied = []
            tied.append(record)
        yield from sorted(tied, key=_topic)

    def _in_time(self, topics: Sequence[str]) -> Iterator[Record]:
        """Yield the records of all sources in order of time; what is in order already is never held in memory."""
        extents = sorted(self._extents, key=lambda e: e.start)
        streams = [self._intact(e.source, topics) for e in extents]
        streams = [
            s if e.ordered else iter(sorted(s, key=_time)) for e, s in zip(extents, streams, strict=True)
        ]
        if all(before.end <= after.start for before, after in pairwise(extents)):
            return chain.from_iterable(streams)
        return heapq.merge(*streams, key=_time)

    def _intact(self, source: Source, topics: Sequence[str] | None) -> Iterator[Record]:
        """Yield what can be read; damage is noted once and ends the file it is in."""
        try:
            yield from source.records(topics)
        except Exception as error:  # a damaged file breaks its reader in any way
            self.recovered = True
            note = f"damaged, what is whole is read ({short(error)})"
            if note not in self.notes:
                self.notes.append(note)

    def _scan(self, sources: Sequence[Source]) -> None:
        """Count what is really there in new sources, and see whether it is in order of time."""
        self._stores.clear()  # new sources may know more types
        self._fitting.clear()
        known = {t.name: t for t in self.topics}
        types = {name: (kind, source.ros1) for source in self._sources for name, kind in source.types.items()}
        seen = {name: (t.count, t.first, t.last) for name, t in known.items()}
        for source in sources:
            extent = _Extent(source)
            found = 0
            for record in self._intact(source, None):
                count, first, last = seen.get(record.topic, (0, record.t, record.t))
                seen[record.topic] = (count + 1, min(first, record.t), max(last, record.t))
                if not found:
                    extent.start = extent.end = record.t
                extent.ordered &= record.t >= extent.end or not found
                extent.start, extent.end = min(extent.start, record.t), max(extent.end, record.t)
                found += 1
            self._compare(source, found)
            if found:
                self._extents.append(extent)
        self.start = min((e.start for e in self._extents), default=0)
        self.end = max((e.end for e in self._extents), default=0)
        self.topics = tuple(
            Topic(name, kind, seen.get(name, (0, 0, 0))[0], self._store(kind, ros1) is not None,
                  *seen.get(name, (0, 0, 0))[1:])
            for name, (kind, ros1) in sorted(types.items())
        )  # fmt: skip

    def _compare(self, source: Source, found: int) -> None:
        """Note when an otherwise readable recording has not all the messages that it says it has."""
        if not self.recovered and source.promised is not None and found != source.promised:
            self.recovered = True
            self.notes.append(f"damaged: {found} of {source.promised} messages could be read")

    def _store(self, msgtype: str, ros1: bool) -> Any:
        """Type store that knows a message type: the embedded definition first, then the known ones; or None."""
        key = (msgtype, ros1)
        if key not in self._stores:
            self._stores[key] = self._embedded(msgtype, ros1) or (
                known_types() if msgtype in known_types().fielddefs else None
            )
        return self._stores[key]

    def _fits(self, record: Record) -> bool:
        """Whether messages of this type have the layout that their view takes for granted."""
        key = (record.msgtype, record.ros1)
        if key not in self._fitting:
            self._fitting[key] = (
                record.msgtype in cdr.TYPES
                and not record.ros1
                and _layout(self._store(*key), record.msgtype) in _known_layouts(record.msgtype)
            )
        return self._fitting[key]

    def _embedded(self, msgtype: str, ros1: bool) -> Any:
        sources = (s for s in self._sources if s.ros1 == ros1 and msgtype in s.definitions)
        definition = next((s.definitions[msgtype] for s in sources), None)
        if definition is None:
            return None
        try:
            return _defined(definition, msgtype, ros1)
        except Exception as error:  # text from outside; the known definition serves instead
            self.notes.append(f"embedded definition of {msgtype} is not usable ({short(error)})")
            return None

    def _deserialised(self, record: Record) -> Any:
        store = self._store(record.msgtype, record.ros1)
        try:
            if record.ros1:
                return store.deserialize_ros1(record.data, record.msgtype)
            return store.deserialize_cdr(record.data, record.msgtype)
        except Exception as error:  # bytes from outside
            return Unreadable(short(error))


def _time(record: Record) -> int:
    return record.t


def _topic(record: Record) -> str:
    return record.topic


def open_bag(path: Path | str) -> Bag:
    """Open one recording. Raises `BagError` when nothing in it can be read."""
    return open_bags([Path(path)])


def open_bags(paths: Sequence[Path]) -> Bag:
    """Open recordings that belong together as one: their messages are merged by log time.

    Raises `BagError` when nothing in one of them can be read.
    """
    bag = Bag(list(paths))
    try:
        for path in bag.paths:
            opened = open_sources(path, bag._stack)
            bag._sources += opened.sources
            bag.recovered |= opened.recovered
            bag.notes = list(dict.fromkeys([*bag.notes, *opened.notes]))
            before = sum(t.count for t in bag.topics)
            bag._scan(opened.sources)
            if sum(t.count for t in bag.topics) == before:
                why = f" ({opened.notes[0]})" if opened.notes else ""
                raise BagError(f"{path}: no messages in it{why}, {EXPECTED} with recorded topics")
        _as_flown(bag)
    except BaseException:
        bag._stack.close()
        raise
    return bag


def _as_flown(bag: Bag) -> None:
    """Read a flight recording from the front: its messages belong to the decision that was written after them."""
    topic = bag.topic(SNAPSHOT_TOPIC)
    path = bag.path if bag.path.is_file() else next(iter(sorted(bag.path.glob("*.mcap"))), bag.path)
    if topic is None or not topic.count or len(bag._sources) != 1 or path.suffix != ".mcap":
        return
    if not isinstance(bag._sources[0], ScannedMcap):
        bag._sources = [ScannedMcap(path)]
    bag.as_stored = True


@lru_cache(maxsize=256)
def _defined(definition: Definition, msgtype: str, ros1: bool) -> Any:
    """Return the type store of one definition; recordings of one origin share it, and its compiled readers."""
    store = get_typestore(Stores.EMPTY)
    read = get_types_from_msg(definition.text, msgtype) if definition.language == "msg" else (
        get_types_from_idl(definition.text)
    )
    store.register(read)
    store.generate_msgdef(msgtype, ros_version=1 if ros1 else 2)
    return store


@lru_cache(maxsize=1)
def known_types() -> Any:
    """Return the type store for bags without embedded definitions, and for writing."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, text in EXTRA.items():
        if name not in store.fielddefs:
            types.update(get_types_from_msg(text, name))
    store.register(types)
    return store


def _layout(store: Any, msgtype: str) -> list[Any]:
    """Return names and types of all fields of a message, those of messages in it included."""
    fields = []
    for name, (node, details) in store.fielddefs[msgtype][1]:
        inner = details if node == 2 else details[0][1] if node in (3, 4) and details[0][0] == 2 else None
        fields.append((name, int(node), _layout(store, inner) if inner else repr(details)))
    return fields


@cache
def _known_layouts(msgtype: str) -> tuple[list[Any], ...]:
    """Return the layouts that a view understands: the present one, and that of humble, where it has a field less."""
    present = _layout(known_types(), msgtype)
    return (present, present[:-1]) if msgtype == "sensor_msgs/msg/Range" else (present,)


# --- writing --------------------------------------------------------------------------------------------------


def make(msgtype: str, values: Mapping[str, Any] | None = None) -> Any:
    """Build a message from nested plain values; what is not named is zero, empty or no rotation."""
    store = known_types()
    cls = store.types[msgtype]
    _, fields = store.fielddefs[msgtype]
    given = {"w": 1.0} if msgtype == "geometry_msgs/msg/Quaternion" and not values else dict(values or {})
    filled = {name: _filled(kind, given.pop(name, None), f"{msgtype}.{name}") for name, kind in fields}
    if given:
        raise ValueError(f"{msgtype} has no field {', '.join(given)}; it has {', '.join(n for n, _ in fields)}")
    return cls(**filled)


_NUMPY = {"bool": np.bool_, "byte": np.uint8, "char": np.uint8, "float32": np.float32, "float64": np.float64} | {
    f"{sign}int{bits}": np.dtype(f"{sign}int{bits}").type for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def _filled(kind: Any, value: Any, where: str) -> Any:
    """Value of one field from its declaration (node type, details) and what was given for it."""
    node, details = int(kind[0]), kind[1]
    if node == 1:  # one number or text
        name = details[0] if isinstance(details, tuple) else details
        default: Any = "" if "string" in str(name) else False if name == "bool" else 0.0 if "float" in name else 0
        return default if value is None else value
    if node == 2:  # another message
        return make(details, value) if value is None or isinstance(value, Mapping) else value
    inner, length = details  # array (3) or sequence (4)
    if int(inner[0]) == 2:
        items = [None] * (length if node == 3 else 0) if value is None else value
        return [_filled(inner, item, where) for item in items]
    name = inner[1][0] if isinstance(inner[1], tuple) else inner[1]
    if "string" in str(name):
        return list(value or [])
    if isinstance(value, (bytes, bytearray, memoryview)):
        return np.frombuffer(value, _NUMPY[name])
    return np.zeros(length if node == 3 else 0, _NUMPY[name]) if value is None else np.asarray(value, _NUMPY[name])


class BagWriter:
    """Writes a rosbag2 folder in MCAP with embedded types; it appears under its name only when it is complete.

    Use as a context manager. An existing recording of that name is replaced if `overwrite`, else refused.
    """

    def __init__(self, path: Path | str, *, overwrite: bool = False, storage: str = "mcap") -> None:
        self.path = Path(path)
        self._plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        self._connections: dict[str, Any] = {}
        replaceable = overwrite and (self.path / "metadata.yaml").exists()
        if self.path.exists() and not replaceable:
            raise BagError(f"{self.path}: exists already, expected a new name for the recording")

    def __enter__(self) -> BagWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        self._writer = Writer(
            self._folder / self.path.name, version=Writer.VERSION_LATEST, storage_plugin=self._plugin
        )
        self._writer.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._writer.close()
            if kind is None:
                if self.path.exists():
                    shutil.rmtree(self.path)
                (self._folder / self.path.name).rename(self.path)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, topic: str, msgtype: str, t: int, message: Any) -> None:
        """Append one message (an object of `known_types`, see `make`) at log time `t` [ns]."""
        store = known_types()
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, msgtype, typestore=store)
        self._writer.write(self._connections[topic], t, store.serialize_cdr(message, msgtype))
