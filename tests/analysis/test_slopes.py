"""Slopes of generalized sums: terms and factors come out up to what F may absorb, also where F turns around."""

import pytest
import torch

from kansci.analysis.slopes import Slopes
from kansci.analysis.surrogate import read_surrogate


def points(n, d, seed=0):
    return 2 * torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def slopes_of(f, a, b, error=None):
    return Slopes.of(read_surrogate(f, points(500, len(a) + len(b)), error), a, b)


def centred(values):
    return values - values.mean()


@pytest.mark.parametrize(
    "outer", [torch.exp, lambda s: (2 * s).sin(), lambda s: (-s.square()).exp(), lambda s: 1 / (1 + s.square())]
)
def test_terms_are_known_up_to_one_scale(outer):
    x = points(40, 3, 1)
    g, h = x[:, 0] ** 2 + x[:, 0] * x[:, 1], 3 * x[:, 2]
    slopes = slopes_of(lambda x: outer(x[:, 0] ** 2 + x[:, 0] * x[:, 1] + 3 * x[:, 2]), [0, 1], [2])
    found = slopes.terms(x, x)
    scale = centred(found[1]) @ h / (centred(h) @ h)
    torch.testing.assert_close(centred(found[1]), scale * centred(h))
    torch.testing.assert_close(centred(found[0]), scale * centred(g))
    assert slopes.size < 1e-12


FACTORS = {
    "x y": (lambda x: x, lambda y: y),
    "x^2 y": (torch.square, lambda y: y),
    "x exp y": (lambda x: x, torch.exp),
    "sin(3x) (y^3 + y)": (lambda x: (3 * x).sin(), lambda y: y**3 + y),
    "x exp(x) y^2": (lambda x: x * x.exp(), torch.square),
}


@pytest.mark.parametrize("name", FACTORS)
def test_factors_are_known_on_both_sides_of_their_zeros(name):
    p, q = FACTORS[name]
    x = points(40, 2, 1)
    found = slopes_of(lambda x: (3 * p(x[:, 0]) * q(x[:, 1]) + 1).sin(), [0], [1]).factors(x, x)
    assert found is not None
    for own, expected in zip((found[0].values, found[1].values), (p(x[:, 0]), q(x[:, 1])), strict=True):
        scale = own @ expected / (expected @ expected)
        assert float((own - scale * expected).norm() / own.norm()) < 0.02


def test_sums_without_zeros_have_no_factors():
    assert slopes_of(lambda x: (5 * (x[:, 0] + x[:, 1])).sin(), [0], [1]).factors(points(9, 2), points(9, 2)) is None


def test_what_is_no_generalized_sum_has_no_common_slopes():
    assert slopes_of(lambda x: (x[:, 0] ** 2 + 3 * x[:, 1]).sin() + x[:, 0] * x[:, 1] / 4, [0], [1]).size > 0.1
