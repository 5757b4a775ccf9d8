"""The picture of a race: a panel for each problem, the error of each run against its seconds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from scipy.optimize import isotonic_regression

from kansci.plot.style import BOTH, INK, PALETTE, open_frame
from tests.benchmarks.race.table import best_runs
from tests.benchmarks.race.track import Run

BLUE, ORANGE, GREEN, *_ = PALETTE
COLORS = {"kansci": BLUE, "MLP": ORANGE, "pykan": GREEN, "inKAN": BOTH, "DeepXDE": "#57606a"}
COLUMNS, WIDTH, HEIGHT = 2, 9.0, 2.2  # of the picture and of a row of panels [inch]
MARGINS = {"left": 0.062, "right": 0.862, "wspace": 0.47, "hspace": 0.38}
FIRST, FLOOR, CEILING = 0.01, 1e-9, 2.0
GAP, LINE = 0.092, 0.105  # between labels and between lines of the key, of the height of a panel


def draw_race(
    titles: Mapping[str, str],
    runs: Mapping[str, Sequence[Run]],
    limit: float,
    key: Mapping[str, str],
    notes: Sequence[str],
) -> Figure:
    """Draw the race: bold the best run of each library, with the name of its method, and thin its other runs.

    Args:
        titles: of the panels, by the names of the problems.
        runs: of each problem.
        limit: seconds that every run had.
        key: what the key calls each library.
        notes: further lines of the key.
    """
    rows = math.ceil((len(runs) + 1) / COLUMNS)
    figure = Figure(figsize=(WIDTH, HEIGHT * rows))
    figure.subplots_adjust(top=1 - 0.3 / (HEIGHT * rows), bottom=0.45 / (HEIGHT * rows), **MARGINS)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    lowest = min((error for own in runs.values() for run in own for error in run.errors), default=FLOOR)
    for number, (ax, (name, own)) in enumerate(zip(panels, runs.items(), strict=False)):
        ax.set(xscale="log", yscale="log", xlim=(FIRST, limit), ylim=(max(lowest / 3, FLOOR), CEILING))
        ax.set_title(titles[name], fontsize=9, color=INK)
        ax.set_ylabel("" if number % COLUMNS else "relative error", fontsize=8, color=INK)
        ax.set_xlabel("" if number + COLUMNS < len(runs) else "time [s]", fontsize=8, color=INK)
        _style(ax)
        _draw_runs(ax, own)
        _label(ax, own)
    for ax in panels[len(runs) :]:
        ax.set_axis_off()
    raced = {run.library for own in runs.values() for run in own}
    _draw_key(panels[len(runs)], {library: key[library] for library in COLORS if library in raced}, notes)
    return figure


def _style(ax: Axes) -> None:
    open_frame(ax)
    ax.tick_params(labelsize=7, labelcolor=INK)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_locator(LogLocator(numticks=6))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y", which="major", color="#e6e9ed", linewidth=0.6)
    ax.set_axisbelow(True)


def _draw_runs(ax: Axes, runs: Sequence[Run]) -> None:
    """Thin lines below bold ones; a run that ended early stays where it is, dotted."""
    best = best_runs(runs)
    for run in runs:
        if run not in best:
            ax.plot(run.seconds, run.errors, color=COLORS[run.library], linewidth=0.7, alpha=0.45)
    for run in reversed(best):
        style = {"color": COLORS[run.library], "linewidth": _thickness(run.library)}
        ax.plot(run.seconds, run.errors, solid_capstyle="round", **style)
        if run.errors and run.seconds[-1] < ax.get_xlim()[1]:
            ax.plot([run.seconds[-1], ax.get_xlim()[1]], [run.final] * 2, linestyle=(0, (0.2, 2)), **style)


def _label(ax: Axes, runs: Sequence[Run]) -> None:
    """The names of the best runs beside the ends of their lines; methods where a library has several."""
    best = sorted(best_runs(runs), key=lambda run: run.final)
    low, high = np.log(ax.get_ylim())
    ends = [(math.log(min(max(run.final, FLOOR), CEILING)) - low) / (high - low) for run in best]
    for run, place in zip(best, spread(ends, GAP), strict=True):
        alone = sum(own.library == run.library for own in runs) == 1
        text = run.library if alone else f"{run.library} {run.method}"
        weight = "bold" if run.library == "kansci" else "normal"
        style = {"color": COLORS[run.library], "weight": weight, "fontsize": 7.5, "va": "center"}
        ax.text(1.03, place, text, transform=ax.transAxes, **style)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The places nearest to increasing ones that are at least a gap apart, and below one where they can.

    Example:
        >>> spread([0.0, 0.5, 0.52, 1.0], 0.1)
        [0.0, 0.46, 0.56, 1.0]
    """
    steps = gap * np.arange(len(places))
    found = isotonic_regression(np.asarray(places, dtype=float) - steps).x + steps
    return np.minimum(found, 1 + steps - steps[-1:]).tolist()


def _draw_key(ax: Axes, key: Mapping[str, str], notes: Sequence[str]) -> None:
    """What the lines are."""
    ax.set(xlim=(0, 1), ylim=(0, 1))
    places = [0.95 - LINE * number for number in range(len(key) + len(notes))]
    for (library, text), place in zip(key.items(), places, strict=False):
        ax.plot([0, 0.12], [place] * 2, color=COLORS[library], linewidth=_thickness(library))
        ax.text(0.17, place, text, color=COLORS[library], fontsize=8, va="center")
    for note, place in zip(notes, places[len(key) :], strict=True):
        ax.text(0, place - LINE / 3, note, color=INK, fontsize=7.5, va="center")


def _thickness(library: str) -> float:
    return 2.2 if library == "kansci" else 1.5
