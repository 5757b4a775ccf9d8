"""Edges that are sums of functions."""

import pytest
import torch

from kansci import MultKAN, fit
from kansci.symbolic.projection import Curve
from kansci.symbolic.sums import suggest_sum, unfold_sums
from tests.helpers import assert_same

X = torch.linspace(-1.5, 1.5, 80, dtype=torch.float64)
SUMS = {
    "x**2, x**4": (X**2 / 2 + X**4 / 4, X),
    "sin, x**2": (X**2 - 2 * X.sin(), X),
}


def curve(x: torch.Tensor, y: torch.Tensor) -> Curve:
    return Curve(x, y, torch.full((len(x), 1), len(x) ** -0.5, dtype=torch.float64))


@pytest.mark.parametrize("names", SUMS)
def test_sums_are_found(names):
    y, x = SUMS[names]
    found = suggest_sum(curve(x, y))
    assert sorted(own.function for own in found.terms) == names.split(", ")
    assert found.error < 1e-9


def test_one_function_is_enough_where_it_is():
    found = suggest_sum(curve(X, (2 * X + 0.3).sin()))
    assert [own.function for own in found.terms] == ["sin"]


@pytest.mark.slow
def test_unfolded_edges_are_the_same_function():
    x = X[:, None]
    y = x**2 / 2 + x**4 / 4
    model = fit(MultKAN([1, 1], grid=5, k=5, domain=(-1.5, 1.5)), (x, y), normalize=False, progress=False).model
    unfolded = unfold_sums(model, x)
    assert_same(unfolded(x).detach(), y, 1e-8)
    assert all(layer.splines is None or not layer.splines.mask.any() for layer in unfolded.layers)
