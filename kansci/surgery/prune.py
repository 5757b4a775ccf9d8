"""Networks without the nodes, edges and inputs that do not matter.

The mean of what is cut is kept: it is added to the subnode that the edge led to. So edges that are constant over the
points are cut without any change of the function there.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kansci.analysis.attribution import attribution_scores, deviation
from kansci.config import Width
from kansci.errors import ConfigError
from kansci.nn.arguments import as_points
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.surgery.gather import Part, Place, gather_nodes
from kansci.surgery.selection import present_edges
from kansci.tracing import Trace, trace

RULES = ("attribution", "magnitude")

Points = Float[Tensor, "n d"] | Float[np.ndarray, "n d"]
EdgeMask = Bool[Tensor, "_ _"]


@torch.no_grad()
def prune(
    model: MultKAN,
    x: Points,
    *,
    by: str = "attribution",
    node: float = 1e-2,
    edge: float = 3e-2,
    inputs: bool = False,
) -> MultKAN:
    """Leave out what hardly changes the outputs.

    By attribution, hidden nodes with a score below `node` for every output are left out, and so are edges below `edge`:
    scores are parts of the standard deviation of an output, the effects of `attribution_scores`. By magnitude, the rule
    of the KAN paper, a hidden node stays only if the largest |phi| of the edges into it and that of the edges out of it
    both exceed `node`, where |phi| is the mean magnitude over the points, of edges into outputs in units of their
    standard deviation; all edges between nodes that stay do so too, and `edge` does not matter.

    Nodes that lead nowhere or do not vary go too. Means of what is cut are kept as constants. A product that loses
    factors, which are constants then, becomes one of fewer factors, or a sum.

    Args:
        model: left unchanged.
        x: points, raw units.
        by: "attribution" or "magnitude".
        node: threshold of nodes.
        edge: threshold of edges.
        inputs: whether to leave out inputs too, by the threshold of nodes. The points of the new model are then
            `x[:, model.inputs]`.

    Returns:
        A new model.

    Raises:
        ConfigError: nothing of an output that varies would be left, `by` is unknown, a threshold is negative, or inputs
            would be left out beside auxiliary features.
        ShapeError: x is not (n, d) for this model.
        DataError: x is empty or not finite.

    Example:
        >>> from kansci import kanpile
        >>> x = 2 * torch.rand(100, 3, dtype=torch.float64) - 1
        >>> pruned = prune(kanpile("exp(x + 1e-6*y) + z", ["x", "y", "z"]), x, inputs=True)
        >>> pruned.inputs
        (0, 2)

    References:
        Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1 (by magnitude).
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.1 (by attribution).
    """
    _check_options(model, by, (node, edge), inputs)
    x = as_points(x, model.layers[0].node_scale)
    found = trace(model, x)
    if by == "attribution":
        kept = _by_attribution(model, x, node, edge, inputs)
    else:
        kept = _by_magnitude(model, found, node, inputs)
    return cut_edges(model, found, kept, inputs=inputs)


def _check_options(model: MultKAN, by: str, thresholds: Sequence[float], inputs: bool) -> None:
    if by not in RULES:
        raise ConfigError(f"expected by to be {' or '.join(map(repr, RULES))}, got {by!r}")
    if not all(threshold >= 0 for threshold in thresholds):
        raise ConfigError(f"expected thresholds that are not negative, got {' and '.join(map(str, thresholds))}")
    if inputs and model.features is not None:
        raise ConfigError("expected inputs=False for a model with auxiliary features, got True; build it anew")


def _by_attribution(model: MultKAN, x: Tensor, node: float, edge: float, inputs: bool) -> list[EdgeMask]:
    """For each layer, which edges have a score, between nodes that have one."""
    scores = attribution_scores(model, x).effects_per_output.largest()
    stays = [(own >= node).cpu() for own in scores.nodes]
    if not inputs:
        stays[0][:] = True
    stays[-1][:] = True
    strong = [((own >= edge) & (own > 0)).cpu() for own in scores.edges]
    return _between(model, strong, stays)


def _by_magnitude(model: MultKAN, found: Trace, node: float, inputs: bool) -> list[EdgeMask]:
    """For each layer, the edges between nodes that have a large edge on both sides."""
    sizes = [edges.abs().mean(0) for edges in found.edges]
    sizes[-1] = sizes[-1] * _output_units(model, found)[:, None]
    stays = [torch.ones(width.n_nodes, dtype=torch.bool) for width in model.config.columns]
    for column in range(0 if inputs else 1, len(sizes)):
        stays[column] &= (sizes[column].amax(0) > node).cpu()
        if column:
            incoming = (sizes[column - 1].amax(1) > node).cpu()
            width = model.config.columns[column]
            stays[column] &= torch.stack([incoming[list(width.subnodes(n))].any() for n in range(width.n_nodes)])
    return _between(model, [torch.ones_like(present_edges(layer)) for layer in model.layers], stays)


def _output_units(model: MultKAN, found: Trace) -> Float[Tensor, "subnode"]:
    """What edges into the outputs are multiplied with to be in units of the outputs' standard deviations.

    For products, in units of the root mean square of the factor that they are part of.
    """
    last = model.layers[-1]
    n_sum = last.config.out.n_sum
    slopes = last.maps[0].abs()
    sizes = (slopes * found.subnodes[-1] + last.maps[1]).square().mean(0).sqrt()
    sizes[:n_sum] = deviation(found.output[:, :n_sum])
    return torch.where(sizes > 0, slopes / torch.where(sizes > 0, sizes, 1.0), slopes)


def _between(model: MultKAN, kept: list[EdgeMask], stays: list[Bool[Tensor, "_"]]) -> list[EdgeMask]:
    """The edges that are kept, lead from nodes that stay to such nodes, and are there at all."""
    between = []
    for number, (layer, own) in enumerate(zip(model.layers, kept, strict=True)):
        targets = stays[number + 1][_owners(layer.config.out)]
        between.append(own & present_edges(layer) & targets[:, None] & stays[number])
    return between


def _owners(width: Width) -> list[int]:
    """The node of each subnode."""
    return [node for node in range(width.n_nodes) for _ in width.subnodes(node)]


@torch.no_grad()
def cut_edges(model: MultKAN, found: Trace, kept: Sequence[EdgeMask], *, inputs: bool = False) -> MultKAN:
    """The network of some of its edges, with the means of the others as constants.

    Args:
        model: left unchanged.
        found: its trace on the points over which means are taken.
        kept: for each layer, the edges that stay; those that are not on a way from an input to an output go as well.
        inputs: whether inputs from which no edge starts are left out.

    Returns:
        A new model.

    Raises:
        ConfigError: an output that varies, or all outputs, would be left without any input.
    """
    kept, stays = _connected(model.config.columns, kept)
    _check_outputs(found, stays[-1])
    reduced = copy.deepcopy(model)
    columns: dict[int, list[Place]] = {0: stays[0].nonzero().flatten().tolist()} if inputs else {}
    for number, (layer, own) in enumerate(zip(reduced.layers, kept, strict=True)):
        _cut(layer, own, found.edges[number])
        if number + 1 < len(reduced.layers):
            _move_constants(layer, own)
            columns[number + 1] = _places(layer.config.out, stays[number + 1], own)
    return gather_nodes(reduced, columns)


def _cut(layer: KANLayer, kept: EdgeMask, edges: Float[Tensor, "n subnode in"]) -> None:
    """Mask edges, in place, and add their means to the subnodes that they lead to."""
    own = kept.to(edges.device)
    layer.subnode_bias += layer.subnode_scale * torch.where(own, 0.0, edges).sum(2).mean(0)
    for part in (layer.splines, layer.symbols):
        if part is not None:
            part.mask *= own


def _move_constants(layer: KANLayer, kept: EdgeMask) -> None:
    """Multiply products, in place, with their factors that are constant."""
    width = layer.config.out
    for node in range(width.n_sum, width.n_nodes):
        constant = [subnode for subnode in width.subnodes(node) if not kept[subnode].any()]
        layer.node_scale[node] *= layer.subnode_bias[constant].prod()


class _Connected(NamedTuple):
    kept: list[EdgeMask]
    stays: list[Bool[Tensor, "_"]]


def _connected(columns: Sequence[Width], kept: Sequence[EdgeMask]) -> _Connected:
    """The edges on a way from an input to an output, and the nodes that have some.

    Outputs, too, only stay where they have one.
    """
    varies = [torch.ones(columns[0].n_nodes, dtype=torch.bool)]
    alive = []
    for width, own in zip(columns[1:], kept, strict=True):
        alive.append(own & varies[-1])
        subnodes = alive[-1].any(1)
        varies.append(torch.stack([subnodes[list(width.subnodes(node))].any() for node in range(width.n_nodes)]))
    stays = [varies[-1]]
    for number in reversed(range(len(alive))):
        alive[number] = alive[number] & stays[0][_owners(columns[number + 1])][:, None]
        stays.insert(0, alive[number].any(0))
    return _Connected(alive, stays)


def _check_outputs(found: Trace, stays: Bool[Tensor, "m"]) -> None:
    varies = (deviation(found.output) > 0).cpu()
    lost = [] if varies.any() else list(range(len(varies)))
    lost += (varies & ~stays).nonzero().flatten().tolist()
    if lost or not stays.any():
        raise ConfigError(
            f"expected a network whose outputs depend on inputs, got nothing left of outputs {lost}; "
            "lower the thresholds"
        )


def _places(width: Width, stays: Bool[Tensor, "node"], kept: EdgeMask) -> list[Place]:
    """The nodes that stay, with the factors that vary, sums first."""
    sums: list[Place] = [node for node in range(width.n_sum) if stays[node]]
    products: list[Place] = []
    for node in range(width.n_sum, width.n_nodes):
        if stays[node]:
            part = Part(node, tuple(f for f, own in enumerate(width.subnodes(node)) if kept[own].any()))
            (products if len(part.factors) > 1 else sums).append(part)
    return sums + products
