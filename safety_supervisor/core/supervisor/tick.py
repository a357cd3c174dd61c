"""The tick: `step(state, inputs, t, config) -> (state, Decision)`, the only entry.

Live node, replay, scenarios and tests all call it, with the same state and the same inputs they get the same decision.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safety_supervisor.core import delivery, doppler_sign, health, policy_watch, tracking
from safety_supervisor.core.arbitration import TRUST, Arbiter, arbitrate, rebased
from safety_supervisor.core.assessment import told_shift
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import Path
from safety_supervisor.core.paths import SAMPLES
from safety_supervisor.core.plan_check import check_following
from safety_supervisor.core.supervisor.command import Action, acted
from safety_supervisor.core.supervisor.judgement import covered, judge
from safety_supervisor.core.supervisor.plans import with_admissible, with_plans
from safety_supervisor.core.supervisor.state import State
from safety_supervisor.core.supervisor.way import corner
from safety_supervisor.core.world import (
    Assessment,
    Code,
    Decision,
    Finding,
    Floats,
    Health,
    Inputs,
    Mode,
    Mrm,
    Odometry,
    Reason,
    Severity,
    Verdict,
    nanoseconds,
    seconds,
)


def step(state: State, inputs: Inputs, t: int, config: Config) -> tuple[State, Decision]:
    """Advance the supervisor to tick `t` [ns]. Pure: same arguments, same result; never raises on any input values."""
    state, inputs, ego, trust = perceived(state, inputs, t, config)
    return _decide(state, inputs, ego, trust, t, config)


def perceived(
    state: State, inputs: Inputs, t: int, config: Config
) -> tuple[State, Inputs, Odometry | None, Health]:
    """Return the state with all that arrived, the inputs that were admitted, ego at `t` [ns] and the trust in it."""
    memory, inputs = health.admit(state.memory, inputs, t, config)
    if memory.jumped:  # what was tracked belongs to another time
        state = replace(state, ego=tracking.EgoHistory(), tracker=tracking.TrackerState.empty(), plan=None, told=None,
                        room=None, shift=None,
                        ultrasonics=tracking.UltrasonicState.empty(), monitors=tracking.Monitors(),
                        drift=tracking.Drift(), arbiter=rebased(state.arbiter, t))
    drift = tracking.drifted(state.drift, inputs.odometry)
    history = state.ego.updated(drift.corrected(inputs.odometry))
    tracker = tracking.track_radar(state.tracker, inputs.radar, history, t, config)
    ultrasonics = tracking.track_ultrasonics(state.ultrasonics, inputs.ranges, history, t, config)
    ego = history.at(t)
    driver = inputs.driver[-1].takeover if inputs.driver else state.driver
    moving = ego is not None and abs(ego.speed) > config.arbitration.standstill_speed
    memory = health.moved(memory, config) if moving else health.rested(memory, t)
    state = replace(
        state, memory=memory, ego=history, drift=drift, tracker=tracker, ultrasonics=ultrasonics,
        signs=doppler_sign.scored(state.signs, inputs.radar, history, config),
        monitors=tracking.watched(state.monitors, tracker, ultrasonics, history, t, config, state.ahead),
        driver=driver, requested=_requested(state.requested, inputs, driver),
        control=(*state.control, *inputs.control)[-2:], room=inputs.room[-1] if inputs.room else state.room,
    )  # fmt: skip
    state = with_plans(state, inputs.plans, ego, config)
    doubts = (*tracking.findings(state.monitors, ultrasonics, t, config), *_watched(state, ego, config),
              *delivery.findings(state.delivery))
    more = (*doppler_sign.findings(state.signs), *drift.findings(), *doubts, *state.plan_findings)
    state, trust = _self_tested(state, health.check(memory, more, moving, t, config), t, config)
    return state, inputs, ego, trust


def _self_tested(state: State, trust: Health, t: int, config: Config) -> tuple[State, Health]:
    """Hold INIT until all has been well for the time of the self-test; after a start nothing is taken for granted."""
    if state.arbiter.mode != Mode.INIT or trust.severity != Severity.OK:
        return (state if state.well is None else replace(state, well=None)), trust
    well, needed = state.well if state.well is not None else t, config.health.self_test_time
    state = replace(state, well=well)
    if t - well >= nanoseconds(needed):
        return state, trust
    text = f"all has been well for {seconds(t - well):.2f} s, the self-test takes {needed:g} s"
    return state, Health(Severity.WAITING, (Finding(Code.SELF_TEST, "supervisor", text),))


def _requested(before: Mode, inputs: Inputs, driver: bool) -> Mode:
    """Return the stop that is asked for from outside: it holds until it is taken back, released or a driver drives."""
    if inputs.requested is not None:
        return inputs.requested
    return Mode.NOMINAL if inputs.release or driver else before


def _watched(state: State, ego: Odometry | None, config: Config) -> tuple[Finding, ...]:
    """Return what is wrong with how the policy carries out its own plan, and what it does not see."""
    blind = policy_watch.blind_findings(state.sight)
    if ego is None:
        return blind
    plan = state.validated if state.plan is state.validated else None
    following = check_following(plan, ego, config) if plan is not None and not state.driver else ()
    if not state.control:
        return (*following, *blind)
    before = state.control[0] if len(state.control) > 1 else None
    plan = plan if state.arbiter.mode <= Mode.NOMINAL else None  # what is driven now is not the policy's plan
    return (*following, *policy_watch.check_control(state.control[-1], before, plan, ego, config), *blind)


def _decide(
    state: State, inputs: Inputs, ego: Odometry | None, trust: Health, t: int, config: Config
) -> tuple[State, Decision]:
    flags = (state.driver, inputs.release)
    if ego is None:
        demand = state.requested
        arbiter = arbitrate(state.arbiter, demand, Mode.NOMINAL, trust.severity, flags, np.nan, t, config)
        state = replace(state, arbiter=arbiter)
        return state, _blind_decision(state, inputs, trust, t, config)
    state, trust = with_admissible(state, trust, ego, t, config)
    state, source, situation, assessment = judge(state, ego, trust, t, config)
    trust = covered(trust, situation, config)
    sight = policy_watch.compared(state.sight, inputs.objects, assessment.threats, state.tracker.tracks, t, config)
    speed = np.nan if trust.severity == Severity.BLIND else corner(ego, situation.path).speed
    lost = _lost(state, trust, t)
    asked = (max(assessment.demand, state.requested, state.delivery.demand, lost), assessment.sustain)
    arbiter = arbitrate(state.arbiter, *asked, trust.severity, flags, speed, t, config)
    action = acted(state, arbiter.mode, source, situation, assessment, ego, trust, config)
    reasons = _reasons(state, arbiter, assessment, trust, lost)
    if action.source == "shift" and action.shift is not None and assessment.least != Mrm.SHIFT:
        under_way = f"SHIFT {told_shift(action.shift.offset)}, into room that is given as free, is under way"
        reasons = (*reasons, Reason(Code.ENVELOPE, under_way))
    decision = Decision(
        t, arbiter.mode, assessment.verdict, assessment, reasons, trust,
        warn=assessment.verdict > Verdict.SAFE or trust.severity > Severity.OK,
        plan_source=action.source, candidate=_candidate(state), command=action.command, fallback=action.fallback,
        acceleration=action.acceleration, curvature=action.curvature,
        hazard_lights=arbiter.mode.brakes, takeover_request=arbiter.mode.brakes,
        hold=arbiter.mode == Mode.STANDSTILL, driver=state.driver, ego=ego, path=_points(action.path),
        half_width=config.vehicle.width / 2 + config.corridor.margin + config.corridor.object_half_width,
        tracks=state.tracker.tracks, arcs=state.ultrasonics.arcs,
        consumed=inputs.consumed, blind_spots=sight.count, config=config.digest, certificate=config.certificate,
    )  # fmt: skip
    return _after(state, sight, arbiter, decision, action, ego, config), decision


def _after(
    state: State, sight: policy_watch.Sight, arbiter: Arbiter, decision: Decision, action: Action, ego: Odometry,
    config: Config,
) -> State:  # fmt: skip
    """Return what the next tick is told."""
    mode, tracks = decision.mode, state.tracker.tracks
    watching = state.executed and not state.driver  # otherwise nobody executes what is decided
    speed = corner(ego, action.path).speed
    delivered = delivery.watched(state.delivery, mode, speed, action.acceleration, decision.t, config)
    lasts = mode.brakes and mode != Mode.STANDSTILL
    return replace(state, sight=sight, arbiter=arbiter, acceleration=action.acceleration, before=tracks,
                   shift=action.shift if lasts else None, told=action.command if action.unseen else None,
                   ahead=tracking.ahead_of(ego, tracks, decision.assessment.threats, config),
                   delivery=delivered if watching else delivery.Delivery())


def _lost(state: State, trust: Health, t: int) -> Mode:
    """Return what is asked for because of who is in ego's way and not seen any more: the hazard is still there."""
    asked = tracking.vanished(state.monitors)
    deaf = any(f.code in (Code.RADAR_STALE, Code.RADAR_FROZEN) for f in trust.findings)
    return max(asked, tracking.unheard(state.ahead, state.tracker.tracks, t)) if deaf else asked


def _points(path: Path) -> Floats:
    every, points = len(path.x) // SAMPLES, np.empty((SAMPLES, 2))
    points[:, 0], points[:, 1] = path.x[::every], path.y[::every]
    return points


def _candidate(state: State) -> int:
    return state.validated.candidate if state.validated is not None else 0


def _reasons(
    state: State, arbiter: Arbiter, assessment: Assessment, trust: Health, lost: Mode = Mode.NOMINAL
) -> tuple[Reason, ...]:
    """Return why the mode is what it is, strongest first."""
    told = tuple(Reason(f.code, f.text) for f in trust.findings)
    if state.requested > Mode.NOMINAL:
        told = (Reason(Code.REQUESTED, f"{state.requested.name} was asked for from outside"), *told)
    if state.driver:
        return (Reason(Code.DRIVER, "the driver has taken over"), *told)
    if arbiter.mode == Mode.NOMINAL:
        return ()
    if arbiter.mode == Mode.INIT:
        return told
    seen = assessment.reasons if assessment.demand >= Mode.SPEED_CAP else ()
    blame_inputs = max(TRUST[trust.severity], state.requested, lost) >= assessment.demand
    reasons = (*told, *seen) if blame_inputs else (*seen, *told)
    if arbiter.latched and arbiter.mode == Mode.STANDSTILL:
        return (*reasons, Reason(Code.RELEASE_PENDING, "held at standstill after an emergency until it is released"))
    if not reasons and assessment.sustain > Mode.NOMINAL:
        return (Reason(Code.EXPECTED_MOTION, "the policy's plan still leads into what it was stopped for"),)
    if not reasons:
        return (Reason(Code.DWELL, "the hazard has gone, held for the dwell time"),)
    return reasons


def _blind_decision(state: State, inputs: Inputs, trust: Health, t: int, config: Config) -> Decision:
    """Return the decision without any odometry: nothing can be judged, INIT waits and UNABLE brakes."""
    nothing = Assessment(Verdict.SAFE, Mode.NOMINAL, Mode.NOMINAL, np.nan, (), None, None, (), (), np.inf)
    mode = state.arbiter.mode
    brake = -config.fallback.emergency_deceleration if mode.brakes else 0.0
    return Decision(
        t, mode, Verdict.IMMINENT if mode.brakes else Verdict.SAFE, nothing,
        _reasons(state, state.arbiter, nothing, trust), trust, warn=True,
        plan_source="none", candidate=0, command=None, fallback=None, acceleration=brake, curvature=0.0,
        hazard_lights=mode.brakes, takeover_request=mode.brakes, hold=mode.brakes, driver=state.driver, ego=None,
        path=np.zeros((0, 2)), half_width=0.0, tracks=state.tracker.tracks, arcs=state.ultrasonics.arcs,
        consumed=inputs.consumed, blind_spots=state.sight.count, config=config.digest, certificate=config.certificate,
    )  # fmt: skip
