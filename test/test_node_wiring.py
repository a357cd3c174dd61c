"""What is wrong with a connection is named: nobody publishes, another type, too little quality, another frame."""

from __future__ import annotations

from types import SimpleNamespace as Ns

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

import node_harness as harness
from lifecycle_msgs.msg import Transition
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import LaserScan
from std_srvs.srv import Trigger
from test_node_process import PATIENT

from safety_supervisor.ros import wiring
from safety_supervisor.ros.sources import Source

ODOMETRY = "nav_msgs/msg/Odometry"


class Graph:
    """A node in front of a graph of publishers: topic -> (node, type, reliability)."""

    def __init__(self, **topics):
        self.topics = {f"/car/{name}": publishers for name, publishers in topics.items()}

    def resolve_topic_name(self, name):
        return f"/car/{name}"

    def count_publishers(self, topic):
        return len(self.topics.get(topic, ()))

    def get_publishers_info_by_topic(self, topic):
        return [
            Ns(node_name=node, node_namespace="/", topic_type=kind, qos_profile=Ns(reliability=reliability))
            for node, kind, reliability in self.topics.get(topic, ())
        ]


def source(name="odometry", topic="odom", expected=True, **more):
    return Source(name, topic, ODOMETRY, None, expected, **more)


RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


@pytest.mark.parametrize(
    ("publishers", "said"),
    [
        ([], "NO_PUBLISHER: nobody publishes /car/odom"),
        ([("ekf", "geometry_msgs/msg/PoseStamped", RELIABLE)],
         f"TYPE: /ekf publishes /car/odom as geometry_msgs/msg/PoseStamped, expected {ODOMETRY}"),
        ([("ekf", ODOMETRY, BEST_EFFORT)], "QOS: a publisher does not offer reliable delivery"),
        ([("ekf", ODOMETRY, RELIABLE)], ""),
    ],
)  # fmt: skip
def test_silence_is_explained_as_far_as_the_graph_tells(publishers, said):
    found = wiring.look(Graph(odom=publishers), [source(reliable=True)], {"odometry"})
    assert found.get("odometry", "").startswith(said)
    assert bool(found) == bool(said)


def test_while_messages_come_only_doubles_are_looked_for():
    other = ("ekf", "geometry_msgs/msg/PoseStamped", RELIABLE)
    assert wiring.look(Graph(odom=[other]), [source()], set()) == {}
    assert wiring.look(Graph(odom=[other] * 2), [source()], set()) == {
        "odometry": "DUPLICATE: 2 publishers on /car/odom"
    }
    assert wiring.look(Graph(release=[other] * 2), [source("release", "release")], set()) == {}


def test_an_input_that_nobody_expects_may_have_no_publisher():
    assert wiring.look(Graph(), [source("objects", "objects", expected=False)], {"objects"}) == {}


def test_what_happened_is_said_for_a_while_and_what_is_so_as_long_as_it_is(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(wiring.time, "monotonic", lambda: now[0])
    notes = wiring.Notes()
    notes.happened("radar", "TOO_LONG")
    notes.so({"radar": "DUPLICATE", "odometry": "TYPE"})
    assert notes.texts() == {"radar": "DUPLICATE; TOO_LONG", "odometry": "TYPE"}
    now[0] += wiring.NOTED_FOR + 1.0
    notes.so({"radar": "DUPLICATE"})
    assert notes.texts() == {"radar": "DUPLICATE"}
    notes.clear()
    assert notes.texts() == {}


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(150)
def test_odometry_of_another_body_is_refused_and_commands_are_in_the_frame_of_the_odometry(monkeypatch, tmp_path):
    domain = harness.environment(monkeypatch, tmp_path)
    process = harness.supervisor(tmp_path, vehicle_file=harness.VEHICLE, allow_unproved=True, **PATIENT)
    try:
        with harness.world(domain, speed=10.0, gap=5000.0) as world:
            world.coasting, world.fixed_frame, world.body_frame = True, "map", "imu_link"
            assert world.configure()
            assert world.change(Transition.TRANSITION_ACTIVATE)
            said = lambda text: world.run(lambda: text in world.message("odometry"))  # noqa: E731
            wrong = "child_frame_id is 'imu_link', expected base_link (inputs.body_frame)"
            assert said(wrong), world.message("odometry")
            assert {pair.key: pair.value for pair in world.status("odometry").values}["topic"] == "vehicle/odometry"
            trigger = Trigger.Request()
            assert wrong in world.call(Trigger, "safety_supervisor/self_test", trigger).message
            assert world.modes() == ["INIT"], "no self-test is passed with an odometry of something else"
            world.body_frame = "base_link"
            assert world.run(lambda: world.mode == "NOMINAL"), world.message("odometry")
            assert world.run(lambda: world.commands and world.fallbacks)
            assert {m.header.frame_id for m in (*world.commands, *world.fallbacks)} == {"map"}
            world.fixed_frame = "odom"  # another origin: nothing that is known holds there
            assert said("header.frame_id changed from 'map' to 'odom'"), world.message("odometry")
            assert world.run(lambda: world.mode == "UNABLE"), world.modes()
        assert process.stop() == 0
    finally:
        process.close()


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(150)
def test_a_sensor_that_is_wired_wrongly_is_named_and_recovers(monkeypatch, tmp_path):
    domain = harness.environment(monkeypatch, tmp_path)
    values = {**PATIENT, "allow_unproved": True, "health__radar_timeout": 1.0}
    values["sensors__radar_front__frame"] = "radar_front"
    process = harness.supervisor(tmp_path, vehicle_file=harness.VEHICLE, **values)
    trigger = Trigger.Request()
    try:
        with harness.world(domain, speed=10.0, gap=5000.0) as world:
            world.coasting = True
            world.unplug_radar()  # before the node could have heard a single scan
            assert world.configure()
            assert world.change(Transition.TRANSITION_ACTIVATE)
            said = lambda text: world.run(lambda: text in world.message("radar_front"))  # noqa: E731
            topic = "/radar/front/points"
            assert said(f"NO_PUBLISHER: nobody publishes {topic}"), world.message("radar_front")
            scanner = world.node.create_publisher(LaserScan, topic, 10)
            wrong = f"TYPE: /test_world publishes {topic} as sensor_msgs/msg/LaserScan"
            assert said(wrong), world.message("radar_front")
            assert wrong in world.call(Trigger, "safety_supervisor/self_test", trigger).message
            world.node.destroy_publisher(scanner)
            world.publish_radar(frame="lidar_top")
            world.radar = True
            assert said("header.frame_id is 'lidar_top', expected radar_front"), world.message("radar_front")
            assert world.modes() == ["INIT"], "no self-test is passed with a radar that is not understood"
            world.radar_frame = "radar_front"
            assert world.run(lambda: world.mode == "NOMINAL"), world.message("radar_front")
            passed = lambda: world.call(Trigger, "safety_supervisor/self_test", trigger).success  # noqa: E731
            assert world.run(passed), world.call(Trigger, "safety_supervisor/self_test", trigger).message
        assert process.stop() == 0
    finally:
        process.close()
