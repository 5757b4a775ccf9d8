r"""The best constants of c f(a x + b) + d for a curve, of many functions f side by side.

c and d are linear and are projected out. So only a and b are searched for, on a grid of scales and centers first, whose
values on fixed abscissae are kept, then by Gauss-Newton of the projected residuals, all starts at once.

References:
    Golub, Pereyra, SIAM Journal on Numerical Analysis 10 (1973) 413 (variable projection).
    Kaufman, BIT 15 (1975) 49 (its derivative without that of the amplitude).
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kansci.functions import Function

POINTS = 120  # abscissae of the search
STARTS = 3  # of each function
STEPS, FIRST_STEPS = 60, 12
HOPEFUL = 12  # functions that are polished to the end
RARE, ENOUGH = 5, 1e-4  # functions of this complexity are tried where others have larger errors than this
NEAR = 10.0  # largest error of these in units of the least of the others, with which they are polished
FLAT = 1e-8  # relative decrease of the error after which starts are where they want to be
HIGHEST, PHASES = 64.0, 8
FREQUENCIES = torch.arange(0.4, HIGHEST, 0.4, dtype=torch.float64)
SCALES = torch.logspace(-1.5, 1.5, 25, dtype=torch.float64)
CENTERS = torch.cat([torch.linspace(-1, 1, 21), *(s * (1 + torch.logspace(-3, 1.5, 12)) for s in (-1, 1))]).double()
ABSCISSAE = torch.linspace(-1, 1, POINTS, dtype=torch.float64)
SHIFT = 0.5  # steps of centers, in units of what oscillates
TABLE = 100_000  # points between which values of functions that oscillate are interpolated in the search
EXTREMES = 8  # between 0 and HIGHEST, from which on a function oscillates
DAMPING, LARGEST_DAMPING = 1e-3, 1e12
SMALLEST = 1e-31  # relative square error with which nothing is left
CONSTANT = 1e-12
TINY = torch.finfo(torch.float64).tiny


class Curve(NamedTuple):
    """A curve as points of a graph, and what counts as nothing: functions that other constants bring, orthonormal."""

    x: Float[Tensor, "n"]
    values: Float[Tensor, "n"]
    nuisance: Float[Tensor, "n q"]

    @property
    def middle(self) -> float:
        """Of the abscissae."""
        return float(self.x.min() + self.x.max()) / 2

    @property
    def half(self) -> float:
        """Half of the length of the abscissae."""
        return float(self.x.max() - self.x.min()) / 2

    @property
    def varies(self) -> bool:
        """Whether it is more than a constant and rounding."""
        return bool(self.values.std() > CONSTANT * (1 + self.values.abs().max()))

    def at_abscissae(self) -> "Curve":
        """The same at evenly spaced abscissae, linear between its points."""
        x = self.middle + self.half * ABSCISSAE
        columns = _interpolate(x, self.x, torch.cat([self.values[:, None], self.nuisance], 1))
        return Curve(x, columns[:, 0], torch.linalg.qr(columns[:, 1:])[0])


def _interpolate(x: Float[Tensor, "m"], at: Float[Tensor, "n"], values: Float[Tensor, "n q"]) -> Float[Tensor, "m q"]:
    """Linear between points whose abscissae ascend."""
    right = torch.searchsorted(at, x.contiguous()).clamp(1, len(at) - 1)
    length = (at[right] - at[right - 1]).clamp(min=TINY)
    share = ((x - at[right - 1]) / length).clamp(0, 1)[:, None]
    return (1 - share) * values[right - 1] + share * values[right]


class Fit(NamedTuple):
    """The best constants of a function for a curve.

    Attributes:
        function: the row of LIBRARY.
        error: root mean square of what is left, relative to that of the curve.
        constants: a, b, c, d.
        size: the largest value of c f relative to the curve's standard deviation.
    """

    function: Function
    error: float
    constants: tuple[float, float, float, float]
    size: float


def best_fits(functions: Sequence[Function], curve: Curve, *, polish: bool = True, enough: float = ENOUGH) -> list[Fit]:
    """The best constants of each function that fits at all, roughly without polish.

    Rare functions are left out where others have errors that are small enough.
    """
    common = [row for row in functions if row.complexity < RARE]
    found = _fits(common, curve, polish)
    least = min((own.error for own in found), default=1.0)
    if least > enough:
        found += _fits([row for row in functions if row.complexity >= RARE], curve, polish, NEAR * least)
    return found


def _fits(functions: list[Function], curve: Curve, polish: bool, worst: float = 1.0) -> list[Fit]:
    """The best constants of each, polished if there are few better ones and they fit at all well."""
    starts = _Starts.search(functions, curve.at_abscissae())
    if starts is None:
        return []
    starts = starts.polished(FIRST_STEPS)
    best = starts.best()
    if not polish:
        return starts.fits()
    number = min(HOPEFUL, int((starts.cost[best] <= worst**2).sum()))
    hopeful = torch.isin(starts.owner, starts.owner[best[:number]]).nonzero()[:, 0]
    return starts.select(hopeful).on(curve).polished(STEPS).fits() + starts.select(best[number:]).on(curve).fits()


def _project(curve: Curve, values: Float[Tensor, "*m n"]) -> Float[Tensor, "*m n"]:
    """What the nuisance does not explain."""
    return values - (values @ curve.nuisance) @ curve.nuisance.T


class _Grid(NamedTuple):
    """Trials f(scale (t - center)) at ABSCISSAE, those that are defined at all of these, the largest value being 1."""

    scales: Float[Tensor, "trials"]
    centers: Float[Tensor, "trials"]
    values: Float[Tensor, "trials n"]

    def shares(self, curve: Curve) -> Float[Tensor, "trials"]:
        """The share of a curve's square that each trial explains."""
        curve = Curve(*(own.float() for own in curve))
        own, target = _project(curve, self.values), _project(curve, curve.values)
        norm = own.square().sum(1)
        big = norm > 1e-10 * self.values.square().sum(1)
        share = (own @ target).square() / torch.where(big, norm, 1.0) / target.square().sum()
        return torch.where(big, share, -1.0)


@cache
def _grid(row: Function) -> _Grid:
    """All phases of each frequency, or what may lie around a center."""
    if row.period is not None:
        scales, centers = _pairs(FREQUENCIES, [torch.arange(PHASES) * row.period / PHASES / s for s in FREQUENCIES])
    elif _oscillates(row):
        far = CENTERS[CENTERS.abs() > 1]
        fine = [torch.cat([torch.arange(-1, 1, min(float(SHIFT / s), 0.1)), far]) for s in FREQUENCIES]
        scales, centers = _pairs(FREQUENCIES, fine)
    else:
        scales = SCALES if "a" in row.free else torch.ones(1)
        scales, centers = _pairs(scales, [CENTERS if "b" in row.free else torch.zeros(1)] * len(scales))
    if not _has_parity(row):
        scales, centers = torch.cat([scales, -scales]), torch.cat([centers, centers])
    inner = scales[:, None] * (ABSCISSAE - centers[:, None])
    low, high = row.domain
    inside = (inner >= low).all(1) & (inner <= high).all(1)
    values = _tabulated(row, inner[inside]) if _oscillates(row) else row(inner[inside])
    values = values / values.abs().amax(1, keepdim=True)
    sound = values.isfinite().all(1)
    return _Grid(scales[inside][sound], centers[inside][sound], values[sound].float())


def _pairs(scales: Tensor, centers: Sequence[Tensor]) -> tuple[Float[Tensor, "trials"], Float[Tensor, "trials"]]:
    """Each scale with each of its centers."""
    counts = torch.tensor([len(own) for own in centers])
    return scales.double().repeat_interleave(counts), torch.cat(list(centers)).double()


def _tabulated(row: Function, x: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Values of a function between those of a table."""
    at = torch.linspace(float(x.min()), float(x.max()), TABLE, dtype=torch.float64)
    return _interpolate(x.flatten(), at, row(at)[:, None]).view_as(x)


@cache
def _oscillates(row: Function) -> bool:
    """Whether a function has many extremes without being periodic."""
    x = torch.linspace(0.1, HIGHEST, 2000, dtype=torch.float64)
    slope = row.jet(x, 1)[1]
    return row.period is None and bool((slope[1:] * slope[:-1] < 0).sum() >= EXTREMES)


def _has_parity(row: Function) -> bool:
    """Whether f(-x) is f(x) or -f(x), but for a constant, so that a needs no sign."""
    x = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    right, left = row(x), row(-x)
    return any(bool(((own - own[0]).abs() < 1e-12).all()) for own in (left - right, left + right))


class _Values(NamedTuple):
    """Projected residuals of trials, in units of the curve, with their derivatives by a and b, and their squares."""

    rest: Float[Tensor, "s n"]
    slopes: Float[Tensor, "s 2 n"]
    cost: Float[Tensor, "s"]


class _Starts:
    """Inner constants of several functions for one curve.

    Attributes:
        functions: rows of LIBRARY.
        curve: what they are to fit.
        owner: which function each start belongs to, in ascending order.
        inner: a and b of f(a t + b), where t in [-1, 1] are the abscissae x = middle + half t.
    """

    def __init__(
        self, functions: list[Function], curve: Curve, owner: Int[Tensor, "s"], inner: Float[Tensor, "s 2"]
    ) -> None:
        self.functions, self.curve, self.owner, self.inner = functions, curve, owner, inner
        self.abscissae = (curve.x - curve.middle) / curve.half
        self.target = _project(curve, curve.values)
        self.target = self.target / self.target.norm()
        free = [[letter in row.free for letter in "ab"] for row in functions]
        self.free: Bool[Tensor, "s 2"] = torch.tensor(free)[owner]
        self.cost = self.values(owner, inner).cost

    @classmethod
    def search(cls, functions: list[Function], curve: Curve) -> "_Starts | None":
        """The most promising places of the grids, if any, for a curve at evenly spaced abscissae."""
        owner, inner = [], []
        for number, row in enumerate(functions):
            grid = _grid(row)
            share = grid.shares(curve)
            chosen = share.topk(min(STARTS, len(share))).indices
            chosen = chosen[share[chosen] > 0]
            a = grid.scales[chosen] * (1.0 if "a" in row.free else curve.half)
            owner.append(torch.full_like(chosen, number))
            inner.append(torch.stack([a, -a * grid.centers[chosen]], 1))
        return cls(functions, curve, torch.cat(owner), torch.cat(inner)) if sum(map(len, owner)) else None

    def select(self, numbers: Int[Tensor, "m"]) -> "_Starts":
        """Some of them."""
        numbers = numbers.sort().values
        return _Starts(self.functions, self.curve, self.owner[numbers], self.inner[numbers])

    def on(self, curve: Curve) -> "_Starts":
        """The same for another curve with the same ends."""
        return _Starts(self.functions, curve, self.owner, self.inner)

    def best(self) -> Int[Tensor, "functions"]:
        """The best start of each function that fits at all, best first."""
        order = [number for number in self.cost.argsort(stable=True).tolist() if self.cost[number] < 1]
        first: dict[int, int] = {}
        for number in order:
            first.setdefault(int(self.owner[number]), number)
        return torch.tensor(list(first.values()), dtype=torch.long)

    def values(self, owner: Int[Tensor, "s"], inner: Float[Tensor, "s 2"]) -> _Values:
        """Residuals of starts with other constants; infinite where a function is not defined."""
        x = inner[:, :1] * self.abscissae + inner[:, 1:]
        f, slope = torch.empty_like(x), torch.empty_like(x)
        inside = torch.ones(len(x), dtype=torch.bool)
        for number in owner.unique_consecutive().tolist():
            own, row = owner == number, self.functions[number]
            low, high = row.domain
            f[own], slope[own] = row.jet(x[own], 1)
            inside[own] = (x[own] >= low).all(1) & (x[own] <= high).all(1)
        sound = inside & f.isfinite().all(1) & slope.isfinite().all(1)
        f, slope = f.where(sound[:, None], 0.0), slope.where(sound[:, None], 0.0)
        own = _project(self.curve, f)
        norm = own.square().sum(1).clamp(min=TINY)
        amplitude = own @ self.target / norm
        columns = _project(self.curve, torch.stack([slope * self.abscissae, slope], 1))
        columns = columns - (columns @ own[:, :, None] / norm[:, None, None]) * own[:, None]
        rest = self.target - amplitude[:, None] * own
        cost = torch.where(sound, rest.square().sum(1), torch.inf)
        return _Values(rest, -amplitude[:, None, None] * columns, cost)

    def polished(self, steps: int) -> "_Starts":
        """The nearest minima, by damped Gauss-Newton steps."""
        inner, owner, free = self.inner.clone(), self.owner, self.free
        damping = torch.full_like(inner[:, 0], DAMPING)
        active = torch.arange(len(inner))
        at = self.values(owner, inner)
        for _ in range(steps):
            moved = inner[active] + _gauss_newton(at, free[active], damping[active])
            new = self.values(owner[active], moved)
            better, flat = new.cost < at.cost, new.cost > (1 - FLAT) * at.cost
            inner[active] = torch.where(better[:, None], moved, inner[active])
            damping[active] *= torch.where(better, 0.2, 6.0)
            at = _Values(
                *(torch.where(better.view(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(at, new, strict=True))
            )
            going = (damping[active] < LARGEST_DAMPING) & (at.cost > SMALLEST) & ~(better & flat)
            active, at = active[going], _Values(*(own[going] for own in at))
            if not len(active):
                break
        return _Starts(self.functions, self.curve, owner, inner)

    def fits(self) -> list[Fit]:
        """The best of each function."""
        found = [self.fit(int(number)) for number in self.best()]
        return [own for own in found if own is not None]

    def fit(self, number: int) -> Fit | None:
        """All constants of a start, if numbers can hold them."""
        row = self.functions[int(self.owner[number])]
        a, b = self.inner[number].tolist()
        a = a / self.curve.half
        b = b - a * self.curve.middle if "b" in row.free else 0.0
        values = row(a * self.curve.x + b)
        if not values.isfinite().all():
            return None
        columns = torch.cat([values[:, None], self.curve.nuisance], 1)
        solution = torch.linalg.lstsq(columns, self.curve.values[:, None]).solution[:, 0]
        c, d = float(solution[0]), float((self.curve.nuisance @ solution[1:]).mean())
        if row.period is not None:
            b = math.remainder(b, row.period)
        size = float((c * values).abs().max() / self.curve.values.std())
        return Fit(row, math.sqrt(float(self.cost[number])), (a, b, c, d), size)


def _gauss_newton(at: _Values, free: Bool[Tensor, "s 2"], damping: Float[Tensor, "s"]) -> Float[Tensor, "s 2"]:
    """Steps of a and b; those that are not free stay."""
    slopes = at.slopes * free[:, :, None]
    gram = slopes @ slopes.mT
    diagonal = gram.diagonal(dim1=1, dim2=2)
    added = damping[:, None] * diagonal + torch.where(diagonal > TINY, 0.0, 1.0)
    damped = gram + torch.diag_embed(added)
    gradient = (slopes @ at.rest[:, :, None])[:, :, 0]
    inverse = torch.stack([damped[:, 1, 1], -damped[:, 0, 1], -damped[:, 1, 0], damped[:, 0, 0]], 1).view(-1, 2, 2)
    step = -(inverse @ gradient[:, :, None])[:, :, 0] / torch.linalg.det(damped)[:, None]
    return step.nan_to_num(0, 0, 0)
