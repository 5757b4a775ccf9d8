"""Candidates for auxiliary features, ranked by how much simpler they make what is to be explained.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, section 3.1 (auxiliary variables).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, DataError, ShapeError
from kansci.nn.arguments import check_finite
from kansci.symbolic.feature_search import POINTS, Entry, Search
from kansci.symbolic.parse import parse_formula

MAX_POINTS = 2000


@dataclass(frozen=True)
class Candidate:
    """A formula that may serve as an auxiliary feature.

    Attributes:
        formula: of the variables.
        score: what candidates are ranked by: the decimal digits that it takes off the error of an additive model, and
            what its simplicity is worth.
        error: of the model with it, relative to the standard deviation of y, or absolute where log|y| is fitted.
        linear: whether y is linear in it, or a power of it.
        sufficient: whether its variables are not needed beside it.
    """

    formula: sympy.Expr
    score: float
    error: float
    linear: bool
    sufficient: bool

    def __repr__(self) -> str:
        """The formula, the score and the error."""
        return f"Candidate({self.formula}, score={self.score:.2f}, error={self.error:.1e})"


def candidate_features(
    x: Any,
    y: Any,
    names: Sequence[str] | None = None,
    *,
    matrix: Sequence[Sequence[str]] | None = None,
    alone: Sequence[str] | None = None,
    limit: int = 20,
) -> list[Candidate]:
    r"""Formulas that would help to explain y, found from data alone, the best first.

    Powers, products, ratios, sums, differences, norms, distances, inner products, relativistic factors and
    invariants of matrices are tried, with all ways to put the variables into them. For each feature f a model

    .. math:: T(y) \approx c + \sum_i g_i(x_i) + h(f), \qquad T(y) = y \text{ or } \log|y|

    with free univariate functions is fitted, and compared with the one without f. The score counts the decimal
    digits of the error that f takes away, those after the second a tenth; it is larger where the variables of f are
    no longer needed beside it, and where h is linear (for log|y|, the logarithm of a power), and smaller for what is
    complex.
    Of features that are functions of each other only the simplest and the one that enters linearly are returned.
    Where one feature is not enough, the best ones beside it come next. What helps less than its complexity costs is
    left out.

    Args:
        x: data (n, d), a tensor or an array; of more than 2000 points some are used.
        y: (n,) or (n, 1).
        names: of the columns of x, by default x1, x2, ...
        matrix: rows of names that form a matrix of order 2 or 3, the invariants of which are tried; by default
            names that end in 11, 12, ... after the same letters, or all columns if there are 4 or 9 without names.
        alone: names of the variables x_i that have functions g_i of their own; by default all. The fewer there are, the
            fewer points are needed, 10 for each and 10 more.
        limit: how many to return at most.

    Returns:
        The candidates; `auxiliary_features` takes them, or their formulas.

    Raises:
        ShapeError: x is not (n, d), or y does not have one value for each of its rows.
        DataError: x or y are empty or not finite.
        ConfigError: the names do not fit the columns, or the matrix is none.

    Example:
        >>> x = torch.rand(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> m, v, c = (x + torch.tensor([1, 0, 1])).unbind(1)
        >>> y = m / (1 - v**2 / c**2).sqrt()
        >>> [str(found.formula) for found in candidate_features(torch.stack([m, v, c], 1), y, ["m", "v", "c"], limit=2)]
        ['1/sqrt(1 - v**2/c**2)', 'v/c']

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.1.
    """
    points, values = _read_data(x, y)
    labels = _read_names(names, points.shape[1])
    own = _read_alone(alone, labels)
    needed = POINTS * (len(own) + 1)
    if len(points) < needed:
        raise DataError(f"expected at least {needed} points for {len(own)} variables, got {len(points)}")
    search = Search(points, values, _read_matrices(matrix, labels, named=names is not None), own)
    return [_described(entry, labels) for entry in search.run()[:limit]]


def _described(entry: Entry, labels: Sequence[str]) -> Candidate:
    """A find for users."""
    return Candidate(entry.feature.formula(labels), entry.score, entry.error, entry.linear, entry.sufficient)


def _read_data(x: Any, y: Any) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """Rows in random order, at most MAX_POINTS."""
    points, values = (torch.as_tensor(each, dtype=torch.float64).detach().cpu() for each in (x, y))
    if points.ndim != 2 or values.shape not in ((len(points),), (len(points), 1)):
        raise ShapeError(
            f"expected x of shape (n, d) and y of shape (n,) or (n, 1), got {tuple(points.shape)} and "
            f"{tuple(values.shape)}; pass one output at a time"
        )
    check_finite(points, "x")
    check_finite(values, "y")
    rows = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:MAX_POINTS]
    return points[rows], values.flatten()[rows]


def _read_names(names: Sequence[str] | None, d: int) -> list[str]:
    labels = [f"x{place + 1}" for place in range(d)] if names is None else list(names)
    if len(labels) != d:
        raise ConfigError(f"expected {d} names, one for each column of x, got {labels}")
    parse_formula("0", labels)
    return labels


def _read_alone(alone: Sequence[str] | None, labels: Sequence[str]) -> list[int]:
    unknown = set(alone or ()) - set(labels)
    if unknown:
        raise ConfigError(f"expected alone to be some of {list(labels)}, got {sorted(unknown)}")
    return [place for place, label in enumerate(labels) if alone is None or label in alone]


def _read_matrices(
    matrix: Sequence[Sequence[str]] | None, labels: Sequence[str], *, named: bool
) -> list[tuple[int, ...]]:
    """Columns of square matrices of order 2 or 3, row by row."""
    if matrix is None:
        return _guessed_matrices(labels) if named else [tuple(range(len(labels)))] * (len(labels) in (4, 9))
    entries = [entry for row in matrix for entry in row]
    square = len(matrix) in (2, 3) and all(len(row) == len(matrix) for row in matrix)
    if not square or not set(entries) <= set(labels):
        raise ConfigError(f"expected matrix as 2 rows of 2 or 3 rows of 3 names among {list(labels)}, got {matrix}")
    return [tuple(labels.index(entry) for entry in entries)]


def _guessed_matrices(labels: Sequence[str]) -> list[tuple[int, ...]]:
    found = []
    for stem in sorted({label[:-2] for label in labels}):
        for order in (2, 3):
            entries = [f"{stem}{row}{column}" for row in range(1, order + 1) for column in range(1, order + 1)]
            own = [label for label in labels if label[:-2] == stem and re.fullmatch("[1-9][1-9]", label[-2:])]
            if sorted(own) == entries:
                found.append(tuple(labels.index(entry) for entry in entries))
    return found
