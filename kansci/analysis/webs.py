"""Generalized sums f = F(g(a) + h(b)): which groups of inputs there are, and whether F exists.

If three or more groups of inputs are such that any two of them together act through one scalar, f is F of a sum with
one term for each (Debreu, Gorman). So groups that act through one scalar are joined until all pairs do, or until two
groups are left. For two, level lines of f over g and h must be a web of parallels up to stretching: some G makes
G(f) additive, or the ratio of derivatives along a and b is u(a) / w(b).

References:
    Debreu, Topological methods in cardinal utility theory, 1960. Gorman, The structure of utility functions,
    Review of Economic Studies 35 (1968) 367.
    Breiman, Friedman, Estimating optimal transformations (ACE), JASA 80 (1985) 580.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.analysis.drift import Scene, drift
from kansci.analysis.surrogate import Surrogate
from kansci.analysis.tables import table_points
from kansci.analysis.verdict import Verdict, judge
from kansci.splines import evaluate_basis, extend_grid

Groups = tuple[tuple[int, ...], ...]
SIDE, TABLES = 32, 4  # of the tables that G is fitted to
NODES = 24  # along each curve
KNOTS = 12  # intervals of G
MOST = 120  # groups of three or more that are tried


def general_groups(surrogate: Surrogate, active: Sequence[int]) -> tuple[Groups, float, Verdict]:
    """The finest groups of a generalized sum, the size of what contradicts them, and the verdict."""
    whole = (tuple(active),)
    if len(active) < 2:
        return whole, 0.0, "no"
    joints = Joints(surrogate)
    blocks = joints.joined([(column,) for column in active])
    if len(blocks) == 1:
        return whole, joints.nearest, judge(joints.nearest, surrogate.noise)
    if len(blocks) > 2:
        sizes = [joints.size(a + b) for a, b in combinations(blocks, 2)]
        verdict = judge(max(sizes), surrogate.noise)
        if verdict == "yes":
            return blocks, max(sizes), verdict
        verdict = "undecided" if judge(joints.nearest, surrogate.noise) == "undecided" else "no"
        return (blocks if verdict == "undecided" else whole), joints.nearest, verdict
    size = web_size(surrogate, *blocks)
    verdict = judge(size, surrogate.noise)
    return (whole if verdict == "no" else blocks), size, verdict


class Joints:
    """Which groups of inputs act through one scalar, each asked once.

    Attributes:
        surrogate: the function.
        nearest: the least drift of a group that does not act through one scalar.
    """

    def __init__(self, surrogate: Surrogate):
        self.surrogate = surrogate
        self.nearest = float("inf")
        self._sizes: dict[frozenset[int], float] = {}

    def size(self, group: Sequence[int]) -> float:
        """The drift of a group."""
        key = frozenset(group)
        if key not in self._sizes:
            found = drift(Scene.of(self.surrogate, sorted(group)))
            self._sizes[key] = found
            if judge(found, self.surrogate.noise) != "yes":
                self.nearest = min(self.nearest, found)
        return self._sizes[key]

    def acts_as_one(self, group: Sequence[int]) -> bool:
        """Whether a group acts through one scalar."""
        return judge(self.size(group), self.surrogate.noise) == "yes"

    def joined(self, blocks: Sequence[tuple[int, ...]]) -> Groups:
        """Blocks that act as one are joined until all pairs do, only two are left, or none does."""
        blocks = sorted(blocks)
        while len(blocks) > 2:
            pairs = [pair for pair in combinations(blocks, 2) if self.acts_as_one(sum(pair, ()))]
            if len(pairs) == len(blocks) * (len(blocks) - 1) // 2:
                break
            joint = self._cluster(blocks, pairs) or self._larger(blocks)
            if joint is None:
                break
            blocks = sorted([*(b for b in blocks if b not in joint), tuple(sorted(sum(joint, ())))])
        return tuple(blocks)

    def _cluster(self, blocks: Sequence[tuple[int, ...]], pairs: Sequence[tuple]) -> tuple | None:
        """Blocks that pairs hold together, not all; of several such, the one with the least drift."""
        clusters = []
        for pair in pairs:
            cluster, grown = set(pair), True
            while grown:
                more = {block for other in pairs if cluster & set(other) for block in other} - cluster
                cluster, grown = cluster | more, bool(more)
            if len(cluster) < len(blocks) and self.acts_as_one(sum(cluster, ())):
                clusters.append(tuple(cluster))
            clusters.append(pair)
        proper = [cluster for cluster in clusters if len(cluster) < len(blocks)]
        return max(proper, key=lambda c: (len(c), -self.size(sum(c, ()))), default=None)

    def _larger(self, blocks: Sequence[tuple[int, ...]]) -> tuple | None:
        """Three or more blocks that act as one."""
        tried = 0
        for count in range(3, len(blocks)):
            for joint in combinations(blocks, count):
                tried += 1
                if tried > MOST:
                    return None
                if self.acts_as_one(sum(joint, ())):
                    return joint
        return None


def web_size(surrogate: Surrogate, a: Sequence[int], b: Sequence[int]) -> float:
    """What contradicts f = F(g(a) + h(b)) relative to the spread, where a and b act through one scalar each."""
    size = _transformed_size(surrogate, a, b)
    if judge(size, surrogate.noise) == "yes":
        return size
    return min(size, _slope_size(surrogate, a, b))


def _transformed_size(surrogate: Surrogate, a: Sequence[int], b: Sequence[int]) -> float:
    """What is not additive in G(f), for the best G, in units of f."""
    table = surrogate.values(table_points(surrogate, a, b, SIDE, TABLES))
    table = table[table.isfinite().all(2).all(1)].to(torch.float64)
    if not len(table):
        return float("nan")
    values, slopes = _spline(table.flatten())
    grid = values.T.reshape(-1, *table.shape)
    centred = grid - grid.mean(2, keepdim=True) - grid.mean(3, keepdim=True) + grid.mean((2, 3), keepdim=True)
    total = (grid - grid.mean((1, 2, 3), keepdim=True)).flatten(1)
    inner = centred.flatten(1)
    scale, axes = torch.linalg.eigh(total @ total.T)
    keep = scale > 1e-10 * scale[-1]
    white = axes[:, keep] / scale[keep].sqrt()
    ratio, best = torch.linalg.eigh(white.T @ (inner @ inner.T) @ white)
    g = white @ best[:, 0]
    left = (g @ inner).square().mean().sqrt() * SIDE / (SIDE - 1)
    return float(left / (slopes @ g).square().mean().sqrt())


def _spline(y: Float[Tensor, "n"]) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]:
    """Cubic splines with knots at quantiles of y: their values and slopes."""
    shares = torch.linspace(0, 1, KNOTS + 1, dtype=y.dtype, device=y.device)
    grid = y.sort().values[(shares * (len(y) - 1)).long()].unique()
    if len(grid) < 2:
        return torch.ones_like(y)[:, None], torch.zeros_like(y)[:, None]
    first, alive = evaluate_basis(y[None], extend_grid(grid[None], 3), 3, 2, uniform=False)
    places = first[0][:, None] + torch.arange(4, device=y.device)
    blank = y.new_zeros(len(y), len(grid) + 2)
    values, slopes = (blank.scatter(1, places, alive[0, order].T) for order in (0, 1))
    return values, slopes


def _slope_size(surrogate: Surrogate, a: Sequence[int], b: Sequence[int]) -> float:
    """The derivative of f along the best web's level lines, for curves through the range of a and of b.

    Along t and s, f_t w(s) = f_s u(t). With rows and columns of the table f_t f_s scaled by the norms of f_s and f_t,
    its first pair of singular vectors is u and w.
    """
    nodes = (1 - torch.cos(torch.pi * (torch.arange(NODES, dtype=torch.float64) + 0.5) / NODES)) / 2
    starts, ends = zip(*(_curve(surrogate, group) for group in (a, b)), strict=True)
    middle = surrogate.rows.median(0).values
    points = middle.expand(NODES, NODES, surrogate.d).clone()
    t = nodes.to(middle)
    slopes = []
    points[..., list(a)] = (starts[0] + t[:, None] * (ends[0] - starts[0]))[:, None]
    points[..., list(b)] = (starts[1] + t[:, None] * (ends[1] - starts[1]))[None]
    gradients = torch.nan_to_num(surrogate.gradients(points) / surrogate.unit).to(torch.float64)
    for group, start, end in zip((a, b), starts, ends, strict=True):
        slopes.append(gradients[..., list(group)] @ (end - start).to(torch.float64))
    by_t, by_s = slopes
    tiny = torch.finfo(torch.float64).tiny
    rows, columns = by_s.norm(dim=1).clamp(min=tiny), by_t.norm(dim=0).clamp(min=tiny)
    u, _, w = torch.linalg.svd(by_t * by_s / rows[:, None] / columns)
    along_t, along_s = w[0] * rows[:, None], u[:, :1] * columns
    length = (along_t.square() + along_s.square()).sqrt().clamp(min=tiny)
    return float(((by_t * along_t - by_s * along_s) / length).square().mean().sqrt())


def _curve(surrogate: Surrogate, group: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The two rows of a group between which f changes most, the others being at their medians."""
    points = surrogate.rows.median(0).values.expand_as(surrogate.rows).clone()
    points[:, list(group)] = surrogate.rows[:, list(group)]
    values = torch.nan_to_num(surrogate.values(points))
    if len(group) == 1:
        values = surrogate.rows[:, group[0]]
    return surrogate.rows[int(values.argmin()), list(group)], surrogate.rows[int(values.argmax()), list(group)]
