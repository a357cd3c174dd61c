"""The latency benchmark runs and reports what it says; its figures are for an idle machine and decide nothing here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

import node_harness as harness


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(150)
def test_the_benchmark_reports_every_figure(monkeypatch, tmp_path):
    harness.environment(monkeypatch, tmp_path)
    out = tmp_path / "live.json"
    command = [sys.executable, str(harness.ROOT / "benchmarks" / "live_latency.py"), "--json", str(out)]
    env = harness.child_environment()
    done = subprocess.run([*command, "--seconds", "2"], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    times = {"decision_ms", "radar_to_decision_ms", "echo_ms", "tick_ms", "period_error_ms"}
    assert figures.keys() == times | {"cpu_percent"}
    for name in times:
        assert figures[name].keys() == {"p50", "p99", "p999"}
        assert 0.0 < figures[name]["p50"] <= figures[name]["p99"] <= figures[name]["p999"]
    assert 0.0 < figures["cpu_percent"] <= 400.0
