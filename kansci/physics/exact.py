"""Boundary values that hold by construction: u = g + D N, whatever the network N is.

With g equal to the boundary values and D a function that vanishes on the boundary and only there, u fulfills
the boundary condition exactly, and no residual of the boundary is needed. `Domain.distance_formula` gives D.

References:
    Lagaris, Likas, Fotiadis, IEEE Transactions on Neural Networks 9 (1998) 987.
    Sukumar, Srivastava, Computer Methods in Applied Mechanics and Engineering 389 (2022) 114333.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from kansci.config import Width
from kansci.errors import ConfigError
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN, check_device, read_domain
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from kansci.symbolic.translate import Formula, as_list


def exact_dirichlet(
    width: Sequence[Any],
    boundary_formula: Formula | Sequence[Formula],
    distance_formula: Formula,
    names: Sequence[str],
    *,
    domain: Sequence[Any] = (-1.0, 1.0),
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
    **options: Any,
) -> MultKAN:
    r"""A network with exact Dirichlet values, as one MultKAN that is u itself.

    .. math:: u_j(x) = g_j(x) + D(x)\, N_j(x), \qquad D = 0 \text{ on the boundary}

    g and D enter as auxiliary features and pass through frozen identity edges beside N, a network of spline
    edges on the raw inputs; multiplication nodes form D N_j, and a last layer adds g_j. The unknowns are
    those of N, and N is what `MultKAN(width, domain=domain, **options)` would be.

    Args:
        width: columns of nodes of N, e.g. [2, 5, 1].
        boundary_formula: g in terms of x, one formula for each output [unit of u].
        distance_formula: D in terms of x, zero on the boundary; see `Domain.distance_formula`.
        names: the coordinates x.
        domain: one (low, high) for all coordinates or one pair for each [unit of x].
        dtype: float64 or float32.
        device: where the tensors live.
        **options: of N, as for `MultKAN`: grid, k, base, sparse, periodic, seed.

    Returns:
        u, with inputs x and as many outputs as N.

    Raises:
        FormulaError: a formula cannot be read or compiled.
        ConfigError: the width does not fit the names and the formulas, or an option makes no sense.

    Example:
        >>> u = exact_dirichlet([2, 5, 1], "x", "(1 - x**2)*(1 - y**2)", ["x", "y"])
        >>> u(torch.tensor([[-1.0, 0.3], [0.25, 1.0]], dtype=torch.float64)).tolist()
        [[-1.0], [0.25]]

    References:
        Lagaris, Likas, Fotiadis, IEEE Transactions on Neural Networks 9 (1998) 987.
    """
    network = MultKAN(width, domain=domain, **options)
    boundary = as_list(boundary_formula)
    _check_network(network, len(names), len(boundary))
    features = auxiliary_features([*boundary, distance_formula], names)
    model = MultKAN.from_layers(_surround(network, len(boundary)), features)
    model.set_domain(read_domain(domain, network.n_inputs))
    return model.to(device=check_device(device, dtype), dtype=dtype)


def _check_network(network: MultKAN, n_names: int, n_formulas: int) -> None:
    if network.features is not None:
        raise ConfigError("expected options without features, which are g and D here")
    if network.n_inputs != n_names:
        raise ConfigError(f"expected width[0] = {n_names}, one input for each name, got {network.n_inputs}")
    last = network.config.columns[-1]
    if last != Width(n_formulas):
        raise ConfigError(f"expected {n_formulas} sums as last column, one for each boundary formula, got {last}")


class _Column(NamedTuple):
    """A column of N beside which g and D pass.

    Attributes:
        width: all nodes.
        nodes: those of N.
        subnodes: those of N.
        passing: for each value that passes, the subnodes that take it.
    """

    width: Width
    nodes: list[int]
    subnodes: list[int]
    passing: list[list[int]]


def _beside(width: Width, n_passing: int) -> _Column:
    """The sums of N, then what passes, then the products of N."""
    wide = Width(width.n_sum + n_passing, width.arities)
    own = range(width.n_sum)
    return _Column(
        wide,
        [*own, *range(wide.n_sum, wide.n_nodes)],
        [*own, *range(wide.n_sum, wide.n_subnodes)],
        [[number] for number in range(width.n_sum, wide.n_sum)],
    )


def _times_distance(n_outputs: int) -> _Column:
    """All g_j, then a product for each D N_j."""
    first, second = (list(range(n_outputs + side, 3 * n_outputs, 2)) for side in (0, 1))
    boundary = [[number] for number in range(n_outputs)]
    return _Column(Width(n_outputs, (2,) * n_outputs), [], first, [*boundary, second])


def _surround(network: MultKAN, n_outputs: int) -> list[KANLayer]:
    """The layers of N with g and D passing by, the last of which forms D N, and a layer that adds g."""
    columns = [_beside(width, n_outputs + 1) for width in network.config.columns[:-1]]
    columns.append(_times_distance(n_outputs))
    layers = [_embed(*parts) for parts in zip(network.layers, columns, columns[1:], strict=False)]
    config = network.layers[-1].config
    names = [f"{kind}{number}" for kind in ("g", "DN") for number in range(n_outputs)]
    total = [f"g{number} + DN{number}" for number in range(n_outputs)]
    (add,) = kanpile(total, names, grid=config.grid, k=config.k).requires_grad_(False).layers
    return [*layers, add]


@torch.no_grad()
def _embed(layer: KANLayer, source: _Column, target: _Column) -> KANLayer:
    """A layer of N between wider columns: identities join what passes, edges beside those of N are cut."""
    symbols = [[""] * source.width.n_nodes for _ in range(target.width.n_subnodes)]
    for (giver,), takers in zip(source.passing, target.passing, strict=True):
        for taker in takers:
            symbols[taker][giver] = "x"
    rows = tuple(map(tuple, symbols))
    config = replace(layer.config, n_in=source.width.n_nodes, out=target.width, symbols=rows)
    wide = KANLayer(config, torch.Generator())
    wide.get_parameter("symbols.affine").requires_grad_(False)
    own = torch.tensor(target.subnodes)[:, None], torch.tensor(source.nodes)
    for name in ("splines.mask", "splines.coef", "splines.scale_base"):
        tensor = wide.state_dict()[name]
        tensor.zero_()
        tensor[own] = layer.state_dict()[name]
    return wide
