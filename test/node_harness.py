"""A node process and a small world around it over DDS, for the node tests. Nothing leaves the machine."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Transform, Twist
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2, PointField, Range
from std_msgs.msg import Bool, String, UInt64
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

ROOT = Path(__file__).resolve().parents[1]
VEHICLE = ROOT / "config" / "passenger_car.yaml"
FRONT = 3.7
"""From base_link to the front bumper and its radar [m], as in the vehicle file."""
PATIENCE = 40.0
"""Longest wait [s] for something that takes a second on an idle machine."""

LOOK_AHEAD = 0.25
"""Ego's follower reaches the commanded speed after this time [s]: actuation delay and response."""

_domains = itertools.count(os.getpid() * 7)


def environment(monkeypatch: Any, folder: Path) -> int:
    """Confine DDS to this machine, choose a domain of our own and return it."""
    domain = 1 + next(_domains) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # Shared memory of killed processes would fill /dev/shm.
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    monkeypatch.setenv("ROS_LOG_DIR", str(folder / "ros_log"))
    return domain


def child_environment() -> dict[str, str]:
    """Environment of a child: the wheels' start-up hook must run again in it, and it tests this source tree."""
    dropped = ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    env = {key: value for key, value in os.environ.items() if key not in dropped}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    return env


class Process:
    """One node of the package in a process of its own."""

    def __init__(self, folder: Path, module: str, *arguments: str) -> None:
        env = child_environment()
        self._log = folder / f"{module.rpartition('.')[2]}.log"
        with self._log.open("w") as log:
            command = [sys.executable, "-m", module, *arguments]
            self.popen = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Send a signal and return the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(timeout)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


def supervisor(folder: Path, module: str = "safety_supervisor.ros.node", **values: Any) -> Process:
    """Start the node with parameters by name, `__` standing for the dot."""
    arguments = ["--ros-args"]
    values.setdefault("recorder_folder", folder / "flight")
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ["-p", f"{name.replace('__', '.')}:={text}"]
    return Process(folder, module, *arguments)


def run_until(executor: Any, until: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """Run callbacks until something is true; returns it, or the last false value."""
    end = time.monotonic() + timeout
    while not (found := until()) and time.monotonic() < end:
        executor.spin_once(0.01)
    return found


class World:
    """Ego on a straight road with one object standing ahead; its policy drives on as if it were not there."""

    radar_type, plan_type, driver_type = PointCloud2, MultiDOFJointTrajectory, Bool

    def __init__(
        self, domain: int, speed: float = 15.0, gap: float = 1000.0, follows: str = "safety_supervisor",
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.follows, self._clock = follows, clock
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("test_world", context=self.context, start_parameter_services=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.speed, self.x = speed, 0.0
        self.put_object(gap)
        self.radar = self.plan = self.odometry = True
        self.silent: set[str] = set()
        """Ultrasonic transducers that say nothing."""
        self.fixed_frame, self.body_frame = "odom", "base_link"
        """Frames that odometry names; the plan is always in the first one."""
        self.frozen = False
        """Odometry repeats its last pose with new stamps."""
        self.tamper: Callable[[MultiDOFJointTrajectory], None] = lambda plan: None
        """What goes wrong with every plan."""
        self.driving = self.takeover = False
        self.coasting = False
        """Ego keeps its speed, whatever is commanded."""
        self.decisions: list[dict[str, Any]] = []
        self.statuses: list[Any] = []
        self.commands: list[MultiDOFJointTrajectory] = []
        self.fallbacks: list[MultiDOFJointTrajectory] = []
        self.heartbeats: list[int] = []
        self._last = time.monotonic()
        self._due: dict[str, float] = {}
        self._publish()
        self._listen()

    def put_object(self, gap: float) -> None:
        """Let the object stand this far [m] ahead of ego's front from now on."""
        self.object_x = self.x + FRONT + gap

    @property
    def gap(self) -> float:
        return self.object_x - self.x - FRONT

    def _publish(self) -> None:
        make, best_effort = self.node.create_publisher, qos_profile_sensor_data
        self._odometry = make(Odometry, "vehicle/odometry", best_effort)
        self.publish_radar()
        self._plan = make(self.plan_type, "policy/trajectory", 10)
        self._driver = make(self.driver_type, "vehicle/driver_takeover", 10)
        names = ("front_left", "front_centre_left", "front_centre_right", "front_right", "rear_left", "rear_right")
        self._ranges = {name: make(Range, f"ultrasonic/{name}", best_effort) for name in names}

    def publish_radar(self, frame: str = "radar_front") -> None:
        """Publish the radar's messages in this frame from now on, by a publisher of its own."""
        self.radar_frame = frame
        self._radar = self.node.create_publisher(self.radar_type, "radar/front/points", qos_profile_sensor_data)

    def unplug_radar(self) -> None:
        """Take the radar's publisher away."""
        self.radar = False
        self.node.destroy_publisher(self._radar)

    def _listen(self) -> None:
        node, name = self.node, "safety_supervisor"

        def keep(store: list[Any], read: Callable[[Any], Any] = lambda m: m) -> Callable[[Any], None]:
            return lambda message: store.append(read(message))

        node.create_subscription(String, f"{name}/decision", keep(self.decisions, lambda m: json.loads(m.data)), 100)
        node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: self.statuses.extend(m.status), 100)
        node.create_subscription(MultiDOFJointTrajectory, f"{self.follows}/trajectory", keep(self.commands), 10)
        node.create_subscription(MultiDOFJointTrajectory, f"{name}/fallback", keep(self.fallbacks), 10)
        node.create_subscription(UInt64, f"{name}/heartbeat", keep(self.heartbeats, lambda m: m.data), 10)

    # --- time -----------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], Any], timeout: float = PATIENCE) -> Any:
        """Let the world go on until something is true; returns it, or the last false value."""
        end = time.monotonic() + timeout
        while not (found := until()) and time.monotonic() < end:
            self.executor.spin_once(0.004)
            self._move()
            self._send()
        return found

    def run_for(self, duration: float) -> None:
        end = time.monotonic() + duration
        self.run(lambda: time.monotonic() > end)

    def _move(self) -> None:
        now = time.monotonic()
        dt, self._last = now - self._last, now
        if self.driving:
            self.speed = max(self.speed + self._demand() * dt, 0.0)
        if self.driving or self.coasting:
            self.x += self.speed * dt

    def _demand(self) -> float:
        """Acceleration that reaches the newest command's speed in a moment; none, when there is no command."""
        if not self.commands or not self.commands[-1].points:
            return 0.0
        command = self.commands[-1]
        later = (self._now() - stamp_ns(command)) / 1e9 + LOOK_AHEAD
        times = [p.time_from_start.sec + p.time_from_start.nanosec / 1e9 for p in command.points]
        return float(np.interp(later, times, speeds(command)) - self.speed) / LOOK_AHEAD

    def _now(self) -> int:
        if self._clock is not None:
            return self._clock()
        return int(self.node.get_clock().now().nanoseconds)

    # --- what ego's sensors and policy say --------------------------------------------------------------------

    def _send(self) -> None:
        if self.odometry and self._is_due("odometry", 0.02):
            self._odometry.publish(self._odometry_message())
        if self.radar and self._is_due("radar", 0.05):
            self._radar.publish(self._radar_message())
        if self.plan and self._is_due("plan", 0.1):
            self._plan.publish(self._plan_message())
        if self._is_due("driver", 0.1):
            self._driver.publish(self._driver_message())
        if self._is_due("ranges", 0.1):
            for publisher in [p for name, p in self._ranges.items() if name not in self.silent]:
                message = Range(min_range=0.2, max_range=5.0, range=math.inf, field_of_view=1.04)
                message.header.stamp = self._stamp()
                publisher.publish(message)

    def _is_due(self, name: str, period: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(name, 0.0):
            return False
        self._due[name] = now + period
        return True

    def _stamp(self) -> Any:
        seconds, rest = divmod(self._now(), 1_000_000_000)
        return Time(sec=seconds, nanosec=rest)

    def _odometry_message(self) -> Odometry:
        message = Odometry(child_frame_id=self.body_frame)
        message.header.frame_id = self.fixed_frame
        message.header.stamp = self._stamp()
        if not self.frozen:
            self._shown = self.x
        message.pose.pose.position.x = self._shown
        message.twist.twist.linear.x = self.speed
        return message

    def _driver_message(self) -> Any:
        return Bool(data=self.takeover)

    def _returns(self) -> list[tuple[float, float, float, float]]:
        """The object's rear as three returns, and a guard rail beside the road: x, y, z, range rate."""
        rows = []
        ahead = [(self.gap, y) for y in (-0.5, 0.0, 0.5)]
        rail = [(20.0 + 10 * i - self.x % 10.0, 7.0) for i in range(8)]
        for x, y in ahead + rail:
            distance = math.hypot(x, y)
            if 0.5 < distance < 200.0:
                rows.append((x, y, 0.0, -self.speed * x / distance))
        return rows

    def _radar_message(self) -> Any:
        rows = self._returns()
        message = PointCloud2(height=1, width=len(rows), point_step=16, row_step=16 * len(rows), is_dense=True)
        message.header.frame_id = self.radar_frame
        message.header.stamp = self._stamp()
        message.fields = [
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(("x", "y", "z", "radial_speed"))
        ]
        message.data = b"".join(struct.pack("<4f", *row) for row in rows)
        return message

    def _plan_message(self) -> Any:
        """What a policy that sees nothing plans: straight on at ego's present speed."""
        message = MultiDOFJointTrajectory(joint_names=["base_link"])
        message.header.frame_id = self.fixed_frame
        message.header.stamp = self._stamp()
        for i in range(31):
            point = MultiDOFJointTrajectoryPoint(transforms=[Transform()], velocities=[Twist()])
            point.transforms[0].translation.x = self.x + self.speed * 0.2 * i
            point.velocities[0].linear.x = self.speed
            point.time_from_start.sec, tenths = divmod(2 * i, 10)
            point.time_from_start.nanosec = tenths * 100_000_000
            message.points.append(point)
        self.tamper(message)
        return message

    # --- asking the node --------------------------------------------------------------------------------------

    def call(self, kind: Any, service: str, request: Any, timeout: float = PATIENCE) -> Any:
        """Call a service while the world goes on."""
        client = self.node.create_client(kind, service)
        try:
            assert self.run(client.service_is_ready, timeout), f"no service {service}"
            future = client.call_async(request)
            assert self.run(future.done, timeout), f"no answer from {service}"
            return future.result()
        finally:
            self.node.destroy_client(client)

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, "safety_supervisor/change_state", request).success)

    def configure(self) -> bool:
        return self.change(Transition.TRANSITION_CONFIGURE)

    def activate(self) -> bool:
        """Activate the node; ego sets off when it has."""
        self.driving = self.change(Transition.TRANSITION_ACTIVATE)
        return self.driving

    def state(self) -> str:
        response = self.call(GetState, "safety_supervisor/get_state", GetState.Request())
        return str(response.current_state.label)

    def modes(self) -> list[str]:
        """Modes in the order of their appearance, repetitions dropped."""
        return [mode for mode, _ in itertools.groupby(d["mode"] for d in self.decisions)]

    def status(self, name: str) -> Any:
        """Newest diagnostic status of one part."""
        found = [s for s in self.statuses if s.name == f"safety_supervisor: {name}"]
        return found[-1] if found else None

    @property
    def mode(self) -> str:
        return str(self.decisions[-1]["mode"]) if self.decisions else ""

    def found(self, code: str) -> list[Any]:
        """Findings of the newest decision that have this code."""
        findings = self.decisions[-1]["health"]["findings"] if self.decisions else []
        return [f for f in findings if f["code"] == code]

    def message(self, name: str) -> str:
        """Text of the newest diagnostic status of one part."""
        status = self.status(name)
        return status.message if status else ""

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@contextmanager
def world(domain: int, kind: type[World] = World, **values: Any) -> Iterator[Any]:
    """A world that is torn down at the end."""
    made = kind(domain, **values)
    try:
        yield made
    finally:
        made.close()


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def speeds(message: MultiDOFJointTrajectory) -> list[float]:
    return [float(point.velocities[0].linear.x) for point in message.points]
