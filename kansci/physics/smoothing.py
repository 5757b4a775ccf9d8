r"""Smooth motions through measured ones, with the derivatives that laws of motion need and their errors.

A motion q(t) is a spline of degree 5 with a knot at every sample. Measured are q or any of its first two derivatives,
each with its own noise,

.. math:: y_{ki} = q^{(k)}(t_i) + \sigma_k \varepsilon_{ki}, \qquad
          -2 \log p(q) = \frac{1}{\tau^2} \int \dddot q(t)^2\, dt + const,

and noises and roughness tau are those that make the data most likely (restricted maximum likelihood), all trajectories
of a coordinate together. Then everything is linear: values, derivatives and their standard deviations.

References:
    Wahba, Spline Models for Observational Data, SIAM 1990 (chapter 1).
    Eilers, Marx, Flexible smoothing with B-splines and penalties, Statistical Science 11 (1996) 89.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.interpolate import BSpline
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from torch import Tensor

from kansci.errors import DataError, ShapeError

DEGREE, PENALIZED = 5, 3
ORDERS = (0, 1, 2)
EXACT = 1e-7  # noise relative to the size of what is measured, below which it is not told from none
FEWEST = 8
LONGEST, OVERLAP = 240, 24  # samples of a piece, and how many more on each side


@dataclass(frozen=True)
class Smoothed:
    """Motions at the times of the samples.

    Attributes:
        values: q and its first two derivatives, by order (n, d).
        errors: their standard deviations.
        noise: of each order that was measured, for each coordinate (d,).
        independent: some samples (n,), as many of each motion as errors of q are independent.
    """

    values: dict[int, Float[Tensor, "n d"]]
    errors: dict[int, Float[Tensor, "n d"]]
    noise: dict[int, Float[Tensor, "d"]]
    independent: Bool[Tensor, "n"]


def smooth(
    times: Float[Tensor, "n"], measured: Mapping[int, Float[Tensor, "n d"]], trajectory: Tensor | None = None
) -> Smoothed:
    """Smooth motions through samples of q, of q', of q'', or of several of these.

    Args:
        times: of the samples.
        measured: by order of the derivative, 0, 1 or 2, what was measured.
        trajectory: a number for each sample (n,) that says which motion it belongs to; by default all to one. Samples
            of a motion ascend in time.

    Returns:
        Values, first and second derivatives at the times.

    Raises:
        ShapeError: not one row for each time, or an order that is none of these.
        DataError: times that do not ascend, or a motion with fewer than eight samples.

    Example:
        >>> t = torch.linspace(0, 6, 121, dtype=torch.float64)
        >>> found = smooth(t, {0: t.sin()[:, None]})
        >>> bool((found.values[2][10:-10, 0] + t[10:-10].sin()).abs().max() < 1e-3)
        True
    """
    n = len(times)
    if not measured or set(measured) - set(ORDERS) or any(len(own) != n for own in measured.values()):
        raise ShapeError(
            f"expected orders 0, 1 or 2 with {n} rows each, got { {k: tuple(v.shape) for k, v in measured.items()} }"
        )
    rows = torch.zeros(n) if trajectory is None else trajectory
    parts = [np.flatnonzero((rows == own).numpy()) for own in rows.unique()]
    for part in parts:
        _check(times[part].numpy())
    d = next(iter(measured.values())).shape[1]
    values = {order: torch.zeros(n, d, dtype=torch.float64) for order in ORDERS}
    errors = {order: torch.zeros(n, d, dtype=torch.float64) for order in ORDERS}
    noise = {order: torch.zeros(d, dtype=torch.float64) for order in measured}
    independent = torch.zeros(n, dtype=torch.bool)
    pieces = [piece for part in parts for piece in _pieces(part)]
    bases = [_Basis(times[own].numpy()) for own, _ in pieces]
    for column in range(d):
        data = [{order: own[piece, column].double().numpy() for order, own in measured.items()} for piece, _ in pieces]
        levels = _levels(bases, data)
        for order, own in zip(measured, levels[1:], strict=True):
            noise[order][column] = float(own)
        for (piece, kept), basis, own in zip(pieces, bases, data, strict=True):
            posterior, count = basis.posterior(own, levels)
            here = piece[kept]
            independent[here[np.linspace(0, len(here) - 1, min(count, len(here)) + 2).astype(int)[1:-1]]] = True
            for order, (mean, deviation) in posterior.items():
                values[order][piece[kept], column] = torch.from_numpy(mean[kept])
                errors[order][piece[kept], column] = torch.from_numpy(deviation[kept])
    return Smoothed(values, errors, noise, independent)


def _check(times: np.ndarray) -> None:
    if len(times) < FEWEST:
        raise DataError(f"expected at least {FEWEST} samples of each motion, got {len(times)}")
    if (np.diff(times) <= 0).any():
        raise DataError("expected the times of each motion to ascend; give a column that tells motions apart")


def _pieces(rows: np.ndarray) -> list[tuple[np.ndarray, slice]]:
    """Long motions in pieces that overlap, and which of the samples of each piece count."""
    if len(rows) <= LONGEST + 2 * OVERLAP:
        return [(rows, slice(None))]
    found = []
    count = -(-len(rows) // LONGEST)
    for own in np.array_split(np.arange(len(rows)), count):
        low, high = max(own[0] - OVERLAP, 0), min(own[-1] + 1 + OVERLAP, len(rows))
        found.append((rows[low:high], slice(own[0] - low, own[-1] + 1 - low)))
    return found


class _Basis:
    """Splines with a knot at every sample, over times scaled so that samples are one apart on average."""

    def __init__(self, times: np.ndarray) -> None:
        self.unit = (times[-1] - times[0]) / (len(times) - 1)
        self.times = (times - times[0]) / self.unit
        self.knots = np.concatenate([[self.times[0]] * DEGREE, self.times, [self.times[-1]] * DEGREE])

    @property
    def size(self) -> int:
        """Number of splines."""
        return len(self.knots) - DEGREE - 1

    @cached_property
    def columns(self) -> dict[int, np.ndarray]:
        """Derivatives of each order with respect to the true time."""
        spline = BSpline(self.knots, np.eye(self.size), DEGREE)
        return {order: spline(self.times, order) / self.unit**order for order in ORDERS}

    @cached_property
    def penalty(self) -> np.ndarray:
        """The integral of the square of the third derivative, by Gauss' rule."""
        nodes, weights = np.polynomial.legendre.leggauss(DEGREE - PENALIZED + 1)
        left, half = self.times[:-1, None], np.diff(self.times)[:, None] / 2
        slopes = BSpline(self.knots, np.eye(self.size), DEGREE)((left + half * (1 + nodes)).ravel(), PENALIZED)
        return (slopes * (half * weights).ravel()[:, None]).T @ slopes / self.unit ** (2 * PENALIZED - 1)

    def normal(self, data: Mapping[int, np.ndarray], levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and right-hand side of the most likely coefficients."""
        matrix, right = self.penalty / levels[0] ** 2, np.zeros(self.size)
        for (order, values), noise in zip(data.items(), levels[1:], strict=True):
            matrix = matrix + self.columns[order].T @ self.columns[order] / noise**2
            right = right + self.columns[order].T @ values / noise**2
        return matrix, right

    def posterior(
        self, data: Mapping[int, np.ndarray], levels: np.ndarray
    ) -> tuple[dict[int, tuple[np.ndarray, np.ndarray]], int]:
        """Mean and standard deviation of each derivative at the samples, and how many errors of q are independent."""
        matrix, right = self.normal(data, levels)
        scale = np.sqrt(np.diag(matrix))
        factor = cho_factor(matrix / scale / scale[:, None] + 1e-13 * np.eye(self.size))
        coefficients = cho_solve(factor, right / scale) / scale
        found, covariances = {}, {}
        for order, columns in self.columns.items():
            covariances[order] = columns / scale @ cho_solve(factor, (columns / scale).T)
            found[order] = columns @ coefficients, np.sqrt(np.maximum(np.diag(covariances[order]), 0))
        count = np.trace(covariances[0]) ** 2 / np.square(covariances[0]).sum()
        return found, max(1, round(count))

    def deviance(self, data: Mapping[int, np.ndarray], levels: np.ndarray) -> float:
        """-2 log of the restricted likelihood, but for a constant."""
        matrix, right = self.normal(data, levels)
        scale = np.sqrt(np.diag(matrix))
        factor = cho_factor(matrix / scale / scale[:, None] + 1e-13 * np.eye(self.size))
        fitted = right / scale @ cho_solve(factor, right / scale)
        total = 2 * np.log(np.diag(factor[0])).sum() + 2 * np.log(scale).sum()
        total += 2 * (self.size - PENALIZED) * np.log(levels[0])
        for values, noise in zip(data.values(), levels[1:], strict=True):
            total += 2 * len(values) * np.log(noise) + (values**2).sum() / noise**2
        return float(total - fitted)


def _levels(bases: Sequence[_Basis], data: Sequence[Mapping[int, np.ndarray]]) -> np.ndarray:
    """Roughness and the noise of each order that make the data most likely."""
    sizes = [np.sqrt(np.mean(np.concatenate([own[order] for own in data]) ** 2)) for order in data[0]]
    order, size = next(iter(data[0])), sizes[0]
    rough = size / bases[0].unit ** (PENALIZED - order) / np.sqrt(1 / bases[0].unit)
    floor = np.log([1e-12 * rough, *(EXACT * max(own, 1e-300) for own in sizes)])
    top = np.log([1e3 * rough, *(max(own, 1e-300) for own in sizes)])

    def deviance(point: np.ndarray) -> float:
        levels = np.exp(np.clip(point, floor, top))
        try:
            return sum(basis.deviance(own, levels) for basis, own in zip(bases, data, strict=True))
        except np.linalg.LinAlgError:
            return np.inf

    starts = [np.concatenate([[top[0] - 7 - 3 * k], top[1:] - 3 - 3 * k]) for k in range(3)]
    best = min(
        (
            minimize(deviance, start, method="Nelder-Mead", options={"maxiter": 300, "xatol": 0.02, "fatol": 0.05})
            for start in starts
        ),
        key=lambda own: own.fun,
    )
    return np.exp(np.clip(best.x, floor, top))
