"""Recorded traffic and the parameterised R157 tests as cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from safety_supervisor.cli import main
from safety_supervisor.core.envelopes import path_margin
from safety_supervisor.core.motion import fallback_distance
from safety_supervisor.core.world import Mode
from safety_supervisor.scenarios import command
from safety_supervisor.scenarios.suites import alks, loop, recorded, timed, traffic
from safety_supervisor.scenarios.suites.kept import kept
from safety_supervisor.scenarios.suites.registry import find
from safety_supervisor.scenarios.suites.suite import Options, SuiteError

CONFIG = command.load(None)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
STATE = """<{tag}><position><point><x>{x}</x><y>{y}</y></point></position>
<orientation><exact>{yaw}</exact></orientation><time><exact>{t}</exact></time><velocity><exact>{v}</exact></velocity></{tag}>"""


def states(x, v, y=0.0, count=51):
    first = STATE.format(tag="initialState", x=x, y=y, yaw=0.0, t=0, v=v)
    rest = (STATE.format(tag="state", x=x + 0.1 * v * i, y=y, yaw=0.0, t=i, v=v) for i in range(1, count))
    return first + "<trajectory>" + "".join(rest) + "</trajectory>"


def scenario(folder, movers, ego=(0.0, 15.0)):
    """A file with movers along x, each (id, x, speed, y), and an ego (x, speed) at y = 0."""
    bodies = "".join(
        f'<dynamicObstacle id="{name}"><type>car</type><shape><rectangle><length>4.5</length><width>1.8</width>'
        f"</rectangle></shape>{states(x, v, y)}</dynamicObstacle>"
        for name, x, v, y in movers
    )
    start = STATE.format(tag="initialState", x=ego[0], y=0.0, yaw=0.0, t=0, v=ego[1])
    text = f'<commonRoad timeStepSize="0.1">{bodies}<planningProblem id="1">{start}</planningProblem></commonRoad>'
    folder.mkdir(exist_ok=True)
    path = folder / "TST_Straight-1.xml"
    path.write_text(text)
    return path


def test_a_file_is_read_with_its_movers_and_ego(tmp_path):
    scene = recorded.load(scenario(tmp_path, [("7", 30.0, 10.0, 0.0), ("8", 60.0, 0.0, 3.5)]))
    assert scene.ego == (0.0, 0.0, 0.0, 15.0)
    assert [m.name for m in scene.movers] == ["7", "8"]
    assert scene.movers[0].states[-1].tolist() == pytest.approx([5.0, 80.0, 0.0, 0.0, 10.0])
    assert list(recorded.egos(scene)) == ["constant", "7"]


def test_what_is_not_a_scenario_is_one_line(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text("<commonRoad>")
    with pytest.raises(SuiteError, match=r"x\.xml"):
        recorded.load(path)


def test_constant_velocity_hits_a_standing_mover_and_the_supervisor_does_not(tmp_path):
    scenario(tmp_path / "commonroad", [("9", 45.0, 0.0, 0.0)])
    suite, options = find("commonroad"), Options(data=tmp_path)
    row = suite.run([0], suite.configure(CONFIG, options), options)[0]
    assert row["kind"] == traffic.CONSTANT
    assert row["collision_without"]
    assert not row["collision"]
    assert row["stops"]


def driven(path, name, sensed=False):
    """Case, drive and vehicle of a mover as ego."""
    options = Options(sensed=sensed)
    scene = recorded.load(path)
    ego = next(m for m in scene.movers if m.name == name)
    config = traffic.as_driven(find("commonroad").configure(CONFIG, options), ego)
    case, past = recorded.driven(scene, name, 3, {}, config)
    return case, past, config


def test_a_driven_ego_follows_its_recording_whatever_is_decided(tmp_path):
    case, past, config = driven(scenario(tmp_path, [("1", 0.0, 12.0, 0.0), ("2", 38.0, 0.0, 0.0)]), "1")
    seen = []
    o = loop.run(case, config, None, past, keep=seen, past=past)
    assert seen[-1].speed == pytest.approx(12.0, abs=0.1)
    assert seen[-1].station - seen[0].station == pytest.approx(12.0 * seen[-1].t, abs=0.3)
    assert not o.collision
    assert o.first_stop is not None


def test_a_free_driven_ego_is_left_alone(tmp_path):
    path = scenario(tmp_path, [("1", 0.0, 12.0, 0.0), ("2", 30.0, 12.0, 0.0), ("3", 5.0, 12.0, 3.6)])
    case, past, config = driven(path, "1")
    seen = []
    assert loop.run(case, config, None, past, past=past, keep=seen).stops == ()
    assert seen[-1].mode == Mode.NOMINAL


def rows(x, t=None):
    """States of a mover at places `x` on the x axis every 0.1 s."""
    t = np.arange(len(x)) * 0.1 if t is None else t
    zero = np.zeros(len(x))
    return np.stack([t, x, zero, zero, zero], axis=1)


def test_a_recorded_motion_loses_its_noise_and_nothing_else():
    t = np.arange(61) * 0.1
    calm = 12.0 * t - 1.5 * t * t
    noise = np.random.default_rng(3).normal(0.0, 0.3, len(t))
    kept_, cleaned = recorded.smoothed(rows(calm)), recorded.smoothed(rows(calm + noise))
    assert kept_[:, 0] == pytest.approx(np.arange(121) * 0.05)
    assert np.interp(t, kept_[:, 0], kept_[:, 1]) == pytest.approx(calm, abs=1e-6)
    assert kept_[:, 4] == pytest.approx(12.0 - 3.0 * kept_[:, 0], abs=0.08)
    off = np.interp(t, cleaned[:, 0], cleaned[:, 1]) - calm
    assert np.abs(off).max() < 0.35
    acceleration = np.gradient(cleaned[:, 4], 0.05)
    assert np.abs(acceleration + 3.0).max() < 3.0
    assert np.abs(np.gradient(np.gradient(calm + noise, 0.1), 0.1) + 3.0).max() > 20.0  # what it was before


def test_a_slow_swerve_is_no_noise_and_a_jump_of_lane_is_drawn_out():
    t = np.arange(61) * 0.1
    swerve, jump = 1.5 * np.sin(2 * np.pi * t / 6.0), np.where(t < 3.0, 0.0, 3.2)
    assert np.abs(np.interp(t, *recorded.smoothed(rows(swerve)).T[:2]) - swerve).max() < 0.1
    lateral = recorded.smoothed(rows(jump))[:, 1]
    assert np.abs(np.diff(lateral)).max() / 0.05 < 4.0


def test_a_state_that_stands_twice_or_alone_is_no_obstacle():
    x = np.array([0.0, 0.0, 1.0, 2.0, 3.0])
    twice = recorded.smoothed(rows(x, np.array([0.0, 0.0, 0.1, 0.2, 0.3])))
    assert twice[:, 1] == pytest.approx(np.arange(7) / 2, abs=1e-6)
    assert len(recorded.smoothed(rows(np.array([4.0])))) == 1


def test_the_plan_ends_with_the_recording_and_the_case_while_ego_can_still_stop_within_it(tmp_path):
    case, past, config = driven(scenario(tmp_path, [("1", 0.0, 12.0, 0.0)]), "1")
    e, t = config.envelope, case.steps * case.dt
    time, station, speed = past.plan(t, *past.at(t), 0.0)
    assert past.time[-1] - recorded.PLAN_STEP < t + time[-1] <= past.time[-1]
    assert (station[-1], speed[-1]) == pytest.approx((12.0 * (t + time[-1]), 12.0), abs=0.01)
    need = fallback_distance(12.0, 0.21, e.acceleration_max, e.assumed_brake, e.assumed_jerk)
    assert 60.0 - past.at(t)[0] <= need < 60.0 - past.at(t - case.dt)[0]


def test_who_comes_to_rest_is_judged_until_then():
    t = np.minimum(np.arange(61) * 0.1, 4.0)
    still = recorded.Mover("1", 4.5, 1.8, recorded.smoothed(rows(12.0 * t - 1.5 * t * t)))
    config = traffic.as_driven(CONFIG, still)
    case, past = recorded.driven(recorded.Scene("x", (still,), None), "1", 0, {}, config)
    assert case.steps * case.dt == pytest.approx(past.time[-1] - 2 * recorded.PLAN_STEP, abs=0.06)


def test_the_margin_that_an_ego_kept_is_that_of_the_envelope(tmp_path):
    case, past, config = driven(scenario(tmp_path, [("1", 0.0, 12.0, 0.0), ("2", 30.0, 10.0, 0.0)]), "1")
    did = kept(case, past, config)
    t = case.steps * case.dt - case.dt  # it comes nearer all the time
    gap = 30.0 - 4.5 - 2.0 * t
    want = path_margin(gap, 12.0, 10.0, 0.21, config.envelope.acceleration_margin, config.envelope)
    assert (did.margin, did.at, did.body) == (pytest.approx(want, abs=0.3), pytest.approx(t), "2")
    assert did.inside
    assert did.reason == ""


def test_the_allowances_of_the_vehicle_file_count_with_sensor_models(tmp_path):
    path = scenario(tmp_path, [("1", 0.0, 12.0, 0.0), ("2", 30.0, 10.0, 0.0)])
    perfect, sensed = (kept(*driven(path, "1", s)) for s in (False, True))
    assert perfect.margin - sensed.margin > 3 * CONFIG.envelope.gap_sigma_floor


@pytest.mark.parametrize(
    ("movers", "inside"),
    [([("2", 14.0, 4.0, 0.0)], False), ([("2", 14.0, 4.0, 2.0)], False), ([("2", 14.0, 4.0, 2.2)], True),
     ([("2", -14.0, 14.0, 0.0)], True), ([], True)],
    ids=["too close", "nearer than the margin of the corridor", "beside", "behind", "nobody"],
)
def test_who_is_in_the_way_that_ego_drives_counts_for_what_it_kept(tmp_path, movers, inside):
    case, past, config = driven(scenario(tmp_path, [("1", 0.0, 12.0, 0.0), *movers]), "1")
    did = kept(case, past, config)
    assert did.inside == inside
    assert bool(did.reason) != inside


def test_a_motion_that_no_vehicle_can_follow_is_no_plan():
    t = np.arange(61) * 0.1
    turn = np.clip(t - 2.0, 0.0, 1.5)  # at 14 m/s
    x, y = 14.0 * np.cumsum(np.cos(turn)) * 0.1, 14.0 * np.cumsum(np.sin(turn)) * 0.1
    ego = recorded.Mover("1", 4.5, 1.8, recorded.smoothed(np.stack([t, x, y, turn, 0 * t], axis=1)))
    config = traffic.as_driven(CONFIG, ego)
    did = kept(*recorded.driven(recorded.Scene("x", (ego,), None), "1", 0, {}, config), config)
    assert "lateral" in did.reason
    assert did.margin == float("inf")


def test_egos_that_kept_the_envelope_are_told_apart_from_those_that_did_not(tmp_path):
    suite, options = find("commonroad"), Options(data=tmp_path)
    path = scenario(tmp_path / "commonroad", [("1", -30.0, 12.0, 0.0), ("2", 40.0, 9.0, 0.0), ("3", 52.0, 3.0, 0.0)])
    config = suite.configure(CONFIG, options)
    rows_ = suite.run([1, 2], config, options)
    assert [r["source"] for r in rows_] == ["commonroad", traffic.OUTSIDE]
    assert (rows_[0]["stops"], rows_[0]["why"]) == ("", "")
    assert "worst-case margin -" in rows_[1]["why"]
    told = suite.extra(rows_, [1.0, 1.0])
    assert told["driven"]["commonroad"] == {"cases": 1, "stopped": 0, "emergencies": 0, "collisions": 0,
                                            "hours": told["driven"]["commonroad"]["hours"]}  # fmt: skip
    assert told["driven"][traffic.OUTSIDE]["cases"] == 1
    assert told["why"] == {f"{path.stem} 2": rows_[1]["why"]}


def test_files_without_incident_come_from_the_index(tmp_path):
    entry = {"file": "a", "min_ttc_s": 2.0, "ego_constant_velocity": [{"v0": 1.0, "hit": None}]}
    close, hit = {**entry, "file": "b", "min_ttc_s": 1.0}, {**entry, "file": "c"}
    hit["ego_constant_velocity"] = [{"v0": 1.0, "hit": [0.7, "5", "car"]}]
    (tmp_path / "index.json").write_text(json.dumps([entry, close, hit]))
    assert traffic.calm(tmp_path) == {"a"}
    with pytest.raises(SuiteError, match=r"index\.json"):
        traffic.calm(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["alks", "commonroad"])
def test_without_its_data_a_suite_says_what_is_missing(name, tmp_path, capsys):
    assert main(["scenario", "run", name, "--data", str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err


def test_a_cut_in_begins_with_its_gap_and_ends_in_the_lane():
    values = {"CutInVehicle_InitPosition_RelativeLaneId": "1", "CutInVehicle_RelativeInitSpeed_Ve0_Vo0_kph": "-20",
              "CutInVehicle_HeadwayDistanceTrigger_dx0_m": "30", "Ego_InitSpeed_Ve0_kph": "50",
              "CutInVehicle_LaneChange_MaxLateralVelocity_Vy_mps": "1.5",
              "CutInVehicle_Acceleration_Rate_mps2": "0"}  # fmt: skip
    vehicle = CONFIG.vehicle
    bodies, hazard = alks.BUILDERS["4.4.1"](values, vehicle, np.arange(0.0, 14.0, 0.01))
    motion = bodies[0].motion
    i = round(hazard / 0.01)
    gap = motion[i, 0] - 4.6 / 2 - vehicle.front - 50 / 3.6 * hazard
    assert gap == pytest.approx(30.0, abs=0.2)
    assert (motion[0, 1], motion[-1, 1]) == (3.5, 0.0)
    assert np.abs(motion[:, 4]).max() == pytest.approx(1.5, rel=0.01)


@pytest.mark.skipif(not DATA.is_dir(), reason="the table is not here")
def test_every_kind_of_alks_test_can_be_built_and_run():
    folder, config = DATA / "alks_openscenario", timed.ALKS.configure(CONFIG, Options())
    rows = alks.read(folder)
    assert len(rows) == 9623
    last = {test: i for i, (test, _) in enumerate(rows)}
    hits = {test for test, i in last.items() if loop.braked(alks.case(folder, i, config), config, float("inf"))[0]}
    assert {test[:5] for test in last} == set(alks.BUILDERS)
    assert {"4.2.1 fully_blocking_target", "4.5.1 cut_out_fully_blocking"} <= hits
    assert not any(test.startswith(("4.1", "4.6.2")) for test in hits)


@pytest.mark.skipif(not DATA.is_dir(), reason="the files are not here")
def test_every_file_of_the_collection_is_read():
    folder = DATA / "commonroad"
    items = traffic.listed(folder)
    assert len({item.file for item in items}) >= 24
    assert sum(item.ego == "constant" for item in items) >= 15
