"""The command `safety-supervisor`: one verb per folder. Each verb is imported only when it is asked for.

Exit codes: 0 done, 1 not proved or `--fail-on` reached, 2 usage and bad input, 130 interrupted, 143 terminated, 141 the
reader of the output went away before the work was done. A problem is one line.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from safety_supervisor import __version__

NAME = "safety-supervisor"
DONE, FAILED, USAGE, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141


class CommandError(Exception):
    """A problem of the command line itself; one line."""


class Terminated(BaseException):
    """The process was asked to end; passes every handler of errors, so that what is half done is cleaned up."""


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
    Verb("explain", "explain one decision of a recording", "safety_supervisor.replay.explain"),
    Verb("diff", "compare two runs of the supervisor", "safety_supervisor.replay.diff"),
    Verb("inspect", "list what is in a recording and what is missing", "safety_supervisor.replay.inspect"),
    Verb("export", "write decisions, tracks and occurrences as tables", "safety_supervisor.replay.export"),
    Verb("view", "show a recording live in Foxglove", "safety_supervisor.replay.view"),
    Verb("fleet", "replay many recordings under many parameter sets", "safety_supervisor.fleet.command"),
    Verb("ask", "ask the results of fleet runs", "safety_supervisor.fleet.ask"),
    Verb("prove", "prove the envelope for a vehicle's parameters", "safety_supervisor.prove.command"),
    Verb("scenario", "simulate a scenario in closed loop", "safety_supervisor.scenarios.command"),
    Verb(
        "demo", "a collision and how it is avoided, as a report", "safety_supervisor.scenarios.command",
        "add_demo_arguments", "run_demo",
    ),
    Verb("campaign", "inject faults into every input, on simulated worlds", "safety_supervisor.campaign.command"),
    Verb("shadow-report", "recorded shadow drives as evidence for arming", "safety_supervisor.shadow.command"),
    Verb("config", "check a vehicle file and show what is in force", __name__, "_config_arguments", "_config"),
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """Reports a usage error as one line and exits with 2."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    _streams()
    code = UNREAD
    try:
        with contextlib.suppress(BrokenPipeError):
            with _cleaned_up():
                code = _dispatch(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
            return code
        # The reader of our output has gone (`| head`): not an error of ours. Keep Python from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return code
    except KeyboardInterrupt:
        print(f"\n{NAME}: interrupted, nothing is left half-written", file=sys.stderr)
        return INTERRUPTED
    except Terminated as request:
        print(f"{NAME}: terminated, nothing is left half-written", file=sys.stderr)
        return 128 + int(request.args[0])
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else DONE
    except Exception as error:
        if not _expected(error):
            raise
        print(f"{NAME}: error: {_one_line(error)}", file=sys.stderr)
        return USAGE


def _streams() -> None:
    """Make output possible whatever we were started with: a closed stream, or one that cannot hold every letter."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lasts as long as we do
            setattr(sys, name, stream)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _cleaned_up() -> Iterator[None]:
    """Let a request to end (SIGTERM, SIGHUP) unwind like Ctrl-C, and pass it on to the worker processes."""

    def unwind(number: int, _: FrameType | None) -> None:
        workers = sys.modules.get("multiprocessing")
        for worker in workers.active_children() if workers else ():
            worker.terminate()
        raise Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in wanted:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        for number in wanted:
            signal.signal(number, signal.SIG_DFL)


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
    if argv and chosen is None and argv[0] not in ("-h", "--help", "--version"):
        names = ", ".join(verb.name for verb in VERBS)
        raise CommandError(f"unknown option {argv[0]!r}: the verb comes first, one of {names}")
    arguments, rest = parser.parse_known_args(argv)
    if rest:
        name = NAME if chosen is None else f"{NAME} {chosen.name}"
        raise CommandError(f"unrecognized arguments: {' '.join(rest)} (see {name} --help)")
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
        ("safety_supervisor.shadow.evidence", "EvidenceError"),
        ("safety_supervisor.scenarios.suites.suite", "SuiteError"),
        ("safety_supervisor.replay.tables", "TableError"),
        ("safety_supervisor.fleet.errors", "FleetError"),
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
