"""Pictures of constitutive laws."""

from typing import TYPE_CHECKING

from torch import Tensor

import kansci as ks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure


def draw_network(model: ks.MultKAN, names: "Sequence[str]") -> "Figure":
    """The network that computes the law."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7), layout="constrained")
    ks.plot.draw_network(model, names=list(names), ax=figure.add_subplot())
    return figure


def draw_parity(measured: Tensor, found: Tensor) -> "Figure":
    """Responses that the law predicts over those that are true."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    ax = figure.add_subplot()
    ax.plot(measured, found, ".", markersize=3, label="samples of the test")
    ends = [float(measured.min()), float(measured.max())]
    ax.plot(ends, ends, "k--", linewidth=0.8, label="equal")
    ax.set(xlabel="true response", ylabel="response of the law")
    ax.set_aspect("equal")
    ax.legend()
    return figure
