"""Affine maps of nodes that become part of the edges."""

import copy

import torch

from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.surgery.selection import symbolic_edges


@torch.no_grad()
def fold_affine(model: MultKAN) -> MultKAN:
    """The same function, where affine maps of nodes are part of the constants of the edges before them.

    Such maps come from standardized data. An offset needs a symbolic edge that takes it up; where there is none, and
    after products, it stays.

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
