"""Solve a Poisson problem by collocation on a small fully connected network of spline edges."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

import kansci as ks
from kansci.physics import domains, exact, pde
from problems.poisson.figures import draw_figures
from problems.poisson.physics import CASES, Case, Fields, compile_fields
from problems.runner import Metric, Result


@dataclass(frozen=True)
class Config:
    """Settings of a Poisson problem; what is not set follows from the case."""

    case: Literal["paper", "rotated", "sine", "unit_square", "five_dim", "five_dim_coupled", "custom"] = "paper"

    exact: str | None = None
    """Custom: the solution as a formula in x, y (in the plane) or x1, x2, ...; gives source and boundary values."""

    source: str | None = None
    """Custom: f in -laplacian(u) = f."""

    boundary_values: str | None = None
    """Custom: u on the boundary."""

    box: tuple[float, ...] = (-1.0, 1.0, -1.0, 1.0)
    """Custom: low and high of each coordinate in turn."""

    condition: Literal["weak", "exact"] = "weak"
    """Boundary values as residuals, or exact by construction, u = g + D N."""

    width: tuple[int, ...] = ()
    """Nodes of each column; by default the rule of `choose_network`."""

    k: int = 9
    """Degree of the splines."""

    grids: tuple[int, ...] = ()
    """Intervals of each stage; by default the rule of `choose_network`."""

    base: str = "silu"
    """Base function of the edges."""

    interior: int = 0
    """Number of points inside; 0 for the case's own."""

    walls: int = 0
    """Number of points on the boundary; 0 for the case's own."""

    sampling: Literal["sobol", "uniform", "chebyshev", "random"] = "sobol"

    interior_weight: float = 0.01

    boundary_weight: float = 1.0

    method: str = "lm"

    steps: int = 100
    """Steps of each stage."""

    seconds: float | None = None
    """Limit of the solve."""

    seed: int = 0


ROWS_PER_PARAMETER = 2
STAGES = ((4, 8, 16), (4, 8), (3, 6), (2, 4), (3,), (2,))


def choose_network(case: Case, k: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Width and stages of grids for a case, from its dimension d, its points and its parameter limit.

    The finest of STAGES with which [d, h, 1] can have the 2 d + 1 hidden nodes of Kolmogorov's theorem, with as many
    nodes as the limit and one parameter for every two points allow.

    Example:
        >>> choose_network(CASES["paper"], k=9), choose_network(CASES["five_dim"], k=9)
        (((2, 12, 1), (4, 8, 16)), ((5, 11, 1), (2, 4)))
    """
    d = case.dimension
    limit = min(case.parameter_limit, int((case.interior + case.walls) / ROWS_PER_PARAMETER))
    nodes = {grids: limit // ((d + 1) * (grids[-1] + k + 1)) for grids in STAGES}
    grids = next((grids for grids in STAGES if nodes[grids] > 2 * d), STAGES[-1])
    return (d, max(nodes[grids], 2), 1), grids


def solve(config: Config) -> Result:
    """Solve -laplacian(u) = f on a box with Dirichlet values."""
    case = _read_case(config)
    fields = compile_fields(case)
    width, grids = choose_network(case, config.k)
    grids = config.grids or grids
    model = _build(config, case, fields, config.width or width, grids[0])
    terms = make_terms(config, case, fields, seed=0)
    solution = ks.solve(
        model,
        terms,
        method=config.method,
        steps=config.steps,
        seconds=config.seconds,
        grids=grids,
        fresh=make_terms(config, case, fields, seed=1, denser=2),
        seed=config.seed,
    )
    metrics = {
        **measure_errors(solution.model, case, fields),
        "error_estimate": solution.error_estimate,
        "loss": float(solution.history.loss[-1]),
        "parameters": count_parameters(solution.model),
        "steps": len(solution.history.step),
        "seconds": float(solution.history.seconds[-1]),
    }
    figures = draw_figures(solution, case, fields)
    return Result(solution.model, metrics, table=_table(config, case, metrics), figures=figures)


def _read_case(config: Config) -> Case:
    if config.case == "custom":
        if len(config.box) % 2 or not config.box:
            raise ks.errors.ConfigError(f"expected low and high of each coordinate as --box, got {config.box}")
        box = tuple(zip(config.box[::2], config.box[1::2], strict=True))
        case = Case(box, config.exact, config.source, config.boundary_values)
        if case.dimension > 2:
            case = replace(case, interior=3000, walls=500)
    else:
        if config.exact or config.source or config.boundary_values:
            raise ks.errors.ConfigError("expected formulas only with --case custom")
        case = CASES[config.case]
    return replace(case, interior=config.interior or case.interior, walls=config.walls or case.walls)


def _build(config: Config, case: Case, fields: Fields, width: tuple[int, ...], grid: int) -> ks.MultKAN:
    options = {"grid": grid, "k": config.k, "base": config.base, "domain": case.box, "seed": config.seed}
    if config.condition == "weak":
        return ks.MultKAN(list(width), **options)
    distance = domains.Box(case.box).distance_formula(case.names)
    return exact.exact_dirichlet(list(width), fields.boundary_text, distance, case.names, **options)


def make_terms(config: Config, case: Case, fields: Fields, *, seed: int, denser: int = 1) -> list[ks.Residual]:
    """The residuals of a case: the equation inside and, unless it holds by construction, the boundary values."""
    box = domains.Box(case.box)
    inside = box.interior(case.interior * denser, method=config.sampling, seed=seed)
    terms = [pde.poisson(inside, fields.source, weight=config.interior_weight)]
    if config.condition == "weak":
        walls = box.boundary(case.walls * denser, method=config.sampling, seed=seed)
        terms.append(pde.dirichlet(walls.points, fields.boundary, weight=config.boundary_weight))
    return terms


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
        found = torch.cat([ks.jet(model, part, "gradient").channels[:, :, 0] for part in x.split(4096)])
    truth = ks.jet(fields.exact, x, "gradient").channels[:, :, 0]
    error = found - truth
    l2 = float(error[:, 0].square().mean())
    return {
        "relative_l2": math.sqrt(l2 / float(truth[:, 0].square().mean())),
        "l2_squared": l2,
        "h1_squared": float(error[:, 1:].square().sum(1).mean()),
        "rmse": math.sqrt(l2),
    }


def count_parameters(model: torch.nn.Module) -> int:
    """Parameters that training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _table(config: Config, case: Case, metrics: dict[str, Metric]) -> list[list[str | Metric]]:
    others = dict(case.published)
    rows: list[list[str | Metric]] = [["metric", "ours", *others]]
    rows.append(["relative_l2", metrics["relative_l2"], *others.values()])
    rows += [[name, value, *[""] * len(others)] for name, value in metrics.items() if name != "relative_l2"]
    return rows
