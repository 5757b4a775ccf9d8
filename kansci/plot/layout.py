"""Where the parts of a network's picture lie: columns of nodes bottom to top, rows of boxes between them.

The boxes of a layer stand in the order of their sources, then of their targets, so that the lines below
them never cross. A row of many boxes is split in two, staggered, with the lines of one half passing between
the boxes of the other. Lengths are inches at the picture's own size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from kansci.config import Width

NARROWEST, WIDEST = 3.6, 8.0
SLOT = 0.27  # width that a box would like to have
CROWDED = 0.13  # slots narrower than this make a row split in two
LARGEST_BOX = 0.42
FILL = 0.8  # share of its slot that a box takes
STEEPNESS = 0.3  # rise of the flattest line, relative to its run
LOWEST, HIGHEST = 0.42, 1.1  # rise of a layer's lines
NODE_SLOT = 0.5  # width that a node of a dense network would like to have
DENSE_STEEPNESS, DENSE_LOWEST, DENSE_HIGHEST = 0.25, 0.9, 1.7  # distance of its columns, relative to the width
TOGETHER = 0.8  # distance of the subnodes of a product, relative to others
LIFT = 0.42  # from subnodes to their nodes


@dataclass(frozen=True)
class Row:
    """The edges of one layer.

    Attributes:
        targets: subnodes that the edges lead to.
        sources: nodes that they come from.
        boxes: centers of the boxes.
        size: side of a box.
        below: lines from the source nodes to the boxes, three points each.
        above: lines from the boxes to the target subnodes, three points each.
        top: height of the target subnodes.
    """

    targets: Int[np.ndarray, "e"]
    sources: Int[np.ndarray, "e"]
    boxes: Float[np.ndarray, "e 2"]
    size: float
    below: Float[np.ndarray, "e 3 2"]
    above: Float[np.ndarray, "e 3 2"]
    top: float


@dataclass(frozen=True)
class Layout:
    """Places of everything in the picture of a network.

    Attributes:
        nodes: for each column, inputs first, the node centers.
        subnodes: for each column but the first, the subnode centers.
        rows: for each layer, its edges; none in a dense network, where lines are straight.
        width: from the left to the right border.
    """

    nodes: tuple[Float[np.ndarray, "_ 2"], ...]
    subnodes: tuple[Float[np.ndarray, "_ 2"], ...]
    rows: tuple[Row, ...]
    width: float

    @property
    def height(self) -> float:
        """From the first column to the last."""
        return float(self.nodes[-1][0, 1])

    def shifted(self, x: float, y: float) -> "Layout":
        """The same at another place."""
        by = np.array([x, y])
        rows = [
            replace(row, boxes=row.boxes + by, below=row.below + by, above=row.above + by, top=row.top + y)
            for row in self.rows
        ]
        moved = [tuple(points + by for points in columns) for columns in (self.nodes, self.subnodes)]
        return replace(self, nodes=moved[0], subnodes=moved[1], rows=tuple(rows))


def place_network(columns: Sequence[Width], edges: Sequence[Bool[np.ndarray, "_ _"]]) -> Layout:
    """Places for a network with these columns and, in each layer, these edges."""
    most = max(*(int(mask.sum()) for mask in edges), *(column.n_subnodes for column in columns))
    width = float(np.clip(SLOT * most, NARROWEST, WIDEST))
    nodes, subnodes, rows = [_points(_spread(columns[0], width), 0.0)], [], []
    for column, mask in zip(columns[1:], edges, strict=True):
        x = _spread(column, width)
        rows.append(_place_row(mask, nodes[-1], x, width))
        subnodes.append(_points(x, rows[-1].top))
        nodes.append(_place_nodes(column, subnodes[-1]))
    return Layout(tuple(nodes), tuple(subnodes), tuple(rows), width)


def place_dense(sizes: Sequence[int]) -> Layout:
    """Places for a dense network with columns of these sizes."""
    width = float(np.clip(NODE_SLOT * max(sizes), NARROWEST, WIDEST))
    places = [_spread(Width(size), width) for size in sizes]
    heights = np.arange(len(sizes)) * float(np.clip(DENSE_STEEPNESS * width, DENSE_LOWEST, DENSE_HIGHEST))
    nodes = [_points(x, y) for x, y in zip(places, heights, strict=True)]
    return Layout(tuple(nodes), tuple(nodes[1:]), (), width)


def _spread(column: Width, width: float) -> Float[np.ndarray, "subnode"]:
    """Subnodes from left to right, those of one product closer together than others."""
    x = (np.arange(column.n_subnodes) + 0.5) * width / column.n_subnodes
    for node in range(column.n_sum, column.n_nodes):
        factors = list(column.subnodes(node))
        x[factors] = x[factors].mean() + TOGETHER * (x[factors] - x[factors].mean())
    return x


def _place_row(
    mask: Bool[np.ndarray, "subnode in"],
    nodes: Float[np.ndarray, "in 2"],
    subnodes: Float[np.ndarray, "subnode"],
    width: float,
) -> Row:
    """Boxes side by side, and lines that run upright past the other boxes and straight beyond."""
    sources, targets = np.nonzero(mask.T)
    number = np.arange(len(sources))
    slot = width / max(len(sources), 1)
    levels = 2 if slot < CROWDED else 1
    size = min(FILL * levels * slot, LARGEST_BOX)
    x = slot * (number + 0.5)
    floor = nodes[0, 1] + _rise(nodes[sources, 0] - x)
    bottom = floor + number % levels * size / FILL
    ceiling = floor + size + (levels - 1) * size / FILL
    top = ceiling + _rise(subnodes[targets] - x)
    below = np.stack([nodes[sources], _points(x, floor), _points(x, bottom)], 1)
    above = np.stack([_points(x, bottom + size), _points(x, ceiling), _points(subnodes[targets], top)], 1)
    return Row(targets, sources, _points(x, bottom + size / 2), size, below, above, top)


def _rise(run: Float[np.ndarray, "e"]) -> float:
    """Height of a fan of lines that run this far to the side."""
    return float(np.clip(STEEPNESS * np.abs(run).max(initial=0.0), LOWEST, HIGHEST))


def _place_nodes(column: Width, subnodes: Float[np.ndarray, "subnode 2"]) -> Float[np.ndarray, "node 2"]:
    """Each node above the middle of its subnodes; in a column of sums nodes and subnodes are the same."""
    centers = np.stack([subnodes[list(column.subnodes(node))].mean(0) for node in range(column.n_nodes)])
    centers[:, 1] += LIFT if column.arities else 0.0
    return centers


def _points(x: Float[np.ndarray, "m"], y: float | Float[np.ndarray, "m"]) -> Float[np.ndarray, "m 2"]:
    return np.stack(np.broadcast_arrays(x, y), -1)
