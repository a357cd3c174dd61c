"""Build file of the ament_python package; the same file serves colcon and pip."""

from __future__ import annotations

from glob import glob
from os.path import dirname, isfile, join

from setuptools import find_packages, setup

NAME = "safety_supervisor"
SHARE = f"share/{NAME}"

# The wheels of all ROS distributions share their names below the top one (ros-rclpy, ...), so an environment
# holds one distribution only: never combine these two extras.
ROS_WHEELS = (
    "rclpy",
    "rmw-fastrtps-cpp",
    "std-msgs",
    "sensor-msgs",
    "nav-msgs",
    "geometry-msgs",
    "trajectory-msgs",
    "diagnostic-msgs",
    "visualization-msgs",
    "std-srvs",
    "lifecycle-msgs",
)


def ros_wheels(distribution: str) -> list[str]:
    """Return the wheels of one ROS distribution; the index has them for Linux on x86_64, Python 3.10-3.13."""
    return [f"ros-{distribution}-{name}" for name in ROS_WHEELS]


def data_files() -> list[tuple[str, list[str]]]:
    """Map each folder below share/ to its files.

    Paths stay relative: colcon refuses absolute ones, and with --symlink-install runs this file in its build
    folder, where it has linked each data file under the same relative path. An empty folder adds nothing.
    """
    patterns = (
        "launch/*.launch.py",
        "config/*.yaml",
        "config/*.json",
        "config/examples/*",
        "config/security/*",
        "config/systemd/*",
        "docs/**/*.md",
        "docs/evidence/*.json",
        "docs/*.rst",
        "README.md",
        "CHANGELOG.rst",
        "QUALITY_DECLARATION.md",
        "SECURITY.md",
        "LICENSE",
        "proofs/**/*",
    )
    folders: dict[str, list[str]] = {
        "share/ament_index/resource_index/packages": [f"resource/{NAME}"],
        SHARE: ["package.xml"],
    }
    for pattern in patterns:
        for path in sorted(glob(pattern, recursive=True)):
            if isfile(path) and "__pycache__" not in path:
                folders.setdefault(join(SHARE, dirname(path)).rstrip("/"), []).append(path)
    return sorted(folders.items())


setup(
    name=NAME,
    version="0.1.0",  # the same as in package.xml; release tools rewrite both
    description="A proved safety layer over a learned driving policy",
    maintainer="safety_supervisor developers",
    maintainer_email="maintainers@safety-supervisor.invalid",
    license="Apache-2.0",
    packages=find_packages(exclude=["test", "test.*"]),
    package_data={NAME: ["py.typed", "replay/assets/*"]},
    data_files=data_files(),
    zip_safe=False,  # the package reads files that lie beside its modules
    python_requires=">=3.10",  # ROS 2 humble, the oldest supported distribution, has 3.10
    install_requires=[
        "setuptools",
        "numpy>=1.24",  # the oldest version tried
        "scipy",
        "filterpy>=2",  # 1.x breaks on SciPy 1.10 and NumPy 2
        "shapely>=2.0",  # vectorised predicates came with 2.0
        "PyYAML",
        "tqdm",
        "rosbags>=0.11",  # the oldest version tried; its interface changes between 0.x versions
        "mcap",  # brings zstandard and lz4; reads truncated files, which rosbags refuses
        "plotly",
        "z3-solver",
    ],
    extras_require={
        # colcon test runs nothing, and says OK, unless an extra of this name lists pytest.
        "test": [
            "pytest>=7",
            "hypothesis",
            "pytest-timeout",
            "pytest-xdist>=3",
            "coverage[toml]",
            "websockets",  # a viewer for the live view
            "pytest-cov",
            "tomli; python_version < '3.11'",
            "catkin_pkg",
            "selenium",  # drives the browser that opens the report; the tests skip where there is no chromium
        ],
        "docs": ["mkdocs>=1.6"],  # generated pages came with 1.6
        "supply": ["pip-tools", "pip-licenses", "cyclonedx-bom", "build"],  # lock, licences, bill of materials, release
        "campaign": ["atheris", "mutmut>=3"],  # fuzzing and mutation: hours, so not part of the tests
        "lint": ["ruff", "mypy", "types-PyYAML", "types-tqdm"],
        "suites": ["matplotlib", "pyarrow"],  # pictures of the suites, and rows as Parquet instead of CSV
        # Many recordings at once, Parquet files and questions about them; matplotlib draws the answer to one.
        "fleet": ["dask[distributed]", "duckdb", "pyarrow", "matplotlib"],
        "view": ["foxglove-sdk"],  # MCAP with Foxglove schemas, and the live view of a recording
        "proofs": ["cvc5"],  # the second solver, which re-checks what the first one says
        "ros-jazzy": ros_wheels("jazzy"),
        "ros-kilted": ros_wheels("kilted"),
        "colcon": [
            "colcon-core",
            "colcon-ros",
            "colcon-python-setup-py",
            "colcon-test-result",
            "colcon-bash",
            "catkin_pkg",
            "setuptools<80",  # colcon calls `setup.py develop --editable`, which setuptools 80 took out
        ],
    },
    entry_points={
        "console_scripts": [
            "safety-supervisor = safety_supervisor.cli:main",
            "supervisor_node = safety_supervisor.ros.start:supervisor_node",
            "command_gate = safety_supervisor.ros.start:command_gate",
            "twist_adapter = safety_supervisor.ros.start:twist_adapter",
            "autoware_adapter = safety_supervisor.ros.start:autoware_adapter",
        ],
    },
)
