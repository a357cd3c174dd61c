"""Trust in the inputs: what is missing, stale, early, invalid or frozen, each as a finding with a name.

Only an *expected* input can be missing. A message that is refused (future stamp, not understood) is never used; the
input then ages, so that refusing and missing end in the same place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import (
    Code,
    Finding,
    Health,
    Inputs,
    Odometry,
    RadarScan,
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
}
"""Severity of a finding by the last word of its code; odometry and plan have their own rows below."""

SPECIAL: dict[Code, Severity] = {
    Code.ODOMETRY_STALE: Severity.BLIND,
    Code.ODOMETRY_FUTURE: Severity.SUSPECT,
    Code.CLOCK_JUMP: Severity.DEGRADED,
    Code.PLAN_INVALID: Severity.DEGRADED,
    Code.PLAN_NOT_FINITE: Severity.DEGRADED,
    Code.PLAN_NOT_ORDERED: Severity.DEGRADED,
    Code.PLAN_OFF_EGO: Severity.DEGRADED,
    Code.PLAN_INFEASIBLE: Severity.DEGRADED,
    Code.PLAN_TOO_SHORT: Severity.DEGRADED,
    Code.PLAN_JUMP: Severity.DEGRADED,
}


SPEED_MAX = 100.0
"""No vehicle of any domain is faster [m/s]; the declared domain (odd.speed_max) is judged later, and milder."""
YAW_RATE_MAX = 20.0
"""[rad/s]"""
POSITION_MAX = 1e9
"""Beyond it a double no longer resolves what the envelopes need [m]."""


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


@dataclass(frozen=True, slots=True)
class Memory:
    """What has been seen of each input."""

    sources: tuple[tuple[str, Source], ...] = ()
    tick: int | None = None
    jumped: str = ""

    def of(self, name: str) -> Source:
        """Return the memory of one input, empty when it never came."""
        return dict(self.sources).get(name, Source())


def admit(memory: Memory, inputs: Inputs, t: int, config: Config) -> tuple[Memory, Inputs]:
    """Return the updated memory and the inputs without those that are refused."""
    kinds = {name: sensor.kind for name, sensor in config.sensors}
    # Stamps from before the clock was set back say nothing about age: what is not heard again is missing.
    sources = {} if memory.tick is not None and t < memory.tick else dict(memory.sources)
    latest = t + nanoseconds(config.health.future_tolerance)

    def refuse(name: str, code: Code, why: str) -> None:
        sources[name] = replace(sources.get(name, Source()), problem=(code, why, t))

    def take(name: str, stamp: int, kind: str, content: bytes = b"") -> bool:
        if stamp > latest:
            refuse(name, Code[f"{kind}_FUTURE"], f"stamp {seconds(stamp - t):.3f} s ahead of the tick")
            return False
        old = sources.get(name, Source())
        same = bool(content) and content == old.content
        sources[name] = Source(max(stamp, old.t or stamp), None, content, old.changed if same else t)
        return True

    for bad in inputs.invalid:
        refuse(bad.source, Code[f"{_family(bad.source, kinds)}_INVALID"], bad.why)
    def usable(name: str, kind: str, why: str) -> bool:
        if why:
            refuse(name, Code[f"{kind}_INVALID"], why)
        return not why

    radar = tuple(
        s for s in inputs.radar
        if s.sensor in kinds and usable(s.sensor, "RADAR", _bad_scan(s)) and take(s.sensor, s.t, "RADAR", _content(s))
    )  # fmt: skip
    # A NaN ping is a message but not a reading (REP-117): it does not refresh the input.
    pings = tuple(
        r for r in inputs.ranges
        if r.sensor in kinds and ((np.isnan(r.range) and r.t <= latest) or take(r.sensor, r.t, "ULTRASONIC"))
    )  # fmt: skip
    for ping in pings:
        if np.isnan(ping.range):
            refuse(ping.sensor, Code.ULTRASONIC_INVALID, "range is NaN")
    odometry = tuple(
        o for o in inputs.odometry
        if usable("odometry", "ODOMETRY", _bad_odometry(o)) and take("odometry", o.t, "ODOMETRY")
    )  # fmt: skip
    plans = tuple(p for p in inputs.plans if take("plan", p.t, "PLAN"))
    if inputs.driver:
        sources["driver"] = Source(inputs.driver[-1].t)
    kept = replace(inputs, radar=radar, ranges=pings, odometry=odometry, plans=plans)
    return Memory(tuple(sorted(sources.items())), t, _jump(memory.tick, t, config)), kept


def check(memory: Memory, plan_findings: tuple[Finding, ...], moving: bool, t: int, config: Config) -> Health:
    """Return every finding at tick `t`; `plan_findings` come from `plan_check`."""
    inputs = (*_vehicle_inputs(memory, t, config), *_sensors(memory, moving, t, config))
    findings = [*_clock(memory), *inputs, *_others(memory, t, config), *plan_findings]
    severity = max((severity_of(f.code) for f in findings), default=Severity.OK)
    return Health(severity, tuple(findings))


def rested(memory: Memory, t: int) -> Memory:
    """Return the memory of an ego that stands at `t`: the same content over and over is no finding then."""
    return replace(memory, sources=tuple((name, replace(source, changed=t)) for name, source in memory.sources))


def severity_of(code: Code) -> Severity:
    """Return how much a finding with this code takes away."""
    return SPECIAL.get(code) or SEVERITY[code.name.rsplit("_", 1)[1]]


def stale(memory: Memory, name: str, t: int, config: Config) -> bool:
    """Whether a sensor has no fresh data now; a sensor that never spoke is stale too."""
    return any(f.code.name.endswith(("STALE", "MISSING")) for f in _sensor(memory, name, False, t, config))


def _clock(memory: Memory) -> Iterator[Finding]:
    if memory.jumped:
        yield Finding(Code.CLOCK_JUMP, "clock", memory.jumped)


def _vehicle_inputs(memory: Memory, t: int, config: Config) -> Iterator[Finding]:
    yield from _input(memory, "odometry", "ODOMETRY", config.health.odometry_timeout, t)
    if config.inputs.plan_expected:
        yield from _input(memory, "plan", "PLAN", config.health.plan_timeout, t)


def _others(memory: Memory, t: int, config: Config) -> Iterator[Finding]:
    """What was refused in this very tick and comes from no input that could be missing: driver, unknown sources."""
    known = {"odometry", "plan", *(name for name, _ in config.sensors)}
    for name, source in memory.sources:
        if name not in known and source.problem and source.problem[2] == t:
            yield Finding(source.problem[0], name, f"{name}: {source.problem[1]}")


def _sensors(memory: Memory, moving: bool, t: int, config: Config) -> Iterator[Finding]:
    for name, sensor in config.sensors:
        if sensor.expected:
            yield from _sensor(memory, name, moving, t, config)


def _sensor(memory: Memory, name: str, moving: bool, t: int, config: Config) -> Iterator[Finding]:
    ultrasonic = name in config.sensors_of("ultrasonic")
    family = "ULTRASONIC" if ultrasonic else "RADAR"
    timeout = config.health.ultrasonic_timeout if ultrasonic else config.health.radar_timeout
    yield from _input(memory, name, family, timeout, t)
    source = memory.of(name)
    frozen_for = seconds(t - source.changed)
    if moving and source.content and frozen_for > config.health.frozen_time:
        text = f"{name} repeats the same detections for {frozen_for:.2f} s while ego moves"
        yield Finding(Code.RADAR_FROZEN, name, text)


def _input(memory: Memory, name: str, family: str, timeout: float, t: int) -> Iterator[Finding]:
    source = memory.of(name)
    if source.problem:
        yield Finding(source.problem[0], name, f"{name}: {source.problem[1]}")
    if source.t is None:
        yield Finding(Code[f"{family}_MISSING"], name, f"{name} has not been received yet")
        return
    age = seconds(t - source.t)
    if age > timeout:
        text = f"{name} is {age:.3f} s old, allowed {timeout:g} s"
        yield Finding(Code[f"{family}_STALE"], name, text)


def _jump(last: int | None, t: int, config: Config) -> str:
    if last is None:
        return ""
    step = seconds(t - last)
    if step <= 0:
        return f"tick time went back by {-step:.3f} s"
    if step > config.health.clock_jump:
        return f"tick time jumped by {step:.3f} s, allowed {config.health.clock_jump:g} s"
    return ""


def _family(source: str, kinds: dict[str, str]) -> str:
    if source in kinds:
        return "ULTRASONIC" if kinds[source] == "ultrasonic" else "RADAR"
    return source.upper() if source in ("odometry", "plan", "driver") else "INPUT"


def _bad_odometry(o: Odometry) -> str:
    """Say what makes a pose or motion absurd; a yaw rate of NaN means that there is none."""
    limits = (("x", o.x, POSITION_MAX), ("y", o.y, POSITION_MAX), ("yaw", o.yaw, POSITION_MAX),
              ("speed", o.speed, SPEED_MAX), ("yaw_rate", 0.0 if np.isnan(o.yaw_rate) else o.yaw_rate, YAW_RATE_MAX))
    return next((f"{name} is {value:g}" for name, value, limit in limits if not abs(value) <= limit), "")


def _bad_scan(scan: RadarScan) -> str:
    """Say why no row of a scan can be used; an empty scan is good, it says that nothing is there."""
    columns = (scan.range, scan.azimuth, scan.range_rate)
    if len({len(c) for c in columns}) > 1:
        return "columns differ in length"
    bad = len(scan.range) > 0 and not np.isfinite(columns).all(axis=0).any()
    return "no row has a finite range, azimuth and range rate" if bad else ""


def _content(scan: RadarScan) -> bytes:
    """Bytes to compare scans by; an empty scan may repeat, it says that nothing is there."""
    return b"".join(a.tobytes() for a in (scan.range, scan.azimuth, scan.range_rate)) if len(scan.range) else b""
