"""How often structure tests are right: of perturbed functions and of trained networks, at three sizes of the error."""

import pytest
import torch

import kansci as ks
from tests.analysis.structure_rates import Rates, perturbed_rates, trained_rates
from tests.analysis.truths import cases, fresh_cases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
EVERY = 2
SETS = {"chosen by": lambda: cases()[::EVERY], "fresh": fresh_cases}
LIMITS = {0.0: (0.01, 0.05), 1e-3: (0.04, 0.10), 1e-2: (0.10, 0.20)}  # false positives, undecided


def assert_right(rates: Rates, error: float) -> None:
    false, undecided = LIMITS[error]
    assert rates.true_positives >= 0.99, rates.wrong
    assert rates.false_positives <= false, rates.wrong
    assert rates.undecided <= undecided, rates.wrong


@pytest.mark.parametrize("error", LIMITS)
@pytest.mark.parametrize("name", SETS)
def test_functions_with_a_smooth_error(name, error, unchecked):
    rates = perturbed_rates(error, SETS[name]())
    assert len(SETS[name]()) >= 60
    assert rates.total("no") >= 100
    assert_right(rates, error)


@pytest.mark.parametrize("level", [1e-3, 1e-2])
@pytest.mark.parametrize("name", SETS)
def test_trained_networks(name, level, unchecked):
    rates, count = trained_rates(level, [case for case in SETS[name]() if case.d <= 4])
    assert count >= 20
    assert_right(rates, level)


@pytest.mark.parametrize("error", LIMITS)
@pytest.mark.parametrize("name", SETS)
def test_units_do_not_matter(name, error, unchecked):
    rates = perturbed_rates(error, SETS[name]()[::4], units=True)
    assert rates.rescaled > 200
    assert not rates.changed


@pytest.mark.parametrize("seed", range(5))
def test_trees_of_trained_networks(seed, unchecked):
    """The KAN 2.0 tutorial on trees: (x1^2 + x2^2)^2 + (x3^2 + x4^2)^2 by [4, 5, 5, 1]."""

    def f(x):
        return (x[:, 0] ** 2 + x[:, 1] ** 2) ** 2 + (x[:, 2] ** 2 + x[:, 3] ** 2) ** 2

    data = ks.Dataset.from_function(f, [(-1, 1)] * 4, 2000, seed=seed)
    test = ks.Dataset.from_function(f, [(-1, 1)] * 4, 4000, seed=100 + seed)
    model = ks.fit(ks.MultKAN([4, 5, 5, 1], domain=data.domain, seed=seed), data, validation=0.2, progress=False).model
    with torch.no_grad():
        error = float((model(test.x) - test.y).square().mean().sqrt() / test.y.std())
    root = ks.structure_tree(model, data.x, error=error).root
    assert root is not None
    assert root.kind == "additive"
    assert [part.inputs for part in root.children] == [(0, 1), (2, 3)]
    assert [part.formula for part in root.children] == ["x1**2 + x2**2", "x3**2 + x4**2"]
