"""Residual: one term of a problem, a function of jets at points that a solution makes zero."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kansci.errors import ConfigError, DataError, DtypeError, ShapeError
from kansci.jets import check_needs
from kansci.nn.arguments import check_finite
from kansci.solvers import ranks

Points = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Residual:
    """Weighted sum of squares of `function(jet, points[, targets][, parameters])` over given points.

    The term adds mean_i(weight_i sum_r residual_ir^2) to the loss of a problem.

    Attributes:
        function: returns (n,) or (n, r); row i may depend on point i only. `jet` holds the model's values and
            derivatives; it is a tuple of jets where `points` is a tuple, and each is a dict where the problem
            has several models. `targets` is passed where the term has them, `parameters` (name to 0-d tensor)
            where the problem has them.
        points: (n, d), or a tuple of equally long tensors, in raw units.
        needs: level of derivatives: "value", "gradient", "laplacian", "diagonal" or "hessian".
        weight: one number, or one for each point (n,); not negative.
        targets: (n, ...) or a tuple of them.
        noise: standard deviation of the residual where it is a measurement, one number or (n,); None for an
            equation.
        name: what the history calls the term.
        loss: what takes the place of the sum of squares: `loss(values[, targets])` of the values (n, r) that the
            function returns gives (n,), one number for each point, convex in the values.
        share: of the points of the term that this process has, where a solve is distributed; set by the solver.

    Raises:
        ShapeError: points or targets are no such tensors, or their lengths differ.
        DtypeError: points are not floating point numbers.
        DataError: there are no points (which one of several ranks may have), or points or targets are not finite.
        ConfigError: `needs` is not a level, or weight or noise is negative or not finite.

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
    loss: Callable[..., Tensor] | None = None
    share: float = field(default=1.0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse points, targets or weights that do not fit together or are not finite."""
        check_needs(self.needs)
        self._check_points()
        for targets in self.target_sets:
            if not isinstance(targets, Tensor) or targets.ndim == 0:
                raise ShapeError(
                    f"{self._label}: expected targets of shape (n, ...) or a tuple of them, got {_describe(targets)}"
                )
            self._check_finite(targets, "targets")
        self._check_scale("weight", self.weight)
        if self.noise is not None:
            self._check_scale("noise", self.noise)
            if (torch.as_tensor(self.noise) == 0).any():
                raise ConfigError(f"{self._label}: expected a noise above 0, got 0; equations have noise=None")
        self._check_lengths()

    def _check_points(self) -> None:
        if not self.point_sets:
            raise DataError(f"{self._label}: expected points, got an empty tuple")
        for points in self.point_sets:
            if not isinstance(points, Tensor) or points.ndim != 2:
                raise ShapeError(
                    f"{self._label}: expected points as a tensor of shape (n, d), got {_describe(points)}; "
                    "put one point in a row"
                )
            if not points.is_floating_point():
                raise DtypeError(f"{self._label}: expected points of a float dtype, got {points.dtype}")
            self._check_finite(points, "points")

    def _check_finite(self, values: Tensor, label: str) -> None:
        if len(values) or not ranks.exist():
            check_finite(values, f"{self._label}: {label}")

    def _check_scale(self, name: str, value: Any) -> None:
        known = isinstance(value, float | int | Tensor) and torch.as_tensor(value).ndim < 2
        values = torch.as_tensor(value if known else math.nan)
        if not values.isfinite().all() or (values < 0).any():
            raise ConfigError(
                f"{self._label}: expected {name} to be one number or (n,), finite and not negative, got {value!r}"
            )

    def _check_lengths(self) -> None:
        tensors = (*self.point_sets, *self.target_sets, self.weight, self.noise)
        lengths = [len(tensor) for tensor in tensors if isinstance(tensor, Tensor) and tensor.ndim]
        if len(set(lengths)) > 1:
            raise ShapeError(
                f"{self._label}: expected points, targets, weights and noise of equal length, got {lengths}"
            )

    @property
    def _label(self) -> str:
        return f"residual {self.name!r}" if self.name else "residual"

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

    def at_rows(self, rows: Tensor) -> "Residual":
        """The same term at some of its points."""

        def part(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(own[rows] for own in value)
            return value[rows] if isinstance(value, Tensor) and value.ndim else value

        chosen = copy.copy(self)
        for name in ("points", "targets", "weight", "noise"):
            object.__setattr__(chosen, name, part(getattr(self, name)))
        return chosen

    def __call__(self, jets: Any, parameters: dict[str, Tensor] | None = None) -> Tensor:
        """Residuals from jets.

        Args:
            jets: one jet for each point set (each a dict of jets, with several models).
            parameters: the free scalars of the problem by name, if it has any.

        Returns:
            The residuals (n, r), not weighted.

        Raises:
            ShapeError: the function returns something else than (n,) or (n, r).
        """
        arguments = [jets if isinstance(self.points, tuple) else jets[0], self.points]
        if self.targets is not None:
            arguments.append(self.targets)
        if parameters:
            arguments.append(parameters)
        values = self.function(*arguments)
        if not isinstance(values, Tensor) or values.ndim not in (1, 2) or len(values) != self.size:
            raise ShapeError(
                f"{self._label}: expected its function to return ({self.size},) or ({self.size}, r), "
                f"got {_describe(values)}"
            )
        return values[:, None] if values.ndim == 1 else values


def _describe(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
