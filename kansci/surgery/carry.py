"""Inputs that are carried on to the last column, where corrections may need them, and nodes that nothing needs."""

import torch

from kansci.config import Edge
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.surgery.gather import Fresh, gather_nodes
from kansci.surgery.grow import deepen
from kansci.surgery.selection import symbolic_edges
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
        used = symbolic_edges(layer)
        if layer.splines is not None:
            used = used | (layer.splines.mask != 0).cpu()
        kept = used.any(0).nonzero().flatten().tolist()
        if 0 < len(kept) < layer.config.n_in:
            model = gather_nodes(model, {column: kept})
    return model
