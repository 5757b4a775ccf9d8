import math
from typing import Any

import pytest
import torch

from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.physics.domains import Box
from kansci.physics.pde import dirichlet, poisson
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve

BOX = Box([(0.0, 1.0), (0.0, 1.0)])


def exact(x):
    return (torch.pi * x[..., 0]).sin() * (torch.pi * x[..., 1]).sin()


def terms(inside: int, walls: int, seed: int = 0) -> list[Residual]:
    points = BOX.interior(inside, seed=seed)
    equation = poisson(points, lambda x: 2 * torch.pi**2 * exact(x), weight=0.01)
    return [equation, dirichlet(BOX.boundary(walls, seed=seed).points, 0.0)]


def estimate_and_truth(inside: int, walls: int, steps: int = 30, network: Any = MultKAN) -> tuple[float, float]:
    model = network([2, 3, 1], grid=3, k=5, domain=BOX.bounds)
    solution = solve(model, terms(inside, walls), steps=steps, fresh=terms(600, 120, seed=1), progress=False)
    x = BOX.interior(2000, method="random", seed=9)
    with torch.no_grad():
        truth = (solution.model(x)[:, 0] - exact(x)).norm() / exact(x).norm()
    assert solution.error_estimate is not None
    return solution.error_estimate, truth.item()


@pytest.mark.parametrize("steps", [3, 40])
def test_the_estimate_is_near_the_truth(steps, unchecked):
    """Early in a solve and at its end."""
    estimate, truth = estimate_and_truth(300, 60, steps)
    assert truth / 10 < estimate < 10 * truth


def test_the_estimate_for_a_lan_is_near_the_truth(unchecked):
    estimate, truth = estimate_and_truth(300, 60, 40, LAN)
    assert truth / 10 < estimate < 10 * truth


def test_too_few_points_are_noticed(unchecked):
    """The loss on the points is close to nothing, the error is not."""
    estimate, truth = estimate_and_truth(40, 12, steps=40)
    assert truth > 1e-3
    assert truth / 10 < estimate < 10 * truth


@pytest.mark.parametrize(
    "function",
    [
        lambda jet, x: jet.value[:, 0] * (x[:, 0] - 0.5).log(),
        lambda jet, x: (jet.value[:, 0] - jet.value[:, 0].detach()).abs().sqrt(),
        lambda jet, x: x[:, 0],
    ],
)
def test_where_terms_or_their_derivatives_are_undefined_or_nothing_is_determined_the_estimate_is_infinite(
    function, unchecked
):
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    term = Residual(lambda jet, x: jet.value[:, 0] - x[:, 0], x)
    solution = solve(MultKAN([1, 1]), term, fresh=[Residual(function, x)], steps=3, progress=False)
    assert solution.error_estimate == math.inf


def test_relative_to_nothing_the_estimate_is_infinite(unchecked):
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    model = MultKAN([1, 1], base="zero")
    with torch.no_grad():
        model.get_parameter("layers.0.splines.coef").zero_()
    term = Residual(lambda jet, x: jet.value[:, 0], x)
    assert solve(model, term, fresh=[term], progress=False).error_estimate == math.inf


def test_models_that_cannot_be_enriched_have_no_estimate(unchecked):
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    term = Residual(lambda jet, x: jet.value[:, 0] - x[:, 0], x)
    assert solve(MLP([1, 2, 1]), term, fresh=[term], steps=3, progress=False).error_estimate is None
