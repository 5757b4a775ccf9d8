"""Grids of a model: exact refinement, projection to other knots, knots that follow the data.

Refinement to a multiple of the grid is knot insertion and keeps the function to rounding. All else that moves
knots is an L2 projection, which is refused where its relative error exceeds a tolerance.

References:
    Cohen, Lyche, Riesenfeld, Computer Graphics and Image Processing 14 (1980) 87 (knot insertion).
"""

import copy
import logging
from dataclasses import replace
from typing import TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.config import LayerConfig
from kansci.errors import ConfigError
from kansci.nn.arguments import check_finite
from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer
from kansci.nn.networks import Layer, SplineNetwork
from kansci.nn.samples import spread
from kansci.splines import extend_grid, insertion_matrix, uniform_knots

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=SplineNetwork)


def refine(model: Model, grid: int, *, tolerance: float = 1e-2) -> Model:
    """The same function with `grid` intervals on every spline edge, or on every activation of a LAN.

    To a multiple of the present grid this is knot insertion: exact to rounding, no data needed. To another
    number it is an L2 projection.

    Args:
        model: a MultKAN or LAN, left unchanged.
        grid: the new number of intervals.
        tolerance: largest relative error of a projected edge.

    Returns:
        A new model.

    Raises:
        ConfigError: `grid` is not a number of intervals, or the projection error exceeds `tolerance`.

    Example:
        >>> from kansci import MultKAN
        >>> model = MultKAN([2, 3, 1], grid=5)
        >>> x = torch.rand(10, 2, dtype=torch.float64)
        >>> bool((refine(model, 10)(x) - model(x)).abs().max() < 1e-13)
        True
    """
    refined = copy.deepcopy(model)
    for layer in refined.layers:
        if layer.splines is not None:
            old = layer.splines.config
            config = replace(old, grid=grid)
            if grid % old.grid == 0:
                insert_knots(layer, grid)
            else:
                error = move_knots(layer, _spaced_like(layer.splines, grid), grid=grid, uniform=config.uniform)
                _refuse(error, tolerance, f"refining from {old.grid} to {grid} intervals")
    return refined


def insert_knots(layer: Layer, grid: int) -> SplineEdges:
    """Refine the spline edges of a layer to a multiple of their grid, in place: the same function to rounding."""
    old = cast(SplineEdges, layer.splines)
    knots = _spaced_like(old, grid)
    return _install(layer, replace(old.config, grid=grid), knots, _insert(old, knots))


def adapt_grid(
    model: Model,
    x: Float[Tensor, "n d"],
    *,
    uniformity: float = 0.5,
    margin: float = 0.05,
    tolerance: float = 1e-2,
) -> Model:
    """Move the knots of every spline edge, or of every activation of a LAN, to where the data are.

    The new grid is a blend of equidistant points over the range of the activations and of their quantiles.
    Each edge is projected onto the new splines. Periodic inputs, and sources that hardly vary, keep their
    domain.

    Args:
        model: a MultKAN or LAN, left unchanged.
        x: points whose activations the grids follow.
        uniformity: 1 for equidistant knots, 0 for quantiles.
        margin: share of the range added on each side.
        tolerance: largest error of a projected edge on its new domain, relative to the edge's variation.

    Returns:
        A new model with the same number of intervals.

    Raises:
        ConfigError: an error exceeds `tolerance`, `uniformity` is not in [0, 1], or `margin` is negative.
        ShapeError: x is not (n, d) for this model.
        DataError: x is empty or not finite.

    Example:
        >>> from kansci import MultKAN
        >>> model = MultKAN([1, 1], grid=10)
        >>> adapted = adapt_grid(model, torch.linspace(0, 0.5, 100, dtype=torch.float64)[:, None], margin=0.0)
        >>> low, high = adapted.domain
        >>> low.item(), high.item()
        (0.0, 0.5)
    """
    if not 0 <= uniformity <= 1:
        raise ConfigError(
            f"expected uniformity between 0 (quantiles) and 1 (equidistant), got {uniformity}; 0.5 is usual"
        )
    if not margin >= 0:
        raise ConfigError(f"expected a margin of 0 or more, got {margin}; 0.05 is usual")
    adapted = copy.deepcopy(model)
    with torch.no_grad():
        nodes = model.lift(x, "value").value
        check_finite(x, "x")
        for layer, original in zip(adapted.layers, model.layers, strict=True):
            if layer.splines is not None:
                grid = _grid_of_samples(layer.splines, nodes, uniformity, margin)
                error = move_knots(layer, extend_grid(grid, layer.splines.config.k), uniform=uniformity == 1)
                _refuse(error, tolerance, "adapting the grid to the data")
            nodes = original(nodes.T).T
    return adapted


def _spaced_like(edges: SplineEdges, grid: int) -> Tensor:
    """Knots with another number of intervals, spaced as the present ones are."""
    k = edges.config.k
    if edges.config.uniform:
        return uniform_knots(*edges.domain, grid, k)
    old = edges.knots[:, k : edges.knots.shape[1] - k]
    place = torch.arange(grid + 1, device=old.device) * edges.config.grid
    left = (place // grid).clamp(max=edges.config.grid - 1)
    share = (place - left * grid).to(old.dtype) / grid
    return extend_grid(torch.lerp(old[:, left], old[:, left + 1], share), k)


def _grid_of_samples(edges: SplineEdges, nodes: Tensor, uniformity: float, margin: float) -> Tensor:
    low, high = spread(nodes, margin)
    old_low, old_high = edges.domain
    constant = nodes.amax(0) - nodes.amin(0) < 1e-3 * (old_high - old_low)
    low, high = torch.where(constant, old_low, low), torch.where(constant, old_high, high)
    share = torch.linspace(0, 1, edges.config.grid + 1, dtype=nodes.dtype, device=nodes.device)
    even = torch.lerp(low[:, None], high[:, None], share)
    quantiles = nodes.sort(0).values[(share * (len(nodes) - 1)).round().long()].T
    quantiles = torch.cat([low[:, None], quantiles[:, 1:-1], high[:, None]], 1)
    quantiles = torch.where(constant[:, None], even, quantiles)
    return torch.lerp(quantiles, even, max(uniformity, 1e-3))


@torch.no_grad()
def move_knots(
    layer: Layer,
    knots: Float[Tensor, "in t"],
    *,
    grid: int | None = None,
    uniform: bool = True,
    beyond: float = 1.0,
) -> float:
    """Project the spline edges of a layer onto other knots, in place; periodic inputs keep their domain.

    Args:
        layer: the layer that is changed.
        knots: extended knots, one row for each source.
        grid: their number of intervals, where it changes.
        uniform: whether they are equidistant.
        beyond: weight of the fit where the old edges are continued linearly; a small one lets smooth edges
            continue smoothly, and keeps them exact where they were meant.

    Returns:
        The largest root mean square error of an edge, relative to its standard deviation or a thousandth of
        the largest one; errors count with the weight of the fit.

    Raises:
        ConfigError: the layer has no spline edges.
    """
    old = layer.splines
    if old is None:
        raise ConfigError("expected a layer with spline edges, got one that has symbolic edges only")
    config = replace(old.config, grid=grid or old.config.grid, uniform=uniform)
    kept = torch.zeros(config.n_in, 1, dtype=torch.bool, device=knots.device)
    kept[list(config.periodic)] = True
    if config.grid == old.config.grid and uniform == old.config.uniform:
        knots = torch.where(kept, old.knots, knots)
    elif kept.any():
        low, high = old.domain
        knots = torch.where(kept, uniform_knots(low, high, config.grid, config.k), knots)
    x = sample_intervals(knots, config.k)
    wanted = old.edge_values(x)
    new = _install(layer, config, knots, old.coef.new_zeros(*old.coef.shape[:2], config.n_coef))
    scale = old.mask * old.scale_spline
    residual = (wanted - new.edge_values(x)) / torch.where(scale == 0, 1, scale)[..., None]
    low, high = old.domain
    weight = torch.where((x < low[:, None]) | (x > high[:, None]), beyond, 1.0).to(x.dtype)
    new.coef.copy_(project(new, x, residual, weight))
    return _relative_error((new.edge_values(x) - wanted) * weight, wanted)


def _relative_error(error: Tensor, wanted: Tensor) -> float:
    error = error.square().mean(-1).sqrt()
    deviation = wanted.std(-1, correction=0)
    limits = torch.finfo(wanted.dtype)
    floor = 1e-3 * deviation.max() + limits.eps**0.5 * wanted.abs().max() + limits.tiny
    return float((error / deviation.clamp(min=floor)).max())


def sample_intervals(knots: Float[Tensor, "in t"], k: int) -> Float[Tensor, "in n"]:
    """2 (k + 1) Chebyshev points in each interval, so that its ends count."""
    grid = knots[:, k : knots.shape[1] - k]
    parts = 2 * (k + 1)
    angles = torch.pi * (torch.arange(parts, dtype=knots.dtype, device=knots.device) + 0.5) / parts
    share = (1 - angles.cos()) / 2
    return torch.lerp(grid[:, :-1, None], grid[:, 1:, None], share).flatten(1)


def project(
    edges: SplineEdges,
    x: Float[Tensor, "in n"],
    values: Float[Tensor, "subnode in n"],
    weight: Float[Tensor, "in n"],
) -> Float[Tensor, "subnode in coef"]:
    """Coefficients of the splines nearest to values in the sense of weighted least squares."""
    matrix = edges.splines_at(x).transpose(1, 2) * weight[..., None]
    right = (values * weight).permute(1, 2, 0)
    solution = torch.linalg.lstsq(matrix.cpu(), right.cpu(), driver="gelsd").solution  # rank deficient where periodic
    return solution.permute(2, 0, 1).to(values.device)


def _insert(old: SplineEdges, knots: Tensor) -> Tensor:
    """Coefficients on finer knots."""
    coef, k = old.coef, old.config.k
    if old.config.periodic:
        wrapped = torch.arange(old.config.n_coef, device=coef.device) % old.n_free[:, None]
        coef = coef.gather(2, wrapped.expand_as(coef))
    return torch.einsum("oip,iqp->oiq", coef, insertion_matrix(old.knots, knots, k))


def _install(layer: Layer, config: LayerConfig, knots: Tensor, coef: Tensor) -> SplineEdges:
    """Put new knots and coefficients into a layer, everything else kept."""
    old = cast(SplineEdges, layer.splines)
    new = SplineEdges(config, torch.Generator()).to(device=old.coef.device, dtype=old.coef.dtype).train(old.training)
    new.load_state_dict({**old.state_dict(), "knots": knots, "coef": coef})
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(getattr(old, name).requires_grad)
    layer.splines = new
    if isinstance(layer, KANLayer):
        layer.config = replace(layer.config, grid=config.grid, uniform=config.uniform)
    return new


def _refuse(error: float, tolerance: float, action: str) -> None:
    logger.info("%s: relative projection error %.1e", action, error)
    if not error <= tolerance:
        raise ConfigError(
            f"{action}: the projection error {error:.1e} exceeds tolerance={tolerance:g}; "
            "use more intervals, a multiple of the present grid, or a larger tolerance"
        )
