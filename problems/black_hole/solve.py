"""Find the time in which space around a black hole is flat."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

import kansci as ks
from problems.black_hole.figures import draw_metric, draw_shift
from problems.black_hole.physics import SCHWARZSCHILD, BlackHole
from problems.black_hole.reading import read_rational
from problems.runner import Metric, Result

POINTS = 2000
DEGREE = 7
GRIDS = (10, 20, 40)
SLACK = 100.0  # times the error of the residual, within which a formula may be
LEAST = 1e-7  # relative error of slopes at the ends of splines
EXACT = 1e-12  # largest error of a formula that is exact
PUBLISHED = 1.05e-4  # loss of the MLP of KAN 2.0, which has both branches


@dataclass(frozen=True)
class Config:
    """Settings of the search."""

    case: Literal["schwarzschild", "custom"] = "schwarzschild"

    factor: str | None = None
    """Custom: A(r), the square of the rate of clocks at rest, e.g. "1 - 1/r^2"."""

    low: float = 1.2
    """Lowest radius [radius of the horizon]."""

    high: float = 3.0
    """Highest radius."""

    branch: Literal["black", "white"] = "black"
    """Falling frames (f rises) or rising ones."""

    seed: int = 0


def solve(config: Config) -> Result:
    """Find the time in which space around a black hole is flat, as a network and as a formula."""
    hole = _hole(config)
    start = time.perf_counter()
    terms = [hole.residual(POINTS, config.seed), hole.gauge()]
    spline = _solved(hole, terms, config)
    model, text = _read(hole, spline, terms)
    seconds = time.perf_counter() - start
    sign = 1 if config.branch == "black" else -1
    radii = hole.radii(401)
    metrics: dict[str, Metric] = {
        "loss": ks.solve(model, terms, steps=0, progress=False).loss,
        "shift_error": _error(hole, model, sign),
        "network_shift_error": _error(hole, spline, sign),
        "single_branch": bool((sign * spline.jet(radii, "gradient").gradient > 0).all()),
        "formula_exact": text is not None and _error(hole, model, sign) <= EXACT,
        "search_seconds": seconds,
    }
    rows: list[list[str | Metric]] = [["metric", "ours", "KAN 2.0"]]
    rows += [
        [name, value, PUBLISHED if name == "loss" and not config.factor else ""] for name, value in metrics.items()
    ]
    figures = {
        "shift": partial(draw_shift, hole, model, spline, sign),
        "metric": partial(draw_metric, hole, model, spline),
    }
    return Result(model, metrics, formula=text, table=rows, figures=figures)


def _hole(config: Config) -> BlackHole:
    if (config.case == "custom") != (config.factor is not None):
        raise ks.errors.ConfigError("expected --factor with a formula of r with --case custom, and only then")
    hole = BlackHole(config.factor or SCHWARZSCHILD.factor, config.low, config.high)
    hole.check()
    return hole


def _solved(hole: BlackHole, terms: list[ks.Residual], config: Config) -> ks.MultKAN:
    """A spline from a start with the slope of the branch."""
    model = ks.MultKAN([1, 1], grid=GRIDS[0], k=DEGREE, domain=(config.low, config.high), base="zero", seed=config.seed)
    radii = hole.radii(200)
    line = (radii - config.high) * (1 if config.branch == "black" else -1)
    start = ks.fit(model, (radii, line), normalize=False, progress=False).model
    return ks.solve(start, terms, grids=GRIDS, steps=60, tolerance=1e-6, progress=False).model


def _read(hole: BlackHole, spline: ks.MultKAN, terms: list[ks.Residual]) -> tuple[ks.MultKAN, str | None]:
    """The formula whose constants solve the problem, or the spline."""
    loss = ks.solve(spline, terms, steps=0, progress=False).loss
    for expression in read_rational(spline, hole.radii(400), max(SLACK * loss**0.5, LEAST)):
        offset = float(ks.torch_function(expression, ["r"])(hole.radii(2))[1])
        compiled = ks.kanpile(expression - offset, ["r"])
        solved = ks.solve(compiled, terms, steps=100, tolerance=0.0, progress=False)
        if solved.loss < loss:
            model = ks.round_constants(solved.model, terms)
            return model, f"t' = t + {ks.formula(model, ['r'])[0]}"
    return spline, None


def _error(hole: BlackHole, model: ks.MultKAN, sign: int) -> float:
    """Largest difference from the true shift of time, but for a constant, on the range."""
    radii = hole.radii(401)
    with torch.no_grad():
        rest = model(radii)[:, 0] - sign * hole.true_shift(radii)
    return float((rest - rest.mean()).abs().max())
