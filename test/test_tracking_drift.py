"""Ego's speed against its own pose: a gross difference is known within a second, and everything usual is not one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import Drive, T, ego

from safety_supervisor.core.tracking import Drift, drifted
from safety_supervisor.core.tracking.drift import DRIFT_MAX
from safety_supervisor.core.world import Code, Mode, Severity, nanoseconds, seconds

PERIOD = 20_000_000
SHARE, FLOOR = 0.03, 0.3
"""What passes for noise: this share of the speed and so much [m/s]."""


def way(duration, speed=10.0, bias=0.0, scale=1.0, yaw_rate=0.0, noise=0.0, start=T):
    """Odometry along a circle, whose speed reads `scale * speed + bias`; poses scatter by `noise` [m]."""
    rng = np.random.default_rng(0)
    made, x, y = [], 0.0, 0.0
    for i in range(round(duration / seconds(PERIOD)) + 1):
        yaw = yaw_rate * i * seconds(PERIOD)
        dx, dy = rng.normal(size=2) * noise
        made.append(ego(scale * speed + bias, x + dx, y + dy, yaw, yaw_rate, start + i * PERIOD))
        middle = yaw + yaw_rate * seconds(PERIOD) / 2
        x, y = x + speed * seconds(PERIOD) * np.cos(middle), y + speed * seconds(PERIOD) * np.sin(middle)
    return made


def first_found(samples):
    """When it is found [s]; None when never."""
    state = Drift()
    for o in samples:
        state = drifted(state, (o,))
        if state.found:
            return seconds(o.t - T)
    return None


@pytest.mark.parametrize("speed", [-3.0, 0.0, 0.8, 10.0, 40.0])
@pytest.mark.parametrize("yaw_rate", [-0.6, 0.0, 0.3])
def test_speed_and_pose_of_one_motion_do_not_contradict_each_other(speed, yaw_rate):
    assert first_found(way(20.0, speed, yaw_rate=yaw_rate, noise=0.03)) is None


@pytest.mark.parametrize("scale", [0.98, 1.02])
def test_a_scale_of_some_percent_and_a_bias_of_decimetres_are_left_to_the_slow_checks(scale):
    assert first_found(way(60.0, 30.0, scale=scale)) is None
    assert first_found(way(60.0, 5.0, bias=0.25)) is None


@pytest.mark.parametrize("speed", [-5.0, 0.8, 11.0, 25.0])
@pytest.mark.parametrize("bias", [-2.0, 2.0])
def test_two_metres_a_second_are_found_as_soon_as_they_add_up(speed, bias):
    found = first_found(way(3.0, speed, bias))
    allowed = FLOOR + SHARE * abs(speed + bias)
    assert found == pytest.approx(DRIFT_MAX / (2.0 - allowed), abs=2.1 * seconds(PERIOD))


@pytest.mark.parametrize("jump", [0.9, -0.9])
def test_one_step_of_the_pose_is_no_drift(jump):
    samples = way(4.0)
    assert first_found([replace(o, x=o.x + jump) if i > 100 else o for i, o in enumerate(samples)]) is None


def after(samples):
    return drifted(Drift(), samples)


def test_the_speed_of_the_pose_counts_while_it_is_the_faster_one():
    samples = way(1.5, 11.0, -2.0)
    state = after(samples)
    (o,) = state.corrected(samples[-1:])
    assert o.speed == pytest.approx(11.0, abs=0.05)
    assert replace(o, speed=9.0) == samples[-1]
    (finding,) = state.findings()
    assert (finding.code, finding.source) == (Code.ODOMETRY_CONTRADICTED, "odometry")
    assert finding.text == "ego's pose moves 2.0 m/s faster than its speed"
    back = way(1.5, -11.0, 2.0)
    assert after(back).corrected(back[-1:])[0].speed == pytest.approx(-11.0, abs=0.05)
    assert "slower" in after(back).findings()[0].text  # along ego's heading it is


def test_control_what_reads_high_or_well_stays_as_it_is():
    high, well = way(1.5, 11.0, 2.0), way(1.5, 11.0)
    assert after(high).found
    assert after(high).corrected(high[-1:]) == (high[-1],)
    assert not after(well).found
    assert after(well).corrected(well[-1:]) == (well[-1],)
    assert after(well).findings() == ()


def test_it_ends_some_seconds_after_the_contradiction():
    state = after(way(30.0, 5.0, -2.0))
    end = state.last
    good = [replace(o, x=o.x + end.x, t=o.t - T + end.t) for o in way(4.0, 5.0)]
    healed = next(o.t for o in good if not (state := drifted(state, (o,))).found)
    assert 0.5 < seconds(healed - end.t) < 3.0


def test_only_what_is_newer_counts_and_after_a_gap_it_begins_anew():
    samples = way(1.0, 11.0, -2.0)
    state = after(samples)
    assert drifted(state, (samples[-1], replace(samples[-1], x=99.0))) == state
    assert drifted(Drift(), reversed(samples)) == state  # in order of their time
    late = replace(samples[-1], t=T + nanoseconds(2.1))
    assert drifted(state, (late,)) == Drift(late)
    assert drifted(state, (samples[0],)) == Drift(samples[0])


def test_ego_stops_and_counts_as_fast_as_its_pose():
    drive = Drive(speed=11.0)
    drive.run(1.0)
    assert drive.decisions[-1].mode == Mode.NOMINAL
    for _ in range(20):
        (here,) = drive.inputs().odometry
        decision = drive.tick(odometry=(replace(here, speed=here.speed - 2.0),))
    assert decision.mode == Mode.COMFORT_STOP
    assert decision.health.severity == Severity.DEGRADED
    assert Code.ODOMETRY_CONTRADICTED in {f.code for f in decision.health.findings}
    assert decision.ego.speed == pytest.approx(drive.speed, abs=0.2)
