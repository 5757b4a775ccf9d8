"""Symbolic edges: phi(x) = mask (c f(a x + b) + d), with f a function of LIBRARY, evaluated one f at a time.

Tensors are indexed [target subnode, source node, ...]; points run along the last axis.
"""

import math
from collections import defaultdict
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.config import LayerConfig
from kansci.functions import Function, library_function
from kansci.jets import Jet


class SymbolGroup(NamedTuple):
    """The symbolic edges that share a function."""

    function: Function
    targets: list[int]
    sources: list[int]

    @property
    def idle(self) -> float:
        """A point inside the function's domain, where masked edges are evaluated: 0 times NaN would be NaN."""
        low, high = self.function.domain
        if math.isfinite(high - low):
            return (low + high) / 2
        return min(max(0.5, low + 0.5), high - 0.5)


class SymbolicEdges(nn.Module):
    """The symbolic edges of a layer: c f(a x + b) + d, one call for each distinct f.

    Attributes:
        affine: (subnode, in, 4), the constants a, b, c, d; those of edges without a function are unused.
        mask: (subnode, in), factor of the whole edge, 0 for those that are cut.
        fixed: (subnode, in, 4), 1 for constants that no solve changes, else 0.
        groups: the edges of each function.
    """

    affine: Tensor
    mask: Tensor
    fixed: Tensor

    def __init__(self, config: LayerConfig) -> None:
        """Every edge starts as f itself: a = c = 1, b = d = 0."""
        super().__init__()
        shape = (config.out.n_subnodes, config.n_in)
        self.affine = nn.Parameter(torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64).repeat(*shape, 1))
        self.register_buffer("mask", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("fixed", torch.zeros(*shape, 4, dtype=torch.float64))
        members: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for target, row in enumerate(config.symbols):
            for source, name in enumerate(row):
                if name:
                    members[name].append((target, source))
        self.groups = [
            SymbolGroup(library_function(name), *map(list, zip(*edges, strict=True))) for name, edges in members.items()
        ]

    def jets(self, jet: Jet) -> list[Jet]:
        """For each group, the jets of its edges."""
        return [
            jet.select(group.sources).apply(self.derivatives(group, jet.channels[0], jet.orders))
            for group in self.groups
        ]

    def edge_values(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "subnode in n"]:
        """The value of each edge, 0 where there is none."""
        edges = x.new_zeros(len(self.mask), *x.shape)
        for group in self.groups:
            places = (torch.tensor(group.targets), torch.tensor(group.sources))
            edges = edges.index_put(places, self.derivatives(group, x, 1)[0])
        return edges

    def derivatives(self, group: SymbolGroup, x: Float[Tensor, "in n"], orders: int) -> Float[Tensor, "orders e n"]:
        """Values and derivatives of the edges of a group."""
        a, b, c, d = self._constants(group)
        mask = self._mask(group)
        inner = torch.where(mask != 0, a * x[group.sources] + b, group.idle)
        values = [c * a**m * f for m, f in enumerate(group.function.jet(inner, orders - 1))]
        values[0] = values[0] + d
        return mask * torch.stack(values)

    def constant_derivatives(
        self, group: SymbolGroup, x: Float[Tensor, "in n"], orders: int
    ) -> Float[Tensor, "z orders e n"]:
        """Derivatives of phi^(m) with respect to z = a, b, c, d."""
        a, b, c, _ = self._constants(group)
        mask = self._mask(group)
        source = x[group.sources]
        inner = torch.where(mask != 0, a * source + b, group.idle)
        f = group.function.jet(inner, orders)
        rows = []
        for m in range(orders):
            da = c * a**m * source * f[m + 1] + (m * c * a ** (m - 1) * f[m] if m else 0)
            rows.append(torch.stack([da, c * a**m * f[m + 1], a**m * f[m], torch.full_like(inner, m == 0)]))
        return mask * torch.stack(rows, 1)

    def _constants(self, group: SymbolGroup) -> tuple[Tensor, ...]:
        return self.affine[group.targets, group.sources].T[..., None].unbind()

    def _mask(self, group: SymbolGroup) -> Tensor:
        return self.mask[group.targets, group.sources][:, None]

    def identifiable(self, parameter: str) -> Tensor:
        """Which of a, b, c, d may change, and change the function in a way that the others cannot."""
        free = torch.zeros_like(self.affine, dtype=torch.bool)
        for group in self.groups:
            for letter in group.function.free:
                free[group.targets, group.sources, "abcd".index(letter)] = True
        return free & (self.mask != 0)[..., None] & (self.fixed == 0)
