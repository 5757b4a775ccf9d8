"""One KAN layer: edges from source nodes into subnodes, subnodes into nodes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.config import LayerConfig
from kansci.jets import Jet
from kansci.nn.basis import EdgeBasis
from kansci.nn.edges import SplineEdges, SymbolicEdges

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

    def forward(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "node n"]:
        """Values of the target nodes, by plain differentiable operations."""
        source = Jet(x[None], "value", 0)
        splines = None if self.splines is None else Jet(self.splines(x)[None], "value", 0)
        return self.combine(self._add_symbols(source, splines)).channels[0]

    def jet(self, jet: Jet) -> Jet:
        """The jet of the target nodes."""
        return self.combine(self.sums(jet)[0])

    def sums(self, jet: Jet) -> tuple[Jet, EdgeBasis | None]:
        """The jet of the sums of edges into each subnode, and what the spline edges are linear in."""
        splines, basis = (None, None) if self.splines is None else self.splines.sums(jet)
        return self._add_symbols(jet, splines), basis

    def _add_symbols(self, source: Jet, splines: Jet | None) -> Jet:
        channels, _, n = source.channels.shape
        sums = (
            source.channels.new_zeros(channels, self.config.out.n_subnodes, n) if splines is None else splines.channels
        )
        if self.symbols is not None:
            for group, edges in zip(self.symbols.groups, self.symbols.jets(source), strict=True):
                sums = sums.index_add(1, torch.tensor(group.targets, device=sums.device), edges.channels)
        return Jet(sums, source.needs, source.d)

    def combine(self, sums: Jet) -> Jet:
        """Subnodes into nodes."""
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
        channels = torch.cat([node.channels for node in nodes], 1)
        return Jet(channels, sums.needs, sums.d).affine(self.node_scale, self.node_bias)
