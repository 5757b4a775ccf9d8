"""Rows of numbers in memory, or, where they are many, in a file that is mapped into memory.

A mapped tensor is one like any other: the operating system reads the pages that are used and drops them again when
memory is short. The file has no name, and is gone with the last tensor that needs it, or with the process.
"""

import tempfile
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

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
    held: deque[np.ndarray] = deque()
    size, parts = 0, iter(parts)
    for part in parts:
        held.append(part)
        size += part.nbytes
        if size > memory:
            return _in_file(chain(_drained(held), parts), columns)
    rows = np.empty((size // (8 * columns), columns))
    start = 0
    for part in _drained(held):
        rows[start : start + len(part)] = part
        start += len(part)
    return torch.from_numpy(rows)


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(numbers)


def _drained(held: deque[np.ndarray]) -> Iterator[np.ndarray]:
    while held:
        yield held.popleft()


def _in_file(parts: Iterable[np.ndarray], columns: int) -> Tensor:
    with tempfile.TemporaryFile(prefix="kansci-") as file:
        for part in parts:
            _append(file, part)
        file.flush()
        shape = (file.tell() // (8 * columns), columns)
        return torch.from_numpy(np.memmap(file, np.float64, "r+", shape=shape))


def _append(file: IO[bytes], part: np.ndarray) -> None:
    try:
        file.write(np.ascontiguousarray(part, np.float64).data)
    except OSError as error:
        raise DataError(
            f"expected room for converted data in {tempfile.gettempdir()}, got {error.strerror}; "
            "let the environment variable TMPDIR name a folder with more"
        ) from error
