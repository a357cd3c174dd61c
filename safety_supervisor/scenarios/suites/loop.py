"""One case in closed loop with the supervisor's `step`: perfect sensors, or sensor models and tracker.

Ego stays on its way; speed is what the supervisor decides about. A demand acts after `timing.actuation_delay`, its
acceleration moves by no more than `fallback.emergency_jerk` and is never below -`fallback.emergency_deceleration`.
Speed and place follow as v += a dt, s += v dt, as in the published R157 loop.

*Perfect* means: every outline point that a sensor of the vehicle file has in view and in sight is a track without error
whose record the tracker takes over in the same tick; what stands is told apart from what can be driven over or under.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config, Sensor
from safety_supervisor.core.supervisor import State
from safety_supervisor.core.tracking.radar import Belief, Record, TrackerState
from safety_supervisor.core.world import (
    Bools,
    Decision,
    Floats,
    Inputs,
    Ints,
    Mode,
    Odometry,
    Plan,
    RadarScan,
    Tracks,
    nanoseconds,
    seconds,
)
from safety_supervisor.scenarios import sensors
from safety_supervisor.scenarios.plant import Ego
from safety_supervisor.scenarios.suites.case import Case, bodies_at, outline, overlap, visible
from safety_supervisor.scenarios.world import UNIT_CORNERS, World, place

EPOCH = 1_767_225_600_000_000_000
"""Start of every case on the clock [ns]."""
SCAN_PERIOD, TRANSPORT = 50_000_000, 12_000_000
"""Period of a radar, and time from a scan to its arrival [ns]."""
HORIZON, POINTS = 4.0, 41
"""Plans cover so many seconds with so many points."""
PERFECT_HITS = 1000
PERFECT_VARIANCE = 1e-8
"""Square of 0.1 mm and of 0.1 mm/s."""


class Driver(Protocol):
    """The policy on its way: what it plans from here on."""

    def plan(self, t: float, station: float, speed: float, acceleration: float) -> tuple[Floats, Floats, Floats]:
        """Return time [s from now], station [m] and speed [m/s] of the plan's points."""


class Past(Protocol):
    """How ego was driven, whatever is decided about it."""

    def at(self, t: float) -> tuple[float, float]:
        """Return station [m] and speed [m/s] at `t` [s]."""


@dataclass(frozen=True, slots=True)
class Blind:
    """Sees nothing: it goes on with the speed that ego has."""

    def plan(self, t: float, station: float, speed: float, acceleration: float) -> tuple[Floats, Floats, Floats]:
        """Return time [s from now], station [m] and speed [m/s] of the plan's points."""
        time = np.linspace(0.0, HORIZON, POINTS)
        return time, station + speed * time, np.full(POINTS, speed)


@dataclass(frozen=True, slots=True)
class Tick:
    """One decision and where ego was when it was taken."""

    t: float
    station: float
    speed: float
    mode: Mode
    acceleration: float
    """What the actuators were asked for [m/s^2]."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case; times in seconds after the start."""

    collision: bool
    impact_speed: float
    """Relative to what is hit [m/s]; 0 without collision."""
    end: float
    """When the case ended [s]."""
    first_stop: float | None
    """When a stop was first commanded [s]."""
    worst: Mode
    """Strongest mode."""
    stops: tuple[Mode, ...]
    """The strongest mode of each separate stop."""
    hit: str
    """Name of the body that was hit, or nothing."""
    final_speed: float
    resumed: float | None
    """How long the first stop lasted until the plan was passed again [s]; None when it did not end."""
    stopped: float | None
    """How long after the first stop was commanded ego stood [s]; None when it did not stand."""


Over = Callable[[int, float, float], bool]
"""Whether nothing more can come of a case at (step, station, speed)."""


def never(step: int, station: float, speed: float) -> bool:
    """A case that lasts as long as it says."""
    del step, station, speed
    return False


def run(
    case: Case,
    config: Config,
    sensed: int | None = None,
    driver: Driver | None = None,
    over: Over = never,
    keep: list[Tick] | None = None,
    decisions: list[Decision] | None = None,
    past: Past | None = None,
) -> Outcome:
    """Run one case; `sensed` is the seed of the sensor models, None for perfect sensors.

    Every tick is appended to `keep`, every decision to `decisions`, when they are given. With `past` the loop is open:
    ego moves as it did, and nothing is hit.
    """
    loop = _Loop(case, config, sensed, driver or Blind(), past)
    hit, impact = "", 0.0
    for step in range(case.steps):
        if past is None:
            hit, impact = loop.contact(step)
            blind = driver is None  # it does not start again
            rests = blind and loop.speed <= 0.0 and untouched(case, config, loop.station, step)
            if hit or rests or over(step, loop.station, loop.speed):
                break
        loop.advance(step)
    if keep is not None:
        keep.extend(loop.ticks)
    if decisions is not None:
        decisions.extend(loop.decisions)
    return outcome(loop.ticks, hit, impact, step * case.dt, loop.speed)


class _Loop:
    """One case under way."""

    def __init__(self, case: Case, config: Config, sensed: int | None, driver: Driver, past: Past | None) -> None:
        self._case, self._config, self._driver, self._past = case, config, driver, past
        self.station, self.speed, self._acceleration = case.start, case.speed, 0.0
        self._every = max(round(config.timing.period / case.dt), 1)
        self._delay = round(config.timing.actuation_delay / case.dt)
        self._asked: list[float] = []
        """Demand of each physics step."""
        self._demand = 0.0
        self._state = supervisor.start(config)
        self._senses: _Senses = _Perfect(case, config) if sensed is None else _Modelled(case, config, sensed)
        self.ticks: list[Tick] = []
        self.decisions: list[Decision] = []

    def contact(self, step: int) -> tuple[str, float]:
        """Return the name of the body that ego touches and the relative speed [m/s]."""
        return contact(self._case, self._config, step, self.station, self.speed)

    def advance(self, step: int) -> None:
        """Let the supervisor decide when it is due, and move ego to the next step."""
        case, config = self._case, self._config
        x, y, yaw = self._pose()
        self._senses.look(step, x, y, yaw, self.speed, self._curvature())
        if step % self._every == 0:
            self._tick(step)
        if self._past is not None:
            self.station, self.speed = self._past.at((step + 1) * case.dt)
            return
        self._asked.append(self._demand)
        asked = self._asked[step - self._delay] if step >= self._delay else 0.0
        self._acceleration = actuated(self._acceleration, asked, case.dt, config)
        self.speed = max(self.speed + self._acceleration * case.dt, 0.0)
        if self.speed <= 0.0:
            self._acceleration = max(self._acceleration, 0.0)
        self.station += self.speed * case.dt

    def _tick(self, step: int) -> None:
        t = EPOCH + nanoseconds(step * self._case.dt)
        time, station, speed = self._driver.plan(step * self._case.dt, self.station, self.speed, self._acceleration)
        self._state, inputs = self._senses.inputs(self._state, t, time, station, speed)
        self._state, decision = supervisor.step(self._state, inputs, t, self._config)
        self._demand = demanded(decision, float(speed[1] - speed[0]) / float(time[1] - time[0]))
        self.ticks.append(Tick(step * self._case.dt, self.station, self.speed, decision.mode, self._demand))
        self.decisions.append(decision)

    def _pose(self) -> tuple[float, float, float]:
        x, y, yaw = self._case.way.pose(self.station)
        return float(x), float(y), float(yaw)

    def _curvature(self) -> float:
        _, _, yaw = self._case.way.pose(np.array([self.station - 0.5, self.station + 0.5]))
        return float(yaw[1] - yaw[0])


def contact(case: Case, config: Config, step: int, station: float, speed: float) -> tuple[str, float]:
    """Return the name of the body that ego touches at `station` and the relative speed [m/s]; nothing and 0 else."""
    solid = tuple(b for b in case.bodies if b.solid)
    if not solid:
        return "", 0.0
    x, y, yaw = (float(v) for v in case.way.pose(station))
    reach = config.vehicle.front + config.vehicle.rear + config.vehicle.width
    rows = np.array([b.at(step) for b in solid])
    sizes = np.array([b.kind.length + b.kind.width for b in solid])
    near = np.abs(rows[:, 0] - x) + np.abs(rows[:, 1] - y) <= 2 * (reach + sizes)
    if not near.any():
        return "", 0.0
    bodies = bodies_at(solid, step)
    touch = overlap(footprint((x, y, yaw), config), bodies.corners)
    if not touch.any():
        return "", 0.0
    i = int(np.argmax(touch))
    own = speed * np.array([np.cos(yaw), np.sin(yaw)])
    return bodies.names[i], float(np.hypot(*(own - bodies.velocity[i])))


def untouched(case: Case, config: Config, station: float, step: int) -> bool:
    """Tell whether no body will touch an ego that stays where it stands."""
    solid = tuple(b for b in case.bodies if b.solid)
    steps = np.arange(step, min(max((len(b.motion) for b in case.bodies), default=0), case.steps))
    if not solid or not len(steps):
        return True
    x, y, yaw = (float(v) for v in case.way.pose(station))
    poses = np.concatenate([b.motion[np.minimum(steps, len(b.motion) - 1), :3] for b in solid])
    half = np.repeat([(b.kind.length / 2, b.kind.width / 2) for b in solid], len(steps), axis=0)[:, None]
    return not overlap(footprint((x, y, yaw), config), place(UNIT_CORNERS * half, poses)).any()


def footprint(pose: tuple[float, float, float], config: Config) -> Floats:
    """Return ego's corners (4, 2) [m] at x, y, yaw, counter-clockwise from front right."""
    v = config.vehicle
    half = v.width / 2
    local = np.array([[(v.front, -half), (v.front, half), (-v.rear, half), (-v.rear, -half)]])
    return np.asarray(place(local, np.array([pose]))[0])


def braked(case: Case, config: Config, begin: float) -> tuple[bool, float]:
    """Return (collision, impact speed) when full braking is demanded from `begin` [s] on; inf is no reaction."""
    station, speed, acceleration = case.start, case.speed, 0.0
    for step in range(case.steps):
        hit, impact = contact(case, config, step, station, speed)
        if hit:
            return True, impact
        due = step * case.dt >= begin + config.timing.actuation_delay
        asked = -config.fallback.emergency_deceleration if due else 0.0
        acceleration = actuated(acceleration, asked, case.dt, config)
        speed = max(speed + acceleration * case.dt, 0.0)
        station += speed * case.dt
    return False, 0.0


def first_sight(case: Case, config: Config, name: str, every: int = 5) -> float:
    """Return when an ego that does not react first has a point of the body `name` in sight [s]; inf for never."""
    at = next(i for i, b in enumerate(case.bodies) if b.name == name)
    outlines = [outline(b.kind) for b in case.bodies]
    first = sum(map(len, outlines[:at])) + 1
    for step in range(0, case.steps, every):
        x, y, yaw = (float(v) for v in case.way.pose(case.start + case.speed * step * case.dt))
        ego = Odometry(EPOCH, x, y, yaw, case.speed, 0.0)
        ids = perfect_tracks(case, outlines, step, ego, config).id
        if ((ids >= first) & (ids < first + len(outlines[at]))).any():
            return step * case.dt
    return float("inf")


def actuated(acceleration: float, asked: float, dt: float, config: Config) -> float:
    """Return the acceleration [m/s^2] that the vehicle has `dt` [s] after it was asked for `asked`."""
    jerk = config.fallback.emergency_jerk * dt
    target = min(max(asked, -config.fallback.emergency_deceleration), config.envelope.acceleration_max)
    return acceleration + min(max(target - acceleration, -jerk), jerk)


def demanded(decision: Decision, planned: float) -> float:
    """Return what a decision asks of the actuators [m/s^2]; a plan that is passed is driven as `planned`."""
    return planned if decision.mode in (Mode.INIT, Mode.NOMINAL) else decision.acceleration


def outcome(ticks: list[Tick], hit: str, impact: float, end: float, speed: float) -> Outcome:
    """Sum up a case."""
    stops: list[Mode] = []
    first = resumed = stopped = None
    braking = False
    for tick in ticks:
        if tick.mode.brakes:
            rank = Mode.COMFORT_STOP if tick.mode == Mode.STANDSTILL else tick.mode
            stops = [*stops[:-1], max(stops[-1], rank)] if braking else [*stops, rank]
            first = tick.t if first is None else first
            if stopped is None and tick.speed <= 0.0:
                stopped = tick.t - first
        elif braking and resumed is None and first is not None:
            resumed = tick.t - first
        braking = tick.mode.brakes
    if first is not None and stopped is None and speed <= 0.0 and not hit:
        stopped = end - first
    worst = max([*stops, *(t.mode for t in ticks if not t.mode.brakes)], default=Mode.INIT)
    return Outcome(bool(hit), impact, end, first, worst, tuple(stops), hit, speed, resumed, stopped)


# --- what the supervisor is told ------------------------------------------------------------------------------


class _Senses(Protocol):
    def look(self, step: int, x: float, y: float, yaw: float, speed: float, curvature: float) -> None:
        """Take note of the world at one physics step."""

    def inputs(self, state: State, t: int, time: Floats, station: Floats, speed: Floats) -> tuple[State, Inputs]:
        """Return the supervisor's state and what arrived for its tick at `t` [ns], the plan included."""


class _Perfect:
    """Truth: odometry as it is, and tracks as they are, put where the tracker keeps its records."""

    def __init__(self, case: Case, config: Config) -> None:
        self._case, self._config = case, config
        self._outlines = [outline(b.kind) for b in case.bodies]
        self._seen: tuple[int, float, float, float, float, float] = (0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def look(self, step: int, x: float, y: float, yaw: float, speed: float, curvature: float) -> None:
        self._seen = (step, x, y, yaw, speed, curvature)

    def inputs(self, state: State, t: int, time: Floats, station: Floats, speed: Floats) -> tuple[State, Inputs]:
        step, x, y, yaw, v, curvature = self._seen
        ego = Odometry(t, x, y, yaw, v, v * curvature)
        tracks = perfect_tracks(self._case, self._outlines, step, ego, self._config)
        plan = planned(self._case, t, time, station, speed)
        inputs = Inputs(odometry=(ego,), radar=empty_scans(t, self._config), plans=(plan,))
        return believing(state, tracks, t, self._config), inputs


def empty_scans(t: int, config: Config) -> tuple[RadarScan, ...]:
    """Return a scan without detections of each radar: it keeps the input fresh."""
    return tuple(RadarScan(name, t, *(np.zeros(0),) * 3) for name in config.sensors_of("radar", "radar_tracks"))


def believing(state: State, tracks: Tracks, t: int, config: Config) -> State:
    """Return the state with `tracks` where its tracker keeps its records: the scans of `t` [ns] count as processed."""
    records = tuple(Record(t, scan, np.zeros(0, np.int64), Belief(tracks)) for scan in empty_scans(t, config))
    return replace(state, tracker=TrackerState(tracks, int(tracks.id.max(initial=0)) + 1, records))


def perfect_tracks(case: Case, outlines: list[Floats], step: int, ego: Odometry, config: Config) -> Tracks:
    """Return the outline points that any radar of the vehicle has in view and in sight, as tracks without error."""
    bodies = bodies_at(case.bodies, step, (ego.x, ego.y))
    owner = np.repeat(np.arange(len(outlines)), [len(o) for o in outlines])
    local = np.concatenate([np.zeros((0, 2)), *outlines])
    pose = bodies.pose[owner]
    points = place(local[:, None], pose)[:, 0] if len(local) else local
    solid = np.array([b.solid for b in case.bodies], np.bool_)
    seen = np.zeros(len(points), np.bool_)
    for _, sensor in config.sensors:
        if sensor.kind != "ultrasonic":
            seen |= in_sight(points, owner, sensor, ego, bodies.corners[solid], np.flatnonzero(solid))
    return tracks_of(points, bodies.velocity[owner], seen, ego.t, config, solid[owner])


def tracks_of(
    points: Floats, velocity: Floats, seen: Bools, t: int, config: Config, solid: Bools | bool = True
) -> Tracks:
    """Return the points (N, 2) that are seen as tracks without error; `velocity` is (N, 2), or (2,) for all of them."""
    rows = np.flatnonzero(seen)
    n = len(rows)
    velocity, solid = np.broadcast_to(velocity, points.shape)[rows], np.broadcast_to(solid, len(points))[rows]
    fast = np.hypot(velocity[:, 0], velocity[:, 1]) > config.tracking.moving_speed
    return Tracks(
        t, rows + 1, np.concatenate([points[rows], velocity], axis=1), np.tile(np.eye(4) * PERFECT_VARIANCE, (n, 1, 1)),
        np.full(n, config.tracking.existence_max), np.full(n, t), np.full(n, PERFECT_HITS), fast | solid,
    )  # fmt: skip


def in_sight(
    points: Floats, owner: Ints, sensor: Sensor, ego: Odometry, corners: Floats, bodies: Ints
) -> Bools:
    """Tell which points (N, 2) a sensor has in range, in view, and not behind another of the `bodies` (M,)."""
    at = sensors.mount(sensor, Ego(0.0, ego.x, ego.y, ego.yaw, ego.speed))
    eye = np.array([at.x, at.y])
    to = points - eye
    reach = np.hypot(to[:, 0], to[:, 1])
    bearing = np.arctan2(to[:, 1], to[:, 0]) - at.yaw
    off = np.abs((bearing + np.pi) % (2 * np.pi) - np.pi)
    free = visible(points, np.searchsorted(bodies, owner), eye, corners)
    return np.asarray((reach <= sensor.range_max) & (off <= sensor.half_angle) & free)


def planned(case: Case, t: int, time: Floats, station: Floats, speed: Floats) -> Plan:
    """Return the plan of `t` [ns] along the way."""
    x, y, yaw = case.way.pose(station)
    return Plan(t, time, x, y, yaw, speed)


class _Modelled:
    """Sensor models: noise, misses, clutter; odometry that drifts; scans that arrive after their transport."""

    def __init__(self, case: Case, config: Config, seed: int) -> None:
        self._case, self._config = case, config
        names = ["odometry", *(name for name, _ in config.sensors)]
        self._streams = {name: sensors.stream(seed, name) for name in names}
        self._before: tuple[int, Ego] | None = None
        self._next = 0
        """Time of the next scan [ns]."""
        self._sent: list[tuple[int, RadarScan]] = []
        """(arrival [ns], scan)"""
        self._world = World()
        object.__setattr__(self._world, "posts", case.posts)
        self._pose: sensors.Reckoning | None = None
        self._ego: Ego | None = None

    def look(self, step: int, x: float, y: float, yaw: float, speed: float, curvature: float) -> None:
        ego = Ego(step * self._case.dt, x, y, yaw, speed, 0.0, curvature)
        if self._pose is None:
            self._pose = sensors.reckoning(ego, self._streams["odometry"])
        now = nanoseconds(step * self._case.dt)
        while self._next <= now:
            self._scan(self._next, step, ego)
            self._next += SCAN_PERIOD
        self._before, self._ego = (step, ego), ego

    def _scan(self, t: int, step: int, ego: Ego) -> None:
        """Scan the world at `t` [ns], which may lie between the step before and this one."""
        then, bodies = ego, bodies_at(self._case.bodies, step, (ego.x, ego.y))
        late = ego.t - seconds(t)
        if self._before is not None and late > 1e-6:
            then = replace(ego, t=seconds(t), x=ego.x - late * ego.speed * np.cos(ego.yaw),
                           y=ego.y - late * ego.speed * np.sin(ego.yaw))  # fmt: skip
            moved = bodies.pose.copy()
            moved[:, :2] -= late * bodies.velocity
            shift = (late * bodies.velocity)[:, None]
            bodies = replace(bodies, pose=moved, corners=bodies.corners - shift)
        for name, sensor in self._config.sensors_of("radar").items():
            scan = sensors.radar(sensor, self._world, bodies, then, self._streams[name])
            stamped = RadarScan(name, EPOCH + t, *scan.T)
            self._sent.append((EPOCH + t + TRANSPORT, stamped))

    def inputs(self, state: State, t: int, time: Floats, station: Floats, speed: Floats) -> tuple[State, Inputs]:
        assert self._ego is not None  # look comes first
        assert self._pose is not None
        self._pose = p = sensors.odometry(self._pose, self._ego, self._streams["odometry"])
        due = tuple(scan for arrival, scan in self._sent if arrival <= t)
        self._sent = [item for item in self._sent if item[0] > t]
        x, y, yaw = self._case.way.pose(station)
        turn = p.yaw - self._ego.yaw  # the policy plans in ego's frame, its localisation is the odometry
        cos, sin = np.cos(turn), np.sin(turn)
        dx, dy = x - self._ego.x, y - self._ego.y
        plan = Plan(t, time, p.x + cos * dx - sin * dy, p.y + sin * dx + cos * dy, yaw + turn, speed)
        return state, Inputs(odometry=(Odometry(t, p.x, p.y, p.yaw, p.speed, p.yaw_rate),), radar=due, plans=(plan,))

