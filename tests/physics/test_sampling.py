import math
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.errors import ConfigError
from kansci.physics.sampling import (
    apportion,
    grid_counts,
    map_to_sphere,
    sphere_coordinates,
    sphere_points,
    unit_chunks,
    unit_nodes,
    unit_points,
)


@given(n=st.integers(1, 5000), sides=st.lists(st.floats(0.5, 2.0), min_size=1, max_size=5))
def test_grid_counts_multiply_to_n_with_similar_spacings(n, sides):
    try:
        counts = grid_counts(n, sides)
    except ConfigError as error:
        assert "take" in str(error)
        return
    spacings = [side / count for side, count in zip(sides, counts, strict=True)]
    divided = [spacing for spacing, count in zip(spacings, counts, strict=True) if count > 1]
    assert math.prod(counts) == n
    assert max(spacings) <= 3 * min(divided, default=math.inf)


@pytest.mark.parametrize(
    ("n", "sides", "expected"),
    [
        (900, (1.0, 1.0), (30, 30)),
        (961, (2.0, 2.0), (31, 31)),
        (800, (2.0, 1.0), (40, 20)),
        (1000, (1.0, 1.0, 1.0), (10, 10, 10)),
        (7, (3.0,), (7,)),
        (1, (1.0, 1.0), (1, 1)),
        (5, (1000.0, 1.0), (5, 1)),
    ],
)
def test_grid_counts_known_values(n, sides, expected):
    assert grid_counts(n, sides) == expected


def test_a_prime_number_of_grid_points_is_refused_with_a_number_that_fits():
    with pytest.raises(ConfigError, match=r"got 997: take 1024 = 32 x 32"):
        grid_counts(997, (1.0, 1.0))


@given(n=st.integers(0, 1000), weights=st.lists(st.floats(0.01, 10.0), min_size=1, max_size=8))
def test_apportion_is_exact_and_within_one_of_proportional(n, weights):
    counts = apportion(n, weights)
    assert sum(counts) == n
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - n * weight / sum(weights)) < 1 + 1e-9


def test_nodes_are_midpoints_and_chebyshev_roots():
    assert unit_nodes(4, "uniform").tolist() == [0.125, 0.375, 0.625, 0.875]
    roots = 2 * unit_nodes(7, "chebyshev") - 1
    torch.testing.assert_close(torch.cos(7 * roots.acos()), torch.zeros(7, dtype=torch.float64))
    assert (roots.diff() > 0).all()


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_the_sequence_does_not_depend_on_the_chunks(method):
    small = torch.cat(list(islice(unit_chunks(3, method, 5, 64), 16)))
    large = next(unit_chunks(3, method, 5, 1024))
    assert torch.equal(small, large)


@pytest.mark.parametrize("method", ["sobol", "random", "uniform", "chebyshev"])
def test_points_fill_the_open_cube_evenly(method):
    points = unit_points(4096, (1.0, 1.0, 1.0), method, seed=3)
    assert points.shape == (4096, 3)
    assert points.dtype == torch.float64
    assert ((points > 0) & (points < 1)).all()
    tolerance = 5 / math.sqrt(4096) if method == "random" else 0.01
    torch.testing.assert_close(points.mean(0), points.new_full((3,), 0.5), atol=tolerance, rtol=0)


def test_sobol_beats_random_numbers():
    def error(method):
        return abs(unit_points(4096, (1.0,) * 4, method, seed=1).prod(1).mean().item() - 1 / 16)

    assert error("sobol") < 0.2 * error("random")


@pytest.mark.parametrize("d", [2, 3, 4, 7])
def test_sphere_map_is_uniform(d):
    """First and second moments of the uniform measure on the sphere: 0 and identity / d."""
    points = map_to_sphere(unit_points(2**14, (1.0,) * sphere_coordinates(d), "sobol", 0), d)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(2**14, dtype=torch.float64))
    assert points.mean(0).abs().max() < 2e-3
    assert (points.T @ points / len(points) - torch.eye(d) / d).abs().max() < 2e-3


def test_circle_grid_has_equal_angles():
    points = sphere_points(12, 2, "uniform", 0)
    gaps = (points - points.roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 2 * math.sin(math.pi / 12)))


def test_golden_spiral_keeps_its_points_apart():
    """The densest packing of n points on a sphere has distances of about sqrt(8 pi / (sqrt(3) n))."""
    points = sphere_points(500, 3, "uniform", 0)
    nearest = (torch.cdist(points, points) + 9 * torch.eye(500)).amin(1)
    assert nearest.min() > 0.7 * math.sqrt(8 * math.pi / (math.sqrt(3) * 500))


def test_no_grid_on_a_sphere_in_four_dimensions():
    with pytest.raises(ConfigError, match="sobol"):
        sphere_points(100, 4, "uniform", 0)
