"""Questions to fleet runs: every ready-made one has an answer, SQL has, and what is wrong is said in one line."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

from safety_supervisor import cli
from safety_supervisor.fleet.jobs import ParameterSet
from safety_supervisor.fleet.questions import QUESTIONS
from safety_supervisor.fleet.store import COLUMNS, Store

SETS = [ParameterSet("calm", ("authority.hits=9",)), ParameterSet("keen", ("authority.hits=3",))]


def result(bag, parameters, stops=(), incident=None, hours=1.0):
    names = {"bag": bag, "parameters": parameters}
    interventions = [
        {**names, "number": i, "start_s": 10.0 * i, "end_s": 10.0 * i + 3, "length_s": 3.0, "mode": "COMFORT_STOP",
         "stop": True, "cause": "object", "code": code, "codes": [code], "reason": "why", "track": i, "speed": 10.0,
         "margin_min_m": 1.0 - i, "stopped_after_s": 2.0 + i, "planned_stop_s": 4.0, "needed": incident}
        for i, code in enumerate(stops)
    ]  # fmt: skip
    run = {**names, "status": "ok", "duration_s": 3600.0 * hours, "distance_m": 50_000.0, "stops": len(stops),
           "interventions": len(stops), "margin_min_m": 1.0 - len(stops), "incident": incident}  # fmt: skip
    processing = {**names, "duration_s": 3600.0 * hours, "bytes": 10**9, "cpu_s": 100.0, "wall_s": 120.0}
    findings = [{**names, "code": "PLAN_STALE", "source": "plan", "start_s": 1.0, "end_s": 2.0, "ticks": 20}]
    return {"run": run, "interventions": interventions, "findings": findings, "processing": processing}


RESULTS = [
    result("a", "calm", ["TTC"], False), result("a", "keen", ["TTC", "TTC", "ENVELOPE"], False),
    result("b", "calm", [], True), result("b", "keen", ["ENVELOPE"], True), result("c", "calm"), result("c", "keen"),
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    Store(folder).write({}, SETS, RESULTS)
    return folder


def ask(capsys, *arguments):
    assert cli.main(["ask", "--json", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def test_interventions_per_hour_by_rule(run, capsys):
    found = {(r["parameters"], r["code"]): r for r in ask(capsys, "interventions-per-hour", "--run", run)}
    assert found["keen", "TTC"]["interventions"] == 2
    assert found["keen", "TTC"]["per_hour"] == pytest.approx(2 / 3)
    assert found["keen", "TTC"]["per_km"] == pytest.approx(2 / 150)
    assert ("calm", "ENVELOPE") not in found


def test_false_stops_are_those_known_not_to_be_needed(run, capsys):
    calm, keen = ask(capsys, "false-stops", "--run", run)
    assert (calm["false_stops"], calm["needed_stops"], calm["false_share"]) == (1, 0, 1.0)
    assert (keen["false_stops"], keen["needed_stops"], keen["false_share"]) == (3, 1, 0.75)
    assert keen["false_stops_per_hour"] == pytest.approx(1.0)
    assert keen["false_time_share"] == pytest.approx(9 / 10800)


def test_time_to_stop_and_what_was_missed(run, capsys):
    keen = next(r for r in ask(capsys, "time-to-stop", "--run", run) if r["parameters"] == "keen")
    assert (keen["stops"], keen["driven_p50"], keen["driven_max"]) == (4, 2.5, 4.0)
    assert [(r["bag"], r["parameters"]) for r in ask(capsys, "missed", "--run", run)] == [("b", "calm")]


def test_the_trade_off_sets_disturbance_against_answers(run, capsys):
    found = {r["parameters"]: r for r in ask(capsys, "trade-off", "--run", run)}
    assert (found["calm"]["answered_share"], found["keen"]["answered_share"]) == (0.0, 1.0)
    assert found["calm"]["disturbances_per_hour"] == pytest.approx(1 / 3)
    assert found["keen"]["disturbances_per_hour"] == pytest.approx(1.0)


def test_a_stop_that_nobody_judged_is_no_disturbance_yet(tmp_path, capsys):
    known = json.loads(json.dumps(RESULTS, default=str))
    for result in known:
        for one in result["interventions"]:
            one["needed"] = None
    Store(tmp_path).write({}, SETS, known)
    found = {r["parameters"]: r for r in ask(capsys, "trade-off", "--run", tmp_path)}
    assert (found["keen"]["unknown"], found["keen"]["disturbances_per_hour"]) == (4, 0.0)
    assert found["keen"]["at_most_per_hour"] == pytest.approx(4 / 3)


def test_runs_that_are_asked_together_do_not_answer_for_each_other(run, tmp_path, capsys):
    """A recording of the same name was answered in the one and missed in the other."""
    quiet = [{**result, "interventions": []} for result in RESULTS]
    Store(tmp_path).write({}, SETS, quiet)
    alone = ask(capsys, "missed", "--run", tmp_path)
    both = ask(capsys, "missed", "--run", tmp_path, "--run", run)
    assert len(alone) == 2
    assert len(both) == len(alone) + len(ask(capsys, "missed", "--run", run))
    shares = {r["parameters"]: r["answered_share"] for r in ask(capsys, "trade-off", "--run", tmp_path, "--run", run)}
    assert shares == {"calm": 0.0, "keen": 0.5}
    runs = ask(capsys, "select distinct run from runs order by run", "--run", tmp_path, "--run", run)
    assert {r["run"] for r in runs} == {str(tmp_path), str(run)}


def test_a_run_that_is_named_twice_is_refused(run, capsys):
    assert cli.main(["ask", "missed", "--run", str(run), "--run", f"{run}/."]) == 2
    assert "names the same folder twice" in capsys.readouterr().err


def test_equal_names_of_columns_are_numbered(run, capsys):
    found = ask(capsys, "select 1 as v, 2 as v, 3 as w, 4 as v", "--run", run)
    assert found == [{"v": 1, "v_2": 2, "w": 3, "v_3": 4}]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_trade_off_is_drawn(run, tmp_path, capsys, ending):
    pytest.importorskip("matplotlib")
    file = tmp_path / f"picture.{ending}"
    assert cli.main(["ask", "trade-off", "--run", str(run), "--picture", str(file)]) == 0
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" if ending == "png" else b"<svg" in data
    assert len(data) > 5000


@pytest.mark.parametrize("question", list(QUESTIONS))
def test_every_question_has_an_answer_for_full_and_for_empty_runs(run, tmp_path, capsys, question):
    ask(capsys, question, "--run", run)
    Store(tmp_path).write({}, [], [])
    ask(capsys, question, "--run", tmp_path)


def test_sql_over_the_tables_of_several_runs(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "it's another")
    (row,) = ask(capsys, "select count(*) as n from runs", "--run", run, "--run", tmp_path / "it's another")
    assert row == {"n": 2 * len(RESULTS)}
    (row,) = ask(capsys, "select value, number from parameters where parameters = 'keen'", "--run", run)
    assert row == {"value": "3", "number": 3.0}


def test_without_a_name_the_run_that_is_here_is_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "mine").folder.mkdir()
    Store(tmp_path / "mine").write({}, SETS, RESULTS)
    assert ask(capsys, "select count(*) as n from runs") == [{"n": len(RESULTS)}]
    (tmp_path / "other").mkdir()
    Store(tmp_path / "other").write({}, [], [])
    assert cli.main(["ask", "select 1"]) == 2
    assert "several runs are here (mine, other), name one with --run" in capsys.readouterr().err
    (tmp_path / "fleet").mkdir()
    Store(tmp_path / "fleet").write({}, [], [])
    assert ask(capsys, "select count(*) as n from runs") == [{"n": 0}]
    monkeypatch.chdir(tmp_path / "mine")
    assert ask(capsys, "select count(*) as n from runs") == [{"n": len(RESULTS)}]


def test_forms_of_an_answer(run, capsys):
    assert cli.main(["ask", "select bag, 'x, y' as t, null as z from runs order by 1", "--csv", "--run", str(run)]) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out)))[:2] == [["bag", "t", "z"], ["a", "x, y", ""]]
    assert cli.main(["ask", "select 1.5 as a, 'nan'::double as b", "--run", str(run)]) == 0
    assert capsys.readouterr().out.splitlines() == ["  a    b", "1.5  nan", "(1 row)"]
    assert ask(capsys, "select 'nan'::double as b", "--run", run) == [{"b": None}]


def test_the_list_names_questions_and_columns(capsys):
    assert cli.main(["ask", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*QUESTIONS, *COLUMNS))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["selec 1", "--run", "{run}"], "the database says: Parser Error"),
        (["select nothing from runs", "--run", "{run}"], "the database says: Binder Error"),
        (["select * from journal", "--run", "{run}"], "the database says: Catalog Error"),
        (["fals-stops", "--run", "{run}"], "did you mean false-stops?"),
        (["select 1", "--run", "nowhere"], "no such folder"),
        (["--run", "{run}"], "nothing is asked"),
        (["cost", "--run", "{run}", "--picture", "x.png"], "--picture draws the answer to `trade-off`"),
        (["trade-off", "--run", "{run}", "--picture", "x.gif"], "expected a name that ends in .png"),
    ],
)
def test_what_is_wrong_is_one_line(run, capsys, arguments, expected):
    assert cli.main(["ask", *(a.format(run=run) for a in arguments)]) == 2
    text = capsys.readouterr().err
    assert expected in text
    assert text.count("\n") == 1


def test_a_damaged_table_is_named(run, tmp_path, capsys):
    for name in COLUMNS:
        (tmp_path / f"{name}.parquet").write_bytes(b"PAR1 and nothing else")
    assert cli.main(["ask", "cost", "--run", str(tmp_path)]) == 2
    assert "the database says" in capsys.readouterr().err
