"""The picture of an attribution: a bar for each input."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from kansci.errors import ConfigError, ShapeError
from kansci.plot.style import GRAY, PALETTE, new_axes, open_frame

ROW, FOOT, WIDTH = 0.24, 0.75, 4.5  # height of an input's bars, of the axis below, width [inch]
TALLEST = 8.0  # height [inch] beyond which bars become thinner
BAR = 0.75  # height of an input's bars relative to its row
LABELED = 40  # inputs that all have their names


def draw_attribution(
    attribution: Any,
    *,
    names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how much each input matters, a bar for each output.

    Args:
        attribution: what `attribution_scores` returned, or scores (inputs,) or (outputs, inputs).
        names: of the inputs, features included; x_1, x_2 ... by default.
        output_names: of the outputs; y_1, y_2 ... by default.
        ax: where to draw; by default the axes of a new figure.

    Returns:
        The axes, the first input above. The bars of each output are a container with its name as label.

    Raises:
        ShapeError: scores are neither (inputs,) nor (outputs, inputs).
        ConfigError: the number of names does not fit.

    Example:
        >>> ax = draw_attribution([0.8, 0.6], names=["x", "y"])
        >>> [float(bar.get_width()) for bar in ax.patches], [text.get_text() for text in ax.get_yticklabels()]
        ([0.8, 0.6], ['x', 'y'])

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.1.
    """
    scores = _scores(attribution)
    n_outputs, n_inputs = scores.shape
    inputs, outputs = _names("x", n_inputs, names, "inputs"), _names("y", n_outputs, output_names, "outputs")
    ax = new_axes(WIDTH, min(FOOT + ROW * n_inputs * max(1.0, n_outputs / 2), TALLEST)) if ax is None else ax
    open_frame(ax)
    rows, height = np.arange(n_inputs), BAR / n_outputs
    for number, own in enumerate(scores):
        middle = rows + height * (number - (n_outputs - 1) / 2)
        ax.barh(middle, own, height, color=PALETTE[number % len(PALETTE)], label=outputs[number])
    every = -(-n_inputs // LABELED)
    ax.set_yticks(rows[::every], inputs[::every])
    ax.set(xlabel="attribution", ylim=(n_inputs - 0.5, -0.5))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color=GRAY, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    if n_outputs > 1:
        ax.legend(frameon=False, fontsize="small")
    return ax


def _scores(attribution: Any) -> Float[np.ndarray, "outputs inputs"]:
    found = attribution.per_output.inputs if hasattr(attribution, "per_output") else attribution
    found = found.detach().cpu().numpy() if hasattr(found, "detach") else found
    scores = np.atleast_2d(np.asarray(found, dtype=float))
    if scores.ndim != 2 or not scores.size:
        raise ShapeError(f"expected scores of shape (inputs,) or (outputs, inputs), got {scores.shape}")
    return scores


def _names(letter: str, n: int, given: Sequence[str] | None, kind: str) -> list[str]:
    if given is None:
        return [f"${letter}_{{{number}}}$" for number in range(1, n + 1)]
    if isinstance(given, str) or len(given) != n:
        raise ConfigError(f"expected {n} names of {kind}, got {given!r}; pass a list of texts")
    return list(given)
