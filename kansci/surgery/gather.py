"""The one structural change of a network: which nodes stand in its columns.

Pruning, swapping, sorting and adding nodes are calls of `gather_nodes`.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from kansci.config import LayerConfig, Width
from kansci.errors import ConfigError
from kansci.nn.layer import AXES, KANLayer
from kansci.nn.multkan import MultKAN


class Fresh(NamedTuple):
    """A node that the network did not have: a sum, or a product of `arity` sums."""

    arity: int = 1


class Part(NamedTuple):
    """A node with some of its factors only; with one of them it is a sum."""

    node: int
    factors: tuple[int, ...]


Place = int | Fresh | Part


def gather_nodes(model: MultKAN, columns: Mapping[int, Sequence[Place]], *, seed: int = 0) -> MultKAN:
    """The network with other nodes in some of its columns: old ones, in any order, copied or left out, and new ones.

    Old nodes bring all that belongs to them: edges, masks, affine maps, knots, symbolic functions. Edges into new
    nodes are drawn as in a new network, edges out of them are zero, so that they leave the function as it is and
    can be trained. They are spline edges; a layer without splines has none for them (see `add_splines`).

    Args:
        model: left unchanged.
        columns: for each column that changes, inputs being column 0, the nodes of the new one, sums before
            products, as numbers of old nodes, `Fresh` or `Part`.
        seed: of the edges into new nodes.

    Returns:
        A new model. The grids of new nodes are [-1, 1].

    Raises:
        ConfigError: there is no such column, node or factor, sums would come after products, or inputs of a model
            with auxiliary features would change.

    Example:
        >>> model = MultKAN([2, [3, 1], 1])
        >>> gather_nodes(model, {1: [2, 0, Fresh(), 3]}).config.columns[1]
        Width(n_sum=3, arities=(2,))
    """
    before = model.config.columns
    _check_columns(model, columns)
    after = [
        _gathered_column(width, columns.get(number, range(width.n_nodes)), number)
        for number, width in enumerate(before)
    ]
    generator = torch.Generator().manual_seed(seed)
    layers = [
        _gathered_layer(layer, sources, targets, generator)
        for layer, (sources, targets) in zip(model.layers, pairwise(after), strict=True)
    ]
    inputs = _gathered_inputs(model, after[0].nodes.tolist())
    return MultKAN.from_layers(layers, copy.deepcopy(model.features), inputs).train(model.training)


def swap(model: MultKAN, layer: int, i: int, j: int) -> MultKAN:
    """Exchange two nodes of a column, with all their edges; the function of a hidden column's network is kept.

    Args:
        model: left unchanged.
        layer: the column, inputs being 0; where it is the first or the last one, inputs or outputs are exchanged.
        i: a node.
        j: another, a sum if i is one.

    Returns:
        A new model.

    Raises:
        ConfigError: there is no such column or node, or one is a sum and the other a product.

    Example:
        >>> model = MultKAN([2, 3, 1])
        >>> swapped = swap(model, 1, 0, 2)
        >>> bool((swapped.layers[0].splines.coef[2] == model.layers[0].splines.coef[0]).all())
        True
    """
    _check_columns(model, [layer])
    nodes = list(range(model.config.columns[layer].n_nodes))
    for node in (i, j):
        _check_node(node, len(nodes), layer)
    nodes[i], nodes[j] = j, i
    return gather_nodes(model, {layer: nodes})


def _gathered_inputs(model: MultKAN, nodes: list[int]) -> list[int]:
    """Columns of the data that the new inputs are; new ones come after all others."""
    if model.features is not None:
        return list(model.inputs)
    new = itertools.count(max(model.inputs) + 1)
    return [model.inputs[node] if node >= 0 else next(new) for node in nodes]


@dataclass(frozen=True)
class _Column:
    """A column of the new network.

    Attributes:
        width: its sums and products.
        nodes: for each node, the number of the old one, -1 for a new one.
        subnodes: the same for subnodes.
    """

    width: Width
    nodes: Int[Tensor, "node"]
    subnodes: Int[Tensor, "subnode"]


def _gathered_column(old: Width, nodes: Sequence[Place], number: int) -> _Column:
    pairs = [_node_and_subnodes(old, place, number) for place in nodes]
    arities = [len(own) for _, own in pairs]
    n_sum = arities.count(1)
    if 1 in arities[n_sum:]:
        raise ConfigError(f"expected sums before products in column {number}, got {list(nodes)}; sort them")
    places = torch.tensor([node for node, _ in pairs])
    subnodes = torch.tensor([subnode for _, own in pairs for subnode in own])
    return _Column(Width(n_sum, tuple(arities[n_sum:])), places, subnodes)


def _node_and_subnodes(old: Width, place: Place, number: int) -> tuple[int, list[int]]:
    """The numbers of an old node and of its subnodes, -1 for new ones."""
    if isinstance(place, Fresh):
        return -1, [-1] * _checked_arity(place)
    node = place.node if isinstance(place, Part) else place
    _check_node(node, old.n_nodes, number)
    own = list(old.subnodes(node))
    return node, _factors(own, place, number) if isinstance(place, Part) else own


def _factors(own: Sequence[int], part: Part, column: int) -> list[int]:
    if not part.factors or not all(0 <= factor < len(own) for factor in part.factors):
        raise ConfigError(
            f"expected some of the factors from 0 to {len(own) - 1} of node {part.node} of column {column}, "
            f"got {list(part.factors)}"
        )
    return [own[factor] for factor in part.factors]


@torch.no_grad()
def _gathered_layer(layer: KANLayer, sources: _Column, targets: _Column, generator: torch.Generator) -> KANLayer:
    new = KANLayer(_gathered_config(layer.config, sources, targets), generator)
    new.to(device=layer.node_scale.device, dtype=layer.node_scale.dtype)
    if new.splines is not None:
        fresh = sources.nodes < 0
        new.splines.coef[:, fresh] = 0
        new.splines.scale_base[:, fresh] = 0
    old = layer.state_dict()
    places = {"in": sources.nodes, "subnode": targets.subnodes, "node": targets.nodes}
    tensors = {name: _gathered(old[name], tensor, AXES[name], places) for name, tensor in new.state_dict().items()}
    new.load_state_dict(tensors)
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(layer.get_parameter(name).requires_grad)
    return new


def _gathered_config(old: LayerConfig, sources: _Column, targets: _Column) -> LayerConfig:
    rows = [old.symbols[t] if t >= 0 else ("",) * old.n_in for t in targets.subnodes.tolist()] if old.symbols else []
    nodes = sources.nodes.tolist()
    return replace(
        old,
        n_in=len(nodes),
        out=targets.width,
        periodic=tuple(place for place, source in enumerate(nodes) if source in old.periodic),
        symbols=tuple(tuple(row[source] if source >= 0 else "" for source in nodes) for row in rows),
    )


def _gathered(old: Tensor, fresh: Tensor, axes: Sequence[str | None], places: Mapping[str, Tensor]) -> Tensor:
    """Old entries in their new places, fresh ones where there was nothing."""
    known = torch.ones((), dtype=torch.bool, device=old.device)
    for axis, name in enumerate(axes):
        if name is not None:
            numbers = places[name].to(old.device)
            old = old.index_select(axis, numbers.clamp(min=0))
            known = known & (numbers >= 0).view(-1, *[1] * (old.ndim - 1 - axis))
    return torch.where(known, old, fresh)


def _check_columns(model: MultKAN, columns: Mapping[int, object] | Sequence[int]) -> None:
    depth = len(model.layers)
    if not all(0 <= column <= depth for column in columns):
        raise ConfigError(f"expected columns from 0, the inputs, to {depth}, the outputs, got {list(columns)}")
    if model.features is not None and 0 in columns:
        raise ConfigError("expected columns from 1 on, as the inputs have auxiliary features, got 0; build anew")


def _checked_arity(node: Fresh) -> int:
    if node.arity < 1:
        raise ConfigError(f"expected new nodes with an arity of at least 1, a sum, got {node.arity}")
    return node.arity


def _check_node(node: int, n_nodes: int, column: int) -> None:
    if not 0 <= node < n_nodes:
        raise ConfigError(f"expected nodes from 0 to {n_nodes - 1} of column {column}, got {node}")
