"""INIT ends only after all has been well for the time of the self-test."""

from __future__ import annotations

import pytest
from builders import Drive, T, config, takeover

from safety_supervisor import vehicle_file
from safety_supervisor.core.world import Code, Mode

CONFIG = config({"health.self_test_time": 0.5})


def test_init_lasts_for_the_self_test_and_says_so():
    drive = Drive(CONFIG, speed=10.0)
    first = drive.tick()
    assert first.mode is Mode.INIT
    assert first.command is None
    assert [r.code for r in first.reasons] == [Code.SELF_TEST]
    drive.run(1.0)
    assert drive.modes == [Mode.INIT, Mode.NOMINAL]
    assert drive.since(Mode.NOMINAL) == pytest.approx(0.5, abs=1e-6)


def test_a_finding_in_between_starts_it_anew():
    drive = Drive(CONFIG, speed=10.0)
    drive.run(0.1)
    drive.plan_on = drive.radar_on = False
    drive.run(0.5)
    drive.plan_on = drive.radar_on = True
    drive.run(0.4)
    assert drive.modes == [Mode.INIT]
    drive.run(0.3)
    assert drive.modes[-1] is Mode.NOMINAL


def test_what_was_well_all_the_while_a_driver_drove_is_tested():
    drive = Drive(CONFIG, speed=10.0)
    drive.run(1.0)
    drive.tick(driver=takeover(True))
    assert drive.run(1.0).mode is Mode.INIT
    handed_back = drive.t
    drive.tick(driver=takeover(False))
    assert drive.run(0.1).mode is Mode.NOMINAL
    assert handed_back > T


def test_once_over_it_is_not_asked_for_again():
    drive = Drive(CONFIG, speed=10.0)
    drive.run(1.0)
    drive.plan_on = False
    drive.run(0.6)
    drive.plan_on = True
    drive.run(3.0)
    assert Mode.INIT not in drive.modes[1:]
    assert drive.modes[-1] is Mode.NOMINAL


def test_control_without_it_one_tick_is_enough():
    assert Drive(config(), speed=10.0).tick().mode is Mode.NOMINAL


@pytest.mark.parametrize("name", ["passenger_car", "delivery_van"])
def test_the_shipped_vehicles_have_one(name):
    assert vehicle_file.load(vehicle_file.vehicles()[name]).health.self_test_time > 0.0
