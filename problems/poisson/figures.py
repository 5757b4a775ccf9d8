"""Pictures of a Poisson solution: the field, its error, the history, the network."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

import kansci as ks
from problems.poisson.physics import Case, Fields

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_figures(solution: ks.Solution, case: Case, fields: Fields) -> dict[str, "Callable[[], Figure]"]:
    """What can be drawn of a case, each drawn when called."""
    figures: dict[str, Callable[[], Any]] = {
        "history": lambda: ks.plot.draw_history(solution).figure,
        "network": lambda: ks.plot.draw_network(solution.model, names=case.names, output_names=["u"]).figure,
    }
    if case.dimension == 2:
        figures["solution"] = partial(_draw_field, solution.model, case, None)
        if fields.exact is not None:
            figures["error"] = partial(_draw_field, solution.model, case, fields)
    return figures


def _draw_field(model: torch.nn.Module, case: Case, fields: Fields | None) -> "Figure":
    """u over the box, or its error where the exact fields are given."""
    from matplotlib.figure import Figure

    x, y = (torch.linspace(a, b, 201, dtype=torch.float64) for a, b in case.box)
    points = torch.cartesian_prod(x, y)
    with torch.no_grad():
        values = model(points)[:, 0]
    title = "u"
    if fields is not None and fields.exact is not None:
        values, title = values - fields.exact(points), "error of u"
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    ax = figure.add_subplot()
    bound = float(values.abs().max()) or 1.0
    picture = ax.pcolormesh(
        x.numpy(),
        y.numpy(),
        values.reshape(201, 201).T.numpy(),
        cmap="RdBu_r",
        vmin=-bound,
        vmax=bound,
        shading="gouraud",
        rasterized=True,
    )
    figure.colorbar(picture, ax=ax, label=title)
    ax.set(xlabel=case.names[0], ylabel=case.names[1], aspect="equal")
    return figure
