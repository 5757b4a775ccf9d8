"""Formulas that say less and less."""

from itertools import pairwise

import pytest
import torch

from kansci import kanpile
from kansci.solvers.statement import as_terms, problem_loss
from kansci.symbolic.simpler import simpler_networks
from kansci.symbolic.snap import complexity

pytestmark = pytest.mark.usefixtures("unchecked")

X = 2 * torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1


@pytest.mark.parametrize("text", ["exp(sin(3*x) + y**2)", "x*y", "3*x + y"])
def test_each_is_simpler_and_the_last_is_the_mean(text):
    model = kanpile(text, ["x", "y"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    y = model(X).detach()
    terms = as_terms((X, y))
    found = list(simpler_networks(model, terms, steps=5))
    sizes = [complexity(own) for own in (model, *found)]
    assert all(a > b for a, b in pairwise(sizes))
    assert sizes[-1] == 0
    assert problem_loss(found[-1], terms) == pytest.approx(float(y.var(correction=0)), rel=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_matters_least_goes_first():
    terms = as_terms((X, X[:, :1].exp() + 0.01 * X[:, 1:].exp()))
    first = next(simpler_networks(kanpile("exp(x) + 0.01*exp(y)", ["x", "y"]), terms, steps=5))
    assert first.layers[0].config.symbols == (("exp", "x"),)
