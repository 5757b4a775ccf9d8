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

BEYOND = 3
POINTS = 1024
STIFFNESS = tuple(10.0**-power for power in range(0, 25, 2))


@torch.no_grad()
def determination(edges: SplineEdges, x: Float[Tensor, "in n"]) -> Float[Tensor, "in rows coef"]:
    """What activations at the sources say about coefficients: R with |R c|^2 the mean square of a spline there."""
    triangle = x.new_zeros(len(x), 0, edges.config.n_coef)
    for part in x.split(POINTS, 1):
        rows = edges.splines_at(part).transpose(1, 2) / x.shape[1] ** 0.5
        triangle = torch.linalg.qr(torch.cat([triangle, rows], 1), mode="r").R
    return triangle


@torch.no_grad()
def settle(edges: SplineEdges, determined: Float[Tensor, "in rows coef"], stiffness: float) -> None:
    """Settle uniform spline edges in place."""
    sources, _, size = determined.shape
    differences = torch.eye(size, dtype=determined.dtype, device=determined.device)
    for _ in range(min(edges.config.k + BEYOND, size - 1)):
        differences = differences.diff(dim=0) / 2
    rough = stiffness**0.5 * differences.expand(sources, -1, -1)
    right = rough @ edges.coef.permute(1, 2, 0)
    right = torch.cat([right.new_zeros(sources, determined.shape[1], right.shape[2]), right], 1)
    matrix = torch.cat([determined, rough], 1)
    change = torch.linalg.lstsq(matrix.cpu(), right.cpu(), driver="gelsd").solution.to(right.device).permute(2, 0, 1)
    change[:, list(edges.config.periodic)] = 0
    edges.coef.sub_(change)
