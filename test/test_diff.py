"""`diff` tells two runs apart, and says where, in what and for whom it matters."""

from __future__ import annotations

import json
import shutil

import pytest
import recordings
from recordings import START, drive, write

from safety_supervisor import cli
from safety_supervisor.replay.bag import BagError
from safety_supervisor.replay.command import Options, replay
from safety_supervisor.replay.diff import _parameter_lines, alike, diff, same
from safety_supervisor.replay.diff import lines as diff_lines

S = 10**9


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A drive whose plan ends, and its results."""
    path = tmp_path_factory.mktemp("diff")
    messages = [m for m in drive(4.0) if m[0] != "/policy/trajectory" or m[2] < START + 2 * S]
    write(path / "drive", messages)
    replay(path / "drive", path / "out", Options(report=False))
    return path


def changed(runs, tmp_path, change):
    """A copy of the results in which `change` has edited each record."""
    target = tmp_path / "changed"
    shutil.copytree(runs / "out", target)
    records = [json.loads(line) for line in (target / "decisions.jsonl").read_text().splitlines()]
    kept = [record for record in map(change, records) if record is not None]
    (target / "decisions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in kept))
    return diff(runs / "out", target)


def test_the_same_run_is_the_same(runs, tmp_path):
    result = changed(runs, tmp_path, lambda record: record)
    assert result["same"]
    assert set(result) == recordings.documented("diff")
    assert result["first_divergence"] is None
    assert result["interventions"] == {"same": 1, "changed": [], "only_a": [], "only_b": []}
    assert all(same(result, level) for level in ("any", "modes", "interventions"))


def test_a_margin_that_differs_is_found_where_it_does(runs, tmp_path):
    def change(record):
        if record["t"] == START + S:
            record["margin_m"] += 0.25
            record["margins"]["longitudinal"] += 0.25
        return record

    result = changed(runs, tmp_path, change)
    assert not result["same"]
    assert result["ticks"]["differing"] == 1
    assert result["first_divergence"]["t"] == START + S
    assert set(result["first_divergence"]["keys"]) == {"margin_m", "margins"}
    assert result["margins"]["longitudinal"]["difference_max_m"] == 0.25
    assert same(result, "modes")
    assert same(result, "interventions")
    assert diff(runs / "out", tmp_path / "changed", 0.3)["same"]  # within this tolerance


def test_a_mode_that_differs_and_an_intervention_more(runs, tmp_path):
    def change(record):
        if START + S <= record["t"] < START + S + S // 2:
            record["mode"] = "FIRM_STOP"
        return record

    result = changed(runs, tmp_path, change)
    assert result["changed_modes"] == {"NOMINAL -> FIRM_STOP": 10}
    (more,) = result["interventions"]["only_b"]
    assert (more["mode"], more["start"]) == ("FIRM_STOP", START + S)
    assert not same(result, "modes")
    assert not same(result, "interventions")


def test_ticks_that_one_run_has_not_are_counted(runs, tmp_path):
    result = changed(runs, tmp_path, lambda record: None if record["t"] == START + S else record)
    assert (result["ticks"]["only_a"], result["ticks"]["only_b"]) == (1, 0)
    assert not result["same"]


def test_wording_and_parameter_digest_do_not_count(runs, tmp_path):
    def change(record):
        record["config"] = "another"
        for reason in record["reasons"]:
            reason["text"] += "!"
        return record

    assert changed(runs, tmp_path, change)["same"]


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [(1, 1.0, True), (1.0, 1.05, True), (1.0, 1.2, False), (True, 1, False), (None, 0, False), ("a", "a", True),
     ([1, [2]], [1, [2.05]], True), ([1], [1, 2], False), ({"x": 1}, {"y": 1}, False), ({}, [], False)],
)  # fmt: skip
def test_values_are_alike_within_the_tolerance_only_where_they_are_numbers(a, b, equal):
    assert alike(a, b, 0.1) is equal


def test_one_recording_with_two_parameter_sets_shows_what_the_change_does(runs, capsys):
    bag = str(runs / "drive")
    assert cli.main(["diff", bag, bag, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"]
    assert cli.main(["diff", bag, "--set-b", "health.plan_timeout=0.6", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["parameters"] == {"health.plan_timeout": [0.3, 0.6]}
    ((pair),) = result["interventions"]["changed"]
    assert pair["b"]["start_s"] - pair["a"]["start_s"] == pytest.approx(0.3, abs=0.051)
    assert cli.main(["diff", bag, str(runs / "out")]) == 0  # a recording and results of it
    assert "the same in" in capsys.readouterr().out


def test_the_page_names_the_first_other_mode(runs, capsys):
    assert cli.main(["diff", str(runs / "drive"), "--set-b", "health.plan_timeout=0.6"]) == 1
    page = capsys.readouterr().out
    assert "first other mode at 2." in page
    assert "health.plan_timeout: 0.3 -> 0.6" in page
    assert "1 changed" in page


def told(runs, tmp_path, change):
    return list(diff_lines(changed(runs, tmp_path, change)))


def test_the_page_shows_what_differs_where_mode_margin_and_first_reason_are_the_same(runs, tmp_path):
    def change(record):
        if record["t"] == START + S:
            record["reasons"] = [*record["reasons"], {"code": "TTC", "text": "later", "track": 9}]
            record["health"]["findings"] = [{"code": "X", "source": "radar", "text": "now"}]
            record["ego"]["speed"] += 1.0
        return record

    page = told(runs, tmp_path, change)
    assert "   ego.speed: 15.0 -> 16.0" in page
    assert '   reasons[0]: absent -> {"code": "TTC", "text": "later", "track": 9}' in page
    assert any(line.startswith("   health.findings[0]: absent -> ") for line in page)
    assert any(line.endswith("never apart where both have it") for line in page if line.startswith("margin "))


def test_a_long_value_is_cut_on_the_page_and_another_name_in_an_entry_is_named(runs, tmp_path):
    def change(record):
        if record["reasons"] and record["t"] > START + 3 * S:
            record["reasons"][0]["code"] = "E" * 200
        return record

    page = told(runs, tmp_path, change)
    (line,) = [line for line in page if line.startswith("   reasons[0].code: PLAN_STALE -> EEE")]
    assert line.endswith("E...")


def test_a_sensor_that_only_one_run_has_is_one_line():
    parameters = {"sensors.a.kind": ["radar", None], "sensors.a.x": [1.0, None], "sensors.b.kind": [None, "radar"],
                  "sensors.b.x": [None, 1.0], "sensors.c.x": [1.0, 2.0], "timing.period": [0.1, 0.2]}  # fmt: skip
    assert list(_parameter_lines(parameters)) == [
        "   sensors.a: only in A", "   sensors.b: only in B", "   sensors.c.x: 1.0 -> 2.0",
        "   timing.period: 0.1 -> 0.2",
    ]  # fmt: skip


def test_bad_input_is_one_line(runs, tmp_path, capsys):
    (tmp_path / "decisions.jsonl").write_text('{"t": 1}\n')
    with pytest.raises(BagError, match="line 1 is no decision"):
        diff(runs / "out", tmp_path)
    for arguments in (
        ["diff", str(runs / "out"), "--set", "timing.period=0.1"],
        ["diff", str(runs / "nowhere"), str(runs / "out")],
        ["diff", str(runs / "out"), "--tolerance", "nan"],
        ["diff", str(runs / "out")],  # nothing to compare with: in somebody's CI it would always pass
        ["diff", str(runs / "drive"), "--set", "health.plan_timeout=0.6"],
    ):
        assert cli.main(arguments) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
