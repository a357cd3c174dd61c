"""Stand-in for a vision-only driving policy: follows the road at a set speed, blind where a scenario says so.

Every 0.1 s it plans 41 points, 0.1 s apart, from where ego is. It follows what it sees after the intelligent
driver model (Treiber, Hennecke, Helbing 2000) within its own limits of acceleration and jerk. It knows neither
radar nor ultrasonics, and never hears of the supervisor. Frame `world`; the network hands plans out in `odom`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Floats
from safety_supervisor.scenarios.plant import Ego
from safety_supervisor.scenarios.world import Actor, World

POINTS = 41
STEP = 0.1
"""Time between two points of a plan [s]."""
PARKING_SHARE, PARKING_RESPONSE = 0.25, 0.25
"""A stopping point is approached with this share of the deceleration; speed errors fade in this time [s]."""
LANE_HALF_WIDTH = 1.8
"""Bodies nearer to ego's lane centre than this are ahead, not beside [m]."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What this policy wants and what it overlooks."""

    speed: float
    """Set speed [m/s]."""
    offset: float = 0.0
    """Its lane, left of the road's centre line [m]."""
    stop_at: float | None = None
    """Where it wants ego's front bumper to stop, as a station [m]; parking, judged by vision."""
    blind: frozenset[str] = frozenset()
    """Names of bodies that it does not see."""
    reaction: float = 0.3
    """It acts on what was so long ago [s], presuming constant speed since."""
    acceleration: float = 1.5
    """Strongest acceleration [m/s^2]."""
    deceleration: float = 3.0
    """Strongest deceleration [m/s^2]."""
    jerk: float = 4.0
    """[m/s^3]."""
    headway: float = 1.6
    """Time gap it wants to keep [s]."""
    standing_gap: float = 3.0
    """Gap it wants to keep at standstill [m]."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A plan in `world`: time [s] after it was made, pose of `base_link` [m, rad], speed [m/s]."""

    time: Floats
    x: Floats
    y: Floats
    yaw: Floats
    speed: Floats


@dataclass(frozen=True, slots=True)
class Lead:
    """A body ahead as the policy presumes it: station of its near end [m] and speed along the road [m/s]."""

    station: float
    speed: float


def plan(policy: Policy, world: World, ego: Ego, config: Config) -> Trajectory:
    """Return the trajectory that the policy wants from ego's present state on."""
    station, offset, direction = world.road.locate(ego.x, ego.y)
    leads = [_presumed(policy, actor, ego.t) for actor in world.actors if actor.name not in policy.blind]
    ahead = [lead for lead in leads if lead is not None and lead.station > station + config.vehicle.front]
    travelled, speed = longitudinal(policy, ego, station + config.vehicle.front, ahead)
    slope = math.tan(min(max(ego.yaw - direction, -0.5), 0.5))
    side, turn = _return_to_lane(travelled, offset, slope, policy.offset, ego.speed)
    x, y, yaw = world.road.pose(station + travelled, side)
    return Trajectory(np.arange(POINTS, dtype=np.float64) * STEP, x, y, yaw + np.arctan(turn), speed)


def _presumed(policy: Policy, actor: Actor, t: float) -> Lead | None:
    station, offset, along, _ = actor.motion(max(t - policy.reaction, 0.0))
    if abs(offset - policy.offset) > LANE_HALF_WIDTH:
        return None
    return Lead(station + along * min(policy.reaction, t) - actor.kind.length / 2, along)


def longitudinal(policy: Policy, ego: Ego, front: float, leads: list[Lead]) -> tuple[Floats, Floats]:
    """Return distance travelled [m] and speed [m/s] at each point."""
    travelled, speed = np.zeros(POINTS), np.zeros(POINTS)
    s, v, a = 0.0, ego.speed, ego.acceleration
    for i in range(POINTS):
        travelled[i], speed[i] = s, v
        gaps = [(lead.station + lead.speed * i * STEP - front - s, lead.speed) for lead in leads]
        reactions = [_wanted(policy, v, gap, other) for gap, other in gaps]
        wanted = min([*reactions, _towards(policy, v, front + s), policy.acceleration])
        wanted = max(wanted, -policy.deceleration)
        a += min(max(wanted - a, -policy.jerk * STEP), policy.jerk * STEP)
        if v + a * STEP <= 0.0:
            a = -v / STEP
        s += max(v * STEP + a * STEP * STEP / 2, 0.0)
        v = max(v + a * STEP, 0.0)
    return travelled, speed


def _wanted(policy: Policy, v: float, gap: float, other: float) -> float:
    """Acceleration of the intelligent driver model behind a body [m/s^2]."""
    comfortable = 2 * math.sqrt(policy.acceleration * policy.deceleration)
    wish = policy.standing_gap + max(v * policy.headway + v * (v - other) / comfortable, 0.0)
    return policy.acceleration * (1 - (wish / max(gap, 0.1)) ** 2)


def _towards(policy: Policy, v: float, front: float) -> float:
    """Acceleration towards the set speed, or towards the stopping point when that is near [m/s^2]."""
    free = policy.acceleration * (1 - (v / policy.speed) ** 4)
    if policy.stop_at is None:
        return free
    left = policy.stop_at - front
    allowed = math.sqrt(2 * PARKING_SHARE * policy.deceleration * left) if left > 0.0 else 0.0
    return min(free, (allowed - v) / PARKING_RESPONSE)


def _return_to_lane(
    travelled: Floats, offset: float, slope: float, lane: float, speed: float
) -> tuple[Floats, Floats]:
    """Return offset [m] and slope along the road that lead from the present ones into the lane: a cubic."""
    reach = max(2.0 * speed, 8.0)
    u = np.minimum(travelled / reach, 1.0)
    start, bend = offset - lane, slope * reach
    side = start * (1 - u * u * (3 - 2 * u)) + bend * u * (1 - u) * (1 - u)
    turn = (-start * 6 * u * (1 - u) + bend * (1 - u) * (1 - 3 * u)) / reach
    return lane + side, turn
