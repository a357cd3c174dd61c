"""Every command in README and docs is executed here, page by page in order, or stands below with the reason why not."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from safety_supervisor import cli, vehicle_file
from safety_supervisor.prove import command as prove
from safety_supervisor.scenarios import command as scenarios
from safety_supervisor.scenarios.bag import write_bag
from safety_supervisor.scenarios.run import run
from safety_supervisor.scenarios.suite import find
from safety_supervisor.scenarios.suites import command as suites

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("safety-supervisor", "python", "make", "ros2", "colcon", "cd", "pip", "touch", "source", "git")

LEFT = {
    r"^cd ~/ws|^touch ~/ws|^pip install|^python3 -m venv|^source": "needs a ROS workspace",
    r"^ros2 ": "needs a ROS installation; test_node_launch.py starts the same launch file's nodes",
    r"^git clone": "this is the clone",
    r"^make (demo|test|coverage|docs|check|lint|help|lock|supply|release|campaign)\b": "makes an environment of "
    "its own or runs the tests, this one among them; that the targets exist is tested below",
    r"^safety-supervisor prove(?!.* --only)": "proves every claim, minutes: test_prove.py does it",
    r"^safety-supervisor prove .*--(ablation|witnesses)": "minutes: test_prove.py and test_prove_witnesses.py do it",
    r"^safety-supervisor replay rosbag2_mcap": "needs the recorded drive: test_replay.py uses it where it is",
    r"^python benchmarks/live_latency.py": "minutes of a live node: test_node_latency.py runs a short one",
    r"^python benchmarks/\S+ rosbag2_mcap": "needs the recorded drive, which is not shipped",
    r"^python campaigns/statistics_claim.py .*--record": "thousands of drives, beyond the time of a test, and writes "
    "into the tree: test_campaign_statistics.py runs a part",
    r"^safety-supervisor campaign faults --json": "the whole matrix, hours: test_campaign_faults.py runs a part of it",
}
"""Pattern -> why a command is not executed."""
REFUTES = r"^safety-supervisor prove .*--counterexample"
"""Commands whose page says that they end with 1: a claim is refuted."""
SHORTER = {r"^safety-supervisor fleet ": ["--workers", "0"]}
"""Pattern -> options that make the same command quick."""


def commands(page):
    """The commands of a page in order: lines of code that begin with a program."""
    found, fenced = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        code = line.strip().split("   #")[0].strip()
        if (fenced or line.startswith("    ")) and code.split(" ")[0] in PROGRAMS:
            found.append(code)
    return found


def reason(command):
    return next((why for pattern, why in LEFT.items() if re.search(pattern, command)), None)


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """A folder like a checkout, with a recording and a vehicle file of one's own."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("config", "proofs"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(vehicle_file.share_dir("config") / "passenger_car.yaml", folder / "my_vehicle.yaml")
    page = (ROOT / "docs" / "proofs.md").read_text(encoding="utf-8")
    weak = page.partition("# weak.yaml\n")[2].partition("\n\n")[0]
    (folder / "weak.yaml").write_text(textwrap.dedent(weak), encoding="utf-8")
    (folder / "drives").symlink_to("made")
    short = run(replace(find("parking-stop"), duration=4.0), scenarios.load(None), 0, True)
    write_bag(short, folder / "made" / "parking-stop")
    scenarios.write_vehicle(short, folder / "made" / "parking-stop.yaml")
    return folder


@pytest.fixture
def few(monkeypatch):
    """Of every suite two cases are run, and of the claims those that a page names, and one of a family."""
    sample, load = suites.sample, prove.claims.load
    monkeypatch.setattr(suites, "sample", lambda *asked: sample(*asked)[:2])
    named = ("LON-1", "TTC-1", "FALL-6")
    monkeypatch.setattr(prove.claims, "load", lambda folder: [claim for claim in load(folder) if claim.id in named])


def filled(command, folder):
    """The words of a command: optional parts left out, placeholders filled in."""
    command = re.sub(r"\s*\[[^\]]*\]", "", command)
    for word, value in (("BAG...", "made/parking-stop"), ("BAG", "made/parking-stop"),
                        ("--at T", "--at 2.0"), ("QUESTION", "interventions-per-hour"),
                        ("diff A B", "diff made/parking-stop made/parking-stop")):  # fmt: skip
        command = re.sub(rf"(?<!\S){re.escape(word)}(?!\S)" if word[0].isupper() else re.escape(word), value, command)
    words = shlex.split(command)
    for pattern, more in SHORTER.items():
        if re.search(pattern, command):
            return [*words, *more]
    del folder
    return words


def execute(words):
    if words[0] == "safety-supervisor":
        return cli.main(words[1:])
    return subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, timeout=250).returncode


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
@pytest.mark.usefixtures("few")
def test_the_commands_of_a_page_work(page, example, monkeypatch, capsys):
    monkeypatch.chdir(example)
    for command in commands(page):
        if reason(command) is None:
            code = execute(filled(command, example))
            said = capsys.readouterr()
            wanted = 1 if re.search(REFUTES, command) else 0
            assert code == wanted, f"{page.name}: {command!r} ended with {code}: {said.err[-600:]}"


def test_there_are_commands_to_execute_and_every_reason_is_needed():
    every = [command for page in PAGES for command in commands(page)]
    executed = [command for command in every if reason(command) is None]
    assert len(executed) >= 12
    used = {why for command in every if (why := reason(command))}
    assert len(used) >= 6


def test_control_a_command_that_does_not_exist_fails(example, monkeypatch, capsys):
    monkeypatch.chdir(example)
    assert execute(filled("safety-supervisor replay BAG --no-such-option", example)) != 0
    assert capsys.readouterr().err


@pytest.fixture(scope="module")
def options():
    """Verb -> every long option that it and its actions take."""

    def of(parser):
        found = {name for action in parser._actions for name in action.option_strings}
        below = [action.choices.values() for action in parser._actions if isinstance(action.choices, dict)]
        return found.union(*(of(child) for children in below for child in children))

    taken = {}
    for verb in cli.VERBS:
        parser = argparse.ArgumentParser()
        verb.function(verb.arguments)(parser)
        taken[verb.name] = of(parser)
    return taken


def mentions(text):
    """(verb, option) of each command that stands in a sentence, with or without the program's name."""
    for span in re.findall(r"`([^`\n]+)`", text):
        words = span.removeprefix("safety-supervisor ").split()
        if words and words[0] in {verb.name for verb in cli.VERBS}:
            yield from ((words[0], word) for word in re.findall(r"--[a-z0-9-]+", span))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_that_sentences_name_exist(page, options):
    named = list(mentions(page.read_text(encoding="utf-8")))
    assert [(verb, name) for verb, name in named if name not in options[verb]] == []


def test_control_an_option_that_does_not_exist_is_found(options):
    ((verb, name),) = mentions("write `safety-supervisor inspect BAG --suggest-mapping FILE` and `inspect` it")
    assert verb == "inspect"
    assert name not in options[verb]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_make_targets_that_are_named_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in commands(page):
        if command.startswith("make "):
            target = next(word for word in command.split()[1:] if "=" not in word)
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), command
