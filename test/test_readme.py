"""The README and the docs say what is true."""

import re
import shlex
from pathlib import Path

import pytest

from safety_supervisor import cli, vehicle_file

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_parameter_table_is_the_one_of_the_declarations(capsys):
    assert cli.main(["config", "--table"]) == 0
    assert README.split("<!-- parameters -->")[1].strip() == capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def commands():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return sorted(set(re.findall(r"^\s*safety-supervisor (\w+)", text, re.MULTILINE)))


def test_there_are_commands_to_check():
    assert {"replay", "prove", "scenario"} <= set(commands())


@pytest.mark.parametrize("verb", commands())
def test_every_command_named_has_a_help_page(verb, capsys):
    assert cli.main([verb, "--help"]) == 0
    assert verb in capsys.readouterr().out


def test_options_of_replay_named_in_the_readme_exist(capsys):
    line = next(line for line in README.splitlines() if line.strip().startswith("safety-supervisor replay BAG"))
    named = [word.strip("[]") for word in shlex.split(line) if word.strip("[]").startswith("--")]
    assert cli.main(["replay", "--help"]) == 0
    shown = capsys.readouterr().out
    assert named
    assert all(option in shown for option in named)


def test_make_targets_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\s+make (\w+)", README, re.MULTILINE))
    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_every_parameter_named_in_the_docs_exists():
    rows = README.split("<!-- parameters -->")[1].splitlines()
    known = {row.split("`")[1] for row in rows if row.startswith("| `")}
    groups = {key.split(".")[0] for key in known}
    for page in PAGES:
        for key in re.findall(r"`([a-z_]+\.[a-z_]+)`", page.read_text(encoding="utf-8")):
            if key.split(".")[0] in groups and not key.startswith("sensors."):
                assert key in known, f"{page.name}: {key}"


def test_shipped_vehicles_are_named_in_the_readme():
    assert "passenger_car" in README
    assert set(vehicle_file.vehicles()) == {"passenger_car", "delivery_van"}
