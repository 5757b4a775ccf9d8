"""A tree of tensors in one sealed HDF5 file, which is either whole or refused.

The file opens with a user block of 512 bytes: a magic number, the format version, zeros, and in its last 32
bytes the SHA-256 of all other bytes of the file. It is verified before libhdf5, which damaged files can
crash, sees anything. Behind it lies an ordinary HDF5 file, which every HDF5 tool can show. Only groups and
contiguous datasets are accepted in it, each reached by one hard link: no other file is ever opened, and
nothing is larger than the file itself.
"""

import glob
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from kansci.errors import CheckpointError, RankError

MAGIC = b"\x89KANSCI\r\n\x1a\n"
USER_BLOCK = 512
_VERSION = slice(len(MAGIC), len(MAGIC) + 4)
_DIGEST = slice(USER_BLOCK - 32, USER_BLOCK)
_ABOUT = "about"
FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_DTYPES = {torch.float64: "f8", torch.float32: "f4", torch.int64: "i8", torch.uint8: "u1", torch.bool: "b1"}


@dataclass(frozen=True)
class Group:
    """A node of the tree.

    Attributes:
        about: what JSON can hold.
        tensors: float64, float32, int64, uint8 or bool, kept to the bit.
        groups: the nodes below.
    """

    about: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    groups: dict[str, "Group"] = field(default_factory=dict)


def write(path: str | os.PathLike[str], root: Group, version: int) -> None:
    """Write a tree. Who reads the path finds the former file or this one, never a part.

    Args:
        path: the file; one that exists is replaced, and kept as it was where writing fails.
        root: the tree.
        version: format version of its contents.

    Raises:
        CheckpointError: the tree has a tensor or a name that cannot be kept, or the path cannot be written.
    """
    content = _seal(_encode(root), version)
    try:
        replace_file(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise CheckpointError(
            f"expected a path that can be written, got {path} ({error.strerror}); choose another"
        ) from error


def read(path: str | os.PathLike[str], newest: int) -> tuple[Group, int]:
    """Read a tree.

    Args:
        path: a file made by `write`.
        newest: the largest format version that the caller understands.

    Returns:
        The tree and the format version of its contents.

    Raises:
        CheckpointError: the file is missing, foreign, damaged or too new.
    """
    content = _read_bytes(path)
    version = _unseal(path, content, newest)
    with (
        refusing(f"expected {path} to hold what kansci.save writes, got something else", "save it anew"),
        h5py.File(io.BytesIO(content), "r") as file,
    ):
        _check_objects(file, len(content))
        return _read_group(file), version


@contextmanager
def refusing(problem: str, advice: str) -> Iterator[None]:
    """Whatever goes wrong within the block, but for what happens to other ranks, is the fault of a file.

    Raises:
        CheckpointError: the problem, what went wrong, and what to do.
    """
    try:
        yield
    except RankError:
        raise
    except FAULTS as error:
        raise CheckpointError(f"{problem} ({type(error).__name__}: {error}); {advice}") from error


def leftovers(path: str | os.PathLike[str]) -> Iterator[Path]:
    """What writers of a file left beside it when they were killed."""
    target = Path(os.path.realpath(path))
    return target.parent.glob(f".{glob.escape(target.name)}.*.part")


def _seal(content: bytes, version: int) -> bytes:
    """Fill the user block of an HDF5 file."""
    head = (MAGIC + version.to_bytes(4, "little")).ljust(_DIGEST.start, b"\0")
    body = memoryview(content)[USER_BLOCK:]
    return b"".join([head, _digest(head, body), body])


def _digest(head: bytes, body: memoryview) -> bytes:
    digest = hashlib.sha256(head)
    digest.update(body)
    return digest.digest()


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole file if it is one of ours."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(USER_BLOCK)
            if head.startswith(MAGIC):
                return head + file.read()
    except OSError as error:
        raise CheckpointError(
            f"expected a file that can be read, got {path} ({error.strerror}); check the path"
        ) from error
    raise CheckpointError(f"expected {path} to be a file written by kansci.save, got {_origin(head)}; check the path")


def _origin(head: bytes) -> str:
    if not head:
        return "an empty file"
    return "an HDF5 file of another origin" if head.startswith(b"\x89HDF") else f"one that begins {head[:8]!r}"


def _unseal(path: object, content: bytes, newest: int) -> int:
    """The format version of a file that is undamaged and not too new."""
    if _digest(content[: _DIGEST.start], memoryview(content)[USER_BLOCK:]) != content[_DIGEST]:
        raise CheckpointError(
            f"expected {path} to have the SHA-256 that it records, got another: the file is damaged or "
            "incomplete; use another copy or save it anew"
        )
    version = int.from_bytes(content[_VERSION], "little")
    if not 1 <= version <= newest:
        raise CheckpointError(f"expected {path} to have a format version up to {newest}, got {version}; update kansci")
    return version


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in its place in one step, once all of it is on disk.

    Raises:
        OSError: the path cannot be written; the former file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the new name on disk too, where the system can do that; the file is whole in any case."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _encode(root: Group) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=USER_BLOCK) as file:
        _write_group(file, root)
    return buffer.getvalue()


def _write_group(place: h5py.Group, group: Group) -> None:
    for name in (*group.tensors, *group.groups):
        if name in ("", ".", _ABOUT) or "/" in name:
            raise CheckpointError(f"expected names without '/', other than {_ABOUT!r}, got {name!r}; rename it")
    place.create_dataset(_ABOUT, data=np.bytes_(json.dumps(group.about).encode()))
    for name, tensor in group.tensors.items():
        if tensor.dtype not in _DTYPES:
            known = ", ".join(map(str, _DTYPES))
            raise CheckpointError(f"expected tensors of {known}, got {name} of {tensor.dtype}; convert it")
        place.create_dataset(name, data=tensor.detach().cpu().numpy())
    for name, below in group.groups.items():
        _write_group(place.create_group(name), below)


def _check_objects(file: h5py.File, size: int) -> None:
    """Refuse what `write` does not make: other links or objects, loops, more data than the file has bytes."""
    seen: set[Any] = set()
    stack: list[h5py.Group] = [file]
    while stack:
        for member in _members(stack.pop()):
            if member in seen:
                raise CheckpointError(f"expected one link to each object, got a second one, {member.name}")
            seen.add(member)
            if isinstance(member, h5py.Group):
                stack.append(member)
            else:
                size -= _plain_size(member)
            if size < 0:
                raise CheckpointError(f"expected datasets smaller than the file, got {member.name}")


def _members(group: h5py.Group) -> Iterator[Any]:
    for name in group:
        link = group.get(name, getlink=True)
        if type(link) is not h5py.HardLink:
            raise CheckpointError(f"expected hard links only, got the {type(link).__name__} {name}")
        yield group[name]


def _plain_size(member: Any) -> int:
    """Bytes of a dataset that lies in this file in one piece."""
    if not isinstance(member, h5py.Dataset):
        raise CheckpointError(f"expected groups and datasets, got {member}")
    is_known = member.dtype.kind == "S" or member.dtype.str[1:] in _DTYPES.values()
    is_plain = member.chunks is None and member.external is None and not member.is_virtual
    if not is_known or not is_plain or member.shape is None or member.id.get_storage_size() != member.nbytes:
        raise CheckpointError(f"expected contiguous datasets of numbers, got {member}")
    return member.nbytes


def _read_group(place: h5py.Group) -> Group:
    members: dict[str, Any] = dict(place.items())
    group = Group(dict(json.loads(members.pop(_ABOUT)[()])))
    for name, member in members.items():
        if isinstance(member, h5py.Group):
            group.groups[name] = _read_group(member)
        else:
            group.tensors[name] = _to_tensor(member[()])
    return group


def _to_tensor(values: Any) -> Tensor:
    """A tensor in memory aligned as torch does it: the last bits of products depend on that in some libraries."""
    array = np.asarray(values)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False)).clone()
