"""The command gate: forwards the supervisor's trajectory, and on silence executes the fallback that came with it.

It stands between the supervisor and what moves the vehicle, in a process of its own. `timing.gate_timeout` is part of
the proved envelope: the fallback is verified for a start that late. The gate plans nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from trajectory_msgs.msg import MultiDOFJointTrajectory

from safety_supervisor import cdr, messages
from safety_supervisor.core.config import ConfigError
from safety_supervisor.core.world import Plan, nanoseconds, seconds
from safety_supervisor.ros import parameters, process
from safety_supervisor.ros.outputs import HARDWARE, Frames, stamp, trajectory
from safety_supervisor.ros.parameters import PLAN_TYPES, Settings
from safety_supervisor.ros.sources import sources

NAME = "command_gate"
CHECK_PERIOD = 0.01
"""How often silence is looked for [s], on steady time."""
REPORT_PERIOD = 0.5
"""Time between two diagnostics [s]; a change is reported at once."""
STAMP = slice(4, 12)
"""Where the time of a serialised message stands, behind the four bytes of the encapsulation."""
EMPTY_BYTES = 400
"""A message longer than this has points; only shorter ones are looked into."""

WAITING = (DiagnosticStatus.WARN, "WAITING: nothing to forward yet")
FORWARDING = (DiagnosticStatus.OK, "forwarding the supervisor")
DRIVER = (DiagnosticStatus.OK, "a driver controls, nothing is commanded")
SILENCE = (DiagnosticStatus.ERROR, "SILENCE: the supervisor is silent, its last fallback is executed")
SHADOW = (DiagnosticStatus.WARN, "SHADOW: the policy's plans are passed as they come, nothing is guarded")
HELPLESS = (DiagnosticStatus.ERROR, "SILENCE: the supervisor is silent and no readable fallback came before")


def remaining(plan: Plan, elapsed: float, now: int) -> Plan:
    """Return what is left of a trajectory `elapsed` [s] after its stamp, stamped `now`; at its end, hold still."""
    later = plan.time > elapsed
    here = [np.interp(elapsed, plan.time, v) for v in (plan.x, plan.y, np.unwrap(plan.yaw), plan.speed)]
    if not later.any():
        here[3] = np.float64(0.0)
    rest = [plan.x[later], plan.y[later], np.unwrap(plan.yaw)[later], plan.speed[later]]
    x, y, yaw, speed = (np.concatenate([[first], others]) for first, others in zip(here, rest, strict=True))
    since = np.concatenate([[0.0], plan.time[later] - elapsed])
    return Plan(now, since, x, y, (yaw + np.pi) % (2 * np.pi) - np.pi, speed)


def usable(plan: Any) -> bool:
    """Tell whether a received fallback can be executed."""
    if not isinstance(plan, Plan) or not len(plan.time):
        return False
    columns = (plan.time, plan.x, plan.y, plan.yaw, plan.speed)
    return all(bool(np.isfinite(c).all()) for c in columns) and bool((np.diff(plan.time) > 0).all())


class CommandGate(Node):  # type: ignore[misc]  # rclpy counts as untyped
    """Forwards bytes as they come; wakes up by itself when they stop."""

    def __init__(self, **options: Any) -> None:
        super().__init__(NAME, **options)
        overrides = {name: parameter.value for name, parameter in self._parameter_overrides.items()}
        settings, self._config = parameters.load(overrides)
        parameters.declare(self, settings, self._config)
        self._frames = Frames(messages.fixed_frame(self._config), messages.body_frame(self._config))
        self._state = WAITING
        self._heard = 0
        self._fallback: tuple[bytes, int, int] | None = None
        self._plan: Plan | None = None
        self._commands: Any = None
        self._next_command = self._next_report = 0
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(CHECK_PERIOD, self._on_check, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if settings.shadow:
            self._pass_everything(settings)
        else:
            self._guard()

    def _guard(self) -> None:
        """Connect to the supervisor."""
        latest = QoSProfile(depth=1)
        kind = MultiDOFJointTrajectory
        self._commands = self.create_publisher(kind, "~/trajectory", latest)
        heard = [
            self.create_subscription(kind, "safety_supervisor/trajectory", self._on_trajectory, latest, raw=True),
            self.create_subscription(kind, "safety_supervisor/fallback", self._on_fallback, latest, raw=True),
        ]
        silence = f"after {self._config.timing.gate_timeout:g} s of silence the last fallback is executed"
        self.get_logger().info(f"{process.connections(heard, [self._commands])}; {silence}")

    def _pass_everything(self, settings: Settings) -> None:
        """Connect to the policy, as shadow mode wants it: what follows is served as if there were no supervisor."""
        plan = next((s for s in sources(self._config, settings) if s.name == "plan"), None)
        if plan is None:
            raise ConfigError("shadow has nothing to pass: inputs.plan is empty")
        self._commands = self.create_publisher(plan.message, "~/trajectory", QoSProfile(depth=1))
        heard = self.create_subscription(plan.message, plan.topic, self._on_plan, plan.qos, raw=True)
        self.get_logger().warning(f"{process.connections([heard], [self._commands])}; {SHADOW[1]}")

    def _on_plan(self, raw: bytes) -> None:
        self._commands.publish(raw)
        self._heard = time.monotonic_ns()
        self._enter(SHADOW)

    def farewell(self) -> None:
        """Nothing to leave behind: what follows the gate must stop when the gate is silent."""

    def _on_trajectory(self, raw: bytes) -> None:
        self._commands.publish(raw)
        self._heard = time.monotonic_ns()
        empty = len(raw) < EMPTY_BYTES and not deserialize_message(raw, MultiDOFJointTrajectory).points
        if empty:
            self._fallback = self._plan = None
        self._enter(DRIVER if empty else FORWARDING)

    def _on_fallback(self, raw: bytes) -> None:
        # Kept as bytes: reading it takes longer than forwarding, and is needed on silence only.
        held, self._plan = self._fallback, None
        if held is not None and raw[STAMP] == held[0][STAMP]:  # said again: it goes on since it was first heard
            self._fallback = raw, *held[1:]
            return
        self._fallback = (raw, time.monotonic_ns(), self.get_clock().now().nanoseconds)

    def _on_check(self) -> None:
        now = time.monotonic_ns()
        silent = now - self._heard > nanoseconds(self._config.timing.gate_timeout)
        if silent and self._state not in (WAITING, DRIVER, SHADOW):
            self._execute(now)
        if now >= self._next_report:
            self._report()

    def _execute(self, now: int) -> None:
        if now < self._next_command:
            return
        self._next_command = now + nanoseconds(self._config.timing.period)
        if self._plan is None:
            self._plan = self._read()
        if self._plan is None or self._fallback is None:
            self._enter(HELPLESS)
            return
        _, heard, arrival = self._fallback
        # Age at arrival by the stamp, from there on by steady time, which no clock setting moves.
        age = min(max(arrival - self._plan.t, 0), nanoseconds(self._config.timing.gate_timeout))
        rest = remaining(self._plan, seconds(age + now - heard), self.get_clock().now().nanoseconds)
        self._commands.publish(trajectory(rest, self._frames))
        self._enter(SILENCE)

    def _read(self) -> Plan | None:
        if self._fallback is None:
            return None
        kind = PLAN_TYPES["trajectory"]
        message = cdr.view(kind, self._fallback[0]) or deserialize_message(self._fallback[0], MultiDOFJointTrajectory)
        binding, frame = messages.Binding("plan", "plan"), str(message.header.frame_id)
        self._frames = Frames(frame, self._frames.base)  # the one that the supervisor has chosen
        plan = messages.convert(message, kind, binding, self._fallback[2], self._config, frame)
        return plan if isinstance(plan, Plan) and usable(plan) else None

    def _enter(self, state: tuple[bytes, str]) -> None:
        if state == self._state:
            return
        self._state = state
        level, text = state
        log = self.get_logger()
        if level == DiagnosticStatus.ERROR:  # one line per severity: rclpy refuses two of them from one place
            log.error(text)
        else:
            log.info(text)
        self._report()

    def _report(self) -> None:
        self._next_report = time.monotonic_ns() + nanoseconds(REPORT_PERIOD)
        level, text = self._state
        silence = f"{seconds(time.monotonic_ns() - self._heard):.3f}" if self._heard else "never heard"
        speakers = self.count_publishers(self.resolve_topic_name("safety_supervisor/trajectory"))
        if speakers > 1:
            level, text = DiagnosticStatus.ERROR, f"DUPLICATE: {speakers} supervisors command; {text}"
        values = [
            KeyValue(key="silence_s", value=silence),
            KeyValue(key="gate_timeout_s", value=str(self._config.timing.gate_timeout)),
        ]
        status = DiagnosticStatus(level=level, name=f"{self.get_name()}: gate", message=text, values=values)
        status.hardware_id = HARDWARE
        report = DiagnosticArray(status=[status])
        report.header.stamp = stamp(self.get_clock().now().nanoseconds)
        self._diagnostics.publish(report)


def main(args: Sequence[str] | None = None) -> int:
    """Run the gate until SIGINT or SIGTERM."""
    return process.run(CommandGate, args)


if __name__ == "__main__":
    sys.exit(main())
