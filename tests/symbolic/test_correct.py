"""Formulas that data correct, constants that become numbers, and their errors."""

import math

import pytest
import torch

from kansci import (
    Edge,
    constant_estimates,
    correct,
    edge_evidence,
    formula,
    hold_constants,
    kanpile,
    refute,
    round_constants,
)
from kansci.errors import ConfigError

pytestmark = pytest.mark.usefixtures("unchecked")  # thousands of small fits

FEW = ["x", "x**2", "x**3", "exp", "sin"]


def plane(f, noise=0.0, n=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 4 * torch.rand(n, 2, dtype=torch.float64, generator=generator) - 2
    return x, (f(*x.T) + noise * torch.randn(n, dtype=torch.float64, generator=generator))[:, None]


CASES = {
    "a function of the same input": (
        "-sin(x) - 0.1*y",
        lambda x, y: -x.sin() - 0.1 * y - 0.3 * x**3,
        "x**3",
        "-3*x**3/10 - y/10 - sin(x)",
    ),
    "a function that was missing": ("2*x*y", lambda x, y: 2 * x * y + 0.2 * x.exp(), "exp", "2*x*y + exp(x)/5"),
    "inside a product": ("x*sin(y)", lambda x, y: (x + 0.3 * x**2) * y.sin(), "x**2", "(3*x**2/10 + x)*sin(y)"),
    "a higher frequency": (
        "exp(-x) + y",
        lambda x, y: (-x).exp() + y + 0.2 * (3 * y).sin(),
        "sin",
        "y + sin(3*y)/5 + exp(-x)",
    ),
}


@pytest.mark.parametrize(
    "case", ["a function that was missing", pytest.param("inside a product", marks=pytest.mark.slow)]
)
def test_formulas_are_corrected(case):
    check_correction(case, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.005])
@pytest.mark.parametrize("case", CASES)
def test_formulas_are_corrected_with_noise_too(case, noise):
    check_correction(case, noise)


def check_correction(case, noise):
    prior, truth, function, expected = CASES[case]
    data = plane(truth, noise)
    found = correct(kanpile(prior, ["x", "y"]), data, functions=FEW, resolution=max(1e-6, 3 * noise))
    assert found.before.refuted
    assert [step.function for step in found.steps] == [function]
    assert not found.after.refuted
    if not noise:
        assert str(formula(round_constants(found.model, data), ["x", "y"])[0]) == expected


def test_formulas_that_hold_stay():
    data = plane(lambda x, y: x * y.sin(), 0.01)
    found = correct(kanpile("x*sin(y)", ["x", "y"]), data)
    assert not found.steps
    assert str(formula(found.model, ["x", "y"])[0]) == "x*sin(y)"


@pytest.mark.slow
def test_formulas_with_held_constants_are_corrected():
    """Their edges may be other curves all the same."""
    data = plane(lambda x, y: x + y.sin() + 0.2 * x**2)
    found = correct(hold_constants(kanpile("x + sin(y)", ["x", "y"])), data, functions=FEW)
    assert [step.function for step in found.steps] == ["x**2"]
    assert found.model.layers[-1].symbols is not None
    assert found.model.layers[-1].symbols.fixed.any()


def test_evidence_points_at_the_edge():
    data = plane(lambda x, y: x.sin() + y.exp() + 0.3 * y**2, 0.01)
    best, *others = edge_evidence(kanpile("sin(x) + exp(y)", ["x", "y"]), data)
    assert best.edge == Edge(0, 0, 1)
    assert best.comparison.refuted
    assert not any(own.comparison.refuted for own in others)
    with pytest.raises(ConfigError, match="expected edges of layers"):
        edge_evidence(kanpile("x", ["x", "y"]), data, edges=[Edge(3, 0, 0)])


@pytest.mark.slow
def test_refuting_is_right_as_often_as_promised():
    prior = kanpile("x*sin(2*y)", ["x", "y"])
    wrong = sum(refute(prior, plane(lambda x, y: x * (2 * y).sin(), 0.1, 150, seed)).refuted for seed in range(40))
    assert wrong <= 5  # 2 are expected, more than 5 come with a probability of 1 %


@pytest.mark.slow
def test_standard_errors_are_those_of_repeated_data():
    prior = kanpile("2*sin(1.5*x) + 0.5*y", ["x", "y"])
    found = {(own.function, own.letter): own.estimate for own in constant_estimates(prior, sample(0), noise=0.1)}
    fits = [fitted(prior, seed) for seed in range(40)]
    for key in (("sin", "a"), ("sin", "c"), ("x", "c")):
        spread = torch.tensor([own[key] for own in fits]).std()
        assert found[key].standard_error == pytest.approx(float(spread), rel=0.35)
    assert math.isinf(found["x", "d"].standard_error)


def sample(seed):
    return plane(lambda x, y: 2 * (1.5 * x).sin() + 0.5 * y, 0.1, seed=seed)


def fitted(prior, seed):
    from kansci import fit

    model = fit(prior, sample(seed), normalize=False, steps=10, progress=False).model
    return {(own.function, own.letter): own.estimate.value for own in constant_estimates(model, sample(seed))}


@pytest.mark.parametrize(
    ("start", "truth", "expected"),
    [
        ("1.99*sin(3.15*x + 0.01) - 0.002", lambda x, y: 2 * (torch.pi * x).sin(), "2*sin(pi*x)"),
        ("0.34*x**2 + 0.2*y + 0.1", lambda x, y: x**2 / 3, "x**2/3"),
        ("exp(-1.02*x)*y*1.4", lambda x, y: math.sqrt(2) * (-x).exp() * y, "sqrt(2)*y*exp(-x)"),
    ],
)
def test_constants_become_simple_numbers(start, truth, expected):
    data = plane(truth, 0.003)
    model = round_constants(kanpile(start, ["x", "y"]), data)
    assert str(formula(model, ["x", "y"])[0]) == expected


def test_constants_that_are_not_simple_stay():
    data = plane(lambda x, y: 0.7310585786 * x, 0.0)
    text = str(formula(round_constants(kanpile("0.7*x", ["x", "y"]), data), ["x", "y"])[0])
    assert text.startswith("0.73105857")


def test_held_constants_are_not_fitted():
    data = plane(lambda x, y: 1.5 * x)
    model = hold_constants(kanpile("2*x + y", ["x", "y"]), free=[Edge(0, 0, 1)])
    assert {own.edge for own in constant_estimates(model, data)} == {Edge(0, 0, 1)}
