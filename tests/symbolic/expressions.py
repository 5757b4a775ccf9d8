"""Exact values of expressions."""

from collections.abc import Sequence
from typing import Any

import mpmath
import sympy
from jaxtyping import Float
from torch import Tensor

DIGITS = 30


def exact_values(expression: sympy.Expr, names: Sequence[str], x: Float[Tensor, "n d"]) -> list[Any]:
    """The values at each point in 30 digits, as numbers of mpmath."""
    evaluate = sympy.lambdify([sympy.Symbol(name, real=True) for name in names], expression, "mpmath", cse=True)
    with mpmath.workdps(DIGITS):
        return [mpmath.mpmathify(evaluate(*map(mpmath.mpf, point))) for point in x.tolist()]


def largest_error(values: Sequence[Any], exact: Sequence[Any]) -> float:
    """The largest error, relative to the largest value."""
    with mpmath.workdps(DIGITS):
        errors = [abs(mpmath.mpmathify(value) - reference) for value, reference in zip(values, exact, strict=True)]
        return float(max(errors) / max(map(abs, exact)))
