"""One linearization of a least squares problem: products with its Jacobian and damped solutions."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kansci.errors import ConfigError
from kansci.solvers import ranks
from kansci.solvers.blocks import Block, WrittenBlock
from kansci.solvers.system import Evaluation, System

LEAST_PANEL = 32
LEAST_FLOOR, MOST_FLOOR = 1e-6, 1e-3
ITERATIONS, PRECISION = 100, 1e-4

Solve = Callable[[Float[Tensor, "p"]], Float[Tensor, "p"]]


class Pinned(NamedTuple):
    """Which unknowns stand at their lowest or at their highest value."""

    low: Tensor
    high: Tensor

    def held(self, gradient: Float[Tensor, "p"]) -> Bool[Tensor, "p"]:
        """Those that would leave their bounds if the gradient had its way."""
        return (self.low & (gradient > 0)) | (self.high & (gradient < 0))


def floor_of(damping: float) -> float:
    """The share of the largest diagonal element that is added to all."""
    return min(max(damping, LEAST_FLOOR), MOST_FLOOR)


class Linearization:
    """The Jacobian J of weighted residuals r at one point, as factors, kept where memory allows, else recomputed.

    Penalty and prior add their gradient to J^T r, and their curvature to J^T J. Of several ranks each keeps its own
    rows of J, and all have the same J^T J and J^T r.

    Steps are damped: (J^T J + damping D) step = -J^T r, with D = diag(J^T J) + floor max diag(J^T J). The floor
    is the damping itself within LEAST_FLOOR and MOST_FLOOR: early steps are short in all directions (Levenberg),
    late ones free in those of little effect (Marquardt). Where J^T J fits into memory it is factorized; where it does
    not, but rows are few, I + J (damping D)^-1 J^T is; else the equations are solved by conjugate gradients. J itself
    is written out where it fits, too.

    Attributes:
        gradient: J^T r.
        scale: the diagonal of D at the least floor.
    """

    gradient: Float[Tensor, "p"]
    scale: Float[Tensor, "p"]

    def __init__(self, system: System, at: Evaluation, memory: float, pinned: Pinned | None = None) -> None:
        """Compute J^T r and J^T J or its diagonal; unknowns that a bound stops stay where they are."""
        self._shapes = [rows.shape for rows in at.rows]
        is_small = 16 * system.size**2 < memory / 2
        self._gram = at.vector.new_zeros(system.size, system.size) if is_small else None
        is_written = is_small and 8 * system.size * sum(rows.numel() for rows in at.rows) < memory / 2
        self._blocks: Iterable[Block] = _Kept(system, at, memory / 2, written=is_written)
        self._wide = None
        if not is_small and _is_wide(system, at, memory):
            parts = [block.dense(component) for block in self._blocks for component in range(len(block.rows))]
            self._wide = torch.cat(parts, 1)
        self._diagonal = torch.zeros_like(at.vector)
        self.gradient = torch.zeros_like(at.vector)
        for block in self._blocks:
            self._add(block)
        ranks.total(self.gradient)
        ranks.total(self._diagonal if self._gram is None else self._gram)
        self.gradient += system.regularizer_gradient(at.vector)
        self._curvatures = system.curvatures(at)
        for own in self._curvatures:
            if self._gram is None:
                self._diagonal += own.diagonal(system.size)
            else:
                own.add_to(self._gram)
        if self._gram is not None:
            self._diagonal = self._gram.diagonal()
        self._held = torch.zeros_like(self.gradient, dtype=torch.bool)
        if pinned is not None:
            self._held = pinned.held(self.gradient)
            self._hold()
        self.scale = self._scale(LEAST_FLOOR)

    def _add(self, block: Block) -> None:
        if self._gram is None:
            self._diagonal += block.squares()
            self.gradient += block.adjoint(block.rows)
            return
        for component, rows in enumerate(block.rows):
            dense = block.dense(component)
            add_gram(self._gram, dense)
            self.gradient.addmv_(dense, rows)

    def _hold(self) -> None:
        self.gradient[self._held] = 0
        if self._wide is not None:
            self._wide[self._held] = 0
        if self._gram is not None:
            diagonal = self._diagonal.clone()
            self._gram[self._held] = 0
            self._gram[:, self._held] = 0
            self._diagonal.copy_(diagonal)

    @property
    def matrix(self) -> Float[Tensor, "p p"]:
        """J^T J, where memory allows it."""
        if self._gram is None:
            raise ConfigError(f"expected memory for a matrix of {len(self.gradient)} unknowns squared, got less")
        return self._gram.tril() + self._gram.tril(-1).T

    def inverse(self, damping: float) -> Float[Tensor, "p p"] | None:
        """(J^T J + damping D)^-1 with the largest floor, or None if it is too large or not definite to rounding."""
        factor = None if self._gram is None else self._factor(self._gram, damping * self._scale(MOST_FLOOR))
        return None if factor is None else torch.cholesky_inverse(factor)

    def diagonal_inverse(self, damping: float) -> Float[Tensor, "p"]:
        """The inverse of the diagonal of J^T J + damping D."""
        return 1 / (self._diagonal + self._added(damping))

    def damped(self, damping: float) -> Solve | None:
        """x -> (J^T J + damping D)^-1 x, or None if the matrix is not positive definite to rounding."""
        added = self._added(damping)
        if self._wide is not None:
            return self._solve_wide(self._wide, added)
        if self._gram is None:
            return lambda right: ranks.agree(self._iterate(right, added))
        factor = self._factor(self._gram, added)
        if factor is None:
            return None
        return lambda right: ranks.agree(torch.cholesky_solve((right * ~self._held)[:, None], factor)[:, 0])

    def _factor(self, gram: Tensor, added: Tensor) -> Tensor | None:
        matrix = gram.clone()
        matrix.diagonal().add_(added)
        factor, info = torch.linalg.cholesky_ex(matrix)
        return None if ranks.agree(int(info)) else factor

    def _added(self, damping: float) -> Tensor:
        return damping * self._scale(floor_of(damping))

    def _solve_wide(self, wide: Float[Tensor, "p n"], added: Float[Tensor, "p"]) -> Solve | None:
        """By the identity of Woodbury, once refined."""
        scaled = wide / added[:, None]
        small = wide.T @ scaled
        small.diagonal().add_(1)
        factor, info = torch.linalg.cholesky_ex(small)

        def solve(right: Tensor) -> Tensor:
            first = right / added
            return first - scaled @ torch.cholesky_solve((wide.T @ first)[:, None], factor)[:, 0]

        def refined(right: Tensor) -> Tensor:
            held = right * ~self._held
            found = solve(held)
            return found + solve(held - added * found - wide @ (wide.T @ found))

        return None if info else refined

    def _scale(self, floor: float) -> Tensor:
        return self._diagonal + floor * self._diagonal.max()

    def _iterate(self, right: Tensor, added: Tensor) -> Tensor:
        free = ~self._held

        def product(vector: Tensor) -> Tensor:
            total = torch.zeros_like(vector)
            for block in self._blocks:
                total += block.adjoint(block.apply(vector)) * free
            total = ranks.total(total) + added * vector
            for own in self._curvatures:
                total += own.times(vector) * free
            return total

        return conjugate_gradients(product, right * free, self._diagonal + added)

    def apply(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "rows"]:
        """J v for the rows of this rank, in the order of `Evaluation.flat`."""
        found = [vector.new_zeros(shape) for shape in self._shapes]
        for block in self._blocks:
            found[block.term][:, block.part] = block.apply(vector)
        return torch.cat([rows.flatten() for rows in found])

    def adjoint(self, flat: Float[Tensor, "rows"]) -> Float[Tensor, "p"]:
        """J^T w, from the rows w of each rank."""
        sizes = [rows * points for rows, points in self._shapes]
        terms = [own.view(shape) for own, shape in zip(flat.split(sizes), self._shapes, strict=True)]
        total = torch.zeros_like(self.gradient)
        for block in self._blocks:
            total += block.adjoint(terms[block.term][:, block.part])
        return ranks.total(total)


def _is_wide(system: System, at: Evaluation, memory: float) -> bool:
    """Whether rows are fewer than unknowns, and J fits into memory twice."""
    rows = sum(own.numel() for own in at.rows)
    plain = system.penalty is None and system.prior is None and not ranks.are_many()
    return plain and rows < system.size and 16 * system.size * rows < memory / 2


class _Kept:
    """The blocks of a Jacobian: the first time they are computed, later remembered as far as memory allows."""

    def __init__(self, system: System, at: Evaluation, memory: float, *, written: bool) -> None:
        self._system, self._at, self._memory, self._written = system, at, memory, written
        self._blocks: list[Block] | None = None

    def __iter__(self) -> Iterator[Block]:
        return self._compute() if self._blocks is None else iter(self._blocks)

    def _compute(self) -> Iterator[Block]:
        kept, size = [], 0
        for factored in self._system.jacobian(self._at):
            block = WrittenBlock.of(factored) if self._written else factored
            size += block.nbytes
            kept = [*kept, block] if size < self._memory else []
            yield block
        self._blocks = kept if size < self._memory else None


def conjugate_gradients(product: Solve, right: Float[Tensor, "p"], diagonal: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
    """Approximate solution of a positive definite system, preconditioned by its diagonal; always a descent step.

    References:
        Hestenes, Stiefel, Journal of Research of the NBS 49 (1952) 409.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    direction = residual / diagonal
    energy = first = ranks.agree(residual @ direction)
    for _ in range(ITERATIONS):
        if energy <= PRECISION**2 * first:
            break
        image = product(direction)
        length = energy / (direction @ image)
        solution += length * direction
        residual -= length * image
        scaled = residual / diagonal
        energy, before = ranks.agree(residual @ scaled), energy
        direction = scaled + (energy / before) * direction
    return solution


def add_gram(total: Float[Tensor, "p p"], columns: Float[Tensor, "p n"]) -> None:
    """Add the lower triangle of columns columns^T, by panels of a twelfth of it."""
    panel = max(LEAST_PANEL, len(columns) // 12)
    for start in range(0, len(columns), panel):
        end = min(start + panel, len(columns))
        total[start:end, :end].addmm_(columns[start:end], columns[:end].T)
