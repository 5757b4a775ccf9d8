"""Residual: one term of a problem, a function of jets at points that a solution makes zero."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kansci.errors import ConfigError, DataError, ShapeError
from kansci.jets import check_needs


Points = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Residual:
    """Weighted sum of squares of `function(jet, points[, targets][, parameters])` over given points.

    The term adds mean_i(weight_i sum_r residual_ir^2) to the loss of a problem.

    Attributes:
        function: returns (n,) or (n, r); row i may depend on point i only. `jet` holds the model's values and
            derivatives; it is a tuple of jets where `points` is a tuple, a dict where the problem has several models.
            `targets` is passed where the term has them, `parameters` (name to 0-d tensor) where the problem has them.
        points: (n, d), or a tuple of equally long tensors.
        needs: level of derivatives: "value", "gradient", "laplacian", "diagonal" or "hessian".
        weight: one number, or one for each point.
        targets: (n, ...) or a tuple of them.
        noise: standard deviation of the residual where it is a measurement; None for an equation.
        name: what the history calls the term.

    Example:
        >>> import torch
        >>> x = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
        >>> Residual(lambda jet, x: jet.laplacian[:, 0] + 1, x, needs="laplacian").size
        5
    """

    function: Callable[..., Tensor]
    points: Points
    needs: str = "value"
    weight: float | Tensor = 1.0
    targets: Any = None
    noise: float | Tensor | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse points, targets or weights that do not fit together or are not finite."""
        check_needs(self.needs)
        label = f"residual {self.name!r}" if self.name else "residual"
        for points in self.point_sets:
            if not isinstance(points, Tensor) or points.ndim != 2:
                raise ShapeError(f"{label}: expected points of shape (n, d), got {_describe(points)}")
            if len(points) == 0:
                raise DataError(f"{label}: expected at least one point, got none")
            check_finite(points, f"{label}: points")
        lengths = {len(points) for points in self.point_sets}
        for extra in (*self.target_sets, self.weight):
            if isinstance(extra, Tensor) and extra.ndim:
                lengths.add(len(extra))
                check_finite(extra, f"{label}: targets and weights")
        if len(lengths) > 1:
            raise ShapeError(f"{label}: expected points, targets and weights of equal length, got {sorted(lengths)}")
        if (torch.as_tensor(self.weight) < 0).any() or not torch.as_tensor(self.weight).isfinite().all():
            raise ConfigError(f"{label}: expected weights that are finite and not negative, got {self.weight}")

    @property
    def point_sets(self) -> tuple[Tensor, ...]:
        """The points as a tuple."""
        return self.points if isinstance(self.points, tuple) else (self.points,)

    @property
    def target_sets(self) -> tuple[Tensor, ...]:
        """The targets as a tuple, empty where there are none."""
        if self.targets is None:
            return ()
        return self.targets if isinstance(self.targets, tuple) else (self.targets,)

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.point_sets[0])

    def __call__(self, jets: Any, parameters: dict[str, Tensor] | None = None) -> Tensor:
        """Residuals (n, r) from one jet for each point set (each a dict, with several models)."""
        arguments = [jets if isinstance(self.points, tuple) else jets[0], self.points]
        if self.targets is not None:
            arguments.append(self.targets)
        if parameters:
            arguments.append(parameters)
        values = self.function(*arguments)
        if not isinstance(values, Tensor) or values.ndim not in (1, 2) or len(values) != self.size:
            raise ShapeError(
                f"residual {self.name or ''}: expected its function to return ({self.size},) or ({self.size}, r), "
                f"got {_describe(values)}"
            )
        return values[:, None] if values.ndim == 1 else values


def check_finite(values: Tensor, label: str) -> None:
    """Raise DataError naming the rows that are not finite."""
    bad = (~values.isfinite()).reshape(len(values), -1).any(1).nonzero().flatten().tolist()
    if bad:
        shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise DataError(f"{label}: expected finite numbers, got NaN or infinity in {len(bad)} rows: {shown}")


def _describe(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
