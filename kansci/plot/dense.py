"""The picture of a dense network: straight lines for weights, and a curve in a box for the function of each node."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from kansci.config import Width
from kansci.nn.dense import DenseLayer, DenseNetwork
from kansci.plot.boxes import POINTS, fit_curves, line_widths, translucent
from kansci.plot.canvas import Canvas
from kansci.plot.curves import edge_strengths, node_curves
from kansci.plot.layout import FILL, LARGEST_BOX, Layout
from kansci.plot.nodes import draw_column, draw_inputs
from kansci.plot.style import GRAY, INK, SPLINE, SYMBOLIC
from kansci.tracing import Trace

THINNEST, THICKEST = 0.25, 1.8  # widths of lines [points]
CROWDED = 12  # lines into a node beyond which they become thinner
FAINTEST_LINE, FAINTEST_BOX = 0.07, 0.25  # opacities of what does nothing


def draw_dense(
    canvas: Canvas,
    model: DenseNetwork,
    seen: Trace,
    layout: Layout,
    scores: Sequence[Float[np.ndarray, "_ _"]] | None = None,
) -> None:
    """Draw lines first, then nodes; the scores of lines are by default `line_strengths`."""
    sizes = [0.0, *(min(FILL * layout.width / len(nodes), LARGEST_BOX) for nodes in layout.nodes[1:-1]), 0.0]
    lines = line_strengths(seen) if scores is None else [np.minimum(own, 1.0) for own in scores]
    for number, layer in enumerate(model.layers):
        above, below = (size / 2 * np.array([0.0, 1.0]) for size in sizes[number : number + 2])
        starts, ends = layout.nodes[number] + above, layout.nodes[number + 1] - below
        _draw_lines(canvas, layer, lines[number], starts, ends, f"edges-{number}")
    for number in range(1, len(model.layers)):
        layer, nodes = model.layers[number], layout.nodes[number]
        curves = fit_curves(node_curves(layer, seen.nodes[number], POINTS), nodes, sizes[number])
        _draw_functions(canvas, layer, lines[number].max(0), curves, nodes, sizes[number], number)
    draw_inputs(canvas, layout.nodes[0], np.full(model.n_inputs, model.width[1]), model.n_inputs)
    draw_column(canvas, Width(model.n_outputs), np.full(model.n_outputs, model.width[-2]), *[layout.nodes[-1]] * 2)


def line_strengths(seen: Trace) -> list[Float[np.ndarray, "_ _"]]:
    """For each layer, how much each line matters, from 0 to 1.

    Of the terms that a node sums, each has the share of its standard deviation in the largest one; a line matters as
    much as the strongest path of shares from it to an output.
    """
    after, found = np.ones(seen.output.shape[1]), []
    for number in reversed(range(len(seen.edges))):
        strengths = edge_strengths(seen, number)
        most = strengths.max(1, keepdims=True)
        shares = np.divide(strengths, most, out=np.zeros_like(strengths), where=most > 0)
        found.append(shares * after[:, None])
        after = found[-1].max(0)
    return found[::-1]


def _draw_lines(
    canvas: Canvas,
    layer: DenseLayer,
    strengths: Float[np.ndarray, "out in"],
    starts: Float[np.ndarray, "in 2"],
    ends: Float[np.ndarray, "out 2"],
    gid: str,
) -> None:
    """The faintest first, that they do not cover others."""
    order = np.argsort(strengths, axis=None, kind="stable")
    targets, sources = np.unravel_index(order, strengths.shape)
    strength = strengths[targets, sources]
    negative = (layer.weight.detach() < 0).cpu().numpy()[targets, sources]
    colors = translucent([SYMBOLIC if own else INK for own in negative], _opacity(strength, FAINTEST_LINE))
    thickest = THICKEST * min(1.0, CROWDED / len(starts)) ** 0.5
    widths = THINNEST + (thickest - THINNEST) * strength
    canvas.lines(np.stack([starts[sources], ends[targets]], 1), widths, colors, gid)


def _draw_functions(
    canvas: Canvas,
    layer: DenseLayer,
    strengths: Float[np.ndarray, "in"],
    curves: Float[np.ndarray, "in p 2"],
    nodes: Float[np.ndarray, "in 2"],
    size: float,
    number: int,
) -> None:
    thin, thick = line_widths(size)
    color = GRAY if layer.splines is None else SPLINE
    colors = translucent([color] * len(nodes), _opacity(strengths, FAINTEST_BOX))
    canvas.squares(nodes, size, thin, colors, f"boxes-{number}")
    canvas.lines(curves, thick, colors, f"curves-{number}")


def _opacity(strengths: Float[np.ndarray, "e"], faintest: float) -> Float[np.ndarray, "e"]:
    return faintest + (1 - faintest) * np.tanh(2 * strengths)
