"""The onset of a lane change, told by all returns of a body: it kept its lane, and begins to leave it.

A generalised likelihood ratio test over the last seconds. Either the inner edge of the body keeps its distance from
the lane that ego drives in, but for a slow drift (`corridor.lane_keeping_sigma`); or at one of several times it began
to move over with ACCELERATION, up to LATERAL_SPEED. What is compared is the best amplitude of such a move with its own
standard deviation, so that of bodies that keep their lane it is normally distributed, and `corridor.onset_sigma_k` a
rate of false alarms. Returns of the rear are spread over the width of the body, those of its flank are not: the share
of the two changes while ego comes nearer, and taken for one the body would seem to move.
"""

from __future__ import annotations

import math

import numpy as np

from safety_supervisor.core.assessment.bodies import LENGTH, same_body
from safety_supervisor.core.assessment.objects import Objects
from safety_supervisor.core.assessment.situation import Situation
from safety_supervisor.core.config import Config
from safety_supervisor.core.geometry import Contacts, Path
from safety_supervisor.core.world import NANOSECONDS, Bools, Floats, Ints

ACCELERATION = 1.5
"""Lane changes begin with about this lateral acceleration [m/s^2] (UN R157 cut-in grids; Mattas et al. 2022)."""
LATERAL_SPEED = 1.3
"""... and reach about this speed [m/s]."""
BEGINS = -np.arange(0.2, 1.45, 0.1)
"""Times at which a move over may have begun [s from now]."""
SOON, EASY = 0.3, 1.5
"""Asked is whose rear is met within EASY [s] and half the time to brake; nearer than SOON it shows little but flank."""
NEIGHBOUR = 3.5
"""... and no farther beside ego than this [m], a lane."""
INNER, OUTER = 1.2, 2.5
"""The returns of a body lie between so far [m] inside and so far outside of its innermost track."""
SPARE, CORNER = 1.0, 1.6
"""Where the rear end is, is known to SPARE [m]; farther ahead of it than CORNER is surely the flank."""
REAR_MIDDLE, REAR_SIGMA = 0.9, 0.55
"""Returns of a rear lie so far [m] beyond the inner edge, and spread so far around there: a car is 1.8 m wide."""
FLANK_SIGMA = 0.12
"""Those of a flank spread so far [m]."""
TRAIL, TRAILS = 12.0, 0.1
"""More than this share of returns so far [m] behind is where its rear is: what is seen is the flank of a truck."""
WIDE = 1.5
"""No rear is seen at a wider angle than this [rad]."""
BRAKES = 2.0
"""A body has changed its speed along the road by no more than this [m/s^2] lately."""
RIDGE = 0.02
"""What of a change of speed is only noise of a few range rates [s^2]."""
STRAIGHT = 0.2
"""A path that is no bend of one curvature to within this [m] changes lanes itself: against it nothing can be told."""


def moving_over(
    o: Objects, met: Contacts, counts: Bools, situation: Situation, config: Config, owner: Ints
) -> Floats:
    """Return the speed (N,) to the left [m/s] of who has begun to come over into ego's way, 0 of everybody else.

    It is taken for as little as it surely is (`corridor.lateral_speed_sigma_k`). Asked are the rows that `count` (N,),
    as far as they drive along beside the way and ego catches up with them.
    """
    speed, closing = np.zeros(len(counts)), abs(situation.ego.speed) - met.along
    if not situation.returns:
        return speed
    room, c = met.station - situation.path.front, config.corridor
    asked = counts & ~o.static & (met.along > config.tracking.moving_speed)
    asked &= (room > SOON * closing) & (room < (EASY + closing / (2 * situation.envelope.assumed_brake)) * closing)
    asked &= np.abs(met.offset) <= config.vehicle.width / 2 + NEIGHBOUR
    rows = asked.nonzero()[0]
    lane = _lane(situation.path) if len(rows) else None
    if lane is None:
        return speed
    same = same_body(o, met, config, owner, rows)
    bodies, of = np.unique(same.argmax(axis=1), return_inverse=True)
    group = same[bodies]
    rear = np.where(group, met.station[rows], np.inf).min(axis=1)
    edge = np.where(group, np.abs(met.offset[rows]), np.inf).min(axis=1)
    side = np.sign(met.offset[rows[bodies]])
    lead = np.stack([rear, met.along[rows[bodies]], side, edge], axis=1)
    data, t = _near(lead, situation)
    weight, place = _seen(lead, lane, data, t, situation.path, config)
    sure, toward = _test(weight, -place, t, c.lane_keeping_sigma)
    known = (group & (o.hits[rows] >= c.lateral_hits)).any(axis=1)
    known &= rear - situation.path.front > (edge + OUTER) * _nearest(config)
    surely = toward * (1 - c.lateral_speed_sigma_k / np.maximum(sure, c.onset_sigma_k))
    speed[rows] = np.where(known & (sure > c.onset_sigma_k), -side * surely, 0.0)[of]
    return speed


def _nearest(config: Config) -> float:
    """Return the share of its distance beside that a point must be ahead to be in view of the widest radar.

    Nearer than that the outer part of a rear leaves the view, and what is left of it would seem to move over.
    """
    widest = max((s.half_angle for s in config.sensors_of("radar").values()), default=0.0)
    return math.inf if widest == 0.0 else 1 / math.tan(min(widest, WIDE))


def _near(bodies: Floats, situation: Situation) -> tuple[Floats, Floats]:
    """Return the returns (R, 6) from around all `bodies`, and when they were measured (R,) [s from now]."""
    scans, path = situation.returns, situation.path
    t = np.repeat([(r.t - situation.ego.t) / NANOSECONDS for r in scans], [len(r.rows) for r in scans])
    data = np.concatenate([r.rows for r in scans])
    cos, sin = np.cos(path.heading[0]), np.sin(path.heading[0])
    x = cos * (data[:, 0] - path.x[0]) + sin * (data[:, 1] - path.y[0])
    rear, along = bodies[:, 0], bodies[:, 1]
    kept = (x >= rear.min() - TRAIL + along.max() * t) & (x <= rear.max() + LENGTH - (BRAKES - along.min()) * t)
    rows = kept.nonzero()[0]
    return data[rows], t[rows]


def _lane(path: Path) -> tuple[float, float] | None:
    """Return slope and curvature [1/m] of the road in the frame of ego, None unless the path is one bend."""
    cos, sin = np.cos(path.heading[0]), np.sin(path.heading[0])
    dx, dy = path.x - path.x[0], path.y - path.y[0]
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    square = x * x / 2
    a, b, c, d, e = float(x @ x), float(x @ square), float(square @ square), float(x @ y), float(square @ y)
    det = a * c - b * b
    if not det > 0.0:
        return None
    slope, bend = (c * d - b * e) / det, (a * e - b * d) / det
    return (slope, bend) if float(np.abs(y - slope * x - bend * square).max()) <= STRAIGHT else None


def _seen(
    bodies: Floats, lane: tuple[float, float], data: Floats, t: Floats, path: Path, config: Config
) -> tuple[Floats, Floats]:
    """Return weight [1/m^2] and distance of the inner edge from the lane's middle [m] of each return, (B, R).

    `bodies` (B, 4): where the rear is [m] and its speed [m/s] along the path, the side, the innermost track [m]. What
    is not of the body has no weight.
    """
    rear, along, side, edge = bodies.T[:, :, None]
    cos, sin = np.cos(path.heading[0]), np.sin(path.heading[0])
    dx, dy = data[:, 0] - path.x[0], data[:, 1] - path.y[0]
    x = cos * dx + sin * dy
    left = cos * dy - sin * dx - (lane[0] + lane[1] / 2 * x) * x
    aim = data[:, 2] - path.heading[0]
    ahead, aside = np.cos(aim), np.sin(aim)
    place, back = side * left, x - rear - along * t
    change = data[:, 3] / np.maximum(ahead, 0.3) - along
    part = (np.abs(change) <= config.tracking.cluster_speed - BRAKES * t) & (ahead > 0.3)
    part &= (back >= -TRAIL) & (back <= LENGTH - t * BRAKES)
    part &= (place >= edge - INNER) & (place <= edge + OUTER)
    gain = (part * change) @ t / (part @ (t * t) + RIDGE)
    back = back - gain[:, None] / 2 * t * t
    trails = part & (back < -SPARE)
    part &= (back >= -SPARE) & (back <= LENGTH)
    part &= (trails.sum(axis=1) <= TRAILS * part.sum(axis=1))[:, None]
    behind = back < CORNER
    spread = (data[:, 4] * aside) ** 2 + (data[:, 5] * ahead) ** 2
    spread = spread + np.where(behind, REAR_SIGMA * REAR_SIGMA, FLANK_SIGMA * FLANK_SIGMA)
    return part / spread, place - np.where(behind, REAR_MIDDLE, 0.0)


def _test(weight: Floats, inward: Floats, t: Floats, drift: float) -> tuple[Floats, Floats]:
    """Return by how many standard deviations each body (B,) moves over, and how fast by now [m/s].

    `inward` (B, R) is how far in the edge is at times `t` (R,), with `weight` (B, R) = 1 / variance; where it was is
    not known, nor a `drift` of that standard deviation [m/s].
    """
    since = np.maximum(t - BEGINS[:, None], 0.0)
    ramp = np.minimum(since, LATERAL_SPEED / ACCELERATION)
    move = ACCELERATION * ramp * (since - ramp / 2)
    s0, s1, s2 = weight.sum(axis=1), weight @ t, weight @ (t * t) + 1 / (drift * drift)
    det = np.maximum(s0 * s2 - s1 * s1, 1e-9)[:, None]
    y = weight * inward
    y0, y1 = y.sum(axis=1)[:, None], (y @ t)[:, None]
    m0, m1 = weight @ move.T, (weight * t) @ move.T
    a, b, c = s2[:, None] / det, s1[:, None] / det, s0[:, None] / det
    score = y @ move.T - (m0 * (a * y0 - b * y1) + m1 * (c * y1 - b * y0))
    power = np.maximum(weight @ (move * move).T - (m0 * (a * m0 - b * m1) + m1 * (c * m1 - b * m0)), 1e-9)
    sure = score / np.sqrt(power)
    best = sure.argmax(axis=1)
    each = np.arange(len(best))
    reached = ACCELERATION * np.minimum(-BEGINS[best], LATERAL_SPEED / ACCELERATION)
    return sure[each, best], reached * np.clip(score[each, best] / power[each, best], 0.0, 1.0)
