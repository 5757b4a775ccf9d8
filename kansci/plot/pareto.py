"""The picture of a Pareto front: error against complexity of formulas."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import sympy
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from kansci.errors import ConfigError, DataError, FormulaError
from kansci.plot.style import GRAY, INK, SPLINE, SYMBOLIC, new_axes, open_frame, text_length
from kansci.symbolic.formula import formula

LONGEST = 26.0  # of labels, relative to the size of their letters
DIGITS = 3
SPOT = 4.0  # half of what points take up, in pixels
NOTHING = 1e-5  # size of a summand that is a number, relative to the largest factor beside it


class Candidate(NamedTuple):
    """A formula on a front.

    Attributes:
        complexity: of the formula.
        error: of the formula, or its loss.
        label: the formula as text, an expression, or a network of symbolic edges; "" or None for none.
    """

    complexity: float
    error: float
    label: Any = ""


def draw_pareto(
    front: Sequence[Any],
    *,
    chosen: int | None = None,
    noise: float | None = None,
    names: Sequence[str] | None = None,
    error_name: str = "error",
    ax: Axes | None = None,
) -> Axes:
    """Draw errors of formulas against their complexities, and mark the knee.

    A formula is on the front if none that is as simple is better; others are gray. The knee is the formula on the front
    that is farthest below the straight line from its first to its last one, on a logarithmic scale of errors.

    Args:
        front: tuples (complexity, error) or (complexity, error, formula), the formula as text, a SymPy expression or a
            network; or records with `.complexity` and `.error` or `.loss`, and perhaps `.formula`, `.model` or
            `.function`.
        chosen: number of the formula to mark instead of the knee.
        noise: an error to draw a line at, such as that of the data.
        names: of the inputs of networks.
        error_name: of the vertical axis.
        ax: where to draw; by default the axes of a new figure.

    Returns:
        The axes. The collections have the gid "front", "others" and "chosen".

    Raises:
        DataError: there is no formula.
        ConfigError: no formula has the number `chosen`, or an entry has no complexity or no error.

    Example:
        >>> ax = draw_pareto([(1, 0.5), (3, 0.4), (5, 1e-9, "sin(x)"), (9, 9e-10)])
        >>> [text.get_text() for text in ax.texts], ax.get_yscale()
        (['sin(x)'], 'log')

    References:
        Udrescu et al., AI Feynman 2.0, NeurIPS 2020 (Pareto-optimal formulas).
    """
    candidates = [_candidate(own) for own in front]
    if not candidates:
        raise DataError("expected at least one formula, got none")
    if chosen is not None and chosen not in range(len(candidates)):
        raise ConfigError(f"expected chosen from 0 to {len(candidates) - 1}, got {chosen}")
    points = _points(candidates)
    best = on_front(points)
    marked = find_knee(points, best) if chosen is None else chosen
    ax = new_axes(5.0, 3.6) if ax is None else ax
    open_frame(ax)
    others = np.setdiff1d(np.arange(len(points)), best)
    ax.scatter(*points[others].T, s=14, color=GRAY, gid="others")
    ax.plot(*points[best].T, color=SPLINE, linewidth=1.2, zorder=2)
    ax.scatter(*points[best].T, s=26, color=SPLINE, gid="front", zorder=3)
    ax.scatter(
        *points[[marked]].T, s=110, facecolors="none", edgecolors=SYMBOLIC, linewidths=1.8, gid="chosen", zorder=4
    )
    if noise is not None:
        ax.axhline(noise, color=GRAY, linestyle=":", linewidth=1, gid="noise")
    ax.set(xlabel="complexity", ylabel=error_name, yscale="log")
    ax.margins(x=0.08, y=0.12)
    texts = [label_text(own.label, names) for own in candidates]
    _label(ax, texts, points, sorted({*best.tolist(), marked}), marked)
    return ax


def _points(candidates: Sequence[Candidate]) -> Float[np.ndarray, "n 2"]:
    """Complexities and errors; an error of zero is drawn as a tenth of the smallest one."""
    points = np.array([(own.complexity, own.error) for own in candidates], dtype=float)
    positive = points[points[:, 1] > 0, 1]
    points[:, 1] = np.maximum(points[:, 1], positive.min(initial=1.0) / 10)
    return points


def on_front(points: Float[np.ndarray, "n 2"]) -> np.ndarray:
    """Numbers of those that none is better than which is as simple, the simplest first."""
    order = np.lexsort((points[:, 1], points[:, 0]))
    least = np.minimum.accumulate(points[order, 1])
    better = np.concatenate([[True], points[order[1:], 1] < least[:-1]])
    return order[better]


def find_knee(points: Float[np.ndarray, "n 2"], front: np.ndarray) -> int:
    """The one farthest below the line from the first to the last of a front; the last if none is below."""
    x, y = points[front, 0], np.log(points[front, 1])
    if len(front) < 3 or y[0] == y[-1]:
        return int(front[-1])
    below = (x - x[0]) / (x[-1] - x[0]) + (y - y[-1]) / (y[0] - y[-1])
    return int(front[len(front) - 1 - np.argmin(below[::-1])])


def _candidate(entry: Any) -> Candidate:
    if type(entry) is tuple:
        if len(entry) not in (2, 3):
            raise ConfigError(f"expected (complexity, error) or (complexity, error, formula), got {entry!r}")
        return Candidate(*entry)
    error = next((getattr(entry, name) for name in ("error", "loss") if hasattr(entry, name)), None)
    if error is None or not hasattr(entry, "complexity"):
        raise ConfigError(f"expected complexity and error of each formula, got {entry!r}")
    labels = (getattr(entry, name) for name in ("label", "formula", "model", "function") if hasattr(entry, name))
    return Candidate(entry.complexity, error, next(labels, ""))


def _label(ax: Axes, texts: Sequence[str], points: Float[np.ndarray, "n 2"], shown: Sequence[int], marked: int) -> None:
    """The formulas on the front, the marked one first, then the best; none where there is no room."""
    taken: list[Bbox] = [Bbox.from_extents(*(own - SPOT), *(own + SPOT)) for own in ax.transData.transform(points)]
    for number in sorted(shown, key=lambda own: (own != marked, points[own, 1])):
        if texts[number]:
            color = SYMBOLIC if number == marked else INK
            box = _place(ax, texts[number], points[number], color, [own for n, own in enumerate(taken) if n != number])
            taken += [] if box is None else [box]


def _place(ax: Axes, text: str, point: Float[np.ndarray, "2"], color: str, taken: Sequence[Bbox]) -> Bbox | None:
    """Write beside a point, at the first corner that is free."""
    for (ha, right), (va, up) in itertools.product((("left", 7), ("right", -7)), (("bottom", 5), ("top", -5))):
        style: Any = {"ha": ha, "va": va, "color": color, "fontsize": "medium"}
        written = ax.annotate(text, (point[0], point[1]), (right, up), textcoords="offset points", **style)
        box = written.get_window_extent()
        if ax.bbox.containsx(box.x0) and ax.bbox.containsx(box.x1) and not box.count_overlaps(taken):
            return box
        written.remove()
    return None


def label_text(label: Any, names: Sequence[str] | None = None) -> str:
    """A formula with three digits, as mathematics where it is an expression; "" where it is none or too long."""
    if isinstance(label, str) or label is None:
        return label or ""
    if isinstance(label, list | tuple):
        return ", ".join(filter(None, (label_text(own, names) for own in label)))
    try:
        found = [label] if isinstance(label, sympy.Basic) else formula(label, names)
        # constants that meet in the first round are rounded in the second
        text = ", ".join(f"${sympy.latex(_short(_short(own)))}$" for own in found)
        return text if text_length(text) <= LONGEST else ""
    except (FormulaError, ConfigError, ValueError):
        return ""


def _short(expression: Any) -> Any:
    """The same with numbers of three digits, and without summands that are nothing beside the others."""
    if isinstance(expression, sympy.Float):
        number = float(f"{float(expression):.{DIGITS}g}")
        is_plain = number.is_integer() and abs(number) < 10**DIGITS
        return sympy.Integer(int(number)) if is_plain else sympy.Float(number, DIGITS)
    if not expression.args:
        return expression
    parts = expression.args
    if isinstance(expression, sympy.Add):
        sizes = [abs(own.as_coeff_Mul()[0]) for own in parts]
        parts = [
            own for own, size in zip(parts, sizes, strict=True) if not own.is_Number or size > NOTHING * max(sizes)
        ]
    return expression.func(*map(_short, parts))
