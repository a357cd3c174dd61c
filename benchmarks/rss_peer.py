"""Compare the margins, before EPS, with Intel's RSS library at random points where the rules coincide.

    pip install ad-rss numpy        # LGPL; in an environment of its own, it is no dependency of this package
    PYTHONPATH=. python benchmarks/rss_peer.py [COUNT]

The rules coincide for brakes without a ramp (`assumed_jerk` beyond any vehicle's) and a lead that brakes at least as
hard as ego; for an oncoming object that can gain its acceleration times its response (B1); to the side everywhere,
except that the library lets results down to -1 mm stand. Exits with 1 when a margin differs by more than 1e-9 m.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ad_physics import physics
from ad_rss import rss

from safety_supervisor.core import envelopes

NO_RAMP = 1e18


def state(along: float, aside: float, v: SimpleNamespace) -> Any:
    """Return an object of the library: speed along and across [m/s], its dynamics in `v`."""
    made = rss.core.RelativeObjectState()
    made.object_type = rss.world.ObjectType.OtherVehicle
    velocity = made.structured_object_state.velocity
    velocity.speed_lon_min = velocity.speed_lon_max = physics.Speed(along)
    velocity.speed_lat_min = velocity.speed_lat_max = physics.Speed(aside)
    made.structured_object_state.is_in_correct_lane = v.correct
    made.structured_object_state.distance_to_enter_intersection = physics.Distance(1000.0)
    made.structured_object_state.distance_to_leave_intersection = physics.Distance(1000.0)
    d, of = made.dynamics, physics.Acceleration
    d.alpha_lon.accel_max, d.alpha_lon.brake_max = of(v.accel), of(-v.brake_max)
    d.alpha_lon.brake_min, d.alpha_lon.brake_min_correct = of(-v.brake_min), of(-v.brake_correct)
    d.alpha_lat.accel_max, d.alpha_lat.brake_min = of(v.lateral_accel), of(-v.lateral_brake)
    d.lateral_fluctuation_margin = physics.Distance(v.fluctuation)
    d.min_longitudinal_safety_distance = physics.Distance(0.0)
    _fill(d.unstructured_settings, made.unstructured_object_state)
    d.response_time, d.max_speed_on_acceleration = physics.Duration(v.response), physics.Speed(100.0)
    return made


def _fill(settings: Any, elsewhere: Any) -> None:
    """Give values to what plays no part here and must be valid all the same."""
    for name in (n for n in dir(settings) if n.endswith("_steps")):
        setattr(settings, name, 2)
    settings.pedestrian_turning_radius = settings.vehicle_min_radius = physics.Distance(3.0)
    settings.drive_away_max_angle = physics.Angle(1.0)
    settings.vehicle_yaw_rate_change = physics.AngularAcceleration(0.3)
    settings.vehicle_trajectory_calculation_step = physics.Duration(0.2)
    elsewhere.yaw = elsewhere.steering_angle = physics.Angle(0.0)
    elsewhere.yaw_rate = physics.AngularVelocity(0.0)
    elsewhere.dimension.length = elsewhere.dimension.width = physics.Distance(2.0)
    elsewhere.center_point.x = elsewhere.center_point.y = physics.Distance(0.0)
    elsewhere.speed_range.minimum = elsewhere.speed_range.maximum = physics.Speed(0.0)


def asked(function: Callable[..., bool], first: Any, second: Any) -> float:
    """Return the library's safe distance [m]."""
    distance = physics.Distance(0.0)
    if not function(first, second, distance):
        raise ValueError("the library refuses this point")
    return float(distance.mDistance)


def draw(r: random.Random) -> SimpleNamespace:
    """Return random dynamics."""
    low = r.uniform(2.0, 5.0)
    return SimpleNamespace(
        accel=r.uniform(0.5, 5.0), brake_min=low, brake_correct=r.uniform(1.0, low), brake_max=r.uniform(low, 10.0),
        lateral_accel=r.uniform(0.05, 0.5), lateral_brake=r.uniform(0.3, 1.5), fluctuation=r.uniform(0.0, 0.3),
        response=r.uniform(0.1, 1.9), correct=True,
    )  # fmt: skip


def parameters(v: SimpleNamespace, brake: float) -> SimpleNamespace:
    """Return the same as parameters of the envelopes; `brake` is ego's."""
    return SimpleNamespace(
        assumed_brake=brake, assumed_jerk=NO_RAMP, object_brake_max=v.brake_max, object_response=v.response,
        object_acceleration_max=v.accel, oncoming_brake=v.brake_min, lateral_acceleration_max=v.lateral_accel,
        lateral_brake=v.lateral_brake, lateral_fluctuation=v.fluctuation,
    )  # fmt: skip


def difference(rule: str, r: random.Random) -> float | None:
    """Return how far one random margin is from the library's distance [m]; None where the rules do not coincide."""
    v, ego, other = draw(r), r.uniform(0.0, 45.0), r.uniform(0.0, 45.0)
    found = rss.structured
    if rule == "same direction":
        far = asked(found.calculateSafeLongitudinalDistanceSameDirection, state(other, 0.0, v), state(ego, 0.0, v))
        p = parameters(v, v.brake_min)
        return abs(-envelopes.longitudinal_margin(0.0, ego, other, v.response, v.accel, p) - far)
    if rule == "opposite direction":
        if v.accel * v.response > other:
            return None
        wrong = state(other, 0.0, SimpleNamespace(**{**vars(v), "correct": False}))
        far = asked(found.calculateSafeLongitudinalDistanceOppositeDirection, state(ego, 0.0, v), wrong)
        p = parameters(v, v.brake_correct)
        return abs(-envelopes.opposite_margin(0.0, ego, -other, v.response, v.accel, p) - far)
    left, right = r.uniform(-1.5, 1.5), r.uniform(-1.5, 1.5)
    far = asked(found.calculateSafeLateralDistance, state(0.0, left, v), state(0.0, right, v))
    need = -envelopes.lateral_margin(0.0, left, right, v.response, parameters(v, v.brake_min))
    return 0.0 if far <= 0.0 and need <= 0.0 else abs(need - far)


def main(count: int) -> int:
    """Print the largest difference for each rule."""
    worst = 0.0
    for rule in ("same direction", "opposite direction", "lateral"):
        r = random.Random(1)
        found = [d for d in (difference(rule, r) for _ in range(count)) if d is not None]
        worst = max(worst, *found)
        print(f"{rule:20} {len(found)} of {count} points coincide, largest difference {max(found):.2g} m")
    return int(worst > 1e-9)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000))
