"""Regions of space in any number of dimensions: boxes, balls, and what can be built from them.

A region answers three questions: is a point inside, which points fill it, which points and outward normals
cover its boundary. Regions are combined by operators: ``a | b`` (union), ``a & b`` (intersection), ``a - b``
(difference). All points are float64, and the same seed gives the same points.

Interior and boundary are sampled by one of four methods:

- ``"sobol"``: scrambled Sobol sequence, for every region (the default);
- ``"random"``: independent and uniform, for every region;
- ``"uniform"``: equidistant grid of cell midpoints, so no point lies on the boundary or on a corner;
- ``"chebyshev"``: grid of Chebyshev nodes, clustered toward the boundary without touching it.

A grid with a given number of points exists in a box and on its faces, where the spacings come out about equal
along all axes. Elsewhere, give the counts along each axis: the grid of the bounding box is cut to the region.
On spheres both grids are the same, equal angles in 2 and a golden spiral in 3 dimensions.

Lengths have the unit of x, whatever it is: [x] below.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, DomainError
from kansci.physics.boundary import Boundary, Face, join_boundaries
from kansci.physics.region import Difference, Domain, Intersection, Union
from kansci.physics.sampling import (
    Method,
    check_count,
    check_counts,
    check_sampling,
    map_to_sphere,
    refuse_grid,
    sphere_coordinates,
    sphere_points,
    stretch,
    unit_points,
)

__all__ = ["Ball", "Boundary", "Box", "Difference", "Domain", "Intersection", "Side", "Union"]

Side = Literal["low", "high"]


@dataclass(frozen=True)
class Box(Domain):
    """The box of all x with low <= x <= high on each axis; in one dimension, an interval.

    Attributes:
        intervals: one (low, high) per axis [x].

    Raises:
        DomainError: if an interval is empty or not finite.

    Example:
        >>> square = Box([(-1.0, 1.0), (-1.0, 1.0)])
        >>> square.volume, square.surface, square.interior(900, "uniform").shape
        (4.0, 8.0, torch.Size([900, 2]))
    """

    intervals: Sequence[tuple[float, float]]

    def __post_init__(self) -> None:
        message = f"expected one finite (low, high) with low < high per axis, got {self.intervals}"
        try:
            intervals = tuple((float(low), float(high)) for low, high in self.intervals)
        except (TypeError, ValueError) as error:
            raise DomainError(message) from error
        if not intervals or not all(low < high and math.isfinite(high - low) for low, high in intervals):
            raise DomainError(message)
        object.__setattr__(self, "intervals", intervals)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """One (low, high) per axis [x]."""
        return tuple(self.intervals)

    @property
    def volume(self) -> float:
        """Product of the sides [x to the power d]."""
        return math.prod(self._sides())

    def boundary(self, n: int | Sequence[int], method: Method = "sobol", seed: int = 0) -> Boundary:
        """As for every region; for the grids, n may also be the counts along each axis (see `interior`)."""
        if not isinstance(n, Sequence):
            return super().boundary(n, method, seed)
        check_sampling(method, seed)
        check_counts(n, method, self.dimension)
        faces = itertools.product(range(self.dimension), ("low", "high"))
        return join_boundaries([self.face(a, side, [*n[:a], *n[a + 1 :]], method, seed) for a, side in faces])

    def face(self, axis: int, side: Side, n: int | Sequence[int], method: Method = "sobol", seed: int = 0) -> Boundary:
        """Exactly n points on one face; opposite faces get the same points in the same order.

        Args:
            axis: the axis the face is normal to.
            side: "low" or "high".
            n: number of points or, for the two grids, the counts along each of the other axes.
            method: "sobol", "random", "uniform" or "chebyshev".
            seed: of the first two methods.

        Raises:
            ConfigError: for an unknown axis or side, or if the method has no such number of points.
        """
        check_sampling(method, seed)
        if axis not in range(self.dimension) or side not in ("low", "high"):
            raise ConfigError(
                f"expected an axis from 0 to {self.dimension - 1} and side 'low' or 'high', got {axis!r} and {side!r}"
            )
        if isinstance(n, Sequence):
            check_counts(n, method, self.dimension - 1)
        else:
            check_count(n)
        points, normals = self._sample_face(axis, side, n, method, seed)
        return Boundary(points, normals, torch.full((len(points),), 2 * axis + (side == "high")))

    def periodic_pairs(
        self, axis: int, n: int | Sequence[int], method: Method = "sobol", seed: int = 0
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Corresponding points of the lower and the upper face of an axis, for periodic conditions."""
        low, high = (self.face(axis, side, n, method, seed) for side in ("low", "high"))
        return low.points, high.points

    def _signed_distance(self, x: Tensor) -> Tensor:
        low, high = torch.tensor(self.bounds, dtype=x.dtype, device=x.device).T
        beyond = torch.maximum(low - x, x - high)
        return beyond.clamp_min(0).norm(dim=1) + beyond.amax(dim=1).clamp_max(0)

    def _sides(self) -> list[float]:
        return [high - low for low, high in self.intervals]

    def _faces(self) -> tuple[Face, ...]:
        return tuple(
            Face(self.volume / length, functools.partial(self._sample_face, axis, side))
            for axis, length in enumerate(self._sides())
            for side in ("low", "high")
        )

    def _sample_face(
        self, axis: int, side: str, n: int | Sequence[int], method: str, seed: int
    ) -> tuple[Tensor, Tensor]:
        others = [*self.bounds[:axis], *self.bounds[axis + 1 :]]
        points = stretch(unit_points(n, [high - low for low, high in others], method, seed), others)
        level = points.new_full((len(points), 1), self.bounds[axis][side == "high"])
        normals = points.new_zeros(len(points), self.dimension)
        normals[:, axis] = 1 if side == "high" else -1
        return torch.cat([points[:, :axis], level, points[:, axis:]], dim=1), normals

    def _fill(self, n: int, method: str, seed: int) -> Tensor:
        return stretch(unit_points(n, self._sides(), method, seed), self.bounds)

    def _inside_factors(self, names: Sequence[str]) -> list[str]:
        pairs = zip(names, self.bounds, strict=True)
        return [f"(1 - {_square(name, (low + high) / 2, (high - low) / 2)})" for name, (low, high) in pairs]


@dataclass(frozen=True)
class Ball(Domain):
    """The ball of all x with |x - center| <= radius, in two or more dimensions.

    Attributes:
        center: coordinates of the center [x].
        radius: positive [x].

    Raises:
        DomainError: if the radius is not positive and finite, or the dimension below 2.

    Example:
        >>> disk = Ball((0.0, 0.0), 2.0)
        >>> disk.volume / math.pi, disk.surface / math.pi
        (4.0, 4.0)
    """

    center: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        center = tuple(float(c) for c in self.center)
        if len(center) < 2:
            raise DomainError(f"expected a ball in 2 or more dimensions, got center {center}: use Box([(low, high)])")
        if not (0 < self.radius < math.inf and all(map(math.isfinite, center))):
            raise DomainError(f"expected a finite center and radius > 0, got {center} and {self.radius}")
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "radius", float(self.radius))

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """The cube around the ball [x]."""
        return tuple((c - self.radius, c + self.radius) for c in self.center)

    @property
    def volume(self) -> float:
        """pi^(d/2) / Gamma(d/2 + 1) * radius^d [x to the power d]."""
        d = self.dimension
        return math.pi ** (d / 2) / math.gamma(d / 2 + 1) * self.radius**d

    def _signed_distance(self, x: Tensor) -> Tensor:
        return (x - x.new_tensor(self.center)).norm(dim=1) - self.radius

    def _faces(self) -> tuple[Face, ...]:
        return (Face(self.dimension / self.radius * self.volume, self._sample_sphere),)

    def _sample_sphere(self, n: int, method: str, seed: int) -> tuple[Tensor, Tensor]:
        normals = sphere_points(n, self.dimension, method, seed)
        return normals.new_tensor(self.center) + self.radius * normals, normals

    def _fill(self, n: int, method: str, seed: int) -> Tensor:
        """Directions from a uniform sphere, radii from the d-th root of a uniform number."""
        refuse_grid(method, n)
        d = self.dimension
        u = unit_points(n, (1.0,) * (1 + sphere_coordinates(d)), method, seed)
        offsets = u[:, :1] ** (1 / d) * map_to_sphere(u[:, 1:], d)
        return u.new_tensor(self.center) + self.radius * offsets

    def _inside_factors(self, names: Sequence[str]) -> list[str]:
        return [f"(1 - {' - '.join(self._squares(names))})"]

    def _outside_factors(self, names: Sequence[str], bounds: Sequence[tuple[float, float]]) -> list[str]:
        farthest = math.hypot(*(max(abs(end - c) for end in ends) for c, ends in zip(self.center, bounds, strict=True)))
        largest = (farthest / self.radius) ** 2 - 1
        return [f"({' + '.join(self._squares(names))} - 1)/{largest / 3:.6g}"]

    def _squares(self, names: Sequence[str]) -> list[str]:
        return [_square(name, c, self.radius) for name, c in zip(names, self.center, strict=True)]


def _square(name: str, center: float, scale: float) -> str:
    """((name - center) / scale)^2 as text."""
    sign = "-" if center > 0 else "+"
    offset = name if center == 0 else f"({name} {sign} {_number(abs(center))})"
    return f"{offset}**2" if scale == 1 else f"({offset}/{_number(scale)})**2"


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
