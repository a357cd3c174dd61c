"""The package's own papers: manifest, versions, entry points."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest
from catkin_pkg.package import InvalidPackage, Package, parse_package

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).resolve().parents[1]


def parse_manifest(path: Path) -> tuple[Package, list[str]]:
    warnings: list[str] = []
    package = parse_package(str(path), warnings=warnings)
    return package, warnings


def setup_arguments() -> dict[str, Any]:
    """Read the literal arguments of setup() without running it: needs no setuptools, leaves no files."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "setup"]
    assert len(calls) == 1
    arguments = {}
    for keyword in calls[0].keywords:
        try:
            arguments[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            continue  # computed, such as data_files; test_colcon looks at its effect
    return arguments


def test_manifest_is_valid_without_a_warning():
    package, warnings = parse_manifest(ROOT / "package.xml")
    assert warnings == []
    assert package.name == "safety_supervisor"
    assert package.get_build_type() == "ament_python"
    assert package.package_format == 3
    assert package.licenses == ["Apache-2.0"]
    assert (ROOT / str(package.licenses[0].file)).is_file()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<version>0.1.0</version>", "<version>one</version>"),
        ("<license", "<no_such_tag>x</no_such_tag><license"),
        ("maintainers@safety-supervisor.invalid", "nobody"),
    ],
)
def test_control_a_spoilt_manifest_is_noticed(tmp_path, old, new):
    text = (ROOT / "package.xml").read_text(encoding="utf-8")
    spoilt = tmp_path / "package.xml"
    spoilt.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert spoilt.read_text(encoding="utf-8") != text
    with pytest.raises(InvalidPackage):
        parse_manifest(spoilt)


def test_manifest_and_setup_say_the_same():
    package, _ = parse_manifest(ROOT / "package.xml")
    arguments = setup_arguments()
    assert arguments["version"] == package.version
    assert arguments["license"] == package.licenses[0]
    assert arguments["maintainer"] == package.maintainers[0].name
    assert arguments["maintainer_email"] == package.maintainers[0].email


def test_changelog_has_the_version_or_a_forthcoming_section():
    package, _ = parse_manifest(ROOT / "package.xml")
    lines = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8").splitlines()
    assert lines[1] == f"Changelog for package {package.name}"
    assert any(line == "Forthcoming" or line.startswith(f"{package.version} (") for line in lines)


@pytest.mark.parametrize("entry", setup_arguments()["entry_points"]["console_scripts"])
def test_entry_point_names_a_function_that_exists(entry):
    module, function = entry.partition("=")[2].strip().split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_test_extra_names_pytest():
    # Without it `colcon test` runs nothing and says OK.
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    extras = {
        key.value: value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
    }
    assert any(name.startswith("pytest") for name in ast.literal_eval(extras["test"]))
