"""Every object against the path that ego is about to drive.

Two envelopes, two purposes. The *worst case* (proved, `envelopes.path_margin`) decides EMERGENCY_STOP; the *expected
motion* (constant velocity, planned timing) asks for milder modes earlier, by the deceleration it would take, and only
where the plan itself does not keep clear. How much a track may demand depends on its existence (`config.Authority`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from safety_supervisor.core import foresight
from safety_supervisor.core.config import Config, Envelope
from safety_supervisor.core.envelopes import (
    EPS,
    clear_distance_margin,
    near_field_margin,
    path_margin,
    ttc_margin,
    upper_speed,
    worst_end,
)
from safety_supervisor.core.geometry import Contacts, Lateral, Path, arc_points, contacts, first_conflict
from safety_supervisor.core.motion import fallback_distance, speed_for_distance
from safety_supervisor.core.world import (
    Arc,
    Assessment,
    Bools,
    Code,
    Echo,
    Floats,
    Ints,
    Mode,
    Odometry,
    Reason,
    Threat,
    Tracks,
    Verdict,
    seconds,
)

MAX_REQUIRED = 50.0
"""Cap of a reported required deceleration [m/s^2]; beyond it only that the gap is used up matters."""
NEAR_BOUND = 0.01
"""Error of an arc's gap along the few metres of path that count for it [m]; most of it is the spacing of its points."""
FLANK_SPEED = 5.0
"""Faster than this [m/s] is traffic, not somebody who crosses on foot."""
CONFLICT_STEP = 0.1
"""Time step of the expected motion [s]."""

WAIT = 0.5
"""Braking for who cuts in begins when it would be worse to begin it this much later [s]."""
TREND_SPAN = 0.3
"""Longest time between two ticks from which an acceleration is read [s]."""
CONFIRMED_HITS = 1_000_000
"""Stands for an arc, whose confirmation is the business of its own filter."""

NOMINAL, SPEED_CAP, COMFORT_STOP = int(Mode.NOMINAL), int(Mode.SPEED_CAP), int(Mode.COMFORT_STOP)
FIRM_STOP, EMERGENCY_STOP = int(Mode.FIRM_STOP), int(Mode.EMERGENCY_STOP)
"""Modes in arrays: an enumeration beside an array costs ten times as much."""

VERDICT = {
    Mode.NOMINAL: Verdict.SAFE,
    Mode.SPEED_CAP: Verdict.MARGINAL,
    Mode.COMFORT_STOP: Verdict.MARGINAL,
    Mode.FIRM_STOP: Verdict.UNSAFE,
    Mode.EMERGENCY_STOP: Verdict.IMMINENT,
}

RULES = ("longitudinal", "near_field", "ttc", "extrapolation", "clear_distance")


@dataclass(frozen=True, slots=True)
class Objects:
    """Tracks and arc points in one table of N rows."""

    row: Ints
    """(N,) index of the track, or -1 - index of the arc."""
    position: Floats
    velocity: Floats
    cov: Floats
    existence: Floats
    suspect: Bools
    """(N,) looks like a radar reflection of another object."""
    static: Bools
    """(N,) never seen moving, so not told apart from a bridge or a sign; arcs are real obstacles."""
    hits: Ints
    """(N,) detections behind the row; an arc has been confirmed by its own rule."""
    age: Floats
    """(N,) age of the newest detection behind the row [s]."""
    approach: Floats
    """(N,) own approach speed of a near-field object, direction unknown [m/s]."""
    keep: Floats
    """(N,) gap to keep even in the worst case [m]."""
    clearance: Floats
    """(N,) gap to keep at the end of an expected approach [m]."""
    slack: Floats
    """(N,) least lateral distance to ego's body that counts as clear [m]."""
    trend: Floats
    """(N, 2) acceleration in odom, without what is only noise [m/s^2]."""

    near: Bools = field(init=False)
    """(N,) rows of ultrasonic arcs."""
    sound: Bools = field(init=False)
    """(N,) rows in which every number is finite; of the others nothing can be said, so they stop ego."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "near", self.row < 0)
        scalars = (self.existence[:, None], self.age[:, None], self.approach[:, None])
        columns = (self.position, self.velocity, self.cov.reshape(len(self.row), 16), *scalars)
        object.__setattr__(self, "sound", np.isfinite(np.concatenate(columns, axis=1)).all(axis=1))


@dataclass(frozen=True, slots=True)
class Situation:
    """What the judgement of one tick rests on besides the objects."""

    ego: Odometry
    path: Path
    present: Path | None
    """Physical extrapolation beside a plan; None when it is the judged path itself."""
    acceleration: float
    """Most that ego may accelerate until the fallback acts [m/s^2], >= 0."""
    envelope: Envelope
    """The vehicle's envelope, with no more brake than the bends of the path leave."""
    clear_range: float
    """Range that healthy sensors cover in the direction of travel [m]."""
    braking: bool
    """An MRM is under way: its own profile, not the plan's timing, is what happens next."""
    recent_speed: float = 0.0
    """Fastest that ego was while the present echo filters gathered their range rates [m/s]."""
    resting: bool = False
    """Ego stands and the plan leaves it there: there is nothing to brake."""
    ego_age: float = 0.0
    """Age of the odometry that `ego` is predicted from [s], >= 0."""
    braked: float = 0.0
    """Acceleration that ego is driven with now [m/s^2], <= 0."""
    before: Tracks = field(default_factory=Tracks)
    """Tracks of the tick before: a lateral speed that grows shows early what comes."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Rows by their expected motion."""

    conflict: Bools
    """(N,) the policy's plan leads into the object."""
    required: Floats
    """(N,) deceleration [m/s^2] that keeps clear when a firm stop begins now, 0 without conflict."""
    demand: Ints
    cap: Floats
    """(N,) speed [m/s] from which a comfort stop is enough, inf without conflict."""


@dataclass(frozen=True, slots=True)
class Rated:
    """Rows against one path."""

    met: Contacts
    margin: Floats
    ttc_margin: Floats
    expected: Expectation
    level: Ints
    """(N,) strongest mode the row may demand."""
    told: Ints
    """(N,) the same for the margins that are reported."""
    demand: Ints
    code: Ints
    """(N,) index into CODES of the rule that demands most."""
    spared: Bools
    """(N,) still beside the way, and braking now would do harm: asks for no stop."""


CODES = (Code.ENVELOPE, Code.NEAR_FIELD, Code.EXPECTED_MOTION, Code.TTC, Code.EXTRAPOLATION, Code.CUT_IN)


def assess(tracks: Tracks, arcs: tuple[Arc, ...], situation: Situation, config: Config) -> Assessment:
    """Judge every track and arc against the path; raises nothing, NaN ends in EMERGENCY_STOP."""
    tracks = tracks.take(_heard(tracks, config))
    objects = objects_of(tracks, arcs, situation, config)
    alone = np.zeros(len(objects.row), np.int64)
    rated, eases = foreseen(objects, rate(objects, situation.path, situation, config), situation, config, alone, 1)
    half = config.vehicle.width / 2 + objects.slack
    threats = list(_threats(objects, rated, tracks, arcs, situation, half))
    margins = _margins(objects, rated)
    if situation.present is not None:
        beside = rate_present(objects, situation.present, rated.spared, situation, config)
        threats += [t for t in _threats(objects, beside, tracks, arcs, situation, half) if t.demand > Mode.NOMINAL]
        margins["extrapolation"] = _smallest(beside.margin[beside.level >= EMERGENCY_STOP])
    cap, reasons = _caps(objects, rated, situation, margins, config)
    demand = max([r for r, _ in reasons] + [t.demand for t in threats], default=Mode.NOMINAL)
    told = [_explain(t) for t in sorted(threats, key=lambda t: (-t.demand, t.margin)) if t.demand > Mode.NOMINAL]
    worst = _decisive(threats)
    smallest = float(np.minimum(margins["longitudinal"], margins["near_field"]))
    return Assessment(
        VERDICT[demand], demand, _sustain(rated), smallest, tuple(margins.items()),
        worst.track if worst else None, _lead(objects, rated, tracks, config),
        (*told, *(reason for _, reason in reasons)), tuple(threats), cap,
        bool(eases[0]) and demand < Mode.COMFORT_STOP,
    )  # fmt: skip


def _heard(tracks: Tracks, config: Config) -> Bools:
    """Return which tracks may demand anything at all; one with a broken number is always heard."""
    a = config.authority
    unlikely = tracks.existence < min(a.speed_cap, a.near_field, a.lead)
    whole = np.isfinite(tracks.state).all(axis=1) & np.isfinite(tracks.cov).all(axis=(1, 2))
    return np.asarray(~(unlikely & whole & np.isfinite(tracks.existence)))


def objects_of(tracks: Tracks, arcs: tuple[Arc, ...], situation: Situation, config: Config) -> Objects:
    """Return tracks and the points of near-field arcs as one table."""
    near, ego = config.near_field, situation.ego
    # Where the plan itself comes to rest, it may come a little closer than where it drives past.
    rests = bool(situation.path.speed[-1] < config.arbitration.standstill_speed)
    keep = near.stop_distance - (near.approach_tolerance if rests else 0.0)
    rows, points, approach = [np.arange(len(tracks))], [tracks.state[:, :2]], [np.zeros(len(tracks))]
    for i, arc in enumerate(arcs):
        if _counts(arc) and abs(ego.speed) <= near.speed_max:
            low = arc.range - config.envelope.sigma_k * arc.range_sigma if arc.echo is Echo.OBJECT else 0.0
            points.append(arc_points(arc, ego, max(low, 0.0)))
            rows.append(np.full(len(points[-1]), -1 - i))
            approach.append(np.full(len(points[-1]), _approach(arc, situation, near.approach_noise)))
    m, n = len(tracks), sum(map(len, points)) - len(tracks)
    # What is known of ego may be older than what is known of an object: the older one counts. The age of a ping is in
    # the spread of its arc, which grows while the filter predicts.
    age = np.maximum([seconds(ego.t - int(t)) for t in tracks.updated], situation.ego_age)
    c = config.corridor
    return Objects(
        np.concatenate(rows), np.concatenate(points), np.concatenate([tracks.state[:, 2:], np.zeros((n, 2))]),
        np.concatenate([tracks.cov, np.zeros((n, 4, 4))]), np.concatenate([tracks.existence, np.ones(n)]),
        np.concatenate([tracks.suspect, np.zeros(n, np.bool_)]), np.concatenate([~tracks.moved, np.zeros(n, np.bool_)]),
        np.concatenate([tracks.hits, np.full(n, CONFIRMED_HITS)]),
        np.concatenate([age, np.full(n, situation.ego_age)]), np.concatenate(approach),
        np.concatenate([np.zeros(m), np.full(n, keep)]),
        np.concatenate([np.full(m, config.expected.clearance), np.full(n, keep)]),
        np.concatenate([
            c.margin + np.maximum(c.object_half_width, tracks.extent[:, 0]), np.full(n, near.lateral_margin)]),
        np.concatenate([trends(tracks, situation.before, c.lateral_speed_sigma_k), np.zeros((n, 2))]),
    )  # fmt: skip


def trends(tracks: Tracks, before: Tracks, sigma_k: float) -> Floats:
    """Return the acceleration (M, 2) [m/s^2] of tracks since the tick before, as far as it is more than noise."""
    span = seconds(tracks.t - before.t)
    if not len(before) or not len(tracks) or not 0.0 < span <= TREND_SPAN:
        return np.zeros((len(tracks), 2))
    at = np.minimum(np.searchsorted(before.id, tracks.id), len(before) - 1)
    known = before.id[at] == tracks.id
    change = tracks.state[:, 2:] - before.state[at, 2:]
    noise = np.sqrt(np.maximum(tracks.cov[:, (2, 3), (2, 3)] + before.cov[at][:, (2, 3), (2, 3)], 0.0))
    more = np.sign(change) * np.maximum(np.abs(change) - sigma_k * noise, 0.0) / span
    return np.asarray(np.where(known[:, None], more, 0.0))


def rate(o: Objects, path: Path, situation: Situation, config: Config) -> Rated:
    """Rate every row against the judged path with every rule."""
    met = _contacts(o, path, situation.ego, config)
    margin = worst_case(o, met, situation, config)
    inside = margin >= EPS  # written so that NaN falls to braking
    expected = expected_motion(o, met, path, situation, config)
    closing = _ego_speed(situation, config) - met.along
    soon = ttc_margin(met.gap - o.keep, closing, situation.acceleration, config.expected.ttc)
    by_rule = np.stack([
        np.where(inside | o.near, NOMINAL, EMERGENCY_STOP),
        np.where(inside | ~o.near, NOMINAL, EMERGENCY_STOP),
        expected.demand,
        np.where((soon >= EPS) | o.near, NOMINAL, FIRM_STOP),
    ])  # fmt: skip
    # What stands or drives ahead fails the worst case only within the stopping distance; there the path is no guess.
    certain = o.near | (~inside & (met.along > -config.tracking.moving_speed))
    known = np.where(certain, np.inf, _known(path, situation, config))
    level = authority(o, met, known, config)
    # Oncoming traffic beyond the known path follows a road that nobody here knows.
    level = np.where((met.along < -config.tracking.moving_speed) & (met.gap > known), NOMINAL, level)
    # Their margin counts all the way: it is what would brake as soon as it is gone.
    told = np.where(met.along > -config.tracking.moving_speed, authority(o, met, np.inf, config), level)
    by_rule = np.where(met.hit & (not situation.resting), np.minimum(by_rule, level), NOMINAL)
    nobody = np.zeros(len(o.row), np.bool_)
    return Rated(met, margin, soon, expected, level, told, by_rule.max(axis=0), by_rule.argmax(axis=0), nobody)


def foreseen(
    o: Objects, rated: Rated, situation: Situation, config: Config, owner: Ints, owners: int
) -> tuple[Rated, Bools]:
    """Return the rating with what braking changes: who comes into the way asks for it in time, and where braking would
    make a miss a hit, who is still beside the way asks for no stop. The second value (owners,): braking under way does
    harm now. Rows of one `owner` (N,) are judged together: one for a vehicle, one for each of many simulated worlds.
    """
    c, a, path = config.corridor, config.authority, situation.path
    met, half = rated.met, config.vehicle.width / 2
    width = o.slack - c.margin
    beside = np.abs(met.offset) > half + width
    counts = ~o.near & o.sound & ~o.suspect & (o.existence >= a.stop) & (o.hits >= a.hits)
    counts &= (met.station >= -path.rear) & (met.along > -config.tracking.moving_speed)
    counts &= (met.station - path.front <= np.where(o.static, a.static_range, _known(path, situation, config)))
    coming = counts & beside & (met.drift * met.offset < 0)
    if not coming.any():
        return rated, np.zeros(owners, np.bool_)
    near = np.argmin(np.abs(path.s - met.station[:, None]), axis=1)
    gain = np.cos(path.heading[near]) * o.trend[:, 1] - np.sin(path.heading[near]) * o.trend[:, 0]
    movers = foresight.Movers(met.station, met.offset, met.along, met.drift, gain, width).take(counts)
    together = foresight.joint(_costs(movers, situation, config), owner[counts], owners)
    comes = np.bincount(owner[coming], minlength=owners) > 0
    due, harmful = comes & foresight.due(together), comes & foresight.harmful(together)
    level = np.where(o.existence >= a.emergency, EMERGENCY_STOP, FIRM_STOP)
    asks = coming & due[owner]
    demand = np.where(asks, np.maximum(rated.demand, level), rated.demand)
    spared = counts & beside & harmful[owner]
    demand = np.where(spared, np.minimum(demand, SPEED_CAP), demand)
    code = np.where(asks & (level > rated.demand), CODES.index(Code.CUT_IN), rated.code)
    return replace(rated, demand=demand, code=code, spared=spared), harmful


def _costs(movers: foresight.Movers, situation: Situation, config: Config) -> foresight.Costs:
    path, v, f = situation.path, abs(situation.ego.speed), config.fallback
    brake = min(f.emergency_deceleration, situation.envelope.assumed_brake)
    phases = ((-brake, -brake, 0.0), (0.0, -brake, WAIT), (-brake, 0.0, max(config.timing.period, foresight.STEP)))
    courses = [foresight.two_phases(v, situation.braked, first, second, at, f.emergency_jerk,
                                    config.timing.actuation_delay) for first, second, at in phases]
    planned = np.isfinite(path.time)
    times, s = path.time[planned], path.s[planned]
    over = np.maximum(foresight.TIMES - times[-1], 0.0)
    travel = np.interp(foresight.TIMES, times, s)
    speed = np.interp(travel, path.s, path.speed)
    plan = foresight.Course((travel + over * path.speed[-1])[None], speed[None])
    body = (path.front, path.rear, config.vehicle.width / 2)
    return foresight.costs(movers, plan, (courses[0], courses[1], courses[2]), body)


def rate_present(o: Objects, path: Path, spared: Bools, situation: Situation, config: Config) -> Rated:
    """Rate what ego reaches by its present motion before a steering correction can act; worst case only.

    Who is `spared` (N,) because braking for it does harm asks for no stop on this course either.
    """
    met = _contacts(o, path, situation.ego, config)
    reach = abs(situation.ego.speed) * (config.timing.commit + config.timing.steering_correction)
    margin = np.where(met.gap <= reach, worst_case(o, met, situation, config), np.inf)
    level = authority(o, met, reach, config)
    demand = np.where(margin >= EPS, NOMINAL, np.minimum(np.where(spared, SPEED_CAP, EMERGENCY_STOP), level))
    zero, inf = np.zeros(len(o.row)), np.full(len(o.row), np.inf)
    nothing = Expectation(zero.astype(np.bool_), zero, demand, inf)
    code = np.full(len(o.row), CODES.index(Code.EXTRAPOLATION))
    return Rated(met, margin, inf, nothing, level, level, demand, code, spared)


def worst_case(o: Objects, met: Contacts, situation: Situation, config: Config) -> Floats:
    """Return the proved margin [m] of each row at the worst end of its uncertainty, inf without contact.

    The state is taken back to the time of the newest detection and the age added to the response time: from that
    moment on the object may have done its worst.
    """
    e, timing = situation.envelope, config.timing
    v = _ego_speed(situation, config)
    gap_off = e.sigma_k * np.maximum(met.gap_sigma, np.where(o.near, 0.0, e.gap_sigma_floor))
    bound = np.where(o.near, NEAR_BOUND, e.geometry_bound)
    reading, speed_off = abs(situation.ego.speed), e.sigma_k * met.speed_sigma
    gap, speed = worst_end(met.gap, gap_off, bound, reading, met.along, speed_off, o.age)
    response = o.age + timing.commit + timing.actuation_delay
    margin = np.where(
        o.near,
        near_field_margin(gap, v, o.approach, response, situation.acceleration, o.keep, e),
        path_margin(gap, v, speed, response, situation.acceleration, e),
    )
    return np.where(met.hit, margin, np.inf)


def expected_motion(o: Objects, met: Contacts, path: Path, situation: Situation, config: Config) -> Expectation:
    """Follow the plan among objects that keep their velocity; ask for the mildest stop that would still do.

    A conflict is met on the plan's own timing, or left behind by it: where the plan ends, a comfort stop must still be
    enough. While an MRM is under way what is required counts from where ego is now, whatever the plan's timing.
    """
    x, f, v = config.expected, config.fallback, abs(situation.ego.speed)
    object_speed = np.maximum(met.along, 0.0)
    half = config.vehicle.width / 2
    expected = np.where((o.static & ~o.near)[:, None], 0.0, met.sure)  # what never moved is expected to stay
    when, travel = first_conflict(path, o.position, expected, half + o.slack, o.clearance, x.horizon, CONFLICT_STEP)
    meets = np.isfinite(when)
    conflict = meets | _left_behind(o, met, object_speed, path, config)
    gap = np.where(meets, travel - object_speed * np.where(meets, when, 0.0), met.gap)
    if situation.braking:
        gap = np.where(met.hit, np.minimum(met.gap, gap), gap)
    matters = np.isfinite(gap) & ((conflict | met.hit) if situation.braking else conflict)
    room = np.where(np.isfinite(gap), gap - o.clearance, 0.0)
    closing = np.maximum(v - object_speed, 0.0)
    wait = config.timing.actuation_delay + o.age
    comfort = _required(closing, room, wait + f.comfort_deceleration / (2 * f.comfort_jerk))
    firm = _required(closing, room, wait + f.firm_deceleration / (2 * f.firm_jerk))
    demand = np.where(comfort > x.cap_threshold, SPEED_CAP, NOMINAL)
    demand = np.where(comfort > x.comfort_threshold, COMFORT_STOP, demand)
    demand = np.where(firm > x.firm_threshold, FIRM_STOP, demand)
    demand = np.where(matters, demand, NOMINAL)
    b = x.comfort_threshold
    cap = object_speed - b * wait + np.sqrt(b * b * wait * wait + 2 * b * np.maximum(room, 0.0))
    cap = np.where(matters, np.maximum(cap, 0.0), np.inf)
    return Expectation(conflict, np.where(matters, firm, 0.0), demand.astype(np.int64), cap)


def _left_behind(o: Objects, met: Contacts, object_speed: Floats, path: Path, config: Config) -> Bools:
    """Whether the plan ends closer to an object, and faster, than a comfort stop from there can settle."""
    end = float(np.max(path.time[np.isfinite(path.time)], initial=0.0))
    closing = np.maximum(float(path.speed[-1]) - object_speed, 0.0)
    room = np.maximum(met.gap + object_speed * end - path.length - o.clearance, 0.0)
    return np.asarray(met.hit & (closing * closing > 2 * config.expected.comfort_threshold * room))


def _required(closing: Floats, room: Floats, delay: Floats) -> Floats:
    """Return the constant deceleration [m/s^2] that takes off `closing` [m/s] within `room` [m] after `delay` [s]."""
    left = np.maximum(room - closing * delay, 1e-3)
    return np.asarray(np.minimum(closing * closing / (2 * left), MAX_REQUIRED))


def _sustain(rated: Rated) -> Mode:
    """Return COMFORT_STOP while the plan leads into something that may demand a stop."""
    return Mode.COMFORT_STOP if np.any(rated.expected.conflict & (rated.level >= COMFORT_STOP)) else Mode.NOMINAL


def authority(o: Objects, met: Contacts, known: Floats | float, config: Config) -> Ints:
    """Return the strongest mode each row may demand; where the path is only a guess, beyond `known` [m], a cap.

    Existence says that something is there, not where it will be: what has been seen a few times only must be in the
    corridor even at the far end of its lateral interval.
    """
    a, gap = config.authority, met.gap
    by_existence = np.where(o.existence >= a.speed_cap, SPEED_CAP, NOMINAL)
    by_existence = np.where(o.existence >= a.stop, FIRM_STOP, by_existence)
    by_existence = np.where(o.existence >= a.emergency, EMERGENCY_STOP, by_existence)
    # Little existence is enough when near, but not together with few detections: clutter stands near too.
    close = (gap <= a.near_range) & (o.existence >= a.near_field) & (o.hits >= a.near_hits)
    doubtful = (o.static & (gap > a.static_range)) | (gap > known) | (o.suspect & (gap > a.near_range))
    surely = np.abs(met.lateral) + a.course_sigma_k * met.lateral_sigma <= config.vehicle.width / 2 + o.slack
    course = o.hits >= np.where(gap <= a.near_range, a.near_hits, a.course_hits)
    young = (o.hits < a.hits) | ~(course | surely)
    level = np.where(close, EMERGENCY_STOP, by_existence)
    level = np.where(young, np.minimum(level, SPEED_CAP), level)
    level = np.where(o.sound, level, EMERGENCY_STOP)
    return np.where(doubtful, np.minimum(level, SPEED_CAP), level).astype(np.int64)


def _contacts(o: Objects, path: Path, ego: Odometry, config: Config) -> Contacts:
    c = config.corridor
    half = config.vehicle.width / 2
    reach_in = np.where(_flank(o, ego, config), min(c.flank_prediction, c.lateral_prediction), c.lateral_prediction)
    reach_in = np.where(o.near | (o.hits < c.lateral_hits), 0.0, reach_in)
    lateral = Lateral(c.lateral_sigma_k, c.lateral_speed_sigma_k, c.lateral_speed_sigma_max)
    met = contacts(path, o.position, o.velocity, o.cov, half, o.slack, reach_in, lateral, abs(ego.speed))
    return replace(met, gap=np.where(o.sound, met.gap, np.nan))


def _flank(o: Objects, ego: Odometry, config: Config) -> Bools:
    """Return the rows of traffic near by: what is seen of it is its flank, on which the reflection wanders."""
    ahead, v = config.vehicle.front, o.velocity
    off = o.position - np.array([ego.x + ahead * np.cos(ego.yaw), ego.y + ahead * np.sin(ego.yaw)])
    near = off[:, 0] * off[:, 0] + off[:, 1] * off[:, 1] <= config.authority.near_range * config.authority.near_range
    return np.asarray(near & (v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1] > FLANK_SPEED * FLANK_SPEED))


def _known(path: Path, situation: Situation, config: Config) -> float:
    """Return how far [m] the judged path is more than a guess; what ego needs to stop in is taken as it is."""
    return max(path.length + config.corridor.continuation, _stopping(situation, config))


def _stopping(situation: Situation, config: Config) -> float:
    """Return how far [m] ego gets if it falls back at the last moment."""
    e, response = situation.envelope, config.timing.commit + config.timing.actuation_delay
    v = _ego_speed(situation, config)
    return float(fallback_distance(v, response, situation.acceleration, e.assumed_brake, e.assumed_jerk))


def _ego_speed(situation: Situation, config: Config) -> float:
    return float(upper_speed(abs(situation.ego.speed), config.envelope))


def _approach(arc: Arc, situation: Situation, noise: float) -> float:
    """Return how fast [m/s] an echo comes nearer by itself, beyond what ego's motion and noise explain.

    A filtered range rate lags: while ego brakes it still holds ego's speed of a moment ago.
    """
    own = -arc.range_rate - max(abs(situation.ego.speed), situation.recent_speed)
    return 0.0 if own <= noise else own  # written so that NaN is kept


def _counts(arc: Arc) -> bool:
    return arc.confirmed and arc.echo in (Echo.OBJECT, Echo.TOO_CLOSE)


def _smallest(margin: Floats) -> float:
    return float(np.min(margin, initial=np.inf))


def _margins(o: Objects, rated: Rated) -> dict[str, float]:
    """Return the smallest margin of each rule, over the rows that may demand what the rule demands."""
    emergency, stops = rated.told >= EMERGENCY_STOP, rated.told >= FIRM_STOP
    return {
        "longitudinal": _smallest(rated.margin[~o.near & emergency]),
        "near_field": _smallest(rated.margin[o.near]),
        "ttc": _smallest(rated.ttc_margin[rated.met.hit & ~o.near & stops]),
    }


def _threats(
    o: Objects, rated: Rated, tracks: Tracks, arcs: tuple[Arc, ...], situation: Situation, half: Floats
) -> Iterator[Threat]:
    """Yield one threat per track or arc in the corridor, arcs by their worst point."""
    speed, front = abs(situation.ego.speed), situation.path.front
    hit = np.flatnonzero(rated.met.hit | (rated.demand > NOMINAL))
    order = hit[np.lexsort((rated.margin[hit], -rated.demand[hit]))]
    seen: set[int] = set()
    for i in map(int, order):
        row = int(o.row[i])
        if row in seen:
            continue
        seen.add(row)
        closing = speed - float(rated.met.along[i])
        gap = float(rated.met.gap[i])
        gap = gap if gap != np.inf else float(rated.met.station[i]) - front  # not met yet, it comes from the side
        yield Threat(
            int(tracks.id[row]) if row >= 0 else None, "radar" if row >= 0 else arcs[-1 - row].sensor, gap,
            float(rated.met.lateral[i]), closing, float(rated.margin[i]), float(rated.expected.required[i]),
            max(gap, 0.0) / closing if closing > 1e-3 else float("inf"),
            Mode(int(rated.demand[i])), CODES[int(rated.code[i])],
            _drac(gap, closing), _pet(rated.met, i, float(half[i]), situation),
        )  # fmt: skip


def _drac(gap: float, closing: float) -> float:
    """Return the deceleration [m/s^2] that takes off the closing speed within the gap."""
    return 0.0 if not closing > 0.0 else min(closing * closing / (2 * max(gap, 1e-3)), MAX_REQUIRED)


def _pet(met: Contacts, i: int, half: float, situation: Situation) -> float:
    """Return the post-encroachment time [s] of a row that comes into ego's way or leaves it."""
    v, drift, offset = abs(situation.ego.speed), float(met.drift[i]), float(met.offset[i])
    if v < 0.1 or abs(drift) < 0.1:
        return float("inf")
    into, out = sorted(((-half - offset) / drift, (half - offset) / drift))
    if out <= 0.0:
        return float("inf")
    closing = v - float(met.along[i])
    station = float(met.station[i])
    arrives = (station - situation.path.front) / closing if closing > 0.1 else float("inf")
    leaves = (station + situation.path.rear) / closing if closing > 0.1 else float("inf")
    return max(into - max(leaves, 0.0), arrives - out, 0.0)


def _decisive(threats: list[Threat]) -> Threat | None:
    return min(threats, key=lambda t: (-t.demand, t.margin if t.margin == t.margin else -np.inf), default=None)


def _lead(o: Objects, rated: Rated, tracks: Tracks, config: Config) -> int | None:
    m = len(tracks)
    ahead = np.isfinite(rated.met.gap[:m]) & tracks.moved & (tracks.existence >= config.authority.lead)
    if not ahead.any():
        return None
    return int(tracks.id[int(np.argmin(np.where(ahead, rated.met.gap[:m], np.inf)))])


def _caps(
    o: Objects, rated: Rated, situation: Situation, margins: dict[str, float], config: Config
) -> tuple[float, list[tuple[Mode, Reason]]]:
    """Return the largest admissible speed reading and what demands it, the margin of the clear distance noted aside."""
    e, timing, a = situation.envelope, config.timing, situation.acceleration
    response = timing.commit + timing.actuation_delay
    v = abs(situation.ego.speed)
    fastest = max(v, float(np.max(situation.path.speed[situation.path.time <= 1.0], initial=0.0)))
    true_speed = _ego_speed(situation, config)
    margins["clear_distance"] = float(clear_distance_margin(situation.clear_range, true_speed, response, a, e))

    def reading(distance: float) -> float:
        """The speed that may be read where at most the true speed is stopped within `distance`."""
        true = float(speed_for_distance(distance, response, a, e.assumed_brake, e.assumed_jerk))
        return max((true - e.speed_error) / (1 + e.speed_error_ratio), 0.0)

    limit = config.authority.static_range
    far = rated.met.hit & o.static & (rated.met.gap > limit) & (o.existence >= config.authority.speed_cap)
    options: list[tuple[float, Code, str]] = [
        (config.odd.speed_max, Code.OUT_OF_ODD, "the operational design domain ends"),
        (reading(situation.clear_range), Code.CLEAR_DISTANCE,
         f"sensors cover {situation.clear_range:.1f} m of the way and ego must be able to stop inside"),
    ]  # fmt: skip
    if far.any():
        nearest = float(rated.met.gap[far].min())
        text = f"what never moved stands {nearest:.0f} m ahead, at {limit:g} m there must be room to stop"
        options.append((reading(limit), Code.CLEAR_DISTANCE, text))
    reasons = [
        (Mode.SPEED_CAP, Reason(code, f"{fastest:.1f} m/s is above {cap:.1f} m/s: {text}"))
        for cap, code, text in options
        if not fastest <= cap
    ]
    if not situation.clear_range > 0:
        reasons = [(Mode.COMFORT_STOP, Reason(Code.CLEAR_DISTANCE, "no healthy sensor covers the direction of travel"))]
    asked = rated.demand == SPEED_CAP
    return min([cap for cap, _, _ in options] + [_smallest(rated.expected.cap[asked])]), reasons


def _explain(threat: Threat) -> Reason:
    who = f"track {threat.track}" if threat.track is not None else f"echo of {threat.source}"
    where = f"{who} {max(threat.gap, 0.0):.1f} m ahead, closing at {threat.closing_speed:.1f} m/s"
    why = {
        Code.ENVELOPE: f"worst-case margin {threat.margin:.2f} m, later the emergency fallback might not avoid it",
        Code.EXTRAPOLATION: f"on ego's present course the worst-case margin is {threat.margin:.2f} m",
        Code.NEAR_FIELD: f"near-field margin {threat.margin:.2f} m",
        Code.EXPECTED_MOTION: f"needs {threat.required:.1f} m/s^2 of braking and the plan does not keep clear",
        Code.TTC: f"time to collision {threat.ttc:.2f} s",
        Code.CUT_IN: f"comes from {abs(threat.lateral):.1f} m beside into the way, braking later would be too late",
    }[threat.code]
    return Reason(threat.code, f"{where}: {why}", threat.track)
