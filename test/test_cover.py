"""What healthy sensors cover of the way: along bends, forward and in reverse, and what is said of what they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from builders import FRONT, RADAR, ULTRASONIC, Drive, T, config, ego, plan
from hypothesis import given
from hypothesis import strategies as st

from safety_supervisor import vehicle_file
from safety_supervisor.core import cover, health
from safety_supervisor.core.config import Sensor
from safety_supervisor.core.paths import planned_path
from safety_supervisor.core.world import Code, Finding, Health, Mode, RadarScan, Severity, nanoseconds

CAR = vehicle_file.load(vehicle_file.share_dir("config") / "passenger_car.yaml")
NAMES = tuple(name for name, _ in CAR.sensors)
RADARS = ("radar_front",)
WELL = Health(Severity.OK, ())


def way(speed=10.0, curvature=0.0, yaw=0.7, reach=60.0, by=CAR):
    """A planned path from a place that is not the origin."""
    here = ego(speed, 30.0, -20.0, yaw)
    return planned_path(plan(speed, curvature=curvature, x=30.0, y=-20.0, yaw=yaw), here, by.vehicle, reach, 1.5), here


def clear(names=NAMES, by=CAR, **keywords):
    path, here = way(by=by, **keywords)
    return cover.clear_range(path, here, names, by)


def found(names, reach=20.0, by=CAR, **keywords):
    path, here = way(by=by, **keywords)
    return cover.findings(path, here, names, reach, cover.clear_range(path, here, names, by), by)


@pytest.mark.parametrize("speed", [0.5, 10.0, 39.0])
def test_on_a_straight_way_the_farthest_range_counts(speed):
    assert clear(speed=speed) == pytest.approx(200.0)
    assert clear(NAMES[1:], speed=speed) == pytest.approx(5.0)
    assert clear((), speed=speed) == 0.0


def test_in_reverse_only_what_looks_back_counts():
    assert clear(speed=-1.0) == pytest.approx(5.0)
    assert clear(NAMES[:-2], speed=-1.0) == 0.0
    assert clear(NAMES[-2:], speed=-1.0) == pytest.approx(5.0)
    assert clear(NAMES[-2:], speed=1.0) == 0.0


@pytest.mark.parametrize("curvature", [-0.19, -0.1, 0.05, 0.19])
def test_a_tight_bend_leaves_the_view_of_what_looks_straight_ahead(curvature):
    reached = clear(RADARS, speed=4.0, curvature=curvature)
    path, here = way(4.0, curvature)
    # As brute force: at the first place beyond it the bumper's middle is outside of 60 degrees by half an object.
    sensor, angles = dict(CAR.sensors)["radar_front"], []
    for s in (reached, reached + 2 * path.s[1]):
        x, y, h = (float(np.interp(s, path.s, column)) for column in (path.x, path.y, path.heading))
        dx, dy = x + FRONT * np.cos(h) - here.x, y + FRONT * np.sin(h) - here.y
        c, s_ = np.cos(here.yaw), np.sin(here.yaw)
        dx, dy = c * dx + s_ * dy - sensor.x, c * dy - s_ * dx - sensor.y
        off = abs(np.arctan2(dy, dx)) - sensor.half_angle
        angles.append(np.hypot(dx, dy) * np.sin(off) if off > 0 else 0.0)
    assert angles[0] <= CAR.corridor.object_half_width < angles[1]
    assert reached < 40.0


def test_sensors_to_the_side_cover_the_bend_that_leaves_the_one_ahead():
    side = Sensor(kind="radar", topic="side", x=3.5, y=0.8, yaw=1.2, half_angle=1.05, range_max=80.0)
    both = config(front=RADAR, side=side)
    assert clear(("front",), both, speed=4.0, curvature=0.1) < 20.0 < clear(
        ("front", "side"), both, speed=4.0, curvature=0.1)
    assert clear(("front", "side"), both, speed=4.0, curvature=-0.1) < 20.0


def test_a_way_that_ends_inside_the_cover_counts_as_far_as_they_see():
    assert clear(speed=3.0, reach=5.0) == pytest.approx(200.0)
    narrow = config(side=Sensor(kind="radar", topic="side", y=4.0, yaw=-0.6, half_angle=0.55, range_max=80.0))
    assert clear(("side",), narrow, speed=10.0) == 0.0  # nothing is seen near the bumper
    around = config(roof=Sensor(kind="radar", topic="roof", yaw=2.5, half_angle=np.pi, range_max=80.0))
    assert clear(("roof",), around, speed=2.0, reach=5.0) > 5.0


@pytest.mark.parametrize("speed", [-0.3, 0.3])
def test_a_turn_nearly_on_the_spot_asks_for_no_cover_beside_the_body(speed):
    base = vehicle_file.load(vehicle_file.share_dir("config") / "examples" / "robot_base.yaml")
    names = tuple(name for name, _ in base.sensors)
    assert clear(names, base, speed=speed, curvature=5.0, reach=1.0) == pytest.approx(4.0, abs=0.1)
    assert clear(names, base, speed=speed, curvature=3.0, reach=6.0) > 1.0
    assert clear((), base, speed=speed, curvature=5.0, reach=1.0) == 0.0


def places(sensor, x, y, extent=0.0):
    """Whether one sensor sees each place."""
    mounts = cover._table([sensor])
    return cover.viewed(np.asarray(x), np.asarray(y), mounts, extent).seen[0]


@given(
    yaw=st.floats(-np.pi, np.pi), half=st.floats(0.1, np.pi - 0.1), reach=st.floats(2.0, 50.0),
    x=st.floats(-3.0, 5.0), y=st.floats(-1.0, 1.0), seed=st.integers(0, 100),
)  # fmt: skip
def test_what_a_sensor_sees_is_what_its_sector_contains(yaw, half, reach, x, y, seed):
    sensor = Sensor(kind="radar", topic="r", x=x, y=y, yaw=yaw, half_angle=half, range_max=reach)
    angles = yaw + np.linspace(-half, half, 721)
    ring = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
    sector = shapely.Polygon([(x, y), *ring])
    at = np.random.default_rng(seed).uniform(-60.0, 60.0, (2, 200))
    points = shapely.points(*at)
    sure = shapely.distance(sector.boundary, points) > 0.05
    np.testing.assert_array_equal(places(sensor, *at)[sure], shapely.contains(sector, points)[sure])


def test_beside_a_sector_half_an_object_still_shows():
    sensor = Sensor(kind="radar", topic="r", x=0.0, half_angle=0.5, range_max=50.0)
    edge = 10.0 * np.array([np.cos(0.5), np.sin(0.5)])
    off = np.array([-np.sin(0.5), np.cos(0.5)])
    near, far = edge + 0.4 * off, edge + 0.6 * off
    assert places(sensor, [near[0], far[0], -0.2], [near[1], far[1], 0.0], 0.5).tolist() == [True, False, False]


def test_places_are_looked_at_by_any_healthy_sensor_no_nearer_than_it_sees():
    near = Sensor(kind="radar", topic="n", x=0.0, half_angle=0.5, range_min=2.0, range_max=10.0)
    made = config(near=near, left=replace(near, topic="l", yaw=np.pi / 2, range_min=0.0))
    x, y = np.array([1.9, 2.1, 10.1, 0.0, -3.0]), np.array([0.0, 0.0, 0.0, 1.0, 0.0])
    assert cover.looked_at(x, y, ("near", "left"), made).tolist() == [False, True, False, True, False]
    assert cover.looked_at(x, y, ("near",), made).tolist() == [False, True, False, False, False]
    assert not cover.looked_at(x, y, (), made).any()


# --- who is healthy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [Code.RADAR_STALE, Code.RADAR_FROZEN, Code.RADAR_BLOCKED, Code.RADAR_MISSING])
def test_a_sensor_with_a_finding_that_it_sees_nothing_covers_nothing(code):
    trust = Health(Severity.DEGRADED, (Finding(code, "radar_front", "gone"),))
    assert cover.healthy(health.Memory(), trust, T, CAR) == NAMES[1:]


def test_control_other_findings_take_no_cover():
    trust = Health(Severity.SUSPECT, (Finding(Code.RADAR_INCONSISTENT, "radar_front", "noise"),
                                      Finding(Code.PLAN_STALE, "plan", "old")))
    assert cover.healthy(health.Memory(), trust, T, CAR) == NAMES


def test_a_sensor_that_nobody_expects_covers_while_it_speaks_and_is_alive():
    extra = config(front=RADAR, extra=replace(RADAR, topic="extra", expected=False))
    assert cover.healthy(health.Memory(), WELL, T, extra) == ("front",)
    memory = health.Memory((("extra", health.Source(T)),))
    assert cover.healthy(memory, WELL, T, extra) == ("front", "extra")
    stuck = health.Memory((("extra", health.Source(T, frozen=True)),))
    assert cover.healthy(stuck, WELL, T, extra) == ("front",)


# --- findings -------------------------------------------------------------------------------------------------------


def test_where_all_is_covered_nothing_is_found():
    assert found(NAMES) == ()
    assert found(NAMES[:-2]) == ()  # what looks back does not matter ahead
    assert found(NAMES, speed=4.0, curvature=0.19) == ()  # what no sensor covers is no loss


def test_a_lost_radar_is_named_with_the_sector_it_leaves():
    (finding,) = found(NAMES[1:])
    assert (finding.code, finding.source) == (Code.WAY_UNCOVERED, "cover")
    assert health.severity_of(finding.code) == Severity.OK  # it is the clear range that asks
    assert "is not covered between -12 and 12 deg of the direction of travel, from 6.0 to " in finding.text
    assert finding.text.endswith(" m: without radar_front")


def test_in_reverse_the_sensors_that_look_back_are_named():
    (finding,) = found(NAMES[:-2], speed=-1.0, reach=4.0)
    assert finding.text.endswith("without us_rear_left and us_rear_right")
    assert found(NAMES[1:], speed=-1.0, reach=3.0) == ()


@pytest.mark.parametrize(("curvature", "left"), [(0.19, True), (-0.19, False)])
def test_the_inside_of_a_bend_is_judged(curvature, left):
    side = {"left": Sensor(kind="radar", topic="l", x=3.5, y=0.8, yaw=1.2, half_angle=1.0, range_max=30.0),
            "right": Sensor(kind="radar", topic="r", x=3.5, y=-0.8, yaw=-1.2, half_angle=1.0, range_max=30.0)}
    by = config({"vehicle.curvature_max": 0.2}, front=RADAR, **side)
    lost, kept = ("left", "right") if left else ("right", "left")
    (finding,) = found(("front", kept), reach=9.0, by=by, speed=4.0, curvature=curvature)
    assert finding.text.endswith(f"without {lost}")
    low, high = (float(word) for word in finding.text.split("between ")[1].split(" deg")[0].split(" and "))
    assert (low > 0) == left
    assert (high < 0) == (not left)


def test_where_nothing_is_mounted_that_is_said():
    front = config(front=RADAR)
    (finding,) = found(("front",), by=front, speed=-1.0)
    assert finding.text.endswith("no sensor is mounted that does")
    (finding,) = found((), by=front)
    assert finding.text.endswith("without front")


# --- the tick -------------------------------------------------------------------------------------------------------


def found_in(decision):
    return {f.code for f in decision.health.findings}


def test_a_radar_that_is_lost_is_told_with_what_it_leaves_uncovered():
    drive = Drive(config(front=RADAR, us=ULTRASONIC))
    drive.run(1.0)
    assert (drive.decisions[-1].mode, found_in(drive.decisions[-1])) == (Mode.NOMINAL, set())
    drive.radar_on = False
    last = drive.run(0.5)
    assert last.mode == Mode.COMFORT_STOP
    assert found_in(last) == {Code.RADAR_STALE, Code.WAY_UNCOVERED}
    assert {Code.RADAR_STALE, Code.WAY_UNCOVERED} <= {r.code for r in last.reasons}


def test_a_frozen_radar_covers_nothing_although_it_goes_on():
    drive = Drive(config(front=RADAR, us=ULTRASONIC), 10.0)
    drive.run(1.0)
    for _ in range(20):
        scan = RadarScan("front", drive.t, [36.0], [0.1], [0.0])
        last = drive.tick(radar=(scan,))
    assert {Code.RADAR_FROZEN, Code.WAY_UNCOVERED} <= found_in(last)
    assert last.assessment.speed_cap < 10.0
    assert last.t - T > nanoseconds(1.0)
