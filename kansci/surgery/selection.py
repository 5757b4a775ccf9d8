"""Edges that surgery is done on, as masks (subnode, in) of each layer."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN


def select_edges(model: MultKAN, edges: Sequence[Edge]) -> list[Bool[Tensor, "subnode _"]]:
    """For each layer, which of its edges are named.

    Raises:
        ConfigError: the model has no such edge.
    """
    chosen = [torch.zeros(layer.config.out.n_subnodes, layer.config.n_in, dtype=torch.bool) for layer in model.layers]
    for edge in edges:
        number, target, source = edge
        if not 0 <= number < len(chosen):
            raise ConfigError(f"expected edges of layers from 0 to {len(chosen) - 1}, got {edge}")
        rows, columns = chosen[number].shape
        if not (0 <= target < rows and 0 <= source < columns):
            raise ConfigError(f"expected target subnodes below {rows} and sources below {columns}, got {edge}")
        chosen[number][target, source] = True
    return chosen


def symbolic_edges(layer: KANLayer) -> Bool[Tensor, "subnode in"]:
    """The edges of a layer that have a symbolic part and are not masked."""
    if layer.symbols is None:
        return torch.zeros(layer.config.out.n_subnodes, layer.config.n_in, dtype=torch.bool)
    named = torch.tensor([[name != "" for name in row] for row in layer.config.symbols])
    return named & (layer.symbols.mask != 0).cpu()


def present_edges(layer: KANLayer) -> Bool[Tensor, "subnode in"]:
    """The edges of a layer that are not cut: they have a spline part or a symbolic part."""
    present = symbolic_edges(layer)
    return present if layer.splines is None else present | (layer.splines.mask != 0).cpu()


def list_edges(model: MultKAN) -> list[Edge]:
    """All edges of a model that are there, layer by layer."""
    return [
        Edge(number, *place)
        for number, layer in enumerate(model.layers)
        for place in present_edges(layer).nonzero().tolist()
    ]
