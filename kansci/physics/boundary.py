"""The boundary of a region as a list of faces, and points spread over them in proportion to their measure.

A face is a smooth piece of the boundary: one side of a box, a whole sphere, or the part of such a piece that
remains visible where regions are combined.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kansci.errors import ConfigError, DomainError
from kansci.physics.sampling import GRID_METHODS, apportion

PROBES = 2**14
CAUTION = 0.98  # start below the expected number of points, so as not to miss the coarsest grid that fits

Located = tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]


@dataclass(frozen=True)
class Boundary:
    """Points of a boundary.

    Attributes:
        points: (n, d) [units of x].
        normals: outward unit normals (n, d) [1].
        face: number of the face each point belongs to (n,).
    """

    points: Float[Tensor, "n d"]
    normals: Float[Tensor, "n d"]
    face: Int[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.points)

    def on(self, *faces: int) -> "Boundary":
        """The points on the given faces."""
        return self.where(torch.isin(self.face, torch.tensor(faces, dtype=self.face.dtype)))

    def where(self, mask: Bool[Tensor, "n"]) -> "Boundary":
        """The points where the mask is true."""
        return Boundary(self.points[mask], self.normals[mask], self.face[mask])


@dataclass(frozen=True)
class Face:
    """A smooth piece of a boundary.

    Attributes:
        measure: its length, area, ... [units of x, to the power d - 1].
        sample: (n, method, seed) -> n points (n, d) and their outward unit normals (n, d).
    """

    measure: float
    sample: Callable[[int, str, int], Located]


def sample_faces(faces: Sequence[Face], n: int, method: str, seed: int) -> Boundary:
    """Exactly n points on the faces, in proportion to their measures."""
    measures = [face.measure for face in faces]
    if sum(measures) == 0:
        raise DomainError("expected a region with a boundary, got an empty one: do its parts overlap as intended?")
    counts = apportion(n, measures)
    pieces = [
        Boundary(*face.sample(count, method, seed * len(faces) + label), torch.full((count,), label))
        for label, (face, count) in enumerate(zip(faces, counts, strict=True))
        if count > 0
    ]
    return join_boundaries(pieces)


def join_boundaries(pieces: Sequence[Boundary]) -> Boundary:
    """All points of several pieces, in order."""
    return Boundary(
        torch.cat([piece.points for piece in pieces]),
        torch.cat([piece.normals for piece in pieces]),
        torch.cat([piece.face for piece in pieces]),
    )


def flip_face(face: Face) -> Face:
    """The same face seen from the other side."""

    def sample(n: int, method: str, seed: int) -> Located:
        points, normals = face.sample(n, method, seed)
        return points, -normals

    return Face(face.measure, sample)


def cut_face(face: Face, visible: Callable[[Tensor, Tensor], Bool[Tensor, "n"]]) -> Face:
    """The part of a face where visible(points, normals) holds.

    Its measure is exact where all or nothing is visible, else a quasi-Monte Carlo estimate from 2^14 points.
    On a cut curve the grids keep n points of the coarsest grid that has at least n visible ones.
    """
    points, normals = face.sample(PROBES, "sobol", 0)
    share = visible(points, normals).double().mean().item()
    d = points.shape[1]

    def sample(n: int, method: str, seed: int) -> Located:
        grid = method in GRID_METHODS
        if grid and d > 2 and share < 1:
            raise ConfigError(f"no {method} grid has exactly {n} points on a cut surface: use method='sobol'")
        trial = max(n, math.floor(CAUTION * n / share))
        while True:
            points, normals = face.sample(trial, method, seed)
            seen = visible(points, normals).nonzero()[:, 0]
            if len(seen) >= n:
                break
            trial = trial + 1 if grid else 2 * trial
        kept = seen[torch.linspace(0, len(seen) - 1, n).round().long()] if grid else seen[:n]
        return points[kept], normals[kept]

    return Face(share * face.measure, sample)
