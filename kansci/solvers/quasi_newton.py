r"""Quasi-Newton methods of Broyden's family, with full and with limited memory.

H approximates the inverse of the Hessian B. After a step s along which the gradient changed by y,

.. math:: H \leftarrow \frac 1 \tau \Big(H - \frac{H y y^T H}{y^T H y} + \varphi v v^T\Big) + \frac{s s^T}{y^T s},
    \quad v = \sqrt{y^T H y} \, \Big(\frac{s}{y^T s} - \frac{H y}{y^T H y}\Big)

with tau = phi = 1 for BFGS. Self-scaling enlarges H where it is too small along the step, and Broyden's parameter may
leave the convex class between BFGS and DFP.

Under `solve`, H begins as the damped inverse of the Gauss-Newton matrix 2 J^T J, or of its diagonal where memory is
limited: splines are much too badly conditioned for a multiple of the identity.

References:
    Al-Baali, Khalfan, Wide interval for efficient self-scaling quasi-Newton algorithms, Optimization Methods and
    Software 20 (2005) 679.
    Urban, Stefanou, Pons, Journal of Computational Physics 523 (2025) 113656, arXiv:2405.04230 (for networks).
    Liu, Nocedal, Mathematical Programming 45 (1989) 503 (limited memory).
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import CheckpointError
from kansci.sealed import Group
from kansci.solvers import ranks
from kansci.solvers.growth import escapes, grow, is_far
from kansci.solvers.least_squares import SETTLED
from kansci.solvers.line_search import Place, strong_wolfe
from kansci.solvers.method import Settings
from kansci.solvers.normal import Linearization
from kansci.solvers.system import Evaluation, System

MEMORY = 50
START_DAMPING = 1e-3  # less would let rounding decide where the Jacobian does not
LEAST_CURVATURE = 1e-12


class Point(NamedTuple):
    """A point of the space of unknowns.

    Attributes:
        vector: the unknowns.
        value: of the function.
        gradient: of the function.
        payload: what else is known there.
        length: of the step that led there, as a multiple of -H times the gradient.
        free: 0 for unknowns that a bound stops, 1 for others; or 1.
    """

    vector: Float[Tensor, "p"]
    value: float
    gradient: Float[Tensor, "p"]
    payload: Any = None
    length: float = 1.0
    free: Float[Tensor, "p"] | float = 1.0


@runtime_checkable
class Inverse(Protocol):
    """An approximate inverse of the Hessian."""

    @property
    def is_known(self) -> bool:
        """Whether it is more than the identity."""
        ...

    def begin(self, system: System, at: Evaluation, memory: float) -> None:
        """Start from the Jacobian of a system at a point, for which so many bytes may be spent."""
        ...

    def times(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """H v."""
        ...

    def update(self, step: Float[Tensor, "p"], change: Float[Tensor, "p"], energy: float) -> None:
        """Learn from a step s and the change y of the gradient; `energy` is s^T B s."""
        ...

    def pack(self) -> dict[str, Tensor]:
        """What has been learned."""
        ...

    def unpack(self, tensors: dict[str, Tensor], size: int) -> None:
        """The inverse of `pack` for so many unknowns.

        Raises:
            CheckpointError: what no `pack` returns.
        """
        ...


class Scaling(NamedTuple):
    """Factors of an update: tau of what is known, phi of v v^T."""

    tau: float
    phi: float


def bfgs(size: int, b: float, h: float) -> Scaling:
    """Broyden, Fletcher, Goldfarb and Shanno."""
    return Scaling(1.0, 1.0)


def self_scaled_bfgs(size: int, b: float, h: float) -> Scaling:
    """BFGS that enlarges H where it is too small: b = s^T B s / y^T s > 1."""
    return Scaling(min(1.0, 1 / b), 1.0)


def self_scaled_broyden(size: int, b: float, h: float) -> Scaling:
    """The wide interval of Al-Baali and Khalfan, with b = s^T B s / y^T s and h = y^T H y / y^T s.

    Example:
        >>> self_scaled_broyden(2, 1.0, 1.0)
        Scaling(tau=1.0, phi=1.0)
    """
    a = max(b * h - 1, 0.0)
    if a < 1e-12:
        return self_scaled_bfgs(size, b, h)
    rho = min(1.0, h * (1 - math.sqrt(a / (1 + a))))
    theta = max((rho - 1) / a, min(1 / rho, (1 - b) / b))
    sigma = 1 + a * theta
    spread = sigma ** (-1 / (size - 1)) if size > 1 else 1.0
    smallest = min(1.0, 1 / b)
    tau = smallest * min(spread, 1 / theta) if theta > 0 else min(smallest * spread, sigma)
    return Scaling(tau, (1 - theta) / sigma)


class DenseInverse:
    """H as a matrix, at first a multiple of the identity that suits the first step.

    Attributes:
        matrix: H, or None before the first step.
    """

    def __init__(self, rule: Callable[[int, float, float], Scaling]) -> None:
        """Nothing is known; the rule gives the factors of each update from the size, b and h."""
        self.rule = rule
        self.matrix: Tensor | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a matrix."""
        return self.matrix is not None

    def begin(self, system: System, at: Evaluation, memory: float) -> None:
        """Half the damped inverse of J^T J, or of its diagonal where there is no other."""
        local = Linearization(system, at, memory)
        found = local.inverse(START_DAMPING)
        self.matrix = (torch.diag(local.diagonal_inverse(START_DAMPING)) if found is None else found).contiguous() / 2

    def times(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """H v."""
        return vector if self.matrix is None else self.matrix @ vector

    def update(self, step: Float[Tensor, "p"], change: Float[Tensor, "p"], energy: float) -> None:
        """Learn from a step s and the change y of the gradient; `energy` is s^T B s."""
        product = float(change @ step)
        if self.matrix is None:
            scale = product / float(change @ change)
            self.matrix = torch.diag(torch.full_like(step, scale))
            energy = float(step @ step) / scale
        image = self.matrix @ change
        square = float(change @ image)
        if not square > 0:  # H is not positive any more, by rounding
            self.matrix = None
            return
        tau, phi = self.rule(len(step), energy / product, square / product)
        v = math.sqrt(square) * (step / product - image / square)
        factors = torch.tensor([-1 / (square * tau), phi / tau, 1 / product], dtype=step.dtype, device=step.device)
        vectors = torch.stack([image, v, step])
        half = self.matrix.addmm_((vectors * factors[:, None] / 2).T, vectors, beta=1 / (2 * tau))
        self.matrix = half + half.T  # tau would amplify what rounding adds to an antisymmetric part

    def pack(self) -> dict[str, Tensor]:
        """The matrix, where there is one."""
        return {} if self.matrix is None else {"matrix": self.matrix}

    def unpack(self, tensors: dict[str, Tensor], size: int) -> None:
        """Take the matrix back."""
        self.matrix = tensors.get("matrix")
        if self.matrix is not None:
            _check_shape(self.matrix, (size, size))


class LimitedInverse:
    """BFGS that remembers the last steps only."""

    def __init__(self, memory: int = MEMORY) -> None:
        """Nothing is known."""
        self.pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=memory)
        self.scale: Tensor | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a scale or a step."""
        return self.scale is not None or bool(self.pairs)

    def begin(self, system: System, at: Evaluation, memory: float) -> None:
        """Half the damped inverse of the diagonal of J^T J, scaled to the last change of the gradient."""
        self.scale = Linearization(system, at, memory=0.0).diagonal_inverse(START_DAMPING) / 2

    def times(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """H v, by the recursion of Liu and Nocedal."""
        found, shares = vector.clone(), []
        for step, change, product in reversed(self.pairs):
            shares.append(float(step @ found) / product)
            found -= shares[-1] * change
        if self.scale is not None:
            found *= self.scale
        if self.pairs:
            _, change, product = self.pairs[-1]
            found *= product / (change @ (change if self.scale is None else self.scale * change))
        for (step, change, product), share in zip(self.pairs, reversed(shares), strict=True):
            found += (share - float(change @ found) / product) * step
        return found

    def update(self, step: Float[Tensor, "p"], change: Float[Tensor, "p"], energy: float) -> None:
        """Remember a step s and the change y of the gradient."""
        self.pairs.append((step, change, float(change @ step)))

    def pack(self) -> dict[str, Tensor]:
        """Steps and changes in rows, and the scale."""
        kept = {} if self.scale is None else {"scale": self.scale}
        if not self.pairs:
            return kept
        steps, changes, _ = zip(*self.pairs, strict=True)
        return {**kept, "steps": torch.stack(steps), "changes": torch.stack(changes)}

    def unpack(self, tensors: dict[str, Tensor], size: int) -> None:
        """Take them back."""
        self.pairs.clear()
        self.scale = tensors.get("scale")
        if self.scale is not None:
            _check_shape(self.scale, (size,))
        for step, change in zip(tensors.get("steps", ()), tensors.get("changes", ()), strict=True):
            _check_shape(step, (size,))
            _check_shape(change, (size,))
            self.update(step, change, 0.0)
            if not self.pairs[-1][2] > 0:
                raise CheckpointError("expected steps along which the gradient grows, got another")


def _check_shape(found: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(found.shape) != shape or found.dtype != torch.float64:
        raise CheckpointError(f"expected a tensor {shape} of float64, got {tuple(found.shape)} of {found.dtype}")


def descend(evaluate: Callable[[Tensor], Point], at: Point, inverse: Inverse, first: float) -> Point | None:
    """One step along -H times the gradient, from which H learns; None if nothing along it is lower.

    Args:
        evaluate: the function and its gradient at a vector, or at the nearest one within bounds.
        at: where to start.
        inverse: H.
        first: length of the first trial.
    """
    direction = ranks.agree(-at.free * inverse.times(at.free * at.gradient))
    slope = ranks.agree(float(direction @ at.gradient))
    if not slope < 0:
        return None

    def along(length: float) -> Place:
        goal = at.vector + length * direction
        point = evaluate(goal)
        moves = point.vector == goal  # what has met a bound does not
        return Place(length, point.value, ranks.agree(float(point.gradient @ (moves * direction))), point)

    place = strong_wolfe(along, Place(0.0, at.value, slope, at), first)
    if place is None:
        return None
    found: Point = place.payload._replace(length=place.length)
    step, change = found.vector - at.vector, at.free * (found.gradient - at.gradient)
    if float(step @ change) > LEAST_CURVATURE * float(step.norm() * change.norm()):
        is_whole = torch.equal(found.vector, at.vector + place.length * direction)
        inverse.update(step, change, -(place.length**2) * slope if is_whole else float(step @ change))
    return found


def along_gradient(at: Point) -> float:
    """Length of the first trial where nothing is known but the gradient: a step of length one at most."""
    norm = ranks.agree(float(at.gradient.norm()))
    return 1 / norm if norm > 1 else 1.0


def minimize(
    evaluate: Callable[[Tensor], Point], start: Point, inverse: Inverse, steps: int, stop: Callable[[Point], bool]
) -> tuple[Point, int]:
    """Descend until `stop` says so, until nothing is lower, or for a number of steps.

    Returns:
        The last point and the number of steps.

    Example:
        >>> center = torch.tensor([1.0, 2.0], dtype=torch.float64)
        >>> def bowl(x):
        ...     return Point(x, float((x - center).square().sum()), 2 * (x - center))
        >>> found, _ = minimize(bowl, bowl(0 * center), DenseInverse(bfgs), 50, lambda p: p.gradient.norm() < 1e-9)
        >>> found.vector
        tensor([1., 2.], dtype=torch.float64)
    """
    at = start
    for number in range(steps):
        if stop(at):
            return at, number
        found = descend(evaluate, at, inverse, min(1.0, at.length) if number else along_gradient(at))
        if found is None:
            return at, number
        at = found
    return at, steps


class QuasiNewton:
    """Steps along -H times the gradient; ends "converged" or "stalled" where not even a new H leads down."""

    round = 100
    damping = 0.0

    def __init__(self, settings: Settings, new: Callable[[], Inverse]) -> None:
        """Start with nothing learned; `new` makes an H."""
        self._settings, self._new = settings, new
        self._forget()

    def begin(self, system: System) -> None:
        """What was learned on other grids is not true any more."""
        self._forget()

    def step(self, system: System, at: Evaluation) -> Evaluation | str:
        """A lower point, on wider grids where its activations escape."""
        point = self._point
        if point is None or point.payload is not at:
            point = self._point_at(system, at)
        found = self._descend(system, point)
        if found is None and self._has_learned:  # what was learned may be wrong by now
            self._forget()
            found = self._descend(system, point)
        if found is None:
            promise = float(point.gradient @ self._inverse.times(point.free * point.gradient)) / 2
            return "converged" if ranks.agree(promise) < SETTLED * abs(at.loss) else "stalled"
        self._point, self._has_learned, self._length = found, True, found.length
        if escapes(system, found.payload):
            self._forget()
            return grow(system, found.payload, found.payload)
        return found.payload

    def _descend(self, system: System, point: Point) -> Point | None:
        if not self._inverse.is_known:
            self._inverse.begin(system, point.payload, self._settings.memory)
        return descend(lambda vector: self._evaluate(system, vector), point, self._inverse, min(1.0, self._length))

    def _evaluate(self, system: System, vector: Tensor) -> Point:
        """Within the bounds; a point whose activations are far outside of their grids is as high as can be."""
        at = system.evaluate(self._settings.clip(vector))
        if not math.isfinite(at.loss) or is_far(system, at):
            return Point(at.vector, math.inf, torch.zeros_like(at.vector), at)
        return self._point_at(system, at)

    def _point_at(self, system: System, at: Evaluation) -> Point:
        gradient, pinned = 2 * system.gradient(at), self._settings.pinned(at.vector)
        free = 1.0 if pinned is None else (~pinned.held(gradient)).to(gradient.dtype)
        return Point(at.vector, at.loss, gradient, at, free=free)

    def _forget(self) -> None:
        self._inverse, self._has_learned, self._length = self._new(), False, 1.0
        self._point: Point | None = None

    def pack(self) -> Group:
        """H, and the length of the last step."""
        return Group({"has_learned": self._has_learned, "length": self._length}, self._inverse.pack())

    def unpack(self, state: Group, size: int) -> None:
        """Take them back."""
        self._forget()
        self._has_learned, self._length = bool(state.about["has_learned"]), float(state.about["length"])
        self._inverse.unpack(state.tensors, size)
