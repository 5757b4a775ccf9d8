"""Formulas as trees: roots above, variables below, functions on the way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import sympy
from jaxtyping import Float

from kansci.errors import FormulaError
from kansci.plot.canvas import Canvas
from kansci.plot.nodes import DOT, RIM, draw_signs
from kansci.plot.style import GRAY, INK, PAPER, POINTS_PER_INCH, SPLINE, SYMBOLIC, function_label, text_length
from kansci.symbolic.graph import Graph, Input, Product, Sum

MOST_LEAVES = 100
WIDTH, NARROWEST, GAP = 1.6, 0.36, 0.14  # least widths of trees, of leaves' slots and between names in these [inch]
LETTERS = 10.0  # of names [points]
LABEL, STEM = 0.27, 0.44  # from a level up to the middle of the functions' names, and to the fan of lines [inch]
STEEPNESS, LOWEST, HIGHEST = 0.25, 0.3, 0.9  # rise of the lines to a parent, relative to their run
NAME = 0.12  # from a leaf down to its name [inch]
LINE = 0.8  # width of lines [points]


@dataclass(frozen=True)
class Branch:
    """A node of the tree and all below it.

    Attributes:
        sign: "+" for sums, "x" for products, else "".
        name: of a variable, else "".
        level: how high the node stands; 0 is the level of the inputs.
        functions: on the edges to the children, "" for identities.
        children: what the functions are applied to.
    """

    sign: str
    name: str
    level: float
    functions: tuple[str, ...] = ()
    children: tuple["Branch", ...] = ()

    @property
    def leaves(self) -> list["Branch"]:
        """The ends of the branch from left to right."""
        return list(chain.from_iterable(child.leaves for child in self.children)) if self.children else [self]

    @property
    def depth(self) -> int:
        """The largest number of edges on the way to a leaf."""
        return max((1 + child.depth for child in self.children), default=0)

    def hung(self, level: float) -> "Branch":
        """The same with every node one level below its parent."""
        return replace(self, level=level, children=tuple(child.hung(level - 1) for child in self.children))

    def ordered(self, names: Sequence[str]) -> "Branch":
        """The same with children in the order of the variables below them."""
        pairs = [
            (function, child.ordered(names)) for function, child in zip(self.functions, self.children, strict=True)
        ]
        pairs.sort(key=lambda pair: np.mean([names.index(leaf.name) for leaf in pair[1].leaves if leaf.name] or [0]))
        return replace(self, functions=tuple(f for f, _ in pairs), children=tuple(child for _, child in pairs))


def unfold(graph: Graph) -> list[Branch]:
    """The tree of each output; parts that several places share occur in each of them.

    Raises:
        FormulaError: the trees have more than 100 leaves.
    """
    levels, counts = graph.levels, _leaf_counts(graph)
    leaves = sum(counts[output] for output in graph.outputs)
    if leaves > MOST_LEAVES:
        raise FormulaError(f"expected a formula with up to {MOST_LEAVES} leaves as a tree, got {leaves}")
    order = [node.name for node in graph.nodes if isinstance(node, Input)]
    return [_branch(graph, levels, output).ordered(order) for output in graph.outputs]


def _leaf_counts(graph: Graph) -> list[int]:
    counts: list[int] = []
    for node in graph.nodes:
        counts.append(max(sum(counts[source] for source in node.sources), 1))
    return counts


def _branch(graph: Graph, levels: Sequence[int], number: int) -> Branch:
    node, level = graph.nodes[number], float(levels[number])
    match node:
        case Input(name):
            return Branch("", name, level)
        case Sum():
            return _sum(graph, levels, node, level)
        case Product(factors):
            sums = [_sum(graph, levels, factor, level - 0.5) for factor in factors]
            pairs = [(s.functions[0], s.children[0]) if len(s.children) == 1 else ("", s) for s in sums]
            functions, children = zip(*pairs, strict=True)
            return Branch("x", "", level, functions, children)


def _sum(graph: Graph, levels: Sequence[int], total: Sum, level: float) -> Branch:
    functions = tuple("" if term.function == "x" else function_label(term.function) for term in total.terms)
    children = tuple(_branch(graph, levels, term.source) for term in total.terms)
    return Branch("+" if len(children) > 1 else "", "", level, functions, children)


class Spot(NamedTuple):
    """Where a branch stands.

    Attributes:
        branch: what stands there.
        x: of the node [inch].
        y: of the node [inch].
        children: where the children stand.
    """

    branch: Branch
    x: float
    y: float
    children: tuple["Spot", ...]

    @property
    def all(self) -> list["Spot"]:
        """This spot and all below it."""
        return [self, *chain.from_iterable(child.all for child in self.children)]

    def raised(self, factor: float) -> "Spot":
        """The same with heights multiplied by a number."""
        return self._replace(y=factor * self.y, children=tuple(child.raised(factor) for child in self.children))


@dataclass(frozen=True)
class TreeLayout:
    """Places of everything in the picture of trees.

    Attributes:
        spots: those of all nodes.
        width: from the left to the right border.
        step: from one level to the next.
    """

    spots: tuple[Spot, ...]
    width: float
    step: float

    @property
    def height(self) -> float:
        """From the level of the inputs to the roots."""
        return max(spot.y for spot in self.spots)

    def stretched(self, height: float) -> "TreeLayout":
        """The same, as high as this if it is lower."""
        factor = max(1.0, height / self.height) if self.height else 1.0
        spots = tuple(spot.raised(factor) for spot in self.spots)
        return TreeLayout(spots, self.width, factor * self.step)


def place_tree(roots: Sequence[Branch]) -> TreeLayout:
    """Places for trees side by side.

    Each leaf has a slot of its own, and each parent stands above the middle of its children.
    """
    leaves = sum(len(root.leaves) for root in roots)
    slot = max(NARROWEST, GAP + max(map(_widest_name, roots)), WIDTH / leaves)
    slots = iter(np.arange(MOST_LEAVES) + 0.5)
    flat = [_place(root, slots, slot) for root in roots]
    runs = [abs(child.x - spot.x) for root in flat for spot in root.all for child in spot.children]
    step = STEM + float(np.clip(STEEPNESS * max(runs, default=0.0), LOWEST, HIGHEST))
    levels = sorted({0.0, *(spot.branch.level for root in flat for spot in root.all)})
    heights = {level: step * number for number, level in enumerate(levels)}
    spots = [spot for root in flat for spot in _lifted(root, heights).all]
    return TreeLayout(tuple(spots), slot * leaves, step)


def leaf_name(name: str) -> str:
    """The name of a variable as mathematics."""
    return f"${sympy.latex(sympy.Symbol(name))}$"


def _widest_name(branch: Branch) -> float:
    texts = [*branch.functions, leaf_name(branch.name) if branch.name else ""]
    own = max(map(text_length, texts)) * LETTERS / POINTS_PER_INCH
    return max([own, *map(_widest_name, branch.children)])


def _place(branch: Branch, slots: Iterator[float], slot: float) -> Spot:
    children = tuple(_place(child, slots, slot) for child in branch.children)
    x = (children[0].x + children[-1].x) / 2 if children else slot * next(slots)
    return Spot(branch, x, 0.0, children)


def _lifted(spot: Spot, heights: Mapping[float, float]) -> Spot:
    children = tuple(_lifted(child, heights) for child in spot.children)
    return spot._replace(y=heights[spot.branch.level], children=children)


def draw_tree(canvas: Canvas, layout: TreeLayout, corner: tuple[float, float]) -> None:
    """Draw lines, then nodes, then names; where variables are further away than one level, the line is blue."""
    place = np.array(corner)
    for parent in layout.spots:
        for function, child in zip(parent.branch.functions, parent.children, strict=True):
            _draw_edge(canvas, place, parent, child, function, parent.y - layout.step)
    for sign, turn in (("+", 0.0), ("x", np.pi / 4)):
        signed = [(spot.x, spot.y) for spot in layout.spots if spot.branch.sign == sign]
        if signed:
            draw_signs(canvas, np.add(place, signed), RIM, turn=turn, gid=_GIDS[sign])
    plain = [spot for spot in layout.spots if not spot.branch.sign]
    if plain:
        colors = [INK if spot.branch.name or spot.children else GRAY for spot in plain]
        canvas.circles(np.add(place, [(spot.x, spot.y) for spot in plain]), DOT, colors, colors, "tree-nodes")
    for spot in plain:
        if spot.branch.name:
            x, y = np.add(place, (spot.x, spot.y))
            canvas.text(x, y - NAME, leaf_name(spot.branch.name), LETTERS, ha="center", va="top")


_GIDS = {"+": "tree-sums", "x": "tree-products"}


def _draw_edge(
    canvas: Canvas, place: Float[np.ndarray, "2"], parent: Spot, child: Spot, function: str, base: float
) -> None:
    """Up from the child, through the name of the function, and across to the parent."""
    bend = [(child.x, base), (child.x, base + STEM), (parent.x, parent.y)]
    canvas.lines(np.add(place, [bend]), LINE)
    if child.y < base:
        color, gid = (SPLINE, "moved") if child.branch.name else (INK, None)
        canvas.lines(np.add(place, [[(child.x, child.y), (child.x, base)]]), LINE, color, gid)
    if function:
        x, y = np.add(place, (child.x, base + LABEL))
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8 * canvas.zoom}
        canvas.text(x, y, function, LETTERS, color=SYMBOLIC, ha="center", va="center", bbox=box)
