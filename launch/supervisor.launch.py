"""Start the supervisor and bring it to active; with `gate:=true` the command gate as well.

    ros2 launch safety_supervisor supervisor.launch.py vehicle:=passenger_car
    ros2 launch safety_supervisor supervisor.launch.py vehicle_file:=/etc/my_car.yaml namespace:=car1 gate:=true

Without a proof certificate that matches the vehicle file the supervisor only watches (shadow mode). The node brings
itself to active (parameter `autostart`): lifecycle requests from here would get lost after a respawn, while the killed
process is still advertised. Works with humble and newer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription
from safety_supervisor import vehicle_file
from safety_supervisor.ros import launch_arguments

PACKAGE = "safety_supervisor"
ARGUMENTS = {
    "vehicle": ("passenger_car", "name of a vehicle file of this package"),
    "vehicle_file": ("", "path of a vehicle file; it stands before `vehicle`"),
    "namespace": ("", "namespace of the nodes and of all their relative topics"),
    "shadow": ("false", "judge and publish decisions, command nothing; the gate passes every plan as it comes"),
    "allow_unproved": ("false", "arm without a proof certificate: simulation and tests only"),
    "plan_type": ("trajectory", "message type of the plan: trajectory, path or autoware"),
    "radar_type": ("pointcloud2", "message type of the radars: pointcloud2 or radar_scan"),
    "driver_type": ("bool", "message type of the takeover: bool or autoware"),
    "recorder_folder": ("", "where flight recordings go; empty: below the ROS log folder"),
    "use_sim_time": ("false", "tick on /clock"),
    "autostart": ("true", "configure and activate; false leaves that to a lifecycle manager"),
    "respawn": ("false", "start a node again when it dies; it comes back without any memory"),
    "gate": ("false", "start the command gate, which executes the fallback when the supervisor is silent"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; the nodes follow when their values are known."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_nodes)])


def _nodes(context: Any) -> list[Any]:
    values = launch_arguments.checked(ARGUMENTS, context.launch_configurations)
    common = {
        "package": PACKAGE,
        "namespace": values["namespace"],
        "output": "screen",
        "emulate_tty": True,
        "respawn": _flag(values, "respawn"),
        "respawn_delay": 1.0,
        "ros_arguments": ["--log-level", values["log_level"]],
    }
    shared: dict[str, Any] = {name: _flag(values, name) for name in ("use_sim_time", "shadow")}
    shared |= {"vehicle_file": str(_vehicle(values)), "plan_type": values["plan_type"]}
    own: dict[str, Any] = {name: _flag(values, name) for name in ("allow_unproved", "autostart")}
    own |= {name: values[name] for name in ("radar_type", "driver_type", "recorder_folder")}
    supervisor = LifecycleNode(
        executable="supervisor_node", name="safety_supervisor", parameters=[shared | own], **common
    )
    actions: list[Any] = [supervisor]
    if _flag(values, "gate"):
        actions.append(Node(executable="command_gate", name="command_gate", parameters=[shared], **common))
    return actions


def _flag(values: dict[str, str], name: str) -> bool:
    return values[name] == "true"


def _vehicle(values: dict[str, str]) -> Path:
    if values["vehicle_file"]:
        path = Path(values["vehicle_file"]).expanduser()
        if not path.is_file():
            raise ValueError(f"vehicle_file:={path} is not a file, expected a YAML vehicle file")
        return path.resolve()
    known = vehicle_file.vehicles()
    if values["vehicle"] not in known:
        raise ValueError(f"vehicle:={values['vehicle']} is not known, expected {' or '.join(known)}")
    return known[values["vehicle"]]
