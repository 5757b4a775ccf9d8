import numpy as np
import pytest
import torch

from kansci.errors import ConfigError, ShapeError
from kansci.nn.multkan import MultKAN
from kansci.surgery.auto_prune import auto_prune
from kansci.symbolic.kanpiler import kanpile
from tests.helpers import assert_same, unchanged

X = 2 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
NOISE = torch.randn(300, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_parts_smaller_than_the_noise_go():
    model = kanpile("exp(x) + 0.02*sin(9*y) + 0.0001*z", ["x", "y", "z"])
    target = X[:, :1].exp() + 0.02 * (9 * X[:, 1:2]).sin()
    with unchanged(model):
        loud, quiet, exact = (
            auto_prune(model, X, (X, target + size * NOISE), inputs=True) for size in (0.3, 1e-3, 0.0)
        )
    assert (loud.model.inputs, quiet.model.inputs) == ((0,), (0, 1))
    assert exact.model.inputs == (0, 1)
    assert loud.threshold > quiet.threshold >= exact.threshold
    assert quiet.error <= 1.1 * quiet.error_before


def test_an_exact_model_keeps_all():
    model = MultKAN([3, 4, 1], seed=1)
    found = auto_prune(model, X, (X, model(X).detach()))
    assert_same(found.model(X), model(X))
    assert found.error_before == 0
    assert [trial.edges for trial in found.trials] == sorted(trial.edges for trial in found.trials)


def test_validation_may_be_any_error():
    model = kanpile("exp(x) + 0.1*y", ["x", "y"])
    found = auto_prune(model, X[:, :2], lambda pruned: float(len(pruned.inputs) == 1), inputs=True)
    assert found.model.inputs == (0, 1)
    found = auto_prune(model, X[:, :2], lambda pruned: 1.0, inputs=True)
    assert found.model.inputs == (0,)


def test_inputs_are_counted_as_those_of_the_model():
    model = kanpile("exp(x) + 0.001*y + 0.3*z", ["x", "y", "z"])
    first = auto_prune(model, X, (X, X[:, :1].exp() + 0.3 * X[:, 2:] + 0.01 * NOISE), inputs=True)
    assert first.model.inputs == (0, 2)
    second = auto_prune(
        first.model, X[:, [0, 2]], (X[:, [0, 2]], X[:, :1].exp() + 3 * NOISE), inputs=True, tolerance=1.0
    )
    assert second.model.inputs == (0,)


def test_bad_arguments_are_refused():
    model = kanpile("x + y + z", ["x", "y", "z"])
    with pytest.raises(ConfigError, match="not negative"):
        auto_prune(model, X, (X, NOISE), tolerance=-1.0)
    with pytest.raises(ShapeError, match=r"\(300, 1\), got \(300,\)"):
        auto_prune(model, X, (np.asarray(X), NOISE[:, 0]))
    with pytest.raises(ConfigError, match="nothing left"):
        auto_prune(model, 0 * X, (X, NOISE))
