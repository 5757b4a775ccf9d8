"""Floating-point numbers that are sqrt(2), 3*pi/4 or 1/3, told by their last digits."""

from collections.abc import Iterator
from fractions import Fraction
from math import e, log, pi

import sympy

from kansci.errors import FormulaError

ROUNDING = 4  # units in the last place
MAX_NUMERATOR, MAX_DENOMINATOR = 10**6, 1000
MAX_SQUARE = 1000  # numerator and denominator of a rational under a root
PI_POWERS = (1, -1, 2, -2, 3, -3, 4, -4)
LOGARITHMS = (2, 3, 5, 7, 10)


def exact_number(value: float) -> sympy.Expr:
    r"""The number that a value in double precision stands for, where it can hardly be another.

    Numbers with few digits are rational. Others are compared with rationals times powers of pi, roots of these, and
    rationals times e, 1/e and logarithms of small integers. A match is accepted within four units in the last
    place: a number that has not been computed from one of these matches with a probability of about 1e-7.

    Args:
        value: a finite number.

    Returns:
        An exact number where there is a match, else Float(value).

    Raises:
        FormulaError: the value is not finite.

    Example:
        >>> [exact_number(v) for v in (0.5, 2 * pi / 3, 2**0.5 / 2, 1 / (2 * pi) ** 0.5, 0.123456789)]
        [1/2, 2*pi/3, sqrt(2)/2, sqrt(2)/(2*sqrt(pi)), 0.123456789]
    """
    if not abs(value) < float("inf"):
        raise FormulaError(f"expected numbers that are finite, got {value}")
    if value.is_integer() and abs(value) <= 2**53:
        return sympy.Integer(int(value))
    if value < 0:
        return -exact_number(-value)
    return next(_matches(value), sympy.Float(value))


def _matches(value: float) -> Iterator[sympy.Expr]:
    """The exact numbers that a positive value may stand for, the simplest kinds first."""
    plain = _ratio(value, value, MAX_NUMERATOR, MAX_DENOMINATOR)
    if plain is not None:
        yield plain
    for power in PI_POWERS:
        ratio = _ratio(value / pi**power, value, MAX_SQUARE, MAX_SQUARE)
        if ratio is not None:
            yield ratio * sympy.pi**power
    for power in (0, *PI_POWERS):
        ratio = _ratio(value * value / pi**power, value, MAX_SQUARE, MAX_SQUARE)
        if ratio is not None:
            yield sympy.sqrt(ratio) * sympy.pi ** sympy.Rational(power, 2)
    for base, symbol in _OTHERS:
        ratio = _ratio(value / base, value, MAX_SQUARE // 10, MAX_SQUARE // 10)
        if ratio is not None:
            yield ratio * symbol


_OTHERS = (
    (e, sympy.E),
    (1 / e, 1 / sympy.E),
    *((log(n), sympy.log(n)) for n in LOGARITHMS),
    *((1 / log(n), 1 / sympy.log(n)) for n in LOGARITHMS),
)


def _ratio(quotient: float, value: float, numerator: int, denominator: int) -> sympy.Expr | None:
    """The quotient as a ratio of bounded integers, where the two agree to rounding."""
    if not 1 / denominator <= quotient <= numerator:
        return None
    ratio = Fraction(quotient).limit_denominator(denominator)
    if ratio.numerator > numerator or abs(float(ratio) - quotient) > ROUNDING * 2.0**-52 * quotient:
        return None
    return sympy.Rational(ratio.numerator, ratio.denominator)
