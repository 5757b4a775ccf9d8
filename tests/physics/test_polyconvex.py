"""Energies of convex curves: whatever the data say, they are polyconvex."""

import numpy as np
import pytest
import torch

import kansci as ks
from kansci.physics.hyperelastic import principal_stretches
from kansci.physics.polyconvex import KINDS, certify, fit_polyconvex
from tests.helpers import assert_same

STRETCH = np.linspace(1.05, 3, 12)


def ogden(mode, stretch=STRETCH):
    stretches = principal_stretches(mode, stretch)
    slopes = 0.4 * stretches**0.8 + 0.01 * stretches**4
    return stretch, slopes[:, 0] - stretches[:, 2] / stretches[:, 0] * slopes[:, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_the_energy(kind):
    energy = fit_polyconvex({"uniaxial": ogden("uniaxial")}, kind=kind, draws=0).energy
    stretches = torch.tensor([[1.2, 0.7, 1.4], [2.0, 2.0, 0.5]], dtype=torch.float64)
    step = 1e-6 * torch.eye(3, dtype=torch.float64)
    _, slopes, hessians = energy.derivatives(stretches)
    for axis in range(3):
        ahead, behind = (energy.derivatives(stretches + sign * step[axis]) for sign in (1, -1))
        assert_same(slopes[:, axis], (ahead[0] - behind[0]) / 2e-6, 1e-7)
        assert_same(hessians[:, axis], (ahead[1] - behind[1]) / 2e-6, 1e-6)
    rest = energy.derivatives(torch.ones(1, 3, dtype=torch.float64))
    assert abs(rest[0]) < 1e-14
    assert rest[1].abs().max() < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_soften_do_not_break_the_promise(kind):
    stress = np.sin(2 * STRETCH)  # no rubber does this
    fit = fit_polyconvex({"uniaxial": (STRETCH, stress), "pure_shear": ogden("pure_shear")}, kind=kind, draws=0)
    assert certify(fit, samples=2000).holds


def test_a_mode_that_was_not_measured_is_predicted():
    fit = fit_polyconvex({mode: ogden(mode) for mode in ("uniaxial", "equibiaxial")}, draws=0)
    stretch, stress = ogden("pure_shear")
    found = fit.energy.nominal(principal_stretches("pure_shear", stretch))
    assert_same(found, stress, 0.02)


def test_bands_hold_what_is_measured_again():
    random = np.random.default_rng(0)
    stretch, stress = ogden("uniaxial", np.linspace(1.05, 3, 60))
    noisy, again = (stress + 0.02 * torch.from_numpy(random.standard_normal(len(stretch))) for _ in range(2))
    fit = fit_polyconvex({"uniaxial": (stretch, noisy)}, draws=50)
    low, high = fit.band("uniaxial", stretch)
    wider = fit.band("uniaxial", stretch, measured=True)
    assert ((wider[0] < again) & (again < wider[1])).double().mean() > 0.7
    assert (wider[0] < low).all()
    assert (wider[1] > high).all()


def test_units_do_not_matter():
    stretch, stress = ogden("uniaxial")
    first, second = (fit_polyconvex({"uniaxial": (stretch, unit * stress)}, draws=0) for unit in (1.0, 1e6))
    assert_same(1e6 * first.numbers, second.numbers, 1e-8)
    assert certify(second, samples=500).holds


def test_bad_data_are_refused():
    with pytest.raises(ks.errors.ConfigError, match="stretches, invariants"):
        fit_polyconvex({"uniaxial": ([1.0], [0.0])}, kind="strains")
    with pytest.raises(ks.errors.DataError, match="a stress for each stretch"):
        fit_polyconvex({"uniaxial": ([1.0, 2.0], [0.0])})
    with pytest.raises(ks.errors.DataError, match="at least one test"):
        fit_polyconvex({})
