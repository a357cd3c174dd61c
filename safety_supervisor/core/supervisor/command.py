"""What is executed in a mode: the plan, the capped plan, or the manoeuvre along the path that counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core import fallback, policy_watch
from safety_supervisor.core.arbitration import TRUST
from safety_supervisor.core.assessment import Situation
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import Path
from safety_supervisor.core.shift import shifted, step_of
from safety_supervisor.core.supervisor.judgement import measured
from safety_supervisor.core.supervisor.state import Shift, State
from safety_supervisor.core.supervisor.way import corner, judged_path
from safety_supervisor.core.world import Assessment, Code, Health, Mode, Mrm, Odometry, Plan, seconds

UNSEEN = {Code.ODOMETRY_STALE, Code.ODOMETRY_FROZEN}
"""Findings that say: where ego is and how it moves is not known any more."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is executed."""

    path: Path
    """What the command goes along as ego is, and where it is from."""
    source: str
    shift: Shift | None
    """Under way, or begun now."""
    command: Plan | None
    fallback: Plan
    """Emergency stop."""
    acceleration: float
    """[m/s^2]"""
    curvature: float
    """[1/m]"""
    unseen: bool
    """Odometry says nothing new: the next command goes on from this one."""


def acted(
    state: State, mode: Mode, source: str, situation: Situation, assessment: Assessment, ego: Odometry, trust: Health,
    config: Config,
) -> Action:  # fmt: skip
    """Return what is executed in `mode`, and the emergency stop beside it."""
    path = situation.path
    if mode == Mode.EMERGENCY_STOP and assessment.least == Mrm.SHIFT:
        begun = shifted(path, step_of(assessment.shift, abs(ego.speed), config), ego, float(path.s[-1]))
        state = replace(state, shift=Shift(begun, assessment.shift))
        path, source = judged_path(state, ego, trust, config)
    unseen = mode.brakes and any(f.code in UNSEEN for f in trust.findings)
    # A stop that began anew each tick at the speed that was heard last would ask its followers for that speed for ever.
    told = fallback.followed(state.told, ego) if unseen and state.told is not None else ego
    way = path if told is ego else judged_path(state, told, trust, config)[0]
    told = corner(told, way)
    # A stop that the inputs ask for is not eased: without them nobody knows how far the way ahead is one.
    eased = assessment if TRUST[trust.severity] < Mode.COMFORT_STOP else replace(assessment, ease=False)
    command, acceleration, curvature = commanded(state, mode, eased, way, source, told, config)
    hardest = fallback.manoeuvre(Mode.EMERGENCY_STOP, config)
    at_once = situation.at_once if way is situation.path else None
    emergency, _ = fallback.stop(way, told, acceleration, hardest, 0.0, config, at_once)
    return Action(path, source, state.shift, command, emergency, acceleration, curvature, unseen)


def commanded(
    state: State, mode: Mode, assessment: Assessment, path: Path, source: str, ego: Odometry, config: Config
) -> tuple[Plan | None, float, float]:
    """Return trajectory, acceleration [m/s^2] and curvature [1/m] to execute in `mode`."""
    curvature = float((path.heading[1] - path.heading[0]) / (path.s[1] - path.s[0])) * (-1.0 if path.reverse else 1.0)
    curvature = 0.0 if path.radius else curvature  # on the spot base_link drives no bend
    followed = state.validated if source == "policy" else None
    if mode == Mode.INIT:
        return None, 0.0, curvature
    if followed is not None:
        present = policy_watch.planned_acceleration(followed, seconds(ego.t - followed.t))
    else:
        present = measured(state.ego)
    if mode == Mode.NOMINAL:
        return followed, present, curvature
    if mode == Mode.SPEED_CAP:
        return *_capped(state, assessment.speed_cap, path, present, ego, config), curvature
    if mode == Mode.STANDSTILL:
        hold = fallback.along(path, ego, np.array([0.0, fallback.HORIZON]), np.zeros(2), np.zeros(2))
        return hold, -config.fallback.comfort_deceleration, curvature
    before = state.arbiter.mode
    if assessment.least not in (None, Mrm.SHIFT) and mode == Mode.EMERGENCY_STOP:
        return *_least(assessment.least, state, path, followed is not None, present, ego, config), curvature
    if assessment.ease and before.brakes and mode != Mode.UNABLE:
        return *fallback.coast(path, ego, state.acceleration, config), curvature
    now = state.acceleration if before.brakes else min(present, state.acceleration, 0.0)
    now = max(now, -config.plan_check.deceleration_max)  # measured from odometry: nothing brakes harder
    limit = config.fallback.emergency_deceleration
    floor = min(-now, limit) if mode >= before or not before.brakes else 0.0
    plan, acceleration = fallback.stop(path, ego, now, fallback.manoeuvre(mode, config), max(floor, 0.0), config)
    return plan, acceleration, curvature


def _capped(
    state: State, cap: float, path: Path, present: float, ego: Odometry, config: Config
) -> tuple[Plan, float]:
    """Return trajectory and acceleration [m/s^2] that go no faster than `cap` [m/s]."""
    cap = min(cap, config.odd.speed_max)
    if state.arbiter.held < Mode.SPEED_CAP:  # it is the inputs that are not trusted: do not speed up
        cap = min(cap, abs(ego.speed))
    comfort = fallback.manoeuvre(Mode.SPEED_CAP, config)
    plan, wanted = fallback.capped(path, ego, cap, comfort)
    slope = comfort.jerk * config.timing.period
    smooth = float(np.clip(wanted, state.acceleration - slope, state.acceleration + slope))
    return plan, min(smooth, max(present, wanted))  # a policy that brakes harder is not held back


def _least(
    option: Mrm, state: State, path: Path, follows: bool, present: float, ego: Odometry, config: Config
) -> tuple[Plan | None, float]:
    """Return trajectory and acceleration [m/s^2] of what has the least predicted impact when nothing stays inside."""
    if option == Mrm.PLAN and follows:
        return state.validated, present
    if option <= Mrm.COAST:
        return fallback.coast(path, ego, state.acceleration, config)
    mrm = fallback.manoeuvre(Mode.COMFORT_STOP if option == Mrm.COMFORT else Mode.FIRM_STOP, config)
    mrm = replace(mrm, jerk=config.fallback.emergency_jerk)
    return fallback.stop(path, ego, state.acceleration, mrm, 0.0, config)
