"""The search for features that make additive models simpler.

A feature is a formula of some shape with columns of the data in the place of its letters, or a power of it. All are
tried: an additive model of the targets with a function of the feature is compared with the one without.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import DataError
from kansci.symbolic.additive import AdditiveModel
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import parse_formula
from kansci.symbolic.shapes import LETTERS, Shape, shapes

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


class Feature(NamedTuple):
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
class Entry:
    """A feature with what it does for additive models, see `kansci.symbolic.candidates.Candidate`."""

    feature: Feature
    digits: float
    error: float
    linear: bool = False
    sufficient: bool = False

    @property
    def score(self) -> float:
        """What entries are ranked by."""
        factor = 1 + self.sufficient / 4 + self.linear / 8
        return factor * min(self.digits, ENOUGH) + MORE * max(self.digits - ENOUGH, 0) - COST * self.feature.complexity


@dataclass(frozen=True)
class _Trials:
    """Features, and what a function of each does for an additive model.

    Attributes:
        features: k of them.
        values: (k, n).
        errors: (k, t), of the model with a function of the feature.
        digits: (k, t), by how many decimal digits that is better.
    """

    features: list[Feature]
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


class Search:
    """Features of all shapes, tried in additive models.

    Attributes:
        x: (n, d), the variables.
        targets: (n, t), y relative to its standard deviation, and log|y| if there is one.
        varying: the variables that are not constant.
        alone: those of them that have functions of their own.
        features: all features of these, and of matrices.
        found: features that the models have from the start.
    """

    def __init__(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "n"],
        matrices: Sequence[Sequence[int]],
        alone: Sequence[int],
    ) -> None:
        """Collect variables, targets and features."""
        self.x, self.targets = x, _targets(y)
        self.varying: list[int] = (x.amax(0) > x.amin(0)).nonzero().flatten().tolist()
        self.alone = [place for place in self.varying if place in alone]
        self.features = [Feature(shape, places) for shape, ways in shapes(self.varying, matrices) for places in ways]
        self.found: list[Feature] = []

    def run(self) -> list[Entry]:
        """The features that are worth what they cost, best first; those that help beside the best one follow it."""
        leading: list[Entry] = []
        others: list[Entry] = []
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
        first_places: dict[Feature, Entry] = {}
        for entry in [*leading, *others]:
            if entry.score > 0:
                first_places.setdefault(entry.feature, entry)
        return list(first_places.values())

    def _groups(self) -> list[list[Entry]]:
        """Features that are functions of each other; groups and entries best first."""
        screened = self._try(self.features, self._model(SCREENED, SCREEN_DEGREE), SCREENED).features
        model = self._model()
        trials = self._try(screened, model)
        groups = [sorted(self._entries(model, own), key=_by_score) for own in _grouped(trials)]
        return sorted(groups, key=lambda group: _by_score(group[0]))

    def _model(self, rows: int | None = None, degree: int = MAX_DEGREE, without: Sequence[int] = ()) -> AdditiveModel:
        """The model of the first rows of the variables, but for some, and of the features found."""
        x = self.x[:rows]
        kept = [place for place in self.alone if place not in without]
        variables = torch.cat([x[:, kept].T, *(values for _, values in _evaluated(self.found, x))])
        allowed = len(x) // (POINTS * (len(self.alone) + 1))
        return AdditiveModel(variables, self.targets[:rows], max(1, min(degree, allowed)))

    def _try(self, features: Sequence[Feature], model: AdditiveModel, rows: int | None = None) -> _Trials:
        """The best of the features in a model of the first rows."""
        kept: list[Feature] = []
        tensors: list[list[Tensor]] = [[], [], []]
        for own, values in _evaluated(features, self.x[:rows]):
            errors = model.with_function(values)
            kept += own
            for parts, tensor in zip(tensors, (values, errors, _digits(model, errors)), strict=True):
                parts.append(tensor)
        return _Trials(kept, *map(torch.cat, tensors)).best()

    def _entries(self, model: AdditiveModel, group: _Trials) -> list[Entry]:
        """The simplest feature of a group, and the one that enters linearly, if another one does."""
        group = _without_twins(group)
        digits, targets = group.digits.max(1)
        most = min(ENOUGH, digits.max().item())
        needed = most - LESS * abs(most)
        number = int((digits >= needed).nonzero()[0])
        simplest = Entry(group.features[number], digits[number].item(), group.errors[number, targets[number]].item())
        linear = [
            entry
            for feature, values in zip(group.features, group.values, strict=True)
            for entry in _linear_entries(model, feature, values)
            if entry.digits >= max(needed, LITTLE)
        ]
        best = min(linear, key=lambda entry: (-round(entry.digits, 1), entry.feature.complexity), default=simplest)
        entries = {simplest.feature: simplest, best.feature: best}
        return [replace(entry, sufficient=self._suffices(entry.feature, model, needed)) for entry in entries.values()]

    def _suffices(self, feature: Feature, model: AdditiveModel, needed: float) -> bool:
        """Whether a feature does as well in a model without its variables."""
        reduced = self._model(without=feature.places)
        errors = [reduced.with_function(values) for _, values in _evaluated([feature._replace(power=ONE)], self.x)]
        return bool(_digits(model, errors[0]).max() >= needed)


def _linear_entries(model: AdditiveModel, feature: Feature, values: Float[Tensor, "n"]) -> Iterator[Entry]:
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
        yield Entry(feature._replace(power=power), digits.item(), error.item(), linear=True)


def _is_defined(values: Float[Tensor, "n"], power: Fraction) -> bool:
    return bool((power > 0 or (values != 0).all()) and (power.denominator == 1 or (values > 0).all()))


def _evaluated(features: Iterable[Feature], x: Float[Tensor, "n d"]) -> Iterator[tuple[list[Feature], Tensor]]:
    """Parts of the features with their values (k, n), but for those that are not defined everywhere or constant."""
    alike: dict[str, list[Feature]] = defaultdict(list)
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


def _by_score(entry: Entry) -> float:
    return -entry.score
