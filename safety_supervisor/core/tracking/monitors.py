"""All monitors of the sensors and of odometry in one state, and what they find at a tick.

Each scan is judged once, when it arrives; what a monitor says lasts until it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Code, Finding, Mode

from .contradiction import Contradictions, contradicted, disagreements
from .doppler import DOPPLER_DOUBT, NOTED, PoseCheck, SpeedCheck, checked, compared
from .ego import EgoHistory
from .radar import TrackerState
from .silence import Ahead
from .trust import RadarTrust, judged, radar_findings
from .ultrasonic import UltrasonicState, doubts


@dataclass(frozen=True, slots=True)
class Monitors:
    """What has been seen of each radar and of odometry."""

    radars: tuple[tuple[str, RadarTrust], ...] = ()
    speed: tuple[tuple[str, SpeedCheck], ...] = ()
    """By radar."""
    pose: PoseCheck = field(default_factory=PoseCheck)
    contradictions: Contradictions = ()


def watched(
    state: Monitors, tracker: TrackerState, ultrasonics: UltrasonicState, ego: EgoHistory, t: int, config: Config,
    ahead: Ahead = (),
) -> Monitors:
    """Return the monitors after a tick; `ahead` are the tracks that were in ego's way."""
    radars, speed = dict(state.radars), dict(state.speed)
    for seen, fit in tracker.news:
        radars[seen.name] = judged(radars.get(seen.name, RadarTrust()), fit, seen.t, ahead)
        known = speed.get(seen.name, SpeedCheck())
        if known.at(seen.t):
            speed[seen.name] = checked(known if seen.t > known.t else SpeedCheck(), seen)
    contradictions = contradicted(state.contradictions, tracker.tracks, ultrasonics.arcs, ego.at(t), t, config)
    return Monitors(
        tuple(sorted(radars.items())), tuple(sorted(speed.items())), compared(state.pose, ego), contradictions
    )


def vanished(state: Monitors) -> Mode:
    """Return what is asked for because of what vanished in ego's way, for as long as nothing comes back from there."""
    asked = [d.demand for _, trust in state.radars for d in trust.silent if d.blocked]
    return max(asked, default=Mode.NOMINAL)


def findings(state: Monitors, ultrasonics: UltrasonicState, t: int, config: Config) -> tuple[Finding, ...]:
    """Return all that is doubtful now."""
    found: list[Finding] = []
    for name, trust in state.radars:
        found += radar_findings(name, trust)
    covered = config.envelope.speed_error_ratio
    checks: list[tuple[SpeedCheck | PoseCheck, float]] = [(state.pose, covered)]
    checks += [(check, covered + DOPPLER_DOUBT) for _, check in state.speed]
    for check, limit in checks:
        if check.trusted and abs(check.scale) >= NOTED:
            code = Code.ODOMETRY_IMPLAUSIBLE if abs(check.scale) > limit else Code.ODOMETRY_SCALE
            found.append(Finding(code, "odometry", check.text()))
    return (*found, *doubts(ultrasonics, config), *disagreements(state.contradictions, t))
