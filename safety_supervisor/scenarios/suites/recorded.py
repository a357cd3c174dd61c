"""CommonRoad scenarios (2018b, 2020a) as cases: recorded or simulated traffic with an ego.

Two kinds of case: *constant*, the planning problem's ego straight on at its speed, closed loop by braking only; and
*driven*, one of the movers as ego, its plan what it really drove, judged open loop. Recorded places are noisy (NGSIM)
or jump (SUMO changes lanes at once): everybody moves on the smoothest motion through them. Before the first and after
the last state bodies are nowhere.
"""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.motion import fallback_distance
from safety_supervisor.core.world import Floats
from safety_supervisor.scenarios.suites.case import Body, Case
from safety_supervisor.scenarios.suites.loop import HORIZON
from safety_supervisor.scenarios.suites.suite import SuiteError
from safety_supervisor.scenarios.world import Kind, Road

DT = 0.05
"""Physics step [s]."""
NOWHERE = 1e7
"""Where a body is [m] while nothing is recorded of it."""
REAR_SHARE = 0.2
"""Rear overhang of a driven ego as a share of its length."""
SHORTEST, SLOWEST, PER_FILE = 2.5, 2.0, 8
"""A mover is an ego when it is recorded at least so long [s], drives so fast on average [m/s]; so many a file."""
TAIL = 60.0
"""A recorded path goes on straight for so far [m]."""
PLAN_STEP = 0.1
"""Between two points of a plan [s]."""
SMOOTH = 0.4
"""What changes a recorded motion within less than this time [s] is noise; Thiemann et al. 2008 take 0.5 s for NGSIM."""
CREEP = 0.15
"""Who is recorded slower than this [m/s] stands."""
SPACING = 0.2
"""Points of a path are no closer [m]: a direction needs a way."""


@dataclass(frozen=True, slots=True)
class Mover:
    """One obstacle: its rectangle [m] and its states (T, 5): time [s], x, y [m], yaw [rad], speed [m/s]."""

    name: str
    length: float
    width: float
    states: Floats


@dataclass(frozen=True, slots=True)
class Scene:
    """One file."""

    name: str
    movers: tuple[Mover, ...]
    ego: tuple[float, float, float, float] | None
    """x, y [m], yaw [rad], speed [m/s] of the planning problem; None without one."""


@functools.lru_cache(maxsize=32)
def load(path: Path) -> Scene:
    """Read a file; raises SuiteError with one line."""
    try:
        root = ET.parse(path).getroot()
        dt = float(root.attrib["timeStepSize"])
        tags = ("obstacle", "dynamicObstacle", "staticObstacle")
        movers = tuple(m for node in root for m in ([_mover(node, dt)] if node.tag in tags else []) if m is not None)
        problem = root.find("planningProblem/initialState")
        ego = None
        if problem is not None:
            _, x, y, yaw, v = _state(problem, dt)
            ego = (x, y, yaw, v)
        return Scene(path.stem.removesuffix(".cr"), movers, ego)
    except (ET.ParseError, KeyError, ValueError, AttributeError) as error:
        raise SuiteError(f"{path} is not a CommonRoad file that can be read: {error}") from None


def _mover(node: ET.Element, dt: float) -> Mover | None:
    box = node.find("shape/rectangle")
    if box is not None:
        size = float(_text(box, "length")), float(_text(box, "width"))
    else:
        radius = node.find("shape/circle/radius")
        if radius is None or radius.text is None:
            return None
        size = 2 * float(radius.text), 2 * float(radius.text)
    states = [_state(s, dt) for s in (node.find("initialState"), *node.iterfind("trajectory/state")) if s is not None]
    if not states:
        return None
    rows = np.array(sorted(states))
    rows[:, 3] = np.unwrap(rows[:, 3])
    return Mover(str(node.attrib["id"]), *size, smoothed(rows))


def smoothed(states: Floats) -> Floats:
    """Return states (T, 5), as in `Mover`, every `DT` as the motion of least jerk that fits the recorded ones (N, 5).

    It minimises the squares of what places and directions are off plus SMOOTH^6 times those of their third derivative
    in time: what moves with constant acceleration stays as it is. Speed is that of the places, negative backward.
    """
    t = states[0, 0] + DT * np.arange(round((states[-1, 0] - states[0, 0]) / DT) + 1)
    if len(t) < 4:
        return states
    at = np.rint((states[:, 0] - t[0]) / DT).astype(np.int64)
    third = np.diff(np.eye(len(t)), 3, axis=0) / DT**3
    density = len(t) / len(at)
    system = SMOOTH**6 / density * third.T @ third
    system[at, at] += 1.0
    target = np.zeros((len(t), 3))
    target[at] = states[:, 1:4]
    x, y, yaw = np.linalg.solve(system, target).T
    v = np.gradient(x, DT) * np.cos(yaw) + np.gradient(y, DT) * np.sin(yaw)
    return np.stack([t, x, y, yaw, v], axis=1)


def _state(node: ET.Element, dt: float) -> tuple[float, float, float, float, float]:
    point = node.find("position/point")
    if point is None:
        raise ValueError("a state has no position")
    yaw, v, t = (_value(node, name) for name in ("orientation", "velocity", "time"))
    return t * dt, float(_text(point, "x")), float(_text(point, "y")), yaw, v


def _value(node: ET.Element, name: str) -> float:
    exact = node.find(f"{name}/exact")
    if exact is not None and exact.text is not None:
        return float(exact.text)
    low, high = (node.find(f"{name}/interval{end}") for end in ("Start", "End"))
    if low is None or high is None or low.text is None or high.text is None:
        return 0.0
    return (float(low.text) + float(high.text)) / 2


def _text(node: ET.Element, name: str) -> str:
    found = node.find(name)
    if found is None or found.text is None:
        raise ValueError(f"{node.tag} has no {name}")
    return found.text


# --- cases ----------------------------------------------------------------------------------------------------


def egos(scene: Scene) -> Iterator[str]:
    """Yield the egos of a file: `constant`, and the names of the movers that are driven."""
    if scene.ego is not None and scene.ego[3] > 0.5:
        yield "constant"
    spans = [(m, m.states[-1, 0] - m.states[0, 0]) for m in scene.movers]
    moved = [m.name for m, span in spans if span >= SHORTEST and m.states[:, 4].mean() >= SLOWEST]
    yield from moved[:PER_FILE]


def constant(scene: Scene, id_: int, rear: float, parameters: dict[str, float | str]) -> Case:
    """Return the planning problem's ego at constant velocity straight ahead; `rear` is base_link behind its centre [m].

    A mover that stands where ego begins is ego itself and is left out.
    """
    assert scene.ego is not None
    x, y, yaw, speed = scene.ego
    others = [m for m in scene.movers if not _same(m, x, y)]
    end = max((float(m.states[-1, 0]) for m in others), default=4.0)
    steps = round(max(end, 1.0) / DT)
    return Case(id_, parameters, tuple(_body(m, 0.0, steps) for m in others), speed, DT, steps,
                straight_road(x - rear * np.cos(yaw), y - rear * np.sin(yaw), yaw))  # fmt: skip


def _same(mover: Mover, x: float, y: float) -> bool:
    first = mover.states[0]
    return bool(first[0] == 0.0 and np.hypot(first[1] - x, first[2] - y) < 1.0)


def straight_road(x: float, y: float, yaw: float) -> Road:
    """Return a straight road whose station 0 is at x, y [m]."""
    s = np.arange(-20.0, 1500.0, 0.5)
    return Road(s, x + s * np.cos(yaw), y + s * np.sin(yaw), np.full_like(s, yaw))


def driven(
    scene: Scene, name: str, id_: int, parameters: dict[str, float | str], config: Config
) -> tuple[Case, Driven]:
    """Return a mover as ego on the path that it drove, and how it drove it; `config` is the vehicle of its size.

    The case ends where what is left of the recorded drive is shorter than a stop: beyond it there is no plan.
    """
    ego = next(m for m in scene.movers if m.name == name)
    begin = float(ego.states[0, 0])
    back = (config.vehicle.front - config.vehicle.rear) / 2
    yaw = ego.states[:, 3]
    x, y = ego.states[:, 1] - back * np.cos(yaw), ego.states[:, 2] - back * np.sin(yaw)
    way = np.hypot(np.diff(x), np.diff(y))
    s: Floats = np.concatenate([[0.0], np.cumsum(np.where(way < CREEP * DT, 0.0, way))])
    speed: Floats = np.asarray(np.gradient(s, DT), np.float64)
    past = Driven(ego.states[:, 0] - begin, s, speed)
    others = tuple(_body(m, begin, len(s)) for m in scene.movers if m.name != name)
    return Case(id_, parameters, others, float(speed[0]), DT, past.steps(config), _path(x, y, s, yaw)), past


def _path(x: Floats, y: Floats, s: Floats, yaw: Floats) -> Road:
    """Return the recorded path of ego's rear axle as a road in its own direction, straight on at both ends."""
    apart = np.concatenate([[0], np.flatnonzero(np.diff(np.floor(s / SPACING)) > 0) + 1])
    x, y, s = x[apart], y[apart], s[apart]
    if len(s) > 2:
        yaw = np.unwrap(np.arctan2(np.gradient(y, s), np.gradient(x, s)))
    else:
        yaw = yaw[apart]
    before, after = np.array([-TAIL]), np.array([TAIL])
    return Road(
        np.concatenate([s[0] + before, s, s[-1] + after]),
        np.concatenate([x[0] + before * np.cos(yaw[0]), x, x[-1] + after * np.cos(yaw[-1])]),
        np.concatenate([y[0] + before * np.sin(yaw[0]), y, y[-1] + after * np.sin(yaw[-1])]),
        np.concatenate([yaw[:1], yaw, yaw[-1:]]),
    )


def _body(mover: Mover, begin: float, steps: int) -> Body:
    t = begin + np.arange(steps + 1) * DT
    x, y, yaw = (np.interp(t, mover.states[:, 0], mover.states[:, i]) for i in (1, 2, 3))
    rates = [np.gradient(v, DT) if len(t) > 1 else np.zeros(1) for v in (x, y)]
    there = (t >= mover.states[0, 0] - 1e-9) & (t <= mover.states[-1, 0] + 1e-9)
    if len(mover.states) == 1:  # it stands
        there[:] = True
    motion = np.stack([np.where(there, x, NOWHERE), y, yaw, *rates], axis=1)
    return Body(mover.name, Kind("mover", mover.length, mover.width, 140.0), motion)


@dataclass(frozen=True, slots=True)
class Driven:
    """A driver whose plan is what was driven, as far as it is recorded."""

    time: Floats
    station: Floats
    speed: Floats

    def plan(self, t: float, station: float, speed: float, acceleration: float) -> tuple[Floats, Floats, Floats]:
        """Return time [s from now], station [m] and speed [m/s] of the plan's points."""
        ahead = np.arange(0.0, min(HORIZON, self.time[-1] - t) + DT / 2, PLAN_STEP)
        return ahead, np.interp(t + ahead, self.time, self.station), np.interp(t + ahead, self.time, self.speed)

    def at(self, t: float) -> tuple[float, float]:
        """Return station [m] and speed [m/s] as driven."""
        return float(np.interp(t, self.time, self.station)), float(np.interp(t, self.time, self.speed))

    def steps(self, config: Config) -> int:
        """Return how many physics steps have a plan in which ego could stop with the emergency brake, or does stop."""
        e, left = config.envelope, self.station[-1] - self.station
        delay = config.timing.commit + config.timing.actuation_delay
        room = left - fallback_distance(self.speed, delay, e.acceleration_max, e.assumed_brake, e.assumed_jerk)
        stops = self.speed[-1] < config.arbitration.standstill_speed
        enough = (self.time <= self.time[-1] - 2 * PLAN_STEP) & ((room > 0.0) | stops)
        return int(np.argmin(enough)) if not enough.all() else len(enough) - 1
