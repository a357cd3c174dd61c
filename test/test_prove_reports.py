"""What proofs leave behind: ledger, safety case, counterexamples in words and as files."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from proved import CAR, CLAIMS, PROOFS, examined

from safety_supervisor import vehicle_file
from safety_supervisor.core import arbitration, envelopes, fallback, motion
from safety_supervisor.core.config import with_values
from safety_supervisor.core.world import Mode
from safety_supervisor.prove import command, counterexample, engine, formulas, jobs, ledger
from safety_supervisor.prove.claims import VEHICLE, Claim, ClaimError
from safety_supervisor.prove.engine import PROVED, REFUTED
from safety_supervisor.replay.command import Options, replay
from safety_supervisor.scenarios import files
from safety_supervisor.scenarios.run import run as simulate

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "proofs" / "LEDGER.md"
SAFETY_CASE = ROOT / "docs" / "safety_case.md"

WEAK = """\
fallback: {emergency_deceleration: 2.5, emergency_jerk: 1.5, firm_deceleration: 2.5, comfort_deceleration: 2.0}
envelope: {assumed_brake: 3.0, assumed_jerk: 15.0}
"""
"""What published stacks do: trigger with 3 m/s^2, then brake with 2.5 m/s^2 that builds up at 1.5 m/s^3."""


def arguments(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture(scope="module")
def reports(once):
    return [examined(once, claim, scope) for claim in CLAIMS for scope in claim.scopes]


@pytest.mark.slow
@pytest.mark.timeout(900)  # whoever comes first proves every claim in one process
def test_the_ledger_is_true(reports):
    fresh = ledger.text(vehicle_file.load(CAR), reports)
    renew = "safety-supervisor prove --config config/passenger_car.yaml --second-solver --ledger proofs/LEDGER.md"
    assert list(ledger.stable(LEDGER.read_text(encoding="utf-8"))) == list(ledger.stable(fresh)), f"renew it: {renew}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_safety_case_is_true(reports, tmp_path):
    copy = tmp_path / "case.md"
    text = SAFETY_CASE.read_text(encoding="utf-8")
    copy.write_text(text.replace("PROVED", "UNKNOWN"), encoding="utf-8")
    ledger.write_summary(copy, reports)
    written = copy.read_text(encoding="utf-8")
    assert written.partition(ledger.BEGIN)[2].partition(ledger.END)[0] in text, "renew it: prove --safety-case"


def test_the_second_solver_confirmed_at_least_95_percent():
    rows = [re.search(r"Z3 (\d+), cvc5 (\d+) \|$", line) for line in LEDGER.read_text(encoding="utf-8").splitlines()]
    asked, confirmed = (sum(int(row[k]) for row in rows if row) for k in (1, 2))
    assert asked > 2000
    assert confirmed >= 0.95 * asked


def test_every_claim_of_the_ledger_is_evidence_in_the_safety_case():
    text = SAFETY_CASE.read_text(encoding="utf-8").partition(ledger.BEGIN)[0]
    named = set(re.findall(r"[A-Z]+-\d+", text))
    for first, last in re.findall(r"([A-Z]+-\d+) to ([A-Z]+-\d+)", text):
        kind, low, high = first.split("-")[0], int(first.split("-")[1]), int(last.split("-")[1])
        named |= {f"{kind}-{n}" for n in range(low, high + 1)}
    assert {claim.id for claim in CLAIMS} - named == set()
    assert {name for name in named if name.split("-")[0] not in ("SIL",)} - {c.id for c in CLAIMS} == set()


def test_a_document_without_generated_part_is_refused(tmp_path):
    document = tmp_path / "case.md"
    document.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ClaimError, match="no generated part"):
        ledger.write_summary(document, [])


def test_the_ledger_covers_all_claims_or_is_refused(tmp_path):
    for option in ("--ledger", "--safety-case"):
        with pytest.raises(ClaimError, match="covers all shipped claims"):
            command.run(arguments(option, tmp_path / "x.md", "--only", "LON-1"))


def test_a_vehicle_that_brakes_less_than_assumed_gets_a_counterexample_in_words(tmp_path, capsys):
    vehicle = tmp_path / "weak.yaml"
    vehicle.write_text(WEAK, encoding="utf-8")
    out = tmp_path / "found"
    assert command.run(arguments("--config", vehicle, "--only", "FALL-[56]", "--counterexample", out)) == 1
    printed = capsys.readouterr().out
    assert re.search(r"FALL-5 +REFUTED", printed)
    assert re.search(r"ego [\d.]+ m/s, [\d.]+ s after the fallback began to act: its acceleration is -[\d.]+", printed)
    assert re.search(r"ego [\d.]+ m/s, response .* the commanded stop takes [\d.]+ m, .* is hit", printed)
    data = json.loads((out / "vehicle.FALL-6.this_vehicle.json").read_text(encoding="utf-8"))
    assert data["reachable"] is True
    assert data["situation"]["ego_speed"] == float(Fraction(data["values"]["speed"]["exact"]))
    assert data["contact"] is True  # what stands at the end of the assumed stop is hit
    assert "contact after" in printed
    for id_ in ("FALL-5", "FALL-6"):
        assert (out / f"vehicle.{id_}.this_vehicle.scenario.json").exists()


def replayed(data, out, tmp_path):
    """Replay a counterexample's recording with its own vehicle file; return the smallest longitudinal margin."""
    options = Options(config=out / data["vehicle_file"])
    return replay(out / data["recording"], tmp_path / "replayed", options)["margin_min_m"]


def test_a_counterexample_is_a_recording_that_replay_shows_as_a_breach(tmp_path):
    vehicle, out = tmp_path / "weak.yaml", tmp_path / "found"
    vehicle.write_text(WEAK, encoding="utf-8")
    assert command.run(arguments("--config", vehicle, "--only", "FALL-6", "--counterexample", out)) == 1
    data = json.loads((out / "vehicle.FALL-6.this_vehicle.json").read_text(encoding="utf-8"))
    assert replayed(data, out, tmp_path) < -1.0
    scenario = files.load(out / data["scenario"])
    again = simulate(scenario, vehicle_file.load(out / data["vehicle_file"]), 0, supervised=False)
    assert (again.outcome.collision, again.outcome.collision_time) == (True, data["contact_time_s"])


def test_a_broken_envelope_ends_in_a_contact(tmp_path, monkeypatch):
    config = vehicle_file.load(CAR)
    claim = next(c for c in CLAIMS if c.id == "LON-1")
    whole = envelopes.path_margin

    def without_response(gap, ego_speed, object_speed, response, acceleration, p):
        return whole(gap, ego_speed, object_speed, 0 * response, acceleration, p)

    outcome = engine.run(claim, VEHICLE, config, claim.controls["response time dropped"])
    monkeypatch.setattr(envelopes, "path_margin", without_response)  # the code as the control has it
    report = jobs.Report("LON-1", "", "", VEHICLE, False, outcome, {}, 0.0, inductive=True)
    data = json.loads(counterexample.write(tmp_path, config, report).read_text(encoding="utf-8"))
    assert data["contact"] is True


@pytest.mark.parametrize("id_", ["APP-2", "LAT-1", "SEP-1", "CRS-1", "NEAR-1", "TTC-1", "FEA-2", "UNC-1"])
def test_each_kind_of_claim_has_a_recording_and_the_shipped_margin_keeps_clear(id_, tmp_path):
    config = vehicle_file.load(CAR)
    claim = next(c for c in CLAIMS if c.id == id_)
    outcome = engine.run(claim, claim.scopes[-1], config, next(iter(claim.controls.values())))
    report = jobs.Report(id_, "", "", claim.scopes[-1], False, outcome, {}, 0.0)
    data = json.loads(counterexample.write(tmp_path, config, report).read_text(encoding="utf-8"))
    assert (tmp_path / data["recording"]).is_dir()
    assert data["contact"] is False  # the control was wrong, not the shipped code


def refuted(id_, config, control):
    """Return the report of a claim as one of its controls leaves it."""
    claim = next(c for c in CLAIMS if c.id == id_)
    outcome = engine.run(claim, claim.scopes[-1], config, claim.controls[control])
    assert outcome.result == REFUTED
    return jobs.Report(id_, "", "", claim.scopes[-1], claim.exhaustive, outcome, {}, 0.0)


BROKEN = {
    "GRIP-1": ("bend forgotten", motion, "grip_left", lambda _v, _k, circle, downhill: circle - downhill),
    "STOP-1": ("the ramp starts anew", motion, "stop_acceleration",
               lambda now, wanted, floor, left, step: -np.minimum(step, wanted)),
    "ARB-2": ("forgets the hazard", arbitration, "next_mode",
              lambda mode, latched, facts: (Mode.NOMINAL, latched) if facts.dwelt or mode > 1 else (mode, latched)),
    "ARB-3": ("trusts everything", arbitration, "next_mode",
              lambda mode, latched, facts: (Mode.NOMINAL, latched)),
}  # fmt: skip
"""How the code is broken, by claim: the control whose counterexample is shown, and what the code then is."""


@pytest.mark.parametrize("id_", BROKEN)
def test_brakes_and_modes_are_shown_as_a_contact_with_the_broken_code_and_only_with_it(id_, tmp_path, monkeypatch):
    config = with_values(vehicle_file.load(CAR), {"timing.period": 0.05, "timing.gate_timeout": 0.1})  # for time
    control, module, name, broken = BROKEN[id_]
    report = refuted(id_, config, control)
    whole = json.loads(counterexample.write(tmp_path / "whole", config, report).read_text(encoding="utf-8"))
    assert not whole.get("contact")
    monkeypatch.setattr(module, name, broken)
    monkeypatch.setattr(fallback, name, broken, raising=False)  # it imports the function by name
    data = json.loads(counterexample.write(tmp_path, config, report).read_text(encoding="utf-8"))
    assert data["contact"] is True
    assert replayed(data, tmp_path, tmp_path) < 0.0


@pytest.mark.parametrize(("id_", "control"), [("GRIP-4", "only the command is cut"), ("GRIP-5", "less friction"),
                                              ("STOP-5", "a ramp that starts anew")])
def test_the_shipped_brakes_stop_in_time_where_their_counterexamples_are_shown(id_, control, tmp_path):
    config = vehicle_file.load(CAR)
    data = json.loads(counterexample.write(tmp_path, config, refuted(id_, config, control)).read_text(encoding="utf-8"))
    assert (tmp_path / data["recording"]).is_dir()
    assert data["contact"] is (id_ == "GRIP-5")  # a road with less friction than the vehicle file counts on


def test_what_no_road_can_show_has_no_recording(tmp_path):
    config = vehicle_file.load(CAR)
    file = counterexample.write(tmp_path, config, refuted("GRIP-6", config, "a loader without these rules"))
    assert json.loads(file.read_text(encoding="utf-8"))["reason"] == "this claim is about no object on a road"
    assert "no recording" in counterexample.told(file)


@pytest.mark.parametrize("id_", ["FALL-5", "FALL-6"])
def test_a_weak_vehicle_gets_no_certificate(id_, tmp_path, monkeypatch):
    vehicle = tmp_path / "weak.yaml"
    vehicle.write_text(WEAK, encoding="utf-8")
    monkeypatch.setattr(command.claims, "load", lambda _folder: [c for c in CLAIMS if c.id == id_])
    assert command.run(arguments("--config", vehicle, "--certificate", tmp_path / "c.json")) == 1
    assert not (tmp_path / "c.json").exists()


def test_a_counterexample_that_only_breaks_induction_is_labelled(tmp_path):
    claim = next(c for c in CLAIMS if c.id == "LON-1")
    config = vehicle_file.load(CAR)
    outcome = engine.run(claim, VEHICLE, config, claim.controls["response time dropped"])
    assert outcome.result == REFUTED
    assert "breaks the induction, the state need not be reachable" in outcome.detail
    report = jobs.Report("LON-1", "", "", VEHICLE, False, outcome, {}, 0.0, inductive=claim.inductive)
    data = json.loads(counterexample.write(tmp_path, config, report).read_text(encoding="utf-8"))
    assert data["reachable"] is False
    assert set(data["situation"]) >= {"ego_speed", "object_speed", "response"}
    assert re.search(r"ego [\d.]+ m/s.*lead [\d.]+ m/s", data["words"])


def test_what_is_proved_has_no_counterexample(tmp_path):
    report = jobs.Report("X", "", "", VEHICLE, False, engine.Outcome(PROVED), {}, 0.0)
    assert counterexample.write(tmp_path / "none", vehicle_file.load(CAR), report) is None
    assert not (tmp_path / "none").exists()


def test_a_claim_tells_its_counterexample():
    def body(world):
        x = world.real("x", 3, 9)
        world.tell("ego {x} m/s", x=x)
        return x < 3

    outcome = engine.run(Claim("X", "", body), VEHICLE, vehicle_file.load(CAR))
    assert re.search(r"; ego \d m/s; replayed", outcome.detail)


def test_the_formulas_are_those_of_the_code(tmp_path):
    page = ROOT / "docs" / "proofs.md"
    copy = tmp_path / "proofs.md"
    text = page.read_text(encoding="utf-8")
    copy.write_text(text.replace("max(", "min("), encoding="utf-8")
    assert command.run(arguments("--formulas", copy)) == 0
    written = copy.read_text(encoding="utf-8").partition(formulas.BEGIN)[2].partition(formulas.END)[0]
    assert written in text, "renew them: safety-supervisor prove --formulas docs/proofs.md"
    assert "ttc_margin(gap, closing_speed, closing_acceleration, horizon) = gap - largest_closing(" in written
    with pytest.raises(ClaimError, match="no place for formulas"):
        formulas.write(LEDGER)


def test_a_formula_refuses_what_it_cannot_say():
    name = formulas.Formula("x")
    assert ((name + 1) * (name - 2) / (2 * name)).text == "(x + 1) * (x - 2) / (2 * x)"
    assert (name - (name - 1)).text == "x - (x - 1)"
    assert (-(name + 1)).text == "-(x + 1)"
    with pytest.raises(TypeError):
        bool(name > 0)
    with pytest.raises(TypeError):
        np.hypot(name, 1)


def test_named_assumptions_are_dropped_in_turn():
    claim = next(c for c in CLAIMS if c.id == "FEA-4")
    report = next(iter(jobs.examine_all([claim], PROOFS, vehicle_file.load(CAR), jobs.Options(), 1)))
    assert report.weights["A4 the object's energy falls no faster"] == REFUTED
    assert set(report.weights) == {n for n in report.outcome.assumptions if not engine.RANGE.fullmatch(n)}
    without = dataclasses.replace(report, weights={"not faster than at the tick": PROVED})
    shown = ledger.text(vehicle_file.load(CAR), [without])
    assert "not faster than at the tick (not needed)" in shown


def test_a_misspelt_claim_gets_a_hint(capsys):
    with pytest.raises(ClaimError, match="did you mean LON-1"):
        command.run(arguments("--only", "LON1"))


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH")
def test_a_certificate_can_be_signed_as_documented(tmp_path):
    file = tmp_path / "passenger_car.certificate.json"
    file.write_bytes(vehicle_file.certificate_path(CAR).read_bytes())
    key = tmp_path / "safety_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "safety-supervisor", file], check=True,
                   capture_output=True)  # fmt: skip
    who = "engineer@example.com"
    public = (tmp_path / "safety_key.pub").read_text(encoding="utf-8")
    (tmp_path / "allowed_signers").write_text(f"{who} {public}", encoding="utf-8")

    def verified(data):
        words = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed_signers", "-I", who, "-n", "safety-supervisor",
                 "-s", f"{file}.sig"]  # fmt: skip
        return subprocess.run(words, input=data, capture_output=True, check=False).returncode == 0

    assert verified(file.read_bytes())
    assert not verified(file.read_bytes().replace(b"PROVED", b"REFUTED", 1))
