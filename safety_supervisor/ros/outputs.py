"""Decision -> messages: trajectories, the decision itself, `/diagnostics`. Pure: no node, no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Quaternion, Transform, Twist, Vector3
from std_msgs.msg import Header, String
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from safety_supervisor import messages
from safety_supervisor.core.world import NANOSECONDS, Code, Decision, Mode, Plan, Severity, nanoseconds
from safety_supervisor.ros.sources import Source

HARDWARE = "safety_supervisor"


@dataclass(frozen=True, slots=True)
class Frames:
    """Names of the two frames that messages are stamped with."""

    odom: str = "odom"
    base: str = "base_link"


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the node knows about itself: its state, its loop and its inputs."""

    state: str
    """Lifecycle state."""
    armed: bool
    """Commands are published to be executed."""
    why_not: str
    """Why it is not armed, or why it is although it should not be."""
    ticks: int = 0
    tick_ms: float = 0.0
    tick_ms_max: float = 0.0
    late: int = 0
    """Ticks that came later than period + overrun since activation."""
    late_ms_max: float = 0.0
    overrun: bool = False
    """A tick was late since the last report."""
    clock_stopped: bool = False
    """Steady time goes on, the clock of the ticks stands."""
    error: str = ""
    """An internal error; it stays until the node is configured again."""
    arrivals: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Source -> (messages received, age of the newest [s])."""


def stamp(t: int) -> Time:
    """Convert int nanoseconds to a ROS time; what cannot be expressed becomes zero."""
    if not 0 <= t < 2**31 * NANOSECONDS:
        return Time()
    return Time(sec=t // NANOSECONDS, nanosec=t % NANOSECONDS)


def decision_message(decision: Decision) -> String:
    """Return the decision as one line of JSON, the same text that a replay writes."""
    return String(data=messages.json_line(messages.decision_record(decision)).rstrip("\n"))


def trajectory(plan: Plan, frames: Frames) -> MultiDOFJointTrajectory:
    """Return a plan as a message: poses of the base in odom, speeds and accelerations along its x axis."""
    slopes = accelerations(plan)
    rates = _rate(np.unwrap(plan.yaw), plan) if len(plan.time) else plan.yaw
    points = [
        _point(*values)
        for values in zip(
            plan.time.tolist(), plan.x.tolist(), plan.y.tolist(), plan.yaw.tolist(), plan.speed.tolist(),
            slopes.tolist(), rates.tolist(), strict=True,
        )
    ]  # fmt: skip
    return MultiDOFJointTrajectory(
        header=Header(stamp=stamp(plan.t), frame_id=frames.odom), joint_names=[frames.base], points=points
    )


def empty_trajectory(t: int, frames: Frames) -> MultiDOFJointTrajectory:
    """Return a trajectory without points: a driver controls, nothing is to be executed; it is no silence."""
    return MultiDOFJointTrajectory(
        header=Header(stamp=stamp(t), frame_id=frames.odom), joint_names=[frames.base], points=[]
    )


def accelerations(plan: Plan) -> Any:
    """Acceleration [m/s^2] along the plan at its points, by differences; zero for a plan of one point."""
    return _rate(plan.speed, plan)


def _rate(values: Any, plan: Plan) -> Any:
    rising = len(plan.time) > 1 and bool(np.all(np.diff(plan.time) > 0))
    return np.gradient(values, plan.time) if rising else np.zeros(len(plan.time))


def _point(time: float, x: float, y: float, yaw: float, speed: float, slope: float, rate: float) -> Any:
    since = nanoseconds(time) if math.isfinite(time) else 0
    return MultiDOFJointTrajectoryPoint(
        transforms=[Transform(translation=Vector3(x=x, y=y, z=0.0), rotation=quaternion(yaw))],
        velocities=[Twist(linear=Vector3(x=speed), angular=Vector3(z=rate))],
        accelerations=[Twist(linear=Vector3(x=slope))],
        time_from_start=Duration(sec=since // NANOSECONDS, nanosec=since % NANOSECONDS),
    )


def quaternion(yaw: float) -> Quaternion:
    """Rotation about z."""
    return Quaternion(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))


# --- /diagnostics -----------------------------------------------------------------------------------------


def diagnostics(
    name: str, t: int, vitals: Vitals, decision: Decision | None, sources: Iterable[Source]
) -> DiagnosticArray:
    """Return one status for the supervisor and one for each input, with the named cause and the numbers."""
    statuses = [_own_status(name, vitals, decision)]
    statuses += [_input_status(name, source, vitals, decision) for source in sources]
    return DiagnosticArray(header=Header(stamp=stamp(t)), status=statuses)


def _own_status(name: str, vitals: Vitals, decision: Decision | None) -> DiagnosticStatus:
    level, text = _own_level(vitals, decision)
    values: dict[str, Any] = {
        "state": vitals.state, "armed": vitals.armed, "ticks": vitals.ticks,
        "tick_ms": round(vitals.tick_ms, 3), "tick_ms_max": round(vitals.tick_ms_max, 3),
        "late_ticks": vitals.late, "late_ms_max": round(vitals.late_ms_max, 3),
    }  # fmt: skip
    if decision:
        values |= {
            "mode": decision.mode.name,
            "verdict": decision.verdict.name,
            "margin_m": decision.assessment.margin,
            "plan_source": decision.plan_source,
            "driver": decision.driver,
            "tracks": len(decision.tracks),
            "reasons": "; ".join(f"{r.code.value}: {r.text}" for r in decision.reasons),
            "health": decision.health.severity.name,
            "config": decision.config,
            "certificate": decision.certificate or "none",
        }
    return _status(f"{name}: supervisor", level, text, values)


def _own_level(vitals: Vitals, decision: Decision | None) -> tuple[bytes, str]:
    """Level and headline of the supervisor itself: the worst level, everything that is true named."""
    said: list[tuple[bytes, str]] = []
    if vitals.error:
        said.append((DiagnosticStatus.ERROR, f"{Code.INTERNAL_ERROR.value}: {vitals.error}"))
    if vitals.clock_stopped:
        said.append((DiagnosticStatus.ERROR, "CLOCK_STOPPED: the ticks' clock stands still, nothing is decided"))
    if decision and decision.mode not in (Mode.NOMINAL, Mode.INIT):
        severe = DiagnosticStatus.ERROR if decision.mode.brakes else DiagnosticStatus.WARN
        reason = decision.reasons[0].code.value if decision.reasons else "no reason given"
        said.append((severe, f"{decision.mode.name}: {reason}"))
    elif decision:
        initial = decision.mode is Mode.INIT
        said.append((DiagnosticStatus.WARN if initial else DiagnosticStatus.OK, decision.mode.name))
    else:
        said.append((DiagnosticStatus.WARN, f"no decision, the node is {vitals.state}"))
    if vitals.overrun:
        said.append((DiagnosticStatus.WARN, f"OVERRUN: tick late, {vitals.late_ms_max:.1f} ms at worst"))
    if vitals.why_not:
        said.append((DiagnosticStatus.WARN, vitals.why_not))
    return max((level for level, _ in said), key=ord), "; ".join(text for _, text in said)


def _input_status(name: str, source: Source, vitals: Vitals, decision: Decision | None) -> DiagnosticStatus:
    count, age = vitals.arrivals.get(source.name, (0, math.inf))
    found = [f for f in decision.health.findings if f.source == source.name] if decision else []
    level, text = DiagnosticStatus.OK, "ok"
    if found and decision:
        lost = decision.health.severity in (Severity.DEGRADED, Severity.BLIND)
        level = DiagnosticStatus.ERROR if lost else DiagnosticStatus.WARN
        text = "; ".join(f"{f.code.value}: {f.text}" for f in found)
    elif not count:
        level = DiagnosticStatus.WARN if source.expected else DiagnosticStatus.OK
        text = "nothing received yet" if source.expected else "nothing received, not expected"
    values = {
        "topic": source.topic, "type": source.type_name, "expected": source.expected, "messages": count,
        "age_s": round(age, 3) if math.isfinite(age) else "never",
    }  # fmt: skip
    return _status(f"{name}: {source.name}", level, text, values)


def _status(name: str, level: bytes, text: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(name=name, level=level, message=text, hardware_id=HARDWARE, values=pairs)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
