r"""Which functions of LIBRARY an edge may be.

For each function f the constants of c f(a x + b) + d that fit a curve y best are found by variable projection: c and d
are linear, so that only a and b are searched for, on a grid of frequencies and shifts first, then by Gauss-Newton.

References:
    Golub, Pereyra, SIAM Journal on Numerical Analysis 10 (1973) 413 (variable projection).
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1 (suggest_symbolic).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import least_squares
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.functions import LIBRARY, Function, library_function
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges
from kansci.surgery.selection import select_edges
from kansci.tracing import trace

POINTS, SEARCH_POINTS = 400, 120
RESOLUTION = 1e-6
STARTS, EVALUATIONS = 3, 40
EXACT = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
LARGE = 30.0  # a curve that is the small difference of larger ones is no good explanation
BAD = 1e3
HIGHEST, PHASES = 64.0, 8
SCALES = torch.logspace(-1.5, 1.5, 25, dtype=torch.float64)
CENTERS = torch.cat([torch.linspace(-1, 1, 21), *(s * (1 + torch.logspace(-3, 1.5, 12)) for s in (-1, 1))]).double()


@dataclass(frozen=True)
class Suggestion:
    """A function that an edge may be.

    Attributes:
        function: its name.
        constants: a, b, c, d of c f(a x + b) + d.
        error: root mean square difference from the edge, relative to the edge's standard deviation.
        complexity: of the function.
        score: log2 of the error, or of the resolution where that is larger, plus complexity, and more where the edge
            is a small difference of large numbers; lower is better.
    """

    function: str
    constants: tuple[float, float, float, float]
    error: float
    complexity: int
    score: float

    def __repr__(self) -> str:
        """The function, its constants and its error."""
        a, b, c, d = self.constants
        return f"Suggestion({c:.6g} * {self.function}({a:.6g} x + {b:.6g}) + {d:.6g}, error {self.error:.1e})"


def suggest(
    model: MultKAN,
    x: Float[Tensor, "n d"],
    edge: Edge,
    *,
    functions: Sequence[str] | None = None,
    resolution: float = RESOLUTION,
) -> list[Suggestion]:
    """Functions that an edge may be, best first.

    Of an edge that is symbolic and spline, the spline part is told, up to what other constants of the symbolic part
    would do.

    Args:
        model: the network.
        x: points whose activations are looked at.
        edge: which edge.
        functions: names to choose from; by default all of LIBRARY.
        resolution: relative error to which the edge is known; better fits count no more.

    Returns:
        One suggestion for each function that fits at all, ordered by score.

    Raises:
        ConfigError: the model has no such edge, or the edge does not vary over x.

    Example:
        >>> from kansci import kanpile
        >>> x = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
        >>> suggest(kanpile("3*sin(2*x + 1)", ["x"]), x, Edge(0, 0, 0), functions=["exp", "sin", "tanh"])[0].function
        'sin'
    """
    select_edges(model, [edge])
    curve = _curve(model, x, edge)
    if not curve.values.std() > 1e-12 * (1 + curve.values.abs().max()):
        raise ConfigError(f"expected an edge that varies over x, got {edge}, which is constant there; prune it")
    rows = LIBRARY.values() if functions is None else map(library_function, functions)
    found = [own for row in rows if row.name != "zero" for own in _best(row, curve, resolution)]
    return sorted(found, key=lambda own: (own.score, max(own.error, resolution)))


class Curve(NamedTuple):
    """An edge as points of a graph, and what counts as nothing: functions that other constants bring, orthonormal."""

    x: Float[Tensor, "n"]
    values: Float[Tensor, "n"]
    nuisance: Float[Tensor, "n q"]

    def thinned(self, count: int) -> "Curve":
        """Fewer of its points."""
        kept = torch.linspace(0, len(self.x) - 1, min(count, len(self.x))).long()
        return Curve(self.x[kept], self.values[kept], torch.linalg.qr(self.nuisance[kept])[0])


@torch.no_grad()
def _curve(model: MultKAN, x: Tensor, edge: Edge) -> Curve:
    seen, layer = trace(model, x), model.layers[edge.layer]
    source = seen.nodes[edge.layer][:, edge.source].double()
    chosen = source.argsort()[torch.linspace(0, len(source) - 1, min(len(source), POINTS)).long()]
    points = source[chosen]
    nuisance = [torch.ones_like(points)]
    values = seen.edges[edge.layer][chosen, edge.target, edge.source].double()
    if layer.symbols is not None and layer.splines is not None and layer.splines.mask[edge.target, edge.source]:
        nodes = seen.nodes[edge.layer][chosen].T
        values = layer.splines.edge_values(nodes)[edge.target, edge.source].double()
        nuisance += _tangents(layer.symbols, nodes, edge)
    return Curve(points, values, torch.linalg.qr(torch.stack(nuisance, 1))[0])


def _tangents(symbols: SymbolicEdges, nodes: Tensor, edge: Edge) -> Iterator[Tensor]:
    """Derivatives of the symbolic part with respect to its constants."""
    for group in symbols.groups:
        for number, place in enumerate(zip(group.targets, group.sources, strict=True)):
            if place == (edge.target, edge.source):
                own = symbols.constant_derivatives(group, nodes, 1)[:, 0, number].double()
                yield from (own["abcd".index(letter)] for letter in group.function.free if letter != "d")


def _best(row: Function, curve: Curve, resolution: float) -> Iterator[Suggestion]:
    """The best constants of a function, if it fits anywhere."""
    found = [_Projection(row, curve, a, b).polished() for a, b in _search(row, curve)]
    best = min(found, default=None)
    if best is not None and best.error < 1:
        score = math.log2(max(best.error, resolution)) + row.complexity + math.log2(max(1.0, best.size / LARGE))
        yield Suggestion(row.name, best.constants, best.error, row.complexity, score)


def _search(row: Function, curve: Curve) -> list[tuple[float, float]]:
    """The most promising a and b of a grid."""
    low, high = curve.x.aminmax()
    middle, half = (low + high) / 2, (high - low) / 2
    scales, centers = _trials(row)
    a = scales / half if "a" in row.free else scales
    b = -a * (middle + half * centers) if "b" in row.free else 0 * a
    fit = _shares(row, curve.thinned(SEARCH_POINTS), a, b)
    chosen = fit.topk(min(STARTS, len(fit))).indices
    return [(float(a[i]), float(b[i])) for i in chosen if fit[i] > 0]


@cache
def _trials(row: Function) -> tuple[Float[Tensor, "trials"], Float[Tensor, "trials"]]:
    """Scales and centers for abscissae in [-1, 1]: all phases of each frequency, or what may lie around a center."""
    if row.period is not None:
        scales = torch.arange(0.4, HIGHEST, 0.4, dtype=torch.float64)[:, None]
        centers = torch.arange(PHASES, dtype=torch.float64) * row.period / PHASES / scales
    else:
        scales = SCALES[:, None] if "a" in row.free else torch.ones(1, 1, dtype=torch.float64)
        scales = scales if _has_parity(row) else torch.cat([scales, -scales])
        centers = CENTERS if "b" in row.free else 0 * CENTERS[:1]
    scales, centers = torch.broadcast_tensors(scales, centers)
    return scales.flatten(), centers.flatten()


def _has_parity(row: Function) -> bool:
    """Whether f(-x) is f(x) or -f(x), but for a constant, so that a needs no sign."""
    x = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    right, left = row(x), row(-x)
    return any(bool(((own - own[0]).abs() < 1e-12).all()) for own in (left - right, left + right))


def _shares(row: Function, curve: Curve, a: Tensor, b: Tensor) -> Float[Tensor, "trials"]:
    """The share of a curve's variance that each trial explains, -1 where it is not defined."""
    inner = a[:, None] * curve.x + b[:, None]
    values = row(inner)
    low, high = row.domain
    sound = values.isfinite().all(1) & (inner >= low).all(1) & (inner <= high).all(1)
    values = torch.where(sound[:, None], values, 0.0)
    target = _project(curve, curve.values)
    own = _project(curve, values)
    norm = own.square().sum(1)
    big = norm > 1e-20 * values.square().sum(1)
    share = (own @ target).square() / torch.where(big & (norm > 0), norm, 1.0) / target.square().sum()
    return torch.where(sound & big, share, -1.0)


def _project(curve: Curve, values: Float[Tensor, "*m n"]) -> Float[Tensor, "*m n"]:
    """What the nuisance does not explain."""
    return values - (values @ curve.nuisance) @ curve.nuisance.T


class _Fit(NamedTuple):
    """Relative error, constants, and the largest value of c f relative to the edge's standard deviation."""

    error: float
    constants: tuple[float, float, float, float]
    size: float


class _Projection:
    """The rest of a curve that c f(a x + b), with the best c, does not explain, as a function of a and b."""

    def __init__(self, row: Function, curve: Curve, a: float, b: float) -> None:
        self.row, self.curve, self.start = row, curve, np.array([a, b])
        self.free = ["ab".index(letter) for letter in row.free if letter in "ab"]
        self.target = _project(curve, curve.values)

    def constants(self, free: Any) -> list[float]:
        both = self.start.copy()
        both[self.free] = free
        return both.tolist()

    def inner(self, free: Any) -> Float[Tensor, "n"]:
        a, b = self.constants(free)
        return a * self.curve.x + b

    def amplitude(self, values: Float[Tensor, "n"]) -> float:
        return float(values @ self.target / (values @ values))

    def rest(self, free: Any) -> Any:
        values = _project(self.curve, self.row(self.inner(free)))
        found = (self.target - self.amplitude(values) * values) / self.target.norm()
        return (found if found.isfinite().all() else torch.full_like(found, BAD)).numpy()

    def slopes(self, free: Any) -> Any:
        """Derivatives of the rest, after Kaufman: without those of the amplitude."""
        values, slope = self.row.jet(self.inner(free), 1)
        values = _project(self.curve, values)
        columns = _project(self.curve, slope * torch.stack([self.curve.x, torch.ones_like(slope)])[self.free])
        columns = columns - (columns @ values / (values @ values))[:, None] * values
        return (-self.amplitude(values) / self.target.norm() * columns.T).nan_to_num(0, 0, 0).numpy()

    def polished(self) -> _Fit:
        """The nearest minimum."""
        best = self.start[self.free]
        if self.free:
            options: Any = {"x_scale": "jac", "max_nfev": EVALUATIONS, "jac": self.slopes, **EXACT}
            best = least_squares(self.rest, best, **options).x
        values = self.row(self.inner(best))
        columns = torch.cat([values[:, None], self.curve.nuisance], 1)
        c, *others = torch.linalg.lstsq(columns, self.curve.values[:, None]).solution[:, 0].tolist()
        d = float((self.curve.nuisance @ values.new_tensor(others)).mean())
        a, b = self.constants(best)
        if self.row.period is not None:
            b = math.remainder(b, self.row.period)
        size = float((c * values).abs().max() / self.curve.values.std())
        return _Fit(float(np.linalg.norm(self.rest(best))), (a, b, c, d), size)
