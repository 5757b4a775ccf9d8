r"""Energies from measured stresses: the few terms of a library that explain them.

Stresses are linear in the factors of the terms, so that each set of terms has one best fit. All sets of up to six terms
of invariants are tried, and with each term of a family, over its inner constant, all sets of up to two. What counts is

.. math:: n \ln s^2 + p (\ln n + 2 \ln m),

with s^2 the mean square that is left, p constants and m terms to choose from (Chen and Chen's criterion), which lets
hardly any term in by chance.

References:
    Flaschel, Kumar, De Lorenzis, Unsupervised discovery of interpretable hyperelastic constitutive laws, Comput.
    Methods Appl. Mech. Eng. 381 (2021) 113852.
    Chen, Chen, Extended Bayesian information criteria for model selection, Biometrika 95 (2008) 759.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor

from kansci.errors import DataError, ShapeError
from kansci.nn.arguments import check_finite
from kansci.physics.energy_terms import FAMILIES, Deformation, Family, InvariantTerm, invariant_terms

MOST, BESIDE = 6, 2  # terms of invariants, by themselves and beside one of a family
TINY = 1e-13  # mean square relative to that of the stress, below which nothing is left but rounding
RIDGE = 1e-14
CHUNK = 4096
STEP = 1e-4  # of inner constants, for their standard errors


@dataclass(frozen=True)
class EnergyTerm:
    """A term of an energy.

    Attributes:
        text: the term, a formula of I1, I2 and J, of m1, m2, m3, the stretches without their change of volume, or a
            chain.
        factor: what it is multiplied by [stress].
        standard_error: of the factor.
        family: the name of the family that the term is of, or None.
        inner: the constant inside such a term.
        inner_error: its standard error.
    """

    text: str
    factor: float
    standard_error: float
    family: str | None = None
    inner: float = math.nan
    inner_error: float = math.nan


@dataclass(frozen=True)
class FoundEnergy:
    """What `find_energy` returns.

    Attributes:
        terms: of the energy.
        error: root mean square of what is left, relative to each component's standard deviation.
    """

    terms: tuple[EnergyTerm, ...]
    error: float

    @property
    def formula(self) -> str:
        """The energy."""
        return " + ".join(f"{own.factor:.6g}*{own.text}" for own in self.terms)

    def stress(self, gradient: Any) -> Tensor:
        """The first Piola stress at deformation gradients, in the plane if these are."""
        at = Deformation.read(gradient)
        total = sum((own.factor * _stress(own, at) for own in self.terms), torch.zeros(()))
        return at.components(total).reshape(len(at.gradient), *[2 if at.plane else 3] * 2)

    def __repr__(self) -> str:
        """The formula and the error."""
        return f"FoundEnergy({self.formula}, error {self.error:.1e})"


def _stress(term: EnergyTerm, at: Deformation) -> Tensor:
    if term.family is None:
        return InvariantTerm(term.text).stress(at)
    return FAMILIES[term.family].stress_of(at, term.inner)


def find_energy(gradient: Any, stress: Any, *, degree: int = 3) -> FoundEnergy:
    """An isotropic energy with few terms that explains measured stresses.

    Args:
        gradient: deformation gradients F, (n, 3, 3), or (n, 2, 2) of plane strain [1].
        stress: the first Piola stress P of the same shape, with or without noise.
        degree: of the products of I1 - 3 and I2 - 3 that are tried.

    Raises:
        ShapeError: F or P of other shapes.
        DataError: data that are not finite, or that do not vary.

    Example:
        >>> F = torch.eye(2) + 0.3 * torch.rand(50, 2, 2, generator=torch.Generator().manual_seed(0)).double()
        >>> volume = InvariantTerm("(J - 1)**2").stress(Deformation.read(F))[:, :2, :2]
        >>> find_energy(F, 3 * volume).formula
        '3*(J - 1)**2'
    """
    at = Deformation.read(gradient)
    measured = torch.as_tensor(stress, dtype=torch.float64).detach().cpu()
    if measured.shape != torch.as_tensor(gradient).shape:
        raise ShapeError(f"expected P of the shape of F, got {tuple(measured.shape)}")
    check_finite(measured, "P")
    target = measured.flatten(1)
    units = target.std(0)
    if not bool((units > 0).any()):
        raise DataError("expected stresses that vary, got constant ones; there is nothing to explain")
    units = torch.where(units > 0, units, units.max())
    problem = _Problem(at, (target / units).flatten(), units, invariant_terms(degree))
    return problem.best()


class _Choice(NamedTuple):
    """A set of terms."""

    score: float
    numbers: tuple[int, ...]
    family: Family | None = None
    inner: float = math.nan


@dataclass(frozen=True)
class _Problem:
    """Terms and the stresses that they shall explain, each component in units of its deviation."""

    at: Deformation
    target: Float[Tensor, "nc"]
    units: Float[Tensor, "c"]
    terms: list[InvariantTerm]

    def column(self, stress: Float[Tensor, "n 3 3"]) -> Float[Tensor, "nc"]:
        """What a term explains."""
        return (self.at.components(stress) / self.units).flatten()

    def score(self, square: float, constants: int) -> float:
        """Lower is better."""
        n, floor = len(self.target), TINY * float(self.target.square().mean())
        price = math.log(n) + 2 * math.log(len(self.terms) + len(FAMILIES))
        return n * math.log(max(square / n, floor)) + price * constants

    def best(self) -> FoundEnergy:
        """The best set of terms."""
        columns = torch.stack([self.column(term.stress(self.at)) for term in self.terms], 1)
        choices = [self._of_invariants(columns), *(self._with_family(columns, family) for family in FAMILIES.values())]
        chosen = min(choices, key=lambda own: own.score)
        return self._described(columns, chosen)

    def _of_invariants(self, columns: Float[Tensor, "n m"]) -> _Choice:
        squares = _Squares.of(columns, self.target)
        return min(
            (
                _Choice(self.score(square, count), numbers)
                for count in range(1, MOST + 1)
                for square, numbers in [squares.least(list(combinations(range(columns.shape[1]), count)))]
            ),
            key=lambda own: own.score,
        )

    def _with_family(self, columns: Float[Tensor, "n m"], family: Family) -> _Choice:
        """The best set with a term of a family, for each size of the set its inner constant being the best."""
        m = columns.shape[1]
        sizes = [[(*own, m) for own in combinations(range(m), count)] for count in range(BESIDE + 1)]
        coarse = [[self._tried(columns, family, inner, sets) for sets in sizes] for inner in family.grid]
        return min(
            (self._refined(columns, family, own) for own in zip(*coarse, strict=True)), key=lambda own: own.score
        )

    def _tried(
        self, columns: Float[Tensor, "n m"], family: Family, inner: float, sets: Sequence[tuple[int, ...]]
    ) -> _Choice:
        """The best of sets of one size."""
        column = self.column(family.stress_of(self.at, inner))
        if not bool(column.isfinite().all()):
            return _Choice(math.inf, sets[0], family, inner)
        squares = _Squares.of(torch.cat([columns, column[:, None]], 1), self.target)
        square, numbers = squares.least(sets)
        return _Choice(self.score(square, len(numbers) + 1), numbers, family, inner)

    def _refined(self, columns: Float[Tensor, "n m"], family: Family, coarse: Sequence[_Choice]) -> _Choice:
        """With the best inner constant near that on the grid."""
        place = min(range(len(coarse)), key=lambda k: coarse[k].score)
        best = coarse[place]
        if not math.isfinite(best.score):
            return best
        bounds = family.grid[max(place - 1, 0)], family.grid[min(place + 1, len(coarse) - 1)]
        fine: Any = minimize_scalar(
            lambda inner: self._tried(columns, family, inner, [best.numbers]).score, bounds=bounds, method="bounded"
        )
        return min(best, self._tried(columns, family, float(fine.x), [best.numbers]), key=lambda own: own.score)

    def _described(self, columns: Float[Tensor, "n m"], chosen: _Choice) -> FoundEnergy:
        """The terms with their factors and standard errors."""
        parts = [columns[:, number] for number in chosen.numbers if number < columns.shape[1]]
        texts = [self.terms[number].formula for number in chosen.numbers if number < columns.shape[1]]
        family, inner = chosen.family, chosen.inner
        if family is not None:
            parts.append(self.column(family.stress_of(self.at, inner)))
        matrix = torch.stack(parts, 1)
        factors = torch.linalg.lstsq(matrix, self.target[:, None]).solution[:, 0]
        jacobian = matrix
        if family is not None:
            ahead, behind = (self.column(family.stress_of(self.at, inner * (1 + sign * STEP))) for sign in (1, -1))
            jacobian = torch.cat([matrix, factors[-1] * ((ahead - behind) / (2 * STEP * inner))[:, None]], 1)
        rest = self.target - matrix @ factors
        noise = rest.square().sum() / max(len(rest) - jacobian.shape[1], 1)
        errors = (noise * torch.linalg.inv(jacobian.T @ jacobian).diagonal()).sqrt().tolist()
        found = [
            EnergyTerm(text, factor, error)
            for text, factor, error in zip(texts, factors.tolist(), errors, strict=False)
        ]
        if family is not None:
            text = family.text.format(_shown(inner))
            found.append(EnergyTerm(text, float(factors[-1]), errors[-2], family.name, inner, errors[-1]))
        return FoundEnergy(tuple(found), float(rest.square().mean().sqrt()))


def _shown(inner: float) -> str:
    """A constant inside a term."""
    return f"{inner:.6g}" if inner >= 0 else f"({inner:.6g})"


class _Squares(NamedTuple):
    """Products of columns with each other and with the target, columns of length one."""

    gram: Float[Tensor, "m m"]
    right: Float[Tensor, "m"]
    total: float

    @classmethod
    def of(cls, columns: Float[Tensor, "n m"], target: Float[Tensor, "n"]) -> "_Squares":
        unit = columns / columns.norm(dim=0)
        return cls(unit.T @ unit, unit.T @ target, float(target @ target))

    def least(self, sets: Sequence[tuple[int, ...]]) -> tuple[float, tuple[int, ...]]:
        """The set of columns that leaves least of the target, all sets being of one size."""
        best = math.inf, sets[0]
        for start in range(0, len(sets), CHUNK):
            part = torch.tensor(sets[start : start + CHUNK])
            gram = self.gram[part[:, :, None], part[:, None, :]]
            gram = gram + RIDGE * torch.eye(part.shape[1], dtype=gram.dtype)
            right = self.right[part]
            solution = torch.linalg.solve(gram, right[..., None])[..., 0]
            left = self.total - (solution * (2 * right - (gram @ solution[..., None])[..., 0])).sum(1)
            place = int(left.argmin())
            best = min(best, (max(float(left[place]), 0.0), tuple(part[place].tolist())))
        return best
