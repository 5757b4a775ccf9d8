"""The smallest network that explains data as well as a large one, and that can be read.

Penalties of several weights each leave another network. Each is pruned and fitted again without a penalty, and held-out
data say how good it is: the error of a small network that is right is that of the noise or of its splines, and then
functions of LIBRARY in the places of its edges do at least as well. Of networks that are as good as each other, one is
preferred that can be read like this.

References:
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1 (sparsification, pruning).
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from kansci.analysis.attribution import attribution_scores
from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.solvers.data import Dataset
from kansci.solvers.fit import fit
from kansci.solvers.penalty import Penalty
from kansci.surgery.prune import cut_edges, prune
from kansci.surgery.selection import list_edges, present_edges
from kansci.symbolic.legibility import read_network
from kansci.symbolic.restarts import filled, grid_of, random_like, starts_of
from kansci.tracing import trace

WEIGHTS = (1e-2, 3e-3, 1e-3, 3e-4)
ENTROPY = 2.0  # weight of the entropy in units of that of the magnitudes
GROWTH = (1, 2, 4, 8)  # of the grid, until splines are fine enough
REFINEMENT = (1, 2, 4)  # of the grid of small networks
COARSER, COARSEST = 3, 3  # networks that begin on coarser splines, for each start, and the intervals that these have
LOST = 0.1  # relative error above which a network has not found its way
RESOLVED = 1e-3  # relative error below which nothing is left to find
EXACT = 1e-9  # relative error of formulas with which finer splines are of no use
FINE = 2e-3  # relative error below which splines are fine enough
NEAR = 1.3  # errors that differ by this factor are equally good where splines are chosen
WORSE = 1.5  # factor by which errors grow where splines are too fine for the data
LEGIBLE = 3.0  # misfit of edges in units of the error of the network
ROUNDING = 1e-5  # misfit that does not count
CHANCE = 3.0  # standard deviations of the held-out error by which networks may differ
DENSE_STEPS, RETRAINING = 30, 60
TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class Sparse:
    """A network that a penalty has left, fitted again without it.

    Attributes:
        weight: of the penalty.
        edges: how many it has.
        error: root mean square on held-out data, relative to the standard deviation of the targets.
        misfit: largest error of a function of LIBRARY in the place of an edge, relative to the edge.
        formula_error: that of the network of the functions of LIBRARY that suit its edges best, all constants fitted.
        model: the network.
    """

    weight: float
    edges: int
    error: float
    misfit: float
    formula_error: float
    model: MultKAN = field(repr=False)

    @property
    def is_legible(self) -> bool:
        """Whether all edges look like functions of LIBRARY, as far as they are known, or such functions do as well."""
        return self.formula_error <= self.error or self.misfit <= max(ROUNDING, LEGIBLE * self.error)

    @property
    def least_error(self) -> float:
        """That of its splines or of its formula: splines have errors of their own."""
        return min(self.error, self.formula_error)


@dataclass(frozen=True)
class Sparsification:
    """What `sparsify` returns.

    Attributes:
        model: of the networks that are as good as any, and legible if any is, the one with the fewest edges.
        grid: its intervals.
        dense_error: held-out error of the network without a penalty.
        trials: all networks tried.
    """

    model: MultKAN
    grid: int
    dense_error: float
    trials: tuple[Sparse, ...]


def sparsify(
    model: MultKAN,
    data: Dataset | tuple[Any, Any],
    *,
    weights: Sequence[float] = WEIGHTS,
    starts: int = 3,
    steps: int = 100,
    validation: float = 0.2,
    fill: bool = False,
    seed: int = 0,
) -> Sparsification:
    """Train with penalties of several weights and keep the smallest network that is as good as any, if legible.

    First the network is fitted without a penalty, on finer and finer splines, to see how fine they have to be. Then it
    is trained with each penalty from where it started, pruned and retrained. Errors are told on held-out data.

    Args:
        model: a network as it was built; left unchanged.
        data: a `Dataset` or (x, y), with targets (n, m); a test part is not looked at.
        weights: of the L1 penalty, the largest first; that of the entropy is twice as large.
        starts: how many times to start, from other random networks of the same shape, until one is good and legible.
        steps: of each training.
        validation: fraction of the data that is held out.
        fill: whether edges that are masked in `model` come in, as zeros at first, where the others do not suffice;
            without it they stay masked. For networks that were built with ``sparse=True``.
        seed: of the choice of held-out data and of further starts.

    Returns:
        The network and what was tried.

    Raises:
        ConfigError: no weights, weights that leave nothing, or a model that is not all splines.
        DomainError: inputs outside the model's domain; build it with ``domain=data.domain``.
        ShapeError: data that do not fit the model.

    Example:
        >>> x = 2 * torch.rand(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
        >>> found = sparsify(MultKAN([2, 1], grid=2), (x, x[:, :1].square()), weights=[1e-2], starts=1, steps=20)
        >>> found.model.inputs, found.trials[0].edges
        ((0, 1), 1)
    """
    data = data if isinstance(data, Dataset) else Dataset(*data)
    _check(model, weights, starts)
    parts = _without_test(data).split(validation, seed)
    begun = filled if fill and _needs_more(model, parts) else copy.deepcopy
    grid, dense_error = _resolution(begun(model), parts, starts, seed)
    trials: list[Sparse] = []
    size = len(cast(Tensor, parts.x_test))
    for start in map(begun, starts_of(model, grid, starts, seed)):
        for trial in _trials(start, parts, weights, steps, max(LOST, WORSE * dense_error)):
            trials.append(trial)
            if trial.least_error <= RESOLVED:
                break
        if (
            trials
            and min(own.least_error for own in trials) <= max(RESOLVED, dense_error)
            and _chosen(trials, size).is_legible
        ):
            break
    if not trials:
        raise ConfigError(f"expected weights of penalties that leave something, got {list(weights)}; take smaller ones")
    return Sparsification(_chosen(trials, size).model, grid, dense_error, tuple(trials))


def _chosen(trials: Sequence[Sparse], size: int) -> Sparse:
    """The smallest of the networks that are as good as any, as far as held-out data tell; legible if any."""
    best = min(own.least_error for own in trials)
    allowed = max(RESOLVED, best * math.sqrt(1 + CHANCE * math.sqrt(2 / size)))
    good = [own for own in trials if own.least_error <= allowed]
    return min(good, key=lambda own: (not own.is_legible, own.edges, own.least_error))


def _check(model: MultKAN, weights: Sequence[float], starts: int) -> None:
    if not weights or not all(own > 0 for own in weights) or starts < 1:
        raise ConfigError(f"expected weights above 0 and at least one start, got {list(weights)} and {starts}")
    if any(layer.splines is None for layer in model.layers):
        raise ConfigError("expected a model all of whose layers have splines, got one that is compiled; thaw it first")


def _needs_more(model: MultKAN, parts: Dataset) -> bool:
    """Whether masked edges make a network better."""
    options: Any = {"grids": [grid_of(model)], "steps": DENSE_STEPS}
    return _fitted(filled(model), parts, **options)[1] * NEAR < _fitted(model, parts, **options)[1]


def _resolution(model: MultKAN, parts: Dataset, starts: int, seed: int) -> tuple[int, float]:
    """The fewest intervals with which a network without a penalty is about as good as with any, and its error.

    Many edges on fine splines may explain the data by chance and nothing else. Then others begin on coarser ones.
    """
    grid, error = _finest(model, parts)
    for number in range(1, COARSER * starts):
        if error <= LOST:
            break
        coarse = random_like(model, COARSEST, seed + number)
        other = _fitted(coarse, parts, grids=[COARSEST], steps=DENSE_STEPS)[1]
        grid, error = min((grid, error), (COARSEST, other), key=lambda own: own[1])
    return grid, error


def _finest(model: MultKAN, parts: Dataset) -> tuple[int, float]:
    """The same of one network, whose splines become finer."""
    found: list[tuple[int, float]] = []
    for grid in [factor * grid_of(model) for factor in GROWTH]:
        model, error = _fitted(model, parts, grids=[grid], steps=DENSE_STEPS)
        found.append((grid, error))
        if error <= FINE or error > WORSE * min(own for _, own in found):
            break
    best = min(error for _, error in found)
    return next(pair for pair in found if pair[1] <= max(FINE, NEAR * best))


def _trials(start: MultKAN, parts: Dataset, weights: Sequence[float], steps: int, lost: float) -> Iterator[Sparse]:
    """What each penalty leaves. Networks whose errors say that they are lost are not looked at any closer."""
    for weight in weights:
        penalty = Penalty(l1=weight, entropy=ENTROPY * weight)
        trained = fit(start, parts, penalty=penalty, steps=steps, progress=False).model
        try:
            small = prune(trained, parts.x)
        except ConfigError:  # the penalty has left nothing
            continue
        small, error = _fitted(small, parts, grids=[grid_of(small)], steps=RETRAINING)
        if error > lost:
            yield Sparse(weight, len(list_edges(small)), error, math.inf, math.inf, small)
            continue
        small = _without_needless(small, parts, error)
        grids = [factor * grid_of(small) for factor in REFINEMENT]
        for stages in (grids[:1], grids[1:]):
            small, error = _fitted(small, parts, grids=stages, steps=RETRAINING)
            misfit, formula = read_network(small, parts.x, error=error)
            said = _fitted(formula, parts, steps=RETRAINING)[1]
            if said <= EXACT:
                break
        yield Sparse(weight, len(list_edges(small)), error, misfit, said if math.isfinite(said) else math.inf, small)


def _without_needless(model: MultKAN, parts: Dataset, error: float) -> MultKAN:
    """The network without nodes and edges in whose absence held-out errors are no larger.

    Functions can be shared between edges in many ways, so that what matters may be needless: those that matter least
    are tried first, and nodes before edges, as one edge alone of a needless node cannot go.
    """
    for listed in (_hidden_nodes, _single_edges):
        number = 0
        while number < len(choices := listed(model, parts.x)):
            smaller = _smaller(model, parts, choices[number])
            if smaller is not None and smaller[1] <= max(RESOLVED, error):
                model = smaller[0]
            else:
                number += 1
    return model


def _smaller(model: MultKAN, parts: Dataset, edges: Sequence[Edge]) -> tuple[MultKAN, float] | None:
    """The network without some edges, fitted anew, and its error; none where nothing would be left."""
    kept = [present_edges(layer) for layer in model.layers]
    for layer, target, source in edges:
        kept[layer][target, source] = False
    try:
        smaller = cut_edges(model, trace(model, parts.x), kept)
    except ConfigError:
        return None
    return _fitted(smaller, parts, grids=[grid_of(model)], steps=DENSE_STEPS)


def _hidden_nodes(model: MultKAN, x: Tensor) -> list[list[Edge]]:
    """The edges that start from each hidden node of several in a column, nodes that matter least first."""
    scores = attribution_scores(model, x).effects_per_output.largest().nodes
    found = [
        (float(own[node]), [edge for edge in list_edges(model) if edge.layer == column and edge.source == node])
        for column, own in enumerate(scores[:-1])
        if column and len(own) > 1
        for node in range(len(own))
    ]
    return [edges for _, edges in sorted(found, key=lambda pair: pair[0])]


def _single_edges(model: MultKAN, x: Tensor) -> list[list[Edge]]:
    """Each edge by itself, those that matter least first; nothing where there is only one."""
    scores = attribution_scores(model, x).effects_per_output.largest().edges
    edges = sorted(list_edges(model), key=lambda own: float(scores[own.layer][own.target, own.source]))
    return [[own] for own in edges] if len(edges) > 1 else []


def _fitted(model: MultKAN, parts: Dataset, **settings: Any) -> tuple[MultKAN, float]:
    """A network fitted without a penalty, and its error on held-out data."""
    x, y = cast(Tensor, parts.x_test), cast(Tensor, parts.y_test)
    fitted = fit(model, parts, validation=(x, y), progress=False, **settings).model
    with torch.no_grad():
        rest = (fitted(x) - y) / parts.y.std(0).clamp(min=TINY)
    return fitted, math.sqrt(float(rest.square().mean()))


def _without_test(parts: Dataset) -> Dataset:
    return Dataset(parts.x, parts.y, names=parts.names, weight=parts.weight, domain=parts.domain)
