"""The timers around the table of modes, and that the table asks for no more than it must; case by case.

`arbitrate` turns a history of ticks into the facts that `next_mode` decides on. Here histories of three ticks, from
each kind of state, are compared with an oracle that looks at the whole history each time: the shipped timers remember,
the oracle does not. The steps between ticks are the declared times themselves, so that each comparison of a
timer with its limit is met at its very edge. The first and third tick are of the kinds that start, break or end
something, the second one is of any kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from safety_supervisor.core.arbitration import REQUIRED, Arbiter, Facts, arbitrate, next_mode, rebased
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Mode, Severity, nanoseconds
from safety_supervisor.prove.claims import World, enumerated

TICKS = 3
DEMANDS = (Mode.NOMINAL, Mode.SPEED_CAP, Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP)
"""What an assessment may ask for; not the list of the code under proof."""
Table = dict[tuple[Mode, Severity], Mode]
ASKED = {
    Severity.OK: Mode.NOMINAL,
    Severity.SUSPECT: Mode.SPEED_CAP,
    Severity.DEGRADED: Mode.COMFORT_STOP,
    Severity.WAITING: Mode.COMFORT_STOP,
    Severity.BLIND: Mode.UNABLE,
}
"""What the state of the inputs must ask for: docs/architecture.md, Modes."""


@enumerated(
    "ARB-10",
    "What is required is the stronger one of what the assessment demands and what the state of the inputs asks for.",
    basis="each entry of the shipped table against the declared one; neither milder nor stronger",
    controls={
        "a lost input only caps": {"table": {**REQUIRED, (Mode.NOMINAL, Severity.DEGRADED): Mode.SPEED_CAP}},
        "a refused message stops": {"table": {**REQUIRED, (Mode.NOMINAL, Severity.SUSPECT): Mode.FIRM_STOP}},
    },
)
def the_table(world: World, table: Table = REQUIRED) -> Iterator[str]:
    """Each pair of demand and severity."""
    del world
    for demand, severity in product(DEMANDS, Severity):
        want = max(demand, ASKED[severity])
        got = table.get((demand, severity))
        yield "" if got == want else f"{demand.name}, {severity.name}: {got} instead of {want.name}"


def keeps_the_mode(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Control: never milder, however long the hazard is gone."""
    after, still = next_mode(mode, latched, facts)
    return (max(mode, after) if mode.brakes and mode != Mode.STANDSTILL else after), still


def latches_everything(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Control: every stop must be released."""
    after, still = next_mode(mode, latched, facts)
    return after, still or after.brakes


@enumerated(
    "ARB-11",
    "Nothing stronger than what is required, held, or waited for; and no latch without an emergency.",
    basis="the safe side: an intervention ends as soon as the rules of ARB-2 to ARB-8 let it",
    controls={"keeps the mode": {"rule": keeps_the_mode}, "latches everything": {"rule": latches_everything}},
)
def no_stronger_than_needed(
    world: World, rule: Callable[[Mode, bool, Facts], tuple[Mode, bool]] = next_mode
) -> Iterator[str]:
    """Every case: 8 modes x latched or not x all facts."""
    del world
    for mode, latched, *rest in product(Mode, (False, True), DEMANDS, Severity, *[(False, True)] * 4):
        facts = Facts(*rest)
        required = REQUIRED[facts.demand, facts.severity]
        after, still = rule(mode, latched, facts)
        emergency = required >= Mode.EMERGENCY_STOP
        good = not still or latched or emergency
        good &= after in _allowed(mode, still, facts, required)
        if mode == Mode.STANDSTILL and facts.standstill and facts.dwelt and required <= Mode.SPEED_CAP:
            released = facts.release or not latched
            good &= facts.driver or not released or (after, still) == (required, False)
        yield "" if good else f"{mode.name}{' latched' if latched else ''}, {facts} -> {after.name}, {still}"


def _allowed(mode: Mode, latched: bool, facts: Facts, required: Mode) -> set[Mode]:
    if facts.driver or (mode == Mode.INIT and facts.severity != Severity.OK):
        return {Mode.INIT}
    if mode == Mode.STANDSTILL:
        rolling = {max(required, Mode.FIRM_STOP)} if required != Mode.UNABLE else {Mode.UNABLE}
        return {Mode.STANDSTILL, required} if facts.standstill else rolling
    if mode.brakes and facts.standstill and required != Mode.UNABLE:
        return {Mode.STANDSTILL}
    wanted = max(required, Mode.COMFORT_STOP if latched else Mode.NOMINAL)
    return {wanted} if facts.dwelt or wanted >= mode else {mode}


# --- histories ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tick:
    """What is given to `arbitrate` at a tick; `after` [ns] since the one before."""

    after: int
    demand: Mode = Mode.NOMINAL
    speed: float = 5.0
    severity: Severity = Severity.OK
    sustain: Mode = Mode.NOMINAL
    driver: bool = False
    release: bool = False


@dataclass(frozen=True)
class Seen:
    """A tick with the time and the mode before it, and what was required and held then."""

    t: int
    tick: Tick
    mode: Mode
    required: Mode
    held: Mode


def alphabet(config: Config) -> tuple[list[Tick], list[Tick]]:
    """Return the ticks that histories are made of: those that start, break or end something, and all others."""
    x, a = config.expected, config.arbitration
    steps = sorted({nanoseconds(time) for time in (x.on_time, x.off_time, a.standstill_time, a.release_dwell)})
    soon, late = steps[0], steps[-1]
    telling = [
        Tick(soon, speed=0.0), Tick(soon), Tick(late, speed=0.0), Tick(late),
        Tick(nanoseconds(x.on_time), Mode.FIRM_STOP), Tick(late, Mode.FIRM_STOP, 0.0),
        Tick(nanoseconds(x.on_time), Mode.SPEED_CAP), Tick(soon, Mode.EMERGENCY_STOP),
        Tick(soon, Mode.EMERGENCY_STOP, driver=True), Tick(late, severity=Severity.SUSPECT, speed=0.0),
        Tick(late, severity=Severity.DEGRADED, speed=0.0), Tick(late, speed=float("nan")), Tick(late, driver=True),
        Tick(late, release=True, speed=0.0), Tick(late, sustain=Mode.COMFORT_STOP),
        Tick(nanoseconds(a.standstill_time), speed=-a.standstill_speed),
    ]  # fmt: skip
    common = [Tick(*rest) for rest in product(steps, (Mode.NOMINAL, Mode.FIRM_STOP), (0.0, 5.0))]
    rest = [*common, Tick(soon, severity=Severity.DEGRADED), Tick(nanoseconds(x.on_time), Mode.COMFORT_STOP)]
    return telling, [tick for tick in rest if tick not in telling]


STARTS = (
    Arbiter(Mode.NOMINAL), Arbiter(Mode.INIT), Arbiter(Mode.COMFORT_STOP), Arbiter(Mode.EMERGENCY_STOP, True),
    Arbiter(Mode.STANDSTILL), Arbiter(Mode.STANDSTILL, calm=0, standing=0),
    Arbiter(Mode.STANDSTILL, True, calm=0, standing=0),
)  # fmt: skip
"""Where histories begin, at 0 ns; `standing` ones have stood there, with nothing to stop for."""


def facts_of(history: Sequence[Seen], now: Seen, config: Config) -> Facts:
    """Return the facts as the whole history tells them, without any memory but that."""
    a = config.arbitration
    standing = _run([*history, now], lambda s: abs(s.tick.speed) <= a.standstill_speed)
    standstill = standing is not None and now.t - standing >= nanoseconds(a.standstill_time)
    calm = _run([*history, now], lambda s: s.mode == now.mode and _milder(s))
    dwelt = calm is not None and now.t - calm >= nanoseconds(a.release_dwell)
    asked = max(now.held, now.tick.sustain) if now.mode.brakes else now.held
    return Facts(asked, now.tick.severity, now.tick.driver, standstill, now.tick.release, dwelt)


def _milder(seen: Seen) -> bool:
    return seen.required <= Mode.SPEED_CAP if seen.mode == Mode.STANDSTILL else seen.required < seen.mode


def _run(history: Sequence[Seen], holds: Callable[[Seen], bool]) -> int | None:
    """Return when the unbroken run of ticks that ends now began; None when it does not hold now."""
    began = None
    for seen in reversed(history):
        if not holds(seen):
            break
        began = seen.t
    return began


def held_of(history: Sequence[Seen], t: int, tick: Tick, mode: Mode, config: Config) -> Mode:
    """Return the debounced demand: on after on_time without a pause, off after off_time; an emergency at once."""
    x, found = config.expected, Mode.NOMINAL
    now = Seen(t, tick, mode, Mode.NOMINAL, Mode.NOMINAL)
    for level in DEMANDS[1:]:
        since = _run([*history, now], lambda s, level=level: s.tick.demand >= level)
        on = since is not None and (t - since >= nanoseconds(x.on_time) or level == Mode.EMERGENCY_STOP)
        last = max((s.t for s in [*history, now] if s.tick.demand >= level), default=None)
        before = history[-1].held if history else Mode.NOMINAL
        recent = last is not None and t - last < nanoseconds(x.off_time)
        if on or (mode != Mode.INIT and before >= level and recent):
            found = level
    return found


def _wrong(
    arbiter: Arbiter, history: Sequence[Seen], t: int, step: Callable[..., Arbiter], config: Config, depth: int = 0
) -> Iterator[str]:
    if depth == TICKS:
        return
    telling, others = alphabet(config)
    for tick in [*telling, *others] if depth == 1 else telling:
        at = t + tick.after
        after = step(
            arbiter, tick.demand, tick.sustain, tick.severity, (tick.driver, tick.release), tick.speed, at, config
        )
        held = held_of(history, at, tick, arbiter.mode, config)
        asked = max(held, tick.sustain) if arbiter.mode.brakes else held
        now = Seen(at, tick, arbiter.mode, REQUIRED[asked, tick.severity], held)
        want = next_mode(arbiter.mode, arbiter.latched, facts_of(history, now, config))
        same = (after.mode, after.latched, after.held) == (*want, held)
        yield "" if same else (
            f"{[s.tick for s in history]} then {tick}: {after.mode.name}, held {after.held.name}; by the history"
            f" {want[0].name}, held {held.name}"
        )
        yield from _wrong(after, [*history, now], at, step, config, depth + 1)


def half_the_dwell(arbiter, demand, sustain, severity, flags, speed, t, config):
    """Control: half the dwell time is enough."""
    shorter = replace(config.arbitration, release_dwell=config.arbitration.release_dwell / 2)
    return arbitrate(arbiter, demand, sustain, severity, flags, speed, t, _with(config, "arbitration", shorter))


def standstill_at_once(arbiter, demand, sustain, severity, flags, speed, t, config):
    """Control: one slow reading is a standstill."""
    at_once = replace(config.arbitration, standstill_time=0.0)
    return arbitrate(arbiter, demand, sustain, severity, flags, speed, t, _with(config, "arbitration", at_once))


def no_debounce(arbiter, demand, sustain, severity, flags, speed, t, config):
    """Control: a demand counts at once."""
    at_once = replace(config.expected, on_time=0.0)
    return arbitrate(arbiter, demand, sustain, severity, flags, speed, t, _with(config, "expected", at_once))


def trusts_a_lost_speed(arbiter, demand, sustain, severity, flags, speed, t, config):
    """Control: an unknown speed counts as standing."""
    return arbitrate(arbiter, demand, sustain, severity, flags, 0.0 if speed != speed else speed, t, config)


def _with(config: Config, group: str, values: object) -> Config:
    """Return the config with one group replaced, loader's rules between parameters left aside."""
    return replace(config, **{group: values})


@enumerated(
    "ARB-12",
    "The timers are true: debounce, dwell and standstill are what the history of ticks says, at their very edges too.",
    basis="histories of three ticks, against an oracle without memory; so A1 of ARB-1 to ARB-9 holds",
    controls={
        "half the dwell": {"step": half_the_dwell, "starts": STARTS[2:3]},
        "standstill at once": {"step": standstill_at_once, "starts": STARTS[2:3]},
        "no debounce": {"step": no_debounce, "starts": STARTS[:1]},
        "a lost speed stands": {"step": trusts_a_lost_speed, "starts": STARTS[2:3]},
    },
)
def timers(
    world: World, step: Callable[..., Arbiter] = arbitrate, starts: Sequence[Arbiter] = STARTS
) -> Iterator[str]:
    """From each start, the tree of histories."""
    for start in starts:
        stood = [Seen(0, Tick(0, speed=0.0), start.mode, Mode.NOMINAL, Mode.NOMINAL)]
        yield from _wrong(start, stood if start.standing is not None else [], 0, step, world.config)


# --- another clock ------------------------------------------------------------------------------------------------


def keeps_the_old_times(arbiter: Arbiter, _t: int) -> Arbiter:
    """Control: a jump of the clock is not noticed."""
    return arbiter


def forgets_everything(_arbiter: Arbiter, _t: int) -> Arbiter:
    """Control: a jump of the clock is a new start."""
    return Arbiter()


JUMPS = (-(10**12), -1, 0, 1, 10**12)
"""How far the clock jumps [ns]."""


@enumerated(
    "ARB-13",
    "A jump of the clock forgets no mode, latch or demand, and makes no timer run out early or late.",
    basis="after every history of two ticks and each jump: what was held stays, every timer begins at the jump",
    controls={"the old times": {"after": keeps_the_old_times}, "a new start": {"after": forgets_everything}},
)
def another_clock(world: World, after: Callable[[Arbiter, int], Arbiter] = rebased) -> Iterator[str]:
    """From each start, the tree of histories of two ticks, and each jump."""
    for start in STARTS:
        for first, second in product(alphabet(world.config)[0], repeat=2):
            arbiter = start
            for t, tick in ((first.after, first), (first.after + second.after, second)):
                flags = (tick.driver, tick.release)
                arbiter = arbitrate(
                    arbiter, tick.demand, tick.sustain, tick.severity, flags, tick.speed, t, world.config
                )
            for jump in JUMPS:
                found = after(arbiter, t + jump)
                want = replace(
                    arbiter, calm=None, standing=None, risen=tuple((level, t + jump) for level, _ in arbiter.risen),
                    seen=tuple((level, t + jump) for level, _ in arbiter.seen),
                )  # fmt: skip
                yield "" if found == want else f"{arbiter} at {t} ns, jump by {jump} ns: {found}"
