"""The node's side of the flight recorder: hands every tick to the recorder's process and never waits for it.

A tick costs one entry in a queue. A thread writes the queue into a pipe; when the other end is too slow, ticks are
dropped and the recording begins anew at the next snapshot. A process that has gone is started again, a few times, and
begins at the next snapshot too; one that cannot write says so. See `blackbox` for what is recorded, and when.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safety_supervisor import __version__, snapshot, vehicle_file
from safety_supervisor.core.config import Config, to_mapping
from safety_supervisor.core.world import Decision, Mode
from safety_supervisor.messages import normalised
from safety_supervisor.ros import frames
from safety_supervisor.ros.definitions import definition
from safety_supervisor.ros.sources import Source

SNAPSHOT_PERIOD = 2.0
"""Time between two snapshots of the state [s]; one takes about a millisecond, after the tick's messages are out."""
PENDING_MAX = 32_000_000
"""Bytes that may wait for the recorder's process."""
QUIET = (Mode.INIT, Mode.NOMINAL)
STRING = "std_msgs/msg/String"
RESTARTS_MAX = 5
"""How often a process that has gone is started again in the life of a node; one that dies at once must not go on so."""
TOLD_MAX = 300
"""Characters of what the process says that are passed on."""
GOODBYE = 5.0
"""Longest wait [s] for the recorder to finish its files when the node ends."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came in."""

    topic: str
    raw: bytes
    arrival: int


def default_folder() -> Path:
    """Return where recordings go unless a folder is given: below the ROS log folder, as other logs of a node."""
    home = os.environ.get("ROS_HOME") or str(Path.home() / ".ros")
    return Path(os.environ.get("ROS_LOG_DIR") or home) / "safety_supervisor"


class Recorder:
    """Feeds one recorder process; start a session at each activation."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.dropped = 0
        """Ticks that were not handed over."""
        self._lost, self._told = "", ""
        self.folder, self._limit = folder, limit
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._topics: dict[str, int] = {}
        self._mode = Mode.INIT
        self._next_snapshot = 0
        self._gap = False
        self._session = b""
        self._restarts, self._dead = 0, False
        self._process = self._started()
        self._thread = threading.Thread(target=self._pump, name="recorder", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """What is wrong with the recorder's process, or what it says is wrong; empty when nothing is."""
        return "; ".join(text for text in (self._lost, self._told) if text)

    def begin(self, config: Config, sources: Sequence[Source], armed: bool, certificate: str) -> None:
        """Start a session; `certificate` is the text of the certificate in force, empty without."""
        names = [normalised(source.topic) for source in sources]
        self._topics = {name: i for i, name in enumerate(names)}
        self._mode, self._next_snapshot = Mode.INIT, 0
        kinds = {source.type_name for source in sources} | {STRING}
        session = {
            "folder": str(self.folder), "limit": self._limit, "vehicle": config.vehicle.name, "armed": armed,
            "topics": [["/" + name, source.type_name] for name, source in zip(names, sources, strict=True)],
            "definitions": {kind: definition(kind) for kind in sorted(kinds)},
            "parameters": config.digest, "values": to_mapping(config), "certificate": certificate,
            "certificate_hash": config.certificate, "core": vehicle_file.core_digest(), "version": __version__,
        }  # fmt: skip
        self._session = frames.frame(frames.SESSION, 0, json.dumps(session).encode())
        self._put(self._session)

    def tick(self, received: Sequence[Received], decision: Decision, line: str) -> None:
        """Hand over one tick: what it consumed, what it decided. An intervention that begins triggers a recording."""
        parts = [frames.message(self._topics[normalised(m.topic)], m.arrival, m.raw) for m in received]
        parts.append(frames.frame(frames.DECISION, decision.t, line.encode()))
        if decision.mode not in QUIET and (self._mode in QUIET or self._mode < decision.mode < Mode.STANDSTILL):
            reason = decision.reasons[0].text if decision.reasons else ""
            parts.append(frames.frame(frames.TRIGGER, decision.t, f"{decision.mode.name}: {reason}".encode()))
        self._mode = decision.mode
        if not self._put(b"".join(parts)):
            self.dropped += 1
            self._gap, self._next_snapshot = True, 0

    def wants_snapshot(self, t: int) -> bool:
        """Whether the state after the tick at `t` [ns] should be handed over."""
        return t >= self._next_snapshot or t < self._next_snapshot - 2 * round(SNAPSHOT_PERIOD * 1e9)

    def snapshot(self, taken: snapshot.Snapshot, t: int) -> None:
        """Hand over the state after the tick at `t` [ns], from which recordings can begin."""
        self._next_snapshot = t + round(SNAPSHOT_PERIOD * 1e9)
        gap = frames.frame(frames.GAP, t) if self._gap else b""
        if self._put(gap + frames.frame(frames.SNAPSHOT, t, snapshot.to_text(taken).encode())):
            self._gap = False

    def trigger(self, t: int, reason: str) -> None:
        """Ask for a recording."""
        self._put(frames.frame(frames.TRIGGER, t, reason.encode()))

    def end(self, t: int) -> None:
        """The session ends in order."""
        self._put(frames.frame(frames.END, t))

    def close(self) -> None:
        """Let the process finish what it writes and go."""
        self._queue.put(None)
        self._thread.join(GOODBYE)
        try:
            self._process.wait(GOODBYE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _put(self, data: bytes) -> bool:
        with self._lock:
            if self._dead or self._pending + len(data) > PENDING_MAX:
                return False
            self._pending += len(data)
        self._queue.put(data)
        return True

    def _pump(self) -> None:
        """Write the queue into the pipe; a blocked pipe blocks this thread only."""
        while (data := self._queue.get()) is not None:
            try:
                self._write(data)
            except OSError as error:
                self._begin_again(error)
            if self._dead:
                break
            with self._lock:
                self._pending -= len(data)
        self._leave()

    def _write(self, data: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(data)
        pipe.flush()

    def _begin_again(self, error: OSError) -> None:
        """Start another process in place of the one that has gone, and the session in it; or give up."""
        gone = f"the recorder's process has gone ({error.strerror or type(error).__name__})"
        self._leave()
        self._process.kill()
        self._process.wait()
        self._restarts += 1
        try:
            if self._restarts > RESTARTS_MAX:
                raise ChildProcessError
            self._process = self._started()
            self._write(self._session)
        except OSError:
            self._dead, self._lost = True, gone
            return
        self._next_snapshot = 0
        self._lost = f"{gone} and was started again, what it held in memory is lost"

    def _leave(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):  # what was buffered for a process that has gone
            pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "safety_supervisor.ros.blackbox"]
        made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        threading.Thread(target=self._listen, args=(made,), name="recorder report", daemon=True).start()
        return made

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Keep what the process said last, until it ends."""
        said = process.stdout
        assert said is not None
        with said:
            for line in said:
                self._told = line.decode(errors="replace").strip()[:TOLD_MAX]
        self._told = ""
