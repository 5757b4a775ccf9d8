"""Hidden domains: how far the activations of a network reach, and grids that follow them.

The domain of a hidden node's edges is part of the solution, not of the user's burden. A trial step that would push
activations outside first makes the grids grow, by projection onto wider knots; nothing is ever solved on the linear
continuation of an edge.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.jets import Jet, jet
from kansci.nn.edges import SplineEdges
from kansci.nn.networks import Layer, SplineNetwork
from kansci.solvers import ranks
from kansci.splines import uniform_knots
from kansci.surgery.grid import move_knots

MARGIN, TIGHT, NEAR = 0.1, 0.02, 0.01
BEYOND = 1e-3


class Reach(NamedTuple):
    """Lowest and highest activation of each hidden node, layer by layer from the second."""

    low: list[Tensor]
    high: list[Tensor]

    def join(self, other: "Reach") -> "Reach":
        """The hull of two reaches."""
        low = [torch.minimum(a, b) for a, b in zip(self.low, other.low, strict=True)]
        return Reach(low, [torch.maximum(a, b) for a, b in zip(self.high, other.high, strict=True)])

    def everywhere(self) -> "Reach":
        """The hull over all ranks."""
        return Reach(*ranks.hull(self.low, self.high))


def jet_and_reach(model: nn.Module, x: Float[Tensor, "n d"], needs: str) -> tuple[Jet, Reach]:
    """The jet of a model at x, and what its activations reach; models without splines reach nothing."""
    if not isinstance(model, SplineNetwork):
        return jet(model, x, needs), Reach([], [])
    current = model.lift(x, needs)
    low, high = [], []
    for number, layer in enumerate(model.layers):
        if number:
            for ends, own in zip((low, high), _ends(current.channels[0]), strict=True):
                ends.append(own)
        current = layer.jet(current)
    return current, Reach(low, high)


def _ends(x: Float[Tensor, "in n"]) -> tuple[Tensor, Tensor]:
    if not x.shape[1]:
        return x.new_full((len(x),), torch.inf), x.new_full((len(x),), -torch.inf)
    return x.amin(1), x.amax(1)


def escapes(model: nn.Module, reach: Reach) -> bool:
    """Whether any activation lies outside the domain of its edges, or so close to an end that others may."""
    return any(bool(_leaves(low, high, splines.domain).any()) for low, high, _, splines in _columns(model, reach))


def is_far(model: nn.Module, reach: Reach, factor: float = 3.0) -> bool:
    """Whether any node's activations spread over more than `factor` times its domain, or are not finite."""
    for low, high, _, splines in _columns(model, reach):
        a, b = splines.domain
        if not bool((high - low < factor * (b - a)).all()):
            return True
    return False


def follow(model: nn.Module, reach: Reach, *, tight: bool = False) -> float:
    """Move the grids of nodes whose activations escape, in place; returns the largest projection error.

    Moved grids get a margin for the steps to come. With `tight`, all of them are brought close to the activations.
    """
    worst = 0.0
    for low, high, layer, splines in _columns(model, reach):
        a, b = splines.domain
        span = torch.where(high > low, high - low, b - a)
        slack = (TIGHT if tight else MARGIN) * span
        move = _leaves(low, high, (a, b))
        if tight:
            move |= b - a > (1 + MARGIN) * span
        if move.any():
            starts, ends = torch.where(move, low - slack, a), torch.where(move, high + slack, b)
            knots = uniform_knots(starts, ends, splines.config.grid, splines.config.k)
            worst = max(worst, move_knots(layer, knots, beyond=BEYOND))
    return worst


def _leaves(low: Tensor, high: Tensor, domain: tuple[Tensor, Tensor]) -> Tensor:
    slack = NEAR * (high - low)
    return (low - slack < domain[0]) | (high + slack > domain[1])


def _columns(model: nn.Module, reach: Reach) -> Iterator[tuple[Tensor, Tensor, Layer, SplineEdges]]:
    """Ends of the activations of each hidden column with splines, the layer behind it, and its splines."""
    if isinstance(model, SplineNetwork):
        for low, high, layer in zip(reach.low, reach.high, list(model.layers)[1:], strict=True):
            if layer.splines is not None:
                used = (layer.splines.mask != 0).any(0)
                a, b = layer.splines.domain
                middle = (a + b) / 2  # where a source whose edges are all cut never makes its grid move
                yield torch.where(used, low, middle), torch.where(used, high, middle), layer, layer.splines
