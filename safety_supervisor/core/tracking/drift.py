"""Do odometry's speed and its own pose say the same, now? What is grossly wrong must be known within a second.

`doppler.PoseCheck` finds a scale of a percent in a minute; here the way between poses is summed against the way by the
speed. What they differ by beyond the range rate at which an object still passes for standing (`doppler`) adds up;
half a metre of it is a contradiction. Which of the two is wrong is not known. Tracks live where the poses are, and a
stop takes the longer the faster ego is: while the pose goes faster than the speed reads, its speed counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from safety_supervisor.core.world import Code, Finding, Odometry, seconds

from .doppler import NEAR_SHARE, NEAR_SPEED
from .ego import SPAN, wrap

DRIFT_MAX = 0.5
"""Poses scatter by decimetres; what adds up to more [m] does not come from that. A recorded drive reaches 0.0."""

STEP_MAX = 0.25
"""From one pose to the next no more counts [m]: a single step is a correction of the pose, or a jump (health)."""

SETTLING = 0.2
"""Time constant of the present difference of the two speeds [s]."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the pose has gone ahead of the speed, or fallen behind it."""

    last: Odometry | None = None
    """Newest odometry, as it came."""
    ahead: float = 0.0
    behind: float = 0.0
    """Sums of what cannot be explained [m], from 0 to twice `DRIFT_MAX`."""
    excess: float = 0.0
    """Speed by the pose minus speed as read, of the last moment [m/s]."""

    @property
    def found(self) -> bool:
        """Whether speed and pose contradict each other."""
        return max(self.ahead, self.behind) > DRIFT_MAX

    def corrected(self, odometry: Iterable[Odometry]) -> tuple[Odometry, ...]:
        """Return odometry with the speed of the pose, where that is known to be the faster one."""
        return tuple(
            replace(o, speed=o.speed + self.excess) if self.found and abs(o.speed + self.excess) > abs(o.speed) else o
            for o in odometry
        )

    def findings(self) -> tuple[Finding, ...]:
        """Return the contradiction in words, while it lasts."""
        if not self.found:
            return ()
        text = f"ego's pose moves {abs(self.excess):.1f} m/s {'faster' if self.excess > 0 else 'slower'} than its speed"
        return (Finding(Code.ODOMETRY_CONTRADICTED, "odometry", text),)


def drifted(state: Drift, odometry: Iterable[Odometry]) -> Drift:
    """Return the check after the `odometry` that has been admitted; what is not newer changes nothing."""
    for new in sorted(odometry, key=lambda o: o.t):
        last = state.last
        if last is None or not 0 <= new.t - last.t <= SPAN:
            state = Drift(new)
        elif new.t > last.t:
            state = _added(state, last, new)
    return state


def _added(state: Drift, last: Odometry, new: Odometry) -> Drift:
    dt, yaw = seconds(new.t - last.t), last.yaw + wrap(new.yaw - last.yaw) / 2
    speed = (last.speed + new.speed) / 2
    way = math.cos(yaw) * (new.x - last.x) + math.sin(yaw) * (new.y - last.y)
    off = min(max(way - speed * dt, -STEP_MAX), STEP_MAX)
    allowed = (NEAR_SPEED + NEAR_SHARE * abs(speed)) * dt
    fade = math.exp(-dt / SETTLING)
    return Drift(new, _bounded(state.ahead + off - allowed), _bounded(state.behind - off - allowed),
                 fade * state.excess + (1 - fade) * off / dt)


def _bounded(value: float) -> float:
    return min(max(value, 0.0), 2 * DRIFT_MAX)
