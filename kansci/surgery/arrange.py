r"""Hidden nodes in an order that shows the modules of a network: the least cost of connections.

.. math:: \sum_l \sum_{j,i} w_{l,j,i} \, |p_{l+1,j} - p_{l,i}|

with w the attribution of an edge and p the places of its ends, between 0 and 1 in each column. With all other columns
as they are, the best order of one is a linear assignment, which is solved exactly; columns are gone through down and up
until nothing improves, from several starts. One of these puts every node where springs of strength w would pull it.

References:
    Liu, Gan, Tegmark, Seeing is Believing: Brain-Inspired Modular Training, Entropy 26 (2024) 41 (the cost).
    Liu et al., KAN 2.0, arXiv:2408.10205, section 4.2.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from kansci.analysis.attribution import attribution_scores
from kansci.config import Width
from kansci.nn.multkan import MultKAN
from kansci.surgery.gather import Part, Place, gather_nodes

STARTS = 8  # random orders beside those that are made
SWEEPS = 100
BETTER = 1e-9  # relative gain that counts
TINY = np.finfo(float).tiny

Points = Float[Tensor, "n d"] | Float[np.ndarray, "n d"]
Weights = Float[np.ndarray, "_ _"]
Order = Int[np.ndarray, "_"]  # numbers of nodes by their places


def arrange(model: MultKAN, x: Points, *, seed: int = 0) -> MultKAN:
    """The same function with the nodes of each hidden column in the order of least connection cost.

    Sums stay before products. Factors of a product are sorted as the nodes that they come from.

    Args:
        model: left unchanged.
        x: points that attributions are taken on, raw units.
        seed: of random starts.

    Returns:
        A new model; in the same order where that cannot be improved.

    Raises:
        ShapeError: x is not (n, d) for this model.
        DataError: x is empty or not finite.

    Example:
        >>> import torch
        >>> from kansci import kanpile, swap
        >>> x = torch.rand(50, 3, dtype=torch.float64)
        >>> model = kanpile(["exp(sin(x))", "exp(sin(y))", "exp(sin(z))"], ["x", "y", "z"])
        >>> mixed = swap(model, 1, 0, 2)
        >>> bool(connection_cost(model, x) < 1e-15), round(connection_cost(mixed, x), 3)
        (True, 0.889)
        >>> bool(connection_cost(arrange(mixed, x), x) < 1e-15)
        True

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.2.
    """
    edges, columns = _attributions(model, x), model.config.columns
    weights = _between_nodes(edges, columns)
    best = _identity(columns)
    least = _cost(weights, best)
    for start in _starts(weights, columns, seed):
        orders = _swept(weights, columns, start)
        cost = _cost(weights, orders)
        if cost < least * (1 - BETTER):
            best, least = orders, cost
    return gather_nodes(model, _places(edges, columns, best))


def connection_cost(model: MultKAN, x: Points) -> float:
    """Attributions of all edges times the distances they bridge, with columns of length 1.

    Args:
        model: left unchanged.
        x: points that attributions are taken on, raw units.

    Returns:
        The cost that `arrange` makes small.

    Raises:
        ShapeError: x is not (n, d) for this model.

    Example:
        >>> import torch
        >>> from kansci import kanpile
        >>> connection_cost(kanpile(["y", "x"], ["x", "y"]), torch.rand(50, 2, dtype=torch.float64))
        0.5
    """
    columns = model.config.columns
    return _cost(_between_nodes(_attributions(model, x), columns), _identity(columns))


def _attributions(model: MultKAN, x: Points) -> list[Weights]:
    """For each layer, those of its edges."""
    return [edges.double().cpu().numpy() for edges in attribution_scores(model, x).effects_per_output.mean().edges]


def _between_nodes(edges: Sequence[Weights], columns: Sequence[Width]) -> list[Weights]:
    """For each layer, attributions of what leads from a node to a node."""
    return [
        np.stack([own[list(width.subnodes(node))].sum(0) for node in range(width.n_nodes)])
        for width, own in zip(columns[1:], edges, strict=True)
    ]


def _identity(columns: Sequence[Width]) -> list[Order]:
    return [np.arange(width.n_nodes) for width in columns]


def _heights(order: Order) -> Float[np.ndarray, "_"]:
    """The place between 0 and 1 of each node."""
    places = np.empty(len(order))
    places[order] = (np.arange(len(order)) + 0.5) / len(order)
    return places


def _cost(weights: Sequence[Weights], orders: Sequence[Order]) -> float:
    places = [_heights(order) for order in orders]
    return float(sum((own * abs(places[n + 1][:, None] - places[n])).sum() for n, own in enumerate(weights)))


def _starts(weights: Sequence[Weights], columns: Sequence[Width], seed: int) -> Iterator[list[Order]]:
    """Orders to begin with: as it is, as springs pull, and random ones."""
    yield _identity(columns)
    yield _pulled(weights, columns)
    generator = np.random.default_rng(seed)
    for _ in range(STARTS):
        yield _ordered(columns, [generator.random(width.n_nodes) for width in columns])


def _ordered(columns: Sequence[Width], heights: Sequence[np.ndarray]) -> list[Order]:
    """Hidden columns sorted by heights, sums before products."""
    orders = _identity(columns)
    for number in range(1, len(columns) - 1):
        is_product = np.arange(columns[number].n_nodes) >= columns[number].n_sum
        orders[number] = np.lexsort((heights[number], is_product))
    return orders


def _pulled(weights: Sequence[Weights], columns: Sequence[Width]) -> list[Order]:
    """Hidden nodes in equilibrium between inputs and outputs, which stay."""
    sizes = [width.n_nodes for width in columns]
    firsts = np.cumsum([0, *sizes])
    springs = np.zeros((firsts[-1], firsts[-1]))
    for number, own in enumerate(weights):
        sources = slice(firsts[number], firsts[number + 1])
        targets = slice(firsts[number + 1], firsts[number + 2])
        springs[targets, sources] = own
        springs[sources, targets] = own.T
    heights = np.concatenate([_heights(order) for order in _identity(columns)])
    hidden = slice(sizes[0], firsts[-2])
    laplacian = np.diag(springs.sum(1)) - springs
    pull = springs[hidden, : sizes[0]] @ heights[: sizes[0]] + springs[hidden, firsts[-2] :] @ heights[firsts[-2] :]
    heights[hidden] = np.linalg.lstsq(laplacian[hidden, hidden], pull, rcond=None)[0]
    return _ordered(columns, np.split(heights, firsts[1:-1]))


def _swept(weights: Sequence[Weights], columns: Sequence[Width], orders: list[Order]) -> list[Order]:
    """Each hidden column in its best order for those of the others, down and up, until nothing improves."""
    hidden = list(range(1, len(columns) - 1))
    cost = _cost(weights, orders)
    for _ in range(SWEEPS):
        for number in [*hidden, *reversed(hidden)]:
            orders[number] = _best_order(weights, columns[number], orders, number)
        before, cost = cost, _cost(weights, orders)
        if cost >= before * (1 - BETTER):
            break
    return orders


def _best_order(weights: Sequence[Weights], width: Width, orders: Sequence[Order], number: int) -> Order:
    """The order of one column at least cost; nodes stay where that costs the same."""
    n = width.n_nodes
    slots = (np.arange(n) + 0.5) / n
    below, above = _heights(orders[number - 1]), _heights(orders[number + 1])
    costs = weights[number - 1] @ abs(below[:, None] - slots) + weights[number].T @ abs(above[:, None] - slots)
    largest = costs.max()
    is_sum = np.arange(n) < width.n_sum
    costs = costs + (largest * n + 1) * (is_sum[:, None] != is_sum)
    costs[orders[number], np.arange(n)] -= BETTER / n * largest
    nodes, taken = linear_sum_assignment(costs)
    return nodes[np.argsort(taken)]


def _places(edges: Sequence[Weights], columns: Sequence[Width], orders: Sequence[Order]) -> dict[int, list[Place]]:
    """What stands where, the factors of products sorted as the nodes that they come from."""
    places: dict[int, list[Place]] = {}
    for number in range(1, len(columns) - 1):
        width, own = columns[number], edges[number - 1]
        pulls = own @ _heights(orders[number - 1]) / np.maximum(own.sum(1), TINY)
        places[number] = []
        for node in orders[number].tolist():
            factors = tuple(pulls[list(width.subnodes(node))].argsort(kind="stable").tolist())
            places[number].append(Part(node, factors) if node >= width.n_sum else node)
    return places
