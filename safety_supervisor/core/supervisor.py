"""The tick: `step(state, inputs, t, config) -> (state, Decision)`, the only entry.

Live node, replay, scenarios and tests all call it, with the same state and the same inputs they get the same decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from safety_supervisor.core import cover, delivery, doppler_sign, fallback, health, policy_watch, tracking
from safety_supervisor.core.arbitration import TRUST, Arbiter, arbitrate, rebased
from safety_supervisor.core.assessment import Situation, assess, told_shift
from safety_supervisor.core.assessment.situation import stopping_reach
from safety_supervisor.core.config import Config, Sensor
from safety_supervisor.core.envelopes import EPS
from safety_supervisor.core.geometry import (
    SAMPLES,
    Path,
    angle_difference,
    corner_radius,
    extrapolated_path,
    planned_path,
    turn_rate,
    turned_path,
)
from safety_supervisor.core.motion import fallback_distance
from safety_supervisor.core.plan_check import check_following, check_plan
from safety_supervisor.core.shift import shifted, step_of
from safety_supervisor.core.world import (
    Assessment,
    Code,
    ControlCommand,
    Decision,
    Finding,
    Floats,
    FreeRoom,
    Health,
    Inputs,
    Mode,
    Mrm,
    Odometry,
    Plan,
    Reason,
    Severity,
    Tracks,
    Verdict,
    nanoseconds,
    seconds,
)

NEAR_REACH = 5.0
"""Paths are looked along at least this far [m], so that near objects are seen at standstill too."""
SPOT = 1e-3
"""A plan that turns less than this [rad] until the fallback acts does not turn."""
UNCHECKED = Finding(Code.PLAN_OFF_EGO, "plan", "plan came before any odometry, so where it starts could not be checked")
UNSEEN = {Code.ODOMETRY_STALE, Code.ODOMETRY_FROZEN}
"""Findings that say: where ego is and how it moves is not known any more."""
ACCELERATION_SPAN = 0.3
"""Ego's acceleration is read from its speed over this time [s]."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift of the MRM under way."""

    plan: Plan
    """Where it leads, as a path: its speeds are those of its beginning."""
    offset: float
    """[m] to the left."""
    given_up: bool = False
    """It had hardly begun when something stood in its way; there is no second one in the same MRM."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that one tick hands to the next."""

    memory: health.Memory = field(default_factory=health.Memory)
    ego: tracking.EgoHistory = field(default_factory=tracking.EgoHistory)
    drift: tracking.Drift = field(default_factory=tracking.Drift)
    """Whether ego's speed and pose say the same."""
    tracker: tracking.TrackerState = field(default_factory=tracking.TrackerState.empty)
    ultrasonics: tracking.UltrasonicState = field(default_factory=tracking.UltrasonicState.empty)
    signs: doppler_sign.Scores = ()
    """Whether each radar counts range rates as declared."""
    monitors: tracking.Monitors = field(default_factory=tracking.Monitors)
    """What the sensors say about themselves and about odometry."""
    plan: Plan | None = None
    """Newest plan, good or not."""
    plan_findings: tuple[Finding, ...] = ()
    """What was wrong with it when it came."""
    others: tuple[tuple[Plan, tuple[Finding, ...]], ...] = ()
    """The newest of each further candidate and what was wrong with it, in the policy's order."""
    validated: Plan | None = None
    """Newest plan that passed every check: MRMs steer along it."""
    arbiter: Arbiter = field(default_factory=Arbiter)
    well: int | None = None
    """Tick since when nothing has been wrong in INIT."""
    control: tuple[ControlCommand, ...] = ()
    """The newest control command, and the one before it."""
    sight: policy_watch.Sight = field(default_factory=policy_watch.Sight)
    driver: bool = False
    requested: Mode = Mode.NOMINAL
    """Stop that was asked for from outside and still is."""
    acceleration: float = 0.0
    """Last commanded acceleration [m/s^2]."""
    told: Plan | None = None
    """The stop that was commanded in the last tick while odometry said nothing new; it goes on as if ego followed."""
    before: Tracks = field(default_factory=Tracks)
    """Tracks of the last tick."""
    ahead: tracking.Ahead = ()
    """Tracks that were in ego's way then, and what each may ask for when it vanishes."""
    room: FreeRoom | None = None
    """Newest statement of free room beside the plan."""
    shift: Shift | None = None
    delivery: delivery.Delivery = field(default_factory=delivery.Delivery)
    """What the brakes made of the MRM under way."""


def start(config: Config) -> State:
    """Return the state before the first tick."""
    del config  # nothing of it is remembered; the signature leaves room for it
    return State()


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
    state = _with_plans(state, inputs.plans, ego, config)
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


def _with_plans(state: State, plans: tuple[Plan, ...], ego: Odometry | None, config: Config) -> State:
    """Check each plan as it comes. One that is overtaken by a newer plan, or that nobody expects, is not used."""
    for plan in plans if config.inputs.plan_expected else ():
        if plan.candidate > 0:
            state = replace(state, others=_with_candidate(state.others, plan, ego, config))
            continue
        if state.plan is not None and plan.t < state.plan.t:
            continue
        findings = check_plan(plan, state.plan, ego, config) if ego is not None else (UNCHECKED,)
        state = replace(state, plan=plan, plan_findings=findings, validated=state.validated if findings else plan)
    return state


def _with_candidate(
    others: tuple[tuple[Plan, tuple[Finding, ...]], ...], plan: Plan, ego: Odometry | None, config: Config
) -> tuple[tuple[Plan, tuple[Finding, ...]], ...]:
    """Return the candidates with a newer one in its place; it is checked as every plan is."""
    known = {old.candidate: (old, found) for old, found in others}
    before = known[plan.candidate][0] if plan.candidate in known else None
    if before is not None and plan.t < before.t:
        return others
    known[plan.candidate] = (plan, check_plan(plan, before, ego, config) if ego is not None else (UNCHECKED,))
    return tuple(known[index] for index in sorted(known))


def _with_admissible(
    state: State, trust: Health, ego: Odometry, t: int, config: Config
) -> tuple[State, Health]:
    """Return the state with the first admissible candidate in the policy's order as its plan; without one, as it is.

    Admissible is a fresh plan that passed its checks and that the assessment asks nothing of. Once a stop is under way,
    only the plan itself ends it.
    """
    fresh = nanoseconds(config.health.plan_timeout)
    others = [plan for plan, found in state.others if not found and t - plan.t <= fresh
              and not health.frozen(state.memory, health.plan_source(plan))]
    if not others or state.arbiter.mode.brakes:
        return state, trust
    ill = tuple(f for f in trust.findings if f.source == "plan")
    if not ill and _admissible(state, trust, ego, t, config):
        return state, trust
    well = tuple(f for f in trust.findings if f.source != "plan")
    severity = max((health.severity_of(f.code) for f in well), default=Severity.OK)
    for plan in others:
        why = ill[0].text if ill else "the assessment asks for more than its timing"
        note = Finding(Code.PLAN_REJECTED, "policy", f"candidate {plan.candidate} is passed, the plan is not: {why}")
        tried, trusted = replace(state, validated=plan, plan=plan), Health(severity, (*well, note))
        if _admissible(tried, trusted, ego, t, config):
            return replace(state, validated=plan), trusted
    return state, trust


def _admissible(state: State, trust: Health, ego: Odometry, t: int, config: Config) -> bool:
    path, source = judged_path(state, ego, trust, config)
    if source != "policy":
        return False
    situation = situated(state, ego, path, source, trust, t, config)
    return assess(state.tracker.tracks, state.ultrasonics.arcs, situation, config).demand <= Mode.NOMINAL


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
    if ego is None:
        flags = (state.driver, inputs.release)
        demand = state.requested
        arbiter = arbitrate(state.arbiter, demand, Mode.NOMINAL, trust.severity, flags, np.nan, t, config)
        state = replace(state, arbiter=arbiter)
        return state, _blind_decision(state, inputs, trust, t, config)
    state, trust = _with_admissible(state, trust, ego, t, config)
    state, source, situation, assessment = _judged(state, ego, trust, t, config)
    path = situation.path
    trust = _with_cover(state, trust, situation, t, config)
    sight = policy_watch.compared(state.sight, inputs.objects, assessment.threats, state.tracker.tracks, t, config)
    flags = (state.driver, inputs.release)
    speed = np.nan if trust.severity == Severity.BLIND else _corner(ego, path).speed
    lost = _lost(state, trust, t)
    asked = (max(assessment.demand, state.requested, state.delivery.demand, lost), assessment.sustain)
    arbiter = arbitrate(state.arbiter, *asked, trust.severity, flags, speed, t, config)
    unseen = arbiter.mode.brakes and any(f.code in UNSEEN for f in trust.findings)
    if arbiter.mode == Mode.EMERGENCY_STOP and assessment.least == Mrm.SHIFT:
        begun = shifted(path, step_of(assessment.shift, abs(ego.speed), config), ego, float(path.s[-1]))
        state = replace(state, shift=Shift(begun, assessment.shift))
        path, source = judged_path(state, ego, trust, config)
    # A stop that began anew each tick at the speed that was heard last would ask its followers for that speed for ever.
    told = fallback.followed(state.told, ego) if unseen and state.told is not None else ego
    way = path if told is ego else judged_path(state, told, trust, config)[0]
    told = _corner(told, way)
    # A stop that the inputs ask for is not eased: without them nobody knows how far the way ahead is one.
    eased = assessment if TRUST[trust.severity] < Mode.COMFORT_STOP else replace(assessment, ease=False)
    command, acceleration, curvature = _command(state, arbiter.mode, eased, way, source, told, config)
    hardest = fallback.manoeuvre(Mode.EMERGENCY_STOP, config)
    emergency, _ = fallback.stop(way, told, acceleration, hardest, 0.0, config)
    reasons = _reasons(state, arbiter, assessment, trust, lost)
    if source == "shift" and state.shift is not None and assessment.least != Mrm.SHIFT:
        under_way = f"SHIFT {told_shift(state.shift.offset)}, into room that is given as free, is under way"
        reasons = (*reasons, Reason(Code.ENVELOPE, under_way))
    decision = Decision(
        t, arbiter.mode, assessment.verdict, assessment, reasons, trust,
        warn=assessment.verdict > Verdict.SAFE or trust.severity > Severity.OK,
        plan_source=source, candidate=_candidate(state), command=command, fallback=emergency,
        acceleration=acceleration, curvature=curvature,
        hazard_lights=arbiter.mode.brakes, takeover_request=arbiter.mode.brakes,
        hold=arbiter.mode == Mode.STANDSTILL, driver=state.driver, ego=ego,
        path=_points(path),
        half_width=config.vehicle.width / 2 + config.corridor.margin + config.corridor.object_half_width,
        tracks=state.tracker.tracks, arcs=state.ultrasonics.arcs,
        consumed=inputs.consumed, blind_spots=sight.count, config=config.digest, certificate=config.certificate,
    )  # fmt: skip
    watching = config.certificate is not None and not state.driver  # otherwise nobody executes what is decided
    delivered = delivery.watched(state.delivery, arbiter.mode, _corner(ego, path).speed, acceleration, t, config)
    lasts = arbiter.mode.brakes and arbiter.mode != Mode.STANDSTILL
    return replace(state, sight=sight, arbiter=arbiter, acceleration=acceleration, before=state.tracker.tracks,
                   shift=state.shift if lasts else None,
                   told=command if unseen else None,
                   ahead=tracking.ahead_of(ego, state.tracker.tracks, assessment.threats, config),
                   delivery=delivered if watching else delivery.Delivery()), decision


def _judged(
    state: State, ego: Odometry, trust: Health, t: int, config: Config
) -> tuple[State, str, Situation, Assessment]:
    """Return what is judged and how, and where its path is from.

    A shift that has hardly begun and is not free any more becomes another one that is; without one it is given up for
    good if its way has become worse than the one it leaves, by more than a gap is uncertain.
    """
    path, source = judged_path(state, ego, trust, config)
    situation = situated(state, ego, path, source, trust, t, config)
    if source == "policy":
        room, sensors = _free_room(state, path, trust, t, config)
        situation = replace(situation, room=room, sensors=sensors) if sensors else situation
    assessment = assess(state.tracker.tracks, state.ultrasonics.arcs, situation, config)
    judged = state, source, situation, assessment
    if state.shift is None or source != "shift" or assessment.margin >= EPS:
        return judged
    if not _hardly_begun(state.shift, ego, config):
        return judged
    other = _judged(replace(state, shift=None), ego, trust, t, config)
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


def _free_room(
    state: State, path: Path, trust: Health, t: int, config: Config
) -> tuple[tuple[float, float], tuple[Sensor, ...]]:
    """Return how far ego may shift to the left and to the right [m], and the sensors that are to see that it is free.

    Only while everything can be trusted, forward, with a statement no older than a plan may be, once in an MRM.
    """
    most, room = config.fallback.shift_max, state.room
    if most == 0.0 or room is None or state.shift is not None or path.reverse or trust.severity != Severity.OK:
        return (0.0, 0.0), ()
    if t - room.t > nanoseconds(config.health.plan_timeout) or not (room.left >= 0.0 and room.right >= 0.0):
        return (0.0, 0.0), ()
    well = cover.healthy(state.memory, trust, t, config)
    healthy = tuple(sensor for name, sensor in config.sensors if name in well)
    return (min(room.left, most), min(room.right, most)), healthy


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


def judged_path(state: State, ego: Odometry, trust: Health, config: Config) -> tuple[Path, str]:
    """Return the path that counts in full and where it is from."""
    e, timing = config.envelope, config.timing
    v, response = abs(ego.speed), timing.commit + timing.actuation_delay
    needed = float(fallback_distance(v, response, e.acceleration_max, e.assumed_brake, e.assumed_jerk))
    brake = config.expected.comfort_threshold
    reach = max(needed, v * v / (2 * brake), NEAR_REACH) + config.expected.clearance
    shift = state.shift
    if shift is not None and not shift.given_up and _on_path(shift.plan, ego, config):
        return planned_path(shift.plan, ego, config.vehicle, reach, brake), "shift"
    plan = state.validated
    usable = not any(f.source == "plan" for f in trust.findings)
    known = plan if plan is not None and (usable or _on_path(plan, ego, config)) else None
    rate = _turns_on_spot(known, ego, config)
    if rate:
        source = "extrapolation" if known is None else "policy" if usable else "last validated"
        return _turn(known, ego, rate, config), source
    if plan is not None and known is plan:
        return planned_path(plan, ego, config.vehicle, reach, brake), "policy" if usable else "last validated"
    return _present_path(ego, config), "extrapolation"


def _turns_on_spot(plan: Plan | None, ego: Odometry, config: Config) -> float:
    """Return the yaw rate [rad/s] of a turn on the spot that ego is in or about to begin, 0 otherwise.

    What turns tighter than the vehicle can drive, hardly moving, does so on the spot. Ego's own turn comes first; one
    that the plan drives out of is that plan's.
    """
    still, tight = config.arbitration.standstill_speed, config.vehicle.curvature_max
    if not config.vehicle.turns_on_spot or abs(ego.speed) > still:
        return 0.0
    own = ego.yaw_rate if np.isfinite(ego.yaw_rate) else 0.0
    own = own if abs(own) * corner_radius(config.vehicle) > still and abs(ego.speed) * tight <= abs(own) else 0.0
    if plan is None:
        return own
    span = config.timing.commit + config.timing.actuation_delay
    rate, speed = turn_rate(plan, seconds(ego.t - plan.t), span)
    if speed > still or (speed * tight > abs(rate)):
        return 0.0
    rate = rate if abs(rate) * span > SPOT else 0.0
    return float(np.copysign(max(abs(own), abs(rate)), own if own else rate)) if own or rate else 0.0


def _turn(plan: Plan | None, ego: Odometry, rate: float, config: Config) -> Path:
    """Return the path of the farthest corner, as far as a comfort stop of it goes."""
    e, timing, v = config.envelope, config.timing, abs(rate) * corner_radius(config.vehicle)
    response = timing.commit + timing.actuation_delay
    needed = float(fallback_distance(v, response, e.acceleration_max, e.assumed_brake, e.assumed_jerk))
    reach = max(needed, v + v * v / (2 * config.expected.comfort_threshold), corner_radius(config.vehicle))
    return turned_path(plan, ego, rate, config.vehicle, reach)


def _corner(ego: Odometry, path: Path) -> Odometry:
    """Return ego at the speed of its farthest corner while it turns on the spot, as it is otherwise."""
    if not path.radius:
        return ego
    return replace(ego, speed=abs(ego.yaw_rate) * path.radius if np.isfinite(ego.yaw_rate) else 0.0)


def _present_path(ego: Odometry, config: Config) -> Path:
    c = config.corridor
    return extrapolated_path(ego, config.vehicle, c.extrapolation_time, c.curvature_sigma, NEAR_REACH)


def _on_path(plan: Plan, ego: Odometry, config: Config) -> bool:
    """Whether ego is still on the last validated path, so that an MRM can steer along it."""
    near = int(np.hypot(plan.x - ego.x, plan.y - ego.y).argmin())
    yaw = float(plan.yaw[near])
    lateral = np.cos(yaw) * (ego.y - plan.y[near]) - np.sin(yaw) * (ego.x - plan.x[near])
    limits = config.plan_check
    aligned = abs(angle_difference(yaw, ego.yaw)) <= limits.heading_offset_max
    return bool(abs(lateral) <= limits.lateral_offset_max and aligned)


def situated(
    state: State, ego: Odometry, path: Path, source: str, trust: Health, t: int, config: Config
) -> Situation:
    """Return what the judgement of this tick rests on besides the objects."""
    timing, e = config.timing, config.envelope
    planned = source == "policy"
    until = timing.commit + timing.actuation_delay
    rise = _planned_rise(state.validated, t, until) if planned and state.validated else _measured(state.ego)
    moving = abs(ego.speed) > config.arbitration.standstill_speed
    present = _present_path(ego, config) if planned and moving else None
    braking = state.arbiter.mode.brakes and state.arbiter.mode != Mode.STANDSTILL
    acceleration = max(e.acceleration_margin + (min(rise, 0.0) if braking else rise), 0.0)
    left = fallback.brake_left(path, _corner(ego, path), config)
    envelope = replace(e, assumed_brake=left) if left < e.assumed_brake else e
    clear = cover.clear_range(path, ego, cover.healthy(state.memory, trust, t, config), config)
    resting = not moving and planned and rise <= 0 and not path.radius
    heard = state.ego.samples if state.ultrasonics.arcs else ()  # only echoes have a range rate that lags
    recent = max((abs(o.speed) for o in heard), default=0.0)
    age = max(seconds(t - state.ego.samples[-1].t), 0.0)
    braked = min(state.acceleration if braking else rise, 0.0)
    under_way = state.arbiter.mode if braking else Mode.NOMINAL
    begins = path.radius > 0 and not _corner(ego, path).speed > config.arbitration.standstill_speed
    if path.radius:  # the worst case begins with the turn that is planned, a stop with what is left of it
        ego = replace(ego, speed=_corner(ego, path).speed if braking else float(path.speed[0]))
    return Situation(ego, path, present, acceleration, envelope, clear, braking, recent, resting, age, braked,
                     state.before, begins, int(under_way))


def _with_cover(state: State, trust: Health, situation: Situation, t: int, config: Config) -> Health:
    """Return the trust with the directions that no healthy sensor covers; what they ask for is the clear range's."""
    well = cover.healthy(state.memory, trust, t, config)
    reach, clear = stopping_reach(situation, config), situation.clear_range
    found = cover.findings(situation.path, situation.ego, well, reach, clear, config)
    return replace(trust, findings=(*trust.findings, *found)) if found else trust


def _planned_rise(plan: Plan, t: int, until: float) -> float:
    """Return the largest planned acceleration [m/s^2] from now until `until` [s]."""
    now = seconds(t - plan.t)
    first = max(int(plan.time.searchsorted(now)) - 1, 0)
    last = int(plan.time.searchsorted(now + until, side="right"))
    time, speed = plan.time[first : last + 1], np.abs(plan.speed[first : last + 1])
    return float(((speed[1:] - speed[:-1]) / (time[1:] - time[:-1])).max()) if len(time) > 1 else 0.0


def _measured(history: tracking.EgoHistory) -> float:
    """Return ego's acceleration along its travel [m/s^2] over the last moments, 0 when it cannot be told."""
    if len(history.samples) < 2:
        return 0.0
    last = history.samples[-1]
    first = history.since(last.t - nanoseconds(ACCELERATION_SPAN))
    span = seconds(last.t - first.t)
    return (abs(last.speed) - abs(first.speed)) / span if span > 0.05 else 0.0


def _command(
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
        present = _measured(state.ego)
    if mode == Mode.NOMINAL:
        return followed, present, curvature
    if mode == Mode.SPEED_CAP:
        cap = min(assessment.speed_cap, config.odd.speed_max)
        if state.arbiter.held < Mode.SPEED_CAP:  # it is the inputs that are not trusted: do not speed up
            cap = min(cap, abs(ego.speed))
        comfort = fallback.manoeuvre(mode, config)
        plan, wanted = fallback.capped(path, ego, cap, comfort)
        slope = comfort.jerk * config.timing.period
        smooth = float(np.clip(wanted, state.acceleration - slope, state.acceleration + slope))
        return plan, min(smooth, max(present, wanted)), curvature  # a policy that brakes harder is not held back
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
