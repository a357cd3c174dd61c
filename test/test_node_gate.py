"""The command gate as a process: it forwards bytes, and on silence executes the fallback that came before."""

from __future__ import annotations

import contextlib
import signal
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

import node_harness as harness
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from trajectory_msgs.msg import MultiDOFJointTrajectory

from safety_supervisor.core.world import Plan
from safety_supervisor.ros.command_gate import remaining, usable
from safety_supervisor.ros.outputs import Frames, empty_trajectory, trajectory

SPEED, BRAKE = 10.0, 5.0


def braking(t: int) -> Plan:
    """Straight on from 10 m/s to rest at 5 m/s^2."""
    time = np.linspace(0.0, 2.0, 21)
    speed = SPEED - BRAKE * time
    travel = SPEED * time - BRAKE * time * time / 2
    return Plan(t, time, travel, np.zeros(21), np.zeros(21), speed)


def test_what_remains_lies_on_the_same_motion():
    rest = remaining(braking(0), 0.73, 730)
    assert rest.t == 730
    assert rest.time[0] == 0.0
    assert rest.speed[0] == pytest.approx(SPEED - BRAKE * 0.73)
    assert rest.time[-1] == pytest.approx(2.0 - 0.73)
    assert rest.x[-1] == pytest.approx(10.0)
    assert usable(rest)


def test_at_its_end_a_fallback_holds_still():
    moving = Plan(0, [0.0, 1.0], [0.0, 5.0], [0.0, 0.0], [3.1, -3.1], [5.0, 5.0])
    rest = remaining(moving, 1.5, 1)
    assert (list(rest.time), list(rest.speed), list(rest.x)) == ([0.0], [0.0], [5.0])
    assert rest.yaw[0] == pytest.approx(-3.1)


@pytest.mark.parametrize("time", [[], [0.0, 0.0], [0.0, float("nan")]])
def test_control_an_unreadable_fallback_is_not_executed(time):
    zeros = [0.0] * len(time)
    assert not usable(Plan(0, time, zeros, zeros, zeros, zeros))


class Supervisor:
    """Plays the supervisor: a trajectory at constant speed with its fallback, until it falls silent."""

    def __init__(self, world: harness.World):
        self.world = world
        self.since: int | None = None
        """When the fallback that is said again was made [ns]; a new one each time without."""
        self.heard: list[tuple[float, MultiDOFJointTrajectory]] = []
        self.texts: list[str] = []
        node, kind = world.node, MultiDOFJointTrajectory
        self.commands = node.create_publisher(kind, "safety_supervisor/trajectory", 1)
        self.fallbacks = node.create_publisher(kind, "safety_supervisor/fallback", 1)
        node.create_subscription(kind, "command_gate/trajectory", self.hear, 50)
        node.create_subscription(DiagnosticArray, "/diagnostics", self.note, 50)

    def hear(self, message: MultiDOFJointTrajectory) -> None:
        self.heard.append((time.monotonic(), message))

    def note(self, message: DiagnosticArray) -> None:
        self.texts += [s.message for s in message.status if s.name == "command_gate: gate"]

    def speak(self, until, empty: bool = False) -> None:
        """Publish at 50 Hz until something is true."""
        due = 0.0

        def turn() -> bool:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + 0.02
                self.publish(empty)
            return until()

        assert self.world.run(turn)

    def publish(self, empty: bool) -> None:
        now = self.world.node.get_clock().now().nanoseconds
        go_on = Plan(now, [0.0, 4.0], [0.0, 40.0], [0.0, 0.0], [0.0, 0.0], [SPEED, SPEED])
        for publisher, plan in ((self.commands, go_on), (self.fallbacks, braking(self.since or now))):
            publisher.publish(empty_trajectory(now, Frames()) if empty else trajectory(plan, Frames()))


@contextlib.contextmanager
def gated(monkeypatch, tmp_path, timeout):
    """A gate process, and a supervisor that it has heard; at the end the gate goes in order."""
    domain = harness.environment(monkeypatch, tmp_path)
    arguments = ("--ros-args", "-p", f"vehicle_file:={harness.VEHICLE}", "-p", f"timing.gate_timeout:={timeout}")
    process = harness.Process(tmp_path, "safety_supervisor.ros.command_gate", *arguments)
    try:
        with harness.world(domain) as world:
            supervisor = Supervisor(world)
            supervisor.speak(lambda: len(supervisor.heard) > 20)
            yield process, world, supervisor
        assert process.stop() == 0
    finally:
        process.close()


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(120)
def test_silence_executes_the_fallback_and_a_driver_is_no_silence(monkeypatch, tmp_path):
    with gated(monkeypatch, tmp_path, 0.9) as (process, world, supervisor):
        assert {tuple(harness.speeds(m)) for _, m in supervisor.heard} == {(SPEED, SPEED)}

        supervisor.heard.clear()
        assert world.run(lambda: any("SILENCE" in text for text in supervisor.texts))
        assert world.run(lambda: supervisor.heard and harness.speeds(supervisor.heard[-1][1]) == [0.0])
        check_the_same_motion([m for _, m in supervisor.heard if len(m.points) > 1])

        supervisor.speak(lambda: supervisor.heard and not supervisor.heard[-1][1].points, empty=True)
        world.run_for(0.5)
        supervisor.heard.clear()
        world.run_for(1.0)
        assert not supervisor.heard, "a driver controls: nothing is commanded"
    assert "the supervisor is silent, its last fallback is executed" in process.said
    for failure in ("Traceback", "callback failed", "Exception"):
        assert failure not in process.said, process.said


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(120)
def test_a_fallback_that_was_said_again_goes_on_since_it_was_first_heard(monkeypatch, tmp_path):
    """As after an internal error: a vehicle that stands already must not be sent through its stop once more."""
    with gated(monkeypatch, tmp_path, 0.3) as (_, world, supervisor):
        supervisor.since = world.node.get_clock().now().nanoseconds
        end = time.monotonic() + 2.5  # longer than the stop takes
        supervisor.speak(lambda: time.monotonic() > end)
        supervisor.heard.clear()
        assert world.run(lambda: any("SILENCE" in text for text in supervisor.texts))
        world.run_for(0.5)
        executed = [m for _, m in supervisor.heard if harness.speeds(m) != [SPEED, SPEED]]
        assert executed
        assert {tuple(harness.speeds(m)) for m in executed} == {(0.0,)}


def check_the_same_motion(messages):
    """All that was executed is one fallback: the same place and speed at the same absolute time."""
    braked = [m for m in messages if harness.speeds(m)[-1] == 0.0]
    assert len(braked) > 3
    ends = [
        harness.stamp_ns(m) / 1e9 + m.points[-1].time_from_start.sec + m.points[-1].time_from_start.nanosec / 1e9
        for m in braked
    ]
    places = [m.points[-1].transforms[0].translation.x for m in braked]
    assert np.ptp(ends) < 0.05
    assert np.ptp(places) == 0.0


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(120)
def test_signals_that_go_on_to_the_very_end_do_not_kill(monkeypatch, tmp_path):
    """Ctrl-C reaches a launched node twice: from the terminal and from launch."""
    harness.environment(monkeypatch, tmp_path)
    arguments = ("--ros-args", "-p", f"vehicle_file:={harness.VEHICLE}")
    process = harness.Process(tmp_path, "safety_supervisor.ros.command_gate", *arguments)
    end = time.monotonic() + harness.PATIENCE
    try:
        while "listens to" not in process.said and time.monotonic() < end:
            time.sleep(0.05)
        while process.popen.poll() is None and time.monotonic() < end:
            process.popen.send_signal(signal.SIGINT)
            time.sleep(0.002)
        assert process.popen.poll() == 0, process.said
    finally:
        process.close()
    assert "Traceback" not in process.said
