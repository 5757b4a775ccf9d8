"""Functions that edges may be, and edges that become them."""

import math
from itertools import pairwise

import pytest
import torch

from kansci import Edge, MultKAN, Residual, fit, formula, kanpile, perturb, snap, solve, suggest
from kansci.errors import ConfigError
from kansci.functions import LIBRARY, library_function
from kansci.solvers.statement import problem_loss
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import parse_formula
from tests.helpers import assert_same

pytestmark = pytest.mark.usefixtures("unchecked")  # thousands of small fits

X = torch.linspace(-1, 1.5, 300, dtype=torch.float64)[:, None]
FEW = ["x", "x**2", "x**3", "exp", "sin", "tanh"]
ARGUMENTS = {"exp": "0.7*x", "log": "2*x + 3", "x**3": "x + 0.4", "1/x": "x + 2", "sqrt": "x + 1.2", "sin": "3*x + 1"}
CONSTANTS = {"x": (1.0, 0.0), "exp": (0.7, 0.0), "log": (1.0, 1.5), "x**3": (1.0, 0.4), "sin": (3.0, 1.0)}


@pytest.mark.parametrize("name", ["x", "x**2", "x**3", "1/x", "sqrt", "exp", "log", "sin", "tanh", "abs"])
def test_functions_are_known_again(name):
    text = f"2*({library_function(name).sympy(parse_formula(ARGUMENTS.get(name, '2*x - 0.5'), ['x']))}) - 1"
    best = suggest(kanpile(text, ["x"]), X, Edge(0, 0, 0), functions=[*FEW, name])[0]
    assert best.function == name
    assert best.error < 1e-12
    if name in CONSTANTS:
        assert math.remainder(best.constants[1] - CONSTANTS[name][1], math.pi) == pytest.approx(0, abs=1e-9)
        assert best.constants[0] == pytest.approx(CONSTANTS[name][0], abs=1e-9)


@pytest.mark.slow
def test_all_functions_are_tried():
    found = suggest(kanpile("tanh(3*x - 1)", ["x"]), X, Edge(0, 0, 0))
    assert found[0].function == "tanh"
    assert len(found) > len(LIBRARY) / 2
    assert all(a.score <= b.score for a, b in pairwise(found))


@pytest.mark.parametrize("frequency", [0.3, 4.0, 25.0])
def test_frequencies_are_found(frequency):
    best = suggest(kanpile(f"sin({frequency}*x + 2)", ["x"]), X, Edge(0, 0, 0), functions=["sin", "x**2", "exp"])[0]
    assert best.function == "sin"
    assert abs(best.constants[0]) == pytest.approx(frequency, rel=1e-8)


def test_what_is_known_less_well_is_told_more_simply():
    model = kanpile("x + 0.001*x**3", ["x"])
    wide = fit(MultKAN([1, 1], domain=(-1, 1.5)), (X, model(X).detach()), normalize=False, progress=False).model
    for resolution, function in ((1e-6, "sinh"), (1e-2, "x")):
        found = suggest(wide, X, Edge(0, 0, 0), functions=[*FEW, "sinh"], resolution=resolution)
        assert found[0].function == function


def test_of_edges_with_both_parts_the_spline_is_told():
    """Up to what the constants of the symbolic part could do."""
    data = (X, 1.01 * X.sin() + 0.2 * X**2)
    model = fit(perturb(kanpile("sin(x)", ["x"]), domain=(-1, 1.5)), data, normalize=False, progress=False).model
    assert suggest(model, X, Edge(0, 0, 0), functions=FEW)[0].function == "x**2"


def test_edges_that_cannot_be_told_are_refused():
    with pytest.raises(ConfigError, match="which is constant there"):
        suggest(kanpile("3", ["x"]), X, Edge(0, 0, 0))
    with pytest.raises(ConfigError, match="layers from 0 to 0"):
        suggest(kanpile("x", ["x"]), X, Edge(1, 0, 0))


def test_snapping_lowers_the_loss_and_leaves_a_formula():
    x = 2 * torch.rand(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    data = (x, (x[:, :1] ** 2 + torch.sin(3 * x[:, 1:])))
    model = fit(MultKAN([2, 1], grid=10), data, progress=False).model
    found = snap(model, data, functions=FEW)
    assert [step.function for step in found.steps] == ["x**2", "sin"]
    assert problem_loss(found.model, data) < 1e-20 < problem_loss(model, data)
    assert found.steps[-1].loss == pytest.approx(problem_loss(found.model, data), abs=1e-20)
    read = torch_function(formula(found.model, ["x", "y"])[0], ["x", "y"])
    assert_same(read(x)[:, None], data[1], 1e-8)


@pytest.mark.slow
def test_edges_of_both_kinds_are_split():
    data = (X, X.sin() + 0.2 * X**2)
    model = fit(perturb(kanpile("sin(x)", ["x"]), domain=(-1, 1.5)), data, normalize=False, progress=False).model
    found = snap(model, data, edges=[Edge(0, 0, 0)], functions=FEW)
    assert found.steps[0].function == "x**2"
    assert problem_loss(found.model, data) < 1e-20
    assert {"sin", "x**2"} <= {name for layer in found.model.config.layers for row in layer.symbols for name in row}


def test_problems_without_targets_are_snapped():
    """u' = u, u(0) = 1."""
    x = torch.linspace(0, 1, 60, dtype=torch.float64)[:, None]
    terms = [
        Residual(lambda jet, x: jet.gradient[:, 0, 0] - jet.value[:, 0], x, needs="gradient"),
        Residual(lambda jet, x: jet.value[:, 0] - 1, x[:1]),
    ]
    model = solve(MultKAN([1, 1], domain=(0, 1)), terms, progress=False).model
    found = snap(model, terms, functions=FEW)
    assert found.steps[0].function == "exp"
    assert abs(float(found.model(x[-1:]).detach()) - 2.718281828459045) < 1e-8
