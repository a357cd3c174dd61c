"""Builders: a test says only what matters to it; everything else is a healthy car on a straight, empty road.

Ego starts at the origin of `odom` and drives along +x. `T` is now.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from safety_supervisor.core import supervisor
from safety_supervisor.core.assessment import Situation
from safety_supervisor.core.config import Config, Sensor, with_values
from safety_supervisor.core.geometry import Path
from safety_supervisor.core.paths import extrapolation, planned_path
from safety_supervisor.core.world import (
    Arc,
    Decision,
    DriverMode,
    Echo,
    Inputs,
    Mode,
    Odometry,
    Plan,
    RadarScan,
    RangeReading,
    Tracks,
    nanoseconds,
    seconds,
)

T = 5_000_000_000
FRONT = 3.7
"""base_link to the front bumper of the default vehicle [m]."""

RADAR = Sensor(kind="radar", topic="radar/front")
ULTRASONIC = Sensor(kind="ultrasonic", topic="us/front", x=FRONT, half_angle=0.5, range_min=0.2, range_max=5.0,
                    sigma_range=0.03)


def config(values: dict[str, Any] | None = None, **sensors: Sensor) -> Config:
    """The default vehicle with one front radar, or with `sensors`; `values` are dotted keys."""
    made = Config(sensors=tuple((sensors or {"front": RADAR}).items()))
    return with_values(made, values) if values else made


CONFIG = config()


def ego(speed=20.0, x=0.0, y=0.0, yaw=0.0, yaw_rate=0.0, t=T) -> Odometry:
    return Odometry(t, float(x), float(y), float(yaw), float(speed), float(yaw_rate))


def plan(speed=20.0, duration=8.0, acceleration=0.0, curvature=0.0, dt=0.1, x=0.0, y=0.0, yaw=0.0, t=T) -> Plan:
    """Drive at `speed`, changed by `acceleration` until standstill, along a circle; negative speed is reverse."""
    time = np.arange(0.0, duration + dt / 2, dt)
    sign = -1.0 if speed < 0 else 1.0
    v = np.maximum(abs(speed) + acceleration * time, 0.0)
    moving = np.minimum(time, abs(speed) / -acceleration) if acceleration < 0 else time
    s = sign * (abs(speed) * moving + acceleration * moving * moving / 2)
    bend = curvature * s
    chord = s * np.sinc(bend / 2 / np.pi)
    return Plan(t, time, x + chord * np.cos(yaw + bend / 2), y + chord * np.sin(yaw + bend / 2), yaw + bend, sign * v)


def stop_plan(speed=10.0, distance=30.0, duration=8.0, **keywords) -> Plan:
    """Brake evenly to rest after `distance` [m], then wait."""
    return plan(speed, duration, -speed * speed / (2 * distance), **keywords)


def changed(value: Plan, **columns: Any) -> Plan:
    """The plan with single entries replaced: `x={3: nan}`."""
    fresh = {}
    for name, entries in columns.items():
        array = getattr(value, name).copy()
        for at, entry in entries.items():
            array[at] = entry
        fresh[name] = array
    return replace(value, **fresh)


def lead(gap=50.0, speed=15.0, y=0.0, vy=0.0, *, existence=0.99999, moved=True, sigma=0.0, speed_sigma=0.0, age=0.0,
         number=1, hits=100, suspect=False, extent=0.0, t=T) -> Tracks:
    """One object `gap` ahead of the front bumper."""
    variance = [sigma * sigma, sigma * sigma, speed_sigma * speed_sigma, speed_sigma * speed_sigma]
    return Tracks(t, [number], [[FRONT + gap, y, speed, vy]], [np.diag(variance)], [existence],
                  [t - nanoseconds(age)], [hits], [moved], [[extent, 0.0]], [suspect])


def together(*tracks: Tracks) -> Tracks:
    """All rows in one table, ids in the order given."""
    names = ("state", "cov", "existence", "updated", "hits", "moved", "extent", "suspect")
    columns = {name: np.concatenate([getattr(t, name) for t in tracks]) for name in names}
    return Tracks(tracks[0].t, np.arange(1, len(columns["state"]) + 1), **columns)


def arc(distance=1.0, rate=0.0, sigma=0.0, echo=Echo.OBJECT, confirmed=True, y=0.0, yaw=0.0, half_angle=0.3, x=FRONT):
    return Arc("us", T, echo, distance, sigma, rate, confirmed, x, y, yaw, half_angle)


def situation(speed=20.0, *, by: Plan | None = None, acceleration=0.0, clear_range=200.0, braking=False, reach=150.0,
              yaw_rate=0.0, beside=False, config: Config = CONFIG) -> Situation:
    """Ego on its plan (constant speed unless `by` says otherwise); `beside` adds the physical extrapolation."""
    now = ego(speed, yaw_rate=yaw_rate)
    path = path_of(by or plan(speed, reach / max(abs(speed), 1.0)), now, reach, config)
    present = extrapolation(now, config.vehicle, 2.0, config.corridor.curvature_sigma, 5.0) if beside else None
    return Situation(ego=now, path=path, present=present, acceleration=acceleration, envelope=config.envelope,
                     clear_range=clear_range, braking=braking)


def path_of(by: Plan, now: Odometry, reach=60.0, config: Config = CONFIG, brake=1e6) -> Path:
    """The path of a plan; `brake` continues it by the stop from its last speed, which is next to nothing here."""
    return planned_path(by, now, config.vehicle, reach, brake)


def straight_path(speed=20.0, reach=150.0) -> Path:
    return path_of(plan(speed), ego(speed), reach)


@dataclass
class Drive:
    """A car that ticks the supervisor and does what it decides, at once and exactly.

    `objects` are (x, y, vx) of point reflectors; switches turn inputs off.
    """

    config: Config = CONFIG
    speed: float = 20.0
    objects: tuple[tuple[float, float, float], ...] = ()
    wish: float = 0.0
    """Acceleration that the policy plans [m/s^2]."""
    obey: bool = True
    echo: float = np.inf
    """What every ultrasonic transducer reads [m]."""
    odometry_on: bool = True
    radar_on: bool = True
    plan_on: bool = True
    t: int = T
    x: float = 0.0
    state: Any = None
    decisions: list[Decision] = field(default_factory=list)

    def inputs(self) -> Inputs:
        """What healthy sensors and a policy that sees nothing send at this tick."""
        here = ego(self.speed, self.x, t=self.t)
        at = np.array([(x - self.x - FRONT, y, vx - self.speed) for x, y, vx in self.objects]).reshape(-1, 3)
        # A little noise: what repeats exactly while ego moves would be a frozen sensor.
        distance = np.hypot(at[:, 0], at[:, 1]) + 1e-3 * (len(self.decisions) % 3)
        azimuth = np.arctan2(at[:, 1], at[:, 0])
        scans = [RadarScan(name, self.t, distance, azimuth, at[:, 2] * np.cos(azimuth))
                 for name in self.config.sensors_of("radar")] if self.radar_on else []
        pings = [RangeReading(name, self.t, self.echo, sensor.range_min, sensor.range_max)
                 for name, sensor in self.config.sensors_of("ultrasonic").items()]
        plans = (plan(self.speed, acceleration=self.wish, x=self.x, t=self.t),) if self.plan_on else ()
        return Inputs(odometry=(here,) if self.odometry_on else (), radar=tuple(scans), ranges=tuple(pings),
                      plans=plans)

    def tick(self, **extra: Any) -> Decision:
        """Send the inputs of one tick, with `extra` fields replaced, and drive on for one period."""
        state = self.state if self.state is not None else supervisor.start(self.config)
        self.state, decision = supervisor.step(state, replace(self.inputs(), **extra), self.t, self.config)
        self.decisions.append(decision)
        period = self.config.timing.period
        wanted = self.wish if decision.mode <= Mode.NOMINAL or decision.driver or not self.obey else (
            decision.acceleration)
        new = max(self.speed + wanted * period, 0.0)
        self.x += (self.speed + new) / 2 * period
        self.objects = tuple((x + vx * period, y, vx) for x, y, vx in self.objects)
        self.speed, self.t = new, self.t + nanoseconds(period)
        return decision

    def run(self, duration: float, **extra: Any) -> Decision:
        """Tick for `duration` [s] and return the last decision."""
        end = self.t + nanoseconds(duration)
        while self.t < end:
            decision = self.tick(**extra)
        return decision

    @property
    def modes(self) -> list[Mode]:
        """Every mode in order, repetitions left out."""
        seen = [d.mode for d in self.decisions]
        return [m for i, m in enumerate(seen) if i == 0 or m != seen[i - 1]]

    def since(self, mode: Mode) -> float:
        """Time [s] after T at which `mode` was first decided; inf when never."""
        return next((seconds(d.t - T) for d in self.decisions if d.mode == mode), float("inf"))


def takeover(on: bool, t: int = T) -> tuple[DriverMode, ...]:
    return (DriverMode(t, on),)
