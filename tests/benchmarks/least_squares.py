"""One accepted Levenberg-Marquardt step, taken again and again from the same point."""

from collections.abc import Callable

from torch import Tensor

import kansci as ks
from kansci.solvers.least_squares import LevenbergMarquardt
from kansci.solvers.method import Settings
from kansci.solvers.system import System
from kansci.solvers.unknowns import Unknowns

DAMPING = 1e4


def accepted_step(model: ks.MultKAN, x: Tensor) -> Callable[[], object]:
    """The task: laplacian u = -1 at the points x, one step; so damped that the first trial is taken."""
    residual = ks.Residual(lambda jet, x: jet.laplacian[:, 0] + 1, x, needs="laplacian")
    system = System([residual], {"model": Unknowns(model)})
    start = system.evaluate(system.read(x.new_zeros(0)))
    bounds = (x.new_zeros(0), x.new_zeros(0))
    settings = Settings(1e9, bounds, damping=DAMPING)

    def step() -> Tensor:
        method = LevenbergMarquardt(settings)
        found = method.step(system, start)
        if isinstance(found, str) or not (found.loss < start.loss and method.damping < DAMPING):
            raise RuntimeError(f"expected one trial that lowers the loss, got damping {method.damping}")
        return found.vector

    return step
