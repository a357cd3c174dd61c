"""The verb `ask`: a question to the tables of fleet runs, ready-made or in SQL, answered by DuckDB."""

from __future__ import annotations

import argparse
import csv
import difflib
import json
import math
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from safety_supervisor.fleet.errors import FleetError, require
from safety_supervisor.fleet.questions import QUESTIONS
from safety_supervisor.fleet.store import COLUMNS, MANIFEST, check_run

Row = tuple[Any, ...]
WIDTH_MAX = 60
"""Characters of a text that are printed in a table; --csv and --json have all of it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor ask`."""
    names = ", ".join(QUESTIONS)
    parser.add_argument("question", metavar="SQL", nargs="?", help=f"SQL over {', '.join(COLUMNS)}; or one of {names}")
    which = "results of `fleet` (default: fleet, or the only ones in this folder); several are asked together"
    parser.add_argument("--run", metavar="DIR", type=Path, action="append", help=which)
    parser.add_argument("--list", action="store_true", help="list the ready-made questions and the tables")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="of `trade-off`: draw it (.png, .svg or .pdf)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--json", action="store_true", help="print a list of JSON objects")


def run(args: argparse.Namespace) -> int:
    """Answer; 0 when there is an answer."""
    if args.list:
        _list()
        return 0
    if not args.question:
        raise FleetError("nothing is asked: expected SQL or one of " + ", ".join(QUESTIONS))
    require("ask", "duckdb")
    if args.picture and args.question != "trade-off":
        raise FleetError("--picture draws the answer to `trade-off`, ask that")
    names, rows = answer(args.question, args.run or [present_run()])
    if args.picture:
        from safety_supervisor.fleet.picture import draw

        draw([dict(zip(names, row, strict=True)) for row in rows], args.picture)
    form = _as_json if args.json else _as_csv if args.csv else _as_table
    form(names, rows)
    return 0


def present_run() -> Path:
    """Return the run that is meant when none is named: this folder, `fleet`, or the only one in this folder."""
    here = Path()
    for folder in (here, here / "fleet"):
        if (folder / MANIFEST).is_file():
            return folder
    found = sorted(file.parent for file in here.glob(f"*/{MANIFEST}"))
    if len(found) > 1:
        raise FleetError(f"several runs are here ({', '.join(map(str, found[:4]))}), name one with --run")
    return found[0] if found else Path("fleet")


def answer(question: str, folders: Sequence[Path]) -> tuple[list[str], list[Row]]:
    """Return the columns and rows of the answer to a ready-made question or to SQL. Raises `FleetError`."""
    import duckdb

    for folder in folders:
        check_run(folder)
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise FleetError("--run names the same folder twice: everything would count twice")
    sql = QUESTIONS[question].sql if question in QUESTIONS else _sql(question)
    with duckdb.connect() as database:
        try:
            for table in COLUMNS:
                each = [f"select *, {_quoted(folder)} as run from read_parquet({_quoted(folder / f'{table}.parquet')})"
                        for folder in folders]  # fmt: skip
                database.execute(f"create view {table} as {' union all by name '.join(each)}")
            found = database.execute(sql)
            if found.description is None:
                return [], []
            rows = [tuple(map(_number, row)) for row in found.fetchall()]
            return _apart([column[0] for column in found.description]), rows
        except duckdb.Error as error:
            raise FleetError(_hint(str(error))) from None


def _quoted(path: Path) -> str:
    """Return a path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def _apart(names: Sequence[str]) -> list[str]:
    """Number equal names of columns, as a join gives them: `start`, `start_2`."""
    found: list[str] = []
    for name in names:
        k = sum(1 for other in names[: len(found)] if other == name)
        found.append(f"{name}_{k + 1}" if k else name)
    return found


def _number(value: Any) -> Any:
    """Exact decimals, which a literal such as 1.5 is to the database, are numbers like others."""
    return float(value) if isinstance(value, Decimal) else value


def _sql(text: str) -> str:
    """Return what is SQL; a single word that is none is a mistyped question."""
    if re.fullmatch(r"[\w-]+", text.strip()):
        close = difflib.get_close_matches(text.strip(), QUESTIONS, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(QUESTIONS)}"
        raise FleetError(f"no question {text!r}, {hint}")
    return text


def _hint(text: str) -> str:
    """Return the message of the database in one line, without the quoted source."""
    return "the database says: " + " ".join(text.split("\n\nLINE")[0].split())


def _list() -> None:
    for name, question in QUESTIONS.items():
        print(f"{name:24} {question.title}")
    print("\ntables of a run, for SQL:")
    for table, columns in COLUMNS.items():
        print(f"{table:24} {', '.join(columns)}")


# --- forms of an answer ---------------------------------------------------------------------------------------


def _as_table(names: Sequence[str], rows: Sequence[Row]) -> None:
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(names)]
    numeric = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(names))]
    for row in ([list(names)] if names else []) + cells:
        parts = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True)]
        print("  ".join(parts).rstrip())
    print(f"({len(rows)} rows)" if len(rows) != 1 else "(1 row)")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    text = " ".join(str(value).split())
    return text if len(text) <= WIDTH_MAX else text[: WIDTH_MAX - 3] + "..."


def _as_csv(names: Sequence[str], rows: Sequence[Row]) -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(names)
    out.writerows(["" if value is None else value for value in row] for row in rows)


def _as_json(names: Sequence[str], rows: Sequence[Row]) -> None:
    listed = [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in rows]
    print(json.dumps(listed, indent=2, ensure_ascii=False, default=str))


def _plain(value: Any) -> Any:
    """NaN and infinity are no JSON."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
