"""The closed loop: world, sensors, policy, supervisor and vehicle, deterministic by seed.

Physics runs at 100 Hz, the supervisor at `timing.period`. Both drivers read the network only: what they get
went through the same messages and the same `Gatherer` as on a vehicle or in a replay. Times on the network are
int nanoseconds from `EPOCH` on; times in an outcome are seconds after the start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Decision, Floats, Mode, Plan, nanoseconds, seconds
from safety_supervisor.messages import Gatherer
from safety_supervisor.scenarios import policy, publish, sensors, world
from safety_supervisor.scenarios.control import follow, steer
from safety_supervisor.scenarios.plant import Demand, Ego, advance, command, footprint, scripted
from safety_supervisor.scenarios.publish import Message
from safety_supervisor.scenarios.sensors import Reckoning
from safety_supervisor.scenarios.suite import Scenario
from safety_supervisor.scenarios.world import Bodies

EPOCH = 1_767_225_600_000_000_000
"""Start of every run on the network's clock [ns]; a fixed date, since the world has no other."""
PHYSICS = 10_000_000
"""Step of the world [ns]."""
ODOMETRY_PERIOD, RADAR_PERIOD, PING_PERIOD, PLAN_PERIOD = 20_000_000, 50_000_000, 60_000_000, 100_000_000
"""[ns]; transducers ping in turn."""
RADAR_TRANSPORT, PLAN_COMPUTATION = 12_000_000, 35_000_000
"""From stamp to arrival [ns]; odometry and pings arrive after `SHORT`."""
SHORT = 1_000_000
STANDING, REST = 0.01, 1_500_000_000
"""A run ends when ego has been slower than this [m/s] for this long [ns]."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; times in seconds after the start."""

    collision: bool
    collision_time: float | None
    impact_speed: float | None
    """Speed of ego relative to what it hit [m/s]."""
    minimal_distance: float | None
    """Between ego's body and anything else [m]; None when the world is empty."""
    final_distance: float | None
    """The same at the end of the run [m]."""
    final_speed: float
    """Ego's speed at the end [m/s]."""
    modes: tuple[tuple[float, str], ...]
    """(since, mode) at each change; empty without supervisor."""
    first_intervention: float | None
    """When an MRM was first commanded."""
    deceleration_max: float
    """Strongest braking of the vehicle [m/s^2]."""
    jerk_rms: float
    """Root mean square of jerk over tenths of a second [m/s^3]: comfort."""


@dataclass(frozen=True, slots=True)
class Run:
    """One completed run, with all that was on the network."""

    scenario: Scenario
    config: Config
    seed: int
    supervised: bool
    outcome: Outcome
    messages: tuple[Message, ...]
    """In order of arrival."""
    decisions: tuple[Decision, ...]
    states: Floats
    """(K, 6) true ego at each physics step: t [s], x, y [m], yaw [rad], speed [m/s], acceleration [m/s^2]."""


class Tamper(Protocol):
    """What stands between the world and the supervisor: a campaign puts its faults here."""

    def network(self, t: int, fresh: list[Message]) -> list[Message]:
        """Return what is really sent of the messages published at `t` [ns]."""

    def ticks(self, t: int) -> Sequence[int]:
        """Return the tick times [ns] that the supervisor is given at `t` [ns]."""


class Untouched:
    """No fault."""

    def network(self, t: int, fresh: list[Message]) -> list[Message]:
        """Return all of them."""
        del t
        return fresh

    def ticks(self, t: int) -> Sequence[int]:
        """Return the one tick, at its time."""
        return (t,)


UNTOUCHED = Untouched()


def run(scenario: Scenario, config: Config, seed: int, supervised: bool, tamper: Tamper = UNTOUCHED) -> Run:
    """Run a scenario to the first contact, to rest or to its end; equal arguments give an equal run, to the bit."""
    config = scenario.configure(config)
    loop = _Loop(scenario, config, seed, supervised, tamper)
    for t in range(EPOCH, EPOCH + nanoseconds(scenario.duration), PHYSICS):
        if loop.contact(t) or loop.rested >= REST:
            break
        loop.advance(t)
    decisions = tuple(loop.driver.decisions)
    states = np.array(loop.states)
    outcome = _outcome(states, loop.gaps, loop.impact, decisions)
    received = tuple(sorted((m for m in loop.sent if m.t <= t), key=lambda m: m.t))
    return Run(scenario, config, seed, supervised, outcome, received, decisions, states)


class _Loop:
    """One run under way."""

    def __init__(self, scenario: Scenario, config: Config, seed: int, supervised: bool, tamper: Tamper) -> None:
        self._scenario, self._config, self._tamper = scenario, config, tamper
        self._ego = _start(scenario)
        self._network = _Network(scenario, config, seed, self._ego)
        self._tick = EPOCH
        self._waiting: list[Message] = []
        self.driver: _Driver = _Supervised(config) if supervised else _Unsupervised(config)
        self.sent: list[Message] = []
        self.states: list[tuple[float, ...]] = []
        self.gaps: list[float] = []
        self.impact: float | None = None
        self.rested = 0
        """How long ego has stood [ns]."""

    def contact(self, t: int) -> bool:
        """Publish what is measured at `t` [ns], let the driver act, and tell whether ego touches anything."""
        ego, bodies = self._ego, self._scenario.world.bodies(self._ego.t)
        fresh = self._tamper.network(t, list(self._network.at(t, ego, bodies)))
        self._waiting += fresh
        self.sent += fresh
        while self._tick <= t:
            for told in self._tamper.ticks(self._tick):
                arrived = [m for m in self._waiting if m.t <= self._tick]
                self._waiting = [m for m in self._waiting if m.t > self._tick]
                self._ego = command(ego, self.driver.tick(self._tick, told, arrived, ego, self._network.pose))
            self._tick += nanoseconds(self._config.timing.period)
        self.states.append((ego.t, ego.x, ego.y, ego.yaw, ego.speed, ego.acceleration))
        self.gaps.append(world.distance(footprint(ego, self._config), self._scenario.world, bodies))
        if self.gaps[-1] <= 0.0:
            self.impact = _impact(self._scenario, self._config, ego, bodies)
        return self.impact is not None

    def advance(self, t: int) -> None:
        """Move ego from `t` [ns] to the next step."""
        self.rested = self.rested + PHYSICS if self._ego.speed < STANDING else 0
        script = self._scenario.motion if isinstance(self.driver, _Unsupervised) else ()
        dt = seconds(PHYSICS)
        moved = scripted(self._ego, script, dt) if script else advance(self._ego, self._config, dt)
        self._ego = replace(moved, t=seconds(t + PHYSICS - EPOCH))  # sums of steps would drift


def _start(scenario: Scenario) -> Ego:
    x, y, yaw = (float(v) for v in scenario.world.road.pose(scenario.station, scenario.policy.offset))
    return Ego(0.0, x, y, yaw, scenario.speed)


# --- the network --------------------------------------------------------------------------------------------


class _Network:
    """Measures the world and publishes it; every source has its own period, phase and random stream."""

    def __init__(self, scenario: Scenario, config: Config, seed: int, ego: Ego) -> None:
        self._scenario, self._config = scenario, config
        names = ["odometry", "plan", *(name for name, _ in config.sensors)]
        self._streams = {name: sensors.stream(seed, name) for name in names}
        self.pose: Reckoning = sensors.reckoning(ego, self._streams["odometry"])

    def at(self, t: int, ego: Ego, bodies: Bodies) -> Iterator[Message]:
        """Yield what is measured at `t` [ns]; odometry comes first because plans are placed by it."""
        if _due(t, ODOMETRY_PERIOD):
            yield from self._heard("odometry", t, self._odometry(t, ego))
        for name, sensor in self._config.sensors_of("radar").items():
            if _due(t, RADAR_PERIOD):
                scan = sensors.radar(sensor, self._scenario.world, bodies, ego, self._streams[name])
                ready = t + nanoseconds(sensor.latency)
                message = publish.point_cloud(name, sensor, ready, ready + RADAR_TRANSPORT, scan)
                yield from self._heard(name, t, message)
        for i, (name, sensor) in enumerate(self._config.sensors_of("ultrasonic").items()):
            if _due(t, PING_PERIOD, i * PHYSICS):
                echo = sensors.ultrasonic(sensor, self._scenario.world, bodies, ego, self._streams[name])
                ready = t + nanoseconds(sensor.latency)
                yield from self._heard(name, t, publish.ping(name, sensor, ready, ready + SHORT, echo))
        if _due(t, PLAN_PERIOD):
            yield from self._heard("plan", t, self._plan(t, ego))

    def _heard(self, source: str, t: int, message: Message) -> Iterator[Message]:
        now = seconds(t - EPOCH)
        if not any(s.source == source and s.begin <= now < s.end for s in self._scenario.silences):
            yield message

    def _odometry(self, t: int, ego: Ego) -> Message:
        self.pose = sensors.odometry(self.pose, ego, self._streams["odometry"])
        p = self.pose
        topic = self._config.inputs.odometry
        return publish.odometry(topic, t, t + SHORT, (p.x, p.y, p.yaw), p.speed, p.yaw_rate)

    def _plan(self, t: int, ego: Ego) -> Message:
        """The policy sees the world in ego's frame; its localisation is the odometry."""
        made = policy.plan(self._scenario.policy, self._scenario.world, ego, self._config)
        turn = self.pose.yaw - ego.yaw
        cos, sin = math.cos(turn), math.sin(turn)
        dx, dy = made.x - ego.x, made.y - ego.y
        x, y = self.pose.x + cos * dx - sin * dy, self.pose.y + sin * dx + cos * dy
        points = (made.time, x, y, made.yaw + turn, made.speed)
        return publish.trajectory(self._config.inputs.plan, t, t + PLAN_COMPUTATION, points)


def _due(t: int, period: int, phase: int = 0) -> bool:
    return (t - EPOCH - phase) % period == 0


# --- who drives ---------------------------------------------------------------------------------------------


class _Driver(Protocol):
    decisions: list[Decision]

    def tick(self, t: int, told: int, arrived: list[Message], ego: Ego, pose: Reckoning) -> Demand:
        """Return the demand at `t` [ns] given what arrived since the last tick; `told` is what its clock shows."""


class _Unsupervised:
    """Follows the policy's newest plan, whatever it says."""

    def __init__(self, config: Config) -> None:
        self.decisions: list[Decision] = []
        self._config, self._gatherer = config, Gatherer(config)
        self._plan: Plan | None = None

    def tick(self, t: int, told: int, arrived: list[Message], ego: Ego, pose: Reckoning) -> Demand:
        for m in arrived:
            self._gatherer.add(m.topic, m.msgtype, m.body, m.t)
        plans = self._gatherer.take().plans
        self._plan = plans[-1] if plans else self._plan
        return follow(self._plan, t, ego, pose, self._config) if self._plan else Demand(0.0, ego.curvature)


class _Supervised:
    """Executes the supervisor's decisions; until it commands for the first time, speed and wheel are held."""

    def __init__(self, config: Config) -> None:
        self.decisions: list[Decision] = []
        self._config, self._gatherer = config, Gatherer(config)
        self._state = supervisor.start(config)

    def tick(self, t: int, told: int, arrived: list[Message], ego: Ego, pose: Reckoning) -> Demand:
        for m in arrived:
            self._gatherer.add(m.topic, m.msgtype, m.body, m.t)
        self._state, decision = supervisor.step(self._state, self._gatherer.take(), told, self._config)
        self.decisions.append(decision)
        if decision.command is None:  # blind: brake as demanded, the wheel stays; in INIT nothing is demanded
            return Demand(decision.acceleration if decision.mode.brakes else 0.0, ego.curvature)
        if decision.mode.brakes:  # the MRM is executed as demanded, a passed plan is tracked
            return Demand(decision.acceleration, steer(decision.command, ego, pose, self._config))
        return follow(decision.command, t, ego, pose, self._config)


# --- what came of it ----------------------------------------------------------------------------------------


def _impact(scenario: Scenario, config: Config, ego: Ego, bodies: Bodies) -> float:
    """Relative speed [m/s] to the body that is touched; ego's own against a wall."""
    own = ego.speed * np.array([math.cos(ego.yaw), math.sin(ego.yaw)])
    body, alone = footprint(ego, config), replace(scenario.world, walls=())
    gaps = [world.distance(body, alone, bodies.only(i)) for i in range(len(bodies.names))]
    velocity = bodies.velocity[gaps.index(0.0)] if 0.0 in gaps else np.zeros(2)
    return float(np.hypot(*(own - velocity)))


def _outcome(
    states: Floats, gaps: list[float], impact: float | None, decisions: tuple[Decision, ...]
) -> Outcome:
    changes = [d for i, d in enumerate(decisions) if i == 0 or d.mode != decisions[i - 1].mode]
    first = next((seconds(d.t - EPOCH) for d in decisions if d.mode.brakes), None)
    least = min(gaps)
    tenths = states[::10, 5]
    jerk = np.diff(tenths) / 0.1
    return Outcome(
        collision=impact is not None,
        collision_time=float(states[-1, 0]) if impact is not None else None,
        impact_speed=impact,
        minimal_distance=least if math.isfinite(least) else None,
        final_distance=gaps[-1] if math.isfinite(gaps[-1]) else None,
        final_speed=float(states[-1, 4]),
        modes=tuple((seconds(d.t - EPOCH), Mode(d.mode).name) for d in changes),
        first_intervention=first,
        deceleration_max=max(float(-states[:, 5].min()), 0.0) + 0.0,
        jerk_rms=float(np.sqrt(np.mean(jerk * jerk))) if len(jerk) else 0.0,
    )
