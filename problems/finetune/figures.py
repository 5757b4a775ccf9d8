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
        figures["evidence"] = lambda: _draw_evidence(corrected.evidence[0], names)
    return figures


def _draw_network(model: ks.MultKAN, points: Tensor, names: Sequence[str]) -> "Figure":
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 6), layout="constrained")
    ks.plot.draw_network(model, points, names=list(names), ax=axes)
    return figure


def _draw_evidence(evidence: "Sequence[ks.Evidence]", names: Sequence[str]) -> "Figure":
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 0.5 * len(evidence) + 1.2), layout="constrained")
    axes.barh([_label(own.edge, names) for own in evidence], [own.comparison.explained for own in evidence])
    axes.invert_yaxis()
    axes.set_xlabel("share of the formula's residuals that another curve explains")
    return figure


def _label(edge: ks.Edge, names: Sequence[str]) -> str:
    source = f"node {edge.source} of column {edge.layer}" if edge.layer else names[edge.source]
    return f"from {source} to subnode {edge.target} of column {edge.layer + 1}"
