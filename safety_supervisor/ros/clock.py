"""The clock of the ticks: steady time, shifted so that it reads like the system clock.

Ages are differences of tick times and stamps, so a system clock that is set must not make an input look fresh or old
unnoticed. Between two settings this clock runs with the steady one and follows slow corrections slowly; when the system
clock is found elsewhere it goes there in one step, which the core sees as a jump. With simulated time it is `/clock`.
"""

from __future__ import annotations

from collections.abc import Callable

from safety_supervisor.core.world import nanoseconds, seconds

STEP = nanoseconds(0.02)
"""A system clock that is off by more has been set [ns]."""
SLEW = 1000
"""Smaller differences are followed by at most one part in this many; time daemons correct by one in 2000."""
PAIR = nanoseconds(0.001)
"""Two clocks read further apart than this were read with an interruption in between [ns]."""
ATTEMPTS = 4

Read = Callable[[], int]


class TickClock:
    """Now, for ticks and arrivals [ns]."""

    def __init__(self, system: Read, steady: Read, simulated: Callable[[], bool]) -> None:
        self.steps = 0
        """How often the system clock was set."""
        self.last_step = 0.0
        """By how much, the last time [s]."""
        self._system, self._steady, self._simulated = system, steady, simulated
        self._offset: int | None = None
        self._then = 0

    def now(self) -> int:
        """Return the time [ns]; it never goes back unless the system clock, or simulated time, was set back."""
        if self._simulated():
            return self._system()
        system, steady = self._both()
        if self._offset is None:
            self._offset = system - steady
        elapsed, self._then = max(steady - self._then, 0) if self._then else 0, steady
        off = system - steady - self._offset
        if abs(off) > STEP:
            self.steps += 1
            self.last_step = seconds(off)
            self._offset += off
        else:
            most = elapsed // SLEW
            self._offset += max(-most, min(off, most))
        return steady + self._offset

    def _both(self) -> tuple[int, int]:
        """Read both clocks at one moment."""
        for _ in range(ATTEMPTS):
            before = self._steady()
            system = self._system()
            after = self._steady()
            if after - before <= PAIR:
                break
        return system, before + (after - before) // 2
