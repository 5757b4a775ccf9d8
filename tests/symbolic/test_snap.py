"""Networks that become formulas edge by edge."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from kansci import Edge, MultKAN, constant_estimates, fit, fix_gauge, formula, kanpile, snap, solve
from kansci.solvers.statement import as_terms, problem_loss
from kansci.symbolic.snap import _Search, complexity

pytestmark = pytest.mark.usefixtures("unchecked")

FEW = ["x", "x**2", "exp", "sin"]
X = 2 * torch.rand(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1


def fitted(width, y, **options):
    return fit(MultKAN(width, **options), (X, y), progress=False).model, (X, y)


def test_edges_that_are_not_needed_become_zero():
    noise = 0.01 * torch.randn(300, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model, data = fitted([2, 1], 2 * X[:, :1] ** 2 + noise)
    found = snap(model, data, functions=FEW)
    assert {step.edge.source: step.function for step in found.steps} == {0: "x**2", 1: "zero"}


@pytest.mark.slow
def test_functions_of_functions_are_told_by_what_they_leave():
    """exp(x + y^2) is one curve of another: the outer one could be any."""
    model, data = fitted([2, 1, 1], (X[:, :1] + X[:, 1:] ** 2).exp())
    found = snap(model, data, functions=FEW)
    assert [step.function for step in found.steps] == ["exp", "x", "x**2"]
    assert problem_loss(found.model, data) < 1e-24


@pytest.mark.slow
def test_the_front_falls_with_complexity():
    model, data = fitted([2, 1], X[:, :1] ** 2 + (3 * X[:, 1:]).sin())
    front = snap(model, data, functions=FEW).front
    assert front
    assert all(a.complexity < b.complexity and a.loss > b.loss for a, b in pairwise(front))
    assert front[0].complexity == 0
    assert len(front) >= 4
    assert all(own.complexity == complexity(own.model) for own in front)
    assert all(abs(own.loss - problem_loss(own.model, data)) <= 1e-12 + 1e-6 * own.loss for own in front)


def test_standardized_targets_leave_no_constants_behind():
    model, data = fitted([2, 1], 100 * X[:, :1].exp() + 50 * X[:, 1:])
    text = str(formula(snap(model, data, functions=FEW).model, ["x", "y"])[0])
    assert "exp" in text
    assert text.count("*") <= 3


@pytest.mark.slow
def test_gauges_are_fixed_without_changing_the_function():
    data = (X, (X[:, :1] + X[:, 1:] ** 2).exp())
    model = solve(kanpile("1.1*exp(0.9*x + y**2 + 0.1)", ["x", "y"]), as_terms(data), progress=False).model
    fixed = fix_gauge(model, data)
    assert problem_loss(fixed, data) < 1e-20
    assert all(own.estimate.standard_error < 1 for own in constant_estimates(fixed, data))
    assert len(constant_estimates(fixed, data)) < len(constant_estimates(model, data))


def test_what_a_network_loses_without_an_edge_is_told_with_its_mean():
    """Without that, exp(1000) would be left of an edge near 1000."""
    inner = fit(MultKAN([1, 1]), (X[:, :1], 1000 + X[:, :1]), progress=False).model
    model = MultKAN.from_layers([*inner.layers, *kanpile("exp(1000 - x)", ["x"]).layers])
    y = (-X[:, :1]).exp()
    terms = as_terms((X[:, :1], y))
    assert problem_loss(model, terms) < 1e-9
    lost = _Search(terms, None, 1e-6, 5, False, 0.0).stake(model, Edge(0, 0, 0))
    assert lost == pytest.approx(float((y - (-X[:, :1].mean()).exp()).square().mean()), rel=1e-6)


def test_edges_are_snapped_where_asked():
    model, data = fitted([2, 1], X[:, :1] ** 2 + X[:, 1:].exp())
    found = snap(model, data, edges=[Edge(0, 0, 1)], functions=FEW)
    assert [step.edge for step in found.steps] == [Edge(0, 0, 1)]
    layer: Any = found.model.layers[0]
    assert layer.splines.mask[0].tolist() == [1, 0]
