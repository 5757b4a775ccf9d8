import copy
import math

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call, jacrev

import kansci as ks
from kansci.errors import ConfigError, DtypeError, ShapeError, UnknownFunctionError
from kansci.functions import LIBRARY
from kansci.jets import LEVELS, _functional_jet
from kansci.solvers.jacobian import _factors_by_torch_func, factorize
from kansci.solvers.system import System
from kansci.solvers.unknowns import Unknowns
from tests.helpers import written

SMOOTH = ["tanh", "sin", "sigmoid", "silu", "gaussian", "erf", "x**3", "x"]


def points(n: int, low, high, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.as_tensor(low), torch.as_tensor(high)
    return low + (high - low) * torch.rand(n, len(low), generator=generator, dtype=torch.float64)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * (1 + expected.abs().max())


def trained(model: ks.MLP) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@st.composite
def networks(draw):
    width = draw(st.lists(st.integers(1, 5), min_size=2, max_size=4))
    low = draw(st.floats(-3, 3))
    domain = (low, low + draw(st.floats(0.1, 10)))
    activation, seed = draw(st.sampled_from(SMOOTH)), draw(st.integers(0, 9))
    return lambda: ks.MLP(width, activation=activation, domain=domain, seed=seed)


@given(networks(), st.sampled_from(LEVELS))
def test_jet_is_that_of_torch_func(network, needs):
    model = network()
    x = points(4, *model.domain)
    assert_close(model.jet(x, needs).channels, _functional_jet(model, x, needs).channels)


@pytest.mark.parametrize("activation", LIBRARY)
def test_jet_of_any_activation(activation):
    model = ks.MLP([2, 3, 1], activation=activation)
    low, high = (max(LIBRARY[activation].domain[0], -0.9), min(LIBRARY[activation].domain[1], 1.9))
    with torch.no_grad():
        for parameter in trained(model):
            parameter.uniform_(0.05, 0.1, generator=torch.Generator().manual_seed(0))
        model.layers[0].bias.fill_((low + high) / 2 + 0.05)
    x = points(4, [-1, -1], [1, 1])
    jet = model.jet(x, "hessian")
    assert jet.channels.isfinite().all()
    assert_close(jet.channels, _functional_jet(model, x, "hessian").channels)


def test_closed_form_of_one_neuron():
    model = ks.MLP([1, 1, 1], domain=(0, 4))
    values = {"layers.0.weight": 2.0, "layers.0.bias": 0.5, "layers.1.weight": 3.0, "layers.1.bias": -1.0}
    with torch.no_grad():
        for name, value in values.items():
            model.get_parameter(name).fill_(value)
    jet = model.jet(torch.tensor([[3.0]], dtype=torch.float64), "laplacian")
    t = math.tanh(2 * 0.5 + 0.5)
    assert jet.value.item() == pytest.approx(3 * t - 1, rel=1e-14)
    assert jet.gradient.item() == pytest.approx(3 * (1 - t**2), rel=1e-14)
    assert jet.laplacian.item() == pytest.approx(3 * -2 * t * (1 - t**2), rel=1e-14)


def test_value_of_jet_is_forward():
    model = ks.MLP([3, 8, 2])
    x = points(5, [-1] * 3, [1] * 3)
    assert_close(model.jet(x, "value").value, model(x), 1e-15)


def test_backward_through_jet():
    model = ks.MLP([2, 6, 6, 1], activation="sin")
    x = points(7, [-1, -1], [1, 1])
    parameters = trained(model)
    closed = torch.autograd.grad(model.jet(x).laplacian.square().sum(), parameters)
    nested = torch.autograd.grad(_functional_jet(model, x, "laplacian").laplacian.square().sum(), parameters)
    for a, b in zip(closed, nested, strict=True):
        assert_close(a, b)


def test_single_precision():
    double, single = (ks.MLP([2, 9, 1], seed=3, dtype=dtype) for dtype in (torch.float64, torch.float32))
    x = points(20, [-1, -1], [1, 1])
    jet = single.jet(x.float())
    assert jet.channels.dtype == single(x.float()).dtype == torch.float32
    assert_close(jet.channels.double(), double.jet(x).channels, 100 * torch.finfo(torch.float32).eps)


def test_domain_is_scaled_to_the_unit_interval():
    raw, unit = ks.MLP([2, 5, 1], domain=[(0, 10), (-3, -2)]), ks.MLP([2, 5, 1])
    x = points(6, [-1, -1], [1, 1])
    assert_close(raw(x * torch.tensor([5, 0.5]) + torch.tensor([5, -2.5])), unit(x))
    assert [end.tolist() for end in raw.domain] == [[0, -3], [10, -2]]


@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3, 1)])
def test_any_leading_dimensions(shape):
    model = ks.MLP([2, 5, 3])
    x = points(max(math.prod(shape), 1), [-1, -1], [1, 1])[: math.prod(shape)].reshape(*shape, 2)
    y = model(x)
    assert y.shape == (*shape, 3)
    assert_close(y.reshape(-1, 3).sum(0), model(x.reshape(-1, 2)).sum(0))


def test_weights_are_drawn_as_glorot_says():
    model = ks.MLP([100, 300, 200])
    for layer, bound in zip(model.layers, (math.sqrt(6 / 400), math.sqrt(6 / 500)), strict=True):
        weight = layer.weight
        assert 0.999 * bound < weight.abs().max() <= bound
        assert weight.mean().abs() < 4 * bound / math.sqrt(3 * weight.numel())
        assert weight.var().item() == pytest.approx(bound**2 / 3, rel=4 / math.sqrt(weight.numel()))
        assert not layer.bias.any()


def test_seed_decides_and_global_state_stays():
    state = torch.random.get_rng_state()
    first, same, other = (ks.MLP([2, 5, 1], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.layers[0].weight, same.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_repr_and_sizes():
    model = ks.MLP([2, 20, 20, 1], activation="sin", dtype=torch.float32)
    assert repr(model) == "MLP([2, 20, 20, 1], activation='sin', 501 parameters, torch.float32)"
    assert (model.n_inputs, model.n_outputs, model.dtype) == (2, 1, torch.float32)
    assert repr(copy.deepcopy(model)) == repr(model)
    assert repr(ks.MLP([np.int64(2), 3, 1])) == "MLP([2, 3, 1], activation='tanh', 13 parameters, torch.float64)"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"width": [2]}, ConfigError),
        ({"width": [2, 0, 1]}, ConfigError),
        ({"width": [2, [3, 2], 1]}, ConfigError),
        ({"activation": "tanhh"}, UnknownFunctionError),
        ({"width": [2, 1], "activation": "tanhh"}, UnknownFunctionError),
        ({"domain": (1, 1)}, ConfigError),
        ({"domain": [(0, 1)] * 3}, ConfigError),
        ({"dtype": torch.float16}, DtypeError),
        ({"device": "mps"}, DtypeError),
    ],
)
def test_bad_arguments(arguments, error):
    with pytest.raises(error):
        ks.MLP(**({"width": [2, 3, 1]} | arguments))


@pytest.mark.parametrize(
    ("x", "needs", "error"),
    [
        (torch.zeros(4, 3, dtype=torch.float64), "value", ShapeError),
        (torch.zeros(2, 4, 2, dtype=torch.float64), "value", ShapeError),
        (torch.zeros(4, 2), "value", DtypeError),
        (torch.zeros(4, 2, dtype=torch.float64), "curl", ConfigError),
    ],
)
def test_bad_points(x, needs, error):
    model = ks.MLP([2, 3, 1])
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(error, match=r"expected .* got "):
            model.jet(x, needs)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@given(networks(), st.sampled_from(LEVELS))
def test_factors_are_those_of_torch_func(network, needs):
    model = network()
    model.layers[0].bias.requires_grad_(False)
    with torch.no_grad():
        model.layers[-1].node_scale.fill_(-2.5)
        model.layers[-1].node_bias.fill_(0.7)
    unknowns = Unknowns(model)
    x = points(4, *model.domain)
    shape = model.jet(x, needs).channels.shape
    adjoints = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factors = factorize(unknowns, x, needs, adjoints)
    found = written(factors, unknowns, 2, 4)
    assert found.shape == (2, len(unknowns), 4)
    names = list(unknowns.slices)
    assert_close(found, written(_factors_by_torch_func(unknowns, names, x, needs, adjoints), unknowns, 2, 4))
    assert all(factor.nbytes > 0 for factor in factors)


@pytest.mark.parametrize("model", [ks.MLP([2, 3, 1]), ks.MultKAN([2, 3, 1]), torch.nn.Linear(2, 1)])
def test_a_frozen_model_has_no_factors(model):
    unknowns = Unknowns(model.requires_grad_(False))
    x = points(4, [-1, -1], [1, 1])
    assert factorize(unknowns, x, "value", torch.ones(1, 1, 1, 4, dtype=torch.float64)) == []


def test_jacobian_of_a_system():
    model = ks.MLP([2, 4, 1], activation="sin")
    x = points(9, [-1, -1], [1, 1])

    def equation(jet, points):
        return jet.laplacian[:, 0] + jet.value[:, 0] ** 3 * points[:, 0]

    system = System([ks.Residual(equation, x, needs="laplacian", weight=2.0)], {"": Unknowns(model)}, chunk=4)
    vector = system.models[""].read()
    blocks = [block.dense(0).T for block in system.jacobian(system.evaluate(vector))]

    def rows(values):
        names = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        pieces = values.split([parameter.numel() for parameter in names.values()])
        tensors = {name: piece.view_as(names[name]) for name, piece in zip(names, pieces, strict=True)}
        jet = _functional_jet(lambda z: functional_call(model, tensors, (z,)), x, "laplacian")
        return equation(jet, x) * math.sqrt(2 / 9)

    assert_close(torch.cat(blocks), jacrev(rows)(vector))
