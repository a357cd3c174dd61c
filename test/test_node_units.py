"""Parameters, messages and the loop of the node, without a node process."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import deserialize_message, serialize_message
from trajectory_msgs.msg import MultiDOFJointTrajectory

from safety_supervisor import messages, vehicle_file
from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config, ConfigError, Sensor, from_mapping, to_mapping
from safety_supervisor.core.world import (
    Code,
    Finding,
    Health,
    Inputs,
    Mode,
    Odometry,
    Plan,
    Severity,
)
from safety_supervisor.ros import loop as loop_module
from safety_supervisor.ros import outputs, parameters, sources
from safety_supervisor.ros.loop import Loop, Meter, failed_decision
from safety_supervisor.ros.markers import markers
from safety_supervisor.ros.node import arming
from safety_supervisor.ros.outputs import Frames, Vitals

VEHICLE = Path(__file__).resolve().parents[1] / "config" / "passenger_car.yaml"
SENSORS = {"front": {"kind": "radar", "topic": "radar/front"}, "left": {"kind": "ultrasonic", "topic": "us/left"}}
CONFIG = from_mapping({"sensors": SENSORS})
START, STEP = supervisor.start, supervisor.step  # the real ones, whatever a test puts in their place


def flat(data, prefix=""):
    """Nested groups as ROS parameters: by dotted name."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# --- parameters ---------------------------------------------------------------------------------------------


def test_every_parameter_survives_the_way_through_ros_names():
    _, config = parameters.load(dict(flat(to_mapping(CONFIG))))
    assert config == CONFIG


def test_the_vehicle_file_is_read_and_single_parameters_stand_over_it():
    plain = vehicle_file.load(VEHICLE)
    settings, config = parameters.load({"vehicle_file": str(VEHICLE), "corridor.margin": 0.35, "shadow": True})
    assert settings.shadow
    assert config.corridor.margin == 0.35
    assert dataclasses.replace(config, corridor=plain.corridor, certificate=plain.certificate) == plain
    assert config.certificate is None, "the certificate of the file does not prove another parameter set"


def test_a_matching_certificate_arms_and_another_value_disarms(tmp_path):
    path = tmp_path / "car.yaml"
    path.write_text(VEHICLE.read_text())
    proved = vehicle_file.certificate_path(path)
    vehicle_file.write_certificate(proved, vehicle_file.load(path), [{"claim": "c", "result": "PROVED"}], {})
    assert arming(*parameters.load({"vehicle_file": str(path)})) == (True, "")
    armed, why_not = arming(*parameters.load({"vehicle_file": str(path), "corridor.margin": 0.35}))
    assert (armed, why_not.split(":")[0]) == (False, "SHADOW")
    armed, why_not = arming(*parameters.load({"vehicle_file": str(path), "shadow": True}))
    assert (armed, why_not.split(":")[0]) == (False, "SHADOW")
    flat_file = dict(flat(to_mapping(vehicle_file.load(path))))
    assert not arming(*parameters.load(flat_file))[0]
    assert arming(*parameters.load(flat_file | {"certificate": str(proved)}))[0]


def test_an_integer_counts_as_a_float():
    assert parameters.load({"odd.speed_max": 20})[1].odd.speed_max == 20.0


def test_parameters_of_every_node_are_not_ours():
    overrides = {"use_sim_time": True, "qos_overrides./clock.subscription.depth": 3}
    assert parameters.load(overrides)[1] == Config()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"shadw": True}, "unknown key shadw = True, did you mean shadow?"),
        ({"vehicel.mass": 1000.0}, "unknown key vehicel.mass = 1000.0, did you mean vehicle?"),
        ({"vehicle.mas": 1000.0}, "unknown key vehicle.mas, did you mean vehicle.mass?"),
        ({"shadow": "yes"}, "shadow = 'yes' must be bool"),
        ({"plan_type": "spline"}, "plan_type = 'spline' must be one of 'trajectory', 'path', 'autoware'"),
        ({"odd.speed_max": 400.0}, "odd.speed_max = 400.0 is outside [0.1, 60] m/s"),
        ({"odd.speed_max": math.nan}, "odd.speed_max = nan is outside"),
        ({"odd.speed_max": "fast"}, "odd.speed_max = 'fast' must be float"),
        ({"odd": 3}, "odd = 3 must be a mapping"),
        ({"odd": 3, "odd.speed_max": 3.0}, "odd is both a value and a group"),
        ({"sensors.front.kind": "lidar"}, "sensors.front.kind = 'lidar' must be one of"),
        ({"vehicle_file": "/does/not/exist.yaml"}, "vehicle_file = '/does/not/exist.yaml': No such file"),
        ({"vehicle_file": "/"}, "vehicle_file = '/'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(overrides, said):
    with pytest.raises(ConfigError) as caught:
        parameters.load(overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_descriptors_carry_unit_range_and_reason():
    settings = parameters.Settings()
    specs = {name: spec for name, _, spec in parameters.declarations(settings, CONFIG)}
    brake = parameters.descriptor(specs["envelope.assumed_brake"])
    assert brake.read_only
    assert "[m/s^2]" in brake.description
    assert (brake.floating_point_range[0].from_value, brake.floating_point_range[0].to_value) == (0.5, 12.0)
    assert parameters.descriptor(specs["tracking.tracks_max"]).integer_range[0].to_value == 2000
    assert "one of" in parameters.descriptor(specs["sensors.front.kind"]).additional_constraints
    assert all(parameters.descriptor(spec).description for spec in specs.values())


def test_every_input_has_a_source():
    found = {source.name: source for source in sources.sources(CONFIG, parameters.Settings(plan_type="path"))}
    assert list(found) == ["odometry", "plan", "driver", "release", "mrm", "front", "left"]
    assert found["plan"].type_name == "nav_msgs/msg/Path"
    assert found["left"].message.__name__ == "Range"


def test_a_shadow_does_not_ask_who_drives():
    found = sources.sources(CONFIG, parameters.Settings(shadow=True))
    assert "driver" not in {source.name for source in found}


def test_a_sensor_may_ask_for_more_than_best_effort():
    asked = dataclasses.replace(dict(CONFIG.sensors)["front"], reliable=True, depth=3, deadline=0.1)
    config = dataclasses.replace(CONFIG, sensors=(("front", asked),))
    qos = {s.name: s.qos for s in sources.sources(config, parameters.Settings())}
    assert (qos["front"].reliability.name, qos["front"].depth) == ("RELIABLE", 3)
    assert qos["front"].deadline.nanoseconds == 100_000_000
    assert qos["odometry"].reliability.name == "BEST_EFFORT"
    assert qos["release"].reliability.name == "RELIABLE"


def test_a_message_package_that_is_missing_is_named():
    pytest.importorskip("sensor_msgs")
    config = dataclasses.replace(CONFIG, sensors=(("ecu", Sensor(kind="radar_tracks", topic="tracks")),))
    if sources.importlib.util.find_spec("radar_msgs"):
        pytest.skip("radar_msgs is installed here")
    with pytest.raises(ConfigError, match=r"sensors\.ecu\.kind needs radar_msgs/msg/RadarTracks"):
        sources.sources(config, parameters.Settings())


# --- messages -----------------------------------------------------------------------------------------------


def ramp(t: int = 5_000_000_123) -> Plan:
    time = np.linspace(0.0, 3.0, 7)
    return Plan(t, time, 10 * time, 0.1 * time, np.full(7, 3.1), 10.0 - 2 * time)


@pytest.mark.parametrize("frames", [Frames(), Frames("odom_x"), Frames("map", "b"), Frames("o" * 9, "base")])
def test_a_trajectory_comes_back_as_it_was(frames):
    plan = ramp()
    raw = outputs.trajectory(plan, frames)
    message = deserialize_message(raw, MultiDOFJointTrajectory)
    written = serialize_message(message)  # the same but for the padding, which is left as it was in memory
    assert (len(written), deserialize_message(written, MultiDOFJointTrajectory)) == (len(raw), message)
    assert (message.header.frame_id, list(message.joint_names)) == (frames.odom, [frames.base])
    binding = messages.Binding("plan", "plan")
    back = messages.convert(message, parameters.PLAN_TYPES["trajectory"], binding, 0, CONFIG, frames.odom)
    assert back.t == plan.t
    for name in ("time", "x", "y", "yaw", "speed"):
        assert np.allclose(getattr(back, name), getattr(plan, name), atol=1e-9), name
    assert message.points[3].accelerations[0].linear.x == pytest.approx(-2.0)


def test_a_trajectory_without_points_is_a_message_too():
    message = deserialize_message(outputs.empty_trajectory(7, Frames()), MultiDOFJointTrajectory)
    assert (message.header.stamp.nanosec, message.points) == (7, [])


def decision(config=CONFIG, **changes):
    """A real decision: one tick of the supervisor on an odometry, with the changes asked for."""
    odometry = Odometry(1_000_000_000, 0.0, 0.0, 0.0, 5.0, 0.0)
    inputs = Inputs(odometry=(odometry,), consumed=((config.inputs.odometry, 1),))
    _, made = STEP(START(config), inputs, 1_010_000_000, config)
    return dataclasses.replace(made, **changes)


def statuses(decided, **vitals):
    found = sources.sources(CONFIG, parameters.Settings())
    state = Vitals(**({"state": "active", "armed": True, "why_not": ""} | vitals))
    array = outputs.diagnostics("node", 1, state, decided, found)
    return {status.name.removeprefix("node: "): status for status in array.status}


def test_diagnostics_name_the_sensor_and_the_cause():
    finding = Finding(Code.RADAR_STALE, "front", "last scan 0.4 s ago")
    sick = Health(Severity.DEGRADED, (finding,))
    said = statuses(decision(health=sick), arrivals={"front": (7, 0.4), "left": (3, 0.1)})
    assert said["front"].level == DiagnosticStatus.ERROR
    assert said["front"].message == "RADAR_STALE: last scan 0.4 s ago"
    assert {v.key: v.value for v in said["front"].values}["age_s"] == "0.4"
    assert said["left"].level == DiagnosticStatus.OK


def test_the_worst_level_wins_and_everything_is_said():
    said = statuses(decision(mode=Mode.NOMINAL), overrun=True, error="KeyError: 1", why_not="UNPROVED: so")
    assert said["supervisor"].level == DiagnosticStatus.ERROR
    for word in ("INTERNAL_ERROR", "OVERRUN", "UNPROVED"):
        assert word in said["supervisor"].message


def test_control_a_healthy_node_says_ok():
    said = statuses(decision(mode=Mode.NOMINAL, reasons=(), health=Health()))
    assert said["supervisor"].level == DiagnosticStatus.OK


def test_diagnostics_carry_the_hash_of_the_certificate():
    proved = statuses(decision(certificate="abc"))["supervisor"]
    assert {v.key: v.value for v in proved.values}["certificate"] == "abc"
    unproved = statuses(decision(certificate=None))["supervisor"]
    assert {v.key: v.value for v in unproved.values}["certificate"] == "none"


def test_without_a_decision_diagnostics_still_go_out():
    assert statuses(None)["supervisor"].level == DiagnosticStatus.WARN


def test_markers_are_complete_messages():
    array = markers(decision(fallback=ramp(), path=np.array([[0.0, 0.0], [5.0, 0.0], [9.0, 1.0]])), Frames())
    spaces = {marker.ns for marker in array.markers}
    assert "margin" not in spaces, "nothing is in the way"
    assert {"mode", "fallback", "path", "corridor"} <= spaces
    assert len({(marker.ns, marker.id) for marker in array.markers}) == len(array.markers)


@pytest.mark.parametrize(("margin", "end"), [(4.0, 4.0), (-2.0, -2.0)])
def test_the_margin_is_drawn_from_where_the_fallback_ends(margin, end):
    straight = Plan(1, [0.0, 2.0], [0.0, 10.0], [0.0, 0.0], [0.0, 0.0], [10.0, 0.0])
    made = decision(fallback=straight)
    made = dataclasses.replace(made, assessment=dataclasses.replace(made.assessment, margin=margin))
    (line,) = [m for m in markers(made, Frames()).markers if m.ns == "margin"]
    assert [p.x for p in line.points] == pytest.approx([10.0, 10.0 + end])


# --- the loop -----------------------------------------------------------------------------------------------


@pytest.fixture
def broken_step(monkeypatch):
    """The first tick is as it should be, every later one raises."""

    def step(state, inputs, t, config):
        if state == "broken":
            raise KeyError("no such track")
        return "broken", decision(fallback=ramp(t))

    monkeypatch.setattr(loop_module.supervisor, "step", step)
    monkeypatch.setattr(loop_module.supervisor, "start", lambda config, executed: "sound")


def test_an_exception_becomes_an_emergency_stop_that_stays(broken_step):
    loop = Loop(CONFIG)
    first = loop.tick(1_000_000_000)
    second, third = loop.tick(1_050_000_000), loop.tick(9_000_000_000)
    assert second.mode is Mode.EMERGENCY_STOP
    assert second.command is first.fallback
    assert second.reasons[0].code is Code.INTERNAL_ERROR
    assert "KeyError" in loop.error
    assert "Traceback" in loop.trace
    assert (second.hold, third.hold) == (False, True)
    messages.json_line(messages.decision_record(second))


def test_a_decision_that_cannot_be_published_is_an_internal_error(broken_step):
    loop = Loop(CONFIG)
    loop.tick(1_000_000_000)
    loop.fail(ValueError("no message"))
    assert loop.tick(1_050_000_000).reasons[0].code is Code.INTERNAL_ERROR
    assert loop.error == "ValueError: no message"


def test_a_driver_is_respected_after_an_exception_too(broken_step):
    loop = Loop(CONFIG)
    loop.tick(1_000_000_000)
    loop.add(CONFIG.inputs.driver, "std_msgs/msg/Bool", type("Bool", (), {"data": True})(), 1_020_000_000)
    assert loop.tick(1_050_000_000).command is None
    assert loop.last_command() is None


def test_an_exception_in_the_first_tick_is_unable():
    made = failed_decision(None, Inputs(), 1, CONFIG, "ValueError: x", driver=False)
    assert (made.mode, made.command) == (Mode.UNABLE, None)
    messages.json_line(messages.decision_record(made))
    outputs.diagnostics("node", 1, Vitals("active", True, ""), made, ())
    markers(made, Frames())


def test_a_late_tick_is_counted():
    meter = Meter(CONFIG)
    period, overrun = 50_000_000, 10_000_000
    for now in (0, period, 2 * period + overrun, 3 * period + 3 * overrun):
        meter.begin(now)
        meter.end()
    assert (meter.ticks, meter.late) == (4, 1)
    assert meter.late_ms_max == pytest.approx(10.0)
    meter.arrived("front", 0)
    assert meter.ages(500_000_000) == {"front": (1, 0.5)}
