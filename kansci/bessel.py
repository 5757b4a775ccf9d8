r"""Bessel functions of integer order on tensors, differentiable to any order.

Near the origin they are their power series. Further out I_n comes from torch's I_0 and I_1 by recurrence, and the other
kinds come from one integral: with $s^2 = z (\cosh t - 1)$ and $u = s^2 / z$,

$$K_n(z) = \int_0^\infty e^{-z \cosh t} \cosh(nt) \, dt
         = \frac{e^{-z}}{\sqrt{2z}} \int_{-\infty}^\infty e^{-s^2} \frac{T_n(1 + u)}{\sqrt{1 + u/2}} \, ds,$$

whose trapezoidal sum over a few points converges geometrically for every large |z|, and
$J_n(x) + i Y_n(x) = \frac{2}{\pi} (-i)^{n+1} K_n(-ix)$.

References:
    NIST Digital Library of Mathematical Functions, 10.8, 10.27, 10.31 and 10.32.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import comb, factorial, pi, sqrt

import torch
from torch import Tensor

from kansci.derivatives import Derivatives, Elementwise

_EULER = 0.5772156649015329
_FEW = 4.0  # up to here J and Y are power series
_FEW_K = 2.0
_FEW_I = 8.0
_TERMS = 32  # of a power series
_STEP = 1 / 3
_POINTS = 20  # exp(-(20/3)**2) is 0 beside 1


def first_kind(n: int, x: Tensor) -> Tensor:
    """J_n."""
    near = _regular(n, -1, x.clamp(-_FEW, _FEW))
    return torch.where(x.abs() < _FEW, near, torch.sign(x) ** n * _hankel(n, x.abs()).real)


def second_kind(n: int, x: Tensor) -> Tensor:
    """Y_n."""
    return torch.where(x > _FEW, _hankel(n, x).imag, _irregular(n, -1, x.clamp(max=_FEW)) / -pi)


def modified_first_kind(n: int, x: Tensor) -> Tensor:
    """I_n."""
    near = _regular(n, 1, x.clamp(-_FEW_I, _FEW_I))
    return torch.where(x.abs() < _FEW_I, near, torch.sign(x) ** n * _growing(n, x.abs()))


def modified_second_kind(n: int, x: Tensor) -> Tensor:
    """K_n."""
    near = _irregular(n, 1, x.clamp(max=_FEW_K)) / (-2 if n % 2 else 2)
    return torch.where(x > _FEW_K, _decaying(n, x), near)


def derivatives(kind: Callable[[int, Tensor], Tensor], n: int, sign: int, factor: float = 0.5) -> Derivatives:
    """f_n of a kind with f_n' = factor (f_(n-1) + sign f_(n+1)), and its first three derivatives."""

    def derivative(order: int) -> Elementwise:
        weights: dict[int, float] = defaultdict(float)
        for j in range(order + 1):
            m = n - order + 2 * j
            weights[abs(m)] += factor**order * comb(order, j) * sign**j * (sign**m if m < 0 else 1)
        *lower, highest = sorted(m for m, weight in weights.items() if weight)

        def evaluate(x: Tensor) -> Tensor:
            total = weights[highest] * kind(highest, x)
            for m in lower:
                value = kind(m, x)
                total = total + weights[m] * torch.where(value.isinf(), 0, value)  # there the highest is infinite, too
            return total

        return evaluate

    return derivative(0), derivative(1), derivative(2), derivative(3)


def _horner(coefficients: Sequence[float], z: Tensor) -> Tensor:
    total = torch.zeros_like(z)
    for coefficient in reversed(coefficients):
        total = total * z + coefficient
    return total


def _regular(n: int, sign: int, x: Tensor) -> Tensor:
    """The power series of J_n (sign -1) or I_n (sign 1)."""
    terms = [sign**k / (factorial(k) * factorial(n + k)) for k in range(_TERMS)]
    return (x / 2) ** n * _horner(terms, (x / 2) ** 2)


def _irregular(n: int, sign: int, x: Tensor) -> Tensor:
    """The series about the origin of -pi Y_n (sign -1) or 2 (-1)^n K_n (sign 1)."""
    half = x / 2
    z = half**2
    harmonic = [sum(1 / j for j in range(1, k + 1)) for k in range(n + _TERMS)]
    regular = [sign**k / (factorial(k) * factorial(n + k)) for k in range(_TERMS)]
    digammas = [c * (harmonic[k] + harmonic[n + k] - 2 * _EULER) for k, c in enumerate(regular)]
    poles = [(-sign) ** (n + k) * factorial(n - k - 1) / factorial(k) for k in range(n)]
    finite = half**n * _horner(digammas, z) - 2 * torch.xlogy(half**n, half) * _horner(regular, z)
    return finite + half**-n * _horner(poles, z) if n else finite


def _growing(n: int, x: Tensor) -> Tensor:
    """I_n at large x, without overflow where I_n is finite."""
    x = x.clamp(min=_FEW_I)
    lower, upper = torch.special.i0e(x), torch.special.i1e(x)
    for order in range(1, n + 1):
        lower, upper = upper, lower - 2 * order / x * upper
    half = torch.exp(x / 2)
    return half * (half * lower)


def _decaying(n: int, x: Tensor) -> Tensor:
    """K_n at large x."""
    x = x.clamp(min=_FEW_K)
    return torch.exp(-x) / torch.sqrt(x) / sqrt(2) * _integral(n, _squares(x) / x[..., None])


def _hankel(n: int, x: Tensor) -> Tensor:
    """J_n + i Y_n at large x."""
    x = x.clamp(min=_FEW)
    u = _squares(x) / x[..., None]
    turn = (1 - 1j) / sqrt(pi) * (-1j) ** n / sqrt(pi)
    return turn * torch.complex(torch.cos(x), torch.sin(x)) / torch.sqrt(x) * _integral(n, torch.complex(0 * u, u))


def _squares(x: Tensor) -> Tensor:
    return ((torch.arange(_POINTS, dtype=x.dtype, device=x.device) + 0.5) * _STEP) ** 2


def _integral(n: int, u: Tensor) -> Tensor:
    r"""The integral of exp(-s^2) T_n(1 + u) / sqrt(1 + u / 2) over all s; u = s^2 / z at the points s > 0."""
    cosine = 1 + u
    before, chebyshev = cosine, torch.ones_like(u)
    for _ in range(n):
        before, chebyshev = chebyshev, 2 * cosine * chebyshev - before
    weights = 2 * _STEP * torch.exp(-_squares(u.real))
    return (weights * chebyshev / torch.sqrt(1 + u / 2)).sum(-1)


J0, J1 = (derivatives(first_kind, n, sign=-1) for n in (0, 1))
Y0, Y1 = (derivatives(second_kind, n, sign=-1) for n in (0, 1))
I0, I1 = (derivatives(modified_first_kind, n, sign=1) for n in (0, 1))
K0, K1 = (derivatives(modified_second_kind, n, sign=1, factor=-0.5) for n in (0, 1))
