"""Networks of symbolic edges as expressions."""

import random
from typing import Any

import jaxtyping
import pytest
import sympy
import torch

import kansci as ks
from kansci.config import Edge, LayerConfig, Width
from kansci.errors import ConfigError, FormulaError
from kansci.nn.layer import KANLayer
from kansci.surgery.symbolize import set_symbol
from tests.helpers import assert_same

x, y, z = sympy.symbols("x y z", real=True)
NAMES = ["x", "y"]
POINTS = 0.2 + torch.rand(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def assert_computes(expressions: list[sympy.Expr], model: ks.MultKAN, tolerance: float = 1e-13) -> None:
    values = torch.stack([ks.torch_function(expression, NAMES)(POINTS) for expression in expressions], 1)
    torch.testing.assert_close(values, model(POINTS.to(model.dtype)).double(), rtol=tolerance, atol=tolerance)


def compiled(*arguments) -> Any:
    return ks.kanpile(*arguments)


@torch.no_grad()
def set_affine(layer: KANLayer, **maps: list[float]) -> None:
    """Set the affine maps of nodes and subnodes by hand."""
    for name, values in maps.items():
        getattr(layer, name).copy_(torch.tensor(values, dtype=torch.float64))


@pytest.mark.parametrize(
    "text",
    [
        "exp(sin(pi*x) + y**2)",
        "exp(-x**2/2)/sqrt(2*pi)",
        "sqrt(x)*y**(5/2) - 1/sqrt(y)",
        "sqrt(2)*x/(3*pi*y) + E*y",
        "x**y",
        "2**x",
        "x**0.618033988749895",
        "tanh(atanh(x/3) + atanh(y/3))",
        "3",
        "x - x",
        "-y",
    ],
)
def test_formulas_are_what_was_compiled(text):
    expression = ks.parse_formula(text, NAMES)
    (again,) = ks.formula(ks.kanpile(text, NAMES), NAMES)
    assert again == expression
    assert "**0.5" not in str(again)


def test_variables_are_called_x1_x2_unless_named():
    model = ks.kanpile("x*sin(y)", NAMES)
    first, second = sympy.symbols("x1 x2", real=True)
    assert ks.formula(model) == [first * sympy.sin(second)]
    assert ks.formula(model, ["u", "v"])[0].free_symbols == set(sympy.symbols("u v", real=True))


def test_affine_maps_of_nodes_and_subnodes_are_part_of_the_formula():
    model = ks.kanpile(["x + y", "sin(x)*y"], NAMES)
    set_affine(model.layers[0], subnode_scale=[2.0, 3.0, -1.0], subnode_bias=[0.5, 0.0, 4.0])
    set_affine(model.layers[0], node_scale=[10.0, 0.25], node_bias=[-7.0, 1 / 3])
    total, product = ks.formula(model, NAMES)
    assert sympy.expand(total - (20 * x + 20 * y - 2)) == 0
    assert product - sympy.Rational(1, 3) in (3 * sympy.sin(x) * (4 - y) / 4, 3 * y * (4 - sympy.sin(x)) / 4)
    assert_computes([total, product], model)


@pytest.mark.slow
def test_formulas_of_fitted_networks_are_in_raw_units():
    """Fitting standardizes y: 40 sin(2.5 x) + 300 is fitted through the affine map of the output."""
    data = ks.Dataset(POINTS, 40 * (2.5 * POINTS[:, :1]).sin() + 300)
    start = ks.kanpile("sin(2.4*x)", NAMES)
    model = ks.fit(start, data, steps=50, progress=False).model
    assert model.layers[-1].node_scale != 1
    expressions = ks.formula(model, NAMES)
    assert_computes(expressions, model, 1e-12)
    torch.testing.assert_close(ks.torch_function(expressions[0], NAMES)(POINTS), data.y[:, 0], rtol=1e-9, atol=0.0)


def test_auxiliary_features_are_expanded_or_named():
    features = ks.auxiliary_features({"r": "sqrt(x**2 + y**2)"}, NAMES)
    model = ks.MultKAN.from_layers(list(compiled("r*x", ["x", "y", "r"]).layers), features=features)
    radius = sympy.sqrt(x**2 + y**2)
    assert ks.formula(model) == [x * radius]
    u, v = sympy.symbols("u v", real=True)
    assert ks.formula(model, ["u", "v"]) == [u * sympy.sqrt(u**2 + v**2)]
    assert ks.formula(model, features="name") == [x * sympy.Symbol("r", real=True)]


def symbolic_and_spline(symbols: tuple[tuple[str, ...], ...], **options) -> Any:
    config = LayerConfig(len(symbols[0]), Width(len(symbols)), symbols=symbols, **options)
    return ks.MultKAN.from_layers([KANLayer(config, torch.Generator().manual_seed(0))])


def test_spline_edges_are_named():
    model = ks.MultKAN([2, 2, 1])
    with pytest.raises(FormulaError, match=r"got a spline on Edge\(layer=0, target=0, source=0\)"):
        ks.formula(model)
    one = symbolic_and_spline((("sin", "exp"), ("", "x")))
    with torch.no_grad():
        one.layers[0].splines.mask.zero_()
        one.layers[0].splines.mask[1, 0] = 1
    with pytest.raises(FormulaError, match=r"Edge\(layer=0, target=1, source=0\)"):
        ks.formula(one)


def test_masked_edges_and_splines_that_are_zero_are_left_out():
    model = symbolic_and_spline((("sin", "exp"), ("x**2", "x")))
    with torch.no_grad():
        model.layers[0].splines.coef.zero_()
        model.layers[0].splines.scale_base.zero_()
        model.layers[0].symbols.affine.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0]))
        model.layers[0].symbols.mask[0, 1] = 0
    expressions = ks.formula(model, NAMES)
    assert expressions == [sympy.sin(x), x**2 + y]
    assert_computes(expressions, model)


def test_masks_between_zero_and_one_are_factors():
    model = compiled("sin(x) + y", NAMES)
    with torch.no_grad():
        model.layers[0].symbols.mask[0, 0] = 0.5
    assert ks.formula(model, NAMES) == [sympy.sin(x) / 2 + y]


def test_models_of_float32():
    model = ks.kanpile("exp(x/4) + 3*y", NAMES).to(torch.float32)
    assert ks.formula(model, NAMES) == [sympy.exp(x / 4) + 3 * y]
    irrational = ks.kanpile("sin(pi*x)/3", NAMES).to(torch.float32)
    assert_computes(ks.formula(irrational, NAMES), irrational, 1e-6)


def test_saved_models_are_the_same_formulas(tmp_path):
    model = ks.kanpile(["exp(sin(pi*x) + y**2)", "x/(1 + y)**1.5"], NAMES)
    ks.save(tmp_path / "model.h5", model)
    assert ks.formula(ks.load(tmp_path / "model.h5"), NAMES) == ks.formula(model, NAMES)


def test_constants_that_are_not_finite_are_refused():
    model = compiled("sin(x)", NAMES)
    with torch.no_grad():
        model.layers[0].symbols.affine[0, 0, 2] = float("nan")
    with pytest.raises(FormulaError, match="finite"):
        ks.formula(model)


def test_wrong_arguments_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model = ks.kanpile("x*y", NAMES)
    with pytest.raises(ConfigError, match="2 names, one for each raw input"):
        ks.formula(model, ["x"])
    with pytest.raises(ConfigError, match="'expand' or 'name'"):
        ks.formula(model, features="both")
    network: Any = ks.MLP([2, 3, 1])
    with pytest.raises(ConfigError, match="got MLP"):
        ks.formula(network)
    with pytest.raises(FormulaError, match="differ"):
        ks.formula(model, ["x", "x"])


SMOOTH = ("x", "x**2", "sin", "exp", "tanh")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [[2, [1, 2], 1], [2, [0, [3]], [1, 1]], [2, [2, [2, 3]], [0, [2]]], [1, [1, [4]], 2]])
def test_formulas_are_the_networks_they_come_from(width, seed):
    """Random functions on all edges of networks with every arity."""
    generator, model = random.Random(seed), ks.MultKAN(width)
    for number, layer in enumerate(model.layers):
        for target in range(layer.config.out.n_subnodes):
            for source in range(layer.config.n_in):
                constants = [generator.uniform(0.2, 0.8) for _ in "abcd"]
                model = set_symbol(model, Edge(number, target, source), generator.choice(SMOOTH), constants)
    x = 2 * torch.rand(20, model.n_inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1
    names = [f"x{i}" for i in range(1, model.n_inputs + 1)]
    for output, expression in enumerate(ks.formula(model, names)):
        assert_same(ks.torch_function(expression, names)(x).reshape(-1), model(x)[:, output], 1e-10)
