"""Edges that a problem does not need, found without training.

At a solution the residuals are nearly linear in the unknowns, r + J (c' - c), and exactly so in directions that leave
the function as it is. So what the loss becomes without some edges is a linear least-squares problem in the unknowns of
the others. Networks whose edges can do the work of each other lose one after the other this way, those named first
before the others, and are trained again only to confirm it.

References:
    Hassibi, Stork, Optimal brain surgeon, NeurIPS 1992 (single weights).
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import as_terms, evaluated, problem_loss
from kansci.solvers.uncertainty import samples
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.selection import select_edges
from kansci.surgery.symbolize import drop_splines

RIDGE = 1e-9  # of unknowns, relative to the largest column of J
SLACK = 2.0  # factor by which the linear loss may lie above what is allowed, as training will lower it


@dataclass(frozen=True)
class Elimination:
    """What `eliminate` returns.

    Attributes:
        model: the network without the edges, fitted.
        loss: of the problem.
        dropped: the edges it has lost.
    """

    model: MultKAN = field(repr=False)
    loss: float
    dropped: tuple[Edge, ...]


def eliminate(
    model: MultKAN,
    problem: Any,
    *,
    groups: Sequence[Sequence[Edge]] | None = None,
    allowed: float | None = None,
    steps: int = 50,
) -> Elimination:
    """Drop the spline edges without which the problem is solved as well.

    Args:
        model: fitted to the problem; left unchanged.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        groups: edges to try, each group as a whole, in this order; by default each spline edge, those that matter least
            first.
        allowed: loss up to which edges are dropped; by default as much more than the model's as so many unknowns would
            explain by chance (Schwarz).
        steps: of each fit.

    Returns:
        The smaller network.

    Raises:
        ConfigError: there is no such edge.

    Example:
        >>> from kansci import fit
        >>> x = 2 * torch.rand(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
        >>> model = fit(MultKAN([2, 1], grid=3), (x, x[:, :1].exp()), normalize=False, progress=False).model
        >>> eliminate(model, (x, x[:, :1].exp())).dropped
        (Edge(layer=0, target=0, source=1),)
    """
    terms = as_terms(problem)
    linear = _Linear.at(model, terms)
    tried = [tuple(group) for group in groups] if groups is not None else linear.least_first()
    for group in tried:
        select_edges(model, group)
    dropped: list[tuple[Edge, ...]] = []
    for group in tried:
        if set(group) <= {edge for own in dropped for edge in own}:
            continue
        if linear.loss_without([*dropped, group]) <= SLACK * linear.limit([*dropped, group], allowed):
            dropped.append(group)
    return _confirmed(model, terms, linear, dropped, allowed, steps)


def _confirmed(
    model: MultKAN,
    terms: list[Residual],
    linear: "_Linear",
    dropped: list[tuple[Edge, ...]],
    allowed: float | None,
    steps: int,
) -> Elimination:
    """As many of the groups, the first ones, as training confirms."""
    low, high = 0, len(dropped)
    best = Elimination(model, linear.loss, ())
    while low < high:
        count = high if best.dropped == () and high == len(dropped) else (low + high + 1) // 2
        smaller, loss = _fitted(linear.without(model, dropped[:count]), terms, steps)
        if loss <= linear.limit(dropped[:count], allowed):
            edges = tuple(dict.fromkeys(edge for group in dropped[:count] for edge in group))
            low, best = count, Elimination(smaller, loss, edges)
        else:
            high = count - 1
    return best


def _fitted(model: MultKAN, terms: list[Residual], steps: int) -> tuple[MultKAN, float]:
    """The model fitted, if there is anything left to fit, and its loss."""
    if not len(Unknowns(model)):
        return model, problem_loss(model, terms)
    found = solve(model, terms, steps=steps, progress=False)
    return found.model, found.loss


@dataclass(frozen=True)
class _Linear:
    """The residuals of a problem, linear in the unknowns around a solution.

    Attributes:
        rows: residuals.
        jacobian: their derivatives.
        vector: the unknowns.
        owner: the edge of each unknown as a number in `edges`, or -1.
        edges: all spline edges.
        samples: how many residuals the problem has.
    """

    rows: Float[Tensor, "n"]
    jacobian: Float[Tensor, "n p"]
    vector: Float[Tensor, "p"]
    owner: Int[Tensor, "p"]
    edges: list[Edge]
    samples: int

    @classmethod
    def at(cls, model: MultKAN, terms: list[Residual]) -> "_Linear":
        """That of a model, its rows made as few as its unknowns."""
        system, at = evaluated(model, terms)
        rows, jacobian, _ = samples(system, at)
        triangle = torch.linalg.qr(torch.cat([jacobian, rows[:, None]], 1), mode="r").R
        owner, edges = _owners(system.models[""], model)
        return cls(triangle[:, -1], triangle[:, :-1], at.vector, owner, edges, len(rows))

    @property
    def loss(self) -> float:
        """With all edges."""
        return float(self.rows.square().sum())

    def limit(self, groups: Sequence[Sequence[Edge]], allowed: float | None) -> float:
        """The loss that is allowed without some edges."""
        if allowed is not None:
            return allowed
        gone = int(self.of(groups).sum())
        floor = (torch.finfo(torch.float64).eps * float((self.jacobian @ self.vector).norm())) ** 2
        return max(self.loss, floor) * math.exp(min(gone * math.log(self.samples) / self.samples, 50.0))

    def of(self, groups: Sequence[Sequence[Edge]]) -> Tensor:
        """Which unknowns belong to edges."""
        numbers = [self.edges.index(edge) for group in groups for edge in group if edge in self.edges]
        return torch.isin(self.owner, torch.tensor(numbers, dtype=torch.long))

    def least_first(self) -> list[tuple[Edge, ...]]:
        """Each edge by itself, in the order of the loss without it."""
        return sorted(((edge,) for edge in self.edges), key=lambda group: self.loss_without([group]))

    def loss_without(self, groups: Sequence[Sequence[Edge]]) -> float:
        """The loss with the best values of all other unknowns."""
        return self._solved(self.of(groups))[1]

    def without(self, model: MultKAN, groups: Sequence[Sequence[Edge]]) -> MultKAN:
        """The model with these values, and without the edges."""
        gone = self.of(groups)
        vector = self.vector.clone()
        vector[~gone] += self._solved(gone)[0]
        vector[gone] = 0
        unknowns = Unknowns(model)
        unknowns.write(vector)
        changed = copy.deepcopy(model)
        changed.load_state_dict(unknowns.model.state_dict())
        return drop_splines(changed, [edge for group in groups for edge in group])

    def _solved(self, gone: Tensor) -> tuple[Float[Tensor, "q"], float]:
        """The change of the others that makes up best for what is gone, and the loss then."""
        target = self.rows - self.jacobian[:, gone] @ self.vector[gone]
        columns = self.jacobian[:, ~gone]
        ridge = RIDGE * float(columns.square().sum(0).amax().sqrt()) if columns.numel() else 1.0
        stacked = torch.cat([columns, ridge * torch.eye(columns.shape[1], dtype=columns.dtype)])
        right = torch.cat([-target, target.new_zeros(columns.shape[1])])
        change = torch.linalg.lstsq(stacked, right[:, None], driver="gels").solution[:, 0]
        return change, float((target + columns @ change).square().sum())


def _owners(unknowns: Unknowns, model: MultKAN) -> tuple[Int[Tensor, "p"], list[Edge]]:
    """The spline edge of each unknown, and all spline edges."""
    edges: list[Edge] = []
    parts = []
    for name, tensor in unknowns.tensors.items():
        number = int(name.split(".")[1]) if name.startswith("layers.") else -1
        layer = model.layers[number]
        if number < 0 or ".splines." not in name or layer.splines is None:
            parts.append(torch.full((tensor.numel(),), -1))
            continue
        table = torch.full(tensor.shape[:2], -1)
        for place in layer.splines.mask.nonzero().tolist():
            edge = Edge(number, *place)
            if edge not in edges:
                edges.append(edge)
            table[tuple(place)] = edges.index(edge)
        parts.append(table[..., *[None] * (tensor.ndim - 2)].expand(tensor.shape).flatten())
    if not edges:
        raise ConfigError("expected a model with spline edges, got none")
    return unknowns.select(torch.cat(parts).double()).long(), edges
