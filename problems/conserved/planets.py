r"""What the planets conserve, from where they were in 150 years.

Units are AU and day. Energy per mass is :math:`v^2/2 + c\,g(r)` with the same c for all planets; of some functions g
that one is taken with which it varies least along the trajectories. Angular momenta are those combinations of the nine
products of a coordinate and a velocity that vary least. Planets disturb each other, so all is conserved approximately.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

import kansci as ks
from problems.conserved.motions import read_motions
from problems.runner import Metric, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA = Path(__file__).parents[2] / "data" / "planets.csv"
PLANETS = ("mercury", "venus", "earth", "mars", "jupiter", "saturn", "uranus", "neptune")
GM_SUN = 0.01720209895**2  # [AU^3/day^2]
POTENTIALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1/r**2": lambda r: r**-2,
    "1/r": lambda r: 1 / r,
    "log(r)": np.log,
    "r": lambda r: r,
    "r**2": np.square,
}
ROUNDS = 20
MORE = 4.0
AXES = "xyz"


def solve_planets() -> Result:
    """Energy, angular momentum and the Laplace-Runge-Lenz vector of each planet."""
    names, motions = read_motions(DATA)
    planets = [(own[:, :3], own[:, 3:]) for own in motions]
    fits = {name: _fit_potential(planets, potential) for name, potential in POTENTIALS.items()}
    best = min(fits, key=lambda name: fits[name][1])
    strength = fits[best][0]
    momenta, ratio = _momenta(planets)
    energies = [_energy(x, v, best, strength) for x, v in planets]
    turns = [np.stack([np.einsum("ni,ij,nj->n", x, own, v) for own in momenta], 1) for x, v in planets]
    lenz = [_lenz(x, v, -strength) for x, v in planets]
    drifts = {
        "energy": [_drift(own[:, None]) for own in energies],
        "momentum": [_drift(own) for own in turns],
        "lenz": [_drift(own) for own in lenz],
    }
    metrics: dict[str, Metric] = {
        "count": 1 + len(momenta),
        "expected_count": 4,
        "gap": ratio,
        "gm_sun": -strength,
        "gm_relative_error": abs(-strength / GM_SUN - 1),
        "second_best_potential": sorted(own[1] for own in fits.values())[1] / fits[best][1],
        **{f"{kind}_drift_{name}": own for kind in drifts for name, own in zip(PLANETS, drifts[kind], strict=True)},
    }
    potential = re.sub(r"\br\b", "sqrt(x**2 + y**2 + z**2)", best)
    formulas = [f"vx**2/2 + vy**2/2 + vz**2/2 {strength:+.8g}*({potential})"]
    formulas += [_written(own) for own in momenta]
    rows: list[list[str | Metric]] = [["drift over 150 years", *drifts]]
    rows += [[name, *(own[number] for own in drifts.values())] for number, name in enumerate(PLANETS)]
    rows += [[name, metrics[name], "", ""] for name in ("gm_sun", "gm_relative_error", "gap", "second_best_potential")]
    model = ks.kanpile(formulas, names)
    return Result(
        model,
        metrics,
        "\n".join(formulas),
        rows,
        {"drift": lambda: _draw_drift(drifts), "orbits": lambda: _draw_orbits(planets)},
    )


def _fit_potential(
    planets: Sequence[tuple[np.ndarray, np.ndarray]], potential: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """The factor of a potential with which energies vary least, relative to kinetic ones, and how much they do.

    Each planet counts in inverse proportion to the square of what it leaves: the least disturbed ones decide.
    """
    kinetic = [(v**2).sum(1) / 2 for _, v in planets]
    heights = [potential(np.linalg.norm(x, axis=1)) for x, _ in planets]
    a, b = (
        [(own - own.mean()) / k.mean() for own, k in zip(part, kinetic, strict=True)] for part in (kinetic, heights)
    )
    weights = np.ones(len(a))
    factor, left = 0.0, weights
    for _ in range(ROUNDS):
        factor = -sum(w * x @ y for w, x, y in zip(weights, a, b, strict=True)) / sum(
            w * y @ y for w, y in zip(weights, b, strict=True)
        )
        left = np.array([np.square(x + factor * y).mean() for x, y in zip(a, b, strict=True)])
        weights = 1 / np.maximum(left, 1e-12)
    return float(factor), float(np.exp(np.log(left).mean() / 2))


def _momenta(planets: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[list[np.ndarray], float]:
    """Bilinear forms of place and velocity that vary least, and how much less than the next one."""
    parts = [(x[:, :, None] * v[:, None, :]).reshape(len(x), 9) for x, v in planets]
    parts = [own / np.linalg.norm(own, axis=1).mean() for own in parts]
    within = np.sum([(own - own.mean(0)).T @ (own - own.mean(0)) for own in parts], 0)
    total = np.sum([own.T @ own for own in parts], 0)
    values, vectors = eigh(within, total)
    count = int(np.argmax(values[1:] / values[:-1])) + 1
    forms = [_sparse(own, within, total).reshape(3, 3) for own in _reduced(vectors[:, :count].T)]
    return forms, float(np.sqrt(values[count] / values[count - 1]))


def _reduced(rows: np.ndarray) -> np.ndarray:
    """A basis of the same space in which each vector has a one where the others have zeros."""
    rows = rows.copy()
    for number in range(len(rows)):
        pivot = int(np.abs(rows[number]).argmax())
        rows[number] /= rows[number, pivot]
        for other in range(len(rows)):
            if other != number:
                rows[other] -= rows[other, pivot] * rows[number]
    return rows


def _sparse(row: np.ndarray, within: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The same combination on as few products as possible, as long as it scatters no more than a few times as much."""
    kept = [int(own) for own in np.flatnonzero(np.abs(row) > 1e-9)]
    limit = MORE * float(row @ within @ row) / float(row @ total @ row)
    while len(kept) > 1:
        rest = sorted(kept, key=lambda own: -abs(row[own]))[:-1]
        value, vector = eigh(within[np.ix_(rest, rest)], total[np.ix_(rest, rest)], subset_by_index=[0, 0])
        if float(value[0]) > limit:
            break
        kept, row = rest, np.zeros_like(row)
        row[kept] = vector[:, 0] / vector[np.abs(vector[:, 0]).argmax(), 0]
    return row


def _energy(x: np.ndarray, v: np.ndarray, potential: str, strength: float) -> np.ndarray:
    return (v**2).sum(1) / 2 + strength * POTENTIALS[potential](np.linalg.norm(x, axis=1))


def _lenz(x: np.ndarray, v: np.ndarray, strength: float) -> np.ndarray:
    """The Laplace-Runge-Lenz vector divided by GM, which has the length of the eccentricity."""
    return np.cross(v, np.cross(x, v)) / strength - x / np.linalg.norm(x, axis=1, keepdims=True)


def _drift(values: np.ndarray) -> float:
    """Largest deviation from the mean, relative to it."""
    mean = values.mean(0)
    return float(np.linalg.norm(values - mean, axis=1).max() / np.linalg.norm(mean))


def _written(form: np.ndarray) -> str:
    terms = [f"{form[i, j]:+.6f}*{AXES[i]}*v{AXES[j]}" for i in range(3) for j in range(3) if abs(form[i, j]) > 5e-3]
    return " ".join(terms).lstrip("+")


def _draw_drift(drifts: dict[str, list[float]]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    ax = figure.add_subplot()
    labels = {"energy": "energy", "momentum": "angular momentum", "lenz": "Laplace-Runge-Lenz vector"}
    for kind, marker in zip(drifts, "os^", strict=True):
        ax.semilogy(range(len(PLANETS)), drifts[kind], marker, label=labels[kind], ms=7)
    ax.set_xticks(range(len(PLANETS)), [own.capitalize() for own in PLANETS], rotation=30)
    ax.set(ylabel="relative drift over 150 years")
    ax.legend(frameon=False)
    return figure


def _draw_orbits(planets: Sequence[tuple[np.ndarray, np.ndarray]]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    for ax, shown in zip(figure.subplots(1, 2), (slice(0, 4), slice(4, 8)), strict=True):
        for name, (x, _) in zip(PLANETS[shown], planets[shown], strict=True):
            ax.plot(x[:, 0], x[:, 1], ".", ms=3, label=name.capitalize())
        ax.plot(0, 0, "k+")
        ax.set(xlabel="x [AU]", ylabel="y [AU]", aspect="equal")
        ax.legend(frameon=False, fontsize=7)
    return figure
