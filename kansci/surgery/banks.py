"""Spline edges beside symbolic ones: layers that get some, and grids for them."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kansci.errors import ConfigError
from kansci.nn.arguments import read_domain
from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN


@torch.no_grad()
def add_splines(layer: KANLayer, **options: Any) -> SplineEdges:
    """Give a layer, in place, spline edges that are all masked, unless it has spline edges.

    Args:
        layer: the layer.
        options: attributes of its configuration that concern splines, such as grid, k or base.

    Returns:
        The spline edges; new ones are zero, on the domain [-1, 1].
    """
    if layer.splines is None:
        layer.config = replace(layer.config, splines=True, **options)
        layer.splines = SplineEdges(layer.config, torch.Generator())
        layer.splines.to(device=layer.node_scale.device, dtype=layer.node_scale.dtype).train(layer.training)
        clear(layer.splines, torch.ones_like(layer.splines.mask, dtype=torch.bool))
        layer.splines.mask.zero_()
    return layer.splines


@torch.no_grad()
def clear(splines: SplineEdges, edges: Bool[Tensor, "subnode in"]) -> None:
    """Make some edges zero in a way that they can be trained, in place."""
    splines.coef[edges] = 0
    splines.scale_base[edges] = 0
    splines.scale_spline[edges] = 1
    splines.mask[edges] = 1


def idle_sources(model: MultKAN) -> list[Bool[Tensor, "_"]]:
    """For each layer, the sources whose grids may be placed anew: no spline edge starts from them.

    The grids of inputs that have some are the domain of the model, and stay.
    """
    idle = []
    for number, layer in enumerate(model.layers):
        mask = torch.zeros_like(layer.node_scale[:1, None]).expand(1, layer.config.n_in)
        if layer.splines is not None:
            mask = layer.splines.mask if number else torch.ones_like(layer.splines.mask)
        idle.append((mask == 0).all(0))
    return idle


def read_reach(model: MultKAN, domain: Any) -> Float[Tensor, "d 2"]:
    """Where hidden activations are sampled: the domain of the model, or one that is given where it has none.

    Args:
        model: a model before it gets further spline edges.
        domain: one (low, high) or one pair for each raw input; None for (-1, 1).

    Raises:
        ConfigError: the domain makes no sense, or the model has one.
    """
    splines = model.layers[0].splines
    if splines is None:
        return read_domain((-1.0, 1.0) if domain is None else domain, model.n_inputs)
    own = torch.stack(splines.domain, 1)[: model.n_inputs]
    if domain is not None:
        raise ConfigError(f"expected no domain for a model that has one, {own.tolist()}, got {domain!r}; leave it out")
    return own
