"""SymPy expressions as functions of tensors."""

import math

import numpy as np
import pytest
import sympy
import torch
from torch.func import grad, hessian, vmap

from kansci.errors import FormulaError, ShapeError
from kansci.functions import LIBRARY, library_function, register_function
from kansci.symbolic.evaluate import constant_value, library_call, library_row, torch_function

x, y, z = sympy.symbols("x y z", real=True)


def sample(n=50, d=3, dtype=torch.float64):
    return 0.2 + torch.rand(n, d, dtype=dtype, generator=torch.Generator().manual_seed(3))


EXPRESSIONS = [
    x + 2 * y - z / 3,
    x * y * z / (x + y + z),
    sympy.exp(-(((x - y) / z) ** 2) / 2) / (sympy.sqrt(2 * sympy.pi) * z),
    sympy.sqrt(1 - (x / 3) ** 2) ** sympy.Rational(-5, 3),
    sympy.Abs(sympy.log(x)) ** y + sympy.sign(y - z),
    2**x - x**y,
    sympy.atan(sympy.tan(x)) + sympy.asinh(sympy.erf(y)),
    sympy.Float("0.1234567") * sympy.cosh(sympy.EulerGamma * x),
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_values_agree_with_sympy_at_30_digits(expression):
    points = sample()
    values = torch_function(expression, ["x", "y", "z"])(points)
    exact = [float(expression.evalf(30, subs=dict(zip((x, y, z), point, strict=True)))) for point in points.tolist()]
    torch.testing.assert_close(values, torch.tensor(exact, dtype=torch.float64), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in LIBRARY if name != "zero"])
def test_every_function_of_the_library_is_understood(name):
    row = library_function(name)
    points = sample(d=1) + (1 if name == "acosh" else 0)
    points = points.clamp(max=0.9) if row.domain == (-1.0, 1.0) else points
    values = torch_function(row.sympy(x), ["x"])(points)
    torch.testing.assert_close(values, row(points[:, 0]), rtol=1e-13, atol=1e-14)


def test_derivatives_by_autograd_and_by_torch_func():
    f = torch_function(sympy.sin(x) * y**3 + sympy.exp(x * y), ["x", "y"])
    points = sample(d=2).requires_grad_()
    a, b = points.detach().unbind(1)
    exact = torch.stack((a.cos() * b**3 + b * (a * b).exp(), 3 * b**2 * a.sin() + a * (a * b).exp()), dim=1)
    torch.testing.assert_close(torch.autograd.grad(f(points).sum(), points)[0], exact)
    torch.testing.assert_close(vmap(grad(f))(points.detach()), exact)
    mixed = vmap(hessian(f))(points.detach())[:, 0, 1]
    torch.testing.assert_close(mixed, 3 * b**2 * a.cos() + (1 + a * b) * (a * b).exp())


def test_single_precision_stays_single():
    f = torch_function(sympy.pi * x + sympy.sqrt(2) ** y + sympy.Rational(1, 3), ["x", "y"])
    points = sample(d=2)
    values = f(points.float())
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), f(points), rtol=1e-6, atol=0.0)


def test_constants_and_single_variables():
    points = sample(n=4, d=2)
    assert torch_function(sympy.sqrt(2), ["x", "y"])(points).tolist() == [math.sqrt(2)] * 4
    assert torch_function(y, ["x", "y"])(points).tolist() == points[:, 1].tolist()
    assert torch_function(sympy.Integer(3), [])(torch.empty(5, 0)).tolist() == [3.0] * 5


def test_leading_shapes_are_kept():
    f = torch_function(x * y, ["x", "y"])
    assert f(torch.full((3, 4, 2), 2.0)).shape == (3, 4)
    assert f(torch.tensor([2.0, 5.0])).item() == 10.0
    assert torch_function(sympy.Integer(1), ["x", "y"])(torch.zeros(3, 4, 2)).shape == (3, 4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_in_arrays_out(dtype):
    points = sample(d=2).numpy().astype(dtype)
    values = torch_function(x * sympy.exp(y), ["x", "y"])(points)
    assert isinstance(values, np.ndarray) and values.dtype == dtype
    np.testing.assert_allclose(values, points[:, 0] * np.exp(points[:, 1]), rtol=1e-6)


def test_symbols_are_found_by_name():
    f = torch_function(sympy.Symbol("x") - sympy.Symbol("x", real=True) * 3, ["x"])
    assert f(torch.tensor([[2.0]])).item() == -4.0


def test_shared_parts_are_computed_once(monkeypatch):
    calls = []

    def counted(u):
        calls.append(u.shape)
        return torch.sin(u)

    monkeypatch.setitem(LIBRARY, "counted", None)
    del LIBRARY["counted"]
    row = register_function("counted", counted, lambda sp, u: sp.Function("counted")(u))
    shared = row.sympy(x * y)
    f = torch_function(shared**2 + sympy.exp(shared) / shared, ["x", "y"])
    calls.clear()
    points = sample(d=2)
    s = torch.sin(points.prod(1))
    torch.testing.assert_close(f(points), s**2 + s.exp() / s)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (x + z, "got z"),
        (sympy.zeta(x), "zeta"),
        (sympy.I * x, "finite and real"),
        (sympy.sqrt(-2) + x, "finite and real"),
        (sympy.asin(2) * x, "finite and real"),
        (x + sympy.zoo, "finite and real"),
        (sympy.oo + sympy.Integer(0), "finite and real"),
        (x + sympy.Integer(10) ** 400, "finite and real"),
    ],
)
def test_what_has_no_real_value_is_refused(expression, message):
    with pytest.raises(FormulaError, match=message):
        torch_function(expression, ["x", "y"])


def test_wrong_shapes_are_refused():
    f = torch_function(x * y, ["x", "y"])
    with pytest.raises(ShapeError, match=r"\(n, 2\)"):
        f(torch.zeros(4, 3))


def test_constant_values():
    golden = (1 + sympy.sqrt(5)) / 2
    assert constant_value(golden) == pytest.approx(1.618033988749895, rel=1e-15)
    assert constant_value(sympy.exp(-sympy.pi) * sympy.cos(1)) == pytest.approx(
        math.exp(-math.pi) * math.cos(1), rel=1e-15
    )
    assert constant_value(sympy.Rational(10**300, 3**600)) == pytest.approx(10**300 / 3**600, rel=1e-15)
    with pytest.raises(FormulaError, match="log"):
        constant_value(sympy.log(sympy.log(sympy.Rational(1, 2)), evaluate=False))


@pytest.mark.parametrize("name", [name for name in LIBRARY if name not in ("zero", "x")])
def test_calls_are_recognized_by_their_form(name):
    inner = x if name == "sigmoid" else x + 2 * y  # SymPy writes out -(x + 2*y)
    call = library_function(name).sympy(inner)
    if name in ("cbrt", "silu"):  # products, of which the argument is in both factors
        assert call.is_Mul
    else:
        function, argument = library_call(call)
        assert (function.name, argument) == (name, inner)


@pytest.mark.parametrize(
    "call",
    [
        sympy.besselj(2, x),
        sympy.besselj(x, 0),
        sympy.besselk(y, x),
        sympy.Max(1, x),
        sympy.Max(x, y),
        sympy.Min(0, x),
        sympy.atan2(y, x),
        sympy.uppergamma(x, y),
    ],
    ids=str,
)
def test_other_calls_are_not_mistaken_for_functions_of_the_library(call):
    with pytest.raises(FormulaError, match="register_function"):
        library_call(call)


def test_the_longest_form_is_recognized():
    assert library_call(sympy.log(1 + sympy.exp(x)))[0].name == "softplus"
    assert library_call(sympy.log(2 + sympy.exp(x)))[0].name == "log"
    assert library_call(sympy.log(sympy.Abs(sympy.gamma(x + 1)))) == (library_function("lgamma"), x + 1)
    assert library_call(sympy.exp(-((x - 1) ** 2))) == (library_function("gaussian"), x - 1)


def test_extrema_and_angles():
    points = sample() - 0.7
    a, b, c = points.unbind(1)
    expression = sympy.Max(x, y, 0) - 2 * sympy.Min(x, sympy.Rational(1, 10), z) + sympy.atan2(y - 1, x)
    expected = torch.maximum(a, b).clamp(min=0) - 2 * torch.minimum(a, c).clamp(max=0.1) + torch.atan2(b - 1, a)
    torch.testing.assert_close(torch_function(expression, ["x", "y", "z"])(points), expected)
    assert constant_value(sympy.Max(sympy.pi, sympy.sqrt(10), evaluate=False)) == math.sqrt(10)
    slope = grad(torch_function(sympy.Max(2, x), ["x"]))
    assert vmap(slope)(torch.tensor([[1.0], [3.0]])).tolist() == [[0.0], [1.0]]


def test_library_rows_of_applications(monkeypatch):
    assert library_row(sympy.sin(3 * x)).name == "sin"
    assert library_row(sympy.Abs(sympy.Symbol("u"))).name == "abs"
    with pytest.raises(FormulaError, match="register_function"):
        library_row(sympy.zeta(x))
    monkeypatch.setitem(LIBRARY, "zeta", library_function("sin"))
    with pytest.raises(FormulaError, match="zeta"):  # a row of this name, but another function
        library_row(sympy.zeta(x))
