"""Scenario files: what they may say, what is refused, and that the script moves ego."""

import json

import pytest

from safety_supervisor import cli
from safety_supervisor.core.config import Config
from safety_supervisor.scenarios import files
from safety_supervisor.scenarios.run import run
from safety_supervisor.scenarios.suite import ScenarioError

STOP = {
    "name": "stop", "speed": 10.0, "duration": 5.0, "motion": [[0.0, 0.0], [1.0, 0.0], [1.001, -5.0]],
    "actors": [{"name": "wall", "kind": "truck", "station": 60.0}],
}  # fmt: skip


def test_the_script_moves_ego_without_supervisor():
    made = run(files.from_data(STOP), Config(), 0, supervised=False)
    assert not made.outcome.collision
    assert made.states[-1, 1] == pytest.approx(10 + 10, abs=0.02)  # one second, then 10 m of braking
    assert made.outcome.deceleration_max == pytest.approx(5.0, abs=0.01)
    near = {**STOP, "actors": [{"station": 15.0, "kind": "car"}]}
    assert run(files.from_data(near), Config(), 0, supervised=False).outcome.collision


@pytest.mark.parametrize(("change", "said"), [
    ({"sped": 1}, "unknown key sped"),
    ({"speed": "fast"}, "speed = 'fast' must be a number"),
    ({"speed": float("nan")}, "must be a number from 0 to 100"),
    ({"duration": None}, "duration = None must be"),
    ({"motion": [[1.0]]}, "each entry of motion must be 2 numbers"),
    ({"actors": {}}, "actors must be a list"),
    ({"actors": [{"station": 1.0, "kind": "tram"}]}, "kind = 'tram' must be one of car"),
    ({"actors": [7]}, "expected an object"),
])  # fmt: skip
def test_what_is_wrong_is_named(change, said):
    with pytest.raises(ScenarioError, match=said):
        files.from_data({**STOP, **change})


def test_the_command_takes_a_file(tmp_path, capsys):
    file = tmp_path / "stop.json"
    file.write_text(json.dumps(STOP), encoding="utf-8")
    assert cli.main(["scenario", "run", str(file), "--unsupervised", "--out", str(tmp_path / "out")]) == 0
    assert "recorded" in capsys.readouterr().out
    for damage in ("{", "[" * 100_000):
        file.write_text(damage, encoding="utf-8")
        assert cli.main(["scenario", "run", str(file)]) == 2
        assert "not JSON" in capsys.readouterr().err
    assert cli.main(["scenario", "run", str(tmp_path / "none.json")]) == 2
    assert "No such file" in capsys.readouterr().err
