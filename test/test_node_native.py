"""The messages that are not on PyPI, as their own packages define them: `make native` builds them and runs this file.

Without the packages these tests skip.
"""

from __future__ import annotations

import math
from types import SimpleNamespace as Ns

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")
pytest.importorskip("tier4_system_msgs", reason="these message packages are not on PyPI: make native")

import autoware_planning_msgs.msg as planning
import node_harness as harness
import radar_msgs.msg as radar
from ackermann_msgs.msg import AckermannDriveStamped
from autoware_adapi_v1_msgs.msg import MrmState
from autoware_control_msgs.msg import Control
from autoware_perception_msgs.msg import PredictedObject, PredictedObjects
from autoware_vehicle_msgs.msg import ControlModeReport, HazardLightsCommand
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from test_node_process import PATIENT
from tf2_msgs.msg import TFMessage
from tier4_system_msgs.msg import MrmBehaviorStatus
from tier4_system_msgs.srv import OperateMrm
from vision_msgs.msg import Detection3D, Detection3DArray

from safety_supervisor.replay.command import replay
from safety_supervisor.replay.inputs import Options

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.timeout(240)]

QUICK = {**PATIENT, "allow_unproved": True, "health__radar_timeout": 1.0}
NATIVE = {"plan_type": "autoware", "driver_type": "autoware", "radar_type": "radar_scan"}
STOPS = {"COMFORT_STOP", "FIRM_STOP", "EMERGENCY_STOP"}


class Native(harness.World):
    """The same world in Autoware's messages and radar_msgs."""

    radar_type, plan_type, driver_type = radar.RadarScan, planning.Trajectory, ControlModeReport

    def _driver_message(self):
        mode = ControlModeReport.MANUAL if self.takeover else ControlModeReport.AUTONOMOUS
        return ControlModeReport(stamp=self._stamp(), mode=mode)

    def _radar_message(self):
        message = radar.RadarScan()
        message.header.frame_id, message.header.stamp = self.radar_frame, self._stamp()
        for x, y, _, rate in self._returns():
            found = radar.RadarReturn(range=math.hypot(x, y), azimuth=math.atan2(y, x), doppler_velocity=rate)
            message.returns.append(found)
        return message

    def _plan_message(self):
        message = planning.Trajectory()
        message.header.frame_id, message.header.stamp = "odom", self._stamp()
        for i in range(31):
            point = planning.TrajectoryPoint(longitudinal_velocity_mps=self.speed)
            point.pose.position.x = self.x + self.speed * 0.2 * i
            point.time_from_start.sec, tenths = divmod(2 * i, 10)
            point.time_from_start.nanosec = tenths * 100_000_000
            message.points.append(point)
        return message


@pytest.fixture
def domain(monkeypatch, tmp_path):
    return harness.environment(monkeypatch, tmp_path)


@pytest.fixture
def start(tmp_path, domain):
    running = []

    def starter(module="", *arguments, **values):
        values.setdefault("vehicle_file", harness.VEHICLE)
        process = harness.Process(tmp_path, module, *arguments) if module else harness.supervisor(tmp_path, **values)
        running.append(process)
        return process

    yield starter
    for process in running:
        process.close()
    assert "callback failed" not in "".join(process.said for process in running)


def test_it_drives_and_stops_in_native_messages_and_their_recording_replays(start, domain, tmp_path):
    process = start(**{**QUICK, **NATIVE})
    with harness.world(domain, Native, speed=12.0) as world:
        assert world.configure()
        assert world.activate()
        assert world.run(lambda: world.mode == "NOMINAL"), (world.modes(), world.decisions[-1]["health"])
        assert world.run(lambda: world.status("radar_front").message == "ok")
        world.put_object(35.0)
        assert world.run(lambda: STOPS.intersection(world.modes())), world.modes()
        assert world.run(lambda: world.mode == "STANDSTILL"), world.modes()
        assert world.gap > 0.5
        world.takeover = True
        assert world.run(lambda: world.decisions[-1]["driver"]), world.decisions[-1]
        written = lambda: list((tmp_path / "flight").glob("incident_*.mcap"))  # noqa: E731
        assert world.run(written)
    assert process.stop() == 0
    result = replay(written()[0], tmp_path / "out", Options(report=False))
    assert result["agreement"]["identical"] == result["ticks"] > 0


def test_the_side_on_which_a_scan_sees_something_is_the_side_on_which_it_is(start, domain):
    start(**{**QUICK, **NATIVE})
    with harness.world(domain, Native, speed=8.0) as world:
        world.coasting = True
        assert world.configure()
        assert world.change(3)
        assert world.run(lambda: world.mode == "NOMINAL"), world.decisions[-1]["health"]
        sure = lambda: [t for t in world.decisions[-1]["tracks"] if t[5] > 0.9]  # noqa: E731
        assert world.run(sure), world.decisions[-1]["tracks"]
        assert all(y > 4.0 for _, _, y, *_ in sure()), "the rail is 7 m to the left"


def tracks(world):
    message = radar.RadarTracks()
    message.header.frame_id, message.header.stamp = "ecu", world._stamp()
    one = radar.RadarTrack()
    one.position.x, one.velocity.x, one.size.y = 100.0 - world.x % 40.0, -world.speed, 1.8
    one.position_covariance[:] = [0.1, 0.0, 0.0, 0.1, 0.0, 0.0]
    one.velocity_covariance[:] = [0.1, 0.0, 0.0, 0.1, 0.0, 0.0]
    message.tracks.append(one)
    return message


def control(world):
    message = Control(stamp=world._stamp())
    message.longitudinal.velocity = world.speed
    return message


def ackermann(world):
    message = AckermannDriveStamped()
    message.header.stamp, message.drive.speed = world._stamp(), world.speed
    return message


def predicted(world):
    message = PredictedObjects()
    message.header.frame_id, message.header.stamp = "base_link", world._stamp()
    one = PredictedObject()
    one.kinematics.initial_pose_with_covariance.pose.position.x = 60.0
    message.objects.append(one)
    return message


def detections(world):
    message = Detection3DArray()
    message.header.frame_id, message.header.stamp = "base_link", world._stamp()
    one = Detection3D()
    one.bbox.center.position.x = 60.0
    message.detections.append(one)
    return message


ECU = {"sensors__ecu__kind": "radar_tracks", "sensors__ecu__topic": "more", "sensors__ecu__x": 3.7}
MORE = {
    "radar_tracks": ("ecu", radar.RadarTracks, tracks, ECU),
    "control": ("control", Control, control, {"inputs__control": "more", "control_type": "autoware"}),
    "ackermann": ("control", AckermannDriveStamped, ackermann,
                  {"inputs__control": "more", "control_type": "ackermann"}),
    "objects": ("objects", PredictedObjects, predicted, {"inputs__objects": "more", "objects_type": "autoware"}),
    "detections": ("objects", Detection3DArray, detections, {"inputs__objects": "more", "objects_type": "detections"}),
}  # fmt: skip


@pytest.mark.parametrize("title", MORE)
def test_every_further_message_is_understood(start, domain, title):
    name, kind, make, values = MORE[title]
    start(**{**QUICK, **values, "health__control_timeout": 2.0})
    with harness.world(domain, speed=10.0, gap=5000.0) as world:
        world.coasting = True
        publisher = world.node.create_publisher(kind, "more", qos_profile_sensor_data)
        world.node.create_timer(0.05, lambda: publisher.publish(make(world)))
        assert world.configure()
        assert world.change(3)
        heard = lambda: (s := world.status(name)) and s.message == "ok" and int(values_of(s)["messages"]) > 5  # noqa: E731
        assert world.run(heard), world.message(name)
        assert not [d for d in world.decisions if any(f["code"].endswith("_INVALID") for f in d["health"]["findings"])]


def values_of(status):
    return {pair.key: pair.value for pair in status.values}


def test_mounts_are_taken_from_transforms_or_checked_against_them(start, domain):
    process = start(mounts="check", **QUICK, sensors__radar_front__frame="radar")
    with harness.world(domain, speed=10.0, gap=5000.0) as world:
        world.radar_frame = "radar"
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        publisher = world.node.create_publisher(TFMessage, "/tf_static", latched)
        item = TransformStamped(child_frame_id="radar")
        item.header.frame_id = "base_link"
        item.transform.rotation.w = 1.0
        for x, accepted in ((harness.FRONT - 0.5, False), (harness.FRONT, True)):
            item.transform.translation.x = x
            publisher.publish(TFMessage(transforms=[item]))
            assert world.configure() == accepted
        assert "sensors.radar_front: mount (3.7, 0, 0) is not that of the frame radar, (3.200" in process.said


class TestAutoware:
    """The adapter as Autoware's MRM handler and control meet it."""

    def test_its_services_states_and_trajectories(self, start, domain):
        supervised = start(**{**QUICK, **NATIVE})
        start("safety_supervisor.ros.autoware_adapter", "--ros-args", "-p", "silence:=2.0")
        with harness.world(domain, Native, speed=10.0, gap=5000.0) as world:
            world.coasting = True
            heard = Ns(states=[], out=[], status=[], hazard=[])
            listen = world.node.create_subscription
            listen(MrmState, "mrm_state", heard.states.append, 10)
            listen(planning.Trajectory, "trajectory_out", heard.out.append, 10)
            listen(MrmBehaviorStatus, "comfortable_stop/status", lambda m: heard.status.append(m.state), 10)
            listen(HazardLightsCommand, "hazard_lights_cmd", lambda m: heard.hazard.append(m.command), 10)
            assert world.configure()
            assert world.change(3)
            assert world.run(lambda: world.mode == "NOMINAL" and heard.out and heard.states), world.modes()
            assert (heard.states[-1].state, heard.states[-1].behavior) == (MrmState.NORMAL, MrmState.NONE)
            assert heard.out[-1].points[0].longitudinal_velocity_mps == pytest.approx(10.0, abs=0.2)
            assert world.run(lambda: heard.status[-1:] == [MrmBehaviorStatus.AVAILABLE])
            service = "comfortable_stop/operate"
            assert world.call(OperateMrm, service, OperateMrm.Request(operate=True)).response.success
            stopping = lambda: heard.states[-1].state == MrmState.MRM_OPERATING  # noqa: E731
            assert world.run(stopping), heard.states[-1]
            assert heard.states[-1].behavior == MrmState.COMFORTABLE_STOP
            lights = lambda: heard.hazard[-1] == HazardLightsCommand.ENABLE  # noqa: E731
            assert world.run(lambda: lights() and heard.status[-1] == MrmBehaviorStatus.OPERATING)
            assert world.run(lambda: heard.out[-1].points[-1].longitudinal_velocity_mps == 0.0)
            assert heard.out[-1].points[0].acceleration_mps2 <= 0.0
            assert world.call(OperateMrm, service, OperateMrm.Request(operate=False)).response.success
            assert world.run(lambda: world.mode == "NOMINAL"), world.modes()
            supervised.popen.kill()
            assert world.run(lambda: heard.status[-1] == MrmBehaviorStatus.NOT_AVAILABLE)
            answer = world.call(OperateMrm, service, OperateMrm.Request(operate=True)).response
            assert (answer.success, answer.message) == (False, "the supervisor is silent")
