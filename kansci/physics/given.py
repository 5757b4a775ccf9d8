"""What an equation is given: numbers, one row per point, or functions of points; and residuals made of it."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from kansci.errors import ConfigError, ShapeError
from kansci.solvers.residual import Residual, check_finite

Field = int | float | Tensor | Callable[[Tensor], Any]

UNIT_TOLERANCE = 1e-5


class Given(NamedTuple):
    """A field an equation needs at its points.

    Attributes:
        label: what messages call it.
        field: number, tensor (n,) or (n, 1), or function of points; for unit vectors (n, d).
        unit_vectors: whether it is a field of unit vectors.
    """

    label: str
    field: Field
    unit_vectors: bool = False

    @property
    def is_stored(self) -> bool:
        """Whether it is a tensor with rows that belong to the points."""
        return isinstance(self.field, Tensor) and self.field.ndim > 0

    def at(self, points: Tensor) -> Any:
        """The values at the points: a number, (n,), or (n, d) for vectors."""
        values = self.field(points) if callable(self.field) else self.field
        if self.unit_vectors:
            return self._require(values, tuple(points.shape))
        if not isinstance(values, Tensor) or values.ndim == 0:
            return float(values)
        return self._require(values[:, 0] if values.shape[1:] == (1,) else values, (len(points),))

    def check(self, points: Tensor) -> None:
        """Refuse values of the wrong shape, not finite, or vectors that are not of length 1."""
        values = self.at(points)
        if not isinstance(values, Tensor):
            if not math.isfinite(values):
                raise ConfigError(f"expected a finite {self.label}, got {values}")
            return
        check_finite(values, self.label)
        if self.unit_vectors and ((values.norm(dim=1) - 1).abs() > UNIT_TOLERANCE).any():
            raise ConfigError(f"expected {self.label} of length 1, got other lengths: divide by the norm")

    def _require(self, values: Any, shape: tuple[int, ...]) -> Tensor:
        got = tuple(values.shape) if isinstance(values, Tensor) else values
        if got != shape:
            raise ShapeError(f"expected {self.label} of shape {shape}, one row per point, got {got}")
        return values


def make_residual(
    equation: Callable[..., Tensor],
    points: Tensor,
    givens: Sequence[Given],
    *,
    needs: str,
    weight: float | Tensor,
    name: str,
) -> Residual:
    """The residual equation(jet, *values of the givens).

    Tensors become its targets, which follow their points into batches; functions are called with the points.
    """
    stored = tuple(given.field for given in givens if given.is_stored)

    def function(jet: Any, points: Tensor, *rest: Any) -> Tensor:
        rows = iter(rest[0] if stored else ())
        here = [given._replace(field=next(rows)) if given.is_stored else given for given in givens]
        return equation(jet, *(given.at(points) for given in here))

    term = Residual(function, points, needs=needs, weight=weight, targets=stored or None, name=name)
    for given in givens:
        given.check(points)
    return term


def select_output(channel: Tensor, output: int) -> Tensor:
    """One output of a level of a jet, (n, m, ...) -> (n, ...)."""
    m = channel.shape[1]
    if output not in range(-m, m):
        raise ConfigError(f"expected an output from 0 to {m - 1} of this model, got {output!r}")
    return channel[:, output]
