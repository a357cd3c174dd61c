"""Deciding one query: Z3 with two strategies, and the query as SMT-LIB text for any other solver.

A query is a conjunction of polynomial constraints over the reals and one conclusion; it is proved when the
constraints and the negated conclusion together have no solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import z3

z3.set_param("smt.random_seed", 0)
z3.set_param("nlsat.seed", 0)

NLSAT_MS = 15000
DEFAULT_MS = 30000
"""Wall-clock budgets [ms]; every query of a shipped claim takes a small part of them, also on a busy machine."""


@dataclass(frozen=True)
class Query:
    """What has to be shown: the constraints leave no room for the conclusion to fail."""

    text: str
    constraints: Sequence[Any]
    conclusion: Any

    @property
    def negated(self) -> list[Any]:
        """The formulas that must not be satisfiable together."""
        return [*self.constraints, z3.Not(self.conclusion)]


@dataclass(frozen=True)
class Answer:
    """`sat`, `unsat` or `unknown`; with sat, a model."""

    status: str
    model: Any = None


def solve(formulas: Sequence[Any], nlsat_ms: int | None = None, default_ms: int | None = None) -> Answer:
    """Ask the solver for polynomial arithmetic first, then the general one; a budget of 0 skips that one."""
    nlsat_ms = NLSAT_MS if nlsat_ms is None else nlsat_ms
    default_ms = DEFAULT_MS if default_ms is None else default_ms
    for solver, budget in ((z3.Tactic("qfnra-nlsat").solver, nlsat_ms), (z3.Solver, default_ms)):
        if budget:
            session = solver()
            session.set("timeout", budget)
            session.add(*formulas)
            status = str(session.check())
            if status != "unknown":
                return Answer(status, session.model() if status == "sat" else None)
    return Answer("unknown")


def values(answer: Answer, names: Sequence[str]) -> dict[str, Fraction]:
    """Return the value of each variable in a model; irrational ones to 30 binary places."""
    return {name: _fraction(answer.model.eval(z3.Real(name), model_completion=True)) for name in names}


def _fraction(value: Any) -> Fraction:
    if z3.is_algebraic_value(value):
        value = value.approx(10)
    return Fraction(value.numerator_as_long(), value.denominator_as_long())


def simplest(formulas: Sequence[Any], answer: Answer, names: Sequence[str]) -> tuple[dict[str, Fraction], bool]:
    """Return a model of the formulas in few digits, for people; and whether it is exact.

    One variable after the other is pinned to the shortest decimal near its value that still leaves a
    solution.
    """
    pinned: list[Any] = []
    exact = True
    for name in names:
        value = values(answer, [name])[name]
        for candidate in _candidates(value):
            fixed = z3.Real(name) == z3.RealVal(str(candidate))
            again = solve([*formulas, *pinned, fixed], 300, 0)
            if again.status == "sat":
                answer = again
                pinned.append(fixed)
                break
        else:
            exact = False
    return values(answer, names), exact


def _candidates(value: Fraction) -> list[Fraction]:
    shortened = [Fraction(round(value * 10**digits), 10**digits) for digits in (0, 1, 2, 3, 6, 9)]
    return list(dict.fromkeys([*shortened, value]))


def smt2(query: Query) -> str:
    """Return the query as SMT-LIB 2 text; a solver must answer unsat."""
    session = z3.Solver()
    session.add(*query.negated)
    lines = session.to_smt2().splitlines()
    body = [line for line in lines if not line.startswith(("; benchmark", "(set-info"))]
    return "\n".join([f"; {query.text}", "; expected: unsat", "(set-logic QF_NRA)", *body]) + "\n"


def version() -> str:
    """Return the version of Z3."""
    return str(z3.get_version_string())
