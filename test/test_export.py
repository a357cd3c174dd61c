"""Tables of a replay: every decision, every track, and the occurrences that UN R157 wants to be kept."""

from __future__ import annotations

import csv
import json

import pytest
import recordings
from recordings import START, TRAJECTORY

from safety_supervisor import cli
from safety_supervisor.core.world import Mode
from safety_supervisor.replay import tables
from safety_supervisor.replay.command import Options, replay
from safety_supervisor.replay.events import CLAUSES, events
from safety_supervisor.replay.export import NAMES, export

BOOL = "std_msgs/msg/Bool"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A drive whose plans end after a second."""
    folder = tmp_path_factory.mktemp("export")
    messages = [m for m in recordings.drive(2.0) if m[1] != TRAJECTORY or m[2] <= START + 10**9]
    replay(recordings.write(folder / "drive", messages), folder / "out", Options(report=False))
    return folder / "out"


def decisions(results):
    return [json.loads(line) for line in (results / "decisions.jsonl").read_text().splitlines()]


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_holds_every_decision_and_every_track(results, tmp_path):
    counts = export(results / "decisions.jsonl", tmp_path, "csv")
    lines, rows = decisions(results), table(tmp_path / "decisions.csv")
    assert counts == {name: len(table(tmp_path / f"{name}.csv")) for name in NAMES}
    assert [(int(r["t"]), r["mode"]) for r in rows] == [(d["t"], d["mode"]) for d in lines]
    assert [r["ego_speed"] for r in rows[5:8]] == ["15.0"] * 3
    assert rows[-1]["code"] == "PLAN_STALE"
    assert json.loads(rows[-1]["codes"]) == ["PLAN_STALE"]
    assert {f"margin_{rule}_m" for rule in lines[-1]["margins"]} <= set(rows[-1])
    tracks = table(tmp_path / "tracks.csv")
    assert len(tracks) == sum(len(d["tracks"]) for d in lines)
    last = [r for r in tracks if int(r["t"]) == lines[-1]["t"]]
    assert [float(r["x"]) for r in last] == [row[1] for row in lines[-1]["tracks"]]
    assert any(r["gap"] for r in tracks)  # those that explain a decision say how they stand to the plan


def test_parquet_holds_the_same_as_csv(results, tmp_path):
    pytest.importorskip("pyarrow")
    assert cli.main(["export", str(results), "--form", "parquet", "--out", str(tmp_path), "--quiet"]) == 0
    export(results / "decisions.jsonl", tmp_path, "csv")
    for name in NAMES:
        rows, texts = tables.read(tmp_path / f"{name}.parquet"), table(tmp_path / f"{name}.csv")
        assert len(rows) == len(texts)
        assert [tables._cell(row["t"]) for row in rows] == [int(row["t"]) for row in texts]
        assert list(rows[0]) == list(texts[0])
    assert isinstance(tables.read(tmp_path / "tracks.parquet")[0]["moved"], bool)


def test_replay_exports_at_once(tmp_path, capsys):
    bag = recordings.write(tmp_path / "drive", recordings.drive(0.5))
    out = tmp_path / "out"
    assert cli.main(["replay", str(bag), "--out", str(out), "--no-report", "--export", "csv"]) == 0
    assert {f"{name}.csv" for name in NAMES} <= {file.name for file in out.iterdir()}
    assert "decisions.csv, tracks.csv, events.csv" in capsys.readouterr().out
    assert cli.main(["replay", str(bag), "--out", str(out), "--no-report", "--end", "0.2"]) == 0
    left = {file.name for file in out.iterdir()}
    assert not left & {f"{name}.csv" for name in NAMES}, "they would tell of another replay"


# --- occurrences ----------------------------------------------------------------------------------------------


def tick(i, mode, driver=False, severity="OK", text="why", code="X"):
    braking = Mode[mode].brakes
    reasons = [{"code": "ENVELOPE", "text": text, "track": 1}] if braking else []
    return {"t": START + i * 10**9, "mode": mode, "driver": driver, "takeover_request": braking, "reasons": reasons,
            "health": {"severity": severity, "findings": [{"code": code, "source": "s", "text": "it is gone"}]},
            "ego": {"speed": 3.0, "x": 1.0, "y": 2.0, "yaw": 0.0}, "config": "c", "certificate": None}  # fmt: skip


def occurrences(*ticks):
    return [(row["at_s"], row["occurrence"], row["reason"]) for row in events(ticks, "v")]


def test_activation_and_deactivation_by_the_driver():
    taken = [tick(2, "INIT", driver=True), tick(3, "INIT")]
    got = occurrences(tick(0, "INIT"), tick(1, "NOMINAL"), *taken, tick(4, "NOMINAL"))
    assert got == [
        (1.0, "activation", "all expected inputs are there"),
        (2.0, "deactivation", "the driver has taken over"),
        (4.0, "activation", "all expected inputs are there"),
    ]


def test_an_emergency_begins_and_ends_with_its_manoeuvre_and_its_demand():
    ticks = [tick(0, "NOMINAL"), tick(1, "COMFORT_STOP"), tick(2, "EMERGENCY_STOP"), tick(3, "STANDSTILL")]
    got = occurrences(*ticks, tick(4, "NOMINAL"))
    assert [(at, what) for at, what, _ in got] == [
        (0.0, "activation"), (1.0, "transition demand"), (1.0, "start of minimal-risk manoeuvre"),
        (2.0, "start of emergency manoeuvre"), (3.0, "end of emergency manoeuvre"),
        (3.0, "end of minimal-risk manoeuvre"), (4.0, "end of transition demand"),
    ]  # fmt: skip
    assert got[2][2] == "why"
    assert got[4][2] == "ego stands"


def test_a_driver_ends_a_manoeuvre_and_lost_odometry_is_a_severe_failure():
    got = occurrences(tick(0, "NOMINAL"), tick(1, "UNABLE", severity="BLIND"), tick(2, "INIT", driver=True))
    assert (1.0, "severe failure", "it is gone") in got
    assert (2.0, "end of emergency manoeuvre", "the driver has taken over") in got
    assert (2.0, "deactivation", "the driver has taken over") in got


def test_brakes_that_do_not_deliver_are_one_failure_of_the_vehicle():
    short = [tick(i, "FIRM_STOP", code="BRAKE_SHORTFALL") for i in (2, 3)]
    rows = list(events([tick(0, "NOMINAL"), tick(1, "COMFORT_STOP"), *short], "v"))
    (failure,) = [row for row in rows if "failure" in row["occurrence"]]
    assert (failure["at_s"], failure["clause"], failure["reason"]) == (2.0, "8.2.1 (k)", "it is gone")


def test_an_entry_has_date_time_software_and_clause():
    (row,) = events([tick(0, "NOMINAL")], "safety_supervisor 1.2.3")
    assert (row["date"], row["time"]) == ("1970/01/01", "00:16:40+00:00")
    assert (row["software"], row["config"], row["clause"]) == ("safety_supervisor 1.2.3", "c", "8.2.1 (a)")
    assert set(CLAUSES) >= {row["occurrence"]}


def test_what_happens_at_one_time_tells_its_order():
    ticks = [tick(0, "NOMINAL"), tick(1, "EMERGENCY_STOP"), tick(2, "INIT", driver=True)]
    rows = list(events(ticks, "v"))
    assert [row["order"] for row in rows] == list(range(1, len(rows) + 1))
    last_first = list(reversed(rows))
    assert sorted(last_first, key=lambda row: row["t"]) != rows  # by their times alone they have no order
    assert sorted(last_first, key=lambda row: row["order"]) == rows
    assert [row["occurrence"] for row in rows if row["at_s"] == 1.0] == [
        "transition demand", "start of minimal-risk manoeuvre", "start of emergency manoeuvre",
    ]  # fmt: skip
    assert [row["occurrence"] for row in rows if row["at_s"] == 2.0][-1] == "deactivation"


def test_a_calm_drive_has_no_other_occurrence_than_its_activation(tmp_path):
    replay(recordings.write(tmp_path / "drive", recordings.drive(1.0)), tmp_path / "out", Options(report=False))
    export(tmp_path / "out" / "decisions.jsonl", tmp_path, "csv")
    assert [row["occurrence"] for row in table(tmp_path / "events.csv")] == ["activation"]


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "no such file"),
        ("", "holds no decisions"),
        ("[1]\n", "line 1 is no decision"),
        ('{"t": 1}\n', "line 1 is no decision"),
        ("half a li", "line 1 is no decision"),
        ("[" * 100_000, "line 1 is no decision"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(tmp_path, capsys, text, expected):
    if text is not None:
        (tmp_path / "decisions.jsonl").write_text(text)
    assert cli.main(["export", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.csv*"))


def test_parquet_without_its_library_is_one_line(results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["export", str(results), "--form", "parquet", "--out", str(tmp_path)]) == 2
    bag = recordings.write(tmp_path / "drive", recordings.drive(0.2))
    assert cli.main(["replay", str(bag), "--export", "parquet", "--out", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("'pyarrow', which is not installed" in line for line in lines)
    assert not (tmp_path / "out").exists()
