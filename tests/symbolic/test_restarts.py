"""Networks of the same shape that begin elsewhere."""

from typing import Any

import pytest
import torch

from kansci import MultKAN, modular
from kansci.symbolic.restarts import filled, grid_of, random_like, starts_of

pytestmark = pytest.mark.usefixtures("unchecked")

X = 2 * torch.rand(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1


@pytest.mark.parametrize("grid", [2, 3, 5, 10])
def test_other_splines_are_drawn_on_the_same_edges(grid):
    model: Any = MultKAN([3, [2, 1], 1], sparse=True, domain=[(-1.0, 2.0), (0.0, 1.0), (-3.0, 3.0)])
    other: Any = random_like(model, grid, seed=4)
    assert grid_of(other) == grid
    assert other.config.columns == model.config.columns
    assert all(torch.equal(a, b) for a, b in zip(other.domain, model.domain, strict=True))
    assert all(torch.equal(a.splines.mask, b.splines.mask) for a, b in zip(other.layers, model.layers, strict=True))
    assert not torch.equal(other(X), model(X))
    assert torch.equal(other(X), random_like(model, grid, seed=4)(X))


def test_modules_stay_apart():
    model: Any = modular(["additive", [0, 1], 2], hidden=2)
    other: Any = random_like(model, 5, seed=1)
    assert other.layers[0].config.symbols == model.layers[0].config.symbols
    assert torch.equal(other.layers[0].splines.mask, model.layers[0].splines.mask)
    for own in (model, other):
        jet = own.jet(X, "hessian").hessian[:, 0]
        assert float(jet[:, 0, 1].detach().abs().max()) > 1e-6
        assert float(jet[:, :2, 2].detach().abs().max()) == 0


def test_the_network_itself_comes_first_where_its_splines_are_not_finer():
    model = MultKAN([3, 2, 1], grid=4)
    finer, coarser = list(starts_of(model, 8, 3, seed=0)), list(starts_of(model, 3, 3, seed=0))
    assert (len(finer), len(coarser)) == (3, 3)
    torch.testing.assert_close(finer[0](X), model(X), rtol=0, atol=1e-12)


def test_filling_keeps_the_function_and_lets_all_edges_learn():
    model: Any = MultKAN([3, [2, 1], 1], sparse=True)
    full: Any = filled(model)
    assert torch.equal(full(X), model(X))
    assert all(bool(layer.splines.mask.all()) for layer in full.layers)
    assert not all(bool(layer.splines.mask.all()) for layer in model.layers)
    full(X).sum().backward()
    assert all(bool((layer.splines.coef.grad != 0).any(2).all()) for layer in full.layers)


def test_symbolic_edges_are_not_filled():
    model = modular(["additive", [0, 1], 2], hidden=2)
    assert torch.equal(filled(model)(X), model(X))
    assert filled(model).layers[0].config.symbols == model.layers[0].config.symbols
