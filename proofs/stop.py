"""A stop under way: it never brakes less than it must, and it ends in a bounded number of ticks.

`motion.stop_acceleration` is what every tick of a stop commands. Assumptions, by name:
  S1 the brakes deliver the command of the tick, at least, until the next one (timing.period);
  S2 the road leaves at least `least` (core/fallback.py counts on MIN_DECELERATION in any case).
"""

from types import SimpleNamespace

import numpy as np
from safety_supervisor.core import motion
from safety_supervisor.core.arbitration import DEMANDS, Arbiter, arbitrate
from safety_supervisor.core.fallback import MIN_DECELERATION, manoeuvre
from safety_supervisor.core.world import Mode, Severity
from safety_supervisor.prove.claims import VEHICLE, WITHOUT, claim, enumerated, implies


def without_floor(now, wanted, floor, left, step):
    """Control: the manoeuvre alone, however hard ego brakes already."""
    return motion.stop_acceleration(now, wanted, 0 * floor, left, step)


def from_zero(now, wanted, floor, left, step):
    """Control: each tick ramps from no braking at all."""
    return motion.stop_acceleration(0 * now, wanted, floor, left, step)


def at_once(_now, wanted, floor, left, _step):
    """Control: no ramp."""
    return -np.minimum(np.maximum(wanted, floor), left)


def beyond_the_grip(now, wanted, floor, _left, step):
    """Control: the road is not asked."""
    return motion.stop_acceleration(now, wanted, floor, wanted + floor, step)


def tick(world, command):
    """One tick of a stop; `now` is the acceleration of the last command."""
    s = SimpleNamespace(now=world.real("now"), wanted=world.real("wanted", 0), left=world.real("left", 0))
    s.floor, s.step = world.real("floor", 0), world.real("step", 0)
    s.command = command(s.now, s.wanted, s.floor, s.left, s.step)
    world.show("commanded acceleration", s.command)
    return s


@claim(
    "STOP-1",
    "Deceleration floor: a tick brakes no less than the last one, less only if the road leaves less.",
    basis="the floor of core/supervisor/command.py: the last command, or the policy's own braking when a stop starts",
    controls={
        "no floor": {"command": without_floor},
        "the ramp starts anew": {"command": from_zero},
        "floor below the last command": {WITHOUT: "the floor is the braking that is on"},
    },
)
def floor(world, command=motion.stop_acceleration):
    s = tick(world, command)
    world.assume("the floor is the braking that is on", s.floor >= -s.now)
    return {"no less": -s.command >= np.minimum(-s.now, s.left), "never accelerates": s.command <= 0}


@claim(
    "STOP-2",
    "A tick brakes no harder than manoeuvre, floor and road allow, and changes the command by one step at most.",
    basis="the command is where the ramp is, or within one step of it",
    controls={"no ramp": {"command": at_once}, "the road is not asked": {"command": beyond_the_grip}},
)
def ramp(world, command=motion.stop_acceleration):
    s = tick(world, command)
    start, target = np.minimum(s.now, 0), np.maximum(s.wanted, s.floor)
    allowed = np.minimum(target, s.left)
    return {
        "one step at most": (s.command >= start - s.step) & (s.command <= start + s.step),
        "not beyond what is allowed": implies(start >= -allowed, s.command >= -allowed),
        "back to what is allowed": implies(start <= -allowed, s.command <= -allowed),
        "tight: what one step reaches": implies(
            (start - s.step <= -allowed) & (-allowed <= start + s.step), s.command == -allowed
        ),
    }


@claim(
    "STOP-3",
    "Every tick of a stop takes a step towards `least`, or takes least * period off the speed, until standstill.",
    basis="S1, S2; so after ceil(least / step) + ceil(speed / (least * period)) ticks ego stands",
    inductive=True,
    controls={
        "the ramp starts anew": {"command": from_zero},
        "the road leaves less": {WITHOUT: "S2 the road leaves least"},
        "the manoeuvre asks for less": {WITHOUT: "the manoeuvre asks for least"},
        "the brakes deliver less": {WITHOUT: "S1 the brakes deliver the command"},
    },
)
def ranking(world, command=motion.stop_acceleration):
    s = tick(world, command)
    least, period = world.real("least", 0), world.real("period", 0)
    speed, after = world.real("speed", 0), world.real("speed after the tick", 0)
    world.assume("the manoeuvre asks for least", s.wanted >= least)
    world.assume("S2 the road leaves least", s.left >= least)
    drop = -s.command * period
    world.assume("S1 the brakes deliver the command", (after <= speed - drop) | (after <= 0))
    reached = s.command <= -least
    return {
        "a step or the end of the ramp": (s.command <= s.now - s.step) | reached,
        "then the speed falls, or ego stands": implies(reached, (after <= speed - least * period) | (after <= 0)),
        "the speed never rises": after <= speed,
    }


@claim(
    "STOP-4",
    "Once the ramp has reached `least`, it stays there while the stop goes on.",
    basis="with STOP-3: the bound on the number of ticks holds from any command",
    controls={
        "the ramp starts anew": {"command": from_zero},
        "the road leaves less": {WITHOUT: "S2 the road leaves least"},
    },
)
def keeps_braking(world, command=motion.stop_acceleration):
    s = tick(world, command)
    least = world.real("least", 0)
    world.assume("the manoeuvre asks for least", s.wanted >= least)
    world.assume("S2 the road leaves least", s.left >= least)
    world.assume("the ramp has reached least", s.now <= -least)
    return s.command <= -least


STOPS = (Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP, Mode.UNABLE)


@enumerated(
    "STOP-5",
    "Each stop of this vehicle, from its top speed, stands after the number of ticks that STOP-3 gives.",
    basis="the shipped function iterated to standstill with delivered = commanded, on a road that leaves the least",
    controls={"a ramp that starts anew": {"command": from_zero}},
)
def bounded_ticks(world, command=motion.stop_acceleration):
    c = world.config
    period = c.timing.period
    for mode in STOPS:
        mrm = manoeuvre(mode, c)
        least, step = min(mrm.deceleration, MIN_DECELERATION), mrm.jerk * period
        bound = int(np.ceil(least / step) + np.ceil(c.odd.speed_max / (least * period))) + 1
        speed, now, ticks = c.odd.speed_max, 0.0, 0
        while speed > 0 and ticks <= bound:
            now = command(now, mrm.deceleration, -now, MIN_DECELERATION, step)
            speed, ticks = speed + now * period, ticks + 1
        world.show(f"{mode.name}: ticks at most", bound)
        yield "" if speed <= 0 else f"{mode.name}: still {speed:.1f} m/s after {ticks} ticks"


def slow_arbiter(arbiter, demand, *rest):
    """Control: an emergency is debounced like everything else."""
    return arbitrate(arbiter, min(demand, Mode.FIRM_STOP), *rest)


@enumerated(
    "STOP-6",
    "A demand of EMERGENCY_STOP binds in the same tick, from every mode, whatever the timers say.",
    basis="no debounce, no dwell; INIT before supervision began or with a driver, STANDSTILL where ego stands already",
    controls={"debounced": {"arbiter_of": slow_arbiter}},
    scopes=(VEHICLE,),
)
def emergency_binds(world, arbiter_of=arbitrate):
    speeds = (0.0, 5.0, float("nan"))
    for mode in Mode:
        for latched in (False, True):
            for held in DEMANDS:
                for severity in Severity:
                    for speed in speeds:
                        before = Arbiter(mode, latched, held=held)
                        after = arbiter_of(
                            before, Mode.EMERGENCY_STOP, Mode.NOMINAL, severity, (False, False), speed, 0, world.config
                        )
                        waits = mode == Mode.INIT and severity != Severity.OK and after.mode == Mode.INIT
                        stands = after.mode == Mode.STANDSTILL and speed == 0.0
                        binds = after.mode in (Mode.EMERGENCY_STOP, Mode.UNABLE)
                        yield "" if binds or waits or stands else f"{mode.name}, {severity.name} -> {after.mode.name}"
