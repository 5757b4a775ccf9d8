import numpy as np
import pytest
import torch

from kansci.errors import DataError, DtypeError, ShapeError
from kansci.solvers.columns import number_classes, read_columns


class Frame:
    """What a data frame of any library can do."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self._values = columns

    def __getitem__(self, name):
        return self._values[name]


@pytest.mark.parametrize(
    "given",
    [
        [[1, 0], [2, 1]],
        ((1.0, False), (2.0, True)),
        np.array([[1, 0], [2, 1]], dtype=np.uint16),
        np.array([[1, 0], [2, 1]], dtype=">f8"),
        np.array([[2, 1], [1, 0]], dtype=float)[::-1],
        np.array([[1, False], [2, True]], dtype=object),
        torch.tensor([[1, 0], [2, 1]], dtype=torch.bfloat16),
        torch.tensor([[1, 0], [2, 1]], dtype=torch.float32, requires_grad=True),
        [torch.tensor([1, 0]), torch.tensor([2, 1])],
        Frame(a=[1, 2], b=np.array([False, True])),
        Frame(a=torch.tensor([1, 2]), b=[0.0, 1]),
        np.array([(1, 0), (2, 1)], dtype=[("a", "i4"), ("b", "f4")]),
    ],
)
def test_what_holds_numbers_becomes_a_tensor(given):
    values, _ = read_columns(given, "x")
    assert values.dtype == torch.float64
    assert values.tolist() == [[1, 0], [2, 1]]


def test_python_numbers_keep_their_digits():
    assert read_columns([0.1, 2**53 - 1], "x").values.tolist() == [[0.1], [2.0**53 - 1]]


@pytest.mark.parametrize("given", [torch.ones(4, 2, dtype=torch.float64), np.ones((4, 3))[:, 1:]])
def test_float64_is_not_copied(given):
    values, _ = read_columns(given, "x")
    given[1, 1] = 7
    assert values[1, 1] == 7


def test_what_may_not_change_is_copied():
    """Without a warning of torch, which would fail the test."""
    given = np.ones((4, 2))
    given.flags.writeable = False
    read_columns(given, "x").values[0, 0] = 2
    assert given[0, 0] == 1


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_mapped_files_stay_where_they_are(tmp_path, mode):
    path = tmp_path / "numbers.npy"
    np.save(path, np.arange(12.0).reshape(4, 3))
    given = np.load(path, mmap_mode=mode)[:, 1:]
    values, _ = read_columns(given, "x")
    assert values.tolist() == given.tolist()
    assert values.data_ptr() == given.ctypes.data


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (Frame(t=[1.0], p=[2.0]), ["t", "p"]),
        (np.array([(1, 0)], dtype=[("a", "i4"), ("b", "f4")]), ["a", "b"]),
        (np.ones((2, 2)), None),
        (torch.ones(2, 2), None),
        ([1, 2], None),
    ],
)
def test_names_come_with_frames(given, names):
    assert read_columns(given, "x").names == names


def test_frames_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})
    values, names = read_columns(frame, "x")
    assert values.tolist() == [[1, 0.5, 1], [2, 1.5, 0]]
    assert names == ["a", "b", "c"]
    assert read_columns(frame["b"], "x").names == ["b"]
    assert read_columns(pandas.DataFrame([[1, 2]]), "x").names is None
    assert read_columns(frame[["a"]].astype("Int64"), "x").values.tolist() == [[1], [2]]
    with pytest.raises(DataError, match="different names"):
        read_columns(pandas.DataFrame([[1, 2]], columns=["a", "a"]), "x")
    with pytest.raises(DataError, match="in 1 rows: 1"):
        read_columns(pandas.DataFrame({"a": pandas.array([1, None], dtype="Int64")}), "x")


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ([], DataError, "at least one row of x"),
        (np.ones((3, 0)), DataError, "at least one row of x"),
        (Frame(), DataError, "at least one column of x"),
        (None, ShapeError, r"\(n, columns\), got NoneType"),
        (3.0, ShapeError, "got float"),
        (torch.tensor(3.0), ShapeError, r"got \(\)"),
        (np.ones((1, 1, 1)), ShapeError, r"got \(1, 1, 1\)"),
        ([[1, 2], [3]], ShapeError, "rows of equal length, got list"),
        (["1", "2"], DtypeError, "real numbers as x, got <U1"),
        ([1.0, None], DtypeError, "got None in row 1"),
        (np.array([1, "2"], dtype=object), DtypeError, "got '2' in row 1"),
        (Frame(a=[1, 2], b=["u", "v"]), DtypeError, "column 'b' of x, got <U1"),
        (torch.ones(2) * 1j, DtypeError, "real numbers as x, got torch.complex64"),
        (np.ones(2) * 1j, DtypeError, "real numbers as x, got complex128"),
        (np.ma.masked_greater([1, 5, 2], 3), DataError, "x: .* in 1 rows: 1"),
        ([1.0, np.inf], DataError, "x: .* in 1 rows: 1"),
    ],
)
def test_what_does_not_is_refused(given, kind, message):
    with pytest.raises(kind, match=message):
        read_columns(given, "x")


@pytest.mark.parametrize("kind", [str, object])
def test_labels_are_numbered_in_their_order(kind):
    labels = np.array(["b", "a", "c", "a"], dtype=kind)
    numbers, classes = number_classes(labels)
    assert numbers.tolist() == [1, 0, 2, 0]
    assert classes == ["a", "b", "c"]
    assert number_classes(["c", "a"], classes)[0].tolist() == [2, 0]


@pytest.mark.parametrize("label", ["z", "0", "b "])
def test_labels_that_are_not_known_are_refused(label):
    with pytest.raises(DataError, match=rf"among \['a', 'b'\], got {label!r} in row 1"):
        number_classes(["a", label], ["a", "b"])


@pytest.mark.parametrize("given", [[1, 2], None, torch.ones(2), np.array(["a", None]), [["a"], ["b"]], Frame(a=["b"])])
def test_what_is_no_text_stays(given):
    assert number_classes(given) == (given, None)
