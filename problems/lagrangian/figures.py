"""Pictures of a Lagrangian: its motions beside true ones, their energy, the phase plane, the network."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import kansci as ks
from kansci.physics.lagrangian import energy
from kansci.physics.lagrangian_search import FoundLagrangian
from kansci.physics.rollout import rollout
from problems.lagrangian.measure import Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 3  # motions
LEVELS = 15


def draw_figures(found: FoundLagrangian, samples: Samples, paths: Tensor) -> dict[str, "Callable[[], Figure]"]:
    """What can be drawn of a Lagrangian, each drawn when called."""
    figures: dict[str, Callable[[], Any]] = {
        "motions": partial(_draw_motions, samples, paths),
        "energy": partial(_draw_energy, found, samples, paths),
        "network": lambda: (
            ks.plot.draw_network(
                found.network, names=samples.names, output_names=["L", "R"][: found.network.n_outputs]
            ).figure
        ),
    }
    if samples.dimension == 1:
        figures["phase_plane"] = partial(_draw_phase_plane, found, samples, paths)
    return figures


def _axes(rows: int = 1, *, height: float = 2.4) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]


def _draw_motions(samples: Samples, paths: Tensor) -> "Figure":
    """Coordinates over time, with the true ones where the law is known."""
    figure, axes = _axes(samples.dimension)
    true = None if samples.truth is None else rollout(samples.truth, samples.starts[:SHOWN], samples.times)
    for number, ax in enumerate(axes):
        for motion in range(min(SHOWN, paths.shape[1])):
            ax.plot(samples.times, paths[:, motion, number], color=f"C{motion}", label="found" if not motion else None)
            if true is not None:
                label = "true" if not motion else None
                ax.plot(samples.times, true[:, motion, number], "k--", linewidth=0.8, label=label)
        ax.set(ylabel=samples.names[number], xlabel="t")
    axes[0].legend(loc="upper right", ncols=2)
    return figure


def _draw_energy(found: FoundLagrangian, samples: Samples, paths: Tensor) -> "Figure":
    """The change of the energy along motions: of the true energy where it is known."""
    figure, (ax,) = _axes(height=3.0)
    of = samples.true_energy if samples.truth is not None else partial(energy, found.model)
    values = torch.stack([of(states) for states in paths])
    change = (values - values[0]).abs().clamp(min=1e-17)
    ax.semilogy(samples.times, change, color="C0", alpha=0.3, linewidth=0.8)
    ax.semilogy(samples.times, change.median(1).values, color="C0", label="median of motions")
    ax.set(xlabel="t", ylabel="|E(t) - E(0)|")
    ax.legend(loc="lower right")
    return figure


def _draw_phase_plane(found: FoundLagrangian, samples: Samples, paths: Tensor) -> "Figure":
    """Levels of the energy found, and motions."""
    figure, (ax,) = _axes(height=4.4)
    low, high = samples.x.aminmax(dim=0)
    q, v = (torch.linspace(float(a), float(b), 121, dtype=torch.float64) for a, b in zip(low, high, strict=True))
    values = energy(found.model, torch.cartesian_prod(q, v)).view(121, 121)
    picture = ax.contourf(q, v, values.T, LEVELS, cmap="viridis", alpha=0.8)
    figure.colorbar(picture, ax=ax, label="energy, in units of L")
    ax.plot(samples.x[:, 0], samples.x[:, 1], ".", color="black", markersize=0.6, alpha=0.5)
    for motion in range(min(SHOWN, paths.shape[1])):
        ax.plot(paths[:, motion, 0], paths[:, motion, 1], color="white", linewidth=1.2)
    ax.set(xlabel=samples.names[0], ylabel=samples.names[1], xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return figure
