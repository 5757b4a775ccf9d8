"""Grids that grow before activations leave them, for all models of a system."""

import copy
import logging

from kansci.solvers import hidden
from kansci.solvers.system import Evaluation, System

logger = logging.getLogger(__name__)


def is_far(system: System, trial: Evaluation) -> bool:
    """Whether activations are too far outside to follow them."""
    return any(hidden.is_far(system.models[name].model, own) for name, own in trial.reach.items())


def escapes(system: System, trial: Evaluation) -> bool:
    """Whether activations leave their grids, or nearly so; with a prior, grids stay where they are."""
    return system.prior is None and any(
        hidden.escapes(system.models[name].model, own) for name, own in trial.reach.items()
    )


def grow(system: System, current: Evaluation, trial: Evaluation) -> Evaluation:
    """The current function on grids wide enough for the trial."""
    system.place(current)
    for name, own in current.reach.items():
        unknowns = system.models[name]
        unknowns.model = copy.deepcopy(unknowns.model)
        hidden.follow(unknowns.model, own.join(trial.reach[name]))
    grown = system.evaluate(system.read(system.free(current.vector)))
    logger.debug("grids grew: loss %.3e -> %.3e", current.loss, grown.loss)
    return grown
