"""report.html: one file without network, with timeline, bird's-eye view and every intervention in words and numbers.

Pictures are collected tick by tick as compact JSON text, in ego's frame; a long recording keeps every picture around
the beginning of an intervention and thins out the rest, so that the page of an hour stays well below 8 MB. Pictures and
the plotting library are packed (gzip, base64) and unpacked by the browser. The page is built from the assets beside
this module; everything that comes from a bag is data there, never markup.
"""

from __future__ import annotations

import base64
import gzip
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
from safety_supervisor.core.health import severity_of
from safety_supervisor.core.world import (
    Decision,
    Echo,
    Finding,
    Floats,
    Mode,
    Odometry,
    Plan,
    Severity,
    nanoseconds,
    seconds,
)

ASSETS = Path(__file__).resolve().parent / "assets"
PICTURES_MAX = 12_000_000
"""Characters of pictures in a page, before they are packed."""
PACKED_MAX = 3_500_000
"""Letters of the packed pictures: what is hard to pack is thinned out further."""
LISTED_MAX = 2000
LISTED_SIZE = 800_000
"""Interventions and findings in a page: their number, and their size as text each; all are in the summary."""
PHASES_MAX = 8
"""Phases of each intervention in a page, where there are more interventions than a few hundred."""
POINTS_MAX = 3000
"""Points of a curve in the timeline."""
AROUND = 3.0
"""Pictures are kept in full this long [s] before and after an intervention begins."""
PATH_POINTS = 24
TRACKS_MAX = 40
OBJECTS_MAX = 4
RUNS_MAX = 4000
"""Runs of one state that a lane of the timeline shows."""
REACH = 250.0
"""Objects farther away than this [m] are not drawn."""


@dataclass(slots=True)
class Picture:
    """One tick as compact JSON."""

    t: int
    text: str
    number: int = 0
    near: bool = False
    """Close to the beginning of an intervention: always kept."""


@dataclass(slots=True)
class Pictures:
    """Small pictures of ticks, the curves of the timeline, and how each input was."""

    config: Config
    times: list[int] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    kept: list[Picture] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    lanes: dict[str, list[list[int]]] = field(default_factory=dict)
    """Input -> runs of [first tick, last tick, severity], all but those without a finding."""
    _size: int = 0
    stride: int = 1
    """Every which picture is still there."""
    _near_until: int = 0
    _open: dict[str, list[int]] = field(default_factory=dict)

    def add(self, decision: Decision) -> None:
        """Take the decision of one tick."""
        n = len(self.times)
        quiet = decision.mode <= Mode.NOMINAL
        if not quiet and (not n or self.modes[-1] <= Mode.NOMINAL):
            self._intervention(decision.t)
        self.times.append(decision.t)
        self.modes.append(int(decision.mode))
        text = _json(_picture(decision, self._cap(decision)))
        self._keep(Picture(decision.t, text, n, decision.t <= self._near_until))
        values = {
            "speed": decision.ego.speed if decision.ego else math.nan,
            "cap": self._cap(decision),
            "acceleration": decision.acceleration,
            **{f"margin {rule}": margin for rule, margin in decision.assessment.margins},
        }
        for name, value in values.items():
            curve = self.curves.setdefault(name, [math.nan] * n)
            curve.append(float(value))
        for curve in self.curves.values():
            if len(curve) <= n:
                curve.append(math.nan)
        self._inputs(decision)

    def _cap(self, decision: Decision) -> float:
        """Return the speed cap [m/s], NaN when it is no more than the limit of the operational design domain."""
        cap = decision.assessment.speed_cap
        return cap if cap < self.config.odd.speed_max else math.nan

    def _intervention(self, t: int) -> None:
        around = nanoseconds(AROUND)
        if sum(len(p.text) for p in self.kept if p.near) > PICTURES_MAX / 2:
            return
        self._near_until = t + around
        for picture in reversed(self.kept):
            if picture.t < t - around:
                break
            picture.near = True

    def _keep(self, picture: Picture) -> None:
        """Add a picture; when there are far too many, only every n-th of those that are not near stays."""
        self.kept.append(picture)
        self._size += len(picture.text)
        while self._size > 3 * PICTURES_MAX and self.stride < len(self.times) + len(self.kept):
            recent = picture.t - nanoseconds(AROUND)
            self.kept = [p for p in self.kept if p.number % self.stride == 0 or p.near or p.t >= recent]
            self._size = sum(len(p.text) for p in self.kept)
            self.stride *= 2 if self._size > 2 * PICTURES_MAX else 1

    def _inputs(self, decision: Decision) -> None:
        worst: dict[str, int] = {}
        for finding in decision.health.findings:
            level = int(severity_of(finding.code))
            worst[finding.source] = max(worst.get(finding.source, 0), level)
        for source, level in worst.items():
            run = self._open.get(source)
            if run is None or run[2] != level:
                run = self._open[source] = [decision.t, decision.t, level]
                self.lanes.setdefault(source, []).append(run)
            run[1] = decision.t
        self._open = {source: run for source, run in self._open.items() if source in worst}


def page(summary: Mapping[str, Any], pictures: Pictures, ghost: Sequence[tuple[int, float, float, float]] = ()) -> str:
    """Return the complete page."""
    shown = {key: value for key, value in summary.items() if key != "config"}
    for name in ("interventions", "findings"):
        shown[name] = _listed(summary[name])
    data = {
        "summary": shown,
        "left_out": {name: len(summary[name]) - len(shown[name]) for name in ("interventions", "findings")},
        "config": summary["config"],
        "modes": [mode.name for mode in Mode],
        "severities": [severity.name for severity in Severity],
        "runs": _runs(pictures),
        "curves": _curves(pictures),
        "lanes": _lanes(pictures),
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
        "frames": _packed_frames(pictures),
        "data": _embedded(data),
    }
    result = texts["html"]
    for name, text in parts.items():
        head, _, tail = result.partition("{{" + name + "}}")
        result = head + text + tail
    return result


def _listed(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return as many entries as fit the page, the first ones."""
    if len(entries) > LISTED_MAX // 10:
        entries = [{**e, "phases": e["phases"][:PHASES_MAX]} if "phases" in e else e for e in entries[:LISTED_MAX]]
    sizes = np.cumsum([len(_json(e)) for e in entries])
    return list(entries[: int(np.searchsorted(sizes, LISTED_SIZE))])


def _packed_frames(pictures: Pictures) -> str:
    limit = PICTURES_MAX
    packed = _packed(_frames(pictures, limit))
    while len(packed) > PACKED_MAX and limit > 1000:
        limit = int(0.95 * limit * PACKED_MAX / len(packed))
        packed = _packed(_frames(pictures, limit))
    return packed


def _embedded(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return _json(data).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _packed(text: str) -> str:
    """Text as the browser unpacks it; the same text gives the same letters."""
    return base64.b64encode(gzip.compress(text.encode(errors="backslashreplace"), 9, mtime=0)).decode()


@lru_cache(maxsize=1)
def _plotly() -> str:
    """Return the plotting library, packed; empty when it is not installed: the page then has no timeline."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return ""
    return _packed(str(get_plotlyjs()))


# --- pictures -------------------------------------------------------------------------------------------------


def _picture(decision: Decision, cap: float = math.nan) -> dict[str, Any]:
    """One tick as seen from above, in ego's frame where there is one."""
    ego = decision.ego or Odometry(decision.t, 0.0, 0.0, 0.0, math.nan, math.nan)
    a = decision.assessment
    return {
        "e": [_r(ego.x), _r(ego.y), _r(ego.yaw, 4), _r(ego.speed)],
        "m": int(decision.mode),
        "v": decision.verdict.name,
        "g": _r(a.margin),
        "a": _r(decision.acceleration),
        "c": _r(cap),
        "k": a.track,
        "l": a.lead,
        "w": _r(decision.half_width),
        "s": decision.plan_source,
        "p": _line(decision.path, ego),
        "f": _plan_line(decision.fallback, ego),
        "t": _tracks(decision, ego),
        "o": _objects(decision),
        "u": _arcs(decision),
        "r": [[r.code.value, r.text] for r in decision.reasons[:4]],
        "h": [[f.code.value, _finding(f)] for f in decision.health.findings[:4]],
    }


def _finding(finding: Finding) -> str:
    return finding.text if finding.source in finding.text else f"{finding.source}: {finding.text}"


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
    """Rows in ego's axes, the nearest tracks, the deciding one always.

    [id, x, y, vx, vy (over ground), existence, moved, half axes of the ellipse of 2 sd and its angle, suspect]
    """
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
    usable = np.isfinite(np.concatenate([place, velocity, tracks.cov[:, :2, :2].reshape(-1, 4)], axis=1)).all(axis=1)
    order = [i for i in np.lexsort((tracks.id, distance, ~named)) if usable[i] and (named[i] or distance[i] < REACH)]
    order = order[:TRACKS_MAX]
    ellipses = _ellipses(tracks.cov[order, :2, :2], ego.yaw)
    rows = []
    for i, ellipse in zip(order, ellipses, strict=True):
        rows.append([
            int(tracks.id[i]), *map(_r, (*place[i], *velocity[i])), _r(tracks.existence[i], 4), int(tracks.moved[i]),
            *ellipse, int(tracks.suspect[i]),
        ])  # fmt: skip
    return rows


def _ellipses(cov: Floats, yaw: float) -> list[list[float | None]]:
    """Half axes [m] of the ellipse of 2 sd, and the angle [rad] of the longer one in ego's axes."""
    if not len(cov):
        return []
    values, vectors = np.linalg.eigh((cov + np.swapaxes(cov, 1, 2)) / 2)
    half = 2 * np.sqrt(np.maximum(values, 0.0))
    angle = np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]) - (yaw if math.isfinite(yaw) else 0.0)
    angle = (angle + np.pi / 2) % np.pi - np.pi / 2
    return [[_r(long, 2), _r(short, 2), _r(a, 2)] for (short, long), a in zip(half, angle, strict=True)]


def _objects(decision: Decision) -> list[list[Any]]:
    """[name, gap, closing speed, margin, demand] of the objects in the corridor that matter most."""
    ordered = sorted(decision.assessment.threats, key=lambda t: (-t.demand, t.margin if t.margin == t.margin else -1e9))
    return [
        [f"track {t.track}" if t.track is not None else t.source, _r(t.gap, 1), _r(t.closing_speed, 1), _r(t.margin, 1),
         int(t.demand)] for t in ordered[:OBJECTS_MAX]
    ]  # fmt: skip


def _arcs(decision: Decision) -> list[list[Any]]:
    """[name, x, y, yaw, half angle, range, confirmed] of each transducer that says something."""
    return [
        [a.sensor, _r(a.x), _r(a.y), _r(a.yaw, 3), _r(a.half_angle, 3), _r(a.range), a.echo.value, int(a.confirmed)]
        for a in decision.arcs
        if a.echo is not Echo.BLIND
    ]


def _frames(pictures: Pictures, limit: int) -> str:
    """JSON of the pictures that fit the page: those around the beginning of interventions, every n-th elsewhere."""
    kept = pictures.kept
    if not kept:
        return '{"t":[],"v":[]}'
    sizes = np.asarray([len(p.text) + 1 for p in kept])
    number = np.asarray([p.number for p in kept])
    near = np.asarray([p.near for p in kept])
    near &= np.cumsum(np.where(near, sizes, 0)) <= limit / 2  # the first interventions in full
    stride = pictures.stride  # where some are gone already, only its multiples are there to choose from
    chosen = near | (number % stride == 0)
    while sizes[chosen].sum() > limit and stride < number[-1]:
        stride += max(pictures.stride, stride // 8 // pictures.stride * pictures.stride)
        chosen = near | (number % stride == 0)
    chosen[-1] = True
    start = pictures.times[0]
    t = [round(seconds(kept[i].t - start), 3) for i in np.flatnonzero(chosen)]
    return f'{{"t":{_json(t)},"v":[{",".join(kept[i].text for i in np.flatnonzero(chosen))}]}}'


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
    return runs if len(runs) <= RUNS_MAX else _thinned(runs)


def _thinned(runs: list[list[float]]) -> list[list[float]]:
    """Keep the strongest mode of each group of runs: what matters stays visible."""
    size = math.ceil(len(runs) / RUNS_MAX)
    groups = [runs[i : i + size] for i in range(0, len(runs), size)]
    return [[g[0][0], g[-1][1], max(mode for _, _, mode in g)] for g in groups]


def _lanes(pictures: Pictures) -> list[dict[str, Any]]:
    """Lanes of the inputs: name, kind, and runs of [start s, end s, severity] in which something was wrong."""
    start = pictures.times[0] if pictures.times else 0
    period = pictures.config.timing.period
    kinds = {"odometry": "odometry", **({"plan": "plan"} if pictures.config.inputs.plan_expected else {})}
    kinds |= {name: sensor.kind for name, sensor in pictures.config.sensors}
    kinds |= {name: "" for name in pictures.lanes if name not in kinds}
    most = max(50, 5 * RUNS_MAX // len(kinds))
    return [
        {"name": name, "kind": kind,
         "runs": [[round(seconds(a - start), 3), round(seconds(b - start) + period, 3), level]
                  for a, b, level in pictures.lanes.get(name, [])[:most]]}
        for name, kind in kinds.items()
    ]  # fmt: skip


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
