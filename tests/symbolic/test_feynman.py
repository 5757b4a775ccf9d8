"""The equations of the Feynman benchmark, compiled and read back."""

import pytest

from tests.benchmarks.feynman import Equation, measure, read_equations

EQUATIONS = read_equations()


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def assert_compiles(equation: Equation, n: int) -> None:
    figures = measure(equation, n)
    assert figures.seconds <= 1
    assert figures.error <= 1e-13
    assert figures.back <= 1e-15


def test_there_are_one_hundred_and_twenty():
    assert len({equation.id for equation in EQUATIONS}) == 120


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: equation.id)
def test_equations_compile_to_networks_and_back(equation):
    assert_compiles(equation, 20)


@pytest.mark.slow
@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: equation.id)
def test_equations_hold_all_over_their_ranges(equation):
    assert_compiles(equation, 1000)
