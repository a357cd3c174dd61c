"""Bodies that drive by simple rules, sampled at the physics step; for suites whose cases are timed by a meeting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from safety_supervisor.core.world import Floats
from safety_supervisor.scenarios.suites.case import Body
from safety_supervisor.scenarios.world import Kind, Road

DT = 0.01
"""Physics step [s]."""
CAR_TARGET = Kind("car", 4.023, 1.712, 140.0)
"""The soft car of the consumer tests."""
MOTORCYCLE = Kind("motorcycle", 2.2, 0.8, 100.0)
BICYCLE = Kind("bicycle", 1.9, 0.6, 80.0)
ADULT = Kind("adult", 0.6, 0.5, 70.0)
CHILD = Kind("child", 0.5, 0.4, 60.0)
PARKED_LARGE, PARKED_SMALL = Kind("parked", 4.418, 1.82, 140.0), Kind("parked", 4.316, 1.79, 140.0)


def times(duration: float) -> Floats:
    """Return the time [s] of every physics step."""
    return np.asarray(np.arange(round(duration / DT) + 1) * DT)


def straight(
    name: str, kind: Kind, at: tuple[float, float], direction: float, travelled: Floats, speed: Floats
) -> Body:
    """Return a body that drives along `direction` [rad]; its centre is at `at` [m] where `travelled` (T,) [m] is 0."""
    cos, sin = np.cos(direction), np.sin(direction)
    x, y = at[0] + cos * travelled, at[1] + sin * travelled
    return Body(name, kind, np.stack([x, y, np.full_like(travelled, direction), cos * speed, sin * speed], axis=1))


def steady(name: str, kind: Kind, at: tuple[float, float], direction: float, speed: float, meet: float, t: Floats,
           begin: float = 0.0) -> Body:  # fmt: skip
    """Return a body at constant `speed` [m/s] that is at `at` at time `meet` [s] and stands before `begin` [s]."""
    moving = np.maximum(t, begin) - meet
    return straight(name, kind, at, direction, speed * moving, np.where(t >= begin, speed, 0.0))


def standing(name: str, kind: Kind, x: float, y: float, yaw: float = 0.0, solid: bool = True) -> Body:
    """Return a body that stands."""
    return Body(name, kind, np.array([[x, y, yaw, 0.0, 0.0]]), solid)


def braking(
    name: str, kind: Kind, at: tuple[float, float], speed: float, begin: float, brake: float, final: float, t: Floats
) -> Body:
    """Return a body along x that starts at `at` and slows from `begin` [s] with `brake` [m/s^2] to `final` [m/s]."""
    v = np.clip(speed - brake * np.maximum(t - begin, 0.0), min(final, speed), speed)
    travelled = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * DT)])
    return straight(name, kind, at, 0.0, travelled, v)


def along(name: str, kind: Kind, road: Road, station: Floats, speed: Floats, offset: Floats | float = 0.0,
          across: Floats | float = 0.0, direction: int = 1) -> Body:  # fmt: skip
    """Return a body that follows a road: `station`, `offset` [m], signed `speed`, `across` [m/s] at each step."""
    x, y, yaw = road.pose(station, offset)
    cos, sin = np.cos(yaw), np.sin(yaw)
    vx, vy = speed * cos - across * sin, speed * sin + across * cos
    turned = yaw + (np.pi if direction < 0 else 0.0)
    heading = np.where(np.abs(speed) > 1.0, np.arctan2(vy, vx), turned)
    return Body(name, kind, np.stack([x, y, heading, vx, vy], axis=1))


def smooth(t: Floats, begin: float, duration: float, before: float, after: float) -> tuple[Floats, Floats]:
    """Return value and rate of a smooth step from `before` to `after` that begins at `begin` [s]."""
    u = np.clip((t - begin) / duration, 0.0, 1.0)
    return before + (after - before) * u * u * (3 - 2 * u), (after - before) * 6 * u * (1 - u) / duration


def crossing(road: Road, front: float, test: Callable[[float, float], float], begin: float, end: float) -> float:
    """Return the first station on (begin, end) at which ego's front centre makes `test(x, y)` positive."""
    stations = np.linspace(begin, end, 2001)
    x, y, yaw = road.pose(stations)
    values = [test(float(a), float(b)) for a, b in zip(x + front * np.cos(yaw), y + front * np.sin(yaw), strict=True)]
    i = int(np.argmax(np.array(values) > 0))
    return float(stations[i])
