"""Pictures of a solution: u and its error over two coordinates, u at some times, the slabs and their grids."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import kansci as ks
from kansci.physics.marching import March
from problems.pde.networks import region_of
from problems.pde.physics import Case
from problems.pde.references import Reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINE, MOMENTS = 201, 5


def draw_figures(
    found: Any, case: Case, reference: Reference | None, data: tuple[Tensor, Tensor] | None
) -> dict[str, "Callable[[], Figure]"]:
    """What can be drawn of a solution, each drawn when called."""
    solution = found if isinstance(found, March) else found.model
    figures: dict[str, Callable[[], Any]] = {}
    if len(case.names) == 2:
        figures["solution"] = partial(_draw_field, solution, case, None, data)
        if reference is not None:
            figures["error"] = partial(_draw_field, solution, case, reference, None)
        if "t" in case.names:
            figures["moments"] = partial(_draw_moments, solution, case, reference)
    if isinstance(found, March):
        figures["slabs"] = partial(_draw_slabs, found)
    else:
        figures["history"] = lambda: ks.plot.draw_history(found).figure
        figures["network"] = lambda: (
            ks.plot.draw_network(found.model, names=case.names, output_names=list(case.unknowns)).figure
        )
    return figures


@torch.no_grad()
def _draw_field(
    solution: Callable[[Tensor], Tensor], case: Case, reference: Reference | None, data: tuple[Tensor, Tensor] | None
) -> "Figure":
    """The first unknown over the box, or its error; where it was measured, if it was."""
    from matplotlib.figure import Figure

    axes = [
        torch.linspace(a, b, 101 if name == "t" else FINE, dtype=torch.float64)
        for (a, b), name in zip(case.box, case.names, strict=True)
    ]
    points = torch.cartesian_prod(*axes)
    inside = region_of(case).contains(points) if case.holes else torch.ones(len(points), dtype=torch.bool)
    values = torch.full((len(points),), torch.nan, dtype=torch.float64)
    values[inside] = solution(points[inside])[:, 0]
    title = case.unknowns[0]
    if reference is not None:
        values[inside] -= reference(points[inside])
        title = f"error of {title}"
    bound = float(values[inside].abs().max()) or 1.0
    figure = Figure(figsize=(5.2, 4.0), layout="constrained")
    ax = figure.add_subplot()
    table = values.reshape(len(axes[0]), len(axes[1])).T.numpy()
    options: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound, "rasterized": True}
    picture = ax.pcolormesh(axes[0].numpy(), axes[1].numpy(), table, shading="nearest", **options)
    figure.colorbar(picture, ax=ax, label=title)
    if data is not None:
        ax.plot(*data[0].T.numpy(), "k.", markersize=2, label="measurements")
        ax.legend(loc="upper right", fontsize=8)
    ax.set(xlabel=case.names[0], ylabel=case.names[1], aspect="auto" if "t" in case.names else "equal")
    return figure


@torch.no_grad()
def _draw_moments(solution: Callable[[Tensor], Tensor], case: Case, reference: Reference | None) -> "Figure":
    """u over space at a few times, and the reference beneath."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    ax = figure.add_subplot()
    (start, end), (low, high) = case.box[case.time], case.box[1 - case.time]
    x = torch.linspace(low, high, 2 * FINE - 1, dtype=torch.float64)
    for share in torch.linspace(0, 1, MOMENTS).tolist():
        t = start + share * (end - start)
        columns = [torch.full_like(x, t), x]
        points = torch.stack(columns if case.time == 0 else columns[::-1], 1)
        color = mpl.colormaps["viridis"](0.9 * share)
        ax.plot(x.numpy(), solution(points)[:, 0].numpy(), color=color, label=f"t = {t:.3g}")
        if reference is not None:
            few = points[::8]
            ax.plot(few[:, 1 - case.time].numpy(), reference(few).numpy(), ".", color=color, markersize=3)
    ax.set(xlabel=case.names[1 - case.time], ylabel=case.unknowns[0])
    ax.legend(fontsize=8)
    return figure


def _draw_slabs(found: March) -> "Figure":
    """Where the intervals of the splines end in each slab, over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    ax = figure.add_subplot()
    for slab in found.slabs:
        k = slab.model.layers[0].config.k
        bank = slab.model.layers[0].splines
        if bank is None:
            continue
        knots = bank.knots[1 - found.time]
        breaks = knots[k : len(knots) - k].numpy()
        ax.hlines(breaks, slab.start, slab.end, color="tab:blue", linewidth=0.4)
        ax.axvline(slab.end, color="0.7", linewidth=0.5)
    ax.set(xlabel="t", ylabel="ends of intervals", title=f"{len(found.slabs)} slabs", xmargin=0)
    return figure
