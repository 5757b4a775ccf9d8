"""Spline edges that become formulas: each is chosen by the error of the whole problem.

A function that fits an edge well need not suit the problem, and one that fits it badly may do so once all other
constants have followed. So each of the most promising functions is put in its place and all is fitted anew, once with
the constants of other edges as they were and once with all constants free. What counts is the loss then, in the light
of the complexity and of the number of constants.

References:
    Schwarz, Estimating the dimension of a model, Annals of Statistics 6 (1978) 461.
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1 (fixing one edge after another).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import all_points, as_terms, problem_loss
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.hold import hold_constants, with_held_as
from kansci.surgery.selection import select_edges, symbolic_edges
from kansci.surgery.symbolize import drop_splines, set_symbol, split_edge
from kansci.symbolic.suggest import RESOLUTION, Suggestion, suggest

TRIED = 6
SMALLEST = 1e-300
ROUNDING = 1e-20  # loss relative to that without the edge, below which formulas are equally good


@dataclass(frozen=True)
class Trial:
    """A function in the place of an edge, all else fitted anew.

    Attributes:
        suggestion: the function, as it fits the edge alone.
        loss: of the whole problem.
        score: n log(loss) + log(n) (unknowns + complexity), after Schwarz; lower is better.
    """

    suggestion: Suggestion
    loss: float
    score: float


@dataclass(frozen=True)
class Snap:
    """One edge that has become a formula.

    Attributes:
        edge: where it is in the new model.
        function: its name.
        trials: what was tried, best first.
        spline_loss: of the problem before.
        loss: of the problem after.
    """

    edge: Edge
    function: str
    trials: tuple[Trial, ...]
    spline_loss: float
    loss: float

    def __repr__(self) -> str:
        """The function, and the losses before and after."""
        return f"Snap({self.edge} = {self.function}, loss {self.spline_loss:.2e} -> {self.loss:.2e})"


@dataclass(frozen=True)
class Snapping:
    """What `snap` returns.

    Attributes:
        model: the new model.
        steps: one for each edge, in the order of snapping.
    """

    model: MultKAN
    steps: tuple[Snap, ...]


def snap(
    model: MultKAN,
    problem: Any,
    *,
    edges: Sequence[Edge] | None = None,
    functions: Sequence[str] | None = None,
    resolution: float = RESOLUTION,
    steps: int = 50,
) -> Snapping:
    """Replace spline edges by functions of LIBRARY, each time fitting all that remains.

    The spline part of an edge that is symbolic too becomes an edge of its own, see `split_edge`.

    Args:
        model: the network, fitted to the problem.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        edges: which, in this order; by default all that have splines.
        functions: names to choose from; by default all of LIBRARY.
        resolution: relative error to which edges are known, see `suggest`.
        steps: of each fit.

    Returns:
        The new model and what was tried on the way.

    Raises:
        ConfigError: there is no such edge, or one that is constant.

    Example:
        >>> import torch
        >>> from kansci import fit
        >>> x = torch.linspace(-1, 1, 100, dtype=torch.float64)[:, None]
        >>> data = (x, (2 * x).exp())
        >>> found = snap(fit(MultKAN([1, 1]), data, progress=False).model, data, functions=["x**2", "exp"])
        >>> found.steps[0].function
        'exp'
    """
    terms = as_terms(problem)
    left = list(spline_edges(model) if edges is None else edges)
    select_edges(model, left)
    done: list[Snap] = []
    while left:
        edge = left.pop(0)
        if symbolic_edges(model.layers[edge.layer])[edge.target, edge.source]:
            first = edge.layer
            model, edge = split_edge(model, edge)
            left = [own._replace(layer=own.layer + (own.layer >= first)) for own in left]
            done = [_moved(own, first) for own in done]
        model, step = _snap_edge(model, terms, edge, functions, resolution, steps)
        done.append(step)
    return Snapping(model, tuple(done))


def spline_edges(model: MultKAN) -> list[Edge]:
    """The edges of a model that have a spline part, those near the outputs first."""
    return [
        Edge(number, *place)
        for number, layer in reversed(list(enumerate(model.layers)))
        if layer.splines is not None
        for place in layer.splines.mask.nonzero().tolist()
    ]


def _moved(step: Snap, first: int) -> Snap:
    """The same after a further column."""
    return replace(step, edge=step.edge._replace(layer=step.edge.layer + (step.edge.layer >= first)))


def _snap_edge(
    model: MultKAN, terms: list[Residual], edge: Edge, functions: Sequence[str] | None, resolution: float, steps: int
) -> tuple[MultKAN, Snap]:
    before = problem_loss(model, terms)
    floor = ROUNDING * problem_loss(drop_splines(model, [edge]), terms)
    found = []
    for suggestion in suggest(model, all_points(terms), edge, functions=functions, resolution=resolution)[:TRIED]:
        start = set_symbol(model, edge, suggestion.function, suggestion.constants)
        for trial in (hold_constants(start, free=[edge]), start):
            fitted = solve(trial, terms, steps=steps, progress=False)
            score = schwarz(max(fitted.loss, floor), trial, terms, suggestion.complexity)
            found.append((Trial(suggestion, fitted.loss, score), with_held_as(fitted.model, start)))
    if not found:
        raise ConfigError(f"expected a function that fits {edge}, got none of {functions or 'the library'}")
    found.sort(key=lambda pair: pair[0].score)
    trials, (best, snapped) = tuple(trial for trial, _ in found), found[0]
    return snapped, Snap(edge, best.suggestion.function, trials, before, best.loss)


def schwarz(loss: float, model: MultKAN, terms: Sequence[Residual], complexity: int = 0) -> float:
    """n log(loss) + log(n) (unknowns + complexity)."""
    n = sum(term.size for term in terms)
    return n * math.log(max(loss, SMALLEST)) + math.log(n) * (len(Unknowns(model)) + complexity)
