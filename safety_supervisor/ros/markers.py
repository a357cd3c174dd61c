"""Decision -> RViz markers: tracks with covariance and velocity, corridor, arcs, fallback, mode in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from safety_supervisor.core.world import Arc, Decision, Echo, Mode
from safety_supervisor.ros.outputs import Frames, quaternion, stamp

LIFETIME = Duration(sec=0, nanosec=500_000_000)
SIGMAS = 3.0
"""Half axes of the drawn ellipses, in standard deviations."""

Color = tuple[float, ...]
GREY = (0.6, 0.6, 0.6, 0.8)
GREEN = (0.1, 0.8, 0.2, 0.8)
BLUE = (0.2, 0.5, 1.0, 0.8)
YELLOW = (1.0, 0.85, 0.1, 0.9)
ORANGE = (1.0, 0.5, 0.0, 0.9)
RED = (1.0, 0.1, 0.1, 0.9)
COLORS = {
    Mode.INIT: GREY,
    Mode.NOMINAL: GREEN,
    Mode.SPEED_CAP: YELLOW,
    Mode.COMFORT_STOP: YELLOW,
    Mode.FIRM_STOP: ORANGE,
    Mode.EMERGENCY_STOP: RED,
    Mode.UNABLE: RED,
    Mode.STANDSTILL: BLUE,
}


def markers(decision: Decision, frames: Frames) -> MarkerArray:
    """Return all markers of a decision; each one fades by itself when no new one comes."""
    made = [*_corridor(decision, frames), *_fallback(decision, frames), *_tracks(decision, frames)]
    made += [*_arcs(decision, frames), _words(decision, frames)]
    return MarkerArray(markers=made)


def _marker(kind: int, space: str, number: int, decision: Decision, frame: str, color: Color) -> Marker:
    header = Header(stamp=stamp(decision.t), frame_id=frame)
    made = Marker(header=header, ns=space, id=number % 2**31, type=kind)
    made.action = Marker.ADD
    made.lifetime = LIFETIME
    made.color = ColorRGBA(r=color[0], g=color[1], b=color[2], a=color[3])
    made.pose.orientation.w = 1.0
    return made


def _points(xy: Any, z: float = 0.05) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y in np.asarray(xy, float).tolist()]


def _line(space: str, number: int, decision: Decision, frame: str, xy: Any, color: Color) -> Marker:
    made = _marker(Marker.LINE_STRIP, space, number, decision, frame, color)
    made.scale = Vector3(x=0.1, y=0.0, z=0.0)
    made.points = _points(xy)
    return made


def _corridor(decision: Decision, frames: Frames) -> Iterator[Marker]:
    """The judged path, and its two edges at the half-width that holds at ego."""
    path = decision.path
    if len(path) < 2:
        return
    color = COLORS[decision.mode]
    yield _line("path", 0, decision, frames.odom, path, color)
    if not math.isfinite(decision.half_width):
        return
    heading = np.arctan2(np.gradient(path[:, 1]), np.gradient(path[:, 0]))
    normal = np.column_stack([-np.sin(heading), np.cos(heading)]) * decision.half_width
    yield _line("corridor", 0, decision, frames.odom, path + normal, color)
    yield _line("corridor", 1, decision, frames.odom, path - normal, color)


def _fallback(decision: Decision, frames: Frames) -> Iterator[Marker]:
    plan = decision.fallback
    if plan is None or len(plan.x) < 2:
        return
    yield _line("fallback", 0, decision, frames.odom, np.column_stack([plan.x, plan.y]), ORANGE)
    margin = decision.assessment.margin
    if math.isfinite(margin):  # from where the fallback ends on, or back from there when it is too long
        end, yaw = np.array([plan.x[-1], plan.y[-1]]), float(plan.yaw[-1])
        ahead = end + margin * np.array([math.cos(yaw), math.sin(yaw)])
        color = GREEN if margin >= 0.0 else RED
        yield _line("margin", 0, decision, frames.odom, np.stack([end, ahead]), color)


def _tracks(decision: Decision, frames: Frames) -> Iterator[Marker]:
    tracks = decision.tracks
    hot = {threat.track for threat in decision.assessment.threats if threat.demand > Mode.NOMINAL}
    for row in range(len(tracks)):
        number = int(tracks.id[row])
        color = RED if number in hot else BLUE if tracks.moved[row] else GREY
        faded = (*color[:3], 0.2 + 0.6 * float(tracks.existence[row]))
        x, y, vx, vy = tracks.state[row].tolist()
        yield _ellipse(number, decision, frames, x, y, tracks.cov[row, :2, :2], faded)
        arrow = _marker(Marker.ARROW, "velocity", number, decision, frames.odom, faded)
        arrow.points = [Point(x=x, y=y, z=0.2), Point(x=x + vx, y=y + vy, z=0.2)]
        arrow.scale = Vector3(x=0.1, y=0.25, z=0.3)
        yield arrow


def _ellipse(number: int, decision: Decision, frames: Frames, x: float, y: float, cov: Any, color: Color) -> Marker:
    made = _marker(Marker.CYLINDER, "tracks", number, decision, frames.odom, color)
    variance, axes = np.linalg.eigh(cov)
    sizes = (2 * SIGMAS * np.sqrt(np.clip(variance, 1e-4, 1e4))).tolist()
    made.pose = Pose(position=Point(x=x, y=y, z=0.1))
    made.pose.orientation = quaternion(math.atan2(axes[1, 0], axes[0, 0]))
    made.scale = Vector3(x=sizes[0], y=sizes[1], z=0.1)
    return made


def _arcs(decision: Decision, frames: Frames) -> Iterator[Marker]:
    for number, arc in enumerate(decision.arcs):
        if arc.echo is not Echo.BLIND and math.isfinite(arc.range):
            color = RED if arc.echo in (Echo.OBJECT, Echo.TOO_CLOSE) else GREEN
            yield _line("arcs", number, decision, frames.base, _sector(arc), color)


def _sector(arc: Arc) -> Any:
    angle = arc.yaw + np.linspace(-arc.half_angle, arc.half_angle, 13)
    return np.column_stack([arc.x + arc.range * np.cos(angle), arc.y + arc.range * np.sin(angle)])


def _words(decision: Decision, frames: Frames) -> Marker:
    made = _marker(Marker.TEXT_VIEW_FACING, "mode", 0, decision, frames.base, COLORS[decision.mode])
    made.pose.position.z = 2.5
    made.scale.z = 0.8
    reason = f"\n{decision.reasons[0].code.value}" if decision.reasons else ""
    made.text = f"{decision.mode.name}  {decision.assessment.margin:.1f} m{reason}"
    return made
