"""The launch file: its text wherever the tests run, its description where launch is installed."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "launch" / "supervisor.launch.py"
# Since when the oldest supported distribution, humble, has them.
IN_HUMBLE = {
    "launch": {"LaunchDescription"},
    "launch.actions": {"DeclareLaunchArgument", "OpaqueFunction"},
    "launch.substitutions": {"LaunchConfiguration"},
    "launch_ros.actions": {"LifecycleNode", "Node"},
}


def tree() -> ast.Module:
    return ast.parse(FILE.read_text(), str(FILE))


def test_only_what_the_oldest_distribution_has_is_imported():
    used: dict[str, set[str]] = {}
    for node in ast.walk(tree()):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("launch"):
            used.setdefault(node.module, set()).update(alias.name for alias in node.names)
    assert used
    newer = {module: names - IN_HUMBLE.get(module, set()) for module, names in used.items()}
    assert {module: names for module, names in newer.items() if names} == {}


def test_every_executable_is_an_entry_point():
    wanted = {
        keyword.value.value
        for node in ast.walk(tree())
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "executable" and isinstance(keyword.value, ast.Constant)
    }
    setup = (ROOT / "setup.py").read_text()
    assert wanted == {"supervisor_node", "command_gate"}
    assert [name for name in wanted if f'"{name} = safety_supervisor.ros.' not in setup] == []


def test_every_parameter_that_it_passes_is_known_to_the_node():
    parameters = pytest.importorskip("safety_supervisor.ros.parameters", reason="needs ROS 2")
    names = {
        node.value
        for node in ast.walk(tree())
        if isinstance(node, ast.Constant) and node.value in {"vehicle_file", "shadow", "allow_unproved", "autostart"}
    }
    assert names <= {field.name for field in parameters.fields(parameters.Settings)}
    assert len(names) == 4


@pytest.fixture
def launch_file():
    pytest.importorskip("launch_ros", reason="launch is not on PyPI")
    spec = importlib.util.spec_from_file_location("supervisor_launch", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entities(launch_file, **values: str):
    from launch import LaunchContext

    context = LaunchContext()
    for name, (default, _) in launch_file.ARGUMENTS.items():
        context.launch_configurations[name] = values.get(name, default)
    return launch_file._nodes(context)


def test_it_starts_the_supervisor_and_the_gate_on_request(launch_file):
    assert len(launch_file.generate_launch_description().entities) == len(launch_file.ARGUMENTS) + 1
    assert len(entities(launch_file)) == 1
    assert len(entities(launch_file, gate="true")) == 2


@pytest.mark.parametrize(
    ("name", "value"), [("vehicle", "no_such_car"), ("vehicle_file", "/does/not/exist.yaml"), ("shadow", "maybe")]
)
def test_a_wrong_argument_is_refused_by_name(launch_file, name, value):
    with pytest.raises(ValueError, match=f"{name}:={value}"):
        entities(launch_file, **{name: value})
