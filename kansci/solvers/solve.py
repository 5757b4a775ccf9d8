"""solve: any problem whose solution makes residuals of jets vanish."""

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from kansci.errors import ConfigError
from kansci.nn.networks import SplineNetwork
from kansci.solvers.control import Control
from kansci.solvers.error import estimate_error
from kansci.solvers.hidden import Reach, follow
from kansci.solvers.interrupt import Interrupt
from kansci.solvers.least_squares import levenberg_marquardt
from kansci.solvers.problem import Parameter, Problem, check_rows
from kansci.solvers.quasi_newton import (
    DenseInverse,
    LimitedInverse,
    bfgs,
    quasi_newton,
    self_scaled_bfgs,
    self_scaled_broyden,
)
from kansci.solvers.residual import Residual
from kansci.solvers.settle import settle
from kansci.solvers.solution import Clock, Estimate, History, Solution, Step
from kansci.solvers.system import Evaluation, System
from kansci.solvers.uncertainty import standard_errors
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.grid import refine

logger = logging.getLogger(__name__)

METHODS: dict[str, "Method"] = {
    "lm": levenberg_marquardt,
    "bfgs": quasi_newton(lambda: DenseInverse(bfgs)),
    "ssbfgs": quasi_newton(lambda: DenseInverse(self_scaled_bfgs)),
    "ssbroyden": quasi_newton(lambda: DenseInverse(self_scaled_broyden)),
    "lbfgs": quasi_newton(LimitedInverse),
}
START_DAMPING = 1e-3
STAGE_DAMPING = 1e-6
TOLERANCE = 1e-4
STAGE_TOLERANCE = 1e-3
LOSS_JUMP = 2.0


Callback = Callable[[Step], Any]
Resample = Callable[[Any], Sequence[Residual]]
Method = Callable[[System, Evaluation, Control, float], tuple[Evaluation, float, str]]


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
    callback: Callback | None = None,
    memory: float = 1e9,
    progress: bool = True,
    seed: int = 0,
    fresh: Sequence[Residual] | None = None,
    resample: Resample | None = None,
) -> Solution:
    r"""Minimize a sum of squared residuals over the parameters of models and free scalars.

    .. math:: \sum_t \frac{1}{n_t} \sum_i w_{ti} \sum_r \rho_{tir}^2

    Args:
        model: a MultKAN, LAN or MLP, any torch module, or a dict of them; left unchanged.
        residuals: the terms t, each a `Residual`.
        method: "lm", Levenberg-Marquardt, the best by far where residuals can be squared and summed; or a
            quasi-Newton method: "bfgs", "ssbfgs" (self-scaled), "ssbroyden" (self-scaled, after Al-Baali and Khalfan),
            "lbfgs" (limited memory). Their steps are cheaper and many more are needed.
        steps: largest number of steps of each stage.
        seconds: wall-clock limit of the whole solve.
        tolerance: a stage ends when ten steps (a hundred of a quasi-Newton method) lower the loss by less than this
            fraction; by default 1e-4 for the last stage and 1e-3 for those before.
        grids: stages from coarse to fine: intervals of every spline, each a multiple of the one before and the first
            of the model's own.
        parameters: free scalars by name: a start, or a `Parameter` with bounds.
        callback: called with a `Step` after each step; a true result ends the solve.
        memory: bytes that may be spent on a Jacobian.
        progress: whether to show a progress bar.
        seed: of the random rows on which the terms are checked.
        fresh: the same terms on other points, from which the error of the solution is estimated.
        resample: called with a copy of the model before each stage after the first; returns the residuals to go on
            with, the same terms on points that suit the model so far, e.g. with those of
            `kansci.physics.extremes.extreme_points` among them.

    Returns:
        The solution. Ctrl-C returns the best so far with status "interrupted".

    Raises:
        ConfigError: unknown method, grids that do not nest, no terms or nothing to solve for.
        DomainError: points outside the domain of a model.
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
    if method != "lm" and any(map(math.isfinite, chain(*map(Tensor.tolist, problem.bounds)))):
        raise ConfigError(f'expected method="lm" for parameters with bounds, got {method!r}')
    other = Problem.read(model, fresh, parameters).terms if fresh else ()
    run = _Run(problem, other, resample, steps, tolerance, callback, memory, progress, seed, Clock(seconds))
    return run.solve(METHODS[method], _stages(problem.models, grids))


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


@dataclass
class _Run:
    """One solve: the stages of grids, and what is recorded on the way."""

    problem: Problem
    fresh: tuple[Residual, ...]
    resample: Resample | None
    steps: int
    tolerance: float | None
    callback: Callback | None
    memory: float
    progress: bool
    seed: int
    clock: Clock

    def solve(self, method: Method, stages: list[int | None]) -> Solution:
        """Go through the stages."""
        history: list[Step] = []
        system = self._system({name: Unknowns(model) for name, model in self.problem.models.items()})
        at = system.evaluate(system.read(self.problem.starts))
        check_rows(system, at, self.seed)
        damping, status = START_DAMPING, "max_steps"
        with Interrupt() as interrupt:
            for number, grid in enumerate(stages):
                if number and self.resample is not None:
                    self._resample(system, at, self.resample)
                if grid is not None:
                    system, at = self._refined(system, at, grid)
                label = f"stage {number + 1} of {len(stages)}"
                with tqdm(total=self.steps, disable=None if self.progress else True, desc=label, leave=False) as bar:
                    report = self._report(history, number, interrupt, bar)
                    control = self._control(report, last=number == len(stages) - 1)
                    at, damping, status = method(system, at, control, damping)
                at = settle(system, at)
                damping = min(max(damping, STAGE_DAMPING), START_DAMPING)
                if status in ("interrupted", "max_seconds", "diverged"):
                    break
        return self._solution(system, at, status, history)

    def _system(self, models: dict[str, Unknowns]) -> System:
        return System(self.problem.terms, models, tuple(self.problem.scalars), self.problem.single)

    def _resample(self, system: System, at: Evaluation, resample: Resample) -> None:
        """Go on with the same terms on other points."""
        system.place(at)
        models = {name: _returned(unknowns, self.problem.models[name]) for name, unknowns in system.models.items()}
        residuals = resample(models[""] if self.problem.single else models)
        terms = Problem.read(models, residuals, self.problem.scalars).terms
        if [term.name for term in terms] != [term.name for term in self.problem.terms]:
            raise ConfigError(f"expected resample to return the terms {self.problem.names}, got {terms}")
        self.problem = replace(self.problem, terms=terms)

    def _refined(self, system: System, at: Evaluation, grid: int) -> tuple[System, Evaluation]:
        """The same functions on finer grids, tightened around the activations where that costs nothing."""
        system.place(at)
        scalars = system.free(at.vector)
        finer = self._system({name: _refine(unknowns, grid) for name, unknowns in system.models.items()})
        exact = finer.evaluate(finer.read(scalars))
        tight = self._system({name: _tighten(unknowns, exact.reach[name]) for name, unknowns in finer.models.items()})
        tightened = tight.evaluate(tight.read(scalars))
        return (tight, tightened) if tightened.loss < LOSS_JUMP * exact.loss else (finer, exact)

    def _control(self, report: Callable[[Evaluation, float], bool], *, last: bool) -> Control:
        tolerance = self.tolerance if self.tolerance is not None else TOLERANCE if last else STAGE_TOLERANCE
        return Control(self.steps, self.clock.deadline, tolerance, report, self.memory, self.problem.bounds)

    def _report(
        self, history: list[Step], stage: int, interrupt: Interrupt, bar: Any
    ) -> Callable[[Evaluation, float], bool]:
        def report(at: Evaluation, damping: float) -> bool:
            terms = dict(zip(self.problem.names, at.losses, strict=True))
            history.append(Step(len(history) + 1, stage, self.clock.seconds(), at.loss, terms, damping))
            bar.set_postfix_str(f"loss {at.loss:.2e}", refresh=False)
            bar.update()
            stop = self.callback is not None and bool(self.callback(history[-1]))
            return stop or interrupt.pressed

        return report

    def _solution(self, system: System, at: Evaluation, status: str, history: list[Step]) -> Solution:
        system.place(at)
        values = {name: float(value) for name, value in system.parameters(at.vector).items()}
        errors = standard_errors(system, at)
        estimates = {name: Estimate(value, error) for (name, value), error in zip(values.items(), errors, strict=True)}
        models = {name: _returned(unknowns, self.problem.models[name]) for name, unknowns in system.models.items()}
        model = models[""] if self.problem.single else models
        logger.info("solve ended: %s after %d steps, loss %.3e", status, len(history), at.loss)
        error = estimate_error(system, at, self.fresh, self.memory) if self.fresh else None
        return Solution(model, History.of(history), status, estimates, error, at.loss)


def _refine(unknowns: Unknowns, grid: int) -> Unknowns:
    model = unknowns.model
    return Unknowns(refine(model, grid) if isinstance(model, SplineNetwork) else model, list(unknowns.slices))


def _tighten(unknowns: Unknowns, reach: Reach) -> Unknowns:
    tightened = Unknowns(unknowns.model, list(unknowns.slices))
    follow(tightened.model, reach, tight=True)
    return tightened


def _returned(unknowns: Unknowns, original: nn.Module) -> nn.Module:
    """The solved model with the dtype and the trained parameters of the original."""
    model = copy.deepcopy(unknowns.model).to(next(original.parameters()).dtype)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(original.get_parameter(name).requires_grad)
    return model
