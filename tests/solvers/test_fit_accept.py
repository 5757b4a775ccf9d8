"""Published accuracies of a fit: exp(sin(pi x) + y^2) by [2, 1, 1] from 3000 samples."""

import math
import time

import pytest
import torch

from kansci.nn.multkan import MultKAN
from kansci.solvers.data import Dataset
from kansci.solvers.fit import fit

pytestmark = pytest.mark.slow
seeds = pytest.mark.parametrize("seed", range(5))


def target(x: torch.Tensor) -> torch.Tensor:
    return (torch.sin(torch.pi * x[:, 0]) + x[:, 1] ** 2).exp()


def error_of(k: int, grids: tuple[int, ...], seed: int) -> float:
    """Root mean square error on 20 000 other points, within 20 seconds."""
    data = Dataset.from_function(target, [(-1, 1), (-1, 1)], 3000, seed=seed)
    start = time.perf_counter()
    model = fit(MultKAN([2, 1, 1], grid=grids[0], k=k, domain=data.domain, seed=seed), data, grids=grids).model
    assert time.perf_counter() - start < 20
    x = 2 * torch.rand(20_000, 2, generator=torch.Generator().manual_seed(100 + seed), dtype=torch.float64) - 1
    with torch.no_grad():
        return float((model(x)[:, 0] - target(x)).square().mean().sqrt())


@seeds
def test_cubic_splines_on_100_intervals(seed):
    assert error_of(3, (5, 10, 20, 100), seed) <= 3.1e-8


@seeds
def test_degree_seven(seed):
    assert error_of(7, (5, 10, 20, 40), seed) <= 1e-11


@seeds
def test_cubic_splines_converge_with_order_four(seed):
    chain = (5, 10, 20, 40)
    errors = [error_of(3, chain[: n + 1], seed) for n in range(4)] + [error_of(3, (5, 10, 50), seed)]
    grids = [*chain, 50]
    logs = torch.tensor([[math.log(grid) for grid in grids], [math.log(error) for error in errors]])
    slope = torch.linalg.lstsq(torch.stack([logs[0], torch.ones(5)], 1), logs[1][:, None]).solution[0]
    assert -float(slope) >= 3.9
