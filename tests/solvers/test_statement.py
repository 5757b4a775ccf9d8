"""Data and residual terms in one form, and what models make of them."""

import pytest
import torch

from kansci import Dataset, MultKAN, Residual, kanpile
from kansci.errors import ConfigError
from kansci.solvers.statement import all_points, as_terms, evaluated, output_size, problem_loss, reach_of

X = torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
Y = X[:, :1]


def test_data_become_residuals():
    weight = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    model = kanpile("x + 2", ["x", "y"])
    assert problem_loss(model, (X, Y)) == 4
    assert problem_loss(model, Dataset(X, Y, weight=weight)) == 4
    assert as_terms((X, Y), noise=0.1)[0].noise == 0.1


def test_terms_stay_what_they_are():
    term = Residual(lambda jet, x: jet.value, X)
    assert as_terms(term) == as_terms([term]) == [term]
    with pytest.raises(ConfigError, match="noise= of each residual"):
        as_terms(term, noise=0.1)


def test_models_are_looked_at_as_they_are():
    system, at = evaluated(MultKAN([2, 1], domain=[(0, 2), (0, 2)]), as_terms((X, Y)))
    assert at.loss == pytest.approx(float(at.flat.square().sum()))
    assert system.size == len(at.vector)
    assert output_size(kanpile("3*x", ["x", "y"]), as_terms((X, Y))) == 6


def test_points_and_their_reach():
    terms = [*as_terms((X, Y)), Residual(lambda jet, x: jet.value, X - 1)]
    assert all_points(terms).shape == (6, 2)
    low, high = reach_of(terms).T
    assert (low < torch.tensor([-1.0, 0.0])).all()
    assert (high > torch.tensor([2.0, 1.0])).all()
    assert torch.allclose(high - low, torch.tensor([3.0, 1.0], dtype=torch.float64), rtol=1e-5)
