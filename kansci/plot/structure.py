"""Pictures of what a function is made of: the heat map of its second derivatives, and its tree."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import sympy
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from torch import Tensor

from kansci.analysis.separability import Separability
from kansci.analysis.structure import Part, StructureTree
from kansci.errors import ConfigError, ShapeError
from kansci.plot.canvas import Canvas
from kansci.plot.style import GRAY, INK, PAPER, SPLINE, SYMBOLIC, new_axes
from kansci.plot.tree import Branch, draw_tree, leaf_name, place_tree
from kansci.symbolic.parse import parse_formula

CELL, BESIDE, ABOVE = 0.5, 1.2, 0.5  # side of a cell, and room for names and the color bar [inch]
LARGEST, FEW = 7.5, 12  # side of the map [inch], and inputs up to which numbers are written
BORDER, HEAD, FOOT = 0.2, 0.15, 0.35  # around the tree [inch]
BLUES = LinearSegmentedColormap.from_list("paper to blue", [PAPER, "#cfe3f1", "#6aaed6", SPLINE, "#003f66"])


def draw_hessian(
    found: Separability | Float[Tensor, "d d"] | Float[np.ndarray, "d d"],
    names: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw how strongly inputs act together: the standardized second derivatives as a heat map.

    Of a `Separability`, inputs stand in the order of its groups, which have frames. The diagonal, which says nothing
    about separability, is left out.

    Args:
        found: what `detect_separability` returned, or a symmetric matrix.
        names: of the inputs; by default x_1, x_2, ...
        ax: where to draw; by default the axes of a new figure.

    Returns:
        The axes. The frames have the gid "groups".

    Raises:
        ShapeError: the matrix is not square.
        ConfigError: another number of names.

    Example:
        >>> ax = draw_hessian(np.array([[0.0, 1.0], [1.0, 0.0]]), ["x", "y"])
        >>> [label.get_text() for label in ax.get_xticklabels()]
        ['$x$', '$y$']
    """
    matrix, groups = _matrix(found)
    d = len(matrix)
    labels = [f"x_{column + 1}" for column in range(d)] if names is None else list(map(str, names))
    if len(labels) != d:
        raise ConfigError(f"expected {d} names, one for each input, got {len(labels)}")
    order = [column for group in groups for column in group]
    shown = matrix[np.ix_(order, order)]
    side = min(LARGEST, CELL * d)
    ax = new_axes(side + BESIDE, side + ABOVE) if ax is None else ax
    image = _draw_cells(ax, shown)
    ticks = [leaf_name(labels[column]) for column in order]
    ax.set(xticks=range(d), yticks=range(d), xticklabels=ticks, yticklabels=ticks)
    ax.tick_params(length=0)
    ax.xaxis.tick_top()
    ax.spines[:].set_visible(False)
    for start, end in pairwise(np.cumsum([0, *map(len, groups)])):
        frame = Rectangle((start - 0.5, start - 0.5), end - start, end - start, fill=False, gid="groups")
        frame.set(edgecolor=SYMBOLIC, linewidth=1.4, joinstyle="round", clip_on=False, zorder=3)
        if len(groups) > 1:
            ax.add_patch(frame)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.75, pad=0.04, aspect=18)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=GRAY, labelsize="small")
    return ax


def _matrix(found: Any) -> tuple[Float[np.ndarray, "d d"], Sequence[Sequence[int]]]:
    own = isinstance(found, Separability)
    matrix = np.asarray(torch.as_tensor(found.hessian if own else found).detach().cpu(), dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"expected a matrix of shape (d, d), got {matrix.shape}")
    return np.abs(matrix), found.groups if own else [range(len(matrix))]


def _draw_cells(ax: Axes, shown: Float[np.ndarray, "d d"]) -> Any:
    """The colors, and the numbers where there is room."""
    d = len(shown)
    off = np.where(np.eye(d, dtype=bool), np.nan, shown)
    largest = float(np.nanmax(off, initial=0.0)) or 1.0
    colors = BLUES.with_extremes(bad="#eceff2")
    image = ax.imshow(np.ma.masked_invalid(off), cmap=colors, vmin=0.0, vmax=largest)
    ax.set_xticks(np.arange(d - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(d - 1) + 0.5, minor=True)
    ax.grid(which="minor", color=PAPER, linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    for (row, column), value in np.ndenumerate(off):
        if d <= FEW and np.isfinite(value):
            text = f"{value:.2g}" if value >= 1e-3 * largest else "0"
            ax.text(
                column, row, text, ha="center", va="center", fontsize=8, color=PAPER if value > largest / 2 else INK
            )
    return image


def draw_structure(tree: StructureTree, *, scale: float = 1.0, ax: Axes | None = None) -> Axes:
    """Draw the tree of a function: sums, products, and functions of parts, down to the inputs.

    A circle with a plus is a sum of functions of what is below, one with a cross a product of them; a dot is a function
    of which only the number of arguments is known. On the line above a node stands the scalar through which its inputs
    act, where it has a name, or else F where an unknown function is applied to the sum.

    Args:
        tree: what `structure_tree` returned.
        scale: size of a new figure; at 1, letters have 10 points.
        ax: where to draw; its frame is turned off. By default the axes of a new figure.

    Returns:
        The axes.

    Raises:
        ConfigError: the function is constant.

    Example:
        >>> from kansci.analysis.structure import structure_tree
        >>> x = torch.rand(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> ax = draw_structure(structure_tree(lambda x: (x[:, 0] - x[:, 1]).exp(), x, ["x", "y"]))
        >>> [text.get_text() for text in ax.texts]
        ['$x - y$', '$x$', '$y$']
    """
    if tree.root is None:
        raise ConfigError("expected the tree of a function that is not constant; there is nothing to draw")
    root = _branch(tree, tree.root)
    text = _above(tree, tree.root)
    if text:
        root = Branch("", "", root.level + 1, (text,), (root,))
    layout = place_tree([root])
    canvas = Canvas.spread(ax, (-BORDER, -FOOT), (layout.width + BORDER, layout.height + HEAD), scale)
    draw_tree(canvas, layout, (0.0, 0.0))
    return canvas.ax


def _branch(tree: StructureTree, part: Part) -> Branch:
    if part.kind == "input":
        return Branch("", tree.names[part.inputs[0]], 0.0)
    children = tuple(_branch(tree, child) for child in part.children)
    product = part.formula is not None and " + " not in part.formula and " - " not in part.formula
    sign = {"additive": "+", "generalized": "x" if product else "+", "multiplicative": "x"}.get(part.kind, "")
    functions = tuple(_above(tree, child) for child in part.children)
    return Branch(sign, "", 1 + max(child.level for child in children), functions, children)


def _above(tree: StructureTree, part: Part) -> str:
    """What is written on the line from a part to its parent."""
    texts = []
    if part.formula:
        texts.append(f"${sympy.latex(parse_formula(part.formula, tree.names))}$")
    elif part.kind == "generalized":
        texts.append("$F$")
    if part.offset:
        texts.append(f"$+\\,{part.offset:.4g}$" if part.offset > 0 else f"$-\\,{-part.offset:.4g}$")
    return " ".join(texts)
