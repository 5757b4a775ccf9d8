"""When a method stops, and whom it tells."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from kansci.solvers.system import Evaluation


@dataclass
class Control:
    """When to stop, and whom to tell.

    Attributes:
        steps: largest number of steps, those in which grids grow included.
        deadline: value of `time.perf_counter` at which to stop, or infinity.
        tolerance: stop when so many steps as a method takes for a round lower the loss by less than this fraction.
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


class Progress:
    """The losses of one run of a method."""

    def __init__(self, control: Control, loss: float, round_: int) -> None:
        """Start at a loss; the tolerance holds for so many steps."""
        self._control, self._losses, self._round = control, [loss], round_

    def after(self, at: Evaluation, damping: float = 0.0) -> str | None:
        """Take note of a step and tell of it; the status if it was the last one.

        A loss that has risen is that of the same function on grids that have grown, and begins a new count.
        """
        self._losses = [*self._losses, at.loss] if at.loss < self._losses[-1] else [at.loss]
        if self._control.report(at, damping):
            return "interrupted"
        if at.loss == 0 or self._is_flat():
            return "converged"
        return "max_seconds" if time.perf_counter() > self._control.deadline else None

    def _is_flat(self) -> bool:
        losses = self._losses
        return len(losses) > self._round and losses[-1] > (1 - self._control.tolerance) * losses[-1 - self._round]
