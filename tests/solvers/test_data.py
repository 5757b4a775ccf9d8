import h5py
import numpy as np
import pytest
import torch

from kansci.errors import ConfigError, DataError, KansciError, ShapeError
from kansci.nn.multkan import MultKAN
from kansci.solvers import mapped
from kansci.solvers.data import Dataset
from kansci.solvers.fit import fit

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
    assert data.x[:, 0].diff().min() > 0
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
        ((X, Y), {"names": ["a", "a"]}, ConfigError, "names that differ"),
        ((X, None), {}, ShapeError, "y of shape .* got NoneType"),
        ((X, Y, X), {}, ShapeError, "y_test of shape .* got NoneType"),
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


def test_large_parts_of_a_split_are_mapped(monkeypatch):
    plain = Dataset(X, Y, weight=Y.abs()).split(0.5, seed=3)
    monkeypatch.setattr(mapped, "MEMORY", 0.0)
    monkeypatch.setattr(mapped, "PART", 20)
    data = Dataset(X, Y, weight=Y.abs()).split(0.5, seed=3)
    for part in ("x", "y", "x_test", "y_test", "weight"):
        assert torch.equal(getattr(data, part), getattr(plain, part))


def test_labels_become_numbers_of_classes():
    data = Dataset(X, ["b", "a", "c", "a", "b", "c"], X[:2], ["c", "a"])
    assert data.classes == ["a", "b", "c"]
    assert data.y[:, 0].tolist() == [1, 0, 2, 0, 1, 2]
    assert data.y_test is not None
    assert data.y_test[:, 0].tolist() == [2, 0]
    assert Dataset(X, ["b", "a", "c", "a", "b", "c"]).split(0.5).classes == ["a", "b", "c"]
    assert Dataset(X, Y).classes is None
    with pytest.raises(DataError, match="got 'd' in row 1"):
        Dataset(X, ["b", "a", "c", "a", "b", "c"], X[:2], ["c", "d"])


def test_names_are_those_of_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"t": X[:, 0], "p": X[:, 1]})
    data = Dataset(frame, pandas.Series(Y, name="v"), frame, Y)
    assert data.names == ["t", "p"]
    assert torch.equal(data.x, X)
    assert Dataset(frame, Y, names=["a", "b"]).names == ["a", "b"]
    with pytest.raises(ShapeError, match=r"x_test to have the columns \['t', 'p'\], got \['p', 't'\]"):
        Dataset(frame, Y, frame[["p", "t"]], Y)


@pytest.fixture(params=["csv", "h5"])
def file(request, tmp_path):
    """Columns t, p, w and v."""
    table = torch.cat([X, Y[:, None].abs(), Y[:, None]], 1).numpy()
    path = tmp_path / f"data.{request.param}"
    if request.param == "csv":
        np.savetxt(path, table, delimiter=",", header="t,p,w,v", comments="", fmt="%.17g")
    else:
        with h5py.File(path, "w") as target:
            target["table"] = table
            target["table"].attrs["columns"] = ["t", "p", "w", "v"]
    return path


@pytest.mark.parametrize("memory", [0.0, 1e6])
def test_files_are_read(file, memory):
    data = Dataset.from_file(file, "v", weight="w", memory=memory, domain=(-3, 3))
    assert torch.equal(data.x, X)
    assert torch.equal(data.y[:, 0], Y)
    assert data.weight is not None
    assert torch.equal(data.weight, Y.abs())
    assert (data.names, data.domain) == (["t", "p"], [(-3.0, 3.0), (-3.0, 3.0)])
    rows = torch.tensor([4, 0, 4])
    assert torch.equal(data.x[rows], X[rows])


def test_columns_are_asked_for_by_name_or_number(file):
    data = Dataset.from_file(file, ["p", 0], inputs=[-1, "w"], names=["a", "b"])
    assert torch.equal(data.x, torch.stack([Y, Y.abs()], 1))
    assert torch.equal(data.y, X.flip(1))
    assert data.names == ["a", "b"]


def test_groups_of_hdf5_files_are_asked_for_by_path(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as target:
        target["run/x"], target["run/y"] = X, Y
    data = Dataset.from_file(str(path), "run/y")
    assert torch.equal(data.x, X)
    assert data.names == ["x1", "x2"]
    assert Dataset.from_file(path, "run/y", inputs="run/x/1").names == ["x2"]


def test_caches_hold_what_was_read(file, tmp_path):
    first, second = (Dataset.from_file(file, "v", weight="w", cache=tmp_path / "cache", memory=0.0) for _ in range(2))
    for data in (first, second):
        assert torch.equal(data.x, X)
        assert torch.equal(data.y[:, 0], Y)
        assert data.names == ["t", "p"]


def test_mapped_samples_are_fitted_like_others(file):
    """They are also given to a second fit after the file is gone."""
    losses = []
    for memory in (0.0, 1e6):
        data = Dataset.from_file(file, "v", weight="w", memory=memory)
        solution = fit(MultKAN([2, 1, 1], domain=data.domain), data, steps=3, progress=False)
        losses.append(solution.history.loss.tolist())
    assert losses[0] == losses[1]
    file.unlink()
    assert torch.equal(data.x, X)


@pytest.mark.parametrize(
    ("content", "options", "kind", "message"),
    [
        (None, {}, DataError, "a file that can be read, got .*No such file"),
        ("", {}, DataError, "rows of numbers, got none"),
        ("v,t\n", {}, DataError, "at least one row of x"),
        ("v,t\n1,2\n3,nan\n4,inf\n", {}, DataError, "x: .* in 2 rows: 1, 2"),
        ("v,t\n1,2\n3\n", {}, DataError, "line 3: expected 2 columns"),
        ("v,t\n1,2\n3,x\n", {}, DataError, "line 3, column t"),
        ("v,t,t\n1,2,3\n", {}, ConfigError, r"names that differ, got \['t', 't'\]; give others by names="),
        ("v,t,t\n1,2,3\n", {"inputs": "t"}, ConfigError, "give a number"),
        ("u,t\n1,2\n", {}, ConfigError, "target to be among the columns, got 'v'; .*: u, t"),
        (b"\x89HDF\r\n\x1a\nwhat follows is no HDF5", {}, DataError, "a file that can be read"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, content, options, kind, message):
    path = tmp_path / "data"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(kind, match=message):
        Dataset.from_file(path, "v", **options)


@pytest.mark.parametrize("memory", [0.0, 1e9])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, memory, share):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as target:
        target["x"], target["v"] = np.ones((5000, 2)), np.ones(5000)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"a file that can be read, got .*truncated"):
        Dataset.from_file(path, "v", memory=memory)
