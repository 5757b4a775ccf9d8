"""Lagrangians fitted to whole motions: constants, their errors, and what motions leave open."""

import pytest
import torch

from kansci import Edge, hold_constants, kanpile
from kansci.physics.trajectories import SEGMENT, Motions, fit_motions, settle_motions
from tests.helpers import unchanged

T = torch.linspace(0, 6, 13, dtype=torch.float64)
FREE = [Edge(0, 0, 0)]  # the potential's


def oscillations(sigma: float, seed: int = 0, square: float = 1.0) -> tuple[Motions, torch.Tensor]:
    """A motion of q'' = -square q, measured with noise, and its states."""
    rate = square**0.5
    exact = torch.stack([(rate * T).cos(), -rate * (rate * T).sin()], 1)
    errors = sigma * torch.randn(len(T), 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    noise = {0: torch.tensor([sigma], dtype=torch.float64)}
    return Motions(T, {0: exact[:, :1] + errors}, noise, torch.zeros(len(T))), exact


def model(square: float):
    """An oscillator of which the potential is free."""
    return hold_constants(kanpile(f"v**2/2 - {square / 2}*q**2", ["q", "v"]), free=FREE)


@pytest.mark.slow
def test_a_constant_within_its_error():
    z = []
    for seed in range(4):
        motions, exact = oscillations(0.02, seed)
        found = fit_motions(model(1.08), motions, exact)
        error = found.covariance.diagonal().sqrt()
        place = int((found.constants + 0.5).abs().argmin())
        assert float(error[place]) < 0.02
        z.append(float((found.constants[place] + 0.5) / error[place]))
        assert 0.2 < found.chi2 / found.freedom < 2.5
        assert found.freedom == len(T) - 4  # the potential's middle and curvature, and the start
    assert 0.05 < sum(own**2 for own in z) / 4 < 4


@pytest.mark.slow
def test_what_nothing_determines_has_no_error_bar():
    motions, exact = oscillations(0.02)
    errors = fit_motions(model(1.0), motions, exact).covariance.diagonal()
    assert errors.isinf().sum() == 1  # the constant of L
    assert errors.isfinite().sum() == 2  # where the potential is least, and how much it curves


@pytest.mark.slow
def test_the_input_is_left():
    motions, exact = oscillations(0.02)
    few = Motions(T[:4], {0: motions.measured[0][:4]}, motions.noise, torch.zeros(4))
    given = model(1.05)
    with unchanged(given):
        found = fit_motions(given, few, exact[:4], steps=1)
    assert found.states.shape == (4, 2)
    assert "chi2" in repr(found)


@pytest.mark.slow
@pytest.mark.parametrize(("square", "simple"), [(1.0, True), (1.234567, False)])
def test_constants_settle_where_motions_allow_it(square, simple):
    motions, exact = oscillations(1e-4, square=square)
    free = fit_motions(model(1.001 * square), motions, exact)
    settled = settle_motions(free, motions).model
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    potential = float((settled(x) - settled(0 * x)).detach())
    assert abs(potential + square / 2) < 1e-3
    assert (abs(potential + 0.5) < 1e-12) is simple


def test_long_motions_are_cut():
    n = 2 * SEGMENT + 5
    times = torch.arange(n + 10, dtype=torch.float64)
    number = torch.cat([torch.zeros(n), torch.ones(10)])
    noise = {order: torch.ones(1, dtype=torch.float64) for order in (0, 1)}
    motions = Motions(times, dict.fromkeys(noise, times[:, None]), noise, number)
    segments = motions.segments()
    assert torch.equal(torch.cat(segments), torch.arange(n + 10))
    assert max(map(len, segments)) <= SEGMENT
    assert all(len(number[own].unique()) == 1 for own in segments)
    assert motions.size == 2 * (n + 10)
