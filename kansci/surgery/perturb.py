"""Spline parts beside symbolic edges, which learn what a formula leaves out."""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.surgery.banks import add_splines, clear, idle_sources, read_reach
from kansci.surgery.selection import select_edges, symbolic_edges


def perturb(
    model: MultKAN,
    *,
    edges: Sequence[Edge] | Literal["all"] | None = None,
    grid: int = 5,
    k: int = 3,
    scale: float = 0.0,
    domain: Any = None,
    seed: int = 0,
) -> MultKAN:
    r"""Give edges a spline part that can be trained: the same function where `scale` is 0.

    .. math:: \varphi(x) = c f(a x + b) + d + \sum_p \epsilon_p B_p(x), \qquad \epsilon_p \sim N(0, \text{scale}^2)

    The symbolic part stays as it is. An edge that is absent or masked becomes the spline alone, so that the network
    can find out that it is needed; an edge that has a spline part keeps it.

    Args:
        model: left unchanged.
        edges: which; by default all symbolic edges that are not masked, "all" for those that are missing, too.
        grid: intervals of the splines, in layers that have none yet; others keep theirs.
        k: their degree, in the same way.
        scale: standard deviation of the new coefficients.
        domain: where the model has none, because no spline edge starts from its inputs: one (low, high) or one
            pair for each raw input, by default (-1, 1); data have to lie in it.
        seed: of the new coefficients.

    Returns:
        A new model; nothing need be undone, as the given one is still there.

    Raises:
        ConfigError: there is no such edge, or an option makes no sense.
        DomainError: a hidden node is not finite on the domain.

    Example:
        >>> from kansci.symbolic.kanpiler import kanpile
        >>> perturb(kanpile("sin(x)*y", ["x", "y"]), domain=[(0, 3), (-1, 1)])
        MultKAN([2, [0, [2]]], grid=5, k=3, 48 parameters, torch.float64)

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.2.
    """
    if not 0 <= scale < torch.inf:
        raise ConfigError(f"expected a scale of 0 or more, got {scale}")
    chosen = _chosen(model, edges)
    reach, idle = read_reach(model, domain), idle_sources(model)
    perturbed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for layer, own in zip(perturbed.layers, chosen, strict=True):
        if own.any():
            splines = add_splines(layer, grid=grid, k=k, base="zero")
            missing = own.to(splines.mask.device) & (splines.mask == 0)
            clear(splines, missing)
            noise = torch.randn(splines.coef.shape, generator=generator, dtype=torch.float64)
            with torch.no_grad():
                splines.coef[missing] = (scale * noise).to(splines.coef)[missing]
    touched = [own & mask.any() for own, mask in zip(idle, chosen, strict=True)]
    perturbed.set_domain(reach, sources=touched)
    return perturbed


def _chosen(model: MultKAN, edges: Sequence[Edge] | Literal["all"] | None) -> list[Bool[Tensor, "subnode _"]]:
    if edges is None:
        return [symbolic_edges(layer) for layer in model.layers]
    if isinstance(edges, str):
        if edges != "all":
            raise ConfigError(
                f"expected edges to be 'all', None or a list of Edge(layer, target, source), got {edges!r}"
            )
        return [~mask for mask in select_edges(model, [])]
    return select_edges(model, edges)
