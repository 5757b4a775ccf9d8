"""The networks of a Poisson problem: how large, and how built."""

from itertools import pairwise

import kansci as ks
from kansci.physics import domains, exact
from problems.poisson.config import Config
from problems.poisson.physics import Case, Fields

ROWS_PER_PARAMETER = 2
WORK, LEAST_STEPS = 100_000, 50
STAGES = ((4, 8, 16), (4, 8), (3, 6), (2, 4), (3,), (2,))


def limit_parameters(case: Case) -> int:
    """As many parameters as the case allows, and no more than one for every two points.

    Example:
        >>> from problems.poisson.physics import CASES
        >>> limit_parameters(CASES["paper"])
        960
    """
    return min(case.parameter_limit, (case.interior + case.walls) // ROWS_PER_PARAMETER)


def choose_network(case: Case, k: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Width and stages of grids for a case, from its dimension d, its points and its parameter limit.

    The finest of STAGES with which [d, h, 1] can have the 2 d + 1 hidden nodes of Kolmogorov's theorem, with as many
    nodes as the limit and one parameter for every two points allow.

    Example:
        >>> from problems.poisson.physics import CASES
        >>> choose_network(CASES["paper"], k=9), choose_network(CASES["five_dim"], k=9)
        (((2, 12, 1), (4, 8, 16)), ((5, 11, 1), (2, 4)))
    """
    d = case.dimension
    limit = limit_parameters(case)
    nodes = {grids: limit // ((d + 1) * (grids[-1] + k + 1)) for grids in STAGES}
    grids = next((grids for grids in STAGES if nodes[grids] > 2 * d), STAGES[-1])
    return (d, max(nodes[grids], 2), 1), grids


def choose_steps(width: tuple[int, ...], grids: tuple[int, ...], k: int) -> int:
    """Steps of each stage, the fewer the more parameters: WORK is shared among them.

    Example:
        >>> choose_steps((2, 12, 1), (4, 8, 16), k=9)
        106
    """
    edges = sum(a * b for a, b in pairwise(width))
    return max(LEAST_STEPS, WORK // (edges * (grids[-1] + k + 1)))


def build_network(config: Config, case: Case, fields: Fields, width: tuple[int, ...], grid: int) -> ks.MultKAN:
    """A network of a width with so many intervals on each edge; where told, with exact boundary values."""
    options = {"grid": grid, "k": config.k, "base": config.base, "domain": case.box, "seed": config.seed}
    if config.condition == "weak":
        return ks.MultKAN(list(width), **options)
    distance = domains.Box(case.box).distance_formula(case.names)
    return exact.exact_dirichlet(list(width), fields.boundary_text, distance, case.names, **options)
