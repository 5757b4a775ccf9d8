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

from torch import Tensor

from kansci.errors import CheckpointError
from kansci.sealed import Group
from kansci.solvers import ranks
from kansci.solvers.growth import escapes, grow, is_far
from kansci.solvers.method import Settings
from kansci.solvers.normal import Linearization, Solve
from kansci.solvers.sparse import SparseLinearization, linearize
from kansci.solvers.system import Evaluation, System

RAISE, LOWER, EASE = 3.0, 2.0, 5.0
START_DAMPING, STAGE_DAMPING = 1e-3, 1e-6
SMALLEST_DAMPING, LARGEST_DAMPING = 1e-20, 1e8
SMALLEST_GAIN = 1e-24
SETTLED = 1e-6
PROBE = 0.1
BEND = 2.0


Local = Linearization | SparseLinearization
Direction = Callable[[System, Evaluation, Local, Solve], Tensor | None]


class LevenbergMarquardt:
    """Damped Gauss-Newton steps; ends "converged" or, where no damping gives a decrease, "stalled".

    Attributes:
        damping: of the next step.
    """

    round = 10

    def __init__(self, settings: Settings) -> None:
        """Start with the damping that is asked for."""
        self._settings = settings
        self.damping = START_DAMPING if settings.damping is None else settings.damping

    def begin(self, system: System) -> None:
        """A new grid needs more damping than the end of the one before, and less than the first."""
        self.damping = min(max(self.damping, STAGE_DAMPING), START_DAMPING)

    def step(self, system: System, at: Evaluation) -> Evaluation | str:
        """A lower point, or the same function on grids that have grown."""
        local = linearize(system, at, self._settings.memory, self._settings.pinned(at.vector))
        before = self.damping
        found = self._descend(system, at, local)
        if found is None:
            return "converged" if _promise(local, before) < SETTLED * abs(at.loss) else "stalled"
        return found

    def pack(self) -> Group:
        """The damping."""
        return Group({"damping": self.damping})

    def unpack(self, state: Group, size: int) -> None:
        """Take the damping back."""
        damping = float(state.about["damping"])
        if not SMALLEST_DAMPING <= damping < math.inf:
            raise CheckpointError(f"expected a damping of at least {SMALLEST_DAMPING}, got {damping}")
        self.damping = damping

    def _descend(self, system: System, at: Evaluation, local: Local) -> Evaluation | None:
        """Straight steps are tried where no bent one is lower: close to rounding, second differences are noise."""
        before = self.damping
        if system.is_least_squares:
            found = self._search(system, at, local, _bent_step)
            if found is not None:
                return found
        self.damping = before
        return self._search(system, at, local, _straight_step)

    def _search(self, system: System, at: Evaluation, local: Local, direction: Direction) -> Evaluation | None:
        """Raise the damping until a step is lower, asks for wider grids, or promises less than rounding."""
        start = self.damping
        while self.damping < LARGEST_DAMPING:
            solve = local.damped(self.damping)
            change = None if solve is None else direction(system, at, local, solve)
            if change is not None:
                if ranks.agree(bool(-(change @ local.gradient) < SMALLEST_GAIN * abs(at.loss))):
                    break
                trial = system.evaluate(self._settings.clip(at.vector + change))
                if math.isfinite(trial.loss) and not is_far(system, trial):
                    if escapes(system, trial):
                        return grow(system, at, trial)
                    if trial.loss < at.loss:
                        self.damping = max(self.damping / (EASE if self.damping == start else LOWER), SMALLEST_DAMPING)
                        return trial
            self.damping *= RAISE
        return None


def _promise(local: Local, damping: float) -> float:
    """How much a damped step lowers the linearized loss."""
    solve = local.damped(damping)
    return math.inf if solve is None else float(local.gradient @ solve(local.gradient))


def _straight_step(system: System, current: Evaluation, local: Local, solve: Solve) -> Tensor:
    """The damped Gauss-Newton step."""
    return -solve(local.gradient)


def _bent_step(system: System, current: Evaluation, local: Local, solve: Solve) -> Tensor | None:
    """The same with geodesic acceleration, or None where the acceleration is too large to be meant."""
    velocity = _straight_step(system, current, local, solve)
    probe = system.evaluate(current.vector + PROBE * velocity)
    bend = (2 / PROBE) * ((probe.flat - current.flat) / PROBE - local.apply(velocity))
    acceleration = -solve(local.adjoint(bend))
    gentle = _length(acceleration, local) <= BEND / 2 * _length(velocity, local)
    return velocity + acceleration / 2 if ranks.agree(gentle) else None


def _length(step: Tensor, local: Local) -> float:
    return float((step.square() * local.scale).sum().sqrt())
