"""Formulas compiled to networks."""

import math
from typing import cast

import jaxtyping
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.config import Width
from kansci.errors import ConfigError, FormulaError
from kansci.functions import LIBRARY, register_function
from kansci.jets import _functional_jet
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges
from kansci.solvers.unknowns import Unknowns
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.formula import formula
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from kansci.symbolic.parse import parse_formula

NAMES = ["x", "y", "z"]
Y = sympy.Symbol("y", real=True)
POINTS = 0.2 + torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

# What other compilers get wrong first, each with the function it stands for.
KNOWN = {
    "sin(5*x) + cos(3*x)": lambda x, y, z: torch.sin(5 * x) + torch.cos(3 * x),
    "x + x**2": lambda x, y, z: x + x**2,
    "exp(pi*(x + 3))": lambda x, y, z: torch.exp(math.pi * (x + 3)),
    "sin(pi*(x + 2) + 3)": lambda x, y, z: torch.sin(math.pi * (x + 2) + 3),
    "3 + pi*(x + 2)": lambda x, y, z: 3 + math.pi * (x + 2),
    "x**(5/2)": lambda x, y, z: x**2.5,
    "x**(-3/2)": lambda x, y, z: x**-1.5,
    "x**1.5": lambda x, y, z: x**1.5,
    "x**(1/3)": lambda x, y, z: x ** (1 / 3),
    "x**6": lambda x, y, z: x**6,
    "x**0.6180339": lambda x, y, z: x**0.6180339,
    "exp(x)*sinh(y)": lambda x, y, z: torch.exp(x) * torch.sinh(y),
    "abs(x - y)": lambda x, y, z: (x - y).abs(),
    "2**x": lambda x, y, z: 2**x,
    "2**(x*y - 1)": lambda x, y, z: 2 ** (x * y - 1),
    "x": lambda x, y, z: x,
    "-x": lambda x, y, z: -x,
    "x + 1": lambda x, y, z: x + 1,
    "7/2": lambda x, y, z: torch.full_like(x, 3.5),
    "x - x": lambda x, y, z: torch.zeros_like(x),
    "2*x*y + 3": lambda x, y, z: 2 * x * y + 3,
    "x/y": lambda x, y, z: x / y,
    "cbrt(y - x)": lambda x, y, z: torch.sign(y - x) * (y - x).abs() ** (1 / 3),
    "log(x, 2)": lambda x, y, z: torch.log2(x),
    "pi*(x + y) - pi*x": lambda x, y, z: math.pi * y,
}

RICH = [
    *KNOWN,
    "exp(sin(pi*x) + y**2)",
    "exp(-((x - y)/z)**2/2)/sqrt(2*pi*z**2)",
    "(x + 1)*(y**2 + sin(z))*(x*y + exp(-z))",
    "sin(x) + cos(x) + exp(sin(x)) + x*sin(x)",
    "(sin(x) + cos(x) + x)*(y + y**3)/(1 + z**2)",
    "x*y*z/(x + y + z)",
    "sqrt(x**2 + y**2 + z**2)",
    "tanh(2*atan(3*log(4*x + 5) + 6) + 7)",
    "sigmoid(x*y) + silu(y*z) + gaussian(z - x) + erf(x)",
    "sqrt(1 - (x/2)**2)**3*asin(x/2)/acosh(1 + y)",
    "x**2*y**3*z**-4 + 1/(x*y) - 1/x/y/z",
    "(2 + x*y)**2.5 + pi*(x*y - 4)",
]


def values_and_jet(model, f, points, needs="hessian"):
    return model.jet(points, needs).channels, _functional_jet(f, points, needs).channels


def assert_equal(got, expected, tolerance):
    assert got.shape == expected.shape
    error = (got - expected).detach().abs().amax(0)
    assert (error <= tolerance * expected.abs().amax().clamp(min=1e-300)).all(), error


@pytest.mark.parametrize("text", KNOWN)
def test_known_functions(text):
    expected = KNOWN[text](*POINTS.T)
    assert_equal(kanpile(text, NAMES)(POINTS)[:, 0], expected, 1e-14)


@pytest.mark.parametrize("text", RICH)
def test_values_and_derivatives_are_those_of_the_formula(text):
    model, f = kanpile(text, NAMES), torch_function(parse_formula(text, NAMES), NAMES)
    assert_equal(model(POINTS)[:, 0], f(POINTS), 1e-13)
    for needs in ("laplacian", "hessian"):
        assert_equal(*values_and_jet(model, f, POINTS, needs), 1e-12)


def test_formulas_agree_with_mpmath_at_30_digits():
    text = "exp(-((x - y)/z)**2/2)/sqrt(2*pi*z**2) + x**(5/2)*log(y)"
    expression, symbols = parse_formula(text, NAMES), sympy.symbols(NAMES, real=True)
    exact = [float(expression.evalf(30, subs=dict(zip(symbols, row, strict=True)))) for row in POINTS[:50].tolist()]
    assert_equal(kanpile(text, NAMES)(POINTS[:50])[:, 0], torch.tensor(exact, dtype=torch.float64), 1e-14)


functions = st.sampled_from(["sin", "cos", "tanh", "atan", "gaussian", "asinh"])
leaves = st.sampled_from([*NAMES, "2", "0.3", "pi"])


def grow(part):
    return st.one_of(
        st.builds("{}({})".format, functions, part),
        st.builds("({} + {})".format, part, part),
        st.builds("({} - 3*{})".format, part, part),
        st.builds("({})*({})".format, part, part),
        st.builds("({})/(2 + sin({}))".format, part, part),
        st.builds("({})**2".format, part),
    )


@given(st.lists(st.recursive(leaves, grow, max_leaves=12), min_size=1, max_size=3))
def test_random_formulas_with_several_outputs(texts):
    f = [torch_function(parse_formula(text, NAMES), NAMES) for text in texts]
    expected = torch.stack([g(POINTS) for g in f], -1)
    got = kanpile(texts, NAMES)(POINTS)
    assert ((got - expected).abs() <= 1e-12 * (1 + expected.abs().amax(0))).all()


@pytest.mark.parametrize(
    ("formulas", "columns"),
    [
        ("sin(x)", [3, 1]),
        ("3*sin(2*x + 1) - 4", [3, 1]),
        ("exp(sin(x) + y**2)", [3, 1, 1]),
        ("sin(5*x) + cos(3*x)", [3, 2, 1]),
        ("x*y*z", [3, [0, [3]]]),
        ("x*sin(x)/y*exp(z)", [3, [0, [4]]]),
        ("(x + 1)*(y**2 + sin(z))", [3, [0, [2]]]),
        ("2*x*y + 3", [3, [0, [2]], 1]),
        ("sin(x*y) + exp(x*y)", [3, [0, [2]], 2, 1]),
        (["sin(x*y)", "exp(x*y)"], [3, [0, [2]], 2]),
        (["x + y", "x*y"], [3, [1, [2]]]),
        (["x*y", "x + y"], [3, [1, [2]], 2]),
        (["x", "exp(sin(x*y))"], [3, [1, [2]], 2, 2]),
        (["x*y", "x*y"], [3, [0, [2, 2]]]),
        ("1", [3, 1]),
    ],
    ids=str,
)
def test_networks_are_as_small_as_they_should_be(formulas, columns):
    assert list(kanpile(formulas, NAMES).config.columns) == [Width.parse(column) for column in columns]


@pytest.mark.parametrize(
    "texts",
    [["x*y", "x + y"], ["x + y", "x*y"], ["x", "exp(sin(x*y))", "x*y*z"], ["x*y", "2", "x*y", "y", "y"]],
    ids=str,
)
def test_outputs_keep_their_order(texts):
    model = kanpile(texts, NAMES)
    for output, text in enumerate(texts):
        f = torch_function(parse_formula(text, NAMES), NAMES)
        assert_equal(model(POINTS)[:, output], f(POINTS), 1e-14)


def test_parts_that_cancel_leave_no_node_behind():
    text = "x + pi*(y + sin(exp(z))) - pi*sin(exp(z))"
    assert kanpile(text, NAMES).config.columns[-1] == Width(1)
    assert kanpile(f"({text})*z", NAMES).config.columns == (Width(3), Width(0, (2,)))


def test_sympy_expressions_of_any_kind_of_symbols():
    x, y = sympy.symbols("x y")
    nested = sympy.Mul(x, sympy.Mul(y, sympy.sin(x), evaluate=False), evaluate=False)
    model = kanpile([nested, sympy.Pow(x, 1, evaluate=False), sympy.Integer(3)], ["x", "y"])
    a, b = POINTS[:, 0], POINTS[:, 1]
    expected = torch.stack((a * b * a.sin(), a, torch.full_like(a, 3)), 1)
    assert_equal(model(POINTS[:, :2]), expected, 1e-15)
    assert kanpile(nested, ["x", "y"]).config.columns == (Width(2), Width(0, (3,)))


def test_shared_parts_take_linear_time():
    part = sympy.Symbol("x", real=True)
    for _ in range(12):
        part = sympy.tanh(part) + sympy.atan(part)
    assert sum(layer.config.out.n_nodes for layer in kanpile(part, ["x"]).layers) == 36


@pytest.mark.parametrize("name", [name for name in LIBRARY if name.isidentifier() and name not in ("x", "zero")])
def test_every_function_of_the_library_can_be_compiled(name):
    row = LIBRARY[name]
    points = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64) + (1 if name == "acosh" else 0)
    model = kanpile(f"3*{name}(x + y/2) - 1", ["x", "y"])
    torch.testing.assert_close(model(points)[:, 0], 3 * row(points[:, 0] + points[:, 1] / 2) - 1)


def test_user_functions():
    register_function("witch", lambda x: 1 / (1 + x**2), lambda sp, x: sp.Function("witch")(x))
    try:
        model = kanpile("3*witch(2*x - y)", NAMES)
    finally:
        del LIBRARY["witch"]
    assert_equal(model(POINTS)[:, 0], 3 / (1 + (2 * POINTS[:, 0] - POINTS[:, 1]) ** 2), 1e-15)


def test_every_edge_is_symbolic_and_its_constants_are_trained():
    model = kanpile("exp(sin(pi*x) + y**2)", NAMES, grid=7, k=5)
    assert all(layer.splines is None and layer.symbols is not None for layer in model.layers)
    assert all((layer.config.grid, layer.config.k) == (7, 5) for layer in model.layers)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "layers.0.symbols.affine",
        "layers.1.symbols.affine",
    }
    assert len(Unknowns(model)) == sum(len(LIBRARY[name].free) for name in ("sin", "x**2", "exp"))


def test_models_of_float32():
    model = kanpile("exp(sin(pi*x) + y**2)/z", NAMES).to(torch.float32)
    x, y, z = POINTS.T
    assert_equal(model(POINTS.float())[:, 0].double(), torch.exp(torch.sin(math.pi * x) + y**2) / z, 1e-6)


@pytest.mark.parametrize(
    ("formula", "names", "message"),
    [
        (sympy.zeta(sympy.Symbol("x")) + 1, NAMES, r"cannot compile zeta\(x\): expected sums, products"),
        (1 + sympy.sin(sympy.floor(sympy.Symbol("x"))), NAMES, r"cannot compile floor\(x\)"),
        (sympy.LambertW(sympy.Symbol("x")), NAMES, r"cannot compile LambertW\(x\)"),
        (sympy.Piecewise((sympy.Symbol("x"), sympy.Symbol("x") > 0)), NAMES, "pieces for all values"),
        (sympy.Piecewise((1, sympy.Eq(sympy.Symbol("x"), 0)), (2, True)), NAMES, "made of inequalities"),
        (sympy.Integral(sympy.Symbol("x"), (sympy.Symbol("x"), 0, 1)), NAMES, "cannot compile Integral"),
        (sympy.zeta(sympy.Symbol("x")), NAMES, r"cannot compile zeta\(x\)"),
        (sympy.Pow(-2, sympy.Symbol("x")), NAMES, r"cannot compile \(-2\)\*\*x"),
        (sympy.Symbol("x") ** 2000, NAMES, r"cannot compile x\*\*2000: .*exponent"),
        (sympy.I * sympy.Symbol("x"), NAMES, "finite and real"),
        (sympy.zoo, NAMES, "finite and real"),
        ("1/(pi*(x + y) - pi*x - pi*y)", NAMES, "finite and real"),
        (sympy.Symbol("q") + 1, NAMES, "formula of x, y, z, got q"),
        ("sin(x", NAMES, "never closed"),
        ([], NAMES, "at least one formula"),
        ("x", "x", "list of names"),
        ("x", [], "list of names"),
        ("x", ["x", "x"], "list of names"),
    ],
    ids=str,
)
def test_what_cannot_be_compiled_is_named(formula, names, message):
    with pytest.raises(FormulaError, match=message):
        kanpile(formula, names)


@pytest.mark.parametrize(("formula", "kind"), [(3.5, "float"), (["x", None], "NoneType")])
def test_other_objects_are_refused(formula, kind, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(FormulaError, match=f"as text or as a SymPy expression, got {kind}"):
        kanpile(formula, NAMES)


@pytest.mark.parametrize("options", [{"products": "sums"}, {"k": 0}, {"grid": 0}], ids=str)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        kanpile("x*y", NAMES, **options)


def test_features_are_called_by_their_formulas_or_by_given_names():
    plain = auxiliary_features(["x*y", sympy.Symbol("x") ** 2, "x*y"], ["x", "y"])
    assert plain.names == ("x", "y", "x*y", "x**2", "x*y")
    named = auxiliary_features({"p": "x*y"}, ["x", "y"])
    assert (named.names, named.formulas) == (("x", "y", "p"), ("x*y",))
    assert auxiliary_features("x*y", ["x", "y"]).names == ("x", "y", "x*y")
    with pytest.raises(ConfigError, match="other than the inputs"):
        auxiliary_features({"x": "x*y"}, ["x", "y"])


def test_a_compiled_model_is_a_multkan_like_any_other():
    model = kanpile("x*y", ["x", "y"])
    copy = MultKAN.from_config(model.config)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy(POINTS[:, :2]), model(POINTS[:, :2]))


@pytest.mark.parametrize("name", [name for name in LIBRARY if name not in ("zero", "x")])
def test_every_function_of_the_library_is_one_edge(name):
    expression = 3 * LIBRARY[name].sympy(2 * parse_formula("x", NAMES) / 5 + sympy.Rational(1, 2)) - 1
    model = kanpile(expression, NAMES)
    assert [layer.config.symbols for layer in model.layers] == [((name, "", ""),)]
    assert formula(model, NAMES) == [expression]


@pytest.mark.parametrize(
    ("expression", "name", "a"),
    [
        (1 / (1 + sympy.exp(Y - 2)), "sigmoid", -1),
        (sympy.log(sympy.exp(3 * Y) + 1), "softplus", 3),
        (sympy.exp(-((Y - 1) ** 2)), "gaussian", 1),
        (sympy.loggamma(Y), "lgamma", 1),
        (2 ** (5 * Y), "exp2", 5),
    ],
    ids=str,
)
def test_functions_are_told_by_their_form(expression, name, a):
    (layer,) = kanpile(expression, ["y"]).layers
    assert layer.config.symbols == ((name,),)
    assert cast(SymbolicEdges, layer.symbols).affine[0, 0, 0] == a


def test_products_without_multiplication_nodes_are_products_again():
    texts = ["pi*x*y/z", "sin(x*y)*z + 3*x*z", "x*sin(x + y)*exp(y) + 2*sin(x + y)", "x**2 - y**2"]
    expressions = [parse_formula(text, NAMES) for text in texts]
    assert formula(kanpile(expressions, NAMES, products="squares"), NAMES) == expressions
