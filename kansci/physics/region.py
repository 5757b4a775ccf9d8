"""The algebra of regions of space: what every region can do, and unions, intersections, differences of two.

A region is given by its bounding box, its signed distance and its faces; everything else follows. Combining
two takes minima and maxima of their signed distances, and keeps of their faces what bounds the result.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kansci.errors import ConfigError, DomainError, ShapeError
from kansci.physics.boundary import PROBES, Boundary, Face, cut_face, flip_face, sample_faces
from kansci.physics.sampling import (
    Method,
    check_count,
    check_counts,
    check_sampling,
    refuse_grid,
    stretch,
    unit_chunks,
    unit_grid,
)

Bounds = Sequence[tuple[float, float]]

SMALLEST_CHUNK = 2**12
FEWEST_DRAWS = 2**20
DRAWS_PER_POINT = 2**8
PROBE_DISTANCE = 1e-7  # of the diagonal of the bounding box


class Domain(ABC):
    """A bounded region of space; `kansci.physics.domains` explains the sampling methods."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """The bounding box, one (low, high) per axis [x]; fits the argument `domain` of a model."""

    @property
    @abstractmethod
    def volume(self) -> float:
        """Length, area, volume, ... [x to the power d].

        Exact for boxes and balls, and for combinations of disjoint or nested ones; otherwise estimated from
        2^14 Sobol points, to about three digits.
        """

    @abstractmethod
    def _signed_distance(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _faces(self) -> tuple[Face, ...]: ...

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return len(self.bounds)

    @property
    def surface(self) -> float:
        """Measure of the boundary [x to the power d - 1], as exact as `volume`; in 1-D the number of ends."""
        return sum(face.measure for face in self._faces())

    def signed_distance(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """Distance to the boundary [x], negative inside, zero on the boundary, positive outside.

        Exact for boxes and balls; where regions are combined the sign is right and the size a lower bound.

        Raises:
            ShapeError: if x is not (n, d).
        """
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ShapeError(f"expected points of shape (n, {self.dimension}), got {tuple(x.shape)}")
        return self._signed_distance(x)

    def contains(self, x: Float[Tensor, "n d"]) -> Bool[Tensor, "n"]:
        """Which points lie in the region, its boundary included (up to rounding).

        Raises:
            ShapeError: if x is not (n, d).
        """
        return self.signed_distance(x) <= 0

    def interior(self, n: int | Sequence[int], method: Method = "sobol", seed: int = 0) -> Float[Tensor, "n d"]:
        """Points strictly inside.

        Args:
            n: exactly this many points; or, for the two grids, the counts along each axis of the bounding
                box, of whose grid the points inside are returned, the last axis running fastest.
            method: "sobol", "random", "uniform" or "chebyshev".
            seed: of the first two methods.

        Raises:
            ConfigError: if the method has no such number of points in this region.
            DomainError: if the region is empty, or too thin in its bounding box to be found.
        """
        check_sampling(method, seed)
        if not isinstance(n, Sequence):
            check_count(n)
            return self._fill(n, method, seed)
        check_counts(n, method, self.dimension)
        grid = stretch(unit_grid(n, method), self.bounds)
        inside = grid[self._signed_distance(grid) < 0]
        if len(inside) == 0:
            raise DomainError(f"expected grid points inside the region, got none of {tuple(n)}: refine the grid")
        return inside

    def boundary(self, n: int, method: Method = "sobol", seed: int = 0) -> Boundary:
        """Exactly n points on the boundary with outward normals, in proportion to the measures of the faces.

        Faces are numbered: 2 * axis for the lower and 2 * axis + 1 for the upper side of a box, 0 for a
        sphere; where regions are combined, the faces of the second follow those of the first. In 1-D the
        ends are repeated as often as it takes.

        Args:
            n: number of points.
            method: "sobol", "random", "uniform" or "chebyshev".
            seed: of the first two methods.

        Raises:
            ConfigError: if a grid has no such number of points on a face.
            DomainError: if the region is empty.
        """
        check_sampling(method, seed)
        check_count(n)
        return sample_faces(self._faces(), n, method, seed)

    def distance_formula(self, names: Sequence[str]) -> str:
        """Formula of a function D, zero on the boundary and positive inside, for u = g + D * N.

        Box: the product of 1 - ((x - center) / half)^2 over the axes. Ball: 1 - |x - center|^2 / radius^2.
        Intersection: the product of both. Difference: the first times 3 (|x - center|^2 - radius^2) /
        (R^2 - radius^2) for each ball taken away, R reaching the farthest corner, which averages to about 1.
        The normal derivative of D vanishes nowhere but where faces meet.

        Args:
            names: name of each coordinate.

        Raises:
            ShapeError: if there is not one name for each axis.
            ConfigError: for unions, and where anything but balls is taken away: no such product exists.

        Example:
            >>> from kansci.physics.domains import Box
            >>> Box([(-1.0, 1.0), (0.0, 1.0)]).distance_formula(["x", "y"])
            '(1 - x**2)*(1 - ((y - 0.5)/0.5)**2)'
        """
        if len(names) != self.dimension:
            raise ShapeError(f"expected {self.dimension} names, one for each axis, got {tuple(names)}")
        return "*".join(self._inside_factors(names))

    def __or__(self, other: "Domain") -> "Union":
        return Union(self, other)

    def __and__(self, other: "Domain") -> "Intersection":
        return Intersection(self, other)

    def __sub__(self, other: "Domain") -> "Difference":
        return Difference(self, other)

    def _fill(self, n: int, method: str, seed: int) -> Tensor:
        """Exactly n points strictly inside, by rejection from the bounding box."""
        refuse_grid(method, n)
        found, count, drawn = [], 0, 0
        for chunk in unit_chunks(self.dimension, method, seed, max(2 * n, SMALLEST_CHUNK)):
            points = stretch(chunk, self.bounds)
            found.append(points[self._signed_distance(points) < 0])
            count, drawn = count + len(found[-1]), drawn + len(chunk)
            if count >= n or drawn >= max(FEWEST_DRAWS, DRAWS_PER_POINT * n):
                break
        if count < n:
            raise DomainError(
                f"expected to find {n} points inside, got {count} after {drawn} trials in the bounding box: "
                "the region is empty or very thin; check how its parts overlap"
            )
        return torch.cat(found)[:n]

    def _is_boundary(self, points: Tensor, normals: Tensor) -> Tensor:
        """Where the region lies just behind the points, against the normals, but not just before them."""
        step = PROBE_DISTANCE * math.hypot(*(high - low for low, high in self.bounds)) * normals
        return (self._signed_distance(points - step) < 0) & (self._signed_distance(points + step) > 0)

    def _inside_factors(self, names: Sequence[str]) -> list[str]:
        """Factors that are positive inside, one of which vanishes at any point of the boundary."""
        raise ConfigError(
            f"no distance formula for a {type(self).__name__}: impose its boundary values by a weighted "
            "residual (pde.dirichlet), or write D yourself"
        )

    def _outside_factors(self, names: Sequence[str], bounds: Bounds) -> list[str]:
        """The same for the outside of the region, of size about 1 within the bounds."""
        raise ConfigError(
            f"no distance formula for a region from which a {type(self).__name__} is taken away: impose its "
            "boundary values by a weighted residual (pde.dirichlet), or write D yourself"
        )


@dataclass(frozen=True)
class Combination(Domain):
    """Two regions of the same dimension, combined.

    Attributes:
        first: one region.
        second: the other.

    Raises:
        ShapeError: if their dimensions differ.
    """

    first: Domain
    second: Domain

    def __post_init__(self) -> None:
        if self.first.dimension != self.second.dimension:
            raise ShapeError(
                f"expected two regions of the same dimension, got {self.first.dimension} and {self.second.dimension}"
            )

    def _faces(self) -> tuple[Face, ...]:
        def is_new(points: Tensor, normals: Tensor) -> Tensor:
            return self._is_boundary(points, normals) & ~self.first._is_boundary(points, normals)

        first = [cut_face(face, self._is_boundary) for face in self.first._faces()]
        return (*first, *(cut_face(face, is_new) for face in self._second_faces()))

    def _second_faces(self) -> tuple[Face, ...]:
        return self.second._faces()

    def _common_volume(self) -> float:
        """Volume of the intersection, from points in the smaller of the two."""
        small, large = sorted((self.first, self.second), key=lambda domain: domain.volume)
        return small.volume * large.contains(small.interior(PROBES)).double().mean().item()


class Union(Combination):
    """All points in one region or the other, ``first | second``.

    Example:
        >>> from kansci.physics.domains import Box
        >>> corner = Box([(0.0, 2.0), (0.0, 1.0)]) | Box([(0.0, 1.0), (1.0, 2.0)])
        >>> corner.surface, corner.bounds
        (8.0, ((0.0, 2.0), (0.0, 2.0)))
    """

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """The smallest box around both [x]."""
        pairs = zip(self.first.bounds, self.second.bounds, strict=True)
        return tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs)

    @property
    def volume(self) -> float:
        """The sum of both less the common part [x to the power d]."""
        return self.first.volume + self.second.volume - self._common_volume()

    def _signed_distance(self, x: Tensor) -> Tensor:
        return torch.minimum(self.first._signed_distance(x), self.second._signed_distance(x))

    def _outside_factors(self, names: Sequence[str], bounds: Bounds) -> list[str]:
        return [*self.first._outside_factors(names, bounds), *self.second._outside_factors(names, bounds)]


class Intersection(Combination):
    """All points in both regions, ``first & second``."""

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """The common part of both bounding boxes [x].

        Raises:
            DomainError: if there is none.
        """
        pairs = zip(self.first.bounds, self.second.bounds, strict=True)
        common = tuple((max(a[0], b[0]), min(a[1], b[1])) for a, b in pairs)
        if not all(low < high for low, high in common):
            raise DomainError(f"expected two regions that overlap, got {self.first} and {self.second}")
        return common

    @property
    def volume(self) -> float:
        """The common part of both [x to the power d]."""
        return self._common_volume()

    def _signed_distance(self, x: Tensor) -> Tensor:
        return torch.maximum(self.first._signed_distance(x), self.second._signed_distance(x))

    def _inside_factors(self, names: Sequence[str]) -> list[str]:
        return [*self.first._inside_factors(names), *self.second._inside_factors(names)]


class Difference(Combination):
    """All points in the first region but not in the second, ``first - second``.

    Example:
        >>> from kansci.physics.domains import Ball, Box
        >>> plate = Box([(-1.0, 1.0), (-1.0, 1.0)]) - Ball((0.0, 0.0), 0.5)
        >>> round(plate.volume, 6), round(plate.surface, 6)
        (3.214602, 11.141593)
    """

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """The bounding box of the first region [x]."""
        return self.first.bounds

    @property
    def volume(self) -> float:
        """The first less the common part [x to the power d]."""
        return self.first.volume - self._common_volume()

    def _signed_distance(self, x: Tensor) -> Tensor:
        return torch.maximum(self.first._signed_distance(x), -self.second._signed_distance(x))

    def _second_faces(self) -> tuple[Face, ...]:
        return tuple(flip_face(face) for face in self.second._faces())

    def _inside_factors(self, names: Sequence[str]) -> list[str]:
        return [*self.first._inside_factors(names), *self.second._outside_factors(names, self.bounds)]
