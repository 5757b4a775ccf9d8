from typing import Any

import pytest
import torch
from torch.func import hessian

from kansci.errors import ShapeError
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers.losses import cross_entropy, measure, term_loss
from kansci.solvers.residual import Residual
from kansci.solvers.solve import METHODS, solve
from tests.helpers import assert_same
from tests.solvers.systems import jacobian_of, make, start

pytestmark = pytest.mark.usefixtures("unchecked")  # types are checked in the tests of the parts


def points(n: int, d: int, seed: int) -> torch.Tensor:
    return 2 * torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def huber(z, y):
    error = z[:, 0] - y
    return torch.where(error.abs() < 1, error**2 / 2, error.abs() - 0.5)


X = points(30, 2, seed=1)
SHARES = points(30, 3, seed=2).exp()
CLASSES = Residual(
    lambda jet, x, y: jet.value, X, targets=SHARES / SHARES.sum(1, keepdim=True), loss=cross_entropy, weight=2.0
)


def test_cross_entropy_is_that_of_torch():
    z, classes = points(20, 4, seed=3), torch.arange(20) % 4
    expected = torch.nn.functional.cross_entropy(z, classes, reduction="none")
    assert_same(cross_entropy(z, torch.nn.functional.one_hot(classes, 4).double()), expected)


def test_rows_have_the_gradient_and_the_gauss_newton_matrix_of_the_loss():
    system = make([CLASSES], MLP([2, 3], seed=1))
    at = start(system)
    jacobian = jacobian_of(system, at)
    model = system.models[""].model

    def loss(vector):
        weight, bias = vector[:6].view(3, 2), vector[6:]
        return term_loss(CLASSES, (X @ weight.T) + bias)

    assert float(at.loss) == pytest.approx(float(loss(at.vector)), rel=1e-12)
    assert model(X).shape == (30, 3)
    assert_same(2 * jacobian.T @ at.flat, torch.func.grad(loss)(at.vector), 1e-9)
    assert_same(2 * jacobian.T @ jacobian, hessian(loss)(at.vector), 1e-8)
    assert_same(2 * system.gradient(at), torch.func.grad(loss)(at.vector))
    assert_same(system.slope(at.vector), torch.func.grad(loss)(at.vector))


def test_a_square_as_a_loss_is_the_square():
    plain = Residual(lambda jet, x, y: jet.value - y, X, targets=X[:, :1], weight=3.0)
    same = Residual(lambda jet, x, y: jet.value - y, X, targets=X[:, :1], weight=3.0, loss=lambda z, y: z[:, 0] ** 2)
    z = points(30, 1, seed=5)
    ours, theirs = measure(same, z), measure(plain, z)
    assert_same(ours.total, theirs.total)
    assert_same(ours.rows.abs(), theirs.rows.abs())
    assert_same(ours.weigh(z).abs(), theirs.weigh(z).abs())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_minimizes_it(method, unchecked):
    """A loss of which the minimum is known: the median-like center of a Huber loss, by symmetry."""
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    term = Residual(lambda jet, x, y: jet.value, x, targets=2 * x[:, 0] + 5 * (x[:, 0] * 20 % 7 - 3), loss=huber)
    model = MLP([1, 1], domain=(-1, 1))
    options: dict[str, Any] = {"rate": 0.3} if method in ("adam", "sgd") else {}
    found = solve(model, term, method=method, steps=300, progress=False, **options).model
    leaf = found.layers[0]
    z = leaf.weight * x + leaf.bias
    slopes = torch.func.grad(lambda z: huber(z, term.targets).mean())(z.detach())
    assert slopes.sum().abs() < 2e-4
    assert (slopes * x).sum().abs() < 2e-4


def test_losses_are_reported_as_given(unchecked):
    """Also negative ones."""
    term = Residual(lambda jet, x, y: jet.value, X, targets=X[:, 0], loss=lambda z, y: (z[:, 0] - y) ** 2 - 3)
    found = solve(MultKAN([2, 1]), term, steps=20, progress=False)
    assert found.loss == pytest.approx(-3, abs=1e-6)
    assert found.history.loss[-1] == pytest.approx(-3, abs=1e-6)


def test_a_mean_is_refused():
    term = Residual(lambda jet, x, y: jet.value, X, targets=X[:, 0], loss=lambda z, y: (z[:, 0] - y).square().mean())
    with pytest.raises(ShapeError, match="expected the loss to return one number for each of 30 points, got shape"):
        solve(MultKAN([2, 1]), term, progress=False)
