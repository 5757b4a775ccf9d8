"""Formulas that say less and less: the simple end of a front of complexity and error."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from kansci.config import Edge
from kansci.functions import library_function
from kansci.nn.multkan import MultKAN
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import all_points, problem_loss
from kansci.surgery.symbolize import set_symbol
from kansci.symbolic.needless import functions_of
from kansci.symbolic.suggest import edge_curve, suggestions


def simpler_networks(model: MultKAN, terms: Sequence[Residual], *, steps: int) -> Iterator[MultKAN]:
    """Networks each of which has one function less, the one that matters least: it becomes a straight line or nothing.

    All constants are fitted anew each time.

    Args:
        model: a network of symbolic edges, fitted to the problem.
        terms: the problem.
        steps: of each fit.

    Example:
        >>> import torch
        >>> from kansci import kanpile
        >>> from kansci.solvers.statement import as_terms
        >>> x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> found = simpler_networks(kanpile("exp(x)", ["x"]), as_terms((x, x.exp())), steps=5)
        >>> [own.layers[0].config.symbols[0][0] for own in found]
        ['x', 'zero']
    """
    points = all_points(list(terms))
    while choices := [own for edge in functions_of(model) for own in _simpler(model, points, edge)]:
        model = min(choices, key=lambda own: problem_loss(own, terms))
        model = solve(model, terms, steps=steps, progress=False).model
        yield model


def _simpler(model: MultKAN, points: Tensor, edge: Edge) -> Iterator[MultKAN]:
    """The network where a function is a constant, or a straight line if that is simpler."""
    curve = edge_curve(model, points, edge)
    yield set_symbol(model, edge, "zero", (1.0, 0.0, 1.0, float(curve.values.mean())))
    name = model.layers[edge.layer].config.symbols[edge.target][edge.source]
    if library_function(name).complexity > library_function("x").complexity and curve.varies:
        for line in suggestions(curve, functions=["x"]):
            yield set_symbol(model, edge, "x", line.constants)
