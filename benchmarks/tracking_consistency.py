"""How often the tracker's intervals hold the truth: extended objects that manoeuvre, ego known by odometry only.

    python benchmarks/tracking_consistency.py [--runs 20] [--json OUT.json] [--set KEY=VALUE]

Everything runs as in the vehicle: detections of the default radar through `track_radar`, with default parameters and a
pose that is dead reckoned from a speed that reads 0.9 % low. A body returns 4 to 12 times from the outline that the
radar sees. Judged is, in ego's axes, the near end of the intervals that the envelope reads.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from the source tree, installed or not

from safety_supervisor.core.config import Config, Sensor, from_mapping, with_values
from safety_supervisor.core.tracking import EgoHistory, TrackerState, track_radar
from safety_supervisor.core.world import Odometry, RadarScan, Tracks, nanoseconds

Floats = npt.NDArray[np.float64]
DT, SECONDS = 0.05, 30.0
SCALE, SPEED_NOISE, YAW_RATE_NOISE = 0.991, 0.05, 0.002
"""Of odometry: share of the true speed that it reads, noise [m/s], [rad/s]."""
DETECTED = 0.8
EGO_HALF_WIDTH = Config().vehicle.width / 2
HITS = Config().authority.hits
"""Detections from which a track counts in full: the envelope takes them all, the young ones too."""
NEAR = 0.8
"""A track within it [m] of a body belongs to it."""


@dataclass
class Body:
    """A rectangle with a course of its own; a pedestrian is a small one."""

    kind: str
    state: Floats
    """x, y of the centre [m], vx, vy [m/s]."""
    length: float
    width: float


def bodies(rng: np.random.Generator) -> list[Body]:
    """Return the traffic of one run; ego starts at the origin along x."""
    return [
        Body("lead", np.array([rng.uniform(50, 65), 0.0, 15.0, 0.0]), 4.6, 1.85),
        Body("cut-in", np.array([rng.uniform(20, 30), 3.7, 15.0, 0.0]), 4.6, 1.85),
        Body("oncoming", np.array([rng.uniform(150, 400), 7.4, -14.0, 0.0]), 4.6, 1.85),
        Body("oncoming", np.array([rng.uniform(400, 600), 7.4, -14.0, 0.0]), 12.0, 2.5),
        Body("standing", np.array([rng.uniform(120, 300), -3.7, 0.0, 0.0]), 4.6, 1.85),
        Body("pedestrian", np.array([rng.uniform(80, 200), -14.0, 0.0, 0.0]), 0.5, 0.5),
    ]


def moved(b: Body, t: float, acceleration: float, ego_x: float) -> None:
    """Move a body by one step, position by the mean speed of the step."""
    ax, vy = 0.0, b.state[3]
    if b.kind in ("lead", "cut-in"):
        ax = max(acceleration, -b.state[2] / DT)
    if b.kind == "cut-in" and 5 <= t < 8:
        vy = -3.7 / 3 * (1 - np.cos(2 * np.pi * (t - 5) / 3))
    elif b.kind == "cut-in":
        vy = 0.0
    if b.kind == "pedestrian":
        vy = 1.5 if b.state[0] - ego_x < 60 and b.state[1] < 10 else 0.0
    after = np.array([b.state[2] + ax * DT, vy])
    b.state[:2] += (b.state[2:] + after) / 2 * DT
    b.state[2:] = after


def returns(b: Body, radar: Floats, velocity: Floats, yaw: float, s: Sensor, rng: np.random.Generator) -> Floats:
    """Return (N, 3) detections from the outline that faces the radar."""
    n = int(rng.integers(4, 13)) if b.length > 1 else int(rng.integers(1, 3))
    toward = np.sign(radar - b.state[:2])
    half = np.array([b.length, b.width]) / 2
    place = b.state[:2] + rng.uniform(-1, 1, (n, 2)) * half
    face = rng.random(n) < 0.6
    place[face, 0] = b.state[0] + toward[0] * half[0]
    place[~face, 1] = b.state[1] + toward[1] * half[1]
    offset = place - radar
    distance = np.hypot(offset[:, 0], offset[:, 1])
    rate = offset @ (b.state[2:] - velocity) / distance
    z = np.column_stack([distance, np.arctan2(offset[:, 1], offset[:, 0]) - yaw, rate])
    z += rng.normal(size=z.shape) * (s.sigma_range, s.sigma_azimuth, s.sigma_range_rate)
    return z[rng.random(n) < DETECTED]


def drive(seed: int, config: Config) -> list[tuple[Any, ...]]:
    """Return one row per tick and body: kind, whether tracked, then errors and intervals of gap, speed, lateral gap."""
    rng = np.random.default_rng(seed)
    sensor = config.sensors_of("radar")["front"]
    traffic, state, history = bodies(rng), TrackerState.empty(), EgoHistory()
    x = y = yaw = px = py = pyaw = 0.0
    v, acceleration, rows = 15.0, 0.0, []
    for k in range(int(SECONDS / DT)):
        t = k * DT
        if k % 40 == 0:
            acceleration = float(rng.choice([-6.0, -3.0, 0.0, 0.0, 2.0]))
        rate = 0.02 * np.sin(0.5 * t)
        reading, turning = v * SCALE + rng.normal(0, SPEED_NOISE), rate + rng.normal(0, YAW_RATE_NOISE)
        stamp = nanoseconds(t)
        history = history.updated([Odometry(stamp, px, py, pyaw, reading, turning)])
        forward = np.array([np.cos(yaw), np.sin(yaw)])
        left = np.array([-forward[1], forward[0]])
        radar, velocity = np.array([x, y]) + sensor.x * forward, v * forward + rate * sensor.x * left
        seen = [returns(b, radar, velocity, yaw, sensor, rng) for b in traffic]
        z = np.concatenate([*seen, _clutter(rng)])
        z = z[(np.abs(z[:, 1]) < sensor.half_angle) & (z[:, 0] < sensor.range_max)]
        scan = RadarScan("front", stamp, z[:, 0], z[:, 1], z[:, 2])
        state = track_radar(state, (scan,), history, stamp, config)
        rows += judged(state.tracks, traffic, (x, y, yaw, v), (px, py, pyaw, reading), sensor)
        lead = min((b.state for b in traffic[:2] if b.state[1] < 2), key=lambda s: s[0])
        v = max(v + float(np.clip(0.8 * (lead[2] - v) + 0.2 * (lead[0] - x - 22), -7, 2)) * DT, 0.0)
        x, y, yaw = x + v * np.cos(yaw) * DT, y + v * np.sin(yaw) * DT, yaw + rate * DT
        px, py = px + reading * np.cos(pyaw) * DT, py + reading * np.sin(pyaw) * DT
        pyaw += turning * DT
        for b in traffic:
            moved(b, t, acceleration, x)
    return rows


def judged(tracks: Tracks, traffic: list[Body], true: Any, believed: Any, sensor: Sensor) -> list[tuple[Any, ...]]:
    """Compare each body with the confirmed tracks on it, both seen from ego."""
    rows = []
    turn = _turn(believed[2])
    at, speed = (tracks.state[:, :2] - believed[:2]) @ turn.T, tracks.state[:, 2:] @ turn.T
    both = np.kron(np.eye(2), turn)
    sd = np.sqrt(np.diagonal(both @ tracks.cov @ both.T, axis1=1, axis2=2))
    for b in traffic:
        local = _turn(true[2])
        center, motion = local @ (b.state[:2] - true[:2]), local @ b.state[2:]
        half = np.array([b.length, b.width]) / 2
        if not (sensor.x + 3 < center[0] - half[0] < 150 and abs(np.arctan2(center[1], center[0] - sensor.x)) < 0.9):
            continue
        off = np.maximum(np.abs(at - center) - half, 0.0)
        own = (np.hypot(off[:, 0], off[:, 1]) < NEAR) & (tracks.existence >= 0.99) & (tracks.hits >= HITS)
        own &= np.hypot(*(speed - motion).T) < 6.0
        if not own.any():
            rows.append((b.kind, False, *[np.nan] * 6))
            continue
        i = np.nonzero(own)[0][np.argmin(at[own, 0])]  # the near edge is what the envelope meets first
        j = np.nonzero(own)[0][np.argmin(np.abs(at[own, 1]))]  # and the one nearest to ego's course sideways
        side = max(abs(center[1]) - half[1], EGO_HALF_WIDTH)  # what reaches into ego's width is in the way anyhow
        rows.append((
            b.kind, True, center[0] - half[0] - at[i, 0], sd[i, 0], (motion[0] - true[3]) - (speed[i, 0] - believed[3]),
            sd[i, 2], side - abs(at[j, 1]), sd[j, 1],
        ))  # fmt: skip
    return rows


def coverage(rows: list[tuple[Any, ...]], config: Config) -> dict[str, Any]:
    """Return for each kind of object the share of track-scans in which each near end was on the safe side."""
    out: dict[str, Any] = {}
    for kind in ["all", *sorted({r[0] for r in rows})]:
        chosen = [r for r in rows if kind in ("all", r[0])]
        found = np.array([r[2:] for r in chosen if r[1]], float)
        gap, gap_sd, speed, speed_sd, side, side_sd = found.T
        e, c = config.envelope, config.corridor
        out[kind] = {
            "track_scans": len(found), "tracked": len(found) / len(chosen),
            "gap": _share(gap >= -e.sigma_k * np.maximum(gap_sd, e.gap_sigma_floor) - e.geometry_bound),
            "gap_by_covariance_alone": _share(gap >= -e.sigma_k * gap_sd),
            "gap_error_mean": float(gap.mean()), "gap_error_p0.5": float(np.percentile(gap, 0.5)),
            "closing_speed": _share(speed >= -e.sigma_k * speed_sd),
            "lateral_gap": _share(side >= -c.lateral_sigma_k * side_sd - c.object_half_width - c.margin),
            "lateral_gap_without_margin": _share(side >= -c.lateral_sigma_k * side_sd - c.object_half_width),
            "lateral_gap_at_3_sigma": _share(side >= -3 * side_sd - c.object_half_width),
            "half_extent_needed": float(np.percentile(-side - c.lateral_sigma_k * side_sd, 99.5)),
        }  # fmt: skip
    return out


def _share(holds: Any) -> float:
    return float(np.mean(holds))


def _turn(yaw: float) -> Floats:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, s], [-s, c]])


def _clutter(rng: np.random.Generator) -> Floats:
    return np.asarray(rng.uniform((1.0, -1.05, -45.0), (200.0, 1.05, 15.0), (rng.poisson(10), 3)))


def main() -> None:
    """Drive, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="parameter")
    args = parser.parse_args()
    values = {k: json.loads(v) for k, v in (item.split("=") for item in args.set)}
    config = with_values(from_mapping({"sensors": {"front": {"topic": "radar"}}}), values)
    figures = coverage([row for seed in range(args.runs) for row in drive(seed, config)], config)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
