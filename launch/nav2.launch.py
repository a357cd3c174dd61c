"""Guard a robot base under Nav2: velocity commands in, supervised velocity commands out.

    ros2 launch safety_supervisor nav2.launch.py vehicle_file:=base.yaml cmd_vel_in:=cmd_vel_smoothed

Let the last node of Nav2's chain (velocity smoother or collision monitor) publish `cmd_vel_in`, and the base listen to
`cmd_vel_out`. Works with humble and newer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription
from safety_supervisor.ros import launch_arguments

PACKAGE = "safety_supervisor"
SUPERVISOR = Path(__file__).with_name("supervisor.launch.py")
EXAMPLE = Path(__file__).parents[1] / "config" / "examples" / "robot_base.yaml"
OWN = {
    "cmd_vel_in": ("cmd_vel_smoothed", "velocity commands of Nav2"),
    "cmd_vel_out": ("cmd_vel", "velocity commands to the base"),
    "stamped": ("false", "TwistStamped on both topics"),
}
PASSED = {
    "vehicle_file": (str(EXAMPLE), "path of a vehicle file; the default is an example to start from"),
    "namespace": ("", "namespace of the nodes and of all their relative topics"),
    "shadow": ("false", "judge and publish decisions; everything is passed as it comes"),
    "allow_unproved": ("false", "arm without a proof certificate: simulation and tests only"),
    "use_sim_time": ("false", "tick on /clock"),
    "respawn": ("false", "start a node again when it dies"),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, include the supervisor, add the adapter."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in (OWN | PASSED).items()
    ]
    passed = {name: LaunchConfiguration(name) for name in PASSED}
    supervisor = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SUPERVISOR)), launch_arguments=passed.items()
    )
    check = OpaqueFunction(function=_check)  # before anything starts
    return LaunchDescription([*declared, check, supervisor, OpaqueFunction(function=_adapter)])


def _check(context: Any) -> list[Any]:
    values = launch_arguments.checked(OWN | PASSED, context.launch_configurations)
    launch_arguments.different(values, "cmd_vel_in", "cmd_vel_out")
    return []


def _adapter(context: Any) -> list[Any]:
    values = launch_arguments.checked(OWN | PASSED, context.launch_configurations)
    parameters = {name: values[name] == "true" for name in ("stamped", "use_sim_time", "shadow")}
    return [
        Node(
            package=PACKAGE, executable="twist_adapter", name="twist_adapter", namespace=values["namespace"],
            output="screen", parameters=[parameters], respawn=values["respawn"] == "true", respawn_delay=1.0,
            remappings=[(name, values[name]) for name in ("cmd_vel_in", "cmd_vel_out")],
        )
    ]  # fmt: skip
