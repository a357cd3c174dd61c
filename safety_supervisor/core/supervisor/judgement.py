"""What the judgement of a tick rests on, and the judgement: of the path that counts, or of what a shift leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safety_supervisor.core import cover, fallback, tracking
from safety_supervisor.core.assessment import Situation, assess
from safety_supervisor.core.assessment.situation import stopping_reach
from safety_supervisor.core.config import Config
from safety_supervisor.core.envelopes import EPS
from safety_supervisor.core.geometry import Path
from safety_supervisor.core.supervisor.state import Shift, State
from safety_supervisor.core.supervisor.way import corner, judged_path, present_motion
from safety_supervisor.core.world import Assessment, Health, Mode, Mrm, Odometry, Plan, Severity, nanoseconds, seconds

ACCELERATION_SPAN = 0.3
"""Ego's acceleration is read from its speed over this time [s]."""


def judge(
    state: State, ego: Odometry, trust: Health, t: int, config: Config
) -> tuple[State, str, Situation, Assessment]:
    """Return what is judged and how, and where its path is from.

    A shift that has hardly begun and is not free any more becomes another one that is; without one it is given up for
    good if its way has become worse than the one it leaves, by more than a gap is uncertain.
    """
    path, source = judged_path(state, ego, trust, config)
    situation = situated(state, ego, path, source, trust, t, config)
    if source == "policy":
        room = _free_room(state, path, trust, t, config)
        situation = replace(situation, room=room) if max(room) > 0.0 else situation
    assessment = assess(state.tracker.tracks, state.ultrasonics.arcs, situation, config)
    judged = state, source, situation, assessment
    if state.shift is None or source != "shift" or assessment.margin >= EPS:
        return judged
    if not _hardly_begun(state.shift, ego, config):
        return judged
    other = judge(replace(state, shift=None), ego, trust, t, config)
    if other[3].least == Mrm.SHIFT:
        return other
    e = config.envelope
    if not other[3].margin > assessment.margin + e.sigma_k * e.gap_sigma_floor:
        return judged
    return replace(state, shift=replace(state.shift, given_up=True)), *other[1:]


def _hardly_begun(shift: Shift, ego: Odometry, config: Config) -> bool:
    """Whether ego is still as good as on the path that the shift leaves."""
    plan = shift.plan
    cos, sin = np.cos(plan.yaw[0]), np.sin(plan.yaw[0])
    aside = float(cos * (ego.y - plan.y[0]) - sin * (ego.x - plan.x[0]))
    return abs(aside) <= config.corridor.margin


def _free_room(state: State, path: Path, trust: Health, t: int, config: Config) -> tuple[float, float]:
    """Return how far ego may shift to the left and to the right [m].

    Only while everything can be trusted, forward, with a statement no older than a plan may be, once in an MRM.
    """
    most, room = config.fallback.shift_max, state.room
    if most == 0.0 or room is None or state.shift is not None or path.reverse or trust.severity != Severity.OK:
        return 0.0, 0.0
    if t - room.t > nanoseconds(config.health.plan_timeout) or not (room.left >= 0.0 and room.right >= 0.0):
        return 0.0, 0.0
    return min(room.left, most), min(room.right, most)


def situated(
    state: State, ego: Odometry, path: Path, source: str, trust: Health, t: int, config: Config
) -> Situation:
    """Return what the judgement of this tick rests on besides the objects."""
    timing, e = config.timing, config.envelope
    planned = source == "policy"
    until = timing.commit + timing.actuation_delay
    rise = _planned_rise(state.validated, t, until) if planned and state.validated else measured(state.ego)
    moving = abs(ego.speed) > config.arbitration.standstill_speed
    present = present_motion(ego, config) if planned and moving else None
    braking = state.arbiter.mode.brakes and state.arbiter.mode != Mode.STANDSTILL
    acceleration = max(e.acceleration_margin + (min(rise, 0.0) if braking else rise), 0.0)
    at_once = fallback.left_at_once(path, corner(ego, path), config)
    left = fallback.brake_left(path, corner(ego, path), config, at_once=at_once)
    envelope = replace(e, assumed_brake=left) if left < e.assumed_brake else e
    well = cover.healthy(state.memory, trust, t, config)
    clear = cover.clear_range(path, ego, well, config)
    resting = not moving and planned and rise <= 0 and not path.radius
    heard = state.ego.samples if state.ultrasonics.arcs else ()  # only echoes have a range rate that lags
    recent = max((abs(o.speed) for o in heard), default=0.0)
    age = max(seconds(t - state.ego.samples[-1].t), 0.0)
    braked = min(state.acceleration if braking else rise, 0.0)
    under_way = state.arbiter.mode if braking else Mode.NOMINAL
    begins = path.radius > 0 and not corner(ego, path).speed > config.arbitration.standstill_speed
    if path.radius:  # the worst case begins with the turn that is planned, a stop with what is left of it
        ego = replace(ego, speed=corner(ego, path).speed if braking else float(path.speed[0]))
    return Situation(ego, path, present, acceleration, envelope, clear, braking, recent, resting, age, braked,
                     state.before, begins, int(under_way), at_once=at_once, well=well, returns=state.tracker.returns)


def covered(trust: Health, situation: Situation, config: Config) -> Health:
    """Return the trust with the directions that no healthy sensor covers; what they ask for is the clear range's."""
    reach, clear = stopping_reach(situation, config), situation.clear_range
    found = cover.findings(situation.path, situation.ego, situation.well, reach, clear, config)
    return replace(trust, findings=(*trust.findings, *found)) if found else trust


def _planned_rise(plan: Plan, t: int, until: float) -> float:
    """Return the largest planned acceleration [m/s^2] from now until `until` [s]."""
    now = seconds(t - plan.t)
    first = max(int(plan.time.searchsorted(now)) - 1, 0)
    last = int(plan.time.searchsorted(now + until, side="right"))
    time, speed = plan.time[first : last + 1], np.abs(plan.speed[first : last + 1])
    return float(((speed[1:] - speed[:-1]) / (time[1:] - time[:-1])).max()) if len(time) > 1 else 0.0


def measured(history: tracking.EgoHistory) -> float:
    """Return ego's acceleration along its travel [m/s^2] over the last moments, 0 when it cannot be told."""
    if len(history.samples) < 2:
        return 0.0
    last = history.samples[-1]
    first = history.since(last.t - nanoseconds(ACCELERATION_SPAN))
    span = seconds(last.t - first.t)
    return (abs(last.speed) - abs(first.speed)) / span if span > 0.05 else 0.0
