"""The picture of a solve: the loss and its terms, step by step."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from kansci.errors import ConfigError
from kansci.plot.style import GRAY, INK, PALETTE, new_axes, open_frame
from kansci.solvers.solution import History, Solution

LABELS = {"step": "step", "seconds": "time [s]"}
DASHES = ("-", "--", ":")
FEW = 40  # points of a line that are marked one by one


def draw_history(solution: Solution | History, *, against: str = "step", ax: Axes | None = None) -> Axes:
    """Draw the loss of a solve and its terms on a logarithmic scale.

    The loss is black, its terms are colored, and dotted lines mark where a new stage of grids begins.
    Values that are not positive leave gaps.

    Args:
        solution: what `solve` or `fit` returned, or its history.
        against: "step" or "seconds".
        ax: where to draw; by default the axes of a new figure.

    Returns:
        The axes. Its lines are labeled "loss" and by the names of the terms; the dotted ones have the gid
        "stages".

    Raises:
        ConfigError: `against` is neither of the two.

    Example:
        >>> loss = np.array([1.0, 1e-3, 1e-6])
        >>> terms = {"pde": 0.9 * loss, "boundary": 0.1 * loss}
        >>> history = History(np.arange(1, 4), np.array([0, 0, 1]), 0.1 * loss, loss, terms, loss)
        >>> ax = draw_history(history)
        >>> ax.get_yscale(), [line.get_label() for line in ax.get_lines()]
        ('log', ['pde', 'boundary', 'loss'])
    """
    if against not in LABELS:
        raise ConfigError(f"expected against to be one of {', '.join(LABELS)}, got {against!r}")
    history = solution.history if isinstance(solution, Solution) else solution
    place = np.asarray(getattr(history, against), dtype=float)
    ax = new_axes(4.5, 3.0) if ax is None else ax
    open_frame(ax)
    if len(history.terms) > 1:
        _draw_terms(ax, place, history.terms)
    _draw_line(ax, place, history.loss, label="loss", color=INK, linewidth=2)
    _mark_stages(ax, place, history)
    ax.set(xlabel=LABELS[against], ylabel="loss", yscale="log")
    if against == "step":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(ax.get_legend_handles_labels()[1]) > 1:
        ax.legend(frameon=False, fontsize="small")
    return ax


def _draw_terms(ax: Axes, place: Float[np.ndarray, "t"], terms: dict[str, Float[np.ndarray, "t"]]) -> None:
    """One line for each, in the colors of the palette and then dashed."""
    for number, (name, values) in enumerate(terms.items()):
        turn, color = divmod(number, len(PALETTE))
        style = {"color": PALETTE[color], "linestyle": DASHES[turn % len(DASHES)]}
        _draw_line(ax, place, values, label=name, linewidth=1.2, **style)


def _draw_line(ax: Axes, place: Float[np.ndarray, "t"], values: Float[np.ndarray, "t"], **style: Any) -> None:
    shown = np.where(values > 0, values, np.nan)
    ax.plot(place, shown, marker="." if len(place) <= FEW else "", **style)


def _mark_stages(ax: Axes, place: Float[np.ndarray, "t"], history: History) -> None:
    """Lines halfway between the last step of a stage and the first of the next."""
    first = np.flatnonzero(np.diff(history.stage)) + 1
    between = (place[first - 1] + place[first]) / 2
    if len(between):
        style = {"colors": GRAY, "linestyles": ":", "linewidth": 1, "gid": "stages", "label": "next stage"}
        ax.vlines(between, 0, 1, transform=ax.get_xaxis_transform(), **style)
