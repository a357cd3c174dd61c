"""Hypothesis strategies: values inside the declared ranges, and inputs that no sensor should ever send."""

from __future__ import annotations

from typing import Any, get_type_hints

import numpy as np
from builders import plan
from hypothesis import strategies as st

from safety_supervisor.core.config import GROUPS, Config, Sensor, parameters
from safety_supervisor.core.world import (
    ControlCommand,
    DriverMode,
    FreeRoom,
    Heartbeat,
    Inputs,
    Invalid,
    Odometry,
    Plan,
    RadarScan,
    RangeReading,
    SeenObjects,
)

NAN, INF = float("nan"), float("inf")
ABSURD = (NAN, INF, -INF, 0.0, -1.0, 1e-300, 1e3, 1e6, 1e12, 1e300, -1e300)
SECOND = 1_000_000_000


def declared(path: str) -> st.SearchStrategy[float]:
    """Any value in the declared range of one parameter: `declared("odd.speed_max")`."""
    group, name = path.split(".")
    spec = next(f for f in parameters(GROUPS[group]) if f.name == name)
    return st.floats(spec.metadata["low"], spec.metadata["high"])


def other_values(kind: type[Any], name: str, value: Any) -> list[Any]:
    """Allowed values of a parameter that differ from `value`, nearest first: the cross rules refuse some of them."""
    spec = next(f for f in parameters(kind) if f.name == name)
    meta, hint = spec.metadata, get_type_hints(kind)[name]
    if hint is bool:
        return [not value]
    if hint is str:
        return [v for v in meta["allowed"] or (f"{value}x", "doppler=x") if v != value]
    if "allowed" in meta:
        return [v for v in meta["allowed"] if v != value]
    if hint is int:
        return [v for v in (value - 1, value + 1) if meta["low"] <= v <= meta["high"]]
    steps = [end - (end - value) * share for end in (meta["low"], meta["high"]) for share in (0.999, 0.9, 0.5, 0.0)]
    return sorted((v for v in steps if v != value), key=lambda v: abs(v - value))


def every_parameter(config: Config) -> list[tuple[str, type[Any], str, Any]]:
    """(dotted key, group class, name, value) of every declared parameter, those of the sensors included."""
    groups = [(name, kind, getattr(config, name)) for name, kind in GROUPS.items()]
    groups += [(f"sensors.{name}", Sensor, sensor) for name, sensor in config.sensors]
    return [(f"{prefix}.{f.name}", kind, f.name, getattr(values, f.name))
            for prefix, kind, values in groups for f in parameters(kind)]


numbers = st.one_of(st.floats(-30.0, 30.0), st.sampled_from(ABSURD))


def stamps(t: int) -> st.SearchStrategy[int]:
    """Mostly now; also late, ahead, of another epoch."""
    odd = (t - SECOND // 10, t - SECOND, t - 100 * SECOND, 0, -SECOND, t + SECOND // 100, t + SECOND, 2**62)
    return st.one_of(st.just(t), st.just(t), st.sampled_from(odd))


def columns(n: int) -> st.SearchStrategy[Any]:
    return st.lists(numbers, min_size=n, max_size=n).map(np.array)


@st.composite
def plans(draw: Any, t: int) -> Plan:
    """A good plan, a good plan with broken entries, or columns of nonsense."""
    if draw(st.booleans()):
        good = plan(draw(st.sampled_from((20.0, 5.0, 0.0, -3.0))), duration=4.0, t=draw(stamps(t)))
        spoilt = {name: getattr(good, name).copy() for name in ("time", "x", "y", "yaw", "speed")}
        for _ in range(draw(st.integers(0, 2))):
            spoilt[draw(st.sampled_from(sorted(spoilt)))][draw(st.integers(0, 40))] = draw(numbers)
        return Plan(good.t, **spoilt)
    n = draw(st.integers(0, 4))
    sizes = [draw(st.sampled_from((n, n, n, 0, 3))) for _ in range(5)]
    return Plan(draw(stamps(t)), *(draw(columns(size)) for size in sizes))


@st.composite
def odometries(draw: Any, t: int) -> Odometry:
    if draw(st.integers(0, 2)):
        return Odometry(draw(stamps(t)), 0.0, 0.0, 0.0, draw(st.sampled_from((20.0, 5.0, 0.0, -3.0))), 0.0)
    return Odometry(draw(stamps(t)), *(draw(numbers) for _ in range(5)))


@st.composite
def scans(draw: Any, t: int) -> RadarScan:
    n = draw(st.integers(0, 4))
    sizes = [draw(st.sampled_from((n, n, n, n, 0, 2))) for _ in range(3)]
    name = draw(st.sampled_from(("front", "front", "us", "ghost")))
    return RadarScan(name, draw(stamps(t)), *(draw(columns(size)) for size in sizes), draw(st.booleans()))


@st.composite
def pings(draw: Any, t: int) -> RangeReading:
    name = draw(st.sampled_from(("us", "us", "front", "ghost")))
    return RangeReading(name, draw(stamps(t)), draw(numbers), draw(st.sampled_from((0.2, NAN, -1.0, 9.0))),
                        draw(st.sampled_from((5.0, NAN, INF, 0.0))))


def few(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, max_size=2).map(tuple)


@st.composite
def any_inputs(draw: Any, t: int) -> Inputs:
    """Whatever may arrive in one tick."""
    who = st.sampled_from(("odometry", "plan", "driver", "control", "objects", "room", "front", "us", "nobody"))
    number = st.sampled_from((*ABSURD, 10.0, -0.01))
    places = st.lists(number, max_size=2).map(np.array)
    return Inputs(
        draw(few(odometries(t))), draw(few(scans(t))), draw(few(pings(t))), draw(few(plans(t))),
        draw(few(st.builds(DriverMode, stamps(t), st.booleans()))),
        draw(few(st.builds(Invalid, who, st.just(t), st.just("broken")))), draw(st.booleans()),
        control=draw(few(st.builds(ControlCommand, stamps(t), number, number, number))),
        heartbeats=draw(few(st.builds(Heartbeat, stamps(t)))),
        objects=draw(few(st.builds(lambda at, xy: SeenObjects(at, xy, xy), stamps(t), places))),
        room=draw(few(st.builds(FreeRoom, stamps(t), number, number))),
    )  # fmt: skip
