"""Whether a network of splines can be read: how far its edges are from functions of LIBRARY, and what they say."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from kansci.config import Edge
from kansci.nn.multkan import MultKAN
from kansci.surgery.fold import standardize_nodes
from kansci.surgery.selection import list_edges
from kansci.surgery.symbolize import set_symbol
from kansci.symbolic.projection import ENOUGH, Curve
from kansci.symbolic.suggest import Suggestion, edge_curve, suggestions


class Reading(NamedTuple):
    """What a network looks like.

    Attributes:
        misfit: largest error of a function of LIBRARY in the place of an edge, relative to the edge.
        formula: the network where each edge is the function that suits it best, yet to be fitted.
    """

    misfit: float
    formula: MultKAN


def read_network(model: MultKAN, x: Float[Tensor, "n d"], *, error: float = 0.0) -> Reading:
    """Tell the functions of all edges, each by itself.

    Where one edge is all that leads to a node, it could be any other, as those that follow would make up for it. So
    what counts for the misfit is what they do together, or each of them if that is better.

    Args:
        model: a network of splines.
        x: points whose activations are looked at.
        error: of the network, relative to what it computes; functions that are as good need not be told any better.

    Example:
        >>> import torch
        >>> from kansci import fit
        >>> x = torch.linspace(-1, 1, 100, dtype=torch.float64)[:, None]
        >>> reading = read_network(fit(MultKAN([1, 1]), (x, x.exp()), progress=False).model, x)
        >>> reading.misfit < 1e-3, reading.formula.config.layers[0].symbols
        (True, (('exp',),))
    """
    model, lone = standardize_nodes(model, x), _lone_edges(model)
    found = {edge: _told(edge_curve(model, x, edge), error) for edge in list_edges(model)}
    formula, misfit = model, 0.0
    for edge, told in found.items():
        formula = set_symbol(formula, edge, told[0].function, told[0].constants)
        if edge not in lone.values():
            first, each = edge, _error(told)
            while (first.layer, first.source) in lone:
                first = lone[first.layer, first.source]
                each = max(each, _error(found[first]))
            together = _error(_told(edge_curve(model, x, edge, start=first), error)) if first != edge else each
            misfit = max(misfit, min(each, together))
    return Reading(misfit, formula)


def _lone_edges(model: MultKAN) -> dict[tuple[int, int], Edge]:
    """For hidden nodes (column, number) to which one edge leads and no more, this edge."""
    edges = list_edges(model)
    return {
        (edge.layer + 1, edge.target): edge
        for edge in edges
        if edge.layer + 1 < len(model.layers)
        and edge.target < model.config.columns[edge.layer + 1].n_sum
        and sum(own[:2] == edge[:2] for own in edges) == 1
    }


def _told(curve: Curve, error: float) -> list[Suggestion]:
    """Functions that a curve may be; a constant where it does not vary or none is defined."""
    none = Suggestion("zero", (1.0, 0.0, 1.0, float(curve.values.mean())), 1.0 if curve.varies else 0.0, 0, 0.0)
    return (suggestions(curve, enough=max(ENOUGH, error)) if curve.varies else []) or [none]


def _error(told: list[Suggestion]) -> float:
    return min(own.error for own in told)
