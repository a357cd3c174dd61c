"""A stop that somebody outside asks for: it holds until it is taken back, released, or a driver drives."""

from __future__ import annotations

from types import SimpleNamespace as Ns

import pytest
from builders import Drive, takeover

from safety_supervisor import messages
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Code, Inputs, Invalid, Mode

STOPS = (Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP)


@pytest.mark.parametrize("wanted", STOPS)
def test_a_request_stops_the_vehicle_and_is_the_reason(wanted):
    drive = Drive(speed=10.0)
    drive.run(1.0)
    drive.tick(requested=wanted)
    decision = drive.run(0.2)
    assert decision.mode is wanted
    assert decision.reasons[0].code is Code.REQUESTED
    assert wanted.name in decision.reasons[0].text
    decision = drive.run(10.0)
    assert decision.mode is Mode.STANDSTILL
    assert drive.speed < 0.1


def test_it_holds_at_standstill_until_it_is_released():
    drive = Drive(speed=5.0)
    drive.run(1.0)
    drive.tick(requested=Mode.COMFORT_STOP)
    assert drive.run(10.0).mode is Mode.STANDSTILL
    drive.tick(release=True)
    assert drive.run(2.0).mode is Mode.NOMINAL


def test_it_can_be_taken_back():
    drive = Drive(speed=15.0)
    drive.run(1.0)
    drive.tick(requested=Mode.COMFORT_STOP)
    assert drive.run(0.5).mode is Mode.COMFORT_STOP
    drive.tick(requested=Mode.NOMINAL)
    assert drive.run(3.0).mode is Mode.NOMINAL


def test_a_driver_ends_it():
    drive = Drive(speed=15.0)
    drive.run(1.0)
    drive.tick(requested=Mode.COMFORT_STOP)
    assert drive.run(0.5).mode is Mode.COMFORT_STOP
    drive.tick(driver=takeover(True))
    assert drive.run(0.2).mode is Mode.INIT
    drive.tick(driver=takeover(False))
    assert drive.run(1.0).mode is Mode.NOMINAL


def test_it_never_weakens_a_stronger_stop():
    drive = Drive(speed=15.0, objects=((40.0, 0.0, 0.0),))
    drive.run(0.5)
    drive.tick(requested=Mode.COMFORT_STOP)
    drive.run(4.0)
    assert max(mode for mode in drive.modes if mode < Mode.STANDSTILL) > Mode.COMFORT_STOP


def test_control_without_a_request_it_drives_on():
    assert Drive(speed=10.0).run(3.0).mode is Mode.NOMINAL


def gathered(*levels):
    gatherer = messages.Gatherer(Config())
    for i, level in enumerate(levels):
        gatherer.add("/safety/mrm", "std_msgs/msg/UInt8", Ns(data=level), i)
    return gatherer.take()


def test_the_last_request_of_a_tick_counts():
    assert gathered().requested is None
    assert gathered(1).requested is Mode.COMFORT_STOP
    assert gathered(1, 3, 2).requested is Mode.FIRM_STOP
    assert gathered(3, 0).requested is Mode.NOMINAL
    assert gathered(3).consumed == (("safety/mrm", 1),)


def test_a_request_that_does_not_exist_is_refused():
    inputs = gathered(4)
    assert inputs == Inputs(invalid=(Invalid("mrm", 0, "data is 4, expected 0 to 3"),), consumed=inputs.consumed)
