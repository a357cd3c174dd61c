"""What a fleet run consists of: recordings times parameter sets, and the key by which a finished job is known again."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config, ConfigError, with_values
from safety_supervisor.fleet.errors import FleetError
from safety_supervisor.replay.inputs import settings, stem
from safety_supervisor.replay.storages import recordings_in, storage_of

SETS_MAX = 10_000
"""A larger grid is taken for a mistake."""
PLAIN = "as given"
"""Name of the parameter set that changes nothing."""


@dataclass(frozen=True, slots=True)
class Drive:
    """One recording; its name does not depend on where it lies."""

    name: str
    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in _files(self.paths))


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """Named changes over the vehicle file, or over the profile derived from each recording."""

    name: str
    values: tuple[str, ...] = ()
    """`key=value` each."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording under one parameter set; everything that a worker needs to know."""

    key: str
    drive: Drive
    parameters: ParameterSet
    config: Path | None
    mapping: Path | None


def drives(paths: Sequence[Path]) -> list[Drive]:
    """Return the recordings that paths stand for, folders of folders included, with names that tell them apart.

    A path that holds no recording is kept: its job fails and says why. Raises `FleetError` when one is not there.
    """
    found: dict[tuple[Path, ...], str] = {}
    for path in paths:
        if not path.exists():
            raise FleetError(f"{path}: no such file or folder, expected a recording or a folder of recordings")
        for recording in recordings_in(path):
            found.setdefault(tuple(file.resolve() for file in recording), _name(path, recording))
    return [Drive(name, files) for files, name in zip(found, _distinct(found), strict=True)]


def _name(root: Path, recording: Sequence[Path]) -> str:
    first = recording[0]
    if first == root and root.is_dir() and not (root / "metadata.yaml").exists():
        inside = sorted(file for file in root.iterdir() if file.is_file() and storage_of(file))
        if inside:  # named as it will be once there are others beside it
            return (Path(root.resolve().name) / stem(inside[0])).as_posix()
    if first == root:
        return stem(root)
    return (Path(root.resolve().name) / first.relative_to(root).parent / stem(first)).as_posix()


def _distinct(found: Mapping[tuple[Path, ...], str]) -> list[str]:
    """Put as many parent folders before equal names as it takes to tell them apart."""
    names = list(found.values())
    for depth in range(1, 12):
        twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
        if not twice:
            break
        names = [
            "/".join([*files[0].parts[-1 - depth : -1], plain]) if name in twice else name
            for (files, plain), name in zip(found.items(), names, strict=True)
        ]
    return names


def parameter_sets(grid: Path | None, given: Sequence[str], config: Path | None) -> list[ParameterSet]:
    """Return the parameter sets of a grid file over the settings `given`, each checked against its declared ranges.

    Without a grid there is one. Raises `FleetError` or `ConfigError`.
    """
    sets = list(_read(grid)) if grid else [ParameterSet(PLAIN)]
    names = [one.name for one in sets]
    for name in names:
        if names.count(name) > 1:
            raise FleetError(f"{grid}: two parameter sets are named {name!r}")
    base = vehicle_file.load(config) if config else Config()
    result = [ParameterSet(one.name, (*given, *one.values)) for one in sets]
    for one in result:
        # Sensors of a derived profile are those of each recording: their values are checked there.
        known = [pair for pair in one.values if config or not pair.startswith("sensors.")]
        try:
            with_values(base, settings(known, base))
        except ConfigError as error:
            raise FleetError(f"parameter set {one.name!r}: {str(error).replace('--set ', '')}") from None
    return result


def _read(path: Path) -> Iterator[ParameterSet]:
    """Read a grid: a mapping of parameters to lists of values, or a list of named sets."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FleetError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if isinstance(data, Mapping) and data:
        axes = {key: _axis(path, key, value) for key, value in _flat(data, path)}
        count = 1
        for values in axes.values():
            count *= len(values)
        if count > SETS_MAX:
            raise FleetError(f"{path}: {count} parameter sets, allowed {SETS_MAX}")
        for chosen in itertools.product(*axes.values()):
            pairs = tuple(f"{key}={value}" for key, value in zip(axes, chosen, strict=True))
            yield ParameterSet(", ".join(pairs), pairs)
    elif isinstance(data, Sequence) and not isinstance(data, str) and data:
        for i, entry in enumerate(data):
            yield _named(path, i, entry)
    else:
        raise FleetError(f"{path}: expected a mapping of parameters to lists of values, or a list of named sets")


def _named(path: Path, i: int, entry: Any) -> ParameterSet:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise FleetError(f"{path}: entry {i} must be a mapping with a name and parameters")
    rest = {key: value for key, value in entry.items() if key != "name"}
    return ParameterSet(entry["name"], tuple(f"{key}={_scalar(value)}" for key, value in _flat(rest, path)))


def _axis(path: Path, key: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(v, list | dict) for v in values):
        raise FleetError(f"{path}: {key} must be a value or a list of values")
    return [_scalar(v) for v in values]


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flat(data: Mapping[Any, Any], path: Path, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if not isinstance(key, str):
            raise FleetError(f"{path}: {key!r} is no parameter name")
        if isinstance(value, Mapping):
            yield from _flat(value, path, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def jobs(
    found: Sequence[Drive], sets: Sequence[ParameterSet], config: Path | None, mapping: Path | None
) -> list[Job]:
    """Return every recording under every parameter set, the largest first, so that no worker waits for the last."""
    config, mapping = (path and path.resolve() for path in (config, mapping))  # workers may be in other folders
    shared = b"".join(path.read_bytes() if path else b"-" for path in (config, mapping))
    result = []
    for drive in sorted(found, key=lambda d: (-d.size, d.name)):
        mark = _fingerprint(drive.paths)
        for one in sets:
            text = repr((mark, drive.name, one.values, shared, code_digest()))
            key = hashlib.sha256(text.encode()).hexdigest()[:32]
            result.append(Job(key, drive, one, config, mapping))
    return result


def _files(paths: Sequence[Path]) -> list[Path]:
    return [f for path in paths for f in ([path] if path.is_file() else sorted(path.rglob("*"))) if f.is_file()]


def _fingerprint(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and times of all files: a changed recording is a new job."""
    return [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in _files(paths)]


@cache
def code_digest() -> str:
    """Return the hash of the code that makes the results: after a change of it every job is done anew."""
    root = Path(__file__).resolve().parents[1]
    files = [root / "messages.py", root / "cdr.py", *(root / "core").rglob("*.py"), *(root / "replay").rglob("*.py"),
             *(root / "fleet").rglob("*.py")]  # fmt: skip
    text = b"".join(file.read_bytes() for file in sorted(files))
    return hashlib.sha256(text).hexdigest()
