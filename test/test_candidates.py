"""Several candidate trajectories: the first admissible one in the policy's own order is passed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace as Message

import numpy as np
import pytest
from builders import FRONT, Drive, T, config, ego, plan

from safety_supervisor import messages
from safety_supervisor.core.config import ConfigError
from safety_supervisor.core.supervisor import plans
from safety_supervisor.core.world import Code, Mode, Plan

CONFIG = config({"inputs.candidates": "policy/second, policy/third"})


def drive_with(others, seconds=2.0, first=None, objects=(), speed=20.0) -> Drive:
    """A drive in which candidates stand beside the plan: `others` are functions of (speed, x, t)."""
    drive = Drive(CONFIG, speed, objects)
    for _ in range(round(seconds / CONFIG.timing.period)):
        made = plan(drive.speed, x=drive.x, t=drive.t) if first is None else first(drive)
        plans = [made] + [replace(other(drive), candidate=i) for i, other in enumerate(others, 1) if other(drive)]
        drive.tick(plans=tuple(plans))
    return drive


def keeps(drive: Drive) -> Plan:
    return plan(drive.speed, x=drive.x, t=drive.t)


def brakes(drive: Drive) -> Plan:
    return plan(drive.speed, acceleration=-3.0, x=drive.x, t=drive.t)


def broken(drive: Drive) -> Plan:
    made = keeps(drive)
    return replace(made, speed=np.where(np.arange(len(made.speed)) == 3, np.nan, made.speed))


def test_the_plan_itself_is_passed_while_it_is_admissible():
    last = drive_with([brakes]).decisions[-1]
    assert (last.mode, last.candidate) == (Mode.NOMINAL, 0)
    np.testing.assert_array_equal(last.command.speed, last.command.speed[0])


def test_where_the_plan_leads_into_an_object_the_candidate_that_does_not_is_passed():
    standing = ((FRONT + 130.0, 0.0, 0.0),)
    alone = drive_with([], 4.0, objects=standing)
    assert max(alone.modes) >= Mode.SPEED_CAP  # the control: without a candidate it is stopped
    helped = drive_with([keeps, brakes], 4.0, objects=standing)
    chosen = [d for d in helped.decisions if d.candidate == 2]
    assert chosen
    assert {d.mode for d in chosen} == {Mode.NOMINAL}
    assert all(d.command.speed[-1] == 0.0 for d in chosen)
    assert any(f.code is Code.PLAN_REJECTED and "candidate 2" in f.text for f in chosen[0].health.findings)


def test_a_broken_plan_is_replaced_by_a_good_candidate_and_without_one_stops_the_vehicle():
    def soon_broken(drive: Drive) -> Plan:
        return keeps(drive) if drive.t < T + 1_000_000_000 else broken(drive)

    alone = drive_with([], 2.0, soon_broken)
    assert alone.decisions[-1].mode is Mode.COMFORT_STOP
    helped = drive_with([keeps], 2.0, soon_broken)
    last = helped.decisions[-1]
    assert (last.mode, last.candidate, last.plan_source) == (Mode.NOMINAL, 1, "policy")
    both = drive_with([broken], 2.0, soon_broken)
    assert both.decisions[-1].mode is Mode.COMFORT_STOP


def test_an_old_candidate_is_not_passed():
    def soon_broken(drive: Drive) -> Plan:
        return keeps(drive) if drive.t < T + 1_000_000_000 else broken(drive)

    def once(drive: Drive) -> Plan | None:
        return keeps(drive) if drive.t < T + 500_000_000 else None

    assert drive_with([once], 2.0, soon_broken).decisions[-1].mode is Mode.COMFORT_STOP


def test_a_candidate_does_not_break_off_a_stop():
    standing = ((FRONT + 60.0, 0.0, 0.0),)
    drive = drive_with([keeps], 3.0, objects=standing)
    first = next(i for i, d in enumerate(drive.decisions) if d.mode.brakes)
    assert all(d.mode.brakes for d in drive.decisions[first:])


def test_candidates_have_topics_of_their_own_and_their_place_in_the_order():
    bound = messages.bindings(CONFIG)
    assert [bound[f"policy/{name}"].name for name in ("trajectory", "second", "third")] == ["plan", "plan_1", "plan_2"]
    header = Message(frame_id="odom", stamp=Message(sec=5, nanosec=0))
    empty = Message(header=header, joint_names=["base_link"], points=[])
    kind = "trajectory_msgs/msg/MultiDOFJointTrajectory"
    read = messages.convert(empty, kind, bound["policy/third"], T, CONFIG, "odom")
    assert read.candidate == 2
    with pytest.raises(ConfigError, match="named for both plan and plan_1"):
        messages.bindings(config({"inputs.candidates": "policy/trajectory"}))


def test_an_older_candidate_does_not_take_the_place_of_a_newer_one():
    newer, older = replace(plan(t=T), candidate=2), replace(plan(t=T - 10**8), candidate=2)
    known = plans._with_candidate((), newer, ego(), CONFIG)
    assert plans._with_candidate(known, older, ego(), CONFIG) == known
    assert plans._with_candidate(known, replace(newer, t=T + 1), ego(t=T + 1), CONFIG)[0][0].t == T + 1


def test_a_candidate_that_repeats_itself_while_ego_moves_is_not_passed():
    stuck = drive_with([lambda drive: plan(2.0, t=drive.t)], 0.9, first=broken, speed=2.0)
    assert stuck.decisions[-1].mode == Mode.COMFORT_STOP  # it still begins near ego
    alive = drive_with([keeps], 0.9, first=broken, speed=2.0)
    assert {d.mode for d in alive.decisions} == {Mode.NOMINAL}  # the control
