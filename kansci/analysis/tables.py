"""Tables of a function: the parts of some rows along one side, other parts of other rows along the other.

A table T_kl = f(a_k, b_l) holds the values of f for all pairs of observed parts a and b, the remaining inputs being
those of another row. f = g(a) + h(b) if and only if the double-centred table is zero, f = g(a) h(b) if and only if its
rank is 1, whatever signs and zeros it has. What remains is measured as root mean square, so that an error of f of
relative size e can feign no more than about e.

References:
    Hooker, Discovering additive structure in black box functions, KDD 2004.
    Liu, Owen, Estimating mean dimensionality of analysis of variance decompositions, JASA 101 (2006) 712.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kansci.analysis.surrogate import Surrogate
from kansci.analysis.verdict import judge

CELLS = 4096  # of all tables of one split
BUDGET = 2**21  # cells of all pairs
PAIR_SIDE, SPLIT_SIDE = 8, 16
SHARE = 0.2  # of cells that nothing was observed near, from which on inputs are called correlated
NEIGHBORS = 1000
REPLACED = 3  # times that a cell far off is replaced


def table_points(
    surrogate: Surrogate, first: Sequence[int], second: Sequence[int], side: int, count: int, seed: int = 0
) -> Float[Tensor, "count side side d"]:
    """The points of some tables: first inputs change along the rows of a table, second ones along its columns."""
    rows = surrogate.rows
    rest = rows[surrogate.draw(count, seed=seed)]
    points = rest[:, None, None].expand(count, side, side, surrogate.d).clone()
    a, b = (rows[surrogate.draw(count, side, seed=seed + number)] for number in (1, 2))
    points[..., list(first)] = a[:, :, None, list(first)]
    points[..., list(second)] = b[:, None, :, list(second)]
    return points


def leftover(table: Float[Tensor, "count m m"], kind: str) -> Float[Tensor, "some m m"]:
    """What is not g(a) + h(b), or not g(a) h(b), where f is finite; without bias from the size of the tables."""
    table = table[table.isfinite().all(2).all(1)]
    if kind == "additive":
        rest = _centred(table)
    else:
        u, s, vh = torch.linalg.svd(table, full_matrices=False)
        rest = (u[:, :, 1:] * s[:, None, 1:]) @ vh[:, 1:]
    return rest * (table.shape[1] / (table.shape[1] - 1))


def leftover_size(surrogate: Surrogate, table: Float[Tensor, "count m m"], kind: str) -> float:
    """The size of what is not separable, cells where hardly any row is like them left aside where f has an error.

    A cell that is far off spoils the whole table that it stands in, so it is left aside before, not after, the parts
    are taken off.
    """
    rest = leftover(table, kind)
    size = surrogate.size(rest)
    if not surrogate.given or judge(size, surrogate.noise) == "yes" or not len(rest):
        return size
    less = surrogate.size(leftover(_without_spikes(table, kind, surrogate.rare), kind))
    return size if judge(less, surrogate.noise) == "no" else min(less, size)


def _without_spikes(table: Float[Tensor, "count m m"], kind: str, share: float) -> Float[Tensor, "some m m"]:
    """The tables after their worst cells are replaced by what the others make of them, the very worst ones first."""
    table = table[table.isfinite().all(2).all(1)].clone()
    rest, m, left = leftover(table, kind), table.shape[1], int(share * table.numel())
    while left > 0:
        peaks, cells = rest.abs().flatten(1).max(1)
        order = peaks.argsort(descending=True)
        worst = order[peaks[order] >= peaks.max() / 2][:left]
        for _ in range(REPLACED):
            spikes = rest.flatten(1)[worst, cells[worst]] * m / (m - 1)
            table[worst, cells[worst] // m, cells[worst] % m] -= spikes
            rest[worst] = leftover(table[worst], kind)
        left -= len(worst)
    return table


def observed_size(table: Float[Tensor, "count m m"], seen: Bool[Tensor, "count m m"], kind: str) -> float:
    """The same from neighbouring 2 x 2 cells that were all observed; 0 if there are none."""
    corners = [table[:, k : k + table.shape[1] - 1, m : m + table.shape[1] - 1] for k in (0, 1) for m in (0, 1)]
    known = [seen[:, k : k + table.shape[1] - 1, m : m + table.shape[1] - 1] for k in (0, 1) for m in (0, 1)]
    use = known[0] & known[1] & known[2] & known[3]
    use &= torch.stack(corners).isfinite().all(0)
    if not use.any():
        return 0.0
    p, q, r, s = (corner[use] for corner in corners)
    if kind == "additive":
        return float(((p - q - r + s) / 2).square().mean().sqrt())
    return float(torch.linalg.svdvals(torch.stack([p, q, r, s], 1).reshape(-1, 2, 2))[:, 1].square().mean().sqrt())


def offset_of(table: Float[Tensor, "count m m"]) -> float:
    """The constant c with f - c = g(a) h(b), if there is one.

    With u v the first term of the double-centred table, the row means are <h> u and the column means <g> v, so that c
    is the mean of all less <g><h>. Tables count by the size of u v.
    """
    table = table[table.isfinite().all(2).all(1)]
    u, s, vh = torch.linalg.svd(_centred(table))
    u, s, v = u[:, :, 0], s[:, 0], vh[:, 0]
    h = (table.mean(2) * u).sum(1)
    g = (table.mean(1) * v).sum(1)
    found = table.mean((1, 2)) - g * h / s.clamp(min=torch.finfo(s.dtype).tiny)
    order = found.argsort()
    weight = s[order].square().cumsum(0)
    return float(found[order][(weight >= weight[-1] / 2).nonzero()[0, 0]])


def activities(surrogate: Surrogate) -> Float[Tensor, "d"]:
    """How much each input moves the values, as root mean square."""
    count = 64 if surrogate.d <= 64 else 32
    rest = surrogate.rows[surrogate.draw(count, seed=10)]
    other = surrogate.rows[surrogate.draw(count, PAIR_SIDE, seed=11)]
    points = rest[None, :, None].expand(surrogate.d, count, PAIR_SIDE, surrogate.d).clone()
    for column in range(surrogate.d):
        points[column, :, :, column] = other[..., column]
    return surrogate.values(points).var(-1).nanmean(-1).sqrt()


def near_rows(surrogate: Surrogate, points: Float[Tensor, "*shape d"]) -> Bool[Tensor, "*shape"]:
    """Whether points are as near to observed rows as rows are to each other."""
    rows = ((surrogate.rows - surrogate.center) / surrogate.unit)[:NEIGHBORS]
    own = torch.cdist(rows, rows).fill_diagonal_(float("inf")).amin(1)
    reach = float(own.quantile(0.99))
    flat = ((points - surrogate.center) / surrogate.unit).reshape(-1, surrogate.d)
    nearest = torch.cat([torch.cdist(part, rows).amin(1) for part in flat.split(CELLS)])
    return (nearest <= reach).reshape(points.shape[:-1])


def off_support(surrogate: Surrogate, groups: Sequence[Sequence[int]]) -> float:
    """The share of points far from all rows when each group of inputs takes its values from a row of its own."""
    numbers = surrogate.draw(len(groups), min(NEIGHBORS, len(surrogate.rows)), seed=20)
    points = surrogate.rows[numbers[0]].clone()
    for group, own in zip(groups, numbers, strict=True):
        points[:, list(group)] = surrogate.rows[own][:, list(group)]
    return float((~near_rows(surrogate, points)).to(points.dtype).mean())


def _centred(table: Float[Tensor, "count m m"]) -> Float[Tensor, "count m m"]:
    return table - table.mean(1, keepdim=True) - table.mean(2, keepdim=True) + table.mean((1, 2), keepdim=True)
