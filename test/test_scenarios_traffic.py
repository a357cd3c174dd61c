"""Recorded traffic and the parameterised R157 tests as cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from safety_supervisor.cli import main
from safety_supervisor.scenarios import command
from safety_supervisor.scenarios.suites import alks, loop, recorded, timed, traffic
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


def test_a_driven_ego_follows_its_recording_whatever_is_decided(tmp_path):
    path = scenario(tmp_path / "commonroad", [("1", 0.0, 12.0, 0.0), ("2", 25.0, 0.0, 0.0)])
    case, ego, past = recorded.driven(recorded.load(path), "1", 3, {})
    config = traffic.as_driven(find("commonroad").configure(CONFIG, Options()), ego)
    kept = []
    o = loop.run(case, config, None, past, keep=kept, past=past)
    assert kept[-1].speed == pytest.approx(12.0, abs=0.1)
    assert kept[-1].station - kept[0].station == pytest.approx(12.0 * kept[-1].t, abs=0.3)
    assert not o.collision
    assert o.first_stop is not None


def test_a_free_driven_ego_is_left_alone(tmp_path):
    path = scenario(tmp_path / "commonroad", [("1", 0.0, 12.0, 0.0), ("2", 30.0, 12.0, 0.0), ("3", 5.0, 12.0, 3.6)])
    case, ego, past = recorded.driven(recorded.load(path), "1", 3, {})
    config = traffic.as_driven(find("commonroad").configure(CONFIG, Options()), ego)
    assert loop.run(case, config, None, past, past=past).stops == ()


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
