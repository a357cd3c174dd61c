"""Run the radar tracker on simulated scenes, score it, compare it, time it (README.md has the formats).

    python benchmarks/tracking.py SCENE.npz --tracks OUT.npz --json OUT.json [--peer stonesoup] [--plots OUT.html]
    python benchmarks/tracking.py SCENE.npz --late SCANS
    python benchmarks/tracking.py --cost [--peer stonesoup]
    python benchmarks/tracking.py --clutter HOURS
    python benchmarks/tracking.py --memory HOURS

The scene gives the pose and velocity of the sensor, so no odometry is needed: each scan goes through the same `step`
as in the supervisor. The tracker reads only the detections, never the truth or their source; the scoring that follows
reads the truth, when the scene has it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from the source tree, installed or not

import tracking_scores as scores

from safety_supervisor.core.config import Config, Sensor, Tracking, with_values
from safety_supervisor.core.tracking.association import canonical, merged
from safety_supervisor.core.tracking.ego import EgoHistory, SensorPose
from safety_supervisor.core.tracking.radar import Belief, Observation, TrackerState, predicted, step, track_radar
from safety_supervisor.core.world import Floats, Odometry, RadarScan, Tracks, nanoseconds

RADAR = Sensor(topic="radar", half_angle=math.radians(60.0), range_min=1.0, range_max=200.0, sigma_range_rate=0.1)

SCENE: dict[str, Any] = {
    "tracking.extent_sigma": 0.0,
    "tracking.cluster_distance": 0.0,
    "tracking.odometry_drift": 0.00001,
    "tracking.acceleration_psd": 1.8,
    "tracking.lateral_psd": 0.08,
    "tracking.standing_psd": 0.004,
    "tracking.speed_lag": 0.01,
    "tracking.cross_speed_sigma": 2.0,
    "tracking.clutter_rate": 12.5,
    "tracking.birth_existence": 0.04,
}
"""In what the scenes differ from a vehicle; README.md gives the reason for each."""

LEVELS = {"stop": (0.99, 0), "emergency": (0.9999, Config().authority.hits)}
"""Existence and detections from which a track is scored."""

REACH = 8.0
"""Tracks farther apart than this [m] are not taken for each other."""

OPERATING = (0.5, 0.9, 0.97, 0.99, 0.999, 0.9999, 0.99999)
"""Existences of the operating curve."""

COST = ((30, 10), (100, 20), (300, 40))
"""Targets and clutter per scan of the timing."""


def scene_config(values: dict[str, Any] | None = None) -> Config:
    """Return the parameters for scenes of point targets, with `values` (dotted keys) changed further."""
    return with_values(Config(), SCENE | (values or {}))


def observations(scene: dict[str, Floats], p: Tracking) -> Iterator[Observation]:
    """Yield what the radar saw in each scan."""
    for k, t in enumerate(scene["t"]):
        rows = scene["det"][int(scene["off"][k]) : int(scene["off"][k + 1])]
        sigma = np.column_stack([rows[:, 5], rows[:, 6], np.full(len(rows), RADAR.sigma_range_rate)])
        found = merged(canonical(rows[:, 1:4], sigma, RADAR, p), p)
        yield Observation(nanoseconds(float(t)), found, SensorPose(*scene["sensor"][k]), RADAR)


def run(scene: dict[str, Floats], p: Tracking) -> tuple[list[Tracks], float]:
    """Return the tracks after each scan, and the CPU time per scan [s]; a clock read costs a tenth of a scan."""
    belief, history, next_id = Belief(), [], 1
    started = time.process_time()
    for seen in observations(scene, p):
        belief, births = step(belief, seen, np.full(len(seen.found), -1), next_id, p)
        next_id = max(next_id, int(births.max(initial=0)) + 1)
        history.append(belief.tracks)
    return history, (time.process_time() - started) / max(len(history), 1)


def late(scene: dict[str, Floats], p: Tracking, scans: int) -> dict[str, Any]:
    """Return the position error of confirmed tracks [m] when each scan comes so many scans late: compensated by its
    time of measurement, and ignored, beside none.
    """
    seen, now, errors = list(observations(scene, p)), [nanoseconds(float(t)) for t in scene["t"]], {}
    poses = [SensorPose(*s) for s in scene["sensor"]]
    for name, delay in (("none", 0), ("compensated", scans), ("ignored", scans)):
        belief, history, next_id = Belief(), [Tracks()] * delay, 1
        for k in range(delay, len(now)):
            scan = seen[k - delay]
            if name == "ignored":
                scan = replace(scan, t=now[k], pose=poses[k])
            belief, births = step(belief, scan, np.full(len(scan.found), -1), next_id, p)
            next_id = max(next_id, int(births.max(initial=0)) + 1)
            history.append(predicted(belief.tracks, now[k], p))
        errors[name] = scores.score(scene, table(history, 0.99), 0.99)["position_rmse"]
    return errors


def by_place(tracks: Tracks) -> Floats:
    """Return the covariances (N, 4, 4) of whatever is found at the places of these tracks.

    A track's own covariance holds for the object that it follows. Who looks it up by its place, as scoring does, may
    have another object there: where two pass through each other, each track is the mixture of both. The envelope needs
    none of this, since it judges every track for itself.
    """
    cov = np.array(tracks.cov)
    place = tracks.state[:, :2]
    near = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1)) < REACH
    one, other = np.nonzero(near & ~np.eye(len(place), dtype=bool))
    difference = tracks.state[other] - tracks.state[one]
    spread = (tracks.cov[one] + tracks.cov[other])[:, :2, :2]
    square = np.sum(difference[:, :2] * np.linalg.solve(spread, difference[:, :2, None])[:, :, 0], axis=1)
    likely = tracks.existence[other] * np.exp(-square / 2)
    share = likely / (1.0 + np.bincount(one, likely, len(place)))[one]
    np.add.at(cov, one, share[:, None, None] * difference[:, :, None] * difference[:, None, :])
    return cov


def table(history: list[Tracks], threshold: float) -> dict[str, Any]:
    """Return the tracks with at least `threshold` existence as one row per scan and track; `cov` is `by_place`."""
    chosen = [(k, tracks, tracks.existence >= threshold) for k, tracks in enumerate(history)]
    return {
        "scan": np.concatenate([np.full(int(rows.sum()), k) for k, _, rows in chosen]),
        "id": np.concatenate([tracks.id[rows] for _, tracks, rows in chosen]),
        "x": np.concatenate([tracks.state[rows, 0] for _, tracks, rows in chosen]),
        "y": np.concatenate([tracks.state[rows, 1] for _, tracks, rows in chosen]),
        "vx": np.concatenate([tracks.state[rows, 2] for _, tracks, rows in chosen]),
        "vy": np.concatenate([tracks.state[rows, 3] for _, tracks, rows in chosen]),
        "cov": np.concatenate([by_place(tracks)[rows] for _, tracks, rows in chosen]),
        "filter_cov": np.concatenate([tracks.cov[rows] for _, tracks, rows in chosen]),
        "existence": np.concatenate([tracks.existence[rows] for _, tracks, rows in chosen]),
        "hits": np.concatenate([tracks.hits[rows] for _, tracks, rows in chosen]),
    }


def peer_run(scene: dict[str, Floats], p: Tracking) -> tuple[dict[str, Any], float]:
    """Return the rows of Stone Soup's tracks and its CPU time per scan [s]."""
    import tracking_peer  # optional

    scans = [(s.t / 1e9, s.found.z, s.found.variance, s.pose) for s in observations(scene, p)]
    return tracking_peer.run(scans)


def crowd(targets: int, clutter: int, seed: int = 0, scans: int = 200) -> dict[str, Floats]:
    """Return a scene of so many objects in view at all times, in the format of the scenes, without truth."""
    rng = np.random.default_rng(seed)
    place = np.column_stack([rng.uniform(10, 195, targets), rng.uniform(-1, 1, targets)])
    xy = np.column_stack([place[:, 0] * np.cos(place[:, 1]), place[:, 0] * np.sin(place[:, 1])])
    velocity = np.column_stack([rng.normal(0, 1, targets), rng.normal(0, 0.3, targets)])
    rows, off = [], [0]
    for k in range(scans):
        at = xy + velocity * 0.05 * k
        distance = np.hypot(at[:, 0], at[:, 1])
        z = np.column_stack([distance, np.arctan2(at[:, 1], at[:, 0]), np.sum(at * velocity, axis=1) / distance])
        z = (z + rng.normal(size=z.shape) * (0.3, 0.004, 0.1))[rng.random(targets) < 0.9]
        false = rng.uniform((1.0, -1.04, -45.0), (200.0, 1.04, 15.0), (rng.poisson(clutter), 3))
        both = rng.permutation(np.concatenate([z, false]))
        n = len(both)
        noise = np.column_stack([np.zeros(n), np.full(n, 0.3), np.full(n, 0.004), np.full(n, -1.0)])
        rows.append(np.column_stack([np.full(n, k), both, noise]))
        off.append(off[-1] + n)
    return {"t": np.arange(scans) * 0.05, "sensor": np.zeros((scans, 5)), "det": np.concatenate(rows),
            "off": np.array(off)}  # fmt: skip


def cost(peer: bool) -> dict[str, Any]:
    """Return the CPU time per scan [ms] for each size, and the peer's over its first scans."""
    p = scene_config({"tracking.tracks_max": 1000}).tracking
    figures = {}
    for targets, clutter in COST:
        scene = crowd(targets, clutter)
        history, spent = run(scene, p)
        own = {"mean_ms": 1000 * spent, "tracks": float(np.mean([len(h) for h in history]))}
        if peer:
            short = scene | {"t": scene["t"][:20]}
            own["peer_ms"] = 1000 * peer_run(short, p)[1]
            own["times_faster"] = own["peer_ms"] / own["mean_ms"]
        figures[f"{targets}+{clutter}"] = own
    return figures


def clutter_scans(seed: int, scans: int) -> Iterator[Observation]:
    """Yield scans of a radar that drives at 18 m/s and sees nothing real: 5 to 20 false detections, half of them with
    the Doppler of the standing world; noise by range and azimuth as in the scenes.
    """
    rng, p = np.random.default_rng(seed), scene_config().tracking
    for k in range(scans):
        t = k * 0.05
        n = rng.poisson(12.5 + 7.5 * math.sin(2 * math.pi * t / 20))
        z = rng.uniform((1.0, -1.047, -45.0), (200.0, 1.047, 15.0), (n, 3))
        standing = rng.random(n) < 0.5
        z[standing, 2] = -18.0 * np.cos(z[standing, 1]) + rng.normal(0, 0.3, int(standing.sum()))
        azimuth = np.where(z[:, 0] > 70, 0.2, 0.1 + 0.3 * (np.abs(z[:, 1]) / 1.047) ** 1.5)
        sigma = np.column_stack([0.15 + 0.25 * z[:, 0] / 200, np.radians(azimuth), np.full(n, RADAR.sigma_range_rate)])
        pose = SensorPose(18.0 * t, 0.0, 0.0, 18.0, 0.0)
        yield Observation(nanoseconds(t), canonical(z, sigma, RADAR, p), pose, RADAR)


def clutter(hours: float) -> dict[str, Any]:
    """Return how many false tracks reach each level in so many hours without any object."""
    p = scene_config().tracking
    seen_ids: dict[str, set[int]] = {name: set() for name in LEVELS}
    whole = max(math.ceil(hours), 1)
    for seed in range(whole):
        belief, next_id = Belief(), 1
        for seen in clutter_scans(seed, round(hours / whole * 72000)):
            belief, births = step(belief, seen, np.full(len(seen.found), -1), next_id, p)
            next_id = max(next_id, int(births.max(initial=0)) + 1)
            for name, (existence, hits) in LEVELS.items():
                rows = (belief.tracks.existence >= existence) & (belief.tracks.hits >= hits)
                seen_ids[name].update((seed << 40) + int(i) for i in belief.tracks.id[rows])
    return {"hours": hours} | {
        name: {"false_tracks": len(ids), "per_hour": len(ids) / hours} for name, ids in seen_ids.items()
    }


def resident() -> float:
    """Return the resident memory of this process [MB]; Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(hours: float, scans: int = 1200) -> dict[str, Any]:
    """Return the resident memory [MB] while the whole tracker, late scans and lost numbers included, runs for so many
    hours: a crowd of 30 objects among 10 false detections that is over after `scans` and begins anew.
    """
    crowded, state, history = crowd(*COST[0], scans=scans), TrackerState.empty(), EgoHistory()
    config = replace(scene_config(), sensors=(("radar", RADAR),))
    laps, found = max(round(hours * 72000 / scans), 1), []
    for lap in range(laps):
        for k in range(scans):
            t = nanoseconds((lap * scans + k) * 0.05)
            z = crowded["det"][int(crowded["off"][k]) : int(crowded["off"][k + 1]), 1:4]
            history = history.updated([Odometry(t, 0.0, 0.0, 0.0, 0.0, 0.0)])
            state = track_radar(state, (RadarScan("radar", t, z[:, 0], z[:, 1], z[:, 2]),), history, t, config)
        found.append(resident())
    steady = found[len(found) // 10 :]
    growth = float(np.polyfit(np.arange(len(steady)), steady, 1)[0]) if len(steady) > 1 else 0.0
    return {"hours": laps * scans / 72000, "tracks": len(state.tracks), "memory_mb": [steady[0], steady[-1]],
            "memory_mb_per_hour": growth * 72000 / scans}  # fmt: skip


def evaluate(scene: dict[str, Floats], history: list[Tracks]) -> dict[str, Any]:
    """Return the figures at each level, and the operating curve over existence."""
    rows = table(history, min(OPERATING))
    figures: dict[str, Any] = {name: scores.score(scene, rows, *level) for name, level in LEVELS.items()}
    own = rows | {"cov": rows["filter_cov"]}
    for name, level in LEVELS.items():
        figures[name]["nees_by_filter"] = scores.score(scene, own, *level)["nees_all_pairs"]
    points = [scores.score(scene, rows, existence) for existence in OPERATING]
    names = ("missed_per_scan", "false_per_scan", "false_tracks_per_hour", "latency_mean")
    figures["operating"] = [
        {"existence": e} | {n: point[n] for n in names} for e, point in zip(OPERATING, points, strict=True)
    ]
    return figures


def plots(figures: dict[str, Any], file: Path) -> None:
    """Draw GOSPA and NEES over time and the operating curve into one HTML file."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    titles = ("GOSPA over time [m]", "NEES(4) over time, ideal 4", "Existence: misses against false tracks")
    page = make_subplots(rows=3, cols=1, subplot_titles=titles)
    for name in [n for n in ("stop", "peer") if n in figures]:
        f = figures[name]
        time_ = np.arange(len(f["gospa_by_scan"])) * 0.05 + scores.SKIP * 0.05
        page.add_trace(go.Scatter(x=time_, y=f["gospa_by_scan"], name=f"GOSPA {name}"), row=1, col=1)
        page.add_trace(go.Scatter(y=f["nees_by_second"], name=f"NEES {name}"), row=2, col=1)
    curve = figures["operating"]
    page.add_trace(
        go.Scatter(x=[c["false_per_scan"] for c in curve], y=[c["missed_per_scan"] for c in curve],
                   text=[f"{c['existence']:g}" for c in curve], mode="lines+markers+text", name="existence"),
        row=3, col=1)  # fmt: skip
    page.update_xaxes(title_text="s", row=1, col=1)
    page.update_xaxes(title_text="s", row=2, col=1)
    page.update_xaxes(title_text="false per scan", row=3, col=1)
    page.update_yaxes(title_text="missed per scan", row=3, col=1)
    page.update_layout(height=1100)
    page.write_html(file, include_plotlyjs=True)


def opened(file: Path) -> dict[str, Floats]:
    """Return the arrays of a scene; ends the program with one line when it is none."""
    try:
        scene = dict(np.load(file))
        missing = {"t", "sensor", "det", "off"} - scene.keys()
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        sys.exit(f"{file}: cannot be read ({error}), expected the npz file of a scene")
    if missing:
        sys.exit(f"{file}: lacks {', '.join(sorted(missing))}, expected the npz file of a scene")
    return scene


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Track one scene, write its tracks, return its figures."""
    values = {f"tracking.{k}": json.loads(v) for k, v in (item.split("=") for item in args.set)}
    scene, p = opened(args.scene), scene_config(values).tracking
    if args.late:
        return late(scene, p, args.late)
    history, spent = run(scene, p)
    rows = table(history, args.existence)
    if args.tracks:
        np.savez_compressed(args.tracks, allow_pickle=False, **rows)
    figures: dict[str, Any] = {
        "scans": len(history), "cpu_ms_per_scan": 1000 * spent,
        "confirmed_per_scan": len(rows["id"]) / max(len(history), 1), "confirmed_tracks": len(np.unique(rows["id"])),
        "tracks_per_scan": sum(map(len, history)) / max(len(history), 1),
    }  # fmt: skip
    if "truth" in scene:
        figures |= evaluate(scene, history)
    if args.peer:
        theirs, seconds = peer_run(scene, p)
        figures["peer"] = {"cpu_ms_per_scan": 1000 * seconds}
        if "truth" in scene:
            figures["peer"] |= scores.score(scene, theirs, 0.0)
    return figures


def brief(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures without the long series."""
    long = ("gospa_by_scan", "nees_by_second")
    return {k: brief(v) if isinstance(v, dict) else v for k, v in figures.items() if k not in long}


def main() -> None:
    """Read a scene, track it, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, nargs="?")
    parser.add_argument("--tracks", type=Path, help="write the confirmed tracks to this npz file")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--existence", type=float, default=0.9, help="tracks are written from this existence on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="tracking parameter")
    parser.add_argument("--peer", choices=["stonesoup"], help="the same scans through this tracker, when installed")
    parser.add_argument("--plots", type=Path, help="draw the figures into this HTML file")
    parser.add_argument("--late", type=int, metavar="SCANS", help="position error when scans come late, instead")
    parser.add_argument("--cost", action="store_true", help="time scans of 30, 100 and 300 targets instead")
    parser.add_argument("--clutter", type=float, metavar="HOURS", help="count false tracks in target-free clutter")
    parser.add_argument("--memory", type=float, metavar="HOURS", help="does memory grow, in so many hours?")
    args = parser.parse_args()
    if not args.cost and not args.scene and not args.clutter and not args.memory:
        parser.error("a scene, --cost, --clutter HOURS or --memory HOURS")
    if args.peer and importlib.util.find_spec(args.peer) is None:
        parser.error(f"--peer {args.peer} is not installed: pip install {args.peer}")
    if args.clutter or args.memory:
        figures = clutter(args.clutter) if args.clutter else memory(args.memory)
    else:
        figures = cost(bool(args.peer)) if args.cost else measure(args)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    if args.plots and "operating" in figures:
        plots(figures, args.plots)
    print(json.dumps(brief(figures), indent=2))


if __name__ == "__main__":
    main()
