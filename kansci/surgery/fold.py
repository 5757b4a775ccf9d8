"""Affine maps of nodes: set so that node values are of the order of one, and made part of the edges."""

import copy

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges
from kansci.surgery.selection import symbolic_edges
from kansci.tracing import trace

TINY = torch.finfo(torch.float64).tiny


@torch.no_grad()
def fold_affine(model: MultKAN) -> MultKAN:
    """The same function, where affine maps of nodes are part of the constants of the edges before them.

    Such maps come from standardized data. An offset needs a symbolic edge that takes it up; where there is none, and
    after products, it stays. Offsets d of edges into the same subnode are gathered in the first.

    Args:
        model: left unchanged.

    Returns:
        A new model.

    Example:
        >>> from kansci import fit, kanpile
        >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
        >>> model = fit(kanpile("sin(x)", ["x"]), (x, 2 * x.sin() + 1), progress=False).model
        >>> folded = fold_affine(model)
        >>> folded.layers[0].node_bias.item(), round(folded.layers[0].symbols.affine[0, 0, 3].item(), 6)
        (0.0, 1.0)
    """
    folded = copy.deepcopy(model)
    for layer in folded.layers:
        _fold(layer)
    return folded


def _fold(layer: KANLayer) -> None:
    width, symbolic = layer.config.out, symbolic_edges(layer)
    scale, bias = (own.clone() for own in layer.maps)
    for node in range(width.n_sum, width.n_nodes):
        scale[width.subnodes(node)[0]] *= layer.node_scale[node]
        bias[width.subnodes(node)[0]] *= layer.node_scale[node]
    layer.node_scale.fill_(1)
    layer.subnode_scale.fill_(1)
    layer.node_bias[: width.n_sum] = 0
    if layer.splines is not None:
        layer.splines.scale_spline *= scale[:, None]
        layer.splines.scale_base *= scale[:, None]
    for subnode, (factor, offset) in enumerate(zip(scale, bias, strict=True)):
        layer.subnode_bias[subnode] = 0 if symbolic[subnode].any() else offset
        if layer.symbols is not None and symbolic[subnode].any():
            source = int(symbolic[subnode].nonzero()[0])
            layer.symbols.affine[subnode, :, 2:] *= factor
            layer.symbols.affine[subnode, source, 3] += offset / layer.symbols.mask[subnode, source]
            _gather_offsets(layer.symbols, subnode, symbolic[subnode])


def _gather_offsets(symbols: SymbolicEdges, subnode: int, symbolic: Bool[Tensor, "in"]) -> None:
    """Offsets of edges into a subnode, of which only the sum matters, become that of the first; held ones stay."""
    mask, offsets = symbols.mask[subnode], symbols.affine[subnode, :, 3]
    free = (symbolic.to(mask.device) & (symbols.fixed[subnode, :, 3] == 0)).nonzero()[:, 0]
    if len(free) > 1:
        total = (mask * offsets)[free].sum()
        offsets[free] = 0
        offsets[free[0]] = total / mask[free[0]]


@torch.no_grad()
def standardize_nodes(model: MultKAN, x: Float[Tensor, "n d"]) -> MultKAN:
    """The same function, where hidden nodes have mean 0 (but products) and standard deviation 1 over x.

    Penalties and training leave hidden nodes at any scale; functions that edges may be are told best at that of one.

    Args:
        model: left unchanged.
        x: points, raw units.

    Returns:
        A new model. Nodes that are constant stay as they are.

    Example:
        >>> x = torch.rand(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> hidden = trace(standardize_nodes(MultKAN([2, 3, 1]), x), x).nodes[1]
        >>> bool((hidden.std(0) - 1).abs().max() < 1e-12 and hidden.mean(0).abs().max() < 1e-12)
        True
    """
    standardized = copy.deepcopy(model)
    columns = trace(model, x).nodes[1:-1]
    for before, after, nodes in zip(standardized.layers[:-1], standardized.layers[1:], columns, strict=True):
        deviation, mean = nodes.std(0), nodes.mean(0)
        scale = torch.where(deviation > TINY, 1 / deviation.clamp(min=TINY), 1.0)
        shift = torch.where(torch.arange(len(mean)) < before.config.out.n_sum, -scale * mean, 0.0)
        before.node_scale *= scale
        before.node_bias.copy_(scale * before.node_bias + shift)
        if after.splines is not None:
            after.splines.knots.copy_(scale[:, None] * after.splines.knots + shift[:, None])
        if after.symbols is not None:
            after.symbols.affine[..., 0] /= scale
            after.symbols.affine[..., 1] -= after.symbols.affine[..., 0] * shift
    return standardized
