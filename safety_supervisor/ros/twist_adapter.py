"""Guards a robot base that is driven by velocity commands, as Nav2 does: Twist in, supervised Twist out.

What comes in is made into a plan, the arc that it leads along, and published for the supervisor; what the supervisor
commands is turned back into a Twist. A command that is not renewed counts as standing; a supervisor that is silent
stops the base. While a driver controls nothing is sent.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from trajectory_msgs.msg import MultiDOFJointTrajectory

from safety_supervisor import cdr
from safety_supervisor.core.world import Plan, nanoseconds
from safety_supervisor.ros import process
from safety_supervisor.ros.options import declared
from safety_supervisor.ros.outputs import Frames, stamp, trajectory

NAME = "twist_adapter"
STEP = 0.05
"""Time between two points of a plan [s]."""
KIND = "trajectory_msgs/msg/MultiDOFJointTrajectory"
PARAMETERS: dict[str, tuple[Any, str]] = {
    "stamped": (False, "TwistStamped instead of Twist, on both sides"),
    "rate": (20.0, "commands and plans a second"),
    "horizon": (4.0, "length of a plan [s]"),
    "command_timeout": (0.5, "a command that is not renewed for this long [s] counts as standing"),
    "silence": (0.3, "the base is stopped when the supervisor is silent for this long [s]"),
    "look_ahead": (0.1, "the base reaches a commanded speed after this time [s]"),
    "base_frame": ("base_link", "frame of the plans"),
    "shadow": (False, "pass every command as it comes; the supervisor only judges"),
}


def arc(speed: float, turn: float, t: int, horizon: float) -> Plan:
    """Return the plan, in the frame of the base, that a constant speed [m/s] and yaw rate [rad/s] lead along."""
    if not (math.isfinite(speed) and math.isfinite(turn)):
        speed = turn = 0.0
    since = np.arange(0.0, horizon + STEP / 2, STEP)
    yaw = turn * since
    if abs(turn) > 1e-9:
        x, y = speed / turn * np.sin(yaw), speed / turn * (1.0 - np.cos(yaw))
    else:
        x, y = speed * since, np.zeros_like(since)
    return Plan(t, since, x, y, (yaw + np.pi) % (2 * np.pi) - np.pi, np.full_like(since, speed))


def at(view: cdr.TrajectoryView, later: float) -> tuple[float, float]:
    """Return speed [m/s] and yaw rate [rad/s] of a commanded trajectory `later` [s] after its stamp; its end holds."""
    since = view.time / 1e9
    if later >= since[-1] and len(since) > 1 and since[-1] > 0.0:
        return 0.0, 0.0
    speed, turn = view.velocities[:, 0, 0], view.velocities[:, 0, 5]
    return float(np.interp(later, since, speed)), float(np.interp(later, since, turn))


class TwistAdapter(Node):  # type: ignore[misc]  # rclpy counts as untyped
    """Two half adapters, from Twist to plan and from trajectory to Twist."""

    def __init__(self, **options: Any) -> None:
        super().__init__(NAME, **options)
        self._values = declared(self, PARAMETERS)
        self._wanted = (0.0, 0.0)
        self._told = 0
        self._view: cdr.TrajectoryView | None = None
        self._heard = 0
        kind = TwistStamped if self._values["stamped"] else Twist
        self._out = self.create_publisher(kind, "cmd_vel_out", 1)
        self._plans = self.create_publisher(MultiDOFJointTrajectory, "policy/trajectory", 1)
        trajectory_topic = "safety_supervisor/trajectory"
        heard = [
            self.create_subscription(kind, "cmd_vel_in", self._on_command, 1),
            self.create_subscription(
                MultiDOFJointTrajectory, trajectory_topic, self._on_trajectory, QoSProfile(depth=1), raw=True
            ),
        ]
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / float(self._values["rate"]), self._on_timer, clock=steady)
        limits = (f"a command not renewed for {self._values['command_timeout']:g} s counts as standing, "
                  f"a supervisor silent for {self._values['silence']:g} s stops the base")
        if self._values["shadow"]:
            limits = "SHADOW: every command is passed as it comes"
        said = process.connections(heard, [self._out, self._plans])
        self.get_logger().info(f"{said}, velocities as {kind.__name__}; {limits}")

    def farewell(self) -> None:
        """Stop the base."""
        self._send(0.0, 0.0)

    def _on_command(self, message: Any) -> None:
        twist = message.twist if self._values["stamped"] else message
        self._wanted = float(twist.linear.x), float(twist.angular.z)
        self._told = time.monotonic_ns()
        if self._values["shadow"]:
            self._out.publish(message)

    def _on_trajectory(self, raw: bytes) -> None:
        seen = cdr.view(KIND, raw)
        self._view = seen if isinstance(seen, cdr.TrajectoryView) else None
        self._heard = time.monotonic_ns()

    def _on_timer(self) -> None:
        steady, now = time.monotonic_ns(), int(self.get_clock().now().nanoseconds)
        fresh = self._told and steady - self._told <= nanoseconds(self._values["command_timeout"])
        plan = arc(*(self._wanted if fresh else (0.0, 0.0)), now, float(self._values["horizon"]))
        base = str(self._values["base_frame"])
        self._plans.publish(trajectory(plan, Frames(base, base)))
        if self._values["shadow"]:
            return
        if not self._heard or steady - self._heard > nanoseconds(self._values["silence"]) or self._view is None:
            self._send(0.0, 0.0)
        elif len(self._view.time):  # a trajectory without points: a driver controls
            self._send(*self._commanded(self._view, now))

    def _commanded(self, view: cdr.TrajectoryView, now: int) -> tuple[float, float]:
        told = view.header.stamp.sec * 10**9 + view.header.stamp.nanosec
        return at(view, max((now - told) / 1e9, 0.0) + float(self._values["look_ahead"]))

    def _send(self, speed: float, turn: float) -> None:
        message = self._out.msg_type()
        twist = message.twist if self._values["stamped"] else message
        twist.linear.x, twist.angular.z = speed, turn
        if self._values["stamped"]:
            message.header.stamp = stamp(int(self.get_clock().now().nanoseconds))
            message.header.frame_id = str(self._values["base_frame"])
        self._out.publish(message)


def main(args: Sequence[str] | None = None) -> int:
    """Run the adapter until SIGINT or SIGTERM."""
    return process.run(TwistAdapter, args)


if __name__ == "__main__":
    sys.exit(main())
