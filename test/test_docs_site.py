"""The documentation site: built without a warning, and its generated pages say what the code says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from safety_supervisor import cli
from safety_supervisor.core.arbitration import DEMANDS
from safety_supervisor.core.world import Mode

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "site" / "generate.py")
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)


def build(config, out):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(out)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="extra `docs`; `make test` installs it")
    done = build(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.html")}
    assert pages >= {"index.html", "tutorials/vehicle.html", "tutorials/incident.html", "tutorials/prove.html",
                     "parameters.html", "commands.html", "diagrams.html", "ledger.html", "limits.html"}  # fmt: skip
    diagrams = (tmp_path / "diagrams.html").read_text(encoding="utf-8")
    assert "<svg" in diagrams
    loaded = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css))"', diagrams)
    assert loaded == []  # opens without a network


def test_control_a_broken_link_fails_the_build(tmp_path):
    pytest.importorskip("mkdocs", reason="extra `docs`; `make test` installs it")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[nowhere](nothing.md)\n")
    config = "site_name: x\nstrict: true\nvalidation: {links: {not_found: warn}}\n"
    (tmp_path / "mkdocs.yml").write_text(config)
    assert build(tmp_path / "mkdocs.yml", tmp_path / "site").returncode != 0


def test_the_parameter_reference_has_every_parameter_once():
    rows = [row for row in cli.parameter_table() if row.startswith("| `")]
    page = generate.parameters()
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows
    assert "## envelope" in page


def test_the_command_reference_has_every_verb():
    page = generate.commands()
    for verb in cli.VERBS:
        assert f"## {verb.name}" in page
        assert f"usage: safety-supervisor {verb.name}" in page


def test_the_tables_of_the_arbitration_are_those_of_the_code():
    assert len(generate.required_table()) == 2 + len(DEMANDS)
    found = generate.transitions()
    assert Mode.NOMINAL in found[Mode.INIT]
    assert found[Mode.UNABLE] >= {Mode.UNABLE, Mode.INIT}
    assert Mode.NOMINAL not in found[Mode.EMERGENCY_STOP] or Mode.STANDSTILL in found[Mode.EMERGENCY_STOP]


def test_the_picture_shows_every_module_and_edges_point_down():
    picture = generate.layers_picture()
    for _, modules in generate.rows():
        for module in modules:
            assert f">{module}</text>" in picture
    assert picture.count("<path") > 20
    assert "supervisor" not in generate.imports("world")
    assert {"config", "world", "motion"} <= generate.imports("envelopes") | {"config", "world", "motion"}


def test_every_page_of_docs_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in navigation
