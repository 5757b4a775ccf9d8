"""Solve a Poisson problem by collocation on a small fully connected network of spline edges."""

from dataclasses import replace

import kansci as ks
from problems.poisson.collocation import count_parameters, make_terms, measure_errors
from problems.poisson.config import Config
from problems.poisson.figures import draw_figures
from problems.poisson.networks import build_network, choose_network, choose_steps
from problems.poisson.physics import CASES, Case, compile_fields
from problems.poisson.study import run_scaling
from problems.runner import Metric, Result


def solve(config: Config) -> Result:
    """Solve -laplacian(u) = f on a box with Dirichlet values."""
    case = _read_case(config)
    fields = compile_fields(case)
    if config.study == "scaling":
        return run_scaling(config, case, fields)
    width, grids = choose_network(case, config.k, config.network)
    grids = config.grids or grids
    width = config.width or width
    model = build_network(config, case, fields, width, grids[0])
    terms = make_terms(config, case, fields, seed=0)
    solution = ks.solve(
        model,
        terms,
        method=config.method,
        steps=config.steps or choose_steps(width, grids, config.k, config.network, config.method),
        seconds=config.seconds,
        grids=grids,
        fresh=make_terms(config, case, fields, seed=1, denser=2),
        resample=lambda model: make_terms(config, case, fields, seed=0, reach=model),
        seed=config.seed,
    )
    metrics = {
        **measure_errors(solution.model, case, fields),
        "error_estimate": solution.error_estimate,
        "loss": solution.loss,
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


def _table(config: Config, case: Case, metrics: dict[str, Metric]) -> list[list[str | Metric]]:
    others = dict(case.published)
    rows: list[list[str | Metric]] = [["metric", "ours", *others]]
    rows.append(["relative_l2", metrics["relative_l2"], *others.values()])
    rows += [[name, value, *[""] * len(others)] for name, value in metrics.items() if name != "relative_l2"]
    return rows
