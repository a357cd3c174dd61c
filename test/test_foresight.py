"""What braking changes: cut-ins that need it, and those where it would cause the collision."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety_supervisor.core import foresight
from safety_supervisor.core.foresight import TIMES, Course, Movers, costs, due, harmful, joint, two_phases
from safety_supervisor.core.world import Mode

BODY = (2.15, 2.15, 0.95)
"""Ego of UN R157: 4.3 x 1.9 m about its centre."""
BRAKE, JERK = 7.6, 12.65


def mover(gap, lateral_gap, speed, drift, gain=0.0) -> Movers:
    """The four corners of a car of ego's size, `gap` ahead and `lateral_gap` to the left of ego's body."""
    along = np.array([0.0, 4.3, 0.0, 4.3]) + BODY[0] + gap
    across = np.array([0.0, 0.0, 1.9, 1.9]) + BODY[2] + lateral_gap
    column = np.ones(4)
    return Movers(along, across, speed * column, drift * column, gain * column, 0 * column)


def compare(ego, movers, now=0.0):
    plan = Course(ego * TIMES[None], np.full((1, len(TIMES)), float(ego)))
    brakes = ((-BRAKE, -BRAKE, 0.0), (0.0, -BRAKE, 0.5), (-BRAKE, 0.0, 0.1))
    return costs(movers, plan, tuple(two_phases(ego, now, *b, JERK, 0.0) for b in brakes), BODY)


def together(c):
    return joint(c, np.zeros(c.plan.shape[1], np.int64), 1)


def test_a_cut_in_that_only_braking_now_avoids_is_due():
    c = together(compare(25.0, mover(24.0, 1.6, 8.0, -1.2)))
    assert due(c)[0]
    assert not harmful(c)[0]


def test_a_cut_in_far_ahead_can_wait():
    c = together(compare(25.0, mover(90.0, 1.6, 15.0, -1.2)))
    assert not due(c)[0]
    assert not harmful(c)[0]


def test_braking_beside_a_car_that_ego_is_about_to_pass_is_harmful():
    c = together(compare(30.0, mover(15.0, 1.6, 8.0, -0.8)))
    assert c.plan[0, 0] == 0.0 < c.brake[0, 0]
    assert harmful(c)[0]
    assert not due(c)[0]


def test_a_growing_lateral_speed_is_seen_before_it_has_grown():
    still = together(compare(25.0, mover(26.0, 1.8, 8.0, -0.45)))
    grows = together(compare(25.0, mover(26.0, 1.8, 8.0, -0.45, -1.5)))
    assert not due(still)[0]
    assert due(grows)[0]


def test_a_growth_that_braking_does_not_clear_asks_for_nothing():
    close = together(compare(25.0, mover(16.0, 1.8, 8.0, -0.45, -1.5)))
    assert 0.0 < close.now.max() < close.wait.max()  # it would only hit less hard, if it came to that
    assert close.wait[0] == 0.0
    assert not due(close)[0]


def test_a_near_miss_counts_as_a_contact_while_braking_clears_it_and_not_after():
    """The lane changer reaches ego's flank 3.2 s from now, when it is 5 cm behind ego's rear."""
    time, closing = 3.2, 7.0
    near = mover(time * closing - 4 * BODY[1] - 0.05, time * 0.5, 8.0, -0.5)
    clear = together(compare(15.0, near))
    assert clear.plan[0, 0] == 0.0 < clear.plan[1, 0]
    passed = together(compare(15.0, mover(time * closing - 4 * BODY[1] - 2.0, time * 0.5, 8.0, -0.5)))
    assert passed.plan.max() == 0.0
    late = together(compare(15.0, mover(0.7 * closing - 4 * BODY[1] - 0.05, 0.7 * 0.5, 8.0, -0.5)))
    assert late.plan[0, 0] == 0.0 < late.plan[1, 0]
    assert late.now.max() > 0.0
    assert not due(late)[0]


def test_who_changes_lanes_stays_and_who_crosses_goes_on():
    lane = mover(30.0, 1.6, 10.0, -1.0)
    crossing = mover(30.0, 1.6, 0.5, -2.0)
    assert foresight._across(lane, 0.0)[:, -1] == pytest.approx(0.0)
    assert (foresight._across(crossing, 0.0)[:, -1] < -5.0).all()
    slow = mover(30.0, 1.6, 2.8, -1.7)  # 10 km/h, the fastest lane change of UN R157
    assert foresight._across(slow, 0.0)[:, -1] == pytest.approx(0.0)


@given(st.floats(0.0, 40.0), st.floats(-8.0, 0.0), st.floats(0.0, 0.5), st.floats(0.0, 1.0))
def test_a_course_keeps_jerk_brake_and_direction(speed, now, delay, at):
    course = two_phases(speed, now, -BRAKE, 0.0, at, JERK, delay)
    v, s = course.speed[0], course.travel[0]
    assert (v >= 0.0).all()
    assert (np.diff(v) <= 1e-9).all()
    assert (np.diff(s) >= 0.0).all()
    assert -np.diff(v).min() / foresight.STEP <= max(BRAKE, -now) + 1e-6


def test_rows_with_their_own_ego_equal_the_same_rows_one_by_one_to_the_bit():
    rng = np.random.default_rng(5)
    n = 40
    columns = [rng.uniform(a, b, n) for a, b in ((0, 60), (-4, 4), (0, 25), (-1.5, 1.5), (-1.5, 1.5), (0, 0.5))]
    ego = rng.uniform(5, 40, (n, 1))
    brakes = ((-BRAKE, -BRAKE, 0.0), (0.0, -BRAKE, 0.5), (-BRAKE, 0.0, 0.1))

    def run(rows):
        plan = Course(ego[rows] * TIMES, np.broadcast_to(ego[rows], (len(ego[rows]), len(TIMES))))
        made = tuple(two_phases(ego[rows], 0.0, *b, JERK, 0.1) for b in brakes)
        return costs(Movers(*(c[rows] for c in columns)), plan, made, BODY)

    together = run(slice(None))
    for i in range(n):
        alone = run(slice(i, i + 1))
        for name in ("plan", "brake", "later", "release"):
            whole = getattr(together, name)[:, i]
            assert np.array_equal(whole[: len(getattr(alone, name))], getattr(alone, name)[:, 0]), name


def test_nobody_costs_nothing():
    nobody = Movers(*(np.zeros(0) for _ in range(6)))
    assert compare(25.0, nobody).plan.shape == (2, 0)
    assert not due(together(compare(25.0, nobody)))[0]


def test_the_supervisor_brakes_for_a_cut_in_that_is_still_beside_and_says_so():
    from safety_supervisor.core.assessment import assess

    tracks = builders.lead(24.0, 8.0, y=2.6, vy=-1.2)
    found = assess(tracks, (), builders.situation(25.0), builders.CONFIG)
    assert found.demand == Mode.EMERGENCY_STOP
    assert any("into the way" in r.text for r in found.reasons) or found.margin < 0.0
    straight = assess(builders.lead(24.0, 8.0, y=2.6), (), builders.situation(25.0), builders.CONFIG)
    assert straight.demand == Mode.NOMINAL


def test_who_comes_into_the_way_behind_ego_asks_for_nothing_and_eases_a_stop():
    from safety_supervisor.core.assessment import assess

    length = builders.FRONT + builders.CONFIG.vehicle.rear
    behind = -length - 0.3
    coming = assess(builders.lead(behind, 18.0, y=1.9, vy=-1.2), (), builders.situation(20.0), builders.CONFIG)
    assert coming.demand == Mode.NOMINAL
    assert coming.ease
    for apart in (builders.lead(behind, 18.0, y=1.9), builders.lead(behind - 40.0, 2.0, y=1.9, vy=-1.2)):
        assert not assess(apart, (), builders.situation(20.0), builders.CONFIG).ease


def test_who_is_behind_does_not_forbid_the_stop_for_who_cuts_in_ahead():
    from safety_supervisor.core.assessment import assess

    behind = builders.lead(-builders.FRONT - builders.CONFIG.vehicle.rear - 0.3, 25.0, y=1.9, vy=-1.2)
    tracks = builders.together(builders.lead(24.0, 8.0, y=2.6, vy=-1.2), behind)
    found = assess(tracks, (), builders.situation(25.0), builders.CONFIG)
    assert found.demand == Mode.EMERGENCY_STOP
    assert not found.ease


def test_who_is_only_passed_asks_for_no_cap_either():
    """A cap slows ego just enough to be hit by whom it would have left behind."""
    from safety_supervisor.core.assessment import assess

    found = assess(builders.lead(2.0, 2.8, y=2.1, vy=-0.4), (), builders.situation(8.3), builders.CONFIG)
    assert found.ease
    assert found.demand == Mode.NOMINAL
    into = assess(builders.lead(8.0, 2.8, y=1.3, vy=-0.8), (), builders.situation(8.3), builders.CONFIG)
    assert into.demand > Mode.NOMINAL


def test_a_stop_does_not_go_on_in_front_of_who_has_just_been_passed_but_for_a_follower_it_does():
    from safety_supervisor.core.assessment import assess

    passed = -builders.FRONT - builders.CONFIG.vehicle.rear - 3.0
    braking = builders.situation(12.0, braking=True)
    assert assess(builders.lead(passed, 4.0), (), braking, builders.CONFIG).ease
    assert not assess(builders.lead(passed, 12.0), (), braking, builders.CONFIG).ease  # it follows, and will brake too
    assert not assess(builders.lead(passed, 4.0), (), builders.situation(12.0), builders.CONFIG).ease
    ahead = builders.together(builders.lead(passed, 4.0), builders.lead(14.0, 0.0))
    assert not assess(ahead, (), braking, builders.CONFIG).ease


def test_a_follower_that_responds_is_hit_by_hard_braking_only_when_it_is_close():
    ego = tuple(two_phases(20.0, 0.0, -b, -b, 0.0, JERK, 0.0) for b in (0.0, 2.0, BRAKE))
    theirs = two_phases(np.full((2, 1), 20.0), 0.0, -4.0, -4.0, 0.0, JERK, 1.0)
    rows = np.array(list(foresight.rear_costs(np.array([-8.0, -60.0]), theirs, ego, BODY[1])))
    assert rows[0].tolist() == [0.0, 0.0]
    assert rows[1].tolist() == [0.0, 0.0]
    assert rows[2, 0] > foresight.CONTACT
    assert rows[2, 1] == 0.0
