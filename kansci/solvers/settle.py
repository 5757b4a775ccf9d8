"""Coefficients that the data do not determine, set by smoothness.

Where no activation falls, for instance beyond the outermost ones in the last interval of a grid, the solver leaves
coefficients at whatever they were. Settling replaces them by the smoothest continuation: coefficients c become the
minimum of |B (c' - c)|^2 + STIFFNESS |Delta^{k+1} c'|^2 over the activations, which moves what the data determine by
a negligible fraction of the approximation error.

References:
    Eilers, Marx, Flexible smoothing with B-splines and penalties, Statistical Science 11 (1996) 89.
"""

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.nn.edges import SplineEdges
from kansci.nn.multkan import MultKAN

STIFFNESS = 1e-9


@torch.no_grad()
def settle(model: nn.Module, x: Float[Tensor, "n d"], trained: Collection[str]) -> None:
    """Settle the trained uniform spline edges of a MultKAN in place, for activations at the points x."""
    if not isinstance(model, MultKAN):
        return
    nodes = model.lift(x, "value").channels[0]
    for number, layer in enumerate(model.layers):
        after = layer(nodes)
        free = f"layers.{number}.splines.coef" in trained
        if free and layer.splines is not None and layer.config.uniform and layer.config.grid > 1:
            _settle_edges(layer.splines, nodes)
        nodes = after


def _settle_edges(edges: SplineEdges, x: Float[Tensor, "in n"]) -> None:
    splines = edges.splines_at(x)
    gram = splines @ splines.transpose(1, 2) / x.shape[1]
    differences = torch.eye(edges.config.n_coef, dtype=x.dtype, device=x.device)
    for _ in range(edges.config.k + 1):
        differences = differences.diff(dim=0) / 2
    roughness = STIFFNESS * differences.T @ differences
    identity = 1e-15 * torch.eye(edges.config.n_coef, dtype=x.dtype, device=x.device)
    right = torch.einsum("pq,oiq->ipo", roughness, edges.coef)
    change = torch.linalg.solve(gram + roughness + identity, right).permute(2, 0, 1)
    change[:, list(edges.config.periodic)] = 0
    edges.coef.sub_(change)
