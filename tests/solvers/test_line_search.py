"""The strong Wolfe conditions."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kansci.solvers.line_search import CURVATURE, DECREASE, Place, strong_wolfe


def line(f: Callable[[float], float], slope: Callable[[float], float]) -> Callable[[float], Place]:
    return lambda t: Place(t, f(t), slope(t))


LINES = {
    "parabola": line(lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    "quartic": line(lambda t: (t - 0.1) ** 4 - t, lambda t: 4 * (t - 0.1) ** 3 - 1),
    "far": line(
        lambda t: -1 / (1 + (t - 400) ** 2 / 1e4), lambda t: 2e-4 * (t - 400) / (1 + (t - 400) ** 2 / 1e4) ** 2
    ),
    "wavy": line(lambda t: 0.02 * t**2 - t - math.sin(3 * t), lambda t: 0.04 * t - 1 - 3 * math.cos(3 * t)),
    "wall": line(
        lambda t: -t - math.log(1 - t) / 9 if t < 1 else math.nan, lambda t: -1 + 1 / (9 - 9 * t) if t < 1 else math.nan
    ),
}


@pytest.mark.parametrize("name", LINES)
@given(first=st.floats(1e-3, 1e3), curvature=st.sampled_from([0.1, CURVATURE, 0.9]))
def test_both_conditions_hold(name, first, curvature):
    evaluate = LINES[name]
    origin = evaluate(0.0)
    found = strong_wolfe(evaluate, origin, first, curvature)
    assert found is not None
    assert found == evaluate(found.length)
    assert found.value <= origin.value + DECREASE * found.length * origin.slope
    assert abs(found.slope) <= curvature * abs(origin.slope)


@given(first=st.floats(0.3, 30))
def test_the_bottom_of_a_parabola_is_the_second_trial(first):
    trials = []

    def evaluate(length: float) -> Place:
        trials.append(length)
        return Place(length, (length - 3) ** 2, 2 * (length - 3))

    found = strong_wolfe(evaluate, Place(0.0, 9.0, -6.0), first, curvature=1e-6)
    assert found is not None
    assert found.length == pytest.approx(3)
    assert len(trials) <= 2


def test_there_is_no_lower_place_than_a_minimum():
    evaluate = line(abs, lambda t: -1.0 if t == 0 else 1.0)
    assert strong_wolfe(evaluate, evaluate(0.0), 1.0) is None


def test_a_line_without_end_is_followed_as_long_as_it_is_sensible():
    evaluate = line(lambda t: -t, lambda t: -1.0)
    found = strong_wolfe(evaluate, evaluate(0.0), 1.0)
    assert found is not None
    assert found.length > 1e6


def test_what_is_known_of_a_place_comes_back():
    found = strong_wolfe(lambda t: Place(t, (t - 1) ** 2, 2 * (t - 1), f"at {t}"), Place(0.0, 1.0, -2.0), 1.0)
    assert found is not None
    assert found.payload == "at 1.0"
