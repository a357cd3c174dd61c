"""Run the supervisor in Autoware: its topic names, MRM states and operate services.

    ros2 launch safety_supervisor autoware.launch.py vehicle:=passenger_car

The planner's trajectory comes in at `trajectory_in`, what is to be executed goes out at `trajectory_out`: let the
control component listen there. Autoware's MRM handler finds the operators comfortable_stop and emergency_stop here, in
place of its own. Works with humble and newer; needs the packages autoware_planning_msgs, autoware_vehicle_msgs,
autoware_adapi_v1_msgs and tier4_system_msgs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node, SetRemap

from launch import LaunchDescription
from safety_supervisor.ros import launch_arguments

PACKAGE = "safety_supervisor"
SUPERVISOR = Path(__file__).with_name("supervisor.launch.py")
OWN = {
    "trajectory_in": ("/planning/scenario_planning/trajectory", "the planner's trajectory"),
    "trajectory_out": ("/planning/trajectory", "the supervised trajectory"),
    "odometry": ("/localization/kinematic_state", "ego's motion"),
    "control_mode": ("/vehicle/status/control_mode", "who drives"),
    "radar": ("/sensing/radar/front_center/detection_points", "the front radar"),
    "messages": ("autoware", "autoware, or standard for systems without its packages"),
}
PASSED = {
    "vehicle": ("passenger_car", "name of a vehicle file of this package"),
    "vehicle_file": ("", "path of a vehicle file; it stands before `vehicle`"),
    "shadow": ("false", "judge and publish decisions; everything is passed as it comes"),
    "allow_unproved": ("false", "arm without a proof certificate: simulation and tests only"),
    "radar_type": ("pointcloud2", "message type of the radars: pointcloud2 or radar_scan"),
    "use_sim_time": ("false", "tick on /clock"),
    "respawn": ("false", "start a node again when it dies"),
}
SUPERVISED = {"trajectory_in": "policy/trajectory", "odometry": "vehicle/odometry",
              "control_mode": "vehicle/driver_takeover", "radar": "radar/front/points"}  # fmt: skip
"""Argument -> the supervisor's topic that it is the name of."""
SYSTEM = {
    "mrm_state": "/system/fail_safe/mrm_state",
    "hazard_lights_cmd": "/system/emergency/hazard_lights_cmd",
    "comfortable_stop/operate": "/system/mrm/comfortable_stop/operate",
    "comfortable_stop/status": "/system/mrm/comfortable_stop/status",
    "emergency_stop/operate": "/system/mrm/emergency_stop/operate",
    "emergency_stop/status": "/system/mrm/emergency_stop/status",
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; the nodes follow when their values are known."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in (OWN | PASSED).items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_nodes)])


def _nodes(context: Any) -> list[Any]:
    values = launch_arguments.checked(OWN | PASSED, context.launch_configurations)
    launch_arguments.different(values, "trajectory_in", "trajectory_out")
    native = values["messages"] == "autoware"
    passed = {name: values[name] for name in PASSED}
    passed |= {"plan_type": "autoware", "driver_type": "autoware"} if native else {}
    supervisor = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SUPERVISOR)), launch_arguments=passed.items()
    )
    remaps = [SetRemap(src=topic, dst=values[name]) for name, topic in SUPERVISED.items()]
    adapter = Node(
        package=PACKAGE, executable="autoware_adapter", name="autoware_adapter", output="screen",
        parameters=[{"messages": values["messages"]} | {n: values[n] == "true" for n in ("use_sim_time", "shadow")}],
        remappings=[*SYSTEM.items(), *((name, values[name]) for name in ("trajectory_in", "trajectory_out"))],
        respawn=values["respawn"] == "true", respawn_delay=1.0,
    )  # fmt: skip
    return [GroupAction([*remaps, supervisor]), adapter]
