"""Energies found from stresses."""

import pytest
import torch

import kansci as ks
from kansci.physics.energy_search import find_energy
from kansci.physics.energy_terms import FAMILIES, Deformation, InvariantTerm


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def gradients(n, size=2):
    generator = torch.Generator().manual_seed(0)
    return torch.eye(size).double() + 0.4 * torch.rand(n, size, size, dtype=torch.float64, generator=generator)


def total(gradient, terms):
    at = Deformation.read(gradient)
    size = gradient.shape[1]
    parts = [factor * InvariantTerm(text).stress(at) for text, factor in terms.items()]
    return torch.stack(parts).sum(0)[:, :size, :size]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("text", ["I1*I2 + J**3", "log(I2/3)*sqrt(J)"])
def test_stresses_are_derivatives_of_energies(size, text):
    def energy(f):
        whole = torch.block_diag(f, torch.ones(1, 1)) if size == 2 else f
        squares, volume = whole.mT @ whole, torch.linalg.det(whole)
        first = squares.trace()
        second = (first**2 - (squares @ squares).trace()) / 2
        invariants = torch.stack([first * volume ** (-2 / 3), second * volume ** (-4 / 3), volume])
        return ks.torch_function(ks.parse_formula(text, ["I1", "I2", "J"]), ["I1", "I2", "J"])(invariants)

    f = gradients(5, size)
    expected = torch.stack([torch.func.grad(energy)(own) for own in f])
    assert (total(f, {text: 1.0}) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("terms", [{"(I1 - 3)": 0.5, "(J - 1)**2": 1.5}, {"log(I2/3)": 1.0, "(I1 - 3)**2": 0.3}])
def test_terms_are_found(size, terms):
    f = gradients(100, size)
    stress = total(f, terms)
    generator = torch.Generator().manual_seed(1)
    noise = 1e-3 * stress.flatten(1).std(0).view(size, size)
    stress = stress + noise * torch.randn(stress.shape, dtype=torch.float64, generator=generator)
    found = find_energy(f, stress.numpy())
    assert {own.text for own in found.terms} == set(terms)
    for own in found.terms:
        assert abs(own.factor - terms[own.text]) < 5 * own.standard_error
    assert (found.stress(f) - stress).abs().max() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("name", "inner"), [("power", -1.3), ("chain", 5.0), ("limited", 12.0)])
def test_constants_inside_terms_are_found(name, inner):
    f = gradients(100)
    stress = 2 * FAMILIES[name].stress_of(Deformation.read(f), inner)[:, :2, :2]
    (term,) = find_energy(f, stress).terms
    assert (term.family, term.inner, term.factor) == (name, pytest.approx(inner, rel=1e-3), pytest.approx(2, rel=1e-2))


def test_bad_data_are_refused():
    f = gradients(10)
    with pytest.raises(ks.errors.ShapeError, match="shape of F"):
        find_energy(f, f[:, 0])
    with pytest.raises(ks.errors.DataError, match="positive determinants"):
        find_energy(-f.abs() * torch.tensor([1.0, -1.0]), f)
    with pytest.raises(ks.errors.DataError, match="nothing to explain"):
        find_energy(f, torch.zeros_like(f))
