"""The flight recorder's process: what it keeps, what it writes, and that a replay decides the same, to the bit."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flights import CONFIG, Flight, begun
from mcap.records import Chunk
from mcap.stream_reader import StreamReader

from safety_supervisor.replay.command import replay
from safety_supervisor.replay.inputs import Options
from safety_supervisor.ros import blackbox, frames
from safety_supervisor.ros.blackbox import AFTER, BEFORE, LONGEST, LOOK, RETRY, Blackbox, Ring
from safety_supervisor.shadow.evidence import collect

TRIGGER = (frames.TRIGGER, 0, b"COMFORT_STOP: why")
END = (frames.END, 0, b"")
ROOT = Path(__file__).resolve().parents[1]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def recordings(folder):
    return sorted(folder.glob("incident_*.mcap"))


def replayed(path, out, **options):
    result = replay(path, out, Options(report=False, **options))
    return result, (out / "decisions.jsonl").read_text().splitlines()


# --- the ring ---------------------------------------------------------------------------------------------------


def snapshots(ring):
    return [payload for kind, _, payload in ring if kind == frames.SNAPSHOT]


def test_the_ring_keeps_the_last_seconds_and_begins_with_a_snapshot():
    clock = Clock()
    ring = Ring(clock)
    for i in range(100):
        clock.now = float(i)
        if i % 2 == 0:
            ring.add((frames.SNAPSHOT, i, str(i).encode()))
        ring.add((frames.DECISION, i, b"d"))
    kept = list(ring)
    assert kept[0][:2] == (frames.SNAPSHOT, 68)
    assert len(snapshots(ring)) == 1, "later ones are not needed"
    assert [t for kind, t, _ in kept if kind == frames.DECISION] == list(range(68, 100))
    assert kept[0][1] <= 99 - BEFORE


def test_nothing_is_kept_that_no_snapshot_leads_to():
    ring = Ring(Clock())
    ring.add((frames.DECISION, 1, b"d"))
    assert list(ring) == []
    ring.add((frames.SNAPSHOT, 2, b"s"))
    ring.add((frames.DECISION, 3, b"d"))
    ring.add((frames.GAP, 4, b""))
    ring.add((frames.DECISION, 5, b"d"))
    assert list(ring) == []


def test_the_ring_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(blackbox, "RING_BYTES_MAX", 10_000)
    ring = Ring(Clock())
    for i in range(100):
        ring.add((frames.SNAPSHOT, i, b"s"))
        ring.add((frames.MESSAGE, i, bytes(1000)))
    assert 5_000 < sum(len(payload) for _, _, payload in ring) <= 11_000


def test_the_ring_is_bounded_when_no_snapshot_comes_any_more(monkeypatch):
    """After an internal error there is no state to take one of, and messages go on for hours."""
    monkeypatch.setattr(blackbox, "RING_BYTES_MAX", 10_000)
    ring = Ring(Clock())
    ring.add((frames.SNAPSHOT, 0, b"s"))
    for i in range(100):
        ring.add((frames.MESSAGE, i, bytes(1000)))
        assert sum(len(payload) for _, _, payload in ring) <= 10_000
    assert list(ring) == [], "what is left would begin with no state"
    ring.add((frames.SNAPSHOT, 101, b"s"))
    ring.add((frames.MESSAGE, 102, b"m"))
    assert len(list(ring)) == 2


# --- a recording ------------------------------------------------------------------------------------------------


def flown(folder, seconds=3.0, trigger_at=30, orderly=True, **drive):
    """Feed a drive with one trigger; return the lines that were decided."""
    flight, clock = Flight(seconds, **drive), Clock()
    box = Blackbox(clock)

    def stream():
        yield begun(folder)
        for n, tick in enumerate(flight.ticks()):
            clock.now += 0.05
            yield from tick
            if n == trigger_at:
                yield TRIGGER
        if orderly:
            yield END

    box.run(stream())
    return flight.lines


def test_a_replay_decides_what_the_vehicle_decided_to_the_bit(tmp_path):
    lines = flown(tmp_path / "box", plan_until=1.0)
    (path,) = recordings(tmp_path / "box")
    result, again = replayed(path, tmp_path / "out")
    assert again == lines
    assert {"COMFORT_STOP", "NOMINAL"} <= {mode for mode, n in result["modes"].items() if n}
    assert result["agreement"]["identical"] == len(lines)
    assert result["config"]["digest"] == CONFIG.digest
    assert result["certificate"] == CONFIG.certificate
    assert not result["recovered"]


def test_it_begins_in_the_middle_of_a_drive(tmp_path, monkeypatch):
    monkeypatch.setattr(blackbox, "BEFORE", 1.0)
    lines = flown(tmp_path / "box", seconds=5.0, trigger_at=80)
    (path,) = recordings(tmp_path / "box")
    _, again = replayed(path, tmp_path / "out")
    assert 0 < len(again) < len(lines)
    assert again == lines[-len(again) :]
    assert any(json.loads(line)["tracks"] for line in again[:1]), "the tracks are there from the first tick on"


def test_control_without_its_state_it_decides_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(blackbox, "BEFORE", 1.0)
    flown(tmp_path / "box", seconds=5.0, trigger_at=80)
    (path,) = recordings(tmp_path / "box")
    monkeypatch.setattr("safety_supervisor.replay.replay.flight", lambda bag: None)
    result, _ = replayed(path, tmp_path / "out")
    assert result["agreement"]["identical"] < result["ticks"]


def test_a_clock_that_is_set_back_in_the_middle_changes_nothing(tmp_path):
    lines = flown(tmp_path / "box", back_at=20)
    (path,) = recordings(tmp_path / "box")
    _, again = replayed(path, tmp_path / "out")
    assert again == lines
    assert any("CLOCK_JUMP" in line for line in again)


def test_what_if_starts_from_the_same_state(tmp_path):
    flown(tmp_path / "box")
    (path,) = recordings(tmp_path / "box")
    result, again = replayed(path, tmp_path / "out", values=["health.plan_timeout=0.2"])
    assert result["ticks"] == len(again)
    assert result["certificate"] is None, "another parameter set is not proved by that certificate"


def test_it_ends_some_seconds_after_the_last_trigger(tmp_path):
    lines = flown(tmp_path / "box", seconds=12.0, trigger_at=40)
    (path,) = recordings(tmp_path / "box")
    _, again = replayed(path, tmp_path / "out")
    assert again == lines[: len(again)]
    assert len(again) == pytest.approx(41 + AFTER / 0.05, abs=2)


def test_triggers_that_go_on_do_not_make_an_endless_file(tmp_path):
    clock = Clock()
    box = Blackbox(clock)
    box.take(begun(tmp_path))
    box.take((frames.SNAPSHOT, 0, b"{}"))
    for i in range(round(2.5 * LONGEST)):
        clock.now += 1.0
        box.take((frames.DECISION, i, b"{}"))
        box.take(TRIGGER)
    box.take(END)
    assert len(recordings(tmp_path)) == 3


def test_the_death_of_the_node_is_an_incident_and_a_good_bye_is_none(tmp_path):
    flown(tmp_path / "dead", seconds=1.0, trigger_at=None, orderly=False)
    flown(tmp_path / "done", seconds=1.0, trigger_at=None, orderly=True)
    (died,) = recordings(tmp_path / "dead")
    assert died.name.endswith("_node_died.mcap")
    assert recordings(tmp_path / "done") == []


def test_a_death_during_an_incident_is_an_incident_of_its_own(tmp_path):
    lines = flown(tmp_path, seconds=2.0, trigger_at=20, orderly=False)
    other, died = sorted(recordings(tmp_path), key=lambda path: path.name.endswith("_node_died.mcap"))
    assert died.name.endswith("_node_died.mcap")
    assert not other.name.endswith("_node_died.mcap")
    for number, path in enumerate((other, died)):
        result, again = replayed(path, tmp_path / f"out_{number}")
        assert result["agreement"]["identical"] == result["ticks"] > 0
        assert again[-1] == lines[-1]
    (log,) = tmp_path.glob("drive_*.jsonl")
    (drive,) = collect([log])
    assert "the node died" in drive.faults


# --- limits -----------------------------------------------------------------------------------------------------


def test_the_oldest_go_first_and_only_our_own(tmp_path):
    folder = tmp_path / "box"
    folder.mkdir()
    foreign = folder / "holiday.mcap"
    foreign.write_bytes(bytes(1_000_000))
    for i in range(12):
        old = folder / f"incident_20200101T0000{i:02d}_001.mcap"
        old.write_bytes(bytes(100_000))
        os.utime(old, (i, i))
    box = Blackbox(Clock())
    box.take(begun(folder, limit=1_000_000))
    box.take((frames.SNAPSHOT, 0, b"{}"))
    box.take(TRIGGER)
    box.take(END)
    left = recordings(folder)
    assert sum(p.stat().st_size for p in folder.iterdir() if p != foreign) <= 1_000_000
    assert foreign.exists()
    assert "incident_20200101T000011_001.mcap" in {p.name for p in left}
    assert "incident_20200101T000000_001.mcap" not in {p.name for p in left}


def test_a_recording_that_reaches_its_limit_ends_and_the_recorder_goes_on(tmp_path, capsys):
    box = Blackbox(Clock())
    box.take(begun(tmp_path, limit=400_000))
    box.take((frames.SNAPSHOT, 0, b"{}"))
    box.take(TRIGGER)
    for i in range(40):
        box.take((frames.MESSAGE, i, frames.TOPIC.pack(0) + os.urandom(20_000)))
    assert "has reached its limit" in capsys.readouterr().err
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 400_000
    box.take(TRIGGER)
    box.take(END)
    assert len(recordings(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_is_said_once_and_tried_again(tmp_path, capsys):
    blocked, clock, told = tmp_path / "file", Clock(), []
    blocked.write_text("")
    box = Blackbox(clock, told.append)
    box.take(begun(blocked))
    for i in range(100):
        clock.now += 0.01
        box.take((frames.SNAPSHOT, i, b"{}"))
    box.take(TRIGGER)
    assert len(told) == 1
    assert "cannot write" in told[0]
    assert capsys.readouterr().err.count("\n") == 1
    blocked.unlink()
    clock.now += RETRY
    box.take((frames.SNAPSHOT, 101, b"{}"))
    assert told[1:] == [""]
    box.take(TRIGGER)
    box.take(END)
    assert len(recordings(blocked)) == 1
    assert list(blocked.glob("drive_*.jsonl"))


def test_a_disk_that_is_full_is_said_and_leaves_no_empty_files(tmp_path, monkeypatch):
    """What is written is held back as on a full disk: a file must not grow beyond a few bytes."""
    told, clock = [], Clock()
    box = Blackbox(clock, told.append)
    box.take(begun(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        flight = Flight(1.0)
        for tick in flight.ticks():
            for one in tick:
                box.take(one)
        box.take(TRIGGER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(told) == 1
    assert "File too large" in told[0]
    assert recordings(tmp_path) == []
    clock.now += RETRY
    box.take((frames.SNAPSHOT, 1, b"{}"))
    box.take(TRIGGER)
    box.take(END)
    assert told[1:] == [""]
    assert len(recordings(tmp_path)) == 1


def test_files_that_are_removed_while_they_are_written_are_said_and_begun_anew(tmp_path):
    told, clock, folder = [], Clock(), tmp_path / "box"
    box = Blackbox(clock, told.append)
    box.take(begun(folder))
    box.take((frames.SNAPSHOT, 0, b"{}"))
    shutil.rmtree(folder)
    clock.now += LOOK
    box.take((frames.SNAPSHOT, 1, b"{}"))
    assert "has been removed" in told[-1]
    clock.now += RETRY
    box.take((frames.SNAPSHOT, 2, b"{}"))
    box.take(TRIGGER)
    box.take(END)
    assert told[-1] == ""
    assert [p.suffix for p in sorted(folder.iterdir())] == [".jsonl", ".mcap"]


@pytest.mark.parametrize("cut", [3, 12, 200])
def test_a_frame_that_is_cut_off_ends_the_stream(cut):
    import io

    whole = frames.frame(frames.DECISION, 1, b"d") + frames.frame(frames.DECISION, 2, bytes(500))
    assert [f[1] for f in frames.read(io.BytesIO(whole[: len(whole) - 500 + cut]))] == [1]


# --- a process that dies ----------------------------------------------------------------------------------------


def holds_a_chunk(path):
    """Whether more than the header has been written."""
    with path.open("rb") as file, contextlib.suppress(Exception):  # it ends anywhere
        return any(isinstance(record, Chunk) for record in StreamReader(file, emit_chunks=True).records)
    return False


@pytest.mark.parametrize("ticks_after", [0, 7, 25])
def test_after_kill_9_in_the_middle_of_writing_what_is_there_replays_to_the_bit(tmp_path, ticks_after):
    command = [sys.executable, "-m", "safety_supervisor.ros.blackbox"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"):
        env.pop(name, None)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=env, stderr=subprocess.DEVNULL)
    flight = Flight(4.0, plan_until=1.0)
    send = lambda f: process.stdin.write(frames.frame(*f))  # noqa: E731
    send(begun(tmp_path / "box"))
    for n, tick in enumerate(flight.ticks()):
        for one in tick:
            send(one)
        if n == 30:
            send(TRIGGER)
        if n == 30 + ticks_after:
            break
    process.stdin.flush()
    end = time.monotonic() + 30
    while not (found := recordings(tmp_path / "box")) or not holds_a_chunk(found[0]):
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.1 * (ticks_after > 0))
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, again = replayed(found[0], tmp_path / "out")
    assert again
    assert again == flight.lines[: len(again)]


# --- the log of the drive ---------------------------------------------------------------------------------------


def test_the_log_of_the_drive_has_changes_and_seconds(tmp_path):
    lines = flown(tmp_path, seconds=3.0, plan_until=1.0)
    (path,) = tmp_path.glob("drive_*.jsonl")
    head, *rest = [json.loads(line) for line in path.read_text().splitlines()]
    assert (head["schema"], head["parameters"], head["armed"]) == (1, CONFIG.digest, False)
    spans = [r for r in rest if "ticks" in r]
    assert sum(r["ticks"] for r in spans) == len(lines)
    assert sum(r["distance_m"] for r in spans) == pytest.approx(15.0 * 2.9, abs=2.0)
    assert all(r["t"] - r["since"] <= 1_100_000_000 for r in spans)
    stops = [r for r in spans if r["mode"] == "COMFORT_STOP"]
    assert stops
    assert stops[-1]["code"] == "PLAN_STALE"
    assert any(r["recording"] == recordings(tmp_path)[0].name for r in spans)
    assert [r for r in rest if r.get("incident") == "COMFORT_STOP: why"]
