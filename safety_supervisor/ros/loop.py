"""One run of the supervisor, activate to deactivate: inputs in, one decision a tick out. Imports no ROS."""

from __future__ import annotations

import math
import time
import traceback
from typing import Any

import numpy as np

from safety_supervisor import messages
from safety_supervisor.core import supervisor
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import (
    Assessment,
    Code,
    Decision,
    Health,
    Inputs,
    Mode,
    Plan,
    Reason,
    Tracks,
    Verdict,
    frozen,
    nanoseconds,
    seconds,
)
from safety_supervisor.snapshot import Snapshot

KEPT = 3000
"""Ticks over which times are told, a minute at 50 Hz."""


class Loop:
    """Calls `step` once a tick. An exception becomes an emergency stop along the last fallback, for good."""

    def __init__(self, config: Config, armed: bool | None = None) -> None:
        """Start afresh; None: armed where a certificate holds."""
        self.config = config
        self.decision: Decision | None = None
        self.error = ""
        self.trace = ""
        self._gatherer = messages.Gatherer(config)
        self._state = supervisor.start(config, armed)
        self._driver = False

    @property
    def frame(self) -> str:
        """Frame of ego's poses, and so of what is commanded: that of the odometry."""
        return self._gatherer.carried.frame or messages.fixed_frame(self.config)

    def add(self, topic: str, type_name: str, message: Any, arrival: int) -> None:
        """Take one message in for the next tick."""
        self._gatherer.add(topic, type_name, message, arrival)

    def tick(self, t: int) -> Decision:
        """Decide at time `t` [ns] on all that arrived since the last tick."""
        inputs = Inputs()
        try:
            inputs = self._gatherer.take()
            self._driver = inputs.driver[-1].takeover if inputs.driver else self._driver
            if not self.error:
                self._state, self.decision = supervisor.step(self._state, inputs, t, self.config)
                return self.decision
        except Exception as error:  # nothing that goes wrong in there may end the stream of commands
            self.fail(error)
        self.decision = failed_decision(self.decision, inputs, t, self.config, self.error, self._driver)
        return self.decision

    def snapshot(self, t: int | None) -> Snapshot:
        """Return all that the ticks after `t` depend on."""
        return Snapshot(t, self._state, self._gatherer.carried, self.config)

    def fail(self, error: Exception) -> None:
        """Remember the first internal error; from the next tick on the last fallback is executed."""
        if not self.error:
            self.error = f"{type(error).__name__}: {error}"
            self.trace = "".join(traceback.format_exception(error))

    def last_command(self) -> Plan | None:
        """What to leave behind at the end: the emergency fallback, nothing while a driver controls."""
        if self.decision is None or self.decision.driver:
            return None
        return self.decision.fallback


def failed_decision(
    last: Decision | None, inputs: Inputs, t: int, config: Config, error: str, driver: bool
) -> Decision:
    """Return the decision of a tick that failed: the last fallback, which goes on from its own start time."""
    fallback = last.fallback if last else None
    reason = Reason(Code.INTERNAL_ERROR, f"{error}; the last verified fallback is executed")
    over = _is_over(fallback, t)
    return Decision(
        t=t,
        mode=Mode.EMERGENCY_STOP if fallback is not None else Mode.UNABLE,
        verdict=Verdict.IMMINENT,
        assessment=Assessment(
            verdict=Verdict.IMMINENT,
            demand=Mode.EMERGENCY_STOP,
            sustain=Mode.EMERGENCY_STOP,
            margin=math.nan,
            margins=(),
            track=None,
            lead=None,
            reasons=(reason,),
            threats=(),
            speed_cap=0.0,
        ),
        reasons=(reason,),
        health=last.health if last else Health(),
        warn=True,
        plan_source="last validated",
        candidate=last.candidate if last else 0,
        command=None if driver else fallback,
        fallback=fallback,
        acceleration=0.0 if over else -config.fallback.emergency_deceleration,
        curvature=last.curvature if last else 0.0,
        hazard_lights=True,
        takeover_request=True,
        hold=over,
        driver=driver,
        ego=last.ego if last else None,
        path=last.path if last else frozen([[0.0, 0.0]])[:0],
        half_width=last.half_width if last else 0.0,
        tracks=last.tracks if last else Tracks(),
        arcs=last.arcs if last else (),
        consumed=inputs.consumed,
        blind_spots=last.blind_spots if last else 0,
        config=config.digest,
        certificate=config.certificate,
    )


def _is_over(plan: Plan | None, t: int) -> bool:
    return plan is not None and len(plan.time) > 0 and seconds(t - plan.t) >= float(plan.time[-1])


class Meter:
    """Measures the loop: duration and lateness of ticks, number and age of messages."""

    def __init__(self, config: Config) -> None:
        self.ticks = 0
        self.tick_ms = 0.0
        self.tick_ms_max = 0.0
        self.late = 0
        self.late_ms_max = 0.0
        self.overrun = False
        self.messages: dict[str, tuple[int, int]] = {}
        self._period = nanoseconds(config.timing.period)
        self._limit = nanoseconds(config.timing.period + config.timing.overrun)
        self._tick_ms, self._period_error_ms = np.zeros(KEPT), np.zeros(KEPT)
        self._last: int | None = None
        self._began = 0

    def behind(self, now: int) -> int:
        """By how much [ns] a tick that starts at `now` comes later after the one before than is allowed; 0 in time."""
        return 0 if self._last is None else max(now - self._last - self._limit, 0)

    def begin(self, now: int) -> None:
        """A tick starts at `now` [ns], on any clock that does not jump."""
        if self._last is not None:
            self._period_error_ms[self.ticks % KEPT] = abs(now - self._last - self._period) / 1e6
        if late := self.behind(now) / 1e6:
            self.late += 1
            self.overrun = True
            self.late_ms_max = late if late > self.late_ms_max else self.late_ms_max
        self._last = now
        self._began = time.perf_counter_ns()

    def end(self) -> None:
        """The tick is over, its messages are out."""
        self.tick_ms = (time.perf_counter_ns() - self._began) / 1e6
        self.tick_ms_max = self.tick_ms if self.tick_ms > self.tick_ms_max else self.tick_ms_max
        self._tick_ms[self.ticks % KEPT] = self.tick_ms
        self.ticks += 1

    def percentiles(self) -> dict[str, float]:
        """Times of the last ticks [ms]: how long they took, and how far from the period they came."""
        kept, found = min(self.ticks, KEPT), {}
        for name, values in (("tick_ms", self._tick_ms), ("period_error_ms", self._period_error_ms)):
            for label, share in (("p50", 50.0), ("p99", 99.0), ("p999", 99.9)) if kept else ():
                found[f"{name}_{label}"] = round(float(np.percentile(values[:kept], share)), 3)
        return found

    def arrived(self, source: str, now: int) -> None:
        """A message of a source came in at `now` [ns]."""
        self.messages[source] = (self.messages.get(source, (0, 0))[0] + 1, now)

    def ages(self, now: int) -> dict[str, tuple[int, float]]:
        """Number of messages and age [s] of the newest, by source."""
        return {name: (count, seconds(now - then)) for name, (count, then) in self.messages.items()}
