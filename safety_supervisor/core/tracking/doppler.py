"""Does odometry agree with the standing world? Ego's speed, checked by the Doppler of what does not move.

Odometry is the seed, never a free fit: with few standing objects in view a free fit locks on traffic that drives in a
platoon. Returns whose range rate is near the one that odometry gives a standing object are weighted by how well they
fit, and the scale of speed is fitted to them and to those of the last seconds, against a prior that odometry is right.
Pure: `checked(state, seen) -> state`. The tick does not call it yet: an error of 10 % lies outside what it listens to,
and on a recorded drive it and the reference disagree by more than the error to be found (docs/tracking.md). Radar has a
scale of its own, and an object list may call a radial speed a longitudinal one: it names neither as the culprit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.world import seconds

from .radar import Observation

SPEED_MIN = 3.0
"""Slower range rates [m/s] say little of a scale."""

NEAR_SPEED, NEAR_SHARE = 0.3, 0.03
"""A return may stand when its range rate is off by no more than this [m/s] and this share of ego's part in it."""

SCATTER = 0.1
"""Range rates of standing objects scatter at least this much [m/s]: extended, and seen at a slightly wrong azimuth."""

PRIOR = 0.03
"""Standard deviation of the scale of odometry before anything was seen."""

MEMORY = 10.0
"""Time constant [s] of what was seen."""

EVIDENCE_MIN = 100.0
"""Returns, weighted by fit and age, before the scale is trusted; those of one object are not independent."""

ITERATIONS = 5


@dataclass(frozen=True, slots=True)
class SpeedCheck:
    """What the standing world has said of odometry's speed so far."""

    t: int = 0
    information: float = 0.0
    moment: float = 0.0
    """Sums of weight * expected^2 and weight * expected * residual, faded by age."""
    evidence: float = 0.0

    @property
    def scale(self) -> float:
        """How much faster ego is than odometry reads, as a share: 0.009 = it reads 0.9 % low."""
        return self.moment / (self.information + 1 / PRIOR**2)

    @property
    def trusted(self) -> bool:
        """Whether enough has been seen to speak of the scale."""
        return self.evidence >= EVIDENCE_MIN

    def exceeds(self, ratio: float) -> bool:
        """Whether the scale is off by more than `ratio`; False while nothing can be said."""
        return self.trusted and abs(self.scale) > ratio

    def text(self) -> str:
        """Return the finding in words."""
        direction = "low" if self.scale > 0 else "high"
        return f"odometry reads {abs(self.scale):.1%} {direction} against the Doppler of the standing world"


def checked(state: SpeedCheck, seen: Observation) -> SpeedCheck:
    """Return the check after one scan; a scan that is not newer than the last changes nothing."""
    if state.t and seen.t <= state.t:
        return state
    fade = math.exp(-seconds(seen.t - state.t) / MEMORY) if state.t else 0.0
    faded = SpeedCheck(seen.t, fade * state.information, fade * state.moment, fade * state.evidence)
    bearing = seen.found.z[:, 1] + seen.pose.yaw
    expected = -(seen.pose.vx * np.cos(bearing) + seen.pose.vy * np.sin(bearing))
    residual = seen.found.z[:, 2] - expected
    near = (np.abs(expected) > SPEED_MIN) & (np.abs(residual) < NEAR_SPEED + NEAR_SHARE * np.abs(expected))
    expected, residual = expected[near], residual[near]
    variance = seen.found.variance[near, 2] + SCATTER * SCATTER
    check, scale = faded, state.scale
    for _ in range(ITERATIONS):
        off = residual - scale * expected
        fit = 1 / (1 + off * off / (4 * variance))  # Cauchy: what does not fit is heard less, not cut off
        weight = fit / variance
        check = SpeedCheck(
            seen.t, faded.information + float(weight @ (expected * expected)),
            faded.moment + float(weight @ (expected * residual)), faded.evidence + float(fit.sum()),
        )  # fmt: skip
        scale = check.scale
    return check
