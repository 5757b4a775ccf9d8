"""Candidates for auxiliary features, ranked by how much simpler they make what is to be explained.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, section 3.1 (auxiliary variables).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, DataError, ShapeError
from kansci.nn.arguments import check_finite
from kansci.symbolic.additive import AdditiveModel
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import parse_formula
from kansci.symbolic.shapes import LETTERS, Shape, shapes

MAX_POINTS = 2000
MAX_DEGREE = 10  # of polynomials
POINTS = 10  # points for each polynomial of each variable
SCREENED = 400  # points of the first look at all features
SCREEN_DEGREE = 5
KEPT = 300  # features that are looked at twice
CHUNK = 256
ROUNDS = 3
GROUPS = 20
VARYING = 1e-9  # relative deviation below which values are constant
SAME = 0.02  # relative error with which a feature is a function of another one
FLOOR = 1e-7  # error below which nothing is left to explain
ENOUGH = 2.0  # digits after which
MORE = 0.1  # is what each further one counts
WORTHWHILE = 0.1  # digits below which it is not worth looking for more
LITTLE = 0.5  # digits below which it does not matter whether a feature enters linearly
COST = 0.05  # digits that a unit of complexity must be worth
LESS = 0.15  # share of the digits that may be lost where a model becomes simpler
ONE = Fraction(1)
POWERS = tuple(Fraction(p, 2) for p in (2, -2, 1, -1, 4, -4, 3, -3, 6, -6))


@dataclass(frozen=True)
class Candidate:
    """A formula that may serve as an auxiliary feature.

    Attributes:
        formula: of the variables.
        score: what candidates are ranked by: the decimal digits that it takes off the error of an additive model, and
            what its simplicity is worth.
        error: of the model with it, relative to the standard deviation of y, or absolute where log|y| is fitted.
        linear: whether y is linear in it, or a power of it.
        sufficient: whether its variables are not needed beside it.
    """

    formula: sympy.Expr
    score: float
    error: float
    linear: bool
    sufficient: bool

    def __repr__(self) -> str:
        """The formula, the score and the error."""
        return f"Candidate({self.formula}, score={self.score:.2f}, error={self.error:.1e})"


def candidate_features(
    x: Any,
    y: Any,
    names: Sequence[str] | None = None,
    *,
    matrix: Sequence[Sequence[str]] | None = None,
    limit: int = 20,
) -> list[Candidate]:
    r"""Formulas that would help to explain y, found from data alone, the best first.

    Powers, products, ratios, sums, differences, norms, distances, inner products, relativistic factors and
    invariants of matrices are tried, with all ways to put the variables into them. For each feature f a model

    .. math:: T(y) \approx c + \sum_i g_i(x_i) + h(f), \qquad T(y) = y \text{ or } \log|y|

    with free univariate functions is fitted, and compared with the one without f. The score counts the decimal
    digits of the error that f takes away, those after the second a tenth; it is larger where the variables of f are
    no longer needed beside it, and where h is linear (for log|y|, the logarithm of a power), and smaller for what is
    complex.
    Of features that are functions of each other only the simplest and the one that enters linearly are returned.
    Where one feature is not enough, the best ones beside it come next. What helps less than its complexity costs is
    left out.

    Args:
        x: data (n, d), a tensor or an array; of more than 2000 points some are used.
        y: (n,) or (n, 1).
        names: of the columns of x, by default x1, x2, ...
        matrix: rows of names that form a matrix of order 2 or 3, the invariants of which are tried; by default
            names that end in 11, 12, ... after the same letters, or all columns if there are 4 or 9 without names.
        limit: how many to return at most.

    Returns:
        The candidates; `auxiliary_features` takes them, or their formulas.

    Raises:
        ShapeError: x is not (n, d), or y does not have one value for each of its rows.
        DataError: x or y are empty or not finite.
        ConfigError: the names do not fit the columns, or the matrix is none.

    Example:
        >>> x = torch.rand(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> m, v, c = (x + torch.tensor([1, 0, 1])).unbind(1)
        >>> y = m / (1 - v**2 / c**2).sqrt()
        >>> [str(found.formula) for found in candidate_features(torch.stack([m, v, c], 1), y, ["m", "v", "c"], limit=2)]
        ['1/sqrt(1 - v**2/c**2)', 'v/c']

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.1.
    """
    points, values = _read_data(x, y)
    labels = _read_names(names, points.shape[1])
    search = _Search(points, values, _read_matrices(matrix, labels, named=names is not None))
    return [entry.described(labels) for entry in search.run()[:limit]]


class _Feature(NamedTuple):
    """A formula of some shape, or a power of it.

    Attributes:
        shape: the formula in letters.
        places: the columns that stand for the letters.
        power: the exponent.
    """

    shape: Shape
    places: tuple[int, ...]
    power: Fraction = ONE

    @property
    def complexity(self) -> int:
        """What it takes to say."""
        return self.shape.complexity + (self.power != 1)

    def formula(self, labels: Sequence[str]) -> sympy.Expr:
        """The formula in the names of the columns."""
        own = {_symbol(letter): _symbol(labels[place]) for letter, place in zip(LETTERS, self.places, strict=False)}
        power = sympy.Rational(self.power.numerator, self.power.denominator)
        return _read_shape(self.shape.formula).xreplace(own) ** power


def _symbol(name: str) -> sympy.Symbol:
    return sympy.Symbol(name, real=True)


@cache
def _read_shape(formula: str) -> sympy.Expr:
    return parse_formula(formula, list(LETTERS))


@dataclass(frozen=True)
class _Entry:
    """A feature with what it does for additive models, see `Candidate`."""

    feature: _Feature
    digits: float
    error: float
    linear: bool = False
    sufficient: bool = False

    @property
    def score(self) -> float:
        """What entries are ranked by."""
        factor = 1 + self.sufficient / 4 + self.linear / 8
        return factor * min(self.digits, ENOUGH) + MORE * max(self.digits - ENOUGH, 0) - COST * self.feature.complexity

    def described(self, labels: Sequence[str]) -> Candidate:
        """The same for users."""
        return Candidate(self.feature.formula(labels), self.score, self.error, self.linear, self.sufficient)


@dataclass(frozen=True)
class _Trials:
    """Features, and what a function of each does for an additive model.

    Attributes:
        features: k of them.
        values: (k, n).
        errors: (k, t), of the model with a function of the feature.
        digits: (k, t), by how many decimal digits that is better.
    """

    features: list[_Feature]
    values: Float[Tensor, "k n"]
    errors: Float[Tensor, "k t"]
    digits: Float[Tensor, "k t"]

    def select(self, numbers: Sequence[int]) -> "_Trials":
        """Some of them."""
        own = list(numbers)
        return _Trials([self.features[i] for i in own], self.values[own], self.errors[own], self.digits[own])

    def best(self) -> "_Trials":
        """The most promising ones, in order."""
        costs = torch.tensor([COST * feature.complexity for feature in self.features], dtype=torch.float64)
        digits = self.digits.amax(1)
        worth = digits.clamp(max=ENOUGH) + MORE * (digits - ENOUGH).relu() - costs
        return self.select(worth.argsort(descending=True, stable=True)[:KEPT].tolist())


class _Search:
    """Features of all shapes, tried in additive models.

    Attributes:
        x: (n, d), the variables.
        targets: (n, t), y relative to its standard deviation, and log|y| if there is one.
        varying: the variables that are not constant.
        features: all features of these, and of matrices.
        found: features that the models have from the start.
    """

    def __init__(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n"], matrices: Sequence[Sequence[int]]) -> None:
        """Collect variables, targets and features."""
        self.x, self.targets = x, _targets(y)
        self.varying: list[int] = (x.amax(0) > x.amin(0)).nonzero().flatten().tolist()
        self.features = [_Feature(shape, places) for shape, ways in shapes(self.varying, matrices) for places in ways]
        self.found: list[_Feature] = []

    def run(self) -> list[_Entry]:
        """The features that are worth what they cost, best first; those that help beside the best one follow it."""
        leading: list[_Entry] = []
        others: list[_Entry] = []
        while self.features and len(self.found) < ROUNDS:
            first, *rest = self._groups() or [[]]
            if not self.found:
                others = sorted((entry for group in rest for entry in group), key=_by_score)
            if not first or (self.found and first[0].digits < WORTHWHILE):
                break
            leading += first
            if first[0].digits >= ENOUGH:
                break
            self.found.append(first[0].feature)
        first_places: dict[_Feature, _Entry] = {}
        for entry in [*leading, *others]:
            if entry.score > 0:
                first_places.setdefault(entry.feature, entry)
        return list(first_places.values())

    def _groups(self) -> list[list[_Entry]]:
        """Features that are functions of each other; groups and entries best first."""
        screened = self._try(self.features, self._model(SCREENED, SCREEN_DEGREE), SCREENED).features
        model = self._model()
        trials = self._try(screened, model)
        groups = [sorted(self._entries(model, own), key=_by_score) for own in _grouped(trials)]
        return sorted(groups, key=lambda group: _by_score(group[0]))

    def _model(self, rows: int | None = None, degree: int = MAX_DEGREE, without: Sequence[int] = ()) -> AdditiveModel:
        """The model of the first rows of the variables, but for some, and of the features found."""
        x = self.x[:rows]
        kept = [place for place in self.varying if place not in without]
        variables = torch.cat([x[:, kept].T, *(values for _, values in _evaluated(self.found, x))])
        allowed = len(x) // (POINTS * (x.shape[1] + 1))
        return AdditiveModel(variables, self.targets[:rows], max(1, min(degree, allowed)))

    def _try(self, features: Sequence[_Feature], model: AdditiveModel, rows: int | None = None) -> _Trials:
        """The best of the features in a model of the first rows."""
        kept: list[_Feature] = []
        tensors: list[list[Tensor]] = [[], [], []]
        for own, values in _evaluated(features, self.x[:rows]):
            errors = model.with_function(values)
            kept += own
            for parts, tensor in zip(tensors, (values, errors, _digits(model, errors)), strict=True):
                parts.append(tensor)
        return _Trials(kept, *map(torch.cat, tensors)).best()

    def _entries(self, model: AdditiveModel, group: _Trials) -> list[_Entry]:
        """The simplest feature of a group, and the one that enters linearly, if another one does."""
        group = _without_twins(group)
        digits, targets = group.digits.max(1)
        most = min(ENOUGH, digits.max().item())
        needed = most - LESS * abs(most)
        number = int((digits >= needed).nonzero()[0])
        simplest = _Entry(group.features[number], digits[number].item(), group.errors[number, targets[number]].item())
        linear = [
            entry
            for feature, values in zip(group.features, group.values, strict=True)
            for entry in _linear_entries(model, feature, values)
            if entry.digits >= max(needed, LITTLE)
        ]
        best = min(linear, key=lambda entry: (-round(entry.digits, 1), entry.feature.complexity), default=simplest)
        entries = {simplest.feature: simplest, best.feature: best}
        return [replace(entry, sufficient=self._suffices(entry.feature, model, needed)) for entry in entries.values()]

    def _suffices(self, feature: _Feature, model: AdditiveModel, needed: float) -> bool:
        """Whether a feature does as well in a model without its variables."""
        reduced = self._model(without=feature.places)
        errors = [reduced.with_function(values) for _, values in _evaluated([feature._replace(power=ONE)], self.x)]
        return bool(_digits(model, errors[0]).max() >= needed)


def _linear_entries(model: AdditiveModel, feature: _Feature, values: Float[Tensor, "n"]) -> Iterator[_Entry]:
    """Powers of a feature that y is linear in, and the one that log|y| is linear in the logarithm of."""
    powers = [power for power in POWERS if _is_defined(values, power)]
    errors, _ = model.with_multiple(torch.stack([values ** float(power) for power in powers]))
    place = int(errors[:, 0].argmin())
    found = [(powers[place], errors[place, 0], _digits(model, errors)[place, 0])]
    if len(model.errors) > 1 and (values != 0).all():
        errors, slopes = model.with_multiple(values.abs().log()[None])
        slope = slopes[0, 1].item()
        nearest = min(powers, key=lambda power: abs(float(power) - slope))
        power = nearest if abs(float(nearest) - slope) < SAME * abs(slope) else ONE
        found.append((power, errors[0, 1], _digits(model, errors)[0, 1]))
    for power, error, digits in found:
        yield _Entry(feature._replace(power=power), digits.item(), error.item(), linear=True)


def _is_defined(values: Float[Tensor, "n"], power: Fraction) -> bool:
    return bool((power > 0 or (values != 0).all()) and (power.denominator == 1 or (values > 0).all()))


def _evaluated(features: Iterable[_Feature], x: Float[Tensor, "n d"]) -> Iterator[tuple[list[_Feature], Tensor]]:
    """Parts of the features with their values (k, n), but for those that are not defined everywhere or constant."""
    alike: dict[str, list[_Feature]] = defaultdict(list)
    for feature in features:
        alike[feature.shape.formula].append(feature)
    for formula, own in alike.items():
        letters = list(LETTERS[: own[0].shape.size])
        function = torch_function(_read_shape(formula), letters)
        for start in range(0, len(own), CHUNK):
            part = own[start : start + CHUNK]
            values = function(x[:, torch.tensor([feature.places for feature in part])]).T
            deviation = values.std(1)
            good = (deviation.isfinite() & (deviation > VARYING * values.abs().amax(1))).tolist()
            yield [feature for feature, fine in zip(part, good, strict=True) if fine], values[torch.tensor(good)]


def _grouped(trials: _Trials) -> Iterator[_Trials]:
    """Features that are functions of each other, the most promising first."""
    values = trials.values[:, :SCREENED]
    values = (values - values.mean(1, keepdim=True)) / values.std(1, keepdim=True)
    left = list(range(len(values)))
    for _ in range(GROUPS):
        if not left:
            return
        own = values[left]
        of_first = AdditiveModel(own[:1], own.T, MAX_DEGREE).errors
        first_of = AdditiveModel(own[:0], own[:1].T, MAX_DEGREE).with_function(own)[:, 0]
        same = ((of_first < SAME) | (first_of < SAME)).tolist()
        same[0] = True
        yield trials.select([number for number, belongs in zip(left, same, strict=True) if belongs])
        left = [number for number, belongs in zip(left, same, strict=True) if not belongs]


def _without_twins(group: _Trials) -> _Trials:
    """The features of a group, the simplest first, without those that differ from another one in their sign only."""
    keys = [(feature.complexity, _looks(own)) for feature, own in zip(group.features, group.values, strict=True)]
    distinct: dict[tuple[float, ...], int] = {}
    for number in sorted(range(len(keys)), key=keys.__getitem__):
        distinct.setdefault(tuple(group.values[number, :POINTS].abs().tolist()), number)
    return group.select(list(distinct.values()))


def _targets(y: Float[Tensor, "n"]) -> Float[Tensor, "n t"]:
    deviation = y.std()
    if not deviation > VARYING * y.abs().max():
        raise DataError("expected a y that varies, got a constant; there is nothing to explain")
    targets = [y / deviation]
    return torch.stack([*targets, y.abs().log()] if (y != 0).all() else targets, 1)


def _digits(model: AdditiveModel, errors: Float[Tensor, "k t"]) -> Float[Tensor, "k t"]:
    """By how many digits errors are smaller than those of a model; log|y| has to do better than y itself, too."""
    before = model.errors.cummin(0).values
    return (before.clamp(min=FLOOR) / errors.clamp(min=FLOOR)).log10()


def _looks(values: Float[Tensor, "n"]) -> tuple[bool, bool, float]:
    """Of features as simple as each other, a positive one is preferred, a small one, and one without outliers.

    So v/c is to c/v.
    """
    outlier = (values - values.mean()).abs().max() / values.std()
    return bool(values.median() < 0), bool(values.abs().median() > 1), float(outlier)


def _by_score(entry: _Entry) -> float:
    return -entry.score


def _read_data(x: Any, y: Any) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """Rows in random order, at most MAX_POINTS."""
    points, values = (torch.as_tensor(each, dtype=torch.float64).detach().cpu() for each in (x, y))
    if points.ndim != 2 or values.shape not in ((len(points),), (len(points), 1)):
        raise ShapeError(
            f"expected x of shape (n, d) and y of shape (n,) or (n, 1), got {tuple(points.shape)} and "
            f"{tuple(values.shape)}; pass one output at a time"
        )
    check_finite(points, "x")
    check_finite(values, "y")
    needed = POINTS * (points.shape[1] + 1)
    if len(points) < needed:
        raise DataError(f"expected at least {needed} points for {points.shape[1]} variables, got {len(points)}")
    rows = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:MAX_POINTS]
    return points[rows], values.flatten()[rows]


def _read_names(names: Sequence[str] | None, d: int) -> list[str]:
    labels = [f"x{place + 1}" for place in range(d)] if names is None else list(names)
    if len(labels) != d:
        raise ConfigError(f"expected {d} names, one for each column of x, got {labels}")
    parse_formula("0", labels)
    return labels


def _read_matrices(
    matrix: Sequence[Sequence[str]] | None, labels: Sequence[str], *, named: bool
) -> list[tuple[int, ...]]:
    """Columns of square matrices of order 2 or 3, row by row."""
    if matrix is None:
        return _guessed_matrices(labels) if named else [tuple(range(len(labels)))] * (len(labels) in (4, 9))
    entries = [entry for row in matrix for entry in row]
    square = len(matrix) in (2, 3) and all(len(row) == len(matrix) for row in matrix)
    if not square or not set(entries) <= set(labels):
        raise ConfigError(f"expected matrix as 2 rows of 2 or 3 rows of 3 names among {list(labels)}, got {matrix}")
    return [tuple(labels.index(entry) for entry in entries)]


def _guessed_matrices(labels: Sequence[str]) -> list[tuple[int, ...]]:
    found = []
    for stem in sorted({label[:-2] for label in labels}):
        for order in (2, 3):
            entries = [f"{stem}{row}{column}" for row in range(1, order + 1) for column in range(1, order + 1)]
            own = [label for label in labels if label[:-2] == stem and re.fullmatch("[1-9][1-9]", label[-2:])]
            if sorted(own) == entries:
                found.append(tuple(labels.index(entry) for entry in entries))
    return found
