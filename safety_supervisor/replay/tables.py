"""Tables as CSV and Parquet files: declared columns, rows as mappings, files that appear only when complete."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Columns = Mapping[str, str]
"""Column -> kind: `text`, `int`, `float`, `bool`, or a list of one of them: `texts`."""
Row = Mapping[str, Any]

CHUNK = 50_000
"""Rows that are held in memory at a time."""


class TableError(Exception):
    """A table that cannot be written; one line."""


def write(path: Path, columns: Columns, rows: Iterable[Row], form: str) -> int:
    """Write rows as `csv` or `parquet`, in their order; return their number. What a row does not name is null."""
    part = path.with_name(path.name + ".part")
    try:
        n = _parquet(part, columns, rows) if form == "parquet" else _csv(part, columns, rows)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return n


def require_parquet() -> None:
    """Raise `TableError` in one line when there is no library for Parquet."""
    if importlib.util.find_spec("pyarrow") is None:
        raise TableError(
            "Parquet needs the Python package 'pyarrow', which is not installed: "
            "pip install 'safety_supervisor[fleet]'"
        )


def _csv(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    n = 0
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        for row in rows:
            out.writerow([_cell(row.get(name)) for name in columns])
            n += 1
    return n


def _cell(value: Any) -> Any:
    """Return a value as CSV holds it: lists as JSON, booleans in small letters, null as nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _parquet(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    require_parquet()
    import pyarrow as pa
    from pyarrow import parquet

    plain = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    kinds = {**plain, **{f"{kind}s": pa.list_(of) for kind, of in plain.items()}}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    n = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as out:
        for chunk in _chunks(rows):
            # A text from outside may hold half a surrogate pair, which Parquet refuses.
            clean = [{name: _valid(row.get(name)) for name in columns} for row in chunk]
            out.write_table(pa.Table.from_pylist(clean, schema))
            n += len(chunk)
    return n


def _valid(value: Any) -> Any:
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _chunks(rows: Iterable[Row]) -> Iterable[Sequence[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file. Raises `TableError`."""
    require_parquet()
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())[:160]})") from None
    return rows
