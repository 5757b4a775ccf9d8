"""Whether a function of two groups of inputs is F(g(a) h(b)) for some F, which F(g(a) + h(b)) is as well.

The table T_kl = f(a_k, b_l) is compared with F(p_k q_l), p_k and q_l being free numbers for each row and column and F a
spline. Where values alone do not say so, slopes may: f_a / f_b is u(a) / w(b) along any two curves.

References:
    Breiman, Friedman, Estimating optimal transformations for multiple regression (ACE), JASA 80 (1985) 580.
    Golub, Pereyra, Separable nonlinear least squares, Inverse Problems 19 (2003) R1.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.analysis.slopes import Factor, Slopes
from kansci.analysis.surrogate import Surrogate
from kansci.analysis.tables import leftover_size, offset_of, table_points
from kansci.analysis.verdict import EDGE, judge
from kansci.splines import evaluate_basis, extend_grid

SIDE = 40  # of the table
KNOTS = 40  # intervals of splines
STEPS = 40
RESOLUTION = 2e-5  # of splines: what is smaller does not speak against F
TRIED, MOST = 241, 1.2  # factors that are tried for a column, and the largest, relative to known ones
Factors = tuple[Float[Tensor, "m"], Float[Tensor, "m"]]


def web_size(surrogate: Surrogate, a: Sequence[int], b: Sequence[int]) -> float:
    """Root mean square of what is not F(g(a) h(b)), relative to the spread."""
    points = table_points(surrogate, a, b, SIDE, 1)
    table = surrogate.values(points).to(torch.float64)
    if not table.isfinite().all():
        return float("nan")
    slopes = Slopes.of(surrogate, a, b)
    sizes = [
        leftover_size(surrogate, table, "additive"),
        leftover_size(surrogate, table, "multiplicative"),
        leftover_size(surrogate, table - offset_of(table), "multiplicative"),
        slopes.size,
    ]
    for factors in _starts(table[0], slopes, points[0]):
        if any(judge(size, surrogate.noise) == "yes" for size in sizes):
            break
        sizes.append(_linked_size(surrogate, table[0], factors))
    size = min(sizes)
    return min(size, EDGE * surrogate.noise) if surrogate.given and size < RESOLUTION else size


def _starts(table: Float[Tensor, "m m"], slopes: Slopes, points: Float[Tensor, "m m d"]) -> Iterator[Factors]:
    """First guesses: what slopes say, where the best G makes G(f) additive, and f less a constant as a product."""
    a, b = points[:, 0], points[0]
    yield _exponentials(*slopes.terms(a, b))
    factors = slopes.factors(a, b)
    if factors is not None:
        p, q = factors
        again = (p.values, _matched(table, p.values, q)), (_matched(table.mT, q.values, p), q.values)
        yield min(((p.values, q.values), *again), key=lambda pair: _misfit(table, *pair))
    g = _additive_transform(table)
    yield _exponentials(g.mean(1), g.mean(0))
    for constant in (offset_of(table[None]), float(table.median())):
        u, _, vh = torch.linalg.svd(table - constant)
        yield u[:, 0], vh[0]


def _misfit(table: Float[Tensor, "m k"], p: Float[Tensor, "m"], q: Float[Tensor, "k"]) -> float:
    left, _ = _projected(table.flatten(), p, q)
    return float(left.square().mean())


def _matched(table: Float[Tensor, "m k"], p: Float[Tensor, "m"], q: Factor) -> Float[Tensor, "k"]:
    """The factors of columns; where they are not sure, those that agree best with the F of the others."""
    if q.sure.all() or not q.sure.any():
        return q.values
    sure, unsure = q.values[q.sure], table[:, ~q.sure]
    tried = torch.linspace(-1, 1, TRIED, dtype=table.dtype) * MOST * sure.abs().max()
    known, asked = (p[:, None] * sure).flatten(), (p[:, None] * tried).flatten()
    values, _ = _spline(torch.cat([known, asked]))
    ridge = 1e-7 * torch.eye(values.shape[1], dtype=values.dtype)
    target = torch.cat([table[:, q.sure].flatten(), torch.zeros_like(ridge[0])])
    weights = torch.linalg.lstsq(torch.cat([values[: len(known)], ridge]), target[:, None]).solution
    fitted = (values[len(known) :] @ weights).reshape(len(p), -1)
    inside = ((known.min() <= asked) & (asked <= known.max())).reshape(fitted.shape)
    misfit = torch.where(inside[:, None], (fitted[:, None] - unsure[:, :, None]).square(), 0.0).sum(0)
    misfit = torch.where(inside.sum(0) >= len(p) / 2, misfit / inside.sum(0).clamp(min=1), float("inf"))
    found = q.values.clone()
    found[~q.sure] = tried[misfit.argmin(1)]
    return found


def _exponentials(p: Float[Tensor, "m"], q: Float[Tensor, "k"]) -> Factors:
    """Terms as factors of order one."""
    scale = (p.std() ** 2 + q.std() ** 2).sqrt().clamp(min=1e-300)
    return ((p - p.mean()) / scale).exp(), ((q - q.mean()) / scale).exp()


def _linked_size(surrogate: Surrogate, table: Float[Tensor, "m m"], factors: Factors) -> float:
    """The size of T - F(p q) in least squares, the best F following p and q, without bias from their number."""
    m = len(table)
    target = table.flatten()
    freedom = (m * m / (m * m - 2 * m - KNOTS - 3)) ** 0.5
    p, q = (factor / factor.abs().max().clamp(min=1e-300) for factor in factors)
    left, jacobian = _projected(target, p, q)
    damping, best = 1e-3, float(left.square().mean())
    for _ in range(STEPS):
        if judge(best**0.5 * freedom, surrogate.noise) == "yes":
            break
        normal = jacobian.T @ jacobian
        normal.diagonal().mul_(1 + damping).add_(1e-12 * normal.diagonal().max())
        step = torch.linalg.solve(normal, jacobian.T @ left)
        trial = (p + step[:m], q + step[m:])
        trial_left, trial_jacobian = _projected(target, *trial)
        size = float(trial_left.square().mean())
        if size < best:
            done = best - size < 1e-3 * best and damping < 1e-2
            (p, q), left, jacobian, best, damping = trial, trial_left, trial_jacobian, size, damping / 5
            if done:
                break
        elif damping > 1e6:
            break
        else:
            damping *= 4
    return surrogate.size(left) * freedom


def _projected(target: Float[Tensor, "n"], p: Float[Tensor, "m"], q: Float[Tensor, "m"]) -> tuple[Tensor, Tensor]:
    """What the best F leaves, and how the fit follows p and q (Kaufman)."""
    m = len(p)
    values, slopes = _spline((p[:, None] * q).flatten())
    basis, triangle = torch.linalg.qr(torch.cat([values, 1e-7 * torch.eye(values.shape[1], dtype=values.dtype)]))
    basis = basis[: len(values)]
    weights = torch.linalg.solve_triangular(triangle, (basis.T @ target)[:, None], upper=True)[:, 0]
    slope = (slopes @ weights).reshape(m, m)
    jacobian = target.new_zeros(m, m, 2 * m)
    index = torch.arange(m)
    jacobian[index, :, index] = slope * q
    jacobian[:, index, m + index] = slope * p[:, None]
    jacobian = jacobian.reshape(m * m, 2 * m)
    return target - values @ weights, jacobian - basis @ (basis.T @ jacobian)


def _additive_transform(table: Float[Tensor, "m m"]) -> Float[Tensor, "m m"]:
    """The G(f) of a table that is most nearly additive."""
    values, _ = _spline(table.flatten())
    grid = values.T.reshape(-1, *table.shape)
    centred = grid - grid.mean(1, keepdim=True) - grid.mean(2, keepdim=True) + grid.mean((1, 2), keepdim=True)
    total = (grid - grid.mean((1, 2), keepdim=True)).flatten(1)
    inner = centred.flatten(1)
    scale, axes = torch.linalg.eigh(total @ total.T)
    keep = scale > 1e-10 * scale[-1]
    white = axes[:, keep] / scale[keep].sqrt()
    _, best = torch.linalg.eigh(white.T @ (inner @ inner.T) @ white)
    return (values @ (white @ best[:, 0])).reshape(table.shape)


def _spline(y: Float[Tensor, "n"]) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]:
    """Cubic splines with knots at quantiles of y, denser to both ends: their values and slopes."""
    shares = (1 - torch.cos(torch.pi * torch.linspace(0, 1, KNOTS + 1, dtype=y.dtype, device=y.device))) / 2
    grid = y.sort().values[(shares * (len(y) - 1)).long()].unique()
    if len(grid) < 2:
        return torch.ones_like(y)[:, None], torch.zeros_like(y)[:, None]
    first, alive = evaluate_basis(y[None], extend_grid(grid[None], 3), 3, 2, uniform=False)
    places = first[0][:, None] + torch.arange(4, device=y.device)
    blank = y.new_zeros(len(y), len(grid) + 2)
    values, slopes = (blank.scatter(1, places, alive[0, order].T) for order in (0, 1))
    return values, slopes
