"""Columns in HDF5 files: datasets of numbers in any groups, one column each or several.

A dataset of float64 that lies in the file in one piece is mapped where it is; one in chunks, compressed or of another
type is converted some megabytes at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from torch import Tensor
from tqdm import tqdm

from kansci.errors import DataError, ShapeError
from kansci.solvers.mapped import PART, PATIENCE, gather, map_file

Sets = Mapping[str, h5py.Dataset]

NAMES = ("columns", "column_names", "names")  # attributes of a dataset that may name its columns


class Place(NamedTuple):
    """Where a column stands.

    Attributes:
        dataset: its path in the file.
        column: number in a dataset of two dimensions, name of the field in a structured one, else None.
    """

    dataset: str
    column: int | str | None


@dataclass(frozen=True)
class HDF5Columns:
    """The columns of an HDF5 file.

    Attributes:
        path: the file.
        places: where they stand.
        keys: what each is asked for by: the path of its dataset, and its name there.
        labels: what each is called from then on.
        groups: the columns of each dataset.
    """

    path: Path
    places: Sequence[Place]
    keys: Sequence[str]
    labels: Sequence[str]
    groups: Mapping[str, Sequence[int]]

    @classmethod
    def open(cls, path: Path) -> "HDF5Columns":
        """Look at what a file holds.

        Raises:
            DataError: no numbers in one or two dimensions.
        """
        with h5py.File(path, "r") as file:
            sets = _datasets(file)
            columns = {name: _columns(dataset) for name, dataset in sets.items()}
        if not columns:
            raise DataError(f"{path}: expected datasets of numbers in one or two dimensions, got none")
        places = [Place(name, column) for name, own in columns.items() for column in own]
        names = [label for own in columns.values() for label in own.values()]
        numbers = iter(range(len(places)))
        groups = {name: list(islice(numbers, len(own))) for name, own in columns.items()}
        if len(columns) == 1:
            return cls(path, places, names, names, groups)
        keys = [_key(place, name) for place, name in zip(places, names, strict=True)]
        labels = [_label(place, name) for place, name in zip(places, names, strict=True)]
        return cls(path, places, keys, labels, groups)

    def read(self, choices: Sequence[Sequence[int]], memory: float, *, progress: bool) -> list[Tensor]:
        """The columns of each choice: mapped where they are, or else side by side in one table.

        Raises:
            ShapeError: columns of different lengths.
        """
        with h5py.File(self.path, "r") as file:
            sets = _datasets(file)
            self._check_lengths(sets, [column for choice in choices for column in choice])
            maps = {name: self._mapped(name, own) for name, own in sets.items() if own.nbytes > memory}
            found = [self._in_place(maps, choice) for choice in choices]
            rest = [choice for choice, own in zip(choices, found, strict=True) if own is None]
            columns = [column for choice in rest for column in choice]
            pieces: Iterator[Tensor] = iter(())
            if columns:
                table = gather(self._parts(sets, columns, progress=progress), len(columns), memory)
                pieces = iter(table.split([len(choice) for choice in rest], 1))
            return [next(pieces) if own is None else own for own in found]

    def _check_lengths(self, sets: Sets, columns: Sequence[int]) -> None:
        lengths = {name: len(sets[name]) for name in dict.fromkeys(self.places[column].dataset for column in columns)}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"{self.path}: expected datasets of equal length, got {lengths}; choose them by inputs=")

    def _mapped(self, name: str, dataset: h5py.Dataset) -> Tensor | None:
        """A dataset where it is, if it is of float64 in one piece."""
        offset = dataset.id.get_offset()
        if dataset.dtype != np.float64 or dataset.is_virtual or dataset.external or offset is None or offset % 8:
            return None
        if offset + dataset.nbytes > self.path.stat().st_size:
            raise DataError(f"{self.path}: expected all of {name}, got a file that ends before; it is incomplete")
        return map_file(self.path, offset, dataset.shape).view(len(dataset), -1)

    def _in_place(self, maps: Mapping[str, Tensor | None], columns: Sequence[int]) -> Tensor | None:
        """Neighboring columns of a mapped dataset."""
        (name, first), *others = [self.places[column] for column in columns]
        table, start = maps.get(name), first or 0
        if table is None or isinstance(start, str):
            return None
        is_slice = others == [(name, start + number) for number in range(1, len(columns))]
        return table[:, start : start + len(columns)] if is_slice else None

    def _parts(self, sets: Sets, columns: Sequence[int], *, progress: bool) -> Iterator[np.ndarray]:
        places = [self.places[column] for column in columns]
        used = {place.dataset: sets[place.dataset] for place in places}
        n, step = len(sets[places[0].dataset]), _step(list(used.values()))
        look = {"unit": "row", "unit_scale": True, "delay": PATIENCE, "leave": False}
        with tqdm(total=n, desc=self.path.name, disable=None if progress else True, **look) as bar:
            for start in range(0, n, step):
                parts = {name: dataset[start : start + step] for name, dataset in used.items()}
                rows = np.empty((min(step, n - start), len(columns)))
                for number, place in enumerate(places):
                    rows[:, number] = _column(parts[place.dataset], place.column)
                yield rows
                bar.update(len(rows))


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """What may hold columns, by path; links into other files are not followed."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, member: object) -> None:
        if isinstance(member, h5py.Dataset) and _columns(member):
            found[name] = member

    file.visititems(visit)
    return found


def _columns(dataset: h5py.Dataset) -> dict[int | str | None, str]:
    """Names of the columns of a dataset, "" where they have none; nothing if it holds no columns of numbers."""
    kind, names = dataset.dtype, dataset.dtype.names
    if dataset.ndim == 1 and names is not None:
        return {name: name for name in names if kind[name].kind in "biuf"}
    if kind.kind not in "biuf" or dataset.ndim not in (1, 2):
        return {}
    if dataset.ndim == 1:
        return {None: str(dataset.name).rpartition("/")[2]}
    return dict(enumerate(_names(dataset)))


def _names(dataset: h5py.Dataset) -> list[str]:
    for attribute in NAMES:
        names = np.ravel(dataset.attrs.get(attribute, []))
        if len(names) == dataset.shape[1]:
            return [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]
    return [""] * dataset.shape[1]


def _key(place: Place, name: str) -> str:
    return place.dataset if place.column is None else f"{place.dataset}/{name or place.column}"


def _label(place: Place, name: str) -> str:
    """The name, or that of the dataset with a number from 1."""
    return name or f"{place.dataset.rpartition('/')[2]}{int(place.column or 0) + 1}"


def _column(part: np.ndarray, column: int | str | None) -> np.ndarray:
    if column is None:
        return part
    return part[column] if isinstance(column, str) else part[:, column]


def _step(sets: Sequence[h5py.Dataset]) -> int:
    """Rows that are read at a time: whole chunks."""
    rows = max(1, PART // max(1, sum(dataset.nbytes // max(1, len(dataset)) for dataset in sets)))
    chunk = max((dataset.chunks[0] for dataset in sets if dataset.chunks), default=1)
    return max(chunk, rows - rows % chunk)
