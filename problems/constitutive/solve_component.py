"""Components of a stress as formulas, and the tables of users."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor

import kansci as ks
from kansci.physics.material_law import MaterialLaw, find_material_law
from problems.constitutive.components import CASES, NAMES, Component, deformations, lame
from problems.constitutive.config import Config
from problems.constitutive.figures import draw_network, draw_parity
from problems.runner import Metric, Result

SAMPLES, TEST_SAMPLES = 1000, 1000
TEST_SEED = 1_000_000
EXACT = 1e-9
PUBLISHED = {"p11": 2.9e-11, "p12_prior": 7.6e-3, "p12": 6.8e-9}  # test RMSE of KAN 2.0, partly corrected by hand


def solve_component(config: Config) -> Result:
    """One of the components that KAN 2.0 has."""
    case, constants = CASES[config.case], lame(config.young, config.poisson)
    spread = config.spread or case.spread
    x = deformations(config.samples or SAMPLES, spread, config.seed)
    y = measured(case.response(x, constants), config.noise or 0.0, config.seed)
    x_test = deformations(TEST_SAMPLES, spread, TEST_SEED + config.seed)
    y_test = case.response(x_test, constants)
    start = time.perf_counter()
    law = find_material_law(x, y, NAMES, prior=prior_of(config, case, constants), seed=config.seed)
    seconds = time.perf_counter() - start
    metrics: dict[str, Metric] = {
        "train_rmse": _rmse(law, x, y),
        "test_rmse": _rmse(law, x_test, y_test),
        **_judge(law, case, constants, x_test),
        "prior_p_value": None if law.prior is None else law.prior.p_value,
        "seconds": seconds,
    }
    rows: list[list[str | Metric]] = [["metric", "ours", "KAN 2.0"]]
    rows += [[name, value, PUBLISHED[config.case] if name == "test_rmse" else ""] for name, value in metrics.items()]
    return _result(law, metrics, NAMES, x_test, y_test, rows)


def solve_table(config: Config) -> Result:
    """The response in a user's table."""
    if config.data is None:
        raise ks.errors.ConfigError("expected --data with a table of variables and a response")
    data = ks.Dataset.from_file(config.data, -1 if config.target is None else config.target)
    names = list(data.names or ())
    prior = None if config.prior == "none" else config.prior
    law = find_material_law(data.x, data.y, names, prior=prior, seed=config.seed)
    metrics: dict[str, Metric] = {
        "train_rmse": _rmse(law, data.x, data.y[:, 0]),
        "relative_error": law.error,
        "formula_exact": law.is_exact,
        "prior_p_value": None if law.prior is None else law.prior.p_value,
    }
    return _result(law, metrics, names, data.x, data.y[:, 0], ())


def measured(y: Tensor, noise: float, seed: int) -> Tensor:
    """With noise relative to the standard deviation."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return y + noise * y.std() * torch.randn(len(y), generator=generator, dtype=torch.float64)


def prior_of(config: Config, case: Component, constants: dict[str, float]) -> str | None:
    """What the search is told."""
    if config.prior is not None:
        return None if config.prior == "none" else config.prior
    return case.prior(constants) if case.has_prior else None


def is_right(law: MaterialLaw, case: Component, constants: dict[str, float]) -> bool:
    """Whether the formula is the true law."""
    x = deformations(TEST_SAMPLES, case.spread, TEST_SEED)
    return cast(bool, _judge(law, case, constants, x)["formula_exact"])


def _judge(law: MaterialLaw, case: Component, constants: dict[str, float], x: Tensor) -> dict[str, Metric]:
    """The constants that the law has, and whether there is nothing else in it."""
    kept = x[(x != 0).any(1)]
    columns, found = case.columns(kept), law.model(kept).detach()[:, 0]
    values = torch.linalg.lstsq(columns, found[:, None]).solution[:, 0]
    rest = float((found - columns @ values).norm() / found.norm())
    metrics: dict[str, Metric] = {}
    for name, value in zip(case.terms, values.tolist(), strict=True):
        label = name.rstrip("_")
        metrics |= {label: value, f"{label}_error": abs(value - constants[name])}
    wrong = max(abs(value / constants[name] - 1) for name, value in zip(case.terms, values.tolist(), strict=True))
    return {**metrics, "formula_exact": law.formula is not None and max(rest, wrong) <= EXACT}


def _rmse(law: MaterialLaw, x: Tensor, y: Tensor) -> float:
    return float((law.model(x).detach()[:, 0] - y).square().mean().sqrt())


def _result(
    law: MaterialLaw,
    metrics: Mapping[str, Metric],
    names: Sequence[str],
    x: Tensor,
    y: Tensor,
    rows: Sequence[Sequence[str | Metric]],
) -> Result:
    return Result(
        law.model,
        metrics,
        formula=None if law.formula is None else str(law.formula),
        table=rows,
        figures={
            "network": partial(draw_network, law.model, names),
            "parity": partial(draw_parity, y, law.model(x).detach()[:, 0]),
        },
    )
