"""Dataset: inputs and targets, checked once, with their names, weights and test part."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from h5py import is_hdf5
from torch import Tensor

from kansci.errors import ConfigError, DataError, ShapeError
from kansci.nn.arguments import read_domain
from kansci.solvers.cache import read_cached
from kansci.solvers.columns import Columns, number_classes, read_columns
from kansci.solvers.delimited import Delimited
from kansci.solvers.hdf5 import HDF5Columns
from kansci.solvers.mapped import MEMORY, take
from kansci.solvers.tables import Key, choose


class Dataset:
    """Measured or computed samples of a function.

    Attributes:
        x: inputs (n, d) in float64.
        y: targets (n, m) in float64.
        x_test: test inputs (t, d), or None.
        y_test: test targets (t, m), or None.
        names: names of the inputs, no two alike.
        weight: of the samples (n,), or None.
        domain: lowest and highest value of each input: given, or what the inputs, the test inputs included, span.
            Pass it on: ``MultKAN(width, domain=data.domain)``.
        classes: where `y` was given as text, the labels: y holds their numbers.

    Example:
        >>> data = Dataset([[0.0], [0.5], [2.0]], [1.0, 2.0, 3.0])
        >>> data.domain, data.y.shape
        ([(0.0, 2.0)], torch.Size([3, 1]))
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        x_test: Any = None,
        y_test: Any = None,
        *,
        names: Sequence[str] | None = None,
        weight: Any = None,
        domain: Any = None,
    ) -> None:
        """Take tensors, arrays, lists or data frames; vectors count as one column.

        Names are those of a data frame unless they are given. What is in float64 already is not copied. Labels of
        classes, a text for each sample, are numbered in alphabetical order.

        Raises:
            DataError: no samples, or rows that are not finite; they are named.
            DtypeError: something else than real numbers.
            ShapeError: inputs, targets, weights or names of different lengths.
        """
        y, self.classes = number_classes(y)
        inputs, targets = _read_pair(x, y, "x", "y")
        self.x, self.y = inputs.values, targets.values
        self.x_test, self.y_test = (None, None)
        if x_test is not None or y_test is not None:
            y_test, _ = number_classes(y_test, self.classes)
            test_inputs, test_targets = _read_pair(x_test, y_test, "x_test", "y_test")
            self.x_test, self.y_test = test_inputs.values, test_targets.values
            if (self.x_test.shape[1], self.y_test.shape[1]) != (self.x.shape[1], self.y.shape[1]):
                raise ShapeError(
                    f"expected test data with {self.x.shape[1]} inputs and {self.y.shape[1]} targets, "
                    f"got {self.x_test.shape[1]} and {self.y_test.shape[1]}"
                )
            if None not in (inputs.names, test_inputs.names) and inputs.names != test_inputs.names:
                raise ShapeError(f"expected x_test to have the columns {inputs.names}, got {test_inputs.names}")
        self.names = _read_names(names if names is not None else inputs.names, self.x.shape[1])
        self.weight = None if weight is None else read_columns(weight, "weight").values[:, 0]
        if self.weight is not None and len(self.weight) != len(self.x):
            raise ShapeError(f"expected {len(self.x)} weights, got {len(self.weight)}")
        self.domain = self._span() if domain is None else read_domain(domain, self.x.shape[1]).tolist()
        self.domain = [tuple(pair) for pair in self.domain]

    def _span(self) -> list[list[float]]:
        """What the inputs span; a constant input gets an interval of length one around it."""
        parts = [self.x] if self.x_test is None else [self.x, self.x_test]
        low, high = (torch.stack([end(part, 0) for part in parts]) for end in (torch.amin, torch.amax))
        low, high = low.amin(0), high.amax(0)
        half = torch.where(high > low, 0.0, 0.5).to(low.dtype)
        return torch.stack([low - half, high + half], 1).tolist()

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        target: Key | Sequence[Key],
        *,
        inputs: Key | Sequence[Key] | None = None,
        weight: Key | None = None,
        names: Sequence[str] | None = None,
        domain: Any = None,
        delimiter: str | None = None,
        header: bool | None = None,
        comment: str | None = "#",
        memory: float = MEMORY,
        cache: str | os.PathLike[str] | None = None,
        progress: bool = True,
    ) -> "Dataset":
        r"""Read samples from columns of a text file (CSV, TSV ...) or of an HDF5 file, of any size.

        Samples that take more than `memory` are not held there: the tensors are mapped from a file, of which the
        operating system keeps in memory what is used. A dataset of float64 that lies in an HDF5 file in one piece
        is mapped where it is, and the file must stay as it is. Everything else is converted once, into a file
        without a name in the folder for temporary files (TMPDIR), which is gone when the samples are.

        Columns are asked for by names, or by numbers from 0, negative ones from the end. In an HDF5 file a dataset
        of one or two dimensions is asked for by its path ("run/x"), which stands for all of its columns; one of
        them by "run/x/3", or "run/x/speed" where the dataset has names in an attribute `columns` or has fields.
        If there is only one dataset, by "speed".

        Args:
            path: the file.
            target: the column or the columns of the targets.
            inputs: those of the inputs; by default all others that have names, or all others if none have.
            weight: the column of the weights.
            names: of the inputs, by default those in the file.
            domain: as for a `Dataset`.
            delimiter: of a text file, one character, " " for any white space; by default what divides its first
                rows alike.
            header: whether the first row of a text file holds names; by default, whether nothing in it is a number.
            comment: what lines of a text file begin with that are no rows.
            memory: bytes of samples that are held in memory.
            cache: path of a file that keeps the converted samples for the next time. It is written anew when the
                file or what is asked of it has changed.
            progress: whether to show a progress bar, after a second.

        Raises:
            ConfigError: columns that are not there, or not unique; what there is, is listed.
            DataError: a file that cannot be read, is damaged or empty, or numbers that are none or not finite: the
                message names line and column, or the row.
            ShapeError: columns of different lengths.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> with TemporaryDirectory() as folder:
            ...     file = Path(folder) / "fall.csv"
            ...     _ = file.write_text("height [m],time [s]\n0.1,0.14\n1.0,0.45\n")
            ...     data = Dataset.from_file(file, "time [s]")
            >>> data
            Dataset(2 samples, height [m] -> 1 targets)
        """
        source = Path(path).resolve()
        try:
            table = HDF5Columns.open(source) if is_hdf5(source) else Delimited.open(source, delimiter, header, comment)
            choices = choose(table, target, inputs, weight)
            if cache is None:
                found = table.read(choices, memory, progress=progress)
            else:
                found = read_cached(Path(cache), table, choices, memory, progress=progress)
        except (OSError, RuntimeError) as error:
            raise DataError(f"expected {path} to be a file that can be read, got {error}; check it") from error
        labels = [table.labels[number] for number in choices[0]]
        x, y, *weights = found
        return cls(
            x,
            y,
            names=labels if names is None and all(labels) else names,
            weight=weights[0] if weights else None,
            domain=domain,
        )

    @classmethod
    def from_function(
        cls, f: Callable[[Tensor], Tensor], domain: Any, n: int, seed: int = 0, *, n_test: int = 0
    ) -> "Dataset":
        """Sample a function at n random points of a box, uniformly, and at `n_test` more for testing.

        Args:
            f: torch callable (n, d) -> (n,) or (n, m).
            domain: (low, high) for one input, or one pair for each.
            n: number of samples.
            seed: of the points.
            n_test: number of test samples.

        Example:
            >>> data = Dataset.from_function(lambda x: x[:, 0] * x[:, 1], [(0, 1), (0, 1)], 100)
            >>> data.x.shape, data.domain
            (torch.Size([100, 2]), [(0.0, 1.0), (0.0, 1.0)])
        """
        pairs = read_domain(domain, len(torch.as_tensor(domain).reshape(-1, 2)))
        if n < 1:
            raise DataError(f"expected at least one sample, got n={n}")
        draws = torch.rand(n + n_test, len(pairs), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        x = pairs[:, 0] + (pairs[:, 1] - pairs[:, 0]) * draws
        y = f(x).detach()
        test = (x[n:], y[n:]) if n_test else (None, None)
        return cls(x[:n], y[:n], *test, domain=pairs.tolist())

    def split(self, fraction: float, seed: int = 0) -> "Dataset":
        """The same data with a random fraction held out as the test part; samples stay in their order.

        Names, weights and the domain are kept. Parts that are large are mapped from files, as by `from_file`.

        Raises:
            ConfigError: a fraction that leaves no samples on one side, or data that have a test part.
        """
        n_test = round(fraction * len(self.x))
        if self.x_test is not None or not 0 < n_test < len(self.x):
            raise ConfigError(f"expected data without a test part and a fraction between 0 and 1, got {fraction}")
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(seed))
        test, rest = (part.sort().values.to(self.x.device) for part in (order[:n_test], order[n_test:]))
        weight = None if self.weight is None else take(self.weight, rest)
        parts = [take(values, rows) for rows in (rest, test) for values in (self.x, self.y)]
        found = Dataset(*parts, names=self.names, weight=weight, domain=self.domain)
        found.classes = self.classes
        return found

    def __repr__(self) -> str:
        """Sizes and names."""
        test = "" if self.x_test is None else f", {len(self.x_test)} for testing"
        return f"Dataset({len(self.x)} samples{test}, {', '.join(self.names)} -> {self.y.shape[1]} targets)"


def _read_pair(x: Any, y: Any, x_label: str, y_label: str) -> tuple[Columns, Columns]:
    inputs, targets = read_columns(x, x_label), read_columns(y, y_label)
    n, other = len(inputs.values), len(targets.values)
    if n != other:
        raise ShapeError(f"expected as many rows of {y_label} as of {x_label}, got {other} and {n}")
    return inputs, targets


def _read_names(given: Sequence[str] | None, count: int) -> list[str]:
    """Names that are given, or x1, x2 ..."""
    names = [f"x{number + 1}" for number in range(count)] if given is None else list(given)
    if len(names) != count:
        raise ShapeError(f"expected {count} names, got {names}")
    if len(set(names)) < count:
        raise ConfigError(f"expected names that differ, got {names}; give others by names=")
    return names
