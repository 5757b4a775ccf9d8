"""The look shared by all pictures: colors that the color-blind can tell apart, and new axes.

References:
    Okabe, Ito, Color Universal Design (2008), for the palette.
"""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

INK = "#24292f"
GRAY = "#8c959f"
PAPER = "#ffffff"
SPLINE = "#0072b2"
SYMBOLIC = "#d55e00"
MIXED = "#a6478c"
PALETTE = (SPLINE, SYMBOLIC, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def new_axes(width: float, height: float) -> Axes:
    """The only axes of a new figure of that size [inch]."""
    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax


def open_frame(ax: Axes) -> None:
    """Leave only the left and the bottom line of the frame."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRAY)
    ax.tick_params(which="both", color=GRAY)
