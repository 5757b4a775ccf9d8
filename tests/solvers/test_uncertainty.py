"""Standard errors of free scalars against the textbook formulas of linear regression."""

import math

import pytest
import torch

from kansci.nn.multkan import MultKAN
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve

N, NOISE = 60, 0.05
X = torch.linspace(-1, 1, N, dtype=torch.float64)[:, None]
Y = 2 + 3 * X[:, 0] + NOISE * torch.randn(N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DESIGN = torch.cat([torch.ones_like(X), X], 1)


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def straight(jet, x, y, p):
    return p["a"] + p["b"] * x[:, 0] - y


def estimates(function, names: str, **options):
    """Free scalars of y = Y; the model takes no part."""
    term = Residual(function, X, targets=Y, **options)
    return solve(MultKAN([1, 1]), term, parameters=dict.fromkeys(names, 0.5), steps=8, progress=False).parameters


def test_unknown_noise_is_estimated_from_the_residuals():
    found = estimates(straight, "ab")
    best = torch.linalg.lstsq(DESIGN, Y[:, None]).solution[:, 0]
    variance = (Y - DESIGN @ best).square().sum() / (N - 2)
    expected = (variance * torch.linalg.inv(DESIGN.T @ DESIGN).diagonal()).sqrt().tolist()
    assert [found[name].value for name in "ab"] == pytest.approx(best.tolist(), rel=1e-9)
    assert [found[name].standard_error for name in "ab"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weight", [1.0, 0.01])
def test_known_noise_is_taken_as_it_is(weight):
    found = estimates(straight, "ab", noise=NOISE, weight=weight)
    expected = (NOISE**2 * torch.linalg.inv(DESIGN.T @ DESIGN).diagonal()).sqrt().tolist()
    assert [found[name].standard_error for name in "ab"] == pytest.approx(expected, rel=1e-6)


def test_noise_may_differ_from_point_to_point():
    noise = torch.linspace(0.1, 1, N, dtype=torch.float64)
    found = estimates(straight, "ab", noise=noise, weight=noise**-2)
    scaled = DESIGN / noise[:, None]
    expected = torch.linalg.inv(scaled.T @ scaled).diagonal().sqrt().tolist()
    assert [found[name].standard_error for name in "ab"] == pytest.approx(expected, rel=1e-6)


def test_what_the_data_do_not_determine_is_infinite():
    def redundant(jet, x, y, p):
        return p["a"] + p["c"] + p["b"] * x[:, 0] - y

    found = estimates(redundant, "abcd")
    assert [math.isfinite(found[name].standard_error) for name in "abcd"] == [False, True, False, False]
    assert found["b"].standard_error == pytest.approx(estimates(straight, "ab")["b"].standard_error, rel=1e-6)


def test_a_spline_beside_a_scalar_costs_certainty():
    """y = a x + f(x): with f(x) free, a is not determined."""

    def beside(jet, x, y, p):
        return jet.value[:, 0] + p["a"] * x[:, 0] - y

    assert estimates(beside, "a")["a"].standard_error == math.inf
