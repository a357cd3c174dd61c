"""Numbers that carry their rate of change: the shipped function run on them gives its own time derivative.

`Dual(value, rate)` works over any numbers (floats, fractions, terms). Barrier claims use it: along every
admissible motion the margin never falls. Where both sides of `np.maximum` or `np.minimum` are equal, the
rate is that of the second one: along a motion the rates of both agree at almost all such moments, and the
integral of the rate, which is all that a barrier needs, does not see the others (docs/proofs.md).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from safety_supervisor.prove.terms import NUMBERS, Term, choose, choose_where


class Dual(np.lib.mixins.NDArrayOperatorsMixin):
    """A value and its time derivative."""

    __hash__ = None  # type: ignore[assignment]  # == makes a formula
    __slots__ = ("rate", "value")

    def __init__(self, value: Any, rate: Any) -> None:
        self.value = value
        self.rate = rate

    def __bool__(self) -> bool:
        raise TypeError("a branch on a changing value: use np.maximum, np.minimum or np.where")

    def __float__(self) -> float:
        raise TypeError("a changing value has no float")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        operation = self._OPERATIONS.get(ufunc)
        known = all(isinstance(x, (Dual, Term, *NUMBERS)) for x in inputs)
        if method != "__call__" or kwargs or operation is None or not known:
            return NotImplemented
        return operation(*(x if isinstance(x, Dual) else Dual(x, 0) for x in inputs))

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        return choose_where(function, args, kwargs)

    def __repr__(self) -> str:
        return f"Dual({self.value}, {self.rate})"

    _OPERATIONS: ClassVar[dict[Any, Callable[..., Any]]] = {}


def rate_of(x: Any) -> Any:
    """Return the rate of change of any number: 0 for one that does not depend on what moves."""
    return x.rate if isinstance(x, Dual) else 0


def _scaled(x: Any, rate: Any) -> Any:
    """Return x * rate, and keep the formula short where nothing changes."""
    return 0 if isinstance(rate, int) and rate == 0 else x * rate


def _multiply(x: Dual, y: Dual) -> Dual:
    return Dual(x.value * y.value, _scaled(x.value, y.rate) + _scaled(y.value, x.rate))


def _divide(x: Dual, y: Dual) -> Dual:
    quotient = x.value / y.value
    change = x.rate - _scaled(quotient, y.rate)
    return Dual(quotient, change if isinstance(change, int) and change == 0 else change / y.value)


def _compare(operation: Callable[[Any, Any], Any]) -> Callable[[Dual, Dual], Any]:
    return lambda x, y: operation(x.value, y.value)


Dual._OPERATIONS.update({
    np.add: lambda x, y: Dual(x.value + y.value, x.rate + y.rate),
    np.subtract: lambda x, y: Dual(x.value - y.value, x.rate - y.rate),
    np.negative: lambda x: Dual(-x.value, -x.rate),
    np.multiply: _multiply,
    np.true_divide: _divide,
    np.maximum: lambda x, y: choose(x.value > y.value, x, y),
    np.minimum: lambda x, y: choose(x.value < y.value, x, y),
    np.less: _compare(operator.lt),
    np.less_equal: _compare(operator.le),
    np.greater: _compare(operator.gt),
    np.greater_equal: _compare(operator.ge),
})  # fmt: skip
