"""The picture of a network: nodes in columns, and the curve of every function in a small box on its way."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from torch import Tensor

from kansci.nn.dense import DenseNetwork
from kansci.nn.multkan import MultKAN
from kansci.nn.networks import Network
from kansci.plot.boxes import draw_boxes
from kansci.plot.canvas import Canvas
from kansci.plot.curves import edge_scores, edge_strengths, has_spline, has_symbol, look
from kansci.plot.dense import draw_dense
from kansci.plot.layout import Layout, place_dense, place_network
from kansci.plot.names import Names, name_inputs, name_outputs
from kansci.plot.nodes import draw_column, draw_inputs
from kansci.tracing import Trace

BORDER = 0.1  # left and right of the picture [inch]


def draw_network(
    model: Network,
    x: Float[Tensor, "n d"] | None = None,
    *,
    names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    function_names: bool = True,
    importance: Any = None,
    scale: float = 1.0,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw a network, inputs below, outputs above, each function as a curve in a box.

    A curve spans the values that its source node takes at x, and its own range. In a KAN each edge has a curve. With
    standard deviations sigma over x, its opacity is

    .. math:: 0.1 + 0.9 \tanh\bigl(3\, \sigma(\varphi_{l,s,i}) / \sigma(\Sigma_j \varphi_{l,s,j})\bigr)

    or, where scores of the edges are given as `importance`, 0.1 + 0.9 tanh(3 score).

    Spline edges are blue, symbolic edges orange, those with both parts purple. Masked edges are left out and
    their room goes to the others. Edges that only pass a value on are plain lines. Nodes with a plus sum
    several edges, those with a cross are products of the subnodes below them, hollow inputs are features, and
    gray nodes have no edges.

    In a LAN or an MLP each hidden node has a curve, blue where it is learned, gray where it is given, and weights are
    lines, black where positive, orange where negative. Each term that a node sums has a share, its standard deviation
    relative to that of the largest one. The wider and darker a line, the larger the product of shares along the
    strongest path through it to an output; a box is as dark as the strongest line above it.

    Args:
        model: a MultKAN, LAN or MLP, left unchanged.
        x: points (n, d) at which the network is looked at; by default Sobol points of its domain.
        names: of the raw inputs, or of raw inputs and features; may hold formulas between dollar signs.
        output_names: one for each output.
        function_names: whether symbolic edges name their function, where the box has room.
        importance: scores of edges, those of `attribution_scores` or one array (subnodes, sources) for each layer; by
            default shares of standard deviations as above.
        scale: size of a new figure; at 1 it is 4 to 8 inches wide, by the number of edges.
        ax: where to draw; its frame is turned off. By default the axes of a new figure.

    Returns:
        The axes. The collections of layer 0 have the gid "edges-0" for lines, "boxes-0", "curves-0", and
        "identities-0" for those that pass a value on; in a LAN or an MLP "boxes-1" and "curves-1" are of the first
        hidden column.

    Raises:
        ConfigError: the number of names does not fit.
        ShapeError: x is not (n, d) for this model, or the scores are not those of its edges.
        DataError: x holds no points.

    Example:
        >>> ax = draw_network(MultKAN([2, 5, 1]), names=["x", "y"], output_names=["u"])
        >>> [text.get_text() for text in ax.texts]
        ['x', 'y', 'u']
        >>> [len(c.get_paths()) for c in ax.collections if c.get_gid() in ("boxes-0", "boxes-1")]
        [10, 5]

    References:
        Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1.
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.1 (scores as opacity).
    """
    seen = look(model, x)
    scores = edge_scores(seen, importance)
    layout = place_dense(model.width) if isinstance(model, DenseNetwork) else place_model(model)
    inputs = Names.fit(name_inputs(model, names), layout.width)
    outputs = Names.fit(name_outputs(model, output_names), layout.width)
    upper = layout.width + BORDER, layout.height + outputs.height
    canvas = Canvas.spread(ax, (-BORDER, -inputs.height), upper, scale)
    if isinstance(model, DenseNetwork):
        draw_dense(canvas, model, seen, layout, scores)
    else:
        draw_model(canvas, model, seen, layout, scores, named=function_names)
    inputs.draw(canvas, layout.nodes[0], below=True)
    outputs.draw(canvas, layout.nodes[-1], below=False)
    return canvas.ax


def _edges(model: MultKAN) -> list[Bool[np.ndarray, "subnode in"]]:
    return [has_spline(layer) | has_symbol(layer) for layer in model.layers]


def place_model(model: MultKAN) -> Layout:
    """Places for the edges and nodes of a KAN."""
    return place_network(model.config.columns, _edges(model))


def draw_model(
    canvas: Canvas,
    model: MultKAN,
    seen: Trace,
    layout: Layout,
    scores: Sequence[Float[np.ndarray, "_ _"]] | None = None,
    *,
    named: bool,
) -> None:
    """Draw the edges and nodes of a KAN; the scores of edges are by default their strengths."""
    edges = _edges(model)
    for number, (layer, row) in enumerate(zip(model.layers, layout.rows, strict=True)):
        strengths = edge_strengths(seen, number) if scores is None else scores[number]
        draw_boxes(canvas, row, layer, seen, number, strengths, named=named)
    draw_inputs(canvas, layout.nodes[0], edges[0].sum(0), model.n_inputs)
    for number, column in enumerate(model.config.columns[1:]):
        draw_column(canvas, column, edges[number].sum(1), layout.subnodes[number], layout.nodes[number + 1])
