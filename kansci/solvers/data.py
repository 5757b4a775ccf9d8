"""Dataset: inputs and targets, checked once, with their names, weights and test part."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, DataError, ShapeError
from kansci.nn.arguments import check_finite, read_domain


class Dataset:
    """Measured or computed samples of a function.

    Attributes:
        x: inputs (n, d) in float64.
        y: targets (n, m) in float64.
        x_test: test inputs (t, d), or None.
        y_test: test targets (t, m), or None.
        names: names of the inputs.
        weight: of the samples (n,), or None.
        domain: lowest and highest value of each input: given, or what the inputs, the test inputs included, span.
            Pass it on: ``MultKAN(width, domain=data.domain)``.

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
        """Take arrays or tensors; vectors count as one column.

        Raises:
            DataError: no samples, or rows that are not finite; they are named.
            ShapeError: inputs, targets, weights or names of different lengths.
        """
        self.x, self.y = _read_pair(x, y, "x", "y")
        self.x_test, self.y_test = (None, None)
        if x_test is not None or y_test is not None:
            self.x_test, self.y_test = _read_pair(x_test, y_test, "x_test", "y_test")
            if (self.x_test.shape[1], self.y_test.shape[1]) != (self.x.shape[1], self.y.shape[1]):
                raise ShapeError(
                    f"expected test data with {self.x.shape[1]} inputs and {self.y.shape[1]} targets, "
                    f"got {self.x_test.shape[1]} and {self.y_test.shape[1]}"
                )
        self.names = list(names) if names is not None else [f"x{i + 1}" for i in range(self.x.shape[1])]
        if len(self.names) != self.x.shape[1]:
            raise ShapeError(f"expected {self.x.shape[1]} names, got {self.names}")
        self.weight = None if weight is None else _read(weight, "weight")[:, 0]
        if self.weight is not None and len(self.weight) != len(self.x):
            raise ShapeError(f"expected {len(self.x)} weights, got {len(self.weight)}")
        self.domain = self._span() if domain is None else read_domain(domain, self.x.shape[1]).tolist()
        self.domain = [tuple(pair) for pair in self.domain]

    def _span(self) -> list[list[float]]:
        """What the inputs span; a constant input gets an interval of length one around it."""
        all_x = self.x if self.x_test is None else torch.cat([self.x, self.x_test])
        low, high = all_x.amin(0), all_x.amax(0)
        half = torch.where(high > low, 0.0, 0.5).to(low.dtype)
        return torch.stack([low - half, high + half], 1).tolist()

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
        """The same data with a random fraction held out as the test part.

        Raises:
            ConfigError: a fraction that leaves no samples on one side, or data that have a test part.
        """
        n_test = round(fraction * len(self.x))
        if self.x_test is not None or not 0 < n_test < len(self.x):
            raise ConfigError(f"expected data without a test part and a fraction between 0 and 1, got {fraction}")
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(seed))
        test, rest = order[:n_test], order[n_test:]
        weight = None if self.weight is None else self.weight[rest]
        return Dataset(
            self.x[rest],
            self.y[rest],
            self.x[test],
            self.y[test],
            names=self.names,
            weight=weight,
            domain=self.domain,
        )

    def __repr__(self) -> str:
        """Sizes and names."""
        test = "" if self.x_test is None else f", {len(self.x_test)} for testing"
        return f"Dataset({len(self.x)} samples{test}, {', '.join(self.names)} -> {self.y.shape[1]} targets)"


def _read(values: Any, label: str) -> Float[Tensor, "n c"]:
    columns = torch.as_tensor(values).detach().to(torch.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2:
        raise ShapeError(f"expected {label} of shape (n, columns), got {tuple(columns.shape)}")
    if columns.numel() == 0:
        raise DataError(f"expected at least one row of {label}, got shape {tuple(columns.shape)}")
    check_finite(columns, label)
    return columns


def _read_pair(x: Any, y: Any, x_label: str, y_label: str) -> tuple[Tensor, Tensor]:
    inputs, targets = _read(x, x_label), _read(y, y_label)
    if len(inputs) != len(targets):
        raise ShapeError(f"expected as many rows of {y_label} as of {x_label}, got {len(targets)} and {len(inputs)}")
    return inputs, targets
