"""solve: any problem whose solution makes residuals of jets vanish."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from kansci.errors import ConfigError
from kansci.nn.networks import SplineNetwork
from kansci.solvers import ranks
from kansci.solvers.first_order import adam, cosine, sgd
from kansci.solvers.least_squares import LevenbergMarquardt
from kansci.solvers.method import Method, Settings
from kansci.solvers.penalty import Penalty
from kansci.solvers.prior import Information
from kansci.solvers.problem import Parameter, Problem
from kansci.solvers.quasi_newton import (
    DenseInverse,
    LimitedInverse,
    QuasiNewton,
    bfgs,
    self_scaled_bfgs,
    self_scaled_broyden,
)
from kansci.solvers.residual import Residual
from kansci.solvers.resume import Checkpoint, fingerprint
from kansci.solvers.run import Callback, Resample, Run
from kansci.solvers.solution import Clock, Solution

METHODS: dict[str, Callable[[Settings], Method]] = {
    "lm": LevenbergMarquardt,
    "bfgs": lambda settings: QuasiNewton(settings, lambda: DenseInverse(bfgs)),
    "ssbfgs": lambda settings: QuasiNewton(settings, lambda: DenseInverse(self_scaled_bfgs)),
    "ssbroyden": lambda settings: QuasiNewton(settings, lambda: DenseInverse(self_scaled_broyden)),
    "lbfgs": lambda settings: QuasiNewton(settings, LimitedInverse),
    "adam": adam,
    "sgd": sgd,
}
FIRST_ORDER = ("adam", "sgd")


@ranks.together()
def solve(
    model: Any,
    residuals: Residual | Sequence[Residual],
    *,
    method: str = "lm",
    steps: int = 100,
    seconds: float | None = None,
    tolerance: float | None = None,
    grids: Sequence[int] | None = None,
    parameters: Mapping[str, float | Parameter] | None = None,
    penalty: Penalty | None = None,
    callback: Callback | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    memory: float = 1e9,
    progress: bool = True,
    seed: int = 0,
    fresh: Sequence[Residual] | None = None,
    resample: Resample | None = None,
    validation: Sequence[Residual] | None = None,
    patience: int | None = None,
    batch_size: int | None = None,
    rate: float | Callable[[float], float] | None = None,
    prior: Information | None = None,
    damping: float | None = None,
) -> Solution:
    r"""Minimize a sum of squared residuals over the parameters of models and free scalars.

    .. math:: \sum_t \frac{1}{n_t} \sum_i w_{ti} \sum_r \rho_{tir}^2

    Where `torch.distributed` has been initialized with gloo, e.g. under ``torchrun``, all ranks solve one problem. Each
    of them makes the same call, with the same model and the same terms, but with its own part of the points, which may
    be none of a term. All get the same solution, that of one process with all points. Rank 0 decides where the clock,
    Ctrl-C and the answer of the callback end the solve, and writes the checkpoint, which all must be able to read. A
    rank that fails or dies ends the solve on all of them; only where a machine vanishes from the net do the others wait
    for the ``timeout`` of ``torch.distributed.init_process_group``, by default half an hour.

    Args:
        model: a MultKAN, LAN or MLP, any torch module, or a dict of them; left unchanged.
        residuals: the terms t, each a `Residual`.
        method: "lm", Levenberg-Marquardt, the best by far where residuals can be squared and summed; or a
            quasi-Newton method: "bfgs", "ssbfgs" (self-scaled), "ssbroyden" (self-scaled, after Al-Baali and Khalfan),
            "lbfgs" (limited memory), whose steps are cheaper and many more; or a first-order method: "adam", "sgd"
            (with momentum), for losses of millions of points.
        steps: largest number of steps of each stage; epochs of first-order methods.
        seconds: wall-clock limit of the whole solve.
        tolerance: a stage ends when ten steps (a hundred of a quasi-Newton method) lower the loss by less than this
            fraction; by default 1e-4 for the last stage and 1e-3 for those before. First-order methods take all
            their epochs.
        grids: stages from coarse to fine: intervals of every spline edge, each a multiple of the one before and the
            first of the model's own.
        parameters: free scalars by name: a start, or a `Parameter` with bounds.
        penalty: what is added to the loss to keep networks small and smooth.
        callback: called with a `Step` after each step, which has the model and the residuals as they are; a true
            result ends the solve, and a list of residuals, the same terms on other points or with other weights,
            takes the place of those before.
        checkpoint: a file that is written every ten seconds, or a `Checkpoint`. Where it exists and belongs to this
            problem, the solve goes on from it and ends with the same bits as one that was never interrupted.
        memory: bytes that may be spent on a Jacobian.
        progress: whether to show a progress bar.
        seed: of the random rows on which the terms are checked.
        fresh: the same terms on other points, from which the error of the solution is estimated.
        resample: called with a copy of the model before each stage after the first; returns the residuals to go on
            with, the same terms on points that suit the model so far, e.g. with those of
            `kansci.physics.extremes.extreme_points` among them.
        validation: the same terms on other points; the model with the lowest loss on them is returned.
        patience: a stage ends when so many steps have not lowered the validation loss.
        batch_size: points of a batch of a first-order method, over all terms; by default all.
        rate: learning rate of a first-order method: a number, from which it falls to 0 along a cosine, or a function
            of the share of the stage's epochs that have passed; by default 0.01.
        prior: what earlier data say of the unknowns, as `fit` passes it on; no grid is changed then.
        damping: of the first step of "lm", by default 1e-3; the less, the nearer to a step of Gauss and Newton, which
            solves what is linear at once.

    Returns:
        The solution. Ctrl-C returns the best so far with status "interrupted".

    Raises:
        ConfigError: unknown method, grids that do not nest, no terms or nothing to solve for.
        DomainError: points outside the domain of a model.
        RankError: another rank has failed or died.
        CheckpointError: a checkpoint that is damaged, belongs to another problem or cannot be written.
        RowDependenceError: row i of a residual depends on a point other than point i.
        ShapeError: points, targets or residuals do not fit the model.

    Example:
        >>> import torch
        >>> from kansci import MultKAN
        >>> x = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
        >>> ode = Residual(lambda jet, x: jet.gradient[:, 0, 0] - jet.value[:, 0], x, needs="gradient")
        >>> start = Residual(lambda jet, x: jet.value[:, 0] - 1, x[:1])
        >>> u = solve(MultKAN([1, 1], domain=(0, 1)), [ode, start], progress=False).model
        >>> round(u(x[-1:]).item(), 4)
        2.7183
    """
    if method not in METHODS:
        raise ConfigError(f"expected method to be one of {', '.join(METHODS)}, got {method!r}")
    problem = Problem.read(model, residuals, parameters)
    ranks.check_same(
        model=problem.models,
        method=method,
        steps=steps,
        tolerance=tolerance,
        grids=grids,
        parameters=problem.scalars,
        penalty=penalty,
        checkpoint=checkpoint is not None,
        memory=memory,
        seed=seed,
        fresh=bool(fresh),
        resample=resample is not None,
        validation=bool(validation),
        patience=patience,
        batch_size=batch_size,
    )
    if method not in FIRST_ORDER and (batch_size is not None or rate is not None):
        raise ConfigError(f'expected batch_size and rate with method="adam" or "sgd" only, got {method!r}')
    if prior is not None and grids is not None:
        raise ConfigError("expected no grids together with a prior, whose information belongs to the grids there are")
    if damping is not None and (method != "lm" or not 0 < damping < math.inf):
        raise ConfigError(f'expected a positive damping, with method="lm", got {damping} with {method!r}')
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"expected a batch_size of at least 1, got {batch_size}")
    kept = Checkpoint(checkpoint) if isinstance(checkpoint, str | os.PathLike) else checkpoint
    schedule = cosine(rate) if isinstance(rate, int | float) else rate
    settings = Settings(memory, problem.bounds, steps, batch_size, schedule, seed, damping)
    run = Run(
        problem,
        METHODS[method](settings),
        _stages(problem.models, grids),
        steps,
        tolerance,
        Clock(seconds),
        memory,
        seed,
        penalty,
        prior,
        callback,
        resample,
        fresh=Problem.read(model, fresh, parameters).terms if fresh else (),
        validation=Problem.read(model, validation, parameters).terms if validation else (),
        patience=patience,
        checkpoint=kept,
        fingerprint=_fingerprint(problem, method, grids, tolerance, seed, batch_size, penalty) if kept else "",
        progress=progress,
    )
    return run.solve()


def _fingerprint(problem: Problem, *settings: Any) -> str:
    scalars = {name: asdict(value) for name, value in problem.scalars.items()}
    own = fingerprint(problem.models, problem.terms, {"settings": settings, "scalars": scalars})
    return "".join(ranks.collect(own))


def _stages(models: dict[str, nn.Module], grids: Sequence[int] | None) -> list[int | None]:
    """The grid of each stage, None for the models' own."""
    if grids is None:
        return [None]
    networks = [model for model in models.values() if isinstance(model, SplineNetwork)]
    own = {layer.splines.config.grid for model in networks for layer in model.layers if layer.splines is not None}
    chain = [*sorted(own), *grids]
    nested = len(own) == 1 and all(b % a == 0 for a, b in zip(chain, grids, strict=False))
    if not grids or not nested or list(grids) != sorted(set(grids)):
        raise ConfigError(
            f"expected grids to increase, each a multiple of the one before and the first of the model's own "
            f"{sorted(own)}, got {list(grids)}"
        )
    return list(grids)
