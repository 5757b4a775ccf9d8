"""Inputs that are carried on to the last column, where corrections may need them, and nodes that nothing needs."""

import torch
from jaxtyping import Bool
from torch import Tensor

from kansci.config import Edge
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.surgery.gather import Fresh, gather_nodes
from kansci.surgery.grow import deepen
from kansci.surgery.selection import present_edges, symbolic_edges
from kansci.surgery.symbolize import set_symbol


@torch.no_grad()
def carry_inputs(model: MultKAN) -> MultKAN:
    """The same function, where every column before the last has a copy of each input, carried by fixed edges x.

    Edges from the copies to the outputs are missing; as splines they add functions of one input to an output. Outputs
    that are products get a further column.

    Args:
        model: left unchanged; its features count as inputs.

    Returns:
        A new model; itself where it has one layer of sums.

    Example:
        >>> from kansci import kanpile
        >>> carried = carry_inputs(kanpile("x*sin(y)", ["x", "y"]))
        >>> [(width.n_sum, width.arities) for width in carried.config.columns]
        [(2, ()), (2, (2,)), (1, ())]
    """
    if model.config.columns[-1].arities:
        model = deepen(model, len(model.layers) + 1)
    d = model.config.columns[0].n_nodes
    carried = list(range(d))
    for column in range(1, len(model.layers)):
        width = model.config.columns[column]
        sums, products = range(width.n_sum), range(width.n_sum, width.n_nodes)
        model = gather_nodes(model, {column: [*sums, *[Fresh()] * d, *products]})
        targets = range(width.n_sum, width.n_sum + d)
        for source, target in zip(carried, targets, strict=True):
            _cut(model.layers[column - 1], target)
            model = set_symbol(model, Edge(column - 1, target, source), "x")
            _fix(model.layers[column - 1], target, source)
        carried = list(targets)
    return model


def _cut(layer: KANLayer, target: int) -> None:
    if layer.splines is not None:
        layer.splines.mask[target] = 0


def _fix(layer: KANLayer, target: int, source: int) -> None:
    if layer.symbols is not None:
        layer.symbols.fixed[target, source] = 1


def carrying_edges(model: MultKAN) -> list[Bool[Tensor, "subnode _"]]:
    """For each layer, the edges that only carry: fixed, equal to x, and not into an output."""
    found = []
    for number, layer in enumerate(model.layers):
        edges = symbolic_edges(layer)
        if layer.symbols is None or number == len(model.layers) - 1:
            found.append(torch.zeros_like(edges))
            continue
        is_x = torch.tensor([[name == "x" for name in row] for row in layer.config.symbols])
        same = (layer.symbols.affine == layer.symbols.affine.new_tensor([1, 0, 1, 0])).all(2)
        held = (layer.symbols.fixed != 0).all(2)
        found.append(edges & is_x & (same & held).cpu())
    return found


def carried_nodes(model: MultKAN) -> Bool[Tensor, "nodes"]:
    """Which sources of the last layer are inputs, or nodes that carry one and nothing else."""
    carried = torch.ones(model.config.columns[0].n_nodes, dtype=torch.bool)
    for layer, own in zip(model.layers[:-1], carrying_edges(model), strict=False):
        edges = present_edges(layer)
        copies = (own & carried).any(1) & (edges.sum(1) == 1)
        width = layer.config.out
        carried = torch.cat([copies[: width.n_sum], torch.zeros(len(width.arities), dtype=torch.bool)])
    return carried


def drop_idle(model: MultKAN) -> MultKAN:
    """The same function without the hidden nodes from which no edge starts.

    Args:
        model: left unchanged.

    Returns:
        A new model.

    Example:
        >>> from kansci import kanpile
        >>> model = kanpile("x*sin(y)", ["x", "y"])
        >>> [width.n_nodes for width in drop_idle(carry_inputs(model)).config.columns]
        [2, 1, 1]
    """
    for column in reversed(range(1, len(model.layers))):
        layer = model.layers[column]
        kept = present_edges(layer).any(0).nonzero().flatten().tolist()
        if 0 < len(kept) < layer.config.n_in:
            model = gather_nodes(model, {column: kept})
    return model
