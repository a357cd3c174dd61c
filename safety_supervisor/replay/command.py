"""The verb `replay`: recordings in; decisions.jsonl, summary.json and report.html out."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safety_supervisor.core.world import Decision, Mode
from safety_supervisor.messages import decision_record, json_line
from safety_supervisor.replay import report
from safety_supervisor.replay.bag import open_bags
from safety_supervisor.replay.export import FORMS, NAMES, export
from safety_supervisor.replay.inputs import (
    EACH,
    JOIN,
    Options,
    Prepared,
    add_input_arguments,
    add_window_arguments,
    grouped,
    prepare,
    stem,
    stems,
)
from safety_supervisor.replay.mapping import suggest, to_text
from safety_supervisor.replay.mcap_out import McapOut
from safety_supervisor.replay.replay import Run, ghost_path, scenario_outcome
from safety_supervisor.replay.results import Collector, rank, summary, timing
from safety_supervisor.replay.tables import TableError, require_parquet

__all__ = ["Options", "add_arguments", "replay", "run"]

PART = ".part"
FILES = ("decisions.jsonl", "summary.json", "report.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor replay`."""
    what = "rosbag2 folder, a .mcap, .db3 or .bag file, or a folder of those; several that belong together are one"
    parser.add_argument("bags", metavar="BAG", type=Path, nargs="+", help=what)
    add_input_arguments(parser)
    add_window_arguments(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for the results (default: replay_<bag>)")
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--join", action="store_true", help="replay several recordings as one, whatever they are")
    several.add_argument("--each", action="store_true", help="replay each recording by itself, into DIR/<its name>")
    modes = [mode.name for mode in Mode if mode > Mode.NOMINAL]
    parser.add_argument(
        "--fail-on", metavar="MODE", type=str.upper, choices=modes, help=f"exit 1 if reached: {', '.join(modes)}"
    )
    parser.add_argument("--export", choices=FORMS, help="write decisions, tracks and occurrences as tables too")
    parser.add_argument("--mcap", metavar="FILE", type=Path, help="write an MCAP file for Foxglove too")
    parser.add_argument("--no-report", action="store_true", help="write no report.html")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    """Replay recordings; 0 when all completed, 1 when `--fail-on` was reached in one."""
    groups = grouped(args.bags, JOIN if args.join else EACH if args.each else "")
    out = args.out or Path(f"replay_{stem(args.bags[0])}")
    progress = sys.stderr.isatty() and not args.quiet
    options = Options(
        args.config, args.set, not args.no_report, progress, args.quiet, args.mapping, args.start, args.end,
        args.export, args.mcap,
    )  # fmt: skip
    if args.export == "parquet":
        require_parquet()
    if args.mcap is not None and len(groups) > 1:
        raise TableError(f"--mcap {args.mcap}: one file cannot hold {len(groups)} recordings; replay them one by one")
    failed = False
    for group, name in zip(groups, stems(groups), strict=True):
        target = out if len(groups) == 1 else out / name
        failed |= _reached(replay(group, target, options), args.fail_on)
    return 1 if failed else 0


def _reached(result: dict[str, Any], mode: str | None) -> bool:
    if mode is None:
        return False
    limit = rank(Mode[mode])
    reached = [name for name, ticks in result["modes"].items() if ticks and rank(Mode[name]) >= limit]
    if reached:
        print(f"safety-supervisor: --fail-on {mode}: reached {', '.join(reached)}", file=sys.stderr)
    return bool(reached)


def _spare(mcap: Path, paths: Sequence[Path], out: Path) -> None:
    """Refuse to write the MCAP file over what is replayed, or over what `replay` itself writes."""
    target = mcap.resolve()
    for path in paths:
        if target.exists() and target.is_relative_to(path.resolve()):
            raise TableError(f"--mcap {mcap}: is part of the recording {path}, expected the name of a new file")
    if target in [(out / name).resolve() for name in FILES]:
        raise TableError(f"--mcap {mcap}: is a result of the replay itself, expected another name")


def replay(path: Path | Sequence[Path], out: Path, options: Options | None = None) -> dict[str, Any]:
    """Replay a recording, or several as one, into a folder and return the summary.

    The files appear under their names only when complete. Raises `BagError`, `ConfigError` or `OSError`, each with a
    text of one line.
    """
    options = options or Options()
    paths = [path] if isinstance(path, Path) else list(path)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, expected a folder for the results", str(out))
    for name in FILES:
        if (out / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder, expected to write a result there", str(out / name))
    if options.mcap is not None:
        _spare(options.mcap, paths, out)
    with open_bags(paths) as bag:
        ready = prepare(bag, options)
        if not options.quiet:
            _introduce(ready)
        new = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        try:
            result = _written(ready, out, options)
            for name in FILES:
                if (out / (name + PART)).exists():
                    os.replace(out / (name + PART), out / name)
                else:  # an older report would tell of another replay
                    (out / name).unlink(missing_ok=True)
            for name in NAMES:  # and so would older tables
                for form in FORMS:
                    (out / f"{name}.{form}").unlink(missing_ok=True)
        finally:
            for name in FILES:
                (out / (name + PART)).unlink(missing_ok=True)
            if new:
                with contextlib.suppress(OSError):  # it holds the results
                    out.rmdir()
    tables = export(out / FILES[0], out, options.export) if options.export else ()
    if not options.quiet:
        _conclude(result, out, [f"{name}.{options.export}" for name in tables], options.mcap)
    return result


def _written(ready: Prepared, out: Path, options: Options) -> dict[str, Any]:
    """Run through the bag and write every file under its temporary name."""
    replayed = ready.run
    collector = Collector()
    pictures = report.Pictures(replayed.config) if options.report else None
    began = time.perf_counter()
    recorded = replayed.compared()
    part = out / (FILES[0] + PART)
    mcap = McapOut(options.mcap, replayed.config) if options.mcap else contextlib.nullcontext()
    with part.open("w", encoding="utf-8", newline="\n") as lines, mcap as foxglove:
        for decision in _with_progress(replayed, options.progress):
            line = json_line(decision_record(decision))
            lines.write(line + "\n")
            collector.add(decision)
            before = next(recorded, None)
            if before is not None:
                collector.agreement.add(before, decision, line)
            if pictures is not None:
                pictures.add(decision)
            if foxglove is not None:
                foxglove.add(decision)
    total = time.perf_counter() - began
    duration = (collector.end - collector.start) / 1e9
    result = summary(replayed, collector, ready.source, ready.notes, timing(replayed.tick_seconds, total, duration))
    outcome = scenario_outcome(replayed.bag)
    if outcome is not None:
        result["scenario"] = outcome
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    (out / (FILES[1] + PART)).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    if pictures is not None:
        page = report.page(result, pictures, ghost_path(replayed.bag))
        (out / (FILES[2] + PART)).write_text(page, encoding="utf-8", errors="backslashreplace")
    return result


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


def _introduce(ready: Prepared) -> None:
    replayed, bag = ready.run, ready.run.bag
    count = sum(t.count for t in bag.topics)
    print(f"bag      {' + '.join(map(str, bag.paths))}: {count} messages, {bag.duration:.1f} s")
    if bag.recovered:
        print(f"         recovered: {'; '.join(bag.notes)}")
    certificate = (replayed.config.certificate or "none")[:12]
    print(f"config   {ready.source} ({replayed.config.digest[:12]}, certificate {certificate})")
    for note in [*replayed.wiring.notes, *ready.notes]:
        print(f"         {note}")
    for topic, used in sorted(replayed.wiring.used_as.items()):
        print(f"input    {topic}: {used}")
    for lost in replayed.wiring.missing:
        print(f"missing  {lost['input']} ({lost['topic']}): {lost['why']}")
    if replayed.wiring.missing:
        _suggest(replayed)
    print(f"ticks    {replayed.grouping}")


def _suggest(replayed: Run) -> None:
    """Print the mapping that would serve the missing inputs, if the recording has topics for them."""
    found = suggest(replayed.bag, replayed.config, replayed.wiring.names)
    if found.topics or found.frames:
        print("         a mapping like this may help (--mapping FILE; `inspect` tells more):")
        for line in to_text(found).splitlines():
            print(f"           {line}")


def _conclude(result: dict[str, Any], out: Path, tables: Sequence[str], mcap: Path | None) -> None:
    counts = ", ".join(f"{name} {n}" for name, n in result["modes"].items() if n)
    speed = result["processing"]["times_real_time"]
    print(f"done     {result['ticks']} ticks: {counts} ({speed} x real time)")
    if result["agreement"]:
        same, ticks = result["agreement"]["same_mode"], result["agreement"]["ticks"]
        print(f"recorded {ticks} decisions: the same mode in {same}, {result['agreement']['identical']} identical")
    if result["plan_source"] == "extrapolation":
        print("plan     the physical extrapolation of the present motion was judged")
    shown = result["interventions"][:10]
    for entry in shown:
        print(f"  {entry['start_s']:8.2f} s - {entry['end_s']:.2f} s  {entry['mode']}: {entry['reason']}")
    if len(result["interventions"]) > len(shown):
        print(f"  ... and {len(result['interventions']) - len(shown)} more")
    written = [name for name in FILES if (out / name).exists()]
    print(f"results  {out}/: {', '.join([*written, *tables])}")
    if mcap is not None:
        print(f"         {mcap}: for Foxglove")
