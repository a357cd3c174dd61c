"""The same recording gives the same decisions; ticks, wiring, derived profiles and the summary."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace as Ns

import numpy as np
import pytest
import recordings
from recordings import REAL, START, drive, write

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config, InputTopics, Sensor, from_mapping, to_mapping
from safety_supervisor.core.world import Mode
from safety_supervisor.replay.bag import BagError, make, open_bag
from safety_supervisor.replay.command import Options, replay
from safety_supervisor.replay.profile import derive, derive_config
from safety_supervisor.replay.replay import SILENCE_MAX, Recorded, batches, regrouped, wire

MS = 1_000_000


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write(tmp_path_factory.mktemp("replay") / "drive", drive())


def decisions(folder):
    return [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]


# --- ticks ----------------------------------------------------------------------------------------------------


def at(*times):
    return [("/a", "x/Y", t, i) for i, t in enumerate(times)]


def test_ticks_are_multiples_of_the_period_from_the_first_message_on():
    got = [(t, [m[3] for m in batch]) for t, batch in batches(at(101, 149, 150, 151, 320), 50)]
    assert got == [(150, [0, 1, 2]), (200, [3]), (250, []), (300, []), (350, [4])]


def test_a_message_at_the_time_of_a_tick_belongs_to_it():
    assert [t for t, _ in batches(at(100, 200), 100)] == [100, 200]


def test_no_messages_give_no_ticks():
    assert list(batches([], 50)) == []


def test_ticks_pause_in_a_long_silence():
    period = 50 * MS
    later = 10**6 * SILENCE_MAX
    ticks = [t for t, _ in batches(at(period, later), period)]
    assert len(ticks) == SILENCE_MAX // period + 2
    assert ticks[-1] == later


def test_recorded_decisions_regroup_by_what_they_consumed():
    messages = [("a", "T", 1, 0), ("a", "T", 2, 1), ("b", "T", 3, 2), ("a", "T", 4, 3)]
    recorded = [Recorded(5, {"a": 1}, 9, "", ""), Recorded(6, {"a": 2, "/b": 1}, 9, "", "")]
    got = [(t, sorted(m[3] for m in batch)) for t, batch in regrouped(messages, recorded)]
    assert got == [(5, [0]), (6, [1, 2, 3])]


def test_the_first_recorded_decision_takes_nothing_that_came_after_it():
    messages = [("a", "T", 4, 0), ("a", "T", 20, 1)]
    recorded = [Recorded(5, {"a": 3}, 6, "", ""), Recorded(21, {"a": 1}, 22, "", "")]
    assert [[m[3] for m in batch] for _, batch in regrouped(messages, recorded)] == [[0], [1]]


def test_a_count_of_a_recorded_decision_beyond_all_messages_takes_those_there_are():
    recorded = [Recorded(5, {"a": 10**15}, 9, "", "")]
    assert [len(batch) for _, batch in regrouped([("a", "T", 1, 0)], recorded)] == [1]


@pytest.mark.parametrize("text", ['{"t": 1e400, "consumed": {}}', '{"t": 1, "consumed": {"a": 1e400}}', "[]", "1", ""])
def test_a_text_that_is_no_decision_is_not_taken_for_one(tmp_path, text):
    other = ("/decision", recordings.STRING, START + 1, make(recordings.STRING, {"data": text}))
    path = write(tmp_path / "drive", [*drive(0.5), other])
    assert replay(path, tmp_path / "out", Options(report=False))["recorded_decisions"] == 0


# --- wiring and profiles --------------------------------------------------------------------------------------


def fake(*topics):
    listed = [Ns(name=name, msgtype=kind, count=1, readable=True) for name, kind in topics]
    return Ns(topics=listed, path="bag", first=lambda _: None)


def test_names_match_with_or_without_slash_or_in_a_namespace():
    config = Config(sensors=(("front", Sensor(topic="radar/front")),))
    wiring = wire(fake(("/car/vehicle/odometry", "nav_msgs/msg/Odometry"), ("radar/front", "x/msg/Y")), config)
    assert wiring.names == {"/car/vehicle/odometry": "vehicle/odometry", "radar/front": "radar/front"}
    assert [m["input"] for m in wiring.missing] == ["plan"]
    assert wiring.notes == ["/car/vehicle/odometry serves as vehicle/odometry"]


def test_an_ambiguous_ending_is_missing_and_says_so():
    topics = [(f"/{car}/vehicle/odometry", "nav_msgs/msg/Odometry") for car in "ab"]
    wiring = wire(fake(*topics), Config())
    assert wiring.names == {}
    assert "several topics" in wiring.missing[0]["why"]


def test_a_profile_comes_from_the_topics(bag):
    with open_bag(bag) as opened:
        config, notes = derive_config(opened)
    assert config.inputs == InputTopics(odometry="/vehicle/odometry", plan="/policy/trajectory")
    ((name, sensor),) = config.sensors
    assert (name, sensor.kind, sensor.topic, sensor.x) == ("radar_front", "radar_tracks", "/radar/front/tracks", 3.7)
    assert any("no vehicle file" in note for note in notes)


def ultrasonic(t, frame, low=0.2, high=4.5):
    return make("sensor_msgs/msg/Range", {"header": recordings.header(t, frame), "field_of_view": 0.8,
                                          "min_range": low, "max_range": high, "range": 2.0})  # fmt: skip


def test_transducers_are_mounted_by_the_words_in_their_frames(tmp_path):
    kind = "sensor_msgs/msg/Range"
    places = ("front_left", "rear_right", "right", "rear", "front")
    messages = [(f"/park/{p}", kind, START, ultrasonic(START, f"us_{p}")) for p in places]
    with open_bag(write(tmp_path / "park", messages)) as opened:
        profile = derive(opened)
    sensors = {s.topic: s for _, s in profile.config.sensors}
    assert sensors["/park/front_left"].y > 0 < sensors["/park/front_left"].yaw < 1.6
    assert sensors["/park/rear_right"].x < 0 > sensors["/park/rear_right"].y
    assert sensors["/park/right"].yaw == pytest.approx(-1.5708, abs=1e-3)
    assert abs(sensors["/park/rear"].yaw) == pytest.approx(3.1416, abs=1e-3)
    assert sensors["/park/front"].x == 3.7
    assert sensors["/park/front"].half_angle == pytest.approx(0.4)
    assert any("radar" in what for what in profile.missing)
    assert not profile.config.inputs.plan_expected


def test_absurd_limits_in_a_message_do_not_break_a_profile(tmp_path):
    message = ultrasonic(START, "x", float("nan"), -1.0)
    with open_bag(write(tmp_path / "park", [("/park", "sensor_msgs/msg/Range", START, message)])) as opened:
        ((_, sensor),) = derive(opened).config.sensors
    assert sensor.range_min < sensor.range_max


def test_without_radar_and_ultrasonics_a_radar_is_expected_and_missing(tmp_path):
    path = write(tmp_path / "blind", [m for m in drive() if m[0] != "/radar/front/tracks"])
    result = replay(path, tmp_path / "out")
    assert [m["input"] for m in result["inputs"]["missing"]] == ["radar_front"]
    assert result["modes"]["NOMINAL"] == 0
    assert any(f["code"] == "RADAR_MISSING" for f in result["findings"])


def test_point_clouds_without_doppler_are_no_radar(tmp_path):
    fields = [{"name": n, "offset": 4 * i, "datatype": 7, "count": 1} for i, n in enumerate("xyz")]
    lidar = make("sensor_msgs/msg/PointCloud2", {"fields": fields, "point_step": 12})
    cloud = ("/lidar", "sensor_msgs/msg/PointCloud2", START, lidar)
    with open_bag(write(tmp_path / "lidar", [cloud, *drive(0.2)])) as opened:
        profile = derive(opened)
    assert [s.topic for _, s in profile.config.sensors] == ["/radar/front/tracks"]
    assert any("/lidar has no Doppler field" in note for note in profile.notes)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_doppler_sign_is_read_from_the_static_world(tmp_path, sign):
    fields = [{"name": n, "offset": 4 * i, "datatype": 7, "count": 1} for i, n in enumerate(["x", "y", "doppler"])]
    posts = np.array([(30, 4, 0), (20, -4, 0), (50, 5, 0)], "<f4")
    posts[:, 2] = -sign * 15.0 * np.cos(np.arctan2(posts[:, 1], posts[:, 0]))
    cloud = {"fields": fields, "point_step": 12, "row_step": 36, "width": 3, "height": 1, "data": posts.tobytes()}
    kind = "sensor_msgs/msg/PointCloud2"
    times = [t for topic, _, t, _ in drive(1.0) if topic == "/radar/front/tracks"]
    clouds = [("/radar/points", kind, t, make(kind, {**cloud, "header": recordings.header(t, "r")})) for t in times]
    ego = [m for m in drive(1.0) if m[0] == "/vehicle/odometry"]
    with open_bag(write(tmp_path / "posts", sorted(ego + clouds, key=lambda m: m[2]))) as opened:
        ((_, sensor),) = derive(opened).config.sensors
    assert sensor.doppler_sign == sign


def test_results_of_a_supervisor_are_no_inputs(tmp_path):
    own = [
        ("/safety/trajectory", recordings.TRAJECTORY, START, recordings.trajectory(START, 0.0, 9.0)),
        ("/safety/decision", recordings.STRING, START, make(recordings.STRING, {"data": "{}"})),
        ("/scenario/unsupervised/odometry", recordings.ODOMETRY, START, recordings.odometry(START, 0.0, 9.0)),
    ]
    messages = [m for m in drive(0.2) if m[0] == "/radar/front/tracks"]
    with open_bag(write(tmp_path / "own", messages + own)) as opened:
        profile = derive(opened)
    assert not profile.config.inputs.plan_expected
    assert any("odometry" in what for what in profile.missing)


# --- results --------------------------------------------------------------------------------------------------


def test_the_same_bag_gives_the_same_bytes_from_both_storages(tmp_path, bag):
    write(tmp_path / "lite", drive(), "sqlite3")
    outputs = []
    for i, path in enumerate([bag, bag, tmp_path / "lite", bag / "drive.mcap"]):
        replay(path, tmp_path / str(i), Options(report=False))
        outputs.append((tmp_path / str(i) / "decisions.jsonl").read_bytes())
    assert outputs[0]
    assert len(set(outputs)) == 1


def test_every_decision_has_the_documented_keys(tmp_path, bag):
    result = replay(bag, tmp_path / "out")
    lines = decisions(tmp_path / "out")
    assert len(lines) == result["ticks"] == sum(result["modes"].values())
    wanted = recordings.documented("decisions.jsonl")
    assert set(result) == recordings.documented("summary.json") - {"scenario"}
    for line in lines:
        assert set(line) == wanted
        assert isinstance(line["t"], int)
        assert line["mode"] in Mode.__members__
        assert line["config"] == result["config"]["digest"]
    consumed = sum(n for line in lines for n in line["consumed"].values())
    assert consumed == sum(f["count"] for f in result["inputs"]["found"])


def test_every_decision_and_the_report_carry_the_hash_of_the_certificate(tmp_path, bag):
    vehicle = tmp_path / "proved.yaml"
    vehicle.write_text("vehicle: {name: proved}\n", encoding="utf-8")
    proof = vehicle_file.certificate_path(vehicle)
    config = vehicle_file.load(vehicle)
    made = vehicle_file.write_certificate(proof, config, [{"claim": "c", "result": "PROVED"}], {})
    result = replay(bag, tmp_path / "out", Options(config=vehicle))
    assert result["certificate"] == made
    assert {line["certificate"] for line in decisions(tmp_path / "out")} == {made}
    assert f'"certificate":"{made}"' in (tmp_path / "out" / "report.html").read_text().replace(": ", ":")
    proof.unlink()
    again = replay(bag, tmp_path / "unproved", Options(config=vehicle, report=False))
    assert again["certificate"] is None
    assert {line["certificate"] for line in decisions(tmp_path / "unproved")} == {None}


def test_a_quiet_drive_is_nominal_and_the_summary_says_what_was_found(tmp_path, bag):
    result = replay(bag, tmp_path / "out")
    assert result["modes"]["NOMINAL"] > 0.8 * result["ticks"]
    assert result["interventions"] == []
    assert {f["used_as"] for f in result["inputs"]["found"]} == {"odometry", "plan", "sensor radar_front"}
    assert result["inputs"]["missing"] == []
    assert result["plan_source"] == "policy"
    assert result["lead_confirmed_share"] == 1.0
    assert set(result["modes"]) == set(Mode.__members__)
    assert result["processing"]["tick_ms"]["p50"] > 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == result


def test_a_plan_that_ends_is_an_intervention_with_its_reason(tmp_path):
    messages = [m for m in drive(4.0) if m[0] != "/policy/trajectory" or m[2] < START + 2 * 10**9]
    result = replay(write(tmp_path / "ends", messages), tmp_path / "out")
    (intervention,) = result["interventions"]
    assert intervention["mode"] == "COMFORT_STOP"
    assert intervention["code"] == "PLAN_STALE"
    assert 2.0 < intervention["start_s"] < 2.5
    assert intervention["reason"]
    assert intervention["phases"][0]["mode"] == "COMFORT_STOP"


def test_without_a_plan_topic_the_extrapolation_is_judged_and_the_summary_says_so(tmp_path):
    path = write(tmp_path / "planless", [m for m in drive() if m[0] != "/policy/trajectory"])
    result = replay(path, tmp_path / "out")
    assert result["plan_source"] == "extrapolation"
    assert any("extrapolation" in note for note in result["notes"])


def test_settings_change_the_parameter_set(tmp_path, bag):
    result = replay(bag, tmp_path / "out", Options(values=["timing.period=0.1"]))
    assert result["period"] == 0.1
    times = [line["t"] for line in decisions(tmp_path / "out")]
    assert {b - a for a, b in pairwise(times)} == {100 * MS}


def test_a_recording_with_decisions_is_replayed_tick_by_tick(tmp_path, bag):
    replay(bag, tmp_path / "first", Options(values=["timing.period=0.04"]))
    recorded = [
        ("/safety/decision", recordings.STRING, line["t"] + 3, make(recordings.STRING, {"data": json.dumps(line)}))
        for line in decisions(tmp_path / "first")
    ]
    path = write(tmp_path / "with", sorted(drive() + recorded, key=lambda m: m[2]))
    again = replay(path, tmp_path / "again", Options(values=["timing.period=0.04"]))
    assert again["recorded_decisions"] == len(recorded)
    assert again["differing_modes"] == 0
    assert decisions(tmp_path / "again") == decisions(tmp_path / "first")


def test_broken_messages_are_findings_not_crashes(tmp_path):
    bad = recordings.odometry(START, 0.0, float("nan"))
    messages = [
        (topic, kind, t, bad if topic == "/vehicle/odometry" and t > START + 5 * 10**8 else msg)
        for topic, kind, t, msg in drive(1.0)
    ]
    result = replay(write(tmp_path / "bad", messages), tmp_path / "out")
    assert any("INVALID" in f["code"] for f in result["findings"])


def test_a_bag_without_a_topic_of_the_vehicle_is_refused(tmp_path):
    only = [("/odd", recordings.STRING, START, make(recordings.STRING))]
    with pytest.raises(BagError, match="no usable topic among /odd"):
        replay(write(tmp_path / "odd", only), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_scenario_recording_shows_its_outcome(tmp_path):
    outcome = make(recordings.STRING, {"data": json.dumps({"name": "x", "supervised": {"collision": False}})})
    messages = [*drive(0.5), ("/scenario/outcome", recordings.STRING, START + 10**9, outcome)]
    result = replay(write(tmp_path / "scene", messages), tmp_path / "out")
    assert result["scenario"]["supervised"] == {"collision": False}


def test_an_interrupted_replay_leaves_no_result(tmp_path, bag, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("safety_supervisor.replay.report.Pictures.add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replay(bag, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyboardInterrupt):
        replay(bag, tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []  # what was there before stays there


def test_a_replay_without_report_leaves_no_older_one_beside_its_results(tmp_path, bag):
    replay(bag, tmp_path / "out")
    replay(bag, tmp_path / "out", Options(report=False))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"decisions.jsonl", "summary.json"}


def test_a_folder_in_the_place_of_a_result_is_named_before_anything_is_written(tmp_path, bag):
    (tmp_path / "out" / "summary.json").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"summary\.json"):
        replay(bag, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.json"]


# --- the real drive -------------------------------------------------------------------------------------------

DRIVE = REAL / "comma2k19_rav4_seg40"


@pytest.mark.slow
@pytest.mark.skipif(not DRIVE.exists(), reason="no real recordings here")
def test_a_real_drive_stays_quiet_and_both_storages_agree(tmp_path):
    quick = Options(report=False)
    results = {n: replay(DRIVE / n, tmp_path / n, quick) for n in ("rosbag2_mcap", "rosbag2_sqlite3")}
    lines = {(tmp_path / name / "decisions.jsonl").read_bytes() for name in results}
    assert len(lines) == 1
    result = results["rosbag2_mcap"]
    assert result["lead_confirmed_share"] >= 0.98
    with_plan = [d for d in decisions(tmp_path / "rosbag2_mcap") if d["plan_source"] == "policy"]
    assert {d["mode"] for d in with_plan} <= {"INIT", "NOMINAL", "SPEED_CAP"}
    assert sum(d["mode"] == "NOMINAL" for d in with_plan) >= 0.9 * len(with_plan)
    (end,) = [i for i in result["interventions"] if Mode[i["mode"]].brakes]
    assert end["code"] == "PLAN_STALE"
    (scale,) = [f for f in result["findings"] if f["code"] == "ODOMETRY_SCALE"][:1]
    assert "low against its own pose" in scale["text"]  # published is 0.9 %
    assert scale["start_s"] < 20


def test_a_profile_survives_being_written_and_read_again(bag):
    with open_bag(bag) as opened:
        config, _ = derive_config(opened)
    assert from_mapping(json.loads(json.dumps(to_mapping(config)))).digest == config.digest
