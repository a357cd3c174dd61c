"""Transducers in a row: what overlapping cones and ego's motion narrow, walls, stuck and covered ones, real echoes."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from safety_supervisor.core.config import from_mapping
from safety_supervisor.core.geometry import arc_points
from safety_supervisor.core.tracking import EgoHistory, UltrasonicState, track_ultrasonics
from safety_supervisor.core.tracking.ultrasonic import doubts
from safety_supervisor.core.world import Code, Echo, Odometry, RangeReading, nanoseconds

PING = nanoseconds(0.1)
ROW = {"left": 0.6, "middle": 0.0, "right": -0.6}
CONFIG = from_mapping({"sensors": {
    name: {"kind": "ultrasonic", "topic": name, "x": 3.7, "y": y, "half_angle": 0.6, "range_min": 0.2, "range_max": 5.0}
    for name, y in ROW.items()
}})  # fmt: skip
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "uci_ultrasonic24" / "sensor_readings_24.data"


def nearest(mount, bodies, walls, yaw=0.0):
    """Return the range of the nearest echo of points and of walls (point, normal); walls mirror, points scatter."""
    ranges = [math.inf]
    for x, y in bodies:
        off = math.atan2(y - mount[1], x - mount[0]) - yaw
        if abs(off) < 0.6:
            ranges.append(math.hypot(x - mount[0], y - mount[1]))
    for (px, py), (nx, ny) in walls:
        distance = (px - mount[0]) * nx + (py - mount[1]) * ny
        if distance > 0 and abs(math.atan2(ny, nx) - yaw) < 0.6:
            ranges.append(distance)
    return min(ranges)


def arcs_of(bodies=(), walls=(), pings=12, speed=0.0, seed=0, deaf=()):
    """Drive along x and return the arcs by name at the end, with ego's pose then."""
    rng, state, history = np.random.default_rng(seed), UltrasonicState.empty(), EgoHistory()
    for k in range(pings):
        t, x = k * PING, speed * k * 0.1
        history = history.updated([Odometry(t, x, 0.0, 0.0, speed, 0.0)])
        readings = []
        for name, y in ROW.items():
            distance = nearest((x + 3.7, y), bodies, walls) + rng.normal(0, 0.01)
            readings.append(RangeReading(name, t, math.inf if name in deaf or distance > 5 else distance, 0.2, 5.0))
        state = track_ultrasonics(state, tuple(readings), history, t, CONFIG)
    return {a.sensor: a for a in state.arcs}, history.at((pings - 1) * PING), state


def width(arc):
    return min(arc.high, arc.half_angle) - max(arc.low, -arc.half_angle)


def holds(arc, ego, body):
    """Whether a body lies between the bearings that are left."""
    off = math.atan2(body[1] - ego.y - arc.y, body[0] - ego.x - arc.x) - arc.yaw
    return arc.low <= off <= arc.high


@pytest.mark.parametrize("body", [(5.7, 0.3), (5.2, -0.4), (6.2, 0.0), (5.6, -0.5), (6.7, -0.8)])
def test_overlapping_cones_narrow_the_bearing_and_keep_the_body(body):
    arcs, ego, _ = arcs_of([body])
    hearing = [a for a in arcs.values() if a.echo is Echo.OBJECT]
    assert min(width(a) for a in hearing) < 0.85 * 1.2
    for a in hearing:
        assert holds(a, ego, body)
        assert a.range == pytest.approx(math.hypot(body[0] - 3.7, body[1] - a.y), abs=0.05)  # ranges are untouched


def test_control_a_single_transducer_narrows_nothing():
    arcs, _, _ = arcs_of([(5.7, 0.3)], deaf=("left", "right"))
    assert width(arcs["middle"]) == pytest.approx(1.2)  # silence of the others is not free space


@pytest.mark.parametrize("seed", range(4))
def test_two_bodies_are_both_kept(seed):
    rng = np.random.default_rng(seed)
    bodies = [(3.7 + rng.uniform(0.8, 2.5), rng.uniform(-1, 1)) for _ in range(2)]
    arcs, ego, _ = arcs_of(bodies, seed=seed)
    for a in arcs.values():
        if a.echo is Echo.OBJECT:
            own = min(bodies, key=lambda b: math.hypot(b[0] - 3.7, b[1] - a.y) if abs(
                math.atan2(b[1] - a.y, b[0] - 3.7)) < 0.6 else math.inf)  # fmt: skip
            assert holds(a, ego, own)


@pytest.mark.parametrize("tilt", [-0.4, -0.2, 0.0, 0.2, 0.4])
def test_a_wall_is_kept_at_the_foot_of_every_perpendicular(tilt):
    """Walls are specular: each transducer hears its own foot, and no two hear the same point."""
    normal = (math.cos(tilt), math.sin(tilt))
    arcs, _, _ = arcs_of(walls=[((5.7, 0.0), normal)])
    for a in arcs.values():
        assert a.echo is Echo.OBJECT
        assert a.low <= tilt <= a.high


def test_ego_motion_narrows_what_its_own_neighbour_heard_before():
    body = (7.2, 0.6)
    standing, _, _ = arcs_of([body], pings=8)
    moving, ego, _ = arcs_of([body], pings=16, speed=1.0)
    assert holds(moving["middle"], ego, body)
    assert width(moving["middle"]) <= width(standing["middle"]) + 0.05


def test_points_of_a_narrowed_arc_stay_within_its_bearings():
    arcs, ego, _ = arcs_of([(5.7, 0.3)])
    a = min(arcs.values(), key=width)
    points = arc_points(a, ego, a.range)
    off = np.arctan2(points[:, 1] - a.y, points[:, 0] - a.x)
    assert off.min() >= a.low - 1e-9
    assert off.max() <= a.high + 1e-9
    assert np.allclose(np.hypot(points[:, 0] - a.x, points[:, 1] - a.y), a.range)


# --- stuck, covered, blind zone -------------------------------------------------------------------------------------


def found(values, speed):
    state, history = UltrasonicState.empty(), EgoHistory()
    for k, value in enumerate(values):
        history = history.updated([Odometry(k * PING, speed * k * 0.1, 0.0, 0.0, speed, 0.0)])
        reading = RangeReading("middle", k * PING, value, 0.2, 5.0)
        state = track_ultrasonics(state, (reading,), history, k * PING, CONFIG)
    return [(f.code, f.source) for f in doubts(state, CONFIG)], state.arcs[1]


def test_a_value_that_stays_while_ego_drives_on_is_stuck():
    assert found([1.234] * 40, 1.0)[0] == [(Code.ULTRASONIC_STUCK, "middle")]
    assert found([1.234] * 40, 0.0)[0] == []  # control: ego stands
    assert found([1.234 + 0.001 * (k % 2) for k in range(40)], 1.0)[0] == []  # control: it lives
    assert found([math.inf] * 40, 1.0)[0] == []  # control: nothing to hear


def test_too_close_all_the_way_is_covered():
    assert found([0.0] * 30, 1.0)[0] == [(Code.ULTRASONIC_BLOCKED, "middle")]
    assert found([0.0] * 30, 0.0)[0] == []
    assert found([0.0] * 8, 1.0)[0] == []


def test_what_enters_the_blind_zone_has_not_gone():
    """Closer than the smallest range some transducers say nothing at all."""
    approach = [0.6 - 0.05 * k for k in range(8)]
    _, arc = found([*approach, *[math.inf] * 10], 0.5)
    assert (arc.echo, arc.range, arc.confirmed) == (Echo.TOO_CLOSE, 0.0, True)
    _, later = found([*approach, *[math.inf] * 40], 0.5)
    assert later.echo is Echo.CLEAR
    _, far = found([*[1.5 - 0.05 * k for k in range(8)], *[math.inf] * 10], 0.5)
    assert far.echo is Echo.CLEAR  # control: out in the open it has gone


# --- real echoes ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.exists(), reason="no real recordings here")
def test_jumps_of_a_real_ring_are_held_and_what_repeats_is_followed():
    """A real robot with 24 transducers: 14 % of the pings without echo, 6 % jump by more than a metre."""
    rows = [r for r in csv.reader(REAL.open()) if len(r) == 25 and r[0].replace(".", "").isdigit()]
    z = np.array([[float(v) for v in r[:24]] for r in rows[:900]])
    names = [f"s{i}" for i in range(0, 24, 6)]
    conf = from_mapping({"sensors": {
        n: {"kind": "ultrasonic", "topic": n, "half_angle": 0.13, "range_min": 0.2, "range_max": 5.0} for n in names
    }})  # fmt: skip
    period = nanoseconds(1 / 9)
    state, history = UltrasonicState.empty(), EgoHistory((Odometry(0, 0.0, 0.0, 0.0, 0.0, math.nan),))
    raw_jumps = kept_jumps = outward = 0
    before = None
    for k, row in enumerate(z):
        readings = tuple(RangeReading(n, k * period, row[6 * i], 0.2, 5.0) for i, n in enumerate(names))
        state = track_ultrasonics(state, readings, history, k * period, conf)
        if before is not None:
            for i in range(len(names)):
                new, old = state.arcs[i], before[i]
                raw_jumps += abs(z[k, 6 * i] - z[k - 1, 6 * i]) > 1.0
                if new.echo is Echo.OBJECT and old.echo is Echo.OBJECT:
                    kept_jumps += abs(new.range - old.range) > 1.0
                if z[k, 6 * i] >= 5.0 and old.echo is Echo.OBJECT and new.echo is Echo.OBJECT:
                    outward += new.range - 3 * new.range_sigma > old.range - 3 * old.range_sigma + 1e-9
        before = state.arcs
    assert raw_jumps > 100
    assert kept_jumps < raw_jumps / 4
    assert outward == 0  # silence never moved a near edge outward
