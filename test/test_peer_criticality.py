"""Gap, time to collision and required deceleration against the values that CommonRoad-CriMe asserts in its own tests.

Source: CommonRoad/commonroad-crime, commit 6898f6a1, tests/test_time_domain.py, test_distance_domain.py and
test_acceleration_domain.py, on its scenarios ZAM_Urban-3_3_Repair and DEU_Gar-1_1_T-1; states are those of its
scenario files. Only facts are taken over. Its times count in steps of 0.1 s along recorded motion, ours
are closed formulas of the present motion: they agree within one step. Measures that we do not have (WTTC, TTB, TTR,
TET, DST, DCE) and PET, which it reads from whole recorded ways, are not compared.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from builders import T, config, situation

from safety_supervisor.core.assessment import assess
from safety_supervisor.core.world import Tracks

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data" / "commonroad" / "peer_expected_values.json"
STEP = 0.1
"""Time step of both scenarios [s]."""


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    yaw: float
    speed: float
    length: float
    width: float


URBAN = {6: Box(85.0, -1.0, 0.02, 0.0, 4.0, 2.5), 7: Box(85.0, 4.0, 0.02, 0.0, 4.0, 2.5),
         8: Box(60.0, 0.06, 0.02, 9.0, 4.508, 1.608)}  # fmt: skip
GARCHING = {200: Box(-1.0214, -3.0013, 0.0, 16.0, 4.508, 1.61), 202: Box(25.9368, -2.2842, -0.043633, 10.0, 4.8, 2.0)}


def threats(ego: Box, *others: Box):
    """What `assess` says about the rears of other vehicles, seen from the middle of ego, without any doubt."""
    half = ego.length / 2
    vehicle = config({"vehicle.front": half, "vehicle.rear": half, "vehicle.width": ego.width})
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    rows = []
    for o in others:
        x = o.x - o.length / 2 * math.cos(o.yaw) - ego.x
        y = o.y - o.length / 2 * math.sin(o.yaw) - ego.y
        turn = o.yaw - ego.yaw
        rows.append([cos * x + sin * y, cos * y - sin * x, o.speed * math.cos(turn), o.speed * math.sin(turn)])
    n = len(rows)
    extent = [[o.width / 2, o.length] for o in others]
    tracks = Tracks(T, np.arange(1, n + 1), rows, np.zeros((n, 4, 4)), np.full(n, 0.99999), np.full(n, T),
                    np.full(n, 100), np.ones(n, bool), extent, np.zeros(n, bool))  # fmt: skip
    return {t.track: t for t in assess(tracks, (), situation(ego.speed, config=vehicle), vehicle).threats}


def test_headway_is_their_hw():
    # Theirs is measured along the lane, ours along ego's heading: 0.02 rad apart.
    assert threats(URBAN[8], URBAN[6])[1].gap == pytest.approx(20.75, abs=0.04)


def test_time_to_collision_is_their_ttc_star_and_thw_within_a_step():
    assert threats(URBAN[8], URBAN[6])[1].ttc == pytest.approx(2.4, abs=STEP)


def test_without_the_obstacle_in_the_lane_there_is_no_collision():
    assert threats(URBAN[8], URBAN[7]) == {}  # their THW of it is inf, and TTC* without 6 is inf


def test_required_deceleration_is_their_a_long_req():
    threat = threats(GARCHING[200], GARCHING[202])[1]
    assert threat.drac == pytest.approx(0.81, abs=0.005)


def test_control_half_a_vehicle_off_is_seen():
    """From the middle of the vehicles instead of their ends none of these values comes out."""
    points = [Box(b.x, b.y, b.yaw, b.speed, 0.2, b.width) for b in (URBAN[8], URBAN[6])]
    assert threats(*points)[1].gap != pytest.approx(20.75, abs=2.0)
    assert threats(*points)[1].ttc != pytest.approx(2.4, abs=STEP)
    points = [Box(b.x, b.y, b.yaw, b.speed, 0.2, b.width) for b in (GARCHING[200], GARCHING[202])]
    assert threats(*points)[1].drac != pytest.approx(0.81, abs=0.05)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published values are not beside the repository")
def test_the_published_values_are_those_that_are_compared():
    cases = json.loads(PUBLISHED.read_text(encoding="utf-8"))["cases"]

    def value(scenario, measure, **keys):
        found = [c for c in cases if c["scenario"].startswith(scenario) and c["measure"].startswith(measure)
                 and all(c.get(k) == v for k, v in keys.items())]  # fmt: skip
        return float(next(v for k, v in found[0].items() if k.startswith("value")))

    assert value("ZAM_Urban-3_3", "HW_m") == 20.75
    assert value("ZAM_Urban-3_3", "TTC* (all") == 2.4
    assert value("ZAM_Urban-3_3", "TTC* after") == math.inf
    assert value("ZAM_Urban-3_3", "THW", other=6, t=0) == 2.4
    assert value("ZAM_Urban-3_3", "THW", other=7) == math.inf
    assert value("DEU_Gar-1_1", "a_long_req mode 1") == -0.81
