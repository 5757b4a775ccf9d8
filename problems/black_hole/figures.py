"""Pictures of the new time: the shift with both branches, its error, and how flat space is in it."""

from typing import TYPE_CHECKING

import kansci as ks
from problems.black_hole.physics import BlackHole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOOR = 1e-17


def draw_shift(hole: BlackHole, model: ks.MultKAN, spline: ks.MultKAN, sign: int) -> "Figure":
    """The shift of time beside the two true branches, and how far it is from its own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    radii = hole.radii(201)
    true, at = hole.true_shift(radii), radii[:, 0]
    left.plot(at, true, color="0.7", linewidth=4, label="black hole, true")
    left.plot(at, -true, color="0.85", linewidth=4, label="white hole, true")
    ours = model(radii).detach()[:, 0]
    left.plot(at, ours - ours[-1], color="C0", linewidth=1.2, label="found")
    left.set(xlabel="radius $r$ [horizon]", ylabel=r"$\Delta t$, zero at the largest radius")
    left.legend(frameon=False)
    for name, own, color in (("splines", spline, "C1"), ("law", model, "C0")):
        rest = own(radii).detach()[:, 0] - sign * true
        right.semilogy(at, (rest - rest.mean()).abs().clamp(min=FLOOR), color=color, linewidth=1, label=name)
    right.axhline(1e-8, color="0.5", linewidth=0.7, linestyle="--")
    right.set(xlabel="radius $r$ [horizon]", ylabel=r"$|\Delta t - $ true$|$")
    right.legend(frameon=False)
    return figure


def draw_metric(hole: BlackHole, model: ks.MultKAN, spline: ks.MultKAN) -> "Figure":
    """The radial component of the spatial metric in both times; that of flat space is 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    ax = figure.add_subplot()
    radii = hole.radii(201)
    factor, at = hole.at(radii), radii[:, 0]
    ax.plot(at, 1 / factor, color="0.5", label="old time")
    for name, own, style in (("new time, splines", spline, "C1-"), ("new time, law", model, "C0--")):
        slope = own.jet(radii, "gradient").gradient[:, 0, 0].detach()
        ax.plot(at, 1 / factor - factor * slope.square(), style, label=name)
    ax.set(xlabel="radius $r$ [horizon]", ylabel=r"$-g'_{rr}$")
    ax.legend(frameon=False)
    return figure
