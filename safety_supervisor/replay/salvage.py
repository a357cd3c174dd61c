"""Files that were cut off, damaged or never closed: everything that is still whole in them.

An MCAP file is read from the front, without its index; a broken chunk is left out and the last chunk is unpacked as
far as it goes. An sqlite3 file is filled up with empty pages to the size it should have, so that its tables can be
walked up to the damage.
"""

from __future__ import annotations

import io
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mcap.reader import make_reader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

CHUNK = 0x06
MAGIC_SIZE = 8
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """One message, not yet deserialised."""

    topic: str
    msgtype: str
    t: int
    """Log time [ns]."""
    data: bytes
    ros1: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """Type definition embedded in a bag: text and its language (msg, idl)."""

    text: str
    language: str


class Source(Protocol):
    """One opened file or folder."""

    types: dict[str, str]
    """Topic -> message type."""
    definitions: dict[str, Definition]
    """Message type -> embedded definition."""
    ros1: bool
    promised: int | None
    """Messages that it says it has; None when it does not say."""

    def records(self, topics: Sequence[str] | None) -> Iterator[Record]:
        """Yield records of the given topics (None: all) in storage order."""
        ...

    def written(self) -> Iterator[int]:
        """Yield log times [ns] in the order of writing."""
        ...


class ScannedMcap:
    """An MCAP file read from the front."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.ros1 = False
        self.promised: int | None = None
        self.foreign: set[str] = set()
        """Topics whose messages are no ROS 2 messages."""
        self.types: dict[str, str] = {}
        self.definitions: dict[str, Definition] = {}
        with suppress(Exception):  # the damage itself; `records` meets it again and reports it
            for _ in self.records(None):
                pass
        if not self.types:
            raise ValueError("no channel could be read")

    def records(self, topics: Sequence[str] | None) -> Iterator[Record]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, tuple[str, str]] = {}
        with self._path.open("rb") as file:
            for record in _mcap_records(file):
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel) and record.message_encoding == "cdr":
                    channels[record.id] = self._channel(record, schemas)
                elif isinstance(record, Channel):
                    self.foreign.add(record.topic)
                elif isinstance(record, Message) and record.channel_id in channels:
                    topic, msgtype = channels[record.channel_id]
                    if topics is None or topic in topics:
                        yield Record(topic, msgtype, record.log_time, record.data)

    def written(self) -> Iterator[int]:
        return (record.t for record in self.records(None))

    def _channel(self, channel: Channel, schemas: Mapping[int, Schema]) -> tuple[str, str]:
        schema = schemas.get(channel.schema_id)
        msgtype = schema.name if schema else ""
        self.types[channel.topic] = msgtype
        if schema and schema.data:
            language = "idl" if schema.encoding in ("ros2idl", "omgidl") else "msg"
            self.definitions[msgtype] = Definition(schema.data.decode(errors="replace"), language)
        return channel.topic, msgtype


def _mcap_records(file: BinaryIO) -> Iterator[McapRecord]:
    """Yield every whole record, then those of a chunk that was cut off; then raise what is wrong with the file.

    A chunk that is broken in itself is left out; reading goes on behind it.
    """
    whole = MAGIC_SIZE
    broken: Exception | None = None
    try:
        for record in StreamReader(file, emit_chunks=True).records:
            whole = file.tell()
            try:
                yield from breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else [record]
            except Exception as error:  # bytes from outside
                broken = broken or error
    except Exception:
        with suppress(Exception):
            yield from StreamReader(io.BytesIO(_cut_chunk(file, whole)), skip_magic=True).records
        raise
    if broken:
        raise broken


def _cut_chunk(file: BinaryIO, start: int) -> bytes:
    """Unpack what is there of the chunk that the file ends in; `start` is the end of a whole record before it."""
    size = file.seek(0, io.SEEK_END)
    file.seek(start)
    while True:
        code, length = struct.unpack("<BQ", file.read(9))
        if file.tell() + length > size:
            break
        file.seek(length, io.SEEK_CUR)
    if code != CHUNK:
        return b""
    file.seek(8 + 8 + 8 + 4, io.SEEK_CUR)  # start time, end time, size, checksum
    compression = file.read(struct.unpack("<I", file.read(4))[0]).decode()
    file.seek(8, io.SEEK_CUR)
    packed = file.read()
    return packed if not compression else _unpacker(compression).decompress(packed)


def _unpacker(compression: str) -> Any:
    if compression in ("zstd", ".zstd", ".zst"):
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj()
    import lz4.frame  # type: ignore[import-untyped, unused-ignore]

    return lz4.frame.LZ4FrameDecompressor()


def unpacked(packed: BinaryIO, plain: BinaryIO, compression: str) -> str:
    """Decompress a file as far as it goes; return what stopped it, empty when nothing did."""
    unpacker = _unpacker(compression)
    try:
        while block := packed.read(BLOCK):
            plain.write(unpacker.decompress(block))
    except Exception as error:  # bytes from outside
        return " ".join(str(error).split()) or type(error).__name__
    return "" if unpacker.eof else "the file is cut off"


@dataclass(frozen=True, slots=True)
class McapIndex:
    """What the end of a whole MCAP file says about it."""

    indexed: bool
    plain: bool
    """Whether it holds ROS 2 messages only, and says so."""
    promised: int | None


def written_times(path: Path) -> Iterator[int]:
    """Yield log times [ns] of a file in the order of writing; of a kind that does not tell, nothing."""
    if path.suffix == ".mcap":
        with path.open("rb") as file:
            yield from (record.log_time for record in _mcap_records(file) if isinstance(record, Message))
    elif path.suffix == ".db3":
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            yield from (int(t) for (t,) in connection.execute("SELECT timestamp FROM messages ORDER BY rowid"))


def mcap_index(path: Path) -> McapIndex:
    """Read the end of an MCAP file; raises anything when it is damaged there."""
    with path.open("rb") as file:
        reader = make_reader(file)
        profile = reader.get_header().profile
        summary = reader.get_summary()
    if summary is None:
        return McapIndex(False, profile == "ros2", None)
    count = summary.statistics.message_count if summary.statistics else None
    encodings = {channel.message_encoding for channel in summary.channels.values()}
    languages = {schema.encoding for schema in summary.schemas.values()}
    plain = profile == "ros2" and encodings <= {"cdr"} and languages <= {"", "ros2msg", "ros2idl", "omgidl"}
    return McapIndex(bool(summary.chunk_indexes) or count == 0, plain, count)


class DamagedSqlite:
    """An sqlite3 file whose end is missing."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        copy = Path(folder) / "copy.db3"
        shutil.copyfile(path, copy)
        with copy.open("r+b") as file:
            header = file.read(100)
            page = int.from_bytes(header[16:18], "big")
            pages = int.from_bytes(header[28:32], "big")
            file.truncate(max(copy.stat().st_size, (65536 if page == 1 else page) * pages))
        self.promised: int | None = None
        self._connection = sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)
        stack.callback(self._connection.close)
        self.ros1 = False
        rows = self._connection.execute("SELECT id, name, type FROM topics").fetchall()
        self._topics = {int(number): (str(name), str(kind)) for number, name, kind in rows}
        self.types = dict(self._topics.values())
        self.definitions = dict(self._definitions())

    def _definitions(self) -> Iterator[tuple[str, Definition]]:
        with suppress(sqlite3.Error):  # older recordings have no such table
            query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            for kind, encoding, text in self._connection.execute(query).fetchall():
                if text:
                    yield str(kind), Definition(str(text), "idl" if encoding == "ros2idl" else "msg")

    def records(self, topics: Sequence[str] | None) -> Iterator[Record]:
        for number, t, data in self._connection.execute("SELECT topic_id, timestamp, data FROM messages"):
            topic, msgtype = self._topics[number]
            if topics is None or topic in topics:
                yield Record(topic, msgtype, t, bytes(data))

    def written(self) -> Iterator[int]:
        return (int(t) for (t,) in self._connection.execute("SELECT timestamp FROM messages ORDER BY rowid"))
