"""Floating point: a float margin is within EPS / 2 of the exact one, so `margin >= EPS` on floats means > 0 exactly.

The shipped functions run on `Rounded` numbers: each stands for a whole range of inputs and carries the bound of the
rounding error so far, in exact fractions. Inputs are floats and count as exact. largest_closing chooses by comparing
rounded values, which that does not cover: FLT-3 does, with a solver. Not covered: the geometry that makes the gap (it
has its own bound, envelope.geometry_bound).

It holds for one vehicle at a time: with every parameter at its worst declared value at once (brake 0.5 m/s^2, jerk
0.5 m/s^3, a stop of kilometres) the bound would be 1.1e-9 m.
"""

from fractions import Fraction
from itertools import pairwise, product
from types import SimpleNamespace

import numpy as np
from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import VEHICLE, WITHOUT, claim, enumerated
from safety_supervisor.prove.rounding import UNIT, Rounded

GAP = Rounded(-100, 500)
"""Gaps that a sensor can report [m]; a larger one is no hazard, a smaller one is contact."""
RESPONSE = Rounded(0, 3)
"""Response times [s]: up to the longest commit interval, actuation delay and input age that may be declared."""


def inputs(world):
    """Speeds and acceleration of this vehicle, and its parameters as the floats they are."""
    p, speed_max = world.config.envelope, world.config.odd.speed_max
    return SimpleNamespace(
        p=p,
        ego=Rounded(0, speed_max),
        ahead=Rounded(0, 60),
        oncoming=Rounded(-60, 0),
        acceleration=Rounded(0, p.acceleration_max),
    )


def margins(s):
    """Every worst-case margin of the shipped code over the whole range."""
    rest = (RESPONSE, s.acceleration, s.p)
    yield "longitudinal_margin", envelopes.longitudinal_margin(GAP, s.ego, s.ahead, *rest)
    yield "clear_distance_margin", envelopes.clear_distance_margin(GAP, s.ego, *rest)
    stop_distance, closing, to_the_side = Rounded(0, 2), Rounded(0, 30), Rounded(-60, 60)
    yield (
        "near_field_margin",
        envelopes.near_field_margin(GAP, s.ego, closing, RESPONSE, s.acceleration, stop_distance, s.p),
    )
    yield "oncoming_margin", envelopes.oncoming_margin(GAP, s.ego, s.oncoming, *rest)
    yield "opposite_margin", envelopes.opposite_margin(GAP, s.ego, s.oncoming, *rest)
    yield "path_margin", envelopes.path_margin(GAP, s.ego, Rounded(-60, 60), *rest)
    # As core/assessment/rating.py calls it: from the estimate to the worst end, ego's speed at its upper end.
    off, age, reading = Rounded(0, 50), Rounded(0, 2), s.ego
    gap, speed = envelopes.worst_end(GAP, off, Rounded(0, 1), reading, to_the_side, off, age)
    faster = envelopes.upper_speed(reading, s.p)
    yield "worst_end", gap
    yield "path_margin at the worst end", envelopes.path_margin(gap, faster, speed, age + RESPONSE, s.acceleration, s.p)
    yield "lateral_margin", envelopes.lateral_margin(GAP, to_the_side, to_the_side, RESPONSE, s.p)
    yield "separation_margin", envelopes.separation_margin(GAP, s.ego, s.ahead, *rest)
    yield "crossing_margin", envelopes.crossing_margin(GAP, GAP, s.ego, to_the_side, *rest)


def with_cancellation(s):
    """Control: the difference of two squares of map coordinates, which loses digits."""
    far = Rounded(10**6, 10**7)
    yield (
        "x*x - y*y",
        far * far - far * far + envelopes.clear_distance_margin(GAP, s.ego, RESPONSE, s.acceleration, s.p),
    )


@enumerated(
    "FLT-1",
    "The rounding error of every worst-case margin is below EPS / 2.",
    basis="running error analysis of IEEE 754 double precision, round to nearest",
    controls={"catastrophic cancellation": {"functions": with_cancellation}, "EPS 1e-15 m": {"eps": 1e-15}},
)
def rounding_below_eps(world, functions=margins, eps=motion.EPS):
    worst = Fraction(0)
    for name, margin in functions(inputs(world)):
        worst = max(worst, margin.error)
        world.show("largest rounding error [m]", float(worst))
        yield "" if margin.error < Fraction(eps) / 2 else f"{name}: rounding error up to {float(margin.error):.2g} m"


@enumerated(
    "FLT-2",
    "The capped speed still has a float margin of at least EPS.",
    basis="speed_for_distance keeps 2 EPS; its own rounding error times the slope of the distance is below EPS / 2",
    controls={"EPS 1e-15 m": {"eps": 1e-15}},
)
def rounding_of_the_cap(world, eps=motion.EPS):
    s = inputs(world)
    brakes = (s.p.assumed_brake, s.p.assumed_jerk)
    worst = Fraction(0)
    # Slice by slice: over the whole range at once, ranges that belong together would be combined crosswise. The shorter
    # the distance and the response, the thinner: a vehicle that is slow and stops gently works there.
    distances = thinner_towards_zero(Rounded(0, 500), 16, 3)
    responses = thinner_towards_zero(RESPONSE, 6, 1)
    for distance, response, acceleration in product(distances, responses, slices(s.acceleration, 2)):
        cap = motion.speed_for_distance(distance, response, acceleration, *brakes)
        # The distance grows by at most this much per speed, up to this cap.
        slope = motion.fallback_duration(cap, response, acceleration, *brakes).high
        error = slope * cap.error
        worst = max(worst, error)
        world.show("largest rounding error [m]", float(worst))
        yield "" if error < Fraction(eps) / 2 else f"{distance!r}: off by {float(error):.2g} m of stopping distance"


CLOSING, ACCELERATION = 120, 20
"""Closing speed and acceleration that the rule of the least time is asked about [m/s], [m/s^2]."""


@claim(
    "FLT-3",
    "ttc_margin: the float is within EPS / 2 of the exact margin, also where rounding makes it take the other piece.",
    basis="each rounding is relative, 2^-53; the choice is right up to the rounding of one product; the pieces join",
    scopes=(VEHICLE,),
    controls={
        "single precision": {"unit": Fraction(1, 2**24)},
        "the product off by more than a rounding": {WITHOUT: "one rounding of acceleration * horizon"},
        "the quotient off by more than a rounding": {WITHOUT: "three roundings of the top"},
    },
)
def rounding_of_the_horizon(world, unit=UNIT):
    v = world.real("closing_speed", -CLOSING, CLOSING)
    a = world.real("closing_acceleration", -ACCELERATION, ACCELERATION)
    horizon = world.group("expected").ttc
    whole = Rounded(-CLOSING, CLOSING) * float(horizon) + Rounded(-ACCELERATION, ACCELERATION) * float(horizon) ** 2 / 2
    product, top, end = world.real("product"), world.real("top"), world.real("end")
    exact = -a * horizon
    off = unit * np.maximum(exact, -exact)
    world.assume("one rounding of acceleration * horizon", (product >= exact - off) & (product <= exact + off))
    # fl(product - v) has the sign of product - v: subtraction of floats is exact where it is small.
    top_inside = np.minimum(v, product - v) > 0
    slope = np.where(top_inside, -2 * a, 1)
    least, most = (1 - 4 * unit) * v * v, (1 + 4 * unit) * v * v
    world.assume("three roundings of the top", (top * slope >= least) & (top * slope <= most))
    kept = v * horizon + a * horizon * horizon / 2
    bound = whole.error * (unit / UNIT)
    world.assume("the roundings of the end", (end >= kept - bound) & (end <= kept + bound))
    floats = np.maximum(np.where(top_inside, top, end), 0)
    difference = floats - motion.largest_closing(v, a, horizon)
    limit = Fraction(motion.EPS) / 4  # the other quarter is for gap - closing
    return (difference <= limit) & (difference >= -limit)


def slices(whole, count):
    """Cut a range into `count` equal ones."""
    step = (whole.high - whole.low) / count
    return [Rounded(whole.low + k * step, whole.low + (k + 1) * step) for k in range(count)]


def thinner_towards_zero(whole, halvings, count):
    """Cut a range from 0 on into halves towards 0, and each of these into `count` equal ones."""
    ends = [whole.high / 2**k for k in range(halvings, -1, -1)]
    cut = [part for low, high in pairwise(ends) for part in slices(Rounded(low, high), count)]
    return [Rounded(0, ends[0]), *cut]
