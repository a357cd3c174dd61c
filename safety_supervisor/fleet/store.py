"""Results of a fleet run on disk: a journal that survives any interruption, and Parquet tables made from it.

    fleet.json            what the run is: parameter sets, vehicle file, versions
    journal.jsonl         one finished job a line, in the order in which they finished; what a resumed run skips
    runs.parquet          one recording under one parameter set
    interventions.parquet, findings.parquet, parameters.parquet
    processing.parquet    times and sizes: the only table that depends on the machine

The tables are sorted, so that neither the number of workers nor an interruption shows in them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from safety_supervisor.core.world import Mode
from safety_supervisor.fleet.errors import FleetError
from safety_supervisor.fleet.jobs import Job, ParameterSet
from safety_supervisor.fleet.work import Result
from safety_supervisor.replay import tables

FORMAT = 1
MANIFEST, JOURNAL = "fleet.json", "journal.jsonl"
NAMES = {"bag": "text", "parameters": "text"}

COLUMNS: dict[str, dict[str, str]] = {
    "runs": {
        **NAMES, "status": "text", "error": "text", "recovered": "bool", "start": "int", "duration_s": "float",
        "distance_m": "float", "ticks": "int", "period": "float",
        **{f"ticks_{mode.name.lower()}": "int" for mode in Mode},
        "interventions": "int", "stops": "int", "margin_min_m": "float", "ticks_not_evaluated": "int",
        "lead_confirmed_share": "float", "plan_source": "text", "missing_inputs": "texts",
        "recorded_decisions": "int", "same_mode_share": "float", "config_digest": "text", "certificate": "text",
        "decisions_sha256": "text", "scenario": "text", "incident": "bool",
    },
    "interventions": {
        **NAMES, "number": "int", "start": "int", "start_s": "float", "end_s": "float", "length_s": "float",
        "mode": "text", "stop": "bool", "cause": "text", "code": "text", "codes": "texts", "reason": "text",
        "track": "int", "speed": "float", "margin_min_m": "float", "stopped_after_s": "float",
        "planned_stop_s": "float", "needed": "bool",
    },
    "findings": {
        **NAMES, "code": "text", "source": "text", "text": "text", "start_s": "float", "end_s": "float", "ticks": "int",
    },
    "parameters": {"parameters": "text", "key": "text", "value": "text", "number": "float"},
    "processing": {**NAMES, "duration_s": "float", "bytes": "int", "wall_s": "float", "cpu_s": "float"},
}  # fmt: skip
"""Table -> its columns; docs/fleet.md describes them."""


class Store:
    """The folder of one fleet run. Use as a context manager while jobs finish."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal: TextIO | None = None

    def __enter__(self) -> Store:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / JOURNAL
        self._mend(path)
        self._journal = path.open("a", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._journal is not None:
            self._journal.close()

    @staticmethod
    def _mend(path: Path) -> None:
        """Cut off a last line that was never finished."""
        if path.exists():
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(path, whole)

    def add(self, job: Job, result: Result) -> None:
        """Keep the result of one job; it is on disk when this returns."""
        assert self._journal is not None
        line = json.dumps({"key": job.key, **result}, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        self._journal.write(line + "\n")
        self._journal.flush()

    def results(self) -> dict[str, Result]:
        """Return the newest result of each job key in the journal."""
        found: dict[str, Result] = {}
        path = self.folder / JOURNAL
        if not path.exists():
            return found
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                result = json.loads(line)
                found[result.pop("key")] = result
            except (ValueError, KeyError, AttributeError, RecursionError):
                if line.strip():
                    raise FleetError(f"{path}: line {number} is no result, expected what a fleet run wrote") from None
        return found

    def write(self, manifest: dict[str, Any], sets: Sequence[ParameterSet], results: Sequence[Result]) -> None:
        """Write manifest and tables of these results, sorted."""
        text = json.dumps({"format": FORMAT, **manifest}, indent=2, ensure_ascii=False)
        part = self.folder / (MANIFEST + ".part")
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        os.replace(part, self.folder / MANIFEST)
        ordered = sorted(results, key=lambda r: (r["run"]["bag"], r["run"]["parameters"]))
        rows: dict[str, list[dict[str, Any]]] = {
            "runs": [r["run"] for r in ordered],
            "interventions": [row for r in ordered for row in r["interventions"]],
            "findings": [row for r in ordered for row in r["findings"]],
            "parameters": list(_values(sets)),
            "processing": [r["processing"] for r in ordered],
        }
        for name, columns in COLUMNS.items():
            tables.write(self.folder / f"{name}.parquet", columns, rows[name], "parquet")


def _values(sets: Sequence[ParameterSet]) -> Iterator[dict[str, Any]]:
    for one in sets:
        for pair in one.values:
            key, _, value = pair.partition("=")
            try:
                number: float | None = float(value)
            except ValueError:
                number = None
            yield {"parameters": one.name, "key": key, "value": value, "number": number}


def check_folder(folder: Path) -> None:
    """Refuse to write a run where something else is. Raises `FleetError`."""
    if folder.exists() and not folder.is_dir():
        raise FleetError(f"{folder}: is a file, expected a folder for the results")
    if folder.is_dir() and any(folder.iterdir()) and not _is_run(folder):
        raise FleetError(f"{folder}: holds no fleet run but other files, expected an empty folder or one to resume")


def check_run(folder: Path) -> None:
    """Refuse a folder without the tables of a fleet run. Raises `FleetError`."""
    missing = [name for name in COLUMNS if not (folder / f"{name}.parquet").is_file()]
    if missing:
        what = "no such folder" if not folder.exists() else f"no {missing[0]}.parquet in it"
        raise FleetError(f"{folder}: {what}, expected the results of `safety-supervisor fleet`")


def _is_run(folder: Path) -> bool:
    return (folder / JOURNAL).exists() or (folder / MANIFEST).exists()
