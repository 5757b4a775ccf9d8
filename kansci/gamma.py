r"""log |Gamma|, Gamma and their derivatives on tensors, differentiable to any order.

Stirling's series is summed twelve to the right of the argument, and carried back by the recurrence
Gamma(x + 1) = x Gamma(x), to negative arguments by the reflection Gamma(x) Gamma(1 - x) = pi / sin(pi x).

References:
    NIST Digital Library of Mathematical Functions, 5.5, 5.11 and 5.15.
"""

from functools import partial
from math import factorial, log, pi

import torch
from torch import Tensor

_SHIFT = 12
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)  # B_2, B_4, ...


def log_gamma_derivative(n: int, x: Tensor) -> Tensor:
    """The derivative of log |Gamma| of order n, at most 3."""
    negative = x < 0
    wide = x.double()  # single precision would lose what the recurrence cancels
    right = _right_derivative(n, torch.where(negative, 1 - wide, wide))
    left = _reflected(n, torch.where(negative, wide, -0.5)) - (-1) ** n * right
    return torch.where(negative, left, right).to(x.dtype)


def _right_derivative(n: int, x: Tensor) -> Tensor:
    """The same at x >= 0."""
    steps = x[..., None] + torch.arange(_SHIFT, dtype=x.dtype, device=x.device)
    return _stirling(n, x + _SHIFT) - _log_derivative(n, steps).sum(-1)


def _log_derivative(n: int, x: Tensor) -> Tensor:
    return torch.log(x) if n == 0 else (-1) ** (n - 1) * factorial(n - 1) * x**-n


def _stirling(n: int, x: Tensor) -> Tensor:
    """The derivative of (x - 1/2) log x - x + log(2 pi)/2 + sum of B_2k / (2k (2k-1) x^(2k-1))."""
    reciprocal = 1 / x
    square = reciprocal**2
    series = torch.zeros_like(x)
    for k, bernoulli in reversed(list(enumerate(_BERNOULLI, start=1))):
        series = series * square + bernoulli * factorial(2 * k - 2 + n) / factorial(2 * k)
    series = (-1) ** n * series * reciprocal ** (n + 1)
    if n == 0:
        return (x - 0.5) * (torch.log(x) - 1) + (log(2 * pi) - 1) / 2 + series
    if n == 1:
        return torch.log(x) - reciprocal / 2 + series
    return _log_derivative(n - 1, x) - _log_derivative(n, x) / 2 + series


def _reflected(n: int, x: Tensor) -> Tensor:
    """The derivative of log(pi / |sin(pi x)|)."""
    angle = pi * (x - torch.round(x))
    if n == 0:
        return log(pi) - torch.log(torch.sin(angle).abs())
    cotangent = 1 / torch.tan(angle)
    if n == 1:
        return -pi * cotangent
    return pi**2 * (1 + cotangent**2) * (1 if n == 2 else -2 * pi * cotangent)


def _gamma(x: Tensor) -> Tensor:
    odd = torch.remainder(torch.floor(x), 2)
    return torch.where(x < 0, 1 - 2 * odd, 1) * torch.exp(log_gamma_derivative(0, x))


def _gamma_second(x: Tensor) -> Tensor:
    first, second = (log_gamma_derivative(n, x) for n in (1, 2))
    return _gamma(x) * (first**2 + second)


def _gamma_third(x: Tensor) -> Tensor:
    first, second, third = (log_gamma_derivative(n, x) for n in (1, 2, 3))
    return _gamma(x) * (first**3 + 3 * first * second + third)


LGAMMA = (
    partial(log_gamma_derivative, 0),
    partial(log_gamma_derivative, 1),
    partial(log_gamma_derivative, 2),
    partial(log_gamma_derivative, 3),
)
GAMMA = (_gamma, lambda x: _gamma(x) * log_gamma_derivative(1, x), _gamma_second, _gamma_third)
