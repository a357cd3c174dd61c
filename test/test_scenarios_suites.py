"""Suites: grids as published, the same result for any number of processes, and what is written of it."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from safety_supervisor.cli import main
from safety_supervisor.core.world import Mode
from safety_supervisor.scenarios import command
from safety_supervisor.scenarios.suites import command as suites
from safety_supervisor.scenarios.suites import loop, picture, pool, r157, table
from safety_supervisor.scenarios.suites.batch import Batch
from safety_supervisor.scenarios.suites.case import Body, Case, outline, overlap, prolonged, visible
from safety_supervisor.scenarios.suites.grids import over
from safety_supervisor.scenarios.suites.registry import find, work
from safety_supervisor.scenarios.suites.suite import Options, Spec, SuiteError, sample
from safety_supervisor.scenarios.world import CAR, UNIT_CORNERS

pytestmark = pytest.mark.xdist_group("scenarios")

CONFIG = command.load(None)
PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data" / "jrc_fsm_results"
KEYS = {"cases", "collisions_without", "collisions_left", "collisions_new", "unavoidable", "mean_impact_speed_mps"}


def cases(name, rows):
    grid = r157.grid(name)
    return [r157.case(grid, int(i)) for i in rows]


# --- the grids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size"),
    [("r157-cut-in-low", 15930), ("r157-cut-in-high", 14040), ("r157-cut-out", 5850), ("r157-decel", 1121)],
)
def test_a_grid_has_the_published_number_of_cases(name, size):
    assert len(r157.grid(name)) == size == len(find(name).specs(Options()))


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published results are not here")
@pytest.mark.parametrize("speeds", ["low", "high"])
def test_without_reaction_and_by_braking_at_once_the_same_cases_collide_as_published(speeds):
    with gzip.open(PUBLISHED / "cut_in_grid.csv.gz", "rt") as file:
        rows = [r for r in csv.DictReader(file) if r["range"] == speeds]
    columns = ("ego_kph", "cutin_kph", "long_dist", "lat_vel")
    known = {tuple(round(float(r[c]), 2) for c in columns): r for r in rows}
    some = cases(f"r157-cut-in-{speeds}", range(0, len(rows), 7))
    told = [known[tuple(round(float(v), 2) for v in c.parameters.values())] for c in some]
    none, first = r157.reference(some, np.inf), r157.reference(some, 0.0)
    assert [int(r["crash_none"]) for r in told] == none.collision.astype(int).tolist()
    assert [int(r["crash_clairvoyant"]) for r in told] == first.collision.astype(int).tolist()


@pytest.mark.parametrize(("name", "without", "left"), [("r157-decel", 1121, 0), ("r157-cut-out", 5670, 165)])
def test_what_braking_at_once_leaves(name, without, left):
    every = cases(name, range(len(r157.grid(name))))
    assert int(r157.reference(every, np.inf).collision.sum()) == without
    assert int(r157.reference(every, 0.0).collision.sum()) == left


def test_the_cut_in_car_is_beside_ego_with_its_gap_when_it_has_its_lateral_speed():
    one = cases("r157-cut-in-low", [len(r157.grid("r157-cut-in-low")) - 1])[0]
    motion = one.bodies[0].motion
    full = int(np.argmax(np.isclose(motion[:, 4], -one.parameters["lateral_mps"])))
    ego = one.speed * full * one.dt
    assert motion[full, 1] == pytest.approx(r157.LATERAL_GAP + r157.WIDTH)
    assert motion[full, 0] - ego - r157.LENGTH == pytest.approx(one.parameters["gap_m"], abs=1e-6)
    assert np.diff(motion[: full + 1, 4]).min() >= -r157.LATERAL_ACCELERATION * one.dt - 1e-9


# --- the loop -------------------------------------------------------------------------------------------------


def test_a_lead_that_brakes_is_not_hit_and_without_supervisor_it_is():
    suite = find("r157-decel")
    row = suite.run([1000], suite.configure(CONFIG, Options()), Options())[0]
    assert row["collision_without"]
    assert not row["collision"]
    assert row["first_stop_s"] is not None


def test_with_sensor_models_it_depends_on_the_seed_and_on_nothing_else():
    suite = find("r157-cut-in-low")
    seeded = [Options(sensed=True, seed=s) for s in (0, 0, 1)]
    tracked = []
    for options in seeded:
        one, decisions = replace(cases(suite.name, [9000])[0], steps=12), []
        loop.run(one, suite.configure(CONFIG, options), options.seed, decisions=decisions)
        tracked.append([d.tracks.state.tobytes() for d in decisions])
    assert tracked[0] == tracked[1] != tracked[2]
    assert len(tracked[0]) == 12


def test_before_a_case_with_sensor_models_everybody_drives_straight_on():
    one = cases("r157-cut-in-low", [9017])[0]
    longer = prolonged(one, 2.0)
    first, then = longer.bodies[0].motion[0], longer.bodies[0].motion[20]
    assert longer.steps == one.steps + 20
    assert (then == one.bodies[0].motion[0]).all()
    assert then[0] - first[0] == pytest.approx(2.0 * then[3])
    assert first[1] == then[1]
    assert longer.start == pytest.approx(one.start - 2.0 * one.speed)


def test_actuators_ramp_with_their_jerk_and_end_at_their_strongest_braking():
    config = find("r157-decel").configure(CONFIG, Options())
    now = [0.0]
    for _ in range(10):
        now.append(loop.actuated(now[-1], -50.0, 0.1, config))
    assert np.diff(now[:7]) == pytest.approx(-r157.JERK / r157.FREQUENCY)
    assert now[-1] == pytest.approx(-r157.BRAKE)


def test_what_can_be_driven_over_is_never_hit_but_seen():
    still = np.array([[30.0, 0.0, 0.0, 0.0, 0.0]])
    config = find("r157-decel").configure(CONFIG, Options())
    for solid in (True, False):
        one = Case(0, {}, (Body("thing", CAR, still, solid),), 10.0, 0.1, 60)
        decisions = []
        ended = loop.run(one, config, decisions=decisions)
        assert len(decisions[0].tracks) > 0
        assert decisions[0].tracks.moved.all() == solid
        assert not (ended.collision and not solid)


def test_a_body_behind_another_is_not_in_sight():
    near, far = (np.array([x, 0.0]) + UNIT_CORNERS * (2.0, 1.0) for x in (20.0, 40.0))
    points = np.concatenate([near, far])
    owner = np.repeat([0, 1], 4)
    seen = visible(points, owner, np.zeros(2), np.stack([near, far]))
    assert seen.tolist() == [True] * 4 + [False] * 4
    aside = np.add(far, (0.0, 30.0))
    assert visible(aside, owner[4:], np.zeros(2), np.stack([near, aside])).all()


def test_rectangles_overlap_or_do_not():
    box = UNIT_CORNERS * (2.0, 1.0)
    others = np.stack([np.add(box, shift) for shift in ((3.9, 0.0), (4.1, 0.0), (0.0, 1.9), (0.0, 2.1))])
    assert overlap(box, others).tolist() == [True, False, True, False]
    turned = UNIT_CORNERS @ np.array([[0.6, 0.8], [-0.8, 0.6]])
    assert overlap(box, np.stack([np.add(turned, (3.3, 0.0)), np.add(turned, (3.5, 0.0))])).tolist() == [True, False]


def test_an_outline_has_no_wide_gaps():
    points = outline(CAR)
    steps = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
    assert steps.max() <= 2.2
    assert np.abs(points).max(axis=0).tolist() == [CAR.length / 2, CAR.width / 2]


@pytest.mark.timeout(0 if "SHARE" in os.environ else 300)  # a share of a grid takes minutes
@pytest.mark.parametrize("name", ["r157-cut-in-low", "r157-cut-in-high", "r157-cut-out", "r157-decel"])
def test_a_batch_decides_what_step_decides_world_by_world_to_the_bit(name):
    # A few of each grid here; `SHARE` in the environment makes it a share of every grid, as 0.01.
    size = len(r157.grid(name))
    share = float(os.environ.get("SHARE", "0"))
    rows = np.sort(np.random.default_rng(7).choice(size, max(round(share * size), 3), replace=False))
    some, config = cases(name, rows), find(name).configure(CONFIG, Options())
    batch = Batch(some, config, [over(name, one) for one in some])
    outcomes = batch.run()
    for k, one in enumerate(some):
        ticks = []
        assert loop.run(one, config, over=over(name, one), keep=ticks) == outcomes[k]
        assert ticks == batch.ticks[k]


def test_worlds_of_a_batch_share_what_they_have_in_common_and_part_where_they_differ():
    name = "r157-cut-in-low"
    grid = r157.grid(name)
    one_speed = [i for i in range(len(grid)) if grid.columns["ego_kph"][i] == 60.0][:: 5310 // 6]
    some, config = cases(name, one_speed), find(name).configure(CONFIG, Options())
    batch = Batch(some, config, [over(name, one) for one in some])
    batch.run()
    first = {tuple(ticks[:2]) for ticks in batch.ticks.values()}
    assert len(first) == 1
    assert len({tuple(ticks) for ticks in batch.ticks.values()}) > 1


# --- the runner -----------------------------------------------------------------------------------------------


def test_the_result_does_not_depend_on_the_number_of_processes():
    suite, options = find("r157-decel"), Options()
    config = suite.configure(CONFIG, options)
    pieces = pool.chunks([0, 30, 60], 1)
    one, two = (list(pool.run(suite.name, work, pieces, config, options, jobs)) for jobs in (1, 2))
    assert one == two
    assert [r["case"] for part in one for r in part] == [0, 30, 60]


def test_a_sample_takes_of_every_stratum_its_share():
    specs = [Spec(i, "many" if i < 90 else "few") for i in range(100)]
    chosen = sample(specs, 20, 0)
    assert sum(s.stratum == "few" for s, _ in chosen) == 2
    assert sum(weight for _, weight in chosen) == pytest.approx(100)
    assert [s.id for s, _ in chosen] == sorted({s.id for s, _ in chosen})
    assert sample(specs, 20, 0) == chosen != sample(specs, 20, 1)
    assert len(sample(specs, None, 0)) == 100


def test_the_command_prints_a_table_and_writes_rows_picture_and_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suites, "sample", lambda *asked: sample(*asked)[::12])  # one case of every twelfth stratum
    out, figures = tmp_path / "out", tmp_path / "figures.json"
    argv = ["scenario", "run", "r157-decel", "--sample", "4", "--perfect-sensors", "--out", str(out)]
    assert main([*argv, "--json", str(figures)]) == 0
    told = json.loads(figures.read_text())
    assert set(told) >= KEYS
    assert told["cases"] == told["collisions_without"] > told["collisions_left"] == told["collisions_new"] == 0
    assert told["parameters"]["fallback"]["emergency_deceleration"] == pytest.approx(0.774 * 9.81)
    assert "collisions without the supervisor" in capsys.readouterr().out
    written = next(p for p in (out / "r157-decel.parquet", out / "r157-decel.csv") if p.exists())
    assert len(table.read(written)) == told["cases"]
    assert not list(out.glob("*.part"))


def test_rows_are_written_as_csv_where_pyarrow_is_missing(tmp_path, monkeypatch):
    rows = [{"case": 1, "mode": "NOMINAL"}, {"case": 2, "mode": "SPEED_CAP", "hit": "x"}]
    monkeypatch.setattr(table, "_library", lambda name: None)
    path = table.write(rows, tmp_path / "rows")
    assert path.suffix == ".csv"
    assert [r["case"] for r in table.read(path)] == ["1", "2"]


def test_a_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [
        {"x": x, "y": y, "p": 1, "collision": x > 2, "collision_without": y > 1, "collision_bound": x > 3,
         "stops": "FIRM_STOP" if x == 0 else ""}
        for x in range(5)
        for y in range(3)
    ]  # fmt: skip
    shape = picture.Picture("x", "y", ("p",), "x [m]", "y [m/s]")
    assert picture.draw(rows, shape, "title", tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    kinds = {picture.outcome_of(r) for r in rows}
    assert kinds == set(range(6))


def test_a_suite_that_does_not_exist_is_refused():
    with pytest.raises(SuiteError, match="r157-cut-out"):
        find("r157-cut-uot")


@pytest.mark.parametrize("bad", [["--jobs", "0"], ["--sample", "x"], ["--hours", "nan"]])
def test_options_out_of_range_are_usage_errors(bad, capsys):
    assert main(["scenario", "run", "r157-decel", *bad]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_perfect_and_modelled_sensors_exclude_each_other(capsys):
    assert main(["scenario", "run", "r157-decel", "--sensors", "--perfect-sensors"]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_suites_are_listed(capsys):
    assert command.run(argparse.Namespace(action="list")) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in suites.SUITES)
    assert "stopped-vehicle" in listed


def test_stops_are_counted_once_each_with_their_strongest_mode():
    modes = [Mode.NOMINAL, Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.STANDSTILL, Mode.NOMINAL, Mode.COMFORT_STOP]
    ticks = [loop.Tick(0.1 * i, 0.0, 1.0 if i != 3 else 0.0, m, 0.0) for i, m in enumerate(modes)]
    o = loop.outcome(ticks, "", 0.0, 1.0, 1.0)
    assert o.stops == (Mode.FIRM_STOP, Mode.COMFORT_STOP)
    assert (o.first_stop, o.resumed) == (pytest.approx(0.1), pytest.approx(0.3))
    assert o.stopped == pytest.approx(0.2)


@pytest.mark.parametrize("row", [7131, 11272])
def test_who_drifts_in_slowly_while_ego_is_passing_is_not_braked_into(row):
    # At this gap ego is past before the other car is in the way; braking for its drift alone would cause the collision.
    suite = find("r157-cut-in-low")
    told = suite.run([row], suite.configure(CONFIG, Options()), Options())[0]
    assert not told["collision_without"]
    assert not told["collision"]


@pytest.mark.parametrize(("name", "rows"), [
    ("r157-cut-in-low", (1282, 3497, 4486, 7442, 10637, 10705)), ("r157-cut-in-high", (5629, 10126)),
])  # fmt: skip
def test_acting_hits_nobody_whom_ego_would_have_passed_or_could_have_let_in(name, rows):
    """A cap or a late stop beside a car that ego passes, a stop in front of who is behind, a growth that ends."""
    suite, options = find(name), Options()
    ended = suite.run(rows, suite.configure(CONFIG, options), options)
    assert [r["case"] for r in ended if r["collision"]] == []
