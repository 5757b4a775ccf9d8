"""Motions of known systems."""

import torch

from kansci import kanpile
from kansci.physics.lagrangian import energy
from kansci.physics.rollout import rollout
from tests.helpers import assert_same

NAMES = ["q", "v"]
START = torch.tensor([[1.0, 0.0], [0.3, -0.7]], dtype=torch.float64)
TIMES = torch.linspace(0, 3, 7, dtype=torch.float64)


def test_oscillators_turn():
    q, v = START.T
    c, s = TIMES.cos()[:, None], TIMES.sin()[:, None]
    exact = torch.stack([q * c + v * s, v * c - q * s], 2)
    model = kanpile("v**2 - q**2", NAMES)
    assert_same(rollout(model, START, TIMES), exact, 1e-9)
    errors = [float((rollout(model, START, TIMES, tolerance=own) - exact).abs().max()) for own in (1e-3, 1e-6, 1e-9)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_relativistic_fall():
    model = kanpile("-sqrt(1 - v**2) + q", NAMES)
    path = rollout(model, torch.zeros(1, 2, dtype=torch.float64), TIMES.tolist())[:, 0]
    root = (1 + TIMES**2).sqrt()
    assert_same(path, torch.stack([root - 1, TIMES / root], 1), 1e-9)


def test_damped_oscillator():
    model = kanpile(["v**2/2 - q**2/2", "v**2/2"], NAMES)
    rate = 0.75**0.5
    exact = (-TIMES / 2).exp() * ((rate * TIMES).cos() + (rate * TIMES).sin() / (2 * rate))
    assert_same(rollout(model, START[:1], TIMES)[:, 0, 0], exact, 1e-9)


def test_times_may_start_anywhere():
    model = kanpile("v**2/2 + cos(q)", NAMES)
    assert_same(rollout(model, START, TIMES + 5), rollout(model, START, TIMES), 1e-9)


def test_energy_stays():
    model = kanpile("v**2/2 + cos(q)", NAMES)
    values = torch.stack([energy(model, own) for own in rollout(model, START, TIMES)])
    assert (values - values[0]).abs().max() < 1e-9


def test_paths_that_leave_are_lost_alone():
    model = kanpile("-sqrt(1 - v**2) + q", NAMES)
    start = torch.tensor([[0.0, 0.0], [0.0, 1.5]], dtype=torch.float64)
    path = rollout(model, start, TIMES)
    assert path[:, 1].isnan().all()
    assert_same(path[:, 0, 0], (1 + TIMES**2).sqrt() - 1, 1e-9)
