"""The networks of a Poisson problem: how large, and how built."""

from collections.abc import Sequence
from itertools import pairwise

import kansci as ks
from kansci.physics import domains, exact
from problems.poisson.config import Config
from problems.poisson.physics import Case, Fields

ROWS_PER_PARAMETER = 2
WORK, LEAST_STEPS, MORE_STEPS = 100_000, 50, 10
STAGES = ((4, 8, 16), (4, 8), (3, 6), (2, 4), (3,), (2,))


def limit_parameters(case: Case) -> int:
    """As many parameters as the case allows, and no more than one for every two points.

    Example:
        >>> from problems.poisson.physics import CASES
        >>> limit_parameters(CASES["paper"])
        960
    """
    return min(case.parameter_limit, (case.interior + case.walls) // ROWS_PER_PARAMETER)


def count_weights(network: str, width: Sequence[int], grid: int, k: int) -> int:
    """Trained parameters of a network of a kind, G + k + 1 for each function.

    Example:
        >>> count_weights("kan", (2, 12, 1), 16, 9), count_weights("lan", (2, 31, 1), 16, 9)
        (936, 931)
    """
    edges = sum(a * b for a, b in pairwise(width))
    if network == "kan":
        return edges * (grid + k + 1)
    return edges + sum(width[1:]) + sum(width[1:-1]) * (grid + k + 1)


def choose_network(case: Case, k: int, network: str = "kan") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Width and stages of grids for a case, from its dimension d, its points and its parameter limit.

    The finest of STAGES with which [d, h, 1] can have the 2 d + 1 hidden nodes of Kolmogorov's theorem, with as many
    nodes as the limit and one parameter for every two points allow.

    Example:
        >>> from problems.poisson.physics import CASES
        >>> choose_network(CASES["paper"], k=9), choose_network(CASES["five_dim"], k=9)
        (((2, 12, 1), (4, 8, 16)), ((5, 11, 1), (2, 4)))
        >>> choose_network(CASES["paper"], k=9, network="lan")
        ((2, 31, 1), (4, 8, 16))
    """
    d = case.dimension

    def most_nodes(grid: int) -> int:
        none, one = (count_weights(network, (d, nodes, 1), grid, k) for nodes in (0, 1))
        return (limit_parameters(case) - none) // (one - none)

    nodes = {grids: most_nodes(grids[-1]) for grids in STAGES}
    grids = next((grids for grids in STAGES if nodes[grids] > 2 * d), STAGES[-1])
    return (d, max(nodes[grids], 2), 1), grids


def choose_steps(
    width: tuple[int, ...], grids: tuple[int, ...], k: int, network: str = "kan", method: str = "lm"
) -> int:
    """Steps of each stage, the fewer the more parameters: WORK is shared among them.

    Steps of other methods than "lm" achieve less, so more are taken.

    Example:
        >>> choose_steps((2, 12, 1), (4, 8, 16), k=9)
        106
    """
    steps = max(LEAST_STEPS, WORK // count_weights(network, width, grids[-1], k))
    return steps if method == "lm" else MORE_STEPS * steps


def build_network(config: Config, case: Case, fields: Fields, width: tuple[int, ...], grid: int) -> ks.MultKAN | ks.LAN:
    """A network of a width with so many intervals of each function; where told, with exact boundary values.

    Raises:
        ConfigError: exact boundary values of a LAN.
    """
    options = {"grid": grid, "k": config.k, "domain": case.box, "seed": config.seed}
    if config.network == "lan":
        if config.condition != "weak":
            raise ks.errors.ConfigError(f"expected --condition weak for --network lan, got {config.condition}")
        return ks.LAN(list(width), activation=config.base, **options)
    options["base"] = config.base
    if config.condition == "weak":
        return ks.MultKAN(list(width), **options)
    distance = domains.Box(case.box).distance_formula(case.names)
    return exact.exact_dirichlet(list(width), fields.boundary_text, distance, case.names, **options)
