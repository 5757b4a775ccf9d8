r"""Libraries of functions in which a law may be written, made of a field's own formulas.

A feature is a monomial in atoms times one Fourier mode of the angles,

.. math:: \theta(x) = \prod_i a_i(x)^{p_i} \; \{\cos, \sin\}\Big(\sum_j m_j \varphi_j(x)\Big).

Atoms are the coordinates and what occurs in the field: functions, roots and denominators, and logarithms of positive
polynomials that divide their own rate of change (Darboux). Angles are coordinates that occur in sines and cosines.
Rates of change follow from those of atoms and angles, so that features cost little.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import comb
from typing import Any

import numpy as np
import sympy
import torch
from jaxtyping import Float

from kansci.errors import FormulaError
from kansci.jets import jet
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import parse_formula, symbols_of

SINES = (sympy.sin, sympy.cos, sympy.tan, sympy.cot)
HYPERBOLIC = (sympy.sinh, sympy.cosh)
MOST_ANGLES = 2  # of one mode
MOST_SUMMED = 4  # coordinates whose sums and differences may divide their own rates


@dataclass(frozen=True)
class Feature:
    """One function of a library.

    Attributes:
        powers: of the atoms.
        mode: multiples of the angles.
        odd: whether it has the sine of the mode, not the cosine.
    """

    powers: tuple[int, ...]
    mode: tuple[int, ...]
    odd: bool = False

    @property
    def cost(self) -> int:
        """Degree, that of the mode included."""
        return sum(self.powers) + max(map(abs, self.mode), default=0)


@dataclass(frozen=True)
class Values:
    """Atoms and angles at points, with their rates of change along a field.

    Attributes:
        atoms: (n, a) and their rates.
        angles: (n, m) and their rates.
    """

    atoms: Float[np.ndarray, "n a"]
    atom_rates: Float[np.ndarray, "n a"]
    angles: Float[np.ndarray, "n m"]
    angle_rates: Float[np.ndarray, "n m"]


@dataclass(frozen=True)
class Library:
    """Atoms and angles of which features are made.

    Attributes:
        names: of the coordinates.
        atoms: expressions, the coordinates among them.
        angles: expressions that sines and cosines take.
        single: how many of the atoms, at the end, are in no product: coordinates that the field has in sines only, and
            logarithms that it does not have.

    Example:
        >>> library = Library.of_field(["p", "-sin(q)"], ["q", "p"], np.array([[0.5, 0.5]]))
        >>> [str(library.expression(own)) for own in library.features(1)]
        ['p', 'q', 'cos(q)', 'sin(q)']
    """

    names: tuple[str, ...]
    atoms: tuple[sympy.Expr, ...]
    angles: tuple[sympy.Expr, ...] = ()
    single: int = 0

    @classmethod
    def of_field(
        cls, field: Sequence[sympy.Expr | str], names: Sequence[str], points: Float[np.ndarray, "n d"]
    ) -> "Library":
        """What the formulas of a field suggest.

        Args:
            field: rates of change of the coordinates.
            names: of the coordinates.
            points: where atoms have to be finite, and what is under a logarithm positive.
        """
        symbols = symbols_of(names)
        field = [parse_formula(own, names) if isinstance(own, str) else own for own in field]
        found: dict[sympy.Expr, None] = dict.fromkeys(symbols.values())
        for atom in [*_atoms(field), *_darboux(field, list(symbols.values()))]:
            usable = _usable(atom, names, points)
            if usable is not None:
                found.setdefault(usable)
        parts = _parts(field)
        alone = [own for own in found if _only_turns(own, field) or (isinstance(own, sympy.log) and own not in parts)]
        atoms = [own for own in found if own not in alone]
        return cls(tuple(names), (*atoms, *alone), tuple(_angles(field)), len(alone))

    def features(self, degree: int) -> list[Feature]:
        """All features up to a degree but the constant, the simplest first."""
        modes = list(self._modes(degree))
        found = []
        for cost in range(degree + 1):
            for powers in _compositions(cost, len(self.atoms) - self.single):
                whole = (*powers, *[0] * self.single)
                found += [Feature(whole, *mode) for mode in modes if cost + max(map(abs, mode[0]), default=0) <= degree]
        for own in range(self.single):
            alone = [0] * len(self.atoms)
            alone[-1 - own] = 1
            found.append(Feature(tuple(alone), (0,) * len(self.angles)))
        return sorted((own for own in found if own.cost), key=lambda own: (own.cost, any(own.mode)))

    def size(self, degree: int) -> int:
        """How many features there are up to a degree, the constant included."""
        ranks = [max(map(abs, mode), default=0) for mode, _ in self._modes(degree)]
        count = len(self.atoms) - self.single
        return sum(comb(degree - rank + count, count) for rank in ranks) + self.single

    def _modes(self, degree: int) -> Iterator[tuple[tuple[int, ...], bool]]:
        for mode in product(range(-degree, degree + 1), repeat=len(self.angles)):
            first = next((own for own in mode if own), 0)
            if first < 0 or sum(map(bool, mode)) > MOST_ANGLES:
                continue
            yield mode, False
            if first:
                yield mode, True

    def expression(self, feature: Feature) -> sympy.Expr:
        """The formula of a feature."""
        angle = sympy.Add(*(m * own for m, own in zip(feature.mode, self.angles, strict=True)))
        wave = (sympy.sin if feature.odd else sympy.cos)(angle)
        return sympy.Mul(*(own**p for own, p in zip(self.atoms, feature.powers, strict=True)), wave)

    @cached_property
    def _functions(self) -> list[Any]:
        return [torch_function(own, self.names) for own in (*self.atoms, *self.angles)]

    def values(self, points: Float[np.ndarray, "n d"], rates: Float[np.ndarray, "n d"] | None = None) -> Values:
        """Atoms and angles at points; rates of change where those of the coordinates are given."""
        x = torch.from_numpy(points)
        jets = [jet(own, x, "gradient" if rates is not None else "value") for own in self._functions]
        values = np.stack([own.value[:, 0].numpy() for own in jets], 1)
        slopes = np.zeros_like(values)
        if rates is not None:
            slopes = np.stack([(own.gradient[:, 0].numpy() * rates).sum(1) for own in jets], 1)
        count = len(self.atoms)
        return Values(values[:, :count], slopes[:, :count], values[:, count:], slopes[:, count:])

    def columns(
        self, features: Iterable[Feature], at: Values
    ) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
        """Features and their rates of change, one column each."""
        pairs = [_column(own, at) for own in features]
        return np.stack([value for value, _ in pairs], 1), np.stack([rate for _, rate in pairs], 1)


def _column(feature: Feature, at: Values) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Value and rate of a feature, by the rule for products."""
    value, rate = np.ones(len(at.atoms)), np.zeros(len(at.atoms))
    for i, power in enumerate(feature.powers):
        if power:
            factor = at.atoms[:, i] ** power
            slope = power * at.atoms[:, i] ** (power - 1) * at.atom_rates[:, i]
            value, rate = value * factor, rate * factor + value * slope
    if any(feature.mode):
        mode = np.array(feature.mode, float)
        angle, turn = at.angles @ mode, at.angle_rates @ mode
        factor = np.sin(angle) if feature.odd else np.cos(angle)
        slope = turn * (np.cos(angle) if feature.odd else -np.sin(angle))
        value, rate = value * factor, rate * factor + value * slope
    return value, rate


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Ways to share a degree among atoms."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        for rest in _compositions(total - first, parts - 1):
            yield first, *rest


def _parts(field: Sequence[sympy.Expr]) -> list[Any]:
    """All parts of the formulas, the same whatever the order of the terms."""
    found = {part for own in field for part in sympy.preorder_traversal(own) if part.free_symbols}
    return sorted(found, key=sympy.default_sort_key)


def _is_linear(argument: Any) -> bool:
    symbols = sorted(argument.free_symbols, key=str)
    return bool(argument.is_polynomial(*symbols)) and sympy.Poly(argument, *symbols).total_degree() <= 1


def _angles(field: Sequence[sympy.Expr]) -> list[sympy.Expr]:
    """For each coordinate in arguments of sines the largest multiple of which all of these are multiples."""
    steps: dict[Any, list[Any]] = {}
    for part in _parts(field):
        if isinstance(part, SINES) and _is_linear(part.args[0]):
            argument: Any = part.args[0]
            for symbol in argument.free_symbols:
                steps.setdefault(symbol, []).append(argument.coeff(symbol))
    found = []
    for symbol in sorted(steps, key=str):
        first = steps[symbol][0]
        ratios = [sympy.nsimplify(own / first) for own in steps[symbol]]
        common = sympy.gcd_list(ratios) if all(own.is_Rational for own in ratios) else sympy.Integer(1)
        found.append(abs(common * first) * symbol)
    return found


def _only_turns(symbol: sympy.Expr, field: Sequence[sympy.Expr]) -> bool:
    """Whether a coordinate occurs in the field, but in sines of linear arguments only."""
    waves = {part: sympy.Dummy() for part in _parts(field) if isinstance(part, SINES) and _is_linear(part.args[0])}
    occurs = any(symbol in own.free_symbols for own in field)
    return occurs and not any(symbol in own.xreplace(waves).free_symbols for own in field)


def _atoms(field: Sequence[sympy.Expr]) -> Iterator[sympy.Expr]:
    """Functions that occur, and those of which they are derivatives."""
    for part in _parts(field):
        if isinstance(part, sympy.Pow):
            yield from _roots(part)
        elif isinstance(part, SINES):
            yield from _waves(part)
        elif isinstance(part, HYPERBOLIC):
            yield from (own(part.args[0]) for own in HYPERBOLIC)
        elif isinstance(part, sympy.tanh):
            yield from (part, sympy.log(sympy.cosh(part.args[0])))
        elif isinstance(part, sympy.atan):
            yield from (part, sympy.log(1 + part.args[0] ** 2))
        elif isinstance(part, sympy.Function):
            yield part


def _roots(part: Any) -> Iterator[sympy.Expr]:
    """Of a power: roots, or the reciprocal and the logarithm, of its base."""
    base, exponent = part.as_base_exp()
    if not exponent.is_Rational:
        yield part
    elif exponent.q > 1:
        yield from (base ** sympy.Rational(sign, exponent.q) for sign in (-1, 1))
    elif exponent < 0:
        yield from (1 / base, sympy.log(base))


def _waves(part: Any) -> Iterator[sympy.Expr]:
    argument = part.args[0]
    if not _is_linear(argument):
        yield from (sympy.sin(argument), sympy.cos(argument))
    if isinstance(part, sympy.tan):
        yield from (1 / sympy.cos(argument), sympy.log(sympy.cos(argument)))
    if isinstance(part, sympy.cot):
        yield from (1 / sympy.sin(argument), sympy.log(sympy.sin(argument)))


def _darboux(field: Sequence[sympy.Expr], symbols: Sequence[sympy.Symbol]) -> Iterator[sympy.Expr]:
    """Logarithms of polynomials P whose rates of change are multiples of P, among the factors of the field and sums."""
    if not all(own.is_polynomial(*symbols) for own in field):
        return
    factors = [factor for own in field if own != 0 for factor, _ in sympy.factor_list(own, *symbols)[1]]
    if len(symbols) <= MOST_SUMMED:
        weights = [own for own in product((-1, 0, 1), repeat=len(symbols)) if next(filter(None, own), 0) == 1]
        factors += [sympy.Add(*(w * s for w, s in zip(own, symbols, strict=True))) for own in weights]
    for factor in dict.fromkeys(factors):
        rate = sympy.expand(sum(factor.diff(s) * f for s, f in zip(symbols, field, strict=True)))
        if rate != 0 and sympy.reduced(rate, [factor], *symbols)[1] == 0:
            yield sympy.log(factor)


def _usable(atom: sympy.Expr, names: Sequence[str], points: Float[np.ndarray, "n d"]) -> sympy.Expr | None:
    """The atom, or its twin of the opposite sign under a logarithm, where it is finite at all points."""
    twins = [atom]
    if isinstance(atom, sympy.log):
        twins.append(sympy.log(sympy.expand(-atom.args[0])))
    for twin in twins:
        try:
            values = torch_function(twin, names)(points)
        except FormulaError:
            continue
        if np.isfinite(values).all() and np.ptp(values) > 0:
            return twin
    return None
