"""Responses as formulas of invariants that are found."""

import pytest
import torch

import kansci as ks
from kansci.physics.material_law import find_material_law

NAMES = ["F11", "F12", "F21", "F22"]


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def points(n=60):
    generator = torch.Generator().manual_seed(0)
    moved = 0.3 * (2 * torch.rand(n, 4, dtype=torch.float64, generator=generator) - 1)
    return moved + torch.tensor([1.0, 0.0, 0.0, 1.0])


@pytest.mark.slow
@pytest.mark.parametrize("prior", [None, "F12 + F21", "F12 - 3*F22"])
def test_a_component_is_found_with_any_prior(prior):
    x = points()
    law = find_material_law(x.numpy(), (0.7 * (x[:, 0] * x[:, 2] + x[:, 1] * x[:, 3])).numpy(), NAMES, prior=prior)
    assert law.is_exact
    assert law.formula == ks.parse_formula("7*F11*F21/10 + 7*F12*F22/10", NAMES)
    assert (law.prior is None) == (prior is None)


@pytest.mark.slow
def test_few_samples_do_for_few_functions():
    x = points(20)
    law = find_material_law(x, (x[:, 0] * x[:, 3] - x[:, 1] * x[:, 2]).log(), NAMES)
    assert str(law.formula) == "log(F11*F22 - F12*F21)"


@pytest.mark.slow
def test_what_has_no_formula_stays_a_network():
    x = points()
    law = find_material_law(x[:, :1], (5 * x[:, 0]).sin() * (3 * x[:, 0] ** 2).exp(), ["F"], most=1)
    assert not law.is_exact


def test_bad_arguments_are_refused():
    x = points()
    with pytest.raises(ks.errors.ConfigError, match=r"x of shape \(n, 3\)"):
        find_material_law(x, x[:, 0], NAMES[:3])
    with pytest.raises(ks.errors.FormulaError, match="a prior with some of the variables"):
        find_material_law(x, x[:, 0], NAMES, prior="2.5")
    with pytest.raises(ks.errors.DataError, match="more samples"):
        find_material_law(x[:5], x[:5, 0], NAMES)
