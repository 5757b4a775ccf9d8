"""Random expressions as networks and back: both have the values that 30 digits give, to what rounding allows."""

from collections.abc import Iterable, Iterator
from typing import Any

import mpmath
import pytest

import kansci as ks
from tests.symbolic.expressions import DIGITS, RandomFormulas, Rounded, rounded_values

LARGEST_CONDITION = 1e4
TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def assert_equal_to_rounding(seeds: Iterable[int], products: str = "nodes", **options) -> None:
    """Of each seed, network and formula of the network; most points must be well conditioned."""
    known = [each for seed in seeds for each in compare(RandomFormulas(seed, **options), products)]
    assert sum(known) >= 0.9 * len(known)


def compare(random: RandomFormulas, products: str) -> Iterator[bool]:
    """Whether each value is well conditioned; where it is, the others agree."""
    expressions, names, points = random.expressions(), random.names, random.x.tolist()
    model = ks.kanpile(expressions, names, products=products)
    back = ks.formula(model, names)
    for point, values in zip(points, model(random.x).tolist(), strict=True):
        exact, again = (rounded_values(formulas, names, point) for formulas in (expressions, back))
        for value, reference, returned in zip(values, exact, again, strict=True):
            known = reference.condition <= LARGEST_CONDITION
            if known:
                assert relative_error(value, reference) <= TOLERANCE
                assert relative_error(returned.value, reference) <= TOLERANCE
            yield known


def relative_error(value: Any, reference: Rounded) -> float:
    with mpmath.workdps(DIGITS):
        return float(abs(value - reference.value) / abs(reference.value))


VARIANTS = ["squares", "exp-log"]


@pytest.mark.slow
def test_a_few_random_formulas():
    assert_equal_to_rounding(range(45))


@pytest.mark.parametrize("products", VARIANTS)
def test_a_few_positive_formulas_without_multiplication_nodes(products):
    assert_equal_to_rounding(range(8), products, positive=True, largest=20.0)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_two_thousand_random_formulas(block):
    assert_equal_to_rounding(range(100 * block, 100 * block + 100))


@pytest.mark.slow
@pytest.mark.parametrize("products", VARIANTS)
@pytest.mark.parametrize("block", range(4))
def test_positive_formulas_without_multiplication_nodes(block, products):
    assert_equal_to_rounding(range(50 * block, 50 * block + 50), products, positive=True, largest=20.0)
