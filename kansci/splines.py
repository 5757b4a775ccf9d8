"""B-splines of any degree on any knots: local evaluation, exact refinement, projection, grids from samples.

A spline of degree k on a grid of G intervals, t_0 < ... < t_G, is a sum of G + k basis functions, each alive
on k + 1 neighboring intervals. The knot vector holds the grid extended by k knots on each side, G + 2k + 1 in
all. Only the k + 1 basis functions alive at a point are ever evaluated. Outside the grid everything continues
linearly.

References:
    de Boor, A Practical Guide to Splines, Springer 2001 (local evaluation, knot insertion, Greville points).
"""

from fractions import Fraction
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

MAX_DEGREE = 9


class LocalBasis(NamedTuple):
    """The basis functions alive at each point, with their derivatives.

    Attributes:
        first: (n, in), number of the first basis function alive; the others follow it.
        values: (n, in, orders, k + 1), the derivatives of order 0, 1, ... of the k + 1 functions.
    """

    first: Int[Tensor, "n in"]
    values: Float[Tensor, "n in orders alive"]


def uniform_knots(low: Float[Tensor, "in"], high: Float[Tensor, "in"], grid: int, k: int) -> Float[Tensor, "in t"]:
    """Equidistant knots: `grid` intervals on [low, high], k more knots on each side.

    Example:
        >>> uniform_knots(torch.zeros(1), torch.ones(1), grid=2, k=1)
        tensor([[-0.5000,  0.0000,  0.5000,  1.0000,  1.5000]])
    """
    steps = torch.arange(-k, grid + k + 1, dtype=low.dtype, device=low.device) / grid
    return torch.lerp(low[:, None], high[:, None], steps)


def extend_grid(grid: Float[Tensor, "in g"], k: int) -> Float[Tensor, "in t"]:
    """Knots of a grid of any spacing: the end intervals are repeated k times on each side.

    Example:
        >>> extend_grid(torch.tensor([[0.0, 1.0, 4.0]]), k=2)
        tensor([[-2., -1.,  0.,  1.,  4.,  7., 10.]])
    """
    steps = torch.arange(1, k + 1, dtype=grid.dtype, device=grid.device)
    before = grid[:, :1] - steps.flip(0) * (grid[:, 1:2] - grid[:, :1])
    after = grid[:, -1:] + steps * (grid[:, -1:] - grid[:, -2:-1])
    return torch.cat([before, grid, after], dim=1)


def domain_of(knots: Float[Tensor, "in t"], k: int) -> tuple[Float[Tensor, "in"], Float[Tensor, "in"]]:
    """Ends of the grid, without the extension."""
    return knots[:, k], knots[:, knots.shape[1] - 1 - k]


def evaluate_basis(
    x: Float[Tensor, "n in"], knots: Float[Tensor, "in t"], k: int, orders: int, *, uniform: bool
) -> LocalBasis:
    """Basis functions alive at x and their first `orders - 1` derivatives; linear outside the grid.

    Meant for closed-form derivatives: it is not differentiable by autograd where x leaves the grid.

    Args:
        x: points, one column for each knot vector.
        knots: extended knots, increasing.
        k: polynomial degree.
        orders: how many derivatives, the value counted as one, at most 4.
        uniform: whether the knots are equidistant, which is faster.

    Returns:
        The number of the first function alive and the local values.

    References:
        de Boor, A Practical Guide to Splines, Springer 2001, chapters IX and X.

    Example:
        >>> x = torch.tensor([[0.5]], dtype=torch.float64)
        >>> knots = torch.arange(-3.0, 5.0, dtype=torch.float64)[None]
        >>> evaluate_basis(x, knots, 3, 1, uniform=True).values.flatten() * 48
        tensor([ 1., 23., 23.,  1.], dtype=torch.float64)
    """
    clamped = torch.clamp(x, *domain_of(knots, k))
    outside = (x - clamped)[..., None]
    evaluate = _uniform_basis if uniform else _general_basis
    first, values = evaluate(clamped, knots, k, max(orders, 2))
    values[..., 0, :] += outside * values[..., 1, :]
    values[..., 2:, :] *= (outside == 0)[..., None]
    return LocalBasis(first, values[..., :orders, :])


def basis_values(x: Float[Tensor, "n in"], knots: Float[Tensor, "in t"], k: int, *, uniform: bool) -> LocalBasis:
    """The values alone, by operations that autograd, vmap and compilers can take apart.

    Args:
        x: points, one column for each knot vector.
        knots: extended knots, increasing.
        k: polynomial degree.
        uniform: whether the knots are equidistant, which is faster.

    Returns:
        What `evaluate_basis` returns with `orders` = 1.
    """
    clamped = torch.clamp(x, *domain_of(knots, k))
    outside = x - clamped
    if uniform:
        interval, v, scale = _locate(clamped, knots, k)
        powers = _powers(v, k)
        slopes = [torch.zeros_like(v), *(p * power for p, power in enumerate(powers[:-1], 1))]
        linear = torch.stack(powers, -1) + (outside * scale)[..., None] * torch.stack(slopes, -1)
        return LocalBasis(interval, (linear @ _pieces(k, 1, x))[..., None, :])
    first, values = _general_basis(clamped, knots, k, 2)
    return LocalBasis(first, values[..., :1, :] + outside[..., None, None] * values[..., 1:, :])


def _locate(x: Tensor, knots: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Interval number, place -1/2 <= v <= 1/2 within it, and intervals per unit length."""
    low, high = domain_of(knots, k)
    grid = knots.shape[1] - 2 * k - 1
    scale = grid / (high - low)
    position = (x - low) * scale
    interval = position.detach().floor().long().clamp(0, grid - 1)
    return interval, position - interval - 0.5, scale


def _powers(v: Tensor, k: int) -> list[Tensor]:
    powers = [torch.ones_like(v), v]
    for _ in range(2, k + 1):
        powers.append(powers[-1] * v)
    return powers[: k + 1]


def _uniform_basis(x: Tensor, knots: Tensor, k: int, orders: int) -> LocalBasis:
    interval, v, scale = _locate(x, knots, k)
    values = torch.stack(_powers(v, k), -1) @ _pieces(k, orders, x)
    units = torch.stack([scale**m for m in range(orders)], -1)
    return LocalBasis(interval, values.unflatten(-1, (orders, k + 1)) * units[..., None])


def _general_basis(x: Tensor, knots: Tensor, k: int, orders: int) -> LocalBasis:
    """Cox-de Boor recursion on the 2k knots around each point."""
    grid = knots.shape[1] - 2 * k - 1
    ends = knots[:, k + 1 : k + grid].contiguous()
    interval = torch.searchsorted(ends, x.detach().T.contiguous(), right=True).T
    around = interval[..., None] + torch.arange(1, 2 * k + 1, device=x.device)
    t = torch.gather(knots.expand(*x.shape[:-1], *knots.shape), -1, around)
    derivatives = [_derivative(x[..., None], t, k, m) for m in range(orders)]
    return LocalBasis(interval, torch.stack(derivatives, dim=-2))


def _derivative(x: Tensor, t: Tensor, k: int, m: int) -> Tensor:
    """Derivative m of the k + 1 functions of degree k alive at x; t are the 2k knots around it.

    The last m steps of the recursion differentiate: each takes values of one degree to slopes of the next.
    """
    if m > k:
        return torch.zeros_like(x).expand(*x.shape[:-1], k + 1)
    values = torch.ones_like(x)
    for degree in range(1, k + 1):
        left, right = t[..., k - degree : k], t[..., k : k + degree]
        values = values / (right - left)
        if degree <= k - m:
            rising, falling = (x - left) * values, (right - x) * values
        else:
            rising, falling = degree * values, -degree * values
        pad = torch.zeros_like(x)
        values = torch.cat([falling, pad], -1) + torch.cat([pad, rising], -1)
    return values


@cache
def _exact_pieces(k: int) -> tuple[tuple[Fraction, ...], ...]:
    """Power coefficients, in v = u - 1/2, of the k + 1 uniform basis functions on the interval 0 <= u <= 1.

    From B_j^k = ((u + k - j) B_{j-1}^{k-1} + (j + 1 - u) B_j^{k-1}) / k, in rational arithmetic.
    """
    if k == 0:
        return ((Fraction(1),),)
    lower = (_zero(k), *_exact_pieces(k - 1), _zero(k))
    half = Fraction(1, 2)
    return tuple(
        tuple(a / k for a in _add(_times_linear(lower[j], half + k - j, 1), _times_linear(lower[j + 1], half + j, -1)))
        for j in range(k + 1)
    )


def _zero(size: int) -> tuple[Fraction, ...]:
    return (Fraction(0),) * size


def _add(p: tuple[Fraction, ...], q: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    return tuple(a + b for a, b in zip(p, q, strict=True))


def _times_linear(p: tuple[Fraction, ...], constant: Fraction, slope: int) -> tuple[Fraction, ...]:
    """(constant + slope * v) * p(v)."""
    return _add((*(constant * a for a in p), Fraction(0)), (Fraction(0), *(slope * a for a in p)))


def _piece_table(k: int, orders: int) -> Tensor:
    """(k + 1 powers, orders * (k + 1) functions): the pieces and their derivatives with respect to v."""
    pieces = [list(piece) for piece in _exact_pieces(k)]
    rows = list(pieces)
    for _ in range(1, orders):
        pieces = [[*(p * a for p, a in enumerate(piece[1:], 1)), Fraction(0)] for piece in pieces]
        rows += pieces
    with torch.inference_mode(mode=False):
        table = torch.tensor([list(map(float, row)) for row in rows], dtype=torch.float64, device="cpu")
        return table.T.contiguous()


# Filled on import and not on first use, which may be inside a tracer or under inference_mode.
_TABLES = {(k, orders): _piece_table(k, orders) for k in range(1, MAX_DEGREE + 1) for orders in (1, 2, 3, 4)}


def _pieces(k: int, orders: int, like: Tensor) -> Tensor:
    return _TABLES[k, orders].to(device=like.device, dtype=like.dtype)


def insertion_matrix(
    knots: Float[Tensor, "in t"], finer: Float[Tensor, "in s"], k: int
) -> Float[Tensor, "in fine coarse"]:
    """Matrix that turns coefficients on `knots` into those of the same spline on `finer` knots.

    Coefficient j on the finer knots s is the blossom of the spline at s_{j+1}, ..., s_{j+k}, evaluated by the
    de Boor recursion on the coarse interval that holds s_j, from s_{j+k} down, which keeps the digits.

    Args:
        knots: extended knots.
        finer: extended knots of a grid that contains the grid of `knots`; the extensions may differ.
        k: polynomial degree.

    Returns:
        The matrix (in, coefficients on finer, coefficients on knots).

    Example:
        >>> coarse = uniform_knots(torch.zeros(1), torch.ones(1), 1, 1)
        >>> fine = uniform_knots(torch.zeros(1), torch.ones(1), 2, 1)
        >>> insertion_matrix(coarse, fine, 1)[0]
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000],
                [0.0000, 1.0000]])
    """
    n_coarse, n_fine = knots.shape[1] - k - 1, finer.shape[1] - k - 1
    middle = (finer[:, :n_fine] + finer[:, 1 : n_fine + 1]) / 2
    interval = torch.searchsorted(knots.contiguous(), middle.contiguous()) - 1
    interval = interval.clamp(k, n_coarse - 1)
    offsets = torch.arange(k + 1, device=knots.device)
    identity = torch.eye(n_coarse, dtype=knots.dtype, device=knots.device)
    blossom = identity[interval[..., None] - k + offsets]
    for step in range(1, k + 1):
        place = interval[..., None] - k + step + offsets[: k + 1 - step]
        left = knots.gather(1, place.flatten(1)).view(place.shape)
        right = knots.gather(1, (place + k + 1 - step).flatten(1)).view(place.shape)
        argument = finer[:, k + 1 - step : n_fine + k + 1 - step, None]
        share = ((argument - left) / (right - left))[..., None]
        blossom = (1 - share) * blossom[..., :-1, :] + share * blossom[..., 1:, :]
    return blossom.squeeze(-2)
