"""Columns in text files: CSV, TSV and whatever else has one row a line and one separator between columns.

Numbers are parsed by NumPy, some megabytes at a time, and only in the columns that are asked for. What it refuses is
looked at again, to say in which line and column it stands.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mode
from typing import TextIO

import numpy as np
from torch import Tensor
from tqdm import tqdm

from kansci.errors import ConfigError, DataError
from kansci.solvers.mapped import PART, PATIENCE, gather

SEPARATORS = ("\t", ";", ",", "|", None)  # None: any white space
SAMPLE = 20  # rows from which the separator is guessed


@dataclass(frozen=True)
class Delimited:
    """A text file of columns.

    Attributes:
        path: the file.
        keys: names of the columns, "" for those without.
        separator: what stands between columns; None for any white space.
        comment: what lines begin with that are no rows, or None.
        start: lines before the first row.
    """

    path: Path
    keys: Sequence[str]
    separator: str | None
    comment: str | None
    start: int

    @classmethod
    def open(cls, path: Path, separator: str | None, header: bool | None, comment: str | None) -> "Delimited":
        """Find out what separates the columns and what they are called.

        Args:
            path: the file.
            separator: what stands between columns, " " for any white space; by default what divides the first rows
                alike.
            header: whether the first row holds names; by default, whether nothing in it is a number. Names may also
                stand in the last comment before the rows.
            comment: what lines begin with that are no rows.

        Raises:
            ConfigError: a separator of several characters.
            DataError: no text, or no rows.
        """
        if separator is not None and len(separator) != 1:
            raise ConfigError(f"expected delimiter to be one character, ' ' for any white space, got {separator!r}")
        _check_text(path)
        with _open(path) as file:
            before, rows = _beginning(file, comment)
        if not rows:
            raise DataError(f"{path}: expected rows of numbers, got none")
        separator = _guess(rows) if separator is None else separator.strip(" ") or None
        first = _split(rows[0], separator)
        if header is None:
            header = not any(map(_is_number, first))
        keys = first if header else _commented(before, comment, separator)
        if len(keys) != len(first):
            keys = [""] * len(first)
        return cls(path, keys, separator, comment, len(before) + header)

    @property
    def labels(self) -> Sequence[str]:
        """The names of the columns."""
        return self.keys

    @property
    def groups(self) -> Mapping[str, Sequence[int]]:
        """Text files have none."""
        return {}

    def read(self, choices: Sequence[Sequence[int]], memory: float, *, progress: bool) -> list[Tensor]:
        """The columns of each choice, side by side in one table.

        Raises:
            DataError: a cell that is no number, or a row of another length; line and column are named.
        """
        columns = [column for choice in choices for column in choice]
        rows = gather(self._parts(columns, progress=progress), len(columns), memory)
        return list(rows.split([len(choice) for choice in choices], 1))

    def _parts(self, columns: Sequence[int], *, progress: bool) -> Iterator[np.ndarray]:
        size = self.path.stat().st_size
        look = {"unit": "B", "unit_scale": True, "delay": PATIENCE, "leave": False}
        hidden = None if progress else True
        with _open(self.path) as file, tqdm(total=size, desc=self.path.name, disable=hidden, **look) as bar:
            for _ in range(self.start):
                file.readline()
            number = self.start + 1
            while lines := file.readlines(PART):
                rows = [line for line in lines if _is_row(line, self.comment)]
                if rows:
                    yield self._parse(rows, columns, lines, number)
                number += len(lines)
                bar.update(file.buffer.tell() - bar.n)

    def _parse(self, rows: list[str], columns: Sequence[int], lines: list[str], first: int) -> np.ndarray:
        if not self._are_even(rows):
            raise self._explained(columns, lines, first)
        try:
            return np.loadtxt(
                rows, delimiter=self.separator, comments=None, quotechar='"', usecols=tuple(columns), ndmin=2
            )
        except ValueError as error:
            raise self._explained(columns, lines, first) from error

    def _are_even(self, rows: list[str]) -> bool:
        """Whether all rows have one cell for each column."""
        width, separator = len(self.keys), self.separator
        counts = {len(row.split()) if separator is None else row.count(separator) + 1 for row in rows}
        return counts == {width} or all(len(_split(row, separator)) == width for row in rows)

    def _explained(self, columns: Sequence[int], lines: list[str], first: int) -> DataError:
        """What is wrong with the first line that is wrong."""
        for number, line in enumerate(lines, first):
            if _is_row(line, self.comment):
                complaint = self._complaint(columns, _split(line, self.separator), number)
                if complaint:
                    return DataError(f"{self.path}, line {number}{complaint}")
        return DataError(f"{self.path}: expected rows of numbers, got others in line {first} or after it")

    def _complaint(self, columns: Sequence[int], cells: list[str], number: int) -> str:
        if len(cells) != len(self.keys):
            return (
                f": expected {len(self.keys)} columns as in the first row, got {len(cells)}; mend the line, or give "
                "delimiter= if columns are separated otherwise"
            )
        strange = [column for column in columns if not _is_number(cells[column])]
        if not strange:
            return ""
        hint = "" if any(self.keys) or number > self.start + 1 else ", or give header=True if it holds names"
        return (
            f", column {self.keys[strange[0]] or strange[0]}: expected a number, got {cells[strange[0]]!r}; mend the "
            f"line or choose other columns{hint}"
        )


def _open(path: Path) -> TextIO:
    """Text with or without a byte order mark, with the line ends of any system."""
    return path.open(encoding="utf-8-sig", errors="replace")


def _check_text(path: Path) -> None:
    with path.open("rb") as file:
        if b"\0" in file.read(4096):
            raise DataError(f"{path}: expected text in UTF-8, or an HDF5 file, got zero bytes; convert it")


def _is_row(line: str, comment: str | None) -> bool:
    text = line.lstrip()
    return bool(text) and (comment is None or not text.startswith(comment))


def _beginning(file: TextIO, comment: str | None) -> tuple[list[str], list[str]]:
    """The lines before the first row, and the first rows."""
    before: list[str] = []
    rows: list[str] = []
    for line in file:
        if _is_row(line, comment):
            rows.append(line)
        elif not rows:
            before.append(line)
        if len(rows) == SAMPLE:
            break
    return before, rows


def _guess(rows: list[str]) -> str | None:
    """The separator that divides most rows into the same number of columns, and more than one."""

    def agreeing(separator: str | None) -> int:
        widths = [len(_split(row, separator)) for row in reversed(rows)]
        width = mode(widths)
        return widths.count(width) if width > 1 else 0

    return max(SEPARATORS, key=agreeing)


def _commented(before: list[str], comment: str | None, separator: str | None) -> list[str]:
    """Names in the last line before the rows, if they are no numbers."""
    names = _split(before[-1].strip().removeprefix(comment or ""), separator) if before else []
    return [] if any(map(_is_number, names)) else names


def _split(line: str, separator: str | None) -> list[str]:
    """The cells of a line."""
    text, mark = (" ".join(line.split()), " ") if separator is None else (line.strip("\r\n"), separator)
    try:
        cells = next(csv.reader([text], delimiter=mark, skipinitialspace=True), [])
    except csv.Error as error:
        raise DataError(f"expected lines of separate cells, got {text[:40]!r} ...: {error}") from error
    return [cell.strip() for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
