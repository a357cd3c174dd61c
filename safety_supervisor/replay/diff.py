"""The verb `diff`: two runs side by side, for people and for CI.

A run is a folder with decisions.jsonl, or a recording, which is then replayed; one recording with two parameter sets
tells what a change of parameters does. Ticks are compared by their time. Texts are not compared, only what they name:
codes, tracks and sources.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safety_supervisor.core.world import Mode, seconds
from safety_supervisor.replay.bag import BagError
from safety_supervisor.replay.command import replay
from safety_supervisor.replay.inputs import Options, add_window_arguments, grouped
from safety_supervisor.replay.results import QUIET, rank

DECISIONS, SUMMARY = "decisions.jsonl", "summary.json"
IDENTITY = ("config", "certificate")
"""Keys that say with what a run was made, not what it decided."""
TOLD = {"reasons": ("code", "track"), "findings": ("code", "source")}
"""What counts of entries that also have a text."""
SHOWN, LEAVES = 10, 5
WIDTH = 100
"""Characters of a value that are printed; --json has all of it."""
ABSENT = "absent"
LEVELS = ("any", "modes", "interventions")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor diff`."""
    what = "folder with decisions.jsonl, or a recording, which is replayed"
    parser.add_argument("a", metavar="A", type=Path, help=what)
    parser.add_argument("b", metavar="B", type=Path, nargs="?", help="the same (default: A, with other parameters)")
    for side in ("", "-a", "-b"):
        of = f" for {side[1:].upper()}" if side else ""
        parser.add_argument(f"--config{side}", metavar="FILE", type=Path, help=f"vehicle file{of}, when replaying")
        parser.add_argument(f"--set{side}", metavar="KEY=VALUE", action="append", default=[],
                            help=f"parameter{of}, when replaying")  # fmt: skip
    parser.add_argument("--mapping", metavar="FILE", type=Path, help="topics and frames, when replaying")
    add_window_arguments(parser)
    parser.add_argument("--tolerance", metavar="X", type=float, default=1e-9,
                        help="numbers closer than this are the same (default 1e-9)")  # fmt: skip
    parser.add_argument("--on", choices=LEVELS, default="any", help="what makes the exit code 1 (default any)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Compare two runs; 0 when they are the same, 1 when they differ."""
    if not args.tolerance >= 0:
        raise BagError(f"--tolerance {args.tolerance} must be 0 or more")
    if args.b is None and not any((args.config_a, args.config_b, args.set_a, args.set_b)):
        raise BagError(f"{args.a}: is the same as itself; name a second run, or --config-b or --set-b")
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for name, path in (("a", args.a), ("b", args.b or args.a)):
            config = getattr(args, f"config_{name}") or args.config
            values = [*args.set, *getattr(args, f"set_{name}")]
            options = Options(config, values, report=False, mapping=args.mapping, start=args.start, end=args.end)
            sides.append(_results(path, Path(folder) / name, options))
        result = diff(sides[0], sides[1], args.tolerance)
    result["a"]["path"], result["b"]["path"] = str(args.a), str(args.b or args.a)
    print(json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) if args.json else "\n".join(lines(result)))
    return 0 if same(result, args.on) else 1


def _results(path: Path, out: Path, options: Options) -> Path:
    """Return the results of a run, replayed first when it is a recording."""
    if (path / DECISIONS).is_file():
        if options.config or options.values or options.start or options.end:
            raise BagError(f"{path}: has results already, so --config, --set, --start and --end cannot change them")
        return path
    groups = grouped([path])
    if len(groups) > 1:
        raise BagError(f"{path}: holds {len(groups)} recordings that do not belong together, expected one")
    replay(groups[0], out, options)
    return out


def same(result: Mapping[str, Any], level: str) -> bool:
    """Whether two runs are the same as far as `level` (any, modes, interventions) goes."""
    if level == "interventions":
        return not any(result["interventions"][key] for key in ("changed", "only_a", "only_b"))
    if level == "modes":
        return not result["ticks"]["other_mode"] and not result["ticks"]["only_a"] and not result["ticks"]["only_b"]
    return bool(result["same"])


# --- comparing ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Span:
    """An intervention, as the decisions tell it."""

    start: int
    end: int
    mode: str
    code: str | None
    margin: float | None

    def as_dict(self, start: int) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "start_s": round(seconds(self.start - start), 3),
                "end_s": round(seconds(self.end - start), 3), "mode": self.mode, "code": self.code,
                "margin_min_m": self.margin}  # fmt: skip


@dataclass(slots=True)
class _Side:
    """What one run is, gathered while its decisions go by."""

    ticks: int = 0
    start: int = 0
    modes: dict[str, int] = field(default_factory=dict)
    spans: list[_Span] = field(default_factory=list)
    margins: dict[str, float] = field(default_factory=dict)
    config: str = ""
    _quiet: bool = True

    def add(self, record: Mapping[str, Any]) -> None:
        t, mode = int(record["t"]), str(record["mode"])
        self.start = self.start if self.ticks else t
        self.ticks, self.config = self.ticks + 1, str(record.get("config", ""))
        self.modes[mode] = self.modes.get(mode, 0) + 1
        for rule, margin in record.get("margins", {}).items():
            if margin is not None:
                self.margins[rule] = min(margin, self.margins.get(rule, math.inf))
        quiet = Mode[mode] in QUIET
        if not quiet:
            self._intervene(t, mode, record)
        self._quiet = quiet

    def _intervene(self, t: int, mode: str, record: Mapping[str, Any]) -> None:
        code = record["reasons"][0]["code"] if record.get("reasons") else None
        if self._quiet:
            self.spans.append(_Span(t, t, mode, code, None))
        span, margin = self.spans[-1], record.get("margin_m")
        span.end = t
        if rank(Mode[mode]) > rank(Mode[span.mode]):
            span.mode, span.code = mode, code
        if margin is not None:
            span.margin = margin if span.margin is None else min(span.margin, margin)


@dataclass(slots=True)
class _Compared:
    """What differs, gathered tick by tick."""

    tolerance: float
    common: int = 0
    only_a: int = 0
    only_b: int = 0
    differing: int = 0
    other_mode: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    apart: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Rule -> largest difference of its margin [m] and the tick of it."""
    first: tuple[Mapping[str, Any], Mapping[str, Any], list[str]] | None = None
    first_mode: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None

    def add(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        self.common += 1
        keys = [key for key in dict.fromkeys([*a, *b]) if key not in IDENTITY
                and not alike(a.get(key), b.get(key), self.tolerance, key)]  # fmt: skip
        for key in keys:
            self.keys[key] = self.keys.get(key, 0) + 1
        self.differing += bool(keys)
        if keys and self.first is None:
            self.first = (a, b, keys)
        if a["mode"] != b["mode"]:
            self.other_mode += 1
            change = f"{a['mode']} -> {b['mode']}"
            self.changes[change] = self.changes.get(change, 0) + 1
            self.first_mode = self.first_mode or (a, b)
        for rule in {*a.get("margins", {}), *b.get("margins", {})}:
            one, other = a.get("margins", {}).get(rule), b.get("margins", {}).get(rule)
            if one is not None and other is not None and abs(one - other) > self.apart.get(rule, (0.0, 0))[0]:
                self.apart[rule] = (abs(one - other), int(a["t"]))


def diff(a: Path, b: Path, tolerance: float = 1e-9) -> dict[str, Any]:
    """Compare the results in two folders, JSON-ready; docs/formats.md describes every key."""
    one, other, compared = _Side(), _Side(), _Compared(tolerance)
    for left, right in _paired(_records(a), _records(b)):
        if left is not None:
            one.add(left)
        if right is not None:
            other.add(right)
        if left is not None and right is not None:
            compared.add(left, right)
        else:
            compared.only_a += right is None
            compared.only_b += left is None
    start = one.start
    interventions = _interventions(one.spans, other.spans, start)
    return {
        "same": not (compared.differing or compared.only_a or compared.only_b),
        "tolerance": tolerance,
        "a": _side(one), "b": _side(other),
        "ticks": {"common": compared.common, "only_a": compared.only_a, "only_b": compared.only_b,
                  "differing": compared.differing, "other_mode": compared.other_mode},
        "first_divergence": _divergence(compared.first, start),
        "first_other_mode": _divergence(compared.first_mode and (*compared.first_mode, ["mode"]), start),
        "changed_modes": compared.changes,
        "changed_keys": compared.keys,
        "margins": {rule: {"a_min_m": one.margins.get(rule), "b_min_m": other.margins.get(rule),
                           "difference_max_m": round(compared.apart.get(rule, (0.0, start))[0], 9),
                           "at_s": round(seconds(compared.apart.get(rule, (0.0, start))[1] - start), 3)}
                    for rule in sorted({*one.margins, *other.margins})},
        "interventions": interventions,
        "parameters": _parameters(a, b),
    }  # fmt: skip


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / DECISIONS
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                int(record["t"])
                Mode[record["mode"]]
            except (ValueError, KeyError, TypeError, RecursionError):
                raise BagError(f"{path}: line {number} is no decision") from None
            yield record


def _paired(
    a: Iterator[dict[str, Any]], b: Iterator[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Yield ticks of the same time side by side; both run forward in time, except where a clock was set back."""
    left, right = next(a, None), next(b, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left["t"] < right["t"]):
            yield left, None
            left = next(a, None)
        elif left is None or right["t"] < left["t"]:
            yield None, right
            right = next(b, None)
        else:
            yield left, right
            left, right = next(a, None), next(b, None)


def alike(a: Any, b: Any, tolerance: float, key: str = "") -> bool:
    """Whether two values of a decision are the same: numbers within the tolerance, everything else exactly."""
    if isinstance(a, (bool, str)) or isinstance(b, bool) or a is None or b is None:
        return type(a) is type(b) and bool(a == b)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return bool(a == b or abs(a - b) <= tolerance)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(a[k], b[k], tolerance, k) for k in a)
    if not isinstance(a, list) or not isinstance(b, list) or len(a) != len(b):
        return False
    if key in TOLD:
        return all(all(x.get(name) == y.get(name) for name in TOLD[key]) for x, y in zip(a, b, strict=True))
    return all(alike(x, y, tolerance) for x, y in zip(a, b, strict=True))


def _side(side: _Side) -> dict[str, Any]:
    return {"path": "", "ticks": side.ticks, "modes": side.modes, "config": side.config,
            "interventions": len(side.spans)}  # fmt: skip


def _divergence(found: Any, start: int) -> dict[str, Any] | None:
    if not found:
        return None
    a, b, keys = found
    return {"t": a["t"], "at_s": round(seconds(a["t"] - start), 3), "keys": list(keys),
            "a": {key: a.get(key) for key in dict.fromkeys(["mode", "margin_m", *keys])},
            "b": {key: b.get(key) for key in dict.fromkeys(["mode", "margin_m", *keys])}}  # fmt: skip


def _interventions(a: Sequence[_Span], b: Sequence[_Span], start: int) -> dict[str, Any]:
    """Match interventions that overlap in time, each with the first of the other side that is not taken yet."""
    free = list(b)
    told: dict[str, Any] = {"same": 0, "changed": [], "only_a": [], "only_b": []}
    for span in a:
        match = next((other for other in free if other.start <= span.end and span.start <= other.end), None)
        if match is None:
            told["only_a"].append(span.as_dict(start))
            continue
        free.remove(match)
        if (span.start, span.end, span.mode, span.code) == (match.start, match.end, match.mode, match.code):
            told["same"] += 1
        else:
            told["changed"].append({"a": span.as_dict(start), "b": match.as_dict(start)})
    told["only_b"] = [span.as_dict(start) for span in free]
    return told


def _parameters(a: Path, b: Path) -> dict[str, list[Any]]:
    """Return the parameters that differ, by their dotted names; empty where a run has no summary."""
    one, other = (_flat(_values(path), "") for path in (a, b))
    if not one or not other:
        return {}
    return {key: [one.get(key), other.get(key)] for key in dict.fromkeys([*one, *other])
            if one.get(key) != other.get(key)}  # fmt: skip


def _values(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["config"]["values"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


# --- text -----------------------------------------------------------------------------------------------------


def lines(r: Mapping[str, Any]) -> Iterator[str]:
    """Yield the comparison as text."""
    for name in "ab":
        side = r[name]
        modes = ", ".join(f"{mode} {n}" for mode, n in side["modes"].items())
        yield f"{name.upper()}  {side['path']}: {side['ticks']} ticks: {modes}; {side['interventions']} interventions"
    yield from _parameter_lines(r["parameters"])
    ticks = r["ticks"]
    if r["same"]:
        yield f"the same in {ticks['common']} ticks (tolerance {r['tolerance']:g})"
        return
    yield (f"{ticks['differing']} of {ticks['common']} common ticks differ, {ticks['other_mode']} of them in the mode; "
           f"only in A {ticks['only_a']}, only in B {ticks['only_b']}")  # fmt: skip
    for title, key in (("first divergence", "first_divergence"), ("first other mode", "first_other_mode")):
        if r[key]:
            yield f"{title} at {r[key]['at_s']:.3f} s in {', '.join(r[key]['keys'])}"
            yield from (f"   {side.upper()}  {_told(r[key][side])}" for side in "ab")
            yield from _leaf_lines(r[key], r["tolerance"])
    for change, n in sorted(r["changed_modes"].items(), key=lambda item: -item[1]):
        yield f"mode  {change}: {n} ticks"
    for rule, m in r["margins"].items():
        apart = f"at most {m['difference_max_m']:.3f} m apart, at {m['at_s']:.3f} s" if m["difference_max_m"] else \
            "never apart where both have it"  # fmt: skip
        yield f"margin {rule}: smallest {_m(m['a_min_m'])} -> {_m(m['b_min_m'])}; {apart}"
    yield from _intervention_lines(r["interventions"])


def _parameter_lines(parameters: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Yield what differs; a sensor that only one run has is one line."""
    alone = dict.fromkeys(key.rpartition(".")[0] for key, values in parameters.items()
                          if key.startswith("sensors.") and key.endswith(".kind") and None in values)  # fmt: skip
    for sensor in alone:
        yield f"   {sensor}: only in {'A' if parameters[f'{sensor}.kind'][1] is None else 'B'}"
    for key, (one, other) in parameters.items():
        if key.rpartition(".")[0] not in alone:
            yield f"   {key}: {one} -> {other}"


def _leaf_lines(found: Mapping[str, Any], tolerance: float) -> Iterator[str]:
    """Yield the first value in each of the first keys that differ and that the lines above do not show."""
    for key in [key for key in found["keys"] if key not in ("mode", "margin_m")][:LEAVES]:
        path, one, other = _leaf(found["a"][key], found["b"][key], tolerance, key)
        yield f"   {path}: {_short(one)} -> {_short(other)}"


def _leaf(a: Any, b: Any, tolerance: float, path: str, key: str = "") -> tuple[str, Any, Any]:
    """Return where two values that are not alike first differ, and the two values there."""
    key = key or path
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        names = TOLD.get(key, tuple(dict.fromkeys([*a, *b])))
        name = next(n for n in names if not alike(a.get(n, ABSENT), b.get(n, ABSENT), tolerance, n))
        return _leaf(a.get(name, ABSENT), b.get(name, ABSENT), tolerance, f"{path}.{name}", name)
    if isinstance(a, list) and isinstance(b, list):
        both = min(len(a), len(b))
        i = next((i for i in range(both) if not alike([a[i]], [b[i]], tolerance, key)), both)
        one, other = (values[i] if i < len(values) else ABSENT for values in (a, b))
        return _leaf(one, other, tolerance, f"{path}[{i}]", key)
    return path, a, b


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def _told(values: Mapping[str, Any]) -> str:
    text = f"{values['mode']}, margin {_m(values['margin_m'])}"
    reasons = values.get("reasons")
    return f"{text}: {reasons[0]['text']}" if reasons else text


def _m(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f} m"


def _intervention_lines(i: Mapping[str, Any]) -> Iterator[str]:
    yield (f"interventions: {i['same']} the same, {len(i['changed'])} changed, {len(i['only_a'])} only in A, "
           f"{len(i['only_b'])} only in B")  # fmt: skip
    for pair in i["changed"][:SHOWN]:
        yield f"   {_span(pair['a'])}  ->  {_span(pair['b'])}"
    for key in ("only_a", "only_b"):
        yield from (f"   only in {key[-1].upper()}: {_span(span)}" for span in i[key][:SHOWN])


def _span(span: Mapping[str, Any]) -> str:
    when = f"{span['start_s']:.3f} to {span['end_s']:.3f} s"
    return f"{when} {span['mode']} ({span['code']}, margin {_m(span['margin_min_m'])})"
