"""fit: supervised learning as the residual problem model(x) - y = 0."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kansci.errors import ConfigError, ShapeError
from kansci.nn.networks import Network
from kansci.solvers.data import Dataset
from kansci.solvers.residual import Residual
from kansci.solvers.solution import Solution
from kansci.solvers.solve import Callback, solve


def fit(
    model: nn.Module,
    data: Dataset | tuple[Any, Any],
    *,
    method: str = "lm",
    steps: int = 100,
    loss: str = "mse",
    normalize: bool = True,
    seconds: float | None = None,
    tolerance: float | None = None,
    grids: Sequence[int] | None = None,
    callback: Callback | None = None,
    memory: float = 1e9,
    progress: bool = True,
    seed: int = 0,
) -> Solution:
    r"""Fit a model to data.

    .. math:: \frac{1}{n} \sum_i w_i \, |f(x_i) - y_i|^2 / s^2

    with s the standard deviation of each target if normalized, else 1.

    Args:
        model: left unchanged.
        data: a `Dataset`, or (x, y).
        method: one of those of `solve`.
        steps: largest number of steps of each stage.
        loss: "mse".
        normalize: standardize the targets by the affine map of the output nodes of a MultKAN, LAN or MLP, unless it is
            set already.
        seconds: wall-clock limit.
        tolerance: a stage ends when ten steps lower the loss by less than this fraction.
        grids: stages from coarse to fine.
        callback: called with a `Step` after each step; a true result ends the fit.
        memory: bytes that may be spent on a Jacobian.
        progress: whether to show a progress bar.
        seed: of random choices.

    Returns:
        The solution; `error_estimate` is the error on the test part relative to the targets, where there is one.

    Raises:
        ConfigError: unknown method or loss.
        DomainError: inputs outside the model's domain; build it with ``domain=data.domain``.
        ShapeError: data that do not fit the model.

    Example:
        >>> from kansci import MultKAN
        >>> data = Dataset.from_function(lambda x: x[:, 0] * x[:, 1], [(-1, 1), (-1, 1)], 200)
        >>> model = MultKAN([2, 2, 1], k=3, domain=data.domain)
        >>> fit(model, data, progress=False).loss < 1e-6
        True
    """
    data = data if isinstance(data, Dataset) else Dataset(*data)
    if loss != "mse":
        raise ConfigError(f"expected loss to be 'mse', got {loss!r}")
    _check(model, data)
    scale = torch.ones_like(data.y[0])
    if normalize and isinstance(model, Network):
        model, scale = _standardize(model, data.y)
    weight = 1.0 if data.weight is None else data.weight

    def misfit(jet: Any, x: Tensor, y: Tensor) -> Tensor:
        return (jet.value - y) / scale

    solution = solve(
        model,
        Residual(misfit, data.x, targets=data.y, weight=weight, noise=None, name="data"),
        method=method,
        steps=steps,
        seconds=seconds,
        tolerance=tolerance,
        grids=grids,
        callback=callback,
        memory=memory,
        progress=progress,
        seed=seed,
    )
    if data.x_test is None or data.y_test is None:
        return solution
    return replace(solution, error_estimate=_relative_error(solution.model, data.x_test, data.y_test))


def _check(model: nn.Module, data: Dataset) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigError(f"expected a torch module as model, got {type(model).__name__}")
    if isinstance(model, Network):
        expected = (model.n_inputs, model.n_outputs)
        if (data.x.shape[1], data.y.shape[1]) != expected:
            raise ShapeError(
                f"expected data with {expected[0]} inputs and {expected[1]} targets for this model, "
                f"got {data.x.shape[1]} and {data.y.shape[1]}"
            )


def _standardize(model: Network, y: Tensor) -> tuple[Network, Tensor]:
    """A copy whose output nodes have the mean and the standard deviation of the targets, and the latter."""
    last = model.layers[-1]
    if not (last.node_scale.eq(1).all() and last.node_bias.eq(0).all()):
        return model, last.node_scale.detach().to(torch.float64)
    scaled = copy.deepcopy(model)
    deviation = y.std(0, correction=0)
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    with torch.no_grad():
        scaled.layers[-1].node_scale.copy_(deviation)
        scaled.layers[-1].node_bias.copy_(y.mean(0))
    return scaled, deviation


@torch.no_grad()
def _relative_error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    dtype = next(model.parameters()).dtype
    error = model(x.to(dtype)).to(torch.float64) - y
    return math.sqrt(float(error.square().mean() / y.square().mean()))
