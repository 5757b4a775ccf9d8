"""Structure trees: of formulas, with constants and unused inputs, and of compiled networks."""

from typing import Any

import pytest
import torch

import kansci as ks
from kansci.errors import ConfigError


def points(d: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
    return low + (high - low) * torch.rand(400, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def top(tree: ks.StructureTree) -> Any:
    assert tree.root is not None
    return tree.root


def shape(part):
    """A tree as nested tuples of the kinds."""
    return part.inputs[0] if part.kind == "input" else (part.kind, *map(shape, part.children))


TREES = {
    "x1*x2 + sin(x3)": ("additive", ("multiplicative", 0, 1), 2),
    "(x1*x2 + x3)*x4": ("multiplicative", ("additive", ("multiplicative", 0, 1), 2), 3),
    "x1*x2*x3 + 5": ("multiplicative", 0, 1, 2),
    "tanh(x1 + x2 + x3)": ("generalized", 0, 1, 2),
    "sin(2*(x1 - x2))*exp(x3*x4)": ("multiplicative", ("generalized", 0, 1), ("generalized", 2, 3)),
    "x1*x2 + x2*x3 + x1*x3": ("function", 0, 1, 2),
    "sin(x1*x2 + x2*x3 + x1*x3) + x4**2": ("additive", ("function", 0, 1, 2), 3),
    "sin(x1*x2)*x3 + exp(x3*x4)": ("function", ("generalized", 0, 1), 2, 3),
}


LONG = ("sin(2*(x1 - x2))*exp(x3*x4)", "sin(x1*x2)*x3 + exp(x3*x4)")


@pytest.mark.parametrize(
    "text", [pytest.param(text, marks=[pytest.mark.slow] if text in LONG else []) for text in TREES]
)
def test_known_trees(text):
    d = max(int(digit) for digit in "1234" if f"x{digit}" in text)
    names = [f"x{k + 1}" for k in range(d)]
    tree = ks.structure_tree(ks.torch_function(ks.parse_formula(text, names), names), points(d), names)
    assert shape(tree.root) == TREES[text]


def test_names_formulas_and_arities():
    tree = ks.structure_tree(
        lambda x: (x[:, 0] ** 2 + x[:, 1] ** 2) ** 2 + x[:, 2] * x[:, 3], points(4), ["a", "b", "c", "d"]
    )
    assert [part.formula for part in top(tree).walk() if part.children] == [None, "a**2 + b**2", "c*d"]
    assert tree.arities == (2, 2, 2)
    assert repr(tree).splitlines()[1:4] == ["sum", "├─ function of a**2 + b**2", "│  ├─ a"]


def test_offsets_of_products_and_of_sums():
    root = ks.structure_tree(lambda x: 3 - x[:, 0] * x[:, 1], points(2))
    assert top(root).offset == pytest.approx(3)
    inner = ks.structure_tree(lambda x: 3 - x[:, 0] * x[:, 1] + x[:, 2], points(3))
    assert [part.offset for part in top(inner).walk()] == [0.0] * 5


def test_unused_inputs_and_constants():
    tree = ks.structure_tree(lambda x: x[:, 1].exp(), points(3))
    assert (shape(tree.root), tree.unused) == (1, (0, 2))
    assert "not used: x1, x3" in repr(tree)
    nothing = ks.structure_tree(lambda x: 0 * x[:, 1] + 2, points(3))
    assert (nothing.root, nothing.arities, nothing.unused) == (None, (), (0, 1, 2))
    assert "constant" in repr(nothing)


@pytest.mark.slow
def test_units_do_not_matter():
    units = torch.tensor([1e3, 1.0, 1e-3, 1.0], dtype=torch.float64)

    def f(x):
        return (x[:, 0] ** 2 + x[:, 1] ** 2) ** 2 + (x[:, 2] * x[:, 3]).sin()

    for factor in (1e-6, 1e6):
        tree = ks.structure_tree(lambda x, factor=factor: factor * f(x / units), points(4) * units)
        assert shape(tree.root) == ("additive", ("generalized", 0, 1), ("generalized", 2, 3))


def test_compiled_networks():
    model = ks.kanpile("x*exp(y) + z*w", ["x", "y", "z", "w"])
    tree = ks.structure_tree(model, points(4).numpy())
    assert shape(tree.root) == ("additive", ("multiplicative", 0, 1), ("multiplicative", 2, 3))


def test_another_number_of_names():
    with pytest.raises(ConfigError, match="expected 3 names, one for each input, got 2"):
        ks.structure_tree(lambda x: x[:, 0], points(3), ["x", "y"])
