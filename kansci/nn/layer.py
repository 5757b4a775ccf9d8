"""One KAN layer: edges from source nodes into subnodes, subnodes into nodes."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.config import LayerConfig
from kansci.jets import Jet
from kansci.nn.edges import EdgeBasis, SplineEdges, SymbolicEdges

# Which axis of the network each axis of a tensor runs along: all that surgery needs to know about tensors.
AXES = {
    "splines.coef": ("subnode", "in", None),
    "splines.scale_base": ("subnode", "in"),
    "splines.scale_spline": ("subnode", "in"),
    "splines.mask": ("subnode", "in"),
    "splines.knots": ("in", None),
    "symbols.affine": ("subnode", "in", None),
    "symbols.mask": ("subnode", "in"),
    "subnode_scale": ("subnode",),
    "subnode_bias": ("subnode",),
    "node_scale": ("node",),
    "node_bias": ("node",),
}


class Curves(NamedTuple):
    """Values and derivatives of every edge of a layer.

    Attributes:
        splines: (n, in, orders, subnode), or None where the layer has no spline edges.
        basis: what the spline edges are linear in, or None.
        symbols: for each group of symbolic edges, (n, orders, edges of the group).
    """

    splines: Tensor | None
    basis: EdgeBasis | None
    symbols: list[Tensor]


class KANLayer(nn.Module):
    """Edges summed into subnodes; addition nodes copy a subnode, multiplication nodes multiply theirs.

    Subnodes and nodes each have an affine map, the identity unless set, that is not trained.
    """

    subnode_scale: Tensor
    subnode_bias: Tensor
    node_scale: Tensor
    node_bias: Tensor

    def __init__(self, config: LayerConfig, generator: torch.Generator) -> None:
        """Build the edges that the configuration names."""
        super().__init__()
        self.config = config
        self.splines = SplineEdges(config, generator) if config.splines else None
        self.symbols = SymbolicEdges(config) if config.symbols else None
        for column, size in (("subnode", config.out.n_subnodes), ("node", config.out.n_nodes)):
            for name, start in (("scale", 1.0), ("bias", 0.0)):
                values = torch.full((size,), start, dtype=torch.float64)
                self.register_parameter(f"{column}_{name}", nn.Parameter(values, requires_grad=False))

    def forward(self, x: Float[Tensor, "n in"]) -> Float[Tensor, "n node"]:
        """Values of the target nodes."""
        return self.combine(self.sums(x))

    def sums(self, x: Float[Tensor, "n in"]) -> Float[Tensor, "n subnode"]:
        """Sums of the edges into each subnode."""
        sums = x.new_zeros(len(x), self.config.out.n_subnodes) if self.splines is None else self.splines(x)
        if self.symbols is not None:
            for group, curves in zip(self.symbols.groups, self.symbols.curves(x, 1), strict=True):
                sums = sums.index_add(1, _index(group.targets, x), curves[:, 0])
        return sums

    def combine(self, sums: Float[Tensor, "n subnode"]) -> Float[Tensor, "n node"]:
        """Subnodes into nodes."""
        return self.combine_jet(Jet(sums[:, None], "value", 0)).value

    def curves(self, x: Float[Tensor, "n in"], orders: int) -> Curves:
        """Values and derivatives of every edge at x."""
        splines, basis = (None, None) if self.splines is None else self.splines.curves(x, orders)
        return Curves(splines, basis, [] if self.symbols is None else self.symbols.curves(x, orders))

    def propagate(self, jet: Jet, curves: Curves) -> Jet:
        """The jet of the target nodes, from that of the sources and the curves of the edges at its values."""
        rule = jet.composition_matrix()
        if curves.splines is None:
            sums = jet.channels.new_zeros(*jet.channels.shape[:2], self.config.out.n_subnodes)
        else:
            sums = torch.bmm(rule.flatten(2), curves.splines.flatten(1, 2))
        for group, values in zip(self.symbols.groups if self.symbols is not None else (), curves.symbols, strict=True):
            edges = jet.select(group.sources).apply(values).channels
            sums = sums.index_add(2, _index(group.targets, sums), edges)
        return self.combine_jet(Jet(sums, jet.needs, jet.d))

    def jet(self, jet: Jet) -> Jet:
        """The jet of the target nodes."""
        return self.propagate(jet, self.curves(jet.value, jet.orders))

    def combine_jet(self, sums: Jet) -> Jet:
        """Subnodes into nodes, as jets."""
        subnodes = sums.affine(self.subnode_scale, self.subnode_bias)
        width = self.config.out
        if not width.arities:
            return subnodes.affine(self.node_scale, self.node_bias)
        nodes = [subnodes.select(slice(0, width.n_sum))]
        for node in range(width.n_sum, width.n_nodes):
            first, *others = (subnodes.select([subnode]) for subnode in width.subnodes(node))
            for factor in others:
                first = first * factor
            nodes.append(first)
        channels = torch.cat([node.channels for node in nodes], 2)
        return Jet(channels, sums.needs, sums.d).affine(self.node_scale, self.node_bias)


def _index(numbers: list[int], like: Tensor) -> Tensor:
    return torch.tensor(numbers, device=like.device)
