"""A published message as rows of numbers and back, so that one fault can be written once for every input.

Columns by family: radar range [m], azimuth [rad], range rate [m/s]; ultrasonic range [m]; odometry x, y [m], yaw [rad],
speed [m/s], yaw rate [rad/s]; plan time [s], x, y [m], yaw [rad], speed [m/s]; driver takeover (0 or 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace as Shape
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config, Sensor
from safety_supervisor.core.world import NANOSECONDS, Floats
from safety_supervisor.messages import normalised
from safety_supervisor.scenarios import publish
from safety_supervisor.scenarios.publish import Message


@dataclass(frozen=True, slots=True)
class Reading:
    """One message: stamp and arrival [ns], and its numbers (N, columns of the family)."""

    stamp: int
    arrival: int
    rows: Floats


@dataclass(frozen=True, slots=True)
class Channel:
    """One input of a vehicle: its name, family (radar, ultrasonic, odometry, plan, driver) and topic."""

    name: str
    family: str
    topic: str
    sensor: Sensor | None = None

    def read(self, message: Message) -> Reading:
        """Return the numbers of a message as it was published."""
        body = message.body
        stamp = body.header.stamp.sec * NANOSECONDS + body.header.stamp.nanosec if hasattr(body, "header") else 0
        return Reading(stamp, message.t, _ROWS[self.family](body, self.sensor))

    def write(self, reading: Reading) -> Message:
        """Return the message that says these numbers."""
        return _WRITERS[self.family](self, reading)


def channels(config: Config) -> tuple[Channel, ...]:
    """Return every input of a vehicle that messages come on, sensors first."""
    sensors = tuple(
        Channel(name, "ultrasonic" if s.kind == "ultrasonic" else "radar", s.topic, s) for name, s in config.sensors
    )
    names = config.inputs
    vehicle = (Channel("odometry", "odometry", names.odometry), Channel("plan", "plan", names.plan),
               Channel("driver", "driver", names.driver))  # fmt: skip
    return sensors + vehicle


def hollow(message: Message) -> Message:
    """Return the message without its content: the header alone, where it has one."""
    header = getattr(message.body, "header", None)
    return replace(message, body=Shape() if header is None else Shape(header=header))


# --- reading ------------------------------------------------------------------------------------------------


Rows = Callable[[Any, Sensor | None], Floats]


def _radar_rows(body: Any, sensor: Sensor | None) -> Floats:
    assert sensor is not None
    x, y, _, rate = body.data.view("<f4").reshape(-1, len(publish.POINT_FIELDS)).astype(np.float64).T
    return np.stack([np.hypot(x, y), np.arctan2(y, x), rate * sensor.doppler_sign], axis=1)


def _yaw(rotation: Any) -> float:
    return 2 * math.atan2(rotation.z, rotation.w)


def _odometry_rows(body: Any, _: Sensor | None) -> Floats:
    place, twist = body.pose.pose, body.twist.twist
    return np.array([[place.position.x, place.position.y, _yaw(place.orientation), twist.linear.x, twist.angular.z]])


def _plan_rows(body: Any, _: Sensor | None) -> Floats:
    rows = [
        (p.time_from_start.sec + p.time_from_start.nanosec / NANOSECONDS, p.transforms[0].translation.x,
         p.transforms[0].translation.y, _yaw(p.transforms[0].rotation), p.velocities[0].linear.x)
        for p in body.points
    ]  # fmt: skip
    return np.array(rows).reshape(-1, 5)


_ROWS: dict[str, Rows] = {
    "radar": _radar_rows,
    "ultrasonic": lambda body, _: np.array([[body.range]]),
    "odometry": _odometry_rows,
    "plan": _plan_rows,
    "driver": lambda body, _: np.array([[float(body.data)]]),
}


# --- writing ------------------------------------------------------------------------------------------------


def _write_radar(channel: Channel, r: Reading) -> Message:
    assert channel.sensor is not None
    with np.errstate(invalid="ignore"):  # an infinite azimuth has no sine
        return publish.point_cloud(channel.name, channel.sensor, r.stamp, r.arrival, r.rows)


def _write_ping(channel: Channel, r: Reading) -> Message:
    assert channel.sensor is not None
    return publish.ping(channel.name, channel.sensor, r.stamp, r.arrival, float(r.rows[0, 0]))


def _said(rows: Floats, yaw: int) -> Floats:
    """An infinite angle has no sine: its quaternion says NaN."""
    said = rows.copy()
    said[np.isinf(said[:, yaw]), yaw] = np.nan
    return said


def _write_odometry(channel: Channel, r: Reading) -> Message:
    x, y, yaw, speed, rate = _said(r.rows, 2)[0].tolist()
    return publish.odometry(channel.topic, r.stamp, r.arrival, (x, y, yaw), speed, rate)


def _write_plan(channel: Channel, r: Reading) -> Message:
    """Times that no message can hold (NaN, infinite) stay 0: what is broken are the places and speeds."""
    time, *rest = _said(r.rows, 3).T
    time = np.where(np.isfinite(time), time, 0.0)
    return publish.trajectory(channel.topic, r.stamp, r.arrival, (time, *rest))


def _write_driver(channel: Channel, r: Reading) -> Message:
    body = Shape(data=bool(r.rows[0, 0] > 0.5))
    return Message("/" + normalised(channel.topic), "std_msgs/msg/Bool", r.arrival, body)


_WRITERS: dict[str, Callable[[Channel, Reading], Message]] = {
    "radar": _write_radar,
    "ultrasonic": _write_ping,
    "odometry": _write_odometry,
    "plan": _write_plan,
    "driver": _write_driver,
}
