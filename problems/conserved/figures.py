"""Pictures of conserved quantities: how well they are conserved, trajectories on their level sets, their drift."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kansci.physics.conserved_motions import ConservedMotions
from kansci.physics.conserved_search import Conserved, Quantity
from kansci.physics.field import Paths, VectorField

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = 1e-17
VIEW = 0.6  # of the box, on each side
MOST_SHOWN = 25  # trajectories
SHOWN = 34  # characters of a formula
KEPT, DROPPED, LIGHT = "#1f5a94", "#c8552b", "#b8b8b8"
COLORS = "viridis"


def draw_figures(found: Conserved, flow: VectorField, paths: Paths) -> "dict[str, Callable[[], Figure]]":
    """What can be drawn, each drawn when called."""
    figures: dict[str, Callable[[], Any]] = {"spectrum": lambda: draw_spectrum(found.residuals, found.count)}
    if paths.states:
        figures["trajectories"] = lambda: _draw_trajectories(found, flow, paths)
    if found.quantities and paths.states:
        figures["drift"] = lambda: _draw_drift(found, paths)
    return figures


def draw_spectrum(
    residuals: Sequence[float], count: int, label: str = "cos(field, gradient), root mean square"
) -> "Figure":
    """The residual of each function in turn, of one more than is conserved at last."""
    figure, ax = _axes(1, (4.4, 3.4))
    sizes = np.maximum(residuals, FLOOR)
    bottom = min(sizes) / 3
    numbers = np.arange(1, len(sizes) + 1)
    colors = [KEPT if number <= count else DROPPED for number in numbers]
    ax[0].vlines(numbers, bottom, sizes, colors=colors, lw=3)
    ax[0].scatter(numbers, sizes, c=colors, s=60, zorder=3)
    ax[0].set(yscale="log", ylim=(bottom, 3 * max(sizes)), xticks=numbers, xlim=(0.4, len(sizes) + 0.6))
    ax[0].set(xlabel="number of the function", ylabel=label, title=f"{count} conserved")
    return figure


def _draw_trajectories(found: Conserved, flow: VectorField, paths: Paths) -> "Figure":
    """Trajectories in the plane of the first two coordinates, colored by each quantity, on its level sets for d = 2."""
    shown: list[Quantity | None] = list(found.quantities) or [None]
    figure, axes = _axes(len(shown), (3.6 * min(len(shown), 3), 3.4 * -(-len(shown) // 3)))
    for ax, quantity in zip(axes, shown, strict=False):
        values = np.arange(len(paths.states)) if quantity is None else _starts(quantity, paths)
        low, high = values.min(), max(values.max(), values.min() + 1e-12)
        if quantity is not None and len(flow.names) == 2:
            _draw_levels(ax, quantity, flow, values)
        for own, value in zip(paths.states, values, strict=True):
            ax.plot(own[:, 0], own[:, 1], color=_color((value - low) / (high - low)), lw=1.0)
        ax.plot(*torch.stack([own[0, :2] for own in paths.states]).T, "k.", ms=4)
        ax.set(xlabel=flow.names[0], ylabel=flow.names[1], title=_title(quantity))
        for (low, high), limit in zip(flow.domain, (ax.set_xlim, ax.set_ylim), strict=False):
            limit(low - VIEW * (high - low), high + VIEW * (high - low))
    return figure


def _draw_levels(ax: "Axes", quantity: Quantity, flow: VectorField, values: np.ndarray) -> None:
    low, high = flow.bounds
    low, high = low - VIEW * (high - low), high + VIEW * (high - low)
    x, y = (torch.linspace(float(a), float(b), 201, dtype=torch.float64) for a, b in zip(low, high, strict=True))
    with torch.no_grad():
        heights = quantity.function(torch.cartesian_prod(x, y)).reshape(201, 201).T.numpy()
    ax.contour(
        x,
        y,
        np.where(np.isfinite(heights), heights, np.nan),
        levels=np.unique(values),
        colors=LIGHT,
        linewidths=1.2,
        zorder=0,
    )


def draw_motions(found: ConservedMotions, motions: Sequence[np.ndarray], names: Sequence[str]) -> "Figure":
    """Measured values of each quantity along trajectories: levels as far as noise lets them be."""
    figure, axes = _axes(max(found.count, 1), (3.6 * min(max(found.count, 1), 3), 3.2 * -(-found.count // 3 or 1)))
    shown = motions[:: max(1, len(motions) // MOST_SHOWN)]
    for ax, quantity in zip(axes, found.quantities, strict=False):
        values = [quantity.function(own) for own in shown]
        low, high = min(own.mean() for own in values), max(own.mean() for own in values)
        for own in values:
            ax.plot(own, color=_color((own.mean() - low) / max(high - low, 1e-300)), lw=0.8)
        ax.set(xlabel="sample", ylabel="H", title=_shortened(str(quantity.formula.evalf(3))))
    if not found.quantities:
        for own in shown:
            axes[0].plot(own[:, 0], own[:, 1], color=KEPT, lw=0.8)
        axes[0].set(xlabel=names[0], ylabel=names[1], title="nothing conserved")
    return figure


def _draw_drift(found: Conserved, paths: Paths) -> "Figure":
    """How far each quantity moves along each trajectory, in units of its standard deviation among them."""
    figure, axes = _axes(found.count, (3.6 * min(found.count, 3), 3.2 * -(-found.count // 3)))
    for ax, quantity in zip(axes, found.quantities, strict=False):
        spread = max(_starts(quantity, paths).std(), 1e-300)
        for own in paths.states:
            values = _values(quantity, own)
            moved = np.abs(values - values[0])[1:] / spread
            ax.semilogy(paths.times[1 : len(own)], np.maximum(moved, FLOOR), color=KEPT, lw=0.7, alpha=0.6)
        ax.set(xlabel="time", ylabel="change / spread", title=_title(quantity), ylim=(FLOOR / 3, 10))
    return figure


def _axes(count: int, size: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    columns = min(count, 3)
    axes = figure.subplots(-(-count // columns), columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, list(axes[:count])


def _values(quantity: Quantity, states: Tensor) -> np.ndarray:
    with torch.no_grad():
        return quantity.function(states).reshape(len(states)).numpy()


def _starts(quantity: Quantity, paths: Paths) -> np.ndarray:
    return _values(quantity, torch.stack([own[0] for own in paths.states]))


def _color(share: float) -> Any:
    from matplotlib import colormaps

    return colormaps[COLORS](0.05 + 0.85 * share)


def _title(quantity: Quantity | None) -> str:
    if quantity is None:
        return "nothing conserved"
    if quantity.formula is None:
        return "H = a network"
    return _shortened(str(quantity.formula))


def _shortened(formula: str) -> str:
    text = formula.replace("**", "^").replace("*", " ")
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."
