"""Smooth motions: exact where they can be, with errors that are true."""

import pytest
import torch

from kansci.errors import DataError, ShapeError
from kansci.physics import smoothing
from kansci.physics.smoothing import smooth
from tests.helpers import assert_same

T = torch.linspace(0, 4, 25, dtype=torch.float64)


def wave(t: torch.Tensor) -> dict[int, torch.Tensor]:
    return {0: t.sin()[:, None], 1: t.cos()[:, None], 2: -t.sin()[:, None]}


def test_parabolas_are_exact():
    t = T + 0.05 * (7 * T).sin()
    exact = {0: (2 - 3 * t + t**2)[:, None], 1: (-3 + 2 * t)[:, None], 2: torch.full((25, 1), 2.0, dtype=torch.float64)}
    for measured in ([0], [0, 2]):
        found = smooth(t, {order: exact[order] for order in measured})
        for order in (0, 1, 2):
            assert_same(found.values[order], exact[order], 1e-5)


def noisy_waves(noise: dict[int, float], motions: int = 12, n: int = 40):
    """Times, motions measured with noise, these without, and the number of each motion."""
    generator = torch.Generator().manual_seed(1)
    t = torch.linspace(0, 6, n, dtype=torch.float64).repeat(motions)
    number = torch.arange(motions).repeat_interleave(n)
    exact = wave(t + number)
    measured = {
        order: exact[order] + sigma * torch.randn(len(t), 1, dtype=torch.float64, generator=generator)
        for order, sigma in noise.items()
    }
    return t, measured, exact, number


@pytest.mark.parametrize("noise", [{0: 0.05}, {0: 0.1, 1: 0.03}])
def test_noise_and_errors_are_true(noise):
    t, measured, exact, number = noisy_waves(noise)
    found = smooth(t, measured, number)
    assert found.noise.keys() == noise.keys()
    for order, sigma in noise.items():
        assert abs(float(found.noise[order]) / sigma - 1) < 0.1
    for order, least in ((0, 0.75), (1, 0.75), (2, 0.5)):  # sines are smoother than what errors suppose
        z = (found.values[order] - exact[order]) / found.errors[order]
        assert least < float(z.square().mean().sqrt()) < 1.25
    better = (found.values[0] - exact[0]).square().mean() < measured[0].sub(exact[0]).square().mean() / 2
    assert bool(better)


def test_each_coordinate_has_its_own_noise():
    t, measured, _, number = noisy_waves({0: 0.03})
    _, other, _, _ = noisy_waves({0: 0.3})
    found = smooth(t, {0: torch.cat([measured[0], other[0]], 1)}, number)
    assert_same(found.noise[0] / torch.tensor([0.03, 0.3]), torch.ones(2), 0.1)


def test_independent_samples_are_few_and_of_all_motions():
    t, measured, _, number = noisy_waves({0: 0.05})
    found = smooth(t, measured, number)
    count = torch.bincount(number[found.independent], minlength=12)
    assert 3 <= int(count.min()) <= int(count.max()) <= 20


def test_long_motions_are_whole(monkeypatch):
    monkeypatch.setattr(smoothing, "LONGEST", 20)
    monkeypatch.setattr(smoothing, "OVERLAP", 8)
    t = torch.linspace(0, 8, 60, dtype=torch.float64)
    exact = wave(t)
    found = smooth(t, {0: exact[0], 1: exact[1], 2: exact[2]})
    for order in (0, 1, 2):
        assert_same(found.values[order], exact[order], 1e-4)
        assert bool((found.errors[order] > 0).all())


def test_units_do_not_matter():
    measured = wave(T)[0] + 0.01 * (50 * T).cos()[:, None]
    one, other = smooth(T, {0: measured}), smooth(1e-3 * T, {0: 1e4 * measured})
    for order in (0, 1, 2):
        change = other.values[order] / 1e4 / 1e3**order - one.values[order]
        assert bool((change.abs() < 0.2 * one.errors[order]).all())


def test_wrong_shapes_and_orders(unchecked):
    for measured in ({}, {3: T[:, None]}, {0: T[1:, None]}):
        with pytest.raises(ShapeError, match="expected orders 0, 1 or 2 with 25 rows each"):
            smooth(T, measured)


def test_wrong_times():
    with pytest.raises(DataError, match="at least 8 samples of each motion, got 7"):
        smooth(T[:7], {0: T[:7, None]})
    with pytest.raises(DataError, match="a column that tells motions apart"):
        smooth(torch.cat([T, T]), {0: torch.cat([T, T])[:, None]})
    with pytest.raises(DataError, match="ascend"):
        smooth(T * 0, {0: T[:, None]})
