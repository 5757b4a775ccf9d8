"""Pictures of a rubber's law: stresses over stretches with bands, what is left, and the curves of the energy."""

from typing import TYPE_CHECKING

import torch

from kansci.physics.hyperelastic import principal_stretches
from kansci.physics.polyconvex import PolyconvexFit
from kansci.physics.rubber_models import EnergyFit
from problems.constitutive.rubber import Tests, r_squared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {"uniaxial": "uniaxial", "equibiaxial": "equibiaxial", "pure_shear": "pure shear"}
SHOWN = {"Mooney-Rivlin": ":", "Ogden": "--"}
CURVES = {
    "stretches": (r"\varphi", r"\psi", r"stretch $\lambda_i$", r"product $\lambda_i \lambda_j$"),
    "invariants": ("f", "g", r"$I_1$", r"$I_2$"),
}


def draw_stresses(found: PolyconvexFit, tests: Tests, known: Tests, fits: "Mapping[str, EnergyFit]") -> "Figure":
    """Measured stresses, the law with the bands of its mean and of measurements, and two classical models."""
    figure, axes = _row(len(tests))
    for number, (ax, (mode, (stretch, stress))) in enumerate(zip(axes, tests.items(), strict=True)):
        at = torch.linspace(min(1.0, float(stretch.min())), float(stretch.max()), 200, dtype=torch.float64)
        points = principal_stretches(mode, at)
        ax.fill_between(
            at, *found.band(mode, at, measured=True), color="C0", alpha=0.15, linewidth=0, label="95 %, data"
        )
        ax.fill_between(at, *found.band(mode, at), color="C0", alpha=0.35, linewidth=0, label="95 %, mean")
        for name, style in SHOWN.items():
            ax.plot(at, fits[name].nominal(points), "k" + style, linewidth=0.9, label=name)
        ax.plot(at, found.energy.nominal(points), color="C0", label="polyconvex curves")
        ax.plot(stretch, stress, "o", color="black", markersize=3.5, markerfacecolor="white", label="measured")
        quality = r_squared(stress, found.energy.nominal(principal_stretches(mode, stretch)))
        told = "" if mode in known else ", predicted"
        ax.set(xlabel="stretch [1]", title=f"{LABELS[mode]}{told}\n$R^2$ = {quality:.4f}")
        low, high = float(stress.min()), float(stress.max())
        ax.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
        if not number:
            ax.set_ylabel("nominal stress [unit of the data]")
            ax.legend(fontsize="small", frameon=False)
    return figure


def draw_residuals(found: PolyconvexFit, tests: Tests, fits: "Mapping[str, EnergyFit]") -> "Figure":
    """What the law and two classical models leave of the measured stresses."""
    figure, axes = _row(len(tests))
    for number, (ax, (mode, (stretch, stress))) in enumerate(zip(axes, tests.items(), strict=True)):
        points = principal_stretches(mode, stretch)
        for name, style in SHOWN.items():
            ax.plot(stretch, stress - fits[name].nominal(points), "k" + style, linewidth=0.9, label=name)
        ax.plot(
            stretch, stress - found.energy.nominal(points), "o-", color="C0", markersize=3, label="polyconvex curves"
        )
        ax.axhline(0, color="0.6", linewidth=0.6)
        ax.set(xlabel="stretch [1]", title=LABELS[mode])
        if not number:
            ax.set_ylabel("measured - predicted stress")
            ax.legend(fontsize="small", frameon=False)
    return figure


def draw_curves(found: PolyconvexFit) -> "Figure":
    """The two curves of the energy and their slopes, which rise and are not negative."""
    figure, axes = _row(2)
    first, second, *labels = CURVES[found.energy.kind]
    low, high = found.energy.curves.domain
    for number, (ax, name, label) in enumerate(zip(axes, (first, second), labels, strict=True)):
        at = torch.linspace(float(low[number]), float(high[number]), 300, dtype=torch.float64)
        value, slope, _ = found.energy.curve(number, at)
        ax.plot(at, value, color="C0", label=f"${name}$")
        ax.plot(at, slope, color="C1", label=f"${name}'$")
        ax.set(xlabel=label)
        ax.legend(frameon=False)
    axes[0].set_ylabel("energy density, and its slope [unit of the data]")
    return figure


def _row(count: int) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.6 + 3.4 * count, 3.8), layout="constrained")
    return figure, [figure.add_subplot(1, count, k + 1) for k in range(count)]
