import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kansci.config import LayerConfig, Width
from kansci.jets import LEVELS, Jet, jet
from kansci.nn.layer import AXES, KANLayer
from tests.helpers import assert_same, assert_same_jet
from tests.strategies import jet_of, models, points

every_level = pytest.mark.parametrize("needs", LEVELS)


def make(n_in: int, out: Width, **options) -> KANLayer:
    return KANLayer(LayerConfig(n_in, out, **options), torch.Generator().manual_seed(0))


def identities(n_in: int, out: Width) -> KANLayer:
    """Subnode s passes on source s."""
    rows = tuple(tuple("x" if source == s else "" for source in range(n_in)) for s in range(out.n_subnodes))
    return make(n_in, out, splines=False, symbols=rows)


def samples(n_in: int, n: int = 6) -> Tensor:
    """Points (n, in); layers take their transpose."""
    return torch.rand(n, n_in, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5


@pytest.mark.parametrize("out", [Width(4), Width(2, (2, 3))])
def test_axes_describe_every_tensor(out):
    layer = make(3, out, symbols=(("sin", "", "x"),) * out.n_subnodes)
    state = layer.state_dict()
    assert set(state) == set(AXES)
    sizes = {"in": 3, "subnode": out.n_subnodes, "node": out.n_nodes}
    for name, axes in AXES.items():
        assert state[name].ndim == len(axes)
        for size, axis in zip(state[name].shape, axes, strict=True):
            assert axis is None or size == sizes[axis]


def test_axes_of_parts_that_are_absent_are_absent():
    assert "symbols.affine" not in make(2, Width(1)).state_dict()
    assert "splines.coef" not in identities(2, Width(2)).state_dict()


@pytest.mark.parametrize("arity", [2, 3, 4])
def test_products_multiply_their_own_subnodes(arity):
    layer, x = identities(3 + 2 * arity, Width(3, (arity, arity))), samples(3 + 2 * arity)
    expected = torch.cat(
        [x[:, :3], x[:, 3 : 3 + arity].prod(1, keepdim=True), x[:, 3 + arity :].prod(1, keepdim=True)], 1
    )
    assert_same(layer(x.T), expected.T)


def test_affine_maps_act_before_and_after_the_product():
    layer, x = identities(3, Width(1, (2,))), samples(3)
    with torch.no_grad():
        layer.subnode_scale.copy_(torch.tensor([2, 3, 4]))
        layer.subnode_bias.copy_(torch.tensor([5, 6, 7]))
        layer.node_scale.copy_(torch.tensor([8, 9]))
        layer.node_bias.copy_(torch.tensor([10, 11]))
    a, b, c = x.T
    expected = torch.stack([8 * (2 * a + 5) + 10, 9 * (3 * b + 6) * (4 * c + 7) + 11])
    assert_same(layer(x.T), expected)


@every_level
def test_a_factor_of_zero_does_no_harm(needs):
    """d(abc) = bc da + ...: where two factors vanish, nothing may be divided by them."""
    x = torch.tensor([[0.0, 0.0, 3.0, 2.0], [0.0, 5.0, 0.0, 2.0]], dtype=torch.float64)
    layer = identities(4, Width(0, (4,)))
    assert_same_jet(layer.jet(Jet.lift(x, needs)), jet(lambda z: z.prod(-1), x, needs))


@every_level
def test_jets_of_both_parts_of_an_edge_add_up(needs):
    both = make(2, Width(2), symbols=(("sin", "exp"), ("", "x**2")))
    splines = make(2, Width(2))
    symbols = make(2, Width(2), splines=False, symbols=(("sin", "exp"), ("", "x**2")))
    lifted = Jet.lift(samples(2), needs)
    together = splines.jet(lifted).channels + symbols.jet(lifted).channels
    assert_same(both.jet(lifted).channels, together)


@given(models(), st.sampled_from(LEVELS))
def test_the_value_of_a_jet_is_the_forward_pass(model, needs):
    layer, x = model.layers[0], points(model)
    if layer.config.k < 3 and layer.splines is not None:
        needs = "gradient"
    jet = Jet.lift(x, needs)
    assert_same(layer.jet(jet).channels[0], layer(x.T))
    subnodes, basis = layer.subnodes(jet)
    assert_same(layer.multiply(subnodes).channels, layer.jet(jet).channels)
    assert (basis is None) == (layer.splines is None)


@given(models(), st.sampled_from(LEVELS))
def test_nodes_combine_subnodes_as_jets_and_as_values(model, needs):
    layer = model.layers[0]
    width = layer.config.out
    sums = jet_of(samples(width.n_subnodes).T, needs)
    found = layer.combine(sums)
    subnodes = sums.affine(layer.subnode_scale, layer.subnode_bias)
    for node in range(width.n_nodes):
        first, *others = (subnodes.select([subnode]) for subnode in width.subnodes(node))
        for factor in others:
            first = first * factor
        expected = first.affine(layer.node_scale[[node]], layer.node_bias[[node]])
        assert_same_jet(found.select([node]), expected)


def test_product_nodes_add_no_trained_parameter():
    def trained(layer: KANLayer) -> int:
        return sum(p.numel() for p in layer.parameters() if p.requires_grad)

    assert trained(make(3, Width(4))) == trained(make(3, Width(0, (4,)))) == trained(make(3, Width(1, (3,))))


def test_a_layer_without_edges_is_constant():
    layer = make(2, Width(1, (2,)), splines=False)
    assert torch.equal(layer(samples(2).T), torch.zeros(2, 6, dtype=torch.float64))
    assert layer.jet(Jet.lift(samples(2), "hessian")).channels.abs().max() == 0
