"""Likelihood-ratio tests: right as often as they promise, and able to see what is there."""

import math

import pytest
import torch
from scipy import stats

from kansci import Residual, fit, hold_constants, kanpile, perturb
from kansci.errors import ConfigError
from kansci.symbolic.hypotheses import compare_models


def noisy(f, noise, seed=0, n=150, d=1):
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(n, d, dtype=torch.float64, generator=generator) - 1
    return x, f(x) + noise * torch.randn(n, 1, dtype=torch.float64, generator=generator)


def test_linear_models_are_compared_as_in_the_textbook():
    """F of a cubic against a line, by normal equations."""
    x, y = noisy(lambda x: 1 + 2 * x + 0.3 * x**2, 0.2)
    prior = kanpile("2*x + 1", ["x"])
    found = compare_models(prior, perturb(prior, grid=1), (x, y))
    powers = torch.cat([x**p for p in range(4)], 1)
    rests = [(y - own @ torch.linalg.lstsq(own, y).solution).square().sum() for own in (powers[:, :2], powers)]
    expected = float((rests[0] - rests[1]) / 2 / (rests[1] / (len(x) - 4)))
    assert (found.extra, found.freedom) == (2, len(x) - 4)
    assert found.statistic == pytest.approx(expected, rel=1e-9)
    assert found.p_value == pytest.approx(stats.f.sf(expected, 2, len(x) - 4), rel=1e-9)
    assert found.explained == pytest.approx(float(1 - rests[1] / rests[0]), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [None, 0.1])
@pytest.mark.parametrize("formula", ["sin(2*x)", "exp(x)"])
def test_p_values_are_uniform_where_the_formula_is_true(formula, noise):
    prior = kanpile(formula, ["x"])
    larger = perturb(prior, grid=2)

    def truth(x):
        return prior(x).detach()

    values = [compare_models(prior, larger, noisy(truth, 0.1, seed, 80), noise=noise).p_value for seed in range(60)]
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_what_is_there_is_seen():
    prior = kanpile("sin(x)", ["x"])
    data = noisy(lambda x: x.sin() + 0.5 * (4 * x).sin(), 0.1)
    assert compare_models(prior, perturb(prior), data).refuted
    assert not compare_models(prior, perturb(prior), noisy(torch.sin, 0.1)).refuted


def test_constants_that_are_held_are_part_of_the_formula():
    data = noisy(lambda x: 1.2 * x.sin(), 0.02)
    prior = kanpile("sin(x)", ["x"])
    held = hold_constants(prior)
    assert not compare_models(prior, perturb(prior), data).refuted
    assert compare_models(held, perturb(held), data).refuted


def test_both_may_have_been_fitted():
    data = noisy(lambda x: x.exp(), 0.05, n=300)
    small = fit(kanpile("x", ["x"]), data, progress=False).model
    large = fit(perturb(kanpile("x", ["x"])), data, progress=False).model
    assert compare_models(small, large, data).refuted


def test_data_without_noise_refute_nothing_that_is_true():
    x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
    prior = kanpile("sin(x)", ["x"])
    found = compare_models(prior, perturb(prior), (x, x.sin()))
    assert found.p_value == 1
    assert compare_models(prior, perturb(prior), (x, x.sin() + 1e-9 * (4 * x).sin())).refuted


def test_equations_leave_only_some_changes():
    """u'' = 0 leaves two numbers; data of a line cannot refute it, those of a parabola can."""
    x = torch.linspace(-1, 1, 61, dtype=torch.float64)[:, None]
    equation = Residual(lambda jet, x: jet.laplacian, x, needs="laplacian")
    noise = 0.1 * torch.randn(61, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    prior = hold_constants(kanpile("x", ["x"]))
    for target, refuted in ((x, False), (x + 0.5, True), (x + 0.3 * x**2 - 0.1, False)):
        data = Residual(lambda jet, x, y: jet.value - y, x, targets=target + noise, noise=0.1)
        found = compare_models(prior, perturb(prior), [data, equation])
        assert (found.extra, found.freedom) == (2, math.inf)
        assert found.refuted == refuted


def test_bad_questions_are_refused():
    x, y = noisy(torch.sin, 0.1, n=6)
    prior = kanpile("sin(x)", ["x"])
    with pytest.raises(ConfigError, match="explain more than the prior"):
        compare_models(prior, prior, (x, y))
    with pytest.raises(ConfigError, match="more samples than the"):
        compare_models(prior, perturb(prior, grid=20), (x, y))
    with pytest.raises(ConfigError, match="noise= of each residual"):
        compare_models(prior, perturb(prior), Residual(lambda jet, x: jet.value, x), noise=0.1)
