"""The flight recorder's process: keeps the last seconds in memory, and writes them down when something happens.

It stands beside the node, reads frames from standard input (`frames`) and outlives the node: when the pipe ends without
a good-bye, the node has died, and that is written down too. The node never waits for it.

    python -m safety_supervisor.ros.blackbox < frames

A recording is an MCAP file that begins with a snapshot of the supervisor's state and holds, tick by tick, the messages
as they came in and the decision made of them; `safety-supervisor replay` starts from the snapshot. It is complete up to
the last chunk at any moment. Beside recordings stands the log of the drive (`drive_log`), the evidence for arming. What
keeps it from writing is a line on standard output, an empty one when that is over; the node puts it in its diagnostics.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mcap.writer import CompressionType, Writer

from safety_supervisor.ros import frames
from safety_supervisor.ros.drive_log import DriveLog
from safety_supervisor.ros.frames import Frame

BEFORE, AFTER = 30.0, 5.0
"""Seconds recorded before and after a trigger."""
LONGEST = 120.0
"""A recording ends after this time [s] even when triggers go on; the next one begins a new one."""
RING_BYTES_MAX = 400_000_000
CHUNK = 128 * 1024
FLUSH = 0.5
"""Longest time [s] that what happened is in memory only, once a recording is under way."""
RETRY = 5.0
"""After this time [s] it is tried again to write where that had failed."""
LOOK = 1.0
"""How often it is looked whether the files are still there [s]."""
SNAPSHOT_TOPIC = "/safety_supervisor/recorder/snapshot"
DECISION_TOPIC = "/safety_supervisor/decision"
STRING = "std_msgs/msg/String"
OWN = re.compile(r"^(incident|drive)_\d{8}T\d{6}_\d{3,}[a-z_]*\.(mcap|jsonl)$")
"""Names of the files that this process makes, and may remove."""


@dataclass(slots=True)
class Segment:
    """What came after one snapshot."""

    began: float
    frames: list[Frame] = field(default_factory=list)
    size: int = 0


class Ring:
    """The last seconds, cut at snapshots, so that what is left always begins with one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._segments: deque[Segment] = deque()
        self._size = 0

    def add(self, frame: Frame) -> None:
        kind = frame[0]
        if kind == frames.GAP:
            self._forget()
            return
        if kind == frames.SNAPSHOT:
            self._segments.append(Segment(self._clock()))
        if not self._segments:  # no snapshot yet to start from
            return
        last = self._segments[-1]
        last.frames.append(frame)
        last.size += len(frame[2])
        self._size += len(frame[2])
        self._drop()

    def _drop(self) -> None:
        old = self._clock() - BEFORE
        while len(self._segments) > 1 and (self._segments[1].began <= old or self._size > RING_BYTES_MAX):
            self._size -= self._segments.popleft().size
        if self._size > RING_BYTES_MAX:  # no snapshot comes any more: what led up to that is recorded already
            self._forget()

    def _forget(self) -> None:
        self._segments.clear()
        self._size = 0

    def __iter__(self) -> Iterator[Frame]:
        for i, segment in enumerate(self._segments):
            yield from segment.frames[1 if i else 0 :]  # one snapshot, at the beginning


def string(text: bytes) -> bytes:
    """Return a serialised std_msgs/String."""
    return b"\x00\x01\x00\x00" + struct.pack("<I", len(text) + 1) + text + b"\0"


class LimitError(Exception):
    """A recording has become as long as it may."""


class Recording:
    """One MCAP file under way."""

    def __init__(self, path: Path, session: dict[str, Any], reason: str, limit: int) -> None:
        self.path, self._limit = path, limit
        self._file = path.open("xb")
        self._channels: list[int] = []
        try:
            self._start(session, reason)
        except OSError:
            with contextlib.suppress(OSError):  # an empty file would only puzzle who finds it
                path.unlink()
                self._file.close()
            raise

    def _start(self, session: dict[str, Any], reason: str) -> None:
        self._writer: Any = Writer(self._file, chunk_size=CHUNK, compression=CompressionType.ZSTD)
        self._writer.start("ros2", "safety_supervisor flight recorder")
        about = {"reason": reason, "vehicle": session["vehicle"], "armed": str(session["armed"]).lower()}
        self._writer.add_metadata("safety_supervisor", about)
        if session["certificate"]:
            text = session["certificate"].encode()
            self._writer.add_attachment(0, 0, "certificate.json", "application/json", text)
        schemas = {kind: self._writer.register_schema(kind, "ros2msg", text.encode())
                   for kind, text in session["definitions"].items()}
        topics = [*session["topics"], [SNAPSHOT_TOPIC, STRING], [DECISION_TOPIC, STRING]]
        self._file.flush()
        self._channels = [self._writer.register_channel(topic, "cdr", schemas[kind]) for topic, kind in topics]

    def write(self, frame: Frame) -> None:
        """Append one frame; raises `LimitError` when the file has reached its limit."""
        kind, t, payload = frame
        if kind == frames.MESSAGE:
            (number,) = frames.TOPIC.unpack_from(payload)
            self._add(number, t, payload[frames.TOPIC.size :])
        elif kind in (frames.SNAPSHOT, frames.DECISION):
            self._add(-2 if kind == frames.SNAPSHOT else -1, t, string(payload))
        if self._file.tell() > self._limit:
            raise LimitError(f"{self.path.name} has reached its limit of {self._limit} bytes")

    def _add(self, number: int, t: int, data: bytes) -> None:
        self._writer.add_message(self._channels[number], max(t, 0), data, max(t, 0))

    def flush(self) -> None:
        self._writer.flush()
        self._file.flush()

    def close(self) -> None:
        self._writer.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class Blackbox:
    """Frames in, files out."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, tell: Callable[[str], None] = lambda problem: None
    ) -> None:
        self._clock, self._tell = clock, tell
        self._said = ""
        self._session: dict[str, Any] | None = None
        self._ring = Ring(clock)
        self._recording: Recording | None = None
        self._log: DriveLog | None = None
        self._until = self._last = self._flushed = self._looked = 0.0
        self._number = 0
        self._decided = False

    def run(self, stream: Iterable[Frame]) -> None:
        """Work until the frames end; an end without a good-bye is an incident."""
        orderly = True
        for frame in stream:
            orderly = frame[0] == frames.END
            self.take(frame)
        if not orderly and self._decided:
            self._safely(self._finish)  # the death has a recording of its own, also during another incident
            self._safely(self._trigger, "the supervisor died", "node_died")
        self._safely(self._close)

    def take(self, frame: Frame) -> None:
        """Take one frame; a disk that is full or gone ends the files, never the process."""
        self._safely(self._taken, frame)

    def _safely(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except LimitError as error:
            _log(str(error))
            self._safely(self._finish)
        except OSError as error:
            self._say(f"cannot write, {error}")
            self._abandon()

    def _say(self, problem: str) -> None:
        """Tell the node what is wrong, each change once; empty when all is well again."""
        if problem != self._said:
            self._said = problem
            _log(problem or "writing again")
            self._tell(problem)

    def _taken(self, frame: Frame) -> None:
        kind, t, payload = frame
        if kind == frames.SESSION:
            self._begin(json.loads(payload))
        elif kind == frames.TRIGGER:
            self._trigger(payload.decode(errors="replace"))
        elif kind == frames.END:
            self._close()
        else:
            self._ring.add(frame)
            if kind == frames.DECISION:
                self._decided = True
                if self._log:
                    self._log.add(t, json.loads(payload), self._recording.path.name if self._recording else None)
            if kind == frames.GAP:
                self._finish()
            elif self._recording and kind != frames.SNAPSHOT:
                self._recording.write(frame)
        self._keep_up()

    def _begin(self, session: dict[str, Any]) -> None:
        self._close()
        self._session, self._ring, self._decided = session, Ring(self._clock), False
        self._open_log()

    def _open_log(self) -> None:
        assert self._session is not None
        size = int(self._session["limit"]) // 4
        self._room(size)
        self._log = DriveLog(self._path("drive", "jsonl"), self._session, size)
        self._say("")

    def _path(self, what: str, suffix: str, extra: str = "") -> Path:
        """A name that does not exist yet; all parts of it are ours."""
        assert self._session is not None
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        while True:
            self._number += 1
            name = f"{what}_{stamp}_{self._number:03d}{extra and '_' + extra}.{suffix}"
            path = Path(self._session["folder"]) / name
            if not path.exists():
                return path

    def _room(self, needed: int) -> None:
        """Remove our oldest files until the folder, made if need be, keeps its limit with `needed` more bytes."""
        assert self._session is not None
        Path(self._session["folder"]).mkdir(parents=True, exist_ok=True)
        held = [self._recording.path.name] if self._recording else []
        held += [self._log.path.name] if self._log else []
        own = [p for p in Path(self._session["folder"]).iterdir() if OWN.match(p.name) and p.is_file()]
        own = sorted((p for p in own if p.name not in held), key=lambda p: p.stat().st_mtime)
        total = sum(p.stat().st_size for p in own)
        for path in own:
            if total + needed <= int(self._session["limit"]):
                break
            total -= path.stat().st_size
            path.unlink()

    def _trigger(self, reason: str, extra: str = "") -> None:
        if self._session is None:
            return
        now = self._clock()
        if self._recording is None:
            size = int(self._session["limit"]) // 4
            self._room(2 * size)  # beside this recording the log of the drive may still grow
            self._last = now + LONGEST
            self._recording = Recording(self._path("incident", "mcap", extra), self._session, reason, size)
            for frame in self._ring:
                self._recording.write(frame)
            self._recording.flush()
            self._flushed = now
            if self._log:
                self._log.incident(reason, self._recording.path.name)
        self._until = min(now + AFTER, self._last)

    def _keep_up(self) -> None:
        """Write what is due, end what is over, begin again what could not be written."""
        now = self._clock()
        if self._session and now - self._looked >= (LOOK if self._log else RETRY):
            self._looked = now
            self._look()
        if self._recording is None:
            return
        if now >= self._until:
            self._finish()
        elif now - self._flushed >= FLUSH:
            self._recording.flush()
            self._flushed = now

    def _look(self) -> None:
        if self._log is None:
            self._open_log()
        for file in (self._log, self._recording):
            if file and not file.path.exists():  # what goes on being written is lost, without an error
                raise FileNotFoundError(f"{file.path} has been removed")

    def _finish(self) -> None:
        recording, self._recording = self._recording, None
        if recording:
            recording.close()
            _log(f"wrote {recording.path}")

    def _abandon(self) -> None:
        recording, self._recording = self._recording, None
        log, self._log = self._log, None
        for file in (recording, log):
            with contextlib.suppress(OSError):
                if file:
                    file.close()
        self._looked = self._clock()

    def _close(self) -> None:
        try:
            self._finish()
        finally:
            log, self._log, self._session = self._log, None, None
            if log:
                log.close()


def _log(text: str) -> None:
    with contextlib.suppress(OSError):  # the log may be on the disk that is full
        print(f"recorder: {text}", file=sys.stderr, flush=True)


def _told(problem: str) -> None:
    with contextlib.suppress(OSError):  # the node may be gone
        os.write(sys.stdout.fileno(), f"{' '.join(problem.split())}\n".encode())


def main(stream: BinaryIO | None = None) -> int:
    """Read frames until the node closes the pipe; signals for the node are not for us."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # a node at real-time priority hands it on
        os.nice(10)
    Blackbox(tell=_told).run(frames.read(stream or sys.stdin.buffer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
