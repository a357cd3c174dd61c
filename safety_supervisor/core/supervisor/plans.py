"""Which of the policy's plans counts: the newest one, or the first admissible candidate."""

from __future__ import annotations

from dataclasses import replace

from safety_supervisor.core import health
from safety_supervisor.core.assessment import assess
from safety_supervisor.core.config import Config
from safety_supervisor.core.plan_check import check_plan
from safety_supervisor.core.supervisor.judgement import situated
from safety_supervisor.core.supervisor.state import State
from safety_supervisor.core.supervisor.way import judged_path
from safety_supervisor.core.world import Code, Finding, Health, Mode, Odometry, Plan, Severity, nanoseconds

UNCHECKED = Finding(Code.PLAN_OFF_EGO, "plan", "plan came before any odometry, so where it starts could not be checked")


def with_plans(state: State, plans: tuple[Plan, ...], ego: Odometry | None, config: Config) -> State:
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


def with_admissible(
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
