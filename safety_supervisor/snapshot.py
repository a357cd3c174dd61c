"""The supervisor's state as text and back, bit for bit: how a flight recording begins (docs/formats.md).

Only frozen dataclasses and enumerations of the core and of `messages` are written and made, by name and field; no code
comes out of a file. Numbers are exact: integers and floats as JSON writes them (Python's shortest form reads back to
the same double), NaN and infinities by name, arrays as the base64 of their little-endian bytes.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import importlib
import json
import math
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from safety_supervisor import core, messages
from safety_supervisor.core import config as parameters
from safety_supervisor.core.config import Config, ConfigError
from safety_supervisor.core.supervisor import State

SCHEMA = 1
KINDS = "biuf"
"""Kinds of arrays: booleans, integers, floats."""
ARRAY_BYTES_MAX = 64_000_000
DEPTH_MAX = 64


class SnapshotError(ValueError):
    """A snapshot that this version cannot take up; one line."""


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the decisions after tick `t` depend on, besides the messages after it."""

    t: int | None
    """Last tick before [ns], None before the first."""
    state: State
    carried: messages.Carried
    config: Config
    """With the hash of the certificate that held in the vehicle."""


def to_text(snapshot: Snapshot) -> str:
    """Return one snapshot as JSON."""
    return json.dumps({
        "schema": SCHEMA,
        "t": snapshot.t,
        "certificate": snapshot.config.certificate,
        "digest": snapshot.config.digest,
        "parameters": parameters.to_mapping(snapshot.config),
        "carried": encode(snapshot.carried),
        "state": encode(snapshot.state),
    }, separators=(",", ":"), allow_nan=False)  # fmt: skip


def from_text(text: str) -> Snapshot:
    """Read a snapshot; raises `SnapshotError` when it is damaged or of another version."""
    try:
        data = json.loads(text)
        schema = data["schema"]
        if schema != SCHEMA:
            raise SnapshotError(f"snapshot has schema {schema!r}, expected {SCHEMA}")
        config = parameters.from_mapping(data["parameters"], "parameters of the snapshot", data["certificate"])
        if config.digest != data["digest"]:
            raise SnapshotError("the parameters of the snapshot are not those that it was made with")
        made = Snapshot(data["t"], decode(data["state"]), decode(data["carried"]), config)
        if not isinstance(made.state, State) or not isinstance(made.carried, messages.Carried):
            raise SnapshotError("the snapshot holds no state")
        return made
    except SnapshotError:
        raise
    except (ConfigError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise SnapshotError(f"snapshot cannot be read: {' '.join(str(error).split())[:200]}") from None


def encode(value: Any) -> Any:
    """Return JSON-ready data of one value; raises `TypeError` for a kind of value that has no form here."""
    kind: Any = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"f": repr(value)}
    if kind is tuple:
        return [encode(item) for item in value]
    if isinstance(value, np.generic):
        return {"n": value.dtype.str, "v": encode(value.item())}
    if isinstance(value, np.ndarray):
        return _encoded_array(value)
    if kind is bytes:
        return {"b": base64.b64encode(value).decode()}
    if _name(kind) in _classes():
        if isinstance(value, enum.Enum):
            return {"e": _name(kind), "v": value.name}
        return {"c": _name(kind), "v": {name: encode(getattr(value, name)) for name in _fields(kind)}}
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} has no form in a snapshot")


def decode(data: Any, depth: int = 0) -> Any:
    """Return the value that `encode` made data of."""
    if depth > DEPTH_MAX:
        raise SnapshotError("the snapshot is nested too deeply")
    if isinstance(data, list):
        return tuple(decode(item, depth + 1) for item in data)
    if not isinstance(data, Mapping):
        return data
    if "c" in data:
        return _made(data, depth)
    if "e" in data:
        return _class(data["e"], enum.Enum)[data["v"]]
    if "a" in data:
        return _decoded_array(data)
    if "n" in data:
        return _dtype(data["n"]).type(decode(data["v"], depth + 1))
    if "b" in data:
        return base64.b64decode(data["b"], validate=True)
    return float(data["f"])


def _encoded_array(value: Any) -> dict[str, Any]:
    if value.dtype.kind not in KINDS:
        raise TypeError(f"an array of {value.dtype} has no form in a snapshot")
    little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    return {"a": little.dtype.str, "s": list(value.shape), "v": base64.b64encode(little.tobytes()).decode()}


def _decoded_array(data: Mapping[str, Any]) -> Any:
    raw, dtype = base64.b64decode(data["v"], validate=True), _dtype(data["a"])
    shape = tuple(int(n) for n in data["s"])
    if len(raw) > ARRAY_BYTES_MAX or any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(raw):
        raise SnapshotError(f"an array of shape {shape} does not have {len(raw)} bytes")
    return np.frombuffer(raw, dtype).reshape(shape)  # read-only, as arrays of the core are


def _dtype(name: Any) -> np.dtype[Any]:
    dtype = np.dtype(str(name))
    if dtype.kind not in KINDS or dtype.names:
        raise SnapshotError(f"no such kind of number: {name!r}")
    return dtype


def _made(data: Mapping[str, Any], depth: int) -> Any:
    cls = _class(data["c"], object)
    names, values = _fields(cls), data["v"]
    if not isinstance(values, Mapping) or set(values) != set(names):
        raise SnapshotError(f"{data['c']} has the fields {', '.join(names)} in this version")
    return cls(**{name: decode(values[name], depth + 1) for name in names})


def _class(name: Any, kind: type) -> Any:
    found = _classes().get(str(name))
    if found is None or not issubclass(found, kind):
        raise SnapshotError(f"no such class in this version: {name!r}")
    return found


@lru_cache(maxsize=256)
def _fields(cls: Any) -> tuple[str, ...]:
    if not dataclasses.is_dataclass(cls):
        raise SnapshotError(f"{cls.__qualname__} is no record")
    return tuple(f.name for f in dataclasses.fields(cls) if f.init)


@lru_cache(maxsize=1)
def _classes() -> dict[str, type]:
    """Every dataclass and enumeration of the core and of `messages`, by name."""
    found: dict[str, type] = {}
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(core.__path__, f"{core.__name__}.")]
    for module in (*modules, messages):
        for value in vars(module).values():
            ours = isinstance(value, type) and value.__module__ == module.__name__
            if ours and (dataclasses.is_dataclass(value) or issubclass(value, enum.Enum)):
                found[_name(value)] = value
    return found


def _name(cls: type) -> str:
    """Name of a class below the package: `core.world.Plan`."""
    return f"{cls.__module__}.{cls.__qualname__}".partition(".")[2]
