import copy

import pytest
import torch

from kansci.config import LayerConfig, Width
from kansci.nn.edges import SplineEdges
from kansci.nn.lan import LAN
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.solvers.fit import fit
from kansci.solvers.settle import settle_edges, triangular_factor
from kansci.tracing import trace


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def grid(low: float, high: float, n: int = 400) -> torch.Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)[:, None]


def settle_layer(layer: KANLayer, nodes: torch.Tensor, stiffness: float) -> None:
    edges = layer.splines
    assert isinstance(edges, SplineEdges)
    settle_edges(edges, triangular_factor(edges, [nodes]), stiffness)


def test_what_activations_say_of_coefficients_is_the_mean_square_of_the_splines():
    edges = MultKAN([2, 3, 1], grid=8).layers[0].splines
    assert edges is not None
    x = 2 * torch.rand(2, 3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    coef = edges.coef[1].detach()
    wanted = (coef[:, None] @ edges.splines_at(x))[:, 0].square().mean(1)
    found = (triangular_factor(edges, x.split(700, 1)) @ coef[..., None])[..., 0].square().sum(1)
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-12, atol=0)


def test_the_function_on_the_data_stays():
    model = MultKAN([2, 3, 1], grid=8)
    x = 2 * torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    model = fit(model, (x, (2 * x[:, 0]).sin() * x[:, 1]), steps=10, progress=False).model
    settled = copy.deepcopy(model)
    activations = [nodes.T for nodes in trace(model, x).nodes]
    for number, layer in enumerate(settled.layers):
        settle_layer(layer, activations[number], 1e-12)
    assert (settled(x) - model(x)).abs().max() < 1e-4 * model(x).abs().max()


def test_coefficients_without_data_become_the_polynomial_continuation():
    """With a cubic on the data, the same cubic everywhere."""

    def cubic(x):
        return 1 - 2 * x + x**2 / 2 + 3 * x**3

    model = MultKAN([1, 1], grid=10, k=3, base="zero")
    x = grid(-1, 0.7)
    model = fit(model, (x, cubic(x)), normalize=False, steps=10, progress=False).model
    with torch.no_grad():
        model.layers[0].splines.coef[0, 0, 12:] = 7.0
    assert (model(grid(0.8, 1)) - cubic(grid(0.8, 1))).abs().max() > 0.1
    settle_layer(model.layers[0], x.T, 1e-9)
    assert (model(grid(-1, 1)) - cubic(grid(-1, 1))).abs().max() < 1e-3


@pytest.mark.parametrize("k", [1, 3, 5])
def test_continuations_follow_polynomials_of_two_degrees_more_than_the_pieces(k):
    layer = KANLayer(LayerConfig(2, Width(2), grid=12, k=k, base="zero"), torch.Generator())
    coef, steps = layer.get_parameter("splines.coef"), torch.linspace(-1, 1, 12 + k, dtype=torch.float64)
    with torch.no_grad():
        coef.copy_(torch.stack([steps ** (k + 2) - steps, steps**2 + 1])[:, None])
    nodes, before = grid(-1, 0.6).T.expand(2, -1), coef.detach().clone()
    settle_layer(layer, nodes, 1e-6)
    assert (coef - before).abs().max() < 1e-6
    with torch.no_grad():
        coef[..., -2:] = 5.0
    settle_layer(layer, nodes, 1e-6)
    assert (coef - before).abs().max() < 1e-4


def test_polynomials_are_left_alone():
    x = grid(-1, 1)
    model = fit(MultKAN([1, 1], grid=6, base="zero"), (x, x**3 - x), steps=10, progress=False).model
    before = model.layers[0].splines.coef.clone()
    settle_layer(model.layers[0], x.T, 1e-9)
    assert (model.layers[0].splines.coef - before).abs().max() < 1e-8


def test_periodic_edges_are_left_alone():
    x = grid(-1, 0).T
    layer = MultKAN([1, 1], grid=8, periodic=[0]).layers[0]
    before = layer.get_parameter("splines.coef").clone()
    settle_layer(layer, x, 1.0)
    assert torch.equal(layer.get_parameter("splines.coef"), before)


def test_layers_that_are_not_trained_are_left_alone():
    """Half of the domain is without data, where only layers that are trained are settled."""
    x = grid(-1, 0)
    model = MultKAN([1, 2, 1], grid=8)
    model.layers[0].requires_grad_(False)
    after = fit(model, (x, x.sin()), steps=3, progress=False).model.state_dict()
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, after[name])]
    assert "layers.1.splines.coef" in changed
    assert "layers.0.splines.coef" not in changed


def test_functions_of_nodes_are_continued_smoothly():
    """Hidden nodes take values on half of their grids only."""
    x = grid(-1, 0)
    model = LAN([1, 2, 1], grid=8, k=3, activation="zero")
    after = fit(model, (x, x.sin()), steps=20, progress=False).model
    before, after = (own.get_parameter("layers.1.splines.coef").detach() for own in (model, after))
    assert (before.diff(n=6).abs().amax(2) > before.abs().amax(2)).all()
    assert (after.diff(n=6).abs().amax(2) < 0.1 * after.abs().amax(2)).all()
