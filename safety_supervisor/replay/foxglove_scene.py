"""Decisions as Foxglove messages: what `replay --mcap` writes and `view` shows live.

Frames: everything stands in `odom`; the transform to `base_link` is that of ego. Colours follow the mode: green passes,
yellow caps, orange and red stop.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import NANOSECONDS, Arc, Decision, Echo, Floats, Mode, Odometry, Plan, Threat
from safety_supervisor.messages import decision_record
from safety_supervisor.replay.tables import TableError

FIXED, BODY = "odom", "base_link"
TOPICS = {
    "tf": "/tf", "ego": "/supervisor/ego", "tracks": "/supervisor/tracks", "corridor": "/supervisor/corridor",
    "scene": "/supervisor/scene", "decision": "/supervisor/decision", "log": "/supervisor/log",
}  # fmt: skip
HEIGHT = 1.5
"""Height [m] in which bodies are drawn; nothing here measures height."""
LASTS = 3
"""Drawn objects disappear after this many periods without news."""
COLOURS = {
    Mode.INIT: (0.6, 0.6, 0.6), Mode.NOMINAL: (0.2, 0.7, 0.3), Mode.SPEED_CAP: (0.9, 0.8, 0.1),
    Mode.COMFORT_STOP: (1.0, 0.6, 0.1), Mode.FIRM_STOP: (1.0, 0.4, 0.1), Mode.EMERGENCY_STOP: (0.9, 0.1, 0.1),
    Mode.UNABLE: (0.6, 0.0, 0.6), Mode.STANDSTILL: (0.3, 0.3, 0.8),
}  # fmt: skip


def require_foxglove(what: str) -> None:
    """Raise `TableError` in one line when the library is not installed."""
    if importlib.util.find_spec("foxglove") is None:
        raise TableError(
            f"{what} needs the Python package 'foxglove-sdk', which is not installed: "
            "pip install 'safety_supervisor[view]'"
        )


class Channels:
    """The topics of one output; `log` puts one decision on all of them."""

    def __init__(self, context: Any, config: Config) -> None:
        import foxglove
        from foxglove import channels

        self._config, self._context = config, context  # with its context a channel is closed
        made = {
            "tf": channels.FrameTransformChannel, "ego": channels.PoseInFrameChannel, "log": channels.LogChannel,
            "tracks": channels.SceneUpdateChannel, "corridor": channels.SceneUpdateChannel,
            "scene": channels.SceneUpdateChannel,
        }  # fmt: skip
        self._channels: dict[str, Any] = {
            name: kind(TOPICS[name], context=context) for name, kind in made.items()
        }
        schema = {"type": "object", "title": "safety_supervisor.Decision", "additionalProperties": True}
        self._channels["decision"] = foxglove.Channel(
            TOPICS["decision"], schema=schema, message_encoding="json", context=context
        )
        self._said: tuple[Any, ...] = ()

    def log(self, decision: Decision) -> None:
        """Put one decision on every topic, at its own time."""
        scene = Scene(decision, self._config)
        messages = {"decision": decision_record(decision), "tracks": scene.tracks(), "scene": scene.scene()}
        if decision.ego is not None:
            messages |= {"tf": scene.transform(), "ego": scene.pose(), "corridor": scene.corridor()}
        said = (decision.mode, tuple(reason.code for reason in decision.reasons))
        if said != self._said:
            messages["log"], self._said = scene.text(), said
        for name, message in messages.items():
            self._channels[name].log(message, log_time=max(decision.t, 0))


class Scene:
    """One decision as Foxglove messages."""

    def __init__(self, decision: Decision, config: Config) -> None:
        from foxglove import messages

        self._m: Any = messages
        self._d, self._config = decision, config
        t = max(decision.t, 0)
        self._stamp = messages.Timestamp(sec=t // NANOSECONDS, nsec=t % NANOSECONDS)
        lasts = config.timing.period * LASTS
        self._lifetime = messages.Duration(sec=int(lasts), nsec=round(lasts % 1 * NANOSECONDS))

    def transform(self) -> Any:
        """Return where `base_link` is in `odom`."""
        ego = self._ego()
        return self._m.FrameTransform(
            timestamp=self._stamp, parent_frame_id=FIXED, child_frame_id=BODY,
            translation=self._m.Vector3(x=ego.x, y=ego.y, z=0.0), rotation=self._turn(ego.yaw),
        )  # fmt: skip

    def pose(self) -> Any:
        """Return ego's pose."""
        ego = self._ego()
        return self._m.PoseInFrame(timestamp=self._stamp, frame_id=FIXED, pose=self._pose(ego.x, ego.y, ego.yaw))

    def tracks(self) -> Any:
        """Return every track as a disc, as wide as it is uncertain, with an arrow of the way it goes in a second."""
        tracks = self._d.tracks
        threats = {threat.track: threat for threat in self._d.assessment.threats}
        rows = [i for i in range(len(tracks)) if np.isfinite(tracks.state[i]).all()]
        return self._m.SceneUpdate(entities=[self._track(i, threats.get(int(tracks.id[i]))) for i in rows])

    def _track(self, i: int, threat: Threat | None) -> Any:
        tracks = self._d.tracks
        x, y, vx, vy = (float(value) for value in tracks.state[i])
        spread = float(np.sqrt(np.maximum(np.nan_to_num(np.trace(tracks.cov[i, :2, :2]) / 2), 0.0)))
        size = 2 * min(max(spread, 0.5), 10.0)
        colour = self._colour(threat.demand if threat else Mode.INIT, 0.3 + 0.6 * float(tracks.existence[i]))
        speed = math.hypot(vx, vy)
        metadata = {"existence": f"{tracks.existence[i]:.4f}", "hits": str(tracks.hits[i]), "speed": f"{speed:.2f}"}
        label = f"{tracks.id[i]}"
        if threat is not None:
            metadata |= {"gap": f"{threat.gap:.2f}", "margin": f"{threat.margin:.2f}", "rule": threat.code.value}
            label += f"  {threat.margin:.1f} m"
        arrow = self._m.ArrowPrimitive(
            pose=self._pose(x, y, math.atan2(vy, vx), HEIGHT), shaft_length=speed, shaft_diameter=0.2,
            head_length=0.6, head_diameter=0.5, color=colour,
        )  # fmt: skip
        disc = self._m.CylinderPrimitive(
            pose=self._pose(x, y, 0.0, HEIGHT / 2), size=self._m.Vector3(x=size, y=size, z=HEIGHT),
            bottom_scale=1.0, top_scale=1.0, color=colour,
        )  # fmt: skip
        text = self._text(x, y, label)
        return self._entity(
            f"track {tracks.id[i]}", metadata, cylinders=[disc], texts=[text], arrows=[arrow] if speed > 0.5 else []
        )

    def corridor(self) -> Any:
        """Return both edges of the judged corridor, and the path between them."""
        path, half = self._d.path, self._d.half_width
        if len(path) < 2:
            return self._m.SceneUpdate()
        step = np.gradient(path, axis=0)
        normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.maximum(np.hypot(*step.T), 1e-6)[:, None]
        edges = [path + side * half * normal for side in (1.0, -1.0)]
        colour = self._colour(self._d.mode, 0.8)
        lines = [self._line(edge, colour, 0.12) for edge in edges]
        lines.append(self._line(path, self._colour(Mode.INIT, 0.5), 0.06))
        return self._m.SceneUpdate(entities=[self._entity("corridor", {"source": self._d.plan_source}, lines=lines)])

    def scene(self) -> Any:
        """Return ego's body with the mode, what is commanded, the fallback, and the ultrasonic arcs."""
        entities = []
        ego = self._d.ego
        if ego is not None:
            entities.append(self._body(ego))
            plans = (("command", self._d.command, self._d.mode), ("fallback", self._d.fallback, Mode.UNABLE))
            for name, plan, mode in plans:
                if plan is not None and len(plan.x) > 1:
                    line = self._line(np.stack([plan.x, plan.y], axis=1), self._colour(mode, 0.9), 0.2)
                    entities.append(self._entity(name, self._told(plan), lines=[line]))
            seen = [arc for arc in self._d.arcs if arc.echo is not Echo.BLIND]
            entities += [self._arc(arc, ego) for arc in seen]
        return self._m.SceneUpdate(entities=entities)

    def text(self) -> Any:
        """Return mode and reasons as a log line."""
        level = self._m.LogLevel.Error if self._d.mode >= Mode.EMERGENCY_STOP else (
            self._m.LogLevel.Warning if self._d.mode > Mode.NOMINAL else self._m.LogLevel.Info
        )  # fmt: skip
        words = "; ".join(reason.text for reason in self._d.reasons)
        message = f"{self._d.mode.name}: {words}" if words else self._d.mode.name
        return self._m.Log(timestamp=self._stamp, level=level, message=message, name="safety_supervisor")

    def _body(self, ego: Odometry) -> Any:
        vehicle = self._config.vehicle
        middle = (vehicle.front - vehicle.rear) / 2
        x, y = ego.x + middle * math.cos(ego.yaw), ego.y + middle * math.sin(ego.yaw)
        size = self._m.Vector3(x=vehicle.front + vehicle.rear, y=vehicle.width, z=HEIGHT)
        cube = self._m.CubePrimitive(
            pose=self._pose(x, y, ego.yaw, HEIGHT / 2), size=size, color=self._colour(self._d.mode, 0.9)
        )
        words = f"{self._d.mode.name}  {ego.speed:.1f} m/s"
        return self._entity("ego", {"mode": self._d.mode.name}, cubes=[cube], texts=[self._text(x, y, words)])

    def _arc(self, arc: Arc, ego: Odometry) -> Any:
        bearing = ego.yaw + arc.yaw + np.linspace(-arc.half_angle, arc.half_angle, 9)
        cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
        x, y = ego.x + cos * arc.x - sin * arc.y, ego.y + sin * arc.x + cos * arc.y
        reach = arc.range if math.isfinite(arc.range) else 0.0
        points = np.stack([x + reach * np.cos(bearing), y + reach * np.sin(bearing)], axis=1)
        near = arc.echo in (Echo.OBJECT, Echo.TOO_CLOSE)
        colour = self._colour(Mode.COMFORT_STOP if near else Mode.NOMINAL, 0.9 if arc.confirmed else 0.3)
        return self._entity(f"arc {arc.sensor}", {"echo": arc.echo.value}, lines=[self._line(points, colour, 0.06)])

    def _told(self, plan: Plan) -> dict[str, str]:
        return {"speed": f"{plan.speed[0]:.2f} to {plan.speed[-1]:.2f} m/s", "span": f"{plan.time[-1]:.2f} s"}

    def _entity(self, name: str, metadata: dict[str, str], **primitives: Any) -> Any:
        pairs = [self._m.KeyValuePair(key=key, value=value) for key, value in metadata.items()]
        return self._m.SceneEntity(
            timestamp=self._stamp, frame_id=FIXED, id=name, lifetime=self._lifetime, metadata=pairs, **primitives
        )

    def _line(self, points: Floats, colour: Any, thickness: float) -> Any:
        listed = [self._m.Point3(x=float(x), y=float(y), z=0.05) for x, y in points]
        kind = self._m.LinePrimitiveLineType.LineStrip
        pose = self._pose(0.0, 0.0, 0.0)
        return self._m.LinePrimitive(type=kind, pose=pose, thickness=thickness, points=listed, color=colour)

    def _text(self, x: float, y: float, words: str) -> Any:
        white = self._m.Color(r=1.0, g=1.0, b=1.0, a=1.0)
        pose = self._pose(x, y, 0.0, HEIGHT + 0.7)
        return self._m.TextPrimitive(
            pose=pose, billboard=True, font_size=12.0, scale_invariant=True, color=white, text=words
        )

    def _pose(self, x: float, y: float, yaw: float, z: float = 0.0) -> Any:
        return self._m.Pose(position=self._m.Vector3(x=x, y=y, z=z), orientation=self._turn(yaw))

    def _turn(self, yaw: float) -> Any:
        return self._m.Quaternion(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))

    def _colour(self, mode: Mode, opacity: float) -> Any:
        r, g, b = COLOURS[mode]
        return self._m.Color(r=r, g=g, b=b, a=opacity)

    def _ego(self) -> Odometry:
        assert self._d.ego is not None
        return self._d.ego
