"""Time the tick of a loaded supervisor on one core, the assessment alone, and pairwise distances by ad-rss beside it.

    python benchmarks/tick.py --json FILE [--seconds S]

A stream of ticks at 50 Hz: four radars of 64 detections at 20 Hz each, twelve ultrasonics at 20 Hz, sixty objects
around a moving ego, a plan of 80 steps at 10 Hz. `tick_ms` is the time of one `step`; `assessment_ms` the time of
`assess` for 60 tracks and that plan. Beside them, when the package `ad-rss` is installed, `ad_rss_ms`: its safe
distance in the same direction for each of the 60 pairs, called one by one as its binding offers it. Each has p50, p99
and max; the same by CPU time stands under `..._cpu`, for machines that are busy.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from the source tree, installed or not

import numpy as np

from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config, Sensor, with_values
from safety_supervisor.core.supervisor import judgement
from safety_supervisor.core.world import Inputs, Odometry, Plan, RadarScan, RangeReading, Tracks, nanoseconds

PERIOD, SENSOR_PERIOD, PLAN_PERIOD = nanoseconds(0.02), nanoseconds(0.05), nanoseconds(0.1)
OBJECTS, DETECTIONS, STEPS = 60, 64, 80
SPEED = 15.0
START = nanoseconds(100.0)
MOUNTS = {"front": (3.7, 0.0, 0.0), "left": (1.5, 0.9, np.pi / 2), "right": (1.5, -0.9, -np.pi / 2),
          "rear": (-0.9, 0.0, np.pi)}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Time, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures")
    parser.add_argument("--seconds", metavar="S", type=float, default=20.0, help="length of the stream (default 20)")
    args = parser.parse_args(argv)
    if not args.seconds >= 1.0:
        parser.error(f"--seconds {args.seconds:g}: at least 1 is needed")
    _pin()
    config = vehicle()
    figures, state = stream(config, args.seconds)
    figures |= assessment(config, state)
    figures |= peer(state.tracker.tracks)
    figures |= {"python": platform.python_version(), "machine": platform.machine(), "cores": 1}
    text = json.dumps(figures, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _pin() -> None:
    """Stay on one core, where the system can do that."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def vehicle() -> Config:
    """A car with four radars and twelve ultrasonics."""
    sensors = {name: Sensor(kind="radar", topic=f"radar/{name}", x=x, y=y, yaw=float(yaw), half_angle=1.05,
                            range_max=150.0) for name, (x, y, yaw) in MOUNTS.items()}  # fmt: skip
    for i in range(12):
        front = i < 6
        sensors[f"us_{i}"] = Sensor(
            kind="ultrasonic", topic=f"us/{i}", x=3.7 if front else -0.9, y=-0.75 + 0.3 * (i % 6),
            yaw=0.0 if front else np.pi, half_angle=0.5, range_min=0.2, range_max=5.0, sigma_range=0.03,
        )  # fmt: skip
    return with_values(Config(sensors=tuple(sensors.items())), {"timing.period": 0.02})


@dataclass
class World:
    """Sixty objects: traffic in four lanes, and posts beside the road."""

    rng: Any
    position: Any
    velocity: Any

    @classmethod
    def made(cls) -> World:
        """Return the world at the start."""
        rng = np.random.default_rng(1)
        traffic = OBJECTS * 2 // 3
        lane = rng.choice([-7.0, -3.5, 3.5, 7.0, 0.0], traffic, p=[0.25, 0.25, 0.25, 0.2, 0.05])
        x = rng.uniform(-100.0, 140.0, traffic)
        x = np.where(lane == 0.0, 40.0 + np.abs(x), x)
        posts = np.stack([rng.uniform(-60.0, 400.0, OBJECTS - traffic), rng.choice([-9.0, 9.0], OBJECTS - traffic)], 1)
        velocity = np.zeros((OBJECTS, 2))
        velocity[:traffic, 0] = SPEED + rng.normal(0.0, 1.0, traffic)
        return cls(rng, np.concatenate([np.stack([x, lane], 1), posts]), velocity)

    def scan(self, name: str, t: int, ego_x: float) -> RadarScan:
        """What one radar returns: objects in view with noise, filled up with clutter to 64 detections."""
        mx, my, yaw = MOUNTS[name]
        now = self.position + self.velocity * ((t - START) / 1e9)
        dx, dy = now[:, 0] - ego_x - mx, now[:, 1] - my
        cos, sin = np.cos(yaw), np.sin(yaw)
        r, az = np.hypot(dx, dy), np.arctan2(cos * dy - sin * dx, cos * dx + sin * dy)
        rate = ((self.velocity[:, 0] - SPEED) * dx + self.velocity[:, 1] * dy) / r
        seen = (np.abs(az) < 1.05) & (r < 150.0) & (r > 0.5) & (self.rng.random(OBJECTS) < 0.95)
        rows = np.stack([r, az, rate])[:, seen][:, :DETECTIONS]
        rows = rows + self.rng.normal(0.0, 1.0, rows.shape) * np.array([[0.2], [0.005], [0.1]])
        n = DETECTIONS - rows.shape[1]
        azimuth = self.rng.uniform(-1.0, 1.0, n)
        clutter = np.stack([self.rng.uniform(2.0, 150.0, n), azimuth, -SPEED * np.cos(azimuth + yaw)])
        return RadarScan(name, t, *np.concatenate([rows, clutter], axis=1))


def plan(t: int, x: float) -> Plan:
    """Eight seconds straight on in 80 steps."""
    time_ = np.arange(STEPS + 1) * 0.1
    return Plan(t, time_, x + SPEED * time_, np.zeros(STEPS + 1), np.zeros(STEPS + 1), np.full(STEPS + 1, SPEED))


def inputs(world: World, t: int, tick: int, config: Config) -> Inputs:
    """What arrived since the tick before: sensors are staggered, so that every tick has some."""
    x = SPEED * (t - START) / 1e9
    odometry = (Odometry(t, x, 0.0, 0.0, SPEED, 0.0),)
    scans = tuple(world.scan(name, t, x) for i, name in enumerate(MOUNTS) if _due(t, SENSOR_PERIOD, i))
    pings = tuple(RangeReading(name, t, np.inf, s.range_min, s.range_max)
                  for i, (name, s) in enumerate(config.sensors_of("ultrasonic").items()) if _due(t, SENSOR_PERIOD, i))
    plans = (plan(t, x),) if tick % (PLAN_PERIOD // PERIOD) == 0 else ()
    return Inputs(odometry=odometry, radar=scans, ranges=pings, plans=plans)


def _due(t: int, period: int, offset: int) -> bool:
    shifted = t + offset * period // 4
    return shifted // period != (shifted - PERIOD) // period


def stream(config: Config, seconds: float) -> tuple[dict[str, Any], supervisor.State]:
    """Return the times of the ticks after the first two seconds, and the last state."""
    world, state = World.made(), supervisor.start(config)
    wall, cpu, tracks = [], [], []
    gc.collect()
    gc.freeze()
    for tick in range(round(seconds * 50)):
        t = START + tick * PERIOD
        arrived = inputs(world, t, tick, config)
        a, b = time.perf_counter(), time.process_time()
        state, decision = supervisor.step(state, arrived, t, config)
        c, d = time.perf_counter(), time.process_time()
        if tick >= 100 or seconds < 4:
            wall.append(c - a)
            cpu.append(d - b)
            tracks.append(int((decision.tracks.existence > 0.9).sum()))
    load = {"ticks": len(wall), "confirmed_tracks": float(np.median(tracks)), "mode": decision.mode.name}
    return {"tick_ms": spread(wall), "tick_ms_cpu": spread(cpu), "load": load}, state


def assessment(config: Config, state: supervisor.State) -> dict[str, Any]:
    """Return the times of `assess` for 60 tracks and a plan of 80 steps."""
    situations: list[Any] = []
    kept = judgement.assess

    def spy(*args: Any) -> Any:
        situations.append(args)
        return kept(*args)

    t = state.memory.tick + PERIOD if state.memory.tick is not None else START
    x = SPEED * (t - START) / 1e9
    arrived = Inputs(odometry=(Odometry(t, x, 0.0, 0.0, SPEED, 0.0),), plans=(plan(t, x),))
    judgement.assess = spy  # the situation that a tick makes is what is judged
    try:
        supervisor.step(state, arrived, t, config)
    finally:
        judgement.assess = kept
    tracks, arcs, situation, by = situations[0]
    rows = np.argsort(-tracks.existence, kind="stable")[:OBJECTS]
    chosen = replace(tracks.take(np.sort(rows)), existence=np.full(len(rows), 0.99999))
    return timed("assessment_ms", lambda: kept(chosen, arcs, situation, by)) | {"assessed_tracks": len(chosen)}


def peer(tracks: Tracks) -> dict[str, Any]:
    """Return the times of ad-rss for the same number of pairs; empty when it is not installed."""
    try:
        import ad_rss
    except ImportError:
        return {"ad_rss_ms": None}
    rss, physics = ad_rss.rss, ad_rss.physics
    distance, out = rss.structured.calculateSafeLongitudinalDistanceSameDirection, physics.Distance(0.0)
    ego = relative_state(rss, physics, SPEED)
    pairs = [relative_state(rss, physics, float(v)) for v in np.abs(tracks.state[:OBJECTS, 2])]
    if not distance(pairs[0], ego, out):
        raise SystemExit("ad-rss refuses the benchmark's objects")
    return timed("ad_rss_ms", lambda: [distance(leading, ego, out) for leading in pairs])


def relative_state(rss: Any, physics: Any, speed: float) -> Any:
    """Return one object in the terms of ad-rss, with the parameters of our default vehicle."""
    state = rss.core.RelativeObjectState()
    lon = state.dynamics.alpha_lon
    lon.accel_max, lon.brake_max = physics.Acceleration(3.0), physics.Acceleration(-8.0)
    lon.brake_min, lon.brake_min_correct = physics.Acceleration(-7.0), physics.Acceleration(-7.0)
    lat = state.dynamics.alpha_lat
    lat.accel_max, lat.brake_min = physics.Acceleration(0.2), physics.Acceleration(-0.8)
    state.dynamics.lateral_fluctuation_margin = physics.Distance(0.1)
    state.dynamics.response_time = physics.Duration(0.3)
    _unstructured(state, physics, speed)
    state.object_type = rss.world.ObjectType.OtherVehicle
    lane = state.structured_object_state
    lane.distance_to_enter_intersection = lane.distance_to_leave_intersection = physics.Distance(1000.0)
    velocity = lane.velocity
    velocity.speed_lon_min = velocity.speed_lon_max = physics.Speed(speed)
    velocity.speed_lat_min = velocity.speed_lat_max = physics.Speed(0.0)
    return state


def _unstructured(state: Any, physics: Any, speed: float) -> None:
    """Fill in what the structured case does not use: ad-rss refuses an object in which anything is undefined."""
    free = state.dynamics.unstructured_settings
    free.drive_away_max_angle, free.pedestrian_turning_radius = physics.Angle(2.4), physics.Distance(2.0)
    free.vehicle_min_radius, free.vehicle_yaw_rate_change = physics.Distance(3.5), physics.AngularAcceleration(0.3)
    free.vehicle_trajectory_calculation_step = physics.Duration(0.2)
    for name in dir(free):
        if name.endswith("_steps"):
            setattr(free, name, 1)
    place = state.unstructured_object_state
    place.yaw, place.steering_angle = physics.Angle(0.0), physics.Angle(0.0)
    place.yaw_rate = physics.AngularVelocity(0.0)
    place.center_point.x = place.center_point.y = physics.Distance(0.0)
    place.dimension.length, place.dimension.width = physics.Distance(4.5), physics.Distance(1.9)
    place.speed_range.minimum = place.speed_range.maximum = physics.Speed(speed)


def timed(name: str, work: Callable[[], Any], runs: int = 400) -> dict[str, Any]:
    """Return the spread of wall and CPU times of many calls."""
    wall, cpu = [], []
    for _ in range(20):
        work()
    for _ in range(runs):
        a, b = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - a)
        cpu.append(time.process_time() - b)
    return {name: spread(wall), f"{name}_cpu": spread(cpu)}


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and max [ms]."""
    ms = np.array(seconds) * 1e3
    return {"p50": round(float(np.percentile(ms, 50)), 4), "p99": round(float(np.percentile(ms, 99)), 4),
            "max": round(float(ms.max()), 4)}


if __name__ == "__main__":
    sys.exit(main())
