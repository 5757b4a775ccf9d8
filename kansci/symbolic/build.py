"""SymPy expressions of real quantities, built in linear time and of bounded size.

SymPy simplifies what it constructs. For that it asks whether the parts are real or positive, which can take a time
exponential in their nesting, and it writes out every power of integers, however long. `Builder` keeps the
simplification local: an argument of more than a few operations is replaced by a symbol of its own, a real one,
until the expression is complete. Equal arguments get the same symbol, so that they still combine and cancel.
"""

from collections.abc import Callable
from functools import cmp_to_key

import sympy

from kansci.errors import FormulaError
from kansci.symbolic.evaluate import constant_value

MAX_EXPONENT = 1000
MAX_BITS = 4096  # of the integers in an expression
_SMALL = 8  # operations


class Builder:
    """Builds one expression, or several that share parts, from real symbols and numbers.

    What the methods return may contain symbols that stand for parts; `finish` puts the parts in their places.

    Example:
        >>> x = sympy.Symbol("x", real=True)
        >>> builder = Builder()
        >>> builder.finish(builder.power(builder.apply(sympy.log, x), sympy.Integer(2)))
        log(x)**2
    """

    def __init__(self) -> None:
        self._symbols: dict[sympy.Expr, sympy.Dummy] = {}
        self._parts: dict[sympy.Basic, sympy.Expr] = {}

    def add(self, *terms: sympy.Expr) -> sympy.Expr:
        """The sum of the terms.

        Raises:
            FormulaError: The sum is not finite and real, or a number in it is too long.
        """
        return _checked(sympy.Add(*terms))

    def multiply(self, *factors: sympy.Expr) -> sympy.Expr:
        """The product of the factors.

        Raises:
            FormulaError: The product is not finite and real, or a number in it is too long.
        """
        if sum(not factor.is_Number for factor in factors) > 1:
            factors = tuple(self._symbol(factor) if factor.is_Add else factor for factor in factors)
        return _checked(sympy.Mul(*factors))

    def power(self, base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
        """base**exponent.

        Raises:
            FormulaError: The power is not finite and real, a number in it is too long, or the exponent is a
                number larger than 1000.
        """
        base = self._symbol(base) if base.is_Add else base
        exponent = self._symbol(exponent)
        _check_power(base, exponent)
        return _checked(sympy.Pow(base, exponent))

    def apply(self, function: Callable[..., sympy.Expr], *arguments: sympy.Expr) -> sympy.Expr:
        """function(*arguments).

        Raises:
            FormulaError: The value is not finite and real, or a number in it is too long.
        """
        small = [self._symbol(argument) for argument in arguments]
        if function(*_PLACEHOLDERS[: len(small)]).has(sympy.exp):
            _check_power(sympy.E, small[0])
        return _checked(function(*small))

    def finish(self, expression: sympy.Expr) -> sympy.Expr:
        """The expression with all parts in their places."""
        ...
