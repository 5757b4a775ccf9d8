import copy
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from torch import Tensor

import kansci as ks
from kansci.errors import (
    ConfigError,
    DataError,
    DerivativeError,
    DomainError,
    DtypeError,
    ShapeError,
    UnknownFunctionError,
)
from kansci.functions import LIBRARY, library_function
from kansci.jets import LEVELS, Jet, _functional_jet
from kansci.nn.basis import PlainBasis
from kansci.nn.dense import node_basis
from kansci.nn.edges import SplineEdges
from kansci.nn.lan import LAN
from tests.helpers import assert_same, assert_same_function, assert_same_jet
from tests.strategies import lans, points, seeds

smooth = st.integers(3, 9)
every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
quiet_vmap = pytest.mark.filterwarnings("ignore:torch.searchsorted")  # vmap's choice of memory layout


def sizes(*jets: Jet) -> list[float]:
    """The largest value of each channel in any of the jets."""
    return torch.stack([jet.channels.detach().double().abs().amax((1, 2)) for jet in jets]).amax(0).tolist()


def typical(model: LAN, needs: str) -> Jet:
    return model.jet(points(model, 100), needs)


def splines_of(model: LAN, number: int = 1) -> SplineEdges:
    splines = model.layers[number].splines
    assert splines is not None
    return splines


def by_scipy(model: LAN, x: Tensor) -> np.ndarray:
    """The network's formula in numpy, with scipy's splines and their tangents at the ends of the grids."""
    low, high = (end.numpy() for end in model.domain)
    nodes = 2 * (x.numpy() - low) / (high - low) - 1
    for layer in model.layers:
        if layer.splines is not None:
            edges, k = layer.splines, layer.splines.config.k
            given = library_function(model.activation)(torch.as_tensor(nodes)).numpy()
            values = layer.get_parameter("scale_base").detach().numpy() * given
            for node, (knots, coef) in enumerate(zip(edges.knots, edges.weights[0].detach(), strict=True)):
                spline = BSpline(knots.numpy(), coef.numpy(), k)
                inside = nodes[:, node].clip(knots[k].item(), knots[-1 - k].item())
                values[:, node] += spline(inside) + (nodes[:, node] - inside) * spline(inside, nu=1)
            nodes = values
        nodes = nodes @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        nodes = nodes * layer.node_scale.detach().numpy() + layer.node_bias.detach().numpy()
    return nodes


@given(lans(), seeds)
def test_values_are_those_of_the_formula(model, seed):
    x = points(model, 6, seed, stretch=2.0)
    (scale,) = sizes(typical(model, "value"), model.jet(x, "value"))
    assert_same(model(x).detach(), torch.as_tensor(by_scipy(model, x)), 1e-11, scale=scale)


@quiet_vmap
@given(lans(smooth), st.sampled_from(LEVELS), seeds)
def test_jets_agree_with_torch_func(model, needs, seed):
    x = points(model, 6, seed)
    expected = _functional_jet(model, x, needs)
    assert_same_jet(model.jet(x, needs), expected, 1e-10, scales=sizes(typical(model, needs), expected))


@given(lans(smooth), st.sampled_from(LEVELS))
def test_single_precision_jets_agree_with_double(model, needs):
    x = points(model)
    rounded = copy.deepcopy(model).float()
    found, expected = rounded.jet(x.float(), needs), rounded.double().jet(x.float().double(), needs)
    assert found.channels.dtype == torch.float32
    assert_same_jet(found, expected, 1e-3, scales=sizes(typical(model, needs), expected))


@given(lans(smooth))
def test_backward_through_a_jet(model):
    x = points(model, 5)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    closed = torch.autograd.grad(model.jet(x).laplacian.square().sum(), parameters)
    nested = torch.autograd.grad(_functional_jet(model, x, "laplacian").laplacian.square().sum(), parameters)
    scale = max(own.abs().max().item() for own in nested)
    for a, b in zip(closed, nested, strict=True):
        assert_same(a, b, 1e-10, scale=scale)


@pytest.mark.parametrize("activation", LIBRARY)
def test_any_activation(activation):
    model = ks.LAN([2, 3, 1], activation=activation)
    low, high = (max(LIBRARY[activation].domain[0], -0.9), min(LIBRARY[activation].domain[1], 1.9))
    with torch.no_grad():
        model.layers[0].weight.uniform_(0.05, 0.1, generator=torch.Generator().manual_seed(0))
        model.layers[0].bias.fill_((low + high) / 2 + 0.05)
    x = points(model, 4)
    jet = model.jet(x, "hessian")
    assert jet.channels.isfinite().all()
    assert_same_jet(jet, _functional_jet(model, x, "hessian"), 1e-11)
    assert splines_of(model).coef.requires_grad
    assert model.get_parameter("layers.1.scale_base").requires_grad == (activation != "zero")


def test_each_node_has_a_function_of_its_own():
    model = ks.LAN([1, 2, 2])
    with torch.no_grad():
        model.layers[1].weight.copy_(torch.eye(2))
        before = model(x := points(model))
        splines_of(model).coef[0, 1] += 1  # partition of unity
    assert_same((model(x) - before).detach(), torch.tensor([[0.0, 1.0]]).double().expand(8, 2))


# From perceptrons


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=4),
    st.sampled_from(["tanh", "sin", "silu", "x**3"]),
    st.sampled_from([torch.float64, torch.float32]),
    seeds,
)
def test_a_lan_from_an_mlp_is_the_same_function_everywhere(width, activation, dtype, seed):
    mlp = ks.MLP(width, activation=activation, domain=(-2, 3), seed=seed, dtype=dtype)
    with torch.no_grad():
        for layer in mlp.layers:
            layer.bias.normal_(generator=torch.Generator().manual_seed(seed))
    state = copy.deepcopy(mlp.state_dict())
    model = ks.LAN.from_mlp(mlp)
    assert model.dtype == dtype
    assert [end.tolist() for end in model.domain] == [end.tolist() for end in mlp.domain]
    for stretch in (1.0, 100.0):
        x = points(mlp, 20, seed, stretch)
        assert_same(model(x).detach(), mlp(x).detach(), 1e-12 if dtype == torch.float64 else None)
        assert_same_jet(model.jet(x, "hessian"), mlp.jet(x, "hessian"), 1e-12 if dtype == torch.float64 else None)
    assert all(torch.equal(tensor, state[name]) for name, tensor in mlp.state_dict().items())


def test_a_trained_mlp_becomes_a_lan_that_trains_on():
    x = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
    y = (6 * x).sin() + x.abs()
    mlp = ks.fit(ks.MLP([1, 6, 1]), (x, y), steps=20, progress=False).model
    model = ks.LAN.from_mlp(mlp, grid=8)
    assert_same(model(x).detach(), mlp(x).detach(), 1e-12)
    before, after = (
        (own(x) - y).square().mean() for own in (mlp, ks.fit(model, (x, y), steps=20, progress=False).model)
    )
    assert after < before / 10
    parameters = [ks.LAN.from_mlp(mlp, grid=8).get_parameter(f"layers.1.{name}") for name in ("scale_base", "weight")]
    assert all(parameter.requires_grad for parameter in parameters)


@pytest.mark.parametrize("given_points", [False, True])
def test_grids_span_what_the_activations_of_the_mlp_reach(given_points):
    mlp = ks.MLP([2, 5, 4, 1], domain=[(0, 2), (-1, 0)], seed=3)
    x = points(mlp, 50, stretch=0.1) if given_points else None
    model = ks.LAN.from_mlp(mlp, x, grid=7, k=4)
    assert repr(model) == "LAN([2, 5, 4, 1], activation='tanh', grid=7, k=4, 152 parameters, torch.float64)"
    seen = ks.trace(model, points(mlp, 2000, stretch=1.0) if x is None else x)
    for number in (1, 2):
        low, high = splines_of(model, number).domain
        reach = seen.nodes[number].amax(0) - seen.nodes[number].amin(0)
        assert (seen.outside[number] <= 1e-3).all()
        assert (high - low < 1.35 * reach).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mlp": ks.LAN([2, 3, 1])}, ConfigError, "expected a kansci.MLP, got LAN"),
        ({"grid": 0}, ConfigError, "expected grid"),
        ({"k": 10}, ConfigError, "degree k"),
        ({"x": torch.zeros(3, 1).double()}, ShapeError, r"\(n, 2\)"),
        ({"x": torch.zeros(3, 2)}, DtypeError, "float64"),
        ({"x": torch.full((3, 2), torch.nan).double()}, DataError, "3 rows: 0, 1, 2"),
        ({"x": torch.zeros(0, 2).double()}, DataError, "at least one row"),
        ({"mlp": ks.MLP([2, 3, 3, 1], activation="log")}, DomainError, "activation 'log'; take"),
    ],
)
def test_what_makes_no_lan_is_refused(options, error, message, unchecked):
    with pytest.raises(error, match=message):
        ks.LAN.from_mlp(**({"mlp": ks.MLP([2, 3, 1])} | options))


# What a model must do


@quiet_vmap
@given(lans(smooth))
def test_vmap_and_hessian_apply(model):
    x = points(model, 3)
    assert_same(torch.vmap(model)(x).detach(), model(x).detach())
    assert torch.func.hessian(model)(x[0]).shape == (model.n_outputs, model.n_inputs, model.n_inputs)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])  # noqa: S301
def test_copies_and_pickles_are_the_same_function(duplicate):
    model = ks.LAN([2, 4, 1], activation="sin")
    again = duplicate(model)
    assert repr(again) == repr(model)
    assert torch.equal(again(points(model)), model(points(model)))
    with torch.no_grad():
        splines_of(again).coef.add_(1)
    assert not torch.equal(again(points(model)), model(points(model)))


@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3, 1)])
def test_any_leading_dimensions(shape):
    model = ks.LAN([2, 5, 3])
    x = points(model, max(math.prod(shape), 1))[: math.prod(shape)].reshape(*shape, 2)
    assert model(x).shape == (*shape, 3)
    assert_same(model(x).reshape(-1, 3).detach(), model(x.reshape(-1, 2)).detach())


@every_dtype
def test_export_keeps_the_batch_size_free(dtype, unchecked):
    model = ks.LAN([2, 4, 4, 1], activation="tanh", dtype=dtype)
    batch = torch.export.Dim("batch", min=2, max=1024)
    program = torch.export.export(model, (points(model, 7),), dynamic_shapes=({0: batch},)).module()
    assert_same_function(program, model, points(model, 50))


@every_dtype
def test_hidden_grids_hold_the_activations_with_room_to_spare(dtype):
    model = ks.LAN([3, 6, 4, 1], domain=[(0, 10), (-1e-3, 1e-3), (5, 6)], dtype=dtype, seed=2)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {dtype}
    seen = ks.trace(model, points(model, 2000, stretch=1.0))
    for number in (1, 2):
        low, high = splines_of(model, number).domain
        assert seen.outside[number].mean() < 1e-3
        assert ((seen.nodes[number].amax(0) - seen.nodes[number].amin(0)) > 0.5 * (high - low)).all()


def test_seed_decides_and_global_state_stays():
    state = torch.random.get_rng_state()
    first, same, other = (ks.LAN([2, 5, 1], seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in ("layers.0.weight", "layers.1.splines.coef"))


@pytest.mark.parametrize(("width", "grid", "k"), [([2, 8, 1], 5, 3), ([3, 7, 5, 2], 10, 4)])
def test_parameters_are_weights_biases_and_one_function_a_node(width, grid, k):
    """N^2 L + N L G of the paper, with biases, scales and the k further coefficients of a spline."""
    model = ks.LAN(width, grid=grid, k=k)
    expected = sum(a * b for a, b in pairwise(width)) + sum(width[1:])
    expected += sum(width[1:-1]) * (grid + k + 1)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected
    assert (model.width, model.n_inputs, model.n_outputs) == (tuple(width), width[0], width[-1])


def test_repr_says_what_it_is():
    assert repr(ks.LAN([2, 1])) == "LAN([2, 1], activation='silu', 3 parameters, torch.float64)"
    model = ks.LAN([np.int64(2), 3, 1], grid=4, activation="zero", dtype=torch.float32)
    assert repr(model) == "LAN([2, 3, 1], activation='zero', grid=4, k=3, 34 parameters, torch.float32)"


def test_second_derivatives_need_cubic_splines():
    x = torch.zeros(2, 2).double()
    assert ks.LAN([2, 3, 1], k=2).jet(x, "gradient").gradient.shape == (2, 1, 2)
    with pytest.raises(DerivativeError, match="got k=2; build with k=3"):
        ks.LAN([2, 3, 1], k=2).jet(x, "laplacian")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": [2]}, ConfigError, "two columns or more"),
        ({"width": [2, [3, 2], 1]}, ConfigError, "without products"),
        ({"grid": 0}, ConfigError, "expected grid"),
        ({"width": [2, 1], "grid": 0}, ConfigError, "expected grid"),
        ({"k": 0}, ConfigError, "degree k"),
        ({"activation": "silly"}, UnknownFunctionError, "did you mean silu"),
        ({"domain": (1, 1)}, ConfigError, "low < high"),
        ({"dtype": torch.float16}, DtypeError, "float32"),
        ({"device": "mps"}, DtypeError, "mps"),
        ({"width": [2, 3, 3, 1], "activation": "log"}, DomainError, "finite values, .* activation 'log'; take"),
    ],
)
def test_bad_arguments_are_refused(options, error, message, unchecked):
    with pytest.raises(error, match=message):
        ks.LAN(**({"width": [2, 3, 1]} | options))


@pytest.mark.parametrize(
    ("x", "needs", "error"),
    [
        (torch.zeros(4, 3).double(), "value", ShapeError),
        (torch.zeros(2, 4, 2).double(), "value", ShapeError),
        (torch.zeros(4, 2), "value", DtypeError),
        (torch.zeros(4, 2).double(), "curl", ConfigError),
    ],
)
def test_bad_points_are_refused(x, needs, error, unchecked):
    with pytest.raises(error, match=r"expected .* got "):
        ks.LAN([2, 3, 1]).jet(x, needs)


# What the Jacobian is made of


@settings(max_examples=15)
@given(lans(smooth).filter(lambda model: len(model.layers) > 1), st.integers(1, 3), seeds)
def test_a_basis_of_nodes_is_the_diagonal_of_one_of_edges(model, orders, seed):
    """Edges from each node to each other, of which only those to itself have weights."""
    generator = torch.Generator().manual_seed(seed)
    nodes = ks.trace(model, points(model, 6)).nodes[1].T
    basis = node_basis(splines_of(model), nodes, orders)
    assert basis.nbytes > 0
    edges = PlainBasis(basis.values, basis.numbers, basis.n_functions)
    n = len(nodes)
    weights = torch.randn(1, n, basis.n_functions, generator=generator, dtype=torch.float64)
    seeds = torch.randn(orders, n, 6, generator=generator, dtype=torch.float64)
    own = torch.arange(n)
    diagonal = torch.zeros(n, n, basis.n_functions, dtype=torch.float64)
    diagonal[own, own] = weights[0]
    assert_same(basis.sums(weights), edges.sums(diagonal))
    assert_same(basis.weight_adjoint(seeds)[0], edges.weight_adjoint(seeds)[own, own])
    assert_same(basis.weight_squares(seeds)[0], edges.weight_squares(seeds)[own, own])
