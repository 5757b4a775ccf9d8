import h5py
import numpy as np
import pytest

from kansci.errors import DataError, ShapeError
from kansci.solvers import hdf5
from kansci.solvers.hdf5 import HDF5Columns

TABLE = np.random.default_rng(0).normal(size=(50, 4))


def read(path, *choices, memory=1e9):
    return [own.numpy() for own in HDF5Columns.open(path).read(choices, memory, progress=False)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.h5"


KINDS = {
    "contiguous": {},
    "chunked": {"chunks": (7, 2)},
    "compressed": {"chunks": (7, 4), "compression": "gzip"},
    "single": {"dtype": "f4"},
    "other end first": {"dtype": ">f8"},
    "integers": {"dtype": "i2"},
}


@pytest.mark.parametrize("memory", [0.0, 1e9])
@pytest.mark.parametrize("part", [100, 2**24])
@pytest.mark.parametrize("kind", KINDS)
def test_datasets_of_all_kinds_are_read(path, kind, memory, part, monkeypatch):
    monkeypatch.setattr(hdf5, "PART", part)
    with h5py.File(path, "w") as file:
        data = (10 * TABLE).astype(KINDS[kind].get("dtype", "f8"))
        expected = file.create_dataset("table", data=data, **KINDS[kind])[:].astype(float)
    x, y, z = read(path, [1, 2], [3], [3, 0], memory=memory)
    assert x.dtype == np.float64
    assert np.array_equal(x, expected[:, 1:3])
    assert np.array_equal(y, expected[:, 3:])
    assert np.array_equal(z, expected[:, [3, 0]])


@pytest.mark.parametrize("user_block", [0, 512])
def test_large_datasets_in_one_piece_are_mapped_where_they_are(path, user_block):
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file["run/x"] = TABLE
        file["run/y"] = TABLE[:, 0]
    x, part, y = read(path, [0, 1, 2, 3], [1, 2], [4], memory=0.0)
    assert np.array_equal(x, TABLE)
    assert np.array_equal(part, TABLE[:, 1:3])
    assert np.array_equal(y[:, 0], TABLE[:, 0])
    place = path.read_bytes().index(TABLE.tobytes())
    with path.open("r+b") as file:
        file.seek(place)
        file.write(np.float64(3.25).tobytes())
    assert x[0, 0] == 3.25
    x[1, 1] = 7.0
    assert part[1, 0] == 7
    assert read(path, [1])[0][1, 0] == TABLE[1, 1]


@pytest.mark.parametrize("kind", ["chunked", "compressed", "single", "integers"])
def test_others_are_converted(path, kind):
    with h5py.File(path, "w") as file:
        file.create_dataset("table", data=TABLE, **KINDS[kind])
    (before,) = read(path, [0], memory=0.0)
    path.unlink()
    path.write_bytes(bytes(10_000))
    assert np.isfinite(before).all()


def test_names_of_columns(path):
    with h5py.File(path, "w") as file:
        file["run/table"] = TABLE
        file["run/table"].attrs["columns"] = ["a", "b", "c", "d"]
        found = HDF5Columns.open(path)
        assert list(found.keys) == list(found.labels) == ["a", "b", "c", "d"]
        file["run/table"].attrs["columns"] = np.array([b"e", b"f", b"g", b"h"])
        file["time"] = np.arange(50)
        file["x"] = TABLE[:, :2]
        file["fit"] = np.zeros(50, dtype=[("u", "f4"), ("text", "S3"), ("n", "i8")])
        file["ignored/text"] = np.array([b"abc"] * 50)
        file["ignored/number"] = 3.0
        file["ignored/cube"] = np.zeros((2, 2, 2))
        file["link"] = h5py.ExternalLink("elsewhere.h5", "x")
    found = HDF5Columns.open(path)
    assert list(found.keys) == [
        *("fit/u", "fit/n", "run/table/e", "run/table/f", "run/table/g", "run/table/h", "time", "x/0", "x/1"),
    ]
    assert list(found.labels) == ["u", "n", "e", "f", "g", "h", "time", "x1", "x2"]
    assert found.groups["x"] == [7, 8]
    assert found.groups["run/table"] == [2, 3, 4, 5]


def test_columns_of_several_datasets_stand_side_by_side(path):
    fields = np.zeros(50, dtype=[("u", "f4"), ("n", "i8")])
    fields["n"] = np.arange(50)
    with h5py.File(path, "w") as file:
        file["a"], file["b"], file["c"] = TABLE[:, 0], TABLE[:, 1:], fields
    (found,) = read(path, [5, 0, 2], memory=0.0)
    assert np.array_equal(found, np.column_stack([np.arange(50), TABLE[:, 0], TABLE[:, 2]]))


def test_a_dataset_without_names_has_numbers(path):
    with h5py.File(path, "w") as file:
        file["table"] = TABLE
    assert list(HDF5Columns.open(path).keys) == [""] * 4


def test_lengths_must_agree(path):
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = TABLE, TABLE[:9, 0]
    with pytest.raises(ShapeError, match=r"equal length, got {'x': 50, 'y': 9}; choose"):
        read(path, [0, 1], [4])


def test_files_without_columns_are_refused(path):
    with h5py.File(path, "w") as file:
        file["text"] = "abc"
    with pytest.raises(DataError, match="datasets of numbers in one or two dimensions"):
        HDF5Columns.open(path)


def test_whole_chunks_are_read_at_a_time(path):
    with h5py.File(path, "w") as file:
        chunked = file.create_dataset("a", (1000, 2), "f8", chunks=(30, 1))
        plain = file.create_dataset("b", (1000, 2), "f8")
        steps = [hdf5._step(sets) for sets in ([chunked], [plain], [chunked, plain])]
    assert steps[0] % 30 == steps[2] % 30 == 0
    assert steps[1] == hdf5.PART // 16
