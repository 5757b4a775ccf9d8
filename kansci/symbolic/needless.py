"""Functions that a formula does not need, because the others can do all that it says.

The square of one combination of variables beside those of two others may say nothing that two could not. An edge is
taken away little by little while all other constants follow, as what comes after it need not be defined without it
before they have.
"""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kansci.config import Edge
from kansci.nn.multkan import MultKAN
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import all_points, problem_loss
from kansci.surgery.hold import with_held_as
from kansci.surgery.selection import symbolic_edges
from kansci.surgery.symbolize import set_symbol
from kansci.symbolic.suggest import edge_curve

SHARES = (0.75, 0.5, 0.25)  # of an edge, that are left on the way
FIRST_STEPS = 8  # of the fit with each of them


def functions_of(model: MultKAN) -> list[Edge]:
    """The symbolic edges that are functions, not constants."""
    return [
        Edge(number, target, source)
        for number, layer in enumerate(model.layers)
        for target, source in symbolic_edges(layer).nonzero().tolist()
        if layer.config.symbols[target][source] != "zero"
    ]


def without_needless(
    model: MultKAN,
    terms: Sequence[Residual],
    score: Callable[[MultKAN, float], float],
    *,
    hopeful: float,
    steps: int,
) -> MultKAN:
    """The network without functions in whose absence it has a lower score, those near the outputs tried first.

    Args:
        model: a network of symbolic edges, fitted to the problem.
        terms: the problem.
        score: of a fitted network, given the loss that it would have if an edge were left out and nothing else changed.
        hopeful: largest loss on the way with which an edge is taken away any further.
        steps: of the last fit of each.

    Returns:
        A network with as many edges, some of which are zero.

    Example:
        >>> from kansci import kanpile
        >>> from kansci.solvers.statement import as_terms
        >>> x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> model = kanpile("exp(x) + exp(x + 1)", ["x"])
        >>> terms = as_terms((x, model(x).detach()))
        >>> count = lambda own, _: len(functions_of(own)) + math.log(1e-12 + problem_loss(own, terms))
        >>> fewer = without_needless(model, terms, count, hopeful=1e-3, steps=20)
        >>> len(functions_of(model)), len(functions_of(fewer))
        (4, 2)
    """
    refused: set[Edge] = set()
    while edges := [own for own in reversed(_shared(model)) if own not in refused]:
        edge = edges[0]
        refused.add(edge)
        without, stake = _without(model, terms, edge, hopeful, steps)
        if without is not None and score(without, stake) < score(model, stake):
            model, refused = without, set()
    return model


def _shared(model: MultKAN) -> list[Edge]:
    """Edges without which what they lead to is not constant, or which are factors; the others go with that."""
    functions = functions_of(model)
    return [
        own
        for own in functions
        if own.target >= model.config.columns[own.layer + 1].n_sum
        or sum(other[:2] == own[:2] for other in functions) > 1
    ]


def _without(
    model: MultKAN, terms: Sequence[Residual], edge: Edge, hopeful: float, steps: int
) -> tuple[MultKAN | None, float]:
    """The network without an edge, fitted anew, if there is hope; and the loss with its mean in its place."""
    points = all_points(list(terms))
    stake = problem_loss(_zeroed(model, points, edge), terms)
    shrunk, full = model, _factor(model, edge)
    for share in SHARES:
        fitted = solve(_held(shrunk, points, edge, share * full), terms, steps=FIRST_STEPS, progress=False)
        if not fitted.loss <= hopeful:
            return None, 0.0
        shrunk = with_held_as(fitted.model, model)
    fitted = solve(_zeroed(shrunk, points, edge), terms, steps=steps, progress=False)
    return (fitted.model, stake if math.isfinite(stake) else 0.0) if math.isfinite(fitted.loss) else (None, 0.0)


def _factor(model: MultKAN, edge: Edge) -> float:
    symbols = model.layers[edge.layer].symbols
    return 0.0 if symbols is None else symbols.affine[edge.target, edge.source, 2].item()


@torch.no_grad()
def _held(model: MultKAN, points: Tensor, edge: Edge, factor: float) -> MultKAN:
    """The network where an edge is another multiple of its function and keeps its mean, and this factor is held."""
    before = edge_curve(model, points, edge).values.mean()
    changed = copy.deepcopy(model)
    symbols = changed.layers[edge.layer].symbols
    if symbols is not None:
        place = edge.target, edge.source
        symbols.affine[(*place, 2)] = factor
        symbols.affine[(*place, 3)] += before - edge_curve(changed, points, edge).values.mean()
        symbols.fixed[(*place, 2)] = 1
    return changed


def _zeroed(model: MultKAN, points: Tensor, edge: Edge) -> MultKAN:
    """The network with the mean of an edge in its place, and nothing in those that only led to it."""
    changed = set_symbol(model, edge, "zero", (1.0, 0.0, 1.0, float(edge_curve(model, points, edge).values.mean())))
    if edge.layer:
        before, columns = edge.layer - 1, model.config.columns
        leads_on = any(own.layer == edge.layer and own.source == edge.source for own in functions_of(changed))
        for own in functions_of(changed):
            if own.layer == before and own.target in columns[edge.layer].subnodes(edge.source) and not leads_on:
                changed = _zeroed(changed, points, own)
    return changed
