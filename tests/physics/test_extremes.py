import pytest
import torch

from kansci.errors import ConfigError
from kansci.nn.lan import LAN
from kansci.nn.multkan import MultKAN
from kansci.physics.extremes import extreme_points
from kansci.tracing import trace


def test_extreme_points_are_where_hidden_nodes_are_extreme():
    model = MultKAN([2, 3, 2, 1], domain=[(0, 2), (-1, 1)], seed=3)
    points = extreme_points(model, [(0, 2), (-1, 1)])
    assert points.shape == (10, 2)
    assert ((points >= torch.tensor([0, -1])) & (points <= torch.tensor([2, 1]))).all()
    axes = [torch.linspace(low, high, 101, dtype=torch.float64) for low, high in ((0, 2), (-1, 1))]
    everywhere = trace(model, torch.cartesian_prod(*axes)).nodes[1]
    found = trace(model, points).nodes[1]
    slack = 1e-2 * (everywhere.amax(0) - everywhere.amin(0))
    assert (found.amin(0) <= everywhere.amin(0) + slack).all()
    assert (found.amax(0) >= everywhere.amax(0) - slack).all()


def test_products_count_and_networks_without_hidden_nodes_have_none():
    assert extreme_points(MultKAN([3, [2, 1], 1]), (-1, 1)).shape == (6, 3)
    assert extreme_points(MultKAN([3, 1]), (-1, 1)).shape == (0, 3)


def test_first_hidden_nodes_of_a_lan_are_extreme_at_corners():
    points = extreme_points(LAN([2, 3, 1], domain=[(0, 2), (-1, 1)]), [(0, 2), (-1, 1)])
    assert points.shape == (6, 2)
    assert set(points[:, 0].tolist()) <= {0, 2}
    assert set(points[:, 1].tolist()) <= {-1, 1}
    assert torch.equal(points[:3] + points[3:], torch.tensor([[2.0, 0.0]]).double().expand(3, 2))


def test_a_box_of_another_dimension_is_refused():
    with pytest.raises(ConfigError):
        extreme_points(MultKAN([2, 3, 1]), [(0, 1), (0, 1), (0, 1)])
