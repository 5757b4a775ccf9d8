"""Levenberg-Marquardt with geodesic acceleration, on grids that follow the activations.

Each step solves the damped normal equations of the exact Jacobian, and bends along the geodesic: the second
derivative of the residuals along the step costs one more evaluation and one more triangular solve, and saves many
steps in the long curved valleys of spline networks. A step is taken only if the true loss falls.

References:
    Levenberg, Quarterly of Applied Mathematics 2 (1944) 164; Marquardt, SIAM Journal 11 (1963) 431.
    Transtrum, Sethna, Improvements to the Levenberg-Marquardt algorithm, arXiv:1201.5885.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kansci.solvers.hidden import escapes, follow, is_far
from kansci.solvers.normal import Linearization, Pinned, Solve
from kansci.solvers.system import Evaluation, System

logger = logging.getLogger(__name__)

RAISE, LOWER, EASE = 3.0, 2.0, 5.0
SMALLEST_DAMPING, LARGEST_DAMPING = 1e-20, 1e8
SMALLEST_GAIN = 1e-24
SETTLED = 1e-6
PROBE = 0.1
BEND = 2.0


Step = Callable[[System, Evaluation, Linearization, Solve], Tensor | None]


@dataclass
class Control:
    """When to stop, and whom to tell.

    Attributes:
        steps: largest number of steps, those in which grids grow included.
        deadline: value of `time.perf_counter` at which to stop, or infinity.
        tolerance: stop when ten steps lower the loss by less than this fraction.
        report: called after each accepted step; stops the solve by returning True.
        memory: bytes that a Jacobian may take.
        bounds: lowest and highest value of each unknown at the end of the vector, the free scalars.
    """

    steps: int
    deadline: float
    tolerance: float
    report: Callable[[Evaluation, float], bool]
    memory: float
    bounds: tuple[Tensor, Tensor]


def levenberg_marquardt(
    system: System, start: Evaluation, control: Control, damping: float
) -> tuple[Evaluation, float, str]:
    """Lower the loss of a system.

    Returns:
        The best evaluation, the last damping, and the status: "converged", "max_steps", "max_seconds", "stalled"
        (no damping gives a decrease), "diverged" (the start is not finite) or "interrupted" (by the report).
    """
    if not math.isfinite(start.loss):
        return start, damping, "diverged"
    current, losses, best = start, [start.loss], start
    status = "max_steps"
    for _ in range(control.steps):
        local = Linearization(system, current, control.memory, _pinned(current, control))
        before = damping
        found, damping = _descend(system, current, local, damping, control)
        if found is None:
            status = "converged" if _promise(local, before) < SETTLED * current.loss else "stalled"
            break
        best = min(best, found, key=lambda at: at.loss)
        losses = [*losses, found.loss] if found.loss < current.loss else [found.loss]
        current = found
        if control.report(current, damping):
            status = "interrupted"
            break
        if current.loss == 0 or (len(losses) > 10 and losses[-1] > (1 - control.tolerance) * losses[-11]):
            status = "converged"
            break
        if time.perf_counter() > control.deadline:
            status = "max_seconds"
            break
    system.place(best)
    return best, damping, status


def _promise(local: Linearization, damping: float) -> float:
    """How much a damped step lowers the linearized loss."""
    solve = local.damped(damping)
    return math.inf if solve is None else float(local.gradient @ solve(local.gradient))


def _descend(
    system: System, current: Evaluation, local: Linearization, damping: float, control: Control
) -> tuple[Evaluation | None, float]:
    """A lower point, or the same function on grids that have grown; None if there is neither.

    Straight steps are tried where no bent one is lower: close to rounding, second differences are noise.
    """
    found, after = _search(system, current, local, damping, control, _bent_step)
    return (found, after) if found is not None else _search(system, current, local, damping, control, _straight_step)


def _search(
    system: System, current: Evaluation, local: Linearization, damping: float, control: Control, step: Step
) -> tuple[Evaluation | None, float]:
    """Raise the damping until a step is lower, asks for wider grids, or promises less than rounding."""
    start = damping
    while damping < LARGEST_DAMPING:
        solve = local.damped(damping)
        change = None if solve is None else step(system, current, local, solve)
        if change is not None:
            if -(change @ local.gradient) < SMALLEST_GAIN * current.loss:
                break
            trial = system.evaluate(_clip(current.vector + change, control))
            if math.isfinite(trial.loss) and not _is_far(system, trial):
                if _escapes(system, trial):
                    return _grow(system, current, trial), damping
                if trial.loss < current.loss:
                    return trial, max(damping / (EASE if damping == start else LOWER), SMALLEST_DAMPING)
        damping *= RAISE
    return None, damping


def _straight_step(system: System, current: Evaluation, local: Linearization, solve: Solve) -> Tensor:
    """The damped Gauss-Newton step."""
    return -solve(local.gradient)


def _bent_step(system: System, current: Evaluation, local: Linearization, solve: Solve) -> Tensor | None:
    """The same with geodesic acceleration, or None where the acceleration is too large to be meant."""
    velocity = _straight_step(system, current, local, solve)
    probe = system.evaluate(current.vector + PROBE * velocity)
    bend = (2 / PROBE) * ((probe.flat - current.flat) / PROBE - local.apply(velocity))
    acceleration = -solve(local.adjoint(bend))
    gentle = _length(acceleration, local) <= BEND / 2 * _length(velocity, local)
    return velocity + acceleration / 2 if gentle else None


def _length(step: Tensor, local: Linearization) -> float:
    return float((step.square() * local.scale).sum().sqrt())


def _is_far(system: System, trial: Evaluation) -> bool:
    return any(is_far(system.models[name].model, own) for name, own in trial.reach.items())


def _escapes(system: System, trial: Evaluation) -> bool:
    return any(escapes(system.models[name].model, own) for name, own in trial.reach.items())


def _grow(system: System, current: Evaluation, trial: Evaluation) -> Evaluation:
    """The current function on grids wide enough for the trial."""
    system.place(current)
    for name, own in current.reach.items():
        unknowns = system.models[name]
        unknowns.model = copy.deepcopy(unknowns.model)
        follow(unknowns.model, own.join(trial.reach[name]))
    grown = system.evaluate(system.read(system.free(current.vector)))
    logger.debug("grids grew: loss %.3e -> %.3e", current.loss, grown.loss)
    return grown


def _clip(vector: Tensor, control: Control) -> Tensor:
    count = len(control.bounds[0])
    if not count:
        return vector
    return torch.cat([vector[:-count], vector[-count:].clamp(*control.bounds)])


def _pinned(current: Evaluation, control: Control) -> Pinned | None:
    low, high = control.bounds
    if not len(low):
        return None
    free = torch.zeros(len(current.vector) - len(low), dtype=torch.bool, device=low.device)
    scalars = current.vector[-len(low) :]
    return Pinned(torch.cat([free, scalars <= low]), torch.cat([free, scalars >= high]))
