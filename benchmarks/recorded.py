"""What tracking gives on a recording without truth: the lead's range ahead of time, and the scale of odometry.

    python benchmarks/recorded.py BAG [--json FILE]

*Lead*: of the raw returns of moving objects within 1.2 m of ego's course the nearest. Range and range rate, once of
the return itself and once of the track on it, are extended at constant speed, and compared with the raw range that the
same track has later. Both predict the same pairs; the measure is raw, so the tracker gets nothing for being smooth.

*Odometry*: the way between its own poses, and the Doppler of what stands, each divided by the way or speed that it
reads; in stretches of two seconds, whose scatter gives the interval.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from the source tree, installed or not

from safety_supervisor.core.tracking import sensor_pose
from safety_supervisor.replay.bag import BagError, open_bag
from safety_supervisor.replay.inputs import Options, prepare
from safety_supervisor.replay.replay import Step

Floats = npt.NDArray[np.float64]
AHEAD = (0.5, 1.0, 2.0)
"""How far ranges are extended [s]."""
ASIDE = 1.2
"""Half width of the strip in which the lead is looked for [m]."""
MOVING = 3.0
"""The lead is faster over ground [m/s]."""
SAME = 1.5
"""A return this near to a track [m] is its object's."""
STRETCH = 2.0
"""Length of the stretches of which the scale is taken [s]."""
STANDING = 0.06
"""Returns whose range rate is within this share of what the standing world has are taken to stand."""
SLOWEST = 5.0
"""Ego below this speed [m/s] says little about a scale."""


def measure(bag: Path) -> dict[str, Any]:
    """Return all figures of one recording."""
    with open_bag(bag) as opened:
        ready = prepare(opened, Options(report=False))
        steps = list(ready.run.steps())
        sensors = ready.run.config.sensors_of("radar", "radar_tracks")
    rows = [row for step in steps for row in _seen(step, sensors)]
    scale = {"pose_over_read": _interval(_driven(steps)), "doppler_over_read": _interval(_doppler(steps, sensors))}
    return {"lead": {f"{h:g}s": _ahead(rows, h) for h in AHEAD}, "odometry": scale}


def _seen(step: Step, sensors: dict[str, Any]) -> list[dict[str, Any]]:
    """Return for each scan of a tick what every track and its return say of range and range rate."""
    out = []
    tracks = step.state.tracker.tracks
    for scan in step.inputs.radar:
        at = step.state.ego.at(scan.t)
        if at is None or not len(scan.range) or not len(tracks):
            continue
        pose = sensor_pose(at, sensors[scan.sensor])
        back = (scan.t - tracks.t) / 1e9
        place = tracks.state[:, :2] + back * tracks.state[:, 2:] - (pose.x, pose.y)
        reach = np.hypot(place[:, 0], place[:, 1])
        rate = np.sum(place * (tracks.state[:, 2:] - (pose.vx, pose.vy)), axis=1) / reach
        bearing = scan.azimuth + pose.yaw
        points = scan.range[:, None] * np.column_stack([np.cos(bearing), np.sin(bearing)])
        off = np.hypot(*(place[:, None] - points).transpose(2, 0, 1))
        nearest = off.argmin(axis=1)
        own = (off.min(axis=1) < SAME) & (tracks.existence >= 0.99) & (tracks.hits >= 2)
        ahead = np.abs(scan.range * np.sin(scan.azimuth)) < ASIDE
        ahead &= np.abs(scan.range_rate + pose.vx * np.cos(bearing) + pose.vy * np.sin(bearing)) > MOVING
        lead = int(np.where(ahead, scan.range, np.inf).argmin()) if ahead.any() else -1
        out.append({"t": scan.t / 1e9, "lead": lead, "tracks": {
            int(tracks.id[i]): (int(nearest[i]), float(scan.range[nearest[i]]), float(scan.range_rate[nearest[i]]),
                                float(reach[i]), float(rate[i])) for i in np.nonzero(own)[0]}})  # fmt: skip
    return out


def _ahead(rows: list[dict[str, Any]], ahead: float) -> dict[str, Any]:
    """Return the root mean square errors of the lead's range, raw and tracked, on the same pairs."""
    time = np.array([r["t"] for r in rows])
    errors = []
    for row in rows:
        later = int(np.abs(time - row["t"] - ahead).argmin())
        if row["lead"] < 0 or abs(time[later] - row["t"] - ahead) > 0.02:
            continue
        h = time[later] - row["t"]
        for name, (i, *values) in row["tracks"].items():
            if i == row["lead"] and name in rows[later]["tracks"]:
                there = rows[later]["tracks"][name][1]
                errors.append((values[0] + h * values[1] - there, values[2] + h * values[3] - there))
                break
    if not errors:
        return {"pairs": 0, "raw_m": None, "tracked_m": None}
    raw, tracked = np.sqrt(np.mean(np.square(errors), axis=0))
    return {"pairs": len(errors), "raw_m": float(raw), "tracked_m": float(tracked)}


def _driven(steps: list[Step]) -> Floats:
    """Return (N, 2): the way between poses and the way read, for each stretch [m]."""
    samples = [o for step in steps for o in step.inputs.odometry]
    out, first = [], 0
    for i, sample in enumerate(samples):
        if (sample.t - samples[first].t) / 1e9 < STRETCH:
            continue
        part = samples[first : i + 1]
        t = np.array([o.t for o in part]) / 1e9
        read = float(np.trapezoid([abs(o.speed) for o in part], t))
        place = np.array([(o.x, o.y) for o in [*part[::8], sample]])  # every eighth: noise of the pose is no way
        way = float(np.sum(np.hypot(*np.diff(place, axis=0).T)))
        if read > SLOWEST * STRETCH:
            out.append((way, read))
        first = i
    return np.array(out).reshape(-1, 2)


def _doppler(steps: list[Step], sensors: dict[str, Any]) -> Floats:
    """Return (N, 2): the sums of measured and of expected range rates of the standing world, for each stretch."""
    sums: dict[int, Floats] = {}
    for step in steps:
        for scan in step.inputs.radar:
            at = step.state.ego.at(scan.t)
            if at is None or at.speed < SLOWEST:
                continue
            pose = sensor_pose(at, sensors[scan.sensor])
            bearing = scan.azimuth + pose.yaw
            expected = pose.vx * np.cos(bearing) + pose.vy * np.sin(bearing)
            stands = np.abs(scan.range_rate + expected) < STANDING * np.abs(expected)
            pair = np.array([-scan.range_rate[stands].sum(), expected[stands].sum()])
            key = int(scan.t / 1e9 / STRETCH)
            sums[key] = sums.get(key, np.zeros(2)) + pair
    return np.array([s for s in sums.values() if s[1] > 0]).reshape(-1, 2)


def _interval(pairs: Floats) -> dict[str, Any]:
    """Return the ratio of the sums with its 95 % interval, by how far single stretches lie off it."""
    if len(pairs) < 3:
        return {"stretches": len(pairs), "ratio": None, "low": None, "high": None}
    ratio = float(pairs[:, 0].sum() / pairs[:, 1].sum())
    off = pairs[:, 0] - ratio * pairs[:, 1]
    error = float(np.sqrt(np.sum(off * off) * len(pairs) / (len(pairs) - 1)) / pairs[:, 1].sum())
    return {"stretches": len(pairs), "ratio": ratio, "low": ratio - 1.96 * error, "high": ratio + 1.96 * error}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; 2 when the recording cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args(argv)
    try:
        figures = measure(args.bag)
    except BagError as error:
        parser.error(str(error))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
