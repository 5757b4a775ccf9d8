"""Converted columns that are kept in a file for the next time."""

import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

import h5py
import torch
from torch import Tensor

from kansci.errors import ConfigError
from kansci.solvers.hdf5 import HDF5Columns
from kansci.solvers.mapped import PART
from kansci.solvers.tables import Table

STAMP = "kansci_cache_of"
NAME = "table"


def read_cached(
    cache: Path, table: Table, choices: Sequence[Sequence[int]], memory: float, *, progress: bool
) -> list[Tensor]:
    """The columns of each choice from the cache, which is written first unless it is that of this table.

    Raises:
        ConfigError: the path is that of a file which is no cache.
    """
    status = table.path.stat()
    stamp = hashlib.sha256(repr((table, choices, status.st_size, status.st_mtime_ns)).encode()).hexdigest()
    if _stamp(cache) != stamp:
        _write(cache, table.read(choices, memory, progress=progress), stamp)
    numbers = iter(range(sum(map(len, choices))))
    kept = [[next(numbers) for _ in choice] for choice in choices]
    return HDF5Columns.open(cache).read(kept, memory, progress=progress)


def _stamp(cache: Path) -> str | None:
    """What the cache was made from, or None if there is none."""
    if not cache.exists():
        return None
    if h5py.is_hdf5(cache):
        with h5py.File(cache, "r") as file:
            if STAMP in file.attrs:
                return str(file.attrs[STAMP])
    raise ConfigError(f"expected cache= to be a new file or a former cache, got {cache}; choose another path")


def _write(cache: Path, parts: list[Tensor], stamp: str) -> None:
    """Put a cache in its place in one step."""
    temporary = cache.with_name(f".{secrets.token_hex(8)}.part")
    n, columns = len(parts[0]), sum(part.shape[1] for part in parts)
    step = max(1, PART // (8 * columns))
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs[STAMP] = stamp
            dataset = file.create_dataset(NAME, (n, columns), "f8")
            for start in range(0, n, step):
                rows = torch.cat([part[start : start + step] for part in parts], 1)
                dataset[start : start + len(rows)] = rows.numpy()
        temporary.replace(cache)
    finally:
        temporary.unlink(missing_ok=True)
