"""fit: supervised learning as the residual problem model(x) - y = 0, or with another loss."""

import copy
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kansci.errors import ConfigError, DataError, ShapeError
from kansci.nn.multkan import MultKAN
from kansci.nn.networks import Network
from kansci.solvers import ranks
from kansci.solvers.data import Dataset
from kansci.solvers.losses import cross_entropy
from kansci.solvers.penalty import Penalty
from kansci.solvers.prior import Information
from kansci.solvers.residual import Residual
from kansci.solvers.resume import Checkpoint
from kansci.solvers.run import Callback
from kansci.solvers.solution import Solution
from kansci.solvers.solve import solve

Loss = str | Callable[[Tensor, Tensor], Tensor]
LOSSES = ("mse", "cross_entropy")
PATIENCE = 20
ROUNDING = 1e-13

POINTS = 4096  # test samples at a time


@ranks.together()
def fit(
    model: nn.Module,
    data: Dataset | tuple[Any, Any],
    *,
    method: str = "lm",
    steps: int = 100,
    loss: Loss = "mse",
    penalty: Penalty | None = None,
    grids: Sequence[int] | None = None,
    batch_size: int | None = None,
    rate: float | Callable[[float], float] | None = None,
    normalize: bool = True,
    validation: Dataset | tuple[Any, Any] | float | None = None,
    patience: int | None = None,
    prior: Solution | None = None,
    seconds: float | None = None,
    tolerance: float | None = None,
    callback: Callback | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    memory: float = 1e9,
    progress: bool = True,
    seed: int = 0,
) -> Solution:
    r"""Fit a model to data.

    .. math:: \frac{1}{n} \sum_i w_i \, |f(x_i) - y_i|^2 / s^2

    with s the standard deviation of each target if normalized, else 1; or the mean of another loss of f(x_i) and y_i.
    Under `torch.distributed` each rank passes its own rows of the data, as in `solve`.

    Args:
        model: left unchanged.
        data: a `Dataset`, or (x, y).
        method: one of those of `solve`.
        steps: largest number of steps of each stage; epochs of first-order methods.
        loss: "mse"; "cross_entropy" with targets that are numbers of classes (n, 1) or shares of classes (n, m), and
            one output for each class; or a function of outputs (n, m) and targets (n, ...) that returns (n,), convex
            in the outputs for "lm", e.g. ``lambda f, y: (f - y)[:, 0].cosh().log()``.
        penalty: what keeps the network small and smooth.
        grids: stages from coarse to fine.
        batch_size: points of a batch of a first-order method; by default all.
        rate: learning rate of a first-order method, as in `solve`.
        normalize: standardize the targets of "mse" by the affine map of the output nodes of a MultKAN, LAN or MLP,
            unless it is set already.
        validation: data by which the best step is chosen, or the fraction of the data to set aside for it.
        patience: a stage ends when so many steps have not lowered the validation loss; by default 20 with validation.
        prior: the solution of a fit to earlier data, of which `model` is the model: what they say is kept, by their
            information matrix. Chains: each solution carries the data of all fits before.
        seconds: wall-clock limit.
        tolerance: a stage ends when a round of steps lowers the loss by less than this fraction.
        callback: called with a `Step` after each step; a true result ends the fit.
        checkpoint: a file that is written as the fit goes, and from which it goes on, as in `solve`.
        memory: bytes that may be spent on a Jacobian.
        progress: whether to show a progress bar.
        seed: of random choices.

    Returns:
        The solution; `error_estimate` is the error on the test part relative to the targets, where there is one and
        the loss is "mse".

    Raises:
        ConfigError: unknown method or loss.
        DataError: classes that are no numbers from 0 to m - 1.
        DomainError: inputs outside the model's domain; build it with ``domain=data.domain``.
        ShapeError: data that do not fit the model.
        RankError: another rank has failed or died.

    Example:
        >>> from kansci import MultKAN
        >>> data = Dataset.from_function(lambda x: x[:, 0] * x[:, 1], [(-1, 1), (-1, 1)], 200)
        >>> model = MultKAN([2, 2, 1], k=3, domain=data.domain)
        >>> fit(model, data, progress=False).loss < 1e-6
        True
    """
    data = data if isinstance(data, Dataset) else Dataset(*data)
    if not callable(loss) and loss not in LOSSES:
        raise ConfigError(f"expected loss to be {' or '.join(map(repr, LOSSES))} or a function, got {loss!r}")
    data, held_out = _hold_out(data, validation, seed)
    for own in (data, held_out):
        if own is not None:
            _check(model, own, loss)
    ranks.check_same(model=model, loss="function" if callable(loss) else loss, normalize=normalize, m=data.y.shape[1])
    scale = torch.ones_like(data.y[0])
    if loss == "mse" and normalize and isinstance(model, Network):
        model, scale = _standardize(model, data.y)
    solution = solve(
        model,
        _term(model, data, loss, scale),
        method=method,
        steps=steps,
        seconds=seconds,
        tolerance=tolerance,
        grids=grids,
        penalty=penalty,
        callback=callback,
        checkpoint=checkpoint,
        memory=memory,
        progress=progress,
        seed=seed,
        validation=None if held_out is None else [_term(model, held_out, loss, scale)],
        patience=PATIENCE if patience is None and held_out is not None else patience,
        batch_size=batch_size,
        rate=rate,
        prior=None if prior is None else _information(prior, model, memory).scaled(1 / ranks.count(len(data.x))),
    )
    return replace(solution, error_estimate=_relative_error(solution.model, data)) if loss == "mse" else solution


def _information(prior: Solution, model: nn.Module, memory: float) -> Information:
    """What the data of a solution say."""
    if prior.evidence is None:
        raise ConfigError("expected a solution that fit has returned as prior, got a copy by pickle, without its data")
    ours, theirs = model.state_dict(), prior.model.state_dict()
    if ours.keys() != theirs.keys() or any(not torch.equal(ours[name], theirs[name]) for name in ours):
        raise ConfigError("expected prior.model as the model to fit on, got another one; pass fit(prior.model, ...)")
    return prior.evidence.information(memory)


def _hold_out(data: Dataset, validation: Any, seed: int) -> tuple[Dataset, Dataset | None]:
    """The data to fit, and those to choose by."""
    if validation is None:
        return data, None
    if not isinstance(validation, int | float):
        return data, validation if isinstance(validation, Dataset) else Dataset(*validation, names=data.names)
    own = Dataset(data.x, data.y, names=data.names, weight=data.weight, domain=data.domain).split(validation, seed)
    kept = Dataset(own.x, own.y, data.x_test, data.y_test, names=data.names, weight=own.weight, domain=data.domain)
    return kept, Dataset(own.x_test, own.y_test, names=data.names, domain=data.domain)


def _term(model: nn.Module, data: Dataset, loss: Loss, scale: Tensor) -> Residual:
    """The data as a term of a problem."""
    weight = 1.0 if data.weight is None else data.weight
    if loss == "mse":
        return Residual(lambda jet, x, y: (jet.value - y) / scale, data.x, targets=data.y, weight=weight, name="data")
    is_classes = loss == "cross_entropy" and data.y.shape[1] == 1
    targets = nn.functional.one_hot(data.y[:, 0].long(), _count_outputs(model, data)).double() if is_classes else data.y
    own = loss if callable(loss) else cross_entropy
    return Residual(lambda jet, x, y: jet.value, data.x, targets=targets, weight=weight, name="data", loss=own)


def _check(model: nn.Module, data: Dataset, loss: Loss) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigError(f"expected a torch module as model, got {type(model).__name__}")
    if isinstance(model, Network) and data.x.shape[1] != model.n_inputs:
        raise ShapeError(f"expected data with {model.n_inputs} inputs for this model, got {data.x.shape[1]}")
    if loss == "cross_entropy":
        _check_classes(data.y, _count_outputs(model, data))
    elif isinstance(model, Network) and not callable(loss) and data.y.shape[1] != model.n_outputs:
        raise ShapeError(f"expected data with {model.n_outputs} targets for this model, got {data.y.shape[1]}")


@torch.no_grad()
def _count_outputs(model: nn.Module, data: Dataset) -> int:
    return model(data.x[:1].to(next(model.parameters()).dtype)).shape[-1]


def _check_classes(y: Tensor, m: int) -> None:
    """Refuse targets that are neither numbers nor shares of m classes."""
    if y.shape[1] == 1 and m > 1:
        wrong = (y != y.round()) | (y < 0) | (y >= m)
        if wrong.any():
            row = int(wrong[:, 0].nonzero()[0])
            raise DataError(f"expected numbers of classes from 0 to {m - 1}, got {y[row, 0]:g} in row {row}")
    elif y.shape[1] != m or m < 2:
        raise ShapeError(
            f"expected one output for each class, and targets of shape (n, 1) or (n, {m}), got {tuple(y.shape)} and a "
            f"model with {m} outputs"
        )
    elif (y < 0).any() or not torch.allclose(y.sum(1), torch.ones_like(y[:, 0]), atol=1e-6):
        raise DataError("expected shares of classes that are not negative and sum to 1 in each row, got others")


def _standardize(model: Network, y: Tensor) -> tuple[Network, Tensor]:
    """A copy whose outputs have mean (but products) and deviation of all ranks' targets, and the latter."""
    last = model.layers[-1]
    if not (last.node_scale.eq(1).all() and last.node_bias.eq(0).all()):
        return model, last.node_scale.detach().to(torch.float64)
    scaled = copy.deepcopy(model)
    size = ranks.count(len(y))
    mean = ranks.total(y.sum(0)) / size
    deviation = (ranks.total((y - mean).square().sum(0)) / size).sqrt()
    deviation = torch.where(deviation > ROUNDING * mean.abs(), deviation, torch.ones_like(deviation))
    sums = torch.arange(len(mean), device=mean.device) < _count_sums(model)
    with torch.no_grad():
        scaled.layers[-1].node_scale.copy_(deviation)
        scaled.layers[-1].node_bias.copy_(torch.where(sums, mean, 0.0))
    return scaled, deviation


def _count_sums(model: Network) -> int:
    """Outputs that are sums: an offset would keep products from being what they are."""
    return model.config.columns[-1].n_sum if isinstance(model, MultKAN) else model.n_outputs


@torch.no_grad()
def _relative_error(model: nn.Module, data: Dataset) -> float | None:
    """On the test parts of all ranks, where there are any."""
    if not ranks.count(0 if data.x_test is None else len(data.x_test)):
        return None
    dtype, squares = next(model.parameters()).dtype, torch.zeros(2, dtype=torch.float64, device=data.y.device)
    if data.x_test is not None and data.y_test is not None:
        for inputs, targets in zip(data.x_test.split(POINTS), data.y_test.split(POINTS), strict=True):
            error = model(inputs.to(dtype)).to(torch.float64) - targets
            squares += torch.stack([error.square().sum(), targets.square().sum()])
    error, size = ranks.total(squares).tolist()
    return math.sqrt(error / size)
