import copy

import pytest
import torch

from kansci.nn.baselines import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers.fit import fit
from kansci.solvers.settle import settle


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def grid(low: float, high: float, n: int = 400) -> torch.Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)[:, None]


def test_the_function_on_the_data_stays():
    model = MultKAN([2, 3, 1], grid=8)
    x = 2 * torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    model = fit(model, (x, (2 * x[:, 0]).sin() * x[:, 1]), steps=10, progress=False).model
    settled = copy.deepcopy(model)
    settle(settled, x, dict(settled.named_parameters()))
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
    settle(model, x, dict(model.named_parameters()))
    assert (model(grid(-1, 1)) - cubic(grid(-1, 1))).abs().max() < 1e-3


def test_polynomials_are_left_alone():
    x = grid(-1, 1)
    model = fit(MultKAN([1, 1], grid=6, base="zero"), (x, x**3 - x), steps=10, progress=False).model
    before = model.layers[0].splines.coef.clone()
    settle(model, x, dict(model.named_parameters()))
    assert (model.layers[0].splines.coef - before).abs().max() < 1e-8


def test_periodic_and_bernstein_edges_and_other_models_are_left_alone():
    x = grid(-1, 0)
    for model in (MultKAN([1, 1], grid=8, periodic=[0]), MultKAN([1, 1], grid=1), MLP([1, 3, 1])):
        before = copy.deepcopy(model.state_dict())
        settle(model, x, dict(model.named_parameters()))
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_layers_that_are_not_trained_are_left_alone():
    x = grid(-1, 0.5)
    model = MultKAN([1, 2, 1], grid=8)
    before = copy.deepcopy(model.state_dict())
    settle(model, x, ["layers.1.splines.coef"])
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == ["layers.1.splines.coef"]
