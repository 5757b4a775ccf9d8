"""Edges that a problem does not need are found, the others stay."""

import pytest
import torch

from kansci import Edge, MultKAN, fit, kanpile
from kansci.errors import ConfigError
from kansci.symbolic.eliminate import eliminate
from tests.helpers import unchanged

X = 2 * torch.rand(150, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
Y = X[:, :1].exp() + X[:, 1:2] ** 2
NOISY = Y + 0.01 * torch.randn(150, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
IDLE = Edge(0, 0, 2)


def fitted(y: torch.Tensor) -> MultKAN:
    return fit(MultKAN([3, 1], grid=3), (X, y), normalize=False, progress=False).model


@pytest.mark.parametrize("y", [Y, NOISY])
def test_idle_edges_go_and_others_stay(y):
    model = fitted(y)
    with unchanged(model):
        found = eliminate(model, (X, y))
    assert found.dropped == (IDLE,)
    splines = found.model.layers[0].splines
    assert splines is not None
    assert not splines.mask[0, 2]
    changed = X.clone()
    changed[:, 2] = 0
    assert torch.equal(found.model(changed), found.model(X))
    loss = float((found.model(X) - y).square().mean().detach())
    assert found.loss == pytest.approx(loss, rel=1e-6, abs=1e-20)
    assert "dropped" in repr(found)


def test_edges_that_do_the_same_go_in_the_order_given():
    x = X[:, :1].repeat(1, 2)
    y = x[:, :1].exp()
    model = fit(MultKAN([2, 1], grid=3), (x, y), normalize=False, progress=False).model
    for first in (0, 1):
        groups = [[Edge(0, 0, first)], [Edge(0, 0, 1 - first)]]
        assert eliminate(model, (x, y), groups=groups).dropped == (Edge(0, 0, first),)


def test_groups_go_as_a_whole():
    model = fitted(Y)
    assert eliminate(model, (X, Y), groups=[[IDLE, Edge(0, 0, 0)]]).dropped == ()


def test_what_is_allowed_decides():
    model = fitted(Y)
    assert len(eliminate(model, (X, Y), allowed=1e3).dropped) == 3
    strict = eliminate(model, (X, NOISY), allowed=0.0)
    assert strict.dropped == ()


def test_no_such_edges():
    model = fitted(Y)
    with pytest.raises(ConfigError):
        eliminate(model, (X, Y), groups=[[Edge(0, 0, 3)]])
    with pytest.raises(ConfigError, match="expected a model with spline edges, got none"):
        eliminate(kanpile("x + y + z", ["x", "y", "z"]), (X, Y))


def test_an_edge_of_several_groups_is_dropped_once():
    found = eliminate(fitted(Y), (X, Y), groups=[[IDLE], [IDLE]])
    assert found.dropped == (IDLE,)
