"""The picture of a network: nodes in columns, and the curve of every edge in a small box on its way."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from torch import Tensor

from kansci.config import Width
from kansci.nn.multkan import MultKAN
from kansci.plot.boxes import draw_boxes
from kansci.plot.canvas import Canvas
from kansci.plot.curves import has_spline, has_symbol, look
from kansci.plot.layout import place_network
from kansci.plot.names import Names, name_inputs, name_outputs
from kansci.plot.style import GRAY, INK, PAPER

BORDER = 0.1  # left and right of the picture [inch]
DOT, RIM = 0.05, 0.085  # radii of nodes without and with a sign [inch]
LINE = 0.8  # width of lines [points]


def draw_network(
    model: MultKAN,
    x: Float[Tensor, "n d"] | None = None,
    *,
    names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    function_names: bool = True,
    scale: float = 1.0,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw a network, inputs below, outputs above, each edge as a curve in a box.

    A curve spans the values that its source node takes at x, and its own range. With standard deviations
    sigma over x, the opacity of an edge is

    .. math:: 0.1 + 0.9 \tanh\bigl(3\, \sigma(\varphi_{l,s,i}) / \sigma(\Sigma_j \varphi_{l,s,j})\bigr)

    Spline edges are blue, symbolic edges orange, those with both parts purple. Masked edges are left out and
    their room goes to the others. Edges that only pass a value on are plain lines. Nodes with a plus sum
    several edges, those with a cross are products of the subnodes below them, hollow inputs are features, and
    gray nodes have no edges.

    Args:
        model: left unchanged.
        x: points (n, d) at which the network is looked at; by default Sobol points of its domain.
        names: of the raw inputs, or of raw inputs and features; may hold formulas between dollar signs.
        output_names: one for each output.
        function_names: whether symbolic edges name their function, where the box has room.
        scale: size of a new figure; at 1 it is 4 to 8 inches wide, by the number of edges.
        ax: where to draw; its frame is turned off. By default the axes of a new figure.

    Returns:
        The axes. The collections of layer 0 have the gid "edges-0" for lines, "boxes-0", "curves-0", and
        "identities-0" for those that pass a value on.

    Raises:
        ConfigError: the number of names does not fit.
        ShapeError: x is not (n, d) for this model.
        DataError: x holds no points.

    Example:
        >>> ax = draw_network(MultKAN([2, 5, 1]), names=["x", "y"], output_names=["u"])
        >>> [text.get_text() for text in ax.texts]
        ['x', 'y', 'u']
        >>> [len(c.get_paths()) for c in ax.collections if c.get_gid() in ("boxes-0", "boxes-1")]
        [10, 5]

    References:
        Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1.
    """
    seen = look(model, x)
    columns, layers = model.config.columns, model.layers
    edges = [has_spline(layer) | has_symbol(layer) for layer in layers]
    layout = place_network(columns, edges)
    inputs = Names.fit(name_inputs(model, names), layout.width)
    outputs = Names.fit(name_outputs(model, output_names), layout.width)
    upper = layout.width + BORDER, layout.height + outputs.height
    canvas = Canvas.spread(ax, (-BORDER, -inputs.height), upper, scale)
    for number, (layer, row) in enumerate(zip(layers, layout.rows, strict=True)):
        draw_boxes(canvas, row, layer, seen, number, named=function_names)
    _draw_inputs(canvas, layout.nodes[0], edges[0].sum(0), model.n_inputs)
    for number, column in enumerate(columns[1:]):
        _draw_column(canvas, column, edges[number].sum(1), layout.subnodes[number], layout.nodes[number + 1])
    inputs.draw(canvas, layout.nodes[0], below=True)
    outputs.draw(canvas, layout.nodes[-1], below=False)
    return canvas.ax


def _draw_inputs(
    canvas: Canvas, nodes: Float[np.ndarray, "node 2"], n_edges: Int[np.ndarray, "node"], n_inputs: int
) -> None:
    """Raw inputs as dots, features as rings; gray where no edge begins."""
    rims = [INK if n else GRAY for n in n_edges]
    faces = [*rims[:n_inputs], *[PAPER] * (len(rims) - n_inputs)]
    canvas.circles(nodes, DOT * _shrinkage(nodes), faces, rims, gid="inputs")


def _draw_column(
    canvas: Canvas,
    column: Width,
    n_edges: Int[np.ndarray, "subnode"],
    subnodes: Float[np.ndarray, "subnode 2"],
    nodes: Float[np.ndarray, "node 2"],
) -> None:
    """Subnodes, a plus where they sum several edges, and the nodes above them where some are products."""
    dot, rim = np.array([DOT, RIM]) * _shrinkage(subnodes)
    if column.arities:
        pairs = [(subnodes[s], nodes[n]) for n in range(column.n_nodes) for s in column.subnodes(n)]
        canvas.lines(np.array(pairs), LINE)
        canvas.circles(nodes[: column.n_sum], dot, INK)
        _draw_signs(canvas, nodes[column.n_sum :], rim, turn=np.pi / 4, gid="products")
    canvas.circles(subnodes[n_edges == 0], dot, GRAY, GRAY)
    canvas.circles(subnodes[n_edges == 1], dot, INK)
    _draw_signs(canvas, subnodes[n_edges > 1], rim, turn=0.0, gid="sums")


def _draw_signs(canvas: Canvas, centers: Float[np.ndarray, "m 2"], radius: float, *, turn: float, gid: str) -> None:
    """Circles with a plus; a plus turned by 45 degrees is a cross."""
    arms = 0.55 * radius * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    strokes = np.stack([centers[:, None] - arms, centers[:, None] + arms], 2)
    canvas.circles(centers, radius, PAPER, gid=gid)
    canvas.lines(strokes.reshape(-1, 2, 2), LINE)


def _shrinkage(centers: Float[np.ndarray, "m 2"]) -> float:
    """How much smaller nodes are drawn where they stand close together."""
    spacing = np.diff(centers[:, 0]).min(initial=np.inf)
    return float(min(1.0, 0.3 * spacing / RIM))
