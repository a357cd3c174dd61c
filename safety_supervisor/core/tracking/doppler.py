"""Does odometry agree with the standing world? Ego's speed, checked by the Doppler of what does not move.

Odometry is the seed, never a free fit: with few standing objects in view a free fit locks on traffic that drives in
a platoon. Returns whose range rate is near the one that odometry gives a standing object are weighted by how well
they fit, and the scale of speed is fitted to them and to those of the last seconds, against a prior that odometry
is right. Odometry is asked the same question by its own pose, which on many vehicles comes from elsewhere than its
speed. Radar has a scale of its own, and an object list may call a radial speed a longitudinal one: the Doppler
names no culprit, so that it must be off by `DOPPLER_DOUBT` more than the envelope covers before it is doubted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from safety_supervisor.core.world import Odometry, seconds

from .ego import SPAN, EgoHistory
from .observation import Observation

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

INTERVAL = 0.15
"""The standing world is asked this often [s] and not with every scan."""

NOTED = 0.005
"""A scale that is off by this share is worth a note."""

DOPPLER_DOUBT = 0.02
"""The Doppler must be off by this share more than the envelope covers: it has a scale of its own."""

BASE = 0.5
"""Pose and speed are compared over stretches of this duration [s]."""

POSE_MEMORY = 60.0
"""Time constant of the comparison with the pose [s]."""

TURN_MAX = 0.2
"""In a bend of more than this [rad] the chord is shorter than the way by 0.2 % and more."""

DISTANCE_MIN = 200.0
"""Of faded distance [m], before the pose is believed: single poses scatter by decimetres."""


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

    def at(self, t: int) -> bool:
        """Whether it is time to ask again."""
        return not self.t or t < self.t or seconds(t - self.t) >= INTERVAL

    def exceeds(self, ratio: float) -> bool:
        """Whether the scale is off by more than `ratio`; False while nothing can be said."""
        return self.trusted and abs(self.scale) > ratio

    def text(self) -> str:
        """Return the finding in words."""
        return f"odometry reads {_off(self.scale)} against the Doppler of the standing world"


@dataclass(frozen=True, slots=True)
class PoseCheck:
    """What odometry's pose has said of its speed so far: faded sums over stretches of `BASE`."""

    last: Odometry | None = None
    driven: float = 0.0
    """By the pose [m]."""
    read: float = 0.0
    """By the speed [m]."""

    @property
    def trusted(self) -> bool:
        """Whether enough has been driven to speak of the scale."""
        return self.read >= DISTANCE_MIN

    @property
    def scale(self) -> float:
        """How much farther ego gets than its speed says, as a share: 0.009 = it reads 0.9 % low."""
        return self.driven / self.read - 1 if self.read > 0 else 0.0

    def text(self) -> str:
        """Return the finding in words."""
        return f"odometry reads {_off(self.scale)} against its own pose"


def compared(state: PoseCheck, ego: EgoHistory) -> PoseCheck:
    """Return the check after the newest odometry; every `BASE` seconds a stretch is added."""
    if not ego.samples:
        return state
    newest, last = ego.samples[-1], state.last
    if last is None or not 0 <= newest.t - last.t <= SPAN or not ego.has(last.t):
        return replace(state, last=newest)
    dt = seconds(newest.t - last.t)
    if dt < BASE:
        return state
    stretch = [s for s in ego.samples if s.t >= last.t]
    driven = math.hypot(newest.x - last.x, newest.y - last.y)
    read = sum((abs(a.speed) + abs(b.speed)) / 2 * seconds(b.t - a.t) for a, b in pairwise(stretch))
    fade = math.exp(-dt / POSE_MEMORY)
    turned = abs((newest.yaw - last.yaw + math.pi) % (2 * math.pi) - math.pi)
    if read < SPEED_MIN * dt or turned > TURN_MAX:  # too slow to tell, or the chord is not the way
        return replace(state, last=newest, driven=fade * state.driven, read=fade * state.read)
    return PoseCheck(newest, fade * state.driven + driven, fade * state.read + read)


def _off(scale: float) -> str:
    return f"{abs(scale):.1%} {'low' if scale > 0 else 'high'}"


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
