"""Bags: every message in one canonical order, whatever the storage, and as much as can be saved of a damaged file.

Reads rosbag2 folders and lone files (MCAP, sqlite3, compressed by file or by message) and ROS 1 bags, with and without
embedded type definitions. Order: log time, then topic, then order of recording; so two storages of one recording
give the same sequence. Only topics that are asked for are deserialised.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from safety_supervisor import cdr
from safety_supervisor.messages import Unreadable
from safety_supervisor.replay.definitions import EXTRA
from safety_supervisor.replay.salvage import DamagedMcap, DamagedSqlite, Definition, Record, Source

EXPECTED = "expected a rosbag2 folder or a .mcap, .db3 or .bag file"
FILES = (".mcap", ".db3", ".bag")
SPLIT = re.compile(r"_\d+$")
"""What tells the files of one recording apart: name_0.mcap, name_1.mcap."""
SIZE_MIN = 13
"""No file that begins as one of these is shorter [bytes]."""


class BagError(Exception):
    """A recording that cannot be used; the text is one line: which, what is wrong, what was expected."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a bag."""

    name: str
    msgtype: str
    count: int
    readable: bool
    """Whether its type definition is known."""


# --- storages -------------------------------------------------------------------------------------------------


class _Rosbags:
    """What the rosbags library opens by itself."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.ros1 = path.suffix == ".bag"
        reader: Any = Reader1(path) if self.ros1 else Reader2(path)
        self._reader: Any = stack.enter_context(reader)
        self.promised = int(self._reader.message_count)
        """Messages that the recording says it has."""
        self._connections = sorted(self._reader.connections, key=lambda c: (c.topic, c.id))
        self.types = {c.topic: c.msgtype for c in self._connections}
        languages = {MessageDefinitionFormat.MSG: "msg", MessageDefinitionFormat.IDL: "idl"}
        self.definitions = {
            c.msgtype: Definition(c.msgdef.data, languages[c.msgdef.format])
            for c in self._connections
            if c.msgdef.format in languages and c.msgdef.data
        }

    def records(self, topics: Sequence[str] | None) -> Iterator[Record]:
        wanted = [c for c in self._connections if topics is None or c.topic in topics]
        if wanted:
            for connection, t, data in self._reader.messages(connections=wanted):
                yield Record(connection.topic, connection.msgtype, t, bytes(data))


# --- opening --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Bag:
    """An opened recording. Use as a context manager."""

    path: Path
    topics: tuple[Topic, ...] = ()
    start: int = 0
    """Log time of the first message [ns]."""
    end: int = 0
    recovered: bool = False
    """Whether the recording is damaged and only a part could be read."""
    notes: list[str] = field(default_factory=list)
    _sources: list[Source] = field(default_factory=list)
    _sorted: bool = True
    _stack: ExitStack = field(default_factory=ExitStack)
    _stores: dict[str, Any] = field(default_factory=dict)
    _fitting: dict[str, bool] = field(default_factory=dict)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def duration(self) -> float:
        """Seconds between the first and the last message."""
        return (self.end - self.start) / 1e9

    def topic(self, name: str) -> Topic | None:
        """Return a topic by name, with or without leading slash."""
        return next((t for t in self.topics if t.name.lstrip("/") == name.lstrip("/")), None)

    def messages(
        self, topics: Iterable[str] | None = None, views: bool = False
    ) -> Iterator[tuple[str, str, int, Any]]:
        """Yield (topic, type, log time, message) in canonical order; a broken message is an `Unreadable`.

        `topics` limits what is read; topics of unknown type are left out. With `views`, a message of a type that has
        one is its view (`cdr`): all that `messages.convert` reads of it, many times faster.
        """
        readable = [t.name for t in self.topics if t.readable]
        wanted = readable if topics is None else [name for name in readable if name in set(topics)]
        for record in self._ordered(wanted):
            seen = cdr.view(record.msgtype, record.data) if views and self._fits(record.msgtype) else None
            yield record.topic, record.msgtype, record.t, self._deserialised(record) if seen is None else seen

    def first(self, topic: str) -> Any:
        """Return the first message of a topic that can be decoded, or None."""
        messages = (msg for _, _, _, msg in self.messages([topic]))
        return next((msg for msg in messages if not isinstance(msg, Unreadable)), None)

    def _ordered(self, topics: Sequence[str]) -> Iterator[Record]:
        if not self._sorted:
            yield from sorted(self._intact(topics), key=lambda r: (r.t, r.topic))
            return
        tied: list[Record] = []
        for record in self._intact(topics):
            if tied and record.t != tied[0].t:
                yield from sorted(tied, key=lambda r: r.topic)
                tied = []
            tied.append(record)
        yield from sorted(tied, key=lambda r: r.topic)

    def _intact(self, topics: Sequence[str] | None) -> Iterator[Record]:
        """Yield what can be read; damage is noted once and ends the file it is in."""
        for source in self._sources:
            try:
                yield from source.records(topics)
            except Exception as error:  # a damaged file breaks its reader in any way
                self.recovered = True
                note = f"damaged, read up to the damage ({_short(error)})"
                if note not in self.notes:
                    self.notes.append(note)

    def _scan(self) -> None:
        """Count what is really there, and see whether it is in order of time."""
        counts: dict[str, int] = {}
        newest: int | None = None
        for record in self._intact(None):
            counts[record.topic] = counts.get(record.topic, 0) + 1
            if newest is None:
                self.start = self.end = record.t
            elif record.t < newest:
                self._sorted = False
            newest = record.t
            self.start, self.end = min(self.start, newest), max(self.end, newest)
        self._compare(sum(counts.values()))
        types = {name: kind for source in self._sources for name, kind in source.types.items()}
        self.topics = tuple(
            Topic(name, types[name], counts.get(name, 0), self._store(types[name]) is not None)
            for name in sorted(types)
        )

    def _compare(self, found: int) -> None:
        """Note when an otherwise readable recording has not all the messages that it says it has."""
        promised = sum(source.promised for source in self._sources if isinstance(source, _Rosbags))
        if not self.recovered and found != promised:
            self.recovered = True
            self.notes.append(f"damaged: {found} of {promised} messages could be read")

    def _store(self, msgtype: str) -> Any:
        """Type store that knows a message type: the embedded definition first, then the known ones; or None."""
        if msgtype not in self._stores:
            self._stores[msgtype] = self._embedded(msgtype) or (
                known_types() if msgtype in known_types().fielddefs else None
            )
        return self._stores[msgtype]

    def _fits(self, msgtype: str) -> bool:
        """Whether messages of this type have the layout that their view takes for granted."""
        if msgtype not in self._fitting:
            self._fitting[msgtype] = (
                msgtype in cdr.TYPES
                and not self._sources[0].ros1
                and _layout(self._store(msgtype), msgtype) in _known_layouts(msgtype)
            )
        return self._fitting[msgtype]

    def _embedded(self, msgtype: str) -> Any:
        definition = next((s.definitions[msgtype] for s in self._sources if msgtype in s.definitions), None)
        if definition is None:
            return None
        store = get_typestore(Stores.EMPTY)
        try:
            if definition.language == "msg":
                store.register(get_types_from_msg(definition.text, msgtype))
            else:
                store.register(get_types_from_idl(definition.text))
            store.generate_msgdef(msgtype, ros_version=1 if self._sources[0].ros1 else 2)
        except Exception as error:  # text from outside; the known definition serves instead
            self.notes.append(f"embedded definition of {msgtype} is not usable ({_short(error)})")
            return None
        return store

    def _deserialised(self, record: Record) -> Any:
        store = self._store(record.msgtype)
        try:
            if self._sources[0].ros1:
                return store.deserialize_ros1(record.data, record.msgtype)
            return store.deserialize_cdr(record.data, record.msgtype)
        except Exception as error:  # bytes from outside
            return Unreadable(_short(error))


def open_bag(path: Path | str) -> Bag:
    """Open a recording. Raises `BagError` when nothing in it can be read."""
    path = Path(path)
    if not path.exists():
        raise BagError(f"{path}: no such file or folder, {EXPECTED}")
    bag = Bag(path)
    try:
        _open_sources(bag)
        bag._scan()
        if not bag.topics or not any(t.count for t in bag.topics):
            why = f" ({bag.notes[0]})" if bag.notes else ""
            raise BagError(f"{path}: no messages in it{why}, {EXPECTED} with recorded topics")
    except BaseException:
        bag._stack.close()
        raise
    return bag


def _open_sources(bag: Bag) -> None:
    """Open the whole if it is intact, else each file in it as far as it goes."""
    path = bag.path
    if not path.is_file() and not path.is_dir():
        raise BagError(f"{path}: neither a file nor a folder, {EXPECTED}")
    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.suffix in FILES and f.is_file())
    if path.is_dir() and not files and not (path / "metadata.yaml").exists():
        raise BagError(f"{path}: the folder holds no recording, {EXPECTED}")
    if path.is_file() and path.suffix not in FILES:
        raise BagError(f"{path}: not a recording by its name, {EXPECTED}")
    if path.is_file() and path.stat().st_size < SIZE_MIN:
        raise BagError(f"{path}: the file {_size(path)}, {EXPECTED}")
    if path.is_file() or (path / "metadata.yaml").exists():
        try:
            bag._sources = [_Rosbags(path, bag._stack)]
            return
        except PermissionError:
            raise
        except Exception as error:  # damaged in any way: try the files one by one
            problem = _short(error)
    else:
        problem = "metadata.yaml is missing"
    recordings = {(SPLIT.sub("", file.stem), file.suffix) for file in files}
    if len(recordings) > 1:
        names = ", ".join(sorted(file.name for file in files)[:4])
        raise BagError(f"{path}: holds several recordings ({names}), joined by no metadata.yaml; name one file")
    bag._sources = [source for file in files for source in _open_alone(file, bag)]
    if not bag._sources:
        raise BagError(f"{path}: cannot be read ({problem}), {EXPECTED}")
    bag.recovered = True
    bag.notes.insert(0, problem)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"ends after {size} bytes" if size else "is empty"


def _open_alone(file: Path, bag: Bag) -> Iterator[Source]:
    """Open one file of a damaged recording; yields nothing when it is beyond help."""
    stack = ExitStack()
    try:
        source: Source = _Rosbags(file, stack)
    except Exception as error:  # damaged in any way
        stack.close()
        with suppress(Exception):
            if file.suffix == ".mcap":
                yield DamagedMcap(file)
                return
            if file.suffix == ".db3":
                yield DamagedSqlite(file, bag._stack)
                return
        bag.notes.append(f"{file.name} is lost ({_short(error)})")
        return
    bag._stack.push(stack.pop_all())
    yield source


def _short(error: BaseException) -> str:
    """One line about an error of a library."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


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
