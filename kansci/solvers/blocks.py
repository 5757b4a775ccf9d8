"""Derivatives of some rows of a term, written out or as factors that products make do with."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.solvers.jacobian import Factor
from kansci.solvers.unknowns import Unknowns


@runtime_checkable
class Block(Protocol):
    """Derivatives of some rows of a term, of r components at n points, with respect to all p unknowns.

    Attributes:
        term: number of the term.
        part: its points.
        rows: (r, n), the weighted residuals.
    """

    term: int
    part: slice
    rows: Float[Tensor, "r n"]

    @property
    def nbytes(self) -> int:
        """Memory that the derivatives hold."""
        ...

    def dense(self, component: int) -> Float[Tensor, "p n"]:
        """The derivatives of one component, written out."""
        ...

    def apply(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "r n"]:
        """J v."""
        ...

    def adjoint(self, rows: Float[Tensor, "r n"]) -> Float[Tensor, "p"]:
        """J^T w."""
        ...

    def squares(self) -> Float[Tensor, "p"]:
        """The diagonal of J^T J."""
        ...


@dataclass
class WrittenBlock:
    """Derivatives that are written out, one matrix (p, n) for each component."""

    term: int
    part: slice
    rows: Float[Tensor, "r n"]
    columns: list[Float[Tensor, "p n"]]

    @classmethod
    def of(cls, block: Block) -> "WrittenBlock":
        """Write a block out."""
        columns = [block.dense(component) for component in range(len(block.rows))]
        return cls(block.term, block.part, block.rows, columns)

    @property
    def nbytes(self) -> int:
        """Memory that the derivatives hold."""
        return sum(own.nbytes for own in self.columns)

    def dense(self, component: int) -> Float[Tensor, "p n"]:
        """The derivatives of one component."""
        return self.columns[component]

    def apply(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "r n"]:
        """J v."""
        return torch.stack([vector @ own for own in self.columns])

    def adjoint(self, rows: Float[Tensor, "r n"]) -> Float[Tensor, "p"]:
        """J^T w."""
        return torch.stack([own @ row for own, row in zip(self.columns, rows, strict=True)]).sum(0)

    def squares(self) -> Float[Tensor, "p"]:
        """The diagonal of J^T J."""
        return torch.stack([own.square().sum(1) for own in self.columns]).sum(0)


@dataclass
class FactoredBlock:
    """Derivatives as factors; products need no more.

    Attributes:
        term: number of the term.
        part: its points.
        rows: (r, n), the weighted residuals.
        columns: for each model, the factors of each point set.
        scalars: (s, r, n), derivatives with respect to the free scalars.
    """

    term: int
    part: slice
    rows: Float[Tensor, "r n"]
    columns: list[tuple[Unknowns, list[list[Factor]]]]
    scalars: Float[Tensor, "s _ n"]

    @property
    def nbytes(self) -> int:
        """Memory that the factors hold."""
        return sum(factor.nbytes for _, sets in self.columns for factors in sets for factor in factors)

    def dense(self, component: int) -> Float[Tensor, "p n"]:
        """The derivatives of one component, written out."""
        blocks = [self._written(unknowns, sets, component) for unknowns, sets in self.columns]
        if len(self.scalars):
            blocks.append(self.scalars[:, component])
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def _written(self, unknowns: Unknowns, sets: list[list[Factor]], component: int) -> Tensor:
        total = None
        for factors in sets:
            out = self.rows.new_empty(unknowns.size, self.rows.shape[1])
            for factor in factors:
                factor.write(out, component)
            total = out if total is None else total.add_(out)
        return unknowns.select(cast(Tensor, total))

    def apply(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "r n"]:
        """J v."""
        total, start = torch.zeros_like(self.rows), 0
        for unknowns, sets in self.columns:
            whole = unknowns.spread(vector[start : start + len(unknowns)])
            for factor in chain.from_iterable(sets):
                total += factor.apply(whole)
            start += len(unknowns)
        return total + torch.tensordot(vector[start:], self.scalars, 1)

    def adjoint(self, rows: Float[Tensor, "r n"]) -> Float[Tensor, "p"]:
        """J^T w."""
        return self._collect(lambda factor, total: factor.adjoint(rows, total), (self.scalars * rows).sum((1, 2)))

    def squares(self) -> Float[Tensor, "p"]:
        """The diagonal of J^T J."""
        if any(len(sets) > 1 for _, sets in self.columns):
            dense = (self.dense(component) for component in range(len(self.rows)))
            return torch.stack([own.square().sum(1) for own in dense]).sum(0)
        return self._collect(lambda factor, total: factor.add_squares(total), self.scalars.square().sum((1, 2)))

    def _collect(self, add: Callable[[Factor, Tensor], None], scalars: Tensor) -> Tensor:
        pieces = []
        for unknowns, sets in self.columns:
            total = self.rows.new_zeros(unknowns.size)
            for factor in chain.from_iterable(sets):
                add(factor, total)
            pieces.append(unknowns.select(total))
        return torch.cat([*pieces, scalars])
