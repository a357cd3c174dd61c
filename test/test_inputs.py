"""What can be replayed: several recordings, folders, packed and damaged files; mapping, window, agreement."""

from __future__ import annotations

import io
import json
import shutil

import lz4.frame
import pytest
import recordings
import zstandard
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from recordings import ODOMETRY, START, drive, write

from safety_supervisor import cli
from safety_supervisor.core.config import ConfigError
from safety_supervisor.core.world import Code
from safety_supervisor.replay.bag import BagError, make, open_bag, open_bags
from safety_supervisor.replay.command import Options, replay
from safety_supervisor.replay.inputs import EACH, JOIN, grouped
from safety_supervisor.replay.mapping import Mapping, load_mapping
from safety_supervisor.replay.profile import derive
from safety_supervisor.replay.replay import Run, Window, moment

QUICK = Options(report=False)
S = 10**9


def decisions(folder):
    return (folder / "decisions.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A drive, and its decisions."""
    path = tmp_path_factory.mktemp("whole")
    write(path / "drive", drive(2.0))
    replay(path / "drive", path / "out", QUICK)
    return path


def remade(source, target, **writing):
    """The same MCAP file written anew by the reference library, in whatever shape."""
    made = {}
    with source.open("rb") as old, target.open("wb") as new:
        writer = McapWriter(new, **{"chunk_size": 4096, **writing})
        writer.start(profile="ros2")
        for schema, channel, message in make_reader(old).iter_messages():
            if channel.id not in made:
                kind = writer.register_schema(schema.name, schema.encoding, schema.data)
                made[channel.id] = writer.register_channel(channel.topic, channel.message_encoding, kind)
            writer.add_message(made[channel.id], message.log_time, message.data, message.publish_time)
        writer.finish()
    return target


# --- storages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.ZSTD, CompressionType.NONE])
def test_chunks_of_every_compression_give_the_same_decisions(tmp_path, whole, compression):
    path = remade(whole / "drive" / "drive.mcap", tmp_path / "drive.mcap", compression=compression)
    result = replay(path, tmp_path / "out", QUICK)
    assert not result["recovered"]
    assert decisions(tmp_path / "out") == decisions(whole / "out")


WITHOUT_INDEX = [
    {"index_types": IndexType.NONE},
    {"use_chunking": False},
    {"index_types": IndexType.NONE, "use_statistics": False, "use_summary_offsets": False, "repeat_channels": False,
     "repeat_schemas": False},
]  # fmt: skip


@pytest.mark.parametrize("shape", WITHOUT_INDEX, ids=["no chunk index", "no chunks", "no summary"])
def test_a_file_without_index_is_read_from_the_front_and_says_so(tmp_path, whole, shape):
    path = remade(whole / "drive" / "drive.mcap", tmp_path / "drive.mcap", **shape)
    result = replay(path, tmp_path / "out", QUICK)
    assert result["recovered"] is True
    assert any("no index" in note for note in result["notes"])
    assert decisions(tmp_path / "out") == decisions(whole / "out")


def test_a_file_without_index_whose_messages_are_out_of_order_is_still_read_in_order(tmp_path, whole):
    source, target = whole / "drive" / "drive.mcap", tmp_path / "drive.mcap"
    with source.open("rb") as old, target.open("wb") as new:
        writer = McapWriter(new, index_types=IndexType.NONE, use_statistics=False)
        writer.start(profile="ros2")
        made = {}
        for schema, channel, message in reversed(list(make_reader(old).iter_messages())):
            if channel.id not in made:
                kind = writer.register_schema(schema.name, schema.encoding, schema.data)
                made[channel.id] = writer.register_channel(channel.topic, channel.message_encoding, kind)
            writer.add_message(made[channel.id], message.log_time, message.data, message.publish_time)
        writer.finish()
    replay(target, tmp_path / "out", QUICK)
    assert decisions(tmp_path / "out") == decisions(whole / "out")


def test_a_broken_chunk_in_the_middle_is_left_out_and_what_follows_is_read(tmp_path, whole):
    path = remade(whole / "drive" / "drive.mcap", tmp_path / "drive.mcap", index_types=IndexType.NONE)
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    with open_bag(path) as bag:
        assert bag.recovered
        times = [t for *_, t, _ in bag.messages(["/vehicle/odometry"])]
    assert 50 < len(times) < 100
    assert times[-1] == START + 99 * 20_000_000


def test_a_file_with_other_than_ros_messages_is_no_damage(tmp_path, whole):
    source, target = whole / "drive" / "drive.mcap", tmp_path / "drive.mcap"
    remade(source, target)
    with source.open("rb") as old, target.open("wb") as new:
        writer = McapWriter(new)
        writer.start()
        scene = writer.register_schema("Scene", "jsonschema", b"{}")
        channel = writer.register_channel("/scene", "json", scene)
        writer.add_message(channel, START, b"{}", START)
        made = {}
        for schema, old_channel, message in make_reader(old).iter_messages():
            if old_channel.id not in made:
                kind = writer.register_schema(schema.name, schema.encoding, schema.data)
                made[old_channel.id] = writer.register_channel(old_channel.topic, "cdr", kind)
            writer.add_message(made[old_channel.id], message.log_time, message.data, message.publish_time)
        writer.finish()
    result = replay(target, tmp_path / "out", QUICK)
    assert not result["recovered"]
    assert any("/scene" in note for note in result["notes"])
    assert decisions(tmp_path / "out") == decisions(whole / "out")


PACKERS = {".zstd": zstandard.compress, ".zst": zstandard.compress, ".lz4": lz4.frame.compress}


@pytest.mark.parametrize("ending", PACKERS)
def test_a_file_that_is_packed_as_a_whole_is_unpacked(tmp_path, whole, ending):
    path = tmp_path / f"drive.mcap{ending}"
    path.write_bytes(PACKERS[ending]((whole / "drive" / "drive.mcap").read_bytes()))
    result = replay(path, tmp_path / "out", QUICK)
    assert not result["recovered"]
    assert decisions(tmp_path / "out") == decisions(whole / "out")


@pytest.mark.parametrize("ending", [".zstd", ".lz4"])
def test_a_packed_file_that_was_cut_off_is_recovered(tmp_path, ending):
    noise = [("/noise", recordings.STRING, t, make(recordings.STRING, {"data": str(hash((t, t)))}))
             for *_, t, _ in drive(4.0)]  # fmt: skip
    write(tmp_path / "drive", sorted([*drive(4.0), *noise], key=lambda m: m[2]), "sqlite3")
    packed = PACKERS[ending]((tmp_path / "drive" / "drive.db3").read_bytes())
    path = tmp_path / f"drive.db3{ending}"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with open_bag(path) as bag:
        assert bag.recovered
        assert any("ends early" in note for note in bag.notes)
        assert bag.topics


# --- several recordings ---------------------------------------------------------------------------------------


def parts(tmp_path, by):
    """A drive in several recordings; `by` gives the part of a message."""
    split = {}
    for message in drive(2.0):
        split.setdefault(by(message), []).append(message)
    return [write(tmp_path / str(name), messages) for name, messages in sorted(split.items())]


def by_time(message):
    return "second" if message[2] >= START + S else "first"


def by_topic(message):
    return "policy" if "policy" in message[0] else "sensors"


@pytest.mark.parametrize("by", [by_time, by_topic])
def test_recordings_that_complement_one_another_are_replayed_as_one(tmp_path, whole, by, capsys):
    paths = parts(tmp_path / "parts", by)
    for order, given in enumerate([paths, paths[::-1], [tmp_path / "parts"]]):
        out = tmp_path / f"out{order}"
        assert cli.main(["replay", *map(str, given), "--no-report", "--out", str(out)]) == 0
        assert decisions(out) == decisions(whole / "out")
    assert " + " in json.loads((tmp_path / "out0" / "summary.json").read_text())["bag"]
    capsys.readouterr()


def test_recordings_of_the_same_topics_at_the_same_time_are_replayed_each_by_itself(tmp_path, whole, capsys):
    write(tmp_path / "lite" / "drive", drive(2.0), "sqlite3")
    given = [str(whole / "drive"), str(tmp_path / "lite" / "drive")]
    assert cli.main(["replay", *given, "--no-report", "--quiet", "--out", str(tmp_path / "out")]) == 0
    assert decisions(tmp_path / "out" / "drive") == decisions(whole / "out")
    assert decisions(tmp_path / "out" / "drive_2") == decisions(whole / "out")
    capsys.readouterr()


def test_a_folder_of_recordings_stands_for_each_of_them(tmp_path, whole):
    for name in ("a", "b"):
        shutil.copytree(whole / "drive", tmp_path / "many" / "deeper" / name)
    shutil.copy(whole / "drive" / "drive.mcap", tmp_path / "many" / "c_0.mcap")
    shutil.copy(whole / "drive" / "drive.mcap", tmp_path / "many" / "c_1.mcap")
    (tmp_path / "many" / "notes").mkdir()
    groups = grouped([tmp_path / "many"])
    assert [[path.name for path in group] for group in groups] == [["c_0.mcap", "c_1.mcap"], ["a"], ["b"]]
    assert [len(group) for group in grouped([tmp_path / "many"], JOIN)] == [4]
    assert len(grouped([tmp_path / "many"], EACH)) == 3


def test_far_apart_recordings_are_not_joined_unless_asked(tmp_path):
    near = write(tmp_path / "a", drive(0.5))
    far = write(tmp_path / "b", [(topic, kind, t + 3600 * S, m) for topic, kind, t, m in drive(0.5)])
    assert len(grouped([near, far])) == 2
    assert len(grouped([near, far], JOIN)) == 1


def test_ros_1_and_ros_2_types_of_one_name_are_kept_apart(tmp_path, whole):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    text = store.types["std_msgs/msg/Header"](seq=1, stamp=store.types["builtin_interfaces/msg/Time"](2, 3),
                                              frame_id="old")  # fmt: skip
    with Writer(tmp_path / "old.bag") as bag:
        connection = bag.add_connection("/old", "std_msgs/msg/Header", typestore=store)
        bag.write(connection, START, store.serialize_ros1(text, "std_msgs/msg/Header"))
    with open_bags([whole / "drive", tmp_path / "old.bag"]) as bag:
        assert bag.first("/old").frame_id == "old"
        assert bag.first("/vehicle/odometry").twist.twist.linear.x == 15.0


# --- window ---------------------------------------------------------------------------------------------------


def test_only_the_window_is_replayed(tmp_path, whole):
    result = replay(whole / "drive", tmp_path / "out", Options(report=False, start="0.5", end=str(START + S)))
    times = [json.loads(line)["t"] for line in decisions(tmp_path / "out").splitlines()]
    assert times[0] == START + S // 2
    assert times[-1] == START + S
    assert result["window"] == {"start": START + S // 2, "end": START + S}


def test_a_window_of_a_recording_with_decisions_keeps_their_ticks(tmp_path, whole):
    lines = [json.loads(line) for line in decisions(whole / "out").splitlines()]
    recorded = [
        ("/safety/decision", recordings.STRING, line["t"] + 3, make(recordings.STRING, {"data": json.dumps(line)}))
        for line in lines
    ]
    path = write(tmp_path / "with", sorted(drive(2.0) + recorded, key=lambda m: m[2]))
    result = replay(path, tmp_path / "out", Options(report=False, start="0.52", end="1.52"))
    times = [json.loads(line)["t"] for line in decisions(tmp_path / "out").splitlines()]
    assert times == [line["t"] for line in lines if START + 0.52 * S <= line["t"] <= START + 1.52 * S]
    assert result["agreement"]["ticks"] == len(times)


@pytest.mark.parametrize(
    ("text", "expected"), [("2.5", 5 * S // 2 + 7), ("-1", 7 - S), ("1000000000", S), ("12ns", 12), (" 3 ns", 3)]
)
def test_a_moment_is_seconds_from_the_start_or_nanoseconds(text, expected):
    assert moment(text, 7, "--at") == expected


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "1.5ns", "1e400"])
def test_what_is_no_moment_is_refused_by_name(text):
    with pytest.raises(BagError, match=r"--at '.*' is no time"):
        moment(text, 7, "--at")


@pytest.mark.parametrize(
    ("start", "end", "why"), [("2", "1", "is after --end"), ("9", None, "after the end"), (None, "-1", "before")]
)
def test_an_empty_window_is_refused(tmp_path, whole, start, end, why):
    with pytest.raises(BagError, match=why):
        replay(whole / "drive", tmp_path / "out", Options(start=start, end=end))


def test_a_window_has_both_its_ends():
    assert [Window(2, 4).holds(t) for t in (1, 2, 4, 5)] == [False, True, True, False]
    assert Window().holds(-5)


# --- mapping --------------------------------------------------------------------------------------------------

RENAMED = {"/vehicle/odometry": "/loc/kinematic", "/radar/front/tracks": "/conti/objects",
           "/policy/trajectory": "/e2e/out"}  # fmt: skip
YAML = """
topics:
  /loc/kinematic: odometry
  /conti/objects: radar_front
  e2e/out: plan
frames:
  map: odom
"""


def renamed(tmp_path, frame="map"):
    messages = drive(2.0)
    for topic, _, _, message in messages:
        if topic == "/policy/trajectory":
            message.header.frame_id = frame
    return write(tmp_path / "renamed", [(RENAMED[topic], kind, t, m) for topic, kind, t, m in messages])


def mapping_file(tmp_path, text=YAML):
    (tmp_path / "mapping.yaml").write_text(text)
    return tmp_path / "mapping.yaml"


def modes(result):
    return {name: n for name, n in result["modes"].items() if n}


def test_a_mapping_gives_topics_and_frames_their_meaning(tmp_path, whole):
    path = renamed(tmp_path)
    result = replay(path, tmp_path / "out", Options(report=False, mapping=mapping_file(tmp_path)))
    assert {f["topic"]: f["used_as"] for f in result["inputs"]["found"]} == {
        "/loc/kinematic": "odometry", "/conti/objects": "sensor radar_front", "/e2e/out": "plan",
    }  # fmt: skip
    assert modes(result) == modes(json.loads((whole / "out" / "summary.json").read_text()))
    without = replay(path, tmp_path / "control", QUICK)  # control: the plan's frame is not understood
    assert without["modes"]["NOMINAL"] == 0


def test_a_mapping_serves_a_vehicle_file_as_well(tmp_path, whole):
    path = renamed(tmp_path)
    with open_bag(whole / "drive") as bag:
        config = derive(bag).config
    with open_bag(path) as bag:
        run = Run(bag, config, load_mapping(mapping_file(tmp_path)))
        assert run.wiring.missing == []
        assert {d.mode.name for d in run.decisions()} == {"NOMINAL"}


def test_an_ignored_topic_is_not_used_and_says_so(tmp_path, whole):
    text = "topics: {/policy/trajectory: ignore}"
    options = Options(report=False, mapping=mapping_file(tmp_path, text))
    result = replay(whole / "drive", tmp_path / "out", options)
    assert result["plan_source"] == "extrapolation"
    assert [i["why"] for i in result["inputs"]["ignored"]] == ["the mapping says so"]


def test_a_mapping_that_names_an_absent_topic_says_so(tmp_path, whole):
    options = Options(report=False, mapping=mapping_file(tmp_path, "topics: {/elsewhere: odometry}"))
    result = replay(whole / "drive", tmp_path / "out", options)
    assert any("/elsewhere" in note for note in result["notes"])


def test_a_heartbeat_that_a_mapping_names_is_expected_from_then_on(tmp_path):
    kind = "std_msgs/msg/Empty"
    beats = [("/e2e/alive", kind, t, make(kind)) for topic, _, t, _ in drive(1.0) if "policy" in topic]
    path = write(tmp_path / "beats", sorted([*drive(1.0), *beats], key=lambda m: m[2]))
    options = Options(report=False, mapping=mapping_file(tmp_path, "topics: {/e2e/alive: heartbeat}"))
    found = replay(path, tmp_path / "out", options)["inputs"]["found"]
    assert {"/e2e/alive": "heartbeat"}.items() <= {f["topic"]: f["used_as"] for f in found}.items()


def test_a_twist_serves_where_there_is_no_odometry(tmp_path):
    kind, messages = "geometry_msgs/msg/TwistStamped", []
    for topic, own, t, message in drive(1.0):
        if topic == "/vehicle/odometry":
            twist = {"header": recordings.header(t, "base_link"), "twist": {"linear": {"x": 15.0}}}
            topic, own, message = "/vehicle/twist", kind, make(kind, twist)
        elif topic == "/policy/trajectory":
            message = recordings.trajectory(t, 0.0, 15.0)
            message.header.frame_id = "base_link"
        messages.append((topic, own, t, message))
    path = write(tmp_path / "twist", messages)
    result = replay(path, tmp_path / "out", QUICK)
    assert {"topic": "/vehicle/twist", "used_as": "twist"}.items() <= result["inputs"]["found"][-1].items()
    assert result["modes"]["NOMINAL"] > 0.8 * result["ticks"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("topics: {/a: odometri}", "no input of this vehicle, did you mean odometry"),
        ("topics: {/a: odometry, /b: odometry}", "named for several"),
        ("topics: [1]", "must be a mapping"),
        ("topics: {/a: 1}", "must be a name"),
        ("topic: {}", "unknown key topic"),
        ("", "the file has none"),
        ("topics: {", "line 1: not valid YAML"),
    ],
)
def test_a_bad_mapping_is_refused_in_one_line(tmp_path, whole, text, why):
    with pytest.raises(ConfigError, match=why) as caught:
        replay(whole / "drive", tmp_path / "out", Options(mapping=mapping_file(tmp_path, text)))
    assert "\n" not in str(caught.value)


def test_mounts_come_from_static_transforms(tmp_path):
    kind = "tf2_msgs/msg/TFMessage"

    def transform(parent, child, x, y, yaw_quaternion):
        z, w = yaw_quaternion
        pose = {"translation": {"x": x, "y": y}, "rotation": {"z": z, "w": w}}
        return {"header": {"frame_id": parent}, "child_frame_id": child, "transform": pose}

    chain = [transform("car", "bumper", 3.0, 0.0, (0.7071068, 0.7071068)),
             transform("bumper", "radar_front", 0.5, 0.25, (0.0, 1.0)),
             transform("elsewhere", "other", 1.0, 1.0, (0.0, 1.0))]  # fmt: skip
    static = ("/tf_static", kind, START, make(kind, {"transforms": chain}))
    with open_bag(write(tmp_path / "tf", [static, *drive(0.5)])) as bag:
        profile = derive(bag, Mapping(frames={"car": "base_link"}))
        ((_, sensor),) = profile.config.sensors
        assert (sensor.x, sensor.y, sensor.yaw) == pytest.approx((2.75, 0.5, 1.5708), abs=1e-3)
        assert any("static transform of radar_front" in note for note in profile.notes)
        ((_, guessed),) = derive(bag).config.sensors  # control: nothing ties the frame to base_link
        assert guessed.x == 3.7


@pytest.mark.parametrize(("child", "body"), [("car", "car"), ("", "base_link"), ("base_footprint", "base_link")])
def test_a_derived_profile_takes_the_body_that_the_odometry_tells_of(tmp_path, child, body):
    messages = drive(0.5)
    for _, kind, _, message in messages:
        if kind == ODOMETRY:
            message.child_frame_id = child
    path = write(tmp_path / "bag", messages)
    with open_bag(path) as bag:
        profile = derive(bag)
        assert profile.config.inputs.body_frame == body
        assert any("taken for the vehicle body" in note for note in profile.notes) == (body == "car")
        mapped = derive(bag, Mapping(frames={"car": "base_link"})).config
        assert mapped.inputs.body_frame == "base_link"
        run = Run(bag, mapped, Mapping(frames={"car": "base_link"}))
        assert not any(f.code is Code.ODOMETRY_INVALID for d in run.decisions() for f in d.health.findings)
        control = [f.code for d in Run(bag, mapped, Mapping()).decisions() for f in d.health.findings]
        assert (Code.ODOMETRY_INVALID in control) == (body == "car")


# --- agreement ------------------------------------------------------------------------------------------------


def with_decisions(tmp_path, whole, change=None):
    recorded = []
    for line in decisions(whole / "out").decode().splitlines():
        record = json.loads(line)
        text = change(record) if change else line
        recorded.append(("/safety/decision", recordings.STRING, record["t"] + 3,
                         make(recordings.STRING, {"data": text})))  # fmt: skip
    return write(tmp_path / "with", sorted(drive(2.0) + recorded, key=lambda m: m[2]))


def test_a_replay_that_repeats_the_recorded_decisions_agrees(tmp_path, whole):
    got = replay(with_decisions(tmp_path, whole), tmp_path / "out", QUICK)["agreement"]
    assert got["ticks"] == got["same_mode"] == got["same_margin"] == got["identical"] > 30
    assert got["same_mode_share"] == 1.0
    assert got["first_difference"] is None
    assert got["same_config"]


def test_a_replay_with_other_parameters_tells_where_it_differs(tmp_path, whole):
    def worse(record):
        late = record["t"] >= START + S
        margin = None if record["margin_m"] is None else record["margin_m"] - (1.5 if late else 0.0)
        return json.dumps({**record, "mode": "FIRM_STOP" if late else record["mode"], "margin_m": margin})

    got = replay(with_decisions(tmp_path, whole, worse), tmp_path / "out", QUICK)["agreement"]
    assert got["same_mode"] < got["ticks"]
    assert got["first_difference"]["recorded"] == "FIRM_STOP"
    assert got["first_difference"]["t"] == START + S
    assert got["changed_modes"] == {"FIRM_STOP -> NOMINAL": got["ticks"] - got["same_mode"]}
    assert got["margin_difference_max_m"] == pytest.approx(1.5)
    assert got["identical"] < got["ticks"]


def test_without_recorded_decisions_there_is_nothing_to_agree_with(tmp_path, whole):
    assert json.loads((whole / "out" / "summary.json").read_text())["agreement"] is None


def test_replay_suggests_a_mapping_for_what_is_missing(tmp_path, whole, capsys):
    from safety_supervisor.vehicle_file import to_text

    with open_bag(whole / "drive") as bag:
        (tmp_path / "car.yaml").write_text(to_text(derive(bag).config))
    messages = [m for m in drive(1.0) if "policy" not in m[0]]
    plan = [("/e2e/out", *m[1:]) for m in drive(1.0) if "policy" in m[0]]
    path = write(tmp_path / "odd", sorted(messages + plan, key=lambda m: m[2]))
    arguments = ["replay", str(path), "--config", str(tmp_path / "car.yaml"), "--no-report", "--out"]
    assert cli.main([*arguments, str(tmp_path / "out")]) == 0
    assert "/e2e/out: plan" in capsys.readouterr().out


def test_standard_output_of_a_packed_copy_is_the_same(tmp_path, whole):
    """A copy in memory and one on disk unpack alike: nothing depends on the size of the blocks read."""
    from safety_supervisor.replay.salvage import unpacked

    plain = io.BytesIO()
    assert unpacked(io.BytesIO(zstandard.compress(b"x" * 3_000_000)), plain, ".zst") == ""
    assert plain.getvalue() == b"x" * 3_000_000
