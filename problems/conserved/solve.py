"""Find how many quantities a field conserves, and which."""

from dataclasses import replace
from typing import Any

import torch

import kansci as ks
from kansci.physics.conserved import measure
from kansci.physics.conserved_search import Conserved, Quantity, drift, find_conserved
from kansci.physics.field import Paths, VectorField
from problems.conserved.config import Config
from problems.conserved.figures import draw_figures
from problems.conserved.motions import solve_motions
from problems.conserved.physics import CASES, Case
from problems.conserved.planets import solve_planets
from problems.runner import Metric, Result

PATHS, SAMPLES = 16, 200
DEPENDENT = 1e-6  # share of a gradient outside the span of others


def solve(config: Config) -> Result:
    """Find how many quantities a vector field or measured motions conserve, and which."""
    if config.case == "planets":
        return solve_planets()
    case = _read_case(config)
    if config.data is not None:
        return solve_motions(config, case, None)
    flow = read_field(case)
    if config.motions:
        return solve_motions(config, case, flow)
    found = find_conserved(flow, seed=config.seed, library=config.library)
    fresh = 30_000 + config.seed
    paths = flow.trajectories(flow.points(PATHS, seed=fresh), SAMPLES)
    drifts = [drift(own.function, _within(flow, own, paths).states) for own in found.quantities]
    metrics: dict[str, Metric] = {
        "count": found.count,
        "expected_count": case.expected,
        "gap": found.gap,
        "max_residual": found.max_residual,
        "smallest_value": found.smallest_value,
        "drift": max(drifts, default=None),
        "formula_exact": _is_exact(found, case, flow),
    }
    text = "\n".join(map(str, found.formulas)) or None
    rows: list[list[str | Metric]] = [["metric", "value"], *([name, value] for name, value in metrics.items())]
    rows += [[f"residual of H{number}", own] for number, own in enumerate(found.residuals, 1)]
    return Result(_model(found, case), metrics, text, rows, draw_figures(found, flow, paths))


def _read_case(config: Config) -> Case:
    own = (config.field, config.names)
    if config.case != "custom":
        if any(own) or config.data is not None:
            raise ks.errors.ConfigError("expected --field, --names and --data only with --case custom")
        return CASES[config.case]
    if config.data is not None:
        return Case("", ())
    if config.field is None or config.names is None:
        raise ks.errors.ConfigError("expected --field and --names, or --data, with --case custom")
    names = tuple(own.strip() for own in config.names.split(","))
    return Case(config.field, names, config.low, config.high)


def read_field(case: Case) -> VectorField:
    """The field of a case on its box."""
    low, high = (_one_each(own, len(case.names)) for own in (case.low, case.high))
    return VectorField.read(case.field, case.names, list(zip(low, high, strict=True)))


def _one_each(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    if len(values) not in (1, count):
        raise ks.errors.ConfigError(f"expected one bound or {count}, one for each name, got {len(values)}")
    return values * count if len(values) == 1 else values


def _within(flow: VectorField, quantity: Quantity, paths: Paths) -> Paths:
    """The trajectories, or where only a network is known their parts inside its domain."""
    if quantity.formula is not None:
        return paths
    low, high = flow.bounds
    inside = [((own >= low) & (own <= high)).all(1).cumprod(0).bool() for own in paths.states]
    kept = tuple(own[here] for own, here in zip(paths.states, inside, strict=True) if int(here.sum()) > 1)
    return replace(paths, states=kept)


def _is_exact(found: Conserved, case: Case, flow: VectorField) -> bool | None:
    """Whether all are formulas proven to be conserved, and the known integrals, if any, are functions of these."""
    if not found.count:
        return None
    x = flow.points(200, seed=40_000)
    functions = [own.function for own in found.quantities]
    known = [ks.torch_function(ks.parse_formula(own, case.names), case.names) for own in case.integrals]
    shares = [measure([*functions, own], x, flow(x)).share[-1] for own in known]
    return all(own.exact for own in found.quantities) and all(own <= DEPENDENT for own in shares)


def _model(found: Conserved, case: Case) -> torch.nn.Module:
    """The formulas as one network; where there is none, the last network."""
    if found.formulas and len(found.formulas) == found.count:
        return ks.kanpile(found.formulas, case.names)
    networks: list[Any] = [own.function for own in found.quantities if own.formula is None]
    return [*networks, found.further][0]
