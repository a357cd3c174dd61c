"""Suites of single tests: their geometry meets as the table says, and the bound is what braking can do."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from safety_supervisor.cli import main
from safety_supervisor.scenarios import command
from safety_supervisor.scenarios.suites import layout, loop, ncap, timed
from safety_supervisor.scenarios.suites.case import Case
from safety_supervisor.scenarios.suites.registry import find
from safety_supervisor.scenarios.suites.suite import Options, SuiteError

CONFIG = command.load(None)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
INF = float("inf")

RUNS = {
    "CCRs.xosc": {"Ego_speed_kph": "50", "ImpactLocation": "75", "Target_init_speed_kph": "0"},
    "CCRm.xosc": {"Ego_speed_kph": "80", "ImpactLocation": "0", "Target_init_speed_kph": "20"},
    "CCRb.xosc": {"Ego_speed_kph": "50", "ImpactLocation": "50", "Target_init_speed_kph": "50",
                  "Target_final_speed_kph": "2", "Target_time_headway": "1", "Target_deceleration": "4"},
    "CPNA.xosc": {"Ego_speed_kph": "40", "ImpactLocation": "25", "VRU_finalSpeed_kph": "5"},
    "CPFA.xosc": {"Ego_speed_kph": "40", "ImpactLocation": "75", "VRU_finalSpeed_kph": "8"},
    "CPNCO.xosc": {"Ego_speed_kph": "30", "ImpactLocation": "50", "VRU_finalSpeed_kph": "5"},
    "CBLA.xosc": {"Ego_speed_kph": "40", "Target_final_speed_kph": "15"},
    "CCCscp.xosc": {"Ego_speed_kph": "40", "Target_final_speed_kph": "40", "ImpactSide": "-1"},
    "CCFhos.xosc": {"Ego_speed_kph": "50", "Target_init_speed_kph": "50", "ImpactLocation": "50"},
    "CCFtap.xosc": {"Ego_speed_kph": "15", "Target_final_speed_kph": "45", "Trajectory_R1": "1500",
                    "Trajectory_R2": "11.75", "Trajectory_alpha": "20.93", "Trajectory_beta": "48.14"},
}  # fmt: skip


def vehicle():
    return timed.NCAP[0].configure(CONFIG, Options())


def test_case(name):
    return ncap.case(ncap.Test(0, ncap.test_name(name), name, RUNS[name]), vehicle().vehicle)


test_case.__test__ = False


@pytest.mark.parametrize("name", RUNS)
def test_unbraked_ego_meets_the_target_when_the_table_says(name):
    one, config = test_case(name), vehicle()
    collision, speed = loop.braked(one, config, INF)
    assert collision
    assert speed > 0.5
    if name != "CCRb.xosc":  # its target is reached later, the faster the harder it brakes
        before = round((ncap.MEET - 0.05) / one.dt)
        kept = [loop.contact(one, config, i, one.start + one.speed * i * one.dt, one.speed)[0] for i in range(before)]
        assert not any(kept)
        after = round((ncap.MEET + 0.15) / one.dt)
        assert any(
            loop.contact(one, config, i, one.start + one.speed * i * one.dt, one.speed)[0] for i in range(before, after)
        )


def test_the_impact_location_is_where_the_target_is_on_ego():
    one = test_case("CPNA.xosc")
    y = float(one.bodies[0].motion[round(ncap.MEET / one.dt), 1])
    assert y == pytest.approx(-0.25 * vehicle().vehicle.width)
    far = test_case("CPFA.xosc")
    assert far.bodies[0].motion[0, 1] > 3.0 > -3.0 > one.bodies[0].motion[0, 1]


@pytest.mark.parametrize(("share", "percent"), [("100", 50.0), ("50", 100.0), ("-50", 0.0), ("75", 75.0)])
def test_an_overlap_becomes_an_impact_location(share, percent):
    assert ncap.impact(ncap.Test(0, "CCRs", "", {"Overlap": share})) == percent


def test_the_impact_location_in_the_name_counts_where_the_row_has_none():
    assert ncap.impact(ncap.Test(0, ncap.test_name("x/NCAP_AEB_VRU_CPNA-25_Variation_2023.xosc"), "", {})) == 25.0


def test_a_child_behind_parked_cars_is_seen_late_and_a_free_one_at_once():
    config = vehicle()
    assert loop.first_sight(test_case("CPNA.xosc"), config, "target") == 0.0
    assert 2.0 < loop.first_sight(test_case("CPNCO.xosc"), config, "target") < ncap.MEET


def test_braking_earlier_never_hits_faster():
    one, config = test_case("CCRs.xosc"), vehicle()
    impacts = [loop.braked(one, config, begin)[1] for begin in (3.0, 4.5, 5.0, 5.5, INF)]
    assert impacts[0] == 0.0
    assert impacts == sorted(impacts)
    assert impacts[-1] == pytest.approx(50 / 3.6)


def test_the_bound_is_compared_case_by_case():
    def r(without, bound, supervised):
        return {"collision_without": without > 0, "collision_bound": bound > 0, "collision": supervised > 0,
                "impact_bound_mps": bound, "impact_mps": supervised}  # fmt: skip

    rows = [r(10, 0, 0), r(10, 0, 3), r(10, 5, 5.4), r(10, 5, 5.6), r(0, 0, 0)]
    told = timed.against_bound(rows)
    assert (told["avoided_by_bound"], told["missed"], told["missed_share"]) == (2, 1, 0.5)
    assert (told["not_avoided_by_bound"], told["faster_than_allowed"]) == (2, 1)
    assert timed.allowed(1.0) == pytest.approx(1.0 + 1 / 3.6)


def test_a_step_of_an_offset_is_smooth():
    t = layout.times(4.0)
    y, rate = layout.smooth(t, 1.0, 2.0, 3.5, 0.0)
    assert (y[0], y[-1]) == (3.5, 0.0)
    assert np.cumsum(rate * layout.DT)[-1] == pytest.approx(-3.5, abs=0.01)


def test_a_run_that_nobody_knows_is_refused():
    with pytest.raises(SuiteError, match="CXYZ"):
        ncap.case(ncap.Test(7, "CXYZ", "", {"Ego_speed_kph": "10"}), vehicle().vehicle)
    with pytest.raises(SuiteError, match="run 7"):
        ncap.case(ncap.Test(7, "CCRs", "", {"Ego_speed_kph": "10"}), vehicle().vehicle)


@pytest.mark.parametrize("name", ["ncap-2026", "ncap-2023-c2c", "ncap-2023-vru"])
def test_without_its_table_a_suite_says_what_is_missing(name, tmp_path, capsys):
    assert main(["scenario", "run", name, "--data", str(tmp_path)]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "ncap_openscenario" in told[0]
    assert "--data" in told[0]


def write_table(folder, runs):
    path = folder / "ncap_openscenario" / "expanded_runs.csv"
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variation_file", "parameters"])
        writer.writerows([f"CA-FC_2026/Variations/{name}", json.dumps(values)] for name, values in runs)


def test_equal_geometry_is_run_once_and_told_for_each_row(tmp_path):
    values = RUNS["CCRs.xosc"]
    runs = [("CCRs.xosc", {**values, "LightingConditions": light}) for light in ("Sunny", "Night")]
    write_table(tmp_path, runs)
    suite, options = find("ncap-2026"), Options(data=tmp_path)
    rows = suite.run([0, 1], suite.configure(CONFIG, options), options)
    assert [r["light"] for r in rows] == ["Sunny", "Night"]
    assert {k: v for k, v in rows[0].items() if k not in ("case", "light")} == {
        k: v for k, v in rows[1].items() if k not in ("case", "light")
    }
    assert rows[0]["collision_without"]
    assert not rows[0]["collision"]
    assert not rows[0]["collision_bound"]


@pytest.mark.skipif(not DATA.is_dir(), reason="the tables are not here")
@pytest.mark.parametrize(("name", "size"), [("ncap-2026", 863), ("ncap-2023-c2c", 153), ("ncap-2023-vru", 139)])
def test_every_run_of_the_table_can_be_built_and_meets(name, size):
    suite, options = find(name), Options(data=DATA)
    config = suite.configure(CONFIG, options)
    specs = suite.specs(options)
    assert len(specs) == size
    strata = {s.stratum: s.id for s in specs}  # the last of each test
    for id_ in strata.values():
        one = suite.build(DATA / suite.needs, id_, config)
        assert isinstance(one, Case)
        assert loop.braked(one, config, INF)[0], one.parameters
