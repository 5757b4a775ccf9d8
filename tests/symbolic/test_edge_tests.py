"""Is this edge a parabola, is this term zero, is this constant one?"""

import pytest
import torch
from scipy import stats

from kansci import Edge, MultKAN, constant_hypothesis, edge_hypothesis, fit, kanpile
from kansci.errors import ConfigError, UnknownFunctionError

pytestmark = pytest.mark.usefixtures("unchecked")

N, NOISE = 200, 0.1
TERM = Edge(0, 0, 1)


def square(seed):
    return 2 * torch.rand(N, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1


def sample(seed, effect=0.0):
    """sin(2x) and, times a number of its standard errors, y^2."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    x = square(seed)
    column = x[:, 1:] ** 2
    unit = NOISE / (column - column.mean()).norm()
    noise = NOISE * torch.randn(N, 1, dtype=torch.float64, generator=generator)
    return x, (2 * x[:, :1]).sin() + effect * unit * column + noise


def p_of_term(seed, effect=0.0):
    return edge_hypothesis(kanpile("sin(2*x) + 0.1*y**2", ["x", "y"]), sample(seed, effect), TERM).p_value


def p_of_constant(seed, effect=0.0):
    model = kanpile("sin(2*x) + 0.1*y**2", ["x", "y"])
    return constant_hypothesis(model, sample(seed, effect), TERM, "c").p_value


@pytest.mark.slow
@pytest.mark.parametrize("p_value", [p_of_term, p_of_constant])
def test_p_values_are_uniform_where_the_term_is_zero(p_value):
    assert stats.kstest([p_value(seed) for seed in range(200)], "uniform").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("p_value", [p_of_term, p_of_constant])
def test_effects_of_four_standard_errors_are_seen(p_value):
    assert sum(p_value(seed, 4.0) < 0.05 for seed in range(200)) >= 180


@pytest.mark.parametrize("p_value", [p_of_term, p_of_constant])
def test_large_effects_are_certain_and_none_are_not(p_value):
    assert p_value(0, 20.0) < 1e-6
    assert max(p_value(seed) for seed in range(3)) > 0.05


def test_spline_edges_are_asked_too():
    x = square(0)
    noise = 0.01 * torch.randn(N, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    data = (x, x[:, :1].exp() + x[:, 1:] ** 2 + noise)
    model = fit(MultKAN([2, 1], grid=3), data, progress=False).model
    assert not edge_hypothesis(model, data, Edge(0, 0, 0), "exp", grid=3).refuted
    assert edge_hypothesis(model, data, Edge(0, 0, 0), "x**2", grid=3).refuted
    assert not edge_hypothesis(model, data, Edge(0, 0, 1), "x**2", grid=3).refuted


def test_questions_that_make_no_sense_are_refused():
    model, data = kanpile("sin(2*x) + y", ["x", "y"]), sample(0)
    with pytest.raises(ConfigError, match="layers from 0 to 0"):
        edge_hypothesis(model, data, Edge(3, 0, 0))
    with pytest.raises(UnknownFunctionError, match="sine"):
        edge_hypothesis(model, data, TERM, "sine")
    with pytest.raises(ConfigError, match="a constant a, b, c or d"):
        constant_hypothesis(model, data, TERM, "e")
    with pytest.raises(ConfigError, match="a symbolic edge"):
        constant_hypothesis(MultKAN([2, 1]), data, TERM, "c")
