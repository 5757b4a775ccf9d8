"""Numbers told by their last digits."""

from fractions import Fraction
from math import e, log, pi, sqrt

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from kansci.errors import FormulaError
from kansci.symbolic.constants import LOGARITHMS, PI_POWERS, exact_number

small = st.builds(Fraction, st.integers(1, 60), st.integers(1, 60))
signs = st.sampled_from([1, -1])


def rational(ratio: Fraction) -> sympy.Expr:
    return sympy.Rational(ratio.numerator, ratio.denominator)


@given(st.fractions(-1000, 1000, max_denominator=1000))
def test_rational_numbers(ratio):
    assert exact_number(float(ratio)) == rational(ratio)


@given(small, signs, st.sampled_from(PI_POWERS))
def test_multiples_of_powers_of_pi(ratio, sign, power):
    assert exact_number(sign * float(ratio) * pi**power) == sign * rational(ratio) * sympy.pi**power


@given(small, signs, st.sampled_from([0, *PI_POWERS]))
def test_square_roots(ratio, sign, power):
    exact = sign * sympy.sqrt(rational(ratio) * sympy.pi**power)
    assert exact_number(sign * sqrt(float(ratio) * pi**power)) == exact


@given(st.builds(Fraction, st.integers(1, 20), st.integers(1, 20)))
def test_multiples_of_e_and_of_logarithms(ratio):
    assert exact_number(float(ratio) * e) == rational(ratio) * sympy.E
    assert exact_number(float(ratio) / e) == rational(ratio) / sympy.E
    for n in LOGARITHMS:
        assert exact_number(float(ratio) * log(n)) == rational(ratio) * sympy.log(n)
        assert exact_number(float(ratio) / log(n)) == rational(ratio) / sympy.log(n)


@given(st.floats(-10, 10), st.integers(-30, 30))
def test_numbers_are_close_to_what_they_are_said_to_be(mantissa, power):
    value = mantissa * 10.0**power
    assert abs(float(exact_number(value)) - value) <= 4 * 2.0**-52 * abs(value)


@given(st.integers(10**15 + 1, 10**16).filter(lambda digits: digits % 10), st.integers(-25, 0))
def test_numbers_of_many_digits_stay_what_they_are(digits, power):
    value = float(f"{digits}e{power}")
    if not value.is_integer():
        assert exact_number(value) == sympy.Float(value)


@given(st.floats(0.01, 100), st.integers(5, 60))
def test_neighbors_of_exact_numbers_are_not_these(value, steps):
    """Numbers that have been trained are not taken for others which are close."""
    near = float(Fraction(value).limit_denominator(50)) * (1 + steps * 2.0**-50)
    if not near.is_integer():
        assert isinstance(exact_number(near), sympy.Float)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "1/2"),
        (sqrt(2) / 2, "sqrt(2)/2"),
        (1 / sqrt(2 * pi), "sqrt(2)/(2*sqrt(pi))"),
        (-sqrt(3 * pi), "-sqrt(3)*sqrt(pi)"),
        (2 * pi / 3, "2*pi/3"),
        (log(2), "log(2)"),
        (-0.0, "0"),
        (1e22, "1.00000000000000e+22"),
        (3.0e8, "300000000"),
    ],
)
def test_how_numbers_are_printed(value, text):
    assert str(exact_number(value)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(FormulaError, match="finite"):
        exact_number(value)
