"""How far a float result can be from the exact one: running error analysis over whole ranges, in exact
fractions.

`Rounded(low, high, error)` stands for every real number in [low, high] and a float that is within `error`
of it. The shipped function run on such numbers bounds its own rounding error over the whole range: each
operation passes the errors of its operands on and adds one rounding of IEEE 754 double precision. Valid for
+ - * / sqrt (correctly rounded) and maximum, minimum (exact, and not steeper than their operands); a
comparison raises, because a choice made on a rounded value can jump.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from typing import Any, ClassVar

import numpy as np

from safety_supervisor.prove.terms import NUMBERS

UNIT = Fraction(1, 2**53)
"""Largest relative error of one rounding to nearest."""
TINY = Fraction(1, 2**1074)
"""Added for results that are too small to be rounded relatively."""


def _fraction(x: Any) -> Fraction:
    """Return a number exactly; a NumPy integer inside a fraction would overflow."""
    return Fraction(x.item() if isinstance(x, np.generic) else x)


class Rounded(np.lib.mixins.NDArrayOperatorsMixin):
    """A range of exact values and the error bound of the floats that stand for them."""

    __hash__ = None  # type: ignore[assignment]  # as for every number class of this package
    __slots__ = ("error", "high", "low")

    def __init__(self, low: Any, high: Any, error: Any = 0) -> None:
        self.low, self.high, self.error = map(_fraction, (low, high, error))

    @property
    def size(self) -> Fraction:
        """Largest absolute value in the range."""
        return max(abs(self.low), abs(self.high))

    def __bool__(self) -> bool:
        raise TypeError("a branch on a rounded value is not covered by the error bound")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        operation = self._OPERATIONS.get(ufunc)
        known = all(isinstance(x, (Rounded, *NUMBERS)) for x in inputs)
        if method != "__call__" or kwargs or operation is None or not known:
            return NotImplemented
        return operation(*(x if isinstance(x, Rounded) else Rounded(x, x) for x in inputs))

    def __repr__(self) -> str:
        return f"Rounded([{float(self.low):g}, {float(self.high):g}] +- {float(self.error):.2g})"

    _OPERATIONS: ClassVar[dict[Any, Callable[..., Any]]] = {}


def _short(x: Fraction, up: int) -> Fraction:
    """Round outwards to a short fraction, so that numerators do not grow with each operation."""
    scale = 2**140
    return Fraction((x * scale).__floor__() + up, scale)


def _rounded(low: Fraction, high: Fraction, inherited: Fraction) -> Rounded:
    size = max(abs(low), abs(high)) + inherited
    return Rounded(_short(low, 0), _short(high, 1), _short(inherited + size * UNIT + TINY, 1))


def _multiply(x: Rounded, y: Rounded) -> Rounded:
    corners = [a * b for a in (x.low, x.high) for b in (y.low, y.high)]
    low = Fraction(0) if x is y and min(corners) < 0 else min(corners)
    return _rounded(low, max(corners), x.size * y.error + y.size * x.error + x.error * y.error)


def _divide(x: Rounded, y: Rounded) -> Rounded:
    if y.low - y.error <= 0:
        raise ZeroDivisionError(f"a divisor is not bounded away from 0: {y!r}")
    corners = [a / b for a in (x.low, x.high) for b in (y.low, y.high)]
    size = max(map(abs, corners))
    return _rounded(min(corners), max(corners), (x.error + size * y.error) / (y.low - y.error))


def _root(x: Rounded) -> Rounded:
    if x.low - x.error <= 0:
        raise ValueError(f"the argument of a root is not bounded away from 0: {x!r}")
    scale = 2**70
    low = Fraction(isqrt((x.low * scale * scale).__floor__()), scale)
    high = Fraction(isqrt((x.high * scale * scale).__floor__()) + 1, scale)
    return _rounded(low, high, x.error / low)


def _select(pick: Callable[[Fraction, Fraction], Fraction]) -> Callable[[Rounded, Rounded], Rounded]:
    return lambda x, y: Rounded(pick(x.low, y.low), pick(x.high, y.high), max(x.error, y.error))


Rounded._OPERATIONS.update({
    np.add: lambda x, y: _rounded(x.low + y.low, x.high + y.high, x.error + y.error),
    np.subtract: lambda x, y: _rounded(x.low - y.high, x.high - y.low, x.error + y.error),
    np.negative: lambda x: Rounded(-x.high, -x.low, x.error),
    np.multiply: _multiply,
    np.true_divide: _divide,
    np.sqrt: _root,
    np.maximum: _select(max),
    np.minimum: _select(min),
})  # fmt: skip
