"""The tree of a function: sums, products and functions of parts that share no inputs, down to single inputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kansci.analysis.drift import Scene
from kansci.analysis.naming import named_scalar
from kansci.analysis.separability import Separability, separability_of
from kansci.analysis.surrogate import Surrogate, read_surrogate
from kansci.analysis.verdict import Verdict
from kansci.analysis.webs import Joints
from kansci.errors import ConfigError

Kind = Literal["input", "additive", "multiplicative", "generalized", "function"]
SAID = {
    "additive": "sum",
    "multiplicative": "product",
    "generalized": "function of a sum",
    "function": "function of {} parts",
}


@dataclass(frozen=True)
class Part:
    """A node of the tree: how some inputs act together.

    Attributes:
        kind: "input"; "additive", a sum of functions of the children; "multiplicative", a product of them;
            "generalized", F of a sum of them, which F of a product is as well; or "function", of which only the number
            of arguments is known. Below the last two, each part is known up to a function of it alone.
        inputs: numbers of the inputs, in order.
        children: the parts, none for an input.
        formula: the part up to a function of it, where it has a simple one; else None.
        offset: constant added to a product, 0 if there is none or it belongs to the sum above.
        verdict: "undecided" where the error of f may hide that the kind is another, else "yes". A sum or product that
            is not refuted goes before F of a sum, whose special case it is.
        margin: by how many times the decision for this kind was clear.
    """

    kind: Kind
    inputs: tuple[int, ...]
    children: tuple["Part", ...] = ()
    formula: str | None = None
    offset: float = 0.0
    verdict: Verdict = "yes"
    margin: float = float("inf")

    @property
    def arity(self) -> int:
        """Number of children."""
        return len(self.children)

    def walk(self) -> Iterator["Part"]:
        """This part and all below it, from the top."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class StructureTree:
    """What a function is made of.

    Attributes:
        root: the whole function; None where it is constant.
        names: of all inputs.
        unused: inputs that it does not depend on by more than its error.
        noise: error of the function relative to its spread.
    """

    root: Part | None
    names: tuple[str, ...]
    unused: tuple[int, ...]
    noise: float

    @property
    def arities(self) -> tuple[int, ...]:
        """Numbers of children of all nodes that are no inputs, from the top."""
        return tuple(part.arity for part in self.root.walk() if part.children) if self.root else ()

    def label(self, part: Part) -> str:
        """A node in words."""
        if part.kind == "input":
            return self.names[part.inputs[0]]
        text = SAID[part.kind].format(part.arity)
        if part.offset:
            text += f" plus {part.offset:.6g}"
        if part.formula:
            text = f"function of {part.formula}" if part.kind == "generalized" else f"{text}: {part.formula}"
        return text if part.verdict == "yes" else f"{text} (undecided)"

    def __repr__(self) -> str:
        """The tree, a line for each node."""
        head = f"StructureTree of f({', '.join(self.names)}), error {self.noise:.1e}"
        if self.unused:
            head += f", not used: {', '.join(self.names[column] for column in self.unused)}"
        return "\n".join([head, *(self._lines(self.root, "", "") if self.root else ["constant"])])

    def _lines(self, part: Part, first: str, other: str) -> list[str]:
        lines = [first + self.label(part)]
        for number, child in enumerate(part.children):
            last = number == part.arity - 1
            lines += self._lines(child, other + ("└─ " if last else "├─ "), other + ("   " if last else "│  "))
        return lines


def structure_tree(f: Any, x: Any, names: Sequence[str] | None = None, *, error: float | None = None) -> StructureTree:
    r"""Take a function apart, recursively: sums, products, functions of sums, functions of fewer arguments.

    Each part is analysed as the weighted mean of f over some places of the other inputs, in which it acts as it does in
    f, up to a function of it alone where it stands inside one.

    Args:
        f: a torch callable (n, d) -> (n,) or (n, 1), or a model.
        x: observed points (n, d), as a tensor or an array.
        names: of the inputs; by default x1, x2, ...
        error: root mean square error of f relative to the standard deviation of its values; for a trained model its
            validation error. By default f is taken to be exact.

    Returns:
        The tree.

    Raises:
        ConfigError: another number of names, or an error that is negative.
        ShapeError: f has several outputs, or x is no matrix.
        DataError: x or f(x) is not finite.

    Example:
        >>> import torch
        >>> x = torch.rand(300, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> structure_tree(lambda x: (x[:, 0] ** 2 + x[:, 1] ** 2) ** 2 + x[:, 2] * x[:, 3], x)
        StructureTree of f(x1, x2, x3, x4), error ...
        sum
        ├─ function of x1**2 + x2**2
        │  ├─ x1
        │  └─ x2
        └─ product: x3*x4
           ├─ x3
           └─ x4

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.2 (trees of modules).
    """
    surrogate = read_surrogate(f, x, error)
    chosen = tuple(f"x{column + 1}" for column in range(surrogate.d)) if names is None else tuple(map(str, names))
    if len(chosen) != surrogate.d:
        raise ConfigError(f"expected {surrogate.d} names, one for each input, got {len(chosen)}")
    builder = _Builder(surrogate, chosen)
    root = builder.part(tuple(range(surrogate.d)), surrogate)
    used = root.inputs if root else ()
    unused = tuple(column for column in range(surrogate.d) if column not in used)
    return StructureTree(root, chosen, unused, surrogate.noise)


@dataclass(frozen=True)
class _Builder:
    """Parts of one function."""

    whole: Surrogate
    names: tuple[str, ...]

    def part(self, inputs: tuple[int, ...], own: Surrogate, *, absorbed: bool = False) -> Part | None:
        """How some inputs act, none if they do not; an offset may be absorbed by the sum above."""
        sums = separability_of(own, "additive")
        active = tuple(column for column in range(own.d) if column not in sums.unused)
        if len(active) < own.d:
            kept = tuple(inputs[column] for column in active)
            return self.part(kept, self.whole.part(kept), absorbed=absorbed) if kept else None
        if len(inputs) == 1:
            return Part("input", inputs)
        if sums.verdict == "yes":
            return self._node("additive", inputs, own, sums)
        product = separability_of(own, "multiplicative")
        if product.verdict == "yes":
            return self._node("multiplicative", inputs, own, product)
        if product.offset is not None:
            offset = product.offset
            shifted = replace(own, function=lambda x: own.function(x) - offset)
            node = self._node("multiplicative", inputs, own, separability_of(shifted, "multiplicative"))
            return replace(node, offset=0.0 if absorbed else offset)
        general = separability_of(own, "generalized")
        if general.verdict == "yes":
            simpler = [found for found in (sums, product) if found.verdict == "undecided" and len(found.groups) > 1]
            if not simpler:
                return self._node("generalized", inputs, own, general)
            nearest = min(simpler, key=lambda found: found.size)
            return replace(self._node(nearest.kind, inputs, own, nearest), verdict="undecided")
        blocks = Joints(own).joined([(column,) for column in range(own.d)])
        doubt = "undecided" in (sums.verdict, product.verdict, general.verdict)
        found = replace(general, groups=blocks, margin=general.margin)
        node = self._node("function", inputs, own, found)
        return replace(node, verdict="undecided" if doubt and node.kind == "function" else "yes")

    def _node(self, kind: Kind, inputs: tuple[int, ...], own: Surrogate, found: Separability) -> Part:
        groups = [tuple(inputs[column] for column in group) for group in found.groups]
        if kind == "function" and len(groups) == 1:
            groups = [(column,) for column in groups[0]]
        children = tuple(self._child(group, kind == "additive") for group in groups)
        formula = self._formula(inputs, own, children)
        named = "generalized" if kind == "function" and formula else kind
        return Part(named, inputs, children, formula, margin=found.margin)

    def _child(self, group: tuple[int, ...], absorbed: bool) -> Part:
        if len(group) == 1:
            return Part("input", group)
        found = self.part(group, self.whole.part(group), absorbed=absorbed)
        return found or Part("function", group, tuple(Part("input", (column,)) for column in group))

    def _formula(self, inputs: tuple[int, ...], own: Surrogate, children: tuple[Part, ...]) -> str | None:
        if any(child.kind != "input" for child in children):
            return None
        scalar = named_scalar(Scene.of(own, range(own.d)), own.noise)
        return scalar and scalar.text([self.names[column] for column in inputs])
