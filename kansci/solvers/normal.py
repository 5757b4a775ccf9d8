"""One linearization of a least squares problem: products with its Jacobian and damped solutions."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError
from kansci.solvers.system import Evaluation, System

COLUMNS = 128
LARGEST = 20_000
LEAST_FLOOR, MOST_FLOOR = 1e-6, 1e-3


class Pinned(NamedTuple):
    """Which unknowns stand at their lowest or at their highest value."""

    low: Tensor
    high: Tensor


class Linearization:
    """The Jacobian J of weighted residuals r at one point, kept whole where memory allows, else recomputed.

    Steps are damped: (J^T J + damping D) step = -J^T r, with D = diag(J^T J) + floor max diag(J^T J). The floor
    is the damping itself within LEAST_FLOOR and MOST_FLOOR: early steps are short in all directions (Levenberg),
    late ones free in those of little effect (Marquardt).

    Attributes:
        gradient: J^T r.
        scale: the diagonal of D at the least floor.
    """

    gradient: Float[Tensor, "p"]
    scale: Float[Tensor, "p"]
    _blocks: Iterable[tuple[Tensor, Tensor]]

    def __init__(self, system: System, at: Evaluation, memory: float, pinned: Pinned | None = None) -> None:
        """Compute J^T J and J^T r; unknowns that a bound stops stay where they are."""
        if system.size > LARGEST:
            raise ConfigError(
                f"expected at most {LARGEST} unknowns for the normal equations, got {system.size}; "
                "use a smaller network or a coarser grid"
            )
        rows = sum(own.numel() for own in at.rows)
        fits = 8 * rows * system.size < memory / 2
        self._blocks = list(system.jacobian(at)) if fits else _Recomputed(system, at)
        self._gram = at.vector.new_zeros(system.size, system.size)
        self.gradient = at.vector.new_zeros(system.size)
        for residuals, block in self._blocks:
            add_gram(self._gram, block)
            self.gradient.addmv_(block.T, residuals)
        if pinned is not None:
            self._hold((pinned.low & (self.gradient > 0)) | (pinned.high & (self.gradient < 0)))
        self.scale = self._scale(LEAST_FLOOR)

    def _hold(self, fixed: Tensor) -> None:
        self.gradient[fixed] = 0
        self._gram[fixed] = 0
        self._gram[:, fixed] = 0
        self._gram[fixed, fixed] = 1

    def factor(self, damping: float) -> Tensor | None:
        """Cholesky factor of the damped normal matrix, or None if it is not positive definite to rounding."""
        matrix = self._gram.clone()
        floor = min(max(damping, LEAST_FLOOR), MOST_FLOOR)
        matrix.diagonal().add_(self._scale(floor), alpha=damping)
        factor, info = torch.linalg.cholesky_ex(matrix)
        return None if info else factor

    def _scale(self, floor: float) -> Tensor:
        diagonal = self._gram.diagonal()
        return diagonal + floor * diagonal.max()

    def apply(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "rows"]:
        """J v."""
        return torch.cat([block @ vector for _, block in self._blocks])

    def adjoint(self, rows: Float[Tensor, "rows"]) -> Float[Tensor, "p"]:
        """J^T w."""
        total, start = torch.zeros_like(self.gradient), 0
        for _, block in self._blocks:
            total.addmv_(block.T, rows[start : start + len(block)])
            start += len(block)
        return total


class _Recomputed:
    """Jacobian blocks that are computed anew each time they are iterated over."""

    def __init__(self, system: System, at: Evaluation) -> None:
        self._system, self._at = system, at

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self._system.jacobian(self._at)


def add_gram(total: Float[Tensor, "p p"], block: Float[Tensor, "n p"]) -> None:
    """Add the lower triangle of block^T block, by panels of columns."""
    for start in range(0, block.shape[1], COLUMNS):
        end = min(start + COLUMNS, block.shape[1])
        total[start:end, :end].addmm_(block[:, start:end].T, block[:, :end])
