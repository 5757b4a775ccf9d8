r"""Functions whose slope is rational, read from a spline.

Many functions of physics are not in the library of single functions, but their slope by some root u of the variable is

.. math:: \frac{df}{du} = \frac{P(u)}{Q(u)}

with polynomials of low degree. The first degrees that describe a spline within its error are taken; partial fractions
say the function: powers of u, and logarithms of u less the roots of Q, which have to be simple and real.
"""

from typing import Any

import numpy as np
import sympy
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

import kansci as ks

ROOTS = (1, 2, 3)
DEGREES = 4
REAL = 1e-4  # imaginary part of a root that is real, and distance of roots that are one
SIGNIFICANT = 1e-4  # of a coefficient, relative to the largest one


def read_rational(model: ks.MultKAN, radii: Tensor, error: float) -> list[sympy.Expr]:
    """Formulas of r that a spline may be, up to a constant, the simplest first.

    Args:
        model: f as a function of r.
        radii: where to look (n, 1).
        error: of the slope, relative to its largest value.
    """
    r = radii[:, 0].numpy()
    with torch.no_grad():
        slope = model.jet(radii, "gradient").gradient[:, 0, 0].numpy()
    found: list[tuple[int, sympy.Expr]] = []
    for root in ROOTS:
        u = r ** (1 / root)
        by_root = slope * root * u ** (root - 1)
        for total in range(2 * DEGREES + 1):
            fits = [_fit(u, by_root, total - q, q) for q in range(min(total, DEGREES) + 1) if total - q <= DEGREES]
            good = [own for own in fits if own is not None and _misfit(own, u, by_root) <= error]
            texts = [text for text in (_integral(*own, u, root) for own in good) if text is not None]
            if texts:
                found.append((total, texts[0]))
                break
    return [expression for _, expression in sorted(found, key=lambda pair: pair[0])]


def _fit(u: np.ndarray, y: np.ndarray, p: int, q: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Coefficients of P and Q, lowest first, Q's highest one being 1."""
    size = np.abs(y).max()
    left, right = (np.vander(u, count + 1, increasing=True) for count in (p, q))
    matrix = np.concatenate([left, -right * y[:, None] / size], 1)
    scales = np.linalg.norm(matrix, axis=0)
    solution = np.linalg.svd(matrix / scales, full_matrices=False)[2][-1] / scales
    top, bottom = solution[: p + 1] * size, solution[p + 1 :]
    if abs(bottom[-1]) < 1e-12 * np.abs(bottom).max():
        return None
    return top / bottom[-1], bottom / bottom[-1]


def _misfit(fit: tuple[np.ndarray, np.ndarray], u: np.ndarray, y: np.ndarray) -> float:
    values = Polynomial(fit[0])(u) / Polynomial(fit[1])(u)
    return float(np.abs(values - y).max() / np.abs(y).max())


def _integral(top: np.ndarray, bottom: np.ndarray, u: np.ndarray, root: int) -> sympy.Expr | None:
    """The integral of P / Q by partial fractions, a formula of r, or None where Q's roots are not simple and real."""
    r = sympy.Symbol("r", real=True)
    variable = r if root == 1 else r ** sympy.Rational(1, root) if root > 2 else sympy.sqrt(r)
    quotient, rest = divmod(Polynomial(top), Polynomial(bottom))
    powers = enumerate(quotient.integ().coef)
    total: sympy.Expr = sympy.Add(*(sympy.Float(own) * variable**k for k, own in powers if abs(own) > SIGNIFICANT))
    complex_places: Any = Polynomial(bottom).roots() if len(bottom) > 1 else np.array([])
    if (np.abs(np.imag(complex_places)) > REAL).any():
        return None
    places = np.sort(np.real(complex_places))
    if (np.diff(places) < REAL).any() or ((places > u.min()) & (places < u.max())).any():
        return None
    for place in places:
        factor = float(rest(place) / Polynomial(bottom).deriv()(place))
        if abs(factor) > SIGNIFICANT:
            sign = 1 if place < u.min() else -1
            shift = 0.0 if abs(place) < SIGNIFICANT else place
            total += sympy.Float(factor) * sympy.log(sign * (variable - sympy.Float(shift) if shift else variable))
    return total if total.free_symbols else None
