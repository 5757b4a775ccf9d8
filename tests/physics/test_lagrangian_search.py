"""The search for a Lagrangian: what it refuses, and what it finds."""

import pytest
import torch

from kansci.errors import ConfigError, ShapeError
from kansci.physics.lagrangian import accelerations
from kansci.physics.lagrangian_search import find_lagrangian

GENERATOR = torch.Generator().manual_seed(0)
X = 4 * torch.rand(120, 2, dtype=torch.float64, generator=GENERATOR) - 2


def relative_error(model, x, wanted, force=None) -> float:
    return float((accelerations(model, x, force) - wanted).norm() / wanted.norm())


def test_wrong_shapes_and_names(unchecked):
    with pytest.raises(ShapeError, match=r"expected states \(n, 2 d\).*got \(120, 2\), \(120, 2\)"):
        find_lagrangian(X, X)
    with pytest.raises(ShapeError, match=r"2 d names.*\['q'\]"):
        find_lagrangian(X, X[:, :1], ["q"])


def test_unknown_parts():
    with pytest.raises(ConfigError, match="expected parts among inertia"):
        find_lagrangian(X, -X[:, :1], ["q", "v"], parts=[("magic",)])


@pytest.mark.slow
def test_a_network_without_a_formula():
    found = find_lagrangian(X, -X[:, :1], ["q", "v"], parts=[()], read=False)
    assert found.formulas is None
    assert found.model is found.network
    assert found.singular_share == 0
    assert [own.parts for own in found.attempts] == [()]
    assert relative_error(found.model, X, -X[:, :1]) < 1e-8
    assert "Attempt" in repr(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "formula"),
    [
        (lambda q, v: -q, "(-q**2/2 + v**2/2,)"),
        (lambda q, v: -q.sin(), "(v**2/2 + cos(q),)"),
        (lambda q, v: -q - q**3, None),
    ],
)
def test_formulas(law, formula):
    wanted = law(X[:, :1], X[:, 1:])
    found = find_lagrangian(X, wanted, ["q", "v"])
    assert found.formulas is not None
    assert formula is None or str(found.formulas) == formula
    assert relative_error(found.model, X, wanted) < 1e-9
    again = find_lagrangian(X, wanted, ["q", "v"])
    assert again.formulas == found.formulas


@pytest.mark.slow
def test_friction_is_found():
    wanted = -X[:, :1] - 0.3 * X[:, 1:]
    found = find_lagrangian(X, wanted, ["q", "v"], parts=[(), ("friction",)])
    assert found.model.n_outputs == 2
    assert relative_error(found.model, X, wanted) < 1e-6


@pytest.mark.slow
def test_forces_say_what_the_mass_is():
    force = 3 * torch.randn(120, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = find_lagrangian(X, (force - 4 * X[:, :1]) / 2, ["q", "v"], force=force)
    assert relative_error(found.model, X, force / 2 - 2 * X[:, :1], force) < 1e-8
    assert str(found.formulas) == "(-2*q**2 + v**2,)"


@pytest.mark.slow
def test_masks_of_the_caller_are_left_alone():
    x = 2 * torch.rand(700, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1
    independent = torch.ones(700, dtype=torch.bool)
    find_lagrangian(x, -x[:, :1], ["q", "v"], parts=[()], read=False, independent=independent)
    assert independent.all()
