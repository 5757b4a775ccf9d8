import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.config import Width
from kansci.errors import ConfigError, DomainError
from kansci.nn.multkan import MultKAN
from kansci.surgery.gather import gather_nodes
from kansci.surgery.grow import deepen, widen
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from kansci.tracing import trace
from tests.helpers import assert_kept, assert_same, trained_columns, unchanged
from tests.strategies import models, points, seeds

every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


@pytest.mark.parametrize("dtype", [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)])
def test_wider_networks_are_the_same_function(dtype):
    @given(st.data(), models(dtype=dtype).filter(lambda model: len(model.layers) > 1), seeds)
    def check(data, model, seed):
        layer = data.draw(st.integers(1, len(model.layers) - 1))
        sums = data.draw(st.integers(0, 2))
        arities = data.draw(st.lists(st.integers(2, 3), min_size=sums == 0, max_size=2))
        with unchanged(model):
            wider = widen(model, layer, sums, arities, seed=seed)
        old = model.config.columns[layer]
        assert wider.config.columns[layer] == Width(old.n_sum + sums, (*old.arities, *arities))
        x = points(model, seed=seed)
        assert_kept(wider, model, x)
        kept = [*range(old.n_sum), *range(old.n_sum + sums, old.n_nodes + sums)]
        assert_kept(gather_nodes(wider, {layer: kept}), model, x)
        assert_new_edges_can_be_trained(wider, layer, kept, x)

    check()


def assert_new_edges_can_be_trained(wider, layer, kept, x):
    """Wherever a constant added to their target would be seen in the outputs."""
    wider.layers[layer].subnode_bias.requires_grad_(True)
    columns = trained_columns(wider, x)
    seen = columns[f"layers.{layer}.subnode_bias"] > 1e-9
    added = [node for node in range(wider.config.columns[layer].n_nodes) if node not in kept]
    assert (columns[f"layers.{layer}.splines.coef"][:, added].amax(2)[seen] > 0).all()


def test_wide_networks_learn_with_their_new_nodes():
    model = MultKAN([2, 1, 1], seed=1)
    wider = widen(model, 1, sums=1, arities=[2])
    x = points(model, 50)
    outside = trace(wider, x).outside
    assert max(share.max().item() for share in outside) < 0.3
    assert wider.layers[1].splines is not None
    low, high = wider.layers[1].splines.domain
    nodes = trace(wider, points(model, 500, stretch=1.0)).nodes[1]
    assert (low < nodes.amin(0)).all()
    assert (nodes.amax(0) < high).all()
    assert ((high - low) < 2 * (nodes.amax(0) - nodes.amin(0))).all()


def test_formulas_get_spline_edges_for_their_new_nodes():
    model = kanpile("exp(sin(x)*y)", ["x", "y"], grid=4, k=5)
    wider = widen(model, 1, sums=2, arities=[3], domain=[(0, 3), (-1, 1)])
    x = torch.rand(20, 2, dtype=torch.float64)
    assert torch.equal(wider(x), model(x))
    assert_kept(wider, model, x)
    assert wider.domain[1].tolist() == [3, 1]
    first = wider.layers[0].splines
    assert first is not None
    assert (first.config.grid, first.config.k) == (4, 5)
    assert (first.mask != 0).any(1).tolist() == [True, True, False, False, True, True, True]
    assert wider.layers[0].config.symbols[0] == ("", "")


def test_features_are_kept():
    model = MultKAN([3, 2, 1], features=auxiliary_features("x*y", ["x", "y"]))
    x = points(model)
    for larger in (widen(model, 1, 1), deepen(model, 1), deepen(model, 2)):
        assert_kept(larger, model, x)
    assert deepen(model, 1).domain[0].tolist() == [-1, -1]


@every_dtype
def test_deeper_networks_are_the_same_function(dtype):
    @given(st.data(), models(dtype=dtype), seeds)
    def check(data, model, seed):
        layer = data.draw(st.integers(1, len(model.layers) + 1))
        with unchanged(model):
            deeper = deepen(model, layer)
        columns = list(model.config.columns)
        columns.insert(layer, Width(columns[layer - 1].n_nodes))
        assert deeper.config.columns == tuple(columns)
        x = points(model, seed=seed)
        assert_kept(deeper, model, x)
        for end, own in zip(deeper.domain, model.domain, strict=True):
            assert torch.equal(end, own)
        nodes = trace(deeper, x).nodes
        assert_same(nodes[layer], nodes[layer - 1])

    check()


def test_copies_of_nodes_can_learn():
    model = MultKAN([2, 3, 1])
    columns = trained_columns(deepen(model, 2), points(model, 50, stretch=1.0))["layers.1.splines.coef"]
    assert torch.equal(columns.amax(2) > 0, torch.eye(3, dtype=torch.bool))
    assert deepen(model, 3).layers[2].splines is None


@pytest.mark.parametrize("layer", [0, 2, -1])
def test_inputs_and_outputs_cannot_be_widened(layer):
    with pytest.raises(ConfigError, match=rf"hidden column, from 1 to 1, got {layer}"):
        widen(MultKAN([2, 3, 1]), layer, 1)


def test_networks_without_hidden_columns_cannot_be_widened():
    with pytest.raises(ConfigError, match="expected a model with a hidden column, got none; use deepen first"):
        widen(MultKAN([2, 1]), 1, 1)


@pytest.mark.parametrize("layer", [0, 4])
def test_places_for_new_columns(layer):
    with pytest.raises(ConfigError, match=rf"from 1, after the inputs, to 3, after the outputs, got {layer}"):
        deepen(MultKAN([2, 3, 1]), layer)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "at least one node"),
        ({"arities": [1]}, ConfigError, "products of two or more"),
        ({"sums": 1, "domain": (0, 0)}, ConfigError, "low < high"),
        ({"sums": 1, "domain": (-1, 1)}, DomainError, "finite on the domain, got .*; change the domain"),
    ],
)
def test_what_cannot_be_added_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        widen(kanpile("sin(log(x))", ["x"]), 1, **options)


def test_a_domain_is_given_once():
    with pytest.raises(ConfigError, match=r"expected no domain for a model that has one, \[\[-1.0, 1.0\]\], got"):
        widen(MultKAN([1, 2, 1]), 1, 1, domain=(0, 2))
