"""Look inside one pass of a model: every node, subnode and edge, as data."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.jets import Jet
from kansci.nn.arguments import check_finite
from kansci.nn.dense import DenseNetwork
from kansci.nn.edges import SplineEdges
from kansci.nn.networks import Network


@dataclass(frozen=True)
class Trace:
    """All values of one pass of a model over n points.

    In a LAN or an MLP the edge from node i to node o is W_oi f_i, with f_i the function of node i, or, for inputs, the
    map of their domain to [-1, 1].

    Attributes:
        nodes: for each column l, inputs first, the node values (n, nodes).
        edges: for each layer, the edge values (n, subnodes, sources).
        subnodes: for each layer, the sums of edges into each subnode (n, subnodes), before their affine map or bias.
        outside: for each layer, the share of points outside the domain of each source's splines (sources,); 0 where
            there are none.
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
def trace(model: Network, x: Float[Tensor, "n d"]) -> Trace:
    """Run a model once and keep everything.

    Args:
        model: a MultKAN, LAN or MLP, left unchanged.
        x: points (n, d), raw units.

    Returns:
        The values of all nodes, subnodes and edges.

    Raises:
        ShapeError: x is not (n, d) for this model.
        DataError: x is empty or not finite.

    Example:
        >>> from kansci import MultKAN
        >>> model = MultKAN([2, 3, 1])
        >>> found = trace(model, torch.zeros(4, 2, dtype=torch.float64))
        >>> found
        Trace(4 points, nodes 2 -> 3 -> 1)
        >>> bool(torch.allclose(found.edges[0].sum(-1), found.subnodes[0]))
        True
    """
    sources = model.lift(x, "value")
    check_finite(x, "x")
    nodes = [x if isinstance(model, DenseNetwork) else sources.value]
    layers = []
    for layer in model.layers:
        values = sources.channels[0]
        edges = layer.edge_values(values).permute(2, 0, 1).contiguous()
        layers.append(_LayerTrace(edges, edges.sum(-1), _outside(layer.splines, values)))
        sources = layer.combine(Jet(layers[-1].subnodes.T[None], "value", 0))
        nodes.append(sources.value)
    return Trace(tuple(nodes), *(tuple(values) for values in zip(*layers, strict=True)))


def _outside(splines: SplineEdges | None, x: Float[Tensor, "in n"]) -> Float[Tensor, "in"]:
    """Share of points outside the grid of each source."""
    if splines is None:
        return torch.zeros_like(x[:, 0])
    low, high = splines.domain
    wrapped = splines.wrap(x)
    return (~((low[:, None] <= wrapped) & (wrapped <= high[:, None]))).to(x.dtype).mean(1)
