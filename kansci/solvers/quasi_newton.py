r"""Quasi-Newton methods of Broyden's family, with full and with limited memory.

H approximates the inverse of the Hessian B. After a step s along which the gradient changed by y,

.. math:: H \leftarrow \frac 1 \tau \Big(H - \frac{H y y^T H}{y^T H y} + \varphi v v^T\Big) + \frac{s s^T}{y^T s},
    \quad v = \sqrt{y^T H y} \, \Big(\frac{s}{y^T s} - \frac{H y}{y^T H y}\Big)

with tau = phi = 1 for BFGS. Self-scaling enlarges H where it is too small along the step, and Broyden's parameter may
leave the convex class between BFGS and DFP.

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

from kansci.solvers.control import Control, Progress
from kansci.solvers.growth import escapes, grow, is_far
from kansci.solvers.line_search import Place, strong_wolfe
from kansci.solvers.system import Evaluation, System

MEMORY = 20
ROUND = 100
LEAST_CURVATURE = 1e-12


class Point(NamedTuple):
    """A point of the space of unknowns.

    Attributes:
        vector: the unknowns.
        value: of the function.
        gradient: of the function.
        payload: what else is known there.
        length: of the step that led there, as a multiple of -H times the gradient.
    """

    vector: Float[Tensor, "p"]
    value: float
    gradient: Float[Tensor, "p"]
    payload: Any = None
    length: float = 1.0


@runtime_checkable
class Inverse(Protocol):
    """An approximate inverse of the Hessian."""

    def times(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """H v."""
        ...

    def update(self, step: Float[Tensor, "p"], change: Float[Tensor, "p"], energy: float) -> None:
        """Learn from a step s and the change y of the gradient; `energy` is s^T B s."""
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
        tau, phi = self.rule(len(step), energy / product, square / product)
        v = math.sqrt(square) * (step / product - image / square)
        factors = torch.tensor([-1 / (square * tau), phi / tau, 1 / product], dtype=step.dtype, device=step.device)
        vectors = torch.stack([image, v, step])
        half = self.matrix.addmm_((vectors * factors[:, None] / 2).T, vectors, beta=1 / (2 * tau))
        self.matrix = half + half.T  # tau would amplify what rounding adds to an antisymmetric part


class LimitedInverse:
    """BFGS that remembers the last steps only."""

    def __init__(self, memory: int = MEMORY) -> None:
        """Nothing is known."""
        self.pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=memory)

    def times(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """H v, by the recursion of Liu and Nocedal."""
        found, shares = vector.clone(), []
        for step, change, product in reversed(self.pairs):
            shares.append(float(step @ found) / product)
            found -= shares[-1] * change
        if self.pairs:
            _, change, product = self.pairs[-1]
            found *= product / (change @ change)
        for (step, change, product), share in zip(self.pairs, reversed(shares), strict=True):
            found += (share - float(change @ found) / product) * step
        return found

    def update(self, step: Float[Tensor, "p"], change: Float[Tensor, "p"], energy: float) -> None:
        """Remember a step s and the change y of the gradient."""
        self.pairs.append((step, change, float(change @ step)))


def descend(evaluate: Callable[[Tensor], Point], at: Point, inverse: Inverse, first: float) -> Point | None:
    """One step along -H times the gradient, from which H learns; None if nothing along it is lower.

    Args:
        evaluate: the function and its gradient at a vector.
        at: where to start.
        inverse: H.
        first: length of the first trial.
    """
    direction = -inverse.times(at.gradient)
    slope = float(direction @ at.gradient)
    if not slope < 0:
        return None

    def along(length: float) -> Place:
        point = evaluate(at.vector + length * direction)
        return Place(length, point.value, float(point.gradient @ direction), point)

    place = strong_wolfe(along, Place(0.0, at.value, slope, at), first)
    if place is None:
        return None
    found: Point = place.payload._replace(length=place.length)
    step, change = found.vector - at.vector, found.gradient - at.gradient
    if float(step @ change) > LEAST_CURVATURE * float(step.norm() * change.norm()):
        inverse.update(step, change, -(place.length**2) * slope)
    return found


def along_gradient(at: Point) -> float:
    """Length of the first trial where nothing is known but the gradient: a step of length one at most."""
    return min(1.0, 1 / float(at.gradient.norm()))


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


def quasi_newton(new: Callable[[], Inverse]) -> Callable[..., tuple[Evaluation, float, str]]:
    """The method of `solve` that minimizes the loss with this kind of inverse."""

    def run(system: System, start: Evaluation, control: Control, damping: float) -> tuple[Evaluation, float, str]:
        found, status = _run(system, start, control, new)
        system.place(found)
        return found, damping, status

    return run


def _run(system: System, start: Evaluation, control: Control, new: Callable[[], Inverse]) -> tuple[Evaluation, str]:
    if not math.isfinite(start.loss):
        return start, "diverged"
    at, inverse, progress = _point(system, start), new(), Progress(control, start.loss, ROUND)
    has_learned = False
    for _ in range(control.steps):
        first = min(1.0, at.length) if has_learned else along_gradient(at)
        found = descend(lambda vector: _point(system, system.evaluate(vector)), at, inverse, first)
        if found is None and not has_learned:
            return at.payload, "stalled"
        if found is None:  # what was learned may be wrong by now
            inverse, has_learned = new(), False
            continue
        at, has_learned = found, True
        if escapes(system, at.payload):
            at, inverse, has_learned = _point(system, grow(system, at.payload, at.payload)), new(), False
        status = progress.after(at.payload)
        if status is not None:
            return at.payload, status
    return at.payload, "max_steps"


def _point(system: System, at: Evaluation) -> Point:
    """Loss and gradient; a point whose activations are far outside of their grids is as high as can be."""
    if not math.isfinite(at.loss) or is_far(system, at):
        return Point(at.vector, math.inf, torch.zeros_like(at.vector), at)
    return Point(at.vector, at.loss, 2 * system.gradient(at), at)
