import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.surgery.gather import Fresh, gather_nodes, swap
from kansci.symbolic.kanpiler import auxiliary_features
from kansci.tracing import trace
from tests.helpers import assert_kept, assert_same, unchanged
from tests.strategies import models, points, seeds

deep_models = models(st.integers(3, 9)).filter(lambda model: len(model.layers) > 1)


@st.composite
def shuffles(draw, model):
    """For each hidden column its nodes in another order, sums before products."""
    columns = {}
    for number, width in list(enumerate(model.config.columns))[1:-1]:
        sums = draw(st.permutations(range(width.n_sum)))
        columns[number] = [*sums, *draw(st.permutations(range(width.n_sum, width.n_nodes)))]
    return columns


@given(st.data(), deep_models, seeds)
def test_the_order_of_hidden_nodes_does_not_matter(data, model, seed):
    columns = data.draw(shuffles(model))
    with unchanged(model):
        shuffled = gather_nodes(model, columns)
    x = points(model, seed=seed)
    assert_kept(shuffled, model, x)
    before, after = trace(model, x), trace(shuffled, x)
    for number, nodes in columns.items():
        assert_same(after.nodes[number], before.nodes[number][:, nodes])
    places = {number: [nodes.index(node) for node in range(len(nodes))] for number, nodes in columns.items()}
    back = gather_nodes(shuffled, places)
    assert back.config == model.config
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in back.state_dict().items())
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    assert trained == {name: p.requires_grad for name, p in back.named_parameters()}


@given(st.data(), models(), seeds)
def test_inputs_and_outputs_are_gathered_like_columns(data, model, seed):
    inputs = data.draw(st.permutations(range(model.n_inputs)))
    last = model.config.columns[-1]
    outputs = [*range(last.n_sum), *data.draw(st.permutations(range(last.n_sum, last.n_nodes)))]
    gathered = gather_nodes(model, {0: inputs, len(model.layers): outputs})
    x = points(model, seed=seed)
    assert_same(gathered(x[:, inputs]).detach(), model(x).detach()[:, outputs])


@given(deep_models, seeds)
def test_a_copied_node_counts_twice(model, seed):
    last = model.layers[-1]
    sources = last.config.n_in
    width = model.config.columns[-2]
    twice = [node for node in range(width.n_nodes) for _ in range(2)]
    doubled = gather_nodes(model, {len(model.layers) - 1: twice})
    x = points(model, seed=seed)
    before, after = trace(model, x), trace(doubled, x)
    assert doubled.layers[-1].config.n_in == 2 * sources
    assert_same(after.subnodes[-1], 2 * before.subnodes[-1])


def test_left_out_nodes_take_their_edges_with_them():
    model = MultKAN([2, [2, 2], 1], seed=3)
    smaller = gather_nodes(model, {1: [1, 3]})
    x = points(model)
    full = trace(model, x)
    assert_same(smaller(x).detach()[:, 0], full.edges[1][:, 0, [1, 3]].sum(1))


def test_new_nodes_are_drawn_as_in_a_new_network_and_leave_the_function():
    model = MultKAN([2, [2, 1], 1])
    wider = gather_nodes(model, {1: [0, 1, Fresh(), 2, Fresh(3)]}, seed=5)
    assert_kept(wider, model, points(model))
    splines = wider.layers[0].splines
    assert splines is not None
    assert splines.coef.shape == (8, 2, 8)
    assert 0.03 < splines.coef[[2, 5, 6, 7]].std() < 0.3
    other = gather_nodes(model, {1: [0, 1, Fresh(), 2, Fresh(3)]}, seed=6).layers[0].splines
    assert other is not None
    assert not torch.equal(other.coef, splines.coef)


def test_periodic_inputs_take_their_period_along():
    model = MultKAN([3, 2, 1], grid=8, periodic=[2])
    assert gather_nodes(model, {0: [2, 1]}).config.layers[0].periodic == (0,)


def test_swapping_nodes():
    model = MultKAN([2, [2, 2], 2], seed=1)
    x = points(model)
    assert_kept(swap(model, 1, 0, 1), model, x)
    assert_kept(swap(model, 1, 2, 3), model, x)
    assert_same(swap(model, 2, 0, 1)(x), model(x).flip(1))
    assert_same(swap(model, 0, 0, 1)(x), model(x.flip(1)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({3: [0]}, r"columns from 0, the inputs, to 2, the outputs, got \[3\]"),
        ({1: [0, 2]}, "nodes from 0 to 1 of column 1, got 2"),
        ({1: [1, 0]}, r"sums before products in column 1, got \[1, 0\]"),
        ({1: []}, "at least one node"),
        ({1: [0, Fresh(0)]}, "an arity of at least 1, a sum, got 0"),
    ],
)
def test_what_cannot_be_gathered_is_refused(columns, message):
    with pytest.raises(ConfigError, match=message):
        gather_nodes(MultKAN([2, [1, 1], 1]), columns)


def test_swapping_a_sum_with_a_product_is_refused():
    with pytest.raises(ConfigError, match="sums before products"):
        swap(MultKAN([2, [1, 1], 1]), 1, 0, 1)
    with pytest.raises(ConfigError, match=r"got \[7\]"):
        swap(MultKAN([2, [1, 1], 1]), 7, 0, 1)
    with pytest.raises(ConfigError, match="got -1"):
        swap(MultKAN([2, [1, 1], 1]), 1, 0, -1)


def test_inputs_with_features_stay():
    model = MultKAN([3, 2, 1], features=auxiliary_features("x*y", ["x", "y"]))
    x = points(model)
    assert_kept(swap(model, 1, 0, 1), model, x)
    with pytest.raises(ConfigError, match="auxiliary features"):
        swap(model, 0, 0, 1)
