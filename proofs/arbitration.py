"""The arbitration, decided by trying every case of the shipped function: 8 modes x latched or not x all facts.

Assumptions
    A1  `arbitrate` fills in the facts truthfully (debounce, dwell and standstill timers): ARB-12 of proofs/timers.py.
    A2  A driver's takeover reaches the supervisor as an input.

Rank: UNABLE counts as EMERGENCY_STOP; STANDSTILL is the end state, ego stands and is held there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from safety_supervisor.core.arbitration import REQUIRED, Facts, next_mode
from safety_supervisor.core.world import Mode, Severity
from safety_supervisor.prove.claims import World, enumerated

Rule = Callable[[Mode, bool, Facts], tuple[Mode, bool]]
BOTH = (False, True)
DEMANDS = (Mode.NOMINAL, Mode.SPEED_CAP, Mode.COMFORT_STOP, Mode.FIRM_STOP, Mode.EMERGENCY_STOP)
"""What an assessment may ask for; not the list of the code under proof."""


@dataclass(frozen=True)
class Case:
    """One case and what the function answers."""

    mode: Mode
    latched: bool
    facts: Facts
    next: Mode
    next_latched: bool
    required: Mode

    def __str__(self) -> str:
        f = self.facts
        said = [name for name in ("driver", "standstill", "release", "dwelt") if getattr(f, name)]
        state = f"{self.mode.name}{' latched' if self.latched else ''}"
        answer = getattr(self.next, "name", "nothing")
        return f"{state}, demand {f.demand.name}, inputs {f.severity.name} {' '.join(said)} -> {answer}"


def every_case(rule: Rule) -> Iterator[Case]:
    """Yield every case that exists."""
    for mode, latched, *rest in product(Mode, BOTH, DEMANDS, Severity, BOTH, BOTH, BOTH, BOTH):
        facts = Facts(*rest)
        mode_after, latched_after = rule(mode, latched, facts)
        yield Case(mode, latched, facts, mode_after, latched_after, REQUIRED[facts.demand, facts.severity])


def rank(mode: Mode) -> int:
    """Return the authority of a mode."""
    return int(Mode.EMERGENCY_STOP if mode == Mode.UNABLE else mode)


def told(world: World, rule: Rule, holds: Callable[[Case], bool]) -> Iterator[str]:
    """Yield "" or the counterexample of each case."""
    cases = 0
    for case in every_case(rule):
        cases += 1
        yield "" if holds(case) else str(case)
    world.show("cases", cases)


# --- twins that must be caught --------------------------------------------------------------------------------------


def with_a_hole(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Answer nothing in one case, as an if-ladder without else does."""
    if mode == Mode.UNABLE and facts.severity == Severity.BLIND:
        return None, latched  # type: ignore[return-value]  # that is the fault
    return next_mode(mode, latched, facts)


def forgets_the_hazard(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Return to NOMINAL after the dwell time without looking at the demand."""
    after, still = next_mode(mode, latched, facts)
    return (Mode.NOMINAL, still) if facts.dwelt and mode == Mode.FIRM_STOP else (after, still)


def trusts_everything(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Ignore the state of the inputs."""
    return next_mode(mode, latched, replace(facts, severity=Severity.OK))


def releases_itself(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Drop the latch at standstill without being asked."""
    return next_mode(mode, latched and not facts.standstill, facts)


def brakes_against_the_driver(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Let an emergency stop win over the driver."""
    after, still = next_mode(mode, latched, facts)
    return (mode, latched) if mode == Mode.EMERGENCY_STOP else (after, still)


def never_lets_go(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Hold at standstill for ever, even when released."""
    return (Mode.STANDSTILL, True) if mode == Mode.STANDSTILL else next_mode(mode, latched, facts)


def drives_on_at_standstill(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """Go on braking although ego stands, so that nothing holds it."""
    after, still = next_mode(mode, latched, facts)
    return (mode, still) if after == Mode.STANDSTILL and mode == Mode.FIRM_STOP else (after, still)


def lets_go_at_once(mode: Mode, latched: bool, facts: Facts) -> tuple[Mode, bool]:
    """De-escalate without dwell."""
    return next_mode(mode, latched, replace(facts, dwelt=True))


# --- claims ---------------------------------------------------------------------------------------------------------


@enumerated("ARB-1", "every case has an answer: there is no 'do nothing'", controls={"a hole": {"rule": with_a_hole}})
def total(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """Each case gives a mode; INIT, which commands nothing, only before supervision began or with a driver."""

    def holds(case: Case) -> bool:
        quiet = case.facts.driver or (case.mode == Mode.INIT and case.facts.severity != Severity.OK)
        return isinstance(case.next, Mode) and (case.next == Mode.INIT) == quiet

    yield from told(world, rule, holds)


@enumerated("ARB-2", "nothing milder than what is demanded, as long as it is demanded",
            controls={"forgets the hazard": {"rule": forgets_the_hazard}})
def obeys_the_demand(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """The next mode ranks at least as high as required, or ego is known to stand and is held."""

    def holds(case: Case) -> bool:
        if case.next == Mode.STANDSTILL:
            return case.facts.standstill and case.required != Mode.UNABLE
        return case.next == Mode.INIT or rank(case.next) >= rank(case.required)

    yield from told(world, rule, holds)


@enumerated("ARB-3", "an expected input that is missing, stale, refused or invalid never yields NOMINAL",
            controls={"trusts everything": {"rule": trusts_everything}})
def untrusted_is_never_nominal(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """NOMINAL requires that every expected input is there and good."""
    yield from told(world, rule, lambda case: case.next != Mode.NOMINAL or case.facts.severity == Severity.OK)


@enumerated("ARB-4", "after an emergency the plan is passed again only from standstill and after an explicit release",
            controls={"releases itself": {"rule": releases_itself}})
def emergency_is_released_explicitly(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """A latched emergency ends by release at a calm standstill or by the driver; until then ego stops or stands."""

    def holds(case: Case) -> bool:
        if case.mode == Mode.INIT or case.facts.driver or not case.latched:
            return True
        released = case.mode == Mode.STANDSTILL and case.facts.release and case.facts.dwelt and case.facts.standstill
        return released or (case.next_latched and case.next.brakes)

    yield from told(world, rule, holds)


@enumerated("ARB-5", "every emergency is remembered until it is released", controls={
    "forgets": {"rule": lambda mode, latched, facts: (next_mode(mode, latched, facts)[0], False)}})
def emergency_is_latched(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """What requires EMERGENCY_STOP or UNABLE sets the latch, once supervision has begun."""

    def holds(case: Case) -> bool:
        return case.next == Mode.INIT or rank(case.required) < Mode.EMERGENCY_STOP or case.next_latched

    yield from told(world, rule, holds)


@enumerated("ARB-6", "a driver who takes over wins at once, from every mode",
            controls={"brakes against the driver": {"rule": brakes_against_the_driver}})
def driver_wins(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """Takeover leads to INIT, which commands nothing and demands a full self-test to come back."""
    yield from told(world, rule, lambda case: not case.facts.driver or case.next == Mode.INIT)


@enumerated("ARB-7", "a stop that has reached standstill is held there",
            controls={"drives on": {"rule": drives_on_at_standstill}})
def standstill_is_held(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """At standstill every stopping mode becomes STANDSTILL in one tick, and stays it while anything asks for a stop;
    UNABLE goes on braking, it cannot know.
    """

    def holds(case: Case) -> bool:
        stops = case.mode.brakes and (case.mode != Mode.STANDSTILL or case.required > Mode.SPEED_CAP)
        known = case.facts.standstill and case.required != Mode.UNABLE
        return case.facts.driver or not (stops and known) or case.next == Mode.STANDSTILL

    yield from told(world, rule, holds)


@enumerated("ARB-8", "nothing de-escalates before the dwell time is over",
            controls={"lets go at once": {"rule": lets_go_at_once}})
def dwells(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """A milder mode follows only after the dwell, at standstill, or by the driver."""

    def holds(case: Case) -> bool:
        free = case.facts.driver or case.facts.dwelt or case.mode in (Mode.INIT, Mode.STANDSTILL)
        return free or case.next == Mode.STANDSTILL or rank(case.next) >= rank(case.mode)

    yield from told(world, rule, holds)


@enumerated("ARB-9", "no deadlock: from every state the plan can be passed again, by standstill and release at worst",
            controls={"never lets go": {"rule": never_lets_go}})
def no_deadlock(world: World, rule: Rule = next_mode) -> Iterator[str]:
    """With no hazard and good inputs, and a release, NOMINAL is reached in at most three ticks of changed facts."""
    calm = [Facts(Mode.NOMINAL, Severity.OK, False, standing, release, True) for standing in BOTH for release in BOTH]
    for mode, latched in product(Mode, BOTH):
        reached = {(mode, latched)}
        for _ in range(3):
            reached |= {rule(m, still, facts) for m, still in reached for facts in calm}
        yield "" if any(m == Mode.NOMINAL for m, _ in reached) else f"from {mode.name}, latched {latched}"
    world.show("steps", 3)
