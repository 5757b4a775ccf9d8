"""The time in which space is flat: the truth, and what is read from networks."""

import pytest
import torch

import kansci as ks
from problems.black_hole.physics import SCHWARZSCHILD, BlackHole
from problems.black_hole.reading import read_rational

FORMULA = "2*sqrt(r) + log((sqrt(r) - 1)/(sqrt(r) + 1))"


def test_the_truth_is_that_of_gullstrand_and_painleve():
    radii = SCHWARZSCHILD.radii(50)
    values = ks.torch_function(ks.parse_formula(FORMULA, ["r"]), ["r"])(radii)
    assert (SCHWARZSCHILD.true_shift(radii) - values + values[-1]).abs().max() < 1e-14
    term = SCHWARZSCHILD.residual(50, 0)
    jet = ks.kanpile(FORMULA, ["r"]).jet(term.point_sets[0], "gradient")
    assert term([jet]).abs().max() < 1e-12


@pytest.mark.parametrize(("formula", "count"), [(FORMULA, 1), ("3*r - log(r + 2)", 1), ("log(r - 0.5)/4", 1)])
def test_functions_with_rational_slopes_are_read(formula, count):
    radii = SCHWARZSCHILD.radii(200)
    truth = ks.kanpile(formula, ["r"])
    found = read_rational(truth, radii, 1e-9)[:count]
    rest = [ks.torch_function(own, ["r"])(radii) - truth(radii)[:, 0] for own in found]
    assert any((own - own.mean()).abs().max() < 1e-6 for own in rest)


def test_inside_the_horizon_nothing_rests():
    with pytest.raises(ks.errors.ConfigError, match="outside the horizon"):
        BlackHole("1 - 1/r", 0.5, 2.0).check()
    BlackHole("1 - 1/r**2", 1.1, 2.0).check()
    assert torch.isfinite(BlackHole("1 - 1/r**2", 1.1, 2.0).true_shift(torch.tensor([[1.1], [2.0]]).double())).all()
