"""Drift: how much f changes along paths on which it would not if some inputs acted through one scalar.

If f = g(h(s), z), the gradients by s at one s and many z are all parallel to grad h(s). From an observed s a path runs
across the direction that these gradients have in common, as far as the observed ranges go, and f(s', z) - f(s, z) is
compared for all z. An error e of f feigns no more than about 2^(1/2) e, however rough it is, which gradients alone do
not bound.

References:
    Udrescu et al., AI Feynman 2.0, NeurIPS 2020 (generalized symmetry from gradients).
    Constantine, Active Subspaces, SIAM 2015 (pooled gradients).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.analysis.surrogate import Surrogate
from kansci.analysis.verdict import judge

ANCHORS, RESTS = 48, 16
MORE = 4  # times as many anchors where the first ones do not decide
STEPS, LENGTH = 6, 0.25  # of a path [standard deviations]
STUCK = 0.7  # share of paths that end where they start, beyond which nothing is known
REMOVABLE = 0.5  # share of the change, or of the error, that steps back may leave undone
BRIM = 0.02  # of the ranges that paths keep away from
CORRECTIONS, FARTHEST = 6, 0.25  # steps back to the level of the start, and the longest of them

Direction = Callable[[Float[Tensor, "n s"]], Float[Tensor, "n s"]]


@runtime_checkable
class Level(Protocol):
    """A scalar that the paths are to leave as it is."""

    def values(self, x: Float[Tensor, "n s"]) -> Float[Tensor, "n"]:
        """The scalar at each point."""
        ...

    def gradients(self, x: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
        """Its gradient at each point."""
        ...


@dataclass(frozen=True)
class Scene:
    """Anchors, each with several rests.

    Attributes:
        surrogate: the function.
        group: the inputs that may act through one scalar.
        rest: (anchors, rests, d): rows with the group of the anchor.
        low: the least value of each of the group's inputs.
        high: the largest one.
    """

    surrogate: Surrogate
    group: Sequence[int]
    rest: Float[Tensor, "n m d"]
    low: Float[Tensor, "s"]
    high: Float[Tensor, "s"]

    @classmethod
    def of(cls, surrogate: Surrogate, group: Sequence[int], anchors: int = ANCHORS) -> "Scene":
        """Random ones."""
        columns = list(group)
        rows = surrogate.rows
        rest = rows[surrogate.draw(anchors, RESTS, seed=30)].clone()
        rest[..., columns] = rows[surrogate.draw(anchors, seed=31)][:, None, columns]
        own = rows[:, columns]
        return cls(surrogate, columns, rest, own.amin(0), own.amax(0))

    @property
    def anchors(self) -> Float[Tensor, "n s"]:
        """The group's inputs, raw."""
        return self.rest[:, 0, list(self.group)]

    @property
    def unit(self) -> Float[Tensor, "s"]:
        """Standard deviations of the group's inputs."""
        return self.surrogate.unit[list(self.group)]

    def at(self, places: Float[Tensor, "n s"]) -> Float[Tensor, "n m d"]:
        """The points with the group's inputs moved."""
        points = self.rest.clone()
        points[..., list(self.group)] = places[:, None]
        return points

    def gradients(self, places: Float[Tensor, "n s"]) -> Float[Tensor, "n m s"]:
        """By the group's inputs, standardized."""
        return self.surrogate.gradients(self.at(places))[..., list(self.group)]

    def common_direction(self, places: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
        """The unit vectors that all gradients at one place are most parallel to."""
        return _top(self.gradients(places))

    def inside(self, places: Float[Tensor, "n s"]) -> Tensor:
        """Which places are well within the observed ranges."""
        brim = BRIM * (self.high - self.low)
        return ((self.low + brim <= places) & (places <= self.high - brim)).all(1)


def group_drift(surrogate: Surrogate, group: Sequence[int]) -> float:
    """The drift of a group, from more anchors where few do not decide."""
    size = drift(Scene.of(surrogate, group))
    if surrogate.given and judge(size, surrogate.noise) == "undecided":
        return drift(Scene.of(surrogate, group, MORE * ANCHORS))
    return size


def drift(scene: Scene, scalar: Level | None = None) -> float:
    """Root mean square of the change of f along the paths, over 2^(1/2), relative to the spread.

    Args:
        scene: where paths start.
        scalar: a supposed scalar; by default one whose gradients have the directions that those of f have in common.

    Returns:
        NaN if most paths do not get away from their starts.
    """
    start = scene.surrogate.values(scene.at(scene.anchors))
    if scalar is None:
        ends = _paths(scene, scene.common_direction, lambda places: _step_back(scene, places, start)[0])
        change = _corrected(scene, ends, start)
    else:
        ends = _on_level(scene, scalar, _paths(scene, lambda places: _unit(scalar.gradients(places) * scene.unit)))
        if float((ends == scene.anchors).all(1).to(ends.dtype).mean()) > STUCK:
            return float("nan")
        change = scene.surrogate.values(scene.at(ends)) - start
    return scene.surrogate.size(change / 2**0.5)


def parallel(scene: Scene) -> float:
    """The share of squared gradients that is not along the common directions."""
    sizes = torch.linalg.svdvals(torch.nan_to_num(scene.gradients(scene.anchors))).square()
    return float(sizes[:, 1:].sum() / sizes.sum().clamp(min=torch.finfo(sizes.dtype).tiny))


def _paths(scene: Scene, direction: Direction, settle: Direction = lambda places: places) -> Float[Tensor, "n s"]:
    """Ends of paths across the directions, settled after each step, which stop at the border of the ranges."""
    places = scene.anchors
    middle = (scene.surrogate.center[list(scene.group)] - places) / scene.unit
    generator = torch.Generator().manual_seed(32)
    wish = torch.randn(middle.shape, generator=generator, dtype=torch.float64).to(middle)
    wish = wish * (wish * middle).sum(1, keepdim=True).sign()
    moving = torch.ones(len(places), 1, dtype=torch.bool, device=places.device)
    previous = _across(direction(places), wish)
    previous = previous * torch.where((previous * middle).sum(1, keepdim=True) < 0, -1.0, 1.0)
    for _ in range(STEPS):
        half = places + LENGTH / 2 * scene.unit * _along(_across(direction(places), previous), previous)
        heading = _along(_across(direction(half), previous), previous)
        ahead = settle(places + LENGTH * scene.unit * heading)
        moving = moving & scene.inside(ahead)[:, None]
        places = torch.where(moving, ahead, places)
        previous = torch.where(moving, heading, previous)
    return places


def _across(direction: Float[Tensor, "n s"], wish: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
    """Unit vectors nearest to the wished ones that are orthogonal to the directions."""
    return _unit(wish - (wish * direction).sum(1, keepdim=True) * direction)


def _top(gradients: Float[Tensor, "n m s"]) -> Float[Tensor, "n s"]:
    """The unit vectors that gradients are most parallel to."""
    known = torch.nan_to_num(gradients)
    known = known / known.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(known.dtype).tiny)
    return torch.linalg.eigh(known.mT @ known)[1][..., -1]


def _unit(vectors: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(vectors.dtype).tiny)


def _along(vector: Float[Tensor, "n s"], previous: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
    return vector * torch.where((vector * previous).sum(1, keepdim=True) < 0, -1.0, 1.0)


def _on_level(scene: Scene, scalar: Level, ends: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
    """The ends of the paths, or where the scalar is not regained, their starts."""
    start = scalar.values(scene.anchors)
    places = ends
    for _ in range(CORRECTIONS):
        slopes = scalar.gradients(places) * scene.unit
        step = (start - scalar.values(places)) / slopes.square().sum(1).clamp(min=1e-300)
        places = places + step[:, None] * slopes * scene.unit
    lost = ~((scalar.values(places) - start).abs() <= 1e-9 * start.abs().max())
    strayed = ((places - ends) / scene.unit).norm(dim=1) > FARTHEST
    return torch.where((lost | strayed | ~places.isfinite().all(1))[:, None], scene.anchors, places)


def _corrected(scene: Scene, ends: Float[Tensor, "n s"], start: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """The change after steps back that make it as small as they can; NaN where more steps would make it smaller yet."""
    best, removable = torch.full_like(start, float("inf")), torch.full_like(start[:, 0], float("inf"))
    places = ends
    for _ in range(CORRECTIONS):
        following, change, left = _step_back(scene, places, start)
        better = torch.nan_to_num(change).square().sum(1) < best.square().sum(1)
        best = torch.where(better[:, None], change, best)
        removable = torch.where(better, left, removable)
        places = following
    lost = removable > REMOVABLE * best.square().mean(1).sqrt().clamp(min=scene.surrogate.noise)
    return torch.where(lost[:, None], torch.nan, best)


def _step_back(
    scene: Scene, places: Float[Tensor, "n s"], start: Float[Tensor, "n m"]
) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n m"], Float[Tensor, "n"]]:
    """Places moved along the common direction to lessen the change, the change before, and how much goes by that."""
    points = scene.at(places)
    change = scene.surrogate.values(points) - start
    gradients = torch.nan_to_num(scene.surrogate.gradients(points)[..., list(scene.group)])
    direction = _top(gradients)
    slope = (gradients @ direction[:, :, None])[..., 0]
    steepness = slope.square().sum(1).clamp(min=1e-30)
    along = (slope * torch.nan_to_num(change)).sum(1)
    step = (-along / steepness).clamp(-FARTHEST, FARTHEST)
    following = (places + step[:, None] * direction * scene.unit).clamp(scene.low, scene.high)
    return following, change, along.abs() / (steepness * start.shape[1]).sqrt()
