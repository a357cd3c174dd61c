"""The verb `inspect`: what is in a recording, what of it can be used, and what is missing for a full judgement."""

from __future__ import annotations

import argparse
import json
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from safety_supervisor.core.world import NANOSECONDS, seconds
from safety_supervisor.messages import PLAN_TYPES, TYPES, normalised
from safety_supervisor.replay.bag import Bag, open_bags
from safety_supervisor.replay.inputs import Options, add_input_arguments, grouped, parameter_set
from safety_supervisor.replay.mapping import Mapping, load_mapping, suggest, to_text
from safety_supervisor.replay.replay import Wiring, wire
from safety_supervisor.replay.results import why_ignored
from safety_supervisor.replay.salvage import Record

GAP_FACTOR = 3.0
"""A pause of more than this many usual periods is a gap."""
GAP_MIN = 0.05
"""Shorter pauses are jitter [s]."""
SHOWN = 5
"""Gaps and jumps that are listed of one topic; all are counted."""
HEADER = "std_msgs/msg/Header"


@dataclass(slots=True)
class Stream:
    """Times of one topic."""

    logged: array[int] = field(default_factory=lambda: array("q"))
    stamped: array[int] = field(default_factory=lambda: array("q"))
    """Header stamps; empty for types without header."""
    frames: set[str] = field(default_factory=set)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor inspect`."""
    parser.add_argument("bags", metavar="BAG", type=Path, nargs="+", help="as for replay")
    add_input_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--suggest", metavar="FILE", type=Path, help="write the suggested mapping to a new file")


def run(args: argparse.Namespace) -> int:
    """Inspect recordings; 0 whatever is found in them."""
    if args.suggest is not None and args.suggest.exists():
        raise FileExistsError(17, "exists already, expected a new file for the mapping", str(args.suggest))
    options = Options(args.config, args.set, mapping=args.mapping)
    reports = []
    for group in grouped(args.bags):
        with open_bags(group) as bag:
            reports.append(inspect(bag, options))
    if args.json:
        print(json.dumps(reports[0] if len(reports) == 1 else reports, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n\n".join("\n".join(lines(report)) for report in reports))
    if args.suggest is not None:
        joined = [report["mapping"] for report in reports]
        merged = Mapping({k: v for m in joined for k, v in m["topics"].items()},
                         {k: v for m in joined for k, v in m["frames"].items()})  # fmt: skip
        some = bool(merged.topics or merged.frames)
        args.suggest.write_text(to_text(merged) if some else "topics: {}\n")
        if not args.json:
            print(f"\nwritten {args.suggest}" + ("" if some else ": empty, no topic or frame needs another meaning"))
    return 0


def inspect(bag: Bag, options: Options) -> dict[str, Any]:
    """Return what there is to say about a recording, JSON-ready; docs/formats.md describes every key."""
    mapping = load_mapping(options.mapping) if options.mapping else Mapping()
    config, source, notes = parameter_set(bag, options, mapping)
    wiring = wire(bag, config, mapping)
    streams = _streams(bag)
    suggested = suggest(bag, config, wiring.names)
    limit = round(config.health.clock_jump * NANOSECONDS)
    topics = [_topic(bag, t.name, streams.get(t.name, Stream()), wiring, mapping) for t in bag.topics]
    missing = _missing(bag, wiring, suggested, options.config is not None)
    return {
        "bag": bag.name,
        "recovered": bag.recovered,
        "notes": [*bag.notes, *wiring.notes, *notes],
        "start": bag.start,
        "end": bag.end,
        "duration_s": round(bag.duration, 3),
        "messages": sum(t.count for t in bag.topics),
        "config": source,
        "topics": topics,
        "silences": _silences(bag, streams, limit),
        "clock_jumps": [
            *_set_clocks(bag, limit),
            *(jump for name, s in sorted(streams.items()) for jump in _jumps(bag, name, s, limit)),
        ],
        "missing": missing,
        "full_judgement": not any(m["needed"] for m in missing),
        "mapping": {"topics": dict(suggested.topics), "frames": dict(suggested.frames)},
    }


def _streams(bag: Bag) -> dict[str, Stream]:
    """Read the times of every message, without decoding more than its header."""
    streams: dict[str, Stream] = {}
    stamped: dict[tuple[str, bool], bool] = {}
    for record in bag.records():
        key = (record.msgtype, record.ros1)
        if key not in stamped:
            fields = bag.definition(*key)
            stamped[key] = bool(fields) and int(fields[0][1][0]) == 2 and fields[0][1][1] == HEADER
        stream = streams.setdefault(record.topic, Stream())
        stream.logged.append(record.t)
        if stamped[key]:
            _add_header(stream, record)
    return streams


def _add_header(stream: Stream, record: Record) -> None:
    """Stamp and frame stand at the same offsets in both encodings; a record too short for them is left out."""
    order = "<" if record.ros1 or record.data[1:2] in (b"\x01", b"\x03") else ">"
    try:
        sec, nanosec, length = struct.unpack_from(order + ("IiI" if record.ros1 else "iII"), record.data, 4)
    except struct.error:
        return
    if record.ros1:
        sec, nanosec = struct.unpack_from("<II", record.data, 4)
    stream.stamped.append(sec * NANOSECONDS + nanosec)
    if length < 256 and len(stream.frames) < 9:
        stream.frames.add(bytes(record.data[16 : 16 + length]).rstrip(b"\0").decode(errors="replace"))


# --- one topic ------------------------------------------------------------------------------------------------


def _topic(bag: Bag, name: str, stream: Stream, wiring: Wiring, mapping: Mapping) -> dict[str, Any]:
    topic = bag.topic(name)
    assert topic is not None
    used = wiring.used_as.get(name)
    steps = np.diff(np.frombuffer(stream.logged, np.int64)) if len(stream.logged) > 1 else np.zeros(0, np.int64)
    mean = seconds(topic.last - topic.first) / (topic.count - 1) if len(steps) and topic.count > 1 else 0.0
    # Messages that come in bursts have next to no usual period of their own.
    period = max(seconds(int(np.median(steps))), mean / 2) if mean else None
    return {
        "topic": name,
        "type": topic.msgtype,
        "count": topic.count,
        "readable": topic.readable,
        "used_as": used,
        "why_not": None if used else why_ignored(name, not topic.readable, mapping),
        "rate_hz": round(1 / mean, 3) if mean else None,
        "first_s": round(seconds(topic.first - bag.start), 3) if topic.count else None,
        "last_s": round(seconds(topic.last - bag.start), 3) if topic.count else None,
        "gap_max_s": round(seconds(int(steps.max())), 3) if len(steps) else None,
        **_gaps(bag, stream, steps, period),
        "frames": sorted(stream.frames),
        "stamp_age_s": _ages(stream),
    }


def _gaps(bag: Bag, stream: Stream, steps: Any, period: float | None) -> dict[str, Any]:
    if period is None:
        return {"gaps": [], "gap_count": 0}
    limit = max(GAP_FACTOR * period, GAP_MIN) * NANOSECONDS
    at = np.flatnonzero(steps > limit)
    worst = sorted(at[np.argsort(-steps[at], kind="stable")][:SHOWN])
    listed = [
        {"at_s": round(seconds(stream.logged[i] - bag.start), 3), "seconds": round(seconds(int(steps[i])), 3)}
        for i in map(int, worst)
    ]
    return {"gaps": listed, "gap_count": len(at)}


def _ages(stream: Stream) -> dict[str, float] | None:
    """How old a message is by its stamp when it is recorded: what the envelope has to add as latency."""
    if not stream.stamped or len(stream.stamped) != len(stream.logged):
        return None
    age = (np.frombuffer(stream.logged, np.int64) - np.frombuffer(stream.stamped, np.int64)) / NANOSECONDS
    values = {"min": age.min(), "median": np.median(age), "max": age.max()}
    return {name: round(float(value), 6) for name, value in values.items()}


def _jumps(bag: Bag, name: str, stream: Stream, limit: int) -> Iterator[dict[str, Any]]:
    """Yield where the clock of the stamps runs away from that of the recorder between two messages."""
    if len(stream.stamped) < 2 or len(stream.stamped) != len(stream.logged):
        return
    logged, stamped = np.frombuffer(stream.logged, np.int64), np.frombuffer(stream.stamped, np.int64)
    apart = np.diff(stamped) - np.diff(logged)
    for i in np.flatnonzero(np.abs(apart) > limit)[:SHOWN]:
        step = round(seconds(int(apart[i])), 3)
        yield {
            "topic": name,
            "kind": "stamps",
            "at_s": round(seconds(int(logged[i + 1]) - bag.start), 3),
            "seconds": step,
            "text": f"stamps jump by {step:+.3f} s against the recording's clock",
        }


def _set_clocks(bag: Bag, limit: int) -> Iterator[dict[str, Any]]:
    """Yield where the recorder's own clock went back, or forward over a silence, in the order of writing."""
    before: int | None = None
    for t in bag.written():
        step = t - before if before is not None else 0
        if abs(step) > limit:
            length = round(seconds(abs(step)), 3)
            forward = f"nothing was recorded for {length:.3f} s, or the recorder's clock was set forward"
            yield {
                "topic": None,
                "kind": "forward" if step > 0 else "backward",
                "at_s": round(seconds((before or 0) - bag.start), 3),
                "seconds": round(seconds(step), 3),
                "text": forward if step > 0 else f"the recorder's clock was set back by {length:.3f} s",
            }
        before = t


def _silences(bag: Bag, streams: dict[str, Stream], limit: int) -> list[dict[str, float]]:
    """List the times in which nothing at all was recorded."""
    every = np.sort(np.concatenate([np.frombuffer(s.logged, np.int64) for s in streams.values()]))
    steps = np.diff(every)
    return [
        {"at_s": round(seconds(int(every[i]) - bag.start), 3), "seconds": round(seconds(int(steps[i])), 3)}
        for i in np.flatnonzero(steps > limit)
    ]


# --- what is missing ------------------------------------------------------------------------------------------


def _missing(bag: Bag, wiring: Wiring, suggested: Mapping, has_file: bool) -> list[dict[str, Any]]:
    """List what a full judgement needs and this recording does not give, each with what could serve instead."""
    by_input = {to: f"/{name.lstrip('/')}" for name, to in suggested.topics.items()}
    found = [
        {"input": m["input"], "topic": m["topic"], "why": m["why"], "needed": True,
         "suggestion": by_input.get(m["input"])}
        for m in wiring.missing
    ]  # fmt: skip
    roles = set(wiring.used_as.values())
    named = {m["input"] for m in found}

    def lacks(name: str, why: str, needed: bool) -> None:
        if name not in named:
            found.append({"input": name, "topic": None, "why": why, "needed": needed,
                          "suggestion": by_input.get(name)})  # fmt: skip

    if roles.isdisjoint({"odometry", "twist"}):
        lacks("odometry", "no nav_msgs/Odometry: without ego's motion nothing can be judged", True)
    if "plan" not in roles:
        kinds = " or ".join(PLAN_TYPES)
        lacks("plan", f"no {kinds}: only the extrapolation of the present motion can be judged", True)
    if not any(role.startswith("sensor ") for role in roles):
        lacks("radar", f"no {' or '.join(TYPES['radar'])} with a Doppler field, and no ultrasonics", True)
    if "driver" not in roles:
        lacks("driver", "no driver takeover: who drove is not known, the policy is taken to have driven", False)
    if not has_file:
        lacks("vehicle file", "body, brakes and thresholds are defaults, name the vehicle's own with --config", True)
    if bag.recovered:
        lacks("whole recording", "the recording is damaged, what is missing in it is unknown", True)
    return found


# --- text -----------------------------------------------------------------------------------------------------


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report as text for a terminal."""
    yield f"{report['bag']}: {report['messages']} messages in {report['duration_s']:.1f} s"
    if report["recovered"]:
        yield "  recovered: true"
    yield f"  parameter set: {report['config']}"
    for note in report["notes"]:
        yield f"  {note}"
    yield ""
    yield from _table(report["topics"])
    for title, entries in (
        ("gaps", [_gap_line(t) for t in report["topics"] if t["used_as"] and t["gap_count"]]),
        ("nothing recorded", [f"{s['at_s']:.3f} s: {s['seconds']:.3f} s long" for s in report["silences"]]),
        ("clock jumps", [_jump_line(jump) for jump in report["clock_jumps"]]),
        ("missing", [_missing_line(m) for m in report["missing"]]),
    ):
        yield from ("", f"{title}: {'none' if not entries else ''}".rstrip(), *(f"  {entry}" for entry in entries))
    yield ""
    yield f"full judgement possible: {'yes' if report['full_judgement'] else 'no'}"
    mapping = Mapping(**report["mapping"])
    if mapping.topics or mapping.frames:
        yield from ("", "suggested mapping (--suggest FILE writes it, --mapping FILE uses it):")
        yield from (f"  {line}" for line in to_text(mapping).splitlines())


def _gap_line(topic: dict[str, Any]) -> str:
    shown = ", ".join(f"{gap['seconds']:.3f} s at {gap['at_s']:.3f} s" for gap in topic["gaps"])
    more = topic["gap_count"] - len(topic["gaps"])
    return f"{topic['topic']}: {shown}{f' and {more} more' if more else ''}"


def _jump_line(jump: dict[str, Any]) -> str:
    return f"{jump['at_s']:.3f} s: {jump['topic'] or 'recording'}: {jump['text']}"


def _missing_line(entry: dict[str, Any]) -> str:
    mark = "" if entry["needed"] else " (optional)"
    hint = f"; could be {entry['suggestion']}" if entry["suggestion"] else ""
    topic = f" ({normalised(entry['topic'])})" if entry["topic"] else ""
    return f"{entry['input']}{topic}{mark}: {entry['why']}{hint}"


def _table(topics: Sequence[dict[str, Any]]) -> Iterator[str]:
    head = ("topic", "type", "count", "Hz", "longest gap", "stamp age", "used as")
    rows = [head]
    for t in topics:
        age = t["stamp_age_s"]
        rows.append((
            t["topic"], t["type"].replace("/msg/", "/"), str(t["count"]),
            "" if t["rate_hz"] is None else f"{t['rate_hz']:.1f}",
            "" if t["gap_max_s"] is None else f"{t['gap_max_s']:.3f} s",
            "" if age is None else f"{age['median'] * 1e3:.1f} ms",
            t["used_as"] or f"- {t['why_not']}",
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        yield "  ".join(cell.rjust(w) if 2 <= i <= 5 else cell.ljust(w) for i, (cell, w) in
                        enumerate(zip(row, widths, strict=True))).rstrip()  # fmt: skip
