"""Which functions of LIBRARY an edge may be.

References:
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1 (suggest_symbolic).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.functions import LIBRARY, library_function
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges
from kansci.surgery.selection import select_edges
from kansci.symbolic.projection import ENOUGH, Curve, Fit, best_fits
from kansci.tracing import trace

POINTS = 400
RESOLUTION = 1e-6
LARGE = 30.0  # a curve that is the small difference of larger ones is no good explanation


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
    curve = edge_curve(model, x, edge)
    if not curve.varies:
        raise ConfigError(f"expected an edge that varies over x, got {edge}, which is constant there; prune it")
    return suggestions(curve, functions=functions, resolution=resolution)


def suggestions(
    curve: Curve,
    *,
    functions: Sequence[str] | None = None,
    resolution: float = RESOLUTION,
    polish: bool = True,
    enough: float = ENOUGH,
) -> list[Suggestion]:
    """Functions that a curve may be, best first; without polish, roughly; rare ones where no other is good enough."""
    rows = list(LIBRARY.values() if functions is None else map(library_function, functions))
    fits = best_fits([row for row in rows if row.name != "zero"], curve, polish=polish, enough=enough)
    order = {row.name: number for number, row in enumerate(rows)}
    found = [_suggestion(fit, resolution) for fit in fits]
    return sorted(found, key=lambda own: (own.score, max(own.error, resolution), order[own.function]))


def _suggestion(fit: Fit, resolution: float) -> Suggestion:
    error, complexity = max(fit.error, resolution), fit.function.complexity
    score = math.log2(error) + complexity + math.log2(max(1.0, fit.size / LARGE))
    return Suggestion(fit.function.name, fit.constants, fit.error, complexity, score)


@torch.no_grad()
def edge_curve(model: MultKAN, x: Tensor, edge: Edge, *, start: Edge | None = None) -> Curve:
    """What an edge does over x, of one that is symbolic and spline, the spline part; or a chain of edges from a start.

    A chain is a function of where it starts if no other edges lead into it.
    """
    seen, layer = trace(model, x), model.layers[edge.layer]
    first = edge if start is None else start
    source = seen.nodes[first.layer][:, first.source].double()
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
