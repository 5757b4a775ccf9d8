r"""Evolution equations solved from one slab of time to the next, with steps and grids chosen by the error.

In each slab u is a power series in time whose coefficients are splines (`separated_network`). It solves the equation
at Gauss points, takes up the end of the slab before, and meets the conditions at the walls, all in the sense of least
squares: a problem for `kansci.solve`, linear where the equation is, with a sparse Jacobian. From the residual r at
other points the slab's error is estimated,

.. math:: \epsilon = h \, \|r\| / \|u\|

with h the length of the slab, and r the residual of an equation of first order in time (h^2 r of one of second order).
Where epsilon is too large, the slab is halved if the last power of time still counts, and else intervals of the
splines are halved where the residual is.

References:
    Hairer, Wanner, Solving Ordinary Differential Equations II, Springer 1996 (collocation, steps from errors).
    Doerfler, SIAM Journal on Numerical Analysis 33 (1996) 1106 (which intervals to halve).
"""

import logging
import math
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.jets import Jet
from kansci.nn.edges import SplineEdges
from kansci.nn.multkan import MultKAN
from kansci.physics.domains import Box
from kansci.physics.equation import Equation
from kansci.physics.given import Field, Given
from kansci.physics.separated import separated_network
from kansci.solvers.residual import Residual
from kansci.solvers.solution import Step
from kansci.solvers.solve import solve

logger = logging.getLogger(__name__)

Conditions = Callable[[Box], Sequence[Residual]]

VAIN = 0.5  # share of the error that halved intervals must take away
SHARE = 0.99  # of the squared residual whose intervals are halved
LATE = 0.3  # share of the error that the last power of time must make for a slab to be halved
ROUNDS, STEPS = 14, 20
MOST_INTERVALS = 600
SHORTEST = 1e-5  # slab, relative to the whole time
EXACT = 1e-13  # relative size of residuals that rounding makes
START_DAMPING = 1e-10
SAFE = 0.8
LEAST_SHARE = 0.02  # of the tolerance, that a slab may use up however short it is
ENOUGH = 0.5  # a step that leaves more than this of the loss is the last
BAR = "{desc}{percentage:3.0f}%|{bar}| t = {n:.3g} of {total:.3g}, {elapsed}"


@dataclass(frozen=True)
class Slab:
    """The solution between two times.

    Attributes:
        start: first time.
        end: last time.
        model: u there.
        error: estimated relative error that the slab adds.
    """

    start: float
    end: float
    model: MultKAN
    error: float


@dataclass(frozen=True)
class March:
    """A solution in slabs; called with points (n, 2), it returns u (n, m).

    Attributes:
        slabs: in the order of time.
        status: "converged", or "max_seconds" or "stalled" where it ended before the last time or above the tolerance.
        seconds: wall-clock time.
        time: which of the two coordinates is the time.
    """

    slabs: tuple[Slab, ...]
    status: str
    seconds: float
    time: int

    @property
    def error_estimate(self) -> float:
        """Sum of what the slabs add to the relative error."""
        return sum(slab.error for slab in self.slabs)

    @property
    def models(self) -> dict[str, MultKAN]:
        """The models by the times between which they hold."""
        return {f"{slab.start:.12g} to {slab.end:.12g}": slab.model for slab in self.slabs}

    def jet(self, x: Float[Tensor, "n 2"], needs: str = "laplacian") -> Jet:
        """Values and derivatives, at the end of a slab those of the one before."""
        ends = torch.tensor([slab.end for slab in self.slabs[:-1]], dtype=x.dtype)
        number = torch.bucketize(x[:, self.time].contiguous(), ends)
        channels = None
        for place in number.unique().tolist():
            rows = (number == place).nonzero()[:, 0]
            own = self.slabs[place].model.jet(x[rows], needs)
            if channels is None:
                channels = own.channels.new_empty(*own.channels.shape[:2], len(x))
            channels[..., rows] = own.channels
        if channels is None:
            raise ConfigError("expected at least one point, got none")
        return Jet(channels, needs, x.shape[1])

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, "n m"]:
        """Values."""
        return self.jet(x, "value").value

    def __repr__(self) -> str:
        """One line."""
        span = f"{self.slabs[0].start:g} to {self.slabs[-1].end:g}" if self.slabs else "nothing"
        return f"March({span}, {len(self.slabs)} slabs, {self.status}, error_estimate={self.error_estimate:.1e})"


def march(
    equation: Equation,
    times: Sequence[float | int],
    space: Sequence[float | int],
    initial: Sequence[Field],
    conditions: Conditions,
    *,
    rates: Sequence[Field] | None = None,
    tolerance: float = 1e-6,
    k: int = 7,
    order: int = 8,
    grid: int = 8,
    slabs: int = 8,
    seconds: float | None = None,
    progress: bool = True,
) -> March:
    """Solve an evolution equation in one dimension of space.

    Args:
        equation: of the unknowns, with two coordinates, of which the time is called ``t``.
        times: first and last time.
        space: lowest and highest value of the other coordinate.
        initial: u at the first time for each unknown: a number, or a function of points (n, 2) -> (n,).
        conditions: the terms of the walls in a box of both coordinates, which are those of each slab.
        rates: u_t at the first time for each unknown, for equations of second order in time; 0 by default.
        tolerance: of the relative error, as it is estimated; the true one is often a hundred times less.
        k: degree of the splines.
        order: highest power of time in a slab.
        grid: number of intervals to begin with.
        slabs: their number, to begin with.
        seconds: wall-clock limit.
        progress: whether to show a progress bar.

    Returns:
        The solution as far as it came.

    Raises:
        ConfigError: an equation without time, other than two coordinates, or intervals that are empty.

    Example:
        >>> from kansci.physics import pde
        >>> heat = Equation("u_t = u_xx", ["t", "x"])
        >>> def cold_walls(box):
        ...     return [pde.dirichlet(box.face(1, side, 12, "chebyshev").points) for side in ("low", "high")]
        >>> def start(points):
        ...     return (torch.pi * points[:, 1]).sin()
        >>> u = march(heat, (0.0, 0.1), (0.0, 1.0), [start], cold_walls, tolerance=1e-6, progress=False)
        >>> middle = u(torch.tensor([[0.1, 0.5]], dtype=torch.float64)).item()
        >>> abs(middle - math.exp(-0.1 * math.pi**2)) < 1e-7
        True
    """
    if "t" not in equation.names or len(equation.names) != 2:
        raise ConfigError(f"expected two coordinates, one of them t, got {list(equation.names)}")
    first, last = map(float, times)
    if not (first < last and space[0] < space[1]):
        raise ConfigError(f"expected times and space from low to high, got {times} and {space}")
    size = len(equation.unknowns)
    if len(initial) != size or (rates is not None and len(rates) != size):
        raise ConfigError(f"expected a start for each of {', '.join(equation.unknowns)}, got {len(initial)}")
    method = _Method(equation, conditions, tolerance, last - first, k, order)
    breaks = torch.linspace(float(space[0]), float(space[1]), grid + 1, dtype=torch.float64)
    state = _State(_fields(initial), _fields([0.0] * size if rates is None else rates), breaks)
    return _run(method, state, (first, last), (last - first) / slabs, seconds, progress)


@dataclass(frozen=True)
class _State:
    """Where a slab begins.

    Attributes:
        values: u at points (n, 2) -> (n, m).
        rates: u_t likewise.
        breaks: ends of the intervals of the splines.
    """

    values: Callable[[Tensor], Tensor]
    rates: Callable[[Tensor], Tensor]
    breaks: Tensor

    @classmethod
    def of(cls, model: MultKAN, breaks: Tensor, time: int) -> "_State":
        """The state that a model ends with."""
        return cls(
            lambda x: model.jet(x, "value").value.detach(),
            lambda x: model.jet(x, "gradient").gradient[:, :, time].detach(),
            breaks,
        )


def _fields(fields: Sequence[Field]) -> Callable[[Tensor], Tensor]:
    given = [Given("initial", own) for own in fields]
    return lambda x: torch.stack([torch.as_tensor(own.at(x), dtype=x.dtype).expand(len(x)) for own in given], 1)


@dataclass(frozen=True)
class _Trial:
    """A slab as it was solved.

    Attributes:
        slab: the solution with its error.
        state: what it ends with.
        late: the part of the error that oscillates in time as what powers of time leave does.
        squares: what each interval adds to the square of the error.
    """

    slab: Slab
    state: _State
    late: float
    squares: Tensor


@dataclass(frozen=True)
class _Method:
    """How slabs are solved.

    Attributes:
        equation: the equation.
        conditions: at the walls.
        tolerance: of the whole error.
        duration: of the whole time.
        k: degree of the splines.
        order: highest power of time.
    """

    equation: Equation
    conditions: Conditions
    tolerance: float
    duration: float
    k: int
    order: int

    def allowed(self, length: float) -> float:
        """The error a slab may have: its share of the whole, but short slabs more, of which there are few."""
        return max(self.tolerance * max(length / self.duration, LEAST_SHARE), EXACT)

    @property
    def time(self) -> int:
        """Which coordinate is the time."""
        return self.equation.names.index("t")

    def solve(self, state: _State, span: tuple[float, float], breaks: Tensor) -> _Trial:
        """Solve a slab."""
        start, end = span
        orders = self.equation.orders("t")
        model, edges = separated_network(span, breaks, order=self.order, k=self.k, outputs=len(orders), time=self.time)
        self._begin(model, edges, state, span, breaks)
        solution = solve(
            model,
            self._terms(state, span, breaks, orders),
            steps=STEPS,
            callback=_Quadratic(),
            damping=START_DAMPING,
            progress=False,
        )
        slab = Slab(start, end, solution.model, math.nan)
        return self._measure(slab, breaks, orders, solution.loss)

    @torch.no_grad()
    def _begin(
        self, model: MultKAN, edges: list[list[Edge]], state: _State, span: tuple[float, float], breaks: Tensor
    ) -> None:
        """Let u be what it is at the beginning of the slab, at all times."""
        bank = cast(SplineEdges, model.layers[0].splines)
        x, weight = panels(breaks, self.k + 2)
        points = self._at(span[0], x)
        columns = bank.splines_at(points.T.contiguous())[1 - self.time].T * weight.sqrt()[:, None]
        values = state.values(points) * weight.sqrt()[:, None]
        found = torch.linalg.lstsq(columns, values, driver="gelsd").solution
        for output, own in enumerate(edges):
            bank.coef[own[0].target, own[0].source] = found[:, output]

    def _terms(self, state: _State, span: tuple[float, float], breaks: Tensor, orders: Sequence[int]) -> list[Residual]:
        """The equation inside, the state at the beginning, the conditions at the walls."""
        length = span[1] - span[0]
        points, weight = self._grid(span, breaks, self.order + 1, (self.k + 1) // 2)
        x, across = panels(breaks, self.k + 1)
        first, across = self._at(span[0], x), across / across.mean()
        moving = [output for output, order in enumerate(orders) if order > 0]
        twice = [output for output, order in enumerate(orders) if order > 1]
        terms = [self._equation(points, weight / weight.mean(), length)]
        if moving:
            terms.append(_held(first, across, moving, state.values(first), None, 1.0, "initial"))
        if twice:
            terms.append(_held(first, across, twice, state.rates(first), self.time, length, "initial rate"))
        return [*terms, *self.conditions(self._box(span, breaks))]

    def _equation(self, points: Tensor, weight: Tensor | float, length: float) -> Residual:
        """The equation in units of u: each of its residuals times as many lengths of time as it has derivatives."""
        factors = torch.tensor([length**order for order in self.equation.residual_orders("t")], dtype=torch.float64)

        def function(jet: Jet, points: Tensor) -> Tensor:
            return self.equation(jet, points) * factors

        return Residual(function, points, needs=self.equation.needs, weight=weight, name="equation")

    @torch.no_grad()
    def _measure(self, slab: Slab, breaks: Tensor, orders: Sequence[int], loss: float) -> _Trial:
        """The error of a slab from the residual at other points."""
        span = (slab.start, slab.end)
        n, m = self.order + 3, (self.k + 1) // 2 + 1
        points, weight = self._grid(span, breaks, n, m)
        term = self._equation(points, 1.0, slab.end - slab.start)
        jet = slab.model.jet(points, self.equation.needs)
        size = float((jet.value.square().sum(1) * weight).sum() / weight.sum()) ** 0.5 or 1.0
        rows = (term([jet]).T * (weight / weight.sum()).sqrt() / size).unflatten(1, (n, -1, m))
        each = rows.square().sum((0, 1, 3))
        late = (
            float(torch.einsum("rtim,td->rdim", rows, high_part(n, self.order + 1 - max(orders))).square().sum()) ** 0.5
        )
        error = math.sqrt(float(each.sum()) + max(loss, 0.0) / size**2)
        return _Trial(replace(slab, error=error), _State.of(slab.model, breaks, self.time), late, each)

    def _grid(self, span: tuple[float, float], breaks: Tensor, n: int, m: int) -> tuple[Tensor, Tensor]:
        """n Gauss points in time by m in each interval, and their weights."""
        t, along = panels(torch.tensor(span, dtype=torch.float64), n)
        x, across = panels(breaks, m)
        columns = [t.repeat_interleave(len(x)), x.repeat(len(t))]
        return torch.stack(columns if self.time == 0 else columns[::-1], 1), (along[:, None] * across).flatten()

    def _at(self, t: float, x: Tensor) -> Tensor:
        columns = [torch.full_like(x, t), x]
        return torch.stack(columns if self.time == 0 else columns[::-1], 1)

    def _box(self, span: tuple[float, float], breaks: Tensor) -> Box:
        sides = [span, (float(breaks[0]), float(breaks[-1]))]
        return Box(tuple(sides if self.time == 0 else sides[::-1]))


def _held(
    points: Tensor, weight: Tensor, outputs: list[int], wanted: Tensor, axis: int | None, unit: float, name: str
) -> Residual:
    """Some outputs, or their derivatives, are what is wanted."""

    def function(jet: Jet, points: Tensor, targets: Tensor) -> Tensor:
        found = jet.value if axis is None else jet.gradient[:, :, axis]
        return (found[:, outputs] - targets) * unit

    needs = "value" if axis is None else "gradient"
    return Residual(function, points, needs=needs, weight=weight, targets=wanted[:, outputs], name=name)


class _Quadratic:
    """Ends a solve where steps of Gauss and Newton no longer pay."""

    def __init__(self) -> None:
        self.last = math.inf

    def __call__(self, step: Step) -> bool:
        """Whether the loss has hardly fallen."""
        ended = step.loss > ENOUGH * self.last
        self.last = step.loss
        return ended


def panels(breaks: Float[Tensor, "g"], n: int) -> tuple[Float[Tensor, "m"], Float[Tensor, "m"]]:
    """n points of Gauss and Legendre in each interval, and their weights.

    Example:
        >>> x, weight = panels(torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64), 4)
        >>> round(float((x**3 * weight).sum()), 9)  # 3^4 / 4
        20.25
    """
    nodes, weights = (torch.from_numpy(own) for own in np.polynomial.legendre.leggauss(n))
    half = breaks.diff()[:, None] / 2
    return ((breaks[:-1, None] + half) + half * nodes).flatten(), (half * weights).flatten()


def high_part(n: int, degree: int) -> Float[Tensor, "n m"]:
    """Orthonormal polynomials of a degree and more at n Gauss points, times roots of weights.

    Example:
        >>> nodes, weights = panels(torch.tensor([-1.0, 1.0], dtype=torch.float64), 5)
        >>> values = (3 * nodes**2 - nodes) * weights.sqrt()
        >>> [round(float((values @ high_part(5, degree)).norm()), 9) for degree in (3, 0)]
        [0.0, 2.065591118]
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    basis = np.polynomial.legendre.legvander(nodes, n - 1) * np.sqrt(weights[:, None] * (np.arange(n) + 0.5))
    return torch.from_numpy(basis[:, degree:])


def halve(breaks: Float[Tensor, "g"], chosen: Bool[Tensor, "i"]) -> Float[Tensor, "h"]:
    """Halve some intervals, and as many others as it takes for neighbors to differ by no more than a factor of two.

    Example:
        >>> halve(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([True, False, False]))
        tensor([0.0000, 0.5000, 1.0000, 2.0000, 3.0000])
    """
    while chosen.any():
        middles = (breaks[:-1] + breaks[1:]) / 2
        breaks = torch.cat([breaks, middles[chosen]]).sort().values
        lengths = breaks.diff()
        chosen = torch.zeros_like(lengths, dtype=torch.bool)
        chosen[1:] |= lengths[1:] > 2.01 * lengths[:-1]
        chosen[:-1] |= lengths[:-1] > 2.01 * lengths[1:]
    return breaks


def _worst(squares: Tensor) -> Tensor:
    """The fewest intervals that hold almost all of the squared error."""
    order = squares.sort(descending=True)
    enough = order.values.cumsum(0) < SHARE * squares.sum()
    chosen = torch.zeros_like(squares, dtype=torch.bool)
    chosen[order.indices[: int(enough.sum()) + 1]] = True
    return chosen


def _run(
    method: _Method, state: _State, times: tuple[float, float], length: float, seconds: float | None, progress: bool
) -> March:
    """Slab after slab."""
    begun, slabs, status = clock.perf_counter(), [], "converged"
    first, last = times
    with tqdm(total=last - first, disable=not progress, leave=False, bar_format=BAR) as bar:
        now = first
        while now < last:
            end = last if now + 1.01 * length >= last else now + length
            trial, length = _fitting(method, state, (now, end), SHORTEST * (last - first))
            if trial.slab.error > method.allowed(trial.slab.end - now):
                status = "stalled"
            slabs.append(trial.slab)
            state, now = trial.state, trial.slab.end
            bar.update(trial.slab.end - trial.slab.start)
            logger.debug("%s", trial.slab)
            if seconds is not None and clock.perf_counter() - begun > seconds and now < last:
                status = "max_seconds"
                break
    return March(tuple(slabs), status, clock.perf_counter() - begun, method.time)


def _fitting(method: _Method, state: _State, span: tuple[float, float], shortest: float) -> tuple[_Trial, float]:
    """A slab with the error that is asked for, and the length of the next one; else the best there is."""
    (start, end), breaks = span, state.breaks
    trial = method.solve(state, span, breaks)
    coarser: tuple[Tensor, _Trial] | None = None
    for _ in range(ROUNDS):
        error, allowed = trial.slab.error, method.allowed(end - start)
        logger.debug("%g to %g, %d intervals: %.1e of %.1e", start, end, len(breaks) - 1, error, allowed)
        if error <= allowed:
            growth = SAFE * (allowed / max(trial.late, 1e-300)) ** (1 / (method.order + 1))
            return trial, (end - start) * min(max(growth, 1.0), 2.0)
        vain = coarser is not None and error > VAIN * coarser[1].slab.error
        if trial.late > LATE * error or vain or len(breaks) > MOST_INTERVALS:
            if end - start < 2 * shortest:
                break
            end, breaks = start + (end - start) / 2, coarser[0] if vain and coarser else breaks
            coarser = None
        else:
            coarser = breaks, trial
            breaks = halve(breaks, _worst(trial.squares))
        trial = method.solve(state, (start, end), breaks)
    return trial, end - start
