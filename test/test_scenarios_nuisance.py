"""The suite in which there is nothing to stop for: what its pieces are, and how false stops are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safety_supervisor.core.world import Mode
from safety_supervisor.scenarios import command
from safety_supervisor.scenarios.sensors import stream
from safety_supervisor.scenarios.suites import layout, loop, nuisance, recorded
from safety_supervisor.scenarios.suites.case import Case
from safety_supervisor.scenarios.suites.grids import case_seed
from safety_supervisor.scenarios.suites.nuisance import DT, NUISANCE, PIECE
from safety_supervisor.scenarios.suites.registry import find
from safety_supervisor.scenarios.suites.suite import Options
from safety_supervisor.scenarios.world import CAR, road

CONFIG = command.load(None)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FAMILIES = [build for build, _ in nuisance.FAMILIES]


def piece(build, id_=0):
    return build(stream(0, f"nuisance {id_}"), CONFIG.vehicle.front, id_)


def driven(build, id_, steps):
    """Stations of ego under its own policy, nobody supervising."""
    case, driver = piece(build, id_)
    station, speed, acceleration = case.start, case.speed, 0.0
    for step in range(steps):
        _, _, v = driver.plan(step * DT, station, speed, acceleration)
        yield case, step, station, speed
        acceleration = float(v[1] - v[0]) / 0.1
        speed = max(speed + acceleration * DT, 0.0)
        station += speed * DT


@pytest.mark.parametrize("build", FAMILIES)
def test_in_no_piece_does_the_policy_itself_hit_anything(build):
    config = NUISANCE.configure(CONFIG, Options(sensed=True))
    for id_ in (0, 1):
        for case, step, station, speed in driven(build, id_, round(PIECE / DT)):
            if step % 4 == 0:
                assert loop.contact(case, config, step, station, speed)[0] == "", (id_, step * DT)


def test_the_pieces_make_up_the_hours_and_every_family_has_its_share():
    specs = NUISANCE.specs(Options(hours=2.0))
    seconds = sum(12.0 if s.stratum == "parking" else PIECE for s in specs)
    assert 2.0 * 3600 <= seconds < 2.0 * 3600 + PIECE
    names = [s.stratum for s in specs]
    assert set(names) == {build.__name__ for build in FAMILIES} | {"parking"}
    assert names.count("queue") > names.count("ghosts") > 0


def test_the_same_piece_is_the_same_again_and_another_one_another():
    one, again, other = (piece(nuisance.queue, id_)[0] for id_ in (9, 9, 10))
    assert (one.bodies[0].motion == again.bodies[0].motion).all()
    assert not (one.bodies[0].motion == other.bodies[0].motion).all()


def test_the_queue_keeps_about_its_headway():
    gaps = []
    for case, step, station, speed in driven(nuisance.queue, 3, 1000):
        lead = case.bodies[0].at(step)
        x, y, _ = case.way.pose(station)
        away = float(np.hypot(lead[0] - x, lead[1] - y)) - CONFIG.vehicle.front - case.bodies[0].kind.length / 2
        gaps.append(away / max(speed, 1.0))
    assert min(gaps) > 0.6
    assert np.median(gaps) == pytest.approx(1.15, abs=0.4)  # 0.9 s and 2 m


def test_what_is_overhead_is_out_of_the_beam_before_it_is_near():
    case, _ = piece(nuisance.overhead, 3)
    vehicle = NUISANCE.configure(CONFIG, Options(sensed=True))
    assert case.bodies
    assert not any(b.solid for b in case.bodies)
    assert min(b.nearest for b in case.bodies) > vehicle.authority.static_range


def test_a_curve_is_driven_with_little_lateral_acceleration():
    case, _ = piece(nuisance.oncoming, 6)
    yaw = case.way.pose(np.arange(0.0, 1000.0, 1.0))[2]
    assert np.abs(np.diff(yaw)).max() * case.speed**2 <= nuisance.LATERAL_ACCELERATION * 1.01


def test_a_piece_with_guard_rails_is_quiet():
    options = Options(sensed=True)
    case, driver = piece(nuisance.rails, 0)
    config = NUISANCE.configure(CONFIG, options)
    kept = []
    o = loop.run(case, config, case_seed(0, 0), driver, over=lambda step, *_: step >= 160, keep=kept)
    assert o.stops == ()
    assert kept[-1].mode == Mode.NOMINAL


def turning(gap):
    """Ego at 11 m/s slows to 5.5 m/s for a turn of 12 m radius, and so does a lead `gap` [m] ahead."""
    t = np.arange(0.0, 9.0, DT)
    speed = np.clip(11.0 - 2.5 * np.maximum(t - 1.0, 0.0), 5.5, 11.0)
    travel = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * DT)])
    slow = float(np.interp(3.2, t, travel))
    way = road([(100.0 + slow, 0.0), (5.0, 1 / 12.0), (12.0, 1 / 12.0), (5.0, 0.0), (200.0, 0.0)])
    lead = layout.along("lead", CAR, way, travel + 3.7 + gap + CAR.length / 2, np.maximum(speed, 5.5), 0 * t, 0 * t)
    return Case(0, {}, (lead,), 11.0, DT, 120, way), recorded.Driven(t, travel, speed)


@pytest.mark.parametrize(("gap", "stops"), [(12.0, False), (2.0, True)], ids=["with room", "too close"])
def test_who_turns_behind_a_lead_that_turns_is_left_alone(gap, stops):
    case, past = turning(gap)
    config = NUISANCE.configure(CONFIG, Options())
    assert bool(loop.run(case, config, None, past, past=past).stops) == stops


def test_false_stops_are_counted_by_source_with_how_long_they_lasted():
    def r(source, stops, resumed=None):
        return {"source": source, "stops": stops, "simulated_s": 1800.0, "stopped_after_s": None,
                "resumed_after_s": resumed}  # fmt: skip

    rows = [r("a", "COMFORT_STOP FIRM_STOP", 2.0), r("a", ""), r("b", "EMERGENCY_STOP", 4.0), r("b", "UNABLE")]
    told = NUISANCE.extra(rows, [1.0] * 4)
    assert (told["hours"], told["comfort_stops"], told["firm_stops"], told["emergency_stops"]) == (2.0, 1, 1, 2)
    assert (told["false_stop_share"], told["time_to_resume_s"], told["time_to_stop_s"]) == (0.75, 3.0, None)
    assert told["sources"]["b"]["emergency_stops"] == 2
    assert told["comfort_stops_per_10_h"] == 5.0


def test_parking_uses_ultrasonics_and_ends_by_itself():
    row = NUISANCE.run([19], NUISANCE.configure(CONFIG, Options()), Options())[0]
    assert (row["source"], row["collision"]) == ("parking", False)


@pytest.mark.skipif(not (DATA / nuisance.RECORDING).exists(), reason="the recording is not here")
def test_the_recorded_drive_is_judged_without_the_stop_after_its_plan_has_ended():
    suite, options = find("nuisance"), Options(sensed=True, data=DATA)
    ids = [s.id for s in suite.specs(options) if s.id >= nuisance.RECORDED_FROM]
    assert ids[0] == nuisance.RECORDED_FROM
    assert len(ids) > 5
    row = suite.run(ids[:1], suite.configure(CONFIG, options), options)[0]
    assert row["source"] == "comma2k19"
    assert row["simulated_s"] > 55
    assert row["stops"] == ""
