"""Coefficients that the data do not determine, set by smoothness.

Where no activation falls, for instance beyond the outermost ones in the last interval of a grid, the solver leaves
coefficients at whatever they were. Settling replaces them by the smoothest continuation: coefficients c become the
minimum of |B (c' - c)|^2 + s |Delta^{k+3} c'|^2 over the activations; differences two orders above what a polynomial
piece can follow extrapolate a smooth function two orders better. The solver takes the largest stiffness s with which
the loss stays what it was.

References:
    Eilers, Marx, Flexible smoothing with B-splines and penalties, Statistical Science 11 (1996) 89.
"""

import copy
import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.nn.edges import SplineEdges
from kansci.nn.multkan import MultKAN
from kansci.solvers import ranks
from kansci.solvers.system import Evaluation, System
from kansci.solvers.unknowns import Unknowns

BEYOND = 3  # order of the differences above the degree of the splines
POINTS = 1024  # rows of a QR factorization at a time
STIFFNESS = tuple(10.0**-power for power in range(0, 25, 2))
SAME_LOSS = 0.1


@torch.no_grad()
def settle(system: System, at: Evaluation) -> Evaluation:
    """The same solution, up to 5 % of its residuals, with smooth coefficients where no activation falls."""
    for name, unknowns in system.models.items():
        for number in _layers(unknowns):
            at = _settle_layer(system, at, name, number)
    return at


def _layers(unknowns: Unknowns) -> list[int]:
    """Layers with trained coefficients that smoothness can set."""
    layers = list(unknowns.model.layers) if isinstance(unknowns.model, MultKAN) else []
    return [
        number
        for number, layer in enumerate(layers)
        if f"layers.{number}.splines.coef" in unknowns.slices and layer.config.uniform and layer.config.grid > 1
    ]


def _settle_layer(system: System, at: Evaluation, name: str, number: int) -> Evaluation:
    system.place(at)
    current = cast(MultKAN, system.models[name].model)
    points = torch.cat([points for term in system.terms for points in term.point_sets])
    nodes = current.lift(points, "value").channels[0]
    for layer in list(current.layers)[:number]:
        nodes = layer(nodes)
    triangle = triangular_factor(cast(SplineEdges, current.layers[number].splines), nodes)
    for stiffness in STIFFNESS:
        system.place(at)
        model = copy.deepcopy(current)
        settle_edges(cast(SplineEdges, model.layers[number].splines), triangle, stiffness)
        system.models[name].model = model
        settled = system.evaluate(system.read(system.free(at.vector)))
        if settled.loss - at.loss < SAME_LOSS * abs(at.loss) < math.inf:
            return settled
    return at


@torch.no_grad()
def triangular_factor(edges: SplineEdges, x: Float[Tensor, "in n"]) -> Float[Tensor, "in rows coef"]:
    """R for each source, with |R c|^2 the mean square of a spline of coefficients c over its activations.

    Of several ranks, the triangles stand one upon the other.
    """
    size = ranks.count(x.shape[1])
    triangle = x.new_zeros(len(x), 0, edges.config.n_coef)
    for part in x.split(POINTS, 1):
        rows = edges.splines_at(part).transpose(1, 2) / size**0.5
        triangle = torch.linalg.qr(torch.cat([triangle, rows], 1), mode="r").R
    return ranks.gather(triangle, 1)


@torch.no_grad()
def settle_edges(edges: SplineEdges, triangle: Float[Tensor, "in rows coef"], stiffness: float) -> None:
    """Settle uniform spline edges in place; those from periodic inputs stay."""
    sources, _, size = triangle.shape
    differences = torch.eye(size, dtype=triangle.dtype, device=triangle.device)
    for _ in range(min(edges.config.k + BEYOND, size - 1)):
        differences = differences.diff(dim=0) / 2
    rough = stiffness**0.5 * differences.expand(sources, -1, -1)
    right = rough @ edges.coef.permute(1, 2, 0)
    right = torch.cat([right.new_zeros(sources, triangle.shape[1], right.shape[2]), right], 1)
    matrix = torch.cat([triangle, rough], 1)
    change = torch.linalg.lstsq(matrix.cpu(), right.cpu(), driver="gelsd").solution.to(right.device).permute(2, 0, 1)
    change[:, list(edges.config.periodic)] = 0
    edges.coef.sub_(change)
