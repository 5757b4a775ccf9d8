"""What the data say of the formula, and what they add to it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

import kansci as ks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_figures(
    corrected: ks.Correction, model: ks.MultKAN, points: Tensor, values: Tensor, names: Sequence[str]
) -> "dict[str, Callable[[], Figure]]":
    """The evidence of each edge, and the network that has been found."""
    figures: dict[str, Callable[[], Figure]] = {"network": lambda: _draw_network(model, points, names)}
    if corrected.evidence:
        figures["evidence"] = lambda: _draw_evidence(corrected)
    return figures


def _draw_network(model: ks.MultKAN, points: Tensor, names: Sequence[str]) -> "Figure":
    axes = ks.plot.draw_network(model, points, names=list(names))
    return axes.figure


def _draw_evidence(corrected: ks.Correction) -> "Figure":
    from matplotlib import pyplot as plt

    first = corrected.evidence[0]
    figure, axes = plt.subplots(figsize=(6, 0.5 * len(first) + 1.2), layout="constrained")
    labels = [f"layer {own.edge.layer}: {own.edge.source} to {own.edge.target}" for own in first]
    axes.barh(labels, [own.comparison.explained for own in first])
    axes.invert_yaxis()
    axes.set_xlabel("share of the formula's residuals that a free edge explains")
    return figure
