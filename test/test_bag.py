"""Bags are read in one order whatever the storage, and damaged ones as far as they go."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import recordings
from recordings import ODOMETRY, REAL, START, drive, odometry, write
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from safety_supervisor.messages import Unreadable
from safety_supervisor.replay.bag import BagError, BagWriter, known_types, make, open_bag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bags")
    for storage in ("mcap", "sqlite3"):
        write(path / storage, drive(1.0), storage)
    return path


def contents(path, topics=None):
    with open_bag(path) as bag:
        return [(topic, kind, t, repr(msg)) for topic, kind, t, msg in bag.messages(topics)]


def test_both_storages_give_the_same_messages_in_the_same_order(folder):
    mcap = contents(folder / "mcap")
    assert mcap == contents(folder / "sqlite3")
    assert [m[2] for m in mcap] == sorted(m[2] for m in mcap)
    assert [m[0] for m in mcap[:3]] == ["/policy/trajectory", "/radar/front/tracks", "/vehicle/odometry"]


@pytest.mark.parametrize("name", ["mcap/mcap.mcap", "sqlite3/sqlite3.db3"])
def test_a_lone_file_is_a_recording_too(folder, name):
    with open_bag(folder / name) as bag:
        assert not bag.recovered
    assert contents(folder / name) == contents(folder / "mcap")


def test_topics_types_counts_and_times_are_known(folder):
    with open_bag(folder / "mcap") as bag:
        assert {t.name: (t.msgtype, t.count) for t in bag.topics} == {
            "/policy/trajectory": (recordings.TRAJECTORY, 10),
            "/radar/front/tracks": (recordings.TRACKS, 10),
            "/vehicle/odometry": (ODOMETRY, 50),
        }
        assert bag.start == START
        assert bag.duration == pytest.approx(0.98)
        assert bag.topic("vehicle/odometry").name == "/vehicle/odometry"
        assert bag.topic("nothing") is None
        assert bag.first("/vehicle/odometry").twist.twist.linear.x == 15.0


def test_only_the_topics_asked_for_are_read(folder):
    assert {m[0] for m in contents(folder / "mcap", ["/vehicle/odometry"])} == {"/vehicle/odometry"}


def test_messages_out_of_order_in_the_file_come_in_order_of_time(tmp_path):
    messages = drive(0.5)
    straight = contents(write(tmp_path / "straight", messages))
    # sqlite3 sorts by itself, MCAP within its chunks; two files one after the other are sorted by nobody.
    half = len(messages) // 2
    for name, part in (("drive_1", messages[:half]), ("drive_0", messages[half:])):
        write(tmp_path / name, part)
        target = tmp_path / "split"
        target.mkdir(exist_ok=True)
        shutil.copy(tmp_path / name / f"{name}.mcap", target)
    assert contents(tmp_path / "split") == straight


def test_types_that_are_not_embedded_come_from_the_known_definitions(tmp_path):
    store = known_types()
    path = tmp_path / "bare"
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as bag:
        for kind in (ODOMETRY, recordings.TRACKS, "autoware_planning_msgs/msg/Trajectory"):
            connection = bag.add_connection("/" + kind.split("/")[-1], kind, msgdef="", rihs01="x")
            bag.write(connection, START, store.serialize_cdr(make(kind), kind))
    with open_bag(path) as bag:
        assert all(t.readable for t in bag.topics)
        assert len(list(bag.messages())) == 3


def test_a_topic_of_unknown_type_is_named_and_left_out(tmp_path):
    path = tmp_path / "foreign"
    with Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as bag:
        connection = bag.add_connection("/odd", "odd_msgs/msg/Odd", msgdef="", rihs01="x")
        bag.write(connection, START, b"\x00\x01\x00\x00")
    with open_bag(path) as bag:
        assert [(t.name, t.readable) for t in bag.topics] == [("/odd", False)]
        assert list(bag.messages()) == []


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_recordings_are_read(tmp_path, mode):
    store, path = known_types(), tmp_path / "small"
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer as bag:
        connection = bag.add_connection("/vehicle/odometry", ODOMETRY, typestore=store)
        bag.write(connection, START, store.serialize_cdr(odometry(START, 1.0, 2.0), ODOMETRY))
    with open_bag(path) as bag:
        assert bag.first("/vehicle/odometry").pose.pose.position.x == 1.0


def test_a_message_with_broken_bytes_is_still_counted(tmp_path):
    store, path = known_types(), tmp_path / "broken"
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as bag:
        connection = bag.add_connection("/vehicle/odometry", ODOMETRY, typestore=store)
        bag.write(connection, START, store.serialize_cdr(odometry(START, 1.0, 2.0), ODOMETRY)[:40])
    with open_bag(path) as bag:
        assert [isinstance(m, Unreadable) for *_, m in bag.messages()] == [True]
        assert bag.first("/vehicle/odometry") is None


# --- damage ---------------------------------------------------------------------------------------------------


def cut(source, target, share):
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """A file of several chunks."""
    path = tmp_path_factory.mktemp("long") / "long"
    big = make("std_msgs/msg/String", {"data": "x" * 100_000})
    extra = [("/noise", "std_msgs/msg/String", START + i * 10_000_000, big) for i in range(60)]
    write(path, sorted(drive(1.0) + extra, key=lambda m: m[2]))
    return path / "long.mcap"


@pytest.mark.parametrize("share", [0.5, 0.9, 0.9999])
def test_a_truncated_mcap_is_read_up_to_the_cut(tmp_path, long_file, share):
    whole = contents(long_file)
    with open_bag(cut(long_file, tmp_path / "cut.mcap", share)) as bag:
        assert bag.recovered
        assert bag.notes
        got = [(topic, kind, t, repr(msg)) for topic, kind, t, msg in bag.messages()]
    assert 0 < len(got) <= len(whole)
    assert set(got) <= set(whole)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_chunk_that_was_cut_is_unpacked_as_far_as_it_goes(tmp_path, folder, share):
    whole = contents(folder / "mcap")  # one chunk
    got = contents(cut(folder / "mcap" / "mcap.mcap", tmp_path / "cut.mcap", share))
    assert 0.5 * share * len(whole) < len(got) <= len(whole)
    assert set(got) <= set(whole)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_sqlite3_file_is_read_up_to_the_cut(tmp_path, share):
    big = make("std_msgs/msg/String", {"data": "x" * 20_000})
    extra = [("/noise", "std_msgs/msg/String", START + i * 10_000_000, big) for i in range(60)]
    write(tmp_path / "long", sorted(drive(1.0) + extra, key=lambda m: m[2]), "sqlite3")
    whole = contents(tmp_path / "long")
    with open_bag(cut(tmp_path / "long" / "long.db3", tmp_path / "cut.db3", share)) as bag:
        assert bag.recovered
        got = [(topic, kind, t, repr(msg)) for topic, kind, t, msg in bag.messages()]
    assert 0 < len(got) < len(whole)
    assert set(got) <= set(whole)


def test_a_folder_with_a_truncated_file_or_without_metadata_is_recovered(tmp_path, folder, long_file):
    shutil.copytree(long_file.parent, tmp_path / "long")
    cut(long_file, tmp_path / "long" / "long.mcap", 0.7)
    with open_bag(tmp_path / "long") as bag:
        assert bag.recovered
        assert sum(t.count for t in bag.topics) > 10
        assert len(set(bag.notes)) == len(bag.notes)
    shutil.copytree(folder / "sqlite3", tmp_path / "crashed")
    (tmp_path / "crashed" / "metadata.yaml").unlink()
    with open_bag(tmp_path / "crashed") as bag:
        assert bag.recovered
        assert "metadata.yaml" in bag.notes[0]
    assert contents(tmp_path / "crashed") == contents(folder / "mcap")


def garbage(tmp_path, kind):
    path = tmp_path / "bad.mcap"
    if kind == "missing":
        return tmp_path / "nowhere"
    if kind == "empty file":
        path.touch()
    elif kind == "garbage":
        path.write_bytes(b"no recording at all " * 500)
    elif kind == "garbage db3":
        path = tmp_path / "bad.db3"
        path.write_bytes(b"no recording at all " * 500)
    elif kind == "garbage bag":
        path = tmp_path / "bad.bag"
        path.write_bytes(b"no recording at all " * 500)
    elif kind == "other name":
        path = tmp_path / "notes.txt"
        path.write_text("x")
    elif kind == "empty folder":
        path = tmp_path / "folder"
        path.mkdir()
    elif kind == "metadata only":
        path = tmp_path / "folder"
        path.mkdir()
        (path / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: 5}")
    elif kind == "no messages":
        path = tmp_path / "silent"
        write(path, [])
    return path


@pytest.mark.parametrize(
    "kind",
    ["missing", "empty file", "garbage", "garbage db3", "garbage bag", "other name", "empty folder", "metadata only",
     "no messages"],
)  # fmt: skip
def test_what_is_no_recording_is_refused_in_one_line(tmp_path, kind):
    path = garbage(tmp_path, kind)
    with pytest.raises(BagError) as caught:
        open_bag(path)
    text = str(caught.value)
    assert str(path) in text
    assert "expected" in text
    assert "\n" not in text


@pytest.mark.parametrize("names", [("a.mcap", "b.mcap"), ("drive.mcap", "drive.db3"), ("drive_0.mcap", "other_1.mcap")])
def test_a_folder_of_several_recordings_is_not_mixed_into_one(tmp_path, folder, names):
    for name in names:
        storage = "sqlite3" if name.endswith(".db3") else "mcap"
        shutil.copy(next((folder / storage).glob("*." + name.split(".")[1])), tmp_path / name)
    with pytest.raises(BagError, match="several recordings"):
        open_bag(tmp_path)


def test_messages_lost_in_the_middle_of_a_file_are_noticed(tmp_path, folder):
    data = bytearray((folder / "mcap" / "mcap.mcap").read_bytes())
    at = data.index(b"odom", len(data) // 3)
    data[at - 60 : at] = bytes(60)  # the head of a message; no checksum guards it
    (tmp_path / "hole.mcap").write_bytes(data)
    with open_bag(tmp_path / "hole.mcap") as bag:
        assert bag.recovered
        assert "damaged" in bag.notes[-1]


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mcap")
    for path in (tmp_path / "pipe.mcap", tmp_path):
        with pytest.raises(BagError, match="expected a rosbag2 folder"):
            open_bag(path)


@pytest.mark.parametrize("size", range(13))
def test_a_file_cut_off_in_its_first_bytes_is_refused_with_its_size(tmp_path, folder, size):
    path = tmp_path / "start.mcap"
    path.write_bytes((folder / "mcap" / "mcap.mcap").read_bytes()[:size])
    with pytest.raises(BagError, match=f"ends after {size} bytes" if size else "the file is empty"):
        open_bag(path)


# --- writing --------------------------------------------------------------------------------------------------


def test_messages_are_made_from_nested_values():
    msg = make("sensor_msgs/msg/PointCloud2", {"data": b"ab", "fields": [{"name": "x", "datatype": 7}]})
    assert msg.fields[0].name == "x"
    assert msg.data.tobytes() == b"ab"
    assert make(ODOMETRY).pose.pose.orientation.w == 1.0
    assert make(ODOMETRY).pose.covariance.shape == (36,)
    np.testing.assert_array_equal(make(recordings.TRACKS, {"tracks": [{}]}).tracks[0].uuid.uuid, np.zeros(16))
    with pytest.raises(ValueError, match="no field spede"):
        make("std_msgs/msg/Bool", {"spede": 1})


def test_a_recording_appears_only_when_it_is_complete(tmp_path):
    def interrupted():
        with BagWriter(tmp_path / "new") as bag:
            bag.write("/a", ODOMETRY, START, make(ODOMETRY))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_replaced_only_when_asked(tmp_path):
    path = write(tmp_path / "new", drive(0.1))
    with pytest.raises(BagError, match="exists already"):
        BagWriter(path)
    with BagWriter(path, overwrite=True) as bag:
        bag.write("/a", ODOMETRY, START, make(ODOMETRY))
    with open_bag(path) as bag:
        assert [t.name for t in bag.topics] == ["/a"]
    (tmp_path / "letters").mkdir()
    with pytest.raises(BagError, match="exists already"):
        BagWriter(tmp_path / "letters", overwrite=True)


# --- real recordings ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (REAL / "sick_rms1xxx").exists(), reason="no real recordings here")
def test_a_ros_1_bag_of_a_real_radar_is_read():
    with open_bag(REAL / "sick_rms1xxx" / "rms_1xxx_lms_1xx_movement_off.bag") as bag:
        assert bag.topic("/cloud_radar_rawtarget").count == 139
        assert {f.name for f in bag.first("/cloud_radar_rawtarget").fields} >= {"x", "y", "vrad"}


@pytest.mark.skipif(not (REAL / "nebula_continental").exists(), reason="no real recordings here")
def test_a_real_bag_without_embedded_types_says_what_it_cannot_read():
    with open_bag(REAL / "nebula_continental" / "ars548" / "1708578204") as bag:
        assert [(t.count, t.readable) for t in bag.topics] == [(2, False)]
