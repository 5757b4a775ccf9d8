"""Conserved quantities from trajectories alone: measured ones, or those of a case with noise."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

import kansci as ks
from kansci.physics.conserved_motions import ConservedMotions, conserved_in_motions
from kansci.physics.conserved_search import drift
from kansci.physics.field import VectorField
from problems.conserved.config import Config
from problems.conserved.figures import draw_motions, draw_spectrum
from problems.conserved.physics import Case
from problems.runner import Metric, Result

SAMPLES, LENGTHS = 100, 3.0
FEWEST = 20  # states of a simulated trajectory
DIGITS = 6
TIME, TRAJECTORY = "time", "trajectory"


def solve_motions(config: Config, case: Case, flow: VectorField | None) -> Result:
    """Find what trajectories conserve; with a field, of trajectories of its own with noise."""
    if flow is None:
        names, motions = read_motions(config.data)
        clean, fresh = motions, motions
    else:
        names = case.names
        clean = _simulated(flow, config.motions, config.seed)
        generator = np.random.default_rng(config.seed)
        motions = [own + config.noise * generator.normal(size=own.shape) for own in clean]
        fresh = _simulated(flow, 16, 30_000 + config.seed)
    found = conserved_in_motions(motions, names)
    metrics: dict[str, Metric] = {
        "count": found.count,
        "expected_count": case.expected,
        "gap": found.gap,
        "largest_scatter": max((own.scatter for own in found.quantities), default=None),
        "smallest_value": min(found.scatter, default=None),
        "drift": max(
            (drift(own.function, list(map(torch.from_numpy, fresh))) for own in found.quantities), default=None
        ),
        "noise": float(found.noise.max()),
    }
    explained = [_explained(found, own, names, motions, clean) for own in case.integrals]
    metrics |= {"r2": min(explained, default=None)} | {f"r2_{n}": own for n, own in enumerate(explained, 1)}
    formulas = [own.formula.evalf(DIGITS) for own in found.quantities]
    figures = {"trajectories": partial(draw_motions, found, motions, names)}
    if found.scatter:
        label = "scatter along trajectories / noise"
        figures["spectrum"] = partial(draw_spectrum, found.scatter, found.count, label)
    model = ks.kanpile(formulas or [names[0]], names)
    return Result(model, metrics, "\n".join(map(str, formulas)) or None, figures=figures)


def read_motions(path: Path | None) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names of the coordinates and the states of each trajectory, in the order of time."""
    if path is None:
        raise ks.errors.ConfigError("expected --data with a table of time, coordinates and, if need be, trajectory")
    data = ks.Dataset.from_file(path, TIME)
    columns = list(data.names or ())
    times, table = data.y[:, 0].numpy(), data.x.numpy()
    own = (
        table[:, columns.index(TRAJECTORY)]
        if TRAJECTORY in columns
        else np.cumsum(np.diff(times, prepend=times[0]) < 0)
    )
    kept = [number for number, name in enumerate(columns) if name != TRAJECTORY]
    parts = [np.flatnonzero(own == number) for number in np.unique(own)]
    return tuple(columns[k] for k in kept), [table[rows[np.argsort(times[rows])]][:, kept] for rows in parts]


def _simulated(flow: VectorField, count: int, seed: int) -> list[np.ndarray]:
    paths = flow.trajectories(flow.points(count, seed=seed), SAMPLES, LENGTHS)
    return [own.numpy() for own in paths.states if len(own) >= FEWEST]


def _explained(
    found: ConservedMotions,
    integral: str,
    names: Sequence[str],
    motions: Sequence[np.ndarray],
    clean: Sequence[np.ndarray],
) -> float:
    """R squared of a known integral as a quadratic function of the found ones, each a mean over a trajectory."""
    truth = ks.torch_function(ks.parse_formula(integral, names), names)
    y = np.array([float(truth(own).mean()) for own in clean])
    columns = [np.array([float(own.function(part).mean()) for part in motions]) for own in found.quantities]
    columns = [(own - own.mean()) / own.std() for own in columns]
    squares = [a * b for k, a in enumerate(columns) for b in columns[: k + 1]]
    basis = np.stack([np.ones(len(y)), *columns, *squares], 1)
    rest = y - basis @ np.linalg.lstsq(basis, y)[0]
    return float(1 - rest @ rest / ((y - y.mean()) @ (y - y.mean())))
