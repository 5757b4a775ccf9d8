"""A problem as nonlinear least squares: residual terms of one or several models, in one vector of unknowns."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jvp

from kansci.jets import Jet, jet
from kansci.solvers import ranks
from kansci.solvers.blocks import FactoredBlock
from kansci.solvers.hidden import Reach, jet_and_reach
from kansci.solvers.jacobian import factorize
from kansci.solvers.losses import measure, term_loss
from kansci.solvers.penalty import Curvature, Penalty, curvatures, look, penalize, sample
from kansci.solvers.prior import Information
from kansci.solvers.residual import Residual
from kansci.solvers.unknowns import Unknowns


class Evaluation(NamedTuple):
    """A problem at one vector of unknowns.

    Attributes:
        vector: the unknowns (p,).
        models: the models whose grids the vector belongs to.
        rows: weighted residuals of each term, (r, n); the loss is the sum of their squares, or has the same gradient.
        jets: for each term, for each point set, the jet of each model.
        reach: how far the activations of each model reach.
        losses: the terms of the loss, penalty and prior included where there are such.
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
        """All weighted residuals, term by term, component by component."""
        return torch.cat([rows.flatten() for rows in self.rows])


@dataclass
class System:
    """Terms, models and free scalars; the vector holds the unknowns of each model in turn, then the scalars.

    Where several ranks solve together each has its own points of the terms; losses, reach and derivatives of losses
    are those of all points, rows and jets are of its own.

    Attributes:
        terms: the residual terms.
        models: unknowns by name of the model.
        scalars: names of the free scalars.
        single: whether residual functions get the jet of the only model instead of a dict.
        penalty: of the edges of the models at the points of the terms, or None.
        prior: what earlier data say of the unknowns, or None.
        chunk: points that are propagated at a time.
        tick: called with the number of points that have just been propagated; true asks for an early end.
    """

    terms: Sequence[Residual]
    models: dict[str, Unknowns]
    scalars: tuple[str, ...] = ()
    single: bool = True
    penalty: Penalty | None = None
    prior: Information | None = None
    chunk: int = 4096
    tick: Callable[[int], bool] = lambda points: False
    _sampled: tuple[Sequence[Residual], Tensor] | None = field(default=None, init=False, repr=False)

    @property
    def is_least_squares(self) -> bool:
        """Whether the loss is a sum of squares, of which second differences of rows tell more."""
        return all(term.loss is None for term in self.terms)

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

    def free(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "s"]:
        """The part of a vector that holds the free scalars."""
        return vector[self.size - len(self.scalars) :]

    def parameters(self, vector: Float[Tensor, "p"]) -> dict[str, Tensor]:
        """The free scalars in a vector."""
        return dict(zip(self.scalars, self.free(vector), strict=True))

    def read(self, scalars: Float[Tensor, "s"]) -> Float[Tensor, "p"]:
        """The vector of the models as they are and of the given scalars."""
        for unknowns in self.models.values():
            ranks.align(unknowns.model)
        return torch.cat([*(unknowns.read() for unknowns in self.models.values()), scalars])

    @torch.no_grad()
    def evaluate(self, vector: Float[Tensor, "p"]) -> Evaluation:
        """Weighted residuals at a vector."""
        vector = ranks.agree(vector)
        self.write(vector)
        reach: dict[str, Reach] = {}
        jets = [[self._jets(points, term.needs, reach) for points in term.point_sets] for term in self.terms]
        pairs = zip(self.terms, jets, strict=True)
        found = [measure(term, self.outputs(term, own, self.parameters(vector))) for term, own in pairs]
        losses = ranks.total(torch.stack([own.total for own in found])).tolist()
        losses += map(float, self._regularize().values())
        models = {name: unknowns.model for name, unknowns in self.models.items()}
        reach = {name: own.everywhere() for name, own in reach.items()}
        return Evaluation(vector, models, [own.rows for own in found], jets, reach, losses, sum(losses))

    def _jets(self, points: Tensor, needs: str, reach: dict[str, Reach]) -> dict[str, Jet]:
        return {name: self._jet(name, points, needs, reach) for name in self.models}

    def _jet(self, name: str, points: Tensor, needs: str, reach: dict[str, Reach]) -> Jet:
        parts = []
        for part in points.split(self.chunk):
            found, own = jet_and_reach(self.models[name].model, part, needs)
            parts.append(found.channels)
            reach[name] = reach[name].join(own) if name in reach else own
            self.tick(len(part))
        return Jet(torch.cat(parts, 2), needs, points.shape[1])

    def outputs(self, term: Residual, jets: list[dict[str, Jet]], parameters: dict[str, Tensor]) -> Tensor:
        """What the function of a term returns, (n, r)."""
        return term(tuple(own[next(iter(own))] if self.single else own for own in jets), parameters)

    def _regularize(self) -> dict[str, Tensor]:
        """What is added to the loss of the terms, at the vector that has been written."""
        found = {}
        if self.penalty is not None:
            edges = [look(unknowns.model, self._samples) for unknowns in self.models.values()]
            found["penalty"] = torch.stack([penalize(self.penalty, own) for own in edges]).sum()
        if self.prior is not None:
            unknowns = [own.collect(own.tensors.values()) for own in self.models.values()]
            found["prior"] = self.prior.value(torch.cat(unknowns))
        return found

    @property
    def _samples(self) -> Tensor:
        """Some of the points of all terms on all ranks, where edges are looked at."""
        if self._sampled is None or self._sampled[0] is not self.terms:
            sets = [points for term in self.terms for points in term.point_sets]
            parts = [ranks.gather(sample(points, *ranks.place(len(points)))) for points in sets]
            self._sampled = self.terms, sample(torch.cat(parts))
        return self._sampled[1]

    def regularizer_gradient(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """Half the gradient of penalty and prior at a vector that has been written."""
        if self.penalty is None and self.prior is None:
            return torch.zeros_like(vector)
        tensors = self._tensors
        with torch.enable_grad(), watching(tensors):
            found = gradients(sum(self._regularize().values(), vector.new_zeros(())) / 2, tensors)
        return self._collect(found, torch.zeros_like(self.free(vector)))

    def curvatures(self, at: Evaluation) -> list[Curvature | Information]:
        """Half the second derivatives of prior and majorized penalty."""
        found: list[Curvature | Information] = [] if self.prior is None else [self.prior]
        if self.penalty is not None:
            self.place(at)
            first = accumulate(map(len, self.models.values()), initial=0)
            for unknowns, start in zip(self.models.values(), first, strict=False):
                found += curvatures(self.penalty, unknowns, self._samples, start)
        return found

    @property
    def _tensors(self) -> list[Tensor]:
        """The trained tensors of all models."""
        return [tensor for unknowns in self.models.values() for tensor in unknowns.tensors.values()]

    def _collect(self, values: Sequence[Tensor], scalars: Tensor) -> Float[Tensor, "p"]:
        """The vector of what belongs to each of the trained tensors and to the free scalars."""
        each = iter(values)
        pieces = [unknowns.collect([next(each) for _ in unknowns.slices]) for unknowns in self.models.values()]
        return torch.cat([*pieces, scalars])

    def gradient(self, at: Evaluation) -> Float[Tensor, "p"]:
        """Half the gradient of the loss, J^T r for squares, by one backward pass for all components of a term."""
        self.place(at)
        totals = {name: at.vector.new_zeros(len(unknowns)) for name, unknowns in self.models.items()}
        scalars = torch.zeros_like(self.free(at.vector))
        for term, jets in zip(self.terms, at.jets, strict=True):
            adjoints, own = self._slopes(term, jets, at.vector)
            scalars += own
            for points, each in zip(term.point_sets, adjoints, strict=True):
                for name, adjoint in each.items():
                    totals[name] += self._pull(name, points, term.needs, adjoint)
        return ranks.total(torch.cat([*totals.values(), scalars])) + self.regularizer_gradient(at.vector)

    def slope(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """The gradient of the loss in one pass over all points at once."""
        self.write(vector)
        tensors = self._tensors
        scalars = self.free(vector).clone().requires_grad_()
        parameters = dict(zip(self.scalars, scalars, strict=True))
        with torch.enable_grad(), watching(tensors):
            losses = []
            for term in self.terms:
                jets = [
                    {name: jet(own.model, points, term.needs) for name, own in self.models.items()}
                    for points in term.point_sets
                ]
                losses.append(term_loss(term, self.outputs(term, jets, parameters)))
            losses += (own / ranks.number() for own in self._regularize().values())
            *found, own = gradients(torch.stack(losses).sum(), [*tensors, scalars])
        return ranks.total(self._collect(found, own))

    def _slopes(
        self, term: Residual, jets: list[dict[str, Jet]], vector: Tensor
    ) -> tuple[list[dict[str, Tensor]], Tensor]:
        """Derivatives of half a term of the loss with respect to the channels of each jet, and to the free scalars."""
        with torch.enable_grad():
            leaves = watched(jets)
            flat = [leaf.channels for each in leaves for leaf in each.values()]
            scalars = self.free(vector).clone().requires_grad_()
            outputs = self.outputs(term, leaves, dict(zip(self.scalars, scalars, strict=True)))
            *found, own = gradients(term_loss(term, outputs) / 2, [*flat, scalars])
        adjoints = iter(found)
        return [{name: next(adjoints) for name in each} for each in leaves], own

    def _pull(self, name: str, points: Tensor, needs: str, adjoint: Tensor) -> Float[Tensor, "p"]:
        """Derivatives with respect to the unknowns of a model, from those with respect to its jet."""
        unknowns = self.models[name]
        tensors = list(unknowns.tensors.values())
        total = points.new_zeros(len(unknowns))
        for part, own in zip(points.split(self.chunk), adjoint.split(self.chunk, -1), strict=True):
            with torch.enable_grad(), watching(tensors):
                channels = jet(unknowns.model, part, needs).channels
                total += unknowns.collect(gradients((channels * own).sum(), tensors))
        return total

    def jacobian(self, at: Evaluation) -> Iterator[FactoredBlock]:
        """The derivatives of the weighted rows, a chunk of the points of a term at a time."""
        self.place(at)
        for number, (term, jets) in enumerate(zip(self.terms, at.jets, strict=True)):
            adjoints = self._adjoints(term, jets, at.vector)
            scalars = self._scalar_columns(term, jets, at.vector)
            for start in range(0, term.size, self.chunk):
                part = slice(start, min(start + self.chunk, term.size))
                yield self._block(number, part, at.rows[number], adjoints, scalars[..., part])

    def _block(
        self, number: int, part: slice, rows: Tensor, adjoints: list[dict[str, Tensor]], scalars: Tensor
    ) -> FactoredBlock:
        term = self.terms[number]
        columns = []
        for name, unknowns in self.models.items():
            factors = [
                factorize(unknowns, points[part], term.needs, own[name][..., part])
                for points, own in zip(term.point_sets, adjoints, strict=True)
            ]
            columns.append((unknowns, factors))
        return FactoredBlock(number, part, rows[:, part], columns, scalars)

    def _adjoints(self, term: Residual, jets: list[dict[str, Jet]], vector: Tensor) -> list[dict[str, Tensor]]:
        """Derivatives of the rows with respect to the channels of each jet, (r, channels, m, n)."""
        with torch.enable_grad():
            leaves = watched(jets)
            flat = [leaf.channels for each in leaves for leaf in each.values()]
            outputs = self.outputs(term, leaves, self.parameters(vector))
            rows = measure(term, outputs.detach()).weigh(outputs)
            found = [gradients(row.sum(), flat) for row in rows]
        columns = iter(zip(*found, strict=True))
        return [{name: torch.stack(next(columns)) for name in each} for each in leaves]

    def _scalar_columns(self, term: Residual, jets: list[dict[str, Jet]], vector: Tensor) -> Tensor:
        """Derivatives of the rows with respect to the free scalars, (scalars, r, n)."""
        if not self.scalars:
            return vector.new_zeros(0, 1, term.size)
        values = self.parameters(vector)
        weigh = measure(term, self.outputs(term, jets, values)).weigh
        columns = []
        for name in self.scalars:
            tangents = {
                other: torch.ones_like(v) if other == name else torch.zeros_like(v) for other, v in values.items()
            }
            columns.append(weigh(jvp(lambda p: self.outputs(term, jets, p), (values,), (tangents,))[1]))
        return torch.stack(columns)


@contextmanager
def watching(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Let derivatives with respect to tensors be taken within the block."""
    for tensor in tensors:
        tensor.requires_grad_()
    try:
        yield
    finally:
        for tensor in tensors:
            tensor.requires_grad_(False)


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
