"""Coefficients that the data do not determine, set by smoothness.

Where no activation falls, for instance beyond the outermost ones in the last interval of a grid, the solver leaves
coefficients at whatever they were. Settling replaces them by the smoothest continuation: coefficients c become the
minimum of |B (c' - c)|^2 + s |Delta^{k+3} c'|^2 over the activations; differences two orders above what a polynomial
piece can follow extrapolate a smooth function two orders better. The solver takes the largest stiffness s with which
the loss stays what it was.

References:
    Eilers, Marx, Flexible smoothing with B-splines and penalties, Statistical Science 11 (1996) 89.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer

BEYOND = 3
STIFFNESS = tuple(10.0**-power for power in range(0, 25, 2))


@torch.no_grad()
def settle(layer: KANLayer, nodes: Float[Tensor, "in n"], stiffness: float) -> None:
    """Settle the uniform spline edges of a layer in place, for activations at its sources."""
    if layer.splines is not None and layer.config.uniform and layer.config.grid > 1:
        _settle_edges(layer.splines, nodes, stiffness)


def _settle_edges(edges: SplineEdges, x: Float[Tensor, "in n"], stiffness: float) -> None:
    differences = torch.eye(edges.config.n_coef, dtype=x.dtype, device=x.device)
    for _ in range(min(edges.config.k + BEYOND, edges.config.n_coef - 1)):
        differences = differences.diff(dim=0) / 2
    rough = stiffness**0.5 * differences.expand(len(x), -1, -1)
    triangle = torch.linalg.qr(edges.splines_at(x).transpose(1, 2) / x.shape[1] ** 0.5, mode="r").R
    right = rough @ edges.coef.permute(1, 2, 0)
    right = torch.cat([right.new_zeros(len(x), triangle.shape[1], right.shape[2]), right], 1)
    matrix = torch.cat([triangle, rough], 1)
    change = torch.linalg.lstsq(matrix.cpu(), right.cpu(), driver="gelsd").solution.to(x.device).permute(2, 0, 1)
    change[:, list(edges.config.periodic)] = 0
    edges.coef.sub_(change)
