"""The command `safety-supervisor`: one verb per folder. Each verb is imported only when it is asked for.

Exit codes: 0 done, 1 not proved or `--fail-on` reached, 2 usage and bad input, 130 interrupted. A problem is one line.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from safety_supervisor import __version__

NAME = "safety-supervisor"
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class CommandError(Exception):
    """A problem of the command line itself; one line."""


@dataclass(frozen=True)
class Verb:
    """One verb: where its options and its work are."""

    name: str
    help: str
    module: str
    arguments: str = "add_arguments"
    run: str = "run"

    def function(self, name: str) -> Callable[..., Any]:
        """Import the folder of the verb; raises `CommandError` when a library it needs is not installed."""
        try:
            module = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if library == "safety_supervisor":
                raise CommandError(f"{self.name} is not part of this installation ({error.name} is missing)") from None
            raise CommandError(f"{self.name} needs the Python package {library!r}, which is not installed") from None
        found: Callable[..., Any] = getattr(module, name)
        return found


VERBS = (
    Verb("replay", "run a recording through the supervisor, without ROS", "safety_supervisor.replay.command"),
    Verb("prove", "prove the envelope for a vehicle's parameters", "safety_supervisor.prove.command"),
    Verb("scenario", "simulate a scenario in closed loop", "safety_supervisor.scenarios.command"),
    Verb(
        "demo", "a collision and how it is avoided, as a report", "safety_supervisor.scenarios.command",
        "add_demo_arguments", "run_demo",
    ),
    Verb("config", "check a vehicle file and show what is in force", __name__, "_config_arguments", "_config"),
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """Reports a usage error as one line and exits with 2."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        with contextlib.suppress(BrokenPipeError):
            code = _dispatch(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
            return code
        # The reader of our output has gone (`| head`): not an error of ours. Keep Python from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except KeyboardInterrupt:
        print(f"\n{NAME}: interrupted, nothing is left half-written", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else DONE
    except Exception as error:
        if not _expected(error):
            raise
        print(f"{NAME}: error: {_one_line(error)}", file=sys.stderr)
        return USAGE


def _dispatch(argv: list[str]) -> int:
    chosen = next((verb for verb in VERBS if argv[:1] == [verb.name]), None)
    parser = _Parser(prog=NAME, description="A proved safety layer over a learned driving policy.")
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    for verb in VERBS:
        own = commands.add_parser(verb.name, help=verb.help, description=verb.help[0].upper() + verb.help[1:] + ".")
        if verb is chosen:
            verb.function(verb.arguments)(own)
    if argv and not argv[0].startswith("-") and chosen is None:
        raise CommandError(_unknown(argv[0]))
    arguments = parser.parse_args(argv)
    if chosen is None:
        parser.print_help()
        return USAGE
    return int(chosen.function(chosen.run)(arguments))


def _unknown(word: str) -> str:
    names = [verb.name for verb in VERBS]
    close = difflib.get_close_matches(word, names, 1, 0.5)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
    return f"unknown verb {word!r}, {hint}"


def _expected(error: Exception) -> bool:
    """Whether an error is about what was given to us: its text is then all there is to say."""
    if isinstance(error, (CommandError, OSError)):
        return True
    for module, name in (
        ("safety_supervisor.core.config", "ConfigError"),
        ("safety_supervisor.replay.bag", "BagError"),
        ("safety_supervisor.replay.replay", "ReplayError"),
    ):
        kind = getattr(sys.modules.get(module), name, None)  # not loaded: not raised
        if kind is not None and isinstance(error, kind):
            return True
    return False


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = error.filename if error.filename2 is None else f"{error.filename} -> {error.filename2}"
        return f"{name}: {error.strerror}" if name else error.strerror
    return " ".join(str(error).split())


# --- the verb `config` ----------------------------------------------------------------------------------------


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="vehicle file; without it the defaults")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--ros", action="store_true", help="print as a ROS parameter file, with units and reasons")
    form.add_argument("--table", action="store_true", help="print the Markdown table of every parameter")


def _config(args: argparse.Namespace) -> int:
    from safety_supervisor import vehicle_file
    from safety_supervisor.core.config import Config

    if args.table:
        print("\n".join(parameter_table()))
        return DONE
    config = vehicle_file.load(args.file) if args.file else Config()
    if args.ros:
        print(vehicle_file.to_text(config), end="")
        return DONE
    print("\n".join(_effective(config, str(args.file or "defaults"))))
    return DONE


def parameter_table() -> list[str]:
    """Return the Markdown table of every declared parameter, made from the declarations."""
    from safety_supervisor.core.config import GROUPS, Sensor, parameters

    groups: list[tuple[str, type[Any]]] = [*GROUPS.items(), ("sensors.<name>", Sensor)]
    lines = ["| parameter | default | unit | allowed | meaning |", "|---|---|---|---|---|"]
    for prefix, group in groups:
        for spec in parameters(group):
            meta = spec.metadata
            unit = meta["unit"].replace("|", "\\|")
            lines.append(
                f"| `{prefix}.{spec.name}` | {_value(spec.default)} | {unit} | {_allowed(spec)} | {meta['why']} |"
            )
    return lines


def _effective(config: Any, source: str) -> list[str]:
    """Return every parameter in force with unit and range, those that differ from the default marked."""
    from safety_supervisor.core.config import GROUPS, parameters

    groups = [(name, getattr(config, name)) for name in GROUPS]
    groups += [(f"sensors.{name}", sensor) for name, sensor in config.sensors]
    certificate = config.certificate or "none (shadow mode only)"
    lines = [f"# {source}: valid; digest {config.digest}; certificate {certificate}"]
    for prefix, group in groups:
        for spec in parameters(type(group)):
            value = getattr(group, spec.name)
            mark = "" if value == spec.default or prefix.startswith("sensors.") else f", default {_value(spec.default)}"
            unit = f" {spec.metadata['unit']}" if spec.metadata["unit"] else ""
            lines.append(f"{prefix}.{spec.name} = {_value(value)}{unit}  ({_allowed(spec)}{mark})")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(spec: Any) -> str:
    meta = spec.metadata
    if "low" in meta:
        return f"{meta['low']:g} to {meta['high']:g}"
    return ", ".join(_value(v) for v in meta["allowed"]) if meta["allowed"] else "any"
