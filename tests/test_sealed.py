import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci import sealed
from kansci.errors import CheckpointError, RankError
from kansci.sealed import Group, read, write

NUMBERS = torch.arange(4, dtype=torch.float64)
ROOT = Group({"note": "small"}, {"numbers": NUMBERS}, {"below": Group({}, {"ones": torch.ones(2, 3)})})
OTHER = Group({"note": "other"})
WHOLE = sealed._seal(sealed._encode(ROOT), 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tree.h5"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A path, for tests that write it many times."""
    return tmp_path_factory.mktemp("many") / "tree.h5"


def assert_same(actual: Group, expected: Group) -> None:
    assert actual.about == expected.about
    assert sorted(actual.tensors) == sorted(expected.tensors)
    assert sorted(actual.groups) == sorted(expected.groups)
    for name, tensor in expected.tensors.items():
        assert actual.tensors[name].dtype == tensor.dtype
        assert torch.equal(actual.tensors[name], tensor)
    for name, group in expected.groups.items():
        assert_same(actual.groups[name], group)


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read(path, 1)
    return str(caught.value)


def test_tree_comes_back(path):
    write(path, ROOT, 2)
    root, version = read(path, newest=3)
    assert version == 2
    assert_same(root, ROOT)


@given(st.sampled_from(list(sealed._DTYPES)), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 99))
def test_any_tensors_come_back(file, dtype, shape, seed):
    values = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    turned = values.permute(tuple(reversed(range(values.ndim))))
    about = {"text": "ü" * 70_000, "number": 0.1, "none": None, "list": [1, [2]]}
    root = Group(about, {"values": values, "turned": turned}, {"empty": Group()})
    write(file, root, 1)
    assert_same(read(file, 1)[0], root)


def test_newer_version_is_refused(path):
    write(path, ROOT, 2)
    with pytest.raises(CheckpointError, match="version up to 1, got 2; update kansci"):
        read(path, newest=1)


# Damage


def test_any_flipped_bit_is_noticed(path):
    places = [*range(sealed.USER_BLOCK), *range(sealed.USER_BLOCK, len(WHOLE), 13)]
    for number, place in enumerate(places):
        flipped = bytearray(WHOLE)
        flipped[place] ^= 1 << number % 8
        refused(path, bytes(flipped))


def test_any_truncation_is_noticed(path):
    for length in [*range(0, 600, 7), *range(600, len(WHOLE), 31), len(WHOLE) - 1]:
        refused(path, WHOLE[:length])


@given(st.integers(0, len(WHOLE)), st.integers(0, 50), st.binary(max_size=50))
def test_any_rewriting_is_noticed(file, start, length, instead):
    damaged = WHOLE[:start] + instead + WHOLE[start + length :]
    if damaged != WHOLE:
        refused(file, damaged)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"width: [2, 5, 1]\n", "one that begins b'width: ["),
        (b"PK\x03\x04" + bytes(2000), "one that begins b'PK"),
        (bytes(2000), "one that begins"),
        (WHOLE[sealed.USER_BLOCK :], "an HDF5 file of another origin"),
    ],
)
def test_foreign_file_is_named(path, content, found):
    assert f"expected {path} to be a file written by kansci.save, got {found}" in refused(path, content)


def test_missing_file_and_folder_are_named(tmp_path):
    for path in (tmp_path / "missing.h5", tmp_path, tmp_path / "a" / "b.h5"):
        with pytest.raises(OSError, match=f"expected a file that can be read, got {path} "):
            read(path, 1)


# Files made on purpose, undamaged by their digest


def seal(path: Path, fill: Callable[[h5py.File], object]) -> None:
    """A sealed file of ROOT whose HDF5 part was changed by `fill`."""
    with h5py.File(path, "w", userblock_size=sealed.USER_BLOCK) as file:
        sealed._write_group(file, ROOT)
        fill(file)
    path.write_bytes(sealed._seal(path.read_bytes(), 1))


def put(file: h5py.File, value: object, name: str = "numbers") -> None:
    del file[name]
    file[name] = value


def put_virtual(file: h5py.File, size: int) -> None:
    layout = h5py.VirtualLayout((size,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "numbers", (size,))
    del file["numbers"]
    file.create_virtual_dataset("numbers", layout)


def put_dataset(file: h5py.File, **options: Any) -> None:
    del file["numbers"]
    file.create_dataset("numbers", (4,), "f8", **options)[:] = NUMBERS


TRICKS: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "external link": (lambda file: put(file, h5py.ExternalLink("other.h5", "numbers")), "hard links"),
    "soft link": (lambda file: put(file, h5py.SoftLink("/below/ones")), "hard links"),
    "dangling link": (lambda file: put(file, h5py.SoftLink("/nothing")), "hard links"),
    "second link": (lambda file: put(file, file["below/ones"]), "one link"),
    "loop": (lambda file: put(file, file["/"]), "one link"),
    "virtual dataset": (lambda file: put_virtual(file, 4), "contiguous"),
    "empty virtual dataset": (lambda file: put_virtual(file, 0), "contiguous"),
    "raw file": (lambda file: put_dataset(file, external=[("other.raw", 0, 32)]), "contiguous"),
    "compression": (lambda file: put_dataset(file, compression="gzip"), "contiguous"),
    "pieces": (lambda file: put_dataset(file, chunks=(2,)), "contiguous"),
    "unwritten data": (lambda file: file.create_dataset("large", (2**40,), "f8"), "contiguous"),
    "no data": (lambda file: put(file, h5py.Empty("f8")), "contiguous"),
    "named type": (lambda file: put(file, np.dtype("f8")), "groups and datasets"),
    "complex numbers": (lambda file: put(file, np.zeros(4, complex)), "contiguous"),
    "records": (lambda file: put(file, np.zeros(4, [("a", "f8"), ("b", "i4")])), "contiguous"),
    "references": (lambda file: put(file, file["below"].ref), "contiguous"),
    "text of any length": (lambda file: put(file, "text"), "contiguous"),
    "text": (lambda file: put(file, np.bytes_(b"text")), "bytes"),
    "half precision": (lambda file: put(file, np.zeros(4, "f2")), "contiguous"),
    "no description": (lambda file: file.__delitem__("about"), "about"),
    "description that is no JSON": (lambda file: put(file, np.bytes_(b"{"), "about"), "property name"),
    "description that is a list": (lambda file: put(file, np.bytes_(b"[1, 2]"), "about"), "dictionary"),
    "description without end": (lambda file: put(file, np.bytes_(b"[" * 100_000), "about"), "recursion"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_trick_is_refused(path, trick, monkeypatch):
    monkeypatch.chdir(path.parent)
    Path("other.raw").write_bytes(bytes(32))
    with h5py.File("other.h5", "w") as other:
        other["numbers"] = NUMBERS
    fill, reason = TRICKS[trick]
    seal(path, fill)
    with pytest.raises(CheckpointError, match=f"expected {path} to hold .*{reason}"):
        read(path, 1)


def test_without_tricks_the_file_is_accepted(path):
    seal(path, lambda file: put(file, NUMBERS.numpy()))
    assert_same(read(path, 1)[0], ROOT)


def test_other_byte_order_is_accepted(path):
    seal(path, lambda file: put(file, NUMBERS.numpy().astype(">f8")))
    assert_same(read(path, 1)[0], ROOT)


def test_more_data_than_the_file_has_bytes_is_refused(path):
    seal(path, lambda file: None)
    with h5py.File(path) as file:
        sealed._check_objects(file, path.stat().st_size)
        with pytest.raises(CheckpointError, match="smaller than the file"):
            sealed._check_objects(file, 50)


@pytest.mark.parametrize("fault", sealed.FAULTS)
def test_whatever_is_wrong_with_a_file_is_an_error_of_the_file(fault):
    message = rf"^expected a file \({fault.__name__}: wrong\); go away$"
    with pytest.raises(CheckpointError, match=message) as caught, sealed.refusing("expected a file", "go away"):
        raise fault("wrong")
    assert isinstance(caught.value.__cause__, fault)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit, RankError])
def test_what_happens_elsewhere_is_none(fault):
    with pytest.raises(fault), sealed.refusing("expected a file", "go away"):
        raise fault


# Writing


@pytest.mark.parametrize("name", ["missing/tree.h5", "file/tree.h5", "folder"])
def test_path_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match=f"expected a path that can be written, got {tmp_path / name} "):
        write(tmp_path / name, ROOT, 1)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["", ".", "about", "a/b"])
def test_unsuitable_name_is_refused(path, name):
    for root in (Group(groups={name: Group()}), Group(tensors={name: NUMBERS})):
        with pytest.raises(CheckpointError, match="rename"):
            write(path, root, 1)
    assert not path.exists()


def test_other_precision_is_refused(path):
    with pytest.raises(CheckpointError, match=r"got numbers of torch\.float16"):
        write(path, Group(tensors={"numbers": NUMBERS.half()}), 1)
    assert not path.exists()


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize(("failure", "error"), [(fail, CheckpointError), (interrupt, KeyboardInterrupt)])
def test_failure_leaves_the_former_file_and_nothing_else(path, monkeypatch, moment, failure, error):
    write(path, ROOT, 1)
    with monkeypatch.context() as patch:
        patch.setattr(moment, failure)
        with pytest.raises(error):
            write(path, OTHER, 1)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == WHOLE


def test_folder_that_cannot_be_synced_is_no_failure(path, monkeypatch):
    def refuse_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr("os.fsync", refuse_folders)
    write(path, ROOT, 1)
    assert_same(read(path, 1)[0], ROOT)


def test_name_is_given_to_a_file_that_is_whole_and_on_disk(path, monkeypatch):
    synced = []

    def sync(handle: int) -> None:
        synced.append((path.exists(), stat.S_ISDIR(os.fstat(handle).st_mode), os.fstat(handle).st_size))

    monkeypatch.setattr("os.fsync", sync)
    write(path, ROOT, 1)
    assert synced[0] == (False, False, len(WHOLE))
    assert synced[1][:2] == (True, True)


def test_new_file_has_the_usual_permissions(path):
    write(path, ROOT, 1)
    usual = path.with_name("usual")
    usual.write_text("")
    assert path.stat().st_mode == usual.stat().st_mode


def test_symbolic_link_to_a_file_stays_one(path):
    link = path.with_name("latest.h5")
    write(path, ROOT, 1)
    link.symlink_to(path)
    write(link, OTHER, 1)
    assert link.is_symlink()
    assert_same(read(path, 1)[0], OTHER)
