"""The safety envelopes: signed margins in metres, positive = inside.

The worst-case envelopes ask: if ego now goes on for the response time and then brakes by the emergency
fallback, can it touch this object while it moves? Same dialect as `motion` (floats, arrays, fractions,
proof terms); a conjunction of margins is `np.minimum`; NaN in gives NaN out, so take the verdict as `margin
>= EPS`, never as `not margin < EPS`. `gap` is the free distance [m] along the path from ego's front to the
object, worst end of what is known; speeds [m/s] are along the path in ego's direction; `response` [s] is
the time until the fallback begins to act, `acceleration` [m/s^2] the most ego may accelerate until then.
`p` holds the assumptions: the parameter group `config.Envelope`, or anything with these attributes. Nothing
here raises on bad numbers.

Source: RSS (Shalev-Shwartz, Shammah, Shashua 2017), Definition 1, with two changes that proofs/ shows to be
needed: the brakes need a ramp to build up, and the lead's braking distance uses the harder of both brakes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from safety_supervisor.core.motion import EPS as EPS
from safety_supervisor.core.motion import (
    braking_distance,
    class_distance,
    fallback_distance,
    fallback_duration,
    largest_closing,
    lateral_distance,
    oncoming_distance,
    oncoming_stop,
)


def longitudinal_margin(
    gap: Any, ego_speed: Any, object_speed: Any, response: Any, acceleration: Any, p: Any
) -> Any:
    """Return the margin [m] to an object that drives ahead in ego's direction, or stands (object speed <=
    0).

    Inside, there is no contact at any time, however the object brakes up to `p.object_brake_max`. The
    object's own braking distance counts with at least ego's brake: with the lower one of a truck, the
    textbook distance lets ego, which stops later but brakes harder, touch it on the way
    (proofs/longitudinal.py has the case).
    """
    object_brake = np.maximum(p.object_brake_max, p.assumed_brake)
    object_distance = braking_distance(np.maximum(object_speed, 0), object_brake)
    return gap - np.maximum(_ego_distance(ego_speed, response, acceleration, p) - object_distance, 0)


def oncoming_margin(
    gap: Any, ego_speed: Any, object_speed: Any, response: Any, acceleration: Any, p: Any
) -> Any:
    """Return the margin [m] to an object that comes along the path (object speed < 0) and need not brake.

    Inside, there is no contact while ego moves (passive safety), for the oncoming motion that
    `motion.oncoming_distance` assumes with `p.object_acceleration_max`.
    """
    coming = _coming(ego_speed, object_speed, response, acceleration, p)
    return gap - coming - _ego_distance(ego_speed, response, acceleration, p)


def opposite_margin(
    gap: Any, ego_speed: Any, object_speed: Any, response: Any, acceleration: Any, p: Any
) -> Any:
    """Return the margin [m] to an object that comes along the path (object speed < 0) and brakes as ego does.

    Inside, there is no contact at any time, also when ego stands, if the object gains speed for no longer than
    `p.object_response` and then brakes by at least `p.oncoming_brake` (`motion.oncoming_stop`; RSS, Def. 2).
    """
    coming = oncoming_stop(-object_speed, p.object_response, p.object_acceleration_max, p.oncoming_brake)
    return gap - coming - _ego_distance(ego_speed, response, acceleration, p)


def path_margin(gap: Any, ego_speed: Any, object_speed: Any, response: Any, acceleration: Any, p: Any) -> Any:
    """Return the margin [m] to any object on the path, whichever way it drives.

    Equals longitudinal_margin for object speed >= 0, and below the smaller one of oncoming_margin and opposite_margin,
    without a step in between.
    """
    passing = _coming(ego_speed, object_speed, response, acceleration, p)
    stopping = oncoming_stop(-object_speed, p.object_response, p.object_acceleration_max, p.oncoming_brake)
    nearer = gap - np.maximum(passing, stopping)
    return longitudinal_margin(nearer, ego_speed, object_speed, response, acceleration, p)


def lateral_margin(
    gap: Any, ego_lateral_speed: Any, object_lateral_speed: Any, response: Any, p: Any
) -> Any:
    """Return the margin [m] beside an object: `gap` [m] is the free lateral distance between both.

    Lateral speeds [m/s] are on one axis from ego to the object: ego comes nearer with a positive one, the object with a
    negative one. Inside, there is no lateral contact at any time, if for the longer one of `response` and
    `p.object_response` each of both accelerates towards the other by at most `p.lateral_acceleration_max`, then brakes
    what goes towards the other by at least `p.lateral_brake`, and does not turn back to it; `p.lateral_fluctuation` [m]
    is what weaving may take off.
    """
    time = np.maximum(response, p.object_response)
    ego = lateral_distance(ego_lateral_speed, time, p.lateral_acceleration_max, p.lateral_brake)
    coming = lateral_distance(-object_lateral_speed, time, p.lateral_acceleration_max, p.lateral_brake)
    return gap - np.maximum(p.lateral_fluctuation + ego + coming, 0)


def separation_margin(
    distance: Any, ego_speed: Any, object_speed: Any, response: Any, acceleration: Any, p: Any
) -> Any:
    """Return the margin [m] to an object anywhere at `distance` [m] that may move in any direction, standing or not.

    `object_speed` >= 0 [m/s] is the size of its velocity. Inside, there is no contact while ego moves (passive safety)
    within the next `p.crossing_horizon`, if the object keeps to the class bounds `p.crossing_acceleration_max` and
    `p.crossing_speed_max`.
    """
    time = np.minimum(_ego_duration(ego_speed, response, acceleration, p), p.crossing_horizon)
    coming = class_distance(object_speed, time, p.crossing_acceleration_max, p.crossing_speed_max)
    return distance - coming - _ego_distance(ego_speed, response, acceleration, p)


def crossing_margin(
    gap: Any, side_gap: Any, ego_speed: Any, side_speed: Any, response: Any, acceleration: Any, p: Any
) -> Any:
    """Return the margin [m] to an object that comes from the side to the strip that ego drives through.

    `gap` [m] is how far ego drives until it can touch the object in that strip, `side_gap` [m] how far the object is
    beside it, `side_speed` [m/s] how fast it comes to it. Inside, ego stops before it, or the object does not reach the
    strip while ego moves, within the next `p.crossing_horizon`, if it at most doubles that speed and keeps to
    `p.crossing_acceleration_max` and `p.crossing_speed_max`.
    """
    time = np.minimum(_ego_duration(ego_speed, response, acceleration, p), p.crossing_horizon)
    coming = _doubling(side_speed, time, p.crossing_acceleration_max, p.crossing_speed_max)
    return np.maximum(gap - _ego_distance(ego_speed, response, acceleration, p), side_gap - coming)


def ttc_margin(gap: Any, closing_speed: Any, closing_acceleration: Any, horizon: Any) -> Any:
    """Return the gap [m] that is left at the worst moment within `horizon` [s], accelerations kept constant.

    Not negative means: no collision before the horizon. No special case when not closing.
    """
    return gap - largest_closing(closing_speed, closing_acceleration, horizon)


def near_field_margin(
    gap: Any,
    ego_speed: Any,
    object_closing_speed: Any,
    response: Any,
    acceleration: Any,
    stop_distance: Any,
    p: Any,
) -> Any:
    """Return the margin [m] to a near object that itself approaches, now by `object_closing_speed` >= 0 [m/s].

    Inside, `stop_distance` [m] is kept while ego moves (passive safety) within the next `p.near_horizon`, if the object
    at most doubles its speed and keeps to the class bounds `p.near_acceleration_max` and `p.near_speed_max`.
    """
    time = np.minimum(_ego_duration(ego_speed, response, acceleration, p), p.near_horizon)
    coming = _doubling(object_closing_speed, time, p.near_acceleration_max, p.near_speed_max)
    return gap - stop_distance - coming - _ego_distance(ego_speed, response, acceleration, p)


def clear_distance_margin(clear_range: Any, ego_speed: Any, response: Any, acceleration: Any, p: Any) -> Any:
    """Return what is left [m] of the range that sensors really cover once the fallback has stopped ego."""
    return clear_range - _ego_distance(ego_speed, response, acceleration, p)


def upper_speed(speed: Any, p: Any) -> Any:
    """Return the largest speed [m/s] that ego may have when odometry reads `speed` >= 0."""
    return speed * (1 + p.speed_error_ratio) + p.speed_error


def worst_end(
    gap: Any, gap_off: Any, bound: Any, ego_speed: Any, object_speed: Any, speed_off: Any, age: Any
) -> tuple[Any, Any]:
    """Return the least gap [m] and the least object speed [m/s] at the time of the newest detection, `age` [s] ago.

    `gap` is extrapolated to now with the estimated `object_speed`; `gap_off`, `bound` and `speed_off` are how far gap
    (estimate, geometry) and speed may be off. `ego_speed` is what odometry reads: the result is the gap to an ego that
    has come here at that speed, for how it really came does not matter any more. With `age` added to the response
    time the object may have done its worst ever since (proofs/uncertainty.py).
    """
    return gap + (ego_speed - object_speed) * age - gap_off - bound, object_speed - speed_off


def _ego_distance(ego_speed: Any, response: Any, acceleration: Any, p: Any) -> Any:
    return fallback_distance(ego_speed, response, acceleration, p.assumed_brake, p.assumed_jerk)


def _ego_duration(ego_speed: Any, response: Any, acceleration: Any, p: Any) -> Any:
    return fallback_duration(ego_speed, response, acceleration, p.assumed_brake, p.assumed_jerk)


def _coming(ego_speed: Any, object_speed: Any, response: Any, acceleration: Any, p: Any) -> Any:
    duration = _ego_duration(ego_speed, response, acceleration, p)
    return oncoming_distance(-object_speed, duration, p.object_acceleration_max)


def _doubling(speed: Any, duration: Any, acceleration_max: Any, speed_max: Any) -> Any:
    """Return how far [m] an object of a class comes that gains no more than the speed it has."""
    return class_distance(speed, duration, acceleration_max, np.minimum(2 * speed, speed_max))
