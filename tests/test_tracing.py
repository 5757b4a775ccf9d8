import pytest
import torch
from hypothesis import given

from kansci.errors import DataError, DtypeError, ShapeError
from kansci.jets import Jet
from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.symbolic.kanpiler import auxiliary_features
from kansci.tracing import trace
from tests.helpers import assert_same
from tests.strategies import lans, models, points, seeds


@given(models(), seeds)
def test_edges_sum_to_subnodes_and_nodes_to_the_forward_pass(model, seed):
    x = points(model, 6, seed)
    found = trace(model, x)
    assert torch.equal(found.nodes[0], x)
    for layer, edges, subnodes, before, after in zip(
        model.layers, found.edges, found.subnodes, found.nodes, found.nodes[1:], strict=False
    ):
        assert edges.shape == (6, layer.config.out.n_subnodes, layer.config.n_in)
        assert_same(edges.sum(2), subnodes, 1e-15)
        mapped = layer.subnodes(Jet.lift(before, "value"))[0].value.detach()
        scale, bias = layer.maps
        assert_same(subnodes * scale + bias, mapped, scale=(edges * scale[:, None]).abs().max().item() + 1)
        assert_same(after, layer(before.T).T.detach())
    assert found.output is found.nodes[-1]
    assert_same(found.output, model(x).detach())


@given(lans(), seeds)
def test_edges_of_a_lan_are_multiples_of_the_functions_of_its_nodes(model, seed):
    x = points(model, 6, seed)
    found = trace(model, x)
    assert torch.equal(found.nodes[0], x)
    for number, layer in enumerate(model.layers):
        edges, subnodes, after = found.edges[number], found.subnodes[number], found.nodes[number + 1]
        assert edges.shape == (6, *layer.weight.shape)
        assert_same(edges.sum(2), subnodes, 1e-15)
        assert_same(after, (layer.node_scale * (subnodes + layer.bias) + layer.node_bias).detach(), 1e-14)
        ranks = torch.linalg.matrix_rank(edges.permute(2, 1, 0), rtol=1e-10)
        assert (ranks <= 1).all()
    assert_same(found.output, model(x).detach(), scale=found.nodes[-1].abs().max().item() + 1)
    assert not found.outside[0].any()


def test_outside_of_a_lan_is_the_share_of_points_outside_the_grids():
    model = LAN([1, 2, 1])
    x = torch.linspace(-3, 3, 301, dtype=torch.float64)[:, None]
    found = trace(model, x)
    splines = model.layers[1].splines
    assert splines is not None
    low, high = splines.domain
    assert_same(found.outside[1], ((found.nodes[1] < low) | (found.nodes[1] > high)).double().mean(0))
    assert (found.outside[1] > 0.3).all()


def test_perceptrons_have_no_grids():
    model = MLP([2, 3, 1])
    x = torch.linspace(-1, 1, 8, dtype=torch.float64).view(4, 2)
    found = trace(model, x)
    assert_same(found.output, model(x).detach())
    assert [own.tolist() for own in found.outside] == [[0, 0], [0, 0, 0]]
    assert repr(found) == "Trace(4 points, nodes 2 -> 3 -> 1)"


@given(models(), seeds)
def test_each_edge_is_a_function_of_its_source_alone(model, seed):
    x = points(model, 6, seed)
    moved = x.clone()
    moved[:, 0] += 0.1
    before, after = trace(model, x).edges[0], trace(model, moved).edges[0]
    assert torch.equal(before[:, :, 1:], after[:, :, 1:])


@given(models())
def test_masked_edges_are_zero(model):
    for layer, edges in zip(model.layers, trace(model, points(model)).edges, strict=True):
        dead = torch.ones(edges.shape[1:], dtype=torch.bool)
        for part in (layer.splines, layer.symbols):
            dead &= True if part is None else part.mask == 0
        if layer.symbols is not None and layer.splines is None:
            named = torch.tensor([[bool(name) for name in row] for row in layer.config.symbols])
            dead |= ~named
        assert (edges[:, dead] == 0).all()


def test_outside_is_the_share_of_points_outside_the_domain():
    model = MultKAN([3, 1, 1], grid=8, domain=[(0.0, 1.0), (-1.0, 1.0), (0.0, 1.0)], periodic=[2])
    x = torch.tensor([[0.0, 0, 0], [1.0, 2, 5], [0.5, -1, -5], [-0.1, -1.1, 0.5]], dtype=torch.float64)
    found = trace(model, x)
    assert found.outside[0].tolist() == [0.25, 0.5, 0.0]
    assert model.layers[1].splines is not None
    low, high = model.layers[1].splines.domain
    hidden = found.nodes[1]
    assert_same(found.outside[1], ((hidden < low) | (hidden > high)).double().mean(0))


def test_diverged_activations_count_as_outside():
    model = MultKAN([1, 1, 1])
    with torch.no_grad():
        model.layers[0].node_scale.fill_(torch.nan)
    assert trace(model, torch.zeros(4, 1).double()).outside[1].tolist() == [1.0]


def test_features_are_the_first_nodes():
    features = auxiliary_features({"r2": "x**2 + y**2"}, ["x", "y"])
    model = MultKAN([3, 1], features=features)
    x = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    found = trace(model, x)
    assert_same(found.nodes[0], torch.tensor([[0.6, 0.8, 1.0]], dtype=torch.float64))
    assert_same(found.output, model(x).detach())


def test_tracing_leaves_no_trace():
    model = MultKAN([2, 2, 1])
    before = set(vars(model)) | set(vars(model.layers[0]))
    found = trace(model, torch.zeros(3, 2).double())
    assert before == set(vars(model)) | set(vars(model.layers[0]))
    assert not found.output.requires_grad
    assert repr(found) == "Trace(3 points, nodes 2 -> 2 -> 1)"


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(3, 4).double(), ShapeError, r"\(n, 2\)"),
        (torch.zeros(2).double(), ShapeError, "one point a row"),
        (torch.zeros(3, 2), DtypeError, "torch.float64"),
        (torch.zeros(0, 2).double(), DataError, "at least one row"),
        (torch.tensor([[0, 0], [0, torch.nan], [torch.inf, 0]]).double(), DataError, "in 2 rows: 1, 2; drop"),
    ],
)
def test_bad_points_are_refused(x, error, message, unchecked):
    with pytest.raises(error, match=message):
        trace(MultKAN([2, 1]), x)
