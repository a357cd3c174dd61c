"""The matrix as data and as a table: one row a cell, with detection time, reaction and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from safety_supervisor.campaign import stated
from safety_supervisor.campaign.faults import FAULTS
from safety_supervisor.campaign.matrix import SITUATIONS, Cell, Observed, inapplicable
from safety_supervisor.core.world import Mode

WHAT = {fault.name: fault.what for fault in FAULTS}


def record(cell: Cell, runs: Sequence[Observed]) -> dict[str, Any]:
    """Return one cell as JSON-ready data; `holds` is the verdict on it."""
    why = inapplicable(cell)
    row: dict[str, Any] = {"input": cell.source, "family": cell.family, "fault": cell.fault,
                           "what": WHAT[cell.fault], "applies": why is None, "reason": why}  # fmt: skip
    if why is not None or not runs:
        return row
    hit = [run for run in runs if run.collides]
    late = [run for run in runs if run.nominal_too_long]
    exception = stated.EXCEPTIONS.get((cell.family, cell.fault))
    times = [run.detected for run in runs if run.detected is not None]
    row |= {
        "stated_s": max((run.stated for run in runs if run.stated is not None), default=None),
        "unstated": stated.reason(cell.family, cell.fault),
        "detection_s": max(times, default=None),
        "detected": f"{len(times)} of {len(runs)}",
        "findings": sorted({run.finding for run in runs if run.finding}),
        "reaction": max((run.reaction for run in runs), key=lambda name: int(Mode[name])),
        "collisions": len(hit),
        "exception": exception if hit else None,
        "nominal_too_long": len(late),
        "holds": not late and (not hit or exception is not None),
        "runs": [asdict(run) for run in runs],
    }
    return row


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of a matrix."""
    tried = [row for row in rows if "runs" in row]
    return {
        "cells": len(rows),
        "cells_tried": len(tried),
        "cells_inapplicable": sum(not row["applies"] for row in rows),
        "runs": sum(len(row["runs"]) for row in tried),
        "collisions": sum(row["collisions"] for row in tried),
        "collisions_admitted": sum(row["collisions"] for row in tried if row["exception"]),
        "nominal_too_long": sum(row["nominal_too_long"] for row in tried),
        "failing": [f"{row['input']}:{row['fault']}" for row in tried if not row["holds"]],
    }


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the matrix as Markdown tables, one an input."""
    text: list[str] = []
    for source in dict.fromkeys(row["input"] for row in rows):
        tried = [row for row in rows if row["input"] == source and ("runs" in row or not row["applies"])]
        if tried:
            text += ["", f"## {source}", "", "| fault | detected [s] | stated [s] | reaction | collisions | note |",
                     "|---|---|---|---|---|---|", *map(_line, tried)]  # fmt: skip
    return text


def _line(row: Mapping[str, Any]) -> str:
    if not row["applies"]:
        return f"| {row['fault']} | | | | | does not apply: {row['reason']} |"
    found = f"{row['detection_s']:.2f} ({row['detected']})" if row["detection_s"] is not None else "never"
    said = "none" if row["stated_s"] is None else f"{row['stated_s']:.2f}"
    notes = [row["unstated"] or "", row["exception"] or "", "" if row["holds"] else "**does not hold**"]
    note = "; ".join(note for note in notes if note)
    return f"| {row['fault']} | {found} | {said} | {row['reaction']} | {row['collisions']} | {note} |"


def situations() -> list[str]:
    """Return the stratified set, one line each."""
    return [f"{s.stratum}: {s.scenario}, fault " + (f"{s.before:g} s before the first stop" if s.before else "early")
            for s in SITUATIONS]  # fmt: skip
