"""The rows of a run as a file: Parquet where pyarrow is installed, CSV otherwise."""

from __future__ import annotations

import csv
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safety_supervisor.scenarios.suites.suite import Row


def write(rows: Sequence[Row], stem: Path) -> Path:
    """Write `stem`.parquet or `stem`.csv, whole or not at all, and return its path; the other one is taken away."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    arrow = _library("pyarrow")
    parquet, text = stem.with_name(stem.name + ".parquet"), stem.with_name(stem.name + ".csv")
    path, other = (parquet, text) if arrow else (text, parquet)
    draft = path.with_name(path.name + ".part")
    try:
        if arrow:
            importlib.import_module("pyarrow.parquet").write_table(arrow.Table.from_pylist(_columns(rows)), draft)
        else:
            _csv(rows, draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    other.unlink(missing_ok=True)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a written file; of a CSV file as texts."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = importlib.import_module("pyarrow.parquet").read_table(path).to_pylist()
        return rows
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for r in rows for key in r))


def _columns(rows: Sequence[Row]) -> list[Row]:
    names = _names(rows)
    return [{name: r.get(name) for name in names} for r in rows]


def _csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _names(rows), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
