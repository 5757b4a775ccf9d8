import math

import pytest
import torch

from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.solvers.first_order import cosine
from kansci.solvers.problem import Parameter
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve

X = torch.linspace(0, 1, 64, dtype=torch.float64)[:, None]


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def line(x=X, **options):
    """y = 2 a x + b: two free scalars."""
    return Residual(
        lambda jet, x, y, p: p["a"] * x[:, 0] + p["b"] - y, x, targets=2 * x[:, 0] - 1, name="line", **options
    )


def frozen():
    return MultKAN([1, 1], domain=(0, 1)).requires_grad_(False)


START = {"a": 0.0, "b": 0.0}


@pytest.mark.parametrize("rate", [0.1, None])
def test_adam_is_that_of_the_paper(rate):
    """Full batches of a quadratic, against the update written out."""
    found = solve(frozen(), line(), method="adam", steps=5, parameters=START, rate=rate, progress=False)
    z, m, v = torch.zeros(2).double(), 0.0, 0.0
    for t in range(1, 6):
        error = z[0] * X[:, 0] + z[1] - (2 * X[:, 0] - 1)
        g = 2 * torch.stack([(error * X[:, 0]).mean(), error.mean()])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        z = z - cosine(rate or 0.01)((t - 1) / 5) * step
    values = [found.parameters[name].value for name in "ab"]
    assert values == pytest.approx(z.tolist(), rel=1e-12)


@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_batches_reach_the_minimum(method):
    found = solve(frozen(), line(), method=method, steps=60, batch_size=8, rate=0.1, parameters=START, progress=False)
    assert found.parameters["a"].value == pytest.approx(2, abs=1e-3)
    assert found.status == "max_steps"
    assert len(found.history.step) == 60


def test_every_point_is_used_once_an_epoch_and_differently_in_each():
    seen = []

    def function(jet, x, p):
        seen.append(x[:, 0].tolist())
        return p["a"] * x[:, 0]

    term = Residual(function, X, name="all")
    few = Residual(lambda jet, x, p: p["a"] * x[:, 0], X[:3])
    solve(frozen(), [term, few], method="sgd", steps=2, batch_size=10, rate=0.0, parameters={"a": 1.0}, progress=False)
    batches = [own for own in dict.fromkeys(map(tuple, seen)) if len(own) < len(X) / 2]
    assert len(batches) == 2 * math.ceil(67 / 10)
    first, second = batches[:7], batches[7:]
    assert sorted(sum(first, ())) == sorted(sum(second, ())) == X[:, 0].tolist()
    assert set(first) != set(second)


def test_points_targets_and_weights_are_split_together():
    x = X / 2 + 0.5
    term = Residual(lambda jet, x, y, p: p["a"] * x[:, 0] - y, x, targets=3 * x[:, 0], weight=1 / x[:, 0])
    found = solve(
        frozen(), term, method="adam", steps=80, batch_size=7, rate=0.3, parameters={"a": 0.0}, progress=False
    )
    assert found.parameters["a"].value == pytest.approx(3, abs=1e-4)


def test_the_schedule_is_given_the_share_of_epochs():
    shares = []

    def rate(share):
        shares.append(share)
        return 0.01

    solve(frozen(), line(), method="sgd", steps=3, batch_size=32, rate=rate, parameters=START, progress=False)
    assert shares == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])


def test_seeds_choose_the_order_and_nothing_global_does():
    def run(seed):
        torch.manual_seed(seed + 7)
        options = {"batch_size": 8, "parameters": START, "seed": seed, "progress": False}
        return solve(frozen(), line(), method="sgd", steps=3, **options).history.loss.tolist()

    assert run(0) == run(0) != run(1)


def test_bounds_hold():
    start = {"a": Parameter(0.0, high=1.5), "b": 0.0}
    found = solve(frozen(), line(), method="adam", steps=100, rate=0.1, parameters=start, progress=False)
    assert found.parameters["a"].value == 1.5


def test_a_network_learns_and_its_grids_follow():
    term = Residual(lambda jet, x, y: jet.value[:, 0] - y, X, targets=(4 * X[:, 0]).sin())
    model = MultKAN([1, 3, 1], domain=(0, 1), grid=4)
    found = solve(model, term, method="adam", steps=120, batch_size=16, rate=0.05, progress=False)
    assert found.loss < 1e-3
    hidden = found.model.layers[0](X.T)
    low, high = found.model.layers[1].splines.domain
    assert ((hidden >= low[:, None]) & (hidden <= high[:, None])).all()


def test_too_large_a_rate_diverges_and_the_best_is_returned():
    found = solve(frozen(), line(), method="sgd", steps=900, rate=lambda share: 1e3, parameters=START, progress=False)
    assert found.status == "diverged"
    assert math.isfinite(found.loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lm", "batch_size": 3}, "expected batch_size and rate with method"),
        ({"method": "bfgs", "rate": 0.1}, "expected batch_size and rate with method"),
        ({"method": "adam", "batch_size": 0}, "expected a batch_size of at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        solve(frozen(), line(), parameters=START, progress=False, **options)
