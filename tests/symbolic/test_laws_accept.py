"""From samples to laws by the five lines of the README: every law, seeds 0 to 4, one default configuration."""

import pytest
import torch

from tests.symbolic.laws import FRESH, LAWS, find, is_formula

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unchecked"), pytest.mark.timeout(900)]

SEEDS = range(5)
MANY_RUNS = ["exp_sin", "product", "ratio", "velocities", "wave", "sum", "lorentzian", "powers", "logarithm", "damped"]
FAST = ["exp_sin", "sum", "wave", "lorentzian", "logarithm", "product"]  # sums can be had of a sparse start as it is


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", LAWS)
def test_laws_are_found_exactly(name, seed):
    found = find(LAWS[name], seed)
    assert found.is_right
    assert is_formula(found.formula, LAWS[name]), found.formula
    assert found.error <= 1e-12
    if name == "exp_sin":
        assert found.seconds <= 30


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", FRESH)
def test_laws_outside_the_list_are_found_exactly(name, seed):
    found = find(FRESH[name], seed)
    assert is_formula(found.formula, FRESH[name]), found.formula
    assert found.error <= 1e-12


@pytest.mark.timeout(7200)
def test_laws_are_found_in_noise_and_their_constants_have_honest_errors():
    runs = [find(LAWS[name], seed, noise=0.01) for name in MANY_RUNS for seed in SEEDS]
    assert sum(own.is_right for own in runs) >= 0.9 * len(runs)
    z = torch.tensor([value for own in runs for value in own.deviations])
    assert len(z) >= 200
    assert 0.90 <= float((z.abs() <= 2).double().mean()) <= 0.99
    assert 0.7 <= float(z.square().mean().sqrt()) <= 1.4


@pytest.mark.timeout(7200)
def test_sparse_starts_are_no_worse():
    rates = [
        sum(is_formula(find(LAWS[name], seed, sparse=sparse).formula, LAWS[name]) for name in FAST for seed in SEEDS)
        for sparse in (False, True)
    ]
    assert rates[1] >= rates[0]
