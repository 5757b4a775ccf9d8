"""The nodes in the picture of a network: dots and rings, with a plus for sums and a cross for products."""

import numpy as np
from jaxtyping import Float, Int

from kansci.config import Width
from kansci.plot.canvas import Canvas
from kansci.plot.style import GRAY, INK, PAPER

DOT, RIM = 0.05, 0.085  # radii of nodes without and with a sign [inch]
LINE = 0.8  # width of lines [points]


def draw_inputs(
    canvas: Canvas, nodes: Float[np.ndarray, "node 2"], n_edges: Int[np.ndarray, "node"], n_inputs: int
) -> None:
    """Raw inputs as dots, features as rings; gray where no edge begins."""
    rims = [INK if n else GRAY for n in n_edges]
    faces = [*rims[:n_inputs], *[PAPER] * (len(rims) - n_inputs)]
    canvas.circles(nodes, DOT * _shrinkage(nodes), faces, rims, gid="inputs")


def draw_column(
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
        draw_signs(canvas, nodes[column.n_sum :], rim, turn=np.pi / 4, gid="products")
    canvas.circles(subnodes[n_edges == 0], dot, GRAY, GRAY)
    canvas.circles(subnodes[n_edges == 1], dot, INK)
    draw_signs(canvas, subnodes[n_edges > 1], rim, turn=0.0, gid="sums")


def draw_signs(canvas: Canvas, centers: Float[np.ndarray, "m 2"], radius: float, *, turn: float, gid: str) -> None:
    """Circles with a plus; a plus turned by 45 degrees is a cross."""
    arms = 0.55 * radius * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    strokes = np.stack([centers[:, None] - arms, centers[:, None] + arms], 2)
    canvas.circles(centers, radius, PAPER, gid=gid)
    canvas.lines(strokes.reshape(-1, 2, 2), LINE)


def _shrinkage(centers: Float[np.ndarray, "m 2"]) -> float:
    """How much smaller nodes are drawn where they stand close together."""
    spacing = np.diff(centers[:, 0]).min(initial=np.inf)
    return float(min(1.0, 0.3 * spacing / RIM))
