"""The node as a process of its own, driven over DDS: it stops for what the policy does not see, and says why."""

from __future__ import annotations

import signal
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

import node_harness as harness
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from std_srvs.srv import Trigger

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.timeout(180)]

STOPS = {"FIRM_STOP", "EMERGENCY_STOP"}
# The tests' world is one Python process on a machine that may be busy: gaps in its stream are not what is tested.
PATIENT = {
    "timing__period": 0.05,
    "timing__overrun": 0.2,
    "health__odometry_timeout": 2.0,
    "health__plan_timeout": 2.0,
    "health__ultrasonic_timeout": 2.0,
    "health__radar_timeout": 1.0,
}


@pytest.fixture
def domain(monkeypatch, tmp_path):
    return harness.environment(monkeypatch, tmp_path)


@pytest.fixture
def start(tmp_path, domain):
    """Start node processes that do not outlive the test."""
    running = []

    def starter(**values):
        values.setdefault("vehicle_file", harness.VEHICLE)
        running.append(harness.supervisor(tmp_path, **values))
        return running[-1]

    yield starter
    for process in running:
        process.close()
    assert "callback failed" not in "".join(process.said for process in running)


def test_it_stops_for_an_object_that_the_policy_does_not_see(start, domain):
    start(allow_unproved=True, **PATIENT)
    with harness.world(domain, speed=15.0) as world:
        assert world.configure()
        assert world.activate()
        assert world.run(lambda: "NOMINAL" in world.modes()), world.modes()
        world.put_object(38.0)
        assert world.run(lambda: STOPS.intersection(world.modes())), world.modes()
        stopped = world.run(lambda: world.decisions[-1]["mode"] == "STANDSTILL")
        assert stopped, world.modes()
        assert world.speed < 0.1
        assert world.gap > 0.0
        assert harness.speeds(world.commands[-1])[-1] == 0.0
        assert world.fallbacks
        assert world.run(lambda: "STANDSTILL" in world.message("supervisor")), world.message("supervisor")
        assert "UNPROVED" in world.message("supervisor")
        assert world.status("supervisor").level == b"\x02"
        values = {pair.key: pair.value for pair in world.status("supervisor").values}
        assert values["mode"] == "STANDSTILL"
        assert values["armed"] == "true"


AS_HUMBLE = """
import sys
import rclpy.event_handler, rclpy.lifecycle, rclpy.node
sys.modules["rclpy.qos_event"] = rclpy.event_handler  # its name there
sys.modules["rclpy.event_handler"] = sys.modules["rclpy.experimental"] = None
from safety_supervisor.ros.node import main
sys.exit(main())
"""


def test_with_what_humble_has_of_rclpy_it_stops_too(domain, tmp_path):
    """No events executor, middleware events under their older name."""
    (tmp_path / "as_humble.py").write_text(AS_HUMBLE)
    values = {"vehicle_file": harness.VEHICLE, "allow_unproved": True, **PATIENT}
    process = harness.supervisor(tmp_path, "as_humble", **values)
    try:
        with harness.world(domain, speed=15.0) as world:
            assert world.configure()
            assert world.activate()
            assert world.run(lambda: "NOMINAL" in world.modes()), world.modes()
            world.put_object(38.0)
            assert world.run(lambda: world.decisions[-1]["mode"] == "STANDSTILL"), world.modes()
            assert world.gap > 0.0
        assert process.stop() == 0
    finally:
        process.close()
    assert "no events executor" in process.said
    assert "Traceback" not in process.said


def test_a_dead_radar_is_named_and_the_vehicle_stops(start, domain):
    start(allow_unproved=True, **PATIENT)
    with harness.world(domain, speed=10.0) as world:
        assert world.configure()
        assert world.activate()
        assert world.run(lambda: "NOMINAL" in world.modes()), world.modes()
        world.radar = False
        findings = lambda: world.decisions[-1]["health"]["findings"]  # noqa: E731
        stale = lambda: [f for f in findings() if f["code"] == "RADAR_STALE"]  # noqa: E731
        assert world.run(stale)
        assert stale()[0]["source"] == "radar_front"
        assert world.run(lambda: "RADAR_STALE" in world.message("radar_front")), world.message("radar_front")
        assert world.status("radar_front").level == b"\x02"
        assert world.run(lambda: world.decisions[-1]["mode"] == "STANDSTILL"), world.modes()
        assert world.speed < 0.1


def test_a_wrong_parameter_is_refused_in_one_line(start, domain):
    process = start(fallback__firm_deceleration=40.0)
    with harness.world(domain) as world:
        assert not world.configure()
        assert world.state() == "unconfigured"
    line = next(line for line in process.said.splitlines() if "configure refused" in line)
    assert "fallback.firm_deceleration = 40.0" in line
    assert "[0.5, 8] m/s^2" in line
    assert "Traceback" not in process.said
    assert process.stop() == 0


def test_a_topic_that_ros_does_not_allow_is_refused_in_one_line_and_nothing_is_left(start, domain):
    process = start(sensors__radar_front__topic="radar/front-left/points")
    with harness.world(domain) as world:
        for _ in range(2):
            assert not world.configure()
            assert world.state() == "unconfigured"
        own = "/safety_supervisor/trajectory"
        assert world.run(lambda: world.node.count_publishers(own) == 0), "those of the attempts are gone"
    lines = [line for line in process.said.splitlines() if "configure refused" in line]
    assert len(lines) == 2
    assert "topic of radar_front = 'radar/front-left/points' is no name that ROS allows" in lines[0]
    assert "Traceback" not in process.said
    assert process.stop() == 0


def test_without_a_certificate_it_only_watches(start, domain):
    process = start(corridor__margin=0.31, **PATIENT)
    with harness.world(domain) as world:
        assert world.configure()
        assert world.activate()
        assert world.run(lambda: "NOMINAL" in world.modes()), world.modes()
        assert not world.commands
        assert world.decisions[-1]["certificate"] is None
        assert world.run(lambda: "SHADOW" in world.message("supervisor")), world.message("supervisor")
        assert "~/shadow" in process.said


def test_lifecycle_parameters_and_signals(start, domain):
    process = start(allow_unproved=True, **PATIENT)
    with harness.world(domain, speed=10.0) as world:
        assert not world.activate(), "an illegal transition is refused"
        assert not world.change(99), "and one that does not exist"
        assert world.configure()
        assert not world.configure(), "and refused again"
        assert world.activate()
        assert_parameter_is_read_only(world)
        assert world.run(lambda: "NOMINAL" in world.modes()), world.modes()
        trigger = Trigger.Request()
        assert world.run(lambda: world.call(Trigger, "safety_supervisor/self_test", trigger).success)
        assert world.call(Trigger, "safety_supervisor/release", trigger).success
        assert world.run(lambda: any("safety/release" in d["consumed"] for d in world.decisions))

        world.takeover = True
        assert world.run(lambda: world.commands and not world.commands[-1].points), "hands over"
        world.takeover = False

        assert world.change(Transition.TRANSITION_DEACTIVATE)
        beats = len(world.heartbeats)
        assert world.run(lambda: len(world.heartbeats) > beats + 2), "the heartbeat outlives deactivate"
        assert world.activate()
        seen = len(world.decisions)
        assert world.run(lambda: len(world.decisions) > seen)
        world.commands.clear()

        began = time.monotonic()
        assert process.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 2.0
    assert "Traceback" not in process.said


def assert_parameter_is_read_only(world):
    name = "envelope.assumed_brake"
    asked = DescribeParameters.Request(names=[name])
    described = world.call(DescribeParameters, "safety_supervisor/describe_parameters", asked).descriptors[0]
    assert described.read_only
    assert described.floating_point_range[0].to_value == 12.0
    assert "m/s^2" in described.description
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=9.0)
    wanted = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    result = world.call(SetParameters, "safety_supervisor/set_parameters", wanted).results[0]
    assert not result.successful
    assert "read-only" in result.reason
