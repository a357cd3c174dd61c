"""The simulated world, its sensors, and what must come of each scenario with and without the supervisor."""

from __future__ import annotations

import argparse
import functools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Sensor
from safety_supervisor.core.motion import fallback_distance
from safety_supervisor.core.plan_check import check_plan
from safety_supervisor.core.world import Mode, Odometry, Plan
from safety_supervisor.messages import decision_record, json_line
from safety_supervisor.replay.bag import open_bag
from safety_supervisor.replay.replay import Run as Replayed
from safety_supervisor.replay.replay import scenario_outcome
from safety_supervisor.scenarios import command, plant, policy, sensors
from safety_supervisor.scenarios.bag import write_bag
from safety_supervisor.scenarios.plant import Demand, Ego
from safety_supervisor.scenarios.policy import Policy
from safety_supervisor.scenarios.run import EPOCH, run
from safety_supervisor.scenarios.suite import PARKING_STOP, SUITE, ScenarioError, find
from safety_supervisor.scenarios.world import CAR, PEDESTRIAN, STRAIGHT, Actor, World, distance, road

# One worker runs them all, so that each simulated run is made once.
pytestmark = pytest.mark.xdist_group("scenarios")

CONFIG = command.load(None)
HAZARDS = [s.name for s in SUITE.values() if s.collides]


def made(name, seed=0, supervised=True):
    return _made(name, seed, supervised)


@functools.cache  # which tells f(x) from f(x, 0)
def _made(name, seed, supervised):
    return run(find(name), CONFIG, seed, supervised)


def lines(decisions):
    return [json_line(decision_record(d)) for d in decisions]


def modes(outcome):
    return {mode for _, mode in outcome.modes}


def reasons(name):
    return {reason.code.value for d in made(name).decisions for reason in d.reasons}


# --- outcomes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUITE)
def test_without_the_supervisor_it_ends_as_the_table_says(name):
    outcome = made(name, supervised=False).outcome
    assert outcome.collision is find(name).collides
    assert outcome.modes == ()


@pytest.mark.parametrize("name", SUITE)
def test_with_the_supervisor_nothing_is_hit(name):
    assert not made(name).outcome.collision


@pytest.mark.parametrize("name", ["cut-in", "crossing-pedestrian"])  # of many seeds: campaigns/statistics_claim.py
def test_other_noise_makes_no_difference_to_the_end(name):
    assert not made(name, 1).outcome.collision


@pytest.mark.parametrize("name", HAZARDS)
def test_every_hazard_ends_at_standstill_with_a_distance_left(name):
    outcome = made(name).outcome
    assert outcome.final_speed == 0.0
    assert outcome.modes[-1][1] == "STANDSTILL"
    assert outcome.minimal_distance >= 0.15


def test_a_free_drive_is_not_disturbed():
    half = replace(find("free-drive"), duration=10.0)  # with other noise, until the lead has braked
    for outcome in (made("free-drive").outcome, run(half, CONFIG, 1, True).outcome):
        assert modes(outcome) <= {"INIT", "NOMINAL"}
        assert outcome.first_intervention is None


@pytest.mark.parametrize(
    ("name", "hazard"),
    [
        ("stopped-vehicle", 0.7),  # 20 m/s, 2 m/s^2 of the comfort stop would do from 112 m on
        ("cut-in", 2.2),  # the swerve begins
        ("hard-braking-lead", 3.0),  # the lead begins to brake
        ("crossing-pedestrian", 1.5),  # still 2.8 m beside the body
        ("parking-bay", 1.5),  # still 2.7 m before the wall
        ("parking-car", 0.8),
        ("radar-dies", 3.0),
        ("plan-stops", 3.0),
    ],
)
def test_nothing_is_braked_before_there_is_a_hazard(name, hazard):
    assert made(name).outcome.first_intervention >= hazard


def test_a_policy_that_parks_well_is_left_alone():
    outcome = made("parking-stop").outcome
    own = made("parking-stop", supervised=False).outcome
    assert 0.3 <= outcome.final_distance <= own.final_distance + 0.15
    assert not modes(outcome) & {"FIRM_STOP", "EMERGENCY_STOP", "UNABLE"}


def test_a_silent_radar_is_named_and_ends_in_a_safe_stop():
    assert "RADAR_STALE" in reasons("radar-dies")
    assert made("radar-dies").outcome.first_intervention <= 3.5


def test_a_silent_policy_is_named_and_ends_in_a_safe_stop():
    assert "PLAN_STALE" in reasons("plan-stops")
    assert made("plan-stops").outcome.first_intervention <= 3.5


def test_after_an_emergency_the_vehicle_is_held_without_release():
    last = made("parking-bay").decisions[-1]
    assert (last.mode, last.hold) == (Mode.STANDSTILL, True)


# --- determinism and recording --------------------------------------------------------------------------------


def test_equal_seeds_give_equal_runs_and_other_seeds_others():
    again = run(find("crossing-pedestrian"), CONFIG, 0, True)
    first, other = made("crossing-pedestrian"), made("crossing-pedestrian", 1)
    assert lines(again.decisions) == lines(first.decisions)
    assert again.outcome == first.outcome
    assert np.array_equal(again.states, first.states)
    assert lines(other.decisions) != lines(first.decisions)


@pytest.mark.parametrize(("name", "storage"), [("stopped-vehicle", "mcap"), ("parking-bay", "sqlite3")])
def test_replay_of_the_recording_gives_the_recorded_decisions_to_the_byte(tmp_path, name, storage):
    recorded = made(name)
    write_bag(recorded, tmp_path / "bag", made(name, supervised=False), storage)
    vehicle = command.write_vehicle(recorded, tmp_path / "vehicle.yaml")
    with open_bag(tmp_path / "bag") as bag:
        replayed = Replayed(bag, vehicle_file.load(vehicle))
        assert len(replayed.recorded) == len(recorded.decisions)
        assert lines(replayed.decisions()) == lines(recorded.decisions)


def test_a_recording_has_what_a_vehicle_publishes_and_the_truth(tmp_path):
    recorded = made("stopped-vehicle")
    write_bag(recorded, tmp_path / "bag", made("stopped-vehicle", supervised=False))
    with open_bag(tmp_path / "bag") as bag:
        topics = {t.name.lstrip("/"): t for t in bag.topics}
        inputs = {sensor.topic for _, sensor in CONFIG.sensors} | {CONFIG.inputs.odometry, CONFIG.inputs.plan}
        results = {"scenario/outcome", "scenario/truth", "scenario/unsupervised/odometry", "safety_supervisor/decision"}
        assert set(topics) == inputs | results
        outcome = scenario_outcome(bag)
        truth = json.loads(bag.first("/scenario/truth").data)
    assert outcome["unsupervised"]["collision"] is True
    assert outcome["supervised"]["collision"] is False
    assert {o["name"] for o in truth["objects"]} == {"stopped_car", "parked_van"}


def test_silence_of_one_source_leaves_the_others_as_they_are():
    with_fault = made("radar-dies", supervised=False).messages
    rear = [m.body.range for m in with_fault if m.topic == "/ultrasonic/rear_left"]
    whole = run(replace(find("radar-dies"), silences=()), CONFIG, 0, False).messages
    assert rear == [m.body.range for m in whole if m.topic == "/ultrasonic/rear_left"]
    assert any(m.topic == "/radar/front/points" and m.t > EPOCH + 4_000_000_000 for m in whole)
    assert not any(m.topic == "/radar/front/points" and m.t > EPOCH + 4_000_000_000 for m in with_fault)


# --- world ----------------------------------------------------------------------------------------------------


def test_a_curve_has_the_curvature_it_was_given():
    bend = road(((150.0, 0.0), (40.0, 0.01), (100.0, 0.01)))
    x, y, yaw = bend.pose(np.array([100.0, 120.0]))
    assert yaw[1] - yaw[0] == pytest.approx(0.2, abs=1e-3)
    assert math.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(200 * math.sin(0.1), abs=2e-3)


def test_locate_is_the_inverse_of_pose():
    bend = road(((150.0, 0.0), (40.0, 0.01), (100.0, 0.01)))
    x, y, yaw = (float(v) for v in bend.pose(110.3, 1.7))
    assert bend.locate(x, y) == pytest.approx((110.3, 1.7, yaw), abs=0.01)


def test_braking_ends_at_standstill_and_does_not_go_back():
    car = Actor("a", CAR, 0.0, speed=10.0, accelerations=((1.0, -5.0),))
    assert car.motion(2.0)[0] == pytest.approx(10 + 10 - 2.5)
    assert car.motion(60.0)[:3:2] == (pytest.approx(20.0), 0.0)


def test_a_swerve_ends_at_its_offset_with_a_steady_lateral_speed():
    car = Actor("a", CAR, 0.0, 3.6, 10.0, swerves=((1.0, 2.0, 0.0),))
    times = np.linspace(0.0, 4.0, 401)
    offset = np.array([car.motion(t)[1] for t in times])
    across = np.array([car.motion(t)[3] for t in times])
    assert (offset[0], offset[-1]) == (3.6, 0.0)
    assert np.abs(np.gradient(offset, times) - across).max() < 0.05


def test_distance_between_bodies_is_that_of_their_edges():
    world = World(actors=(Actor("a", CAR, 20.0),), walls=(((0.0, 5.0), (30.0, 5.0)),))
    ego = plant.footprint(Ego(0.0, 0.0, 0.0, 0.0, 0.0), CONFIG)
    v = CONFIG.vehicle
    assert distance(ego, World(actors=world.actors), world.bodies(0.0)) == pytest.approx(20 - CAR.length / 2 - v.front)
    assert distance(ego, world, world.bodies(0.0)) == pytest.approx(5 - v.width / 2)
    assert distance(ego, World(), World().bodies(0.0)) == math.inf


# --- vehicle and policy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [3.0, 12.0, 30.0])
def test_the_vehicle_stops_within_the_distance_that_the_envelope_counts_on(speed):
    ego, dt = Ego(0.0, 0.0, 0.0, 0.0, speed), 0.01
    ego = plant.command(ego, Demand(-20.0))
    while ego.speed > 0.0:
        ego = plant.advance(ego, CONFIG, dt)
    e = CONFIG.envelope
    allowed = float(fallback_distance(speed, CONFIG.timing.actuation_delay, 0, e.assumed_brake, e.assumed_jerk))
    assert allowed - 0.6 < ego.x <= allowed + speed * dt
    assert plant.advance(ego, CONFIG, dt).x == ego.x


def test_a_demand_acts_after_the_delay_and_no_sooner():
    ego = plant.command(Ego(0.0, 0.0, 0.0, 0.0, 10.0), Demand(-5.0, 0.05))
    while ego.t < CONFIG.timing.actuation_delay - 1e-6:
        ego = plant.advance(ego, CONFIG, 0.01)
    assert (ego.speed, ego.yaw) == (10.0, 0.0)
    assert plant.advance(ego, CONFIG, 0.01).speed < 10.0


@pytest.mark.parametrize("speed", [0.0, 1.0, 15.0, 30.0])
def test_every_plan_of_the_policy_is_one_that_may_be_judged(speed):
    bend = World(road(((150.0, 0.0), (60.0, 1 / 500), (600.0, 1 / 500))), (Actor("lead", CAR, 90.0, 0.0, 10.0),))
    ego = Ego(0.0, 10.0, 0.3, 0.02, speed)
    made = policy.plan(Policy(30.0), bend, ego, CONFIG)
    plan = Plan(0, made.time, made.x, made.y, made.yaw, made.speed)
    assert check_plan(plan, None, Odometry(0, ego.x, ego.y, ego.yaw, ego.speed, 0.0), CONFIG) == ()


def test_the_policy_follows_what_it_sees_and_drives_on_when_blind():
    world = World(actors=(Actor("lead", CAR, 40.0),))
    ego = Ego(0.0, 0.0, 0.0, 0.0, 15.0)
    seeing = policy.plan(Policy(15.0), world, ego, CONFIG)
    blind = policy.plan(Policy(15.0, blind=frozenset({"lead"})), world, ego, CONFIG)
    assert seeing.speed[-1] < 5.0
    assert blind.speed[-1] == pytest.approx(15.0, abs=0.1)


# --- sensors --------------------------------------------------------------------------------------------------

RADAR = dict(CONFIG.sensors)["radar_front"]
PING = Sensor(kind="ultrasonic", topic="p", x=0.0, half_angle=0.5, range_min=0.2, range_max=5.0, sigma_range=0.01)
STILL = Ego(0.0, 0.0, 0.0, 0.0, 0.0)


def scans(world, ego, count=200, seed=0):
    rng = sensors.stream(seed, "radar")
    return [sensors.radar(RADAR, world, world.bodies(0.0), ego, rng) for _ in range(count)]


def near(scan, reach, width=3.0):
    return scan[np.abs(scan[:, 0] - reach) < width]


def test_radar_sees_a_near_car_often_with_the_noise_of_the_vehicle_file():
    world = World(actors=(Actor("a", CAR, 40.0, 0.0, 12.0),))
    found = [near(s, 40 - CAR.length / 2 - RADAR.x, 1.0) for s in scans(world, Ego(0.0, 0.0, 0.0, 0.0, 20.0))]
    seen = np.array([len(f) > 0 for f in found])
    assert 0.9 < seen.mean() < 1.0
    hits = np.concatenate(found)
    hits = hits[np.abs(hits[:, 2] + 8.0) < 1.0]
    assert hits[:, 2].mean() == pytest.approx(-8.0, abs=0.1)
    assert hits[:, 2].std() == pytest.approx(RADAR.sigma_range_rate, rel=0.25)
    assert hits[:, 0].std() == pytest.approx(math.hypot(RADAR.sigma_range, sensors.CENTRE_SIGMA), rel=0.25)


def test_radar_misses_more_with_distance_and_sees_pedestrians_less_far():
    def share(kind, reach):
        world = World(actors=(Actor("a", kind, reach),))
        return np.mean([len(near(s, reach - RADAR.x - kind.length / 2, 1.0)) > 0 for s in scans(world, STILL)])

    assert share(CAR, 50.0) > share(CAR, 140.0) > share(CAR, 190.0)
    assert share(CAR, 70.0) > share(PEDESTRIAN, 70.0) > 0.3


def test_radar_does_not_look_through_a_body_nor_out_of_its_view():
    behind = World(actors=(Actor("near", CAR, 20.0), Actor("hidden", CAR, 40.0), Actor("back", CAR, -20.0)))
    hits = [near(s, 40 - CAR.length / 2 - RADAR.x, 1.5) for s in scans(behind, STILL)]
    assert sum((np.abs(h[:, 1]) < 0.1).sum() for h in hits) < 10  # clutter
    assert all(np.abs(s[:, 1]).max(initial=0.0) <= RADAR.half_angle for s in scans(behind, STILL, 20))


def test_clutter_comes_at_its_rate_and_half_of_it_stands():
    empty = scans(World(), Ego(0.0, 0.0, 0.0, 0.0, 20.0), 400)
    assert np.mean([len(s) for s in empty]) == pytest.approx(sensors.CLUTTER, rel=0.1)
    every = np.concatenate(empty)
    standing = np.abs(every[:, 2] + 20.0 * np.cos(every[:, 1])) < 0.5
    assert standing.mean() == pytest.approx(0.5, abs=0.06)


def test_a_curve_shows_standing_posts_as_standing():
    """Lever arm included: without it the posts would move with the yaw rate of ego."""
    from safety_supervisor.scenarios.world import Rail

    ego = Ego(0.0, 0.0, 0.0, 0.0, 20.0, curvature=0.01)
    world = World(rails=(Rail(-6.0),))
    x, y = RADAR.x, 0.0
    for scan in scans(world, ego, 20):
        vx, vy = 20.0, ego.yaw_rate * x - 0.0 * y
        radial = -(vx * np.cos(scan[:, 1]) + vy * np.sin(scan[:, 1]))
        side = np.abs(scan[:, 0] * np.sin(scan[:, 1]) + 6.0) < 1.0
        posts = side & (np.abs(scan[:, 2] - radial) < 1.0)
        assert posts.sum() >= 0.8 * side.sum() - 1


def echoes(world, sensor=PING, count=400, ego=STILL):
    rng = sensors.stream(0, "ping")
    return np.array([sensors.ultrasonic(sensor, world, world.bodies(0.0), ego, rng) for _ in range(count)])


def test_a_wall_ahead_is_measured_with_dropouts_and_spikes():
    found = echoes(World(walls=(((2.0, -3.0), (2.0, 3.0)),)), count=4000)
    right = np.abs(found - 2.0) < 0.06
    assert 0.96 < right.mean() < 0.99
    assert found[right].std() == pytest.approx(0.01, rel=0.1)
    assert 0.01 < np.isinf(found).mean() < 0.03


def test_an_oblique_wall_mirrors_the_pulse_away():
    found = echoes(World(walls=(((0.5, -2.0), (4.5, 2.0)),)))
    assert np.isposinf(found).mean() > 0.95


def test_a_car_at_the_same_angle_is_heard():
    world = World(actors=(Actor("a", CAR, 5.0, 1.5),))
    found = echoes(world)
    assert np.median(found) == pytest.approx(math.hypot(5.0 - CAR.length / 2, 1.5 - CAR.width / 2), abs=0.1)


def test_nothing_and_too_close_are_told_apart():
    assert np.isposinf(np.median(echoes(World())))
    assert np.isneginf(np.median(echoes(World(walls=(((0.1, -1.0), (0.1, 1.0)),)))))
    assert np.isposinf(np.median(echoes(World(walls=(((6.0, -1.0), (6.0, 1.0)),)))))


def test_odometry_drifts_within_its_model_and_stands_still_when_ego_does():
    rng = sensors.stream(3, "odometry")
    pose, ego = sensors.reckoning(Ego(0.0, 5.0, 0.0, 0.0, 10.0), rng), Ego(0.0, 5.0, 0.0, 0.0, 10.0)
    for _ in range(500):
        ego = Ego(ego.t + 0.02, ego.x + 0.2, 0.0, 0.0, 10.0)
        pose = sensors.odometry(pose, ego, rng)
    assert 0.0 < abs(pose.x - ego.x) < 4 * sensors.SPEED_SCALE * 100
    stopped = sensors.odometry(pose, Ego(ego.t + 0.02, ego.x, 0.0, 0.0, 0.0), rng)
    assert (stopped.speed, stopped.x, stopped.yaw) == (0.0, pose.x, pose.yaw)


# --- command --------------------------------------------------------------------------------------------------


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(arguments)


def test_list_names_every_scenario_with_its_sentence(capsys):
    assert command.run(parsed("list")) == 0
    said = capsys.readouterr().out
    assert all(s.name in said and s.title in said for s in SUITE.values())


def test_run_prints_both_outcomes_and_records(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "simulate", lambda s, c, seed, supervised: made(s.name, seed, supervised))
    file = tmp_path / "outcome.json"
    assert command.run(parsed("run", "parking-bay", "--out", str(tmp_path), "--json", str(file))) == 0
    said = capsys.readouterr().out
    assert "without supervisor" in said
    assert "with supervisor" in said
    assert json.loads(file.read_text())["unsupervised"]["collision"] is True
    assert (tmp_path / "parking-bay" / "metadata.yaml").is_file()
    assert vehicle_file.load(tmp_path / "parking-bay.yaml").digest == made("parking-bay").config.digest


def test_a_supervised_collision_is_exit_code_one(tmp_path, monkeypatch):
    crash = made("parking-bay", supervised=False)
    disguised = crash.__class__(**{**{f: getattr(crash, f) for f in crash.__dataclass_fields__}, "supervised": True})
    monkeypatch.setattr(command, "simulate", lambda s, c, seed, supervised: disguised if supervised else crash)
    assert command.run(parsed("run", "parking-bay", "--out", str(tmp_path))) == 1
    assert command.run(parsed("run", "parking-bay", "--out", str(tmp_path), "--unsupervised")) == 0


def test_an_unknown_scenario_is_refused_with_the_nearest_name():
    with pytest.raises(ScenarioError, match=r"'stoped-vehicle'; did you mean stopped-vehicle\?"):
        find("stoped-vehicle")
    with pytest.raises(ScenarioError, match="known: stopped-vehicle, "):
        find("xyzzy")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cut-in", "--seed", "1.5"), "'1.5' is not a whole number from 0 on"),
        (("cut_in",), "unknown scenario 'cut_in'; did you mean cut-in?"),
    ],
)
def test_a_usage_error_is_one_line(capsys, arguments, said):
    with pytest.raises(SystemExit) as stop:
        parsed("run", *arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_the_parking_scenarios_expect_no_radar():
    assert not dict(PARKING_STOP.configure(CONFIG).sensors)["radar_front"].expected
    assert STRAIGHT.station[0] < 0.0
