"""Networks of separated form: a power series in time whose coefficients are splines of a coordinate."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.config import Edge, LayerConfig, Width
from kansci.errors import ConfigError
from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges
from kansci.splines import extend_grid

POWERS = ("", "x", "x**2", "x**3", "x**4", "x**5")  # rows of LIBRARY


def separated_network(
    span: tuple[float, float],
    breaks: Float[Tensor, "g"],
    *,
    order: int = 8,
    k: int = 7,
    outputs: int = 1,
    time: int = 0,
) -> tuple[MultKAN, list[list[Edge]]]:
    r"""A power series in time, of which each coefficient is a spline, as a network of one hidden column.

    .. math:: u_m(t, x) = \sum_{r=0}^{R} s^r \, c_{mr}(x), \qquad s = \frac{2 t - t_0 - t_1}{t_1 - t_0}

    Each term is a multiplication node of one edge c(x) and one or two symbolic edges that are powers of s. All c start
    at zero; they are the unknowns, and the network is linear in them.

    Args:
        span: first and last time, t0 and t1.
        breaks: ends of the intervals of the splines, increasing (g,) [unit of x].
        order: highest power R, from 1 to 10.
        k: degree of the splines.
        outputs: number of functions u_m.
        time: which of the two inputs is the time.

    Returns:
        The network, and for each output the edges c_0, c_1, ..., c_R.

    Raises:
        ConfigError: an order or breaks that make no sense.

    Example:
        >>> model, edges = separated_network((0.0, 1.0), torch.linspace(-1, 1, 6), order=3)
        >>> model
        MultKAN([2, [1, [2, 2, 2]], 1], grid=5, k=7, ...)
        >>> edges[0][3]
        Edge(layer=0, target=6, source=1)
    """
    limit = 2 * (len(POWERS) - 1)
    if not 1 <= order <= limit:
        raise ConfigError(f"expected an order from 1 to {limit}, got {order}")
    if len(breaks) < 2 or not (breaks.diff() > 0).all():
        raise ConfigError(f"expected increasing ends of at least one interval, got {breaks.tolist()}")
    factors = [power_factors(r) for r in range(1, order + 1)] * outputs
    hidden = Width(outputs, tuple(len(own) + 1 for own in factors))
    symbols = [["", ""] for _ in range(hidden.n_subnodes)]
    splines = list(range(outputs))
    for number, powers in enumerate(factors):
        *places, last = hidden.subnodes(outputs + number)
        splines.append(last)
        for place, power in zip(places, powers, strict=True):
            symbols[place][time] = POWERS[power]
    first = _first_layer(symbols, splines, hidden, span, breaks.double(), k, time)
    owners = [[m, *range(outputs + m * order, outputs + (m + 1) * order)] for m in range(outputs)]
    model = MultKAN.from_layers([first, _sum(hidden, owners, len(breaks) - 1, k)])
    return model, [[Edge(0, splines[node], 1 - time) for node in own] for own in owners]


def power_factors(power: int) -> list[int]:
    """Powers of LIBRARY of which a power is the product.

    Example:
        >>> power_factors(3), power_factors(8)
        ([3], [5, 3])
    """
    most = len(POWERS) - 1
    return [power] if power <= most else [most, power - most]


@torch.no_grad()
def _first_layer(
    symbols: Sequence[Sequence[str]],
    splines: Sequence[int],
    hidden: Width,
    span: tuple[float, float],
    breaks: Tensor,
    k: int,
    time: int,
) -> KANLayer:
    rows = tuple(map(tuple, symbols))
    config = LayerConfig(2, hidden, len(breaks) - 1, k, base="zero", uniform=False, symbols=rows)
    layer = KANLayer(config, torch.Generator())
    bank, powers = cast(SplineEdges, layer.splines), cast(SymbolicEdges, layer.symbols)
    bank.mask.zero_()
    bank.mask[list(splines), 1 - time] = 1
    bank.coef.zero_()
    bank.knots[1 - time] = extend_grid(breaks[None], k)[0]
    bank.knots[time] = extend_grid(torch.linspace(*span, len(breaks), dtype=torch.float64)[None], k)[0]
    start, end = span
    powers.affine[..., 0] = 2 / (end - start)
    powers.affine[..., 1] = -(start + end) / (end - start)
    powers.affine.requires_grad_(False)
    return layer


def _sum(hidden: Width, owners: Sequence[Sequence[int]], grid: int, k: int) -> KANLayer:
    rows = [["x" if node in own else "" for node in range(hidden.n_nodes)] for own in owners]
    config = LayerConfig(hidden.n_nodes, Width(len(owners)), grid, k, splines=False, symbols=tuple(map(tuple, rows)))
    layer = KANLayer(config, torch.Generator())
    layer.get_parameter("symbols.affine").requires_grad_(False)
    return layer
