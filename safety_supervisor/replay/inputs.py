"""From the command line to what is replayed: which recordings, as one or each by itself, with which parameter set."""

from __future__ import annotations

import argparse
import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config, ConfigError, to_mapping, with_values
from safety_supervisor.replay.bag import Bag, open_bags
from safety_supervisor.replay.mapping import Mapping as Names
from safety_supervisor.replay.mapping import load_mapping
from safety_supervisor.replay.profile import derive
from safety_supervisor.replay.replay import SILENCE_MAX, Run, flight, window
from safety_supervisor.replay.storages import PACKED, recordings_in

JOIN, EACH = "join", "each"


@dataclass(frozen=True, slots=True)
class Options:
    """How to replay a recording."""

    config: Path | None = None
    values: Sequence[str] = ()
    """`key=value` settings over the parameter set."""
    report: bool = True
    progress: bool = False
    quiet: bool = True
    mapping: Path | None = None
    start: str | None = None
    end: str | None = None
    export: str | None = None
    """Tables beside the decisions: csv or parquet."""
    mcap: Path | None = None
    """MCAP file with Foxglove schemas to be written."""


@dataclass(slots=True)
class Prepared:
    """A run that is ready to go, and how its parameter set came about."""

    run: Run
    source: str
    notes: list[str]


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say how recordings are to be understood; shared by all verbs that replay."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="vehicle file; without it a profile is derived")
    example = "change a parameter, for example timing.period=0.1"
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=example)
    parser.add_argument("--mapping", metavar="FILE", type=Path, help="YAML: which topic and which frame is what")


def add_window_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--start` and `--end`."""
    when = "seconds after the recording begins, or nanoseconds"
    parser.add_argument("--start", metavar="T", help=f"leave out what is before: {when}")
    parser.add_argument("--end", metavar="T", help=f"leave out what is after: {when}")


def prepare(bag: Bag, options: Options) -> Prepared:
    """Return the run of a bag. Raises `BagError`, `ConfigError` or `OSError`, each with a text of one line."""
    mapping = load_mapping(options.mapping) if options.mapping else Names()
    config, source, notes = parameter_set(bag, options, mapping)
    return Prepared(Run(bag, config, mapping, window(options.start, options.end, bag)), source, notes)


def parameter_set(bag: Bag, options: Options, mapping: Names) -> tuple[Config, str, list[str]]:
    """Return the parameter set, where it comes from, and what was guessed."""
    notes: list[str] = []
    if options.config is not None:
        config, source = vehicle_file.load(options.config), options.config.name
    elif flown := flight(bag):
        config, source = flown.config, "of the flight recording"
    else:
        profile = derive(bag, mapping)
        config, source = profile.config, "derived from the topics of the bag"
        notes = [*profile.notes, *(f"not in the bag: {what}" for what in profile.missing)]
    if options.values:
        config = with_values(config, settings(options.values, config))
        source += ", with --set " + " ".join(options.values)
    return config, source, notes


def settings(pairs: Sequence[str], config: Config) -> dict[str, Any]:
    """Read `key=value` pairs; every key must exist."""
    known = list(_dotted(to_mapping(config), ""))
    found = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {pair!r} must be KEY=VALUE, for example timing.period=0.1")
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f", did you mean {close[0]}?" if close else ""
            raise ConfigError(f"--set {pair}: unknown key {key}{hint}")
        try:
            found[key] = _number(yaml.safe_load(text))
        except yaml.YAMLError:
            raise ConfigError(f"--set {pair}: {text!r} is not a value") from None
    return found


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-3 for text; a parameter of that form is a number."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _dotted(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key


# --- several recordings ---------------------------------------------------------------------------------------


def grouped(paths: Sequence[Path], how: str = "") -> list[list[Path]]:
    """Return which files and folders are replayed together, each inner list as one recording.

    A folder that only holds recordings stands for those. Recordings complement one another when no topic is in two of
    them at the same time and no more than `SILENCE_MAX` lies between; `how` (JOIN, EACH) overrides that.
    """
    found = [recording for path in paths for recording in recordings_in(path)]
    if how == EACH:
        return found
    if len(found) < 2 or how == JOIN or _complement(found):
        return [[path for recording in found for path in recording]]
    return found


def _complement(recordings: Sequence[Sequence[Path]]) -> bool:
    spans: dict[str, list[tuple[int, int]]] = {}
    whole = []
    for recording in recordings:
        with open_bags(recording) as bag:
            whole.append((bag.start, bag.end))
            for topic in bag.topics:
                if topic.count:
                    spans.setdefault(topic.name, []).append((topic.first, topic.last))
    return _apart(whole) <= SILENCE_MAX and all(_disjoint(of_topic) for of_topic in spans.values())


def _apart(spans: Sequence[tuple[int, int]]) -> int:
    """Return the longest time [ns] that no recording covers."""
    longest, reached = 0, min(start for start, _ in spans)
    for start, end in sorted(spans):
        longest, reached = max(longest, start - reached), max(reached, end)
    return longest


def _disjoint(spans: Sequence[tuple[int, int]]) -> bool:
    return all(before[1] <= after[0] for before, after in pairwise(sorted(spans)))


def stem(path: Path) -> str:
    """Return the name of a recording without the ending of its storage."""
    resolved = path.resolve()
    for _ in range(2):
        if resolved.suffix in (*PACKED, ".mcap", ".db3", ".bag"):
            resolved = resolved.with_suffix("")
    return resolved.name


def stems(groups: Sequence[Sequence[Path]]) -> list[str]:
    """Return a name for each group, made different where two are alike."""
    names: list[str] = []
    for group in groups:
        base = name = stem(group[0])
        number = 2
        while name in names:
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return names
