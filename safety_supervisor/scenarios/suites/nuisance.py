"""The suite `nuisance`: hours in which there is nothing to stop for; every stop is a false one.

Most of the time is simulated in pieces of `PIECE` [s] that differ by their number, with sensor models and tracker in
the loop and a policy that sees and follows. Where the data folder is there, recorded traffic without incidents and the
recorded highway drive are judged too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Floats, Mode
from safety_supervisor.replay.command import Options as ReplayOptions
from safety_supervisor.replay.command import replay
from safety_supervisor.scenarios import policy
from safety_supervisor.scenarios import run as full
from safety_supervisor.scenarios.plant import Ego
from safety_supervisor.scenarios.sensors import stream
from safety_supervisor.scenarios.suite import PARKING_STOP
from safety_supervisor.scenarios.suites import layout, loop, traffic
from safety_supervisor.scenarios.suites.case import Body, Case
from safety_supervisor.scenarios.suites.grids import case_seed
from safety_supervisor.scenarios.suites.recorded import DT
from safety_supervisor.scenarios.suites.suite import Options, Picture, Row, Spec, row
from safety_supervisor.scenarios.world import CAR, TRUCK, Kind, Rail, Road, World, road

PIECE = 60.0
"""Length of one simulated piece [s]."""
LANE = 3.6
LATERAL_ACCELERATION = 2.0
"""Curves are driven with no more [m/s^2]."""
RECORDING = "comma2k19_rav4_seg40/rosbag2_mcap"
STALE = "PLAN_STALE"
"""The recorded plan ends before the recording does: the stop for it is right."""

BEAM = np.tan(np.radians(3.5))
"""Half of a radar's vertical field of view; what is overhead leaves it from below: the simulated feature."""
RADAR_HEIGHT, BRIDGE_HEIGHT, SIGN_HEIGHT = 0.5, 5.0, 5.5
"""Over the road [m]."""
BRIDGE, SIGN = Kind("bridge", 1.0, 6.0, 160.0), Kind("sign", 0.3, 3.0, 150.0)

Built = tuple[Case, loop.Driver]


@dataclass(slots=True)
class Follower:
    """A policy that keeps its distance from the bodies of its lane after the intelligent driver model."""

    wish: policy.Policy
    front: float
    leads: list[tuple[Floats, Floats, Floats]] = field(default_factory=list)
    """(T,) rear end's station [m], speed [m/s] and offset from ego's lane [m] of each body at each step."""

    def plan(self, t: float, station: float, speed: float, acceleration: float) -> tuple[Floats, Floats, Floats]:
        """Return time [s from now], station [m] and speed [m/s] of the plan's points."""
        step = round(t / DT)
        now = [(float(s[step]), float(v[step]), float(y[step])) for s, v, y in self.leads]
        front = station + self.front
        ahead = [policy.Lead(s, v) for s, v, y in now if abs(y) < policy.LANE_HALF_WIDTH and s > front]
        ego = Ego(t, 0.0, 0.0, 0.0, speed, acceleration)
        travelled, planned = policy.longitudinal(self.wish, ego, front, ahead)
        return np.arange(policy.POINTS, dtype=np.float64) * policy.STEP, station + travelled, planned


@dataclass(slots=True)
class _Scene:
    """A piece under construction: road, ego's speed and what is on the way."""

    rng: np.random.Generator
    road: Road
    speed: float
    front: float
    bodies: list[Body] = field(default_factory=list)
    leads: list[tuple[Floats, Floats, Floats]] = field(default_factory=list)
    rails: tuple[Rail, ...] = ()
    t: Floats = field(default_factory=lambda: np.arange(round(PIECE / DT) + 2, dtype=np.float64) * DT)

    def add(self, name: str, kind: Kind, station: Floats, speed: Floats, offset: Floats, across: Floats,
            direction: int = 1, lead: bool = False) -> None:  # fmt: skip
        """Add a body that follows the road; a `lead` is one that ego's policy sees."""
        self.bodies.append(layout.along(name, kind, self.road, station, direction * speed, offset, across, direction))
        if lead:
            self.leads.append((station - kind.length / 2, speed, offset))

    def steady(self, name: str, kind: Kind, at: float, speed: float, offset: float, direction: int = 1,
               lead: bool = False) -> None:  # fmt: skip
        """Add a body at constant speed in its lane."""
        still, moving = np.zeros_like(self.t), np.full_like(self.t, speed)
        self.add(name, kind, at + direction * speed * self.t, moving, still + offset, still, direction, lead)

    def case(self, id_: int, source: str, headway: float = 1.6, wish: float | None = None) -> Built:
        """Return the finished piece and its policy."""
        posts = World(self.road, rails=self.rails).posts
        told: dict[str, float | str] = {"source": source, "ego_mps": round(self.speed, 2)}
        done = Case(id_, told, tuple(self.bodies), self.speed, DT, round(PIECE / DT), self.road, posts=posts)
        way = policy.Policy(wish or self.speed, headway=headway, standing_gap=2.0)
        return done, Follower(way, self.front, self.leads)


def _curvy(rng: np.random.Generator, speed: float, tightest: float) -> Road:
    """Return a road of bends with radii from `tightest` [m] on, as far as ego's speed allows, and straights."""
    radius = max(tightest, speed * speed / LATERAL_ACCELERATION)
    pieces: list[tuple[float, float]] = [(150.0, 0.0)]
    while sum(length for length, _ in pieces) < PIECE * speed + 500.0:
        bend = rng.choice((-1.0, 1.0)) / (radius * rng.uniform(1.0, 3.0))
        transition, length = max(2.5 * speed, 30.0), rng.uniform(60.0, 250.0)
        pieces += [(transition, bend), (length, bend), (transition, 0.0), (rng.uniform(30.0, 200.0), 0.0)]
    return road(pieces)


def _wavy(rng: np.random.Generator, t: Floats, low: float, high: float, start: float) -> tuple[Floats, Floats]:
    """Return travel and speed of a car that speeds up and slows down by up to 1.5 m/s^2 between `low` and `high`."""
    speed, now, until, rate = np.empty_like(t), start, 0.0, 0.0
    for i, at in enumerate(t):
        if at >= until:
            until, rate = at + rng.uniform(2.0, 6.0), rng.uniform(-1.5, 1.2)
        now = min(max(now + rate * DT, low), high)
        speed[i] = now
    return np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * DT)]), speed


def _fast(rng: np.random.Generator, front: float, low: float = 15.0, high: float = 33.0, bend: float = 300.0) -> _Scene:
    speed = float(rng.uniform(low, high))
    return _Scene(rng, _curvy(rng, speed, bend), speed, front)


def rails(rng: np.random.Generator, front: float, id_: int) -> Built:
    """Guard rails on both sides, in bends too, sometimes a lead."""
    s = _fast(rng, front)
    s.rails = tuple(Rail(side * rng.uniform(4.5, 8.0), end=PIECE * s.speed + 400.0) for side in (-1.0, 1.0))
    if rng.random() < 0.6:
        travel, speed = _wavy(rng, s.t, 0.7 * s.speed, s.speed, s.speed)
        still = np.zeros_like(s.t)
        s.add("lead", CAR, front + 2.2 * s.speed + 5.0 + travel, speed, still, still, lead=True)
    return s.case(id_, "rails")


def overhead(rng: np.random.Generator, front: float, id_: int) -> Built:
    """Bridges and signs over the lane every 250 to 600 m, at 15 to 36 m/s."""
    s = _fast(rng, front, 15.0, 36.0, 800.0)
    at = 200.0
    while at < PIECE * s.speed + 300.0:
        kind, height = (BRIDGE, BRIDGE_HEIGHT) if rng.random() < 0.5 else (SIGN, SIGN_HEIGHT)
        x, y, yaw = s.road.pose(at, rng.uniform(-1.5, 1.5))
        nearest = float((height - RADAR_HEIGHT) / BEAM)
        motion = np.array([[float(x), float(y), float(yaw), 0.0, 0.0]])
        s.bodies.append(Body(f"{kind.name} {len(s.bodies)}", kind, motion, solid=False, nearest=nearest))
        at += rng.uniform(250.0, 600.0)
    return s.case(id_, "bridges and signs")


def oncoming(rng: np.random.Generator, front: float, id_: int) -> Built:
    """A winding road of two lanes with traffic in the other one."""
    s = _fast(rng, front, 12.0, 25.0, 150.0)
    at = 60.0
    while at < 2 * PIECE * s.speed:
        s.steady(f"oncoming {len(s.bodies)}", TRUCK if rng.random() < 0.2 else CAR, at, float(rng.uniform(12.0, 24.0)),
                 LANE + float(rng.uniform(-0.3, 0.3)), -1)  # fmt: skip
        at += rng.uniform(80.0, 250.0)
    return s.case(id_, "oncoming in curves")


def queue(rng: np.random.Generator, front: float, id_: int) -> Built:
    """Behind a lead at 5 to 15 m/s with 0.9 s of headway, neighbours on both sides."""
    start = float(rng.uniform(5.0, 15.0))
    s = _Scene(rng, _curvy(rng, 15.0, 200.0), start, front)
    still = np.zeros_like(s.t)
    travel, speed = _wavy(rng, s.t, 5.0, 15.0, start)
    s.add("lead", CAR, front + CAR.length / 2 + 2.0 + 0.9 * start + travel, speed, still, still, lead=True)
    for side in (-1.0, 1.0):
        for k in range(3):
            travel, speed = _wavy(rng, s.t, 4.0, 16.0, start)
            offset = side * (LANE + float(rng.uniform(-0.2, 0.2)))
            at = float(-15.0 + 18.0 * k + rng.uniform(-4.0, 4.0))
            s.add(f"neighbour {side:g} {k}", CAR, at + travel, speed, still + offset, still)
    return s.case(id_, "queue", 0.9, 15.0)


def overtaking(rng: np.random.Generator, front: float, id_: int) -> Built:
    """Slower cars and trucks in the right lane."""
    s = _fast(rng, front, 20.0, 33.0, 600.0)
    s.rails = (Rail(5.0, end=PIECE * s.speed + 400.0),)
    at = 50.0
    while at < 0.6 * PIECE * s.speed:
        slower = s.speed - float(rng.uniform(3.0, 12.0))
        kind = TRUCK if rng.random() < 0.4 else CAR
        s.steady(f"slower {len(s.bodies)}", kind, at, slower, -LANE + float(rng.uniform(-0.2, 0.2)))
        at += rng.uniform(60.0, 160.0)
    return s.case(id_, "overtaking")


def overtaken(rng: np.random.Generator, front: float, id_: int) -> Built:
    """Faster cars on the left, every other one then changes into ego's lane, 18 m and more ahead of ego."""
    s = _fast(rng, front, 16.0, 28.0, 500.0)
    s.rails = (Rail(-5.0, end=PIECE * s.speed + 400.0),)
    for k in range(6):
        faster = s.speed + float(rng.uniform(4.0, 9.0))
        behind = -float(rng.uniform(20.0, 60.0)) - 60.0 * k
        past = (front + 18.0 + CAR.length / 2 - behind) / (faster - s.speed)
        y, vy = np.full_like(s.t, LANE), np.zeros_like(s.t)
        if k % 2:
            y, vy = layout.smooth(s.t, past, float(rng.uniform(3.5, 6.0)), LANE, 0.0)
        s.add(f"faster {k}", CAR, behind + faster * s.t, np.full_like(s.t, faster), y, vy, lead=True)
    return s.case(id_, "overtaken")


def ghosts(rng: np.random.Generator, front: float, id_: int) -> Built:
    """A lead and its ghosts: twice as far (double bounce), mirrored behind a rail, and a little behind it."""
    s = _fast(rng, front, 15.0, 30.0, 800.0)
    s.rails = (Rail(5.5, end=PIECE * s.speed + 400.0),)
    gap = 2.0 * s.speed
    start = front + gap + CAR.length / 2
    s.steady("lead", CAR, start, s.speed, 0.0, lead=True)
    places = {"double bounce": (2 * gap + front, 0.0), "mirror": (start, 11.0), "under body": (start + 3.5, 0.3)}
    for name, (at, offset) in places.items():
        s.steady(name, CAR, at, s.speed, offset)
        body = s.bodies[-1]
        s.bodies[-1] = replace(body, motion=_flickering(rng, body.motion), solid=False)
    return s.case(id_, "ghosts")


def _flickering(rng: np.random.Generator, motion: Floats) -> Floats:
    """Return the motion of something that is there for 0.2 to 1.5 s at a time, and else nowhere."""
    shown = motion.copy()
    i = 0
    while i < len(shown):
        away, there = (round(float(rng.uniform(*span)) / DT) for span in ((0.5, 5.0), (0.2, 1.5)))
        shown[i : i + away, 0] = 1e7
        i += away + there
    return shown


FAMILIES: Sequence[tuple[Callable[[np.random.Generator, float, int], Built], int]] = (
    (rails, 3), (overhead, 3), (oncoming, 3), (queue, 4), (overtaking, 2), (overtaken, 2), (ghosts, 2),
)  # fmt: skip
"""How a piece is made, and its share of the time."""
ORDER = tuple(build for build, share in FAMILIES for _ in range(share))
PARKING_EVERY = 20
"""Every so many pieces one is a parking manoeuvre."""
RECORDED_FROM = 1_000_000
"""Ids of recorded sources; the recorded drive is the first of them."""


def family(id_: int) -> str:
    """Return what a piece is made by; `parking` has its own loop."""
    if id_ >= RECORDED_FROM:
        return "recorded"
    return "parking" if id_ % PARKING_EVERY == PARKING_EVERY - 1 else ORDER[id_ % len(ORDER)].__name__


# --- the suite ------------------------------------------------------------------------------------------------

SOURCES = Picture("number", "source", (), "piece of its source", "source")


@dataclass(frozen=True, slots=True)
class NuisanceSuite:
    """Nothing to stop for."""

    name: str = "nuisance"
    title: str = "nothing to stop for: every stop is a false one"
    needs: str | None = None
    picture: Picture = SOURCES
    usual: int | None = None

    def specs(self, options: Options) -> Sequence[Spec]:
        """Return the pieces that make up the hours, and the recorded sources where their folders are there."""
        pieces, simulated, i = [], 0.0, 0
        while simulated < options.hours * 3600:
            pieces.append(Spec(i, family(i)))
            simulated += PARKING_STOP.duration if family(i) == "parking" else PIECE
            i += 1
        if options.data is not None and (options.data / RECORDING).exists():
            pieces.append(Spec(RECORDED_FROM, "recorded drive"))
        if options.data is not None and (options.data / traffic.FOLDER).exists():
            calm = traffic.calm(options.data / traffic.FOLDER)
            egos = [e for e in traffic.listed(options.data / traffic.FOLDER) if e.file in calm and e.ego != "constant"]
            pieces += [Spec(RECORDED_FROM + 1 + e.id, "commonroad") for e in egos]
        return pieces

    def configure(self, config: Config, options: Options) -> Config:
        """Return the vehicle with its radars; parking and the recorded drive use the vehicle as it is in its file."""
        return traffic.radars_only(config, options, self.name)

    def run(self, ids: Sequence[int], config: Config, options: Options) -> list[Row]:
        """Run pieces one by one."""
        return [{**_one(i, config, options), "case": i, "number": i % RECORDED_FROM} for i in ids]

    def extra(self, rows: Sequence[Row], weights: Sequence[float]) -> Mapping[str, Any]:
        """Return false stops in all and by source, how long they lasted, and `why` recorded egos may be stopped."""
        del weights
        names = sorted({str(r["source"]) for r in rows})
        sources = {name: _false_stops([r for r in rows if r["source"] == name]) for name in names}
        return {**_false_stops(rows), "sources": sources, "why": traffic.reasons(rows)}


def _one(id_: int, config: Config, options: Options) -> Row:
    if id_ == RECORDED_FROM:
        assert options.data is not None
        return _recorded_drive(id_, options.data / RECORDING)
    if id_ > RECORDED_FROM:
        assert options.data is not None
        folder = options.data / traffic.FOLDER
        item = next(e for e in traffic.listed(folder) if e.id == id_ - RECORDED_FROM - 1)
        return traffic.judged(item, folder, config, options)
    if family(id_) == "parking":
        return _parking(id_, options)
    rng = stream(options.seed, f"nuisance {id_}")
    case, driver = ORDER[id_ % len(ORDER)](rng, config.vehicle.front, id_)
    seed = case_seed(options.seed, id_) if options.sensed else None
    return row(id_, case.parameters, (False, 0.0), None, loop.run(case, config, seed, driver))


def _parking(id_: int, options: Options) -> Row:
    """Park in a bay with ultrasonics, always with their models: the policy stops by itself in front of the wall."""
    from safety_supervisor.scenarios.command import load

    rng = stream(options.seed, f"nuisance {id_}")
    stop = 7.52 - float(rng.uniform(0.0, 0.4))  # the wall is 8 m ahead
    wish = replace(PARKING_STOP.policy, stop_at=stop, speed=float(rng.uniform(0.8, 1.4)))
    ended = full.run(replace(PARKING_STOP, policy=wish), load(None), case_seed(options.seed, id_), supervised=True)
    ticks = [loop.Tick((d.t - full.EPOCH) / 1e9, 0.0, abs(d.ego.speed) if d.ego else 0.0, d.mode, d.acceleration)
             for d in ended.decisions]  # fmt: skip
    o = loop.outcome(ticks, "wall" if ended.outcome.collision else "", ended.outcome.impact_speed or 0.0,
                     float(ended.states[-1, 0]), ended.outcome.final_speed)  # fmt: skip
    return row(id_, {"source": "parking", "ego_mps": wish.speed}, (False, 0.0), None, o)


def _recorded_drive(id_: int, bag: Path) -> Row:
    """Replay the recorded highway drive with the vehicle that its topics stand for."""
    with tempfile.TemporaryDirectory() as folder:
        told = replay(bag, Path(folder), ReplayOptions(report=False))
    stops = [Mode[i["mode"]] for i in told["interventions"] if Mode[i["mode"]].brakes and i["code"] != STALE]
    worst = max([Mode.NOMINAL, *stops])
    o = loop.Outcome(False, 0.0, told["duration_s"], None, worst, tuple(stops), "", 0.0, None, None)
    return row(id_, {"source": "comma2k19", "ego_mps": 0.0}, (False, 0.0), None, o)


def _false_stops(rows: Sequence[Row]) -> dict[str, Any]:
    hours = sum(r["simulated_s"] for r in rows) / 3600
    names = [name for r in rows for name in r["stops"].split()]
    comfort, firm = names.count(Mode.COMFORT_STOP.name), names.count(Mode.FIRM_STOP.name)
    stopped = [r for r in rows if r["stops"]]
    return {
        "hours": round(hours, 4), "cases": len(rows), "comfort_stops": comfort, "firm_stops": firm,
        "emergency_stops": len(names) - comfort - firm,
        "comfort_stops_per_10_h": round(10 * comfort / hours, 3) if hours else 0.0,
        "false_stop_share": round(len(stopped) / len(rows), 4) if rows else 0.0,
        "time_to_stop_s": _mean([r["stopped_after_s"] for r in stopped]),
        "time_to_resume_s": _mean([r["resumed_after_s"] for r in stopped]),
    }  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what ended; None when nothing did."""
    known = [v for v in values if v is not None]
    return round(float(np.mean(known)), 3) if known else None


NUISANCE = NuisanceSuite()
