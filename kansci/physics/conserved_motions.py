r"""Conserved quantities of measured motions: what varies along trajectories by no more than the noise explains.

For a combination H of features with weights c, the scatter along trajectories and what noise sigma of the states
adds to it are both quadratic in c,

.. math:: \lambda(c) = \frac{\sum_{ti} (H(x_{ti}) - \bar H_t)^2}
          {\sum_{ti} \sum_k \sigma_k^2 (\partial_k H(x_{ti}))^2},

so that the smallest ratio is a generalized eigenvalue (errors in variables): 1 where H is conserved, large elsewhere.
No derivative with respect to time is needed. Feature after feature is tried as the last one of a new combination.

References:
    Fuller, Measurement Error Models, Wiley 1987.
    Ha, Jeong, Discovering conservation laws from trajectories via machine learning, arXiv:2102.04008 (scatter).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
import torch
from jaxtyping import Float
from scipy.linalg import eigh

from kansci.errors import DataError, ShapeError
from kansci.physics.conserved import SHARE, gradient_of, project, span
from kansci.physics.library import Library
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import symbols_of

EXPLAINED = 1.5  # scatter over what noise explains of what is conserved
NEAREST = 0.02  # distance relative to the largest, below which a center is not one
WINDOW, FITTED = 9, 5  # samples from which noise is estimated, coefficients of the polynomial through them
EXACT = 1e-12  # noise relative to the size of what is measured, where there is none
MOST_FEATURES, MOST_DEGREE = 130, 4
RELATED = 1e-9
CANCELLING = 1e-3  # what terms of a formula that nearly cancel each other count as scatter
DISTINCT = 5.0  # spread among trajectories over the noise of one value
SUPPORT = 1.02  # factor by which a simpler formula may scatter more
MOST_SAMPLES = 20_000
FEW = 6  # terms of a formula that make it hardly worth while to look for a shorter one


@dataclass(frozen=True)
class MotionQuantity:
    """A quantity that measured motions conserve.

    Attributes:
        function: of states.
        formula: the same, its constants fitted.
        scatter: along trajectories, relative to what noise explains; about 1.
        share: mean share of its gradient outside the span of those of earlier ones.
    """

    function: Any = field(repr=False)
    formula: sympy.Expr
    scatter: float
    share: float


@dataclass(frozen=True)
class ConservedMotions:
    """What measured motions conserve.

    Attributes:
        quantities: functionally independent ones.
        scatter: of these, and of the best further function at last, None where there can be none.
        noise: standard deviation of each coordinate.
    """

    quantities: tuple[MotionQuantity, ...]
    scatter: tuple[float, ...]
    noise: Float[np.ndarray, "d"]

    @property
    def count(self) -> int:
        """How many quantities are conserved."""
        return len(self.quantities)

    @property
    def terms(self) -> int:
        """Terms of all formulas."""
        return sum(len(sympy.Add.make_args(own.formula)) for own in self.quantities)

    @property
    def gap(self) -> float | None:
        """Scatter of the best further function over the largest of those that are conserved."""
        if not self.count or len(self.scatter) == self.count:
            return None
        return self.scatter[-1] / max(self.scatter[:-1])


def conserved_in_motions(motions: Sequence[Any], names: Sequence[str], *, noise: Any = None) -> ConservedMotions:
    """Find what measured motions conserve.

    Args:
        motions: states of each trajectory in the order of time (t, d), tensors or arrays.
        names: of the coordinates.
        noise: standard deviation of each coordinate, or one for all; by default estimated from how the states deviate
            from smooth curves.

    Returns:
        Independent quantities, formulas of a library of monomials, waves, inverse distances and logarithms.

    Raises:
        ShapeError: states with another number of columns than names.
        DataError: fewer than two trajectories of at least nine states, or states that are not finite.

    Example:
        >>> t = np.linspace(0, 6, 60)
        >>> noise = np.random.default_rng(0).normal(0, 1e-3, (20, 60, 2))
        >>> circles = [r * np.stack([np.cos(t), -np.sin(t)], 1) for r in np.linspace(0.5, 1, 20)] + noise
        >>> found = conserved_in_motions(list(circles), ["x", "p"])
        >>> found.count, [round(own, 2) for own in found.quantities[0].formula.as_coefficients_dict().values()]
        (1, [1.0, 1.0])
    """
    states = [np.asarray(own, dtype=np.float64) for own in motions]
    _check(states, names)
    levels = (
        estimate_noise(states) if noise is None else np.broadcast_to(np.asarray(noise, float), (len(names),)).copy()
    )
    states = [own[:: max(1, sum(map(len, states)) // MOST_SAMPLES)] for own in states]
    best = ConservedMotions((), (), levels)
    for library in _libraries(names, np.concatenate(states)):
        found = _Search(library, states, levels).run()
        if not best.scatter or _rank(found) > _rank(best):
            best = found
        if best.count == len(names) - 1 and best.terms <= FEW * best.count:
            break
    return best


def _rank(found: ConservedMotions) -> tuple[int, int]:
    """The more quantities the better, and then the fewer terms."""
    return found.count, -found.terms


def estimate_noise(states: Sequence[Float[np.ndarray, "_t d"]]) -> Float[np.ndarray, "d"]:
    """Standard deviation of noise: what polynomials through a few samples in a row leave.

    Example:
        >>> x = np.random.default_rng(0).normal(0, 0.1, (2000, 1))
        >>> estimate_noise([x]).round(2)
        array([0.1])
    """
    steps = np.linspace(-1, 1, WINDOW)
    basis = np.linalg.qr(np.vander(steps, FITTED))[0]
    rest = np.eye(WINDOW) - basis @ basis.T
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(own, WINDOW, axis=0) for own in states])
    left = np.square(windows @ rest).sum(2) / (WINDOW - FITTED)
    sizes = np.concatenate(states).std(0)
    return np.maximum(np.sqrt(left.mean(0)), EXACT * sizes)


def _check(states: Sequence[np.ndarray], names: Sequence[str]) -> None:
    symbols_of(names)
    if any(own.ndim != 2 or own.shape[1] != len(names) for own in states):
        raise ShapeError(f"expected states of shape (t, {len(names)}), got {[own.shape for own in states][:3]}")
    if len(states) < 2 or min(map(len, states)) < WINDOW:
        shape = f"{len(states)} of at least {min(map(len, states), default=0)}"
        raise DataError(f"expected at least two trajectories of at least {WINDOW} states, got {shape}")
    if not all(np.isfinite(own).all() for own in states):
        raise DataError("expected states that are finite, got NaN or infinity; drop these rows")


def _libraries(names: Sequence[str], x: Float[np.ndarray, "n d"]) -> list[Library]:
    """From simple to rich: monomials; with logarithms; with an inverse distance; with waves."""
    names, symbols = tuple(names), tuple(symbols_of(names).values())
    found = [Library(names, symbols)]
    positive = tuple(sympy.log(own) for own, column in zip(symbols, x.T, strict=True) if (column > 0).all())
    if positive:
        found.append(Library(names, (*symbols, *positive)))
    for size in (2, 3):
        for group in itertools.combinations(range(len(symbols)), size):
            distances = np.sqrt(np.square(x[:, group]).sum(1))
            if distances.min() > NEAREST * distances.max():
                radius = sympy.sqrt(sympy.Add(*(symbols[own] ** 2 for own in group)))
                found.append(Library(names, (*symbols, 1 / radius)))
    found += [Library(names, symbols, (own,)) for own in symbols]
    found += [Library(names, symbols, pair) for pair in itertools.combinations(symbols, 2)]
    return found


@dataclass(frozen=True)
class _Scatter:
    """The two quadratic forms of a set of features."""

    within: Float[np.ndarray, "k k"]
    noise: Float[np.ndarray, "k k"]

    def smallest(self, places: Sequence[int]) -> tuple[float, Float[np.ndarray, "k"]]:
        """The smallest ratio of combinations of some features, and their weights."""
        rows = np.ix_(places, places)
        alone = np.diag(np.diag(self.noise[rows]))
        above, below = self.within[rows] + CANCELLING * alone, self.noise[rows] + RELATED * alone
        value, vector = eigh(above, below, subset_by_index=[0, 0])
        return float(value[0]), vector[:, 0]


class _Search:
    """Feature after feature of libraries of growing degree."""

    def __init__(self, library: Library, states: Sequence[np.ndarray], noise: np.ndarray) -> None:
        self.library, self.states, self.noise = library, states, noise
        self.x = torch.from_numpy(np.concatenate(states))
        self.probe = self.x[:: max(1, len(self.x) // 512)]
        self.found: list[MotionQuantity] = []

    def run(self) -> ConservedMotions:
        """All that is conserved in libraries that are not too large."""
        further = np.inf
        most = len(self.library.names) - 1
        for degree in range(1, MOST_DEGREE + 1):
            if self.library.size(degree) > MOST_FEATURES or len(self.found) == most:
                break
            further = self._of_degree(degree)
        values = [own.scatter for own in self.found] + ([further] if len(self.found) < most else [])
        return ConservedMotions(tuple(self.found), tuple(values), self.noise)

    def _of_degree(self, degree: int) -> float:
        features = self.library.features(degree)
        scatter = self._scatter(features)
        free: list[int] = []
        last = np.inf
        for number in range(len(features)):
            value, weights = scatter.smallest([*free, number])
            if value > EXPLAINED:
                free.append(number)
                last = value
            elif features[number].cost == degree:
                self._take(features, scatter, [*free, number], weights)
            if len(self.found) == len(self.library.names) - 1:
                break
        return float(np.sqrt(last))

    def _scatter(self, features: Sequence[Any]) -> _Scatter:
        values = self.library.columns(features, self.library.values(self.x.numpy()))[0]
        sizes = values.std(0)
        sizes = np.where(sizes > 0, sizes, 1.0)
        bounds = np.cumsum([0, *map(len, self.states)])
        parts = [values[a:b] / sizes for a, b in itertools.pairwise(bounds)]
        within = np.concatenate([own - own.mean(0) for own in parts])
        added = np.zeros((len(features), len(features)))
        for own, level in enumerate(self.noise):
            rates = np.zeros(self.x.shape)
            rates[:, own] = level
            slopes = self.library.columns(features, self.library.values(self.x.numpy(), rates))[1] / sizes
            added += slopes.T @ slopes
        self.sizes = sizes
        lost = 1 - len(self.states) / len(self.x)
        return _Scatter(within.T @ within, added * lost)

    def _take(self, features: Sequence[Any], scatter: _Scatter, places: list[int], weights: np.ndarray) -> None:
        """Add a combination on as few features as possible, if it is new."""
        places, weights, value = _simplified(scatter, places, weights)
        coefficients = weights / self.sizes[places]
        coefficients = coefficients / coefficients[np.abs(weights).argmax()]
        terms = [self.library.expression(features[own]) for own in places]
        formula = sympy.Add(*(sympy.Float(float(c)) * own for c, own in zip(coefficients, terms, strict=True)))
        function = torch_function(formula, self.library.names)
        gradients = [gradient_of(own.function, self.probe) for own in self.found]
        gradient = gradient_of(function, self.probe)
        outside = project(gradient, span(gradients)) if gradients else gradient
        share = float((outside.norm(dim=1) / gradient.norm(dim=1).clamp(min=1e-300)).mean())
        spread = np.std([float(function(torch.from_numpy(own)).mean()) for own in self.states])
        noise = float((gradient * torch.from_numpy(self.noise)).square().sum(1).mean().sqrt())
        if share >= SHARE and spread > DISTINCT * noise:
            self.found.append(MotionQuantity(function, formula, float(np.sqrt(value)), share))


def _simplified(scatter: _Scatter, places: list[int], weights: np.ndarray) -> tuple[list[int], np.ndarray, float]:
    """Drop one feature after the other, that with the smallest weight, while the scatter hardly grows."""
    value, weights = scatter.smallest(places)
    limit = max(SUPPORT * value, 1 + (EXPLAINED - 1) / 2)
    refused: set[int] = set()
    while len(refused) < len(places):
        order = sorted((own for own in range(len(places)) if places[own] not in refused), key=lambda k: abs(weights[k]))
        rest = [own for k, own in enumerate(places) if k != order[0]]
        lower, fewer = scatter.smallest(rest) if rest else (np.inf, weights)
        if lower > limit:
            refused.add(places[order[0]])
        else:
            places, weights, value = rest, fewer, lower
    return places, weights, value
