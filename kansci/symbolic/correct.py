"""Formulas that data refute, corrected: where they fail, by which function, and with which constants.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, section 3.2 (compile a formula, then let it learn).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import as_terms, reach_of
from kansci.surgery.carry import carried_nodes, carry_inputs, carrying_edges, drop_idle
from kansci.surgery.hold import hold_constants, with_held_as
from kansci.surgery.perturb import perturb
from kansci.surgery.selection import select_edges, symbolic_edges
from kansci.symbolic.hypotheses import LEVEL, Comparison, compare_models
from kansci.symbolic.snap import Snap, schwarz, snap
from kansci.symbolic.suggest import RESOLUTION


@dataclass(frozen=True)
class Evidence:
    """What one edge could explain if it were free to be any curve.

    Attributes:
        edge: which.
        comparison: the test of the model as it is against one where this edge has a spline part.
    """

    edge: Edge
    comparison: Comparison

    def __repr__(self) -> str:
        """The edge, how much it explains, and the p-value."""
        own = self.comparison
        return f"Evidence({self.edge} explains {own.explained:.1%}, p = {own.p_value:.2g})"


@dataclass(frozen=True)
class Correction:
    """What `correct` returns.

    Attributes:
        model: the corrected network; `formula` reads it.
        before: the test of the formula as it came.
        after: the test of the corrected one.
        evidence: for each correction, what every edge could have explained, best first.
        steps: for each correction, the function that was found.
    """

    model: MultKAN
    before: Comparison
    after: Comparison
    evidence: tuple[tuple[Evidence, ...], ...]
    steps: tuple[Snap, ...]


def edge_evidence(
    model: MultKAN,
    problem: Any,
    *,
    edges: Sequence[Edge] | None = None,
    noise: float | Tensor | None = None,
    grid: int = 5,
    k: int = 3,
) -> list[Evidence]:
    """Which edges of a formula the data want to change: one likelihood-ratio test for each, most explained first.

    Args:
        model: a compiled formula.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        edges: which; by default all symbolic edges, and missing ones from inputs to outputs, see `carry_inputs`.
        noise: standard deviation of data, where it is known.
        grid: intervals of the spline parts.
        k: their degree.

    Returns:
        One record for each edge whose change the data would show.

    Raises:
        ConfigError: there is no such edge.

    Example:
        >>> import torch
        >>> from kansci import kanpile
        >>> x = torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> y = x[:, :1] + x[:, 1:].exp() + 0.3 * (5 * x[:, :1]).sin()
        >>> edge_evidence(kanpile("x + exp(y)", ["x", "y"]), (x, y))[0].edge
        Edge(layer=0, target=0, source=0)
    """
    terms = as_terms(problem, noise)
    domain = reach_of(terms)
    found = []
    for edge in _listed(model, edges):
        try:
            larger = perturb(model, edges=[edge], grid=grid, k=k, domain=_for(model, domain))
            found.append(Evidence(edge, compare_models(model, larger, terms)))
        except ConfigError:  # nothing that the data would show
            continue
    return sorted(found, key=lambda own: -own.comparison.explained)


def refute(
    prior: MultKAN,
    problem: Any,
    *,
    edges: Sequence[Edge] | None = None,
    noise: float | Tensor | None = None,
    grids: Sequence[int] = (1, 5),
    k: int = 3,
) -> Comparison:
    """Whether data refute a formula, in favor of one whose edges are other curves.

    The formula is compared with networks whose edges have spline parts, coarse ones that see smooth changes best and
    finer ones for the rest. The least p-value counts, times the number of comparisons (Bonferroni).

    Args:
        prior: a compiled formula; its free constants are fitted, those that are held are part of what is asked.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        edges: what may be another curve; by default all symbolic edges, and missing ones from inputs to outputs.
        noise: standard deviation of data, where it is known.
        grids: intervals of the spline parts of each comparison.
        k: their degree.

    Returns:
        The comparison with the least p-value.

    Raises:
        ConfigError: no edge whose change the data would show.

    Example:
        >>> import torch
        >>> from kansci import kanpile
        >>> x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> noise = 0.1 * torch.randn(101, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> refute(kanpile("2*x", ["x"]), (x, 2 * x + noise)).refuted
        False
        >>> refute(kanpile("2*x", ["x"]), (x, 2 * x + 0.5 * x**2 + noise)).refuted
        True
    """
    terms = as_terms(problem, noise)
    chosen, domain = _listed(prior, edges), _for(prior, reach_of(terms))
    found = [
        compare_models(prior, perturb(prior, edges=chosen, grid=grid, k=k, domain=domain), terms) for grid in grids
    ]
    best = min(found, key=lambda own: own.p_value)
    return replace(best, p_value=min(1.0, len(found) * best.p_value))


def correct(
    prior: MultKAN,
    problem: Any,
    *,
    edges: Sequence[Edge] | None = None,
    functions: Sequence[str] | None = None,
    noise: float | Tensor | None = None,
    grid: int = 5,
    k: int = 3,
    resolution: float = RESOLUTION,
    steps: int = 50,
    most: int = 3,
) -> Correction:
    """Ask data whether they refute a formula, and as long as they do, correct the edge that explains most.

    That edge gets a spline part, everything is fitted, and the spline part becomes the function that suits the whole
    problem best, all constants fitted anew.

    Args:
        prior: a compiled formula, with its constants as far as they are known.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        edges: the only ones that may be corrected, once; by default all, and functions of one input may be added to
            the outputs.
        functions: names to choose from; by default all of LIBRARY.
        noise: standard deviation of data, where it is known.
        grid: intervals of the spline parts.
        k: their degree.
        resolution: relative error to which spline parts can be known, see `suggest`.
        steps: of each fit.
        most: largest number of corrections.

    Returns:
        The correction; its model is the prior where that is not refuted.

    Raises:
        ConfigError: no edge whose change the data would show.

    Example:
        >>> import torch
        >>> from kansci import formula, kanpile
        >>> x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> data = (x, 2 * x + 0.5 * x**2)
        >>> correct(kanpile("2*x", ["x"]), data, functions=["x**2", "exp"]).steps[0].function
        'x**2'
    """
    terms = as_terms(problem, noise)
    model = prior if edges is not None else carry_inputs(prior)
    grids = sorted({1, grid})
    before = after = refute(model, terms, edges=edges, grids=grids, k=k)
    evidence: list[tuple[Evidence, ...]] = []
    done: list[Snap] = []
    while after.p_value < LEVEL and len(done) < most:
        evidence.append(tuple(edge_evidence(model, terms, edges=edges, grid=grid, k=k)))
        edge = evidence[-1][0].edge
        larger = perturb(model, edges=[edge], grid=grid, k=k, domain=_for(model, reach_of(terms)))
        fitted = _fitted(larger, terms, steps)
        snapping = snap(fitted, terms, edges=[edge], functions=functions, resolution=resolution, steps=steps)
        model = snapping.model
        done += snapping.steps
        edges = None
        after = refute(model, terms, grids=grids, k=k)
    return Correction(drop_idle(model), before, after, tuple(evidence), tuple(done))


def _fitted(model: MultKAN, terms: list[Residual], steps: int) -> MultKAN:
    """Fitted with its constants held or free, whichever data justify."""
    fits = [(own, solve(own, terms, steps=steps, progress=False)) for own in (hold_constants(model), model)]
    return with_held_as(min(fits, key=lambda pair: schwarz(pair[1].loss, pair[0], terms))[1].model, model)


def _for(model: MultKAN, domain: Tensor) -> list[list[float]] | None:
    """The domain, unless the model has one."""
    return domain.tolist() if model.layers[0].splines is None else None


def _listed(model: MultKAN, edges: Sequence[Edge] | None) -> list[Edge]:
    """The edges named, or all symbolic ones but those that only carry, and those that inputs could have to outputs."""
    if edges is not None:
        select_edges(model, edges)
        return list(edges)
    chosen = [symbolic_edges(layer) & ~own for layer, own in zip(model.layers, carrying_edges(model), strict=True)]
    last = model.layers[-1]
    chosen[-1] |= ~symbolic_edges(last) & carried_nodes(model)
    return [Edge(number, *place) for number, own in enumerate(chosen) for place in own.nonzero().tolist()]
