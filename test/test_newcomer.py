"""What newcomers get wrong, each answered by one line that helps; and a clone that leads to a report."""

from __future__ import annotations

import json

import pytest

from safety_supervisor import cli

WRONG = {
    "a verb with a typing error": (["replya", "x"], "did you mean replay?"),
    "no verb at all but an option": (["--bag", "x"], "the verb comes first"),
    "a recording that is not there": (["replay", "no_such_bag"], "no such file or folder"),
    "a file that is no recording": (["replay", "{text}"], "expected"),
    "an empty folder": (["replay", "{empty}"], "holds no recording"),
    "a vehicle file that is not there": (["config", "no_such.yaml"], "No such file"),
    "a key with a typing error": (["config", "{typo}"], "assumed_brake"),
    "a value out of range": (["config", "{range}"], "allowed|outside"),
    "a unit written behind a number": (["config", "{unit}"], "must be float"),
    "a file that is no YAML": (["config", "{yaml}"], "not valid YAML"),
    "a scenario with a typing error": (["scenario", "run", "cutin"], "did you mean cut-in?"),
    "a seed that is no number": (["scenario", "run", "cut-in", "--seed", "first"], "whole number"),
    "a claim that does not exist": (["prove", "--only", "NOPE-1"], "NOPE-1"),
    "an option of another verb": (["config", "--bag", "x"], "unrecognized arguments"),
    "an input that the vehicle does not have": (["campaign", "faults", "--only", "lidar"], "inputs are"),
}


@pytest.fixture
def files(tmp_path):
    texts = {"text": "hello", "typo": "envelope: {asumed_brake: 7.0}", "range": "odd: {speed_max: 900.0}",
             "unit": "odd: {speed_max: 30 m/s}", "yaml": "odd: {speed_max: 30"}  # fmt: skip
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "empty").mkdir()
    return {**{name: str(tmp_path / f"{name}.yaml") for name in texts}, "empty": str(tmp_path / "empty")}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_usage_is_answered_by_one_line_that_helps(what, files, capsys):
    words, hint = WRONG[what]
    assert cli.main([word.format(**files) for word in words]) == 2
    said = capsys.readouterr()
    (line,) = said.err.strip().splitlines()
    assert line.startswith("safety-supervisor: error:")
    assert any(part in line for part in hint.split("|")), line
    assert "Traceback" not in said.err + said.out


def test_there_are_at_least_ten():
    assert len(WRONG) >= 10


def test_from_nothing_to_a_first_report(tmp_path, capsys):
    assert cli.main(["demo", "--out", str(tmp_path / "demo")]) == 0
    assert "report" in capsys.readouterr().out
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["differing_modes"] == 0
