"""Points at which the hidden nodes of a network are extreme.

A hidden edge is known only between the activations at the collocation points. Test points whose activations lie
beyond them see an extrapolated edge, and a few such points can spoil the error of a solution; so collocation points
should hold the extremes. `kansci.solve` takes new points before each stage by `resample`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.nn.arguments import read_domain
from kansci.nn.networks import Network
from kansci.tracing import trace

SEARCH, SWEEPS = 41, 2


@torch.no_grad()
def extreme_points(model: Network, bounds: Sequence[Any]) -> Float[Tensor, "extreme d"]:
    """Points of a box at which each hidden node is lowest and at which it is highest.

    Searches along one coordinate at a time from the middle of the box: exact, up to the step of the search, for nodes
    that are sums of functions of one coordinate each, as those of the first hidden column are; of a LAN or an MLP
    they are extreme at corners.

    Args:
        model: a MultKAN, LAN or MLP, left unchanged.
        bounds: one (low, high) for all raw inputs or one pair for each, in raw units.

    Returns:
        Two points for each hidden node, products included: those of the lowest values, then those of the highest.

    Raises:
        ConfigError: bounds that are not intervals, or not one for each raw input.

    Example:
        >>> from kansci import MultKAN
        >>> model = MultKAN([2, 1, 1], grid=1, k=1, base="zero")
        >>> with torch.no_grad():
        ...     _ = model.layers[0].splines.coef.copy_(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))  # rises, falls
        >>> extreme_points(model, (-1, 1)).tolist()
        [[-1.0, 1.0], [1.0, -1.0]]
    """
    low, high = read_domain(bounds, model.n_inputs).to(model.dtype).unbind(1)
    middle = ((low + high) / 2)[None]
    hidden = sum(nodes.shape[1] for nodes in trace(model, middle).nodes[1:-1])
    points = middle.repeat(2 * hidden, 1)
    for coordinate in [*range(len(low))] * SWEEPS:
        steps = torch.linspace(float(low[coordinate]), float(high[coordinate]), SEARCH).to(points)
        trials = points.repeat_interleave(SEARCH, 0)
        trials[:, coordinate] = steps.repeat(2 * hidden)
        if hidden:
            nodes = torch.cat(trace(model, trials).nodes[1:-1], 1)
            goals = torch.cat([-nodes, nodes], 1).view(2 * hidden, SEARCH, 2 * hidden)
            points[:, coordinate] = steps[goals.diagonal(dim1=0, dim2=2).argmax(0)]
    return points
