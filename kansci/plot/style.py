"""The look that all pictures share: colors that the color-blind can tell apart, letters, new axes.

References:
    Okabe, Ito, Color Universal Design, 2008 (the palette).
"""

import re
from functools import cache

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.textpath import TextPath

INK, GRAY, PAPER = "#24292f", "#8c959f", "#ffffff"
SPLINE, SYMBOLIC, BOTH = "#0072b2", "#d55e00", "#a6478c"
KINDS = {(False, False): GRAY, (True, False): SPLINE, (False, True): SYMBOLIC, (True, True): BOTH}
PALETTE = (SPLINE, SYMBOLIC, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
POINTS_PER_INCH = 72.0


@cache
def text_length(text: str) -> float:
    """Length of a text, relative to the size of its letters."""
    return float(TextPath((0, 0), text, size=1).get_extents().width) if text.strip() else 0.0


def function_label(name: str) -> str:
    """The name of a function, a power of x set as such."""
    return re.sub(r"x\*\*\(?([^)]+)\)?", r"$x^{\1}$", name)


def new_axes(width: float, height: float) -> Axes:
    """The only axes of a new figure of that size [inch]."""
    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax


def open_frame(ax: Axes) -> None:
    """Leave only the left and the bottom line of the frame."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRAY)
    ax.tick_params(which="both", color=GRAY)
