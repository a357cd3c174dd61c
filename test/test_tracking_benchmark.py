"""The tracking benchmark: what it scores, and that it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import tracking as benchmark
import tracking_scores as scores

from safety_supervisor.core.world import Tracks

SCANS = 100


def scene():
    """Two cars ahead of a radar at rest, in the arrays that scoring reads."""
    t = np.arange(SCANS) * 0.05
    truth = np.zeros((SCANS, 2, 8))
    truth[:, 0, :4] = np.column_stack([40 + 2 * t, 0 * t, 2 + 0 * t, 0 * t])
    truth[:, 1, :4] = np.column_stack([80 - 3 * t, 5 + 0 * t, -3 + 0 * t, 0 * t])
    return {"t": t, "sensor": np.zeros((SCANS, 5)), "truth": truth, "tid": np.tile([7, 8], (SCANS, 1)),
            "infov": np.ones((SCANS, 2), bool)}  # fmt: skip


def rows(ids=(1, 2), offset=(0.0, 0.0), slots=(0, 1)):
    truth = scene()["truth"][:, list(slots), :4]
    n = SCANS * len(slots)
    x = truth.reshape(n, 4)
    return {"scan": np.repeat(np.arange(SCANS), len(slots)), "id": np.tile(ids[: len(slots)], SCANS),
            "x": x[:, 0] + offset[0], "y": x[:, 1] + offset[1], "vx": x[:, 2], "vy": x[:, 3],
            "cov": np.tile(np.eye(4), (n, 1, 1)), "existence": np.full(n, 0.99), "hits": np.full(n, 9)}  # fmt: skip


def test_true_tracks_have_no_error():
    figures = scores.score(scene(), rows(), 0.9)
    assert figures["gospa"] == figures["nees"] == figures["velocity_rmse"] == 0
    assert figures["missed_per_scan"] == figures["false_per_scan"] == figures["identity_switches"] == 0
    assert figures["coverage_gap"] == figures["coverage_speed"] == figures["coverage_lateral"] == 1


def test_gospa_of_an_offset_a_miss_and_a_false_track():
    assert scores.score(scene(), rows(offset=(0.3, 0.4)), 0.9)["gospa"] == pytest.approx(0.5 * 2**0.5)
    assert scores.score(scene(), rows(slots=(0,)), 0.9)["gospa"] == pytest.approx(5 / 2**0.5)
    far = scores.score(scene(), rows(offset=(0.0, 30.0)), 0.9)
    assert far["gospa"] == pytest.approx(10 / 2**0.5, rel=0.01)  # two missed and two false
    assert far["false_tracks"] == 2


def test_coverage_is_one_sided():
    assert scores.score(scene(), rows(offset=(3.5, 0.0)), 0.9)["coverage_gap"] == 0  # the car is nearer than the track
    assert scores.score(scene(), rows(offset=(-3.5, 0.0)), 0.9)["coverage_gap"] == 1


def test_an_identity_switch_is_counted_once_for_each_object():
    swapped = rows()
    late = swapped["scan"] >= 50
    swapped["id"] = np.where(late, swapped["id"] + 10, swapped["id"])
    assert scores.score(scene(), swapped, 0.9)["identity_switches"] == 2


def test_tracks_below_the_level_are_not_scored():
    assert scores.score(scene(), rows(), 0.999)["missed_per_scan"] == 2
    assert scores.score(scene(), rows(), 0.9, hits=10)["missed_per_scan"] == 2


def test_a_crowd_is_tracked_and_written(tmp_path, monkeypatch, capsys):
    crowd = benchmark.crowd(8, 4, scans=40)
    np.savez(tmp_path / "scene.npz", **crowd)
    out = tmp_path / "tracks.npz"
    monkeypatch.setattr(sys, "argv", ["tracking.py", str(tmp_path / "scene.npz"), "--tracks", str(out)])
    benchmark.main()
    figures = json.loads(capsys.readouterr().out)
    assert figures["scans"] == 40
    written = np.load(out)
    assert {"scan", "id", "x", "y", "vx", "vy", "cov", "existence"} <= set(written.files)
    assert written["existence"].min() >= 0.9
    assert (written["scan"] == 39).sum() in (7, 8, 9)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\xb9\x00", "other"])
def test_what_is_no_scene_is_told_in_one_line(tmp_path, monkeypatch, content):
    file = tmp_path / "scene.npz"
    if content == "other":
        np.savez(file, t=np.zeros(3))
    else:
        file.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["tracking.py", str(file)])
    with pytest.raises(SystemExit, match=r"^\S+scene.npz: (cannot be read|lacks det).*expected the npz file"):
        benchmark.main()


def test_scans_that_come_late_are_compensated_by_their_time_of_measurement():
    """One car that opens at 10 m/s: 0.1 s that nobody knows of are a metre, known they are next to nothing."""
    k = np.arange(80)
    x = 30.0 + 0.5 * k
    none, speed = np.zeros(80), np.full(80, 10.0)
    det = np.column_stack([k, x, none, speed, none, np.full(80, 0.1), np.full(80, 0.002), k])
    truth = np.column_stack([x, none, speed, none])[:, None]
    drive = {"t": k * 0.05, "sensor": np.zeros((80, 5)), "det": det, "off": np.arange(81), "truth": truth,
             "tid": np.zeros((80, 1)), "infov": np.ones((80, 1), bool)}  # fmt: skip
    errors = benchmark.late(drive, benchmark.scene_config().tracking, 2)
    assert errors["none"] < 0.05
    assert errors["compensated"] < 0.1
    assert 0.9 < errors["ignored"] < 1.1


def test_its_plots_have_gospa_nees_and_the_operating_curve(tmp_path, monkeypatch, capsys):
    k, none = np.arange(SCANS), np.zeros(SCANS)
    det = np.column_stack([k, 40 + 0.1 * k, none, 2 + none, none, 0.2 + none, 0.004 + none, none])
    drive = scene() | {"det": det, "off": np.arange(SCANS + 1)}
    np.savez(tmp_path / "scene.npz", **drive)
    out, figures = tmp_path / "plots.html", tmp_path / "figures.json"
    arguments = [str(tmp_path / "scene.npz"), "--plots", str(out), "--json", str(figures)]
    monkeypatch.setattr(sys, "argv", ["tracking.py", *arguments])
    benchmark.main()
    page, figures = out.read_text(encoding="utf-8"), json.loads(figures.read_text(encoding="utf-8"))
    for title in ("GOSPA over time", "NEES(4) over time", "Existence: misses against false tracks"):
        assert title in page
    assert len(figures["stop"]["gospa_by_scan"]) == SCANS - scores.SKIP
    assert [point["existence"] for point in figures["operating"]] == list(benchmark.OPERATING)
    assert "gospa_by_scan" not in capsys.readouterr().out  # the long series are for the file


def test_a_tracker_that_runs_on_keeps_its_memory():
    figures = benchmark.memory(0.02, scans=240)
    assert figures["hours"] == pytest.approx(0.02)
    assert figures["tracks"] >= 30
    assert figures["memory_mb"][0] > 20
    assert abs(figures["memory_mb"][1] - figures["memory_mb"][0]) < 20


def test_memory_that_is_taken_is_seen():
    before = benchmark.resident()
    held = np.ones(10_000_000)  # 80 MB
    assert benchmark.resident() - before > 40
    assert held.size


# --- covariances by place ---------------------------------------------------------------------------------------


def tracks(*states, sd=0.2, existence=1.0):
    n = len(states)
    return Tracks(0, np.arange(n), np.array(states), np.tile(np.diag([sd, sd, 0.3, 0.3]) ** 2, (n, 1, 1)),
                  np.full(n, existence), np.zeros(n, np.int64), np.full(n, 9), np.ones(n, bool))  # fmt: skip


def test_who_is_alone_keeps_the_covariance_of_the_filter():
    for found in (Tracks(), tracks((10.0, 0.0, 5.0, 0.0)), tracks((10.0, 0.0, 5.0, 0.0), (10.0, 3.5, -30.0, 0.0))):
        np.testing.assert_allclose(benchmark.by_place(found), found.cov, atol=1e-6)


def test_who_passes_through_another_is_the_mixture_of_both():
    found = tracks((10.0, 0.0, 5.0, 0.0), (10.0, 0.01, -15.0, 0.0))
    cov = benchmark.by_place(found)
    assert cov[0, 2, 2] == pytest.approx(0.3**2 + 20.0**2 / 2, rel=0.01)
    np.testing.assert_allclose(cov[0], cov[1], rtol=1e-9)
    assert np.linalg.eigvalsh(cov).min() > 0
    doubted = benchmark.by_place(tracks((10.0, 0.0, 5.0, 0.0), (10.0, 0.01, -15.0, 0.0), existence=0.1))
    assert doubted[0, 2, 2] == pytest.approx(0.3**2 + 20.0**2 / 11, rel=0.01), "another that hardly exists"


def test_objects_that_are_looked_up_by_place_are_where_these_covariances_say():
    """Two objects pass each other; whoever is nearer to a track is taken for it."""
    rng, own, mixed = np.random.default_rng(1), [], []
    for ahead in np.linspace(-1.0, 1.0, 400):
        found = tracks((10.0, 0.0, 5.0, 0.0), (10.0 + ahead, 0.0, -15.0, 0.0))
        truth = found.state + rng.normal(size=(2, 4)) * (0.2, 0.2, 0.3, 0.3)
        pairs = [(truth, found.state), (truth[::-1], found.state)]
        error = min((t - s for t, s in pairs), key=lambda e: float(np.sum(e[:, :2] ** 2)))
        for cov, nees in ((found.cov, own), (benchmark.by_place(found), mixed)):
            nees.append(np.sum(error * np.linalg.solve(cov, error[:, :, None])[:, :, 0], axis=1).mean())
    assert np.mean(own) > 100, "the control: by the filter alone they are not"
    assert 3.0 < np.mean(mixed) < 5.0
