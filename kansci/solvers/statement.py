"""Data or residual terms, as those who test and read models are given them, in one form."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.errors import ConfigError
from kansci.solvers.data import Dataset
from kansci.solvers.problem import Problem
from kansci.solvers.residual import Residual
from kansci.solvers.system import Evaluation, System
from kansci.solvers.unknowns import Unknowns

MARGIN = 1e-6


def as_terms(problem: Any, noise: float | Tensor | None = None) -> list[Residual]:
    """Data or residual terms as residual terms.

    Args:
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        noise: standard deviation of data.

    Raises:
        ConfigError: noise of residual terms, which have their own.
    """
    if isinstance(problem, Residual):
        problem = [problem]
    if isinstance(problem, list | tuple) and all(isinstance(term, Residual) for term in problem):
        if noise is not None:
            raise ConfigError("expected noise= of each residual, got one for all of them")
        return list(problem)
    data = problem if isinstance(problem, Dataset) else Dataset(*problem)
    weight = 1.0 if data.weight is None else data.weight
    return [Residual(_difference, data.x, targets=data.y, weight=weight, noise=noise, name="data")]


def _difference(jet: Any, x: Tensor, y: Tensor) -> Tensor:
    return jet.value - y


def all_points(terms: list[Residual]) -> Float[Tensor, "n d"]:
    """The points of all terms."""
    return torch.cat([points for term in terms for points in term.point_sets]).double()


def reach_of(terms: list[Residual]) -> Float[Tensor, "d 2"]:
    """Lowest and highest value of each input among the points, a trifle wider."""
    low, high = all_points(terms).aminmax(dim=0)
    spread = (high - low).clamp(min=MARGIN * (1 + high.abs()))
    return torch.stack([low - MARGIN * spread, high + MARGIN * spread], 1)


def evaluated(model: nn.Module, terms: list[Residual]) -> tuple[System, Evaluation]:
    """The residuals of a model as it is, and the system they belong to."""
    problem = Problem.read(model, terms, {"": 0.0})  # a scalar, as there may be nothing to solve for
    system = System(problem.terms, {"": Unknowns(model)})
    return system, system.evaluate(system.read(problem.starts[:0]))


def problem_loss(model: nn.Module, problem: Any) -> float:
    """The loss of a model as it is, on data or residual terms."""
    return evaluated(model, as_terms(problem))[1].loss


@torch.no_grad()
def output_size(model: nn.Module, terms: list[Residual]) -> float:
    """The largest output of a model at the points, in units of which residuals are rounded."""
    points = all_points(terms).to(next(model.parameters()).dtype)
    return float(model(points).abs().max())
