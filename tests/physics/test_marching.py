import math

import pytest
import torch

from kansci.errors import ConfigError
from kansci.physics import pde
from kansci.physics.equation import Equation
from kansci.physics.marching import halve, march, panels
from kansci.physics.separated import separated_network


def ends(box, n=12):
    return (box.face(1, side, n, "chebyshev").points for side in ("low", "high"))


def zero_walls(box):
    return [pde.dirichlet(points) for points in ends(box)]


def sine(points):
    return (torch.pi * points[:, 1]).sin()


def test_separated_networks_are_power_series():
    breaks = torch.tensor([0.0, 0.5, 0.75, 1.0], dtype=torch.float64)
    model, edges = separated_network((2.0, 4.0), breaks, order=7, k=5)
    with torch.no_grad():
        for number, edge in enumerate(edges[0]):
            coef = model.get_parameter("layers.0.splines.coef")
            coef[edge.target, edge.source] = 1.0 + number  # a constant: B-splines add up to 1
    x = torch.tensor([[2.5, 0.3], [4.0, 0.9]], dtype=torch.float64)
    s = x[:, 0] - 3
    wanted = sum((1 + r) * s**r for r in range(8))
    torch.testing.assert_close(model(x)[:, 0], wanted, rtol=1e-13, atol=0)


@pytest.mark.slow
def test_time_may_be_the_second_coordinate():
    equation = Equation("u_t = u_xx", ["x", "t"])

    def walls(box):
        return [pde.dirichlet(box.face(0, side, 12, "chebyshev").points) for side in ("low", "high")]

    found = march(equation, (0, 0.05), (0, 1), [lambda x: (torch.pi * x[:, 0]).sin()], walls, progress=False)
    x = torch.tensor([[0.5, 0.05], [0.25, 0.02]], dtype=torch.float64)
    wanted = (torch.pi * x[:, 0]).sin() * (-(math.pi**2) * x[:, 1]).exp()
    torch.testing.assert_close(found(x)[:, 0], wanted, rtol=1e-7, atol=0)
    assert found.status == "converged"
    assert found.error_estimate < 1e-6


@pytest.mark.slow
def test_second_order_in_time_takes_rates():
    found = march(
        Equation("u_tt = u_xx", ["t", "x"]),
        (0, 0.5),
        (0, 1),
        [0.0],
        zero_walls,
        rates=[lambda x: math.pi * sine(x)],
        progress=False,
    )
    x = torch.tensor([[0.5, 0.5], [0.25, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(found(x)[:, 0], sine(x) * (torch.pi * x[:, 0]).sin(), rtol=0, atol=1e-6)


def test_slabs_join():
    found = march(Equation("u_t = -u", ["t", "x"]), (0, 1), (0, 1), [1.0], lambda box: [], slabs=3, progress=False)
    inner = torch.tensor([[slab.end, 0.3] for slab in found.slabs], dtype=torch.float64)
    torch.testing.assert_close(found(inner)[:, 0], (-inner[:, 0]).exp(), rtol=1e-7, atol=0)
    before, after = (
        found(inner[:-1]),
        torch.cat([slab.model(row[None]) for slab, row in zip(found.slabs[1:], inner, strict=False)]),
    )
    assert (before - after).abs().max() < 1e-7
    assert found.jet(inner, "gradient").gradient.shape == (len(inner), 1, 2)
    assert len(found.models) == len(found.slabs)


@pytest.mark.slow
def test_grids_follow_fronts():
    """Where Burgers' solution steepens, intervals are shorter."""
    found = march(
        Equation("u_t + u*u_x = u_xx/100", ["t", "x"]),
        (0, 0.6),
        (-1, 1),
        [lambda x: -sine(x)],
        zero_walls,
        progress=False,
    )
    lengths = found.slabs[-1].model.get_buffer("layers.0.splines.knots")[1].unique().diff()
    assert lengths.min() < lengths.max() / 7
    middle = len(lengths) // 2
    assert lengths[middle - 1 : middle + 1].max() == lengths.min()


@pytest.mark.slow
def test_limits_of_time_are_kept():
    found = march(Equation("u_t = u_xx", ["t", "x"]), (0, 1), (0, 1), [sine], zero_walls, seconds=0.0, progress=False)
    assert found.status == "max_seconds"
    assert found.slabs[-1].end < 1


def test_what_cannot_be_marched():
    with pytest.raises(ConfigError, match="two coordinates"):
        march(Equation("u_xx = u", ["x"]), (0, 1), (0, 1), [0.0], zero_walls)
    with pytest.raises(ConfigError, match="low to high"):
        march(Equation("u_t = u", ["t", "x"]), (1, 0), (0, 1), [0.0], zero_walls)
    with pytest.raises(ConfigError, match="start for each"):
        march(Equation("u_t = u", ["t", "x"]), (0, 1), (0, 1), [], zero_walls)


def test_halving_keeps_neighbors_alike():
    breaks = torch.linspace(0, 1, 5, dtype=torch.float64)
    for _ in range(6):
        chosen = torch.zeros(len(breaks) - 1, dtype=torch.bool)
        chosen[0] = True
        breaks = halve(breaks, chosen)
    lengths = breaks.diff()
    assert (lengths[1:] / lengths[:-1]).max() <= 2.01
    assert lengths[0] == 0.25 / 2**6


def test_panels_integrate():
    x, weight = panels(torch.tensor([0.0, 0.3, 2.0], dtype=torch.float64), 5)
    assert abs(float((x**9 * weight).sum()) - 2**10 / 10) < 1e-11
