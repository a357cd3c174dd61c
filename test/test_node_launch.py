"""The launch file: its text wherever the tests run, its description where launch is installed."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "launch" / "supervisor.launch.py"
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
# Since when the oldest supported distribution, humble, has them.
IN_HUMBLE = {
    "launch": {"LaunchDescription"},
    "launch.actions": {"DeclareLaunchArgument", "GroupAction", "IncludeLaunchDescription", "OpaqueFunction"},
    "launch.launch_description_sources": {"PythonLaunchDescriptionSource"},
    "launch.substitutions": {"LaunchConfiguration"},
    "launch_ros.actions": {"LifecycleNode", "Node", "SetRemap"},
}


def tree(file: Path = FILE) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


@pytest.mark.parametrize("file", FILES, ids=[f.name for f in FILES])
def test_only_what_the_oldest_distribution_has_is_imported(file):
    used: dict[str, set[str]] = {}
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("launch"):
            used.setdefault(node.module, set()).update(alias.name for alias in node.names)
    assert used
    newer = {module: names - IN_HUMBLE.get(module, set()) for module, names in used.items()}
    assert {module: names for module, names in newer.items() if names} == {}


def test_every_executable_is_an_entry_point():
    wanted = {
        keyword.value.value
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "executable" and isinstance(keyword.value, ast.Constant)
    }
    setup = (ROOT / "setup.py").read_text()
    assert wanted == {"supervisor_node", "command_gate", "twist_adapter", "autoware_adapter"}
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


def constant(file: Path, name: str) -> dict[str, object]:
    """Value of a table at the top of a launch file."""
    for node in tree(file).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            assert isinstance(node.value, ast.Dict)
            return {ast.literal_eval(key): value for key, value in zip(node.value.keys, node.value.values, strict=True)}
    raise AssertionError(f"{file.name} has no {name}")


@pytest.mark.parametrize("file", [f for f in FILES if f != FILE], ids=lambda f: f.stem)
def test_what_an_adapter_passes_on_is_an_argument_of_the_supervisor(file):
    known = constant(FILE, "ARGUMENTS")
    assert constant(file, "PASSED").keys() <= known.keys()
    assert not constant(file, "OWN").keys() & known.keys()


def test_topics_that_are_renamed_are_those_of_the_nodes():
    supervised = constant(ROOT / "launch" / "autoware.launch.py", "SUPERVISED")
    vehicle = (ROOT / "config" / "passenger_car.yaml").read_text()
    assert [ast.literal_eval(topic) for topic in supervised.values() if ast.literal_eval(topic) not in vehicle] == []
    adapter = (ROOT / "safety_supervisor" / "ros" / "autoware_adapter.py").read_text()
    parts = {part for name in constant(ROOT / "launch" / "autoware.launch.py", "SYSTEM") for part in name.split("/")}
    assert [part for part in parts if part not in adapter] == []


@pytest.mark.parametrize("file", [f for f in FILES if f != FILE], ids=lambda f: f.stem)
def test_the_adapters_are_described(file):
    pytest.importorskip("launch_ros", reason="launch is not on PyPI")
    from launch import LaunchContext

    spec = importlib.util.spec_from_file_location(file.stem.replace(".", "_"), file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(module.generate_launch_description().entities) > len(module.OWN)
    context = LaunchContext()
    for name, (default, _) in (module.OWN | module.PASSED).items():
        context.launch_configurations[name] = default
    assert (module._adapter if hasattr(module, "_adapter") else module._nodes)(context)


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
