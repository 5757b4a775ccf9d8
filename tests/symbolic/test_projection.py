"""The best constants of functions for curves."""

import math

import pytest
import torch

from kansci.functions import LIBRARY, library_function
from kansci.symbolic.projection import Curve, best_fits

pytestmark = pytest.mark.usefixtures("unchecked")


def curve_of(values, x):
    return Curve(x, values, torch.full_like(x, 1 / math.sqrt(len(x)))[:, None])


def points(low=-1.0, high=2.0, n=300):
    return torch.linspace(low, high, n, dtype=torch.float64)


ARGUMENTS = {
    "tan": (0.4, 0.2),
    "asin": (0.3, -0.2),
    "acos": (0.3, -0.2),
    "acosh": (1, 2.5),
    "atanh": (0.3, -0.2),
    "semicircle": (0.3, -0.2),
    "lorentz": (0.3, -0.2),
    "cot": (0.5, 1.5),
}
POSITIVE = {"log", "sqrt", "1/sqrt", "1/x", "1/x**2", "y0", "y1", "k0", "k1", "gamma", "lgamma", "x**(3/2)"}
STEPS = {"sign", "heaviside", "relu", "abs"}


@pytest.mark.parametrize("name", [name for name in LIBRARY if name not in {"zero", "x", *STEPS}])
def test_every_function_finds_itself(name):
    """Wherever it lies on the curve, and whatever its scale."""
    row, x = library_function(name), points()
    a, b = ARGUMENTS.get(name, (1.3, 2.0) if name in POSITIVE else (1.7, 0.4))
    values = -3 * row(a * x + b) + 5
    found = best_fits([row], curve_of(values, x))
    assert found[0].error < 1e-9
    a, b, c, d = found[0].constants
    assert torch.allclose(c * row(a * x + b) + d, values, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("name", "frequency"), [("j0", 20.0), ("j1", 35.0), ("sin", 60.0), ("sinc", 25.0)])
def test_what_oscillates_is_found_at_high_frequencies(name, frequency):
    x = points(-1, 1)
    row = library_function(name)
    found = best_fits([library_function("x"), row], curve_of(row(frequency * x + 1), x))
    best = min(found, key=lambda own: own.error)
    assert best.function is row
    assert best.error < 1e-9


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_units_do_not_matter(unit):
    x = points() * unit
    found = best_fits([library_function("tanh")], curve_of(1e7 * torch.tanh(2 * x / unit), x))
    assert found[0].error < 1e-9
    assert found[0].constants[0] * unit == pytest.approx(2, rel=1e-6)


def test_rare_functions_are_tried_where_no_other_fits():
    x = points()
    rows = [library_function(name) for name in ("exp", "sin", "i0")]
    assert {own.function.name for own in best_fits(rows, curve_of(x.exp(), x))} == {"exp", "sin"}
    found = best_fits(rows, curve_of(torch.special.i0(2 * x), x))
    assert min(found, key=lambda own: own.error).function.name == "i0"


def test_functions_that_are_not_defined_there_are_left_out():
    assert not best_fits([library_function("zero")], curve_of(points(), points()))
