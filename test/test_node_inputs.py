"""The other inputs of a real process: speeds and an inertial sensor for odometry, a path, command, life, objects."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

import node_harness as harness
from geometry_msgs.msg import Pose, PoseArray, PoseStamped, TwistStamped
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Path
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Imu
from std_msgs.msg import Empty
from test_node_process import PATIENT

VALUES = {
    **PATIENT, "allow_unproved": True, "health__radar_timeout": 1.0, "health__control_timeout": 1.0,
    "health__heartbeat_timeout": 1.0, "plan_type": "path", "inputs__odometry": "''", "inputs__twist": "wheels",
    "inputs__imu": "imu", "inputs__control": "command", "inputs__heartbeat": "alive", "inputs__objects": "seen",
}  # fmt: skip
LOSSES = [
    ("alive", "HEARTBEAT_STALE", "heartbeat"),
    ("command", "CONTROL_STALE", "control"),
    ("wheels", "ODOMETRY_STALE", "odometry"),
]


class Others(harness.World):
    """The same world with a policy that plans paths about ego, and sensors that know no pose."""

    plan_type = Path

    def _plan_message(self):
        message = Path()
        message.header.frame_id, message.header.stamp = "base_link", self._stamp()
        for i in range(31):
            pose = PoseStamped()
            pose.pose.position.x = self.speed * 0.2 * i
            pose.pose.orientation.w = 1.0
            message.poses.append(pose)
        return message

    def send_others(self) -> None:
        """Publish all the rest twenty times a second, but for what is in `silent`."""
        make = {
            "wheels": (TwistStamped, self.twist), "imu": (Imu, self.imu), "command": (TwistStamped, self.twist),
            "alive": (Empty, Empty), "seen": (PoseArray, self.seen),
        }  # fmt: skip
        for name, (kind, message) in make.items():
            publisher = self.node.create_publisher(kind, name, qos_profile_sensor_data)
            send = lambda name=name, publisher=publisher, message=message: (  # noqa: E731
                publisher.publish(message()) if name not in self.silent else None
            )
            self.node.create_timer(0.05, send)

    def twist(self):
        message = TwistStamped()
        message.header.frame_id, message.header.stamp = "base_link", self._stamp()
        message.twist.linear.x = self.speed
        return message

    def imu(self):
        message = Imu()
        message.header.frame_id, message.header.stamp = "imu_link", self._stamp()
        message.angular_velocity.z = 0.01
        return message

    def seen(self):
        message = PoseArray(poses=[Pose()])
        message.header.frame_id, message.header.stamp = "base_link", self._stamp()
        message.poses[0].position.x = 60.0
        return message


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(200)
def test_every_other_input_is_heard_and_its_loss_is_named(monkeypatch, tmp_path):
    domain = harness.environment(monkeypatch, tmp_path)
    process = harness.supervisor(tmp_path, vehicle_file=harness.VEHICLE, **VALUES)
    try:
        with harness.world(domain, Others, speed=10.0, gap=5000.0) as world:
            world.odometry, world.coasting = False, True
            world.send_others()
            assert world.configure(), process.said
            assert world.change(Transition.TRANSITION_ACTIVATE)
            assert world.run(lambda: world.mode == "NOMINAL"), world.decisions[-1]["health"]
            names = ("odometry", "imu", "control", "heartbeat", "objects", "plan")
            heard = lambda: all(world.message(name) == "ok" for name in names)  # noqa: E731
            assert world.run(heard), [s.message for s in world.statuses[-20:]]
            moved = [d["ego"] for d in world.decisions if d["ego"]]
            assert moved[-1]["x"] > moved[0]["x"], "the pose is integrated from the speed"
            assert moved[-1]["yaw_rate"] == pytest.approx(0.01), "the inertial one"
            for name, code, source in LOSSES:
                world.silent.add(name)
                assert world.run(lambda code=code: world.found(code)), (code, world.decisions[-1]["health"])
                assert world.found(code)[0]["source"] == source
            assert world.run(lambda: world.mode == "UNABLE"), world.modes()
        assert process.stop() == 0
    finally:
        process.close()
    assert "Traceback" not in process.said
