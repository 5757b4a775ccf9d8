import numpy as np
import pytest
import torch

from kansci.errors import ConfigError, DataError, KansciError, ShapeError
from kansci.solvers.data import Dataset

X = torch.linspace(-1, 2, 12, dtype=torch.float64).reshape(6, 2)
Y = X.sum(1)


@pytest.mark.parametrize("convert", [lambda t: t, torch.Tensor.numpy, torch.Tensor.tolist, lambda t: t.float()])
def test_arrays_tensors_and_lists_are_taken(convert):
    data = Dataset(convert(X), convert(Y))
    assert (data.x.dtype, data.y.dtype) == (torch.float64, torch.float64)
    assert (data.x.shape, data.y.shape) == ((6, 2), (6, 1))
    assert torch.allclose(data.x, X, atol=1e-6)
    assert torch.allclose(data.y[:, 0], Y, atol=1e-6)


def test_integers_and_vectors_become_columns_of_numbers():
    data = Dataset(np.arange(4), [1, 2, 3, 5])
    assert data.x.tolist() == [[0.0], [1.0], [2.0], [3.0]]
    assert data.y.tolist() == [[1.0], [2.0], [3.0], [5.0]]


def test_what_is_not_said_follows_from_the_data():
    data = Dataset(X, Y)
    assert data.names == ["x1", "x2"]
    assert data.domain == [(X[0, 0].item(), X[-1, 0].item()), (X[0, 1].item(), X[-1, 1].item())]
    assert data.weight is data.x_test is data.y_test is None
    assert repr(data) == "Dataset(6 samples, x1, x2 -> 1 targets)"


def test_the_domain_spans_the_test_part_and_constant_inputs():
    data = Dataset([[0.0, 5.0], [1.0, 5.0]], [0.0, 1.0], [[3.0, 5.0]], [2.0])
    assert data.domain == [(0.0, 3.0), (4.5, 5.5)]


def test_what_is_given_is_kept():
    data = Dataset(X, Y, names=["a", "b"], weight=range(6), domain=(-5, 5))
    assert data.names == ["a", "b"]
    assert data.domain == [(-5.0, 5.0), (-5.0, 5.0)]
    assert data.weight is not None
    assert data.weight.tolist() == [0, 1, 2, 3, 4, 5]


def test_functions_are_sampled_in_their_domain():
    data = Dataset.from_function(lambda x: x[:, 0] * x[:, 1], [(0, 1), (2, 4)], 300, seed=3, n_test=50)
    assert data.x_test is not None
    assert data.y_test is not None
    assert (data.x.shape, data.x_test.shape) == ((300, 2), (50, 2))
    assert torch.equal(data.y[:, 0], data.x.prod(1))
    assert torch.equal(data.y_test[:, 0], data.x_test.prod(1))
    assert data.domain == [(0.0, 1.0), (2.0, 4.0)]
    assert ((data.x.amin(0) - torch.tensor([0.0, 2.0])).abs() < 0.05).all()
    assert ((data.x.amax(0) - torch.tensor([1.0, 4.0])).abs() < 0.05).all()


def test_the_seed_decides_the_samples():
    first, same, other = (Dataset.from_function(lambda x: x, (0, 1), 5, seed=seed).x for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_split_parts_the_samples():
    data = Dataset(X, Y, weight=Y.abs(), names=["a", "b"]).split(1 / 3, seed=1)
    assert data.x_test is not None
    assert (len(data.x), len(data.x_test)) == (4, 2)
    rows = torch.cat([data.x, data.x_test])
    assert torch.equal(rows[rows[:, 0].argsort()], X)
    assert torch.equal(data.y[:, 0], data.x.sum(1))
    assert data.weight is not None
    assert torch.equal(data.weight, data.x.sum(1).abs())
    assert data.names == ["a", "b"]
    assert data.domain == Dataset(X, Y).domain


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 0.01, 2.0])
def test_a_split_leaves_samples_on_both_sides(fraction):
    with pytest.raises(ConfigError, match="fraction between 0 and 1"):
        Dataset(X, Y).split(fraction)


def test_data_are_split_once():
    with pytest.raises(ConfigError, match="without a test part"):
        Dataset(X, Y).split(0.5).split(0.5)


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        ((X, Y[:4]), {}, ShapeError, "as many rows of y as of x, got 4 and 6"),
        ((X[None], Y), {}, ShapeError, r"x of shape \(n, columns\), got \(1, 6, 2\)"),
        ((X[:0], Y[:0]), {}, DataError, "at least one row of x"),
        ((X, Y.log()), {}, DataError, "y: expected finite numbers, got NaN or infinity in 2 rows: 0, 1"),
        ((X, Y, X[:, :1], Y), {}, ShapeError, "test data with 2 inputs and 1 targets, got 1 and 1"),
        ((X, Y, X, Y / 0), {}, DataError, "y_test: .* in 6 rows"),
        ((X, Y), {"names": ["a"]}, ShapeError, "expected 2 names"),
        ((X, Y), {"weight": [1.0, 2.0]}, ShapeError, "expected 6 weights, got 2"),
        ((X, Y), {"domain": (1, 0)}, ConfigError, "low < high"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        Dataset(*arguments, **options)
    assert isinstance(caught.value, KansciError)


def test_no_samples_are_refused():
    with pytest.raises(DataError, match="at least one sample, got n=0"):
        Dataset.from_function(lambda x: x, (0, 1), 0)
