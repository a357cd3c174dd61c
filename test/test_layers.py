"""Who may import whom, checked on the syntax tree; the table of docs/architecture.md as code.

The core is read from the bottom: a module imports from its own layer, without a cycle, or from a lower one.
The edges (ros, replay, prove, ...) import the core and the shared modules, and not each other. Every library
that ties the code to a world outside has one owner. A module without a place in the tables is a finding: it
gets its line here first.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.smoke

NAME = "safety_supervisor"
ROOT = Path(__file__).resolve().parents[1] / NAME

# Module or folder of core/ -> its layer.
LAYERS = {
    "config": 0,
    "world": 0,
    "motion": 1,
    "envelopes": 1,
    "geometry": 1,
    "paths": 1,
    "tracking": 2,
    "plan_check": 3,
    "policy_watch": 3,
    "doppler_sign": 3,
    "foresight": 3,
    "delivery": 3,
    "shift": 3,
    "assessment": 3,
    "health": 3,
    "cover": 3,
    "fallback": 3,
    "arbitration": 3,
    "supervisor": 4,
}
FACADE = 5  # core/__init__.py may show any of the layers, and none of them may lean on it

# Third-party packages of each layer. What lies above geometry and tracking uses their functions, not their
# libraries.
THIRD_PARTY = {
    0: {"numpy"},
    1: {"numpy", "shapely"},
    2: {"numpy", "scipy", "filterpy"},
    3: {"numpy"},
    4: {"numpy"},
    FACADE: set[str](),
}
# Standard library of the core: nothing that can reach a clock, a file, the network or a random number.
PURE = {
    "__future__", "abc", "bisect", "collections", "copy", "dataclasses", "difflib", "enum", "fractions",
    "functools", "hashlib", "heapq", "itertools", "json", "math", "numbers", "operator", "re", "string",
    "struct", "types", "typing",
}  # fmt: skip
# Builtins that do I/O or make code out of text, by which an import could hide.
IMPURE_NAMES = {
    "open", "print", "input", "exec", "eval", "compile", "breakpoint", "globals", "vars", "__import__",
    "__builtins__", "__loader__", "__spec__",
}  # fmt: skip
# Parts of NumPy and SciPy that draw random numbers or touch files.
IMPURE_PARTS = {
    "random", "io", "lib", "load", "save", "savez", "savez_compressed", "loadtxt", "savetxt", "genfromtxt",
    "fromfile", "fromregex", "memmap", "DataSource",
}  # fmt: skip
IMPURE_METHODS = {"tofile", "dump"}  # of arrays

# No file is trusted: neither objects nor code come out of what is read.
UNTRUSTED_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
UNTRUSTED_NAMES = {"eval", "exec", "compile", "__import__"}
SAFE_LOADERS = {"_Loader", "yaml.SafeLoader", "yaml.CSafeLoader"}  # the first is vehicle_file's, a SafeLoader

# Modules at the top that every edge may import, with their third-party packages.
SHARED = {
    "cdr": {"numpy"},
    "messages": {"numpy"},
    "mounts": set[str](),
    "vehicle_file": {"numpy", "yaml"},
    "snapshot": {"numpy"},
}
EDGES = {"ros", "shadow", "replay", "prove", "scenarios", "fleet", "campaign"}
EDGE_IMPORTS = {
    ("shadow", "replay"),  # decisions come in recordings too
    ("scenarios", "replay"),  # to write the simulated world as a bag
    ("fleet", "replay"),  # a fleet run is many replays
    ("campaign", "scenarios"),  # faults are injected into simulated worlds
    ("prove", "scenarios"),  # to show a counterexample: a scenario, driven and recorded
}
CLI = "cli"  # imports every edge, inside the verb that needs it: `--help` must work without ROS
ENTRY = "__main__"  # only calls cli

# Library -> the one place that imports it.
OWNERS = {
    "rclpy": "ros",
    "launch": "ros",
    "launch_ros": "ros",
    "rosidl_runtime_py": "ros",
    "z3": "prove",
    "cvc5": "prove",
    "rosbags": "replay",
    "mcap": "replay",
    "plotly": "replay",
    "dask": "fleet",
    "distributed": "fleet",
    "duckdb": "fleet",
    "pyarrow": "replay",
    "foxglove": "replay",
    "matplotlib": "fleet",
}
ALSO = {("mcap", "ros")}  # the flight recorder writes what replay reads
MESSAGE_SUFFIXES = ("_msgs", "_srvs", "_interfaces")  # generated ROS packages: they come with rclpy


@dataclass(frozen=True)
class Import:
    """One imported name; `target` has its full dotted path."""

    target: str
    line: int
    top_level: bool


@dataclass(frozen=True)
class Place:
    """Where a module stands: its kind (root, core, edge, shared, cli, unknown) and its name there."""

    kind: str
    name: str = ""

    @property
    def layer(self) -> int:
        return LAYERS[self.name] if self.name else FACADE


def place_of(dotted: str) -> Place:
    """Place of a module of this package, given by its dotted path."""
    parts = dotted.split(".")[1:]
    if not parts:
        return Place("root")
    head = parts[0]
    if head == "core":
        if len(parts) == 1:
            return Place("core")
        return Place("core", parts[1]) if parts[1] in LAYERS else Place("unknown", dotted)
    if head in EDGES:
        return Place("edge", head)
    if head in SHARED:
        return Place("shared", head)
    return Place("cli", head) if head in (CLI, ENTRY) else Place("unknown", dotted)


def in_tables(dotted: str) -> bool:
    """Tell whether the tables know `package.module` as a module, present or not, and not just as a name."""
    return dotted.count(".") <= 2 and place_of(dotted).kind not in ("root", "unknown")


def dotted_path(file: str) -> str:
    parts = [NAME, *file.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: str, tree: ast.Module, modules: Iterable[str]) -> Iterator[Import]:
    """Every import of a file at any depth, relative ones resolved; of our names, the module."""
    package = dotted_path(file) if file.endswith("__init__.py") else dotted_path(file).rpartition(".")[0]
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in top)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                name_only = base.partition(".")[0] == NAME and full not in modules and not in_tables(full)
                yield Import(base if name_only else full, node.lineno, id(node) in top)


def is_ros(library: str) -> bool:
    return OWNERS.get(library) == "ros" or library.endswith(MESSAGE_SUFFIXES)


def library_finding(place: Place, target: str) -> str | None:
    """What is wrong with importing a library from outside the package, if anything."""
    library, *parts = target.split(".")
    standard = library in sys.stdlib_module_names
    if place.kind == "core":
        if library not in (PURE if standard else THIRD_PARTY[place.layer]):
            return f"the core's layer {place.layer} must not import {library}"
        impure = () if standard else IMPURE_PARTS.intersection(parts)
        return f"the core must not import {target}" if impure else None
    if standard:
        return None
    owner = "ros" if is_ros(library) else OWNERS.get(library)
    if owner and place != Place("edge", owner) and (library, place.name) not in ALSO:
        return f"only {owner}/ imports {library}"
    if place.kind == "shared" and library not in SHARED[place.name]:
        return f"{place.name} must not import {library}"
    if place.kind == "root":
        return f"the package itself must not import {library}"
    return None


def package_finding(place: Place, found: Import) -> str | None:
    """What is wrong with importing a module of this package, if anything."""
    target = place_of(found.target)
    if target.kind == "unknown":
        return f"{found.target} has no place in the tables of {Path(__file__).name}"
    if place.kind == "core":
        if target.kind != "core":
            return f"the core must not import {found.target}"
        if target.layer > place.layer:
            return f"layer {place.layer} must not import {found.target} of layer {target.layer}"
        return None
    if place.kind == "root":
        return f"the package itself must not import {found.target}"
    if place.kind == "shared" and target.kind not in ("root", "core", "shared"):
        return f"{place.name} must not import {found.target}"
    if place.kind == "edge":
        if target.kind == "cli":
            return f"{place.name}/ must not import the command line"
        if target.kind == "edge" and target != place and (place.name, target.name) not in EDGE_IMPORTS:
            return f"{place.name}/ must not import {target.name}/"
    if place == Place("cli", CLI) and target.kind == "edge" and found.top_level:
        return f"the command line imports {target.name}/ only inside the verb that needs it"
    return None


def purity_findings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What the core must not do besides importing: I/O by builtin or array library, run-time imports."""
    libraries = {"numpy", "scipy"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            libraries |= {a.asname for a in node.names if a.asname and a.name in ("numpy", "scipy")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in IMPURE_NAMES:
            yield node.lineno, f"the core must not use {node.id}"
        elif isinstance(node, ast.Attribute):
            of_library = isinstance(node.value, ast.Name) and node.value.id in libraries
            if node.attr in IMPURE_METHODS or (of_library and node.attr in IMPURE_PARTS):
                yield node.lineno, f"the core must not use .{node.attr}"


def trust_findings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What nothing here may do, since files come from anywhere: make objects or code out of what they hold."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in UNTRUSTED_MODULES & {name.partition(".")[0] for name in names}:
                yield node.lineno, f"{name} makes any object out of a file"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in UNTRUSTED_NAMES:
            yield node.lineno, f"{node.func.id} makes code out of text"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            loaders = [ast.unparse(part) for part in [*node.args[1:], *(k.value for k in node.keywords)]]
            if ast.unparse(node.func) in ("yaml.load", "yaml.load_all") and not SAFE_LOADERS & set(loaders):
                yield node.lineno, "yaml.load needs a safe loader"
            if ast.unparse(node.func) in ("yaml.unsafe_load", "yaml.full_load", "np.load", "numpy.load"):
                yield node.lineno, f"{ast.unparse(node.func)} may make any object out of a file"


def cycle_finding(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [f"the core has an import cycle: {' -> '.join(error.args[1])}"]
    return []


def findings(sources: Mapping[str, str]) -> list[str]:
    """Check files, given by their path below the package, and list what breaks a rule."""
    result: list[str] = []
    modules = {dotted_path(file) for file in sources}
    core_graph: dict[str, set[str]] = {}
    for file, source in sorted(sources.items()):
        module, tree = dotted_path(file), ast.parse(source, file)
        place = place_of(module)
        result.extend(f"{file}:{line}: {text}" for line, text in trust_findings(tree))
        if place.kind == "unknown":
            result.append(f"{file}: has no place in the tables of {Path(__file__).name}")
            continue
        for found in imports(file, tree, modules):
            ours = found.target.partition(".")[0] == NAME
            finding = package_finding(place, found) if ours else library_finding(place, found.target)
            if finding:
                result.append(f"{file}:{found.line}: {finding}")
            if place.kind == "core" and not found.top_level:
                result.append(f"{file}:{found.line}: the core imports at the top of the file only")
            if place.kind == "core" and ours:
                core_graph.setdefault(module, set()).add(found.target)
        if place.kind == "core":
            result.extend(f"{file}:{line}: {text}" for line, text in purity_findings(tree))
    return result + cycle_finding(core_graph)


def package_sources() -> dict[str, str]:
    return {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in sorted(ROOT.rglob("*.py"))}


def test_the_package_keeps_its_layers():
    assert findings(package_sources()) == []


def test_every_line_of_the_tables_has_its_module():
    sources = package_sources()
    expected = [f"core/{name}" for name in LAYERS] + sorted(SHARED)
    assert [n for n in expected if f"{n}.py" not in sources and f"{n}/__init__.py" not in sources] == []


CONTROLS = [
    # layers of the core
    ("core/config.py", "from safety_supervisor.core.motion import stop", "layer 0 must not import"),
    # what is read
    ("replay/bag.py", "import pickle", "any object"),
    ("replay/bag.py", "from pickle import loads", "any object"),
    ("snapshot.py", "def f(text):\n    return eval(text)", "code out of text"),
    ("replay/mapping.py", "import yaml\nyaml.load(text, yaml.Loader)", "safe loader"),
    ("replay/mapping.py", "import yaml\nyaml.load(text)", "safe loader"),
    ("fleet/jobs.py", "import yaml\nyaml.unsafe_load(text)", "any object"),
    ("replay/bag.py", "import numpy as np\nnp.load(file)", "any object"),
    ("core/motion.py", "from safety_supervisor.core import tracking", "layer 1 must not import"),
    ("core/motion.py", "from . import tracking", "layer 1 must not import"),
    ("core/tracking/radar.py", "from ..health import check", "layer 2 must not import"),
    ("core/tracking/radar.py", "import safety_supervisor.core.assessment as a", "layer 2 must not import"),
    ("core/arbitration.py", "from safety_supervisor.core.supervisor import step", "layer 3 must not import"),
    ("core/world.py", "from safety_supervisor.core import step", "of layer 5"),
    ("core/novelty.py", "import math", "has no place"),
    ("core/world.py", "from safety_supervisor.core.novelty import x", "has no place"),
    ("novelty.py", "import math", "has no place"),
    # the core and the rest of the package
    ("core/supervisor.py", "from safety_supervisor.ros import node", "the core must not import"),
    ("core/supervisor.py", "from ..replay.bag import read", "the core must not import"),
    ("core/supervisor.py", "from safety_supervisor import messages", "the core must not import"),
    ("core/supervisor.py", "from safety_supervisor.vehicle_file import load", "the core must not import"),
    ("core/supervisor.py", "from safety_supervisor import __version__", "the core must not import"),
    # libraries of the core
    ("core/world.py", "import shapely", "layer 0 must not import shapely"),
    ("core/envelopes.py", "import scipy.optimize", "layer 1 must not import scipy"),
    ("core/tracking/radar.py", "from shapely import Polygon", "layer 2 must not import shapely"),
    ("core/health.py", "import filterpy", "layer 3 must not import filterpy"),
    ("core/__init__.py", "import numpy", "layer 5 must not import numpy"),
    *(
        ("core/supervisor.py", f"import {library}", f"must not import {library}")
        for library in (
            "rclpy", "sensor_msgs", "z3", "yaml", "os", "io", "time", "random", "pathlib", "datetime", "sys",
            "importlib", "subprocess", "socket", "threading", "logging", "secrets", "uuid", "builtins",
        )
    ),
    # what could escape
    ("core/supervisor.py", "def f():\n    import time\n", "must not import time"),
    ("core/supervisor.py", "def f():\n    import math\n", "at the top of the file only"),
    ("core/supervisor.py", "if True:\n    import math\n", "at the top of the file only"),
    ("core/supervisor.py", "try:\n    import numpy\nfinally:\n    pass\n", "at the top of the file only"),
    ("core/supervisor.py", "from os.path import join", "must not import os"),
    ("core/supervisor.py", "m = __import__('time')", "must not use __import__"),
    ("core/supervisor.py", "exec('import time')", "must not use exec"),
    ("core/supervisor.py", "x = open('file').read()", "must not use open"),
    ("core/supervisor.py", "say = print", "must not use print"),
    ("core/supervisor.py", "import numpy as np\nx = np.random.default_rng(1)", "must not use .random"),
    ("core/supervisor.py", "import numpy as np\nx = np.fromfile('file')", "must not use .fromfile"),
    ("core/supervisor.py", "def f(array):\n    array.tofile('file')", "must not use .tofile"),
    ("core/supervisor.py", "import numpy.random", "must not import numpy.random"),
    ("core/supervisor.py", "from numpy.random import default_rng", "must not import numpy.random"),
    ("core/supervisor.py", "from numpy import random", "must not import numpy.random"),
    ("core/tracking/radar.py", "from scipy import io", "must not import scipy.io"),
    # owners of libraries
    ("replay/bag.py", "import rclpy", "only ros/ imports rclpy"),
    ("cli.py", "def verb():\n    from rclpy.node import Node\n", "only ros/ imports rclpy"),
    ("scenarios/suite.py", "from sensor_msgs.msg import Range", "only ros/ imports sensor_msgs"),
    ("fleet/run.py", "from std_srvs.srv import Trigger", "only ros/ imports std_srvs"),
    ("replay/explain.py", "import z3", "only prove/ imports z3"),
    ("ros/node.py", "def f():\n    import cvc5\n", "only prove/ imports cvc5"),
    ("scenarios/suite.py", "from rosbags.rosbag2 import Writer", "only replay/ imports rosbags"),
    ("fleet/run.py", "import mcap.reader", "only replay/ imports mcap"),
    ("prove/report.py", "import plotly", "only replay/ imports plotly"),
    ("scenarios/suite.py", "import duckdb", "only fleet/ imports duckdb"),
    # shared modules
    ("messages.py", "import rclpy", "only ros/ imports rclpy"),
    ("messages.py", "from nav_msgs.msg import Odometry", "only ros/ imports nav_msgs"),
    ("messages.py", "import rosbags", "only replay/ imports rosbags"),
    ("messages.py", "import yaml", "messages must not import yaml"),
    ("vehicle_file.py", "import shapely", "vehicle_file must not import shapely"),
    ("vehicle_file.py", "from safety_supervisor.prove import engine", "vehicle_file must not import"),
    ("__init__.py", "import numpy", "the package itself must not import"),
    ("__init__.py", "from safety_supervisor.core import config", "the package itself must not import"),
    # edges among themselves
    ("ros/node.py", "from safety_supervisor.replay import bag", "ros/ must not import replay/"),
    ("replay/bag.py", "from ..scenarios.suite import run", "replay/ must not import scenarios/"),
    ("prove/engine.py", "def f():\n    from safety_supervisor import fleet", "prove/ must not import fleet/"),
    ("fleet/run.py", "import safety_supervisor.scenarios.suite", "fleet/ must not import scenarios/"),
    ("scenarios/run.py", "from ..campaign import matrix", "scenarios/ must not import campaign/"),
    ("campaign/matrix.py", "from ..replay import bag", "campaign/ must not import replay/"),
    ("replay/bag.py", "from safety_supervisor.cli import main", "must not import the command line"),
    ("cli.py", "from safety_supervisor.replay import bag", "only inside the verb"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "source", "expected"), CONTROLS)
def test_control_a_broken_rule_is_reported(file, source, expected):
    assert any(expected in finding for finding in findings({file: source}))


@pytest.mark.parametrize(
    "sources",
    [
        {"core/motion.py": "from . import envelopes", "core/envelopes.py": "from .motion import stop"},
        {
            "core/health.py": "from .assessment import a",
            "core/assessment.py": "from .fallback import b",
            "core/fallback.py": "from safety_supervisor.core import health",
        },
        {
            "core/tracking/__init__.py": "from .radar import Tracker",
            "core/tracking/radar.py": "from . import existence",
            "core/tracking/existence.py": "from safety_supervisor.core.tracking import Tracker",
        },
    ],
)
def test_control_a_cycle_in_the_core_is_reported(sources):
    assert any("import cycle" in finding for finding in findings(sources))


@pytest.mark.parametrize(
    "sources",
    [
        {"core/geometry.py": "import math\nimport shapely\nfrom .world import Ego"},
        {"core/envelopes.py": "from .motion import stop", "core/motion.py": "from .config import Config"},
        {"core/tracking/radar.py": "from scipy.optimize import minimize\nimport filterpy.kalman"},
        {"core/tracking/__init__.py": "from . import fit", "core/tracking/fit.py": "from ..world import Ego"},
        {"core/assessment.py": "from . import plan_check", "core/plan_check.py": "import numpy as np"},
        {"core/supervisor.py": "from . import config\nfrom safety_supervisor.core.arbitration import table"},
        {"core/supervisor.py": "def f(vehicle):\n    return vehicle.load, vehicle.random"},
        {"core/__init__.py": "from .supervisor import step"},
        {"messages.py": "import numpy as np\nfrom safety_supervisor.core.world import Detection"},
        {"vehicle_file.py": "import yaml\nimport pathlib\nfrom .core.config import Config\nyaml.load(text, _Loader)"},
        {"replay/mapping.py": "import yaml\nyaml.safe_load(text)\nyaml.load(text, Loader=yaml.SafeLoader)"},
        {"prove/solvers.py": "def f(model, x):\n    return model.eval(x)"},
        {"ros/node.py": "import rclpy\nimport time\nfrom nav_msgs.msg import Path\nfrom .. import messages"},
        {"replay/bag.py": "import rosbags\nimport mcap\nimport plotly\nfrom .. import messages"},
        {"prove/engine.py": "import z3\nimport cvc5\nfrom safety_supervisor.core import envelopes"},
        {"scenarios/suite.py": "from ..replay import bag"},
        {"campaign/matrix.py": "from ..scenarios import run"},
        {"fleet/run.py": "import dask\nfrom ..replay import bag"},
        {"cli.py": "from . import vehicle_file\ndef verb():\n    from .replay import bag\n"},
    ],
)
def test_what_the_rules_allow_is_not_reported(sources):
    assert findings(sources) == []
