"""Symbolic edges back to spline edges."""

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from kansci.config import Edge
from kansci.errors import ConfigError, DomainError
from kansci.functions import Function, library_function
from kansci.nn.arguments import check_finite
from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.nn.samples import spread
from kansci.nn.symbols import SymbolicEdges
from kansci.splines import uniform_knots
from kansci.surgery.banks import add_splines, clear, idle_sources
from kansci.surgery.grid import insert_knots, project, sample_intervals
from kansci.surgery.selection import select_edges, symbolic_edges
from kansci.surgery.symbolize import replace_symbols

MARGIN = 0.1
MAX_GRID = 1000
FLAT = 1e-6  # standard deviations below this share of the values are those of constants


def thaw(
    model: MultKAN, x: Float[Tensor, "n d"], edges: Sequence[Edge] | None = None, *, tolerance: float = 1e-8
) -> MultKAN:
    """Turn symbolic edges into spline edges that are the same functions where the activations of x are.

    Each edge is projected onto splines over the range of its source with a margin, or, where other spline edges
    start from the source, over their grid. Until all edges of a layer are near enough, its grid is halved by knot
    insertion, which leaves its other spline edges as they are. Masked edges stay masked.

    Args:
        model: left unchanged.
        x: points, whose activations say where the edges are needed.
        edges: which, by default all symbolic edges that are not masked.
        tolerance: largest root mean square error of an edge, at x and between, relative to its standard deviation;
            before rounding to the dtype of the model.

    Returns:
        A new model.

    Raises:
        ConfigError: an edge is not a symbolic one, or no grid of at most 1000 intervals is near enough to it.
        DomainError: an edge is not finite at x.
        ShapeError: x is not (n, d) for this model.
        DataError: x is empty or not finite.

    Example:
        >>> from kansci.symbolic.kanpiler import kanpile
        >>> model = kanpile("sin(x)", ["x"])
        >>> x = torch.linspace(-3, 3, 100, dtype=torch.float64)[:, None]
        >>> thawed = thaw(model, x)
        >>> thawed, bool((thawed(x) - model(x)).abs().max() < 1e-8)
        (MultKAN([1, 1], grid=160, k=3, 163 parameters, torch.float64), True)
    """
    if not tolerance > 0:
        raise ConfigError(f"expected a tolerance above 0, got {tolerance}; 1e-8 is usual")
    chosen = _chosen(model, edges)
    thawed = copy.deepcopy(model).to(torch.float64)
    original = copy.deepcopy(thawed)
    with torch.no_grad():
        nodes = original.lift(x.to(torch.float64), "value").channels[0]
        check_finite(x, "x")
        layers = zip(original.layers, thawed.layers, chosen, idle_sources(original), strict=True)
        for number, (old, new, edges_here, idle) in enumerate(layers):
            if edges_here.any():
                wanted = _Curves(number, old, edges_here.to(nodes.device), nodes)
                _drop_symbols(new, edges_here)
                wanted.add_to(new, idle, tolerance)
            nodes = old(nodes)
    return thawed.to(model.dtype)


def _chosen(model: MultKAN, edges: Sequence[Edge] | None) -> list[Bool[Tensor, "subnode _"]]:
    symbolic = [symbolic_edges(layer) for layer in model.layers]
    if edges is None:
        return symbolic
    chosen = select_edges(model, edges)
    for edge in edges:
        if not symbolic[edge[0]][edge[1:]]:
            raise ConfigError(f"expected symbolic edges that are not masked, got {edge}; leave it out")
    return chosen


def _drop_symbols(layer: KANLayer, edges: Bool[Tensor, "subnode in"]) -> None:
    """Make edges of a layer absent among the symbolic ones, in place."""
    pairs = zip(layer.config.symbols, edges.tolist(), strict=True)
    replace_symbols(layer, [["" if gone else name for name, gone in zip(*pair, strict=True)] for pair in pairs])


class _Curves:
    """Symbolic edges of a layer as curves that splines follow.

    Attributes:
        number: of the layer.
        symbols: its symbolic edges.
        chosen: which of them.
        nodes: (in, n), its sources at the points given.
        values: (subnode, in, n), the curves there.
        low: lower ends of the ranges that the curves are needed on.
        high: upper ends.
    """

    def __init__(
        self, number: int, layer: KANLayer, chosen: Bool[Tensor, "subnode in"], nodes: Float[Tensor, "in n"]
    ) -> None:
        """Evaluate the curves.

        Raises:
            DomainError: one is not finite.
        """
        self.number, self.chosen, self.nodes = number, chosen, nodes
        self.symbols = cast(SymbolicEdges, layer.symbols)
        self.values = self._at(nodes)
        if not self.values.isfinite().all():
            raise DomainError(f"expected edges that are finite at x, got infinity in layer {number}; drop points")
        self.low, self.high = spread(nodes.T, MARGIN)
        for target, source in chosen.nonzero().tolist():
            function = library_function(layer.config.symbols[target][source])
            a, b, _, _ = self.symbols.affine[target, source].tolist()
            self._keep_off(function, a, b, source)

    def _at(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "subnode in n"]:
        return torch.where(self.chosen[..., None], self.symbols.edge_values(x), 0.0)

    def _keep_off(self, function: Function, a: float, b: float, source: int) -> None:
        """End the range of a source half-way to where a curve is singular, unless it is so where it is needed."""
        first, last = self.nodes[source].amin().item(), self.nodes[source].amax().item()
        for point in (*function.domain, *function.singular):
            if a and math.isfinite(point):
                below = above = (point - b) / a
                if function.period is not None:
                    period = function.period / abs(a)
                    below += period * math.floor((first - below) / period)
                    above += period * math.ceil((last - above) / period)
                if below <= first < last:
                    self.low[source] = max(self.low[source].item(), (below + first) / 2)
                if above >= last > first:
                    self.high[source] = min(self.high[source].item(), (last + above) / 2)

    def add_to(self, layer: KANLayer, idle: Bool[Tensor, "in"], tolerance: float) -> None:
        """Add splines to edges of a layer, in place, on as many intervals as it takes.

        Raises:
            ConfigError: these are too many.
        """
        splines = self._prepare(layer, idle)
        coef, error = self._project(splines)
        while not (error <= tolerance).all():
            if 2 * splines.config.grid > MAX_GRID:
                raise self._unreached(error, tolerance, splines.config.grid)
            splines = insert_knots(layer, 2 * splines.config.grid)
            coef, error = self._project(splines)
        splines.coef += coef / torch.where(self.chosen, splines.mask * splines.scale_spline, 1.0)[..., None]

    def _prepare(self, layer: KANLayer, idle: Bool[Tensor, "in"]) -> SplineEdges:
        """The splines of the layer, with grids for idle sources and zero splines where there were none."""
        splines = add_splines(layer, base="zero")
        config = splines.config
        splines.knots[idle] = uniform_knots(self.low[idle], self.high[idle], config.grid, config.k)
        clear(splines, self.chosen & (splines.mask == 0))
        still = self.chosen & (splines.scale_spline == 0)
        splines.coef[still], splines.scale_spline[still] = 0.0, 1.0
        return splines

    def _project(self, splines: SplineEdges) -> tuple[Float[Tensor, "subnode in coef"], Float[Tensor, "subnode in"]]:
        """Coefficients of the splines nearest to the curves, and their errors relative to standard deviations."""
        between = sample_intervals(splines.knots, splines.config.k)
        inside = (self.low[:, None] <= between) & (between <= self.high[:, None])
        inside[list(splines.config.periodic)] = True
        wanted = torch.where(inside, self._at(between), 0.0)
        coef = project(splines, between, wanted, inside.to(between.dtype))
        weights = functional.pad(coef, (0, splines.n_functions - splines.config.n_coef))
        error = (splines.edge_values(self.nodes, weights) - self.values).square().mean(-1)
        beside = (splines.edge_values(between, weights) - wanted).square() * inside
        floor = FLAT * self.values.abs().amax(-1) + torch.finfo(coef.dtype).tiny
        scale = self.values.std(-1, correction=0).maximum(floor)
        return coef, error.maximum(beside.mean(-1)).sqrt() / scale

    def _unreached(self, error: Float[Tensor, "subnode in"], tolerance: float, grid: int) -> ConfigError:
        worst = Edge(self.number, *divmod(int(error.argmax()), error.shape[1]))
        return ConfigError(
            f"expected edges that splines can follow to tolerance={tolerance:g}, got an error of {error.max():.1e} "
            f"with {grid} intervals of {worst}; use a larger tolerance, or points away from where it is not smooth"
        )
