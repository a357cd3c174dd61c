"""Exact symbolic reals that run through plain NumPy code, and the execution path on which they do.

A `Term` wraps a Z3 expression and follows NumPy's override protocol (NEP 13, NEP 18), so that the shipped
functions run on it unchanged. Where such a function chooses (`np.maximum`, `np.minimum`, `np.where`) the
path is asked which way to go; the engine reruns the claim until every way was taken, so each query is one
plain conjunction. A plain `if` on a term raises: the shipped code is branch-free.

Traps that this module closes: Z3 reads `RealVal(0.1)` as 1/10, so floats enter as the exact fraction they
are; `x / 0` is an arbitrary value in Z3, so a quotient is a new variable q with q * divisor == dividend,
and "divisor is not 0" becomes an obligation that must be proved; `bool(x == y)` compares syntax in Z3, so
it raises here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import z3

NUMBERS = (int, float, Fraction, np.integer, np.floating)


class Path:
    """One way through a claim: its decisions, what is assumed on it, and what must be proved for it."""

    def __init__(self, script: tuple[bool, ...], feasible: Callable[[list[Any]], bool]) -> None:
        self.constraints: list[Any] = []
        """Assumptions, decisions and definitions so far, in the order in which they arose."""
        self.obligations: list[tuple[str, list[Any], Any]] = []
        """(text, constraints up to there, what must follow from them)."""
        self.branches: list[tuple[bool, ...]] = []
        """Scripts of the feasible ways that were not taken here."""
        self.impossible: list[tuple[list[Any], Any]] = []
        """(constraints, what follows from them) for each choice of which only one side was possible."""
        self._script = script
        self._feasible = feasible
        self._taken: list[bool] = []
        self._known: dict[int, tuple[bool, Any]] = {}
        self._defined: dict[tuple[str, int, int], tuple[Any, ...]] = {}

    def decide(self, condition: Any) -> bool:
        """Choose whether `condition` holds on this path, and remember the other choice if it is possible."""
        plain = z3.simplify(condition)
        if z3.is_true(plain) or z3.is_false(plain):
            return bool(z3.is_true(plain))
        if plain.get_id() not in self._known:
            at = len(self._taken)
            choice = self._script[at] if at < len(self._script) else self._explore(condition)
            self._taken.append(choice)
            self._known[plain.get_id()] = (choice, plain)  # plain is kept, see _define
            self.constraints.append(condition if choice else z3.Not(condition))
        return self._known[plain.get_id()][0]

    def _explore(self, condition: Any) -> bool:
        before, opposite = list(self.constraints), z3.Not(condition)
        holds, fails = self._feasible([*before, condition]), self._feasible([*before, opposite])
        if holds and fails:
            self.branches.append((*self._taken, False))
        else:
            self.impossible.append((before, opposite if fails else condition))
        return holds

    def quotient(self, dividend: Any, divisor: Any) -> Any:
        """Return a variable that equals dividend / divisor, once it is proved that the divisor is not 0."""
        return self._define(
            "quotient",
            dividend,
            divisor,
            divisor != 0,
            "divisor is not 0",
            lambda q: [q * divisor == dividend],
        )

    def root(self, square: Any) -> Any:
        """Return a variable that equals the root, once it is proved that the argument is not negative."""
        return self._define(
            "root", square, square, square >= 0, "root of a number >= 0", lambda s: [s >= 0, s * s == square]
        )

    def _define(
        self, kind: str, x: Any, y: Any, obligation: Any, text: str, meaning: Callable[[Any], list[Any]]
    ) -> Any:
        # Equal arguments get the same variable: Z3 then has fewer unknowns. x and y are kept, because Z3
        # hands the number of a freed expression out again.
        key = (kind, x.get_id(), y.get_id())
        if key not in self._defined:
            variable = z3.Real(f"{kind}!{len(self._defined)}")
            self.obligations.append((text, list(self.constraints), obligation))
            self.constraints.extend(meaning(variable))
            self._defined[key] = (variable, x, y)
        return self._defined[key][0]


def exact(number: Any) -> Any:
    """Return the Z3 value of a number, exactly: a float is the fraction it stores. NaN and inf raise."""
    if isinstance(number, np.generic):
        number = number.item()
    return z3.RealVal(str(Fraction(number)))


class Condition:
    """A truth value that depends on terms."""

    __hash__ = None  # type: ignore[assignment]  # as in NumPy: what overrides == for whole formulas is no key
    __slots__ = ("expression", "path")

    def __init__(self, expression: Any, path: Path) -> None:
        self.expression = expression
        self.path = path

    def __bool__(self) -> bool:
        raise TypeError("a branch on a symbolic value: use np.maximum, np.minimum or np.where")

    def _combine(self, other: Any, how: Callable[..., Any]) -> Condition:
        return Condition(how(self.expression, expression_of(other)), self.path)

    def __and__(self, other: Any) -> Condition:
        return self._combine(other, z3.And)

    def __or__(self, other: Any) -> Condition:
        return self._combine(other, z3.Or)

    __rand__ = __and__
    __ror__ = __or__

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        return choose_where(function, args, kwargs)

    def __repr__(self) -> str:
        return f"Condition({self.expression})"


def expression_of(condition: Any) -> Any:
    """Return the Z3 expression of a condition, symbolic or already decided."""
    return condition.expression if isinstance(condition, Condition) else z3.BoolVal(bool(condition))


def choose(condition: Any, yes: Any, no: Any) -> Any:
    """Return `yes` or `no`; on a symbolic condition the path decides."""
    holds = condition.path.decide(condition.expression) if isinstance(condition, Condition) else bool(condition)
    return yes if holds else no


def choose_where(function: Any, args: Any, kwargs: Any) -> Any:
    """Serve np.where for symbolic operands; no other array function is part of the dialect."""
    if function is np.where and len(args) == 3 and not kwargs:
        return choose(*args)
    return NotImplemented


def implies(premise: Any, conclusion: Any) -> Any:
    """Return `premise -> conclusion` for symbolic and for plain truth values (where ~ would be a trap)."""
    for side in (premise, conclusion):
        if isinstance(side, Condition):
            return Condition(z3.Implies(expression_of(premise), expression_of(conclusion)), side.path)
    return (not premise) or bool(conclusion)


class Term(np.lib.mixins.NDArrayOperatorsMixin):
    """An exact real number that is not known yet."""

    __hash__ = None  # type: ignore[assignment]  # == makes a formula
    __slots__ = ("expression", "path")

    def __init__(self, expression: Any, path: Path) -> None:
        self.expression = expression
        self.path = path

    def __bool__(self) -> bool:
        raise TypeError("a branch on a symbolic value: use np.maximum, np.minimum or np.where")

    def __float__(self) -> float:
        raise TypeError("a symbolic value has no float")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs or not all(isinstance(x, (Term, *NUMBERS)) for x in inputs):
            return NotImplemented
        operation = self._OPERATIONS.get(ufunc)
        if operation is None:
            return NotImplemented
        return operation(self.path, *(x.expression if isinstance(x, Term) else exact(x) for x in inputs))

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        return choose_where(function, args, kwargs)

    def __repr__(self) -> str:
        return f"Term({self.expression})"

    _OPERATIONS: ClassVar[dict[Any, Callable[..., Any]]] = {}


def _real(operation: Callable[..., Any]) -> Callable[..., Term]:
    return lambda path, *args: Term(operation(*args), path)


def _truth(operation: Callable[..., Any]) -> Callable[..., Condition]:
    return lambda path, *args: Condition(operation(*args), path)


def _divide(path: Path, x: Any, y: Any) -> Term:
    if z3.is_rational_value(y) and y.as_fraction() != 0:
        return Term(x * z3.RealVal(str(1 / y.as_fraction())), path)
    return Term(path.quotient(x, y), path)


Term._OPERATIONS.update({
    np.add: _real(operator.add),
    np.subtract: _real(operator.sub),
    np.multiply: _real(operator.mul),
    np.negative: _real(operator.neg),
    np.positive: _real(operator.pos),
    np.true_divide: _divide,
    np.sqrt: lambda path, x: Term(path.root(x), path),
    np.maximum: lambda path, x, y: Term(x if path.decide(x >= y) else y, path),
    np.minimum: lambda path, x, y: Term(x if path.decide(x <= y) else y, path),
    np.less: _truth(operator.lt),
    np.less_equal: _truth(operator.le),
    np.greater: _truth(operator.gt),
    np.greater_equal: _truth(operator.ge),
    np.equal: _truth(operator.eq),
    np.not_equal: _truth(operator.ne),
})  # fmt: skip
