"""Where the parts of a network's picture lie: columns of nodes bottom to top, rows of boxes between them.

All lengths are inches at the picture's own size. The boxes of a layer stand in the order of their sources, then of
their targets, so the lines below them never cross. A row of many boxes is split in two, staggered, with the lines of
one passing between the boxes of the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from kansci.config import Width

NARROWEST, WIDEST = 3.6, 8.0
SLOT = 0.27  # width that a box would like to have
CROWDED = 0.13  # slots narrower than this make a row split in two
LARGEST_BOX = 0.42
FILL = 0.8  # share of its slot that a box takes
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
    """

    targets: Int[np.ndarray, "e"]
    sources: Int[np.ndarray, "e"]
    boxes: Float[np.ndarray, "e 2"]
    size: float
    below: Float[np.ndarray, "e 3 2"]
    above: Float[np.ndarray, "e 3 2"]


@dataclass(frozen=True)
class Layout:
    """Places of everything in the picture of a network.

    Attributes:
        nodes: for each column, inputs first, the node centers.
        subnodes: for each column but the first, the subnode centers.
        rows: for each layer, its edges.
        width: from the left to the right border.
        height: from the first column to the last.
    """

    nodes: tuple[Float[np.ndarray, "node 2"], ...]
    subnodes: tuple[Float[np.ndarray, "subnode 2"], ...]
    rows: tuple[Row, ...]
    width: float
    height: float


def place_network(columns: Sequence[Width], edges: Sequence[Int[np.ndarray, "e 2"]]) -> Layout:
    """Places for a network with these columns and, in each layer, these edges (target, source)."""
    largest = max(max(map(len, edges)), *(column.n_subnodes for column in columns))
    width = float(np.clip(SLOT * largest, NARROWEST, WIDEST))
    fan = float(np.clip(0.13 * width, 0.5, 0.85))
    nodes, subnodes, rows = [_place(_centers(columns[0], width), 0.0)], [], []
    for column, pairs in zip(columns[1:], edges, strict=True):
        below = nodes[-1]
        size, offsets = _band(len(pairs), width)
        bottom = below[0, 1] + fan
        top = bottom + size + np.ptp(offsets, initial=0.0)
        subnodes.append(_place(_centers(column, width), top + fan))
        nodes.append(_place_nodes(column, subnodes[-1]))
        rows.append(_place_row(pairs, below, subnodes[-1], size, offsets, width))
    return Layout(tuple(nodes), tuple(subnodes), tuple(rows), width, nodes[-1][0, 1])
