"""The threshold of pruning, by the error on data that were set aside."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, ShapeError
from kansci.nn.arguments import as_points
from kansci.nn.multkan import MultKAN
from kansci.surgery.prune import prune
from kansci.surgery.selection import list_edges

LADDER = [10 ** (-step / 4) for step in range(1, 33)]  # thresholds, largest first
ROUNDING = 1e-12  # errors, relative to the targets, that are equally good

Points = Float[Tensor, "n d"] | Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class Pruned:
    """A network for one threshold.

    Attributes:
        threshold: of nodes and edges.
        edges: how many are left.
        error: on the validation data.
        model: the network.
    """

    threshold: float
    edges: int
    error: float
    model: MultKAN = field(repr=False)


@dataclass(frozen=True)
class Pruning:
    """What `auto_prune` returns.

    Attributes:
        model: the smallest network that is good enough.
        threshold: of its nodes and edges.
        error: its error on the validation data.
        error_before: that of the network as it was.
        trials: what was tried, largest threshold first.
    """

    model: MultKAN = field(repr=False)
    threshold: float
    error: float
    error_before: float
    trials: tuple[Pruned, ...] = field(repr=False)


def auto_prune(
    model: MultKAN,
    x: Points,
    validation: tuple[Any, Any] | Callable[[MultKAN], float],
    *,
    by: str = "attribution",
    tolerance: float = 0.1,
    inputs: bool = False,
) -> Pruning:
    """Prune with the largest threshold that the validation error allows.

    Args:
        model: left unchanged.
        x: points that scores are taken on, raw units.
        validation: points with all inputs of the model and their targets (n, m); or the error of a pruned model, which
            may train it first.
        by: the rule, see `prune`; one threshold for nodes and edges.
        tolerance: the part by which the error may grow.
        inputs: whether to leave out inputs too.

    Returns:
        The network and what was tried. Errors are root mean squares relative to the targets' standard deviations,
        unless `validation` is a function.

    Raises:
        ConfigError: `tolerance` is negative, or see `prune`.
        ShapeError: targets that are not (n, m).

    Example:
        >>> from kansci import kanpile
        >>> x = 2 * torch.rand(100, 2, dtype=torch.float64) - 1
        >>> y = x[:, :1].exp() + 0.01 * torch.randn(100, 1, dtype=torch.float64)
        >>> auto_prune(kanpile("exp(x) + 0.001*sin(9*y)", ["x", "y"]), x, (x, y), inputs=True).model.inputs
        (0,)
    """
    if not tolerance >= 0:
        raise ConfigError(f"expected a tolerance that is not negative, got {tolerance}")
    error_of = validation if callable(validation) else _relative_error(model, *validation)
    before = error_of(model)
    trials: list[Pruned] = []
    for threshold in [*LADDER, 0.0]:
        try:
            pruned = prune(model, x, by=by, node=threshold, edge=threshold, inputs=inputs)
        except ConfigError:
            if threshold == 0:
                raise
            continue
        edges = len(list_edges(pruned))
        if not trials or edges > trials[-1].edges:
            trials.append(Pruned(threshold, edges, error_of(pruned), pruned))
        if trials[-1].error <= before * (1 + tolerance) + ROUNDING:
            break
    best = trials[-1]
    return Pruning(best.model, best.threshold, best.error, before, tuple(trials))


def _relative_error(model: MultKAN, x: Any, y: Any) -> Callable[[MultKAN], float]:
    """The error of models that take some of the inputs of a model."""
    points, targets = (as_points(each, model.layers[0].node_scale) for each in (x, y))
    if targets.shape != (len(points), model.n_outputs):
        raise ShapeError(f"expected targets of shape {(len(points), model.n_outputs)}, got {tuple(targets.shape)}")
    deviation = targets.std(0, correction=0)
    scale = torch.where(deviation > 0, deviation, 1.0)

    @torch.no_grad()
    def error(pruned: MultKAN) -> float:
        columns = [model.inputs.index(own) for own in pruned.inputs]
        return math.sqrt(((pruned(points[:, columns]) - targets) / scale).square().mean().item())

    return error
