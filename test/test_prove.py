"""The proofs hold, each control fails, a mutant of the proved code does not get through; and the engine itself."""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import json
import re
import sys
import textwrap
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from proved import CAR, CLAIMS, PROOFS, examined

from safety_supervisor import core, vehicle_file
from safety_supervisor.core import envelopes, motion
from safety_supervisor.core.config import Config, with_values
from safety_supervisor.prove import claims, command, engine, solvers
from safety_supervisor.prove.claims import RANGES, VEHICLE, WITHOUT, Claim, ClaimError, Dual, implies
from safety_supervisor.prove.engine import PROVED, REFUTED, UNKNOWN, VACUOUS
from safety_supervisor.prove.rounding import Rounded

BY_ID = {claim.id: claim for claim in CLAIMS}


# --- the shipped claims -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "scope"), [(c, s) for c in CLAIMS for s in c.scopes], ids=lambda x: getattr(x, "id", x)
)
def test_claim_is_proved_and_its_controls_are_refuted(claim, scope, once):
    result = examined(once, claim, scope)
    assert result.outcome.result == PROVED, result.outcome.detail
    assert {text: c.result for text, c in result.controls.items() if c.result != REFUTED} == {}
    assert list(result.controls) == (list(claim.controls) if scope == claim.scopes[0] else [])


EXAMPLES = vehicle_file.share_dir("config") / "examples"
OTHERS = [file for file in (*vehicle_file.vehicles().values(), *sorted(EXAMPLES.glob("*.yaml"))) if file != CAR]


ONLY_OF_A_VEHICLE = [claim for claim in CLAIMS if claim.scopes == (VEHICLE,)]


@pytest.mark.parametrize("file", OTHERS, ids=lambda path: path.stem)
def test_the_other_shipped_vehicles_are_proved(file):
    config = vehicle_file.load(file)
    # A certificate of today's code has all results; then only what is not proved for any parameters is proved again.
    chosen = [claim for claim in CLAIMS if VEHICLE in claim.scopes]
    proved_of(config, chosen if config.certificate is None else ONLY_OF_A_VEHICLE)


def test_what_is_not_proved_for_any_parameters_is_for_the_defaults():
    proved_of(Config(), ONLY_OF_A_VEHICLE)


def proved_of(config, chosen):
    for claim in chosen:
        outcome = engine.run(claim, VEHICLE, config)
        assert outcome.result == PROVED, f"{claim.id}: {outcome.detail}"


def test_a_fallback_that_brakes_less_than_assumed_is_refuted():
    # What published stacks do: trigger with 3 m/s^2, then brake with 2.5 m/s^2 ramped at 1.5 m/s^3.
    weak = {
        "fallback.emergency_deceleration": 2.5, "fallback.emergency_jerk": 1.5,
        "fallback.firm_deceleration": 2.5, "fallback.comfort_deceleration": 2.0,
        "envelope.assumed_brake": 3.0, "envelope.assumed_jerk": 15.0,
    }  # fmt: skip
    config = Config()
    object.__setattr__(config, "fallback", _replaced(config.fallback, weak, "fallback."))
    object.__setattr__(config, "envelope", _replaced(config.envelope, weak, "envelope."))
    for id_ in ("FALL-5", "FALL-6"):
        outcome = engine.run(BY_ID[id_], VEHICLE, config)
        assert outcome.result == REFUTED
        assert "replayed on fractions and floats" in outcome.detail


def _replaced(group, values, prefix):
    own = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    changed = copy.copy(group)
    for name, value in own.items():
        object.__setattr__(changed, name, value)
    return changed


# --- mutants ------------------------------------------------------------------------------------------------

LONGITUDINAL = ("FALL-4", "LON-6", "LON-1", "LON-8", "LON-5", "LON-7", "FALL-2")
TTC = ("TTC-1", "TTC-2", "TTC-3")
MUTATED = {
    # (module, function): claims that must catch every mutant of it
    ("motion", "braking_distance"): LONGITUDINAL,
    ("motion", "fallback_distance"): LONGITUDINAL,
    ("motion", "fallback_duration"): ("FALL-4",),
    ("motion", "_bounds"): LONGITUDINAL,
    ("motion", "_delay"): LONGITUDINAL,
    ("motion", "speed_for_distance"): ("FALL-7",),
    ("motion", "oncoming_distance"): ("APP-1", "APP-3"),
    ("motion", "largest_closing"): TTC,
    ("envelopes", "longitudinal_margin"): LONGITUDINAL,
    ("envelopes", "_ego_distance"): LONGITUDINAL,
    ("envelopes", "ttc_margin"): TTC,
    ("motion", "oncoming_stop"): ("OPP-1",),
    ("motion", "class_distance"): ("CLS-1",),
    ("motion", "lateral_distance"): ("LAT-5", "LAT-1"),
    ("envelopes", "path_margin"): ("APP-3",),
    ("envelopes", "oncoming_margin"): ("APP-2",),
    ("envelopes", "opposite_margin"): ("OPP-3",),
    ("envelopes", "lateral_margin"): ("LAT-5", "LAT-3"),
    ("envelopes", "separation_margin"): ("SEP-1",),
    ("envelopes", "crossing_margin"): ("CRS-1",),
    ("envelopes", "_ego_duration"): ("APP-2",),
    ("envelopes", "_doubling"): ("NEAR-1",),
    ("envelopes", "_coming"): ("APP-2",),
    ("envelopes", "near_field_margin"): ("NEAR-1",),
    ("envelopes", "clear_distance_margin"): ("APP-6",),
    ("envelopes", "worst_end"): ("UNC-1",),
    ("envelopes", "upper_speed"): ("UNC-5",),
    ("motion", "grip_left"): ("GRIP-1", "GRIP-2"),
    ("motion", "stop_acceleration"): ("STOP-1", "STOP-2", "STOP-3"),
}
EQUIVALENT = {
    # The 1 only keeps the side that is not taken from dividing by 0.
    "largest_closing: 1 -> 2",
}
SWAPS = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.Div),
    ast.Div: (ast.Mult,),
}


def mutants_of(tree, function):
    """Yield (text, tree) for each change of one place in a function."""

    def nodes(whole):
        return [n for statement in whole.body for n in ast.walk(statement)]

    original = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
    for index, node in enumerate(nodes(original)):
        for text, change in changes(node):
            mutant = copy.deepcopy(original)
            change(nodes(mutant)[index])
            body = [mutant if n is original else n for n in tree.body]
            yield f"{function}: {ast.unparse(node)} -> {text}", ast.Module(body, [])


def changes(node):
    """Yield (what becomes of the node, how to change it in place): operator, operand, sign, maximum, constant."""
    if isinstance(node, ast.BinOp):
        for other in SWAPS[type(node.op)]:
            yield other.__name__, lambda n, other=other: setattr(n, "op", other())
        if isinstance(node.op, (ast.Add, ast.Sub)):
            yield "right term dropped", lambda n: setattr(n, "right", ast.Constant(0))
            yield "left term dropped", lambda n: setattr(n, "left", ast.Constant(0))
        if isinstance(node.op, ast.Mult):
            yield "factor dropped", lambda n: setattr(n, "right", ast.Constant(1))
    if isinstance(node, ast.Attribute) and node.attr in ("maximum", "minimum"):
        other = {"maximum": "minimum", "minimum": "maximum"}[node.attr]
        yield other, lambda n: setattr(n, "attr", other)
    if isinstance(node, ast.UnaryOp):
        yield "sign flipped", lambda n: setattr(n, "op", ast.UAdd())
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield str(node.value + 1), lambda n: setattr(n, "value", n.value + 1)


def all_mutants():
    found = []
    for (module, function), judges in MUTATED.items():
        file = Path(sys.modules[f"safety_supervisor.core.{module}"].__file__)
        for text, mutant in mutants_of(ast.parse(file.read_text(encoding="utf-8")), function):
            if text not in EQUIVALENT:
                found.append(pytest.param(module, mutant, judges, id=text))
    return found


def execute(name, tree):
    module = types.ModuleType(f"safety_supervisor.core.{name}")
    exec(compile(ast.fix_missing_locations(tree), f"mutant of {name}", "exec"), module.__dict__)
    return module


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may divide by 0
@pytest.mark.parametrize(("module", "tree", "judges"), all_mutants())
def test_every_mutant_is_caught(module, tree, judges, monkeypatch):
    sources = {"motion": motion.__file__, "envelopes": envelopes.__file__}
    for name, file in sources.items():  # motion first: envelopes imports from it
        changed = execute(name, tree if name == module else ast.parse(Path(file).read_text(encoding="utf-8")))
        monkeypatch.setitem(sys.modules, f"safety_supervisor.core.{name}", changed)
        monkeypatch.setattr(core, name, changed)
    assert caught(judges), f"{', '.join(judges)} are still PROVED"


def caught(judges):
    """Tell whether a claim is refuted, or the code has left what terms can run; UNKNOWN does not count."""
    mutated = {claim.id: claim for claim in claims.load(PROOFS)}
    for id_ in judges:
        claim = mutated[id_]
        for scope in reversed(claim.scopes):
            try:
                outcome = engine.run(claim, scope, Config())
            except (ArithmeticError, ValueError, TypeError):
                return True
            if outcome.result == REFUTED:
                return True
    return False


# --- the engine ---------------------------------------------------------------------------------------------


def prove(body, scope=RANGES, config=None, **keywords):
    return engine.run(Claim("X", "a test", body), scope, config or Config(), keywords)


def test_maximum_forks_into_every_possible_path():
    def body(world):
        x = world.real("x", -1, 1)
        return (np.maximum(x, 0) + np.maximum(-x, 0) >= 0) & (np.where(x > 2, -1, np.minimum(x, 5)) <= 1)

    outcome = prove(body)
    assert outcome.result == PROVED
    assert outcome.paths == 3
    assert outcome.pruned > 0


def test_a_false_claim_is_refuted_with_numbers_that_replay():
    outcome = prove(lambda world: world.real("x", 0, 10) * 2 <= 19)
    assert outcome.result == REFUTED
    assert Fraction(19, 2) < outcome.values["x"] <= 10
    assert "replayed on fractions and floats" in outcome.detail


def test_contradicting_assumptions_are_vacuous():
    def body(world):
        x = world.real("x", 0)
        world.assume("impossible", x < 0)
        return x == 7

    assert prove(body).result == VACUOUS


def test_division_by_what_may_be_zero_is_refuted():
    outcome = prove(lambda world: (1 / world.real("x")) * 0 == 0)
    assert outcome.result == REFUTED
    assert "divisor is not 0" in outcome.detail


def test_division_is_exact():
    def body(world):
        x, y = world.real("x"), world.real("y", 1)
        return (x / y) * y == x

    assert prove(body).result == PROVED


def test_root_of_what_may_be_negative_is_refuted():
    assert "root" in prove(lambda world: np.sqrt(world.real("x", -1)) >= 0).detail


def test_a_float_enters_as_the_fraction_that_it_is():
    assert prove(lambda world: world.real("x", 1) * 0.1 >= Fraction(1, 10)).result == PROVED
    assert prove(lambda world: world.real("x", 1, 1) * 0.1 == Fraction(1, 10)).result == REFUTED


def test_an_irrational_counterexample_is_refuted_on_floats_or_said_to_be_irrational():
    def body(world):
        x = world.real("x", 0)
        world.assume("square", x * x == 2)
        return x * x * x < 2

    outcome = prove(body)
    assert outcome.result == REFUTED
    assert "irrational" in outcome.detail


def test_what_the_solver_cannot_decide_is_unknown(monkeypatch):
    monkeypatch.setattr(solvers, "solve", lambda *_args: solvers.Answer("unknown"))
    assert prove(lambda world: world.real("x") >= 0).result == UNKNOWN


def test_an_encoding_that_differs_from_the_code_is_not_refuted():
    def body(world):
        return world.real("x", 0, 1) >= (2 if isinstance(world, engine.SymbolicWorld) else 0)

    outcome = prove(body)
    assert outcome.result == UNKNOWN
    assert "this does not replay" in outcome.detail


@pytest.mark.parametrize("body", [
    lambda world: 1 if world.real("x") > 0 else 0,
    lambda world: max(world.real("x"), 0) >= 0,
    lambda world: float(world.real("x")) >= 0,
    lambda world: np.hypot(world.real("x"), 1) >= 0,
])  # fmt: skip
def test_code_outside_the_dialect_raises(body):
    with pytest.raises(TypeError):
        prove(body)


def test_a_control_that_is_not_refuted_fails_the_claim():
    claim = Claim("X", "a test", lambda world, low=0: world.real("x", 0) >= low, controls={"no control": {"low": -1}})
    result = engine.decide(claim, RANGES, Config())
    assert result.outcome.result == PROVED
    assert not result.good


def test_an_assumption_can_be_left_out_and_weighed():
    def body(world):
        x = world.real("x", 0, 10)
        world.assume("small", x <= 5)
        return x <= 5

    claim = Claim("X", "a test", body)
    weights = engine.weight_of_assumptions(claim, RANGES, Config(), ["small", "x >= 0"])
    assert weights == {"small": REFUTED, "x >= 0": PROVED}
    with pytest.raises(ClaimError, match="not assumed"):
        prove(body, **{WITHOUT: "misspelt"})


def test_parameters_are_ranges_or_the_values_of_the_vehicle():
    def body(world):
        return world.group("envelope").assumed_brake == Fraction(7)

    assert prove(body, VEHICLE).result == PROVED
    assert prove(body, RANGES).result == REFUTED
    assert prove(body, VEHICLE, with_values(Config(), {"envelope.assumed_brake": 6.5})).result == REFUTED


def test_enumerated_claims_count_their_cases():
    def body(world, wrong=()):
        yield from ("" if n not in wrong else f"case {n}" for n in range(10))

    claim = Claim("X", "a test", body, exhaustive=True)
    assert (engine.run(claim, VEHICLE, Config()).result, engine.run(claim, VEHICLE, Config()).paths) == (PROVED, 10)
    broken = Claim("X", "a test", lambda world: body(world, (3, 4)), exhaustive=True)
    refuted = engine.run(broken, VEHICLE, Config())
    assert (refuted.result, refuted.detail, refuted.paths) == (REFUTED, "case 3; and 1 more", 10)
    assert engine.run(Claim("X", "", lambda _w: iter(()), exhaustive=True), VEHICLE, Config()).result == VACUOUS


def test_a_control_of_cases_is_refuted_by_the_first_that_fails_and_tries_all_when_none_does():
    def body(world, wrong=()):
        yield from ("" if n not in wrong else f"case {n}" for n in range(10))

    claim = Claim("X", "a test", body, exhaustive=True)
    refuted = engine.run(claim, VEHICLE, Config(), {"wrong": (3, 9)})
    assert (refuted.result, refuted.detail, refuted.paths) == (REFUTED, "case 3", 4)
    last = engine.run(claim, VEHICLE, Config(), {"wrong": (9,)})
    assert (last.result, last.paths) == (REFUTED, 10)
    assert engine.run(claim, VEHICLE, Config(), {"wrong": (10,)}).result == PROVED


def test_runs_are_repeatable():
    one, two = (engine.run(BY_ID["LON-8"], RANGES, Config(), {"share": 0}) for _ in range(2))
    assert (one.values, one.paths, one.pruned) == (two.values, two.paths, two.pruned)


def test_implies_on_plain_truth_values():
    assert implies(False, False)
    assert implies(np.bool_(False), True)
    assert not implies(True, False)


@pytest.mark.parametrize("number", [float, Fraction])
def test_duals_differentiate(number):
    x = Dual(number(3), number(1))
    assert (x * x * x).rate == 27
    assert (1 / x).rate == pytest.approx(-1 / 9)
    assert (-x + 5 - 2 * x).rate == -3
    assert np.maximum(x, 0).rate == 1
    assert np.minimum(x, 0).rate == 0


def test_rounded_numbers_refuse_what_they_cannot_bound():
    with pytest.raises(ZeroDivisionError):
        1 / Rounded(-1, 1)
    with pytest.raises(ValueError, match="root"):
        np.sqrt(Rounded(0, 1))
    with pytest.raises(TypeError):
        Rounded(0, 1) > 0  # noqa: B015  (it must raise)


# --- the command --------------------------------------------------------------------------------------------


def arguments(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_command_proves_writes_and_reports(tmp_path, capsys):
    args = arguments("--only", "TTC-*", "--json", tmp_path / "r.json", "--smt2", tmp_path / "q")
    assert command.run(args) == 0
    assert "PROVED" in capsys.readouterr().out.splitlines()[-1]
    data = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert {entry["result"] for entry in data["results"]} == {PROVED}
    written = sorted((tmp_path / "q").glob("TTC-1.any_parameters.*.smt2"))
    assert len(written) == data["results"][0]["queries"]
    assert "(set-logic QF_NRA)" in written[0].read_text(encoding="utf-8")


def test_command_fails_on_what_is_not_proved(tmp_path, capsys):
    (tmp_path / "wrong.py").write_text(
        "from safety_supervisor.prove.claims import claim\n"
        "@claim('BAD-1', 'x is small', controls={'none': {'low': 5}})\n"
        "def small(world, low=0):\n"
        "    return world.real('x', low, 9) <= 8\n",
        encoding="utf-8",
    )
    assert command.run(arguments("--proofs", tmp_path)) == 1
    out = capsys.readouterr().out
    assert "BAD-1   REFUTED" in out
    assert "replayed on fractions and floats" in out
    assert "NOT PROVED" in out


def test_the_example_of_the_documentation_is_proved(tmp_path):
    text = (Path(__file__).resolve().parents[1] / "docs" / "proofs.md").read_text(encoding="utf-8")
    example = text.partition("## Writing a claim")[2].partition("\n- ")[0]
    (tmp_path / "example.py").write_text(textwrap.dedent(example.strip("\n")), encoding="utf-8")
    assert command.run(arguments("--proofs", tmp_path)) == 0


@pytest.mark.parametrize(("source", "text"), [
    ("x = 1\n", "no claim found"),
    ("import nothing_of_this_name\n", "ModuleNotFoundError"),
    ("from safety_supervisor.prove.claims import claim\nc = claim('A', '', controls={})(print)\n", "no control"),
    ("from safety_supervisor.prove.claims import claim\n"
     "c = claim('A', '', controls={'x': {}})(print)\nd = claim('A', '', controls={'x': {}})(len)\n", "used twice"),
])  # fmt: skip
def test_claim_files_that_cannot_be_used_are_one_line(tmp_path, source, text):
    (tmp_path / "a.py").write_text(source, encoding="utf-8")
    with pytest.raises(ClaimError, match=text):
        command.run(arguments("--proofs", tmp_path))


@pytest.mark.parametrize(("words", "text"), [
    (["--only", "NONE-*"], "no claim matches"),
    (["--only", "LON-1", "--only", "NONE-*"], "no claim matches 'NONE"),
    (["--check", "c.json"], "needs --config"),
    (["--certificate", "c.json"], "needs --config"),
    (["--certificate", "c.json", "--config", "v.yaml", "--only", "LON-*"], "all shipped claims"),
])  # fmt: skip
def test_command_refuses(words, text):
    with pytest.raises(ClaimError, match=text):
        command.run(arguments(*words))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("cvc5") is None, reason="cvc5, the second solver, is not installed")
def test_second_solver_contradicts_nothing(capsys):
    assert command.run(arguments("--only", "FALL-[1-4]", "--second-solver")) == 0
    assert "contradicted 0" in capsys.readouterr().out.splitlines()[-1]


def test_certificate_of_a_vehicle_matches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(command.claims, "load", lambda _folder: [BY_ID["FALL-4"], BY_ID["FALL-5"]])  # for time
    source = vehicle_file.vehicles()["passenger_car"]
    vehicle = tmp_path / "car.yaml"
    vehicle.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    certificate = vehicle_file.certificate_path(vehicle)
    assert vehicle_file.load(vehicle).certificate is None
    assert command.run(arguments("--config", vehicle, "--certificate", certificate)) == 0
    first = vehicle_file.load(vehicle).certificate
    assert first is not None
    assert command.run(arguments("--config", vehicle, "--certificate", certificate)) == 0
    assert vehicle_file.load(vehicle).certificate == first  # nothing in it differs from run to run


def test_a_certificate_is_checked_without_proving(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.claims, "load", lambda _folder: [BY_ID["FALL-4"]])
    car, van = (vehicle_file.vehicles()[name] for name in ("passenger_car", "delivery_van"))
    file = tmp_path / "c.json"
    assert command.run(arguments("--config", car, "--certificate", file)) == 0
    monkeypatch.setattr(engine, "run", None)  # nothing may be proved from here on
    assert command.run(arguments("--config", car, "--check", file)) == 0
    assert command.run(arguments("--config", van, "--check", file)) == 1
    assert "parameters: the certificate is for" in capsys.readouterr().out
    body = json.loads(file.read_text(encoding="utf-8"))
    for change, said in (
        ({"core": "0" * 64}, "core: the certificate is for 000000000000"),
        ({"schema": 0}, "schema: the certificate is for 0, here it is 1"),
        ({"results": [{**body["results"][0], "result": "REFUTED"}]}, "result: FALL-4 [any parameters] is REFUTED"),
        ({"results": body["results"][:1]}, "claims: FALL-4 [this vehicle] is not among the results"),
        ({"results": 7}, "damaged: TypeError"),
    ):
        file.write_text(json.dumps({**body, **change}), encoding="utf-8")
        assert command.run(arguments("--config", car, "--check", file)) == 1
        assert said in capsys.readouterr().out
    for damage in (b"{", b"", b"\xb9\x00", b"[" * 100_000):  # cut off, empty, no text, nested beyond any reader
        file.write_bytes(damage)
        assert command.run(arguments("--config", car, "--check", file)) == 1
        assert "damaged" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError):
        command.run(arguments("--config", car, "--check", tmp_path / "none.json"))


def test_several_processes_print_the_same_in_the_same_order(capsys):
    outputs = []
    for jobs in (1, 2):
        assert command.run(arguments("--only", "TTC-[14]", "--only", "ARB-6", "--jobs", jobs)) == 0
        outputs.append(re.sub(r"\d+\.\d+ s", "", capsys.readouterr().out))
    assert outputs[0] == outputs[1]
    assert outputs[0].index("ARB-6") < outputs[0].index("TTC-1")


def test_the_code_under_proof_is_seen():
    seen = {id_: engine.code_under_proof(BY_ID[id_], BY_ID[id_].scopes[0], Config()) for id_ in ("LON-1", "ARB-1")}
    assert "envelopes.longitudinal_margin" in seen["LON-1"]
    assert "motion.fallback_distance" in seen["LON-1"]
    assert seen["ARB-1"] == ["arbitration.next_mode"]


def test_no_certificate_when_a_claim_fails(tmp_path, monkeypatch):
    wrong = Claim("X", "", lambda world: world.real("x") > 0, controls={"none": {}})
    monkeypatch.setattr(command.claims, "load", lambda _folder: [wrong])
    vehicle = vehicle_file.vehicles()["passenger_car"]
    assert command.run(arguments("--config", vehicle, "--certificate", tmp_path / "c.json")) == 1
    assert not (tmp_path / "c.json").exists()


def test_a_claim_that_does_not_run_on_the_code_any_more_is_a_result_and_no_crash():
    def body(world):
        world.real("x", 0, 1)
        raise AttributeError("no such term")

    result = engine.decide(Claim("X-9", "broken", body, scopes=(VEHICLE,), controls={"any": {}}), VEHICLE, Config())
    assert result.outcome.result == UNKNOWN
    assert "no such term" in result.outcome.detail
    assert not result.good


def test_code_that_stops_halfway_does_not_end_the_run(tmp_path, capsys):
    (tmp_path / "halfway.py").write_text(textwrap.dedent("""
        from safety_supervisor.core import motion
        from safety_supervisor.prove.claims import claim

        @claim("END-1", "ends halfway", controls={"other sign": {"sign": -1}})
        def halfway(world, sign=1):
            way = motion.braking_distance(world.real("speed", 0, 40), 5)
            return way >= 0 if way > 1 else sign * way >= 0

        @claim("END-2", "comes after it", controls={"other sign": {"sign": -1}})
        def after(world, sign=1):
            return sign * motion.braking_distance(world.real("speed", 1, 40), 5) >= 0
    """), encoding="utf-8")
    assert command.run(arguments("--proofs", tmp_path, "--json", tmp_path / "out.json")) == 1
    out = capsys.readouterr().out
    assert "the claim does not run on this code: TypeError: a branch on a symbolic value" in out
    assert "END-2   PROVED" in out
    results = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["results"]
    assert [(r["claim"], r["result"]) for r in results[::2]] == [("END-1", "UNKNOWN"), ("END-2", "PROVED")]
    assert results[0]["code"] == ["motion.braking_distance"]
