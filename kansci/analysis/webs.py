"""Generalized sums f = F(g(a) + h(b)): which groups of inputs there are, and whether F exists.

If three or more groups of inputs are such that any two of them together act through one scalar, f is F of a sum with
one term for each (Debreu, Gorman). So groups that act through one scalar are joined until all pairs do, or until two
groups are left. For two, see `links`.

References:
    Debreu, Topological methods in cardinal utility theory, 1960. Gorman, The structure of utility functions,
    Review of Economic Studies 35 (1968) 367.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, islice

from kansci.analysis.drift import group_drift
from kansci.analysis.links import web_size
from kansci.analysis.surrogate import Surrogate
from kansci.analysis.verdict import Verdict, judge

Groups = tuple[tuple[int, ...], ...]
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

    def __init__(self, surrogate: Surrogate) -> None:
        self.surrogate = surrogate
        self.nearest = float("inf")
        self._sizes: dict[frozenset[int], float] = {}

    def size(self, group: Sequence[int]) -> float:
        """The drift of a group."""
        key = frozenset(group)
        if key not in self._sizes:
            found = group_drift(self.surrogate, sorted(group))
            self._sizes[key] = found
            if judge(found, self.surrogate.noise) != "yes":
                self.nearest = min(self.nearest, found)
        return self._sizes[key]

    def acts_as_one(self, group: Sequence[int]) -> bool:
        """Whether a group acts through one scalar."""
        return judge(self.size(group), self.surrogate.noise) == "yes"

    def joined(self, blocks: Sequence[tuple[int, ...]]) -> Groups:
        """Blocks that act as one are joined until all pairs do, only two are left, or none does; then the finest."""
        blocks = sorted(blocks)
        while len(blocks) > 2:
            pairs = [pair for pair in combinations(blocks, 2) if self.acts_as_one(sum(pair, ()))]
            if len(pairs) == len(blocks) * (len(blocks) - 1) // 2:
                break
            joint = self._cluster(blocks, pairs) or self._larger(blocks)
            if joint is None:
                break
            blocks = sorted([*(b for b in blocks if b not in joint), tuple(sorted(sum(joint, ())))])
        return self._finest(blocks)

    def _finest(self, blocks: Sequence[tuple[int, ...]]) -> Groups:
        """Blocks that were joined needlessly are cut: terms of a sum act as one too, in whatever order they are joined.

        If of a block cut in two and the other blocks all pairs act as one, each of these is a term of its own.
        """
        for block in blocks if len(blocks) > 1 else ():
            others = [other for other in blocks if other != block]
            for cut in islice(_cuts(block), MOST):
                if all(self.acts_as_one(a + b) for a, b in combinations([*cut, *others], 2)):
                    return self._finest(sorted([*cut, *others]))
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


def _cuts(block: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ways to cut a block in two."""
    first, *rest = block
    for count in range(len(rest)):
        for own in combinations(rest, count):
            yield (first, *own), tuple(column for column in rest if column not in own)
