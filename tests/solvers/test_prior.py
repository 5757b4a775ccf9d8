import pickle

import pytest
import torch

from kansci.errors import ConfigError
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers.fit import fit
from tests.helpers import assert_same

pytestmark = pytest.mark.usefixtures("unchecked")  # types are checked in the tests of the parts

CENTERS = (-0.8, -0.4, 0.0, 0.4, 0.8)


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def peaks(x):
    return sum(torch.exp(-300 * (x - center) ** 2) for center in CENTERS)


def phases():
    """The KAN paper's continual data: around one peak after another (pykan's example 8)."""
    own = torch.linspace(-0.2, 0.2, 100, dtype=torch.float64)[:, None]
    return [(own + center).clamp(-1, 1) for center in CENTERS]


def train(model, *, keep=True, steps=100):
    solution = None
    for x in phases():
        solution = fit(model, (x, peaks(x)), prior=solution if keep else None, steps=steps, progress=False)
        model = solution.model
    return [float((model(x) - peaks(x)).detach().square().mean().sqrt()) for x in phases()]


@pytest.mark.parametrize("seed", range(5))
def test_five_peaks_in_five_phases_are_all_kept(seed):
    assert max(train(MultKAN([1, 1], grid=200, seed=seed))) < 4e-6


def test_a_perceptron_forgets_and_so_does_a_network_without_prior():
    assert max(train(MLP([1, 20, 1]), keep=False, steps=15)) > 0.1
    assert max(train(MultKAN([1, 1], grid=200), keep=False)) > 1e-3


@pytest.mark.parametrize("method", ["lm", "ssbroyden"])
def test_data_in_parts_are_data_at_once(method):
    """A layer is linear, so the quadratic function is exact."""
    x = torch.linspace(-1, 1, 90, dtype=torch.float64)[:, None]
    y = (3 * x).sin()
    model = MultKAN([1, 1], base="zero")
    options = {"method": method, "normalize": False, "steps": 300, "progress": False}
    whole = fit(model, (x, y), **options)
    first = fit(model, (x[::3], y[::3]), **options)
    second = fit(first.model, (x[1::3], y[1::3]), prior=first, **options)
    third = fit(second.model, (x[2::3], y[2::3]), prior=second, **options)
    assert_same(third.model(x).detach(), whole.model(x).detach(), 1e-4)
    assert set(third.history.terms) == {"data", "prior"}


def test_hidden_grids_stay_where_the_information_is():
    x = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
    first = fit(MultKAN([1, 2, 1]), (x, x.sin()), steps=10, progress=False)
    second = fit(first.model, (x, 3 * x.cos()), prior=first, steps=10, progress=False)
    ours, theirs = (own.model.layers[1].splines.knots for own in (first, second))
    assert torch.equal(ours, theirs)


def test_what_is_no_prior_is_refused():
    x = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
    first = fit(MultKAN([1, 1]), (x, x.sin()), progress=False)
    with pytest.raises(ConfigError, match=r"pass fit\(prior.model, ...\)"):
        fit(MultKAN([1, 1]), (x, x.cos()), prior=first, progress=False)
    with pytest.raises(ConfigError, match="a copy by pickle"):
        fit(first.model, (x, x.cos()), prior=pickle.loads(pickle.dumps(first)), progress=False)  # noqa: S301
    with pytest.raises(ConfigError, match="no grids together with a prior"):
        fit(first.model, (x, x.cos()), prior=first, grids=(5, 10), progress=False)
    with pytest.raises(ConfigError, match="expected memory for a matrix"):
        fit(first.model, (x, x.cos()), prior=first, memory=1.0, progress=False)
