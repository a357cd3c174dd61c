"""What a decision rested on: the object it is about, who saw it, how sure it was, and what each input may be."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import angle_difference
from safety_supervisor.core.world import Code, Decision, Mode, Plan, Threat, seconds
from safety_supervisor.replay.outlook import Object, clearance
from safety_supervisor.replay.results import rank

SAME_PLACE = 2.0
"""From one tick to the next a track moves less beside its own velocity [m]."""


def row_of(d: Decision, track: int | None) -> int | None:
    """Return the row of a track in a decision, or None."""
    rows = np.flatnonzero(d.tracks.id == track) if track is not None else np.zeros(0, np.int64)
    return int(rows[0]) if len(rows) else None


def decisive(d: Decision) -> Threat | None:
    """Return the object that a decision is about: the one of its first reason, else the one of the smallest margin."""
    threats = d.assessment.threats
    if d.reasons:
        first = d.reasons[0]
        named = [x for x in threats if first.track is not None and x.track == first.track]
        named += [x for x in threats if first.track is None and x.code == first.code and x.demand > Mode.NOMINAL]
        if named:
            return max(named, key=lambda x: (x.demand, -x.margin))
        if first.code not in (Code.EXPECTED_MOTION, Code.DWELL, Code.RELEASE_PENDING):
            return None  # an input or a cap is to blame, not an object
    ordered = sorted((x for x in threats if not math.isnan(x.margin)), key=lambda x: (-x.demand, x.margin))
    return ordered[0] if ordered else None


def nearest(d: Decision) -> Threat | None:
    """Return the nearest object in the corridor, whatever it demands."""
    return min((x for x in d.assessment.threats if math.isfinite(x.gap)), key=lambda x: x.gap, default=None)


def place_of(threat: Threat | None, d: Decision, config: Config) -> Object | None:
    """Return where the object of a threat is, in odom; that of an ultrasonic arc in the middle of its beam."""
    if threat is None or d.ego is None:
        return None
    half = config.corridor.object_half_width
    row = row_of(d, threat.track)
    if row is not None:
        x, y, vx, vy = map(float, d.tracks.state[row])
        return Object(d.t, x, y, vx, vy, half)
    arc = next((a for a in d.arcs if a.sensor == threat.source), None)
    if arc is None:
        return None
    ahead, left = arc.x + arc.range * math.cos(arc.yaw), arc.y + arc.range * math.sin(arc.yaw)
    c, s = math.cos(d.ego.yaw), math.sin(d.ego.yaw)
    return Object(d.t, d.ego.x + c * ahead - s * left, d.ego.y + s * ahead + c * left, 0.0, 0.0, 0.0)


def believing(config: Config) -> Config:
    """Return the parameter set that believes the first detection at once, tracker and envelope unchanged."""
    authority = replace(
        config.authority, speed_cap=0.0, stop=0.0, emergency=0.0, near_field=0.0, hits=1, course_hits=1, near_hits=1,
    )
    return replace(
        config, authority=authority, corridor=replace(config.corridor, lateral_hits=1),
        expected=replace(config.expected, on_time=0.0),
    )  # fmt: skip


def input_topics(config: Config) -> dict[str, str]:
    """Return the topic of each input of a parameter set whose age matters."""
    i = config.inputs
    topics = {"odometry": (i.odometry or i.twist).lstrip("/")}
    if i.plan_expected:
        topics["plan"] = i.plan.lstrip("/")
    return topics | {name: sensor.topic.lstrip("/") for name, sensor in config.sensors}


def sensor_of(threat: Threat | None, d: Decision, config: Config) -> str | None:
    """Return the input that saw the object: its transducer, or the radar that looks at it; else the lost input."""
    if threat is None:
        return next((f.source for f in d.health.findings if d.reasons and f.code == d.reasons[0].code), None)
    sensors = dict(config.sensors)
    if threat.source in sensors:
        return threat.source
    thing = place_of(threat, d, config)
    if thing is None or d.ego is None:
        return None
    c, s = math.cos(d.ego.yaw), math.sin(d.ego.yaw)
    dx, dy = thing.x - d.ego.x, thing.y - d.ego.y
    ahead, left = c * dx + s * dy, c * dy - s * dx

    def off(name: str) -> float:
        sensor = sensors[name]
        bearing = math.atan2(left - sensor.y, ahead - sensor.x)
        return abs(angle_difference(bearing, sensor.yaw)) / sensor.half_angle

    radars = [name for name, sensor in sensors.items() if sensor.kind != "ultrasonic"]
    return min(radars, key=off, default=None)


def object_facts(threat: Threat | None, d: Decision, config: Config) -> dict[str, Any] | None:
    """Return what is known about the object of a threat, JSON-ready."""
    if threat is None:
        return None
    told: dict[str, Any] = {
        "track": threat.track, "source": threat.source, "sensor": sensor_of(threat, d, config),
        "demand": threat.demand.name, "code": threat.code.value,
        **{name: _r(getattr(threat, name)) for name in
           ("gap", "lateral", "closing_speed", "margin", "required", "ttc")},
    }  # fmt: skip
    i = row_of(d, threat.track)
    if i is not None:
        x, y, vx, vy = (float(v) for v in d.tracks.state[i])
        told |= {
            "existence": round(float(d.tracks.existence[i]), 7), "detections": int(d.tracks.hits[i]),
            "age_s": round(seconds(d.t - int(d.tracks.updated[i])), 6), "moved": bool(d.tracks.moved[i]),
            "speed": _r(math.hypot(vx, vy)), "x": _r(x), "y": _r(y),
            "sigma_position_m": _r(math.sqrt(max(float(np.trace(d.tracks.cov[i, :2, :2])), 0.0))),
            "sigma_speed": _r(math.sqrt(max(float(np.trace(d.tracks.cov[i, 2:4, 2:4])), 0.0))),
        }  # fmt: skip
    return told


def demands(d: Decision, threat: Threat, called: Collection[int]) -> bool:
    """Whether the object of a threat asks for as much at this tick already; debounce comes after that."""
    return any(x.track in called and x.demand >= threat.demand for x in d.assessment.threats)


def names(decisions: Sequence[Decision], track: int) -> list[frozenset[int]]:
    """Return for each decision the numbers of the object that the last of them calls `track`.

    An object that comes back gets its number back a few detections later: until then another track is in its place.
    """
    found, now, later = [], track, None
    for d in reversed(decisions):
        now = now if later is None else _before(now, d, later)
        found.append(frozenset({track, now}))
        later = d
    return found[::-1]


def _before(track: int, d: Decision, later: Decision) -> int:
    """Return the number at `d` of what is called `track` one tick later."""
    row, old = row_of(later, track), row_of(d, track)
    if row is None or not len(d.tracks):
        return track
    state = later.tracks.state[row]
    off = np.hypot(*(d.tracks.state[:, :2] - (state[:2] - state[2:] * seconds(later.t - d.t))).T)
    if old is not None and off[old] <= SAME_PLACE:
        return track
    nearest_row = int(np.argmin(off))
    return int(d.tracks.id[nearest_row]) if off[nearest_row] <= SAME_PLACE else track


def present_motion(d: Decision) -> Plan | None:
    """Return the judged path at ego's present speed, where there is no plan of the policy."""
    if d.ego is None or len(d.path) < 2:
        return None
    step = np.diff(d.path, axis=0)
    s = np.concatenate([[0.0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))])
    yaw = np.arctan2(step[:, 1], step[:, 0])
    speed = max(abs(d.ego.speed), 0.1)
    return Plan(d.t, s / speed, d.path[:, 0], d.path[:, 1], np.concatenate([yaw, yaw[-1:]]), np.full(len(s), speed))


def apart(d: Decision, track: int, config: Config) -> float | None:
    """Return the distance [m] between ego and a track at a tick, None when either is not known."""
    row = row_of(d, track)
    if row is None or d.ego is None:
        return None
    pose = np.array([[d.ego.x, d.ego.y, d.ego.yaw, d.ego.speed]])
    return float(clearance(pose, d.tracks.state[row : row + 1, :2], config.corridor.object_half_width, config)[0])


def arc_seen(d: Decision, sensor: str) -> bool:
    """Whether a transducer reports something at a tick."""
    return any(a.sensor == sensor and a.echo.value in ("object", "too_close") for a in d.arcs)


def hardest(rows: Sequence[Decision]) -> float | None:
    """Return the hardest deceleration of ego over half a second [m/s^2]."""
    t = np.array([r.t for r in rows], np.float64) / 1e9
    v = np.array([abs(r.ego.speed) if r.ego else math.nan for r in rows])
    if len(t) < 3:
        return None
    later = np.searchsorted(t, t + 0.5)
    inside = later < len(t)
    if not inside.any():
        return _r((v[0] - v[-1]) / max(t[-1] - t[0], 1e-9))
    rates = (v[inside] - v[later[inside]]) / (t[later[inside]] - t[inside])
    return _r(float(np.nanmax(rates)))


def timeout(name: str, config: Config) -> float:
    """Return the age [s] at which an input counts as stale."""
    h = config.health
    if name in ("odometry", "plan"):
        return h.odometry_timeout if name == "odometry" else h.plan_timeout
    return h.ultrasonic_timeout if dict(config.sensors)[name].kind == "ultrasonic" else h.radar_timeout


def manoeuvre(mode: Mode, config: Config) -> tuple[float, float]:
    """Return deceleration [m/s^2] and jerk [m/s^3] of the manoeuvre of a mode."""
    f = config.fallback
    if rank(mode) >= Mode.EMERGENCY_STOP:
        return f.emergency_deceleration, f.emergency_jerk
    return (f.firm_deceleration, f.firm_jerk) if mode == Mode.FIRM_STOP else (f.comfort_deceleration, f.comfort_jerk)


def _r(value: float) -> float | None:
    return round(float(value), 3) + 0.0 if math.isfinite(value) else None
