"""The trade-off curve as a picture: how often each parameter set disturbs against how early it acts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safety_supervisor.fleet.errors import FleetError, require

FORMS = (".png", ".svg", ".pdf")
NAMED_MAX = 24
"""More parameter sets than this are drawn without their names."""
SPAN_MIN = 0.1
"""Smaller differences than this are not blown up over the whole height."""
SIDES = (
    ("answered_share", "incidents answered by a stop [share]"),
    ("margin_when_needed_m", "smallest margin of needed stops, median [m]"),
    ("margin_median_m", "smallest margin of a recording, median [m]"),
)
"""What stands on the vertical axis: the first of these that varies between the sets, else the first that is known."""


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the picture. Raises `FleetError` when there is nothing to draw or no such form."""
    if path.suffix.lower() not in FORMS:
        raise FleetError(f"--picture {path}: expected a name that ends in {', '.join(FORMS)}")
    require("--picture", "matplotlib")
    side, label = _side(rows)
    points = [(row["at_most_per_hour"], row[side], row["parameters"]) for row in rows if row[side] is not None]
    points = sorted(point for point in points if point[0] is not None)
    if not points:
        raise FleetError("there is nothing to draw: no parameter set has both a rate and a margin")
    _plot(points, label, path)


def _side(rows: Sequence[dict[str, Any]]) -> tuple[str, str]:
    known = [(side, {row[side] for row in rows if row[side] is not None}) for side, _ in SIDES]
    varying = [side for side, values in known if len(values) > 1] or [side for side, values in known if values]
    side = (varying or [SIDES[-1][0]])[0]
    return side, dict(SIDES)[side]


def front(points: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Return the sets that no other beats in both, by rising disturbance: the fewer the better, and the more above."""
    best: list[tuple[float, float, str]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1], p[2])):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best


def _named(points: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Return each place once, with the names of all sets that stand there."""
    names: dict[tuple[float, float], list[str]] = {}
    for x, y, name in points:
        names.setdefault((round(x, 3), round(y, 3)), []).append(name)
    return [(x, y, "\n".join(there)) for (x, y), there in names.items()]


def _plot(points: Sequence[tuple[float, float, str]], label: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    best = front(points)
    x, y = [p[0] for p in best], [p[1] for p in best]
    axes.step(x, y, where="post", color="tab:blue", alpha=0.6, label="no set is better in both")
    axes.scatter([p[0] for p in points], [p[1] for p in points], color="tab:blue", zorder=3)
    for right, up, name in _named(points if len(points) <= NAMED_MAX else best):
        axes.annotate(name, (right, up), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.set_xlabel("stops for objects that are not known to be needed [1/h]")
    axes.set_ylabel(label)
    axes.set_title("Trade-off between disturbance and protection")
    axes.set_xlim(left=0, right=max(1.15 * max(p[0] for p in points), 1.0))
    low, high = axes.get_ylim()
    if high - low < SPAN_MIN:
        axes.set_ylim((low + high - SPAN_MIN) / 2, (low + high + SPAN_MIN) / 2)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
    figure.savefig(path, dpi=150, metadata=metadata)
