"""B-splines of any degree on any knots: local evaluation, exact refinement, projection, grids from samples.

A spline of degree k on a grid of G intervals, t_0 < ... < t_G, is a sum of G + k basis functions, each alive
on k + 1 neighboring intervals. The knot vector holds the grid extended by k knots on each side, G + 2k + 1 in
all. Only the k + 1 basis functions alive at a point are ever evaluated. Outside the grid everything continues
linearly.

References:
    de Boor, A Practical Guide to Splines, Springer 2001 (local evaluation, knot insertion, Greville points).
"""

import math
from collections.abc import Sequence
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
        first: (in, n), number of the first basis function alive; the others follow it.
        values: (in, orders, k + 1, n), the derivatives of order 0, 1, ... of the k + 1 functions.
    """

    first: Int[Tensor, "in n"]
    values: Float[Tensor, "in orders alive n"]


class Place(NamedTuple):
    """Where points stand on their grids, in intervals from the low end.

    Attributes:
        inside: the nearest place on the grid.
        outside: how far beyond it a point is.
        above: how far above it.
    """

    inside: Float[Tensor, "in n"]
    outside: Float[Tensor, "in n"]
    above: Float[Tensor, "in n"]


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


def domain_of(knots: Float[Tensor, "in t *_"], k: int) -> tuple[Float[Tensor, "in *_"], Float[Tensor, "in *_"]]:
    """Ends of the grid, without the extension."""
    return knots[:, k], knots[:, knots.shape[1] - 1 - k]


def positions(x: Float[Tensor, "in n"], knots: Float[Tensor, "in t"], k: int) -> Float[Tensor, "in n"]:
    """Points in units of an equidistant grid, exactly 0 at the low end and `grid` at the high one."""
    low, high = domain_of(knots[..., None], k)
    return (x - low) / (high - low) * (knots.shape[1] - 2 * k - 1)


def place_on(position: Float[Tensor, "in n"], grid: int) -> Place:
    """Split positions into what is on the grid and what is beyond."""
    inside = position.clamp(0, grid)
    outside = position - inside
    return Place(inside, outside, outside.relu())


def evaluate_basis(
    x: Float[Tensor, "in n"], knots: Float[Tensor, "in t"], k: int, orders: int, *, uniform: bool
) -> LocalBasis:
    """Basis functions alive at x and their first `orders - 1` derivatives; linear outside the grid.

    By operations that autograd, vmap and compilers can take apart.

    Args:
        x: points, one row for each knot vector.
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
    place = place_on(positions(x, knots, k), knots.shape[1] - 2 * k - 1)
    if uniform:
        first, values = uniform_basis(place, knots.shape[1] - 2 * k - 1, table(k, orders, x.dtype))
    else:
        first, values = general_basis(place, positions(knots, knots, k), k, orders)
    low, high = domain_of(knots[..., None], k)
    per_unit = (knots.shape[1] - 2 * k - 1) / (high - low)
    within = place.outside == 0
    units = [per_unit**m * (within if m > 1 else torch.ones_like(within)) for m in range(orders)]
    return LocalBasis(first, values * torch.stack(units, 1)[:, :, None])


def uniform_basis(
    place: Place, grid: int, pieces: tuple[Tensor, Tensor], others: Sequence[Float[Tensor, "in n"]] = ()
) -> LocalBasis:
    """Basis functions on an equidistant grid and their derivatives with respect to the position.

    One matrix product of the coefficients of all pieces with powers, linear continuation included. Derivatives of
    order 2 and more are those of the end pieces outside the grid.

    Args:
        place: the points.
        grid: number of intervals.
        pieces: a `table`.
        others: further rows of that matrix product.
    """
    k = pieces[1].shape[1] - 2 - len(others)
    interval = place.inside.detach().long().clamp(0, grid - 1)
    v = place.inside - interval - 0.5
    powers = [v]
    for _ in range(2, k + 1):
        powers.append(powers[-1] * v)
    rows = torch.stack([*powers, place.outside, place.above, *others], 1)
    constants, factors = (own.to(v.device) for own in pieces)
    values = torch.baddbmm(constants, factors.expand(len(v), -1, -1), rows)
    return LocalBasis(interval, values.unflatten(1, (-1, k + 1 + bool(others))))


def general_basis(place: Place, knots: Float[Tensor, "in t"], k: int, orders: int) -> LocalBasis:
    """The same on any knots, in units of position, by the Cox-de Boor recursion on the 2k knots around each point."""
    grid = knots.shape[1] - 2 * k - 1
    ends = knots[:, k + 1 : k + grid].contiguous()
    interval = torch.searchsorted(ends, place.inside.detach().contiguous(), right=True)
    around = interval + torch.arange(1, 2 * k + 1, device=ends.device)[:, None, None]
    t = torch.gather(knots.T[..., None].expand(*knots.T.shape, interval.shape[1]), 0, around)
    value, slope, *others = (_derivative(place.inside, t, k, m) for m in range(max(orders, 2)))
    derivatives = torch.stack([value + place.outside * slope, slope, *others][:orders])
    return LocalBasis(interval, derivatives.permute(2, 0, 1, 3))


def _derivative(x: Tensor, t: Tensor, k: int, m: int) -> Tensor:
    """Derivative m of the k + 1 functions of degree k alive at x; t are the 2k knots around it.

    The last m steps of the recursion differentiate: each takes values of one degree to slopes of the next.
    """
    if m > k:
        return torch.zeros_like(x).expand(k + 1, *x.shape)
    values = torch.ones_like(x)[None]
    for degree in range(1, k + 1):
        left, right = t[k - degree : k], t[k : k + degree]
        values = values / (right - left)
        if degree <= k - m:
            rising, falling = (x - left) * values, (right - x) * values
        else:
            rising, falling = degree * values, -degree * values
        pad = torch.zeros_like(x)[None]
        values = torch.cat([falling, pad]) + torch.cat([pad, rising])
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
    """(orders * (k + 1), k + 3): the pieces and their derivatives with respect to v, one order after the other.

    Columns belong to 1, v, ..., v^k, and, for the linear continuation of the values, to the number of intervals by
    which a point is outside the grid and by which it is above.
    """
    pieces = [list(piece) for piece in _exact_pieces(k)]
    slopes = [[_slope_at(piece, end) for end in (Fraction(-1, 2), Fraction(1, 2))] for piece in pieces]
    rows = [[*piece, low, high - low] for piece, (low, high) in zip(pieces, slopes, strict=True)]
    for _ in range(1, orders):
        pieces = [[*(p * a for p, a in enumerate(piece[1:], 1)), Fraction(0)] for piece in pieces]
        rows += [[*piece, Fraction(0), Fraction(0)] for piece in pieces]
    with torch.inference_mode(mode=False):
        return torch.tensor([list(map(float, row)) for row in rows], dtype=torch.float64, device="cpu")


def _slope_at(piece: Sequence[Fraction], v: Fraction) -> Fraction:
    return sum((p * a * v ** (p - 1) for p, a in enumerate(piece) if p), Fraction(0))


# Filled on import and not on first use, which may be inside a tracer or under inference_mode.
_PIECES = {(k, orders): _piece_table(k, orders) for k in range(1, MAX_DEGREE + 1) for orders in (1, 2, 3, 4)}


@torch.inference_mode(mode=False)
def _split(whole: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    whole = whole.to(dtype)
    return whole[:, :1].contiguous(), whole[:, 1:].contiguous()


_TABLES = {
    (*key, dtype): _split(whole, dtype) for key, whole in _PIECES.items() for dtype in (torch.float32, torch.float64)
}
_UNIFORM = {
    (k, dtype): _PIECES[k, 1][:, : k + 1].T.to(dtype).contiguous()
    for k in range(1, MAX_DEGREE + 1)
    for dtype in (torch.float32, torch.float64)
}


def table(k: int, orders: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Constants (functions, 1) and factors (functions, k + 2) of all pieces, for `uniform_basis`."""
    return _TABLES[k, orders, dtype]


def uniform_pieces(k: int, dtype: torch.dtype) -> Float[Tensor, "power piece"]:
    """Coefficients of the k + 1 functions alive on an interval of an equidistant grid, in powers of v.

    v is the position from the middle of the interval.
    """
    return _UNIFORM[k, dtype]


def general_pieces(knots: Float[Tensor, "in t"], k: int) -> Float[Tensor, "in grid power piece"]:
    """The same for each interval of any grids, with knots in units of position: Taylor series about the middles."""
    breaks = knots[:, k : knots.shape[1] - k]
    middles = (breaks[:, :-1] + breaks[:, 1:]) / 2
    series = general_basis(Place(middles, *[torch.zeros_like(middles)] * 2), knots, k, k + 1).values
    factorials = torch.arange(k + 1, dtype=knots.dtype, device=knots.device).clamp(min=1).cumprod(0)
    return (series / factorials[:, None, None]).permute(0, 3, 1, 2).contiguous()


def spline_values(
    x: Float[Tensor, "in n"], coef: Float[Tensor, "in coef"], knots: Float[Tensor, "in t"], k: int, orders: int
) -> Float[Tensor, "orders in n"]:
    """One spline on an equidistant grid for each row of points, with its first `orders - 1` derivatives.

    Linear outside the grid. Horner's rule on the polynomial of each interval, which is several times faster than sums
    of basis functions that are used only once.

    Example:
        >>> knots = uniform_knots(torch.zeros(1), torch.ones(1), grid=2, k=1)
        >>> x, coef = torch.tensor([[0.25, 1.5]]), torch.tensor([[0.0, 1.0, 4.0]])
        >>> spline_values(x, coef, knots, 1, 2)
        tensor([[[0.5000, 7.0000]],
                [[2.0000, 6.0000]]])
    """
    grid = knots.shape[1] - 2 * k - 1
    low, high = domain_of(knots[..., None], k)
    place = place_on(positions(x, knots, k), grid)
    interval = place.inside.detach().long().clamp(0, grid - 1)
    v = place.inside - interval - 0.5
    alive = torch.arange(grid, device=x.device) + torch.arange(k + 1, device=x.device)[:, None]
    pieces = uniform_pieces(k, x.dtype).to(x.device) @ coef[:, alive]
    *others, highest = pieces.gather(2, interval[:, None].expand(-1, k + 1, -1)).unbind(1)
    taylor = [highest, *[torch.zeros_like(v)] * max(orders - 1, 1)]
    for coefficient in reversed(others):
        shifted = [coefficient, *taylor]
        taylor = [torch.addcmul(below, own, v) for below, own in zip(shifted, taylor, strict=False)]
    taylor[0] = taylor[0] + place.outside * taylor[1]
    per_unit, within = grid / (high - low), place.outside == 0
    found = [math.factorial(m) * per_unit**m * own * (within if m > 1 else 1) for m, own in enumerate(taylor)]
    return torch.stack(found[:orders])


def extended_table(k: int, orders: int, scale: float, slopes: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """A table with one more function b(scale * position - 1) after the splines of each order.

    The rows of `uniform_basis` are followed by b and its derivatives with respect to its argument at the nearest place
    on the grid; `slopes` are those of b at the ends.
    """
    splines = _PIECES[k, orders].view(orders, k + 1, k + 3)
    low, high = slopes
    whole = splines.new_zeros(orders, k + 2, k + 3 + orders)
    whole[:, :-1, : k + 3] = splines
    whole[0, -1, k + 1 : k + 3] = scale * torch.tensor([low, high - low], dtype=torch.float64, device="cpu")
    for order in range(orders):
        whole[order, -1, k + 3 + order] = scale**order
    return _split(whole.flatten(0, 1), torch.float64)


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
