"""Networks that grow, their function unchanged: further nodes in a column, a further column.

References:
    Chen, Goodfellow, Shlens, Net2Net, arXiv:1511.05641 (growing networks that keep their function).
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch

from kansci.config import LayerConfig, Width
from kansci.errors import ConfigError
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.surgery.banks import add_splines, idle_sources, read_reach
from kansci.surgery.gather import Fresh, gather_nodes


def widen(
    model: MultKAN,
    layer: int,
    sums: int = 0,
    arities: Sequence[int] = (),
    *,
    domain: Any = None,
    seed: int = 0,
) -> MultKAN:
    """Add nodes to a hidden column: the same function, with more to train.

    Edges into the new nodes are drawn as in a new network. Edges out of them are zero and can be trained. All are
    spline edges; where a layer has symbolic edges only, it gets spline edges of the grid, degree and base function
    of its configuration, the old ones of which are masked.

    Old nodes keep their order: sums, new sums, products, new products. `gather_nodes` without the new ones undoes
    it.

    Args:
        model: left unchanged.
        layer: the column, counted as in `model.config.columns`: 1 is the first hidden one.
        sums: how many addition nodes to add.
        arities: of the multiplication nodes to add.
        domain: where the model has none, because no spline edge starts from its inputs: one (low, high) or one
            pair for each raw input, by default (-1, 1).
        seed: of the edges into the new nodes.

    Returns:
        A new model.

    Raises:
        ConfigError: the column is not a hidden one, there is nothing to add, or the domain makes no sense.
        DomainError: a hidden node is not finite on the domain.

    Example:
        >>> model = MultKAN([2, 3, 1])
        >>> wider = widen(model, 1, sums=2, arities=[2])
        >>> wider
        MultKAN([2, [5, [2]], 1], grid=5, k=3, 180 parameters, torch.float64)
        >>> x = torch.rand(10, 2, dtype=torch.float64)
        >>> bool((wider(x) - model(x)).abs().max() < 1e-14)
        True

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.2.
    """
    depth = len(model.layers)
    if depth == 1:
        raise ConfigError("expected a model with a hidden column, got none; use deepen first")
    if not 1 <= layer < depth:
        raise ConfigError(f"expected a hidden column, from 1 to {depth - 1}, got {layer}; inputs and outputs stay")
    added = Width(sums, tuple(arities))
    old = model.config.columns[layer]
    reach, idle = read_reach(model, domain), idle_sources(model)
    nodes: list[int | Fresh] = [*range(old.n_sum), *[Fresh()] * added.n_sum]
    nodes += [*range(old.n_sum, old.n_nodes), *map(Fresh, added.arities)]
    prepared = copy.deepcopy(model)
    for touched in prepared.layers[layer - 1 : layer + 1]:
        add_splines(touched)
    wider = gather_nodes(prepared, {layer: nodes}, seed=seed)
    placed = [torch.zeros_like(own) for own in idle]
    placed[layer - 1] = idle[layer - 1]
    fresh = [isinstance(node, Fresh) or bool(idle[layer][node]) for node in nodes]
    placed[layer] = torch.tensor(fresh, device=idle[layer].device)
    wider.set_domain(reach, sources=placed)
    return wider


def deepen(model: MultKAN, layer: int) -> MultKAN:
    """Add a column that copies the one before it: the same function, with more to train.

    Each node is copied by a symbolic edge x, whose scale and bias can be trained. Where spline edges start from the
    column that is copied, the new edges have a spline part on the same grids, zero to begin with. `perturb` gives
    one to the others, also where there is no edge, and `widen` adds nodes to the new column.

    Args:
        model: left unchanged.
        layer: the number that the new column gets, counted as in `model.config.columns`: from 1, a copy of the
            inputs, to one more than that of the outputs.

    Returns:
        A new model.

    Raises:
        ConfigError: there is no such place.

    Example:
        >>> model = MultKAN([2, 5, 1])
        >>> deepen(model, 2)
        MultKAN([2, 5, 5, 1], grid=5, k=3, 460 parameters, torch.float64)

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.2.
    """
    depth = len(model.layers)
    if not 1 <= layer <= depth + 1:
        raise ConfigError(f"expected a place from 1, after the inputs, to {depth + 1}, after the outputs, got {layer}")
    deeper = copy.deepcopy(model)
    layers = list(deeper.layers)
    like = layers[min(layer, depth) - 1]
    n = model.config.columns[layer - 1].n_nodes
    layers.insert(layer - 1, _identity(n, like, copies_grids=layer <= depth))
    return MultKAN.from_layers(layers, deeper.features, model.inputs).train(model.training)


@torch.no_grad()
def _identity(n: int, like: KANLayer, *, copies_grids: bool) -> KANLayer:
    """The identity of n nodes, from which the edges of the layer `like` start if it has the same grids."""
    rows = tuple(tuple("x" if source == target else "" for source in range(n)) for target in range(n))
    old = like.config
    config = LayerConfig(n, Width(n), old.grid, old.k, old.base, splines=False, symbols=rows)
    layer = KANLayer(config, torch.Generator()).to(device=like.node_scale.device, dtype=like.node_scale.dtype)
    if copies_grids and like.splines is not None:
        splines = add_splines(layer, uniform=old.uniform, periodic=old.periodic)
        splines.knots.copy_(like.splines.knots)
        splines.mask.fill_diagonal_(1)
    return layer
