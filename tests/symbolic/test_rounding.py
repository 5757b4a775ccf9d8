"""Constants that become simple numbers."""

import pytest
import sympy
import torch

from kansci import formula, kanpile, round_constants

pytestmark = pytest.mark.usefixtures("unchecked")

X = 2 * torch.rand(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
NAMES = ["x", "y", "z"]


@pytest.mark.slow
def test_what_nothing_determines_becomes_simple_where_most_values_are_not_defined():
    """2 (x + s)^2 + 2 (y + s)^2 - (x + y + 2 s)^2 is (x - y)^2 for all s, and negative as soon as one s alone moves."""
    distance = ((X[:, :1] - X[:, 1:2]) ** 2 + X[:, 2:] ** 2).sqrt()
    s = 0.0920902704686697
    model = kanpile(f"sqrt(2*(x + {s})**2 + 2*(y + {s})**2 - (x + y + {2 * s})**2 + z**2)", NAMES)
    found = formula(round_constants(model, (X, distance)), NAMES)[0]
    x, y, z = sympy.symbols(NAMES, real=True)
    assert sympy.expand(found**2 - (x - y) ** 2 - z**2) == 0
    assert found.atoms(sympy.Float) == set()
