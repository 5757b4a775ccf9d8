"""Pictures of a scaling study: errors against what they cost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#24292f"
# Okabe and Ito's colors, ours filled and the baselines hollow.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072b2", "marker": "o", "linewidth": 2.0},
    {"color": "#d55e00", "marker": "s", "linewidth": 2.0},
    {"color": "#009e73", "marker": "^", "linewidth": 1.2, "markerfacecolor": "white"},
    {"color": "#cc79a7", "marker": "D", "linewidth": 1.2, "markerfacecolor": "white"},
)
LABELS = {"parameters": "number of parameters", "seconds": "time [s]"}
PANELS = {"l2_squared": r"$L^2$ error squared", "h1_squared": r"$H^1$ error squared"}

Curves = Mapping[str, Sequence[Mapping[str, Any]]]


def draw_scaling(curves: Curves, measure: str) -> "Figure":
    """Squared errors of each series of runs against their parameters or seconds, L2 on the left, H1 on the right.

    Args:
        curves: by the name of the series its runs, small to large, each with l2_squared, h1_squared and `measure`.
        measure: "parameters" or "seconds".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.0), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (error, title) in zip(axes, PANELS.items(), strict=True):
        _draw_panel(ax, curves, measure, error)
        ax.set_title(title, fontsize="medium", color=INK)
    axes[0].set_ylabel("mean square over the box")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize="small")
    return figure


def _draw_panel(ax: "Axes", curves: Curves, measure: str, error: str) -> None:
    from matplotlib.ticker import LogLocator

    for (name, runs), style in zip(curves.items(), STYLES, strict=True):
        ax.plot([run[measure] for run in runs], [run[error] for run in runs], label=name, markersize=6, **style)
    ax.set(xlabel=LABELS[measure], xscale="log", yscale="log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(which="major", color="#d0d7de", linewidth=0.6)
    ax.set_axisbelow(True)
