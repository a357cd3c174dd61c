"""Fleet runs: resumable, the same whatever the workers, deaf to one bad recording; the gate; the tables."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import recordings
from recordings import START, TRAJECTORY

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

from safety_supervisor import cli
from safety_supervisor.fleet import cluster, command, jobs, labels, work
from safety_supervisor.fleet.baseline import compared
from safety_supervisor.fleet.errors import FleetError
from safety_supervisor.fleet.picture import front
from safety_supervisor.fleet.store import COLUMNS
from safety_supervisor.replay import tables
from safety_supervisor.replay.command import Options, replay

SECOND = 10**9


def silent(seconds, until):
    """A drive whose plans end after a while."""
    return [m for m in recordings.drive(seconds) if m[1] != TRAJECTORY or m[2] <= START + until * SECOND]


def approach(seconds=3.0, speed=15.0, gap=50.0):
    """A drive towards something that stands in the path."""
    messages = []
    for topic, kind, t, message in recordings.drive(seconds, speed):
        if kind == recordings.TRACKS:
            message = recordings.tracks(t, (gap - speed * (t - START) / SECOND, 0.1, -speed))
        messages.append((topic, kind, t, message))
    return messages


@pytest.fixture(scope="module")
def garage(tmp_path_factory):
    """Three recordings and a file that is none."""
    folder = tmp_path_factory.mktemp("garage")
    recordings.write(folder / "calm", recordings.drive(1.5))
    recordings.write(folder / "night" / "silent", silent(2.0, 1.0))
    recordings.write(folder / "night" / "approach", approach())
    (folder / "broken.mcap").write_bytes(b"no recording at all")
    return folder


def fleet(*arguments):
    return cli.main(["fleet", "--workers", "0", "--quiet", *map(str, arguments)])


@pytest.fixture(scope="module")
def done(garage, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "run"
    assert fleet(garage, "--out", out) == 1  # one recording is broken
    return out


def rows(folder, table):
    return tables.read(folder / f"{table}.parquet")


def table_bytes(folder):
    return {name: (folder / f"{name}.parquet").read_bytes() for name in COLUMNS if name != "processing"}


# --- what is run ----------------------------------------------------------------------------------------------


def test_folders_of_recordings_are_searched_and_names_do_not_depend_on_the_place(garage):
    found = [drive.name for drive in jobs.drives([garage])]
    assert sorted(name.partition("/")[2] for name in found) == ["broken", "calm", "night/approach", "night/silent"]
    assert [drive.name for drive in jobs.drives([garage / "calm"])] == ["calm"]


def test_equal_names_are_told_apart(tmp_path):
    for car in "ab":
        recordings.write(tmp_path / car / "drive", recordings.drive(0.2))
    paths = [tmp_path / car / "drive" for car in "ab"]
    assert [drive.name for drive in jobs.drives(paths)] == ["a/drive", "b/drive"]
    assert [drive.name for drive in jobs.drives([*paths, paths[0]])] == ["a/drive", "b/drive"]


def test_a_recording_is_called_the_same_when_another_is_laid_beside_it(tmp_path):
    made = recordings.write(tmp_path / "made", recordings.drive(0.2))
    (tmp_path / "drives").mkdir()
    file = next(file for file in sorted(made.iterdir()) if file.suffix in (".mcap", ".db3"))
    shutil.copy(file, tmp_path / "drives" / f"a{file.suffix}")
    assert [drive.name for drive in jobs.drives([tmp_path / "drives"])] == ["drives/a"]
    shutil.copy(file, tmp_path / "drives" / f"b{file.suffix}")
    assert [drive.name for drive in jobs.drives([tmp_path / "drives"])] == ["drives/a", "drives/b"]


def test_files_for_workers_are_named_wherever_those_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("{}")
    (job,) = jobs.jobs([jobs.Drive("d", ())], [jobs.ParameterSet("as given")], Path("mine.yaml"), None)
    assert job.config == tmp_path / "mine.yaml"
    assert job.mapping is None


def test_a_grid_is_every_combination(tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("authority:\n  stop: [0.9, 0.99]\nauthority.hits: [3, 5]\ntiming.period: 0.1\n")
    sets = jobs.parameter_sets(grid, ["odd.speed_max=30"], None)
    assert len(sets) == 4
    assert sets[1].name == "authority.stop=0.9, authority.hits=5, timing.period=0.1"
    assert sets[1].values[0] == "odd.speed_max=30"


def test_named_sets_are_taken_as_they_are(tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("- name: plain\n- name: quick\n  authority: {hits: 3}\n")
    assert [(one.name, one.values) for one in jobs.parameter_sets(grid, [], None)] == [
        ("plain", ()), ("quick", ("authority.hits=3",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("authority.hit: [3]", "did you mean authority.hits"),
        ("authority.hits: [999]", "authority.hits"),
        ("authority.hits: []", "must be a value or a list of values"),
        ("authority.hits: [[1]]", "must be a value or a list of values"),
        ("- authority.hits: 3", "must be a mapping with a name"),
        ("- name: a\n- name: a", "two parameter sets are named 'a'"),
        ("3", "expected a mapping"),
        ("", "expected a mapping"),
        ("a: [", "not YAML"),
        ("1: [2]", "is no parameter name"),
        (f"timing.period: {[0.1] * 101}\nauthority.hits: {[3] * 100}", "10100 parameter sets, allowed 10000"),
    ],
)
def test_a_grid_that_is_none_is_refused_in_one_line(tmp_path, text, expected):
    grid = tmp_path / "grid.yaml"
    grid.write_text(text)
    with pytest.raises(FleetError, match=expected) as caught:
        jobs.parameter_sets(grid, [], None)
    assert "\n" not in str(caught.value)


# --- results --------------------------------------------------------------------------------------------------


def test_a_bad_recording_is_reported_and_the_rest_is_done(done):
    runs = {row["bag"].partition("/")[2]: row for row in rows(done, "runs")}
    assert {name: row["status"] for name, row in runs.items()} == {
        "broken": "failed", "calm": "ok", "night/approach": "ok", "night/silent": "ok",
    }  # fmt: skip
    assert "broken.mcap" in runs["broken"]["error"]
    assert runs["calm"]["interventions"] == 0
    assert runs["calm"]["distance_m"] == pytest.approx(15 * runs["calm"]["duration_s"], rel=0.1)


def test_interventions_say_what_they_are_about(done):
    found = {row["bag"].partition("/")[2]: row for row in rows(done, "interventions")}
    assert found["night/silent"]["cause"] == "input"
    assert found["night/silent"]["code"] == "PLAN_STALE"
    assert found["night/approach"]["cause"] == "object"
    assert found["night/approach"]["stop"]
    assert 1.0 < found["night/approach"]["planned_stop_s"] < 12.0
    assert found["night/approach"]["stopped_after_s"] is None  # nobody braked in this recording


def test_a_run_decides_what_replay_decides(garage, done, tmp_path):
    replay(garage / "night" / "approach", tmp_path, Options(report=False))
    expected = hashlib.sha256((tmp_path / "decisions.jsonl").read_bytes()).hexdigest()
    assert expected in [row["decisions_sha256"] for row in rows(done, "runs")]


def test_all_failed_is_bad_input(tmp_path, garage):
    assert fleet(garage / "broken.mcap", "--out", tmp_path / "out") == 2


def test_a_stop_is_timed_until_ego_stands(tmp_path):
    """Ego brakes at 5 m/s^2 from 10 m/s and stands after 2 s; the intervention begins when its plan is stale."""
    messages = []
    for i in range(200):
        t = START + i * 20_000_000
        braked = min(max(i * 0.02 - 1.0, 0.0), 2.0)
        x, speed = 10.0 * min(i * 0.02, 3.0) - 2.5 * braked * braked, 10.0 - 5.0 * braked
        messages.append(("/vehicle/odometry", recordings.ODOMETRY, t, recordings.odometry(t, x, speed)))
        if i % 5 == 0:
            messages.append(("/radar/front/tracks", recordings.TRACKS, t, recordings.tracks(t, (90.0, 0.0, 0.0))))
    for i in range(0, 50, 5):
        t = START + i * 20_000_000
        messages.append(("/policy/trajectory", TRAJECTORY, t, recordings.trajectory(t, 0.0, 10.0)))
    recordings.write(tmp_path / "stop", sorted(messages, key=lambda m: m[2]))
    assert fleet(tmp_path / "stop", "--out", tmp_path / "out") == 0
    found = rows(tmp_path / "out", "interventions")[-1]
    assert found["start_s"] + found["stopped_after_s"] == pytest.approx(3.0, abs=0.15)


# --- resuming -------------------------------------------------------------------------------------------------


def test_a_resumed_run_repeats_nothing_but_what_failed(garage, tmp_path, monkeypatch):
    out = tmp_path / "out"
    fleet(garage, "--out", out)
    before, asked = table_bytes(out), []
    real = work.examine
    monkeypatch.setattr(cluster, "examine", lambda job: asked.append(job.drive.name) or real(job))
    assert fleet(garage, "--out", out) == 1
    assert [name.partition("/")[2] for name in asked] == ["broken"]
    assert table_bytes(out) == before


def test_an_interrupted_run_goes_on_where_it_was(garage, done, tmp_path, monkeypatch):
    out, real, asked = tmp_path / "out", work.examine, []

    def interrupted(job):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(job.drive.name)
        return real(job)

    monkeypatch.setattr(cluster, "examine", interrupted)
    assert fleet(garage, "--out", out) == 130
    assert len(rows(out, "runs")) == 2
    journal = out / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"key": "half a li')
    monkeypatch.setattr(cluster, "examine", lambda job: asked.append(job.drive.name) or real(job))
    assert fleet(garage, "--out", out) == 1
    assert len(asked) == len(set(asked)) == 4
    assert table_bytes(out) == table_bytes(done)


def test_a_changed_recording_or_other_parameters_are_done_anew(garage, tmp_path):
    drive = jobs.drives([garage / "calm"])
    plain = jobs.parameter_sets(None, [], None)
    (first,) = jobs.jobs(drive, plain, None, None)
    (other,) = jobs.jobs(drive, jobs.parameter_sets(None, ["authority.hits=3"], None), None, None)
    assert first.key == jobs.jobs(drive, plain, None, None)[0].key != other.key
    recordings.write(tmp_path / "calm", recordings.drive(1.0))
    (changed,) = jobs.jobs(jobs.drives([tmp_path / "calm"]), plain, None, None)
    assert changed.key != first.key


def test_a_folder_with_something_else_is_left_alone(garage, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert fleet(garage, "--out", tmp_path) == 2
    assert "holds no fleet run but other files" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "no such file or folder"),
        (["{garage}", "--workers", "-1"], "--workers is -1"),
        (["{garage}", "--tolerance", "-1"], "--tolerance is -1"),
        (["{garage}", "--baseline", "nowhere"], "expected the results of"),
        (["{garage}", "--set", "authority.hit=3"], "did you mean authority.hits"),
        (["{garage}", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["{garage}", "--workers", "1", "--scheduler", "tcp://127.0.0.1:1"], "leave it out"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(garage, tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["fleet", *(a.format(garage=garage) for a in arguments)]) == 2
    text = capsys.readouterr().err
    assert expected in text
    assert text.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_one_line(garage, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["fleet", str(garage), "--out", str(tmp_path / "out")]) == 2
    assert cli.main(["ask", "select 1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("pip install 'safety_supervisor[fleet]'" in line for line in lines)


# --- workers --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.xdist_group("dask")
def test_two_workers_give_the_same_bytes(garage, done, tmp_path):
    pytest.importorskip("distributed")
    assert cli.main(["fleet", "--workers", "2", "--quiet", str(garage), "--out", str(tmp_path / "out")]) == 1
    assert table_bytes(tmp_path / "out") == table_bytes(done)


@pytest.mark.slow
@pytest.mark.xdist_group("dask")
def test_an_existing_cluster_is_used_by_its_address_and_a_lost_worker_is_a_failed_job(garage, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, host="127.0.0.1", dashboard_address=None, protocol="tcp"
    ) as there:
        arguments = ["--scheduler", there.scheduler_address, "--quiet", "--out"]
        assert cli.main(["fleet", str(garage / "calm"), *arguments, str(tmp_path / "out")]) == 0
        monkeypatch.setattr(cluster, "examine", _killed)
        assert cli.main(["fleet", str(garage / "calm"), *arguments, str(tmp_path / "lost")]) == 2
    assert [row["status"] for row in rows(tmp_path / "out", "runs")] == ["ok"]
    assert "the worker was lost" in rows(tmp_path / "lost", "runs")[0]["error"]


def _killed(job):
    raise MemoryError("out of memory")


def test_a_scheduler_that_is_not_there_is_one_line(garage, tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "PATIENCE", "1 s")
    arguments = ["--scheduler", "tcp://127.0.0.1:9", "--quiet", "--out", str(tmp_path / "out")]
    assert cli.main(["fleet", str(garage / "calm"), *arguments]) == 2
    assert "no Dask scheduler answers there" in capsys.readouterr().err


# --- the gate -------------------------------------------------------------------------------------------------


def test_the_gate_passes_what_did_not_change_and_fails_what_did(garage, done, tmp_path, capsys):
    night = garage / "night"
    first = tmp_path / "first"
    assert fleet(night, "--out", first) == 0
    assert fleet(night, "--out", tmp_path / "same", "--baseline", first) == 0
    assert json.loads((tmp_path / "same" / "changes.json").read_text()) == []
    assert fleet(night, "--out", tmp_path / "other", "--set", "health.plan_timeout=0.5", "--baseline", first) == 1
    (change,) = json.loads((tmp_path / "other" / "changes.json").read_text())
    assert (change["bag"], change["change"]) == ("night/silent", "moved")
    moved = ["--set", "health.plan_timeout=0.5", "--baseline", first, "--tolerance", "0.25"]
    assert fleet(night, "--out", tmp_path / "near", *moved) == 0
    assert "night/silent" in capsys.readouterr().out


def test_the_gate_notices_a_recording_that_is_not_there_any_more(garage, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    both = [garage / "calm", garage / "night" / "silent"]
    fleet(*both, "--out", first)
    assert fleet(both[0], "--out", second, "--baseline", first) == 1
    assert json.loads((second / "changes.json").read_text())[0]["change"] == "missing"
    assert fleet(*both, "--out", tmp_path / "third", "--baseline", second) == 0  # only more than before


def entry(start, end, mode="COMFORT_STOP", code="TTC"):
    return {"start_s": start, "end_s": end, "mode": mode, "code": code}


@pytest.mark.parametrize(
    ("was", "now", "kinds"),
    [
        ([], [], []),
        ([entry(1, 2)], [entry(1, 2)], []),
        ([entry(1, 2)], [], ["gone"]),
        ([], [entry(1, 2)], ["new"]),
        ([entry(1, 2)], [entry(1, 2, "FIRM_STOP")], ["changed"]),
        ([entry(1, 2)], [entry(1, 2, code="ENVELOPE")], ["changed"]),
        ([entry(1, 2)], [entry(1, 2.5)], ["moved"]),
        ([entry(1, 2)], [entry(5, 6)], ["gone", "new"]),
        ([entry(1, 2), entry(5, 6)], [entry(1, 1.4), entry(1.6, 2), entry(5, 6)], ["moved", "new"]),
    ],
)
def test_interventions_are_paired_by_time(was, now, kinds):
    assert [kind for kind, _ in compared(was, now, 0.0)] == kinds


# --- labels ---------------------------------------------------------------------------------------------------


def test_labels_say_which_stops_were_false(garage, tmp_path, capsys):
    file = tmp_path / "labels.csv"
    file.write_text("bag,start_s,end_s,needed\nnight/approach,,,false\nnight/approach,100,200,true\nnowhere,,,true\n")
    assert fleet(garage / "night", "--labels", file, "--out", tmp_path / "out") == 0
    needed = {row["bag"]: row["needed"] for row in rows(tmp_path / "out", "interventions")}
    assert needed == {"night/approach": False, "night/silent": None}
    assert "1 lines name no recording" in capsys.readouterr().err
    assert cli.main(["ask", "false-stops", "--json", "--run", str(tmp_path / "out")]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["false_stops"] == 1
    assert answer["false_share"] == 1.0
    assert answer["false_stops_per_hour"] == pytest.approx(1 / answer["hours"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bag,start_s,end_s\n", "no column 'needed'"),
        ("bag,start_s,end_s,needed\na,,,maybe\n", "line 2: needed is 'maybe'"),
        ("bag,start_s,end_s,needed\na,x,,true\n", "must be seconds or empty"),
        ("bag,start_s,end_s,needed\na,5,4,true\n", "is not before"),
        ("", "no column 'bag'"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path, text, expected):
    file = tmp_path / "labels.csv"
    file.write_text(text)
    with pytest.raises(FleetError, match=expected):
        labels.load(file)


def test_a_simulated_run_carries_its_own_truth():
    assert work._truth({"unsupervised": {"collision": True}}) is True
    assert work._truth({"unsupervised": {"collision": False}}) is False
    assert work._truth(None) is None
    assert work._truth({}) is None


def test_the_front_of_the_trade_off_is_what_nothing_beats():
    points = [(1.0, 5.0, "a"), (2.0, 4.0, "worse in both"), (2.0, 6.0, "b"), (0.5, 1.0, "c"), (1.0, 4.9, "d")]
    assert [p[2] for p in front(points)] == ["c", "a", "b"]


def test_progress_is_told_without_a_terminal(garage, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "EVERY", 0.0)
    assert cli.main(["fleet", str(garage / "calm"), "--workers", "0", "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "progress 1 of 1 jobs" in captured.err
    assert "done     1 of 1 jobs" in captured.out
