"""Tests of single edges and constants: is this edge a parabola, is this term zero, is this constant one?

Each is a likelihood-ratio test of nested networks, see `kansci.symbolic.hypotheses`: the smaller one is fitted with the
edge or the constant as supposed, the larger one lets it be another curve or number.
"""

import copy
from typing import Any, cast

import torch
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.functions import library_function
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import all_points, as_terms, reach_of
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.perturb import perturb
from kansci.surgery.selection import select_edges, symbolic_edges
from kansci.surgery.symbolize import drop_splines, set_symbol
from kansci.symbolic.hypotheses import Comparison, compare_models
from kansci.symbolic.suggest import edge_curve, suggestions


def edge_hypothesis(
    model: MultKAN,
    problem: Any,
    edge: Edge,
    function: str = "zero",
    *,
    noise: float | Tensor | None = None,
    grid: int = 1,
    k: int = 3,
    steps: int = 50,
) -> Comparison:
    """Is an edge a function of LIBRARY, or is it another curve? With "zero": does a term contribute at all?

    All constants of the function are fitted, and so is all else in the network. The other curve is the function and a
    spline. The p-value is uniform if the hypothesis is true, exactly in networks that are linear in their unknowns.

    Args:
        model: the network, with a spline or a symbolic function on the edge.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        edge: which.
        function: what it is supposed to be, a name of LIBRARY.
        noise: standard deviation of data, where it is known.
        grid: intervals of the spline; few have the most power against smooth alternatives.
        k: its degree.
        steps: of each fit.

    Returns:
        The test; `refuted` if the edge is something else.

    Raises:
        ConfigError: there is no such edge, or it cannot be that function.
        UnknownFunctionError: there is no such function.

    Example:
        >>> from kansci import kanpile
        >>> x = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
        >>> noise = 0.01 * torch.randn(200, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        >>> data = (x, x.square() + noise)
        >>> [edge_hypothesis(kanpile("cosh(x)", ["x"]), data, Edge(0, 0, 0), f).refuted for f in ("x**2", "x", "zero")]
        [False, True, True]
    """
    terms = as_terms(problem, noise)
    select_edges(model, [edge])
    null = _fitted(_supposed(model, terms, edge, library_function(function).name), terms, steps)
    layered = null.layers[0].splines is None
    return compare_models(
        null,
        perturb(null, edges=[edge], grid=grid, k=k, domain=reach_of(terms).tolist() if layered else None),
        terms,
    )


def constant_hypothesis(
    model: MultKAN,
    problem: Any,
    edge: Edge,
    letter: str,
    value: float = 0.0,
    *,
    noise: float | Tensor | None = None,
    steps: int = 50,
) -> Comparison:
    """Has a constant of c f(a x + b) + d this value?

    All other unknowns are fitted. Where c is supposed to be 0, a and b of the same edge have no meaning and are taken
    as known.

    Args:
        model: fitted to the problem.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        edge: a symbolic one.
        letter: "a", "b", "c" or "d".
        value: what the constant is supposed to be.
        noise: standard deviation of data, where it is known.
        steps: of each fit.

    Returns:
        The test, of one unknown; `refuted` if the constant has another value.

    Raises:
        ConfigError: there is no such edge, it is not symbolic, or the data do not determine this constant.

    Example:
        >>> from kansci import kanpile
        >>> x = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
        >>> noise = 0.1 * torch.randn(200, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        >>> data = (x, 2 * x.sin() + noise)
        >>> model = kanpile("2.1*sin(x)", ["x"])
        >>> [constant_hypothesis(model, data, Edge(0, 0, 0), "c", value).refuted for value in (2.0, 0.0)]
        [False, True]
    """
    terms = as_terms(problem, noise)
    select_edges(model, [edge])
    if letter not in "abcd" or len(letter) != 1:
        raise ConfigError(f"expected a constant a, b, c or d, got {letter!r}")
    if not symbolic_edges(model.layers[edge.layer])[edge.target, edge.source]:
        raise ConfigError(f"expected a symbolic edge, got {edge}, which is none; snap it, or use edge_hypothesis")
    held = "abc" if letter == "c" and value == 0 else letter
    null = _fitted(_with_constant(model, edge, letter, value, held), terms, steps)
    return compare_models(null, _with_constant(null, edge, letter, value, held.replace(letter, "")), terms)


def _supposed(model: MultKAN, terms: list[Residual], edge: Edge, function: str) -> MultKAN:
    """The network with a function in the place of an edge."""
    if function == "zero":
        return set_symbol(drop_splines(model, [edge]), edge, "zero")
    curve = edge_curve(model, all_points(terms), edge)
    found = suggestions(curve, functions=[function]) if curve.varies else []
    if not found:
        raise ConfigError(f"expected {edge} to be {function}, which is not defined there; try another function")
    return set_symbol(drop_splines(model, [edge]), edge, function, found[0].constants)


def _fitted(model: MultKAN, terms: list[Residual], steps: int) -> MultKAN:
    return solve(model, terms, steps=steps, progress=False).model if len(Unknowns(model)) else model


@torch.no_grad()
def _with_constant(model: MultKAN, edge: Edge, letter: str, value: float, held: str) -> MultKAN:
    """The network with another constant, where those of an edge that are named are held, and no others of it."""
    changed = copy.deepcopy(model)
    symbols = cast(SymbolicEdges, changed.layers[edge.layer].symbols)
    symbols.affine[edge.target, edge.source, "abcd".index(letter)] = value
    for number, own in enumerate("abcd"):
        symbols.fixed[edge.target, edge.source, number] = own in held
    return changed
