"""Equations of motion that Lagrangians say, against those written out; what does not change them; energies."""

import pytest
import torch

from kansci import MultKAN, kanpile
from kansci.errors import ShapeError
from kansci.physics.lagrangian import accelerations, energy, euler_lagrange, inertia, motion
from tests.helpers import assert_same

ONE, TWO = ["q", "v"], ["q1", "q2", "v1", "v2"]
DOUBLE = "v1**2 + v2**2/2 + v1*v2*cos(q1 - q2) + 2*9.8*cos(q1) + 9.8*cos(q2)"


def states(d: int, n: int = 40, size: float = 0.9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(d)
    return size * (2 * torch.rand(n, 2 * d, dtype=torch.float64, generator=generator) - 1)


def double_pendulum(x: torch.Tensor, g: float = 9.8) -> torch.Tensor:
    """The textbook's accelerations for equal masses and rods of 1."""
    q1, q2, v1, v2 = x.T
    gap = q1 - q2
    bottom = 3 - (2 * gap).cos()
    first = -3 * g * q1.sin() - g * (q1 - 2 * q2).sin() - 2 * gap.sin() * (v2**2 + v1**2 * gap.cos())
    second = 2 * gap.sin() * (2 * v1**2 + 2 * g * q1.cos() + v2**2 * gap.cos())
    return torch.stack([first, second], 1) / bottom[:, None]


ONE_DIMENSIONAL = {
    "v**2/2 - q**2/2": lambda q, v: -q,
    "3*v**2 + 6*cos(q)": lambda q, v: -q.sin(),
    "-sqrt(1 - v**2) + q": lambda q, v: (1 - v**2) ** 1.5,
    "exp(2*q)*v**2/2": lambda q, v: -(v**2),
    "v**2*(1 + q**2)/2 - q**2/2": lambda q, v: -q * (1 + v**2) / (1 + q**2),
}


@pytest.mark.parametrize("text", ONE_DIMENSIONAL)
def test_accelerations_are_those_written_out(text):
    x = states(1)
    found = accelerations(kanpile(text, ONE), x)
    assert_same(found, ONE_DIMENSIONAL[text](*x.T)[:, None], 1e-12)


def test_double_pendulum():
    x = 3 * states(2)
    assert_same(accelerations(kanpile(DOUBLE, TWO), x), double_pendulum(x), 1e-12)


def test_any_torch_callable_is_a_lagrangian():
    x = states(2)
    found = accelerations(lambda y: (y[..., 2:].square().sum(-1) / 2 - y[..., :2].prod(-1))[..., None], x)
    assert_same(found, -x[:, :2].flip(1), 1e-12)


def test_charge_in_a_magnetic_field():
    x, field = states(2), 1.7
    model = kanpile(f"(v1**2 + v2**2)/2 + {field}/2*(q1*v2 - q2*v1)", TWO)
    assert_same(accelerations(model, x), field * torch.stack([x[:, 3], -x[:, 2]], 1), 1e-12)
    assert_same(energy(model, x), x[:, 2:].square().sum(1) / 2, 1e-12)


def test_friction_and_forces():
    x = states(1)
    model = kanpile(["v**2 - q**2", "0.3*v**2 + v**4/4"], ONE)
    force = x[:, :1].exp()
    q, v = x.T[..., None]
    assert_same(accelerations(model, x, force), (force - 2 * q - 0.6 * v - v**3) / 2, 1e-12)
    assert_same(energy(model, x), x.square().sum(1), 1e-12)


@pytest.mark.parametrize("change", ["2*q*v*cos(q**2)", "7", "exp(q)*v - 3"])
@pytest.mark.parametrize("factor", [2.5, -0.5])
def test_gauge_leaves_accelerations(change, factor):
    x, text = states(1), "v**2*(1 + q**2)/2 + cos(q)"
    other = kanpile(f"{factor}*({text}) + {change}", ONE)
    assert_same(accelerations(other, x), accelerations(kanpile(text, ONE), x), 1e-11)


def test_energies():
    x = states(1)
    assert_same(energy(kanpile("-sqrt(1 - v**2) + q", ONE), x), (1 - x[:, 1] ** 2) ** -0.5 - x[:, 0], 1e-12)
    x = states(2)
    q1, q2, v1, v2 = x.T
    known = v1**2 + v2**2 / 2 + v1 * v2 * (q1 - q2).cos() - 9.8 * (2 * q1.cos() + q2.cos())
    assert_same(energy(kanpile(DOUBLE, TWO), x), known, 1e-12)


def test_energy_is_conserved_along_the_accelerations():
    x, model = states(2), kanpile(DOUBLE, TWO)
    slope = torch.cat([x[:, 2:], accelerations(model, x)], 1)
    change = energy(model, x + 1e-4 * slope) - energy(model, x - 1e-4 * slope)
    assert change.abs().max() < 1e-9


def test_singular_and_indefinite_masses_are_no_crash():
    x = states(2)
    singular = kanpile("(v1 + v2)**2/2 - q1**2", TWO)
    here = motion(singular.jet(x, "hessian"), x)
    assert not here.is_regular.any()
    assert here.accelerations().isinf().all()
    assert here.regular_accelerations().isinf().all()
    assert accelerations(kanpile("q*v", ONE), states(1)).isinf().all()
    indefinite = kanpile("v1*v2 - q1*q2", TWO)
    here = motion(indefinite.jet(x, "hessian"), x)
    assert not here.is_regular.any()
    assert_same(here.accelerations(), -x[:, :2], 1e-12)
    assert here.regular_accelerations().isinf().all()


def test_only_singular_states_are_infinite():
    x = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, -1.0]], dtype=torch.float64)
    here = motion(kanpile("v**3 - q**2", ONE).jet(x, "hessian"), x)
    assert here.is_regular.tolist() == [True, False, False]
    assert here.accelerations().isfinite()[:, 0].tolist() == [True, False, True]
    assert here.regular_accelerations().isfinite()[:, 0].tolist() == [True, False, False]


def test_residuals_vanish_at_the_law_and_only_there():
    x = states(2)
    term = euler_lagrange(x, double_pendulum(x))
    right, wrong = kanpile(DOUBLE, TWO), kanpile(DOUBLE.replace("2*9.8", "19"), TWO)
    assert term([right.jet(x, "hessian")]).abs().max() < 1e-11
    off = accelerations(wrong, x) - double_pendulum(x)
    assert_same(term([wrong.jet(x, "hessian")]), off, 1e-11)


def test_residuals_with_forces():
    x = states(1)
    force = x[:, 1:].square()
    term = euler_lagrange(x, force / 2 - x[:, :1], force=force)
    assert term([kanpile("v**2 - q**2", ONE).jet(x, "hessian")]).abs().max() < 1e-12


def test_negative_mass_is_refused_unless_allowed():
    x = states(1)
    upside_down = kanpile("q**2/2 - v**2/2", ONE).jet(x, "hessian")
    assert euler_lagrange(x, -x[:, :1])([upside_down]).isinf().all()
    assert euler_lagrange(x, -x[:, :1], regular=False)([upside_down]).abs().max() < 1e-12


def test_inertia_says_the_factor():
    point = states(2, 1)
    model = kanpile(DOUBLE, TWO)
    for coordinate, mass in ((0, 2.0), (1, 1.0)):
        term = inertia(point, coordinate, mass + 0.25)
        assert_same(term([model.jet(point, "hessian")]).flatten(), torch.tensor([-0.25]), 1e-12)


@pytest.mark.parametrize("shape", [(5, 3), (5, 0)])
def test_wrong_states(shape, unchecked):
    x = torch.zeros(shape, dtype=torch.float64)
    for of in (accelerations, energy):
        with pytest.raises(ShapeError, match=rf"\(n, 2 d\), coordinates and then velocities, got \(5, {shape[1]}\)"):
            of(MultKAN([2, 1]), x)


def test_wrong_accelerations_and_forces(unchecked):
    x = states(2)
    with pytest.raises(ShapeError, match=r"expected accelerations of shape \(40, 2\), got \(40, 1\)"):
        euler_lagrange(x, x[:, :1])
    with pytest.raises(ShapeError, match=r"expected force of shape \(40, 2\), got \(39, 2\)"):
        euler_lagrange(x, x[:, :2], force=x[1:, :2])
    with pytest.raises(ShapeError, match="expected states"):
        inertia(x[:1, :3], 0)
