"""Solve a partial differential equation: slab by slab of time, by one network, or with unknown constants."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import kansci as ks
from kansci.physics.marching import March
from problems.pde.config import Config
from problems.pde.evolution import solve_evolution
from problems.pde.figures import draw_figures
from problems.pde.inverse import measurements, solve_inverse
from problems.pde.networks import region_of, solve_network
from problems.pde.physics import Case, read_case
from problems.pde.references import Reference, reference_of
from problems.runner import Metric, Result

Solved = Callable[[Tensor], Tensor]


def solve(config: Config) -> Result:
    """Solve a partial differential equation with its conditions; all that can be typed as a formula."""
    case = read_case(config)
    reference = reference_of(config.case, case, config.diffusivity)
    found: Any
    if case.constants:
        found = solve_inverse(config, case)
    elif case.is_evolution and not case.holes:
        found = solve_evolution(config, case)
    else:
        found = solve_network(config, case)
    solution: Solved = found if isinstance(found, March) else found.model
    metrics: dict[str, Metric] = {"relative_l2": relative_error(solution, case, reference)}
    metrics |= _of_march(found) if isinstance(found, March) else _of_solution(found, case)
    model = found.models if isinstance(found, March) else found.model
    data = measurements(config, case)[:2] if case.constants else None
    figures = draw_figures(found, case, reference, data)
    return Result(model, metrics, _formula(found, case), table=_table(case, metrics), figures=figures)


@torch.no_grad()
def relative_error(solution: Solved, case: Case, reference: Reference | None) -> float | None:
    """Of the first unknown, at a grid of points or at 2^14 Sobol points of what is no box of two coordinates."""
    if reference is None:
        return None
    if len(case.names) == 2 and not case.holes:
        x = torch.cartesian_prod(
            *(
                torch.linspace(a, b, 101 if name == "t" else 201, dtype=torch.float64)
                for (a, b), name in zip(case.box, case.names, strict=True)
            )
        )
    else:
        x = region_of(case).interior(2**14, seed=7)
    truth = reference(x)
    found = torch.cat([solution(part)[:, 0] for part in x.split(4096)])
    return float((found - truth).norm() / truth.norm())


def _of_march(found: March) -> dict[str, Metric]:
    intervals = [slab.model.layers[0].config.grid for slab in found.slabs]
    return {
        "error_estimate": found.error_estimate,
        "converged": found.status == "converged",
        "last_time": found.slabs[-1].end,
        "slabs": len(found.slabs),
        "most_intervals": max(intervals),
        "seconds": found.seconds,
    }


def _of_solution(found: ks.Solution, case: Case) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    for (name, _), truth in zip(case.constants, case.truth or [math.nan] * len(case.constants), strict=True):
        estimate = found.parameters[name]
        metrics[name] = estimate.value
        metrics[f"{name}_standard_error"] = estimate.standard_error
        metrics[f"{name}_error"] = abs(estimate.value - truth) / abs(truth)
    if not case.constants:
        metrics["error_estimate"] = found.error_estimate
    return {
        **metrics,
        "loss": found.loss,
        "steps": len(found.history.step),
        "seconds": float(found.history.seconds[-1]),
    }


def _formula(found: Any, case: Case) -> str | None:
    """The equation with the constants that were found, of as many digits as their errors leave."""
    if not case.constants:
        return None
    text = case.equation
    values = {name: found.parameters[name] for name, _ in case.constants}
    return "\n".join([text, *(f"{name} = {own.value:.6g} +- {own.standard_error:.1g}" for name, own in values.items())])


def _table(case: Case, metrics: dict[str, Metric]) -> list[list[str | Metric]]:
    others = dict(case.published)
    rows: list[list[str | Metric]] = [["metric", "ours", *others]]
    first, *rest = metrics.items()
    rows.append([first[0], first[1], *others.values()])
    return rows + [[name, value, *[""] * len(others)] for name, value in rest]
