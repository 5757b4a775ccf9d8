"""Affine maps of nodes that are set, and that become part of edges."""

import pytest
import torch

from kansci import MultKAN, fit, formula, kanpile, perturb, trace
from kansci.surgery.fold import fold_affine, standardize_nodes
from tests.helpers import assert_same

X = torch.rand(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
MODELS = {
    "splines": lambda: MultKAN([2, [3, 2], [2, [3]], 1], seed=1),
    "symbols": lambda: kanpile("exp(sin(3*x)*y + 1)*x - 2", ["x", "y"]),
    "both": lambda: perturb(kanpile("sin(x + y**2)", ["x", "y"]), scale=0.1),
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_function_stays(kind):
    model = MODELS[kind]()
    standardized = standardize_nodes(model, X)
    for changed in (standardized, fold_affine(standardized), fold_affine(model)):
        assert_same(changed(X), model(X), 1e-12)


def test_hidden_nodes_are_of_the_order_of_one():
    for nodes in trace(standardize_nodes(MODELS["splines"](), X), X).nodes[1:-1]:
        assert_same(nodes.std(0), torch.ones(nodes.shape[1], dtype=torch.float64), 1e-12)


@pytest.mark.slow
def test_standardized_data_leave_no_trace_in_formulas():
    data = (X[:, :1], 3 * X[:, :1].exp() - 2)
    model = fit(kanpile("exp(x)", ["x"]), data, progress=False).model
    folded = fold_affine(model)
    assert folded.layers[-1].node_scale.item() == 1
    assert folded.layers[-1].node_bias.item() == 0
    assert_same(folded(X[:, :1]), model(X[:, :1]), 1e-13)
    assert str(formula(folded, ["x"])[0]).count("exp") == 1


def test_constant_nodes_stay():
    model = kanpile("2 + 0*x + y", ["x", "y"])
    assert_same(standardize_nodes(model, X)(X), model(X), 1e-13)
