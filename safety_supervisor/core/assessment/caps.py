"""The smallest margins, and the speed up to which ego could still stop inside what is known."""

from __future__ import annotations

import numpy as np

from safety_supervisor.core.assessment.objects import Objects
from safety_supervisor.core.assessment.rating import Rated
from safety_supervisor.core.assessment.situation import (
    EMERGENCY_STOP,
    FIRM_STOP,
    SPEED_CAP,
    Situation,
    cap_for,
    ego_speed,
)
from safety_supervisor.core.config import Config
from safety_supervisor.core.envelopes import clear_distance_margin
from safety_supervisor.core.world import Code, Floats, Mode, Reason


def caps(
    o: Objects, rated: Rated, situation: Situation, margins: dict[str, float], config: Config
) -> tuple[float, list[tuple[Mode, Reason]]]:
    """Return the largest admissible speed reading and what demands it, the margin of the clear distance noted aside."""
    e, timing, a = situation.envelope, config.timing, situation.acceleration
    response = timing.commit + timing.actuation_delay
    v = abs(situation.ego.speed)
    fastest = max(v, *situation.path.speed[situation.path.time <= 1.0].tolist())
    true_speed = ego_speed(situation, config)
    margins["clear_distance"] = float(clear_distance_margin(situation.clear_range, true_speed, response, a, e))

    limit = config.authority.static_range
    far = rated.met.hit & o.static & (rated.met.gap > limit) & (o.existence >= config.authority.speed_cap)
    options: list[tuple[float, Code, str]] = [
        (config.odd.speed_max, Code.OUT_OF_ODD, "the operational design domain ends"),
        (float(cap_for(situation.clear_range, situation, config)), Code.CLEAR_DISTANCE,
         f"sensors cover {situation.clear_range:.1f} m of the way and ego must be able to stop inside"),
    ]  # fmt: skip
    if np.count_nonzero(far):
        nearest = float(rated.met.gap[far].min())
        text = f"what never moved stands {nearest:.0f} m ahead, at {limit:g} m there must be room to stop"
        since = v * float(o.age[far].min())  # there it is seen, and judged only then
        options.append((float(cap_for(limit - since, situation, config)), Code.CLEAR_DISTANCE, text))
    reasons = [
        (Mode.SPEED_CAP, Reason(code, f"{fastest:.1f} m/s is above {cap:.1f} m/s: {text}"))
        for cap, code, text in options
        if not fastest <= cap
    ]
    if not situation.clear_range > 0:
        reasons = [(Mode.COMFORT_STOP, Reason(Code.CLEAR_DISTANCE, "no healthy sensor covers the direction of travel"))]
    asked = rated.demand == SPEED_CAP
    return min([cap for cap, _, _ in options] + [smallest(rated.expected.cap[asked])]), reasons


def margins_of(o: Objects, rated: Rated) -> dict[str, float]:
    """Return the smallest margin of each rule, over the rows that may demand what the rule demands."""
    emergency, stops = rated.told >= EMERGENCY_STOP, rated.told >= FIRM_STOP
    return {
        "longitudinal": smallest(rated.margin[~o.near & emergency]),
        "near_field": smallest(rated.margin[o.near]),
        "crossing": smallest(rated.crossing),
        "ttc": smallest(rated.ttc_margin[rated.met.hit & ~o.near & stops]),
    }


def smallest(margin: Floats) -> float:
    """Return the least of some margins [m], inf of none."""
    return float(margin.min()) if len(margin) else float("inf")
