"""Witnesses: why a query has no solution, as an identity that anybody can check with fractions alone.

A query is a list of polynomial constraints without a common solution. By Krivine and Handelman that can be shown by
products of the constraints: numbers > 0 times products of p >= 0, and polynomials times p = 0, which add up to 0
although one of the products is > 0. Linear programming finds the numbers; they are then solved for exactly.
proofs/check_witnesses.py is the checker, and says what a witness file holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import z3
from scipy.optimize import linprog
from scipy.sparse import csc_array

from safety_supervisor.prove import solvers
from safety_supervisor.prove.solvers import Query

Monomial = tuple[str, ...]
Polynomial = dict[Monomial, Fraction]
CORE_MS = 500
COLUMNS_MAX = 6000
FACTORS_MAX = 6
NOTHING = 1e-9
"""A number that the linear program sets below it is 0."""
FLIPPED = {z3.Z3_OP_LE: z3.Z3_OP_GT, z3.Z3_OP_LT: z3.Z3_OP_GE, z3.Z3_OP_GE: z3.Z3_OP_LT, z3.Z3_OP_GT: z3.Z3_OP_LE}
SYMBOL = {
    z3.Z3_OP_LE: "<=", z3.Z3_OP_LT: "<", z3.Z3_OP_GE: ">=", z3.Z3_OP_GT: ">", z3.Z3_OP_EQ: "=",
    z3.Z3_OP_ADD: "+", z3.Z3_OP_SUB: "-", z3.Z3_OP_MUL: "*", z3.Z3_OP_UMINUS: "-",
}  # fmt: skip


@dataclass(frozen=True)
class Atom:
    """`left relation right`; `p` is the polynomial with `p >= 0`, `p > 0` or `p = 0`."""

    relation: int
    left: Any
    right: Any

    @property
    def formula(self) -> Any:
        """The constraint for a solver."""
        how = {z3.Z3_OP_LE: "__le__", z3.Z3_OP_LT: "__lt__", z3.Z3_OP_GE: "__ge__", z3.Z3_OP_GT: "__gt__"}
        return getattr(self.left, how.get(self.relation, "__eq__"))(self.right)

    @property
    def text(self) -> str:
        """The constraint as an SMT-LIB term, not expanded: as the code ran."""
        return f"({SYMBOL[self.relation]} {_text(self.left)} {_text(self.right)})"

    @property
    def p(self) -> Polynomial:
        """The polynomial, greater side first."""
        sides = (self.right, self.left) if self.relation in (z3.Z3_OP_LE, z3.Z3_OP_LT) else (self.left, self.right)
        return _add(_polynomial(sides[0]), _polynomial(sides[1]), Fraction(-1))


def of_queries(queries: Sequence[Query]) -> tuple[list[dict[str, Any]], int]:
    """Return the witnesses of the queries, as they go into a file, and for how many cases there is none."""
    found, missing = [], 0
    for query in queries:
        cases = []
        for system in _systems(query.negated):
            case = _of_system(system)
            missing += case is None
            cases += [case] if case else []
        found.append({"text": query.text, "cases": cases})
    return found, missing


# --- from formulas to systems of constraints --------------------------------------------------------------------------


def _systems(formulas: Sequence[Any]) -> Iterator[list[Atom]]:
    """Yield conjunctions which together are the formulas: their disjunctive normal form."""
    systems: list[list[Atom]] = [[]]
    for formula in formulas:
        systems = [[*system, *more] for system in systems for more in _cases(formula, True)]
    yield from systems


def _cases(formula: Any, holds: bool) -> list[list[Atom]]:
    kind, parts = formula.decl().kind(), formula.children()
    if kind == z3.Z3_OP_NOT:
        return _cases(parts[0], not holds)
    if kind == z3.Z3_OP_IMPLIES:
        return _either([(parts[0], False), (parts[1], True)]) if holds else _both([(parts[0], True), (parts[1], False)])
    if kind in (z3.Z3_OP_AND, z3.Z3_OP_OR):
        signed = [(part, holds) for part in parts]
        return _both(signed) if (kind == z3.Z3_OP_AND) == holds else _either(signed)
    if kind in (z3.Z3_OP_TRUE, z3.Z3_OP_FALSE):
        return [[]] if (kind == z3.Z3_OP_TRUE) == holds else []
    unequal = (kind == z3.Z3_OP_DISTINCT) == holds
    if kind in (z3.Z3_OP_EQ, z3.Z3_OP_DISTINCT):
        relations = [z3.Z3_OP_LT, z3.Z3_OP_GT] if unequal else [z3.Z3_OP_EQ]
        return [[Atom(relation, *parts)] for relation in relations]
    return [[Atom(kind if holds else FLIPPED[kind], *parts)]]


def _either(signed: Sequence[tuple[Any, bool]]) -> list[list[Atom]]:
    return [case for part, holds in signed for case in _cases(part, holds)]


def _both(signed: Sequence[tuple[Any, bool]]) -> list[list[Atom]]:
    cases: list[list[Atom]] = [[]]
    for part, holds in signed:
        cases = [[*case, *more] for case in cases for more in _cases(part, holds)]
    return cases


def _text(term: Any) -> str:
    if z3.is_rational_value(term):
        value = term.as_fraction()
        number = str(abs(value.numerator))
        text = number if value.denominator == 1 else f"(/ {number} {value.denominator})"
        return text if value >= 0 else f"(- {text})"
    if term.num_args() == 0:
        return f"|{term.decl().name()}|"
    return f"({SYMBOL[term.decl().kind()]} {' '.join(map(_text, term.children()))})"


# --- polynomials ------------------------------------------------------------------------------------------------------


def _polynomial(term: Any) -> Polynomial:
    if z3.is_rational_value(term):
        value = Fraction(str(term.as_fraction()))
        return {(): value} if value else {}
    kind, parts = term.decl().kind(), [_polynomial(part) for part in term.children()]
    if not parts:
        return {(f"|{term.decl().name()}|",): Fraction(1)}
    if kind == z3.Z3_OP_UMINUS:
        return _add({}, parts[0], Fraction(-1))
    result = parts[0]
    for part in parts[1:]:
        if kind == z3.Z3_OP_MUL:
            result = _times(result, part)
        else:
            result = _add(result, part, Fraction(1 if kind == z3.Z3_OP_ADD else -1))
    return result


def _add(p: Polynomial, q: Polynomial, factor: Fraction) -> Polynomial:
    total = dict(p)
    for monomial, value in q.items():
        total[monomial] = total.get(monomial, Fraction(0)) + factor * value
    return {monomial: value for monomial, value in total.items() if value}


def _times(p: Polynomial, q: Polynomial) -> Polynomial:
    total: Polynomial = {}
    for a, x in p.items():
        for b, y in q.items():
            monomial = tuple(sorted(a + b))
            total[monomial] = total.get(monomial, Fraction(0)) + x * y
    return {monomial: value for monomial, value in total.items() if value}


def _degree(p: Polynomial) -> int:
    return max(map(len, p), default=0)


# --- the search -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A product of constraints, and of a square, or a constraint p = 0 times a monomial."""

    of: tuple[int, ...]
    extra: Polynomial | None
    """What is squared besides, or the monomial that multiplies an equation."""
    p: Polynomial
    equation: bool
    strict: bool = False


def _of_system(system: Sequence[Atom]) -> dict[str, Any] | None:
    """Return the witness that the system has no solution, or None when none was found."""
    last_first, first_first = _core(list(system), reversed(system)), _core(list(system), system)
    for core in (last_first, first_first, list(system)):
        found = _of_core(core)
        if found is not None:
            return found
    return None


def _of_core(core: Sequence[Atom]) -> dict[str, Any] | None:
    polynomials = [atom.p for atom in core]
    least = max(map(_degree, polynomials), default=0)
    for degree in range(max(least, 1), least + 4):
        columns = _columns(core, polynomials, degree)
        if len(columns) > COLUMNS_MAX:
            return None
        values = _solve(columns)
        if values is not None:
            return _entry(core, columns, values)
    return None


def _core(system: list[Atom], order: Iterable[Atom]) -> list[Atom]:
    """Leave out what the contradiction does not need, trying in this order."""
    for atom in order:
        rest = [other for other in system if other is not atom]
        if solvers.solve([other.formula for other in rest], CORE_MS, 0).status == "unsat":
            system = rest
    return system


def _hints(polynomials: Sequence[Polynomial]) -> list[Polynomial]:
    """Return sums whose squares may be needed: derivatives (a parabola is a square about its top) and kin of theirs."""
    found: list[Polynomial] = []
    layer = list(polynomials)
    for _ in range(3):
        layer = [rate for p in layer for rate in _derivatives(p)]
        found += [p for p in layer if len(p) > 1]
    for p in list(found):
        if _degree(p) == 1 and len(p) == 2 and () in p:  # x + a: where a quartic in x has a double root, about 2 a
            other = next(monomial for monomial in p if monomial)
            near = [p, *({other: p[other], (): p[()] * scale} for scale in (Fraction(3, 2), Fraction(2)))]
            found += near + [_times(q, {other: Fraction(1)}) for q in near]
    unique: dict[tuple[tuple[Monomial, Fraction], ...], Polynomial] = {}
    for p in found:
        first = p[max(p)]
        monic = {monomial: value / first for monomial, value in sorted(p.items())}
        unique.setdefault(tuple(monic.items()), monic)
    return list(unique.values())


def _derivatives(p: Polynomial) -> Iterator[Polynomial]:
    for name in sorted({name for monomial in p for name in monomial}):
        rate: Polynomial = {}
        for monomial, value in p.items():
            if name in monomial:
                at = monomial.index(name)
                rate = _add(rate, {monomial[:at] + monomial[at + 1 :]: value}, Fraction(monomial.count(name)))
        if rate:
            yield rate


def _columns(core: Sequence[Atom], polynomials: Sequence[Polynomial], degree: int) -> list[Column]:
    names = sorted({name for p in polynomials for monomial in p for name in monomial})
    sides = [i for i, atom in enumerate(core) if atom.relation != z3.Z3_OP_EQ]
    strict = {i for i in sides if core[i].relation in (z3.Z3_OP_LT, z3.Z3_OP_GT)}
    squares = [{monomial: Fraction(1)} for monomial in _monomials(names, degree // 2)[1:]] + _hints(polynomials)
    columns = []
    for of, product in _products(sides, polynomials, degree):
        columns.append(Column(of, None, product, False, all(i in strict for i in of)))
        for root in squares:
            if _degree(product) + 2 * _degree(root) <= degree:
                columns.append(Column(of, root, _times(product, _times(root, root)), False))
        if len(columns) > COLUMNS_MAX:
            return columns
    for i, atom in enumerate(core):
        if atom.relation == z3.Z3_OP_EQ:
            for monomial in _monomials(names, degree - _degree(polynomials[i])):
                times: Polynomial = {monomial: Fraction(1)}
                columns.append(Column((i,), times, _times(polynomials[i], times), True))
    return columns


def _products(
    sides: Sequence[int], polynomials: Sequence[Polynomial], degree: int
) -> Iterator[tuple[tuple[int, ...], Polynomial]]:
    """Yield the products of constraints up to a degree; a constraint without variables enters once at most."""
    for count in range(min(degree, FACTORS_MAX) + 1):
        for of in combinations_with_replacement(sides, count):
            if sum(max(_degree(polynomials[i]), 1) for i in of) <= degree:
                product: Polynomial = {(): Fraction(1)}
                for i in of:
                    product = _times(product, polynomials[i])
                yield of, product


def _monomials(names: Sequence[str], degree: int) -> list[Monomial]:
    return [m for d in range(max(degree, 0) + 1) for m in combinations_with_replacement(names, d)]


def _solve(columns: Sequence[Column]) -> dict[int, Fraction] | None:
    """Return the number of each column that is needed, exactly, or None."""
    rows = {monomial: k for k, monomial in enumerate(sorted({m for column in columns for m in column.p}))}
    where = [(rows[m], j, float(v)) for j, column in enumerate(columns) for m, v in column.p.items()]
    where += [(len(rows), j, 1.0) for j, column in enumerate(columns) if column.strict]  # they add up to 1
    row, at, value = (np.array(part) for part in zip(*where, strict=True))
    matrix = csc_array((value, (row, at)), shape=(len(rows) + 1, len(columns)))
    target = np.zeros(len(rows) + 1)
    target[-1] = 1.0
    bounds = [(None, None) if column.equation else (0, None) for column in columns]
    answer = linprog(np.ones(len(columns)) * [not c.equation for c in columns], A_eq=matrix, b_eq=target,
                     bounds=bounds, method="highs-ds")  # fmt: skip
    if answer.status != 0:
        return None
    support = [j for j, x in enumerate(answer.x) if abs(x) > NOTHING]
    return _exact(columns, support, list(rows))


def _exact(columns: Sequence[Column], support: Sequence[int], rows: Sequence[Monomial]) -> dict[int, Fraction] | None:
    """Solve for the numbers on their support in fractions; a corner of the program has one solution there."""
    table = [[columns[j].p.get(m, Fraction(0)) for j in support] + [Fraction(0)] for m in rows]
    table.append([Fraction(int(columns[j].strict)) for j in support] + [Fraction(1)])
    pivots: list[int] = []
    for column in range(len(support)):
        found = next((r for r in range(len(pivots), len(table)) if table[r][column]), None)
        if found is None:
            continue
        at = len(pivots)
        table[at], table[found] = table[found], table[at]
        table[at] = [x / table[at][column] for x in table[at]]
        for r, line in enumerate(table):
            if r != at and line[column]:
                table[r] = [x - line[column] * y for x, y in zip(line, table[at], strict=True)]
        pivots.append(column)
    if any(line[-1] for line in table[len(pivots) :]):
        return None
    values = {support[column]: table[k][-1] for k, column in enumerate(pivots) if table[k][-1]}
    good = all(columns[j].equation or value > 0 for j, value in values.items())
    return values if good else None


def _entry(core: Sequence[Atom], columns: Sequence[Column], values: dict[int, Fraction]) -> dict[str, Any]:
    products, equations = [], []
    for j, value in values.items():
        column = columns[j]
        if column.equation:
            times = _sum(_add({}, column.extra or {}, value))
            equations.append({"of": column.of[0], "times": times})
        else:
            squares = [_sum(column.extra)] if column.extra else []
            products.append({"factor": str(value), "of": list(column.of), "squares": squares})
    return {"assertions": [atom.text for atom in core], "products": products, "equations": equations}


def _sum(p: Polynomial) -> str:
    """Return a polynomial as an SMT-LIB term."""
    terms = []
    for monomial, value in p.items():
        number = f"(/ {abs(value.numerator)} {value.denominator})"
        terms.append(" ".join(("(*", number if value > 0 else f"(- {number})", "1", *monomial)) + ")")
    return terms[0] if len(terms) == 1 else f"(+ {' '.join(terms)})"
