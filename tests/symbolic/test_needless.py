"""Functions that a formula does not need."""

import math

import pytest
import sympy
import torch

from kansci import formula, kanpile, solve
from kansci.solvers.statement import as_terms, problem_loss
from kansci.symbolic.needless import functions_of, without_needless
from kansci.symbolic.snap import complexity, schwarz

pytestmark = pytest.mark.usefixtures("unchecked")

X = 2 * torch.rand(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
NAMES = ["x", "y"]


def reduced(text, y, hopeful=1e-6):
    terms = as_terms((X, y))
    model = solve(kanpile(text, NAMES), terms, steps=25, progress=False).model

    def score(own, stake):
        return schwarz(max(problem_loss(own, terms), 1e-20 * stake), own, terms, complexity(own))

    return model, without_needless(model, terms, score, hopeful=hopeful, steps=25), terms


@pytest.mark.slow
def test_a_square_that_others_can_say_goes_with_all_that_leads_to_it():
    """(x + y)^2 + (x - y)^2 is 2 x^2 + 2 y^2; any two of the four squares say it."""
    y = 2 * X[:, :1] ** 2 + 2 * X[:, 1:] ** 2
    model, fewer, terms = reduced("(x + y)**2 + (x - y)**2 + x**2 + y**2", y)
    assert len(functions_of(fewer)) < len(functions_of(model))
    assert problem_loss(fewer, terms) < 1e-24
    x1, x2 = sympy.symbols(NAMES, real=True)
    found = sympy.lambdify((x1, x2), formula(fewer, NAMES)[0] - 2 * x1**2 - 2 * x2**2)
    assert max(abs(found(a, b)) for a, b in [(0.3, 0.7), (-0.5, 0.1), (0.9, -0.9)]) < 1e-12


@pytest.mark.slow
def test_what_is_undefined_at_once_goes_little_by_little():
    """Without the mean of the third square the root would be of negative numbers."""
    y = (X.square().sum(1, keepdim=True) + 0.001).sqrt()
    model, fewer, terms = reduced("sqrt(0.6*x**2 + y**2 + 0.4*(x + 0.01)**2 + 0.001)", y)
    assert len(functions_of(fewer)) < len(functions_of(model))
    assert problem_loss(fewer, terms) < 1e-20


@pytest.mark.parametrize("text", ["exp(sin(3*x) + y**2)", "x*y", "x + 0.01*y"])
def test_what_is_needed_stays(text):
    model, fewer, terms = reduced(text, kanpile(text, NAMES)(X).detach())
    assert functions_of(fewer) == functions_of(model)
    assert problem_loss(fewer, terms) < 1e-24


@pytest.mark.slow
def test_in_noise_a_term_stays_if_it_is_more_than_chance():
    noise = 0.01 * torch.randn(300, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, both, _ = reduced("exp(x) + 0.1*sin(y)", X[:, :1].exp() + 0.1 * X[:, 1:].sin() + noise, math.inf)
    _, one, _ = reduced("exp(x) + 0.1*sin(y)", X[:, :1].exp() + noise, math.inf)
    sources = [{own.source for own in functions_of(model) if own.layer == 0} for model in (both, one)]
    assert sources == [{0, 1}, {0}]
