"""What people know about recordings: whether an intervention was needed. A CSV file of `bag, start_s, end_s, needed`.

Empty times stand for the whole recording. The last line that covers an intervention counts. Without labels the truth of
simulated runs is used, which carry it; for all other interventions nobody knows.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safety_supervisor.fleet.errors import FleetError
from safety_supervisor.fleet.work import Result

COLUMNS = ("bag", "start_s", "end_s", "needed")
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Label:
    """One line of the file."""

    bag: str
    start: float
    end: float
    needed: bool


def load(path: Path) -> list[Label]:
    """Read a file of labels. Raises `FleetError`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise FleetError(f"{path}: no column {missing[0]!r}, expected {', '.join(COLUMNS)}")
        return [_label(path, number, row) for number, row in enumerate(rows, 2)]


def _label(path: Path, number: int, row: dict[str, str | None]) -> Label:
    text = {name: (row[name] or "").strip() for name in COLUMNS}
    needed = WORDS.get(text["needed"].lower())
    if needed is None:
        raise FleetError(f"{path}: line {number}: needed is {text['needed']!r}, expected true or false")
    try:
        start = float(text["start_s"]) if text["start_s"] else -math.inf
        end = float(text["end_s"]) if text["end_s"] else math.inf
    except ValueError:
        raise FleetError(f"{path}: line {number}: start_s and end_s must be seconds or empty") from None
    if not start <= end:
        raise FleetError(f"{path}: line {number}: start_s {start:g} is not before end_s {end:g}")
    return Label(text["bag"], start, end, needed)


def apply(labels: Sequence[Label], results: Sequence[Result]) -> int:
    """Enter the labels into the interventions they cover; return how many labels name no recording of the run."""
    bags = {result["run"]["bag"] for result in results}
    for row in (row for result in results for row in result["interventions"]):
        for label in labels:
            if label.bag == row["bag"] and label.start <= row["end_s"] and row["start_s"] <= label.end:
                row["needed"] = label.needed
    return sum(label.bag not in bags for label in labels)
