"""Running a suite from the command line: cases, table, rows, picture, JSON."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from safety_supervisor.core.config import Config, to_mapping
from safety_supervisor.scenarios.suites import picture, pool, table
from safety_supervisor.scenarios.suites.registry import SUITES, find, work
from safety_supervisor.scenarios.suites.suite import Options, Row, Suite, SuiteError, sample, summary

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
"""Where the data folder is when it lies beside the checkout."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what only a suite listens to."""
    group = parser.add_argument_group("suites")
    group.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes (default: 1)")
    sensing = group.add_mutually_exclusive_group()
    sensing.add_argument("--perfect-sensors", action="store_true",
                         help="tracks without error, misses or clutter (default; nuisance: --sensors)")  # fmt: skip
    sensing.add_argument("--sensors", action="store_true", help="sensor models and tracker in the loop")
    group.add_argument("--sample", type=_count, metavar="N", help="about N cases, of every stratum its share")
    group.add_argument("--data", type=Path, metavar="DIR",
                       help="folder of tables and recordings (default: shared/data beside the checkout)")  # fmt: skip
    group.add_argument("--hours", type=_hours, default=30.0, metavar="H",
                       help="simulated time of nuisance (default: 30)")  # fmt: skip


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 < value <= 10_000.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours above 0")
    return value


@dataclass(frozen=True, slots=True)
class Result:
    """What a suite came to."""

    summary: dict[str, Any]
    rows: list[Row]


def run(args: argparse.Namespace, config: Config) -> int:
    """Run the suite `args.name`, print its table and write its files."""
    suite = find(args.name)
    sensed = args.sensors or (args.name == "nuisance" and not args.perfect_sensors)
    options = Options(sensed, args.seed, _data(suite, args.data), args.hours)
    config = suite.configure(config, options)
    began = time.monotonic()
    result = execute(suite, config, options, args.jobs, args.sample or suite.usual)
    print(f"{suite.name}: {suite.title}")
    print("\n".join(_lines(result.summary)))
    print(f"  vehicle: {_vehicle(config)}")
    path = table.write(result.rows, args.out / suite.name)
    print(f"  cases: {path} ({time.monotonic() - began:.0f} s)")
    image = args.out / f"{suite.name}.png"
    title = f"{suite.title} ({'sensor models' if sensed else 'perfect sensors'})"
    if picture.draw(result.rows, suite.picture, title, image):
        print(f"  picture: {image}")
    else:
        print("  picture: none, it needs the Python package 'matplotlib' (extra 'suites')")
    if args.json:
        write_json(args.json, result.summary)
    return 0


def execute(suite: Suite, config: Config, options: Options, jobs: int, wanted: int | None) -> Result:
    """Run the cases of a suite, or about `wanted` of them; the same result for any number of processes."""
    specs = suite.specs(options)
    chosen = sample(specs, wanted, options.seed)
    weights = {spec.id: weight for spec, weight in chosen}
    pieces = pool.chunks([spec.id for spec, _ in chosen])
    rows: list[Row] = []
    with tqdm(total=len(chosen), unit="case", desc=suite.name, disable=None) as bar:
        for part in pool.run(suite.name, work, pieces, config, options, jobs):
            rows += part
            bar.update(len(part))
    figures = summary(suite, rows, [weights[r["case"]] for r in rows], len(specs))
    head = {"suite": suite.name, "sensors": "modelled" if options.sensed else "perfect", "seed": options.seed}
    return Result({**head, **figures, "digest": config.digest, "parameters": to_mapping(config)}, rows)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a summary, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _data(suite: Suite, given: Path | None) -> Path | None:
    folder = given or (DATA if DATA.is_dir() else None)
    if suite.needs is None:
        return folder
    if folder is None or not (folder / suite.needs).exists():
        where = f"{folder} has no {suite.needs}" if folder else "there is no data folder beside the checkout"
        raise SuiteError(f"suite {suite.name} needs {suite.needs}: {where}; name its folder with --data DIR")
    return folder


LINES = (
    ("cases", "cases"), ("collisions without the supervisor", "collisions_without"),
    ("  of them unavoidable by braking", "unavoidable"), ("  of them left with it", "collisions_left"),
    ("    of these avoidable by braking", "avoidable_left"), ("new collisions caused by acting", "collisions_new"),
    ("mean impact speed [m/s]", "mean_impact_speed_mps"), ("the same without [m/s]", "mean_impact_speed_without_mps"),
    ("interventions per hour", "interventions_per_hour"),
)  # fmt: skip


def _lines(figures: Mapping[str, Any]) -> list[str]:
    scaled: Mapping[str, Any] = figures.get("scaled", {})
    lines = []
    for label, key in LINES:
        more = f"   (of all {figures['population']}: {scaled[key]:.0f})" if key in scaled else ""
        lines.append(f"  {label:36}{figures[key]:>10}{more}")
    for key, value in figures.items():
        if isinstance(value, dict) and key not in ("scaled", "parameters"):
            lines.append(f"  {key}")
            lines += [f"    {name:33} {_plain(v)}" for name, v in value.items()]
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in value.items() if v or k == "cases")
    return f"{value:>10}" if not isinstance(value, Sequence) or isinstance(value, str) else ", ".join(map(str, value))


def _vehicle(config: Config) -> str:
    v, f, t = config.vehicle, config.fallback, config.timing
    return (
        f"{v.name}, {v.front + v.rear:g} x {v.width:g} m, brake {f.emergency_deceleration:.4g} m/s^2 with "
        f"{f.emergency_jerk:g} m/s^3 after {t.actuation_delay:g} s, decisions every {t.period:g} s"
    )


__all__ = ["SUITES", "Result", "add_arguments", "execute", "run", "write_json"]
