"""Formulas as graphs: the network that a formula is, before it has tensors.

Every part of a formula is a sum of terms c f(a x + b) and a constant, where f is a function of LIBRARY and x
an input, another sum, or a product of sums. A node is what takes part in further functions or products, and
stands in a column of the network; where it is needed later it is carried on by identity edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple


class Term(NamedTuple):
    """c f(a x + b), where x is the node of that number."""

    function: str
    source: int
    a: float = 1.0
    b: float = 0.0
    c: float = 1.0


@dataclass(frozen=True)
class Input:
    """A variable."""

    name: str

    @property
    def sources(self) -> tuple[int, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class Sum:
    """A sum of terms and a constant."""

    terms: tuple[Term, ...]
    bias: float = 0.0

    @property
    def sources(self) -> tuple[int, ...]:
        """Numbers of the nodes it is computed from."""
        return tuple(term.source for term in self.terms)

    def scaled(self, factor: float) -> "Sum":
        """The sum times a number."""
        return Sum(tuple(term._replace(c=factor * term.c) for term in self.terms), factor * self.bias)


@dataclass(frozen=True)
class Product:
    """A product of sums."""

    factors: tuple[Sum, ...]

    @property
    def sources(self) -> tuple[int, ...]:
        """Numbers of the nodes it is computed from."""
        return tuple(source for factor in self.factors for source in factor.sources)


Node = Input | Sum | Product


@dataclass(frozen=True)
class Graph:
    """Nodes, each after those it is computed from, and the numbers of those that are the outputs."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    @property
    def levels(self) -> list[int]:
        """The first column in which each node can stand; the inputs stand in column 0."""
        levels: list[int] = []
        for node in self.nodes:
            below = max((levels[source] for source in node.sources), default=0)
            levels.append(0 if isinstance(node, Input) else below + 1)
        return levels

    @property
    def columns(self) -> list[list[int]]:
        """Numbers of the nodes in each column of the network, sums before products; needed nodes stay on."""
        levels = self.levels
        depth = self._depth(levels)
        last = self._last_columns(levels, depth)
        columns = [[number for number, level in enumerate(levels) if level == 0]]
        for column in range(1, depth):
            nodes = [number for number, level in enumerate(levels) if level <= column <= last[number]]
            columns.append(sorted(nodes, key=partial(self._is_product, column, levels)))
        return [*columns, list(self.outputs)]

    def cells(self, column: int, nodes: Sequence[int]) -> list[Sum | Product]:
        """What the nodes of a column are in terms of those before; an identity where one is carried on."""
        levels = self.levels
        found = []
        for number in nodes:
            node = self.nodes[number]
            carried = isinstance(node, Input) or levels[number] < column
            found.append(Sum((Term("x", number),)) if carried else node)
        return found

    def _depth(self, levels: list[int]) -> int:
        """The column of the outputs; one later than need be if sums would come after products in it."""
        depth = max(levels[output] for output in self.outputs)
        kinds = [self._is_product(depth, levels, output) for output in self.outputs]
        return depth if kinds == sorted(kinds) else depth + 1

    def _is_product(self, column: int, levels: list[int], number: int) -> bool:
        """Whether a node is a multiplication node in a column, not carried on from an earlier one."""
        return isinstance(self.nodes[number], Product) and levels[number] == column

    def _last_columns(self, levels: list[int], depth: int) -> list[int]:
        """The last column before the outputs where each node is needed, -1 if nowhere."""
        last = [-1] * len(self.nodes)
        for output in self.outputs:
            last[output] = depth - 1
        for number in reversed(range(len(self.nodes))):
            if last[number] >= 0:
                for source in self.nodes[number].sources:
                    last[source] = max(last[source], levels[number] - 1)
        return last
