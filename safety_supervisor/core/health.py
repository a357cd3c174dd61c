"""Trust in the inputs: what is missing, stale, early, invalid or frozen, each as a finding with a name.

Only an *expected* input can be missing. A message that is refused (future stamp, not understood) is never used; the
input then ages, so that refusing and missing end in the same place.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import (
    Code,
    Finding,
    Health,
    Inputs,
    Odometry,
    Plan,
    RadarScan,
    RangeReading,
    Severity,
    nanoseconds,
    seconds,
)

SEVERITY: dict[str, Severity] = {
    "MISSING": Severity.WAITING,
    "FUTURE": Severity.SUSPECT,
    "INVALID": Severity.SUSPECT,
    "STALE": Severity.DEGRADED,
    "FROZEN": Severity.DEGRADED,
    "JUMP": Severity.DEGRADED,
    "INCONSISTENT": Severity.SUSPECT,
    "OBSTRUCTED": Severity.SUSPECT,
    "CONTRADICTED": Severity.SUSPECT,
    "IMPLAUSIBLE": Severity.SUSPECT,
    "BLOCKED": Severity.DEGRADED,
    "STUCK": Severity.DEGRADED,
    "SCALE": Severity.OK,
}
"""Severity of a finding by the last word of its code; odometry and plan have their own rows below."""

SPECIAL: dict[Code, Severity] = {
    Code.ODOMETRY_STALE: Severity.BLIND,
    Code.ODOMETRY_FUTURE: Severity.SUSPECT,
    Code.ODOMETRY_CONTRADICTED: Severity.DEGRADED,
    Code.CLOCK_JUMP: Severity.DEGRADED,
    Code.CLOCK_STOPPED: Severity.BLIND,
    Code.DOPPLER_SIGN: Severity.DEGRADED,
    Code.SELF_TEST: Severity.WAITING,
    Code.LOOP_OVERRUN: Severity.SUSPECT,
    Code.BRAKE_SHORTFALL: Severity.SUSPECT,
    Code.LOOP_STALLED: Severity.DEGRADED,
    Code.PLAN_INVALID: Severity.DEGRADED,
    Code.PLAN_NOT_FINITE: Severity.DEGRADED,
    Code.PLAN_NOT_ORDERED: Severity.DEGRADED,
    Code.PLAN_OFF_EGO: Severity.DEGRADED,
    Code.PLAN_INFEASIBLE: Severity.DEGRADED,
    Code.PLAN_TOO_SHORT: Severity.DEGRADED,
    Code.PLAN_JUMP: Severity.DEGRADED,
    Code.CONTROL_INFEASIBLE: Severity.DEGRADED,
    Code.CONTROL_OFF_PLAN: Severity.DEGRADED,
    Code.OBJECTS_INVALID: Severity.OK,
    Code.OBJECTS_FUTURE: Severity.OK,
    Code.ROOM_INVALID: Severity.OK,
    Code.ROOM_FUTURE: Severity.OK,
    Code.POLICY_BLIND: Severity.OK,
    Code.WAY_UNCOVERED: Severity.OK,
    Code.PLAN_REJECTED: Severity.OK,
    Code.EGO_ROLLS_BACK: Severity.DEGRADED,
    Code.EGO_OVERRUNS: Severity.DEGRADED,
}


FAMILIES = ("odometry", "plan", "driver", "control", "heartbeat", "objects", "room")
"""Inputs beside the sensors whose findings carry their own name."""
SPEED_MAX = 100.0
"""No vehicle of any domain is faster [m/s]; the declared domain (odd.speed_max) is judged later, and milder."""
YAW_RATE_MAX = 20.0
"""[rad/s]"""
PLACE_SLACK = 1.0
"""A pose may be off by this much [m] between two messages; localisation corrections belong into `map`, not `odom`."""
POSITION_MAX = 1e9
"""Beyond it a double no longer resolves what the envelopes need [m]."""


OVERRUN_SPAN = nanoseconds(1.0)
"""A late tick counts for this long [ns]."""


@dataclass(frozen=True, slots=True)
class Source:
    """Memory of one input."""

    t: int | None = None
    """Stamp of the newest message that was accepted."""
    problem: tuple[Code, str, int] | None = None
    """Newest refused message: code, why, tick; cleared by the next accepted one."""
    content: bytes = b""
    changed: int = 0
    """Tick at which the content last differed from the one before."""
    heard: int = 0
    """Tick at which the newest accepted message was taken in; what is silent since then does not repeat itself."""
    frozen: bool = False
    """It went on saying the same while ego moved, and has not proved since that it is alive."""
    again: int = 0
    """Tick since when a frozen input has been changing again."""


NEVER = Source()
"""An input that never came."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What has been seen of each input."""

    sources: tuple[tuple[str, Source], ...] = ()
    tick: int | None = None
    pose: Odometry | None = None
    """Newest odometry that was accepted."""
    jumped: Finding | None = None
    """Time or place has jumped: what was tracked before belongs elsewhere."""
    late: tuple[tuple[int, int], ...] = ()
    """(tick, time since the one before [ns]) of late ticks within `OVERRUN_SPAN`."""


def admit(memory: Memory, inputs: Inputs, t: int, config: Config) -> tuple[Memory, Inputs]:
    """Return the updated memory and the inputs without those that are refused."""
    # Stamps from before the clock was set back say nothing about age: what is not heard again is missing.
    back = memory.tick is not None and t < memory.tick
    gate = _Gate({} if back else dict(memory.sources), t, config)
    for bad in inputs.invalid:
        gate.refuse(bad.source, Code[f"{gate.family(bad.source)}_INVALID"], bad.why)
    radar = tuple(s for s in inputs.radar if s.sensor in gate.kinds and gate.takes_scan(s))
    pings = tuple(r for r in inputs.ranges if r.sensor in gate.kinds and gate.takes_ping(r))
    odometry = tuple(o for o in inputs.odometry if gate.takes_odometry(o))
    plans = tuple(p for p in inputs.plans if gate.takes(plan_source(p), p.t, _way(p, config)))
    control = tuple(c for c in inputs.control if gate.takes("control", c.t))
    heartbeats = tuple(h for h in inputs.heartbeats if gate.takes("heartbeat", h.t))
    objects = tuple(o for o in inputs.objects if gate.takes("objects", o.t))
    room = tuple(r for r in inputs.room if gate.takes("room", r.t))
    if inputs.driver:
        gate.sources["driver"] = Source(inputs.driver[-1].t)
    kept = replace(inputs, radar=radar, ranges=pings, odometry=odometry, plans=plans, control=control,
                   heartbeats=heartbeats, objects=objects, room=room)
    pose = max((o for o in (memory.pose, *odometry) if o is not None), key=lambda o: o.t, default=None)
    jumped = _clock_jump(memory, t, config) or _place_jump(None if back else memory.pose, odometry)
    late = () if jumped else _late(memory, t, config)
    return Memory(tuple(sorted(gate.sources.items())), t, pose, jumped, late), kept


class _Gate:
    """Lets messages in and notes of each input what was accepted and what was refused."""

    def __init__(self, sources: dict[str, Source], t: int, config: Config) -> None:
        self.sources = sources
        self.kinds = {name: sensor.kind for name, sensor in config.sensors}
        self._t = t
        self._latest = t + nanoseconds(config.health.future_tolerance)
        self._frozen_time = config.health.frozen_time

    def refuse(self, name: str, code: Code, why: str) -> bool:
        self.sources[name] = replace(self.sources.get(name, NEVER), problem=(code, why, self._t))
        return False

    def takes(self, name: str, stamp: int, content: bytes = b"", proof: float = 0.0) -> bool:
        """Take a message in unless it is from the future; a frozen input must change for `proof` [s] to be believed."""
        if stamp > self._latest:
            ahead = seconds(stamp - self._t)
            return self.refuse(name, Code[f"{self.family(name)}_FUTURE"], f"stamp {ahead:.3f} s ahead of the tick")
        old = self.sources.get(name, NEVER)
        same = bool(content) and content == old.content
        changed = old.changed if same else self._t
        again, alive = old.again, False
        if content and not same:
            again = again if seconds(self._t - old.changed) <= proof else self._t
            alive = seconds(self._t - again) >= proof
        frozen = old.frozen and not alive
        self.sources[name] = Source(max(stamp, old.t or stamp), None, content, changed, self._t, frozen, again)
        return True

    def takes_scan(self, scan: RadarScan) -> bool:
        why = "a scan, expected a ping" if self.kinds[scan.sensor] == "ultrasonic" else _bad_scan(scan)
        if why:
            return self.refuse(scan.sensor, Code[f"{self.family(scan.sensor)}_INVALID"], why)
        if not self.takes(scan.sensor, scan.t, _content(scan), self._frozen_time):
            return False
        # What is frozen would move along with ego: tracks coast rather than follow it. What changes again is heard at
        # once, although its sensor has yet to prove that it is alive.
        return seconds(self._t - self.sources[scan.sensor].changed) <= self._frozen_time

    def takes_ping(self, ping: RangeReading) -> bool:
        if self.kinds[ping.sensor] != "ultrasonic":
            return self.refuse(ping.sensor, Code.RADAR_INVALID, "a ping, expected a scan")
        if math.isnan(ping.range):  # a message but not a reading (REP-117): it does not refresh the input
            self.refuse(ping.sensor, Code.ULTRASONIC_INVALID, "range is NaN")
            return ping.t <= self._latest
        return self.takes(ping.sensor, ping.t)

    def takes_odometry(self, o: Odometry) -> bool:
        why = _bad_odometry(o)
        if why:
            return self.refuse("odometry", Code.ODOMETRY_INVALID, why)
        return self.takes("odometry", o.t, struct.pack("3d", o.x, o.y, o.yaw))

    def family(self, source: str) -> str:
        if source in self.kinds:
            return "ULTRASONIC" if self.kinds[source] == "ultrasonic" else "RADAR"
        return source.upper() if source in FAMILIES else "INPUT"


def check(memory: Memory, more: tuple[Finding, ...], moving: bool, t: int, config: Config) -> Health:
    """Return every finding at tick `t`; `more` are those that others found: of plan, sensors, sign."""
    sources = dict(memory.sources)
    inputs = (*_vehicle_inputs(sources, moving, t, config), *_sensors(sources, moving, t, config))
    findings = [*_jumps(memory), *_overruns(memory, t, config), *inputs, *_others(memory, t, config), *more]
    severity = max((severity_of(f.code) for f in findings), default=Severity.OK)
    return Health(severity, tuple(findings))


def rested(memory: Memory, t: int) -> Memory:
    """Return the memory of an ego that stands at `t`: the same over and over is no finding then, but for who froze."""
    return replace(memory, sources=tuple(
        (name, source if source.frozen else replace(source, changed=t)) for name, source in memory.sources))


def moved(memory: Memory, config: Config) -> Memory:
    """Return the memory of an ego that moves: who goes on saying the same is frozen until it proves to be alive."""
    def froze(source: Source) -> bool:
        return not source.frozen and _repeats(source, config)

    if not any(froze(source) for _, source in memory.sources):
        return memory
    return replace(memory, sources=tuple(
        (name, replace(source, frozen=True) if froze(source) else source) for name, source in memory.sources))


def plan_source(plan: Plan) -> str:
    """Return the name of the input that a plan comes from: `plan`, or `plan_1` and on for further candidates."""
    return "plan" if plan.candidate == 0 else f"plan_{plan.candidate}"


def frozen(memory: Memory, name: str) -> bool:
    """Whether an input goes on saying the same although ego moved."""
    return dict(memory.sources).get(name, NEVER).frozen


def severity_of(code: Code) -> Severity:
    """Return how much a finding with this code takes away."""
    return SPECIAL[code] if code in SPECIAL else SEVERITY[code.name.rsplit("_", 1)[1]]


def stale(memory: Memory, name: str, t: int, config: Config) -> bool:
    """Whether a sensor has no fresh data now; a sensor that never spoke is stale too."""
    found = _sensor(dict(memory.sources), name, dict(config.sensors)[name].kind, False, t, config)
    return any(f.code.name.endswith(("STALE", "MISSING")) for f in found)


def deaf(memory: Memory, name: str, t: int, config: Config) -> bool:
    """Whether a sensor has no fresh data now or repeats itself, be it expected or not."""
    return stale(memory, name, t, config) or frozen(memory, name)


def _jumps(memory: Memory) -> Iterator[Finding]:
    if memory.jumped:
        yield memory.jumped


def _late(memory: Memory, t: int, config: Config) -> tuple[tuple[int, int], ...]:
    """Return the late ticks of the last moments, this one included if it is one."""
    step = t - memory.tick if memory.tick is not None else 0
    limit = nanoseconds(config.timing.period + config.timing.overrun)
    recent = [entry for entry in memory.late if t - entry[0] <= OVERRUN_SPAN]
    # No more are kept than are needed to tell that there are too many.
    return tuple([*recent, (t, step)] if step > limit else recent)[-config.health.overruns_max :]


def _overruns(memory: Memory, t: int, config: Config) -> Iterator[Finding]:
    """A tick later than the envelope allows for: now and then do not speed up, beyond or too often stop."""
    if not memory.late:
        return
    longest = max(step for _, step in memory.late)
    allowed, commit = config.timing.period + config.timing.overrun, config.timing.commit
    if longest > nanoseconds(commit):
        text = f"{seconds(longest):.3f} s between two ticks, the envelope counts on {commit:g} s"
        yield Finding(Code.LOOP_STALLED, "clock", text)
    elif len(memory.late) >= config.health.overruns_max:
        text = f"{len(memory.late)} late ticks in a second, {seconds(longest):.3f} s at worst, allowed {allowed:g} s"
        yield Finding(Code.LOOP_STALLED, "clock", text)
    else:
        text = f"{seconds(longest):.3f} s between two ticks, allowed {allowed:g} s"
        yield Finding(Code.LOOP_OVERRUN, "clock", text)


Sources = Mapping[str, Source]


def _vehicle_inputs(sources: Sources, moving: bool, t: int, config: Config) -> Iterator[Finding]:
    yield from _input(sources, "odometry", "ODOMETRY", config.health.odometry_timeout, t)
    yield from _frozen(sources, "odometry", Code.ODOMETRY_FROZEN, moving, config)
    if config.inputs.plan_expected:
        yield from _input(sources, "plan", "PLAN", config.health.plan_timeout, t)
        yield from _frozen(sources, "plan", Code.PLAN_FROZEN, moving, config)
    if config.inputs.control:
        yield from _input(sources, "control", "CONTROL", config.health.control_timeout, t)
    if config.inputs.heartbeat:
        yield from _input(sources, "heartbeat", "HEARTBEAT", config.health.heartbeat_timeout, t)


def _others(memory: Memory, t: int, config: Config) -> Iterator[Finding]:
    """What was refused in this very tick and comes from no input that could be missing: driver, unknown sources."""
    known = {"odometry", "plan", "control", "heartbeat", *(name for name, _ in config.sensors)}
    for name, source in memory.sources:
        if name not in known and source.problem and source.problem[2] == t:
            yield Finding(source.problem[0], name, f"{name}: {source.problem[1]}")


def _sensors(sources: Sources, moving: bool, t: int, config: Config) -> Iterator[Finding]:
    for name, sensor in config.sensors:
        if sensor.expected:
            yield from _sensor(sources, name, sensor.kind, moving, t, config)


def _sensor(sources: Sources, name: str, kind: str, moving: bool, t: int, config: Config) -> Iterator[Finding]:
    ultrasonic = kind == "ultrasonic"
    family = "ULTRASONIC" if ultrasonic else "RADAR"
    timeout = config.health.ultrasonic_timeout if ultrasonic else config.health.radar_timeout
    yield from _input(sources, name, family, timeout, t)
    yield from _frozen(sources, name, Code.RADAR_FROZEN, moving, config)


def _frozen(sources: Sources, name: str, code: Code, moving: bool, config: Config) -> Iterator[Finding]:
    source = sources.get(name, NEVER)
    if moving and _repeats(source, config):
        text = f"{name} repeats the same content for {seconds(source.heard - source.changed):.2f} s while ego moves"
        yield Finding(code, name, text)
    elif source.frozen:
        yield Finding(code, name, f"{name} repeated the same content while ego moved, and nothing proves it alive")


def _repeats(source: Source, config: Config) -> bool:
    """Whether an input goes on saying the same; one that says nothing becomes stale instead."""
    return bool(source.content) and seconds(source.heard - source.changed) > config.health.frozen_time


def _input(sources: Sources, name: str, family: str, timeout: float, t: int) -> Iterator[Finding]:
    source = sources.get(name, NEVER)
    if source.problem:
        yield Finding(source.problem[0], name, f"{name}: {source.problem[1]}")
    if source.t is None:
        yield Finding(Code[f"{family}_MISSING"], name, f"{name} has not been received yet")
        return
    age = seconds(t - source.t)
    if age > timeout:
        text = f"{name} is {age:.3f} s old, allowed {timeout:g} s"
        yield Finding(Code[f"{family}_STALE"], name, text)


def _clock_jump(memory: Memory, t: int, config: Config) -> Finding | None:
    if memory.tick is None:
        return None
    step = seconds(t - memory.tick)
    if step == 0 and memory.jumped and memory.jumped.source == "clock":
        return Finding(Code.CLOCK_STOPPED, "clock", "tick time stands: the age of nothing can be told")
    if step == 0:
        return Finding(Code.CLOCK_JUMP, "clock", "tick time did not advance")
    if step < 0:
        return Finding(Code.CLOCK_JUMP, "clock", f"tick time went back by {-step:.3f} s")
    if step > config.health.clock_jump:
        text = f"tick time jumped by {step:.3f} s, allowed {config.health.clock_jump:g} s"
        return Finding(Code.CLOCK_JUMP, "clock", text)
    return None


def _place_jump(last: Odometry | None, new: tuple[Odometry, ...]) -> Finding | None:
    """Find a pose that its own speed cannot explain: `odom` must be continuous, everything tracked lives in it."""
    for o in sorted(new, key=lambda o: o.t):
        if last is not None and o.t > last.t:
            moved = float(np.hypot(o.x - last.x, o.y - last.y))
            reach = PLACE_SLACK + 1.5 * max(abs(o.speed), abs(last.speed)) * seconds(o.t - last.t)
            if moved > reach:
                text = f"odometry jumped by {moved:.2f} m, its speed explains {reach:.2f} m"
                return Finding(Code.ODOMETRY_JUMP, "odometry", text)
        last = o if last is None or o.t > last.t else last
    return None


def _bad_odometry(o: Odometry) -> str:
    """Say what makes a pose or motion absurd; a yaw rate of NaN means that there is none."""
    limits = (("x", o.x, POSITION_MAX), ("y", o.y, POSITION_MAX), ("yaw", o.yaw, POSITION_MAX),
              ("speed", o.speed, SPEED_MAX), ("yaw_rate", 0.0 if math.isnan(o.yaw_rate) else o.yaw_rate, YAW_RATE_MAX))
    return next((f"{name} is {value:g}" for name, value, limit in limits if not abs(value) <= limit), "")


def _bad_scan(scan: RadarScan) -> str:
    """Say why no row of a scan can be used; an empty scan is good, it says that nothing is there."""
    if not len(scan.range) == len(scan.azimuth) == len(scan.range_rate):
        return "columns differ in length"
    finite = np.isfinite(scan.range) & np.isfinite(scan.azimuth) & np.isfinite(scan.range_rate)
    bad = len(finite) > 0 and not np.count_nonzero(finite)
    return "no row has a finite range, azimuth and range rate" if bad else ""


def _content(scan: RadarScan) -> bytes:
    """Bytes to compare scans by; an empty scan may repeat, it says that nothing is there."""
    return b"".join(a.tobytes() for a in (scan.range, scan.azimuth, scan.range_rate)) if len(scan.range) else b""


def _way(plan: Plan, config: Config) -> bytes:
    """Bytes to compare plans by; one that stands where it is may repeat."""
    if not (np.abs(plan.speed) > config.arbitration.standstill_speed).any():
        return b""
    return b"".join(a.tobytes() for a in (plan.time, plan.x, plan.y, plan.yaw, plan.speed))
