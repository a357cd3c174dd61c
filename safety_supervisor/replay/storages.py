"""Storages: what a recording on disk consists of, opened with the best reader for each file.

Whole files go to rosbags; MCAP files that it refuses or would misread (no index, another profile, channels that are
no ROS messages, damage) are read from the front; sqlite3 files that were cut off are filled up. What was done to
read a damaged recording is told in notes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2

from safety_supervisor.replay.salvage import (
    DamagedSqlite,
    Definition,
    Record,
    ScannedMcap,
    Source,
    mcap_index,
    unpacked,
    written_times,
)

EXPECTED = "expected a rosbag2 folder or a .mcap, .db3 or .bag file"
STORED = (".mcap", ".db3", ".bag")
PACKED = (".zstd", ".zst", ".lz4")
"""Endings of files that are compressed as a whole."""
SPLIT = re.compile(r"_\d+$")
"""What tells the files of one recording apart: name_0.mcap, name_1.mcap."""
SIZE_MIN = 13
"""No file that begins as one of these is shorter [bytes]."""


class BagError(Exception):
    """A recording that cannot be used; the text is one line: which, what is wrong, what was expected."""


class Rosbags:
    """What the rosbags library opens by itself."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path
        self.ros1 = path.suffix == ".bag"
        reader: Any = Reader1(path) if self.ros1 else Reader2(path)
        self._reader: Any = stack.enter_context(reader)
        self.promised: int | None = int(self._reader.message_count)
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
                yield Record(connection.topic, connection.msgtype, t, bytes(data), self.ros1)

    def written(self) -> Iterator[int]:
        for file in [self._path] if self._path.is_file() else _files(self._path):
            yield from written_times(file)


@dataclass(slots=True)
class Opened:
    """The readers of one recording, and what had to be done to get them."""

    sources: list[Source] = field(default_factory=list)
    recovered: bool = False
    notes: list[str] = field(default_factory=list)


def storage_of(path: Path) -> str:
    """Return the storage that a file name stands for, `.mcap`, `.db3` or `.bag`; empty when it is no recording."""
    inner = path.with_suffix("") if path.suffix in PACKED else path
    return inner.suffix if inner.suffix in STORED else ""


def recordings_in(path: Path) -> list[list[Path]]:
    """Return the recordings that a path stands for: itself, or, for a folder that only holds others, each of those.

    A folder is one recording when it has a metadata.yaml or when its files are the splits of one; loose files whose
    names differ in a last number only are one as well.
    """
    if not path.is_dir() or (path / "metadata.yaml").exists():
        return [[path]]
    found: dict[tuple[str, str], list[Path]] = {}
    for file in _files(path):
        found.setdefault(_name(file), []).append(file)
    recordings = list(found.values())
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        inner = recordings_in(folder)
        recordings += [] if inner == [[folder]] and not _holds(folder) else inner
    return recordings if len(recordings) > 1 or (not found and recordings) else [[path]]


def _holds(folder: Path) -> bool:
    return (folder / "metadata.yaml").exists() or bool(_files(folder))


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if storage_of(f) and f.is_file())


def _name(file: Path) -> tuple[str, str]:
    storage = storage_of(file)
    return SPLIT.sub("", file.name.split(storage)[0]), storage


def _names(files: Sequence[Path]) -> set[tuple[str, str]]:
    return {_name(file) for file in files}


def open_sources(path: Path, stack: ExitStack) -> Opened:
    """Open the whole if it is intact, else each file in it as far as it goes. Raises `BagError`."""
    if not path.exists():
        raise BagError(f"{path}: no such file or folder, {EXPECTED}")
    if not path.is_file() and not path.is_dir():
        raise BagError(f"{path}: neither a file nor a folder, {EXPECTED}")
    files = [path] if path.is_file() else _files(path)
    described = path.is_dir() and (path / "metadata.yaml").exists()
    if path.is_dir() and not files and not described:
        raise BagError(f"{path}: the folder holds no recording, {EXPECTED}")
    if path.is_file() and not storage_of(path):
        raise BagError(f"{path}: not a recording by its name, {EXPECTED}")
    if path.is_file() and path.stat().st_size < SIZE_MIN:
        raise BagError(f"{path}: the file {_size(path)}, {EXPECTED}")
    return _described(path, files, stack) if described else _loose(path, files, stack)


def _described(path: Path, files: Sequence[Path], stack: ExitStack) -> Opened:
    """Open a folder with its metadata.yaml."""
    if not any(_unusual(file) for file in files):
        try:
            return Opened([Rosbags(path, stack)])
        except PermissionError:
            raise
        except Exception as error:  # damaged in any way: try the files one by one
            problem = short(error)
            opened = Opened(recovered=True, notes=[problem])
            return _each(path, files, stack, opened, problem)
    return _each(path, files, stack, Opened(), "nothing readable")


def _loose(path: Path, files: Sequence[Path], stack: ExitStack) -> Opened:
    """Open one file, or the files of a folder whose metadata.yaml is missing."""
    opened = Opened()
    if path.is_dir():
        if len(_names(files)) > 1:
            names = ", ".join(sorted(file.name for file in files)[:4])
            raise BagError(f"{path}: holds several recordings ({names}), joined by no metadata.yaml; name one file")
        opened.recovered = True
        opened.notes.append("metadata.yaml is missing")
    return _each(path, files, stack, opened, opened.notes[0] if opened.notes else "nothing readable")


def _each(path: Path, files: Sequence[Path], stack: ExitStack, opened: Opened, problem: str) -> Opened:
    for file in files:
        _open_alone(file, stack, opened)
    if not opened.sources:
        why = next((note for note in opened.notes if note != problem), problem)
        raise BagError(f"{path}: cannot be read ({why}), {EXPECTED}")
    return opened


def _unusual(file: Path) -> bool:
    """Whether an MCAP file needs the reader that goes from the front."""
    if file.suffix != ".mcap":
        return False
    try:
        index = mcap_index(file)
    except Exception:  # damaged: rosbags says what is wrong
        return False
    return not index.indexed or not index.plain


def _open_alone(file: Path, stack: ExitStack, opened: Opened) -> None:
    """Add the reader of one file; a file that is beyond help is noted."""
    if file.suffix in PACKED:
        file = _unpack(file, stack, opened)
    own = ExitStack()
    try:
        if _unusual(file):
            own.close()
            _scanned(file, opened)
            return
        opened.sources.append(Rosbags(file, own))
    except PermissionError:
        raise
    except Exception as error:  # damaged in any way
        own.close()
        opened.recovered = True
        with suppress(Exception):
            if file.suffix == ".mcap":
                opened.sources.append(ScannedMcap(file))
                opened.notes.append(short(error))
                return
            if file.suffix == ".db3":
                opened.sources.append(DamagedSqlite(file, stack))
                opened.notes.append(short(error))
                return
        opened.notes.append(f"{file.name} is lost ({short(error)})")
        return
    stack.push(own.pop_all())


def _scanned(file: Path, opened: Opened) -> None:
    """Open a whole MCAP file without its index, or one that also has channels that are no ROS 2 messages."""
    index = mcap_index(file)
    source = ScannedMcap(file)
    source.promised = index.promised if index.plain else None
    opened.sources.append(source)
    if not index.indexed:
        opened.recovered = True
        opened.notes.append(f"{file.name} has no index, read from the front")
    if source.foreign:
        opened.notes.append(f"no ROS 2 messages, not read: {', '.join(sorted(source.foreign))}")


def _unpack(file: Path, stack: ExitStack, opened: Opened) -> Path:
    """Decompress a file as far as it goes, and return where it is now."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    target = folder / file.stem
    with file.open("rb") as packed, target.open("wb") as plain:
        problem = unpacked(packed, plain, file.suffix)
    if problem:
        opened.recovered = True
        opened.notes.append(f"{file.name}: compressed data ends early ({problem})")
    return target


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"ends after {size} bytes" if size else "is empty"


def short(error: BaseException) -> str:
    """One line about an error of a library."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
