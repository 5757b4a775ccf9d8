"""Levenberg-Marquardt with geodesic acceleration, on grids that follow the activations.

Each step solves the damped normal equations of the exact Jacobian, and bends along the geodesic: the second
derivative of the residuals along the step costs one more evaluation and one more triangular solve, and saves many
steps in the long curved valleys of spline networks. A step is taken only if the true loss falls.

References:
    Levenberg, Quarterly of Applied Mathematics 2 (1944) 164; Marquardt, SIAM Journal 11 (1963) 431.
    Transtrum, Sethna, Improvements to the Levenberg-Marquardt algorithm, arXiv:1201.5885.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from kansci.solvers.control import Control, Progress
from kansci.solvers.growth import escapes, grow, is_far
from kansci.solvers.normal import Linearization, Pinned, Solve
from kansci.solvers.system import Evaluation, System

RAISE, LOWER, EASE = 3.0, 2.0, 5.0
SMALLEST_DAMPING, LARGEST_DAMPING = 1e-20, 1e8
SMALLEST_GAIN = 1e-24
SETTLED = 1e-6
PROBE = 0.1
BEND = 2.0
ROUND = 10


Step = Callable[[System, Evaluation, Linearization, Solve], Tensor | None]


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
    current, best, progress = start, start, Progress(control, start.loss, ROUND)
    for _ in range(control.steps):
        local = Linearization(system, current, control.memory, _pinned(current, control))
        before = damping
        found, damping = _descend(system, current, local, damping, control)
        if found is None:
            status = "converged" if _promise(local, before) < SETTLED * current.loss else "stalled"
            break
        best = min(best, found, key=lambda at: at.loss)
        current = found
        status = progress.after(current, damping)
        if status is not None:
            break
        del local  # before there is another one as large
    else:
        status = "max_steps"
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
            if math.isfinite(trial.loss) and not is_far(system, trial):
                if escapes(system, trial):
                    return grow(system, current, trial), damping
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
