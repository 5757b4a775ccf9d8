"""The picture of one edge: its curve, what it is made of, and where the data lie."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError
from kansci.functions import library_function
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.plot.curves import edge_parts, finite, has_spline, has_symbol, look
from kansci.plot.names import name_inputs
from kansci.plot.style import GRAY, KINDS, PALETTE, SPLINE, SYMBOLIC, function_label, new_axes, open_frame, text_length

POINTS = 400
CANDIDATES, DASHES = PALETTE[1:], ((0, (5, 2)), (0, (2, 2)), (0, (6, 2, 1, 2)))
BINS = 50
DENSITY = 0.1  # height of the highest bar, relative to that of the axes
PARTS = {
    "base": {"color": GRAY, "linestyle": "--"},
    "spline": {"color": SPLINE, "alpha": 0.5},
    "symbolic": {"color": SYMBOLIC, "alpha": 0.5},
}


def draw_edge(
    model: MultKAN,
    edge: Edge,
    x: Float[Tensor, "n d"] | None = None,
    *,
    names: Sequence[str] | None = None,
    candidates: Sequence[Any] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw one edge over the domain of its knots and wherever data reach it.

    The curve is blue for spline edges, orange for symbolic ones and purple for both together; its summands
    are thin lines. Gray bars at the bottom show the density of the activations at x, small ticks the knots.
    A symbolic edge carries its formula, constants rounded to three digits. Candidates are dashed.

    Args:
        model: left unchanged.
        edge: which edge, e.g. Edge(layer=0, target=2, source=1); target is a subnode.
        x: points (n, d) at which the network is looked at; by default Sobol points of its domain.
        names: of the raw inputs, or of raw inputs and features.
        candidates: functions that the edge may be, as found by `suggest`, or a few of these.
        ax: where to draw; by default the axes of a new figure.

    Returns:
        The axes. The curve has the gid "edge", its parts "base", "spline" and "symbolic", the bars "density", the
        candidates "candidate".

    Raises:
        ConfigError: the model has no such edge, or the number of names does not fit.
        ShapeError: x is not (n, d) for this model.
        DataError: x holds no points.

    Example:
        >>> ax = draw_edge(MultKAN([2, 5, 1]), Edge(layer=0, target=2, source=1))
        >>> ax.get_xlabel(), ax.get_xticks(minor=True).round(1).tolist()
        ('$x_{2}$', [-1.0, -0.6, -0.2, 0.2, 0.6, 1.0])
    """
    layer = _layer_of(model, edge)
    inputs = name_inputs(model, names)
    source = f"$x_{{{edge.layer},{edge.source}}}$" if edge.layer else inputs[edge.source]
    data = _activations(layer, look(model, x).nodes[edge.layer], edge.source)
    knots = _grid(layer, edge)
    ax = new_axes(4.0, 3.0) if ax is None else ax
    open_frame(ax)
    points = _points(knots, data)
    _draw_curves(ax, layer, edge, points)
    _draw_candidates(ax, candidates, points)
    _draw_density(ax, data)
    _mark_knots(ax, knots)
    ax.set_title(_formula(layer, edge), color=SYMBOLIC, loc="left", fontsize="medium")
    ax.set(xlabel=source, ylabel=f"$\\varphi_{{{edge.layer},{edge.target},{edge.source}}}$")
    return ax


def _layer_of(model: MultKAN, edge: Edge) -> KANLayer:
    if edge.layer not in range(len(model.layers)):
        raise ConfigError(
            f"expected a layer from 0 to {len(model.layers) - 1}, got {edge}; the inputs are below layer 0"
        )
    layer = model.layers[edge.layer]
    subnodes, nodes = layer.config.out.n_subnodes, layer.config.n_in
    if edge.target not in range(subnodes) or edge.source not in range(nodes):
        raise ConfigError(
            f"expected a target from 0 to {subnodes - 1} and a source from 0 to {nodes - 1}, got {edge}; "
            "targets are subnodes, which outnumber the nodes where some are products"
        )
    return layer


def _activations(layer: KANLayer, nodes: Float[Tensor, "n in"], source: int) -> Float[np.ndarray, "n"]:
    """What the edges of a source are fed with, as far as it is finite."""
    fed = nodes if layer.splines is None else layer.splines.wrap(nodes)
    return finite(fed[:, source]).compressed()


def _grid(layer: KANLayer, edge: Edge) -> Float[np.ndarray, "g"]:
    """The knots of an edge without their extension; none where it has no spline."""
    if layer.splines is None or not has_spline(layer)[edge.target, edge.source]:
        return np.empty(0)
    k = layer.config.k
    return layer.splines.knots[edge.source, k:-k].double().cpu().numpy()


def _points(knots: Float[np.ndarray, "g"], data: Float[np.ndarray, "n"]) -> Float[np.ndarray, "p"]:
    """Equidistant points over knots and data, with the knots among them."""
    ends = np.concatenate([knots, data]) if len(knots) + len(data) else np.array([-1.0, 1.0])
    low, high = ends.min(), ends.max()
    if low == high:
        low, high = low - 1.0, high + 1.0
    return np.union1d(np.linspace(low, high, POINTS), knots)


def _draw_curves(ax: Axes, layer: KANLayer, edge: Edge, points: Float[np.ndarray, "p"]) -> None:
    """The edge, and its summands if there are several."""
    at = edge.target, edge.source
    x = torch.as_tensor(points, dtype=layer.node_scale.dtype, device=layer.node_scale.device)
    parts = edge_parts(layer, x[:, None].expand(-1, layer.config.n_in))
    curves = {name: finite(values[:, *at]) for name, values in parts._asdict().items()}
    summands = [name for name, values in curves.items() if np.any(values)]
    if len(summands) > 1:
        for name in summands:
            ax.plot(points, curves[name], linewidth=1, label=name, gid=name, **PARTS[name])
        ax.legend(frameon=False, fontsize="small")
    color = KINDS[has_spline(layer)[at], has_symbol(layer)[at]]
    ax.plot(points, finite(parts.total[:, *at]), color=color, linewidth=2, gid="edge")


def _draw_candidates(ax: Axes, candidates: Sequence[Any], points: Float[np.ndarray, "p"]) -> None:
    """c f(a x + b) + d of each, with its name and relative error, without the axes being stretched for it."""
    if not candidates:
        return
    low, high = ax.get_ylim()
    for number, own in enumerate(candidates):
        turn, color = divmod(number, len(CANDIDATES))
        a, b, c, d = own.constants
        values = c * library_function(own.function)(torch.as_tensor(a * points + b)) + d
        style = {"color": CANDIDATES[color], "linestyle": DASHES[turn % len(DASHES)], "linewidth": 1.3}
        label = f"{function_label(own.function)}  {own.error:.1e}"
        ax.plot(points, finite(values), label=label, gid="candidate", **style)
    ax.set_ylim(low, high)
    ax.legend(frameon=False, fontsize="small")


def _draw_density(ax: Axes, data: Float[np.ndarray, "n"]) -> None:
    """Bars along the bottom, below the curve."""
    if not len(data):
        return
    counts, ends = np.histogram(data, BINS)
    low, high = ax.get_ylim()
    ax.set_ylim(low - DENSITY * (high - low), high)
    heights = DENSITY * counts / counts.max()
    ax.stairs(heights, ends, fill=True, color=GRAY, alpha=0.35, transform=ax.get_xaxis_transform(), gid="density")


def _mark_knots(ax: Axes, knots: Float[np.ndarray, "g"]) -> None:
    """Minor ticks, also where a major one stands."""
    ax.set_xticks(knots, minor=True)
    ax.tick_params(axis="x", which="minor", direction="in", length=6, color=SPLINE)
    ax.xaxis.remove_overlapping_locs = False


def _formula(layer: KANLayer, edge: Edge) -> str:
    """The symbolic part of an edge with constants of three digits, "" where there is none."""
    if layer.symbols is None or not has_symbol(layer)[edge.target, edge.source]:
        return ""
    a, b, c, d = (_rounded(value) for value in layer.symbols.affine[edge.target, edge.source].tolist())
    function = library_function(layer.config.symbols[edge.target][edge.source])
    expression = c * function.sympy(a * sympy.Symbol("x", real=True) + b) + d
    return _typeset(expression)


def _rounded(value: float) -> sympy.Number:
    """Three digits; integers without a point."""
    short = float(f"{value:.3g}")
    return sympy.Integer(int(short)) if short.is_integer() and abs(short) < 1000 else sympy.Float(short, 3)


def _typeset(expression: sympy.Expr) -> str:
    """As mathematics where matplotlib knows the commands, else as plain text."""
    text = f"${sympy.latex(expression)}$"
    try:
        text_length(text)
    except ValueError:
        return str(expression)
    return text
