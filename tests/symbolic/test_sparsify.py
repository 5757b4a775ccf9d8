"""The smallest network that is as good as any."""

from typing import Any

import pytest
import torch

from kansci import Dataset, MultKAN, kanpile, sparsify
from kansci.errors import ConfigError
from kansci.symbolic.sparsify import _needs_more

pytestmark = pytest.mark.usefixtures("unchecked")

X = 2 * torch.rand(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1


@pytest.mark.slow
def test_superfluous_nodes_go_and_the_model_stays():
    model = MultKAN([2, 3, 1])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = sparsify(model, (X, (X[:, :1] + X[:, 1:] ** 2).exp()), weights=[1e-2, 3e-3])
    assert [width.n_nodes for width in found.model.config.columns] == [2, 1, 1]
    assert min(trial.error for trial in found.trials) == found.trials[-1].error < 1e-3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": []}, "weights above 0"),
        ({"weights": [-1.0]}, "weights above 0"),
        ({"starts": 0}, "at least one start"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        sparsify(MultKAN([2, 2, 1], grid=2), (X, X[:, :1]), steps=5, **options)


def test_compiled_models_are_refused():
    with pytest.raises(ConfigError, match="thaw it first"):
        sparsify(kanpile("x + y", ["x", "y"]), (X, X[:, :1]))


@pytest.mark.parametrize(("law", "more"), [(X[:, :1] + X[:, 1:] ** 2, False), (X[:, :1] * X[:, 1:], True)])
def test_masked_edges_come_in_only_where_the_others_do_not_suffice(law, more):
    """A product can not be had of nodes that see one input each."""
    assert _needs_more(MultKAN([2, 2, 1], grid=3, sparse=True), Dataset(X, law).split(0.2, 0)) == more


@pytest.mark.slow
def test_masked_edges_stay_masked_unless_they_may_be_filled():
    model: Any = MultKAN([2, 2, 1], grid=3, sparse=True)
    data, options = (X, X[:, :1] * X[:, 1:]), {"weights": [1e-3], "starts": 1, "steps": 20}
    apart, joined = sparsify(model, data, **options), sparsify(model, data, fill=True, **options)
    assert 2 * joined.trials[0].error < apart.trials[0].error
    assert not model.layers[0].splines.mask.all()
