"""Coefficients that the data do not determine, set by smoothness.

Where no activation falls, for instance beyond the outermost ones in the last interval of a grid, the solver leaves
coefficients at whatever they were. Settling replaces them by the smoothest continuation: coefficients c become the
minimum of |B (c' - c)|^2 + s |Delta^{k+3} c'|^2 over the activations; differences two orders above what a polynomial
piece can follow extrapolate a smooth function two orders better. Coefficients farther from all activations than one
B-spline reaches stay as they are: so far, extrapolation is worthless. The solver takes the largest stiffness s with
which the loss stays what it was.

References:
    Eilers, Marx, Flexible smoothing with B-splines and penalties, Statistical Science 11 (1996) 89.
"""

import copy
import math
from collections.abc import Iterable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import max_pool1d

from kansci.nn.edges import SplineEdges
from kansci.nn.networks import SplineNetwork
from kansci.solvers import ranks
from kansci.solvers.system import Evaluation, System
from kansci.solvers.unknowns import Unknowns

BEYOND = 3  # order of the differences above the degree of the splines
POINTS = 1024  # activations of a QR factorization at a time
STIFFNESS = tuple(10.0**-power for power in range(0, 25, 2))
SAME_LOSS, SAME_LOSS_WITH_PRIOR = 0.1, 0.001


@torch.no_grad()
def settle(system: System, at: Evaluation) -> Evaluation:
    """The same solution, up to 5 % of its residuals, with smooth coefficients where no activation falls."""
    if not math.isfinite(at.loss):
        return at
    for name, unknowns in system.models.items():
        for number in _layers(unknowns):
            at = _settle_layer(system, at, name, number)
    return at


def _layers(unknowns: Unknowns) -> list[int]:
    """Layers with trained coefficients that smoothness can set."""
    layers = list(unknowns.model.layers) if isinstance(unknowns.model, SplineNetwork) else []
    return [
        number
        for number, layer in enumerate(layers)
        if layer.splines is not None
        and f"layers.{number}.splines.coef" in unknowns.slices
        and layer.splines.config.uniform
        and layer.splines.config.grid > 1
    ]


def _settle_layer(system: System, at: Evaluation, name: str, number: int) -> Evaluation:
    system.place(at)
    current = cast(SplineNetwork, system.models[name].model)
    sets = [points for term in system.terms for points in term.point_sets]
    nodes = (_nodes(current, number, part) for points in sets for part in points.split(POINTS))
    triangle = triangular_factor(cast(SplineEdges, current.layers[number].splines), nodes)
    limit = SAME_LOSS if system.prior is None else SAME_LOSS_WITH_PRIOR  # what earlier data say is exact
    for stiffness in STIFFNESS:
        system.place(at)
        model = copy.deepcopy(current)
        settle_edges(cast(SplineEdges, model.layers[number].splines), triangle, stiffness)
        system.models[name].model = model
        settled = system.evaluate(system.read(system.free(at.vector)))
        if settled.loss - at.loss < limit * abs(at.loss) < math.inf:
            return settled
    return at


def _nodes(model: SplineNetwork, number: int, points: Tensor) -> Tensor:
    """Activations of the sources of a layer."""
    nodes = model.lift(points, "value").channels[0]
    for layer in list(model.layers)[:number]:
        nodes = layer(nodes)
    return nodes


@torch.no_grad()
def triangular_factor(edges: SplineEdges, parts: Iterable[Tensor]) -> Float[Tensor, "in rows coef"]:
    """R for each source, with |R c|^2 the mean square of a spline of coefficients c over its activations (in, n).

    The activations come in parts, as many at a time as shall be factorized together. Of several ranks, the triangles
    stand one upon the other.
    """
    triangle, n = edges.knots.new_zeros(edges.config.n_in, 0, edges.config.n_coef), 0
    for part in parts:
        triangle = torch.linalg.qr(torch.cat([triangle, edges.splines_at(part).transpose(1, 2)], 1), mode="r").R
        n += part.shape[1]
    return ranks.gather(triangle / ranks.count(n) ** 0.5, 1)


@torch.no_grad()
def settle_edges(edges: SplineEdges, triangle: Float[Tensor, "in rows coef"], stiffness: float) -> None:
    """Settle uniform spline edges in place; those from periodic inputs stay."""
    sources, _, size = triangle.shape
    differences = torch.eye(size, dtype=triangle.dtype, device=triangle.device)
    for _ in range(min(edges.config.k + BEYOND, size - 1)):
        differences = differences.diff(dim=0) / 2
    near = _near(triangle, edges.config.k + 1)
    within = (differences != 0).to(near.dtype) @ (1 - near)[..., None] == 0
    rough = stiffness**0.5 * torch.where(within, differences, 0.0)
    right = rough @ edges.coef.permute(1, 2, 0)
    right = torch.cat([right.new_zeros(sources, triangle.shape[1], right.shape[2]), right], 1)
    matrix = torch.cat([triangle, rough], 1)
    change = torch.linalg.lstsq(matrix.cpu(), right.cpu(), driver="gelsd").solution.to(right.device).permute(2, 0, 1)
    change[:, list(edges.config.periodic)] = 0
    edges.coef.sub_(change)


def _near(triangle: Float[Tensor, "in rows coef"], reach: int) -> Float[Tensor, "in coef"]:
    """1 for coefficients that an activation sees or that are within reach of such, 0 for those far from all."""
    seen = (triangle != 0).any(1).to(triangle.dtype)
    return max_pool1d(seen[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0]
