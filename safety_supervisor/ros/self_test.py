"""Whether a supervisor may act, and whether it is fit to: what arms it, and its self-test."""

from __future__ import annotations

import math

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Severity
from safety_supervisor.ros.outputs import Vitals
from safety_supervisor.ros.parameters import Settings
from safety_supervisor.ros.session import Session


def arming(settings: Settings, config: Config) -> tuple[bool, str]:
    """Whether commands are published to be executed, and what has to be said about it."""
    if settings.shadow:
        return False, "SHADOW: asked for by parameter, commands go to ~/shadow only"
    if config.certificate:
        return True, ""
    if settings.allow_unproved:
        return True, "UNPROVED: armed without a certificate (allow_unproved); simulation and tests only"
    return False, "SHADOW: no certificate proves these parameters and this code, commands go to ~/shadow only"


def self_test(session: Session, vitals: Vitals) -> list[str]:
    """What speaks against handing control to the supervisor; an empty list is a pass."""
    problems = []
    decision = session.loop.decision
    if vitals.error:
        problems.append(f"INTERNAL_ERROR: {vitals.error}")
    if vitals.clock_stopped:
        problems.append("CLOCK_STOPPED")
    if decision is None:
        problems.append("no decision yet")
    elif decision.health.severity is not Severity.OK:
        problems += [f"{f.code.value} {f.source}: {f.text}" for f in decision.health.findings]
    for source in session.sources:
        age = vitals.arrivals.get(source.name, (0, math.inf))[1]
        if source.expected and not math.isfinite(age):
            problems.append(f"{source.name}: nothing received on {source.topic}")
    problems += [f"{name}: {text}" for name, text in sorted(vitals.noted.items())]
    if vitals.overrun:
        problems.append(f"OVERRUN: {vitals.late_ms_max:.1f} ms late at worst")
    if vitals.recorder:
        problems.append(f"RECORDER: {vitals.recorder}")
    return problems
