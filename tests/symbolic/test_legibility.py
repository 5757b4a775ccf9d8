"""Whether networks of splines can be read."""

import pytest
import torch

from kansci import MultKAN, fit, kanpile, thaw
from kansci.solvers.statement import problem_loss
from kansci.symbolic.legibility import read_network

pytestmark = pytest.mark.usefixtures("unchecked")

X = 2 * torch.rand(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1


def test_networks_are_what_their_edges_look_like():
    y = (X[:, :1] + X[:, 1:] ** 2).exp()
    model = thaw(kanpile("exp(x + y**2)", ["x", "y"], grid=20), X)
    reading = read_network(model, X)
    assert reading.misfit < 1e-5
    assert problem_loss(reading.formula, (X, y)) < 1e-8
    assert all(layer.splines is None or not layer.splines.mask.any() for layer in reading.formula.layers)


@pytest.mark.slow
def test_edges_that_look_like_nothing_are_told():
    kinks = (5 * X[:, :1]).abs().remainder(1.0)
    model = fit(MultKAN([2, 1], grid=20), (X, kinks + X[:, 1:]), progress=False).model
    assert read_network(model, X).misfit > 0.1


@pytest.mark.slow
def test_of_edges_in_a_row_only_what_they_do_together_counts():
    """A bent line, and then what unbends it before it takes the exponential."""
    x = X[:, :1]
    first = fit(MultKAN([1, 1], grid=20), (x, x + 0.3 * (7 * x).sin() / 7), progress=False).model
    inner = first(x).detach()
    second = fit(MultKAN([1, 1], grid=20, domain=[(-1.1, 1.1)]), (inner, x.exp()), progress=False).model
    model = MultKAN.from_layers([*first.layers, *second.layers])
    assert read_network(first, x).misfit > 1e-2
    assert read_network(model, x).misfit < 2e-3
