"""report.html: one file without network, with timeline, bird's-eye view and every intervention in words and numbers.

Pictures are collected tick by tick as compact JSON text, in ego's frame; a long recording keeps every picture around
an intervention and thins out the rest, so that the page stays below `PAGE_MAX`. The page is built from the assets
beside this module; everything that comes from a bag is data there, never markup.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Decision, Echo, Floats, Mode, Odometry, Plan, seconds

ASSETS = Path(__file__).resolve().parent / "assets"
PICTURES_MAX = 2_400_000
"""Characters of pictures in a page."""
POINTS_MAX = 3000
"""Points of a curve in the timeline."""
AROUND = 3.0
"""Pictures are kept in full this long [s] before and after an intervention begins."""
PATH_POINTS = 24
TRACKS_MAX = 40
REACH = 250.0
"""Objects farther away than this [m] are not drawn."""


@dataclass(slots=True)
class Pictures:
    """One small picture a tick, and the curves of the timeline."""

    config: Config
    times: list[int] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)

    def add(self, decision: Decision) -> None:
        """Take the decision of one tick."""
        n = len(self.times)
        self.times.append(decision.t)
        self.modes.append(int(decision.mode))
        self.pictures.append(_json(_picture(decision)))
        values = {
            "speed": decision.ego.speed if decision.ego else math.nan,
            "cap": decision.assessment.speed_cap,
            "acceleration": decision.acceleration,
            **{f"margin {rule}": margin for rule, margin in decision.assessment.margins},
        }
        for name, value in values.items():
            curve = self.curves.setdefault(name, [math.nan] * n)
            curve.append(float(value))
        for curve in self.curves.values():
            if len(curve) <= n:
                curve.append(math.nan)


def page(summary: Mapping[str, Any], pictures: Pictures, ghost: Sequence[tuple[int, float, float, float]] = ()) -> str:
    """Return the complete page."""
    data = {
        "summary": {key: value for key, value in summary.items() if key != "config"},
        "config": summary["config"],
        "modes": [mode.name for mode in Mode],
        "runs": _runs(pictures),
        "curves": _curves(pictures),
        "frames": _frames(pictures, [i["start"] for i in summary["interventions"]]),
        "vehicle": {name: getattr(pictures.config.vehicle, name) for name in ("front", "rear", "width")},
        "sensors": [[name, s.kind, s.x, s.y, s.yaw, s.half_angle] for name, s in pictures.config.sensors],
        "ghost": _ghost(pictures, ghost),
    }
    texts = {name: (ASSETS / f"report.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    parts = {
        "title": html.escape(f"{summary['bag']}: replay"),
        "css": texts["css"],
        "js": texts["js"],
        "plotly": _plotly(),
        "data": _embedded(data),
    }
    result = texts["html"]
    for name, text in parts.items():
        head, _, tail = result.partition("{{" + name + "}}")
        result = head + text + tail
    return result


def _embedded(data: Any) -> str:
    """JSON that cannot end the script element it stands in; pictures are JSON text already."""
    frames = data.pop("frames")
    rest = _json(data)[:-1]
    joined = f'{rest},"frames":{{"t":{_json(frames["t"])},"v":[{",".join(frames["v"])}]}}}}'
    return joined.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=1)
def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return "/* plotly is not installed: the page has no timeline */"
    return str(get_plotlyjs())


# --- pictures -------------------------------------------------------------------------------------------------


def _picture(decision: Decision) -> dict[str, Any]:
    """One tick as seen from above, in ego's frame where there is one."""
    ego = decision.ego or Odometry(decision.t, 0.0, 0.0, 0.0, math.nan, math.nan)
    a = decision.assessment
    return {
        "e": [_r(ego.x), _r(ego.y), _r(ego.yaw, 4), _r(ego.speed)],
        "m": int(decision.mode),
        "v": decision.verdict.name,
        "g": _r(a.margin),
        "a": _r(decision.acceleration),
        "c": _r(a.speed_cap),
        "k": a.track,
        "l": a.lead,
        "w": _r(decision.half_width),
        "s": decision.plan_source,
        "p": _line(decision.path, ego),
        "f": _plan_line(decision.fallback, ego),
        "t": _tracks(decision, ego),
        "u": _arcs(decision),
        "r": [[r.code.value, r.text] for r in decision.reasons[:4]],
        "h": [[f.code.value, f"{f.source}: {f.text}"] for f in decision.health.findings[:4]],
    }


def _r(value: float, digits: int = 2) -> float | None:
    value = float(value)
    return round(value, digits) + 0.0 if math.isfinite(value) else None


def _local(xy: Floats, ego: Odometry) -> Floats:
    c, s = math.cos(ego.yaw), math.sin(ego.yaw)
    dx, dy = xy[:, 0] - ego.x, xy[:, 1] - ego.y
    return np.stack([c * dx + s * dy, c * dy - s * dx], axis=1)


def _line(path: Floats, ego: Odometry) -> list[float]:
    """Points of a path in ego's frame, few and flat: x0, y0, x1, y1, ..."""
    path = np.asarray(path, np.float64).reshape(-1, 2)
    path = path[np.isfinite(path).all(axis=1)]
    if len(path) == 0:
        return []
    keep = np.unique(np.linspace(0, len(path) - 1, min(len(path), PATH_POINTS)).round().astype(int))
    return [float(v) for v in (np.round(_local(path[keep], ego), 2) + 0.0).ravel()]


def _plan_line(plan: Plan | None, ego: Odometry) -> list[float]:
    return [] if plan is None else _line(np.stack([plan.x, plan.y], axis=1), ego)


def _tracks(decision: Decision, ego: Odometry) -> list[list[Any]]:
    """[id, x, y, vx, vy (over ground), existence, moved] in ego's axes, the nearest ones, the deciding one always."""
    tracks = decision.tracks
    if not len(tracks):
        return []
    place = _local(tracks.state[:, :2], ego)
    c, s = math.cos(ego.yaw), math.sin(ego.yaw)
    vx, vy = tracks.state[:, 2], tracks.state[:, 3]
    velocity = np.stack([c * vx + s * vy, c * vy - s * vx], axis=1)
    distance = np.hypot(place[:, 0], place[:, 1])
    named = np.isin(tracks.id, [i for i in (decision.assessment.track, decision.assessment.lead) if i is not None])
    named = np.atleast_1d(named)
    usable = np.isfinite(np.concatenate([place, velocity], axis=1)).all(axis=1)
    order = [i for i in np.lexsort((tracks.id, distance, ~named)) if usable[i] and (named[i] or distance[i] < REACH)]
    shown = [(i, (*place[i], *velocity[i])) for i in order[:TRACKS_MAX]]
    return [
        [int(tracks.id[i]), *map(_r, motion), _r(tracks.existence[i], 4), int(tracks.moved[i])] for i, motion in shown
    ]


def _arcs(decision: Decision) -> list[list[Any]]:
    """[name, x, y, yaw, half angle, range, confirmed] of each transducer that says something."""
    return [
        [a.sensor, _r(a.x), _r(a.y), _r(a.yaw, 3), _r(a.half_angle, 3), _r(a.range), a.echo.value, int(a.confirmed)]
        for a in decision.arcs
        if a.echo is not Echo.BLIND
    ]


def _frames(pictures: Pictures, starts: Sequence[int]) -> dict[str, Any]:
    """Pictures that fit the page: all around the beginning of interventions, every n-th elsewhere."""
    times = np.asarray(pictures.times, np.int64)
    if len(times) == 0:
        return {"t": [], "v": []}
    sizes = np.asarray([len(p) + 1 for p in pictures.pictures])
    near = np.zeros(len(times), bool)
    for start in starts:
        inside = np.abs(times - start) <= AROUND * 1e9
        if sizes[near | inside].sum() > PICTURES_MAX / 2:
            break
        near |= inside
    stride = 1
    keep = near | (np.arange(len(times)) % stride == 0)
    while sizes[keep].sum() > PICTURES_MAX and stride < len(times):
        stride += max(1, stride // 8)
        keep = near | (np.arange(len(times)) % stride == 0)
    chosen = np.flatnonzero(keep)
    t = [round(seconds(int(times[i] - times[0])), 3) for i in chosen]
    return {"t": t, "v": [pictures.pictures[i] for i in chosen]}


def _ghost(pictures: Pictures, ghost: Sequence[tuple[int, float, float, float]]) -> list[list[float]]:
    """[s, x, y, yaw] of ego without supervisor, thinned out."""
    if not pictures.times:
        return []
    thinned = ghost[:: max(1, len(ghost) // POINTS_MAX)]
    start = pictures.times[0]
    return [[round(seconds(t - start), 3), round(x, 2), round(y, 2), round(yaw, 4)] for t, x, y, yaw in thinned]


# --- timeline -------------------------------------------------------------------------------------------------


def _runs(pictures: Pictures) -> list[list[float]]:
    """[start s, end s, mode] of each run of equal modes; a run ends where the next begins."""
    runs: list[list[float]] = []
    for t, mode in zip(pictures.times, pictures.modes, strict=True):
        at = round(seconds(t - pictures.times[0]), 3)
        if runs:
            runs[-1][1] = at
        if not runs or runs[-1][2] != mode:
            runs.append([at, at, mode])
    return runs


def _curves(pictures: Pictures) -> dict[str, Any]:
    """Curves of the timeline; of each group of ticks the smallest value stays, which is the one that counts."""
    n = len(pictures.times)
    if n == 0:
        return {"t": [], "values": {}}
    size = max(1, math.ceil(n / POINTS_MAX))
    starts = np.arange(0, n, size)
    t = [round(seconds(pictures.times[i] - pictures.times[0]), 3) for i in starts]
    values = {}
    for name, curve in pictures.curves.items():
        finite = np.where(np.isfinite(curve), curve, np.inf)
        values[name] = [_r(v, 3) for v in np.minimum.reduceat(finite, starts)]
    return {"t": t, "values": {name: v for name, v in values.items() if any(x is not None for x in v)}}
