r"""How errors fall as networks grow: ours and multilayer perceptrons on the same residuals with the same solver.

An error :math:`e` that falls as :math:`N^s` with the parameters N, or the seconds, is a line of slope s in the
logarithms of both; a network that can use the smoothness of the solution has a steep one.

References:
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 3.4.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

import kansci as ks
from problems.poisson.collocation import count_parameters, make_terms, measure_errors
from problems.poisson.config import Config
from problems.poisson.networks import build_network, choose_network, choose_steps, limit_parameters
from problems.poisson.physics import Case, Fields
from problems.poisson.scaling_figure import draw_scaling
from problems.runner import Metric, Result

SIZES = 4
MEASURES = ("parameters", "seconds")
ERRORS = ("l2_squared", "h1_squared")


@dataclass(frozen=True)
class Network:
    """A KAN of a width with its stages of grids, or an MLP, which has none."""

    width: tuple[int, ...]
    grids: tuple[int, ...] = ()

    def __str__(self) -> str:
        """The width and the grids."""
        grids = f" G = {', '.join(map(str, self.grids))}" if self.grids else ""
        return f"{list(self.width)}{grids}"


@dataclass(frozen=True)
class Run:
    """A solved network with what it cost and how far it is from the exact solution."""

    model: nn.Module
    parameters: int
    seconds: float
    steps: int
    l2_squared: float
    h1_squared: float


Runs = dict[str, dict[Network, Run]]


def run_scaling(config: Config, case: Case, fields: Fields) -> Result:
    """Solve with networks of growing size; the result's model is the largest of ours.

    Every run may take as many steps as all stages of our largest network together. A limit of seconds holds
    for each run; where it cuts runs short, slopes against seconds say nothing.

    Raises:
        ConfigError: the exact solution is not known, the boundary values are exact by construction, which an MLP
            cannot have, or another network is asked for.
    """
    if fields.exact is None:
        raise ks.errors.ConfigError("expected the exact solution for --study scaling; give --exact")
    if config.condition != "weak":
        raise ks.errors.ConfigError(f"expected --condition weak for --study scaling, got {config.condition}")
    if config.network != "kan":
        raise ks.errors.ConfigError(f"expected --network kan for --study scaling, got {config.network}")
    width, grids = choose_network(case, config.k)
    largest = Network(config.width or width, config.grids or grids)
    series = grow_networks(case, largest)
    steps = config.steps or choose_steps(largest.width, largest.grids, config.k)
    budget = steps * len(largest.grids)
    solved = {network: _measure(config, case, fields, network, budget) for each in series.values() for network in each}
    runs = {name: {network: solved[network] for network in each} for name, each in series.items()}
    curves = {name: [vars(run) for run in each.values()] for name, each in runs.items()}
    figures = {f"error_against_{measure}": partial(draw_scaling, curves, measure) for measure in MEASURES}
    return Result(solved[largest].model, _metrics(runs), table=_table(runs), figures=figures)


def grow_networks(case: Case, largest: Network) -> dict[str, list[Network]]:
    """The series of networks by name, each from small to large.

    Example:
        >>> from problems.poisson.physics import CASES
        >>> for name, networks in grow_networks(CASES["paper"], Network((2, 12, 1), (4, 8, 16))).items():
        ...     print(f"{name}:", *networks, sep="  ")
        KAN, finer grids:  [2, 12, 1] G = 2  [2, 12, 1] G = 4  [2, 12, 1] G = 4, 8 ...
        KAN, more nodes:  [2, 2, 1] G = 4, 8, 16  [2, 4, 1] G = 4, 8, 16 ...
        MLP, 1 hidden layer:  [2, 8, 1]  [2, 25, 1]  [2, 77, 1]  [2, 239, 1]
        MLP, 2 hidden layers:  [2, 3, 3, 1]  [2, 6, 6, 1]  [2, 13, 13, 1]  [2, 28, 28, 1]
    """
    d, limit = case.dimension, limit_parameters(case)
    hidden = largest.width[1:-1]
    wide = (limit - 1) // (d + 2)
    deep = (math.isqrt((d + 3) ** 2 + 4 * (limit - 1)) - (d + 3)) // 2
    return {
        "KAN, finer grids": [Network(largest.width, grids) for grids in _lengthen(largest.grids)],
        "KAN, more nodes": [
            Network((d, *(min(nodes, most) for most in hidden), 1), largest.grids)
            for nodes in _sizes(2, max(hidden, default=2))
        ],
        "MLP, 1 hidden layer": [Network((d, nodes, 1)) for nodes in _sizes(8, wide)],
        "MLP, 2 hidden layers": [Network((d, nodes, nodes, 1)) for nodes in _sizes(3, deep)],
    }


def _lengthen(grids: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Stages that end at each of the grids, after lone coarser ones: halvings of the first, down to 2."""
    halvings = range(1, grids[0].bit_length() - 1)
    coarser = [(grids[0] >> n,) for n in reversed(halvings)]
    return coarser + [grids[:n] for n in range(1, len(grids) + 1)]


def _sizes(first: int, last: int) -> list[int]:
    """SIZES numbers from first to last, each about the same multiple of the one before, without repetitions."""
    return sorted({round(size) for size in np.geomspace(first, max(first, last), SIZES)})


def _measure(config: Config, case: Case, fields: Fields, network: Network, budget: int) -> Run:
    if network.grids:
        model = build_network(config, case, fields, network.width, network.grids[0])
    else:
        model = ks.MLP(network.width, domain=case.box, seed=config.seed)
    solution = ks.solve(
        model,
        make_terms(config, case, fields, seed=0),
        method=config.method,
        steps=budget // max(len(network.grids), 1),
        seconds=config.seconds,
        grids=network.grids or None,
        seed=config.seed,
    )
    if solution.status == "interrupted":
        raise KeyboardInterrupt
    errors = measure_errors(solution.model, case, fields)
    history = solution.history
    return Run(
        solution.model,
        count_parameters(solution.model),
        float(history.seconds[-1]),
        len(history.step),
        *(float(errors[name] or 0.0) for name in ERRORS),
    )


def fit_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of the least-squares line through log y against log x; nan where x does not vary.

    Example:
        >>> fit_slope([1, 2, 4], [3, 3 / 16, 3 / 256])
        -4.0
    """
    log_x, log_y = np.log(x), np.log(y)
    spread = log_x - log_x.mean()
    return float(spread @ log_y / (spread @ spread)) if spread.any() else math.nan


def _slope(runs: dict[Network, Run], measure: str, error: str) -> float:
    return fit_slope(*([getattr(run, name) for run in runs.values()] for name in (measure, error)))


def _metrics(runs: Runs) -> dict[str, Metric]:
    return {
        f"slope_{error}_{measure}_{name.replace(',', '').replace(' ', '_').lower()}": _slope(each, measure, error)
        for name, each in runs.items()
        for measure in MEASURES
        for error in ERRORS
    }


def _table(runs: Runs) -> list[list[str | Metric]]:
    rows: list[list[str | Metric]] = [["network", "parameters", "steps", "seconds", "L2 squared", "H1 squared"]]
    for name, each in runs.items():
        rows.append([name, *[""] * 5])
        rows += [
            [f"  {network}", run.parameters, run.steps, run.seconds, run.l2_squared, run.h1_squared]
            for network, run in each.items()
        ]
        for measure in MEASURES:
            slopes = [_slope(each, measure, error) for error in ERRORS]
            rows.append([f"  slope against {measure}", *[""] * 3, *slopes])
    return rows
