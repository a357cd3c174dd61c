"""Time to collision: gap left at the worst moment of a horizon, both accelerations kept.

Assumption: within the horizon the closing acceleration is constant, or at most the given one (TTC-1 holds for both:
a smaller closing acceleration only lowers the closing distance).
"""

from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import RANGES, VEHICLE, WITHOUT, Dual, claim, rate_of


def margin_at_the_end(gap, closing_speed, closing_acceleration, horizon):
    """Control: looks at the end of the horizon only."""
    return gap - (closing_speed * horizon + closing_acceleration * horizon * horizon / 2)


def margin_without_sign(gap, closing_speed, closing_acceleration, horizon):
    """Control: the sign of the acceleration is lost, as known from a published TTC."""
    return envelopes.ttc_margin(gap, closing_speed, -closing_acceleration, horizon)


def margin_with_double_way(gap, closing_speed, closing_acceleration, horizon):
    """Control: twice the closing distance, which is sound and not tight."""
    return gap - 2 * motion.largest_closing(closing_speed, closing_acceleration, horizon)


def horizon_of(world):
    """Any horizon, or the one of the vehicle file."""
    return world.group("expected").ttc if world.scope == VEHICLE else world.real("horizon", 0)


def situation(world):
    """Any gap, closing speed and acceleration over any horizon, and the gap left at a moment within it."""
    gap, speed, acceleration = world.real("gap"), world.real("closing_speed"), world.real("closing_acceleration")
    horizon, moment = horizon_of(world), world.real("moment", 0)
    world.assume("the moment is within the horizon", moment <= horizon)
    left = gap - (speed * moment + acceleration * moment * moment / 2)
    world.show("gap left", left)
    return (gap, speed, acceleration, horizon), moment, left


@claim(
    "TTC-1",
    "At every moment within the horizon the gap left is at least the margin.",
    controls={
        "end of the horizon only": {"margin": margin_at_the_end},
        "sign of the acceleration lost": {"margin": margin_without_sign},
        "after the horizon": {WITHOUT: "the moment is within the horizon"},
    },
)
def sound(world, margin=envelopes.ttc_margin):
    now, _, left = situation(world)
    world.show("margin", margin(*now))
    return left >= margin(*now)


@claim(
    "TTC-2",
    "Tight: some moment within the horizon has exactly the margin left.",
    basis="the start, the end, or the top of the parabola, where the closing speed is 0",
    scopes=(RANGES,),
    controls={"twice the closing distance": {"margin": margin_with_double_way}},
)
def tight(world, margin=envelopes.ttc_margin):
    now, moment, left = situation(world)
    gap, speed, acceleration, horizon = now
    at_end = gap - (speed * horizon + acceleration * horizon * horizon / 2)
    # The moment may be any; where the closing speed vanishes within the horizon, let it be that one.
    at_top = speed + acceleration * moment == 0
    no_top = (speed * (speed + acceleration * horizon) > 0) | (acceleration == 0)
    world.assume("the moment is the top, if there is one", at_top | no_top)
    value = margin(*now)
    return (value == gap) | (value == at_end) | (value == left)


BETTER = {"gap": 1, "closing_speed": -1, "closing_acceleration": -1, "horizon": -1}


@claim(
    "TTC-3",
    "Monotone in gap, closing speed, closing acceleration and horizon.",
    basis="sign of each partial derivative; the pieces join without a step (TTC-4)",
    scopes=(RANGES,),
    controls={f"{name} the wrong way round": {"better": {**BETTER, name: -BETTER[name]}} for name in BETTER},
)
def monotone(world, better=BETTER):
    value = {name: world.real(name, 0 if name == "horizon" else None) for name in better}
    name = world.pick("argument", tuple(better))
    moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
    return better[name] * rate_of(envelopes.ttc_margin(*moved)) >= 0


@claim(
    "TTC-4",
    "The pieces of the margin join without a step.",
    basis="where the top reaches either end of the horizon, top and end agree",
    scopes=(RANGES,),
    controls={"top counted twice": {"factor": 2}},
)
def continuous(world, factor=1):
    acceleration, horizon = world.real("closing_acceleration", None, 0), world.real("horizon", 0)
    world.assume("there is a top", acceleration < 0)
    speed = -acceleration * horizon
    top = factor * speed * speed / (-2 * acceleration)
    return top == motion.largest_closing(speed, acceleration, horizon)


STOPPED = "who stands stays, and nobody turns round"


def moved(world, who, speed, acceleration, moment):
    """How far somebody has come at `moment` with constant acceleration who stops for good at speed 0."""
    until = world.real(f"{who} has moved for", 0)
    world.assume(f"{who} has not moved for longer than the moment", until <= moment)
    end = speed + acceleration * until
    world.assume(f"{STOPPED} ({who})", (end >= 0) & ((until == moment) | ((end == 0) & (acceleration < 0))))
    return speed * until + acceleration * until * until / 2


@claim(
    "TTC-5",
    "Also when ego or the object comes to a stop within the horizon: no contact earlier than the margin says.",
    basis="constant accelerations with standstill clamp of both, against the shipped margin, which has no clamp",
    controls={
        "end of the horizon only": {"margin": margin_at_the_end},
        "sign of the acceleration lost": {"margin": margin_without_sign},
        "after the horizon": {WITHOUT: "the moment is within the horizon"},
        "the object turns round": {WITHOUT: f"{STOPPED} (object)"},
    },
)
def standstill(world, margin=envelopes.ttc_margin):
    gap, horizon, moment = world.real("gap"), horizon_of(world), world.real("moment", 0)
    ego, ahead = world.real("ego_speed", 0), world.real("object_speed", 0)
    ego_acceleration, object_acceleration = world.real("ego_acceleration"), world.real("object_acceleration")
    world.assume("the moment is within the horizon", moment <= horizon)
    ego_way = moved(world, "ego", ego, ego_acceleration, moment)
    object_way = moved(world, "object", ahead, object_acceleration, moment)
    left = gap - ego_way + object_way
    now = margin(gap, ego - ahead, ego_acceleration - object_acceleration, horizon)
    world.show("margin", now)
    world.show("gap left", left)
    return left >= now
