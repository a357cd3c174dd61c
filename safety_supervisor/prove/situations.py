"""A counterexample as a situation on a road: where ego and the object start, and how both move from then on.

Most counterexamples break a step of a proof, at numbers that say little by themselves: the rate of a margin does not
depend on the gap. So the situation is put where it matters, at the smallest gap that the margin of the shipped code
lets pass, and both move as the assumptions allow and as badly as they may. If the margin is wrong, they touch.

The result is plain data in the form of docs/formats.md ("Scenario files"), for `scenario run` and for a recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from safety_supervisor.core import envelopes, motion
from safety_supervisor.core.config import GRAVITY, Config, Envelope, Fallback
from safety_supervisor.core.world import Floats

LEAD_IN = 1.5
"""Both drive at constant speed for this long before [s], so that a tracker can get to know the object."""
GAP_MAX, SPEED_MAX, DURATION_MAX = 250.0, 75.0, 60.0
"""What a recording can show [m], [m/s], [s]."""
DT = 0.01
STEP = 0.001
"""A jump of acceleration takes this long [s]."""
CAR_LENGTH, CAR_WIDTH, PERSON = 4.6, 1.85, 0.5
"""Sizes of the bodies that the scenarios have [m]."""
ORDINARY_SPEED = 20.0
"""Where a claim is about no speed [m/s]."""
ORDINARY_WAY = 50.0
"""A stop that a recording can show well [m]."""
LEAST = 0.5
"""Weaker braking ends in no stop that a recording could show [m/s^2]."""
Knots = Sequence[tuple[float, float]]


class NoSituationError(Exception):
    """Why a counterexample cannot be shown on a road; the text says it."""


@dataclass(frozen=True)
class Numbers:
    """What a claim says about a situation; what it leaves open is filled in."""

    ego: float
    ahead: float
    """Speed of the object along the path [m/s], negative = towards ego."""
    response: float
    acceleration: float
    given: Mapping[str, float]


NAMES = {
    "ego": ("ego_speed", "speed", "reading", "speed at the cap"),
    "ahead": ("object_speed", "estimated_speed"),
    "response": ("response", "response left", "remaining"),
    "acceleration": ("acceleration",),
}
"""The names under which claims have these numbers."""


def numbers(values: Mapping[str, float]) -> Numbers:
    """Return the situation in the values of a counterexample."""
    found = {key: next((values[n] for n in names if n in values), 0.0) for key, names in NAMES.items()}
    if not any(name in values for names in (NAMES["ego"], ("closing_speed",)) for name in names):
        raise NoSituationError("the claim is not about a moving ego")
    return Numbers(found["ego"], found["ahead"], found["response"], max(found["acceleration"], 0.0), values)


def scenario(claim: str, title: str, values: Mapping[str, float], config: Config, changed: Mapping[str, Any]) -> Any:
    """Return the scenario of a counterexample as plain data; raises `NoSituationError`.

    `config` holds the parameters of the counterexample, `changed` those that differ from the vehicle file.
    """
    make = FAMILIES.get(claim, FAMILIES.get(claim.partition("-")[0]))
    if make is None:
        raise NoSituationError("this claim is about no object on a road")
    made = make(values, config, _commanded(config, changed))
    if not made["duration"] <= DURATION_MAX:
        raise NoSituationError(f"it would take {made['duration']:.3g} s, more than a recording shows")
    return {"name": claim.lower(), "title": f"Counterexample of {claim}: {title}", **made, "values": dict(changed)}


def _commanded(config: Config, changed: Mapping[str, Any]) -> Fallback:
    """Return the fallback that ego executes: where a counterexample chose what is assumed, exactly that."""
    brake = changed.get("envelope.assumed_brake", config.fallback.emergency_deceleration)
    jerk = changed.get("envelope.assumed_jerk", config.fallback.emergency_jerk)
    return replace(config.fallback, emergency_deceleration=brake, emergency_jerk=jerk)


# --- ahead, oncoming, near: along the path ----------------------------------------------------------------------------


def _along(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    """Take the counterexample's own numbers, or ordinary ones if only these touch.

    A step of a proof can break where nothing touches yet.
    """
    own = numbers(values)
    least, made = _worst(own, values, config, f)
    for ego, share, response in product((10.0, 20.0, 30.0), (0.0, 0.9, 1.0), (0.2, 1.0)):
        if least < 0.0:
            break
        least, made = min((least, made), _worst_or_none(Numbers(ego, share * ego, response, 0.0, {}), config, f, made),
                          key=lambda found: found[0])  # fmt: skip
    return made


def _worst_or_none(n: Numbers, config: Config, f: Fallback, made: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    try:
        least, other = _worst(n, {}, config, f)
    except NoSituationError:
        return math.inf, made
    return (least if least < 0.0 else math.inf), other


def _worst(n: Numbers, values: Mapping[str, float], config: Config, f: Fallback) -> tuple[float, dict[str, Any]]:
    """Return the smallest gap to the object that does its worst, and the scenario."""
    e = config.envelope
    gap = _gap(lambda g: envelopes.path_margin(g, n.ego, n.ahead, n.response, n.acceleration, e), values, "gap")
    least, _, worst = min((_least_gap(gap, n, f, m), i, m) for i, m in enumerate(_object_motions(n, e)))
    made = _on_the_path(gap, n, config, f, "car", worst)
    brakes = n.ahead >= 0 or worst[-1][1] < 0
    return least, made if brakes else {**made, "duration": made["begins"] + _moving(n, f)}


def _object_motions(n: Numbers, e: Envelope) -> list[Knots]:
    """Return what the object may do, as (time after the counterexample, acceleration along its own direction)."""
    if n.ahead < 0:
        gain, stop = e.object_acceleration_max, e.oncoming_brake
        doubled = -n.ahead / gain if gain > 0 else 0.0
        react = min(doubled, e.object_response)
        return [[(0.0, gain), (doubled, 0.0)], [(0.0, gain), (react, 0.0), (e.object_response, -stop)]]
    given = n.given.get("object_acceleration", 0.0)
    return [[(0.0, max(a, -e.object_brake_max))] for a in (given, -e.object_brake_max, 0.0)]


def _separation(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    e = config.envelope

    def margin(gap: Any, n: Numbers) -> Any:
        return envelopes.separation_margin(gap, n.ego, -n.ahead, n.response, n.acceleration, e)

    return _person(values, config, f, margin, e.crossing_acceleration_max, e.crossing_speed_max)


def _near(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    e, keep = config.envelope, config.near_field.stop_distance
    closing = max(_first(values, "closing_speed", "object_speed", "speed at first"), 0.0)
    return _person(values, config, f, lambda g, n: envelopes.near_field_margin(
        g, n.ego, -n.ahead, n.response, n.acceleration, keep, e), e.near_acceleration_max,
        min(2 * closing, e.near_speed_max))  # fmt: skip


def _person(
    values: Mapping[str, float],
    config: Config,
    f: Fallback,
    margin: Callable[[Any, Numbers], Any],
    gain: float,
    top: float,
) -> dict[str, Any]:
    """A person who comes straight towards ego, as fast as the class may."""
    closing = max(_first(values, "closing_speed", "object_speed", "speed at first"), 0.0)
    known = numbers({"ego_speed": 5.0, **values})
    n = Numbers(known.ego, -closing, known.response, known.acceleration, values)
    gap = _gap(lambda g: margin(g, n), values, "gap", "distance")
    made = _on_the_path(gap, n, config, f, "pedestrian", [(0.0, gain), (max(top - closing, 0.0) / gain, 0.0)])
    return {**made, "duration": made["begins"] + _moving(n, f)}


def _ttc(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    """Ego closes in with the constant acceleration of the counterexample on an object that keeps its speed."""
    closing, gained = _first(values, "closing_speed"), _first(values, "closing_acceleration")
    horizon = _first(values, "horizon") or config.expected.ttc
    if "ego_speed" in values:
        closing = values["ego_speed"] - values.get("object_speed", 0.0)
        gained = values.get("ego_acceleration", 0.0) - values.get("object_acceleration", 0.0)
    ahead = max(-closing, 0.0)
    n = Numbers(closing + ahead, ahead, horizon, gained, values)
    gap = _gap(lambda g: envelopes.ttc_margin(g, closing, gained, horizon), values, "gap")
    return _on_the_path(gap, n, config, f, "car", [(0.0, 0.0)])


def _on_the_path(gap: float, n: Numbers, config: Config, f: Fallback, kind: str, motion: Knots) -> dict[str, Any]:
    if max(abs(n.ego), abs(n.ahead)) > SPEED_MAX:
        raise NoSituationError(f"its speeds, {n.ego:.3g} and {n.ahead:.3g} m/s, are more than a recording shows")
    lead_in = LEAD_IN
    if n.ahead > n.ego:  # the object leaves: further back in time it was nearer
        lead_in = min(LEAD_IN, max(gap - 0.5, 0.0) / (n.ahead - n.ego))
    length = PERSON if kind == "pedestrian" else CAR_LENGTH
    station = config.vehicle.front + gap + (n.ego - n.ahead) * lead_in + length / 2
    actor = {
        "name": "object", "kind": kind, "station": station, "speed": abs(n.ahead),
        "direction": -1 if n.ahead < 0 else 1, "accelerations": [(lead_in + t, a) for t, a in motion],
    }  # fmt: skip
    ego = _ego_motion(n, f, lead_in)
    return {"speed": n.ego, "duration": _duration(n, f, lead_in), "motion": ego, "actors": [actor],
            "begins": lead_in, "gap": gap}  # fmt: skip


# --- beside and across ------------------------------------------------------------------------------------------------


def _lateral(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    """A car beside ego that comes over; what ego would do to the side is given to the car, only the sum matters."""
    e = config.envelope
    ego, ahead, response = (_first(values, n) for n in ("ego_lateral_speed", "object_lateral_speed", "response"))
    gap = _gap(lambda g: envelopes.lateral_margin(g, ego, ahead, response, e), values, "gap")
    time = max(response, e.object_response)
    a, b = e.lateral_acceleration_max, e.lateral_brake
    way = sum(v * time + a * time * time / 2 + max(v + a * time, 0.0) ** 2 / (2 * b) for v in (ego, -ahead))
    longest = time + max(ego + a * time, -ahead + a * time, 0.1) / b
    if way <= 0:
        raise NoSituationError("both drift apart")
    beside = gap + (config.vehicle.width + CAR_WIDTH) / 2
    actor = {"name": "object", "kind": "car", "station": 1.0, "offset": beside, "speed": 10.0,
             "swerves": [(LEAD_IN, longest, beside - way)]}  # fmt: skip
    return {"speed": 10.0, "duration": LEAD_IN + longest + 1.0, "motion": [(0.0, 0.0)], "actors": [actor],
            "begins": LEAD_IN, "gap": gap}  # fmt: skip


def _crossing(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    """A person from the side who reaches ego's strip when ego is in it."""
    e, n = config.envelope, numbers({"ego_speed": 5.0, **values})
    gap, speed = max(_first(values, "gap"), 1.0), max(_first(values, "side_speed"), 0.2)
    side = _gap(lambda g: envelopes.crossing_margin(gap, g, n.ego, speed, n.response, n.acceleration, e), values)
    beside = config.vehicle.width / 2 + side + PERSON / 2
    time = min(max(_moving(n, f), DT), e.crossing_horizon)
    top = max(speed, min(2 * speed, e.crossing_speed_max))
    gained = speed + np.minimum(e.crossing_acceleration_max * np.arange(0.0, time, DT), top - speed)
    fast = float(gained.mean())
    actor = {"name": "object", "kind": "pedestrian", "offset": beside,
             "station": config.vehicle.front + gap + n.ego * LEAD_IN + PERSON / 2,
             "swerves": [(LEAD_IN, (side + PERSON) / fast, config.vehicle.width / 2 - PERSON / 2)]}  # fmt: skip
    return {"speed": n.ego, "duration": LEAD_IN + _moving(n, f),
            "motion": _ego_motion(n, f, LEAD_IN), "actors": [actor], "begins": LEAD_IN, "gap": side}  # fmt: skip


# --- brakes and modes: what stands ahead is hit when less is braked than is counted on -----------------------------


def _grip(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    """Ego brakes in a bend, or downhill and laden, by what the road really gives; the envelope counts on the claim's.

    The road is drawn straight: only the way to stop matters.
    """
    if "deceleration left" in values:  # the bend cuts both, what is assumed and what is commanded
        left = max(values["deceleration left"], LEAST)
        e = replace(config.envelope, assumed_brake=min(config.envelope.assumed_brake, left))
        speed = math.sqrt(2 * ORDINARY_WAY * e.assumed_brake)
        return _standing(speed, e, _ramp(min(f.emergency_deceleration, left), f.emergency_jerk), config, f)
    if "load" in values:
        mass, slope = config.vehicle.mass + values["load"], GRAVITY * values["sine of the slope"]
        tyres = values["friction"] * GRAVITY * values["cosine of the slope"]
        given = min(config.vehicle.brake_force_max / mass, tyres) - slope
        e = replace(config.envelope, assumed_brake=f.emergency_deceleration)
        return _standing(ORDINARY_SPEED, e, _ramp(given, f.emergency_jerk), config, f)
    circle, downhill = GRAVITY * config.odd.friction_min * math.cos(config.odd.grade_max), 0.0
    own = (_first(values, "speed"), _first(values, "curvature"), _first(values, "circle"), _first(values, "downhill"))
    usual = [(v, k, circle, downhill) for v in (10.0, 20.0, 30.0) for k in (0.0, 0.002, 0.005, 0.01, 0.02)]
    speed, told, given = max((_road(*bend) for bend in (own, *usual)), key=lambda found: found[1] - found[2])
    e = replace(config.envelope, assumed_brake=told)
    return _standing(speed, e, _ramp(given, f.emergency_jerk), config, f)


def _road(speed: float, curvature: float, circle: float, downhill: float) -> tuple[float, float, float]:
    """Return speed, the deceleration that the code under proof says is left, and the one that is (Kamm's circle)."""
    lateral = speed * speed * curvature
    given = math.sqrt(max(circle * circle - lateral * lateral, 0.0)) - downhill
    told = float(motion.grip_left(speed, curvature, circle, downhill))
    return (speed, told, given) if 1.0 <= speed <= SPEED_MAX and LEAST <= told <= 15.0 else (speed, LEAST, LEAST)


def _stop(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    """Ego stops as the commands of the ticks say, one by one, on a dry road."""
    del values
    period, e = config.timing.period, config.envelope
    found = []
    for now in (0.0, -2.0, -f.emergency_deceleration):
        knots, a, t, speed = [(0.0, now)], now, 0.0, ORDINARY_SPEED
        while speed > 0.0 and t < DURATION_MAX / 2:
            step = f.emergency_jerk * period
            a = float(motion.stop_acceleration(a, f.emergency_deceleration, max(-a, 0.0), GRAVITY, step))
            t, speed = t + period, speed + a * period
            knots.append((t, a))
        found.append((speed if speed > 0.0 else -1 / t, knots))
    assumed = replace(e, assumed_brake=f.emergency_deceleration, assumed_jerk=f.emergency_jerk)
    return _standing(ORDINARY_SPEED, assumed, max(found)[1], config, f)


def _modes(values: Mapping[str, float], config: Config, f: Fallback) -> dict[str, Any]:
    """Drive the code under proof in a closed loop at what it must stop for; the first run that ends in a contact."""
    from safety_supervisor.scenarios import files  # simulating is needed here only

    del values, f
    for name, data in MODES.items():
        if files.drive({"name": name, **data}, config).outcome.collision:
            return dict(data)
    raise NoSituationError("it is about modes, and no contact followed in the runs tried: " + ", ".join(MODES))


_LEAD = {"name": "object", "kind": "car", "station": 45.0, "speed": 20.0}
MODES: Mapping[str, Mapping[str, Any]] = {
    "a lead that brakes": {"speed": 20.0, "duration": 9.0, "actors": [{**_LEAD, "accelerations": [(2.0, -7.0)]}]},
    "a radar that dies before a standing car": {"speed": 15.0, "duration": 14.0, "actors": [
        {**_LEAD, "station": 120.0, "speed": 0.0}], "silences": [("radar_front", 2.0)]},
    "a plan that stays away before a standing car": {"speed": 15.0, "duration": 14.0, "actors": [
        {**_LEAD, "station": 120.0, "speed": 0.0}], "silences": [("plan", 2.0)]},
}  # fmt: skip
"""What a supervisor is there for: the policy sees nothing of it."""


def _standing(speed: float, e: Envelope, braking: Knots, config: Config, f: Fallback) -> dict[str, Any]:
    """Ego at `speed` brakes by the knots before a car that stands at the smallest gap that the envelope `e` lets pass.

    `braking` is (time since the fallback acts [s], acceleration [m/s^2]).
    """
    gap = _gap(lambda g: envelopes.path_margin(g, speed, 0.0, 0.0, 0.0, e), {})
    made = _on_the_path(gap, Numbers(speed, 0.0, 0.0, 0.0, {}), config, f, "car", [(0.0, 0.0)])
    knots = [(LEAD_IN + t, a) for t, a in braking]
    last = min(DURATION_MAX - LEAD_IN, knots[-1][0] + speed / max(-knots[-1][1], LEAST))
    return {**made, "motion": [(0.0, 0.0), (LEAD_IN - STEP, 0.0), *knots], "duration": LEAD_IN + last}


def _ramp(deceleration: float, jerk: float) -> Knots:
    return [(0.0, 0.0), (abs(deceleration) / jerk, -deceleration)]


FAMILIES: Mapping[str, Callable[[Mapping[str, float], Config, Fallback], dict[str, Any]] | None] = {
    "LON": _along, "FALL": _along, "APP": _along, "OPP": _along, "FEA": _along, "UNC": _along, "FLT": _along,
    "SEP": _separation, "CLS": _separation, "NEAR": _near, "TTC": _ttc, "LAT": _lateral, "CRS": _crossing,
    "GRIP": _grip, "STOP": _stop, "ARB": _modes, "STOP-6": _modes, "GRIP-6": None,
}  # fmt: skip
"""How the claims of each file are shown, single ones otherwise; GRIP-6 is about what the loader accepts."""


# --- numbers ----------------------------------------------------------------------------------------------------------


def _first(values: Mapping[str, float], *names: str) -> float:
    return next((values[name] for name in names if name in values), 0.0)


def _gap(margin: Callable[[Floats], Any], values: Mapping[str, float], *names: str) -> float:
    """Return the claim's own gap [m] if the margin lets it pass, else the smallest one that it lets pass."""
    own = next((values[name] for name in names if name in values), -1.0)
    if 0.0 < own <= GAP_MAX and margin(np.array(own)) >= envelopes.EPS:
        return float(own)
    gaps = np.arange(0.01, GAP_MAX, 0.01)
    inside = np.broadcast_to(margin(gaps) >= envelopes.EPS, gaps.shape)
    if not inside.any():
        raise NoSituationError(f"no gap up to {GAP_MAX:g} m is inside the margin")
    return float(gaps[int(np.argmax(inside))])


def _ego_motion(n: Numbers, f: Fallback, begin: float) -> list[tuple[float, float]]:
    """Return ego's acceleration as knots: as the plan may, for the response time, then the commanded fallback."""
    act, ramp = begin + n.response, (n.acceleration + f.emergency_deceleration) / f.emergency_jerk
    knots = [(0.0, 0.0), (begin, 0.0), (begin + STEP, n.acceleration), (act + STEP, n.acceleration)]
    return [*knots, (act + STEP + max(ramp, STEP), -f.emergency_deceleration)]


def _duration(n: Numbers, f: Fallback, begin: float) -> float:
    ramp = (n.acceleration + f.emergency_deceleration) / f.emergency_jerk
    fastest = max(n.ego, 0.0) + n.acceleration * (n.response + ramp)
    return begin + n.response + 2 * ramp + fastest / f.emergency_deceleration + 2.0


def _moving(n: Numbers, f: Fallback) -> float:
    """Return how long ego moves [s]: passive safety says nothing about the time after that."""
    time, ego = _ego_speed(n, f)
    return float(time[int(np.argmax(ego <= 0.0))]) if (ego <= 0.0).any() else float(time[-1])


def _ego_speed(n: Numbers, f: Fallback) -> tuple[Floats, Floats]:
    time = np.arange(0.0, min(_duration(n, f, 0.0), DURATION_MAX), DT)
    knots = np.array(_ego_motion(n, f, 0.0))
    return time, np.maximum(n.ego + np.cumsum(np.interp(time, knots[:, 0], knots[:, 1])) * DT, 0.0)


def _least_gap(gap: float, n: Numbers, f: Fallback, motion: Knots) -> float:
    time, ego = _ego_speed(n, f)
    own = np.array([a for _, a in motion])[np.searchsorted([t for t, _ in motion], time, "right") - 1]
    speed = np.maximum(abs(n.ahead) + np.cumsum(own) * DT, 0.0)
    way = np.cumsum(math.copysign(1.0, n.ahead) * speed - ego) * DT
    return float(gap + way.min())
