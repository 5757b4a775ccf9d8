"""Shapes of features: formulas of a few letters, and the ways to put variables into them."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations
from typing import NamedTuple

LETTERS = "abcdefghi"

Places = Iterator[tuple[int, ...]]


def pairings(d: int, size: int) -> Places:
    """Ways to take `size` of d variables, two by two, in no order: (0, 1, 2, 3) is 0 with 1 and 2 with 3.

    Example:
        >>> list(pairings(4, 4))
        [(0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)]
    """
    for chosen in combinations(range(d), size):
        yield from _paired(chosen)


def _paired(chosen: tuple[int, ...]) -> Places:
    if not chosen:
        yield ()
        return
    first, *others = chosen
    for partner in others:
        rest = tuple(other for other in others if other != partner)
        for pairs in _paired(rest):
            yield (first, partner, *pairs)


def singled(d: int, size: int) -> Places:
    """Ways to take `size` of d variables, the first of which plays another part than the others.

    Example:
        >>> list(singled(3, 3))
        [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
    """
    for chosen in combinations(range(d), size):
        for first in chosen:
            yield (first, *(other for other in chosen if other != first))


class Shape(NamedTuple):
    """Formulas that differ in their variables only.

    Attributes:
        formula: of the letters a, b, c, ...
        complexity: what it takes to say.
        size: number of letters.
        places: (d, size) -> the ways to put d variables for the letters that give different formulas; where exchanges
            change the sign, both, as powers of positive features are real.
    """

    formula: str
    complexity: int
    size: int
    places: Callable[[int, int], Places]


def _unordered(d: int, size: int) -> Places:
    return combinations(range(d), size)


def _ordered(d: int, size: int) -> Places:
    return permutations(range(d), size)


SHAPES = (
    Shape("a*b", 2, 2, _unordered),
    Shape("a/b", 2, 2, _ordered),
    Shape("a + b", 2, 2, _unordered),
    Shape("a - b", 2, 2, _ordered),
    Shape("sqrt(a**2 + b**2)", 2, 2, _unordered),
    Shape("a**2*b", 3, 2, _ordered),
    Shape("a**2/b", 3, 2, _ordered),
    Shape("a**2 - b**2", 3, 2, _ordered),
    Shape("1 - a/b", 3, 2, _ordered),
    Shape("1 + a/b", 3, 2, _unordered),
    Shape("a*b/(a + b)", 3, 2, _unordered),
    Shape("sqrt(1 - a**2/b**2)", 4, 2, _ordered),
    Shape("sqrt(1 + a**2/b**2)", 4, 2, _ordered),
    Shape("(a + b)/(a - b)", 4, 2, _ordered),
    Shape("(a + b)/(1 + a*b)", 4, 2, _unordered),
    Shape("a*cos(b)", 3, 2, _ordered),
    Shape("a*sin(b)", 3, 2, _ordered),
    Shape("1 + a*b", 3, 2, _unordered),
    Shape("1 - a*b", 3, 2, _unordered),
    Shape("a*b*c", 3, 3, _unordered),
    Shape("b*c/a", 3, 3, singled),
    Shape("a**2/(b*c)", 4, 3, singled),
    Shape("a**2*b*c", 4, 3, singled),
    Shape("a**2*b/c", 4, 3, _ordered),
    Shape("sqrt(a**2 + b**2 + c**2)", 3, 3, _unordered),
    Shape("a + b + c", 3, 3, _unordered),
    Shape("a - b - c", 3, 3, singled),
    Shape("(a - b)/c", 4, 3, _ordered),
    Shape("(b + c)/a", 4, 3, singled),
    Shape("a*b + c*d", 4, 4, pairings),
    Shape("a*b - c*d", 4, 4, pairings),
    Shape("sqrt((a - b)**2 + (c - d)**2)", 4, 4, pairings),
    Shape("(a - b)/(c - d)", 5, 4, pairings),
    Shape("a*b*c*d", 4, 4, _unordered),
    Shape("b*c*d/a", 4, 4, singled),
    Shape("a*b/(c*d)", 4, 4, pairings),
    Shape("a**2*b/(c*d)", 5, 4, _ordered),
    Shape("a**2*b*c/d", 5, 4, _ordered),
    Shape("a**2/(b*c*d)", 5, 4, singled),
    Shape("sqrt((a - b)**2 + (c - d)**2 + (e - f)**2)", 5, 6, pairings),
    Shape("a*b + c*d + e*f", 5, 6, pairings),
)

_DET = "a*(e*i - f*h) - b*(d*i - f*g) + c*(d*h - e*g)"
_SQUARES = "a**2 + b**2 + c**2 + d**2"
_MORE_SQUARES = f"{_SQUARES} + e**2 + f**2 + g**2 + h**2 + i**2"

# Invariants of square matrices of each order, entries row by row.
INVARIANTS = {
    2: {
        "a*d - b*c": 2,
        "a + d": 2,
        "a**2 + 2*b*c + d**2": 3,
        f"sqrt({_SQUARES})": 2,
        f"({_SQUARES})/(a*d - b*c)": 4,
    },
    3: {
        _DET: 2,
        "a + e + i": 2,
        "a**2 + e**2 + i**2 + 2*b*d + 2*c*g + 2*f*h": 3,
        "a*e - b*d + a*i - c*g + e*i - f*h": 3,
        f"sqrt({_MORE_SQUARES})": 2,
        f"({_MORE_SQUARES})/cbrt({_DET})**2": 4,
    },
}


def shapes(
    variables: Sequence[int], matrices: Sequence[Sequence[int]]
) -> Iterator[tuple[Shape, list[tuple[int, ...]]]]:
    """All shapes with the ways to put variables into them; invariants with each matrix, its entries row by row."""
    for shape in SHAPES:
        ways = shape.places(len(variables), shape.size)
        yield shape, [tuple(variables[place] for place in way) for way in ways]
    for matrix in matrices:
        for formula, complexity in INVARIANTS[math.isqrt(len(matrix))].items():
            yield Shape(formula, complexity, len(matrix), _unordered), [tuple(matrix)]
