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


RCLPY_IN_HUMBLE = {
    "rclpy.clock": {"Clock", "ClockType"},
    "rclpy.duration": {"Duration"},
    "rclpy.exceptions": {"NameValidationException"},
    "rclpy.executors": {"ExternalShutdownException", "SingleThreadedExecutor"},
    "rclpy.lifecycle": {"LifecycleNode", "LifecycleState", "TransitionCallbackReturn"},
    "rclpy.node": {"Node"},
    "rclpy.qos": {"DurabilityPolicy", "HistoryPolicy", "QoSProfile", "ReliabilityPolicy"},
    "rclpy.qos_event": {"SubscriptionEventCallbacks"},
    "rclpy.serialization": {"deserialize_message"},
    "rclpy.signals": {"SignalHandlerOptions"},
}
"""Read in its sources, release 3.3; test_node_process.py runs a node with the others taken away."""


def test_what_humble_lacks_of_rclpy_is_imported_only_where_its_absence_is_provided_for():
    guarded, newer = set(), set()
    for file in sorted((ROOT / "safety_supervisor" / "ros").glob("*.py")):
        provided = [node for block in ast.walk(tree(file)) if isinstance(block, ast.Try) for node in ast.walk(block)]
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rclpy"):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                names -= {f"{node.module}.{name}" for name in RCLPY_IN_HUMBLE.get(str(node.module), ())}
                at = any(isinstance(n, ast.ImportFrom) and n.lineno == node.lineno for n in provided)
                (guarded if at else newer).update(names)
    assert guarded == {"rclpy.experimental.EventsExecutor", "rclpy.event_handler.SubscriptionEventCallbacks"}
    assert newer == set()


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


# --- the values, checked before anything starts ---------------------------------------------------------------------


@pytest.fixture
def arguments():
    return pytest.importorskip("safety_supervisor.ros.launch_arguments", reason="needs ROS 2")


DEFAULTS = {"shadow": "false", "plan_type": "trajectory", "log_level": "info", "vehicle": "passenger_car"}


def test_flags_and_choices_are_understood_in_any_case(arguments):
    given = DEFAULTS | {"shadow": "True", "log_level": "WARN", "vehicle": "My_Car", "of_another_launch_file": "x"}
    assert arguments.checked(DEFAULTS, given) == DEFAULTS | {"shadow": "true", "log_level": "warn", "vehicle": "My_Car"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("shadow", "yes", "shadow:=yes is not understood, expected true or false"),
        ("plan_type", "pth", "is not understood, expected trajectory or path or autoware, did you mean path?"),
        ("log_level", "inof", "did you mean info?"),
        ("shadwo", "true", "shadwo:=true is no argument, did you mean shadow?"),
        ("vehicel", "x", "vehicel:=x is no argument, did you mean vehicle?"),
    ],
)
def test_what_is_not_understood_is_one_line_that_names_the_argument(arguments, name, value, said):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        arguments.checked(DEFAULTS, DEFAULTS | {name: value})
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["use_namespace", "use_respawn", "params_file", "map", "gate"])
def test_control_arguments_of_an_including_launch_file_pass(arguments, name):
    known = {*DEFAULTS, "namespace", "respawn"}
    given = DEFAULTS | {"namespace": "", "respawn": "false", name: "anything"}
    assert arguments.checked(known, given).keys() == known


def test_a_command_that_would_come_back_as_one_is_refused(arguments):
    arguments.different({"cmd_vel_in": "a", "cmd_vel_out": "b"}, "cmd_vel_in", "cmd_vel_out")
    with pytest.raises(ValueError, match="cmd_vel_in:=/a and cmd_vel_out:=a are one topic"):
        arguments.different({"cmd_vel_in": "/a", "cmd_vel_out": "a"}, "cmd_vel_in", "cmd_vel_out")


@pytest.mark.parametrize("file", FILES, ids=[f.name for f in FILES])
def test_every_argument_with_few_values_is_checked(arguments, file):
    tables = [constant(file, name) for name in ("ARGUMENTS", "OWN", "PASSED") if f"\n{name} = " in file.read_text()]
    defaults = {name: ast.literal_eval(value.elts[0]) for table in tables for name, value in table.items()
                if isinstance(value.elts[0], ast.Constant)}  # fmt: skip
    flags = {name for name, default in defaults.items() if default in ("true", "false")}
    assert flags <= {*arguments.FLAGS}
    assert arguments.checked(defaults, defaults) == defaults
    assert "launch_arguments.checked(" in file.read_text()


# --- the entry points -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(KeyboardInterrupt(), 130, "interrupted before"), (ImportError("No module named 'rclpy'"), 2, "is ROS 2 sourced")],
)
def test_a_node_that_cannot_be_imported_is_one_line(monkeypatch, capsys, error, code, said):
    from safety_supervisor.ros import start

    def failing(name):
        raise error

    monkeypatch.setattr(start.importlib, "import_module", failing)
    for entry in (start.supervisor_node, start.command_gate, start.twist_adapter, start.autoware_adapter):
        assert entry() == code
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
