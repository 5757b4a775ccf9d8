"""The table of named functions of one variable.

One row holds all that is known about a function f: values and derivatives on tensors, the SymPy expression,
which of the constants of c f(a x + b) + d can be told apart, the complexity, and where f is real. Whatever
treats functions one by one reads it here: base functions, symbolic edges, the parser, the KANpiler.
"""

import difflib
import keyword
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from math import inf, isfinite, pi
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci import bessel, gamma
from kansci import derivatives as forms
from kansci.derivatives import Derivatives, Elementwise
from kansci.errors import ConfigError, UnknownFunctionError

Head = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Function:
    """A real function f of one real variable with its first three derivatives.

    Attributes:
        name: The name in the table.
        derivatives: f, f', f'' and f''', each elementwise on a tensor of any shape.
        head: (sympy module, argument) -> the real SymPy expression f(argument).
        free: The constants of c f(a x + b) + d that data can determine; the others are gauge and stay fixed.
            For the exponential it is "acd", because b only rescales c.
        complexity: What f adds to the length of a formula: 0 for zero, 1 for x, more for the others.
        domain: The closed interval on which f is real.
        singular: Points where f or one of its first three derivatives jumps or is not finite.
        period: The period of f, with which its singular points recur; None if f is not periodic.
        sweep: (x, order) -> the values of f and of its derivatives up to an order, where that is faster together.

    Example:
        >>> library_function("exp")
        Function(name='exp', free='acd', complexity=2, domain=(-inf, inf), singular=(), period=None)
        >>> library_function("x**3").jet(torch.tensor(2.0), order=2)
        (tensor(8.), tensor(12.), tensor(12.))
    """

    name: str
    derivatives: Derivatives = field(repr=False)
    head: Head = field(repr=False)
    free: str
    complexity: int
    domain: tuple[float, float] = (-inf, inf)
    singular: tuple[float, ...] = ()
    period: float | None = None
    sweep: Callable[[Tensor, int], tuple[Tensor, ...]] | None = field(default=None, repr=False)

    def __call__(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The values f(x)."""
        return self.derivatives[0](x)

    def __reduce__(self) -> tuple[Callable[[str], "Function"], tuple[str]]:
        """Copies and pickles find the function again by its name."""
        return library_function, (self.name,)

    def jet(self, x: Float[Tensor, "*shape"], order: int) -> tuple[Float[Tensor, "*shape"], ...]:
        """The values of f and of its derivatives up to `order`, at most 3."""
        if self.sweep is not None:
            return self.sweep(x, order)
        return tuple(derivative(x) for derivative in self.derivatives[: order + 1])

    def sympy(self, argument: Any) -> Any:
        """The SymPy expression f(argument)."""
        import sympy

        return self.head(sympy, sympy.sympify(argument, strict=True))


_MAX_EXPONENT = 1000
_MAX_DENOMINATOR = 1000
_UNIT = (-1.0, 1.0)
_POSITIVE = (0.0, inf)
_POLES = tuple(-float(n) for n in range(21))  # of Gamma; between those further left it is 0 to rounding


def _power(name: str, exponent: Fraction, complexity: int) -> Function:
    whole = exponent.denominator == 1
    smooth = exponent >= 3 or (whole and exponent > 0)
    return Function(
        name,
        forms.power(float(exponent)),
        lambda sp, x: x ** _sympy_exponent(sp, exponent),
        "bcd",
        complexity,
        domain=(-inf, inf) if whole else (0.0, inf),
        singular=() if smooth else (0.0,),
    )


def _sympy_exponent(sp: Any, exponent: Fraction) -> Any:
    if exponent.denominator > _MAX_DENOMINATOR:
        return sp.Float(float(exponent))
    return sp.Rational(exponent.numerator, exponent.denominator)


def _sympy_abs(sp: Any, x: Any) -> Any:
    """|x| of a real quantity; SymPy by itself takes log(x) for complex and expands |log(x)|."""
    return sp.Abs(x, evaluate=bool(x.is_extended_real))


def _sympy_cbrt(sp: Any, x: Any) -> Any:
    return sp.sign(x) * _sympy_abs(sp, x) ** sp.Rational(1, 3)


def _sympy_lgamma(sp: Any, x: Any) -> Any:
    return sp.log(_sympy_abs(sp, sp.gamma(x)))


_ROWS = (
    Function("zero", forms.ZERO, lambda sp, x: sp.Integer(0), "d", 0),
    Function("x", forms.IDENTITY, lambda sp, x: x, "cd", 1),
    _power("x**2", Fraction(2), 2),
    _power("x**3", Fraction(3), 3),
    _power("x**4", Fraction(4), 3),
    _power("x**5", Fraction(5), 3),
    _power("1/x", Fraction(-1), 2),
    _power("1/x**2", Fraction(-2), 3),
    _power("sqrt", Fraction(1, 2), 2),
    _power("1/sqrt", Fraction(-1, 2), 3),
    Function("cbrt", forms.CBRT, _sympy_cbrt, "bcd", 3, singular=(0.0,)),
    Function("exp", forms.EXP, lambda sp, x: sp.exp(x), "acd", 2),
    Function("exp2", forms.EXP2, lambda sp, x: 2**x, "acd", 3),
    Function("log", forms.LOG, lambda sp, x: sp.log(x), "bcd", 2, domain=(0.0, inf), singular=(0.0,)),
    Function("sin", forms.SIN, lambda sp, x: sp.sin(x), "abcd", 2, period=2 * pi),
    Function("cos", forms.COS, lambda sp, x: sp.cos(x), "abcd", 2, period=2 * pi),
    Function("tan", forms.TAN, lambda sp, x: sp.tan(x), "abcd", 3, singular=(pi / 2,), period=pi),
    Function("cot", forms.COT, lambda sp, x: sp.cot(x), "abcd", 4, singular=(0.0,), period=pi),
    Function("sinc", forms.SINC, lambda sp, x: sp.sinc(x), "abcd", 4),
    Function("asin", forms.ASIN, lambda sp, x: sp.asin(x), "abcd", 4, domain=_UNIT, singular=_UNIT),
    Function("acos", forms.ACOS, lambda sp, x: sp.acos(x), "abcd", 4, domain=_UNIT, singular=_UNIT),
    Function("atan", forms.ATAN, lambda sp, x: sp.atan(x), "abcd", 4),
    Function("sinh", forms.SINH, lambda sp, x: sp.sinh(x), "abcd", 3),
    Function("cosh", forms.COSH, lambda sp, x: sp.cosh(x), "abcd", 3),
    Function("tanh", forms.TANH, lambda sp, x: sp.tanh(x), "abcd", 3),
    Function("asinh", forms.ASINH, lambda sp, x: sp.asinh(x), "abcd", 4),
    Function("acosh", forms.ACOSH, lambda sp, x: sp.acosh(x), "abcd", 4, domain=(1.0, inf), singular=(1.0,)),
    Function("atanh", forms.ATANH, lambda sp, x: sp.atanh(x), "abcd", 4, domain=_UNIT, singular=_UNIT),
    Function("abs", forms.ABS, _sympy_abs, "bcd", 3, singular=(0.0,)),
    Function("sign", forms.SIGN, lambda sp, x: sp.sign(x), "cd", 3, singular=(0.0,)),
    Function("heaviside", forms.HEAVISIDE, lambda sp, x: sp.Heaviside(x), "cd", 3, singular=(0.0,)),
    Function("relu", forms.RELU, lambda sp, x: sp.Max(0, x), "bcd", 3, singular=(0.0,)),
    Function("softplus", forms.SOFTPLUS, lambda sp, x: sp.log(1 + sp.exp(x)), "abcd", 4),
    Function("sigmoid", forms.SIGMOID, lambda sp, x: 1 / (1 + sp.exp(-x)), "abcd", 4),
    Function("silu", forms.SILU, lambda sp, x: x / (1 + sp.exp(-x)), "abcd", 4, sweep=forms.silu_sweep),
    Function("gaussian", forms.GAUSSIAN, lambda sp, x: sp.exp(-(x**2)), "abcd", 3),
    Function("semicircle", forms.SEMICIRCLE, lambda sp, x: sp.sqrt(1 - x**2), "abcd", 4, domain=_UNIT, singular=_UNIT),
    Function("hyperbola", forms.HYPERBOLA, lambda sp, x: sp.sqrt(1 + x**2), "abcd", 4),
    Function("lorentz", forms.LORENTZ, lambda sp, x: 1 / sp.sqrt(1 - x**2), "abcd", 4, domain=_UNIT, singular=_UNIT),
    Function("erf", forms.ERF, lambda sp, x: sp.erf(x), "abcd", 4),
    Function("erfc", forms.ERFC, lambda sp, x: sp.erfc(x), "abcd", 4),
    Function("gamma", gamma.GAMMA, lambda sp, x: sp.gamma(x), "abcd", 5, singular=_POLES),
    Function("lgamma", gamma.LGAMMA, _sympy_lgamma, "abcd", 5, singular=_POLES),
    Function("j0", bessel.J0, lambda sp, x: sp.besselj(0, x), "abcd", 5),
    Function("j1", bessel.J1, lambda sp, x: sp.besselj(1, x), "abcd", 5),
    Function("y0", bessel.Y0, lambda sp, x: sp.bessely(0, x), "abcd", 5, domain=_POSITIVE, singular=(0.0,)),
    Function("y1", bessel.Y1, lambda sp, x: sp.bessely(1, x), "abcd", 5, domain=_POSITIVE, singular=(0.0,)),
    Function("i0", bessel.I0, lambda sp, x: sp.besseli(0, x), "abcd", 5),
    Function("i1", bessel.I1, lambda sp, x: sp.besseli(1, x), "abcd", 5),
    Function("k0", bessel.K0, lambda sp, x: sp.besselk(0, x), "abcd", 5, domain=_POSITIVE, singular=(0.0,)),
    Function("k1", bessel.K1, lambda sp, x: sp.besselk(1, x), "abcd", 5, domain=_POSITIVE, singular=(0.0,)),
)

LIBRARY: dict[str, Function] = {row.name: row for row in _ROWS}

ALIASES = {
    "x**1": "x",
    "x**-1": "1/x",
    "x**-2": "1/x**2",
    "x**(1/2)": "sqrt",
    "x**(-1/2)": "1/sqrt",
    "ln": "log",
    "Abs": "abs",
    "sgn": "sign",
    "Heaviside": "heaviside",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
}

_RATIO = r"\((-?[0-9]{1,9}/[1-9][0-9]{0,8})\)"
_NUMBER = r"(-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,3})?)"
_POWER_NAME = re.compile(rf"x\*\*(?:{_RATIO}|{_NUMBER})")


def library_function(name: str) -> Function:
    """The function of that name: a row of LIBRARY, also by another name (ALIASES), or a power of x.

    Powers are spelled "x**6", "x**-3", "x**(5/2)", or "x**0.618033988749895" where the exponent is no ratio
    of integers with a denominator up to 1000. Other spellings, as "x**2.5", find the same function.

    Args:
        name: The name.

    Returns:
        The function, the same object for every spelling.

    Raises:
        UnknownFunctionError: There is no such function; the message offers the names nearest to it.
        ConfigError: The exponent of a power is 0 or larger than 1000.

    Example:
        >>> [library_function(name).name for name in ("x**2.5", "x**0.5", "ln")]
        ['x**(5/2)', 'sqrt', 'log']
    """
    row = LIBRARY.get(ALIASES.get(name, name))
    if row is not None:
        return row
    power = _POWER_NAME.fullmatch(name)
    if power is None:
        raise UnknownFunctionError(_unknown(name))
    return power_function(Fraction(power[1] or power[2]))


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), [*LIBRARY, *ALIASES], n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return (
        f"expected a function of the library, got {name!r}; {hint}"
        f"Known are x**p for any number p and {', '.join(LIBRARY)}; add others with register_function."
    )


def power_function(exponent: float | Fraction) -> Function:
    """The function x**p for any real p other than 0: a row of LIBRARY where there is one.

    Args:
        exponent: p, at most 1000 in magnitude. A float that is the nearest to a ratio of integers with a
            denominator up to 1000 stands for this ratio. Unless p is an integer, the domain is x >= 0.

    Returns:
        The function, the same object for equal exponents.

    Raises:
        ConfigError: The exponent is 0, not finite or larger than 1000.

    Example:
        >>> power_function(1.5)
        Function(name='x**(3/2)', free='bcd', complexity=4, domain=(0.0, inf), singular=(0.0,), period=None)
    """
    p = float(exponent)
    if not 0 < abs(p) <= _MAX_EXPONENT:
        raise ConfigError(f"expected an exponent other than 0, at most {_MAX_EXPONENT} in magnitude, got {exponent}")
    ratio = Fraction(p).limit_denominator(_MAX_DENOMINATOR)
    return _exact_power(ratio if float(ratio) == p else Fraction(p))


@cache
def _exact_power(exponent: Fraction) -> Function:
    if exponent.denominator == 1:
        name = f"x**{exponent}"
    elif exponent.denominator <= _MAX_DENOMINATOR:
        name = f"x**({exponent})"
    else:
        name = f"x**{float(exponent)}"
    return LIBRARY.get(ALIASES.get(name, name)) or _power(name, exponent, complexity=4)


def register_function(
    name: str,
    function: Elementwise,
    head: Head,
    *,
    derivatives: Sequence[Elementwise] = (),
    free: str = "abcd",
    complexity: int = 3,
    domain: tuple[float, float] = (-inf, inf),
    singular: Sequence[float] = (),
    period: float | None = None,
) -> Function:
    """Add a function to LIBRARY.

    Args:
        name: Its name, by which formulas can call it.
        function: f, torch operations elementwise on a tensor of any shape.
        head: (sympy module, argument) -> the real SymPy expression f(argument).
        derivatives: The first three derivatives; missing ones are found by automatic differentiation.
        free: The constants of c f(a x + b) + d that data can determine, see `Function`.
        complexity: What f adds to the length of a formula, see `Function`.
        domain: The closed interval on which f is real.
        singular: Points where f or one of its first three derivatives jumps or is not finite.
        period: The period of f, if it has one.

    Returns:
        The new row.

    Raises:
        ConfigError: The name is taken or no identifier, or the row contradicts itself: f is not elementwise
            or not finite inside its domain, a derivative is not the slope of the one before, or head is
            another function.

    Example:
        >>> register_function("witch", lambda x: 1 / (1 + x**2), lambda sp, x: 1 / (1 + x**2))
        Function(name='witch', free='abcd', complexity=3, domain=(-inf, inf), singular=(), period=None)
        >>> library_function("witch").jet(torch.tensor(1.0), order=1)
        (tensor(0.5000), tensor(-0.5000))
        >>> del LIBRARY["witch"]
    """
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"expected a name of letters, digits and underscores, such as 'airy', got {name!r}")
    if name in LIBRARY or name in ALIASES:
        raise ConfigError(f"expected a new name, got {name!r}, which the library has; choose another")
    jet = [function, *derivatives]
    while len(jet) < 4:
        jet.append(forms.differentiate(jet[-1]))
    first_four = (jet[0], jet[1], jet[2], jet[3])
    row = Function(name, first_four, head, free, complexity, domain, tuple(singular), period)
    _check_row(row)
    LIBRARY[name] = row
    return row


def _check_row(row: Function) -> None:
    if row.free != "".join(constant for constant in "abcd" if constant in row.free):
        raise ConfigError(f"expected free to be letters of 'abcd' in this order, got {row.free!r}")
    if not row.domain[0] < row.domain[1]:
        raise ConfigError(f"expected a domain (low, high) with low < high, got {row.domain}")
    x = _interior_points(row.domain)
    jet = [derivative(x) for derivative in row.derivatives]
    if any((v.shape, v.dtype) != (x.shape, x.dtype) or not v.isfinite().all() for v in jet):
        raise ConfigError(
            f"expected {row.name!r} and its derivatives to be elementwise and finite at {x.tolist()}, "
            f"got {[values.tolist() for values in jet]}; give the domain on which the function is real"
        )
    for order in (1, 2, 3):
        slope = forms.differentiate(row.derivatives[order - 1])(x)
        _check_equal(f"derivative {order} of {row.name!r}", jet[order], slope)
    expressions = [row.sympy(point) for point in x.tolist()]
    if all(expression.is_number for expression in expressions):
        values = torch.tensor([complex(expression) for expression in expressions], dtype=torch.complex128)
        _check_equal(f"the SymPy expression of {row.name!r}", values, jet[0].to(values.dtype))


def _check_equal(what: str, got: Tensor, expected: Tensor) -> None:
    if not torch.allclose(got, expected, rtol=1e-6, atol=1e-9):
        raise ConfigError(f"expected {what} to be {expected.tolist()}, got {got.tolist()}; correct this row")


def _interior_points(domain: tuple[float, float]) -> Tensor:
    """Five points inside a domain, none of them a round number where functions tend to be singular."""
    low, high = domain
    start = low if isfinite(low) else min(high, 2.0) - 4.0
    stop = high if isfinite(high) else start + 4.0
    fractions = torch.tensor([0.0917, 0.2872, 0.4618, 0.7183, 0.9142], dtype=torch.float64)
    return start + (stop - start) * fractions
