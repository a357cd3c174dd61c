"""The verbs `scenario` and `demo` of the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config
from safety_supervisor.replay.command import Options, replay
from safety_supervisor.scenarios import files
from safety_supervisor.scenarios.bag import outcome_record, write_bag
from safety_supervisor.scenarios.run import Outcome, Run
from safety_supervisor.scenarios.run import run as simulate
from safety_supervisor.scenarios.suite import STOPPED_VEHICLE, SUITE, Scenario, ScenarioError, find
from safety_supervisor.scenarios.suites import command as suites

DEFAULT_VEHICLE = "passenger_car"
ALL = "all"
RECORDING = "recording"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `scenario list` and `scenario run`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="list the scenarios and suites")
    one = actions.add_parser("run", help="run a scenario without and with the supervisor and record it, or a suite")
    one.add_argument("name", metavar="NAME", type=_name,
                     help=f"a scenario or suite of `scenario list`, {ALL} scenarios, or a .json file")  # fmt: skip
    one.add_argument("--config", type=Path, metavar="FILE", help=f"vehicle file (default: {DEFAULT_VEHICLE}.yaml)")
    one.add_argument("--seed", type=_seed, default=0, metavar="N", help="of sensor noise (default: 0)")
    one.add_argument("--out", type=Path, default=Path("recordings"), metavar="DIR",
                     help="folder for what is written (default: recordings)")  # fmt: skip
    one.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="(default: mcap)")
    one.add_argument("--unsupervised", action="store_true", help="only the run without the supervisor")
    one.add_argument("--json", type=Path, metavar="FILE",
                     help="write the outcomes there, one object a scenario, or the figures of a suite")  # fmt: skip
    suites.add_arguments(one)


def run(args: argparse.Namespace) -> int:
    """Execute `scenario`; 1 when a supervised run ended in a collision."""
    if args.action == "list":
        for scenario in SUITE.values():
            print(f"{scenario.name:21} {scenario.title}")
        for suite in suites.SUITES.values():
            print(f"{suite.name:21} {suite.title} (suite)")
        return 0
    if args.name in suites.SUITES:
        return suites.run(args, load(args.config))
    chosen = list(SUITE.values()) if args.name == ALL else [_find(args.name)]
    config = load(args.config)
    records = [_run_one(scenario, config, args) for scenario in chosen]
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        data = records if args.name == ALL else records[0]
        args.json.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return int(any(r["supervised"] and r["supervised"]["collision"] for r in records))


def load(path: Path | None) -> Config:
    """Load a vehicle file, by default the shipped passenger car."""
    return vehicle_file.load(path or default_vehicle())


def default_vehicle() -> Path:
    """Return the path of the shipped passenger car."""
    return vehicle_file.share_dir("config") / f"{DEFAULT_VEHICLE}.yaml"


def _name(text: str) -> str:
    """Check a name while the arguments are read, so that a wrong one is a usage error."""
    try:
        if text != ALL and text not in suites.SUITES:
            _find(text)
        return text
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    except ScenarioError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _find(name: str) -> Scenario:
    return files.load(Path(name)) if name.endswith(".json") else find(name)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _run_one(scenario: Scenario, config: Config, args: argparse.Namespace) -> dict[str, Any]:
    without = simulate(scenario, config, args.seed, supervised=False)
    supervised = None if args.unsupervised else simulate(scenario, config, args.seed, supervised=True)
    main = supervised or without
    path = args.out / scenario.name
    write_bag(main, path, without if supervised else None, args.storage)
    vehicle = write_vehicle(main, args.out / f"{scenario.name}.yaml", args.config)
    print(f"{scenario.name}: {scenario.title} (seed {args.seed})")
    print(table(without.outcome, supervised.outcome if supervised else None))
    print(f"recorded: {path} (vehicle file {vehicle})\n")
    return outcome_record(main, without if supervised else None)


def write_vehicle(recorded: Run, path: Path, source: Path | None = None) -> Path:
    """Write the parameter set of a run as a vehicle file, for a replay with exactly these parameters.

    The certificate that holds for them is copied along from beside `source`, the file they were loaded from.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(vehicle_file.to_text(recorded.config), encoding="utf-8")
    if recorded.config.certificate is not None:
        proof = vehicle_file.certificate_path(source or default_vehicle()).read_bytes()
        vehicle_file.certificate_path(path).write_bytes(proof)
    return path


# --- the table ------------------------------------------------------------------------------------------------


def _collision(o: Outcome) -> str:
    return f"after {o.collision_time:.2f} s with {o.impact_speed:.1f} m/s" if o.collision else "none"


def _distance(o: Outcome) -> str:
    return "nothing near" if o.minimal_distance is None else f"{o.minimal_distance:.2f} m"


def _intervention(o: Outcome) -> str:
    return "none" if o.first_intervention is None else f"after {o.first_intervention:.2f} s"


ROWS: Sequence[tuple[str, Callable[[Outcome], str]]] = (
    ("collision", _collision),
    ("least distance", _distance),
    ("distance at the end", lambda o: "-" if o.final_distance is None else f"{o.final_distance:.2f} m"),
    ("speed at the end", lambda o: f"{o.final_speed:.1f} m/s"),
    ("strongest braking", lambda o: f"{o.deceleration_max:.1f} m/s^2"),
    ("jerk (rms)", lambda o: f"{o.jerk_rms:.1f} m/s^3"),
    ("first stop demanded", _intervention),
)


def table(without: Outcome, supervised: Outcome | None) -> str:
    """Return the outcomes as a table of two columns, and the modes of the supervised run below it."""
    columns = [("without supervisor", without)] + ([("with supervisor", supervised)] if supervised else [])
    lines = ["  " + " " * 20 + "".join(f"{title:28}" for title, _ in columns)]
    lines += [f"  {label:20}" + "".join(f"{text(o):28}" for _, o in columns) for label, text in ROWS]
    if supervised:
        modes = ", ".join(f"{mode} {t:.2f} s" for t, mode in supervised.modes)
        lines.append(f"  {'modes from':20}{modes}")
    return "\n".join(line.rstrip() for line in lines)


# --- demo -----------------------------------------------------------------------------------------------------


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `demo`."""
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="results (default: demo)")


def run_demo(args: argparse.Namespace) -> int:
    """Execute `demo`: the first scenario, recorded and replayed; 1 when the supervised run ends in a collision."""
    scenario, config = STOPPED_VEHICLE, load(None)
    print(f"{scenario.title}.")
    without = simulate(scenario, config, 0, supervised=False)
    print(f"without supervisor: {_ending(without)}")
    supervised = simulate(scenario, config, 0, supervised=True)
    print(f"with supervisor:    {_ending(supervised)}")
    recording = args.out / RECORDING
    write_bag(supervised, recording, without)
    vehicle = write_vehicle(supervised, args.out / f"{config.vehicle.name}.yaml")
    summary = replay(recording, args.out, Options(config=vehicle))
    same = "the same decisions again" if summary["differing_modes"] == 0 else "OTHER decisions than recorded"
    print(f"recorded:           {recording}")
    print(f"replayed:           {summary['ticks']} ticks, {same}")
    print(f"report:             {args.out / 'report.html'}")
    return int(supervised.outcome.collision)


def _ending(ended: Run) -> str:
    """One line on how a run ended."""
    o = ended.outcome
    if o.collision:
        return f"collision after {o.collision_time:.1f} s with {o.impact_speed:.1f} m/s"
    if o.final_speed > 0.0 or o.final_distance is None:
        return f"no collision, still at {o.final_speed:.1f} m/s at the end"
    braked = f"first braking after {o.first_intervention:.1f} s, " if o.first_intervention is not None else ""
    return f"{braked}stop with {o.final_distance:.1f} m left"
