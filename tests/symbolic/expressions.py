"""Random expressions, their exact values, and how far rounding can move these."""

import random
from collections.abc import Callable, Sequence
from functools import cache
from math import inf, isfinite
from typing import Any, NamedTuple

import mpmath
import sympy
import torch
from jaxtyping import Float
from sympy.functions.special.delta_functions import DiracDelta
from torch import Tensor

from kansci.errors import FormulaError
from kansci.functions import LIBRARY
from kansci.symbolic.build import Builder

DIGITS = 30
POINTS = 5
TRIALS = 10  # for a part whose values are neither tiny nor huge


def exact_values(expression: sympy.Expr, names: Sequence[str], x: Float[Tensor, "n d"]) -> list[Any]:
    """The values at each point in 30 digits, as numbers of mpmath."""
    evaluate = sympy.lambdify([sympy.Symbol(name, real=True) for name in names], expression, "mpmath", cse=True)
    with mpmath.workdps(DIGITS):
        return [mpmath.mpmathify(evaluate(*map(mpmath.mpf, point))) for point in x.tolist()]


def largest_error(values: Sequence[Any], exact: Sequence[Any]) -> float:
    """The largest error, relative to the largest value."""
    with mpmath.workdps(DIGITS):
        errors = [abs(mpmath.mpmathify(value) - reference) for value, reference in zip(values, exact, strict=True)]
        return float(max(errors) / max(map(abs, exact)))


class Rounded(NamedTuple):
    """An exact value and a bound, in units of rounding, of the error of its evaluation."""

    value: Any
    error: Any

    @property
    def condition(self) -> float:
        """The bound relative to the value, infinite where there is no value."""
        return float(self.error / abs(self.value)) if self.value else inf


NOWHERE = Rounded(mpmath.nan, mpmath.inf)


def rounded_values(expressions: Sequence[sympy.Expr], names: Sequence[str], point: Sequence[float]) -> list[Rounded]:
    """What expressions are at a point, by a first-order analysis of the errors in running through their parts.

    Every part has the error of its own rounding and those of its arguments, multiplied by its derivatives.
    """
    with mpmath.workdps(DIGITS):
        places = zip(names, map(mpmath.mpf, point), strict=True)
        known = {sympy.Symbol(name, real=True): Rounded(value, abs(value)) for name, value in places}
        return [_rounded(expression, known) for expression in expressions]


def _rounded(part: Any, known: dict[Any, Rounded]) -> Rounded:
    if part not in known:
        known[part] = _operation(part, [_rounded(argument, known) for argument in part.args])
    return known[part]


def _operation(part: Any, arguments: Sequence[Rounded]) -> Rounded:
    try:
        value, slopes = _value_and_slopes(part, [argument.value for argument in arguments])
        moved = [abs(slope) * argument.error for slope, argument in zip(slopes, arguments, strict=True)]
    except (ArithmeticError, TypeError, ValueError):
        return NOWHERE
    error = mpmath.fsum([abs(value), *moved])
    return Rounded(value, error) if isinstance(value, mpmath.mpf) and mpmath.isfinite(error) else NOWHERE


def _value_and_slopes(part: Any, values: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """What an operation makes of values, and its derivatives by them."""
    if not values:
        return mpmath.mpmathify(part.evalf(DIGITS + 5)), []
    if part.is_Add:
        return mpmath.fsum(values), [1] * len(values)
    if part.is_Mul:
        return mpmath.fprod(values), [mpmath.fprod([*values[:k], *values[k + 1 :]]) for k in range(len(values))]
    if part.is_Pow:
        base, exponent = values
        power = mpmath.power(base, exponent)
        return power, [exponent * power / base, 0 if part.exp.is_Rational else power * mpmath.log(base)]
    fixed = [argument if argument.is_Rational else None for argument in part.args]
    functions = _functions(part.func, (*fixed[:-1], None) if None not in fixed else tuple(fixed))
    value, *slopes = (mpmath.mpmathify(function(*values)) for function in functions)
    return value, slopes


@cache
def _functions(kind: Any, fixed: tuple[Any, ...]) -> list[Any]:
    """A function and its derivatives by the arguments that are not fixed; jumps have none."""
    symbols = sympy.symbols(f"u:{len(fixed)}", real=True)
    arguments = [symbol if number is None else number for symbol, number in zip(symbols, fixed, strict=True)]
    whole = kind(*arguments, evaluate=False)
    slopes = [_slope(kind(*arguments), argument) for argument in arguments]
    return [sympy.lambdify(symbols, each, [_STEPS, "mpmath"]) for each in (whole, *slopes)]


def _slope(function: Any, argument: Any) -> Any:
    return (
        function.diff(argument).replace(DiracDelta, lambda *_: sympy.Integer(0)) if argument.is_Symbol else argument * 0
    )


_STEPS = {"Heaviside": lambda u, middle=0.5: mpmath.mpf(u > 0) if u else mpmath.mpf(middle)}


class Part(NamedTuple):
    """An expression and its values at the points."""

    expression: Any
    values: Float[Tensor, "n"]


class RandomFormulas:
    """Random expressions of one to five real variables, which share parts, and points where most are defined.

    The expressions consist of all functions of LIBRARY, sums, products, quotients and powers, up to six inside one
    another. Arguments are mapped into the domains of functions by a square, a sine and the like. What is tiny or
    huge at any of the points is made anew.

    Args:
        seed: determines all.
        positive: whether all parts are positive.
        largest: magnitude of values, also of their inverses.
    """

    def __init__(self, seed: int, *, positive: bool = False, largest: float = 1e4) -> None:
        self.random = random.Random(seed)
        self.positive, self.largest = positive, largest
        self.builder = Builder()
        self.names = [f"x{k}" for k in range(1, self.random.randint(1, 5) + 1)]
        self.x = torch.tensor([[self._number() for _ in self.names] for _ in range(POINTS)], dtype=torch.float64)
        symbols = [sympy.Symbol(name, real=True) for name in self.names]
        self.parts = [Part(symbol, values) for symbol, values in zip(symbols, self.x.T, strict=True)]

    def expressions(self) -> list[sympy.Expr]:
        """One to three of them."""
        return [
            self.builder.finish(self.part(self.random.randint(1, 6)).expression)
            for _ in range(self.random.randint(1, 3))
        ]

    def part(self, depth: int) -> Part:
        """A variable or number, one of the parts there are already, or a new one."""
        if depth == 0 or self.random.random() < 0.15:
            return self.random.choice(self.parts) if self.random.random() < 0.75 else self.constant()
        for _ in range(TRIALS):
            make = self.random.choices(_MAKERS, _WEIGHTS)[0]
            part = self.tried(make, depth - 1)
            if part is not None:
                self.parts.append(part)
                return part
        return self.part(depth - 1)

    def tried(self, make: Callable[["RandomFormulas", int], Part], depth: int) -> Part | None:
        """A new part, None if it cannot be used."""
        try:
            part = make(self, depth)
        except (FormulaError, TypeError):
            return None
        sizes = part.values if self.positive else part.values.abs()
        usable = ((1 / self.largest < sizes) & (sizes < self.largest)).all()
        if self.positive and part.expression.as_coeff_Mul()[0] < 0:  # -cos(x), which SymPy makes of sin(x - pi/2)
            return None
        return part if usable and part.expression.free_symbols else None

    def constant(self) -> Part:
        kinds = sympy.Rational(self.random.randint(1, 20), self.random.randint(1, 9)), sympy.pi, sympy.sqrt(2)
        number = self.random.choice([*kinds, sympy.Float(round(self._number(), self.random.choice([3, 15])))])
        return Part(number, torch.full((POINTS,), float(number), dtype=torch.float64))

    def sum(self, depth: int) -> Part:
        parts = [self.part(depth) for _ in range(self.random.randint(2, 3))]
        signs = [1 if self.positive else self.random.choice([1, 1, -1]) for _ in parts]
        terms = [self.builder.multiply(sympy.Integer(s), part.expression) for s, part in zip(signs, parts, strict=True)]
        return Part(
            self.builder.add(*terms),
            torch.stack([s * part.values for s, part in zip(signs, parts, strict=True)]).sum(0),
        )

    def product(self, depth: int) -> Part:
        parts = [self.part(depth) for _ in range(self.random.randint(2, 3))]
        return Part(
            self.builder.multiply(*(part.expression for part in parts)),
            torch.stack([part.values for part in parts]).prod(0),
        )

    def quotient(self, depth: int) -> Part:
        over, under = self.part(depth), self.part(depth)
        inverse = self.builder.power(under.expression, sympy.Integer(-1))
        return Part(self.builder.multiply(over.expression, inverse), over.values / under.values)

    def power(self, depth: int) -> Part:
        exponent = sympy.Rational(self.random.choice([-3, -2, -1, 1, 2, 3, 4, 5, 6]), self.random.choice([1, 1, 2, 3]))
        base = self.part(depth)
        base = base if exponent.is_Integer else self.within(base, (0.0, inf))
        return Part(self.builder.power(base.expression, exponent), base.values ** float(exponent))

    def variable_power(self, depth: int) -> Part:
        base, exponent = self.within(self.part(depth), (0.0, inf)), self.part(depth)
        return Part(self.builder.power(base.expression, exponent.expression), base.values**exponent.values)

    def function(self, depth: int) -> Part:
        row = self.random.choice([row for row in LIBRARY.values() if row.name not in ("zero", "x")])
        argument = self.within(self.part(depth), row.domain)
        return Part(self.builder.apply(row.sympy, argument.expression), row(argument.values))

    def within(self, part: Part, domain: tuple[float, float]) -> Part:
        """The part itself if its values lie inside a domain, else a function of it whose values do."""
        low, high = domain
        if ((low < part.values) & (part.values < high)).all():
            return part
        if isfinite(low) and isfinite(high):
            middle, half = (sympy.Rational(str(s)) for s in ((low + high) / 2, 0.45 * (high - low)))
            inner = self.builder.multiply(half, self.builder.apply(sympy.sin, part.expression))
            return Part(self.builder.add(middle, inner), float(middle) + float(half) * part.values.sin())
        start = sympy.Rational(str(low)) + sympy.Rational(self.random.randint(1, 9), 10)
        square = self.builder.power(part.expression, sympy.Integer(2))
        return Part(self.builder.add(start, square), float(start) + part.values**2)

    def _number(self) -> float:
        sign = 1 if self.positive else self.random.choice([1, 1, 1, -1])
        return sign * self.random.uniform(0.3, 2.5)


_MAKERS = (
    RandomFormulas.function,
    RandomFormulas.sum,
    RandomFormulas.product,
    RandomFormulas.quotient,
    RandomFormulas.power,
    RandomFormulas.variable_power,
)
_WEIGHTS = (5, 3, 2, 1, 1, 0.5)
