"""The benchmark of the replay runs, counts what it says and is deaf to the machine's speed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import recordings

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "replay.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("replay_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_writes_speed_and_ratio(benchmark, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "_pin", lambda: None)  # the test process itself stays free
    bag = recordings.write(tmp_path / "drive", recordings.drive(1.0))
    assert benchmark.main([str(bag), "--json", str(tmp_path / "r.json"), "--runs", "2"]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert json.loads(capsys.readouterr().out) == result
    assert result["ticks"] == 21
    assert len(result["runs"]["wall"]) == 2
    assert result["times_real_time"] > 0 < result["ratio_to_read"]


def test_reading_alone_deserialises_the_messages_of_the_topics_and_no_others(benchmark, tmp_path):
    bag = recordings.write(tmp_path / "drive", recordings.drive(1.0))
    assert benchmark.read(bag, ["/vehicle/odometry"]) == 50
    assert benchmark.read(bag, ["/vehicle/odometry", "/radar/front/tracks"]) == 60


def test_figures_are_medians_of_their_own_runs(benchmark):
    runs = {"wall": [1.0, 9.0, 2.0], "cpu": [1.0, 1.0, 1.0], "read_wall": [0.5, 0.4, 9.0], "read_cpu": [0.5, 0.5, 0.5]}
    result = benchmark.scored({"runs": runs, "seconds": 60.0, "ticks": 1200})
    assert result["times_real_time"] == 30.0
    assert result["ratio_to_read"] == 4.0
    assert result["ratio_to_read_cpu"] == 2.0
