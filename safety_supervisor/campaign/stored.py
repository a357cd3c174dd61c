"""Runs of a matrix on disk, one JSON line each, so that a campaign of an hour goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TextIO

from safety_supervisor import vehicle_file
from safety_supervisor.campaign.matrix import SEED, Cell, Observed, Situation
from safety_supervisor.core.config import Config

Key = tuple[str, str, str]


def key(cell: Cell, situation: Situation) -> Key:
    """Return what tells one run from all others of a matrix."""
    return cell.name, situation.stratum, situation.scenario


def _origin(config: Config) -> list[object]:
    return [config.digest, vehicle_file.package_digest(), SEED]


def load(path: Path, config: Config) -> dict[Key, Observed]:
    """Return the runs of this code and these parameters; other lines, and one that was cut off, do not count."""
    found: dict[Key, Observed] = {}
    origin = _origin(config)
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            if entry["origin"] == origin:
                name, stratum, scenario = entry["key"]
                found[name, stratum, scenario] = Observed(**entry["observed"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


class Writer:
    """Appends runs to a file; use as a context manager."""

    def __init__(self, path: Path, config: Config) -> None:
        self._path, self._origin = path, _origin(config)

    def __enter__(self) -> Writer:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        cut = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        self._file: TextIO = self._path.open("a", encoding="utf-8")
        if cut:
            self._file.write("\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()

    def add(self, cell: Cell, situation: Situation, observed: Observed) -> None:
        """Write one run, so that it is there whatever comes next."""
        line = {"origin": self._origin, "key": key(cell, situation), "observed": asdict(observed)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
