"""colcon builds, installs and tests the package in a workspace of its own, as on a vehicle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = "safety_supervisor"
# Where setup.py finds data files; the share folder has to hold each of them.
DATA_PATTERNS = ("package.xml", "launch/*.launch.py", "config/*.yaml", "config/*.json", "proofs/**/*")

pytestmark = pytest.mark.xdist_group("colcon")


def project_files() -> list[Path]:
    """List what belongs to the project: what git would commit or, outside a git tree, all but the litter."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        litter = {"__pycache__", "build", "install", "log", "demo"}
        listed = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if not litter.intersection(path.parts) and not any(part.startswith(".") for part in path.parts)
        ]
    return sorted(Path(name) for name in listed if name and (ROOT / name).is_file())


def copy_project(target: Path) -> list[Path]:
    files = project_files()
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target / file)
    return files


def clean_environment() -> dict[str, str]:
    """Drop what belongs to this pytest run or to a sourced ROS, so that the child sees the workspace only."""
    ours = ("PYTEST_", "COV_", "COVERAGE_", "COLCON_", "AMENT_", "PYTHONPATH", "CMAKE_PREFIX_PATH")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


def colcon(workspace: Path, *arguments: str) -> str:
    """Run colcon in the workspace and return what it said; a failure shows all of it."""
    run = subprocess.run(
        [sys.executable, "-m", "colcon", "--log-base", "log", *arguments],
        cwd=workspace,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    # colcon builds a package whose manifest it cannot read as plain Python and only mentions it.
    assert "WARNING" not in said, said
    return said


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("colcon")
    copy_project(workspace / "src" / NAME)
    return workspace


@pytest.fixture(scope="module")
def prefix(workspace):
    colcon(workspace, "build")
    return workspace / "install" / NAME


@pytest.fixture(scope="module")
def symlink_prefix(workspace):
    places = ("--build-base", "build_symlink", "--install-base", "install_symlink")
    colcon(workspace, "build", "--symlink-install", *places)
    return workspace / "install_symlink" / NAME


def check_installation(prefix: Path, source: Path) -> None:
    """Everything that ros2 run, ros2 launch and the ament index look for is in its place."""
    assert (prefix / "share/ament_index/resource_index/packages" / NAME).is_file()
    for script in ("supervisor_node", "safety-supervisor"):
        assert os.access(prefix / "lib" / NAME / script, os.X_OK), script
    data = [p for pattern in DATA_PATTERNS for p in source.glob(pattern) if p.is_file()]
    share = prefix / "share" / NAME
    assert [str(p) for p in data if not (share / p.relative_to(source)).is_file()] == []


def test_build_installs_scripts_marker_and_data(prefix, workspace):
    check_installation(prefix, workspace / "src" / NAME)


def test_symlink_build_installs_scripts_marker_and_data(symlink_prefix, workspace):
    source = workspace / "src" / NAME
    check_installation(symlink_prefix, source)
    assert (symlink_prefix / "share" / NAME / "package.xml").samefile(source / "package.xml")


def test_control_an_empty_prefix_is_noticed(tmp_path, workspace):
    with pytest.raises(AssertionError):
        check_installation(tmp_path, workspace / "src" / NAME)


def test_installed_command_starts_in_the_sourced_workspace(prefix, workspace):
    # Run outside the source tree, so that what answers is the installed package.
    command = (
        f'. "{workspace}/install/setup.bash"'
        f' && "{sys.executable}" -c "import {NAME}; print({NAME}.__file__)"'
        f' && "{prefix}/lib/{NAME}/safety-supervisor" --help'
    )
    run = subprocess.run(
        ["bash", "-c", command],
        cwd=workspace,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    where, _, usage = run.stdout.partition("\n")
    assert Path(where).is_relative_to(prefix)
    assert "usage" in usage.lower()


def test_colcon_test_really_runs_tests(prefix, workspace):
    # Only the smoke tests: the whole suite holds this very test, and to collect it takes longer than to run them.
    marked = [path for path in (ROOT / "test").glob("test_*.py") if "= pytest.mark.smoke" in path.read_text("utf-8")]
    assert marked
    files = [f"test/{path.name}" for path in marked]
    little = workspace / "coveragerc"  # colcon asks for a page on the coverage of every file: only of each __init__.py
    little.write_text("[run]\nomit = *[a-z0-9].py\n")
    arguments = ("--pytest-args", f" --cov-config={little}", " -m", "smoke", *files)
    colcon(workspace, "test", "--return-code-on-test-failure", *arguments)
    result = ET.parse(workspace / "build" / NAME / "pytest.xml").getroot()
    counts = {
        key: sum(int(suite.get(key, "0")) for suite in result.iter("testsuite"))
        for key in ("tests", "failures", "errors")
    }
    assert counts.pop("tests") > 0
    assert counts == {"failures": 0, "errors": 0}
    # A file whose packages are missing is skipped while it is collected: such a case has no class.
    skipped = [case.get("name") for case in result.iter("testcase") if case.find("skipped") is not None]
    assert [name for name in skipped if not str(name).startswith("test.")] == []
