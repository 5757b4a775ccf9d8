"""Residuals of a Poisson problem at points, and errors against its exact solution."""

import math

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

import kansci as ks
from kansci.physics import domains, extremes, pde
from kansci.physics.sampling import Method
from problems.poisson.config import Config
from problems.poisson.physics import Case, Fields
from problems.runner import Metric


def make_terms(
    config: Config, case: Case, fields: Fields, *, seed: int, denser: int = 1, reach: ks.MultKAN | ks.LAN | None = None
) -> list[ks.Residual]:
    """The residuals of a case: the equation inside and, unless it holds by construction, the boundary values.

    With a model as `reach`, the points at which its hidden nodes are extreme take the places of some others inside:
    beyond the activations at collocation points nothing would determine its hidden edges.
    """
    box = domains.Box(case.box)
    inside = box.interior(case.interior * denser, method=config.sampling, seed=seed)
    if reach is not None:
        extreme = extremes.extreme_points(reach, box.bounds)[: len(inside)]
        inside = torch.cat([extreme, inside[len(extreme) :]])
    terms = [pde.poisson(inside, fields.source, weight=config.interior_weight)]
    if config.condition == "weak":
        points = boundary_points(box, case.walls * denser, config.sampling, seed)
        terms.append(pde.dirichlet(points, fields.boundary, weight=config.boundary_weight))
    return terms


def boundary_points(box: domains.Box, n: int, method: Method, seed: int) -> Tensor:
    """n points on the boundary, corners first: hidden activations are often extreme there."""
    corners = torch.cartesian_prod(*torch.tensor(box.bounds, dtype=torch.float64)).reshape(-1, box.dimension)
    rest = n - len(corners)
    return torch.cat([corners, box.boundary(rest, method=method, seed=seed).points]) if rest > 0 else corners[:n]


def evaluation_points(case: Case) -> Tensor:
    """A grid of 201 x 201 points in the plane, 2^14 Sobol points elsewhere."""
    low, high = torch.tensor(case.box, dtype=torch.float64).unbind(1)
    if case.dimension == 2:
        ends = [torch.linspace(a, b, 201, dtype=torch.float64) for a, b in case.box]
        return torch.cartesian_prod(*ends)
    return low + (high - low) * SobolEngine(case.dimension, scramble=True, seed=7).draw(2**14, dtype=torch.float64)


def measure_errors(model: torch.nn.Module, case: Case, fields: Fields) -> dict[str, Metric]:
    """Errors against the exact solution; squared norms are means over the evaluation points, H1 of the gradient."""
    if fields.exact is None:
        return {"relative_l2": None, "l2_squared": None, "h1_squared": None, "rmse": None}
    x = evaluation_points(case)
    with torch.no_grad():
        found = torch.cat([ks.jet(model, part, "gradient").channels[:, 0] for part in x.split(4096)], 1)
    truth = ks.jet(fields.exact, x, "gradient").channels[:, 0]
    error = found - truth
    l2 = float(error[0].square().mean())
    return {
        "relative_l2": math.sqrt(l2 / float(truth[0].square().mean())),
        "l2_squared": l2,
        "h1_squared": float(error[1:].square().sum(0).mean()),
        "rmse": math.sqrt(l2),
    }


def count_parameters(model: torch.nn.Module) -> int:
    """Parameters that training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
