"""The name of a scalar through which some inputs act, from the directions of gradients.

In coordinates u_i = phi_i(x_i) a scalar sum_i c_i u_i has the gradient c everywhere. So the directions of gradients
in one coordinate system after another tell the constants c where they are the same at all points: x - y and 2 x + y
from the raw ones, x y, x / y and x^p y^q from logarithms, x^2 + y^2 from squares, 1/x + 1/y from reciprocals.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.analysis.drift import Scene, drift
from kansci.analysis.verdict import judge

LARGEST = 6  # denominators of exponents and ratios that are tried first
MIXED = 3  # inputs up to which coordinates may differ from one to the next
SPREAD = 0.2  # of squared gradients across the constant direction, up to which a name is tried


@dataclass(frozen=True)
class Coordinate:
    """A function of one input.

    Attributes:
        value: the function.
        slope: its derivative.
        text: its name with {} for the input.
        defined: where it is.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    text: str
    defined: Callable[[Tensor], bool]


RAW = Coordinate(lambda x: x, torch.ones_like, "{}", lambda x: True)
SQUARE = Coordinate(torch.square, lambda x: 2 * x, "{}**2", lambda x: True)
INVERSE = Coordinate(torch.reciprocal, lambda x: -(x**-2), "1/{}", lambda x: bool((x.abs() > 0).all()))
LOG = Coordinate(lambda x: x.abs().log(), lambda x: 1 / x, "log({})", lambda x: bool((x.abs() > 0).all()))
SYSTEMS = (RAW, LOG, SQUARE, INVERSE)


@dataclass(frozen=True)
class Scalar:
    """A scalar sum_i c_i phi_i(x_i) of some inputs, logarithms being written as products of powers.

    Attributes:
        coordinates: one for each input.
        constants: their factors, the first not zero being 1.
    """

    coordinates: tuple[Coordinate, ...]
    constants: tuple[float, ...]

    def values(self, x: Float[Tensor, "n s"]) -> Float[Tensor, "n"]:
        """The scalar at each point."""
        if self.is_product:
            return torch.stack([column**c for c, column in zip(self.constants, x.T, strict=True)]).prod(0)
        parts = zip(self.constants, self.coordinates, x.T, strict=True)
        return torch.stack([c * p.value(column) for c, p, column in parts]).sum(0)

    def gradients(self, x: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
        """Its gradient at each point."""
        parts = zip(self.constants, self.coordinates, x.T, strict=True)
        slopes = torch.stack([c * p.slope(column) for c, p, column in parts], 1)
        return slopes * self.values(x)[:, None] if self.is_product else slopes

    @property
    def is_product(self) -> bool:
        """Whether it is a product of powers, of which the coordinates are the logarithms."""
        return all(coordinate is LOG for coordinate in self.coordinates)

    def text(self, names: Sequence[str]) -> str:
        """The formula.

        Example:
            >>> Scalar((LOG, LOG), (1.0, -0.5)).text(["x", "y"])
            'x*y**(-1/2)'
            >>> Scalar((RAW, SQUARE), (1.0, -2.0)).text(["x", "y"])
            'x - 2*y**2'
        """
        parts = list(zip(self.constants, self.coordinates, names, strict=True))
        if self.is_product:
            return "*".join(_power(c, name) for c, _, name in parts if c).replace("*1/", "/")
        terms = [_term(c, coordinate.text.format(name)) for c, coordinate, name in parts if c]
        return " + ".join(terms).replace("+ -", "- ")


def named_scalar(scene: Scene, noise: float) -> Scalar | None:
    """The simplest scalar that no drift contradicts."""
    x, columns = scene.anchors, list(scene.group)
    gradients = torch.nan_to_num(scene.gradients(x)).to(torch.float64)
    found = []
    for system in _systems(len(columns)):
        if all(coordinate.defined(scene.surrogate.rows[:, i]) for coordinate, i in zip(system, columns, strict=True)):
            slopes = torch.stack([p.slope(column) for p, column in zip(system, x.T, strict=True)], 1)
            spread, constants = _constant_direction(gradients, (slopes * scene.unit).to(torch.float64))
            if spread < SPREAD:
                found.append((spread, system, constants))
    for _, system, constants in sorted(found, key=lambda own: own[0]):
        for scalar in _scalars(system, constants):
            if judge(drift(scene, scalar), noise) == "yes":
                return scalar
    return None


def _systems(count: int) -> Iterator[tuple[Coordinate, ...]]:
    for coordinate in SYSTEMS:
        yield (coordinate,) * count
    if count <= MIXED:
        yield from (own for own in product((RAW, SQUARE, INVERSE), repeat=count) if len(set(own)) > 1)


def _constant_direction(
    gradients: Float[Tensor, "n m s"], slopes: Float[Tensor, "n s"]
) -> tuple[float, tuple[float, ...]]:
    """The constants c for which gradients are most parallel to c_i phi_i', and the share of their squares across it.

    With g the gradient and p the slopes, g_i p_j c_j - g_j p_i c_i is zero for all i, j: a quadratic form in c.
    """
    p = slopes / slopes.norm(dim=1, keepdim=True).clamp(min=1e-300)
    products = torch.einsum("nmi,nmj->nij", gradients, gradients)
    total = products.diagonal(dim1=1, dim2=2).sum(1)
    scale = (total[:, None] * p.square()).sum(0).sqrt().clamp(min=1e-300)
    form = -(products * p[:, :, None] * p[:, None]).sum(0) + torch.diag(scale.square())
    share, vectors = torch.linalg.eigh(form / scale / scale[:, None])
    constants = (vectors[:, 0] / scale).tolist()
    leading = next((c for c in constants if abs(c) > 1e-9 * max(map(abs, constants))), 1.0)
    return float(share[0].clamp(min=0)), tuple(c / leading for c in constants)


def _scalars(system: tuple[Coordinate, ...], constants: tuple[float, ...]) -> Iterator[Scalar]:
    """With constants rounded ever less."""
    seen = set()
    for largest in range(1, LARGEST + 1):
        rounded = tuple(float(Fraction(c).limit_denominator(largest)) for c in constants)
        if rounded not in seen and all(rounded):
            seen.add(rounded)
            yield Scalar(system, rounded)
    yield Scalar(system, tuple(float(f"{c:.4g}") for c in constants))
    yield Scalar(system, constants)


def _term(constant: float, text: str) -> str:
    if abs(constant) == 1:
        return text if constant > 0 else f"-{text}"
    return f"{_number(constant)}*{text}"


def _power(exponent: float, name: str) -> str:
    if exponent in (1, -1):
        return name if exponent == 1 else f"1/{name}"
    written = _number(exponent)
    return f"{name}**{written}" if written.isdigit() else f"{name}**({written})"


def _number(value: float) -> str:
    fraction = Fraction(value).limit_denominator(LARGEST)
    return str(fraction) if abs(float(fraction) - value) < 1e-12 * max(1.0, abs(value)) else f"{value:.6g}"
