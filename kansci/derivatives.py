"""Elementary functions of one variable with their first three derivatives, in closed form on tensors.

Each constant here is a tuple (f, f', f'', f'''). All are plain torch operations, so autograd, `vmap` and
`torch.func` apply to them, and all stay accurate far from the origin, in float32 too.
"""

from collections.abc import Callable
from functools import partial
from math import factorial, log, perm, pi, sqrt

import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import silu

Elementwise = Callable[[Tensor], Tensor]
Derivatives = tuple[Elementwise, Elementwise, Elementwise, Elementwise]


def differentiate(function: Elementwise) -> Elementwise:
    """The derivative of an elementwise function by automatic differentiation."""
    return grad(lambda x: function(x).sum())


def monomial(coefficient: float, exponent: float) -> Elementwise:
    """coefficient * x**exponent; a coefficient of 0 gives 0 even where the power is infinite."""
    if coefficient == 0:
        return torch.zeros_like
    if exponent == 0:
        return lambda x: torch.full_like(x, coefficient)
    return lambda x: coefficient * x**exponent


def power(p: float) -> Derivatives:
    """x**p: real for negative x only if p is an integer."""
    return (
        lambda x: x**p,
        monomial(p, p - 1),
        monomial(p * (p - 1), p - 2),
        monomial(p * (p - 1) * (p - 2), p - 3),
    )


def inverse(f: Elementwise, root: Elementwise, curvature: int, constant: int, sign: int = 1) -> Derivatives:
    """A function f with f'(x) = sign / root(x), where root(x)^2 = curvature x^2 + constant."""
    factor = -sign * curvature

    def third(x: Tensor) -> Tensor:
        q = root(x)
        return factor * (3 * constant / q / q - 2) / q / q / q

    return f, lambda x: sign / root(x), lambda x: factor * (x / root(x)) / root(x) / root(x), third


def _negative(f: Elementwise) -> Elementwise:
    return lambda x: -f(x)


def _scaled(factor: float, f: Elementwise) -> Elementwise:
    return lambda x: factor * f(x)


def _identity(x: Tensor) -> Tensor:
    return x


ZERO = (torch.zeros_like, torch.zeros_like, torch.zeros_like, torch.zeros_like)
IDENTITY = (_identity, torch.ones_like, torch.zeros_like, torch.zeros_like)
ABS = (torch.abs, torch.sign, torch.zeros_like, torch.zeros_like)
SIGN = (torch.sign, torch.zeros_like, torch.zeros_like, torch.zeros_like)
EXP2 = (
    torch.exp2,
    _scaled(log(2), torch.exp2),
    _scaled(log(2) ** 2, torch.exp2),
    _scaled(log(2) ** 3, torch.exp2),
)
EXP = (torch.exp, torch.exp, torch.exp, torch.exp)
LOG = (torch.log, *power(-1.0)[:3])
HEAVISIDE = (lambda x: (torch.sign(x) + 1) / 2, torch.zeros_like, torch.zeros_like, torch.zeros_like)
RELU = (lambda x: torch.maximum(x, torch.zeros_like(x)), *HEAVISIDE[:3])
SIN = (torch.sin, torch.cos, _negative(torch.sin), _negative(torch.cos))
COS = (torch.cos, _negative(torch.sin), _negative(torch.cos), torch.sin)
SINH = (torch.sinh, torch.cosh, torch.sinh, torch.cosh)
COSH = (torch.cosh, torch.sinh, torch.cosh, torch.sinh)


def _sinc_derivative(n: int, x: Tensor) -> Tensor:
    """The derivative of sin(x)/x of order n: its power series about 0, and by x f^(n) + n f^(n-1) = sin^(n) x."""
    near, far = x.clamp(-2.0, 2.0), torch.where(x.abs() < 2, 2.0, x)
    series = torch.zeros_like(x)
    for k in reversed(range((n + 1) // 2, 16)):
        series = series * near**2 + (-1) ** k * perm(2 * k, n) / factorial(2 * k + 1)
    value = torch.sin(far) / far
    for order in range(1, n + 1):
        value = (SIN[order % 4](far) - order * value) / far
    return torch.where(x.abs() < 2, near ** (n % 2) * series, value)


SINC = (
    partial(_sinc_derivative, 0),
    partial(_sinc_derivative, 1),
    partial(_sinc_derivative, 2),
    partial(_sinc_derivative, 3),
)


def _cot(x: Tensor) -> Tensor:
    return 1 / torch.tan(x)


def _cot_second(x: Tensor) -> Tensor:
    c = _cot(x)
    return 2 * c * (1 + c**2)


def _cot_third(x: Tensor) -> Tensor:
    square = _cot(x) ** 2
    return -2 * (1 + square) * (1 + 3 * square)


def _tan_second(x: Tensor) -> Tensor:
    t = torch.tan(x)
    return 2 * t * (1 + t**2)


def _tan_third(x: Tensor) -> Tensor:
    square = torch.tan(x) ** 2
    return 2 * (1 + square) * (1 + 3 * square)


TAN = (torch.tan, lambda x: 1 + torch.tan(x) ** 2, _tan_second, _tan_third)
COT = (_cot, lambda x: -(1 + _cot(x) ** 2), _cot_second, _cot_third)


# What tends to 0 at both ends is written with s(-x) in place of 1 - s(x), which loses its digits at large x.


def _sigmoid_first(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * torch.sigmoid(-x)


def _sigmoid_second(x: Tensor) -> Tensor:
    return -_sigmoid_first(x) * torch.tanh(x / 2)


def _sigmoid_third(x: Tensor) -> Tensor:
    slope = _sigmoid_first(x)
    return slope * (1 - 6 * slope)


def silu_sweep(x: Tensor, order: int) -> tuple[Tensor, ...]:
    """silu and its derivatives up to an order, from one pair of sigmoids."""
    s, r = torch.sigmoid(x), torch.sigmoid(-x)
    slope, tilt = s * r, r - s
    found = [x * s, s + x * slope]
    if order > 1:
        found.append(slope * torch.addcmul(torch.full_like(x, 2), x, tilt))
    if order > 2:
        found.append(slope * torch.addcmul(3 * tilt, x, 1 - 6 * slope))
    return tuple(found[: order + 1])


def _tanh_first(x: Tensor) -> Tensor:
    return 4 * _sigmoid_first(2 * x)


def _tanh_third(x: Tensor) -> Tensor:
    slope = _tanh_first(x)
    return slope * (4 - 6 * slope)


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


SIGMOID = (torch.sigmoid, _sigmoid_first, _sigmoid_second, _sigmoid_third)
SOFTPLUS = (_softplus, *SIGMOID[:3])
SILU = (
    silu,
    lambda x: silu_sweep(x, 1)[1],
    lambda x: silu_sweep(x, 2)[2],
    lambda x: silu_sweep(x, 3)[3],
)
TANH = (torch.tanh, _tanh_first, lambda x: -2 * torch.tanh(x) * _tanh_first(x), _tanh_third)


def _gaussian(x: Tensor) -> Tensor:
    return torch.exp(-(x**2))


def _near(x: Tensor) -> Tensor:
    """x where exp(-x^2) is not 0: x^2 may overflow elsewhere, and 0 times infinity is no number."""
    return x.clamp(-30.0, 30.0)


GAUSSIAN = (
    _gaussian,
    lambda x: -2 * x * _gaussian(x),
    lambda x: (4 * _near(x) ** 2 - 2) * _gaussian(x),
    lambda x: 4 * _near(x) * (3 - 2 * _near(x) ** 2) * _gaussian(x),
)


_ERF = 2 / sqrt(pi)
ERF = (torch.erf, _scaled(_ERF, GAUSSIAN[0]), _scaled(_ERF, GAUSSIAN[1]), _scaled(_ERF, GAUSSIAN[2]))
ERFC = (torch.special.erfc, _scaled(-_ERF, GAUSSIAN[0]), _scaled(-_ERF, GAUSSIAN[1]), _scaled(-_ERF, GAUSSIAN[2]))
CBRT = (
    lambda x: torch.sign(x) * x.abs() ** (1 / 3),
    lambda x: 1 / 3 * x.abs() ** (-2 / 3),
    lambda x: -2 / 9 * torch.sign(x) * x.abs() ** (-5 / 3),
    lambda x: 10 / 27 * x.abs() ** (-8 / 3),
)


def _one_minus_square(x: Tensor) -> Tensor:
    return (1 - x) * (1 + x)


def _atan_first(x: Tensor) -> Tensor:
    return 1 / (1 + x**2)


def _atan_third(x: Tensor) -> Tensor:
    slope = _atan_first(x)
    return (6 - 8 * slope) * slope**2


def _atanh_first(x: Tensor) -> Tensor:
    return 1 / _one_minus_square(x)


def _root_of_one_minus_square(x: Tensor) -> Tensor:
    return torch.sqrt(1 - x) * torch.sqrt(1 + x)


def _root_of_one_plus_square(x: Tensor) -> Tensor:
    return torch.hypot(x, torch.ones_like(x))


SEMICIRCLE = (
    _root_of_one_minus_square,
    lambda x: -x / _root_of_one_minus_square(x),
    lambda x: -1 / _root_of_one_minus_square(x) ** 3,
    lambda x: -3 * x / _root_of_one_minus_square(x) ** 5,
)
HYPERBOLA = (
    _root_of_one_plus_square,
    lambda x: x / _root_of_one_plus_square(x),
    lambda x: _root_of_one_plus_square(x).reciprocal() ** 3,
    lambda x: -3 * (x / _root_of_one_plus_square(x)) * _root_of_one_plus_square(x).reciprocal() ** 4,
)
LORENTZ = (
    lambda x: 1 / _root_of_one_minus_square(x),
    lambda x: x / _root_of_one_minus_square(x) ** 3,
    lambda x: (1 + 2 * x**2) / _root_of_one_minus_square(x) ** 5,
    lambda x: (9 + 6 * x**2) * x / _root_of_one_minus_square(x) ** 7,
)
ASIN = inverse(torch.asin, _root_of_one_minus_square, -1, 1)
ACOS = inverse(torch.acos, _root_of_one_minus_square, -1, 1, sign=-1)
ATAN = (torch.atan, _atan_first, lambda x: -2 * (x * _atan_first(x)) * _atan_first(x), _atan_third)
ASINH = inverse(torch.asinh, _root_of_one_plus_square, 1, 1)
ACOSH = inverse(torch.acosh, lambda x: torch.sqrt(x - 1) * torch.sqrt(x + 1), 1, -1)
ATANH = (
    torch.atanh,
    _atanh_first,
    lambda x: 2 * x * _atanh_first(x) ** 2,
    lambda x: (2 + 6 * x**2) * _atanh_first(x) ** 3,
)
