"""Corners of the core that no larger test turns: with it, every branch is reached by the tests that are traced."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from builders import CONFIG, RADAR, T, config, ego, plan, situation, straight_path

from safety_supervisor.core import fallback, supervisor
from safety_supervisor.core.assessment import assess
from safety_supervisor.core.config import ConfigError, aliases, from_mapping
from safety_supervisor.core.supervisor import State, command, plans
from safety_supervisor.core.tracking import EgoHistory
from safety_supervisor.core.tracking.existence import in_view
from safety_supervisor.core.tracking.trust import Fit, RadarTrust, judged
from safety_supervisor.core.world import Health, Mode, Severity, Tracks

PERIOD, JERK = CONFIG.timing.period, CONFIG.fallback.emergency_jerk
WELL = Health(Severity.OK, ())


def coasted(speed, now):
    return fallback.coast(straight_path(max(speed, 1.0)), ego(speed), now, CONFIG)


@pytest.mark.parametrize(("now", "demand"), [(-6.0, -6.0 + JERK * PERIOD), (-0.01, 0.0), (0.0, 0.0), (2.0, 0.0)])
def test_letting_go_of_the_brake_takes_its_jerk_and_never_accelerates(now, demand):
    _, wanted = coasted(15.0, now)
    assert wanted == pytest.approx(demand)


def test_the_trajectory_of_letting_go_loses_what_the_ramp_still_brakes():
    made, _ = coasted(15.0, -6.0)
    assert made.speed[0] == pytest.approx(15.0)
    assert np.all(np.diff(made.speed) <= 1e-12)
    assert made.speed[-1] == pytest.approx(15.0 - 6.0 * 6.0 / (2 * JERK), abs=1e-9)  # a ramp's triangle
    assert made.x[-1] == pytest.approx(np.sum((made.speed[1:] + made.speed[:-1]) / 2 * np.diff(made.time)), abs=1e-6)
    assert made.time[-1] == pytest.approx(fallback.HORIZON)


def test_who_lets_go_almost_at_rest_does_not_roll_backwards():
    made, _ = coasted(0.1, -6.0)
    assert made.speed.min() == 0.0
    assert np.all(np.diff(made.x) >= 0.0)


def test_a_stop_under_way_lets_go_when_braking_would_make_a_miss_a_hit():
    state = replace(supervisor.start(CONFIG), acceleration=-6.0)
    state = replace(state, arbiter=replace(state.arbiter, mode=Mode.FIRM_STOP))
    held = assess(Tracks(), (), situation(), CONFIG)
    for assessment, wanted in ((replace(held, ease=True), -6.0 + JERK * PERIOD), (held, -6.0)):
        made, acceleration, _ = command.commanded(
            state, Mode.FIRM_STOP, assessment, straight_path(), "policy", ego(), CONFIG)
        assert made is not None
        assert (acceleration > -6.0 + 1e-9) is bool(assessment.ease)
        if assessment.ease:
            assert acceleration == pytest.approx(wanted)


def test_a_plan_that_is_overtaken_by_a_newer_one_is_not_used():
    newer, older = plan(), plan(t=T - 100_000_000)
    state = plans.with_plans(State(), (newer, older), ego(), CONFIG)
    assert state.plan is newer
    assert plans.with_plans(State(), (older, newer), ego(), CONFIG).plan is newer


def test_without_a_plan_nothing_of_the_policy_is_admissible():
    state = replace(State(), ego=EgoHistory().updated((ego(),)))
    assert not plans._admissible(state, WELL, ego(), T, CONFIG)


def test_a_radar_that_sees_all_round_has_no_edge_of_view():
    behind = np.array([[20.0, math.pi - 1e-6], [20.0, 0.0]])
    assert in_view(behind, replace(RADAR, half_angle=math.pi)).all()
    assert in_view(behind, replace(RADAR, half_angle=1.0)).tolist() == [False, True]


@pytest.mark.parametrize("late", [0, 1])
def test_a_scan_that_is_not_newer_is_no_evidence_about_a_radar(late):
    trust = judged(RadarTrust(), Fit(), T)
    assert judged(trust, Fit(nis=500.0, count=3), T - late) is trust
    assert judged(trust, Fit(nis=500.0, count=3), T + 1).nis > trust.nis


def test_a_field_alias_is_a_role_and_a_name():
    with pytest.raises(ConfigError, match=r"sensors.front.fields = 'v' must be role=name pairs"):
        config(front=replace(RADAR, fields="v"))
    with pytest.raises(ConfigError, match="odd = 3 must be a mapping"):
        from_mapping({"odd": 3})
    assert aliases("range_rate = v, power=p,,") == {"range_rate": "v", "power": "p"}
    assert from_mapping({"odd": None}).odd == CONFIG.odd
