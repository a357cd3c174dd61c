"""Occurrences of a drive as a data storage system for automated driving (DSSAD) keeps them, from the decisions.

UN Regulation No. 157 (OJ L 82, 9.3.2021, p. 75), section 8: an entry for each activation, deactivation, transition
demand, emergency manoeuvre, minimal-risk manoeuvre and severe failure (8.2.1), with what happened, why, date, time
(8.3.1), the software that was present (8.3.2) and its place in the order of entries, which a time alone does not tell
(8.3.3). What the supervisor cannot see has no entry: reduced driver input, the trigger of an event data recorder, a
collision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from safety_supervisor.core.world import Code, Mode, seconds

Record = dict[str, Any]
"""A line of decisions.jsonl."""

CLAUSES = {
    "activation": "8.2.1 (a)",
    "deactivation": "8.2.1 (b)",
    "transition demand": "8.2.1 (c)",
    "end of transition demand": "",
    "start of emergency manoeuvre": "8.2.1 (e)",
    "end of emergency manoeuvre": "8.2.1 (f)",
    "start of minimal-risk manoeuvre": "8.2.1 (i)",
    "end of minimal-risk manoeuvre": "",
    "severe failure": "8.2.1 (j)",
    "severe vehicle failure": "8.2.1 (k)",
}
"""Occurrence -> paragraph of the regulation that asks for it; what has none completes a pair."""

COLUMNS = {
    "order": "int", "t": "int", "at_s": "float", "date": "text", "time": "text", "occurrence": "text", "clause": "text",
    "code": "text", "reason": "text", "mode": "text", "speed": "float", "x": "float", "y": "float", "yaw": "float",
    "software": "text", "config": "text", "certificate": "text",
}  # fmt: skip
EMERGENCY = (Mode.EMERGENCY_STOP.name, Mode.UNABLE.name)


@dataclass(frozen=True, slots=True)
class Status:
    """What an occurrence is a change of."""

    active: bool
    driver: bool
    demand: bool
    emergency: bool
    manoeuvre: bool
    standing: bool
    blind: bool
    brakes_fail: bool


IDLE = Status(*[False] * 8)


def status(record: Record) -> Status:
    """Return the status at one tick; a manoeuvre lasts until standstill, an emergency until ego has stopped."""
    mode = Mode[record["mode"]]
    standing = mode is Mode.STANDSTILL
    codes = {finding["code"] for finding in record["health"]["findings"]}
    return Status(
        mode is not Mode.INIT and not record["driver"], bool(record["driver"]), bool(record["takeover_request"]),
        mode.name in EMERGENCY, mode.brakes and not standing, standing, record["health"]["severity"] == "BLIND",
        Code.BRAKE_SHORTFALL.name in codes,
    )  # fmt: skip


def events(records: Iterable[Record], software: str) -> Iterator[dict[str, Any]]:
    """Yield one row per occurrence, in order and numbered from 1; `software` is the version that decided."""
    before, first, order = IDLE, None, 0
    for record in records:
        first = record["t"] if first is None else first
        now = status(record)
        for occurrence, why in _changes(before, now, record):
            order += 1
            yield {"order": order, **_row(record, occurrence, why, first, software)}
        before = now


def _changes(a: Status, b: Status, record: Record) -> Iterator[tuple[str, str]]:
    """Yield (occurrence, reason in words, empty for the reason of the decision); ends come before starts."""
    if a.emergency and not b.emergency:
        yield "end of emergency manoeuvre", _end(b)
    if a.manoeuvre and not b.manoeuvre:
        yield "end of minimal-risk manoeuvre", _end(b)
    if a.demand and not b.demand:
        yield "end of transition demand", _end(b)
    if a.active and not b.active:
        yield "deactivation", "the driver has taken over" if b.driver else ""
    if b.active and not a.active:
        yield "activation", "handed back by the driver" if a.driver else "all expected inputs are there"
    if b.blind and not a.blind:
        yield "severe failure", _findings(record)
    if b.brakes_fail and not a.brakes_fail:
        yield "severe vehicle failure", _findings(record, Code.BRAKE_SHORTFALL.name)
    if b.demand and not a.demand:
        yield "transition demand", ""
    if b.manoeuvre and not a.manoeuvre:
        yield "start of minimal-risk manoeuvre", ""
    if b.emergency and not a.emergency:
        yield "start of emergency manoeuvre", ""


def _findings(record: Record, code: str = "") -> str:
    return "; ".join(f["text"] for f in record["health"]["findings"] if code in ("", f["code"]))


def _end(now: Status) -> str:
    if now.driver:
        return "the driver has taken over"
    return "ego stands" if now.standing else "a milder manoeuvre goes on" if now.manoeuvre else "the hazard has gone"


def _row(record: Record, occurrence: str, why: str, first: int, software: str) -> dict[str, Any]:
    reasons, ego = record["reasons"], record["ego"] or {}
    told = not why and reasons
    at = datetime.fromtimestamp(record["t"] // 10**9, timezone.utc)
    return {
        "t": record["t"], "at_s": round(seconds(record["t"] - first), 3), "date": at.strftime("%Y/%m/%d"),
        "time": at.strftime("%H:%M:%S+00:00"), "occurrence": occurrence, "clause": CLAUSES[occurrence],
        "code": reasons[0]["code"] if told else None, "reason": reasons[0]["text"] if told else why,
        "mode": record["mode"],
        **{name: ego.get(name) for name in ("speed", "x", "y", "yaw")},
        "software": software, "config": record["config"], "certificate": record["certificate"],
    }  # fmt: skip
