"""A brake that gives less than it is asked for is found, reported, and asked for more; a healthy one is left alone."""

from __future__ import annotations

import builders
import pytest

from safety_supervisor.core import delivery, supervisor
from safety_supervisor.core.config import with_certificate
from safety_supervisor.core.delivery import Delivery
from safety_supervisor.core.world import Code, Mode, nanoseconds

CONFIG = with_certificate(builders.CONFIG, "armed")
PERIOD = nanoseconds(CONFIG.timing.period)


def braked(share: float, demand: float = -2.0, seconds: float = 2.0, delay: float = 0.15, noise: float = 0.0):
    """The memory after a stop of which a vehicle delivers `share`, after its delay, from 20 m/s."""
    found, speed, t = Delivery(), 20.0, builders.T
    history = []
    for tick in range(round(seconds / CONFIG.timing.period)):
        asked = max(demand, -2.0 * CONFIG.timing.period * (tick + 1))
        reading = speed + noise * (-1) ** tick
        found = delivery.watched(found, Mode.COMFORT_STOP, reading, asked, t, CONFIG)
        history.append((t, asked))
        due = [a for at, a in history if at + nanoseconds(delay) <= t]
        speed = max(speed + share * (due[-1] if due else 0.0) * CONFIG.timing.period, 0.0)
        t += PERIOD
    return found


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_brake_that_does_as_it_is_told_is_left_alone(noise):
    found = braked(1.0, noise=noise)
    assert not found.violated
    assert delivery.findings(found) == ()


def test_a_brake_that_gives_nothing_is_found_and_asked_for_more():
    found = braked(0.0, seconds=2.6)
    assert found.demand == Mode.FIRM_STOP
    (finding,) = delivery.findings(found)
    assert finding.code == Code.BRAKE_SHORTFALL
    assert "m/s^2 less than demanded" in finding.text


def test_a_brake_that_is_late_by_a_little_is_no_shortfall():
    assert not braked(1.0, delay=0.25).violated


def test_what_is_not_a_stop_forgets():
    found = braked(0.0, seconds=2.6)
    assert delivery.watched(found, Mode.NOMINAL, 20.0, 0.0, builders.T, CONFIG) == Delivery()
    assert delivery.watched(found, Mode.FIRM_STOP, 0.0, -4.0, builders.T, CONFIG) == Delivery()


def test_a_stop_that_is_not_delivered_escalates_to_the_strongest_and_says_so():
    drive = builders.Drive(CONFIG, obey=False)
    drive.run(1.0)
    drive.plan_on = False
    drive.run(6.0)
    assert drive.modes[-3:] == [Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP]
    assert Code.BRAKE_SHORTFALL in {r.code for r in drive.decisions[-1].reasons}


def test_in_shadow_mode_nobody_brakes_and_nothing_is_missing():
    drive = builders.Drive(builders.CONFIG, obey=False)
    drive.run(1.0)
    drive.plan_on = False
    drive.run(6.0)
    assert drive.modes[-1] == Mode.COMFORT_STOP


@pytest.mark.parametrize("certificate", ["armed", None])
@pytest.mark.parametrize("executed", [True, False])
def test_a_stop_that_nobody_executes_is_not_watched_whatever_was_proved(certificate, executed):
    """Shadow mode has a certificate too: nothing that its policy goes on doing is a brake that gives less."""
    config = with_certificate(builders.CONFIG, certificate)
    drive = builders.Drive(config, obey=False)
    drive.state = supervisor.start(config, executed)
    drive.run(1.0)
    drive.plan_on = False
    drive.run(5.0)
    short = {Code.BRAKE_SHORTFALL} & {r.code for d in drive.decisions for r in d.reasons}
    assert bool(short) is executed
    assert (drive.decisions[-1].mode > Mode.COMFORT_STOP) is executed


def test_by_itself_it_is_executed_where_a_certificate_holds():
    assert supervisor.start(CONFIG).executed
    assert not supervisor.start(builders.CONFIG).executed
