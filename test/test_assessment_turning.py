"""Turns on the spot: what the corners sweep, what comes into it, how the turn is stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from builders import T, ego
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon

from safety_supervisor.core import fallback, supervisor
from safety_supervisor.core.assessment import assess, objects_of
from safety_supervisor.core.config import Config, Sensor, with_values
from safety_supervisor.core.geometry import footprint, turn_contacts
from safety_supervisor.core.paths import SAMPLES, corner_radius, turn_rate, turned_path
from safety_supervisor.core.plan_check import check_plan
from safety_supervisor.core.world import (
    Arc,
    Code,
    Echo,
    Health,
    Inputs,
    Mode,
    Odometry,
    Plan,
    RangeReading,
    Severity,
    Tracks,
    nanoseconds,
)

NAN, INF = float("nan"), float("inf")
VALUES = {
    "vehicle.front": 0.3, "vehicle.rear": 0.3, "vehicle.width": 0.5, "vehicle.curvature_max": 10.0,
    "vehicle.turns_on_spot": True, "vehicle.mass": 60.0, "vehicle.brake_force_max": 250.0, "odd.speed_max": 1.2,
    "odd.friction_min": 0.5, "odd.load_max": 30.0, "timing.overrun": 0.02, "timing.gate_timeout": 0.2,
    "timing.actuation_delay": 0.1, "envelope.assumed_brake": 1.5, "envelope.assumed_jerk": 10.0,
    "envelope.object_brake_max": 3.0, "envelope.acceleration_max": 1.0, "envelope.acceleration_margin": 0.1,
    "envelope.speed_error": 0.03, "envelope.geometry_bound": 0.02, "fallback.comfort_deceleration": 0.6,
    "fallback.firm_deceleration": 1.0, "fallback.firm_jerk": 5.0, "fallback.emergency_deceleration": 1.5,
    "fallback.emergency_jerk": 10.0, "corridor.margin": 0.05, "corridor.object_half_width": 0.1,
    "expected.clearance": 0.3, "expected.cap_threshold": 0.3, "expected.comfort_threshold": 0.4,
    "expected.firm_threshold": 0.7, "near_field.stop_distance": 0.15, "near_field.approach_tolerance": 0.05,
    "near_field.lateral_margin": 0.05, "near_field.approach_noise": 0.3, "near_field.speed_max": 1.5,
    "plan_check.lateral_offset_max": 0.3, "plan_check.speed_offset_max": 1.5,
}  # fmt: skip
EYES = {f"us{i}": Sensor(kind="ultrasonic", topic=f"us{i}", x=0.0, yaw=float(a), half_angle=0.3, range_min=0.03,
                         range_max=4.0, sigma_range=0.01)
        for i, a in enumerate(np.linspace(-np.pi, np.pi, 12, endpoint=False))}  # fmt: skip
"""A ring of transducers above the middle of the base: no wedge between two cones is blind."""
BASE = with_values(Config(sensors=tuple(EYES.items())), VALUES)
V = BASE.vehicle
RADIUS = corner_radius(V)
WELL = Health(Severity.OK, ())


def spin(rate=1.0, duration=4.0, dt=0.05, speed=0.0, until=INF, yaw=0.0, t=T) -> Plan:
    """Turn at `rate` [rad/s], until `until` [s]; `speed` [m/s] along the arc beside it."""
    time = np.arange(0.0, duration + dt / 2, dt)
    turned = rate * np.minimum(time, until)
    chord = speed * time * np.sinc(turned / 2 / np.pi)
    x, y = chord * np.cos(yaw + turned / 2), chord * np.sin(yaw + turned / 2)
    return Plan(t, time, x, y, yaw + turned, np.full(len(time), speed))


def turning(plan: Plan | None = None, rate=0.0, config=BASE, mode=Mode.NOMINAL, now=None):
    state = supervisor.start(config)
    state = replace(state, validated=plan, plan=plan, arbiter=replace(state.arbiter, mode=mode))
    now = ego(0.0, yaw_rate=rate) if now is None else now
    state = replace(state, ego=state.ego.updated((now,)))
    path, source = supervisor.judged_path(state, now, WELL, config)
    situation = supervisor.situated(state, now, path, source, WELL, T, config)
    return replace(situation, clear_range=4.0), path, source


def echo(x, y, rate=0.0, sigma=0.0) -> Arc:
    """A narrow echo at a place in the frame of the base."""
    return Arc("us", T, Echo.OBJECT, 0.1, sigma, rate, True, x - 0.1, y, 0.0, 0.01)


def track(x, y, vx=0.0, vy=0.0, sigma=0.0, speed_sigma=0.0) -> Tracks:
    cov = np.diag([sigma**2, sigma**2, speed_sigma**2, speed_sigma**2])
    return Tracks(T, [1], [[x, y, vx, vy]], [cov], [0.99999], [T], [100], [bool(vx or vy)], [[0.0, 0.0]], [False])


def judge(situation, tracks=None, arcs=(), config=BASE):
    return assess(Tracks() if tracks is None else tracks, tuple(arcs), situation, config)


# --- when a vehicle turns on the spot --------------------------------------------------------------------------------


def test_who_cannot_turn_on_the_spot_is_refused_such_a_plan_however_finely_it_is_written():
    car = with_values(BASE, {"vehicle.turns_on_spot": False})
    for plan in (spin(), spin(dt=0.02), spin(3.0, dt=0.1), spin(-1.0)):
        assert check_plan(plan, None, ego(0.0), BASE) == ()
        assert [f.code for f in check_plan(plan, None, ego(0.0), car)] == [Code.PLAN_INFEASIBLE]
        assert "turns on the spot" in check_plan(plan, None, ego(0.0), car)[0].text
    assert check_plan(spin(0.0), None, ego(0.0), car) == ()
    assert check_plan(spin(0.5, speed=0.1), None, ego(0.1), car) == ()  # slowly along a bend that it can drive
    _, path, source = turning(spin(), config=car)
    assert (path.radius, source) == (0.0, "policy")


def test_corners_may_not_go_faster_than_the_base():
    fast = 1.05 * BASE.odd.speed_max / RADIUS
    assert check_plan(spin(0.99 * fast), None, ego(0.0), BASE) == ()
    assert "turns its corners on the spot at" in check_plan(spin(1.01 * fast), None, ego(0.0), BASE)[0].text


@pytest.mark.parametrize(("plan", "rate", "speed", "expected"), [
    (spin(1.0), 0.0, 0.0, 1.0), (spin(-1.0), 0.0, 0.0, -1.0), (spin(1.0), 1.5, 0.0, 1.5), (spin(1.0), -0.5, 0.0, -1.0),
    (spin(1.0), NAN, 0.0, 1.0), (spin(1.0), 0.0, 0.2, 0.0),  # still drives
    (spin(0.0), 0.0, 0.0, 0.0), (spin(0.0), 0.8, 0.0, 0.8), (spin(0.0), 0.2, 0.0, 0.0),  # corners slower than standing
    (spin(0.5, speed=0.5), 0.5, 0.0, 0.0), (spin(1.0, speed=0.09), 0.0, 0.0, 1.0),  # tighter than it drives
    (spin(0.5, speed=0.09), 0.0, 0.0, 0.0), (None, 0.8, 0.0, 0.8), (None, 0.8, 0.09, 0.0), (None, NAN, 0.0, 0.0),
])  # fmt: skip
def test_what_counts_as_a_turn_on_the_spot(plan, rate, speed, expected):
    _, path, source = turning(plan, now=ego(speed, yaw_rate=rate))
    assert path.radius == (RADIUS if expected else 0.0)
    assert source == ("policy" if plan is not None else "extrapolation")
    if expected:
        assert path.speed[0] == pytest.approx(abs(expected) * RADIUS)
        assert np.sign(path.heading[1] - path.heading[0]) == np.sign(expected)


def test_the_mean_yaw_rate_and_speed_of_a_plan():
    assert turn_rate(spin(0.7), 0.4, 0.3) == pytest.approx((0.7, 0.0))
    assert turn_rate(spin(0.0, speed=0.4), 0.4, 0.3) == pytest.approx((0.0, 0.4))
    assert turn_rate(spin(1.0, until=0.5), 0.4, 0.2)[0] == pytest.approx(0.5)


# --- the path of the farthest corner ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1.0, -0.6])
def test_the_corner_goes_as_far_as_is_planned_and_on_to_where_a_stop_ends(rate):
    now = Odometry(T, 2.0, 3.0, 0.4, 0.0, rate)
    path = turned_path(spin(rate, yaw=0.4), now, rate, V, 0.5)
    assert path.length == pytest.approx(4.0 * abs(rate) * RADIUS)
    assert path.s[-1] == max(path.length, 0.5)
    assert (set(path.x.tolist()), set(path.y.tolist())) == ({2.0}, {3.0})
    assert path.heading == pytest.approx(0.4 + np.sign(rate) * path.s / RADIUS)
    assert path.time[1] == pytest.approx(path.s[1] / (abs(rate) * RADIUS))
    unplanned = turned_path(None, now, rate, V, 0.5)
    assert (unplanned.length, unplanned.s[-1]) == (0.0, 0.5)
    assert np.isinf(unplanned.time[1:]).all()


def test_a_turn_that_ends_leaves_the_corner_standing_and_one_that_drives_off_ends_there():
    ends = turned_path(spin(1.0, until=1.0), ego(0.0), 1.0, V, 2.0)
    assert ends.length == pytest.approx(RADIUS)
    assert (ends.speed[0], ends.speed[-1]) == (pytest.approx(RADIUS), 0.0)
    goes_on = turned_path(spin(1.0, 1.0), ego(0.0), 1.0, V, 2.0)
    assert goes_on.speed[-1] == pytest.approx(RADIUS)
    first = spin(1.0, until=1.0)
    off = replace(first, x=np.maximum(first.time - 1.0, 0.0) * 0.5, yaw=np.where(first.time > 1.5, 2.0, first.yaw))
    assert turned_path(off, ego(0.0), 1.0, V, 2.0).length == pytest.approx(RADIUS)
    late = turned_path(spin(1.0), ego(0.0, yaw=1.0, t=T + 10**9), 1.0, V, 2.0)
    assert late.length == pytest.approx(3.0 * RADIUS)
    over = turned_path(spin(1.0, 1.0), ego(0.0, yaw=1.0, t=T + 3 * 10**9), 1.0, V, 2.0)
    assert over.length == 0.0


def test_many_turns_have_more_samples():
    assert len(turned_path(spin(2.0), ego(0.0), 2.0, V, 0.5).s) == SAMPLES
    assert len(turned_path(spin(3.0), ego(0.0), 3.0, V, 0.5).s) == 2 * SAMPLES


# --- what is swept ---------------------------------------------------------------------------------------------------


@given(st.floats(0.05, 0.7), st.floats(-3.1, 3.1), st.booleans(), st.floats(0.2, 3.0))
def test_the_gap_is_how_far_the_corner_goes_until_the_body_is_there(distance, bearing, left, angle):
    """Against the outline turned in small steps, by shapely."""
    rate = 1.0 if left else -1.0
    point = np.array([[distance * np.cos(bearing), distance * np.sin(bearing)]])
    body = Polygon(footprint(0.0, 0.0, 0.0, V))
    now = body.distance(Point(point[0]))
    path = turned_path(None, ego(0.0), rate, V, angle * RADIUS)
    met = turn_contacts(path, point, np.zeros((1, 4, 4)), V.width / 2, np.array([0.05]), np.zeros(1), 1.0, np.zeros(1))
    if body.contains(Point(point[0])):
        assert met.gap[0] == 0.0
        return
    turns = np.linspace(0.0, angle, 400)
    near = [Polygon(footprint(0.0, 0.0, rate * a, V)).distance(Point(point[0])) for a in turns]
    touched = np.array(near) <= 1e-9
    if touched.any():
        true = RADIUS * turns[np.argmax(touched)]
        assert met.gap[0] <= true + 1e-3
    elif min(near) > min(0.05, now / 2) * np.sqrt(2) + 0.005:  # room is kept along and across: more on the diagonal
        assert not met.hit[0]


def test_the_sweep_test_sees_a_body_that_is_too_short():
    point = np.array([[0.29 * np.cos(0.9), 0.29 * np.sin(0.9)]]) * 1.15
    path = turned_path(None, ego(0.0), 1.0, V, 2.0)
    none = np.zeros(1)
    hits = [turn_contacts(p, point, np.zeros((1, 4, 4)), V.width / 2, none, none, 1.0, none).hit[0]
            for p in (path, replace(path, front=0.2, rear=0.2))]
    assert hits == [True, False]


def test_a_place_that_is_hardly_known_needs_more_room_but_no_more_than_half_of_what_there_is():
    path, none = turned_path(None, ego(0.0), 1.0, V, 2.0), np.zeros(1)

    def hit(x, sigma, keep=0.0):
        cov = np.diag([sigma, sigma, 0.0, 0.0])[None] ** 2 / 2
        return turn_contacts(path, np.array([[x, 0.1]]), cov, V.width / 2, np.array([0.05]), np.array([keep]), 2.0,
                             none).hit[0]  # fmt: skip

    assert [hit(0.45, sigma) for sigma in (0.0, 0.025, 0.0375, 1.0)] == [False, False, True, True]
    assert [hit(0.7, sigma) for sigma in (0.0, 1.0)] == [False, False]
    assert [hit(0.7, 0.0, keep) for keep in (0.15, 0.2)] == [False, True]  # what may come does not share it


def test_all_that_the_body_sweeps_in_a_turn_is_met():
    path = turned_path(None, ego(0.0), 1.0, V, 1.2 * RADIUS)
    union = shapely.union_all([Polygon(footprint(0.0, 0.0, a, V)) for a in np.linspace(0.0, 1.2, 200)])
    points = shapely.get_coordinates(union.buffer(-BASE.envelope.geometry_bound).boundary.segmentize(0.01))
    none = np.zeros(len(points))
    met = turn_contacts(path, points, np.zeros((len(points), 4, 4)), V.width / 2, none, none, 1.0, none)
    assert met.hit.all()


# --- judgement -------------------------------------------------------------------------------------------------------

CORNER = 0.2, 0.3
"""Beside the front left corner, 0.05 m from the flank: what a turn to the left sweeps at once."""


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_an_echo_beside_the_corner_stops_the_turn_and_one_farther_away_does_not(rate):
    situation, _, _ = turning(spin(1.0), rate)
    result = judge(situation, arcs=[echo(*CORNER)])
    assert result.demand == (Mode.EMERGENCY_STOP if rate else Mode.FIRM_STOP)  # not to begin is enough
    assert Code.NEAR_FIELD in {r.code for r in result.reasons}
    far = RADIUS + 0.05 + 0.02
    assert judge(situation, arcs=[echo(far * 0.8, far * 0.6)]).demand == Mode.NOMINAL


def test_a_track_beside_the_corner_stops_the_turn_and_one_farther_away_does_not():
    situation, _, _ = turning(spin(1.0), 1.0)
    assert judge(situation, track(*CORNER)).demand == Mode.EMERGENCY_STOP
    assert judge(situation, track(0.6, 0.6)).demand == Mode.NOMINAL
    assert judge(situation, track(0.0, 0.45)).demand >= Mode.COMFORT_STOP  # within a car's margin of the corner's way


def test_what_the_turn_leaves_behind_does_not_stop_it():
    beside = 0.1, 0.32  # the front corner turns away from it, and the plan ends before the rear one comes
    assert judge(turning(spin(-0.5, until=0.3))[0], arcs=[echo(*beside)]).demand == Mode.NOMINAL
    assert judge(turning(spin(0.5, until=0.3))[0], arcs=[echo(*beside)]).demand >= Mode.COMFORT_STOP


def test_a_milder_stop_comes_first_where_there_is_still_way():
    """An obstacle up to a quarter turn ahead of the corner: nothing while it is far, then a comfort stop."""
    demands = {}
    for bearing in np.linspace(0.9, 2.2, 60):
        place = 0.36 * np.cos(bearing), 0.36 * np.sin(bearing)
        result = judge(turning(spin(1.0), 1.0)[0], arcs=[echo(*place)])
        demands[result.demand] = [*demands.get(result.demand, []), bearing]
    assert {Mode.NOMINAL, Mode.COMFORT_STOP, Mode.EMERGENCY_STOP} <= set(demands)
    assert max(demands[Mode.EMERGENCY_STOP]) < min(demands[Mode.NOMINAL])


def test_a_planned_turn_that_ends_before_it_is_left_alone_and_a_stop_counts_from_what_is_left():
    place = 0.36 * np.cos(1.6), 0.36 * np.sin(1.6)
    short = judge(turning(spin(0.5, until=0.4), 0.2)[0], arcs=[echo(*place)])
    assert (short.demand, short.sustain) == (Mode.NOMINAL, Mode.NOMINAL)
    into = judge(turning(spin(0.5), 0.2)[0], arcs=[echo(*place)])
    assert into.sustain == Mode.COMFORT_STOP
    braking, path, _ = turning(spin(1.0), 0.4, mode=Mode.COMFORT_STOP)
    assert braking.ego.speed == pytest.approx(0.4 * RADIUS)
    assert path.speed[0] == pytest.approx(RADIUS)


def test_who_walks_into_what_is_swept_stops_the_turn_and_who_walks_away_does_not():
    situation, _, _ = turning(spin(1.0), 1.0)
    assert judge(situation, track(0.9, 0.0)).demand == Mode.NOMINAL
    assert judge(situation, track(0.9, 0.0, vx=-1.2)).demand == Mode.EMERGENCY_STOP
    assert judge(situation, track(0.9, 0.0, vx=1.2)).demand == Mode.NOMINAL
    assert judge(situation, track(0.9, 0.0, vx=-1.2, speed_sigma=1.0)).demand == Mode.NOMINAL  # that is noise
    assert judge(situation, track(3.0, 0.0, vx=-1.2)).demand == Mode.NOMINAL
    assert judge(situation, arcs=[echo(0.9, 0.0, rate=-1.5)]).demand == Mode.NOMINAL  # a wall seen aslant


@pytest.mark.parametrize("broken", [echo(0.9, 0.9, rate=NAN), echo(NAN, 0.9), replace(echo(0.9, 0.9), range_sigma=NAN)])
def test_numbers_that_are_none_stop_the_turn(broken):
    assert judge(turning(spin(1.0), 1.0)[0], arcs=[broken]).demand == Mode.EMERGENCY_STOP


def test_around_a_turn_rows_keep_room_and_no_gap():
    situation, _, _ = turning(spin(1.0), 1.0)
    rows = objects_of(track(0.9, 0.0), (echo(0.9, 0.0),), situation, BASE)
    assert rows.keep.tolist() == [0.0] * 10
    assert rows.clearance.tolist() == [BASE.expected.clearance, *[BASE.near_field.stop_distance] * 9]


# --- how it is stopped -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP])
@pytest.mark.parametrize("rate", [1.0, -1.0])
def test_a_stop_brings_the_yaw_rate_to_zero_on_the_spot(mode, rate):
    _, path, _ = turning(spin(rate), rate)
    corner = ego(RADIUS, yaw_rate=rate)
    mrm = fallback.manoeuvre(mode, BASE)
    stop, demand = fallback.stop(path, corner, 0.0, mrm, 0.0, BASE)
    rates = np.diff(np.unwrap(stop.yaw)) / np.diff(stop.time)
    assert not stop.speed.any()
    assert (set(stop.x.tolist()), set(stop.y.tolist())) == ({0.0}, {0.0})
    assert rates[0] == pytest.approx(rate, abs=0.2)
    assert rates[-1] == 0.0
    turned, ramp = abs(float(np.unwrap(stop.yaw)[-1])), mrm.deceleration / mrm.jerk
    assert RADIUS * turned == pytest.approx(RADIUS * RADIUS / (2 * mrm.deceleration) + RADIUS * ramp / 2, abs=0.02)
    assert demand < 0.0


class Turner:
    """A base that turns as it is commanded, with a limited yaw acceleration, and ultrasonics that see walls."""

    def __init__(self, walls, rate, config=BASE):
        self.walls, self.rate_wanted, self.config = walls, rate, config
        self.yaw, self.rate, self.t, self.least = 0.0, 0.0, T, INF
        self.state, self.decisions = supervisor.start(config), []

    def ping(self, sensor):
        """The nearest wall within the cone, seen by rays."""
        bearing = self.yaw + sensor.yaw + np.linspace(-sensor.half_angle, sensor.half_angle, 21)
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        eye = np.array([cos * sensor.x - sin * sensor.y, sin * sensor.x + cos * sensor.y])
        ends = eye + sensor.range_max * np.stack([np.cos(bearing), np.sin(bearing)], axis=1)
        cuts = shapely.intersection(shapely.linestrings([[eye, end] for end in ends]), self.walls)
        seen = [Point(eye).distance(cut) for cut in cuts if not cut.is_empty]
        return min(seen, default=INF) + 1e-3 * (len(self.decisions) % 3)

    def tick(self, **extra):
        pings = tuple(RangeReading(name, self.t, self.ping(s), s.range_min, s.range_max) for name, s in EYES.items())
        now = Odometry(self.t, 0.0, 0.0, self.yaw, 0.0, self.rate)
        plan = spin(self.rate_wanted, yaw=self.yaw, t=self.t)
        inputs = Inputs(odometry=(now,), ranges=pings, plans=(plan,))
        self.state, decision = supervisor.step(self.state, replace(inputs, **extra), self.t, self.config)
        self.decisions.append(decision)
        wanted = 0.0
        if decision.command is not None:
            later = self.config.timing.actuation_delay + np.array([0.0, 0.05])
            yaw = np.interp((self.t - decision.command.t) / 1e9 + later, decision.command.time,
                            np.unwrap(decision.command.yaw))
            wanted = float(yaw[1] - yaw[0]) / 0.05
        self.turn(wanted)
        return decision

    def turn(self, wanted):
        """Turn for a tick, towards the wanted rate."""
        period = self.config.timing.period
        change = 1.5 / RADIUS * period  # what the envelope counts on
        before = self.rate
        self.rate += float(np.clip(wanted - self.rate, -change, change))
        self.yaw += (before + self.rate) / 2 * period
        self.t += nanoseconds(period)
        self.least = min(self.least, Polygon(footprint(0.0, 0.0, self.yaw, V)).distance(self.walls))

    def run(self, seconds):
        for _ in range(round(seconds / self.config.timing.period)):
            self.tick()
        return {d.mode for d in self.decisions}

    def alone(self, seconds):
        """What comes of it without a supervisor: the least distance to a wall."""
        for _ in range(round(seconds / self.config.timing.period)):
            self.turn(self.rate_wanted)
        return self.least


def wall(distance):
    """A wall to the left of the base, this far from its flank."""
    y = V.width / 2 + distance
    return shapely.LineString([(-2.0, y), (2.0, y)])


@pytest.mark.no_cover  # a long drive, whose branches shorter tests reach
@pytest.mark.parametrize("rate", [0.6, -0.6, 1.2])
def test_a_base_that_turns_next_to_a_wall_stops_before_its_corner_touches_it(rate):
    base = Turner(wall(0.08), rate)
    assert any(mode.brakes for mode in base.run(3.5))
    assert base.least > 0.0
    assert base.rate == pytest.approx(0.0, abs=0.02)
    assert base.decisions[-1].mode == Mode.STANDSTILL
    assert Turner(wall(0.08), rate).alone(3.5) == 0.0  # the control: it scrapes along it


@pytest.mark.no_cover  # a long drive, whose branches shorter tests reach
@pytest.mark.parametrize(("rate", "turns"), [(0.6, 0.3), (1.2, 0.0)])
def test_a_post_that_the_corner_comes_to_later_is_turned_to_and_not_touched(rate, turns):
    post = shapely.LineString([(-0.2, 0.325), (-0.23, 0.305)])
    base = Turner(post, rate)
    base.run(3.5)
    assert base.least > 0.0
    assert base.yaw > turns
    assert base.decisions[-1].mode == Mode.STANDSTILL
    assert Turner(post, rate).alone(3.5) == 0.0


@pytest.mark.no_cover  # a long drive, whose branches shorter tests reach
@pytest.mark.parametrize("rate", [0.6, -0.6, 1.2])
def test_a_base_that_turns_with_room_around_it_is_left_alone(rate):
    base = Turner(wall(0.4), rate)
    assert base.run(3.5) <= {Mode.INIT, Mode.NOMINAL}
    assert base.rate == pytest.approx(rate, abs=0.02)


def test_a_turn_that_is_refused_at_standstill_needs_no_release():
    post = shapely.LineString([(0.21, 0.34), (0.25, 0.31)])
    base = Turner(post, 0.0)
    base.run(1.0)
    for _ in range(20):
        base.tick(requested=Mode.COMFORT_STOP)
    assert base.decisions[-1].mode == Mode.STANDSTILL
    base.rate_wanted = 0.6  # into the post
    for _ in range(60):
        decision = base.tick(requested=Mode.NOMINAL)
    assert (decision.mode, base.rate) == (Mode.STANDSTILL, 0.0)
    assert not base.state.arbiter.latched


def test_a_stop_that_is_asked_for_ends_the_turn():
    base = Turner(wall(1.0), 1.0)
    base.run(1.5)
    assert base.rate == pytest.approx(1.0, abs=0.02)
    for _ in range(40):
        decision = base.tick(requested=Mode.COMFORT_STOP)
    assert decision.mode == Mode.STANDSTILL
    assert base.rate == pytest.approx(0.0, abs=0.02)
    assert np.ptp(np.unwrap(decision.command.yaw)) == 0.0


def test_a_stop_of_a_turn_ends_without_odometry_too():
    base = Turner(wall(1.0), 1.0)
    base.run(1.5)
    for _ in range(60):
        decision = base.tick(odometry=())
    assert decision.mode.brakes
    assert np.ptp(np.unwrap(decision.command.yaw)) < 1e-3
    assert base.rate == pytest.approx(0.0, abs=0.02)
