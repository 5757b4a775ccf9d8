"""Slopes of a generalized sum f = F(g(a) + h(b)): f_a / f_b = g'(a) / h'(b), whatever F is.

Where F turns around, both slopes pass zero together and their ratio is known by its neighbours only. So ratios are
never taken: f_t w(s) = f_s u(t), along curves t and s through both groups, is an equation for u and w in which each
point counts by the squares of its slopes. For F(p(a) q(b)) the same with p / p' in place of 1 / u is finite where p
has zeros, and p follows from it as a polynomial along paths, on both sides of each zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kansci.analysis.surrogate import Surrogate

NODES = 24  # along each curve
PLACES = (1 - torch.cos(torch.pi * (torch.arange(NODES, dtype=torch.float64) + 0.5) / NODES)) / 2
LEGS, DEGREE = 12, 8  # points of the paths along which slopes are added up, and of polynomials
TINY = 1e-300

Terms = tuple[Float[Tensor, "m"], Float[Tensor, "k"]]


@dataclass(frozen=True)
class Factor:
    """One factor of F(p q) at some rows.

    Attributes:
        values: up to a constant.
        sure: whether the factor has no zero on the way to a row; beyond a flat zero its size is hardly known.
        error: share of the slopes that it does not agree with.
    """

    values: Float[Tensor, "m"]
    sure: Bool[Tensor, "m"]
    error: float


@dataclass(frozen=True)
class Slopes:
    """A web's slopes along one curve through the range of each group.

    Attributes:
        surrogate: the function.
        groups: the inputs of a and of b.
        curves: (nodes, d) for each group, the other inputs being at their medians.
        slopes: (f_t, f_s), the rows being places along the first curve, the columns along the second one.
    """

    surrogate: Surrogate
    groups: tuple[list[int], list[int]]
    curves: tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]
    slopes: tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]

    @classmethod
    def of(cls, surrogate: Surrogate, a: Sequence[int], b: Sequence[int]) -> "Slopes":
        """By gradients."""
        groups = list(a), list(b)
        ends = [_ends(surrogate, group) for group in groups]
        first, second = (start + PLACES.to(start)[:, None] * (end - start) for start, end in ends)
        gradients = _gradients(surrogate, _crossed(groups[1], first[:, None], second))
        by_t, by_s = (gradients @ (end - start).to(gradients) for start, end in ends)
        return cls(surrogate, groups, (first, second), (by_t, by_s))

    @cached_property
    def size(self) -> float:
        """Root mean square of the derivative of f along the level lines of g + h, relative to the spread."""
        by_t, by_s = self.slopes
        u, w = _balanced(by_t, by_s)
        length = (u[:, None].square() + w.square()).sqrt().clamp(min=TINY)
        return float(((by_t * w - by_s * u[:, None]) / length).square().mean().sqrt())

    def terms(self, a: Float[Tensor, "m d"], b: Float[Tensor, "k d"]) -> Terms:
        """The terms g(a) and h(b) of some rows, up to constants: slopes added up along straight paths."""
        u, w = _balanced(*self.slopes)
        return self._term(0, a, w), self._term(1, b, u)

    def factors(self, a: Float[Tensor, "m d"], b: Float[Tensor, "k d"]) -> tuple[Factor, Factor] | None:
        """The factors p(a) and q(b) of some rows, up to powers and constants; None where neither has a zero."""
        by_t, by_s = self.slopes
        by_p, by_q = _balanced(by_s, by_t)  # p / p' along the first curve, q / q' along the second one
        scale = by_t.norm() / (by_s * by_q).norm().clamp(min=TINY)
        by_p, by_q = scale * by_p, scale * by_q
        sides = _pencil(by_t, by_s * by_q), _pencil(by_s.mT, by_t.mT * by_p)
        paths = self._pencils(0, a, by_q, sides[0]), self._pencils(1, b, by_p, sides[1])
        rates = [rate for side in sides for rate in _rates(*side)]
        found = [(_solved(*paths[0], rate), _solved(*paths[1], rate)) for rate in rates]
        return min(found, key=lambda pair: pair[0].error + pair[1].error, default=None)

    def _term(self, which: int, rows: Float[Tensor, "m d"], other: Float[Tensor, "n"]) -> Float[Tensor, "m"]:
        """At each point of a path, the slope for which f_t w(s) = f_s u(t) holds best along the other curve."""
        _, weights, ahead, aside = self._paths(which, rows, NODES // 2)
        slopes = (ahead * aside * other).sum(-1) / aside.square().sum(-1).clamp(min=TINY)
        return slopes @ weights

    def _pencils(self, which: int, rows: Tensor, other: Tensor, curve: Terms) -> tuple[Tensor, Tensor, Tensor]:
        """Paths from where p is far from its zeros: nodes, c and d of c p' = d p."""
        nodes, _, ahead, aside = self._paths(which, rows, int(curve[0].abs().argmax()))
        return nodes, *_pencil(ahead, aside * other)

    def _paths(self, which: int, rows: Float[Tensor, "m d"], node: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Straight paths from a node of a curve to rows: Gauss nodes and weights, slopes along paths and across."""
        own, others = self.groups[which], self.groups[1 - which]
        start, curve = self.curves[which][node], self.curves[1 - which]
        ends = start.expand(len(rows), -1).clone()
        ends[:, own] = rows[:, own]
        nodes, weights = (torch.from_numpy(each) / 2 for each in np.polynomial.legendre.leggauss(LEGS))
        nodes = nodes + 0.5
        path = start + nodes.to(start)[:, None, None] * (ends - start)
        gradients = _gradients(self.surrogate, _crossed(others, path[:, :, None], curve)).movedim(0, 1)
        ahead = gradients @ (ends - start).to(gradients)[:, None, :, None]
        aside = gradients @ ((curve[-1] - curve[0]) / (PLACES[-1] - PLACES[0])).to(gradients)
        return nodes, weights, ahead[..., 0], aside


def _balanced(first: Float[Tensor, "n n"], second: Float[Tensor, "n n"]) -> Terms:
    """The u and w of first w(s) = second u(t).

    With rows of first * second scaled by the norms of second, columns by those of first, its first singular vectors.
    """
    rows, columns = second.norm(dim=1).clamp(min=TINY), first.norm(dim=0).clamp(min=TINY)
    u, _, w = torch.linalg.svd(first * second / rows[:, None] / columns)
    return u[:, 0] / rows, w[0] / columns


def _pencil(first: Float[Tensor, "*shape n"], second: Float[Tensor, "*shape n"]) -> tuple[Tensor, Tensor]:
    """The c and d for which c first = d second holds best, times the size of both."""
    pair = torch.stack([first, -second], -1)
    sizes, axes = torch.linalg.eigh(pair.mT @ pair)
    found = axes[..., 0] * sizes[..., 1:].clamp(min=0).sqrt()
    return found[..., 0], found[..., 1]


def _rates(c: Float[Tensor, "n"], d: Float[Tensor, "n"]) -> list[float]:
    """The slopes of c / d where it passes zero: with one of them as rate, c p' = rate d p has a solution there."""
    ratio = c / torch.where(d == 0, TINY, d)
    zero = (ratio[1:] * ratio[:-1] < 0) & (c[1:].abs() + c[:-1].abs() < d[1:].abs() + d[:-1].abs())
    return (ratio.diff() / PLACES.diff())[zero].tolist()


def _solved(nodes: Float[Tensor, "n"], c: Float[Tensor, "m n"], d: Float[Tensor, "m n"], rate: float) -> Factor:
    """By the polynomials that solve c p' = rate d p best, being 1 at the start."""
    powers = torch.arange(1, DEGREE + 1)
    slopes, values = powers * nodes[:, None] ** (powers - 1), nodes[:, None] ** powers
    system = c[..., None] * slopes - rate * d[..., None] * values
    weights = (torch.linalg.pinv(system, rtol=1e-9) @ (rate * d)[..., None])[..., 0]
    along = 1 + weights @ values.mT
    left, right = c * (weights @ slopes.mT), rate * d * along
    error = float((left - right).norm() / (left.norm() + right.norm()).clamp(min=TINY))
    ends = 1 + weights.sum(-1)
    return Factor(ends, (along > 0).all(-1) & (ends > 0), error)


def _crossed(columns: Sequence[int], first: Float[Tensor, "*shape d"], second: Float[Tensor, "n d"]) -> Tensor:
    """All pairs of points of which the second ones give some columns."""
    points = first.expand(*first.shape[:-2], len(second), -1).clone()
    points[..., list(columns)] = second[:, list(columns)]
    return points


def _gradients(surrogate: Surrogate, points: Float[Tensor, "*shape d"]) -> Float[Tensor, "*shape d"]:
    """By raw inputs, relative to the spread; zero where they are not known."""
    found = (surrogate.gradients(points) / surrogate.unit).to(torch.float64)
    return torch.where(found.isfinite(), found, 0.0)


def _ends(surrogate: Surrogate, group: Sequence[int]) -> tuple[Float[Tensor, "d"], Float[Tensor, "d"]]:
    """The two rows of a group between which f changes most, the other inputs being at their medians."""
    points = surrogate.rows.median(0).values.expand_as(surrogate.rows).clone()
    points[:, list(group)] = surrogate.rows[:, list(group)]
    values = torch.nan_to_num(surrogate.values(points))
    if len(group) == 1:
        values = surrogate.rows[:, group[0]]
    return points[int(values.argmin())], points[int(values.argmax())]
