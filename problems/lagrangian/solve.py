"""Find the Lagrangian of a motion, as a network and as a formula."""

import time

import torch
from torch import Tensor

from kansci.physics.lagrangian import accelerations, energy, motion
from kansci.physics.lagrangian_search import FoundLagrangian, find_lagrangian
from kansci.physics.rollout import rollout
from problems.lagrangian.config import Config
from problems.lagrangian.figures import draw_figures
from problems.lagrangian.measure import Samples, take_samples
from problems.lagrangian.physics import CASES
from problems.runner import Metric, Result

EXACT = 1e-9  # relative error of accelerations below which formulas are the same but for their gauge


def solve(config: Config) -> Result:
    """Find the Lagrangian of a motion, as a network and as a formula."""
    samples = take_samples(config)
    start = time.perf_counter()
    found = find_lagrangian(
        samples.x,
        samples.accelerations,
        samples.names,
        force=samples.force,
        angles=samples.angles,
        features=[text.replace("^", "**") for text in config.features],
        kinetic=config.kinetic,
        read=config.read,
        independent=None if samples.smoothed is None else samples.smoothed.independent,
        motions=samples.motions,
        seed=config.seed,
    )
    seconds = time.perf_counter() - start
    paths = rollout(found.model, samples.starts, samples.times)
    metrics: dict[str, Metric] = {
        **_acceleration_errors(found, samples),
        **_energy_errors(found, samples, paths),
        "singular_share": found.singular_share,
        "singular_share_test": _singular_share(found, samples.x_test),
        "parameters": sum(own.numel() for own in found.network.parameters() if own.requires_grad),
        "seconds": seconds,
    }
    formula = None if found.formulas is None else "\n".join(map(str, found.formulas))
    return Result(
        found.model,
        metrics,
        formula=formula,
        table=_table(config, metrics),
        figures=draw_figures(found, samples, paths),
    )


def _acceleration_errors(found: FoundLagrangian, samples: Samples) -> dict[str, Metric]:
    """On states that the search has not seen, of the formula and of the network of splines."""
    wanted = samples.accelerations_test
    size = float(wanted.square().mean().sqrt())
    mean_squares = [
        float((accelerations(model, samples.x_test, samples.force_test) - wanted).square().mean())
        for model in (found.model, found.network)
    ]
    relative = mean_squares[0] ** 0.5 / size
    exact = found.formulas is not None and relative <= EXACT if samples.truth is not None else None
    return {
        "acceleration_mse": mean_squares[0],
        "acceleration_relative": relative,
        "network_acceleration_mse": mean_squares[1],
        "formula_exact": exact,
    }


def _energy_errors(found: FoundLagrangian, samples: Samples, paths: Tensor) -> dict[str, Metric]:
    """Along motions that the law found takes from new starts, the true energy, or its own if that is not known."""
    if found.model.n_outputs > 1:
        return {"energy_drift": None, "energy_mse": None}
    if samples.truth is None:
        own = torch.stack([energy(found.model, states) for states in paths])
        drift = float((own - own[0]).abs().max() / own[0].std().clamp(min=1e-300))
        return {"energy_drift": drift, "energy_mse": None}
    true = torch.stack([samples.true_energy(states) for states in paths])
    change = true - true[0]
    return {
        "energy_drift": float(change.abs().max() / samples.largest_potential()),
        "energy_mse": float(change.square().mean()),
    }


def _singular_share(found: FoundLagrangian, x: Tensor) -> float:
    """Share of states at which the mass matrix is singular or indefinite."""
    with torch.no_grad():
        return 1 - float(motion(found.model.jet(x, "hessian"), x).is_regular.double().mean())


def _table(config: Config, metrics: dict[str, Metric]) -> list[list[str | Metric]]:
    case = CASES.get(config.case)
    others = dict(case.published) if case else {}
    rows: list[list[str | Metric]] = [["metric", "ours", *others]]
    for name, value in metrics.items():
        shown = list(others.values()) if case and name == case.metric else [""] * len(others)
        rows.append([name, value, *shown])
    return rows
