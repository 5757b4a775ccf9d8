"""Kinematics and stresses in principal stretches."""

import pytest
import torch

import kansci as ks
from kansci.physics.hyperelastic import nominal_stress, piola_stress, principal_stretches, second_derivative
from tests.helpers import assert_same


def slopes(stretches):
    """W = sum of l^3 / 3 + (l1 l2 l3)^2 / 2."""
    volume = stretches.prod(1, keepdim=True)
    return stretches.square() + volume.square() / stretches


def hessians(stretches):
    volume = stretches.prod(1)[:, None, None].square()
    outer = 2 * volume / (stretches[:, :, None] * stretches[:, None, :])
    return outer + torch.diag_embed(2 * stretches - volume[:, 0] / stretches.square())


def energy(gradient):
    return torch.linalg.svdvals(gradient).pow(3).sum() / 3 + torch.linalg.det(gradient).square() / 2


@pytest.fixture
def gradients():
    generator = torch.Generator().manual_seed(0)
    return torch.eye(3).double() + 0.3 * torch.randn(20, 3, 3, dtype=torch.float64, generator=generator)


def test_stress_is_the_derivative_of_the_energy(gradients):
    expected = torch.stack([torch.func.grad(energy)(own) for own in gradients])
    assert_same(piola_stress(slopes, gradients), expected, 1e-11)


@pytest.mark.parametrize("equal", [False, True])
def test_second_derivative_is_that_of_the_stress(gradients, equal):
    left, stretches, right = torch.linalg.svd(gradients)
    if equal:
        stretches = stretches[:, :1].expand(-1, 3)
        gradients = left @ (stretches[..., None] * right)
    direction = gradients.roll(1, 0)
    step = 1e-5
    ahead, behind = (piola_stress(slopes, gradients + sign * step * direction) for sign in (1, -1))
    expected = ((ahead - behind) / (2 * step) * direction).sum((1, 2))
    found = second_derivative(slopes(stretches), hessians(stretches), (left, stretches, right), direction)
    assert_same(found, expected, 1e-8)


@pytest.mark.parametrize("mode", ["uniaxial", "equibiaxial", "pure_shear"])
def test_tests_keep_the_volume_and_need_no_force_at_rest(mode):
    stretches = principal_stretches(mode, [1.0, 0.5, 3.0])
    assert_same(stretches.prod(1), torch.ones(3))
    assert abs(nominal_stress(stretches**3, stretches)[0]) < 1e-14


def test_bad_tests_are_refused():
    with pytest.raises(ks.errors.ConfigError, match="uniaxial, equibiaxial, pure_shear"):
        principal_stretches("torsion", [1.0])
    with pytest.raises(ks.errors.DataError, match="positive stretches"):
        principal_stretches("uniaxial", [-0.1])
