"""Shadow drives become evidence: what counts as driven, what as an intervention, and when the rule says arm."""

from __future__ import annotations

import json
import math

import pytest
from flights import CONFIG, Flight, begun
from scipy import stats

from safety_supervisor import cli
from safety_supervisor.replay.command import replay
from safety_supervisor.replay.inputs import Options
from safety_supervisor.ros import frames
from safety_supervisor.ros.blackbox import Blackbox
from safety_supervisor.shadow.evidence import collect
from safety_supervisor.shadow.rule import Rule, judge, rate, reviewed

S = 10**9
LIMITS = ["--hours", "0.0001", "--km", "0.001"]
LOOSE = [*LIMITS, "--stops-per-hour", "1e9", "--emergencies-per-hour", "1e9", "--stops-per-100km", "1e9",
         "--emergencies-per-100km", "1e9", "--judged-share", "0"]  # fmt: skip


def log(path, *spans, certificate="c", parameters="p", core="k"):
    """A log of a drive: spans are (seconds, metres, mode, code), one after the other."""
    head = {"schema": 1, "parameters": parameters, "certificate_hash": certificate, "core": core}
    lines, t = [head], 100 * S
    for duration, distance, mode, code, *driver in spans:
        since, t = t, t + round(duration * S)
        lines.append({"since": since, "t": t, "ticks": 1, "distance_m": distance, "mode": mode, "code": code,
                      "driver": bool(driver), "margin_m": None, "text": f"why {code}", "speed": 1.0,
                      "recording": None})  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


NOMINAL = (3600.0, 50_000.0, "NOMINAL", None)


def judged(*paths, verdicts=None, **rule):
    drives = collect(paths)
    return judge(drives, reviewed(drives, verdicts or {}), Rule(**rule))


# --- what counts -------------------------------------------------------------------------------------------------


def test_only_what_was_judged_counts_as_driven(tmp_path):
    (drive,) = collect([log(
        tmp_path / "drive_1.jsonl", (10.0, 0.0, "INIT", "PLAN_MISSING"), (60.0, 600.0, "NOMINAL", None),
        (30.0, 300.0, "INIT", "DRIVER", True), (5.0, 50.0, "COMFORT_STOP", "PLAN_STALE"),
        (20.0, 200.0, "COMFORT_STOP", "DWELL"), (60.0, 600.0, "NOMINAL", None),
    )])  # fmt: skip
    assert (drive.judged, drive.distance, drive.waited) == (125.0, 1250.0, 10.0)


def test_an_intervention_goes_on_until_the_mode_is_quiet_and_counts_once_at_its_strongest(tmp_path):
    (drive,) = collect([log(
        tmp_path / "drive_1.jsonl", (60.0, 600.0, "NOMINAL", None), (1.0, 10.0, "SPEED_CAP", "TTC"),
        (2.0, 20.0, "EMERGENCY_STOP", "ENVELOPE"), (4.0, 40.0, "COMFORT_STOP", "DWELL"),
        (1.0, 10.0, "COMFORT_STOP", "PLAN_STALE"), (60.0, 600.0, "NOMINAL", None), (1.0, 9.0, "SPEED_CAP", "TTC"),
    )])  # fmt: skip
    assert [(m.kind, m.mode, m.code) for m in drive.moments] == [
        ("emergencies", "EMERGENCY_STOP", "ENVELOPE"), ("stops", "COMFORT_STOP", "PLAN_STALE"),
        ("caps", "SPEED_CAP", "TTC"),
    ]  # fmt: skip


# --- bounds ------------------------------------------------------------------------------------------------------


def test_without_events_the_bound_is_the_rule_of_three():
    assert rate(0, 20.0, 0.95).bound == pytest.approx(-math.log(0.05) / 20.0)


@pytest.mark.parametrize("events", [1, 4, 30])
def test_the_bounds_are_exact(events):
    found = rate(events, 10.0, 0.95)
    assert stats.poisson.cdf(events, found.bound * 10.0) == pytest.approx(0.05)
    assert stats.poisson.cdf(events, found.upper * 10.0) == pytest.approx(0.025)
    assert stats.poisson.sf(events - 1, found.lower * 10.0) == pytest.approx(0.025)
    assert found.lower < found.per < found.bound < found.upper


def test_without_exposure_nothing_is_known():
    assert rate(0, 0.0, 0.95).bound == math.inf


# --- the rule ----------------------------------------------------------------------------------------------------


def test_enough_quiet_driving_with_one_proved_parameter_set_arms(tmp_path):
    result = judged(log(tmp_path / "drive_1.jsonl", *[NOMINAL] * 20))
    assert result["against"] == []
    assert result["arm"]
    assert (result["hours"], result["km"]) == (20.0, 1000.0)


STOP = (1.0, 10.0, "EMERGENCY_STOP", "ENVELOPE")


@pytest.mark.parametrize(
    ("spans", "changes", "said"),
    [
        ([NOMINAL] * 19, {}, "19.00 h were judged, 20 h are needed"),
        ([(3600.0, 1000.0, "NOMINAL", None)] * 30, {}, "30.0 km were judged, 500 km are needed"),
        ([*[NOMINAL] * 20, STOP, NOMINAL], {}, "emergencies per hour: upper bound"),
        ([*[NOMINAL] * 20, (7200.0, 0.0, "INIT", "RADAR_MISSING")], {}, "90.9 % of the time was judged"),
        ([NOMINAL] * 20, {"certificate": None}, "no certificate"),
        ([*[NOMINAL] * 20, (1.0, 1.0, "NOMINAL", "INTERNAL_ERROR")], {}, "INTERNAL_ERROR"),
    ],
)
def test_control_each_point_of_the_rule_can_fail(tmp_path, spans, changes, said):
    result = judged(log(tmp_path / "drive_1.jsonl", *spans, **changes))
    assert not result["arm"]
    assert [reason for reason in result["against"] if said in reason], result["against"]


def test_drives_of_different_parameters_are_no_evidence_together(tmp_path):
    paths = [log(tmp_path / f"drive_{i}.jsonl", *[NOMINAL] * 15, parameters=str(i)) for i in (1, 2)]
    assert judged(*paths, vehicles=2)["against"] == ["the drives had 2 different parameter sets"]


def test_a_drive_counts_once_however_many_files_tell_of_it(tmp_path):
    half = [log(tmp_path / f"drive_{i}.jsonl", *[NOMINAL] * 10) for i in (1, 2)]
    told = judged(*half)
    assert not told["arm"]
    (reason,) = told["against"]
    assert reason.startswith("2 sources tell of one time, with 1 vehicle(s) driving: ")
    assert all(str(path) in reason for path in half)
    assert judged(*half, vehicles=2)["arm"], "two vehicles may drive at the same time"
    assert len(judged(*half, half[0], vehicles=2)["against"]) == 1, "but not three"


def test_control_drives_one_after_the_other_are_evidence_together(tmp_path):
    first = log(tmp_path / "drive_1.jsonl", *[NOMINAL] * 10)
    second = log(tmp_path / "drive_2.jsonl", *[NOMINAL] * 10)
    shifted = [json.loads(line) for line in second.read_text().splitlines()]
    for line in shifted[1:]:
        line["since"], line["t"] = line["since"] + 36_000 * S, line["t"] + 36_000 * S
    second.write_text("".join(json.dumps(line) + "\n" for line in shifted))
    assert judged(second, first)["against"] == []


def test_a_justified_emergency_does_not_speak_against_arming(tmp_path):
    path = log(tmp_path / "drive_1.jsonl", *[NOMINAL] * 20, STOP, NOMINAL)
    (moment,) = judged(path)["moments"]
    assert judged(path, verdicts={moment["key"]: "justified"})["arm"]
    assert not judged(path, verdicts={moment["key"]: "false"})["arm"]


def test_a_node_that_died_speaks_against_arming(tmp_path):
    path = log(tmp_path / "drive_1.jsonl", *[NOMINAL] * 20)
    died = {"incident": "the supervisor died", "recording": "incident_20260101T000000_001_node_died.mcap"}
    path.write_text(path.read_text() + json.dumps(died) + "\n")
    assert judged(path)["against"] == [f"the node died ({path})"]


# --- the verb ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """What the recorder leaves of a drive whose plan stops."""
    flight, box = Flight(3.0, plan_until=1.0), Blackbox()
    box.take(begun(tmp_path / "box"))
    for n, tick in enumerate(flight.ticks()):
        for frame in tick:
            box.take(frame)
        if n == 40:
            box.take((frames.TRIGGER, 0, b"COMFORT_STOP: stale"))
    box.take((frames.END, 0, b""))
    return tmp_path / "box"


def test_from_the_recorder_to_the_verdict(folder, tmp_path, capsys):
    out, page = tmp_path / "out.json", tmp_path / "page.html"
    assert cli.main(["shadow-report", str(folder), "--json", str(out), "--html", str(page)]) == 1
    said = capsys.readouterr().out
    assert "DO NOT ARM" in said
    assert "PLAN" in out.read_text()
    result = json.loads(out.read_text())
    (moment,) = result["moments"]
    assert (moment["kind"], moment["code"]) == ("stops", "PLAN_STALE")
    assert result["parameters"] == [CONFIG.digest]
    recording = next(folder.glob("incident_*.mcap"))
    assert f'href="box/{recording.name}"' in page.read_text()
    review = tmp_path / "review.yaml"
    review.write_text(f"'{moment['key']}': justified\n")
    assert cli.main(["shadow-report", str(folder), "--review", str(review), *LOOSE]) == 0
    assert "ARM: every point" in capsys.readouterr().out


def test_recordings_and_replays_are_evidence_too(folder, tmp_path):
    recording = next(folder.glob("incident_*.mcap"))
    replay(recording, tmp_path / "out", Options(report=False))
    (log,), (bag,), (again,) = collect([folder]), collect([recording]), collect([tmp_path / "out"])
    for other in (bag, again):
        assert len(other.moments) == len(log.moments) == 1
        assert other.judged == pytest.approx(log.judged, abs=0.11)
        assert other.distance == pytest.approx(log.distance, abs=2.0)
        assert other.parameters == log.parameters
    assert bag.moments[0].recording == str(recording)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("drive_1.jsonl", "nonsense\n", "line 1 is no JSON"),
        ("drive_1.jsonl", "[" * 100_000 + "\n", "line 1 is no JSON"),
        ("drive_1.jsonl", "[]\n", "line 1 is no record"),
        ("drive_1.jsonl", '{"ticks": 1}\n', "a line without 'since'"),
    ],
)
def test_what_is_no_evidence_is_refused_in_one_line(tmp_path, capsys, name, text, said):
    (tmp_path / name).write_text(text)
    assert cli.main(["shadow-report", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nowhere.jsonl"], "No such file"), (["."], "no drive_*.jsonl"), (["x.jsonl", "--confidence", "1"], "between"),
     (["x.jsonl", "--hours", "nan"], "--hours nan must be a finite"), (["x.jsonl", "--km", "-1"], "0 or more"),
     (["x.jsonl", "--stops-per-hour", "inf"], "finite")],
)
def test_wrong_usage_is_answered(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jsonl").write_text("{}\n")
    assert cli.main(["shadow-report", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"), [("[1]", "a mapping"), ("1: maybe", "must be justified or false"), ("{", "not valid YAML")]
)
def test_a_review_that_is_not_understood_is_refused(tmp_path, capsys, text, said):
    source, review = log(tmp_path / "drive_1.jsonl", NOMINAL), tmp_path / "review.yaml"
    review.write_text(text)
    assert cli.main(["shadow-report", str(source), "--review", str(review)]) == 2
    assert said in capsys.readouterr().err


def test_a_log_that_was_cut_off_is_read_up_to_there(tmp_path):
    path = log(tmp_path / "drive_1.jsonl", *[NOMINAL] * 3)
    path.write_text(path.read_text()[:-20])
    (drive,) = collect([path])
    assert drive.judged == 7200.0
