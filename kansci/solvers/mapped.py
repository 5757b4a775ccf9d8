"""Rows of numbers in memory, or, where they are many, in a file that is mapped into memory.

A mapped tensor is one like any other: the operating system reads the pages that are used and drops them again when
memory is short. The file has no name, and is gone with the last tensor that needs it, or with the process.
"""

import mmap
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kansci.errors import DataError

MEMORY = 256e6  # bytes of rows that are held in memory
PART = 2**24  # bytes of rows that are handled at a time
PATIENCE = 1.0  # seconds before a progress bar appears


def gather(parts: Iterable[np.ndarray], columns: int, memory: float = MEMORY) -> Float[Tensor, "n columns"]:
    """Join parts (rows, columns) of float64: in memory if they take less than `memory` bytes.

    Raises:
        DataError: there is no room for the file.

    Example:
        >>> gather([np.zeros((2, 3)), np.ones((1, 3))], 3)[:, 0]
        tensor([0., 0., 1.], dtype=torch.float64)
    """
    rows, parts = np.empty((0, columns)), iter(parts)
    for part in parts:
        start = len(rows)
        rows.resize((start + len(part), columns), refcheck=False)
        rows[start:] = part
        if rows.nbytes > memory:
            break
    else:
        return torch.from_numpy(rows)
    with tempfile.TemporaryFile(prefix="kansci-", buffering=0) as file:
        _append(file, rows)
        del rows
        for part in parts:
            _append(file, part)
        return torch.from_numpy(np.memmap(file, np.float64, "r+", shape=(file.tell() // (8 * columns), columns)))


def take(values: Float[Tensor, "n *columns"], rows: Int[Tensor, "m"]) -> Float[Tensor, "m *columns"]:
    """Some rows of a tensor, mapped where they are many."""
    size = max(1, values[:1].nbytes)
    if values.device.type != "cpu" or size * len(rows) <= MEMORY:
        return values[rows]
    table = values.reshape(len(values), -1)
    parts = (table[own].numpy() for own in rows.split(max(1, PART // size)))
    return gather(parts, table.shape[1]).reshape(len(rows), *values.shape[1:])


def map_file(path: Path, offset: int, shape: tuple[int, ...]) -> Tensor:
    """Float64 numbers that stand in a file, which is never changed.

    Where the system does not promise the memory that it would take to change all of them, as for files larger than
    memory, they cannot be changed in memory either.
    """
    try:
        numbers = np.memmap(path, np.float64, "c", offset, shape)
    except OSError:
        numbers = np.memmap(path, np.float64, "r", offset, shape)
    return share(numbers)


def share(numbers: np.ndarray) -> Tensor:
    """A tensor of the same memory; where that is a file that is mapped for reading only, it must not be changed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(numbers)


def is_mapped(numbers: np.ndarray) -> bool:
    """Whether an array is the content of a file."""
    base: object = numbers
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


def _append(file: Any, part: np.ndarray) -> None:
    try:
        rest = np.ascontiguousarray(part, np.float64).data.cast("B")
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise DataError(
            f"expected room for converted data in {tempfile.gettempdir()}, got {error.strerror}; "
            "let the environment variable TMPDIR name a folder with more"
        ) from error
