"""The lifecycle node: ROS messages to `step`, decisions to ROS messages. All judgement is in the core.

Silence means stop: what executes the trajectories must stop by itself when they end (see `command_gate`).
"""

from __future__ import annotations

import functools
import gc
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Empty, UInt8, UInt64
from std_srvs.srv import Trigger

from safety_supervisor.core.config import ConfigError
from safety_supervisor.core.world import Code, Decision, Mode, Plan
from safety_supervisor.messages import REQUESTS
from safety_supervisor.ros import parameters, process, transforms
from safety_supervisor.ros.loop import Loop, Meter
from safety_supervisor.ros.markers import markers
from safety_supervisor.ros.outputs import (
    Vitals,
    decision_line,
    diagnostics,
    empty_trajectory,
    string,
    trajectory,
)
from safety_supervisor.ros.recorder import Received
from safety_supervisor.ros.self_test import arming, self_test
from safety_supervisor.ros.session import (
    Session,
    begin_recording,
    connect,
    disconnect,
    look_at_publishers,
    make_clock,
    start_recorder,
    take_waiting,
)
from safety_supervisor.ros.sources import sources

NAME = "safety_supervisor"
WATCH_PERIOD = 0.1
"""Period [s] of heartbeat and watchdog, on steady time."""
REPORT_EVERY = 5
"""Watchdog periods between two diagnostics; a change of the headline is reported at once."""
MARKER_PERIOD = 0.1
"""Shortest time [s] between two marker arrays."""
CLOCK_PATIENCE = 1.0
"""Longest time [s] without a tick before the clock counts as stopped; at least ten periods."""
LET_GO = 6.0
"""Time [s] after which a shadow forgets an emergency that is over; a flight recording of it is complete by then."""
HELD = {Code.DWELL, Code.RELEASE_PENDING}
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)

Transition = TypeVar("Transition", bound=Callable[..., Any])


def logged(transition: Transition) -> Transition:
    """Log what goes wrong in a transition: rclpy swallows it. The node then goes through error processing."""

    @functools.wraps(transition)
    def wrapper(node: Any, state: LifecycleState) -> Any:
        try:
            return transition(node, state)
        except Exception:  # everything: the alternative is a node that fails without a word
            node.get_logger().error(f"{transition.__name__} failed:\n{traceback.format_exc()}")
            return ERROR

    return cast(Transition, wrapper)


class SupervisorNode(LifecycleNode):  # type: ignore[misc]  # rclpy counts as untyped
    """Subscribes the sensors and the plan, ticks, publishes what to execute and why."""

    def __init__(self, **options: Any) -> None:
        super().__init__(NAME, **options)
        process.guard_change_state(self)
        self._session: Session | None = None
        self._active = False
        self._last_tick = 0
        self._next_markers = 0.0
        self._watches = 0
        self._headline = ""
        wish = self._parameter_overrides.get("autostart")
        self._autostart = wish is not None and wish.value is True
        # Plain publishers: they go on when deactivate has muted the lifecycle publishers.
        self._heartbeat = self.create_publisher(UInt64, "~/heartbeat", 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady time: it goes on when the clock of the ticks stands.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(WATCH_PERIOD, self._on_watch, clock=self._steady)

    # --- lifecycle ----------------------------------------------------------------------------------------

    @logged
    def on_configure(self, state: LifecycleState) -> Any:
        """Read the parameters and connect; refuse with one line what is not valid."""
        self._clear()
        overrides = {name: parameter.value for name, parameter in self._parameter_overrides.items()}
        try:
            settings, config = parameters.load(overrides)
            if settings.mounts != "config":
                config = parameters.certified(settings, transforms.apply(config, settings, self.context))
            found = sources(config, settings)
            parameters.declare(self, settings, config)
            armed, why_not = arming(settings, config)
            session = Session(settings, config, found, armed, why_not, make_clock(self), Loop(config, armed),
                              Meter(config))  # fmt: skip
            self._session = session  # so that whatever fails from here on is taken down again
            connect(self, session, lambda: self._active)
        except ConfigError as error:
            self._clear()
            self.get_logger().error(f"configure refused: {error}")
            return FAILURE
        self._serve(session)
        start_recorder(session, self.get_logger())
        self._announce(session)
        gc.collect()
        gc.freeze()  # what lives now lives on: the collector need not look at it again in a tick
        return SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> Any:
        """Start ticking from a fresh state: nothing that was seen before counts."""
        session = self._configured()
        session.loop, session.meter = Loop(session.config, session.armed), Meter(session.config)
        session.received.clear()
        session.notes.clear()
        begin_recording(session)
        # On steady time, so that setting the system clock delays no tick; simulated time is what the ticks follow.
        clock = self.get_clock() if self.get_clock().ros_time_is_active else self._steady
        session.tick_timer = self.create_timer(session.config.timing.period, self._on_tick, clock=clock)
        self._last_tick = time.monotonic_ns()
        self._active = True
        self.get_logger().info(f"active, {'armed' if session.armed else 'in shadow mode'}")
        return super().on_activate(state)

    @logged
    def on_deactivate(self, state: LifecycleState) -> Any:
        """Stop ticking; the emergency fallback is the last command."""
        self._stop_ticking()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> Any:
        """Drop everything that configure made."""
        self._clear()
        return SUCCESS

    @logged
    def on_shutdown(self, state: LifecycleState) -> Any:
        """Leave; the emergency fallback is the last command when the node was active."""
        self._stop_ticking()
        self._clear()
        return SUCCESS

    @logged
    def on_error(self, state: LifecycleState) -> Any:
        """A transition failed: back to unconfigured, with the fallback as the last command."""
        self._stop_ticking()
        self._clear()
        return SUCCESS

    def farewell(self) -> None:
        """Publish the last command before the process ends."""
        self._stop_ticking()
        self._report(self._headline)

    # --- wiring -------------------------------------------------------------------------------------------

    def _configured(self) -> Session:
        if self._session is None:
            raise RuntimeError("not configured")
        return self._session

    def _serve(self, session: Session) -> None:
        answers = {
            "~/release": self._on_release,
            "~/self_test": self._on_self_test,
            "~/trigger_mrm": self._on_trigger_mrm,
            "~/dump_recorder": self._on_dump_recorder,
        }
        session.services = [self.create_service(Trigger, name, answer) for name, answer in answers.items()]

    def _clear(self) -> None:
        session, self._session, self._active = self._session, None, False
        if session is not None:
            disconnect(self, session)

    def _announce(self, session: Session) -> None:
        config = session.config
        log = self.get_logger()
        names = ", ".join(name for name, _ in config.sensors)
        log.info(f"vehicle {config.vehicle.name}, parameters {config.digest[:12]}, sensors: {names}")
        if session.why_not:
            log.warning(session.why_not)

    # --- the tick -----------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        session = self._session
        if session is None or not self._active:
            return
        simulated = self.get_clock().ros_time_is_active
        if simulated and session.loop.decision is not None and session.clock.now() == session.loop.decision.t:
            return  # a timer that catches up: time has not gone on, so there is nothing to decide
        self._last_tick = time.monotonic_ns()
        if session.meter.behind(self._last_tick) and not simulated:
            take_waiting(session)
        now = session.clock.now()
        session.meter.begin(now if simulated else self._last_tick)
        known = session.loop.error
        received, session.received = session.received, []
        for message in received:
            source = session.reader[message.topic]
            session.loop.add(source.topic, source.type_name, source.read(message.raw), message.arrival)
        decision = session.loop.tick(now)
        line = decision_line(decision)
        try:
            self._publish(session, decision, line)
        except Exception as error:  # a decision that nobody hears is as good as none
            session.loop.fail(error)
        if session.loop.error and not known:
            self.get_logger().fatal(f"tick failed, emergency stop until activated anew:\n{session.loop.trace}")
        session.meter.end()
        self._record(session, received, decision, line)
        if not session.armed:
            self._let_go(session, decision)
        headline = _headline(decision)
        if headline != self._headline:
            self._report(headline)

    def _let_go(self, session: Session, decision: Decision) -> None:
        """In shadow mode nobody stops and releases: what only a latch still holds begins anew after a while."""
        held = decision.reasons and {reason.code for reason in decision.reasons} <= HELD
        if not held:
            session.held_since = None
        elif session.held_since is None:
            session.held_since = self._last_tick
        elif self._last_tick - session.held_since > round(LET_GO * 1e9):
            session.held_since = None
            session.loop = Loop(session.config, session.armed)
            begin_recording(session)

    def _record(self, session: Session, received: list[Received], decision: Decision, line: str) -> None:
        """Hand the tick to the flight recorder; whatever goes wrong there stays there."""
        recorder = session.recorder
        if recorder is None:
            return
        try:
            recorder.tick(received, decision, line)
            if recorder.wants_snapshot(decision.t) and not session.loop.error:
                recorder.snapshot(session.loop.snapshot(decision.t), decision.t)
        except Exception as error:
            self.get_logger().error(f"flight recorder given up: {type(error).__name__}: {error}")
            session.recorder = None
            session.given_up = f"given up, {type(error).__name__}"

    def _publish(self, session: Session, decision: Decision, line: str) -> None:
        if decision.command is not None:
            session.trajectory.publish(trajectory(decision.command, session.frames))
            if decision.fallback is not None:
                session.fallback.publish(trajectory(decision.fallback, session.frames))
        elif decision.driver:
            # Silence would mean stop: say that a human drives.
            session.trajectory.publish(empty_trajectory(decision.t, session.frames))
            session.fallback.publish(empty_trajectory(decision.t, session.frames))
        session.decision.publish(string(line))
        if time.monotonic() >= self._next_markers and session.markers.get_subscription_count():
            self._next_markers = time.monotonic() + MARKER_PERIOD
            session.markers.publish(markers(decision, session.frames))

    def _stop_ticking(self) -> None:
        """End the ticks and leave the emergency fallback as the last command."""
        session, was_active = self._session, self._active
        self._active = False
        if session is None:
            return
        if session.tick_timer is not None:
            self.destroy_timer(session.tick_timer)
            session.tick_timer = None
        if was_active and session.recorder is not None:
            session.recorder.end(session.clock.now())
        plan: Plan | None = session.loop.last_command() if was_active else None
        if plan is not None:
            session.trajectory.publish(trajectory(plan, session.frames))
            process.flush(session.trajectory)

    # --- watchdog, diagnostics, services ------------------------------------------------------------------

    def _on_watch(self) -> None:
        if self._autostart:
            self._autostart = False
            if self.trigger_configure() == SUCCESS:
                self.trigger_activate()
        session = self._session
        ticks = session.meter.ticks if session else 0
        self._heartbeat.publish(UInt64(data=ticks))
        self._watches += 1
        stopped = self._clock_stopped()
        headline = self._headline if not stopped else "CLOCK_STOPPED"
        if headline != self._headline:
            self.get_logger().error("the clock of the ticks stands still: nothing is decided")
        if session is not None and self._watches % REPORT_EVERY == 0:
            look_at_publishers(self, session)
        if headline != self._headline or self._watches % REPORT_EVERY == 0:
            self._report(headline)

    def _clock_stopped(self) -> bool:
        if not self._active or self._session is None:
            return False
        patience = max(CLOCK_PATIENCE, 10 * self._session.config.timing.period)
        return (time.monotonic_ns() - self._last_tick) / 1e9 > patience

    def _report(self, headline: str) -> None:
        self._headline = headline
        session = self._session
        now = session.clock.now() if session else self.get_clock().now().nanoseconds
        decision = session.loop.decision if session else None
        inputs = session.sources if session else ()
        self._diagnostics.publish(diagnostics(self.get_name(), now, self._vitals(now), decision, inputs))
        if session:
            session.meter.overrun = False

    def _vitals(self, now: int) -> Vitals:
        state = "active" if self._active else "inactive"
        session = self._session
        if session is None:
            return Vitals("unconfigured", False, "")
        meter = session.meter
        return Vitals(
            state=state,
            armed=session.armed and self._active,
            why_not=session.why_not,
            ticks=meter.ticks,
            tick_ms=meter.tick_ms,
            tick_ms_max=meter.tick_ms_max,
            late=meter.late,
            late_ms_max=meter.late_ms_max,
            overrun=meter.overrun,
            clock_stopped=self._clock_stopped(),
            error=session.loop.error,
            arrivals=meter.ages(now),
            noted=session.notes.texts(),
            times=meter.percentiles(),
            clock_steps=session.clock.steps,
            clock_step=session.clock.last_step,
            recorder=recorder_problem(session),
        )

    def _on_release(self, request: Any, response: Any) -> Any:
        session = self._session
        response.success = bool(session and self._active)
        response.message = "not active"
        if session and self._active:
            # By way of the topic, so that a recording holds it and its replay decides the same.
            session.release.publish(Empty())
            response.message = "asked for; it takes effect when no hazard holds, see mode and reasons"
        return response

    def _on_self_test(self, request: Any, response: Any) -> Any:
        session = self._session
        problems = ["not active"]
        if session and self._active:
            problems = self_test(session, self._vitals(session.clock.now()))
        response.success = not problems
        response.message = "; ".join(problems) or "all expected inputs are healthy, the loop is on time"
        return response

    def _on_trigger_mrm(self, request: Any, response: Any) -> Any:
        session = self._session
        response.success = bool(session and self._active)
        response.message = "not active"
        if session and self._active:
            # By way of the topic, as with a release.
            session.mrm.publish(UInt8(data=REQUESTS.index(Mode.COMFORT_STOP)))
            response.message = "a comfort stop is asked for; it holds until a release, or 0 on safety/mrm"
        return response

    def _on_dump_recorder(self, request: Any, response: Any) -> Any:
        session = self._session
        recorder = session.recorder if session and self._active else None
        response.success = recorder is not None
        response.message = "not active" if not self._active else "the flight recorder is off"
        if session and recorder is not None:
            recorder.trigger(session.clock.now(), "asked for by ~/dump_recorder")
            response.message = f"recording to {recorder.folder}, complete in a few seconds"
        return response


def recorder_problem(session: Session) -> str:
    """What is wrong with the flight recorder, empty when nothing is."""
    if session.recorder is None:
        return session.given_up
    return session.recorder.problem or (f"{session.recorder.dropped} ticks lost" if session.recorder.dropped else "")


def _headline(decision: Decision) -> str:
    """What has to change for diagnostics to go out at once."""
    codes = [finding.code.value + finding.source for finding in decision.health.findings]
    first = decision.reasons[0].code.value if decision.reasons and decision.mode is not Mode.NOMINAL else ""
    return " ".join([decision.mode.name, first, *codes])


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return process.run(SupervisorNode, args)


if __name__ == "__main__":
    sys.exit(main())
