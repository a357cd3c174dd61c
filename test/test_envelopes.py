"""Envelopes: one body on floats, arrays, fractions and proof terms; NaN; order; motions that must not touch."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import z3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safety_supervisor.core import envelopes, motion
from safety_supervisor.core.config import Envelope, parameters
from safety_supervisor.core.envelopes import EPS
from safety_supervisor.prove.rounding import Rounded
from safety_supervisor.prove.terms import Path as ProofPath
from safety_supervisor.prove.terms import Term, exact

P = Envelope()
EXACT_P = SimpleNamespace(**{spec.name: Fraction(getattr(P, spec.name)) for spec in parameters(Envelope)})
ORACLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "rss_oracle"


# --- one body, four kinds of number -------------------------------------------------------------------------


def possible(constraints):
    solver = z3.Solver()
    solver.add(*constraints)
    return solver.check() == z3.sat


ONE_PATH = ProofPath((), possible)


def term(value):
    """A proof term with a known value; all terms of this file share one path, on which nothing is open."""
    return Term(exact(value), ONE_PATH)


def value_of(result):
    """The number in a term, a fraction, an array or a float."""
    if isinstance(result, Term):
        solver = z3.Solver()
        solver.add(*ONE_PATH.constraints, z3.Real("result") == result.expression)
        assert solver.check() == z3.sat
        return float(solver.model()[z3.Real("result")].as_fraction())
    return float(np.ravel(result)[0])


KINDS = {"float": float, "array": lambda x: np.array([float(x)]), "Fraction": Fraction, "Term": term}

SITUATIONS = {
    "nothing moves": ((5, 0, 0, 0, 0), None),
    "standing object": ((100, 20, 0, Fraction(1, 4), 0), None),
    "same speed": ((20, 25, 25, Fraction(1, 4), 1), None),
    "lead much faster: the gap itself": ((3, 5, 40, Fraction(1, 4), 0), 3),
    "oncoming": ((200, 20, -20, Fraction(1, 4), 1), None),
    "touching": ((0, 0, 10, 0, 0), 0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("title", SITUATIONS)
def test_path_margin_on_every_kind_of_number(kind, title):
    args, expected = SITUATIONS[title]
    number = KINDS[kind]
    got = value_of(envelopes.path_margin(*(number(x) for x in args), P if kind in ("float", "array") else EXACT_P))
    reference = float(envelopes.path_margin(*map(Fraction, args), EXACT_P))
    assert got == pytest.approx(reference, abs=EPS)
    if expected is not None:
        assert got == pytest.approx(float(expected), abs=EPS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("speed", "acceleration", "expected"), [(4, -2, 1), (4, 0, -3), (-4, 0, 5), (-1, 2, 3)])
def test_ttc_margin_on_every_kind_of_number(kind, speed, acceleration, expected):
    number = KINDS[kind]
    margin = envelopes.ttc_margin(number(5), number(speed), number(acceleration), number(2))
    assert value_of(margin) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("closing", "top", "coming"), [
    (1, Fraction(1, 2), Fraction(9, 14)),  # faster than its class: keeps its speed for 1/2 + 1/7 s
    (Fraction(1, 4), 10, Fraction(9, 56) + Fraction(81, 784) - (Fraction(9, 28) - Fraction(1, 4)) ** 2),  # doubles it
    (0, 10, 0),  # stands
])  # fmt: skip
def test_near_field_margin_on_every_kind_of_number(kind, closing, top, coming):
    number = KINDS[kind]
    args = (3, 1, closing, Fraction(1, 4), 0, Fraction(1, 4))
    values = {"assumed_brake": 7, "assumed_jerk": 14, "near_acceleration_max": Fraction(1, 2), "near_speed_max": top}
    p = SimpleNamespace(**{name: number(x) for name, x in values.items()}, near_horizon=number(9))
    # Delay 1/4 + 7/28 = 1/2 s, stop 1/2 + 1/14 m in 1/2 + 1/7 s.
    expected = 3 - 0.25 - float(coming) - (0.5 + 1 / 14)
    assert value_of(envelopes.near_field_margin(*map(number, args), p)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ego", "ahead", "margin"), [
    (0, 0, 2 - 0.1 - 2 * (0.25 + 0.5 * 0.5 / 2)),  # both may start for 1 s: 0.25 m, then stop in 0.125 m
    (1, -1, 2 - 0.1 - 2 * (1.25 + 1.5 * 1.5 / 2)),
    (1, 3, 2),  # goes away faster than ego comes: nothing to take off
    (-2, 0, 2),
])  # fmt: skip
def test_lateral_margin_on_every_kind_of_number(kind, ego, ahead, margin):
    number = KINDS[kind]
    values = {"object_response": 1, "lateral_acceleration_max": Fraction(1, 2), "lateral_brake": 1}
    p = SimpleNamespace(**{name: number(x) for name, x in values.items()}, lateral_fluctuation=number(Fraction(1, 10)))
    got = value_of(envelopes.lateral_margin(number(2), number(ego), number(ahead), number(Fraction(1, 2)), p))
    assert got == pytest.approx(margin)


CLASS = {"assumed_brake": 7, "assumed_jerk": 14, "crossing_acceleration_max": 2, "crossing_speed_max": 4}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("speed", "horizon", "coming"), [
    (0, 1, 1),  # one second at 2 m/s^2
    (0, 9, 4 + 4 * 1.5),  # top speed after 2 s, then 1.5 s
    (5, 9, 5 * 3.5),
])  # fmt: skip
def test_separation_margin_on_every_kind_of_number(kind, speed, horizon, coming):
    number = KINDS[kind]
    p = SimpleNamespace(**{name: number(x) for name, x in CLASS.items()}, crossing_horizon=number(horizon))
    # Ego stops from 21 m/s in 1/2 + 3 s and 10.5 + 31.5 m.
    got = value_of(envelopes.separation_margin(*map(number, (100, 21, speed, Fraction(1, 4), 0)), p))
    assert got == pytest.approx(100 - 42 - coming)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("gap", "side_gap", "side_speed", "margin"), [
    (50, 3, 2, 8),  # ego stops before it
    (10, 20, 1, 20 - (1 * 3.5 + 0.25 + 1 * 3.0)),  # it comes at 1 m/s, doubled after 0.5 s
    (10, 3, 0, 3),  # it stands beside the strip
    (10, 3, -5, 3),
])  # fmt: skip
def test_crossing_margin_on_every_kind_of_number(kind, gap, side_gap, side_speed, margin):
    number = KINDS[kind]
    p = SimpleNamespace(**{name: number(x) for name, x in CLASS.items()}, crossing_horizon=number(9))
    args = (gap, side_gap, 21, side_speed, Fraction(1, 4), 0)
    assert value_of(envelopes.crossing_margin(*map(number, args), p)) == pytest.approx(margin)


def test_a_branch_on_a_term_raises():
    with pytest.raises(TypeError, match="branch"):
        bool(term(1) > 0)
    with pytest.raises(TypeError, match="branch"):
        max(term(1), 0)
    with pytest.raises(TypeError):
        hash(term(1))


# --- NaN and bounds -----------------------------------------------------------------------------------------

FUNCTIONS = {
    "longitudinal": (envelopes.longitudinal_margin, [80.0, 20.0, 15.0, 0.3, 1.0]),
    "oncoming": (envelopes.oncoming_margin, [200.0, 20.0, -15.0, 0.3, 1.0]),
    "opposite": (envelopes.opposite_margin, [200.0, 20.0, -15.0, 0.3, 1.0]),
    "lateral": (envelopes.lateral_margin, [2.0, 0.1, -0.1, 0.3]),
    "separation": (envelopes.separation_margin, [80.0, 20.0, 1.0, 0.3, 1.0]),
    "crossing": (envelopes.crossing_margin, [80.0, 5.0, 20.0, 1.0, 0.3, 1.0]),
    "path": (envelopes.path_margin, [80.0, 20.0, 15.0, 0.3, 1.0]),
    "path, oncoming": (envelopes.path_margin, [80.0, 20.0, -15.0, 0.3, 1.0]),
    "near field": (envelopes.near_field_margin, [80.0, 2.0, 1.0, 0.3, 1.0, 0.3]),
    "clear distance": (envelopes.clear_distance_margin, [80.0, 20.0, 0.3, 1.0]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_nan_and_is_never_inside(name):
    function, args = FUNCTIONS[name]
    assert np.isfinite(function(*args, P))
    for at in range(len(args)):
        broken = function(*args[:at], np.nan, *args[at + 1 :], P)
        assert np.isnan(broken)
        assert not broken >= EPS


@pytest.mark.parametrize("at", range(4))
def test_ttc_margin_keeps_nan(at):
    args = [10.0, 1.0, -1.0, 2.0]
    args[at] = np.nan
    assert np.isnan(envelopes.ttc_margin(*args))


def test_a_nan_in_an_array_stays_in_its_place():
    margin = envelopes.path_margin(np.array([50.0, np.nan, 50.0]), 10.0, np.array([5.0, 5.0, np.nan]), 0.3, 1.0, P)
    assert np.isnan(margin).tolist() == [False, True, True]


def test_a_softer_object_brake_is_not_trusted():
    soft = SimpleNamespace(assumed_brake=8.0, assumed_jerk=1e6, object_brake_max=4.0)
    # The known counterexample to the textbook distance: ego 9.5, lead 9, response 0.5 s, gap 0.375 m.
    assert envelopes.longitudinal_margin(0.375, 9.5, 9.0, 0.5, 0.0, soft) < 0


# --- order (Hypothesis) -------------------------------------------------------------------------------------

situations = st.tuples(st.floats(-10, 500), st.floats(0, 60), st.floats(-60, 60), st.floats(0, 2), st.floats(0, 6))
BETTER = {0: 1, 1: -1, 2: 1, 3: -1, 4: -1}


@given(situations, st.sampled_from(sorted(BETTER)), st.floats(0, 20))
def test_path_margin_is_monotone(situation, at, step):
    changed = list(situation)
    changed[at] += BETTER[at] * step
    if at == 3 and changed[3] < 0:
        changed[3] = 0.0
    assert envelopes.path_margin(*changed, P) >= envelopes.path_margin(*situation, P) - EPS


@given(situations)
def test_the_margin_is_at_most_the_gap(situation):
    assert envelopes.path_margin(*situation, P) <= situation[0] + EPS


@given(situations)
def test_floats_are_near_the_exact_margin(situation):
    exact_margin = envelopes.path_margin(*map(Fraction, situation), EXACT_P)
    assert abs(Fraction(float(envelopes.path_margin(*situation, P))) - exact_margin) < EPS / 2


@given(situations)
def test_error_bounds_hold(situation):
    rounded = envelopes.path_margin(*(Rounded(x, x) for x in situation), P)
    exact_margin = envelopes.path_margin(*map(Fraction, situation), EXACT_P)
    assert rounded.low <= exact_margin <= rounded.high
    assert abs(Fraction(float(envelopes.path_margin(*situation, P))) - exact_margin) <= rounded.error


# --- motions that must not touch ----------------------------------------------------------------------------

DT = 0.005


def ego_accelerations(response, acceleration, p):
    """The modelled fallback, sampled at the middle of each step."""
    t = DT / 2
    while True:
        yield max(acceleration - p.assumed_jerk * max(t - response, 0), -p.assumed_brake)
        t += DT


def drive(gap, ego, lead, response, acceleration, lead_accelerations, p):
    """Smallest gap of a pair in which the lead changes its acceleration every half second."""
    smallest, t = gap, 0.0
    for u in ego_accelerations(response, acceleration, p):
        w = lead_accelerations[min(int(t / 0.5), len(lead_accelerations) - 1)]
        new_ego, new_lead = max(ego + u * DT, 0.0), max(lead + w * DT, 0.0)
        gap += (lead + new_lead - ego - new_ego) / 2 * DT
        ego, lead, t = new_ego, new_lead, t + DT
        smallest = min(smallest, gap)
        if (ego == 0 and u < 0) or t > 60:
            return smallest
    raise AssertionError


@settings(max_examples=120, deadline=None)
@given(
    st.floats(0, 40), st.floats(0, 40), st.floats(0, 1), st.floats(0, 3),
    st.lists(st.floats(-8, 4), min_size=1, max_size=8), st.floats(0, 1),
)  # fmt: skip
@example(40, 30, 0.5, 3, [-8], 0)
@example(20, 19.9, 0.0, 0, [0, -8], 0)
@example(1, 0, 1.0, 3, [-8], 0)
def test_from_inside_no_lead_is_touched(ego, lead, response, acceleration, lead_accelerations, extra):
    gap = -float(envelopes.path_margin(0.0, ego, lead, response, acceleration, P)) + extra
    smallest = drive(gap, ego, lead, response, acceleration, lead_accelerations, P)
    assert smallest >= -0.02  # the simulation's own error


@settings(max_examples=80, deadline=None)
@given(st.floats(0, 40), st.floats(0, 30), st.floats(0, 1), st.floats(0, 3), st.floats(0, 3))
def test_from_inside_no_oncoming_object_is_touched_while_ego_moves(ego, oncoming, response, acceleration, gain):
    gap = -float(envelopes.path_margin(0.0, ego, -oncoming, response, acceleration, P))
    t = 0.0
    for u in ego_accelerations(response, acceleration, P):
        now = min(oncoming + gain * t, 2 * oncoming)
        gap -= (ego + now) * DT + u * DT * DT / 2
        ego, t = ego + u * DT, t + DT
        if ego <= 0 and u < 0:
            break
        assert gap >= -0.02 - 0.01 * t


def test_just_outside_there_is_a_lead_that_is_touched():
    # 0.3 m short of the margin, all brake as hard as they may: the bound gives away 0.19 m, no more.
    gap = -float(envelopes.path_margin(0.0, 25.0, 25.0, 0.3, 3.0, P)) - 0.3
    assert drive(gap, 25.0, 25.0, 0.3, 3.0, [-8.0], P) < 0


# --- against an independent implementation of RSS -----------------------------------------------------------


def rows(name):
    if not ORACLE.is_dir():
        pytest.skip(f"{ORACLE.name} is not beside the repository: no comparison with the RSS library's numbers")
    with (ORACLE / name).open(encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_same_direction_agrees_with_the_rss_library_where_the_rules_coincide():
    compared = 0
    for row in rows("same_direction.csv"):
        # The rules coincide for brakes without a ramp, and a lead that brakes at least as hard as ego.
        if row["brake_max"] < row["brake_min"]:
            continue
        p = SimpleNamespace(assumed_brake=row["brake_min"], assumed_jerk=1e18, object_brake_max=row["brake_max"])
        margin = envelopes.longitudinal_margin(
            0.0, row["v_rear_mps"], row["v_front_mps"], row["response_time_s"], row["accel_max"], p
        )
        assert -margin == pytest.approx(row["safe_distance_m"], rel=1e-7, abs=1e-6)  # nine digits
        compared += 1
    assert compared > 1000


def test_opposite_direction_agrees_with_the_rss_library_where_the_rules_coincide():
    compared = 0
    for row in rows("opposite_direction.csv"):
        # An oncoming object gains no more than the speed it has: B1 of proofs/approach.py.
        if row["accel_max"] * row["response_time_s"] > row["v_wrong_lane_mps"]:
            continue
        p = SimpleNamespace(
            assumed_brake=row["brake_min_correct"], assumed_jerk=1e18, object_response=row["response_time_s"],
            object_acceleration_max=row["accel_max"], oncoming_brake=row["brake_min"],
        )  # fmt: skip
        margin = envelopes.opposite_margin(
            0.0, row["v_correct_lane_mps"], -row["v_wrong_lane_mps"], row["response_time_s"], row["accel_max"], p
        )
        assert -margin == pytest.approx(row["safe_distance_m"], rel=1e-7, abs=1e-6)  # nine digits
        compared += 1
    assert compared > 1500


def test_lateral_agrees_with_the_rss_library():
    for row in rows("lateral.csv"):
        p = SimpleNamespace(
            object_response=0.0, lateral_acceleration_max=row["lat_accel_max"], lateral_brake=row["lat_brake_min"],
            lateral_fluctuation=row["lat_fluctuation_margin_m"],
        )  # fmt: skip
        margin = envelopes.lateral_margin(
            0.0, row["v_left_obj_lat_mps"], row["v_right_obj_lat_mps"], row["response_time_s"], p
        )
        # The library lets results down to -1 mm pass as they are; to it and to us that is "nothing is needed".
        assert -margin == pytest.approx(max(row["safe_distance_m"], 0.0), rel=1e-7, abs=1e-8)


def test_rss_formula_by_hand():
    # v_r 20, v_f 15, response 0.5, a 3.5, b 4 and 8: 55.5078125 m in RSS.
    p = SimpleNamespace(assumed_brake=4, assumed_jerk=Fraction(10**30), object_brake_max=8)
    need = -envelopes.longitudinal_margin(0, Fraction(20), Fraction(15), Fraction(1, 2), Fraction(7, 2), p)
    assert abs(need - Fraction("55.5078125")) < Fraction(1, 10**20)


def test_the_cap_and_the_clear_distance_agree():
    cap = motion.speed_for_distance(65.0, 0.25, 0.0, P.assumed_brake, P.assumed_jerk)
    assert envelopes.clear_distance_margin(65.0, cap, 0.25, 0.0, P) == pytest.approx(2 * EPS, rel=0.01)
