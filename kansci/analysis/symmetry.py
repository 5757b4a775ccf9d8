"""Whether some inputs act through one scalar, f = g(h(s), z), and which scalar that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kansci.analysis.drift import Scene, group_drift, parallel
from kansci.analysis.naming import named_scalar
from kansci.analysis.surrogate import Surrogate, read_surrogate
from kansci.analysis.tables import SHARE, off_support
from kansci.analysis.verdict import Verdict, judge, margin
from kansci.errors import ConfigError


@dataclass(frozen=True)
class Symmetry:
    """Whether a group of inputs acts through one scalar.

    Attributes:
        verdict: "yes", "no", or "undecided" where what would decide is as small as the error of f.
        group: the inputs.
        dependence: how much f changes where the scalar does not, as root mean square relative to the spread of f.
        noise: error of f relative to its spread, which `dependence` is compared with.
        margin: by how many times `dependence` is away from the edge of the decision.
        gradients: the other view: share of the squared gradients by the group that is not along the direction that
            those at one place have in common.
        formula: the scalar, up to a function of it, of names x1, x2, ...; None where it has no simple one.
        correlated: whether the group and the other inputs depend on each other so much that f is asked far from all
            rows.
    """

    verdict: Verdict
    group: tuple[int, ...]
    dependence: float
    noise: float
    margin: float
    gradients: float
    formula: str | None
    correlated: bool

    def __repr__(self) -> str:
        """Verdict and reasons."""
        names = ", ".join(f"x{column + 1}" for column in self.group)
        lines = [
            f"{names} act through one scalar: {self.verdict}" + (f", {self.formula}" if self.formula else ""),
            f"  change of f where it is constant: {self.dependence:.1e} of the spread of f; error of f "
            f"{self.noise:.1e}; margin {self.margin:.2g}",
            f"  gradients across the common direction: {self.gradients:.1e}",
        ]
        if self.correlated:
            lines.append("  correlated inputs: f was asked far from all rows")
        return "\n".join(lines)


def detect_symmetry(f: Any, x: Any, group: Sequence[int], *, error: float | None = None) -> Symmetry:
    r"""Test whether f depends on a group of inputs through one scalar, and name it.

    .. math:: f(x) = g(h(x_S), x_{\bar S})

    Then gradients by x_S, at one x_S and many places of the other inputs, are parallel. Paths run across their common
    direction, and the change of f along them is compared with what the error of f can feign. The scalar is named where
    the direction is that of a sum of inputs, squares, reciprocals or logarithms: x1 - x2, x1*x2, x1/x2, x1**2 + x2**2.

    Args:
        f: a torch callable (n, d) -> (n,) or (n, 1), or a model.
        x: observed points (n, d), as a tensor or an array.
        group: the inputs, by number.
        error: root mean square error of f relative to the standard deviation of its values; for a trained model its
            validation error. By default f is taken to be exact.

    Returns:
        The verdict and the evidence. One input, and all inputs together, always act through one scalar.

    Raises:
        ConfigError: no such inputs, or an error that is negative.
        ShapeError: f has several outputs, or x is no matrix.
        DataError: x or f(x) is not finite.

    Example:
        >>> import torch
        >>> x = 1 + torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> found = detect_symmetry(lambda x: (x[:, 0] / x[:, 2] ** 2 + x[:, 1]).sin(), x, [0, 2])
        >>> found.verdict, found.formula
        ('yes', 'x1*x3**(-2)')

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.2. Udrescu et al., AI Feynman 2.0, NeurIPS 2020.
    """
    surrogate = read_surrogate(f, x, error)
    columns = tuple(dict.fromkeys(group))
    if len(columns) != len(group) or not columns or not all(0 <= column < surrogate.d for column in columns):
        raise ConfigError(f"expected different inputs from 0 to {surrogate.d - 1} as group, got {list(group)}")
    return symmetry_of(surrogate, columns)


def symmetry_of(surrogate: Surrogate, columns: tuple[int, ...]) -> Symmetry:
    """The same for a surrogate."""
    scene = Scene.of(surrogate, columns)
    rest = [column for column in range(surrogate.d) if column not in columns]
    trivial = len(columns) == 1 or not rest
    size = 0.0 if trivial else group_drift(surrogate, columns)
    verdict = judge(size, surrogate.noise)
    correlated = bool(rest) and off_support(surrogate, [columns, rest]) > SHARE
    if correlated and surrogate.given and verdict == "no":
        verdict = "undecided"  # paths leave the rows
    scalar = named_scalar(scene, surrogate.noise) if verdict == "yes" and len(columns) > 1 else None
    return Symmetry(
        verdict=verdict,
        group=columns,
        dependence=size,
        noise=surrogate.noise,
        margin=1.0 if verdict == "undecided" else margin(size, surrogate.noise),
        gradients=0.0 if trivial else parallel(scene),
        formula=scalar and scalar.text([f"x{column + 1}" for column in columns]),
        correlated=correlated,
    )
