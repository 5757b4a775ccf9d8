"""Compile a formula, ask data whether they refute it, and let them correct it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import kansci as ks
from problems.finetune.figures import draw_figures
from problems.finetune.physics import CASES, Case
from problems.runner import Metric, Result

GOAL = 1e-6  # relative error
PATIENCE = 5  # times the steps from the prior that a random start may take
SIGNAL = 5.0  # standard errors


@dataclass(frozen=True)
class Config:
    """Settings of a fine-tuning."""

    case: Literal["pendulum", "hooke", "poisson", "custom"] = "pendulum"

    data: Path | None = None
    """Custom: a table (CSV or HDF5) whose columns are the inputs and the target."""

    formula: str | None = None
    """Custom: the formula that is believed, in the names of the columns."""

    target: str | None = None
    """Custom: the column that the formula is for; by default the last."""

    samples: int = 500

    noise: float = 0.0
    """Standard deviation of the noise, relative to that of the measured values; custom: as far as it is known."""

    grid: int = 5
    """Intervals of the spline parts."""

    steps: int = 50
    """Levenberg-Marquardt steps from the compiled formula."""

    draws: int = 100
    """Noisy data sets on which the test of the formula is tested."""

    draw_noise: float = 0.01
    """Their noise, relative to the standard deviation of the measured values."""

    seed: int = 0


def solve(config: Config) -> Result:
    """Compile a formula, ask data whether they refute it, and let them correct it."""
    if config.case == "custom":
        return _solve_custom(config)
    if config.data or config.formula or config.target:
        raise ks.errors.ConfigError("expected --data, --formula and --target only with --case custom")
    case = CASES[config.case]
    prior = ks.kanpile(case.prior, case.names)
    points, values = _measure(case, config.samples, config.noise, config.seed, case.coefficient)
    terms = case.terms(points, values)
    larger = ks.hold_constants(ks.perturb(prior, grid=config.grid, domain=case.domain))
    from_prior, error = _steps_to_goal(case, larger, terms, config.steps)
    random = ks.MultKAN(_width(prior), grid=config.grid, domain=case.domain, seed=config.seed)
    from_random, random_error = _steps_to_goal(case, random, terms, PATIENCE * config.steps)
    corrected = ks.correct(prior, terms, grid=config.grid, resolution=max(1e-6, 3 * config.noise))
    model = ks.round_constants(corrected.model, terms)
    absent, present = (_share_refuted(case, prior, config, signal) for signal in (0.0, SIGNAL))
    metrics: dict[str, Metric] = {
        "p_value": corrected.before.p_value,
        "p_value_corrected": corrected.after.p_value,
        "steps_from_prior": from_prior,
        "relative_error": error,
        "steps_from_random": from_random,
        "random_relative_error": random_error,
        **_judge(case, corrected, model),
        "refuted_when_absent": absent,
        "refuted_when_present": present,
    }
    figures = draw_figures(corrected, model, points, values, case.names)
    return Result(model, metrics, formula=str(ks.formula(model, case.names)[0]), figures=figures)


def _solve_custom(config: Config) -> Result:
    """The same for a formula and data of the user's own."""
    if config.data is None or config.formula is None:
        raise ks.errors.ConfigError("expected --data with a table and --formula with what is believed of its target")
    data = ks.Dataset.from_file(config.data, -1 if config.target is None else config.target)
    names = tuple(data.names or ())
    prior = ks.kanpile(config.formula, names)
    corrected = ks.correct(prior, (data.x, data.y), grid=config.grid, resolution=max(1e-6, 3 * config.noise))
    model = ks.round_constants(corrected.model, (data.x, data.y))
    metrics: dict[str, Metric] = {
        "p_value": corrected.before.p_value,
        "p_value_corrected": corrected.after.p_value,
        "relative_error_of_formula": _relative(prior(data.x), data.y),
        "relative_error": _relative(model(data.x), data.y),
    }
    figures = draw_figures(corrected, model, data.x, data.y, names)
    return Result(model, metrics, formula=str(ks.formula(model, names)[0]), figures=figures)


def _measure(case: Case, n: int, noise: float, seed: int, coefficient: float) -> tuple[Tensor, Tensor]:
    """Points and measured values, with noise relative to their standard deviation."""
    points = case.points(n, seed)
    values = case.measured(case.prior)(points) + coefficient * case.measured(case.missing)(points)
    generator = torch.Generator().manual_seed(1000 + seed)
    spread = float(case.measured(case.prior)(points).std())
    return points, (values + noise * spread * torch.randn(n, generator=generator, dtype=torch.float64))[:, None]


def _width(model: ks.MultKAN) -> list[Any]:
    """The columns of a network, to build another."""
    first, *others = model.config.columns
    return [first.n_sum, *([width.n_sum, list(width.arities)] for width in others)]


def _steps_to_goal(case: Case, model: ks.MultKAN, terms: list[ks.Residual], limit: int) -> tuple[int, float]:
    """Steps until the relative error is small enough, or the limit, and the error at the end."""
    points = case.points(2000, seed=12345)
    truth = case.truth(points)[:, None]

    def has_arrived(step: Any) -> bool:
        return _relative(step.model(points), truth) <= GOAL

    solution = ks.solve(model, terms, steps=limit, tolerance=0.0, callback=has_arrived, progress=False)
    error = _relative(solution.model(points), truth)
    return (len(solution.history.step) if error <= GOAL else limit), error


def _relative(found: Tensor, truth: Tensor) -> float:
    return float(((found - truth).norm() / truth.norm()).detach())


def _judge(case: Case, corrected: ks.Correction, model: ks.MultKAN) -> dict[str, Metric]:
    """Whether the correction is what was missing, and with which coefficient."""
    points = case.points(2000, seed=54321)
    shape = case.law(case.missing)(points)
    change = model(points)[:, 0].detach() - case.law(case.prior)(points)
    coefficient = float(change @ shape / (shape @ shape))
    rest = float((change - coefficient * shape).norm() / shape.norm() / abs(case.coefficient))
    functions = [step.function for step in corrected.steps]
    return {
        "form_correct": functions == [case.function] and rest < 0.01,
        "coefficient": coefficient,
        "coefficient_error": abs(coefficient / case.coefficient - 1),
    }


def _share_refuted(case: Case, prior: ks.MultKAN, config: Config, signal: float) -> float:
    """In how many data sets the formula is refuted where so many standard errors of what it misses are present."""
    refuted = 0
    for draw in range(config.draws):
        seed = config.draws * config.seed + draw
        points, values = _measure(case, config.samples, config.draw_noise, seed, 0.0)
        noise = config.draw_noise * float(case.measured(case.prior)(points).std())
        if signal:
            error = _standard_error(case, prior, points, values, noise)
            coefficient = math.copysign(signal * error, case.coefficient)
            points, values = _measure(case, config.samples, config.draw_noise, seed, coefficient)
        refuted += ks.refute(prior, case.terms(points, values, noise), grids=(1, config.grid)).refuted
    return refuted / max(config.draws, 1)


def _standard_error(case: Case, prior: ks.MultKAN, points: Tensor, values: Tensor, noise: float) -> float:
    """Of the coefficient of what is missing, all constants of the formula being free."""
    terms = case.terms(points, values, noise)
    found = ks.solve(prior, terms, parameters={"k": 0.0}, steps=3, progress=False)
    return found.parameters["k"].standard_error
