"""A path, the corridor that the body sweeps along it, and where objects stand in it. Frame `odom`, SI units.

The corridor is the union of the body's widened outlines at all samples of the path: it holds the outer front corner,
the inner flank and the tail of a body that turns. Everything is seen in the direction of travel: for reverse motion the
path's headings point backwards and ego's front is its rear bumper, so that the layers above know one case only.
Vectorised over objects x path samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safety_supervisor.core.config import Vehicle
from safety_supervisor.core.world import Arc, Bools, Floats, Ints, Odometry, frozen

TEETH = 0.02
"""What the rear corners sweep between two samples counts from here on [m]: in a turn, and not in a bend of a road."""
BESIDE = 0.5
"""An object further behind the leading edge [m] and inside the corridor is beside the body: braking helps only where
the path turns the body into it."""
LAG = 0.5
"""A speed across the sight is told as late [s] as this."""
FOLLOWS = 4.0
"""Lateral acceleration [m/s^2] above which nobody follows a bend in ordinary traffic."""
BEND_STRETCH = 10.0
"""A bend of the road is one over this length [m]."""
SPARE = 1e-3
"""Far more than rounding, in the corridor that leaves objects out [m]."""


@dataclass(frozen=True, slots=True)
class Path:
    """Poses of `base_link` along the direction of travel, at equal spacing; sample 0 is ego now."""

    s: Floats
    """(K,) travelled distance [m], from 0."""
    x: Floats
    y: Floats
    heading: Floats
    """(K,) direction of travel [rad]."""
    time: Floats
    """(K,) when ego gets there by plan [s from now]; inf beyond the plan's end or stop."""
    speed: Floats
    """(K,) planned speed of travel [m/s], >= 0; the plan's last speed beyond its end."""
    sigma: Floats
    """(K,) lateral standard deviation of where ego will be [m]."""
    length: float
    """Travelled distance [m] up to which the path is planned; beyond it it is continued in its last curvature."""
    front: float
    """base_link to the leading bumper [m]."""
    rear: float
    reverse: bool
    radius: float = 0.0
    """Of a turn on the spot: distance of the farthest corner from base_link [m]. `s` and `speed` are those of that
    corner then, x and y stay. 0: ego drives."""

    def __post_init__(self) -> None:
        for name in ("s", "x", "y", "heading", "time", "speed", "sigma"):
            object.__setattr__(self, name, frozen(getattr(self, name)))


Blocks = tuple[Floats, ...]
"""The three different numbers of symmetric 2 x 2 covariances: (2, N), of position and of velocity."""


@dataclass(frozen=True, slots=True)
class Lateral:
    """How far an object's lateral position and speed are believed: a young track seems to swerve."""

    position_k: float
    """Standard deviations of lateral position that are kept free."""
    speed_k: float
    """Standard deviations taken off a lateral speed."""
    sigma_max: float
    """A lateral speed known worse than this [m/s] does not count at all."""

    def speed(self, mean: Floats, sigma: Floats) -> Floats:
        """Return the part of a lateral speed that is more than noise [m/s]."""
        sure = np.sign(mean) * np.maximum(np.abs(mean) - self.speed_k * sigma, 0.0)
        return np.asarray(np.where(sigma <= self.sigma_max, sure, 0.0))


@dataclass(frozen=True, slots=True)
class Contacts:
    """Where the swept corridor meets each of N objects; rows without contact have gap = inf."""

    gap: Floats
    """(N,) travel [m] until ego's leading edge is at the object, or its flank touches what stays where it is; negative
    when it is beside or inside the body."""
    lateral: Floats
    """(N,) signed offset from the path there [m]."""
    along: Floats
    """(N,) object speed along the path there [m/s]."""
    gap_sigma: Floats
    """(N,) standard deviation of the object's position along the path [m]."""
    speed_sigma: Floats
    """(N,) standard deviation of `along` [m/s]."""
    heard_sigma: Floats
    """(N,) the same at the time of the newest detection [m/s]."""
    age: Floats
    """(N,) age of that detection [s]."""
    lateral_sigma: Floats
    """(N,) standard deviation of `lateral` [m]."""
    sure: Floats
    """(N, 2) velocity in odom without the lateral part that is only noise, or does not count at all [m/s]."""
    station: Floats
    """(N,) where along the path the object is now, from ego's base_link [m]; negative behind it."""
    offset: Floats
    """(N,) its signed offset from the path there [m]."""
    drift: Floats
    """(N,) its speed to the left there, without what is only noise [m/s]."""
    flank: Bools
    """(N,) the flank of a body that turns meets it, not the leading edge."""
    sideways: Floats
    """(N,) the same with the noise [m/s]."""
    sideways_sigma: Floats
    """(N,) standard deviation of `sideways` [m/s]."""

    @property
    def hit(self) -> Bools:
        """(N,) whether the corridor meets the object; where a gap cannot be told (NaN), it counts as met."""
        return np.asarray(self.gap != np.inf)


def contacts(
    path: Path,
    position: Floats,
    velocity: Floats,
    cov: Floats,
    body: float,
    slack: Floats,
    reach_in: Floats,
    trust: Lateral,
    speed: float,
    since: Floats,
    age: Floats,
    flank: Floats,
) -> Contacts:
    """Return where the body swept along `path` first meets each object.

    What is beside the body now is met where the body turns to it until no more than `flank` (N,) [m] or half of the
    present room is left; -inf for what moves along, where nothing can be said of it by where it is now.

    `position`, `velocity` (N, 2) in odom with joint covariance `cov` (N, 4, 4); the corridor is `body` [m] to each side
    and as much more as the larger of `slack` (N,) [m] and some standard deviations of the object's lateral position and
    of the path's own; `reach_in` (N,) seconds of the object's motion toward the path count, as far as `trust` goes and
    no longer than an ego at `speed` [m/s] needs to get or stop there. `since` (N, 2, 2) is what was added to the
    covariance of the velocity since the newest detection, which is `age` (N,) [s] old.
    """
    seen = _seen(path, position, velocity, cov)
    over = seen.ahead - path.front
    met, turned = np.full(len(over), np.inf), np.zeros(len(over), np.bool_)
    at, here = np.abs(over).argmin(axis=1), np.abs(seen.ahead).argmin(axis=1)
    abeam = (seen.ahead >= -path.rear - _teeth(path)) & (over <= path.s[1] - path.s[0])
    rows = _near(seen, abeam, body, slack, reach_in, trust)
    if len(rows):
        some, nearest = seen.take(rows), at[rows]
        inside = abeam[rows] & _within(some, body, slack[rows], reach_in[rows], trust, speed)
        beside = inside[:, 0] & (some.ahead[:, 0] < path.front - BESIDE)
        if np.count_nonzero(beside):
            inside[beside] &= _turned_into(np.abs(some.left[beside]) - body, flank[rows][beside])
        met[rows], at[rows], turned[rows] = _first(some, inside, flank[rows], nearest)
    return _told(seen, met, np.array([at, here]), turned, trust, reach_in, since, age)


@dataclass(frozen=True, slots=True)
class _Seen:
    """N objects as they stand to the S samples of a path."""

    path: Path
    cos: Floats
    sin: Floats
    """(S,) direction of travel."""
    bend: Floats
    """(S,) curvature [1/m]."""
    sharpest: float
    """Largest curvature of the path [1/m]."""
    ahead: Floats
    left: Floats
    """(N, S) where an object is, from base_link at the sample [m]."""
    velocity: Floats
    blocks: Blocks

    def take(self, rows: Ints) -> _Seen:
        """Return some of the objects."""
        blocks = tuple(part[:, rows] for part in self.blocks)
        return _Seen(self.path, self.cos, self.sin, self.bend, self.sharpest, self.ahead[rows], self.left[rows],
                     self.velocity[rows], blocks)


def _seen(path: Path, position: Floats, velocity: Floats, cov: Floats) -> _Seen:
    cos, sin = np.cos(path.heading), np.sin(path.heading)
    dx, dy = position[:, :1] - path.x, position[:, 1:] - path.y
    bend = _curvature(path)
    return _Seen(path, cos, sin, bend, float(np.abs(bend).max()), cos * dx + sin * dy, cos * dy - sin * dx, velocity,
                 _blocks(cov))


def _near(seen: _Seen, abeam: Bools, body: float, slack: Floats, reach_in: Floats, trust: Lateral) -> Ints:
    """Return the rows that are in a corridor drawn too wide, by the largest spread and speed, where they are `abeam`
    (N, S) of the body: the others are not in the corridor.
    """
    path, (a, b, c) = seen.path, (np.abs(part[0]) for part in seen.blocks)
    spread = max(trust.position_k, 0.0) * np.sqrt(a + 2 * b + c + float(path.sigma.max()) ** 2)
    width = body + np.maximum(slack, spread) + reach_in * np.hypot(seen.velocity[:, 0], seen.velocity[:, 1]) + SPARE
    # Written so that NaN is looked at.
    return np.asarray((abeam & ~(np.abs(seen.left) > width[:, None])).any(axis=1).nonzero()[0])


def _within(seen: _Seen, body: float, slack: Floats, reach_in: Floats, trust: Lateral, speed: float) -> Bools:
    """Tell at which samples (N, S) an object is no farther aside than the corridor reaches."""
    path, cos, sin, (vx, vy) = seen.path, seen.cos, seen.sin, seen.velocity.T[:, :, None]
    sideways = _sideways(cos, sin, seen.bend, seen.sharpest, vx, vy)
    spread, doubt = _spread(tuple(part[:, :, None] for part in seen.blocks), -sin, cos)
    toward = -np.sign(seen.left) * trust.speed(sideways, doubt)
    closing = np.maximum(speed - cos * vx - sin * vy, 0.5)
    # To stop just there takes ego twice the time that it takes to drive there.
    until = 2 * np.maximum(_travel(seen), 0.0) / closing
    width = body + np.maximum(slack[:, None], trust.position_k * np.sqrt(spread * spread + path.sigma * path.sigma))
    return np.asarray(np.abs(seen.left) - np.maximum(toward, 0.0) * np.minimum(reach_in[:, None], until) <= width)


def _told(
    seen: _Seen, met: Floats, both: Ints, turned: Bools, trust: Lateral, reach_in: Floats, since: Floats, age: Floats
) -> Contacts:
    """Return what is told of each object at `both` samples (2, N): where it is met, and where it is now."""
    c, s, vx, vy = seen.cos[both], seen.sin[both], seen.velocity[:, 0], seen.velocity[:, 1]
    along = c[0] * vx + s[0] * vy
    directions = np.array([c[0], -s[0], -s[1]]), np.array([s[0], c[0], c[1]])
    place, moves = _spread(tuple(part[:, None] for part in seen.blocks), *directions)
    rows, heard = np.arange(len(met)), _heard(moves[0], since, c[0], s[0])
    swerve = _sideways(c, s, seen.bend[both], seen.sharpest, vx, vy)
    across, drift = trust.speed(swerve, moves[1:]) * (reach_in > 0)
    sure = np.empty((len(met), 2))
    sure[:, 0], sure[:, 1] = c[0] * along - s[0] * across, s[0] * along + c[0] * across
    offset, near = seen.left[rows, both], both[1]
    return Contacts(met, offset[0], along, place[0], moves[0], heard, age, place[1], sure,
                    seen.path.s[near] + seen.ahead[rows, near], offset[1], drift, turned, swerve[1], moves[2])


def turn_contacts(
    path: Path, position: Floats, cov: Floats, body: float, slack: Floats, keep: Floats, sigma_k: float, age: Floats
) -> Contacts:
    """Return how far the farthest corner goes until the body that turns on the spot along `path` meets each object.

    Room is kept to all sides: `slack` (N,) [m] or `sigma_k` standard deviations of the object's place, but no more than
    half of what there is now, and `keep` (N,) [m] for what may come nearer by itself.
    """
    cos, sin = np.cos(path.heading), np.sin(path.heading)
    dx, dy = position[:, :1] - path.x[0], position[:, 1:] - path.y[0]
    ahead, left = cos * dx + sin * dy, cos * dy - sin * dx
    room = np.maximum(np.abs(left) - body, np.maximum(ahead - path.front, -path.rear - ahead))
    place = np.sqrt(np.maximum(cov[:, 0, 0] + cov[:, 1, 1], 0.0))
    clear = np.minimum(np.maximum(slack, sigma_k * place), room[:, 0] / 2) + keep
    inside = room <= clear[:, None]
    entered = inside.argmax(axis=1)
    gap = np.where(inside.any(axis=1), path.s[np.maximum(entered - 1, 0)], np.inf)
    none = np.zeros(len(position))
    return Contacts(gap, none, none, none, none, none, age, place, np.zeros((len(position), 2)),
                    np.full(len(position), -np.inf), none, none, np.ones(len(position), np.bool_), none, none)


def _sideways(cos: Floats, sin: Floats, bend: Floats, sharpest: float, vx: Floats, vy: Floats) -> Floats:
    """Return the speeds to the left of a path at samples of it, without what a bend there explains.

    Who follows a bend seems to drift out of it, by what its velocity turns meanwhile. Who is too fast for the path's
    sharpest bend does not follow it.
    """
    sideways = cos * vy - sin * vx
    v2 = vx * vx + vy * vy
    turning = -LAG * bend * np.where(v2 * sharpest <= FOLLOWS, v2, 0.0)
    return np.asarray(sideways - np.minimum(np.maximum(sideways, np.minimum(turning, 0.0)), np.maximum(turning, 0.0)))


def _travel(seen: _Seen) -> Floats:
    """Return how far ego goes until its leading edge is at each object, seen from each sample (N, S) [m]."""
    return np.asarray(seen.path.s + seen.ahead - seen.path.front)


def _teeth(path: Path) -> Floats:
    """Return how far (S,) [m] behind the rear edge the rear corners sweep since the sample before, where it turns."""
    turn = np.abs(path.heading[1:] - path.heading[:-1])
    reach = np.zeros(len(path.s))
    reach[1:][turn * path.rear > TEETH] = path.s[1] - path.s[0]
    return reach


def _turned_into(room: Floats, flank: Floats) -> Bools:
    """Tell at which samples the body has turned to what is beside it now (N, S), by the `room` (N, S) [m] to its flank.

    By half of the present room at least, so that a path which jitters turns to nothing; inside the body there is none.
    """
    now = room[:, :1]
    return np.asarray((now > 0) & (room <= np.minimum(flank[:, None], now / 2)))


def _first(seen: _Seen, inside: Bools, flank: Floats, nearest: Ints) -> tuple[Floats, Ints, Bools]:
    """Return the gap (N,) to each row, inf without contact, the sample where it is met, else the `nearest`; and which
    rows the flank meets.
    """
    gap = np.where(inside, _travel(seen), np.inf)
    first, rows = gap.argmin(axis=1), np.arange(len(gap))
    met = gap[rows, first]
    # Not before it is inside: beside a flank the leading edge has long passed.
    entered = inside.argmax(axis=1)
    earliest = np.where((entered > 0) & (flank > -np.inf), seen.path.s[entered - 1], -np.inf)
    turned = met < earliest
    met, first = np.where(turned, earliest, met), np.where(turned, entered, first)
    return met, np.where(np.isfinite(met), first, nearest), turned


def _heard(sigma: Floats, since: Floats, x: Floats, y: Floats) -> Floats:
    """Return standard deviations (N,) of the speed along unit vectors (x, y) less what was added since it was heard."""
    added = since[:, 0, 0] * x * x + 2 * since[:, 0, 1] * x * y + since[:, 1, 1] * y * y
    return np.asarray(np.sqrt(np.maximum(sigma * sigma - added, 0.0)))


def _curvature(path: Path) -> Floats:
    """Return the curvature (S,) [1/m] of the path around each sample, jitter of a plan's points left out."""
    half = BEND_STRETCH / 2
    to = np.interp(path.s + half, path.s, path.heading)
    return np.asarray((to - np.interp(path.s - half, path.s, path.heading)) / BEND_STRETCH)


def _blocks(cov: Floats) -> Blocks:
    return cov[:, (0, 2), (0, 2)].T, cov[:, (0, 2), (1, 3)].T, cov[:, (1, 3), (1, 3)].T


def _spread(blocks: Blocks, x: Floats, y: Floats) -> Floats:
    """Return the standard deviations along unit vectors (x, y)."""
    a, b, c = blocks
    return np.asarray(np.sqrt(np.maximum(a * x * x + 2 * b * x * y + c * y * y, 0.0)))


def first_conflict(
    path: Path,
    position: Floats,
    velocity: Floats,
    half_width: Floats,
    clearance: Floats,
    horizon: float,
    step: float,
) -> tuple[Floats, Floats]:
    """Return (time, travel) of the first moment ego, following its plan, meets each object's expected motion.

    Objects keep their velocity; ego keeps to path and timing of the plan; `clearance` (N,) [m] is added ahead of ego
    where the object is slower. Both are inf without a conflict within `horizon` [s].
    """
    times = np.arange(0.0, horizon + step / 2, step)
    planned = np.isfinite(path.time).nonzero()[0]
    where = np.interp(times, path.time[planned], path.s[planned]) if len(planned) else np.zeros_like(times)
    x, y = np.interp(where, path.s, path.x), np.interp(where, path.s, path.y)
    heading = np.interp(where, path.s, path.heading)
    cos, sin = np.cos(heading), np.sin(heading)
    dx = position[:, :1] + velocity[:, :1] * times - x
    dy = position[:, 1:] + velocity[:, 1:] * times - y
    within = np.abs(cos * dy - sin * dx) <= half_width[:, None]
    when, travel = np.full(len(position), np.inf), np.full(len(position), np.inf)
    rows = within.any(axis=1).nonzero()[0]  # the others are beside the way all the time
    if not len(rows):
        return when, travel
    ahead = cos * dx[rows] + sin * dy[rows]
    along = cos * velocity[rows, :1] + sin * velocity[rows, 1:]
    room = np.where(along < np.interp(where, path.s, path.speed), clearance[rows, None], 0.0)
    hit = within[rows] & (ahead >= -path.rear) & (ahead - path.front <= room)
    some, first = np.arange(len(rows)), hit.argmax(axis=1)
    any_hit = hit[some, first]
    when[rows] = np.where(any_hit, times[first], np.inf)
    travel[rows] = np.where(any_hit, where[first] + ahead[some, first] - path.front, np.inf)
    return when, travel


def arc_points(arc: Arc, ego: Odometry, nearest: float, count: int = 9) -> Floats:
    """Return (count, 2) points in odom of the arc at distance `nearest` [m] from the transducer."""
    bearing = arc.yaw + np.linspace(max(-arc.half_angle, arc.low), min(arc.half_angle, arc.high), count)
    x = arc.x + nearest * np.cos(bearing)
    y = arc.y + nearest * np.sin(bearing)
    cos, sin = np.cos(ego.yaw), np.sin(ego.yaw)
    return np.stack([ego.x + cos * x - sin * y, ego.y + sin * x + cos * y], axis=1)


def footprint(x: float, y: float, yaw: float, vehicle: Vehicle) -> Floats:
    """Return the (4, 2) corners of ego's body, counter-clockwise from front left."""
    half = vehicle.width / 2
    body = np.array([[vehicle.front, half], [-vehicle.rear, half], [-vehicle.rear, -half], [vehicle.front, -half]])
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.asarray(body @ np.array([[cos, sin], [-sin, cos]]) + np.array([x, y]))


def angle_difference(a: float, b: float) -> float:
    """Return a - b wrapped to [-pi, pi)."""
    return float((a - b + np.pi) % (2 * np.pi) - np.pi)


def unwrapped(angles: Floats) -> Floats:
    """Return the same angles without jumps of a full turn; most have none, and are returned as they are."""
    step = angles[1:] - angles[:-1]
    return angles if np.count_nonzero(np.abs(step) < np.pi) == len(step) else np.asarray(np.unwrap(angles))


def slopes(values: Floats, at: Floats) -> Floats:
    """Return the derivative of `values` over the increasing places `at`, second order, as `np.gradient` does."""
    step, rise = at[1:] - at[:-1], values[1:] - values[:-1]
    left, right = step[:-1], step[1:]
    result = np.empty_like(values)
    if np.count_nonzero(step == step[0]) == len(step):
        result[1:-1] = (values[2:] - values[:-2]) / (2 * step[0])
    else:
        both = left + right
        result[1:-1] = -right / (left * both) * values[:-2] + (right - left) / (left * right) * values[1:-1]
        result[1:-1] += left / (right * both) * values[2:]
    result[0], result[-1] = rise[0] / step[0], rise[-1] / step[-1]
    return result
