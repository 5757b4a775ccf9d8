"""Pictures of an energy: stresses along paths that were not measured, and the terms with their standard errors."""

from typing import TYPE_CHECKING

import torch

from kansci.physics.energy_search import FoundEnergy
from problems.constitutive.benchmark import PATHS, Law, path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AMOUNTS = torch.linspace(0, 1, 51, dtype=torch.float64)
COMPONENTS = {(0, 0): "$P_{11}$", (0, 1): "$P_{12}$", (1, 0): "$P_{21}$", (1, 1): "$P_{22}$"}
VISIBLE = 1e-9


def draw_paths(found: FoundEnergy, law: Law) -> "Figure":
    """Stresses along the six paths, true and found."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    for number, name in enumerate(PATHS):
        ax = figure.add_subplot(2, 3, number + 1)
        gradient = path(name, AMOUNTS)
        true, ours = law.stress(gradient), found.stress(gradient)
        for color, (place, label) in enumerate(COMPONENTS.items()):
            values = true[:, *place]
            if float(values.abs().max()) > VISIBLE:
                ax.plot(AMOUNTS, values, color=f"C{color}", linewidth=3, alpha=0.35, label=f"{label}, true")
                ax.plot(AMOUNTS, ours[:, *place], color=f"C{color}", linewidth=1, label=f"{label}, found")
        ax.set(title=name.replace("_", " "), xlabel=r"$\gamma$ [1]")
        ax.legend(fontsize="x-small", frameon=False)
        if number % 3 == 0:
            ax.set_ylabel("first Piola stress")
    return figure


def draw_terms(found: FoundEnergy) -> "Figure":
    """The factors of the terms, with three standard errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 0.5 * len(found.terms) + 1.2), layout="constrained")
    ax = figure.add_subplot()
    labels = [term.text.replace("**", "^").replace("*", " ") for term in found.terms]
    errors = [3 * term.standard_error for term in found.terms]
    ax.barh(labels, [term.factor for term in found.terms], xerr=errors, color="C0", alpha=0.7, capsize=3)
    ax.axvline(0, color="0.3", linewidth=0.6)
    ax.invert_yaxis()
    ax.set_xlabel("factor [unit of the stress], with three standard errors")
    return figure
