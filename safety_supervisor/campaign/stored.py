"""Runs of a matrix on disk, one JSON line each, so that a campaign of an hour goes on where it was stopped."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

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
    """Return the runs of this code and these parameters; other lines do not count."""
    found: dict[Key, Observed] = {}
    for (name, stratum, scenario), values in entries(path, _origin(config)):
        with contextlib.suppress(TypeError):
            found[name, stratum, scenario] = Observed(**values)
    return found


def entries(path: Path, origin: Sequence[object]) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Yield key and values of each line of `origin`; other lines, and one that was cut off, do not count."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            if entry["origin"] == origin:
                yield entry["key"], entry["observed"]


class Lines:
    """Appends entries of one origin to a file; use as a context manager."""

    def __init__(self, path: Path, origin: Sequence[object]) -> None:
        self._path, self._origin = path, origin

    def __enter__(self) -> Lines:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        cut = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        self._file: TextIO = self._path.open("a", encoding="utf-8")
        if cut:
            self._file.write("\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()

    def write(self, key: Sequence[object], values: Mapping[str, Any]) -> None:
        """Write one entry, so that it is there whatever comes next."""
        self._file.write(json.dumps({"origin": self._origin, "key": key, "observed": values}) + "\n")
        self._file.flush()


class Writer(Lines):
    """Appends the runs of a matrix."""

    def __init__(self, path: Path, config: Config) -> None:
        super().__init__(path, _origin(config))

    def __enter__(self) -> Writer:
        super().__enter__()
        return self

    def add(self, cell: Cell, situation: Situation, observed: Observed) -> None:
        """Write one run."""
        self.write(key(cell, situation), asdict(observed))
