"""The friction circle, grade and load: the fallback never asks the tyres or the brakes for more than there is.

Accelerations of the vehicle are b (braking) and v^2 * curvature (sideways). On a downhill slope the tyres have to give
b plus what gravity pulls. `circle` is the radius of the friction circle: gravity * friction_min * cos(grade_max).

Assumptions, by name:
  G1 curvature ahead is at most the one that the grip was computed for (core/fallback.py takes the sharpest bend within
     twice the stopping distance);
  G2 ego does not get faster during the manoeuvre;
  G3 the road is within the operational design domain: friction, grade, payload.
"""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from safety_supervisor.core import motion
from safety_supervisor.core.config import GRAVITY, cross_rules
from safety_supervisor.prove.claims import VEHICLE, WITHOUT, claim, enumerated, implies

G1 = "G1 curvature is at most the one looked at"
G2 = "G2 ego does not get faster"


def grip_of_the_linear_speed(speed, curvature, circle, downhill):
    """Control: lateral acceleration taken as speed * curvature."""
    return motion.grip_left(1, speed * curvature, circle, downhill)


def grip_without_slope(speed, curvature, circle, _downhill):
    """Control: the slope is forgotten."""
    return motion.grip_left(speed, curvature, circle, 0)


def grip_of_a_straight_road(speed, _curvature, circle, downhill):
    """Control: the bend is forgotten."""
    return motion.grip_left(speed, 0, circle, downhill)


@claim(
    "GRIP-1",
    "Along a bend, braking by what grip_left leaves keeps inside the friction circle at every later speed.",
    basis="Kamm's circle; G1, G2",
    controls={
        "speed instead of its square": {"grip": grip_of_the_linear_speed},
        "slope forgotten": {"grip": grip_without_slope},
        "bend forgotten": {"grip": grip_of_a_straight_road},
        "ego gets faster": {WITHOUT: G2},
        "a sharper bend": {WITHOUT: G1},
    },
)
def friction_circle(world, grip=motion.grip_left):
    speed, curvature = world.real("speed", 0), world.real("curvature", 0)
    circle, downhill = world.real("circle", 0), world.real("downhill", 0)
    later, bend = world.real("later speed", 0), world.real("bend", 0)
    world.assume(G1, bend <= curvature)
    world.assume(G2, later <= speed)
    brake = grip(speed, curvature, circle, downhill)
    demand = brake + downhill
    sideways = later * later * bend
    world.show("braking", brake)
    inside = sideways * sideways + demand * demand <= circle * circle
    return {"inside the circle, if anything is left": implies(brake > 0, inside), "never negative": brake >= 0}


@claim(
    "GRIP-2",
    "Tight: at the present speed in that bend nothing is given away; nothing is left only where nothing is.",
    basis="equality in GRIP-1",
    controls={"half of it given away": {"share": Fraction(1, 2)}},
)
def tight(world, share=1):
    speed, curvature = world.real("speed", 0), world.real("curvature", 0)
    circle, downhill = world.real("circle", 0), world.real("downhill", 0)
    brake = share * motion.grip_left(speed, curvature, circle, downhill)
    demand, sideways = brake + downhill, speed * speed * curvature
    used = sideways * sideways + demand * demand
    return {
        "all is used": implies(brake > 0, used == circle * circle),
        "nothing is left": implies(brake <= 0, used >= circle * circle),
    }


@claim(
    "GRIP-3",
    "Slower, straighter or flatter never leaves less.",
    basis="so the grip computed once for a bend, at the highest speed that a stop has there, holds for all of the stop",
    controls={"faster": {WITHOUT: "slower"}, "sharper": {WITHOUT: "straighter"}, "steeper": {WITHOUT: "flatter"}},
)
def monotone(world):
    speed, curvature = world.real("speed", 0), world.real("curvature", 0)
    circle, downhill = world.real("circle", 0), world.real("downhill", 0)
    later, bend, slope = world.real("later speed", 0), world.real("bend", 0), world.real("slope", 0)
    world.assume("slower", later <= speed)
    world.assume("straighter", bend <= curvature)
    world.assume("flatter", slope <= downhill)
    return motion.grip_left(later, bend, circle, slope) >= motion.grip_left(speed, curvature, circle, downhill)


@claim(
    "GRIP-4",
    "In a bend the command keeps to the ramp that the envelope then assumes: both are cut to what the bend leaves.",
    basis="FALL-5 with the brakes of core/supervisor/command.py: assumed_brake and the command are at most grip_left",
    scopes=(VEHICLE,),
    controls={
        "only the command is cut": {"assume_cut": False},
        "ego accelerates more than assumed": {WITHOUT: "A1 ego accelerates by at most acceleration"},
    },
)
def in_a_bend(world, assume_cut=True):
    f, e = world.group("fallback"), world.group("envelope")
    left, since = world.real("deceleration left", 0), world.real("time since the fallback acts", 0)
    acceleration, start = world.real("acceleration", 0, e.acceleration_max), world.real("ego_acceleration")
    world.assume("A1 ego accelerates by at most acceleration", start <= acceleration)
    brake = np.minimum(f.emergency_deceleration, left)
    assumed = np.minimum(e.assumed_brake, left) if assume_cut else e.assumed_brake
    command = np.maximum(start - f.emergency_jerk * since, -brake)
    ramp = np.maximum(acceleration - e.assumed_jerk * since, -assumed)
    world.show("commanded acceleration", command)
    world.show("assumed acceleration", ramp)
    return command <= ramp


LOAD, GRADE = "G3 load is at most odd.load_max", "G3 the slope is at most odd.grade_max"
FRICTION = "G3 friction is at least odd.friction_min"


@claim(
    "GRIP-5",
    "With any payload, slope and friction of the operational design domain the vehicle can brake as commanded.",
    basis="brake force over mass, and grip, less gravity along the slope, to 1e-9 m/s^2; GRIP-6 enforces it",
    scopes=(VEHICLE,),
    controls={
        "more payload": {WITHOUT: LOAD},
        "a steeper slope": {WITHOUT: GRADE},
        "less friction": {WITHOUT: FRICTION},
        "twice the deceleration": {"factor": 2},
    },
)
def within_the_domain(world, factor=1):
    vehicle, odd, f = world.group("vehicle"), world.group("odd"), world.group("fallback")
    gravity = Fraction(GRAVITY)
    steepest = world.config.odd.grade_max
    load, friction = world.real("load", 0, 40000), world.real("friction", 0, 2)
    sine, cosine = world.real("sine of the slope", -1, 1), world.real("cosine of the slope", 0, 1)
    world.assume(LOAD, load <= odd.load_max)
    world.assume(GRADE, (sine <= Fraction(math.sin(steepest))) & (cosine >= Fraction(math.cos(steepest))))
    world.assume(FRICTION, friction >= odd.friction_min)
    mass = vehicle.mass + load
    force = np.minimum(vehicle.brake_force_max, friction * mass * gravity * cosine)  # brakes or tyres, what is less
    delivered = force - mass * gravity * sine
    needed = mass * (factor * f.emergency_deceleration - Fraction(1, 10**9))
    world.show("delivered [N]", delivered)
    world.show("needed [N]", needed)
    return delivered >= needed


@enumerated(
    "GRIP-6",
    "The loader refuses a vehicle file whose grip or brake force do not give the emergency deceleration.",
    basis="config.cross_rules on this vehicle with the deceleration, load, friction, grade or force beyond the limit",
    controls={"a loader without these rules": {"rules": lambda _config: [(True, "anything goes")]}},
)
def loader_refuses(world, rules=cross_rules):
    c = world.config
    grip = GRAVITY * (c.odd.friction_min * math.cos(c.odd.grade_max) - math.sin(c.odd.grade_max))
    down = GRAVITY * math.sin(c.odd.grade_max)
    mass, wanted = c.vehicle.mass + c.odd.load_max, c.fallback.emergency_deceleration + down
    beyond = {
        "emergency_deceleration": ("fallback", {"emergency_deceleration": grip * 1.000001}),
        "brake_force_max": ("vehicle", {"brake_force_max": mass * wanted * 0.999999}),
        "load_max": ("odd", {"load_max": c.vehicle.brake_force_max / wanted * 1.000001 - c.vehicle.mass}),
        "friction_min": ("odd", {"friction_min": wanted / (GRAVITY * math.cos(c.odd.grade_max)) * 0.999999}),
    }
    for name, (group, values) in beyond.items():
        changed = _unchecked(c, group, replace(getattr(c, group), **values))
        refused = [text for holds, text in rules(changed) if not holds]
        yield "" if refused else f"{name} = {values[name]:.6g} is accepted"


def _unchecked(config, name, group):
    """Return a stand-in for a parameter set that the loader has not seen yet."""
    changed = object.__new__(type(config))
    for attribute in type(config).__dataclass_fields__:
        object.__setattr__(changed, attribute, group if attribute == name else getattr(config, attribute))
    return changed
