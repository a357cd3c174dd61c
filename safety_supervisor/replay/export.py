"""The verb `export`: decisions, tracks and occurrences of a replay as CSV or Parquet tables (docs/formats.md)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safety_supervisor import __version__
from safety_supervisor.core.world import seconds
from safety_supervisor.replay import events, tables
from safety_supervisor.replay.tables import TableError

FORMS = ("csv", "parquet")
NAMES = ("decisions", "tracks", "events")
Record = dict[str, Any]

EGO = ("x", "y", "yaw", "speed", "yaw_rate")
DECISIONS = {
    "t": "int", "at_s": "float", "mode": "text", "verdict": "text", "margin_m": "float", "clear": "bool",
    "track": "int", "lead": "int", "code": "text", "reason": "text", "codes": "texts", "severity": "text",
    "findings": "texts", "warn": "bool", "plan_source": "text", "speed_cap": "float", "acceleration": "float",
    "curvature": "float", "hazard_lights": "bool", "takeover_request": "bool", "hold": "bool", "driver": "bool",
    "half_width": "float", **{f"ego_{name}": "float" for name in EGO}, "messages": "int", "config": "text",
    "certificate": "text",
}  # fmt: skip
"""Columns of the decisions; a column `margin_<rule>_m` for each rule follows."""
THREAT = ("gap", "lateral", "closing_speed", "margin", "required", "ttc")
TRACKS = {
    "t": "int", "at_s": "float", "id": "int", "x": "float", "y": "float", "vx": "float", "vy": "float",
    "existence": "float", "moved": "bool", **dict.fromkeys(THREAT, "float"), "demand": "text", "code": "text",
}  # fmt: skip
PLAIN = (
    "t", "mode", "verdict", "margin_m", "clear", "track", "lead", "warn", "plan_source", "speed_cap", "acceleration",
    "curvature", "hazard_lights", "takeover_request", "hold", "driver", "half_width", "config", "certificate",
)  # fmt: skip
"""What stands in a decision under the same name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor export`."""
    parser.add_argument("results", metavar="RESULTS", type=Path, help="what `replay` wrote: folder or decisions.jsonl")
    parser.add_argument("--form", choices=FORMS, default="csv", help="csv (default) or parquet")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for the tables (default: that of the results)")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    """Write the tables; 0 when they are there."""
    file = args.results / "decisions.jsonl" if args.results.is_dir() else args.results
    out = args.out or file.parent
    counts = export(file, out, args.form)
    if not args.quiet:
        for name, n in counts.items():
            print(f"{out / f'{name}.{args.form}'}: {n} rows")
    return 0


def export(file: Path, out: Path, form: str) -> dict[str, int]:
    """Write the tables of a decisions.jsonl into a folder; return their rows.

    Raises `TableError` or `OSError`, each with a text of one line.
    """
    if form == "parquet":
        tables.require_parquet()
    if not file.is_file():
        raise TableError(f"{file}: no such file, expected what `safety-supervisor replay` wrote")
    rules, first = _surveyed(file)
    columns = DECISIONS | {f"margin_{rule}_m": "float" for rule in rules}
    out.mkdir(parents=True, exist_ok=True)
    decisions = (_decision(record, first) for record in records(file))
    tracks = (row for record in records(file) for row in _tracks(record, first))
    occurrences = events.events(records(file), f"safety_supervisor {_software(file)}")
    wanted = ((columns, decisions), (TRACKS, tracks), (events.COLUMNS, occurrences))
    return {
        name: tables.write(out / f"{name}.{form}", kinds, rows, form)
        for name, (kinds, rows) in zip(NAMES, wanted, strict=True)
    }


def records(file: Path) -> Iterator[Record]:
    """Yield the decisions of a file. Raises `TableError` at what is none."""
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                _ = record["t"] + 0, record["mode"], record["reasons"], record["tracks"], record["health"]["severity"]
            except (ValueError, KeyError, TypeError, RecursionError):
                raise TableError(f"{file}: line {number} is no decision, expected a decisions.jsonl") from None
            yield record


def _surveyed(file: Path) -> tuple[Sequence[str], int]:
    """Return every rule that has a margin, and the time of the first decision."""
    rules: dict[str, None] = {}
    first = None
    for record in records(file):
        first = record["t"] if first is None else first
        rules.update(dict.fromkeys(record.get("margins", {})))
    if first is None:
        raise TableError(f"{file}: holds no decisions")
    return sorted(rules), first


def _software(file: Path) -> str:
    """Return the version that decided: that of the summary beside the decisions, else ours."""
    try:
        summary = json.loads((file.parent / "summary.json").read_text(encoding="utf-8"))
        return str(summary["versions"]["safety_supervisor"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return __version__


def _at(record: Record, first: int) -> float:
    return round(seconds(record["t"] - first), 3)


def _decision(record: Record, first: int) -> Record:
    reasons, ego = record["reasons"], record["ego"] or {}
    strongest = reasons[0] if reasons else {}
    return {
        **{name: record.get(name) for name in PLAIN},
        "at_s": _at(record, first),
        "code": strongest.get("code"),
        "reason": strongest.get("text"),
        "codes": [reason["code"] for reason in reasons],
        "severity": record["health"]["severity"],
        "findings": [f"{f['code']} {f['source']}: {f['text']}" for f in record["health"]["findings"]],
        **{f"ego_{name}": ego.get(name) for name in EGO},
        "messages": sum(record["consumed"].values()),
        **{f"margin_{rule}_m": margin for rule, margin in record.get("margins", {}).items()},
    }


def _tracks(record: Record, first: int) -> Iterator[Record]:
    """Yield the tracks of one tick; those that explain the decision with how they stand to the plan."""
    threats = {threat["track"]: threat for threat in reversed(record["threats"])}
    for row in record["tracks"]:
        threat = threats.get(row[0], {})
        values = dict(zip(("id", "x", "y", "vx", "vy", "existence", "moved"), row, strict=False))
        judged = {name: threat.get(name) for name in (*THREAT, "demand", "code")}
        yield {"t": record["t"], "at_s": _at(record, first), **values, **judged}
