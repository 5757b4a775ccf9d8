r"""Sparse combinations of features that do not change: the null space of their rates of change.

Row by row :math:`\sum_k c_k \dot\theta_k(x_i) = 0`. Where a feature's rate is a combination of those of simpler ones,
there is one null vector with this feature and independent simpler ones: the reduced echelon form of the null space,
which is sparse and found by two orthogonal factorizations. Its constants are made exact where high precision proves it.

References:
    Kaiser, Kutz, Brunton, Discovering conservation laws from data for control, CDC 2018.
    Golub, Van Loan, Matrix Computations, chapter 5.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from jaxtyping import Float
from scipy.linalg import qr

from kansci.symbolic.parse import symbols_of

DEPENDENT = 1e-10  # what other columns leave of one, relative
EXACT = 1e-11
NOTHING = 1e-9  # coefficients of columns of size 1
THRESHOLDS = (1e-2, 1e-4, 1e-6, 0.0)
DENOMINATORS = (12, 1000, 10**6, 10**8)
CLOSE = 1e-7
DIGITS = 50
PROOF = sympy.Float("1e-35")


def null_vectors(rates: Float[np.ndarray, "n k"]) -> Iterator[tuple[int, Float[np.ndarray, "k"]]]:
    """Combinations of columns that vanish, each with its last column that no other one has.

    Args:
        rates: one column for each feature, the simplest first.

    Yields:
        The number of the last column, and coefficients whose last one is 1.

    Example:
        >>> x = np.linspace(0, 1, 9)
        >>> [(last, c.round(9).tolist()) for last, c in null_vectors(np.stack([x, x**2, 3 * x - x**2], 1))]
        [(2, [-3.0, 1.0, 1.0])]
    """
    sizes = np.sqrt((rates**2).mean(0))
    sizes = np.where(sizes > 0, sizes, 1.0)
    scaled = rates / sizes
    triangle = np.asarray(qr(scaled, mode="r", check_finite=False)[0])
    left = np.zeros(rates.shape[1])
    left[: min(rates.shape)] = np.abs(np.diag(triangle)) / np.sqrt(len(rates))
    free = left > DEPENDENT
    if free.all():
        return
    triangle = triangle[: rates.shape[1]]
    found = _solved(triangle[:, free], triangle[:, ~free])
    for last, own in zip(np.flatnonzero(~free), found.T, strict=True):
        whole = np.zeros(rates.shape[1])
        whole[free] = -own
        sparse = _sparse(triangle, whole, int(last))
        if sparse is not None:
            yield int(last), sparse / sizes * sizes[last]


def _solved(matrix: Float[np.ndarray, "n k"], right: Float[np.ndarray, "n *m"]) -> Float[np.ndarray, "k *m"]:
    return np.linalg.lstsq(matrix, right)[0]


def _sparse(
    triangle: Float[np.ndarray, "k k"], weights: Float[np.ndarray, "k"], last: int
) -> Float[np.ndarray, "k"] | None:
    """The last column as a combination of as few others as possible: those with large weights, determined anew."""
    for smallest in THRESHOLDS:
        kept = np.flatnonzero(np.abs(weights) > smallest * max(np.abs(weights).max(), 1.0))
        own = _solved(triangle[:, kept], -triangle[:, last])
        if np.linalg.norm(triangle[:, kept] @ own + triangle[:, last]) <= EXACT * np.linalg.norm(triangle[:, last]):
            sparse = np.zeros_like(weights)
            sparse[kept] = np.where(np.abs(own) > NOTHING, own, 0.0)
            sparse[last] = 1.0
            return sparse
    return None


def exact_formula(
    coefficients: Sequence[float] | Float[np.ndarray, "k"],
    features: Sequence[sympy.Expr],
    field: Sequence[sympy.Expr],
    points: Float[np.ndarray, "n d"],
    names: Sequence[str],
) -> tuple[sympy.Expr, bool]:
    """A formula with exact constants, if it is proven by high precision that it is conserved, else with numbers.

    Args:
        coefficients: of the features.
        features: their formulas.
        field: rates of change of the coordinates.
        points: some at which the proof is made.
        names: of the coordinates.

    Returns:
        The formula, scaled to integers without a common factor where it is exact, and whether it is.

    Example:
        >>> x, p = sympy.symbols("x p", real=True)
        >>> exact_formula([0.333333333333, 1.0], [x**2, p**2], [p, -x / 3], np.array([[0.3, 0.7]]), ["x", "p"])
        (3*p**2 + x**2, True)
    """
    bases = _bases(field)
    for denominator in DENOMINATORS:
        found = [_simple(own, denominator, bases) for own in coefficients]
        exact = [own for own in found if own is not None]
        if len(exact) < len(found):
            continue
        formula = _scaled(exact, features)
        if is_conserved(formula, field, points, names):
            return formula, True
    return sympy.Add(*(sympy.Float(float(c)) * own for c, own in zip(coefficients, features, strict=True))), False


def is_conserved(
    formula: sympy.Expr, field: Sequence[sympy.Expr], points: Float[np.ndarray, "n d"], names: Sequence[str]
) -> bool:
    """Whether a formula does not change along a field, to 35 digits at the points.

    Example:
        >>> x, p = sympy.symbols("x p", real=True)
        >>> is_conserved(x**2 + p**2, [p, -x], np.array([[0.3, 0.7]]), ["x", "p"])
        True
    """
    symbols: list[Any] = list(symbols_of(names).values())
    rates = [formula.diff(symbol) * own for symbol, own in zip(symbols, field, strict=True)]
    for point in points:
        place: dict[Any, Any] = {
            symbol: sympy.Float(float(value), DIGITS) for symbol, value in zip(symbols, point, strict=True)
        }
        terms = [own.evalf(DIGITS, subs=place) for own in rates]
        if not all(own.is_Float or own.is_Number for own in terms):
            return False
        if abs(sum(terms)) > PROOF * max([abs(own) for own in terms], default=0):
            return False
    return True


def _bases(field: Sequence[sympy.Expr]) -> list[Any]:
    """1 and the irrational constants that occur in a field, with their reciprocals."""
    found: set[Any] = {part for own in field for part in sympy.preorder_traversal(own) if _is_irrational(part)}
    ordered = sorted(found, key=sympy.default_sort_key)
    return [sympy.Integer(1), *ordered, *(1 / own for own in ordered)]


def _is_irrational(part: sympy.Basic) -> bool:
    return isinstance(part, sympy.NumberSymbol | sympy.Pow) and not part.free_symbols


def _simple(value: float, denominator: int, bases: Sequence[sympy.Expr]) -> sympy.Expr | None:
    """A ratio with a bounded denominator, or one times a constant of the field, near a value."""
    for base in bases:
        ratio = Fraction(value / float(base)).limit_denominator(denominator)
        if ratio and abs(float(ratio) * float(base) - value) <= min(CLOSE, 1e-3 / denominator) * abs(value):
            return sympy.Rational(ratio.numerator, ratio.denominator) * base
    return None


def _scaled(coefficients: Sequence[sympy.Expr], features: Sequence[sympy.Expr]) -> sympy.Expr:
    """The combination times the number that makes all ratios integers without a common factor."""
    ratios: list[Any] = [sympy.Rational(own.as_coeff_Mul()[0]) for own in coefficients]
    common = sympy.ilcm(*(own.q for own in ratios), 1)
    divisor = sympy.igcd(0, *(int(own * common) for own in ratios))
    formula = sympy.Add(*(c * common / divisor * own for c, own in zip(coefficients, features, strict=True)))
    return -formula if formula.could_extract_minus_sign() else formula
