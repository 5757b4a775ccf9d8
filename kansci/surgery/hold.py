"""Constants of symbolic edges that no solve changes."""

import copy
from collections.abc import Sequence

import torch

from kansci.config import Edge
from kansci.nn.multkan import MultKAN
from kansci.surgery.selection import select_edges


@torch.no_grad()
def hold_constants(model: MultKAN, *, free: Sequence[Edge] = ()) -> MultKAN:
    """The same network, the constants of whose symbolic edges no solve changes.

    What a formula says is kept then, while spline parts beside it learn the rest.

    Args:
        model: left unchanged.
        free: edges whose constants are left as they are.

    Returns:
        A new model.

    Raises:
        ConfigError: there is no such edge.

    Example:
        >>> from kansci import fit, kanpile, perturb
        >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
        >>> model = hold_constants(perturb(kanpile("2*x", ["x"])))
        >>> fit(model, (x, 3 * x + 1), normalize=False, progress=False).model.layers[0].symbols.affine[0, 0].tolist()
        [1.0, 0.0, 2.0, 0.0]
    """
    held = copy.deepcopy(model)
    for layer, own in zip(held.layers, select_edges(model, free), strict=True):
        if layer.symbols is not None:
            layer.symbols.fixed[~own.to(layer.symbols.fixed.device)] = 1
    return held


@torch.no_grad()
def with_held_as(model: MultKAN, other: MultKAN) -> MultKAN:
    """The same network, in which those constants are held that are held in another of the same edges."""
    changed = copy.deepcopy(model)
    for layer, theirs in zip(changed.layers, other.layers, strict=True):
        if layer.symbols is not None and theirs.symbols is not None:
            layer.symbols.fixed.copy_(theirs.symbols.fixed)
    return changed
