"""A problem as nonlinear least squares: residual terms of one or several models, in one vector of unknowns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jvp

from kansci.jets import Jet
from kansci.solvers.hidden import Reach, jet_and_reach
from kansci.solvers.jacobian import pull_back
from kansci.solvers.residual import Residual
from kansci.solvers.unknowns import Unknowns


class Evaluation(NamedTuple):
    """A problem at one vector of unknowns.

    Attributes:
        vector: the unknowns (p,).
        models: the models whose grids the vector belongs to.
        rows: weighted residuals of each term, (r, n); the loss is the sum of their squares.
        jets: for each term, for each point set, the jet of each model.
        reach: how far the activations of each model reach.
        losses: the terms of the loss.
        loss: their sum.
    """

    vector: Tensor
    models: dict[str, nn.Module]
    rows: list[Tensor]
    jets: list[list[dict[str, Jet]]]
    reach: dict[str, Reach]
    losses: list[float]
    loss: float

    @property
    def flat(self) -> Tensor:
        """All weighted residuals, in the order of `System.jacobian` taken as one chunk."""
        return torch.cat([rows.flatten() for rows in self.rows])


@dataclass(frozen=True)
class System:
    """Terms, models and free scalars; the vector holds the unknowns of each model in turn, then the scalars.

    Attributes:
        terms: the residual terms.
        models: unknowns by name of the model.
        scalars: names of the free scalars.
        single: whether residual functions get the jet of the only model instead of a dict.
        chunk: points that are propagated at a time.
    """

    terms: Sequence[Residual]
    models: dict[str, Unknowns]
    scalars: tuple[str, ...] = ()
    single: bool = True
    chunk: int = 512

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return sum(map(len, self.models.values())) + len(self.scalars)

    def write(self, vector: Float[Tensor, "p"]) -> None:
        """Put a vector into the working copies of the models."""
        start = 0
        for unknowns in self.models.values():
            unknowns.write(vector[start : start + len(unknowns)])
            start += len(unknowns)

    def place(self, at: Evaluation) -> None:
        """Go back to a point, with its grids."""
        for name, model in at.models.items():
            self.models[name].model = model
        self.write(at.vector)

    def parameters(self, vector: Float[Tensor, "p"]) -> dict[str, Tensor]:
        """The free scalars in a vector."""
        values = vector[self.size - len(self.scalars) :]
        return dict(zip(self.scalars, values, strict=True))

    def read(self, scalars: Float[Tensor, "s"]) -> Float[Tensor, "p"]:
        """The vector of the models as they are and of the given scalars."""
        return torch.cat([*(unknowns.read() for unknowns in self.models.values()), scalars])

    @torch.no_grad()
    def evaluate(self, vector: Float[Tensor, "p"]) -> Evaluation:
        """Weighted residuals at a vector."""
        self.write(vector)
        reach: dict[str, Reach] = {}
        jets = [[self._jets(points, term.needs, reach) for points in term.point_sets] for term in self.terms]
        rows = [self.rows(term, own, self.parameters(vector)) for term, own in zip(self.terms, jets, strict=True)]
        losses = [float(own.square().sum()) for own in rows]
        models = {name: unknowns.model for name, unknowns in self.models.items()}
        return Evaluation(vector, models, rows, jets, reach, losses, sum(losses))

    def _jets(self, points: Tensor, needs: str, reach: dict[str, Reach]) -> dict[str, Jet]:
        return {name: self._jet(name, points, needs, reach) for name in self.models}

    def _jet(self, name: str, points: Tensor, needs: str, reach: dict[str, Reach]) -> Jet:
        parts = []
        for part in points.split(self.chunk):
            found, own = jet_and_reach(self.models[name].model, part, needs)
            parts.append(found.channels)
            reach[name] = reach[name].join(own) if name in reach else own
        return Jet(torch.cat(parts), needs, points.shape[1])

    def rows(self, term: Residual, jets: list[dict[str, Jet]], parameters: dict[str, Tensor]) -> Tensor:
        """Weighted residuals (r, n) of a term."""
        given = tuple(own[next(iter(own))] if self.single else own for own in jets)
        weight = torch.as_tensor(term.weight, dtype=torch.float64, device=term.point_sets[0].device)
        return (term(given, parameters) * (weight / term.size).sqrt().reshape(-1, 1)).T

    def jacobian(self, at: Evaluation) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of weighted rows and their derivatives, (rows,) and (rows, p), a chunk of points at a time."""
        return chain.from_iterable(self.term_jacobians(at))

    def term_jacobians(self, at: Evaluation) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
        """The same, term by term."""
        self.place(at)
        for term, rows, jets in zip(self.terms, at.rows, at.jets, strict=True):
            yield self._term_jacobian(term, rows, jets, at.vector)

    def _term_jacobian(
        self, term: Residual, rows: Tensor, jets: list[dict[str, Jet]], vector: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        adjoints = self._adjoints(term, jets, vector)
        scalars = self._scalar_columns(term, jets, vector)
        for start in range(0, term.size, self.chunk):
            part = slice(start, start + self.chunk)
            yield rows[:, part].flatten(), self._block(term, adjoints, scalars, part).flatten(0, 1)

    def _adjoints(self, term: Residual, jets: list[dict[str, Jet]], vector: Tensor) -> list[dict[str, Tensor]]:
        """Derivatives of the rows with respect to the channels of each jet, (r, n, channels, m)."""
        with torch.enable_grad():
            leaves = watched(jets)
            flat = [leaf.channels for each in leaves for leaf in each.values()]
            found = [gradients(row.sum(), flat) for row in self.rows(term, leaves, self.parameters(vector))]
        columns = iter(zip(*found, strict=True))
        return [{name: torch.stack(next(columns)) for name in each} for each in leaves]

    def _scalar_columns(self, term: Residual, jets: list[dict[str, Jet]], vector: Tensor) -> Tensor:
        """Derivatives of the rows with respect to the free scalars, (r, n, scalars)."""
        values = self.parameters(vector)
        columns = []
        for name in self.scalars:
            tangents = {
                other: torch.ones_like(v) if other == name else torch.zeros_like(v) for other, v in values.items()
            }
            columns.append(jvp(lambda p: self.rows(term, jets, p), (values,), (tangents,))[1])
        first = jets[0][next(iter(jets[0]))].channels
        return torch.stack(columns, -1) if columns else first.new_zeros(1, 1, 0)

    def _block(self, term: Residual, adjoints: list[dict[str, Tensor]], scalars: Tensor, part: slice) -> Tensor:
        blocks: list[Any] = []
        for name, unknowns in self.models.items():
            pieces = [
                pull_back(unknowns, points[part], term.needs, own[name][:, part])
                for points, own in zip(term.point_sets, adjoints, strict=True)
            ]
            blocks.append(sum(pieces[1:], pieces[0]))
        if self.scalars:
            blocks.append(scalars[:, part])
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 2)


def watched(jets: list[dict[str, Jet]]) -> list[dict[str, Jet]]:
    """The same jets as leaves of a new graph."""
    return [
        {name: Jet(own.channels.detach().requires_grad_(), own.needs, own.d) for name, own in each.items()}
        for each in jets
    ]


def gradients(total: Tensor, leaves: list[Tensor]) -> Sequence[Tensor]:
    """Derivatives of a number with respect to tensors, zero where it does not depend on them."""
    if not total.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
