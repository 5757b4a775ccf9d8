"""Networks that are built of modules: of a tree that says which inputs act together, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from kansci.config import Width
from kansci.errors import ConfigError
from kansci.nn.arguments import check_device, read_domain
from kansci.nn.multkan import MultKAN
from kansci.surgery.symbolize import replace_symbols

KINDS = ("additive", "multiplicative", "generalized", "function")
ENDS = '"additive", "multiplicative", "generalized" or "function"'


def modular(
    tree: Any,
    *,
    n_inputs: int | None = None,
    hidden: int | None = None,
    grid: int = 5,
    k: int = 3,
    domain: Sequence[Any] = (-1.0, 1.0),
    base: str = "silu",
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> MultKAN:
    """A network where only those inputs meet that a tree puts together.

    A group [a, b, ...] is a function of its parts, which are numbers of inputs or groups: [[0, 1], [2, 3]] is a
    function of two values, a function of x1 and x2 and one of x3 and x4. A group may begin with its kind: "additive"
    for a sum of functions of the parts, "multiplicative" for a product of them, "generalized" for a function of a sum
    of them, "function" for anything. Values that are needed later pass by fixed edges x.

    Args:
        tree: nested lists, or the tree of `structure_tree`, or one of its parts.
        n_inputs: number of inputs; by default one more than the largest in the lists, or all that the tree names.
        hidden: nodes of a group of kind "function", by default two for each part and one more.
        grid: intervals of each edge.
        k: degree of the splines.
        domain: one (low, high) for all inputs or one pair for each, raw units.
        base: name of the base function.
        seed: of the initial coefficients.
        dtype: float64 or float32.
        device: where the tensors live.

    Returns:
        A network with one output, to be fitted.

    Raises:
        ConfigError: the tree has no such form, and where.

    Example:
        >>> model = modular(["additive", [0, 1], ["multiplicative", 2, 3]], hidden=2)
        >>> model
        MultKAN([4, [2, [2]], 1], grid=5, k=3, 171 parameters, torch.float64)
        >>> model.layers[0].splines.mask.long().tolist()
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.2.
    """
    if hidden is not None and hidden < 1:
        raise ConfigError(f"expected hidden to be 1 or more, got {hidden}")
    block = _read(getattr(tree, "root", tree), "the tree")
    largest = max(block.inputs())
    size = len(tree.names) if n_inputs is None and hasattr(tree, "names") else n_inputs
    n_inputs = largest + 1 if size is None else size
    if largest >= n_inputs:
        raise ConfigError(f"expected inputs from 0 to {n_inputs - 1}, got {largest}; pass a larger n_inputs")
    plan = _Plan(n_inputs, hidden)
    plan.add(_Node([plan.sum_of(block)]))
    columns = plan.columns()
    model = MultKAN([n_inputs, *map(_width, columns)], grid=grid, k=k, base=base, seed=seed)
    sources = list(range(n_inputs))
    for layer, column in zip(model.layers, columns, strict=True):
        _wire(layer, column, sources)
        sources = [node.number for node in column]
    model.set_domain(read_domain(domain, n_inputs))
    return model.to(device=check_device(device, dtype), dtype=dtype)


@dataclass(frozen=True)
class _Block:
    """A part of the tree: an input, or a group of blocks of some kind."""

    kind: str
    children: tuple["_Block", ...] = ()
    number: int = 0

    def inputs(self) -> list[int]:
        """All inputs below."""
        return [self.number] if self.kind == "input" else [own for child in self.children for own in child.inputs()]


def _read(tree: Any, where: str) -> _Block:
    """The blocks of nested lists, or of a tree of parts."""
    kind = getattr(tree, "kind", "function")
    if kind == "input":
        return _read(tree.inputs[0], where)
    if isinstance(tree, int) and not isinstance(tree, bool) and tree >= 0:
        return _Block("input", number=tree)
    parts = getattr(tree, "children", [] if isinstance(tree, str) else tree)
    parts = list(parts) if isinstance(parts, Sequence) else []
    if parts and isinstance(parts[0], str):
        kind = parts.pop(0)
    if kind not in KINDS or not parts:
        raise ConfigError(
            f"expected numbers of inputs, and lists of these or of such lists that may begin with {ENDS}, "
            f"got {tree!r} as {where}"
        )
    return _Block(kind, tuple(_read(part, f"part {number} of {where}") for number, part in enumerate(parts)))


@dataclass
class _Node:
    """A node of the network to be.

    Attributes:
        factors: the numbers of the nodes that its subnodes sum functions of; one subnode for a sum.
        number: of the node, inputs being the first.
        column: where it stands.
        passes: whether it only passes a value on.
    """

    factors: list[list[int]]
    number: int = -1
    column: int = 0
    passes: bool = False


@dataclass
class _Plan:
    """Which nodes there are, from the inputs on.

    Attributes:
        n_inputs: the nodes before the first of the list.
        hidden: nodes of a function, None for two for each part and one more.
        nodes: the others, the output being the last.
    """

    n_inputs: int
    hidden: int | None
    nodes: list[_Node] = field(default_factory=list)

    def add(self, node: _Node) -> int:
        """The number of a new node, which stands as early as it can."""
        node.number = self.n_inputs + len(self.nodes)
        node.column = 1 + max(self.column_of(source) for own in node.factors for source in own)
        self.nodes.append(node)
        return node.number

    def column_of(self, number: int) -> int:
        """The column of a node."""
        return 0 if number < self.n_inputs else self.nodes[number - self.n_inputs].column

    def sum_of(self, block: _Block) -> list[int]:
        """Nodes a sum of functions of which is a block."""
        if block.kind == "additive":
            return [node for child in block.children for node in self.sum_of(child)]
        if block.kind == "function" and len(block.children) > 1:
            sources = [self.value(child) for child in block.children]
            count = 2 * len(sources) + 1 if self.hidden is None else self.hidden
            return [self.add(_Node([sources])) for _ in range(count)]
        return [self.value(block)]

    def value(self, block: _Block) -> int:
        """A node of which a block is a function."""
        if block.kind == "input":
            return block.number
        if len(block.children) == 1:
            return self.value(block.children[0])
        if block.kind == "multiplicative":
            return self.add(_Node([self.sum_of(child) for child in block.children]))
        if block.kind == "generalized":
            return self.add(_Node([[node for child in block.children for node in self.sum_of(child)]]))
        return self.add(_Node([self.sum_of(block)]))

    def columns(self) -> list[list[_Node]]:
        """The nodes of each column, sums before products, with others that pass on what later columns need."""
        last = self.nodes[-1].column
        columns: list[list[_Node]] = [[] for _ in range(last)]
        needed: dict[int, int] = {}
        for node in self.nodes:
            columns[node.column - 1].append(node)
            for source in (each for own in node.factors for each in own):
                needed[source] = max(needed.get(source, 0), node.column - 1)
        for source, end in needed.items():
            for column in range(self.column_of(source) + 1, end + 1):
                columns[column - 1].append(_Node([[source]], source, column, passes=True))
        return [sorted(own, key=lambda node: (len(node.factors), node.number)) for own in columns]


def _width(column: Sequence[_Node]) -> Width:
    arities = [len(node.factors) for node in column]
    return Width(arities.count(1), tuple(arity for arity in arities if arity > 1))


@torch.no_grad()
def _wire(layer: Any, column: Sequence[_Node], sources: Sequence[int]) -> None:
    """Leave a layer, in place, the edges that its nodes need, those that pass values on being fixed edges x."""
    subnodes = [(node, own) for node in column for own in node.factors]
    wanted = torch.tensor([[s in own and not node.passes for s in sources] for node, own in subnodes])
    layer.splines.mask *= wanted
    rows = [["x" if node.passes and s in own else "" for s in sources] for node, own in subnodes]
    replace_symbols(layer, rows)
    if layer.symbols is not None:
        layer.symbols.fixed[torch.tensor([[name == "x" for name in row] for row in rows])] = 1
