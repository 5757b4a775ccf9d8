"""Edges that are sums of functions: a potential q^2/2 + q^4/4 is no function of LIBRARY, but two of them side by side.

Sums are of two or three functions f(a x) from a short list with small whole numbers a, all combinations of which are
tried with their best factors. What is chosen is simplest for its error, as for single functions; fits in the whole
problem then move the constants inside, too.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.config import Edge
from kansci.functions import library_function
from kansci.nn.multkan import MultKAN
from kansci.surgery.symbolize import branch_edge
from kansci.symbolic.projection import Curve
from kansci.symbolic.suggest import LARGE, RESOLUTION, edge_curve, suggestions

Constants = tuple[float, float, float, float]

MOST = 3  # functions of a sum
POWERS = ("x", "x**2", "x**3", "x**4", "x**5", "x**6")
WAVES = ("sin", "cos")
FREQUENCIES = (1.0, 2.0)
GROWTHS = (1.0, -1.0, 2.0, -2.0)
POLES = ("1/x", "1/x**2", "log", "sqrt")
CONDITION = 1e8


class Term(NamedTuple):
    """c f(a x + b) + d."""

    function: str
    constants: Constants


@dataclass(frozen=True)
class SumSuggestion:
    """Functions whose sum an edge may be.

    Attributes:
        terms: the functions with their constants.
        error: root mean square difference from the edge, relative to the edge's standard deviation.
        score: log2 of the error, or of the resolution where that is larger, plus the complexities; lower is better.
    """

    terms: tuple[Term, ...]
    error: float
    score: float


def suggest_sum(curve: Curve, *, resolution: float = RESOLUTION) -> SumSuggestion:
    """The best of all functions and sums of functions for a curve.

    Args:
        curve: that varies.
        resolution: relative error to which the curve is known; better fits count no more.

    Returns:
        One function or several.

    Example:
        >>> x = torch.linspace(-1, 1, 40, dtype=torch.float64)
        >>> curve = Curve(x, x**2 / 2 + x**4 / 4, torch.full((40, 1), 40**-0.5, dtype=torch.float64))
        >>> [term.function for term in suggest_sum(curve).terms]
        ['x**2', 'x**4']
    """
    single = suggestions(curve, resolution=resolution)[0]
    best = SumSuggestion((Term(single.function, single.constants),), single.error, single.score)
    columns = dict(_columns(curve.x))
    size = float(_rest(curve.nuisance, curve.values).norm())
    for count in range(2, MOST + 1):
        if best.error <= resolution:
            break
        for chosen in combinations(columns, count):
            own = _fixed_sum(curve, chosen, columns, size, resolution)
            if own is not None and own.score < best.score:
                best = own
    return best


def _columns(x: Float[Tensor, "n"]) -> Iterator[tuple[tuple[str, float], Float[Tensor, "n"]]]:
    """Functions f(a x) by name and a, where they are finite."""
    names = [*((name, 1.0) for name in POWERS), *((name, a) for name in WAVES for a in FREQUENCIES)]
    names += [("exp", a) for a in GROWTHS]
    if float(x.min()) > 0:
        names += [(name, 1.0) for name in POLES]
    for name, a in names:
        values = library_function(name)(a * x)
        if values.isfinite().all():
            yield (name, a), values


def _fixed_sum(
    curve: Curve,
    chosen: Sequence[tuple[str, float]],
    columns: dict[tuple[str, float], Tensor],
    size: float,
    resolution: float,
) -> SumSuggestion | None:
    """The sum of some functions with the best factors, unless they can hardly be told apart."""
    matrix = torch.stack([columns[own] for own in chosen], 1)
    projected = _rest(curve.nuisance, matrix)
    scales = projected.norm(dim=0)
    if (scales <= 1e-12 * matrix.norm(dim=0)).any():
        return None
    q, r = torch.linalg.qr(projected / scales)
    if float(r.diagonal().abs().min()) < 1 / CONDITION:
        return None
    target = _rest(curve.nuisance, curve.values)
    factors = torch.linalg.solve_triangular(r, (q.T @ target)[:, None], upper=True)[:, 0]
    error = float((target - q @ (q.T @ target)).norm()) / size
    if float(factors.abs().max()) > LARGE * size:
        return None
    complexity = sum(library_function(name).complexity for name, _ in chosen)
    terms = [Term(name, (a, 0.0, float(c), 0.0)) for (name, a), c in zip(chosen, factors / scales, strict=True)]
    offset = float((curve.values - matrix @ (factors / scales)).mean())
    terms[-1] = Term(terms[-1].function, (*terms[-1].constants[:3], offset))
    return SumSuggestion(tuple(terms), error, math.log2(max(error, resolution)) + complexity)


def _rest(nuisance: Tensor, values: Tensor) -> Tensor:
    return values - nuisance @ (nuisance.T @ values)


def unfold_sums(model: MultKAN, x: Float[Tensor, "n d"], *, resolution: float = RESOLUTION) -> MultKAN:
    """Make several symbolic edges of every spline edge that is a sum of functions rather than one function.

    Args:
        model: left unchanged.
        x: points whose activations are looked at.
        resolution: relative error to which edges are known.

    Returns:
        A new model, which is not fitted yet.
    """
    number = 0
    while number < len(model.layers):
        for target, source in _spline_places(model, number):
            edge = Edge(number, target, source)
            curve = edge_curve(model, x, edge)
            found = suggest_sum(curve, resolution=resolution) if curve.varies else None
            if found is not None and len(found.terms) > 1:
                model = branch_edge(model, edge, [(own.function, own.constants) for own in found.terms])
                number += 1
        number += 1
    return model


def _spline_places(model: MultKAN, number: int) -> list[tuple[int, int]]:
    splines = model.layers[number].splines
    return [] if splines is None else [(int(t), int(s)) for t, s in splines.mask.nonzero().tolist()]
