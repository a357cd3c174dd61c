"""The UN R157 grids: cut-in at low and high speed, cut-out, and a lead that brakes.

The definition is the published one of the JRC-FSM tool (Mattas et al., "Driver models for the definition of safety
requirements of automated vehicles in international regulations", Accident Analysis and Prevention 174, 2022): speeds,
gaps and lateral speeds on a grid, 10 Hz, bodies of 4.3 x 1.9 m, the cut-in car 1.6 m beside ego's body when it has
reached its lateral speed (at 1.5 m/s^2). As there, positions follow speeds by one sum a step; the standing car of the
cut-out is 5 m long. Ego on the x axis at y = 0, `base_link` at the centre of its body.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.world import Bools, Floats
from safety_supervisor.scenarios.suites.case import Body, Case
from safety_supervisor.scenarios.world import Kind

FREQUENCY = 10
STEPS = 350
"""Steps of a run after the cut-in car has reached its lateral speed."""
LENGTH, WIDTH = 4.3, 1.9
LATERAL_GAP, LATERAL_ACCELERATION = 1.6, 1.5
STANDING_LENGTH = 5.0
FOLLOWING_TIME = 2.0
"""Distance of the lead at the start, by ego's speed [s]: that of the competent and careful human driver."""
KPH = 3.6
BRAKE = 0.774 * 9.81
"""Deceleration of every published model [m/s^2]."""
JERK = 12.65
"""[m/s^3]"""
CAR = Kind("car", LENGTH, WIDTH, 140.0)
STANDING_CAR = Kind("standing car", STANDING_LENGTH, WIDTH, 140.0)

GRIDS = ("r157-cut-in-low", "r157-cut-in-high", "r157-cut-out", "r157-decel")


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid as a table: one column per parameter, N rows; a case's id is its row."""

    name: str
    columns: dict[str, Floats]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def grid(name: str) -> Grid:
    """Return the table of one of `GRIDS`."""
    if name == "r157-cut-in-low":
        return _cut_in_grid(name, range(10, 61, 10), 10, np.arange(1.0, 60.0, 1.0))
    if name == "r157-cut-in-high":
        return _cut_in_grid(name, range(70, 131, 20), 30, np.arange(1.0, 120.0, 2.0))
    if name == "r157-cut-out":
        axes = (np.arange(10.0, 132.0, 10.0), np.arange(2.0, 152.0, 5.0), np.arange(0.1, 3.1, 0.2)[:15])
        return Grid(name, _product(("ego_kph", "front_m", "lateral_mps"), axes))
    brakes, speeds = np.arange(0.05, 1.0, 0.05), np.arange(12.0, 130.0, 2.0)
    return Grid(name, _product(("lead_brake_g", "ego_kph"), (brakes, speeds)))


def _product(names: tuple[str, ...], axes: tuple[Floats, ...]) -> dict[str, Floats]:
    return {n: a.reshape(-1) for n, a in zip(names, np.meshgrid(*axes, indexing="ij"), strict=True)}


def _cut_in_grid(name: str, egos: range, step: int, gaps: Floats) -> Grid:
    parts = []
    for ego in egos:
        others = np.arange(10.0, ego, step)
        axes = (np.array([float(ego)]), others, gaps, np.arange(0.0, 1.8, 0.1))
        parts.append(_product(("ego_kph", "other_kph", "gap_m", "lateral_mps"), axes))
    return Grid(name, {key: np.concatenate([p[key] for p in parts]) for key in parts[0]})


# --- what moves -----------------------------------------------------------------------------------------------


def case(table: Grid, row: int) -> Case:
    """Return one case of a grid, ego's centre at the origin when it begins."""
    one = _placed(table, row)
    shifted = [replace(b, motion=b.motion - np.array([one.start, 0.0, 0.0, 0.0, 0.0])) for b in one.bodies]
    return replace(one, bodies=tuple(shifted), start=0.0)


def _placed(table: Grid, row: int) -> Case:
    p = {key: float(values[row]) for key, values in table.columns.items()}
    if table.name.startswith("r157-cut-in"):
        return _cut_in(row, p)
    if table.name == "r157-cut-out":
        return _cut_out(row, p)
    return _braking_lead(row, p)


def _body(name: str, kind: Kind, x: Floats, y: Floats, vx: Floats, vy: Floats) -> Body:
    return Body(name, kind, np.stack([x, y, np.zeros_like(x), vx, vy], axis=1))


def _cut_in(row: int, p: dict[str, float]) -> Case:
    ego, other, lateral = p["ego_kph"] / KPH, p["other_kph"] / KPH, -p["lateral_mps"]
    ramp = np.arange(0.0, lateral, -LATERAL_ACCELERATION / FREQUENCY)
    n, x0, y0 = len(ramp), p["gap_m"] + LENGTH, LATERAL_GAP + WIDTH
    steps = int(abs(FREQUENCY * y0) // abs(lateral) + 1) if lateral else STEPS
    across = np.array([lateral] * steps + [0.0] * (STEPS - steps))[:STEPS]
    y = np.concatenate([np.cumsum(-ramp[::-1] / FREQUENCY)[::-1] + y0, [y0], across.cumsum() / FREQUENCY + y0])
    x = np.concatenate([np.cumsum(np.full(n, -other) / FREQUENCY)[::-1] + x0, [x0],
                        np.full(STEPS, other).cumsum() / FREQUENCY + x0])  # fmt: skip
    vy = np.concatenate([ramp, [lateral], across])
    start = float(np.cumsum(np.full(n, -ego) / FREQUENCY)[-1]) if n else 0.0
    body = _body("cutting in", CAR, x, y, np.full(len(x), other), vy)
    return Case(row, p, (body,), ego, 1 / FREQUENCY, STEPS + n, start=start)


def _cut_out(row: int, p: dict[str, float]) -> Case:
    speed, lateral = p["ego_kph"] / KPH, -p["lateral_mps"]
    x0 = FOLLOWING_TIME * speed + LENGTH
    steps = int(FREQUENCY * 4 // abs(lateral) + 1)
    vy = np.array([lateral] * steps + [0.0] * (STEPS - steps))[:STEPS]
    x, y = np.full(STEPS, speed).cumsum() / FREQUENCY + x0, vy.cumsum() / FREQUENCY
    vx = np.full(STEPS, speed)
    stands = x0 + p["front_m"] + LENGTH
    # A lead that does not get past the standing car stops dead where it touches it.
    touch = (np.abs(y) - WIDTH < 0) & (np.abs(stands - x) - (STANDING_LENGTH + LENGTH) / 2 < 0)
    if touch.any():
        i = int(np.argmax(touch))
        x[i:], y[i:], vx[i:], vy[i:] = x[i], y[i], 0.0, 0.0
    zero = np.zeros(STEPS)
    lead = _body("lead", CAR, x, y, vx, vy)
    standing = _body("standing", STANDING_CAR, np.full(STEPS, stands), zero, zero, zero)
    return Case(row, p, (lead, standing), speed, 1 / FREQUENCY, STEPS - 1, start=speed / FREQUENCY)


def _braking_lead(row: int, p: dict[str, float]) -> Case:
    speed = p["ego_kph"] / KPH
    vx = np.maximum(speed - np.arange(STEPS) * (p["lead_brake_g"] * 9.81) / FREQUENCY, 0.0)
    zero = np.zeros(STEPS)
    lead = _body("lead", CAR, vx.cumsum() / FREQUENCY + FOLLOWING_TIME * speed + LENGTH, zero, vx, zero)
    return Case(row, p, (lead,), speed, 1 / FREQUENCY, STEPS - 1, start=speed / FREQUENCY)


# --- the same loop for a whole grid at once, for the references ---------------------------------------------------


def stacked(cases: list[Case]) -> tuple[Floats, Floats]:
    """Return motion (N, T, B, 5) and size (N, B, 2) of the bodies of many cases; short ones stay where they end."""
    longest = max(c.steps for c in cases) + 1
    motion = np.empty((len(cases), longest, len(cases[0].bodies), 5))
    size = np.empty((len(cases), len(cases[0].bodies), 2))
    for i, one in enumerate(cases):
        for j, body in enumerate(one.bodies):
            n = min(len(body.motion), longest)
            motion[i, :n, j], motion[i, n:, j] = body.motion[:n], body.motion[n - 1]
            size[i, j] = body.kind.length, body.kind.width
    return motion, size


@dataclass(frozen=True, slots=True)
class Reference:
    """What comes of each case with a fixed reaction."""

    collision: Bools
    impact: Floats
    """(N,) speed relative to what is hit [m/s], 0 without collision."""


def reference(cases: list[Case], begin: float, brake: float = BRAKE, jerk: float = JERK) -> Reference:
    """Run every case with a braking that begins `begin` [s] after the start; inf is no reaction."""
    motion, size = stacked(cases)
    dt = 1 / FREQUENCY
    x, v = np.array([c.start for c in cases]), np.array([c.speed for c in cases])
    last = np.array([c.steps for c in cases])
    a, hit, impact = np.zeros(len(cases)), np.zeros(len(cases), np.bool_), np.zeros(len(cases))
    for i in range(motion.shape[1] - 1):
        now = motion[:, i]
        touch = touching(x, np.zeros_like(x), now, size) & (i < last)[:, None]
        fresh = touch.any(axis=1) & ~hit
        which = np.argmax(touch, axis=1)
        relative = np.hypot(v - now[np.arange(len(x)), which, 3], now[np.arange(len(x)), which, 4])
        impact = np.where(fresh, relative, impact)
        hit |= fresh
        if i * dt >= begin:
            a = np.minimum(a + jerk * dt, brake)
        v = np.maximum(v - a * dt, 0.0)
        x = x + v * dt
    return Reference(hit, impact)


def touching(x: Floats, y: Floats, bodies: Floats, size: Floats) -> Bools:
    """Tell which bodies (N, B, 5) of size (N, B, 2) ego at x, y (N,) touches; all of them along the axes."""
    long = np.abs(x[:, None] - bodies[..., 0]) - LENGTH / 2 - size[..., 0] / 2
    wide = np.abs(y[:, None] - bodies[..., 1]) - WIDTH / 2 - size[..., 1] / 2
    return np.asarray((long < 0) & (wide < 0))
