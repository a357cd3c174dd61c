"""The benchmark of a recording without truth: what it says of the lead and of odometry, on drives that are known."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import recordings

REAL = recordings.REAL / "comma2k19_rav4_seg40" / "rosbag2_mcap"
FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "recorded.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("recorded_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drive(scale=1.0, brake=0.0, standing=0.0):
    """Ten seconds behind a lead; the pose goes on by `scale` times the speed that is read."""
    messages, gap, closing = [], 60.0, 0.0
    for i in range(500):
        t, x = recordings.START + i * 20_000_000, 15.0 * scale * i * 0.02
        messages.append(("/vehicle/odometry", recordings.ODOMETRY, t, recordings.odometry(t, x, 15.0)))
        closing += brake * 0.02
        gap -= closing * 0.02
        if i % 5 == 0:
            seen = [(gap + 0.01 * (i // 5 % 3), 0.1, -closing)]  # what never changes is taken for frozen
            if standing:
                seen += [(40.0 - (15.0 * i * 0.02) % 30 + 20 * k, -4.0, -15.0 * standing) for k in range(4)]
            messages.append(("/radar/front/tracks", recordings.TRACKS, t, recordings.tracks(t, *seen)))
            plan = recordings.trajectory(t, x, 15.0)
            messages.append(("/policy/trajectory", recordings.TRAJECTORY, t, plan))
    return messages


def test_a_steady_lead_is_predicted_and_a_true_odometry_called_so(benchmark, tmp_path, capsys):
    bag = recordings.write(tmp_path / "drive", drive())
    assert benchmark.main([str(bag), "--json", str(tmp_path / "r.json")]) == 0
    figures = json.loads((tmp_path / "r.json").read_text())
    assert json.loads(capsys.readouterr().out) == figures
    assert figures["lead"]["2s"]["pairs"] > 50
    assert figures["lead"]["2s"]["raw_m"] < 0.02
    assert figures["lead"]["2s"]["tracked_m"] < 0.1
    assert figures["odometry"]["pose_over_read"]["ratio"] == pytest.approx(1.0, abs=1e-4)
    assert figures["odometry"]["doppler_over_read"]["ratio"] is None  # nothing stands there


def test_what_both_cars_do_meanwhile_is_an_error(benchmark, tmp_path):
    figures = benchmark.measure(recordings.write(tmp_path / "drive", drive(brake=1.0)))["lead"]
    assert figures["1s"]["raw_m"] == pytest.approx(0.5, abs=0.05)  # a t^2 / 2
    assert figures["2s"]["raw_m"] == pytest.approx(2.0, abs=0.1)
    assert figures["1s"]["tracked_m"] == pytest.approx(figures["1s"]["raw_m"], abs=0.3)


def test_a_scale_of_odometry_is_found_by_pose_and_by_doppler(benchmark, tmp_path):
    figures = benchmark.measure(recordings.write(tmp_path / "drive", drive(scale=1.02, standing=0.98)))["odometry"]
    assert figures["pose_over_read"]["ratio"] == pytest.approx(1.02, abs=1e-3)
    assert figures["doppler_over_read"]["ratio"] == pytest.approx(0.98, abs=1e-3)
    for found in figures.values():
        assert found["low"] <= found["ratio"] <= found["high"]


def test_scatter_widens_the_interval(benchmark):
    close = benchmark._interval(benchmark.np.array([[10.0, 10.0], [10.1, 10.0], [9.9, 10.0], [10.0, 10.0]]))
    wide = benchmark._interval(benchmark.np.array([[10.0, 10.0], [11.0, 10.0], [9.0, 10.0], [10.0, 10.0]]))
    assert close["ratio"] == wide["ratio"] == 1.0
    assert wide["high"] - wide["low"] > 5 * (close["high"] - close["low"]) > 0


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="no real recordings here")
def test_a_real_lead_is_predicted_better_than_by_its_raw_radar(benchmark):
    figures = benchmark.measure(REAL)
    for ahead, published in (("0.5s", 0.213), ("1s", 0.426), ("2s", 1.331)):
        assert figures["lead"][ahead]["pairs"] > 300
        assert figures["lead"][ahead]["tracked_m"] < published
    assert 1.006 < figures["odometry"]["pose_over_read"]["ratio"] < 1.01


def test_no_recording_is_one_line_and_two(benchmark, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark.main([str(tmp_path / "nothing")])
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
