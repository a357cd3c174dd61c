"""The ticks' clock: steady, near the system clock, and loud when that is set."""

from __future__ import annotations

import pytest

from safety_supervisor.ros.clock import STEP, TickClock

MS = 1_000_000


class Clocks:
    """A system and a steady clock that the test moves."""

    def __init__(self):
        self.system, self.steady, self.simulated = 10**18, 5_000 * MS, False
        self.tick = TickClock(lambda: self.system, lambda: self.steady, lambda: self.simulated)

    def after(self, steady, system=None):
        self.steady += steady
        self.system += steady if system is None else system
        return self.tick.now()


def test_it_reads_like_the_system_clock():
    clocks = Clocks()
    assert clocks.tick.now() == clocks.system
    assert clocks.after(20 * MS) == clocks.system
    assert clocks.tick.steps == 0


@pytest.mark.parametrize("set_by", [-3_600_000 * MS, -30 * MS, 30 * MS, 3_600_000 * MS])
def test_a_clock_that_is_set_is_followed_in_one_step_and_counted(set_by):
    clocks = Clocks()
    clocks.after(20 * MS)
    assert clocks.after(20 * MS, 20 * MS + set_by) == clocks.system
    assert (clocks.tick.steps, clocks.tick.last_step) == (1, pytest.approx(set_by / 1e9))


def test_a_small_correction_is_followed_slowly_and_never_backwards():
    clocks = Clocks()
    before = clocks.tick.now()
    clocks.system -= STEP // 2
    for _ in range(20_000):
        now = clocks.after(MS)
        assert now > before
        assert 0.998 * MS <= now - before <= 1.002 * MS
        before = now
    assert abs(before - clocks.system) < 2_000
    assert clocks.tick.steps == 0


def test_an_interruption_between_the_two_readings_is_no_step():
    clocks = Clocks()
    interrupted = iter([50 * MS, 0])

    def system():
        clocks.steady += next(interrupted, 0)
        return 10**18 + clocks.steady

    clock = TickClock(system, lambda: clocks.steady, lambda: False)
    first = clock.now()
    clocks.steady += 20 * MS
    assert clock.now() - first == pytest.approx(20 * MS, abs=MS)
    assert clock.steps == 0


def test_simulated_time_is_taken_as_it_is():
    clocks = Clocks()
    clocks.simulated, clocks.system = True, 7
    assert clocks.after(20 * MS, 0) == 7
    assert clocks.after(20 * MS, -3) == 4
    assert clocks.tick.steps == 0
