"""Vehicle files and proof certificates on disk: YAML -> `Config`, bound to the certificate that matches it.

A vehicle file is a ROS parameter file (`/**: ros__parameters:` around the parameter groups), so that the node, the
replay and the proofs read the very same text; the plain groups without that wrapping are accepted too.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from safety_supervisor.core import config as parameters
from safety_supervisor.core.config import Config, ConfigError

PACKAGE = Path(__file__).resolve().parent
CERTIFICATE_SCHEMA = 1
NODE_KEYS = ("use_sim_time", "qos_overrides", "start_type_description_service")
"""Parameters every ROS node has; they are not ours and may stand in the same file."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would keep the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ConfigError(f"line {key_node.start_mark.line + 1}: a key must be a name, got {key!r}")
            if key in seen:
                raise ConfigError(f"line {key_node.start_mark.line + 1}: key {key!r} stands twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Keeps every value on one line, so that a comment can follow it."""


def _one_line(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _one_line)


def load(path: Path) -> Config:
    """Read a vehicle file and the certificate beside it (`<stem>.certificate.json`), if that one matches.

    Raises `ConfigError` with file, key, value and allowed range; `OSError` when the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file, expected a YAML vehicle file") from None
    config = parse(text, str(path))
    return parameters.with_certificate(config, matching_certificate(certificate_path(path), config))


def parse(text: str, source: str) -> Config:
    """Build a `Config` from the text of a vehicle file; `source` names it in errors."""
    try:
        data = yaml.load(text, _Loader)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
        raise ConfigError(f"{source}: {where}not valid YAML, {what}") from None
    except (ValueError, RecursionError) as error:  # a date with month 13, `!!int abc`, ten thousand brackets
        raise ConfigError(f"{source}: not valid YAML, {error}") from None
    if not isinstance(data, Mapping) or not data:
        raise ConfigError(f"{source}: expected parameter groups ({', '.join(parameters.GROUPS)}), the file has none")
    return parameters.from_mapping(unwrap(data, source), source)


def unwrap(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Strip the ROS wrapping (node name, `ros__parameters`) and the parameters that every node has."""
    inner: Any = data
    if len(data) == 1:
        (only,) = data.values()
        if isinstance(only, Mapping) and "ros__parameters" in only:
            inner = only["ros__parameters"]
    elif any(isinstance(value, Mapping) and "ros__parameters" in value for value in data.values()):
        raise ConfigError(f"{source}: has parameters of {', '.join(map(str, data))}, expected those of one node")
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{source}: ros__parameters must be a mapping of parameter groups")
    return {str(key): value for key, value in inner.items() if key not in NODE_KEYS}


def to_text(config: Config, ros: bool = True) -> str:
    """Return the vehicle file of a parameter set, with unit and reason behind each line."""
    data: dict[str, Any] = {}
    for name, values in parameters.to_mapping(config).items():
        data[name] = values
    wrapped = {"/**": {"ros__parameters": data}} if ros else data
    lines = []
    path: list[str] = []
    for line in yaml.dump(wrapped, Dumper=_Dumper, sort_keys=False, width=float("inf")).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2 - (2 if ros else 0)
        key = line.strip().split(":")[0]
        path = [*path[: max(depth, 0)], key]
        lines.append(line + _comment(path) if depth > 0 else line)
    return "\n".join(lines) + "\n"


def _comment(path: Sequence[str]) -> str:
    group = parameters.Sensor if path[0] == "sensors" else parameters.GROUPS.get(path[0])
    if group is None or len(path) != (3 if path[0] == "sensors" else 2):
        return ""
    spec = next((f for f in parameters.parameters(group) if f.name == path[-1]), None)
    return f"  # {parameters.describe_range(spec)}; {spec.metadata['why']}" if spec else ""


# --- where the package's data is ------------------------------------------------------------------------------------


def share_dir(kind: str) -> Path:
    """Return the folder `config`, `proofs` or `launch`: of the source tree, else of the installed share.

    Raises `FileNotFoundError` when the package was installed without its data.
    """
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), *map(str, PACKAGE.parents[3:4]), sys.prefix]
    candidates = [Path(prefix) / "share" / "safety_supervisor" / kind for prefix in prefixes if prefix]
    if (PACKAGE.parent / "package.xml").is_file():
        candidates.insert(0, PACKAGE.parent / kind)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the package's {kind} folder is not installed in any of {[str(c) for c in candidates]}")


def vehicles() -> dict[str, Path]:
    """Return the shipped vehicle files by name."""
    return {path.stem: path for path in sorted(share_dir("config").glob("*.yaml"))}


# --- certificates ---------------------------------------------------------------------------------------------------


def certificate_path(vehicle_file: Path) -> Path:
    """Return where the certificate of a vehicle file stands."""
    return vehicle_file.with_name(f"{vehicle_file.stem}.certificate.json")


def core_digest() -> str:
    """SHA-256 of the normalised source of layers 0 to 4: comments, docstrings and layout do not count."""
    return _source_digest(PACKAGE / "core")


def package_digest() -> str:
    """SHA-256 of the normalised source of the whole package: what figures of a campaign belong to."""
    return _source_digest(PACKAGE)


def claims_digest() -> str:
    """SHA-256 of the normalised source of the claims, so that a certificate says what it is a certificate of.

    Raises `FileNotFoundError` when the package was installed without its proofs.
    """
    return _source_digest(share_dir("proofs"))


def _source_digest(folder: Path) -> str:
    found = sorted(folder.rglob("*.py"))
    return _digest_of(folder, tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in found))


@functools.lru_cache(maxsize=8)
def _digest_of(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    """Digest of the files as they are; a file that has changed since has another time, and is read again."""
    total = hashlib.sha256()
    for path, _time, _size in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                body[:] = [statement for statement in body if not _is_docstring(statement)]
        total.update(path.relative_to(folder.parent).as_posix().encode() + b"\0")
        total.update(_canonical(tree).encode() + b"\0")
    return total.hexdigest()


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _canonical(node: object) -> str:
    """Serialise a syntax tree alike on every Python version: empty and position fields are left out."""
    if isinstance(node, ast.AST):
        parts = [(name, getattr(node, name, None)) for name in node._fields]
        kept = ",".join(f"{name}={_canonical(v)}" for name, v in parts if v not in (None, []) and name != "kind")
        return f"{type(node).__name__}({kept})"
    if isinstance(node, list):
        return "[" + ",".join(_canonical(item) for item in node) + "]"
    return repr(node)


def write_certificate(
    path: Path, config: Config, results: Sequence[Mapping[str, Any]], solvers: Mapping[str, str]
) -> str:
    """Write the certificate of a completed proof run and return its hash; refuses results that are not all PROVED."""
    failed = [str(r.get("claim")) for r in results if r.get("result") != "PROVED"]
    if failed or not results:
        raise ValueError(f"no certificate: {', '.join(failed) or 'no claim'} not PROVED")
    body = {
        "schema": CERTIFICATE_SCHEMA,
        "vehicle": config.vehicle.name,
        "parameters": config.digest,
        "core": core_digest(),
        "claims": claims_digest(),
        "solvers": dict(solvers),
        "results": [dict(r) for r in results],
    }
    path.write_text(json.dumps(body, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return _hash(body)


def matching_certificate(path: Path, config: Config) -> str | None:
    """Return the hash of the certificate at `path` when it proves exactly this code and these parameters."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        results = body["results"]
        proved = bool(results) and all(r["result"] == "PROVED" for r in results)
        stated = (body["schema"], body["parameters"], body["core"], body["claims"])
        same = stated == (CERTIFICATE_SCHEMA, config.digest, core_digest(), claims_digest())
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # absent or damaged: the vehicle is not proved, which shadow mode says aloud
    return _hash(body) if proved and same else None


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
