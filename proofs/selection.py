"""Which minimal-risk manoeuvre is taken, decided by trying every case of the shipped function.

Options in the order of `world.Mrm`: a shift, the plan, coasting, comfort, firm and emergency stop. Every stop is inside
the worst-case envelope or not, shift, plan and coasting are asked about only where none is; every predicted impact is
one of two speeds, none, or not known (NaN); the floor is the stop that is demanded. All worlds are asked about in one
call, as the assessment does.

Assumptions
    S1  Whether a course stays inside, and the predicted impact, are as `assessment/manoeuvres.py` says: property tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from safety_supervisor.core.arbitration import select
from safety_supervisor.core.world import Mrm
from safety_supervisor.prove.claims import World, enumerated

Rule = Callable[[Any, Any, Any], Any]
IMPACTS = (0.0, 3.0, 8.0, math.nan)
STOPS = (Mrm.COMFORT, Mrm.FIRM, Mrm.EMERGENCY)
Case = tuple[tuple[bool, ...], tuple[float, ...], int, int]
"""Which options are inside, their impacts, the floor, and what is taken."""


def every_case(rule: Rule) -> Iterator[Case]:
    """Yield every case with the answer of the rule."""
    sides = [(False, False, False, *stops) for stops in product((False, True), repeat=len(STOPS))]
    impacts = list(product(IMPACTS, repeat=len(Mrm)))
    for floor in STOPS:
        for inside in sides:
            columns = np.repeat(np.array([inside]).T, len(impacts), axis=1)
            taken = rule(columns, np.array(impacts).T, np.full(len(impacts), int(floor)))
            yield from ((inside, impact, int(floor), int(t)) for impact, t in zip(impacts, taken, strict=True))


def told(world: World, rule: Rule, holds: Callable[[Case], bool]) -> Iterator[str]:
    """Yield "" or the counterexample of each case."""
    cases = 0
    for case in every_case(rule):
        cases += 1
        inside, impact, floor, taken = case
        names = [m.name for m in Mrm if inside[m]]
        yield "" if holds(case) else f"inside {names}, impacts {impact}, floor {Mrm(floor).name} -> {taken}"
    world.show("cases", cases)


def enough(case: Case) -> list[int]:
    """Return the options that are inside and no milder than what is demanded, mildest first."""
    return [i for i, fits in enumerate(case[0]) if fits and i >= case[2]]


def rear_cases(rule: Rule) -> Iterator[tuple[Case, tuple[float, ...]]]:
    """Yield every case in which nothing is inside, with every impact from behind, and the answer of the rule."""
    pairs = list(product(product((0.0, 3.0, math.nan), repeat=len(Mrm)), product((0.0, 2.0), repeat=len(Mrm))))
    impact, behind = (np.array(columns).T for columns in zip(*pairs, strict=True))
    inside, floor = np.zeros(impact.shape, np.bool_), np.full(len(pairs), int(Mrm.COMFORT))
    for (ahead, rear), taken in zip(pairs, rule(inside, impact, floor, behind), strict=True):
        yield ((False,) * len(Mrm), ahead, int(Mrm.COMFORT), int(taken)), rear


def spares_the_follower_first(inside: Any, impact: Any, floor: Any, behind: Any) -> Any:
    """Control: who follows weighs as much as who is ahead."""
    return select(inside, impact + behind, floor)


def weakens_the_emergency(inside: Any, impact: Any, floor: Any, behind: Any) -> Any:
    """Control: the emergency stop is given up for who follows where it is only as good ahead as another option."""
    known = np.where(np.isnan(impact), np.inf, impact)
    return np.argmin(np.where(known == known.min(axis=0), behind, np.inf), axis=0)


def takes_the_strongest(inside: Any, impact: Any, floor: Any) -> Any:
    """Control: whatever is enough, brake as hard as can be."""
    return np.full(np.shape(floor), int(Mrm.EMERGENCY))


def forgets_the_floor(inside: Any, impact: Any, floor: Any) -> Any:
    """Control: the mildest inside, however much is demanded."""
    return select(inside, impact, 0 * floor)


def mildest_of_equals(inside: Any, impact: Any, floor: Any) -> Any:
    """Control: of equal impacts the first one."""
    known = np.where(np.isnan(impact), np.inf, impact)
    return np.where((inside & (np.arange(len(Mrm))[:, None] >= floor)).any(axis=0), select(inside, impact, floor),
                    np.argmin(known, axis=0))  # fmt: skip


def believes_what_is_not_known(inside: Any, impact: Any, floor: Any) -> Any:
    """Control: an impact that is not known counts as none."""
    return select(inside, np.where(np.isnan(impact), -1.0, impact), floor)


def has_a_hole(inside: Any, impact: Any, floor: Any) -> Any:
    """Control: no answer where nothing is inside."""
    return np.where(np.any(inside, axis=0), select(inside, impact, floor), -1)


@enumerated("SEL-1", "there is always an answer", controls={"a hole": {"rule": has_a_hole}})
def total(world: World, rule: Rule = select) -> Iterator[str]:
    """Each case gives one of the options."""
    yield from told(world, rule, lambda case: case[3] in tuple(Mrm))


@enumerated("SEL-2", "the mildest stop inside is taken, and none milder than what is demanded", controls={
    "takes the strongest": {"rule": takes_the_strongest}, "forgets the floor": {"rule": forgets_the_floor}})
def takes_the_mildest(world: World, rule: Rule = select) -> Iterator[str]:
    """Where options are enough, the first of them is taken."""
    yield from told(world, rule, lambda case: not enough(case) or case[3] == enough(case)[0])


@enumerated("SEL-3", "none inside: the least predicted impact, the strongest braking among equals", controls={
    "mildest of equals": {"rule": mildest_of_equals}, "believes": {"rule": believes_what_is_not_known}})
def least_impact(world: World, rule: Rule = select) -> Iterator[str]:
    """Where no option is enough, none has less impact, and no stronger one as little."""

    def holds(case: Case) -> bool:
        cost = [math.inf if math.isnan(x) else x for x in case[1]]
        least = max(i for i, x in enumerate(cost) if x == min(cost))
        return bool(enough(case)) or case[3] == least

    yield from told(world, rule, holds)


@enumerated("SEL-4", "who follows decides only between options that are equal ahead, never against the emergency stop",
            controls={"spares the follower first": {"rule": spares_the_follower_first},
                      "weakens the emergency stop": {"rule": weakens_the_emergency}})  # fmt: skip
def rear_traffic_only_ranks(world: World, rule: Rule = select) -> Iterator[str]:
    """What is taken has the least impact ahead; of the options that have, the emergency stop or the best one behind."""
    cases = 0
    for (_, ahead, _, taken), behind in rear_cases(rule):
        cases += 1
        cost = [math.inf if math.isnan(x) else x for x in ahead]
        equals = [i for i in Mrm if cost[i] == min(cost)]
        best = Mrm.EMERGENCY if Mrm.EMERGENCY in equals else max(equals, key=lambda i: (-behind[i], i))
        yield "" if taken == best else f"impacts {ahead}, from behind {behind} -> {taken}"
    world.show("cases", cases)


@enumerated("SEL-5", "a shift is taken only where every stop leaves the envelope and everything else has more impact",
            controls={"mildest of equals": {"rule": mildest_of_equals}})  # fmt: skip
def shifts_only_for_less(world: World, rule: Rule = select) -> Iterator[str]:
    """This layer steers only where that avoids what nothing else does."""

    def holds(case: Case) -> bool:
        rest = [math.inf if math.isnan(x) else x for x in case[1][Mrm.SHIFT + 1 :]]
        return case[3] != Mrm.SHIFT or (not enough(case) and case[1][Mrm.SHIFT] < min(rest))

    yield from told(world, rule, holds)
