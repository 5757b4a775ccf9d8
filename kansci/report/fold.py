"""Long formulas as short ones of named parts: f = g1 + exp(g2), with g1 and g2 defined beside it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import sympy

SHORT = 14  # operations of a formula that is left as it is
PART = 7  # operations of a part that gets a name
REPEATED = 3  # operations of a part that gets one where it occurs more than once


@dataclass(frozen=True)
class Folded:
    """Formulas in terms of named parts.

    Attributes:
        formulas: the formulas.
        parts: names and what they stand for; each may contain those before it.
    """

    formulas: tuple[Any, ...]
    parts: dict[sympy.Symbol, Any] = field(default_factory=dict)

    def unfolded(self) -> tuple[Any, ...]:
        """The formulas without names."""
        known: dict[Any, Any] = {}
        for name, part in self.parts.items():
            known[name] = part.xreplace(known)
        return tuple(own.xreplace(known) for own in self.formulas)


def fold(formulas: Sequence[Any], letter: str = "g") -> Folded:
    """Name the parts of long formulas.

    A part that occurs more than once has one name. Parts are named from the inside out as soon as they are long, until
    what remains is short.

    Args:
        formulas: left as they are where all are short.
        letter: names are this letter and a number, or longer where a variable is called so.

    Example:
        >>> x, y = sympy.symbols("x y")
        >>> long = sympy.exp(sympy.sin(x * y + 1) ** 2 + x**2 * y) + sympy.log(x**2 + y**2 + x * sympy.cos(y) + 1)
        >>> folded = fold([long])
        >>> folded.formulas, len(folded.parts), folded.unfolded() == (long,)
        ((exp(g1) + log(g2),), 2, True)
    """
    if all(_size(own) <= SHORT for own in formulas):
        return Folded(tuple(formulas))
    return _Folder(formulas, _fresh(formulas, letter)).folded()


def _size(expression: sympy.Expr) -> int:
    return int(sympy.count_ops(expression))


def _fresh(formulas: Sequence[Any], letter: str) -> Iterator[sympy.Symbol]:
    taken = {str(symbol) for own in formulas for symbol in own.free_symbols}
    while any(name.startswith(letter) and name[len(letter) :].strip("_").isdigit() for name in taken):
        letter += letter[0]
    return (sympy.Symbol(f"{letter}{number}", real=True) for number in count(1))


class _Folder:
    """Walks through expressions from the inside out, each part once."""

    def __init__(self, formulas: Sequence[Any], names: Iterator[sympy.Symbol]) -> None:
        self.formulas, self.names = formulas, names
        self.uses: Counter[sympy.Basic] = Counter(part for own in formulas for part in _distinct_uses(own))
        self.seen: dict[Any, Any] = {}
        self.parts: dict[sympy.Symbol, Any] = {}

    def folded(self) -> Folded:
        found = tuple(self.inside(own) for own in self.formulas)
        return Folded(found, self.parts)

    def inside(self, part: sympy.Expr) -> sympy.Expr:
        """The same with its parts named."""
        return part.func(*(self.named(own) for own in part.args)) if part.args else part

    def named(self, part: Any) -> Any:
        """A name where the part is long or repeated, else the part with its own parts named."""
        if not isinstance(part, sympy.Expr) or not part.free_symbols or not part.args:
            return part
        if part not in self.seen:
            own = self.inside(part)
            least = REPEATED if self.uses[part] > 1 else PART
            if _size(own) >= least and not _is_coefficient_of_symbol(own):
                name = next(self.names)
                self.parts[name], own = own, name
            self.seen[part] = own
        return self.seen[part]


def _distinct_uses(expression: sympy.Basic) -> Iterator[sympy.Basic]:
    """Each part once for every different place above it."""
    known: set[sympy.Basic] = {expression}
    yield expression
    todo: list[sympy.Basic] = [expression]
    while todo:
        for child in todo.pop().args:
            yield child
            if child not in known:
                known.add(child)
                todo.append(child)


def _is_coefficient_of_symbol(part: sympy.Expr) -> bool:
    """Whether it is a number times a variable."""
    _, rest = part.as_coeff_Mul()
    return rest.is_Symbol
