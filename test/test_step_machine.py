"""A life of the supervisor as a state machine: any sequence of any inputs, judged by an oracle of its own.

The oracle knows the contract, not the code: which messages came, whether one makes sense, how old the newest is. It
shares no function with `core/health.py`. `HYPOTHESIS_PROFILE=hunt` searches longer, and elsewhere each time.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from builders import FRONT, RADAR, ULTRASONIC, T, changed, config, ego, plan
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from strategies import any_inputs

from safety_supervisor.core import supervisor
from safety_supervisor.core.world import DriverMode, Inputs, Mode, RadarScan, RangeReading, nanoseconds, seconds
from safety_supervisor.messages import decision_record, json_line

OBJECT_LIST = replace(RADAR, kind="radar_tracks")
CONFIGS = {
    "both": config(front=RADAR, us=ULTRASONIC),
    "radar only": config(front=RADAR),
    "no plan": config({"inputs.plan_expected": False}, front=RADAR, us=ULTRASONIC),
    "object list": config(front=OBJECT_LIST, us=replace(ULTRASONIC, expected=False)),
}
SLACK = 1e-6
"""Rounding of sums of a few terms, in the unit of what is compared."""


# --- the oracle -----------------------------------------------------------------------------------------------------


def finite(*values) -> bool:
    return all(np.isfinite(v).all() for v in values)


def makes_sense(message) -> bool:
    """Whether a message could be true, seen by itself."""
    if isinstance(message, RadarScan):
        columns = (message.range, message.azimuth, message.range_rate)
        return len({len(c) for c in columns}) == 1 and (
            not len(message.range) or bool(np.isfinite(np.array(columns)).all(axis=0).any()))
    if isinstance(message, RangeReading):
        return not math.isnan(message.range)
    if hasattr(message, "yaw_rate"):
        return finite(message.x, message.y, message.yaw, message.speed) and not math.isinf(message.yaw_rate)
    columns = (message.time, message.x, message.y, message.yaw, message.speed)
    return (len({len(c) for c in columns}) == 1 and len(message.time) >= 2 and finite(*columns)
            and bool((np.diff(message.time) > 0).all()))


class Oracle:
    """Remembers what came of each expected input and says which of them forbid NOMINAL."""

    def __init__(self, config) -> None:
        self._config = config
        health = config.health
        self._limits = {"odometry": health.odometry_timeout}
        if config.inputs.plan_expected:
            self._limits["plan"] = health.plan_timeout
        for name, sensor in config.sensors:
            if sensor.expected:
                limit = health.ultrasonic_timeout if sensor.kind == "ultrasonic" else health.radar_timeout
                self._limits[name] = limit
        self._stamps: dict[str, list[int]] = {}
        self._plan = None
        self._tick: int | None = None

    def untrusted(self, inputs: Inputs, t: int) -> set[str]:
        if self._tick is not None and t < self._tick:
            self._stamps, self._plan = {}, None  # another clock: nothing that came before has an age
        self._tick = t
        bad = self._take(inputs, t)
        for name, limit in self._limits.items():
            newest = max(self._stamps.get(name, []), default=None)
            if newest is None or seconds(t - newest) > limit + SLACK:
                bad.add(name)
        if "plan" in self._limits and self._plan is not None and not makes_sense(self._plan):
            bad.add("plan")
        return bad

    def _take(self, inputs: Inputs, t: int) -> set[str]:
        came: dict[str, list[bool]] = {}
        radars = {n for n, s in self._config.sensors if s.kind != "ultrasonic"}
        ultrasonics = {n for n, s in self._config.sensors if s.kind == "ultrasonic"}
        named = [("odometry", m) for m in inputs.odometry] + [("plan", m) for m in inputs.plans]
        named += [(m.sensor, m) for m in inputs.radar if m.sensor in radars]
        named += [(m.sensor, m) for m in inputs.ranges if m.sensor in ultrasonics]
        for name, message in named:
            timely = message.t <= t + nanoseconds(self._config.health.future_tolerance)
            good = timely and (name == "plan" or makes_sense(message))
            came.setdefault(name, []).append(good)
            if good:
                self._stamps.setdefault(name, []).append(message.t)
            if good and name == "plan" and (self._plan is None or message.t >= self._plan.t):
                self._plan = message
        for message in inputs.invalid:
            came.setdefault(message.source, []).append(False)
        return {name for name, good in came.items() if not any(good) and name in self._limits}


def check_trajectory(made, limit) -> None:
    """A commanded trajectory can be driven: ordered, finite, its places fit its speeds, its braking exists."""
    assert finite(made.time, made.x, made.y, made.yaw, made.speed)
    dt = np.diff(made.time)
    assert (dt > 0).all()
    assert (made.speed >= -SLACK).all() or (made.speed <= SLACK).all()
    speed = np.abs(made.speed)
    assert (np.diff(speed) / dt >= -limit - SLACK).all()
    moved = np.hypot(np.diff(made.x), np.diff(made.y))
    assert (moved <= np.maximum(speed[1:], speed[:-1]) * dt + 1e-3).all()  # a chord may be shorter


def check_stop(made) -> None:
    """A stop never speeds up and ends at rest."""
    assert (np.diff(np.abs(made.speed)) <= SLACK).all()
    assert made.speed[-1] == 0.0


def feasible(decision, config) -> None:
    hardest = max(config.fallback.emergency_deceleration, config.plan_check.deceleration_max)
    assert finite(decision.acceleration, decision.curvature)
    assert abs(decision.curvature) <= 1e3
    if decision.mode.brakes:
        assert -hardest - SLACK <= decision.acceleration <= SLACK
    assert (decision.fallback is None) == (decision.ego is None)
    if decision.fallback is not None:
        check_trajectory(decision.fallback, hardest)
        check_stop(decision.fallback)
    if decision.command is not None and decision.mode != Mode.NOMINAL:
        check_trajectory(decision.command, max(hardest, 2 * config.plan_check.deceleration_max))
        if decision.mode.brakes:
            check_stop(decision.command)
    if decision.mode.brakes and decision.mode != Mode.STANDSTILL and decision.ego is not None:
        assert decision.command is not None


# --- the machine ----------------------------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Healthy stretches, broken messages, lost inputs, foreign clocks, in any order."""

    @initialize(name=st.sampled_from(sorted(CONFIGS)), speed=st.sampled_from((20.0, 5.0, 0.0, -3.0)))
    def begin(self, name, speed):
        self.config = CONFIGS[name]
        self.state = supervisor.start(self.config)
        self.oracle = Oracle(self.config)
        self.t, self.x, self.speed, self.count = T, 0.0, speed, 0
        self.seen: tuple[float, float, float] | None = None
        self.takeover = False
        self.last = None

    def healthy(self) -> Inputs:
        here = ego(self.speed, self.x, t=self.t)
        noise = 1e-3 * (self.count % 3)
        rows = []
        if self.seen is not None:
            x, y, vx = self.seen
            away = (x - self.x - FRONT, y)
            angle = math.atan2(away[1], away[0])
            rows.append((math.hypot(*away) + noise, angle, (vx - self.speed) * math.cos(angle)))
        columns = np.array(rows).reshape(-1, 3).T
        radar = tuple(RadarScan(n, self.t, *columns) for n, s in self.config.sensors if s.kind != "ultrasonic")
        pings = tuple(RangeReading(n, self.t, math.inf, 0.2, 5.0) for n in self.config.sensors_of("ultrasonic"))
        return Inputs((here,), radar, pings, (plan(self.speed, x=self.x, t=self.t),))

    def tick(self, inputs: Inputs) -> None:
        before = pickle.dumps(self.state)
        with np.errstate(all="ignore"):
            state, decision = supervisor.step(self.state, inputs, self.t, self.config)
            _, again = supervisor.step(pickle.loads(before), inputs, self.t, self.config)
        line = json_line(decision_record(decision))
        assert line == json_line(decision_record(again)), "the same state and inputs gave two decisions"
        assert pickle.dumps(self.state) == before, "a state was edited"
        untrusted = self.oracle.untrusted(inputs, self.t)
        assert decision.mode != Mode.NOMINAL or not untrusted, f"NOMINAL although {untrusted}"
        assert decision.mode == state.arbiter.mode
        feasible(decision, self.config)
        self.state, self.last = state, decision
        self.x += self.speed * self.config.timing.period
        if self.seen is not None:
            x, y, vx = self.seen
            self.seen = (x + vx * self.config.timing.period, y, vx)
        self.t += nanoseconds(self.config.timing.period)
        self.count += 1

    @rule(ticks=st.integers(1, 25))
    def all_is_well(self, ticks):
        for _ in range(ticks):
            self.tick(self.healthy())

    @rule(data=st.data())
    def whatever_arrives(self, data):
        self.tick(data.draw(any_inputs(self.t)))

    @rule(data=st.data(), kept=st.sets(st.sampled_from(("odometry", "radar", "ranges", "plans"))))
    def a_mixture_arrives(self, data, kept):
        good = self.healthy()
        self.tick(replace(data.draw(any_inputs(self.t)), **{name: getattr(good, name) for name in kept}))

    @rule(lost=st.sets(st.sampled_from(("odometry", "radar", "ranges", "plans")), min_size=1),
          ticks=st.integers(1, 14))
    def inputs_are_lost(self, lost, ticks):
        for _ in range(ticks):
            self.tick(replace(self.healthy(), **dict.fromkeys(lost, ())))

    @rule(gap=st.floats(0.1, 80.0), y=st.floats(-3.0, 3.0), vx=st.floats(-20.0, 20.0))
    def something_appears(self, gap, y, vx):
        self.seen = (self.x + FRONT + gap, y, vx)

    @rule()
    def it_vanishes(self):
        self.seen = None

    @rule(speed=st.sampled_from((30.0, 20.0, 5.0, 0.5, 0.0, -3.0)))
    def ego_goes_at(self, speed):
        self.speed = speed

    @rule(on=st.booleans())
    def the_driver_acts(self, on):
        self.takeover = on
        self.tick(replace(self.healthy(), driver=(DriverMode(self.t, on),)))
        if on:
            assert self.last.mode == Mode.INIT
            assert self.last.command is None

    @rule()
    def somebody_releases(self):
        self.tick(replace(self.healthy(), release=True))

    @rule(by=st.sampled_from((0, -1, 10**7, 10**8, 6 * 10**8, 10**10, -(10**8), -(10**12), 2**55)))
    def the_clock_moves(self, by):
        self.t += by

    @invariant()
    def a_driver_is_respected(self):
        if getattr(self, "last", None) is not None and self.last.driver:
            assert self.last.mode == Mode.INIT


# A life costs half a second: fewer of them than of other examples, each of many ticks.
Life.TestCase.settings = settings(max_examples=max(settings().max_examples // 3, 1), stateful_step_count=25)
test_life = Life.TestCase


# --- controls: the judge can say no ---------------------------------------------------------------------------------


def test_control_the_oracle_names_what_is_lost_late_or_senseless():
    def good(t):
        scan, ping = RadarScan("front", t, [9.0], [0.0], [0.0]), RangeReading("us", t, 1.0, 0.2, 5.0)
        return Inputs((ego(t=t),), (scan,), (ping,), (plan(t=t),))

    oracle = Oracle(CONFIGS["both"])
    assert oracle.untrusted(Inputs(), T) == {"odometry", "plan", "front", "us"}
    assert oracle.untrusted(good(T), T) == set()
    nonsense = replace(good(T + 1), radar=(RadarScan("front", T + 1, [math.nan], [0.0], [0.0]),))
    assert oracle.untrusted(nonsense, T + 1) == {"front"}
    later = T + nanoseconds(0.26)
    assert oracle.untrusted(Inputs(), later) == {"odometry", "front"}
    assert oracle.untrusted(good(later + 10**9), later) == {"odometry", "plan", "front", "us"}
    assert oracle.untrusted(Inputs(), T - 1) == {"odometry", "plan", "front", "us"}


@pytest.mark.parametrize("broken", [plan(5.0), plan(5.0, acceleration=1.0)])
def test_control_a_stop_that_does_not_stop_is_refused(broken):
    with pytest.raises(AssertionError):
        check_stop(broken)


@pytest.mark.parametrize("column", [{"x": {3: 9.0}}, {"time": {3: 0.0}}, {"speed": {3: 0.0}}, {"y": {3: math.nan}}])
def test_control_a_trajectory_that_cannot_be_driven_is_refused(column):
    with pytest.raises(AssertionError):
        check_trajectory(changed(plan(20.0), **column), 9.0)
