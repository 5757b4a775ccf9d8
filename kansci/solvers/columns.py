"""Columns of numbers from whatever holds them: tensors, arrays, lists, series and data frames."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import DataError, DtypeError, ShapeError
from kansci.nn.arguments import check_finite
from kansci.solvers.mapped import is_mapped, share


class Columns(NamedTuple):
    """Numbers in float64, and the names that came with them.

    Attributes:
        values: (n, columns).
        names: of the columns, or None where they have none.
    """

    values: Float[Tensor, "n columns"]
    names: list[str] | None


def read_columns(given: Any, label: str) -> Columns:
    """Take tensors of any device and dtype, arrays, lists, series and data frames; vectors count as one column.

    A data frame is what has `columns` (or `column_names`) and gives each of them by its name, of whatever library;
    so is a structured array. Tensors and arrays that are in float64 already are not copied.

    Args:
        given: the numbers.
        label: what messages call them.

    Raises:
        DataError: no rows, or rows that are not finite numbers; they are named.
        DtypeError: something else than real numbers.
        ShapeError: neither one nor two dimensions, or rows of different lengths.

    Example:
        >>> read_columns([[1, 2], [3, 4]], "x").values
        tensor([[1., 2.],
                [3., 4.]], dtype=torch.float64)
    """
    keys = _keys(given)
    if keys is not None:
        values, names = _from_frame(given, keys, label), keys
    else:
        values = _from_tensor(given, label) if isinstance(given, Tensor) else _from_array(_array(given, label), label)
        names = [getattr(given, "name", None)]  # of a series
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise ShapeError(f"expected {label} of shape (n, columns), got {tuple(values.shape)}")
    if values.numel() == 0:
        raise DataError(f"expected at least one row of {label}, got shape {tuple(values.shape)}")
    check_finite(values, label)
    texts = [name for name in names if isinstance(name, str) and name]
    return Columns(values, texts if len(texts) == len(names) else None)


def number_classes(given: Any, classes: list[str] | None = None) -> tuple[Any, list[str] | None]:
    """Numbers in place of labels that are text, and the labels in their order; what is no text stays as it is.

    Args:
        given: a label for each sample, or targets of another kind.
        classes: the labels, where they are known.

    Raises:
        DataError: a label that is not among the known ones; its row is named.

    Example:
        >>> number_classes(["oak", "ash", "oak"])
        (array([1, 0, 1]), ['ash', 'oak'])
    """
    if given is None or isinstance(given, Tensor) or _keys(given) is not None:
        return given, classes
    labels = _array(given, "y")
    is_text = labels.dtype.kind == "U" or (
        labels.dtype.kind == "O" and all(isinstance(own, str) for own in labels.flat)
    )
    if labels.ndim != 1 or len(labels) == 0 or not is_text:
        return given, classes
    labels = labels.astype(str)
    known = np.unique(labels) if classes is None else np.array(classes)
    numbers = np.searchsorted(known, labels).clip(max=len(known) - 1)
    strange = (known[numbers] != labels).nonzero()[0]
    if len(strange):
        raise DataError(f"expected labels among {known.tolist()}, got {str(labels[strange[0]])!r} in row {strange[0]}")
    return numbers, known.tolist()


def _keys(given: Any) -> list[Any] | None:
    """The columns of a data frame or of a structured array."""
    if isinstance(given, np.ndarray):
        keys = given.dtype.names
    else:
        keys = getattr(given, "column_names", None) or getattr(given, "columns", None)
    return None if keys is None else list(keys)


def _from_frame(frame: Any, keys: list[Any], label: str) -> Tensor:
    if len(set(keys)) < len(keys):
        raise DataError(f"expected columns of {label} with different names, got {keys}; rename them")
    if not keys:
        raise DataError(f"expected at least one column of {label}, got none")
    columns = (_from_array(_array(frame[key], label), f"column {key!r} of {label}") for key in keys)
    first = next(columns)
    values = torch.empty(len(first), len(keys), dtype=torch.float64)
    values[:, 0] = first
    for number, column in enumerate(columns, 1):
        values[:, number] = column
    return values


def _from_tensor(given: Tensor, label: str) -> Tensor:
    if given.is_complex():
        raise DtypeError(f"expected real numbers as {label}, got {given.dtype}; take real and imaginary parts apart")
    values = given.detach()
    return (values.cpu() if values.device.type == "mps" else values).to(torch.float64)  # MPS has no float64


def _array(given: Any, label: str) -> np.ndarray:
    try:
        if isinstance(given, np.ma.MaskedArray):
            given = np.ma.filled(given.astype(np.float64), np.nan)
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"expected {label} as rows of equal length, got {type(given).__name__}: {error}") from error
    if array.ndim == 0:
        raise ShapeError(f"expected {label} of shape (n,) or (n, columns), got {type(given).__name__}")
    return array


def _from_array(array: np.ndarray, label: str) -> Tensor:
    """The same in float64, copied only if torch cannot share it or if it is read-only, unless it is a mapped file."""
    if array.dtype.kind == "O":
        array = _from_objects(array, label)
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"expected real numbers as {label}, got {array.dtype}; convert or leave out what is not")
    numbers = array.astype(np.float64, copy=False)
    fits = all(stride >= 0 and stride % numbers.itemsize == 0 for stride in numbers.strides)
    is_shared = fits and numbers.flags.aligned and (numbers.flags.writeable or is_mapped(numbers))
    return share(numbers if is_shared else numbers.copy())


def _from_objects(array: np.ndarray, label: str) -> np.ndarray:
    """Numbers that stand as objects, as beside missing ones."""
    numbers = np.empty(array.shape)
    for place, entry in np.ndenumerate(array):
        try:
            numbers[place] = _number(entry)
        except (TypeError, ValueError) as error:
            raise DtypeError(
                f"expected real numbers as {label}, got {entry!r} in row {place[0]}; convert or leave out what is not"
            ) from error
    return numbers


def _number(entry: Any) -> float:
    if isinstance(entry, str | bytes):
        raise TypeError("text is no number, even if it looks like one")
    return float(entry)
