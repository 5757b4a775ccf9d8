"""Solutions by methods that have nothing to do with networks, to measure networks against."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator
from scipy.special import roots_hermite
from torch import Tensor

from problems.pde.physics import Case

QUADRATURE = 300
NODES = 500
MULTIPOLES, IMAGES, HARMONICS = 14, 10, 40

Reference = Callable[[Tensor], Tensor]


def burgers(viscosity: float) -> Reference:
    """u(t, x) of Burgers' equation from -sin(pi x), after Cole and Hopf, by quadrature of Gauss and Hermite.

    References:
        Cole, Quarterly of Applied Mathematics 9 (1951) 225; Hopf, Comm. Pure Appl. Math. 3 (1950) 201.
    """
    nodes, weights = (torch.from_numpy(own) for own in roots_hermite(QUADRATURE))

    def solution(points: Tensor) -> Tensor:
        t, x = points.unbind(1)
        y = x[:, None] - 2 * (viscosity * t)[:, None].sqrt() * nodes
        exponent = -(torch.pi * y).cos() / (2 * torch.pi * viscosity)
        share = weights * (exponent - exponent.amax(1, keepdim=True)).exp()
        return -((torch.pi * y).sin() * share).sum(1) / share.sum(1)

    return solution


def allen_cahn(diffusivity: float, *, periodic: bool) -> Reference:
    """u(t, x) of u_t = D u_xx + 5 (u - u^3) from x^2 cos(pi x), at 101 times, by collocation and Radau's method.

    u is even, so it is sought on [0, 1] with u_x = 0 at 0; at 1 it is -1, or u_x = 0, too, where it is periodic.
    """
    first, x = chebyshev(NODES)
    second, inner = first @ first, slice(1, -1)
    rows, held = first[[0, -1]].copy(), np.zeros(2)
    if not periodic:
        rows[0], held[0] = np.eye(NODES + 1)[0], -1.0
    outer = np.linalg.solve(rows[:, [0, -1]], np.column_stack([held, -rows[:, inner]]))

    def whole(values: np.ndarray) -> np.ndarray:
        ends = outer[:, :1] + outer[:, 1:] @ values
        return np.concatenate([ends[:1], values, ends[1:]])

    spread = diffusivity * (second[inner, inner] + second[inner][:, [0, -1]] @ outer[:, 1:])
    source = diffusivity * second[inner][:, [0, -1]] @ outer[:, 0]

    def rate(_: float, values: np.ndarray) -> np.ndarray:
        return spread @ values + source + 5 * (values - values**3)

    def slope(_: float, values: np.ndarray) -> np.ndarray:
        return spread + np.diag(5 - 15 * values**2)

    start = (x**2 * np.cos(np.pi * x))[inner]
    times = np.linspace(0, 1, 101)
    found = solve_ivp(rate, (0, 1), start, method="Radau", jac=slope, t_eval=times, rtol=1e-10, atol=1e-11)
    table = whole(found.y)
    table[:, 0] = x**2 * np.cos(np.pi * x)

    def solution(points: Tensor) -> Tensor:
        t, place = points.numpy().T
        places, rows = np.unique(np.abs(place), return_inverse=True)
        columns = np.rint(t * (len(times) - 1)).astype(int)
        return torch.from_numpy(BarycentricInterpolator(x, table)(places)[rows, columns])

    return solution


def chebyshev(n: int) -> tuple[np.ndarray, np.ndarray]:
    """First derivatives at the n + 1 extremes of a Chebyshev polynomial of [0, 1], from 1 to 0.

    References:
        Trefethen, Spectral Methods in MATLAB, SIAM 2000, chapter 6.
    """
    number = np.arange(n + 1)
    x = np.cos(np.pi * number / n)
    factors = np.where((number == 0) | (number == n), 2.0, 1.0) * (-1.0) ** number
    first = np.outer(factors, 1 / factors) / (x[:, None] - x + np.eye(n + 1))
    first -= np.diag(first.sum(1))
    return 2 * first, (x + 1) / 2


def holes(case: Case) -> Reference:
    """The harmonic function on a square with round holes and constant values on all boundaries.

    A sum of multipoles in the holes and in their mirror images beyond the sides, and of harmonic polynomials, fitted to
    the values on the boundaries, where a harmonic function has its largest error.
    """
    (low, high), _ = case.box
    half = (high - low) / 2
    centers = [(a, b, radius, MULTIPOLES) for a, b, radius in case.holes]
    mirrored = {
        (round(p, 12), round(q, 12), radius)
        for a, b, radius in case.holes
        for p in (a, math.copysign(2 * half, a) - a)
        for q in (b, math.copysign(2 * half, b) - b)
        if (p, q) != (a, b)
    }
    centers += [(a, b, radius, IMAGES) for a, b, radius in sorted(mirrored)]

    def columns(points: np.ndarray) -> np.ndarray:
        z = points[:, 0] + 1j * points[:, 1]
        powers = [(z / (1.5 * half)) ** power for power in range(1, HARMONICS + 1)]
        logs = []
        for a, b, radius, order in centers:
            ratio = (z - (a + 1j * b)) / radius
            logs.append(np.log(np.abs(ratio)))
            powers += [ratio**-power for power in range(1, order + 1)]
        parts = [part for power in powers for part in (power.real, power.imag)]
        return np.stack([np.ones(len(z)), *logs, *parts], 1)

    side = half * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    edge = np.full_like(side, half)
    outer = np.concatenate([np.stack(own, 1) for own in ((side, -edge), (side, edge), (-edge, side), (edge, side))])
    angle = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    inner = np.concatenate([np.array([a, b]) + radius * ring for a, b, radius in case.holes])
    wanted = [float(case.wall_values[0])] * len(outer) + [float(case.hole_values[0])] * len(inner)
    matrix = columns(np.concatenate([outer, inner]))
    scale = np.abs(matrix).max(0)
    found = np.linalg.lstsq(matrix / scale, np.array(wanted), rcond=1e-15)[0] / scale
    return lambda points: torch.from_numpy(columns(points.numpy()) @ found)


def reference_of(name: str, case: Case, diffusivity: float) -> Reference | None:
    """The solution to measure against, of the first unknown: by a formula where there is one, or by another method."""
    if case.exact:
        return case.functions(case.exact)[0]
    if name == "burgers":
        return burgers(0.01 / math.pi)
    if name == "allen_cahn":
        return allen_cahn(diffusivity, periodic=case.walls == "periodic")
    return holes(case) if name == "holes" else None
