"""The rows of a run as a picture: a heat map of the grid with the boundary of what cannot be avoided."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safety_supervisor.core.world import Floats
from safety_supervisor.scenarios.suites.suite import Picture, Row

NOTHING, STOPPED, AVOIDED, LEFT, UNAVOIDABLE, NEW = range(6)
NAMES = (
    "no collision without reaction", "none without reaction, but a stop", "avoided", "left, avoidable by braking",
    "left, unavoidable by braking", "new: caused by acting",
)  # fmt: skip
COLOURS = ("#e9edf2", "#9ecae1", "#4c9f70", "#e08214", "#7f7f7f", "#c51b7d")
DPI = 110


def outcome_of(r: Row) -> int:
    """Return what kind of cell a row is."""
    if r["collision"]:
        if not r["collision_without"]:
            return NEW
        return UNAVOIDABLE if r["collision_bound"] else LEFT
    if r["collision_without"]:
        return AVOIDED
    return STOPPED if r["stops"] else NOTHING


def draw(rows: Sequence[Row], picture: Picture, title: str, path: Path) -> bool:
    """Write a PNG, whole or not at all; False when matplotlib is not installed."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ModuleNotFoundError:
        return False
    matplotlib.use("Agg")
    plt = importlib.import_module("matplotlib.pyplot")
    panels = sorted({_place(r, picture) for r in rows}, key=_order)
    ticks = _ticks(rows, picture.x), _ticks(rows, picture.y)
    across = min(len(panels), 4)
    down = -(-len(panels) // across)
    figure, axes = plt.subplots(down, across, figsize=(4.1 * across, 2.9 * down + 1.2), squeeze=False)
    for axis, value in zip(axes.flat, panels, strict=False):
        _panel(axis, [r for r in rows if _place(r, picture) == value], picture, ticks)
        names = (f"{key} {_text(v)}" for key, v in zip(picture.panel, value, strict=True))
        axis.set_title(", ".join(names), fontsize=9)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=11)
    _legend(figure, plt)
    figure.tight_layout(rect=(0, 0.9 / (2.9 * down + 1.2), 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    try:
        figure.savefig(draft, dpi=DPI, format="png", metadata={"Software": None})
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
        plt.close(figure)
    return True


def _place(r: Row, picture: Picture) -> tuple[Any, ...]:
    return tuple(r[key] for key in picture.panel)


def _order(value: Any) -> tuple[Any, ...]:
    """Sort numbers before texts."""
    return tuple((isinstance(v, str), v) for v in value)


def _panel(axis: Any, rows: Sequence[Row], picture: Picture, ticks: tuple[list[Any], list[Any]]) -> None:
    xs, ys = ticks
    column, line = {v: i for i, v in enumerate(xs)}, {v: i for i, v in enumerate(ys)}
    kind, bound = np.full((len(ys), len(xs)), np.nan), np.zeros((len(ys), len(xs)))
    for r in rows:
        i, j = line[r[picture.y]], column[r[picture.x]]
        rank = outcome_of(r)
        kind[i, j] = rank if np.isnan(kind[i, j]) else max(rank, kind[i, j])  # the worst of the cases of one cell
        bound[i, j] = max(bound[i, j], float(bool(r["collision_bound"]) and bool(r["collision_without"])))
    colours = importlib.import_module("matplotlib.colors").ListedColormap(COLOURS)
    axis.imshow(kind, origin="lower", aspect="auto", cmap=colours, vmin=-0.5, vmax=len(COLOURS) - 0.5,
                interpolation="nearest")  # fmt: skip
    _boundary(axis, bound)
    for values, places, label in ((xs, axis.set_xticks, axis.set_xlabel), (ys, axis.set_yticks, axis.set_ylabel)):
        some = range(0, len(values), max(len(values) // 7, 1))
        places(list(some), [_text(values[i]) for i in some], fontsize=7)
        label(picture.x_label if values is xs else picture.y_label, fontsize=8)


def _boundary(axis: Any, bound: Floats) -> None:
    """Draw the edges between cells that braking from the first instant avoids and those that it does not."""
    for i in range(bound.shape[0]):
        for j in range(bound.shape[1]):
            if bound[i, j] and (j + 1 >= bound.shape[1] or not bound[i, j + 1]):
                axis.plot([j + 0.5] * 2, [i - 0.5, i + 0.5], color="black", lw=1.2)
            if bound[i, j] and (j == 0 or not bound[i, j - 1]):
                axis.plot([j - 0.5] * 2, [i - 0.5, i + 0.5], color="black", lw=1.2)
            if bound[i, j] and (i + 1 >= bound.shape[0] or not bound[i + 1, j]):
                axis.plot([j - 0.5, j + 0.5], [i + 0.5] * 2, color="black", lw=1.2)
            if bound[i, j] and (i == 0 or not bound[i - 1, j]):
                axis.plot([j - 0.5, j + 0.5], [i - 0.5] * 2, color="black", lw=1.2)


def _legend(figure: Any, plt: Any) -> None:
    patches = [plt.Rectangle((0, 0), 1, 1, facecolor=c, edgecolor="#888888") for c in COLOURS]
    line = plt.Line2D([], [], color="black", lw=1.2)
    figure.legend([*patches, line], [*NAMES, "boundary of the physically avoidable"], loc="lower center", ncols=4,
                  fontsize=8, frameon=False)  # fmt: skip


def _ticks(rows: Sequence[Row], key: str) -> list[Any]:
    return [value for value, in sorted({(r[key],) for r in rows}, key=_order)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"
