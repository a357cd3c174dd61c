"""The node's side of the flight recorder: it never waits, and says when something was lost."""

from __future__ import annotations

import signal
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

from builders import CONFIG, Drive

from safety_supervisor.core.world import Mode
from safety_supervisor.replay.bag import open_bag
from safety_supervisor.ros import recorder as module
from safety_supervisor.ros.outputs import decision_line
from safety_supervisor.ros.parameters import Settings
from safety_supervisor.ros.recorder import Received, Recorder
from safety_supervisor.ros.sources import sources
from safety_supervisor.snapshot import Snapshot

PATIENCE = 30.0


def until(true):
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


@pytest.fixture
def recorder(tmp_path):
    made = Recorder(tmp_path / "flight", 40_000_000)
    yield made
    made._process.kill()
    made.close()


class Flying:
    """Hands ticks of a drive to a recorder, each with one long message."""

    def __init__(self, recorder, size=1000):
        self.recorder, self.drive, self.raw = recorder, Drive(CONFIG, speed=10.0), bytes(size)
        recorder.begin(CONFIG, sources(CONFIG, Settings()), False, "")
        self.snapshot()

    def snapshot(self):
        carried = module.snapshot.messages.Carried()
        state = self.drive.state or module.snapshot.State()
        self.recorder.snapshot(Snapshot(None, state, carried, CONFIG), self.drive.t)

    def tick(self, **extra):
        decision = self.drive.tick(**extra)
        message = Received(CONFIG.inputs.odometry, self.raw, decision.t)
        self.recorder.tick([message], decision, decision_line(decision))
        return decision


def incidents(recorder):
    return sorted(recorder.folder.glob("incident_*.mcap"))


def test_an_intervention_makes_a_recording_and_nothing_else_does(recorder):
    flying = Flying(recorder)
    for _ in range(5):
        assert flying.tick().mode is Mode.NOMINAL
    flying.tick(requested=Mode.COMFORT_STOP)
    while flying.tick().mode is Mode.NOMINAL:
        pass
    recorder.end(flying.drive.t)
    recorder.close()
    assert len(incidents(recorder)) == 1
    assert (recorder.dropped, recorder.problem) == (0, "")


def test_control_a_quiet_drive_makes_none(recorder):
    flying = Flying(recorder)
    for _ in range(5):
        flying.tick()
    recorder.end(flying.drive.t)
    recorder.close()
    assert incidents(recorder) == []
    assert list(recorder.folder.glob("drive_*.jsonl"))


def test_a_recorder_that_does_not_read_costs_ticks_and_no_time(recorder, monkeypatch):
    monkeypatch.setattr(module, "PENDING_MAX", 3_000_000)
    flying = Flying(recorder, size=500_000)
    recorder._process.send_signal(signal.SIGSTOP)
    for _ in range(12):  # this ends although nobody reads
        flying.tick()
    assert recorder.dropped > 0
    recorder._process.send_signal(signal.SIGCONT)
    assert until(lambda: recorder._pending == 0)
    assert recorder.wants_snapshot(flying.drive.t)
    flying.snapshot()
    flying.tick()
    recorder.trigger(flying.drive.t, "test")
    assert until(lambda: incidents(recorder))


def test_a_recorder_that_was_killed_is_said_and_started_again(recorder):
    flying = Flying(recorder)
    assert until(lambda: list(recorder.folder.glob("drive_*.jsonl")))
    recorder._process.kill()
    assert until(lambda: flying.tick() and recorder.problem)
    assert "has gone" in recorder.problem
    assert "started again" in recorder.problem
    assert recorder.wants_snapshot(flying.drive.t)
    flying.snapshot()
    decided = [flying.tick() for _ in range(5)]
    recorder.trigger(flying.drive.t, "test")
    recorder.end(flying.drive.t)
    recorder.close()
    (file,) = incidents(recorder)
    with open_bag(file) as bag:
        assert bag.topic("/safety_supervisor/recorder/snapshot")
        assert sum(1 for _ in bag.messages(["/safety_supervisor/decision"])) == len(decided)
    assert len(list(recorder.folder.glob("drive_*.jsonl"))) == 2


def test_what_keeps_it_from_writing_is_said_until_it_is_over(recorder, monkeypatch):
    recorder.folder.write_text("")  # a file where the folder should be
    flying = Flying(recorder)
    assert until(lambda: "cannot write" in recorder.problem)
    assert "flight" in recorder.problem
    recorder.folder.unlink()
    assert until(lambda: (flying.tick(), time.sleep(0.05)) and not recorder.problem)
    assert list(recorder.folder.glob("drive_*.jsonl"))
    recorder.end(flying.drive.t)


def test_one_that_dies_again_and_again_is_given_up(recorder, monkeypatch):
    monkeypatch.setattr(module, "RESTARTS_MAX", 2)
    flying = Flying(recorder)

    def gone():
        recorder._process.kill()
        return flying.tick() and recorder._dead

    assert until(gone)
    assert "has gone" in recorder.problem
    assert "started again" not in recorder.problem
    flying.tick()
    assert recorder.dropped > 0
    assert until(lambda: not recorder._thread.is_alive())


def test_files_go_below_the_ros_log_folder_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    assert module.default_folder() == tmp_path / "log" / "safety_supervisor"
    monkeypatch.delenv("ROS_LOG_DIR")
    monkeypatch.setenv("ROS_HOME", str(tmp_path / "home"))
    assert module.default_folder() == tmp_path / "home" / "safety_supervisor"
