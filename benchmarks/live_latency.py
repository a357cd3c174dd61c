"""How long the live node takes: from tick to decision, from radar to decision, and what of it is the middleware's.

    python benchmarks/live_latency.py --json FILE [--seconds 30] [--priority N]

Four processes on one machine, over DDS on the loopback interface: the supervisor with 18 subscriptions, a generator of
400 messages a second, a bare node that sends back what it hears, and this one, which listens. Writes milliseconds:

    decision_ms           start of a tick (`t` of the decision) to the decision's arrival here
    radar_to_decision_ms  stamp of a radar scan to the arrival of the decision that consumed it
    echo_ms               a message as long as a decision, to the bare node and back
    tick_ms               processing time of a tick, as the node measures it
    period_error_ms       distance of a tick from one period after the tick before
    cpu_percent           of one core: the supervisor with its flight recorder

each but the last with p50, p99 and p999. All but the generator run with real-time priority where that is allowed, as a
supervisor does on a vehicle (docs/vehicle.md).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
VEHICLE = ROOT / "config" / "passenger_car.yaml"
RADARS, ULTRASONICS = 2, 11
SPEED = 20.0
POLES = np.arange(0.0, 20_000.0, 8.0)
"""Posts on both sides of the road, every 8 m."""
TRAFFIC = ((45.0, 0.0), (70.0, 3.5), (110.0, -3.5))
"""Cars as fast as ego: how far ahead [m], how far to the left [m]."""
RADAR_RANGE = 120.0
PATIENCE = 60.0
SETTLE = 2.0
"""Seconds after activation that are not measured."""


def vehicle() -> dict[str, Any]:
    """The passenger car with other sensors: 18 subscriptions, odometry, plan, driver, release and requests included."""
    data = yaml.safe_load(VEHICLE.read_text())
    inner = data["/**"]["ros__parameters"]
    radar, us = inner["sensors"]["radar_front"], inner["sensors"]["us_front_left"]
    inner["sensors"] = {f"radar_{i}": {**radar, "topic": f"radar/r{i}"} for i in range(RADARS)}
    inner["sensors"] |= {f"us_{i}": {**us, "topic": f"us/u{i}"} for i in range(ULTRASONICS)}
    return data


# --- the processes beside the supervisor ------------------------------------------------------------------------


def echo() -> int:
    """A bare node: what it hears on `ping` it sends on `pong`."""
    from rclpy.node import Node
    from std_msgs.msg import String

    from safety_supervisor.ros import process

    class Echo(Node):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("echo")
            back = self.create_publisher(String, "pong", 10)
            self.create_subscription(String, "ping", back.publish, 10, raw=True)

        def farewell(self) -> None:
            pass

    return process.run(Echo)


def generate(stamps: Path) -> int:
    """Send 400 messages a second until SIGTERM; write down when each radar scan was sent."""
    from rclpy.node import Node
    from rclpy.qos import qos_profile_sensor_data

    from safety_supervisor.ros import process

    class Generator(Node):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("generator")
            self.began = time.time()
            self.sent: dict[str, list[int]] = {f"radar/r{i}": [] for i in range(RADARS)}
            self.random = np.random.default_rng(1)
            for kind, topic, rate, make in self.plan():
                publisher = self.create_publisher(kind, topic, qos_profile_sensor_data)
                self.create_timer(1.0 / rate, lambda p=publisher, m=make: p.publish(m()))

        def plan(self) -> list[tuple[Any, str, float, Any]]:
            from nav_msgs.msg import Odometry
            from sensor_msgs.msg import PointCloud2, Range
            from std_msgs.msg import Bool
            from trajectory_msgs.msg import MultiDOFJointTrajectory

            found = [(Odometry, "vehicle/odometry", 100.0, self.odometry),
                     (MultiDOFJointTrajectory, "policy/trajectory", 20.0, self.trajectory),
                     (Bool, "vehicle/driver_takeover", 20.0, lambda: Bool(data=False))]
            found += [(PointCloud2, f"radar/r{i}", 20.0, lambda n=f"radar/r{i}": self.cloud(n)) for i in range(RADARS)]
            found += [(Range, f"us/u{i}", 20.0, self.echo_range) for i in range(ULTRASONICS)]
            return found

        def farewell(self) -> None:
            stamps.write_text(json.dumps(self.sent))

        def stamp(self, message: Any, frame: str) -> int:
            now = time.time_ns()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
            message.header.frame_id = frame
            return now

        def x(self) -> float:
            return SPEED * (time.time() - self.began)

        def odometry(self) -> Any:
            from nav_msgs.msg import Odometry

            message = Odometry()
            self.stamp(message, "odom")
            message.pose.pose.position.x = self.x()
            message.twist.twist.linear.x = SPEED
            return message

        def trajectory(self) -> Any:
            from safety_supervisor.core.world import Plan
            from safety_supervisor.ros.outputs import Frames, trajectory

            t = np.arange(0.0, 8.0, 0.1)
            zero = np.zeros(len(t))
            plan = Plan(time.time_ns(), t, self.x() + SPEED * t, zero, zero, np.full(len(t), SPEED))
            return trajectory(plan, Frames())

        def cloud(self, name: str) -> Any:
            from sensor_msgs.msg import PointCloud2, PointField

            ahead = POLES - self.x() - 3.7
            ahead = ahead[(ahead > 5.0) & (ahead < RADAR_RANGE)]
            places = [*((x, y) for x in ahead for y in (-8.0, 8.0)), *TRAFFIC]
            xy = np.array(places)
            distance, azimuth = np.hypot(xy[:, 0], xy[:, 1]), np.arctan2(xy[:, 1], xy[:, 0])
            rate = -SPEED * np.cos(azimuth)
            rate[len(ahead) * 2 :] = 0.0
            noise = self.random.normal(0.0, (0.1, 0.005, 0.05), (len(xy), 3))
            rows = np.column_stack([distance, azimuth, rate]) + noise
            message = PointCloud2(height=1, width=len(rows), point_step=12, row_step=12 * len(rows))
            fields = ("range", "azimuth", "radial_speed")
            message.fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate(fields)]
            message.data = rows.astype("<f4").tobytes()
            self.sent[name].append(self.stamp(message, "radar"))
            return message

        def echo_range(self) -> Any:
            from sensor_msgs.msg import Range

            message = Range(min_range=0.2, max_range=5.0, range=math.inf, field_of_view=1.0)
            self.stamp(message, "us")
            return message

    return process.run(Generator)


# --- the one that listens ---------------------------------------------------------------------------------------


class Listener:
    """Hears decisions, echoes and diagnostics; activates the supervisor."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.node import Node
        from std_msgs.msg import String

        from safety_supervisor.ros import process

        rclpy.init()
        self.node = Node("listener")
        self.decisions: list[tuple[int, bytes]] = []
        self.echoes: list[float] = []
        self.status: dict[str, str] = {}
        self._ping = self.node.create_publisher(String, "ping", 10)
        make = self.node.create_subscription
        make(String, "pong", self._pong, 10, raw=True)
        heard = lambda raw: self.decisions.append((time.time_ns(), raw))  # noqa: E731
        make(String, "safety_supervisor/decision", heard, 10, raw=True)
        make(DiagnosticArray, "/diagnostics", self._diagnose, 10)
        self._executor = process.make_executor(self.node)

    def _pong(self, raw: bytes) -> None:
        (sent,) = struct.unpack_from("<q", raw, 8)
        self.echoes.append((time.time_ns() - sent) / 1e6)

    def _diagnose(self, message: Any) -> None:
        for status in message.status:
            if status.name == "safety_supervisor: supervisor":
                self.status = {pair.key: pair.value for pair in status.values}

    def change(self, number: int) -> None:
        from lifecycle_msgs.srv import ChangeState

        client = self.node.create_client(ChangeState, "safety_supervisor/change_state")
        self.until(client.service_is_ready, "the supervisor's services")
        request = ChangeState.Request()
        request.transition.id = number
        future = client.call_async(request)
        self.until(future.done, "a transition")
        if not future.result().success:
            raise SystemExit("the supervisor refused a transition")

    def until(self, done: Any, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > end:
                raise SystemExit(f"waited {PATIENCE:g} s in vain for {what}")
            self._executor.spin_once(0.05)

    def listen(self, duration: float, length: int) -> None:
        """Listen, and ping 50 times a second with messages of `length` bytes."""
        end, due = time.monotonic() + duration, time.monotonic()
        filler = b"x" * length
        while time.monotonic() < end:
            if time.monotonic() >= due:
                due += 0.02
                raw = b"\x00\x01\x00\x00" + struct.pack("<I", len(filler) + 9) + struct.pack("<q", time.time_ns())
                self._ping.publish(raw + filler + b"\0")
            self._executor.spin_once(max(min(due, end) - time.monotonic(), 0.0))


def processor_time(pid: int) -> float:
    """CPU seconds of a process and of its children that still run."""
    total, tick = 0.0, os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(entry.name) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / tick
    return total


def percentiles(values: Any) -> dict[str, float]:
    """p50, p99 and p999 in milliseconds."""
    array = np.asarray(values, float)
    return {name: round(float(np.percentile(array, q)), 3) for name, q in (("p50", 50), ("p99", 99), ("p999", 99.9))}


def radar_times(decisions: list[tuple[int, dict[str, Any]]], sent: dict[str, list[int]]) -> list[float]:
    """Time [ms] from each radar scan to the decision that consumed it.

    A scan is consumed by the first tick after it: when a tick consumed one, it was the newest one sent before it.
    """
    found = []
    for topic, stamps in sent.items():
        for heard, decision in decisions:
            if decision["consumed"].get(topic, 0):
                newest = int(np.searchsorted(stamps, decision["t"], side="right")) - 1
                found.append((heard - stamps[newest]) / 1e6)
    return found


def start(folder: Path, priority: int) -> tuple[list[subprocess.Popen[bytes]], str]:
    """Start supervisor, generator and echo."""
    file = folder / "vehicle.yaml"
    file.write_text(yaml.safe_dump(vehicle()))
    env = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    me = str(Path(__file__).resolve())
    parameters = {"vehicle_file": file, "allow_unproved": "true", "recorder_folder": folder / "flight"}
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    commands = [
        [sys.executable, "-m", "safety_supervisor.ros.node", "--ros-args", *arguments],
        [sys.executable, me, "--echo"],
        [sys.executable, me, "--generate", str(folder / "stamps.json")],
    ]
    running = []
    for name, command in zip(("node", "echo", "generator"), commands, strict=True):
        with (folder / f"{name}.log").open("w") as log:
            running.append(subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT))
    scheduled = "normal priority"
    if priority:
        try:
            for pid in (running[0].pid, running[1].pid, 0):
                os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(priority))
            scheduled = f"real-time priority {priority} (generator: normal)"
        except OSError as error:
            scheduled = f"normal priority (real-time refused: {error.strerror})"
    return running, scheduled


def measure(seconds: float, priority: int, folder: Path) -> dict[str, Any]:
    """Run all processes and return the figures."""
    running, scheduled = start(folder, priority)
    try:
        listener = Listener()
        listener.change(1)
        listener.change(3)
        listener.until(lambda: len(listener.decisions) > 100, "decisions")
        listener.until(lambda: b'"radar/r0"' in listener.decisions[-1][1], "a decision about a radar scan")
        length = len(listener.decisions[-1][1])
        listener.listen(SETTLE, length)
        listener.echoes.clear()
        first, cpu, began = len(listener.decisions), processor_time(running[0].pid), time.monotonic()
        listener.listen(seconds, length)
        cpu, lasted = processor_time(running[0].pid) - cpu, time.monotonic() - began
        last = len(listener.decisions)  # what comes while this process waits for the generator's end comes late here
        running[2].send_signal(signal.SIGTERM)
        running[2].wait(PATIENCE)
        listener.listen(1.0, length)
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(PATIENCE)
    heard = [(at, json.loads(raw[8:].rstrip(b"\0"))) for at, raw in listener.decisions]
    kept = heard[first:last]
    ticks = np.array([d["t"] for _, d in kept])
    sent = json.loads((folder / "stamps.json").read_text())
    period = vehicle()["/**"]["ros__parameters"]["timing"]["period"]
    tracks, modes = sum(len(d["tracks"]) for _, d in kept) / len(kept), sorted({d["mode"] for _, d in kept})
    print(f"{len(kept)} decisions of {length} bytes in {lasted:.1f} s, {scheduled}; {tracks:.0f} tracks; {modes}")
    return {
        "decision_ms": percentiles([(at - d["t"]) / 1e6 for at, d in kept]),
        "radar_to_decision_ms": percentiles(radar_times(kept, sent)),
        "echo_ms": percentiles(listener.echoes),
        "tick_ms": {name: float(listener.status[f"tick_ms_{name}"]) for name in ("p50", "p99", "p999")},
        "period_error_ms": percentiles(np.abs(np.diff(ticks) / 1e6 - 1e3 * period)),
        "cpu_percent": round(100.0 * cpu / lasted, 1),
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Latency of the live node.")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of the measurement (default 30)")
    parser.add_argument("--priority", type=int, default=50, help="real-time priority, 0 for none (default 50)")
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--generate", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.echo:
        return echo()
    if args.generate:
        return generate(args.generate)
    os.environ.setdefault("ROS_DOMAIN_ID", "101")
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("ROS_LOG_DIR", folder)
        result = measure(args.seconds, args.priority, Path(folder))
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
