"""The lock, the licence check, the changelog rule and the release script: each says no when it should."""

from __future__ import annotations

import importlib.util
import re
import runpy
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "requirements" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def locked():
    return {normal(name): Version(version) for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)}


@pytest.fixture
def setup_arguments(monkeypatch):
    """What setup.py hands to setuptools."""
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("setuptools.setup", lambda **keywords: given.update(keywords))
    runpy.run_path("setup.py")
    return given


def test_every_requirement_is_locked_at_a_version_that_satisfies_it(setup_arguments):
    extras = re.search(r"^TEST_EXTRAS := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
    wanted = list(setup_arguments["install_requires"])
    for extra in extras.replace("$(ROS_FROM_PYPI)", "jazzy").split(","):
        wanted += setup_arguments["extras_require"][extra]
    pinned, missing = locked(), []
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"python_version": "3.11"}):
            continue
        version = pinned.get(normal(requirement.name))
        if version is None or version not in requirement.specifier:
            missing.append(f"{requirement} (locked: {version})")
    assert missing == [], "run `make lock`"


def test_a_vehicle_gets_what_the_package_needs_and_a_numpy_that_loads_the_messages_of_apt(setup_arguments):
    lines = (ROOT / "requirements" / "vehicle.txt").read_text(encoding="utf-8").splitlines()
    given = {normal(r.name): r for r in map(Requirement, [line for line in lines if line and line[0] != "#"])}
    for wanted in map(Requirement, setup_arguments["install_requires"]):
        if wanted.name != "setuptools":  # a part of every environment that builds
            lowest = {s.version for s in wanted.specifier if s.operator == ">="}
            assert lowest <= {s.version for s in given[normal(wanted.name)].specifier}, wanted
    assert "2.0" not in given["numpy"].specifier
    assert "1.26.4" in given["numpy"].specifier


def test_every_locked_package_has_hashes_and_no_host_is_named():
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK[LOCK.index("==") - 40 :].split("\n", 1)[1])
    assert len(entries) > 60
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?:|file:|index-url|find-links|trusted-host", LOCK)


@pytest.mark.parametrize(
    ("licence", "fine"),
    [("MIT License", True), ("BSD-3-Clause", True), ("Apache-2.0", True), ("MPL-2.0 AND MIT", True),
     ("GPL-3.0-only", False), ("GNU Affero GPL", False), ("UNKNOWN", False), ("Proprietary", False)],
)  # fmt: skip
def test_licences_are_allowed_by_name_only(licence, fine):
    assert (script("licences").problems({"some-package": licence}) == []) is fine


def test_the_closure_holds_direct_and_indirect_dependencies():
    found = script("licences").closure()
    assert {"numpy", "rosbags", "mcap", "zstandard"} <= found
    assert "pytest" not in found


@pytest.mark.parametrize(
    ("files", "messages", "wanted"),
    [
        (["safety_supervisor/cli.py"], "Say more", True),
        (["safety_supervisor/cli.py", "CHANGELOG.rst"], "Say more", False),
        (["safety_supervisor/cli.py"], "Move a line [no changelog]", False),
        (["test/test_cli.py", "docs/node.md"], "Test more", False),
        (["config/passenger_car.certificate.json", "proofs/LEDGER.md"], "Certify", False),
        (["proofs/ttc.py"], "Claim more", True),
    ],
)
def test_a_change_that_users_see_needs_a_line_in_the_changelog(files, messages, wanted):
    assert bool(script("changelog").missing(files, messages)) is wanted


def test_a_release_needs_a_clean_tree_equal_versions_and_a_changelog():
    release = script("release")
    same, other = {"setup.py": "1.0.0", "package.xml": "1.0.0"}, {"setup.py": "1.0.0", "package.xml": "1.0.1"}
    assert release.problems("", same, ["something"]) == []
    assert len(release.problems(" M setup.py\n", other, [])) == 3


def test_the_release_script_reads_this_tree():
    release = script("release")
    assert len(release.versions()) == 3
    assert len(set(release.versions().values())) == 1
    entries = release.forthcoming((ROOT / "CHANGELOG.rst").read_text(encoding="utf-8"))
    assert entries
    assert all(len(line) < 400 and "\n" not in line for line in entries)
    assert "bloom-release" in release.notes("1.0.0", entries)


def test_pre_commit_runs_what_exists():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]  # nothing is downloaded
    for hook in hooks[0]["hooks"]:
        for word in hook["entry"].split():
            if word.endswith(".py"):
                assert (ROOT / word).exists()
