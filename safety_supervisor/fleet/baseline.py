"""The regression gate: which interventions differ between two fleet runs over the same recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safety_supervisor.fleet.store import check_run
from safety_supervisor.replay import tables

Row = dict[str, Any]
Key = tuple[str, str]


def changes(old: Path, new: Path, tolerance: float) -> list[Row]:
    """Return every change from run `old` to run `new`, as `{bag, parameters, change, text}`; times may differ by
    `tolerance` [s].

    A recording or parameter set that the old run had and the new one has not is a change, for nobody knows what
    happened to it; one that only the new run has is none. Raises `FleetError` when one of the folders holds no run.
    """
    check_run(old)
    check_run(new)
    before, after = _runs(old), _runs(new)
    was, now = _interventions(old), _interventions(new)
    found = []
    for key in sorted(before):
        for change, text in _changed(before[key], after.get(key), was.get(key, []), now.get(key, []), tolerance):
            found.append({"bag": key[0], "parameters": key[1], "change": change, "text": text})
    return found


def _runs(folder: Path) -> dict[Key, Row]:
    return {(row["bag"], row["parameters"]): row for row in tables.read(folder / "runs.parquet")}


def _interventions(folder: Path) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = {}
    for row in tables.read(folder / "interventions.parquet"):
        found.setdefault((row["bag"], row["parameters"]), []).append(row)
    return found


def _changed(
    before: Row, after: Row | None, was: Sequence[Row], now: Sequence[Row], tolerance: float
) -> Iterator[tuple[str, str]]:
    if after is None:
        yield "missing", "is not in this run"
    elif after["status"] != before["status"]:
        yield "status", f"was {before['status']}, is {after['status']} ({after['error'] or before['error']})"
    else:
        yield from compared(was, now, tolerance)


def compared(was: Sequence[Row], now: Sequence[Row], tolerance: float) -> Iterator[tuple[str, str]]:
    """Yield (kind, words) for each intervention that is gone, new, moved or of another mode or reason."""
    left = list(now)
    for old in was:
        new = min((row for row in left if _meet(old, row, tolerance)), key=lambda row: _apart(old, row), default=None)
        if new is None:
            yield "gone", f"{_words(old)} is gone"
            continue
        left.remove(new)
        if (old["mode"], old["code"]) != (new["mode"], new["code"]):
            yield "changed", f"{_words(old)} is now {_words(new)}"
        elif abs(old["start_s"] - new["start_s"]) > tolerance or abs(old["end_s"] - new["end_s"]) > tolerance:
            yield "moved", f"{_words(old)} is now {new['start_s']:.2f} s to {new['end_s']:.2f} s"
    for new in left:
        yield "new", f"{_words(new)} is new"


def _meet(a: Row, b: Row, tolerance: float) -> bool:
    return bool(a["start_s"] <= b["end_s"] + tolerance and b["start_s"] <= a["end_s"] + tolerance)


def _apart(a: Row, b: Row) -> tuple[float, float]:
    return abs(a["start_s"] - b["start_s"]), abs(a["end_s"] - b["end_s"])


def _words(row: Row) -> str:
    return f"{row['mode']} for {row['code'] or 'no reason'}, {row['start_s']:.2f} s to {row['end_s']:.2f} s,"
