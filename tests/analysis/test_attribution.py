import math

import numpy as np
import pytest
import torch
from hypothesis import given

from kansci.analysis.attribution import attribution_scores, feature_interactions
from kansci.config import Edge
from kansci.errors import ConfigError, ShapeError
from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.surgery.symbolize import set_symbol
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from kansci.tracing import trace
from tests.helpers import assert_same, unchanged
from tests.strategies import lans, models, points, seeds

CORNERS = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * 3)


def linear(weights):
    """Layers of edges w x; one of weight 0 is there."""
    width = [len(weights[0][0]), *map(len, weights)]
    model = MultKAN(width)
    for layer, rows in enumerate(weights):
        for target, row in enumerate(rows):
            for source, weight in enumerate(row):
                model = set_symbol(model, Edge(layer, target, source), "x", (1.0, 0.0, weight, 0.0))
    return model


def test_scores_of_sums_are_ratios_of_standard_deviations():
    scores = attribution_scores(linear([[[3.0, 4.0, 0.0]]]), CORNERS)
    assert_same(scores.edges[0], torch.tensor([[0.6, 0.8, 0.0]], dtype=torch.float64))
    assert_same(scores.inputs, torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64))
    assert_same(scores.shares.inputs, torch.tensor([0.36, 0.64, 0.0], dtype=torch.float64))


def test_a_large_edge_into_a_dead_node_counts_nothing():
    scores = attribution_scores(linear([[[1.0, 0.0, 0.0], [0.0, 1e6, 1.0]], [[1.0, 0.0]]]), CORNERS)
    assert_same(scores.inputs, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    assert_same(scores.nodes[1], torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert_same(scores.edges[0][1], torch.zeros(3, dtype=torch.float64))


def test_edges_that_cancel_count_nothing():
    scores = attribution_scores(linear([[[1.0, 0.0, 0.0], [0.0, 0.1, 0.1]], [[1.0, 3.0]]]), CORNERS * 0 + 1)
    for each in (*scores.nodes[:2], *scores.subnodes, *scores.edges):
        assert not each.any()
    x = CORNERS.clone()
    x[:, 2] = -x[:, 1]
    scores = attribution_scores(linear([[[1.0, 0.0, 0.0], [0.0, 0.1, 0.1]], [[1.0, 3.0]]]), x)
    assert_same(scores.inputs, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))


def test_two_layers_by_hand():
    scores = attribution_scores(linear([[[3.0, 4.0, 0.0], [0.0, 0.0, 12.0]], [[1.0, 1.0]]]), CORNERS)
    first, second = 5 / 13, 12 / 13
    assert_same(scores.nodes[1], torch.tensor([first, second], dtype=torch.float64))
    assert_same(scores.inputs, torch.tensor([first * 0.6, first * 0.8, second], dtype=torch.float64))
    assert_same(scores.shares.inputs, torch.tensor([9.0, 16.0, 144.0], dtype=torch.float64) / 169)


def test_factors_have_the_score_of_their_product_and_parts_of_its_variance():
    model = kanpile(["x*y*z", "z"], ["x", "y", "z"])
    scores = attribution_scores(model, CORNERS)
    assert_same(scores.per_output.inputs, torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64))
    assert_same(scores.inputs, torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64))
    assert_same(scores.effects_per_output.inputs, scores.per_output.inputs)
    assert_same(scores.shares_per_output.inputs[0], torch.full((3,), 1 / 3, dtype=torch.float64))


def test_the_variance_of_a_product_goes_to_the_factor_that_varies():
    x = CORNERS[:, :2] * torch.tensor([1.0, 1e-3], dtype=torch.float64) + torch.tensor([0.0, 5.0], dtype=torch.float64)
    scores = attribution_scores(kanpile("x*y", ["x", "y"]), x)
    effects, shares = scores.effects_per_output.inputs[0], scores.shares.inputs
    assert_same(scores.inputs, torch.ones(2, dtype=torch.float64))
    assert 0.9 < effects[0] < 1.1
    assert effects[1] < 1e-3
    assert shares[0] > 1 - 1e-6
    assert_same(shares.sum(), torch.ones((), dtype=torch.float64))


@given(models(), seeds)
def test_shares_of_each_column_sum_to_one(model, seed):
    x = points(model, 40, seed)
    with unchanged(model):
        scores = attribution_scores(model, x)
    shares = scores.shares_per_output
    expected = shares.nodes[-1].sum(1)
    varies = trace(model, x).output.std(0, correction=0) > 1e-9
    assert ((expected == 1) | ~varies).all()
    for each in shares.nodes[:-1]:
        assert_same(each.sum(1)[varies], expected[varies], 1e-6)
    for each in (scores.per_output, shares):
        assert all(values.isfinite().all() for values in (*each.nodes, *each.subnodes, *each.edges))


@given(models(), seeds)
def test_scores_follow_the_formula(model, seed):
    x = points(model, 40, seed)
    found, scores = trace(model, x), attribution_scores(model, x).per_output
    for number, layer in enumerate(model.layers):
        width = layer.config.out
        for node in range(width.n_nodes):
            for subnode in width.subnodes(node):
                above = scores.nodes[number + 1][:, node]
                if found.nodes[number + 1][:, node].std() < 1e-9 or found.subnodes[number][:, subnode].std() < 1e-9:
                    continue
                assert torch.equal(scores.subnodes[number][:, subnode], above)
                ratio = found.edges[number][:, subnode].std(0) / found.subnodes[number][:, subnode].std()
                assert_same(scores.edges[number][:, subnode], above[:, None] * ratio)
        assert_same(scores.nodes[number], scores.edges[number].sum(1))


@given(lans(), seeds)
def test_networks_with_functions_on_nodes_have_scores_too(model, seed):
    scores = attribution_scores(model, points(model, 30, seed))
    assert scores.inputs.shape == (model.n_inputs,)
    assert all(each.isfinite().all() for each in scores.edges)


def test_dense_networks():
    model = MLP([3, 4, 1])
    with torch.no_grad():
        model.layers[0].weight[:, 1] = 0
    scores = attribution_scores(model, CORNERS)
    assert scores.inputs[1] == 0
    assert LAN([3, 4, 1]).n_inputs == len(attribution_scores(LAN([3, 4, 1]), CORNERS).inputs)


def test_features_have_scores_beside_raw_inputs():
    features = auxiliary_features("x*y", ["x", "y"])
    model = MultKAN([3, 1], features=features)
    for source, weight in enumerate((0.0, 3.0, 4.0)):
        model = set_symbol(model, Edge(0, 0, source), "x", (1.0, 0.0, weight, 0.0))
    scores = attribution_scores(model, CORNERS[:, :2])
    assert_same(scores.inputs, torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64))


def test_arrays_are_points():
    model = MultKAN([3, 2, 1])
    ours, theirs = attribution_scores(model, CORNERS.numpy()), attribution_scores(model, CORNERS)
    assert torch.equal(ours.inputs, theirs.inputs)
    single = MultKAN([3, 2, 1], dtype=torch.float32)
    assert attribution_scores(single, CORNERS.numpy()).inputs.dtype == torch.float32


def test_any_column_may_be_looked_at_from():
    model = linear([[[3.0, 4.0, 0.0], [0.0, 0.0, 12.0]], [[1.0, 0.0]]])
    scores = attribution_scores(model, CORNERS, column=1)
    assert_same(scores.per_output.inputs[1], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    assert (len(scores.nodes), len(scores.edges)) == (2, 1)
    with pytest.raises(ConfigError, match="from 0, the inputs, to 2, the outputs, got 3"):
        attribution_scores(model, CORNERS, column=3)
    with pytest.raises(ShapeError):
        attribution_scores(model, CORNERS[:, :2])


def test_which_inputs_nodes_combine():
    model = linear([[[3.0, 4.0, 0.0], [1.0, 1.0, 1e-4], [0.0, 0.0, 12.0], [0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]])
    assert feature_interactions(model, CORNERS) == {(0, 1): 2, (2,): 1}
    assert feature_interactions(model, CORNERS, threshold=1e-6) == {(0, 1): 1, (0, 1, 2): 1, (2,): 1}
    assert feature_interactions(model, CORNERS, 2) == {(0, 1, 2): 1}


def test_reports_can_be_read():
    text = repr(attribution_scores(linear([[[3.0, 4.0, 0.0]]]), CORNERS))
    assert text == "Attribution(x2 0.8, x1 0.6, x3 0; shares x2 0.64, x1 0.36, x3 0)"
    wide = attribution_scores(MultKAN([20, 1]), np.random.default_rng(0).uniform(-1, 1, (50, 20)))
    assert repr(wide).count("x") == 16
    assert math.isclose(wide.shares.inputs.sum().item(), 1)
