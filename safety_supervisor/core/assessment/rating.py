"""Every row against the path: which rule demands what, and how much the row may demand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safety_supervisor.core.assessment.approach import may_stand, out_of_the_way
from safety_supervisor.core.assessment.beside import Crossing, crossing
from safety_supervisor.core.assessment.corridor import corridor_contacts
from safety_supervisor.core.assessment.expected import Expectation, expected_motion, turned_across
from safety_supervisor.core.assessment.objects import Objects
from safety_supervisor.core.assessment.situation import (
    COMFORT_STOP,
    EMERGENCY_STOP,
    FIRM_STOP,
    NOMINAL,
    SPEED_CAP,
    Situation,
    ego_speed,
    known_reach,
)
from safety_supervisor.core.config import Config, Envelope
from safety_supervisor.core.envelopes import EPS, near_field_margin, path_margin, ttc_margin, worst_end
from safety_supervisor.core.geometry import Contacts, Path
from safety_supervisor.core.paths import Extrapolation
from safety_supervisor.core.world import Bools, Code, Floats, Ints, Mode

NEAR_BOUND = 0.01
"""Error of an arc's gap along the few metres of path that count for it [m]; most of it is the spacing of its points."""
BOX_SPARE = 0.01
"""Far more than rounding, in the box that leaves rows out [m]."""
CODES = (Code.ENVELOPE, Code.NEAR_FIELD, Code.EXPECTED_MOTION, Code.TTC, Code.EXTRAPOLATION, Code.CUT_IN, Code.CROSSING)


@dataclass(frozen=True, slots=True)
class Rated:
    """Rows against one path."""

    met: Contacts
    margin: Floats
    ttc_margin: Floats
    crossing: Floats
    """(N,) margin to who comes from the side [m], inf of the others."""
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
    reach: float
    """How far the path is more than a guess [m]."""
    nears: Bools
    """(N,) may be met on ego's present course (`may_reach`)."""


def rate(o: Objects, path: Path, situation: Situation, config: Config) -> Rated:
    """Rate every row against the judged path with every rule."""
    met = corridor_contacts(o, path, situation.ego, config)
    margin = worst_case(o, met, situation, config)
    inside = margin >= EPS  # written so that NaN falls to braking
    expected = expected_motion(o, met, path, situation, config)
    closing = ego_speed(situation, config) - met.along
    soon = ttc_margin(met.gap - o.keep, closing, situation.acceleration, config.expected.ttc)
    by_rule = np.array([
        np.where(inside | o.near, NOMINAL, EMERGENCY_STOP),
        np.where(inside | ~o.near, NOMINAL, EMERGENCY_STOP),
        expected.demand,
        np.where((soon >= EPS) | o.near, NOMINAL, FIRM_STOP),
    ])  # fmt: skip
    # What stands or drives ahead fails the worst case only within the stopping distance; there the path is no guess.
    oncoming, follows = met.along < -config.tracking.moving_speed, met.along > -config.tracking.moving_speed
    reach, v = known_reach(path, situation, config), abs(situation.ego.speed)
    turned = turned_across(o, met, expected.travel, path)
    gap, full = met.gap, authority(o, met, np.inf, v, config)
    if np.count_nonzero(turned):
        gap = np.where(turned, expected.travel, gap)
        full = np.where(turned, np.minimum(authority(o, replace(met, gap=gap), np.inf, v, config), FIRM_STOP), full)
    guess = gap > np.where(o.near | (~inside & follows), np.inf, reach)
    level = np.where(guess, np.minimum(full, SPEED_CAP), full)
    level = np.minimum(level, FIRM_STOP) if situation.begins else level
    # Oncoming traffic beyond the known path follows a road that nobody here knows.
    level = np.where(oncoming & guess, NOMINAL, level)
    # Their margin counts all the way: it is what would brake as soon as it is gone.
    told = np.where(follows, full, level)
    by_rule = np.where((met.hit | turned) & (not situation.resting), np.minimum(by_rule, level), NOMINAL)
    nobody = np.zeros(len(o.row), np.bool_)
    nears = nobody if situation.present is None else may_reach(o, situation.present, situation, config)
    rated = Rated(met, margin, soon, np.full(len(o.row), np.inf), expected, level, told, by_rule.max(axis=0),
                  by_rule.argmax(axis=0), nobody, reach, nears)
    return _with_crossing(rated, crossing(o, met, path, situation, config, reach))


def _with_crossing(rated: Rated, beside: Crossing | None) -> Rated:
    """Return the rating with the speed that who comes from the side asks for."""
    if beside is None:
        return rated
    asks = beside.asks & (rated.demand < SPEED_CAP)
    expected = replace(rated.expected, cap=np.where(asks, beside.cap, rated.expected.cap))
    return replace(rated, crossing=beside.margin, expected=expected, demand=np.where(asks, SPEED_CAP, rated.demand),
                   code=np.where(asks, CODES.index(Code.CROSSING), rated.code))


def rate_present(o: Objects, path: Path, spared: Bools, situation: Situation, config: Config) -> Rated:
    """Rate what ego reaches by its present motion before a steering correction can act; worst case only.

    Who is `spared` (N,) because braking for it does harm asks for no stop on this course either.
    """
    met = corridor_contacts(o, path, situation.ego, config)
    reach = _present_reach(situation, config)
    margin = np.where(met.gap <= reach, worst_case(o, met, situation, config), np.inf)
    level = authority(o, met, reach, abs(situation.ego.speed), config)
    demand = np.where(margin >= EPS, NOMINAL, np.minimum(np.where(spared, NOMINAL, EMERGENCY_STOP), level))
    zero, inf = np.zeros(len(o.row)), np.full(len(o.row), np.inf)
    nothing = Expectation(zero.astype(np.bool_), zero, demand, inf, inf)
    code = np.full(len(o.row), CODES.index(Code.EXTRAPOLATION))
    return Rated(met, margin, inf, inf, nothing, level, level, demand, code, spared, reach, met.hit)


def may_reach(o: Objects, motion: Extrapolation, situation: Situation, config: Config) -> Bools:
    """Return the rows that `rate_present` cannot leave out: a box around the first metres of `motion`, drawn too large.

    Outside of it the corridor does not meet a row in time, however far its lateral interval and motion count.
    """
    c, first, (front, rear) = config.corridor, motion.heading, motion.ends
    ahead_of, along = front + motion.spacing, _present_reach(situation, config) + front + rear
    turn = abs(motion.turn * motion.length)
    cos, sin = np.cos(first), np.sin(first)
    dx, dy = o.position[:, 0] - motion.ego.x, o.position[:, 1] - motion.ego.y
    vx, vy = o.velocity[:, 0], o.velocity[:, 1]
    spread = np.abs(o.cov[:, 0, 0]) + np.abs(o.cov[:, 1, 1]) + 2 * np.abs(o.cov[:, 0, 1]) + motion.sigma**2
    sideways = np.abs(cos * vy - sin * vx) + turn * np.hypot(vx, vy)
    half = config.vehicle.width / 2 + np.maximum(o.slack, c.lateral_sigma_k * np.sqrt(spread))
    half = half + c.lateral_prediction * sideways
    bend = turn * (along + ahead_of + rear + half) + BOX_SPARE
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    return np.asarray((x >= -rear - bend) & (x <= along + ahead_of + bend) & (np.abs(y) <= half + bend))


def _present_reach(situation: Situation, config: Config) -> float:
    """Return how far [m] ego gets before a steering correction can act."""
    return abs(situation.ego.speed) * (config.timing.commit + config.timing.steering_correction)


def worst_case(o: Objects, met: Contacts, situation: Situation, config: Config) -> Floats:
    """Return the proved margin [m] of each row at the worst end of its uncertainty, inf without contact.

    The state is taken back to the time of the newest detection and the age added to the response time: from that
    moment on the object may have done its worst.
    """
    gap, speed, response = worst_state(o, met, situation, config)
    stands = may_stand(met, speed, config)
    v, e = ego_speed(situation, config), situation.envelope
    return np.where(met.hit, margin_of(o, gap, v, speed, stands, response, situation.acceleration, e), np.inf)


def worst_state(o: Objects, met: Contacts, situation: Situation, config: Config) -> tuple[Floats, Floats, Floats]:
    """Return gap [m], object speed [m/s] and response time [s] of each row at the worst end of what is known."""
    e, timing = situation.envelope, config.timing
    # How well a place is known widens the body that turns on the spot, and is no distance on the way of its corner.
    exact = o.near | (situation.path.radius > 0)
    gap_off = e.sigma_k * np.maximum(met.gap_sigma, np.where(exact, 0.0, e.gap_sigma_floor))
    bound = np.where(o.near, NEAR_BOUND, e.geometry_bound)
    # What prediction adds to the speed's uncertainty since then is the object's motion, and that counts as its worst.
    reading, speed_off = abs(situation.ego.speed), e.sigma_k * met.heard_sigma
    gap, speed = worst_end(met.gap, gap_off, bound, reading, met.along, speed_off, met.age)
    gap, speed = out_of_the_way(o, met, gap, speed, situation, config)
    return gap, speed, met.age + timing.commit + timing.actuation_delay


def margin_of(
    o: Objects, gap: Floats, ego: Floats | float, speed: Floats, stands: Bools, response: Floats, acceleration: float,
    e: Envelope,
) -> Floats:  # fmt: skip
    """Return the worst-case margin [m] of each row by the envelope for it; who may as well stand gains no speed."""
    far = path_margin(gap, ego, speed, response, acceleration, e)
    if np.count_nonzero(stands):
        creeping = replace(e, object_acceleration_max=0.0, object_response=0.0)
        far = np.where(stands, path_margin(gap, ego, speed, response, acceleration, creeping), far)
    if not np.count_nonzero(o.near):
        return np.asarray(far)
    near = near_field_margin(gap, ego, o.approach, response, acceleration, o.keep, e)
    return np.asarray(np.where(o.near, near, far))


def authority(o: Objects, met: Contacts, known: float, speed: float, config: Config) -> Ints:
    """Return the strongest mode each row may demand of an ego at `speed` [m/s]; where the path is only a guess, beyond
    `known` [m], a cap.

    Existence says that something is there, not where it will be: what has been seen a few times only must be in the
    corridor even at the far end of its lateral interval.
    """
    a, gap = config.authority, met.gap
    by_existence = np.where(o.existence >= a.speed_cap, SPEED_CAP, NOMINAL)
    by_existence = np.where(o.existence >= a.stop, FIRM_STOP, by_existence)
    by_existence = np.where(o.existence >= a.emergency, EMERGENCY_STOP, by_existence)
    # Little existence is enough when near, but not together with few detections: clutter stands near too.
    close = (gap <= a.near_range) & (o.existence >= a.near_field) & (o.hits >= a.near_hits)
    # A sign that has left the view from below is still believed for a moment, and ego comes nearer meanwhile.
    seen_at = gap + np.maximum(speed - met.along, 0.0) * met.age
    doubtful = (o.static & (seen_at > a.static_range)) | (gap > known) | (o.suspect & (gap > a.near_range))
    surely = np.abs(met.lateral) + a.course_sigma_k * met.lateral_sigma <= config.vehicle.width / 2 + o.slack
    # Where there is time to hear it again: who drives ahead beside ego's own strip, and comes no nearer across, must
    # surely be in the way.
    later = gap > np.maximum(a.near_range, a.course_time * (speed - met.along))
    ahead = (met.along > config.tracking.moving_speed) & (met.drift * met.lateral >= 0.0)
    vague = later & ahead & (np.abs(met.lateral) > config.vehicle.width / 2) & ~surely
    course = o.hits >= np.where(gap <= a.near_range, a.near_hits, a.course_hits)
    young = (o.hits < a.hits) | ~(course | surely) | vague
    level = np.where(close, EMERGENCY_STOP, by_existence)
    level = np.where(young, np.minimum(level, SPEED_CAP), level)
    level = np.where(o.sound, level, EMERGENCY_STOP)
    return np.where(doubtful, np.minimum(level, SPEED_CAP), level).astype(np.int64)


def sustain(rated: Rated) -> Mode:
    """Return COMFORT_STOP while the plan leads into something that may demand a stop."""
    held = rated.expected.conflict & (rated.level >= COMFORT_STOP)
    return Mode.COMFORT_STOP if np.count_nonzero(held) else Mode.NOMINAL
