"""Look inside one pass of a model: every node, subnode and edge, as data."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.jets import Jet
from kansci.nn.arguments import check_finite
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN


@dataclass(frozen=True)
class Trace:
    """All values of one pass of a model over n points.

    Attributes:
        nodes: for each column l, inputs first, the node values (n, nodes).
        edges: for each layer, the edge values (n, subnodes, sources).
        subnodes: for each layer, the sums of edges into each subnode (n, subnodes), before their affine map.
        outside: for each layer, the share of points outside the domain of each source's splines (sources,).
    """

    nodes: tuple[Float[Tensor, "n _"], ...]
    edges: tuple[Float[Tensor, "n _ _"], ...]
    subnodes: tuple[Float[Tensor, "n _"], ...]
    outside: tuple[Float[Tensor, "_"], ...]

    @property
    def output(self) -> Float[Tensor, "n m"]:
        """Values of the outputs."""
        return self.nodes[-1]

    def __repr__(self) -> str:
        """Number of points and size of each column."""
        columns = " -> ".join(str(nodes.shape[1]) for nodes in self.nodes)
        return f"Trace({len(self.output)} points, nodes {columns})"


class _LayerTrace(NamedTuple):
    edges: Tensor
    subnodes: Tensor
    outside: Tensor


@torch.no_grad()
def trace(model: MultKAN, x: Float[Tensor, "n d"]) -> Trace:
    """Run a model once and keep everything.

    Args:
        model: left unchanged.
        x: points (n, d), raw units.

    Returns:
        The values of all nodes, subnodes and edges.

    Raises:
        ShapeError: x is not (n, d) for this model.
        DataError: x is empty or not finite.

    Example:
        >>> model = MultKAN([2, 3, 1])
        >>> found = trace(model, torch.zeros(4, 2, dtype=torch.float64))
        >>> found
        Trace(4 points, nodes 2 -> 3 -> 1)
        >>> bool(torch.allclose(found.edges[0].sum(-1), found.subnodes[0]))
        True
    """
    nodes = [model.lift(x, "value").value]
    check_finite(x, "x")
    layers = []
    for layer in model.layers:
        layers.append(_trace_layer(layer, nodes[-1].T))
        subnodes = Jet(layers[-1].subnodes.T[None], "value", 0)
        nodes.append(layer.combine(subnodes).value)
    return Trace(tuple(nodes), *(tuple(values) for values in zip(*layers, strict=True)))


def _trace_layer(layer: KANLayer, x: Float[Tensor, "in n"]) -> _LayerTrace:
    outside = x.new_zeros(layer.config.n_in)
    if layer.splines is not None:
        low, high = layer.splines.domain
        wrapped = layer.splines.wrap(x)
        outside = (~((low[:, None] <= wrapped) & (wrapped <= high[:, None]))).to(x.dtype).mean(1)
    edges = layer.edge_values(x).permute(2, 0, 1).contiguous()
    return _LayerTrace(edges, edges.sum(-1), outside)
