"""One KAN layer: edges from source nodes into subnodes, subnodes into nodes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.config import LayerConfig
from kansci.jets import Jet
from kansci.nn.basis import Basis
from kansci.nn.edges import SplineEdges
from kansci.nn.symbols import SymbolicEdges

# Which axis of the network each axis of a tensor runs along: all that surgery needs to know about tensors.
AXES = {
    "splines.coef": ("subnode", "in", None),
    "splines.scale_base": ("subnode", "in"),
    "splines.scale_spline": ("subnode", "in"),
    "splines.mask": ("subnode", "in"),
    "splines.knots": ("in", None),
    "symbols.affine": ("subnode", "in", None),
    "symbols.mask": ("subnode", "in"),
    "symbols.fixed": ("subnode", "in", None),
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
        """Values of the target nodes."""
        return self.jet(Jet(x[None], "value", 0)).channels[0]

    def jet(self, jet: Jet) -> Jet:
        """The jet of the target nodes."""
        return self.multiply(self.subnodes(jet)[0])

    def subnodes(self, jet: Jet) -> tuple[Jet, Basis | None]:
        """The jet of the subnodes, their affine maps included, and what the spline edges are linear in."""
        scale, bias = self.maps
        if self.splines is None:
            n = jet.channels.shape[2]
            nothing = Jet(jet.channels.new_zeros(len(jet.channels), len(scale), n), jet.needs, jet.d)
            subnodes, basis = nothing.affine(scale, bias), None
        else:
            subnodes, basis = self.splines.sums(jet, scale, bias)
        return self._add_symbols(jet, subnodes, scale), basis

    @property
    def maps(self) -> tuple[Float[Tensor, "subnode"], Float[Tensor, "subnode"]]:
        """Scale and bias of the sums of edges: of the subnodes, and of the addition nodes that copy them."""
        n_sum = self.config.out.n_sum
        if not self.config.out.arities:
            return self.node_scale * self.subnode_scale, self.node_scale * self.subnode_bias + self.node_bias
        scale = torch.cat([self.node_scale[:n_sum] * self.subnode_scale[:n_sum], self.subnode_scale[n_sum:]])
        copied = self.node_scale[:n_sum] * self.subnode_bias[:n_sum] + self.node_bias[:n_sum]
        return scale, torch.cat([copied, self.subnode_bias[n_sum:]])

    def edge_values(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "subnode in n"]:
        """The value of each edge, for those who look; sums of edges do without."""
        edges = x.new_zeros(self.config.out.n_subnodes, *x.shape)
        if self.splines is not None:
            edges = edges + self.splines.edge_values(x)
        if self.symbols is not None:
            edges = edges + self.symbols.edge_values(x)
        return edges

    def _add_symbols(self, source: Jet, subnodes: Jet, scale: Float[Tensor, "subnode"]) -> Jet:
        if self.symbols is None:
            return subnodes
        channels = subnodes.channels
        for group, edges in zip(self.symbols.groups, self.symbols.jets(source), strict=True):
            targets = torch.tensor(group.targets, device=channels.device)
            channels = channels.index_add(1, targets, edges.channels * scale[targets, None])
        return Jet(channels, source.needs, source.d)

    def combine(self, sums: Jet) -> Jet:
        """Sums of edges into nodes."""
        return self.multiply(sums.affine(*self.maps))

    def multiply(self, subnodes: Jet) -> Jet:
        """Subnodes, their affine maps included, into nodes."""
        width = self.config.out
        if not width.arities:
            return subnodes
        nodes = []
        for node in range(width.n_sum, width.n_nodes):
            first, *others = (subnodes.select([subnode]) for subnode in width.subnodes(node))
            for factor in others:
                first = first * factor
            nodes.append(first.channels)
        products = Jet(torch.cat(nodes, 1), subnodes.needs, subnodes.d)
        products = products.affine(self.node_scale[width.n_sum :], self.node_bias[width.n_sum :])
        copies = subnodes.channels[:, : width.n_sum]
        return Jet(torch.cat([copies, products.channels], 1), subnodes.needs, subnodes.d)
