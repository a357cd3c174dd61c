"""What is promised about each fault before it is measured: detection times, tolerated faults, admitted exceptions.

A time [s] runs from the begin of the fault to the last tick that may still be NOMINAL. Where none is stated the reason
stands instead; such a fault must still not lead into a collision, unless it is among `EXCEPTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable

from safety_supervisor.campaign.clock import GAP
from safety_supervisor.campaign.faults import BIAS
from safety_supervisor.core.config import Config
from safety_supervisor.core.tracking.doppler import NEAR_SHARE, NEAR_SPEED
from safety_supervisor.core.tracking.drift import DRIFT_MAX
from safety_supervisor.core.world import seconds
from safety_supervisor.scenarios.run import PLAN_PERIOD
from safety_supervisor.scenarios.suite import Scenario

ARRIVAL = 0.15
"""Period, transport and one tick: the longest time from a message to the decision that it is part of [s]."""

Time = Callable[[Config, Scenario], float]

TOLERATED = "nothing is lost, the envelope counts on it"
ALONE = "no independent input contradicts it"
SILENT = "it reads like a free road, and no other sensor reaches as far"
VANISHED = "it reads like a free road; it is what was known before that tells, where there was anything"
SWITCH = "only an expected input can be missing, and the switch is none"


def _at_once(_: Config, __: Scenario) -> float:
    return ARRIVAL


def _frozen(config: Config, _: Scenario) -> float:
    return config.health.frozen_time + ARRIVAL


def _repeated(config: Config, scenario: Scenario) -> float:
    """Time until ego has left a plan behind that no longer moves, or it has repeated itself; the next plan shows it."""
    limits = config.plan_check
    behind = (limits.lateral_offset_max + limits.speed_offset_max) / max(scenario.speed, 0.1)
    return min(behind, config.health.frozen_time) + seconds(PLAN_PERIOD) + ARRIVAL


def _contradicted(_: Config, scenario: Scenario) -> float:
    """Time until the way between poses has left the way by the speed behind, less what passes for noise."""
    return DRIFT_MAX / (BIAS - NEAR_SPEED - NEAR_SHARE * scenario.speed) + ARRIVAL


def _after(group: str) -> Time:
    return lambda config, _: float(getattr(config.health, group)) + ARRIVAL


def _outrun(config: Config, _: Scenario) -> float:
    """Time until a clock that runs 5 % fast makes odometry look stale."""
    return config.health.odometry_timeout / 0.05 + ARRIVAL


TABLE: dict[str, dict[str, Time | str]] = {
    "radar": {
        "drop": _after("radar_timeout"), "freeze": _frozen, "bias-2m": ALONE, "bias-2m/s": ALONE, "scale-1.05": ALONE,
        "noise-x5": TOLERATED, "nan": _at_once, "inf": _at_once, "empty": VANISHED, "duplicate": TOLERATED,
        "out-of-order": TOLERATED, "late-50ms": TOLERATED, "late-200ms": TOLERATED,
        "late-1000ms": _after("radar_timeout"), "future-1s": _at_once, "id-switch": TOLERATED,
        "ghosts-20": "more detections only make it stricter", "sector-30deg": VANISHED, "flood-x100": TOLERATED,
    },
    "ultrasonic": {
        "drop": _after("ultrasonic_timeout"), "freeze": SILENT, "bias-2m": ALONE, "scale-1.05": TOLERATED,
        "noise-x5": TOLERATED, "nan": _at_once, "inf": SILENT, "empty": _at_once, "duplicate": TOLERATED,
        "out-of-order": TOLERATED, "late-50ms": TOLERATED, "late-200ms": TOLERATED,
        "late-1000ms": _after("ultrasonic_timeout"), "future-1s": _at_once, "id-switch": ALONE,
        "ghosts-20": "more echoes only make it stricter", "sector-30deg": SILENT, "flood-x100": TOLERATED,
    },
    "odometry": {
        "drop": _after("odometry_timeout"), "freeze": _frozen, "bias-2m": _at_once, "bias-2m/s": _contradicted,
        "scale-1.05": ALONE, "noise-x5": TOLERATED, "nan": _at_once, "inf": _at_once, "empty": _at_once,
        "duplicate": TOLERATED, "out-of-order": TOLERATED, "late-50ms": TOLERATED,
        "late-200ms": _after("odometry_timeout"), "late-1000ms": _after("odometry_timeout"), "future-1s": _at_once,
        "ghosts-20": "of several messages with one stamp the first counts; within its noise it passes for odometry",
        "flood-x100": TOLERATED,
    },
    "plan": {
        "drop": _after("plan_timeout"), "freeze": _repeated, "bias-2m": _at_once,
        "bias-2m/s": "within plan_check.speed_offset_max: the plan is driven as it says, and judged as that",
        "scale-1.05": "a plan that is 5 % longer and faster is a plan like any other, and judged as that",
        "noise-x5": "a rough plan is judged point by point; where it cannot be driven it is refused",
        "nan": _at_once, "inf": _at_once, "empty": _at_once, "duplicate": TOLERATED, "out-of-order": TOLERATED,
        "late-50ms": TOLERATED, "late-200ms": _after("plan_timeout"), "late-1000ms": _after("plan_timeout"),
        "future-1s": _at_once, "ghosts-20": _at_once, "flood-x100": TOLERATED,
    },
    "driver": {
        **dict.fromkeys(("drop", "freeze", "duplicate", "out-of-order", "late-50ms", "late-200ms", "late-1000ms",
                         "flood-x100"), SWITCH),
        "empty": _at_once, "ghosts-20": "a takeover is believed at once",
    },
    "clock": {
        "drop": lambda config, scenario: GAP + ARRIVAL, "freeze": _at_once, "bias-2m": _at_once,
        "scale-1.05": _outrun, "noise-x5": TOLERATED, "duplicate": _at_once, "out-of-order": _at_once,
        "late-50ms": _at_once, "late-200ms": _at_once, "late-1000ms": _at_once, "future-1s": _at_once,
        "flood-x100": TOLERATED,
    },
}  # fmt: skip

ADOPTS = {("odometry", "bias-2m"), ("plan", "ghosts-20"), ("clock", "drop"),
          ("clock", "bias-2m"), ("clock", "late-50ms"), ("clock", "late-200ms"), ("clock", "late-1000ms"),
          ("clock", "future-1s")}  # fmt: skip
"""Faults that come in one moment: once they were noticed and answered, NOMINAL may return between or after them."""

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""(family, fault) -> why a collision that the run without the fault avoids is admitted; none is."""


def time(family: str, fault: str, scenario: Scenario, config: Config) -> float | None:
    """Return the stated detection time [s] of a fault in a scenario; None where none is stated."""
    entry = TABLE[family][fault]
    return None if isinstance(entry, str) else round(entry(config, scenario), 3)


def reason(family: str, fault: str) -> str | None:
    """Return why no detection time is stated, None where one is."""
    entry = TABLE[family][fault]
    return entry if isinstance(entry, str) else None
