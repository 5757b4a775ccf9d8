"""The picture of a compilation: from a formula to a network in three steps."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from kansci.functions import library_function
from kansci.nn.multkan import MultKAN
from kansci.nn.samples import sobol_points
from kansci.plot.canvas import Canvas
from kansci.plot.curves import look
from kansci.plot.names import Names
from kansci.plot.network import draw_model, place_model
from kansci.plot.style import POINTS_PER_INCH, text_length
from kansci.plot.tree import draw_tree, leaf_name, place_tree, unfold
from kansci.symbolic.kanpiler import kanpile
from kansci.symbolic.translate import Formula, as_list, build_graph

Place = tuple[float, float]
BORDER, SPACE = 0.15, 0.5  # around the picture, and between its steps [inch]
TITLE, LINE, LETTERS = 0.3, 0.2, 10.0  # up to a title, its height [inch], and its letters [points]
FOOT = 0.32  # height of the names below a tree [inch]
WIDEST = 16.0  # beyond which the steps stand one above the other [inch]
TITLES = ("1. the formula as a tree", "2. variables move to the input layer", "3. equal parts become one")


def draw_kanpiler(
    formula: Formula | Sequence[Formula],
    names: Sequence[str] | None = None,
    *,
    x: Float[Tensor, "n d"] | None = None,
    scale: float = 1.0,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw how `kanpile` makes a network of a formula.

    First the formula is a tree of sums (a plus), products (a cross) and functions of one variable, whose constants, as
    in c f(a x + b), are not shown. Then the variables move down to the input layer, along the blue lines. Last, equal
    variables and equal parts become one, and the tree is a network, drawn as by `draw_network`.

    Args:
        formula: one or several, as text or as SymPy expressions.
        names: the variables; by default those of the formulas in alphabetical order.
        x: points (n, d) at which the functions of the network are drawn; by default Sobol points of [-1, 1], or of
            [0.5, 1.5] where a function has a singularity.
        scale: size of a new figure; at 1, letters have 10 points.
        ax: where to draw; its frame is turned off. By default the axes of a new figure.

    Returns:
        The axes. The blue lines have the gid "moved".

    Raises:
        FormulaError: a formula cannot be compiled, or has more than 100 leaves as a tree.
        ShapeError: x is not (n, d).
        DataError: x holds no points.

    Example:
        >>> ax = draw_kanpiler("exp(sin(pi*x) + y**2)")
        >>> [text.get_text() for text in ax.texts][:5]
        ['exp', 'sin', '$x^{2}$', '$x$', '$y$']

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.2.
    """
    labels = _names(as_list(formula)) if names is None else list(names)
    roots = unfold(build_graph(formula, labels))
    deepest = float(max(root.depth for root in roots))
    trees = [place_tree(forest) for forest in ([root.hung(deepest) for root in roots], roots)]
    model = kanpile(formula, labels)
    network = place_model(model)
    inputs = Names.fit([leaf_name(name) for name in labels], network.width)
    sizes = [(tree.width, tree.height, FOOT) for tree in trees]
    steps = [_Step(*size) for size in (*sizes, (network.width, network.height, inputs.height))]
    if _side_by_side(steps):
        trees = [tree.stretched(network.height) for tree in trees]
    corners, titles, upper = _arrange(steps)
    canvas = Canvas.spread(ax, (-BORDER, -BORDER), upper, scale)
    for tree, corner in zip(trees, corners, strict=False):
        draw_tree(canvas, tree, corner)
    placed = network.shifted(*corners[-1])
    draw_model(canvas, model, look(model, _points(model) if x is None else x), placed, named=True)
    inputs.draw(canvas, placed.nodes[0], below=True)
    for title, place in zip(TITLES, titles, strict=True):
        canvas.text(*place, title, LETTERS, ha="center", va="bottom")
    return canvas.ax


class _Step(NamedTuple):
    """The size of a picture, above and below the level of the inputs."""

    width: float
    height: float
    foot: float


def _widths(steps: Sequence[_Step]) -> list[float]:
    """With their titles."""
    return [max(s.width, text_length(t) * LETTERS / POINTS_PER_INCH) for s, t in zip(steps, TITLES, strict=True)]


def _side_by_side(steps: Sequence[_Step]) -> bool:
    return sum(_widths(steps)) + SPACE * (len(steps) - 1) <= WIDEST


def _arrange(steps: Sequence[_Step]) -> tuple[list[Place], list[Place], Place]:
    """Left ends of the inputs' levels, middles of the titles, and the upper right corner."""
    widths = _widths(steps)
    if _side_by_side(steps):
        ends = np.cumsum(np.add(widths, SPACE)) - SPACE
        middles, width = ends - np.divide(widths, 2), ends[-1]
        floors = np.full(len(steps), max(step.foot for step in steps))
        heights = np.full(len(steps), max(step.height for step in steps))
    else:
        middles, width = np.full(len(steps), max(widths) / 2), max(widths)
        heights = np.array([step.height for step in steps])
        rows = [step.foot + step.height + TITLE + LINE + SPACE for step in steps]
        floors = np.array([sum(rows[k + 1 :]) + step.foot for k, step in enumerate(steps)])
    tops = floors + heights + TITLE
    corners = [(x - step.width / 2, y) for x, y, step in zip(middles, floors, steps, strict=True)]
    return corners, list(zip(middles, tops, strict=True)), (width + BORDER, max(tops) + LINE + BORDER)


def _names(formulas: Sequence[Formula]) -> list[str]:
    """The variables in alphabetical order; in text, words that are neither functions nor constants."""
    found: set[str] = set()
    for formula in formulas:
        if isinstance(formula, str):
            words = re.findall(r"(?<![\w.])[A-Za-z_]\w*(?!\w|\s*\()", formula)
            found |= set(words) - {"pi", "E", "e"}
        else:
            found |= {str(symbol) for symbol in formula.free_symbols}
    return sorted(found) or ["x"]


def _points(model: MultKAN) -> Float[Tensor, "n d"]:
    """Points where the functions of a network are likely to be defined."""
    functions = {
        library_function(name) for layer in model.layers for row in layer.config.symbols for name in row if name
    }
    low, high = (0.5, 1.5) if any(function.singular for function in functions) else (-1.0, 1.0)
    ends = torch.tensor([low, high], dtype=torch.float64).repeat(model.n_inputs, 1)
    return sobol_points(ends[:, 0], ends[:, 1])
