"""Whether a function falls into parts that share no inputs: f = g + h, f = g h, or f = F(g + h)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.analysis.surrogate import Surrogate, read_surrogate
from kansci.analysis.tables import (
    BUDGET,
    CELLS,
    PAIR_SIDE,
    SHARE,
    SPLIT_SIDE,
    activities,
    leftover_size,
    near_rows,
    observed_size,
    off_support,
    offset_of,
    table_points,
)
from kansci.analysis.verdict import EDGE, YES, Verdict, judge, margin
from kansci.analysis.webs import general_groups
from kansci.errors import ConfigError

Groups = tuple[tuple[int, ...], ...]
Kind = Literal["additive", "multiplicative", "generalized"]
KINDS = ("additive", "multiplicative", "generalized")
HESSIANS = 256  # rows whose second derivatives are averaged
FORMS = {"additive": "f = g + h", "multiplicative": "f = g h", "generalized": "f = F(g + h)"}


@dataclass(frozen=True)
class Separability:
    """Whether f falls into parts, and which.

    Attributes:
        verdict: "yes", "no", or "undecided" where what would decide is as small as the error of f.
        kind: "additive", "multiplicative" or "generalized".
        groups: the inputs of each part; if the verdict is not "yes", the parts that there would be, or all in one.
        size: root mean square of what is not separable across the groups, relative to the spread of f; for "no",
            across the best groups.
        noise: error of f relative to its spread, which is what `size` is compared with.
        margin: by how many times `size` is away from the edge of the decision.
        offset: if f is no product but f - offset is, that constant.
        unused: inputs that f does not depend on by more than its error; each is a group of its own.
        interactions: for each pair of inputs, the size of what is not separable between the two, (d, d).
        hessian: the other view: root mean squares of the mixed derivatives of f, or for products of
            (f f_ij - f_i f_j) / <f^4>^(1/2), in standardized units, (d, d).
        off_support: share of the points compared that are far from all rows.
        correlated: whether inputs depend on each other so much that this matters.
    """

    verdict: Verdict
    kind: Kind
    groups: Groups
    size: float
    noise: float
    margin: float
    offset: float | None
    unused: tuple[int, ...]
    interactions: Float[Tensor, "d d"]
    hessian: Float[Tensor, "d d"]
    off_support: float
    correlated: bool

    @property
    def hidden(self) -> dict[tuple[int, int], float]:
        """Pairs of inputs of different groups, and by how much they may interact: too little to be told from error."""
        place = {column: number for number, group in enumerate(self.groups) for column in group}
        return {
            (i, j): float(self.interactions[i, j])
            for i, j in combinations(range(len(place)), 2)
            if place[i] != place[j] and judge(float(self.interactions[i, j]), self.noise) != "no"
        }

    def __repr__(self) -> str:
        """Verdict, reasons, and how the two views agree."""
        parts = " | ".join(", ".join(f"x{column + 1}" for column in group) for group in self.groups)
        lines = [
            f"{self.kind}: {self.verdict}, {FORMS[self.kind]}, groups {parts}",
            f"  not separable: {self.size:.1e} of the spread of f; error of f {self.noise:.1e}; "
            f"margin {self.margin:.2g}",
            f"  {self._second_view()}",
        ]
        if self.offset is not None:
            lines.append(f"  f - ({self.offset:.6g}) is a product of parts")
        if self.unused:
            lines.append(f"  not used: {', '.join(f'x{column + 1}' for column in self.unused)}")
        if self.correlated:
            lines.append(f"  correlated inputs: {self.off_support:.0%} of the points compared are far from all rows")
        return "\n".join(lines)

    def _second_view(self) -> str:
        """The Hessian beside the tables."""
        scale = float(self.hessian.max())
        place = {column: number for number, group in enumerate(self.groups) for column in group}
        across = [float(self.hessian[i, j]) for i, j in combinations(range(len(place)), 2) if place[i] != place[j]]
        if not across:
            return "Hessian: one group, nothing to compare"
        text = f"Hessian: {max(across):.1e} across groups, {scale:.1e} at most"
        if self.verdict == "yes" and max(across) > 0.1 * scale > 0:
            return text + "; second derivatives magnify small errors, the tables decide"
        return text


def detect_separability(f: Any, x: Any, kind: str = "additive", *, error: float | None = None) -> Separability:
    r"""Test whether f falls into parts that share no inputs, and find them.

    .. math:: f = g(a) + h(b) \qquad f = g(a) \, h(b) \qquad f = F(g(a) + h(b))

    The verdict compares values of f where parts of observed rows are put together anew, in units of the error of f:
    a table f(a_k, b_l), double-centred, is zero, or the table has rank 1. A generalized sum is found from groups whose
    inputs act through one scalar. The Hessian is kept beside it as the other view.

    Args:
        f: a torch callable (n, d) -> (n,) or (n, 1), or a model.
        x: observed points (n, d), as a tensor or an array.
        kind: "additive", "multiplicative" (signs and zeros of f do no harm; a product plus a constant is "no" with
            `offset` set), or "generalized".
        error: root mean square error of f relative to the standard deviation of its values; for a trained model its
            validation error. By default f is taken to be exact.

    Returns:
        The verdict, the finest groups that it holds for, and the evidence.

    Raises:
        ConfigError: another kind, or an error that is negative.
        ShapeError: f has several outputs, or x is no matrix.
        DataError: x or f(x) is not finite.

    Example:
        >>> x = torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> found = detect_separability(lambda x: x[:, 0] * x[:, 2] + x[:, 1], x)
        >>> found.verdict, found.groups
        ('yes', ((0, 2), (1,)))
        >>> shifted = detect_separability(lambda x: x[:, 0] * x[:, 1] * x[:, 2] + 3, x, "multiplicative")
        >>> shifted.verdict, round(shifted.offset, 9)
        ('no', 3.0)

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.2 (the Hessian tests).
        Hooker, Discovering additive structure in black box functions, KDD 2004.
    """
    if kind not in KINDS:
        raise ConfigError(f"expected kind to be {', '.join(KINDS)}, got {kind!r}")
    return separability_of(read_surrogate(f, x, error), cast("Kind", kind))


def separability_of(surrogate: Surrogate, kind: Kind) -> Separability:
    """The same for a surrogate."""
    moved = activities(surrogate)
    unused = tuple(int(column) for column in range(surrogate.d) if float(moved[column]) <= YES * surrogate.noise)
    active = [column for column in range(surrogate.d) if column not in unused]
    share = off_support(surrogate, [[column] for column in active]) if len(active) > 1 else 0.0
    evidence = _Evidence(surrogate, active, share > SHARE)
    offset, interactions = None, torch.zeros(surrogate.d, surrogate.d, dtype=torch.float64)
    if kind == "generalized":
        groups, size, verdict = general_groups(surrogate, active)
        if evidence.doubtful and surrogate.given and verdict == "no":
            verdict = "undecided"  # paths leave the rows
    else:
        interactions = evidence.interactions(kind)
        groups, size, verdict = evidence.partition(interactions, kind)
        if kind == "multiplicative" and verdict == "no" and len(active) > 1:
            offset = evidence.offset()
    if unused and surrogate.d > 1:
        verdict = "yes" if len(groups) <= 1 else verdict
        size = 0.0 if len(groups) <= 1 else size
    return Separability(
        verdict=verdict,
        kind=kind,
        groups=tuple(sorted((*groups, *((column,) for column in unused)))),
        size=size,
        noise=surrogate.noise,
        margin=1.0 if verdict == "undecided" else margin(size, surrogate.noise),
        offset=offset,
        unused=unused,
        interactions=interactions,
        hessian=_hessian(surrogate, kind),
        off_support=share,
        correlated=share > SHARE,
    )


@dataclass(frozen=True)
class _Evidence:
    """Tables of pairs of inputs and of parts.

    Attributes:
        surrogate: the function.
        active: inputs that it depends on.
        doubtful: whether cells between the rows may be far from all of them.
    """

    surrogate: Surrogate
    active: Sequence[int]
    doubtful: bool

    def interactions(self, kind: str) -> Float[Tensor, "d d"]:
        """What is not separable between two inputs, for all pairs."""
        found = torch.zeros(self.surrogate.d, self.surrogate.d, dtype=torch.float64)
        for i, j in combinations(self.active, 2):
            found[i, j] = found[j, i] = self._size(self._pair(i, j), kind)
        return found

    def _pair(self, i: int, j: int) -> Float[Tensor, "count m m d"]:
        pairs = max(1, len(self.active) * (len(self.active) - 1) // 2)
        count = max(8, min(CELLS, BUDGET // pairs) // PAIR_SIDE**2)
        return table_points(self.surrogate, [i], [j], PAIR_SIDE, count)

    def _size(self, points: Float[Tensor, "count m m d"], kind: str) -> float:
        """What is not separable in tables; where f is not known between the rows, no more than rows themselves say."""
        table = self.surrogate.values(points)
        size, noise = leftover_size(self.surrogate, table, kind), self.surrogate.noise
        if self.doubtful and self.surrogate.given and judge(size, noise) == "no":
            seen = observed_size(table, near_rows(self.surrogate, points), kind)
            return size if judge(seen, noise) == "no" else EDGE * noise
        return size

    def partition(self, interactions: Float[Tensor, "d d"], kind: str) -> tuple[Groups, float, Verdict]:
        """The finest groups that tables of whole groups confirm.

        The weakest of the links that hold the inputs together is cut first; if what is left of f across the cut is more
        than its error, the two parts of the strongest link cut are one group.
        """
        noise = self.surrogate.noise
        links = _spanning_links(interactions, self.active)
        kept = [link for link in links if link[0] > YES * noise]
        open_links = [link for link in links if link[0] <= YES * noise]
        weakest = min((size for size, *_ in links), default=0.0)
        best: tuple[Groups, float, Verdict] = ((tuple(self.active),), weakest, "no")
        if not open_links:
            verdict = judge(weakest, noise) if links else "no"
            if verdict == "undecided":
                return _components(self.active, [k for k in links if judge(k[0], noise) == "no"]), weakest, verdict
            return best
        while open_links:
            groups = _components(self.active, kept)
            size, verdict = self._confirm(groups, kind)
            if verdict == "yes":
                return groups, size, verdict
            if best[2] != "undecided":
                best = (groups, size, "undecided") if verdict == "undecided" else ((tuple(self.active),), size, "no")
            kept.append(open_links.pop(0))
        return best

    def _confirm(self, groups: Groups, kind: str) -> tuple[float, Verdict]:
        """Each group against all others."""
        worst, verdict = 0.0, "yes"
        for group in groups[: len(groups) if len(groups) > 2 else 1]:
            rest = [column for column in self.active if column not in group]
            points = table_points(self.surrogate, group, rest, SPLIT_SIDE, CELLS // SPLIT_SIDE**2)
            size = self._size(points, kind)
            own = judge(size, self.surrogate.noise)
            worst = max(worst, size)
            verdict = own if verdict == "yes" or own == "no" else verdict
        return worst, verdict

    def offset(self) -> float | None:
        """The constant that must be subtracted to leave a product, if that works."""
        pairs = list(combinations(self.active, 2))
        tables = [self.surrogate.values(self._pair(*pair)) for pair in pairs]
        found = {offset_of(table) for table in tables if not self._is(table, "additive")}
        for value in sorted(found, key=lambda c: self._disagreement(c, tables))[:3]:
            shifted = replace(self, surrogate=_minus(self.surrogate, value))
            if shifted.partition(shifted.interactions("multiplicative"), "multiplicative")[2] == "yes":
                return value * self.surrogate.spread
        return None

    def _is(self, table: Tensor, kind: str) -> bool:
        return judge(leftover_size(self.surrogate, table, kind), self.surrogate.noise) == "yes"

    def _disagreement(self, offset: float, tables: Iterable[Tensor]) -> int:
        """The number of pairs that are no products after the subtraction."""
        return sum(not self._is(table - offset, "multiplicative") for table in tables)


def _minus(surrogate: Surrogate, value: float) -> Surrogate:
    function, shift = surrogate.function, value * surrogate.spread
    return replace(surrogate, function=lambda x: function(x) - shift)


def _spanning_links(sizes: Float[Tensor, "d d"], columns: Sequence[int]) -> list[tuple[float, int, int]]:
    """The strongest links that hold all columns together, strongest first (Kruskal)."""
    place = {column: column for column in columns}
    links = []
    for size, i, j in sorted(((float(sizes[i, j]), i, j) for i, j in combinations(columns, 2)), reverse=True):
        if place[i] != place[j]:
            links.append((size, i, j))
            old = place[j]
            place = {column: place[i] if own == old else own for column, own in place.items()}
    return links


def _components(columns: Sequence[int], links: Sequence[tuple[float, int, int]]) -> Groups:
    groups = [{column} for column in columns]
    for _, i, j in links:
        joined = [group for group in groups if i in group or j in group]
        groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    return tuple(sorted(tuple(sorted(group)) for group in groups))


def _hessian(surrogate: Surrogate, kind: str) -> Float[Tensor, "d d"]:
    """Root mean squares of standardized second derivatives, of f or, weighted by f^4, of log |f|."""
    value, gradient, hessian = surrogate.hessians(surrogate.rows[:HESSIANS])
    if kind == "multiplicative":
        hessian = value[:, None, None] * hessian - gradient[:, :, None] * gradient[:, None]
        hessian = hessian / value.pow(4).mean().sqrt()
    return hessian.square().mean(0).sqrt()
