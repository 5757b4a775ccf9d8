"""The edges of a layer in the picture of a network: lines, boxes, and a curve in each box."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.colors import to_rgba_array

from kansci.nn.layer import KANLayer
from kansci.plot.canvas import Canvas
from kansci.plot.curves import edge_curves, has_spline, has_symbol, is_identity
from kansci.plot.layout import Row
from kansci.plot.style import INK, KINDS, POINTS_PER_INCH, function_label, text_length
from kansci.tracing import Trace

POINTS = 64  # of a curve
MARGIN = 0.15  # of a box, around its curve
STRIP = 0.2  # of a box, below its curve, for a name
SMALLEST = 4.0  # letters of a name [points]
FAINTEST = 0.1  # opacity of an edge that does nothing


def draw_boxes(
    canvas: Canvas,
    row: Row,
    layer: KANLayer,
    seen: Trace,
    number: int,
    strengths: Float[np.ndarray, "subnode in"],
    *,
    named: bool,
) -> None:
    """Draw the edges of layer `number`, the stronger the darker, the functions of symbolic edges named or not."""
    edges = row.targets, row.sources
    opacity = FAINTEST + (1 - FAINTEST) * np.tanh(3 * strengths[edges])
    kinds = zip(has_spline(layer)[edges], has_symbol(layer)[edges], strict=True)
    colors = translucent([KINDS[kind] for kind in kinds], opacity)
    inks = translucent([INK] * len(opacity), opacity)
    names = _function_names(layer, row) if named else [""] * len(opacity)
    letters = np.array([_letters(name, row.size) for name in names])
    curves = edge_curves(layer, seen.nodes[number], POINTS)[edges]
    curves = fit_curves(curves, row.boxes, row.size, letters > 0)
    through = np.stack([row.below[:, -1], row.above[:, 0]], 1)
    boxed = ~is_identity(layer)[edges]

    thin, thick = line_widths(row.size)
    canvas.lines(np.concatenate([row.below, row.above]), thin, np.tile(inks, (2, 1)), f"edges-{number}")
    canvas.lines(through[~boxed], thin, inks[~boxed], f"identities-{number}")
    canvas.squares(row.boxes[boxed], row.size, thin, colors[boxed], f"boxes-{number}")
    canvas.lines(curves[boxed], thick, colors[boxed], f"curves-{number}")
    for k in np.flatnonzero(boxed & (letters > 0)):
        x, y = row.boxes[k] - [0, (0.5 - STRIP / 2 - MARGIN / 4) * row.size]
        canvas.text(x, y, names[k], letters[k], color=colors[k], ha="center", va="center")


def line_widths(side: float) -> tuple[float, float]:
    """Widths of the rim of a box and of its curve [points]."""
    return float(np.clip(3 * side, 0.35, 0.8)), float(np.clip(5 * side, 0.5, 1.4))


def translucent(colors: list[str], opacity: Float[np.ndarray, "e"]) -> Float[np.ndarray, "e 4"]:
    """Colors with opacities."""
    return np.column_stack([to_rgba_array(colors)[:, :3], opacity])


def fit_curves(
    curves: Float[np.ndarray, "e p"],
    centers: Float[np.ndarray, "e 2"],
    side: float,
    named: bool | Bool[np.ndarray, "e"] = False,
) -> Float[np.ndarray, "e p 2"]:
    """Each curve over its own range, inside its box and above its name."""
    low, high = np.fmin.reduce(curves, 1), np.fmax.reduce(curves, 1)
    span = np.where(low == high, 1.0, high - low)
    strip = np.where(np.broadcast_to(named, len(curves)), STRIP, 0.0)
    height = 1 - 2 * MARGIN - strip
    y = (curves - (low + high)[:, None] / 2) * (height / span)[:, None] + strip[:, None] / 2
    x = np.linspace(MARGIN - 0.5, 0.5 - MARGIN, curves.shape[1])
    return centers[:, None] + side * np.stack(np.broadcast_arrays(x, y), -1)


def _function_names(layer: KANLayer, row: Row) -> list[str]:
    """The symbolic function of each edge, powers of x set as such, "" where there is none."""
    symbolic = has_symbol(layer)
    return [
        function_label(layer.config.symbols[target][source]) if symbolic[target, source] else ""
        for target, source in zip(row.targets, row.sources, strict=True)
    ]


def _letters(name: str, box: float) -> float:
    """Size [points] at which a name fits into a box, 0 if that is too small to read."""
    size = POINTS_PER_INCH * box * min(STRIP, 0.85 / max(text_length(name), 0.1))
    return size if name and size >= SMALLEST else 0.0
