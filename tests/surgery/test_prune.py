import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.checkpoint import load, save
from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.surgery.gather import gather_nodes
from kansci.surgery.prune import prune
from kansci.surgery.selection import present_edges
from kansci.surgery.symbolize import set_symbol
from kansci.symbolic.formula import formula
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from kansci.tracing import trace
from tests.helpers import assert_same, unchanged
from tests.strategies import models, points, seeds

X = 2 * torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1


def edge(model, layer, target, source, function="x", scale=1.0, bias=0.0):
    return set_symbol(model, Edge(layer, target, source), function, (1.0, 0.0, scale, bias))


def edges(model):
    return sum(int(present_edges(layer).sum()) for layer in model.layers)


@given(models(), seeds, st.booleans())
def test_what_does_not_change_the_outputs_goes_without_changing_them(model, seed, inputs):
    x = points(model, 40, seed)
    before = model(x).detach()
    with unchanged(model):
        try:
            pruned = prune(model, x, node=0.0, edge=0.0, inputs=inputs)
        except ConfigError:
            assert (before.std(0) < 1e-12).any()
            return
    assert_same(pruned(x[:, pruned.inputs]), before, 1e-12)
    assert edges(pruned) <= edges(model)
    for layer in pruned.layers[:-1]:
        assert len(layer.node_scale)
    for column in range(1, len(pruned.layers)):
        assert present_edges(pruned.layers[column]).any(0).all()


@given(models(), seeds)
def test_means_of_cut_edges_stay(model, seed):
    x = points(model, 40, seed)
    single = MultKAN.from_layers([model.layers[0]])
    scores = trace(single, x).edges[0].std(0, correction=0)
    try:
        pruned = prune(single, x, node=0.0, edge=float(scores.median()))
    except ConfigError:
        return
    n_sum = single.config.columns[1].n_sum
    assert_same(pruned(x).mean(0)[:n_sum], single(x).mean(0)[:n_sum], 1e-10)


def test_thresholds_are_parts_of_the_outputs_deviation():
    model = kanpile("1000*x + 20*y + 50*z + 3", ["x", "y", "z"])
    x = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * 3)
    assert edges(prune(model, x)) == 2
    assert edges(prune(model, x, edge=0.01)) == 3
    assert prune(model, x, inputs=True).inputs == (0, 2)


def test_a_part_that_one_of_several_outputs_needs_stays():
    names = ["x", "y", "z"]
    model = kanpile(["x", "sin(y)", "exp(z)*1e-6"], names)
    pruned = prune(model, X, node=0.5, edge=0.5)
    assert_same(pruned(X), model(X))


def test_constant_factors_of_products_are_kept():
    model = kanpile("(2 + 1e-9*x)*y*exp(z)", ["x", "y", "z"])
    pruned = prune(model, X, inputs=True)
    assert pruned.inputs == (1, 2)
    assert_same(pruned(X[:, 1:]), model(X), 1e-8)
    twice = kanpile("(2 + 1e-9*x)*sin(y) + z", ["x", "y", "z"])
    pruned = prune(twice, X)
    assert not any(width.arities for width in pruned.config.columns)
    assert_same(pruned(X), twice(X), 1e-8)


def test_outputs_keep_their_order_and_their_products():
    model = MultKAN([2, [0, 2]])
    for target, (source, function) in enumerate([(0, "x"), (1, "exp"), (0, "sin"), (0, "x")]):
        model = edge(model, 0, target, source, function)
        model = edge(model, 0, target, 1 - source, "x", 1e-9, 0.25)
    x = X[:, :2]
    pruned = prune(model, x)
    assert pruned.config.columns == model.config.columns
    assert_same(pruned(x), model(x), 1e-7)
    assert edges(pruned) == 4


def test_a_constant_output_stays_beside_others():
    model = kanpile(["x", "y"], ["x", "y"])
    x = X[:, :2].clone()
    x[:, 1] = 0.3
    pruned = prune(model, x, inputs=True)
    assert pruned.inputs == (0,)
    assert_same(pruned(x[:, :1]), model(x))


def test_cutting_the_network_in_two_is_refused():
    model = MultKAN([3, 4, 1])
    with pytest.raises(ConfigError, match=r"nothing left of outputs \[0\]; lower the thresholds"):
        prune(model, X, edge=1e6)
    with pytest.raises(ConfigError, match="lower the thresholds"):
        prune(model, X, node=1e6)
    with pytest.raises(ConfigError, match="lower the thresholds"):
        prune(model, X, by="magnitude", node=1e6)
    with pytest.raises(ConfigError, match="depend on inputs"):
        prune(model, X * 0, node=0.0, edge=0.0)


def test_nodes_by_magnitude_need_large_edges_on_both_sides():
    model = MultKAN([1, 4, 1])
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    for node, (into, out) in enumerate([(1.0, 1.0), (0.011, 2.0), (0.009, 2.0), (5.0, 0.009)]):
        model = edge(edge(model, 0, node, 0, scale=into), 1, 0, node, scale=out / max(into, 1.0))
    model.layers[-1].node_scale.fill_(7.0)
    kept = prune(model, x, by="magnitude", node=1e-2)
    sizes = trace(model, x).edges[1].abs().mean(0)[0] * 7 / model(x).std(correction=0)
    outgoing = (sizes > 1e-2).tolist()
    incoming = [True, True, False, True]
    assert kept.config.columns[1].n_sum == sum(a and b for a, b in zip(outgoing, incoming, strict=True))


def test_the_units_of_outputs_do_not_matter():
    model = MultKAN([3, [4, 2], 2], seed=4)
    scaled = gather_nodes(model, {})
    with torch.no_grad():
        scaled.layers[-1].node_scale.mul_(1e6)
        scaled.layers[-1].node_bias.add_(1e3)
    for by in ("attribution", "magnitude"):
        ours, theirs = (prune(each, X, by=by, node=0.1, edge=0.2).config for each in (model, scaled))
        assert ours == theirs


def test_inputs_that_remain_are_known_after_further_surgery(tmp_path):
    names = ["a", "b", "c", "d", "e"]
    model = kanpile("sin(b) + d*e + 1e-5*c", names)
    x = 2 * torch.rand(100, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 1
    pruned = prune(model, x, inputs=True)
    assert pruned.inputs == (1, 3, 4)
    assert_same(pruned(x[:, pruned.inputs]), model(x), 1e-4)
    again = prune(pruned, x[:, pruned.inputs], inputs=True, node=0.6)
    assert set(again.inputs) < {1, 3, 4}
    save(tmp_path / "model.h5", pruned)
    assert load(tmp_path / "model.h5").inputs == (1, 3, 4)
    assert [str(s) for s in sorted(formula(pruned)[0].free_symbols, key=str)] == ["x2", "x4", "x5"]
    whole = prune(model, x)
    assert (whole.n_inputs, whole.inputs) == (5, (0, 1, 2, 3, 4))


def test_models_with_features_lose_nodes_and_edges_only():
    features = auxiliary_features("x*y", ["x", "y"])
    model = MultKAN([3, 4, 1], features=features, seed=2)
    x = X[:, :2]
    pruned = prune(model, x, node=0.3, edge=0.1)
    assert pruned.n_inputs == 2
    assert edges(pruned) < edges(model)
    with pytest.raises(ConfigError, match="auxiliary features"):
        prune(model, x, inputs=True)


def test_bad_options_are_refused():
    model = MultKAN([3, 1])
    with pytest.raises(ConfigError, match="'attribution' or 'magnitude', got 'size'"):
        prune(model, X, by="size")
    with pytest.raises(ConfigError, match="not negative"):
        prune(model, X, node=-1.0)
    with pytest.raises(ConfigError, match="not negative"):
        prune(model, X, edge=float("nan"))
    assert prune(model, np.asarray(X)).n_inputs == 3
