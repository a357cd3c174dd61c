"""Between the supervisor and Autoware: its trajectory, its MRM states, its operate services.

The supervisor's commands go out as autoware_planning_msgs/Trajectory, its modes as MrmState and hazard lights;
Autoware's own MRM handler may ask for a stop by the services of the two operators that this node stands in for. With
`messages: standard` the same is spoken in standard messages, for systems and tests without Autoware's packages.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool, String, UInt8
from std_srvs.srv import SetBool
from trajectory_msgs.msg import MultiDOFJointTrajectory

from safety_supervisor import cdr, messages
from safety_supervisor.core.config import ConfigError
from safety_supervisor.core.world import Mode
from safety_supervisor.ros import process
from safety_supervisor.ros.options import declared
from safety_supervisor.ros.outputs import stamp

NAME = "autoware_adapter"
KIND = "trajectory_msgs/msg/MultiDOFJointTrajectory"
PARAMETERS: dict[str, tuple[Any, str]] = {
    "messages": ("autoware", "autoware, or standard: std_msgs and std_srvs in their place"),
    "shadow": (False, "pass the trajectories on trajectory_in as they come; the supervisor only judges"),
    "silence": (0.5, "the supervisor counts as not available when it is silent for this long [s]"),
}
NORMAL, MRM_OPERATING, MRM_SUCCEEDED, MRM_FAILED = 1, 2, 3, 4
"""States of autoware_adapi_v1_msgs/MrmState."""
NONE, EMERGENCY_STOP, COMFORTABLE_STOP = 1, 2, 3
"""Its behaviours."""
NOT_AVAILABLE, AVAILABLE, OPERATING = 0, 1, 2
"""States of tier4_system_msgs/MrmBehaviorStatus."""
HAZARD_DISABLE, HAZARD_ENABLE = 1, 2
"""Commands of autoware_vehicle_msgs/HazardLightsCommand."""
REQUESTS = {"comfortable_stop": Mode.COMFORT_STOP, "emergency_stop": Mode.EMERGENCY_STOP}
"""Operators that this node stands in for, and what their operation asks of the supervisor."""
STANDARD = {"trajectory": MultiDOFJointTrajectory, "state": String, "status": UInt8, "hazard": Bool, "operate": SetBool}
AUTOWARE = {
    "trajectory": "autoware_planning_msgs.msg.Trajectory",
    "point": "autoware_planning_msgs.msg.TrajectoryPoint",
    "state": "autoware_adapi_v1_msgs.msg.MrmState",
    "status": "tier4_system_msgs.msg.MrmBehaviorStatus",
    "hazard": "autoware_vehicle_msgs.msg.HazardLightsCommand",
    "operate": "tier4_system_msgs.srv.OperateMrm",
}


def mrm(decision: Mapping[str, Any]) -> tuple[int, int]:
    """Return (state, behaviour) of MrmState for a decision record."""
    mode = Mode[str(decision["mode"])]
    if mode is Mode.STANDSTILL:
        return MRM_SUCCEEDED, COMFORTABLE_STOP
    if mode in (Mode.COMFORT_STOP, Mode.FIRM_STOP):
        return MRM_OPERATING, COMFORTABLE_STOP
    if mode is Mode.EMERGENCY_STOP:
        return MRM_OPERATING, EMERGENCY_STOP
    if mode is Mode.UNABLE:  # it brakes as hard as it can, but nobody can say along what
        return MRM_FAILED, EMERGENCY_STOP
    return NORMAL, NONE


def columns(view: cdr.TrajectoryView) -> list[dict[str, Any]]:
    """Return the points of a commanded trajectory as the fields of a TrajectoryPoint."""
    acceleration = np.zeros(len(view.time))
    if len(view.time) > 1:
        acceleration[:-1] = np.diff(view.velocities[:, 0, 0]) / np.maximum(np.diff(view.time) / 1e9, 1e-9)
        acceleration[-1] = acceleration[-2]
    rows = zip(view.time, view.transforms[:, 0], view.velocities[:, 0], acceleration, strict=True)
    return [
        {
            "time": int(t), "place": place.tolist(), "longitudinal_velocity_mps": float(twist[0]),
            "heading_rate_rps": float(twist[5]), "acceleration_mps2": float(a),
        }
        for t, place, twist, a in rows
    ]  # fmt: skip


def autoware_trajectory(view: cdr.TrajectoryView, kinds: Mapping[str, Any]) -> Any:
    """Return a commanded trajectory as an autoware_planning_msgs/Trajectory."""
    message = kinds["trajectory"]()
    message.header.frame_id = view.header.frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = view.header.stamp.sec, view.header.stamp.nanosec
    points = []
    for row in columns(view):
        point = kinds["point"]()
        point.time_from_start.sec, point.time_from_start.nanosec = divmod(row["time"], 10**9)
        p, q = point.pose.position, point.pose.orientation
        p.x, p.y, p.z, q.x, q.y, q.z, q.w = row["place"]
        for name in ("longitudinal_velocity_mps", "heading_rate_rps", "acceleration_mps2"):
            setattr(point, name, row[name])
        points.append(point)
    message.points = points
    return message


def message_kinds(which: str) -> dict[str, Any]:
    """Return the message classes to speak in; raises `ConfigError` when a package is not installed."""
    if which == "standard":
        return dict(STANDARD)
    if which != "autoware":
        raise ConfigError(f"messages = {which!r} must be autoware or standard")
    found = {}
    for key, path in AUTOWARE.items():
        module, _, name = path.rpartition(".")
        try:
            found[key] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            package = module.partition(".")[0]
            text = f"messages = 'autoware' needs {path}, but the package {package} is not installed"
            raise ConfigError(text) from None
    return found


class AutowareAdapter(Node):  # type: ignore[misc]  # rclpy counts as untyped
    """Topics are relative; the launch file gives them Autoware's names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(NAME, **options)
        values = declared(self, PARAMETERS)
        self._standard = values["messages"] == "standard"
        self._shadow = bool(values["shadow"])
        self._silence = round(float(values["silence"]) * 1e9)
        self._kinds = message_kinds(str(values["messages"]))
        self._operating: set[str] = set()
        self._heard = 0
        latest = QoSProfile(depth=1)
        make = self.create_publisher
        self._trajectory = make(self._kinds["trajectory"], "trajectory_out", latest)
        self._state = make(self._kinds["state"], "mrm_state", latest)
        self._hazard = make(self._kinds["hazard"], "hazard_lights_cmd", latest)
        self._status = {name: make(self._kinds["status"], f"{name}/status", latest) for name in REQUESTS}
        self._request = make(UInt8, messages.MRM_TOPIC, 5)
        listen = self.create_subscription
        passed = self._trajectory.publish
        heard = [
            listen(self._kinds["trajectory"], "trajectory_in", passed, latest, raw=True) if self._shadow else
            listen(MultiDOFJointTrajectory, "safety_supervisor/trajectory", self._on_trajectory, latest, raw=True),
            listen(String, "safety_supervisor/decision", self._on_decision, 1),
        ]
        for name in REQUESTS:
            answer = self._operator(name)
            self.create_service(self._kinds["operate"], f"{name}/operate", answer)
        self.create_timer(0.1, self._on_timer)
        said = [self._trajectory, self._state, self._hazard, self._request, *self._status.values()]
        silence = f"a supervisor silent for {values['silence']:g} s counts as not available"
        silence = "SHADOW: trajectories are passed as they come" if self._shadow else silence
        kinds = f"messages: {values['messages']}"
        self.get_logger().info(f"{process.connections(heard, said)}; {kinds}; {silence}")

    def farewell(self) -> None:
        """Nothing to leave behind: silence means stop."""

    def _on_trajectory(self, raw: bytes) -> None:
        if self._standard:
            self._trajectory.publish(raw)
            return
        view = cdr.view(KIND, raw)
        if isinstance(view, cdr.TrajectoryView):
            self._trajectory.publish(autoware_trajectory(view, self._kinds))

    def _on_decision(self, message: Any) -> None:
        decision = json.loads(message.data)
        self._heard = time.monotonic_ns()
        (state, behaviour), hazard = mrm(decision), bool(decision["hazard_lights"])
        if self._shadow:  # nothing is done about what is decided
            (state, behaviour), hazard = (NORMAL, NONE), False
        if self._standard:
            self._state.publish(String(data=json.dumps({"state": state, "behavior": behaviour})))
            self._hazard.publish(Bool(data=hazard))
            return
        now = stamp(int(decision["t"]))
        self._state.publish(self._kinds["state"](stamp=now, state=state, behavior=behaviour))
        command = HAZARD_ENABLE if hazard else HAZARD_DISABLE
        self._hazard.publish(self._kinds["hazard"](stamp=now, command=command))

    def _operator(self, name: str) -> Any:
        def operate(request: Any, response: Any) -> Any:
            wanted = bool(request.data if self._standard else request.operate)
            (self._operating.add if wanted and self._available() else self._operating.discard)(name)
            strongest = max((REQUESTS[n] for n in self._operating), default=Mode.NOMINAL)
            self._request.publish(UInt8(data=messages.REQUESTS.index(strongest)))
            answer = response if self._standard else response.response
            answer.success = self._available()
            why_not = "the supervisor is in shadow mode" if self._shadow else "the supervisor is silent"
            answer.message = "" if answer.success else why_not
            return response

        return operate

    def _available(self) -> bool:
        return bool(self._heard) and not self._shadow and time.monotonic_ns() - self._heard <= self._silence

    def _on_timer(self) -> None:
        if not self._available():
            self._operating.clear()  # one that comes back knows of no request
        for name, publisher in self._status.items():
            state = OPERATING if name in self._operating else AVAILABLE
            state = state if self._available() else NOT_AVAILABLE
            if self._standard:
                publisher.publish(UInt8(data=state))
            else:
                now = stamp(int(self.get_clock().now().nanoseconds))
                publisher.publish(self._kinds["status"](stamp=now, state=state))


def main(args: Sequence[str] | None = None) -> int:
    """Run the adapter until SIGINT or SIGTERM."""
    return process.run(AutowareAdapter, args)


if __name__ == "__main__":
    sys.exit(main())
