"""Grids of a model: exact refinement, projection to other knots, knots that follow the data.

Refinement to a multiple of the grid is knot insertion and keeps the function to rounding. Everything else that moves
knots is an L2 projection, whose relative error is returned, so that callers can refuse it.

References:
    Cohen, Lyche, Riesenfeld, Computer Graphics and Image Processing 14 (1980) 87 (knot insertion by blossoms).
"""

import copy
import logging
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, ShapeError
from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN, spread
from kansci.splines import domain_of, evaluate_basis, extend_grid, insertion_matrix, uniform_knots


logger = logging.getLogger(__name__)


def refine(model: MultKAN, grid: int, *, tolerance: float = 1e-2) -> MultKAN:
    """The same function with `grid` intervals on every spline edge.

    To a multiple of the present grid this is knot insertion: exact to rounding, no data needed. To another number it
    is an L2 projection.

    Args:
        model: left unchanged.
        grid: the new number of intervals.
        tolerance: largest relative error of a projected edge.

    Returns:
        A new model.

    Raises:
        ConfigError: the projection error exceeds `tolerance`.

    Example:
        >>> model = MultKAN([2, 3, 1], grid=5)
        >>> x = torch.rand(10, 2, dtype=torch.float64)
        >>> bool((refine(model, 10)(x) - model(x)).abs().max() < 1e-13)
        True
    """
    refined = copy.deepcopy(model)
    for layer in refined.layers:
        if layer.splines is not None:
            old = layer.splines
            config = replace(layer.config, grid=grid)
            if grid % layer.config.grid == 0 and (layer.config.uniform or grid == layer.config.grid):
                low, high = old.domain
                knots = uniform_knots(low, high, grid, config.k) if config.uniform else old.knots.clone()
                _install(layer, config, knots, _insert(old, knots))
            else:
                low, high = old.domain
                error = move_knots(layer, uniform_knots(low, high, grid, config.k), grid=grid)
                _refuse(error, tolerance, f"refining from {old.config.grid} to {grid} intervals")
    return refined


def adapt_grid(
    model: MultKAN, x: Float[Tensor, "n d"], *, uniformity: float = 0.5, margin: float = 0.05, tolerance: float = 1e-2
) -> MultKAN:
    """Move the knots of every spline edge to where the data are.

    The new grid is a blend of equidistant points over the range of the activations and of their quantiles. Each edge
    is projected onto the new splines; periodic inputs keep their grid.

    Args:
        model: left unchanged.
        x: points whose activations the grids follow.
        uniformity: 1 for equidistant knots, 0 for quantiles.
        margin: share of the range added on each side.
        tolerance: largest relative error of a projected edge, measured where the activations lie.

    Returns:
        A new model with the same number of intervals.

    Raises:
        ConfigError: an error exceeds `tolerance`, or `uniformity` is not within 0 and 1.
    """
    if not 0 <= uniformity <= 1:
        raise ConfigError(f"expected uniformity between 0 (quantiles) and 1 (equidistant), got {uniformity}")
    adapted = copy.deepcopy(model)
    with torch.no_grad():
        nodes = x if model.features is None else model.features(x)
        for layer, original in zip(adapted.layers, model.layers, strict=True):
            if layer.splines is not None:
                grid = _grid_of_samples(nodes, layer.config.grid, uniformity, margin)
                error = move_knots(layer, extend_grid(grid, layer.config.k), uniform=uniformity == 1)
                _refuse(error, tolerance, "adapting the grid to the data")
            nodes = original(nodes)
    return adapted


def _grid_of_samples(nodes: Tensor, grid: int, uniformity: float, margin: float) -> Tensor:
    low, high = spread(nodes, margin)
    share = torch.linspace(0, 1, grid + 1, dtype=nodes.dtype, device=nodes.device)
    even = torch.lerp(low[:, None], high[:, None], share)
    quantiles = torch.quantile(nodes, share, dim=0).T
    quantiles = torch.cat([low[:, None], quantiles[:, 1:-1], high[:, None]], 1)
    return torch.lerp(quantiles, even, max(uniformity, 1e-3))


@torch.no_grad()
def move_knots(
    layer: KANLayer, knots: Float[Tensor, "in t"], *, grid: int | None = None, uniform: bool = True
) -> float:
    """Project the spline edges of a layer onto other knots, in place.

    Returns:
        The largest error of an edge relative to its own root mean square about its mean.
    """
    old = layer.splines
    if old is None:
        raise ConfigError("the layer has no spline edges")
    config = replace(layer.config, grid=grid or layer.config.grid, uniform=uniform)
    kept = torch.zeros(config.n_in, 1, dtype=torch.bool, device=knots.device)
    kept[list(config.periodic)] = True
    if config.grid == layer.config.grid and uniform == layer.config.uniform:
        knots = torch.where(kept, old.knots, knots)
    elif kept.any():
        low, high = old.domain
        knots = torch.where(kept, uniform_knots(low, high, config.grid, config.k), knots)
    x = _sample(knots, config.k)
    wanted = old.edge_values(x)
    _install(layer, config, knots, torch.zeros(*old.coef.shape[:2], config.n_coef, dtype=old.coef.dtype))
    new = layer.splines
    residual = (wanted - new.edge_values(x)) / torch.where(old.mask == 0, 1.0, old.mask * old.scale_spline)
    new.coef.copy_(_project(new, x, residual))
    error = (new.edge_values(x) - wanted).square().mean(0).sqrt()
    size = (wanted - wanted.mean(0)).square().mean(0).sqrt()
    return float((error / size.clamp(min=1e-3 * size.max().clamp(min=1e-300))).max())


def _sample(knots: Tensor, k: int) -> Tensor:
    """Points (n, in), at the middles of 2 (k + 1) equal parts of each interval."""
    grid = knots[:, k : knots.shape[1] - k]
    parts = 2 * (k + 1)
    share = (torch.arange(parts, dtype=knots.dtype, device=knots.device) + 0.5) / parts
    return torch.lerp(grid[:, :-1, None], grid[:, 1:, None], share).flatten(1).T


def _project(edges: SplineEdges, x: Tensor, values: Tensor) -> Tensor:
    """Least squares coefficients (subnode, in, coef) of values (n, subnode, in)."""
    basis = edges.basis(x, 1)
    dense = x.new_zeros(*x.shape, edges.config.n_coef).scatter(2, basis.columns, basis.values[:, :, 0])
    solution = torch.linalg.lstsq(dense.transpose(0, 1), values.permute(2, 0, 1), driver="gelsd").solution
    return solution.permute(2, 0, 1)


def _insert(old: SplineEdges, knots: Tensor) -> Tensor:
    """Coefficients on finer knots."""
    coef, k = old.coef, old.config.k
    if old.config.periodic:
        wrapped = torch.arange(old.config.n_coef, device=coef.device) % old.n_free[:, None]
        coef = coef.gather(2, wrapped.expand_as(coef))
    return torch.einsum("oip,iqp->oiq", coef, insertion_matrix(old.knots, knots, k))


def _install(layer: KANLayer, config, knots: Tensor, coef: Tensor) -> None:
    """Put new knots and coefficients into a layer, everything else kept."""
    old = layer.splines
    new = SplineEdges(config, torch.Generator().manual_seed(0)).to(device=old.coef.device, dtype=old.coef.dtype)
    new.load_state_dict({**old.state_dict(), "knots": knots, "coef": coef})
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(getattr(old, name).requires_grad)
    layer.config, layer.splines = config, new


def _refuse(error: float, tolerance: float, action: str) -> None:
    logger.info("%s: relative projection error %.1e", action, error)
    if not error <= tolerance:
        raise ConfigError(
            f"{action}: the projection error {error:.1e} exceeds tolerance={tolerance:g}; "
            "use more intervals, a multiple of the present grid, or a larger tolerance"
        )
