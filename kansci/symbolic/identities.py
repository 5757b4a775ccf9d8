"""Functions that are no rows of LIBRARY, by exact identities in terms of those that are."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import sympy
from sympy.functions.elementary.miscellaneous import Max, Min
from sympy.functions.elementary.piecewise import Piecewise
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from kansci.errors import FormulaError

_ONE = sympy.Integer(1)


def rewritten(part: sympy.Basic) -> sympy.Expr | None:
    """An expression equal to a part, in terms of functions of LIBRARY, or None if there is no identity.

    Angles by atan2 hold but on their cut, the negative half of the axis, where the quotient is 0/0. Pieces hold but
    where one is not finite in the domain of another; where conditions change, at equality, they have the mean of the
    values on both sides.

    Raises:
        FormulaError: a condition of a piece is not made of inequalities, or the pieces leave a gap.

    Example:
        >>> x, y = sympy.symbols("x y", real=True)
        >>> rewritten(sympy.sec(x)), rewritten(sympy.atan2(y, x))
        (1/cos(x), 2*atan(y/(x + sqrt(x**2 + y**2))))
    """
    identity = _IDENTITIES.get(part.func)
    return None if identity is None else identity(*part.args)


def _atan2(y: sympy.Expr, x: sympy.Expr) -> sympy.Expr:
    return 2 * sympy.atan(y / (sympy.sqrt(x**2 + y**2) + x))


def _larger(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return b + Max(0, _difference(a, b), evaluate=False)


def _maximum(*arguments: sympy.Expr) -> sympy.Expr:
    return reduce(_larger, arguments)


def _minimum(*arguments: sympy.Expr) -> sympy.Expr:
    return -_maximum(*(-argument for argument in arguments))


def _piecewise(*pieces: Any) -> sympy.Expr:
    total, remaining = sympy.Integer(0), _ONE
    for value, condition in pieces:
        share = _indicator(condition)
        total += remaining * share * value
        remaining *= 1 - share
        if share == 1:
            return total
    raise FormulaError("expected pieces for all values of the variables; end with (value, True)")


def _indicator(condition: Any) -> sympy.Expr:
    """1 where a condition holds, 0 where not."""
    match condition:
        case BooleanTrue():
            return _ONE
        case BooleanFalse():
            return sympy.Integer(0)
        case sympy.StrictGreaterThan() | sympy.GreaterThan() | sympy.StrictLessThan() | sympy.LessThan():
            return sympy.Heaviside(_difference(condition.gts, condition.lts))
        case And():
            return sympy.Mul(*map(_indicator, condition.args))
        case Or():
            return 1 - sympy.Mul(*(1 - _indicator(part) for part in condition.args))
        case Not():
            return 1 - _indicator(condition.args[0])
    raise FormulaError(f"expected conditions made of inequalities, got {condition}")


def _difference(a: Any, b: Any) -> sympy.Expr:
    return a - b


_IDENTITIES: dict[type, Callable[..., sympy.Expr]] = {
    sympy.atan2: _atan2,
    Max: _maximum,
    Min: _minimum,
    Piecewise: _piecewise,
    sympy.sec: lambda x: 1 / sympy.cos(x),
    sympy.csc: lambda x: 1 / sympy.sin(x),
    sympy.sech: lambda x: 1 / sympy.cosh(x),
    sympy.csch: lambda x: 1 / sympy.sinh(x),
    sympy.coth: lambda x: 1 / sympy.tanh(x),
    sympy.asec: lambda x: sympy.acos(1 / x),
    sympy.acsc: lambda x: sympy.asin(1 / x),
    sympy.acot: lambda x: sympy.atan(1 / x),
    sympy.asech: lambda x: sympy.acosh(1 / x),
    sympy.acsch: lambda x: sympy.asinh(1 / x),
    sympy.acoth: lambda x: sympy.atanh(1 / x),
    sympy.loggamma: lambda x: sympy.log(sympy.Abs(sympy.gamma(x))),
}
