"""Time to collision: gap left at the worst moment of a horizon, both accelerations kept.

Assumption: within the horizon the closing acceleration is constant, or at most the given one (TTC-1 holds for both:
a smaller closing acceleration only lowers the closing distance).
"""

from safety_supervisor.core import envelopes, motion
from safety_supervisor.prove.claims import RANGES, WITHOUT, Dual, claim, rate_of


def closing_at_the_end(closing_speed, closing_acceleration, horizon):
    """Control: looks at the end of the horizon only."""
    return closing_speed * horizon + closing_acceleration * horizon * horizon / 2


def closing_without_sign(closing_speed, closing_acceleration, horizon):
    """Control: the sign of the acceleration is lost, as known from a published TTC."""
    return motion.largest_closing(closing_speed, -closing_acceleration, horizon)


def situation(world):
    """Any closing speed and acceleration over any horizon, and a moment within it."""
    speed, acceleration = world.real("closing_speed"), world.real("closing_acceleration")
    horizon, moment = world.real("horizon", 0), world.real("moment", 0)
    world.assume("the moment is within the horizon", moment <= horizon)
    return speed, acceleration, horizon, moment


@claim(
    "TTC-1",
    "At every moment within the horizon the gap left is at least the margin.",
    scopes=(RANGES,),
    controls={
        "end of the horizon only": {"closing": closing_at_the_end},
        "sign of the acceleration lost": {"closing": closing_without_sign},
        "after the horizon": {WITHOUT: "the moment is within the horizon"},
    },
)
def sound(world, closing=motion.largest_closing):
    speed, acceleration, horizon, moment = situation(world)
    largest = closing(speed, acceleration, horizon)
    travelled = speed * moment + acceleration * moment * moment / 2
    world.show("closing distance", travelled)
    world.show("largest closing distance", largest)
    return travelled <= largest


@claim(
    "TTC-2",
    "Tight: some moment within the horizon has exactly the margin left.",
    basis="the start, the end, or the top of the parabola, where the closing speed is 0",
    scopes=(RANGES,),
    controls={"twice the closing distance": {"factor": 2}},
)
def tight(world, factor=1):
    speed, acceleration, horizon, moment = situation(world)
    top = speed * moment + acceleration * moment * moment / 2
    largest = factor * motion.largest_closing(speed, acceleration, horizon)
    at_end = speed * horizon + acceleration * horizon * horizon / 2
    # The moment is any; if it is where the closing speed vanishes, it is the top.
    world.assume(
        "the moment is the top, if there is one",
        (speed + acceleration * moment == 0) | (speed * (speed + acceleration * horizon) > 0) | (acceleration == 0),
    )
    return (largest == 0) | (largest == at_end) | (largest == top)


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
    conclusions = {}
    for name, sign in better.items():
        moved = (Dual(value[n], 1) if n == name else value[n] for n in better)
        conclusions[f"monotone in {name}"] = sign * rate_of(envelopes.ttc_margin(*moved)) >= 0
    return conclusions


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
