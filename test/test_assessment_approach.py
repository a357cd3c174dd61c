"""How much of an approach the worst case counts on: who may as well stand, who crosses, who comes for sure."""

from __future__ import annotations

import numpy as np
import pytest
from builders import CONFIG, lead, situation

from safety_supervisor.core.assessment import assess, objects_of
from safety_supervisor.core.assessment.approach import may_stand
from safety_supervisor.core.assessment.bodies import LENGTH
from safety_supervisor.core.assessment.corridor import corridor_contacts
from safety_supervisor.core.assessment.manoeuvres import _stays
from safety_supervisor.core.assessment.rating import rate, worst_state
from safety_supervisor.core.foresight import STAYS
from safety_supervisor.core.motion import fallback_duration, oncoming_distance, oncoming_stop
from safety_supervisor.core.world import Mode

A, E, T = CONFIG.authority, CONFIG.envelope, CONFIG.timing
STILL = CONFIG.tracking.moving_speed


def judged(tracks, speed=14.0):
    return assess(tracks, (), situation(speed), CONFIG)


def margin(tracks, speed=14.0):
    return judged(tracks, speed).margin


def worst(tracks, speed=14.0):
    now = situation(speed)
    objects = objects_of(tracks, (), now, CONFIG)
    met = corridor_contacts(objects, now.path, now.ego, CONFIG)
    return met, worst_state(objects, met, now, CONFIG)


# --- who may as well stand ------------------------------------------------------------------------------------------


def creeping(speed, sigma=0.25, gap=3.3):
    return lead(gap, speed, speed_sigma=sigma, sigma=0.1, moved=False)


@pytest.mark.parametrize(("speed", "stands"), [(-0.25, True), (0.0, True), (0.5, True), (-0.74, True), (-0.76, False),
                                               (0.76, False), (2.0, False)])  # fmt: skip
def test_who_is_not_known_to_move_may_as_well_stand(speed, stands):
    met, (_, least, _) = worst(creeping(speed), 1.4)
    assert may_stand(met, least, CONFIG)[0] == stands


def test_a_speed_that_is_hardly_known_is_no_standing():
    met, (_, least, _) = worst(creeping(-1.0, sigma=STILL), 1.4)
    assert least[0] < -STILL
    assert not may_stand(met, least, CONFIG)[0]


def test_the_noise_of_what_stands_counts_as_a_speed_and_not_as_the_start_of_a_charge():
    """A walking pace behind a standing car is no emergency; behind one that surely comes as fast it is."""
    may, comes = creeping(-0.25), creeping(-1.0, sigma=0.0)
    assert judged(may, 1.4).demand < Mode.EMERGENCY_STOP
    assert judged(comes, 1.4).demand == Mode.EMERGENCY_STOP
    slow, response = E.sigma_k * 0.25 + 0.25, T.commit + T.actuation_delay
    v = 1.4 * (1 + E.speed_error_ratio) + E.speed_error
    time = fallback_duration(v, response, 0.0, E.assumed_brake, E.assumed_jerk)
    stands = margin(creeping(0.0, sigma=0.0), 1.4)
    assert margin(may, 1.4) == pytest.approx(stands - slow * time, abs=1e-6)
    limit, brake = E.object_acceleration_max, E.oncoming_brake
    charge = max(oncoming_distance(1.0, time, limit), oncoming_stop(1.0, E.object_response, limit, brake))
    assert margin(comes, 1.4) == pytest.approx(stands - charge, abs=1e-6)


def test_what_may_stand_is_still_kept_clear_of():
    assert judged(creeping(-0.25, gap=1.5), 1.4).demand == Mode.EMERGENCY_STOP
    assert judged(creeping(-0.25, gap=3.3), 4.0).demand == Mode.EMERGENCY_STOP


# --- who crosses ----------------------------------------------------------------------------------------------------


def crosser(gap=45.0, speed=-8.0, vy=20.0, y=0.0, **keywords):
    return lead(gap, speed, y, vy, sigma=0.1, speed_sigma=0.3, **keywords)


def test_who_crosses_and_is_out_of_the_way_in_time_counts_as_standing_there():
    """The control comes as fast, and stays in the way."""
    assert judged(lead(45.0, -8.0)).demand == Mode.EMERGENCY_STOP
    assert judged(crosser()).demand < Mode.EMERGENCY_STOP
    _, (gap, speed, _) = worst(crosser())
    edge = CONFIG.vehicle.width / 2 + CONFIG.corridor.margin + CONFIG.corridor.object_half_width + LENGTH
    time = (edge + E.sigma_k * 0.1) / (20.0 - E.sigma_k * 0.3)
    before = 45.0 - E.sigma_k * E.gap_sigma_floor - E.geometry_bound
    coming = oncoming_distance(8.0 + E.sigma_k * 0.3, time, E.object_acceleration_max)
    assert speed[0] == 0.0
    assert gap[0] == pytest.approx(before - coming, abs=1e-6)


def test_ego_can_stop_in_front_of_who_stops_while_it_crosses():
    assert judged(crosser(gap=25.0)).demand == Mode.EMERGENCY_STOP


@pytest.mark.parametrize("tracks", [
    crosser(gap=9.0),  # ego is there before it has left
    crosser(vy=5.0),  # it changes lanes: it may stay
    crosser(vy=-STAYS * 8.0),
    crosser(vy=7.0, y=-1.0),
])  # fmt: skip
def test_who_may_stay_in_the_way_or_is_met_in_it_comes(tracks):
    _, (_, speed, _) = worst(tracks)
    assert speed[0] == pytest.approx(-8.0 - E.sigma_k * 0.3)
    assert judged(tracks).demand == Mode.EMERGENCY_STOP


def test_who_has_the_farther_way_to_go_leaves_later():
    (_, (near, _, _)), (_, (far, _, _)) = worst(crosser(y=1.5)), worst(crosser(y=-1.5))
    assert near[0] > far[0]


def test_a_milder_stop_does_not_count_the_coming_of_who_crosses_twice():
    for tracks, stays in ((crosser(), True), (lead(45.0, -8.0), False)):
        now = situation(14.0)
        objects = objects_of(tracks, (), now, CONFIG)
        rated = rate(objects, now.path, now, CONFIG)
        assert _stays(Mode.FIRM_STOP, objects, rated, now, CONFIG, np.zeros(1, np.int64), 1)[0] == stays


# --- who comes for sure ---------------------------------------------------------------------------------------------


def test_how_far_who_comes_has_moved_across_unheard_is_not_sure():
    """Seen last two metres beside, with a lateral speed that is hardly known."""
    heard = {"sigma": 0.5, "speed_sigma": 1.4}
    assert judged(lead(80.0, -16.0, vy=-6.0, age=0.15, **heard), 20.0).demand == Mode.NOMINAL
    assert judged(lead(80.0, -16.0, vy=-0.3, age=0.15, **heard), 20.0).demand == Mode.EMERGENCY_STOP
    assert judged(lead(80.0, -16.0, vy=-6.0, age=0.0, **heard), 20.0).demand == Mode.EMERGENCY_STOP


def test_who_comes_and_is_surely_in_the_way_need_not_be_heard_often():
    few = {"hits": A.course_hits - 1, "sigma": 0.1}
    assert judged(lead(60.0, -15.0, **few), 20.0).demand == Mode.EMERGENCY_STOP
    assert judged(lead(60.0, -15.0, hits=A.hits - 1, sigma=0.1), 20.0).demand == Mode.SPEED_CAP


# --- who drives ahead, beside the way -------------------------------------------------------------------------------


def edge(gap, speed=18.0, **keywords):
    return judged(lead(gap, speed, **{"y": -1.6, "sigma": 0.3, **keywords}), 28.0).demand


def test_traffic_that_is_met_late_must_surely_be_in_the_way():
    """At the edge of the corridor, three seconds away: it is heard again before anything is lost."""
    assert edge(45.0) == Mode.SPEED_CAP
    assert edge(45.0, y=-1.0) == Mode.EMERGENCY_STOP  # surely in it
    assert edge(45.0, y=-0.9, sigma=1.0) == Mode.EMERGENCY_STOP  # right ahead, however badly its place is known
    assert edge(45.0, sigma=0.05) == Mode.EMERGENCY_STOP
    assert edge(45.0, vy=0.5) == Mode.EMERGENCY_STOP  # it comes nearer across
    assert edge(45.0, vy=-0.5) == Mode.SPEED_CAP


def test_where_there_is_no_time_the_place_is_taken_as_it_is():
    assert edge(A.course_time * 10.0 - 1.0) == Mode.EMERGENCY_STOP
    assert edge(A.near_range - 0.5, 27.0) == Mode.EMERGENCY_STOP
    assert edge(A.near_range + 0.5, 27.0) == Mode.SPEED_CAP
    assert edge(45.0, 0.0) == Mode.EMERGENCY_STOP  # what stands is no traffic
