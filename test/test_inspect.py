"""`inspect` tells what is in a recording, what can be used, and what is missing."""

from __future__ import annotations

import json

import pytest
import recordings
from recordings import START, drive, write

from safety_supervisor import cli
from safety_supervisor.replay.bag import make, open_bag
from safety_supervisor.replay.inputs import Options
from safety_supervisor.replay.inspect import inspect
from safety_supervisor.replay.profile import derive
from safety_supervisor.vehicle_file import to_text

S = 10**9


def report_of(path, **options):
    with open_bag(path) as bag:
        return inspect(bag, Options(**options))


@pytest.fixture
def car(tmp_path):
    """A vehicle file that fits the usual drive."""
    with open_bag(write(tmp_path / "usual", drive(0.5))) as bag:
        (tmp_path / "car.yaml").write_text(to_text(derive(bag).config))
    return tmp_path / "car.yaml"


def topic(report, name):
    return next(t for t in report["topics"] if t["topic"] == name)


def test_rates_counts_and_ages_are_those_of_the_recording(tmp_path):
    late = [(name, kind, t + 40_000_000, m) if "radar" in name else (name, kind, t, m) for name, kind, t, m in drive()]
    report = report_of(write(tmp_path / "drive", sorted(late, key=lambda m: m[2])))
    odometry, radar = topic(report, "/vehicle/odometry"), topic(report, "/radar/front/tracks")
    assert (odometry["count"], odometry["rate_hz"], odometry["gap_count"]) == (150, 50.0, 0)
    assert odometry["frames"] == ["odom"]
    assert radar["stamp_age_s"] == {"min": 0.04, "median": 0.04, "max": 0.04}
    assert radar["used_as"] == "sensor radar_front"
    assert report["clock_jumps"] == report["silences"] == []
    assert report["messages"] == 210
    assert set(report) == recordings.documented("inspect")


def test_gaps_and_silences_are_found_where_they_are(tmp_path):
    def kept(m):
        silent = START + S <= m[2] < START + 2 * S
        blind = "radar" in m[0] and START + S // 2 <= m[2] < START + 9 * S // 10
        return not silent and not blind

    report = report_of(write(tmp_path / "drive", [m for m in drive() if kept(m)]))
    (silence,) = report["silences"]
    assert silence["at_s"] == pytest.approx(0.98)
    assert silence["seconds"] == pytest.approx(1.02)
    assert topic(report, "/vehicle/odometry")["gaps"] == [{"at_s": 0.98, "seconds": 1.02}]
    assert len(topic(report, "/radar/front/tracks")["gaps"]) == 2


def test_a_clock_that_jumps_is_found(tmp_path):
    messages = drive()
    for name, _, t, message in messages:
        if name == "/vehicle/odometry" and t >= START + S:
            stamp = t - 3 * S
            message.header.stamp.sec, message.header.stamp.nanosec = stamp // S, stamp % S
    (jump,) = report_of(write(tmp_path / "drive", messages))["clock_jumps"]
    assert jump["kind"] == "stamps"
    assert (jump["topic"], jump["at_s"], jump["seconds"]) == ("/vehicle/odometry", 1.0, -3.0)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recorder_whose_clock_was_set_is_found_in_the_order_of_writing(tmp_path, storage):
    def clock(t):
        return t - S // 2 - S // 4 if t >= START + S else t

    messages = [(name, kind, clock(t), m) for name, kind, t, m in drive()]
    report = report_of(write(tmp_path / "back", messages, storage))
    assert [j["kind"] for j in report["clock_jumps"] if j["topic"] is None] == ["backward"]
    assert report["clock_jumps"][0]["seconds"] == pytest.approx(-0.73)
    ahead = [(name, kind, t + 5 * S if t >= START + S else t, m) for name, kind, t, m in drive()]
    jumps = report_of(write(tmp_path / "ahead", ahead, storage))["clock_jumps"]
    assert [(j["kind"], j["seconds"]) for j in jumps if j["topic"] is None] == [("forward", pytest.approx(5.02))]


def test_all_there_with_a_vehicle_file_is_a_full_judgement(tmp_path, car):
    report = report_of(write(tmp_path / "drive", drive()), config=car)
    assert report["full_judgement"]
    assert [m["input"] for m in report["missing"]] == ["driver"]
    assert not report_of(tmp_path / "drive")["full_judgement"]  # control: without the file


@pytest.mark.parametrize("gone", ["odometry", "policy", "radar"])
def test_what_is_missing_is_named(tmp_path, car, gone):
    path = write(tmp_path / "drive", [m for m in drive() if gone not in m[0]])
    for options in ({"config": car}, {}):
        report = report_of(path, **options)
        assert not report["full_judgement"]
        assert any(gone.replace("policy", "plan") in m["input"] for m in report["missing"])


def test_topics_of_other_names_are_suggested_and_the_suggestion_works(tmp_path, car, capsys):
    names = {"/vehicle/odometry": "/loc/kinematic", "/radar/front/tracks": "/conti/objects",
             "/policy/trajectory": "/e2e/out"}  # fmt: skip
    messages = drive()
    for name, _, _, message in messages:
        if name == "/policy/trajectory":
            message.header.frame_id = "map"
    path = write(tmp_path / "odd", [(names[name], *rest) for name, *rest in messages])
    arguments = ["inspect", str(path), "--config", str(car)]
    assert cli.main([*arguments, "--suggest", str(tmp_path / "mapping.yaml")]) == 0
    said = capsys.readouterr().out
    assert "could be /e2e/out" in said
    assert said.endswith(f"written {tmp_path / 'mapping.yaml'}\n")
    report = report_of(path, config=car, mapping=tmp_path / "mapping.yaml")
    assert report["full_judgement"]
    assert report["mapping"] == {"topics": {}, "frames": {"map": "odom"}}
    again = [*arguments, "--suggest", str(tmp_path / "mapping.yaml")]
    assert cli.main(again) == 2
    assert "exists already" in capsys.readouterr().err


def test_where_nothing_needs_a_mapping_an_empty_one_is_written_and_said(tmp_path, capsys):
    path, file = write(tmp_path / "drive", drive()), tmp_path / "mapping.yaml"
    assert cli.main(["inspect", str(path), "--suggest", str(file)]) == 0
    assert "mapping.yaml: empty, no topic or frame needs another meaning" in capsys.readouterr().out
    assert report_of(path, mapping=file)["mapping"] == {"topics": {}, "frames": {}}


def test_a_plan_that_starts_at_its_own_origin_is_suggested_as_ego_s_frame(tmp_path):
    messages = []
    for name, kind, t, message in drive():
        if name == "/policy/trajectory":
            message = recordings.trajectory(t, 0.0, 15.0)
            message.header.frame_id = "ego"
        if name == "/vehicle/odometry":
            message.pose.pose.position.x += 500.0
        messages.append((name, kind, t, message))
    report = report_of(write(tmp_path / "drive", messages))
    assert report["mapping"]["frames"] == {"ego": "base_link"}


def test_a_damaged_recording_is_no_full_judgement(tmp_path, car):
    path = write(tmp_path / "drive", drive())
    (path / "metadata.yaml").unlink()
    report = report_of(path, config=car)
    assert report["recovered"]
    assert not report["full_judgement"]


def test_json_is_one_object_or_a_list(tmp_path, capsys):
    paths = [str(write(tmp_path / name, drive(0.5))) for name in "ab"]
    assert cli.main(["inspect", paths[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bag"] == "a"
    assert cli.main(["inspect", *paths, "--json"]) == 0
    assert [report["bag"] for report in json.loads(capsys.readouterr().out)] == ["a", "b"]


def test_types_without_header_have_no_stamps_and_short_ones_do_no_harm(tmp_path):
    text = [("/text", recordings.STRING, START + i * S, make(recordings.STRING, {"data": "x"})) for i in range(3)]
    report = report_of(write(tmp_path / "drive", sorted([*drive(0.5), *text], key=lambda m: m[2])))
    assert topic(report, "/text")["stamp_age_s"] is None
    assert topic(report, "/text")["why_not"] == "not an input of this vehicle"
