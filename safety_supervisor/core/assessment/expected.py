"""The *expected motion*: which mode the plan would need, if objects keep their velocity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.assessment.objects import Objects
from safety_supervisor.core.assessment.situation import COMFORT_STOP, FIRM_STOP, NOMINAL, SPEED_CAP, Situation
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import FOLLOWS, Contacts, Path, first_conflict
from safety_supervisor.core.world import Bools, Floats, Ints

MAX_REQUIRED = 50.0
"""Cap of a reported required deceleration [m/s^2]; beyond it only that the gap is used up matters."""
STRETCH = 3.0
"""A plan's bend is taken over this length [m], so that jitter of its points is none."""
CONFLICT_STEP = 0.1
"""Time step of the expected motion [s]."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Rows by their expected motion."""

    conflict: Bools
    """(N,) the policy's plan leads into the object."""
    required: Floats
    """(N,) deceleration [m/s^2] that keeps clear when a firm stop begins now, 0 without conflict."""
    demand: Ints
    cap: Floats
    """(N,) speed [m/s] from which a comfort stop is enough, inf without conflict."""
    travel: Floats
    """(N,) travel [m] after which ego meets it on the plan's own timing, inf when it does not."""


def expected_motion(o: Objects, met: Contacts, path: Path, situation: Situation, config: Config) -> Expectation:
    """Follow the plan among objects that keep their velocity; ask for the mildest stop that would still do.

    A conflict is met on the plan's own timing, or left behind by it: where the plan ends, a comfort stop must still be
    enough. While an MRM is under way what is required counts from where ego is now, whatever the plan's timing.
    """
    x, f, v = config.expected, config.fallback, abs(situation.ego.speed)
    object_speed = np.maximum(met.along, 0.0)
    half = config.vehicle.width / 2
    expected = np.where((o.static & ~o.near)[:, None], 0.0, met.sure)  # what never moved is expected to stay
    when, travel = first_conflict(path, o.position, expected, half + o.slack, o.clearance, x.horizon, CONFLICT_STEP)
    meets = np.isfinite(when) & ~met.flank  # what stays beside a body that turns is met where it is
    conflict = meets | (met.flank & (met.gap <= path.length)) | _left_behind(o, met, object_speed, path, config)
    travel = np.where(met.flank, np.inf, travel)
    gap = np.where(meets, travel - object_speed * np.where(meets, when, 0.0), met.gap)
    if situation.braking:
        gap = np.where(met.hit, np.minimum(met.gap, gap), gap)
    matters = np.isfinite(gap) & ((conflict | met.hit) if situation.braking else conflict)
    room = np.where(np.isfinite(gap), gap - o.clearance, 0.0)
    closing = np.maximum(v - object_speed, 0.0)
    wait = config.timing.actuation_delay + met.age
    comfort = _required(closing, room, wait + f.comfort_deceleration / (2 * f.comfort_jerk))
    firm = _required(closing, room, wait + f.firm_deceleration / (2 * f.firm_jerk))
    demand = np.where(comfort > x.cap_threshold, SPEED_CAP, NOMINAL)
    demand = np.where(comfort > x.comfort_threshold, COMFORT_STOP, demand)
    demand = np.where(firm > x.firm_threshold, FIRM_STOP, demand)
    demand = np.where(matters, demand, NOMINAL)
    b = x.comfort_threshold
    cap = object_speed - b * wait + np.sqrt(b * b * wait * wait + 2 * b * np.maximum(room, 0.0))
    cap = np.where(matters, np.maximum(cap, 0.0), np.inf)
    return Expectation(conflict, np.where(matters, firm, 0.0), demand.astype(np.int64), cap, travel)


def turned_across(o: Objects, met: Contacts, travel: Floats, path: Path) -> Bools:
    """Tell in front of whom (N,) the plan turns: met after `travel` [m] while it is not in the corridor yet.

    An object beside a bend will follow the road, and the bend has to be one that it cannot drive at its speed.
    """
    aside = np.isfinite(travel) & ~met.hit & ~o.near & ~o.static & o.sound
    if not np.count_nonzero(aside):
        return aside
    turn = np.interp(path.s + STRETCH, path.s, path.heading) - path.heading
    bend = float(np.abs(turn).max()) / STRETCH
    return np.asarray(aside & ((met.sure * met.sure).sum(axis=1) * bend > FOLLOWS))


def _left_behind(o: Objects, met: Contacts, object_speed: Floats, path: Path, config: Config) -> Bools:
    """Whether the plan ends closer to an object, and faster, than a comfort stop from there can settle."""
    end = max(path.time[np.isfinite(path.time)].tolist(), default=0.0)
    closing = np.maximum(float(path.speed[-1]) - object_speed, 0.0)
    room = np.maximum(met.gap + object_speed * end - path.length - o.clearance, 0.0)
    return np.asarray(met.hit & (closing * closing > 2 * config.expected.comfort_threshold * room))


def _required(closing: Floats, room: Floats, delay: Floats) -> Floats:
    """Return the constant deceleration [m/s^2] that takes off `closing` [m/s] within `room` [m] after `delay` [s]."""
    left = np.maximum(room - closing * delay, 1e-3)
    return np.asarray(np.minimum(closing * closing / (2 * left), MAX_REQUIRED))
