"""The sign of each radar's range rates is checked against ego's speed, and only what the standing world says counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import RADAR, T, config, ego

from safety_supervisor.core import doppler_sign
from safety_supervisor.core.doppler_sign import SCANS, findings, scored
from safety_supervisor.core.health import severity_of
from safety_supervisor.core.supervisor import start, step
from safety_supervisor.core.tracking import EgoHistory
from safety_supervisor.core.world import Code, Inputs, RadarScan, Severity

CONFIG = config(front=RADAR)
AZIMUTH = np.linspace(-0.6, 0.6, 12)


def scan(speed, sign=1.0, moving=0, name="front", **changes):
    """A scan of the standing world at ego's speed, `moving` of its returns replaced by traffic that keeps the gap."""
    rate = -sign * speed * np.cos(AZIMUTH)
    rate[:moving] = 0.0
    return replace(RadarScan(name, T, np.full(12, 30.0), AZIMUTH, rate), **changes)


def verdict(*scans, speed=10.0):
    history = EgoHistory((ego(t=T, speed=speed),))
    return [f.code for f in findings(scored((), tuple(scans), history, CONFIG))]


def test_a_wrong_sign_is_found_by_name():
    scores = scored((), (scan(10.0, -1.0),) * SCANS, EgoHistory((ego(t=T, speed=10.0),)), CONFIG)
    (found,) = findings(scores)
    assert (found.code, found.source) == (Code.DOPPLER_SIGN, "front")
    assert "doppler_sign" in found.text
    assert severity_of(found.code) == Severity.DEGRADED


@pytest.mark.parametrize("moving", [0, 4])
def test_control_the_right_sign_is_no_finding(moving):
    assert verdict(*[scan(10.0, moving=moving)] * 2 * SCANS) == []


@pytest.mark.parametrize(
    ("scans", "speed"),
    [
        ([scan(10.0, -1.0)] * (SCANS - 1), 10.0),  # too few
        ([scan(0.5, -1.0)] * 20, 0.5),  # too slow to tell
        ([scan(10.0, -1.0, moving=10)] * 20, 10.0),  # too little of the world is seen
        ([scan(10.0, -1.0, name="elsewhere")] * 20, 10.0),  # no sensor of ours
        ([scan(10.0, -1.0, from_objects=True)] * 20, 10.0),  # object lists have velocities, not range rates
        ([scan(10.0, -1.0), scan(10.0)] * 20, 10.0),  # contradicts itself
    ],
)
def test_what_does_not_tell_is_no_finding(scans, speed):
    assert verdict(*scans, speed=speed) == []


def test_in_reverse_the_same_rule_holds():
    assert verdict(*[scan(-5.0)] * SCANS, speed=-5.0) == []
    assert verdict(*[scan(-5.0, -1.0)] * SCANS, speed=-5.0) == [Code.DOPPLER_SIGN]


def test_once_right_it_is_not_asked_again():
    assert verdict(*[scan(10.0)] * SCANS, *[scan(10.0, -1.0)] * 50) == []


def test_one_that_heals_is_forgotten():
    assert verdict(*[scan(10.0, -1.0)] * 30, scan(10.0)) == []


def test_the_supervisor_leaves_nominal_alone_with_a_wrong_sign():
    state, t = start(CONFIG), T
    for i in range(3 * SCANS):
        t += 50_000_000
        fresh = replace(scan(10.0, -1.0), t=t, range=np.full(12, 30.0 + 0.001 * (i % 3)))  # no radar repeats itself
        inputs = Inputs(odometry=(ego(speed=10.0, t=t),), radar=(fresh,))
        state, decision = step(state, inputs, t, CONFIG)
    assert Code.DOPPLER_SIGN in {f.code for f in decision.health.findings}
    assert decision.health.severity >= Severity.DEGRADED
    assert dict(state.signs) == {"front": -doppler_sign.SCANS}
