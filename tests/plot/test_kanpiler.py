"""The picture of a compilation: what its three steps show, and that all of it can be read."""

from itertools import combinations, pairwise
from typing import Any

import matplotlib.pyplot as plt
import pytest
import sympy
import torch
from matplotlib.colors import to_rgba

import kansci as ks
from kansci.errors import FormulaError, ShapeError
from kansci.plot import draw_kanpiler
from kansci.plot.style import SPLINE
from kansci.plot.tree import place_tree, unfold
from kansci.symbolic.translate import build_graph
from tests.benchmarks.feynman import read_equations

TEXTS = [
    "exp(sin(pi*x) + y**2)",
    "(u + v)/(1 + u*v/c**2)",
    "x",
    "3",
    "x*y",
    ["x*y", "x*exp(-y) + 3"],
    "sqrt(x)*log(y)/(1 + j0(x))",
]
EQUATIONS = read_equations()[::6]


def collections(ax, gid) -> list[Any]:
    return [group for group in ax.collections if group.get_gid() == gid]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def assert_readable(ax) -> None:
    """No letters touch others, and all are inside the figure."""
    figure = ax.figure
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text() and text.get_fontsize() > 7]
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("text", TEXTS, ids=str)
def test_everything_can_be_read(text):
    assert_readable(draw_kanpiler(text))


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: equation.id)
def test_equations_of_physics_can_be_read(equation):
    assert_readable(draw_kanpiler(equation.formula, equation.names))


def test_three_steps():
    ax = draw_kanpiler("exp(sin(pi*x) + y**2)", ["x", "y"])
    tree = ["exp", "sin", "$x^{2}$", "$x$", "$y$"]
    assert texts(ax)[:10] == [*tree, *tree]
    assert texts(ax)[-5:-3] == ["$x$", "$y$"]
    assert [text[:2] for text in texts(ax)[-3:]] == ["1.", "2.", "3."]
    assert len(collections(ax, "tree-sums")) == 2
    assert len(collections(ax, "boxes-0")) == 1
    assert not collections(ax, "moved")


def test_lines_of_variables_that_move_are_blue():
    moved = collections(draw_kanpiler("x*exp(y*z)*sin(x*y + 1)"), "moved")
    assert len(moved) == 1
    assert all(tuple(lines.get_colors()[0]) == to_rgba(SPLINE) for lines in moved)


def test_trees_have_every_part_as_often_as_it_occurs():
    graph = build_graph("sin(x*y) + exp(x*y)*x", ["x", "y"])
    (root,) = unfold(graph)
    assert sorted(leaf.name for leaf in root.leaves) == ["x", "x", "x", "y", "y"]
    assert root.depth == 3
    assert {leaf.level for leaf in root.leaves} == {0}


def test_leaves_stand_apart_and_parents_in_the_middle():
    roots = unfold(build_graph(["(u + v)/(1 + u*v/c**2)", "u*v*c"], ["u", "v", "c"]))
    layout = place_tree(roots)
    x = sorted(spot.x for spot in layout.spots if not spot.children)
    assert min(b - a for a, b in pairwise(x)) >= 0.36
    assert x[0] > 0 and x[-1] < layout.width
    for spot in layout.spots:
        for child in spot.children:
            assert child.y < spot.y
            assert spot.children[0].x <= spot.x <= spot.children[-1].x


def test_names_are_those_of_the_formulas_or_given():
    x, omega = sympy.symbols("x omega", real=True)
    assert "$\\omega$" in texts(draw_kanpiler(sympy.sin(omega * x)))
    assert texts(draw_kanpiler("sin(t_1) + 2e3*E"))[1] == "$t_{1}$"
    with pytest.raises(FormulaError, match="unknown name 'y'"):
        draw_kanpiler("x*y", ["x"])


def test_axes_are_drawn_in_and_points_can_be_given():
    _, ax = plt.subplots(figsize=(4, 2))
    x = torch.rand(20, 2, dtype=torch.float64)
    assert draw_kanpiler("x*y", ax=ax, x=x) is ax
    with pytest.raises(ShapeError):
        draw_kanpiler("x*y", x=x[:, :1])


def test_large_formulas_stand_in_rows_and_huge_ones_are_refused():
    wide = " + ".join(f"sin({k}*x)*y" for k in range(1, 15))
    figure: Any = draw_kanpiler(wide).figure
    assert figure.get_figheight() > 7
    assert_readable(figure.axes[0])
    part = sympy.Symbol("x", real=True)
    for _ in range(30):
        part = sympy.sin(part) + sympy.exp(part)
    with pytest.raises(FormulaError, match="up to 100 leaves as a tree, got 1073741824"):
        ks.plot.draw_kanpiler(part, ["x"])
