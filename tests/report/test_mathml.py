"""Formulas as MathML: well-formed, escaped, and written as on paper."""

from xml.etree import ElementTree

import pytest
import sympy

from kansci.functions import LIBRARY
from kansci.report.mathml import APPLY, TIMES, as_mathml

x, y, z = sympy.symbols("x y z", real=True)
CORE = {"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msup", "msub", "msubsup"}
CORE |= {"mtable", "mtr", "mtd", "mover", "munder"}


def tree(expression, **options):
    return ElementTree.fromstring(as_mathml(expression, **options))


def plain(expression, **options) -> str:
    """Its letters without what is invisible."""
    return "".join(tree(expression, **options).itertext()).replace(TIMES, "").replace(APPLY, "")


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_every_function_of_the_library_is_math_core(name):
    found = tree(2 * LIBRARY[name].sympy(3 * x - 1) + 1)
    assert {node.tag for node in found.iter()} <= CORE
    assert name == "zero" or "x" in "".join(found.itertext())


@pytest.mark.parametrize(
    ("expression", "letters"),
    [
        (sympy.Rational(37, 10) * x, "3.7x"),
        (-sympy.Rational(981, 100) * sympy.sin(x), "−9.81sin(x)"),
        (sympy.Float("3.14159265358979") * x, "3.14159x"),
        (-sympy.Float(1.5e-9) * x, "−1.5·10−9x"),
        (2 * 3**x, "2·3x"),
        (sympy.log(x), "ln(x)"),
        (sympy.besselj(0, 20 * x), "J0(20x)"),
        (sympy.sin(x) ** 2, "sin2(x)"),
        (sympy.Symbol("theta_12") + 1, "θ12+1"),
        (sympy.Symbol("m0") * x, "m0x"),
    ],
    ids=str,
)
def test_letters(expression, letters):
    assert plain(expression) == letters


def test_powers_of_functions_stand_at_their_names():
    power = tree(sympy.sin(x) ** 2).find(".//msup")
    assert power is not None and [node.text for node in power] == ["sin", "2"]


def test_falling_exponentials_are_not_below_a_line():
    assert tree(y * sympy.exp(-x)).find(".//mfrac") is None
    assert tree(y / x).find(".//mfrac") is not None


def test_long_exponents_are_brackets_and_short_ones_powers():
    assert plain(sympy.exp(-x)).startswith("e") and plain(sympy.exp(x**2 + y**2 * z + x * y)).startswith("exp(")


def test_equations_have_two_sides():
    assert plain(x + 1, left=y) == "y=x+1"


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a"b', "&amp;", "x]]>"])
def test_any_name_is_only_a_name(name):
    found = tree(sympy.Symbol(name) * x + sympy.Function(name)(y))
    assert {node.tag for node in found.iter()} <= CORE


def test_digits_are_asked_for():
    assert plain(sympy.Float("1.23456789"), digits=3) == "1.23"
