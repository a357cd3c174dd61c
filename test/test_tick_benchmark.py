"""The tick benchmark: what it feeds is what it says, and its figures are there. Times decide nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "tick.py"


@pytest.fixture(scope="module")
def tick():
    spec = importlib.util.spec_from_file_location("tick_benchmark", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_stream_has_the_load_that_it_names(tick):
    config, world = tick.vehicle(), tick.World.made()
    ticks = [tick.inputs(world, tick.START + i * tick.PERIOD, i, config) for i in range(50)]
    assert sum(len(i.radar) for i in ticks) == 4 * 20
    assert sum(len(i.ranges) for i in ticks) == 12 * 20
    assert sum(len(i.plans) for i in ticks) == 10
    assert {len(scan.range) for i in ticks for scan in i.radar} == {64}
    assert len(ticks[0].plans[0].time) == 81
    assert all(np.isfinite(scan.range_rate).all() for i in ticks for scan in i.radar)


def test_the_figures_are_written(tick, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(tick, "_pin", lambda: None)  # the test process itself stays free
    monkeypatch.setattr(tick.gc, "freeze", lambda: None)
    assert tick.main(["--seconds", "2", "--json", str(tmp_path / "tick.json")]) == 0
    figures = json.loads((tmp_path / "tick.json").read_text())
    for name in ("tick_ms", "assessment_ms", "tick_ms_cpu", "assessment_ms_cpu"):
        assert figures[name].keys() == {"p50", "p99", "max"}
        assert 0 < figures[name]["p50"] <= figures[name]["p99"] <= figures[name]["max"]
    assert figures["load"]["confirmed_tracks"] > 30
    assert figures["load"]["mode"] == "NOMINAL"
    capfd.readouterr()


def test_a_stream_that_is_too_short_is_refused(tick, capsys):
    with pytest.raises(SystemExit) as stop:
        tick.main(["--seconds", "0"])
    assert stop.value.code == 2
    assert "--seconds 0: at least 1 is needed" in capsys.readouterr().err
