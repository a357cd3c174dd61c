"""The shipped witnesses hold, belong to the code of today, and the checker refuses every forged one."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from fractions import Fraction

import pytest

from safety_supervisor import vehicle_file
from safety_supervisor.prove import claims, engine, jobs, witnesses
from safety_supervisor.prove.claims import VEHICLE, Claim

PROOFS = vehicle_file.share_dir("proofs")
CHECKER = PROOFS / "check_witnesses.py"
FILES = sorted((PROOFS / "witnesses").glob("*.json"))
BY_ID = {claim.id: claim for claim in claims.load(PROOFS)}
NEEDED = {"LON-1", "LON-2", "LON-3", "LON-4", "LON-5", "LON-6", "FALL-1", "FALL-2", "FALL-3", "TTC-1", "GRIP-1"}


def run_checker(*files):
    # -S -I: nothing but the standard library is there to be imported
    words = [sys.executable, "-I", "-S", str(CHECKER), *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def test_the_checker_is_short_and_imports_the_standard_library_only():
    lines = CHECKER.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    imported = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"json", "re", "sys", "fractions", "pathlib"}


def test_the_shipped_witnesses_hold():
    answer = run_checker()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert len(answer.stdout.splitlines()) == len(FILES)


@pytest.mark.parametrize("vehicle", sorted(vehicle_file.vehicles()))
def test_the_core_of_the_argument_has_witnesses_for_each_shipped_vehicle(vehicle):
    there = {file.name.removeprefix(f"{vehicle}.").removesuffix(".json") for file in FILES}
    assert there >= NEEDED


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_witnesses_are_about_the_code_of_today(file):
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data["missing"] == 0
    config = vehicle_file.load(vehicle_file.vehicles()[data["vehicle"]])
    outcome = engine.run(BY_ID[data["claim"]], data["scope"], config)
    stored = {frozenset(case["assertions"]) for query in data["queries"] for case in query["cases"]}
    for query in outcome.queries:
        for system in witnesses._systems(query.negated):
            formulas = {atom.text for atom in system}
            assert any(assertions <= formulas for assertions in stored), query.text


def forgeries(case):
    """Yield (what was done to it, a case that must be refused)."""
    def changed(change):
        forged = copy.deepcopy(case)
        change(forged)
        return forged

    first = case["products"][0]
    yield "another number", changed(lambda c: c["products"][0].update(factor=str(Fraction(first["factor"]) + 1)))
    yield "a negative number", changed(lambda c: c["products"][0].update(factor="-" + first["factor"]))
    yield "a product left out", changed(lambda c: c["products"].pop())
    yield "another obligation", changed(lambda c: c["assertions"].__setitem__(0, "(>= |x| 0)"))
    yield "nothing shown", changed(lambda c: c.update(products=[], equations=[]))


def lon_1():
    file = PROOFS / "witnesses" / "passenger_car.LON-1.json"
    return [c for query in json.loads(file.read_text(encoding="utf-8"))["queries"] for c in query["cases"]]


@pytest.mark.parametrize("number", range(len(lon_1())))
def test_forged_witnesses_are_refused(number, tmp_path):
    for what, case in forgeries(lon_1()[number]):
        file = tmp_path / "forged.json"
        file.write_text(json.dumps({"queries": [{"cases": [case]}]}), encoding="utf-8")
        answer = run_checker(file)
        assert answer.returncode == 1, what
        assert "NOT VALID" in answer.stderr, what


def of(*indices):
    return [{"factor": "1", "of": [index], "squares": []} for index in indices]


TIMES_X = [{"of": 0, "times": "|x|"}]
WRONG = {
    "equation as factor": (["(= |x| 1)"], of(0), []),
    "multiplier on an inequality": (["(>= |x| 1)", "(> |x| 0)"], of(1), TIMES_X),
    "nothing strict": (["(>= |x| 0)", "(<= |x| 0)"], of(0, 1), []),
    "division": (["(>= (/ 1 |x|) 0)"], of(0), []),
    "unknown relation": (["(distinct |x| 0)"], of(0), []),
}


@pytest.mark.parametrize("case", [
    dict(zip(("assertions", "products", "equations"), parts, strict=True)) for parts in WRONG.values()
], ids=WRONG)  # fmt: skip
def test_steps_that_prove_nothing_are_refused(case, tmp_path):
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({"queries": [{"cases": [case]}]}), encoding="utf-8")
    answer = run_checker(file)
    assert answer.returncode == 1
    assert "NOT VALID" in answer.stderr


def test_what_has_a_solution_has_no_witness():
    claim = Claim("X", "", lambda world: world.real("x", 0) * world.real("y", 0) <= 1)
    config = engine.Config()
    world_queries = engine.run(claim, VEHICLE, config).queries
    found, missing = witnesses.of_queries(world_queries)
    assert missing == 1
    assert found[0]["cases"] == []


def test_a_report_carries_witnesses_when_asked():
    config = vehicle_file.load(vehicle_file.vehicles()["passenger_car"])
    options = jobs.Options(witnesses=True)
    reports = list(jobs.examine_all([BY_ID["LON-4"]], PROOFS, config, options, 1))
    assert [r.witness is None for r in reports] == [True, False]
    assert reports[-1].unwitnessed == 0
