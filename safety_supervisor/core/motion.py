"""Worst-case motion: how far ego's fallback can still travel, and how far objects can come.

Written once for floats, arrays, exact fractions and proof terms: plain NumPy, no branch on a state, no
division by one, constants as ints. SI units. Speeds are along the path and count as 0 when negative unless
said otherwise; brakes are positive. No function raises on bad numbers: NaN in gives NaN out, so that no
comparison holds.

The emergency fallback as it is modelled: for `response` ego accelerates by at most `acceleration`; then its
acceleration falls at the rate `jerk` to -`brake` and stays there until standstill. What is proved about
these functions, and with which assumptions, stands in proofs/.
"""

from __future__ import annotations

from typing import Any

import numpy as np

EPS = 1e-9
"""A margin counts as inside from here on [m]. proofs/rounding.py runs the envelopes on exact error bounds: over
the whole range of a vehicle's inputs, floats are within half of EPS of the exact margin."""


def braking_distance(speed: Any, brake: Any) -> Any:
    """Return the distance [m] from `speed` [m/s] to standstill at constant `brake` > 0 [m/s^2]."""
    return speed * speed / (2 * brake)


def fallback_distance(speed: Any, response: Any, acceleration: Any, brake: Any, jerk: Any) -> Any:
    """Return an upper bound [m] of ego's travel from `speed` [m/s] until the fallback has stopped it.

    `response` >= 0 [s], `acceleration` [m/s^2] (negative counts as 0), `brake` > 0 [m/s^2], `jerk` > 0
    [m/s^3]. A ramp that lasts (acceleration + brake) / jerk costs no more than half of that time spent at
    `acceleration` (proofs/fallback.py); the first two terms and the third are those of RSS (Shalev-Shwartz
    et al. 2017), Def. 1.
    """
    v, a, delay = _bounds(speed, response, acceleration, brake, jerk)
    return v * delay + a * delay * delay / 2 + braking_distance(v + a * delay, brake)


def fallback_duration(speed: Any, response: Any, acceleration: Any, brake: Any, jerk: Any) -> Any:
    """Return an upper bound [s] of the time until the fallback has stopped ego; as fallback_distance."""
    v, a, delay = _bounds(speed, response, acceleration, brake, jerk)
    return delay + (v + a * delay) / brake


def oncoming_distance(closing_speed: Any, duration: Any, acceleration_max: Any) -> Any:
    """Return an upper bound [m] of how far an object at `closing_speed` [m/s] comes in `duration` [s].

    Declared assumption about such an object: it gains speed at no more than `acceleration_max` [m/s^2], and
    no more than the speed it has. The second half keeps the noise on a standing object's speed from
    counting as the start of a charge; an object that stands or drives away (closing speed <= 0) comes no
    way at all.
    """
    v = np.maximum(closing_speed, 0)
    return v * duration + np.minimum(acceleration_max * duration * duration / 2, v * duration)


def oncoming_stop(closing_speed: Any, response: Any, acceleration_max: Any, brake: Any) -> Any:
    """Return an upper bound [m] of how far an object at `closing_speed` [m/s] comes until it has braked to standstill.

    Declared assumption about such an object: for `response` >= 0 [s] it gains speed as in oncoming_distance, then it
    brakes by at least `brake` > 0 [m/s^2]. From closing speed acceleration_max * response on, this is the distance of
    RSS, Def. 2.
    """
    v = np.maximum(closing_speed, 0)
    after = v + np.minimum(acceleration_max * response, v)
    return oncoming_distance(v, response, acceleration_max) + braking_distance(after, brake)


def class_distance(speed: Any, duration: Any, acceleration_max: Any, speed_max: Any) -> Any:
    """Return how far [m] an object of a class can come from `speed` [m/s] in `duration` >= 0 [s].

    Declared assumption about the class: it gains speed at no more than `acceleration_max` > 0 [m/s^2] up to `speed_max`
    [m/s], or keeps a higher one. Exact for that motion: what it would gain above its top speed is taken off again.
    """
    v = np.maximum(speed, 0)
    beyond = np.maximum(v + acceleration_max * duration - np.maximum(v, speed_max), 0)
    return v * duration + acceleration_max * duration * duration / 2 - braking_distance(beyond, acceleration_max)


def lateral_distance(speed: Any, response: Any, acceleration: Any, brake: Any) -> Any:
    """Return how far [m] someone comes to the side at most, signed: negative = away.

    For `response` >= 0 [s] the lateral `speed` [m/s, positive = towards the other] grows by at most `acceleration` >= 0
    [m/s^2]; what then goes towards the other is braked by `brake` > 0 [m/s^2], what goes away counts no further (RSS
    2017, safe lateral distance).
    """
    after = speed + acceleration * response
    return (speed + after) * response / 2 + braking_distance(np.maximum(after, 0), brake)


def largest_closing(closing_speed: Any, closing_acceleration: Any, horizon: Any) -> Any:
    """Return the largest closing distance [m], at least 0, within `horizon` [s], acceleration kept.

    `closing_speed` [m/s] and `closing_acceleration` [m/s^2] are signed, positive = approaching. Without a
    root: the parabola has its top inside the horizon, or else the largest value stands at one of its ends.
    """
    v, a = closing_speed, closing_acceleration
    top_inside = np.minimum(v, -a * horizon - v) > 0
    top = v * v / (2 * np.where(top_inside, -a, 1))
    end = v * horizon + a * horizon * horizon / 2
    return np.maximum(np.where(top_inside, top, end), 0)


def speed_for_distance(distance: Any, response: Any, acceleration: Any, brake: Any, jerk: Any) -> Any:
    """Return the largest speed [m/s] that the fallback stops within `distance` [m]; 0 when none.

    The inverse of fallback_distance, same arguments. It stays 2 EPS short of `distance`, so that the margin
    at the returned speed is at least EPS after rounding too.
    """
    a = np.maximum(acceleration, 0)
    delay = _delay(response, a, brake, jerk)
    spare = np.maximum(distance - 2 * EPS - fallback_distance(0, response, a, brake, jerk), 0)
    # The positive root of v*v / (2 brake) + q*v = spare, in the form that subtracts nothing.
    q = delay + a * delay / brake
    return 2 * spare / (q + np.sqrt(q * q + 2 * spare / brake))


def grip_left(speed: Any, curvature: Any, circle: Any, downhill: Any) -> Any:
    """Return the deceleration [m/s^2] that the friction circle leaves at `speed` [m/s] on `curvature` [1/m]; at least
    0.

    `circle` is the radius of the friction circle, `downhill` what gravity pulls along the slope [m/s^2], both >= 0.
    """
    lateral = speed * speed * curvature
    return np.maximum(np.sqrt(np.maximum(circle * circle - lateral * lateral, 0)) - downhill, 0)


def stop_acceleration(now: Any, wanted: Any, floor: Any, left: Any, step: Any) -> Any:
    """Return the acceleration [m/s^2] <= 0 that a stop commands in this tick.

    `now` is the acceleration of the last command [m/s^2], `wanted` > 0 the deceleration of the manoeuvre, `floor` >= 0
    braking that must not be undercut, `left` > 0 the deceleration that the road leaves; `step` > 0 [m/s^2] is the
    largest change from one tick to the next.
    """
    start = np.minimum(now, 0)
    allowed = np.minimum(np.maximum(wanted, floor), left)
    return np.minimum(np.maximum(-allowed, start - step), start + step)


def _bounds(speed: Any, response: Any, acceleration: Any, brake: Any, jerk: Any) -> tuple[Any, Any, Any]:
    a = np.maximum(acceleration, 0)
    return np.maximum(speed, 0), a, _delay(response, a, brake, jerk)


def _delay(response: Any, acceleration: Any, brake: Any, jerk: Any) -> Any:
    """Return how long [s] ego keeps `acceleration` when a step half way replaces the ramp."""
    return response + (acceleration + brake) / (2 * jerk)
