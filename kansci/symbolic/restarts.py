"""Networks of the same shape that begin elsewhere."""

import copy
import math
from collections.abc import Iterator
from typing import cast

import torch

from kansci.nn.edges import SplineEdges
from kansci.nn.multkan import MultKAN
from kansci.splines import domain_of
from kansci.surgery.grid import refine
from kansci.surgery.selection import symbolic_edges


def grid_of(model: MultKAN) -> int:
    """The largest number of intervals of its splines."""
    return max(layer.config.grid for layer in model.layers)


def starts_of(model: MultKAN, grid: int, count: int, seed: int) -> Iterator[MultKAN]:
    """A network on finer splines, where they are finer, and random ones of its shape."""
    is_finer = grid % grid_of(model) == 0
    if is_finer:
        yield refine(model, grid)
    for number in range(1, count + (not is_finer)):
        yield random_like(model, grid, seed + number)


@torch.no_grad()
def random_like(model: MultKAN, grid: int, seed: int) -> MultKAN:
    """Other splines on the same edges, on as many intervals as are asked for.

    Edges that are masked stay so, and so do symbolic ones.

    Example:
        >>> model = MultKAN([2, 3, 1], sparse=True)
        >>> other = random_like(model, 3, seed=1)
        >>> other, bool((other.layers[0].splines.mask == model.layers[0].splines.mask).all())
        (MultKAN([2, 3, 1], grid=3, k=3, 63 parameters, torch.float64), True)
    """
    first = model.layers[0]
    splines = cast(SplineEdges, first.splines)
    low, high = domain_of(splines.knots, first.config.k)
    domain = torch.stack([low, high], 1)[: model.n_inputs]
    drawn = MultKAN(
        [[width.n_sum, list(width.arities)] for width in model.config.columns],
        grid=grid,
        k=first.config.k,
        domain=domain.tolist(),
        base=first.config.base,
        features=model.features,
        periodic=first.config.periodic,
        seed=seed,
        dtype=splines.knots.dtype,
        device=splines.knots.device,
    )
    changed = refine(model, grid, tolerance=math.inf)
    for layer, other in zip(changed.layers, drawn.layers, strict=True):
        if layer.splines is not None and other.splines is not None:
            mask = layer.splines.mask.clone()
            layer.splines.load_state_dict(other.splines.state_dict())
            layer.splines.mask.copy_(mask)
    return changed


@torch.no_grad()
def filled(model: MultKAN) -> MultKAN:
    """The same function, where edges that were masked are splines that are zero.

    Example:
        >>> model = MultKAN([2, 3, 1], sparse=True)
        >>> bool(model.layers[0].splines.mask.all()), bool(filled(model).layers[0].splines.mask.all())
        (False, True)
    """
    full = copy.deepcopy(model)
    for layer in full.layers:
        if layer.splines is not None:
            absent = (layer.splines.mask == 0) & ~symbolic_edges(layer).to(layer.splines.mask.device)
            layer.splines.coef[absent] = 0
            layer.splines.scale_base[absent] = 0
            layer.splines.mask[absent] = 1
    return full
