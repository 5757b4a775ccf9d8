r"""Networks that have the form of a Lagrangian.

.. math:: L = \sum_i T_i(\dot q_i) + \sum_f V_f(f) + \sum_{i \le j} \dot q_i \dot q_j \sum_f M_{ijf}(f)
          + \sum_i \dot q_i \sum_f A_{if}(f) + \sum_{i < j} U_i(q_i)\, W_j(q_j), \qquad
          R = \sum_i R_i(\dot q_i),

with features f of the coordinates: these themselves, and for d > 1 their differences and sums. Every function is one
spline edge of the first layer; products of the network's nodes make the rest. So all but the last sum of L is linear
in the unknowns, and what is found can be read edge by edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any

import torch

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.nn.samples import sobol_points
from kansci.solvers.fit import fit
from kansci.surgery.gather import gather_nodes
from kansci.surgery.hold import hold_constants
from kansci.surgery.selection import present_edges
from kansci.surgery.symbolize import drop_splines, set_symbol
from kansci.symbolic.kanpiler import auxiliary_features

PARTS = ("inertia", "friction", "gyroscopic", "coupling")
SAMPLES = 512
UNIT = (1.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Node:
    """A node of the first layer, and where it goes.

    Attributes:
        sources: for each factor, the inputs it has edges from.
        fixed: for each factor, whether it is a velocity itself, and no function of it.
        output: 0 for L, 1 for R.
    """

    sources: tuple[tuple[int, ...], ...]
    fixed: tuple[bool, ...]
    output: int = 0


@dataclass(frozen=True)
class Mechanics:
    """A network of the form of a Lagrangian.

    Attributes:
        model: the network of (q, q'); its first output is L, the second R if it has friction. It starts as the kinetic
            energy of unit masses.
        groups: its spline edges in the order in which they are dispensable: what says more than others before these.
    """

    model: MultKAN
    groups: tuple[tuple[Edge, ...], ...]


def mechanics(
    names: Sequence[str],
    domain: Sequence[Any],
    *,
    parts: Sequence[str] = ("inertia",),
    features: Sequence[str] = (),
    periodic: Sequence[int] = (),
    grid: int = 6,
    k: int = 5,
    kinetic: bool = True,
    seed: int = 0,
) -> Mechanics:
    """A network for the Lagrangian of d coordinates.

    Args:
        names: of the d coordinates and then of the d velocities.
        domain: (low, high) of each.
        parts: what L has beside functions of single velocities and features: "inertia" (masses that depend on the
            coordinates or couple them), "gyroscopic" (terms linear in the velocities), "coupling" (potentials that are
            products of functions of two coordinates); and "friction", the Rayleigh function R.
        features: further functions of the coordinates, as formulas.
        periodic: coordinates that are angles; their domain is one period.
        grid: intervals of the edges, more than k if there are angles.
        k: degree of the splines, at least 4 for accelerations that are continuously differentiable.
        kinetic: whether L starts as the kinetic energy of unit masses, else at random.
        seed: of the random start.

    Returns:
        The network and its edges.

    Raises:
        ConfigError: names, domain or parts make no sense.
        FormulaError: a feature cannot be read.

    Example:
        >>> found = mechanics(["q", "v"], [(-1, 1), (-2, 2)], parts=())
        >>> round(found.model(torch.tensor([[0.5, 2.0]], dtype=torch.float64)).item(), 9)
        2.0
        >>> [len(group) for group in found.groups]
        [1, 1]
    """
    d = len(names) // 2
    _check(names, domain, parts)
    known = [*_pair_features(names[:d]), *features]
    inputs = auxiliary_features(known, names) if known else None
    places = [*range(d), *range(2 * d, 2 * d + len(known))]
    nodes = list(_nodes(d, places, parts))
    outputs = 1 + ("friction" in parts)
    sums = sum(len(node.sources) == 1 for node in nodes)
    arities = [len(node.sources) for node in nodes[sums:]]
    model = MultKAN(
        [2 * d + len(known), [sums, arities], outputs],
        grid=grid,
        k=k,
        domain=domain,
        base="zero",
        features=inputs,
        periodic=periodic,
        seed=seed,
    )
    model, edges = _shaped(model, nodes)
    if kinetic:
        model = _kinetic(model, d, domain, outputs)
    return Mechanics(model, _groups(edges, nodes, d))


def without_idle_products(model: MultKAN) -> MultKAN:
    """The same function without the products of the first layer one of whose factors has no edge left.

    Args:
        model: left unchanged.

    Returns:
        A new model.
    """
    layer = model.layers[0]
    present = present_edges(layer).any(1)
    column = layer.config.out
    alive = [node for node in range(column.n_nodes) if all(present[own] for own in column.subnodes(node))]
    sums = list(range(column.n_sum))
    return gather_nodes(model, {1: sorted({*sums, *alive})})


def _check(names: Sequence[str], domain: Sequence[Any], parts: Sequence[str]) -> None:
    if not names or len(names) % 2 or len(domain) != len(names):
        raise ConfigError(
            f"expected names and domains of coordinates and then of as many velocities, got {list(names)}, {domain}"
        )
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise ConfigError(f"expected parts among {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")


def _pair_features(names: Sequence[str]) -> list[str]:
    return [f"{a} {sign} {b}" for a, b in combinations(names, 2) for sign in "-+"]


def _nodes(d: int, places: list[int], parts: Sequence[str]) -> "list[Node]":
    """Sums before products, as columns want them."""
    velocities = tuple(range(d, 2 * d))
    features = tuple(places)
    nodes = [Node((features + velocities,), (False,))]
    if "friction" in parts:
        nodes.append(Node((velocities,), (False,), output=1))
    if "gyroscopic" in parts:
        nodes += [Node((features, (i,)), (False, True)) for i in velocities]
    if "coupling" in parts:
        nodes += [Node(((i,), (j,)), (False, False)) for i, j in combinations(range(d), 2)]
    if "inertia" in parts:
        pairs = combinations_with_replacement(velocities, 2)
        nodes += [Node((features, (i,), (j,)), (False, True, True)) for i, j in pairs]
    return nodes


def _shaped(model: MultKAN, nodes: list[Node]) -> tuple[MultKAN, list[tuple[int, Edge]]]:
    """The network with the edges that its nodes ask for; those with splines, each with the number of its node."""
    kept: list[tuple[int, Edge]] = []
    velocities: list[Edge] = []
    factors = [
        (number, *pair) for number, node in enumerate(nodes) for pair in zip(node.sources, node.fixed, strict=True)
    ]
    for subnode, (number, sources, fixed) in enumerate(factors):
        own = [Edge(0, subnode, source) for source in sources]
        if fixed:
            velocities += own
        else:
            kept += [(number, edge) for edge in own]
    through = [Edge(1, node.output, number) for number, node in enumerate(nodes)]
    splines = {edge for _, edge in kept}
    shape = model.layers[0].config
    rows = shape.out.n_subnodes, len(nodes)
    all_edges = [Edge(0, t, s) for t in range(rows[0]) for s in range(shape.n_in)]
    all_edges += [Edge(1, t, s) for t in range(model.n_outputs) for s in range(rows[1])]
    model = drop_splines(model, [edge for edge in all_edges if edge not in splines])
    for edge in velocities + through:
        model = set_symbol(model, edge, "x", UNIT)
    return hold_constants(model), kept


def _kinetic(model: MultKAN, d: int, domain: Sequence[Any], outputs: int) -> MultKAN:
    """The network fitted to the kinetic energy of unit masses."""
    low, high = torch.tensor(domain, dtype=torch.float64).T
    x = sobol_points(low, high, SAMPLES)
    energy = torch.zeros(SAMPLES, outputs, dtype=torch.float64)
    energy[:, 0] = x[:, d:].square().sum(1) / 2
    return fit(model, (x, energy), steps=20, normalize=False, progress=False).model


def _groups(edges: list[tuple[int, Edge]], nodes: list[Node], d: int) -> tuple[tuple[Edge, ...], ...]:
    """Products before sums; of each node all edges at once, then those of features before those of coordinates."""
    products = sorted({number for number, _ in edges if len(nodes[number].sources) > 1}, reverse=True)
    whole = [tuple(edge for own, edge in edges if own == number) for number in products]
    by_feature = sorted({edge.source for _, edge in edges}, key=lambda source: (d <= source < 2 * d, -source))
    single = [
        (edge,) for source in by_feature for number, edge in edges if edge.source == source and number in products
    ]
    sums = [
        (edge,) for source in by_feature for number, edge in edges if edge.source == source and number not in products
    ]
    return tuple(whole + single + sums)
