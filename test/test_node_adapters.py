"""The adapters: velocity commands of a robot base, and Autoware's trajectories, states and services."""

from __future__ import annotations

import json
import math
import time
from types import SimpleNamespace as Ns

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

import node_harness as harness
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Range
from std_msgs.msg import Bool, String, UInt8
from std_srvs.srv import SetBool
from trajectory_msgs.msg import MultiDOFJointTrajectory

from safety_supervisor import cdr, vehicle_file
from safety_supervisor.core.config import ConfigError
from safety_supervisor.core.plan_check import check_plan
from safety_supervisor.core.world import Odometry as Ego
from safety_supervisor.core.world import Plan
from safety_supervisor.ros import autoware_adapter, parameters, twist_adapter
from safety_supervisor.ros.outputs import Frames, trajectory
from safety_supervisor.ros.twist_adapter import arc, at

S = 10**9
ROBOT = vehicle_file.share_dir("config") / "examples" / "robot_base.yaml"
group = [pytest.mark.xdist_group("node"), pytest.mark.timeout(150)]


def viewed(plan):
    found = cdr.view(twist_adapter.KIND, trajectory(plan, Frames()))
    assert isinstance(found, cdr.TrajectoryView)
    return found


# --- Twist -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "turn"), [(0.5, 0.0), (0.5, 0.4), (-0.3, 0.2), (0.0, 0.8), (0.0, 0.0), (1.0, -1.0)])
def test_what_a_command_leads_along_is_a_plan_that_can_be_driven_and_comes_back(speed, turn):
    plan = arc(speed, turn, 5 * S, 4.0)
    here = Ego(5 * S, 0.0, 0.0, 0.0, speed, turn)
    assert check_plan(plan, None, here, vehicle_file.load(ROBOT)) == ()
    back = at(viewed(plan), 0.1)
    assert back == (pytest.approx(speed), pytest.approx(turn))
    radius = speed / turn if turn else math.inf
    if speed and turn:
        assert np.hypot(plan.x, plan.y - radius) == pytest.approx(np.full(len(plan.x), abs(radius)))


@pytest.mark.parametrize("bad", [(math.nan, 0.0), (0.5, math.inf)])
def test_a_command_that_is_not_finite_is_standing(bad):
    assert not arc(*bad, 0, 4.0).speed.any()


def test_at_the_end_of_what_is_commanded_the_base_stands():
    assert at(viewed(arc(0.5, 0.2, 0, 1.0)), 1.0) == (0.0, 0.0)


class Robot:
    """A base that obeys `cmd_vel_out` at once, in front of a wall, under a planner that wants to go on."""

    def __init__(self, world_domain, wall):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=world_domain)
        self.node = rclpy.create_node("robot", context=self.context)
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.x, self.speed, self.wall, self.wanted = 0.0, 0.0, wall, 0.5
        self.yaw, self.turn, self.wanted_turn, self.left = 0.0, 0.0, 0.0, math.inf
        self.heard, self.modes, self.blind = [], [], False
        make = self.node.create_publisher
        self.odometry = make(Odometry, "odom", qos_profile_sensor_data)
        self.command = make(Twist, "cmd_vel_in", 1)
        names = ("left", "centre_left", "centre_right", "right", "rear")
        self.ranges = {name: make(Range, f"ultrasonic/{name}", qos_profile_sensor_data) for name in names}
        self.node.create_subscription(Twist, "cmd_vel_out", self.obey, 1)
        self.node.create_subscription(String, "safety_supervisor/decision", self.note, 10)
        self.node.create_timer(0.02, self.move)
        self.node.create_timer(0.05, self.sense)

    def obey(self, twist):
        self.heard.append(twist.linear.x)
        self.speed, self.turn = twist.linear.x, twist.angular.z

    def note(self, message):
        self.modes.append(json.loads(message.data)["mode"])

    def stamp(self, message, frame):
        message.header.stamp = self.node.get_clock().now().to_msg()
        message.header.frame_id = frame
        return message

    def move(self):
        self.x += 0.02 * self.speed
        message = self.stamp(Odometry(child_frame_id="base_link"), "odom")
        self.yaw += 0.02 * self.turn
        message.pose.pose.position.x, message.twist.twist.linear.x = self.x, self.speed
        turned = message.pose.pose.orientation
        turned.z, turned.w, message.twist.twist.angular.z = math.sin(self.yaw / 2), math.cos(self.yaw / 2), self.turn
        if not self.blind:
            self.odometry.publish(message)

    def sense(self):
        if self.wanted is not None:
            twist = Twist()
            twist.linear.x, twist.angular.z = self.wanted, self.wanted_turn
            self.command.publish(twist)
        gap = self.wall - self.x - 0.3
        for name, publisher in self.ranges.items():
            distance = gap if name.startswith("centre") and gap < 4.0 else self.left if name == "left" else math.inf
            message = Range(min_range=0.03, max_range=4.0, range=float(max(distance, 0.0)), field_of_view=0.7)
            publisher.publish(self.stamp(message, name))

    def run(self, until, timeout=harness.PATIENCE):
        return harness.run_until(self.executor, until, timeout)

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def running(monkeypatch, tmp_path):
    """Start the supervisor of the robot and one adapter; yields the domain."""
    domain, processes = harness.environment(monkeypatch, tmp_path), []

    def starter(adapter, *arguments, **values):
        patience = {"timing__overrun": 0.2, "health__ultrasonic_timeout": 2.0, "health__odometry_timeout": 1.0,
                    "health__plan_timeout": 1.0}  # fmt: skip
        values = {"vehicle_file": ROBOT, "allow_unproved": True, "autostart": True, **patience, **values}
        processes.append(harness.supervisor(tmp_path, **values))
        processes.append(harness.Process(tmp_path, f"safety_supervisor.ros.{adapter}", *arguments))
        return domain

    starter.processes = processes
    yield starter
    for process in processes:
        process.close()


class TestRobot:
    pytestmark = group

    def test_a_base_is_stopped_in_front_of_a_wall_that_its_planner_does_not_see(self, running):
        robot = Robot(running("twist_adapter", "--ros-args", "-p", "silence:=1.0"), wall=3.0)
        try:
            assert robot.run(lambda: robot.speed > 0.4), robot.modes[-5:]
            assert robot.run(lambda: robot.speed < 0.02 and robot.x > 0.5), (robot.x, robot.modes[-5:])
            robot.run(lambda: False, 1.0)
            assert robot.x < 3.0 - 0.3, "in front of the wall"
            assert {"COMFORT_STOP", "FIRM_STOP", "EMERGENCY_STOP", "SPEED_CAP"} & set(robot.modes)
            for process in running.processes:
                assert process.stop() == 0
            assert robot.run(lambda: robot.heard[-1] == 0.0)
        finally:
            robot.close()

    def test_a_turn_on_the_spot_passes_until_something_is_beside_the_corner(self, running):
        robot = Robot(running("twist_adapter", "--ros-args", "-p", "silence:=1.0"), wall=1000.0)
        robot.wanted, robot.wanted_turn = 0.0, -0.6
        try:
            assert robot.run(lambda: robot.yaw < -1.0), (robot.yaw, robot.modes[-5:])
            robot.left = 0.5  # the control: out of reach of the corners
            robot.run(lambda: False, 1.0)
            assert robot.turn == pytest.approx(-0.6, abs=0.05)
            robot.left = 0.08
            assert robot.run(lambda: abs(robot.turn) < 0.01), (robot.turn, robot.modes[-5:])
            robot.run(lambda: robot.modes[-1] == "STANDSTILL")
            there = robot.yaw
            robot.run(lambda: False, 1.0)
            assert robot.yaw == pytest.approx(there, abs=0.02)
            assert {"COMFORT_STOP", "FIRM_STOP", "EMERGENCY_STOP"} & set(robot.modes)
        finally:
            robot.close()

    def test_control_with_nothing_in_the_way_the_command_passes_until_it_is_not_renewed(self, running):
        robot = Robot(running("twist_adapter", "--ros-args", "-p", "silence:=1.0"), wall=1000.0)
        try:
            assert robot.run(lambda: robot.x > 1.0), robot.modes[-5:]
            assert max(robot.heard) == pytest.approx(0.5, abs=0.01)
            robot.wanted = None
            assert robot.run(lambda: robot.speed == 0.0)
            robot.wanted = 0.5
            assert robot.run(lambda: robot.speed > 0.4), robot.modes[-5:]
            robot.blind = True
            assert robot.run(lambda: robot.speed == 0.0), "without odometry it comes to rest"
            assert robot.modes[-1] == "UNABLE"
            running.processes[0].popen.kill()
            robot.wanted = 0.5
            robot.run(lambda: False, 1.5)
            robot.heard.clear()
            assert robot.run(lambda: len(robot.heard) > 5)
            assert set(robot.heard) == {0.0}, "a supervisor that is silent stops the base"
        finally:
            robot.close()


    @pytest.mark.parametrize("proved", [True, False])
    def test_a_base_moves_only_under_the_certificate_of_its_own_parameters(self, running, tmp_path, proved):
        file = tmp_path / "base.yaml"
        file.write_text(ROBOT.read_text())
        settings = {"timing__overrun": 0.2, "health__ultrasonic_timeout": 2.0, "health__odometry_timeout": 1.0,
                    "health__plan_timeout": 1.0}  # fmt: skip
        dotted = {name.replace("__", "."): value for name, value in settings.items()}
        _, config = parameters.load({"vehicle_file": str(file), **dotted})
        proof = vehicle_file.certificate_path(file)
        vehicle_file.write_certificate(proof, config, [{"claim": "c", "result": "PROVED"}], {})
        settings["odd__speed_max"] = config.odd.speed_max if proved else 1.1
        adapter = ("twist_adapter", "--ros-args", "-p", "silence:=1.0")
        robot = Robot(running(*adapter, vehicle_file=file, allow_unproved=False, **settings), wall=1000.0)
        try:
            if proved:
                assert robot.run(lambda: robot.speed > 0.4), robot.modes[-5:]
            else:
                assert robot.run(lambda: "NOMINAL" in robot.modes and len(robot.heard) > 20), robot.modes[-5:]
                assert set(robot.heard) == {0.0}
                assert "SHADOW: no certificate proves these parameters" in running.processes[0].said
        finally:
            robot.close()


# --- Autoware ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "state"),
    [("INIT", (1, 1)), ("NOMINAL", (1, 1)), ("SPEED_CAP", (1, 1)), ("COMFORT_STOP", (2, 3)), ("FIRM_STOP", (2, 3)),
     ("EMERGENCY_STOP", (2, 2)), ("UNABLE", (4, 2)), ("STANDSTILL", (3, 3))],
)  # fmt: skip
def test_every_mode_has_its_mrm_state(mode, state):
    assert autoware_adapter.mrm({"mode": mode}) == state


def nested():
    return Ns(
        time_from_start=Ns(), pose=Ns(position=Ns(), orientation=Ns()), longitudinal_velocity_mps=0.0,
        heading_rate_rps=0.0, acceleration_mps2=0.0,
    )  # fmt: skip


def test_a_command_becomes_an_autoware_trajectory():
    time = np.array([0.0, 1.0, 2.0])
    plan = Plan(7 * S + 5, time, 10 * time, 0 * time, np.full(3, 0.1), 10.0 - 2 * time)
    kinds = {"trajectory": lambda: Ns(header=Ns(stamp=Ns(), frame_id=""), points=[]), "point": nested}
    made = autoware_adapter.autoware_trajectory(viewed(plan), kinds)
    assert (made.header.frame_id, made.header.stamp.sec, made.header.stamp.nanosec) == ("odom", 7, 5)
    assert [p.longitudinal_velocity_mps for p in made.points] == [10.0, 8.0, 6.0]
    assert [p.acceleration_mps2 for p in made.points] == pytest.approx([-2.0, -2.0, -2.0])
    assert made.points[2].time_from_start.sec == 2
    assert (made.points[1].pose.position.x, made.points[1].pose.orientation.z) == (10.0, pytest.approx(math.sin(0.05)))
    back = {"header": made.header, "points": made.points}
    assert len(back["points"]) == 3


def test_without_autoware_it_says_what_is_missing():
    try:
        import tier4_system_msgs  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="is not installed"):
            autoware_adapter.message_kinds("autoware")
    with pytest.raises(ConfigError, match="must be autoware or standard"):
        autoware_adapter.message_kinds("ros1")


class TestOperators:
    pytestmark = group

    def test_a_stop_asked_for_by_an_operate_service_is_done_and_told(self, running):
        domain = running(
            "autoware_adapter", "--ros-args", "-p", "messages:=standard", "-p", "silence:=2.0",
            vehicle_file=harness.VEHICLE, timing__period=0.05, health__radar_timeout=1.0,
        )  # fmt: skip
        with harness.world(domain, speed=10.0, gap=5000.0) as world:
            world.coasting = True
            states, out, status, hazard = [], [], [], []
            listen = world.node.create_subscription
            listen(String, "mrm_state", lambda m: states.append(json.loads(m.data)), 10)
            listen(MultiDOFJointTrajectory, "trajectory_out", out.append, 10)
            listen(UInt8, "comfortable_stop/status", lambda m: status.append(m.data), 10)
            listen(Bool, "hazard_lights_cmd", lambda m: hazard.append(m.data), 10)
            assert world.run(lambda: world.mode == "NOMINAL" and out and states), world.modes()
            assert world.run(lambda: states[-1] == {"state": 1, "behavior": 1}), (states[-1], world.modes())
            assert world.run(lambda: status and status[-1] == 1)
            answer = world.call(SetBool, "comfortable_stop/operate", SetBool.Request(data=True))
            assert answer.success
            # Four topics, each with its own delay: what one of them has told, another may be about to tell.
            assert world.run(lambda: states[-1] == {"state": 2, "behavior": 3}), (states[-1], world.modes())
            assert world.run(lambda: hazard[-1] and status[-1] == 2), (hazard[-1], status[-1], world.modes())
            assert world.run(lambda: harness.speeds(out[-1])[-1] == 0.0), harness.speeds(out[-1])
            assert world.call(SetBool, "comfortable_stop/operate", SetBool.Request(data=False)).success
            assert world.run(lambda: world.mode == "NOMINAL"), world.modes()
            running.processes[0].popen.kill()
            assert world.run(lambda: status[-1] == 0), "not available"
            assert not world.call(SetBool, "comfortable_stop/operate", SetBool.Request(data=True)).success
            again = world.node.create_publisher(String, "safety_supervisor/decision", 1)

            def back() -> bool:
                """A supervisor that comes back knows of no request."""
                again.publish(String(data=json.dumps(world.decisions[-1])))
                return status[-1] != 0

            assert world.run(back)
            assert status[-1] == 1, "available, not operating"


@pytest.mark.parametrize("module", ["twist_adapter", "autoware_adapter"])
@pytest.mark.xdist_group("node")
def test_a_parameter_that_does_not_exist_is_refused_by_name(monkeypatch, tmp_path, module):
    harness.environment(monkeypatch, tmp_path)
    process = harness.Process(tmp_path, f"safety_supervisor.ros.{module}", "--ros-args", "-p", "silense:=1.0")
    try:
        assert process.popen.wait(harness.PATIENCE) == 2
        assert "unknown parameter silense = 1.0, did you mean silence?" in process.said
    finally:
        process.close()


# --- shadow mode and the first words -----------------------------------------------------------------------------


SHADOWS = {"command_gate": ("-p", f"vehicle_file:={harness.VEHICLE}"), "twist_adapter": (),
           "autoware_adapter": ("-p", "messages:=standard")}  # fmt: skip


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(150)
def test_in_shadow_mode_everything_is_passed_as_it_comes(monkeypatch, tmp_path):
    domain = harness.environment(monkeypatch, tmp_path)
    started = {
        name: harness.Process(tmp_path, f"safety_supervisor.ros.{name}", "--ros-args", "-p", "shadow:=true", *more)
        for name, more in SHADOWS.items()
    }
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("policy", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    plan = trajectory(arc(3.0, 0.1, 7, 2.0), Frames())
    twist = Twist()
    twist.linear.x, twist.angular.z, twist.linear.y = 0.4, 0.2, 0.1
    says = [(node.create_publisher(MultiDOFJointTrajectory, topic, 1), plan)
            for topic in ("policy/trajectory", "trajectory_in")]  # fmt: skip
    says.append((node.create_publisher(Twist, "cmd_vel_in", 1), twist))
    heard = {}
    for topic in ("command_gate/trajectory", "trajectory_out"):
        hear = lambda raw, topic=topic: heard.setdefault(topic, []).append(bytes(raw))  # noqa: E731
        node.create_subscription(MultiDOFJointTrajectory, topic, hear, 10, raw=True)
    node.create_subscription(Twist, "cmd_vel_out", lambda m: heard.setdefault("cmd_vel_out", []).append(m), 10)

    def turn():
        for publisher, message in says:
            publisher.publish(message)
        return len(heard) == 3 and all(len(messages) > 3 for messages in heard.values())

    try:
        assert harness.run_until(executor, turn), {topic: len(said) for topic, said in heard.items()}
        assert {*heard["command_gate/trajectory"], *heard["trajectory_out"]} >= {plan}
        assert all(message == twist for message in heard["cmd_vel_out"])
        # The twist adapter's own plans reach the gate too, as the policy's.
        assert heard["command_gate/trajectory"].count(plan) > 0
        for name, process in started.items():
            assert process.stop() == 0
            assert "SHADOW: " in process.said
            assert "listens to /" in process.said, name
            assert "; publishes /" in process.said, name
    finally:
        for process in started.values():
            process.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("command_gate", SHADOWS["command_gate"], " s of silence the last fallback is executed"),
        ("twist_adapter", (), "a supervisor silent for 0.3 s stops the base"),
        ("autoware_adapter", SHADOWS["autoware_adapter"], "a supervisor silent for 0.5 s counts as not available"),
    ],
)
@pytest.mark.xdist_group("node")
@pytest.mark.timeout(90)
def test_the_first_line_names_topics_and_timeout(monkeypatch, tmp_path, module, words, said):
    harness.environment(monkeypatch, tmp_path)
    process = harness.Process(tmp_path, f"safety_supervisor.ros.{module}", "--ros-args", *words)
    try:
        end = time.monotonic() + harness.PATIENCE
        while said not in process.said and time.monotonic() < end:
            time.sleep(0.05)
        (line,) = [line for line in process.said.splitlines() if said in line]
        assert "listens to " in line
        assert "/safety_supervisor/trajectory" in line
        assert "SHADOW" not in line
    finally:
        process.close()
