"""Shadow drives as evidence: how long and how far was judged, what the supervisor would have done, where to look.

Sources are logs of drives (`drive_*.jsonl` of the node), decisions of a replay (`decisions.jsonl`) and recordings that
hold the decision topic. Only what was judged counts as driven: not INIT, not while a driver controlled, and not while
nothing but the latch of an earlier emergency held the mode.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safety_supervisor.messages import plain_type
from safety_supervisor.replay.bag import open_bag

QUIET = ("INIT", "NOMINAL")
CLASSES = {
    "SPEED_CAP": "caps", "COMFORT_STOP": "stops", "FIRM_STOP": "stops", "STANDSTILL": "stops",
    "EMERGENCY_STOP": "emergencies", "UNABLE": "emergencies",
}  # fmt: skip
"""What an intervention counts as, by the strongest mode in it."""
STRENGTH = ("caps", "stops", "emergencies")
HELD = ("DWELL", "RELEASE_PENDING")
"""Reasons of a mode that nothing in the world asks for any more."""
GAP = 1_000_000_000
"""A longer step between two ticks is no driving time [ns]."""
LINE_MAX = 4_000_000


class EvidenceError(ValueError):
    """A source that is no evidence; one line."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of ticks with one mode and first reason."""

    since: int
    t: int
    distance: float
    mode: str
    driver: bool
    code: str | None
    text: str
    margin: float | None
    speed: float | None
    recording: str | None


@dataclass(slots=True)
class Moment:
    """One intervention that would have been."""

    source: str
    start: int
    end: int
    kind: str
    mode: str
    code: str | None
    text: str
    margin: float | None
    speed: float | None
    recording: str | None
    verdict: str = "unreviewed"

    @property
    def key(self) -> str:
        """Name under which a review speaks of it: the time of its first tick [ns]."""
        return str(self.start)

    def add(self, span: Span) -> None:
        """Go on with a further stretch."""
        self.end = span.t
        kind = CLASSES.get(span.mode, "stops")
        if STRENGTH.index(kind) > STRENGTH.index(self.kind):
            self.kind, self.mode, self.code, self.text = kind, span.mode, span.code, span.text
        self.recording = self.recording or span.recording
        if span.margin is not None and (self.margin is None or span.margin < self.margin):
            self.margin = span.margin


@dataclass(slots=True)
class Drive:
    """One source."""

    source: str
    begin: int | None = None
    end: int = 0
    """First and last moment that it tells of [ns]."""
    parameters: set[str] = field(default_factory=set)
    certificates: set[str | None] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    judged: float = 0.0
    """[s]"""
    waited: float = 0.0
    """Time in INIT while no driver controlled [s]."""
    distance: float = 0.0
    """Judged [m]."""
    faults: list[str] = field(default_factory=list)
    """What ends every discussion: internal errors, a node that died."""
    moments: list[Moment] = field(default_factory=list)

    def add(self, span: Span, running: Moment | None) -> Moment | None:
        """Take one stretch; return the intervention that is under way."""
        lasted = max(span.t - span.since, 0) / 1e9
        self.begin = span.since if self.begin is None else min(self.begin, span.since)
        self.end = max(self.end, span.t)
        if span.code == "INTERNAL_ERROR" and not any(f.startswith("INTERNAL_ERROR") for f in self.faults):
            self.faults.append(f"INTERNAL_ERROR: {span.text}")
        if span.driver:
            return None
        if span.mode == "INIT":
            self.waited += lasted
            return None
        if span.mode not in QUIET and span.code in HELD:
            if running:
                running.end = span.t
            return None
        self.judged, self.distance = self.judged + lasted, self.distance + span.distance
        if span.mode in QUIET:
            return None
        if running is None:
            kind = CLASSES.get(span.mode, "stops")
            running = Moment(self.source, span.since, span.t, kind, span.mode, span.code, span.text, span.margin,
                             span.speed, span.recording)  # fmt: skip
            self.moments.append(running)
        running.add(span)
        return running


def collect(paths: Iterable[Path]) -> list[Drive]:
    """Read every source; raises `EvidenceError` naming the first that is none, or that there is none at all."""
    drives = [drive for path in paths for drive in _read(path)]
    if not drives:
        raise EvidenceError("no drive found, expected logs of drives, decisions.jsonl, or recordings with decisions")
    return drives


def _read(path: Path) -> Iterator[Drive]:
    if path.is_dir() and not (path / "metadata.yaml").exists():
        logs = sorted([*path.glob("drive_*.jsonl"), *path.glob("decisions.jsonl")])
        if not logs:
            raise EvidenceError(f"{path}: no drive_*.jsonl and no decisions.jsonl in it")
        for log in logs:
            yield _log(log)
    elif path.suffix == ".jsonl":
        yield _log(path)
    else:
        yield _bag(path)


def _log(path: Path) -> Drive:
    """Read the log of a drive, or the decisions of a replay."""
    drive = Drive(str(path))
    running: Moment | None = None
    last: Mapping[str, Any] | None = None
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(LINE_MAX), b""), 1):
            record = _record(raw, path, number)
            if record is None:
                continue
            if "ticks" in record:
                running = drive.add(_span(record, path), running)
            elif "incident" in record:
                if str(record.get("recording", "")).endswith("node_died.mcap"):
                    drive.faults.append("the node died")
            elif "consumed" in record:
                drive.parameters.add(str(record.get("config")))
                drive.certificates.add(record.get("certificate"))
                running = drive.add(_tick(record, last), running)
                last = record
            elif "parameters" in record:
                drive.parameters.add(str(record["parameters"]))
                drive.certificates.add(record.get("certificate_hash"))
                drive.codes.add(str(record.get("core")))
    return drive


def _record(raw: bytes, path: Path, number: int) -> Mapping[str, Any] | None:
    """One line; the last one of a log that was cut off is no record."""
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        if not raw.endswith(b"\n"):
            return None
        raise EvidenceError(f"{path}: line {number} is no JSON") from None
    if not isinstance(record, Mapping):
        raise EvidenceError(f"{path}: line {number} is no record")
    return record


def _span(record: Mapping[str, Any], path: Path) -> Span:
    try:
        recording = record.get("recording")
        return Span(
            int(record["since"]), int(record["t"]), float(record["distance_m"]), str(record["mode"]),
            bool(record["driver"]), record.get("code"), str(record.get("text", "")), record.get("margin_m"),
            record.get("speed"), str(path.parent / str(recording)) if recording else None,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"{path}: a line without {error}") from None


def _tick(record: Mapping[str, Any], last: Mapping[str, Any] | None) -> Span:
    """One decision as a stretch of one tick."""
    t = int(record["t"])
    step = t - int(last["t"]) if last is not None else 0
    lived = step if 0 < step <= GAP else 0
    reasons = record.get("reasons") or [{}]
    speed = (record.get("ego") or {}).get("speed")
    distance = abs(float(speed or 0.0)) * lived / 1e9
    return Span(t - lived, t, distance, str(record.get("mode")), bool(record.get("driver")), reasons[0].get("code"),
                str(reasons[0].get("text", "")), record.get("margin_m"), speed, None)  # fmt: skip


def _bag(path: Path) -> Drive:
    """Read the decisions in a recording; raises `BagError` when it cannot be read."""
    drive = Drive(str(path))
    running: Moment | None = None
    last: Mapping[str, Any] | None = None
    with open_bag(path) as bag:
        topics = [t for t in bag.topics if t.name.endswith("decision") and plain_type(t.msgtype) == "std_msgs/String"]
        for _, _, _, message in bag.messages([t.name for t in topics[:1]]):
            try:
                record = json.loads(message.data)
                span = _tick(record, last)
            except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
                continue  # another topic of that name
            drive.parameters.add(str(record.get("config")))
            drive.certificates.add(record.get("certificate"))
            running, last = drive.add(span, running), record
    if last is None:
        raise EvidenceError(f"{path}: no decisions in it; record the topic ~/decision of the node")
    for moment in drive.moments:
        moment.recording = str(path)
    return drive
