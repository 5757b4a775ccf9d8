"""The table of functions against mpmath and SymPy, and what may be added to it."""

import math
import re
from fractions import Fraction
from math import inf, isfinite, pi
from typing import Any

import mpmath
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, vmap

from kansci.errors import ConfigError, UnknownFunctionError
from kansci.functions import (
    ALIASES,
    LIBRARY,
    Function,
    library_function,
    power_function,
    register_function,
)

REFERENCE = {
    "zero": lambda x: mpmath.mpf(0),
    "x": lambda x: x,
    "x**2": lambda x: x**2,
    "x**3": lambda x: x**3,
    "x**4": lambda x: x**4,
    "x**5": lambda x: x**5,
    "1/x": lambda x: 1 / x,
    "1/x**2": lambda x: 1 / x**2,
    "sqrt": mpmath.sqrt,
    "1/sqrt": lambda x: 1 / mpmath.sqrt(x),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "exp": mpmath.exp,
    "log": mpmath.log,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "cot": mpmath.cot,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
    "abs": abs,
    "sign": mpmath.sign,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gaussian": lambda x: mpmath.exp(-(x**2)),
    "erf": mpmath.erf,
    "semicircle": lambda x: mpmath.sqrt(1 - x**2),
    "hyperbola": lambda x: mpmath.sqrt(1 + x**2),
    "lorentz": lambda x: 1 / mpmath.sqrt(1 - x**2),
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "sinc": mpmath.sinc,
    "heaviside": lambda x: (mpmath.sign(x) + 1) / 2,
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "erfc": lambda x: mpmath.erfc(min(x, 1e4)),
    "gamma": mpmath.gamma,
    "lgamma": lambda x: (
        mpmath.loggamma(x) if x > 0 else mpmath.log(mpmath.pi / abs(mpmath.sinpi(x))) - mpmath.loggamma(1 - x)
    ),
    "j0": mpmath.j0,
    "j1": mpmath.j1,
    "y0": lambda x: mpmath.bessely(0, x),
    "y1": lambda x: mpmath.bessely(1, x),
    "i0": lambda x: mpmath.besseli(0, x),
    "i1": lambda x: mpmath.besseli(1, x),
    "k0": lambda x: mpmath.besselk(0, x),
    "k1": lambda x: mpmath.besselk(1, x),
    "x**-3": lambda x: x**-3,
    "x**7": lambda x: x**7,
    "x**(5/2)": lambda x: x ** mpmath.mpf("2.5"),
    "x**(-1/3)": lambda x: x ** (-mpmath.mpf(1) / 3),
    "x**1.4142135623730951": lambda x: x ** mpmath.mpf(1.4142135623730951),
}

BESSEL = {  # f_n and the constants of f_n' = factor (f_(n-1) + sign f_(n+1))
    "j": (mpmath.besselj, 0.5, -1),
    "y": (mpmath.bessely, 0.5, -1),
    "i": (mpmath.besseli, 0.5, 1),
    "k": (mpmath.besselk, -0.5, 1),
}


def is_bessel(name: str) -> bool:
    return re.fullmatch("[jyik][01]", name) is not None


def exact_derivatives(name: str, x: Any, step: Any) -> list:
    """f and its first four derivatives."""
    if is_bessel(name):
        f, factor, sign = BESSEL[name[0]]
        with mpmath.workdps(40):
            values = {k: f(abs(k), x) * (sign if k < 0 and k % 2 else 1) for k in range(-4, 6)}
            return [
                factor**order * sum(math.comb(order, j) * sign**j * values[n - order + 2 * j] for j in range(order + 1))
                for n in (int(name[1]),)
                for order in range(5)
            ]
    return list(mpmath.diffs(REFERENCE[name], x, 4, h=step, relative=False))


rows = pytest.mark.parametrize("row", [library_function(name) for name in REFERENCE], ids=list(REFERENCE))

rows_fast_and_slow = pytest.mark.parametrize(
    "row",
    [
        pytest.param(library_function(name), marks=pytest.mark.slow if name in {"gamma", "lgamma"} else ())
        for name in REFERENCE
    ],
    ids=list(REFERENCE),
)


def interior_points(row: Function, count: int = 20) -> torch.Tensor:
    """Points inside the domain, away from its ends and from singular points."""
    low, high = row.domain
    start = low + 0.03 if isfinite(low) else -4.0
    stop = high - 0.03 if isfinite(high) else max(start, 0.0) + 4.0
    x = start + (stop - start) * torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    for point in row.singular:
        distance = x - point
        if row.period:
            distance = torch.remainder(distance + row.period / 2, row.period) - row.period / 2
        x = x[distance.abs() > 0.03]
    return x[:count]


def test_every_row_has_a_reference():
    assert set(LIBRARY) <= set(REFERENCE)


@rows
def test_values_and_derivatives_agree_with_mpmath(row):
    x = interior_points(row)
    with mpmath.workdps(80):
        step = mpmath.mpf(10) ** -20
        expected = [
            [float(value) for value in exact_derivatives(row.name, mpmath.mpf(point), step)[:4]] for point in x.tolist()
        ]
    jet = torch.stack(row.jet(x, order=3))
    torch.testing.assert_close(jet.T, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)


def extreme_points(row: Function) -> list[float]:
    """Points next to singular points and the ends of the domain, next to 0, and far out."""
    ends = [end for end in {*row.singular[:3], *row.domain} if isfinite(end)]
    points = [end + side * distance for end in ends for side in (-1, 1) for distance in (3e-15, 1e-9, 1e-4)]
    magnitudes = (1e-300, 1e-150, 1e-20, 1e-8, 1e-3, 1.1, 2.0, 3.9, 8.1, 20.3, 170.3, 700.3, 1e4 / 3)
    far = () if is_bessel(row.name) else (1e8 / 3, 1e15 / 3, 1e160 / 3, 1e300)
    points += [side * magnitude for magnitude in (*magnitudes, *far) for side in (-1, 1)]
    poles = "gamma" in row.name
    low, high = row.domain
    return [x for x in points if low < x < high and x not in row.singular and not (poles and x < -1e15)]


def distance_to_singular(row: Function, x: float) -> float:
    """At most 1."""
    period = row.period or inf
    return min([1.0, *(abs(math.remainder(x - point, period)) for point in row.singular)])


@rows_fast_and_slow
def test_extreme_arguments(row):
    """Errors are relative to f^(n), next to its zeros to its change over the distance to a singular point or over 1."""
    x = extreme_points(row)
    jets = torch.stack(row.jet(torch.tensor(x, dtype=torch.float64), order=3), dim=1).tolist()
    for point, jet in zip(x, jets, strict=True):
        distance = distance_to_singular(row, point)
        with mpmath.workdps(150 + max(0, int(math.log10(abs(point))))):
            exact = exact_derivatives(row.name, mpmath.mpf(point), distance * mpmath.mpf(10) ** -40)
            for value, own, next_one in zip(jet, exact, exact[1:], strict=False):
                scale = max(abs(own), distance * abs(next_one))
                if scale > 1e307:
                    assert abs(value) > 1e300, (point, jet)
                else:
                    assert abs(value - own) <= 1e-13 * scale + 1e-290, (point, value, float(own))


@rows
def test_extreme_arguments_in_single_precision(row):
    """Not even there is a number lost."""
    x = torch.tensor(extreme_points(row), dtype=torch.float64).clamp(-1e30, 1e30).float()
    x = x[[distance_to_singular(row, point) > 1e-6 for point in x.tolist()]]
    jets, exact = torch.stack(row.jet(x, order=3)), torch.stack(row.jet(x.double(), order=3))
    jets, exact = jets[:, row(x.double()).isfinite()], exact[:, row(x.double()).isfinite()]
    assert not jets.isnan().any()
    small = exact.abs() < 1e30
    assert jets[small].isfinite().all()


@rows
def test_autograd_at_extreme_arguments(row):
    x = torch.tensor(extreme_points(row), dtype=torch.float64)
    for lower, upper in zip(row.derivatives, row.derivatives[1:], strict=False):
        exact = upper(x)
        usable = lower(x).isfinite() & (exact.abs() < 1e150)
        torch.testing.assert_close(vmap(grad(lower))(x)[usable], exact[usable], rtol=1e-9, atol=1e-12)


@rows
def test_autograd_and_vmap_agree_with_the_closed_forms(row):
    x = interior_points(row)
    for lower, upper in zip(row.derivatives, row.derivatives[1:], strict=False):
        torch.testing.assert_close(vmap(grad(lower))(x), upper(x), rtol=1e-11, atol=1e-12)


@rows
def test_jets_are_the_derivatives_up_to_their_order(row):
    """Also where all of them are computed together."""
    x = interior_points(row)
    for order in range(4):
        found = row.jet(x, order)
        assert len(found) == order + 1
        for own, derivative in zip(found, row.derivatives, strict=False):
            torch.testing.assert_close(own, derivative(x), rtol=1e-13, atol=1e-15)
    for order in range(3):
        slope = vmap(grad(lambda z, order=order: row.jet(z, 3)[order]))(x)
        torch.testing.assert_close(slope, row.jet(x, 3)[order + 1], rtol=1e-11, atol=1e-12)


@rows
def test_single_precision(row):
    x = interior_points(row)
    for values, exact in zip(row.jet(x.float(), order=3), row.jet(x.float().double(), order=3), strict=True):
        assert values.dtype == torch.float32
        scale = exact.abs().max().item()
        torch.testing.assert_close(values.double(), exact, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("name", ["silu", "sigmoid", "tanh", "gaussian", "atan", "erf", "asinh"])
def test_single_precision_far_from_the_origin(name):
    row = library_function(name)
    x = torch.tensor([-1e4, -300.0, -90.0, -20.0, 20.0, 90.0, 300.0, 1e4])
    for values, exact in zip(row.jet(x, order=3), row.jet(x.double(), order=3), strict=True):
        torch.testing.assert_close(values.double(), exact, rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("name", ["silu", "sigmoid", "tanh"])
def test_decaying_derivatives_keep_their_digits(name):
    row = library_function(name)
    x = torch.tensor([-30.0, 30.0], dtype=torch.float64)
    with mpmath.workdps(60):
        for order in (2, 3):
            exact = [float(mpmath.diff(REFERENCE[name], mpmath.mpf(point), order)) for point in x.tolist()]
            expected = torch.tensor(exact, dtype=torch.float64)
            torch.testing.assert_close(row.derivatives[order](x), expected, rtol=1e-12, atol=0.0)


@rows
def test_sympy_head_has_the_same_values(row):
    x = interior_points(row)
    exact = [complex(row.sympy(sympy.Float(point, 30))) for point in x.tolist()]
    expected = torch.tensor(exact, dtype=torch.complex128)
    torch.testing.assert_close(row(x).to(expected.dtype), expected, rtol=1e-12, atol=1e-14)


@rows
def test_sympy_can_differentiate_evaluate_and_translate_the_head(row):
    x = sympy.Symbol("x", real=True)
    points = interior_points(row, count=5)
    head = sympy.sympify(row.sympy(x))
    translated = sympy.lambdify(x, head, ["scipy", "numpy"])
    values = torch.tensor([float(translated(point)) for point in points.tolist()], dtype=torch.float64)
    torch.testing.assert_close(row(points), values, rtol=1e-11, atol=1e-12)
    slopes = [float(head.diff(x).subs(x, sympy.Float(point, 30)).evalf(20)) for point in points.tolist()]
    expected = torch.tensor(slopes, dtype=torch.float64)
    torch.testing.assert_close(row.derivatives[1](points), expected, rtol=1e-11, atol=1e-12)


@rows
def test_free_constants_are_those_that_data_determine(row):
    u = interior_points(row, count=60)
    a, b, c = 1.3, -0.4, 0.7
    value, slope = row.jet(u, order=1)
    by_constant = {"a": c * slope * (u - b) / a, "b": c * slope, "c": value, "d": torch.ones_like(u)}
    jacobian = torch.stack(list(by_constant.values()), dim=1)
    free = jacobian[:, ["abcd".index(constant) for constant in row.free]]
    assert rank(free) == len(row.free) == rank(jacobian)


def rank(columns: torch.Tensor) -> int:
    norms = columns.norm(dim=0).clamp(min=1e-300)
    return int(torch.linalg.matrix_rank(columns / norms, rtol=1e-9))


@rows
def test_finite_inside_the_domain_and_not_real_outside(row):
    assert all(values.isfinite().all() for values in row.jet(interior_points(row), order=3))
    low, high = row.domain
    outside = torch.tensor([end for end in (low - 0.1, high + 0.1) if isfinite(end)], dtype=torch.float64)
    assert row(outside).isnan().all()


@rows
def test_singular_points_are_singular(row):
    for point in row.singular:
        around = torch.tensor([point - 1e-9, point + 1e-9], dtype=torch.float64)
        jet = torch.stack(row.jet(around, order=3))
        steps = (jet[:, 1] - jet[:, 0]).abs()
        assert not jet.isfinite().all() or jet.abs().max() > 1e3 or steps.max() > 0.1


@rows
def test_periodic_functions_recur(row):
    if row.period:
        x = interior_points(row)
        torch.testing.assert_close(row(x + row.period), row(x), rtol=1e-9, atol=1e-12)


def test_polynomials_have_finite_jets_at_the_origin():
    origin = torch.zeros(1, dtype=torch.float64)
    assert [v.item() for v in library_function("x").jet(origin, 3)] == [0, 1, 0, 0]
    assert [v.item() for v in library_function("x**2").jet(origin, 3)] == [0, 0, 2, 0]
    assert [v.item() for v in library_function("x**3").jet(origin, 3)] == [0, 0, 0, 6]


def test_roots_are_real():
    x = sympy.Symbol("x", real=True)
    assert library_function("cbrt").sympy(x).subs(x, -8) == -2
    assert library_function("abs").sympy(sympy.log(x)).subs(x, sympy.exp(-3)) == 3
    assert library_function("x**(1/3)")(torch.tensor(-8.0)).isnan()


def test_sympy_takes_no_text():
    with pytest.raises(sympy.SympifyError):
        library_function("sin").sympy("x + 1")


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("x**1", "x"),
        ("x**2.0", "x**2"),
        ("x**(6/3)", "x**2"),
        ("x**-1", "1/x"),
        ("x**0.5", "sqrt"),
        ("x**(-1/2)", "1/sqrt"),
        ("x**2.5", "x**(5/2)"),
        ("x**-0.75", "x**(-3/4)"),
        ("x**0.3333333333333333", "x**(1/3)"),
        ("x**6", "x**6"),
        ("x**1e-05", "x**1e-05"),
        *ALIASES.items(),
    ],
)
def test_other_spellings_find_the_same_function(spelling, name):
    assert library_function(spelling).name == name
    assert library_function(spelling) is library_function(name)


@given(st.floats(-1000, 1000).filter(lambda p: abs(p) > 1e-6))
def test_powers_are_found_by_their_names(p):
    row = power_function(p)
    assert library_function(row.name) is row
    torch.testing.assert_close(row(torch.tensor(1.01)), torch.tensor(1.01) ** p)


@given(st.fractions(max_denominator=1000).filter(lambda p: 0 < abs(p) <= 1000))
def test_rational_powers_stay_exact(p):
    x = sympy.Symbol("x", real=True)
    assert power_function(float(p)) is power_function(p)
    assert power_function(p).sympy(x) == x ** sympy.Rational(p.numerator, p.denominator)


@pytest.mark.parametrize("exponent", [0.0, inf, float("nan"), 1000.5, Fraction(-2000)])
def test_impossible_exponents_are_refused(exponent):
    with pytest.raises(ConfigError, match="exponent"):
        power_function(exponent)


@pytest.mark.parametrize("name", ["sine", "", "x**", "x**(1/0)", "x**1e9999", "x**(2", "y**2", "x**٣"])
def test_unknown_names_are_refused(name):
    with pytest.raises(UnknownFunctionError, match=r"register_function"):
        library_function(name)


def test_unknown_names_find_near_misses():
    with pytest.raises(UnknownFunctionError, match="did you mean sin or sinh"):
        library_function("sinn")
    with pytest.raises(KeyError):
        library_function("Sigmoyd")


def test_repr_is_a_readable_row():
    assert repr(library_function("sin")) == (
        f"Function(name='sin', free='abcd', complexity=2, domain=(-inf, inf), singular=(), period={2 * pi})"
    )


@pytest.fixture
def library(monkeypatch):
    """A table that may be written to."""
    for name in ("witch", "well"):
        monkeypatch.setitem(LIBRARY, name, None)
        del LIBRARY[name]
    return LIBRARY


def test_registered_functions_get_their_derivatives(library):
    row = register_function("witch", lambda x: 1 / (1 + x**2), lambda sp, x: 1 / (1 + x**2))
    assert library["witch"] is row is library_function("witch")
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    atan = library_function("atan")
    torch.testing.assert_close(row.derivatives[0](x), atan.derivatives[1](x))
    torch.testing.assert_close(row.derivatives[1](x), atan.derivatives[2](x))
    torch.testing.assert_close(row.derivatives[2](x), atan.derivatives[3](x))


def test_registered_functions_may_vanish_under_differentiation(library):
    row = register_function("well", lambda x: x**2, lambda sp, x: x**2, free="bcd")
    assert row.derivatives[3](torch.ones(3)).tolist() == [0, 0, 0]


def test_registered_functions_keep_given_derivatives(library):
    def slope(x):
        return -2 * x / (1 + x**2) ** 2

    row = register_function("witch", lambda x: 1 / (1 + x**2), lambda sp, x: 1 / (1 + x**2), derivatives=[slope])
    assert row.derivatives[1] is slope


def witch(**changes):
    arguments = {
        "name": "witch",
        "function": lambda x: 1 / (1 + x**2),
        "head": lambda sp, x: 1 / (1 + x**2),
    }
    return register_function(**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "sin"}, "new name"),
        ({"name": "arcsin"}, "new name"),
        ({"name": "2x"}, "letters"),
        ({"name": "lambda"}, "letters"),
        ({"free": "ba"}, "abcd"),
        ({"free": "aab"}, "abcd"),
        ({"domain": (1.0, 1.0)}, "low < high"),
        ({"function": lambda x: (1 / (1 + x**2)).sum()}, "elementwise"),
        ({"function": torch.log}, "give the domain"),
        ({"derivatives": [lambda x: x]}, "derivative 1"),
        ({"head": lambda sp, x: 1 / (2 + x**2)}, "SymPy expression"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(library, changes, message):
    before = dict(library)
    with pytest.raises(ConfigError, match=message):
        witch(**changes)
    assert library == before
