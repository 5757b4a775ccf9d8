"""Edges that become symbolic, and edges that are both, taken apart."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges
from kansci.surgery.gather import gather_nodes
from kansci.surgery.grow import deepen
from kansci.surgery.selection import select_edges, symbolic_edges


@torch.no_grad()
def set_symbol(model: MultKAN, edge: Edge, function: str, constants: Sequence[float] = (1.0, 0.0, 1.0, 0.0)) -> MultKAN:
    """Put c f(a x + b) + d in the place of an edge.

    Args:
        model: left unchanged.
        edge: which.
        function: name of f, see `kansci.functions.library_function`.
        constants: a, b, c and d.

    Returns:
        A new model; a layer without any spline edge left has no splines any more.

    Raises:
        ConfigError: the model has no such edge.
        UnknownFunctionError: there is no such function.

    Example:
        >>> model = set_symbol(MultKAN([1, 1]), Edge(0, 0, 0), "exp", (2.0, 0.0, 1.0, -1.0))
        >>> model(torch.zeros(1, 1, dtype=torch.float64)).item()
        0.0
    """
    select_edges(model, [edge])
    changed = copy.deepcopy(model)
    layer = changed.layers[edge.layer]
    rows = [list(row) for row in layer.config.symbols] or [[""] * layer.config.n_in for _ in layer.subnode_scale]
    rows[edge.target][edge.source] = function
    replace_symbols(layer, rows)
    if layer.symbols is not None:
        affine = layer.symbols.affine
        affine[edge.target, edge.source] = torch.as_tensor(constants, dtype=affine.dtype, device=affine.device)
        layer.symbols.mask[edge.target, edge.source] = 1
        layer.symbols.fixed[edge.target, edge.source] = 0
    if layer.splines is not None:
        layer.splines.mask[edge.target, edge.source] = 0
        if not layer.splines.mask.any():
            layer.splines, layer.config = None, replace(layer.config, splines=False)
    return changed


def replace_symbols(layer: KANLayer, rows: Sequence[Sequence[str]]) -> None:
    """Give a layer, in place, symbolic edges of other functions, with the constants of those before."""
    old = layer.symbols
    table = tuple(map(tuple, rows)) if any(map(any, rows)) else ()
    layer.config = replace(layer.config, symbols=table)
    layer.symbols = SymbolicEdges(layer.config).to(layer.node_scale).train(layer.training) if table else None
    if old is not None and layer.symbols is not None:
        layer.symbols.load_state_dict(old.state_dict())
        layer.symbols.affine.requires_grad_(old.affine.requires_grad)
    if layer.splines is not None:
        layer.splines.config = layer.config


@torch.no_grad()
def split_edge(model: MultKAN, edge: Edge) -> tuple[MultKAN, Edge]:
    """The same function, where an edge that is symbolic and spline is two edges.

    A further column copies the source, from which the spline part starts then.

    Args:
        model: left unchanged.
        edge: one that has both parts.

    Returns:
        A new model, and where its spline part is.

    Raises:
        ConfigError: the model has no such edge, or it does not have both parts.

    Example:
        >>> from kansci import kanpile, perturb
        >>> model, edge = split_edge(perturb(kanpile("sin(x)", ["x"])), Edge(0, 0, 0))
        >>> [width.n_sum for width in model.config.columns], edge
        ([1, 2, 1], Edge(layer=1, target=0, source=1))
    """
    select_edges(model, [edge])
    number, target, source = edge
    layer = model.layers[number]
    if layer.splines is None or not layer.splines.mask[target, source] or not symbolic_edges(layer)[target, source]:
        raise ConfigError(f"expected an edge that is symbolic and spline, got {edge}")
    split = _with_copies(model, number, [source])
    after = split.layers[number + 1]
    own, place = after.splines, layer.config.n_in
    if own is not None and after.symbols is not None:
        others = torch.arange(len(own.mask)) != target
        own.mask[target, source] = 0
        own.mask[others, place] = 0
        after.symbols.mask[:, place] = 0
    return split, Edge(number + 1, target, place)


def branch_edge(model: MultKAN, edge: Edge, functions: Sequence[tuple[str, Sequence[float]]]) -> MultKAN:
    """Put a sum of functions in the place of an edge.

    A further column copies the sources of its layer, and the source of the edge once for each function.

    Args:
        model: left unchanged.
        edge: which.
        functions: names and constants (a, b, c, d), as for `set_symbol`.

    Returns:
        A new model, deeper by one layer if there are several functions.

    Raises:
        ConfigError: the model has no such edge, or there are no functions.

    Example:
        >>> functions = [("x**2", (1.0, 0.0, 0.5, 0.0)), ("x**4", (1.0, 0.0, 0.25, 0.0))]
        >>> model = branch_edge(MultKAN([1, 1]), Edge(0, 0, 0), functions)
        >>> model(torch.full((1, 1), 2.0, dtype=torch.float64)).item()
        6.0
    """
    select_edges(model, [edge])
    if not functions:
        raise ConfigError("expected at least one function, got none")
    number, target, source = edge
    if len(functions) > 1:
        first = model.layers[number].config.n_in
        model = _with_copies(model, number, [source] * (len(functions) - 1))
        number += 1
        after = model.layers[number]
        for bank in (after.splines, after.symbols):
            if bank is not None:
                bank.mask.data[:, first:] = 0
        places = [source, *range(first, after.config.n_in)]
    else:
        places = [source]
    for place, (function, constants) in zip(places, functions, strict=True):
        model = set_symbol(model, Edge(number, target, place), function, constants)
    return model


def _with_copies(model: MultKAN, number: int, sources: Sequence[int]) -> MultKAN:
    """The same nodes in a further column before a layer, and some of them once more behind them."""
    deeper = deepen(model, number + 1)
    copies = deeper.layers[number]
    copies.splines, copies.config = None, replace(copies.config, splines=False)
    if copies.symbols is not None:
        copies.symbols.fixed.fill_(1)
    return gather_nodes(deeper, {number + 1: [*range(copies.config.n_in), *sources]})


@torch.no_grad()
def drop_splines(model: MultKAN, edges: Sequence[Edge]) -> MultKAN:
    """Cut the spline part of edges; a symbolic part stays.

    Args:
        model: left unchanged.
        edges: which.

    Returns:
        A new model.

    Raises:
        ConfigError: the model has no such edge.

    Example:
        >>> from kansci import kanpile, perturb
        >>> model = perturb(kanpile("sin(x)", ["x"]), scale=0.1)
        >>> drop_splines(model, [Edge(0, 0, 0)])(torch.zeros(1, 1, dtype=torch.float64)).item()
        0.0
    """
    dropped = copy.deepcopy(model)
    for layer, chosen in zip(dropped.layers, select_edges(model, edges), strict=True):
        if layer.splines is not None:
            layer.splines.mask[chosen.to(layer.splines.mask.device)] = 0
    return dropped
