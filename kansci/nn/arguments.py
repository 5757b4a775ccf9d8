"""What models check about their arguments."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, DataError, DtypeError, ShapeError

# Numbers that are checked at a time, and rows that a message names.
PART = 2**20
SHOWN = 5


def as_points(x: Any, like: Tensor) -> Tensor:
    """Arrays as tensors of the dtype and on the device of another; tensors stay as they are."""
    return torch.as_tensor(x, dtype=like.dtype, device=like.device) if isinstance(x, np.ndarray) else x


def check_points(x: Tensor, n_inputs: int, dtype: torch.dtype, hint: str = "") -> None:
    """Raise unless x is a tensor of shape (..., n_inputs) and of the dtype.

    Raises:
        ShapeError: another number of columns.
        DtypeError: another dtype, or no tensor.
    """
    if not isinstance(x, Tensor):
        raise DtypeError(f"expected x to be a tensor, got {type(x).__name__}; {_conversion(dtype)}")
    if x.ndim == 0 or x.shape[-1] != n_inputs:
        raise ShapeError(f"expected x of shape (n, {n_inputs}) for this model, got {tuple(x.shape)}{hint}")
    if x.dtype != dtype:
        raise DtypeError(f"expected x of dtype {dtype} for this model, got {x.dtype}; {_conversion(dtype)}")


def _conversion(dtype: torch.dtype) -> str:
    return f"convert with torch.as_tensor(x, dtype={dtype})"


def check_rows(x: Tensor) -> None:
    """Raise ShapeError unless x has one point a row."""
    if x.ndim != 2:
        shape = tuple(x.shape)
        raise ShapeError(f"expected x of shape (n, {shape[-1]}), got {shape}; pass one point a row")


def row_parts(values: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Parts of some rows each, with the number of the first: what is checked part by part need not fit into memory."""
    rows = max(1, PART * len(values) // max(1, values.numel()))
    for start in range(0, len(values), rows):
        yield start, values[start : start + rows]


def check_finite(values: Tensor, label: str) -> None:
    """Raise DataError if there are no rows, or naming the rows that are not finite."""
    if len(values) == 0:
        raise DataError(f"{label}: expected at least one row, got none")
    count, first = 0, []
    for start, part in row_parts(values):
        bad = (~part.isfinite()).reshape(len(part), -1).any(1).nonzero().flatten()
        count += len(bad)
        first += (start + bad[: SHOWN + 1 - len(first)]).tolist()
    if count:
        shown = ", ".join(map(str, first[:SHOWN])) + (", ..." if count > SHOWN else "")
        raise DataError(f"{label}: expected finite numbers, got NaN or infinity in {count} rows: {shown}; drop them")


def read_domain(domain: Any, n_inputs: int) -> Float[Tensor, "d 2"]:
    """One (low, high) for all inputs, or one pair for each.

    Raises:
        ConfigError: other shapes, or an interval that is empty or not finite.
    """
    try:
        pairs = torch.as_tensor(domain, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"expected domain to be (low, high) or one pair for each input, got {domain!r}") from error
    if pairs.shape == (2,):
        pairs = pairs.repeat(n_inputs, 1)
    if pairs.shape != (n_inputs, 2) or not pairs.isfinite().all() or not (pairs[:, 0] < pairs[:, 1]).all():
        raise ConfigError(
            f"expected domain to be (low, high) with low < high, or {n_inputs} such pairs, got {domain!r}"
        )
    return pairs


def check_device(device: torch.device | str | None, dtype: torch.dtype) -> torch.device | None:
    """The device, if it has the dtype.

    Raises:
        DtypeError: not float32 or float64, no device, or MPS, which has no float64.
    """
    if dtype not in (torch.float32, torch.float64):
        raise DtypeError(f"expected dtype torch.float64 or torch.float32, got {dtype}")
    try:
        place = torch.device(device) if device is not None else None
    except RuntimeError as error:
        raise DtypeError(f"expected a device such as 'cpu' or 'cuda', got {device!r}") from error
    if place is not None and place.type == "mps":
        raise DtypeError("expected a device with float64, got mps, which has none; use cpu or cuda")
    return place
