"""Spline edges that become formulas: each is chosen by the error of the whole problem.

A function that fits an edge well need not suit the problem, and one that fits it badly may do so once all other
constants have followed. So each of the most promising functions is put in its place and all is fitted anew. What counts
is the loss then, in the light of the complexity and of the number of constants. The best few networks go on to the next
edge (a beam), as what was best for one edge need not be so for all.

References:
    Schwarz, Estimating the dimension of a model, Annals of Statistics 6 (1978) 461.
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1 (fixing one edge after another).
"""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.functions import library_function
from kansci.nn.multkan import MultKAN
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import all_points, as_terms, problem_loss
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.fold import fold_affine, standardize_nodes
from kansci.surgery.hold import hold_constants, with_held_as
from kansci.surgery.selection import select_edges, symbolic_edges
from kansci.surgery.symbolize import set_symbol, split_edge
from kansci.symbolic.needless import functions_of, without_needless
from kansci.symbolic.simpler import simpler_networks
from kansci.symbolic.suggest import LARGE, RESOLUTION, Suggestion, edge_curve, suggestions
from kansci.tracing import trace

TRIED = 6  # functions that fit an edge best
SIMPLE = 2  # complexity of functions that are tried on each edge of spline networks, however they fit
MISFIT = 10.0  # largest misfit of a function in units of its root mean square
FIRST_STEPS = 8  # of the first fit of each
SMALLEST = 1e-300
ROUNDING = 1e-20  # loss relative to that without the edge, below which formulas are equally good
FLOOR = 100.0  # loss relative to that with splines, up to which simpler functions go on
HOPELESS = 1e3  # loss relative to the best one, from which on networks are given up
SAME = 1e-4  # relative difference of losses of which one formula is another way to write the other


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
        function: its name, "zero" where the edge is not needed.
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
class Found:
    """A network of a front: none that is as simple has a smaller loss.

    Attributes:
        complexity: sum of those of the functions of its edges.
        loss: of the problem.
        model: the network.
    """

    complexity: int
    loss: float
    model: MultKAN = field(repr=False)


@dataclass(frozen=True)
class Snapping:
    """What `snap` returns.

    Attributes:
        model: the new model.
        steps: one for each edge, in the order of snapping.
        front: of all networks that have no splines left, those than which none is simpler and better, the simplest
            first. Those with other functions on the last edge are among them, and those that say less than the best.
        finalists: the networks that came to the end of the beam, best first, which other data may judge.
    """

    model: MultKAN
    steps: tuple[Snap, ...]
    front: tuple[Found, ...] = field(default=(), repr=False)
    finalists: tuple[Found, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class _State:
    """A network some of whose edges are snapped."""

    model: MultKAN
    loss: float
    steps: tuple[Snap, ...] = ()


def snap(
    model: MultKAN,
    problem: Any,
    *,
    edges: Sequence[Edge] | None = None,
    functions: Sequence[str] | None = None,
    resolution: float = RESOLUTION,
    steps: int = 50,
    beam: int = 4,
) -> Snapping:
    """Replace spline edges by functions of LIBRARY, each time fitting all that remains.

    The spline part of an edge that is symbolic too becomes an edge of its own, see `split_edge`. Edges that the problem
    does not need become zero. Affine maps of nodes become part of the edges, see `fold_affine`.

    Args:
        model: the network, fitted to the problem.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        edges: which, in this order; by default all that have splines.
        functions: names to choose from; by default all of LIBRARY.
        resolution: relative error to which edges are known, see `suggest`.
        steps: of each fit.
        beam: networks that go on from each edge to the next.

    Returns:
        The new model and what was tried on the way.

    Raises:
        ConfigError: there is no such edge, or nothing to choose from.

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
    mixed = any(bool(symbolic_edges(layer).any()) for layer in model.layers)
    model, left = _split(model if mixed else standardize_nodes(model, all_points(terms)), left)
    search = _Search(
        terms, functions, resolution, steps, _has_free_constants(model), FLOOR * problem_loss(model, terms)
    )
    states = [_State(model, problem_loss(model, terms))]
    tried: list[_State] = []
    while left:
        known = None if search.knows else search.at_once(states[0], left)
        if known is not None:
            states, left = [known], []
        else:
            states, tried = search.advance(states, left.pop(0), beam)
    others: Iterable[MultKAN] = []
    if not search.knows and not spline_edges(states[0].model):
        states = [search.reduced(states[0]), *states[1:]]
        others = simpler_networks(states[0].model, terms, steps=FIRST_STEPS)
    visited = [*states, *tried, *(_State(own, problem_loss(own, terms)) for own in others)]
    finalists = tuple(Found(complexity(own.model), own.loss, fold_affine(own.model)) for own in states)
    return Snapping(finalists[0].model, states[0].steps, _front(visited), finalists)


def spline_edges(model: MultKAN) -> list[Edge]:
    """The edges of a model that have a spline part, those near the outputs first."""
    return [
        Edge(number, *place)
        for number, layer in reversed(list(enumerate(model.layers)))
        if layer.splines is not None
        for place in layer.splines.mask.nonzero().tolist()
    ]


@torch.no_grad()
def _flattened(model: MultKAN, edge: Edge, share: float, mean: float) -> MultKAN:
    """The network with a spline edge that varies less about its mean; splines sum to 1."""
    changed = copy.deepcopy(model)
    splines = changed.layers[edge.layer].splines
    if splines is not None:
        place = edge.target, edge.source
        splines.coef[place] = share * splines.coef[place] + (1 - share) * mean
        splines.scale_base[place] *= share
    return changed


def _has_free_constants(model: MultKAN) -> bool:
    return any(
        layer.symbols is not None and bool((layer.symbols.fixed[symbolic_edges(layer)] == 0).any())
        for layer in model.layers
    )


def _split(model: MultKAN, edges: list[Edge]) -> tuple[MultKAN, list[Edge]]:
    """Edges that have both parts are two, and so have other places."""
    found: list[Edge] = []
    while edges:
        edge = edges.pop(0)
        if symbolic_edges(model.layers[edge.layer])[edge.target, edge.source]:
            first = edge.layer
            model, edge = split_edge(model, edge)
            edges, found = ([_moved(own, first) for own in part] for part in (edges, found))
        found.append(edge)
    return model, found


def _moved(edge: Edge, first: int) -> Edge:
    """The place after a further column."""
    return edge._replace(layer=edge.layer + (edge.layer >= first))


@dataclass(frozen=True)
class _Search:
    """What all trials have in common.

    Attributes:
        knows: whether the model came with formulas whose constants are free, and may be held.
        floor: the loss up to which a simpler function may be better, as splines have their errors, too.
    """

    terms: list[Residual]
    functions: Sequence[str] | None
    resolution: float
    steps: int
    knows: bool
    floor: float

    def score(self, loss: float, model: MultKAN, floor: float) -> float:
        """After Schwarz, where all losses below the floor are equal."""
        price = complexity(model) + strain(model, all_points(self.terms))
        return schwarz(max(loss, floor), model, self.terms, price)

    def at_once(self, state: _State, edges: Sequence[Edge]) -> _State | None:
        """All edges that are left as what suits each of them best, if this is exact, as with good splines."""
        model, chosen = state.model, [self.choices(state.model, edge)[0] for edge in edges]
        for edge, own in zip(edges, chosen, strict=True):
            model = set_symbol(model, edge, own.function, own.constants)
        fitted = solve(model, self.terms, steps=self.steps, progress=False)
        if not all(fitted.loss <= ROUNDING * self.stake(state.model, edge) for edge in edges):
            return None
        score = self.score(fitted.loss, fitted.model, 0.0)
        steps = (
            Snap(edge, own.function, (Trial(own, fitted.loss, score),), state.loss, fitted.loss)
            for edge, own in zip(edges, chosen, strict=True)
        )
        return _State(fitted.model, fitted.loss, (*state.steps, *steps))

    def advance(self, states: list[_State], edge: Edge, beam: int) -> tuple[list[_State], list[_State]]:
        """The networks with one more edge snapped that are best, and those that promise most; and all of them."""
        rounding = ROUNDING * self.stake(states[0].model, edge)
        found: list[_State] = []
        for state in states:
            if complexity(state.model) < self.simplest_exact(found, rounding):
                found += self.children(state, edge, rounding)
        if not found:
            raise ConfigError(f"expected a function that fits {edge}, got none of {self.functions or 'the library'}")
        best = self.ranked(found, rounding)[: beam // 2]
        simple = [own for own in self.promising(found, edge, rounding) if own not in best]
        chosen = [self.refined(state) for state in [*best, *simple][:beam]]
        hopeful, simplest = (
            max(HOPELESS * min(own.loss for own in chosen), self.floor),
            self.simplest_exact(chosen, rounding),
        )
        kept = [
            own for own in chosen if own.loss <= rounding or (own.loss <= hopeful and complexity(own.model) < simplest)
        ]
        return self.ranked(kept, rounding), found

    def simplest_exact(self, states: Sequence[_State], rounding: float) -> int | float:
        """The least complexity of networks that leave nothing: what is neither simpler nor as good is not needed."""
        return min((complexity(own.model) for own in states if own.loss <= rounding), default=math.inf)

    def stake(self, model: MultKAN, edge: Edge) -> float:
        """The loss with an edge's mean in its place, or, where that is not finite, with a part of what it varies."""
        mean = float(edge_curve(model, all_points(self.terms), edge).values.mean())
        for share in (0.0, 0.5, 0.9):
            loss = problem_loss(_flattened(model, edge, share, mean), self.terms)
            if math.isfinite(loss):
                return loss
        return 0.0

    def promising(self, states: Sequence[_State], edge: Edge, rounding: float) -> list[_State]:
        """Those that are no worse than splines: the simplest first, and those that leave simple curves.

        Functions of functions can be written in many ways, each with its own curves on the edges before. So a function
        is as good as the curves that it leaves there.
        """
        floor = max(self.floor, rounding)
        good = [own for own in states if own.loss <= floor]
        keys = {id(own): self.score(own.loss, own.model, floor) + self.price(own.model, edge) for own in good}
        return sorted(good, key=lambda own: keys[id(own)])

    def price(self, model: MultKAN, edge: Edge) -> float:
        """What it will take to say the curve before an edge that varies most, in units of the score."""
        if not edge.layer:
            return 0.0
        layer, points = model.layers[edge.layer - 1], all_points(self.terms)
        if layer.splines is None:
            return 0.0
        targets = layer.config.out.subnodes(edge.source)
        before = [
            Edge(edge.layer - 1, target, int(source))
            for target in targets
            for source in layer.splines.mask[target].nonzero()[:, 0]
        ]
        curves = [own for own in (edge_curve(model, points, own) for own in before) if own.varies]
        if not curves:
            return 0.0
        curve = max(curves, key=lambda own: float(own.values.std()))
        return (
            math.log(sum(term.size for term in self.terms))
            * suggestions(curve, functions=self.functions, resolution=self.resolution, polish=False)[0].score
        )

    def ranked(self, states: Sequence[_State], floor: float) -> list[_State]:
        """The best first, without those that are others written in another way, as their losses say."""
        kept: list[_State] = []
        for state in sorted(states, key=lambda own: self.score(own.loss, own.model, floor)):
            if all(abs(state.loss - other.loss) > SAME * max(state.loss, floor) for other in kept):
                kept.append(state)
        return kept

    def children(self, state: _State, edge: Edge, floor: float) -> list[_State]:
        """A network with an edge snapped in all ways that are worth trying."""
        found: list[tuple[Trial, MultKAN]] = []
        for suggestion in self.choices(state.model, edge):
            start = self.placed(state.model, edge, suggestion)
            for trial in (hold_constants(start, free=[edge]), start) if self.knows else (start,):
                fitted = solve(trial, self.terms, steps=FIRST_STEPS, progress=False)
                if math.isfinite(fitted.loss):  # it may be undefined together with others
                    own = Trial(suggestion, fitted.loss, self.score(fitted.loss, trial, floor))
                    found.append((own, with_held_as(fitted.model, start)))
            if found and found[-1][0].loss <= floor:  # those that follow are less simple or fit less well
                break
        trials = tuple(sorted((own for own, _ in found), key=lambda own: own.score))
        return [
            _State(model, own.loss, (*state.steps, Snap(edge, own.suggestion.function, trials, state.loss, own.loss)))
            for own, model in found
        ]

    def placed(self, model: MultKAN, edge: Edge, suggestion: Suggestion) -> MultKAN:
        """The network with a function in the place of an edge, moved as far as it errs if what follows needs that."""
        starts = []
        a, b, c, d = suggestion.constants
        reach = MISFIT * suggestion.error * float(edge_curve(model, all_points(self.terms), edge).values.std())
        for shift in (0.0, reach, -reach):
            starts.append(set_symbol(model, edge, suggestion.function, (a, b, c, d + shift)))
            if math.isfinite(problem_loss(starts[-1], self.terms)):
                return starts[-1]
        return starts[0]

    def choices(self, model: MultKAN, edge: Edge) -> list[Suggestion]:
        """The functions that fit an edge best, and none at all."""
        points = all_points(self.terms)
        curve = edge_curve(model, points, edge)
        none = Suggestion("zero", (1.0, 0.0, 1.0, float(curve.values.mean())), 1.0, 0, 0.0)
        if not curve.varies:
            return [none]
        found = suggestions(curve, functions=self.functions, resolution=self.resolution)
        simple = [] if self.knows else [own for own in found[TRIED:] if own.complexity <= SIMPLE]
        return [*found[:TRIED], *simple, none]

    def refined(self, state: _State) -> _State:
        """Fitted to the end."""
        fitted = solve(state.model, self.terms, steps=self.steps, progress=False)
        steps = (*state.steps[:-1], replace(state.steps[-1], loss=fitted.loss))
        return _State(fitted.model, fitted.loss, steps)

    def reduced(self, state: _State) -> _State:
        """Without functions that are not needed once all is said."""

        def score(model: MultKAN, stake: float) -> float:
            return self.score(problem_loss(model, self.terms), model, ROUNDING * stake)

        hopeful = max(HOPELESS * state.loss, self.floor)
        model = without_needless(state.model, self.terms, score, hopeful=hopeful, steps=self.steps)
        left, loss = functions_of(model), problem_loss(model, self.terms)
        steps = (own if own.edge in left else replace(own, function="zero", loss=loss) for own in state.steps)
        return _State(model, loss, tuple(steps))


def _front(states: Sequence[_State]) -> tuple[Found, ...]:
    found: list[Found] = []
    for state in sorted(states, key=lambda own: (complexity(own.model), own.loss)):
        if not found or state.loss < found[-1].loss:
            found.append(Found(complexity(state.model), state.loss, fold_affine(state.model)))
    return tuple(found)


def complexity(model: MultKAN) -> int:
    """The sum of the complexities of the functions of symbolic edges."""
    return sum(
        library_function(layer.config.symbols[target][source]).complexity
        for layer in model.layers
        for target, source in symbolic_edges(layer).nonzero().tolist()
    )


@torch.no_grad()
def strain(model: MultKAN, x: Float[Tensor, "n d"]) -> float:
    """What it costs that symbolic edges are small differences of large numbers, in units of complexity."""
    values = trace(model, x).edges
    total = 0.0
    for layer, own in zip(model.layers, values, strict=True):
        if layer.symbols is not None:
            size = (own - layer.symbols.affine[..., 3]).abs().amax(0) / own.std(0)
            size = size[symbolic_edges(layer)]
            total += float((size[size.isfinite()] / LARGE).clamp(min=1).log2().sum())
    return total


def schwarz(loss: float, model: MultKAN, terms: Sequence[Residual], complexity: float = 0.0) -> float:
    """n log(loss) + log(n) (unknowns + complexity)."""
    n = sum(term.size for term in terms)
    return n * math.log(max(loss, SMALLEST)) + math.log(n) * (len(Unknowns(model)) + complexity)
