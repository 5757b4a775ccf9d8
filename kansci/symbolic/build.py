"""SymPy expressions of real quantities, built in linear time and of bounded size.

SymPy simplifies what it constructs. To do so it asks which parts are real or positive, which can take a time
exponential in their nesting, and it writes out powers of integers however long they are. `Builder` keeps the
simplification local: while an expression grows, a real symbol stands for every argument of more than a few
operations. Equal arguments have the same symbol, so that they still combine and cancel.
"""

from collections.abc import Callable
from functools import cache, cmp_to_key
from math import inf
from time import thread_time
from typing import Any

import sympy

from kansci.errors import FormulaError
from kansci.symbolic.evaluate import constant_value

MAX_EXPONENT = 1000
MAX_GAMMA = 171  # Gamma(172) is outside the range of double precision
MAX_BITS = 1023  # of an integer, so that it is a double
MAX_SIZE = 50_000  # nodes of the expression tree
MAX_LEVELS = 150  # of it: SymPy cannot print much deeper ones
MAX_SECONDS = 0.9  # of CPU time
_SMALL = 8  # operations


class Builder:
    """Builds an expression from its leaves up: real symbols and numbers.

    What the methods return may contain symbols that stand for arguments; `finish` puts the arguments back.
    All raise FormulaError where the result is not finite and real, too large, or takes too long.

    Example:
        >>> x = sympy.Symbol("x", real=True)
        >>> builder = Builder()
        >>> builder.finish(builder.power(builder.apply(sympy.log, x), sympy.Integer(2)))
        log(x)**2
    """

    def __init__(self) -> None:
        self._symbols: dict[sympy.Basic, sympy.Dummy] = {}
        self._arguments: dict[sympy.Basic, sympy.Basic] = {}
        self._sizes: dict[sympy.Basic, int] = {}
        self._deadline = thread_time() + MAX_SECONDS

    def add(self, *terms: sympy.Expr) -> sympy.Expr:
        """The sum of the terms."""
        return self._checked(sympy.Add(*terms))

    def multiply(self, *factors: sympy.Expr) -> sympy.Expr:
        """The product of the factors."""
        if sum(not factor.is_Number for factor in factors) > 1:
            factors = tuple(self._stand_in(factor) if factor.is_Add else factor for factor in factors)
        return self._checked(sympy.Mul(*factors))

    def power(self, base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
        """base**exponent, where an exponent that is a number is at most 1000 in magnitude."""
        base = self._stand_in(base) if base.is_Add else base
        exponent = self._stand_in(exponent)
        _check_power(base, exponent)
        return self._checked(self._real(sympy.Pow, base, exponent))

    def apply(self, function: Callable[..., sympy.Expr], *arguments: sympy.Expr) -> sympy.Expr:
        """function(*arguments)."""
        arguments = tuple(self._stand_in(argument) for argument in arguments)
        _check_growth(_form(function, len(arguments)), arguments[0])
        return self._checked(self._real(function, *arguments))

    def opened(self, part: Any) -> Any:
        """What a symbol stands for that was put in the place of an argument; other parts as they are."""
        return self._arguments.get(part, part)

    def finish(self, expression: sympy.Expr) -> sympy.Expr:
        """The expression with every argument in its place."""
        if self._size(expression) > MAX_SIZE:
            raise FormulaError(f"expected an expression of at most {MAX_SIZE} parts when written out")
        return self._restored(expression, {})[0]

    def _stand_in(self, argument: sympy.Expr) -> sympy.Expr:
        if argument.count_ops() <= _SMALL:
            return argument
        if not argument.free_symbols:
            return sympy.Float(constant_value(argument))
        return self._symbol(argument)

    def _real(self, function: Callable[..., sympy.Expr], *arguments: sympy.Expr) -> sympy.Expr:
        """function(*arguments) as for real arguments, though SymPy takes the likes of x**y and log(x) for complex."""
        result = function(*arguments)
        if result.has(*_COMPLEX):
            result = function(*(self._symbol(part) if part.free_symbols else part for part in arguments))
        return result

    def _symbol(self, argument: sympy.Expr) -> sympy.Expr:
        """The real symbol that stands for an argument."""
        if argument not in self._symbols:
            symbol = sympy.Dummy(real=True)
            self._symbols[argument] = symbol
            self._arguments[symbol] = argument
            self._sizes[symbol] = self._size(argument)
        return self._symbols[argument]

    def _size(self, expression: sympy.Expr) -> int:
        return sum(self._sizes.get(part, 1) for part in sympy.preorder_traversal(expression))

    def _restored(self, part: sympy.Basic, done: dict[sympy.Basic, tuple[Any, int]]) -> tuple[Any, int]:
        """The part with every argument in its place, and its number of levels."""
        if part not in done:
            self._check_time()
            if part in self._arguments:
                done[part] = self._restored(self._arguments[part], done)
            else:
                found = [self._restored(argument, done) for argument in part.args]
                levels = 1 + max((levels for _, levels in found), default=0)
                if levels > MAX_LEVELS:
                    raise FormulaError(f"expected parts at most {MAX_LEVELS} levels inside one another")
                done[part] = _rebuilt(part, [argument for argument, _ in found]), levels
        return done[part]

    def _checked(self, expression: sympy.Expr) -> sympy.Expr:
        self._check_time()
        for part in sympy.preorder_traversal(expression):
            if part in _NOT_REAL:
                raise FormulaError("this part is not finite and real")
            if _bits(part) > MAX_BITS:
                raise FormulaError("this part has a number of too many digits")
            if isinstance(part, sympy.Float) and not (part == 0 or 0 < abs(float(part)) < inf):
                raise FormulaError("this part has a number outside the range of double precision")
            if isinstance(part, sympy.Pow | sympy.exp):
                _check_power(*part.as_base_exp())
                _check_constant(part)
        _check_constant(expression)
        return expression

    def _check_time(self) -> None:
        if thread_time() > self._deadline:
            raise FormulaError("expected a simpler formula; SymPy takes too long for this one, split it")


def _rebuilt(part: Any, arguments: list[Any]) -> Any:
    """The same operation on other arguments, not simplified anew; sums and products in SymPy's order."""
    if all(new is old for new, old in zip(arguments, part.args, strict=True)):
        return part
    if isinstance(part, sympy.Add | sympy.Mul):
        flat = [operand for argument in arguments for operand in part.make_args(argument)]
        arguments = sorted(flat, key=cmp_to_key(sympy.Basic.compare))
    return part.func(*arguments, evaluate=False)


def _check_constant(expression: sympy.Basic) -> None:
    if not expression.free_symbols:
        constant_value(expression)


def _check_power(base: sympy.Expr, exponent: sympy.Expr) -> None:
    """Refuse what SymPy might write out as an enormous integer, such as 2**x * 2**(10**9 - x)."""
    constant = not exponent.free_symbols
    numbers = [constant_value(exponent)] if constant else [float(n) for n in exponent.atoms(sympy.Rational)]
    largest = max(map(abs, numbers), default=0.0)
    if largest > MAX_EXPONENT and (constant or exponent.has(sympy.log)):
        raise FormulaError(f"expected numbers in exponents of at most {MAX_EXPONENT}")
    coefficient = base.as_coeff_Mul()[0]
    if coefficient not in (1, -1) and _bits(coefficient) * largest > MAX_BITS:
        raise FormulaError("this power is a number of too many digits")


@cache
def _form(function: Callable[..., sympy.Expr], count: int) -> sympy.Basic:
    return function(*_PLACEHOLDERS[:count])


def _check_growth(form: sympy.Basic, argument: sympy.Expr) -> None:
    """Refuse what SymPy might write out as an enormous integer when a function of this form takes the argument."""
    if form.has(sympy.exp):
        _check_power(sympy.E, argument)
    for power in form.atoms(sympy.Pow):
        if power.base.is_Number and power.exp.free_symbols:
            _check_power(power.base, argument)
    if form.has(sympy.gamma) and not argument.free_symbols and abs(constant_value(argument)) > MAX_GAMMA:
        raise FormulaError(f"expected numbers of at most {MAX_GAMMA} in the Gamma function")


def _bits(number: sympy.Basic) -> int:
    return max(number.p.bit_length(), number.q.bit_length()) if isinstance(number, sympy.Rational) else 0


_COMPLEX = (sympy.re, sympy.im, sympy.arg, sympy.conjugate)
_NOT_REAL = (sympy.I, sympy.zoo, sympy.oo, -sympy.oo, sympy.nan)
_PLACEHOLDERS = sympy.symbols("x y", real=True)
