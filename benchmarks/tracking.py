"""Run the radar tracker on a simulated scene and write its confirmed tracks: python benchmarks/tracking.py SCENE.npz

The scene gives the pose and velocity of the sensor, so no odometry is needed: each scan goes through the same `step`
as in the supervisor. Only the detections are read, never the truth or their source. The tracks are written for an
evaluation that knows the truth; CPU time per scan is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from safety_supervisor.core.config import Config, Sensor, Tracking, with_values
from safety_supervisor.core.tracking.association import canonical, merged
from safety_supervisor.core.tracking.ego import SensorPose
from safety_supervisor.core.tracking.radar import Observation, step
from safety_supervisor.core.world import Floats, Tracks, nanoseconds

RADAR = Sensor(
    topic="radar", half_angle=math.radians(60.0), range_min=1.0, range_max=200.0, sigma_range_rate=0.1
)


def observations(scene: dict[str, Floats], p: Tracking) -> Iterator[Observation]:
    """Yield what the radar saw in each scan."""
    for k, t in enumerate(scene["t"]):
        rows = scene["det"][int(scene["off"][k]) : int(scene["off"][k + 1])]
        sigma = np.column_stack([rows[:, 5], rows[:, 6], np.full(len(rows), RADAR.sigma_range_rate)])
        found = merged(canonical(rows[:, 1:4], sigma, RADAR, p), p)
        yield Observation(nanoseconds(float(t)), found, SensorPose(*scene["sensor"][k]), RADAR)


def run(scene: dict[str, Floats], p: Tracking) -> tuple[list[Tracks], float]:
    """Return the tracks after each scan, and the CPU time per scan [s]."""
    tracks, history, next_id = Tracks(), [], 1
    started = time.process_time()
    for seen in observations(scene, p):
        tracks, births = step(tracks, seen, np.full(len(seen.found), -1), next_id, p)
        next_id = max(next_id, int(births.max(initial=0)) + 1)
        history.append(tracks)
    return history, (time.process_time() - started) / max(len(history), 1)


def table(history: list[Tracks], threshold: float) -> dict[str, Floats]:
    """Return the tracks with at least `threshold` existence as one row per scan and track."""
    chosen = [(k, tracks, tracks.existence >= threshold) for k, tracks in enumerate(history)]
    return {
        "scan": np.concatenate([np.full(int(rows.sum()), k) for k, _, rows in chosen]),
        "id": np.concatenate([tracks.id[rows] for _, tracks, rows in chosen]),
        "x": np.concatenate([tracks.state[rows, 0] for _, tracks, rows in chosen]),
        "y": np.concatenate([tracks.state[rows, 1] for _, tracks, rows in chosen]),
        "vx": np.concatenate([tracks.state[rows, 2] for _, tracks, rows in chosen]),
        "vy": np.concatenate([tracks.state[rows, 3] for _, tracks, rows in chosen]),
        "cov": np.concatenate([tracks.cov[rows] for _, tracks, rows in chosen]),
        "existence": np.concatenate([tracks.existence[rows] for _, tracks, rows in chosen]),
    }


def main() -> None:
    """Read a scene, track it, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--tracks", type=Path, help="write the confirmed tracks to this npz file")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--existence", type=float, default=0.9, help="confirmed from this existence on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="tracking parameter")
    args = parser.parse_args()
    values = {"tracking.odometry_drift": 0.0}  # the pose is given, and exactly
    values |= {f"tracking.{k}": json.loads(v) for k, v in (item.split("=") for item in args.set)}
    scene = dict(np.load(args.scene))
    history, cpu = run(scene, with_values(Config(), values).tracking)
    rows = table(history, args.existence)
    if args.tracks:
        np.savez_compressed(args.tracks, allow_pickle=False, **rows)
    figures = {
        "scans": len(history),
        "cpu_ms_per_scan": 1000 * cpu,
        "confirmed_per_scan": len(rows["id"]) / max(len(history), 1),
        "confirmed_tracks": len(np.unique(rows["id"])),
        "tracks_per_scan": sum(map(len, history)) / max(len(history), 1),
    }
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
