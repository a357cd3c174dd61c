"""The verb `replay`: a bag in; decisions.jsonl, summary.json and report.html out."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config, ConfigError, to_mapping, with_values
from safety_supervisor.core.world import Decision, Mode
from safety_supervisor.messages import decision_record, json_line
from safety_supervisor.replay import report
from safety_supervisor.replay.bag import Bag, open_bag
from safety_supervisor.replay.profile import derive
from safety_supervisor.replay.replay import Run, ghost_path, scenario_outcome
from safety_supervisor.replay.results import Collector, rank, summary, timing

PART = ".part"
FILES = ("decisions.jsonl", "summary.json", "report.html")


@dataclass(frozen=True, slots=True)
class Options:
    """How to replay one bag."""

    config: Path | None = None
    values: Sequence[str] = ()
    """`key=value` settings over the parameter set."""
    report: bool = True
    progress: bool = False
    quiet: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor replay`."""
    parser.add_argument("bag", metavar="BAG", type=Path, help="rosbag2 folder, or a .mcap, .db3 or .bag file")
    parser.add_argument("--config", metavar="FILE", type=Path, help="vehicle file; without it a profile is derived")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for the results (default: replay_<bag>)")
    modes = [mode.name for mode in Mode if mode > Mode.NOMINAL]
    parser.add_argument(
        "--fail-on", metavar="MODE", type=str.upper, choices=modes, help=f"exit 1 if reached: {', '.join(modes)}"
    )
    example = "change a parameter, for example timing.period=0.1"
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=example)
    parser.add_argument("--no-report", action="store_true", help="write no report.html")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    """Replay one bag; 0 when it completed, 1 when `--fail-on` was reached."""
    out = args.out or Path(f"replay_{_stem(args.bag)}")
    options = Options(args.config, args.set, not args.no_report, sys.stderr.isatty() and not args.quiet, args.quiet)
    result = replay(args.bag, out, options)
    if args.fail_on is None:
        return 0
    limit = rank(Mode[args.fail_on])
    reached = [name for name, ticks in result["modes"].items() if ticks and rank(Mode[name]) >= limit]
    if reached:
        print(f"safety-supervisor: --fail-on {args.fail_on}: reached {', '.join(reached)}", file=sys.stderr)
    return 1 if reached else 0


def replay(path: Path, out: Path, options: Options | None = None) -> dict[str, Any]:
    """Replay a bag into a folder and return the summary. The files appear under their names only when complete.

    Raises `BagError`, `ConfigError` or `OSError`, each with a text of one line.
    """
    options = options or Options()
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, expected a folder for the results", str(out))
    for name in FILES:
        if (out / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder, expected to write a result there", str(out / name))
    with open_bag(path) as bag:
        config, source, notes = _config(bag, options)
        replayed = Run(bag, config)
        if not options.quiet:
            _introduce(replayed, source, notes)
        out.mkdir(parents=True, exist_ok=True)
        try:
            result = _written(replayed, out, source, notes, options)
            for name in FILES:
                if (out / (name + PART)).exists():
                    os.replace(out / (name + PART), out / name)
                else:  # an older report would tell of another replay
                    (out / name).unlink(missing_ok=True)
        finally:
            for name in FILES:
                (out / (name + PART)).unlink(missing_ok=True)
    if not options.quiet:
        _conclude(result, out)
    return result


def _written(replayed: Run, out: Path, source: str, notes: Sequence[str], options: Options) -> dict[str, Any]:
    """Run through the bag and write every file under its temporary name."""
    collector = Collector()
    pictures = report.Pictures(replayed.config) if options.report else None
    began = time.perf_counter()
    recorded = iter(replayed.recorded)
    with (out / (FILES[0] + PART)).open("w", encoding="utf-8", newline="\n") as lines:
        for decision in _with_progress(replayed, options.progress):
            lines.write(json_line(decision_record(decision)) + "\n")
            collector.add(decision)
            before = next(recorded, None)
            collector.differing += before is not None and before.mode != decision.mode.name
            if pictures is not None:
                pictures.add(decision)
    total = time.perf_counter() - began
    duration = (collector.end - collector.start) / 1e9
    result = summary(replayed, collector, source, notes, timing(replayed.tick_seconds, total, duration))
    outcome = scenario_outcome(replayed.bag)
    if outcome is not None:
        result["scenario"] = outcome
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    (out / (FILES[1] + PART)).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    if pictures is not None:
        page = report.page(result, pictures, ghost_path(replayed.bag))
        (out / (FILES[2] + PART)).write_text(page, encoding="utf-8", errors="backslashreplace")
    return result


def _config(bag: Bag, options: Options) -> tuple[Config, str, list[str]]:
    """Return the parameter set, where it comes from, and what was guessed."""
    notes: list[str] = []
    if options.config is not None:
        config, source = vehicle_file.load(options.config), options.config.name
    else:
        profile = derive(bag)
        config, source = profile.config, "derived from the topics of the bag"
        notes = [*profile.notes, *(f"not in the bag: {what}" for what in profile.missing)]
    if options.values:
        config = with_values(config, _settings(options.values, config))
        source += ", with --set " + " ".join(options.values)
    return config, source, notes


def _settings(pairs: Sequence[str], config: Config) -> dict[str, Any]:
    """Read `key=value` pairs; every key must exist."""
    known = list(_dotted(to_mapping(config), ""))
    settings = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {pair!r} must be KEY=VALUE, for example timing.period=0.1")
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f", did you mean {close[0]}?" if close else ""
            raise ConfigError(f"--set {pair}: unknown key {key}{hint}")
        try:
            settings[key] = _number(yaml.safe_load(text))
        except yaml.YAMLError:
            raise ConfigError(f"--set {pair}: {text!r} is not a value") from None
    return settings


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-3 for text; a parameter of that form is a number."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _dotted(values: Any, prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _stem(path: Path) -> str:
    name = path.resolve().name
    return name.rsplit(".", 1)[0] if path.suffix in (".mcap", ".db3", ".bag") else name


# --- what the terminal sees -----------------------------------------------------------------------------------


def _with_progress(replayed: Run, progress: bool) -> Iterator[Decision]:
    if not progress:
        yield from replayed.decisions()
        return
    from tqdm import tqdm

    duration = round(replayed.bag.duration, 1)
    with tqdm(total=duration, unit="s", desc="replay", leave=False, file=sys.stderr, delay=0.5) as bar:
        for decision in replayed.decisions():
            yield decision
            bar.update(min(max((decision.t - replayed.bag.start) / 1e9, 0.0), duration) - bar.n)


def _introduce(replayed: Run, source: str, notes: Sequence[str]) -> None:
    bag = replayed.bag
    print(f"bag      {bag.path}: {sum(t.count for t in bag.topics)} messages, {bag.duration:.1f} s")
    if bag.recovered:
        print(f"         recovered: {'; '.join(bag.notes)}")
    certificate = (replayed.config.certificate or "none")[:12]
    print(f"config   {source} ({replayed.config.digest[:12]}, certificate {certificate})")
    for note in [*replayed.wiring.notes, *notes]:
        print(f"         {note}")
    for topic, used in sorted(replayed.wiring.used_as.items()):
        print(f"input    {topic}: {used}")
    for lost in replayed.wiring.missing:
        print(f"missing  {lost['input']} ({lost['topic']}): {lost['why']}")
    print(f"ticks    {replayed.grouping}")


def _conclude(result: dict[str, Any], out: Path) -> None:
    counts = ", ".join(f"{name} {n}" for name, n in result["modes"].items() if n)
    speed = result["processing"]["times_real_time"]
    print(f"done     {result['ticks']} ticks: {counts} ({speed} x real time)")
    if result["plan_source"] == "extrapolation":
        print("plan     the physical extrapolation of the present motion was judged")
    shown = result["interventions"][:10]
    for entry in shown:
        print(f"  {entry['start_s']:8.2f} s - {entry['end_s']:.2f} s  {entry['mode']}: {entry['reason']}")
    if len(result["interventions"]) > len(shown):
        print(f"  ... and {len(result['interventions']) - len(shown)} more")
    written = [name for name in FILES if (out / name).exists()]
    print(f"results  {out}/: {', '.join(written)}")
