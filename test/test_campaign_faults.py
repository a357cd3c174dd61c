"""The fault matrix: each fault really does what its name says, and a small part of the matrix holds."""

from __future__ import annotations

import json
from dataclasses import replace

import evidence
import numpy as np
import pytest

from safety_supervisor import cli, vehicle_file
from safety_supervisor.campaign import matrix, stated, stored, table
from safety_supervisor.campaign.clock import CLOCKS
from safety_supervisor.campaign.faults import FAULTS, INAPPLICABLE, NAMES, Stream
from safety_supervisor.campaign.matrix import Cell, Observed
from safety_supervisor.campaign.readings import Reading, channels
from safety_supervisor.campaign.tamper import CLOCK, Faulty
from safety_supervisor.core.config import with_values
from safety_supervisor.core.world import nanoseconds
from safety_supervisor.messages import Gatherer
from safety_supervisor.scenarios.run import EPOCH

# One worker runs them all, so that each situation without a fault is run once.
pytestmark = pytest.mark.xdist_group("faults")

# The campaign runs the vehicle as it is shipped; here it decides less often, for time.
SLOWER = {"timing.period": 0.05, "timing.gate_timeout": 0.1}
CONFIG = with_values(vehicle_file.load(vehicle_file.share_dir("config") / "passenger_car.yaml"), SLOWER)
KNOWN = {c.name: c for c in channels(CONFIG)}
SAMPLES = {
    "radar_front": np.array([[40.0, 0.0, -5.0], [20.0, 0.1, -20.0]]),
    "us_front_left": np.array([[1.5]]),
    "odometry": np.array([[3.0, 1.0, 0.1, 20.0, 0.01]]),
    "plan": np.array([[0.1 * i, 2.0 * i, 0.0, 0.0, 20.0] for i in range(41)]),
    "driver": np.array([[0.0]]),
}
FAULT = {fault.name: fault for fault in FAULTS}


def message(name, t=EPOCH, rows=None):
    return KNOWN[name].write(Reading(t, t + 1000, SAMPLES[name] if rows is None else rows))


def sent(name, fault, *, seed=0, begin=0.0, count=1):
    """What arrives of `count` messages, 50 ms apart."""
    tamper = Faulty(CONFIG, name, FAULT[fault], begin, seed)
    times = [EPOCH + i * 50_000_000 for i in range(count)]
    topic = message(name).topic
    return [m for t in times for m in tamper.network(t + 1, [message(name, t)]) if m.topic == topic]


def inputs(messages):
    gatherer = Gatherer(CONFIG)
    for m in messages:
        gatherer.add(m.topic, m.msgtype, m.body, m.t)
    return gatherer.take()


# --- readings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_message_reads_back_as_it_was_written(name):
    reading = KNOWN[name].read(message(name, EPOCH))
    np.testing.assert_allclose(reading.rows, SAMPLES[name], rtol=0, atol=1e-5)
    assert reading.stamp == (EPOCH if name != "driver" else 0)
    assert reading.arrival == EPOCH + 1000


def test_without_a_fault_messages_pass_as_they_are_and_the_driver_is_silent():
    tamper = Faulty(CONFIG, "", None, 0.0)
    given = [message("plan")]
    made = tamper.network(EPOCH, given)
    assert made[:1] == given
    assert inputs(made).driver[0].takeover is False


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_before_its_begin_a_fault_changes_nothing(name):
    for fault in FAULTS:
        if (KNOWN[name].family, fault.name) not in INAPPLICABLE:
            tamper = Faulty(CONFIG, name, fault, 1.0)
            given = [message(name)]
            assert tamper.network(EPOCH + 1, given) == given, fault.name


# --- what each fault does -------------------------------------------------------------------------------------------


def test_drop_sends_nothing_and_freeze_repeats_the_first_content():
    assert sent("radar_front", "drop", count=3) == []
    first, second = sent("odometry", "freeze", count=2)
    assert first.body.pose.pose.position.x == second.body.pose.pose.position.x
    assert first.body.header.stamp != second.body.header.stamp


def test_biases_and_scale_point_towards_danger():
    scan = inputs(sent("radar_front", "bias-2m")).radar[0]
    np.testing.assert_allclose(scan.range, [42.0, 22.0], atol=1e-4)
    scan = inputs(sent("radar_front", "bias-2m/s")).radar[0]
    np.testing.assert_allclose(scan.range_rate, [-3.0, -18.0], atol=1e-4)
    assert inputs(sent("odometry", "bias-2m/s")).odometry[0].speed == pytest.approx(18.0)
    assert inputs(sent("odometry", "scale-1.05")).odometry[0].speed == pytest.approx(20.0 / 1.05)
    assert inputs(sent("us_front_left", "bias-2m")).ranges[0].range == pytest.approx(3.5)
    assert inputs(sent("plan", "bias-2m")).plans[0].y[0] == pytest.approx(2.0)
    assert inputs(sent("plan", "scale-1.05")).plans[0].x[10] == pytest.approx(21.0)


def test_noise_has_five_times_the_declared_standard_deviation():
    stream = Stream(KNOWN["radar_front"], EPOCH, np.random.default_rng(1))
    reading = Reading(0, 0, np.zeros((20000, 3)))
    (noisy,) = FAULT["noise-x5"].edit(stream, reading)
    declared = stream.sigma * np.sqrt(24)  # the sensor's own noise is on top
    np.testing.assert_allclose(noisy.rows.std(axis=0), declared, rtol=0.03)


@pytest.mark.parametrize("name", ["radar_front", "odometry"])
@pytest.mark.parametrize("fault", ["nan", "inf"])
def test_numbers_that_are_none_are_refused(name, fault):
    assert [bad.source for bad in inputs(sent(name, fault)).invalid] == [name]


def test_an_empty_message_has_no_rows_or_no_fields():
    assert len(inputs(sent("radar_front", "empty")).radar[0].range) == 0
    assert len(inputs(sent("plan", "empty")).plans[0].x) == 0
    assert {bad.source for bad in inputs(sent("odometry", "empty")).invalid} == {"odometry"}
    assert {bad.source for bad in inputs(sent("driver", "empty")).invalid} == {"driver"}


def test_order_copies_delay_and_stamps():
    assert len(sent("plan", "duplicate")) == 2
    stamps = [m.body.header.stamp.nanosec for m in sent("odometry", "out-of-order", count=4)]
    assert stamps == [50_000_000, 0, 150_000_000, 100_000_000]
    assert sent("radar_front", "late-200ms")[0].t == EPOCH + 1000 + 200_000_000
    assert sent("plan", "future-1s")[0].body.header.stamp.sec == EPOCH // 10**9 + 1
    assert len(sent("us_front_left", "flood-x100")) == 100
    assert len(sent("odometry", "flood-x100", count=40)) == 20 * 100 + 20  # it lasts a second


def test_identities_ghosts_and_sectors():
    tamper = Faulty(CONFIG, "us_front_left", FAULT["id-switch"], 0.0)
    other = message("us_front_centre_left", rows=np.array([[4.0]]))
    swapped = inputs(tamper.network(EPOCH + 1, [message("us_front_left"), other]))
    assert {r.sensor: r.range for r in swapped.ranges} == {"us_front_left": 4.0, "us_front_centre_left": 1.5}
    assert [len(s.range) for s in inputs(sent("radar_front", "ghosts-20", count=2)).radar] == [22, 2]
    assert len(inputs(sent("odometry", "ghosts-20")).odometry) == 21
    assert len(inputs(sent("radar_front", "sector-30deg")).radar[0].range) == 0  # both are within 15 degrees
    assert np.isinf(inputs(sent("us_front_left", "sector-30deg")).ranges[0].range)


def test_a_clock_that_goes_wrong():
    def shown(fault, count=4):
        tamper = Faulty(CONFIG, CLOCK, FAULT[fault], 0.0)
        period = nanoseconds(CONFIG.timing.period)
        return [[t - EPOCH for t in tamper.ticks(EPOCH + i * period)] for i in range(count)]

    period = nanoseconds(CONFIG.timing.period)
    assert shown("freeze") == [[0], [0], [0], [0]]
    assert shown("drop") == [[], [], [], []]
    assert shown("duplicate", 2) == [[0, 0], [period, period]]
    assert shown("out-of-order") == [[], [period, 0], [], [3 * period, 2 * period]]
    assert shown("future-1s", 1) == [[10**9]]
    assert shown("late-200ms", 1) == [[-200_000_000]]
    assert len(shown("flood-x100", 1)[0]) == 100


# --- what is promised -----------------------------------------------------------------------------------------------


def test_every_cell_is_promised_something_or_does_not_apply():
    families = {c.family for c in KNOWN.values()} | {CLOCK}
    for family in families:
        for fault in NAMES:
            listed = fault in stated.TABLE[family]
            assert listed != ((family, fault) in INAPPLICABLE), (family, fault)
    assert set(CLOCKS) == set(stated.TABLE[CLOCK])
    assert {*stated.ADOPTS, *stated.EXCEPTIONS} <= {(f, n) for f in families for n in stated.TABLE[f]}


def observed(**values):
    base = Observed("s", "cut-in", 1.0, False, False, 0.1, "RADAR_STALE", "COMFORT_STOP", 0.05, 0.4, False, 100)
    return replace(base, **values)


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ({}, True),
        ({"nominal_last": 0.5}, False),
        ({"nominal_last": 0.5, "adopts": True}, True),
        ({"nominal_last": 0.5, "adopts": True, "detected": 0.6}, False),
        ({"nominal_last": 0.5, "stated": None}, True),
        ({"collision": True}, False),
        ({"collision": True, "collision_without": True}, True),
    ],
)
def test_control_a_cell_that_breaks_its_promise_does_not_hold(values, holds):
    row = table.record(Cell("radar_front", "radar", "drop"), [observed(**values)])
    assert row["holds"] is holds
    assert bool(table.summary([row])["failing"]) is not holds
    assert ("does not hold" in "\n".join(table.lines([row]))) is not holds


@pytest.mark.parametrize(
    ("source", "family", "fault", "finding"),
    [
        ("radar_front", "radar", "drop", "RADAR_STALE"),
        ("odometry", "odometry", "nan", "ODOMETRY_INVALID"),
        ("plan", "plan", "bias-2m", "PLAN_OFF_EGO"),
        ("radar_front", "radar", "freeze", "RADAR_FROZEN"),
        (CLOCK, CLOCK, "freeze", "CLOCK_JUMP"),
    ],
)
def test_a_small_part_of_the_matrix_holds(source, family, fault, finding):
    cell = Cell(source, family, fault)
    situation = next(s for s in matrix.SITUATIONS if s.scenario == "crossing-pedestrian")
    row = table.record(cell, [matrix.observe(cell, situation, CONFIG)])
    assert row["holds"], row
    assert row["findings"] == [finding]
    assert row["detection_s"] <= row["stated_s"]


@pytest.mark.parametrize(
    ("fault", "stratum"),
    [("sector-30deg", "vulnerable road user"), ("empty", "braking object, fault as it brakes")],
)
def test_a_radar_that_goes_blind_to_what_it_knew_is_answered_by_a_stop(fault, stratum):
    situation = next(s for s in matrix.SITUATIONS if s.stratum == stratum)
    seen = matrix.observe(Cell("radar_front", "radar", fault), situation, CONFIG)
    assert not seen.collides
    assert seen.detected is not None
    assert seen.detected < 0.5
    assert seen.reaction in ("FIRM_STOP", "EMERGENCY_STOP")


@pytest.mark.parametrize(
    ("source", "family", "fault", "stratum", "finding"),
    [
        ("radar_front", "radar", "freeze", "standing object, fault long before", "RADAR_FROZEN"),
        ("plan", "plan", "freeze", "lateral hazard", "PLAN_OFF_EGO"),
        ("plan", "plan", "freeze", "wall in the near field", "PLAN_FROZEN"),
        ("odometry", "odometry", "bias-2m/s", "vulnerable road user", "ODOMETRY_CONTRADICTED"),
    ],
)
def test_what_froze_or_lies_is_found_in_time_and_the_stop_for_it_goes_on(source, family, fault, stratum, finding):
    situation = next(s for s in matrix.SITUATIONS if s.stratum == stratum)
    seen = matrix.observe(Cell(source, family, fault), situation, CONFIG)
    assert (seen.finding, seen.collides) == (finding, False)
    assert seen.nominal_last is None or seen.nominal_last <= seen.stated


def test_the_command_writes_cells_and_says_what_does_not_hold(tmp_path, capsys):
    out = tmp_path / "faults.json"
    assert cli.main(["campaign", "faults", "--only", "us_front_left:nan", "--sample", "1", "--json", str(out)]) == 0
    data = json.loads(out.read_text())
    assert data["runs"] == 1
    assert data["matrix"][0]["holds"] is True
    assert "us_front_left" in capsys.readouterr().out


def test_a_matrix_that_was_stopped_goes_on_and_comes_out_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(matrix, "SITUATIONS", [s for s in matrix.SITUATIONS if s.near])
    kept = tmp_path / "runs.jsonl"
    words = ["campaign", "faults", "--only", "us_front_left:nan", "--resume", str(kept), "--json"]
    assert cli.main([*words, str(tmp_path / "one.json")]) == 0
    lines = kept.read_text().splitlines()
    assert len(lines) > 1
    kept.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:50])  # stopped in the middle of a line
    observe, calls = matrix.observe, []
    monkeypatch.setattr(matrix, "observe", lambda *job: calls.append(job) or observe(*job))
    assert cli.main([*words, str(tmp_path / "two.json")]) == 0
    assert len(calls) == 1
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()
    assert cli.main([*words, str(tmp_path / "three.json")]) == 0
    assert len(calls) == 1
    capsys.readouterr()


def test_control_runs_of_other_code_or_parameters_do_not_count(tmp_path, monkeypatch):
    cell, situation = Cell("plan", "plan", "nan"), matrix.SITUATIONS[0]
    path = tmp_path / "runs.jsonl"
    with stored.Writer(path, CONFIG) as writer:
        writer.add(cell, situation, observed())
    assert stored.load(path, CONFIG) == {stored.key(cell, situation): observed()}
    assert stored.load(path, with_values(CONFIG, {"odd.speed_max": 31.0})) == {}
    monkeypatch.setattr(vehicle_file, "package_digest", lambda: "other code")
    assert stored.load(path, CONFIG) == {}


def test_parts_of_a_matrix_are_put_together_cell_by_cell(tmp_path):
    def part(name, **runs):
        rows = [table.record(Cell("plan", "plan", fault), runs.get(fault, [])) for fault in ("nan", "inf", "drop")]
        data = {"config": "abc", "seed": 0, **table.summary(rows), "matrix": rows}
        (tmp_path / name).write_text(json.dumps(data))
        return tmp_path / name

    one = part("one", nan=[observed()], inf=[observed(), observed()])
    two = part("two", nan=[observed(), observed(collision=True)], inf=[observed()])
    figures = evidence.faults(one, two)
    assert (figures["runs"], figures["cells_tried"], figures["collisions"]) == (4, 2, 1)
    assert figures["failing"] == ["plan:nan"]
    assert figures["runs_of"] == 961
    assert all("runs" not in row for row in figures["matrix"])
    assert evidence.faults(one)["runs"] == 3
    other = json.loads(two.read_text()) | {"config": "other"}
    two.write_text(json.dumps(other))
    with pytest.raises(SystemExit, match="one vehicle"):
        evidence.faults(one, two)


@pytest.mark.parametrize("words", [["--only", "lidar"], ["--jobs", "0"], ["--sample", "x"]])
def test_wrong_usage_is_one_line(words, capsys):
    assert cli.main(["campaign", "faults", *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_plan_that_froze_is_found_where_there_is_nothing_to_brake_for(monkeypatch):
    monkeypatch.setattr(matrix, "LONGEST", 8.0)  # the fault begins after 3 s, and it is the longest drive of all
    matrix._free.cache_clear()
    test_what_froze_or_lies_is_found_in_time_and_the_stop_for_it_goes_on(
        "plan", "plan", "freeze", "nothing to brake for", "PLAN_OFF_EGO")  # fmt: skip
    matrix._free.cache_clear()
