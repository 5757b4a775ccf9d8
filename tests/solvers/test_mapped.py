import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from kansci.errors import DataError
from kansci.solvers import mapped
from kansci.solvers.mapped import gather, map_file, take

TABLE = np.arange(60.0).reshape(20, 3)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("memory", [0.0, 100.0, 480.0, 1e9])
@pytest.mark.parametrize("sizes", [[20], [7, 13], [1] * 20])
def test_parts_are_joined(memory, sizes):
    parts = iter(np.split(TABLE, np.cumsum(sizes)[:-1]))
    rows = gather(parts, 3, memory)
    assert np.array_equal(rows.numpy(), TABLE)
    rows[3, 1] = -1.0
    assert (rows[3, 1], TABLE[3, 1]) == (-1, 10)


def test_columns_in_any_order_of_memory_are_joined():
    assert np.array_equal(gather([np.asfortranarray(TABLE)], 3, 0.0).numpy(), TABLE)


def test_no_parts_are_no_rows():
    assert gather([], 3).shape == (0, 3)


@pytest.mark.skipif(os.name != "posix", reason="other systems remove the file later")
def test_files_have_no_name(folder):
    rows = gather([TABLE, TABLE], 3, 0.0)
    assert not list(folder.iterdir())
    handles = len(list(Path("/dev/fd").iterdir()))
    assert rows.sum() == 2 * TABLE.sum()
    del rows
    assert len(list(Path("/dev/fd").iterdir())) < handles


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only some systems have a full disk at hand")
@pytest.mark.parametrize("rows", [1, 20_000])
def test_what_has_no_room_is_refused(rows, monkeypatch):
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: full)
    with pytest.raises(DataError, match=r"room for converted data in .*No space left.*TMPDIR"):
        gather([np.ones((rows, 3))], 3, 0.0)


@pytest.mark.parametrize("memory", [0.0, 1e9])
@pytest.mark.parametrize("columns", [slice(None), slice(1, 3), 0])
def test_rows_are_taken(memory, columns, monkeypatch):
    monkeypatch.setattr(mapped, "MEMORY", memory)
    monkeypatch.setattr(mapped, "PART", 100)
    values, rows = torch.from_numpy(TABLE)[:, columns], torch.tensor([3, 3, 19, 0, 7])
    assert torch.equal(take(values, rows), values[rows])


@pytest.mark.parametrize("promised", [True, False])
def test_files_are_mapped_and_stay(tmp_path, promised, monkeypatch):
    """Also where the system does not promise memory for changes."""
    path = tmp_path / "numbers"
    path.write_bytes(b"12345678" + TABLE.tobytes())
    before = path.read_bytes()
    original = np.memmap

    def memmap(path, dtype, mode, *others):
        if mode == "c" and not promised:
            raise OSError(12, "Cannot allocate memory")
        return original(path, dtype, mode, *others)

    monkeypatch.setattr(np, "memmap", memmap)
    values = map_file(path, 8, (20, 3))
    assert np.array_equal(values.numpy(), TABLE)
    if promised:
        values[0, 0] = 5.0
        assert values[0, 0] == 5
    assert path.read_bytes() == before
